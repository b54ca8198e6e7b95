//! What every store must do with published events, series, cursors and duties: laws of the suite.

use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{at, commit};

pub fn message(id: &str, content: &str) -> Message {
    Message {
        event: 0,
        at: at(20),
        id: id.to_owned(),
        source: "/settlement".to_owned(),
        kind: "contract.confirmed".to_owned(),
        time: Some("2026-01-02T03:04:05Z".to_owned()),
        subject: Some("contract/HT-1".to_owned()),
        key: Some("HT-1".to_owned()),
        schema: None,
        content_type: None,
        extensions: [("traceparent".to_owned(), "00-ab".to_owned())].into(),
        content: Content::Json(content.to_owned()),
    }
}

fn publish(message: Message) -> Change {
    Change::Publish { message, expect_new: false }
}

fn refused(result: Result<Receipt>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    error.message().to_owned()
}

pub async fn a_message_and_its_event_are_written_once_and_its_content_stays_out_of_the_log(store: &dyn Store) {
    let exact = r#"{ "amount": 12345678901234567.890, "n": 1.0 }"#;
    let bytes = Message { id: "b".to_owned(), content: Content::Bytes(vec![0, 255, 10]), ..message("", "") };
    let bare = Message { subject: None, key: None, time: None, content: Content::None, ..message("c", "") };
    let changes =
        vec![publish(message("a", exact)), publish(bytes.clone()), publish(message("a", exact)), publish(bare)];
    let receipt = commit(store, changes).await.unwrap();
    let said: Vec<_> = receipt.published.iter().map(|published| (published.event, published.was)).collect();
    assert_eq!(said, [(1, Offered::New), (2, Offered::New), (1, Offered::Same), (3, Offered::New)]);
    assert_eq!(receipt.last_event, 3);

    let again = commit(store, vec![publish(message("a", exact)), publish(message("a", "{}"))]).await.unwrap();
    assert_eq!((again.published[0], again.published[1].was), (said_again(1), Offered::Different));
    let events = store.events(0, 9).await.unwrap();
    assert_eq!(events.len(), 3, "what is known already is no new event");
    assert_eq!((events[0].kind, &events[0].data["id"]), (EventType::EventPublished, &"a".into()));
    assert!(!events[0].data.to_string().contains("amount"));

    let kept = store.messages(&[3, 1, 99, 2]).await.unwrap();
    assert_eq!(kept.iter().map(|message| message.event).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(kept[0], Message { event: 1, ..message("a", exact) });
    assert_eq!(kept[1], Message { event: 2, ..bytes });
    assert_eq!(store.message("/settlement", "a").await.unwrap().as_ref(), Some(&kept[0]));
    assert_eq!(store.message("/other", "a").await.unwrap(), None);
}

fn said_again(event: u64) -> Published {
    Published { event, was: Offered::Same }
}

pub async fn a_message_that_must_be_new_and_is_not_refuses_the_whole_commit(store: &dyn Store) {
    commit(store, vec![publish(message("a", "1"))]).await.unwrap();
    let again = Change::Publish { message: message("a", "1"), expect_new: true };
    let said = refused(commit(store, vec![publish(message("b", "2")), again]).await);
    assert!(said.contains("event 1") && said.contains("/settlement"), "{said}");
    assert_eq!(store.events(0, 9).await.unwrap().len(), 1);
    assert_eq!(store.message("/settlement", "b").await.unwrap(), None);
}

pub async fn a_series_has_no_gap_and_no_number_twice(store: &dyn Store) {
    let take = |first, count| vec![Change::Number { series: "v".to_owned(), first, count }];
    assert_eq!(store.next_number("v").await.unwrap(), 1);
    commit(store, take(1, 2)).await.unwrap();
    for first in [0, 1, 2, 4] {
        assert!(refused(commit(store, take(first, 1)).await).contains("is 3"));
    }
    let broken = [take(3, 1), vec![publish(message("a", "1"))], take(3, 1)].concat();
    refused(commit(store, broken).await);
    assert_eq!(store.next_number("v").await.unwrap(), 3, "a number is taken with its commit or not at all");
    commit(store, [take(3, 1), take(4, 1)].concat()).await.unwrap();
    assert_eq!((store.next_number("v").await.unwrap(), store.next_number("w").await.unwrap()), (5, 1));
}

pub async fn cursors_go_forward_from_where_they_stand_and_places_are_kept(store: &dyn Store) {
    let move_on = |from, to| vec![Change::Advance { cursor: "notify".to_owned(), from, to }];
    commit(store, move_on(0, 5)).await.unwrap();
    refused(commit(store, move_on(0, 9)).await);
    commit(store, move_on(5, 5)).await.unwrap();
    assert_eq!((store.cursor("notify").await.unwrap(), store.cursor("other").await.unwrap()), (5, 0));
    assert_eq!(store.place("outbox").await.unwrap(), None);
    for place in ["0/1528938", "0/1528968"] {
        let (name, place) = ("outbox".to_owned(), place.to_owned());
        commit(store, vec![Change::Stand { name, place }]).await.unwrap();
    }
    assert_eq!(store.place("outbox").await.unwrap().as_deref(), Some("0/1528968"));
}

pub async fn a_first_place_is_taken_once_and_old_places_are_forgotten(store: &dyn Store) {
    let first = |name: &str, place: &str| vec![Change::StandFirst { name: name.to_owned(), place: place.to_owned() }];
    let place = async |name: &str| store.place(name).await.unwrap();
    commit(store, first("once:a", "1")).await.unwrap();
    let again = [vec![publish(message("a", "1"))], first("once:a", "2")].concat();
    assert!(refused(commit(store, again).await).contains("once:a"));
    assert_eq!(store.message("/settlement", "a").await.unwrap(), None);
    assert_eq!(place("once:a").await.as_deref(), Some("1"));
    commit(store, first("outbox", "7")).await.unwrap();
    let forget = |before| vec![Change::ForgetStands { prefix: "once:".to_owned(), before }];
    commit(store, forget(at(20))).await.unwrap();
    assert!(place("once:a").await.is_some(), "what was noted at that instant stays");
    commit(store, forget(at(20).plus_seconds(1))).await.unwrap();
    assert_eq!((place("once:a").await, place("outbox").await.as_deref()), (None, Some("7")));
    commit(store, first("once:a", "3")).await.unwrap();
}

pub async fn a_duty_has_one_holder_whose_commits_count(store: &dyn Store) {
    let lease = |worker: &str| Lease { worker: worker.to_owned(), until: at(20).plus_seconds(600) };
    let take = |worker: &str| vec![Change::TakeDuty { duty: "notify".to_owned(), lease: lease(worker) }];
    let on = |fence| Change::OnDuty { duty: "notify".to_owned(), fence };
    let first = commit(store, take("a")).await.unwrap().duties;
    assert_eq!(first, [1]);
    assert!(refused(commit(store, take("b")).await).contains("a has the duty"));
    commit(store, vec![on(1), publish(message("a", "1"))]).await.unwrap();
    let renew = Change::RenewDuty { duty: "notify".to_owned(), fence: 1, until: at(20).plus_seconds(900) };
    commit(store, vec![renew.clone()]).await.unwrap();
    refused(commit(store, take("b")).await);
    let leave = Change::LeaveDuty { duty: "notify".to_owned(), fence: 1 };
    commit(store, vec![leave.clone()]).await.unwrap();
    assert_eq!(commit(store, take("b")).await.unwrap().duties, [2]);
    for late in [on(1), renew, leave] {
        refused(commit(store, vec![publish(message("late", "1")), late]).await);
    }
    refused(commit(store, vec![Change::OnDuty { duty: "nobody's".to_owned(), fence: 0 }]).await);
    assert_eq!(store.message("/settlement", "late").await.unwrap(), None);
    commit(store, vec![on(2)]).await.unwrap();
}

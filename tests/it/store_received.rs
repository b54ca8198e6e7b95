//! What every store must do with messages that webhooks took in: laws of the suite.

use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{at, commit};

fn taken(inbound: &str, id: &str, state: ReceivedState) -> Received {
    Received {
        inbound: inbound.to_owned(),
        source: "/settlement".to_owned(),
        id: id.to_owned(),
        at: at(2),
        dataset: "invoice".to_owned(),
        key: "7".to_owned(),
        version: Some(3),
        state,
        attempts: 0,
        due_at: at(2),
        note: "waiting for version 2".to_owned(),
    }
}

fn ids(found: &[Received]) -> Vec<&str> {
    found.iter().map(|received| received.id.as_str()).collect()
}

pub async fn a_webhook_takes_a_message_in_once_and_what_waits_is_settled_once(store: &dyn Store) {
    let first = taken("invoices", "a", ReceivedState::Waiting);
    commit(store, vec![Change::Receive(first.clone())]).await.unwrap();
    let again = commit(store, vec![Change::Receive(Received { version: None, ..first.clone() })]).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict, "{again}");
    commit(store, vec![Change::Receive(taken("archive", "a", ReceivedState::Kept))]).await.unwrap();
    assert_eq!(store.received("invoices", "/settlement", "a").await.unwrap(), Some(first.clone()));
    assert_eq!(store.received("invoices", "/other", "a").await.unwrap(), None);

    let later = Received { attempts: 2, due_at: at(5), note: "the origin is away".to_owned(), ..first.clone() };
    commit(store, vec![Change::Settle(later.clone())]).await.unwrap();
    assert_eq!(store.received("invoices", "/settlement", "a").await.unwrap(), Some(later));
    let applied = Received { state: ReceivedState::Applied, ..first.clone() };
    commit(store, vec![Change::Settle(applied.clone())]).await.unwrap();
    for late in [applied, Received { id: "unknown".to_owned(), ..first }] {
        assert_eq!(commit(store, vec![Change::Settle(late)]).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

pub async fn received_messages_are_found_by_what_they_are_about_and_old_ones_forgotten(store: &dyn Store) {
    let mut changes = Vec::new();
    for (id, day, key, state) in [
        ("a", 1, "7", ReceivedState::Applied),
        ("b", 2, "7", ReceivedState::Waiting),
        ("c", 3, "8", ReceivedState::Stuck),
        ("d", 4, "8", ReceivedState::Stale),
    ] {
        let received = Received { at: at(day), key: key.to_owned(), version: None, ..taken("invoices", id, state) };
        changes.push(Change::Receive(received));
    }
    changes.push(Change::Receive(taken("archive", "e", ReceivedState::Waiting)));
    commit(store, changes).await.unwrap();
    let all = ReceivedWanted { limit: 10, ..ReceivedWanted::default() };
    let of = |key: &str| Some(("invoice".to_owned(), key.to_owned()));
    let inbound = Some("invoices".to_owned());
    for (wanted, expected) in [
        (all.clone(), vec!["d", "c", "b", "e", "a"]),
        (ReceivedWanted { inbound: inbound.clone(), limit: 2, ..all.clone() }, vec!["d", "c"]),
        (ReceivedWanted { open: true, ..all.clone() }, vec!["c", "b", "e"]),
        (ReceivedWanted { open: true, of: of("7"), ..all.clone() }, vec!["b", "e"]),
        (ReceivedWanted { open: true, of: of("7"), inbound, ..all.clone() }, vec!["b"]),
        (ReceivedWanted { state: Some(ReceivedState::Stuck), ..all.clone() }, vec!["c"]),
    ] {
        assert_eq!(ids(&store.receipts(&wanted).await.unwrap()), expected, "{wanted:?}");
    }
    commit(store, vec![Change::ForgetReceived { before: at(4) }]).await.unwrap();
    assert_eq!(ids(&store.receipts(&all).await.unwrap()), ["d", "c", "b", "e"], "what is open is never forgotten");
}

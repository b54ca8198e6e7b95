//! What every store must do with reports of reconciliations: laws of the suite.

use serde_json::json;
use tidegate::model::compared::ValueKind;
use tidegate::model::reconciliation::*;
use tidegate::model::{AttemptOutcome, AttemptsWanted, Change, EventType, Message, Then, reconciliation};
use tidegate::store::{Store, TracesWanted};

use crate::store_deliveries::{delivery, tried};
use crate::store_events::message;
use crate::store_suite::{at, commit};

/// A report of two differences, with the threshold at which it alerts.
pub fn report(name: Option<&str>) -> Report {
    let column = |name: &str, kind| ReportColumn { name: name.into(), kind };
    Report {
        id: 0,
        name: name.map(str::to_owned),
        wanted: Wanted { source: "erp#contract".into(), target: "store:contracts".into(), ..Wanted::default() },
        outcome: reconciliation::Outcome::Different,
        started_at: at(3),
        finished_at: at(4),
        counts: model_counts(),
        note: Some("not compared: synced_at".into()),
        columns: vec![column("id", ValueKind::Number), column("客户", ValueKind::Text)],
        key: 1,
    }
}

fn model_counts() -> reconciliation::Counts {
    reconciliation::Counts { source_rows: 9, target_rows: 8, missing: 1, different: 1, ..Default::default() }
}

pub fn differences() -> Vec<Difference> {
    let row = |id: &str, value: Option<&str>| vec![Some(id.to_string()), value.map(str::to_owned)];
    let missing = Difference {
        number: 1,
        kind: DifferenceKind::Missing,
        key: vec![Some("7".into())],
        source: vec![row("7", None)],
        target: Vec::new(),
        fields: Vec::new(),
        cause: Cause::NeverDelivered,
        event: Some(3),
        delivery: Some("dead".into()),
        attempt: Some(12),
        repaired_at: None,
    };
    let different = Difference {
        number: 2,
        kind: DifferenceKind::Different,
        key: vec![Some("8".into())],
        source: vec![row("8", Some("'合同' \"quoted\"\n"))],
        target: vec![row("8", Some(""))],
        fields: vec![1],
        cause: Cause::Unknown,
        event: None,
        delivery: None,
        attempt: None,
        repaired_at: None,
    };
    vec![missing, different]
}

pub fn reported(name: Option<&str>, alert: Option<u64>) -> Change {
    let (report, differences) = (Box::new(report(name)), differences());
    Change::Reconciled(Reconciled::Report { report, differences, alert })
}

async fn all_of(store: &dyn Store, report: i64) -> Vec<Difference> {
    store.differences(&DifferencesWanted { report, after: 0, limit: 10 }).await.unwrap()
}

pub async fn a_report_is_kept_with_its_differences_and_its_event_has_no_value(store: &dyn Store) {
    let receipt = commit(store, vec![reported(Some("weekly"), Some(1))]).await.unwrap();
    let id = receipt.reports[0];
    let stored = store.reconciliation(id).await.unwrap().unwrap();
    assert_eq!(stored, Report { id, ..report(Some("weekly")) });
    assert_eq!(all_of(store, id).await, differences());
    let page = DifferencesWanted { report: id, after: 1, limit: 1 };
    assert_eq!(store.differences(&page).await.unwrap()[0].number, 2);
    let events = store.events(0, 9).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(kinds, ["reconcile.finished", "gate.alert"]);
    assert_eq!((&events[0].data["differences"], &events[0].data["report"]), (&json!(2), &json!(id)));
    assert_eq!((&events[1].data["severity"], &events[1].data["value"]), (&json!("severe"), &json!(2)));
    assert!(events.iter().all(|event| !event.data.to_string().contains("合同")), "{events:?}");
    commit(store, vec![reported(None, Some(2))]).await.unwrap();
    assert_eq!(store.events(2, 9).await.unwrap().len(), 1, "two differences are not more than two");
    assert!(store.reconciliation(99).await.unwrap().is_none());
}

pub async fn reports_are_listed_newest_first_and_old_ones_forgotten_by_name(store: &dyn Store) {
    for name in [Some("a"), Some("b"), None, Some("a"), Some("a")] {
        commit(store, vec![reported(name, None)]).await.unwrap();
    }
    let ids = async |name: Option<&str>, before: Option<i64>| {
        let wanted = ReportsWanted { name: name.map(str::to_owned), before, limit: 2 };
        store.reconciliations(&wanted).await.unwrap().iter().map(|report| report.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None).await, [5, 4]);
    assert_eq!(ids(Some("a"), Some(5)).await, [4, 1]);
    commit(store, vec![Change::Reconciled(Reconciled::Forget { keep: 1 })]).await.unwrap();
    assert_eq!(ids(Some("a"), None).await, [5]);
    assert_eq!((ids(Some("b"), None).await, ids(None, Some(4)).await), (vec![2], vec![3, 2]));
    assert!(all_of(store, 4).await.is_empty() && all_of(store, 5).await.len() == 2);
}

pub async fn repaired_differences_are_marked_until_the_repair_is_taken_back(store: &dyn Store) {
    let report = commit(store, vec![reported(None, None)]).await.unwrap().reports[0];
    let numbers = vec![2];
    let data = json!({ "report": report });
    let change = Reconciled::Repaired { report, numbers: numbers.clone(), data: data.clone() };
    commit(store, vec![Change::Reconciled(change)]).await.unwrap();
    let repaired = async || all_of(store, report).await.iter().map(|it| it.repaired_at).collect::<Vec<_>>();
    assert_eq!(repaired().await, [None, Some(at(20))]);
    commit(store, vec![Change::Reconciled(Reconciled::Undone { report, numbers, data })]).await.unwrap();
    assert_eq!(repaired().await, [None, None]);
    let events = store.events(1, 9).await.unwrap();
    assert!(events.len() == 2 && events.iter().all(|event| event.kind == EventType::RepairFinished), "{events:?}");
}

pub async fn the_last_event_about_a_row_is_found_by_its_subject_or_key(store: &dyn Store) {
    let about = |id: &str, subject: &str, key: &str| Change::Publish {
        message: Message { subject: Some(subject.into()), key: Some(key.into()), ..message(id, "{}") },
        expect_new: false,
    };
    let changes = vec![about("a", "contract/1", "k1"), about("b", "contract/2", "k1"), about("c", "contract/1", "k3")];
    commit(store, changes).await.unwrap();
    let wanted = ["contract/1", "k1", "nobody"].map(str::to_owned).to_vec();
    let found = store.traces(&TracesWanted { about: wanted, subscription: None }).await.unwrap();
    let mut found: Vec<(&str, u64)> = found.iter().map(|trace| (trace.about.as_str(), trace.event)).collect();
    found.sort_unstable();
    assert_eq!(found, [("contract/1", 3), ("k1", 2)]);
    assert_eq!(store.waiting_up_to("tax", 9).await.unwrap(), 0);

    let deliveries = [("tax", 3), ("erp", 3), ("tax", 2)].map(|(name, event)| delivery(name, event, "k")).to_vec();
    let attempts = vec![
        tried("tax", 3, 1, AttemptOutcome::Failed, Then::Again { at: at(30) }),
        tried("erp", 3, 1, AttemptOutcome::Failed, Then::Again { at: at(30) }),
        tried("tax", 3, 2, AttemptOutcome::Delivered, Then::Done),
    ];
    commit(store, vec![Change::Deliver(deliveries), Change::Attempted(attempts)]).await.unwrap();
    let newest = store.attempts(&AttemptsWanted { limit: 10, ..AttemptsWanted::default() }).await.unwrap();
    let number = |name: &str| newest.iter().find(|attempt| attempt.subscription == name).map(|attempt| attempt.id);
    let told = async |name: Option<&str>, about: &str| {
        let wanted = TracesWanted { about: vec![about.into()], subscription: name.map(str::to_owned) };
        let trace = store.traces(&wanted).await.unwrap().remove(0);
        (trace.delivery, trace.attempt)
    };
    assert_eq!(told(Some("tax"), "contract/1").await, (Some("delivered".into()), number("tax")));
    assert_eq!(told(Some("erp"), "contract/1").await, (Some("waiting".into()), number("erp")));
    assert_eq!(told(None, "contract/1").await, (Some("waiting".into()), number("tax")));
    assert_eq!(told(Some("tax"), "contract/2").await, (Some("waiting".into()), None));
    assert_eq!(told(Some("nobody"), "contract/1").await, (None, None));
}

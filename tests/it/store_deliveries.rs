//! What every store must do with deliveries and attempts: laws of the suite.

use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{at, commit};

pub fn delivery(subscription: &str, event: u64, key: &str) -> Delivery {
    Delivery {
        subscription: subscription.to_owned(),
        event,
        key: key.to_owned(),
        state: DeliveryState::Waiting,
        due_at: at(20),
        attempts: 0,
        by: "feed".to_owned(),
    }
}

fn attempt(subscription: &str, event: u64, number: u32, outcome: AttemptOutcome) -> Attempt {
    let failed = outcome != AttemptOutcome::Delivered;
    Attempt {
        id: 0,
        subscription: subscription.to_owned(),
        event,
        request: format!("evt_0_{event}"),
        number,
        at: at(20),
        took_ms: 12,
        outcome,
        status: Some(if failed { 503 } else { 204 }),
        error: failed.then(|| "HTTP_503".to_owned()),
        detail: failed.then(|| "it's \"busy\"\n忙".to_owned()),
        delay_ms: 100 * event,
        by: "feed".to_owned(),
    }
}

pub fn tried(subscription: &str, event: u64, number: u32, outcome: AttemptOutcome, then: Then) -> Attempted {
    Attempted { attempt: attempt(subscription, event, number, outcome), then }
}

fn of(subscription: &str) -> DeliveriesWanted {
    DeliveriesWanted { subscription: Some(subscription.to_owned()), limit: 100, ..DeliveriesWanted::default() }
}

async fn waiting(store: &dyn Store, subscription: &str) -> Vec<(u64, DeliveryState, u32)> {
    let found = store.deliveries(&of(subscription)).await.unwrap();
    found.into_iter().map(|delivery| (delivery.event, delivery.state, delivery.attempts)).collect()
}

async fn decide(store: &dyn Store, chosen: Chosen, decision: Decision) -> Result<Receipt> {
    let (subscription, by) = ("tax".to_owned(), "anna".to_owned());
    commit(store, vec![Change::Decide { subscription, chosen, decision, by }]).await
}

use DeliveryState::{Dead, Parked, Waiting};

pub async fn a_delivery_waits_once_until_an_attempt_settles_it(store: &dyn Store) {
    let new = vec![delivery("tax", 2, "b"), delivery("tax", 1, "a"), delivery("erp", 1, "a")];
    commit(store, vec![Change::Deliver(new.clone())]).await.unwrap();
    let later = Delivery { due_at: at(23), by: "replay:1".to_owned(), ..delivery("tax", 1, "other") };
    commit(store, vec![Change::Deliver(vec![later, delivery("tax", 3, "")])]).await.unwrap();
    let kept = store.deliveries(&of("tax")).await.unwrap();
    assert_eq!(kept[0], delivery("tax", 1, "a"), "what waits already stays as it is");
    assert_eq!(kept.iter().map(|kept| kept.event).collect::<Vec<_>>(), [1, 2, 3]);

    let again = Then::Again { at: at(22) };
    let attempts = vec![
        tried("tax", 1, 1, AttemptOutcome::Failed, again),
        tried("tax", 2, 1, AttemptOutcome::Delivered, Then::Done),
        tried("tax", 3, 1, AttemptOutcome::Refused, Then::Parked),
        tried("erp", 1, 1, AttemptOutcome::Exhausted, Then::Dead),
        tried("erp", 9, 1, AttemptOutcome::Failed, again),
    ];
    commit(store, vec![Change::Attempted(attempts)]).await.unwrap();
    assert_eq!(waiting(store, "tax").await, [(1, Waiting, 1), (3, Parked, 1)]);
    assert_eq!(store.deliveries(&of("tax")).await.unwrap()[0].due_at, at(22));
    assert_eq!(waiting(store, "erp").await, [(1, Dead, 1)], "an attempt alone makes no delivery");
    assert_eq!(store.events(0, 9).await.unwrap(), [], "deliveries are no events");

    let only = DeliveriesWanted { state: Some(Dead), limit: 9, ..DeliveriesWanted::default() };
    assert_eq!(store.deliveries(&only).await.unwrap().len(), 1);
    let only = DeliveriesWanted { event: Some(1), key: Some("a".into()), after: 0, limit: 1, ..only };
    assert_eq!(store.deliveries(&DeliveriesWanted { state: None, ..only }).await.unwrap()[0].subscription, "erp");
    assert!(store.deliveries(&DeliveriesWanted { after: 3, ..of("tax") }).await.unwrap().is_empty());
    commit(store, vec![Change::Deliver(vec![delivery("tax", 1, "a"), delivery("tax", 3, "")])]).await.unwrap();
    assert_eq!(waiting(store, "tax").await, [(1, Waiting, 1), (3, Waiting, 0)], "what was set aside waits again");
    commit(store, vec![Change::ForgetDeliveries { subscription: "tax".to_owned() }]).await.unwrap();
    assert_eq!((waiting(store, "tax").await.len(), waiting(store, "erp").await.len()), (0, 1));
}

pub async fn a_person_skips_parks_and_retries_deliveries(store: &dyn Store) {
    let keys = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "")];
    let new = keys.iter().map(|(event, key)| delivery("tax", *event, key)).collect();
    let dead = |event| tried("tax", event, 4, AttemptOutcome::Exhausted, Then::Dead);
    let again = tried("tax", 5, 1, AttemptOutcome::Failed, Then::Again { at: at(23) });
    commit(store, vec![Change::Deliver(new), Change::Attempted(vec![dead(1), dead(3), again])]).await.unwrap();
    let blocked = store.blocked_keys(Some("tax"), 9).await.unwrap();
    let expected = |key: &str, event| BlockedKey {
        subscription: "tax".to_owned(),
        key: key.to_owned(),
        event,
        attempts: 4,
        waiting: 1,
    };
    assert_eq!(blocked, [expected("a", 1), expected("b", 3)]);
    assert_eq!(store.blocked_keys(None, 1).await.unwrap().len(), 1);
    assert!(store.blocked_keys(Some("erp"), 9).await.unwrap().is_empty());

    decide(store, Chosen::Event(1), Decision::Skip).await.unwrap();
    decide(store, Chosen::Key("b".to_owned()), Decision::Park).await.unwrap();
    let found = waiting(store, "tax").await;
    assert_eq!(found, [(2, Waiting, 0), (3, Parked, 4), (4, Waiting, 0), (5, Waiting, 1)]);
    assert!(store.blocked_keys(None, 9).await.unwrap().is_empty());
    decide(store, Chosen::Key("b".to_owned()), Decision::Retry).await.unwrap();
    decide(store, Chosen::All, Decision::Retry).await.unwrap();
    let found = waiting(store, "tax").await;
    assert_eq!(found, [(2, Waiting, 0), (3, Waiting, 0), (4, Waiting, 0), (5, Waiting, 0)]);
    assert!(store.deliveries(&of("tax")).await.unwrap().iter().all(|kept| kept.due_at == at(20) && kept.by == "anna"));
    for chosen in [Chosen::Event(1), Chosen::Event(99)] {
        let error = decide(store, chosen, Decision::Retry).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    decide(store, Chosen::All, Decision::Skip).await.unwrap();
    assert_eq!(waiting(store, "tax").await.len(), 4, "what waits is skipped one by one only");
    let wanted = AttemptsWanted { outcome: Some(AttemptOutcome::Skipped), limit: 9, ..AttemptsWanted::default() };
    let skipped = store.attempts(&wanted).await.unwrap();
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].event, skipped[0].by.as_str(), skipped[0].number), (1, "anna", 4));
    let events = store.events(0, 99).await.unwrap();
    assert!(events.iter().all(|event| event.kind == EventType::DeliveryDecided));
    let data = serde_json::json!({
        "subscription": "tax", "decision": "skip", "event": 1, "key": null, "by": "anna", "deliveries": 1,
    });
    assert_eq!((events.len(), &events[0].data), (5, &data));
}

pub async fn a_decision_made_during_an_attempt_stays_unless_the_attempt_settles_it(store: &dyn Store) {
    let new = (1..=3).map(|event| delivery("tax", event, "")).collect();
    commit(store, vec![Change::Deliver(new)]).await.unwrap();
    for event in 1..=3 {
        let decision = if event == 3 { Decision::Skip } else { Decision::Park };
        decide(store, Chosen::Event(event), decision).await.unwrap();
    }
    let attempts = vec![
        tried("tax", 1, 1, AttemptOutcome::Failed, Then::Again { at: at(22) }),
        tried("tax", 2, 1, AttemptOutcome::Delivered, Then::Done),
        tried("tax", 3, 1, AttemptOutcome::Failed, Then::Again { at: at(22) }),
    ];
    commit(store, vec![Change::Attempted(attempts)]).await.unwrap();
    assert_eq!(waiting(store, "tax").await, [(1, Parked, 0)]);
}

pub async fn attempts_are_found_by_what_they_are_and_old_ones_are_forgotten(store: &dyn Store) {
    let early = |mut one: Attempted| {
        one.attempt.at = at(10);
        one
    };
    let attempts = vec![
        early(tried("tax", 1, 1, AttemptOutcome::Failed, Then::Done)),
        tried("tax", 1, 2, AttemptOutcome::Delivered, Then::Done),
        tried("erp", 1, 1, AttemptOutcome::Gone, Then::Done),
        tried("erp", 2, 1, AttemptOutcome::Delivered, Then::Done),
    ];
    commit(store, vec![Change::Attempted(attempts)]).await.unwrap();
    let numbers = async |wanted: AttemptsWanted| -> Vec<(String, u64, u32)> {
        let found = store.attempts(&AttemptsWanted { limit: 9, ..wanted }).await.unwrap();
        found.into_iter().map(|found| (found.subscription, found.event, found.number)).collect()
    };
    let all = AttemptsWanted::default();
    assert_eq!(numbers(all.clone()).await.len(), 4);
    let newest = store.attempts(&AttemptsWanted { limit: 1, ..all.clone() }).await.unwrap();
    assert_eq!(newest[0], Attempt { id: newest[0].id, ..attempt("erp", 2, 1, AttemptOutcome::Delivered) });
    let tax = |number| ("tax".to_owned(), 1, number);
    let (erp_1, erp_2) = (("erp".to_owned(), 1, 1), ("erp".to_owned(), 2, 1));
    for (wanted, expected) in [
        (AttemptsWanted { subscription: Some("tax".into()), ..all.clone() }, vec![tax(2), tax(1)]),
        (AttemptsWanted { event: Some(2), ..all.clone() }, vec![erp_2.clone()]),
        (AttemptsWanted { events: Some((2, 3)), ..all.clone() }, vec![erp_2.clone()]),
        (AttemptsWanted { outcome: Some(AttemptOutcome::Gone), ..all.clone() }, vec![erp_1.clone()]),
        (AttemptsWanted { failed: true, ..all.clone() }, vec![erp_1.clone(), tax(1)]),
        (AttemptsWanted { error: Some("HTTP_503".into()), from: Some(at(11)), ..all.clone() }, vec![erp_1.clone()]),
        (AttemptsWanted { until: Some(at(20)), ..all.clone() }, vec![tax(1)]),
        (AttemptsWanted { before: Some(newest[0].id - 1), ..all.clone() }, vec![tax(2), tax(1)]),
        (AttemptsWanted { after: Some(newest[0].id - 2), ..all.clone() }, vec![erp_1, erp_2]),
    ] {
        assert_eq!(numbers(wanted.clone()).await, expected, "{wanted:?}");
    }
    commit(store, vec![Change::ForgetAttempts { before: at(20) }]).await.unwrap();
    assert_eq!(numbers(all).await.len(), 3);
}

pub async fn figures_tell_how_each_subscription_fares(store: &dyn Store) {
    let event = |_| Change::Event { kind: EventType::TaskFailed, dataset: None, data: serde_json::json!({}) };
    commit(store, (1..=5).map(event).collect()).await.unwrap();
    let new = (2..=5).map(|event| delivery("tax", event, &event.to_string())).collect();
    let old = |mut one: Attempted| {
        one.attempt.at = at(1);
        one
    };
    let mut attempts = vec![old(tried("tax", 1, 1, AttemptOutcome::Failed, Then::Done))];
    attempts.extend((1..=20).map(|event| tried("erp", event, 1, AttemptOutcome::Delivered, Then::Done)));
    attempts.extend([
        tried("tax", 9, 1, AttemptOutcome::Delivered, Then::Done),
        tried("tax", 2, 1, AttemptOutcome::Failed, Then::Again { at: at(22) }),
        tried("tax", 4, 1, AttemptOutcome::Exhausted, Then::Dead),
        tried("tax", 5, 1, AttemptOutcome::Refused, Then::Parked),
    ]);
    commit(store, vec![Change::Deliver(new), Change::Attempted(attempts)]).await.unwrap();
    let since = FiguresSince { success: at(2), delay: at(2), failures: at(2) };
    let figures = store.delivery_figures(since).await.unwrap();
    let [erp, tax] = &figures[..] else { panic!("{figures:?}") };
    assert_eq!((erp.subscription.as_str(), erp.attempts, erp.delivered), ("erp", 20, 20));
    assert_eq!((erp.delay_mean_ms, erp.delay_p95_ms, erp.success_rate()), (Some(1050.0), Some(1900), Some(1.0)));
    let expected = DeliveryFigures {
        subscription: "tax".to_owned(),
        attempts: 4,
        delivered: 1,
        delay_mean_ms: Some(900.0),
        delay_p95_ms: Some(900),
        errors: [("HTTP_503".to_owned(), 3)].into(),
        waiting: 2,
        oldest: Some((2, at(20))),
        retrying: 1,
        dead: 1,
        parked: 1,
        failed_in_a_row: 3,
    };
    assert_eq!(*tax, expected);
}

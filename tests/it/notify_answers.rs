//! What receivers answer, and what follows from it: through the real client, over real sockets.

use std::time::Duration;

use serde_json::json;
use tidegate::model::definition::Kind;
use tidegate::model::*;
use tidegate::notify::DispatchOptions;

use crate::notify::{Gate, ids, ok, quick};
use crate::receiver::Says;

/// The first attempt at the first event, and the receiver's subscription, after one answer.
fn after(says: fn() -> Says, more: serde_json::Value) -> (Gate, Attempt, usize) {
    let gate = Gate::new();
    let receiver = gate.receiver(move |_, _| says());
    let mut body = json!({ "types": ["contract.*"], "retry_seconds": [600.0] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gate.subscribe("tax", &receiver.url(), body);
    let running = gate.dispatch(quick());
    gate.publish(&[("a", "k")]);
    gate.until("it was tried", || !gate.attempts("tax").is_empty());
    let second = gate.publish(&[("b", "l")])[0];
    gate.until("the second was matched", || gate.runtime.block_on(gate.store.cursor("notify")).unwrap() >= second);
    running.end(&gate);
    let first = gate.attempts("tax").remove(0);
    (gate, first, receiver.seen().len())
}

#[test]
fn a_plea_for_patience_slows_the_whole_endpoint_for_exactly_as_long() {
    let (gate, first, seen) = after(|| Says::status(429, &["retry-after: 3600"], "slow"), json!({}));
    assert_eq!((first.outcome, first.error.as_deref()), (AttemptOutcome::Failed, Some("HTTP_429")));
    let waiting = gate.waiting("tax");
    let waits = waiting[0].due_at.millis_since(first.at.plus_millis(first.took_ms as i64));
    assert!((3_599_999..3_660_000).contains(&waits), "{waits} ms");
    assert_eq!((waiting.len(), seen), (2, 1), "the other key waits as well");
    let running = gate.dispatch(quick());
    std::thread::sleep(Duration::from_millis(300));
    running.end(&gate);
    assert_eq!(gate.attempts("tax").len(), 1, "a restart asks no sooner");
}

#[test]
fn a_receiver_that_is_gone_ends_its_subscription() {
    let (gate, first, _) = after(|| Says::status(410, &[], ""), json!({}));
    assert_eq!(first.outcome, AttemptOutcome::Gone);
    let subscription = gate.subscription("tax");
    assert_eq!(subscription.state, SubscriptionState::Disabled);
    assert!(subscription.reason.unwrap().contains("410"));
    let health = gate.told(EventType::SubscriptionHealth);
    assert_eq!((&health[0]["health"], &health[0]["severity"]), (&json!("gone"), &json!("severe")));
}

#[test]
fn a_redirect_is_a_failure_and_is_not_followed() {
    let to = || Says::status(301, &["location: http://169.254.169.254/latest/meta-data"], "");
    let (_, first, seen) = after(to, json!({}));
    assert_eq!((first.outcome, first.error.as_deref()), (AttemptOutcome::Failed, Some("HTTP_301")));
    assert!(first.detail.unwrap().contains("not followed"));
    assert!(seen <= 2);
}

#[test]
fn a_late_answer_counts_within_the_time_out_and_not_beyond_it() {
    let late = || Says::Later(Duration::from_millis(600), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned());
    let (_, first, _) = after(late, json!({ "timeout_seconds": 20.0 }));
    assert_eq!(first.outcome, AttemptOutcome::Delivered);
    assert!(first.took_ms >= 600);
    let (_, first, _) = after(late, json!({ "timeout_seconds": 0.3 }));
    assert_eq!((first.outcome, first.error.as_deref()), (AttemptOutcome::Failed, Some("ETIMEDOUT")));
}

#[test]
fn half_an_answer_and_none_are_failures() {
    let half = || Says::Last("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned());
    let (_, first, _) = after(half, json!({}));
    assert_eq!((first.outcome, first.error.as_deref()), (AttemptOutcome::Failed, Some("NETWORK_ERROR")));
    let (_, first, _) = after(|| Says::Last(String::new()), json!({}));
    assert_eq!((first.outcome, first.error.as_deref()), (AttemptOutcome::Failed, Some("NETWORK_ERROR")));
    let (_, first, _) = after(|| Says::Silence, json!({ "timeout_seconds": 0.3 }));
    assert_eq!((first.outcome, first.error.as_deref()), (AttemptOutcome::Failed, Some("ETIMEDOUT")));
}

#[test]
fn an_address_that_is_closed_is_never_asked() {
    let gate = Gate::new();
    gate.subscribe("tax", "http://10.0.0.1/hook", json!({ "types": ["contract.*"], "retry_seconds": [600.0] }));
    let running = gate.dispatch(quick());
    gate.publish(&[("a", "k")]);
    gate.until("it was tried", || !gate.attempts("tax").is_empty());
    running.end(&gate);
    assert_eq!(gate.attempts("tax")[0].error.as_deref(), Some("BLOCKED_ADDRESS"));
}

#[test]
fn a_secret_that_is_rotated_signs_what_waited_beside_the_old_one() {
    let gate = Gate::new();
    let receiver = gate.receiver(|before, _| if before == 0 { Says::status(500, &[], "") } else { ok() });
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "retry_seconds": [1.0] }));
    let running = gate.dispatch(quick());
    gate.publish(&[("a", "k")]);
    gate.until("it was tried", || receiver.seen().len() == 1);
    let (new, old) = ("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let later = gate.clock.now().plus_seconds(3_600).to_string();
    let ring = json!([
        { "secret": new, "since": "2026-01-02T00:00:00Z", "until": null },
        { "secret": old, "since": "2026-01-01T00:00:00Z", "until": later },
    ]);
    gate.define(Kind::Secret, "subscription:tax", ring);
    gate.until_delivered("tax", 1);
    running.end(&gate);
    let seen = receiver.seen();
    assert_eq!(seen[0].header("webhook-signature").split(' ').count(), 1);
    assert_eq!(seen[1].header("webhook-signature").split(' ').count(), 2);
    for secret in [new, old] {
        let mut headers = reqwest::header::HeaderMap::new();
        for (name, value) in &seen[1].headers {
            let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        standardwebhooks::Webhook::new(secret).unwrap().verify(&seen[1].body, &headers).unwrap();
    }
}

#[test]
fn a_dispatcher_that_is_killed_is_followed_by_another_and_nothing_is_lost_or_out_of_order() {
    let gate = Gate::new();
    let receiver = gate.receiver(|_, _| Says::Later(Duration::from_millis(5), crate::notify::OK.to_owned()));
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"] }));
    let options =
        |worker: &str| DispatchOptions { worker: worker.to_owned(), lease: Duration::from_secs(1), ..quick() };
    let first = gate.dispatch(options("first"));
    let names: Vec<String> = (0..120).map(|round| format!("e{round:03}")).collect();
    let events: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), if name.ends_with('0') { "" } else { "k" })).collect();
    gate.publish(&events);
    gate.until("it has begun", || receiver.seen().len() > 10);
    let second = gate.dispatch(options("second"));
    first.kill(&gate);
    gate.until_delivered("tax", 120);
    second.end(&gate);
    let mut applied: Vec<String> = Vec::new();
    for id in ids(&receiver.seen()) {
        if !applied.contains(&id) {
            applied.push(id);
        }
    }
    let of_key: Vec<&String> = applied.iter().filter(|id| !id.ends_with('0')).collect();
    assert!(of_key.is_sorted(), "{of_key:?}");
    assert_eq!(applied.len(), 120);
    let repeated = receiver.seen().len() - 120;
    assert!(repeated <= 16, "{repeated} requests were made twice");
}

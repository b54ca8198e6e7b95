//! Events on their way to receivers: order, retries, replays, reversals, batches and takeover, over real sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::engine::Stop;
use tidegate::feed::{Feed, FeedOptions};
use tidegate::model::definition::Kind;
use tidegate::model::*;
use tidegate::notify::client::{Client, ClientOptions, SystemNames};
use tidegate::notify::outcome::Retries;
use tidegate::notify::replay::{self, ReplayState, Window};
use tidegate::notify::{DispatchOptions, Dispatcher};
use tidegate::store::Store;
use tidegate::store::postgres::{PostgresOptions, PostgresStore};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::receiver::{Receiver, Says, Seen};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Nothing that is waited for takes longer on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store with the gate's parts, and no market.
pub struct Gate {
    pub runtime: Runtime,
    pub store: Arc<dyn Store>,
    pub feed: Feed,
    pub clock: Clock,
    _folder: Option<TempDir>,
}

/// A dispatcher at work; it ends when this is dropped.
pub struct Running {
    stop: Stop,
    task: Option<JoinHandle<Result<()>>>,
}

impl Running {
    /// As SIGTERM ends it.
    pub fn end(mut self, gate: &Gate) {
        self.stop.ask();
        gate.runtime.block_on(self.task.take().unwrap()).unwrap().unwrap();
    }

    /// As SIGKILL ends it.
    pub fn kill(mut self, gate: &Gate) {
        let task = self.task.take().unwrap();
        task.abort();
        drop(gate.runtime.block_on(task));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Options for tests: nothing takes long.
pub fn quick() -> DispatchOptions {
    let waits = vec![Duration::from_millis(20); 200];
    DispatchOptions {
        lease: Duration::from_secs(2),
        retries: Retries { waits, jitter: 0.0 },
        timeout: Duration::from_secs(5),
        watch_every: Duration::from_millis(50),
        ..DispatchOptions::default()
    }
}

pub fn client() -> Client {
    let options = ClientOptions {
        connect_timeout: Duration::from_secs(2),
        keep_alive: Duration::from_secs(60),
        idle_per_host: 16,
        answer_bytes_max: 4_096,
        allow: vec![Subnet::parse("127.0.0.0/8").unwrap()],
        plain_http: true,
        ca: None,
    };
    Client::new(&options, Arc::new(SystemNames)).unwrap()
}

impl Gate {
    pub fn new() -> Gate {
        let folder = TempDir::new().unwrap();
        let gate = Gate::open(&folder.path().join("gate.db"));
        Gate { _folder: Some(folder), ..gate }
    }

    pub fn open(path: &Path) -> Gate {
        let options = SqliteOptions { create: true, ..SqliteOptions::default() };
        Gate::over(Arc::new(SqliteStore::open(path, options, Clock::system()).unwrap()))
    }

    pub fn on_postgres(url: &str) -> Gate {
        let runtime = Runtime::new().unwrap();
        let options = PostgresOptions { create: true, ..PostgresOptions::default() };
        let store = runtime.block_on(PostgresStore::open(url, options, Clock::system())).unwrap();
        Gate::on(runtime, Arc::new(store))
    }

    fn over(store: Arc<dyn Store>) -> Gate {
        Gate::on(Runtime::new().unwrap(), store)
    }

    fn on(runtime: Runtime, store: Arc<dyn Store>) -> Gate {
        let feed = FeedOptions { poll: Duration::from_millis(20), ..FeedOptions::default() };
        let feed = runtime.block_on(Feed::start(store.clone(), feed)).unwrap();
        Gate { runtime, store, feed, clock: Clock::system(), _folder: None }
    }

    pub fn commit(&self, changes: Vec<Change>) -> Receipt {
        let commit = Commit { at: self.clock.now(), fence: None, changes };
        self.runtime.block_on(self.store.commit(commit)).unwrap()
    }

    pub fn define(&self, kind: Kind, name: &str, body: Value) {
        self.commit(vec![Change::Define { kind, name: name.to_owned(), body, expect: None }]);
    }

    /// A subscription to `url` with what `more` says of it.
    pub fn subscribe(&self, name: &str, url: &str, more: Value) {
        let term = json!({ "secret": SECRET, "since": "2026-01-01T00:00:00Z", "until": null });
        self.define(Kind::Secret, &format!("subscription:{name}"), json!([term]));
        let head = self.store_head();
        let mut body = json!({ "url": url, "types": ["*"], "after": head });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.define(Kind::Subscription, name, body);
    }

    fn store_head(&self) -> u64 {
        self.commit(Vec::new()).last_event
    }

    pub fn subscription(&self, name: &str) -> Subscription {
        let found = self.runtime.block_on(self.store.definition(Kind::Subscription, name)).unwrap().unwrap();
        serde_json::from_value(found.body).unwrap()
    }

    /// Publishes events of the type `contract.confirmed`; their numbers come back.
    pub fn publish(&self, events: &[(&str, &str)]) -> Vec<u64> {
        let message = |(id, key): &(&str, &str)| message(id, "contract.confirmed", key, &[]);
        self.publish_all(events.iter().map(message).collect())
    }

    pub fn publish_all(&self, messages: Vec<Message>) -> Vec<u64> {
        let publish = |message| Change::Publish { message, expect_new: true };
        let receipt = self.commit(messages.into_iter().map(publish).collect());
        receipt.published.iter().map(|published| published.event).collect()
    }

    pub fn dispatch(&self, options: DispatchOptions) -> Running {
        let (store, feed, clock) = (self.store.clone(), self.feed.clone(), self.clock.clone());
        let dispatcher = Dispatcher { store, feed, client: client(), clock, options: Arc::new(options) };
        let stop = Stop::default();
        let asked = stop.clone();
        let task = self.runtime.spawn(async move { dispatcher.serve(&asked).await });
        Running { stop, task: Some(task) }
    }

    pub fn receiver(&self, says: impl Fn(usize, &Seen) -> Says + Send + Sync + 'static) -> Receiver {
        Receiver::start(&self.runtime, "127.0.0.1:0", says)
    }

    pub fn waiting(&self, subscription: &str) -> Vec<Delivery> {
        let subscription = Some(subscription.to_owned());
        let wanted = DeliveriesWanted { subscription, limit: 100_000, ..DeliveriesWanted::default() };
        self.runtime.block_on(self.store.deliveries(&wanted)).unwrap()
    }

    /// Oldest first.
    pub fn attempts(&self, subscription: &str) -> Vec<Attempt> {
        let subscription = Some(subscription.to_owned());
        let after = Some(0);
        let wanted = AttemptsWanted { subscription, after, limit: 100_000, ..AttemptsWanted::default() };
        self.runtime.block_on(self.store.attempts(&wanted)).unwrap()
    }

    /// The data of every event of a kind.
    pub fn told(&self, kind: EventType) -> Vec<Value> {
        let events = self.runtime.block_on(self.store.events(0, 1_000_000)).unwrap();
        events.into_iter().filter(|event| event.kind == kind).map(|event| event.data).collect()
    }

    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "it never came to pass: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every delivery of a subscription is settled, and so many attempts worked.
    pub fn until_delivered(&self, subscription: &str, count: usize) {
        self.until(&format!("{count} deliveries to {subscription}"), || {
            let attempts = self.attempts(subscription);
            let delivered = attempts.iter().filter(|attempt| attempt.outcome == AttemptOutcome::Delivered).count();
            delivered >= count && self.waiting(subscription).is_empty()
        });
    }
}

pub fn message(id: &str, kind: &str, key: &str, extensions: &[(&str, &str)]) -> Message {
    Message {
        event: 0,
        at: Instant(0),
        id: id.to_owned(),
        source: "/settlement".to_owned(),
        kind: kind.to_owned(),
        time: None,
        subject: None,
        key: Some(key.to_owned()).filter(|key| !key.is_empty()),
        schema: None,
        content_type: None,
        extensions: extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        content: Content::Json(format!(r#"{{"id":"{id}","amount":1250.00}}"#)),
    }
}

/// The plainest answer.
pub const OK: &str = "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";

pub fn ok() -> Says {
    Says::Answer(OK.to_owned())
}

/// The `id` of the event of each request.
pub fn ids(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| json_of(seen)["id"].as_str().unwrap().to_owned()).collect()
}

fn json_of(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

#[test]
fn events_arrive_signed_in_the_order_of_their_keys_and_only_where_they_are_wanted() {
    let gate = Gate::new();
    let (all, few) = (gate.receiver(|_, _| ok()), gate.receiver(|_, _| ok()));
    gate.subscribe("all", &all.url(), json!({}));
    let filter = json!([{ "field": "key", "op": "eq", "value": "b" }]);
    gate.subscribe("few", &few.url(), json!({ "types": ["contract.*"], "filters": filter }));
    let running = gate.dispatch(quick());
    let mut numbers = Vec::new();
    for round in 0..40 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        numbers.extend(gate.publish(&[(&a, "a"), (&b, "b")]));
    }
    gate.until("all have arrived", || all.seen().len() >= 81 && few.seen().len() == 40);
    running.end(&gate);
    let seen: Vec<Seen> = all.seen().into_iter().filter(|seen| seen.text().contains("contract")).collect();
    for key in ["a", "b"] {
        let of_key: Vec<String> = ids(&seen).into_iter().filter(|id| id.starts_with(key)).collect();
        assert_eq!(of_key, (0..40).map(|round| format!("{key}{round}")).collect::<Vec<_>>());
    }
    assert_eq!(ids(&few.seen()), (0..40).map(|round| format!("b{round}")).collect::<Vec<_>>());
    let first = seen.iter().find(|seen| json_of(seen)["id"] == "a0").unwrap();
    assert_eq!(first.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert!(first.text().contains(r#""data":{"id":"a0","amount":1250.00}"#), "{}", first.text());
    assert_eq!(first.header("webhook-id"), format!("evt_{}_{}", gate.feed.epoch(), numbers[0]));
    let signed = standardwebhooks::Webhook::new(SECRET).unwrap();
    for seen in all.seen() {
        let mut headers = reqwest::header::HeaderMap::new();
        for (name, value) in &seen.headers {
            headers.insert(reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        signed.verify(&seen.body, &headers).unwrap();
    }
    assert!(all.connections() <= 16, "connections are kept: {}", all.connections());
    let own: Vec<Value> = all.seen().iter().map(json_of).filter(|seen| seen["source"] == "/tidegate").collect();
    assert!(own.iter().any(|own| own["type"] == "definition.changed"), "{own:?}");
}

#[test]
fn what_fails_is_tried_again_with_one_name_and_a_fresh_signature_while_its_key_waits() {
    let gate = Gate::new();
    let receiver = gate.receiver(|_, seen| match seen.text().contains("\"bad\"") {
        true => Says::status(500, &[], "no\u{7} luck"),
        false => ok(),
    });
    let more = json!({ "types": ["contract.*"], "retry_seconds": [0.3, 1.1], "when_dead": "block" });
    gate.subscribe("tax", &receiver.url(), more);
    let running = gate.dispatch(quick());
    let numbers = gate.publish(&[("bad", "k"), ("after", "k"), ("other", "o")]);
    gate.until("it is dead", || gate.waiting("tax").iter().any(|delivery| delivery.state == DeliveryState::Dead));
    let seen = receiver.seen();
    let mut came = ids(&seen);
    came.sort();
    assert_eq!(came, ["bad", "bad", "bad", "other"]);
    let tried: Vec<&Seen> = seen.iter().filter(|seen| seen.text().contains("\"bad\"")).collect();
    assert!(tried.windows(2).all(|two| two[0].header("webhook-id") == two[1].header("webhook-id")));
    assert_ne!(tried[0].header("webhook-signature"), tried[2].header("webhook-signature"));
    let attempts: Vec<Attempt> = gate.attempts("tax").into_iter().filter(|one| one.event == numbers[0]).collect();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
    use AttemptOutcome::{Exhausted, Failed};
    assert_eq!(outcomes, [(1, Failed), (2, Failed), (3, Exhausted)]);
    assert_eq!(attempts[0].error.as_deref(), Some("HTTP_500"));
    assert_eq!(attempts[0].detail.as_deref(), Some("no\u{fffd} luck"));
    let blocked = gate.runtime.block_on(gate.store.blocked_keys(None, 9)).unwrap();
    assert_eq!((blocked[0].key.as_str(), blocked[0].event, blocked[0].waiting), ("k", numbers[0], 1));
    let failed = gate.told(EventType::DeliveryFailed);
    assert_eq!((&failed[0]["event"], &failed[0]["severity"]), (&json!(numbers[0]), &json!("warning")));
    assert_eq!(failed[0]["blocks"], true);

    let (subscription, by) = ("tax".to_owned(), "anna".to_owned());
    let chosen = Chosen::Event(numbers[0]);
    gate.commit(vec![Change::Decide { subscription, chosen, decision: Decision::Park, by }]);
    gate.until("the key goes on", || receiver.seen().len() == 5);
    assert_eq!(ids(&receiver.seen())[4], "after");
    running.end(&gate);
}

#[test]
fn a_refusal_stops_at_once_and_tells_people_and_a_parked_event_lets_its_key_go_on() {
    let gate = Gate::new();
    let receiver = gate.receiver(|before, _| if before == 0 { Says::status(422, &[], "no such field") } else { ok() });
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "when_dead": "park" }));
    gate.subscribe("gate", &receiver.url(), json!({ "types": ["delivery.failed"] }));
    let running = gate.dispatch(quick());
    gate.publish(&[("bad", "k"), ("after", "k")]);
    gate.until("the next has arrived", || receiver.seen().len() == 3);
    let parked = gate.waiting("tax");
    assert_eq!((parked.len(), parked[0].state, parked[0].attempts), (1, DeliveryState::Parked, 1));
    assert_eq!(gate.attempts("tax")[0].outcome, AttemptOutcome::Refused);
    let told: Vec<Value> = receiver.seen().iter().map(json_of).collect();
    let failed = told.iter().find(|told| told["type"] == "delivery.failed").unwrap();
    assert_eq!((&failed["data"]["severity"], &failed["data"]["status"]), (&json!("severe"), &json!(422)));
    running.end(&gate);
}

#[test]
fn an_endpoint_that_hangs_is_alone_with_it() {
    let gate = Gate::new();
    let (hangs, works) = (gate.receiver(|_, _| Says::Silence), gate.receiver(|_, _| ok()));
    gate.subscribe("hangs", &hangs.url(), json!({ "types": ["contract.*"], "timeout_seconds": 30.0 }));
    gate.subscribe("works", &works.url(), json!({ "types": ["contract.*"] }));
    let options = DispatchOptions { requests_per_subscription: 4, drain: Duration::from_millis(200), ..quick() };
    let running = gate.dispatch(options);
    for round in 0..100 {
        gate.publish(&[(&format!("e{round}"), &format!("k{round}"))]);
    }
    gate.until_delivered("works", 100);
    assert_eq!(hangs.seen().len(), 4, "as many as one endpoint may have at once");
    running.end(&gate);
    assert_eq!(gate.waiting("hangs").len(), 100, "what was broken off waits");
}

#[test]
fn a_rate_is_kept() {
    let gate = Gate::new();
    let receiver = gate.receiver(|_, _| ok());
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "per_second": 50.0 }));
    let running = gate.dispatch(quick());
    let names: Vec<String> = (0..30).map(|round| format!("e{round}")).collect();
    gate.publish(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    gate.until_delivered("tax", 30);
    running.end(&gate);
    let attempts = gate.attempts("tax");
    let times: Vec<i64> = attempts.iter().map(|attempt| attempt.at.0 / 1_000).collect();
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(last - first >= 29 * 20, "30 requests in {} ms", last - first);
}

#[test]
fn batches_go_out_full_or_after_their_delay_and_keep_their_name_when_they_fail() {
    let gate = Gate::new();
    let receiver = gate.receiver(|before, _| if before == 0 { Says::status(503, &[], "") } else { ok() });
    let mode = json!({ "batch": { "size": 3, "delay_ms": 400, "pause_ms": 10 } });
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "mode": mode }));
    let running = gate.dispatch(quick());
    let numbers = gate.publish(&[("a", "k"), ("b", "k"), ("c", "l"), ("d", "k"), ("e", "")]);
    gate.until_delivered("tax", 5);
    running.end(&gate);
    let seen = receiver.seen();
    let composed: Vec<Vec<String>> = seen
        .iter()
        .map(|seen| {
            let events = json_of(seen);
            events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
        })
        .collect();
    assert!(composed.contains(&vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]), "{composed:?}");
    assert_eq!(seen[0].header("content-type"), "application/cloudevents-batch+json; charset=utf-8");
    let again: Vec<&Seen> = seen.iter().filter(|other| other.body == seen[0].body).collect();
    assert_eq!(again.len(), 2, "what failed goes out again as it was");
    assert_eq!(again[0].header("webhook-id"), again[1].header("webhook-id"));
    assert!(again[0].header("webhook-id").starts_with("bat_"));
    let order: Vec<&String> =
        composed[1..].iter().flatten().filter(|id| ["a", "b", "d"].contains(&id.as_str())).collect();
    assert_eq!(order, ["a", "b", "d"], "the key keeps its order");
    let requests: Vec<String> = gate.attempts("tax").into_iter().map(|attempt| attempt.request).collect();
    assert_eq!(requests.len(), 3 + 5);
    assert_eq!(numbers.len(), 5);
}

#[test]
fn a_nightly_batch_goes_out_at_its_time_in_requests_of_its_size_with_a_pause_between_them() {
    let night = Instant::parse("2026-01-10T02:00:00+08:00").unwrap();
    let gate = Gate { clock: Clock::starting_at(night.plus_seconds(-5)), ..Gate::new() };
    let receiver = gate.receiver(|_, _| ok());
    let mode = json!({ "batch": { "size": 3, "cron": "0 2 * * *", "pause_ms": 150 } });
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "mode": mode }));
    let running = gate.dispatch(quick());
    gate.publish(&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", ""), ("g", "")]);
    gate.until("everything waits for the night", || gate.waiting("tax").len() == 7);
    assert!(gate.waiting("tax").iter().all(|delivery| delivery.due_at == night));
    gate.until_delivered("tax", 7);
    gate.publish(&[("h", "")]);
    gate.until("the next one waits for the next night", || gate.waiting("tax").len() == 1);
    assert_eq!(gate.waiting("tax")[0].due_at, night.plus_seconds(86_400));
    running.end(&gate);
    let sizes = receiver.seen().iter().map(|seen| json_of(seen).as_array().unwrap().len()).collect::<Vec<_>>();
    assert_eq!(sizes, [3, 3, 1]);
    let mut times: Vec<Instant> = gate.attempts("tax").into_iter().map(|attempt| attempt.at).collect();
    times.dedup();
    assert!(times[0] >= night && times.len() == 3, "{times:?}");
    assert!(times.windows(2).all(|two| two[1].millis_since(two[0]) >= 150), "{times:?}");
}

#[test]
fn the_missions_form_is_what_its_receiver_reads() {
    let gate = Gate::new();
    let receiver = gate.receiver(|_, _| ok());
    let more = json!({ "types": ["l1_confirmed"], "form": "mission", "source_system": "settlement" });
    gate.subscribe("tax", &receiver.url(), more);
    let running = gate.dispatch(quick());
    let content = r#"{"voucher_id":1001,"contract_no":"L1-20251219-001","amount":100000.00}"#;
    let said = Message { content: Content::Json(content.to_owned()), ..message("V1", "l1_confirmed", "k", &[]) };
    gate.publish_all(vec![said]);
    gate.until_delivered("tax", 1);
    running.end(&gate);
    let seen = &receiver.seen()[0];
    let body = json_of(seen);
    assert_eq!((&body["event"], &body["voucher_id"]), (&json!("l1_confirmed"), &json!(1001)));
    assert_eq!(body["data"]["contract_no"], "L1-20251219-001");
    assert_eq!((seen.header("x-source-system"), seen.header("content-type")), ("settlement", "application/json"));
    assert!(seen.header("x-signature").starts_with("sha256:") && !seen.header("x-timestamp").is_empty());
}

#[test]
fn a_replay_sends_a_window_again_and_only_what_never_arrived_if_asked() {
    let gate = Gate::new();
    let receiver = gate.receiver(|before, seen| match before < 6 && seen.text().contains("\"bad\"") {
        true => Says::status(400, &[], ""),
        false => ok(),
    });
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "when_dead": "park" }));
    let running = gate.dispatch(quick());
    let numbers = gate.publish(&[("a", "k"), ("bad", "k"), ("c", "k"), ("d", "l")]);
    gate.until("all were tried", || receiver.seen().len() == 4 && gate.waiting("tax").len() == 1);
    let by = "anna".to_owned();
    let skip = Change::Decide {
        subscription: "tax".to_owned(),
        chosen: Chosen::Event(numbers[1]),
        decision: Decision::Skip,
        by,
    };
    gate.commit(vec![skip]);
    let window = |only_failed| Window {
        subscription: "tax".to_owned(),
        from: numbers[0],
        to: numbers[3],
        types: vec!["contract.*".to_owned()],
        only_failed,
    };
    let preview = |window| gate.runtime.block_on(replay::preview(&gate.store, &gate.feed, &window, 1_000)).unwrap();
    assert_eq!((preview(window(false)).matched, preview(window(true)).matched), (4, 1));
    let start = |window| gate.runtime.block_on(replay::start(&*gate.store, &gate.clock, window, None, "anna")).unwrap();
    let failed = start(window(true));
    let done = |number| {
        let status = gate.runtime.block_on(replay::get(&*gate.store, number)).unwrap();
        status.replay.state == ReplayState::Done
    };
    gate.until("the replay of what failed is done", || done(failed.number) && receiver.seen().len() >= 5);
    gate.until("it was tried", || gate.attempts("tax").len() == 6);
    let all = start(window(false));
    gate.until("the replay of everything is done", || done(all.number));
    gate.until("everything has gone out again", || receiver.seen().len() == 9);
    let again = ids(&receiver.seen()[5..]);
    assert_eq!(again.iter().filter(|id| *id != "d").collect::<Vec<_>>(), ["a", "bad", "c"], "in the order of the key");
    let names: std::collections::BTreeSet<String> =
        receiver.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!(names.len(), 4, "an event keeps its name");
    let by: Vec<String> = gate.attempts("tax").into_iter().skip(6).map(|attempt| attempt.by).collect();
    assert!(by.iter().all(|by| *by == format!("replay:{}", all.number)), "{by:?}");
    running.end(&gate);
}

#[test]
fn a_reversal_reaches_those_who_have_the_original_and_nobody_else() {
    let gate = Gate::new();
    let (first, second) = (gate.receiver(|_, _| ok()), gate.receiver(|_, _| ok()));
    gate.subscribe("first", &first.url(), json!({ "types": ["contract.confirmed"] }));
    let running = gate.dispatch(quick());
    gate.publish(&[("V1", "k")]);
    gate.until_delivered("first", 1);
    gate.subscribe("second", &second.url(), json!({ "types": ["contract.*"] }));
    let reversed = message("V1-back", "contract.reversed", "k", &[("reverses", "V1")]);
    let plain = message("V2", "contract.closed", "m", &[]);
    gate.publish_all(vec![reversed, plain]);
    gate.until_delivered("first", 2);
    gate.until_delivered("second", 1);
    running.end(&gate);
    assert_eq!(ids(&first.seen()), ["V1", "V1-back"]);
    assert_eq!(ids(&second.seen()), ["V2"]);
}

#[test]
fn a_new_subscription_may_begin_in_the_past_and_misses_nothing() {
    let gate = Gate::new();
    let (early, late) = (gate.receiver(|_, _| ok()), gate.receiver(|_, _| ok()));
    gate.subscribe("early", &early.url(), json!({ "types": ["contract.*"] }));
    let running = gate.dispatch(quick());
    gate.publish(&[("a", "k"), ("b", "k"), ("c", "k")]);
    gate.until_delivered("early", 3);
    gate.subscribe("late", &late.url(), json!({ "types": ["contract.*"], "after": 0 }));
    gate.publish(&[("d", "k")]);
    gate.until_delivered("late", 4);
    running.end(&gate);
    assert_eq!(ids(&late.seen()).iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    assert_eq!(late.seen().len(), 4);
    let running = gate.dispatch(quick());
    gate.publish(&[("e", "k")]);
    gate.until_delivered("late", 5);
    running.end(&gate);
    assert_eq!(late.seen().len(), 5, "the past is not told twice");
}

#[test]
fn repeated_failure_warns_pauses_probes_and_recovers() {
    let gate = Gate::new();
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let says = healthy.clone();
    let receiver = gate.receiver(move |_, _| match says.load(std::sync::atomic::Ordering::SeqCst) {
        true => ok(),
        false => Says::status(500, &[], ""),
    });
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"] }));
    let mut options = quick();
    (options.health.warn_failures, options.health.pause_failures) = (2, 4);
    options.health.probe_first = Duration::from_millis(100);
    options.health.probe_cap = Duration::from_millis(200);
    let running = gate.dispatch(options);
    gate.publish(&[("a", "k"), ("b", "l")]);
    gate.until("it is paused", || gate.subscription("tax").state == SubscriptionState::Failing);
    assert!(gate.subscription("tax").reason.is_some());
    healthy.store(true, std::sync::atomic::Ordering::SeqCst);
    gate.until_delivered("tax", 2);
    gate.until("it is active again", || gate.subscription("tax").state == SubscriptionState::Active);
    running.end(&gate);
    let health: Vec<Value> =
        gate.told(EventType::SubscriptionHealth).into_iter().map(|data| data["health"].clone()).collect();
    assert_eq!(health, ["warned", "paused", "recovered"]);
}

#[test]
fn thresholds_that_are_crossed_are_told_once() {
    let gate = Gate::new();
    let receiver = gate.receiver(|_, _| Says::status(500, &[], ""));
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "retry_seconds": [600.0] }));
    let running = gate.dispatch(quick());
    let names: Vec<String> = (0..60).map(|round| format!("e{round}")).collect();
    gate.publish(&names.iter().map(|name| (name.as_str(), "one")).collect::<Vec<_>>());
    gate.until("the backlog is told", || !gate.told(EventType::GateAlert).is_empty());
    let told = gate.told(EventType::GateAlert);
    let backlog: Vec<&Value> = told.iter().filter(|told| told["metric"] == "backlog").collect();
    assert_eq!(backlog.len(), 1, "{told:?}");
    assert_eq!((&backlog[0]["severity"], &backlog[0]["state"]), (&json!("warning"), &json!("raised")));
    assert_eq!((&backlog[0]["value"], &backlog[0]["threshold"]), (&json!(60.0), &json!(50.0)));
    running.end(&gate);
    let running = gate.dispatch(quick());
    let (subscription, chosen, by) = ("tax".to_owned(), Chosen::All, "anna".to_owned());
    gate.commit(vec![Change::Decide { subscription, chosen, decision: Decision::Retry, by }]);
    gate.commit(vec![Change::ForgetDeliveries { subscription: "tax".to_owned() }]);
    let cleared = |told: &Value| told["metric"] == "backlog" && told["state"] == "cleared";
    gate.until("it is told to be over", || gate.told(EventType::GateAlert).iter().any(cleared));
    running.end(&gate);
    let of_backlog = gate.told(EventType::GateAlert).into_iter().filter(|told| told["metric"] == "backlog").count();
    assert_eq!(of_backlog, 2, "a restart tells nothing twice");
}

#[test]
fn a_replay_keeps_its_pace_stops_when_it_is_paused_and_goes_on_after_a_restart() {
    let gate = Gate::new();
    let receiver = gate.receiver(|_, _| ok());
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"] }));
    let running = gate.dispatch(quick());
    let names: Vec<String> = (0..60).map(|round| format!("e{round:02}")).collect();
    let numbers = gate.publish(&names.iter().map(|name| (name.as_str(), "k")).collect::<Vec<_>>());
    gate.until_delivered("tax", 60);
    let window = Window {
        subscription: "tax".to_owned(),
        from: numbers[0],
        to: numbers[59],
        types: Vec::new(),
        only_failed: false,
    };
    let started = replay::start(&*gate.store, &gate.clock, window, Some(40.0), "anna");
    let number = gate.runtime.block_on(started).unwrap().number;
    let status = || gate.runtime.block_on(replay::get(&*gate.store, number)).unwrap();
    let change = |state| gate.runtime.block_on(replay::change(&*gate.store, &gate.clock, number, state)).unwrap();
    gate.until("some have gone out again", || receiver.seen().len() > 65);
    change(ReplayState::Paused);
    running.end(&gate);
    let paused = status();
    assert!(paused.progress.matched < 60, "{paused:?}");
    let running = gate.dispatch(quick());
    gate.publish(&[("later", "k")]);
    gate.until("the later one has arrived", || ids(&receiver.seen()).contains(&"later".to_owned()));
    assert_eq!(status().progress, paused.progress, "a pause outlives the process");
    change(ReplayState::Running);
    gate.until("it is done", || status().replay.state == ReplayState::Done);
    gate.until_delivered("tax", 121);
    running.end(&gate);
    let mut counts = std::collections::BTreeMap::new();
    ids(&receiver.seen()).into_iter().for_each(|id| *counts.entry(id).or_insert(0) += 1);
    assert!(names.iter().all(|name| counts[name] == 2), "{counts:?}");
    assert_eq!(status().progress.matched, 60);
}

#[test]
fn what_becomes_of_events_about_the_gate_makes_no_further_ones() {
    let gate = Gate::new();
    let receiver = gate.receiver(|_, _| Says::status(500, &[], ""));
    let more = |types: &str| json!({ "types": [types], "retry_seconds": [], "when_dead": "park" });
    gate.subscribe("tax", &receiver.url(), more("contract.*"));
    gate.subscribe("gate", &receiver.url(), more("delivery.*"));
    let mut options = quick();
    (options.health.warn_failures, options.health.pause_failures) = (1_000, 1_000);
    let running = gate.dispatch(options);
    gate.publish(&[("a", "k")]);
    gate.until("both were tried", || gate.attempts("tax").len() == 1 && gate.attempts("gate").len() == 1);
    gate.publish(&[("b", "k")]);
    gate.until("both were tried again", || gate.attempts("tax").len() == 2 && gate.attempts("gate").len() == 2);
    running.end(&gate);
    let told: Vec<Value> =
        gate.told(EventType::DeliveryFailed).into_iter().map(|told| told["subscription"].clone()).collect();
    assert_eq!(told, ["tax", "tax"]);
}

//! Subscriptions through the real program: REST, commands, secrets that are shown once, rotation, test events, and the check of
//! signatures.

use reqwest::Method;
use serde_json::{Value, json};
use tidegate::dialect::webhook::{Headers, Incoming, Keyring, Secret, verify};
use tidegate::model::definition::Kind;
use tidegate::model::{Clock, Event, Instant, SignatureForm};
use tidegate::notify::subscribers::{Subscribers, changes_subscriptions};
use tidegate::store::Store;

use crate::receive::until;
use crate::receiver::{Receiver, Says, Seen};
use crate::serving::{Answer, Serving};
use crate::world::{Wanted, World};

const ALLOWED: [&str; 4] = ["--set", "notify.allow=127.0.0.1", "--set", "notify.plain_http=true"];

fn world() -> World {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    world
}

fn serving<'w>(world: &'w World, arguments: &[&str]) -> Serving<'w> {
    Serving::start(world, &[&ALLOWED, arguments].concat())
}

fn put(serving: &Serving<'_>, path: &str, body: Value) -> Answer {
    serving.ask(Method::PUT, path, &[], Some(body))
}

fn add(serving: &Serving<'_>, body: Value) -> Value {
    serving.post("/api/v1/subscriptions", body).of_status(201)
}

/// Whether a request was signed with a secret.
fn is_signed(seen: &Seen, form: SignatureForm, secret: &str) -> bool {
    let headers: Headers = seen.headers.iter().cloned().collect();
    let now = Clock::system().now();
    let incoming = Incoming { headers: &headers, body: &seen.body, now, tolerance_seconds: 300 };
    verify(form, &[Secret::new(secret)], &incoming).is_ok()
}

#[test]
fn a_secret_is_shown_when_it_is_made_and_nowhere_else() {
    let world = world();
    let serving = serving(&world, &["--set", "log.level=debug"]);
    let wanted = json!({ "name": "tax", "url": "https://tax.example/hook", "types": ["contract.*"] });
    let answer = serving.post("/api/v1/subscriptions", wanted.clone());
    let made = answer.of_status(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let secret = made["secret"].as_str().unwrap().to_string();
    assert!(secret.starts_with("whsec_"));
    assert_eq!((&made["state"], &made["form"], &made["revision"]), (&json!("active"), &json!("standard"), &json!(1)));
    let own = json!({ "name": "own", "url": "https://a.example/", "types": ["*"], "form": "mission", "secret": "our-own-secret" });
    assert_eq!(add(&serving, own)["secret"], "our-own-secret");
    let rotated = serving.post("/api/v1/subscriptions/tax/rotate-secret", json!({ "overlap_hours": 1 })).of_status(200);
    let second = rotated["secret"].as_str().unwrap().to_string();
    assert_ne!(second, secret);
    assert_eq!(rotated["secrets"].as_array().unwrap().len(), 2);

    let mut everything = String::new();
    for path in [
        "/api/v1/subscriptions",
        "/api/v1/subscriptions/tax",
        "/api/v1/subscriptions/own",
        "/api/v1/changes",
        "/api/v1/logs",
        "/api/v1/settings",
        "/metrics",
    ] {
        everything.push_str(&String::from_utf8_lossy(&serving.get(path).bytes));
    }
    everything.push_str(&format!("{:?}", world.events()));
    everything.push_str(&world.run(&["subscriptions", "show", "tax", "--json"], 0).stdout);
    for entry in std::fs::read_dir(world.folder.path().join("logs")).into_iter().flatten() {
        everything.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    for hidden in [&secret[6..], &second[6..], "our-own-secret"] {
        assert!(!everything.contains(hidden), "a secret was shown");
    }
    assert!(everything.contains("secret of subscription tax rotated"), "the journal says that it was rotated");
    assert_eq!(serving.post("/api/v1/subscriptions", wanted).status, 409);
}

#[test]
fn a_subscription_is_changed_paused_and_removed_and_mistakes_name_the_field() {
    let world = world();
    let serving = serving(&world, &[]);
    add(
        &serving,
        json!({ "name": "tax", "url": "https://tax.example/hook", "types": ["contract.*"], "per_second": 5 }),
    );
    let path = "/api/v1/subscriptions/tax";
    let changed =
        put(&serving, path, json!({ "types": ["invoice.*"], "per_second": null, "revision": 1 })).of_status(200);
    assert_eq!(
        (&changed["types"], &changed["per_second"], &changed["revision"]),
        (&json!(["invoice.*"]), &json!(null), &json!(2))
    );
    assert!(changed.get("secret").is_none(), "nothing was made");
    assert_eq!(put(&serving, path, json!({ "title": "x", "revision": 1 })).status, 409);
    let paused = serving.post(&format!("{path}/pause"), json!({ "reason": "holiday" })).of_status(200);
    assert_eq!((&paused["state"], &paused["reason"]), (&json!("paused"), &json!("holiday")));
    let changed = put(&serving, path, json!({ "title": "Tax" })).of_status(200);
    assert_eq!(
        (&changed["state"], &changed["reason"]),
        (&json!("paused"), &json!("holiday")),
        "a change does not resume"
    );
    assert_eq!(serving.post(&format!("{path}/resume"), json!({})).of_status(200)["state"], "active");

    // Another form needs another kind of secret: it comes with the change.
    let pair = put(&serving, path, json!({ "form": "standard_ed25519" })).of_status(200);
    assert!(pair["secret"].as_str().unwrap().starts_with("whsk_"));
    assert!(pair["secrets"][0]["public_half"].as_str().unwrap().starts_with("whpk_"));

    for (body, field) in [
        (json!({ "url": "https://10.0.0.1/" }), "url"),
        (json!({ "url": "http://169.254.169.254/latest" }), "url"),
        (json!({ "types": ["a", "b*"] }), "types[1]"),
        (json!({ "filters": [{ "field": "data.a", "op": "gt", "value": true }] }), "filters[0].value"),
        (json!({ "mode": { "batch": { "size": 5, "cron": "soon" } } }), "mode.batch.cron"),
        (json!({ "form": "hmac" }), "form"),
        (json!({ "state": "paused" }), "state"),
        (json!({ "colour": "red" }), "colour"),
        (json!({ "revision": "two" }), "revision"),
        (json!({ "secret": "whsec_another" }), "name"),
    ] {
        let problem = put(&serving, path, body.clone()).of_status(400);
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
    let before = serving.get(path).of_status(200);
    let problem =
        serving.post("/api/v1/subscriptions", json!({ "name": "A b", "url": "https://a.example", "types": ["*"] }));
    assert_eq!(problem.of_status(400)["field"], "name");
    let problem = serving.post(&format!("{path}/rotate-secret"), json!({ "secret": "short" })).of_status(400);
    assert_eq!(problem["field"], "secret");
    assert_eq!(serving.get(path).of_status(200), before, "nothing was written");

    assert_eq!(serving.ask(Method::DELETE, path, &[], None).status, 204);
    assert_eq!(serving.get(path).status, 404);
    let secrets = world.runtime.block_on(world.store().definitions(Kind::Secret)).unwrap();
    assert!(secrets.is_empty(), "its secrets are gone with it");
}

#[test]
fn roles_decide_who_may_do_what() {
    let world = world();
    let key =
        |name: &str, role: &str| world.run(&["keys", "create", name, "--role", role], 0).stdout.trim().to_string();
    let (admin, operate, read) = (key("a", "admin"), key("o", "operate"), key("r", "read"));
    let serving = serving(&world, &[]);
    let ask = |key: &str, method: Method, path: &str, body: Value| {
        let bearer = format!("Bearer {key}");
        serving.ask(method, path, &[("authorization", &bearer)], Some(body)).status.as_u16()
    };
    let wanted = json!({ "name": "tax", "url": "https://tax.example/", "types": ["*"] });
    let one = "/api/v1/subscriptions/tax";
    for (key, expected) in [(&read, 403), (&operate, 403), (&admin, 201)] {
        assert_eq!(ask(key, Method::POST, "/api/v1/subscriptions", wanted.clone()), expected);
    }
    for (path, expected) in [
        (format!("{one}/pause"), [403, 200, 200]),
        (format!("{one}/resume"), [403, 200, 200]),
        (format!("{one}/disable"), [403, 200, 200]),
        (format!("{one}/rotate-secret"), [403, 403, 200]),
    ] {
        let found = [&read, &operate, &admin].map(|key| ask(key, Method::POST, &path, json!({})));
        assert_eq!(found, expected, "{path}");
    }
    assert_eq!(
        [&read, &operate, &admin].map(|key| ask(key, Method::PUT, one, json!({ "title": "T" }))),
        [403, 403, 200]
    );
    assert_eq!(ask(&read, Method::GET, one, json!({})), 200);
    let check = json!({ "subscription": "tax", "headers": {}, "body": "" });
    assert_eq!(ask(&read, Method::POST, "/api/v1/signatures/check", check), 200);
    assert_eq!([&read, &operate].map(|key| ask(key, Method::DELETE, one, json!({}))), [403, 403]);
}

#[test]
fn a_test_event_is_signed_in_every_form_and_with_both_secrets_during_a_rotation() {
    let world = world();
    let receiver = Receiver::start(&world.runtime, "127.0.0.1:0", |_, _| Says::status(202, &[], "thanks"));
    let serving = serving(&world, &[]);
    for form in SignatureForm::ALL {
        let (name, path) = (form.name(), format!("/api/v1/subscriptions/{}", form.name()));
        let first = add(&serving, json!({ "name": name, "url": receiver.url(), "types": ["none"], "form": name }));
        let second = serving.post(&format!("{path}/rotate-secret"), json!({})).of_status(200);
        let shown = serving.post(&format!("{path}/test"), json!({})).of_status(200);
        assert_eq!(
            (&shown["delivered"], &shown["status"], &shown["detail"]),
            (&json!(true), &json!(202), &json!("thanks"))
        );
        let seen = receiver.seen().pop().unwrap();
        assert_eq!(shown["body"], seen.text());
        assert_eq!(shown["headers"][form.signature_header()], seen.header(form.signature_header()));
        let secret = |made: &Value| made["secret"].as_str().unwrap().to_string();
        assert!(is_signed(&seen, form, &secret(&second)), "{name}");
        assert_eq!(is_signed(&seen, form, &secret(&first)), form != SignatureForm::Github, "{name}");
        assert!(seen.text().contains("tidegate.test"));
    }
    assert_eq!(receiver.seen().last().unwrap().header("webhook-id").split('_').next(), Some("test"));
    let waiting = world.sqlite("select count(*) from _event where data like '%tidegate.test%'");
    assert_eq!(waiting.trim(), "0", "nothing is kept of a test");
}

#[test]
fn what_tidegate_says_of_itself_is_told_like_any_other_event() {
    let world = world();
    let receiver = Receiver::start(&world.runtime, "127.0.0.1:0", |_, _| Says::status(204, &[], ""));
    let own = serving(&world, &[]);
    let types = ["task.completed", "task.failed", "source.*", "dataset.*", "run.finished"];
    let made = add(&own, json!({ "name": "people", "url": receiver.url(), "types": types }));
    world.run(&["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-05", "--quiet"], 0);
    let read = |seen: &Seen| serde_json::from_str::<Value>(&seen.text()).unwrap();
    let told = |kind: &str, subject: Option<&str>| {
        let is_it = |event: &Value| event["type"] == kind && event["subject"].as_str() == subject;
        receiver.seen().into_iter().find(|seen| is_it(&read(seen)))
    };
    until("the run is told of", || told("run.finished", None).is_some());
    until("the task is told of", || told("task.completed", Some("daily")).is_some());
    let seen = told("task.completed", Some("daily")).unwrap();
    assert!(is_signed(&seen, SignatureForm::Standard, made["secret"].as_str().unwrap()));
    let event = read(&seen);
    assert_eq!((&event["specversion"], &event["source"]), (&json!("1.0"), &json!("/tidegate")));
    let logged = own.get("/api/v1/events?type=task.completed&subject=daily").of_status(200);
    assert_eq!(logged["items"].as_array().unwrap().len(), 1);
    for field in ["id", "source", "data"] {
        assert_eq!(logged["items"][0][field], event[field], "{field}");
    }

    // The source goes away: whoever listens hears of that as of anything else.
    assert_eq!(own.stop(), Some(0));
    let arguments = ["sources.tushare.url=http://127.0.0.1:1", "sync.failed_in_a_row_max=1", "sync.retry_cap_ms=20"];
    let arguments: Vec<&str> = arguments.into_iter().flat_map(|set| ["--set", set]).collect();
    let gone = serving(&world, &arguments);
    gone.post("/api/v1/runs", json!({ "datasets": ["daily"], "from": "20240201", "to": "20240229" })).of_status(202);
    let down = || receiver.seen().iter().map(read).find(|event| event["type"] == "source.down");
    until("the source is told of", || down().is_some());
    assert_eq!(
        (&down().unwrap()["source"], &down().unwrap()["data"]["source"]),
        (&json!("/tidegate"), &json!("tushare"))
    );
}

#[test]
fn a_test_event_that_does_not_arrive_says_why() {
    let world = world();
    let receiver = Receiver::start(&world.runtime, "127.0.0.1:0", |_, _| Says::status(503, &[], "later"));
    let serving = serving(&world, &[]);
    add(&serving, json!({ "name": "down", "url": receiver.url(), "types": ["none"] }));
    add(&serving, json!({ "name": "inside", "url": "http://localhost:1/", "types": ["none"] }));
    let down = serving.post("/api/v1/subscriptions/down/test", json!({})).of_status(200);
    assert_eq!(
        (&down["delivered"], &down["error"], &down["detail"]),
        (&json!(false), &json!("HTTP_503"), &json!("later"))
    );
    drop(serving);
    // The same store, where nothing closed is allowed: names are judged when they are connected to.
    let strict = Serving::start(&world, &["--set", "notify.plain_http=true"]);
    let inside = strict.post("/api/v1/subscriptions/inside/test", json!({})).of_status(200);
    assert_eq!((&inside["error"], &inside["status"]), (&json!("BLOCKED_ADDRESS"), &json!(null)));
    let down = strict.post("/api/v1/subscriptions/down/test", json!({})).of_status(200);
    assert_eq!(down["error"], "BLOCKED_ADDRESS");
    assert_eq!(receiver.seen().len(), 1);
}

#[test]
fn the_check_says_why_a_signature_does_not_match() {
    let world = world();
    let serving = serving(&world, &[]);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    add(&serving, json!({ "name": "tax", "url": "https://tax.example/", "types": ["*"], "secret": secret }));
    let headers = json!({
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
    let body = "{\"test\": 2432232314}";
    let at = "2021-02-25T15:02:10Z";
    for (patch, expected) in [
        (json!({ "subscription": "tax", "at": at }), vec![]),
        (json!({ "secret": secret, "at": at }), vec![]),
        (json!({ "secret": secret, "at": at, "form": "standard" }), vec![]),
        (json!({ "subscription": "tax" }), vec!["timestamp_old"]),
        (json!({ "subscription": "tax", "at": at, "body": "{\"test\":2432232314}" }), vec!["body_changed"]),
        (
            json!({ "subscription": "tax", "at": at, "body": null, "body_base64": "eyJ0ZXN0IjogMjQzMjIzMjMxNH0=" }),
            vec![],
        ),
        (json!({ "secret": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "at": at }), vec!["no_match"]),
        (json!({ "secret": "whsec_short", "at": at }), vec!["secret_unreadable"]),
        (json!({ "secret": secret, "at": at, "form": "stripe" }), vec!["other_form"]),
        (json!({ "secret": secret, "at": at, "headers": {} }), vec!["missing_header"]),
    ] {
        let mut asked = json!({ "headers": headers, "body": body });
        for (name, value) in patch.as_object().unwrap() {
            asked[name.as_str()] = value.clone();
        }
        let found = serving.post("/api/v1/signatures/check", asked.clone()).of_status(200);
        let codes: Vec<&str> =
            found["reasons"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
        assert_eq!((codes, found["matches"] == true), (expected.clone(), expected.is_empty()), "{asked}: {found}");
    }
    for (asked, field) in [
        (json!({ "headers": {}, "body": "" }), "secret"),
        (json!({ "headers": {}, "secret": "a", "subscription": "tax" }), "secret"),
        (json!({ "headers": {}, "secret": "a", "form": "x" }), "form"),
        (json!({ "headers": {}, "secret": "a", "at": "yesterday" }), "at"),
        (json!({ "headers": {}, "secret": "a", "body_base64": "?" }), "body_base64"),
    ] {
        assert_eq!(serving.post("/api/v1/signatures/check", asked.clone()).of_status(400)["field"], field, "{asked}");
    }
}

#[test]
fn commands_do_what_the_api_does() {
    let world = world();
    let receiver = Receiver::start(&world.runtime, "127.0.0.1:0", |number, _| {
        Says::status(if number == 0 { 200 } else { 500 }, &[], "answer")
    });
    let run = |arguments: &[&str], code| world.run(&[arguments, &ALLOWED].concat(), code);
    let url = receiver.url();
    let secret = run(
        &[
            "subscriptions",
            "add",
            "tax",
            "--url",
            &url,
            "--types",
            "contract.*,invoice.recorded",
            "--filter",
            "data.amount>=99999999999999999999.99",
            "--order-by",
            "data.no",
            "--batch",
            "100",
            "--cron",
            "0 2 * * *",
        ],
        0,
    );
    assert!(secret.stdout.starts_with("whsec_") && secret.stdout.lines().count() == 1, "{}", secret.stdout);
    let shown = run(&["subscriptions", "show", "tax", "--json"], 0).json();
    assert_eq!(shown["filters"], json!([{ "field": "data.amount", "op": "ge", "value": "99999999999999999999.99" }]));
    assert_eq!(shown["mode"]["batch"]["cron"], "0 2 * * *");
    assert_eq!(shown["order_by"], json!({ "data": "no" }));
    run(&["subscriptions", "change", "tax", "--per-second", "5", "--realtime"], 0);
    let listed = run(&["subscriptions", "--json"], 0).json();
    assert_eq!((&listed[0]["per_second"], &listed[0]["mode"]), (&json!(5.0), &json!("realtime")));
    assert_eq!(run(&["subscriptions", "test", "tax", "--json"], 0).json()["status"], 200);
    let failed = run(&["subscriptions", "test", "tax"], 1);
    assert!(
        failed.stdout.contains("webhook-signature: v1,") && failed.stdout.contains("answered 500"),
        "{}",
        failed.stdout
    );
    let rotated = run(&["subscriptions", "rotate-secret", "tax", "--overlap-hours", "0"], 0);
    assert_ne!(rotated.stdout, secret.stdout);
    run(&["subscriptions", "pause", "tax", "--reason", "holiday"], 0);
    assert!(run(&["subscriptions"], 0).stdout.contains("holiday"));
    run(&["subscriptions", "resume", "tax"], 0);
    run(&["subscriptions", "add", "bad", "--url", "http://10.0.0.1/", "--types", "*"], 2);
    run(&["subscriptions", "remove", "tax"], 0);
    run(&["subscriptions", "show", "tax"], 4);
}

#[test]
fn what_others_change_is_known_at_once_to_whoever_follows_the_log() {
    let world = world();
    let run = |arguments: &[&str]| world.run(&[arguments, &ALLOWED].concat(), 0);
    run(&["subscriptions", "add", "tax", "--url", "https://tax.example/", "--types", "contract.*"]);
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::new(world.store());
    world.runtime.block_on(async {
        let subscribers = Subscribers::read(store.clone()).await.unwrap();
        assert!(subscribers.index().get("tax").is_some());
        assert_eq!(subscribers.keyring("tax").await.unwrap().counting(Clock::system().now()).len(), 1);
        assert_eq!(subscribers.keyring("nobody").await.unwrap(), Keyring::default());
        let feed = tidegate::feed::Feed::start(store.clone(), tidegate::feed::FeedOptions::default()).await.unwrap();
        tokio::spawn(subscribers.clone().follow(feed));
        let definition = store.definition(Kind::Subscription, "tax").await.unwrap().unwrap();
        let change = tidegate::model::Change::Define {
            kind: Kind::Subscription,
            name: "other".into(),
            body: definition.body,
            expect: None,
        };
        let commit = tidegate::model::Commit { at: Instant(0), fence: None, changes: vec![change] };
        store.commit(commit).await.unwrap();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while subscribers.index().get("other").is_none() {
            assert!(tokio::time::Instant::now() < deadline, "the change was not heard of");
            tokio::task::yield_now().await;
        }
    });
    let events: Vec<Event> = world.events();
    assert_eq!(events.iter().filter(|event| changes_subscriptions(event)).count(), 3, "two definitions and one secret");
}

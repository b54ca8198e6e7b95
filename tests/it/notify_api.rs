//! Deliveries through the real program: API, commands, figures, roles.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};
use tidegate::model::AttemptOutcome;

use crate::notify::{Gate, ids, ok};
use crate::receiver::Says;
use crate::serving::Serving;
use crate::world::{Wanted, World};

const SETTINGS: [&str; 6] =
    ["--set", "notify.allow=[\"127.0.0.0/8\"]", "--set", "notify.plain_http=true", "--set", "serve.poll_ms=10"];

#[test]
fn deliveries_are_seen_decided_about_and_replayed_by_api_and_command() {
    let world = World::new(Wanted { securities: 5, ..Default::default() });
    world.create_store();
    let key = world.run(&["keys", "create", "reader", "--role", "read", "--json"], 0).json();
    let admin = world.run(&["keys", "create", "chief", "--role", "admin", "--json"], 0).json();
    let bearer = |key: &Value| format!("Bearer {}", key["key"].as_str().unwrap());
    let (reader, chief) = (bearer(&key), bearer(&admin));
    let gate = Gate::open(&world.store_path());
    let first = AtomicBool::new(true);
    let receiver = gate.receiver(move |_, seen| match seen.text().contains("\"bad\"") && first.swap(false, SeqCst) {
        true => Says::status(500, &[], "no luck"),
        false => ok(),
    });
    gate.subscribe("tax", &receiver.url(), json!({ "types": ["contract.*"], "retry_seconds": [] }));
    let serving = Serving::start(&world, &SETTINGS);
    let get = |path: &str| serving.ask(reqwest::Method::GET, path, &[("authorization", &chief)], None).of_status(200);
    let post = |path: &str, who: &str, body: Value| {
        serving.ask(reqwest::Method::POST, path, &[("authorization", who)], Some(body))
    };
    let numbers = gate.publish(&[("bad", "k"), ("after", "k"), ("other", "o")]);
    gate.until("the key is blocked", || gate.attempts("tax").len() == 2);

    let dead = get("/api/v1/deliveries?state=dead&subscription=tax");
    assert_eq!((dead["items"].as_array().unwrap().len(), &dead["items"][0]["event"]), (1, &json!(numbers[0])));
    let blocked = get("/api/v1/deliveries/blocked");
    assert_eq!((&blocked["items"][0]["key"], &blocked["items"][0]["waiting"]), (&json!("k"), &json!(1)));
    let failed = get("/api/v1/deliveries/attempts?failed=true");
    assert_eq!(failed["items"][0]["error"], "HTTP_500");
    let ways = get(&format!("/api/v1/deliveries/events/{}", numbers[0]));
    let way = &ways["subscriptions"][0];
    assert_eq!((&way["state"], &way["attempts"][0]["detail"]), (&json!("dead"), &json!("no luck")));
    assert_eq!(way["headers"]["webhook-signature"], "(a signature)");
    let figures = get("/api/v1/deliveries/figures");
    let of_tax = &figures["items"][0];
    assert_eq!((&of_tax["backlog"], &of_tax["dead"], &of_tax["attempts"]), (&json!(1), &json!(1), &json!(2)));
    serving
        .ask(reqwest::Method::GET, "/api/v1/deliveries?state=lost", &[("authorization", &chief)], None)
        .of_status(400);

    let retry = json!({ "subscription": "tax", "event": numbers[0] });
    post("/api/v1/deliveries/retry", &reader, retry.clone()).of_status(403);
    post("/api/v1/deliveries/retry", &chief, json!({ "subscription": "tax" })).of_status(400);
    post("/api/v1/deliveries/lose", &chief, retry.clone()).of_status(400);
    post("/api/v1/deliveries/skip", &chief, json!({ "subscription": "nobody", "event": 1 })).of_status(404);
    assert_eq!(post("/api/v1/deliveries/retry", &chief, retry.clone()).status, 204);
    gate.until_delivered("tax", 3);
    assert_eq!(ids(&receiver.seen())[2..], ["bad", "after"]);
    assert_eq!(post("/api/v1/deliveries/retry", &chief, retry).status, 204, "what arrived goes out once more");
    gate.until_delivered("tax", 4);

    let window = json!({ "subscription": "tax", "from": numbers[0] });
    let preview = post("/api/v1/replays/preview", &reader, window.clone()).of_status(200);
    assert_eq!((&preview["matched"], &preview["whole"]), (&json!(3), &json!(true)));
    let started = post("/api/v1/replays", &chief, window).of_status(202);
    let path = format!("/api/v1/replays/{}", started["number"]);
    gate.until("the replay is done", || get(&path)["state"] == "done");
    gate.until_delivered("tax", 7);
    post(&format!("{path}/pause"), &chief, json!({})).of_status(409);

    let metrics = serving.ask(reqwest::Method::GET, "/metrics", &[("authorization", &chief)], None);
    let text = String::from_utf8(metrics.bytes).unwrap();
    for line in ["webhook_delivery_seconds_count{subscription=\"tax\"} 7", "webhook_backlog{subscription=\"tax\"} 0"] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let shown = world.run(&["deliveries", "attempts", "--subscription", "tax", "--json"], 0).json();
    assert_eq!(shown.as_array().unwrap().len(), 8);
    let number = numbers[0].to_string();
    assert!(world.run(&["deliveries", "show", &number], 0).stdout.contains("tax: delivered"));
    let dry = ["deliveries", "replay", "tax", "--from", &number, "--only-failed", "--dry-run", "--json"];
    assert_eq!(world.run(&dry, 0).json()["matched"], 0);
    assert!(world.run(&["deliveries", "figures"], 0).stdout.contains("tax"));
    assert!(world.run(&["deliveries", "replays"], 0).stdout.contains("done"));
    world.run(&["deliveries", "retry", "nobody", "--all"], 4);
    assert_eq!(serving.stop(), Some(0));
    let delivered = gate.attempts("tax").iter().filter(|one| one.outcome == AttemptOutcome::Delivered).count();
    assert_eq!(delivered, 7);
}

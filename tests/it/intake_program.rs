//! Intakes by command and by REST: defined, shown, tried, changed, paused and removed; an address is never shown.

use serde_json::json;

use crate::redis_server::RedisServer;
use crate::serving::Serving;
use crate::world::{Wanted, World};

const BODY: &str = r#"{"source": "/shop", "redis": {"stream": "orders", "type": "order.paid"}}"#;

fn world() -> World {
    let world = World::new(Wanted { securities: 3, last: "2024-01-05", ..Wanted::default() });
    world.create_store();
    world
}

#[test]
fn an_intake_is_defined_tried_paused_and_removed_by_commands() {
    let Some(redis) = RedisServer::start() else { return eprintln!("Redis is not installed") };
    let world = world();
    let url = redis.url().replace("redis://", "redis://:hunter2@");
    world.run(&["intake", "add", "orders", BODY, "--url", &url], 0);
    world.run(&["intake", "add", "orders", BODY, "--url", &url], 5);
    // The server has no password: with one it lets nobody in, and says so without it.
    let tried = world.run(&["--json", "intake", "test", "orders"], 1);
    assert!(tried.json()[0]["problem"].as_str().unwrap().starts_with("connecting to Redis failed"), "{tried:?}");
    world.run(&["intake", "change", "orders", "--url", &redis.url()], 0);
    redis.cli(&["xadd", "orders", "*", "data", "{}"]);
    let tried = world.run(&["intake", "test", "orders"], 0);
    assert!(tried.stdout.contains("not there yet"), "{tried:?}");
    for (arguments, expected) in [
        (vec!["intake", "pause", "orders"], "intake orders is paused"),
        (vec!["intake", "resume", "orders"], "intake orders is active"),
    ] {
        assert!(world.run(&arguments, 0).stderr.contains(expected));
    }
    let shown = world.run(&["--json", "intake", "show", "orders"], 0).json();
    assert_eq!(
        (&shown["kind"], &shown["has_url"], &shown["lag_unit"]),
        (&json!("redis"), &json!(true), &json!("entries"))
    );
    assert_eq!(shown["definition"]["redis"]["group"], "tidegate");
    let all = [
        world.run(&["intake"], 0).stdout,
        shown.to_string(),
        world.run(&["--json", "changes"], 0).stdout,
        format!("{:?}", world.events()),
    ];
    assert!(all.iter().all(|text| !text.contains("hunter2") && !text.contains("redis://")), "{all:?}");
    world.run(&["intake", "remove", "orders"], 0);
    world.run(&["intake", "show", "orders"], 4);
    for (body, expected) in [
        (r#"{"source": "/s"}"#, "exactly one of `outbox`, `replication` and `redis`"),
        ("{", "no JSON object"),
        (r#"{"source": "/s", "redis": {"strem": "a"}}"#, "unknown field `strem`"),
        (r#"{"source": "/s", "outbox": {"table": "a"}}"#, "`url` is no address"),
    ] {
        let ran = world.run(&["intake", "add", "bad", body, "--url", &url], 2);
        assert!(ran.stderr.contains(expected) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn an_intake_is_managed_by_rest_for_admins_and_its_messages_arrive() {
    let Some(redis) = RedisServer::start() else { return eprintln!("Redis is not installed") };
    let world = world();
    let key = |role| {
        world.run(&["--json", "keys", "create", role, "--role", role], 0).json()["key"].as_str().unwrap().to_owned()
    };
    let (admin, operate) = (format!("Bearer {}", key("admin")), format!("Bearer {}", key("operate")));
    let serving = Serving::start(&world, &[]);
    let ask = |method: reqwest::Method, who: &str, path: &str, body: Option<serde_json::Value>| {
        serving.ask(method, &format!("/api/v1/intakes{path}"), &[("authorization", who)], body)
    };
    let (get, post, put, delete) =
        (reqwest::Method::GET, reqwest::Method::POST, reqwest::Method::PUT, reqwest::Method::DELETE);
    let mut wanted: serde_json::Value = serde_json::from_str(BODY).unwrap();
    (wanted["name"], wanted["url"]) = (json!("orders"), json!(redis.url()));
    ask(post.clone(), &operate, "", Some(wanted.clone())).of_status(403);
    let made = ask(post.clone(), &admin, "", Some(wanted.clone())).of_status(201);
    assert_eq!((&made["kind"], &made["revision"]), (&json!("redis"), &json!(1)));
    ask(post.clone(), &admin, "", Some(wanted)).of_status(409);
    redis.cli(&["xadd", "orders", "*", "id", "V1", "data", "{\"n\": 1}"]);
    let shown = || ask(get.clone(), &operate, "/orders", None).of_status(200);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while shown()["published"] != 1 {
        assert!(std::time::Instant::now() < deadline, "{}", shown());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let metrics = serving.ask(get.clone(), "/metrics", &[("authorization", &operate)], None);
    let metrics = String::from_utf8(metrics.bytes).unwrap();
    assert!(metrics.contains("tidegate_intake_messages_total{intake=\"orders\",result=\"published\"} 1"), "{metrics}");
    assert_eq!(shown()["state"], "running");
    let changed = ask(put.clone(), &admin, "/orders", Some(json!({"lag_max": 7, "revision": 1}))).of_status(200);
    assert_eq!(changed["definition"]["lag_max"], 7);
    ask(put.clone(), &admin, "/orders", Some(json!({"lag_max": 8, "revision": 1}))).of_status(409);
    let outbox = json!({"outbox": {"table": "a"}, "redis": null});
    ask(put, &admin, "/orders", Some(outbox)).of_status(400);
    assert_eq!(ask(post.clone(), &operate, "/orders/pause", None).of_status(200)["state"], "paused");
    assert_eq!(ask(post.clone(), &operate, "/orders/resume", None).of_status(200)["definition"]["state"], "active");
    assert!(ask(post, &operate, "/orders/test", None).of_status(200)["items"][0]["problem"].is_null());
    ask(delete.clone(), &operate, "/orders", None).of_status(403);
    assert_eq!(ask(delete, &admin, "/orders", None).status.as_u16(), 204);
    ask(get.clone(), &operate, "/orders", None).of_status(404);
    let listed = ask(get, &operate, "", None).of_status(200);
    assert_eq!(listed["items"], json!([]));
}

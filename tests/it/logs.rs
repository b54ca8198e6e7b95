//! Logs of the real service: files, records in the store, levels that change while it runs, and never a secret.

use std::time::{Duration, Instant as Moment};

use reqwest::Method;
use serde_json::{Value, json};

use crate::serving::Serving;
use crate::world::{Wanted, World};

const PATIENCE: Duration = Duration::from_secs(30);
const OURS: [(&str, &str); 1] = [("x-tidegate-request", "1")];

fn small_world() -> World {
    let world = World::new(Wanted { securities: 5, last: "2024-01-12", ..Wanted::default() });
    world.create_store();
    world
}

/// Asks until the answer is as it should be.
fn until<T>(mut ask: impl FnMut() -> T, good: impl Fn(&T) -> bool) -> T
where
    T: std::fmt::Debug,
{
    let started = Moment::now();
    loop {
        let answer = ask();
        if good(&answer) {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "this is not what was waited for: {answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn put(serving: &Serving<'_>, path: &str, body: Value) -> crate::serving::Answer {
    serving.ask(Method::PUT, path, &OURS, Some(body))
}

fn items(serving: &Serving<'_>, query: &str) -> Vec<Value> {
    serving.get(&format!("/api/v1/logs?{query}")).of_status(200)["items"].as_array().unwrap().clone()
}

/// The lines of the daily files.
fn lines(world: &World) -> Vec<Value> {
    let files = std::fs::read_dir(world.folder.path().join("logs")).unwrap();
    let mut lines = Vec::new();
    for file in files {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("tidegate-2") && name.ends_with(".jsonl"), "{name}");
        let text = std::fs::read_to_string(path).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    lines
}

#[test]
fn records_that_matter_are_in_files_in_the_store_in_the_api_and_on_the_command_line() {
    let world = small_world();
    let serving = Serving::start(&world, &[]);
    put(&serving, "/api/v1/log-levels", json!({ "engine": "debug" })).of_status(200);
    let run = serving.ask(Method::POST, "/api/v1/runs", &OURS, Some(json!({ "datasets": ["trade_cal"] })));
    let run = run.of_status(202)["id"].as_i64().unwrap();
    let state = || serving.get(&format!("/api/v1/runs/{run}")).of_status(200)["state"].as_str().unwrap().to_string();
    until(state, |state| state == "success");
    let ended = until(|| items(&serving, "q=task+ended"), |items| !items.is_empty());
    let task = ended[0]["task"].as_i64().unwrap();
    assert_eq!((ended[0]["target"].as_str(), ended[0]["level"].as_str()), (Some("engine::run"), Some("info")));
    for (query, text) in [("q=CHANGED", "changed"), (&format!("task={task}&level=info&q="), "task ended")] {
        let found = until(|| items(&serving, query), |items| !items.is_empty());
        assert!(found.iter().any(|record| record["text"] == text), "{query}: {found:?}");
    }
    assert!(items(&serving, "level=error").is_empty() && items(&serving, "task=999").is_empty());
    // Pages go back without gap and without anything twice.
    let all: Vec<i64> = items(&serving, "limit=1000").iter().map(|record| record["id"].as_i64().unwrap()).collect();
    let (mut paged, mut before) = (Vec::new(), String::new());
    loop {
        let page = serving.get(&format!("/api/v1/logs?limit=2{before}")).of_status(200);
        paged.extend(page["items"].as_array().unwrap().iter().map(|record| record["id"].as_i64().unwrap()));
        match page["next"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert!(paged.ends_with(&all) && paged.is_sorted_by(|one, next| one > next), "{paged:?} {all:?}");
    for bad in ["level=loud", "level=", "task=x", "limit=0", "before=x", "nothing=1"] {
        serving.get(&format!("/api/v1/logs?{bad}")).of_status(400);
    }
    let printed = world.run(&["logs", "--task", &task.to_string(), "--json"], 0).json();
    assert!(printed.as_array().unwrap().iter().any(|record| record["text"] == "task ended"), "{printed}");
    assert!(world.run(&["logs", "--find", "task ended"], 0).stdout.contains("engine::run: task ended task="));
    assert_eq!(serving.stop(), Some(0));
    let lines = lines(&world);
    assert!(lines.iter().any(|line| line["message"] == "task ended" && line["task"] == task), "{lines:?}");
    assert!(lines.iter().all(|line| line["timestamp"].as_str().unwrap().ends_with("+08:00")));
}

#[test]
fn levels_change_at_once_in_every_process_and_outlive_them() {
    let world = small_world();
    let (one, other) = (Serving::start(&world, &["--role", "api"]), Serving::start(&world, &["--role", "api"]));
    let levels = |serving: &Serving<'_>| serving.get("/api/v1/log-levels").of_status(200);
    assert_eq!(levels(&one), json!({ "default": "warn", "levels": {} }));
    let set = put(&one, "/api/v1/log-levels", json!({ "serve::trail": "off", "engine": "trace" })).of_status(200);
    assert_eq!(set["levels"], json!({ "engine": "trace", "serve::trail": "off" }));
    until(|| levels(&other), |levels| *levels == set);
    let changed = |world: &World| lines(world).iter().filter(|line| line["message"] == "changed").count();
    let before = changed(&world);
    put(&one, "/api/v1/log-levels", json!({ "engine": null })).of_status(200);
    until(|| levels(&other)["levels"].clone(), |levels| *levels == json!({ "serve::trail": "off" }));
    drop(other);
    assert_eq!(one.stop(), Some(0));
    assert_eq!(changed(&world), before, "what is off is not written");
    let again = Serving::start(&world, &["--role", "api"]);
    until(|| levels(&again)["levels"].clone(), |levels| *levels == json!({ "serve::trail": "off" }));
    for bad in [json!([]), json!({ "engine": "loud" }), json!({ "a b": "info" }), json!({ "engine": 1 })] {
        put(&again, "/api/v1/log-levels", bad).of_status(400);
    }
    drop(again);
    for (name, role) in [("reader", "read"), ("worker", "operate")] {
        let key = world.run(&["keys", "create", name, "--role", role, "--json"], 0).json()["key"].clone();
        let guarded = Serving::start(&world, &["--role", "api"]);
        let bearer = format!("Bearer {}", key.as_str().unwrap());
        let headers = [("authorization", bearer.as_str())];
        guarded.ask(Method::PUT, "/api/v1/log-levels", &headers, Some(json!({ "engine": "off" }))).of_status(403);
        guarded.ask(Method::GET, "/api/v1/log-levels", &headers, None).of_status(200);
    }
}

#[test]
fn no_secret_reaches_a_log() {
    let world = small_world();
    let secret = "hunter2-of-the-tide";
    let serving = Serving::start(&world, &["--set", "log.level=trace"]);
    put(&serving, "/api/v1/log-levels", json!({ "serve": "trace", "engine": "trace" })).of_status(200);
    let set = put(&serving, "/api/v1/secrets/tushare", json!({ "value": secret }));
    assert!(set.status.is_success(), "{set:?}");
    serving.ask(Method::POST, "/api/v1/runs", &OURS, Some(json!({ "datasets": ["trade_cal"] }))).of_status(202);
    until(|| items(&serving, "limit=1000"), |items| items.iter().any(|record| record["text"] == "task ended"));
    let stored = world.sqlite("select group_concat(text || target || data) from _journal");
    assert_eq!(serving.stop(), Some(0));
    let files: Vec<String> = lines(&world).iter().map(Value::to_string).collect();
    assert!(files.len() > 3 && stored.contains("changed"));
    for text in files.iter().chain([&stored]) {
        assert!(!text.contains(secret), "{text}");
    }
}

//! Memory of the service while everything happens at once: work on every table, reads, mirrors, exports and sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Moment};

use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tidegate::model::{Clock, Day};
use tokio_tungstenite::tungstenite::Message;

use crate::serving::Serving;
use crate::world::{TOKEN, Wanted, World, is_long};

const PEAK_MB_MAX: u64 = 250;
const OURS: [(&str, &str); 1] = [("x-tidegate-request", "1")];

/// Figures of the process, in MB.
fn memory_mb(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// Listens to everything and answers pings until the end; counts what it hears.
async fn listen(url: String, heard: Arc<AtomicU64>) {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("{}/ws", url.replace("http", "ws"))).await.unwrap();
    let channels = ["events", "tasks", "runs", "overview", "coverage:daily", "rows:daily"];
    for (id, channel) in channels.iter().enumerate() {
        let command = json!({ "id": id + 1, "subscribe": { "channel": channel } });
        socket.send(Message::text(command.to_string())).await.unwrap();
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        heard.fetch_add(1, Ordering::Relaxed);
        if text.as_str() == "{}" && socket.send(Message::text("{}")).await.is_err() {
            return;
        }
    }
}

/// Reads as the dashboard, programs and mirrors' users do, until told to end; counts the answers.
async fn read(url: String, mirror: String, day: String, ends: Arc<AtomicBool>) -> u64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let paths = [
        "/api/v1/overview".to_string(),
        "/api/v1/datasets".to_string(),
        "/api/v1/tasks?limit=100".to_string(),
        "/api/v1/securities?q=0000".to_string(),
        "/api/v1/coverage/daily".to_string(),
        "/api/v1/bars/000001.SZ?period=daily&adjust=qfq".to_string(),
        format!("/api/v1/datasets/daily/rows?from={day}&to={day}&limit=10000"),
        "/api/v1/datasets/daily/rows?format=csv&limit=100000".to_string(),
        "/api/v1/datasets/daily_basic/rows?format=parquet&limit=100000".to_string(),
        "/api/v1/logs".to_string(),
        "/metrics".to_string(),
    ];
    let question = json!({
        "api_name": "daily", "token": TOKEN, "params": { "trade_date": day.replace('-', "") }, "fields": "",
    });
    let mut answers = 0;
    while !ends.load(Ordering::Relaxed) {
        for path in &paths {
            let answer = client.get(format!("{url}{path}")).send().await.unwrap();
            assert!(answer.status() != 500, "{path}: {}", answer.text().await.unwrap());
            drop(answer.bytes().await.unwrap());
            answers += 1;
        }
        let answer = client.post(&mirror).body(question.to_string()).send().await.unwrap();
        drop(answer.bytes().await.unwrap());
    }
    answers
}

#[test]
fn a_day_of_everything_stays_small() {
    // The market ends today, so that everything is due that a service meets on a day.
    let today = Clock::system().now().day();
    let (securities, days, sockets) = if is_long() { (1_500, 30, 1_000) } else { (30, 10, 50) };
    let name = |day: Day| -> &'static str { Box::leak(day.to_string().into_boxed_str()) };
    let first = name(today.plus(-days));
    let world = World::new(Wanted { securities, first, last: name(today), ..Wanted::default() });
    world.create_store();
    let serving = Serving::start(
        &world,
        &[
            "--set",
            "serve.mirrors=[\"tushare\"]",
            "--set",
            "mirror.listen=127.0.0.1:0",
            "--set",
            "serve.requests_per_minute=0",
            "--set",
            "serve.connections=2000",
            "--set",
            "sync.quota_share=1.0",
        ],
    );
    let began = memory_mb(serving.pid(), "VmHWM:");
    let mirror = serving.started["mirrors"]["tushare"].as_str().unwrap().to_string();
    let (heard, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    for _ in 0..sockets {
        world.runtime.spawn(listen(serving.url.clone(), heard.clone()));
    }
    let day = today.plus(-days / 2).to_string();
    let readers: Vec<_> = (0..3)
        .map(|_| world.runtime.spawn(read(serving.url.clone(), mirror.clone(), day.clone(), ends.clone())))
        .collect();
    let post = |body: Value| {
        let answer = serving.ask(Method::POST, "/api/v1/runs", &OURS, Some(body));
        answer.of_status(202)["id"].as_i64().unwrap()
    };
    // Everything that is missing, then the last days again, then a check: what the jobs of a day ask for.
    let works = [
        json!({ "datasets": [], "from": first }),
        json!({ "datasets": [], "days_back": 3, "force": true }),
        json!({ "action": "check", "datasets": [], "from": first }),
    ];
    for work in works {
        let run = post(work.clone());
        let started = Moment::now();
        loop {
            let answer = serving.get(&format!("/api/v1/runs/{run}")).of_status(200);
            let state = answer["state"].as_str().unwrap();
            // One that waits for another attempt has done what it could: the last day is not whole before the evening.
            if state != "running" && answer["attempt"].as_u64() > Some(0) {
                eprintln!("{work} ended as {state} after {} s", started.elapsed().as_secs());
                assert!(["pending", "success", "success_with_errors"].contains(&state), "{answer}");
                serving.ask(Method::POST, &format!("/api/v1/runs/{run}/cancel"), &OURS, None);
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(3_600), "{answer}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    ends.store(true, Ordering::Relaxed);
    let answers: u64 = readers.into_iter().map(|reader| world.runtime.block_on(reader).unwrap()).sum();
    let (peak, now) = (memory_mb(serving.pid(), "VmHWM:"), memory_mb(serving.pid(), "VmRSS:"));
    let heard = heard.load(Ordering::Relaxed);
    let events = world.events().len();
    eprintln!(
        "{began} MB at first, {peak} MB at most, {now} MB at the end: {events} events, {answers} answers, {heard} frames"
    );
    assert!(heard > 0 && answers > 0);
    assert!(peak < PEAK_MB_MAX, "{peak} MB");
}

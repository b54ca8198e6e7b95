//! Consumer groups of a real Redis: killed and restarted, its group lost, entries of the dead, entries that kill; and
//! the relay of the log to streams.

use std::time::Duration;

use serde_json::json;
use tidegate::engine::Stop;
use tidegate::intake::relay::{Relay, RelayOptions};
use tidegate::intake::{Doing, IntakeOptions};
use tidegate::model::EventType;

use crate::intake::{Gate, options, until};
use crate::redis_server::RedisServer;

fn redis(more: serde_json::Value) -> serde_json::Value {
    let mut body = json!({"stream": "orders", "group": "g", "consumer": "c", "type": "order.paid"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"source": "/shop", "redis": body})
}

fn add(server: &RedisServer, id: u32) {
    server.cli(&["xadd", "orders", "*", "id", &id.to_string(), "data", &format!("{{\"n\": {id}}}")]);
}

fn ids(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|id| id.to_string()).collect()
}

/// Entries of the group that were given and not acknowledged.
fn pending(server: &RedisServer) -> String {
    server.cli(&["xpending", "orders", "g"]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_restarted_and_whose_group_is_lost_loses_nothing_and_nothing_spins() {
    let Some(mut server) = RedisServer::start_durable() else { return eprintln!("Redis is not installed") };
    let gate = Gate::new().await;
    let mut body = redis(json!({}));
    body["lag_max"] = json!(40);
    gate.add("orders", &server.url(), body).await;
    (1..=20).for_each(|id| add(&server, id));
    let running = gate.run().await;
    gate.wait_for(20).await;
    until("all is acknowledged", async || pending(&server) == "0").await;
    server.kill();
    gate.wait_doing("orders", Doing::Failing).await;
    server.start_again();
    (21..=40).for_each(|id| add(&server, id));
    gate.wait_for(40).await;
    // The group is destroyed again and again: it is made anew after a pause, and nothing comes twice.
    for round in 0..3 {
        server.cli(&["xgroup", "destroy", "orders", "g"]);
        add(&server, 41 + round);
        gate.wait_for(41 + round as usize).await;
    }
    gate.wait_told("group_lost").await;
    let calls = |server: &RedisServer| {
        let told = server.cli(&["info", "commandstats"]);
        let line = told.lines().find(|line| line.starts_with("cmdstat_xgroup|create")).unwrap_or("calls=0,").to_owned();
        line.split("calls=").nth(1).unwrap().split(',').next().unwrap().parse::<u64>().unwrap()
    };
    // A stream that is of the wrong kind for as long as it lasts: tried with growing waits.
    let before = calls(&server);
    server.cli(&["del", "orders"]);
    server.cli(&["set", "orders", "no stream"]);
    let failures = async || gate.control.get("orders").await.unwrap().standing.failures;
    until("it was tried again and again", async || failures().await > 5).await;
    let tried = calls(&server) - before;
    assert!(tried <= u64::from(failures().await) + 2, "{tried} attempts");
    // While nobody could read, more waits than may.
    server.cli(&["del", "orders"]);
    (51..=100).for_each(|id| add(&server, id));
    let messages = gate.wait_for(93).await;
    running.end().await;
    let mut found: Vec<u32> = messages.iter().map(|message| message.id.parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (1..=43).chain(51..=100).collect::<Vec<u32>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_raises_an_event_and_ends_with_another() {
    let Some(server) = RedisServer::start() else { return eprintln!("Redis is not installed") };
    let gate = Gate::new().await;
    let mut body = redis(json!({}));
    body["lag_max"] = json!(10);
    gate.add("orders", &server.url(), body).await;
    (1..=30).for_each(|id| add(&server, id));
    // What others were given and keep is lag too.
    server.cli(&["xgroup", "create", "orders", "g", "0"]);
    server.cli(&["xreadgroup", "group", "g", "slow", "count", "20", "streams", "orders", ">"]);
    let running = gate.run().await;
    let told = gate.wait_told("lagging").await;
    assert_eq!((&told["unit"], &told["limit"]), (&json!("entries"), &json!(10)));
    let mut acknowledge = vec!["xack".to_owned(), "orders".to_owned(), "g".to_owned()];
    let given = server.cli(&["xpending", "orders", "g", "-", "+", "100", "slow"]);
    acknowledge.extend(given.lines().step_by(4).map(str::to_owned));
    server.cli(&acknowledge.iter().map(String::as_str).collect::<Vec<_>>());
    gate.wait_told("caught_up").await;
    running.end().await;
    assert_eq!(gate.ids().await, ids(21..=30));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_before_comes_first_then_what_the_dead_left_and_what_cannot_be_read_goes_aside() {
    let Some(server) = RedisServer::start() else { return eprintln!("Redis is not installed") };
    (1..=6).for_each(|id| add(&server, id));
    server.cli(&["xgroup", "create", "orders", "g", "0"]);
    server.cli(&["xreadgroup", "group", "g", "dead", "count", "2", "streams", "orders", ">"]);
    server.cli(&["xreadgroup", "group", "g", "c", "count", "2", "streams", "orders", ">"]);
    server.cli(&["xadd", "orders", "*", "data", "{broken", "id", "7"]);
    server.cli(&[
        "xadd",
        "orders",
        "*",
        "event",
        "{\"specversion\":\"1.0\",\"id\":\"8\",\"source\":\"/erp\",\"type\":\"a\"}",
    ]);
    let gate = Gate::new().await;
    gate.add("orders", &server.url(), redis(json!({"claim_idle_ms": 1000}))).await;
    let running = gate.run().await;
    gate.wait_for(7).await;
    until("all is acknowledged", async || pending(&server) == "0").await;
    running.end().await;
    let found = gate.ids().await;
    assert_eq!(found[..2], ["3", "4"], "one's own come first");
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(sorted, ["1", "2", "3", "4", "5", "6", "8"]);
    let refused = gate.events_of(EventType::IntakeRefused).await;
    assert_eq!((refused.len(), &refused[0]["field"]), (1, &json!("data")));
    let kept = gate.store.quarantine(Some("intake:orders"), 10).await.unwrap();
    assert_eq!(kept[0].quarantined.row["data"], "{broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_delivered_too_often_is_moved_to_the_dead_and_told() {
    let Some(server) = RedisServer::start() else { return eprintln!("Redis is not installed") };
    (1..=3).for_each(|id| add(&server, id));
    server.cli(&["xgroup", "create", "orders", "g", "0"]);
    server.cli(&["xreadgroup", "group", "g", "c", "count", "1", "streams", "orders", ">"]);
    // Whoever took it died each time.
    (0..4).for_each(|_| drop(server.cli(&["xreadgroup", "group", "g", "c", "count", "1", "streams", "orders", "0"])));
    let gate = Gate::new().await;
    gate.add("orders", &server.url(), redis(json!({"deliveries_max": 3}))).await;
    let running = gate.run().await;
    gate.wait_for(2).await;
    until("all is acknowledged", async || pending(&server) == "0").await;
    running.end().await;
    assert_eq!(gate.ids().await, ["2", "3"]);
    assert_eq!(gate.events_of(EventType::IntakeRefused).await[0]["field"], "deliveries");
    let dead = server.cli(&["xrange", "orders:dead", "-", "+"]);
    assert!(dead.contains("{\"n\": 1}") && dead.contains("_stream"), "{dead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_between_commit_and_acknowledgement_publishes_each_entry_once() {
    let Some(server) = RedisServer::start() else { return eprintln!("Redis is not installed") };
    let gate = Gate::new().await;
    gate.add("orders", &server.url(), redis(json!({}))).await;
    for round in 0..3 {
        (round * 10 + 1..=round * 10 + 10).for_each(|id| add(&server, id));
        let mut child = gate.program(Some("intake.committed"));
        until("the process has died", async || child.try_wait().unwrap().is_some()).await;
        assert_ne!(pending(&server), "0");
    }
    let mut child = gate.program(None);
    gate.wait_for(30).await;
    until("all is acknowledged", async || pending(&server) == "0").await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(gate.ids().await, ids(1..=30));
}

fn relay_options(server: &RedisServer) -> RelayOptions {
    let (prefix, types) = ("gate".to_owned(), vec!["order.*".to_owned()]);
    RelayOptions { url: server.url(), prefix, streams: 3, types, entries_max: 1_000, batch: 7 }
}

/// The ids of the entries of all streams, by stream.
fn relayed(server: &RedisServer) -> Vec<Vec<String>> {
    let entries = |index| server.cli(&["xrange", &format!("gate:{index}"), "-", "+"]);
    let is_id = |line: &&str| line.ends_with("-0") && !line.contains('{');
    (0..3).map(|index| entries(index).lines().filter(is_id).map(str::to_owned).collect()).collect()
}

fn count(server: &RedisServer) -> usize {
    relayed(server).iter().map(Vec::len).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_relayed_in_order_and_a_redis_that_forgot_everything_gets_it_again() {
    let (Some(orders), Some(mut target)) = (RedisServer::start(), RedisServer::start()) else {
        return eprintln!("Redis is not installed");
    };
    let gate = Gate::new().await;
    gate.add("orders", &orders.url(), redis(json!({}))).await;
    let running = gate.run().await;
    let stop = Stop::default();
    let relay =
        Relay::new(gate.parts(IntakeOptions { answer: Duration::from_secs(5), ..options() }), relay_options(&target));
    let (feed, heard) = (gate.feed().await, stop.clone());
    let task = tokio::spawn(async move { relay.serve(feed, &heard).await.unwrap() });
    let send = |range: std::ops::RangeInclusive<u32>| {
        range.for_each(|id| {
            let (id, key) = (id.to_string(), format!("k{}", id % 5));
            orders.cli(&["xadd", "orders", "*", "id", &id, "key", &key, "data", "{\"n\": 1.10}"]);
        });
    };
    send(1..=30);
    until("all is relayed", async || count(&target) == 30).await;
    for stream in relayed(&target) {
        let numbers: Vec<u64> = stream.iter().map(|id| id.split('-').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted() && !numbers.is_empty(), "{numbers:?}");
    }
    let one = target.cli(&["xrange", "gate:0", "-", "+", "count", "1"]);
    assert!(one.contains("\"data\":{\"n\": 1.10}") && one.contains("\"source\":\"/shop\""), "{one}");
    target.kill();
    send(31..=40);
    gate.wait_for(40).await;
    target.start_again();
    until("all is relayed again", async || count(&target) == 40).await;
    assert!(!gate.told("again").await.is_empty());
    stop.ask();
    task.await.unwrap();
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_trimmed_behind_its_slowest_group_and_a_full_one_is_waited_for() {
    let (Some(orders), Some(target)) = (RedisServer::start(), RedisServer::start()) else {
        return eprintln!("Redis is not installed");
    };
    let gate = Gate::new().await;
    gate.add("orders", &orders.url(), redis(json!({}))).await;
    target.cli(&["xgroup", "create", "gate:0", "slow", "0", "mkstream"]);
    let running = gate.run().await;
    let stop = Stop::default();
    let full = RelayOptions { streams: 1, entries_max: 20, ..relay_options(&target) };
    let relay = Relay::new(gate.parts(options()), full);
    let (feed, heard) = (gate.feed().await, stop.clone());
    let task = tokio::spawn(async move { relay.serve(feed, &heard).await.unwrap() });
    (1..=25).for_each(|id| add(&orders, id));
    gate.wait_for(25).await;
    let told = gate.wait_told("full").await;
    assert_eq!(told["intake"], "relay");
    (26..=60).for_each(|id| add(&orders, id));
    gate.wait_for(60).await;
    assert!(target.cli(&["xlen", "gate:0"]).parse::<u64>().unwrap() < 60);
    // The group reads on: everything comes, in order, and what it has acknowledged is trimmed.
    let mut read = Vec::new();
    until("the group has read everything", async || {
        let got = target.cli(&["xreadgroup", "group", "slow", "c", "count", "10", "streams", "gate:0", ">"]);
        let got: Vec<String> = got.lines().filter(|line| line.ends_with("-0")).map(str::to_owned).collect();
        let mut command = vec!["xack", "gate:0", "slow"];
        command.extend(got.iter().map(String::as_str));
        if command.len() > 3 {
            target.cli(&command);
        }
        read.extend(got);
        read.len() >= 60
    })
    .await;
    until("it is trimmed", async || target.cli(&["xlen", "gate:0"]) == "0").await;
    assert_eq!(read.len(), 60);
    stop.ask();
    task.await.unwrap();
    running.end().await;
}

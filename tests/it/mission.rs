//! The mission's routes through the real program: bodies, codes, refusals, and that what they start is done.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tidegate::sim::{Fault, Rule};

use crate::serving::{Answer, Serving};
use crate::world::{Wanted, World};

/// A market of two months.
pub fn small() -> Wanted {
    Wanted::default()
}

/// A market whose daily bars never come: whatever asks for them is under way until the end of the test.
pub fn stuck() -> Wanted {
    Wanted { faults: vec![Rule::always(Fault::SlowAnswer { millis: 3_600_000 }).of("daily")], ..small() }
}

/// Asks again and again until the answer is as wanted.
pub fn until(what: &str, serving: &Serving, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let data = data(&serving.get(path));
        if wanted(&data) {
            return data;
        }
        assert!(Instant::now() < deadline, "{what}: {data:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The data of an envelope with these fields and no others.
pub fn data(answer: &Answer) -> Value {
    let mut envelope = answer.of_status(200);
    let keys: Vec<&String> = envelope.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["data", "message", "success"], "{envelope:#}");
    assert_eq!(envelope["success"], true);
    assert!(!envelope["message"].as_str().unwrap().is_empty());
    envelope["data"].take()
}

pub fn message(answer: &Answer) -> String {
    answer.of_status(200)["message"].as_str().unwrap().to_string()
}

/// A problem of this status; its detail.
pub fn refused(answer: &Answer, status: u16) -> String {
    let problem = answer.of_status(status);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(problem["status"], status, "{problem:#}");
    assert!(problem["type"].as_str().unwrap().starts_with("/docs#problem-"), "{problem:#}");
    problem["detail"].as_str().unwrap().to_string()
}

pub fn ended(status: &Value) -> bool {
    !matches!(status["status"].as_str().unwrap(), "running" | "idle")
}

/// The fields of an object, in the order of the alphabet.
pub fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_sync_is_triggered_followed_and_remembered() {
    let world = World::new(small());
    world.create_store();
    let serving = Serving::start(&world, &[]);
    let idle = data(&serving.get("/api/sync/status"));
    assert_eq!(
        (&idle["status"], &idle["job"], &idle["last_trade_date"]),
        (&"idle".into(), &"sync".into(), &Value::Null)
    );

    let answer =
        serving.post("/api/sync/trigger", json!({"periods": ["daily", "weekly"], "preferred_sources": ["tushare"]}));
    assert_eq!(message(&answer), "Synchronization started successfully");
    let started = data(&answer);
    assert_eq!(fields(&started), ["job_id", "parameters", "started_at", "status"]);
    assert_eq!((&started["job_id"], &started["status"]), (&"sync_1".into(), &"running".into()));
    assert!(started["started_at"].as_str().unwrap().ends_with("+08:00"));
    let parameters = json!({
        "force": false, "preferred_sources": ["tushare"], "symbols": [], "periods": ["daily", "weekly"],
        "all_history": false,
    });
    assert_eq!(started["parameters"], parameters);

    let status = until("the sync ends", &serving, "/api/sync/status", ended);
    assert_eq!(message(&serving.get("/api/sync/status")), "Status retrieved successfully");
    // The market ends in February 2024: the days from then to now look incomplete, and that is told.
    assert_eq!((&status["status"], &status["job"]), (&"success_with_errors".into(), &"sync_1".into()), "{status:#}");
    assert!(status["message"].as_str().unwrap().contains("look incomplete"), "{status:#}");
    assert_eq!(status["started_at"], started["started_at"]);
    assert!(status["finished_at"].as_str() > started["started_at"].as_str());
    assert_eq!((&status["last_trade_date"], &status["errors"]), (&"20240229".into(), &0.into()), "{status:#}");
    for used in ["stock_basic:tushare", "trade_cal:tushare", "daily:tushare", "weekly:tushare"] {
        assert!(status["data_sources_used"].as_array().unwrap().contains(&used.into()), "{used}: {status:#}");
    }
    let stats = json!({"tushare": {"inserted": status["inserted"], "updated": status["updated"]}});
    assert_eq!(status["source_stats"], stats);
    let stored = world.sqlite("select sum(rows) from _rows_by_day").trim().parse::<u64>().unwrap();
    assert_eq!(status["inserted"], stored, "{status:#}");
    assert!(status["total"].as_u64() >= Some(stored));
    world.assert_equals_truth("daily");
    world.assert_equals_truth("weekly");

    let history = data(&serving.get("/api/sync/history"));
    assert_eq!((&history["total"], &history["has_more"]), (&1.into(), &false.into()));
    assert_eq!(history["records"][0]["job"], "sync_1");
    assert_eq!(history["records"][0]["asked_by"], "local");
    assert_eq!(history["records"][0]["source_stats"], stats);
    drop(serving);
}

#[test]
fn a_second_sync_is_refused_while_one_is_under_way_unless_it_is_forced() {
    let world = World::new(stuck());
    world.create_store();
    let serving = Serving::start(&world, &[]);
    data(&serving.post("/api/sync/trigger", json!({"periods": ["daily"]})));
    let running = until("the list is fetched", &serving, "/api/sync/status", |status| {
        status["data_sources_used"].as_array().unwrap().contains(&"stock_basic:tushare".into())
    });
    assert_eq!((&running["status"], &running["finished_at"]), (&"running".into(), &Value::Null), "{running:#}");
    assert!(
        running["inserted"].as_u64() > Some(0) && running["source_stats"]["tushare"]["inserted"].as_u64() > Some(0)
    );
    for path in [
        "/api/sync/trigger",
        "/api/multi-period-sync/start-full",
        "/api/multi-period-sync/start-incremental",
        "/api/multi-period-sync/start-history",
    ] {
        let answer = serving.post(path, json!({}));
        let detail = refused(&answer, 429);
        assert!(detail.starts_with("sync_1 is under way since 20"), "{path}: {detail}");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    assert_eq!(data(&serving.get("/api/sync/history"))["total"], 1, "what is refused leaves nothing");

    let forced = data(&serving.post("/api/sync/trigger", json!({"periods": ["weekly"], "force": true})));
    assert_eq!((&forced["job_id"], &forced["parameters"]["force"]), (&"sync_2".into(), &true.into()));
    let status = until("the forced one ends", &serving, "/api/sync/status", ended);
    assert_eq!(status["job"], "sync_2", "the status is that of the newest");
    assert_eq!(refused(&serving.post("/api/sync/trigger", json!({})), 429).split(' ').next(), Some("sync_1"));
    let again =
        data(&serving.post("/api/multi-period-sync/start-full", json!({"force": true, "periods": ["monthly"]})));
    assert_eq!(again["job_id"], "sync_3");
}

#[test]
fn what_no_sync_can_mean_is_refused_and_named() {
    let world = World::new(small());
    world.create_store();
    world.run(&["sync", "stock_basic", "--quiet"], 0);
    let serving = Serving::start(&world, &[]);
    let trigger = "/api/sync/trigger";
    let (full, incremental, history) = (
        "/api/multi-period-sync/start-full",
        "/api/multi-period-sync/start-incremental",
        "/api/multi-period-sync/start-history",
    );
    let batch = "/api/v1/sync-status/sync/batch";
    let (today, tomorrow) = (world.now().day(), world.now().day().next());
    for (path, body, named) in [
        (trigger, json!({"preferred_sources": ["wind"]}), "\"wind\""),
        (trigger, json!({"preferred_sources": ["baostock"]}), "baostock is not enabled"),
        (trigger, json!({"periods": ["hourly"]}), "hourly"),
        (trigger, json!({"periods": "daily"}), "\"daily\""),
        (trigger, json!({"symbols": ["999999"]}), "999999"),
        (trigger, json!({"symbols": ["999999.SZ"]}), "999999.SZ"),
        (trigger, json!({"symbols": ["pingan"]}), "pingan"),
        (trigger, json!({"symbol": "000001"}), "symbol"),
        (trigger, json!({"force": "yes"}), "\"yes\""),
        (trigger, json!([]), "not a JSON object"),
        (full, json!({"data_sources": ["wind"]}), "\"wind\""),
        (full, json!({"days_back": 3}), "days_back"),
        (incremental, json!({"days_back": 0}), "days_back is 0"),
        (incremental, json!({"days_back": -1}), "-1"),
        (incremental, json!({"days_back": 100_000}), "days_back is 100000"),
        (incremental, json!({"periods": ["hourly"]}), "hourly"),
        (history, json!({"start_date": "2024-02-30"}), "2024-02-30"),
        (history, json!({"start_date": "2024-02-02", "end_date": "2024-02-01"}), "lies after"),
        (batch, json!({}), "start_date"),
        (batch, json!({"start_date": "2024-01-02"}), "end_date"),
        (batch, json!({"start_date": "someday", "end_date": "2024-01-02"}), "someday"),
        (batch, json!({"start_date": "2024-02-02", "end_date": "2024-02-01"}), "lies after"),
        (batch, json!({"start_date": "2024-01-01", "end_date": "2024-03-31"}), "91 days"),
        (batch, json!({"start_date": today.to_string(), "end_date": tomorrow.to_string()}), &tomorrow.to_string()),
        (batch, json!({"start_date": "2024-01-02", "end_date": "2024-01-03", "datasets": ["dayly"]}), "dayly"),
        (
            batch,
            json!({"start_date": "2024-01-02", "end_date": "2024-01-03", "datasets": ["stock_basic"]}),
            "stock_basic",
        ),
        (batch, json!({"start_date": "2024-01-02", "end_date": "2024-01-03", "force": true}), "force"),
    ] {
        let detail = refused(&serving.post(path, body.clone()), 400);
        assert!(detail.contains(named), "{path} {body}: {detail}");
    }
    for (path, named) in [
        ("/api/sync/history?page=0", "begin with 1"),
        ("/api/sync/history?page=x", "page"),
        ("/api/sync/history?page=2&page_size=9000", "too far"),
        ("/api/sync/history?pages=2", "pages"),
        ("/api/sync/logs?level=loud", "loud"),
        ("/api/sync/logs?task=x", "task"),
        ("/api/v1/sync-status?status=done", "done"),
        ("/api/v1/sync-status?dataset=dayly", "dayly"),
        ("/api/v1/sync-status?start_date=2024-01-02&end_date=2024-01-01", "lies after"),
        ("/api/v1/sync-status?start_date=1900-01-02", "too many"),
    ] {
        let detail = refused(&serving.get(path), 400);
        assert!(detail.contains(named), "{path}: {detail}");
    }
    let test = serving.post("/api/sync/multi-source/test", json!({"source": "wind"}));
    assert!(refused(&test, 400).contains("\"wind\""));
    assert_eq!(data(&serving.get("/api/sync/history"))["total"], 0, "what is refused leaves nothing");
    let plain = serving.ask(Method::POST, trigger, &[("x-tidegate-request", "1")], None);
    assert_eq!(
        data(&plain)["parameters"]["periods"],
        json!(["daily", "weekly", "monthly"]),
        "no body means everything"
    );
}

#[test]
fn six_digits_mean_the_one_security_that_has_them() {
    let world = World::new(small());
    world.create_store();
    world.run(&["sync", "stock_basic", "--quiet"], 0);
    let codes = world.sqlite("select ts_code from stock_basic where delist_date is null order by ts_code limit 2");
    let codes: Vec<&str> = codes.split_whitespace().collect();
    let (six, other) = (&codes[0][..6], if codes[0].ends_with(".SZ") { "SH" } else { "SZ" });
    let serving = Serving::start(&world, &[]);
    let body = json!({"symbols": [six, codes[1], six, codes[1].to_lowercase()], "periods": ["monthly", "monthly"]});
    let started = data(&serving.post("/api/sync/trigger", body));
    assert_eq!(started["parameters"]["symbols"], json!(codes));
    assert_eq!(started["parameters"]["periods"], json!(["monthly"]));
    let status = until("the sync ends", &serving, "/api/sync/status", ended);
    assert_eq!(status["status"], "success", "{status:#}");
    let stored = world.sqlite("select distinct ts_code from monthly order by ts_code");
    assert_eq!(stored.split_whitespace().collect::<Vec<_>>(), codes, "only those, and both");

    // A list in which the same digits are listed twice.
    world.sqlite_write(&format!(
        "create temp table twin as select * from stock_basic where ts_code = '{}'; \
         update twin set ts_code = '{six}.{other}'; insert into stock_basic select * from twin;",
        codes[0]
    ));
    let detail = refused(&serving.post("/api/sync/trigger", json!({"symbols": [six]})), 400);
    assert!(detail.contains(codes[0]) && detail.contains(&format!("{six}.{other}")), "{detail}");
}

#[test]
fn bars_of_several_lengths_are_started_and_counted() {
    let world = World::new(small());
    world.create_store();
    let serving = Serving::start(&world, &[]);
    let mut empty = data(&serving.get("/api/multi-period-sync/statistics"));
    let as_of = empty.as_object_mut().unwrap().remove("as_of").unwrap();
    assert!(tidegate::model::Instant::parse(as_of.as_str().unwrap()).is_some(), "{as_of}");
    assert_eq!(empty, json!({"period_statistics": {"daily": {}, "weekly": {}, "monthly": {}}, "last_updated": null}));

    let body = json!({"days_back": 7, "periods": ["daily"], "data_sources": ["tushare", "akshare"]});
    let started = data(&serving.post("/api/multi-period-sync/start-incremental", body));
    assert_eq!(fields(&started), ["job_id", "parameters", "started_at", "status"]);
    assert_eq!(started["parameters"]["data_sources"], json!(["tushare"]), "akshare is not enabled");
    assert_eq!(
        (&started["parameters"]["days_back"], &started["parameters"]["all_history"]),
        (&7.into(), &false.into())
    );
    until("the last days are there", &serving, "/api/sync/status", ended);

    let body = json!({"start_date": "20240102", "end_date": "2024-01-31", "periods": ["daily"]});
    let started = data(&serving.post("/api/multi-period-sync/start-history", body));
    assert_eq!(started["parameters"]["start_date"], "2024-01-02");
    let status = until("January is there", &serving, "/api/sync/status", ended);
    assert_eq!((&status["status"], &status["last_trade_date"]), (&"success".into(), &"20240131".into()), "{status:#}");
    let counted = data(&serving.get("/api/multi-period-sync/statistics"));
    let rows = |table: &str| world.sqlite(&format!("select count(*) from {table}")).trim().parse::<u64>().unwrap();
    assert_eq!(
        counted["period_statistics"]["daily"]["tushare"],
        json!({"count": rows("daily"), "latest_date": "2024-01-31"})
    );

    let started = data(&serving.post("/api/multi-period-sync/start-full", json!({})));
    assert_eq!(started["parameters"]["periods"], json!(["daily", "weekly", "monthly"]));
    until("everything is there", &serving, "/api/sync/status", ended);
    let answer = serving.get("/api/multi-period-sync/statistics");
    assert_eq!(message(&answer), "统计信息获取成功");
    let counted = data(&answer);
    for table in ["daily", "weekly", "monthly"] {
        world.assert_equals_truth(table);
        let newest = world.sqlite(&format!("select max(trade_date) from {table}"));
        let expected = json!({"tushare": {"count": rows(table), "latest_date": newest.trim()}});
        assert_eq!(counted["period_statistics"][table], expected, "{table}");
    }
    let last = world.sqlite("select max(at) from _commit where dataset in ('daily', 'weekly', 'monthly')");
    assert_eq!(counted["last_updated"], last.trim());
}

#[test]
fn the_history_is_paged_newest_first() {
    let world = World::new(small());
    world.create_store();
    let serving = Serving::start(&world, &[]);
    for number in 1..=13 {
        let body = json!({"periods": ["monthly"], "force": number > 1});
        assert_eq!(data(&serving.post("/api/sync/trigger", body))["job_id"], format!("sync_{number}"));
    }
    until("all of them end", &serving, "/api/sync/history?page_size=20", |history| {
        history["records"].as_array().unwrap().iter().all(ended)
    });
    let jobs = |history: &Value| -> Vec<String> {
        history["records"].as_array().unwrap().iter().map(|past| past["job"].as_str().unwrap().to_string()).collect()
    };
    let named = |numbers: &[i32]| -> Vec<String> { numbers.iter().map(|number| format!("sync_{number}")).collect() };
    let first = data(&serving.get("/api/sync/history"));
    assert_eq!(jobs(&first), named(&[13, 12, 11, 10, 9, 8, 7, 6, 5, 4]));
    assert_eq!((&first["total"], &first["page"], &first["page_size"]), (&13.into(), &1.into(), &10.into()));
    assert_eq!(first["has_more"], true);
    let second = data(&serving.get("/api/sync/history?page=2"));
    assert_eq!((jobs(&second), &second["has_more"]), (named(&[3, 2, 1]), &false.into()));
    let third = data(&serving.get("/api/sync/history?page=3&page_size=5"));
    assert_eq!((jobs(&third), &third["has_more"]), (named(&[3, 2, 1]), &false.into()));
    assert_eq!(jobs(&data(&serving.get("/api/sync/history?page=9"))), named(&[]));
}

#[test]
fn sources_are_shown_with_their_tokens_origin_and_probed() {
    let world = World::new(small());
    world.create_store();
    let serving = Serving::start(&world, &[]);
    let answer = serving.get("/api/sync/multi-source/sources/status");
    assert_eq!(message(&answer), "Data sources status retrieved successfully");
    let shown = data(&answer);
    let by_name = |name: &str| shown.as_array().unwrap().iter().find(|source| source["name"] == name).unwrap().clone();
    for (name, priority, available, says) in [
        ("tushare", 1, true, "token from --set"),
        ("akshare", 2, false, "not enabled"),
        ("baostock", 3, false, "not enabled"),
    ] {
        let source = by_name(name);
        assert_eq!(fields(&source), ["available", "description", "name", "priority"]);
        assert_eq!((&source["priority"], &source["available"]), (&priority.into(), &available.into()), "{source}");
        assert!(source["description"].as_str().unwrap().contains(says), "{source}");
    }
    assert!(!String::from_utf8_lossy(&answer.bytes).contains(crate::world::TOKEN));

    let all = data(&serving.ask(Method::POST, "/api/sync/multi-source/test", &[("x-tidegate-request", "1")], None));
    let results = all["test_results"].as_array().unwrap();
    assert_eq!(results.len(), 1, "those that are enabled: {all:#}");
    assert_eq!(
        (&results[0]["name"], &results[0]["available"], &results[0]["error"]),
        (&"tushare".into(), &true.into(), &Value::Null)
    );
    assert!(results[0]["latency_ms"].is_u64() && results[0]["asked"].as_str().unwrap().contains("000001.SZ"));
    let one = data(&serving.post("/api/sync/multi-source/test", json!({"source": "akshare"})));
    assert_eq!(one["test_results"][0]["available"], false);
    assert!(one["test_results"][0]["hint"].as_str().unwrap().contains("sources.akshare.enabled"), "{one:#}");
}

#[test]
fn a_source_that_says_no_or_nothing_is_told_in_time() {
    let world = World::new(Wanted {
        faults: vec![Rule::always(Fault::WrongToken).at(1..=1), Rule::always(Fault::SlowAnswer { millis: 3_600_000 })],
        ..small()
    });
    world.create_store();
    let serving = Serving::start(&world, &["--set", "failover.probe_seconds=1"]);
    let refused = data(&serving.post("/api/sync/multi-source/test", json!({"source": "tushare"})));
    let result = &refused["test_results"][0];
    assert_eq!(result["available"], false);
    assert!(result["error"].as_str().unwrap().contains("40101") && result["hint"].is_string(), "{result:#}");
    let silent = data(&serving.post("/api/sync/multi-source/test", json!({"source": "tushare"})));
    let result = &silent["test_results"][0];
    assert!(result["error"].as_str().unwrap().contains("within 1 s"), "{result:#}");
}

#[test]
fn tokens_come_from_file_environment_or_store_and_their_absence_is_told() {
    let world = World::new(small());
    world.create_store();
    let describe = |serving: &Serving| {
        let shown = data(&serving.get("/api/sync/multi-source/sources/status"));
        (shown[0]["available"].clone(), shown[0]["description"].as_str().unwrap().to_string())
    };
    let serving = Serving::start(&world, &["--set", "sources.tushare.token="]);
    let (available, description) = describe(&serving);
    assert!(available == false && description.contains("no token is set"), "{description}");
    let put = serving.ask(
        Method::PUT,
        "/api/v1/secrets/tushare",
        &[("x-tidegate-request", "1")],
        Some(json!({"value": crate::world::TOKEN})),
    );
    assert_eq!(put.status, 204, "{}", String::from_utf8_lossy(&put.bytes));
    let (available, description) = describe(&serving);
    assert!(available == true && description.contains("token from the store"), "{description}");
    drop(serving);
    let file = world.folder.path().join("token");
    std::fs::write(&file, crate::world::TOKEN).unwrap();
    let other = World::new(small());
    other.create_store();
    let set = format!("sources.tushare.token_file={}", file.display());
    let serving = Serving::start(&other, &["--set", "sources.tushare.token=", "--set", &set]);
    let (available, description) = describe(&serving);
    assert!(available == true && description.contains(&format!("the file {}", file.display())), "{description}");
}

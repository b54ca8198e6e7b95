//! The mission's ranges of days, the scheduler's control and the log, through the real program.

use serde_json::{Value, json};
use tidegate::model::{Change, Commit, Journal, JournalEntry, Level};
use tidegate::sim::{Fault, Rule};
use tidegate::store::Store;

use crate::mission::{data, ended, fields, refused, small, stuck, until};
use crate::serving::Serving;
use crate::world::{Wanted, World};

const BATCH: &str = "/api/v1/sync-status/sync/batch";
const DAYS: &str = "/api/v1/sync-status";

#[test]
fn a_range_is_synced_in_the_background_and_listed_day_by_day() {
    let refusal = Fault::Refuse { code: -2001, msg: "抱歉".to_owned() };
    let broken = Rule::always(refusal).of("daily").with("trade_date", "20240110");
    let world = World::new(Wanted { faults: vec![broken], ..small() });
    world.create_store();
    let serving = Serving::start(&world, &["--set", "jobs.attempts=0"]);
    let before = data(&serving.get(&format!("{DAYS}?start_date=2024-01-01&end_date=2024-01-31")));
    assert_eq!(before["batch"], Value::Null);

    let started = data(&serving.post(BATCH, json!({"start_date": "2024-01-01", "end_date": "20240131"})));
    let named = ["datasets", "days", "end_date", "job_id", "start_date", "started_at", "status"];
    assert_eq!(fields(&started), named);
    assert_eq!(
        (&started["days"], &started["datasets"], &started["status"]),
        (&31.into(), &json!(["daily"]), &"running".into())
    );
    assert_eq!((&started["start_date"], &started["end_date"]), (&"2024-01-01".into(), &"2024-01-31".into()));
    let listed =
        until("the range ends", &serving, &format!("{DAYS}?start_date=2024-01-01&end_date=2024-01-31"), |list| {
            ended(&list["batch"])
        });
    let batch = &listed["batch"];
    assert_eq!((&batch["job_id"], &batch["status"]), (&started["job_id"], &"success_with_errors".into()), "{batch:#}");
    assert_eq!((&batch["progress"], &batch["seconds_left"]), (&json!(1.0), &Value::Null), "{batch:#}");
    assert_eq!(batch["slices_failed"], 1, "{batch:#}");

    let days = world.run(&["days", "daily", "--from", "2024-01-01", "--to", "2024-01-31", "--json"], 0).json();
    let expected = &days[0];
    let items = listed["items"].as_array().unwrap();
    assert_eq!((items.len(), &listed["total"]), (31, &31.into()));
    for (item, day) in items.iter().rev().zip(expected["days"].as_array().unwrap()) {
        for (field, of_command) in [
            ("date", "day"),
            ("status", "status"),
            ("rows", "rows"),
            ("source", "source"),
            ("duration_ms", "ms"),
            ("at", "at"),
            ("why", "why"),
        ] {
            assert_eq!(item[field], day[of_command], "{field}: {item:#} {day:#}");
        }
        assert_eq!(item["dataset"], "daily");
    }
    for state in ["success", "partial", "failed", "skipped", "pending"] {
        assert_eq!(listed["totals"][state], expected[state], "{state}");
        let only = data(&serving.get(&format!("{DAYS}?start_date=2024-01-01&end_date=2024-01-31&status={state}")));
        assert_eq!(only["total"], expected[state]);
        assert!(only["items"].as_array().unwrap().iter().all(|item| item["status"] == state));
        assert_eq!(only["totals"], listed["totals"], "the cards do not follow the filter");
    }
    assert_eq!((&listed["totals"]["failed"], &listed["totals"]["partial"]), (&1.into(), &0.into()));
    let stored = world.sqlite("select count(*) from daily").trim().parse::<u64>().unwrap();
    assert_eq!(listed["totals"]["rows"], stored);
    let failed = data(&serving.get(&format!("{DAYS}?start_date=2024-01-01&end_date=2024-01-31&status=failed")));
    assert_eq!(failed["items"][0]["date"], "2024-01-10");

    let page = data(&serving.get(&format!("{DAYS}?start_date=20240101&end_date=20240131&page=4&page_size=10")));
    assert_eq!(
        (&page["items"][0]["date"], &page["has_more"], &page["total"]),
        (&"2024-01-01".into(), &false.into(), &31.into())
    );
    let tables =
        data(&serving.get(&format!("{DAYS}?start_date=2024-01-02&end_date=2024-01-03&dataset=daily,adj_factor")));
    assert_eq!(tables["total"], 4);
    let usual = data(&serving.get(DAYS));
    assert_eq!((&usual["total"], &usual["items"][0]["date"]), (&31.into(), &world.now().day().to_string().into()));
}

#[test]
fn one_range_at_a_time_and_of_several_tables() {
    let world = World::new(stuck());
    world.create_store();
    let serving = Serving::start(&world, &[]);
    let body =
        json!({"start_date": "2024-01-02", "end_date": "2024-01-05", "datasets": ["daily", "adj_factor", "daily"]});
    let started = data(&serving.post(BATCH, body.clone()));
    assert_eq!(started["datasets"], json!(["daily", "adj_factor"]));
    // The calendar, the list and the code changes come first; four days of factors arrive and those of bars do not.
    let list = until("the factors are there", &serving, DAYS, |list| list["batch"]["slices_done"] == 3 + 4);
    assert_eq!((&list["batch"]["status"], &list["batch"]["slices_planned"]), (&"running".into(), &(3 + 8).into()));
    let progress = list["batch"]["progress"].as_f64().unwrap();
    assert!((progress - 7.0 / 11.0).abs() < 1e-9 && list["batch"]["seconds_left"].is_u64(), "{list:#}");
    let answer = serving.post(BATCH, body);
    assert!(refused(&answer, 429).starts_with(started["job_id"].as_str().unwrap()));
    assert_eq!(data(&serving.get("/api/sync/status"))["status"], "idle", "a range is no sync");
    // The longest range that is allowed, up to today.
    let today = world.now().day();
    let longest = json!({"start_date": today.plus(-89).to_string(), "end_date": today.to_string()});
    refused(&serving.post(BATCH, longest), 429);
}

/// The job with this identifier.
fn job(serving: &Serving, id: &str) -> Value {
    let status = data(&serving.get("/api/scheduler/status"));
    let jobs = status["jobs"].as_array().unwrap();
    jobs.iter().find(|job| job["id"] == id).cloned().unwrap_or(Value::Null)
}

#[test]
fn jobs_are_listed_started_stopped_scheduled_and_triggered() {
    let world = World::new(small());
    world.create_store();
    let serving = Serving::start(&world, &["--set", "jobs.enabled=true"]);
    let control = |action: &str| format!("/api/scheduler/jobs/namechange/{action}");
    let scheduled = data(&serving.post(&control("schedule"), json!({"hour": 18, "minute": 30})));
    let named = ["id", "last_run", "name", "next_run_time", "reason", "state", "trigger"];
    assert_eq!(fields(&scheduled), named);
    assert_eq!((&scheduled["trigger"], &scheduled["state"]), (&"cron 30 18 * * *".into(), &"active".into()));
    let next = scheduled["next_run_time"].as_str().unwrap();
    assert!(next.ends_with("T18:30:00+08:00") && next > world.now().to_string().as_str(), "{next}");
    let by_line = data(&serving.post(&control("schedule"), json!({"expression": "0 3 1 * *"})));
    assert!(by_line["next_run_time"].as_str().unwrap().contains("-01T03:00:00"), "{by_line:#}");

    let stopped = data(&serving.post(&control("stop"), json!({})));
    assert_eq!((&stopped["state"], &stopped["next_run_time"]), (&"stopped".into(), &Value::Null));
    let started = data(&serving.post(&control("start"), json!({"interval_minutes": 45})));
    assert_eq!((&started["state"], &started["trigger"]), (&"active".into(), &"every 2700 s".into()));
    let listed = data(&serving.get("/api/scheduler/status"));
    assert_eq!(fields(&listed), ["jobs", "running"]);
    assert_eq!(listed["running"], true);
    assert_eq!(job(&serving, "namechange")["trigger"], "every 2700 s");

    let triggered = data(&serving.post(&control("trigger"), json!({})));
    assert_eq!(fields(&triggered), ["id", "run_id", "started_at", "status"]);
    until("the job has run", &serving, "/api/scheduler/status", |status| {
        let jobs = status["jobs"].as_array().unwrap();
        jobs.iter().any(|job| job["id"] == "namechange" && job["last_run"]["status"] == "success")
    });
    assert_eq!(job(&serving, "namechange")["last_run"]["run_id"], triggered["run_id"]);
    let claims = world.sqlite("select count(*) from _claim where dataset = 'namechange'");
    assert_ne!(claims.trim(), "0", "what it fetched is claimed");

    // A job of every day runs by itself too.
    serving.post("/api/scheduler/jobs/trade_cal/start", json!({"interval_seconds": 10})).of_status(200);
    until("the job has run by itself", &serving, "/api/scheduler/status", |status| {
        let jobs = status["jobs"].as_array().unwrap();
        let own = jobs.iter().find(|job| job["id"] == "trade_cal").unwrap();
        own["last_run"].is_object() && ended(&own["last_run"])
    });
}

#[test]
fn what_the_scheduler_cannot_do_is_refused_and_a_job_runs_once_at_a_time() {
    let world = World::new(stuck());
    world.create_store();
    let serving = Serving::start(&world, &[]);
    assert_eq!(data(&serving.get("/api/scheduler/status"))["running"], false);
    let control = |id: &str, action: &str| format!("/api/scheduler/jobs/{id}/{action}");
    for (path, body, status, named) in [
        (control("nobody", "start"), json!({"interval_minutes": 5}), 404, "nobody"),
        (control("nobody", "stop"), json!({}), 404, "nobody"),
        (control("nobody", "trigger"), json!({}), 404, "nobody"),
        (control("nobody", "schedule"), json!({"hour": 1}), 404, "nobody"),
        (control("daily", "start"), json!({"interval_seconds": 1}), 400, "1 s"),
        (control("daily", "start"), json!({"interval_seconds": 60, "interval_minutes": 1}), 400, "exclude"),
        (control("daily", "start"), json!({"every": 60}), 400, "every"),
        (control("daily", "schedule"), json!({}), 400, "no schedule"),
        (control("daily", "schedule"), json!({"expression": "whenever"}), 400, "whenever"),
        (control("daily", "schedule"), json!({"hour": 25}), 400, "0 25 * * *"),
        (control("daily", "schedule"), json!({"hour": "1 2"}), 400, "hour"),
        (control("daily", "schedule"), json!({"hour": 1, "expression": "0 1 * * *"}), 400, "exclude"),
    ] {
        let detail = refused(&serving.post(&path, body.clone()), status);
        assert!(detail.contains(named), "{path} {body}: {detail}");
    }
    serving.post(&control("daily", "schedule"), json!({"hour": 18})).of_status(200);
    let first = data(&serving.post(&control("daily", "trigger"), json!({})));
    let answer = serving.post(&control("daily", "trigger"), json!({}));
    let detail = refused(&answer, 429);
    assert!(detail.contains(first["run_id"].as_str().unwrap().trim_start_matches("sync_")), "{detail}");
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(job(&serving, "daily")["last_run"]["status"], "running");
}

#[test]
fn log_records_are_found_by_level_task_and_text() {
    let world = World::new(small());
    world.create_store();
    let store = world.store();
    // Older records would be forgotten.
    let began = world.now().plus_seconds(-3_600);
    let at = |second: i64| began.plus_seconds(second);
    let entry = |second: i64, level: Level, task: Option<i64>, text: &str| {
        let (journal, data) = (Journal::Log, json!({"second": second}));
        let (who, target, text) = (String::new(), "tidegate::engine::test".to_string(), text.to_string());
        Change::Journal(JournalEntry { id: 0, at: at(second), journal, level, who, target, text, task, data })
    };
    let changes = vec![
        entry(1, Level::Debug, None, "a detail"),
        entry(2, Level::Info, Some(7), "Fetched a slice"),
        entry(3, Level::Warn, Some(7), "refused once"),
        entry(4, Level::Error, Some(8), "the slice FAILED"),
    ];
    world.runtime.block_on(store.commit(Commit { at: at(5), fence: None, changes })).unwrap();
    let serving = Serving::start(&world, &["--set", "log.store_level=off"]);
    let seconds = |query: &str| -> Vec<i64> {
        let logs = data(&serving.get(&format!("/api/sync/logs?text=tidegate::engine::test{query}")));
        let records = logs["records"].as_array().unwrap();
        records.iter().map(|record| record["data"]["second"].as_i64().unwrap()).collect()
    };
    assert_eq!(seconds(""), [4, 3, 2], "newest first, from info on");
    assert_eq!(seconds("&level=debug"), [4, 3, 2, 1]);
    assert_eq!(seconds("&level=warn"), [4, 3]);
    assert_eq!(seconds("&level=ERROR"), [4]);
    assert_eq!(seconds("&task=7"), [3, 2]);
    assert_eq!(seconds("&page_size=2"), [4, 3]);
    assert_eq!(seconds("&page_size=2&page=2"), [2]);
    let found = data(&serving.get("/api/sync/logs?text=slice&page_size=1"));
    assert_eq!((&found["has_more"], &found["page_size"]), (&true.into(), &1.into()));
    let record = &found["records"][0];
    assert_eq!(fields(record), ["at", "data", "level", "target", "task", "text"]);
    assert_eq!(
        (&record["text"], &record["level"], &record["task"]),
        (&"the slice FAILED".into(), &"error".into(), &8.into())
    );
    assert_eq!(record["at"], at(4).to_string());
}

#[test]
fn the_guides_examples_work_as_they_are_printed() {
    let world = World::new(small());
    world.create_store();
    world.run(&["sync", "stock_basic", "--quiet"], 0);
    let code = world.sqlite("select ts_code from stock_basic where delist_date is null order by ts_code limit 1");
    let serving = Serving::start(&world, &[]);
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/rest.md")).unwrap();
    let mut asked = 0;
    for block in guide.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let block = block.replace("http://127.0.0.1:7880", &serving.url).replace("000001.SZ", code.trim());
        for line in block.replace("\\\n", " ").lines() {
            let command = line.replacen("curl", "curl --silent --show-error --fail-with-body", 1);
            let ran = std::process::Command::new("sh").arg("-c").arg(&command).output().unwrap();
            let answer = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success(), "{line}\n{answer}\n{}", String::from_utf8_lossy(&ran.stderr));
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["success"], true, "{line}");
            asked += 1;
        }
    }
    assert!(asked >= 17, "{asked} examples");
}

//! `/api/v1` through the real program: every route, and that it tells the same as the commands.

use serde_json::{Value, json};

use crate::serving::{Answer, Serving};
use crate::world::{Wanted, World};

/// Tables that the tests of the API look at.
const TABLES: [&str; 7] = ["trade_cal", "stock_basic", "suspend_d", "daily", "adj_factor", "weekly", "fina_indicator"];

/// A market whose tables were synced by the command.
pub fn synced(tables: &[&str]) -> World {
    let world = World::new(Wanted { securities: 40, first: "2024-01-02", last: "2024-03-29", ..Wanted::default() });
    world.create_store();
    let sync = ["sync"]
        .iter()
        .chain(tables)
        .copied()
        .chain(["--from", "2024-01-02", "--to", "2024-03-29"])
        .collect::<Vec<_>>();
    world.run(&sync, 0);
    world
}

/// A problem of a status, which names what is wrong.
pub fn assert_problem(answer: &Answer, status: u16, named: &str) {
    let problem = answer.of_status(status);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{problem}");
    let text = problem.to_string();
    assert!(text.contains(named), "{named:?} is not in {text}");
}

fn items(answer: &Answer) -> Vec<Value> {
    answer.of_status(200)["items"].as_array().unwrap().clone()
}

#[test]
fn tables_are_listed_with_what_is_stored_and_described_in_full() {
    let world = synced(&TABLES);
    let serving = Serving::start(&world, &[]);
    let all = items(&serving.get("/api/v1/datasets"));
    assert_eq!(all.len(), world.catalog.datasets().len());
    let daily = all.iter().find(|item| item["name"] == "daily").unwrap();
    assert_eq!(daily["first_day_stored"], "2024-01-02");
    assert_eq!(daily["rows"].as_u64().unwrap().to_string(), world.sqlite("select count(*) from daily").trim());
    assert_eq!((&daily["sources"][0], &daily["adjusts"]), (&json!("tushare"), &json!(true)));
    let detail = serving.get("/api/v1/datasets/daily").of_status(200);
    let close = detail["columns"].as_array().unwrap().iter().find(|column| column["name"] == "close").unwrap();
    assert_eq!(
        *close,
        json!({"name": "close", "type": "decimal", "scale": 4, "unit": "CNY", "nullable": true, "meaning": "close price", "meaning_zh": "收盘价"})
    );
    assert_problem(&serving.get("/api/v1/datasets/daly"), 404, "daly");
}

#[test]
fn bars_are_those_that_show_prints() {
    let world = synced(&TABLES);
    let serving = Serving::start(&world, &[]);
    let code =
        world.sqlite("select ts_code from daily group by 1 order by count(*) desc, 1 limit 1").trim().to_string();
    for (adjust, option) in [("none", vec![]), ("qfq", vec!["--adjust", "qfq"]), ("hfq", vec!["--adjust", "hfq"])] {
        let bars = serving.get(&format!("/api/v1/bars/{code}?adjust={adjust}")).of_status(200);
        assert_eq!(
            (&bars["code"], &bars["adjust"], &bars["made_from"]),
            (&json!(code), &json!(adjust), &json!("daily"))
        );
        let columns = "trade_date,open,high,low,close,vol,amount";
        let show = [&["show", "daily", "--codes", &code, "--columns", columns, "--json"], &option[..]].concat();
        let shown = world.run(&show, 0).json();
        let shown: Vec<Value> = shown
            .as_array()
            .unwrap()
            .iter()
            .map(|row| columns.split(',').map(|column| row[column].clone()).collect())
            .collect();
        assert!(shown.len() > 40, "{}", shown.len());
        assert_eq!(bars["bars"], json!(shown), "{adjust}");
    }
    let few = serving.get(&format!("/api/v1/bars/{}?limit=3&to=2024-02-20", &code[..6])).of_status(200);
    assert_eq!((few["bars"].as_array().unwrap().len(), &few["bars"][2][0]), (3, &json!("2024-02-20")));
    for (path, status, named) in [
        ("999999", 404, "999999"),
        ("nonsense", 400, "nonsense"),
        (&*format!("{code}?adjust=forward"), 400, "adjust"),
        (&*format!("{code}?anchor=2024-01-02"), 400, "anchor"),
        (&*format!("{code}?limit=0"), 400, "limit"),
        (&*format!("{code}?period=hourly"), 400, "period"),
        (&*format!("{code}?perod=daily"), 400, "perod"),
    ] {
        assert_problem(&serving.get(&format!("/api/v1/bars/{path}")), status, named);
    }
}

#[test]
fn weeks_come_from_their_table_and_months_from_days_while_theirs_is_empty() {
    let world = synced(&TABLES);
    let serving = Serving::start(&world, &[]);
    let code =
        world.sqlite("select ts_code from daily group by 1 order by count(*) desc, 1 limit 1").trim().to_string();
    let weekly = serving.get(&format!("/api/v1/bars/{code}?period=weekly")).of_status(200);
    assert_eq!(weekly["made_from"], "weekly");
    let monthly = serving.get(&format!("/api/v1/bars/{code}?period=monthly")).of_status(200);
    assert_eq!(monthly["made_from"], "daily");
    let expected = world.sqlite(&format!(
        "select json_group_array(json_array(day, high, low, vol)) from (select max(trade_date) day, max(high) high, \
         min(low) low, sum(vol) vol from daily where ts_code = '{code}' group by substr(trade_date, 1, 7) order by 1)"
    ));
    let bars = monthly["bars"].as_array().unwrap().iter();
    let picked: Vec<Value> =
        bars.map(|bar| json!([bar[0], bar[2].as_f64(), bar[3].as_f64(), bar[5].as_f64()])).collect();
    assert_eq!(
        json!(picked),
        serde_json::from_str::<Value>(&expected)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|bar| { json!([bar[0], bar[1].as_f64(), bar[2].as_f64(), bar[3].as_f64()]) })
            .collect::<Value>()
    );
    // A range begins and ends with whole months.
    let some = serving.get(&format!("/api/v1/bars/{code}?period=monthly&from=2024-02-15&to=2024-02-20")).of_status(200);
    assert_eq!(some["bars"], json!([monthly["bars"][1]]));
}

#[test]
fn securities_are_found_by_code_name_and_initials() {
    let world = synced(&["stock_basic"]);
    let serving = Serving::start(&world, &[]);
    let row =
        world.sqlite("select ts_code, name, cnspell from stock_basic where cnspell <> '' order by 1 limit 1 offset 5");
    let [code, name, pinyin] = row.trim().split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
    for asked in [code, &code[..6], name, pinyin] {
        let found = items(&serving.get(&format!("/api/v1/securities?q={asked}&limit=40")));
        assert!(found.iter().any(|item| item["code"] == code), "{asked}: {found:?}");
    }
    assert_eq!(items(&serving.get("/api/v1/securities?limit=7")).len(), 7);
    assert!(items(&serving.get("/api/v1/securities?q=%27%20or%201%3D1%20--")).is_empty());
    assert_problem(&serving.get("/api/v1/securities?limit=1000000"), 400, "10000");
}

#[test]
fn a_task_tells_what_happened_to_it() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &[]);
    let all = items(&serving.get("/api/v1/tasks"));
    assert!(all.len() >= 3 && all[0]["id"].as_i64() > all[1]["id"].as_i64());
    let first = serving.get("/api/v1/tasks?limit=1").of_status(200);
    assert_eq!((&first["items"][0], &first["next"]), (&all[0], &all[0]["id"]));
    let rest = serving.get(&format!("/api/v1/tasks?before={}", first["next"])).of_status(200);
    assert_eq!((&rest["items"], &rest["next"]), (&json!(all[1..]), &Value::Null));
    let daily = items(&serving.get("/api/v1/tasks?dataset=daily&state=completed"));
    let [daily] = &daily[..] else { panic!("{daily:?}") };
    let detail = serving.get(&format!("/api/v1/tasks/{}", daily["id"])).of_status(200);
    assert_eq!((&detail["dataset"], &detail["outcome"]), (&json!("daily"), &json!("success")));
    let timeline = detail["timeline"].as_array().unwrap();
    let kinds: Vec<&str> = timeline.iter().map(|moment| moment["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds.last().unwrap()), ("task.created", &"task.completed"), "{kinds:?}");
    assert!(timeline.iter().any(|moment| moment["text"].as_str().unwrap().contains("from tushare")), "{timeline:?}");
    assert!(detail["phases"]["write_ms"].is_u64());
    assert_problem(&serving.get("/api/v1/tasks/999999"), 404, "999999");
    assert_problem(&serving.get("/api/v1/tasks?state=asleep"), 400, "running");
    assert_problem(&serving.post(&format!("/api/v1/tasks/{}/pause", daily["id"]), json!({})), 409, "completed");
}

#[test]
fn work_is_asked_for_followed_and_ended() {
    let world = synced(&["trade_cal", "stock_basic"]);
    let serving = Serving::start(&world, &["--role", "api"]);
    let run = serving.post("/api/v1/runs", json!({"datasets": ["daily"], "from": "20240102", "reason": "a test"}));
    let run = run.of_status(202);
    assert_eq!(
        (&run["state"], &run["reason"], &run["work"]["from"]),
        (&json!("pending"), &json!("a test"), &json!("2024-01-02"))
    );
    let open = items(&serving.get("/api/v1/runs?open=true"));
    assert_eq!(open.iter().map(|run| &run["id"]).collect::<Vec<_>>(), [&run["id"]]);
    let ended = serving.post(&format!("/api/v1/runs/{}/cancel", run["id"]), json!({})).of_status(200);
    assert_eq!(ended["state"], "cancelled");
    assert!(items(&serving.get("/api/v1/runs?open=true")).is_empty());
    let detail = serving.get(&format!("/api/v1/runs/{}", run["id"])).of_status(200);
    assert_eq!((&detail["state"], &detail["task_list"]), (&json!("cancelled"), &json!([])));
    for (body, status, named) in [
        (json!({"datasets": ["daly"]}), 404, "daly"),
        (json!({"codes": ["nonsense"]}), 400, "nonsense"),
        (json!({"from": "2024-02-01", "to": "2024-01-01"}), 400, "2024-02-01"),
        (json!({"sources": ["nobody"]}), 404, "nobody"),
        (json!({"data": []}), 400, "data"),
    ] {
        assert_problem(&serving.post("/api/v1/runs", body), status, named);
    }
}

#[test]
fn coverage_says_of_each_day_what_the_audit_says_of_all() {
    let world = synced(&TABLES);
    world.run(&["sync", "moneyflow", "--from", "2024-01-10", "--to", "2024-01-19"], 0);
    let serving = Serving::start(&world, &[]);
    for table in ["daily", "moneyflow", "weekly", "fina_indicator"] {
        let span = ["--from", "2024-01-02", "--to", "2024-03-29"];
        let audit = world.tidegate(&[&["audit", table, "--json"], &span[..]].concat()).output().unwrap();
        let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
        let answer = serving.get(&format!("/api/v1/coverage/{table}?from=2024-01-02&to=2024-03-29")).of_status(200);
        let days = answer["days"].as_array().unwrap();
        assert_eq!(days.len(), 88, "{table}");
        let of_state = |state: &str| days.iter().filter(|day| day["state"] == state).count() as u64;
        let due = days.len() as u64 - of_state("closed") - of_state("not_due");
        assert_eq!(json!(due), audit["datasets"][0]["points"], "{table}");
        let holes = audit["datasets"][0]["holes"].as_array().unwrap();
        let in_hole = |day: &Value| {
            let text = day["day"].as_str().unwrap();
            holes.iter().any(|hole| hole["from"].as_str().unwrap() <= text && text <= hole["to"].as_str().unwrap())
        };
        for day in days.iter().filter(|day| day["state"] != "closed") {
            let is_whole = ["present", "empty", "provisional"].contains(&day["state"].as_str().unwrap());
            assert_eq!(is_whole, !in_hole(day), "{table}: {day}");
        }
        let rows: u64 = days.iter().map(|day| day["rows"].as_u64().unwrap()).sum();
        // No report period ends within these days.
        assert_eq!(rows > 0, table != "fina_indicator", "{table}");
    }
    let day = serving.get("/api/v1/coverage/moneyflow/2024-01-12").of_status(200);
    assert_eq!((&day["state"], &day["source"]), (&json!("present"), &json!("tushare")));
    let task = day["commits"][0]["task"].as_i64().unwrap();
    assert_eq!(serving.get(&format!("/api/v1/tasks/{task}")).of_status(200)["dataset"], "moneyflow");
    for (path, status, named) in [
        ("daly", 404, "daly"),
        ("daily?from=2024-02-01&to=2024-01-01", 400, "swap"),
        ("daily?from=1990-01-01&to=2024-01-01", 400, "days"),
        ("daily?from=soon", 400, "soon"),
        ("daily/2024-13-01", 400, "2024-13-01"),
    ] {
        assert_problem(&serving.get(&format!("/api/v1/coverage/{path}")), status, named);
    }
}

#[test]
fn the_overview_tells_what_is_fresh_and_what_needs_a_person() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &[]);
    let overview = serving.get("/api/v1/overview").of_status(200);
    let of = |name: &str| {
        let all = overview["datasets"].as_array().unwrap();
        all.iter().find(|dataset| dataset["name"] == name).unwrap().clone()
    };
    let (daily, money) = (of("daily"), of("moneyflow"));
    // Asked for up to the end of March 2024 only; much has become due since.
    assert_eq!((&daily["whole_until"], &daily["last_day"]), (&json!("2024-03-29"), &json!("2024-03-29")), "{daily}");
    assert_eq!(daily["state"], "late", "{daily}");
    assert!(daily["lag_days"].as_u64().unwrap() > 400 && daily["due_day"].as_str() > Some("2026-01-01"), "{daily}");
    let late = |one: &&Value| one["kind"] == "late" && one["dataset"] == "daily";
    let late = overview["attention"].as_array().unwrap().iter().find(late).unwrap().clone();
    assert_eq!(late["link"], "/coverage/daily");
    assert_eq!((&money["state"], &money["whole_until"]), (&json!("missing"), &Value::Null));
    assert_eq!(of("stock_basic")["state"], "fresh");
    assert!(overview["sources"].as_array().unwrap().iter().any(|source| source["name"] == "tushare"));
    let tasks = overview["tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|task| task["dataset"] == "daily"), "{tasks:?}");
}

#[test]
fn a_plan_is_that_of_the_command() {
    let world = synced(&["trade_cal", "stock_basic"]);
    let serving = Serving::start(&world, &[]);
    let body = json!({"datasets": ["daily", "moneyflow"], "from": "2024-01-02", "to": "2024-01-31"});
    let plan = serving.post("/api/v1/plan", body).of_status(200);
    let shown =
        world.run(&["plan", "daily", "moneyflow", "--from", "2024-01-02", "--to", "2024-01-31", "--json"], 0).json();
    let (items, shown) = (plan["items"].as_array().unwrap(), shown.as_array().unwrap());
    assert_eq!(items.len(), shown.len());
    for (item, shown) in items.iter().zip(shown) {
        for figure in ["dataset", "source", "slices", "calls", "rows", "minutes", "strategy"] {
            assert_eq!(item[figure], shown[figure], "{figure}: {item}");
        }
    }
    let daily = items.iter().find(|item| item["dataset"] == "daily").unwrap();
    let days = world.sqlite(
        "select json_group_array(cal_date) from (select cal_date from trade_cal where is_open = 1 and exchange = 'SSE' \
         and cal_date between '2024-01-02' and '2024-01-31' order by 1)",
    );
    assert_eq!(daily["days"], serde_json::from_str::<Value>(&days).unwrap());
    assert_eq!(plan["calls"].as_u64(), Some(items.iter().map(|item| item["calls"].as_u64().unwrap()).sum()));
    assert!(items_of_runs(&serving).is_empty());
}

fn items_of_runs(serving: &Serving) -> Vec<Value> {
    items(&serving.get("/api/v1/runs"))
}

#[test]
fn the_audit_is_that_of_the_command() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &[]);
    let answer = serving.get("/api/v1/audit?dataset=daily,moneyflow&from=2024-01-02&to=2024-02-01").of_status(200);
    let span = ["--from", "2024-01-02", "--to", "2024-02-01", "--json"];
    let shown = world.tidegate(&[&["audit", "daily", "moneyflow"], &span[..]].concat()).output().unwrap();
    assert_eq!(answer, serde_json::from_slice::<Value>(&shown.stdout).unwrap());
    assert_problem(&serving.get("/api/v1/audit?dataset=daly"), 404, "daly");
    assert_problem(&serving.get("/api/v1/audit?from=2024-02-01&to=2024-01-01"), 400, "swap");
}

#[test]
fn failures_are_listed_tried_again_and_settled() {
    let world = World::new(Wanted { securities: 20, first: "2024-01-02", last: "2024-01-12", ..Wanted::default() });
    world.create_store();
    world.run(&["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-03"], 0);
    // A failure as a sync leaves it behind.
    world.sqlite_write(
        "insert into _failure (dataset, security, from_day, to_day, source, task, kind, message, attempts, attempts_max, \
         next_attempt_at, first_at, last_at) values ('daily', '', '2024-01-04', '2024-01-04', 'tushare', 1, 'transient', \
         'no answer', 12, 12, '2024-01-05T00:00:00+08:00', '2024-01-04T20:00:00+08:00', '2024-01-04T20:00:00+08:00')",
    );
    let serving = Serving::start(&world, &["--role", "api"]);
    let all = items(&serving.get("/api/v1/failures?dataset=daily"));
    let [failure] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&failure["message"], &failure["attempts"]), (&json!("no answer"), &json!(12)));
    let cell = serving.get("/api/v1/coverage/daily/2024-01-04").of_status(200);
    assert_eq!((&cell["state"], &cell["failures"][0]["id"]), (&json!("failed"), &failure["id"]));
    let retried = serving.post("/api/v1/failures/retry", json!({"ids": [failure["id"]]})).of_status(202);
    assert_eq!((&retried["failures"], &retried["runs"][0]["work"]["from"]), (&json!(1), &json!("2024-01-04")));
    assert_eq!(items(&serving.get("/api/v1/failures"))[0]["attempts"], 0);
    let id = &failure["id"];
    let settled = serving.post(&format!("/api/v1/failures/{id}/resolve"), json!({"resolution": "there was nothing"}));
    assert_eq!(settled.of_status(200)["resolution"], "there was nothing");
    assert!(items(&serving.get("/api/v1/failures")).is_empty());
    assert_eq!(items(&serving.get("/api/v1/failures?all=true")).len(), 1);
    assert_problem(&serving.post("/api/v1/failures/retry", json!({"ids": [999]})), 404, "999");
    assert_problem(&serving.get("/api/v1/failures?dataset=daly"), 404, "daly");
}

#[test]
fn the_rest_of_what_is_kept_is_shown() {
    let world = World::new(Wanted { securities: 40, first: "2024-01-02", last: "2024-01-31", ..Wanted::default() });
    world.create_store();
    let tables = [
        "sync",
        "trade_cal",
        "stock_basic",
        "limit_list_d",
        "moneyflow",
        "ths_hot",
        "kpl_concept",
        "--from",
        "2024-01-29",
        "--to",
        "2024-01-31",
    ];
    world.run(&tables, 0);
    world
        .tidegate(&["sync", "income_vip", "fina_indicator", "--from", "2022-01-01", "--to", "2024-01-31"])
        .output()
        .unwrap();
    let serving = Serving::start(&world, &[]);
    let sources = items(&serving.get("/api/v1/sources"));
    let tushare = sources.iter().find(|source| source["name"] == "tushare").unwrap();
    assert_eq!((&tushare["open"], &tushare["token"]["set"]), (&json!(true), &json!(true)));
    assert!(!tushare.to_string().contains(crate::world::TOKEN), "{tushare}");

    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut jobs = Vec::new();
    // The scheduler writes them down when it begins.
    while jobs.is_empty() {
        assert!(std::time::Instant::now() < deadline, "there are no jobs");
        jobs = items(&serving.get("/api/v1/jobs"));
    }
    let daily = jobs.iter().find(|job| job["work"]["datasets"] == json!(["daily"])).unwrap();
    assert_eq!(
        (&daily["state"], &daily["origin"], &daily["reason"]),
        (&json!("active"), &json!("catalog"), &json!("jobs.enabled is false"))
    );
    let id = daily["id"].as_str().unwrap();
    let paused = serving.post(&format!("/api/v1/jobs/{id}/pause"), json!({})).of_status(200);
    assert_eq!((&paused["state"], paused["revision"].as_u64() > daily["revision"].as_u64()), (&json!("paused"), true));
    let change = json!({"title": "Bars", "revision": daily["revision"]});
    let path = format!("/api/v1/jobs/{id}");
    assert_problem(&serving.ask(reqwest::Method::PUT, &path, &[], Some(change)), 409, id);

    let monitor = serving.get("/api/v1/monitor?day=2024-01-30").of_status(200);
    assert_eq!(monitor["day"], "2024-01-30");
    let inflow = monitor["inflow"].as_array().unwrap();
    assert!(inflow.len() > 5 && inflow[0]["code"].is_string() && inflow[0]["name"].is_string(), "{inflow:?}");
    assert!(inflow[0]["net_mf_amount"].as_f64() >= inflow[1]["net_mf_amount"].as_f64());

    let code =
        world.sqlite("select ts_code from income_vip group by 1 order by count(*) desc limit 1").trim().to_string();
    let statements = serving.get(&format!("/api/v1/statements/{code}?table=income&periods=2")).of_status(200);
    let periods = statements["periods"].as_array().unwrap();
    assert!(!periods.is_empty() && periods.len() <= 2, "{periods:?}");
    let revenue = statements["rows"].as_array().unwrap().iter().find(|row| row["column"] == "total_revenue").unwrap();
    assert_eq!(revenue["values"].as_array().unwrap().len(), periods.len());
    assert!(
        items(&serving.get("/api/v1/quarantine")).is_empty() && items(&serving.get("/api/v1/conflicts")).is_empty()
    );
    assert_problem(&serving.post("/api/v1/conflicts/9/resolve", json!({"take": "stored"})), 404, "9");
    assert_problem(&serving.get("/api/v1/statements/600519?table=cash"), 400, "cash");
    assert_problem(&serving.get("/api/v1/monitor?day=soon"), 400, "soon");
}

//! Reconciling through the service: definitions and their runs, reports and repairs over REST, and another Tidegate as a
//! side.

use serde_json::json;

use crate::serving::Serving;
use crate::world::{Wanted, World};

fn world() -> World {
    let world = World::new(Wanted { securities: 6, last: "2024-01-12", ..Wanted::default() });
    world.create_store();
    world.run(&["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-12", "--quiet"], 0);
    world
}

/// The store's table in a database of its own, as CSV has it.
fn copy(world: &World) -> String {
    let path = world.folder.path().join("copy.db");
    let columns = "ts_code text, trade_date text, open real, high real, low real, close real, pre_close real, change real, \
                   pct_chg real, vol real, amount real, primary key (ts_code, trade_date)";
    let sql = format!(
        "attach '{}' as market; create table daily ({columns}); insert into daily select ts_code, trade_date, open, high, \
         low, close, pre_close, change, pct_chg, vol, amount from market.daily",
        world.store_path().display()
    );
    rusqlite::Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    path.display().to_string()
}

fn run(copy: &str, sql: &str) {
    rusqlite::Connection::open(copy).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_definition_is_run_by_the_service_reported_and_repaired_over_rest() {
    let world = world();
    let copy = copy(&world);
    let connection = format!("sources.database.connections=[\"copy=sqlite://{copy}\"]");
    let undo = format!("reconcile.undo_folder={}", world.folder.path().join("undo").display());
    let sets = [
        "--set",
        &connection,
        "--set",
        "reconcile.settle_ms=10",
        "--set",
        &undo,
        "--set",
        "reconcile.alert_differences=1",
    ];
    let serving = Serving::start(&world, &sets);
    let name = "/api/v1/reconciliations/definitions/daily";
    let define = |body| serving.ask(reqwest::Method::PUT, name, &[], Some(body));
    define(json!({ "source": "sqlite:///etc/passwd#t", "target": "copy#daily" })).of_status(400);
    define(json!({ "source": "store:daily", "target": "copy#daily", "cron": "often" })).of_status(400);
    assert_eq!(define(json!({ "source": "store:daily", "target": "copy#daily" })).status.as_u16(), 204);
    let defined = serving.get("/api/v1/reconciliations/definitions").of_status(200);
    assert_eq!(defined["items"][0]["schedule"], "0 3 * * 0", "{defined}");
    let job = serving.get("/api/v1/jobs/reconcile_daily").of_status(200);
    assert_eq!(job["work"]["reconciliations"], json!(["daily"]), "{job}");

    let reported = |number: i64| {
        serving.post(&format!("{name}/run"), json!({})).of_status(202);
        for _ in 0..2_000 {
            let answer = serving.get(&format!("/api/v1/reconciliations/{number}"));
            if answer.status.as_u16() == 200 {
                return answer.json();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("no report {number}: {}", serving.get("/api/v1/runs").json());
    };
    let equal = reported(1);
    assert_eq!((&equal["outcome"], &equal["name"]), (&"equal".into(), &"daily".into()), "{equal}");
    run(
        &copy,
        "delete from daily where trade_date = '2024-01-05'; update daily set close = close + 1 where rowid in \
               (select rowid from daily limit 1)",
    );
    let different = reported(2);
    assert_eq!(
        (&different["outcome"], &different["counts"]["different"]),
        (&"different".into(), &1.into()),
        "{different}"
    );
    let missing = different["counts"]["missing"].as_u64().unwrap();
    assert!(missing > 1);

    let page = serving.get("/api/v1/reconciliations/2/differences?limit=1").of_status(200);
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (1, &1.into()), "{page}");
    let planned = serving.post("/api/v1/reconciliations/2/repair", json!({})).of_status(200);
    assert_eq!((&planned["applied"], &planned["inserted"]), (&false.into(), &missing.into()), "{planned}");
    let done = serving.post("/api/v1/reconciliations/2/repair", json!({ "apply": true })).of_status(200);
    assert_eq!((&done["rows"], &done["still_different"]), (&planned["rows"], &0.into()), "{done}");
    assert!(std::path::Path::new(done["undo_file"].as_str().unwrap()).exists());
    assert_eq!(reported(3)["outcome"], "equal");
    let listed = serving.get("/api/v1/reconciliations?name=daily&limit=2").of_status(200);
    assert_eq!((&listed["items"][0]["report"], &listed["next"]), (&3.into(), &2.into()));
    let alerts: Vec<_> = world.events().into_iter().filter(|event| event.kind.name() == "gate.alert").collect();
    assert_eq!((alerts.len(), &alerts[0].data["report"]), (1, &2.into()), "{alerts:?}");
    assert_eq!(serving.ask(reqwest::Method::DELETE, name, &[], None).status.as_u16(), 204);
    serving.get("/api/v1/jobs/reconcile_daily").of_status(404);
}

#[test]
fn roles_say_who_may_define_look_and_repair() {
    let world = world();
    let key = |name: &str, role: &str| {
        let made = world.run(&["keys", "create", name, "--role", role, "--json"], 0).json();
        format!("Bearer {}", made["key"].as_str().unwrap_or_else(|| panic!("{made}")))
    };
    let (read, operate) = (key("reader", "read"), key("operator", "operate"));
    let serving = Serving::start(&world, &[]);
    let ask = |method: &str, path: &str, key: &str, body| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        serving.ask(method, path, &[("authorization", key)], body).status.as_u16()
    };
    let body = Some(json!({ "source": "store:daily", "target": "store:daily" }));
    let path = "/api/v1/reconciliations/definitions/own";
    assert_eq!(ask("PUT", path, &read, body.clone()), 403);
    assert_eq!(ask("PUT", path, &operate, body), 403);
    assert_eq!(ask("GET", "/api/v1/reconciliations", &read, None), 200);
    assert_eq!(ask("GET", "/api/v1/reconciliations", "Bearer nobody", None), 401);
    assert_eq!(ask("POST", "/api/v1/reconciliations/1/repair", &read, Some(json!({}))), 403);
    assert_eq!(ask("POST", "/api/v1/reconciliations/1/repair", &operate, Some(json!({}))), 404);
    let columns = Some(json!({ "dataset": "daily", "what": "columns" }));
    assert_eq!(ask("POST", "/api/v1/digests", &read, columns.clone()), 200);
    assert_eq!(ask("POST", "/api/v1/digests", "Bearer nobody", columns), 401);
    let unfit = json!({ "dataset": "daily", "what": "rows", "shape": { "columns": [], "key": 3 } });
    assert_eq!(ask("POST", "/api/v1/digests", &read, Some(unfit)), 400);
}

#[test]
fn another_tidegate_is_a_side_through_its_api() {
    let (here, there) = (world(), world());
    let key = there.run(&["keys", "create", "reconciler", "--role", "read", "--json"], 0).json();
    let key = key["key"].as_str().unwrap().to_string();
    let serving = Serving::start(&there, &[]);
    let address = serving.url.replace("http://", &format!("http://:{key}@"));
    let named = format!("reconcile.tidegates=[\"tax={address}\"]");
    let sets = ["--set", &named, "--set", "reconcile.settle_ms=10", "--set", "reconcile.leaf_rows=5", "--json"];
    let compare = |code: i32| {
        let arguments: Vec<&str> = ["reconcile", "store:daily", "tax#daily"].iter().chain(&sets).copied().collect();
        here.run(&arguments, code).json()
    };
    assert_eq!(compare(0)["outcome"], "equal");
    here.sqlite_write(
        "delete from daily where trade_date = '2024-01-04'; update daily set vol = vol + 1 where rowid is not null \
                       and trade_date = '2024-01-08' and ts_code = (select min(ts_code) from daily)"
            .replace("rowid is not null and ", "")
            .as_str(),
    );
    let report = compare(1);
    let rows = report["rows"].as_array().unwrap();
    assert!(report["counts"]["extra"].as_u64().unwrap() > 1 && report["counts"]["different"] == 1, "{report}");
    assert!(rows.iter().any(|row| row["fields"] == json!(["vol"])), "{report}");
    assert!(!report.to_string().contains(&key), "a key is shown");
    let refused = here.run(&["repair", "--report", "2", "--set", &named], 2);
    assert!(refused.stderr.contains("cannot be written to"), "{}", refused.stderr);
    let changes = there.run(&["changes", "--json"], 0);
    assert!(!changes.stdout.contains("digests"), "questions are no changes: {}", changes.stdout);
}

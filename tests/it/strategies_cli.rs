//! Strategies, days and conflicts from the outside: the options, what is printed, the exit codes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use tidegate::model::{Clock, Span};
use tidegate::sim::{Fault, Rule};

use crate::world::{Ran, Wanted, World};

fn january() -> World {
    let world = World::new(Wanted { securities: 40, ..Wanted::default() });
    world.create_store();
    world
}

fn of<'a>(list: &'a Value, dataset: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|one| one["dataset"] == dataset).unwrap()
}

#[test]
fn a_plan_names_its_strategy_and_lists_its_batches() {
    let world = january();
    world.run(&["sync", "stock_basic", "trade_cal", "--quiet"], 0);
    let plan = ["plan", "daily", "--from", "2024-01-02", "--to", "2024-01-31"];
    let with = |options: &[&str]| world.run(&[&plan[..], options, &["--json"]].concat(), 0).json();
    let auto = with(&[]);
    assert_eq!(of(&auto, "daily")["strategy"], "fewest_calls");
    let batches = with(&["--strategy", "by_security", "--batch-size", "16", "--offset", "16"]);
    let batches = of(&batches, "daily");
    assert_eq!(batches["strategy"], "by_security");
    assert_eq!(batches["groups"][0]["label"], "batch 1 (offset 16, 16 securities)");
    let text = world.run(&[&plan[..], &["--strategy", "partitions", "--partitions", "2"]].concat(), 0).stdout;
    assert!(text.contains("partitions") && text.contains("daily: partition 2 of 2: "), "{text}");
    let unknown = world.run(&[&plan[..], &["--strategy", "by_magic"]].concat(), 2);
    assert!(unknown.stderr.contains("there are fewest_calls, by_security"), "{}", unknown.stderr);
    let refused = world.run(&[&plan[..], &["--strategy", "by_period"]].concat(), 2);
    assert!(refused.stderr.contains("only by day, security"), "{}", refused.stderr);
    let listed = world.run(&["datasets", "--strategies", "--json"], 0).json();
    let realtime = listed.as_array().unwrap().iter().find(|one| one["name"] == "realtime").unwrap();
    assert_eq!(realtime["datasets"], serde_json::json!(["kpl_concept", "kpl_list", "ths_hot"]));
    assert!(world.run(&["datasets", "income_vip"], 0).stdout.contains("by strategy `statements`"));
}

#[test]
fn several_periods_a_window_of_days_and_all_history_are_options() {
    let today = Clock::system().now().day();
    let (first, last) = (today.plus(-60).to_string().leak(), today.previous().to_string().leak());
    let world = World::new(Wanted { securities: 40, first, last, ..Wanted::default() });
    world.create_store();
    let synced = world.run(&["sync", "--periods", "daily,weekly", "--days-back", "20", "--json", "--quiet"], 0).json();
    let days = |name: &str| of(&synced, name)["totals"]["slices_done"].as_u64().unwrap();
    let expected = |name: &str| {
        let points = world.dataset(name).expect.points;
        world.market.calendar().points(points, Span::new(today.plus(-20), today.previous())).len() as u64
    };
    // What is due today depends on the hour.
    assert!((expected("daily")..=expected("daily") + 1).contains(&days("daily")), "{} days", days("daily"));
    assert!((expected("weekly")..=expected("weekly") + 1).contains(&days("weekly")), "{} weeks", days("weekly"));
    let claims = world.coverage("daily").market;
    assert!(claims[0].area.span.from >= today.plus(-20));
    let from = today.plus(-5).to_string();
    let set = format!("sync.default_from={from}");
    let slices = |options: &[&str]| {
        let plan = world.run(&[&["plan", "daily", "--json", "--set", &set], options].concat(), 0).json();
        of(&plan, "daily")["slices"].as_u64().unwrap()
    };
    assert_eq!(slices(&[]), slices(&["--days-back", "5"]), "the default and the same by days");
    assert!(slices(&["--all-history"]) > 20, "the history before the window");
}

#[test]
fn a_range_is_told_day_by_day_and_again_later() {
    let world = january();
    let range = |to: &str, code: i32| {
        let sync = ["sync", "daily", "--strategy", "range", "--from", "2024-01-05", "--to", to, "--quiet", "--json"];
        world.run(&sync, code)
    };
    let refused = range("2024-04-04", 2);
    assert!(refused.stderr.contains("is 91 days; one request may span 90"), "{}", refused.stderr);
    assert!(world.server.served().iter().all(|served| served.api != "daily"));
    let synced = range("2024-01-09", 0).json();
    let days = &of(&synced, "daily")["days"];
    assert_eq!((&days["success"], &days["skipped"], &days["skipped_closed"]), (&3.into(), &2.into(), &2.into()));
    let again = range("2024-01-10", 0).json();
    let days = &of(&again, "daily")["days"];
    assert_eq!((&days["success"], &days["skipped_done"]), (&1.into(), &3.into()));
    let list = ["days", "daily", "--from", "2024-01-05", "--to", "2024-01-11"];
    let later = world.run(&[&list[..], &["--json"]].concat(), 0).json();
    let states: Vec<&str> =
        later[0]["days"].as_array().unwrap().iter().map(|day| day["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["success", "skipped", "skipped", "success", "success", "success", "pending"]);
    assert!(later[0]["days"][0]["ms"].is_u64());
    let text = world.run(&[&list[..], &["--state", "pending"]].concat(), 0).stdout;
    assert!(text.contains("2024-01-11") && !text.contains("2024-01-10"), "{text}");
    assert!(text.contains("daily: 4 success, 0 partial, 0 failed, 2 skipped"), "{text}");
    let last = world.run(&["status", "daily", "--json"], 0).json();
    let asked = last.as_array().unwrap().iter().filter(|one| one["at"].is_string()).count();
    assert!(asked > 30, "an answer about the whole market counts for every security: {asked}");
    assert_eq!(last[0]["until"], "2024-01-10");
}

#[test]
fn conflicts_are_listed_side_by_side_and_decided() {
    let corrected = Fault::LateCorrection { column: Some("amount".into()), every: 20 };
    let faults = vec![Rule::always(corrected).of("daily").with("trade_date", "20240103").at(2..=2)];
    let world = World::new(Wanted { securities: 40, faults, ..Wanted::default() });
    world.create_store();
    let folder = world.folder.path().join("tables");
    std::fs::create_dir(&folder).unwrap();
    let builtin = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/daily.toml")).unwrap();
    let manual = builtin.replace("policy.conflict = \"replace\"", "policy.conflict = \"manual\"");
    std::fs::write(folder.join("daily.toml"), manual).unwrap();
    let set = format!("catalog.folder={}", folder.display());
    let run = |arguments: &[&str], code: i32| world.run(&[arguments, &["--set", &set]].concat(), code);
    let sync = ["sync", "daily", "--from", "2024-01-03", "--to", "2024-01-03", "--quiet", "--force"];
    run(&sync, 0);
    let told = run(&sync, 1);
    assert!(told.stdout.contains("rows in conflict wait for a decision"), "{}", told.stdout);
    let waiting = run(&["conflicts", "daily", "--json"], 0).json();
    let one = &waiting[0];
    assert_eq!((&one["source"], &one["key"]["trade_date"]), (&"tushare".into(), &"2024-01-03".into()));
    assert_ne!(one["stored"]["amount"], one["offered"]["amount"]);
    let id = one["id"].to_string();
    let text = run(&["conflicts"], 0).stdout;
    assert!(text.contains("amount") && text.contains(one["offered"]["amount"].as_str().unwrap()), "{text}");
    run(&["conflicts", "resolve", &id, "--take", "offered"], 0);
    let code = one["key"]["ts_code"].as_str().unwrap();
    let shown = run(&["show", "daily", "--codes", code, "--json"], 0).json();
    let offered: f64 = one["offered"]["amount"].as_str().unwrap().parse().unwrap();
    assert_eq!(shown[0]["amount"].as_f64(), Some(offered));
    assert_eq!(
        run(&["conflicts", "--json"], 0).json().as_array().unwrap().len(),
        waiting.as_array().unwrap().len() - 1
    );
    run(&["conflicts", "resolve", &id, "--take", "stored"], 5);
    run(&["conflicts", "resolve", "9999", "--take", "stored"], 4);
    assert_eq!(
        run(&["audit", "daily", "--from", "2024-01-03", "--to", "2024-01-03", "--json"], 0).json()["unexplained_holes"],
        0
    );
}

#[test]
fn polling_says_its_pace_and_ends_with_ctrl_c() {
    let world = january();
    let mut command = world.tidegate(&["poll", "kpl_list"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = told.next().unwrap().unwrap();
    assert!(first.starts_with("kpl_list") && first.contains("every 30 s in trading hours"), "{first}");
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    for line in told {
        line.unwrap();
    }
    Ran::of(child.wait_with_output().unwrap(), 0, &["poll"]);
    let refused = world.run(&["poll", "stock_basic"], 2);
    assert!(refused.stderr.contains("has no days that could be polled"), "{}", refused.stderr);
}

//! Tasks from the outside: a second request, a pause, Ctrl-C, a cancellation.

use std::process::{Child, Stdio};

use tidegate::sim::{Fault, Rule};

use crate::world::{Ran, Wanted, World, program};

const SYNC: [&str; 7] = ["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-31", "--quiet"];

/// A market whose `daily` takes its time, so that a sync can be met while it runs.
fn slow_world() -> World {
    let faults = vec![Rule::always(Fault::SlowAnswer { millis: 350 }).of("daily")];
    let world = World::new(Wanted { last: "2024-01-31", faults, ..Wanted::default() });
    world.create_store();
    world
}

/// A running sync that has committed something already.
fn running(world: &World) -> Child {
    let mut command = world.tidegate(&SYNC);
    command.args(["--set", "sync.concurrency=1", "--set", "sync.commit_slices=1", "--set", "sync.commit_linger_ms=1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while world.coverage("daily").market.is_empty() {
        std::thread::yield_now();
    }
    child
}

fn open_task(world: &World) -> serde_json::Value {
    let tasks = world.run(&["tasks", "--json"], 0).json();
    tasks.as_array().unwrap().iter().find(|task| task["dataset"] == "daily").unwrap().clone()
}

#[test]
fn a_second_request_joins_when_it_asks_for_the_same_and_is_refused_with_the_id_otherwise() {
    let world = slow_world();
    let first = running(&world);
    let id = open_task(&world)["id"].to_string();
    let other = world.run(&["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-30", "--quiet"], 5);
    assert!(other.stderr.contains(&format!("task {id}")), "{}", other.stderr);
    let joined = world.run(&SYNC, 0);
    assert!(joined.stderr.contains(&format!("joined task {id}")), "{}", joined.stderr);
    Ran::of(first.wait_with_output().unwrap(), 0, &SYNC);
    let asked = world.server.served().iter().filter(|served| served.api == "daily").count();
    assert_eq!(asked, 22, "joining asks for nothing");
    world.assert_equals_truth("daily");
}

#[test]
fn a_paused_task_stops_and_resuming_fetches_only_the_rest() {
    let world = slow_world();
    let child = running(&world);
    let id = open_task(&world)["id"].to_string();
    world.run(&["pause", &id], 0);
    Ran::of(child.wait_with_output().unwrap(), 130, &SYNC);
    assert_eq!(open_task(&world)["state"], "paused");
    let held = world.coverage("daily").market.len();
    assert!(held < 22, "{held} days before the pause");
    let before = world.server.served().len();
    world.run(&["resume", &id, "--quiet"], 0);
    assert_eq!(world.server.served().len() - before, 22 - held, "only what is missing is asked for");
    world.assert_equals_truth("daily");
    let refused = world.run(&["resume", &id], 5);
    assert!(refused.stderr.contains("success"), "{}", refused.stderr);
}

#[test]
fn interrupting_commits_what_was_fetched_and_the_same_command_goes_on() {
    let world = slow_world();
    let child = running(&world);
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = Ran::of(child.wait_with_output().unwrap(), 130, &SYNC);
    assert!(ended.stderr.contains("Ctrl-C"), "{}", ended.stderr);
    assert_eq!(open_task(&world)["state"], "paused");
    world.run(&SYNC, 0);
    assert_eq!(open_task(&world)["outcome"], "success");
    world.assert_equals_truth("daily");
}

#[test]
fn a_cancelled_task_is_over_and_what_it_committed_stays() {
    let world = slow_world();
    let child = running(&world);
    let id = open_task(&world)["id"].to_string();
    world.run(&["cancel", &id], 0);
    child.wait_with_output().unwrap();
    assert_eq!(open_task(&world)["state"], "failed");
    assert!(!world.coverage("daily").market.is_empty());
    world.run(&SYNC, 0);
    world.assert_equals_truth("daily");
}

/// A user's own table: a file in a folder, and it is checked, filled, shown and served like any other.
#[test]
fn a_table_that_a_user_drops_into_a_folder_works_like_any_other() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("tables")).unwrap();
    let builtin = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/margin.toml")).unwrap();
    let mine =
        builtin.replace("name = \"margin\"", "name = \"my_margin\"").replace("api = \"margin\"", "api = \"my_margin\"");
    std::fs::write(path("tables/my_margin.toml"), mine).unwrap();
    std::fs::write(path("rows.csv"), "trade_date,exchange_id,rzye,rqye,rzrqye\n20240102,SSE,100.5,2,102.5\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program(folder.path());
        command.args(["--set", "catalog.folder=tables"]).args(arguments);
        Ran::of(command.output().unwrap(), 0, arguments)
    };
    run(&["init"]);
    assert!(run(&["datasets", "my_margin"]).stdout.contains("rzye"));
    run(&["import", "my_margin", "rows.csv"]);
    let shown = run(&["show", "my_margin", "--json"]).json();
    assert_eq!((&shown[0]["trade_date"], &shown[0]["rzrqye"]), (&"2024-01-02".into(), &102.5.into()));
    assert!(run(&["plan", "my_margin", "--from", "2024-01-02", "--to", "2024-01-03"]).stdout.contains("my_margin"));
}

//! Jobs and runs of the real program: `tidegate serve` that is killed, stopped and started again, and the commands beside
//! it.

use std::process::Stdio;
use std::time::{Duration, Instant as Moment};

use tidegate::model::{EventType, Run, RunState, RunsWanted};
use tidegate::sim::{Fault, Rule};
use tidegate::store::Store;

use crate::kill::{Dice, assert_nothing_fetched_twice, assert_whole, claimed_days};
use crate::serving::Serving;
use crate::world::{Wanted, World, is_long, seed};

const LAST: &str = "2024-02-29";
/// Small groups and slow answers, so that there is much to be broken off. No job of the catalogue, so that the hour at
/// which the test runs does not matter.
const SET: [&str; 14] = [
    "--set",
    "jobs.enabled=true",
    "--set",
    "sync.commit_slices=2",
    "--set",
    "sync.commit_linger_ms=5",
    "--set",
    "sync.concurrency=2",
    "--set",
    "sync.skip=[]",
    "--set",
    "jobs.runs_at_once=3",
    "--set",
    "serve.poll_ms=50",
];

/// A world whose catalogue jobs are all stopped, with jobs of its own for two tables.
fn world(dice: &mut Dice) -> World {
    let faults = vec![Rule::always(Fault::SlowAnswer { millis: 15 })];
    let world = World::new(Wanted { seed: dice.below(1 << 32), securities: 40, faults, ..Wanted::default() });
    world.create_store();
    for table in ["daily", "adj_factor"] {
        let job = format!("own_{table}");
        let arguments = ["jobs", "add", &job, table, "--every", "86400", "--from", "2024-01-02", "--to", LAST];
        world.run(&arguments, 0);
        world.run(&["jobs", "trigger", &job], 0);
    }
    world
}

fn skip_all(world: &World) -> String {
    let names: Vec<String> = world.catalog.datasets().iter().map(|dataset| format!("{:?}", dataset.name)).collect();
    format!("sync.skip=[{}]", names.join(","))
}

fn serve<'w>(world: &'w World, more: &[&str]) -> Serving<'w> {
    let skip = skip_all(world);
    let mut arguments: Vec<&str> =
        SET.iter().map(|text| if *text == "sync.skip=[]" { skip.as_str() } else { text }).collect();
    arguments.extend(more);
    Serving::start(world, &arguments)
}

fn runs(world: &World) -> Vec<Run> {
    let wanted = RunsWanted { limit: 1_000, ..RunsWanted::default() };
    world.runtime.block_on(world.store().runs(&wanted)).unwrap()
}

fn all_ended(world: &World) -> bool {
    runs(world).iter().all(|run| !run.state.is_open())
}

/// Looks until it is so, for a minute at most.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Moment::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Killed at random moments until everything is done; how many kills hit work that was under way.
fn campaign(dice: &mut Dice, kills_wanted: u64) -> u64 {
    let world = world(dice);
    let mut kills = 0;
    while !all_ended(&world) {
        let (committed, before) = (claimed_days(&world), world.server.served().len());
        let serving = serve(&world, &[]);
        if kills < kills_wanted {
            std::thread::sleep(Duration::from_millis(dice.below(500)));
            kills += u64::from(!all_ended(&world));
        } else {
            until("the runs end", || all_ended(&world));
        }
        serving.kill();
        assert_nothing_fetched_twice(&world, &committed, before);
    }
    assert_whole(&world, LAST);
    let runs = runs(&world);
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert!(runs.iter().all(|run| run.state == RunState::Success && run.attempt == 1), "{runs:?}");
    let finished = |event: &tidegate::model::Event| event.kind == EventType::RunFinished;
    assert_eq!(world.events().iter().filter(|event| finished(event)).count(), 2, "each run ends once");
    kills
}

#[test]
fn a_service_under_kills_brings_every_run_to_one_end() {
    let mut dice = Dice(seed("a service under kills"));
    let wanted = if is_long() { 100 } else { 8 };
    let (mut kills, mut worlds) = (0, 0);
    while kills < wanted {
        kills += campaign(&mut dice, wanted - kills);
        worlds += 1;
        assert!(worlds < wanted * 3, "runs end before they can be killed");
    }
    eprintln!("{kills} kills over {worlds} stores");
}

#[test]
fn a_run_that_was_stopped_waits_and_goes_on_with_the_next_service() {
    let world = world(&mut Dice(3));
    let serving = serve(&world, &[]);
    until("a slice is committed", || world.events().iter().any(|event| event.kind == EventType::SliceCommitted));
    assert_eq!(serving.stop(), Some(0));
    let left = runs(&world);
    assert!(left.iter().any(|run| run.state == RunState::Pending), "{left:?}");
    assert!(left.iter().all(|run| run.state != RunState::Running), "{left:?}");
    let listed = world.run(&["runs", "--open", "--json"], 0).json();
    assert_eq!(listed[0]["state"], "pending");
    let _serving = serve(&world, &[]);
    until("the runs end", || all_ended(&world));
    assert_whole(&world, LAST);
}

#[test]
fn a_sync_beside_a_service_becomes_its_run() {
    let world = World::new(Wanted { securities: 20, ..Wanted::default() });
    world.create_store();
    let serving = serve(&world, &[]);
    let sync = ["sync", "daily", "adj_factor", "--from", "2024-01-02", "--to", LAST];
    let ran = world.run(&sync, 0);
    assert!(ran.stderr.contains("of the service"), "{}", ran.stderr);
    assert!(ran.stdout.contains("adj_factor"), "{}", ran.stdout);
    assert_whole(&world, LAST);
    let run = &runs(&world)[0];
    assert_eq!((run.asked_by.as_str(), run.state), ("cli", RunState::Success));
    // A run that is cancelled leaves nothing open.
    let refused = world.run(&["sync", "daily", "--source", "nobody"], 4);
    assert!(refused.stderr.contains("nobody"), "{}", refused.stderr);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn a_task_that_a_command_left_is_taken_up_by_the_service() {
    let faults = vec![Rule::always(Fault::SlowAnswer { millis: 20 })];
    let world = World::new(Wanted { securities: 20, faults, ..Wanted::default() });
    world.create_store();
    let arguments = ["sync", "daily", "adj_factor", "--from", "2024-01-02", "--to", LAST, "--quiet"];
    let mut sync = world.tidegate(&arguments);
    sync.args(["--set", "sync.commit_slices=2", "--set", "sync.commit_linger_ms=5"]);
    let mut child = sync.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let of_bars = |event: &tidegate::model::Event| {
        event.kind == EventType::SliceCommitted && event.dataset.as_deref() == Some("daily")
    };
    until("a slice is committed", || world.events().iter().any(of_bars));
    child.kill().unwrap();
    child.wait().unwrap();
    let open = || world.runtime.block_on(world.store().open_tasks()).unwrap();
    assert!(!open().is_empty());
    let _serving = serve(&world, &[]);
    until("no task is open", || open().is_empty());
    world.assert_equals_truth("daily");
}

#[test]
fn jobs_are_listed_created_changed_and_removed_by_commands() {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    assert!(world.run(&["jobs"], 0).stdout.contains("no jobs yet"));
    let added = ["jobs", "add", "bars", "daily", "--cron", "0 18 * * 1-5", "--days", "trading", "--title", "Bars"];
    assert!(world.run(&added, 0).stderr.contains("cron 0 18 * * 1-5 on trading days"));
    world.run(&added, 5);
    world.run(&["jobs", "add", "wrong", "daily", "--cron", "0 18 * *"], 2);
    world.run(&["jobs", "add", "wrong", "daily"], 2);
    world.run(&["jobs", "change", "bars", "--every", "3600", "--days-back", "7"], 0);
    let shown = world.run(&["jobs", "show", "bars", "--json"], 0).json();
    assert_eq!(shown["trigger"], serde_json::json!({ "kind": "every", "seconds": 3600 }));
    assert_eq!((&shown["work"]["days_back"], &shown["work"]["datasets"][0]), (&7.into(), &"daily".into()));
    assert_eq!((&shown["title"], &shown["origin"]), (&"Bars".into(), &"user".into()));
    world.run(&["jobs", "pause", "bars"], 0);
    let listed = world.run(&["jobs", "--json"], 0).json();
    assert_eq!((&listed[0]["state"], &listed[0]["next_run"]), (&"paused".into(), &serde_json::Value::Null));
    world.run(&["jobs", "resume", "bars"], 0);
    let run = world.run(&["jobs", "trigger", "bars", "--json"], 0).json();
    assert_eq!((&run["job"], &run["state"]), (&"bars".into(), &"pending".into()));
    world.run(&["jobs", "trigger", "bars"], 5);
    assert!(world.run(&["runs"], 0).stdout.contains("bars"));
    let number = run["id"].to_string();
    assert!(world.run(&["runs", "show", &number], 0).stdout.contains("pending"));
    world.run(&["runs", "cancel", &number], 0);
    world.run(&["runs", "cancel", &number], 5);
    world.run(&["jobs", "remove", "bars"], 0);
    world.run(&["jobs", "show", "bars"], 4);
}

//! Death at any moment: the real process is killed, started again, and the store is compared with the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as Moment};

use tidegate::model::{EventType, Instant};

use crate::world::{Wanted, World, is_long, seed};

const LAST: &str = "2024-02-29";
const TABLES: [&str; 2] = ["daily", "adj_factor"];

/// Small groups, so that a run has many commits to die between.
fn sync(world: &World, last: &str) -> Command {
    let mut command = world.tidegate(&["sync", "daily", "adj_factor", "--from", "2024-01-02", "--to", last, "--quiet"]);
    command.args(["--set", "sync.commit_slices=2", "--set", "sync.commit_linger_ms=5", "--set", "sync.concurrency=2"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A generator for kill moments (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// What is committed at this moment, as the `trade_date` of the calls that would ask for it again.
pub fn claimed_days(world: &World) -> BTreeMap<String, BTreeSet<String>> {
    let now: Instant = world.now();
    let days = |table: &&str| {
        let coverage = world.coverage(table);
        let held = coverage.market.iter().filter(|claim| claim.holds_at(now));
        (table.to_string(), held.map(|claim| claim.area.span.from.compact()).collect())
    };
    TABLES.iter().map(days).collect()
}

/// No call since `before` asked for a day that was committed then.
pub fn assert_nothing_fetched_twice(world: &World, committed: &BTreeMap<String, BTreeSet<String>>, before: usize) {
    for served in &world.server.served()[before..] {
        let Some(days) = committed.get(&served.api) else { continue };
        let day = served.params.get("trade_date").cloned().unwrap_or_default();
        assert!(!days.contains(&day), "{} {day} was committed and is asked for again", served.api);
    }
}

pub fn assert_whole(world: &World, last: &str) {
    for table in TABLES {
        world.assert_equals_truth(table);
    }
    let events = world.events();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.id, index as u64 + 1, "event numbers have no gap");
    }
    let mut committed = BTreeSet::new();
    for event in events.iter().filter(|event| event.kind == EventType::SliceCommitted) {
        if TABLES.contains(&event.dataset.as_deref().unwrap_or_default()) {
            let area = (event.dataset.clone(), event.data["area"].to_string());
            assert!(committed.insert(area), "a slice was committed twice: {event:?}");
        }
    }
    let audit = world.run(&["audit", "daily", "adj_factor", "--from", "2024-01-02", "--to", last, "--json"], 0).json();
    assert_eq!(audit["unexplained_holes"], 0);
}

pub fn wait(child: &mut Child, at_most: Duration) -> Option<std::process::ExitStatus> {
    let started = Moment::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if started.elapsed() >= at_most {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A fresh world, synced under kills at random moments until it is whole. Returns how many kills hit a running sync.
fn run_until_whole(dice: &mut Dice, kills_left: u64) -> u64 {
    let world = World::new(Wanted { seed: dice.below(1 << 32), securities: 60, ..Wanted::default() });
    world.create_store();
    let mut kills = 0;
    loop {
        let (committed, before) = (claimed_days(&world), world.server.served().len());
        let mut child = sync(&world, LAST).spawn().unwrap();
        let finished = match kills < kills_left {
            true => wait(&mut child, Duration::from_millis(20 + dice.below(400))),
            false => Some(child.wait().unwrap()),
        };
        if finished.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert_nothing_fetched_twice(&world, &committed, before);
        if let Some(status) = finished {
            assert_eq!(status.code(), Some(0), "the sync ends green");
            break;
        }
    }
    assert_whole(&world, LAST);
    kills
}

#[test]
fn kills_at_random_moments_lose_nothing_and_repeat_nothing() {
    let mut dice = Dice(seed("kills at random moments"));
    let wanted = if is_long() { 200 } else { 12 };
    let mut kills = 0;
    let mut worlds = 0;
    while kills < wanted {
        kills += run_until_whole(&mut dice, (wanted - kills).min(25));
        worlds += 1;
        assert!(worlds < wanted * 3, "runs end before they can be killed");
    }
    eprintln!("{kills} kills over {worlds} stores");
}

/// The process ends at its n-th step (before and after each call, within and around each commit) for every n until a run
/// has no n-th step any more.
#[test]
fn death_at_every_step_leaves_a_store_that_goes_on() {
    let stride = if is_long() { 1 } else { 11 };
    let mut dice = Dice(seed("death at every step"));
    let mut step = 1 + dice.below(stride);
    let mut deaths = 0;
    loop {
        let last = "2024-01-19";
        let world = World::new(Wanted { securities: 30, last, ..Wanted::default() });
        world.create_store();
        let mut dying = sync(&world, last);
        let died = dying.env("TIDEGATE_DIE_AT", step.to_string()).status().unwrap().code() != Some(0);
        let (committed, before) = (claimed_days(&world), world.server.served().len());
        assert_eq!(sync(&world, last).status().unwrap().code(), Some(0), "step {step}: the next run ends green");
        assert_nothing_fetched_twice(&world, &committed, before);
        assert_whole(&world, last);
        if !died {
            break;
        }
        deaths += 1;
        step += stride;
    }
    assert!(deaths > 3, "the run reached its end before it could die: {deaths}");
    eprintln!("{deaths} deaths up to step {step}");
}

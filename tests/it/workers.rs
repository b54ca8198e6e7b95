//! Several processes on one PostgreSQL, and a server that goes away: the real program is killed, its server too, and
//! the store is compared with the truth.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as Moment};

use tidegate::model::{Area, Event, EventType, Query, Securities, TaskState};
use tidegate::store::Store;
use tidegate::store::postgres::{PostgresOptions, PostgresStore};

use crate::kill::{Dice, wait};
use crate::postgres_server::{PostgresServer, shared};
use crate::world::{Wanted, World, is_long, seed};

const TABLES: [&str; 2] = ["daily", "adj_factor"];

/// A market and a database.
struct Team {
    world: World,
    url: String,
    last: &'static str,
}

impl Team {
    fn new(wanted: Wanted, url: String) -> Team {
        let last = wanted.last;
        let team = Team { world: World::new(wanted), url, last };
        team.world.runtime.block_on(team.open(true));
        team
    }

    async fn open(&self, create: bool) -> PostgresStore {
        let options = PostgresOptions { create, connections: 4, ..PostgresOptions::default() };
        let store = PostgresStore::open(&self.url, options, tidegate::model::Clock::system()).await.unwrap();
        store.prepare(self.world.catalog.datasets()).await.unwrap();
        store
    }

    fn tidegate(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.tidegate(arguments);
        command.env("TIDEGATE_STORE__URL", &self.url);
        for option in
            ["sync.lease_seconds=1", "sync.call_seconds_max=1", "sync.commit_slices=2", "sync.commit_linger_ms=5"]
        {
            command.args(["--set", option]);
        }
        command.args(["--set", "sync.concurrency=2", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn sync(&self) -> Command {
        self.tidegate(&["sync", "daily", "adj_factor", "--from", "2024-01-02", "--to", self.last])
    }

    fn events(&self) -> Vec<Event> {
        self.world.runtime.block_on(async { self.open(false).await.events(0, 1_000_000).await.unwrap() })
    }

    /// Rows equal the market's, every slice was committed once, no event is missing, and nothing is left to do.
    fn assert_whole(&self) {
        let store = self.world.runtime.block_on(self.open(false));
        for table in TABLES {
            let dataset = self.world.dataset(table);
            let query = Query::area(&dataset, &Area::new(Securities::All, self.world.market.days()));
            let (stored, truth) = (self.world.rows(&store, &query), self.world.rows(&self.world.market, &query));
            assert!(truth.num_rows() > 0, "{table}: the market is empty");
            assert_eq!(stored, truth, "{table}");
        }
        let events = self.events();
        assert!(events.iter().map(|event| event.id).eq(1..=events.len() as u64), "event numbers have no gap");
        let mut committed = BTreeSet::new();
        for event in events.iter().filter(|event| event.kind == EventType::SliceCommitted) {
            if TABLES.contains(&event.dataset.as_deref().unwrap_or_default()) {
                let area = (event.dataset.clone(), event.data["area"].to_string());
                assert!(committed.insert(area), "a slice was committed twice: {event:?}");
            }
        }
        let tasks = self.world.runtime.block_on(store.tasks(10_000)).unwrap();
        assert!(tasks.iter().all(|task| task.state == TaskState::Completed), "{tasks:?}");
    }
}

/// Processes that work side by side, killed one after the other at random moments. How many were killed at work.
fn run_under_kills(team: &Team, dice: &mut Dice, kills: u64) -> u64 {
    let spawn = || team.sync().spawn().unwrap();
    let mut processes: Vec<Child> = (0..3).map(|_| spawn()).collect();
    let mut killed = 0;
    while killed < kills && processes.len() == 3 {
        std::thread::sleep(Duration::from_millis(30 + dice.below(500)));
        let victim = dice.below(3) as usize;
        if let Some(status) = processes[victim].try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "a process that ends by itself ends green");
            processes.remove(victim).wait().unwrap();
            continue;
        }
        processes[victim].kill().unwrap();
        processes[victim].wait().unwrap();
        processes[victim] = spawn();
        killed += 1;
    }
    for process in &mut processes {
        let status = wait(process, Duration::from_secs(120)).expect("the work comes to an end");
        assert_eq!(status.code(), Some(0), "the last ones end green");
    }
    killed
}

#[test]
fn three_processes_on_one_database_lose_nothing_and_repeat_nothing_however_often_they_are_killed() {
    let mut dice = Dice(seed("three processes under kills"));
    let wanted = if is_long() { 100 } else { 6 };
    let (mut killed, mut stores) = (0, 0);
    while killed < wanted {
        let (_, url) = shared().fresh_database();
        let seed = dice.below(1 << 32);
        let team = Team::new(Wanted { seed, securities: 60, enforce_quota: true, ..Wanted::default() }, url);
        killed += run_under_kills(&team, &mut dice, (wanted - killed).min(20));
        team.assert_whole();
        let refused: u64 = team.world.server.counts().values().map(|counts| counts.refusals).sum();
        assert_eq!(refused, 0, "the source refuses nothing: the quota is shared");
        stores += 1;
        assert!(stores < wanted * 3, "runs end before they can be killed");
    }
    eprintln!("{killed} kills over {stores} stores");
}

/// Twelve calls a minute, and a process that dies after some of them: the next one waits for what is left of the minute.
#[test]
fn a_process_that_takes_over_keeps_to_the_quota_that_the_dead_one_used() {
    let (_, url) = shared().fresh_database();
    let team = Team::new(Wanted { securities: 30, last: "2024-01-31", ..Wanted::default() }, url);
    let limited = || {
        let mut command = team.sync();
        command.args(["--set", "sources.tushare.per_minute=12"]);
        command
    };
    let calls = || team.world.server.counts().get("daily").map_or(0, |counts| counts.calls);
    let mut first = limited().spawn().unwrap();
    while calls() < 6 {
        std::thread::sleep(Duration::from_millis(2));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = limited().spawn().unwrap();
    let started = Moment::now();
    while calls() < 12 {
        assert!(started.elapsed() < Duration::from_secs(50), "the second process goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The quota of the minute is used up. Long after the lease of the dead one the second must not have asked more.
    let more = if is_long() { 40 } else { 8 };
    let until = Moment::now() + Duration::from_secs(more);
    while Moment::now() < until {
        assert!(calls() <= 12, "{} calls within a minute", calls());
        std::thread::sleep(Duration::from_millis(20));
    }
    if is_long() {
        assert_eq!(wait(&mut second, Duration::from_secs(200)).and_then(|status| status.code()), Some(0));
        team.assert_whole();
    } else {
        second.kill().unwrap();
        second.wait().unwrap();
    }
}

#[test]
fn a_server_that_is_killed_and_restarted_in_mid_sync_loses_nothing() {
    let server = PostgresServer::start().expect("PostgreSQL is installed");
    let url = server.create_database("restarted");
    let mut dice = Dice(seed("a server killed in mid-sync"));
    let wanted = if is_long() { 10 } else { 3 };
    let mut restarts = 0;
    while restarts < wanted {
        let seed = dice.below(1 << 32);
        let team = Team::new(Wanted { seed, securities: 60, ..Wanted::default() }, url.clone());
        let mut sync = team.sync().spawn().unwrap();
        while restarts < wanted {
            if wait(&mut sync, Duration::from_millis(150 + dice.below(500))).is_some() {
                break;
            }
            server.kill();
            server.start_again();
            restarts += 1;
        }
        let status = wait(&mut sync, Duration::from_secs(120)).expect("the sync comes to an end");
        assert_eq!(status.code(), Some(0), "the sync ends green");
        team.assert_whole();
        server.psql("restarted", "drop schema tidegate cascade");
    }
}

/// The process ends at its n-th step for every n until a run has no n-th step any more.
#[test]
fn death_at_every_step_leaves_a_database_that_goes_on() {
    let stride = if is_long() { 1 } else { 23 };
    let mut dice = Dice(seed("death at every step on PostgreSQL"));
    let mut step = 1 + dice.below(stride);
    let mut deaths = 0;
    loop {
        let (_, url) = shared().fresh_database();
        let team = Team::new(Wanted { securities: 30, last: "2024-01-19", ..Wanted::default() }, url);
        let died = team.sync().env("TIDEGATE_DIE_AT", step.to_string()).status().unwrap().code() != Some(0);
        assert_eq!(team.sync().status().unwrap().code(), Some(0), "step {step}: the next run ends green");
        team.assert_whole();
        if !died {
            break;
        }
        deaths += 1;
        step += stride;
    }
    assert!(deaths > 1, "the run reached its end before it could die: {deaths}");
    eprintln!("{deaths} deaths up to step {step}");
}

#[test]
fn another_process_works_on_what_was_asked_for() {
    let (_, url) = shared().fresh_database();
    let team = Team::new(Wanted { securities: 30, last: "2024-01-19", ..Wanted::default() }, url);
    let mut asked = team.sync().spawn().unwrap();
    let started = Moment::now();
    let taken = || team.world.server.counts().contains_key("daily");
    while !taken() && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(1));
    }
    asked.kill().unwrap();
    asked.wait().unwrap();
    // What the dead process had begun is finished by one that was asked for nothing.
    assert_eq!(team.tidegate(&["work"]).status().unwrap().code(), Some(0));
    assert_eq!(team.sync().status().unwrap().code(), Some(0));
    team.assert_whole();
}

//! Several processes on one store: they share tasks and quotas, and none of them matters.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Moment};

use tidegate::engine::gate::Limits;
use tidegate::engine::lease::worker_name;
use tidegate::engine::places::{Places, Sharing};
use tidegate::model::task::Request;
use tidegate::model::{
    Area, Change, Clock, Commit, ErrorKind, EventType, Fence, Instant, Lease, Query, Securities, Task, TaskState,
};
use tidegate::sim::{Fault, Rule};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

use crate::world::{Ran, Wanted, World, is_long, seed};

const TABLES: [&str; 3] = ["daily", "adj_factor", "daily_basic"];
/// The account's points: 200 calls a minute for each table.
const POINTS: u32 = 2000;

/// A market, and the processes that keep one store of it.
struct Team {
    world: World,
    last: &'static str,
}

impl Team {
    fn new(wanted: Wanted) -> Team {
        let last = wanted.last;
        let world = World::new(Wanted { points: POINTS, enforce_quota: true, ..wanted });
        world.create_store();
        Team { world, last }
    }

    /// Short leases and small groups, so that there is much to lose.
    fn command(&self, arguments: &[&str]) -> Command {
        let set = [
            "store.shared=true",
            "sources.tushare.points=2000",
            "sync.lease_seconds=2",
            "sync.call_seconds_max=2",
            "sync.commit_slices=2",
            "sync.commit_linger_ms=5",
            "sync.concurrency=2",
        ];
        let set = set.iter().flat_map(|value| ["--set", value]);
        let arguments: Vec<&str> = arguments.iter().copied().chain(set).collect();
        let mut command = self.world.tidegate(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn sync(&self) -> Command {
        let mut arguments = vec!["sync"];
        arguments.extend(TABLES);
        arguments.extend(["--from", "2024-01-02", "--to", self.last]);
        self.command(&arguments)
    }

    fn work(&self) -> Command {
        self.command(&["work"])
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.world.store())
    }

    fn task(&self, store: &dyn Store, dataset: &str) -> Option<Task> {
        let tasks = self.world.runtime.block_on(store.tasks(100)).unwrap();
        tasks.into_iter().find(|task| task.dataset == dataset)
    }

    /// What is committed at this moment, as the `trade_date` of the calls that would ask for it again.
    fn claimed_days(&self, store: &dyn Store) -> BTreeMap<String, BTreeSet<String>> {
        let now = self.world.now();
        let days = |table: &&str| {
            let coverage = self.world.runtime.block_on(store.coverage(table)).unwrap();
            let held = coverage.market.iter().filter(|claim| claim.holds_at(now));
            (table.to_string(), held.map(|claim| claim.area.span.from.compact()).collect())
        };
        TABLES.iter().map(days).collect()
    }

    /// No call since `before` asked for a day that was committed then.
    fn assert_nothing_fetched_twice(&self, committed: &BTreeMap<String, BTreeSet<String>>, before: usize) {
        for served in &self.world.server.served()[before..] {
            let Some(days) = committed.get(&served.api) else { continue };
            let day = served.params.get("trade_date").cloned().unwrap_or_default();
            assert!(!days.contains(&day), "{} {day} was committed and is asked for again", served.api);
        }
    }

    /// Every slice is committed once, every row is the market's, and the source never had to refuse.
    fn assert_whole(&self, store: &dyn Store) {
        let days = Securities::All;
        for table in TABLES {
            let query = Query::area(&self.world.dataset(table), &Area::new(days.clone(), self.world.market.days()));
            let (stored, truth) = (self.world.rows(store, &query), self.world.rows(&self.world.market, &query));
            assert!(truth.num_rows() > 0 && stored == truth, "{table} differs from the market");
        }
        let events = self.world.runtime.block_on(store.events(0, 1_000_000)).unwrap();
        let mut committed = BTreeSet::new();
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.id, index as u64 + 1, "event numbers have no gap");
            if event.kind == EventType::SliceCommitted && TABLES.contains(&event.dataset.as_deref().unwrap_or_default())
            {
                let area = (event.dataset.clone(), event.data["area"].to_string());
                assert!(committed.insert(area), "a slice was committed twice: {event:?}");
            }
        }
        let refusals: u64 = self.world.server.counts().values().map(|count| count.refusals).sum();
        assert_eq!(refusals, 0, "the quota was exceeded: {:?}", self.world.server.counts());
    }
}

fn ended(child: Child, name: &str) -> Ran {
    Ran::of(child.wait_with_output().unwrap(), 0, &[name])
}

#[test]
fn processes_that_ask_for_the_same_join_each_other_and_nothing_is_asked_twice() {
    let team = Team::new(Wanted { securities: 60, last: "2024-01-31", ..Wanted::default() });
    let children: Vec<Child> = (0..3).map(|_| team.sync().spawn().unwrap()).collect();
    let said: Vec<Ran> = children.into_iter().map(|child| ended(child, "sync")).collect();
    let store = team.store();
    team.assert_whole(&*store);
    let mut asked = BTreeMap::<(String, String), u32>::new();
    for served in team.world.server.served() {
        let question = (served.api.clone(), format!("{:?}", served.params));
        *asked.entry(question).or_default() += 1;
    }
    let twice: Vec<_> = asked.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "asked more than once: {twice:?}");
    for ran in said {
        assert!(TABLES.iter().all(|table| ran.stdout.contains(table)), "each tells the whole result: {}", ran.stdout);
    }
}

/// A market whose `daily` takes its time, so that its task can be met while it runs.
fn slow() -> Wanted {
    let faults = vec![Rule::always(Fault::SlowAnswer { millis: 100 }).of("daily")];
    Wanted { securities: 40, last: "2024-01-31", faults, ..Wanted::default() }
}

fn until_running(team: &Team, store: &dyn Store) -> Lease {
    let started = Moment::now();
    loop {
        let lease = team.task(store, "daily").filter(|task| task.totals.slices_done > 0).and_then(|task| task.lease);
        if let Some(lease) = lease {
            return lease;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the task never began");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_worker_that_waits_says_for_whom_and_takes_over_when_the_lease_of_the_dead_is_over() {
    let team = Team::new(slow());
    let store = team.store();
    let mut first = team.sync().spawn().unwrap();
    let lease = until_running(&team, &*store);
    assert!(lease.worker.contains(&format!("/{}/", first.id())), "{}", lease.worker);
    let listed = team.command(&["tasks"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&lease.worker));
    let second = team.sync().spawn().unwrap();
    // The second has found the task taken when it has submitted the others, which it runs itself.
    let started = Moment::now();
    while team.task(&*store, "daily_basic").is_none_or(|task| task.state.is_open()) {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let (committed, before) = (team.claimed_days(&*store), team.world.server.served().len());
    let second = ended(second, "sync");
    assert!(second.stderr.contains(&format!("run by {}", lease.worker)), "{}", second.stderr);
    team.assert_nothing_fetched_twice(&committed, before);
    team.assert_whole(&*store);
    let task = team.task(&*store, "daily").unwrap();
    assert_eq!((task.state, task.lease), (TaskState::Completed, None));
}

#[test]
fn a_worker_whose_task_is_taken_from_it_stops_at_once_and_writes_no_more() {
    let team = Team::new(slow());
    let store = team.store();
    let child = team.sync().spawn().unwrap();
    until_running(&team, &*store);
    let task = team.task(&*store, "daily").unwrap();
    team.world.runtime.block_on(async {
        // Somebody whose clock says that the lease is long over.
        let now = team.world.now().plus_seconds(3_600);
        let lease = Lease { worker: "somebody".into(), until: now };
        let changes = vec![Change::TakeTask { task: task.id, lease: Some(lease) }];
        store.commit(Commit { at: now, fence: None, changes }).await.unwrap();
    });
    let taken = team.task(&*store, "daily").unwrap();
    let done = taken.totals.slices_done;
    let stopped = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    child.wait_with_output().unwrap();
    let after = team.task(&*store, "daily").unwrap();
    assert_eq!((after.fence, after.totals.slices_done), (taken.fence, done), "nothing more was written");
    assert_eq!(after.lease.unwrap().worker, "somebody");
}

#[test]
fn ctrl_c_pauses_only_what_its_process_runs_and_another_goes_on_with_it() {
    let team = Team::new(slow());
    let store = team.store();
    let first = team.sync().spawn().unwrap();
    until_running(&team, &*store);
    let helper = team.work().spawn().unwrap();
    let stopped = Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    Ran::of(first.wait_with_output().unwrap(), 130, &["sync"]);
    ended(helper, "work");
    // What the first had not submitted yet is still to be asked for.
    ended(team.sync().spawn().unwrap(), "sync");
    team.assert_whole(&*store);
}

#[test]
fn a_store_that_is_shared_lets_nobody_in_who_counts_alone() {
    let team = Team::new(slow());
    let store = team.store();
    let mut sharing = team.sync().spawn().unwrap();
    until_running(&team, &*store);
    let asked = ["sync", "adj_factor", "--from", "2024-01-02", "--to", "2024-01-03"];
    let alone = team.world.tidegate(&asked).output().unwrap();
    let told = String::from_utf8_lossy(&alone.stderr);
    match alone.status.code() {
        Some(5) => assert!(told.contains("running tasks on this store"), "{told}"),
        // It waited, and the store was free again.
        Some(0) => assert!(sharing.try_wait().unwrap().is_some(), "{told}"),
        other => panic!("{other:?}: {told}"),
    }
    ended(sharing, "sync");
}

/// A clock that runs a thousand times as fast, so that a test need not wait for minutes.
fn fast_clock() -> Clock {
    let system = Clock::system();
    let origin = system.now();
    Clock::from_fn(move || Instant(origin.0 + (system.now().0 - origin.0) * 1_000))
}

/// A process as far as quotas go: its own connection and a task of its own.
fn member(world: &World, clock: &Clock, dataset: &str, per_call: u32) -> Sharing {
    let options = SqliteOptions { shared: true, ..SqliteOptions::default() };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&world.store_path(), options, clock.clone()).unwrap());
    let fence = world.runtime.block_on(async {
        let at = clock.now();
        let task = Task::new(dataset, Request::everything(), at);
        let created = store.commit(Commit { at, fence: None, changes: vec![Change::Task(task)] }).await.unwrap();
        let lease = Lease { worker: worker_name(), until: at.plus_seconds(1_000_000) };
        let take = Change::TakeTask { task: created.tasks[0].task, lease: Some(lease) };
        store.commit(Commit { at, fence: None, changes: vec![take] }).await.unwrap().tasks[0]
    });
    let places = Arc::new(Places::new(store, clock.clone(), per_call));
    Sharing { places, fence: Some(fence), source: "tushare".into(), api: "daily".into() }
}

#[test]
fn no_minute_of_all_processes_together_holds_more_calls_than_the_limit() {
    let world = World::new(Wanted { securities: 10, ..Wanted::default() });
    world.create_store();
    let clock = fast_clock();
    let limits = Limits { per_minute: Some(20), per_day: None };
    let members: Vec<Sharing> = TABLES.iter().map(|table| member(&world, &clock, table, 10_000)).collect();
    let calls = Arc::new(Mutex::new(Vec::<(Instant, Instant)>::new()));
    world.runtime.block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for sharing in members {
            for _ in 0..2 {
                let (sharing, calls, clock) = (sharing.clone(), calls.clone(), clock.clone());
                callers.spawn(async move {
                    for _ in 0..15 {
                        let taken = sharing.take(limits).await.unwrap();
                        let sent = clock.now();
                        tokio::task::yield_now().await;
                        calls.lock().unwrap().push((sent, clock.now()));
                        drop(taken);
                    }
                });
            }
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    });
    let mut calls = calls.lock().unwrap().clone();
    calls.sort();
    assert_eq!(calls.len(), 90);
    for pair in calls.windows(21) {
        let first_answered = pair[..20].iter().map(|(_, answered)| *answered).min().unwrap();
        let waited = pair[20].0.millis_since(first_answered);
        assert!(waited >= 60_000, "21 calls within {waited} ms");
    }
    let used = world.runtime.block_on(world.store().quota_used("tushare", clock.now().day())).unwrap();
    assert!(used.iter().all(|(_, calls)| *calls <= 90), "{used:?}");
}

#[test]
fn the_calls_of_a_day_are_counted_over_all_processes_and_a_lost_task_gets_none() {
    let world = World::new(Wanted { securities: 10, ..Wanted::default() });
    world.create_store();
    let clock = Clock::fixed(Instant::parse("2024-03-05T10:00:00+08:00").unwrap());
    let limits = Limits { per_minute: None, per_day: Some(5) };
    let members: Vec<Sharing> = TABLES.iter().map(|table| member(&world, &clock, table, 60)).collect();
    world.runtime.block_on(async {
        let own = members[0].fence.unwrap();
        let stale = Fence { fence: own.fence - 1, ..own };
        let lost = Sharing { fence: Some(stale), ..members[0].clone() };
        assert_eq!(lost.take(limits).await.err().unwrap().kind(), ErrorKind::Conflict);
        for call in 0..5 {
            assert!(members[call % 3].take(limits).await.unwrap().is_some());
        }
        for sharing in &members {
            let error = sharing.take(limits).await.err().unwrap();
            assert!(matches!(error.kind(), ErrorKind::QuotaGone { until: Some(_) }), "{error}");
        }
        assert!(members[0].take(Limits::default()).await.unwrap().is_none(), "what is not limited takes no place");
    });
    let used = world.runtime.block_on(world.store().quota_used("tushare", clock.now().day())).unwrap();
    assert_eq!(used, [("daily".to_string(), 5)]);
}

#[test]
fn places_of_a_process_that_died_free_themselves() {
    let world = World::new(Wanted { securities: 10, ..Wanted::default() });
    world.create_store();
    let start = Instant::parse("2024-03-05T10:00:00+08:00").unwrap();
    let passed = Arc::new(AtomicI64::new(0));
    let clock = Clock::from_fn({
        let passed = passed.clone();
        move || start.plus_seconds(passed.load(Ordering::Relaxed))
    });
    let limits = Limits { per_minute: Some(1), per_day: None };
    let [dead, heir] = [0, 1].map(|index| member(&world, &clock, TABLES[index], 30));
    world.runtime.block_on(async {
        // Never answered: the process is gone.
        std::mem::forget(dead.take(limits).await.unwrap());
        passed.store(89, Ordering::Relaxed);
        let waiting = tokio::spawn(async move { heir.take(limits).await.map(|taken| taken.is_some()) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished(), "its call may still count against the quota");
        passed.store(90, Ordering::Relaxed);
        assert!(waiting.await.unwrap().unwrap());
    });
}

/// A generator for kill moments (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// Three processes, one of which only helps, killed at random moments and started again until everything is done.
/// Returns how many kills hit a running process.
fn campaign(team: &Team, dice: &mut Dice, kills_wanted: u64) -> u64 {
    let store = team.store();
    let start = |slot: usize| {
        let mut command = if slot == 2 { team.work() } else { team.sync() };
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..3).map(start).collect();
    let mut kills = 0;
    while kills < kills_wanted {
        std::thread::sleep(Duration::from_millis(50 + dice.below(700)));
        let slot = dice.below(3) as usize;
        let (committed, before) = (team.claimed_days(&*store), team.world.server.served().len());
        if children[slot].try_wait().unwrap().is_none() {
            children[slot].kill().unwrap();
            children[slot].wait().unwrap();
            kills += 1;
        }
        children[slot] = start(slot);
        team.assert_nothing_fetched_twice(&committed, before);
        let tasks = TABLES.map(|table| team.task(&*store, table).is_some_and(|task| !task.state.is_open()));
        if tasks.iter().all(|ended| *ended) {
            break;
        }
    }
    for (slot, mut child) in children.into_iter().enumerate() {
        assert_eq!(child.wait().unwrap().code(), Some(0), "process {slot} ends green");
    }
    kills
}

#[test]
fn three_processes_under_kills_commit_every_slice_once_and_exceed_no_quota() {
    let mut dice = Dice(seed("three processes under kills"));
    let (wanted, last) = if is_long() { (100, "2024-11-29") } else { (6, "2024-02-29") };
    let mut kills = 0;
    while kills < wanted {
        let faults = vec![Rule::always(Fault::SlowAnswer { millis: 20 })];
        let team = Team::new(Wanted { seed: dice.below(1 << 32), securities: 40, last, faults, ..Wanted::default() });
        kills += campaign(&team, &mut dice, wanted - kills);
        ended(team.sync().spawn().unwrap(), "sync");
        team.assert_whole(&*team.store());
    }
    eprintln!("{kills} kills of three processes");
}

//! Jobs by a clock that the test moves: a simulated year of a simulated market, with real work behind every run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt};
use tidegate::catalog::Catalog;
use tidegate::engine::{Engine, Engines, Options, Stop};
use tidegate::mirror::tushare::{Account, MirrorOptions};
use tidegate::model::*;
use tidegate::scheduler::{Control, JobChange, JobOptions, NewJob, Scheduler, Waiting};
use tidegate::sim::{Fault, FaultScript, Market, MarketOptions, Rule, Server, ServerOptions};
use tidegate::source::tushare::{TushareOptions, TushareSource};
use tidegate::store::postgres::{PostgresOptions, PostgresStore};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tidegate::store::{Scan, Store};

use crate::world::is_long;

const TOKEN: &str = "jobs-token";

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

/// `2024-01-02T18:00`, Beijing.
fn instant(text: &str) -> Instant {
    Instant::parse(&format!("{text}:00+08:00")).unwrap()
}

/// Time as the test moves it. Whoever waits is where it wanted to be at once.
#[derive(Clone)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn starting(text: &str) -> Time {
        Time(Arc::new(AtomicI64::new(instant(text).0)))
    }

    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::SeqCst))
    }

    fn move_to(&self, at: Instant) {
        self.0.fetch_max(at.0, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let told = self.clone();
        Clock::told_by(move || told.now())
    }
}

impl Waiting for Time {
    fn until<'a>(&'a self, at: Instant, stop: &'a Stop) -> BoxFuture<'a, bool> {
        self.move_to(at);
        async move { !stop.asked() }.boxed()
    }
}

/// A market behind a socket and a store of some of its tables, both by one clock.
struct Town {
    folder: tempfile::TempDir,
    catalog: Arc<Catalog>,
    market: Market,
    server: Server,
    time: Time,
    tables: Vec<&'static str>,
}

/// What a process has of the town: all of it is gone when it ends.
struct Process {
    store: Arc<dyn Store>,
    scheduler: Scheduler,
    control: Control,
}

impl Town {
    async fn new(start: &str, last: &str, tables: &[&'static str], faults: Vec<Rule>) -> Town {
        let catalog = Arc::new(Catalog::builtin().unwrap());
        let time = Time::starting(start);
        let market = Market::new(MarketOptions {
            seed: 5,
            securities: 20,
            clock: time.clock(),
            ..MarketOptions::new(catalog.clone(), day("2023-10-09"), day(last))
        });
        let accounts = vec![Account { token: TOKEN.to_string(), points: 15_000 }];
        let mirror = MirrorOptions { accounts, ..MirrorOptions::default() };
        let options = ServerOptions { mirror, clock: time.clock(), ..ServerOptions::default() };
        let server = Server::start(&market, FaultScript::new(faults), options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Town { folder, catalog, market, server, time, tables: tables.to_vec() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("market.db")
    }

    async fn process(&self) -> Process {
        let options = SqliteOptions { create: !self.path().exists(), ..SqliteOptions::default() };
        let store = Arc::new(SqliteStore::open(&self.path(), options, self.time.clock()).unwrap());
        store.prepare(self.catalog.datasets()).await.unwrap();
        self.process_on(store, JobOptions { runs_kept: 100_000, ..JobOptions::default() })
    }

    /// The tables of the town are served, whatever else the catalogue has.
    fn process_on(&self, store: Arc<dyn Store>, jobs: JobOptions) -> Process {
        let names = self.catalog.datasets().iter().map(|dataset| dataset.name.clone());
        let options = Options {
            skip: names.filter(|name| !self.tables.contains(&name.as_str())).collect(),
            default_from: Some(day("2023-10-09")),
            retry_first_ms: 1,
            retry_cap_ms: 2,
            commit_linger_ms: 1,
            lease_seconds: 600,
            ..Options::default()
        };
        let (url, clock, catalog) = (self.server.url(), self.time.clock(), self.catalog.clone());
        let shared = store.clone();
        let engines = Engines::new(store.clone(), move |_| {
            let source = TushareOptions {
                url: url.clone(),
                token: TOKEN.to_string(),
                points: 15_000,
                per_minute: Some(100_000),
                ..TushareOptions::default()
            };
            let source = Arc::new(TushareSource::new(source, clock.clone())?);
            Ok(Engine::new(shared.clone(), catalog.clone(), vec![source], options.clone(), clock.clone()))
        });
        let (catalog, clock) = (self.catalog.clone(), self.time.clock());
        let control = Control::new(store.clone(), catalog.clone(), clock.clone(), jobs.clone());
        let scheduler = Scheduler::new(store.clone(), catalog, clock, engines, jobs, Arc::new(self.time.clone()));
        Process { store, scheduler, control }
    }

    async fn rows(&self, scan: &dyn Scan, query: &Query) -> RecordBatch {
        let schema = self.catalog.get(&query.dataset).unwrap().schema();
        let batches: Vec<RecordBatch> = scan.scan(query).await.unwrap().try_collect().await.unwrap();
        arrow_select::concat::concat_batches(&schema, &batches).unwrap()
    }

    async fn assert_truth(&self, store: &dyn Store, table: &str, from: &str, to: &str) {
        let dataset = self.catalog.get(table).unwrap();
        let query = Query::area(dataset, &Area::new(Securities::All, Span::new(day(from), day(to))));
        let truth = self.rows(&self.market, &query).await;
        assert!(truth.num_rows() > 0, "{table}: the market is empty");
        assert_eq!(self.rows(store, &query).await, truth, "{table}");
    }

    fn is_open(&self, day: Day) -> bool {
        self.market.calendar().is_open(day).unwrap()
    }
}

impl Process {
    /// Goes from one moment at which something happens to the next, until `end`.
    async fn live_until(&self, time: &Time, end: &str) {
        self.live(time, end, true).await;
    }

    /// As `live_until`, but runs end as soon as they begin, without any work: only the times are wanted.
    async fn dream_until(&self, time: &Time, end: &str) {
        self.live(time, end, is_long()).await;
    }

    async fn live(&self, time: &Time, end: &str, works: bool) {
        let end = instant(end);
        loop {
            let fired = self.scheduler.fire().await.unwrap();
            let waits = match works {
                true => self.scheduler.work_off(&Stop::default()).await.unwrap(),
                false => self.end_at_once(time).await,
            };
            let next = fired.next.into_iter().chain(waits).min().unwrap();
            let due = if fired.runs.is_empty() { next } else { next.min(time.now()) };
            if due >= end {
                return time.move_to(end);
            }
            time.move_to(due);
        }
    }

    async fn end_at_once(&self, time: &Time) -> Option<Instant> {
        let commit = async |change| {
            let commit = Commit { at: time.now(), fence: None, changes: vec![change] };
            self.store.commit(commit).await.unwrap();
        };
        let open = RunsWanted { open: true, limit: 1_000, ..RunsWanted::default() };
        for run in self.store.runs(&open).await.unwrap() {
            commit(Change::TakeRun { run: run.id, lease: None }).await;
            let taken = self.store.run(run.id).await.unwrap().unwrap();
            commit(Change::Run(Run { state: RunState::Success, ..taken })).await;
        }
        None
    }

    async fn runs(&self) -> Vec<Run> {
        let wanted = RunsWanted { limit: 1_000_000, ..RunsWanted::default() };
        let mut runs = self.store.runs(&wanted).await.unwrap();
        runs.reverse();
        runs
    }

    /// The times for which each job ran.
    async fn times(&self) -> BTreeMap<String, Vec<Instant>> {
        let mut times: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
        for run in self.runs().await {
            if let (Some(job), Some(due_at)) = (run.job, run.due_at) {
                times.entry(job).or_default().push(due_at);
            }
        }
        times
    }
}

/// When the jobs of the year have to run: written down anew, from the market's own calendar.
struct Expected<'a> {
    town: &'a Town,
    from: Instant,
    to: Instant,
    asleep: (Instant, Instant),
}

impl Expected<'_> {
    fn days(&self) -> impl Iterator<Item = Day> {
        self.from.day().to(self.to.day())
    }

    /// These times within the year; of those that were slept through only the last one, or none.
    fn awake(&self, times: impl IntoIterator<Item = Instant>, caught_up: bool) -> Vec<Instant> {
        let all: BTreeSet<Instant> = times.into_iter().filter(|at| self.from < *at && *at < self.to).collect();
        let (fell_asleep, woke_up) = self.asleep;
        let missed: Vec<Instant> = all.iter().filter(|at| fell_asleep < **at && **at < woke_up).copied().collect();
        let last = missed.last().filter(|_| caught_up);
        all.iter().filter(|at| !missed.contains(at) || Some(*at) == last).copied().collect()
    }

    fn at(&self, minutes: i32, is_on: impl Fn(Day) -> bool) -> Vec<Instant> {
        let days = self.days().filter(|day| is_on(*day));
        self.awake(days.map(|day| Instant::at(day, minutes)), true)
    }

    /// The first trading day from `day` on.
    fn trading_from(&self, day: Day) -> Day {
        day.to(day.plus(31)).find(|day| self.town.is_open(*day)).unwrap()
    }

    fn postponed(&self, minutes: i32, is_on: impl Fn(Day) -> bool) -> Vec<Instant> {
        let days: BTreeSet<Day> = self.days().filter(|day| is_on(*day)).map(|day| self.trading_from(day)).collect();
        self.at(minutes, |day| days.contains(&day))
    }

    fn assert_all(&self, found: &BTreeMap<String, Vec<Instant>>, polled_until: Instant) {
        let open = |day: Day| self.town.is_open(day);
        let sessions = |day: Day| [9 * 60 + 15, 13 * 60].map(|minutes| Instant::at(day, minutes));
        let sessions = self.days().filter(|day| open(*day)).flat_map(sessions).filter(|at| *at < polled_until);
        for (job, expected) in [
            ("daily", self.at(18 * 60, open)),
            ("disclosure_date", self.at(20 * 60, |_| true)),
            ("weekly", self.postponed(19 * 60, |day| day.weekday() == 4)),
            ("full_check", self.at(60, |day| open(day.previous()))),
            ("weekly_bars", self.postponed(2 * 60, |day| day.weekday() == 0)),
            ("full_history", self.postponed(4 * 60, |day| day.date().day() == 1)),
            ("trade_cal", self.at(2 * 60, |day| (day.month(), day.date().day()) == (1, 1))),
            ("kpl_list", self.awake(sessions, false)),
        ] {
            let found = found.get(job).cloned().unwrap_or_default();
            assert!(!expected.is_empty(), "{job}");
            let both: BTreeSet<Instant> = found.iter().chain(&expected).copied().collect();
            let differ: Vec<&Instant> = both.iter().filter(|at| found.contains(at) != expected.contains(at)).collect();
            assert_eq!(found, expected, "{job}: {differ:?}");
        }
    }
}

/// A job of the test's own.
fn own(id: &str, trigger: Trigger, days: Days, work: Work) -> NewJob {
    NewJob { id: id.into(), title: None, title_zh: None, trigger, days, work, catch_up: None, attempts: None }
}

fn cron(line: &str) -> Trigger {
    Trigger::Cron { expression: line.into() }
}

/// Fired, and stopped before anything could be done; then another process goes on.
async fn broken_off(town: &Town, process: Process, at: &str) -> Process {
    town.time.move_to(instant(at));
    let fired = process.scheduler.fire().await.unwrap();
    assert!(!fired.runs.is_empty(), "{fired:?}");
    let stopped = Stop::default();
    stopped.ask();
    process.scheduler.work_off(&stopped).await.unwrap();
    for id in fired.runs {
        let run = process.store.run(id).await.unwrap().unwrap();
        assert_eq!((run.state, run.attempt), (RunState::Pending, 0), "{run:?}");
    }
    drop(process);
    let process = town.process().await;
    process.scheduler.prepare().await.unwrap();
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_of_a_simulated_year_runs_at_its_times_once_and_a_week_asleep_is_made_up_for() {
    let (start, end) = ("2023-12-29T12:00", "2024-12-31T12:00");
    let tables = ["daily", "weekly", "trade_cal", "disclosure_date", "income_vip", "kpl_list"];
    let town = Town::new(start, "2025-01-31", &tables, Vec::new()).await;
    let process = town.process().await;
    process.scheduler.prepare().await.unwrap();
    let trigger = Some(Trigger::Continuous { every_seconds: Some(7_200) });
    let change = JobChange { trigger, ..JobChange::default() };
    process.control.change("kpl_list", change, None, "test").await.unwrap();
    let after = Trigger::Event { on: On::Whole { dataset: "daily".into() } };
    process.control.create(own("after_daily", after, Days::Any, Work::sync(["trade_cal"])), "test").await.unwrap();
    // Nobody can know of holidays before the calendar is there.
    process.control.ask(Work::sync(["trade_cal"]), None, "test", "").await.unwrap();
    process.live_until(&town.time, "2024-01-03T12:00").await;
    let polled_until = town.time.now();
    process.control.stop("kpl_list", "test").await.unwrap();
    process.dream_until(&town.time, "2024-02-05T12:00").await;
    // With Spring Festival: closed from 9 to 18 February.
    process.live_until(&town.time, "2024-02-21T12:00").await;
    process.dream_until(&town.time, "2024-04-22T12:00").await;
    let asleep = (town.time.now(), instant("2024-04-29T12:00"));
    town.time.move_to(asleep.1);
    process.live_until(&town.time, "2024-04-30T17:30").await;
    let process = broken_off(&town, process, "2024-04-30T18:00").await;
    process.live_until(&town.time, "2024-05-07T12:00").await;
    let worked_until = if is_long() { "2024-12-27" } else { "2024-05-06" };
    process.dream_until(&town.time, end).await;

    let expected = Expected { town: &town, from: instant(start), to: instant(end), asleep };
    let times = process.times().await;
    expected.assert_all(&times, polled_until);
    let announced: BTreeSet<Day> = times["income_vip"].iter().map(|at| at.day()).collect();
    assert!(times["income_vip"].iter().all(|at| at.minute_of_day() == 21 * 60), "{announced:?}");
    assert_eq!(announced.len(), times["income_vip"].len(), "one evening, one run");
    assert!(announced.len() > 5, "{announced:?}");
    let told = process.store.events_of(EventType::DatasetWhole, "daily", None, 10_000).await.unwrap();
    let told: BTreeSet<Instant> = told.iter().map(|event| event.at).collect();
    let after_daily: BTreeSet<Instant> = times["after_daily"].iter().copied().collect();
    assert_eq!(after_daily, told, "a run for each time that daily became whole");
    let told: BTreeSet<Day> = told.iter().map(|at| at.day()).collect();
    for (first, last) in [("2024-01-02", "2024-01-02"), ("2024-02-05", "2024-02-20"), ("2024-04-29", "2024-05-06")] {
        let worked = day(first).to(day(last)).filter(|day| town.is_open(*day));
        assert_eq!(
            worked.filter(|day| !told.contains(day)).collect::<Vec<_>>(),
            [],
            "whole on the evening of each day"
        );
    }
    for run in process.runs().await {
        let thin = run.note.as_ref().is_some_and(|note| note.contains("look incomplete"));
        assert!(run.state == RunState::Success || thin, "{run:?}");
    }
    for table in ["daily", "weekly"] {
        town.assert_truth(&*process.store, table, "2023-10-09", worked_until).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_is_tried_again_with_growing_waits_and_then_ends() {
    let broken = |calls| Rule::always(Fault::ServerError { status: 500 }).of("daily").at(calls);
    // Each attempt asks for one day, four times: the retries of the dataset are among them.
    for (calls, attempts, state) in [(1..=u64::MAX, 4, RunState::Failed), (1..=8, 3, RunState::Success)] {
        let town = Town::new("2024-01-02T17:00", "2024-01-31", &["daily"], vec![broken(calls)]).await;
        let process = town.process().await;
        let work = Work { from: Some("2024-01-02".into()), to: Some("2024-01-02".into()), ..Work::sync(["daily"]) };
        process.control.create(own("bars", cron("0 18 2 1 *"), Days::Any, work), "test").await.unwrap();
        process.live_until(&town.time, "2024-01-03T17:00").await;
        let runs = process.runs().await;
        assert_eq!(runs.len(), 1);
        assert_eq!((runs[0].state, runs[0].attempt), (state, attempts), "{:?}", runs[0]);
        let events = process.store.events(0, 10_000).await.unwrap();
        let begun = events.iter().filter(|event| event.kind == EventType::RunStarted);
        let begun: Vec<i64> = begun.map(|event| event.at.millis_since(instant("2024-01-02T18:00")) / 60_000).collect();
        assert_eq!(begun, [0, 5, 15, 35][..attempts as usize], "minutes after the first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_time_is_learnt_from_days_that_were_asked_for_too_early() {
    let days = ["20240103", "20240104", "20240105", "20240108"];
    let half =
        |day: &&str| Rule::always(Fault::HalfPublished { fraction: 0.4 }).of("daily").with("trade_date", day).at(1..=1);
    let town = Town::new("2024-01-03T12:00", "2024-01-31", &["daily"], days.iter().map(half).collect()).await;
    let process = town.process().await;
    let published = Trigger::Event { on: On::Published { dataset: "daily".into() } };
    let work = Work { from: Some("2024-01-03".into()), ..Work::sync(["daily"]) };
    process.control.create(own("bars", published, Days::Any, work), "test").await.unwrap();
    process.live_until(&town.time, "2024-01-10T12:00").await;
    let times: Vec<String> = process.times().await["bars"].iter().map(|at| at.to_string()).collect();
    let evening = |day: &str, time: &str| format!("2024-01-{day}T{time}:00+08:00");
    // Each answer of 16:00 is thin and is whole an hour later, when it is asked for again.
    let expected = [("03", "16:00"), ("04", "16:00"), ("05", "16:00"), ("08", "17:05"), ("09", "17:05")];
    assert_eq!(times, expected.map(|(day, time)| evening(day, time)));
    let status = process.control.get("bars").await.unwrap();
    assert_eq!(status.next.at, Some(instant("2024-01-10T17:05")), "{:?}", status.next);
    assert!(status.next.reason.contains("past days taught"), "{:?}", status.next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_postgres_fire_every_job_once_and_share_the_runs() {
    let town = Town::new("2024-01-02T12:00", "2024-01-31", &["daily", "adj_factor", "stk_limit"], Vec::new()).await;
    let (_, url) = crate::postgres_server::shared().fresh_database();
    let mut processes = Vec::new();
    for _ in 0..2 {
        let options = PostgresOptions { create: processes.is_empty(), connections: 4, ..PostgresOptions::default() };
        let store = Arc::new(PostgresStore::open(&url, options, town.time.clock()).await.unwrap());
        store.prepare(town.catalog.datasets()).await.unwrap();
        processes.push(town.process_on(store, JobOptions::default()));
    }
    let [one, two] = [&processes[0], &processes[1]];
    let (first, second) = tokio::join!(one.scheduler.prepare(), two.scheduler.prepare());
    first.and(second).unwrap();
    let end = instant("2024-01-10T12:00");
    let mut by_both = [0, 0];
    while town.time.now() < end {
        let (first, second) = tokio::join!(one.scheduler.fire(), two.scheduler.fire());
        let (first, second) = (first.unwrap(), second.unwrap());
        by_both[0] += first.runs.len();
        by_both[1] += second.runs.len();
        let stop = Stop::default();
        let (one_waits, two_waits) = tokio::join!(one.scheduler.work_off(&stop), two.scheduler.work_off(&stop));
        let waits = [one_waits.unwrap(), two_waits.unwrap()];
        let next = first.next.into_iter().chain(second.next).chain(waits.into_iter().flatten()).min().unwrap();
        town.time.move_to(next.max(town.time.now().plus_seconds(1)));
    }
    let runs = one.runs().await;
    let fired: BTreeSet<(Option<String>, Option<Instant>)> =
        runs.iter().map(|run| (run.job.clone(), run.due_at)).collect();
    assert_eq!(fired.len(), runs.len(), "nothing fires twice");
    assert_eq!(by_both[0] + by_both[1], runs.len());
    let daily: Vec<&Run> = runs.iter().filter(|run| run.job.as_deref() == Some("daily")).collect();
    assert_eq!(daily.len(), 6, "the trading days from 2 to 9 January");
    for run in &runs {
        assert_eq!(run.state, RunState::Success, "{run:?}");
    }
    town.assert_truth(&*two.store, "daily", "2024-01-02", "2024-01-09").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_want_the_same_table_take_turns() {
    let slow = Rule::always(Fault::SlowAnswer { millis: 30 }).of("daily");
    let town = Town::new("2024-01-31T20:00", "2024-01-31", &["daily"], vec![slow]).await;
    let (_, url) = crate::postgres_server::shared().fresh_database();
    let mut processes = Vec::new();
    for _ in 0..2 {
        let options = PostgresOptions { create: processes.is_empty(), connections: 4, ..PostgresOptions::default() };
        let store = Arc::new(PostgresStore::open(&url, options, town.time.clock()).await.unwrap());
        store.prepare(town.catalog.datasets()).await.unwrap();
        processes.push(town.process_on(store, JobOptions::default()));
    }
    let [one, two] = [&processes[0], &processes[1]];
    for (from, to) in [("2024-01-02", "2024-01-12"), ("2024-01-08", "2024-01-31")] {
        let work = Work { from: Some(from.into()), to: Some(to.into()), force: true, ..Work::sync(["daily"]) };
        one.control.ask(work, None, "test", "").await.unwrap();
    }
    let second = one.control.ask(Work::sync(["daily"]), Some("sync"), "test", "").await.unwrap();
    let refused = two.control.ask(Work::sync(["daily"]), Some("sync"), "test", "").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert_eq!(one.control.cancel(second.id, "test").await.unwrap().state, RunState::Cancelled);
    let stop = Stop::default();
    let (first, second) = tokio::join!(one.scheduler.work_off(&stop), two.scheduler.work_off(&stop));
    first.and(second).unwrap();
    let states: Vec<RunState> = one.runs().await.iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Success, RunState::Success, RunState::Cancelled]);
    let mut open = 0;
    for event in one.store.events(0, 100_000).await.unwrap() {
        if event.dataset.as_deref() != Some("daily") {
            continue;
        }
        match event.kind {
            EventType::TaskStarted => open += 1,
            EventType::TaskCompleted => open -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&open), "two tasks of one table at a time");
    }
    town.assert_truth(&*two.store, "daily", "2024-01-02", "2024-01-31").await;
}

#[tokio::test]
async fn what_a_person_changes_about_a_job_stays_and_what_the_catalogue_leaves_goes() {
    let town = Town::new("2024-01-02T12:00", "2024-01-31", &["daily", "weekly"], Vec::new()).await;
    let process = town.process().await;
    process.scheduler.prepare().await.unwrap();
    let control = &process.control;
    let ids = async || control.list().await.unwrap().into_iter().map(|status| status.job.id).collect::<Vec<_>>();
    assert_eq!(ids().await, ["daily", "full_check", "full_history", "weekly", "weekly_bars"]);
    control.schedule("weekly_bars", "30 2 * * 1", "anna").await.unwrap();
    control.pause("daily", "anna").await.unwrap();
    control.create(own("mine", cron("0 7 * * *"), Days::Any, Work::sync(["daily"])), "anna").await.unwrap();
    process.scheduler.prepare().await.unwrap();
    let weekly = control.get("weekly_bars").await.unwrap();
    assert_eq!(weekly.job.trigger, cron("30 2 * * 1"));
    assert_eq!(control.get("daily").await.unwrap().job.state, JobState::Paused);
    let town = Town { tables: vec!["daily"], ..town };
    let fewer = town.process_on(process.store.clone(), JobOptions::default());
    fewer.scheduler.prepare().await.unwrap();
    assert_eq!(ids().await, ["daily", "full_check", "full_history", "mine", "weekly_bars"], "changed ones stay");
    for (wrong, kind) in [
        (control.remove("daily", "anna").await.err(), ErrorKind::Conflict),
        (control.pause("nobody", "anna").await.err(), ErrorKind::NotFound),
        (control.schedule("mine", "0 7 * *", "anna").await.err(), ErrorKind::Invalid),
        (control.start("mine", Some(1), "anna").await.err(), ErrorKind::Invalid),
        (
            control.create(own("mine", cron("0 7 * * *"), Days::Any, Work::default()), "anna").await.err(),
            ErrorKind::Conflict,
        ),
        (
            control.create(own("Mine", cron("0 7 * * *"), Days::Any, Work::default()), "anna").await.err(),
            ErrorKind::Invalid,
        ),
        (
            control.create(own("other", cron("0 7 * * *"), Days::Any, Work::sync(["nothing"])), "anna").await.err(),
            ErrorKind::NotFound,
        ),
        (control.change("mine", JobChange::default(), Some(7), "anna").await.err(), ErrorKind::Conflict),
    ] {
        assert_eq!(wrong.expect("an error").kind(), kind);
    }
    control.remove("mine", "anna").await.unwrap();
    let started = control.start("stock_basic", Some(3_600), "anna").await.unwrap();
    assert_eq!(started.next.at, Some(instant("2024-01-02T13:00")), "a dataset without a job gets one");
    let wanted = JournalWanted {
        journal: Journal::Audit,
        level: Level::Trace,
        task: None,
        text: Some("job:".into()),
        before: None,
        limit: 100,
    };
    let journal = process.store.journal(&wanted).await.unwrap();
    assert!(journal.iter().all(|entry| entry.who == "anna") && journal.len() == 5, "{journal:?}");
}

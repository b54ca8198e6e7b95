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
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tidegate::store::{Scan, Store};

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
            securities: 8,
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
        let end = instant(end);
        loop {
            let fired = self.scheduler.fire().await.unwrap();
            let waits = self.scheduler.work_off(&Stop::default()).await.unwrap();
            let next = fired.next.into_iter().chain(waits).min().unwrap();
            let due = if fired.runs.is_empty() { next } else { next.min(time.now()) };
            if due >= end {
                return time.move_to(end);
            }
            time.move_to(due);
        }
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

    fn assert_all(&self, found: &BTreeMap<String, Vec<Instant>>) {
        let open = |day: Day| self.town.is_open(day);
        let sessions = self.days().filter(|day| open(*day)).flat_map(|day| [(9 * 60 + 15), (13 * 60)].map(|minutes| Instant::at(day, minutes)));
        for (job, expected) in [
            ("daily", self.at(18 * 60, open)),
            ("suspend_d", self.at(18 * 60, open)),
            ("stock_basic", self.at(6 * 60, open)),
            ("disclosure_date", self.at(20 * 60, |_| true)),
            ("weekly", self.postponed(19 * 60, |day| day.weekday() == 4)),
            ("bse_mapping", self.postponed(6 * 60, |day| day.weekday() == 0)),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_of_a_simulated_year_runs_at_its_times_once_and_a_week_asleep_is_made_up_for() {
    let (start, end) = ("2023-12-29T12:00", "2024-12-31T12:00");
    let tables = [
        "daily", "weekly", "suspend_d", "stock_basic", "bse_mapping", "trade_cal", "disclosure_date", "income_vip",
        "kpl_list",
    ];
    let town = Town::new(start, "2025-01-31", &tables, Vec::new()).await;
    let process = town.process().await;
    process.scheduler.prepare().await.unwrap();
    let every_two_hours = JobChange { trigger: Some(Trigger::Continuous { every_seconds: Some(7_200) }), ..JobChange::default() };
    process.control.change("kpl_list", every_two_hours, None, "test").await.unwrap();
    // The calendar is there: nobody can know of holidays without it.
    process.control.ask(Work::sync(["trade_cal"]), None, "test", "").await.unwrap();
    process.live_until(&town.time, "2024-03-04T12:00").await;
    let asleep = (town.time.now(), instant("2024-03-11T12:00"));
    town.time.move_to(asleep.1);
    process.live_until(&town.time, "2024-05-30T18:00").await;
    // Broken off in the middle: fired, and stopped before it could do anything; then another process goes on.
    town.time.move_to(instant("2024-05-30T18:00"));
    let fired = process.scheduler.fire().await.unwrap();
    assert!(fired.runs.len() >= 2, "{fired:?}");
    let stopped = Stop::default();
    stopped.ask();
    process.scheduler.work_off(&stopped).await.unwrap();
    drop(process);
    let process = town.process().await;
    process.scheduler.prepare().await.unwrap();
    process.live_until(&town.time, end).await;

    let expected = Expected { town: &town, from: instant(start), to: instant(end), asleep };
    let times = process.times().await;
    expected.assert_all(&times);
    let announced: BTreeSet<Day> = times["income_vip"].iter().map(|at| at.day()).collect();
    assert!(times["income_vip"].iter().all(|at| at.minute_of_day() == 21 * 60) && announced.len() > 20, "{announced:?}");
    for run in process.runs().await {
        assert_eq!(run.state, RunState::Success, "{run:?}");
    }
    for table in ["daily", "weekly"] {
        town.assert_truth(&*process.store, table, "2023-10-09", "2024-12-27").await;
    }
    town.assert_truth(&*process.store, "income_vip", "2023-12-31", "2024-06-30").await;
}

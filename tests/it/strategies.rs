//! What every strategy must do, through the engine and a real wire protocol, on any store: each store runs the same laws
//! (`strategy_suite!`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use tidegate::catalog::Catalog;
use tidegate::engine::poll::{Pace, Waiting};
use tidegate::engine::progress::Progress;
use tidegate::engine::together::Synced;
use tidegate::engine::{Engine, Options, Stop};
use tidegate::mirror::tushare::{Account, MirrorOptions};
use tidegate::model::task::Request;
use tidegate::model::*;
use tidegate::plan::{DayState, day_statuses};
use tidegate::sim::{Fault, FaultScript, Market, MarketOptions, Rule, Served, Server, ServerOptions};
use tidegate::source::tushare::{TushareOptions, TushareSource};
use tidegate::store::Scan;

use crate::store_suite::Fresh;

const TOKEN: &str = "town-token";

/// A market, its source on a socket, a store and an engine, all by one clock that the test moves.
pub struct Town {
    pub fresh: Fresh,
    pub engine: Engine,
    market: Market,
    server: Server,
    now: Arc<AtomicI64>,
    _catalog: tempfile::TempDir,
}

/// What a test wants of its town.
struct Plot {
    first: &'static str,
    last: &'static str,
    now: &'static str,
    securities: usize,
    concurrency: usize,
    faults: Vec<Rule>,
    /// Changes to the text of `daily`'s catalogue file.
    daily: Vec<(&'static str, &'static str)>,
}

impl Default for Plot {
    fn default() -> Plot {
        Plot {
            first: "2024-01-02",
            last: "2024-03-29",
            now: "2024-01-12T20:00",
            securities: 30,
            concurrency: 1,
            faults: Vec::new(),
            daily: Vec::new(),
        }
    }
}

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn instant(text: &str) -> Instant {
    Instant::parse(&format!("{text}:00+08:00")).unwrap()
}

impl Plot {
    async fn town(self, fresh: Fresh) -> Town {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Arc::new(self.catalog(folder.path()));
        fresh.store.prepare(catalog.datasets()).await.unwrap();
        let now = Arc::new(AtomicI64::new(instant(self.now).0));
        let told = now.clone();
        let clock = Clock::told_by(move || Instant(told.load(Ordering::SeqCst)));
        let market = Market::new(MarketOptions {
            seed: 11,
            securities: self.securities,
            clock: clock.clone(),
            ..MarketOptions::new(catalog.clone(), day(self.first), day(self.last))
        });
        let accounts = vec![Account { token: TOKEN.to_string(), points: 15_000 }];
        let mirror = MirrorOptions { accounts, enforce_points: true, ..MirrorOptions::default() };
        let options = ServerOptions { mirror, clock: clock.clone(), ..ServerOptions::default() };
        let server = Server::start(&market, FaultScript::new(self.faults), options).await.unwrap();
        let source = TushareOptions {
            url: server.url(),
            token: TOKEN.to_string(),
            points: 15_000,
            per_minute: Some(100_000),
            ..TushareOptions::default()
        };
        let source = Arc::new(TushareSource::new(source, clock.clone()).unwrap());
        let options = Options {
            concurrency: self.concurrency,
            retry_first_ms: 1,
            retry_cap_ms: 2,
            commit_linger_ms: 1,
            failure_retry_minutes: 30,
            ..Options::default()
        };
        let engine = Engine::new(fresh.store.clone(), catalog, vec![source], options, clock);
        Town { fresh, engine, market, server, now, _catalog: folder }
    }

    fn catalog(&self, folder: &std::path::Path) -> Catalog {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/daily.toml");
        let mut text = std::fs::read_to_string(path).unwrap();
        for (old, new) in &self.daily {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        std::fs::write(folder.join("daily.toml"), text).unwrap();
        Catalog::load(Some(folder)).unwrap()
    }
}

fn request(strategy: Strategy, from: &str, to: &str) -> Request {
    let bound = |text: &str| (!text.is_empty()).then(|| text.to_string());
    Request { from: bound(from), to: bound(to), how: How::by(strategy), ..Request::everything() }
}

impl Town {
    fn set_clock(&self, text: &str) {
        self.now.store(instant(text).0, Ordering::SeqCst);
    }

    /// Syncs one dataset with what it depends on.
    async fn sync(&self, dataset: &str, request: Request) -> Synced {
        let unseen = |_: &str, _: tokio::sync::watch::Receiver<Progress>| {};
        let wanted = vec![(dataset.to_string(), request)];
        let synced = self.engine.sync(wanted, &Stop::default(), &unseen).await.unwrap();
        synced.into_iter().find(|one| one.dataset == dataset).unwrap()
    }

    /// As `sync`, and it must be green.
    async fn green(&self, dataset: &str, request: Request) -> Totals {
        let synced = self.sync(dataset, request).await;
        let task = synced.task.unwrap();
        assert_eq!(task.outcome, Some(Outcome::Success), "{:?} {:?}", synced.error, task.note);
        assert_eq!(task.totals.disagreements(), [""; 0]);
        task.totals
    }

    /// Calls about one dataset since the `from`-th of all.
    fn calls(&self, api: &str, from: usize) -> Vec<Served> {
        self.server.served()[from..].iter().filter(|served| served.api == api).cloned().collect()
    }

    /// One parameter of each of these calls.
    fn asked(&self, api: &str, parameter: &str, from: usize) -> Vec<String> {
        let value = |served: &Served| served.params.get(parameter).cloned().unwrap_or_default();
        self.calls(api, from).iter().map(value).collect()
    }

    fn served(&self) -> usize {
        self.server.served().len()
    }

    async fn collect(&self, scan: &dyn Scan, query: &Query) -> RecordBatch {
        let schema = self.engine.catalog.get(&query.dataset).unwrap().schema();
        let batches: Vec<RecordBatch> = scan.scan(query).await.unwrap().try_collect().await.unwrap();
        arrow_select::concat::concat_batches(&schema, &batches).unwrap()
    }

    /// The stored rows of an area are the market's.
    async fn assert_truth(&self, dataset: &str, securities: Securities, from: &str, to: &str) {
        let dataset = self.engine.catalog.get(dataset).unwrap();
        let query = Query::area(dataset, &Area::new(securities, Span::new(day(from), day(to))));
        let truth = self.collect(&self.market, &query).await;
        assert!(truth.num_rows() > 0, "the market is empty");
        assert_eq!(self.collect(&*self.fresh.store, &query).await, truth, "{}", dataset.name);
    }

    async fn rows(&self, dataset: &str) -> usize {
        self.collect(&*self.fresh.store, &Query::all(dataset)).await.num_rows()
    }

    fn open_days(&self, from: &str, to: &str) -> Vec<String> {
        let days = self.market.calendar().open_days(Span::new(day(from), day(to)));
        days.into_iter().map(Day::compact).collect()
    }
}

fn daily(fault: Fault) -> Rule {
    Rule::always(fault).of("daily")
}

fn failing(day: &str) -> Rule {
    daily(Fault::ServerError { status: 500 }).with("trade_date", day)
}

/// Every law, as tests of one store.
#[macro_export]
macro_rules! strategy_suite {
    ($fresh:path) => {
        $crate::strategy_suite!(@each $fresh:
            history_by_security_is_fetched_in_batches_from_an_offset_until_one_is_empty,
            days_and_periods_are_asked_one_by_one_where_that_is_the_strategy,
            an_incremental_run_takes_each_missing_day_on_its_own_and_one_bad_day_does_not_stop_the_rest,
            late_corrections_are_caught_by_the_look_back_window,
            a_range_is_refused_beyond_ninety_days_and_told_day_by_day,
            several_periods_are_synced_in_one_go,
            statements_are_asked_for_in_the_order_failures_disclosed_missing,
            a_full_replacement_changes_nothing_before_everything_is_there,
            merging_keeps_what_the_source_no_longer_sends,
            conflict_rules_hold_through_a_whole_run,
            realtime_tables_are_polled_in_trading_hours_only,
            partitions_are_worked_on_side_by_side,
            the_last_sync_of_a_security_is_what_the_claims_say,
        );
    };
    (@each $fresh:path: $($law:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                $crate::strategies::$law($fresh().await).await;
            }
        )*
    };
}

pub async fn history_by_security_is_fetched_in_batches_from_an_offset_until_one_is_empty(fresh: Fresh) {
    let town = Plot { now: "2024-03-01T20:00", ..Plot::default() }.town(fresh).await;
    let batches = |offset: u32| {
        let how = How { batch_size: Some(8), offset, ..How::by(Strategy::BySecurity) };
        Request { how, ..request(Strategy::BySecurity, "2024-01-02", "2024-02-29") }
    };
    let first = town.engine.prerequisites(None).await.unwrap();
    town.engine.sync(first, &Stop::default(), &|_, _| {}).await.unwrap();
    let codes: Vec<String> = town.market.securities().iter().map(|security| security.code.to_string()).collect();
    let planned = town.engine.plan("daily", &batches(10), &[]).await.unwrap().plan;
    let labels: Vec<&str> = planned.groups.iter().map(|group| group.label.as_str()).collect();
    assert_eq!(labels[0], "batch 1 (offset 10, 8 securities)");
    assert!(planned.reason.ends_with(&format!("ends at offset {}", codes.len())), "{}", planned.reason);
    let seen = std::sync::Mutex::new(None);
    let see = |_: &str, progress: tokio::sync::watch::Receiver<Progress>| *seen.lock().unwrap() = Some(progress);
    let synced = town.engine.sync(vec![("daily".into(), batches(10))], &Stop::default(), &see).await.unwrap();
    let task = synced[0].task.clone().unwrap();
    assert_eq!(task.outcome, Some(Outcome::Success), "{:?}", task.note);
    let totals = task.totals;
    let progress = seen.lock().unwrap().take().unwrap().borrow().clone();
    let told: Vec<&str> = progress.groups.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(told, labels, "progress names the batches");
    assert_eq!(progress.group(), labels.last().copied());
    let asked = town.asked("daily", "ts_code", 0);
    let mut sorted = asked.clone();
    sorted.sort();
    assert_eq!(asked, sorted, "in the order of the codes");
    assert!(asked.iter().all(|code| codes[10..].contains(code)), "{asked:?}");
    assert_eq!(asked.len() as u64, totals.slices_done);
    assert!(planned.groups.len() >= codes[10..].len() / 8);
    // The batch at the end of the list is empty: nothing is asked.
    let before = town.served();
    let after = town.green("daily", batches(codes.len() as u32)).await;
    assert_eq!((after.slices_planned, town.calls("daily", before).len()), (0, 0));
    town.green("daily", batches(0)).await;
    town.assert_truth("daily", Securities::All, "2024-01-02", "2024-02-29").await;
}

pub async fn days_and_periods_are_asked_one_by_one_where_that_is_the_strategy(fresh: Fresh) {
    let town = Plot { last: "2024-11-29", now: "2024-12-15T20:00", ..Plot::default() }.town(fresh).await;
    // One security would be one call; by day it is one a day.
    let codes = Securities::one(town.market.securities().iter().next().unwrap().code.clone());
    let by_day = Request { securities: codes, ..request(Strategy::ByDay, "2024-01-02", "2024-01-12") };
    town.green("daily", by_day).await;
    assert_eq!(town.asked("daily", "trade_date", 0), town.open_days("2024-01-02", "2024-01-12"));
    town.assert_truth("daily", Securities::All, "2024-01-02", "2024-01-12").await;
    town.sync("income_vip", request(Strategy::ByPeriod, "2024-03-31", "2024-09-30")).await;
    assert_eq!(town.asked("income_vip", "period", 0), ["20240331", "20240630", "20240930"]);
    let refused = town.sync("daily", request(Strategy::ByPeriod, "2024-01-02", "2024-01-31")).await;
    assert!(refused.error.unwrap().message().contains("only by day, security"));
}

pub async fn an_incremental_run_takes_each_missing_day_on_its_own_and_one_bad_day_does_not_stop_the_rest(fresh: Fresh) {
    // The day fails in all four attempts of the second run, and is whole afterwards.
    let faults = vec![failing("20240117").at(1..=4)];
    let town = Plot { faults, ..Plot::default() }.town(fresh).await;
    town.green("daily", request(Strategy::FewestCalls, "2024-01-02", "")).await;
    town.set_clock("2024-01-19T20:00");
    let before = town.served();
    let synced = town.sync("daily", request(Strategy::Incremental, "", "")).await;
    let task = synced.task.unwrap();
    assert_eq!(task.outcome, Some(Outcome::SuccessWithErrors), "{:?}", task.note);
    assert_eq!((task.totals.slices_planned, task.totals.slices_done, task.totals.slices_failed), (5, 4, 1));
    let asked: BTreeSet<String> = town.asked("daily", "trade_date", before).into_iter().collect();
    let missing = town.open_days("2024-01-13", "2024-01-19");
    assert_eq!(asked, missing.into_iter().collect::<BTreeSet<_>>(), "the missing days, no other");
    town.assert_truth("daily", Securities::All, "2024-01-18", "2024-01-19").await;
    // The next evening: the bad day first, then the new one.
    town.set_clock("2024-01-22T20:00");
    let before = town.served();
    town.green("daily", request(Strategy::Incremental, "", "")).await;
    assert_eq!(town.asked("daily", "trade_date", before), ["20240117", "20240122"]);
    town.assert_truth("daily", Securities::All, "2024-01-02", "2024-01-22").await;
    let before = town.served();
    town.green("daily", request(Strategy::Incremental, "", "")).await;
    assert!(town.calls("daily", before).is_empty(), "asking twice is asking once");
}

pub async fn late_corrections_are_caught_by_the_look_back_window(fresh: Fresh) {
    let corrected = Fault::LateCorrection { column: Some("amount".into()), every: 3 };
    let faults = vec![daily(corrected).with("trade_date", "20240111").at(2..=u64::MAX)];
    let town = Plot { faults, ..Plot::default() }.town(fresh).await;
    town.green("daily", request(Strategy::FewestCalls, "2024-01-02", "")).await;
    town.set_clock("2024-01-13T20:00");
    let blind = town.green("daily", request(Strategy::Incremental, "", "")).await;
    assert_eq!(blind.calls, 0, "the days are final, so nothing is asked without a window");
    let looking = || {
        let how = How { look_back: Some(3), ..How::by(Strategy::Incremental) };
        Request { how, ..request(Strategy::Incremental, "", "") }
    };
    let before = town.served();
    let found = town.green("daily", looking()).await;
    assert_eq!(town.asked("daily", "trade_date", before), ["20240110", "20240111", "20240112"]);
    assert!(found.rows_updated > 0 && found.rows_unchanged > 0 && found.rows_withdrawn == 0, "{found:?}");
    assert_eq!(town.green("daily", looking()).await.calls, 0, "what was just looked at is not looked at again");
}

pub async fn a_range_is_refused_beyond_ninety_days_and_told_day_by_day(fresh: Fresh) {
    let faults =
        vec![failing("20240110"), daily(Fault::HalfPublished { fraction: 0.5 }).with("trade_date", "20240119")];
    let town = Plot { faults, now: "2024-01-19T20:00", ..Plot::default() }.town(fresh).await;
    for (from, to) in [("2023-10-01", "2023-12-30"), ("2024-01-01", "")] {
        let refused = town.sync("daily", request(Strategy::Range, from, to)).await;
        let error = refused.error.unwrap();
        assert_eq!((error.kind(), refused.task.is_none()), (ErrorKind::Invalid, true), "{error}");
        assert!(error.hint_text().is_some());
    }
    assert!(town.calls("daily", 0).is_empty(), "refused at once");
    town.green("daily", request(Strategy::FewestCalls, "2024-01-02", "2024-01-04")).await;
    let before = town.served();
    let synced = town.sync("daily", request(Strategy::Range, "2024-01-01", "2024-01-21")).await;
    let report = synced.days.unwrap();
    let asked: BTreeSet<String> = town.asked("daily", "trade_date", before).into_iter().collect();
    assert!(!asked.contains("20240103") && asked.contains("20240105"), "days that are done are not asked for");
    let counts = report.counts;
    let open = town.open_days("2024-01-01", "2024-01-19").len() as u64;
    assert_eq!((counts.done_before, counts.partial, counts.failed), (3, 1, 1), "{report:#?}");
    assert_eq!(counts.success, open - 5);
    assert_eq!((counts.closed, counts.not_due, counts.pending), (21 - open, 0, 0));
    let of = |text: &str| report.days.iter().find(|status| status.day == day(text)).unwrap();
    assert_eq!((of("20240106").state, of("20240106").why.as_str()), (DayState::Skipped, "not a trading day"));
    assert_eq!((of("20240103").state, of("20240103").why.as_str()), (DayState::Skipped, "done before"));
    assert_eq!((of("20240110").state, of("20240110").rows), (DayState::Failed, 0));
    assert!(of("20240119").state == DayState::Partial && of("20240119").rows > 0);
    assert!(of("20240105").millis.is_some() && of("20240103").millis.is_none());
    // Later: the same, from the ledger alone; only "done before" is what it is, done.
    let later = town.engine.days("daily", report.span).await.unwrap();
    assert_eq!((later.counts.success, later.counts.partial, later.counts.failed), (open - 2, 1, 1));
    let took = |days: &[tidegate::plan::DayStatus]| days.iter().map(|status| status.millis).collect::<Vec<_>>();
    assert_eq!(took(&later.days), took(&report.days), "what each day took is known later, too");
    let events = town.fresh.store.events(0, 100_000).await.unwrap();
    let told = events.iter().find(|event| event.kind == EventType::RangeFinished).unwrap();
    assert_eq!((&told.data["failed"], &told.data["skipped"]), (&1.into(), &(counts.skipped()).into()));
    // Nothing is kept for the list: the pure function over the ledger says the same.
    let dataset = town.engine.catalog.get("daily").unwrap();
    let knowledge = tidegate::engine::knowledge::read(&*town.fresh.store).await.unwrap();
    let coverage = town.fresh.store.coverage("daily").await.unwrap();
    let failures = town.fresh.store.failures(Some("daily"), false).await.unwrap();
    let pure = day_statuses(dataset, &knowledge, &coverage, &failures, report.span, town.engine.clock.now());
    assert!(pure.iter().zip(&later.days).all(|(pure, told)| pure.state == told.state));
}

pub async fn several_periods_are_synced_in_one_go(fresh: Fresh) {
    let town = Plot { now: "2024-03-01T20:00", ..Plot::default() }.town(fresh).await;
    let periods = ["daily", "weekly", "monthly"];
    let wanted = periods.map(|name| (name.to_string(), request(Strategy::FewestCalls, "2024-01-02", "2024-02-29")));
    let unseen = |_: &str, _: tokio::sync::watch::Receiver<Progress>| {};
    let synced = town.engine.sync(wanted.to_vec(), &Stop::default(), &unseen).await.unwrap();
    let green = |one: &&Synced| one.task.as_ref().is_some_and(|task| task.outcome == Some(Outcome::Success));
    assert!(synced.iter().all(|one| green(&one)), "{synced:?}");
    for name in periods {
        town.assert_truth(name, Securities::All, "2024-01-02", "2024-02-29").await;
    }
    let days = |name: &str| town.asked(name, "trade_date", 0);
    assert_eq!(days("weekly")[..3], ["20240105", "20240112", "20240119"], "the last trading days of weeks");
    assert_eq!(days("monthly"), ["20240131", "20240229"]);
}

/// Codes whose report of a period is disclosed within some days, as the market plans it.
async fn disclosed_within(town: &Town, period: &str, from: &str, to: &str) -> Vec<String> {
    use arrow_array::{Array, cast::AsArray, types::Date32Type};
    let dataset = town.engine.catalog.get("disclosure_date").unwrap();
    let columns = ["ts_code", "pre_date", "actual_date"].map(str::to_string).to_vec();
    let query = Query { columns, ..Query::area(dataset, &Area::day(day(period))) };
    let batches: Vec<RecordBatch> = town.fresh.store.scan(&query).await.unwrap().try_collect().await.unwrap();
    let mut codes = Vec::new();
    for batch in &batches {
        let (planned, actual) =
            (batch.column(1).as_primitive::<Date32Type>(), batch.column(2).as_primitive::<Date32Type>());
        for row in 0..batch.num_rows() {
            let at = if actual.is_valid(row) { actual.value(row) } else { planned.value(row) };
            if (day(from)..=day(to)).contains(&Day(at)) {
                codes.push(batch.column(0).as_string::<i32>().value(row).to_string());
            }
        }
    }
    codes.sort();
    codes
}

pub async fn statements_are_asked_for_in_the_order_failures_disclosed_missing(fresh: Fresh) {
    let plot = Plot { first: "2023-01-03", last: "2024-11-29", now: "2024-10-10T20:00", ..Plot::default() };
    let victim = "000002.SZ";
    let fault = Rule::always(Fault::ServerError { status: 500 }).of("fina_indicator").with("ts_code", victim);
    // The first run's six attempts fail.
    let town = Plot { securities: 40, faults: vec![fault.at(1..=6)], ..plot }.town(fresh).await;
    let disclosures = || request(Strategy::FewestCalls, "2024-09-30", "2024-09-30");
    town.sync("disclosure_date", disclosures()).await;
    let statements = || request(Strategy::Statements, "2024-09-30", "2024-09-30");
    let first = town.sync("fina_indicator", statements()).await.task.unwrap();
    assert_eq!(first.totals.slices_failed, 1, "{:?}", first.note);
    // Two weeks later some reports are out.
    town.set_clock("2024-10-26T20:00");
    town.sync("disclosure_date", disclosures()).await;
    let planned = town.engine.plan("fina_indicator", &statements(), &[]).await.unwrap().plan;
    let before = town.served();
    town.sync("fina_indicator", statements()).await;
    let asked = town.asked("fina_indicator", "ts_code", before);
    let mut disclosed = disclosed_within(&town, "2024-09-30", "2024-10-10", "2024-10-26").await;
    disclosed.retain(|code| code != victim);
    assert!(disclosed.len() > 2, "the market has too few reports for this test: {disclosed:?}");
    assert_eq!(asked[0], victim, "the failure comes first: {asked:?}");
    assert_eq!(asked[1..=disclosed.len()], disclosed[..], "then what was disclosed: {}", planned.reason);
    let missing = &asked[1 + disclosed.len()..];
    let later = disclosed_within(&town, "2024-09-30", "2024-10-27", "2024-12-31").await;
    assert!(missing.iter().all(|code| !later.contains(code)), "whose report is not due is left alone: {missing:?}");
    let labels: Vec<&str> = planned.groups.iter().map(|group| group.label.as_str()).collect();
    assert_eq!(labels[..2], ["failures", "disclosed"], "the plan says so");
    // The next day nothing new is out: nobody is asked again.
    town.set_clock("2024-10-26T23:00");
    let before = town.served();
    town.green("fina_indicator", statements()).await;
    assert_eq!(town.calls("fina_indicator", before).len(), 0);
}

pub async fn a_full_replacement_changes_nothing_before_everything_is_there(fresh: Fresh) {
    let corrected = Fault::LateCorrection { column: Some("amount".into()), every: 2 };
    let mut faults = vec![failing("20240111").at(2..=5)];
    faults.extend(["20240103", "20240110"].map(|day| daily(corrected.clone()).with("trade_date", day).at(2..=2)));
    let town = Plot { faults, concurrency: 4, ..Plot::default() }.town(fresh).await;
    town.green("daily", request(Strategy::FewestCalls, "2024-01-02", "2024-01-12")).await;
    let all = || Query::all("daily");
    let old = town.collect(&*town.fresh.store, &all()).await;
    let replace = || Request { force: true, ..request(Strategy::FullReplace, "2024-01-02", "2024-01-12") };
    let failed = town.sync("daily", replace()).await.task.unwrap();
    assert_eq!(failed.outcome, Some(Outcome::SuccessWithErrors), "{:?}", failed.note);
    assert_eq!((failed.totals.slices_failed, failed.totals.slices_done), (1, 0), "{:?}", failed.totals);
    assert_eq!(town.collect(&*town.fresh.store, &all()).await, old, "one answer is missing: nothing has changed");
    let events = town.fresh.store.events(0, 100_000).await.unwrap().last().unwrap().id;
    let totals = town.green("daily", replace()).await;
    assert_eq!(totals.rows_unchanged + totals.rows_updated, old.num_rows() as u64);
    // One commit writes them all: their events follow each other.
    let events = town.fresh.store.events(events, 100_000).await.unwrap();
    let written: Vec<u64> =
        events.iter().filter(|event| event.kind == EventType::SliceCommitted).map(|event| event.id).collect();
    assert_eq!(written.len(), town.open_days("2024-01-02", "2024-01-12").len());
    assert!(
        events
            .iter()
            .filter(|event| (written[0]..=written[written.len() - 1]).contains(&event.id))
            .all(|event| { matches!(event.kind, EventType::SliceCommitted | EventType::FailureResolved) })
    );
}

pub async fn merging_keeps_what_the_source_no_longer_sends(fresh: Fresh) {
    let withdrawn = daily(Fault::WithdrawnRows { every: 4 }).with("trade_date", "20240103");
    let town = Plot { faults: vec![withdrawn.at(2..=u64::MAX)], ..Plot::default() }.town(fresh).await;
    let again = |strategy| Request { force: true, ..request(strategy, "2024-01-02", "2024-01-04") };
    town.green("daily", again(Strategy::FewestCalls)).await;
    let rows = town.rows("daily").await;
    let merged = town.green("daily", again(Strategy::Merge)).await;
    assert_eq!((merged.rows_withdrawn, town.rows("daily").await), (0, rows));
    let replaced = town.green("daily", again(Strategy::FewestCalls)).await;
    assert!(replaced.rows_withdrawn > 0, "as a contrast");
}

pub async fn conflict_rules_hold_through_a_whole_run(fresh: Fresh) {
    let corrected = Fault::LateCorrection { column: Some("amount".into()), every: 3 };
    let faults = vec![daily(corrected).with("trade_date", "20240103").at(2..=2)];
    let daily = vec![("policy.conflict = \"replace\"", "policy.conflict = \"manual\"")];
    let town = Plot { faults, daily, ..Plot::default() }.town(fresh).await;
    let again = || Request { force: true, ..request(Strategy::FewestCalls, "2024-01-02", "2024-01-04") };
    town.green("daily", again()).await;
    let before = town.collect(&*town.fresh.store, &Query::all("daily")).await;
    let task = town.sync("daily", again()).await.task.unwrap();
    assert!(task.totals.rows_conflicting > 0, "{:?}", task.totals);
    let accounted = task.totals.rows_unchanged + task.totals.rows_conflicting;
    assert_eq!(task.totals.rows_answered, accounted, "every row that was answered is accounted for");
    assert_eq!(task.outcome, Some(Outcome::SuccessWithErrors));
    assert!(task.note.unwrap().contains("rows in conflict wait for a decision"));
    assert_eq!(town.collect(&*town.fresh.store, &Query::all("daily")).await, before, "what is stored stays");
    let waiting = town.fresh.store.conflicts(Some("daily"), false, 1_000).await.unwrap();
    assert_eq!(waiting.len() as u64, task.totals.rows_conflicting);
    let taken = town.engine.resolve_conflict(waiting[0].id, Take::Offered).await.unwrap();
    town.engine.resolve_conflict(waiting[1].id, Take::Stored).await.unwrap();
    let after = town.collect(&*town.fresh.store, &Query::all("daily")).await;
    assert_ne!(after, before);
    assert_eq!(after.num_rows(), before.num_rows());
    let over = town.engine.resolve_conflict(taken.id, Take::Stored).await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::Conflict);
    // The source sends what it sent at first: the other conflicts are over by themselves.
    town.sync("daily", again()).await;
    let left = town.fresh.store.conflicts(Some("daily"), false, 1_000).await.unwrap();
    assert_eq!(left.len(), 1, "only the row that was taken from the offer differs now");
    assert_eq!(left[0].key, taken.key);
}

/// Moves the clock instead of waiting, and stops after so many polls.
struct Leaps {
    now: Arc<AtomicI64>,
    waits: std::sync::Mutex<Vec<String>>,
    polls_max: usize,
}

impl Waiting for Leaps {
    async fn until(&self, at: Instant) -> bool {
        let mut waits = self.waits.lock().unwrap();
        if waits.len() == self.polls_max {
            return false;
        }
        waits.push(at.to_string()[..19].to_string());
        self.now.store(at.0, Ordering::SeqCst);
        true
    }
}

pub async fn realtime_tables_are_polled_in_trading_hours_only(fresh: Fresh) {
    let town = Plot { now: "2024-01-12T11:28", ..Plot::default() }.town(fresh).await;
    town.green("daily", request(Strategy::FewestCalls, "2024-01-11", "2024-01-11")).await;
    for (dataset, start, polls_max, expected) in [
        (
            "kpl_list",
            "2024-01-12T11:29",
            5,
            &["12T11:29:00", "12T11:29:30", "12T11:30:00", "12T13:00:00", "12T13:00:30"][..],
        ),
        ("ths_hot", "2024-01-12T14:59", 4, &["12T14:59:00", "12T15:00:00", "15T09:15:00", "15T09:16:00"][..]),
        ("kpl_concept", "2024-01-13T10:00", 1, &["15T09:15:00"][..]),
    ] {
        town.set_clock(start);
        let before = town.served();
        let leaps = Leaps { now: town.now.clone(), waits: Default::default(), polls_max };
        let mut told = Vec::new();
        let mut tell = |at: Instant, synced: &[Synced]| {
            let polled = synced.iter().find(|one| one.dataset == dataset).unwrap();
            told.push((at, polled.task.as_ref().unwrap().outcome));
        };
        town.engine.poll(dataset, Pace::default(), &Stop::default(), &leaps, &mut tell).await.unwrap();
        let waits = leaps.waits.into_inner().unwrap();
        let expected: Vec<String> = expected.iter().map(|at| format!("2024-01-{at}")).collect();
        assert_eq!(waits, expected, "{dataset}");
        assert!(told.len() == polls_max && told.iter().all(|(_, outcome)| *outcome == Some(Outcome::Success)));
        let calls = town.calls(dataset, before);
        let table = town.engine.catalog.get(dataset).unwrap().tushare.as_ref().unwrap();
        let calls_per_slice: usize = table.facets.values().map(Vec::len).product();
        assert_eq!(calls.len(), polls_max * calls_per_slice, "every poll asks once, though the day is claimed");
        assert!(calls.iter().all(|call| call.params["trade_date"] == call.at.day().compact()), "the running day");
    }
    let leaps = Leaps { now: town.now.clone(), waits: Default::default(), polls_max: 1 };
    let timeless = town.engine.poll("stock_basic", Pace::default(), &Stop::default(), &leaps, &mut |_, _| {}).await;
    assert_eq!(timeless.unwrap_err().kind(), ErrorKind::Invalid);
}

pub async fn partitions_are_worked_on_side_by_side(fresh: Fresh) {
    // The first answers take so long that every worker is at its own first slice.
    let faults = vec![daily(Fault::SlowAnswer { millis: 300 }).at(1..=4)];
    let plot = Plot { last: "2024-04-30", now: "2024-05-20T20:00", concurrency: 4, faults, ..Plot::default() };
    let town = plot.town(fresh).await;
    let partitions = Request {
        how: How { partitions: Some(4), ..How::by(Strategy::Partitions) },
        ..request(Strategy::Partitions, "2024-01-02", "2024-04-30")
    };
    let first = town.engine.prerequisites(None).await.unwrap();
    town.engine.sync(first, &Stop::default(), &|_, _| {}).await.unwrap();
    let planned = town.engine.plan("daily", &partitions, &[]).await.unwrap().plan;
    assert_eq!(planned.groups.len(), 4, "{}", planned.reason);
    assert!(planned.reason.contains("4 partitions by"), "{}", planned.reason);
    town.green("daily", partitions).await;
    let calls = town.calls("daily", 0);
    assert_eq!(calls.len() as u64, planned.calls);
    let partition = |call: &Served| {
        let area = match (call.params.get("ts_code"), call.params.get("trade_date")) {
            (Some(code), _) => Area::new(Securities::one(code.as_str()), Span::ALL),
            (None, Some(at)) => Area::day(day(at)),
            other => panic!("{other:?}"),
        };
        let slice = planned.slices.iter().find(|slice| {
            slice.area.securities == area.securities && (slice.area.span == area.span || area.span.is_all())
        });
        tidegate::plan::partition_of(slice.unwrap(), 4)
    };
    let at_first: BTreeSet<usize> = calls[..4].iter().map(partition).collect();
    assert_eq!(at_first.len(), 4, "the first four calls belong to four partitions");
    town.assert_truth("daily", Securities::All, "2024-01-02", "2024-04-30").await;
}

pub async fn the_last_sync_of_a_security_is_what_the_claims_say(fresh: Fresh) {
    let town = Plot { now: "2024-10-26T20:00", last: "2024-11-29", ..Plot::default() }.town(fresh).await;
    let code = town.market.securities().iter().next().unwrap().code.clone();
    let one = Request {
        securities: Securities::one(code.clone()),
        ..request(Strategy::BySecurity, "2024-06-30", "2024-09-30")
    };
    town.sync("fina_indicator", one).await;
    let last = town.engine.last_syncs("fina_indicator").await.unwrap();
    let (asked, never): (Vec<_>, Vec<_>) = last.into_iter().partition(|last| last.at.is_some());
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (&asked[0].code, asked[0].at, asked[0].until),
        (&code, Some(instant("2024-10-26T20:00")), Some(day("20240930")))
    );
    assert!(never.len() > 20);
}

//! One simulated market behind two doors that speak different dialects: what one fails to give, the other gives, in the
//! same rows, and only in the columns that are proven equal.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use tidegate::catalog::Catalog;
use tidegate::check::Columns;
use tidegate::compare::{ColumnReport, Side, compare};
use tidegate::engine::{Engine, Options, Stop, together::Synced};
use tidegate::model::task::Request;
use tidegate::model::{Area, Clock, Day, Instant, Outcome, Query, Securities, Task};
use tidegate::plan::{Audit, Served, audit};
use tidegate::sim::{
    AkshareForm, AkshareServer, BaostockServer, BaostockServerOptions, Fault, FaultScript, Market, MarketOptions, Rule,
    Server, ServerOptions,
};
use tidegate::source::Source;
use tidegate::source::akshare::{AkshareOptions, AkshareSource};
use tidegate::source::baostock::{BaostockOptions, BaostockSource};
use tidegate::source::tushare::{TushareOptions, TushareSource};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

/// An evening on which everything in the market has been published.
const EVENING: &str = "2024-02-29T23:30:00+08:00";

fn clock(text: &str) -> Clock {
    Clock::fixed(Instant::parse(text).unwrap())
}

fn market() -> Market {
    market_of(60)
}

fn market_of(securities: usize) -> Market {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let day = |text| Day::parse(text).unwrap();
    let options = MarketOptions::new(catalog, day("20240102"), day("20240229"));
    Market::new(MarketOptions { securities, clock: clock(EVENING), ..options })
}

async fn tushare(market: &Market, rules: Vec<Rule>) -> (Server, TushareSource) {
    let server = Server::start(market, FaultScript::new(rules), ServerOptions::default()).await.unwrap();
    let options =
        TushareOptions { url: server.url(), token: "any".to_string(), points: 15_000, ..TushareOptions::default() };
    (server, TushareSource::new(options, clock(EVENING)).unwrap())
}

async fn akshare(market: &Market, rank: u8) -> (AkshareServer, AkshareSource) {
    let server = crate::akshare::serve(market, AkshareForm::Aktools, Vec::new()).await;
    let options =
        AkshareOptions { rank, per_minute: None, ..crate::akshare::options(&server.url(), AkshareForm::Aktools) };
    (server, AkshareSource::new(options, clock(EVENING)).unwrap())
}

async fn baostock(market: &Market) -> (BaostockServer, BaostockSource) {
    let (scan, options) = (Arc::new(market.clone()), BaostockServerOptions::default());
    let server = BaostockServer::start(scan, market.catalog().clone(), clock(EVENING), options).await.unwrap();
    let options = BaostockOptions { address: server.address(), ..BaostockOptions::default() };
    (server, BaostockSource::new(options, clock(EVENING)).unwrap())
}

async fn open(path: &Path, catalog: &Catalog) -> Arc<dyn Store> {
    let options = SqliteOptions { create: true, ..SqliteOptions::default() };
    let store = SqliteStore::open(path, options, clock(EVENING)).unwrap();
    store.prepare(catalog.datasets()).await.unwrap();
    Arc::new(store)
}

/// Syncs the market's days of `daily` from these sources at `at`, with what it depends on.
async fn sync(store: &Arc<dyn Store>, market: &Market, sources: Vec<Arc<dyn Source>>, at: &str) -> Task {
    let options = Options { retry_first_ms: 1, retry_cap_ms: 5, ..Options::default() };
    let engine = Engine::new(store.clone(), market.catalog().clone(), sources, options, clock(at));
    let days = market.days();
    let (from, to) = (Some(days.from.to_string()), Some(days.to.to_string()));
    let request = Request { from, to, ..Request::everything() };
    let synced: Vec<Synced> =
        engine.sync(vec![("daily".to_string(), request)], &Stop::default(), &|_, _| {}).await.unwrap();
    let daily = synced.into_iter().find(|one| one.dataset == "daily").unwrap();
    assert!(daily.error.is_none(), "{:?}", daily.error);
    daily.task.unwrap()
}

/// The rows of Shanghai and Shenzhen, which BaoStock has, stored and true, column by column.
async fn against_truth(store: &Arc<dyn Store>, market: &Market) -> Vec<ColumnReport> {
    let dataset = market.catalog().get("daily").unwrap().clone();
    let area = Area::new(Securities::All, market.days());
    let stored: Vec<RecordBatch> =
        store.scan(&Query::area(&dataset, &area)).await.unwrap().try_collect().await.unwrap();
    let stored = arrow_select::concat::concat_batches(&dataset.schema(), &stored).unwrap();
    let truth = market.truth("daily", &area).unwrap();
    let wanted = tidegate::compare::Wanted { examples_max: 3, columns: Vec::new() };
    let (left, right) = (Side { name: "store", batch: &stored }, Side { name: "baostock", batch: &truth });
    let report = compare(&dataset, left, right, &wanted);
    let beijing = Columns::new(&truth);
    let codes = beijing.get("ts_code").unwrap();
    let beijing = (0..truth.num_rows()).filter(|row| codes.text(*row).unwrap().ends_with(".BJ")).count() as u64;
    assert_eq!(report.only_left, 0, "no row is invented: {:?}", report.missing_right);
    assert!(report.only_right <= beijing, "only Beijing is missing: {:?}", report.missing_left);
    report.columns
}

#[tokio::test]
async fn what_tushare_fails_to_give_comes_from_baostock_in_the_same_rows() {
    let market = market();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("market.db"), market.catalog()).await;
    let dies = vec![Rule::always(Fault::DropConnection).of("daily").at(11..=u64::MAX)];
    let (_server, first) = tushare(&market, dies).await;
    let (_baostock, second) = baostock(&market).await;
    let dataset = market.catalog().get("daily").unwrap().clone();
    let lacks = second.offer(&dataset).unwrap().lacks;
    let second: Arc<dyn Source> = Arc::new(second);
    let task = sync(&store, &market, vec![Arc::new(first), second.clone()], EVENING).await;
    assert_eq!(task.outcome, Some(Outcome::Success), "{:?}", task.note);
    let by_source = &task.totals.by_source;
    assert_eq!(by_source["tushare"].slices, 10, "{by_source:?}");
    assert!(by_source["baostock"].rows > 0 && task.note.as_ref().unwrap().contains("served by"), "{:?}", task.note);
    for column in against_truth(&store, &market).await {
        assert_eq!(column.different, 0, "{column:?}");
        let lacked = lacks.contains(&column.name);
        assert_eq!(column.null_left > 0, lacked, "only what BaoStock lacks is missing: {column:?}");
    }
    // Two days later Tushare answers again: it completes rows and columns, and nothing is left to BaoStock.
    let (_server, well) = tushare(&market, Vec::new()).await;
    let task = sync(&store, &market, vec![Arc::new(well), second], "2024-03-02T23:30:00+08:00").await;
    assert_eq!(task.outcome, Some(Outcome::Success), "{:?}", task.note);
    assert!(!task.totals.by_source.contains_key("baostock"), "{:?}", task.totals.by_source);
    for column in against_truth(&store, &market).await {
        assert_eq!((column.different + column.rounding, column.null_left), (0, 0), "{column:?}");
    }
}

/// The audit of the market's days of `daily`, served by these sources.
async fn audited(store: &Arc<dyn Store>, market: &Market, sources: &[Arc<dyn Source>]) -> Audit {
    let dataset = market.catalog().get("daily").unwrap();
    let knowledge = tidegate::engine::knowledge::read(&**store).await.unwrap();
    let (coverage, failures) = (store.coverage("daily").await.unwrap(), store.failures(None, false).await.unwrap());
    let offers =
        sources.iter().map(|source| (source.name().to_string(), source.offer(dataset).unwrap().lacks_exchanges));
    let now = Instant::parse(EVENING).unwrap();
    audit(dataset, &knowledge, &coverage, &failures, &Served::new(offers), Some(market.days()), now)
}

/// The days of the market on which shares of Beijing are listed, counted share by share.
async fn cells_of_beijing(store: &Arc<dyn Store>, market: &Market) -> u64 {
    let knowledge = tidegate::engine::knowledge::read(&**store).await.unwrap();
    let theirs = || knowledge.securities.iter().filter(|security| security.code.ends_with(".BJ"));
    let days = market.calendar().open_days(market.days());
    days.iter().map(|day| theirs().filter(|share| share.life().contains(*day)).count() as u64).sum()
}

#[tokio::test]
async fn what_baostock_has_not_stays_open_and_named_and_comes_from_akshare() {
    let market = market_of(240);
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("market.db"), market.catalog()).await;
    let dead = || vec![Rule::always(Fault::DropConnection).of("daily")];
    let (_server, first) = tushare(&market, dead()).await;
    let (_baostock, second) = baostock(&market).await;
    let second: Arc<dyn Source> = Arc::new(second);
    let task = sync(&store, &market, vec![Arc::new(first), second.clone()], EVENING).await;
    let beijing = cells_of_beijing(&store, &market).await;
    assert!(beijing > 0);
    assert!(task.note.as_ref().unwrap().contains("baostock has no securities of BJ"), "{:?}", task.note);
    let alone = std::slice::from_ref(&second);
    let found = audited(&store, &market, alone).await;
    assert_eq!(found.unexplained, beijing, "exactly the cells of Beijing: {:?}", found.holes);
    assert_eq!(found.holes.iter().map(|hole| hole.cells).sum::<u64>(), beijing);
    for hole in &found.holes {
        assert_eq!(hole.reason, "baostock has no securities of BJ: enable another source");
    }
    // BaoStock is not asked again for what it has not.
    let again = sync(&store, &market, vec![second.clone()], EVENING).await;
    assert_eq!((again.totals.calls, again.outcome), (0, Some(Outcome::Success)), "{:?}", again.note);
    assert_eq!(audited(&store, &market, alone).await.unexplained, beijing);

    // AKShare, asked last, is asked for Beijing only.
    let (_server, first) = tushare(&market, dead()).await;
    let (served, third) = akshare(&market, 4).await;
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(first), second, Arc::new(third)];
    let task = sync(&store, &market, sources.clone(), EVENING).await;
    assert_eq!(task.outcome, Some(Outcome::Success), "{:?}", task.note);
    let asked = served.served();
    let bars: Vec<_> = asked.iter().filter(|one| one.api == "stock_zh_a_hist").collect();
    let shares = market.truth("stock_basic", &Area::whole()).unwrap();
    let codes = Columns::new(&shares);
    let of_beijing =
        (0..shares.num_rows()).filter(|row| codes.get("ts_code").unwrap().text(*row).unwrap().ends_with(".BJ"));
    assert!(!bars.is_empty() && bars.len() <= of_beijing.count(), "{}", bars.len());
    assert!(!task.totals.by_source.contains_key("baostock"), "{:?}", task.totals.by_source);
    let found = audited(&store, &market, &sources).await;
    assert_eq!((found.unexplained, found.holes.len()), (0, 0), "{:?}", found.holes);
    let truth = market.truth("daily", &Area::new(Securities::All, market.days())).unwrap();
    assert_eq!(found.cells.present, truth.num_rows() as u64, "every row of the market is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_that_gave_nothing_failed_at_is_resolved_by_the_one_that_answered() {
    let market = market();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("market.db"), market.catalog()).await;
    let (_first_server, first) = tushare(&market, vec![Rule::always(Fault::DropConnection).of("trade_cal")]).await;
    let (_second_server, second) = akshare(&market, 2).await;
    sync(&store, &market, vec![Arc::new(first), Arc::new(second)], EVENING).await;
    // Tushare is asked for spans of the calendar, AKShare for all of it: the areas differ.
    let failures = store.failures(Some("trade_cal"), true).await.unwrap();
    let told: Vec<_> = failures.iter().map(|failure| (&*failure.source, failure.resolution.as_deref())).collect();
    assert_eq!(told, [("tushare", Some("answered by akshare"))]);
    let task = store.tasks(10).await.unwrap().into_iter().find(|task| task.dataset == "trade_cal").unwrap();
    assert_eq!((task.outcome, task.totals.slices_failed), (Some(Outcome::Success), 0), "{task:?}");
}

//! One simulated market through Tushare's dialect, through AKTools' and through the Eastmoney pages: the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, RecordBatch};
use arrow_select::concat::concat_batches;
use tidegate::catalog::Catalog;
use tidegate::check::Columns;
use tidegate::engine::{Engine, Options};
use tidegate::model::dataset::{Agreement, Cut};
use tidegate::model::{Area, Clock, Dataset, Day, ErrorKind, Instant, Securities, Slice, Span};
use tidegate::sim::{
    AkshareForm, AkshareServer, Fault, FaultScript, Market, MarketOptions, Rule, Server, ServerOptions,
};
use tidegate::source::akshare::{AkshareOptions, AkshareSource, Via};
use tidegate::source::baostock::{BaostockOptions, BaostockSource};
use tidegate::source::tushare::{TushareOptions, TushareSource};
use tidegate::source::{Call, Page, Source};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

pub fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

pub fn clock() -> Clock {
    Clock::fixed(Instant::parse("2024-04-30T23:30:00+08:00").unwrap())
}

pub fn market() -> Market {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    Market::new(MarketOptions { securities: 60, ..MarketOptions::new(catalog, day("20230901"), day("20240430")) })
}

pub async fn serve(market: &Market, form: AkshareForm, rules: Vec<Rule>) -> AkshareServer {
    let scan = Arc::new(market.clone());
    AkshareServer::start(scan, market.catalog().clone(), FaultScript::new(rules), form).await.unwrap()
}

pub fn options(url: &str, form: AkshareForm) -> AkshareOptions {
    AkshareOptions {
        via: if form == AkshareForm::Aktools { Via::Aktools } else { Via::Eastmoney },
        url: url.to_string(),
        history_url: url.to_string(),
        list_url: url.to_string(),
        report_url: url.to_string(),
        forecast_url: url.to_string(),
        timeout: Duration::from_secs(30),
        ..AkshareOptions::default()
    }
}

pub fn source(server: &AkshareServer, form: AkshareForm) -> AkshareSource {
    AkshareSource::new(options(&server.url(), form), clock()).unwrap()
}

pub fn call(dataset: &Arc<Dataset>, cut: usize, area: Area) -> Call {
    let slice = Slice { dataset: dataset.name.as_str().into(), area, cut, calls: 1, rows: 1 };
    Call { dataset: dataset.clone(), slice, facet: 0, offset: 0 }
}

/// Every page of every facet.
pub async fn fetch_all(source: &dyn Source, first: &Call) -> tidegate::model::Result<RecordBatch> {
    let facets = source.offer(&first.dataset).unwrap().calls_per_slice;
    let mut batches = Vec::new();
    for facet in 0..facets {
        let mut call = Call { facet, ..first.clone() };
        loop {
            let Page { batch, more, unreadable, .. } = source.fetch(&call).await?;
            assert!(unreadable.is_empty(), "{unreadable:?}");
            call.offset += batch.num_rows() as u64;
            batches.push(batch);
            if !more {
                break;
            }
        }
    }
    Ok(concat_batches(&first.dataset.schema(), &batches).unwrap())
}

/// Rows by key, each as text by column.
type Rows = BTreeMap<String, BTreeMap<String, String>>;

fn rows(dataset: &Dataset, batch: &RecordBatch) -> Rows {
    let columns = Columns::new(batch);
    let mut rows = Rows::new();
    for row in 0..batch.num_rows() {
        let object = columns.row_as_json(row);
        let cell = |name: &str| object[name].as_str().unwrap_or_default().to_string();
        let key = dataset.key.iter().map(|name| cell(name)).collect::<Vec<_>>().join(" ");
        let cells = dataset.columns.iter().map(|column| (column.name.clone(), cell(&column.name)));
        assert!(rows.insert(key, cells.collect()).is_none(), "{} repeats a key", dataset.name);
    }
    rows
}

/// How far apart two values of a column may be: what the wire rounds away.
fn tolerance(dataset: &str, column: &str) -> f64 {
    match (dataset, column) {
        // Whole lots of 100.
        ("daily" | "weekly" | "monthly", "vol") => 50.0,
        _ => 0.0,
    }
}

/// What differs between the rows of two sources, in the columns that the second one has.
fn differences(dataset: &Dataset, first: &Rows, second: &Rows) -> Vec<String> {
    let service = &dataset.akshare[0];
    let mut found = Vec::new();
    if first.keys().ne(second.keys()) {
        found.push(format!("{}: {} rows against {}", dataset.name, first.len(), second.len()));
        return found;
    }
    for (key, row) in first {
        for column in service.columns.keys() {
            let (one, two) = (&row[column], &second[key][column]);
            let near = || {
                let (one, two): (f64, f64) = (one.parse().ok()?, two.parse().ok()?);
                Some((one - two).abs() <= tolerance(&dataset.name, column))
            };
            if one != two && near() != Some(true) {
                found.push(format!("{}.{column} of {key}: {one} against {two}", dataset.name));
            }
        }
    }
    found
}

/// An area that both ways of asking can bound, and the rows of it that the market has.
fn areas(market: &Market, dataset: &Dataset) -> Vec<(usize, Area)> {
    let month = Span::new(day("20240301"), day("20240331"));
    let listed = market.securities();
    let codes: Vec<_> = listed.iter().filter(|one| one.delisted.is_none() && one.listed < day("20240101")).collect();
    let cut = &dataset.akshare[0].cuts[0];
    let one = |code: &str, span| (0, Area::new(Securities::one(code), span));
    match cut {
        Cut::Security { from: Some(_), .. } => codes.iter().step_by(3).map(|one_of| one(&one_of.code, month)).collect(),
        Cut::Security { .. } => codes.iter().step_by(9).map(|one_of| one(&one_of.code, Span::ALL)).collect(),
        Cut::Period { .. } => vec![(0, Area::new(Securities::All, Span::day(day("20231231"))))],
        _ => vec![(0, Area::whole())],
    }
}

/// Every dataset of the function list, by AKTools and by Eastmoney where it has a page.
async fn compare_with_the_market(form: AkshareForm) -> BTreeMap<String, usize> {
    let market = market();
    let server = serve(&market, form, Vec::new()).await;
    let source = source(&server, form);
    let mut compared = BTreeMap::new();
    for dataset in market.catalog().datasets() {
        if source.offer(dataset).is_none() {
            continue;
        }
        for (cut, area) in areas(&market, dataset) {
            let fetched = fetch_all(&source, &call(dataset, cut, area.clone())).await.unwrap();
            let truth = rows(dataset, &market.truth(&dataset.name, &area).unwrap());
            let truth = wanted(dataset, truth);
            let found = differences(dataset, &truth, &rows(dataset, &fetched));
            assert!(found.is_empty(), "{area}: {} differences: {:#?}", found.len(), &found[..found.len().min(5)]);
            *compared.entry(dataset.name.clone()).or_default() += truth.len();
        }
    }
    compared
}

/// The rows that the functions speak of: listed securities, and days that are known to trade or not.
fn wanted(dataset: &Dataset, mut rows: Rows) -> Rows {
    match dataset.name.as_str() {
        "stock_basic" => rows.retain(|_, row| row["list_status"] == "L"),
        "trade_cal" => {
            let open = |row: &BTreeMap<String, String>| row["is_open"] == "1";
            let days: Vec<String> = rows.values().filter(|row| open(row)).map(|row| row["cal_date"].clone()).collect();
            let (first, last) = (days.iter().min().unwrap().clone(), days.iter().max().unwrap().clone());
            rows.retain(|_, row| row["cal_date"] >= first && (row["cal_date"] <= last || &last[5..7] == "12"));
        }
        _ => {}
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_of_aktools_arrives_as_the_market_has_it() {
    let compared = compare_with_the_market(AkshareForm::Aktools).await;
    let expected = [
        "company_snapshot",
        "daily",
        "disclosure_date",
        "earnings_forecast",
        "earnings_report",
        "financial_abstract",
        "financial_analysis",
        "monthly",
        "spot",
        "stock_basic",
        "trade_cal",
        "weekly",
    ];
    assert_eq!(compared.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(compared.values().all(|rows| *rows > 0), "{compared:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_eastmoney_arrives_as_the_market_has_it() {
    let compared = compare_with_the_market(AkshareForm::Eastmoney).await;
    let expected = [
        "daily",
        "disclosure_date",
        "earnings_forecast",
        "earnings_report",
        "monthly",
        "spot",
        "stock_basic",
        "weekly",
    ];
    assert_eq!(compared.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(compared.values().all(|rows| *rows > 0), "{compared:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tushare_and_akshare_give_the_same_rows() {
    let market = market();
    let tushare = Server::start(&market, FaultScript::none(), ServerOptions::default()).await.unwrap();
    let options = TushareOptions { url: tushare.url(), points: 15_000, ..TushareOptions::default() };
    let first = TushareSource::new(options, clock()).unwrap();
    for form in [AkshareForm::Aktools, AkshareForm::Eastmoney] {
        let server = serve(&market, form, Vec::new()).await;
        let second = source(&server, form);
        for name in ["daily", "weekly", "monthly"] {
            let dataset = market.catalog().get(name).unwrap();
            for (_, area) in areas(&market, dataset) {
                let by_security =
                    dataset.tushare.as_ref().unwrap().cuts.iter().position(|cut| cut.name() == "security");
                let one = fetch_all(&first, &call(dataset, by_security.unwrap(), area.clone())).await.unwrap();
                let two = fetch_all(&second, &call(dataset, 0, area)).await.unwrap();
                let found = differences(dataset, &rows(dataset, &one), &rows(dataset, &two));
                assert!(found.is_empty(), "{form:?}: {:#?}", &found[..found.len().min(5)]);
            }
        }
    }
}

/// The comparison sees a wrong factor of every column that converts.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_unit_factor_is_seen() {
    let market = market();
    let server = serve(&market, AkshareForm::Aktools, Vec::new()).await;
    let source = source(&server, AkshareForm::Aktools);
    for (name, column, wrong) in [
        ("daily", "vol", Some("share")),
        ("weekly", "vol", Some("share_10k")),
        ("monthly", "vol", None),
        ("daily", "amount", Some("CNY_1k")),
        ("weekly", "pct_chg", None),
        ("monthly", "pct_chg", Some("fraction")),
        ("spot", "vol", None),
    ] {
        let dataset = market.catalog().get(name).unwrap();
        let mut changed = Dataset::clone(dataset);
        let served = changed.akshare[0].columns.get_mut(column).unwrap();
        assert_ne!(served.unit.as_deref(), wrong, "{name}.{column} is right already");
        served.unit = wrong.map(str::to_string);
        let changed = Arc::new(changed);
        let (cut, area) = areas(&market, dataset).remove(0);
        let fetched = fetch_all(&source, &call(&changed, cut, area.clone())).await.unwrap();
        let truth = rows(dataset, &market.truth(name, &area).unwrap());
        let found = differences(dataset, &truth, &rows(dataset, &fetched));
        assert!(found.iter().any(|text| text.contains(&format!("{name}.{column} "))), "{name}.{column}: {found:?}");
    }
}

#[test]
fn an_offer_lacks_what_is_absent_or_not_proven() {
    let catalog = Catalog::builtin().unwrap();
    let source = AkshareSource::new(AkshareOptions::default(), clock()).unwrap();
    let offer = |name: &str| source.offer(catalog.get(name).unwrap());
    assert_eq!(offer("daily").unwrap().lacks, ["pre_close", "change", "pct_chg"]);
    assert_eq!(offer("trade_cal").unwrap().lacks, [""; 0]);
    assert_eq!(offer("disclosure_date").unwrap().lacks, ["ann_date", "pre_date", "modify_date"]);
    assert_eq!(offer("adj_factor"), None);
    let rounded = &catalog.get("daily").unwrap().akshare[0].columns["vol"];
    assert_eq!(rounded.agrees, Agreement::Rounded);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_not_proven_are_read_and_named_as_lacking() {
    let market = market();
    let daily = market.catalog().get("daily").unwrap();
    let server = serve(&market, AkshareForm::Aktools, Vec::new()).await;
    let source = source(&server, AkshareForm::Aktools);
    let (cut, area) = areas(&market, daily).remove(0);
    let lacks = source.offer(daily).unwrap().lacks;
    let batch = source.fetch(&call(daily, cut, area)).await.unwrap().batch;
    assert!(batch.num_rows() > 0);
    for (column, served) in &daily.akshare[0].columns {
        assert_eq!(batch.column_by_name(column).unwrap().null_count(), 0, "{column}");
        assert_eq!(lacks.contains(column), served.agrees == Agreement::Unproven, "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_span_is_proven_by_the_days_before_it() {
    let market = market();
    let daily = market.catalog().get("daily").unwrap();
    // A holiday: no session at all between the two days.
    let holiday = Span::new(day("20240210"), day("20240212"));
    let area = Area::new(Securities::one("000001.SZ"), holiday);
    for form in [AkshareForm::Aktools, AkshareForm::Eastmoney] {
        let server = serve(&market, form, Vec::new()).await;
        let proven = source(&server, form);
        assert_eq!(fetch_all(&proven, &call(daily, 0, area.clone())).await.unwrap().num_rows(), 0, "{form:?}");
        let options = AkshareOptions { proof_days: 0, ..options(&server.url(), form) };
        let unproven = AkshareSource::new(options, clock()).unwrap();
        let error = fetch_all(&unproven, &call(daily, 0, area.clone())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{form:?} {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_reports_are_read_page_by_page_and_a_short_page_is_refused() {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let options = MarketOptions { securities: 700, ..MarketOptions::new(catalog, day("20240102"), day("20240430")) };
    let market = Market::new(options);
    let server = serve(&market, AkshareForm::Eastmoney, Vec::new()).await;
    let source = source(&server, AkshareForm::Eastmoney);
    let spot = market.catalog().get("spot").unwrap();
    let fetched = fetch_all(&source, &call(spot, 0, Area::whole())).await.unwrap();
    let truth = market.truth("spot", &Area::whole()).unwrap();
    assert_eq!(rows(spot, &fetched).len(), truth.num_rows());
    assert!(server.served().len() >= 6, "{} pages", server.served().len());
    let plans = market.catalog().get("disclosure_date").unwrap();
    let area = Area::new(Securities::All, Span::day(day("20231231")));
    let fetched = fetch_all(&source, &call(plans, 0, area.clone())).await.unwrap();
    assert_eq!(fetched.num_rows(), market.truth("disclosure_date", &area).unwrap().num_rows());
    assert!(fetched.num_rows() > 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_whether_the_door_opens() {
    let market = market();
    for form in [AkshareForm::Aktools, AkshareForm::Eastmoney] {
        let server = serve(&market, form, vec![Rule::always(Fault::NotJson).at(2..=2)]).await;
        let source = source(&server, form);
        source.probe().await.unwrap();
        assert_eq!(source.probe().await.unwrap_err().kind(), ErrorKind::Transient);
    }
    let closed = AkshareSource::new(options("http://127.0.0.1:9", AkshareForm::Aktools), clock()).unwrap();
    assert_eq!(closed.probe().await.unwrap_err().kind(), ErrorKind::Transient);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_days_of_listing_is_asked_for_last_whatever_the_rank() {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { create: true, ..SqliteOptions::default() };
    let store = SqliteStore::open(&folder.path().join("tidegate.db"), options, clock()).unwrap();
    let akshare = AkshareSource::new(AkshareOptions::default(), clock()).unwrap();
    let baostock = BaostockSource::new(BaostockOptions::default(), clock()).unwrap();
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(akshare), Arc::new(baostock)];
    let engine = Engine::new(Arc::new(store), catalog.clone(), sources, Options::default(), clock());
    for (dataset, expected) in [("stock_basic", ["baostock", "akshare"]), ("daily", ["akshare", "baostock"])] {
        let candidates = engine.candidates(catalog.get(dataset).unwrap(), None).await.unwrap();
        let names: Vec<&str> = candidates.iter().map(|(source, _)| source.name()).collect();
        assert_eq!(names, expected, "{dataset}");
    }
}

//! Two times and two price bases: known on a day, as of an instant, adjusted prices; through stores, mirror and program.

use std::sync::Arc;

use arrow_array::builder::{Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::catalog::Catalog;
use tidegate::dialect::baostock::frame::{Limits, ReplyDecoder, RequestDecoder, encode_request};
use tidegate::dialect::baostock::{Asked, answer, question};
use tidegate::mirror::aktools::{Aktools, AktoolsOptions};
use tidegate::mirror::baostock;
use tidegate::mirror::tushare::{Mirror, MirrorOptions, router_of};
use tidegate::model::*;
use tidegate::read::{Adjust, ReadOptions, Reader, View};
use tidegate::sim::{Market, MarketOptions};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tidegate::store::{Scan, Store};

use crate::store_suite::{day, quotes_of_day, texts};

/// A store with tables for a catalogue, and its folder.
pub struct Kept {
    pub catalog: Arc<Catalog>,
    pub store: Arc<SqliteStore>,
    _folder: tempfile::TempDir,
}

/// Noon of a day.
fn noon(text: &str) -> Instant {
    Instant::at(day(text), 720)
}

impl Kept {
    pub async fn new(catalog: Catalog) -> Kept {
        let folder = tempfile::tempdir().unwrap();
        // Batches of three rows, so that groups lie across them.
        let options = SqliteOptions { create: true, scan_batch_rows: 3, ..SqliteOptions::default() };
        let clock = Clock::fixed(noon("20240701"));
        let store = SqliteStore::open(&folder.path().join("market.db"), options, clock).unwrap();
        store.prepare(catalog.datasets()).await.unwrap();
        Kept { catalog: Arc::new(catalog), store: Arc::new(store), _folder: folder }
    }

    /// Commits rows at an instant: a text of column names and one for each row, `-` for what is missing.
    async fn keep(&self, at: Instant, dataset: &str, columns: &str, rows: &[&str]) {
        let dataset = self.catalog.get(dataset).unwrap();
        self.keep_batch(at, dataset, batch(dataset, columns, rows)).await;
    }

    pub async fn keep_batch(&self, at: Instant, dataset: &Arc<Dataset>, batch: RecordBatch) {
        let write = change::Write::Upsert;
        let (area, dataset) = (Area::whole(), dataset.clone());
        let change = RowsChange { area, batch, dataset, write, claim: None, ..quotes_of_day(1, &[]) };
        self.store.commit(Commit { at, fence: None, changes: vec![Change::Rows(change)] }).await.unwrap();
    }

    pub async fn read_batches(&self, view: View, query: &Query) -> Vec<RecordBatch> {
        futures::TryStreamExt::try_collect(self.reader(view).scan(query).await.unwrap()).await.unwrap()
    }

    fn reader(&self, view: View) -> Reader {
        reader(self.store.clone(), &self.catalog, view)
    }

    async fn read(&self, view: &View, query: &Query) -> Vec<String> {
        rows(&self.reader(view.clone()), query).await.unwrap()
    }
}

fn reader(scan: Arc<dyn Scan>, catalog: &Arc<Catalog>, view: View) -> Reader {
    Reader::new(scan, catalog.clone(), Clock::fixed(noon("20240701")), ReadOptions::default()).with(view)
}

fn batch(dataset: &Dataset, columns: &str, rows: &[&str]) -> RecordBatch {
    let names: Vec<&str> = columns.split(' ').collect();
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.split_whitespace().collect()).collect();
    let array = |column: &Column| -> ArrayRef {
        let at = names.iter().position(|name| *name == column.name);
        let cells = rows.iter().map(|row| at.map(|at| row[at]).filter(|text| *text != "-"));
        match column.kind {
            ColumnType::Text => {
                let mut array = StringBuilder::new();
                let required = dataset.key.contains(&column.name);
                cells.for_each(|cell| array.append_option(cell.or(required.then_some(""))));
                Arc::new(array.finish())
            }
            ColumnType::Date => {
                let mut array = Date32Builder::new();
                let required = dataset.key.contains(&column.name).then_some(Day::MIN.0);
                cells.for_each(|cell| array.append_option(cell.map(|text| day(text).0).or(required)));
                Arc::new(array.finish())
            }
            ColumnType::Decimal => {
                let mut array = Decimal128Builder::new().with_data_type(column.data_type());
                cells.for_each(|cell| {
                    array.append_option(cell.map(|text| decimal::parse(text, column.scale, 0).unwrap()))
                });
                Arc::new(array.finish())
            }
            ColumnType::Int => {
                let mut array = Int64Builder::new();
                cells.for_each(|cell| array.append_option(cell.map(|text| text.parse().unwrap())));
                Arc::new(array.finish())
            }
            ColumnType::Float => {
                let mut array = Float64Builder::new();
                cells.for_each(|cell| array.append_option(cell.map(|text| text.parse().unwrap())));
                Arc::new(array.finish())
            }
            ColumnType::Datetime => panic!("no table of these tests has one"),
        }
    };
    RecordBatch::try_new(dataset.schema(), dataset.columns.iter().map(array).collect()).unwrap()
}

async fn rows(scan: &Reader, query: &Query) -> Result<Vec<String>> {
    let mut batches = scan.scan(query).await?;
    let mut rows = Vec::new();
    while let Some(batch) = futures::TryStreamExt::try_next(&mut batches).await? {
        rows.extend((0..batch.num_rows()).map(|row| crate::store_suite::row_text(&batch, row)));
    }
    Ok(rows)
}

fn qfq(anchor: Option<&str>) -> View {
    View { adjust: Some(Adjust::Forward), anchor: anchor.map(day), ..View::default() }
}

fn hfq() -> View {
    View { adjust: Some(Adjust::Backward), ..View::default() }
}

fn known_on(text: &str) -> View {
    View { known_on: Some(day(text)), ..View::default() }
}

fn names(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn is_in(column: &str, values: &[&str]) -> Filter {
    Filter::In { column: column.into(), values: values.iter().map(|value| value.to_string()).collect() }
}

fn between(column: &str, from: Option<&str>, to: Option<&str>) -> Filter {
    Filter::Between { column: column.into(), from: from.map(str::to_owned), to: to.map(str::to_owned) }
}

const BARS: &str = "ts_code trade_date open high low close pre_close change pct_chg vol amount";
const FACTOR: &str = "ts_code trade_date adj_factor";

/// One yuan in cash, then ten new shares for ten, then five new shares for ten with one yuan in cash for ten. The
/// factors are 10.00 / 9.00, times 9.09 / 4.55, times 4.60 / 3.00, with six digits each.
async fn ex_dates() -> Kept {
    let kept = Kept::new(Catalog::builtin().unwrap()).await;
    let at = noon("20240620");
    let bars = [
        "000001.SZ 20240603 10.00 10.10 9.80 10.00 9.90 0.10 1.0101 1000 10000",
        "000001.SZ 20240604 9.05 9.20 8.95 9.09 9.00 0.09 1 1100 10000",
        "000001.SZ 20240605 4.50 4.70 4.40 4.60 4.55 0.05 1.0989 2300 10000",
        "000001.SZ 20240606 3.02 3.30 2.99 3.30 3.00 0.30 10 3400 10000",
        // No factor for its first day, none for the day after the second.
        "600000.SH 20240604 5 5 5 5 5 0 0 100 500",
        "600000.SH 20240605 5 5 5 5 5 0 0 100 500",
        "600000.SH 20240606 5 5 5 5 5 0 0 100 500",
        // No factor at all.
        "600001.SH 20240606 7 7 7 7 7 0 0 100 700",
    ];
    kept.keep(at, "daily", BARS, &bars).await;
    let factors = [
        "000001.SZ 20240603 1",
        "000001.SZ 20240604 1.111111",
        "000001.SZ 20240605 2.219780",
        "000001.SZ 20240606 3.403663",
        "600000.SH 20240605 2",
        "600000.SH 20240606 -",
        "600000.SH 20240607 4",
        "600001.SH 20240606 0",
    ];
    kept.keep(at, "adj_factor", FACTOR, &factors).await;
    kept
}

fn prices(filters: Vec<Filter>) -> Query {
    Query { columns: names("trade_date open high low close pre_close change"), filters, ..Query::all("daily") }
}

#[tokio::test]
async fn adjusted_prices_equal_a_hand_computed_table() {
    let kept = ex_dates().await;
    let one = || is_in("ts_code", &["000001.SZ"]);
    let forward = [
        "2024-06-03|2.938|2.9674|2.8793|2.938|2.9086|0.0294",
        "2024-06-04|2.9543|3.0033|2.9217|2.9674|2.938|0.0294",
        "2024-06-05|2.9348|3.0652|2.8696|3|2.9674|0.0326",
        "2024-06-06|3.02|3.3|2.99|3.3|3|0.3",
    ];
    assert_eq!(kept.read(&qfq(Some("20240606")), &prices(vec![one()])).await, forward);
    assert_eq!(kept.read(&qfq(None), &prices(vec![one()])).await, forward, "today, and the factors end before");
    let to = |to: &str| between("trade_date", None, Some(to));
    assert_eq!(kept.read(&qfq(None), &prices(vec![one(), to("2024-06-06")])).await, forward);
    let to_the_second = ["2024-06-03|9|9.09|8.82|9|8.91|0.09", "2024-06-04|9.05|9.2|8.95|9.09|9|0.09"];
    assert_eq!(kept.read(&qfq(None), &prices(vec![one(), to("2024-06-04")])).await, to_the_second);
    let on_the_second = kept.read(&qfq(Some("20240604")), &prices(vec![one()])).await;
    assert_eq!(on_the_second[..2], to_the_second);
    let alone = prices(vec![one(), is_in("trade_date", &["2024-06-03"])]);
    assert_eq!(kept.read(&qfq(None), &alone).await, ["2024-06-03|10|10.1|9.8|10|9.9|0.1"]);
    assert_eq!(kept.read(&qfq(Some("20240606")), &alone).await, [forward[0]]);
    let backward = [
        "2024-06-03|10|10.1|9.8|10|9.9|0.1",
        "2024-06-04|10.0556|10.2222|9.9444|10.1|10|0.1",
        "2024-06-05|9.989|10.433|9.767|10.211|10.1|0.111",
        "2024-06-06|10.2791|11.2321|10.177|11.2321|10.211|1.0211",
    ];
    assert_eq!(kept.read(&hfq(), &prices(vec![one()])).await, backward);
    let rest = Query { columns: names("vol amount pct_chg"), ..prices(vec![one()]) };
    let raw = kept.read(&View::default(), &rest).await;
    assert_eq!(kept.read(&hfq(), &rest).await, raw);
    assert_eq!(raw[0], "1000|10000|1.0101");
}

#[tokio::test]
async fn a_factor_holds_until_the_next_and_without_one_there_is_no_price() {
    let kept = ex_dates().await;
    let query = Query {
        columns: names("trade_date close change pct_chg adjust_anchor adjust_factors"),
        ..prices(vec![is_in("ts_code", &["600000.SH", "600001.SH"])])
    };
    let rows = kept.read(&View { told: true, ..qfq(Some("20240607")) }, &query).await;
    let expected = [
        "2024-06-04|-|-|0|-|-",
        "2024-06-05|2.5|0|0|2024-06-07|adj_factor",
        "2024-06-06|2.5|0|0|2024-06-07|adj_factor",
        "2024-06-06|-|-|0|-|-",
    ];
    assert_eq!(rows, expected);
    let all = kept.read(&View { told: true, ..hfq() }, &Query { limit: Some(1), ..Query::all("daily") }).await;
    assert_eq!(all, ["000001.SZ|2024-06-03|10|10.1|9.8|10|9.9|0.1|1.0101|1000|10000|-|adj_factor"]);
    // The factor of a day without one is the last one before, also when that lies before the days that are read.
    let late = prices(vec![is_in("ts_code", &["600000.SH"]), between("trade_date", Some("2024-06-06"), None)]);
    assert_eq!(kept.read(&hfq(), &late).await, ["2024-06-06|10|10|10|10|10|0"]);
}

#[tokio::test]
async fn adjusted_prices_can_be_filtered_ordered_and_paged() {
    let kept = ex_dates().await;
    let asked = |filters: Vec<Filter>, column: &str, limit, offset| Query {
        columns: names("ts_code close"),
        order: vec![Order { column: column.into(), descending: true }],
        limit,
        offset,
        ..prices(filters)
    };
    let by_price = kept.read(&hfq(), &asked(vec![between("close", Some("10"), None)], "close", Some(3), 1)).await;
    assert_eq!(by_price, ["000001.SZ|10.211", "000001.SZ|10.1", "000001.SZ|10"]);
    let by_day = kept.read(&hfq(), &asked(vec![between("close", Some("10"), None)], "trade_date", Some(2), 1)).await;
    assert_eq!(by_day, ["600000.SH|10", "000001.SZ|10.211"]);
    let last = kept.read(&hfq(), &asked(vec![], "close", None, 6)).await;
    assert_eq!(last, ["600000.SH|-", "600001.SH|-"], "missing prices come last");
    let few = Reader::new(
        kept.store.clone(),
        kept.catalog.clone(),
        Clock::fixed(noon("20240701")),
        ReadOptions { sort_rows_max: 7 },
    );
    let error = rows(&few.with(hfq()), &asked(vec![], "close", None, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.hint_text().unwrap().contains("read.sort_rows_max"), "{error}");
    let wrong = kept.reader(hfq());
    for (query, kind) in [
        (Query::all("index_daily"), ErrorKind::Invalid),
        (Query::all("nothing"), ErrorKind::NotFound),
        (Query { columns: names("adjust_anchor"), ..Query::all("daily") }, ErrorKind::NotFound),
    ] {
        assert_eq!(rows(&wrong, &query).await.unwrap_err().kind(), kind, "{query:?}");
    }
}

#[tokio::test]
async fn a_new_ex_date_changes_no_stored_row_and_the_past_can_be_read_again() {
    let kept = ex_dates().await;
    let stored = texts(&*kept.store, &Query::all("daily")).await.unwrap();
    let query = prices(vec![is_in("ts_code", &["000001.SZ"])]);
    let before = kept.read(&qfq(None), &query).await;
    let bar = "000001.SZ 20240607 1.60 1.70 1.60 1.65 1.65 0 0 3400 10000";
    kept.keep(noon("20240625"), "daily", BARS, &[bar]).await;
    kept.keep(noon("20240625"), "adj_factor", FACTOR, &["000001.SZ 20240607 6.807326"]).await;
    let after = kept.read(&qfq(None), &query).await;
    assert_eq!(after[3], "2024-06-06|1.51|1.65|1.495|1.65|1.5|0.15", "half of it since the split");
    let now = texts(&*kept.store, &Query::all("daily")).await.unwrap();
    assert_eq!(now.iter().filter(|row| stored.contains(row)).count(), stored.len());
    let then = View { as_of: Some(noon("20240624")), ..qfq(None) };
    assert_eq!(kept.read(&then, &query).await, before);
    // A factor that was repaired later: as of then it is the wrong one.
    kept.keep(noon("20240626"), "adj_factor", FACTOR, &["000001.SZ 20240603 2"]).await;
    assert_ne!(kept.read(&hfq(), &query).await[0], "2024-06-03|10|10.1|9.8|10|9.9|0.1");
    let then = View { as_of: Some(noon("20240625")), ..hfq() };
    assert_eq!(kept.read(&then, &query).await[0], "2024-06-03|10|10.1|9.8|10|9.9|0.1");
}

#[tokio::test]
async fn weeks_and_months_are_adjusted_by_the_factor_of_their_last_day() {
    let kept = ex_dates().await;
    let week = "000001.SZ 20240606 10.00 10.10 2.99 3.30 9.90 -6.60 -0.6667 7800 40000";
    for table in ["weekly", "monthly"] {
        kept.keep(noon("20240620"), table, BARS, &[week]).await;
        let query = Query { columns: names("close vol"), ..Query::all(table) };
        assert_eq!(kept.read(&hfq(), &query).await, ["11.2321|7800"], "{table}");
    }
}

/// A catalogue in which some securities have factors by day and others on ex-dates only.
fn with_ex_dates_only() -> Catalog {
    let daily = include_str!("../../catalog/daily.toml")
        .replace("adjust.factors = [", "adjust.factors = [{ dataset = \"none_such\", column = \"x\" }, ");
    let daily = daily.replace(
        "column = \"adj_factor\" }",
        "column = \"adj_factor\" }, { dataset = \"steps\", column = \"factor\", ex_dates_only = true }",
    );
    let steps = include_str!("../../catalog/adj_factor.toml");
    let (steps, _) = steps.split_once("tushare.api").unwrap();
    let steps = steps.replace("name = \"adj_factor\"", "name = \"steps\"");
    let columns = r#"columns = [
        { name = "ts_code", type = "text", unit = "code", meaning = "code", meaning_zh = "代码" },
        { name = "trade_date", type = "date", unit = "date", meaning = "ex-date", meaning_zh = "除权日" },
        { name = "factor", type = "decimal", scale = 6, unit = "factor", nullable = true, meaning = "factor", meaning_zh = "因子" },
    ]"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("daily.toml"), daily).unwrap();
    std::fs::write(folder.path().join("steps.toml"), format!("{steps}{columns}")).unwrap();
    Catalog::load(Some(folder.path())).unwrap()
}

#[tokio::test]
async fn a_second_table_of_factors_serves_those_whom_the_first_does_not_know() {
    let kept = Kept::new(with_ex_dates_only()).await;
    let bar = |code: &str, day: &str| format!("{code} {day} 12 12 12 12 12 0 0 100 1200");
    let bars = ["20240603", "20240604", "20240605"].map(|day| bar("000001.SZ", day));
    let other = [bar("600000.SH", "20240603"), bar("600001.SH", "20240603")];
    let bars: Vec<&str> = bars.iter().chain(&other).map(String::as_str).collect();
    kept.keep(noon("20240620"), "daily", BARS, &bars).await;
    let steps = ["000001.SZ 20240604 2", "000001.SZ 20240606 3", "600000.SH 20240604 9", "600001.SH 20240604 2"];
    kept.keep(noon("20240620"), "steps", "ts_code trade_date factor", &steps).await;
    kept.keep(noon("20240620"), "adj_factor", FACTOR, &["600000.SH 20240603 4"]).await;
    let query = Query { columns: names("ts_code trade_date close adjust_factors"), ..Query::all("daily") };
    for (view, expected) in [
        (hfq(), ["12", "24", "24", "48", "12"]),
        (qfq(Some("20240603")), ["12", "24", "24", "12", "12"]),
        (qfq(Some("20240606")), ["4", "8", "8", "12", "6"]),
    ] {
        let rows = kept.read(&View { told: true, ..view }, &query).await;
        let last = |row: &String| row.split('|').skip(2).map(str::to_owned).collect::<Vec<_>>();
        let expected: Vec<Vec<String>> = expected
            .iter()
            .zip(["steps", "steps", "steps", "adj_factor", "steps"])
            .map(|(close, table)| vec![close.to_string(), table.to_owned()])
            .collect();
        assert_eq!(rows.iter().map(last).collect::<Vec<_>>(), expected);
    }
    // The only ex-date lies behind the days that are read.
    let one = Query {
        filters: vec![is_in("ts_code", &["600001.SH"]), between("trade_date", None, Some("2024-06-03"))],
        ..query
    };
    let rows = kept.read(&View { told: true, ..hfq() }, &one).await;
    assert_eq!(rows, ["600001.SH|2024-06-03|12|steps"]);
}

const INCOME: &str = "ts_code ann_date f_ann_date end_date report_type update_flag total_revenue";

async fn statements() -> Kept {
    let kept = Kept::new(Catalog::builtin().unwrap()).await;
    let first = [
        "000001.SZ 20240320 20240320 20231231 1 0 100",
        "000001.SZ 20240425 20240425 20240331 1 0 30",
        "600000.SH 20240330 20240330 20231231 1 0 500",
        "600000.SH 20240330 20240330 20231231 1 1 501",
        "600000.SH - - 20240331 1 0 9",
    ];
    kept.keep(noon("20240501"), "income_vip", INCOME, &first).await;
    // Announced in April, learnt in May.
    let second = [
        "000001.SZ 20240320 20240415 20231231 1 1 99",
        "000001.SZ 20240320 20240601 20231231 1 1 98",
        "000001.SZ 20240320 20240320 20231231 6 0 70",
    ];
    kept.keep(noon("20240510"), "income_vip", INCOME, &second).await;
    kept
}

#[tokio::test]
async fn statements_are_read_as_they_had_been_announced() {
    let kept = statements().await;
    let query = Query { columns: names("ts_code end_date report_type total_revenue"), ..Query::all("income_vip") };
    let first = "000001.SZ|2023-12-31|1|100";
    for (on, expected) in [
        ("20240319", vec![]),
        ("20240320", vec![first, "000001.SZ|2023-12-31|6|70"]),
        ("20240414", vec![first, "000001.SZ|2023-12-31|6|70", "600000.SH|2023-12-31|1|501"]),
        ("20240415", vec!["000001.SZ|2023-12-31|6|70", "000001.SZ|2023-12-31|1|99", "600000.SH|2023-12-31|1|501"]),
        (
            "20240701",
            vec![
                "000001.SZ|2023-12-31|6|70",
                "000001.SZ|2023-12-31|1|98",
                "000001.SZ|2024-03-31|1|30",
                "600000.SH|2023-12-31|1|501",
            ],
        ),
    ] {
        assert_eq!(kept.read(&known_on(on), &query).await, expected, "known on {on}");
    }
    // What was announced by then, and what we had learnt by then.
    let both = View { as_of: Some(noon("20240505")), ..known_on("20240415") };
    assert_eq!(kept.read(&both, &query).await, [first, "600000.SH|2023-12-31|1|501"]);
}

#[tokio::test]
async fn what_is_asked_of_statements_holds_for_the_version_that_was_known() {
    let kept = statements().await;
    let query = |filters: Vec<Filter>| Query { columns: names("total_revenue"), filters, ..Query::all("income_vip") };
    let view = known_on("20240701");
    let announced = between("f_ann_date", Some("2024-03-01"), Some("2024-04-20"));
    assert_eq!(kept.read(&view, &query(vec![announced])).await, ["70", "501"], "the newest was announced in June");
    let flag = is_in("update_flag", &["0"]);
    assert_eq!(kept.read(&view, &query(vec![flag])).await, ["70", "30"]);
    let kind = is_in("report_type", &["6"]);
    assert_eq!(kept.read(&view, &query(vec![kind])).await, ["70"]);
    let newest = Query {
        order: vec![Order { column: "end_date".into(), descending: true }],
        limit: Some(2),
        offset: 1,
        ..query(vec![])
    };
    assert_eq!(kept.read(&view, &newest).await, ["70", "98"]);
    let error = rows(&kept.reader(view), &Query::all("daily")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.hint_text().unwrap().contains("--as-of"), "{error}");
}

/// The rule in a few lines: of the rows announced by then, the greatest for each period and type of report.
fn known_by_hand(all: &[String], on: &str) -> Vec<String> {
    let mut known = std::collections::BTreeMap::new();
    for row in all {
        let cells: Vec<&str> = row.split('|').collect();
        let [code, ann, f_ann, end, kind, flag] = cells[..6] else { panic!("six columns at least") };
        if f_ann <= on {
            let newest = known.entry((code, end, kind)).or_insert((f_ann, flag, ann, row));
            *newest = (*newest).max((f_ann, flag, ann, row));
        }
    }
    known.into_values().map(|(_, _, _, row)| row.clone()).collect()
}

#[tokio::test]
async fn the_market_s_statements_are_chosen_by_the_rule_in_every_order() {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let options = MarketOptions::new(catalog.clone(), day("20220101"), day("20240628"));
    let market = Arc::new(Market::new(MarketOptions { securities: 300, ..options }));
    let columns = names("ts_code ann_date f_ann_date end_date report_type update_flag");
    let all = Query { columns, ..Query::all("income_vip") };
    let plain = rows(&reader(market.clone(), &catalog, View::default()), &all).await.unwrap();
    let mut differences = 0;
    for on in ["2022-05-01", "2023-04-30", "2024-06-28"] {
        let by_hand = known_by_hand(&plain, on);
        assert!(!by_hand.is_empty());
        differences += plain.len() - by_hand.len();
        let view = known_on(on);
        for order in ["ts_code", "end_date", "f_ann_date"] {
            let order = vec![Order { column: order.into(), descending: order != "ts_code" }];
            let known = rows(&reader(market.clone(), &catalog, view.clone()), &Query { order, ..all.clone() }).await;
            let mut known = known.unwrap();
            known.sort();
            let mut expected = by_hand.clone();
            expected.sort();
            assert_eq!(known, expected, "known on {on}");
        }
    }
    assert!(differences > 0, "the market has corrections");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn quotients_are_the_nearest_and_never_change_sign(
        price in 0i128..10_000_000_000_000, factor in 1i128..100_000_000_000_000, anchor in 1i128..100_000_000_000_000,
    ) {
        let adjusted = decimal::multiply_divide(price, factor, anchor).unwrap();
        prop_assert!(adjusted >= 0);
        prop_assert!((2 * (adjusted * anchor - price * factor)).abs() <= anchor);
        prop_assert_eq!(decimal::multiply_divide(-price, factor, anchor).unwrap(), -adjusted);
    }
}

async fn ask(mirror: &Mirror, api: &str, params: Value, fields: &str) -> Value {
    let body = json!({ "api_name": api, "token": "any", "params": params, "fields": fields }).to_string();
    serde_json::from_slice(&mirror.answer(body.as_bytes()).await.body).unwrap()
}

fn mirror_of(kept: &Kept) -> Arc<Mirror> {
    let clock = Clock::fixed(noon("20240701"));
    Arc::new(Mirror::new(kept.store.clone(), kept.catalog.clone(), MirrorOptions::default(), clock))
}

#[tokio::test]
async fn the_tushare_mirror_answers_in_both_times_and_price_bases() {
    let kept = ex_dates().await;
    kept.keep(noon("20240625"), "daily", BARS, &["000001.SZ 20240606 3.02 3.30 2.99 3.31 3.00 0.31 10 3400 10000"])
        .await;
    let mirror = mirror_of(&kept);
    let closes = async |params: Value| {
        let mut params = params;
        params["ts_code"] = json!("000001.SZ");
        params["start_date"] = json!("20240605");
        let answer = ask(&mirror, "daily", params, "close").await;
        match answer["code"].as_i64() {
            Some(0) => answer["data"]["items"].to_string(),
            _ => answer["msg"].to_string(),
        }
    };
    assert_eq!(closes(json!({})).await, "[[3.31],[4.6]]");
    assert_eq!(closes(json!({ "as_of": "20240624" })).await, "[[3.3],[4.6]]");
    assert_eq!(closes(json!({ "as_of": "2024-06-25T12:00:00+08:00" })).await, "[[3.31],[4.6]]");
    assert_eq!(
        closes(json!({ "as_of": "2024-06-25", "adjust": "qfq", "end_date": "20240606" })).await,
        "[[3.31],[3.0]]"
    );
    assert_eq!(closes(json!({ "adjust": "qfq", "anchor": "20240605" })).await, "[[5.0753],[4.6]]");
    for (params, name) in [
        (json!({ "as_of": "soon" }), "as_of"),
        (json!({ "adjust": "up" }), "adjust"),
        (json!({ "anchor": "20240605" }), "anchor"),
        (json!({ "known_on": "20240605" }), "daily has no versions"),
    ] {
        assert!(closes(params.clone()).await.contains(name), "{params}");
    }
}

#[tokio::test]
async fn headers_say_what_parameters_do_not() {
    let kept = statements().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(tidegate::mirror::serve(listener, router_of(mirror_of(&kept)), std::future::pending()));
    let revenue = async |headers: &[(&str, &str)], params: Value| {
        let body = json!({ "api_name": "income", "token": "", "params": params, "fields": "total_revenue" });
        let mut request = reqwest::Client::new().post(&url).body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        if answer["code"] == json!(0) { answer["data"]["items"].to_string() } else { answer["msg"].to_string() }
    };
    let params = || json!({ "ts_code": "000001.SZ", "period": "20231231" });
    let april = ("X-Tidegate-Known-On", "2024-04-15");
    assert_eq!(revenue(&[april], params()).await, "[[99.0]]");
    assert_eq!(revenue(&[april, ("x-tidegate-as-of", "2024-05-05")], params()).await, "[[100.0]]");
    let july = json!({ "ts_code": "000001.SZ", "period": "20231231", "known_on": "20240701" });
    assert_eq!(revenue(&[april], july).await, "[[98.0]]", "a parameter comes first");
    assert!(revenue(&[("x-tidegate-as-of", "soon")], params()).await.contains("as_of"));
}

#[tokio::test]
async fn a_user_of_the_baostock_mirror_says_as_of_when() {
    let kept = ex_dates().await;
    kept.keep(noon("20240625"), "daily", BARS, &["000001.SZ 20240606 3.02 3.30 2.99 3.31 3.00 0.31 10 3400 10000"])
        .await;
    let clock = Clock::fixed(noon("20240701"));
    let mirror = baostock::Mirror::new(kept.store.clone(), kept.catalog.clone(), Default::default(), clock);
    let closes = async |user: &str, flag: &str| {
        let mut session = baostock::Session::default();
        let said = async |session: &mut baostock::Session, kind: &str, body: String| {
            let body = body.replace('|', "\u{1}");
            let mut decoder = RequestDecoder::new(10_000);
            decoder.push(&encode_request("00.9.10", kind, &body));
            let frame = decoder.next_frame().unwrap().unwrap();
            let reply = mirror.answer(session, &frame).await;
            (ReplyDecoder::new(Limits::default()).push(&reply).unwrap().unwrap(), frame)
        };
        said(&mut session, "00", format!("login|{user}|p|0")).await;
        let span = "date,close|2024-06-05|2024-06-06|d";
        let body = format!("query_history_k_data_plus|{user}|1|100|sz.000001|{span}|{flag}");
        let (reply, frame) = said(&mut session, "95", body).await;
        let Ok(Asked::Query(query)) = question::parse(&frame) else { panic!("it is a question") };
        let table = answer::decode(&query, &reply, &Limits::default()).unwrap().ok()?;
        let price = |row: usize| table.cell(row, 1).trim_end_matches('0').to_owned();
        Some((0..table.rows()).map(price).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(closes("anonymous", "3").await.unwrap(), "4.6 3.31");
    assert_eq!(closes("anonymous@2024-06-24", "3").await.unwrap(), "4.6 3.3");
    assert_eq!(closes("me@example.com@20240625", "3").await.unwrap(), "4.6 3.31");
    assert_eq!(closes("anonymous@2024-06-24", "2").await.unwrap(), "3. 3.3");
    assert_eq!(closes("anonymous@2024-13-24", "3").await, None, "not logged in");
}

#[tokio::test]
async fn the_aktools_mirror_answers_in_both_times_and_price_bases() {
    let kept = ex_dates().await;
    let bar = "000001.SZ 20240606 3.02 3.30 2.99 3.31 3.00 0.31 10 3400 10000";
    kept.keep(noon("20240625"), "daily", BARS, &[bar]).await;
    let clock = Clock::fixed(noon("20240701"));
    let mirror = Aktools::new(kept.store.clone(), kept.catalog.clone(), AktoolsOptions::default(), clock);
    let closes = async |more: &str| {
        let query = format!("symbol=000001&start_date=20240605{more}");
        let rows: Value = serde_json::from_slice(&mirror.answer("stock_zh_a_hist", &query).await.ok()?).unwrap();
        Some(rows.as_array().unwrap().iter().map(|row| row["收盘"].to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(closes("").await.unwrap(), "4.6 3.31");
    assert_eq!(closes("&adjust=").await.unwrap(), "4.6 3.31");
    assert_eq!(closes("&adjust=qfq").await.unwrap(), "3.0 3.31");
    assert_eq!(closes("&adjust=qfq&end_date=20240605").await.unwrap(), "3.0", "anchored to the newest day");
    assert_eq!(closes("&adjust=qfq&end_date=20240605&anchor=20240605").await.unwrap(), "4.6");
    assert_eq!(closes("&adjust=hfq&as_of=2024-06-24T12:00:00%2B08:00").await.unwrap(), "10.211 11.2321");
    assert_eq!(closes("&as_of=20240624").await.unwrap(), "4.6 3.3");
    for wrong in ["&as_of=soon", "&adjust=up", "&anchor=20240605", "&known_on=20240605"] {
        assert_eq!(closes(wrong).await, None, "{wrong}");
    }
}

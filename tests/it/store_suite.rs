//! What every store must do, written against `dyn Store`: each engine runs the same laws (`store_laws.rs`).

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::{Date32Builder, Decimal128Builder, StringBuilder};
use futures::StreamExt;
use serde_json::json;
use tidegate::model::change::{ClaimChange, Write};
use tidegate::model::task::Request;
use tidegate::model::*;
use tidegate::store::Store;

pub use crate::store_by_source::*;
pub use crate::store_conflicts::*;
pub use crate::store_deliveries::*;
pub use crate::store_events::*;
pub use crate::store_lacks::*;
pub use crate::store_received::*;
pub use crate::store_reconciliations::*;
pub use crate::store_runs::*;
pub use crate::store_workers::*;

/// A fresh, empty store and what must outlive it.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    pub folder: tempfile::TempDir,
}

/// A dataset of two prices by security and day.
pub fn quotes() -> Arc<Dataset> {
    dataset(
        r#"
        name = "quotes"
        key = ["ts_code", "trade_date"]
        security = "ts_code"
        time = "trade_date"
        shape = "dense"
        columns = [
            { name = "ts_code", type = "text", unit = "", meaning = "", meaning_zh = "" },
            { name = "trade_date", type = "date", unit = "", meaning = "", meaning_zh = "" },
            { name = "close", type = "decimal", scale = 2, unit = "CNY", meaning = "", meaning_zh = "", nullable = true },
            { name = "amount", type = "decimal", scale = 4, digits = 22, unit = "CNY", meaning = "", meaning_zh = "", nullable = true },
        ]
        "#,
    )
}

/// Notices: the day is no part of the key and may be missing.
pub fn notices() -> Arc<Dataset> {
    dataset(
        r#"
        name = "notices"
        key = ["ts_code"]
        security = "ts_code"
        time = "ann_date"
        shape = "sparse"
        columns = [
            { name = "ts_code", type = "text", unit = "", meaning = "", meaning_zh = "" },
            { name = "ann_date", type = "date", unit = "", meaning = "", meaning_zh = "", nullable = true },
        ]
        "#,
    )
}

/// A dataset from its name, key and columns; what is the same for all is added.
pub fn dataset(text: &str) -> Arc<Dataset> {
    let common = r#"
        title = ""
        title_zh = ""
        about = ""
        [publish]
        at = "16:00"
        settle_days = 1
        refresh_hours = 4
        [policy]
        mode = "incremental"
        schedule = "0 16 * * *"
        batch = 5000
        retries = 3
        conflict = "replace"
    "#;
    Arc::new(toml::from_str(&format!("{text}\n{common}")).unwrap())
}

pub fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

/// Ten in the morning of a January day.
pub fn at(of_january: i8) -> Instant {
    Instant::at(Day::new(2024, 1, of_january).unwrap(), 600)
}

/// A row of `quotes`: code, day of January, close in cents, amount in 1/10,000.
pub type Quote = (&'static str, i8, Option<i128>, Option<i128>);

pub fn quote_batch(rows: &[Quote]) -> RecordBatch {
    let (mut codes, mut days) = (StringBuilder::new(), Date32Builder::new());
    let mut closes = Decimal128Builder::new().with_precision_and_scale(38, 2).unwrap();
    let mut amounts = Decimal128Builder::new().with_precision_and_scale(38, 4).unwrap();
    for (code, of_january, close, amount) in rows {
        codes.append_value(code);
        days.append_value(Day::new(2024, 1, *of_january).unwrap().0);
        closes.append_option(*close);
        amounts.append_option(*amount);
    }
    let columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(codes.finish()), Arc::new(days.finish()), Arc::new(closes.finish()), Arc::new(amounts.finish())];
    RecordBatch::try_new(quotes().schema(), columns).unwrap()
}

pub fn january(of_january: i8) -> Area {
    Area::day(Day::new(2024, 1, of_january).unwrap())
}

/// Rows of `quotes` that replace a day of the market, by the best source.
pub fn quotes_of_day(of_january: i8, rows: &[Quote]) -> RowsChange {
    RowsChange {
        dataset: quotes(),
        area: january(of_january),
        batch: quote_batch(rows),
        lacks: Vec::new(),
        lacks_exchanges: Exchanges::default(),
        write: Write::Replace,
        source: Arc::from("tushare"),
        rank: 1,
        fetched_at: at(20),
        claim: Some(ClaimChange {
            evidence: if rows.is_empty() { Evidence::Empty } else { Evidence::Present },
            stale_at: None,
        }),
        quarantined: Vec::new(),
    }
}

pub async fn commit(store: &dyn Store, changes: Vec<Change>) -> Result<Receipt> {
    store.commit(Commit { at: at(20), fence: None, changes }).await
}

pub async fn commit_rows(store: &dyn Store, change: RowsChange) -> Counts {
    commit(store, vec![Change::Rows(change)]).await.unwrap().rows[0]
}

/// The answer to a query, a row a text of values with bars.
pub async fn texts(store: &dyn Store, query: &Query) -> Result<Vec<String>> {
    let mut batches = store.scan(query).await?;
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        rows.extend((0..batch.num_rows()).map(|row| row_text(&batch, row)));
    }
    Ok(rows)
}

pub fn row_text(batch: &RecordBatch, row: usize) -> String {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::*;
    use arrow_schema::DataType;
    let cell = |array: &arrow_array::ArrayRef| match array.data_type() {
        _ if array.is_null(row) => "-".to_owned(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Date32 => Day(array.as_primitive::<Date32Type>().value(row)).to_string(),
        DataType::Timestamp(..) => {
            Instant(array.as_primitive::<TimestampSecondType>().value(row) * 1_000_000).to_string()
        }
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(_, scale) => decimal::to_text(array.as_primitive::<Decimal128Type>().value(row), *scale),
        other => panic!("no text for {other}"),
    };
    batch.columns().iter().map(cell).collect::<Vec<_>>().join("|")
}

pub async fn all_quotes(store: &dyn Store) -> Vec<String> {
    texts(store, &Query::all("quotes")).await.unwrap()
}

pub fn counts(counts: Counts) -> [u64; 5] {
    [counts.inserted, counts.updated, counts.unchanged, counts.withdrawn, counts.quarantined]
}

pub async fn a_slice_replaces_its_area_and_twice_changes_nothing(store: &dyn Store) {
    let first = [("000001.SZ", 2, Some(1050), Some(12_345)), ("600000.SH", 2, Some(700), None)];
    assert_eq!(counts(commit_rows(store, quotes_of_day(2, &first)).await), [2, 0, 0, 0, 0]);
    assert_eq!(counts(commit_rows(store, quotes_of_day(2, &first)).await), [0, 0, 2, 0, 0]);
    let second = [("000001.SZ", 2, Some(1051), Some(12_345)), ("000002.SZ", 2, Some(900), None)];
    assert_eq!(counts(commit_rows(store, quotes_of_day(2, &second)).await), [1, 1, 0, 1, 0]);
    let expected = ["000001.SZ|2024-01-02|10.51|1.2345", "000002.SZ|2024-01-02|9|-"];
    assert_eq!(all_quotes(store).await, expected);
    let coverage = store.coverage("quotes").await.unwrap();
    assert_eq!(coverage.rows_by_day, [(day("20240102"), 2)]);
    assert_eq!(coverage.market[0].rows, 2);
}

pub async fn slices_of_one_commit_are_counted_one_by_one(store: &dyn Store) {
    let second = quotes_of_day(2, &[("000002.SZ", 2, Some(1), None), ("000001.SZ", 2, Some(2), None)]);
    let third = quotes_of_day(3, &[("000001.SZ", 3, Some(3), None)]);
    let fourth = quotes_of_day(4, &[]);
    let changes = [second, third, fourth].map(Change::Rows).to_vec();
    let receipt = commit(store, changes.clone()).await.unwrap();
    assert_eq!(receipt.rows.iter().map(|rows| (rows.seq, rows.inserted)).collect::<Vec<_>>(), [(1, 2), (2, 1), (3, 0)]);
    let again = commit(store, changes).await.unwrap();
    assert_eq!(again.rows.iter().map(|rows| rows.unchanged).collect::<Vec<_>>(), [2, 1, 0]);
    let coverage = store.coverage("quotes").await.unwrap();
    let evidence: Vec<_> = coverage.market.iter().map(|claim| (claim.evidence, claim.rows)).collect();
    assert_eq!(evidence, [(Evidence::Present, 2), (Evidence::Present, 1), (Evidence::Empty, 0)]);
    assert_eq!(coverage.rows_by_day, [(day("20240102"), 2), (day("20240103"), 1)]);
}

pub async fn overlapping_areas_of_one_commit_end_as_if_one_came_after_the_other(store: &dyn Store) {
    let rows = [("000001.SZ", 2, Some(1), None), ("000002.SZ", 2, Some(2), None)];
    let mut security = quotes_of_day(2, &[("000001.SZ", 2, Some(9), None), ("000001.SZ", 3, Some(8), None)]);
    security.area = Area::new(Securities::one("000001.SZ"), Span::ALL);
    let changes = vec![quotes_of_day(2, &rows), security, quotes_of_day(3, &[])].into_iter().map(Change::Rows);
    let receipt = commit(store, changes.collect()).await.unwrap();
    let done: Vec<_> = receipt.rows.iter().map(|rows| counts(*rows)).collect();
    assert_eq!(done, [[2, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0]]);
    assert_eq!(all_quotes(store).await, ["000001.SZ|2024-01-02|0.09|-", "000002.SZ|2024-01-02|0.02|-"]);
}

pub async fn a_range_of_keys_is_replaced_and_every_other_key_stays(store: &dyn Store) {
    let row = |code, day, close| (code, day, Some(close), None);
    let first = [row("a", 2, 1), row("a", 3, 2), row("b", 2, 3), row("b", 9, 4), row("c", 2, 5)];
    commit_rows(store, RowsChange { area: Area::whole(), ..quotes_of_day(2, &first) }).await;
    let key = |code: &str, of_january: i8| {
        vec![KeyPart::Text(code.to_owned()), KeyPart::Day(Day::new(2024, 1, of_january).unwrap())]
    };
    let replaced = |after: Option<Key>, upto: Option<Key>, rows: &[Quote]| RowsChange {
        area: Area::whole(),
        write: Write::ReplaceKeys(KeyRange { after, upto }),
        claim: None,
        ..quotes_of_day(2, rows)
    };
    let middle = [row("b", 2, 30), row("b", 5, 6)];
    let change = replaced(Some(key("a", 3)), Some(key("b", 9)), &middle);
    assert_eq!(counts(commit_rows(store, change.clone()).await), [1, 1, 0, 1, 0]);
    let expected = ["a|2024-01-02|0.01|-", "a|2024-01-03|0.02|-", "b|2024-01-02|0.3|-", "b|2024-01-05|0.06|-"];
    assert_eq!(all_quotes(store).await, [&expected[..], &["c|2024-01-02|0.05|-"]].concat());
    assert_eq!(counts(commit_rows(store, change).await), [0, 0, 2, 0, 0]);
    let days = store.coverage("quotes").await.unwrap().rows_by_day;
    assert_eq!(days, [(day("20240102"), 3), (day("20240103"), 1), (day("20240105"), 1)]);

    let outside = replaced(Some(key("b", 9)), None, &[row("b", 9, 1)]);
    let refused = commit(store, vec![Change::Rows(outside)]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Bug, "a row outside of its range");
    assert_eq!(counts(commit_rows(store, replaced(Some(key("b", 9)), None, &[])).await), [0, 0, 0, 1, 0]);
    assert_eq!(counts(commit_rows(store, replaced(None, Some(key("a", 2)), &[])).await), [0, 0, 0, 1, 0]);
    assert_eq!(all_quotes(store).await, expected[1..]);
    assert_eq!(counts(commit_rows(store, replaced(None, None, &[row("z", 2, 1)])).await), [1, 0, 0, 3, 0]);
    assert_eq!(all_quotes(store).await, ["z|2024-01-02|0.01|-"]);
}

pub async fn merging_never_erases_and_never_withdraws(store: &dyn Store) {
    let first = [("000001.SZ", 2, Some(1), Some(10)), ("000002.SZ", 2, Some(2), None)];
    commit_rows(store, quotes_of_day(2, &first)).await;
    let mut merged = quotes_of_day(2, &[("000001.SZ", 2, None, Some(20)), ("000003.SZ", 2, Some(3), None)]);
    merged.write = Write::Merge;
    assert_eq!(counts(commit_rows(store, merged.clone()).await), [1, 1, 0, 0, 0]);
    assert_eq!(counts(commit_rows(store, merged).await), [0, 0, 2, 0, 0]);
    let mut upserted = quotes_of_day(2, &[("000002.SZ", 2, None, Some(5))]);
    upserted.write = Write::Upsert;
    upserted.claim = None;
    assert_eq!(counts(commit_rows(store, upserted).await), [0, 1, 0, 0, 0]);
    let expected = ["000001.SZ|2024-01-02|0.01|0.002", "000002.SZ|2024-01-02|-|0.0005", "000003.SZ|2024-01-02|0.03|-"];
    assert_eq!(all_quotes(store).await, expected);
}

pub async fn a_worse_source_fills_gaps_and_overwrites_nothing(store: &dyn Store) {
    let by = |rank: u8, rows: &[Quote]| RowsChange { rank, ..quotes_of_day(2, rows) };
    let row = |close: Option<i128>, amount: Option<i128>| [("000001.SZ", 2, close, amount)];
    for (rank, rows, expected_counts, expected) in [
        (2, row(Some(1), None), [1, 0, 0, 0, 0], "0.01|-"),
        (1, row(Some(2), None), [0, 1, 0, 0, 0], "0.02|-"),
        (2, row(Some(3), None), [0, 0, 1, 0, 0], "0.02|-"),
        (2, row(Some(3), Some(7)), [0, 1, 0, 0, 0], "0.02|0.0007"),
        // The gap was filled by the second source: it may correct its own value, not the first one's.
        (2, row(Some(4), Some(8)), [0, 1, 0, 0, 0], "0.02|0.0008"),
        (3, row(Some(5), Some(9)), [0, 0, 1, 0, 0], "0.02|0.0008"),
        (1, row(Some(6), Some(1)), [0, 1, 0, 0, 0], "0.06|0.0001"),
    ] {
        assert_eq!(counts(commit_rows(store, by(rank, &rows)).await), expected_counts, "{rank} {rows:?}");
        assert_eq!(all_quotes(store).await, [format!("000001.SZ|2024-01-02|{expected}")]);
    }
    assert_eq!(counts(commit_rows(store, by(2, &[])).await), [0, 0, 0, 0, 0], "a worse source withdraws nothing");
    assert_eq!(counts(commit_rows(store, by(1, &[])).await), [0, 0, 0, 1, 0]);
    assert_eq!(counts(commit_rows(store, by(2, &row(Some(1), None))).await), [1, 0, 0, 0, 0]);
    assert_eq!(
        counts(commit_rows(store, by(2, &row(Some(2), None))).await),
        [0, 1, 0, 0, 0],
        "what is gone binds nobody"
    );
}

fn notice(area: Area, rows: &[(&str, Option<i8>)]) -> RowsChange {
    let (mut codes, mut days) = (StringBuilder::new(), Date32Builder::new());
    for (code, of_january) in rows {
        codes.append_value(code);
        days.append_option(of_january.map(|day| Day::new(2024, 1, day).unwrap().0));
    }
    let columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(codes.finish()), Arc::new(days.finish())];
    let batch = RecordBatch::try_new(notices().schema(), columns).unwrap();
    RowsChange { dataset: notices(), area, batch, ..quotes_of_day(2, &[]) }
}

pub async fn columns_that_a_source_lacks_keep_what_is_stored(store: &dyn Store) {
    commit_rows(store, quotes_of_day(2, &[("000001.SZ", 2, Some(1050), Some(12_345))])).await;
    // The fourth column is not among those of this source.
    let without_amount = |write: Write, rows: &[Quote]| RowsChange { lacks: vec![3], write, ..quotes_of_day(2, rows) };
    for (write, rows, expected_counts, expected) in [
        (Write::Replace, vec![("000001.SZ", 2, Some(1050), None)], [0, 0, 1, 0, 0], "000001.SZ|2024-01-02|10.5|1.2345"),
        (Write::Replace, vec![("000001.SZ", 2, Some(1060), None)], [0, 1, 0, 0, 0], "000001.SZ|2024-01-02|10.6|1.2345"),
        (Write::Upsert, vec![("000001.SZ", 2, Some(1070), None)], [0, 1, 0, 0, 0], "000001.SZ|2024-01-02|10.7|1.2345"),
        (Write::Merge, vec![("000001.SZ", 2, Some(1070), None)], [0, 0, 1, 0, 0], "000001.SZ|2024-01-02|10.7|1.2345"),
        // What it has, it may take back.
        (Write::Replace, vec![("000001.SZ", 2, None, None)], [0, 1, 0, 0, 0], "000001.SZ|2024-01-02|-|1.2345"),
    ] {
        let found = counts(commit_rows(store, without_amount(write.clone(), &rows)).await);
        assert_eq!(
            (found, all_quotes(store).await),
            (expected_counts, vec![expected.to_owned()]),
            "{write:?} {rows:?}"
        );
    }
    let whole = quotes_of_day(2, &[("000001.SZ", 2, None, None)]);
    assert_eq!(counts(commit_rows(store, whole).await), [0, 1, 0, 0, 0], "a source that has the column clears it");
    let all: Vec<Quote> = vec![("000001.SZ", 2, Some(1), None), ("000002.SZ", 2, Some(2), None)];
    assert_eq!(counts(commit_rows(store, without_amount(Write::Replace, &all)).await), [1, 1, 0, 0, 0]);
    let gone = without_amount(Write::Replace, &all[..1]);
    assert_eq!(counts(commit_rows(store, gone).await), [0, 0, 1, 1, 0], "its absence withdraws all the same");
}

pub async fn a_row_whose_day_moves_is_counted_where_it_is(store: &dyn Store) {
    let by_day = |coverage: Coverage| coverage.rows_by_day.iter().map(|(day, rows)| (day.to_string(), *rows)).collect();
    let first = notice(Area::whole(), &[("000001.SZ", Some(2)), ("000002.SZ", None)]);
    assert_eq!(counts(commit_rows(store, first).await), [2, 0, 0, 0, 0]);
    let moved = notice(january(3), &[("000001.SZ", Some(3))]);
    let emptied = notice(january(2), &[]);
    let receipt = commit(store, vec![Change::Rows(moved), Change::Rows(emptied)]).await.unwrap();
    assert_eq!(receipt.rows.iter().map(|rows| counts(*rows)).collect::<Vec<_>>(), [[0, 1, 0, 0, 0], [0; 5]]);
    let days: Vec<(String, u64)> = by_day(store.coverage("notices").await.unwrap());
    assert_eq!(days, [("2024-01-03".to_owned(), 1)]);
    let dated = notice(Area::whole(), &[("000001.SZ", Some(3)), ("000002.SZ", Some(3))]);
    assert_eq!(counts(commit_rows(store, dated).await), [0, 1, 1, 0, 0]);
    let days: Vec<(String, u64)> = by_day(store.coverage("notices").await.unwrap());
    assert_eq!(days, [("2024-01-03".to_owned(), 2)]);
    assert_eq!(store.summary().await.unwrap().datasets.iter().map(|dataset| dataset.rows).sum::<u64>(), 2);
}

/// A claim without rows.
async fn claim(store: &dyn Store, securities: Securities, from: i8, to: i8, source: &str) {
    let span = Span::new(Day::new(2024, 1, from).unwrap(), Day::new(2024, 1, to).unwrap());
    let change = RowsChange { area: Area::new(securities, span), source: Arc::from(source), ..quotes_of_day(2, &[]) };
    commit_rows(store, change).await;
}

fn claim_texts<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> Vec<String> {
    let text = |claim: &Claim| {
        let span = claim.area.span;
        format!("{}-{} {}", span.from.date().day(), span.to.date().day(), claim.source)
    };
    claims.into_iter().map(text).collect()
}

pub async fn a_new_claim_cuts_what_it_overlaps(store: &dyn Store) {
    for (from, to, source, expected) in [
        (1, 20, "a", vec!["1-20 a"]),
        (5, 6, "b", vec!["1-4 a", "5-6 b", "7-20 a"]),
        (6, 8, "c", vec!["1-4 a", "5-5 b", "6-8 c", "9-20 a"]),
        (4, 6, "d", vec!["1-3 a", "4-6 d", "7-8 c", "9-20 a"]),
        (7, 20, "e", vec!["1-3 a", "4-6 d", "7-20 e"]),
        (22, 23, "f", vec!["1-3 a", "4-6 d", "7-20 e", "22-23 f"]),
        (1, 23, "g", vec!["1-23 g"]),
    ] {
        claim(store, Securities::All, from, to, source).await;
        assert_eq!(claim_texts(&store.coverage("quotes").await.unwrap().market), expected);
    }
    claim(store, Securities::one("000001.SZ"), 5, 6, "h").await;
    let coverage = store.coverage("quotes").await.unwrap();
    assert_eq!(claim_texts(&coverage.market), ["1-23 g"]);
    assert_eq!(claim_texts(&coverage.security["000001.SZ"]), ["5-6 h"]);
}

pub async fn a_claim_of_the_market_replaces_those_of_securities_inside(store: &dyn Store) {
    for (code, from, to) in [("A", 5, 6), ("B", 1, 5), ("C", 6, 9), ("D", 1, 9), ("E", 8, 9), ("F", 1, 3)] {
        claim(store, Securities::one(code), from, to, "old").await;
    }
    claim(store, Securities::All, 4, 7, "new").await;
    let coverage = store.coverage("quotes").await.unwrap();
    let mut left: Vec<_> = coverage.security.iter().map(|(code, claims)| (&**code, claim_texts(claims))).collect();
    left.sort();
    let expected = [("B", "1-3 old"), ("C", "8-9 old"), ("D", "1-9 old"), ("E", "8-9 old"), ("F", "1-3 old")];
    assert_eq!(left, expected.map(|(code, claim)| (code, vec![claim.to_owned()])));
}

pub fn request() -> Request {
    Request { securities: Securities::All, from: None, to: None, force: false, source: None, how: How::default() }
}

async fn take(store: &dyn Store, task: TaskId) -> Result<Fence> {
    commit(store, vec![Change::TakeTask { task, lease: None }]).await.map(|receipt| receipt.tasks[0])
}

async fn new_task(store: &dyn Store) -> TaskId {
    let task = Task::new("quotes", request(), at(1));
    commit(store, vec![Change::Task(task)]).await.unwrap().tasks[0].task
}

async fn fenced(store: &dyn Store, fence: Fence, changes: Vec<Change>) -> Result<Receipt> {
    store.commit(Commit { at: at(20), fence: Some(fence), changes }).await
}

pub async fn a_late_or_doubled_worker_is_refused(store: &dyn Store) {
    let task = new_task(store).await;
    let rows = vec![Change::Rows(quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)]))];
    let not_started = fenced(store, Fence { task, fence: 0 }, rows.clone()).await.unwrap_err();
    assert_eq!(not_started.kind(), ErrorKind::Conflict);
    let first = take(store, task).await.unwrap();
    let second = take(store, task).await.unwrap();
    assert_eq!((first.fence, second.fence), (1, 2));
    let late = fenced(store, first, rows.clone()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    assert!(late.message().contains("taken over"), "{late}");
    let events_before = store.events(0, 100).await.unwrap().len();
    assert!(all_quotes(store).await.is_empty());
    fenced(store, second, rows.clone()).await.unwrap();
    assert_eq!(store.events(0, 100).await.unwrap().len(), events_before + 1);
    let mut done = store.task(task).await.unwrap().unwrap();
    done.become_state(TaskState::Completed).unwrap();
    fenced(store, second, vec![Change::Task(done)]).await.unwrap();
    assert_eq!(fenced(store, second, rows).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(take(store, task).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(take(store, 99).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub async fn a_dataset_has_one_open_task(store: &dyn Store) {
    let first = new_task(store).await;
    let second = Task::new("quotes", request(), at(2));
    let error = commit(store, vec![Change::Task(second.clone())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message(), format!("dataset quotes already has open task {first}"));
    new_task_of(store, "notices").await;
    let mut cancelled = store.task(first).await.unwrap().unwrap();
    cancelled.state = TaskState::Failed;
    commit(store, vec![Change::Task(cancelled), Change::Task(second)]).await.unwrap();
    assert_eq!(
        store.tasks(2).await.unwrap().iter().map(|task| &*task.dataset).collect::<Vec<_>>(),
        ["quotes", "notices"]
    );
}

async fn new_task_of(store: &dyn Store, dataset: &str) {
    commit(store, vec![Change::Task(Task::new(dataset, request(), at(1)))]).await.unwrap();
}

pub async fn tasks_follow_their_states_and_say_so(store: &dyn Store) {
    let id = new_task(store).await;
    let fence = take(store, id).await.unwrap();
    let mut task = store.task(id).await.unwrap().unwrap();
    assert_eq!((task.state, task.fence, task.started_at), (TaskState::Running, 1, Some(at(20))));
    task.state = TaskState::Paused;
    task.note = Some("by hand".to_owned());
    commit(store, vec![Change::Task(task.clone())]).await.unwrap();
    assert_eq!(store.task(id).await.unwrap().unwrap(), task);
    task.state = TaskState::Completed;
    let error = commit(store, vec![Change::Task(task.clone())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let resumed = take(store, id).await.unwrap();
    assert_eq!(resumed, Fence { task: id, fence: fence.fence + 1 });
    let stale = commit(store, vec![Change::Task(task.clone())]).await.unwrap_err();
    assert!(stale.message().contains("taken over"), "{stale}");
    task.fence = resumed.fence;
    task.outcome = Some(Outcome::Success);
    task.finished_at = Some(at(21));
    task.note = None;
    commit(store, vec![Change::Task(task.clone())]).await.unwrap();
    assert_eq!(store.task(id).await.unwrap().unwrap(), task);
    assert!(commit(store, vec![Change::Task(task)]).await.is_err());
    let kinds: Vec<_> = store.events(0, 10).await.unwrap().iter().map(|event| event.kind).collect();
    use EventType::*;
    assert_eq!(kinds, [TaskCreated, TaskStarted, TaskPaused, TaskStarted, TaskCompleted]);
    assert_eq!(store.task(99).await.unwrap(), None);
}

pub async fn progress_and_rows_add_up_in_the_totals_of_the_task(store: &dyn Store) {
    let id = new_task(store).await;
    let fence = take(store, id).await.unwrap();
    let stale = store.task(id).await.unwrap().unwrap();
    let progress = Change::Progress(Totals { calls: 2, rows_answered: 1, ..Totals::default() });
    let rows = Change::Rows(quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)]));
    fenced(store, fence, vec![progress.clone(), rows.clone()]).await.unwrap();
    fenced(store, fence, vec![rows, progress.clone()]).await.unwrap();
    let inserted = Served { inserted: 1, ..Served::default() };
    let by_source = [("tushare".to_string(), inserted)].into();
    let expected =
        Totals { calls: 4, rows_answered: 2, rows_inserted: 1, rows_unchanged: 1, by_source, ..Totals::default() };
    assert_eq!(store.task(id).await.unwrap().unwrap().totals, expected);
    commit(store, vec![Change::Task(Task { state: TaskState::Paused, ..stale })]).await.unwrap();
    assert_eq!(store.task(id).await.unwrap().unwrap().totals, expected);
    assert_eq!(commit(store, vec![progress]).await.unwrap_err().kind(), ErrorKind::Bug);
}

fn failed(area: Area, attempts: u32) -> Failure {
    Failure {
        id: 0,
        dataset: "quotes".to_owned(),
        area,
        source: "tushare".to_owned(),
        task: 1,
        kind: "transient".to_owned(),
        message: "cut short".to_owned(),
        attempts,
        attempts_max: 5,
        next_attempt_at: at(21),
        first_at: at(attempts as i8),
        last_at: at(attempts as i8),
        resolved_at: None,
        resolution: None,
    }
}

pub async fn failures_are_kept_once_and_resolved_by_rows(store: &dyn Store) {
    let securities = Securities::Some(["000001.SZ", "000002.SZ"].map(Arc::from).into());
    let other = Area::new(securities, Span::ALL);
    for failure in [failed(january(2), 1), failed(other.clone(), 1), failed(january(2), 2)] {
        commit(store, vec![Change::Failure(failure)]).await.unwrap();
    }
    let found = store.failures(None, false).await.unwrap();
    let kept: Vec<_> = found.iter().map(|failure| (failure.id, failure.area.clone(), failure.attempts)).collect();
    assert_eq!(kept, [(1, january(2), 2), (2, other.clone(), 1)]);
    assert_eq!((found[0].first_at, found[0].last_at), (at(1), at(2)));
    commit_rows(store, quotes_of_day(2, &[])).await;
    let resolve = || vec![Change::ResolveFailure { id: 2, resolution: "not needed".to_owned() }];
    let last_event = commit(store, resolve()).await.unwrap().last_event;
    assert_eq!(commit(store, resolve()).await.unwrap().last_event, last_event, "asking twice is asking once");
    assert!(store.failures(Some("quotes"), false).await.unwrap().is_empty());
    let resolutions: Vec<_> =
        store.failures(Some("quotes"), true).await.unwrap().into_iter().map(|failure| failure.resolution).collect();
    assert_eq!(resolutions, [Some("fetched".to_owned()), Some("not needed".to_owned())]);
    commit(store, vec![Change::Failure(failed(january(2), 1))]).await.unwrap();
    assert_eq!(store.failures(Some("quotes"), true).await.unwrap().len(), 3, "it may fail anew");
    assert!(store.failures(Some("notices"), true).await.unwrap().is_empty());
    let missing = vec![Change::ResolveFailure { id: 9, resolution: String::new() }];
    assert_eq!(commit(store, missing).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub async fn calls_are_added_up_by_source_api_and_day(store: &dyn Store) {
    let used = |source: &str, api: &str, of_january: i8, calls: u64| Change::QuotaUsed {
        source: source.to_owned(),
        api: api.to_owned(),
        day: Day::new(2024, 1, of_january).unwrap(),
        calls,
    };
    let changes = vec![used("tushare", "weekly", 2, 1), used("tushare", "daily", 2, 3), used("tushare", "daily", 2, 4)];
    commit(store, changes).await.unwrap();
    commit(store, vec![used("tushare", "daily", 3, 5), used("other", "daily", 2, 6)]).await.unwrap();
    let found = store.quota_used("tushare", day("20240102")).await.unwrap();
    assert_eq!(found, [("daily".to_owned(), 7), ("weekly".to_owned(), 1)]);
}

pub async fn events_are_numbered_without_gaps_and_written_with_their_commit(store: &dyn Store) {
    let fact = Change::Event { kind: EventType::SourceSetAside, dataset: None, data: json!({ "source": "tushare" }) };
    let rows = Change::Rows(quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)]));
    let receipt = commit(store, vec![fact, rows.clone()]).await.unwrap();
    assert_eq!(receipt.last_event, 2);
    let broken = Change::TakeTask { task: 99, lease: None };
    assert!(commit(store, vec![rows.clone(), broken]).await.is_err());
    assert_eq!(commit(store, vec![rows]).await.unwrap().last_event, 3);
    let events = store.events(0, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(events[0].data, json!({ "source": "tushare" }));
    let expected = json!({
        "area": "all x 2024-01-02", "source": "tushare", "seq": 1, "inserted": 1, "updated": 0, "unchanged": 0,
        "withdrawn": 0, "quarantined": 0,
    });
    assert_eq!((events[1].kind, &events[1].data), (EventType::SliceCommitted, &expected));
    assert_eq!((events[1].at, events[1].dataset.as_deref()), (at(20), Some("quotes")));
    assert_eq!(store.events(1, 1).await.unwrap(), events[1..2]);
    assert!(store.events(3, 10).await.unwrap().is_empty());
}

pub async fn refused_rows_are_kept_once_and_not_served(store: &dyn Store) {
    let refused =
        Quarantined { rule: "price_limits".into(), reason: "line 7".into(), row: json!({ "ts_code": "000001.SZ" }) };
    // 2^53 + 1 hundredths have no double.
    let rows = [("000001.SZ", 2, Some((1i128 << 53) + 1), None), ("000002.SZ", 2, Some(1), None)];
    let change = RowsChange { quarantined: vec![refused.clone()], ..quotes_of_day(2, &rows) };
    assert_eq!(counts(commit_rows(store, change.clone()).await), [1, 0, 0, 0, 2]);
    assert_eq!(counts(commit_rows(store, change).await), [0, 0, 1, 0, 2]);
    assert_eq!(all_quotes(store).await, ["000002.SZ|2024-01-02|0.01|-"]);
    let kept = store.quarantine(Some("quotes"), 10).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[0].id, kept[0].quarantined.rule.as_str()), (2, "exact_decimal"));
    let row = json!({
        "ts_code": "000001.SZ", "trade_date": "2024-01-02", "close": "90071992547409.93", "amount": null,
    });
    assert_eq!(kept[0].quarantined.row, row);
    assert_eq!((&kept[1].quarantined, &*kept[1].source), (&refused, "tushare"));
    assert_eq!(store.quarantine(None, 1).await.unwrap().len(), 1);
    let data = &store.events(1, 1).await.unwrap()[0].data;
    assert_eq!(data["rules"], json!({ "price_limits": 1, "exact_decimal": 1 }));
}

pub async fn a_commit_that_fails_leaves_nothing(store: &dyn Store) {
    let good = quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)]);
    let twice = quotes_of_day(3, &[("000001.SZ", 3, Some(1), None), ("000001.SZ", 3, Some(2), None)]);
    let misfit = RowsChange { dataset: notices(), ..good.clone() };
    let unknown = Task { id: 99, ..Task::new("quotes", request(), at(1)) };
    for (change, kind) in [
        (Change::Rows(twice), ErrorKind::Bug),
        (Change::Rows(misfit), ErrorKind::Bug),
        (Change::Task(unknown), ErrorKind::NotFound),
    ] {
        let task = Change::Task(Task::new("quotes", request(), at(1)));
        let error = commit(store, vec![task, Change::Rows(good.clone()), change]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(all_quotes(store).await.is_empty());
        assert!(store.coverage("quotes").await.unwrap().is_empty());
        assert!(store.events(0, 10).await.unwrap().is_empty());
        assert!(store.tasks(10).await.unwrap().is_empty());
    }
}

fn between(column: &str, from: Option<&str>, to: Option<&str>) -> Filter {
    Filter::Between { column: column.to_owned(), from: from.map(str::to_owned), to: to.map(str::to_owned) }
}

fn one_of(column: &str, values: &[&str]) -> Filter {
    Filter::In { column: column.to_owned(), values: values.iter().map(|value| (*value).to_owned()).collect() }
}

async fn store_six(store: &dyn Store) {
    for of_january in [2, 3] {
        let rows = ["000001.SZ", "000002.SZ", "600000.SH"];
        let row = |index: usize| (rows[index], of_january, (index > 0).then_some(index as i128 * 100), None);
        commit_rows(store, quotes_of_day(of_january, &[row(2), row(0), row(1)])).await;
    }
}

pub async fn queries_filter_order_and_page(store: &dyn Store) {
    store_six(store).await;
    let order = |column: &str, descending: bool| Order { column: column.to_owned(), descending };
    let query = |filters: Vec<Filter>, order: Vec<Order>, limit: Option<u64>, offset: u64| Query {
        columns: vec!["trade_date".into(), "ts_code".into()],
        filters,
        order,
        limit,
        offset,
        ..Query::all("quotes")
    };
    let (second, third) = ("2024-01-02|", "2024-01-03|");
    let row = |day: &str, code: &str| format!("{day}{code}");
    for (query, expected) in [
        (query(vec![], vec![], Some(2), 1), vec![row(third, "000001.SZ"), row(second, "000002.SZ")]),
        (query(vec![], vec![], None, 5), vec![row(third, "600000.SH")]),
        (query(vec![one_of("ts_code", &["600000.SH"])], vec![], Some(1), 0), vec![row(second, "600000.SH")]),
        (query(vec![one_of("ts_code", &[])], vec![], None, 0), vec![]),
        (
            query(
                vec![one_of("ts_code", &["600000.SH", "000001.SZ", "no"]), one_of("trade_date", &["20240103"])],
                vec![],
                None,
                0,
            ),
            vec![row(third, "000001.SZ"), row(third, "600000.SH")],
        ),
        (
            query(vec![between("trade_date", Some("2024-01-03"), None)], vec![order("ts_code", true)], Some(2), 0),
            vec![row(third, "600000.SH"), row(third, "000002.SZ")],
        ),
        (
            query(vec![between("close", Some("1"), Some("1.50"))], vec![order("trade_date", true)], None, 0),
            vec![row(third, "000002.SZ"), row(second, "000002.SZ")],
        ),
        (
            query(vec![between("trade_date", None, Some("20240102"))], vec![order("close", false)], None, 0),
            vec![row(second, "000002.SZ"), row(second, "600000.SH"), row(second, "000001.SZ")],
        ),
        (
            query(vec![one_of("close", &["2", "7"])], vec![order("trade_date", false)], None, 0),
            vec![row(second, "600000.SH"), row(third, "600000.SH")],
        ),
    ] {
        assert_eq!(texts(store, &query).await.unwrap(), expected, "{query:?}");
    }
    let area = Area::new(Securities::one("000002.SZ"), Span::day(day("20240103")));
    assert_eq!(texts(store, &Query::area(&quotes(), &area)).await.unwrap(), ["000002.SZ|2024-01-03|1|-"]);
}

pub async fn exact_decimals_are_compared_as_numbers(store: &dyn Store) {
    let amounts = [
        -123_456_789_012_345_678_901,
        -20_000,
        -5_000,
        0,
        1,
        5_000,
        15_000,
        100_000,
        123_456_789_012_345_678_900,
        123_456_789_012_345_678_901,
    ];
    const CODES: [&str; 10] = ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"];
    let rows: Vec<Quote> = amounts.iter().zip(CODES).map(|(amount, code)| (code, 2, None, Some(*amount))).collect();
    commit_rows(store, quotes_of_day(2, &rows)).await;
    let query = |filter: Option<Filter>| Query {
        columns: vec!["amount".into()],
        filters: filter.into_iter().collect(),
        order: vec![Order { column: "amount".into(), descending: false }],
        ..Query::all("quotes")
    };
    let sorted: Vec<String> = amounts.iter().map(|amount| decimal::to_text(*amount, 4)).collect();
    assert_eq!(texts(store, &query(None)).await.unwrap(), sorted);
    for (from, to, expected) in [
        (Some("-0.5"), Some("0.5"), &sorted[2..6]),
        (Some("12345678901234567.8901"), None, &sorted[9..]),
        (None, Some("-2.0"), &sorted[..2]),
        (Some("1.5"), Some("1.50"), &sorted[6..7]),
    ] {
        assert_eq!(texts(store, &query(Some(between("amount", from, to)))).await.unwrap(), expected, "{from:?} {to:?}");
    }
    assert_eq!(texts(store, &query(Some(one_of("amount", &["10.0000", "3"])))).await.unwrap(), ["10"]);
}

pub async fn unknown_names_are_not_found_and_bad_values_invalid(store: &dyn Store) {
    let quotes = || Query::all("quotes");
    for (query, kind) in [
        (Query::all("nothing"), ErrorKind::NotFound),
        (Query { columns: vec!["nothing".into()], ..quotes() }, ErrorKind::NotFound),
        (Query { order: vec![Order { column: "x\" --".into(), descending: true }], ..quotes() }, ErrorKind::NotFound),
        (Query { filters: vec![one_of("nothing", &[])], ..quotes() }, ErrorKind::NotFound),
        (Query { filters: vec![one_of("trade_date", &["2024-13-01"])], ..quotes() }, ErrorKind::Invalid),
        (Query { filters: vec![between("close", Some("cheap"), None)], ..quotes() }, ErrorKind::Invalid),
    ] {
        assert_eq!(texts(store, &query).await.unwrap_err().kind(), kind, "{query:?}");
    }
    let stranger = dataset(&format!("name = \"stranger\"\n{}", BARE));
    let batch = RecordBatch::new_empty(stranger.schema());
    let change = RowsChange { dataset: stranger, batch, ..quotes_of_day(2, &[]) };
    assert_eq!(commit(store, vec![Change::Rows(change)]).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// A dataset of codes without days.
pub const BARE: &str = r#"
    key = ["code"]
    shape = "whole"
    columns = [{ name = "code", type = "text", unit = "", meaning = "", meaning_zh = "" }]
"#;

pub async fn a_scan_sees_one_moment(store: &dyn Store) {
    for of_january in 1..=28 {
        commit_rows(store, quotes_of_day(of_january, &[("000001.SZ", of_january, Some(1), None)])).await;
    }
    let mut batches = store.scan(&Query::all("quotes")).await.unwrap();
    let first = batches.next().await.unwrap().unwrap();
    for of_january in 1..=28 {
        commit_rows(store, quotes_of_day(of_january, &[])).await;
    }
    let mut rows = first.num_rows();
    while let Some(batch) = batches.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, 28);
    assert!(all_quotes(store).await.is_empty());
    let unread = store.scan(&Query::all("quotes")).await.unwrap();
    drop(unread);
}

pub async fn tables_are_widened_and_other_differences_refused(store: &dyn Store) {
    store_six(store).await;
    let changed = |change: fn(&mut Dataset)| {
        let mut dataset = (*quotes()).clone();
        change(&mut dataset);
        Arc::new(dataset)
    };
    let add = |dataset: &mut Dataset| {
        let volume = Column { name: "vol".into(), kind: ColumnType::Int, ..dataset.columns[2].clone() };
        dataset.columns.insert(2, volume);
    };
    let required = |dataset: &mut Dataset| {
        dataset.columns.push(Column { name: "extra".into(), ..dataset.columns[0].clone() });
    };
    for refused in [
        changed(|dataset| dataset.key.reverse()),
        changed(|dataset| dataset.columns[2].kind = ColumnType::Text),
        changed(|dataset| dataset.columns[2].digits = 20),
        changed(|dataset| dataset.columns[2].scale = 1),
        changed(required),
    ] {
        let error = store.prepare(&[refused]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.hint_text().is_some());
    }
    let wide = changed(add);
    store.prepare(std::slice::from_ref(&wide)).await.unwrap();
    store.prepare(&[wide]).await.unwrap();
    let rows = all_quotes(store).await;
    assert_eq!((rows.len(), rows[5].as_str()), (6, "600000.SH|2024-01-03|-|2|-"));
    let reserved = dataset(&format!("name = \"_task\"\n{BARE}"));
    assert_eq!(store.prepare(&[reserved]).await.unwrap_err().kind(), ErrorKind::Invalid);
}

pub async fn the_summary_counts_without_looking_at_rows(store: &dyn Store) {
    store_six(store).await;
    commit(store, vec![Change::Failure(failed(january(9), 1))]).await.unwrap();
    commit_rows(store, notice(Area::whole(), &[("000001.SZ", None)])).await;
    let summary = store.summary().await.unwrap();
    assert!(summary.bytes > 0 && !summary.location.is_empty());
    assert_eq!(summary.last_event, 4);
    let [notices, quotes] = &summary.datasets[..] else { panic!("two datasets, not {}", summary.datasets.len()) };
    assert_eq!((notices.name.as_str(), notices.rows, notices.first_day), ("notices", 1, None));
    assert_eq!((quotes.rows, quotes.claims, quotes.failures, quotes.quarantined), (6, 2, 1, 0));
    assert_eq!((quotes.first_day, quotes.last_day), (Some(day("20240102")), Some(day("20240103"))));
    assert_eq!(quotes.last_commit_at, Some(at(20)));
}

pub async fn random_changes_end_as_in_a_plain_model(store: &dyn Store) {
    crate::store_model::random_changes(store, 7, 150).await;
}

pub async fn what_was_believed_is_read_as_of_then(store: &dyn Store) {
    crate::store_as_of::what_was_believed_is_read_as_of_then(store).await;
}

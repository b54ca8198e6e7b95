//! Reads what planning must know of the market from the store's own tables.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Date32Type, Int64Type},
};
use futures::TryStreamExt;

use crate::model::calendar::quarter_ends;
use crate::model::{
    Dataset, Day, Failure, Filter, Instant, Query, Result, Security, SecurityList, Span, Strategy, TradingCalendar,
};
use crate::plan::{Knowledge, Reports, Schedule, Wanted, open_periods};
use crate::store::{Scan, Store};

/// Datasets that plans depend on, in the order in which they are kept.
pub const PREREQUISITES: [&str; 3] = ["trade_cal", "stock_basic", "bse_mapping"];

/// Everything known, from whatever is stored; empty tables teach nothing.
pub async fn read(store: &dyn Scan) -> Result<Knowledge> {
    let calendar = calendar(store).await?;
    let former = read_former_codes(store).await?;
    let securities = read_securities(store, &former).await?;
    let suspended = read_suspended(store).await?;
    Ok(Knowledge { calendar, securities, suspended, ..Knowledge::default() })
}

/// The list of securities with the codes that they had before.
pub async fn securities(store: &dyn Scan) -> Result<SecurityList> {
    read_securities(store, &read_former_codes(store).await?).await
}

/// As `read`, with what the strategy of a request has to know besides when `source` is asked.
pub async fn read_for(
    store: &dyn Store,
    dataset: &Dataset,
    wanted: &Wanted,
    source: &str,
    now: Instant,
) -> Result<Knowledge> {
    let mut knowledge = read(store).await?;
    match wanted.kept.strategy {
        Strategy::Statements => {
            knowledge.failures = read_failures(store, dataset, source, now).await?;
            knowledge.reports = read_reports(store, dataset, &knowledge.calendar, now).await?;
        }
        Strategy::Incremental => knowledge.failures = read_failures(store, dataset, source, now).await?,
        _ => {}
    }
    Ok(knowledge)
}

/// Unresolved failures. What another source failed at need not wait: this one may be tried at once.
async fn read_failures(store: &dyn Store, dataset: &Dataset, source: &str, now: Instant) -> Result<Vec<Failure>> {
    let mut failures = store.failures(Some(&dataset.name), false).await?;
    for failure in failures.iter_mut().filter(|failure| failure.source != source) {
        failure.next_attempt_at = failure.next_attempt_at.min(now);
    }
    Ok(failures)
}

/// Disclosures and stored rows of the periods whose reports may still come.
async fn read_reports(
    store: &dyn Store,
    dataset: &Dataset,
    calendar: &TradingCalendar,
    now: Instant,
) -> Result<Reports> {
    let mut reports = Reports::default();
    let periods = open_periods(dataset, &Schedule::new(dataset, calendar), now);
    let values = || periods.iter().map(|period| period.to_string()).collect();
    let columns = ["ts_code", "end_date", "pre_date", "actual_date"];
    let in_period = Filter::In { column: "end_date".into(), values: values() };
    for batch in &collect(store, "disclosure_date", &columns, vec![in_period]).await? {
        let planned = days(batch, 2).zip(days(batch, 3)).map(|(planned, actual)| actual.or(planned));
        for ((code, period), disclosed) in texts(batch, 0).zip(days(batch, 1)).zip(planned) {
            let (Some(period), Some(disclosed)) = (period, disclosed) else { continue };
            reports.disclosed.entry(period).or_default().insert(code.into(), disclosed);
        }
    }
    let (Some(security), Some(time)) = (&dataset.security, &dataset.time) else { return Ok(reports) };
    let in_period = Filter::In { column: time.clone(), values: values() };
    for batch in &collect(store, &dataset.name, &[security, time], vec![in_period]).await? {
        for (code, period) in texts(batch, 0).zip(days(batch, 1)) {
            let Some(period) = period else { continue };
            reports.stored.entry(period).or_default().insert(code.into());
        }
    }
    Ok(reports)
}

/// Days on which reports of recent periods were or will be announced, sorted: the actual ones, else the planned ones.
pub async fn announced(store: &dyn Scan, today: Day) -> Result<Vec<Day>> {
    let periods = quarter_ends(Span::new(today.plus(-ANNOUNCED_DAYS), today));
    let values = periods.iter().map(|period| period.to_string()).collect();
    let recent = Filter::In { column: "end_date".into(), values };
    let mut announced = BTreeSet::new();
    for batch in &collect(store, "disclosure_date", &["pre_date", "actual_date"], vec![recent]).await? {
        announced.extend(days(batch, 0).zip(days(batch, 1)).filter_map(|(planned, actual)| actual.or(planned)));
    }
    Ok(announced.into_iter().collect())
}

/// Days after the end of a period within which its report is looked for.
const ANNOUNCED_DAYS: i32 = 400;

async fn collect<S: Scan + ?Sized>(
    store: &S,
    dataset: &str,
    columns: &[&str],
    filters: Vec<Filter>,
) -> Result<Vec<RecordBatch>> {
    let columns = columns.iter().map(|column| column.to_string()).collect();
    let query = Query { columns, filters, ..Query::all(dataset) };
    match store.scan(&query).await {
        Ok(batches) => batches.try_collect().await,
        // A table that the catalogue no longer has teaches nothing.
        Err(error) if error.kind() == crate::model::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Text values of a column; a missing value is empty.
fn texts(batch: &RecordBatch, column: usize) -> impl Iterator<Item = &str> {
    let values = batch.column(column).as_string::<i32>();
    (0..batch.num_rows()).map(|row| if values.is_null(row) { "" } else { values.value(row) })
}

fn days(batch: &RecordBatch, column: usize) -> impl Iterator<Item = Option<Day>> {
    let values = batch.column(column).as_primitive::<Date32Type>();
    (0..batch.num_rows()).map(|row| values.is_valid(row).then(|| Day(values.value(row))))
}

/// The trading calendar as far as it is stored.
pub async fn calendar(store: &dyn Scan) -> Result<TradingCalendar> {
    let exchange = Filter::In { column: "exchange".into(), values: vec!["SSE".into()] };
    let batches = collect(store, "trade_cal", &["cal_date", "is_open"], vec![exchange]).await?;
    let mut open = Vec::new();
    let mut known: Option<Span> = None;
    for batch in &batches {
        let is_open = batch.column(1).as_primitive::<Int64Type>().iter();
        for (day, is_open) in days(batch, 0).zip(is_open) {
            let Some(day) = day else { continue };
            known = Some(known.map_or(Span::day(day), |span| Span::new(span.from.min(day), span.to.max(day))));
            if is_open == Some(1) {
                open.push(day);
            }
        }
    }
    Ok(TradingCalendar::new(open, known))
}

/// New code -> the codes it had before.
async fn read_former_codes(store: &dyn Scan) -> Result<HashMap<String, Vec<Arc<str>>>> {
    let mut former: HashMap<String, Vec<Arc<str>>> = HashMap::new();
    for batch in &collect(store, "bse_mapping", &["o_code", "n_code"], Vec::new()).await? {
        for (old, new) in texts(batch, 0).zip(texts(batch, 1)) {
            former.entry(new.to_string()).or_default().push(old.into());
        }
    }
    Ok(former)
}

async fn read_securities(store: &dyn Scan, former: &HashMap<String, Vec<Arc<str>>>) -> Result<SecurityList> {
    let columns = ["ts_code", "name", "list_date", "delist_date", "list_status"];
    let mut all = Vec::new();
    for batch in &collect(store, "stock_basic", &columns, Vec::new()).await? {
        let dates = days(batch, 2).zip(days(batch, 3));
        let named = texts(batch, 0).zip(texts(batch, 1)).zip(texts(batch, 4));
        for (((code, name), status), (listed, delisted)) in named.zip(dates) {
            // A share that is announced but has no listing day yet cannot trade. A source that knows neither day nor
            // status lists what trades: since when, only the answers tell.
            let Some(listed) = listed.or(status.is_empty().then_some(Day::MIN)) else { continue };
            let former = former.get(code).cloned().unwrap_or_default();
            all.push(Security { code: code.into(), name: name.to_string(), listed, delisted, former });
        }
    }
    Ok(SecurityList::new(all))
}

/// Suspensions of a whole day; halts within a day leave a row in the bars.
async fn read_suspended(store: &dyn Scan) -> Result<HashMap<Day, HashSet<Arc<str>>>> {
    let whole_day = vec![
        Filter::In { column: "suspend_type".into(), values: vec!["S".into()] },
        Filter::In { column: "suspend_timing".into(), values: vec![String::new()] },
    ];
    let mut suspended: HashMap<Day, HashSet<Arc<str>>> = HashMap::new();
    for batch in &collect(store, "suspend_d", &["ts_code", "trade_date"], whole_day).await? {
        for (code, day) in texts(batch, 0).zip(days(batch, 1)) {
            let Some(day) = day else { continue };
            suspended.entry(day).or_default().insert(code.into());
        }
    }
    Ok(suspended)
}

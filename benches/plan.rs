//! Planner time for every table of the catalogue x 5,400 securities x 25 years, and rows per second of the checks.
//!
//! `cargo bench --bench plan`

use std::sync::Arc;
use std::time::Instant as Timer;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, RecordBatch, StringArray};
use tidegate::catalog::Catalog;
use tidegate::check;
use tidegate::model::{
    Area, Claim, Coverage, Dataset, Day, Evidence, Exchanges, Instant, Offer, Securities, Security, SecurityList, Span,
    TradingCalendar,
};
use tidegate::plan::{self, Input, Knowledge, Wanted};

const SECURITIES: usize = 5_400;
const ROWS: usize = 2_000_000;

fn main() {
    let catalog = Catalog::builtin().expect("the catalogue is valid");
    let last = Day::parse("20241231").expect("a date");
    let span = Span::new(Day::parse("20000101").expect("a date"), last);
    let now = Instant::at(last.plus(1), 60);
    let knowledge = knowledge(span);
    println!("{} tables x {SECURITIES} securities x {span}", catalog.datasets().len());
    let nothing = |_: &Dataset| Coverage::default();
    let market = |dataset: &Dataset| Coverage::from_claims(market_claims(dataset, &knowledge, span, now), Vec::new());
    let single = |dataset: &Dataset| Coverage::from_claims(security_claims(dataset, &knowledge, now), Vec::new());
    measure("nothing claimed", &catalog, &knowledge, span, now, &nothing);
    measure("every day claimed for the market", &catalog, &knowledge, span, now, &market);
    measure("every security claimed by itself", &catalog, &knowledge, span, now, &single);
    let daily = catalog.get("daily").expect("a catalogue has daily");
    for rows in [6_000, ROWS] {
        measure_checks(daily, rows);
    }
}

fn knowledge(span: Span) -> Knowledge {
    let open = span.from.to(span.to).filter(|day| !day.is_weekend()).collect();
    let security = |number: usize| Security {
        code: Arc::from(format!("{number:06}.SZ")),
        name: String::new(),
        listed: span.from.plus((number * 9_000 / SECURITIES) as i32 - 2_000),
        delisted: number.is_multiple_of(20).then(|| span.to.plus(-(number as i32 % 3_000))),
        former: Vec::new(),
    };
    Knowledge {
        calendar: TradingCalendar::new(open, Some(span)),
        securities: SecurityList::new((0..SECURITIES).map(security).collect()),
        ..Knowledge::default()
    }
}

fn claim(area: Area, at: Instant) -> Claim {
    let (evidence, source, lacks) = (Evidence::Present, "tushare".into(), Exchanges::default());
    Claim { area, evidence, source, rows: 0, at, stale_at: None, lacks }
}

fn market_claims(dataset: &Dataset, knowledge: &Knowledge, span: Span, now: Instant) -> Vec<Claim> {
    if dataset.time.is_none() {
        return vec![claim(Area::whole(), now)];
    }
    let days = knowledge.calendar.points(dataset.expect.points, span);
    days.into_iter().map(|day| claim(Area::day(day), now)).collect()
}

fn security_claims(dataset: &Dataset, knowledge: &Knowledge, now: Instant) -> Vec<Claim> {
    if dataset.security.is_none() || dataset.universe == tidegate::model::dataset::Universe::Market {
        return vec![claim(Area::whole(), now)];
    }
    let codes: Vec<Arc<str>> = match dataset.codes.is_empty() {
        true => knowledge.securities.iter().map(|security| security.code.clone()).collect(),
        false => dataset.codes.iter().map(|code| Arc::from(code.as_str())).collect(),
    };
    codes.into_iter().map(|code| claim(Area::new(Securities::one(code), Span::ALL), now)).collect()
}

fn measure(
    what: &str,
    catalog: &Catalog,
    knowledge: &Knowledge,
    span: Span,
    now: Instant,
    coverage: &dyn Fn(&Dataset) -> Coverage,
) {
    let (from, to, kept) = (Some(span.from), Some(span.to), plan::Kept::default());
    let wanted = Wanted { securities: Securities::All, from, to, force: false, kept };
    let (mut calls, mut slowest, mut total_ms) = (0, (0.0, ""), 0.0);
    for dataset in catalog.datasets() {
        let Some(table) = &dataset.tushare else { continue };
        let offer = Offer {
            api: table.api.clone(),
            cuts: table.cuts.clone(),
            row_cap: table.row_cap,
            offset_max: None,
            calls_per_slice: table.facets.values().map(|values| values.len() as u32).product(),
            per_minute: Some(500),
            per_day: None,
            concurrency: None,
            lacks: Vec::new(),
            lacks_exchanges: Exchanges::default(),
        };
        let coverage = coverage(dataset);
        let start = Timer::now();
        let input = Input { dataset, offer: &offer, knowledge, coverage: &coverage, wanted: &wanted, now };
        calls += plan::plan(&input).calls;
        let spent_ms = start.elapsed().as_secs_f64() * 1_000.0;
        total_ms += spent_ms;
        slowest = if spent_ms > slowest.0 { (spent_ms, dataset.name.as_str()) } else { slowest };
    }
    println!("plan, {what}: {total_ms:.0} ms for all, slowest {} {:.0} ms, {calls} calls", slowest.1, slowest.0);
}

fn measure_checks(daily: &Dataset, rows: usize) {
    let batch = bars(daily, rows);
    let repeats = (ROWS / rows).max(1);
    let start = Timer::now();
    for _ in 0..repeats {
        let checked = check::check(daily, &Area::whole(), batch.clone());
        assert_eq!((checked.batch.num_rows(), checked.quarantined.len(), checked.warnings.len()), (rows, 0, 0));
    }
    let rows_per_second = (repeats * rows) as f64 / start.elapsed().as_secs_f64();
    println!("check, daily in batches of {rows}: {:.1} million rows/s", rows_per_second / 1e6);
}

/// Bars that pass every rule, in an order that is not the key's.
fn bars(daily: &Dataset, rows: usize) -> RecordBatch {
    let numbers = |of: &dyn Fn(i128) -> i128, scale: i8| -> ArrayRef {
        let values = Decimal128Array::from_iter_values((0..rows as i128).map(of));
        Arc::new(values.with_precision_and_scale(38, scale).expect("a scale of the catalogue"))
    };
    let close = |row: i128| 100_000 + row % 5_000 * 100;
    let columns = daily.columns.iter().map(|column| -> ArrayRef {
        match column.name.as_str() {
            "ts_code" => {
                Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("{:06}.SZ", row * 7 % 5_400))))
            }
            "trade_date" => Arc::new(Date32Array::from_iter_values((0..rows).map(|row| 10_000 + (row / 5_400) as i32))),
            "open" | "close" | "pre_close" => numbers(&close, column.scale),
            "high" => numbers(&|row| close(row) + 1_000, column.scale),
            "low" => numbers(&|row| close(row) - 1_000, column.scale),
            "vol" => numbers(&|row| 10_000 + row, column.scale),
            "amount" => numbers(&|row| close(row) * (10_000 + row) / 100, column.scale),
            _ => numbers(&|_| 0, column.scale),
        }
    });
    RecordBatch::try_new(daily.schema(), columns.collect()).expect("columns of the schema")
}

//! Rows per second of the SQLite store against `sqlite3 .import` of the same rows in the same run.
//!
//! `cargo bench --bench store -- --days 243 --securities 5150 --group 20`

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant as Timer};

use arrow_array::RecordBatch;
use arrow_array::builder::{Date32Builder, Decimal128Builder, StringBuilder};
use futures::StreamExt;
use tidegate::model::change::{ClaimChange, Write};
use tidegate::model::{
    Area, Change, Clock, Column, ColumnType, Commit, Dataset, Day, Evidence, Exchanges, Instant, Query, RowsChange,
    decimal,
};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tidegate::store::{Scan, Store};

const DAILY: &str = r#"
name = "daily"
title = ""
title_zh = ""
about = ""
key = ["ts_code", "trade_date"]
security = "ts_code"
time = "trade_date"
shape = "dense"
publish = { at = "16:00", settle_days = 1, refresh_hours = 4 }
policy = { mode = "incremental", schedule = "0 16 * * *", batch = 5000, retries = 3, conflict = "replace" }
columns = [
    { name = "ts_code", type = "text", unit = "", meaning = "", meaning_zh = "" },
    { name = "trade_date", type = "date", unit = "", meaning = "", meaning_zh = "" },
]
"#;

/// The numbers of a daily bar: name, scale, typical size, spread.
const NUMBERS: [(&str, i8, i128, i128); 9] = [
    ("open", 4, 100_000, 900_000),
    ("high", 4, 100_000, 900_000),
    ("low", 4, 100_000, 900_000),
    ("close", 4, 100_000, 900_000),
    ("pre_close", 4, 100_000, 900_000),
    ("change", 4, -5_000, 10_000),
    ("pct_chg", 4, -100_000, 200_000),
    ("vol", 0, 100_000, 90_000_000),
    ("amount", 3, 1_000_000_000, 90_000_000_000),
];

fn daily() -> Arc<Dataset> {
    let mut dataset: Dataset = toml::from_str(DAILY).expect("the dataset of the bench is valid");
    dataset.columns.extend(NUMBERS.map(|(name, scale, ..)| Column {
        name: name.to_owned(),
        kind: ColumnType::Decimal,
        scale,
        nullable: true,
        ..dataset.columns[0].clone()
    }));
    Arc::new(dataset)
}

/// What is measured.
struct Shape {
    days: i32,
    securities: usize,
    group: i32,
    wal_pages: u32,
}

impl Shape {
    fn from_arguments() -> Shape {
        let arguments: Vec<String> = std::env::args().collect();
        let number = |name: &str, default: i32| {
            let at = arguments.iter().position(|argument| argument == name);
            at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
        };
        let securities = number("--securities", 5_150) as usize;
        let wal_pages = number("--wal-pages", SqliteOptions::default().wal_autocheckpoint as i32) as u32;
        Shape { days: number("--days", 243), securities, group: number("--group", 20), wal_pages }
    }

    fn rows(&self) -> f64 {
        f64::from(self.days) * self.securities as f64
    }
}

/// One day of the market, the same every time, in the order in which a source sends it.
fn day_batch(dataset: &Dataset, day: Day, securities: usize) -> RecordBatch {
    let (mut codes, mut days) = (StringBuilder::new(), Date32Builder::new());
    let mut numbers: Vec<Decimal128Builder> = NUMBERS
        .iter()
        .map(|number| Decimal128Builder::new().with_data_type(arrow_schema::DataType::Decimal128(38, number.1)))
        .collect();
    let mut state = day.0 as u64 * 0x9e37_79b9_7f4a_7c15 + 1;
    for security in (0..securities).rev() {
        let (number, exchange) = if security % 2 == 0 { (security, "SZ") } else { (600_000 + security, "SH") };
        codes.append_value(format!("{number:06}.{exchange}"));
        days.append_value(day.0);
        for (builder, (_, _, least, spread)) in numbers.iter_mut().zip(NUMBERS) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            builder.append_value(least + i128::from(state >> 16) % spread);
        }
    }
    let mut columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(codes.finish()), Arc::new(days.finish())];
    columns.extend(numbers.iter_mut().map(|builder| Arc::new(builder.finish()) as arrow_array::ArrayRef));
    RecordBatch::try_new(dataset.schema(), columns).expect("the rows fit the dataset")
}

fn group_commit(dataset: &Arc<Dataset>, days: impl Iterator<Item = Day>, securities: usize) -> Commit {
    let at = Instant::at(Day(19_724), 960);
    let rows = |day: Day| {
        Change::Rows(RowsChange {
            dataset: dataset.clone(),
            area: Area::day(day),
            batch: day_batch(dataset, day, securities),
            lacks: Vec::new(),
            lacks_exchanges: Exchanges::default(),
            write: Write::Replace,
            source: Arc::from("tushare"),
            rank: 1,
            fetched_at: at,
            claim: Some(ClaimChange { evidence: Evidence::Present, stale_at: None }),
            quarantined: Vec::new(),
        })
    };
    Commit { at, fence: None, changes: days.map(rows).collect() }
}

/// Loads every day in groups; only the commits are timed, making the rows is not.
async fn load(store: &SqliteStore, dataset: &Arc<Dataset>, shape: &Shape) -> Spent {
    let mut spent = Spent::default();
    for first in (0..shape.days).step_by(shape.group.max(1) as usize) {
        let last = (first + shape.group).min(shape.days);
        let commit = group_commit(dataset, (first..last).map(|day| Day(9_000 + day)), shape.securities);
        let watch = Watch::start();
        store.commit(commit).await.expect("the commit works");
        spent += watch.stop();
    }
    spent
}

async fn scan(store: &SqliteStore, query: &Query) -> (u64, Spent) {
    let watch = Watch::start();
    let mut rows = 0;
    let mut batches = store.scan(query).await.expect("the scan starts");
    while let Some(batch) = batches.next().await {
        rows += batch.expect("the scan goes on").num_rows() as u64;
    }
    (rows, watch.stop())
}

/// The same rows as CSV, in the order of arrival.
fn write_csv(path: &Path, dataset: &Dataset, shape: &Shape) -> std::io::Result<()> {
    use arrow_array::cast::AsArray;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for day in (0..shape.days).map(|day| Day(9_000 + day)) {
        let batch = day_batch(dataset, day, shape.securities);
        let codes = batch.column(0).as_string::<i32>();
        for row in 0..batch.num_rows() {
            write!(file, "{},{day}", codes.value(row))?;
            for (index, (_, scale, ..)) in NUMBERS.iter().enumerate() {
                let values = batch.column(index + 2).as_primitive::<arrow_array::types::Decimal128Type>();
                write!(file, ",{}", decimal::to_text(values.value(row), *scale))?;
            }
            writeln!(file)?;
        }
    }
    file.flush()
}

/// `None` when the `sqlite3` program is not installed.
fn import(folder: &Path, csv: &Path) -> Option<Spent> {
    let numbers: String = NUMBERS.iter().map(|(name, ..)| format!(", \"{name}\" real")).collect();
    let create = format!(
        "create table daily (ts_code text not null, trade_date text not null{numbers}, \
         primary key (ts_code, trade_date)) without rowid"
    );
    let database = folder.join("import.db");
    let run =
        |command: &str| Command::new("sqlite3").arg(&database).arg(command).status().ok()?.success().then_some(());
    run(&create)?;
    let watch = Watch::start();
    run(&format!(".import --csv {} daily", csv.display()))?;
    Some(watch.stop())
}

/// The most memory that this process has had, in MB.
fn memory_peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes / 1024)
}

/// What a step took: by the clock, and of the processor (this process and its children), which other load hardly changes.
#[derive(Clone, Copy, Default)]
struct Spent {
    clock: Duration,
    processor: Duration,
}

struct Watch(Timer, Duration);

impl Watch {
    fn start() -> Watch {
        Watch(Timer::now(), processor_time())
    }

    fn stop(self) -> Spent {
        Spent { clock: self.0.elapsed(), processor: processor_time() - self.1 }
    }
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        self.clock += other.clock;
        self.processor += other.processor;
    }
}

/// User and system time of this process and of the children it has waited for.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    // After the name: utime, stime, cutime and cstime are fields 11 to 14, in hundredths of a second.
    let ticks: u64 = fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn report(what: &str, rows: f64, spent: Spent) {
    let (clock, processor) = (spent.clock.as_secs_f64(), spent.processor.as_secs_f64());
    println!("{what:<28} {clock:>8.2} s {processor:>8.2} CPU s {:>12.0} rows/s", rows / clock);
}

#[tokio::main]
async fn main() {
    let shape = Shape::from_arguments();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = daily();
    println!("{} days x {} securities, {} days a commit", shape.days, shape.securities, shape.group);

    let options = SqliteOptions { create: true, wal_autocheckpoint: shape.wal_pages, ..SqliteOptions::default() };
    let store = SqliteStore::open(&folder.path().join("store.db"), options, Clock::system()).expect("the store opens");
    store.prepare(std::slice::from_ref(&dataset)).await.expect("the tables are made");
    report("first load", shape.rows(), load(&store, &dataset, &shape).await);
    report("the same again", shape.rows(), load(&store, &dataset, &shape).await);
    let (rows, spent) = scan(&store, &Query::all("daily")).await;
    report("scan of everything", rows as f64, spent);
    let (rows, spent) = scan(&store, &Query::area(&dataset, &Area::day(Day(9_000)))).await;
    report("scan of one day", rows as f64, spent);
    let started = Timer::now();
    let summary = store.summary().await.expect("the summary works");
    let megabytes = summary.bytes / 1_000_000;
    println!("summary {:.1} ms, file {megabytes} MB", started.elapsed().as_secs_f64() * 1e3);
    println!("peak memory {} MB", memory_peak_mb());

    let csv = folder.path().join("daily.csv");
    write_csv(&csv, &dataset, &shape).expect("the file is written");
    match import(folder.path(), &csv) {
        Some(spent) => report("sqlite3 .import", shape.rows(), spent),
        None => println!("sqlite3 is not installed: nothing to compare with"),
    }
}

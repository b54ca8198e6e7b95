//! The PostgreSQL store against `psql \copy` of the same rows as CSV into one table with the same primary key, on the
//! same server in the same run: a fresh load, and the same again. Rows arrive as the engine's writer groups them: days of
//! the market, twenty a commit.
//!
//! ```sh
//! cargo bench --bench postgres                      # 1 million rows
//! cargo bench --bench postgres -- --rows 10000000
//! ```
//!
//! Needs PostgreSQL's programs under /usr/lib/postgresql; it starts a server of its own in a temporary folder.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant as Moment;

use arrow_array::builder::{Date32Builder, Decimal128Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use tidegate::catalog::Catalog;
use tidegate::model::change::{ClaimChange, Write};
use tidegate::model::{Area, Change, Clock, Commit, Counts, Dataset, Day, Evidence, Exchanges, RowsChange};
use tidegate::store::Store;
use tidegate::store::postgres::{PostgresOptions, PostgresStore};

#[path = "server/postgres.rs"]
mod server;

use server::Server;

const SECURITIES: usize = 5_000;
const DAYS_A_COMMIT: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|text| text == "--rows").and_then(|at| arguments.get(at + 1));
    let rows: usize = at.map_or(1_000_000, |text| text.parse().expect("--rows takes a number"));
    let days: Vec<Day> = trading_days(rows.div_ceil(SECURITIES));
    let server = Server::start();
    let catalog = Catalog::builtin().expect("the catalogue");
    let daily = catalog.get("daily").expect("daily").clone();
    let codes: Vec<String> = (0..SECURITIES).map(|number| format!("{:06}.SZ", number + 1)).collect();

    let csv = server.folder.join("daily.csv");
    write_csv(&csv, &codes, &days);
    let copy = server.psql_copy(&csv);
    std::fs::remove_file(&csv).expect("removing the file");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (load, again) = runtime.block_on(async {
        let options = PostgresOptions { create: true, ..PostgresOptions::default() };
        let store = PostgresStore::open(&server.url(), options, Clock::system()).await.expect("the store");
        store.prepare(std::slice::from_ref(&daily)).await.expect("the tables");
        let (load, counts) = commit_all(&store, &daily, &codes, &days).await;
        assert_eq!(counts.inserted as usize, days.len() * SECURITIES);
        let (again, counts) = commit_all(&store, &daily, &codes, &days).await;
        assert_eq!(counts.unchanged as usize, days.len() * SECURITIES);
        (load, again)
    });
    let count = (days.len() * SECURITIES) as f64;
    println!("{count} rows of daily over {} days, {DAYS_A_COMMIT} days a commit\n", days.len());
    println!("{:44} {:>9} {:>12}", "", "seconds", "rows/s");
    let named = [("psql \\copy into one table with the key", copy), ("Store::commit", load), ("the same again", again)];
    for (name, seconds) in named {
        println!("{name:44} {seconds:>9.2} {:>12.0}", count / seconds);
    }
    println!("\nratio, fresh load: {:.2} x   again: {:.2} x", copy / load, copy / again);
}

/// Five days a week, ending in 2025.
fn trading_days(count: usize) -> Vec<Day> {
    let last = Day::parse("2025-12-31").expect("a day");
    let mut days: Vec<Day> = (0..).map(|back| last.plus(-back)).filter(|day| !day.is_weekend()).take(count).collect();
    days.reverse();
    days
}

/// Nine figures of a security on a day, in the scales of the catalogue; the same for the same arguments.
fn figures(code: usize, day: Day) -> [i128; 9] {
    let mut mixed = (code as u64) << 32 | day.0 as u64;
    let mut next = |below: u64| {
        mixed = mixed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i128::from((value ^ (value >> 31)) % below)
    };
    let open = 500 + next(5_000);
    let [high, low] = [open + next(50), open - next(50)];
    [open, high, low, open + next(20), open, next(50), next(10_000), next(90_000_000), next(9_000_000_000)]
}

/// Position and scale of each decimal.
fn decimals_of(daily: &Dataset) -> Vec<(usize, i8)> {
    let columns = daily.columns.iter().enumerate();
    let decimals = columns.filter(|(_, column)| column.kind == tidegate::model::ColumnType::Decimal);
    decimals.map(|(index, column)| (index, column.scale)).collect()
}

fn batch(daily: &Dataset, codes: &[String], day: Day) -> RecordBatch {
    let decimals = decimals_of(daily);
    let mut builders: Vec<Decimal128Builder> = decimals
        .iter()
        .map(|(_, scale)| Decimal128Builder::new().with_precision_and_scale(38, *scale).expect("a scale"))
        .collect();
    let (mut names, mut days) = (StringBuilder::new(), Date32Builder::new());
    for (number, code) in codes.iter().enumerate() {
        names.append_value(code);
        days.append_value(day.0);
        builders.iter_mut().zip(figures(number, day)).for_each(|(builder, value)| builder.append_value(value));
    }
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(days.finish())];
    arrays.extend(builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
    RecordBatch::try_new(daily.schema(), arrays).expect("the columns of daily")
}

async fn commit_all(store: &dyn Store, daily: &Arc<Dataset>, codes: &[String], days: &[Day]) -> (f64, Counts) {
    let mut seconds = 0.0;
    let mut sum = Counts::default();
    for group in days.chunks(DAYS_A_COMMIT) {
        let change = |day: &Day| {
            Change::Rows(RowsChange {
                dataset: daily.clone(),
                area: Area::day(*day),
                batch: batch(daily, codes, *day),
                lacks: Vec::new(),
                lacks_exchanges: Exchanges::default(),
                write: Write::Replace,
                source: "tushare".into(),
                rank: 1,
                fetched_at: Clock::system().now(),
                claim: Some(ClaimChange { evidence: Evidence::Present, stale_at: None }),
                quarantined: Vec::new(),
            })
        };
        let changes = group.iter().map(change).collect();
        let commit = Commit { at: Clock::system().now(), fence: None, changes };
        let started = Moment::now();
        let receipt = store.commit(commit).await.expect("a commit");
        seconds += started.elapsed().as_secs_f64();
        for counts in receipt.rows {
            sum.inserted += counts.inserted;
            sum.unchanged += counts.unchanged;
        }
    }
    (seconds, sum)
}

fn write_csv(path: &Path, codes: &[String], days: &[Day]) {
    use std::io::Write as _;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut line = String::new();
    let scales = [4i8, 4, 4, 4, 4, 4, 4, 0, 2];
    for day in days {
        for (number, code) in codes.iter().enumerate() {
            line.clear();
            let _ = write!(line, "{code},{day}");
            for (value, scale) in figures(number, *day).into_iter().zip(scales) {
                let _ = write!(line, ",{}", tidegate::model::decimal::to_text(value, scale));
            }
            line.push('\n');
            file.write_all(line.as_bytes()).expect("a line");
        }
    }
    file.flush().expect("the file");
}

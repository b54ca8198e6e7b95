//! Reads of the service at a constant rate, beside a bare route in the same run: latencies from the intended time on.
//!
//! `cargo bench --bench serve -- --rate 200 --seconds 20`

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant as Timer};

use arrow_array::builder::{Date32Builder, Decimal128Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use tidegate::catalog::Catalog;
use tidegate::model::change::Write;
use tidegate::model::{Area, Change, Clock, ColumnType, Commit, Dataset, Day, Exchanges, RowsChange, Securities, Span};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

/// Trading days of 25 years, and the shares of one day.
const LONG_DAYS: i32 = 6_075;
const MARKET: usize = 5_450;
/// Shares with 25 years, and days with the whole market: requests go round among them.
const LONG: usize = 60;
const WIDE_DAYS: i32 = 20;

fn argument(name: &str, default: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("market.db");
    runtime.block_on(fill(&path));
    let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    println!("store: {LONG} shares x {LONG_DAYS} days and {MARKET} shares x {WIDE_DAYS} days, {} MB", bytes >> 20);
    for (title, cache) in [("with its cache", "64"), ("without its cache", "0")] {
        let serving = Serving::start(&path, cache);
        runtime.block_on(measure(title, &serving));
    }
}

/// The code of a share.
fn code(number: usize) -> String {
    format!("{:06}.SZ", number + 1)
}

/// A day, counted back from the end of 2024.
fn day(back: i32) -> Day {
    Day::new(2024, 12, 31).expect("a day").plus(-back)
}

async fn fill(path: &std::path::Path) {
    let catalog = Catalog::builtin().expect("the catalogue");
    let options = SqliteOptions { create: true, ..SqliteOptions::default() };
    let store = SqliteStore::open(path, options, Clock::system()).expect("a store");
    store.prepare(catalog.datasets()).await.expect("tables");
    let daily = catalog.get("daily").expect("daily").clone();
    for number in 0..LONG {
        let keys: Vec<(String, Day)> = (0..LONG_DAYS).rev().map(|back| (code(number), day(back))).collect();
        let span = Span::new(day(LONG_DAYS - 1), day(0));
        write(&store, &daily, &keys, Area::new(Securities::one(code(number)), span)).await;
    }
    for back in 0..WIDE_DAYS {
        let keys: Vec<(String, Day)> = (LONG..MARKET).map(|number| (code(number), day(back))).collect();
        let area = Area::new(
            Securities::Some((LONG..MARKET).map(|number| code(number).into()).collect()),
            Span::day(day(back)),
        );
        write(&store, &daily, &keys, area).await;
    }
}

/// Rows with plausible numbers.
async fn write(store: &SqliteStore, dataset: &Arc<Dataset>, keys: &[(String, Day)], area: Area) {
    let column = |at: usize| -> ArrayRef {
        let column = &dataset.columns[at];
        match column.kind {
            ColumnType::Text => {
                let mut cells = StringBuilder::new();
                keys.iter().for_each(|(code, _)| cells.append_value(code));
                Arc::new(cells.finish())
            }
            ColumnType::Date => {
                let mut cells = Date32Builder::new();
                keys.iter().for_each(|(_, day)| cells.append_value(day.0));
                Arc::new(cells.finish())
            }
            _ => {
                let mut cells = Decimal128Builder::new().with_data_type(column.data_type());
                let spread = if column.name == "vol" || column.name == "amount" { 9_000_000_000 } else { 900_000 };
                for (row, (_, day)) in keys.iter().enumerate() {
                    let seed = (row as i128 * 7919 + i128::from(day.0) * 104_729 + at as i128 * 31) % spread;
                    cells.append_value(100_000 + seed);
                }
                Arc::new(cells.finish())
            }
        }
    };
    let columns = (0..dataset.columns.len()).map(column).collect();
    let batch = RecordBatch::try_new(dataset.schema(), columns).expect("rows of the dataset");
    let at = Clock::system().now();
    let change = RowsChange {
        dataset: dataset.clone(),
        area,
        batch,
        lacks: Vec::new(),
        lacks_exchanges: Exchanges::default(),
        write: Write::Upsert,
        source: Arc::from("bench"),
        rank: 1,
        fetched_at: at,
        claim: None,
        quarantined: Vec::new(),
    };
    store.commit(Commit { at, fence: None, changes: vec![Change::Rows(change)] }).await.expect("a commit");
}

/// The real program over the store.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn start(path: &std::path::Path, cache_mb: &str) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0"]).env_clear();
        for set in [
            "serve.mirrors=[]".to_string(),
            "jobs.enabled=false".to_string(),
            "serve.requests_per_minute=0".to_string(),
            format!("store.path={}", path.display()),
            format!("log.folder={}", path.with_file_name("logs").display()),
            format!("cache.mb={cache_mb}"),
        ] {
            command.args(["--set", &set]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("tidegate serve");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let mut text = String::new();
        let url = loop {
            assert!(lines.read_line(&mut text).expect("a line") > 0, "the service ended: {text}");
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                break value["url"].as_str().expect("an address").to_string();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Serving { child, url }
    }

    fn resident_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn measure(title: &str, serving: &Serving) {
    println!("\n{title}, {} requests/s for {} s each", argument("--rate", 200), argument("--seconds", 20));
    println!("{:34} {:>9} {:>8} {:>8} {:>8} {:>8}", "", "KB", "p50 ms", "p99 ms", "max ms", "failed");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hello = format!("http://{}", listener.local_addr().expect("an address"));
    let bare = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
    tokio::spawn(async move { axum::serve(listener, bare).await });
    let service = &serving.url;
    let bars = |number: u64| format!("{service}/api/v1/bars/{}", code(number as usize % LONG));
    let monthly = |number: u64| format!("{service}/api/v1/bars/{}?period=monthly", code(number as usize % LONG));
    let wide = |number: u64| {
        let day = day(number as i32 % WIDE_DAYS);
        format!("{service}/api/v1/datasets/daily/rows?from={day}&to={day}&limit={MARKET}")
    };
    let few = |number: u64| {
        format!(
            "{service}/api/v1/datasets/daily/rows?codes={}&order=-trade_date&limit=100",
            code(number as usize % 500)
        )
    };
    at_rate("a bare route that says hello", "identity", &|_| hello.clone()).await;
    at_rate("25 years of one share", "identity", &bars).await;
    at_rate("the same by month", "identity", &monthly).await;
    at_rate("the whole market of a day", "identity", &wide).await;
    at_rate("the same, compressed", "gzip", &wide).await;
    at_rate("100 rows of one share", "identity", &few).await;
    println!("peak memory of the service: {} MB", serving.resident_mb());
}

/// Sends at a constant rate, whatever the answers do: a slow answer does not make the next question late.
async fn at_rate(what: &str, encoding: &'static str, url: &dyn Fn(u64) -> String) {
    let (rate, seconds) = (argument("--rate", 200), argument("--seconds", 20));
    let client = reqwest::Client::builder().no_proxy().no_gzip().pool_max_idle_per_host(256).build().expect("a client");
    // Every question once, so that what can be in memory is.
    for number in 0..500.min(rate * seconds) {
        let _ =
            client.get(url(number)).header("accept-encoding", encoding).send().await.expect("an answer").bytes().await;
    }
    let begin = Timer::now() + Duration::from_millis(100);
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..rate * seconds {
        let intended = begin + Duration::from_micros(number * 1_000_000 / rate);
        tokio::time::sleep_until(intended.into()).await;
        let request = client.get(url(number)).header("accept-encoding", encoding);
        asked.spawn(async move {
            let answer = request.send().await.ok()?;
            let is_good = answer.status().is_success();
            let bytes = answer.bytes().await.ok()?.len();
            is_good.then_some((intended.elapsed(), bytes))
        });
    }
    let answers = asked.join_all().await;
    let failed = answers.iter().filter(|answer| answer.is_none()).count();
    let bytes = answers.iter().flatten().map(|(_, bytes)| bytes).sum::<usize>() / answers.len().max(1);
    let mut times: Vec<Duration> = answers.into_iter().flatten().map(|(time, _)| time).collect();
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    let (kb, middle, late, last) = (bytes as f64 / 1024.0, at(0.5), at(0.99), at(1.0));
    println!("{what:34} {kb:9.1} {middle:8.2} {late:8.2} {last:8.2} {failed:8}");
}

//! The whole path, end to end: the real program syncs `daily` over HTTP into SQLite, against `sqlite3 .import` of the same
//! rows into a table with the same key, in the same run. Also: the same again, an incremental run with nothing to do,
//! memory, quota use, and what a clean build costs.
//!
//! ```sh
//! cargo bench --bench sync                  # 1.25 million rows
//! cargo bench --bench sync -- --rows 15000000
//! cargo bench --bench sync -- --quota       # two minutes against a mirror that enforces 500 calls a minute
//! ```

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use futures::TryStreamExt;
use tidegate::catalog::Catalog;
use tidegate::mirror::tushare::{Account, Mirror, MirrorOptions};
use tidegate::model::{Area, Clock, Day, Points, Query, Securities, Span};
use tidegate::sim::{FaultScript, Market, MarketOptions, Server};
use tidegate::store::Scan;

const TOKEN: &str = "bench";
/// Rows of `daily` on one day of the simulated market, about.
const ROWS_A_DAY: u64 = 5_250;

/// Answers made before the clock runs: the server's work is not what is measured.
#[derive(Clone)]
struct Prepared {
    mirror: Arc<Mirror>,
    answers: Arc<Mutex<HashMap<Bytes, Bytes>>>,
}

async fn answer(State(prepared): State<Prepared>, question: Bytes) -> impl IntoResponse {
    let known = prepared.answers.lock().unwrap().get(&question).cloned();
    let answer = match known {
        Some(answer) => answer,
        None => {
            let answer = Bytes::from(prepared.mirror.answer(&question).await.body);
            prepared.answers.lock().unwrap().insert(question, answer.clone());
            answer
        }
    };
    ([("content-type", "application/json")], answer)
}

struct Bench {
    folder: PathBuf,
    url: String,
    market: Arc<Market>,
    catalog: Arc<Catalog>,
    span: Span,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|text| text == name).and_then(|at| arguments.get(at + 1));
    let rows: u64 = value("--rows").map_or(1_250_000, |text| text.parse().expect("--rows takes a number"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if arguments.iter().any(|text| text == "--quota") {
        return quota(&runtime);
    }
    let bench = runtime.block_on(prepare(rows));
    let written = runtime.block_on(write_csv(&bench));
    println!("{written} rows of daily over {} days, 2 cores shared with the server\n", bench.days().len());
    let (import, import_again) = (bench.import("import.db"), bench.import_again("import.db"));
    bench.warm_up();
    let first = bench.sync("market.db", &[]);
    let again = bench.sync("market.db", &["--force"]);
    let nothing = bench.sync("market.db", &[]);
    let rate = |run: &Run| written as f64 / run.seconds;
    println!("{:44} {:>9} {:>12} {:>8} {:>8}", "", "seconds", "rows/s", "cpu s", "peak MB");
    for (name, run) in [
        ("sqlite3 .import", &import),
        ("sqlite3 .import, the same again (or replace)", &import_again),
        ("tidegate sync, end to end", &first),
        ("tidegate sync --force, the same again", &again),
    ] {
        println!("{name:44} {:>9.2} {:>12.0} {:>8.2} {:>8.0}", run.seconds, rate(run), run.cpu, run.peak_mb);
    }
    println!("{:44} {:>9.2} {:>12} {:>8.2} {:>8.0}", "nothing to do", nothing.seconds, "", nothing.cpu, nothing.peak_mb);
    println!("\nratio, first load: {:.2} x   again: {:.2} x", rate(&first) / rate(&import), rate(&again) / rate(&import_again));
    std::fs::remove_dir_all(&bench.folder).expect("removing the bench's folder");
}

async fn prepare(rows: u64) -> Bench {
    let catalog = Arc::new(Catalog::builtin().expect("the catalogue"));
    let days = (rows / ROWS_A_DAY) as i32;
    let last = Day::parse("2025-12-31").expect("a day");
    let span = Span::new(last.plus(-days * 365 / 243), last);
    let clock = Clock::system();
    let options = MarketOptions::new(catalog.clone(), span.from, span.to);
    let market = Arc::new(Market::new(MarketOptions { clock: clock.clone(), ..options }));
    let mirror = MirrorOptions { gzip: false, ..MirrorOptions::default() };
    let mirror = Arc::new(Mirror::new(market.clone(), catalog.clone(), mirror, clock));
    let prepared = Prepared { mirror, answers: Arc::default() };
    let router = Router::new().fallback(axum::routing::post(answer)).with_state(prepared);
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = std::env::temp_dir().join(format!("tidegate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    Bench { folder, url, market, catalog, span }
}

/// The rows in the order in which days arrive, as a file for `.import`.
async fn write_csv(bench: &Bench) -> u64 {
    let dataset = bench.catalog.get("daily").expect("daily");
    let mut out = BufWriter::new(std::fs::File::create(bench.folder.join("daily.csv")).expect("a file"));
    let mut rows = 0;
    for day in bench.days() {
        let query = Query::area(dataset, &Area::new(Securities::All, Span::day(day)));
        let mut batches = bench.market.scan(&query).await.expect("a scan");
        while let Some(batch) = batches.try_next().await.expect("a batch") {
            rows += batch.num_rows() as u64;
            let mut csv = tidegate::cli::export::writer(
                tidegate::cli::export::Format::Csv,
                dataset,
                &[],
                tidegate::cli::export::Units::Canonical,
                Vec::new(),
            )
            .expect("a writer");
            csv.write(&batch).expect("rows");
            let _ = csv;
        }
    }
    out.flush().expect("the file");
    rows
}

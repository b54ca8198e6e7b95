//! The whole path, end to end: the real program syncs `daily` over HTTP into SQLite, against `sqlite3 .import` of the same
//! rows into a table with the same key, in the same run. Also: the same again, an incremental run with nothing to do,
//! memory, quota use, and what a clean build costs.
//!
//! ```sh
//! cargo bench --bench sync                  # 1.25 million rows
//! cargo bench --bench sync -- --alone --rows 15000000     # memory; without the comparison
//! cargo bench --bench sync -- --postgres --rows 10000000  # into PostgreSQL, against `psql \copy`
//! cargo bench --bench sync -- --quota       # two minutes against a mirror that enforces 500 calls a minute
//! ```

use std::collections::HashMap;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::PathBuf;
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
use tidegate::model::dataset::Points;
use tidegate::model::{Area, Clock, Day, Query, Securities, Span};
use tidegate::read::write::{Format, Units, writer};
use tidegate::sim::{FaultScript, Market, MarketOptions, Server, ServerOptions};
use tidegate::store::Scan;

#[path = "server/postgres.rs"]
mod server;

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
    market: Market,
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
    if arguments.iter().any(|text| text == "--alone") {
        return alone(&bench);
    }
    let written = runtime.block_on(write_csv(&bench));
    if arguments.iter().any(|text| text == "--postgres") {
        return postgres(&bench, written);
    }
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
    println!(
        "{:44} {:>9.2} {:>12} {:>8.2} {:>8.0}",
        "nothing to do", nothing.seconds, "", nothing.cpu, nothing.peak_mb
    );
    println!(
        "\nratio, first load: {:.2} x   again: {:.2} x",
        rate(&first) / rate(&import),
        rate(&again) / rate(&import_again)
    );
    std::fs::remove_dir_all(&bench.folder).expect("removing the bench's folder");
}

/// End to end into PostgreSQL, against `psql \copy` of the same rows into one table with the same key.
fn postgres(bench: &Bench, written: u64) {
    println!("{written} rows of daily over {} days, 2 cores shared with both servers\n", bench.days().len());
    bench.warm_up();
    let server = server::Server::start();
    let copy = server.psql_copy(&bench.folder.join("daily.csv"), true);
    let store = format!("store.url={}", server.url());
    bench.init(&store);
    let first = bench.sync_into(&store, &[]);
    let again = bench.sync_into(&store, &["--force"]);
    println!("{:44} {:>9} {:>12} {:>8} {:>8}", "", "seconds", "rows/s", "cpu s", "peak MB");
    println!("{:44} {copy:>9.2} {:>12.0}", "psql \\copy", written as f64 / copy);
    for (name, run) in [("tidegate sync, end to end", &first), ("tidegate sync --force, the same again", &again)] {
        let rate = written as f64 / run.seconds;
        println!("{name:44} {:>9.2} {rate:>12.0} {:>8.2} {:>8.0}", run.seconds, run.cpu, run.peak_mb);
    }
    println!("\nratio, first load: {:.2} x   again: {:.2} x", copy / first.seconds, copy / again.seconds);
    std::fs::remove_dir_all(&bench.folder).expect("removing the bench's folder");
}

/// Memory and the run with nothing to do at any size: nothing is compared, and answers are made while the clock runs.
fn alone(bench: &Bench) {
    println!("{:28} {:>9} {:>8} {:>8}", format!("{} days of daily", bench.days().len()), "seconds", "cpu s", "peak MB");
    for (name, more) in [("tidegate sync", &[][..]), ("nothing to do", &[]), ("the same again (--force)", &["--force"])]
    {
        let run = bench.sync("market.db", more);
        println!("{name:28} {:>9.2} {:>8.2} {:>8.0}", run.seconds, run.cpu, run.peak_mb);
    }
    std::fs::remove_dir_all(&bench.folder).expect("removing the bench's folder");
}

async fn prepare(rows: u64) -> Bench {
    let catalog = Arc::new(Catalog::builtin().expect("the catalogue"));
    let days = (rows / ROWS_A_DAY) as i32;
    let last = Day::parse("2025-12-31").expect("a day");
    let span = Span::new(last.plus(-days * 365 / 243), last);
    let clock = Clock::system();
    let options = MarketOptions::new(catalog.clone(), span.from, span.to);
    let market = Market::new(MarketOptions { clock: clock.clone(), ..options });
    let mirror = MirrorOptions { gzip: false, ..MirrorOptions::default() };
    let mirror = Arc::new(Mirror::new(Arc::new(market.clone()), catalog.clone(), mirror, clock));
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
    let file = BufWriter::new(std::fs::File::create(bench.folder.join("daily.csv")).expect("a file"));
    let mut csv = writer(Format::Csv, dataset, &[], Units::Canonical, file).expect("a writer");
    let mut rows = 0;
    for day in bench.days() {
        let query = Query::area(dataset, &Area::new(Securities::All, Span::day(day)));
        let mut batches = bench.market.scan(&query).await.expect("a scan");
        while let Some(batch) = batches.try_next().await.expect("a batch") {
            rows += batch.num_rows() as u64;
            csv.write(&batch).expect("rows");
        }
    }
    csv.finish().expect("the end of the file");
    rows
}

/// What a process took.
struct Run {
    seconds: f64,
    cpu: f64,
    peak_mb: f64,
}

impl Bench {
    fn days(&self) -> Vec<Day> {
        self.market.calendar().points(Points::Trading, self.span)
    }

    /// The table as Tidegate makes it, key and all, but without `_seq`, ledger and second index.
    fn import(&self, name: &str) -> Run {
        let create = "pragma journal_mode=wal; pragma synchronous=normal; pragma cache_size=-65536;\n\
            create table daily (ts_code text not null, trade_date text not null, open real, high real, low real, \
            close real, pre_close real, change real, pct_chg real, vol real, amount real, \
            primary key (ts_code, trade_date)) without rowid;\n.import --csv --skip 1 daily.csv daily\n";
        self.sqlite(name, create)
    }

    /// The tool cannot replace rows by itself: into a table beside, then over.
    fn import_again(&self, name: &str) -> Run {
        let again = "pragma synchronous=normal; pragma cache_size=-65536;\n\
            create temp table fresh as select * from daily limit 0;\n.import --csv --skip 1 --schema temp daily.csv fresh\n\
            insert or replace into daily select * from fresh;\n";
        self.sqlite(name, again)
    }

    fn sqlite(&self, name: &str, script: &str) -> Run {
        std::fs::write(self.folder.join("script.sql"), script).expect("the script");
        let mut command = Command::new("sqlite3");
        command.arg(name).arg(".read script.sql");
        self.measured(command)
    }

    /// A sync of every day into a store that is thrown away, so that every answer has been made before it counts.
    fn warm_up(&self) {
        self.sync("warm.db", &[]);
        std::fs::remove_file(self.folder.join("warm.db")).expect("the store of the warm-up");
    }

    fn sync(&self, store: &str, more: &[&str]) -> Run {
        let option = format!("store.path={store}");
        if !self.folder.join(store).exists() {
            self.init(&option);
        }
        self.sync_into(&option, more)
    }

    fn init(&self, store: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let made = command.current_dir(&self.folder).args(["init", "--set", store]).output();
        assert!(made.expect("init").status.success());
    }

    /// Syncs into the store that an option names.
    fn sync_into(&self, store: &str, more: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let (from, to) = (self.span.from.to_string(), self.span.to.to_string());
        let url = format!("sources.tushare.url={}", self.url);
        command.args(["sync", "daily", "--quiet", "--from", &from, "--to", &to, "--set", store, "--set", &url]);
        command.args(["--set", "sources.tushare.token=bench", "--set", "sources.tushare.points=15000"]);
        command.args(["--set", "sources.tushare.per_minute=1000000", "--set", "sources.tushare.gzip=false"]);
        command.args(more);
        // Options to try: BENCH_ARGS="--set sync.commit_slices=40".
        command.args(std::env::var("BENCH_ARGS").unwrap_or_default().split_whitespace());
        self.measured(command)
    }

    /// Runs to the end and asks the kernel what it took.
    fn measured(&self, mut command: Command) -> Run {
        let started = Instant::now();
        let shown = if std::env::var_os("BENCH_VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() };
        let mut child = command.current_dir(&self.folder).stdout(shown).spawn().expect("the program starts");
        let usage = watched(child.id());
        let seconds = started.elapsed().as_secs_f64();
        assert!(child.wait().expect("the program ends").success(), "the program failed");
        Run { seconds, ..usage }
    }
}

/// CPU time and peak memory of a child, read from the process table until it has ended.
fn watched(pid: u32) -> Run {
    let (mut peak_kb, mut ticks) = (0u64, 0u64);
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        peak_kb = peak_kb.max(field("VmHWM:").unwrap_or(0));
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let tick = |at: usize| after_name.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        ticks = ticks.max(tick(11) + tick(12));
        if after_name.first() == Some(&"Z") || status.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Run { seconds: 0.0, cpu: ticks as f64 / 100.0, peak_mb: peak_kb as f64 / 1024.0 }
}

/// Two minutes of `daily` against a mirror that allows 500 calls a minute: how many of the allowed calls are
/// made, and how many are refused.
fn quota(runtime: &tokio::runtime::Runtime) {
    let catalog = Arc::new(Catalog::builtin().expect("the catalogue"));
    let last = Day::parse("2025-12-31").expect("a day");
    let options = MarketOptions::new(catalog, last.plus(-3_000), last);
    let market = Market::new(MarketOptions { securities: 3_000, clock: Clock::system(), ..options });
    let mirror = MirrorOptions {
        accounts: vec![Account { token: TOKEN.to_string(), points: 5000 }],
        enforce_points: true,
        enforce_quota: true,
        ..MirrorOptions::default()
    };
    let options = ServerOptions { mirror, ..ServerOptions::default() };
    let server = runtime.block_on(Server::start(&market, FaultScript::none(), options)).expect("the mirror");
    let folder = std::env::temp_dir().join(format!("tidegate-bench-quota-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let tidegate = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.current_dir(&folder).stdout(Stdio::null());
        command
    };
    assert!(tidegate().arg("init").status().expect("init").success());
    let url = format!("sources.tushare.url={}", server.url());
    let mut command = tidegate();
    command.args(["sync", "daily", "--quiet", "--from", "2017-10-15", "--set", &url]);
    command.args(["--set", "sources.tushare.token=bench", "--set", "sources.tushare.points=5000"]);
    let mut child = command.spawn().expect("sync");
    let calls = || server.counts().get("daily").copied().unwrap_or_default();
    while calls().calls == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_secs(120) - Duration::from_millis(50));
    let count = calls();
    child.kill().expect("the sync is still running");
    child.wait().expect("the sync ends");
    println!("quota: {} of 1,000 allowed calls in two minutes, {} refused", count.calls, count.refusals);
    std::fs::remove_dir_all(&folder).expect("removing the bench's folder");
}

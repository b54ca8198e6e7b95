//! The world of a whole-program test: a simulated market behind a real socket, a folder, and the real binary.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use tempfile::TempDir;
use tidegate::catalog::Catalog;
use tidegate::mirror::tushare::{Account, MirrorOptions};
use tidegate::model::{Clock, Coverage, Dataset, Day, Event, Instant, Query};
use tidegate::sim::{AkshareForm, AkshareServer, FaultScript, Market, MarketOptions, Rule, Server, ServerOptions};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tidegate::store::{Scan, Store};
use tokio::runtime::Runtime;

pub const TOKEN: &str = "world-token";

/// What a test wants of its world.
pub struct Wanted {
    pub seed: u64,
    pub securities: usize,
    pub first: &'static str,
    pub last: &'static str,
    pub faults: Vec<Rule>,
    pub points: u32,
    pub enforce_quota: bool,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            seed: 7,
            securities: 120,
            first: "2024-01-02",
            last: "2024-02-29",
            faults: Vec::new(),
            points: 15_000,
            enforce_quota: false,
        }
    }
}

pub struct World {
    pub folder: TempDir,
    pub runtime: Runtime,
    pub market: Market,
    pub server: Server,
    pub catalog: Arc<Catalog>,
    clock: Clock,
}

impl World {
    pub fn new(wanted: Wanted) -> World {
        let runtime = Runtime::new().unwrap();
        let catalog = Arc::new(Catalog::builtin().unwrap());
        let (first_day, last_day) = (Day::parse(wanted.first).unwrap(), Day::parse(wanted.last).unwrap());
        // The market lives in the present: everything in its span has been published long ago.
        let clock = Clock::system();
        let market = Market::new(MarketOptions {
            seed: wanted.seed,
            securities: wanted.securities,
            clock: clock.clone(),
            ..MarketOptions::new(catalog.clone(), first_day, last_day)
        });
        let mirror = MirrorOptions {
            accounts: vec![Account { token: TOKEN.to_string(), points: wanted.points }],
            enforce_points: true,
            enforce_quota: wanted.enforce_quota,
            ..MirrorOptions::default()
        };
        let script = FaultScript::new(wanted.faults);
        let server = runtime
            .block_on(Server::start(&market, script, ServerOptions { mirror, ..ServerOptions::default() }))
            .unwrap();
        World { folder: TempDir::new().unwrap(), runtime, market, server, catalog, clock }
    }

    /// The real binary, in the world's folder, pointed at the world's market; nothing of the caller's environment.
    pub fn tidegate(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path());
        command.args(arguments);
        for (key, value) in [
            ("store.path", self.store_path().display().to_string()),
            ("sources.tushare.url", self.server.url()),
            ("sources.tushare.token", TOKEN.to_string()),
            ("sources.tushare.points", "15000".to_string()),
            ("sync.retry_first_ms", "5".to_string()),
            ("sync.retry_cap_ms", "50".to_string()),
        ] {
            // A test may set otherwise.
            if !arguments.iter().any(|argument| argument.starts_with(&format!("{key}="))) {
                command.arg("--set").arg(format!("{key}={value}"));
            }
        }
        command
    }

    /// Runs to the end; the exit code must be `code`.
    pub fn run(&self, arguments: &[&str], code: i32) -> Ran {
        Ran::of(self.tidegate(arguments).output().unwrap(), code, arguments)
    }

    /// The same folder and market behind a source that does nothing wrong.
    pub fn without_faults(self) -> World {
        let mirror = MirrorOptions {
            accounts: vec![Account { token: TOKEN.to_string(), points: 15_000 }],
            ..MirrorOptions::default()
        };
        let options = ServerOptions { mirror, ..ServerOptions::default() };
        let server = self.runtime.block_on(Server::start(&self.market, FaultScript::none(), options)).unwrap();
        World { server, ..self }
    }

    /// The world's market as AKShare.
    pub fn serve_akshare(&self, form: AkshareForm) -> AkshareServer {
        self.serve_faulty_akshare(form, Vec::new())
    }

    pub fn serve_faulty_akshare(&self, form: AkshareForm, faults: Vec<Rule>) -> AkshareServer {
        let (scan, catalog) = (Arc::new(self.market.clone()), self.catalog.clone());
        self.runtime.block_on(AkshareServer::start(scan, catalog, FaultScript::new(faults), form)).unwrap()
    }

    /// What the `sqlite3` tool prints.
    pub fn sqlite(&self, sql: &str) -> String {
        let ran = Command::new("sqlite3").arg("-readonly").arg(self.store_path()).arg(sql).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Writes as another program would.
    pub fn sqlite_write(&self, sql: &str) {
        let ran = Command::new("sqlite3").arg(self.store_path()).arg(sql).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// An empty store with its tables.
    pub fn create_store(&self) {
        self.open(true);
    }

    pub fn store_path(&self) -> PathBuf {
        self.folder.path().join("market.db")
    }

    pub fn store(&self) -> SqliteStore {
        self.open(false)
    }

    fn open(&self, create: bool) -> SqliteStore {
        let options = SqliteOptions { create, ..SqliteOptions::default() };
        let store = SqliteStore::open(&self.store_path(), options, self.clock.clone()).unwrap();
        self.runtime.block_on(store.prepare(self.catalog.datasets())).unwrap();
        store
    }

    pub fn dataset(&self, name: &str) -> Arc<Dataset> {
        self.catalog.get(name).unwrap().clone()
    }

    /// Every row that a reader of `query` sees.
    pub fn rows(&self, scan: &dyn Scan, query: &Query) -> RecordBatch {
        let schema = self.dataset(&query.dataset).schema();
        self.runtime.block_on(async {
            let batches: Vec<RecordBatch> = scan.scan(query).await.unwrap().try_collect().await.unwrap();
            arrow_select::concat::concat_batches(&schema, &batches).unwrap()
        })
    }

    /// The store's rows of a day table within the market's days are the market's, and nothing else.
    pub fn assert_equals_truth(&self, name: &str) {
        let dataset = self.dataset(name);
        let area = tidegate::model::Area::new(tidegate::model::Securities::All, self.market.days());
        let query = Query::area(&dataset, &area);
        let (stored, truth) = (self.rows(&self.store(), &query), self.rows(&self.market, &query));
        assert!(truth.num_rows() > 0, "{name}: the market is empty");
        assert_eq!(stored.num_rows(), truth.num_rows(), "{name}: rows");
        for (column, field) in truth.schema().fields().iter().enumerate() {
            assert_eq!(stored.column(column), truth.column(column), "{name}.{}", field.name());
        }
    }

    pub fn coverage(&self, dataset: &str) -> Coverage {
        self.runtime.block_on(self.store().coverage(dataset)).unwrap()
    }

    pub fn events(&self) -> Vec<Event> {
        self.runtime.block_on(self.store().events(0, 1_000_000)).unwrap()
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// The binary in `folder`, with a bare environment.
pub fn program(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", std::env::var_os("PATH").unwrap());
    command.stdin(Stdio::null());
    command
}

/// What a run printed.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output, code: i32, arguments: &[&str]) -> Ran {
        let ran = Ran {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let found = output.status.code();
        assert_eq!(found, Some(code), "{arguments:?}\nstdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
        ran
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// Whether campaigns run in full.
pub fn is_long() -> bool {
    std::env::var_os("TIDEGATE_LONG").is_some()
}

/// The seed of a campaign: printed, and taken from the environment to repeat a failure.
pub fn seed(name: &str) -> u64 {
    let given = std::env::var("TIDEGATE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_micros() as u64 % 1_000_000_007
    });
    eprintln!("{name}: TIDEGATE_SEED={seed}");
    seed
}

//! Tables of databases kept in step: SQLite files and folders of files, by watermark and by hash.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;
use tidegate::catalog::Catalog;
use tidegate::engine::table::TableOptions;
use tidegate::engine::{Engine, Options, Stop, Watcher};
use tidegate::model::task::Request;
use tidegate::model::{Clock, ErrorKind, Outcome, Result, Strategy, Task, TaskState, Totals};
use tidegate::plan::ranges;
use tidegate::source::Source;
use tidegate::source::database::{DatabaseOptions, DatabaseSource};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

use crate::world::{Ran, is_long, program, seed};

/// A catalogue file for a business table; `keeping` are lines of `[database]`.
pub fn catalogue(name: &str, key: &str, strategy: &str, keeping: &str, columns: &str) -> String {
    format!(
        "name = \"{name}\"\ntitle = \"{name}\"\ntitle_zh = \"{name}\"\nabout = \"A business table.\"\n\
         key = [{key}]\nuniverse = \"market\"\nshape = \"whole\"\n\
         publish = {{ at = \"00:00\", settle_days = 0, refresh_hours = 1 }}\n\
         policy = {{ mode = \"incremental\", strategy = \"{strategy}\", schedule = \"*/5 * * * *\", batch = 5000, \
         retries = 2, conflict = \"replace\" }}\n{columns}\n[database]\n{keeping}\n"
    )
}

pub fn column(name: &str, kind: &str, more: &str) -> String {
    format!(
        "[[columns]]\nname = \"{name}\"\ntype = \"{kind}\"\nunit = \"{kind}\"\nmeaning = \"{name}\"\n\
         meaning_zh = \"{name}\"\n{more}\n"
    )
}

const NULLABLE: &str = "nullable = true";

/// Contracts: one of every type.
pub fn contracts(strategy: &str, keeping: &str) -> String {
    let columns = [
        column("id", "int", ""),
        column("customer", "text", NULLABLE),
        column("amount", "decimal", "scale = 8\ndigits = 38\nnullable = true"),
        column("signed_on", "date", NULLABLE),
        column("updated_at", "datetime", NULLABLE),
        column("rate", "float", NULLABLE),
        column("terms", "text", NULLABLE),
    ];
    catalogue("contracts", "\"id\"", strategy, keeping, &columns.concat())
}

pub const COLUMNS: &str = "id, customer, amount, signed_on, updated_at, rate, terms";

/// A folder with a catalogue and a store, and an engine over one connection.
pub struct Desk {
    pub folder: TempDir,
    pub engine: Engine,
}

impl Desk {
    /// Small pages and leaves, so that little data has many.
    pub async fn new(url: &str, catalogues: &[String]) -> Desk {
        let folder = TempDir::new().unwrap();
        Desk::in_folder(folder, url, catalogues).await
    }

    pub async fn in_folder(folder: TempDir, url: &str, catalogues: &[String]) -> Desk {
        let files = folder.path().join("catalog");
        std::fs::create_dir_all(&files).unwrap();
        for (number, text) in catalogues.iter().enumerate() {
            std::fs::write(files.join(format!("own{number}.toml")), text).unwrap();
        }
        let catalog = Arc::new(Catalog::load(Some(&files)).unwrap());
        let options = SqliteOptions { create: true, scan_batch_rows: 100, ..SqliteOptions::default() };
        let store = SqliteStore::open(&folder.path().join("store.db"), options, Clock::system()).unwrap();
        store.prepare(catalog.datasets()).await.unwrap();
        let store = Arc::new(store);
        let limits = DatabaseOptions { page_rows: 40, ..DatabaseOptions::default() };
        let source: Arc<dyn Source> = Arc::new(DatabaseSource::new("erp", url, limits).unwrap());
        let tables = TableOptions { leaf_rows: 20, fan_out: 4, run_rows_max: 0 };
        let options = Options { tables, retry_first_ms: 1, retry_cap_ms: 5, ..Options::default() };
        let engine = Engine::new(store, catalog, vec![source], options, Clock::system());
        Desk { folder, engine }
    }

    pub async fn sync_by(&self, dataset: &str, request: Request) -> Result<Task> {
        let task = self.engine.submit(dataset, request).await?;
        let before = task.totals.clone();
        assert_eq!(before, Totals::default(), "a task of its own");
        let (watcher, _receiver) = Watcher::new(dataset, task.id);
        self.engine.run(task.id, &Stop::default(), &watcher).await
    }

    /// Syncs as the catalogue says; the run must be green.
    pub async fn sync(&self, dataset: &str) -> Totals {
        let task = self.sync_by(dataset, Request::everything()).await.unwrap();
        assert_eq!((task.state, task.outcome), (TaskState::Completed, Some(Outcome::Success)), "{:?}", task.note);
        task.totals
    }

    /// What SQL answers on the store's file, a row a text of values with bars.
    pub fn stored(&self, sql: &str) -> Vec<String> {
        select(&self.folder.path().join("store.db"), sql)
    }

    pub async fn reason(&self, dataset: &str) -> String {
        self.engine.plan(dataset, &Request::everything(), &[]).await.unwrap().plan.reason
    }

    /// The real program over this folder.
    pub fn tidegate(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path());
        command.args(arguments);
        let sets = [
            "store.path=store.db".to_owned(),
            "catalog.folder=catalog".to_owned(),
            format!("sources.database.connections=erp={url}"),
        ];
        command.args(sets.iter().flat_map(|set| ["--set", set]));
        command
    }

    pub fn run(&self, url: &str, arguments: &[&str], code: i32) -> Ran {
        Ran::of(self.tidegate(url, arguments).output().unwrap(), code, arguments)
    }
}

/// What SQL answers, a row a text of values with bars.
pub fn select(path: &Path, sql: &str) -> Vec<String> {
    use rusqlite::types::ValueRef;
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let text = |value: ValueRef| match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    };
    let row = |row: &rusqlite::Row| Ok((0..columns).map(|at| text(row.get_ref(at).unwrap())).collect::<Vec<_>>());
    let rows = statement.query_map((), row).unwrap();
    rows.map(|row| row.unwrap().join("|")).collect()
}

/// An SQLite file with contracts, in the forms in which the store keeps them.
struct Erp {
    _folder: TempDir,
    path: PathBuf,
    connection: Connection,
}

impl Erp {
    fn new() -> Erp {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("erp.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "create table contracts (id integer primary key, customer text, amount text, signed_on text, \
                 updated_at text, rate real, terms text)",
            )
            .unwrap();
        Erp { _folder: folder, path, connection }
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    fn run(&self, sql: &str) -> usize {
        self.connection.execute(sql, ()).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn fill(&self, rows: u64) {
        self.run(&format!(
            "insert into contracts with recursive n (i) as (select 1 union all select i + 1 from n where i < {rows}) \
             select i * 10, '客户' || i, i || '.125', date('2024-01-01', i % 300 || ' days'), \
             strftime('%Y-%m-%dT%H:%M:%S+08:00', '2024-01-01', i || ' seconds'), i / 7.0, '{{\"n\": ' || i || '}}' from n"
        ));
    }

    fn assert_equal(&self, desk: &Desk, when: &str) {
        let sql = format!("select {COLUMNS} from contracts order by id");
        let (there, here) = (select(&self.path, &sql), desk.stored(&sql));
        assert!(there == here, "{when}: {} rows there, {} here", there.len(), here.len());
    }
}

const FROM_ERP: &str = "connection = \"erp\"\ntable = \"contracts\"";

#[tokio::test]
async fn by_hash_every_insert_update_and_delete_is_found_and_nothing_else_is_read() {
    let erp = Erp::new();
    erp.fill(1_000);
    let desk = Desk::new(&erp.url(), &[contracts("hash", FROM_ERP)]).await;
    assert_eq!(desk.reason("contracts").await, "by hash: 1000 rows there, 0 here, they differ; all of them");
    let first = desk.sync("contracts").await;
    assert_eq!((first.rows_answered, first.rows_inserted), (1_000, 1_000));
    erp.assert_equal(&desk, "after the first load");
    assert_eq!(desk.reason("contracts").await, "by hash: both sides hold the same 1000 rows");

    let idle = desk.sync("contracts").await;
    assert_eq!((idle.rows_answered, idle.calls), (0, 2), "a check and one digest");

    erp.run("delete from contracts where id in (10, 5000)");
    erp.run("update contracts set customer = null where id = 2500");
    erp.run("update contracts set amount = '99999999999999999999999999999.87654321' where id = 7770");
    erp.run("insert into contracts (id, customer) values (2501, 'a|~,b'), (-5, ''), (99999, '🐉')");
    assert!(desk.reason("contracts").await.starts_with("by hash: 1001 rows there, 1000 here, they differ"));
    let changed = desk.sync("contracts").await;
    assert_eq!((changed.rows_inserted, changed.rows_updated, changed.rows_withdrawn), (3, 2, 2));
    assert!(changed.rows_answered <= 7 * 20, "only leaves that differ are read: {}", changed.rows_answered);
    erp.assert_equal(&desk, "after changes");
    let gone = desk.stored("select id, customer from contracts_revision where _ended = 'withdrawn' order by id");
    assert_eq!(gone, ["10|客户1", "5000|客户500"], "what was withdrawn is kept");

    erp.run("delete from contracts");
    assert_eq!(desk.sync("contracts").await.rows_withdrawn, 1_001);
    erp.assert_equal(&desk, "emptied");
}

/// A generator of edits (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    /// A statement that changes a few contracts somewhere.
    pub fn edit(&mut self) -> String {
        let id = self.below(10_100);
        let to = id + self.below(60);
        match self.below(6) {
            0 => format!("delete from contracts where id between {id} and {to}"),
            1 => format!("update contracts set customer = null where id between {id} and {to}"),
            2 => format!("update contracts set amount = '{}.5' where id between {id} and {to}", self.below(1_000)),
            3 => format!("update contracts set terms = '{{}}', rate = {} where id = {id}", self.below(9)),
            _ => format!(
                "insert into contracts (id, customer, amount, rate) values ({}, '新{id}', '-{id}.00000001', 0.1) on conflict do nothing",
                self.below(12_000)
            ),
        }
    }
}

#[tokio::test]
async fn after_random_edits_both_sides_are_equal_and_work_is_bounded_by_what_differs() {
    let mut dice = Dice(seed("random edits"));
    let limits = ranges::Limits { leaf_rows: 20, fan_out: 4 };
    let erp = Erp::new();
    erp.fill(1_000);
    let desk = Desk::new(&erp.url(), &[contracts("hash", FROM_ERP)]).await;
    desk.sync("contracts").await;
    for round in 0..if is_long() { 300 } else { 25 } {
        let edits = dice.below(6);
        let changed: usize = (0..edits).map(|_| erp.run(&dice.edit())).sum();
        let totals = desk.sync("contracts").await;
        erp.assert_equal(&desk, &format!("round {round}"));
        let rows = erp.connection.query_row("select count(*) from contracts", (), |row| row.get::<_, u32>(0)).unwrap();
        let rows = u64::from(rows);
        let most = 2 + changed as u64 * ranges::calls_of_one_change(rows, limits);
        assert!(totals.calls <= most, "round {round}: {} calls for {changed} changed rows", totals.calls);
        let most = changed as u64 * limits.leaf_rows;
        assert!(totals.rows_answered <= most, "round {round}: {} rows for {changed}", totals.rows_answered);
    }
}

#[tokio::test]
async fn by_watermark_new_and_changed_rows_land_ties_are_never_skipped_and_deletes_wait_for_a_comparison() {
    let erp = Erp::new();
    let keeping = format!("{FROM_ERP}\nwatermark = \"updated_at\"\nwatermark_overlap_seconds = 10");
    let desk = Desk::new(&erp.url(), &[contracts("watermark", &keeping)]).await;
    assert_eq!(desk.reason("contracts").await, "by watermark updated_at: from the beginning");
    assert_eq!(desk.sync("contracts").await.rows_answered, 0, "an empty table");
    // More rows of one second than a page holds.
    erp.fill(100);
    erp.run("update contracts set updated_at = '2024-03-01T09:00:00+08:00'");
    assert_eq!(desk.sync("contracts").await.rows_inserted, 100);
    erp.run("insert into contracts (id, updated_at) values (1001, '2024-03-01T09:00:00+08:00')");
    erp.run("insert into contracts (id, updated_at) values (1002, '2024-03-01T08:59:55+08:00')");
    erp.run("insert into contracts (id, updated_at) values (1003, '2024-03-01T08:59:40+08:00')");
    erp.run("update contracts set customer = 'new', updated_at = '2024-03-01T09:00:05+08:00' where id = 500");
    erp.run("delete from contracts where id = 10");
    let reason = desk.reason("contracts").await;
    assert_eq!(
        reason,
        "by watermark updated_at: the newest is 2024-03-01T09:00:00+08:00, read again from 2024-03-01T08:59:50+08:00"
    );
    let next = desk.sync("contracts").await;
    assert_eq!((next.rows_inserted, next.rows_updated, next.rows_withdrawn), (2, 1, 0));
    assert_eq!(desk.stored("select count(*) from contracts where id in (10, 1003)"), ["1"], "one is still there");

    let request = Request { how: tidegate::model::How::by(Strategy::Hash), ..Request::everything() };
    let compared = desk.sync_by("contracts", request).await.unwrap().totals;
    assert_eq!((compared.rows_inserted, compared.rows_withdrawn), (1, 1));
    erp.assert_equal(&desk, "after a full comparison");
}

#[tokio::test]
async fn keys_of_texts_days_and_numbers_part_ranges_in_one_order_on_both_sides() {
    let erp = Erp::new();
    erp.run(
        "create table vouchers (book text collate nocase, day text, line integer, sum real, primary key (book, day, line))",
    );
    let books = ["a", "B", "Z", "é", "账", "🐉", "a b", ""];
    for (number, book) in books.iter().enumerate() {
        for line in 0..60 {
            let day = format!("2024{:02}{:02}", 1 + line % 12, 1 + number);
            erp.connection
                .execute("insert into vouchers values (?1, ?2, ?3, ?4)", (book, day, line * 3, f64::from(line) + 0.25))
                .unwrap();
        }
    }
    let columns = [
        column("book", "text", ""),
        column("voucher_day", "date", ""),
        column("line", "int", ""),
        column("sum", "decimal", "scale = 2"),
    ];
    let keeping = "connection = \"erp\"\ntable = \"vouchers\"\ncolumns = { voucher_day = \"day\" }";
    let key = "\"book\", \"voucher_day\", \"line\"";
    let desk = Desk::new(&erp.url(), &[catalogue("vouchers", key, "hash", keeping, &columns.concat())]).await;
    assert_eq!(desk.sync("vouchers").await.rows_inserted, 480);
    erp.run("delete from vouchers where book = '账' and line between 30 and 60");
    erp.run("update vouchers set sum = 7 where book = 'é' and line = 0");
    erp.run("insert into vouchers values ('🐉', '20241231', -1, 0.1)");
    let changed = desk.sync("vouchers").await;
    assert_eq!((changed.rows_inserted, changed.rows_updated, changed.rows_withdrawn), (1, 1, 11));
    let here = desk.stored("select book, replace(voucher_day, '-', ''), line, sum from vouchers order by 1, 2, 3");
    let there = select(&erp.path, "select book, day, line, sum from vouchers order by book collate binary, 2, 3");
    assert_eq!(here, there);
    assert_eq!(desk.sync("vouchers").await.rows_answered, 0);
}

#[tokio::test]
async fn values_convert_exactly_or_their_rows_are_kept_apart_with_the_reason() {
    let erp = Erp::new();
    erp.run("insert into contracts (id, amount) values (1, 1.5), (2, '123456789012345678901234567890.12345678')");
    erp.run("insert into contracts (id, amount) values (3, '1.123456789'), (4, 'many'), (5, null)");
    erp.run("insert into contracts (id, signed_on, updated_at) values (6, '20240229', '2024-01-31T18:00:00+08:00'), (7, 'soon', null)");
    erp.run("insert into contracts (id, updated_at, rate) values (8, '2024-01-31 18:00:00.75', 3), (9, '2024-01-31T10:00:00Z', -0.0)");
    let desk = Desk::new(&erp.url(), &[contracts("hash", FROM_ERP)]).await;
    let task = desk.sync_by("contracts", Request::everything()).await.unwrap();
    assert_eq!(task.outcome, Some(Outcome::SuccessWithErrors));
    assert_eq!((task.totals.rows_inserted, task.totals.rows_quarantined), (6, 3));
    let expected = [
        "1|1.5|-|-|-",
        "2|123456789012345678901234567890.12345678|-|-|-",
        "5|-|-|-|-",
        "6|-|2024-02-29|2024-01-31T18:00:00+08:00|-",
        "8|-|-|2024-01-31T18:00:00+08:00|3",
        "9|-|-|2024-01-31T18:00:00+08:00|0",
    ];
    assert_eq!(desk.stored("select id, amount, signed_on, updated_at, rate from contracts order by id"), expected);
    let reasons = desk.stored("select reason from _quarantine order by id");
    let unfit = "column amount does not fit 8 decimal places exactly";
    assert_eq!(reasons, [unfit, unfit, "column signed_on is no date"]);
}

#[tokio::test]
async fn a_csv_file_is_compared_like_a_table() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("prices.csv");
    let write = |rows: &dyn Fn(u32) -> Option<String>| {
        let lines: String = (0..500).filter_map(rows).collect();
        std::fs::write(&file, format!("sku,list_price,since\n{lines}")).unwrap();
    };
    write(&|n| Some(format!("P{:04},{n}.50,2024-01-{:02}\n", (n * 7) % 500, 1 + n % 28)));
    let columns = [
        column("sku", "text", ""),
        column("price", "decimal", "scale = 2\nnullable = true"),
        column("since", "date", NULLABLE),
    ];
    let keeping = "connection = \"erp\"\ntable = \"prices.csv\"\ncolumns = { price = \"list_price\" }";
    let text = catalogue("prices", "\"sku\"", "hash", keeping, &columns.concat());
    let desk = Desk::new(&format!("file://{}", folder.path().display()), &[text]).await;
    assert_eq!(desk.sync("prices").await.rows_inserted, 500);
    assert_eq!(desk.sync("prices").await.rows_answered, 0);
    write(&|n| match n {
        3 => None,
        9 => Some(format!("P{:04},,\n", (n * 7) % 500)),
        n => Some(format!("P{:04},{n}.50,2024-01-{:02}\n", (n * 7) % 500, 1 + n % 28)),
    });
    let changed = desk.sync("prices").await;
    assert_eq!((changed.rows_updated, changed.rows_withdrawn), (1, 1));
    assert!(changed.rows_answered <= 40, "{}", changed.rows_answered);
    assert_eq!(desk.stored("select * from prices where price is null")[0].split('|').next(), Some("P0063"));
}

#[tokio::test]
async fn errors_name_the_place_and_the_remedy() {
    let erp = Erp::new();
    erp.run("create table keyless (id integer, customer text)");
    erp.run("insert into keyless values (null, 'nobody')");
    let columns = [column("id", "int", ""), column("customer", "text", NULLABLE)].concat();
    let of = |name: &str, keeping: &str| catalogue(name, "\"id\"", "hash", keeping, &columns);
    let texts = [
        of("absent", "connection = \"erp\"\ntable = \"nowhere\""),
        of("misnamed", "connection = \"erp\"\ntable = \"contracts\"\ncolumns = { customer = \"client\" }"),
        of("keyless", "connection = \"erp\"\ntable = \"keyless\""),
        of("unconfigured", "connection = \"crm\"\ntable = \"contracts\""),
        of("broken", "connection = \"erp\"\nquery = \"select nonsense from contracts\""),
    ];
    let desk = Desk::new(&erp.url(), &texts).await;
    for (dataset, kind, message, hint) in [
        ("absent", ErrorKind::NotFound, "has no table nowhere", "database.table"),
        ("misnamed", ErrorKind::Invalid, "no column \"client\", which misnamed.customer", "id, customer, amount"),
        ("keyless", ErrorKind::Invalid, "rows without a value in its key (id)", "choose a key"),
        ("unconfigured", ErrorKind::Denied, "no source serves unconfigured", "crm=postgres://"),
        ("broken", ErrorKind::Invalid, "the query cannot be read", "database.query"),
    ] {
        let error = desk.sync_by(dataset, Request::everything()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{dataset}: {error}");
        assert!(error.to_string().contains(message), "{dataset}: {error}");
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{dataset}: {:?}", error.hint_text());
        assert!(desk.engine.plan(dataset, &Request::everything(), &[]).await.is_err(), "{dataset} is planned");
    }
}

#[test]
fn what_cannot_be_kept_in_step_is_refused_before_anything_runs() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("contracts.toml");
    let problems = |text: &str| {
        std::fs::write(&file, text).unwrap();
        match Catalog::load(Some(folder.path())) {
            Ok(_) => String::new(),
            Err(error) => error.to_string() + error.hint_text().unwrap_or_default(),
        }
    };
    let good = contracts("hash", FROM_ERP);
    assert_eq!(problems(&good), "");
    for (from, to, expected) in [
        ("\"hash\"", "\"by_day\"", "`watermark` or `hash`"),
        ("\"hash\"", "\"watermark\"", "database.watermark is missing"),
        ("table = \"contracts\"", "", "either `table` or `query`"),
        ("table = \"contracts\"", "table = \"t\"\nquery = \"select 1\"", "either `table` or `query`"),
        ("\"market\"", "\"stock\"", "universe `market`"),
        ("conflict = \"replace\"", "conflict = \"manual\"", "the table is the truth"),
        ("key = [\"id\"]", "key = [\"customer\"]", "cannot be nullable"),
        ("table = \"contracts\"", "table = \"t\"\nwatermark = \"rate\"", "cannot be compared exactly"),
        ("table = \"contracts\"", "table = \"t\"\ncolumns = { nothing = \"x\" }", "\"nothing\""),
    ] {
        let found = problems(&good.replace(from, to));
        assert!(found.contains(expected), "{to}: {found}");
    }
    for connections in ["erp=mysql://secret", "erp", "=sqlite://secret", "a=sqlite://secret,a=sqlite://secret"] {
        let set = format!("sources.database.connections={connections}");
        let arguments = ["config", "check", "--set", &set];
        let ran = Ran::of(program(folder.path()).args(arguments).output().unwrap(), 2, &arguments);
        assert!(
            ran.stderr.contains("a list of \"name=postgres://") && !ran.stderr.contains("secret"),
            "{}",
            ran.stderr
        );
    }
}

#[tokio::test]
async fn a_run_with_a_budget_pauses_and_the_next_goes_on() {
    let erp = Erp::new();
    erp.fill(100);
    let mut desk = Desk::new(&erp.url(), &[contracts("hash", FROM_ERP)]).await;
    desk.engine.options.tables.run_rows_max = 40;
    let mut runs = 0;
    let task = loop {
        runs += 1;
        let task = desk.engine.submit("contracts", Request::everything()).await.unwrap();
        let (watcher, _receiver) = Watcher::new("contracts", task.id);
        match desk.engine.run(task.id, &Stop::default(), &watcher).await {
            Ok(task) => break task,
            Err(error) => assert!(matches!(error.kind(), ErrorKind::QuotaGone { .. }), "{error}"),
        }
        let paused = desk.engine.task(task.id).await.unwrap();
        assert_eq!(paused.state, TaskState::Paused);
    };
    assert_eq!((runs, task.totals.rows_inserted, task.outcome), (3, 100, Some(Outcome::Success)));
    erp.assert_equal(&desk, "after three runs");
}

#[tokio::test]
async fn the_program_plans_syncs_audits_shows_and_exports_a_table_and_writes_its_catalogue_file() {
    let erp = Erp::new();
    erp.fill(50);
    let url = erp.url();
    let desk = Desk::new(&url, &[]).await;
    let written = desk.run(&url, &["datasets", "--from-table", "erp.contracts"], 0).stdout;
    // The file declares amounts as text: SQLite has no decimals.
    let file = desk.folder.path().join("catalog/contracts.toml");
    std::fs::write(&file, written).unwrap();
    assert!(desk.run(&url, &["plan", "contracts"], 0).stdout.contains("by hash: 50 rows there, 0 here"));
    let synced = desk.run(&url, &["sync", "contracts", "--json"], 0).json();
    assert_eq!(synced[0]["totals"]["rows_inserted"], 50);
    assert_eq!(synced[0]["outcome"], "success");
    assert!(desk.run(&url, &["plan", "contracts"], 0).stdout.contains("nothing to do"));
    assert_eq!(desk.run(&url, &["audit", "contracts", "--json"], 0).json()["unexplained_holes"], 0);
    assert!(desk.run(&url, &["show", "contracts"], 0).stdout.contains("客户50"));
    desk.run(&url, &["export", "contracts", "--out", "contracts.csv"], 0);
    assert!(std::fs::read_to_string(desk.folder.path().join("contracts.csv")).unwrap().contains("客户50"));
    assert!(desk.run(&url, &["sources", "--json"], 1).stdout.contains("\"database.erp\""));
    assert!(!desk.run(&url, &["config", "show"], 0).stdout.contains(&url), "addresses are secret");
    let refused = desk.run("sqlite:///no/such/file.db", &["sync", "contracts"], 4).stderr;
    assert!(refused.contains("there is no file /no/such/file.db") && refused.contains("try:"), "{refused}");
}

#[tokio::test]
async fn death_at_every_step_of_a_comparison_leaves_a_store_that_goes_on() {
    let erp = Erp::new();
    erp.fill(400);
    let url = erp.url();
    let mut step = 1;
    let mut deaths = 0;
    loop {
        let desk = Desk::new(&url, &[contracts("hash", FROM_ERP)]).await;
        let small = ["sync", "contracts", "--quiet", "--set", "sources.database.page_rows=50"];
        let dying = desk.tidegate(&url, &small).env("TIDEGATE_DIE_AT", step.to_string()).output().unwrap();
        let died = dying.status.code() != Some(0);
        let kept = desk.stored("select count(*) from contracts")[0].parse::<u64>().unwrap();
        let synced = desk.run(&url, &["sync", "contracts", "--json"], 0).json();
        erp.assert_equal(&desk, &format!("death at step {step}"));
        let inserted = synced[0]["totals"]["rows_inserted"].as_u64().unwrap();
        if !died {
            break;
        }
        // The totals of a task that was taken up again hold what it wrote before it died.
        assert!(inserted == 400 || inserted == 400 - kept, "step {step}: {inserted} inserted, {kept} kept");
        deaths += 1;
        step += if is_long() { 1 } else { 5 };
    }
    assert!(deaths >= 3, "{deaths} deaths");
}

#[tokio::test]
async fn a_hundred_thousand_rows_are_kept_in_step_in_little_memory() {
    let erp = Erp::new();
    erp.fill(100_000);
    erp.run("update contracts set terms = hex(zeroblob(500))");
    let url = erp.url();
    let desk = Desk::new(&url, &[contracts("hash", FROM_ERP)]).await;
    let peak_kb = |arguments: &[&str]| {
        let mut child = desk.tidegate(&url, arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        // The high-water mark only ever rises: the last reading before the end is the peak, or close to it.
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let read = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = read.unwrap_or(0).max(peak);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success());
        peak
    };
    let small = ["store.cache_mb=16", "store.scan_batch_rows=1000", "sources.database.page_rows=500"];
    let sync: Vec<&str> =
        ["sync", "contracts", "--quiet"].into_iter().chain(small.iter().flat_map(|set| ["--set", set])).collect();
    let loaded = peak_kb(&sync);
    erp.run("update contracts set customer = 'x' where id = 500000");
    let compared = peak_kb(&sync);
    erp.assert_equal(&desk, "a hundred thousand rows");
    eprintln!("peak: load {loaded} kB, comparison {compared} kB");
    // The rows as text are 110 MB.
    assert!((1..100_000).contains(&loaded) && (1..100_000).contains(&compared), "{loaded} kB, {compared} kB");
}

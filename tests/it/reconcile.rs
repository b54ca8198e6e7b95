//! Two tables of real PostgreSQL servers compared: every planted difference is found and nothing else is, while both are
//! written to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tidegate::catalog::Catalog;
use tidegate::engine::Stop;
use tidegate::model::reconciliation::*;
use tidegate::model::{Clock, Error, Result};
use tidegate::reconcile::address::Names;
use tidegate::reconcile::{ReconcileOptions, Reconciler};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tokio_postgres::{Client, NoTls};

use crate::postgres_server::{PostgresServer, shared};
use crate::world::{is_long, seed};

/// A store of reports, and a reconciler with small ranges.
pub struct Bench {
    pub folder: TempDir,
    pub store: Arc<SqliteStore>,
    pub reconciler: Reconciler,
}

impl Bench {
    pub async fn new(catalogues: &[String]) -> Bench {
        Bench::with(catalogues, options()).await
    }

    pub async fn with(catalogues: &[String], options: ReconcileOptions) -> Bench {
        let folder = TempDir::new().unwrap();
        let files = folder.path().join("catalog");
        std::fs::create_dir_all(&files).unwrap();
        for (number, text) in catalogues.iter().enumerate() {
            std::fs::write(files.join(format!("own{number}.toml")), text).unwrap();
        }
        let catalog = Arc::new(Catalog::load(Some(&files)).unwrap());
        let sqlite = SqliteOptions { create: true, ..SqliteOptions::default() };
        let store = SqliteStore::open(&folder.path().join("store.db"), sqlite, Clock::system()).unwrap();
        store.prepare(catalog.datasets()).await.unwrap();
        let store = Arc::new(store);
        let reconciler = Reconciler::new(store.clone(), catalog, Clock::system(), Names::default(), options);
        Bench { folder, store, reconciler }
    }

    pub async fn compare(&self, wanted: &Wanted) -> Result<Report> {
        self.reconciler.run(None, wanted, &Stop::default()).await
    }

    pub async fn differences(&self, report: &Report) -> Vec<Difference> {
        let wanted = DifferencesWanted { report: report.id, after: 0, limit: 100_000 };
        self.store.differences(&wanted).await.unwrap()
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

pub fn options() -> ReconcileOptions {
    ReconcileOptions { leaf_rows: 20, fan_out: 4, settle: Duration::from_millis(50), ..ReconcileOptions::default() }
}

pub fn wanted(source: &str, target: &str) -> Wanted {
    Wanted { source: source.into(), target: target.into(), ..Wanted::default() }
}

/// Kind and first value of the key of each difference.
pub fn found(differences: &[Difference]) -> BTreeSet<(String, String)> {
    let key = |difference: &Difference| difference.key[0].clone().unwrap_or_default();
    differences.iter().map(|difference| (difference.kind.name().to_owned(), key(difference))).collect()
}

/// A database with a table of contracts.
struct Contracts {
    server: &'static PostgresServer,
    name: String,
    url: String,
}

const COLUMNS: &str = "id bigint, no text not null, amount numeric(18,4), signed_on date, at timestamptz, note text, \
                       terms jsonb, done boolean";

impl Contracts {
    fn new(key: &str) -> Contracts {
        let server = shared();
        let (name, url) = server.fresh_database();
        server.psql(&name, &format!("create table contract ({COLUMNS}{key})"));
        Contracts { server, name, url }
    }

    fn run(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql)
    }

    fn fill(&self, rows: u64) {
        self.run(&format!(
            "insert into contract select i, 'HT-' || i, (i * 7 % 100000) / 4.0, date '2024-01-01' + (i % 300)::int, \
             timestamptz '2024-01-01 00:00:00+08' + i * interval '1.000001 second', \
             case when i % 5 = 0 then null else 'note ' || i end, jsonb_build_object('n', i, 'a', 'x'), i % 2 = 0 \
             from generate_series(1, {rows}) as i; create index if not exists contract_id on contract (id)"
        ));
    }

    fn address(&self) -> String {
        format!("{}#contract", self.url)
    }
}

/// Every planted difference: the kind and the key.
fn plant(target: &Contracts, step: u64) -> BTreeSet<(String, String)> {
    let mut planted = BTreeSet::new();
    let mut sql = String::new();
    for number in 0..100u64 {
        let id = 7 + number * step;
        let kind = match number % 10 {
            0 | 1 => {
                sql += &format!("update contract set note = case when note is null then '' end where id = {id};");
                "different"
            }
            2 => {
                // Two rows swap their amounts: sums of columns would not see it.
                let other = id + step;
                sql += &format!(
                    "update contract c set amount = o.amount from contract o where c.id in ({id}, {other}) and \
                     o.id in ({id}, {other}) and o.id <> c.id;"
                );
                "different"
            }
            3 => "different",
            4 | 5 => {
                sql += &format!(
                    "insert into contract select * from contract where id = {id}; \
                     insert into contract select * from contract where id = {id} limit 1;"
                );
                "duplicate"
            }
            6 | 7 => {
                sql += &format!("update contract set amount = amount * 100 + 100 where id = {id};");
                "different"
            }
            8 => {
                sql += &format!("delete from contract where id = {id};");
                "missing"
            }
            _ => {
                sql += &format!("insert into contract (id, no) values (-{id}, 'extra');");
                planted.insert(("extra".to_owned(), format!("-{id}")));
                continue;
            }
        };
        planted.insert((kind.to_owned(), id.to_string()));
    }
    target.run(&sql);
    planted
}

#[tokio::test]
async fn equal_tables_are_equal_in_one_pass_whatever_the_servers_compute() {
    let (one, two) = (Contracts::new(", primary key (id)"), Contracts::new(""));
    one.fill(3_000);
    two.fill(3_000);
    // The same numbers at another scale, and keys of JSON in another order.
    two.run(
        "alter table contract alter amount type numeric(20,6), alter terms type json using \
             json_build_object('a', 'x', 'n', id)",
    );
    let bench = Bench::new(&[]).await;
    let report = bench.compare(&wanted(&one.address(), &two.address())).await.unwrap();
    assert_eq!((report.outcome, report.counts.source_rows, report.counts.target_rows), (Outcome::Equal, 3_000, 3_000));
    assert_eq!((report.counts.ranges, report.counts.rows_read), (1, 0), "{report:?}");
    // The same when it is said as what a column is compared.
    let text = Rule { kind: Some(tidegate::model::compared::ValueKind::Number), ..Rule::default() };
    let asked = Wanted { rules: BTreeMap::from([("amount".into(), text)]), ..wanted(&one.address(), &two.address()) };
    assert_eq!(bench.compare(&asked).await.unwrap().outcome, Outcome::Equal);
    assert!(!report.wanted.source.contains("tidegate:"), "{}", report.wanted.source);
}

#[tokio::test]
async fn every_planted_difference_is_found_and_none_that_is_not_there() {
    let (one, two) = (Contracts::new(", primary key (id)"), Contracts::new(""));
    one.fill(5_200);
    two.fill(5_200);
    let planted = plant(&two, 50);
    let bench = Bench::new(&[]).await;
    let report = bench.compare(&wanted(&one.address(), &two.address())).await.unwrap();
    let differences = bench.differences(&report).await;
    assert_eq!(found(&differences), planted);
    assert_eq!(report.counts.differences(), planted.len() as u64);
    assert!(report.counts.rows_read < 9_000, "not the whole table: {}", report.counts.rows_read);
    let cause = |kind: Cause| differences.iter().filter(|difference| difference.cause == kind).count();
    assert_eq!((cause(Cause::Swapped), cause(Cause::AppliedTwice)), (20, 20));
    assert_eq!(cause(Cause::LostValue) + cause(Cause::EmptyText), 20);
    let by_name = |difference: &&Difference| difference.cause == Cause::Swapped;
    let fields = &differences.iter().find(by_name).unwrap().fields;
    assert_eq!(fields.iter().map(|at| report.columns[*at].name.as_str()).collect::<Vec<_>>(), ["amount"]);
}

#[tokio::test]
async fn swapped_values_do_not_cancel_in_the_sum_of_a_range() {
    let (one, two) = (Contracts::new(", primary key (id)"), Contracts::new(""));
    one.fill(10);
    two.fill(10);
    two.run("update contract c set amount = o.amount from contract o where c.id + o.id = 9 and c.id in (4, 5)");
    let bench = Bench::new(&[]).await;
    let report = bench.compare(&wanted(&one.address(), &two.address())).await.unwrap();
    let swapped = ["4", "5"].map(|id| ("different".to_string(), id.to_string()));
    assert_eq!(found(&bench.differences(&report).await), BTreeSet::from(swapped));
}

/// Writes to the source and, a moment later, the same to the target, until told to stop.
async fn write_to_both(
    one: Client,
    two: Client,
    rows: u64,
    ended: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    mut dice: u64,
) {
    let (sender, mut arriving) = tokio::sync::mpsc::channel::<(tokio::time::Instant, String)>(10_000);
    let applying = tokio::spawn(async move {
        while let Some((due, sql)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            two.batch_execute(&sql).await.unwrap();
        }
    });
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    let mut added = rows;
    while !ended.load(Ordering::SeqCst) {
        tick.tick().await;
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let id = (dice >> 33) % rows;
        // Planted rows stay as they are.
        if id % 50 == 7 || id == 0 {
            continue;
        }
        let sql = match dice >> 60 {
            0 => {
                added += 1;
                format!("insert into contract (id, no, amount) values ({added}, 'new', 1.50)")
            }
            1 => format!("delete from contract where id = {id}"),
            _ => format!("update contract set amount = {}.25, note = 'changed {dice}' where id = {id}", dice >> 50),
        };
        one.batch_execute(&sql).await.unwrap();
        written.fetch_add(1, Ordering::SeqCst);
        let due = tokio::time::Instant::now() + Duration::from_millis(20);
        sender.send((due, sql)).await.unwrap();
    }
    drop(sender);
    applying.await.unwrap();
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn under_500_writes_a_second_all_planted_differences_are_found_and_none_is_false() {
    let (one, two) = (Contracts::new(", primary key (id)"), Contracts::new(""));
    let rows = if is_long() { 2_000_000 } else { 5_200 };
    one.fill(rows);
    two.fill(rows);
    let planted = plant(&two, 50);
    let settle = Duration::from_secs(5);
    let bench = Bench::with(&[], ReconcileOptions { leaf_rows: 200, settle, ..options() }).await;
    let (ended, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (from, to) = (connect(&one.url).await, connect(&two.url).await);
    let writing =
        tokio::spawn(write_to_both(from, to, rows, ended.clone(), written.clone(), seed("writes while comparing")));
    while written.load(Ordering::SeqCst) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..if is_long() { 5 } else { 2 } {
        let report = bench.compare(&wanted(&one.address(), &two.address())).await.unwrap();
        let differences = bench.differences(&report).await;
        assert_eq!(found(&differences), planted, "after {} writes", written.load(Ordering::SeqCst));
    }
    ended.store(true, Ordering::SeqCst);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_difference_counts_only_after_the_slot_has_passed_the_sources_position() {
    let (one, two) = (Contracts::new(", primary key (id)"), Contracts::new(""));
    one.fill(100);
    two.fill(100);
    let after = |name: &str| Wanted {
        after: Some(After::Slot { name: name.into() }),
        ..wanted(&one.address(), &two.address())
    };
    two.run("delete from contract where id = 5");
    let quick = ReconcileOptions { position_wait: Duration::from_millis(100), looks_max: 2, ..options() };
    let bench = Bench::with(&[], quick).await;
    let missing = bench.compare(&after("nobody")).await.unwrap_err();
    assert!(missing.to_string().contains("no replication slot nobody"), "{missing}");
    if one.run("show wal_level") == "logical" {
        one.run("select pg_create_logical_replication_slot('behind', 'pgoutput')");
        one.run("update contract set note = 'later' where id = 9");
        let report = bench.compare(&after("behind")).await.unwrap();
        assert_eq!((report.counts.differences(), report.counts.unsettled), (0, 2), "the slot has confirmed nothing");
    }
}

#[tokio::test]
async fn a_run_stops_at_its_budget_and_says_so() {
    let (one, two) = (Contracts::new(", primary key (id)"), Contracts::new(""));
    one.fill(1_000);
    let bench = Bench::new(&[]).await;
    let limits = Limits { differences: Some(30), ..Limits::default() };
    let report = bench.compare(&Wanted { limits, ..wanted(&one.address(), &two.address()) }).await.unwrap();
    assert_eq!((report.outcome, report.counts.missing), (Outcome::Unfinished, 30));
    assert!(report.note.unwrap().contains("stopped after 30 differences"));
    let limits = Limits { rows: Some(40), ..Limits::default() };
    let report = bench.compare(&Wanted { limits, ..wanted(&one.address(), &two.address()) }).await.unwrap();
    assert!(report.note.unwrap().contains("the budget of 40 rows is used up"));
    assert!(report.counts.missing >= 20 && report.counts.missing < 100, "{:?}", report.counts);
}

#[tokio::test]
async fn columns_are_mapped_ignored_and_rows_chosen_by_date() {
    let (one, two) = (Contracts::new(", primary key (id)"), Contracts::new(""));
    one.fill(600);
    two.fill(600);
    two.run(
        "alter table contract rename no to number; alter table contract add synced_at timestamptz; \
             update contract set note = 'other' where id = 3; update contract set amount = amount + 0.01 where id = 4; \
             update contract set done = not done where signed_on = date '2024-01-11'",
    );
    let bench = Bench::new(&[]).await;
    let rule = Rule { tolerance: Some("0.01".into()), ..Rule::default() };
    let asked = Wanted {
        names: BTreeMap::from([("no".into(), "number".into())]),
        ignore: vec!["note".into()],
        rules: BTreeMap::from([("amount".into(), rule)]),
        ..wanted(&one.address(), &two.address())
    };
    let report = bench.compare(&asked).await.unwrap();
    let tenth = ["10", "310"].map(|id| ("different".to_string(), id.to_string()));
    assert_eq!(found(&bench.differences(&report).await), BTreeSet::from(tenth));
    assert!(report.note.as_deref().unwrap().contains("not compared: synced_at"), "{:?}", report.note);
    let window = |from: &str, to: &str| {
        Some(Window { column: "signed_on".into(), from: Some(from.into()), to: Some(to.into()) })
    };
    let within = Wanted { only: window("2024-01-11", "2024-01-11"), ..asked.clone() };
    let report = bench.compare(&within).await.unwrap();
    assert_eq!((report.counts.source_rows, report.counts.different), (2, 2));
    let without = Wanted { only: window("2024-01-12", "2024-12-31"), ..asked };
    assert_eq!(bench.compare(&without).await.unwrap().outcome, Outcome::Equal);
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_with_the_place_and_no_password() {
    let one = Contracts::new(", primary key (id)");
    let bench = Bench::new(&[]).await;
    let refused =
        async |source: &str, target: &str| -> Error { bench.compare(&wanted(source, target)).await.unwrap_err() };
    let secret = one.address().replace("tidegate@", "tidegate:hunter2@");
    for (target, expected) in [
        (secret.replace("#contract", "#nothing"), "has no table nothing"),
        ("store:nothing".to_string(), "nothing"),
        ("sqlite:///nowhere/a.db#t".to_string(), "there is no such file"),
        ("nobody#t".to_string(), "no connection \"nobody\""),
        ("postgres://tidegate:hunter2@127.0.0.1:1/x#t".to_string(), "does not answer"),
    ] {
        let error = refused(&secret, &target).await;
        let told = tidegate::cli::describe_error(&error);
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains("hunter2") && error.hint_text().is_some(), "{told}");
    }
    let report = bench.compare(&wanted(&secret, &secret)).await.unwrap();
    assert!(!report.wanted.source.contains("hunter2"));
    let stored = std::fs::read(bench.path("store.db")).unwrap();
    let wal = std::fs::read(bench.path("store.db-wal")).unwrap_or_default();
    for bytes in [stored, wal] {
        assert!(!bytes.windows(7).any(|part| part == b"hunter2"), "a password is kept");
    }
    assert!(Path::new(&bench.path("store.db")).exists());
}

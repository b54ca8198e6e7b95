//! Reconciling two PostgreSQL tables, beside `count(*)` and an md5 of every row, in the same run on the same server: equal
//! tables; a hundred planted differences; and the same while both are written to.
//!
//! ```sh
//! cargo bench --bench reconcile                      # 5 million rows
//! cargo bench --bench reconcile -- --rows 500000 --writes 500 --fan-out 64 --leaf-rows 1000
//! ```
//!
//! Needs PostgreSQL's programs under /usr/lib/postgresql; it starts a server of its own in a temporary folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Moment};

use tidegate::catalog::Catalog;
use tidegate::engine::Stop;
use tidegate::model::Clock;
use tidegate::model::reconciliation::{DifferencesWanted, Outcome, Report, Wanted};
use tidegate::reconcile::address::Names;
use tidegate::reconcile::{ReconcileOptions, Reconciler};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tokio_postgres::{Client, NoTls};

#[path = "server/postgres.rs"]
mod server;

use server::Server;

const TABLE: &str = "create table voucher (id bigint, no text not null, company int, amount numeric(18, 2), \
                     signed_on date, at timestamptz, note text, done boolean)";
/// Keys of planted differences: every 40,000th of 5 million rows has 125 of them.
const PLANTED: u64 = 100;

fn number(name: &str, otherwise: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|text| text == name).and_then(|at| arguments.get(at + 1));
    at.map_or(otherwise, |text| text.parse().expect("a number"))
}

fn main() {
    let (rows, writes) = (number("--rows", 5_000_000), number("--writes", 500));
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&server, rows, writes));
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

async fn timed(client: &Client, sql: &str) -> f64 {
    let started = Moment::now();
    client.simple_query(sql).await.expect("an answer");
    started.elapsed().as_secs_f64()
}

async fn measure(server: &Server, rows: u64, writes: u64) {
    let url = server.url();
    let other = url.replace("/postgres", "/other");
    let one = connect(&url).await;
    one.batch_execute("create database other").await.expect("a database");
    let two = connect(&other).await;
    for client in [&one, &two] {
        let fill = format!(
            "{TABLE}; insert into voucher select i, 'V-' || i, i % 97, (i * 7 % 100000) / 100.0, date '2024-01-01' + \
             (i % 300)::int, timestamptz '2024-01-01' + i * interval '1 second', case when i % 5 <> 0 then 'note ' || i end, \
             i % 2 = 0 from generate_series(1, {rows}) as i; create index on voucher (id)"
        );
        client.batch_execute(&fill).await.expect("rows");
        client.batch_execute("vacuum analyze voucher").await.expect("statistics");
    }
    one.batch_execute("alter table voucher add primary key (id)").await.expect("a key");
    println!("{rows} rows in each of two tables\n\n{:56} {:>9}", "", "seconds");
    let (count, counted) = tokio::join!(timed(&one, COUNT), timed(&two, COUNT));
    line("count(*) of both, at the same time", count.max(counted));
    let (md5, hashed) = tokio::join!(timed(&one, MD5), timed(&two, MD5));
    line("sum of md5 of every row, of both at the same time", md5.max(hashed));

    let (folder, reconciler) = reconciler().await;
    let wanted = |key: &str| Wanted {
        source: format!("{url}#voucher"),
        target: format!("{other}#voucher"),
        key: vec![key.to_string()],
        ..Wanted::default()
    };
    let (report, seconds) = run(&reconciler, &wanted("id")).await;
    assert_eq!((report.outcome, report.counts.source_rows), (Outcome::Equal, rows));
    line("reconcile: equal", seconds);

    let planted = plant(&two, rows).await;
    let (report, seconds) = run(&reconciler, &wanted("id")).await;
    check(&reconciler, &report, &planted).await;
    line(&format!("reconcile: {PLANTED} planted differences (2 s of it waiting)"), seconds);
    println!("{:56} {:>9}", "  rows read one by one", report.counts.rows_read);

    let (ended, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers = (connect(&url).await, connect(&other).await);
    let writing = tokio::spawn(write(writers, rows, writes, ended.clone(), written.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, started) = (written.load(Ordering::SeqCst), Moment::now());
    let (report, seconds) = run(&reconciler, &wanted("id")).await;
    let rate = (written.load(Ordering::SeqCst) - before) as f64 / started.elapsed().as_secs_f64();
    ended.store(true, Ordering::SeqCst);
    writing.await.expect("writes");
    check(&reconciler, &report, &planted).await;
    line(&format!("the same under {rate:.0} writes/s"), seconds);
    println!("{:56} {:>9}", "  suspects that were equal when looked at again", report.counts.passed);
    drop(folder);
}

const COUNT: &str = "select count(*) from voucher";
const MD5: &str = "select sum(('x' || substr(md5(voucher::text), 1, 15))::bit(60)::bigint) from voucher";

fn line(what: &str, seconds: f64) {
    println!("{what:56} {seconds:>9.2}");
}

async fn reconciler() -> (tempfile::TempDir, Reconciler) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let options = SqliteOptions { create: true, ..SqliteOptions::default() };
    let store = SqliteStore::open(&folder.path().join("store.db"), options, Clock::system()).expect("a store");
    let catalog = Arc::new(Catalog::builtin().expect("the catalogue"));
    let default = ReconcileOptions::default();
    let options = ReconcileOptions {
        fan_out: number("--fan-out", default.fan_out),
        leaf_rows: number("--leaf-rows", default.leaf_rows),
        ..default
    };
    let reconciler = Reconciler::new(Arc::new(store), catalog, Clock::system(), Names::default(), options);
    (folder, reconciler)
}

async fn run(reconciler: &Reconciler, wanted: &Wanted) -> (Report, f64) {
    let started = Moment::now();
    let report = reconciler.run(None, wanted, &Stop::default()).await.expect("a report");
    (report, started.elapsed().as_secs_f64())
}

fn planted_id(rows: u64, number: u64) -> u64 {
    (rows / (PLANTED + 1)).max(2) * (number + 1)
}

/// NULL, swapped, a pair of duplicates, another scale, deleted, extra: the keys that differ.
async fn plant(target: &Client, rows: u64) -> Vec<String> {
    let mut sql = String::new();
    let mut keys = Vec::new();
    for number in 0..PLANTED {
        let id = planted_id(rows, number);
        sql += &match number % 10 {
            0 | 1 => format!("update voucher set amount = null where id = {id};"),
            2 => {
                let other = planted_id(rows, number + 1);
                format!(
                    "update voucher v set no = o.no from voucher o where v.id in ({id}, {other}) and \
                     o.id in ({id}, {other}) and o.id <> v.id;"
                )
            }
            3 => String::new(),
            4 | 5 => format!("insert into voucher select v.* from voucher v, generate_series(1, 2) where id = {id};"),
            6 | 7 => format!("update voucher set amount = amount * 100 + 1 where id = {id};"),
            8 => format!("delete from voucher where id = {id};"),
            _ => {
                keys.push(format!("-{id}"));
                sql += &format!("insert into voucher (id, no) values (-{id}, 'extra');");
                continue;
            }
        };
        keys.push(id.to_string());
    }
    target.batch_execute(&sql).await.expect("planted");
    keys.sort();
    keys
}

/// All that was planted was found, and nothing else.
async fn check(reconciler: &Reconciler, report: &Report, planted: &[String]) {
    let wanted = DifferencesWanted { report: report.id, after: 0, limit: 100_000 };
    let found = reconciler.store().differences(&wanted).await.expect("differences");
    let mut keys: Vec<String> =
        found.iter().filter_map(|difference| difference.key.first().cloned().flatten()).collect();
    keys.sort();
    assert_eq!(keys, planted, "what was planted, and nothing else");
}

/// Writes to the source, and 20 ms later the same to the target.
async fn write((one, two): (Client, Client), rows: u64, rate: u64, ended: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let (sender, mut arriving) = tokio::sync::mpsc::channel::<(tokio::time::Instant, String)>(100_000);
    let applying = tokio::spawn(async move {
        while let Some((due, sql)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            two.batch_execute(&sql).await.expect("a write");
        }
    });
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate.max(1)));
    let mut dice = 7u64;
    let step = planted_id(rows, 0);
    while !ended.load(Ordering::SeqCst) {
        tick.tick().await;
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let id = (dice >> 20) % rows;
        if id.is_multiple_of(step) {
            continue;
        }
        let sql = format!("update voucher set amount = {}.25, note = 'changed' where id = {id}", dice >> 50);
        one.batch_execute(&sql).await.expect("a write");
        written.fetch_add(1, Ordering::SeqCst);
        sender.send((tokio::time::Instant::now() + Duration::from_millis(20), sql)).await.expect("a queue");
    }
    drop(sender);
    applying.await.expect("writes");
}

//! The SQLite store: the suite, and what only this engine has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rusqlite::Connection;
use tidegate::model::{Area, Change, Clock, ErrorKind, Query, RowsChange};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tidegate::store::{Scan, Store};

use crate::store_suite::{
    BARE, Fresh, all_quotes, at, commit, commit_rows, dataset, notices, quotes, quotes_of_day, texts,
};

fn options() -> SqliteOptions {
    SqliteOptions { create: true, cache_mb: 4, busy_timeout_ms: 200, scan_batch_rows: 3, ..SqliteOptions::default() }
}

fn open(path: &Path) -> tidegate::model::Result<SqliteStore> {
    SqliteStore::open(path, options(), Clock::fixed(at(1)))
}

async fn prepared(path: &Path) -> SqliteStore {
    let store = open(path).unwrap();
    store.prepare(&[quotes(), notices()]).await.unwrap();
    store
}

async fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let store = prepared(&file(&folder)).await;
    Fresh { store: Arc::new(store), folder }
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("market.db")
}

/// What SQL answers, a row a text of values with bars.
fn select(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row| -> rusqlite::Result<String> {
        let cells = (0..columns).map(|index| Ok(text(row.get_ref(index)?)));
        Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
    };
    statement.query_map((), row).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn text(value: rusqlite::types::ValueRef) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}

crate::store_suite!(self::fresh);
crate::strategy_suite!(self::fresh);

#[tokio::test]
async fn many_random_histories_leave_as_many_revisions_as_the_model() {
    for seed in 100..108 {
        let fresh = fresh().await;
        let revisions = crate::store_model::random_changes(&*fresh.store, seed, 40).await;
        let path = file(&fresh.folder);
        assert_eq!(select(&path, "select count(*) from quotes_revision"), [revisions.to_string()], "seed {seed}");
        let counted = "select coalesce(sum(updated + withdrawn), 0) from _commit";
        assert_eq!(select(&path, counted), [revisions.to_string()], "seed {seed}");
    }
}

#[tokio::test]
async fn every_row_names_its_source_and_what_it_was_before() {
    let fresh = fresh().await;
    let store = &*fresh.store;
    commit_rows(store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None), ("000002.SZ", 2, Some(2), None)])).await;
    commit_rows(store, quotes_of_day(2, &[("000001.SZ", 2, Some(3), Some(4))])).await;
    let path = file(&fresh.folder);
    let revisions = "select ts_code, close, _seq, _ended_seq, _ended from quotes_revision order by ts_code";
    assert_eq!(select(&path, revisions), ["000001.SZ|0.01|1|2|superseded", "000002.SZ|0.02|1|2|withdrawn"]);
    let rows = select(&path, "select * from quotes_with_source");
    assert_eq!(rows, ["000001.SZ|2024-01-02|0.03|0.0004|tushare|2024-01-20T10:00:00+08:00|2|2"]);
    let commits = select(&path, "select seq, source, security, from_day, inserted, updated, withdrawn from _commit");
    assert_eq!(commits, ["1|tushare||2024-01-02|2|0|0", "2|tushare||2024-01-02|0|1|1"]);
}

#[tokio::test]
async fn the_sqlite3_program_reads_the_tables() {
    let fresh = fresh().await;
    commit_rows(&*fresh.store, quotes_of_day(2, &[("000001.SZ", 2, Some(105), Some(12_345))])).await;
    let output = Command::new("sqlite3").arg(file(&fresh.folder)).arg("select * from quotes").output();
    let output = output.expect("the sqlite3 program is installed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "000001.SZ|2024-01-02|1.05|1.2345|1\n");
}

#[tokio::test]
async fn the_schema_is_the_golden_one() {
    let fresh = fresh().await;
    let sql = "select sql from sqlite_master where sql is not null and name not like 'sqlite_%' order by rowid";
    let schema = select(&file(&fresh.folder), sql).join(";\n") + ";\n";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sqlite_schema.sql");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&golden, &schema).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(schema, expected, "stored formats change by a migration: see migrations/sqlite");
}

#[tokio::test]
async fn preparing_again_writes_nothing() {
    let fresh = fresh().await;
    let path = file(&fresh.folder);
    let schema = select(&path, "pragma schema_version");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("begin immediate").unwrap();
    fresh.store.prepare(&[quotes(), notices()]).await.unwrap();
    assert_eq!(select(&path, "pragma schema_version"), schema);
}

#[tokio::test]
async fn rows_and_schema_survive_opening_again_and_two_programs_may_write() {
    let fresh = fresh().await;
    commit_rows(&*fresh.store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)])).await;
    let second = prepared(&file(&fresh.folder)).await;
    assert_eq!(commit_rows(&second, quotes_of_day(3, &[("000001.SZ", 3, Some(2), None)])).await.seq, 2);
    assert_eq!(commit_rows(&*fresh.store, quotes_of_day(4, &[("000001.SZ", 4, Some(3), None)])).await.seq, 3);
    assert_eq!(all_quotes(&second).await.len(), 3);
}

#[tokio::test]
async fn names_of_people_are_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file(&folder)).unwrap();
    let columns = r#"columns = [
        { name = "select", type = "text", unit = "", meaning = "", meaning_zh = "" },
        { name = "a \"b\"; drop", type = "int", unit = "", meaning = "", meaning_zh = "", nullable = true },
    ]"#;
    let odd = dataset(&format!("name = \"order by\"\nkey = [\"select\"]\nshape = \"whole\"\n{columns}"));
    store.prepare(std::slice::from_ref(&odd)).await.unwrap();
    let codes = Arc::new(arrow_array::StringArray::from(vec!["x"]));
    let numbers = Arc::new(arrow_array::Int64Array::from(vec![Some(i64::MIN)]));
    let batch = arrow_array::RecordBatch::try_new(odd.schema(), vec![codes, numbers]).unwrap();
    let change = RowsChange { dataset: odd, area: Area::whole(), batch, ..quotes_of_day(2, &[]) };
    commit(&store, vec![Change::Rows(change)]).await.unwrap();
    assert_eq!(texts(&store, &Query::all("order by")).await.unwrap(), ["x|-9223372036854775808"]);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "this is no database, but it is long enough to look at".repeat(100)).unwrap();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("create table theirs (x)").unwrap();
    let in_file = garbage.join("market.db");
    for (path, kind, hint) in [
        (garbage.as_path(), ErrorKind::Storage, "restore"),
        (foreign.as_path(), ErrorKind::Conflict, "a file of its own"),
        (in_file.as_path(), ErrorKind::Storage, "folder"),
        (folder.path(), ErrorKind::Storage, "writable"),
        (Path::new("/proc/no/market.db"), ErrorKind::Storage, "writable"),
    ] {
        let Err(error) = open(path) else { panic!("{} opens", path.display()) };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.hint_text().unwrap().contains(hint), "{error}: {:?}", error.hint_text());
    }
    let missing = folder.path().join("missing.db");
    let not_created = SqliteOptions { create: false, ..options() };
    let Err(error) = SqliteStore::open(&missing, not_created, Clock::fixed(at(1))) else { panic!("it opens") };
    assert_eq!((error.kind(), error.hint_text()), (ErrorKind::NotFound, Some("run `tidegate init`")));
    assert!(!missing.exists());
    assert!(open(&folder.path().join("new/folder/market.db")).is_ok());
}

#[tokio::test]
async fn a_locked_store_is_an_error_of_storage_and_works_again_afterwards() {
    let fresh = fresh().await;
    let other = Connection::open(file(&fresh.folder)).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let rows = || vec![Change::Rows(quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)]))];
    let error = commit(&*fresh.store, rows()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.message().contains("market.db"), "{error}");
    assert!(error.hint_text().unwrap().contains("close the other program"));
    assert!(all_quotes(&*fresh.store).await.is_empty());
    other.execute_batch("rollback").unwrap();
    commit(&*fresh.store, rows()).await.unwrap();
}

#[tokio::test]
async fn a_fault_half_way_leaves_nothing() {
    let fresh = fresh().await;
    let other = Connection::open(file(&fresh.folder)).unwrap();
    let trigger =
        "create trigger fault before insert on _event when new.id = 2 begin select raise(abort, 'fault'); end";
    other.execute_batch(trigger).unwrap();
    let change = |day: i8| Change::Rows(quotes_of_day(day, &[("000001.SZ", day, Some(1), None)]));
    commit(&*fresh.store, vec![change(2), change(3)]).await.unwrap_err();
    let path = file(&fresh.folder);
    for table in ["quotes", "quotes_revision", "_commit", "_claim", "_rows_by_day", "_event", "_quarantine"] {
        assert_eq!(select(&path, &format!("select count(*) from {table}")), ["0"], "{table}");
    }
    other.execute_batch("drop trigger fault").unwrap();
    assert_eq!(commit(&*fresh.store, vec![change(2), change(3)]).await.unwrap().last_event, 2);
}

#[tokio::test]
async fn foreign_values_in_a_table_are_an_error_not_a_panic() {
    let fresh = fresh().await;
    commit_rows(&*fresh.store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)])).await;
    let other = Connection::open(file(&fresh.folder)).unwrap();
    for sql in ["update quotes set close = 'cheap'", "update quotes set trade_date = 'today', close = 1"] {
        other.execute_batch(sql).unwrap();
        let error = texts(&*fresh.store, &Query::all("quotes")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    }
    other.execute_batch("update _rows_by_day set day = 'today'").unwrap();
    assert_eq!(fresh.store.coverage("quotes").await.unwrap_err().kind(), ErrorKind::Storage);
}

#[tokio::test]
async fn tables_without_days_are_counted_and_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file(&folder)).unwrap();
    let codes = dataset(&format!("name = \"codes\"\n{BARE}"));
    store.prepare(std::slice::from_ref(&codes)).await.unwrap();
    let change = |values: Vec<&str>| {
        let column = Arc::new(arrow_array::StringArray::from(values));
        let batch = arrow_array::RecordBatch::try_new(codes.schema(), vec![column]).unwrap();
        RowsChange { dataset: codes.clone(), area: Area::whole(), batch, ..quotes_of_day(2, &[]) }
    };
    for (values, counts) in
        [(vec!["a", "b", ""], [3, 0, 0]), (vec!["b", "c"], [1, 1, 2]), (vec![], [0, 0, 2]), (vec!["a"], [1, 0, 0])]
    {
        let rows = commit_rows(&store, change(values)).await;
        assert_eq!([rows.inserted, rows.unchanged, rows.withdrawn], counts);
    }
    let summary = store.summary().await.unwrap();
    assert_eq!((summary.datasets[0].rows, summary.datasets[0].claims), (1, 1));
    let mut rows = store.scan(&Query::all("codes")).await.unwrap();
    assert_eq!(futures::StreamExt::next(&mut rows).await.unwrap().unwrap().num_rows(), 1);
}

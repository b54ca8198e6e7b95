//! The PostgreSQL store: the suite, and what only this engine has.

use std::sync::Arc;

use tidegate::model::{
    Change, Clock, Commit, ErrorKind, Lease, Query, Receipt, Result, Run, RunsWanted, Work, definition,
};
use tidegate::store::Store;
use tidegate::store::postgres::{PostgresOptions, PostgresStore};

use crate::postgres_server::{PostgresServer, shared};
use crate::store_suite::{Fresh, all_quotes, at, commit, commit_rows, notices, quotes, quotes_of_day, texts};

fn options() -> PostgresOptions {
    PostgresOptions { create: true, connections: 4, scan_batch_rows: 3, ..PostgresOptions::default() }
}

async fn open(url: &str, options: PostgresOptions) -> tidegate::model::Result<PostgresStore> {
    PostgresStore::open(url, options, Clock::fixed(at(1))).await
}

async fn prepared(url: &str) -> PostgresStore {
    let store = open(url, options()).await.unwrap();
    store.prepare(&[quotes(), notices()]).await.unwrap();
    store
}

/// A store in a database of its own, on the server that all tests share.
struct Own {
    database: String,
    url: String,
    store: PostgresStore,
}

impl Own {
    async fn new() -> Own {
        let (database, url) = shared().fresh_database();
        Own { store: prepared(&url).await, database, url }
    }

    fn select(&self, sql: &str) -> Vec<String> {
        let found = shared().psql(&self.database, &format!("set search_path to tidegate; {sql}"));
        found.lines().map(str::to_owned).collect()
    }
}

async fn fresh() -> Fresh {
    Fresh { store: Arc::new(Own::new().await.store), folder: tempfile::tempdir().unwrap() }
}

crate::store_suite!(self::fresh);
crate::strategy_suite!(self::fresh);

#[tokio::test]
async fn many_random_histories_leave_as_many_revisions_as_the_model() {
    for seed in 100..104 {
        let own = Own::new().await;
        let revisions = crate::store_model::random_changes(&own.store, seed, 40).await;
        assert_eq!(own.select("select count(*) from quotes_revision"), [revisions.to_string()], "seed {seed}");
        let counted = "select coalesce(sum(updated + withdrawn), 0) from _commit";
        assert_eq!(own.select(counted), [revisions.to_string()], "seed {seed}");
    }
}

#[tokio::test]
async fn every_row_names_its_source_and_what_it_was_before() {
    let own = Own::new().await;
    let store = &own.store;
    commit_rows(store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None), ("000002.SZ", 2, Some(2), None)])).await;
    commit_rows(store, quotes_of_day(2, &[("000001.SZ", 2, Some(3), Some(4))])).await;
    let revisions = "select ts_code, close, _seq, _ended_seq, _ended from quotes_revision order by ts_code";
    assert_eq!(own.select(revisions), ["000001.SZ|0.01|1|2|superseded", "000002.SZ|0.02|1|2|withdrawn"]);
    let rows = own.select("set time zone 'Asia/Shanghai'; select * from quotes_with_source");
    assert_eq!(rows, ["000001.SZ|2024-01-02|0.03|0.0004|tushare|2024-01-20 10:00:00+08|2|2"]);
    let commits = own.select("select seq, source, security, from_day, inserted, updated, withdrawn from _commit");
    assert_eq!(commits, ["1|tushare||2024-01-02|2|0|0", "2|tushare||2024-01-02|0|1|1"]);
}

#[tokio::test]
async fn months_have_partitions_that_are_made_when_needed() {
    let own = Own::new().await;
    let partitions = "select inhrelid::regclass from pg_inherits where inhparent = 'quotes'::regclass order by 1";
    assert!(own.select(partitions).is_empty());
    commit_rows(&own.store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)])).await;
    commit_rows(&own.store, quotes_of_day(3, &[("000001.SZ", 3, Some(1), None)])).await;
    assert_eq!(own.select(partitions), ["quotes_2024_01"]);
    assert_eq!(own.select("select count(*) from quotes_2024_01"), ["2"]);
}

#[tokio::test]
async fn several_stores_live_in_one_database_and_two_processes_may_write() {
    let own = Own::new().await;
    let other = open(&own.url, PostgresOptions { schema: "other".to_owned(), ..options() }).await.unwrap();
    other.prepare(&[quotes()]).await.unwrap();
    commit_rows(&own.store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)])).await;
    assert!(all_quotes(&other).await.is_empty());
    let second = prepared(&own.url).await;
    assert_eq!(commit_rows(&second, quotes_of_day(3, &[("000001.SZ", 3, Some(2), None)])).await.seq, 2);
    assert_eq!(commit_rows(&own.store, quotes_of_day(4, &[("000001.SZ", 4, Some(3), None)])).await.seq, 3);
    assert_eq!(all_quotes(&second).await.len(), 3);
}

#[tokio::test]
async fn of_many_who_ask_for_one_slot_or_take_one_run_or_change_one_definition_at_once_one_does() {
    let one = |result: Result<Receipt>| match result {
        Ok(_) => 1,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            0
        }
    };
    let own = Own::new().await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let store = prepared(&own.url).await;
        writers.push(tokio::spawn(async move {
            let mut done = [0; 3];
            for round in 0..5u64 {
                let slot = Some(format!("slot {round}"));
                let run = Run { slot: slot.clone(), ..Run::new(Work::default(), "cli", "", at(10)) };
                let asked = Change::Run(run);
                done[0] += one(commit(&store, vec![asked]).await);
                let runs = store.runs(&RunsWanted { limit: 100, ..RunsWanted::default() }).await.unwrap();
                let run = runs.iter().find(|run| run.slot == slot).unwrap().id;
                let lease = Some(Lease { worker: writer.to_string(), until: at(20).plus_seconds(3_600) });
                done[1] += one(commit(&store, vec![Change::TakeRun { run, lease }]).await);
                let (kind, name, body) = (definition::Kind::Job, "nightly".to_owned(), serde_json::json!({}));
                let define = Change::Define { kind, name, body, expect: Some(round) };
                done[2] += one(commit(&store, vec![define]).await);
            }
            done
        }));
    }
    let mut done = [0; 3];
    for writer in writers {
        let own = writer.await.unwrap();
        done = [done[0] + own[0], done[1] + own[1], done[2] + own[2]];
    }
    assert_eq!(done, [5; 3]);
    assert_eq!(own.select("select max(fence) from _run"), ["1"]);
    assert_eq!(own.select("select revision from _definition"), ["5"]);
}

#[tokio::test]
async fn commits_side_by_side_to_the_same_and_to_new_months_all_count() {
    let own = Own::new().await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let store = prepared(&own.url).await;
        writers.push(tokio::spawn(async move {
            for round in 0..5i8 {
                let day = 1 + writer + 4 * round;
                commit_rows(&store, quotes_of_day(day, &[("000001.SZ", day, Some(i128::from(day)), None)])).await;
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let events = own.store.events(0, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), (1..=20).collect::<Vec<u64>>());
    assert_eq!(all_quotes(&own.store).await.len(), 20);
    assert_eq!(own.store.coverage("quotes").await.unwrap().market.len(), 20);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_why_and_shows_no_password() {
    let (database, url) = shared().fresh_database();
    shared().psql(&database, "create schema theirs; create table theirs.things (x int)");
    let port = shared().port();
    let schema = |schema: &str| PostgresOptions { schema: schema.to_owned(), ..options() };
    for (url, options, kind, hint) in [
        (url.clone(), PostgresOptions { create: false, ..options() }, ErrorKind::NotFound, "tidegate init"),
        (url.clone(), schema("theirs"), ErrorKind::Conflict, "schema of its own"),
        (format!("postgres://u:secret@127.0.0.1:{port}/missing_database"), options(), ErrorKind::Storage, ""),
        ("postgres://u:secret@127.0.0.1:9/x".to_owned(), options(), ErrorKind::Storage, "check that it runs"),
        ("postgres://u:secret@[".to_owned(), options(), ErrorKind::Invalid, "postgres://user"),
        (format!("{url}?sslmode=require"), options(), ErrorKind::Storage, "sslmode"),
        (format!("{url}?sslmode=verify-full&sslrootcert=/nowhere"), options(), ErrorKind::Invalid, "PEM"),
    ] {
        let Err(error) = open(&url, options).await else { panic!("{url} opens") };
        assert_eq!(error.kind(), kind, "{error}");
        let all = format!("{error:?} {}", tidegate::cli::describe_error(&error));
        assert!(error.hint_text().unwrap().contains(hint), "{all}");
        assert!(!all.contains("secret"), "{all}");
    }
}

#[tokio::test]
async fn a_newer_store_and_an_edited_migration_are_refused() {
    let own = Own::new().await;
    for (sql, expected) in [
        ("insert into _migration values (99, '0099_future', '', now())", "0099_future, which this version"),
        ("delete from _migration where number = 99; update _migration set checksum = 'x'", "differs from 0001_ledger"),
    ] {
        own.select(sql);
        let Err(error) = open(&own.url, options()).await else { panic!("it opens") };
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn nothing_needs_a_superuser() {
    let (database, _) = shared().fresh_database();
    let role = format!("owner_of_{database}");
    shared().psql("postgres", &format!("create role {role} login; alter database {database} owner to {role}"));
    let url = format!("postgres://{role}@127.0.0.1:{}/{database}", shared().port());
    let store = prepared(&url).await;
    commit_rows(&store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)])).await;
    let second = quotes_of_day(2, &[("000001.SZ", 2, Some(2), None)]);
    assert_eq!(commit_rows(&store, second).await.updated, 1);
    assert!(store.summary().await.unwrap().bytes > 0);
}

#[tokio::test]
async fn a_server_that_restarts_between_two_steps_is_waited_for() {
    let server = PostgresServer::start().expect("PostgreSQL is installed");
    let url = server.create_database("restarted");
    let store = prepared(&url).await;
    commit_rows(&store, quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)])).await;
    server.kill();
    let committing = tokio::spawn({
        let store = store.clone();
        async move { commit_rows(&store, quotes_of_day(3, &[("000001.SZ", 3, Some(1), None)])).await }
    });
    let server = tokio::task::spawn_blocking(move || {
        server.start_again();
        server
    });
    let _server = server.await.unwrap();
    assert_eq!(committing.await.unwrap().inserted, 1);
    assert_eq!(all_quotes(&store).await.len(), 2);
}

/// The connection is cut when the server has committed and before it says so: the commit that comes again is recognised.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_not_applied_twice() {
    let own = Own::new().await;
    let proxy = crate::postgres_server::AnswerLost::start(shared().port()).await;
    let url = format!("postgres://tidegate@127.0.0.1:{}/{}", proxy.port, own.database);
    let store = prepared(&url).await;
    let task = tidegate::model::Task::new("quotes", crate::store_suite::request(), at(1));
    let id = commit(&store, vec![Change::Task(task)]).await.unwrap().tasks[0].task;
    let fence = commit(&store, vec![Change::TakeTask { task: id, lease: None }]).await.unwrap().tasks[0];
    let progress = Change::Progress(tidegate::model::Totals { calls: 3, ..Default::default() });
    let rows = Change::Rows(quotes_of_day(2, &[("000001.SZ", 2, Some(1), None)]));
    proxy.lose_next_commit();
    let changes = vec![rows, progress];
    let receipt = store.commit(Commit { at: at(20), fence: Some(fence), changes }).await.unwrap();
    assert_eq!(proxy.lost(), 1, "the answer was lost");
    assert_eq!((receipt.rows[0].inserted, receipt.rows[0].seq), (1, 1));
    let totals = store.task(id).await.unwrap().unwrap().totals;
    assert_eq!((totals.calls, totals.rows_inserted), (3, 1));
    assert_eq!(texts(&store, &Query::all("quotes")).await.unwrap().len(), 1);
    assert_eq!(receipt.last_event, store.events(0, 100).await.unwrap().last().unwrap().id);
}

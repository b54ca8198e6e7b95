//! Copying a store into another: the copy is the store, or it is none.

use std::path::PathBuf;

use tidegate::model::change::{ClaimChange, Write};
use tidegate::model::definition::Kind;
use tidegate::model::{
    Area, Change, Clock, Commit, Day, Evidence, Exchanges, Instant, Journal, JournalEntry, Level, Quarantined, Query,
    RowsChange, Run, Securities, Span, Work, conflict,
};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

use crate::postgres_server::shared;
use crate::world::{Wanted, World};

/// A world whose store has something in every table of the ledger, with revisions and a withdrawn row.
fn filled() -> World {
    let world = World::new(Wanted { securities: 30, last: "2024-01-31", ..Wanted::default() });
    world.create_store();
    world.run(&["sync", "daily", "adj_factor", "--from", "2024-01-02", "--to", "2024-01-31", "--quiet"], 0);
    let (dataset, store) = (world.dataset("daily"), world.store());
    let area = Area::new(Securities::All, Span::day(Day::parse("2024-01-05").unwrap()));
    let rows = world.rows(&store, &Query::area(&dataset, &area));
    let change = |write, batch, source: &str| RowsChange {
        dataset: dataset.clone(),
        area: area.clone(),
        batch,
        lacks: Vec::new(),
        lacks_exchanges: Exchanges::default(),
        write,
        source: source.into(),
        rank: 1,
        fetched_at: world.now(),
        claim: Some(ClaimChange { evidence: Evidence::Present, stale_at: None }),
        quarantined: vec![Quarantined {
            rule: "range".into(),
            reason: "line 3: no price".into(),
            row: serde_json::json!({ "b": "中文 'quoted'\n", "a": 1.50 }),
        }],
    };
    // The first row is withdrawn, another one is corrected, a third differs and waits.
    let names = dataset.columns.iter().map(|column| format!("'{0}', \"{0}\"", column.name)).collect::<Vec<_>>();
    let row =
        format!("select json_object({}) from daily where trade_date = '2024-01-05' limit 1 offset 2", names.join(", "));
    let mut offered = serde_json::from_str(&world.sqlite(&row)).unwrap();
    let corrected = conflict::batch_of(&dataset, &with(&offered, "vol", 7)).unwrap();
    let slice = |from, rows_len| rows.slice(from, rows_len);
    offered = with(&offered, "vol", 9);
    let waiting = conflict::batch_of(&dataset, &offered).unwrap();
    let commit = |changes| Commit { at: world.now(), fence: None, changes };
    world.runtime.block_on(async {
        let fewer = change(Write::Replace, slice(1, rows.num_rows() - 1), "tushare");
        store.commit(commit(vec![Change::Rows(fewer)])).await.unwrap();
        store.commit(commit(vec![Change::Rows(change(Write::Upsert, corrected, "file"))])).await.unwrap();
        store.commit(commit(vec![Change::Rows(change(Write::Manual, waiting, "other"))])).await.unwrap();
        let run = store.commit(commit(asked_for(world.now()))).await.unwrap().runs[0].run;
        store.commit(commit(vec![Change::TakeRun { run, lease: None }])).await.unwrap();
    });
    world.sqlite_write(
        "insert into _failure (dataset, security, from_day, to_day, source, task, kind, message, attempts, attempts_max, \
         next_attempt_at, first_at, last_at) values ('daily', '', '2024-01-08', '2024-01-08', 'tushare', 1, 'transient', \
         'gone', 1, 3, '2024-02-01T00:00:00+08:00', '2024-02-01T00:00:00.500+08:00', '2024-02-01T00:00:00.500+08:00')",
    );
    world
}

/// A run, definitions and a record of the journal.
fn asked_for(now: Instant) -> Vec<Change> {
    let work = Work { days_back: Some(3), ..Work::sync(["daily"]) };
    let nightly = Run { job: Some("nightly".into()), due_at: Some(now), ..Run::new(work, "schedule", "due", now) };
    let define = |kind, name: &str| Change::Define {
        kind,
        name: name.into(),
        body: serde_json::json!({ "z": "中文 'quoted'\n", "a": [1.5, null] }),
        expect: None,
    };
    let entry = JournalEntry {
        id: 0,
        at: now,
        journal: Journal::Audit,
        level: Level::Warn,
        who: "ops".into(),
        target: "job nightly".into(),
        text: "paused".into(),
        task: Some(1),
        data: serde_json::json!({ "z": 1, "a": "中文" }),
    };
    vec![
        Change::Run(nightly),
        define(Kind::Job, "nightly"),
        define(Kind::Secret, "tushare"),
        Change::Journal(entry),
        crate::store_reconciliations::reported(Some("weekly"), None),
    ]
}

fn with(row: &serde_json::Value, name: &str, value: i64) -> serde_json::Value {
    let mut row = row.clone();
    row[name] = value.into();
    row
}

fn copy_path(world: &World) -> PathBuf {
    world.folder.path().join("copy.db")
}

fn urls(world: &World) -> (String, String) {
    (format!("sqlite://{}", world.store_path().display()), format!("sqlite://{}", copy_path(world).display()))
}

/// Every row of every table as the `sqlite3` tool prints it, in any order; what a store writes about itself left out.
fn dump(path: &std::path::Path) -> Vec<String> {
    let ran = std::process::Command::new("sqlite3").arg("-readonly").arg(path).arg(".dump").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    // Tasks are compared as values: their JSON is written with sorted keys.
    let own = [
        "INSERT INTO _task ",
        "INSERT INTO _migration",
        "INSERT INTO _place",
        "INSERT INTO sqlite_sequence VALUES('_place'",
    ];
    let mut lines: Vec<String> =
        text.lines().filter(|line| !own.iter().any(|own| line.starts_with(own))).map(str::to_string).collect();
    lines.sort();
    lines
}

fn assert_same(world: &World) {
    let (copy, store) = (dump(&copy_path(world)), dump(&world.store_path()));
    for (copied, stored) in copy.iter().zip(&store) {
        assert_eq!(copied, stored);
    }
    assert_eq!(copy.len(), store.len());
    let copy = SqliteStore::open(&copy_path(world), SqliteOptions::default(), Clock::system()).unwrap();
    let tasks = |store: &SqliteStore| world.runtime.block_on(store.tasks(100)).unwrap();
    assert_eq!(tasks(&copy), tasks(&world.store()));
}

#[test]
fn a_copy_equals_its_store_to_the_last_value_and_work_goes_on_in_it() {
    let world = filled();
    let (from, to) = urls(&world);
    let told = world.run(&["migrate", "--from", &from, "--to", &to, "--json"], 0).json();
    assert_eq!(told["equal"], true);
    let tables = told["tables"].as_array().unwrap();
    let rows = |name: &str| tables.iter().find(|table| table["table"] == name).unwrap()["rows"].as_u64().unwrap();
    let filled = [
        "_commit",
        "_claim",
        "_rows_by_day",
        "_task",
        "_failure",
        "_event",
        "_quarantine",
        "_conflict",
        "_quota",
        "_run",
        "_definition",
        "_journal",
    ];
    for table in filled.iter().chain(&["daily", "daily_revision", "stock_basic"]) {
        assert!(rows(table) > 0, "{table} is empty");
        let stored: u64 = world.sqlite(&format!("select count(*) from \"{table}\"")).trim().parse().unwrap();
        assert_eq!(rows(table), stored, "{table}");
    }
    assert!(rows("daily_revision") > 1, "a withdrawn row and a corrected one");
    assert_same(&world);

    let before = world.server.served().len();
    let path = format!("store.path={}", copy_path(&world).display());
    let sync = ["sync", "adj_factor", "--from", "2024-01-02", "--to", "2024-01-31", "--set", &path];
    world.run(&sync, 0);
    assert_eq!(world.server.served().len(), before, "what the copy claims is not asked for");
    let more = ["sync", "daily_basic", "--from", "2024-01-02", "--to", "2024-01-05", "--quiet", "--set", &path];
    world.run(&more, 0);
}

#[test]
fn a_target_that_holds_anything_is_refused_and_so_is_the_same_store() {
    let world = filled();
    let (from, to) = urls(&world);
    world.run(&["migrate", "--from", &from, "--to", &to], 0);
    let twice = world.run(&["migrate", "--from", &from, "--to", &to], 5);
    assert!(twice.stderr.contains("not empty"), "{}", twice.stderr);
    world.run(&["migrate", "--from", &from, "--to", &from], 2);
    world.run(&["migrate", "--from", "sqlite://nowhere.db", "--to", "sqlite://new.db"], 4);
    assert!(!world.folder.path().join("new.db").exists(), "nothing is created for a source that is not there");
    world.run(&["migrate", "--from", "mysql://x", "--to", &to], 2);
}

#[test]
fn a_table_that_the_catalogue_does_not_have_is_not_left_behind_in_silence() {
    let world = filled();
    let (from, to) = urls(&world);
    world.sqlite_write("insert into _column values ('mine', 'x', 'text', 0)");
    let refused = world.run(&["migrate", "--from", &from, "--to", &to], 4);
    assert!(refused.stderr.contains("table mine"), "{}", refused.stderr);
}

#[test]
fn a_copy_that_broke_off_is_no_store_and_is_begun_anew() {
    let world = filled();
    let (from, to) = urls(&world);
    let migrate = [
        "migrate",
        "--from",
        &from,
        "--to",
        &to,
        "--set",
        "sync.commit_rows=200",
        "--set",
        "store.scan_batch_rows=500",
    ];
    let path = format!("store.path={}", copy_path(&world).display());
    let mut deaths = 0;
    for step in (2..).step_by(7) {
        let mut dying = world.tidegate(&migrate);
        if dying.env("TIDEGATE_DIE_AT", step.to_string()).output().unwrap().status.success() {
            break;
        }
        deaths += 1;
        if step > 3 {
            let refused = world.run(&["status", "--set", &path], 5);
            assert!(refused.stderr.contains("broke off"), "step {step}: {}", refused.stderr);
            let refused = world.run(&["sync", "daily", "--set", &path], 5);
            assert!(refused.stderr.contains("broke off"), "step {step}: {}", refused.stderr);
        }
    }
    assert!(deaths > 3, "the copy ended before it could be broken off: {deaths}");
    world.run(&["status", "--set", &path], 0);
    assert_same(&world);
    let store: &dyn Store = &world.store();
    assert!(!store.shares_tasks());
}

/// File to database to file again: the last file is the first one, and the database goes on where the file was.
#[test]
fn a_store_moves_to_postgresql_and_back_without_a_difference() {
    let world = filled();
    let (file, copy) = urls(&world);
    let (_, database) = shared().fresh_database();
    let to = world.run(&["migrate", "--from", &file, "--to", &database, "--json"], 0).json();
    let back = world.run(&["migrate", "--from", &database, "--to", &copy, "--json"], 0).json();
    assert_eq!(to["tables"], back["tables"], "counts and checksums are those of any engine");
    assert_same(&world);
    let twice = world.run(&["migrate", "--from", &file, "--to", &database], 5);
    assert!(twice.stderr.contains("not empty"), "{}", twice.stderr);

    let url = format!("store.url={database}");
    let before = world.server.served().len();
    world.run(&["sync", "adj_factor", "--from", "2024-01-02", "--to", "2024-01-31", "--set", &url], 0);
    assert_eq!(world.server.served().len(), before, "what the copy claims is not asked for");
    world.run(&["sync", "daily_basic", "--from", "2024-01-02", "--to", "2024-01-05", "--quiet", "--set", &url], 0);
}

#[test]
fn a_copy_into_postgresql_that_broke_off_is_no_store_and_is_begun_anew() {
    let world = filled();
    let (file, copy) = urls(&world);
    let (_, database) = shared().fresh_database();
    let migrate = ["migrate", "--from", &file, "--to", &database, "--set", "store.scan_batch_rows=500"];
    let small = [&migrate[..], &["--set", "sync.commit_rows=200"]].concat();
    let died = world.tidegate(&small).env("TIDEGATE_DIE_AT", "30").output().unwrap();
    assert!(!died.status.success());
    let url = format!("store.url={database}");
    let refused = world.run(&["status", "--set", &url], 5);
    assert!(refused.stderr.contains("broke off"), "{}", refused.stderr);
    world.run(&migrate, 0);
    world.run(&["migrate", "--from", &database, "--to", &copy], 0);
    assert_same(&world);
}

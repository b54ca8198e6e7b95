//! Repairs of reported differences: the dry run is what is done, a second run changes nothing, and undoing restores every
//! value exactly.

use rusqlite::Connection;
use serde_json::Value;
use tidegate::engine::Stop;
use tidegate::model::ErrorKind;
use tidegate::model::reconciliation::*;
use tidegate::reconcile::plan::Choice;
use tidegate::reconcile::repair::{Repaired, Sides};

use crate::databases::{catalogue, column};
use crate::postgres_server::shared;
use crate::reconcile::{Bench, wanted};
use crate::world::program;

const TABLE: &str = "(id int primary key, amount numeric, note varchar(20), at timestamptz, rate float8, raw bytea, \
                     padded char(8), ours text)";

/// Two databases whose tables differ in every way.
fn two() -> (String, String, impl Fn(&str) -> String) {
    let server = shared();
    let ((one, source), (two, target)) = (server.fresh_database(), server.fresh_database());
    let row = "select i, i + 0.10, 'note ' || i, timestamptz '2024-01-01 00:00:00+08' + i * interval '1.25 second', \
               i / 7.0, decode(lpad(to_hex(i), 4, '0'), 'hex'), 'c' || i";
    for name in [&one, &two] {
        server.psql(
            name,
            &format!("create table t {TABLE}; insert into t {row}, 'kept ' || i from generate_series(1, 60) i"),
        );
    }
    server.psql(
        &one,
        "update t set amount = 1.2300000000000000000000001, note = null where id = 1; \
        insert into t (id, amount, note) values (100, -0.00001, 'new, \"quoted\"'), (101, null, null); \
        update t set raw = null, rate = 'Infinity', at = '1969-12-31 23:59:59.999999+00' where id = 2",
    );
    server.psql(
        &two,
        "delete from t where id in (10, 11); update t set amount = null where id = 12; \
        insert into t values (200, 1.100, '', null, 0.1, '\\x00ff', 'pad', 'only here'); \
        update t set note = 'x', padded = null where id = 13",
    );
    (format!("{source}#t"), format!("{target}#t"), move |sql| server.psql(&two, sql))
}

const DUMP: &str = "select string_agg(t::text || coalesce(scale(amount)::text, ''), E'\\n' order by id) from t";

async fn repair(bench: &Bench, report: i64, choice: &Choice, file: &str) -> Repaired {
    let (sides, file) = (Sides::default(), bench.path(file));
    bench.reconciler.repair(report, choice, sides, &file, &Stop::default()).await.unwrap()
}

#[tokio::test]
async fn a_dry_run_is_what_is_done_a_second_run_changes_nothing_and_undo_restores_exactly() {
    let (source, target, sql) = two();
    let bench = Bench::new(&[]).await;
    let asked = Wanted { ignore: vec!["ours".into()], ..wanted(&source, &target) };
    let report = bench.compare(&asked).await.unwrap();
    assert_eq!((report.counts.missing, report.counts.extra, report.counts.different), (4, 1, 4), "{report:?}");
    let before = sql(DUMP);
    let planned = bench.reconciler.dry_run(report.id, &Choice::default(), Sides::default()).await.unwrap();
    assert_eq!(sql(DUMP), before, "a dry run changes nothing");
    let done = repair(&bench, report.id, &Choice::default(), "undo").await;
    assert_eq!(planned.counts, done.counts);
    let counts = done.counts;
    assert_eq!((counts.inserted, counts.updated, counts.deleted), (4, 4, 1));
    assert_eq!((done.mended, done.verified, done.still_different), (9, 9, 0));
    assert_eq!(bench.compare(&asked).await.unwrap().outcome, Outcome::Equal);
    assert_eq!(sql("select ours from t where id = 13"), "kept 13", "columns that are not compared stay");
    let mended = sql(DUMP);
    let again = repair(&bench, report.id, &Choice::default(), "undo2").await;
    assert_eq!((again.counts.rows(), again.mended, again.counts.repaired_before), (0, 0, 9));
    assert_eq!(sql(DUMP), mended);
    let undone = bench.reconciler.undo(&bench.path("undo"), Sides::default()).await.unwrap();
    assert_eq!((undone.restored, undone.changed_since.len()), (9, 0));
    assert_eq!(sql(DUMP), before);
    let twice = bench.reconciler.undo(&bench.path("undo"), Sides::default()).await.unwrap();
    assert_eq!((twice.restored, twice.changed_since.len()), (0, 9), "it is taken back once");
    let redone = repair(&bench, report.id, &Choice::default(), "undo3").await;
    assert_eq!((redone.mended, sql(DUMP)), (9, mended));
}

#[tokio::test]
async fn rows_that_changed_since_the_report_are_refused_and_the_others_mended() {
    let (source, target, sql) = two();
    let bench = Bench::new(&[]).await;
    let report = bench.compare(&Wanted { ignore: vec!["ours".into()], ..wanted(&source, &target) }).await.unwrap();
    sql("update t set note = 'by somebody' where id = 12; insert into t (id) values (100)");
    let planned = bench.reconciler.dry_run(report.id, &Choice::default(), Sides::default()).await.unwrap();
    assert_eq!(planned.changed_since.len(), 2);
    let done = repair(&bench, report.id, &Choice::default(), "undo").await;
    assert_eq!((done.mended, &done.changed_since), (7, &planned.changed_since));
    assert_eq!(sql("select note from t where id = 12"), "by somebody");
    assert_eq!(sql("select note is null from t where id = 100"), "t");
}

#[tokio::test]
async fn a_repair_is_bounded_chosen_and_confirmed_by_number() {
    let (source, target, sql) = two();
    let bench = Bench::new(&[]).await;
    let report = bench.compare(&Wanted { ignore: vec!["ours".into()], ..wanted(&source, &target) }).await.unwrap();
    let before = sql(DUMP);
    let few = Choice { rows_max: Some(5), ..Choice::default() };
    let file = bench.path("undo");
    let try_with = async |choice: &Choice| {
        bench.reconciler.repair(report.id, choice, Sides::default(), &file, &Stop::default()).await
    };
    let refused = try_with(&few).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.hint_text().unwrap().contains("--yes-really 9"), "{refused:?}");
    assert!(try_with(&Choice { confirmed: Some(8), ..few.clone() }).await.is_err());
    assert_eq!((sql(DUMP), file.exists()), (before, false));
    let one = Choice { keys: vec!["12".into()], ..few.clone() };
    assert_eq!(repair(&bench, report.id, &one, "undo").await.counts.updated, 1);
    let missing = Choice { kinds: vec![DifferenceKind::Missing], ..few.clone() };
    assert_eq!(repair(&bench, report.id, &missing, "undo2").await.counts.inserted, 4);
    let rest = repair(&bench, report.id, &Choice { confirmed: Some(4), rows_max: Some(1), ..few }, "undo3").await;
    assert_eq!((rest.mended, rest.counts.repaired_before), (4, 5));
    let same = try_with(&Choice::default()).await.unwrap();
    assert_eq!(same.mended, 0, "nothing is left");
}

#[tokio::test]
async fn duplicates_are_taken_away_one_by_one_and_come_back() {
    let server = shared();
    let ((one, source), (two, target)) = (server.fresh_database(), server.fresh_database());
    for name in [&one, &two] {
        server
            .psql(name, "create table t (id int, v numeric); insert into t select i, i from generate_series(1, 30) i");
    }
    server.psql(&two, "insert into t values (3, 3), (3, 3), (4, 5)");
    let bench = Bench::new(&[]).await;
    let asked = Wanted { key: vec!["id".into()], ..wanted(&format!("{source}#t"), &format!("{target}#t")) };
    let report = bench.compare(&asked).await.unwrap();
    assert_eq!(report.counts.duplicate, 2);
    let done = repair(&bench, report.id, &Choice::default(), "undo").await;
    assert_eq!((done.counts.deleted, done.still_different), (3, 0));
    assert_eq!(bench.compare(&asked).await.unwrap().outcome, Outcome::Equal);
    bench.reconciler.undo(&bench.path("undo"), Sides::default()).await.unwrap();
    assert_eq!(server.psql(&two, "select count(*), sum(v) from t"), "33|476");
}

fn invoices() -> String {
    let columns = [
        column("code", "text", ""),
        column("amount", "decimal", "scale = 4\ndigits = 30\nnullable = true"),
        column("day", "date", "nullable = true"),
        column("at", "datetime", "nullable = true"),
        column("rate", "float", "nullable = true"),
    ];
    catalogue("invoices", "\"code\"", "hash", "connection = \"erp\"\ntable = \"invoice\"", &columns.concat())
}

fn sqlite(bench: &Bench, sql: &str) {
    Connection::open(bench.path("erp.db")).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_dataset_of_the_store_is_mended_by_commits_and_taken_back() {
    let bench = Bench::new(&[invoices()]).await;
    sqlite(
        &bench,
        "create table invoice (code text primary key, amount text, day text, at text, rate real); \
        insert into invoice values ('A-1', '12345678901234567890.1250', '2024-01-31', '2024-01-31 18:00:00', 0.1), \
        ('A-2', '1.10', null, null, null), ('', '0.5', null, null, 1e21), ('乙', null, '2024-02-29', '2024-02-29T10:00:00Z', -0.0)",
    );
    let address = format!("sqlite://{}#invoice", bench.path("erp.db").display());
    let asked = wanted(&address, "store:invoices");
    let report = bench.compare(&asked).await.unwrap();
    assert_eq!((report.outcome, report.counts.missing), (Outcome::Different, 4));
    assert_eq!(repair(&bench, report.id, &Choice::default(), "undo").await.verified, 4);
    assert_eq!(bench.compare(&asked).await.unwrap().outcome, Outcome::Equal);
    sqlite(
        &bench,
        "update invoice set amount = '1.1001' where code = 'A-2'; delete from invoice where code in ('', '乙'); \
        insert into invoice values ('A-10', null, null, null, null)",
    );
    let report = bench.compare(&asked).await.unwrap();
    let counts = report.counts;
    assert_eq!((counts.missing, counts.extra, counts.different), (1, 2, 1));
    let done = repair(&bench, report.id, &Choice::default(), "undo2").await;
    assert_eq!((done.counts.deleted, done.still_different), (2, 0), "{done:?}");
    assert_eq!(bench.compare(&asked).await.unwrap().outcome, Outcome::Equal);
    let undone = bench.reconciler.undo(&bench.path("undo2"), Sides::default()).await.unwrap();
    assert_eq!(undone.restored, 4);
    let back = bench.compare(&asked).await.unwrap().counts;
    assert_eq!((back.missing, back.extra, back.different), (1, 2, 1), "as before the second repair");
}

#[tokio::test]
async fn an_sqlite_table_is_mended_in_its_own_forms_and_taken_back_to_the_byte() {
    let bench = Bench::new(&[]).await;
    let tables = "(id integer primary key, amount, at text, flag boolean, raw blob, ours text default 'own')";
    sqlite(
        &bench,
        &format!(
            "create table a {tables}; create table b {tables}; \
        insert into a values (1, 1.5, '2024-01-31 18:00:00', 1, x'00ff', 'a'), (2, '1.10', null, 0, null, 'a'), \
        (3, 7, '2024-01-31 18:00:00.25', null, null, 'a'); \
        insert into b values (1, '1.50', '2024-01-31T18:00:00', 1, x'00ff', 'b'), (2, '1.20', '2024-01-31T18:00:00', 1, x'01', 'b'), \
        (4, 2.5, null, null, null, 'b')"
        ),
    );
    let file = bench.path("erp.db").display().to_string();
    let asked =
        Wanted { ignore: vec!["ours".into()], ..wanted(&format!("sqlite://{file}#a"), &format!("sqlite://{file}#b")) };
    let kind = |kind| Rule { kind: Some(kind), ..Rule::default() };
    let rules = [
        ("amount", tidegate::model::compared::ValueKind::Number),
        ("at", tidegate::model::compared::ValueKind::Instant),
    ];
    let asked = Wanted { rules: rules.map(|(name, it)| (name.to_string(), kind(it))).into(), ..asked };
    let report = bench.compare(&asked).await.unwrap();
    let counts = report.counts;
    assert_eq!((counts.missing, counts.extra, counts.different), (1, 1, 1), "1.5 and 1.50 are one number");
    let dump = || {
        let connection = Connection::open(bench.path("erp.db")).unwrap();
        let mut rows = connection
            .prepare(
                "select id, quote(amount), quote(at), quote(flag), quote(raw), ours, typeof(amount) from b order by id",
            )
            .unwrap();
        let rows = rows.query_map((), |row| {
            (0..7).map(|at| row.get::<_, rusqlite::types::Value>(at)).collect::<rusqlite::Result<Vec<_>>>()
        });
        format!("{:?}", rows.unwrap().map(Result::unwrap).collect::<Vec<_>>())
    };
    let before = dump();
    let done = repair(&bench, report.id, &Choice::default(), "undo").await;
    assert_eq!((done.mended, done.still_different), (3, 0), "{done:?}");
    assert!(dump().contains("2024-01-31 18:00:00.25") && dump().contains("\"own\""), "{}", dump());
    assert_eq!(bench.reconciler.undo(&bench.path("undo"), Sides::default()).await.unwrap().restored, 3);
    assert_eq!(dump(), before);
}

#[test]
fn the_program_compares_reports_repairs_and_takes_back() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("two.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(
        "create table a (id integer primary key, name text, paid numeric); create table b (id integer primary key, name text, paid numeric); \
         insert into a values (1, 'one', 1.5), (2, 'two', 2); insert into b values (1, 'one', 1.5), (3, 'three', 3)",
    ).unwrap();
    let run = |arguments: &[&str], code: i32| -> (String, String) {
        let output = program(folder.path()).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
        (stdout, stderr)
    };
    let json = |arguments: &[&str], code: i32| -> Value { serde_json::from_str(&run(arguments, code).0).unwrap() };
    run(&["init"], 0);
    let (a, b) = (format!("sqlite://{}#a", path.display()), format!("sqlite://{}#b", path.display()));
    let (told, _) = run(&["reconcile", &a, &b, "--set", "reconcile.settle_ms=10"], 1);
    assert!(told.contains("report 1: different") && told.contains("1 missing, 1 extra"), "{told}");
    let report = json(&["reconcile", "--report", "1", "--json"], 1);
    assert_eq!((&report["differences"], &report["rows"][0]["kind"]), (&2.into(), &"missing".into()), "{report}");
    let planned = json(&["repair", "--report", "1", "--dry-run", "--json"], 0);
    assert_eq!((&planned["rows"], &planned["dry_run"]), (&2.into(), &true.into()));
    let done = json(&["repair", "--report", "1", "--json"], 0);
    assert_eq!((&done["rows"], &done["verified"]), (&2.into(), &2.into()));
    run(&["reconcile", &a, &b], 0);
    assert_eq!(json(&["repair", "--undo", "report-1.undo.jsonl", "--json"], 0)["restored"], 2);
    run(&["reconcile", &a, &b, "--set", "reconcile.settle_ms=10", "--json"], 1);
    assert_eq!(json(&["reconcile", "--history", "--json"], 0).as_array().unwrap().len(), 3);
    run(&["reconcile", &a, &b, "--save", "weekly"], 0);
    let (listed, _) = run(&["reconcile", "--list"], 0);
    assert!(listed.contains("0 3 * * 0 (weekly)"), "{listed}");
    run(&["reconcile", "--run", "weekly", "--set", "reconcile.settle_ms=10"], 1);
    run(&["reconcile", "--remove", "weekly"], 0);
    let (_, refused) = run(&["reconcile", "--run", "weekly"], 4);
    assert!(refused.contains("there is no reconciliation"), "{refused}");
    run(&["repair", "--report", "99", "--dry-run"], 4);
    run(&["reconcile", &a], 2);
}

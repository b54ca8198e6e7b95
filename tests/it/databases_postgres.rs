//! Tables of a real PostgreSQL server kept in step: hashes that the server computes, watermarks, errors.

use std::path::Path;

use tidegate::engine::{Stop, Watcher};
use tidegate::model::task::Request;
use tidegate::model::{ErrorKind, Strategy, TaskState};
use tidegate::plan::ranges;

use crate::databases::{COLUMNS, Desk, Dice, catalogue, column, contracts};
use crate::postgres_server::PostgresServer;
use crate::world::{is_long, seed};

const NULLABLE: &str = "nullable = true";
const FROM_ERP: &str = "connection = \"erp\"\ntable = \"sales.contracts\"";

/// A server with a database of contracts.
struct Erp {
    server: PostgresServer,
    url: String,
}

impl Erp {
    fn new() -> Option<Erp> {
        let server = PostgresServer::start()?;
        let url = server.create_database("erp");
        let erp = Erp { server, url };
        erp.run(
            "create schema sales; create table sales.contracts (id bigint primary key, customer varchar(80), \
             amount numeric, signed_on date, updated_at timestamptz(6), rate double precision, terms jsonb); \
             alter database erp set search_path = sales",
        );
        Some(erp)
    }

    fn run(&self, sql: &str) -> String {
        self.server.psql("erp", sql)
    }

    fn fill(&self, rows: u64) {
        self.run(&format!(
            "insert into contracts select i * 10, '客户' || i, i + 0.125, date '2024-01-01' + (i % 300)::int, \
             timestamptz '2024-01-01 00:00:00+08' + i * interval '1.25 seconds', i / 7.0, jsonb_build_object('n', i) \
             from generate_series(1, {rows}) as i"
        ));
    }

    /// Compares every value as text.
    fn assert_equal(&self, desk: &Desk, when: &str) {
        let there = self.run(
            "select concat_ws('|', id, coalesce(customer, '-'), coalesce(trim_scale(amount)::text, '-'), \
             coalesce(signed_on::text, '-'), coalesce(to_char(updated_at at time zone 'Asia/Shanghai', \
             'YYYY-MM-DD\"T\"HH24:MI:SS\"+08:00\"'), '-'), coalesce(trim_scale(round(rate::numeric, 6))::text, '-'), \
             coalesce(terms::text, '-')) from contracts order by id",
        );
        let rate = "case when rate is null then '-' else rtrim(rtrim(printf('%.6f', rate), '0'), '.') end";
        let here = desk.stored(&format!("select {} from contracts order by id", COLUMNS.replace("rate", rate)));
        assert!(there.lines().eq(here.iter().map(String::as_str)), "{when}:\n{there}\n{}", here.join("\n"));
    }
}

fn erp() -> Option<Erp> {
    let erp = Erp::new();
    if erp.is_none() {
        eprintln!("PostgreSQL is not installed");
    }
    erp
}

#[tokio::test]
async fn the_server_computes_the_same_hashes_as_the_store_whatever_the_values() {
    let Some(erp) = erp() else { return };
    erp.fill(300);
    erp.run(
        "insert into contracts (id) values (-9223372036854775808), (9223372036854775807); \
         insert into contracts values \
         (1, '', 0, '0001-01-01', '1969-12-31 23:59:59.999999+00', -0.0, 'null'), \
         (2, 'a|~,3:b\t\n', -0.00000001, '9999-12-31', '2024-02-29 23:59:59.999999+08', 1e300, '\"账\"'), \
         (3, '🐉', 123456789012345678901234567890.12345678, null, null, 5e-324, '{\"b\": 1, \"a\": [1, 2]}'), \
         (4, 'trailing zeros', 100.1000000000, null, null, 0.1, null), \
         (5, null, 1000, null, null, 'infinity', null)",
    );
    let desk = Desk::new(&erp.url, &[contracts("hash", FROM_ERP)]).await;
    assert_eq!(desk.sync("contracts").await.rows_inserted, 307);
    assert_eq!(desk.reason("contracts").await, "by hash: both sides hold the same 307 rows");
    let amounts = desk.stored("select amount from contracts where id between 1 and 5 order by id");
    assert_eq!(amounts, ["0", "-0.00000001", "123456789012345678901234567890.12345678", "100.1", "1000"]);
    erp.run("delete from contracts where id < 0 or id between 1 and 5 or id > 1000000");
    let withdrawn = desk.sync("contracts").await;
    assert_eq!(withdrawn.rows_withdrawn, 7);
    erp.assert_equal(&desk, "after the strange rows have gone");
}

#[tokio::test]
async fn after_random_edits_in_postgres_both_sides_are_equal_and_work_is_bounded() {
    let Some(erp) = erp() else { return };
    let mut dice = Dice(seed("random edits in postgres"));
    let limits = ranges::Limits { leaf_rows: 20, fan_out: 4 };
    erp.fill(1_000);
    let desk = Desk::new(&erp.url, &[contracts("hash", FROM_ERP)]).await;
    desk.sync("contracts").await;
    erp.assert_equal(&desk, "after the first load");
    for round in 0..if is_long() { 100 } else { 12 } {
        let edit = |sql: String| format!("with edit as ({sql} returning 1) select count(*) from edit");
        let changed: u64 = (0..dice.below(5)).map(|_| erp.run(&edit(dice.edit())).parse::<u64>().unwrap()).sum();
        let totals = desk.sync("contracts").await;
        erp.assert_equal(&desk, &format!("round {round}"));
        let rows: u64 = erp.run("select count(*) from contracts").parse().unwrap();
        assert!(totals.calls <= 2 + changed * ranges::calls_of_one_change(rows, limits), "round {round}: {totals:?}");
        assert!(totals.rows_answered <= changed * limits.leaf_rows, "round {round}: {totals:?}");
    }
}

#[tokio::test]
async fn by_watermark_ties_to_the_microsecond_are_read_page_after_page() {
    let Some(erp) = erp() else { return };
    let keeping = format!("{FROM_ERP}\nwatermark = \"updated_at\"\nwatermark_overlap_seconds = 0");
    erp.fill(150);
    erp.run("update contracts set updated_at = '2024-03-01 09:00:00.000001+08' where id > 200");
    let desk = Desk::new(&erp.url, &[contracts("watermark", &keeping)]).await;
    assert_eq!(desk.sync("contracts").await.rows_inserted, 150);
    erp.assert_equal(&desk, "after the first load");
    erp.run(
        "insert into contracts (id, updated_at) values (7, '2024-03-01 09:00:00+08'), (8, '2024-02-29 09:00:00+08')",
    );
    erp.run("update contracts set customer = 'late', updated_at = '2024-03-01 09:00:00.9+08' where id = 10");
    erp.run("delete from contracts where id = 20");
    let totals = desk.sync("contracts").await;
    assert_eq!((totals.rows_inserted, totals.rows_updated, totals.rows_withdrawn), (1, 1, 0));
    let request = Request { how: tidegate::model::How::by(Strategy::Hash), ..Request::everything() };
    let compared = desk.sync_by("contracts", request).await.unwrap().totals;
    assert_eq!((compared.rows_inserted, compared.rows_withdrawn), (1, 1));
    erp.assert_equal(&desk, "after a full comparison");
}

#[tokio::test]
async fn composite_keys_in_another_collation_and_queries_are_compared_by_bytes() {
    let Some(erp) = erp() else { return };
    erp.run(
        "create table lines (book text collate \"und-x-icu\", posted date, number int, sum numeric(18, 2), stamp timestamp, \
         paid boolean, primary key (book, posted, number)); \
         insert into lines select (array['a', 'B', 'Z', 'é', '账', '🐉', 'a b', ''])[1 + i % 8], \
         date '2024-01-01' + i % 30, i, i / 4.0, timestamp '2024-01-31 18:00:00', i % 2 = 0 from generate_series(1, 600) i",
    );
    let columns = [
        column("book", "text", ""),
        column("posted", "date", ""),
        column("number", "int", ""),
        column("sum", "decimal", "scale = 2\nnullable = true"),
        column("stamp", "datetime", NULLABLE),
        column("paid", "int", NULLABLE),
    ];
    let keeping = "connection = \"erp\"\nquery = \"select *, 1 as extra from lines where number <> 77;\"";
    let key = "\"book\", \"posted\", \"number\"";
    let desk = Desk::new(&erp.url, &[catalogue("lines", key, "hash", keeping, &columns.concat())]).await;
    assert_eq!(desk.sync("lines").await.rows_inserted, 599);
    erp.run("delete from lines where book = 'é' and number < 100");
    erp.run("update lines set paid = null where number = 300");
    erp.run("insert into lines values ('🐉', '2024-06-01', -1, 0.1)");
    let changed = desk.sync("lines").await;
    assert_eq!((changed.rows_inserted, changed.rows_updated, changed.rows_withdrawn), (1, 1, 13));
    let there = erp.run(
        "select concat_ws('|', book, posted, number, trim_scale(sum), coalesce(replace(stamp::text, ' ', 'T') || '+08:00', '-'), \
         coalesce(paid::int::text, '-')) from lines where number <> 77 order by book collate \"C\", posted, number",
    );
    let here = desk.stored(
        "select book, posted, number, rtrim(rtrim(printf('%.2f', sum), '0'), '.'), stamp, paid from lines order by 1, 2, 3",
    );
    assert!(there.lines().eq(here.iter().map(String::as_str)), "{there}\n{}", here.join("\n"));
    assert_eq!(desk.sync("lines").await.rows_answered, 0);
}

#[tokio::test]
async fn refusals_of_the_server_name_the_place_and_the_remedy_and_never_the_password() {
    let Some(erp) = erp() else { return };
    erp.run("create role reader login; create table blobs (id int primary key, body bytea, measure float8)");
    let url = format!("postgres://reader:hunter2@127.0.0.1:{}/erp", erp.server.port());
    let id = column("id", "int", "");
    let of = |name: &str, keeping: &str, columns: String| catalogue(name, "\"id\"", "hash", keeping, &columns);
    let mapped = |column: &str| format!("{FROM_ERP}\ncolumns = {{ {column} }}");
    let texts = [
        contracts("hash", FROM_ERP),
        of("absent", "connection = \"erp\"\ntable = \"sales.nowhere\"", id.clone()),
        of("misnamed", &mapped("label = \"lable\""), id.clone() + &column("label", "text", NULLABLE)),
        of(
            "mistyped",
            &mapped("total = \"rate\""),
            id.clone() + &column("total", "decimal", "scale = 2\nnullable = true"),
        ),
    ];
    let desk = Desk::new(&url, &texts).await;
    let check = async |desk: &Desk, dataset: &str, kind: ErrorKind, message: &str, hint: &str| {
        let error = desk.sync_by(dataset, Request::everything()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{dataset}: {error}");
        assert!(error.to_string().contains(message), "{dataset}: {error}");
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{dataset}: {:?}", error.hint_text());
        assert!(!format!("{error:?}").contains("hunter2"), "{dataset}: the password is shown");
    };
    check(&desk, "contracts", ErrorKind::Denied, "reading sales.contracts is not allowed", "grant select").await;
    erp.run("grant usage on schema sales to reader; grant select on all tables in schema sales to reader");
    desk.sync("contracts").await;
    check(&desk, "absent", ErrorKind::NotFound, "has no table sales.nowhere", "database.table").await;
    check(&desk, "misnamed", ErrorKind::Invalid, "no column \"lable\", which misnamed.label", "id, customer").await;
    check(&desk, "mistyped", ErrorKind::Invalid, "of type float8, which does not convert to decimal", "round").await;
    erp.server.kill();
    check(&desk, "contracts", ErrorKind::Transient, "does not answer", "check that it runs").await;
    erp.server.start_again();
    desk.sync("contracts").await;
    let wrong = format!("postgres://reader:hunter2@127.0.0.1:{}/nobase", erp.server.port());
    let desk = Desk::new(&wrong, &texts[..1]).await;
    check(&desk, "contracts", ErrorKind::NotFound, "/nobase does not exist", "database's name").await;
}

#[tokio::test]
async fn tls_is_used_where_the_server_has_it_and_certificates_are_checked_where_that_is_asked_for() {
    let Some(erp) = erp() else { return };
    erp.fill(3);
    let golden = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tls").join(name);
    erp.server.insist_on_tls(&golden("receiver.pem"), &golden("receiver.key"));
    let (named, ca) = (erp.url.replace("127.0.0.1", "receiver.example"), golden("ca.pem").display().to_string());
    let authority = format!("sslmode=verify-full&sslrootcert={ca}");
    for (url, refusal) in [
        (erp.url.clone(), None),
        (format!("{}?sslmode=require", erp.url), None),
        (format!("{}?sslmode=disable", erp.url), Some("refuses user and password")),
        (format!("{named}?hostaddr=127.0.0.1&sslmode=verify-full"), Some("does not count")),
        (format!("{}?{authority}", erp.url), Some("does not count")),
        (format!("{named}?hostaddr=127.0.0.1&{authority}"), None),
        (format!("{named}?hostaddr=127.0.0.1&{authority}.not"), Some("cannot be used")),
    ] {
        let desk = Desk::new(&url, &[contracts("hash", FROM_ERP)]).await;
        match (desk.sync_by("contracts", Request::everything()).await, refusal) {
            (Ok(task), None) => assert_eq!(task.totals.rows_inserted, 3, "{url}"),
            (Err(error), Some(text)) => assert!(error.to_string().contains(text), "{url}: {error}"),
            (done, _) => panic!("{url}: {done:?}"),
        }
    }
}

#[tokio::test]
async fn the_server_may_be_killed_in_mid_comparison_and_the_task_goes_on() {
    let Some(erp) = erp() else { return };
    erp.fill(400);
    let mut desk = Desk::new(&erp.url, &[contracts("hash", FROM_ERP)]).await;
    desk.engine.options.retry_cap_ms = 1;
    let task = desk.engine.submit("contracts", Request::everything()).await.unwrap();
    let (watcher, mut progress) = Watcher::new("contracts", task.id);
    let running = tokio::spawn({
        let engine = desk.engine.clone();
        async move { engine.run(task.id, &Stop::default(), &watcher).await }
    });
    // Some pages are in; the rest meets a dead server, three times.
    progress.wait_for(|progress| progress.totals.rows_inserted >= 80).await.unwrap();
    erp.server.kill();
    let ended = running.await.unwrap();
    erp.server.start_again();
    if let Err(error) = &ended {
        assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    }
    let kept = desk.stored("select count(*) from contracts")[0].parse::<u64>().unwrap();
    assert!(kept >= 80);
    assert_eq!(desk.sync("contracts").await.rows_inserted, 400 - kept, "what was committed is not read again");
    erp.assert_equal(&desk, "after the server came back");
    assert!(desk.engine.task(task.id).await.unwrap().state != TaskState::Running);
}

#[tokio::test]
async fn a_catalogue_file_is_written_from_the_servers_own_declarations() {
    let Some(erp) = erp() else { return };
    erp.fill(20);
    erp.run(
        "create table \"Invoice Lines\" (\"Invoice No\" text, line smallint, net numeric(20,4) not null, taxed boolean, \
         issued timestamp not null, primary key (\"Invoice No\", line)); \
         insert into \"Invoice Lines\" values ('R-1', 1, 1234567890123456.7891, true, '2024-01-31 18:00:00')",
    );
    let desk = Desk::new(&erp.url, &[]).await;
    for (table, name, rows) in [("sales.contracts", "contracts", 20), ("sales.Invoice Lines", "invoice_lines", 1)] {
        let named = format!("erp.{table}");
        let text = desk.run(&erp.url, &["datasets", "--from-table", &named], 0).stdout;
        std::fs::write(desk.folder.path().join(format!("catalog/{name}.toml")), &text).unwrap();
        let synced = desk.run(&erp.url, &["sync", name, "--json"], 0).json();
        assert_eq!(synced[0]["totals"]["rows_inserted"], rows, "{text}");
    }
    let lines = desk.stored("select invoice_no, line, net, taxed, issued from invoice_lines");
    assert_eq!(lines, ["R-1|1|1234567890123456.7891|1|2024-01-31T18:00:00+08:00"]);
    desk.run(&erp.url, &["datasets", "--from-table", "erp.sales.nowhere"], 4);
    desk.run(&erp.url, &["datasets", "--from-table", "crm.contracts"], 4);
}

//! Replication slots of a real PostgreSQL: messages and changes of committed transactions, values that are not sent,
//! changes of tables in the middle, slots that are lost, and a process that is killed between its commit and the
//! confirmation.

use std::path::Path;

use serde_json::{Value, json};
use tidegate::intake::Doing;
use tidegate::model::EventType;

use crate::intake::{Gate, json_of, session, until};
use crate::postgres_server::{self, PostgresServer};

const TABLE: &str = "create table voucher (id int primary key, contract_no text, amount numeric(20,6), note text); \
                     alter table voucher alter column note set storage external";

fn wanted(more: Value) -> Value {
    let mut body = json!({"prefixes": ["svc"], "tables": ["public.voucher"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"source": "/settlement", "replication": body})
}

/// Names of slots are those of the whole server: each test takes one of its own.
fn names(database: &str) -> (String, Value) {
    let slot = format!("slot_{database}");
    (slot.clone(), json!({ "slot": slot }))
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_messages_come_in_the_order_of_commits_and_what_was_rolled_back_does_not() {
    let server = postgres_server::shared();
    for gate in [Gate::new().await, Gate::on_postgres().await] {
        let (database, url) = server.fresh_database();
        let (_, named) = names(&database);
        server.psql(&database, TABLE);
        gate.add("vouchers", &url, wanted(named)).await;
        let running = gate.run().await;
        gate.wait_doing("vouchers", Doing::Running).await;
        let large = "repeat('x', 20000)";
        for sql in [
            format!("insert into voucher values (1, 'HT-001', 12.5, {large})").as_str(),
            "update voucher set amount = 13 where id = 1",
            "update voucher set id = 2 where id = 1",
            "begin; insert into voucher values (9, 'no', 1, null); \
             select pg_logical_emit_message(true, 'svc', '{\"never\": 1}'); \
             select pg_logical_emit_message(false, 'svc', '{\"outside\": 1}'); rollback",
            "alter table voucher add column due date",
            "begin; select pg_logical_emit_message(true, 'svc', '{\"voucher_id\": \"V1\", \"amount\": 1.10}'); \
             update voucher set due = '2026-01-31', note = 'short' where id = 2; \
             select pg_logical_emit_message(true, 'other', 'not ours'); commit",
            "delete from voucher where id = 2",
            "truncate voucher",
        ] {
            server.psql(&database, sql);
        }
        let messages = gate.wait_for(7).await;
        running.end().await;
        let kinds: Vec<&str> =
            messages.iter().map(|message| message.kind.trim_start_matches("public.voucher.")).collect();
        assert_eq!(kinds, ["inserted", "updated", "updated", "svc", "updated", "deleted", "truncated"]);
        let data: Vec<Value> = messages.iter().map(json_of).collect();
        let new = json!({"id": 1, "contract_no": "HT-001", "amount": "12.500000", "note": "x".repeat(20_000)});
        assert_eq!(data[0], json!({"table": "public.voucher", "new": new}));
        let unchanged = json!({"id": 1, "contract_no": "HT-001", "amount": "13.000000"});
        assert_eq!(data[1], json!({"table": "public.voucher", "new": unchanged, "unchanged": ["note"]}));
        assert_eq!(
            (&data[2]["old"], &data[2]["new"]["id"], &data[2]["unchanged"]),
            (&json!({"id": 1}), &json!(2), &json!(["note"]))
        );
        assert_eq!(data[3], json!({"voucher_id": "V1", "amount": 1.10}));
        assert_eq!((&data[4]["new"]["due"], &data[4]["new"]["note"]), (&json!("2026-01-31"), &json!("short")));
        assert_eq!(data[5], json!({"table": "public.voucher", "old": {"id": 2}}));
        let keys: Vec<_> = messages.iter().map(|message| message.key.clone().unwrap_or_default()).collect();
        assert_eq!(keys[..3], ["public.voucher:1", "public.voucher:1", "public.voucher:1"]);
        assert!(messages.iter().all(|message| message.source == "/settlement"));
        let standing = gate.control.get("vouchers").await.unwrap().standing;
        assert_eq!((standing.published, standing.ignored, standing.refused), (7, 2, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_between_commit_and_confirmation_publishes_nothing_twice_and_loses_nothing() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    let (slot, named) = names(&database);
    server.psql(&database, TABLE);
    let gate = Gate::new().await;
    gate.add("vouchers", &url, wanted(named)).await;
    let confirmed = format!("select confirmed_flush_lsn from pg_replication_slots where slot_name = '{slot}'");
    for round in 0..3 {
        let mut child = gate.program(Some("intake.committed"));
        until("the slot is there", async || !server.psql(&database, &confirmed).is_empty()).await;
        let before = server.psql(&database, &confirmed);
        let insert = format!("insert into voucher select {round} * 100 + n from generate_series(1, 20) n");
        server.psql(&database, &insert);
        until("the process has died", async || child.try_wait().unwrap().is_some()).await;
        if round == 0 {
            assert_eq!(server.psql(&database, &confirmed), before, "nothing was confirmed");
        }
        // It may have died over what came again, before anything new.
        assert!(!gate.messages().await.is_empty());
    }
    let mut child = gate.program(None);
    server.psql(&database, "insert into voucher values (1000)");
    let messages = gate.wait_for(61).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let ids: Vec<i64> = messages.iter().map(|message| json_of(message)["new"]["id"].as_i64().unwrap()).collect();
    let expected = (0..3).flat_map(|round| (1..=20).map(move |n| round * 100 + n)).chain([1000]);
    assert_eq!(ids, expected.collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_lost_is_told_with_its_remedy_and_never_made_anew_in_silence() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    let (slot, named) = names(&database);
    server.psql(&database, TABLE);
    let gate = Gate::new().await;
    gate.add("vouchers", &url, wanted(named)).await;
    let running = gate.run().await;
    gate.wait_doing("vouchers", Doing::Running).await;
    server.psql(&database, "insert into voucher values (1)");
    gate.wait_for(1).await;
    gate.control.pause("vouchers", "test").await.unwrap();
    let drop = format!(
        "select pg_drop_replication_slot('{slot}') from pg_replication_slots where slot_name = '{slot}' and not active"
    );
    until("the slot is dropped", async || {
        server.psql(&database, &drop);
        server.psql(&database, &format!("select count(*) from pg_replication_slots where slot_name = '{slot}'")) == "0"
    })
    .await;
    server.psql(&database, "insert into voucher values (2)");
    gate.control.resume("vouchers", false, "test").await.unwrap();
    let status = gate.wait_doing("vouchers", Doing::Stuck).await;
    assert!(status.standing.error.unwrap().contains(&format!("the slot {slot} is gone")));
    assert!(status.standing.hint.unwrap().contains("--anew"));
    assert_eq!(gate.told("stuck").await.len(), 1);
    gate.control.resume("vouchers", true, "test").await.unwrap();
    gate.wait_doing("vouchers", Doing::Running).await;
    server.psql(&database, "insert into voucher values (3)");
    let messages = gate.wait_for(2).await;
    assert_eq!(json_of(&messages[1])["new"]["id"], 3);
    // Somebody else moves the slot: what lies between will not come, and that is told.
    gate.control.pause("vouchers", "test").await.unwrap();
    server.psql(&database, "insert into voucher values (4)");
    let advance = format!(
        "select pg_replication_slot_advance('{slot}', pg_current_wal_lsn()) from pg_replication_slots where slot_name = '{slot}' and not active"
    );
    until("the slot is free", async || !server.psql(&database, &advance).is_empty()).await;
    gate.control.resume("vouchers", false, "test").await.unwrap();
    let gap = gate.wait_told("gap").await;
    assert_eq!(gap["details"]["slot"], json!(slot));
    server.psql(&database, "insert into voucher values (5)");
    assert_eq!(json_of(&gate.wait_for(3).await[2])["new"]["id"], 5);
    running.end().await;
    gate.control.remove("vouchers", false, "test").await.unwrap();
    assert_eq!(
        server.psql(&database, &format!("select count(*) from pg_replication_slots where slot_name = '{slot}'")),
        "0"
    );
    assert_eq!(server.psql(&database, "select count(*) from pg_publication"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_there_come_first_and_nothing_falls_between_them_and_the_stream() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    let (_, named) = names(&database);
    server.psql(&database, TABLE);
    server.psql(&database, "insert into voucher select n, 'HT-' || n, n, null from generate_series(1, 1200) n");
    let gate = Gate::new().await;
    let mut body = named;
    body["snapshot"] = json!(true);
    gate.add("vouchers", &url, wanted(body)).await;
    let writer = session(&url).await;
    let running = gate.run().await;
    // Written all through the copy.
    for n in 2001..2101 {
        writer.execute("insert into voucher (id) values ($1)", &[&n]).await.unwrap();
    }
    let messages = gate.wait_for(1300).await;
    running.end().await;
    assert_eq!(messages.len(), 1300);
    let mut ids: Vec<i64> = messages.iter().map(|message| json_of(message)["new"]["id"].as_i64().unwrap()).collect();
    let is_copied = |index: usize| messages[index].extensions.contains_key("snapshot");
    assert!((0..1200).all(is_copied), "the copy comes first");
    ids.sort_unstable();
    assert_eq!(ids, (1..=1200).chain(2001..2101).collect::<Vec<i64>>());
    assert_eq!(
        json_of(&messages[0]),
        json!({"table": "public.voucher", "new": {"id": 1, "contract_no": "HT-1", "amount": "1.000000", "note": null}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_event_a_bad_one_and_a_server_that_is_killed_in_between() {
    let Some(server) = postgres_server::PostgresServer::start() else {
        return eprintln!("PostgreSQL is not installed");
    };
    let url = server.create_database("own");
    let gate = Gate::new().await;
    let body = json!({"source": "/settlement", "replication": {"prefixes": ["svc"], "non_transactional": true}});
    gate.add("vouchers", &url, body).await;
    let running = gate.run().await;
    gate.wait_doing("vouchers", Doing::Running).await;
    let emit = |kind: bool, text: &str| {
        server.psql("own", &format!("select pg_logical_emit_message({kind}, 'svc', '{text}')"))
    };
    emit(
        true,
        "{\"specversion\":\"1.0\",\"id\":\"V1:3\",\"source\":\"/erp\",\"type\":\"contract.confirmed\",\"data\":{\"amount\":1250.00}}",
    );
    emit(true, "{\"specversion\":\"1.0\",\"id\":\"V1:4\",\"type\":\"contract.confirmed\"}");
    emit(true, "{broken 4711");
    let first = gate.wait_for(1).await;
    assert_eq!((first[0].id.as_str(), first[0].source.as_str()), ("V1:3", "/erp"));
    until("both are refused", async || gate.events_of(EventType::IntakeRefused).await.len() == 2).await;
    let refused = gate.events_of(EventType::IntakeRefused).await;
    assert_eq!((&refused[0]["field"], &refused[1]["field"]), (&json!("source"), &json!("data")));
    let kept = gate.store.quarantine(Some("intake:vouchers"), 10).await.unwrap();
    assert_eq!(kept[0].quarantined.row["content"], "{broken 4711");
    server.kill();
    gate.wait_doing("vouchers", Doing::Failing).await;
    server.start_again();
    emit(true, "{\"after\": 1}");
    let messages = gate.wait_for(2).await;
    assert_eq!(json_of(&messages[1]), json!({"after": 1}));
    gate.wait_doing("vouchers", Doing::Running).await;
    assert_eq!(gate.told("failing").await.len(), 1);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_log_in_with_every_kind_of_password_and_a_wrong_one_is_refused_without_showing_it() {
    let server = PostgresServer::start().expect("PostgreSQL is installed: see scripts/lib/tools.sh");
    let kinds = [("scram", "scram-sha-256"), ("old", "md5"), ("plain", "password")];
    for (user, kind) in kinds {
        let stored = if kind == "md5" { "md5" } else { "scram-sha-256" };
        let role =
            format!("set password_encryption = '{stored}'; create role {user} superuser login password 'p@ss wörd'");
        server.psql("postgres", &role);
    }
    let rules = kinds.map(|(user, kind)| format!("host all {user} 127.0.0.1/32 {kind}\n"));
    server.let_in(&(rules.concat() + "host all tidegate 127.0.0.1/32 trust\n"));
    let gate = Gate::new().await;
    let running = gate.run().await;
    let as_user = |user: &str, password: &str, database: &str| {
        server.url(database).replace("tidegate@", &format!("{user}:{password}@"))
    };
    for (at, (user, _)) in kinds.into_iter().enumerate() {
        let (database, _) = server.fresh_database();
        server.psql(&database, TABLE);
        gate.add(user, &as_user(user, "p%40ss%20w%C3%B6rd", &database), wanted(names(&database).1)).await;
        gate.wait_doing(user, Doing::Running).await;
        server.psql(&database, "insert into voucher values (1, 'HT-001', 12.5, null)");
        gate.wait_for(at + 1).await;
    }
    let (database, _) = server.fresh_database();
    gate.add("wrong", &as_user("scram", "not-the-password", &database), wanted(names(&database).1)).await;
    let found = gate.control.test("wrong").await.unwrap();
    let (problem, _) = found.into_iter().find_map(|found| found.problem).expect("a problem");
    assert!(problem.contains("password authentication failed"), "{problem}");
    assert!(!problem.contains("not-the-password"), "{problem}");
    let tls = as_user("scram", "p%40ss%20w%C3%B6rd", &database) + "?sslmode=require";
    gate.add("tls", &tls, wanted(names(&database).1)).await;
    let found = gate.control.test("tls").await.unwrap();
    let (problem, _) = found.into_iter().find_map(|found| found.problem).expect("a problem");
    assert!(problem.contains("TLS"), "{problem}");

    let golden = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tls").join(name);
    server.insist_on_tls(&golden("receiver.pem"), &golden("receiver.key"));
    let (database, url) = server.fresh_database();
    server.psql(&database, TABLE);
    let named = url.replace("127.0.0.1", "receiver.example") + "?hostaddr=127.0.0.1&sslmode=verify-full";
    gate.add("unknown", &named, wanted(names(&database).1)).await;
    let found = gate.control.test("unknown").await.unwrap();
    let (problem, hint) = found.into_iter().find_map(|found| found.problem).expect("a problem");
    assert!(problem.contains("certificate") && hint.unwrap().contains("sslrootcert"), "{problem}");
    let known = format!("{named}&sslrootcert={}", golden("ca.pem").display());
    gate.control.remove("unknown", true, "test").await.unwrap();
    gate.add("known", &known, wanted(names(&database).1)).await;
    gate.wait_doing("known", Doing::Running).await;
    server.psql(&database, "insert into voucher values (1, 'HT-001', 12.5, null)");
    gate.wait_for(kinds.len() + 1).await;
    running.end().await;
}

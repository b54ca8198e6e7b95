//! Inbound webhooks through the real program: what is refused, what is taken in once, versions out of order, missing versions,
//! and death at any moment; on both stores.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kill::Dice;
use crate::postgres_server::shared;
use crate::receiver::{Receiver, Says};
use crate::receiving::{Desk, event, invoice, invoices, mission_signed, post, signed, try_post};
use crate::world::{Wanted, World, is_long, seed};

fn world() -> World {
    World::new(Wanted { securities: 2, ..Wanted::default() })
}

/// On a store in a file, and on one in PostgreSQL.
fn on_both_stores(test: impl Fn(&World, Option<&str>)) {
    test(&world(), None);
    let (_, url) = shared().fresh_database();
    test(&world(), Some(&url));
}

/// Values that no log may show, wherever they stand in a call.
const PRIVATE: [&str; 2] = ["4711.00815", "Geheimnis-4711"];

/// A call that is wrong in one way: what is wrong, status, a word of the answer, headers and body.
struct Bad(&'static str, u16, &'static str, Vec<(String, String)>, Vec<u8>);

fn bad_calls(desk: &Desk) -> Vec<Bad> {
    let (now, good) = (desk.now(), event(7, "1250.00", 1));
    let other = good.replace("1250.00", "9250.00");
    let body = |text: &str| text.as_bytes().to_vec();
    let by = |secret: &str, at: i64, text: &str| (signed(secret, "msg_1", at, text.as_bytes()), body(text));
    let own = |text: &str| by(&desk.secret, now, text);
    let changed = |from: &str, to: &str| own(&good.replace(from, to));
    let forged = by("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now, &good);
    let without_signature: Vec<_> = own(&good).0.into_iter().filter(|(name, _)| name != "webhook-signature").collect();
    let large = format!("{}{}", good, " ".repeat(10 * 1024 * 1024));
    let mission = format!(r#"{{"data":{},"event":"l1_confirmed","voucher_id":1001}}"#, invoice(7, "1250.00", 1));
    let all = [
        ("forged signature", 401, "signature", forged),
        ("old timestamp", 401, "old", by(&desk.secret, now - 400, &good)),
        ("timestamp ahead", 401, "ahead", by(&desk.secret, now + 400, &good)),
        ("another body under a signature", 401, "signature", (own(&good).0, body(&other))),
        ("no signature", 401, "webhook-signature", (without_signature, body(&good))),
        (
            "mission's form, forged",
            401,
            "signature",
            (mission_signed("another secret of 24 bytes", now, mission.as_bytes()), body(&mission)),
        ),
        (
            "mission's form, old",
            401,
            "old",
            (mission_signed(&desk.secret, now - 400, mission.as_bytes()), body(&mission)),
        ),
        ("10 MB", 413, "too large", own(&large)),
        ("broken JSON", 400, "JSON", own(&good[..good.len() - 2])),
        ("no id", 400, "id", changed(r#""id":"inv-7:1","#, "")),
        ("wrong decimal", 422, "data.amount", changed("1250.00", PRIVATE[0])),
        ("decimal in words", 422, "data.amount", changed("1250.00", &format!("\"{}\"", PRIVATE[1]))),
        ("no amount", 422, "data.amount", changed(r#""amount":1250.00,"#, "")),
        ("wrong date", 422, "data.issued", changed("2026-01-02", "2026-02-30")),
        ("no version", 422, "source_version", changed(r#""version":1"#, r#""version":0"#)),
        (
            "wrong item",
            422,
            "item 2",
            changed(r#""version":1"#, r#""version":1,"lines":[{"sku":"a","qty":1},{"sku":"b","qty":"x"}]"#),
        ),
        ("unknown type", 422, "contract.signed", changed("invoice.recorded", "contract.signed")),
    ];
    all.into_iter().map(|(what, status, word, (headers, body))| Bad(what, status, word, headers, body)).collect()
}

#[test]
fn a_bad_call_is_refused_with_the_reason_and_nothing_is_written_but_a_record_without_values() {
    on_both_stores(|world, url| {
        let desk = Desk::new(world, url, &invoices());
        let serving = desk.serve();
        for Bad(what, status, word, headers, body) in bad_calls(&desk) {
            let answer = post(&serving, "invoices", &headers, body);
            let said = answer.of_status(status);
            let told = said["detail"].as_str().unwrap();
            assert!(told.contains(word), "{what}: {told}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
            assert!(!PRIVATE.iter().any(|value| said.to_string().contains(value)), "{what}: {said}");
        }
        let nobody = post(&serving, "nobody", &desk.signed("msg_1", b"{}"), b"{}".to_vec());
        nobody.of_status(404);
        assert_eq!(desk.invoices(&serving), Vec::<String>::new());
        assert_eq!((desk.published(), desk.states(&serving)), (0, Vec::new()));
        assert_eq!(serving.stop(), Some(0));
        let records = desk.run(&["changes", "--json", "--limit", "100"], 0).json();
        let reasons = records.to_string();
        for word in ["the signature does not count", "too large", "data.amount", "contract.signed"] {
            assert!(reasons.contains(word), "{word}: {reasons}");
        }
        let key = desk.secret.trim_start_matches("whsec_").to_owned();
        let logs = desk.run(&["logs", "--json", "--limit", "1000"], 0).stdout;
        for value in PRIVATE.iter().copied().chain([key.as_str()]) {
            assert!(!reasons.contains(value) && !logs.contains(value), "{value} is in a record");
        }
        let written = String::from_utf8_lossy(&desk.written()).into_owned();
        assert!(!PRIVATE.iter().any(|value| written.contains(value)));
    });
}

#[test]
fn a_message_is_taken_in_once_in_every_form_of_body() {
    on_both_stores(|world, url| {
        let desk = Desk::new(world, url, &invoices());
        let serving = desk.serve();
        let structured = event(1, "100000.00", 1);
        let first = desk.call(&serving, "msg_1", &structured).of_status(200);
        assert_eq!((&first["code"], &first["results"][0]["state"]), (&json!(0), &json!("applied")));
        assert_eq!(first["results"][0]["repeated"], false);
        let again = desk.call(&serving, "msg_1", &structured).of_status(200);
        assert_eq!(again["results"][0]["repeated"], true);
        // The same identity with another content is neither the same message nor a new one.
        let other = desk.call(&serving, "msg_2", &structured.replace("100000.00", "1.00"));
        assert!(other.of_status(409)["detail"].as_str().unwrap().contains("inv-1:1"));

        let batch = format!("[{},{}]", event(2, "0.10", 1), event(3, "\"12345678901234.56\"", 1));
        let mut headers = desk.signed("msg_3", batch.as_bytes());
        headers[0].1 = "application/cloudevents-batch+json".to_owned();
        assert_eq!(
            post(&serving, "invoices", &headers, batch.into_bytes()).of_status(200)["results"]
                .as_array()
                .unwrap()
                .len(),
            2
        );

        let binary = invoice(4, "4.00", 1);
        let mut headers = desk.signed("msg_4", binary.as_bytes());
        headers[0].1 = "application/json".to_owned();
        let attributes =
            [("ce-specversion", "1.0"), ("ce-id", "4"), ("ce-source", "/settlement"), ("ce-type", "invoice.recorded")];
        headers.extend(attributes.map(|(name, value)| (name.to_owned(), value.to_owned())));
        post(&serving, "invoices", &headers, binary.into_bytes()).of_status(200);

        let mission = format!(
            r#"{{"data":{},"event":"l1_confirmed","voucher_id":1001}}"#,
            r#"{"amount":5.50,"id":5,"no":"L1","version":1}"#
        );
        for _ in 0..2 {
            post(
                &serving,
                "invoices",
                &mission_signed(&desk.secret, desk.now(), mission.as_bytes()),
                mission.clone().into_bytes(),
            )
            .of_status(200);
        }
        let expected = ["1 100000 v1", "2 0.1 v1", "3 12345678901234.56 v1", "4 4 v1", "5 5.5 v1"];
        assert_eq!(desk.invoices(&serving), expected);
        assert_eq!(desk.published(), 5);
        let row = &desk.rows(&serving, "tax_invoice_cache")[0];
        assert_eq!(
            (&row["invoice_no"], &row["issued_on"], &row["currency"]),
            (&json!("FP-1"), &json!("2026-01-02"), &json!("CNY"))
        );
        assert!(row["synced_at"].as_str().is_some_and(|at| at.starts_with("20")), "{row}");
    });
}

#[test]
fn versions_may_come_in_any_order_and_the_newest_counts() {
    on_both_stores(|world, url| {
        let desk = Desk::new(world, url, &invoices());
        let serving = desk.serve();
        let state = |version: u64, amount: &str, more: &str| {
            let body = event(7, amount, version).replace(r#""version":"#, &format!(r#"{more}"version":"#));
            let body = if more.contains("again") { body.replace("inv-7", "again-7") } else { body };
            let answer = desk.call(&serving, &format!("msg_{version}"), &body).of_status(200);
            answer["results"][0]["state"].as_str().unwrap().to_owned()
        };
        let lines = |text: &str| format!(r#""lines":[{text}],"#);
        let (one, two) = (r#"{"sku":"A","qty":1}"#, r#"{"sku":"B","qty":2.5}"#);
        assert_eq!(state(3, "30.00", &lines(&format!("{one},{two}"))), "applied");
        assert_eq!(state(1, "10.00", &lines(two)), "stale");
        assert_eq!(desk.invoices(&serving), ["7 30 v3"]);
        assert_eq!(desk.rows(&serving, "tax_invoice_line").len(), 2);
        // Said again under another id: equal content changes nothing, other content is a conflict that people see.
        assert_eq!(state(3, "30.00", r#""x":"again","#), "stale");
        assert_eq!(state(4, "40.00", &lines(two)), "applied");
        let kept = desk.rows(&serving, "tax_invoice_line");
        assert_eq!((kept.len(), &kept[0]["sku"]), (1, &json!("B")));
        assert_eq!(state(4, "44.00", r#""x":"again","#), "conflicting");
        let conflicts = desk.run(&["conflicts", "tax_invoice_cache", "--json"], 0).json();
        assert_eq!(
            (&conflicts[0]["stored"]["amount"], &conflicts[0]["offered"]["amount"]),
            (&json!("40"), &json!("44"))
        );
        // The row ends; what is older does not bring it back.
        assert_eq!(state(6, "60.00", r#""op":"D","#), "applied");
        assert_eq!((desk.invoices(&serving).len(), desk.rows(&serving, "tax_invoice_line").len()), (0, 0));
        assert_eq!(state(5, "50.00", ""), "stale");
        assert_eq!(desk.invoices(&serving).len(), 0);
        assert_eq!(state(8, "80.00", ""), "applied");
        assert_eq!(desk.invoices(&serving), ["7 80 v8"]);
    });
}

/// A publisher that has events and may be away: it answers with 503 until `away` questions were asked.
fn publisher(world: &World, away: usize, events: Vec<String>) -> Receiver {
    Receiver::start(&world.runtime, "127.0.0.1:0", move |before, _| match before < away {
        true => Says::status(503, &[], ""),
        false => {
            Says::status(200, &["content-type: application/json"], &format!(r#"{{"items":[{}]}}"#, events.join(",")))
        }
    })
}

fn fetching(origin: &str) -> Value {
    let mut definition = invoices();
    definition["mappings"][0]["gaps"] = "fetch".into();
    definition["mappings"][0]["first"] = 1.into();
    definition["origin"] = json!({ "url": origin, "subject": "invoice/{invoice_id}" });
    definition
}

/// Looks until it is so.
pub fn until(what: &str, so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn missing_versions_are_fetched_and_applied_in_order() {
    on_both_stores(|world, url| {
        let events = vec![event(7, "20.00", 2), event(7, "40.00", 4), event(7, "30.00", 3), event(8, "1.00", 1)];
        let origin = publisher(world, 2, events);
        let base = format!("http://{}", origin.address);
        let desk = Desk::new(world, url, &fetching(&base));
        let key = desk.write("key", b"tg_origin_key\n");
        desk.run(&["inbound", "origin-key", "invoices", "--key-file", &key], 0);
        let serving = desk.serve();
        desk.call(&serving, "msg_1", &event(7, "10.00", 1)).of_status(200);
        let waits = desk.call(&serving, "msg_5", &event(7, "50.00", 5)).of_status(200);
        assert_eq!(
            (&waits["results"][0]["state"], &waits["results"][0]["note"]),
            (&json!("waiting"), &json!("waiting for versions 2 to 4"))
        );
        until("the missing versions", || desk.invoices(&serving) == ["7 50 v5"]);
        let applied: Vec<String> = (1..=5).map(|version| format!("inv-7:{version} applied")).collect();
        assert_eq!(desk.states(&serving), applied);
        let asked = origin.seen();
        assert!(
            asked.len() >= 3
                && asked[0].line.contains("/api/v1/events?source=%2Fsettlement&subject=invoice%2F7&limit="),
            "{}",
            asked[0].line
        );
        assert_eq!(asked[0].header("authorization"), "Bearer tg_origin_key");
        // Every version was believed for a while, one after the other.
        serving.stop();
        let versions = "select source_version from tax_invoice_cache_revision order by _ended_seq";
        let believed = match url {
            None => world.sqlite(versions),
            Some(url) => {
                shared().psql(url.rsplit('/').next().unwrap(), &format!("set search_path to tidegate; {versions}"))
            }
        };
        assert_eq!(believed.split_whitespace().collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    });
}

#[test]
fn a_message_whose_versions_never_come_is_stuck_until_a_person_decides() {
    let world = world();
    let origin = publisher(&world, 0, vec![]);
    let mut desk = Desk::new(&world, None, &fetching(&format!("http://{}", origin.address)));
    desk.settings.push("receive.attempts_max=3".to_owned());
    let serving = desk.serve();
    desk.call(&serving, "msg_3", &event(7, "30.00", 3)).of_status(200);
    desk.call(&serving, "msg_5", &event(7, "50.00", 5)).of_status(200);
    until("the end of the attempts", || {
        desk.states(&serving) == ["inv-7:3 stuck", "inv-7:5 waiting"]
            || desk.states(&serving) == ["inv-7:3 stuck", "inv-7:5 stuck"]
    });
    let stuck = serving.get("/api/v1/inbounds/invoices/messages?state=stuck").of_status(200);
    assert!(stuck["items"][0]["note"].as_str().unwrap().starts_with("waiting for version"), "{stuck}");
    assert!(world.events().iter().any(|event| event.kind.name() == "inbound.problem" && event.data["version"] == 3));
    assert_eq!(desk.invoices(&serving).len(), 0);
    let released = serving.post("/api/v1/inbounds/invoices/release", json!({ "key": "7" })).of_status(200);
    assert_eq!(released["messages"], 2);
    until("what was released", || desk.invoices(&serving) == ["7 50 v5"]);
    assert_eq!(desk.states(&serving), ["inv-7:3 applied", "inv-7:5 applied"]);
}

#[test]
fn a_row_is_checked_against_its_origin_before_it_is_used() {
    let world = world();
    let origin = publisher(&world, 0, vec![event(7, "10.00", 1), event(7, "20.00", 2)]);
    let desk = Desk::new(&world, None, &fetching(&format!("http://{}", origin.address)));
    let serving = desk.serve();
    desk.call(&serving, "msg_1", &event(7, "10.00", 1)).of_status(200);
    let check = || serving.post("/api/v1/inbounds/invoices/check", json!({ "key": "7" })).of_status(200);
    assert_eq!(check(), json!({ "before": 1, "after": 2, "origin": 2, "current": true }));
    assert_eq!(check(), json!({ "before": 2, "after": 2, "origin": 2, "current": true }));
    assert_eq!(desk.invoices(&serving), ["7 20 v2"]);
    let shown = desk.run(&["inbound", "check", "invoices", "7", "--json"], 0).json();
    assert_eq!(shown["current"], true);
}

#[test]
fn a_webhook_is_defined_tried_out_paused_rotated_and_removed() {
    let world = world();
    let desk = Desk::new(&world, None, &invoices());
    let serving = desk.serve();
    let listed = desk.run(&["inbound", "list"], 0).stdout;
    assert!(listed.contains("invoices") && listed.contains("tax_invoice_cache"), "{listed}");
    let shown = [
        desk.run(&["inbound", "show", "invoices"], 0).stdout,
        serving.get("/api/v1/inbounds/invoices").of_status(200).to_string(),
    ];
    assert!(shown.iter().all(|shown| shown.contains("data.amount") && !shown.contains(&desk.secret)), "{shown:?}");
    let body = desk.write("call.json", event(9, "9.90", 1).as_bytes());
    let tried = desk.run(&["inbound", "test", "invoices", "--body", &body], 0).json();
    assert_eq!((&tried[0]["row"]["amount"], &tried[0]["version"]), (&json!("9.9"), &json!(1)));
    assert_eq!(desk.published(), 0, "trying out writes nothing");

    serving.post("/api/v1/inbounds/invoices/pause", json!({})).of_status(200);
    let paused = desk.call(&serving, "msg_1", &event(9, "9.90", 1));
    paused.of_status(503);
    assert_eq!(paused.header("retry-after"), "5");
    serving.post("/api/v1/inbounds/invoices/resume", json!({})).of_status(200);

    let rotated = serving.post("/api/v1/inbounds/invoices/rotate-secret", json!({ "overlap_hours": 1 })).of_status(200);
    let new = rotated["secret"].as_str().unwrap();
    for (id, secret) in [(1, desk.secret.as_str()), (2, new)] {
        let text = event(id, "1.00", 1);
        post(&serving, "invoices", &signed(secret, "m", desk.now(), text.as_bytes()), text.into_bytes()).of_status(200);
    }
    let ended = serving.post("/api/v1/inbounds/invoices/rotate-secret", json!({ "overlap_hours": 0 })).of_status(200);
    assert_ne!(ended["secret"], rotated["secret"]);
    desk.call(&serving, "msg_3", &event(3, "1.00", 1)).of_status(401);

    let unfit = json!({ "name": "other", "mappings": [{ "types": ["a"], "dataset": "tax_invoice_cache", "columns": { "nothing": "data.x" } }] });
    let refused = serving.post("/api/v1/inbounds", unfit).of_status(400);
    assert_eq!(refused["field"], "mappings[0].columns.nothing");
    let kept = json!({ "name": "archive", "others": "keep" });
    let secret = serving.post("/api/v1/inbounds", kept).of_status(201)["secret"].as_str().unwrap().to_owned();
    let text = event(5, "5.00", 1);
    let taken =
        post(&serving, "archive", &signed(&secret, "m", desk.now(), text.as_bytes()), text.into_bytes()).of_status(200);
    assert_eq!(taken["results"][0]["state"], "kept");
    desk.run(&["inbound", "remove", "invoices"], 0);
    until("the other process hears of it", || desk.call(&serving, "msg_4", "{}").status.as_u16() == 404);

    let audit = serving.get("/api/v1/changes?q=inbound&limit=500").of_status(200);
    let entries = audit["items"].as_array().unwrap();
    let of = |target: &str| entries.iter().filter(|entry| entry["what"] == target).rev().collect::<Vec<_>>();
    let told: Vec<_> = of("inbound:invoices").into_iter().map(|entry| (&entry["who"], &entry["text"])).collect();
    let expected = [
        ("cli", "is defined"),
        ("local", "is changed: paused"),
        ("local", "is changed: paused"),
        ("local", "has a new secret"),
        ("local", "has a new secret"),
        ("cli", "is removed with its secrets"),
    ];
    let expected = expected.map(|(who, text)| (json!(who), json!(format!("inbound webhook invoices {text}"))));
    assert_eq!(told, expected.iter().map(|(who, text)| (who, text)).collect::<Vec<_>>());
    assert_eq!(of("inbound:archive").len(), 1);
}

#[test]
fn whatever_kills_the_receiver_every_message_is_applied_exactly_once_and_in_order() {
    on_both_stores(|world, url| {
        let desk = Desk::new(world, url, &invoices());
        let mut dice = Dice(seed("receiver killed"));
        let (rounds, versions) = if is_long() { (60, 40) } else { (6, 15) };
        // What the publisher has to say, by the invoice; each is sent until it is taken.
        let mut sent = 0;
        for round in 0..rounds {
            let serving = desk.serve();
            let dies_after = Duration::from_millis(dice.below(400));
            let pid = serving.pid();
            let killer = std::thread::spawn(move || {
                std::thread::sleep(dies_after);
                let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            });
            for version in 1..=versions {
                let text = event(round, &format!("{version}.00"), version);
                let headers = desk.signed(&format!("m{round}.{version}").replace('.', "-"), text.as_bytes());
                match try_post(&serving, "invoices", &headers, text.into_bytes()) {
                    Some(answer) => assert_eq!(answer.status.as_u16(), 200),
                    None => break,
                }
                sent += 1;
            }
            killer.join().unwrap();
            drop(serving);
        }
        // The sender does not know what came through, and says everything again.
        let serving = desk.serve();
        let mut repeated = 0;
        for round in 0..rounds {
            for version in 1..=versions {
                let answer = desk.call(
                    &serving,
                    &format!("m{round}-{version}"),
                    &event(round, &format!("{version}.00"), version),
                );
                repeated += u64::from(answer.of_status(200)["results"][0]["repeated"] == true);
            }
        }
        assert!(repeated >= sent, "{repeated} of {sent} were stored before they were acknowledged");
        let expected: Vec<String> = (0..rounds).map(|round| format!("{round} {versions} v{versions}")).collect();
        assert_eq!(desk.invoices(&serving).len(), expected.len());
        assert!(desk.invoices(&serving).iter().all(|row| expected.contains(row)));
        assert_eq!(desk.published() as u64, rounds * versions);
        serving.stop();
        let counted = "select sum(inserted) || ' ' || sum(updated) from _commit where dataset = 'tax_invoice_cache'";
        let counted = match url {
            None => world.sqlite(counted),
            Some(url) => {
                shared().psql(url.rsplit('/').next().unwrap(), &format!("set search_path to tidegate; {counted}"))
            }
        };
        assert_eq!(counted.trim(), format!("{rounds} {}", rounds * (versions - 1)), "each version was written once");
    });
}

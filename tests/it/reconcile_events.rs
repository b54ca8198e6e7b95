//! Reconciling two databases that events keep alike: each difference names its event, its last attempt and its likely cause;
//! sending events again mends what they explain, and a definition mends the rest by itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::publish::small;
use crate::receive::until;
use crate::receiver::{Receiver, Says, Seen};
use crate::serving::Serving;
use crate::world::World;

fn run(file: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// A receiver that writes the contract of each event into a table; it refuses number 2 as long as `refuses` says so.
fn applying(world: &World, file: &Path, refuses: Arc<AtomicBool>) -> Receiver {
    let file = file.to_owned();
    Receiver::start(&world.runtime, "127.0.0.1:0", move |_, seen: &Seen| {
        let event: Value = serde_json::from_slice(&seen.body).unwrap();
        let (id, amount) = (event["data"]["id"].as_u64().unwrap(), event["data"]["amount"].as_f64().unwrap());
        if id == 2 && refuses.load(Ordering::SeqCst) {
            return Says::status(422, &[], "not this one");
        }
        run(&file, &format!("insert or replace into contract values ({id}, {amount})"));
        Says::status(204, &[], "")
    })
}

#[test]
fn differences_name_their_event_attempt_and_cause_and_events_sent_again_mend_them() {
    let world = small();
    let [settlement, tax] = ["settlement.db", "tax.db"].map(|name| world.folder.path().join(name));
    for file in [&settlement, &tax] {
        run(file, "create table contract (id integer primary key, amount real not null)");
    }
    let refuses = Arc::new(AtomicBool::new(true));
    let receiver = applying(&world, &tax, refuses.clone());
    let connections = format!(
        "sources.database.connections=[\"erp=sqlite://{}\", \"tax=sqlite://{}\"]",
        settlement.display(),
        tax.display()
    );
    let undo = format!("reconcile.undo_folder={}", world.folder.path().join("undo").display());
    let sets =
        [connections.as_str(), &undo, "reconcile.settle_ms=10", "notify.allow=127.0.0.1", "notify.plain_http=true"];
    let arguments: Vec<&str> = sets.into_iter().flat_map(|set| ["--set", set]).collect();
    let serving = Serving::start(&world, &arguments);
    let subscription = json!({ "name": "tax", "url": receiver.url(), "types": ["contract.*"] });
    serving.post("/api/v1/subscriptions", subscription).of_status(201);

    run(&settlement, "insert into contract values (1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (6, 60)");
    let publish = |id: u64, kind: &str| {
        let event = json!({
            "specversion": "1.0", "id": format!("c{id}"), "source": "/settlement", "type": kind,
            "subject": format!("contract/{id}"), "data": { "id": id, "amount": id * 10 },
        });
        let kind = [("content-type", "application/cloudevents+json")];
        serving.send(Method::POST, "/api/v1/events", &kind, event.to_string()).json()
    };
    (1..=4).for_each(|id| drop(publish(id, "contract.confirmed")));
    publish(5, "draft.saved");
    let attempts = || serving.get("/api/v1/deliveries/attempts").of_status(200)["items"].as_array().unwrap().len();
    until("four events were tried", || attempts() == 4);
    run(&tax, "delete from contract where id = 3; update contract set amount = 41 where id = 4");

    let name = "/api/v1/reconciliations/definitions/contracts";
    let define = |repair: Value| {
        let events = json!({ "column": "id", "prefix": "contract/", "subscription": "tax" });
        let body = json!({ "source": "erp#contract", "target": "tax#contract", "events": events, "repair": repair });
        assert_eq!(serving.ask(Method::PUT, name, &[], Some(body)).status.as_u16(), 204);
    };
    let reported = |number: u64| {
        serving.post(&format!("{name}/run"), json!({})).of_status(202);
        let path = format!("/api/v1/reconciliations/{number}");
        until(&path, || serving.get(&path).status.as_u16() == 200);
        let report = serving.get(&path).json();
        let page = serving.get(&format!("{path}/differences")).of_status(200);
        (report, page["items"].as_array().unwrap().clone())
    };
    define(json!({ "by": "replay" }));
    let (report, found) = reported(1);
    assert_eq!(report["outcome"], "different", "{report}");
    let told: Vec<_> =
        found.iter().map(|one| (one["key"][0].clone(), one["cause"].clone(), one["delivery"].clone())).collect();
    let expected = [
        ("2", "never_delivered", json!("dead")),
        ("3", "not_applied", json!("delivered")),
        ("4", "changed_at_target", json!("delivered")),
        ("5", "never_delivered", json!(null)),
        ("6", "never_published", json!(null)),
    ];
    let expected = expected.map(|(key, cause, delivery)| (json!(key), json!(cause), delivery));
    assert_eq!(told, expected, "{found:?}");
    for one in &found[..3] {
        let attempts = serving.get(&format!("/api/v1/deliveries/events/{}", one["event"])).of_status(200);
        assert!(attempts.to_string().contains(&format!("\"id\":{}", one["attempt"])), "{one} {attempts}");
        let event = serving.get(&format!("/api/v1/events/{}", one["event"])).of_status(200);
        assert_eq!(event["subject"], format!("contract/{}", one["key"][0].as_str().unwrap()));
    }
    assert_eq!((&found[3]["attempt"], &found[4]["event"]), (&json!(null), &json!(null)));
    assert!(found[3]["event"].is_u64());

    refuses.store(false, Ordering::SeqCst);
    let done = serving.post("/api/v1/reconciliations/1/repair", json!({ "apply": true })).of_status(200);
    let figures = ["replayed", "verified", "still_different"].map(|name| done[name].as_u64().unwrap());
    assert_eq!(figures, [4, 4, 0], "{done}");
    let (_, left) = reported(2);
    assert_eq!((left.len(), &left[0]["key"][0]), (1, &json!("6")), "{left:?}");

    define(json!({ "auto": true, "auto_max": 3 }));
    let (_, mended) = reported(3);
    until("the definition mends the row by itself", || {
        let page = serving.get("/api/v1/reconciliations/3/differences").of_status(200);
        !page["items"][0]["repaired_at"].is_null()
    });
    assert_eq!(mended.len(), 1);
    assert!(world.folder.path().join("undo/report-3.undo.jsonl").exists());
    assert_eq!(reported(4).0["outcome"], "equal");
    run(&tax, "delete from contract where id > 2");
    let (report, many) = reported(5);
    assert_eq!((&report["outcome"], many.len()), (&json!("different"), 4));
    let (_, again) = reported(6);
    assert_eq!(again.len(), 4, "more than the definition may mend by itself waits for a person");
}

//! Vouchers through the real program: row, number and event are one; corrections and reversals are versions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::notify::ok;
use crate::publish::{small, stores};
use crate::receive::until;
use crate::receiver::{Receiver, Says};
use crate::serving::Serving;

fn contract() -> Value {
    json!({
        "voucher_date": "2025-12-19", "source_system": "settlement", "source_module": "l1_contract",
        "source_type": "purchase_goods", "source_id": 12345, "source_reference_no": "L1-20251219-001",
        "company_id": 7, "counterparty_type": "supplier", "counterparty_id": "S-9", "counterparty_name": "供应商甲",
        "direction": "debit", "amount": "100000.00", "currency": "CNY", "summary": "采购交付合同：L1-20251219-001",
        "items": [{ "sku": "A", "quantity": "3.50" }], "business_data": { "contract_no": "L1-20251219-001" },
        "target_systems": ["tax"],
    })
}

#[test]
fn a_voucher_is_made_corrected_and_reversed_and_each_version_is_an_event() {
    for store in stores() {
        let world = small();
        let arguments: Vec<&str> = store.iter().map(String::as_str).collect();
        let serving = Serving::start(&world, &arguments);
        let text = contract().to_string().replace("\"3.50\"", "3.50");
        let json_kind = ("content-type", "application/json");
        let made = serving.send(Method::POST, "/api/v1/vouchers", &[json_kind], text);
        assert!(String::from_utf8_lossy(&made.bytes).contains(r#""quantity":3.50"#), "exactly as it was sent");
        let made = made.of_status(201);
        let shown = &made["voucher"];
        for (name, expected) in [
            ("voucher_no", json!("V20251219-0001")),
            ("version", json!(1)),
            ("source_id", json!("12345")),
            ("amount", json!("100000.00")),
            ("status", json!("approved")),
            ("sync_status", json!("pending")),
            ("created_by", json!("local")),
            ("event", json!("voucher.l1_contract.created")),
            ("target_systems", json!(["tax"])),
        ] {
            assert_eq!(shown[name], expected, "{name}");
        }
        let event = serving.get(&format!("/api/v1/events/{}", made["event"])).of_status(200);
        for (name, expected) in [
            ("source", "/vouchers/settlement"),
            ("id", "V20251219-0001:1"),
            ("type", "voucher.l1_contract.created"),
            ("subject", "L1-20251219-001"),
            ("key", "L1-20251219-001"),
        ] {
            assert_eq!(event[name], expected, "{name}");
        }
        assert_eq!(&event["data"], shown);

        let path = "/api/v1/vouchers/V20251219-0001";
        let put = |body: Value| serving.ask(Method::PUT, path, &[], Some(body));
        let stored = serving.get(path).of_status(200);
        assert_eq!(stored["sync"], json!({ "state": "pending", "targets": { "tax": "waiting" } }));
        assert_eq!(
            (&stored["amount"], &stored["items"]),
            (&json!("100000.00"), &json!([{ "sku": "A", "quantity": 3.5 }]))
        );
        assert_eq!(put(json!({ "amount": "1.00" })).of_status(400)["field"], "version");
        assert_eq!(put(json!({ "version": 2, "amount": "1.00" })).of_status(409)["field"], "version");
        assert_eq!(put(json!({ "version": 1, "source_id": "9" })).of_status(400)["field"], "source_id");
        assert_eq!(put(json!({ "version": 1, "currency": null })).of_status(400)["field"], "currency");
        assert_eq!(put(json!({ "version": 1 })).of_status(400)["field"], "body");
        let corrected = put(json!({ "version": 1, "amount": 99999.5, "summary": null, "event": "l1_corrected" }));
        let corrected = corrected.of_status(200);
        assert_eq!(
            (&corrected["voucher"]["amount"], &corrected["voucher"]["version"]),
            (&json!("99999.50"), &json!(2))
        );
        assert_eq!(corrected["voucher"]["summary"], json!(null));
        let event = serving.get(&format!("/api/v1/events/{}", corrected["event"])).of_status(200);
        assert_eq!((&event["type"], &event["id"]), (&json!("l1_corrected"), &json!("V20251219-0001:2")));
        assert_eq!(event["extensions"]["follows"], "V20251219-0001:1");

        let reverse =
            |body: &str| serving.send(Method::POST, &format!("{path}/reverse"), &[json_kind], body.to_string());
        assert_eq!(reverse(r#"{"version":1}"#).of_status(409)["field"], "version");
        let reversed = reverse(r#"{"version":2,"reason":"duplicate"}"#).of_status(200);
        assert_eq!((&reversed["voucher"]["status"], &reversed["voucher"]["version"]), (&json!("reversed"), &json!(3)));
        assert_eq!(reverse("").of_status(409)["field"], "status");
        assert_eq!(put(json!({ "version": 3, "amount": "1.00" })).of_status(409)["field"], "status");
        serving.get("/api/v1/vouchers/V20251219-0002").of_status(404);

        let mut other = contract();
        (other["voucher_date"], other["source_module"]) = (json!("2025-12-20"), json!("l2"));
        let next = serving.post("/api/v1/vouchers", other).of_status(201);
        assert_eq!(next["voucher"]["voucher_no"], "V20251220-0001");
        let numbers = |query: &str| {
            let page = serving.get(&format!("/api/v1/vouchers?{query}")).of_status(200);
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["voucher_no"].as_str().unwrap().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(""), ["V20251220-0001", "V20251219-0001"]);
        assert_eq!(numbers("to=2025-12-19"), ["V20251219-0001"]);
        assert_eq!(numbers("source_module=l2&direction=debit"), ["V20251220-0001"]);
        assert_eq!(numbers("status=reversed"), ["V20251219-0001"]);
        assert_eq!(numbers("limit=1&offset=1"), ["V20251219-0001"]);
        assert_eq!(serving.get("/api/v1/vouchers?sync=true").json()["items"][0]["sync"]["state"], "pending");
        let rows = serving.get("/api/v1/datasets/voucher/rows").of_status(200);
        assert_eq!(rows["total"].as_u64().or(rows["rows"].as_array().map(|rows| rows.len() as u64)), Some(2));
    }
}

#[test]
fn a_voucher_says_which_of_its_targets_have_its_newest_version() {
    for store in stores() {
        let world = small();
        let tax = Receiver::start(&world.runtime, "127.0.0.1:0", |_, seen| match seen.text().contains("999.00") {
            true => Says::status(422, &[], "no such amount"),
            false => ok(),
        });
        let ledger = Receiver::start(&world.runtime, "127.0.0.1:0", |_, _| ok());
        let mut arguments: Vec<&str> = store.iter().map(String::as_str).collect();
        arguments.extend(["--set", "notify.allow=127.0.0.0/8", "--set", "notify.plain_http=true"]);
        let serving = Serving::start(&world, &arguments);
        let subscribe = |name: &str, url: String| {
            let body = json!({ "name": name, "url": url, "types": ["voucher.*", "l1_corrected"] });
            serving.post("/api/v1/subscriptions", body).of_status(201);
        };
        subscribe("tax", tax.url());
        let mut voucher = contract();
        voucher["target_systems"] = json!(["tax", "ledger"]);
        serving.post("/api/v1/vouchers", voucher).of_status(201);
        let path = "/api/v1/vouchers/V20251219-0001";
        let until = |state: &str, tax: &str, ledger: &str| {
            let expected = json!({ "state": state, "targets": { "tax": tax, "ledger": ledger } });
            until(&expected.to_string(), || serving.get(path).of_status(200)["sync"] == expected);
        };
        until("pending", "delivered", "waiting");
        subscribe("ledger", ledger.url());
        let correct = |version: u64, amount: &str| {
            let body = json!({ "version": version, "amount": amount });
            serving.ask(Method::PUT, path, &[], Some(body)).of_status(200);
        };
        correct(1, "888.00");
        until("synced", "delivered", "delivered");
        correct(2, "999.00");
        until("failed", "failed", "delivered");
    }
}

#[test]
fn a_table_of_publishers_is_never_missing_and_nobody_is_asked_for_it() {
    let world = small();
    let serving = Serving::start(&world, &[]);
    serving.post("/api/v1/vouchers", contract()).of_status(201);
    let overview = serving.get("/api/v1/overview").of_status(200);
    let standing =
        overview["datasets"].as_array().unwrap().iter().find(|dataset| dataset["name"] == "voucher").unwrap();
    assert_eq!((&standing["state"], &standing["rows"]), (&json!("fresh"), &json!(1)));
    assert_eq!(serving.stop(), Some(0));
    let audit = world.run(&["audit", "voucher", "--from", "2025-01-01"], 0);
    assert!(audit.stdout.contains("0 unexplained holes") && !audit.stdout.contains("not kept"), "{}", audit.stdout);
    assert!(world.run(&["status"], 0).stdout.contains("voucher"));
    let refused = world.run(&["sync", "voucher"], 2);
    assert!(refused.stderr.contains("tidegate publish"), "{}", refused.stderr);
    world.run(&["plan", "voucher"], 2);
    let before = world.sqlite("select count(*) from voucher_revision");
    assert_eq!(before.trim(), "0");
    let serving = Serving::start(&world, &[]);
    let body = json!({ "version": 1, "amount": "5.00" });
    serving.ask(Method::PUT, "/api/v1/vouchers/V20251219-0001", &[], Some(body)).of_status(200);
    assert_eq!(world.sqlite("select amount, version from voucher_revision").trim(), "100000|1");
    assert_eq!(world.sqlite("select amount, version from voucher").trim(), "5|2");
}

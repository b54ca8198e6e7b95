//! Publishing through the real program: answered when it is durable, numbered without gap, the same twice, refused by the
//! field that is wrong; over both stores.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate::catalog::Catalog;
use tidegate::model::Clock;
use tidegate::store::Store;
use tidegate::store::postgres::{PostgresOptions, PostgresStore};

use crate::serving::{Answer, Serving};
use crate::world::{Wanted, World, is_long};

pub fn small() -> World {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    world
}

/// `--set store.url=...` for a fresh database, or nothing for the file of the world.
pub fn stores() -> [Vec<String>; 2] {
    let (_, url) = crate::postgres_server::shared().fresh_database();
    let catalog = Catalog::builtin().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = PostgresOptions { create: true, connections: 4, ..PostgresOptions::default() };
        let store = PostgresStore::open(&url, options, Clock::system()).await.unwrap();
        store.prepare(catalog.datasets()).await.unwrap();
    });
    [Vec::new(), vec!["--set".to_string(), format!("store.url={url}")]]
}

fn serve<'w>(world: &'w World, store: &[String]) -> Serving<'w> {
    let arguments: Vec<&str> = store.iter().map(String::as_str).collect();
    Serving::start(world, &arguments)
}

/// The body of an answer; `None`: the service went away meanwhile.
async fn json_of(answer: reqwest::Response) -> Option<Value> {
    serde_json::from_str(&answer.text().await.ok()?).ok()
}

impl Serving<'_> {
    /// A request with a body of any kind.
    pub fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let body = body.into();
        self.world.runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut request = client.request(method, format!("{}{path}", self.url)).body(body);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
        })
    }

    fn structured(&self, event: &Value) -> Answer {
        self.send(Method::POST, "/api/v1/events", &[STRUCTURED], event.to_string())
    }

    fn last(&self) -> u64 {
        let of_publisher = |event: &Value| (event["source"] != "/tidegate").then(|| event["number"].as_u64().unwrap());
        self.log().iter().rev().find_map(of_publisher).unwrap_or(0)
    }

    /// The whole log, oldest first.
    fn log(&self) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.get(&format!("/api/v1/events?after={after}&limit=1000")).of_status(200);
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => return all,
            }
        }
    }
}

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/settlement", "type": "contract.confirmed",
        "subject": "contract/HT-1", "partitionkey": "HT-1", "data": { "amount": "1250.00" },
    })
}

fn voucher(reference: &str) -> Value {
    json!({
        "voucher_date": "2026-01-02", "source_system": "settlement", "source_module": "l1_contract",
        "source_id": reference, "source_reference_no": reference, "direction": "debit", "amount": "1250.00",
        "currency": "CNY", "target_systems": ["tax"], "event": "l1_confirmed",
    })
}

/// What one publisher has been told: the numbers of its events, and the numbers of its vouchers.
#[derive(Default)]
struct Told {
    events: BTreeMap<String, u64>,
    vouchers: BTreeMap<String, String>,
}

/// Fifty publishers send events and vouchers in turn until each has sent `rounds`, or the service is gone. What is not
/// answered is not told; what was told before is sent again and must be answered as the first time.
async fn fifty(url: String, told: &std::sync::Mutex<Told>, answered: &Arc<AtomicUsize>, rounds: usize) {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let publishers = (0..50).map(|publisher| {
        let (client, url, answered) = (client.clone(), url.clone(), answered.clone());
        async move {
            for round in 0..rounds {
                let name = format!("{publisher}-{round}");
                let request = client.post(format!("{url}/api/v1/events")).header(STRUCTURED.0, STRUCTURED.1);
                let Ok(answer) = request.body(event(&name).to_string()).send().await else { return };
                let status = answer.status();
                let Some(body) = json_of(answer).await else { return };
                assert!(status.is_success(), "{body}");
                let number = body["event"].as_u64().unwrap();
                let before = told.lock().unwrap().events.insert(name.clone(), number);
                assert!(before.is_none_or(|before| before == number && status == StatusCode::OK), "{name} {before:?}");

                let request = client.post(format!("{url}/api/v1/vouchers")).header("idempotency-key", &name);
                let request = request.header("content-type", "application/json").body(voucher(&name).to_string());
                let Ok(answer) = request.send().await else { return };
                let status = answer.status();
                let Some(body) = json_of(answer).await else { return };
                assert_eq!(status, StatusCode::CREATED, "{body}");
                let number = body["voucher"]["voucher_no"].as_str().unwrap().to_string();
                let before = told.lock().unwrap().vouchers.insert(name.clone(), number.clone());
                assert!(before.is_none_or(|before| before == number), "{name}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    futures::future::join_all(publishers).await;
}

#[test]
fn fifty_publishers_and_kill_9_lose_nothing_and_leave_no_gap() {
    let rounds = if is_long() { 20 } else { 3 };
    for store in stores() {
        let world = small();
        let told = Arc::new(std::sync::Mutex::new(Told::default()));
        // Killed when a third and when two thirds are told; then to the end.
        for part in 1..=3 {
            let serving = serve(&world, &store);
            let answered = Arc::new(AtomicUsize::new(0));
            let (url, pid) = (serving.url.clone(), serving.pid().to_string());
            let goal = 50 * rounds * part / 3;
            let counted = answered.clone();
            let killer = std::thread::spawn(move || {
                while part < 3 && counted.load(Ordering::Relaxed) < goal {
                    std::thread::sleep(Duration::from_millis(1));
                }
                if part < 3 {
                    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
                }
            });
            world.runtime.block_on(fifty(url, &told, &answered, rounds));
            killer.join().unwrap();
        }

        let serving = serve(&world, &store);
        let log = serving.log();
        let numbers: Vec<u64> = log.iter().map(|event| event["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=log.len() as u64).collect::<Vec<_>>(), "the log has no gap");
        let told = told.lock().unwrap();
        assert_eq!((told.events.len(), told.vouchers.len()), (50 * rounds, 50 * rounds));
        for (name, number) in &told.events {
            let stored = &log[*number as usize - 1];
            assert_eq!((stored["id"].as_str(), stored["source"].as_str()), (Some(name.as_str()), Some("/settlement")));
        }
        let of_type = |kind: &str| log.iter().filter(|event| event["type"] == kind).count();
        assert_eq!((of_type("contract.confirmed"), of_type("l1_confirmed")), (50 * rounds, 50 * rounds));

        let numbers: BTreeSet<&str> = told.vouchers.values().map(String::as_str).collect();
        let expected: BTreeSet<String> = (1..=50 * rounds).map(|number| format!("V20260102-{number:04}")).collect();
        assert_eq!(
            numbers,
            expected.iter().map(String::as_str).collect(),
            "numbers have no gap and none is given twice"
        );
        let page = serving.get("/api/v1/vouchers?limit=10000").of_status(200);
        let rows: BTreeMap<&str, &str> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["source_id"].as_str().unwrap(), row["voucher_no"].as_str().unwrap()))
            .collect();
        let given: BTreeMap<&str, &str> = told.vouchers.iter().map(|(name, no)| (name.as_str(), no.as_str())).collect();
        assert_eq!(rows, given, "every row is the one that was answered");
    }
}

#[test]
fn an_event_is_one_event_however_often_it_is_sent_and_in_whichever_mode() {
    for store in stores() {
        let world = small();
        let serving = serve(&world, &store);
        let first = serving.structured(&event("1"));
        assert_eq!(first.header("location"), format!("/api/v1/events/{}", first.of_status(202)["event"]));
        let number = first.json()["event"].as_u64().unwrap();
        let again = serving.structured(&event("1")).of_status(200);
        assert_eq!((again["event"].as_u64(), &again["status"]), (Some(number), &json!("same")));

        let binary = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/settlement"),
            ("ce-type", "contract.confirmed"),
            ("ce-subject", "contract/HT-1"),
            ("ce-partitionkey", "HT-1"),
        ];
        let same = serving.send(Method::POST, "/api/v1/events", &binary, r#"{"amount":"1250.00"}"#).of_status(200);
        assert_eq!(same["event"].as_u64(), Some(number));
        let other = serving.send(Method::POST, "/api/v1/events", &binary, r#"{"amount":"1250.01"}"#).of_status(409);
        assert_eq!((&other["field"], serving.last()), (&json!("id"), number));

        let mut second = event("2");
        second["data"] = json!({ "amount": "2.00" });
        let mut broken = event("3");
        broken["time"] = "soon".into();
        let mut different = event("1");
        different["subject"] = "contract/HT-2".into();
        let mut own = event("4");
        own["source"] = "/vouchers/settlement".into();
        let batch = json!([event("1"), second, broken, different, own, 7]).to_string();
        let answer = serving.send(Method::POST, "/api/v1/events", &[BATCH], batch).of_status(207);
        let of =
            |name: &str| answer["items"].as_array().unwrap().iter().map(|item| item[name].clone()).collect::<Vec<_>>();
        assert_eq!(json!(of("status")), json!(["same", "new", "refused", "different", "refused", "refused"]));
        let added = of("event")[1].as_u64().unwrap();
        assert!(added > number);
        assert_eq!(json!(of("event")), json!([number, added, null, number, null, null]));
        let fields: Vec<Value> = of("problem").iter().map(|problem| problem["field"].clone()).collect();
        assert_eq!(json!(fields), json!([null, null, "time", "id", "source", "event"]));
        assert_eq!(serving.last(), added);
        let empty = serving.send(Method::POST, "/api/v1/events", &[BATCH], "[]").of_status(200);
        assert_eq!(empty["items"], json!([]));
    }
}

#[test]
fn a_request_under_an_idempotency_key_is_answered_as_the_first_time() {
    for store in stores() {
        let world = small();
        let serving = serve(&world, &store);
        let keyed = |key: &str, body: Value| {
            serving.send(Method::POST, "/api/v1/events", &[STRUCTURED, ("idempotency-key", key)], body.to_string())
        };
        let first = keyed("k", event("1"));
        assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (202, ""));
        let again = keyed("k", event("1"));
        assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (202, "true"));
        assert_eq!(first.json(), again.json());
        let other = keyed("k", event("2")).of_status(409);
        assert_eq!(other["field"], "Idempotency-Key");
        assert_eq!(keyed("", event("3")).of_status(400)["field"], "Idempotency-Key");
        keyed("l", event("2")).of_status(202);

        let make = |key: &str, body: &Value| {
            let headers = [("content-type", "application/json"), ("idempotency-key", key)];
            serving.send(Method::POST, "/api/v1/vouchers", &headers, body.to_string())
        };
        let first = make("k", &voucher("HT-1"));
        let no = first.of_status(201)["voucher"]["voucher_no"].as_str().unwrap().to_string();
        let corrected = json!({ "version": 1, "amount": "2.00" });
        serving.ask(Method::PUT, &format!("/api/v1/vouchers/{no}"), &[], Some(corrected)).of_status(200);
        let again = make("k", &voucher("HT-1"));
        assert_eq!(again.of_status(201), first.json(), "the answer is the first one, whatever happened since");
        assert_eq!(make("k", &voucher("HT-2")).of_status(409)["field"], "Idempotency-Key");
        let page = serving.get("/api/v1/vouchers").of_status(200);
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
    }
}

/// The answer to a request that says how long its body is, before any of it is sent.
fn announced(serving: &Serving<'_>, path: &str, kind: &str, bytes: usize) -> String {
    let address = serving.url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nConnection: close\r\n");
    stream.write_all(format!("{head}Content-Length: {bytes}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn what_is_wrong_is_refused_with_its_field_and_nothing_is_written() {
    let world = small();
    let serving = serve(&world, &["--set".to_string(), "events.content_kb_max=64".to_string()]);
    let before = serving.last();
    let change = |name: &str, value: Value| {
        let mut event = event("1");
        event[name] = value;
        event.to_string()
    };
    let long = "x".repeat(70_000);
    for (headers, body, status, field) in [
        (vec![STRUCTURED], change("id", json!("")), 400, "id"),
        (vec![STRUCTURED], change("id", json!(null)), 400, "id"),
        (vec![STRUCTURED], change("source", json!("a b")), 400, "source"),
        (vec![STRUCTURED], change("source", json!("/tidegate")), 400, "source"),
        (vec![STRUCTURED], change("type", json!(7)), 400, "type"),
        (vec![STRUCTURED], change("specversion", json!("0.3")), 400, "specversion"),
        (vec![STRUCTURED], change("time", json!("2026-13-01T00:00:00Z")), 400, "time"),
        (vec![STRUCTURED], change("voucher_no", json!("V1")), 400, "voucher_no"),
        (vec![STRUCTURED], change("data_base64", json!("AA==")), 400, "data_base64"),
        (vec![STRUCTURED], change("data", json!(long)), 400, "data"),
        (vec![STRUCTURED], "{".to_string(), 400, "body"),
        (vec![STRUCTURED, ("ce-id", "2")], event("1").to_string(), 400, "id"),
        (vec![BATCH], event("1").to_string(), 400, "body"),
        (vec![("content-type", "application/cloudevents+avro")], String::new(), 415, "content-type"),
        (vec![("content-type", "application/json")], "{}".to_string(), 400, "specversion"),
        (vec![("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t")], String::new(), 400, "source"),
    ] {
        let answer = serving.send(Method::POST, "/api/v1/events", &headers, body);
        let problem = answer.of_status(status);
        assert_eq!(problem["field"], field, "{headers:?}: {problem}");
    }
    for (path, kind) in [("/api/v1/events", BATCH.1), ("/api/v1/vouchers", "application/json")] {
        let answer = announced(&serving, path, kind, 10 * 1024 * 1024);
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("events.body_kb_max"), "{answer}");
    }
    for (name, value) in [
        ("amount", json!("1250.00001")),
        ("amount", json!(1e20)),
        ("amount", json!("12a")),
        ("amount", json!(null)),
        ("currency", json!("rmb")),
        ("direction", json!("both")),
        ("voucher_date", json!("2026-02-30")),
        ("source_system", json!("a b")),
        ("source_id", json!({})),
        ("items", json!({})),
        ("business_data", json!([])),
        ("target_systems", json!("tax")),
        ("event", json!("a b")),
        ("voucher_no", json!("V20260102-0007")),
        ("amuont", json!("1")),
    ] {
        let mut body = voucher("HT-1");
        body[name] = value;
        assert_eq!(serving.post("/api/v1/vouchers", body).of_status(400)["field"], name);
    }
    assert_eq!(serving.last(), before);
    assert_eq!(serving.get("/api/v1/vouchers").of_status(200)["items"], json!([]));
    assert_eq!(
        serving.post("/api/v1/vouchers", voucher("HT-1")).of_status(201)["voucher"]["voucher_no"],
        "V20260102-0001"
    );
}

#[test]
fn the_log_is_read_by_pages_and_filters_with_its_exact_content() {
    let world = small();
    let serving = serve(&world, &[]);
    let text = r#"{"specversion":"1.0","id":"x","source":"/erp","type":"invoice.recorded","subject":"S","data":{"n": 1.10,  "big":12345678901234567890.123}}"#;
    let number = serving.send(Method::POST, "/api/v1/events", &[STRUCTURED], text).of_status(202)["event"].clone();
    for id in 0..30 {
        serving.structured(&event(&id.to_string())).of_status(202);
    }
    let bytes = json!({ "specversion": "1.0", "id": "b", "source": "/erp", "type": "scan", "data_base64": "AP8=" });
    serving.structured(&bytes).of_status(202);
    world.run(&["sync", "trade_cal", "--from", "2024-01-02", "--to", "2024-02-29"], 0);

    let one = serving.get(&format!("/api/v1/events/{number}"));
    assert!(String::from_utf8_lossy(&one.bytes).contains(r#""data":{"n": 1.10,  "big":12345678901234567890.123}"#));
    serving.get("/api/v1/events/0").of_status(404);
    serving.get("/api/v1/events/999999").of_status(404);
    let ids = |query: &str| {
        let page = serving.get(&format!("/api/v1/events?{query}")).of_status(200);
        let ids = page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_string());
        (ids.collect::<Vec<_>>(), page["next"].as_u64())
    };
    assert_eq!(ids("type=invoice.recorded").0, ["x"]);
    assert_eq!(ids("type=invoice.*").0, ["x"]);
    assert_eq!(ids("source=/erp").0, ["b", "x"]);
    assert_eq!(ids("subject=S&after=0").0, ["x"]);
    assert_eq!(ids("key=HT-1").0.len(), 30);
    let (first, next) = ids("type=contract.*&limit=20&after=0");
    let (second, end) = ids(&format!("type=contract.*&limit=20&after={}", next.unwrap()));
    assert_eq!((first.len(), second.len(), end), (20, 10, None));
    assert_eq!([first, second].concat(), (0..30).map(|id| id.to_string()).collect::<Vec<_>>());
    let (newest, next) = ids("type=contract.*&limit=20");
    let (older, end) = ids(&format!("type=contract.*&limit=20&before={}", next.unwrap()));
    assert_eq!([newest, older].concat(), (0..30).rev().map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(end, None);

    let own = serving.get("/api/v1/events?source=/tidegate&type=slice.committed").of_status(200);
    let own = &own["items"].as_array().unwrap()[0];
    assert!(own["id"].as_str().unwrap().ends_with(&format!("-{}", own["number"])) && own["data"]["inserted"].is_u64());
    assert_eq!(serving.get("/api/v1/events?source=/erp").json()["items"][0]["data_base64"], "AP8=");
    let bare = serving.get("/api/v1/events?source=/erp&content=false").of_status(200);
    assert!(bare["items"][0]["data"].is_null() && bare["items"][0]["data_base64"].is_null());
    serving.get("/api/v1/events?after=1&before=2").of_status(400);
}

#[test]
fn reading_takes_a_key_publishing_a_better_one_and_contents_stay_out_of_the_journal() {
    let world = small();
    let key = |name: &str, role: &str| {
        let made = world.run(&["keys", "create", name, "--role", role, "--json"], 0).json();
        format!("Bearer {}", made["key"].as_str().unwrap())
    };
    let (reader, writer) = (key("reader", "read"), key("writer", "operate"));
    let serving = serve(&world, &[]);
    let publish = |key: Option<&str>| {
        let mut headers = vec![STRUCTURED];
        headers.extend(key.map(|key| ("authorization", key)));
        serving.send(Method::POST, "/api/v1/events", &headers, event("1").to_string()).status.as_u16()
    };
    assert_eq!([publish(None), publish(Some(&reader)), publish(Some(&writer))], [401, 403, 202]);
    let list = serving
        .ask(Method::GET, "/api/v1/events?source=/settlement", &[("authorization", &reader)], None)
        .of_status(200);
    assert_eq!(list["items"][0]["data"]["amount"], "1250.00");
    let mut wrong = voucher("HT-SECRET");
    wrong["direction"] = "both".into();
    serving.ask(Method::POST, "/api/v1/vouchers", &[("authorization", &writer)], Some(wrong)).of_status(400);
    let made = serving.ask(Method::POST, "/api/v1/vouchers", &[("authorization", &writer)], Some(voucher("HT-SECRET")));
    assert_eq!(made.of_status(201)["voucher"]["created_by"], "writer");
    assert_eq!(serving.stop(), Some(0));
    let journal = world.sqlite("select data from _journal");
    assert!(!journal.contains("HT-SECRET") && !journal.contains("1250.00"), "{journal}");
    assert!(journal.contains("/api/v1/vouchers"), "refusals are in the journal");
}

#[test]
fn the_command_publishes_into_the_store_and_to_a_service_and_a_stream_may_begin_anew() {
    let world = small();
    let say = ["publish", "--type", "ping", "--source", "/desk", "--id", "1", "--json"];
    let with = |more: &[&str], code: i32| world.run(&[&say[..], more].concat(), code);
    let told = with(&["--data", r#"{"a":1.10}"#], 0).json();
    assert_eq!((&told["status"], &told["id"]), (&json!("new"), &json!("1")));
    assert_eq!(with(&["--data", r#"{"a":1.10}"#], 0).json()["status"], "same");
    with(&["--data", r#"{"a":1.1}"#], 5);
    with(&["--data", "{"], 2);
    with(&["--data", "@/nowhere/at/all"], 2);
    world.run(&["publish", "--type", "ping"], 2);
    assert_eq!(world.sqlite("select cast(content as text) from _message").trim(), r#"{"a":1.10}"#);

    let serving = serve(&world, &[]);
    let whole = event("whole").to_string();
    let text = format!("{{\"order\":\"A\",\"n\":1}}\n\n{{\"order\":\"B\"}}\nnot json\n{whole}\n{{\"n\":2}}\n");
    let stream = |arguments: &[&str]| {
        let mut command = world.tidegate(&[&["publish", "--lines", "--json"], arguments].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ran = child.wait_with_output().unwrap();
        let lines = String::from_utf8(ran.stdout).unwrap();
        let said: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |status: &str| said.iter().filter(|told| told["status"] == status).count();
        (ran.status.code(), of("new"), of("same"), of("refused"))
    };
    let shop = ["--type", "order.changed", "--source", "/shop", "--id-of", "order", "--key-of", "order"];
    let to = ["--to", serving.url.as_str()];
    assert_eq!(stream(&[&shop[..], &to].concat()), (Some(1), 3, 0, 2));
    assert_eq!(stream(&[&shop[..], &to].concat()), (Some(1), 0, 3, 2));
    assert_eq!(stream(&shop), (Some(1), 0, 3, 2), "the store itself knows them too");
    let plain = ["--type", "order.changed", "--source", "/shop/plain"];
    assert_eq!(stream(&plain), (Some(1), 3, 1, 1));
    assert_eq!(stream(&[&plain[..], &to].concat()), (Some(1), 0, 4, 1));
    let orders = serving.get("/api/v1/events?source=/shop&after=0").of_status(200);
    let keys: Vec<&Value> = orders["items"].as_array().unwrap().iter().map(|item| &item["key"]).collect();
    assert_eq!(json!(keys), json!(["A", "B"]));
    let gone = serving.url.clone();
    serving.kill();
    let ran = world.run(&["publish", "--type", "t", "--source", "/s", "--to", &gone, "--attempts", "2"], 7);
    assert!(ran.stderr.contains("again in"), "{}", ran.stderr);
}

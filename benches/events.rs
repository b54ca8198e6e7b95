//! Events through the real program: published at a constant rate, delivered to a receiver on loopback, timed from the intended
//! moment of publishing; beside an endpoint that hangs; and as many as go through.
//!
//! `cargo bench --bench events -- --rate 200 --seconds 60`

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Timer};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tidegate::model::definition::Kind;
use tidegate::model::{Change, Clock, Commit};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Order keys: contracts that are worked on.
const KEYS: u64 = 500;
/// Events that are published in one request where nothing is timed.
const BATCH: u64 = 500;

fn argument(name: &str, default: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (rate, seconds) = (argument("--rate", 200), argument("--seconds", 60));
    // There and back, so that what the machine does meanwhile falls on both alike.
    let [mut alone, mut beside] = [0.0, 0.0];
    for hangs in [false, true, true, false] {
        let p95 = runtime.block_on(paced(rate, seconds, hangs));
        *(if hangs { &mut beside } else { &mut alone }) += p95 / 2.0;
    }
    let moved = (beside - alone) / alone * 100.0;
    println!("p95 moves by {moved:+.1} % when another endpoint hangs: {alone:.1} ms alone, {beside:.1} ms beside it");
    runtime.block_on(saturated(argument("--events", 20_000)));
}

/// When events arrived, by number.
#[derive(Clone)]
struct Arrivals {
    origin: Timer,
    at: Arc<Mutex<Vec<(u64, Duration)>>>,
}

impl Arrivals {
    fn count(&self) -> usize {
        self.at.lock().expect("arrivals").len()
    }

    async fn until(&self, count: u64) {
        while (self.count() as u64) < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A receiver that notes when each event came; its address.
async fn receiver() -> (String, Arrivals) {
    let arrivals = Arrivals { origin: Timer::now(), at: Arc::default() };
    async fn note(State(arrivals): State<Arrivals>, body: String) -> StatusCode {
        let at = arrivals.origin.elapsed();
        let event: Value = serde_json::from_str(&body).expect("an event");
        let number = event["id"].as_str().and_then(|id| id.parse().ok()).expect("a number");
        arrivals.at.lock().expect("arrivals").push((number, at));
        StatusCode::NO_CONTENT
    }
    let router = Router::new().route("/hook", post(note)).with_state(arrivals.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, arrivals)
}

/// An endpoint that takes every request and answers none for half a minute.
async fn hanging() -> String {
    async fn hang() -> StatusCode {
        tokio::time::sleep(Duration::from_secs(30)).await;
        StatusCode::NO_CONTENT
    }
    let router = Router::new().route("/hook", post(hang));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A store with subscriptions, and the program over it.
struct Gate {
    url: String,
    client: reqwest::Client,
    program: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

impl Gate {
    async fn start(subscriptions: &[(&str, &str)]) -> Gate {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("gate.db");
        let options = SqliteOptions { create: true, ..SqliteOptions::default() };
        let store = SqliteStore::open(&path, options, Clock::system()).expect("a store");
        let term = json!([{ "secret": SECRET, "since": "2026-01-01T00:00:00Z", "until": null }]);
        for (name, url) in subscriptions {
            let body = json!({ "url": url, "types": ["contract.*"], "after": 0 });
            let define = |kind, name: String, body: Value| Change::Define { kind, name, body, expect: None };
            let changes = vec![
                define(Kind::Secret, format!("subscription:{name}"), term.clone()),
                define(Kind::Subscription, (*name).to_owned(), body),
            ];
            store.commit(Commit { at: Clock::system().now(), fence: None, changes }).await.expect("a subscription");
        }
        drop(store);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.current_dir(folder.path()).args(["serve", "--json", "--listen", "127.0.0.1:0", "--quiet"]);
        for set in [
            format!("store.path={}", path.display()),
            "serve.mirrors=[]".to_owned(),
            "serve.requests_per_minute=0".to_owned(),
            "notify.allow=[\"127.0.0.0/8\"]".to_owned(),
            "notify.plain_http=true".to_owned(),
        ] {
            command.args(["--set", &set]);
        }
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program");
        let mut lines = BufReader::new(program.stdout.take().expect("its output"));
        let mut text = String::new();
        let started: Value = loop {
            assert!(lines.read_line(&mut text).expect("a line") > 0, "the program ended: {text}");
            if let Ok(value) = serde_json::from_str(&text) {
                break value;
            }
        };
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let url = started["url"].as_str().expect("an address").to_owned();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Gate { url, client, program, _folder: folder }
    }

    async fn publish(&self, numbers: std::ops::Range<u64>) {
        let event = |number: u64| {
            json!({
                "specversion": "1.0", "id": number.to_string(), "source": "/bench", "type": "contract.confirmed",
                "partitionkey": format!("HT-{}", number % KEYS), "data": {
                    "voucher_id": number, "contract_no": format!("HT-{}", number % KEYS), "amount": "1250.00",
                    "items": [{ "sku": "A-1", "quantity": "10.000", "unit_price": "125.00" }],
                },
            })
        };
        let (kind, body) = match numbers.end - numbers.start {
            1 => ("application/cloudevents+json", event(numbers.start).to_string()),
            _ => ("application/cloudevents-batch+json", Value::Array(numbers.map(event).collect()).to_string()),
        };
        let request = self.client.post(format!("{}/api/v1/events", self.url)).header("content-type", kind);
        let answer = request.header("x-tidegate-request", "1").body(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
    sorted[at - 1]
}

/// Events at a constant rate; the p95 in milliseconds.
async fn paced(rate: u64, seconds: u64, beside_hanging: bool) -> f64 {
    let (url, arrivals) = receiver().await;
    let hangs = hanging().await;
    let mut subscriptions = vec![("works", url.as_str())];
    if beside_hanging {
        subscriptions.push(("hangs", hangs.as_str()));
    }
    let gate = Arc::new(Gate::start(&subscriptions).await);
    // The first second warms connections up and is not counted.
    let (warm, total) = (rate, rate * (seconds + 1));
    let begun = arrivals.origin.elapsed() + Duration::from_millis(50);
    let intended = |number: u64| begun + Duration::from_secs_f64(number as f64 / rate as f64);
    let mut publishing = tokio::task::JoinSet::new();
    for number in 0..total {
        let wait = intended(number).saturating_sub(arrivals.origin.elapsed());
        tokio::time::sleep(wait).await;
        let gate = gate.clone();
        publishing.spawn(async move { gate.publish(number..number + 1).await });
    }
    while publishing.join_next().await.is_some() {}
    arrivals.until(total).await;
    let came = arrivals.at.lock().expect("arrivals").clone();
    let counted = came.iter().filter(|(number, _)| *number >= warm);
    let mut millis: Vec<f64> =
        counted.map(|(number, at)| (at.saturating_sub(intended(*number))).as_secs_f64() * 1_000.0).collect();
    millis.sort_by(f64::total_cmp);
    let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| percentile(&millis, share));
    let what = if beside_hanging { "beside an endpoint that hangs" } else { "alone" };
    println!(
        "{what}: {} events at {rate}/s, publish to receiver p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max \
         {max:.1} ms; {} requests came",
        millis.len(),
        came.len()
    );
    p95
}

/// As many as go through: published in batches, and timed until the last has arrived.
async fn saturated(events: u64) {
    let (url, arrivals) = receiver().await;
    let gate = Gate::start(&[("works", &url)]).await;
    let begun = Timer::now();
    let mut number = 0;
    while number < events {
        let next = (number + BATCH).min(events);
        gate.publish(number..next).await;
        number = next;
    }
    let published = begun.elapsed();
    arrivals.until(events).await;
    let delivered = begun.elapsed();
    println!(
        "saturated: {events} events over {KEYS} keys: published in {:.2} s ({:.0}/s), delivered after {:.2} s ({:.0}/s)",
        published.as_secs_f64(),
        events as f64 / published.as_secs_f64(),
        delivered.as_secs_f64(),
        events as f64 / delivered.as_secs_f64()
    );
}

//! Death on both sides of a webhook: the sender's process and the receiver end at any moment, and every event is applied once,
//! in the order of its key.

use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kill::{Dice, wait};
use crate::notify::{Gate, OK};
use crate::receiver::{Receiver, Says, Seen};
use crate::world::{is_long, program, seed};

const KEYS: u64 = 4;

/// What a receiver has applied; it survives the receiver's death, as a database would.
#[derive(Default)]
struct Applied {
    /// By `webhook-id`: what was applied is not applied again.
    known: HashMap<String, u64>,
    /// Serial numbers by key, in the order in which they were applied.
    order: BTreeMap<String, Vec<u64>>,
    repeated: u64,
}

impl Applied {
    fn apply(&mut self, seen: &Seen) {
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let serial: u64 = body["id"].as_str().unwrap().parse().unwrap();
        let known = self.known.insert(seen.header("webhook-id").to_owned(), serial);
        match known {
            Some(before) => {
                assert_eq!(before, serial, "a name stands for one event");
                self.repeated += 1;
            }
            None => self.order.entry(body["partitionkey"].as_str().unwrap().to_owned()).or_default().push(serial),
        }
    }
}

struct Campaign {
    folder: TempDir,
    gate: Gate,
    applied: Arc<Mutex<Applied>>,
    /// The sender, when the receiver shall end it in the middle of a request.
    victim: Arc<AtomicU32>,
    /// Dice of the receiver.
    rolls: Arc<AtomicU64>,
    port: u16,
    url: Option<String>,
    published: BTreeMap<String, Vec<u64>>,
    serial: u64,
}

impl Campaign {
    fn new(seed: u64, url: Option<String>) -> Campaign {
        let folder = TempDir::new().unwrap();
        let gate = match &url {
            None => Gate::open(&folder.path().join("gate.db")),
            Some(url) => Gate::on_postgres(url),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let hook = format!("http://127.0.0.1:{port}/hook");
        let waits: Vec<f64> = vec![0.1; 50];
        gate.subscribe("tax", &hook, json!({ "types": ["contract.*"], "retry_seconds": waits }));
        Campaign {
            folder,
            gate,
            applied: Arc::default(),
            victim: Arc::default(),
            rolls: Arc::new(AtomicU64::new(seed)),
            port,
            url,
            published: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Some requests end with the connection: before they were applied, or after.
    fn receive(&self, well: bool) -> Receiver {
        let (applied, victim, rolls) = (self.applied.clone(), self.victim.clone(), self.rolls.clone());
        let says = move |_: usize, seen: &Seen| {
            let roll = if well { 99 } else { Dice(rolls.fetch_add(0x9E37_79B9, Ordering::SeqCst)).below(20) };
            let pid = victim.load(Ordering::SeqCst);
            if roll == 0 {
                return Says::Last(String::new());
            }
            applied.lock().unwrap().apply(seen);
            if pid > 0 && roll < 6 && victim.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                // In the middle of a request that was applied.
                drop(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status());
            }
            if roll == 1 { Says::Last(String::new()) } else { Says::Answer(OK.to_owned()) }
        };
        let address = format!("127.0.0.1:{}", self.port);
        self.gate.until("the one before has let go of its port", || std::net::TcpListener::bind(&address).is_ok());
        Receiver::start(&self.gate.runtime, &address, says)
    }

    fn send(&self, die_at: Option<u64>) -> Child {
        let mut command = program(self.folder.path());
        command.args(["serve", "--role", "worker", "--quiet"]);
        let store = match &self.url {
            None => format!("store.path={}", self.folder.path().join("gate.db").display()),
            Some(url) => format!("store.url={url}"),
        };
        for set in [
            store.as_str(),
            "notify.allow=[\"127.0.0.0/8\"]",
            "notify.plain_http=true",
            "notify.lease_seconds=1",
            "notify.pause_failures=1000000",
            "serve.poll_ms=10",
            "jobs.enabled=false",
        ] {
            command.args(["--set", set]);
        }
        if let Some(die_at) = die_at {
            command.env("TIDEGATE_DIE_AT", die_at.to_string());
        }
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Events of a few keys; each is durable when this returns.
    fn publish(&mut self, dice: &mut Dice, count: u64) {
        for _ in 0..count {
            self.serial += 1;
            let key = format!("k{}", dice.below(KEYS));
            let said = crate::notify::message(&self.serial.to_string(), "contract.confirmed", &key, &[]);
            self.gate.publish_all(vec![said]);
            self.published.entry(key).or_default().push(self.serial);
        }
    }

    /// One death, of the sender or of the receiver.
    fn round(&mut self, dice: &mut Dice) -> &'static str {
        let kind = dice.below(4);
        let receiver = self.receive(false);
        let die_at = (kind == 0).then(|| 1 + dice.below(60));
        let mut child = self.send(die_at);
        let count = 2 + dice.below(6);
        self.publish(dice, count);
        let ended = match kind {
            0 => {
                wait(&mut child, Duration::from_secs(3));
                "a step of the sender"
            }
            1 => {
                wait(&mut child, Duration::from_millis(300 + dice.below(1_500)));
                "a random moment"
            }
            2 => {
                self.victim.store(child.id(), Ordering::SeqCst);
                wait(&mut child, Duration::from_secs(3));
                "the middle of a request"
            }
            _ => {
                std::thread::sleep(Duration::from_millis(200 + dice.below(1_200)));
                drop(receiver);
                let receiver = self.receive(false);
                wait(&mut child, Duration::from_millis(200 + dice.below(500)));
                drop(receiver);
                "the receiver"
            }
        };
        self.victim.store(0, Ordering::SeqCst);
        drop(child.kill());
        child.wait().unwrap();
        ended
    }

    /// With nobody dying any more everything arrives.
    fn finish(&mut self, dice: &mut Dice) {
        let receiver = self.receive(true);
        let mut child = self.send(None);
        // Whoever delivers this one is up, and ends when it is asked to.
        self.publish(dice, 1);
        let total = usize::try_from(self.serial).unwrap();
        let (applied, gate) = (self.applied.clone(), &self.gate);
        gate.until("every event is applied", || {
            applied.lock().unwrap().known.len() == total && gate.waiting("tax").is_empty()
        });
        drop(receiver);
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let applied = self.applied.lock().unwrap();
        assert_eq!(applied.order, self.published, "each once, and each key in its order");
    }
}

fn campaign(name: &str, url: Option<String>, rounds: u64) {
    let seed = seed(name);
    let mut dice = Dice(seed);
    let mut campaign = Campaign::new(dice.below(1 << 40), url);
    let mut deaths: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..rounds {
        *deaths.entry(campaign.round(&mut dice)).or_default() += 1;
    }
    campaign.finish(&mut dice);
    let repeated = campaign.applied.lock().unwrap().repeated;
    eprintln!("{rounds} rounds, {} events, {repeated} requests came again; deaths at {deaths:?}", campaign.serial);
}

#[test]
fn deaths_on_either_side_lose_nothing_repeat_nothing_and_keep_the_order() {
    campaign("webhooks and death", None, if is_long() { 1_000 } else { 12 });
}

#[test]
fn deaths_on_either_side_over_postgres_lose_nothing_repeat_nothing_and_keep_the_order() {
    let (_, url) = crate::postgres_server::shared().fresh_database();
    campaign("webhooks and death over PostgreSQL", Some(url), if is_long() { 100 } else { 4 });
}

#[test]
fn of_two_processes_one_carries_events_and_the_other_takes_over() {
    let (_, url) = crate::postgres_server::shared().fresh_database();
    let mut campaign = Campaign::new(7, Some(url));
    let receiver = campaign.receive(true);
    let (mut first, mut second) = (campaign.send(None), campaign.send(None));
    let mut dice = Dice(7);
    campaign.publish(&mut dice, 40);
    let applied = campaign.applied.clone();
    campaign.gate.until("all have arrived", || applied.lock().unwrap().known.len() == 40);
    assert_eq!(applied.lock().unwrap().repeated, 0, "two processes never both deliver");
    first.kill().unwrap();
    first.wait().unwrap();
    campaign.publish(&mut dice, 20);
    campaign.gate.until("the other goes on", || applied.lock().unwrap().known.len() == 60);
    second.kill().unwrap();
    second.wait().unwrap();
    drop(receiver);
    campaign.finish(&mut dice);
}

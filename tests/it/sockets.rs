//! The web socket of the real program: whatever is cut, by whom and when, every client ends equal to the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Moment};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidegate::feed::EPOCH_OF_NOTHING;
use tidegate::model::{Change, Commit, EventType, Instant};
use tidegate::store::Store;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::kill::Dice;
use crate::serving::Serving;
use crate::world::{Wanted, World, is_long, seed};

/// Longer than anything here takes; nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A link to the service. Dropping it cuts it in the middle of whatever goes on.
struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    lines: std::collections::VecDeque<Value>,
}

/// What comes over a link.
#[derive(Debug, PartialEq)]
enum Said {
    Line(Value),
    Closed(u16),
    Cut,
}

impl Link {
    async fn open(url: &str) -> Link {
        Link::with(url, &[]).await.unwrap()
    }

    async fn with(url: &str, headers: &[(&'static str, &str)]) -> Result<Link, Error> {
        let mut request = format!("{}/ws", url.replace("http://", "ws://")).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Link { socket, lines: Default::default() })
    }

    async fn say(&mut self, line: Value) {
        // A link that is gone is noticed by reading.
        drop(self.socket.send(Message::text(line.to_string())).await);
    }

    async fn subscribe(&mut self, id: u64, channel: &str, from: Option<(&str, u64)>) {
        self.say(match from {
            None => json!({ "id": id, "subscribe": { "channel": channel } }),
            Some((epoch, offset)) => {
                let subscribe = json!({ "channel": channel, "recover": true, "epoch": epoch, "offset": offset });
                json!({ "id": id, "subscribe": subscribe })
            }
        })
        .await;
    }

    /// The next line; pings are answered and left out.
    async fn hear(&mut self) -> Said {
        loop {
            match self.hear_all().await {
                Said::Line(line) if line == json!({}) => self.say(json!({})).await,
                said => return said,
            }
        }
    }

    async fn hear_all(&mut self) -> Said {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Said::Line(line);
            }
            match timeout(PATIENCE, self.socket.next()).await.expect("the service says something in time") {
                Some(Ok(Message::Text(text))) => {
                    self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
                }
                Some(Ok(Message::Close(frame))) => return Said::Closed(frame.map_or(0, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Said::Cut,
            }
        }
    }

    async fn line(&mut self) -> Value {
        match self.hear().await {
            Said::Line(line) => line,
            said => panic!("a line was expected: {said:?}"),
        }
    }

    /// Until the service closes it.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.hear().await {
                Said::Line(_) => {}
                Said::Closed(code) => return code,
                Said::Cut => panic!("cut without a word"),
            }
        }
    }
}

/// What a client knows of one channel.
#[derive(Clone, Debug, Default)]
struct Known {
    position: Option<(String, u64)>,
    /// Rows by day, as the channel tells of areas of one day.
    days: BTreeMap<String, u64>,
    /// Tasks as they stand.
    tasks: BTreeMap<i64, Value>,
    snapshots: u32,
}

impl Known {
    /// Takes a publication: nothing may be missing before it, and what is known already is left out.
    fn take(&mut self, channel: &str, publication: &Value) {
        let (known, position) = self.position.clone().unwrap();
        let epoch = publication["epoch"].as_str().unwrap().to_string();
        assert!(known == epoch || known == EPOCH_OF_NOTHING, "{channel}: {known} became {epoch}");
        let offset = publication["offset"].as_u64().unwrap();
        let prev = publication["prev"].as_u64().unwrap();
        assert!(prev <= position, "{channel}: something is missing between {position} and {prev}: {publication}");
        if offset <= position {
            return;
        }
        self.position = Some((epoch, offset));
        let data = &publication["data"];
        if data.is_null() {
            return;
        }
        match channel {
            "tasks" => drop(self.tasks.insert(data["id"].as_i64().unwrap(), data.clone())),
            _ if data["kind"] == "slice.committed" => {
                assert_eq!(data["from"], data["to"], "the plan goes by day: {data}");
                let rows = ["inserted", "unchanged", "updated"].iter().map(|count| data[count].as_u64().unwrap());
                self.days.insert(data["from"].as_str().unwrap().to_string(), rows.sum());
            }
            _ => {}
        }
    }
}

const CHANNELS: [&str; 4] = ["coverage:daily", "rows:daily", "rows:adj_factor", "tasks"];

/// Everything that all clients see of the service and of the store.
struct Scene {
    url: Mutex<String>,
    /// The last event of the sync, once it has ended.
    last: tokio::sync::watch::Receiver<u64>,
    store: Arc<dyn Store>,
}

/// What the store holds, as a client would fetch it.
async fn snapshot(store: &dyn Store, channel: &str, known: &mut Known) {
    known.snapshots += 1;
    match channel.split_once(':') {
        Some((_, dataset)) => {
            let coverage = store.coverage(dataset).await.unwrap();
            known.days = coverage.rows_by_day.iter().map(|(day, rows)| (day.to_string(), *rows)).collect();
        }
        None => {
            let tasks = store.tasks(100).await.unwrap();
            let view = |task: &tidegate::model::Task| json!({ "id": task.id, "state": task.state.name() });
            known.tasks = tasks.iter().map(|task| (task.id, view(task))).collect();
        }
    }
}

/// One client: cuts its link now and then, comes back, recovers, and ends when it knows the end of the log.
async fn client(scene: Arc<Scene>, mut dice: Dice) -> BTreeMap<&'static str, Known> {
    let mut known: BTreeMap<&'static str, Known> =
        CHANNELS.into_iter().map(|channel| (channel, Known::default())).collect();
    let mut ended = scene.last.clone();
    loop {
        let url = scene.url.lock().unwrap().clone();
        let Ok(mut link) = Link::with(&url, &[]).await else {
            tokio::time::sleep(Duration::from_millis(dice.below(50))).await;
            continue;
        };
        for (id, (channel, known)) in known.iter().enumerate() {
            let from = known.position.as_ref().map(|(epoch, offset)| (epoch.as_str(), *offset));
            link.subscribe(id as u64 + 1, channel, from).await;
        }
        let mut lines_left = dice.below(if is_long() { 200 } else { 40 });
        loop {
            let last = *ended.borrow_and_update();
            let reached = |known: &Known| known.position.as_ref().is_some_and(|(_, offset)| *offset >= last);
            if last > 0 && known.values().all(reached) {
                return known;
            }
            // One that knows everything already hears nothing more.
            let said = tokio::select! {
                said = link.hear() => said,
                Ok(()) = ended.changed() => continue,
            };
            let Said::Line(line) = said else { break };
            take_line(&scene, &mut known, &line).await;
            if lines_left == 0 && last == 0 {
                break;
            }
            lines_left = lines_left.saturating_sub(1);
        }
    }
}

async fn take_line(scene: &Scene, known: &mut BTreeMap<&'static str, Known>, line: &Value) {
    if let Some(push) = line.get("push") {
        let channel = push["channel"].as_str().unwrap();
        return known.get_mut(channel).unwrap().take(channel, &push["pub"]);
    }
    let reply = line.get("subscribe").unwrap_or_else(|| panic!("{line}"));
    let index = line["id"].as_u64().unwrap() as usize - 1;
    let (channel, known) = known.iter_mut().nth(index).unwrap();
    let (epoch, offset) = (reply["epoch"].as_str().unwrap().to_string(), reply["offset"].as_u64().unwrap());
    if reply["recovered"] == true {
        for publication in reply["publications"].as_array().unwrap() {
            known.take(channel, publication);
        }
    } else {
        snapshot(&*scene.store, channel, known).await;
    }
    known.position = Some((epoch, offset));
}

/// Clients under way while the real program syncs; in the middle the service dies and comes back.
fn all_end_equal(clients: u64, last_day: &str, recover: &str, with_death: bool) -> u32 {
    let world = World::new(Wanted { securities: 40, last: "2024-02-29", ..Wanted::default() });
    world.create_store();
    // Long enough for so many clients of a busy machine to answer, short enough to tell them soon that they know everything.
    let heartbeat = format!("serve.heartbeat_seconds={}", if clients > 100 { 20 } else { 5 });
    let poll = "serve.poll_ms=20";
    let recover = format!("serve.socket_recover={recover}");
    let limit = format!("serve.connections={}", clients + 100);
    let arguments = [
        "--role",
        "api",
        "--set",
        &heartbeat,
        "--set",
        poll,
        "--set",
        &recover,
        "--set",
        &limit,
        "--set",
        "serve.requests_per_minute=0",
    ];
    let mut serving = Serving::start(&world, &arguments);
    let (ended, last) = tokio::sync::watch::channel(0);
    let url = Mutex::new(serving.url.clone());
    let scene = Arc::new(Scene { url, last, store: Arc::new(world.store()) });
    let seed = seed("sockets");
    let waiting: Vec<_> = (0..clients)
        .map(|number| world.runtime.spawn(client(scene.clone(), Dice(seed.wrapping_add(number * 7919)))))
        .collect();
    let mut sync =
        world.tidegate(&["sync", "daily", "adj_factor", "--from", "2024-01-02", "--to", last_day, "--quiet"]);
    sync.args(["--set", "sync.commit_slices=1", "--set", "sync.commit_linger_ms=5", "--set", "sync.concurrency=2"]);
    let mut sync = sync.spawn().unwrap();
    if with_death {
        let begun = || world.coverage("daily").market.len() > 3;
        let started = Moment::now();
        while !begun() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        serving.kill();
        serving = Serving::start(&world, &arguments);
        *scene.url.lock().unwrap() = serving.url.clone();
    }
    assert!(sync.wait().unwrap().success());
    let last = world.events().last().unwrap().id;
    ended.send_replace(last);
    let mut snapshots = 0;
    let truth = Truth::of(&world);
    for client in waiting {
        let ended = world.runtime.block_on(async { timeout(PATIENCE * 10, client).await });
        let known = ended.expect("every client ends").unwrap();
        snapshots += truth.assert_equal(&known);
    }
    assert_eq!(serving.stop(), Some(0));
    snapshots
}

/// What the store holds in the end.
struct Truth {
    tasks: BTreeMap<i64, String>,
    /// Rows by day of each table.
    days: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Truth {
    fn of(world: &World) -> Truth {
        let store = world.store();
        let tasks = world.runtime.block_on(store.tasks(100)).unwrap();
        let tasks = tasks.iter().map(|task| (task.id, task.state.name().to_string())).collect();
        let tables = CHANNELS.iter().filter_map(|channel| channel.split_once(':')).map(|(_, dataset)| dataset);
        let days = tables.map(|dataset| {
            let coverage = world.runtime.block_on(store.coverage(dataset)).unwrap();
            let rows = coverage.rows_by_day.iter().map(|(day, rows)| (day.to_string(), *rows));
            (dataset, rows.collect())
        });
        Truth { tasks, days: days.collect() }
    }

    /// What a client knows is what the store holds; how many snapshots it took comes back.
    fn assert_equal(&self, known: &BTreeMap<&'static str, Known>) -> u32 {
        for (channel, known) in known {
            let Some((_, dataset)) = channel.split_once(':') else {
                let told = known.tasks.iter().map(|(id, task)| (*id, task["state"].as_str().unwrap().to_string()));
                assert_eq!(told.collect::<BTreeMap<_, _>>(), self.tasks, "{channel}");
                continue;
            };
            assert!(self.days[dataset].len() > 20);
            assert_eq!(known.days, self.days[dataset], "{channel}");
        }
        known.values().map(|known| known.snapshots).sum()
    }
}

#[test]
fn every_client_ends_equal_to_the_store_whatever_is_cut() {
    let clients = if is_long() { 1_000 } else { 60 };
    // The first subscription of each channel comes with a snapshot; nobody needs another one.
    assert_eq!(all_end_equal(clients, "2024-02-29", "10000", true), clients as u32 * CHANNELS.len() as u32);
}

#[test]
fn clients_that_may_not_recover_take_snapshots_and_end_equal_all_the_same() {
    let clients = if is_long() { 200 } else { 20 };
    let snapshots = all_end_equal(clients, "2024-02-29", "2", false);
    assert!(snapshots > clients as u32 * CHANNELS.len() as u32, "{snapshots} snapshots");
}

fn small_world() -> World {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    world
}

/// Facts without rows, each with so much text.
async fn commit_events(store: &dyn Store, at: Instant, count: usize, text_bytes: usize) {
    let text = "x".repeat(text_bytes);
    let (kind, dataset) = (EventType::RangeFinished, Some("daily".to_string()));
    let fact = || Change::Event { kind, dataset: dataset.clone(), data: json!({ "text": text }) };
    let changes = (0..count).map(|_| fact()).collect();
    store.commit(Commit { at, fence: None, changes }).await.unwrap();
}

#[test]
fn a_slow_reader_is_cut_off_with_a_reason_and_nobody_waits_for_it() {
    let world = small_world();
    let serving = Serving::start(
        &world,
        &[
            "--role",
            "api",
            "--set",
            "serve.socket_queue=256",
            "--set",
            "serve.poll_ms=10",
            "--set",
            "serve.socket_recover=100",
            "--set",
            "serve.heartbeat_seconds=60",
        ],
    );
    let store = world.store();
    world.runtime.block_on(async {
        let (mut slow, mut quick) = (Link::open(&serving.url).await, Link::open(&serving.url).await);
        for link in [&mut slow, &mut quick] {
            link.subscribe(1, "events", None).await;
        }
        let began = slow.line().await["subscribe"].clone();
        assert_eq!(quick.line().await["subscribe"]["offset"], began["offset"]);
        let (hears, mut heard) = tokio::sync::watch::channel(0);
        let quick = tokio::spawn(async move {
            while *hears.borrow() < 150 * 200 {
                quick.line().await;
                hears.send_modify(|heard| *heard += 1);
            }
        });
        for committed in 0..150 {
            // The quick one has read what was told before, the slow one reads nothing.
            heard.wait_for(|heard| *heard >= committed * 200).await.unwrap();
            commit_events(&store, Instant(1), 200, 1_000).await;
        }
        // It begins to read when everything was told to the other one, and still learns why it was cut off.
        quick.await.unwrap();
        assert_eq!(slow.closed().await, 3008);
        // It comes back, and is told that it has missed more than may be recovered.
        let mut again = Link::open(&serving.url).await;
        let epoch = began["epoch"].as_str().unwrap();
        again.subscribe(1, "events", Some((epoch, began["offset"].as_u64().unwrap()))).await;
        let reply = again.line().await["subscribe"].clone();
        assert_eq!((&reply["recovered"], &reply["publications"]), (&json!(false), &json!([])));
        assert!(reply["offset"].as_u64().unwrap() >= 150 * 200);
    });
}

#[test]
fn a_client_that_does_not_answer_pings_is_cut_off() {
    let world = small_world();
    let serving = Serving::start(&world, &["--set", "serve.heartbeat_seconds=1"]);
    world.runtime.block_on(async {
        let (mut deaf, mut awake) = (Link::open(&serving.url).await, Link::open(&serving.url).await);
        let deaf = tokio::spawn(async move {
            let mut pings = 0;
            loop {
                match deaf.hear_all().await {
                    Said::Line(line) => pings += u32::from(line == json!({})),
                    said => return (pings, said),
                }
            }
        });
        for _ in 0..3 {
            assert_eq!(awake.hear_all().await, Said::Line(json!({})));
            awake.say(json!({})).await;
        }
        assert_eq!(deaf.await.unwrap(), (1, Said::Closed(3012)));
        awake.subscribe(1, "overview", None).await;
        assert!(awake.line().await["subscribe"]["recoverable"] == true);
    });
}

#[test]
fn positions_of_another_store_are_not_taken_for_ours() {
    let (one, other) = (small_world(), small_world());
    for (world, at) in [(&one, Instant(1)), (&other, Instant(2_000))] {
        world.runtime.block_on(commit_events(&world.store(), at, 3, 1));
    }
    let (serving, foreign) = (Serving::start(&one, &["--role", "api"]), Serving::start(&other, &["--role", "api"]));
    one.runtime.block_on(async {
        let mut link = Link::open(&foreign.url).await;
        link.subscribe(1, "events", None).await;
        let position = link.line().await["subscribe"].clone();
        let epoch = position["epoch"].as_str().unwrap();
        let mut link = Link::open(&serving.url).await;
        let recover = |epoch: &str, offset: u64| json!({ "channel": "events", "recover": true, "epoch": epoch, "offset": offset });
        let mut own = String::new();
        for (asked, recovered) in [
            ((epoch, 1), false),
            // Events that this log does not have.
            (("own", 99), false),
            (("own", 1), true),
            // What began with a log without events goes on in every log.
            (("0", 0), true),
            (("0", 1), false),
        ] {
            let epoch = if asked.0 == "own" { own.as_str() } else { asked.0 };
            link.say(json!({ "id": 1, "subscribe": recover(epoch, asked.1) })).await;
            let reply = link.line().await["subscribe"].clone();
            assert_eq!(reply["recovered"], recovered, "{asked:?}: {reply}");
            let missed = if recovered { 3 - asked.1 } else { 0 };
            assert_eq!(reply["publications"].as_array().unwrap().len() as u64, missed, "{asked:?}: {reply}");
            own = reply["epoch"].as_str().unwrap().to_string();
            link.say(json!({ "id": 2, "unsubscribe": { "channel": "events" } })).await;
            assert_eq!(link.line().await, json!({ "id": 2, "unsubscribe": {} }));
        }
    });
}

#[test]
fn what_cannot_be_done_is_refused_and_what_cannot_be_read_ends_the_link() {
    let world = small_world();
    let serving = Serving::start(&world, &["--set", "serve.socket_channels=2", "--set", "serve.sockets=3"]);
    world.runtime.block_on(async {
        let mut link = Link::open(&serving.url).await;
        for (command, code) in [
            (json!({ "id": 1, "subscribe": { "channel": "weather" } }), 102),
            (json!({ "id": 1, "subscribe": { "channel": "rows:weather" } }), 102),
            (json!({ "id": 1, "publish": {} }), 104),
            (json!({ "id": 1, "subscribe": {} }), 107),
            (json!({ "id": 1, "subscribe": { "channel": "tasks" } }), 0),
            (json!({ "id": 1, "subscribe": { "channel": "tasks" } }), 105),
            (json!({ "id": 1, "subscribe": { "channel": "runs" } }), 0),
            (json!({ "id": 1, "subscribe": { "channel": "rows:daily" } }), 106),
            (json!({ "id": 1, "connect": {} }), 0),
        ] {
            link.say(command.clone()).await;
            let reply = link.line().await;
            assert_eq!(reply["error"]["code"].as_u64().unwrap_or(0), code, "{command}: {reply}");
        }
        for bad in [Message::text("{"), Message::text("[]"), Message::binary(vec![0]), Message::text(r#"{"id":0}"#)] {
            let mut link = Link::open(&serving.url).await;
            link.socket.send(bad.clone()).await.unwrap();
            assert_eq!(link.closed().await, 3501, "{bad:?}");
        }
        let mut link = Link::open(&serving.url).await;
        for _ in 0..101 {
            link.say(json!({ "id": 1, "publish": {} })).await;
        }
        assert_eq!(link.closed().await, 3509);
        drop(link);
        // A frame that is too large is not read to its end.
        let mut link = Link::open(&serving.url).await;
        drop(link.socket.send(Message::text("x".repeat(1_000_000))).await);
        assert!(!matches!(link.hear().await, Said::Line(_)));
        drop(link);
        // The places of those who left are free again soon; there is never one more than three.
        let mut links = Vec::new();
        let started = Moment::now();
        while links.len() < 2 {
            let mut link = Link::open(&serving.url).await;
            link.say(json!({ "id": 1, "connect": {} })).await;
            match link.hear().await {
                Said::Line(_) => links.push(link),
                said => assert_eq!(said, Said::Closed(3504)),
            }
            assert!(started.elapsed() < PATIENCE);
        }
        assert_eq!(Link::open(&serving.url).await.closed().await, 3504);
    });
}

#[test]
fn sockets_are_for_those_who_may_read_and_end_with_their_keys() {
    let world = small_world();
    let open = Serving::start(&world, &[]);
    let status = |tried: Result<Link, Error>| match tried {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
        Ok(_) => 101,
    };
    world.runtime.block_on(async {
        for (origin, expected) in [("http://evil.example", 403), ("null", 403), (open.url.as_str(), 101)] {
            assert_eq!(status(Link::with(&open.url, &[("origin", origin)]).await), expected, "{origin}");
        }
    });
    drop(open);
    let key = world.run(&["keys", "create", "desk", "--role", "read", "--json"], 0).json();
    let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
    let serving = Serving::start(&world, &["--set", "serve.poll_ms=20"]);
    let mut link = world.runtime.block_on(async {
        assert_eq!(status(Link::with(&serving.url, &[]).await), 401);
        assert_eq!(status(Link::with(&serving.url, &[("authorization", "Bearer tg_1_2")]).await), 401);
        let mut link = Link::with(&serving.url, &[("authorization", &bearer)]).await.unwrap();
        link.subscribe(1, "events", None).await;
        link.line().await;
        link
    });
    world.run(&["keys", "remove", "desk"], 0);
    assert_eq!(world.runtime.block_on(link.closed()), 3005);
}

#[test]
fn at_the_end_every_client_is_sent_to_the_next_process() {
    let world = small_world();
    let serving = Serving::start(&world, &[]);
    let mut link = world.runtime.block_on(Link::open(&serving.url));
    world.runtime.block_on(async {
        link.subscribe(1, "tasks", None).await;
        link.line().await;
    });
    let told = world.runtime.spawn(async move { link.closed().await });
    assert_eq!(serving.stop(), Some(0));
    assert_eq!(world.runtime.block_on(told).unwrap(), 3001);
}

//! A gate of a test's own, into which intakes bring messages; and outboxes of a real PostgreSQL: rows of transactions
//! that commit late, rows that cannot be read, doorbells, lag.

use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::catalog::Catalog;
use tidegate::engine::Stop;
use tidegate::feed::{Feed, FeedOptions};
use tidegate::intake::{Control, Doing, IntakeOptions, IntakeStatus, Keeper, NewIntake, Parts};
use tidegate::model::{Clock, Content, Event, EventType, Message};
use tidegate::publish::{PublishOptions, Publisher};
use tidegate::store::Store;
use tidegate::store::postgres::{PostgresOptions, PostgresStore};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::postgres_server;
use crate::world::{is_long, program, seed};

/// A store, and what may be asked of its intakes.
pub struct Gate {
    pub folder: TempDir,
    pub store: Arc<dyn Store>,
    pub control: Control,
}

/// Intakes that run in this process.
pub struct Running {
    stop: Stop,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn end(self) {
        self.stop.ask();
        self.task.await.unwrap();
    }
}

/// Everything happens soon.
pub fn options() -> IntakeOptions {
    IntakeOptions {
        poll: Duration::from_millis(20),
        retry_first_ms: 20,
        retry_cap_ms: 200,
        lease: Duration::from_secs(3),
        standing_every: Duration::from_millis(50),
        lag_every: Duration::from_millis(50),
        ..IntakeOptions::default()
    }
}

impl Gate {
    pub async fn new() -> Gate {
        let folder = TempDir::new().unwrap();
        let settings = SqliteOptions { create: true, ..SqliteOptions::default() };
        let store = SqliteStore::open(&folder.path().join("gate.db"), settings, Clock::system()).unwrap();
        Gate::over(folder, Arc::new(store)).await
    }

    /// The same over a store in PostgreSQL.
    pub async fn on_postgres() -> Gate {
        let (_, url) = postgres_server::shared().fresh_database();
        let settings = PostgresOptions { create: true, ..PostgresOptions::default() };
        let store = PostgresStore::open(&url, settings, Clock::system()).await.unwrap();
        Gate::over(TempDir::new().unwrap(), Arc::new(store)).await
    }

    async fn over(folder: TempDir, store: Arc<dyn Store>) -> Gate {
        store.prepare(Catalog::builtin().unwrap().datasets()).await.unwrap();
        Gate { folder, control: Control::new(store.clone(), Clock::system()), store }
    }

    pub fn parts(&self, options: IntakeOptions) -> Parts {
        let (store, clock) = (self.store.clone(), Clock::system());
        let publisher = Publisher::start(store.clone(), None, clock.clone(), PublishOptions::default());
        Parts { store, clock, publisher, options, worker: "test".to_owned() }
    }

    pub async fn feed(&self) -> Feed {
        let poll = Duration::from_millis(20);
        Feed::start(self.store.clone(), FeedOptions { poll, ..FeedOptions::default() }).await.unwrap()
    }

    pub async fn run(&self) -> Running {
        self.run_with(options()).await
    }

    pub async fn run_with(&self, options: IntakeOptions) -> Running {
        let (keeper, feed, stop) = (Keeper::new(self.parts(options)), self.feed().await, Stop::default());
        let heard = stop.clone();
        let task = tokio::spawn(async move { keeper.serve(feed, &heard).await.unwrap() });
        Running { stop, task }
    }

    /// The program, as a worker over this store; with a point at which it dies.
    pub fn program(&self, dies_at: Option<&str>) -> Child {
        let mut command = program(self.folder.path());
        let path = format!("store.path={}", self.folder.path().join("gate.db").display());
        command.args(["serve", "--role", "worker", "--set", &path, "--set", "jobs.enabled=false"]);
        command.args(["--set", "intakes.poll_ms=20", "--set", "intakes.lease_seconds=2", "--quiet"]);
        if let Some(point) = dies_at {
            command.env("TIDEGATE_DIE_AT_POINT", point);
        }
        command.spawn().unwrap()
    }

    pub async fn add(&self, name: &str, url: &str, body: Value) -> IntakeStatus {
        let Value::Object(body) = body else { panic!("{body}") };
        let wanted = NewIntake { name: name.to_owned(), url: url.to_owned(), body };
        self.control.create(wanted, "test").await.unwrap()
    }

    pub async fn events(&self) -> Vec<Event> {
        self.store.events(0, 1_000_000).await.unwrap()
    }

    pub async fn events_of(&self, kind: EventType) -> Vec<Value> {
        self.events().await.into_iter().filter(|event| event.kind == kind).map(|event| event.data).collect()
    }

    /// What `intake.health` has told, by state.
    pub async fn told(&self, state: &str) -> Vec<Value> {
        let all = self.events_of(EventType::IntakeHealth).await;
        all.into_iter().filter(|data| data["state"] == state).collect()
    }

    /// Published messages, in the order of the log.
    pub async fn messages(&self) -> Vec<Message> {
        let events = self.events().await.into_iter().filter(|event| event.kind == EventType::EventPublished);
        let numbers: Vec<u64> = events.map(|event| event.id).collect();
        self.store.messages(&numbers).await.unwrap()
    }

    pub async fn ids(&self) -> Vec<String> {
        self.messages().await.into_iter().map(|message| message.id).collect()
    }

    /// Waits for so many messages.
    pub async fn wait_for(&self, count: usize) -> Vec<Message> {
        until(&format!("{count} messages"), async || self.messages().await.len() >= count).await;
        self.messages().await
    }

    pub async fn wait_told(&self, state: &str) -> Value {
        until(&format!("it is told: {state}"), async || !self.told(state).await.is_empty()).await;
        self.told(state).await.remove(0)
    }

    pub async fn wait_doing(&self, name: &str, doing: Doing) -> IntakeStatus {
        let what = format!("{name} is {}", doing.name());
        until(&what, async || self.control.get(name).await.unwrap().standing.doing == doing).await;
        self.control.get(name).await.unwrap()
    }
}

/// Waits until something has become true.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Moment::now() + Duration::from_secs(120);
    while !is_so().await {
        assert!(Moment::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn json_of(message: &Message) -> Value {
    match &message.content {
        Content::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A session of a publisher.
pub async fn session(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

const TABLE: &str = "create table outbox (id bigserial primary key, type text, key text, data jsonb, \
                     created_at timestamptz not null default now(), tx xid8 not null default pg_current_xact_id(), \
                     published_at timestamptz)";

fn outbox(mode: &str) -> Value {
    json!({"source": "/settlement", "outbox": {"table": "public.outbox", "mode": mode}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_gives_rows_of_transactions_that_commit_late_in_every_mode() {
    let server = postgres_server::shared();
    for mode in ["cursor", "mark", "delete"] {
        let (database, url) = server.fresh_database();
        server.psql(&database, TABLE);
        let (mut early, late) = (session(&url).await, session(&url).await);
        let insert =
            "insert into outbox (type, key, data) values ('contract.confirmed', 'HT-1', '{\"amount\": 1250.00}')";
        let open = early.transaction().await.unwrap();
        open.execute(insert, &[]).await.unwrap();
        late.execute(insert, &[]).await.unwrap();
        let gate = Gate::new().await;
        gate.add("sales", &url, outbox(mode)).await;
        let running = gate.run().await;
        if mode == "cursor" {
            gate.wait_doing("sales", Doing::Running).await;
            assert_eq!(gate.ids().await, [""; 0], "what an open transaction may precede is not read");
        } else {
            gate.wait_for(1).await;
            assert_eq!(gate.ids().await, ["2"], "{mode}");
        }
        open.commit().await.unwrap();
        late.execute(insert, &[]).await.unwrap();
        let messages = gate.wait_for(3).await;
        let mut ids = gate.ids().await;
        ids.sort();
        assert_eq!(ids, ["1", "2", "3"], "{mode}");
        assert_eq!((messages[0].source.as_str(), messages[0].key.as_deref()), ("/settlement", Some("HT-1")));
        assert_eq!(messages[0].content, Content::Json("{\"amount\": 1250.00}".to_owned()));
        let left = "select count(*) filter (where published_at is null) || '/' || count(*) from outbox";
        let expected =
            [("cursor", "3/3"), ("mark", "0/3"), ("delete", "0/0")].into_iter().find(|(name, _)| *name == mode);
        until("rows have gone", async || server.psql(&database, left) == expected.unwrap().1).await;
        running.end().await;
        // Whoever goes on takes nothing twice.
        let again = gate.run().await;
        server.psql(&database, insert);
        gate.wait_for(4).await;
        again.end().await;
        assert_eq!(gate.messages().await.len(), 4, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_commit_in_any_order_lose_no_row_and_keep_the_order_of_each_key() {
    let rounds = if is_long() { 400 } else { 40 };
    let seed = seed("intake outbox writers");
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    server.psql(&database, TABLE);
    server.psql(&database, "create table contract (name text primary key, version int not null default 0)");
    server.psql(&database, "insert into contract select 'k' || n from generate_series(0, 4) n");
    let gate = Gate::new().await;
    gate.add("sales", &url, outbox("cursor")).await;
    let running = gate.run().await;
    let writers = (0..6u64).map(|writer| {
        let url = url.clone();
        async move {
            let mut state = seed.wrapping_mul(31).wrapping_add(writer) | 1;
            let mut next = move |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let mut client = session(&url).await;
            let mut kept = 0;
            for _ in 0..rounds {
                let transaction = client.transaction().await.unwrap();
                // A transaction that has its number and then waits for a lock.
                transaction.execute("create temporary table if not exists busy (n int)", &[]).await.unwrap();
                let key = format!("k{}", next(5));
                let changed = "update contract set version = version + 1 where name = $1 returning version";
                let version: i32 = transaction.query_one(changed, &[&key]).await.unwrap().get(0);
                let data = json!({ "version": version }).to_string();
                let insert = "insert into outbox (type, key, data) values ('contract.changed', $1, $2::text::jsonb)";
                transaction.execute(insert, &[&key, &data]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(next(4))).await;
                if next(5) == 0 {
                    transaction.rollback().await.unwrap();
                } else {
                    transaction.commit().await.unwrap();
                    kept += 1;
                }
            }
            kept
        }
    });
    let kept: usize = futures::future::join_all(writers).await.into_iter().sum();
    let messages = gate.wait_for(kept).await;
    running.end().await;
    assert_eq!(messages.len(), kept);
    for key in 0..5 {
        let key = format!("k{key}");
        let of_key = messages.iter().filter(|message| message.key.as_ref() == Some(&key));
        let versions: Vec<i64> = of_key.map(|message| json_of(message)["version"].as_i64().unwrap()).collect();
        assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_goes_aside_with_its_field_and_the_others_go_on() {
    let server = postgres_server::shared();
    for gate in [Gate::new().await, Gate::on_postgres().await] {
        let (database, url) = server.fresh_database();
        server.psql(&database, &TABLE.replace("data jsonb", "data text, source text"));
        server.psql(
            &database,
            "insert into outbox (type, source, data) values ('a.b', null, '{\"pin\": 4711}'), (null, null, '{}'), \
             ('a.b', null, '{\"pin\": 4711 4712}'), ('a.b', '/tidegate', '{}'), ('a.b', 'not a uri', '{}'), ('a.b', null, '[1.10]')",
        );
        gate.add("sales", &url, outbox("delete")).await;
        let running = gate.run().await;
        gate.wait_for(2).await;
        until("the outbox is empty", async || server.psql(&database, "select count(*) from outbox") == "0").await;
        running.end().await;
        assert_eq!(gate.ids().await, ["1", "6"]);
        let refused = gate.events_of(EventType::IntakeRefused).await;
        let told: Vec<_> =
            refused.iter().map(|data| (data["place"].as_str().unwrap(), data["field"].as_str().unwrap())).collect();
        assert_eq!(told, [("2", "type"), ("3", "data"), ("4", "source"), ("5", "source")]);
        assert!(refused.iter().all(|data| !data.to_string().contains("471")), "{refused:?}");
        let kept = gate.store.quarantine(Some("intake:sales"), 10).await.unwrap();
        assert_eq!(kept.len(), 4);
        let rows: Vec<String> = kept.iter().map(|row| row.quarantined.row["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(rows, ["5", "4", "3", "2"]);
        let standing = gate.control.get("sales").await.unwrap().standing;
        assert_eq!((standing.published, standing.refused), (2, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_used_for_something_else_is_told_and_not_published() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    server.psql(&database, &TABLE.replace("bigserial", "text"));
    server.psql(&database, "insert into outbox (id, type, data, created_at) values ('V1', 'a', '1', 'epoch')");
    let gate = Gate::new().await;
    gate.add("sales", &url, outbox("delete")).await;
    let running = gate.run().await;
    gate.wait_for(1).await;
    until("it has gone", async || server.psql(&database, "select count(*) from outbox") == "0").await;
    server.psql(&database, "insert into outbox (id, type, data, created_at) values ('V1', 'a', '1', 'epoch')");
    until("it has gone", async || server.psql(&database, "select count(*) from outbox") == "0").await;
    server.psql(&database, "insert into outbox (id, type, data, created_at) values ('V1', 'a', '2', 'epoch')");
    until("it is told", async || !gate.events_of(EventType::IntakeRefused).await.is_empty()).await;
    running.end().await;
    assert_eq!(gate.messages().await.len(), 1);
    let told = gate.events_of(EventType::IntakeRefused).await;
    assert_eq!(told[0]["reason"], "source and id are known with other content");
    assert_eq!(gate.control.get("sales").await.unwrap().standing.repeated, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_rings_long_before_the_next_look() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    server.psql(&database, TABLE);
    let gate = Gate::new().await;
    let body = json!({"source": "/s", "outbox": {"table": "outbox", "mode": "mark", "listen": "Bell"}});
    gate.add("sales", &url, body).await;
    // Nobody looks by himself within this test.
    let slow = IntakeOptions { poll: Duration::from_secs(3600), lag_every: Duration::from_secs(3600), ..options() };
    let running = gate.run_with(slow).await;
    let listening = "select count(*) from pg_stat_activity where query ilike 'select%outbox%' and state = 'idle' \
                     and datname = current_database() and application_name = 'tidegate'";
    until("the outbox was looked at", async || server.psql(&database, listening) != "0").await;
    until("it rings", async || {
        server.psql(&database, "insert into outbox (type, data) values ('a', '1'); notify \"Bell\"");
        tokio::time::sleep(Duration::from_millis(50)).await;
        !gate.messages().await.is_empty()
    })
    .await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_told_beyond_its_limit_and_again_when_it_is_over() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    server.psql(&database, TABLE);
    let gate = Gate::new().await;
    let mut body = outbox("cursor");
    body["lag_max"] = json!(50);
    gate.add("sales", &url, body).await;
    let mut client = session(&url).await;
    let open = client.transaction().await.unwrap();
    open.execute("insert into outbox (type) values ('a')", &[]).await.unwrap();
    server.psql(&database, "insert into outbox (type) select 'a' from generate_series(1, 60)");
    let running = gate.run().await;
    let told = gate.wait_told("lagging").await;
    assert_eq!(
        (&told["intake"], &told["lag"], &told["limit"], &told["unit"]),
        (&json!("sales"), &json!(60), &json!(50), &json!("rows"))
    );
    assert!(gate.control.get("sales").await.unwrap().standing.lagging);
    open.commit().await.unwrap();
    gate.wait_told("caught_up").await;
    assert_eq!(gate.wait_for(61).await.len(), 61);
    running.end().await;
    assert_eq!((gate.told("lagging").await.len(), gate.told("caught_up").await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_read_is_told_once_with_its_remedy_and_the_intake_goes_on_when_it_is_mended() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    server.psql(&database, &TABLE.replace("tx xid8 not null default pg_current_xact_id(), ", ""));
    let gate = Gate::new().await;
    gate.add("sales", &url, outbox("cursor")).await;
    let found = gate.control.test("sales").await.unwrap();
    assert!(found.iter().any(|found| found.problem.is_some()), "{found:?}");
    let running = gate.run().await;
    let status = gate.wait_doing("sales", Doing::Stuck).await;
    assert!(status.standing.hint.unwrap().contains("add column tx xid8 not null default pg_current_xact_id()"));
    until("it was tried again", async || gate.control.get("sales").await.unwrap().standing.failures > 2).await;
    assert_eq!(gate.told("stuck").await.len(), 1);
    server.psql(&database, "alter table outbox add column tx xid8 not null default pg_current_xact_id()");
    server.psql(&database, "insert into outbox (type) values ('a')");
    gate.wait_for(1).await;
    gate.wait_told("recovered").await;
    let found = gate.control.test("sales").await.unwrap();
    assert!(found.iter().all(|found| found.problem.is_none()), "{found:?}");
    gate.control.pause("sales", "test").await.unwrap();
    server.psql(&database, "insert into outbox (type) values ('b')");
    gate.wait_doing("sales", Doing::Paused).await;
    gate.control.resume("sales", false, "test").await.unwrap();
    assert_eq!(gate.wait_for(2).await.len(), 2);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_intakes_and_one_that_dies_is_followed_by_the_other() {
    let server = postgres_server::shared();
    let (database, url) = server.fresh_database();
    server.psql(&database, TABLE);
    server.psql(&database, "insert into outbox (type) select 'a' from generate_series(1, 10)");
    let gate = Gate::new().await;
    gate.add("sales", &url, outbox("mark")).await;
    // It dies after its commit and before it has marked anything.
    let mut child = gate.program(Some("intake.committed"));
    until("the process has died", async || child.try_wait().unwrap().is_some()).await;
    assert_eq!(gate.messages().await.len(), 10);
    assert_eq!(server.psql(&database, "select count(*) from outbox where published_at is not null"), "0");
    let mut other = gate.program(None);
    server.psql(&database, "insert into outbox (type) values ('b')");
    until("all is marked", async || {
        server.psql(&database, "select count(*) from outbox where published_at is null") == "0"
    })
    .await;
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(gate.messages().await.len(), 11);
}

//! Hot reads are never stale: not under commits of this process, not under those of another, not with a Redis between.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use axum::http::{HeaderMap, header};
use futures::TryStreamExt;
use serde_json::{Value, json};
use tidegate::feed::{Feed, FeedOptions};
use tidegate::model::change::Write;
use tidegate::model::{
    Area, Change, Clock, Commit, Day, Exchanges, Filter, Query, RowsChange, Securities, Span, conflict::batch_of,
};
use tidegate::serve::cache::{Answer, Cache, CacheOptions, Fresh, MadeFrom, Question, RedisOptions};
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};
use tidegate::store::{Scan, Store};

use crate::redis_server::RedisServer;
use crate::serving::Serving;
use crate::v1::synced;
use crate::world::{Wanted, World, is_long, seed};

const CODE: &str = "600519.SH";

/// A row whose `vol` is the number.
fn row(world: &World, number: u64) -> Commit {
    let dataset = world.dataset("daily");
    let day = Day::parse("2024-01-02").unwrap();
    let row = json!({"ts_code": CODE, "trade_date": "2024-01-02", "vol": number});
    let change = RowsChange {
        batch: batch_of(&dataset, &row).unwrap(),
        area: Area::new(Securities::one(CODE), Span::day(day)),
        dataset,
        lacks: Vec::new(),
        lacks_exchanges: Exchanges::default(),
        write: Write::Upsert,
        source: Arc::from("test"),
        rank: 1,
        fetched_at: world.now(),
        claim: None,
        quarantined: Vec::new(),
    };
    Commit { at: world.now(), fence: None, changes: vec![Change::Rows(change)] }
}

async fn stored(store: &dyn Scan) -> u64 {
    let query = Query {
        columns: vec!["vol".to_string()],
        filters: vec![Filter::In { column: "ts_code".into(), values: vec![CODE.to_string()] }],
        ..Query::all("daily")
    };
    let batches: Vec<RecordBatch> = store.scan(&query).await.unwrap().try_collect().await.unwrap();
    batches.first().map_or(0, |batch| batch.column(0).as_primitive::<Decimal128Type>().value(0) as u64)
}

/// What one process has: a store of its own over the shared file, the log, the cache.
struct Process {
    store: Arc<SqliteStore>,
    feed: Feed,
    cache: Cache,
}

impl Process {
    async fn start(world: &World, redis: Option<String>) -> Process {
        let options = SqliteOptions { shared: true, ..SqliteOptions::default() };
        let store = Arc::new(SqliteStore::open(&world.store_path(), options, Clock::system()).unwrap());
        store.prepare(world.catalog.datasets()).await.unwrap();
        let options = FeedOptions { poll: Duration::from_millis(5), ..FeedOptions::default() };
        let feed = Feed::start(store.clone(), options).await.unwrap();
        let redis = redis.map(|url| RedisOptions {
            url,
            prefix: "test:".to_string(),
            kept: Duration::from_secs(60),
            timeout: Duration::from_millis(500),
        });
        let fresh = Fresh::new(store.clone(), feed.clone());
        let cache = Cache::new(fresh, CacheOptions { redis, ..CacheOptions::default() }, Clock::system()).unwrap();
        Process { store, feed, cache }
    }

    /// The answer, whether it came from memory, and its tag; with the tag of an earlier one it may be `None`: not modified.
    async fn ask(&self, tag: Option<&str>) -> (Option<u64>, bool, String) {
        let mut headers = HeaderMap::new();
        if let Some(tag) = tag {
            headers.insert(header::IF_NONE_MATCH, tag.parse().unwrap());
        }
        let question = Question { text: "the row".to_string(), from: MadeFrom::table("daily") };
        let make = || async {
            // A slow reader: a commit may come before, between and after.
            let number = stored(&*self.store).await;
            tokio::task::yield_now().await;
            Ok(Answer::json(number.to_string()))
        };
        let answer = self.cache.answer(&headers, question, make).await;
        let Ok(answer) = answer else { panic!("the cache failed") };
        let header = |answer: &axum::response::Response, name: &str| {
            answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_string()
        };
        let (hit, tag) = (header(&answer, "x-cache") == "hit", header(&answer, "etag"));
        let is_modified = answer.status() != axum::http::StatusCode::NOT_MODIFIED;
        let body = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
        (is_modified.then(|| std::str::from_utf8(&body).unwrap().parse().unwrap()), hit, tag)
    }
}

/// One process writes, both read, as fast as they can. Whoever was told of a commit is not answered from before it.
fn readers_and_a_writer(redis: Option<String>) {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    let commits = if is_long() { 3_000 } else { 300 };
    let seed = seed("cache");
    world.runtime.block_on(async {
        let writing = Arc::new(Process::start(&world, redis.clone()).await);
        let reading = Arc::new(Process::start(&world, redis).await);
        // Which event made which number true, and what is known to be true where it was written.
        let events: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let (told, done, hits) =
            (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut readers = tokio::task::JoinSet::new();
        for number in 0..6 {
            let (process, is_writing) =
                if number % 2 == 0 { (writing.clone(), true) } else { (reading.clone(), false) };
            let (events, told, done, hits) = (events.clone(), told.clone(), done.clone(), hits.clone());
            readers.spawn(async move {
                let (mut last, mut tag) = (0, None::<String>);
                while !done.load(Ordering::SeqCst) {
                    let head = process.feed.head();
                    let by_event = events
                        .lock()
                        .unwrap()
                        .iter()
                        .rev()
                        .find(|(event, _)| *event <= head)
                        .map_or(0, |(_, number)| *number);
                    let known = if is_writing { told.load(Ordering::SeqCst).max(by_event) } else { by_event };
                    let (answer, hit, new) = process.ask(tag.as_deref()).await;
                    let value = answer.unwrap_or(last);
                    assert!(value >= known, "reader {number} was told {value} and {known} was known");
                    hits.fetch_add(u64::from(hit || answer.is_none()), Ordering::SeqCst);
                    (last, tag) = (value, Some(new).filter(|_| number < 4));
                    tokio::task::yield_now().await;
                }
            });
        }
        let mut pause = seed;
        for number in 1..=commits {
            let receipt = writing.store.commit(row(&world, number)).await.unwrap();
            events.lock().unwrap().push((receipt.last_event, number));
            told.store(number, Ordering::SeqCst);
            pause = pause.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_micros((pause >> 33) % 3_000)).await;
        }
        done.store(true, Ordering::SeqCst);
        while let Some(reader) = readers.join_next().await {
            reader.unwrap();
        }
        assert!(hits.load(Ordering::SeqCst) > commits, "the cache was of no use");
        let last = writing.store.events(0, 100_000).await.unwrap().last().unwrap().id;
        reading.feed.wait(last - 1).await;
        assert_eq!(reading.ask(None).await.0, Some(commits));
    });
}

#[test]
fn whoever_was_told_of_a_commit_is_not_answered_from_before_it() {
    readers_and_a_writer(None);
}

#[test]
fn a_redis_between_processes_makes_nothing_stale() {
    let Some(redis) = RedisServer::start() else { return };
    readers_and_a_writer(Some(redis.url()));
    assert!(redis.keys() > 0);
}

#[test]
fn a_redis_that_is_away_costs_speed_alone() {
    let Some(mut redis) = RedisServer::start() else { return };
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let code = world.sqlite("select min(ts_code) from daily").trim().to_string();
    let set = format!("cache.redis={}", redis.url());
    // Nothing stays in memory, so that every answer is the second level's or new.
    let serving =
        Serving::start(&world, &["--set", &set, "--set", "cache.mb=0", "--set", "cache.redis_timeout_ms=10000"]);
    let path = |limit: u32| format!("/api/v1/bars/{code}?limit={limit}");
    let bars = |limit: u32| serving.get(&path(limit)).of_status(200)["bars"].as_array().unwrap().len() as u32;
    for limit in 1..5 {
        assert_eq!(bars(limit), limit);
    }
    assert_eq!(redis.keys(), 4);
    // Another process is answered from there.
    let other = Serving::start(&world, &["--set", &set]);
    assert_eq!(other.get(&path(4)).json(), serving.get(&path(4)).json());
    redis.kill();
    for limit in 5..9 {
        assert_eq!(bars(limit), limit);
    }
    redis.start_again();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let mut limit = 9;
    while redis.keys() == 0 {
        assert!(std::time::Instant::now() < deadline, "Redis is not used again");
        assert_eq!(bars(limit), limit);
        limit = 9 + (limit - 8) % 30;
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_browser_that_has_the_answer_is_told_so_until_it_changes() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &["--role", "api"]);
    let code = world.sqlite("select min(ts_code) from daily").trim().to_string();
    let path = format!("/api/v1/datasets/daily/rows?codes={code}&columns=vol&limit=1");
    let first = serving.get(&path);
    let tag = first.header("etag").to_string();
    assert_eq!(first.header("cache-control"), "no-cache");
    let again = |tag: &str| serving.ask(reqwest::Method::GET, &path, &[("if-none-match", tag)], None);
    assert_eq!(again(&tag).status.as_u16(), 304);
    assert_eq!(again("\"something else\"").status.as_u16(), 200);
    assert_eq!(serving.get(&path).header("x-cache"), "hit");
    // Compressed it is the same answer, kept once for all who take it so.
    let many = "/api/v1/datasets/daily/rows?limit=500";
    let zipped = || {
        world.runtime.block_on(async {
            // A client that leaves the body as it is.
            let client = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
            let request = client.get(format!("{}{many}", serving.url)).header("accept-encoding", "gzip, br");
            let answer = request.send().await.unwrap();
            let header =
                |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_string();
            let told = (header("x-cache"), header("content-encoding"));
            (told, answer.bytes().await.unwrap())
        })
    };
    let (miss, hit) = (zipped(), zipped());
    assert_eq!((miss.0, hit.0), (("miss".into(), "gzip".into()), ("hit".into(), "gzip".into())));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&hit.1[..]).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), serving.get(many).json());
    // A commit of another process about another table changes nothing; one about this table does.
    world.run(&["sync", "moneyflow", "--from", "2024-01-02", "--to", "2024-01-03"], 0);
    assert_eq!(again(&tag).status.as_u16(), 304);
    world.run(&["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-02", "--force"], 0);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while again(&tag).status.as_u16() == 304 {
        assert!(std::time::Instant::now() < deadline, "the answer stays old");
        std::thread::sleep(Duration::from_millis(20));
    }
    let now: Value = again(&tag).of_status(200);
    assert_eq!(now["rows"], first.json()["rows"]);
}

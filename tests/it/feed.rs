//! The feed: every event once and in order, from memory or from the store, whoever wrote it.

use std::sync::Arc;
use std::time::Duration;

use tidegate::feed::{EPOCH_OF_NOTHING, Feed, FeedOptions};
use tidegate::model::{Change, Clock, Commit, EventType, Instant};
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

fn open(folder: &tempfile::TempDir, name: &str) -> Arc<dyn Store> {
    let options = SqliteOptions { create: true, ..SqliteOptions::default() };
    Arc::new(SqliteStore::open(&folder.path().join(name), options, Clock::system()).unwrap())
}

/// Facts without rows, numbered in their data.
async fn commit(store: &Arc<dyn Store>, from: u64, count: u64) {
    let fact = |number: u64| Change::Event {
        kind: EventType::RangeFinished,
        dataset: None,
        data: serde_json::json!({ "number": number }),
    };
    let changes = (from..from + count).map(fact).collect();
    store.commit(Commit { at: Instant(from as i64), fence: None, changes }).await.unwrap();
}

fn options(kept: usize) -> FeedOptions {
    FeedOptions { poll: Duration::from_millis(5), kept, page: 7 }
}

/// Every number from the one after the cursor on, in order, until `last`.
async fn read(feed: &Feed, cursor: u64, last: u64) {
    let mut follower = feed.follow(cursor);
    let mut expected = cursor + 1;
    while expected <= last {
        for event in follower.next(5).await.unwrap() {
            assert_eq!((event.id, event.data["number"].as_u64()), (expected, Some(expected)));
            expected += 1;
        }
    }
    assert_eq!(follower.cursor(), last);
}

#[tokio::test]
async fn every_event_comes_once_and_in_order_also_to_who_is_slower_than_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (store, other) = (open(&folder, "a.db"), open(&folder, "a.db"));
    for already in [0, 1, 2, 40] {
        let there = store.summary().await.unwrap().last_event;
        commit(&store, there + 1, already).await;
    }
    let feed = Feed::start(store.clone(), options(10)).await.unwrap();
    assert_eq!(feed.head(), 43);
    assert!(feed.since(43, 9).await.unwrap().is_empty() && feed.since(99, 9).await.unwrap().is_empty());
    let readers: Vec<_> = [0, 20, 33, 43]
        .map(|cursor| {
            let feed = feed.clone();
            tokio::spawn(async move { read(&feed, cursor, 243).await })
        })
        .into();
    for step in 0..20 {
        // What another process writes is found, too.
        commit(if step % 2 == 0 { &store } else { &other }, 44 + step * 10, 10).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(feed.wait(242).await, 243);
}

#[tokio::test]
async fn an_epoch_lives_as_long_as_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, "a.db");
    let feed = Feed::start(store.clone(), options(10)).await.unwrap();
    assert_eq!((feed.head(), feed.epoch()), (0, EPOCH_OF_NOTHING));
    commit(&store, 1, 1).await;
    feed.wait(0).await;
    let epoch = feed.epoch().to_string();
    assert_ne!(epoch, EPOCH_OF_NOTHING);
    commit(&store, 2, 30).await;
    let again = Feed::start(open(&folder, "a.db"), options(10)).await.unwrap();
    assert_eq!(again.epoch(), epoch);
    let another = open(&folder, "b.db");
    commit(&another, 2, 30).await;
    assert_ne!(Feed::start(another, options(10)).await.unwrap().epoch(), epoch);
}

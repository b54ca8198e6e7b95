//! The feed: the event log by cursor. Caches, web sockets and the scheduler hang on it.
//!
//! One tail a process follows the log: at once when this process commits, and by looking again for what others commit.
//! It keeps the newest events in memory. Nobody can lose an event: whoever is slower than the memory reads on from the
//! store, by the same cursor. A cursor is the number of the last event that was seen; numbers have no gap.

mod tail;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::model::hex;
use crate::model::{Event, Result};
use crate::store::Store;

/// The epoch of a log without events: every log goes on from there.
pub const EPOCH_OF_NOTHING: &str = "0";

#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// How often the log is looked at for what other processes wrote.
    pub poll: Duration,
    /// Events that are kept in memory.
    pub kept: usize,
    /// Events that are read from the store in one step.
    pub page: usize,
}

impl Default for FeedOptions {
    fn default() -> FeedOptions {
        FeedOptions { poll: Duration::from_millis(250), kept: 2_000, page: 1_000 }
    }
}

/// The event log of one store, followed. Clones share the tail, which ends with the last of them.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    options: FeedOptions,
    /// The number of the newest event that is known.
    head: watch::Sender<u64>,
    epoch: OnceLock<String>,
    /// The newest events, without gap, up to the head.
    kept: RwLock<VecDeque<Arc<Event>>>,
}

/// The number of the newest event of a log that is not followed; 0 for an empty one.
pub async fn end_of_log(store: &dyn Store) -> Result<u64> {
    let known = *store.committed().borrow();
    tail::end_of(store, known).await
}

impl Feed {
    /// Finds the end of the log and follows it from then on.
    pub async fn start(store: Arc<dyn Store>, options: FeedOptions) -> Result<Feed> {
        let mut committed = store.committed();
        let known = *committed.borrow_and_update();
        let head = tail::end_of(&*store, known).await?;
        let shared = Shared {
            options: FeedOptions { kept: options.kept.max(1), page: options.page.max(1), ..options },
            head: watch::channel(head.saturating_sub(options.kept as u64)).0,
            epoch: OnceLock::new(),
            kept: RwLock::default(),
            store,
        };
        if let Some(first) = shared.store.events(0, 1).await?.first() {
            shared.epoch.get_or_init(|| epoch_from(first));
        }
        let shared = Arc::new(shared);
        tail::catch_up(&shared).await?;
        tokio::spawn(tail::follow(Arc::downgrade(&shared), committed));
        Ok(Feed(shared))
    }

    /// The number of the newest event that this process knows of; 0 before the first. Whoever answers from memory goes
    /// through the log up to here before it answers: then nobody who was told of an event is answered from before it.
    pub fn head(&self) -> u64 {
        *self.0.head.borrow()
    }

    /// Opaque, and the same for the life of a store, whichever process is asked: cursors of another epoch are those of
    /// another log.
    pub fn epoch(&self) -> &str {
        self.0.epoch.get().map_or(EPOCH_OF_NOTHING, String::as_str)
    }

    /// Events after `cursor`, oldest first, at most `limit`; none when the cursor is at the head or beyond.
    pub async fn since(&self, cursor: u64, limit: usize) -> Result<Vec<Arc<Event>>> {
        if let Some(events) = self.0.remembered(cursor, limit) {
            return Ok(events);
        }
        let limit = limit.min(self.0.options.page);
        let events = self.0.store.events(cursor, limit).await?;
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// Waits until there is an event after `cursor`; the number of the newest one comes back.
    pub async fn wait(&self, cursor: u64) -> u64 {
        let mut head = self.0.head.subscribe();
        // The sender lives in what `self` holds.
        head.wait_for(|head| *head > cursor).await.map_or(cursor, |head| *head)
    }

    /// Reads on from a cursor, for whoever takes every event.
    pub fn follow(&self, cursor: u64) -> Follower {
        Follower { feed: self.clone(), cursor }
    }
}

impl Shared {
    fn remembered(&self, cursor: u64, limit: usize) -> Option<Vec<Arc<Event>>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let head = *self.head.borrow();
        if cursor >= head {
            return Some(Vec::new());
        }
        let first = kept.front()?.id;
        let skipped = (cursor + 1).checked_sub(first)? as usize;
        Some(kept.iter().skip(skipped).take(limit).cloned().collect())
    }

    /// Takes what comes next in the log.
    fn remember(&self, events: Vec<Event>) {
        let Some(last) = events.last().map(|event| event.id) else { return };
        if let Some(first) = events.first().filter(|first| first.id == 1) {
            self.epoch.get_or_init(|| epoch_from(first));
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.extend(events.into_iter().map(Arc::new));
        let surplus = kept.len().saturating_sub(self.options.kept);
        kept.drain(..surplus);
        self.head.send_replace(last);
    }
}

/// What a log begins with tells it from every other.
fn epoch_from(first: &Event) -> String {
    let facts = format!("{} {} {:?} {:?} {}", first.at.0, first.kind.name(), first.dataset, first.task, first.data);
    hex(&Sha256::digest(facts.as_bytes())[..8])
}

/// A reader that takes every event in order.
pub struct Follower {
    feed: Feed,
    cursor: u64,
}

impl Follower {
    /// The number of the last event that was handed out.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Waits for the next events, at most `limit`. Cancelling it loses nothing.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Event>>> {
        loop {
            self.feed.wait(self.cursor).await;
            let events = self.feed.since(self.cursor, limit).await?;
            if let Some(last) = events.last() {
                self.cursor = last.id;
                return Ok(events);
            }
        }
    }
}

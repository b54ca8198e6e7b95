//! The content of events that are on their way, as messages: published ones as they were published, Tidegate's own as they
//! are told to others. A bounded number of bytes is kept in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dialect::cloudevents;
use crate::feed::Feed;
use crate::model::{Event, EventType, Message, Result};
use crate::store::Store;

/// An event as it is told to others.
#[derive(Debug)]
pub struct Told {
    pub message: Message,
    /// It tells of the carrying of events itself.
    pub of_gate: bool,
}

#[derive(Default)]
struct Kept {
    by_event: HashMap<u64, Arc<Told>>,
    order: VecDeque<u64>,
    bytes: usize,
}

/// Clones share what is kept.
#[derive(Clone)]
pub struct Contents {
    store: Arc<dyn Store>,
    feed: Feed,
    bytes_max: usize,
    kept: Arc<Mutex<Kept>>,
}

fn weight(told: &Told) -> usize {
    // What stands around the content, roughly.
    1_000 + told.message.content.parts().1.len()
}

impl Contents {
    pub fn new(store: Arc<dyn Store>, feed: Feed, bytes_max: usize) -> Contents {
        Contents { store, feed, bytes_max, kept: Arc::default() }
    }

    /// The epoch of the log that the events are in.
    pub fn epoch(&self) -> &str {
        self.feed.epoch()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, told: Arc<Told>) {
        let (event, weight_of) = (told.message.event, weight(&told));
        let mut kept = self.kept();
        if weight_of > self.bytes_max || kept.by_event.insert(event, told).is_some() {
            return;
        }
        kept.order.push_back(event);
        kept.bytes += weight_of;
        while kept.bytes > self.bytes_max {
            let Some(oldest) = kept.order.pop_front() else { return };
            if let Some(gone) = kept.by_event.remove(&oldest) {
                kept.bytes -= weight(&gone);
            }
        }
    }

    /// Events of the log as they are told to others, in their order.
    pub async fn of_events(&self, events: &[Arc<Event>]) -> Result<Vec<Arc<Told>>> {
        let published = events.iter().filter(|event| event.kind == EventType::EventPublished);
        let numbers: Vec<u64> = published.map(|event| event.id).collect();
        let messages = if numbers.is_empty() { Vec::new() } else { self.store.messages(&numbers).await? };
        let mut messages: HashMap<u64, Message> = messages.into_iter().map(|one| (one.event, one)).collect();
        let mut told = Vec::with_capacity(events.len());
        for event in events {
            let message = match event.kind {
                EventType::EventPublished => messages.remove(&event.id),
                _ => Some(cloudevents::own(event, self.epoch())),
            };
            let Some(message) = message else {
                tracing::error!(event = event.id, "a published event has no content");
                continue;
            };
            let one = Arc::new(Told { message, of_gate: event.kind.is_of_gate() });
            if event.kind == EventType::EventPublished {
                self.keep(one.clone());
            }
            told.push(one);
        }
        Ok(told)
    }

    /// One event by its number; `None`: there is none.
    pub async fn of(&self, event: u64) -> Result<Option<Arc<Told>>> {
        if let Some(told) = self.kept().by_event.get(&event) {
            return Ok(Some(told.clone()));
        }
        let found = self.store.events(event.saturating_sub(1), 1).await?;
        let found: Vec<Arc<Event>> = found.into_iter().filter(|found| found.id == event).map(Arc::new).collect();
        Ok(self.of_events(&found).await?.pop())
    }
}

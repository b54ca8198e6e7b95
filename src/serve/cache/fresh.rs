//! Which event touched each table last: what an answer from memory has to know to be fresh.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::feed::Feed;
use crate::model::{Event, Result};
use crate::store::Store;

/// What an answer was made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MadeFrom {
    /// Rows, claims and failures of these tables.
    Tables(Vec<String>),
    /// Anything that an event can change.
    Everything,
}

impl MadeFrom {
    pub fn table(name: &str) -> MadeFrom {
        MadeFrom::Tables(vec![name.to_string()])
    }
}

/// Follows the event log for as far as this process has seen it.
pub struct Fresh {
    store: Arc<dyn Store>,
    feed: Feed,
    /// What this process commits, it has seen.
    committed: watch::Receiver<u64>,
    log: RwLock<Log>,
}

/// The log in a few numbers.
#[derive(Debug, Default)]
struct Log {
    /// Everything up to this event is counted.
    cursor: u64,
    /// Where counting began: what was not touched since may have been touched then.
    base: u64,
    touched: HashMap<String, u64>,
}

/// Events that are read in one step.
const PAGE: usize = 1_000;

impl Fresh {
    pub fn new(store: Arc<dyn Store>, feed: Feed) -> Fresh {
        let cursor = feed.head();
        let log = RwLock::new(Log { cursor, base: cursor, touched: HashMap::new() });
        Fresh { committed: store.committed(), store, feed, log }
    }

    /// The last event that this process knows of and that can have changed the answer.
    pub async fn seen(&self, from: &MadeFrom) -> Result<u64> {
        let seen = self.feed.head().max(*self.committed.borrow());
        let cursor = self.log.read().unwrap_or_else(PoisonError::into_inner).cursor;
        if cursor < seen {
            self.go_to_the_end().await?;
        }
        Ok(self.counted(from))
    }

    /// The last event that can have changed the answer, whoever committed it, and up to which event that is known.
    pub async fn settled(&self, from: &MadeFrom) -> Result<(u64, u64)> {
        self.go_to_the_end().await?;
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        Ok((log.last(from), log.cursor))
    }

    /// Up to which event everything is counted.
    pub fn cursor(&self) -> u64 {
        self.log.read().unwrap_or_else(PoisonError::into_inner).cursor
    }

    /// Names the store among all stores.
    pub fn epoch(&self) -> &str {
        self.feed.epoch()
    }

    async fn go_to_the_end(&self) -> Result<()> {
        loop {
            let events = self.store.events(self.cursor(), PAGE).await?;
            let was_last = events.len() < PAGE;
            self.log.write().unwrap_or_else(PoisonError::into_inner).count(&events);
            if was_last {
                return Ok(());
            }
        }
    }

    fn counted(&self, from: &MadeFrom) -> u64 {
        self.log.read().unwrap_or_else(PoisonError::into_inner).last(from)
    }
}

impl Log {
    /// Two readers may bring the same events, and one of them may be late.
    fn count(&mut self, events: &[Event]) {
        for event in events {
            if let Some(dataset) = &event.dataset {
                let last = self.touched.entry(dataset.clone()).or_default();
                *last = event.id.max(*last);
            }
            self.cursor = self.cursor.max(event.id);
        }
    }

    fn last(&self, from: &MadeFrom) -> u64 {
        match from {
            MadeFrom::Everything => self.cursor,
            MadeFrom::Tables(names) => {
                let of = |name: &String| self.touched.get(name).copied().unwrap_or(self.base);
                names.iter().map(of).max().unwrap_or(self.base)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventType, Instant};

    fn event(id: u64, dataset: Option<&str>) -> Event {
        let dataset = dataset.map(str::to_string);
        Event {
            id,
            at: Instant(0),
            kind: EventType::SliceCommitted,
            dataset,
            task: None,
            data: serde_json::Value::Null,
        }
    }

    #[test]
    fn an_answer_is_as_new_as_the_last_event_of_what_it_was_made_from() {
        let mut log = Log { cursor: 7, base: 7, ..Log::default() };
        let tables = |names: &[&str]| MadeFrom::Tables(names.iter().map(|name| name.to_string()).collect());
        assert_eq!(log.last(&tables(&["daily"])), 7);
        log.count(&[event(8, Some("daily")), event(9, None), event(10, Some("weekly"))]);
        // A late reader brings less.
        log.count(&[event(8, Some("daily"))]);
        for (from, expected) in [
            (tables(&["daily"]), 8),
            (tables(&["monthly"]), 7),
            (tables(&["daily", "weekly"]), 10),
            (tables(&[]), 7),
            (MadeFrom::Everything, 10),
        ] {
            assert_eq!(log.last(&from), expected, "{from:?}");
        }
    }
}

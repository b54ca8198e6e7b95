//! How every table stands, each kept until an event or the calendar can have changed it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::memory::KNOWLEDGE;
use crate::engine::audits;
use crate::model::{Dataset, Error, Instant, Result};
use crate::plan::{self, Wholeness};
use crate::serve::Service;
use crate::serve::cache::MadeFrom;
use crate::source::Source;

/// By table: under which event and when it was counted.
#[derive(Default)]
pub struct Standings(Mutex<HashMap<String, Counted>>);

struct Counted {
    event: u64,
    at: Instant,
    standing: Arc<Wholeness>,
}

/// What is due and what is stale changes with time alone, too.
const SECONDS_KEPT: i64 = 60;

impl Service {
    /// How a table stands now.
    pub async fn standing(&self, dataset: &Arc<Dataset>, sources: &[Arc<dyn Source>]) -> Result<Arc<Wholeness>> {
        let tables = KNOWLEDGE.into_iter().chain([dataset.name.as_str()]).map(str::to_string).collect();
        let (from, now) = (MadeFrom::Tables(tables), self.clock.now());
        let event = self.cache.fresh.seen(&from).await?;
        let standings = &self.memory.standings.0;
        if let Some(counted) = standings.lock().await.get(&dataset.name) {
            let age = now.millis_since(counted.at);
            if counted.event == event && (0..SECONDS_KEPT * 1000).contains(&age) {
                return Ok(counted.standing.clone());
            }
        }
        let knowledge = self.knowledge().await?;
        let coverage = self.store.coverage(&dataset.name).await?;
        let failures = self.store.failures(Some(&dataset.name), false).await?;
        let (served, counting) = (audits::served(sources, dataset), dataset.clone());
        let count = move || {
            let audit = plan::audit(&counting, &knowledge, &coverage, &failures, &served, None, now);
            Arc::new(plan::wholeness(&counting, &knowledge, &coverage, &audit, now))
        };
        let counted = tokio::task::spawn_blocking(count).await;
        let standing = counted.map_err(|error| Error::bug("counting cells broke off").caused_by(error))?;
        let kept = Counted { event, at: now, standing: standing.clone() };
        // What was committed while it was counted has a later event, so that this is not taken for it.
        standings.lock().await.insert(dataset.name.clone(), kept);
        Ok(standing)
    }
}

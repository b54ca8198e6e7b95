//! The scheduler: jobs fire as runs, and workers bring runs to their end. Everything stands in the store: any process
//! may ask, change and look; whoever has the right to run tasks does the work.
//!
//! ```text
//! jobs -> next_run (pure) -> run, one for a job and instant -> worker: requests -> engine -> verdict (pure)
//! ```
//!
//! A run is taken, renewed and ended as tasks are: by lease and fence. A process that stops gives its runs back, one that
//! dies loses them to the next, and what was fetched is not fetched again, because work is what the plan says is missing.

pub mod control;
mod defaults;
mod facts;
mod fire;
mod keep;
mod polling;
mod reconciling;
mod service;
mod verdict;
mod waiting;
mod whole;
mod work;

use std::sync::Arc;

pub use control::{Control, JobChange, JobStatus, NewJob};
pub use fire::Fired;
pub use waiting::{ByClock, Waiting};

use crate::catalog::Catalog;
use crate::engine::Engines;
use crate::model::{CatchUp, Change, Clock, Commit, Dataset, Receipt, Result};
use crate::reconcile::Reconciler;
use crate::store::Store;
use facts::Almanac;

/// How jobs run; from `[jobs]` in the configuration.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Whether jobs fire by their triggers.
    pub enabled: bool,
    pub catch_up: CatchUp,
    /// Attempts after a failed run.
    pub attempts: u32,
    /// Minutes before the first of them; the wait doubles with each.
    pub retry_minutes: u32,
    /// Runs that this process works on at the same time.
    pub runs_at_once: usize,
    /// Runs that poll, beside those: they last a trading session and mostly wait.
    pub polls_at_once: usize,
    /// Ended runs of each job that are kept.
    pub runs_kept: usize,
}

impl Default for JobOptions {
    fn default() -> JobOptions {
        JobOptions {
            enabled: true,
            catch_up: CatchUp::Once,
            attempts: 3,
            retry_minutes: 5,
            runs_at_once: 2,
            polls_at_once: 16,
            runs_kept: 200,
        }
    }
}

/// Fires jobs and works on runs. Clones share what they have read.
#[derive(Clone)]
pub struct Scheduler {
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
    clock: Clock,
    engines: Engines,
    options: JobOptions,
    waiting: Arc<dyn Waiting>,
    almanac: Arc<Almanac>,
    reconciler: Option<Reconciler>,
}

impl Scheduler {
    pub fn new(
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        clock: Clock,
        engines: Engines,
        options: JobOptions,
        waiting: Arc<dyn Waiting>,
    ) -> Scheduler {
        Scheduler { store, catalog, clock, engines, options, waiting, almanac: Arc::default(), reconciler: None }
    }

    /// Runs that reconcile are worked on too.
    pub fn reconciling(mut self, reconciler: Reconciler) -> Scheduler {
        self.reconciler = Some(reconciler);
        self
    }

    /// Writes the jobs of the catalogue and of Tidegate itself into the store, for the tables that the sources serve now.
    pub async fn prepare(&self) -> Result<()> {
        let engine = self.engines.current().await?;
        let now = self.clock.now();
        // A table beyond the points of every account has no job: it would fail at each of its times. Without any source
        // all have theirs, and wait for a token.
        let is_served = |name: &String| {
            let dataset = self.catalog.get(name);
            let offered = |dataset: &Dataset| dataset.database.is_some() || engine.offers(dataset, None).is_ok();
            engine.sources.is_empty() || dataset.is_ok_and(|dataset| offered(dataset))
        };
        let mut served = engine.all_datasets();
        served.retain(is_served);
        let wanted = defaults::jobs(&self.catalog, &served, now);
        defaults::write(&*self.store, &self.catalog, &wanted, now).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<Receipt> {
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await
    }
}

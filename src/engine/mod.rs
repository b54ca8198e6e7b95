//! The engine: takes tasks, plans them, asks sources through quota gates, checks answers and commits them.
//!
//! ```text
//! plan -> queue -> workers (gate, fetch, check) -> bounded channel -> writer (groups of slices) -> commit
//! ```
//!
//! Nothing waits for a slice that failed, nothing committed is asked again, and every queue has a limit.

pub mod ask;
pub mod at_work;
pub mod audits;
pub mod breaker;
pub mod conflicts;
pub mod days;
pub mod doors;
pub mod engines;
pub mod fetch;
pub mod gate;
pub mod hash;
pub mod knowledge;
pub mod lease;
pub mod migrate;
pub mod places;
pub mod poll;
pub mod progress;
pub mod reading;
pub mod retry;
pub mod rounds;
pub mod run;
pub mod shared;
pub mod standing;
pub mod stop;
pub mod strategy;
pub mod table;
pub mod task;
pub mod together;
pub mod watermark;
pub mod write;

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::model::Clock;
use crate::source::Source;
use crate::store::Store;

pub use breaker::BreakerPolicy;
pub use engines::{Engines, TOKENS, Tokens};
pub use progress::{Phase, Progress, Watcher};
pub use standing::StandingPolicy;
pub use stop::Stop;

/// How the engine works; from `[sync]` in the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Calls in flight for one dataset.
    pub concurrency: usize,
    /// Datasets that are worked on at the same time.
    pub datasets_at_once: usize,
    /// Slices that are written in one transaction.
    pub commit_slices: usize,
    /// Rows from which a transaction is closed, however few its slices.
    pub commit_rows: usize,
    /// How long a fetched slice waits for others to be written with.
    pub commit_linger_ms: u64,
    pub retry_first_ms: u64,
    pub retry_cap_ms: u64,
    pub retry_jitter: f64,
    /// Refusals for asking too often that one call waits out.
    pub throttles_max: u32,
    /// Pages of one slice.
    pub pages_max: u32,
    /// When a source is set aside, and for how long.
    pub breaker: BreakerPolicy,
    /// When a source loses its place.
    pub standing: StandingPolicy,
    /// The longest refusal that is waited out while another source could be asked.
    pub failover_wait_ms: u64,
    /// How long a source may take to answer a probe.
    pub probe_seconds: u32,
    /// Hours after which a better source is asked for what another one served; `None`: the dataset's own hours.
    pub better_after_hours: Option<i32>,
    /// Share of rows with wrong units from which a source is not believed, and the rows that prove it.
    pub wrong_share: f64,
    pub wrong_rows_min: u64,
    /// Several sources work on one dataset at the same time.
    pub parallel_sources: bool,
    /// Attempts over all runs until only a person may retry a failure.
    pub failure_attempts_max: u32,
    /// Minutes until a later run may try a failed slice again.
    pub failure_retry_minutes: u32,
    /// Share of the source's calls per minute that are used, 0 to 1.
    pub quota_share: f64,
    /// How tables of databases are compared.
    pub tables: table::TableOptions,
    /// How long a running task belongs to a process that gives no sign of life, where several share the store.
    pub lease_seconds: u32,
    /// How long a call may take where several processes share the quota.
    pub call_seconds_max: u32,
    /// The first day to fetch when nobody names one; `None`: each dataset's own.
    pub default_from: Option<crate::model::Day>,
    /// Tables that are left out unless they are named.
    pub skip: Vec<String>,
    /// Points of time before the last due one that a full check asks for again.
    pub check_look_back: u32,
    /// Parameters of strategies that neither a request nor the catalogue names.
    pub strategies: crate::plan::Defaults,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            concurrency: 4,
            datasets_at_once: 2,
            commit_slices: 20,
            commit_rows: 120_000,
            commit_linger_ms: 300,
            retry_first_ms: 500,
            retry_cap_ms: 60_000,
            retry_jitter: 0.5,
            throttles_max: 10,
            pages_max: 1_000,
            breaker: BreakerPolicy { failed_in_a_row_max: 8, cool_down_first_ms: 30_000, cool_down_cap_ms: 1_800_000 },
            standing: StandingPolicy { hours: 6, calls_min: 20, failed_share: 0.3, wrong_max: 0, slow_ms: 20_000 },
            failover_wait_ms: 2_000,
            probe_seconds: 20,
            better_after_hours: None,
            wrong_share: 0.5,
            wrong_rows_min: 10,
            parallel_sources: false,
            failure_attempts_max: 12,
            failure_retry_minutes: 30,
            quota_share: 1.0,
            tables: table::TableOptions::default(),
            lease_seconds: 30,
            call_seconds_max: 120,
            default_from: None,
            skip: Vec::new(),
            check_look_back: 2,
            strategies: Default::default(),
        }
    }
}

/// Everything a run needs, handed in from the top.
#[derive(Clone)]
pub struct Engine {
    pub store: Arc<dyn Store>,
    pub catalog: Arc<Catalog>,
    /// Best first.
    pub sources: Vec<Arc<dyn Source>>,
    pub options: Options,
    pub clock: Clock,
    pub gates: Arc<gate::Gates>,
    /// What this process has met at each source.
    pub breakers: Arc<breaker::Breakers>,
    /// Places of calls, where several processes share the store.
    pub places: Arc<places::Places>,
    /// Tasks that this process has in hand.
    pub at_work: at_work::AtWork,
    /// The name under which this engine holds tasks.
    pub worker: Arc<str>,
}

impl Engine {
    pub fn new(
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        mut sources: Vec<Arc<dyn Source>>,
        options: Options,
        clock: Clock,
    ) -> Engine {
        sources.sort_by_key(|source| source.rank());
        let places = Arc::new(places::Places::new(store.clone(), clock.clone(), options.call_seconds_max));
        let (gates, breakers) = (Arc::default(), Arc::default());
        let worker = lease::worker_name().into();
        Engine { store, catalog, sources, options, clock, gates, places, worker, breakers, at_work: Default::default() }
    }

    /// Asks only the named sources, in this order; no names: all of them, best first. Whose values count more stays with
    /// the ranks. `NotFound` for a name that no source has.
    pub fn asking(mut self, names: &[String]) -> crate::model::Result<Engine> {
        if names.is_empty() {
            return Ok(self);
        }
        let named = |name: &String| {
            let found = self.sources.iter().find(|source| source.name() == name).cloned();
            found.ok_or_else(|| {
                let error =
                    crate::model::Error::not_found(format!("there is no source {name:?}, or it is not enabled"));
                error.hint("`tidegate sources` lists them")
            })
        };
        self.sources = names.iter().map(named).collect::<crate::model::Result<_>>()?;
        Ok(self)
    }
}

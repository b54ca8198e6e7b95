//! The engine: takes tasks, plans them, asks sources through quota gates, checks answers and commits them.
//!
//! ```text
//! plan -> queue -> workers (gate, fetch, check) -> bounded channel -> writer (groups of slices) -> commit
//! ```
//!
//! Nothing waits for a slice that failed, nothing committed is asked again, and every queue has a limit.

pub mod conflicts;
pub mod fetch;
pub mod gate;
pub mod hash;
pub mod knowledge;
pub mod progress;
pub mod retry;
pub mod run;
pub mod stop;
pub mod table;
pub mod task;
pub mod together;
pub mod watermark;
pub mod write;

use std::sync::{Arc, Mutex};

use crate::catalog::Catalog;
use crate::model::Clock;
use crate::source::Source;
use crate::store::Store;

pub use progress::{Phase, Progress, Watcher};
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
    /// Slices that fail one after the other until the source is set aside.
    pub failed_in_a_row_max: u32,
    /// Attempts over all runs until only a person may retry a failure.
    pub failure_attempts_max: u32,
    /// Minutes until a later run may try a failed slice again.
    pub failure_retry_minutes: u32,
    /// Share of the source's calls per minute that are used, 0 to 1.
    pub quota_share: f64,
    /// How tables of databases are compared.
    pub tables: table::TableOptions,
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
            failed_in_a_row_max: 8,
            failure_attempts_max: 12,
            failure_retry_minutes: 30,
            quota_share: 1.0,
            tables: table::TableOptions::default(),
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
    /// Sources that refused as a whole; they are not asked again by this process.
    pub refused: Arc<Mutex<Vec<String>>>,
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
        Engine { store, catalog, sources, options, clock, gates: Arc::default(), refused: Arc::default() }
    }
}

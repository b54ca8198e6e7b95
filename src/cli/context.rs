//! What commands work with, put together from the configuration: catalogue, store, sources, engine.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::config::{Config, Options, Synchronous};
use crate::engine::{self, Engine};
use crate::model::{Clock, Dataset, Day, Error, Result};
use crate::read::{ReadOptions, Reader};
use crate::source::Source;
use crate::source::tushare::{TushareOptions, TushareSource};
use crate::store::Store;
use crate::store::sqlite::{self, SqliteOptions, SqliteStore};

pub struct Context {
    pub config: Config,
    pub catalog: Arc<Catalog>,
    pub clock: Clock,
    /// Machine-readable output was asked for.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
}

impl Context {
    pub fn options(&self) -> &Options {
        &self.config.options
    }

    /// `sync.default_from`.
    pub fn default_from(&self) -> Option<Day> {
        self.options().sync.default_from()
    }

    /// Every table that a source serves, without those under `sync.skip`.
    pub fn all_datasets(&self) -> Vec<String> {
        let skip = &self.options().sync.skip;
        let sources = &self.options().sources;
        let served = |dataset: &&Arc<Dataset>| {
            let by_tushare = dataset.tushare.is_some() && (sources.tushare.enabled || !sources.baostock.enabled);
            let by_baostock = !dataset.baostock.is_empty() && sources.baostock.enabled;
            (by_tushare || by_baostock) && !skip.contains(&dataset.name)
        };
        self.catalog.datasets().iter().filter(served).map(|dataset| dataset.name.clone()).collect()
    }

    /// A source that is named must exist.
    pub fn check_source(&self, name: Option<&str>) -> Result<()> {
        match name {
            None | Some("tushare" | "baostock") => Ok(()),
            Some(other) => {
                let error = Error::not_found(format!("there is no source {other:?}"));
                Err(error.hint("`tidegate sources` lists them"))
            }
        }
    }

    /// Opens the store, with a table for every dataset of the catalogue.
    pub async fn store(&self) -> Result<Arc<dyn Store>> {
        self.open_store(false).await
    }

    pub async fn open_store(&self, create: bool) -> Result<Arc<dyn Store>> {
        let options = &self.options().store;
        let sqlite = SqliteOptions {
            create,
            cache_mb: options.cache_mb,
            busy_timeout_ms: options.busy_timeout_ms,
            synchronous: match options.synchronous {
                Synchronous::Normal => sqlite::Synchronous::Normal,
                Synchronous::Full => sqlite::Synchronous::Full,
            },
            scan_batch_rows: options.scan_batch_rows,
            ..SqliteOptions::default()
        };
        let store = SqliteStore::open(&options.path, sqlite, self.clock.clone())?;
        store.prepare(self.catalog.datasets()).await?;
        Ok(Arc::new(store))
    }

    /// Reads of the store in two times and price bases.
    pub fn reader(&self, store: Arc<dyn Store>) -> Reader {
        Reader::new(store, self.catalog.clone(), self.clock.clone(), self.read_options())
    }

    pub fn read_options(&self) -> ReadOptions {
        ReadOptions { sort_rows_max: self.options().read.sort_rows_max }
    }

    /// The sources that are switched on, as the configuration describes them.
    pub fn sources(&self) -> Result<Vec<Arc<dyn Source>>> {
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        if self.options().sources.tushare.enabled {
            sources.push(Arc::new(self.tushare()?));
        }
        if self.options().sources.baostock.enabled {
            sources.push(Arc::new(super::baostock::source(self)?));
        }
        sources.sort_by_key(|source| source.rank());
        Ok(sources)
    }

    fn tushare(&self) -> Result<TushareSource> {
        let options = &self.options().sources.tushare;
        TushareSource::new(
            TushareOptions {
                url: options.url.clone(),
                token: options.token()?.expose().to_string(),
                points: options.points,
                rank: options.rank,
                timeout: Duration::from_secs(options.timeout_seconds),
                connect_timeout: Duration::from_secs(options.connect_timeout_seconds),
                body_bytes_max: options.body_mb_max as usize * 1024 * 1024,
                gzip: options.gzip,
                per_minute: options.per_minute(),
                ..TushareOptions::default()
            },
            self.clock.clone(),
        )
    }

    pub fn engine(&self, store: Arc<dyn Store>) -> Result<Engine> {
        let sources = self.sources()?;
        Ok(Engine::new(store, self.catalog.clone(), sources, self.engine_options(), self.clock.clone()))
    }

    pub fn engine_options(&self) -> engine::Options {
        let sync = &self.options().sync;
        engine::Options {
            concurrency: sync.concurrency,
            datasets_at_once: sync.datasets_at_once,
            commit_slices: sync.commit_slices,
            commit_rows: sync.commit_rows,
            commit_linger_ms: sync.commit_linger_ms,
            retry_first_ms: sync.retry_first_ms,
            retry_cap_ms: sync.retry_cap_ms,
            retry_jitter: sync.retry_jitter,
            throttles_max: sync.throttles_max,
            pages_max: sync.pages_max,
            failed_in_a_row_max: sync.failed_in_a_row_max,
            failure_attempts_max: sync.failure_attempts_max,
            failure_retry_minutes: sync.failure_retry_minutes,
            quota_share: sync.quota_share,
            strategies: crate::plan::Defaults {
                batch_size: sync.batch_size,
                partitions: sync.partitions,
                missing_days: sync.statements_missing_days,
                range_days_max: sync.range_days_max,
                replace_rows_max: sync.replace_rows_max,
            },
        }
    }

    /// Prints a value as JSON on stdout.
    pub fn print_json(&self, value: &serde_json::Value) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::bug("writing JSON").caused_by(error))?;
        print(&format!("{text}\n"))
    }
}

/// Writes to stdout; a reader that went away ends the program quietly, as it does for other tools.
pub fn print(text: &str) -> Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| Error::storage("writing to stdout failed").caused_by(error)),
    }
}

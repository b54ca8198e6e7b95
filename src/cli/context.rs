//! What commands work with, put together from the configuration: catalogue, store, sources, engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::config::{self, AkshareVia, Config, Options, Synchronous};
use crate::engine::{self, Engine, Tokens};
use crate::intake::IntakeOptions;
use crate::intake::relay::RelayOptions;
use crate::log::Log;
use crate::model::{CatchUp, Clock, Error, Result};
use crate::notify::client::ClientOptions;
use crate::notify::define::{DefineOptions, Subscriptions};
use crate::publish::{Limits, PublishOptions, Publisher, voucher};
use crate::read::{ReadOptions, Reader};
use crate::scheduler::{Control, JobOptions};
use crate::source::Source;
use crate::source::akshare::{AkshareOptions, AkshareSource, Via};
use crate::source::tushare::{TushareOptions, TushareSource};
use crate::store::Store;
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::{self, SqliteOptions, SqliteStore};

/// Who did what a command does, as the store notes it.
pub const BY: &str = "cli";

#[derive(Clone)]
pub struct Context {
    pub config: Config,
    pub catalog: Arc<Catalog>,
    pub clock: Clock,
    pub log: Log,
    /// Machine-readable output was asked for.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
}

impl Context {
    pub fn options(&self) -> &Options {
        &self.config.options
    }

    /// A source that is named must exist and be switched on.
    pub fn check_source(&self, name: Option<&str>) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        if self.sources()?.iter().any(|source| source.name() == name) {
            return Ok(());
        }
        let error = Error::not_found(format!("there is no source {name:?}, or it is not enabled"));
        Err(error.hint("`tidegate sources` lists them"))
    }

    /// Opens the store, with a table for every dataset of the catalogue.
    pub async fn store(&self) -> Result<Arc<dyn Store>> {
        self.open_store(false).await
    }

    pub async fn open_store(&self, create: bool) -> Result<Arc<dyn Store>> {
        let options = &self.options().store;
        let store: Arc<dyn Store> = match options.url() {
            Some(url) => Arc::new(self.open_postgres(url.expose(), create, false).await?),
            None => Arc::new(self.open_sqlite(&options.path, create, false)?),
        };
        store.prepare(self.catalog.datasets()).await?;
        Ok(store)
    }

    /// The store in a PostgreSQL database, without its tables; one into which a copy has not been finished only if that
    /// is wanted.
    pub async fn open_postgres(&self, url: &str, create: bool, unfinished: bool) -> Result<PostgresStore> {
        let options = &self.options().store;
        let postgres = PostgresOptions {
            create,
            unfinished,
            schema: options.schema.clone(),
            connections: options.postgres.connections,
            wait_seconds: options.postgres.wait_seconds,
            connect_seconds: options.postgres.connect_seconds,
            statement_seconds: options.postgres.statement_seconds,
            lock_seconds: options.postgres.lock_seconds,
            reconnect_seconds: options.postgres.reconnect_seconds,
            scan_batch_rows: options.scan_batch_rows,
        };
        PostgresStore::open(url, postgres, self.clock.clone()).await
    }

    /// The store in a file, without its tables; one into which a copy has not been finished only if that is wanted.
    pub fn open_sqlite(&self, path: &Path, create: bool, unfinished: bool) -> Result<SqliteStore> {
        let options = &self.options().store;
        let sqlite = SqliteOptions {
            create,
            unfinished,
            cache_mb: options.cache_mb,
            busy_timeout_ms: options.busy_timeout_ms,
            synchronous: match options.synchronous {
                Synchronous::Normal => sqlite::Synchronous::Normal,
                Synchronous::Full => sqlite::Synchronous::Full,
            },
            scan_batch_rows: options.scan_batch_rows,
            shared: options.shared,
            ..SqliteOptions::default()
        };
        SqliteStore::open(path, sqlite, self.clock.clone())
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
        self.sources_with(&Tokens::new())
    }

    /// The same with tokens that count more than configured ones.
    pub fn sources_with(&self, tokens: &Tokens) -> Result<Vec<Arc<dyn Source>>> {
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        let configured = &self.options().sources;
        for (name, options) in [("tushare", &configured.tushare), ("tidegate", &configured.tidegate)] {
            if options.enabled {
                sources.push(Arc::new(self.tushare_source(name, options, tokens)?));
            }
        }
        if configured.akshare.enabled {
            sources.push(Arc::new(self.akshare_source(&configured.akshare, tokens)?));
        }
        if configured.baostock.enabled {
            sources.push(Arc::new(super::baostock::source(self, tokens)?));
        }
        check_ranks(&sources)?;
        // A database serves tables that no other source has, so that its rank competes with none.
        sources.extend(super::databases::sources(self)?);
        Ok(sources)
    }

    /// A source that speaks Tushare's dialect.
    fn tushare_source(&self, name: &'static str, options: &config::Tushare, tokens: &Tokens) -> Result<TushareSource> {
        let token = match tokens.get(name) {
            Some(token) => token.clone(),
            None => options.token()?.expose().to_string(),
        };
        TushareSource::new(
            TushareOptions {
                name,
                url: options.url.clone(),
                token,
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

    fn akshare_source(&self, options: &config::Akshare, tokens: &Tokens) -> Result<AkshareSource> {
        AkshareSource::new(
            AkshareOptions {
                via: match options.via {
                    AkshareVia::Aktools => Via::Aktools,
                    AkshareVia::Eastmoney => Via::Eastmoney,
                },
                url: options.url.clone(),
                token: tokens.get("akshare").map_or_else(|| options.token.expose().to_string(), String::clone),
                history_url: options.eastmoney_history_url.clone(),
                list_url: options.eastmoney_list_url.clone(),
                report_url: options.eastmoney_report_url.clone(),
                forecast_url: options.eastmoney_forecast_url.clone(),
                rank: options.rank,
                timeout: Duration::from_secs(options.timeout_seconds),
                connect_timeout: Duration::from_secs(options.connect_timeout_seconds),
                body_bytes_max: options.body_mb_max as usize * 1024 * 1024,
                rows_max: options.rows_max,
                concurrency: options.calls_at_once,
                per_minute: options.per_minute(),
                proof_days: options.proof_days,
            },
            self.clock.clone(),
        )
    }

    /// The engine with the tokens that are set in the store.
    pub async fn engine(&self, store: Arc<dyn Store>) -> Result<Engine> {
        self.engines(store).current().await
    }

    fn engine_with(&self, store: Arc<dyn Store>, tokens: &Tokens) -> Result<Engine> {
        let sources = self.sources_with(tokens)?;
        Ok(Engine::new(store, self.catalog.clone(), sources, self.engine_options(), self.clock.clone()))
    }

    /// Engines for a process that lives long: tokens that are set in the store count more than configured ones.
    pub fn engines(&self, store: Arc<dyn Store>) -> engine::Engines {
        let context = self.clone();
        engine::Engines::new(store.clone(), move |tokens| context.engine_with(store.clone(), tokens))
    }

    /// What people and programs may ask of jobs and runs.
    pub fn control(&self, store: Arc<dyn Store>) -> Control {
        Control::new(store, self.catalog.clone(), self.clock.clone(), self.job_options())
    }

    pub fn publish_options(&self) -> PublishOptions {
        let events = &self.options().events;
        PublishOptions {
            limits: Limits {
                attribute_bytes_max: events.attribute_bytes_max,
                extensions_max: events.extensions_max,
                content_bytes_max: events.content_kb_max * 1024,
                batch_max: events.batch_max,
            },
            queue: events.queue,
            commit_events: events.commit_events,
            commit_bytes: events.commit_kb * 1024,
            once_hours: events.idempotency_hours,
        }
    }

    /// Takes events and vouchers in, as long as it or a clone of it lives.
    pub fn publisher(&self, store: Arc<dyn Store>) -> Publisher {
        let vouchers = self.catalog.get(voucher::TABLE).ok().cloned();
        Publisher::start(store, vouchers, self.clock.clone(), self.publish_options())
    }

    pub fn intake_options(&self) -> IntakeOptions {
        let intake = &self.options().intakes;
        let every = Duration::from_secs(intake.lag_seconds);
        IntakeOptions {
            enabled: intake.enabled,
            batch: intake.batch,
            poll: Duration::from_millis(intake.poll_ms),
            connect: Duration::from_secs(intake.connect_seconds),
            answer: Duration::from_secs(intake.answer_seconds),
            message_bytes_max: intake.message_mb_max << 20,
            retry_first_ms: intake.retry_first_ms,
            retry_cap_ms: intake.retry_cap_ms,
            lease: Duration::from_secs(intake.lease_seconds),
            standing_every: every,
            lag_every: every,
            lag_rows: intake.lag_rows,
            lag_mb: intake.lag_mb,
            lag_entries: intake.lag_entries,
        }
    }

    /// `None`: the log is not relayed.
    pub fn relay_options(&self) -> Option<RelayOptions> {
        let relay = &self.options().relay;
        (!relay.redis.is_empty()).then(|| RelayOptions {
            url: relay.redis.expose().to_string(),
            prefix: relay.prefix.clone(),
            streams: relay.streams,
            types: relay.types.clone(),
            entries_max: relay.entries_max,
            batch: relay.batch,
        })
    }

    /// Who is told of which events.
    pub fn subscriptions(&self, store: Arc<dyn Store>) -> Result<Subscriptions> {
        Subscriptions::new(store, self.clock.clone(), self.define_options()?)
    }

    /// How webhooks go out.
    pub fn client_options(&self) -> Result<ClientOptions> {
        let notify = &self.options().notify;
        let read = |path: &Path| {
            let unreadable = |error| {
                let message = format!("notify.ca_file: {} cannot be read", path.display());
                Error::invalid(message).hint("name a file of certificates in PEM, or none").caused_by(error)
            };
            std::fs::read(path).map_err::<Error, _>(unreadable)
        };
        Ok(ClientOptions {
            connect_timeout: Duration::from_secs(notify.connect_seconds),
            keep_alive: Duration::from_secs(notify.keep_alive_seconds),
            idle_per_host: notify.idle_connections,
            answer_bytes_max: notify.answer_kb_max * 1024,
            allow: notify.allow(),
            plain_http: notify.plain_http,
            ca: notify.ca_file().map(read).transpose()?,
        })
    }

    fn define_options(&self) -> Result<DefineOptions> {
        let notify = &self.options().notify;
        Ok(DefineOptions {
            client: self.client_options()?,
            timeout: Duration::from_secs(notify.timeout_seconds),
            rotation_hours: notify.rotation_hours,
            source_system: notify.source_system.clone(),
            tolerance_seconds: i64::from(notify.tolerance_seconds),
        })
    }

    pub fn job_options(&self) -> JobOptions {
        let jobs = &self.options().jobs;
        JobOptions {
            enabled: jobs.enabled,
            catch_up: match jobs.catch_up {
                config::CatchUp::Once => CatchUp::Once,
                config::CatchUp::Skip => CatchUp::Skip,
            },
            attempts: jobs.attempts,
            retry_minutes: jobs.retry_minutes,
            runs_at_once: jobs.runs_at_once,
            polls_at_once: jobs.polls_at_once,
            runs_kept: jobs.runs_kept,
        }
    }

    pub fn engine_options(&self) -> engine::Options {
        let (sync, failover) = (&self.options().sync, &self.options().failover);
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
            breaker: engine::BreakerPolicy {
                failed_in_a_row_max: sync.failed_in_a_row_max,
                cool_down_first_ms: failover.cool_down_first_ms,
                cool_down_cap_ms: failover.cool_down_cap_ms,
            },
            standing: engine::StandingPolicy {
                hours: failover.demote_hours,
                calls_min: failover.demote_calls_min,
                failed_share: failover.demote_failed_share,
                wrong_max: failover.demote_wrong_max,
                slow_ms: failover.demote_slow_ms,
            },
            failover_wait_ms: failover.wait_ms,
            probe_seconds: failover.probe_seconds,
            better_after_hours: failover.better_after_hours(),
            wrong_share: failover.wrong_share,
            wrong_rows_min: failover.wrong_rows_min,
            parallel_sources: failover.parallel_sources,
            failure_attempts_max: sync.failure_attempts_max,
            failure_retry_minutes: sync.failure_retry_minutes,
            quota_share: sync.quota_share,
            tables: engine::table::TableOptions {
                leaf_rows: self.options().sources.database.leaf_rows,
                fan_out: self.options().sources.database.fan_out,
                run_rows_max: self.options().sources.database.run_rows_max,
            },
            lease_seconds: sync.lease_seconds,
            call_seconds_max: sync.call_seconds_max,
            default_from: sync.default_from(),
            skip: sync.skip.clone(),
            check_look_back: self.options().jobs.check_look_back,
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

/// Which source counts more must be clear.
fn check_ranks(sources: &[Arc<dyn Source>]) -> Result<()> {
    for (index, source) in sources.iter().enumerate() {
        if let Some(other) = sources[..index].iter().find(|other| other.rank() == source.rank()) {
            let (one, two, rank) = (other.name(), source.name(), source.rank());
            let hint = format!("set sources.{two}.rank to another number: 1 counts most");
            return Err(Error::invalid(format!("the sources {one} and {two} have the same rank {rank}")).hint(hint));
        }
    }
    Ok(())
}

/// Writes to stdout; a reader that went away ends the program quietly, as it does for other tools.
pub fn print(text: &str) -> Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| Error::storage("writing to stdout failed").caused_by(error)),
    }
}

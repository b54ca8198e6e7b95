//! Connections: a bounded pool, TLS where the address asks for it, and sessions that never go back half way through a
//! transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use super::fault::{Fault, Step};
use super::values::quoted;
use crate::model::{Error, Result};
use crate::postgres::Address;

/// How the database is used.
#[derive(Clone, Debug, PartialEq)]
pub struct PostgresOptions {
    /// Create the schema and the ledger when they are missing.
    pub create: bool,
    /// Open a store into which a copy has not been finished, too.
    pub unfinished: bool,
    /// Where the tables are; several stores may live in one database.
    pub schema: String,
    /// Connections at the same time.
    pub connections: usize,
    /// Seconds to wait for one of them.
    pub wait_seconds: u64,
    /// Seconds for a connection to be made.
    pub connect_seconds: u64,
    /// Seconds for one statement of a commit or a read of the ledger; 0: no limit. Scans have none.
    pub statement_seconds: u64,
    /// Seconds to wait for somebody else's lock.
    pub lock_seconds: u64,
    /// Seconds for which a step is tried again when the server went away.
    pub reconnect_seconds: u64,
    /// Rows in a batch of a scan.
    pub scan_batch_rows: usize,
}

impl Default for PostgresOptions {
    fn default() -> PostgresOptions {
        PostgresOptions {
            create: false,
            unfinished: false,
            schema: "tidegate".to_owned(),
            connections: 8,
            wait_seconds: 30,
            connect_seconds: 10,
            statement_seconds: 600,
            lock_seconds: 120,
            reconnect_seconds: 60,
            scan_batch_rows: 8_192,
        }
    }
}

/// Connections to the address, at most so many at a time.
pub(super) fn pool(address: &Address, options: &PostgresOptions) -> Result<Pool> {
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match address.config().get_ssl_mode() {
        SslMode::Disable => Manager::from_config(address.config().clone(), NoTls, manager_config),
        _ => Manager::from_config(address.config().clone(), address.tls()?, manager_config),
    };
    let settings = settings(options);
    let set = Hook::async_fn(move |client, _| {
        let settings = settings.clone();
        Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
    });
    let pool = Pool::builder(manager)
        .max_size(options.connections.max(2))
        .wait_timeout(Some(Duration::from_secs(options.wait_seconds)))
        .create_timeout(Some(Duration::from_secs(options.connect_seconds)))
        .runtime(Runtime::Tokio1)
        .post_create(set);
    pool.build().map_err(|error| Error::bug("making a pool of connections failed").caused_by(error))
}

/// What every connection is told first.
fn settings(options: &PostgresOptions) -> String {
    format!(
        "set search_path to {}; set statement_timeout to '{}s'; set lock_timeout to '{}s'; \
         set time zone 'Asia/Shanghai'; set standard_conforming_strings to on; set client_min_messages to warning; \
         set extra_float_digits to 1",
        quoted(&options.schema),
        options.statement_seconds,
        options.lock_seconds
    )
}

/// A connection in use. Dropped within a transaction it is closed, so that nobody goes on in it.
pub(super) struct Session {
    client: Option<Object>,
    in_transaction: AtomicBool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && self.in_transaction.load(Ordering::Relaxed)
        {
            drop(Object::take(client));
        }
    }
}

impl Session {
    pub(super) async fn open(pool: &Pool) -> Step<Session> {
        Ok(Session { client: Some(pool.get().await?), in_transaction: AtomicBool::new(false) })
    }

    pub(super) fn client(&self) -> Step<&Object> {
        self.client.as_ref().ok_or_else(|| Fault::Stated(Error::bug("a session has lost its connection")))
    }

    pub(super) async fn begin(&self, how: &str) -> Step<()> {
        self.in_transaction.store(true, Ordering::Relaxed);
        self.run(&format!("begin {how}")).await
    }

    pub(super) async fn commit(&self) -> Step<()> {
        self.run("commit").await?;
        self.in_transaction.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Ends a transaction that failed; a connection that cannot even do that is closed when the session ends.
    pub(super) async fn roll_back(&self) {
        if self.run("rollback").await.is_ok() {
            self.in_transaction.store(false, Ordering::Relaxed);
        }
    }

    /// Statements without parameters and without an answer.
    pub(super) async fn run(&self, sql: &str) -> Step<()> {
        Ok(self.client()?.batch_execute(sql).await?)
    }

    /// A statement that is used again: it stays prepared.
    pub(super) async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Step<Vec<Row>> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, values).await?)
    }

    pub(super) async fn query_one(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Step<Row> {
        let row = self.query(sql, values).await?.into_iter().next();
        row.ok_or_else(|| Fault::Stated(Error::bug("a question that always has an answer had none")))
    }

    pub(super) async fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Step<u64> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.execute(&statement, values).await?)
    }

    /// A question that is asked once, with its values inside.
    pub(super) async fn ask(&self, sql: &str) -> Step<Vec<Row>> {
        Ok(self.client()?.query_typed(sql, &[]).await?)
    }

    /// A number from a question that is asked once.
    pub(super) async fn ask_count(&self, sql: &str) -> Step<u64> {
        let rows = self.ask(sql).await?;
        let count: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
        Ok(count as u64)
    }

    /// Nobody else holds this lock until the transaction ends.
    pub(super) async fn lock(&self, number: i64) -> Step<()> {
        self.execute("select pg_advisory_xact_lock($1)", &[&number]).await?;
        Ok(())
    }
}

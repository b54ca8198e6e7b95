//! The store for teams: a schema of a PostgreSQL database. Its tables are meant to be read by people, too.
//!
//! All SQL of this engine is in this folder. Several processes may use one store: tasks are shared by leases, quotas by
//! places, and commits to one table follow each other.

mod by_source;
mod claims;
mod commit;
mod conflicts;
mod connection;
mod copy;
mod decide;
mod decode;
mod definitions;
mod deliveries;
mod duties;
mod encode;
mod fault;
mod health;
mod index;
mod journal;
mod messages;
mod migrate;
mod partitions;
mod places;
mod prepare;
mod read;
mod received;
mod reconciliations;
mod rows;
mod runs;
mod scan;
mod stage;
mod table;
mod tasks;
mod transfer;
mod values;
mod withdraw;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant as Moment};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio::sync::watch;

pub use connection::PostgresOptions;

use self::commit::{Tables, Target};
use self::connection::Session;
use self::fault::{Fault, Step};
use self::partitions::Partitions;
use self::table::Table;
use super::by_source::Counted;
use super::ledger::tell;
use super::{
    BatchStream, CommitRecord, EventTrace, PieceStream, QuarantinedRow, RowsBySource, Running, Scan, Store, Summary,
    TracesWanted,
};
use crate::model::copy::Piece;
use crate::model::reconciliation::{Difference, DifferencesWanted, Report, ReportsWanted};
use crate::model::{
    Attempt, AttemptsWanted, BlockedKey, Clock, Commit, Coverage, Dataset, Day, Definition, DeliveriesWanted, Delivery,
    DeliveryFigures, Error, Event, EventType, Failure, FiguresSince, Health, JournalEntry, JournalWanted, Message,
    Query, Receipt, Received, ReceivedWanted, Result, RowConflict, Run, RunId, RunsWanted, Span, Task, TaskId,
    definition,
};
use crate::postgres::Address;

/// Batches of a scan that wait for their reader.
const BATCHES_WAITING_MAX: usize = 2;
/// The first wait before a step is tried again, in milliseconds; it doubles up to `RETRY_CAP_MS`.
const RETRY_FIRST_MS: u64 = 50;
const RETRY_CAP_MS: u64 = 2_000;

/// The store in a PostgreSQL database. Clones share the connections.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

struct Shared {
    pool: Pool,
    /// Server, database and schema for people.
    place: String,
    options: PostgresOptions,
    tables: RwLock<Tables>,
    partitions: Partitions,
    counted: Counted,
    /// The number of the next commit: unlike those of every other process.
    token: AtomicI64,
    committed: watch::Sender<u64>,
}

/// Runs a step, again and again while the server is away, for `store.postgres.reconnect_seconds`.
macro_rules! step {
    ($self:ident, $doing:expr, $step:expr) => {{
        let mut patience = Patience::new($self.0.options.reconnect_seconds);
        loop {
            let result = $step;
            match result {
                Err(fault) if fault.may_pass() && patience.waits().await => {}
                result => break result.map_err(|fault: Fault| fault.explain(&$self.0.place, $doing)),
            }
        }
    }};
}

/// How long somebody waits for a server that went away.
struct Patience {
    until: Moment,
    wait_ms: u64,
}

impl Patience {
    fn new(seconds: u64) -> Patience {
        Patience { until: Moment::now() + Duration::from_secs(seconds), wait_ms: RETRY_FIRST_MS }
    }

    /// Waits a little; `false` when there is no time left.
    async fn waits(&mut self) -> bool {
        let wait = Duration::from_millis(self.wait_ms);
        if Moment::now() + wait > self.until {
            return false;
        }
        tokio::time::sleep(wait).await;
        self.wait_ms = (self.wait_ms * 2).min(RETRY_CAP_MS);
        true
    }
}

impl PostgresStore {
    /// Opens the store in the database at `url`. A missing schema is created only if the options say so. No more
    /// rights are needed than those of the owner of the database, or of the schema.
    pub async fn open(url: &str, options: PostgresOptions, clock: Clock) -> Result<PostgresStore> {
        let address = Address::read(url, "store.url", Duration::from_secs(options.connect_seconds))?;
        let pool = connection::pool(&address, &options)?;
        let shared = Shared {
            place: format!("{} schema {}", address.server(), options.schema),
            pool,
            tables: RwLock::default(),
            partitions: Partitions::default(),
            counted: Counted::new(clock.clone()),
            token: AtomicI64::new(first_token(&clock)),
            committed: watch::Sender::new(0),
            options,
        };
        let store = PostgresStore(Arc::new(shared));
        let now = clock.now();
        let migrate = async || {
            let session = store.session().await?;
            migrate::migrate(&session, &store.0.options.schema, store.0.options.create, now).await?;
            if store.0.options.unfinished { Ok(()) } else { transfer::check_whole(&session).await }
        };
        // The first attempt fails at once: an address that is wrong stays so.
        migrate().await.map_err(|fault| fault.explain(&store.0.place, "opening the store"))?;
        Ok(store)
    }

    async fn session(&self) -> Step<Session> {
        Session::open(&self.0.pool).await
    }

    /// A session that reads one moment.
    async fn moment(&self) -> Step<Session> {
        let session = self.session().await?;
        session.begin("isolation level repeatable read read only").await?;
        Ok(session)
    }

    /// A session for a scan: the moment that is read is that of this call, however long the reader takes.
    async fn scanning(&self) -> Step<Session> {
        let session = self.moment().await?;
        session.run("set local statement_timeout = 0; select 1").await?;
        Ok(session)
    }

    fn tables(&self) -> Tables {
        self.0.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn table(&self, name: &str) -> Result<Arc<Table>> {
        let missing = || Error::not_found(format!("the store has no table {name:?}")).hint("see `tidegate datasets`");
        self.tables().get(name).cloned().ok_or_else(missing)
    }

    async fn try_commit(&self, commit: &Commit, token: i64, again: bool) -> Step<Receipt> {
        let session = self.session().await?;
        if again && let Some(receipt) = commit::known_receipt(&session, token).await? {
            return Ok(receipt);
        }
        let tables = self.tables();
        let partitions = Partitions::for_transaction(&self.0.partitions);
        let target =
            Target { session: &session, schema: &self.0.options.schema, tables: &tables, partitions: &partitions };
        match commit::commit(target, commit, token).await {
            Ok(receipt) => {
                self.0.partitions.learn(partitions);
                Ok(receipt)
            }
            // The commit whose answer was lost became true in the meantime.
            Err(fault) if fault.is_known_token() => {
                let known = commit::known_receipt(&session, token).await?;
                known.ok_or(fault)
            }
            Err(fault) => Err(fault),
        }
    }
}

/// Process and time make numbers of commits that no other process gives.
fn first_token(clock: &Clock) -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let entropy = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), clock.now());
    (since.as_nanos() as i64) ^ (entropy as i64) ^ (i64::from(std::process::id()) << 40)
}

#[async_trait]
impl Scan for PostgresStore {
    async fn scan(&self, query: &Query) -> Result<BatchStream> {
        let plan = scan::Plan::new(self.table(&query.dataset)?, query)?;
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(BATCHES_WAITING_MAX);
        let session = step!(self, "reading", self.scanning().await)?;
        let (place, batch_rows) = (self.0.place.clone(), self.0.options.scan_batch_rows.max(1));
        tokio::spawn(async move {
            let read = async {
                // A session that is dropped half way closes its connection, and with it the rest of the answer.
                if plan.run(&session, batch_rows, &sender).await? { session.commit().await } else { Ok(()) }
            };
            if let Err(fault) = read.await {
                // Nobody is left to be told when the receiver is gone.
                let _ = sender.send(Err(fault.explain(&place, "reading"))).await;
            }
        });
        let next = |mut receiver: tokio::sync::mpsc::Receiver<Result<RecordBatch>>| async {
            receiver.recv().await.map(|batch| (batch, receiver))
        };
        Ok(Box::pin(futures::stream::unfold(receiver, next)))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn prepare(&self, datasets: &[Arc<Dataset>]) -> Result<()> {
        let tables = datasets.iter().cloned().map(Table::new).collect::<Result<Vec<_>>>()?;
        let schema = &self.0.options.schema;
        step!(
            self,
            "preparing the tables",
            async {
                let session = self.session().await?;
                prepare::prepare(&session, schema, &tables).await
            }
            .await
        )?;
        let mut known = self.0.tables.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(tables.into_iter().map(|table| (table.name().to_owned(), Arc::new(table))));
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Receipt> {
        let token = self.0.token.fetch_add(1, Ordering::Relaxed);
        let mut again = false;
        let receipt = step!(self, "committing", {
            let result = self.try_commit(&commit, token, again).await;
            again = true;
            result
        })?;
        tell(&self.0.committed, &receipt);
        Ok(receipt)
    }

    async fn coverage(&self, dataset: &str) -> Result<Coverage> {
        step!(
            self,
            "reading the coverage",
            async {
                let session = self.moment().await?;
                let coverage = read::coverage(&session, dataset).await?;
                session.commit().await.map(|()| coverage)
            }
            .await
        )
    }

    async fn rows_by_source(&self, dataset: &str) -> Result<RowsBySource> {
        let table = self.table(dataset)?;
        let count = async |known| -> Step<_> {
            let session = self.scanning().await?;
            let counted = by_source::count(&session, &table, known).await?;
            session.commit().await.map(|()| counted)
        };
        let doing = "counting rows by source";
        self.0.counted.get(dataset, async |known| step!(self, doing, count(known).await)).await
    }

    async fn tasks(&self, limit: usize) -> Result<Vec<Task>> {
        step!(self, "reading the tasks", async { tasks::tasks(&self.session().await?, limit).await }.await)
    }

    async fn task(&self, id: i64) -> Result<Option<Task>> {
        step!(self, "reading a task", async { tasks::task(&self.session().await?, id).await }.await)
    }

    async fn open_tasks(&self) -> Result<Vec<Task>> {
        step!(self, "reading the open tasks", async { tasks::open_tasks(&self.session().await?).await }.await)
    }

    async fn failures(&self, dataset: Option<&str>, all: bool) -> Result<Vec<Failure>> {
        let doing = "reading the failures";
        step!(self, doing, async { tasks::failures(&self.session().await?, dataset, all).await }.await)
    }

    async fn quota_used(&self, source: &str, day: Day) -> Result<Vec<(String, u64)>> {
        let doing = "reading the quotas";
        step!(self, doing, async { tasks::quota_used(&self.session().await?, source, day).await }.await)
    }

    async fn health(&self) -> Result<Vec<Health>> {
        let doing = "reading the health of the sources";
        step!(self, doing, async { health::all(&self.session().await?).await }.await)
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>> {
        step!(self, "reading the events", async { read::events(&self.session().await?, after, limit).await }.await)
    }

    async fn events_of(&self, kind: EventType, dataset: &str, before: Option<u64>, limit: usize) -> Result<Vec<Event>> {
        let doing = "reading the events";
        step!(self, doing, async { read::events_of(&self.session().await?, kind, dataset, before, limit).await }.await)
    }

    async fn task_events(&self, task: TaskId, limit: usize) -> Result<Vec<Event>> {
        let doing = "reading the events";
        step!(self, doing, async { read::task_events(&self.session().await?, task, limit).await }.await)
    }

    async fn commits(&self, dataset: &str, span: Span, limit: usize) -> Result<Vec<CommitRecord>> {
        let doing = "reading the commits";
        step!(self, doing, async { read::commits(&self.session().await?, dataset, span, limit).await }.await)
    }

    async fn quarantine(&self, dataset: Option<&str>, limit: usize) -> Result<Vec<QuarantinedRow>> {
        let doing = "reading the quarantine";
        step!(self, doing, async { read::quarantine(&self.session().await?, dataset, limit).await }.await)
    }

    async fn conflicts(&self, dataset: Option<&str>, all: bool, limit: usize) -> Result<Vec<RowConflict>> {
        let doing = "reading the conflicts";
        step!(self, doing, async { conflicts::conflicts(&self.session().await?, dataset, all, limit).await }.await)
    }

    async fn conflict(&self, id: i64) -> Result<Option<RowConflict>> {
        step!(self, "reading a conflict", async { conflicts::conflict(&self.session().await?, id).await }.await)
    }

    /// Leases say who runs which task, so that nobody has to be alone.
    async fn run_exclusively(&self) -> Result<Running> {
        Ok(Running::new(Box::new(())))
    }

    async fn runs(&self, wanted: &RunsWanted) -> Result<Vec<Run>> {
        step!(self, "reading the runs", async { runs::runs(&self.session().await?, wanted).await }.await)
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        step!(self, "reading a run", async { runs::run(&self.session().await?, id).await }.await)
    }

    async fn definitions(&self, kind: definition::Kind) -> Result<Vec<Definition>> {
        step!(self, "reading the definitions", async { definitions::all(&self.session().await?, kind).await }.await)
    }

    async fn definition(&self, kind: definition::Kind, name: &str) -> Result<Option<Definition>> {
        let doing = "reading a definition";
        step!(self, doing, async { definitions::one(&self.session().await?, kind, name).await }.await)
    }

    async fn journal(&self, wanted: &JournalWanted) -> Result<Vec<JournalEntry>> {
        step!(self, "reading the journal", async { journal::entries(&self.session().await?, wanted).await }.await)
    }

    async fn messages(&self, events: &[u64]) -> Result<Vec<Message>> {
        let doing = "reading published events";
        step!(self, doing, async { messages::messages(&self.session().await?, events).await }.await)
    }

    async fn message(&self, source: &str, id: &str) -> Result<Option<Message>> {
        let doing = "reading a published event";
        step!(self, doing, async { messages::message(&self.session().await?, source, id).await }.await)
    }

    async fn received(&self, inbound: &str, source: &str, id: &str) -> Result<Option<Received>> {
        let doing = "reading a received message";
        step!(self, doing, async { received::one(&self.session().await?, inbound, source, id).await }.await)
    }

    async fn receipts(&self, wanted: &ReceivedWanted) -> Result<Vec<Received>> {
        let doing = "reading received messages";
        step!(self, doing, async { received::some(&self.session().await?, wanted).await }.await)
    }

    async fn next_number(&self, series: &str) -> Result<u64> {
        step!(self, "reading a series", async { messages::next_number(&self.session().await?, series).await }.await)
    }

    async fn cursor(&self, name: &str) -> Result<u64> {
        step!(self, "reading a cursor", async { messages::cursor(&self.session().await?, name).await }.await)
    }

    async fn place(&self, name: &str) -> Result<Option<String>> {
        step!(self, "reading a place", async { messages::place(&self.session().await?, name).await }.await)
    }

    async fn reconciliations(&self, wanted: &ReportsWanted) -> Result<Vec<Report>> {
        step!(
            self,
            "reading the reports",
            async { reconciliations::reports(&self.session().await?, wanted).await }.await
        )
    }

    async fn reconciliation(&self, id: i64) -> Result<Option<Report>> {
        step!(self, "reading a report", async { reconciliations::report(&self.session().await?, id).await }.await)
    }

    async fn differences(&self, wanted: &DifferencesWanted) -> Result<Vec<Difference>> {
        step!(
            self,
            "reading differences",
            async { reconciliations::differences(&self.session().await?, wanted).await }.await
        )
    }

    async fn traces(&self, wanted: &TracesWanted) -> Result<Vec<EventTrace>> {
        step!(self, "tracing events", async { reconciliations::traces(&self.session().await?, wanted).await }.await)
    }

    async fn waiting_up_to(&self, subscription: &str, event: u64) -> Result<u64> {
        step!(
            self,
            "reading deliveries",
            async { reconciliations::waiting(&self.session().await?, subscription, event).await }.await
        )
    }

    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Vec<Delivery>> {
        let doing = "reading the deliveries";
        step!(self, doing, async { deliveries::deliveries(&self.session().await?, wanted).await }.await)
    }

    async fn blocked_keys(&self, subscription: Option<&str>, limit: usize) -> Result<Vec<BlockedKey>> {
        let doing = "reading the blocked keys";
        step!(self, doing, async { deliveries::blocked(&self.session().await?, subscription, limit).await }.await)
    }

    async fn attempts(&self, wanted: &AttemptsWanted) -> Result<Vec<Attempt>> {
        let doing = "reading the attempts";
        step!(self, doing, async { deliveries::attempts(&self.session().await?, wanted).await }.await)
    }

    async fn delivery_figures(&self, since: FiguresSince) -> Result<Vec<DeliveryFigures>> {
        let doing = "reading the figures of deliveries";
        step!(self, doing, async { deliveries::figures(&self.session().await?, since).await }.await)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.subscribe()
    }

    async fn export(&self) -> Result<PieceStream> {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Piece>>(BATCHES_WAITING_MAX);
        let session = step!(self, "copying", self.scanning().await)?;
        let (place, tables, piece_rows) = (self.0.place.clone(), self.tables(), self.0.options.scan_batch_rows.max(1));
        tokio::spawn(async move {
            let read = async {
                // A session that is dropped half way closes its connection, and with it the rest of the answer.
                let whole = transfer::export(&session, &tables, piece_rows, &sender).await?;
                if whole { session.commit().await } else { Ok(()) }
            };
            if let Err(fault) = read.await {
                // Nobody is left to be told when the receiver is gone.
                let _ = sender.send(Err(fault.explain(&place, "copying"))).await;
            }
        });
        let next = |mut receiver: tokio::sync::mpsc::Receiver<Result<Piece>>| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        };
        Ok(Box::pin(futures::stream::unfold(receiver, next)))
    }

    fn shares_tasks(&self) -> bool {
        true
    }

    async fn summary(&self) -> Result<Summary> {
        let schema = &self.0.options.schema;
        step!(
            self,
            "reading the summary",
            async { read::summary(&self.session().await?, &self.0.place, schema).await }.await
        )
    }
}

//! The embedded store: one SQLite file with a write-ahead log. Its tables are meant to be read by people, too.
//!
//! All SQL of this engine is in this folder. Writing goes through one connection under a lock, reading through a few
//! others, and both on threads that may block.

mod by_source;
mod cells;
mod claims;
mod commit;
mod conflicts;
mod connection;
mod copy;
mod definitions;
mod deliveries;
mod duties;
mod fault;
mod health;
mod journal;
mod messages;
mod migrate;
mod places;
mod prepare;
mod ranks;
mod read;
mod received;
mod reconciliations;
mod rows;
mod rules;
mod running;
mod runs;
mod scan;
mod table;
mod tasks;
mod withdraw;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::watch;

pub use connection::{SqliteOptions, Synchronous};

use self::commit::Tables;
use self::connection::Readers;
use self::fault::Step;
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
    DeliveryFigures, Error, ErrorKind, Event, EventType, Failure, FiguresSince, Health, JournalEntry, JournalWanted,
    Message, Query, Receipt, Received, ReceivedWanted, Result, RowConflict, Run, RunId, RunsWanted, Span, Task, TaskId,
    definition,
};

/// Batches of a scan that wait for their reader.
const BATCHES_WAITING_MAX: usize = 2;

/// The embedded store. Clones share the connections.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    path: PathBuf,
    options: SqliteOptions,
    writer: Mutex<Connection>,
    readers: Readers,
    tables: RwLock<Tables>,
    counted: Counted,
    committed: watch::Sender<u64>,
}

impl SqliteStore {
    /// Opens the store in `path`. A missing file is created only if the options say so.
    pub fn open(path: &Path, options: SqliteOptions, clock: Clock) -> Result<SqliteStore> {
        let writer = connection::open_writer(path, &options, clock.now())?;
        Ok(SqliteStore(Arc::new(Shared {
            path: path.to_owned(),
            options,
            writer: Mutex::new(writer),
            readers: Readers::default(),
            tables: RwLock::default(),
            counted: Counted::new(clock),
            committed: watch::Sender::new(0),
        })))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> Result<T> + Send + 'static) -> Result<T> {
        let shared = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(Error::new(ErrorKind::Interrupted, "the program is stopping")),
            Err(error) => Err(Error::bug("a step of the store panicked").caused_by(error)),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection, &Shared) -> Step<T> + Send + 'static,
    ) -> Result<T> {
        let step = move |shared: &Shared| {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut writer, shared).map_err(|fault| fault.explain(&shared.path, doing))
        };
        self.blocking(step).await
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Step<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking(move |shared| shared.read(doing, work)).await
    }

    fn table(&self, name: &str) -> Result<Arc<Table>> {
        let tables = self.0.tables();
        let missing = || Error::not_found(format!("the store has no table {name:?}")).hint("see `tidegate datasets`");
        tables.get(name).cloned().ok_or_else(missing)
    }
}

impl Shared {
    fn tables(&self) -> Tables {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read<T>(&self, doing: &str, work: impl FnOnce(&Connection) -> Step<T>) -> Result<T> {
        let result = self.readers.with(&self.path, &self.options, work);
        result.map_err(|fault| fault.explain(&self.path, doing))
    }

    fn prepare(&self, writer: &mut Connection, datasets: Vec<Arc<Dataset>>) -> Step<()> {
        let tables = datasets.into_iter().map(Table::new).collect::<Result<Vec<_>>>()?;
        prepare::prepare(writer, &tables)?;
        let mut known = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(tables.into_iter().map(|table| (table.name().to_owned(), Arc::new(table))));
        Ok(())
    }
}

#[async_trait]
impl Scan for SqliteStore {
    async fn scan(&self, query: &Query) -> Result<BatchStream> {
        let plan = scan::Plan::new(self.table(&query.dataset)?, query)?;
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(BATCHES_WAITING_MAX);
        let shared = self.0.clone();
        tokio::task::spawn_blocking(move || {
            let batch_rows = shared.options.scan_batch_rows.max(1);
            let send = |batch| sender.blocking_send(Ok(batch)).is_ok();
            if let Err(error) = shared.read("reading", |connection| plan.run(connection, batch_rows, send)) {
                // Nobody is left to be told when the receiver is gone.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let next = |mut receiver: tokio::sync::mpsc::Receiver<Result<RecordBatch>>| async {
            receiver.recv().await.map(|batch| (batch, receiver))
        };
        Ok(Box::pin(futures::stream::unfold(receiver, next)))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn prepare(&self, datasets: &[Arc<Dataset>]) -> Result<()> {
        let datasets = datasets.to_vec();
        self.write("preparing the tables", move |writer, shared| shared.prepare(writer, datasets)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Receipt> {
        let work = move |writer: &mut Connection, shared: &Shared| {
            let receipt = commit::commit(writer, &shared.tables(), &commit)?;
            tell(&shared.committed, &receipt);
            Ok(receipt)
        };
        self.write("committing", work).await
    }

    async fn coverage(&self, dataset: &str) -> Result<Coverage> {
        let dataset = dataset.to_owned();
        self.read("reading the coverage", move |connection| read::coverage(connection, &dataset)).await
    }

    async fn rows_by_source(&self, dataset: &str) -> Result<RowsBySource> {
        let table = self.table(dataset)?;
        let count =
            |known| self.read("counting rows by source", move |connection| by_source::count(connection, &table, known));
        self.0.counted.get(dataset, count).await
    }

    async fn tasks(&self, limit: usize) -> Result<Vec<Task>> {
        self.read("reading the tasks", move |connection| tasks::tasks(connection, limit)).await
    }

    async fn task(&self, id: i64) -> Result<Option<Task>> {
        self.read("reading a task", move |connection| tasks::task(connection, id)).await
    }

    async fn open_tasks(&self) -> Result<Vec<Task>> {
        self.read("reading the open tasks", tasks::open_tasks).await
    }

    async fn failures(&self, dataset: Option<&str>, all: bool) -> Result<Vec<Failure>> {
        let dataset = dataset.map(str::to_owned);
        self.read("reading the failures", move |connection| tasks::failures(connection, dataset.as_deref(), all)).await
    }

    async fn quota_used(&self, source: &str, day: Day) -> Result<Vec<(String, u64)>> {
        let source = source.to_owned();
        self.read("reading the quotas", move |connection| tasks::quota_used(connection, &source, day)).await
    }

    async fn health(&self) -> Result<Vec<Health>> {
        self.read("reading the health of the sources", health::all).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.read("reading the events", move |connection| read::events(connection, after, limit)).await
    }

    async fn events_of(&self, kind: EventType, dataset: &str, before: Option<u64>, limit: usize) -> Result<Vec<Event>> {
        let dataset = dataset.to_owned();
        let work = move |connection: &Connection| read::events_of(connection, kind, &dataset, before, limit);
        self.read("reading the events", work).await
    }

    async fn task_events(&self, task: TaskId, limit: usize) -> Result<Vec<Event>> {
        self.read("reading the events", move |connection| read::task_events(connection, task, limit)).await
    }

    async fn commits(&self, dataset: &str, span: Span, limit: usize) -> Result<Vec<CommitRecord>> {
        let dataset = dataset.to_owned();
        let work = move |connection: &Connection| read::commits(connection, &dataset, span, limit);
        self.read("reading the commits", work).await
    }

    async fn quarantine(&self, dataset: Option<&str>, limit: usize) -> Result<Vec<QuarantinedRow>> {
        let dataset = dataset.map(str::to_owned);
        let work = move |connection: &Connection| read::quarantine(connection, dataset.as_deref(), limit);
        self.read("reading the quarantine", work).await
    }

    async fn conflicts(&self, dataset: Option<&str>, all: bool, limit: usize) -> Result<Vec<RowConflict>> {
        let dataset = dataset.map(str::to_owned);
        let work = move |connection: &Connection| conflicts::conflicts(connection, dataset.as_deref(), all, limit);
        self.read("reading the conflicts", work).await
    }

    async fn conflict(&self, id: i64) -> Result<Option<RowConflict>> {
        self.read("reading a conflict", move |connection| conflicts::conflict(connection, id)).await
    }

    async fn runs(&self, wanted: &RunsWanted) -> Result<Vec<Run>> {
        let wanted = wanted.clone();
        self.read("reading the runs", move |connection| runs::runs(connection, &wanted)).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        self.read("reading a run", move |connection| runs::run(connection, id)).await
    }

    async fn definitions(&self, kind: definition::Kind) -> Result<Vec<Definition>> {
        self.read("reading the definitions", move |connection| definitions::all(connection, kind)).await
    }

    async fn definition(&self, kind: definition::Kind, name: &str) -> Result<Option<Definition>> {
        let name = name.to_owned();
        self.read("reading a definition", move |connection| definitions::one(connection, kind, &name)).await
    }

    async fn journal(&self, wanted: &JournalWanted) -> Result<Vec<JournalEntry>> {
        let wanted = wanted.clone();
        self.read("reading the journal", move |connection| journal::entries(connection, &wanted)).await
    }

    async fn messages(&self, events: &[u64]) -> Result<Vec<Message>> {
        let events = events.to_vec();
        self.read("reading published events", move |connection| messages::messages(connection, &events)).await
    }

    async fn message(&self, source: &str, id: &str) -> Result<Option<Message>> {
        let (source, id) = (source.to_owned(), id.to_owned());
        self.read("reading a published event", move |connection| messages::message(connection, &source, &id)).await
    }

    async fn received(&self, inbound: &str, source: &str, id: &str) -> Result<Option<Received>> {
        let (inbound, source, id) = (inbound.to_owned(), source.to_owned(), id.to_owned());
        let work = move |connection: &Connection| received::one(connection, &inbound, &source, &id);
        self.read("reading a received message", work).await
    }

    async fn receipts(&self, wanted: &ReceivedWanted) -> Result<Vec<Received>> {
        let wanted = wanted.clone();
        self.read("reading received messages", move |connection| received::some(connection, &wanted)).await
    }

    async fn next_number(&self, series: &str) -> Result<u64> {
        let series = series.to_owned();
        self.read("reading a series", move |connection| messages::next_number(connection, &series)).await
    }

    async fn cursor(&self, name: &str) -> Result<u64> {
        let name = name.to_owned();
        self.read("reading a cursor", move |connection| messages::cursor(connection, &name)).await
    }

    async fn place(&self, name: &str) -> Result<Option<String>> {
        let name = name.to_owned();
        self.read("reading a place", move |connection| messages::place(connection, &name)).await
    }

    async fn reconciliations(&self, wanted: &ReportsWanted) -> Result<Vec<Report>> {
        let wanted = wanted.clone();
        self.read("reading the reports", move |connection| reconciliations::reports(connection, &wanted)).await
    }

    async fn reconciliation(&self, id: i64) -> Result<Option<Report>> {
        self.read("reading a report", move |connection| reconciliations::report(connection, id)).await
    }

    async fn differences(&self, wanted: &DifferencesWanted) -> Result<Vec<Difference>> {
        let wanted = wanted.clone();
        self.read("reading differences", move |connection| reconciliations::differences(connection, &wanted)).await
    }

    async fn traces(&self, wanted: &TracesWanted) -> Result<Vec<EventTrace>> {
        let wanted = wanted.clone();
        self.read("tracing events", move |connection| reconciliations::traces(connection, &wanted)).await
    }

    async fn waiting_up_to(&self, subscription: &str, event: u64) -> Result<u64> {
        let subscription = subscription.to_owned();
        let work = move |connection: &Connection| reconciliations::waiting(connection, &subscription, event);
        self.read("reading deliveries", work).await
    }

    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Vec<Delivery>> {
        let wanted = wanted.clone();
        self.read("reading the deliveries", move |connection| deliveries::deliveries(connection, &wanted)).await
    }

    async fn blocked_keys(&self, subscription: Option<&str>, limit: usize) -> Result<Vec<BlockedKey>> {
        let subscription = subscription.map(str::to_owned);
        let work = move |connection: &Connection| deliveries::blocked(connection, subscription.as_deref(), limit);
        self.read("reading the blocked keys", work).await
    }

    async fn attempts(&self, wanted: &AttemptsWanted) -> Result<Vec<Attempt>> {
        let wanted = wanted.clone();
        self.read("reading the attempts", move |connection| deliveries::attempts(connection, &wanted)).await
    }

    async fn delivery_figures(&self, since: FiguresSince) -> Result<Vec<DeliveryFigures>> {
        self.read("reading the figures of deliveries", move |connection| deliveries::figures(connection, since)).await
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.subscribe()
    }

    async fn export(&self) -> Result<PieceStream> {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Piece>>(BATCHES_WAITING_MAX);
        let (shared, tables) = (self.0.clone(), self.0.tables());
        tokio::task::spawn_blocking(move || {
            let piece_rows = shared.options.scan_batch_rows.max(1);
            let mut send = |piece| sender.blocking_send(Ok(piece)).is_ok();
            let exported =
                shared.read("copying", |connection| copy::export(connection, &tables, piece_rows, &mut send));
            if let Err(error) = exported {
                // Nobody is left to be told when the receiver is gone.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let next = |mut receiver: tokio::sync::mpsc::Receiver<Result<Piece>>| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        };
        Ok(Box::pin(futures::stream::unfold(receiver, next)))
    }

    fn shares_tasks(&self) -> bool {
        self.0.options.shared
    }

    async fn run_exclusively(&self) -> Result<Running> {
        let lock = |shared: &Shared| running::lock(&shared.path, shared.options.shared);
        self.blocking(move |shared| lock(shared).map(|file| Running::new(Box::new(file)))).await
    }

    async fn summary(&self) -> Result<Summary> {
        let path = self.0.path.clone();
        self.read("reading the summary", move |connection| read::summary(connection, &path)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task::Request;
    use crate::model::{Change, Instant, Securities};

    /// A commit on a connection with this pragma, which stands for what is wrong with the disk.
    async fn refused_under(pragma: &str, good: &str) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { create: true, ..SqliteOptions::default() };
        let store = SqliteStore::open(&folder.path().join("market.db"), options, Clock::fixed(Instant(0))).unwrap();
        let set = |sql: &str| store.0.writer.lock().unwrap().execute_batch(sql).unwrap();
        let how = crate::model::How::default();
        let request = Request { securities: Securities::All, from: None, to: None, force: false, source: None, how };
        let note = Some("long".repeat(50_000));
        let task = |dataset: &str| {
            Change::Task(Task { note: note.clone(), ..Task::new(dataset, request.clone(), Instant(0)) })
        };
        let commit = |dataset: &str| Commit { at: Instant(0), fence: None, changes: vec![task(dataset)] };
        set(pragma);
        let error = store.commit(commit("daily")).await.unwrap_err();
        assert!(store.tasks(9).await.unwrap().is_empty() && store.events(0, 9).await.unwrap().is_empty());
        set(good);
        store.commit(commit("daily")).await.unwrap();
        error
    }

    #[tokio::test]
    async fn a_full_disk_and_a_read_only_file_lose_nothing_and_name_the_remedy() {
        for (pragma, good, hint) in [
            ("pragma max_page_count = 1", "pragma max_page_count = 1000000", "free space"),
            ("pragma query_only = on", "pragma query_only = off", "writable"),
        ] {
            let error = refused_under(pragma, good).await;
            assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
            assert!(error.message().contains("market.db"), "{error}");
            assert!(error.hint_text().unwrap().contains(hint), "{error}: {:?}", error.hint_text());
        }
    }
}

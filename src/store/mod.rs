//! Stores: rows, ledger and event log behind one seam.

mod by_source;
pub mod death;
pub mod deliveries;
pub mod events;
pub mod ledger;
pub mod postgres;
pub mod reconciliations;
pub mod runs;
pub mod sqlite;

use std::sync::Arc;

use arrow_array::RecordBatch;
use async_trait::async_trait;
pub use by_source::{RowsBySource, SourceRows};
use futures::stream::BoxStream;
pub use reconciliations::{EventTrace, TracesWanted};

use tokio::sync::watch;

use crate::model::copy::Piece;
use crate::model::reconciliation::{Difference, DifferencesWanted, Report, ReportsWanted};
use crate::model::{
    Area, Attempt, AttemptsWanted, BlockedKey, Commit, Counts, Coverage, Dataset, Day, Definition, DeliveriesWanted,
    Delivery, DeliveryFigures, Event, EventType, Failure, FiguresSince, Health, Instant, JournalEntry, JournalWanted,
    Message, Quarantined, Query, Receipt, Received, ReceivedWanted, Result, RowConflict, Run, RunId, RunsWanted, Span,
    Task, TaskId, definition,
};

/// Batches of a scan, in the order of the query. Columns as the query names them.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// A whole store, piece by piece.
pub type PieceStream = BoxStream<'static, Result<Piece>>;

/// Anything that answers queries with rows: a store, or the simulated market.
#[async_trait]
pub trait Scan: Send + Sync {
    /// Streams the answer in batches of a bounded number of rows. The rows are those of one moment:
    /// commits that happen during the scan are not seen. Unknown datasets and columns are `NotFound`.
    async fn scan(&self, query: &Query) -> Result<BatchStream>;
}

/// A store. Only `commit` writes rows, claims, tasks, failures and events; everything else reads.
#[async_trait]
pub trait Store: Scan {
    /// Creates or widens the tables of these datasets. Idempotent. A dataset whose key or column types differ from
    /// the stored table is refused as `Conflict`, with nothing changed.
    async fn prepare(&self, datasets: &[Arc<Dataset>]) -> Result<()>;

    /// Applies every change in one transaction, durable when it returns. On error nothing is changed.
    /// A fence that no longer holds is `Conflict`. The same rows twice change nothing the second time.
    async fn commit(&self, commit: Commit) -> Result<Receipt>;

    /// All claims of one dataset with its row counts by day.
    async fn coverage(&self, dataset: &str) -> Result<Coverage>;

    /// The rows of a dataset by the source that wrote them. Counted once and remembered until the dataset changes; a
    /// count that took long rests before it is made again, and says as of when it is.
    async fn rows_by_source(&self, dataset: &str) -> Result<RowsBySource>;

    /// Tasks, newest first, at most `limit`.
    async fn tasks(&self, limit: usize) -> Result<Vec<Task>>;

    async fn task(&self, id: i64) -> Result<Option<Task>>;

    /// Tasks that hold their dataset (pending, running, paused), newest first. Costs what it returns.
    async fn open_tasks(&self) -> Result<Vec<Task>>;

    /// Failures, unresolved ones only unless `all`, oldest first.
    async fn failures(&self, dataset: Option<&str>, all: bool) -> Result<Vec<Failure>>;

    /// Calls recorded for a source on a Beijing day, by API.
    async fn quota_used(&self, source: &str, day: Day) -> Result<Vec<(String, u64)>>;

    /// What is known of every source by hour, oldest first.
    async fn health(&self) -> Result<Vec<Health>>;

    /// Events after `after`, oldest first, at most `limit`.
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>>;

    /// Events of one kind about one dataset, newest first, at most `limit`, only those with a smaller number than
    /// `before`. Costs what it returns, however long the log is.
    async fn events_of(&self, kind: EventType, dataset: &str, before: Option<u64>, limit: usize) -> Result<Vec<Event>>;

    /// What happened in a task, newest first, at most `limit`. Costs what it returns, however long the log is.
    async fn task_events(&self, task: TaskId, limit: usize) -> Result<Vec<Event>>;

    /// Slices of a dataset that were committed and whose days meet `span`, newest first, at most `limit`.
    async fn commits(&self, dataset: &str, span: Span, limit: usize) -> Result<Vec<CommitRecord>>;

    /// Rows kept apart, newest first, at most `limit`: dataset, what is wrong, when.
    async fn quarantine(&self, dataset: Option<&str>, limit: usize) -> Result<Vec<QuarantinedRow>>;

    /// Rows that wait beside stored ones, newest offer first, at most `limit`; resolved ones too if `all`.
    async fn conflicts(&self, dataset: Option<&str>, all: bool, limit: usize) -> Result<Vec<RowConflict>>;

    async fn conflict(&self, id: i64) -> Result<Option<RowConflict>>;

    /// Runs, newest first.
    async fn runs(&self, wanted: &RunsWanted) -> Result<Vec<Run>>;

    async fn run(&self, id: RunId) -> Result<Option<Run>>;

    /// Everything defined of a kind, by name.
    async fn definitions(&self, kind: definition::Kind) -> Result<Vec<Definition>>;

    async fn definition(&self, kind: definition::Kind, name: &str) -> Result<Option<Definition>>;

    /// Records of a journal, newest first.
    async fn journal(&self, wanted: &JournalWanted) -> Result<Vec<JournalEntry>>;

    /// What became of a message that an inbound webhook took in; `None`: it has not taken it in.
    async fn received(&self, inbound: &str, source: &str, id: &str) -> Result<Option<Received>>;

    /// Messages that inbound webhooks took in, newest first.
    async fn receipts(&self, wanted: &ReceivedWanted) -> Result<Vec<Received>>;

    /// The published messages of these events, by number; numbers of other events are left out.
    async fn messages(&self, events: &[u64]) -> Result<Vec<Message>>;

    /// The message with this source and id.
    async fn message(&self, source: &str, id: &str) -> Result<Option<Message>>;

    /// The number that a series gives next; 1 for a new one.
    async fn next_number(&self, series: &str) -> Result<u64>;

    /// Where a cursor in the event log stands: the number of the last event that it has passed; 0 for a new one.
    async fn cursor(&self, name: &str) -> Result<u64>;

    /// Where a reader of somebody else's log stands, in the words of that log.
    async fn place(&self, name: &str) -> Result<Option<String>>;

    /// Reports of reconciliations, newest first.
    async fn reconciliations(&self, wanted: &ReportsWanted) -> Result<Vec<Report>>;

    async fn reconciliation(&self, id: i64) -> Result<Option<Report>>;

    /// Differences of a report, by number. Costs what it returns.
    async fn differences(&self, wanted: &DifferencesWanted) -> Result<Vec<Difference>>;

    /// The last event about each of these, with what became of its delivery; what has no event is left out.
    async fn traces(&self, wanted: &TracesWanted) -> Result<Vec<EventTrace>>;

    /// How many deliveries of a subscription wait whose events are not after this one.
    async fn waiting_up_to(&self, subscription: &str, event: u64) -> Result<u64>;

    /// What subscriptions have not settled yet, in the order of events.
    async fn deliveries(&self, wanted: &DeliveriesWanted) -> Result<Vec<Delivery>>;

    /// Keys that a dead delivery holds up, of one subscription or of all.
    async fn blocked_keys(&self, subscription: Option<&str>, limit: usize) -> Result<Vec<BlockedKey>>;

    /// Attempts to deliver, newest first; oldest first after a number.
    async fn attempts(&self, wanted: &AttemptsWanted) -> Result<Vec<Attempt>>;

    /// How each subscription fares that has a delivery or an attempt, by name.
    async fn delivery_figures(&self, since: FiguresSince) -> Result<Vec<DeliveryFigures>>;

    /// The last event that a commit of this process left in the log, as it happens; 0 before the first one. What other processes write is seen by `events`.
    fn committed(&self) -> watch::Receiver<u64>;

    /// Everything that the store holds as of one moment, in pieces of a bounded number of rows: ledger tables, rows and
    /// revisions with their numbers. `NotFound` when a stored table is not among the prepared datasets.
    async fn export(&self) -> Result<PieceStream>;

    /// Whether several processes may run tasks on this store at the same time. Then tasks are leased, and every call
    /// takes a place in the store; else one process runs tasks and counts its calls itself.
    fn shares_tasks(&self) -> bool;

    /// The right to run tasks on this store, held until it is dropped or the process ends. One process has it at a
    /// time, because its quota gates must count every call; `Conflict` names the holder. A store that shares tasks gives
    /// it to any number of processes that share them.
    async fn run_exclusively(&self) -> Result<Running>;

    /// What the whole store holds, for people: path or address, size, rows by dataset.
    async fn summary(&self) -> Result<Summary>;
}

/// The right to run tasks; given back when dropped.
pub struct Running {
    _held: Box<dyn std::any::Any + Send + Sync>,
}

impl Running {
    pub fn new(held: Box<dyn std::any::Any + Send + Sync>) -> Running {
        Running { _held: held }
    }
}

/// A row of the quarantine.
#[derive(Clone, Debug)]
pub struct QuarantinedRow {
    pub id: i64,
    pub dataset: String,
    pub at: Instant,
    pub source: String,
    pub quarantined: Quarantined,
}

/// One slice that was committed.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitRecord {
    /// `_seq` of every row that it inserted or updated.
    pub seq: i64,
    pub at: Instant,
    pub source: String,
    pub task: Option<TaskId>,
    pub area: Area,
    pub counts: Counts,
}

/// What a store holds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Where it is.
    pub location: String,
    pub bytes: u64,
    pub datasets: Vec<DatasetSummary>,
    pub last_event: u64,
}

#[derive(Clone, Debug, Default)]
pub struct DatasetSummary {
    pub name: String,
    pub rows: u64,
    pub first_day: Option<Day>,
    pub last_day: Option<Day>,
    pub claims: u64,
    pub quarantined: u64,
    pub failures: u64,
    pub last_commit_at: Option<Instant>,
}

//! Changes: everything that can be written. A new thing to write is a new variant here, not a new method of the store.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::area::Area;
use super::claim::Evidence;
use super::clock::Instant;
use super::code::Exchanges;
use super::conflict::Take;
use super::copy::Piece;
use super::dataset::Dataset;
use super::definition;
use super::delivery::Delivery;
use super::event::EventType;
use super::health::Health;
use super::journal::{Journal, JournalEntry};
use super::keys::KeyRange;
use super::message::{Message, Published};
use super::outgoing::{Attempted, Chosen, Decision};
use super::received::Received;
use super::reconciliation::Reconciled;
use super::run::{Run, RunId};
use super::task::{Failure, Task, TaskId, Totals};

/// One atomic step: either all of its changes are in the store with their events, or none is.
#[derive(Clone, Debug)]
pub struct Commit {
    pub at: Instant,
    /// The worker that commits; the store refuses it when the task has been taken over or is no longer running.
    pub fence: Option<Fence>,
    pub changes: Vec<Change>,
}

/// Which task, and which taking-over of it, a commit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    pub task: TaskId,
    pub fence: i64,
}

/// Which run, and which taking-over of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFence {
    pub run: RunId,
    pub fence: i64,
}

#[derive(Clone, Debug)]
pub enum Change {
    Rows(RowsChange),
    /// Creates (id 0) or rewrites a task. Creating one while the dataset has an open task is a conflict that names it.
    /// The totals of an existing task are taken over only from its own worker, in a fenced commit.
    Task(Task),
    /// Takes a pending, paused or orphaned running task over: state running, fence raised by one.
    /// A running task whose lease another worker still holds is a conflict that names the worker.
    TakeTask {
        task: TaskId,
        /// `None`: the caller is the only process that runs tasks on this store.
        lease: Option<Lease>,
    },
    /// The fenced task's worker is alive: nobody else may take the task over before `until`.
    RenewTask {
        until: Instant,
    },
    /// Asks for the right to make one call, where several processes share a source's quota. Answered in
    /// `Receipt::places`. A place that is never answered (its holder died) is free again a minute after `held_until`.
    TakePlace {
        source: String,
        api: String,
        /// Calls in any 60 seconds, and calls per Beijing day; `None`: no limit.
        per_minute: Option<u32>,
        per_day: Option<u64>,
        held_until: Instant,
    },
    /// The call of a place was answered: the place is given away again from `free_at` on.
    AnswerPlace {
        place: i64,
        free_at: Instant,
    },
    /// Adds to the totals of the fenced task; what the commit's own `Rows` counted is added by the store itself.
    Progress(Totals),
    /// Creates or rewrites the unresolved failure of its dataset and area.
    Failure(Failure),
    /// A person (or a later success) settles a failure.
    ResolveFailure {
        id: i64,
        resolution: String,
    },
    /// A person decides a conflict; when the offered row is taken, the same commit carries it as `Rows`. One that is
    /// resolved already stays as it is; an unknown number is `NotFound`.
    ResolveConflict {
        id: i64,
        take: Take,
    },
    /// Calls made, by source, API and Beijing day: added to what is recorded.
    QuotaUsed {
        source: String,
        api: String,
        day: super::day::Day,
        calls: u64,
    },
    /// What happened to the calls of a source within an hour: added to what is recorded of that hour. Hours older than
    /// `HEALTH_HOURS` before it are forgotten.
    SourceHealth(Health),
    /// Creates (id 0) or rewrites a run. A second run of one job and instant, or a second open run of one slot, is a
    /// `Conflict` that names the first; so is rewriting one whose fence has been raised since, or that has ended. What
    /// it was asked for by stays: job, instant, slot, who and when. A run that is cancelled keeps the tasks and totals
    /// that are stored: whoever cancels it has an older copy.
    Run(Run),
    /// Takes a pending run, or a running one whose lease has ended, over: state running, fence raised by one, started at
    /// the commit's time. A pending one begins its next attempt, a running one goes on with the same. Any other is a
    /// `Conflict`.
    TakeRun {
        run: RunId,
        /// `None`: the caller is the only process that runs tasks on this store.
        lease: Option<Lease>,
    },
    /// The run's worker is alive: nobody else may take the run over before `until`. `Conflict` when the fence was raised.
    RenewRun {
        run: RunId,
        fence: i64,
        until: Instant,
    },
    /// Ended runs beyond the newest `keep` of each job (and of those without a job) are forgotten.
    ForgetRuns {
        keep: usize,
    },
    /// Creates or rewrites a definition. `expect`: the revision that it must have, 0 for none at all; another one is a
    /// `Conflict`. The event names it and never holds its body.
    Define {
        kind: definition::Kind,
        name: String,
        body: serde_json::Value,
        expect: Option<u64>,
    },
    /// Removes a definition; one that is not there is no change.
    Undefine {
        kind: definition::Kind,
        name: String,
    },
    /// Adds a record to a journal. Not a fact of the data: no event.
    Journal(JournalEntry),
    /// Records of a journal from before an instant are forgotten.
    ForgetJournal {
        journal: Journal,
        before: Instant,
    },
    /// A business event, with the entry of the log that tells of it. Answered in `Receipt::published`.
    Publish {
        message: Message,
        /// One that is known already, with whatever content, is a `Conflict` for the whole commit.
        expect_new: bool,
    },
    /// Takes the numbers from `first` on of a series. `Conflict` when `first` is not the next one: so a series has no
    /// gap and no number twice.
    Number {
        series: String,
        first: u64,
        count: u64,
    },
    /// Moves a cursor in the event log. `Conflict` when it does not stand at `from`; a new one stands at 0.
    Advance {
        cursor: String,
        from: u64,
        to: u64,
    },
    /// Notes where a reader stands in somebody else's log, in words of that log.
    Stand {
        name: String,
        place: String,
    },
    /// As `Stand`, for a name that has no place yet: one that has is a `Conflict`.
    StandFirst {
        name: String,
        place: String,
    },
    /// Places whose names begin with `prefix` and that were noted before an instant are forgotten.
    ForgetStands {
        prefix: String,
        before: Instant,
    },
    /// Keeps apart what somebody sent and what cannot be taken, where it is not a row of a dataset: an intake's. The same
    /// thing twice is kept once.
    SetAside {
        source: String,
        quarantined: Quarantined,
    },
    /// Takes a duty: something that one process at a time does on a store. `Conflict` while another one's lease lasts.
    TakeDuty {
        duty: String,
        lease: Lease,
    },
    /// Whoever has the duty is alive. `Conflict` when it was taken over.
    RenewDuty {
        duty: String,
        fence: i64,
        until: Instant,
    },
    /// Gives a duty back, so that the next one need not wait for the end of the lease.
    LeaveDuty {
        duty: String,
        fence: i64,
    },
    /// The commit is made on a duty: `Conflict` when it was taken over.
    OnDuty {
        duty: String,
        fence: i64,
    },
    /// Events on their way to subscriptions. One that waits already stays as it is; one that has no attempt left waits
    /// again.
    Deliver(Vec<Delivery>),
    /// Attempts, and what follows for their deliveries. What a person has decided meanwhile stays, unless it is settled.
    Attempted(Vec<Attempted>),
    /// A person decides about deliveries. `NotFound` when one event is named that does not wait.
    Decide {
        subscription: String,
        chosen: Chosen,
        decision: Decision,
        by: String,
    },
    /// Nothing waits any more for a subscription.
    ForgetDeliveries {
        subscription: String,
    },
    /// Attempts from before an instant are forgotten, a bounded number of them in one step.
    ForgetAttempts {
        before: Instant,
    },
    /// Notes a message that an inbound webhook took in. One that this webhook took in before is a `Conflict`.
    Receive(Received),
    /// Says what became of a received message that waited or was stuck: state, attempts, when it is due, note. One that
    /// does not is a `Conflict`.
    Settle(Received),
    /// What webhooks took in before an instant, and what does not wait, is forgotten: it may be taken in again.
    ForgetReceived {
        before: Instant,
    },
    /// The store is about to become a copy of another: it must be empty, or hold a copy that broke off, which is
    /// removed. Until the copy ends, nobody else opens the store.
    CopyBegins {
        from: String,
    },
    /// A part of the other store, as it stands there: no new fact, no event, no number of its own.
    Copied(Piece),
    /// The copy is complete and was found equal; the store is one like any other.
    CopyEnds,
    /// Reports of reconciliations and what became of their differences.
    Reconciled(Reconciled),
    /// A fact without rows of its own.
    Event {
        kind: EventType,
        dataset: Option<String>,
        data: serde_json::Value,
    },
}

/// Who runs a task, and until when nobody else may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Host and process, for people.
    pub worker: String,
    pub until: Instant,
}

/// The answer to a `Change::TakePlace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The call may be made; give the number back with `Change::AnswerPlace`. It is counted as used of the day.
    Taken(i64),
    /// Ask again then.
    FreeAt(Instant),
    /// All calls of the Beijing day are used.
    DayUsed,
}

/// The rows of one slice, and what the ledger shall say of its area.
#[derive(Clone, Debug)]
pub struct RowsChange {
    pub dataset: Arc<Dataset>,
    pub area: Area,
    /// In the dataset's schema, keys unique, any order.
    pub batch: RecordBatch,
    /// Positions of the columns that the source does not have, sorted: null in `batch`, and what is stored in them
    /// stays. Empty for a source that has them all.
    pub lacks: Vec<usize>,
    /// Exchanges of which the source has no securities: their rows in the area stay, and the claim does not speak of
    /// them. Empty for a source that knows them all.
    pub lacks_exchanges: Exchanges,
    pub write: Write,
    pub source: Arc<str>,
    /// Priority of the source, 1 is best. A worse source never overwrites a non-null value of a better one.
    pub rank: u8,
    pub fetched_at: Instant,
    /// `None`: the rows say nothing about coverage (an import of loose rows).
    pub claim: Option<ClaimChange>,
    /// Rows that rules refused: kept, visible, not served.
    pub quarantined: Vec<Quarantined>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The area becomes exactly these rows; stored rows that are not among them are withdrawn.
    Replace,
    /// As `Replace` for the rows of the area whose keys lie in the range; every row of the batch does. All other rows
    /// of the area stay as they are.
    ReplaceKeys(KeyRange),
    /// As `Replace`, but null never erases a value and nothing is withdrawn. A column under `policy.fields` of the
    /// dataset follows its rule instead, whatever the rank of the source: keep_first keeps a stored value, keep_last
    /// takes the new one even when it is null, max and min take the greater and the smaller of two values.
    Merge,
    /// New rows are added and differing ones updated; nothing is withdrawn.
    Upsert,
    /// New rows are added, stored ones stay as they are, whoever sent them; nothing is withdrawn.
    FirstWins,
    /// New rows are added. A stored row gives way, whatever the rank of its source, unless it was fetched later than
    /// `fetched_at`. Nothing is withdrawn.
    LastWins,
    /// New rows are added. A row that differs from the stored one in a column that its source has is kept as a
    /// `RowConflict` beside it and counted as conflicting, unless a person has taken the stored row against the same
    /// offer of the same source before (then it is unchanged). A row that agrees settles an open conflict of its source
    /// as `Agreed`. Nothing is withdrawn.
    Manual,
    /// New rows are added. A stored row gives way, whatever the rank of its source, to one with a greater value in the
    /// column at position `version`, and that settles an open conflict of the same source about it. One with a smaller
    /// value changes nothing and counts as unchanged. One with the same value that differs in another column than those
    /// at `noted` (which say when a row was taken over, not what it says) is kept beside the stored row as with `Manual`.
    /// Nothing is withdrawn.
    NewerVersion { version: usize, noted: Vec<usize> },
    /// The rows with the keys of the batch are withdrawn, whatever else the batch says and whoever wrote them; keys that
    /// are not stored are no change.
    Withdraw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimChange {
    pub evidence: Evidence,
    pub stale_at: Option<Instant>,
}

/// A row that a rule refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// The rule's name.
    pub rule: String,
    /// What is wrong and where (file and line for imports).
    pub reason: String,
    /// The row as a JSON object, as far as it could be read.
    pub row: serde_json::Value,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// The counts of each `Change::Rows`, in order.
    pub rows: Vec<Counts>,
    /// The id of each `Change::Task` and the new fence of each `Change::TakeTask`, in order.
    pub tasks: Vec<Fence>,
    /// The id of each `Change::Run` and the new fence of each `Change::TakeRun`, in order.
    pub runs: Vec<RunFence>,
    /// The answer to each `Change::TakePlace`, in order.
    pub places: Vec<Place>,
    /// The answer to each `Change::Publish`, in order.
    pub published: Vec<Published>,
    /// The fence of each `Change::TakeDuty`, in order.
    pub duties: Vec<i64>,
    /// The number of each `Reconciled::Report`, in order.
    pub reports: Vec<i64>,
    /// The last event in the log after this commit.
    pub last_event: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of the commit record: `_seq` of every row that was inserted or updated.
    pub seq: i64,
    pub inserted: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub withdrawn: u64,
    pub quarantined: u64,
    /// Rows that are kept beside the stored ones until a person decides.
    pub conflicting: u64,
}

//! The writer: gathers fetched slices and commits them in groups, one transaction each. While a group is being written
//! the next one gathers, so that sources and disk work at the same time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::Engine;
use super::fetch::{Asker, Ended};
use super::run::{Earlier, Queue, Work};
use crate::model::{Change, Commit, Error, EventType, Failure, Fence, Receipt, Result, RowsChange, Slice, Totals};

/// How the work on a queue of slices ended.
#[derive(Debug)]
pub enum WorkEnd {
    /// Every slice was answered or failed.
    Done,
    /// The source was set aside for this reason; slices are left.
    SetAside(Error),
    /// Stopped, or unable to go on; slices are left.
    Aborted(Error),
}

/// Changes that wait to be committed together.
#[derive(Default)]
struct Group {
    rows: Vec<RowsChange>,
    failures: Vec<Failure>,
    row_count: usize,
    totals: Totals,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.failures.is_empty()
    }
}

/// Receives what workers finished and commits it.
pub struct Writer<'a> {
    pub engine: &'a Engine,
    pub asker: Arc<Asker>,
    pub queue: Arc<Queue>,
    pub fence: Fence,
    pub earlier: Earlier,
    /// The totals of the task so far, as the store has them.
    pub totals: Totals,
    group: Group,
    /// Slices that failed since the last one that was answered.
    failed_in_a_row: u32,
    writing: Option<JoinHandle<Result<(Receipt, Totals)>>>,
    end: Option<WorkEnd>,
}

impl<'a> Writer<'a> {
    pub fn new(engine: &'a Engine, work: Work, fence: Fence, earlier: Earlier, totals: Totals) -> Writer<'a> {
        let Work { asker, queue } = work;
        Writer {
            engine,
            asker,
            queue,
            fence,
            earlier,
            totals,
            group: Group::default(),
            failed_in_a_row: 0,
            writing: None,
            end: None,
        }
    }

    /// Commits until every worker is gone, and says how the work ended and what the task's totals are now.
    pub async fn run(mut self, mut finished: Receiver<Ended>) -> (WorkEnd, Totals) {
        while let Some(ended) = finished.recv().await {
            self.take(ended);
            let full_at = tokio::time::Instant::now() + Duration::from_millis(self.engine.options.commit_linger_ms);
            while !self.is_full() {
                match timeout_at(full_at, finished.recv()).await {
                    Ok(Some(ended)) => self.take(ended),
                    Ok(None) | Err(_) => break,
                }
            }
            self.write_group().await;
        }
        self.wait_for_writing().await;
        self.record_rest().await;
        (self.end.unwrap_or(WorkEnd::Done), self.totals)
    }

    fn is_full(&self) -> bool {
        let options = &self.engine.options;
        self.group.rows.len() >= options.commit_slices || self.group.row_count >= options.commit_rows
    }

    fn take(&mut self, ended: Ended) {
        match ended {
            Ended::Answered { change, totals } => {
                self.failed_in_a_row = 0;
                self.group.totals.add(&totals);
                self.group.totals.slices_done += 1;
                self.group.row_count += change.batch.num_rows();
                self.group.rows.push(*change);
            }
            Ended::Failed { slice, error, attempts, totals } => {
                self.group.totals.add(&totals);
                self.group.totals.slices_failed += 1;
                self.group.failures.push(self.failure(&slice, &error, attempts));
                self.count_failed(error);
            }
            Ended::SetAside { error, totals } => {
                self.group.totals.add(&totals);
                self.stop_work(WorkEnd::SetAside(error));
            }
            Ended::Aborted { error, totals } => {
                self.group.totals.add(&totals);
                self.stop_work(WorkEnd::Aborted(error));
            }
        }
    }

    /// A source that answers nothing any more is not asked for thousands of slices one by one.
    fn count_failed(&mut self, error: Error) {
        self.failed_in_a_row += 1;
        if self.failed_in_a_row >= self.engine.options.failed_in_a_row_max {
            let message = format!("{} slices failed one after the other, the last: {error}", self.failed_in_a_row);
            let hint =
                error.hint_text().unwrap_or("see whether the source can be reached: `tidegate sources`").to_string();
            self.stop_work(WorkEnd::SetAside(Error::new(error.kind(), message).hint(hint).caused_by(error)));
        }
    }

    /// The first reason counts; workers see the end and take no further slice.
    fn stop_work(&mut self, end: WorkEnd) {
        self.queue.clear();
        self.end.get_or_insert(end);
    }

    fn failure(&self, slice: &Slice, error: &Error, attempts: u32) -> Failure {
        let now = self.engine.clock.now();
        let earlier = self.earlier.get(&slice.area);
        Failure {
            id: 0,
            dataset: slice.dataset.to_string(),
            area: slice.area.clone(),
            source: self.asker.source.name().to_string(),
            task: self.fence.task,
            kind: error.kind().name().to_string(),
            message: error.to_string(),
            attempts: attempts + earlier.map_or(0, |failure| failure.attempts),
            attempts_max: self.engine.options.failure_attempts_max,
            next_attempt_at: now.plus_seconds(i64::from(self.engine.options.failure_retry_minutes) * 60),
            first_at: earlier.map_or(now, |failure| failure.first_at),
            last_at: now,
            resolved_at: None,
            resolution: None,
        }
    }

    /// Starts committing the group after the one before is durable.
    async fn write_group(&mut self) {
        self.wait_for_writing().await;
        if self.group.is_empty() || matches!(self.end, Some(WorkEnd::Aborted(ref error)) if !is_stop(error)) {
            return;
        }
        let group = std::mem::take(&mut self.group);
        let totals = group.totals.clone();
        let commit = self.commit_of(group);
        let store = self.engine.store.clone();
        self.writing = Some(tokio::spawn(async move {
            let started = Moment::now();
            let receipt = store.commit(commit).await?;
            let write_ms = started.elapsed().as_millis() as u64;
            Ok((receipt, Totals { write_ms, ..totals }))
        }));
    }

    fn commit_of(&self, group: Group) -> Commit {
        let mut changes: Vec<Change> = group.rows.into_iter().map(Change::Rows).collect();
        changes.extend(group.failures.into_iter().map(Change::Failure));
        changes.push(Change::Progress(group.totals));
        changes.extend(self.quota_used());
        Commit { at: self.engine.clock.now(), fence: Some(self.fence), changes }
    }

    fn quota_used(&self) -> Option<Change> {
        let calls = self.asker.calls_unrecorded.swap(0, Ordering::Relaxed);
        let (source, api) = (self.asker.source.name().to_string(), self.asker.offer.api.clone());
        (calls > 0).then(|| Change::QuotaUsed { source, api, day: self.engine.clock.now().day(), calls })
    }

    async fn wait_for_writing(&mut self) {
        let Some(writing) = self.writing.take() else { return };
        match writing.await {
            Ok(Ok((receipt, totals))) => self.count(&receipt, &totals),
            Ok(Err(error)) => self.stop_work(WorkEnd::Aborted(error)),
            Err(error) => self.stop_work(WorkEnd::Aborted(Error::bug("writing ended early").caused_by(error))),
        }
    }

    fn count(&mut self, receipt: &Receipt, totals: &Totals) {
        self.totals.add(totals);
        for counts in &receipt.rows {
            self.totals.rows_inserted += counts.inserted;
            self.totals.rows_updated += counts.updated;
            self.totals.rows_unchanged += counts.unchanged;
            self.totals.rows_withdrawn += counts.withdrawn;
            self.totals.rows_quarantined += counts.quarantined;
            self.totals.rows_conflicting += counts.conflicting;
        }
        let (_, quota_left) = self.asker.gate.usage();
        let totals = self.totals.clone();
        self.asker.watcher.tell(|progress| {
            progress.totals = totals;
            progress.quota_left = quota_left;
        });
    }

    /// Calls that led to no rows, and a source that was set aside, are recorded too.
    async fn record_rest(&mut self) {
        let mut changes = Vec::new();
        if let Some(WorkEnd::SetAside(error)) = &self.end {
            let data = serde_json::json!({
                "source": self.asker.source.name(), "kind": error.kind().name(), "message": error.to_string(),
            });
            let dataset = Some(self.asker.dataset.name.clone());
            changes.push(Change::Event { kind: EventType::SourceSetAside, dataset, data });
        }
        let totals = std::mem::take(&mut self.group).totals;
        if totals != Totals::default() {
            changes.push(Change::Progress(totals.clone()));
        }
        changes.extend(self.quota_used());
        if changes.is_empty() {
            return;
        }
        let commit = Commit { at: self.engine.clock.now(), fence: Some(self.fence), changes };
        match self.engine.store.commit(commit).await {
            Ok(receipt) => self.count(&receipt, &totals),
            Err(error) => self.stop_work(WorkEnd::Aborted(error)),
        }
    }
}

/// Whether the work ended because somebody asked for it.
pub fn is_stop(error: &Error) -> bool {
    error.kind() == crate::model::ErrorKind::Interrupted
}

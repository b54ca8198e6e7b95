//! The writer: takes what waits, commits it together, and answers. When a commit is refused, its jobs are written one by
//! one, so that whoever caused it is the one who is told.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::once;
use super::plan::{Plan, Planned};
use super::{Done, Job, PublishOptions, Work};
use crate::model::{
    Change, Clock, Commit, Content, Dataset, Error, ErrorKind, Instant, Message, Published, Receipt, Result,
};
use crate::store::Store;

/// Times that numbers are taken anew because another process was quicker.
const RACES_MAX: u32 = 20;

/// Between looks for idempotency keys whose time has passed.
const FORGET_EVERY_MS: i64 = 3_600_000;

pub(super) struct Writer {
    store: Arc<dyn Store>,
    vouchers: Option<Arc<Dataset>>,
    clock: Clock,
    options: Arc<PublishOptions>,
}

/// A job with what the plan makes of it.
type Planning = (Job, Result<Planned>);

impl Writer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        vouchers: Option<Arc<Dataset>>,
        clock: Clock,
        options: Arc<PublishOptions>,
    ) -> Writer {
        Writer { store, vouchers, clock, options }
    }

    /// Writes until nobody can send any more.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut later = VecDeque::new();
        let mut forgot_at = None;
        loop {
            let first = match later.pop_front() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            self.forget(&mut forgot_at).await;
            let group = self.gather(first, &mut later, &mut jobs);
            for job in self.write(group).await.into_iter().rev() {
                later.push_front(job);
            }
        }
    }

    /// Forgets idempotency keys whose time has passed, now and then.
    async fn forget(&self, forgot_at: &mut Option<Instant>) {
        let now = self.clock.now();
        if forgot_at.is_some_and(|at| now.millis_since(at) < FORGET_EVERY_MS) {
            return;
        }
        *forgot_at = Some(now);
        let before = now.plus_seconds(-i64::from(self.options.once_hours) * 3_600);
        let changes = vec![Change::ForgetStands { prefix: once::PREFIX.to_string(), before }];
        if let Err(error) = self.store.commit(Commit { at: now, fence: None, changes }).await {
            tracing::warn!(%error, "old idempotency keys are not forgotten yet");
        }
    }

    /// What waits, up to the limits of a commit.
    fn gather(&self, first: Job, later: &mut VecDeque<Job>, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
        let (mut events, mut bytes) = size(&first);
        let mut group = vec![first];
        while events < self.options.commit_events && bytes < self.options.commit_bytes {
            let Some(job) = later.pop_front().or_else(|| jobs.try_recv().ok()) else { break };
            let (more_events, more_bytes) = size(&job);
            (events, bytes) = (events + more_events, bytes + more_bytes);
            group.push(job);
        }
        group
    }

    /// Commits a group and answers it; jobs that have to wait for this commit come back.
    async fn write(&self, mut group: Vec<Job>) -> Vec<Job> {
        let mut races = 0;
        loop {
            let mut plan = Plan::new(&*self.store, self.vouchers.as_ref(), &self.options, self.clock.now());
            let mut planned = Vec::with_capacity(group.len());
            for job in &group {
                planned.push(plan.add(job).await);
            }
            let races_for_numbers = plan.has_vouchers() || group.iter().any(|job| job.once.is_some());
            let at = plan.now;
            let error = match self.commit(plan).await {
                Ok(receipt) => return answer(group.into_iter().zip(planned), receipt, at),
                Err(error) => error,
            };
            let is_race = error.kind() == ErrorKind::Conflict && races_for_numbers;
            races += 1;
            if is_race && races < if group.len() == 1 { RACES_MAX } else { 3 } {
                continue;
            }
            if group.len() > 1 && !is_outage(&error) {
                let mut later = Vec::new();
                for job in std::mem::take(&mut group) {
                    later.extend(Box::pin(self.write(vec![job])).await);
                }
                return later;
            }
            return fail(group.into_iter().zip(planned), &error);
        }
    }

    async fn commit(&self, plan: Plan<'_>) -> Result<Receipt> {
        match plan.commit()? {
            Some(commit) => self.store.commit(commit).await,
            None => Ok(Receipt::default()),
        }
    }
}

/// Events and bytes of content of a job.
fn size(job: &Job) -> (usize, usize) {
    let bytes = |message: &Message| match &message.content {
        Content::None => 0,
        Content::Json(text) => text.len(),
        Content::Bytes(bytes) => bytes.len(),
    };
    match &job.work {
        Work::Events { messages, .. } => (messages.len().max(1), messages.iter().map(bytes).sum()),
        Work::Voucher(_) => (1, 0),
    }
}

/// The store itself cannot write now: nobody of the group is to blame, and trying each alone would take as long for each.
fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Storage | ErrorKind::Transient | ErrorKind::Interrupted)
}

fn answer(group: impl Iterator<Item = Planning>, receipt: Receipt, at: Instant) -> Vec<Job> {
    let mut published = receipt.published.into_iter();
    let mut later = Vec::new();
    for (job, planned) in group {
        let done = match planned {
            Err(error) => Err(error),
            Ok(Planned::Answered(done)) => Ok(done),
            Ok(Planned::Later) => {
                later.push(job);
                continue;
            }
            Ok(Planned::Written { messages, voucher }) => {
                let published: Vec<Published> = published.by_ref().take(messages).collect();
                let event = published.first().map_or(0, |first| first.event);
                let message = voucher.map(|message| Message { event, at, ..message });
                Ok(Done { published, repeated: false, message })
            }
        };
        // Whoever asked may have gone away.
        let _ = job.done.send(done);
    }
    later
}

/// Nothing was written: whoever was to be answered by the commit is told why.
fn fail(group: impl Iterator<Item = Planning>, error: &Error) -> Vec<Job> {
    let mut later = Vec::new();
    for (job, planned) in group {
        let done = match planned {
            Ok(Planned::Later) => {
                later.push(job);
                continue;
            }
            Ok(Planned::Answered(done)) => Ok(done),
            Ok(Planned::Written { .. }) => Err(same(error)),
            Err(own) => Err(own),
        };
        let _ = job.done.send(done);
    }
    later
}

/// The error once more, for everybody whom it concerns. The first one's cause is in the log.
fn same(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message());
    let copy = error.hint_text().into_iter().fold(copy, |copy, hint| copy.hint(hint));
    error.field().into_iter().fold(copy, |copy, field| copy.at_field(field))
}

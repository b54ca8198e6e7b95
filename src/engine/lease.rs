//! Leases: where several processes share a store, a running task belongs to one of them for as long as it renews its
//! lease. One that dies stops renewing, and whoever wants the task done takes it over when the lease has ended.
//!
//! A lease decides who works; it protects nothing. That is what the fence is for: every commit of a task, each place of a
//! call among them, is refused by the store once somebody else has taken the task over.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::task::JoinSet;

use super::Engine;
use super::progress::{Phase, Watcher};
use crate::model::{Change, Error, ErrorKind, Fence, Instant, Lease, Result, Task, TaskId, TaskState};

/// A renewal that failed is tried again this many times within the wait of one that worked.
const TRIES_PER_RENEWAL: i64 = 4;

/// `HOST/PID/RANDOM`: who works, for people; the random part tells two lives of one number apart.
pub fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.map(|host| host.trim().to_string()).filter(|host| !host.is_empty());
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}/{}/{:04x}", host.as_deref().unwrap_or("localhost"), std::process::id(), random & 0xffff)
}

/// What somebody who wants a task done does about it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nobody runs it: take it.
    Take,
    /// Another process runs it.
    Wait,
    /// It is finished, or was paused for a reason that waiting does not remove.
    Ended,
}

/// `watched`: the task has been open before our eyes, so that a pause is news and not the reason why we were called.
/// What another process left because it was asked to stop is taken up; what a person paused, or the end of a quota, is not.
pub fn turn(task: &Task, now: Instant, watched: bool) -> Turn {
    let held = task.lease.as_ref().is_some_and(|lease| lease.until > now);
    match task.state {
        TaskState::Completed | TaskState::Failed => Turn::Ended,
        TaskState::Pending => Turn::Take,
        TaskState::Running if held => Turn::Wait,
        TaskState::Running => Turn::Take,
        TaskState::Paused if watched && !task.was_stopped() => Turn::Ended,
        TaskState::Paused => Turn::Take,
    }
}

/// A lease as its holder knows it.
#[derive(Clone, Copy, Debug)]
struct Held {
    until: Instant,
    renewed_at: Instant,
    /// When the last renewal failed, if none has worked since.
    failed_at: Option<Instant>,
}

/// What the keeper of a lease does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Sleep {
        ms: i64,
    },
    Renew,
    /// The lease is over: another process may be at work.
    Lost,
}

/// A lease is renewed every third of its length; a renewal that failed is tried again sooner, until the lease is over.
fn next(held: Held, now: Instant, lease_ms: i64) -> Next {
    if now >= held.until {
        return Next::Lost;
    }
    let third = lease_ms / 3;
    let due = match held.failed_at {
        None => held.renewed_at.plus_millis(third),
        Some(failed) => failed.plus_millis(third / TRIES_PER_RENEWAL),
    };
    if now >= due { Next::Renew } else { Next::Sleep { ms: due.min(held.until).millis_since(now).max(1) } }
}

/// How work under a lease ended.
pub(super) enum Kept<T> {
    Worked(T),
    /// The task is no longer ours, and the work was stopped where it stood.
    Lost(Error),
}

impl Engine {
    /// Makes this process the only one whose commits for the task count.
    pub(super) async fn take(&self, id: TaskId) -> Result<(Fence, Option<Lease>)> {
        let lease = self.store.shares_tasks().then(|| self.lease_from(self.clock.now()));
        let taken = self.commit(None, vec![Change::TakeTask { task: id, lease: lease.clone() }]).await?;
        let fence = *taken.tasks.first().ok_or_else(|| Error::bug("taking a task gave no fence"))?;
        Ok((fence, lease))
    }

    fn lease_from(&self, now: Instant) -> Lease {
        Lease { worker: self.worker.to_string(), until: now.plus_seconds(i64::from(self.options.lease_seconds)) }
    }

    /// Works for as long as the lease can be renewed; without a lease to the end.
    pub(super) async fn while_leased<T>(
        &self,
        fence: Fence,
        lease: Option<Lease>,
        work: impl Future<Output = T>,
    ) -> Kept<T> {
        let Some(lease) = lease else { return Kept::Worked(work.await) };
        // On its own: planning and decoding may keep this task busy for longer than a lease.
        let engine = self.clone();
        let mut keeper = JoinSet::new();
        keeper.spawn(async move { engine.keep(fence, lease).await });
        tokio::select! {
            biased;
            Some(lost) = keeper.join_next() => {
                Kept::Lost(lost.unwrap_or_else(|error| Error::bug("keeping a lease ended early").caused_by(error)))
            }
            worked = work => Kept::Worked(worked),
        }
    }

    /// Renews the lease until that is refused or comes too late.
    async fn keep(&self, fence: Fence, lease: Lease) -> Error {
        let lease_ms = i64::from(self.options.lease_seconds) * 1000;
        let mut held = Held { until: lease.until, renewed_at: lease.until.plus_millis(-lease_ms), failed_at: None };
        let mut why: Option<Error> = None;
        loop {
            let now = self.clock.now();
            match next(held, now, lease_ms) {
                Next::Sleep { ms } => tokio::time::sleep(millis(ms)).await,
                Next::Lost => return over(fence.task, why),
                Next::Renew => {
                    let until = now.plus_millis(lease_ms);
                    let renewal = self.commit(Some(fence), vec![Change::RenewTask { until }]);
                    match tokio::time::timeout(millis(held.until.millis_since(now)), renewal).await {
                        Ok(Ok(_)) => held = Held { until, renewed_at: now, failed_at: None },
                        Ok(Err(error)) if error.kind() == ErrorKind::Conflict => return error,
                        Ok(Err(error)) => {
                            tracing::warn!(task = fence.task, %error, "a lease was not renewed");
                            held.failed_at = Some(now);
                            why = Some(error);
                        }
                        Err(_) => return over(fence.task, why),
                    }
                }
            }
        }
    }

    /// What became of a task that is no longer ours. Nothing is written: it is somebody else's, or soon will be.
    pub(super) async fn lost(&self, fence: Fence, error: Error, watcher: &Watcher) -> Result<Task> {
        let stored = self.task(fence.task).await?;
        if stored.state == TaskState::Running && stored.fence == fence.fence {
            watcher.tell(|progress| progress.phase = Phase::Finished);
            return Err(error);
        }
        let phase = if stored.state == TaskState::Running { Phase::Elsewhere } else { Phase::Finished };
        watcher.tell(|progress| progress.phase = phase);
        Ok(stored)
    }
}

fn over(task: TaskId, why: Option<Error>) -> Error {
    let error = Error::conflict(format!("the lease on task {task} ended before it could be renewed"));
    let error = error.hint("see whether the store can be reached, or raise sync.lease_seconds; then run it again");
    match why {
        Some(why) => error.caused_by(why),
        None => error,
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task::{NOTE_BY_HAND, NOTE_STOPPED, Request};

    const NOW: Instant = Instant(1_000_000_000);

    fn seconds(seconds: i64) -> Instant {
        NOW.plus_seconds(seconds)
    }

    #[test]
    fn a_lease_is_renewed_in_time_and_is_lost_when_it_cannot_be() {
        let held = |until, renewed, failed: Option<i64>| Held {
            until: seconds(until),
            renewed_at: seconds(renewed),
            failed_at: failed.map(seconds),
        };
        for (name, held, expected) in [
            ("just taken", held(30, 0, None), Next::Sleep { ms: 10_000 }),
            ("a third later", held(20, -10, None), Next::Renew),
            ("overslept, but still ours", held(1, -29, None), Next::Renew),
            ("just failed", held(20, -10, Some(0)), Next::Sleep { ms: 2_500 }),
            ("failed a while ago", held(17, -13, Some(-3)), Next::Renew),
            ("failed just before the end", held(1, -29, Some(0)), Next::Sleep { ms: 1_000 }),
            ("at the end", held(0, -30, None), Next::Lost),
            ("long after", held(-100, -130, Some(-120)), Next::Lost),
        ] {
            assert_eq!(next(held, NOW, 30_000), expected, "{name}");
        }
    }

    #[test]
    fn who_wants_a_task_takes_it_waits_or_sees_its_end() {
        let lease = |until| Some(Lease { worker: "other".into(), until: seconds(until) });
        let note = |text: &str| Some(text.to_string());
        for (state, lease, note, watched, expected) in [
            (TaskState::Pending, None, None, false, Turn::Take),
            (TaskState::Running, None, None, true, Turn::Take),
            (TaskState::Running, lease(1), None, false, Turn::Wait),
            (TaskState::Running, lease(0), None, false, Turn::Take),
            (TaskState::Paused, None, note(NOTE_BY_HAND), false, Turn::Take),
            (TaskState::Paused, None, note(NOTE_BY_HAND), true, Turn::Ended),
            (TaskState::Paused, None, note("all 100 calls of the day are used"), true, Turn::Ended),
            (TaskState::Paused, None, note(NOTE_STOPPED), true, Turn::Take),
            (TaskState::Paused, None, None, true, Turn::Ended),
            (TaskState::Completed, None, None, true, Turn::Ended),
            (TaskState::Failed, None, None, false, Turn::Ended),
        ] {
            let task = Task { state, lease, note, ..Task::new("daily", Request::everything(), NOW) };
            assert_eq!(turn(&task, NOW, watched), expected, "{task:?} {watched}");
        }
    }

    #[test]
    fn a_worker_is_named_by_its_host_and_process_and_every_time_anew() {
        let name = worker_name();
        assert_eq!(name.split('/').count(), 3, "{name}");
        assert_eq!(name.split('/').nth(1), Some(std::process::id().to_string().as_str()));
    }
}

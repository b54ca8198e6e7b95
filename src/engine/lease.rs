//! Leases: where several processes share a store, a running task belongs to one of them for a while. Its process renews
//! the lease; the tasks of a process that died are taken over when their leases end.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::progress::{Phase, Watcher};
use super::stop::Stop;
use super::{Engine, places::Places};
use crate::model::{Change, Commit, ErrorKind, Fence, Lease, Result, Task, TaskId, TaskState, task::Request};

/// Keeps a lease while it lives. `stop` is asked for when the lease is lost, and when the caller asks to stop.
pub struct Keeper {
    pub stop: Stop,
    renewing: Option<JoinHandle<()>>,
    hearing: Option<JoinHandle<()>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for task in [self.renewing.take(), self.hearing.take()].into_iter().flatten() {
            task.abort();
        }
    }
}

/// Host and process, for people.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "host" } else { host.trim() };
    format!("{host}:{}", std::process::id())
}

impl Engine {
    /// What a task is taken with: a lease where others could take it, too.
    pub(super) fn lease(&self) -> Option<Lease> {
        let until = self.clock.now().plus_seconds(self.options.lease_seconds);
        self.store.is_shared().then(|| Lease { worker: worker_name(), until })
    }

    /// Renews the lease on a task every third of its time, until the keeper is dropped.
    pub(super) fn keep(&self, fence: Fence, stop: &Stop) -> Keeper {
        if !self.store.is_shared() {
            return Keeper { stop: stop.clone(), renewing: None, hearing: None };
        }
        let own = Stop::default();
        let hearing = tokio::spawn({
            let (own, stop) = (own.clone(), stop.clone());
            async move {
                stop.wait().await;
                own.ask();
            }
        });
        let renewing = tokio::spawn(renew(self.clone(), fence, own.clone()));
        Keeper { stop: own, renewing: Some(renewing), hearing: Some(hearing) }
    }

    /// Where calls of an API take their places; `None` where nobody else makes calls.
    pub(super) fn places(&self, source: &str, api: &str) -> Option<Places> {
        self.store.is_shared().then(|| Places {
            store: self.store.clone(),
            clock: self.clock.clone(),
            source: source.to_owned(),
            api: api.to_owned(),
            call_seconds: self.options.call_seconds,
        })
    }

    /// `submit`, where another process may submit the same at the same time.
    pub async fn submit_or_join(&self, dataset: &str, request: Request) -> Result<Task> {
        match self.submit(dataset, request.clone()).await {
            Err(error) if error.kind() == ErrorKind::Conflict && self.store.is_shared() => {
                let open = self.open_task(dataset).await?;
                open.filter(|open| open.request == request).ok_or(error)
            }
            submitted => submitted,
        }
    }

    /// Runs a task to its end. One that another process holds is waited for, and taken over when its lease ends.
    pub async fn run_or_follow(&self, id: TaskId, stop: &Stop, watcher: &Watcher) -> Result<Task> {
        loop {
            let held = match self.run(id, stop, watcher).await {
                Err(error) if error.kind() == ErrorKind::Conflict && self.store.is_shared() => error,
                Ok(task) if task.state == TaskState::Running && self.store.is_shared() => lost(&task),
                ended => return ended,
            };
            let task = self.task(id).await?;
            match task.state {
                TaskState::Running if task.lease.is_some() => {}
                TaskState::Running | TaskState::Pending => return Err(held),
                TaskState::Paused | TaskState::Completed | TaskState::Failed => return Ok(task),
            }
            self.show(&task, watcher);
            if !stop.sleep(self.waiting()).await {
                return Ok(task);
            }
        }
    }

    /// How often a task of somebody else is looked at.
    pub(super) fn waiting(&self) -> Duration {
        Duration::from_millis((self.options.lease_seconds.max(1) as u64 * 100).min(2_000))
    }

    /// The progress of a task that another process runs.
    fn show(&self, task: &Task, watcher: &Watcher) {
        let by = task.lease.as_ref().map(|lease| format!("run by {}", lease.worker));
        let totals = task.totals.clone();
        watcher.tell(|progress| {
            progress.phase = Phase::Fetching;
            progress.slices_total = totals.slices_planned;
            progress.totals = totals;
            progress.note = by;
        });
    }
}

fn lost(task: &Task) -> crate::model::Error {
    crate::model::Error::conflict(format!("task {} was taken over by another process", task.id))
        .hint("see `tidegate tasks`")
}

/// A worker that others have taken over stops; the store refuses its commits all the same.
async fn renew(engine: Engine, fence: Fence, stop: Stop) {
    let every = Duration::from_millis((engine.options.lease_seconds.max(1) as u64 * 1_000) / 3);
    loop {
        tokio::time::sleep(every).await;
        let now = engine.clock.now();
        let until = now.plus_seconds(engine.options.lease_seconds);
        let commit = Commit { at: now, fence: Some(fence), changes: vec![Change::RenewTask { until }] };
        match engine.store.commit(commit).await {
            Err(error) if error.kind() == ErrorKind::Conflict => return stop.ask(),
            // The server is away: nobody else can take the task either.
            Err(error) => tracing::warn!(%error, task = fence.task, "the lease could not be renewed"),
            Ok(_) => {}
        }
    }
}

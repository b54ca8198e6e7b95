//! Keeping a run while it is worked on: the lease is renewed, tasks are written down as they begin, and a run that was
//! cancelled or taken over is let go.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Scheduler;
use crate::engine::Stop;
use crate::model::{Change, ErrorKind, Instant, Lease, Run, RunFence, RunState, TaskId};

/// How often a run is looked at, to see whether it is still ours.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Tasks of a run that are kept by number; of more, the newest. A session of polling has one every few seconds.
pub(super) const TASKS_MAX: usize = 500;

/// Keeps a run until it is let go.
pub(super) struct Keeper {
    keeping: JoinSet<bool>,
    tasks: watch::Sender<Vec<TaskId>>,
}

/// What a keeper knows of its run.
struct Hold {
    fence: RunFence,
    lease: Option<Lease>,
    lease_seconds: u32,
    renewed_at: Instant,
}

impl Keeper {
    /// `stop` is asked for as soon as the run is no longer ours; `until` is the wish of the whole process to stop.
    pub fn start(scheduler: &Scheduler, run: &Run, lease_seconds: u32, stop: &Stop, until: &Stop) -> Keeper {
        let tasks = watch::Sender::new(run.tasks.clone());
        let hold = Hold {
            fence: RunFence { run: run.id, fence: run.fence },
            lease: run.lease.clone(),
            lease_seconds,
            renewed_at: scheduler.clock.now(),
        };
        let (scheduler, heard, stop, until) = (scheduler.clone(), tasks.subscribe(), stop.clone(), until.clone());
        let mut keeping = JoinSet::new();
        keeping.spawn(async move { scheduler.keep(hold, heard, stop, until).await });
        Keeper { keeping, tasks }
    }

    /// Writes down a task that the run became.
    pub fn note_task(&self, task: TaskId) {
        self.tasks.send_if_modified(|tasks| {
            let is_new = !tasks.contains(&task);
            if is_new {
                tasks.push(task);
                let surplus = tasks.len().saturating_sub(TASKS_MAX);
                tasks.drain(..surplus);
            }
            is_new
        });
    }

    /// Lets the run go. Whether it was ours to the end, and the tasks that it became.
    pub async fn let_go(mut self) -> (bool, Vec<TaskId>) {
        let tasks = self.tasks.borrow().clone();
        // Without a sender the keeper ends by itself, and never in the middle of writing.
        drop(self.tasks);
        let ours = match self.keeping.join_next().await {
            Some(Ok(ours)) => ours,
            Some(Err(error)) => {
                tracing::error!(%error, "the keeper of a run broke off");
                true
            }
            None => true,
        };
        (ours, tasks)
    }
}

impl Scheduler {
    /// Whether the run was ours until it was let go.
    async fn keep(&self, mut hold: Hold, mut tasks: watch::Receiver<Vec<TaskId>>, stop: Stop, until: Stop) -> bool {
        let mut written = tasks.borrow_and_update().len();
        loop {
            tokio::select! {
                changed = tasks.changed() => if changed.is_err() { return true },
                () = until.wait(), if !stop.asked() => stop.ask(),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let known = tasks.borrow_and_update().clone();
            match self.look_after(&mut hold, (known.len() != written).then_some(&known)).await {
                Ok(true) => written = known.len(),
                Ok(false) => {
                    stop.ask();
                    return false;
                }
                Err(error) => tracing::warn!(run = hold.fence.run, %error, "a run cannot be looked after"),
            }
            let over = hold.lease.as_ref().is_some_and(|lease| lease.until <= self.clock.now());
            if over {
                stop.ask();
                return false;
            }
        }
    }

    /// Whether the run is still ours.
    async fn look_after(&self, hold: &mut Hold, tasks: Option<&Vec<TaskId>>) -> crate::model::Result<bool> {
        let Some(stored) = self.store.run(hold.fence.run).await? else { return Ok(false) };
        if stored.state != RunState::Running || stored.fence != hold.fence.fence {
            return Ok(false);
        }
        let now = self.clock.now();
        let third_ms = i64::from(hold.lease_seconds) * 1000 / 3;
        let mut changes = Vec::new();
        let mut renewed = None;
        if hold.lease.is_some() && now.millis_since(hold.renewed_at) >= third_ms {
            let until = now.plus_seconds(i64::from(hold.lease_seconds));
            changes.push(Change::RenewRun { run: hold.fence.run, fence: hold.fence.fence, until });
            renewed = Some(until);
        }
        if let Some(tasks) = tasks {
            changes.push(Change::Run(Run { tasks: tasks.clone(), ..stored }));
        }
        if changes.is_empty() {
            return Ok(true);
        }
        match self.commit(changes).await {
            Ok(_) => {
                if let (Some(until), Some(lease)) = (renewed, hold.lease.as_mut()) {
                    (lease.until, hold.renewed_at) = (until, now);
                }
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }
}

//! Tasks that several processes share, or several who want them in one process: each is run by one of them, the others
//! wait for its end and take it over when its worker is gone.

use std::collections::HashSet;
use std::time::{Duration, Instant as Moment};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, watch};

use super::lease::{Turn, turn};
use super::progress::{Phase, Progress, Watcher};
use super::stop::Stop;
use super::together::Synced;
use super::{Engine, knowledge};
use crate::model::{Error, ErrorKind, Result, Task, TaskId, TaskState, task::Request};

/// How often a task that another process runs is looked at, and how often new ones are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who is told of a dataset before its work begins.
pub type Watch<'a> = &'a (dyn Fn(&str, watch::Receiver<Progress>) + Sync);

impl Engine {
    /// Brings every request to its end: by this process where it can take the task, else by waiting for the one that
    /// has. All are submitted at once, so that other processes see what there is to do.
    pub(super) async fn sync_shared(
        &self,
        requests: Vec<(String, Request)>,
        stop: &Stop,
        watch: Watch<'_>,
    ) -> Vec<Synced> {
        let slots = Semaphore::new(self.options.datasets_at_once);
        let wishes = requests.into_iter().map(|(dataset, request)| {
            let slots = &slots;
            async move {
                match self.submit(&dataset, request).await {
                    Ok(task) => self.pursue(task, false, slots, stop, watch).await,
                    Err(error) => Synced::failed(dataset, error),
                }
            }
        });
        join_all(wishes).await
    }

    /// Open tasks that nobody works on and nobody here wants: left behind by a process that is gone, or that was asked to
    /// stop. What a person paused is not among them.
    pub async fn orphans(&self) -> Result<Vec<Task>> {
        let now = self.clock.now();
        let is_left = |task: &Task| turn(task, now, true) == Turn::Take && !self.at_work.has(task.id);
        let mut orphans = Vec::new();
        for task in self.open_tasks().await?.into_iter().filter(is_left) {
            // It may have come to its end in this process after it was read.
            orphans.extend(self.store.task(task.id).await?.filter(is_left));
        }
        Ok(orphans)
    }

    /// Brings an open task to its end, by running it or by waiting for whoever does.
    pub async fn bring_to_end(&self, task: Task, slots: &Semaphore, stop: &Stop, watch: Watch<'_>) -> Synced {
        self.pursue(task, true, slots, stop, watch).await
    }

    /// Runs open tasks, whoever asked for them, until none is left that anybody works on; `forever`: until stopped.
    /// `ended` is told of each.
    pub async fn work_on_open(
        &self,
        forever: bool,
        stop: &Stop,
        watch: Watch<'_>,
        ended: &mut (dyn FnMut(Synced) + Send),
    ) -> Result<()> {
        let slots = Semaphore::new(self.options.datasets_at_once);
        let mut pursued: HashSet<TaskId> = HashSet::new();
        let mut working = FuturesUnordered::new();
        loop {
            for task in self.open_tasks().await? {
                if turn(&task, self.clock.now(), true) != Turn::Ended && pursued.insert(task.id) {
                    let slots = &slots;
                    working.push(async move { (task.id, self.pursue(task, true, slots, stop, watch).await) });
                }
            }
            if working.is_empty() && !forever {
                return Ok(());
            }
            tokio::select! {
                Some((id, synced)) = working.next() => {
                    pursued.remove(&id);
                    ended(synced);
                }
                slept = stop.sleep(LOOK_EVERY) => if !slept { break },
            }
        }
        while let Some((_, synced)) = working.next().await {
            ended(synced);
        }
        Ok(())
    }

    /// Running tasks of what plans depend on, other than those of `asked`. One whose process died after its last answer
    /// misses nothing, so that no plan asks for it: only its end is to be written down.
    pub(super) async fn left_behind(&self, asked: &[(String, Request)]) -> Result<Vec<(String, Request)>> {
        let left = |task: &Task| {
            let prerequisite = knowledge::PREREQUISITES.contains(&task.dataset.as_str());
            let unasked = !asked.iter().any(|(dataset, _)| *dataset == task.dataset);
            prerequisite && unasked && task.state == TaskState::Running
        };
        let open = self.open_tasks().await?;
        Ok(open.into_iter().filter(left).map(|task| (task.dataset, task.request)).collect())
    }

    /// Open tasks, oldest first.
    async fn open_tasks(&self) -> Result<Vec<Task>> {
        Ok(self.store.open_tasks().await?.into_iter().rev().collect())
    }

    async fn pursue(&self, task: Task, watched: bool, slots: &Semaphore, stop: &Stop, watch: Watch<'_>) -> Synced {
        let (dataset, id) = (task.dataset, task.id);
        let _wanted = self.at_work.want(id);
        let (watcher, receiver) = Watcher::new(&dataset, id);
        let watcher = watcher.remembering();
        watch(&dataset, receiver);
        let started = Moment::now();
        let end = self.pursue_to_end(id, watched, slots, stop, &watcher).await;
        watcher.tell(|progress| progress.phase = Phase::Finished);
        let mut synced = match end {
            Ok(task) => Synced::of(task),
            Err(error) => Synced { task: self.task(id).await.ok(), ..Synced::failed(dataset.clone(), error) },
        };
        // The process that ran it tells its days; one that waited has nothing of its own to tell.
        if !watcher.asked().is_empty() {
            match self.days_of_run(&dataset, &task.request, &watcher, started).await {
                Ok(days) => synced.days = days,
                Err(error) => synced.error = synced.error.or(Some(error)),
            }
        }
        synced
    }

    async fn pursue_to_end(
        &self,
        id: TaskId,
        watched: bool,
        slots: &Semaphore,
        stop: &Stop,
        watcher: &Watcher,
    ) -> Result<Task> {
        let mut watched = watched;
        let mut refused: Option<Error> = None;
        loop {
            // Looked at with a slot in hand: while it was waited for, somebody else may have begun.
            let slot = tokio::select! {
                slot = slots.acquire() => slot.map_err(|error| Error::bug("no slot").caused_by(error))?,
                () = stop.wait() => return Err(stopped_waiting()),
            };
            let task = self.task(id).await?;
            let turn = turn(&task, self.clock.now(), watched);
            match turn {
                // Without a lease only this process can know.
                Turn::Take if self.at_work.is_running(id) => {}
                // Refused for another reason than that somebody else has the task.
                Turn::Ended => return refused.filter(|_| task.state == TaskState::Paused).map_or(Ok(task), Err),
                Turn::Take => match self.run(id, stop, watcher).await {
                    // Lost to another process, or never won.
                    Ok(task) if task.state == TaskState::Running => {}
                    Err(error) if error.kind() == ErrorKind::Conflict => refused = Some(error),
                    end => return end,
                },
                Turn::Wait => tell_elsewhere(watcher, &task),
            }
            drop(slot);
            watched = true;
            if !stop.sleep(LOOK_EVERY).await {
                return Err(stopped_waiting());
            }
        }
    }
}

fn stopped_waiting() -> Error {
    Error::new(ErrorKind::Interrupted, "stopped; what other processes run goes on")
}

/// Shows what the process that runs the task has committed.
fn tell_elsewhere(watcher: &Watcher, task: &Task) {
    let Some(lease) = &task.lease else { return };
    let note = format!("run by {} until {}", lease.worker, lease.until);
    watcher.tell(|progress| {
        progress.phase = Phase::Elsewhere;
        progress.slices_total = task.totals.slices_planned;
        progress.totals = task.totals.clone();
        progress.note = Some(note);
    });
}

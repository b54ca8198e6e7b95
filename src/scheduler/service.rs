//! The loop of a service: waits for the next time, for what is asked for, and for runs that end; picks up what was left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};

use super::{JobOptions, Scheduler};
use crate::engine::progress::Progress;
use crate::engine::{Engine, Stop};
use crate::feed::{Feed, Follower};
use crate::model::{Action, Error, ErrorKind, Event, EventType, Instant, Result, Run, RunId};
use crate::store::Running;

/// Without anything to wait for, everything is looked at again after so many seconds: a clock may have been set.
const LOOK_SECONDS: i64 = 60;
/// After an error of the store.
const ERROR_SECONDS: i64 = 5;
/// How often the right to run tasks is asked for while another process has it.
const RIGHT_EVERY: Duration = Duration::from_millis(500);
/// Events that are read in one step.
const EVENTS_MAX: usize = 1_000;
/// Tables by which jobs go.
const ALMANAC: [&str; 2] = ["trade_cal", "disclosure_date"];

/// What this process works on.
struct Hands {
    runs: JoinSet<()>,
    of_task: HashMap<Id, (RunId, Action)>,
    /// Tasks that nobody else takes care of.
    orphans: JoinSet<()>,
    orphan_slots: Arc<Semaphore>,
}

impl Scheduler {
    /// Fires jobs and works on runs until stopping is asked for; then every run is given back. A store that runs tasks in
    /// one process only is waited for until nobody else does.
    pub async fn serve(&self, feed: Feed, stop: &Stop) -> Result<()> {
        let Some(_running) = self.right_to_run(stop).await? else { return Ok(()) };
        let mut follower = feed.follow(feed.head());
        let slots = self.engines.current().await.map_or(1, |engine| engine.options.datasets_at_once);
        let mut hands = Hands {
            runs: JoinSet::new(),
            of_task: HashMap::new(),
            orphans: JoinSet::new(),
            orphan_slots: Arc::new(Semaphore::new(slots)),
        };
        let (mut prepared, mut told) = (false, String::new());
        while !stop.asked() {
            if !prepared {
                match self.prepare().await {
                    Ok(()) => prepared = true,
                    Err(error) if error.to_string() == told => {}
                    Err(error) => {
                        warn(&error);
                        told = error.to_string();
                    }
                }
            }
            let now = self.clock.now();
            let next = match self.step(&mut hands, stop).await {
                Ok(next) => next.unwrap_or(Instant(i64::MAX)).min(now.plus_seconds(LOOK_SECONDS)),
                Err(error) => {
                    warn(&error);
                    now.plus_seconds(ERROR_SECONDS)
                }
            };
            tokio::select! {
                Some(ended) = hands.runs.join_next_with_id(), if !hands.runs.is_empty() => hands.ended(ended),
                Some(_) = hands.orphans.join_next(), if !hands.orphans.is_empty() => {}
                () = something_happens(&mut follower) => {}
                _ = self.waiting.until(next, stop) => {}
            }
        }
        while hands.runs.join_next().await.is_some() {}
        while hands.orphans.join_next().await.is_some() {}
        Ok(())
    }

    async fn right_to_run(&self, stop: &Stop) -> Result<Option<Running>> {
        let mut told = false;
        loop {
            match self.store.run_exclusively().await {
                Ok(running) => return Ok(Some(running)),
                Err(error) if error.kind() == ErrorKind::Conflict && !told => {
                    tracing::warn!(%error, "jobs and runs wait for another process");
                    told = true;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
            if !stop.sleep(RIGHT_EVERY).await {
                return Ok(None);
            }
        }
    }

    /// Fires what is due, and begins what may begin as far as there are hands for it. The answer: when to look again.
    async fn step(&self, hands: &mut Hands, stop: &Stop) -> Result<Option<Instant>> {
        let fired = self.fire().await?;
        let (ready, later) = self.ready(&hands.ours()).await?;
        for run in may_begin(ready, hands.of_task.values().map(|(_, action)| *action), &self.options) {
            let (scheduler, stop, id, action) = (self.clone(), stop.clone(), run.id, run.work.action);
            let begun = hands.runs.spawn(async move {
                if let Err(error) = scheduler.bring_to_end(run, &stop).await {
                    tracing::error!(run = id, %error, "a run was broken off");
                    // It stays open and is taken again: not at once.
                    stop.sleep(Duration::from_secs(ERROR_SECONDS as u64)).await;
                }
            });
            hands.of_task.insert(begun.id(), (id, action));
        }
        let engine = self.engines.current().await?;
        self.take_up_orphans(&engine, hands, stop).await?;
        let lease_end =
            self.store.shares_tasks().then(|| self.clock.now().plus_seconds(i64::from(engine.options.lease_seconds)));
        Ok(fired.next.into_iter().chain(later).chain(lease_end).min())
    }

    /// Tasks without anybody: of commands that were stopped, or that died.
    async fn take_up_orphans(&self, engine: &Engine, hands: &mut Hands, stop: &Stop) -> Result<()> {
        for task in engine.orphans().await? {
            let (scheduler, engine, stop) = (self.clone(), engine.clone(), stop.clone());
            let (wanted, slots) = (engine.at_work.want(task.id), hands.orphan_slots.clone());
            hands.orphans.spawn(async move {
                let dataset = task.dataset.clone();
                tracing::info!(task = task.id, dataset, "a task that was left is taken up");
                let unseen = |_: &str, _: tokio::sync::watch::Receiver<Progress>| {};
                let synced = engine.bring_to_end(task, &slots, &stop, &unseen).await;
                drop(wanted);
                if let Some(error) = synced.error.filter(|error| error.kind() != ErrorKind::Interrupted) {
                    tracing::warn!(dataset, %error, "a task that was left did not end well");
                }
                if let Err(error) = scheduler.tell_whole(&engine, &[dataset]).await {
                    warn(&error);
                }
            });
        }
        Ok(())
    }
}

impl Hands {
    fn ours(&self) -> HashSet<RunId> {
        self.of_task.values().map(|(run, _)| *run).collect()
    }

    fn ended(&mut self, ended: std::result::Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "the work on a run broke off");
                error.id()
            }
        };
        self.of_task.remove(&id);
    }
}

/// Those of the runs that there are hands for. One that polls takes nothing from the others: it would hold its place for a
/// whole trading session.
fn may_begin(ready: Vec<Run>, under_way: impl Iterator<Item = Action>, options: &JobOptions) -> Vec<Run> {
    let (polling, working): (Vec<Action>, Vec<Action>) = under_way.partition(|action| *action == Action::Poll);
    let mut free_to_poll = options.polls_at_once.saturating_sub(polling.len());
    let mut free_to_work = options.runs_at_once.saturating_sub(working.len());
    let mut begins = |run: &Run| {
        let free = if run.work.action == Action::Poll { &mut free_to_poll } else { &mut free_to_work };
        let is_free = *free > 0;
        *free = free.saturating_sub(1);
        is_free
    };
    ready.into_iter().filter(|run| begins(run)).collect()
}

fn warn(error: &Error) {
    tracing::warn!(%error, "the scheduler tries again");
}

/// Returns when something was written that may change what is to be done.
async fn something_happens(follower: &mut Follower) {
    loop {
        match follower.next(EVENTS_MAX).await {
            Ok(events) if events.iter().any(|event| matters(event)) => return,
            Ok(_) => {}
            Err(error) => {
                warn(&error);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn matters(event: &Event) -> bool {
    match event.kind {
        EventType::RunCreated | EventType::RunFinished | EventType::DefinitionChanged | EventType::DatasetWhole => true,
        EventType::TaskCreated | EventType::TaskPaused => true,
        EventType::SliceCommitted => event.dataset.as_ref().is_some_and(|name| ALMANAC.contains(&name.as_str())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Work;

    #[test]
    fn polls_take_no_place_from_other_runs() {
        use Action::{Check, Poll, Sync};
        let options = JobOptions { runs_at_once: 2, polls_at_once: 3, ..JobOptions::default() };
        let cases: [(&[Action], &[Action], &[usize]); 6] = [
            (&[], &[Sync, Check, Sync], &[0, 1]),
            (&[], &[Poll, Poll, Poll, Poll, Sync, Sync, Sync], &[0, 1, 2, 4, 5]),
            (&[Poll, Poll, Poll], &[Sync, Poll, Check], &[0, 2]),
            (&[Sync, Poll, Check], &[Sync, Poll], &[1]),
            // Fewer are allowed than are under way.
            (&[Sync, Sync, Check, Poll, Poll, Poll, Poll], &[Sync, Poll], &[]),
            (&[Sync], &[], &[]),
        ];
        for (under_way, ready, expected) in cases {
            let runs = ready.iter().enumerate().map(|(at, action)| {
                let work = Work { action: *action, ..Work::default() };
                Run { id: at as RunId, ..Run::new(work, "test", "", Instant(0)) }
            });
            let begun = may_begin(runs.collect(), under_way.iter().copied(), &options);
            let begun: Vec<usize> = begun.iter().map(|run| run.id as usize).collect();
            assert_eq!(begun, expected, "{ready:?} beside {under_way:?}");
        }
    }
}

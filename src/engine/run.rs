//! Runs one task: takes it over, works through its slices in rounds, and finishes it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Engine;
use super::breaker::Door;
use super::fetch::{Asker, Ended, Random, WrongUnits};
use super::gate::Limits;
use super::lease::Kept;
use super::progress::{Phase, Watcher};
use super::retry::RetryPolicy;
use super::rounds::{self, Rounds};
use super::stop::Stop;
use super::write::{RoundEnd, WorkEnd, Writer, is_stop};
use crate::model::dataset::RowOrigin;
use crate::model::{
    Area, Change, Clock, Commit, Dataset, Day, Error, ErrorKind, Failure, Fence, Instant, Outcome, Result, Slice, Task,
    TaskId, TaskState, Totals, task::NOTE_STOPPED, task::Request,
};
use crate::plan::{self, Knowledge, Plan};
use crate::source::{Offer, Source};

/// Unresolved failures of a dataset by area.
pub type Earlier = HashMap<Area, Failure>;

/// A source and what it offers for the dataset of a task.
pub type Candidate = (Arc<dyn Source>, Offer);

/// Slices that wait for a worker, in lanes: one, or one for each partition.
#[derive(Debug)]
pub struct Queue {
    lanes: Mutex<Vec<VecDeque<Slice>>>,
    /// Nobody takes a slice from then on, because a better source may have recovered.
    until: Option<Instant>,
    clock: Clock,
}

impl Queue {
    pub fn new(slices: Vec<Slice>, partitions: usize, until: Option<Instant>, clock: Clock) -> Queue {
        let mut lanes = vec![VecDeque::new(); partitions.max(1)];
        for slice in slices {
            lanes[plan::partition_of(&slice, partitions)].push_back(slice);
        }
        Queue { lanes: Mutex::new(lanes), until, clock }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<VecDeque<Slice>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next slice of the worker's own lane, else of the lane after it that has one.
    fn take(&self, worker: usize) -> Option<Slice> {
        if self.until.is_some_and(|until| until <= self.clock.now()) {
            return None;
        }
        let mut lanes = self.lanes();
        let count = lanes.len();
        (0..count).find_map(|step| lanes[(worker + step) % count].pop_front())
    }

    /// Nobody takes a slice any more.
    pub fn clear(&self) {
        self.lanes().iter_mut().for_each(VecDeque::clear);
    }

    pub fn is_empty(&self) -> bool {
        self.lanes().iter().all(VecDeque::is_empty)
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// An index into the candidates.
    pub candidate: usize,
    /// One slice only, to see whether it has recovered.
    pub probe: bool,
    /// When a better source may be asked again.
    pub until: Option<Instant>,
    /// Others could be asked instead.
    pub others: bool,
}

/// A queue of slices and who asks for them; the first of them made the plan.
pub struct Work {
    pub askers: Vec<Arc<Asker>>,
    pub queue: Arc<Queue>,
}

/// A plan with what it was made from.
pub struct Planned {
    pub source: Arc<dyn Source>,
    pub offer: Offer,
    /// Without the securities that the source has not.
    pub knowledge: Arc<Knowledge>,
    pub plan: Plan,
    /// Securities that the source has not are wanted, too.
    pub leaves_out: bool,
}

impl Engine {
    /// The sources that serve `dataset`, best first; only the one named, if one is.
    pub fn offers(&self, dataset: &Dataset, only: Option<&str>) -> Result<Vec<(Arc<dyn Source>, Offer)>> {
        let named = |source: &&Arc<dyn Source>| only.is_none_or(|name| source.name() == name);
        let offer = |source: &Arc<dyn Source>| Some((source.clone(), source.offer(dataset)?));
        let offers: Vec<_> = self.sources.iter().filter(named).filter_map(offer).collect();
        if offers.is_empty() {
            if dataset.origin == RowOrigin::Publishers {
                let error =
                    Error::invalid(format!("the rows of {} are published, and nobody is asked for them", dataset.name));
                return Err(error.hint("publishers send them by themselves: see `tidegate publish --help`"));
            }
            let message = format!("no source serves {}", dataset.name);
            let error = Error::new(ErrorKind::Denied, message);
            return Err(error.hint("see `tidegate sources`: a token, more points or another source may be needed"));
        }
        Ok(offers)
    }

    /// What a sync of `request` would do now, from the first source that is not in `set_aside`.
    pub async fn plan(&self, dataset: &str, request: &Request, set_aside: &[String]) -> Result<Planned> {
        let dataset = self.catalog.get(dataset)?.clone();
        if dataset.database.is_some() {
            return self.plan_table(&dataset, request).await;
        }
        let candidates = self.candidates(&dataset, request.source.as_deref()).await?;
        let now = self.clock.now();
        let usable = |(source, _): &&Candidate| {
            let aside = matches!(self.breakers.door(source.name(), &dataset.name, now), Door::AsideUntil(_));
            !aside && !set_aside.iter().any(|name| name == source.name())
        };
        let candidate = candidates.iter().find(usable).ok_or_else(|| {
            Error::denied("every source that serves it was set aside").hint("see what the earlier tables were told")
        })?;
        self.plan_with(&dataset, request, candidate, &Rounds::new(now, request.force)).await
    }

    /// Runs a pending, paused or orphaned task to its end. The returned task is finished, or paused when stopping was
    /// asked for or the quota of the day is used up.
    pub async fn run(&self, id: TaskId, stop: &Stop, watcher: &Watcher) -> Result<Task> {
        let in_hand = self.at_work.run(id);
        let _in_hand = in_hand.ok_or_else(|| Error::conflict(format!("this process is running task {id} already")))?;
        let (fence, lease) = self.take(id).await?;
        let mut task = self.task(id).await?;
        tracing::info!(task = id, dataset = task.dataset, "task begins");
        let is_table = self.catalog.get(&task.dataset)?.database.is_some();
        let mut rounds = Rounds::new(task.created_at, task.request.force);
        let work = async {
            match is_table {
                true => self.run_table(&mut task, fence, stop, watcher).await,
                false => self.run_rounds(&mut task, fence, &mut rounds, stop, watcher).await,
            }
        };
        let kept = self.while_leased(fence, lease, work).await;
        // What nobody tells the store of its calls is counted against the quota for longer than it need be.
        if let Err(error) = self.places.settle().await {
            tracing::warn!(%error, "the answers of calls were not recorded");
        }
        match kept {
            Kept::Worked(end) => self.finish(task, fence, end, rounds, watcher).await,
            Kept::Lost(error) => self.lost(fence, error, watcher).await,
        }
    }

    /// One round: works through the plan with its source and its partners.
    #[expect(clippy::too_many_arguments, reason = "a round is where everything meets")]
    pub(super) async fn work(
        &self,
        task: &mut Task,
        fence: Fence,
        planned: Planned,
        turn: &Turn,
        partners: Vec<Candidate>,
        stop: &Stop,
        watcher: &Watcher,
    ) -> Result<RoundEnd> {
        let earlier = self.earlier_failures(&task.dataset).await?;
        let mut slices = self.in_order(&planned, &earlier, task.request.force);
        if turn.probe && !planned.plan.at_once {
            slices.truncate(1);
        }
        let slices_left = planned.plan.slices.len() - slices.len();
        self.begin(task, fence, &slices, watcher).await?;
        watcher.tell(|progress| progress.groups = progress_groups(&planned.plan));
        if slices.is_empty() {
            return Ok(RoundEnd { slices_left, ..RoundEnd::nothing() });
        }
        let mut askers = Vec::new();
        for candidate in std::iter::once((planned.source.clone(), planned.offer.clone())).chain(partners) {
            let others = turn.others || !askers.is_empty();
            let mut asker = self.asker(&task.dataset, &planned, candidate, others, stop, watcher).await?;
            asker.sharing = self.sharing(Some(fence), asker.source.name(), &asker.offer.api);
            askers.push(Arc::new(asker));
        }
        // What is replaced in one step is not handed over half way.
        let until = turn.until.filter(|_| !planned.plan.at_once);
        let queue = Arc::new(Queue::new(slices, planned.plan.partitions(), until, self.clock.clone()));
        let work = Work { askers, queue };
        let (finished, receive) = mpsc::channel(self.options.concurrency);
        let mut workers = JoinSet::new();
        for (index, asker) in work.askers.iter().enumerate() {
            let most = asker.offer.concurrency.map_or(usize::MAX, |most| most.max(1) as usize);
            for worker in 0..self.options.concurrency.min(most) {
                let (queue, asker) = (work.queue.clone(), asker.clone());
                workers.spawn(work_through(worker, queue, asker, index, finished.clone()));
            }
        }
        drop(finished);
        let at_once = planned.plan.at_once.then_some(self.options.strategies.replace_rows_max);
        let writer = Writer::new(self, work, fence, earlier, task.totals.clone()).at_once(at_once);
        let (mut end, totals) = writer.run(receive).await;
        task.totals = totals;
        workers.shutdown().await;
        end.slices_left = slices_left;
        Ok(end)
    }

    /// Failed slices that may be tried again come first; those that may not are left out.
    fn in_order(&self, planned: &Planned, earlier: &Earlier, force: bool) -> Vec<Slice> {
        let (now, source) = (self.clock.now(), planned.source.name());
        let (failed, fresh): (Vec<Slice>, Vec<Slice>) =
            planned.plan.slices.iter().cloned().partition(|slice| earlier.contains_key(&slice.area));
        let may_try = |slice: &Slice| force || rounds::may_try(earlier, &slice.area, source, now);
        failed.into_iter().filter(may_try).chain(fresh).collect()
    }

    pub(super) async fn earlier_failures(&self, dataset: &str) -> Result<Earlier> {
        let failures = self.store.failures(Some(dataset), false).await?;
        Ok(failures.into_iter().map(|failure| (failure.area.clone(), failure)).collect())
    }

    /// Writes down what this run is going to do. Figures of earlier runs of the task stay in.
    pub(super) async fn begin(&self, task: &mut Task, fence: Fence, slices: &[Slice], watcher: &Watcher) -> Result<()> {
        task.fence = fence.fence;
        task.totals.slices_failed = 0;
        task.totals.slices_planned = task.totals.slices_done + slices.len() as u64;
        task.totals.rows_asked = task.totals.rows_answered + slices.iter().map(|slice| slice.rows).sum::<u64>();
        self.commit(Some(fence), vec![Change::Task(task.clone())]).await?;
        let totals = task.totals.clone();
        watcher.tell(|progress| {
            progress.phase = Phase::Fetching;
            progress.slices_total = totals.slices_planned;
            progress.totals = totals;
            progress.started = std::time::Instant::now();
        });
        Ok(())
    }

    pub(super) async fn asker(
        &self,
        dataset: &str,
        planned: &Planned,
        (source, offer): Candidate,
        others: bool,
        stop: &Stop,
        watcher: &Watcher,
    ) -> Result<Asker> {
        let dataset = self.catalog.get(dataset)?.clone();
        let today = self.clock.now().day();
        let used = self.used_today(source.name(), &offer.api, today).await?;
        let share = |limit: u32| ((f64::from(limit) * self.options.quota_share) as u32).max(1);
        let limits = Limits { per_minute: offer.per_minute.map(share), per_day: offer.per_day };
        let gate = self.gates.gate(source.name(), &offer.api, limits, (today, used));
        let policy = RetryPolicy {
            retries: dataset.policy.retries,
            first_ms: self.options.retry_first_ms,
            cap_ms: self.options.retry_cap_ms,
            jitter: self.options.retry_jitter,
            throttles_max: self.options.throttles_max,
        };
        let better = |other: &Arc<dyn Source>| other.rank() < source.rank() && other.offer(&dataset).is_some();
        let hours = self.options.better_after_hours.unwrap_or(dataset.publish.refresh_hours);
        Ok(Asker {
            sharing: self.sharing(None, source.name(), &offer.api),
            better_after_hours: self.sources.iter().any(better).then_some(hours),
            throttle_wait_max: others.then_some(Duration::from_millis(self.options.failover_wait_ms)),
            wrong: WrongUnits::new(self.options.wrong_share, self.options.wrong_rows_min),
            cuts: (0..planned.offer.cuts.len()).map(|cut| rounds::same_cut(&planned.offer, cut, &offer)).collect(),
            dismissed: Default::default(),
            source,
            offer,
            dataset,
            strategy: planned.plan.strategy,
            knowledge: planned.knowledge.clone(),
            gate,
            policy,
            pages_max: self.options.pages_max,
            clock: self.clock.clone(),
            stop: stop.clone(),
            watcher: watcher.clone(),
            calls_unrecorded: Default::default(),
            random: Random::seeded(self.clock.now().0 as u64),
        })
    }

    async fn used_today(&self, source: &str, api: &str, today: Day) -> Result<u64> {
        let used = self.store.quota_used(source, today).await?;
        Ok(used.into_iter().find(|(name, _)| name == api).map_or(0, |(_, calls)| calls))
    }

    /// Writes how the task ended. Somebody else's pause or cancellation is respected.
    async fn finish(
        &self,
        mut task: Task,
        fence: Fence,
        end: Result<WorkEnd>,
        mut rounds: Rounds,
        watcher: &Watcher,
    ) -> Result<Task> {
        let stored = self.task(task.id).await?;
        if stored.state != TaskState::Running || stored.fence != fence.fence {
            watcher.tell(|progress| progress.phase = Phase::Finished);
            return Ok(stored);
        }
        if !matches!(end, Ok(WorkEnd::Aborted(_))) {
            self.settle(&mut task, fence, &mut rounds).await?;
        }
        let mut task = Task { totals: task.totals, ..stored };
        let failure = conclude(&mut task, end)?;
        task.note = noted(task.note.take(), &rounds, &task.totals);
        task.finished_at = (!task.state.is_open()).then(|| self.clock.now());
        let written = self.commit(Some(fence), vec![Change::Task(task.clone())]).await;
        let totals = task.totals.clone();
        watcher.tell(|progress| {
            progress.phase = Phase::Finished;
            progress.totals = totals;
        });
        tell_end(&task, failure.as_ref());
        match failure {
            Some(error) => Err(error),
            None => written.map(|_| task),
        }
    }

    pub(super) async fn commit(&self, fence: Option<Fence>, changes: Vec<Change>) -> Result<crate::model::Receipt> {
        self.store.commit(Commit { at: self.clock.now(), fence, changes }).await
    }

    /// The task, or `NotFound`.
    pub async fn task(&self, id: TaskId) -> Result<Task> {
        let task = self.store.task(id).await?;
        task.ok_or_else(|| Error::not_found(format!("there is no task {id}")).hint("see `tidegate tasks`"))
    }
}

/// One record of how a task ended, or why it waits.
fn tell_end(task: &Task, failure: Option<&Error>) {
    let Task { id, dataset, totals, note, .. } = task;
    let state = task.outcome.map_or(task.state.name(), |outcome| outcome.name());
    let (slices, slices_failed, rows) = (totals.slices_done, totals.slices_failed, totals.rows_answered);
    match failure {
        Some(error) => tracing::warn!(task = id, dataset, state, slices, slices_failed, rows, %error, "task ended"),
        None => tracing::info!(task = id, dataset, state, slices, slices_failed, rows, note, "task ended"),
    }
}

/// Moves the task to the state that its end calls for. An error that is not the task's own is handed back.
fn conclude(task: &mut Task, end: Result<WorkEnd>) -> Result<Option<Error>> {
    let (state, note, error) = match end {
        Ok(WorkEnd::Done | WorkEnd::Again) => {
            let disagreements = task.totals.disagreements();
            let green = disagreements.is_empty();
            task.outcome = Some(if green { Outcome::Success } else { Outcome::SuccessWithErrors });
            (TaskState::Completed, (!green).then(|| disagreements.join("; ")), None)
        }
        Ok(WorkEnd::SetAside(error)) if matches!(error.kind(), ErrorKind::QuotaGone { .. }) => {
            (TaskState::Paused, Some(error.to_string()), Some(error))
        }
        Ok(WorkEnd::SetAside(error)) => (TaskState::Failed, Some(error.to_string()), Some(error)),
        Ok(WorkEnd::Aborted(error)) if is_stop(&error) => (TaskState::Paused, Some(NOTE_STOPPED.to_string()), None),
        // The store or the program is at fault, not the request: the task can be taken up again.
        Ok(WorkEnd::Aborted(error)) => (TaskState::Paused, Some(error.to_string()), Some(error)),
        Err(error) => (TaskState::Failed, Some(error.to_string()), Some(error)),
    };
    task.become_state(state)?;
    task.note = note;
    Ok(error)
}

/// The groups of a plan that are worked on one after the other, with the number of slices up to the end of each.
fn progress_groups(plan: &Plan) -> Vec<(String, u64)> {
    let in_turn = plan.partitions() == 1;
    let groups = plan.groups.iter().filter(|_| in_turn);
    groups.map(|group| (group.label.clone(), group.slices.end as u64)).collect()
}

/// What a worker does: slice after slice until none is left or nobody listens.
async fn work_through(
    worker: usize,
    queue: Arc<Queue>,
    asker: Arc<Asker>,
    index: usize,
    finished: mpsc::Sender<(usize, Ended)>,
) {
    while !asker.stop.asked()
        && !asker.dismissed.load(Ordering::Relaxed)
        && let Some(slice) = queue.take(worker)
    {
        let ended = asker.fetch(slice).await;
        if finished.send((index, ended)).await.is_err() {
            return;
        }
    }
    if asker.stop.asked() {
        let error = Error::new(ErrorKind::Interrupted, "stopped");
        let _ = finished.send((index, Ended::Aborted { error, totals: Totals::default() })).await;
    }
}

/// What people are told of a task: what does not add up, who was set aside, and who served what unless the best did.
fn noted(note: Option<String>, rounds: &Rounds, totals: &Totals) -> Option<String> {
    let by_others = totals.by_source.keys().any(|name| rounds.best.as_ref() != Some(name));
    let served = totals.served_by().filter(|_| by_others).map(|served| format!("served by {served}"));
    let known = |told: &&String| note.as_deref().is_none_or(|note| !told.contains(note));
    let told = rounds.notes.iter().filter(known).take(NOTES_MAX).cloned();
    let all: Vec<String> = note.clone().into_iter().chain(served).chain(told).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Notes of rounds that a task keeps.
const NOTES_MAX: usize = 20;

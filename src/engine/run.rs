//! Runs one task: takes it over, plans it, works through its slices, moves on to the next source when one is set
//! aside, and finishes it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::fetch::{Asker, Ended, Random};
use super::gate::Limits;
use super::progress::{Phase, Watcher};
use super::retry::RetryPolicy;
use super::stop::Stop;
use super::write::{WorkEnd, Writer, is_stop};
use super::{Engine, knowledge};
use crate::model::{
    Area, Change, Commit, Dataset, Day, Error, ErrorKind, Failure, Fence, Outcome, Result, Slice, Strategy, Task,
    TaskId, TaskState, Totals, task::Request,
};
use crate::plan::{self, Knowledge, Plan};
use crate::source::{Offer, Source};

/// Unresolved failures of a dataset by area.
pub type Earlier = HashMap<Area, Failure>;

/// Slices that wait for a worker, in lanes: one, or one for each partition.
#[derive(Debug, Default)]
pub struct Queue(Mutex<Vec<VecDeque<Slice>>>);

impl Queue {
    pub fn new(slices: Vec<Slice>, partitions: usize) -> Queue {
        let mut lanes = vec![VecDeque::new(); partitions.max(1)];
        for slice in slices {
            lanes[plan::partition_of(&slice, partitions)].push_back(slice);
        }
        Queue(Mutex::new(lanes))
    }

    /// The next slice of the worker's own lane, else of the lane after it that has one.
    fn take(&self, worker: usize) -> Option<Slice> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = lanes.len();
        (0..count).find_map(|step| lanes[(worker + step) % count].pop_front())
    }

    /// Nobody takes a slice any more.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(VecDeque::clear);
    }
}

/// A queue of slices and who asks for them.
pub struct Work {
    pub asker: Arc<Asker>,
    pub queue: Arc<Queue>,
}

/// A plan with what it was made from.
pub struct Planned {
    pub source: Arc<dyn Source>,
    pub offer: Offer,
    pub knowledge: Arc<Knowledge>,
    pub plan: Plan,
}

impl Engine {
    /// The sources that serve `dataset`, best first; only the one named, if one is.
    pub fn offers(&self, dataset: &Dataset, only: Option<&str>) -> Result<Vec<(Arc<dyn Source>, Offer)>> {
        let named = |source: &&Arc<dyn Source>| only.is_none_or(|name| source.name() == name);
        let offer = |source: &Arc<dyn Source>| Some((source.clone(), source.offer(dataset)?));
        let offers: Vec<_> = self.sources.iter().filter(named).filter_map(offer).collect();
        if offers.is_empty() {
            let message = format!("no source serves {}", dataset.name);
            let error = Error::new(ErrorKind::Denied, message);
            return Err(error.hint("see `tidegate sources`: a token, more points or another source may be needed"));
        }
        Ok(offers)
    }

    /// What a sync of `request` would do now, from the first source that is not in `set_aside`.
    pub async fn plan(&self, dataset: &str, request: &Request, set_aside: &[String]) -> Result<Planned> {
        let dataset = self.catalog.get(dataset)?;
        let offers = self.offers(dataset, request.source.as_deref())?;
        let usable = offers.into_iter().find(|(source, _)| !set_aside.iter().any(|name| name == source.name()));
        let (source, offer) = usable.ok_or_else(|| {
            Error::denied("every source that serves it was set aside").hint("see what the earlier tables were told")
        })?;
        let wanted = self.wanted(dataset, request)?;
        let now = self.clock.now();
        let knowledge = Arc::new(knowledge::read_for(&*self.store, dataset, &wanted, now).await?);
        let coverage = self.store.coverage(&dataset.name).await?;
        let input =
            plan::Input { dataset, offer: &offer, knowledge: &knowledge, coverage: &coverage, wanted: &wanted, now };
        let plan = plan::plan(&input);
        if let Some(reason) = &plan.blocked {
            let message = format!("{} cannot be planned: {reason}", dataset.name);
            return Err(Error::invalid(message).hint(match wanted.kept.strategy {
                Strategy::FewestCalls => "the list of securities comes first: `tidegate sync stock_basic`",
                _ => "choose another strategy with --strategy, or sync stock_basic first",
            }));
        }
        Ok(Planned { source, offer, knowledge, plan })
    }

    /// Runs a pending, paused or orphaned task to its end. The returned task is finished, or paused when stopping was
    /// asked for or the quota of the day is used up.
    pub async fn run(&self, id: TaskId, stop: &Stop, watcher: &Watcher) -> Result<Task> {
        let taken = self.commit(None, vec![Change::TakeTask { task: id, lease: None }]).await?;
        let fence = *taken.tasks.first().ok_or_else(|| Error::bug("taking a task gave no fence"))?;
        let mut task = self.task(id).await?;
        let end = self.run_sources(&mut task, fence, stop, watcher).await;
        self.finish(task, fence, end, watcher).await
    }

    /// Works through the sources, best first, until one answers everything.
    async fn run_sources(&self, task: &mut Task, fence: Fence, stop: &Stop, watcher: &Watcher) -> Result<WorkEnd> {
        // A token that is refused for one dataset is refused for all.
        let mut set_aside = self.refused_sources();
        let mut last_refusal: Option<Error> = None;
        loop {
            watcher.tell(|progress| progress.phase = Phase::Planning);
            let planned = match self.plan(&task.dataset, &task.request, &set_aside).await {
                Ok(planned) => planned,
                // No source is left: what the last one said is the reason.
                Err(error) => return last_refusal.map_or(Err(error), |refusal| Ok(WorkEnd::SetAside(refusal))),
            };
            let source = planned.source.name().to_string();
            let (door, offer) = (planned.source.clone(), planned.offer.clone());
            match self.work(task, fence, planned, stop, watcher).await? {
                // The refusal taught the source what it has not got: it is asked again for what is left.
                WorkEnd::SetAside(error)
                    if !error.whole_source()
                        && door.offer(self.catalog.get(&task.dataset)?).is_some_and(|now| now != offer) =>
                {
                    watcher.tell(|progress| progress.note = Some(format!("{source} is asked in another way: {error}")));
                }
                WorkEnd::SetAside(error) => {
                    let note = format!("{source} set aside: {error}");
                    watcher.tell(|progress| progress.note = Some(note));
                    if error.whole_source() {
                        self.refuse_source(&source);
                    }
                    set_aside.push(source);
                    last_refusal = Some(error);
                }
                end => return Ok(end),
            }
        }
    }

    fn refused_sources(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuse_source(&self, name: &str) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_string());
    }

    async fn work(
        &self,
        task: &mut Task,
        fence: Fence,
        planned: Planned,
        stop: &Stop,
        watcher: &Watcher,
    ) -> Result<WorkEnd> {
        let earlier = self.earlier_failures(&task.dataset).await?;
        let slices = self.in_order(planned.plan.slices.clone(), &earlier, task.request.force);
        self.begin(task, fence, &slices, watcher).await?;
        watcher.tell(|progress| progress.groups = progress_groups(&planned.plan));
        if slices.is_empty() {
            return Ok(WorkEnd::Done);
        }
        let asker = Arc::new(self.asker(&task.dataset, &planned, stop, watcher).await?);
        let work = Work { asker: asker.clone(), queue: Arc::new(Queue::new(slices, planned.plan.partitions())) };
        let (finished, receive) = mpsc::channel(self.options.concurrency);
        let mut workers = JoinSet::new();
        for worker in 0..self.options.concurrency {
            workers.spawn(work_through(worker, work.queue.clone(), asker.clone(), finished.clone()));
        }
        drop(finished);
        let at_once = planned.plan.at_once.then_some(self.options.strategies.replace_rows_max);
        let writer = Writer::new(self, work, fence, earlier, task.totals.clone()).at_once(at_once);
        let (end, totals) = writer.run(receive).await;
        task.totals = totals;
        workers.shutdown().await;
        Ok(end)
    }

    /// Failed slices that may be tried again come first; those that may not are left out.
    fn in_order(&self, slices: Vec<Slice>, earlier: &Earlier, force: bool) -> Vec<Slice> {
        let now = self.clock.now();
        let (failed, fresh): (Vec<Slice>, Vec<Slice>) =
            slices.into_iter().partition(|slice| earlier.contains_key(&slice.area));
        let may_retry = |slice: &Slice| force || earlier.get(&slice.area).is_none_or(|failure| failure.may_retry(now));
        failed.into_iter().filter(may_retry).chain(fresh).collect()
    }

    async fn earlier_failures(&self, dataset: &str) -> Result<Earlier> {
        let failures = self.store.failures(Some(dataset), false).await?;
        Ok(failures.into_iter().map(|failure| (failure.area.clone(), failure)).collect())
    }

    /// Writes down what this run is going to do. Figures of earlier runs of the task stay in.
    async fn begin(&self, task: &mut Task, fence: Fence, slices: &[Slice], watcher: &Watcher) -> Result<()> {
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

    async fn asker(&self, dataset: &str, planned: &Planned, stop: &Stop, watcher: &Watcher) -> Result<Asker> {
        let dataset = self.catalog.get(dataset)?.clone();
        let (source, offer) = (planned.source.clone(), planned.offer.clone());
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
        Ok(Asker {
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
    async fn finish(&self, task: Task, fence: Fence, end: Result<WorkEnd>, watcher: &Watcher) -> Result<Task> {
        let stored = self.task(task.id).await?;
        if stored.state != TaskState::Running || stored.fence != fence.fence {
            watcher.tell(|progress| progress.phase = Phase::Finished);
            return Ok(stored);
        }
        let mut task = Task { totals: task.totals, ..stored };
        let failure = conclude(&mut task, end)?;
        task.finished_at = (!task.state.is_open()).then(|| self.clock.now());
        let written = self.commit(Some(fence), vec![Change::Task(task.clone())]).await;
        let totals = task.totals.clone();
        watcher.tell(|progress| {
            progress.phase = Phase::Finished;
            progress.totals = totals;
        });
        match failure {
            Some(error) => Err(error),
            None => written.map(|_| task),
        }
    }

    async fn commit(&self, fence: Option<Fence>, changes: Vec<Change>) -> Result<crate::model::Receipt> {
        self.store.commit(Commit { at: self.clock.now(), fence, changes }).await
    }

    /// The task, or `NotFound`.
    pub async fn task(&self, id: TaskId) -> Result<Task> {
        let task = self.store.task(id).await?;
        task.ok_or_else(|| Error::not_found(format!("there is no task {id}")).hint("see `tidegate tasks`"))
    }
}

/// Moves the task to the state that its end calls for. An error that is not the task's own is handed back.
fn conclude(task: &mut Task, end: Result<WorkEnd>) -> Result<Option<Error>> {
    let (state, note, error) = match end {
        Ok(WorkEnd::Done) => {
            let disagreements = task.totals.disagreements();
            let green = disagreements.is_empty();
            task.outcome = Some(if green { Outcome::Success } else { Outcome::SuccessWithErrors });
            (TaskState::Completed, (!green).then(|| disagreements.join("; ")), None)
        }
        Ok(WorkEnd::SetAside(error)) if matches!(error.kind(), ErrorKind::QuotaGone { .. }) => {
            (TaskState::Paused, Some(error.to_string()), Some(error))
        }
        Ok(WorkEnd::SetAside(error)) => (TaskState::Failed, Some(error.to_string()), Some(error)),
        Ok(WorkEnd::Aborted(error)) if is_stop(&error) => (TaskState::Paused, Some("stopped".to_string()), None),
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
async fn work_through(worker: usize, queue: Arc<Queue>, asker: Arc<Asker>, finished: mpsc::Sender<Ended>) {
    while !asker.stop.asked()
        && let Some(slice) = queue.take(worker)
    {
        let ended = asker.fetch(slice).await;
        if finished.send(ended).await.is_err() {
            return;
        }
    }
    if asker.stop.asked() {
        let error = Error::new(ErrorKind::Interrupted, "stopped");
        let _ = finished.send(Ended::Aborted { error, totals: Totals::default() }).await;
    }
}

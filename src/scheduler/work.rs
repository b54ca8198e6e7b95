//! A worker: takes a run, turns its work into requests, brings them to their end and writes what came of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use tokio::sync::watch;

use super::Scheduler;
use super::keep::Keeper;
use super::verdict::{Again, Piece, Verdict, after_error, of_table, verdict};
use crate::engine::lease::worker_name;
use crate::engine::progress::Progress;
use crate::engine::together::Synced;
use crate::engine::{Engine, Stop, knowledge};
use crate::model::{
    Action, Change, Day, Error, ErrorKind, Failure, Instant, Lease, Outcome, Result, Run, RunId, RunState, RunsWanted,
    Securities, SecurityList, Strategy, Task, TaskId, TaskState, Totals, definition::Kind, job::Job, task::Request,
};

/// Tasks that are looked through for those of a run: the newest, and more of them as long as that does not suffice.
const TASKS_FIRST: usize = 100;
const TASKS_MAX: usize = 12_800;
/// How long a run belongs to a worker that has no engine to say so.
const LEASE_SECONDS: u32 = 30;
/// How often a table that another request holds is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Open runs that are looked through.
const OPEN_RUNS_MAX: usize = 10_000;
/// Tries to write what came of a run, and the wait between them.
const WRITES_MAX: u32 = 20;
const WRITE_AGAIN: Duration = Duration::from_secs(1);

type Wanted = Vec<(String, Request)>;

impl Scheduler {
    /// Runs that may begin now, oldest first: pending ones whose time has come, and those whose worker is gone. `ours`:
    /// those that this process has in hand. With it, when the next one may begin.
    pub(super) async fn ready(&self, ours: &HashSet<RunId>) -> Result<(Vec<Run>, Option<Instant>)> {
        let now = self.clock.now();
        let open = RunsWanted { open: true, limit: OPEN_RUNS_MAX, ..RunsWanted::default() };
        let open = self.store.runs(&open).await?.into_iter().rev().filter(|run| !ours.contains(&run.id));
        let begins = |run: &Run| match run.state {
            // Without a lease nobody but this process could have it, and it has not.
            RunState::Running => run.lease.as_ref().map_or(Instant(0), |lease| lease.until),
            _ => run.not_before,
        };
        let (ready, later): (Vec<Run>, Vec<Run>) = open.partition(|run| begins(run) <= now);
        Ok((ready, later.iter().map(begins).min()))
    }

    /// Works on every run that may begin, one after the other, until none is left; the answer: when the next one may.
    pub async fn work_off(&self, stop: &Stop) -> Result<Option<Instant>> {
        loop {
            let (ready, next) = self.ready(&HashSet::new()).await?;
            if ready.is_empty() || stop.asked() {
                return Ok(next);
            }
            for run in ready {
                self.bring_to_end(run, stop).await?;
            }
        }
    }

    /// Takes a run and works on it, until it ended, waits for its next attempt, or stopping was asked for.
    pub(super) async fn bring_to_end(&self, known: Run, stop: &Stop) -> Result<()> {
        // Without an engine (a token is missing) the run says so, instead of waiting for nobody knows what.
        let engine = self.engines.current().await;
        let worker = engine.as_ref().map_or_else(|_| worker_name(), |engine| engine.worker.to_string());
        let lease_seconds = engine.as_ref().map_or(LEASE_SECONDS, |engine| engine.options.lease_seconds);
        let Some(mut run) = self.take(&known, worker, lease_seconds).await? else { return Ok(()) };
        tracing::info!(run = run.id, job = run.job, attempt = run.attempt, "a run begins");
        let run_stop = Stop::default();
        let keeper = Keeper::start(self, &run, lease_seconds, &run_stop, stop);
        let attempt = match engine {
            Ok(engine) => self.attempt(&engine, &run, &run_stop, &keeper).await,
            // Tables are compared without any source.
            Err(_) if run.work.action == Action::Reconcile => self.reconcile(&run, &run_stop).await,
            Err(error) => Err(error),
        };
        let pieces = attempt.unwrap_or_else(|error| vec![after_error(&error, false, self.clock.now())]);
        let (ours, tasks) = keeper.let_go().await;
        if !ours {
            return self.clear_up_after(run.id).await;
        }
        run.tasks = tasks;
        let again = Again { attempts: self.attempts_of(&run).await?, first_minutes: self.options.retry_minutes };
        let verdict = verdict(&pieces, run.attempt, stop.asked(), again, self.clock.now());
        self.conclude(run, verdict).await
    }

    /// Makes this process the only one whose rewriting of the run counts; `None` when another was quicker.
    async fn take(&self, known: &Run, worker: String, lease_seconds: u32) -> Result<Option<Run>> {
        let until = self.clock.now().plus_seconds(i64::from(lease_seconds));
        let lease = self.store.shares_tasks().then_some(Lease { worker, until });
        match self.commit(vec![Change::TakeRun { run: known.id, lease }]).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error),
        }
        let taken = self.store.run(known.id).await?;
        taken.map(Some).ok_or_else(|| Error::not_found(format!("run {} is gone", known.id)))
    }

    async fn attempt(&self, engine: &Engine, run: &Run, stop: &Stop, keeper: &Keeper) -> Result<Vec<Piece>> {
        if run.work.action == Action::Reconcile {
            return self.reconcile(run, stop).await;
        }
        let engine = engine.clone().asking(&run.work.sources)?;
        if run.work.action == Action::Poll {
            return self.poll(&engine, run, stop, keeper).await;
        }
        let known = match run.work.codes.is_empty() {
            true => SecurityList::default(),
            false => knowledge::read(&*self.store).await?.securities,
        };
        let requests = engine.requests(&run.work, &known, run.created_at.day())?;
        let datasets: Vec<String> = requests.iter().map(|(dataset, _)| dataset.clone()).collect();
        let left = self.not_done_yet(run, requests.clone()).await?;
        if run.attempt > 1 {
            self.make_failures_due(run, &datasets).await?;
        }
        let synced = self.sync(&engine, left, stop, keeper).await?;
        self.tell_whole(&engine, &datasets).await?;
        let mut pieces = Vec::new();
        for one in &synced {
            pieces.push(self.piece(one, &requests, run.job.is_some()).await?);
        }
        if run.work.action == Action::Check && !stop.asked() {
            pieces.extend(audited(&engine, &datasets).await?);
        }
        Ok(pieces)
    }

    async fn piece(&self, synced: &Synced, requests: &Wanted, of_job: bool) -> Result<Piece> {
        let refresh_hours = match of_job {
            true => self.catalog.get(&synced.dataset).map_or(0, |known| known.publish.refresh_hours),
            // Whoever asked is told now; a thin answer is asked for again by whatever syncs the table next.
            false => i32::MAX,
        };
        let piece = of_table(synced, refresh_hours, self.clock.now());
        let asked = requests.iter().find(|(dataset, _)| *dataset == synced.dataset);
        match asked.filter(|_| piece == Piece::Green) {
            // A task passes over slices that failed before and are not to be tried now: it is green, the table is not.
            Some((dataset, request)) => Ok(passed_over(dataset, &self.failures_left(dataset, request).await?)),
            None => Ok(piece),
        }
    }

    /// Unresolved failures within a request.
    async fn failures_left(&self, dataset: &str, request: &Request) -> Result<Vec<Failure>> {
        let (from, to) = (bound(&request.from, Day::MIN)?, bound(&request.to, Day::MAX)?);
        let concerns = |failure: &Failure| {
            let theirs = match (&request.securities, &failure.area.securities) {
                (Securities::Some(asked), Securities::Some(failed)) => failed.iter().any(|code| asked.contains(code)),
                _ => true,
            };
            theirs && failure.area.span.from <= to && from <= failure.area.span.to
        };
        let failures = self.store.failures(Some(dataset), false).await?;
        Ok(failures.into_iter().filter(concerns).collect())
    }

    /// Requests that nobody has brought to a good end since the run was asked for. What a run did before it was broken
    /// off, or before its last attempt failed, is not done again.
    async fn not_done_yet(&self, run: &Run, requests: Wanted) -> Result<Wanted> {
        let tasks = self.tasks_since(run.created_at).await?;
        let since = |task: &&Task| task.created_at >= run.created_at && task.outcome == Some(Outcome::Success);
        let done: Vec<&Task> = tasks.iter().filter(since).collect();
        let mut left = Vec::new();
        for (dataset, request) in requests {
            let is_done = done.iter().any(|task| task.dataset == dataset && task.request == request);
            if !is_done || !self.failures_left(&dataset, &request).await?.is_empty() {
                left.push((dataset, request));
            }
        }
        Ok(left)
    }

    async fn tasks_since(&self, since: Instant) -> Result<Vec<Task>> {
        let mut limit = TASKS_FIRST;
        loop {
            let tasks = self.store.tasks(limit).await?;
            let reaches = tasks.len() < limit || tasks.last().is_some_and(|task| task.created_at < since);
            if reaches || limit >= TASKS_MAX {
                return Ok(tasks);
            }
            limit *= 2;
        }
    }

    /// A later attempt tries again what an earlier one failed at, whatever failures otherwise wait for.
    async fn make_failures_due(&self, run: &Run, datasets: &[String]) -> Result<()> {
        let now = self.clock.now();
        let own: BTreeSet<TaskId> = run.tasks.iter().copied().collect();
        let mut due = Vec::new();
        for dataset in datasets {
            let failures = self.store.failures(Some(dataset), false).await?;
            let waits = |failure: &Failure| own.contains(&failure.task) && failure.next_attempt_at > now;
            let soon = |failure| Change::Failure(Failure { next_attempt_at: now, ..failure });
            due.extend(failures.into_iter().filter(waits).map(soon));
        }
        if due.is_empty() { Ok(()) } else { self.commit(due).await.map(|_| ()) }
    }

    /// Brings every request to its end. A table that another request holds is waited for: one run a table.
    async fn sync(&self, engine: &Engine, wanted: Wanted, stop: &Stop, keeper: &Keeper) -> Result<Vec<Synced>> {
        let mut ended: BTreeMap<String, Synced> = BTreeMap::new();
        let mut left = wanted;
        let watch = |_: &str, progress: watch::Receiver<Progress>| keeper.note_task(progress.borrow().task);
        while !left.is_empty() {
            let (mut busy, mut requests) = (Vec::new(), left.clone());
            for synced in engine.sync_beside(std::mem::take(&mut left), stop, &watch).await? {
                let is_held = synced.task.is_none() && is_conflict(&synced);
                let position = requests.iter().position(|(dataset, _)| *dataset == synced.dataset);
                match position.filter(|_| is_held && !stop.asked()) {
                    Some(position) => busy.push((requests.swap_remove(position), synced)),
                    None => drop(ended.insert(synced.dataset.clone(), synced)),
                }
            }
            for (request, synced) in busy {
                match engine.open_task(&request.0).await? {
                    // It was paused by a person, or for want of quota: waiting would not end.
                    Some(open) if open.state == TaskState::Paused && !open.was_stopped() => {
                        ended.insert(request.0, synced);
                    }
                    _ => left.push(request),
                }
            }
            if !left.is_empty() && !stop.sleep(LOOK_EVERY).await {
                let stopped = || Error::new(ErrorKind::Interrupted, "stopped before it began");
                ended.extend(left.drain(..).map(|(name, _)| (name.clone(), Synced::failed(name, stopped()))));
            }
        }
        Ok(ended.into_values().collect())
    }

    async fn attempts_of(&self, run: &Run) -> Result<u32> {
        let Some(job) = &run.job else { return Ok(self.options.attempts) };
        let definition = self.store.definition(Kind::Job, job).await?;
        let own = definition.and_then(|definition| Job::of(&definition).ok()).and_then(|job| job.attempts);
        Ok(own.unwrap_or(self.options.attempts))
    }

    /// Writes what came of an attempt. A store that cannot be reached is tried again for a while.
    async fn conclude(&self, mut run: Run, verdict: Verdict) -> Result<()> {
        run.totals = self.totals(&run).await?;
        run.attempt = verdict.attempt;
        run.note = verdict.note;
        run.not_before = verdict.not_before;
        run.finished_at = (!verdict.state.is_open()).then(|| self.clock.now());
        run.become_state(verdict.state)?;
        tracing::info!(run = run.id, job = run.job, state = run.state.name(), note = run.note, "a run ends or waits");
        let mut changes = vec![Change::Run(run.clone())];
        if !run.state.is_open() {
            changes.push(Change::ForgetRuns { keep: self.options.runs_kept });
        }
        for _ in 0..WRITES_MAX {
            match self.commit(changes.clone()).await {
                Ok(_) => return Ok(()),
                // It was cancelled, or taken over, a moment ago.
                Err(error) if error.kind() == ErrorKind::Conflict => return self.clear_up_after(run.id).await,
                Err(error) => tracing::warn!(run = run.id, %error, "what came of a run was not written"),
            }
            tokio::time::sleep(WRITE_AGAIN).await;
        }
        Err(Error::storage(format!("what came of run {} could not be written", run.id)))
    }

    /// Summed over the tasks; polls add up as they go.
    async fn totals(&self, run: &Run) -> Result<Totals> {
        let mut totals = Totals::default();
        for id in &run.tasks {
            if let Some(task) = self.store.task(*id).await? {
                totals.add(&task.totals);
            }
        }
        Ok(totals)
    }

    /// A run that was cancelled leaves no task open; one that was taken over leaves them to whoever has it.
    async fn clear_up_after(&self, id: RunId) -> Result<()> {
        let Some(run) = self.store.run(id).await? else { return Ok(()) };
        if run.state != RunState::Cancelled {
            return Ok(());
        }
        for id in &run.tasks {
            if let Some(mut task) = self.store.task(*id).await?
                && task.become_state(TaskState::Failed).is_ok()
            {
                task.note = Some(format!("cancelled with run {}", run.id));
                task.finished_at = Some(self.clock.now());
                self.commit(vec![Change::Task(task)]).await?;
            }
        }
        Ok(())
    }
}

fn bound(day: &Option<String>, open: Day) -> Result<Day> {
    day.as_deref().map_or(Ok(open), Day::parse)
}

fn passed_over(dataset: &str, failures: &[Failure]) -> Piece {
    if failures.is_empty() {
        return Piece::Green;
    }
    let why = format!("{dataset}: {} slices that failed before were passed over", failures.len());
    let again = failures.iter().filter(|failure| failure.attempts < failure.attempts_max);
    match again.map(|failure| failure.next_attempt_at).min() {
        Some(at) => Piece::Again { why, not_before: Some(at), worked: false },
        None => Piece::Stays { why: format!("{why}; see `tidegate failures`"), worked: false },
    }
}

fn is_conflict(synced: &Synced) -> bool {
    synced.error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Conflict)
}

/// Holes that nobody can explain are what a check is there to find.
async fn audited(engine: &Engine, datasets: &[String]) -> Result<Option<Piece>> {
    // What is not disclosed yet is no hole to a check.
    let by_report =
        |name: &&String| engine.catalog.get(name).is_ok_and(|dataset| dataset.policy.strategy == Strategy::Statements);
    let kept: Vec<String> = datasets.iter().filter(|name| !by_report(name)).cloned().collect();
    if kept.is_empty() {
        return Ok(None);
    }
    let audits = engine.audits(&kept, None).await?;
    let holes: Vec<String> = audits
        .iter()
        .filter(|audit| audit.unexplained > 0)
        .map(|audit| format!("{} unexplained holes in {}", audit.unexplained, audit.dataset))
        .collect();
    Ok((!holes.is_empty()).then(|| Piece::Stays { why: holes.join(", "), worked: true }))
}

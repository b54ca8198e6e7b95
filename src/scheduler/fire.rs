//! Firing: a job whose time has come becomes a run, one for its job and instant, however many processes see it.

use std::collections::BTreeSet;

use super::Scheduler;
use super::facts::last_due;
use crate::model::job::Job;
use crate::model::{Change, ErrorKind, Instant, JobState, Result, Run, RunId, RunsWanted, definition::Kind};
use crate::plan::{NextRun, next_run};

/// Open runs that are looked through.
const OPEN_RUNS_MAX: usize = 10_000;

/// What came of looking at the jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    pub runs: Vec<RunId>,
    /// The next time of any job.
    pub next: Option<Instant>,
}

impl Scheduler {
    /// Creates a run for every job that is due and has none open.
    pub async fn fire(&self) -> Result<Fired> {
        let mut fired = Fired::default();
        if !self.options.enabled {
            return Ok(fired);
        }
        let now = self.clock.now();
        let jobs = self.active_jobs().await?;
        let catch_up = self.options.catch_up;
        let (calendar, facts) = self.almanac.facts(&*self.store, &self.catalog, &jobs, now, catch_up).await?;
        let busy = self.busy_jobs().await?;
        for job in &jobs {
            let last = last_due(&*self.store, &job.id).await?;
            let mut next = next_run(job, last, now, &calendar, &facts);
            if let Some(at) = next.at.filter(|at| *at <= now) {
                // While its last run is open a job waits; when that ends, it is looked at again.
                if busy.contains(&job.id) {
                    continue;
                }
                fired.runs.extend(self.fire_one(job, at, &next).await?);
                next = next_run(job, Some(at), now, &calendar, &facts);
            }
            fired.next = fired.next.into_iter().chain(next.at).min();
        }
        Ok(fired)
    }

    async fn active_jobs(&self) -> Result<Vec<Job>> {
        let definitions = self.store.definitions(Kind::Job).await?;
        let mut jobs = Vec::new();
        for definition in &definitions {
            match Job::of(definition) {
                Ok(job) if job.state == JobState::Active => jobs.push(job),
                Ok(_) => {}
                Err(error) => tracing::warn!(job = definition.name, %error, "a job does not run"),
            }
        }
        Ok(jobs)
    }

    async fn busy_jobs(&self) -> Result<BTreeSet<String>> {
        let open = RunsWanted { open: true, limit: OPEN_RUNS_MAX, ..RunsWanted::default() };
        Ok(self.store.runs(&open).await?.into_iter().filter_map(|run| run.job).collect())
    }

    async fn fire_one(&self, job: &Job, due_at: Instant, why: &NextRun) -> Result<Option<RunId>> {
        let run = Run::new(job.work.clone(), "schedule", &why.reason, self.clock.now());
        let run = Run { job: Some(job.id.clone()), due_at: Some(due_at), slot: Some(job.slot()), ..run };
        match self.commit(vec![Change::Run(run)]).await {
            Ok(receipt) => {
                let run = receipt.runs.first().map(|fence| fence.run);
                tracing::info!(job = job.id, run, due_at = %due_at, reason = why.reason, "a job fires");
                Ok(run)
            }
            // Another process was quicker, or somebody has just asked for a run by hand.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }
}

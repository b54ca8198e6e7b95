//! What people and programs may ask of jobs and runs. Works through the store alone, so that any process can do it;
//! every change names who made it in the audit journal, in the same commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::JobOptions;
use super::facts::{Almanac, last_due};
use crate::catalog::Catalog;
use crate::engine::ask;
use crate::model::job::{CatchUp, Days, EVERY_SECONDS, Job, JobState, On, Origin, Trigger, check_id, slot_of};
use crate::model::{
    Action, Change, Clock, Commit, Cron, Definition, Error, ErrorKind, Instant, JournalEntry, Result, Run, RunId,
    RunState, RunsWanted, TaskState, Work, definition::Kind,
};
use crate::plan::{NextRun, next_run};
use crate::store::Store;

/// Attempts of a job after a failed run, at most.
const ATTEMPTS_MAX: u32 = 10;
/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// Tries to cancel a run that its worker writes at the same time.
const CANCELS_MAX: u32 = 5;
/// Open runs that are looked through.
const OPEN_RUNS_MAX: usize = 10_000;

/// Lists and changes jobs, and asks for runs. Clones share what they have read.
#[derive(Clone)]
pub struct Control {
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
    clock: Clock,
    options: JobOptions,
    almanac: Arc<Almanac>,
}

/// A job as it stands.
#[derive(Clone, Debug)]
pub struct JobStatus {
    pub job: Job,
    /// Of its definition: what a change may expect.
    pub revision: u64,
    /// When it runs next and why, or why not.
    pub next: NextRun,
    /// The newest of its runs, by schedule or by hand.
    pub last_run: Option<Run>,
}

/// A job as somebody wants it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    pub id: String,
    /// Default: its identifier.
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub title_zh: Option<String>,
    pub trigger: Trigger,
    #[serde(default)]
    pub days: Days,
    pub work: Work,
    #[serde(default)]
    pub catch_up: Option<CatchUp>,
    #[serde(default)]
    pub attempts: Option<u32>,
}

/// What shall be different about a job; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobChange {
    pub title: Option<String>,
    pub title_zh: Option<String>,
    pub trigger: Option<Trigger>,
    pub days: Option<Days>,
    pub work: Option<Work>,
    pub catch_up: Option<CatchUp>,
    pub attempts: Option<u32>,
    pub state: Option<JobState>,
}

impl Control {
    pub fn new(store: Arc<dyn Store>, catalog: Arc<Catalog>, clock: Clock, options: JobOptions) -> Control {
        Control { store, catalog, clock, options, almanac: Arc::default() }
    }

    /// Whether jobs fire by their triggers.
    pub fn is_on(&self) -> bool {
        self.options.enabled
    }

    /// Every job, by its identifier.
    pub async fn list(&self) -> Result<Vec<JobStatus>> {
        let definitions = self.store.definitions(Kind::Job).await?;
        self.statuses(definitions).await
    }

    /// One job, or `NotFound`.
    pub async fn get(&self, id: &str) -> Result<JobStatus> {
        let definition = self.definition(id).await?;
        let mut statuses = self.statuses(vec![definition]).await?;
        statuses.pop().ok_or_else(|| Error::invalid(format!("job {id} cannot be read")))
    }

    /// Creates a job of a user's own; `Conflict` when there is one of this name.
    pub async fn create(&self, wanted: NewJob, by: &str) -> Result<JobStatus> {
        let new = Job::new(&wanted.id, wanted.trigger, wanted.days, wanted.work, self.clock.now());
        let title = wanted.title.unwrap_or_else(|| wanted.id.clone());
        let title_zh = wanted.title_zh.unwrap_or_else(|| title.clone());
        let job = Job { title, title_zh, catch_up: wanted.catch_up, attempts: wanted.attempts, ..new };
        let job = self.checked(job).await?;
        self.define(&job, 0, by, "created").await?;
        self.get(&job.id).await
    }

    /// Changes a job; `expect`: the revision that was read, else `Conflict`.
    pub async fn change(&self, id: &str, change: JobChange, expect: Option<u64>, by: &str) -> Result<JobStatus> {
        let what = describe(&change);
        self.rewrite(id, expect, by, &what, |job, now| {
            // A new schedule begins now; a resumed one too: what was paused is not made up for.
            let anew = change.trigger.as_ref().is_some_and(|trigger| *trigger != job.trigger)
                || change.days.is_some_and(|days| days != job.days)
                || change.state.is_some_and(|state| state == JobState::Active && job.state != JobState::Active);
            Job {
                title: change.title.unwrap_or(job.title),
                title_zh: change.title_zh.unwrap_or(job.title_zh),
                trigger: change.trigger.unwrap_or(job.trigger),
                days: change.days.unwrap_or(job.days),
                work: change.work.unwrap_or(job.work),
                catch_up: change.catch_up.or(job.catch_up),
                attempts: change.attempts.or(job.attempts),
                state: change.state.unwrap_or(job.state),
                since: if anew { now } else { job.since },
                ..job
            }
        })
        .await
    }

    /// Lets a job run again; at an interval on any day, if one is given. A dataset without a job of its name gets one.
    pub async fn start(&self, id: &str, every_seconds: Option<u32>, by: &str) -> Result<JobStatus> {
        let trigger = every_seconds.map(|seconds| Trigger::Every { seconds });
        self.activate(id, trigger, by).await
    }

    /// Lets a job run by a cron line, on any day that it names. A dataset without a job of its name gets one.
    pub async fn schedule(&self, id: &str, expression: &str, by: &str) -> Result<JobStatus> {
        let trigger = Trigger::Cron { expression: expression.to_string() };
        self.activate(id, Some(trigger), by).await
    }

    pub async fn stop(&self, id: &str, by: &str) -> Result<JobStatus> {
        let state = Some(JobState::Stopped);
        self.change(id, JobChange { state, ..JobChange::default() }, None, by).await
    }

    pub async fn pause(&self, id: &str, by: &str) -> Result<JobStatus> {
        let state = Some(JobState::Paused);
        self.change(id, JobChange { state, ..JobChange::default() }, None, by).await
    }

    pub async fn resume(&self, id: &str, by: &str) -> Result<JobStatus> {
        let state = Some(JobState::Active);
        self.change(id, JobChange { state, ..JobChange::default() }, None, by).await
    }

    /// Asks for a run of the job now, whatever its state and its schedule; `Conflict` while one is open.
    pub async fn trigger(&self, id: &str, by: &str) -> Result<Run> {
        let job = Job::of(&self.definition(id).await?)?;
        let run = Run::new(job.work.clone(), by, "asked for by hand", self.clock.now());
        let run = Run { slot: Some(slot_of(id)), job: Some(job.id), ..run };
        self.create_run(run, by, &format!("job {id} triggered")).await
    }

    /// Removes a job of a user's own. One of the catalogue or of Tidegate would come back: stop it instead.
    pub async fn remove(&self, id: &str, by: &str) -> Result<()> {
        let job = Job::of(&self.definition(id).await?);
        if let Ok(job) = job
            && job.origin != Origin::User
        {
            let message = format!("job {id} belongs to the {} and would come back", origin(job.origin));
            return Err(Error::conflict(message).hint(format!("stop it instead: `tidegate jobs stop {id}`")));
        }
        let gone = Change::Undefine { kind: Kind::Job, name: id.to_string() };
        self.commit(vec![gone, self.audit(by, &format!("job:{id}"), format!("job {id} removed"))]).await
    }

    /// Asks for work. `slot`: at most one open run has it, a second one is a `Conflict` that names the first. Codes may be
    /// bare digits where they are unambiguous.
    pub async fn ask(&self, work: Work, slot: Option<&str>, by: &str, reason: &str) -> Result<Run> {
        let work = ask::checked(&*self.store, &self.catalog, work).await?;
        let run = Run { slot: slot.map(str::to_string), ..Run::new(work, by, reason, self.clock.now()) };
        self.create_run(run, by, &format!("{} asked for", reason_or_run(reason))).await
    }

    /// Ends an open run and its tasks for good. What they committed stays.
    pub async fn cancel(&self, id: RunId, by: &str) -> Result<Run> {
        for _ in 1..CANCELS_MAX {
            match self.try_to_cancel(id, by).await {
                // A worker wrote at the same moment.
                Err(error) if error.kind() == ErrorKind::Conflict && self.run(id).await?.state.is_open() => {}
                cancelled => return cancelled,
            }
        }
        self.try_to_cancel(id, by).await
    }

    async fn try_to_cancel(&self, id: RunId, by: &str) -> Result<Run> {
        let mut run = self.run(id).await?;
        run.become_state(RunState::Cancelled)?;
        let now = self.clock.now();
        run.finished_at = Some(now);
        run.note = Some(format!("cancelled by {by}"));
        let mut changes = vec![Change::Run(run.clone())];
        for id in &run.tasks {
            if let Some(mut task) = self.store.task(*id).await?
                && task.become_state(TaskState::Failed).is_ok()
            {
                task.note = Some(format!("cancelled with run {}", run.id));
                task.finished_at = Some(now);
                changes.push(Change::Task(task));
            }
        }
        changes.push(self.audit(by, &format!("run:{id}"), format!("run {id} cancelled")));
        self.commit(changes).await?;
        self.run(id).await
    }

    /// A run, or `NotFound`.
    pub async fn run(&self, id: RunId) -> Result<Run> {
        let run = self.store.run(id).await?;
        run.ok_or_else(|| Error::not_found(format!("there is no run {id}")).hint("see `tidegate runs`"))
    }

    async fn activate(&self, id: &str, trigger: Option<Trigger>, by: &str) -> Result<JobStatus> {
        let state = Some(JobState::Active);
        // Whoever says when says on which days: those of the schedule before do not hold any more.
        let days = trigger.as_ref().map(|_| Days::Any);
        let change = JobChange { state, trigger: trigger.clone(), days, ..JobChange::default() };
        match (self.change(id, change.clone(), None, by).await, trigger) {
            (Err(error), Some(trigger)) if error.kind() == ErrorKind::NotFound => {
                let Ok(dataset) = self.catalog.get(id) else { return Err(error) };
                let new = NewJob {
                    id: id.to_string(),
                    title: Some(dataset.title.clone()),
                    title_zh: Some(dataset.title_zh.clone()),
                    trigger,
                    days: Days::Any,
                    work: Work::sync([id]),
                    catch_up: None,
                    attempts: None,
                };
                match self.create(new, by).await {
                    // A scheduler that has just begun has written it meanwhile.
                    Err(error) if error.kind() == ErrorKind::Conflict => self.change(id, change, None, by).await,
                    created => created,
                }
            }
            (changed, _) => changed,
        }
    }

    async fn rewrite(
        &self,
        id: &str,
        expect: Option<u64>,
        by: &str,
        what: &str,
        change: impl FnOnce(Job, Instant) -> Job,
    ) -> Result<JobStatus> {
        let definition = self.definition(id).await?;
        let revision = expect.unwrap_or(definition.revision);
        let before = Job::of(&definition)?;
        let job = Job { changed_by_user: true, ..change(before, self.clock.now()) };
        let job = self.checked(job).await?;
        self.define(&job, revision, by, what).await?;
        self.get(id).await
    }

    async fn define(&self, job: &Job, expect: u64, by: &str, what: &str) -> Result<()> {
        let define = Change::Define { kind: Kind::Job, name: job.id.clone(), body: job.body()?, expect: Some(expect) };
        let text = format!("job {} {what}", job.id);
        self.commit(vec![define, self.audit(by, &format!("job:{}", job.id), text)]).await
    }

    async fn create_run(&self, run: Run, by: &str, text: &str) -> Result<Run> {
        let target = run.job.as_ref().map_or("run".to_string(), |job| format!("job:{job}"));
        let changes = vec![Change::Run(run), self.audit(by, &target, text.to_string())];
        let receipt = self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await?;
        let id = receipt.runs.first().ok_or_else(|| Error::bug("creating a run gave no number"))?.run;
        self.run(id).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }

    fn audit(&self, who: &str, target: &str, text: String) -> Change {
        Change::Journal(JournalEntry::change(self.clock.now(), who, target, text))
    }

    async fn definition(&self, id: &str) -> Result<Definition> {
        let definition = self.store.definition(Kind::Job, id).await?;
        definition.ok_or_else(|| Error::not_found(format!("there is no job {id}")).hint("see `tidegate jobs`"))
    }

    async fn statuses(&self, definitions: Vec<Definition>) -> Result<Vec<JobStatus>> {
        let now = self.clock.now();
        let read = definitions.iter().filter_map(|definition| Some((Job::of(definition).ok()?, definition.revision)));
        let (jobs, revisions): (Vec<Job>, Vec<u64>) = read.unzip();
        let catch_up = self.options.catch_up;
        let (calendar, facts) = self.almanac.facts(&*self.store, &self.catalog, &jobs, now, catch_up).await?;
        let open = RunsWanted { open: true, limit: OPEN_RUNS_MAX, ..RunsWanted::default() };
        let open: BTreeMap<String, Run> =
            self.store.runs(&open).await?.into_iter().filter_map(|run| Some((run.job.clone()?, run))).collect();
        let mut statuses = Vec::new();
        for (job, revision) in jobs.into_iter().zip(revisions) {
            let newest = RunsWanted { job: Some(job.id.clone()), limit: 1, ..RunsWanted::default() };
            let last_run = self.store.runs(&newest).await?.pop();
            let last_due = last_due(&*self.store, &job.id).await?;
            let next = next_run(&job, last_due, now, &calendar, &facts);
            let next = self.as_told(next, open.get(&job.id), now);
            statuses.push(JobStatus { job, revision, next, last_run });
        }
        Ok(statuses)
    }

    /// What people are told: a run that waits comes before the schedule, and nothing fires where jobs are switched off.
    fn as_told(&self, next: NextRun, open: Option<&Run>, now: Instant) -> NextRun {
        if let Some(run) = open.filter(|run| run.state == RunState::Pending) {
            let reason = match run.attempt {
                0 => format!("waits for a worker: {}", run.reason),
                attempt => format!("attempt {} after: {}", attempt + 1, run.note.as_deref().unwrap_or("an error")),
            };
            return NextRun { at: Some(run.not_before.max(now)), reason };
        }
        if !self.options.enabled && next.at.is_some() {
            return NextRun { at: None, reason: "jobs.enabled is false".to_string() };
        }
        next
    }

    /// The job with its work in canonical words, or what is wrong with it.
    async fn checked(&self, job: Job) -> Result<Job> {
        check_id(&job.id)?;
        check_trigger(&job.trigger, &self.catalog)?;
        for title in [&job.title, &job.title_zh] {
            if title.trim().is_empty() || title.chars().count() > TITLE_CHARS_MAX || title.chars().any(char::is_control)
            {
                let message = "the title of a job is empty, too long, or has a control character in it";
                return Err(Error::invalid(message).hint(format!("use at most {TITLE_CHARS_MAX} characters")));
            }
        }
        if job.attempts.is_some_and(|attempts| attempts > ATTEMPTS_MAX) {
            return Err(Error::invalid(format!("a job is tried again at most {ATTEMPTS_MAX} times")));
        }
        let work = ask::checked(&*self.store, &self.catalog, job.work).await?;
        if matches!(job.trigger, Trigger::Continuous { .. }) && work.action != Action::Poll {
            let error = Error::invalid("a continuous job polls: its work has another action");
            return Err(error.hint("set work.action to poll"));
        }
        Ok(Job { work, ..job })
    }
}

fn check_trigger(trigger: &Trigger, catalog: &Catalog) -> Result<()> {
    let in_range = |seconds: u32| match EVERY_SECONDS.contains(&seconds) {
        true => Ok(()),
        false => Err(Error::invalid(format!("{seconds} s is no interval of a job")).hint(format!(
            "from {} s to {} s",
            EVERY_SECONDS.start(),
            EVERY_SECONDS.end()
        ))),
    };
    match trigger {
        Trigger::Cron { expression } => Cron::parse(expression).map(|_| ()),
        Trigger::Every { seconds } => in_range(*seconds),
        Trigger::Event { on: On::Disclosure } => Ok(()),
        Trigger::Event { on: On::Whole { dataset } | On::Published { dataset } } => catalog.get(dataset).map(|_| ()),
        Trigger::Continuous { every_seconds } => every_seconds.map_or(Ok(()), in_range),
    }
}

fn describe(change: &JobChange) -> String {
    match change {
        JobChange { state: Some(JobState::Paused), .. } => "paused".to_string(),
        JobChange { state: Some(JobState::Stopped), .. } => "stopped".to_string(),
        JobChange { trigger: Some(_), .. } => "scheduled anew".to_string(),
        JobChange { state: Some(JobState::Active), .. } => "resumed".to_string(),
        _ => "changed".to_string(),
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Catalog => "catalogue",
        Origin::Default => "defaults",
        Origin::User => "user",
    }
}

fn reason_or_run(reason: &str) -> &str {
    if reason.is_empty() { "run" } else { reason }
}

//! The overview: what is fresh, late or missing, what runs, what is left of the quotas, what needs a person.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::attention::of_gate;
use crate::engine::Engine;
use crate::engine::doors::Seen;
use crate::engine::standing::Standing as Place;
use crate::model::dataset::RowOrigin;
use crate::model::{Dataset, Day, Failure, Instant, Result, RunState, RunsWanted};
use crate::plan::{self, Knowledge, Wholeness};
use crate::scheduler::JobStatus;
use crate::serve::Service;
use crate::serve::problem::Problem;
use crate::serve::views::{RunView, TaskView};
use crate::store::{DatasetSummary, Summary};

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(overview))
}

/// Everything at one glance.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    now: String,
    /// Today if the exchange is open today, else the last day on which it was.
    trading_day: String,
    /// Whether a session is on.
    is_trading: bool,
    counts: OverviewCounts,
    store: StoreItem,
    datasets: Vec<Standing>,
    /// Open tasks, and the newest ended ones.
    tasks: Vec<TaskView>,
    /// Open runs, and the newest ended ones.
    runs: Vec<RunView>,
    sources: Vec<SourceItem>,
    attention: Vec<Attention>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct OverviewCounts {
    fresh: u64,
    late: u64,
    missing: u64,
    attention: u64,
}

/// What the whole store holds.
#[derive(Debug, Serialize, ToSchema)]
struct StoreItem {
    location: String,
    bytes: u64,
    last_event: u64,
}

/// How a table stands.
#[derive(Debug, Serialize, ToSchema)]
struct Standing {
    name: String,
    title: String,
    title_zh: String,
    shape: String,
    /// `fresh` (what publishers send always is), `late` (something that is due is not there), `missing` (never asked for) or `off` (nobody serves it).
    state: &'static str,
    /// The last day up to which every expected cell is explained.
    whole_until: Option<String>,
    /// The last day that has rows.
    last_day: Option<String>,
    /// The last day that is due now.
    due_day: Option<String>,
    /// Due days (weeks, months, periods) after `whole_until`.
    lag_days: u64,
    rows: u64,
    next_run: Option<NextRunItem>,
    /// Answers that will be asked for again.
    provisional: u64,
    /// Unresolved ones.
    failures: u64,
    quarantined: u64,
    /// Open ones.
    conflicts: u64,
    last_commit_at: Option<String>,
}

/// When a table is asked for next, and why then.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NextRunItem {
    pub at: String,
    pub job: String,
    pub reason: String,
}

/// What is left of a source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OverviewSource)]
struct SourceItem {
    name: String,
    rank: u8,
    /// Whether it may be asked, as far as is known without asking.
    open: bool,
    used_today: u64,
    /// Of the API of which the fewest calls are left.
    per_day: Option<u64>,
    left_today: Option<u64>,
    per_minute: Option<u32>,
}

/// Something that needs a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attention {
    /// `failure`, `quarantine`, `conflict`, `source`, `job`, `late`, `receiver`, `delivery`, `alert` or `difference`.
    pub kind: &'static str,
    pub dataset: Option<String>,
    pub source: Option<String>,
    pub subscription: Option<String>,
    pub count: u64,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub remedy: String,
    /// Where the dashboard shows it.
    pub link: String,
}

/// Ended tasks and runs that are shown.
const ENDED_SHOWN: usize = 10;
/// Tasks and runs that are looked through.
const SEARCHED_MAX: usize = 200;
/// Open conflicts that are counted.
const CONFLICTS_MAX: usize = 10_000;

/// Everything at one glance; cheap, because only what events have changed is counted again.
#[utoipa::path(get, path = "/api/v1/overview", tag = "state", responses((status = 200, body = Overview)))]
async fn overview(State(service): State<Service>) -> Result<Json<Overview>, Problem> {
    let now = service.clock.now();
    let engine = service.engines.current().await?;
    let (knowledge, summary) = (service.knowledge().await?, service.summary().await?);
    let failures = service.store.failures(None, false).await?;
    let doors = engine.doors(&service.sources).await?;
    let jobs = service.control.list().await?;
    let mut datasets = standings(&service, &engine, &summary, &failures).await?;
    next_runs(&mut datasets, &jobs, &engine);
    let mut attention = attention(&datasets, &failures, &doors);
    attention.extend(jobs.iter().filter_map(failed_job));
    attention.extend(of_gate(&service).await?);
    let count = |state: &str| datasets.iter().filter(|dataset| dataset.state == state).count() as u64;
    let counts = OverviewCounts {
        fresh: count("fresh"),
        late: count("late"),
        missing: count("missing"),
        attention: attention.len() as u64,
    };
    Ok(Json(Overview {
        now: now.to_string(),
        trading_day: trading_day(&knowledge, now).to_string(),
        is_trading: plan::is_trading(&knowledge.calendar, now),
        counts,
        store: StoreItem { location: summary.location.clone(), bytes: summary.bytes, last_event: summary.last_event },
        datasets,
        tasks: tasks(&service, now).await?,
        runs: runs(&service).await?,
        sources: doors.iter().filter(|seen| seen.configured.enabled).map(SourceItem::new).collect(),
        attention,
    }))
}

/// The first job that asks for each table.
fn next_runs(datasets: &mut [Standing], jobs: &[JobStatus], engine: &Engine) {
    let mut by_time: Vec<(Instant, &JobStatus)> =
        jobs.iter().filter_map(|status| Some((status.next.at?, status))).collect();
    by_time.sort_by(|one, other| (one.0, &one.1.job.id).cmp(&(other.0, &other.1.job.id)));
    for (at, status) in by_time {
        let Ok(asked) = engine.datasets_of(&status.job.work) else { continue };
        for dataset in datasets.iter_mut().filter(|dataset| dataset.next_run.is_none() && asked.contains(&dataset.name))
        {
            let (at, job, reason) = (at.to_string(), status.job.id.clone(), status.next.reason.clone());
            dataset.next_run = Some(NextRunItem { at, job, reason });
        }
    }
}

/// A job whose last run failed for good.
fn failed_job(status: &JobStatus) -> Option<Attention> {
    let run = status.last_run.as_ref().filter(|run| run.state == RunState::Failed)?;
    let note = run.note.as_deref().unwrap_or("see its tasks");
    Some(Attention {
        kind: "job",
        dataset: None,
        source: None,
        subscription: None,
        count: 1,
        text: format!("the last run of job {} failed: {note}", status.job.id),
        remedy: "trigger it when the cause is mended".to_string(),
        link: format!("/jobs?id={}", status.job.id),
    })
}

fn trading_day(knowledge: &Knowledge, now: Instant) -> Day {
    let today = now.day();
    let mut days = today.plus(-31).to(today).rev();
    days.find(|day| knowledge.calendar.may_be_open(*day)).unwrap_or(today)
}

async fn standings(
    service: &Service,
    engine: &Engine,
    summary: &Summary,
    failures: &[Failure],
) -> Result<Vec<Standing>> {
    let mut conflicts: BTreeMap<String, u64> = BTreeMap::new();
    for conflict in service.store.conflicts(None, false, CONFLICTS_MAX).await? {
        *conflicts.entry(conflict.dataset).or_default() += 1;
    }
    let mut standings = Vec::new();
    for dataset in service.catalog.datasets() {
        let whole = service.standing(dataset, &engine.sources).await?;
        let none = DatasetSummary::default();
        let stored = summary.datasets.iter().find(|stored| stored.name == dataset.name).unwrap_or(&none);
        let day = |day: Option<Day>| day.map(|day| day.to_string());
        standings.push(Standing {
            name: dataset.name.clone(),
            title: dataset.title.clone(),
            title_zh: dataset.title_zh.clone(),
            shape: super::datasets::word(&dataset.shape),
            state: state(dataset, &whole, engine),
            whole_until: day(whole.until),
            last_day: day(whole.last_day),
            due_day: day(whole.due),
            lag_days: whole.lag,
            rows: stored.rows,
            next_run: None,
            provisional: whole.provisional,
            failures: failures.iter().filter(|failure| failure.dataset == dataset.name).count() as u64,
            quarantined: stored.quarantined,
            conflicts: conflicts.get(&dataset.name).copied().unwrap_or_default(),
            last_commit_at: stored.last_commit_at.map(|at| at.to_string()),
        });
    }
    Ok(standings)
}

fn state(dataset: &Dataset, whole: &Wholeness, engine: &Engine) -> &'static str {
    match whole.kept {
        _ if dataset.origin == RowOrigin::Publishers => "fresh",
        true if whole.lag == 0 => "fresh",
        true => "late",
        false if engine.sources.iter().any(|source| source.offer(dataset).is_some()) => "missing",
        false => "off",
    }
}

async fn tasks(service: &Service, now: Instant) -> Result<Vec<TaskView>> {
    let (runs, mut ended) = (service.runs_of_tasks().await?, 0);
    let mut tasks = service.store.tasks(SEARCHED_MAX).await?;
    tasks.retain(|task| {
        ended += usize::from(!task.state.is_open());
        task.state.is_open() || ended <= ENDED_SHOWN
    });
    Ok(tasks.iter().map(|task| TaskView::new(task, runs.get(&task.id).copied(), now)).collect())
}

async fn runs(service: &Service) -> Result<Vec<RunView>> {
    let mut ended = 0;
    let mut runs = service.store.runs(&RunsWanted { limit: SEARCHED_MAX, ..RunsWanted::default() }).await?;
    runs.retain(|run| {
        ended += usize::from(!run.state.is_open());
        run.state.is_open() || ended <= ENDED_SHOWN
    });
    Ok(runs.iter().map(RunView::new).collect())
}

impl SourceItem {
    fn new(seen: &Seen) -> SourceItem {
        let tightest = seen.quotas.first();
        SourceItem {
            name: seen.configured.name.clone(),
            rank: seen.configured.rank,
            open: seen.closed().is_none(),
            used_today: seen.calls_today,
            per_day: tightest.map(|quota| quota.per_day),
            left_today: tightest.map(|quota| quota.left()),
            per_minute: seen.per_minute,
        }
    }
}

/// What needs a person, the most pressing first.
fn attention(datasets: &[Standing], failures: &[Failure], doors: &[Seen]) -> Vec<Attention> {
    let sources = doors.iter().filter(|seen| seen.configured.enabled).filter_map(of_source);
    sources.chain(datasets.iter().flat_map(|dataset| of_dataset(dataset, failures))).collect()
}

fn of_source(seen: &Seen) -> Option<Attention> {
    let name = &seen.configured.name;
    let (text, remedy) = match (seen.closed(), &seen.standing) {
        (Some(why), _) => (format!("{name} is not asked: {why}"), "set its token, or test it under sources"),
        (None, Place::Demoted(why)) => {
            (format!("{name} is asked after the others: {why}"), "it wins its place back by itself")
        }
        (None, Place::Good) => return None,
    };
    Some(Attention {
        kind: "source",
        dataset: None,
        source: Some(name.clone()),
        subscription: None,
        count: 1,
        text,
        remedy: remedy.to_string(),
        link: "/sources".to_string(),
    })
}

fn of_dataset(dataset: &Standing, failures: &[Failure]) -> Vec<Attention> {
    let name = &dataset.name;
    let mut found = Vec::new();
    let mut add = |kind, count, text: String, remedy: &str, link: String| {
        let (dataset, remedy) = (Some(name.clone()), remedy.to_string());
        found.push(Attention { kind, dataset, source: None, subscription: None, count, text, remedy, link });
    };
    if dataset.failures > 0 {
        let given_up = |failure: &&Failure| failure.dataset == *name && failure.attempts >= failure.attempts_max;
        let text = match failures.iter().filter(given_up).count() {
            0 => format!("{} slices failed and are tried again", dataset.failures),
            some => format!("{} slices failed, {some} of them for good", dataset.failures),
        };
        let link = format!("/failures?dataset={name}");
        add("failure", dataset.failures, text, "retry them, or settle them by hand", link);
    }
    if dataset.conflicts > 0 {
        let text = format!("{} rows differ from the stored ones and wait for a decision", dataset.conflicts);
        let link = format!("/failures?dataset={name}&view=conflicts");
        add("conflict", dataset.conflicts, text, "take the stored or the offered row", link);
    }
    if dataset.quarantined > 0 {
        let text = format!("{} rows were refused by a rule and kept apart", dataset.quarantined);
        let link = format!("/failures?dataset={name}&view=quarantine");
        add("quarantine", dataset.quarantined, text, "look at them; ask for their days again", link);
    }
    if dataset.state == "late" {
        let after = dataset.whole_until.as_deref().map(|day| format!("after {day}"));
        let after = after.unwrap_or_else(|| "from the first day on".to_string());
        let text = format!("not whole {after}; due is {}", dataset.due_day.as_deref().unwrap_or("now"));
        add("late", dataset.lag_days, text, "see which days are missing, and fetch them", format!("/coverage/{name}"));
    }
    found
}

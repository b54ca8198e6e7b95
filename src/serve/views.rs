//! Tasks and runs as the API, the web socket and the dashboard show them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::model::{
    Instant, Result, Run, RunId, RunsWanted, Securities, Task, TaskId, TaskState, Totals, task::Served,
};
use crate::store::Store;

/// One request to sync one table, its state and its progress.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskView {
    pub id: TaskId,
    pub dataset: String,
    /// `pending`, `running`, `paused`, `completed` or `failed`.
    pub state: &'static str,
    /// `success` or `success_with_errors`, once completed.
    pub outcome: Option<&'static str>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub note: Option<String>,
    /// The host and process that runs it, where several share the store.
    pub worker: Option<String>,
    /// The run that it belongs to.
    pub run: Option<RunId>,
    pub request: RequestView,
    /// Every figure, by its name.
    pub totals: BTreeMap<&'static str, u64>,
    pub slices: SlicesView,
    /// Rows that the sources sent.
    pub rows: u64,
    pub rows_per_second: Option<f64>,
    /// At the rate so far; while it runs.
    pub seconds_left: Option<u64>,
    /// What each source did, by its name.
    pub by_source: BTreeMap<String, ServedView>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Request)]
pub struct RequestView {
    /// Securities by code; empty: all of them.
    pub codes: Vec<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// Asked again although claimed and final.
    pub force: bool,
    pub source: Option<String>,
    /// The strategy and its parameters, as far as they were named.
    #[schema(value_type = Object)]
    pub how: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Slices)]
pub struct SlicesView {
    pub planned: u64,
    pub done: u64,
    pub failed: u64,
    /// Answers that looked thin: kept, and asked again later.
    pub partial: u64,
}

/// What one source did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Served)]
pub struct ServedView {
    pub slices: u64,
    pub rows: u64,
    pub calls: u64,
    pub calls_failed: u64,
    /// Answers that were refused because their units are wrong.
    pub wrong: u64,
    pub network_ms: u64,
    /// Rows of its answers that were new, and that changed stored ones.
    pub inserted: u64,
    pub updated: u64,
}

/// One asking for work, with the tasks that it became.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunView {
    pub id: RunId,
    pub job: Option<String>,
    /// The instant of the job's schedule.
    pub due_at: Option<String>,
    pub asked_by: String,
    pub reason: String,
    /// What shall be done.
    #[schema(value_type = Object)]
    pub work: Value,
    /// `pending`, `running`, `success`, `success_with_errors`, `failed` or `cancelled`.
    pub state: &'static str,
    /// Attempts that began.
    pub attempt: u32,
    pub not_before: String,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub tasks: Vec<TaskId>,
    /// Every figure, by its name, summed over the tasks that have ended.
    pub totals: BTreeMap<&'static str, u64>,
    pub note: Option<String>,
    pub worker: Option<String>,
}

impl TaskView {
    /// A task as it stands at `now`; `run` is the one that it belongs to.
    pub fn new(task: &Task, run: Option<RunId>, now: Instant) -> TaskView {
        let totals = &task.totals;
        let end = task.finished_at.unwrap_or(now);
        let seconds = task.started_at.map(|started| end.millis_since(started).max(1) as f64 / 1000.0);
        let finished = totals.slices_done + totals.slices_failed;
        let left = totals.slices_planned.saturating_sub(finished) as f64;
        let runs = task.state == TaskState::Running && finished > 0;
        TaskView {
            id: task.id,
            dataset: task.dataset.clone(),
            state: task.state.name(),
            outcome: task.outcome.map(|outcome| outcome.name()),
            created_at: task.created_at.to_string(),
            started_at: text(task.started_at),
            finished_at: text(task.finished_at),
            note: task.note.clone(),
            worker: task.lease.as_ref().map(|lease| lease.worker.clone()),
            run,
            request: RequestView {
                codes: match &task.request.securities {
                    Securities::All => Vec::new(),
                    Securities::Some(codes) => codes.iter().map(|code| code.to_string()).collect(),
                },
                from: task.request.from.clone(),
                to: task.request.to.clone(),
                force: task.request.force,
                source: task.request.source.clone(),
                how: as_json(&task.request.how),
            },
            totals: figures(totals),
            slices: SlicesView {
                planned: totals.slices_planned,
                done: totals.slices_done,
                failed: totals.slices_failed,
                partial: totals.slices_partial,
            },
            rows: totals.rows_answered,
            rows_per_second: seconds.map(|seconds| (totals.rows_answered as f64 / seconds * 10.0).round() / 10.0),
            seconds_left: seconds.filter(|_| runs).map(|seconds| (seconds / finished as f64 * left).ceil() as u64),
            by_source: totals.by_source.iter().map(|(name, served)| (name.clone(), ServedView::new(served))).collect(),
        }
    }
}

impl ServedView {
    fn new(served: &Served) -> ServedView {
        let Served { slices, rows, calls, calls_failed, wrong, network_ms, inserted, updated } = *served;
        ServedView { slices, rows, calls, calls_failed, wrong, network_ms, inserted, updated }
    }
}

impl RunView {
    pub fn new(run: &Run) -> RunView {
        RunView {
            id: run.id,
            job: run.job.clone(),
            due_at: text(run.due_at),
            asked_by: run.asked_by.clone(),
            reason: run.reason.clone(),
            work: as_json(&run.work),
            state: run.state.name(),
            attempt: run.attempt,
            not_before: run.not_before.to_string(),
            created_at: run.created_at.to_string(),
            started_at: text(run.started_at),
            finished_at: text(run.finished_at),
            tasks: run.tasks.clone(),
            totals: figures(&run.totals),
            note: run.note.clone(),
            worker: run.lease.as_ref().map(|lease| lease.worker.clone()),
        }
    }
}

fn text(at: Option<Instant>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn figures(totals: &Totals) -> BTreeMap<&'static str, u64> {
    totals.figures().into_iter().collect()
}

/// What is made of names and numbers can always be written.
fn as_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Runs that are looked through for the tasks that they became.
const RUNS_LOOKED_THROUGH: usize = 100;

/// To which of the newest runs tasks belong.
pub async fn runs_of_tasks(store: &dyn Store) -> Result<HashMap<TaskId, RunId>> {
    let runs = store.runs(&RunsWanted { limit: RUNS_LOOKED_THROUGH, ..RunsWanted::default() }).await?;
    // The newest run of a task counts: it comes first, and is kept last.
    Ok(runs.iter().rev().flat_map(|run| run.tasks.iter().map(|task| (*task, run.id))).collect())
}

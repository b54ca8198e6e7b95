//! Tasks: what is fetched and how it goes; pausing, resuming and ending it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::model::{Error, Event, EventType, Result, RunId, RunsWanted, Task, TaskId, TaskState, Work};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::extract::{Named, Params};
use crate::serve::problem::Problem;
use crate::serve::views::TaskView;

pub fn routes() -> OpenApiRouter<Service> {
    let read = OpenApiRouter::new().routes(routes!(tasks)).routes(routes!(task));
    read.routes(routes!(pause)).routes(routes!(resume)).routes(routes!(cancel))
}

/// A task with what happened to it.
#[derive(Debug, Serialize, ToSchema)]
struct TaskDetail {
    #[serde(flatten)]
    task: TaskView,
    /// Oldest first; of very many events the newest.
    timeline: Vec<Moment>,
    phases: Phases,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
struct Moment {
    at: String,
    /// The name of the event.
    kind: &'static str,
    /// For people.
    text: String,
    #[schema(value_type = Object)]
    data: Value,
}

/// Where the time went, summed over its calls.
#[derive(Debug, Serialize, ToSchema)]
struct Phases {
    quota_wait_ms: u64,
    network_ms: u64,
    decode_ms: u64,
    check_ms: u64,
    write_ms: u64,
}

/// Which tasks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TasksParams {
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Only those with a smaller number
    before: Option<TaskId>,
    dataset: Option<String>,
    /// `pending`, `running`, `paused`, `completed` or `failed`
    state: Option<String>,
}

/// Tasks that are looked through for those that are wanted.
const SEARCHED_MAX: usize = 10_000;
/// Runs that are looked through for those that tasks belong to.
const RUNS_SEARCHED: usize = 500;

impl Service {
    /// The run that each task belongs to, as far as the newest runs say.
    pub async fn runs_of_tasks(&self) -> Result<HashMap<TaskId, RunId>> {
        let wanted = RunsWanted { limit: RUNS_SEARCHED, ..RunsWanted::default() };
        let runs = self.store.runs(&wanted).await?;
        Ok(runs.iter().rev().flat_map(|run| run.tasks.iter().map(|task| (*task, run.id))).collect())
    }

    pub async fn task_view(&self, task: &Task) -> Result<TaskView> {
        let run = self.runs_of_tasks().await?.get(&task.id).copied();
        Ok(TaskView::new(task, run, self.clock.now()))
    }

    async fn found_task(&self, id: TaskId) -> Result<Task> {
        let task = self.store.task(id).await?;
        task.ok_or_else(|| Error::not_found(format!("there is no task {id}")).hint("GET /api/v1/tasks lists them"))
    }
}

/// Tasks, newest first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "work", params(TasksParams), responses(
    (status = 200, body = Page<TaskView>)))]
async fn tasks(
    State(service): State<Service>,
    Params(params): Params<TasksParams>,
) -> Result<Json<Page<TaskView>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let state = params.state.as_deref().map(|name| {
        let names = || TaskState::ALL.map(TaskState::name).join(", ");
        let unknown = || Error::invalid("there is no such state of a task").hint(format!("there are {}", names()));
        TaskState::from_name(name).ok_or_else(unknown)
    });
    let state = state.transpose()?;
    let is_plain = params.before.is_none() && params.dataset.is_none() && state.is_none();
    let all = service.store.tasks(if is_plain { limit + 1 } else { SEARCHED_MAX }).await?;
    let wanted = |task: &Task| {
        params.before.is_none_or(|before| task.id < before)
            && params.dataset.as_deref().is_none_or(|dataset| task.dataset == dataset)
            && state.is_none_or(|state| task.state == state)
    };
    let found: Vec<Task> = all.into_iter().filter(wanted).take(limit + 1).collect();
    let (runs, now) = (service.runs_of_tasks().await?, service.clock.now());
    let view = |task: Task| TaskView::new(&task, runs.get(&task.id).copied(), now);
    Ok(Json(Page::of(found, limit, |task| task.id, view)))
}

/// One task with its timeline.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "work", params(("id" = i64, Path)), responses(
    (status = 200, body = TaskDetail)))]
async fn task(State(service): State<Service>, Named(id): Named<TaskId>) -> Result<Json<TaskDetail>, Problem> {
    let task = service.found_task(id).await?;
    let totals = &task.totals;
    let phases = Phases {
        quota_wait_ms: totals.quota_wait_ms,
        network_ms: totals.network_ms,
        decode_ms: totals.decode_ms,
        check_ms: totals.check_ms,
        write_ms: totals.write_ms,
    };
    let timeline = timeline(&service, &task).await?;
    Ok(Json(TaskDetail { task: service.task_view(&task).await?, timeline, phases }))
}

/// Events of one answer.
const TIMELINE_MAX: usize = 500;

/// What the event log has of a task, oldest first: of very many events the newest, and how it began.
async fn timeline(service: &Service, task: &Task) -> Result<Vec<Moment>> {
    let events = service.store.task_events(task.id, TIMELINE_MAX).await?;
    let moment = |event: &Event| Moment {
        at: event.at.to_string(),
        kind: event.kind.name(),
        text: told(event),
        data: event.data.clone(),
    };
    Ok(events.iter().rev().map(moment).collect())
}

/// An event in words.
pub fn told(event: &Event) -> String {
    let text = |name: &str| event.data[name].as_str().unwrap_or_default().to_string();
    let count = |name: &str| event.data[name].as_u64().unwrap_or_default();
    match event.kind {
        EventType::SliceCommitted => {
            let (area, source) = (text("area"), text("source"));
            let counts = ["inserted", "updated", "unchanged", "withdrawn", "quarantined"];
            let counts =
                counts.into_iter().filter(|name| count(name) > 0).map(|name| format!("{} {name}", count(name)));
            let counts: Vec<String> = counts.collect();
            let what = if counts.is_empty() { "no rows".to_string() } else { counts.join(", ") };
            format!("{area} from {source}: {what}")
        }
        EventType::SliceFailed => {
            let why = [text("message"), text("kind")].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
            format!("{}: {why}", text("area"))
        }
        EventType::TaskCreated => "asked for".to_string(),
        EventType::TaskStarted => "a worker began".to_string(),
        EventType::TaskPaused => with_note("paused", &text("note")),
        EventType::TaskCompleted => with_note("completed", &text("outcome")),
        EventType::TaskFailed => with_note("failed", &text("note")),
        kind => with_note(&kind.name().replace(['.', '_'], " "), &text("area")),
    }
}

fn with_note(what: &str, note: &str) -> String {
    if note.is_empty() { what.to_string() } else { format!("{what}: {note}") }
}

/// Pauses a pending or running task; it waits until somebody resumes it.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/pause", tag = "work", params(("id" = i64, Path)), responses(
    (status = 200, body = TaskView)))]
async fn pause(State(service): State<Service>, Named(id): Named<TaskId>) -> Result<Json<TaskView>, Problem> {
    let task = service.engines.current().await?.pause(id).await?;
    Ok(Json(service.task_view(&task).await?))
}

/// Ends an open task for good; what it committed stays.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/cancel", tag = "work", params(("id" = i64, Path)), responses(
    (status = 200, body = TaskView)))]
async fn cancel(State(service): State<Service>, Named(id): Named<TaskId>) -> Result<Json<TaskView>, Problem> {
    let task = service.engines.current().await?.cancel(id).await?;
    Ok(Json(service.task_view(&task).await?))
}

/// Lets a paused task go on: a run asks for the same again, which joins it.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/resume", tag = "work", params(("id" = i64, Path)), responses(
    (status = 200, body = TaskView)))]
async fn resume(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<TaskId>,
) -> Result<Json<TaskView>, Problem> {
    let task = service.found_task(id).await?;
    if !matches!(task.state, TaskState::Paused | TaskState::Pending) {
        let message = format!("task {id} is {} and cannot be resumed", task.state.name());
        return Err(Error::conflict(message).hint("POST /api/v1/runs starts a new one").into());
    }
    service.control.ask(work_of(&task), None, &caller.name, &format!("task {id} shall go on")).await?;
    Ok(Json(service.task_view(&service.found_task(id).await?).await?))
}

/// The work that becomes the same request again.
fn work_of(task: &Task) -> Work {
    let request = &task.request;
    let codes = match &request.securities {
        crate::model::Securities::All => Vec::new(),
        crate::model::Securities::Some(codes) => codes.iter().map(|code| code.to_string()).collect(),
    };
    Work {
        codes,
        from: request.from.clone(),
        to: request.to.clone(),
        all_history: request.from.is_none(),
        force: request.force,
        sources: request.source.iter().cloned().collect(),
        how: request.how.clone(),
        ..Work::sync([task.dataset.as_str()])
    }
}

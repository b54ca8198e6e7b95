//! Runs: asking for work, following it, ending it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::model::{Action, Change, Commit, Day, Error, Result, Run, RunId, RunState, RunsWanted, Work};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::extract::{Body, Named, Params, object};
use crate::serve::problem::Problem;
use crate::serve::views::{RunView, TaskView};

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(runs, start)).routes(routes!(run)).routes(routes!(cancel))
}

/// A run with its tasks in full.
#[derive(Debug, Serialize, ToSchema)]
struct RunDetail {
    #[serde(flatten)]
    run: RunView,
    task_list: Vec<TaskView>,
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RunsParams {
    /// Only of this job
    job: Option<String>,
    /// Only pending and running ones
    #[serde(default)]
    open: bool,
    /// Only those with a smaller number
    before: Option<RunId>,
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// What shall be done.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkBody {
    /// `sync`, `poll` or `check`
    #[schema(value_type = Option<String>)]
    action: Action,
    /// Tables; none: every one that the sources serve
    datasets: Vec<String>,
    /// Securities; six digits where they are unambiguous; none: all
    codes: Vec<String>,
    from: Option<String>,
    to: Option<String>,
    /// From so many days before today
    days_back: Option<u32>,
    all_history: bool,
    /// Ask again for what is claimed and final
    force: bool,
    /// Only these sources, in this order
    sources: Vec<String>,
    /// Strategy and its parameters
    #[serde(deserialize_with = "object")]
    #[schema(value_type = Object)]
    how: crate::model::How,
    /// Why, for people
    reason: Option<String>,
}

/// Names that one request may list.
const NAMED_MAX: usize = 10_000;

impl Service {
    /// The work that a body asks for, with every name understood.
    pub async fn work(&self, body: WorkBody) -> Result<Work> {
        let listed = body.datasets.len() + body.codes.len() + body.sources.len();
        if listed > NAMED_MAX {
            return Err(Error::invalid(format!("{listed} names are more than the {NAMED_MAX} that one run may have")));
        }
        let known = &self.knowledge().await?.securities;
        let day = |text: &Option<String>, name| -> Result<Option<Day>> {
            text.as_deref().map(|text| Day::parse(text).map_err(|error| error.while_doing(name))).transpose()
        };
        let (from, to) = (day(&body.from, "from")?, day(&body.to, "to")?);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(Error::invalid(format!("from {from} lies after to {to}")).hint("swap the two"));
        }
        let named = body.datasets.iter().map(|name| Ok(self.catalog.get(name)?.name.clone()));
        let codes = body.codes.iter().map(|code| Ok(known.meant_by(code)?.to_string()));
        let work = Work {
            action: body.action,
            datasets: named.collect::<Result<_>>()?,
            codes: codes.collect::<Result<_>>()?,
            from: from.map(|day| day.to_string()),
            to: to.map(|day| day.to_string()),
            days_back: body.days_back,
            all_history: body.all_history,
            force: body.force,
            sources: body.sources,
            how: body.how,
        };
        self.engines.current().await?.asking(&work.sources)?;
        Ok(work)
    }

    /// Asks for work; a worker takes it up.
    pub async fn start_run(&self, work: Work, asked_by: &str, reason: &str) -> Result<Run> {
        let now = self.clock.now();
        let run = Run::new(work, asked_by, reason, now);
        let receipt = self.store.commit(Commit { at: now, fence: None, changes: vec![Change::Run(run)] }).await?;
        let id = receipt.runs.first().ok_or_else(|| Error::bug("asking for a run gave no number"))?.run;
        self.found_run(id).await
    }

    pub async fn found_run(&self, id: RunId) -> Result<Run> {
        let run = self.store.run(id).await?;
        run.ok_or_else(|| Error::not_found(format!("there is no run {id}")).hint("GET /api/v1/runs lists them"))
    }
}

/// Runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunsParams), responses(
    (status = 200, body = Page<RunView>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn runs(
    State(service): State<Service>,
    Params(params): Params<RunsParams>,
) -> Result<Json<Page<RunView>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let wanted = RunsWanted {
        job: params.job,
        open: params.open,
        before: params.before,
        limit: limit + 1,
        ..RunsWanted::default()
    };
    let found = service.store.runs(&wanted).await?;
    Ok(Json(Page::of(found, limit, |run| run.id, |run| RunView::new(&run))))
}

/// One run with its tasks.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = i64, Path)), responses(
    (status = 200, body = RunDetail), (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn run(State(service): State<Service>, Named(id): Named<RunId>) -> Result<Json<RunDetail>, Problem> {
    let run = service.found_run(id).await?;
    let mut task_list = Vec::new();
    for task in run.tasks.iter().rev().take(service.options.page_rows_max) {
        if let Some(task) = service.store.task(*task).await? {
            task_list.push(TaskView::new(&task, Some(run.id), service.clock.now()));
        }
    }
    Ok(Json(RunDetail { run: RunView::new(&run), task_list }))
}

/// Asks for work. A worker of this or another process takes it up; what of it runs already is joined.
#[utoipa::path(post, path = "/api/v1/runs", tag = "runs", request_body = WorkBody, responses(
    (status = 202, body = RunView), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn start(
    State(service): State<Service>,
    caller: Caller,
    Body(body): Body<WorkBody>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let reason = body.reason.clone().unwrap_or_else(|| "asked for by hand".to_string());
    let reason: String = reason.chars().filter(|letter| !letter.is_control()).take(200).collect();
    let work = service.work(body).await?;
    let run = service.start_run(work, &caller.name, &reason).await?;
    Ok((StatusCode::ACCEPTED, Json(RunView::new(&run))))
}

/// Ends a run: a pending one does not begin, the open tasks of a running one are cancelled; what they committed stays.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "runs", params(("id" = i64, Path)), responses(
    (status = 200, body = RunView), (status = 404, body = Problem, content_type = "application/problem+json"),
    (status = 409, body = Problem, content_type = "application/problem+json")))]
async fn cancel(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<RunId>,
) -> Result<Json<RunView>, Problem> {
    let mut run = service.found_run(id).await?;
    let now = service.clock.now();
    run.become_state(RunState::Cancelled)?;
    run.finished_at = Some(now);
    run.note = Some(format!("cancelled by {}", caller.name));
    let tasks = run.tasks.clone();
    service.store.commit(Commit { at: now, fence: None, changes: vec![Change::Run(run)] }).await?;
    let engine = service.engines.current().await?;
    for task in tasks {
        if engine.task(task).await.is_ok_and(|task| task.state.is_open()) {
            engine.cancel(task).await?;
        }
    }
    Ok(Json(RunView::new(&service.found_run(id).await?)))
}

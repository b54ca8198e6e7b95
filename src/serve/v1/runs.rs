//! Runs: asking for work, following it, ending it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::engine::ask;
use crate::model::{Action, How, Result, RunId, RunsWanted, Work};
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
    #[schema(value_type = String)]
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
    how: How,
    /// What is compared, where the action is `reconcile`
    reconciliations: Vec<String>,
    /// Why, for people
    reason: Option<String>,
}

impl Service {
    /// The work that a body asks for, in canonical words, and why.
    pub async fn work(&self, body: WorkBody) -> Result<(Work, String)> {
        let reason = body.reason.unwrap_or_else(|| "asked for by hand".to_string());
        let work = Work {
            action: body.action,
            datasets: body.datasets,
            codes: body.codes,
            from: body.from,
            to: body.to,
            days_back: body.days_back,
            all_history: body.all_history,
            force: body.force,
            sources: body.sources,
            how: body.how,
            reconciliations: body.reconciliations,
        };
        self.engines.current().await?.asking(&work.sources)?;
        let work = ask::checked(&*self.store, &self.catalog, work).await?;
        Ok((work, reason.chars().filter(|letter| !letter.is_control()).take(200).collect()))
    }
}

/// Runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "work", params(RunsParams), responses(
    (status = 200, body = Page<RunView>)))]
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
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "work", params(("id" = i64, Path)), responses(
    (status = 200, body = RunDetail)))]
async fn run(State(service): State<Service>, Named(id): Named<RunId>) -> Result<Json<RunDetail>, Problem> {
    let run = service.control.run(id).await?;
    let mut task_list = Vec::new();
    for task in run.tasks.iter().rev().take(service.options.page_rows_max) {
        if let Some(task) = service.store.task(*task).await? {
            task_list.push(TaskView::new(&task, Some(run.id), service.clock.now()));
        }
    }
    Ok(Json(RunDetail { run: RunView::new(&run), task_list }))
}

/// Asks for work. A worker of this or another process takes it up; what of it runs already is joined.
#[utoipa::path(post, path = "/api/v1/runs", tag = "work", request_body = WorkBody, responses(
    (status = 202, body = RunView)))]
async fn start(
    State(service): State<Service>,
    caller: Caller,
    Body(body): Body<WorkBody>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let (work, reason) = service.work(body).await?;
    let run = service.control.ask(work, None, &caller.name, &reason).await?;
    Ok((StatusCode::ACCEPTED, Json(RunView::new(&run))))
}

/// Ends a run: a pending one does not begin, the open tasks of a running one are cancelled; what they committed stays.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "work", params(("id" = i64, Path)), responses(
    (status = 200, body = RunView)))]
async fn cancel(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<RunId>,
) -> Result<Json<RunView>, Problem> {
    Ok(Json(RunView::new(&service.control.cancel(id, &caller.name).await?)))
}

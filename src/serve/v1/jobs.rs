//! Jobs: what runs by itself, when and why; creating, changing, pausing and triggering it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::model::Result;
use crate::scheduler::{JobChange, JobStatus, NewJob};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::extract::{Body, Named};
use crate::serve::problem::Problem;
use crate::serve::views::RunView;

pub fn routes() -> OpenApiRouter<Service> {
    let whole = OpenApiRouter::new().routes(routes!(jobs, create)).routes(routes!(job, change, remove));
    whole.routes(routes!(pause)).routes(routes!(resume)).routes(routes!(stop)).routes(routes!(trigger))
}

/// A job as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
struct JobItem {
    id: String,
    title: String,
    title_zh: String,
    /// `catalog`, `default` or `user`.
    origin: &'static str,
    /// `active`, `paused` or `stopped`.
    state: &'static str,
    /// `kind` is `cron`, `every`, `event` or `continuous`; the rest goes with it.
    #[schema(value_type = Object)]
    trigger: Value,
    /// What it does.
    #[schema(value_type = Object)]
    work: Value,
    /// On which days its times count: `any`, `trading`, `next_trading` or `after_trading`.
    days: &'static str,
    /// What becomes of times that were slept through: `once` or `skip`; `null`: as the configuration says.
    catch_up: Option<&'static str>,
    attempts: Option<u32>,
    next_run: Option<String>,
    /// Why then, or why not.
    reason: String,
    last_run: Option<RunView>,
    /// What a change may expect.
    revision: u64,
}

impl From<JobStatus> for JobItem {
    fn from(status: JobStatus) -> JobItem {
        let job = status.job;
        JobItem {
            origin: job.origin.name(),
            state: job.state.name(),
            trigger: serde_json::to_value(&job.trigger).unwrap_or_default(),
            work: serde_json::to_value(&job.work).unwrap_or_default(),
            days: job.days.name(),
            catch_up: job.catch_up.map(|catch_up| catch_up.name()),
            attempts: job.attempts,
            next_run: status.next.at.map(|at| at.to_string()),
            reason: status.next.reason,
            last_run: status.last_run.as_ref().map(RunView::new),
            revision: status.revision,
            id: job.id,
            title: job.title,
            title_zh: job.title_zh,
        }
    }
}

/// Every job, by its identifier.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "work", responses((status = 200, body = Page<JobItem>)))]
async fn jobs(State(service): State<Service>) -> Result<Json<Page<JobItem>>, Problem> {
    let all = service.control.list().await?;
    Ok(Json(Page::whole(all.into_iter().map(JobItem::from).collect())))
}

/// One job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "work", params(("id" = String, Path)), responses(
    (status = 200, body = JobItem)))]
async fn job(State(service): State<Service>, Named(id): Named<String>) -> Result<Json<JobItem>, Problem> {
    Ok(Json(service.control.get(&id).await?.into()))
}

/// Creates a job: `id`, `trigger`, `work`, and what else it takes.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "work", request_body = Object, responses(
    (status = 201, body = JobItem)))]
async fn create(
    State(service): State<Service>,
    caller: Caller,
    Body(body): Body<NewJob>,
) -> Result<(StatusCode, Json<JobItem>), Problem> {
    let created = service.control.create(body, &caller.name).await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}

/// What shall be different, and which revision was read.
#[derive(Debug, serde::Deserialize)]
struct ChangeBody {
    #[serde(default)]
    revision: Option<u64>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Changes a job; what is absent stays. With `revision` only if nobody has changed it since.
#[utoipa::path(put, path = "/api/v1/jobs/{id}", tag = "work", params(("id" = String, Path)), request_body = Object,
    responses(
    (status = 200, body = JobItem)))]
async fn change(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
    Body(body): Body<ChangeBody>,
) -> Result<Json<JobItem>, Problem> {
    let change: JobChange = serde_json::from_value(Value::Object(body.rest))
        .map_err(|error| Problem::of_status(StatusCode::BAD_REQUEST, "invalid", error.to_string()))?;
    Ok(Json(service.control.change(&id, change, body.revision, &caller.name).await?.into()))
}

/// Removes a job of a user's own.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", tag = "work", params(("id" = String, Path)), responses(
    (status = 204, description = "it is gone")))]
async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    service.control.remove(&id, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a job rest until it is resumed.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/pause", tag = "work", params(("id" = String, Path)), responses(
    (status = 200, body = JobItem)))]
async fn pause(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<JobItem>, Problem> {
    Ok(Json(service.control.pause(&id, &caller.name).await?.into()))
}

/// Lets a job run again.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/resume", tag = "work", params(("id" = String, Path)), responses(
    (status = 200, body = JobItem)))]
async fn resume(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<JobItem>, Problem> {
    Ok(Json(service.control.resume(&id, &caller.name).await?.into()))
}

/// Ends a job until it is started again.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/stop", tag = "work", params(("id" = String, Path)), responses(
    (status = 200, body = JobItem)))]
async fn stop(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<JobItem>, Problem> {
    Ok(Json(service.control.stop(&id, &caller.name).await?.into()))
}

/// Runs a job now, whatever its schedule.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/trigger", tag = "work", params(("id" = String, Path)), responses(
    (status = 202, body = RunView)))]
async fn trigger(
    State(service): State<Service>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let run = service.control.trigger(&id, &caller.name).await?;
    Ok((StatusCode::ACCEPTED, Json(RunView::new(&run))))
}

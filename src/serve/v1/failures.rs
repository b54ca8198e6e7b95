//! Failures: slices that did not work; trying them again, or settling them by hand.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::model::{Error, Failure, Result, Securities, Span, Work};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::extract::{Body, Named, Params};
use crate::serve::problem::Problem;
use crate::serve::views::RunView;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(failures)).routes(routes!(retry)).routes(routes!(resolve))
}

/// A slice that did not work.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
pub struct FailureItem {
    id: i64,
    dataset: String,
    area: String,
    source: String,
    task: i64,
    kind: String,
    message: String,
    attempts: u32,
    /// Attempts after which only a person may retry it.
    attempts_max: u32,
    next_attempt_at: String,
    first_at: String,
    last_at: String,
    resolved_at: Option<String>,
    /// `fetched`, or what a person wrote.
    resolution: Option<String>,
}

impl FailureItem {
    pub fn new(failure: &Failure) -> FailureItem {
        FailureItem {
            id: failure.id,
            dataset: failure.dataset.clone(),
            area: failure.area.to_string(),
            source: failure.source.clone(),
            task: failure.task,
            kind: failure.kind.clone(),
            message: failure.message.clone(),
            attempts: failure.attempts,
            attempts_max: failure.attempts_max,
            next_attempt_at: failure.next_attempt_at.to_string(),
            first_at: failure.first_at.to_string(),
            last_at: failure.last_at.to_string(),
            resolved_at: failure.resolved_at.map(|at| at.to_string()),
            resolution: failure.resolution.clone(),
        }
    }
}

/// Which failures.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FailuresParams {
    dataset: Option<String>,
    /// Resolved ones too
    #[serde(default)]
    all: bool,
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// Only those with a smaller number
    before: Option<i64>,
}

/// Which failures to try again: those with these numbers, or the unresolved ones of a table, or all of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct RetryBody {
    ids: Vec<i64>,
    dataset: Option<String>,
}

/// What is tried again.
#[derive(Debug, Serialize, ToSchema)]
struct Retried {
    /// How many failures are due now.
    failures: usize,
    /// What was asked for to try them.
    runs: Vec<RunView>,
}

/// Why a failure needs no rows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResolveBody {
    /// For the record
    #[serde(default = "by_hand")]
    resolution: String,
}

fn by_hand() -> String {
    "resolved by hand".to_string()
}

/// Failures, newest first.
#[utoipa::path(get, path = "/api/v1/failures", tag = "work", params(FailuresParams), responses(
    (status = 200, body = Page<FailureItem>)))]
async fn failures(
    State(service): State<Service>,
    Params(params): Params<FailuresParams>,
) -> Result<Json<Page<FailureItem>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let dataset = params.dataset.as_deref().map(|name| service.catalog.get(name)).transpose()?;
    let all = service.store.failures(dataset.map(|dataset| dataset.name.as_str()), params.all).await?;
    let wanted = |failure: &Failure| params.before.is_none_or(|before| failure.id < before);
    let mut found: Vec<Failure> = all.into_iter().filter(wanted).collect();
    found.sort_by_key(|failure| std::cmp::Reverse(failure.id));
    Ok(Json(Page::of(found, limit, |failure| failure.id, |failure| FailureItem::new(&failure))))
}

/// Runs that one request may ask for.
const RUNS_MAX: usize = 100;

/// Makes failures due with a fresh count of attempts, and asks for runs that try them.
#[utoipa::path(post, path = "/api/v1/failures/retry", tag = "work", request_body = RetryBody, responses(
    (status = 202, body = Retried)))]
async fn retry(
    State(service): State<Service>,
    caller: Caller,
    Body(body): Body<RetryBody>,
) -> Result<(StatusCode, Json<Retried>), Problem> {
    let dataset = body.dataset.as_deref().map(|name| service.catalog.get(name)).transpose()?;
    let open = service.store.failures(dataset.map(|dataset| dataset.name.as_str()), false).await?;
    if let Some(id) = body.ids.iter().find(|id| !open.iter().any(|failure| failure.id == **id)) {
        let error = Error::not_found(format!("there is no unresolved failure {id}"));
        return Err(error.hint("GET /api/v1/failures lists them").into());
    }
    let chosen = |failure: &Failure| body.ids.is_empty() || body.ids.contains(&failure.id);
    let chosen: Vec<Failure> = open.into_iter().filter(chosen).collect();
    let work = work_of(&chosen);
    if work.len() > RUNS_MAX {
        let message = format!("the failures take {} runs, more than the {RUNS_MAX} of one request", work.len());
        return Err(Error::invalid(message).hint("choose some by dataset or by ids").into());
    }
    let failures = chosen.len();
    service.engines.current().await?.retry_failures(chosen).await?;
    let mut runs = Vec::new();
    for work in work {
        runs.push(RunView::new(&service.control.ask(work, None, &caller.name, "failures shall be tried again").await?));
    }
    Ok((StatusCode::ACCEPTED, Json(Retried { failures, runs })))
}

/// One piece of work for all securities whose failures lie over the same days, so that nothing else is fetched.
fn work_of(failures: &[Failure]) -> Vec<Work> {
    let mut by_area: BTreeMap<(&str, &str, Span), (bool, Vec<String>)> = BTreeMap::new();
    for failure in failures {
        let (all, codes) = by_area.entry((&failure.dataset, &failure.source, failure.area.span)).or_default();
        match &failure.area.securities {
            Securities::All => *all = true,
            Securities::Some(some) => codes.extend(some.iter().map(|code| code.to_string())),
        }
    }
    let work = |((dataset, source, span), (all, codes)): ((&str, &str, Span), (bool, Vec<String>))| Work {
        codes: if all { Vec::new() } else { codes },
        from: (!span.is_all()).then(|| span.from.to_string()),
        to: (!span.is_all()).then(|| span.to.to_string()),
        all_history: span.is_all(),
        sources: vec![source.to_string()],
        ..Work::sync([dataset])
    };
    by_area.into_iter().map(work).collect()
}

/// Settles a failure without rows.
#[utoipa::path(post, path = "/api/v1/failures/{id}/resolve", tag = "work", params(("id" = i64, Path)),
    request_body = ResolveBody, responses(
    (status = 200, body = FailureItem)))]
async fn resolve(
    State(service): State<Service>,
    Named(id): Named<i64>,
    Body(body): Body<ResolveBody>,
) -> Result<Json<FailureItem>, Problem> {
    let resolution: String = body.resolution.chars().filter(|letter| !letter.is_control()).take(500).collect();
    service.engines.current().await?.resolve_failure(id, resolution).await?;
    let all = service.store.failures(None, true).await?;
    let resolved = all.iter().find(|failure| failure.id == id);
    let resolved = resolved.ok_or_else(|| Error::not_found(format!("there is no failure {id}")))?;
    Ok(Json(FailureItem::new(resolved)))
}

//! Replays: what they would send, starting, following, pausing and ending them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::views::ReplayView;
use super::{time, unknown};
use crate::model::Result;
use crate::notify::desk::Between;
use crate::notify::replay::{self, ReplayState, Window};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::extract::{Body, Named};
use crate::serve::problem::Problem;
use crate::serve::v1::page::Page;

/// Events of a window that a preview looks at.
const PREVIEW_EVENTS_MAX: u64 = 100_000;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(preview))
        .routes(routes!(get))
        .routes(routes!(change))
}

/// Which events go out again, and to whom. The window is named by event numbers or by times.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    subscription: String,
    /// The first event
    from: Option<u64>,
    /// The last event; the newest one by default
    to: Option<u64>,
    /// Events from this time on
    since: Option<String>,
    /// Events before this time
    until: Option<String>,
    /// Event types, as in subscriptions; none: all that the subscription wants
    #[serde(default)]
    types: Vec<String>,
    /// Only what never arrived
    #[serde(default)]
    only_failed: bool,
    /// Events a second; absent: as fast as they go out
    per_second: Option<f64>,
}

/// What a replay would send.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReplayPreview)]
struct PreviewView {
    from: u64,
    to: u64,
    /// Events of the window that were looked at.
    looked_at: u64,
    /// Events that would go out again.
    matched: u64,
    /// Those by their type.
    types: BTreeMap<String, u64>,
    /// The whole window was looked at; else there may be more.
    whole: bool,
}

async fn window(service: &Service, body: &ReplayBody) -> Result<Window> {
    let between = Between {
        from: body.from,
        to: body.to,
        since: time("since", body.since.as_deref())?,
        until: time("until", body.until.as_deref())?,
    };
    service.desk().window(&body.subscription, &between, body.types.clone(), body.only_failed).await
}

/// Replays, newest first.
#[utoipa::path(get, path = "/api/v1/replays", tag = "deliveries", responses((status = 200, body = Page<ReplayView>)))]
async fn list(State(service): State<Service>) -> Result<Json<Page<ReplayView>>, Problem> {
    let found = replay::list(&*service.store).await?;
    Ok(Json(Page::whole(found.iter().take(service.options.page_rows_max).map(ReplayView::new).collect())))
}

/// Counts what a replay would send; nothing is written.
#[utoipa::path(post, path = "/api/v1/replays/preview", tag = "deliveries", request_body = ReplayBody, responses(
    (status = 200, body = PreviewView)))]
async fn preview(State(service): State<Service>, Body(body): Body<ReplayBody>) -> Result<Json<PreviewView>, Problem> {
    let window = window(&service, &body).await?;
    let found = replay::preview(&service.store, &service.feed, &window, PREVIEW_EVENTS_MAX).await?;
    let (from, to) = (window.from, window.to);
    let replay::Preview { looked_at, matched, whole, types } = found;
    Ok(Json(PreviewView { from, to, looked_at, matched, types, whole }))
}

/// Starts a replay; whoever carries events takes it up, and goes on with it after a restart.
#[utoipa::path(post, path = "/api/v1/replays", tag = "deliveries", request_body = ReplayBody, responses(
    (status = 202, body = ReplayView)))]
async fn start(
    State(service): State<Service>,
    caller: Caller,
    Body(body): Body<ReplayBody>,
) -> Result<(StatusCode, Json<ReplayView>), Problem> {
    let window = window(&service, &body).await?;
    let started = replay::start(&*service.store, &service.clock, window, body.per_second, &caller.name).await?;
    Ok((StatusCode::ACCEPTED, Json(ReplayView::new(&started))))
}

/// One replay with its progress.
#[utoipa::path(get, path = "/api/v1/replays/{number}", tag = "deliveries", params(("number" = u64, Path)), responses(
    (status = 200, body = ReplayView)))]
async fn get(State(service): State<Service>, Named(number): Named<u64>) -> Result<Json<ReplayView>, Problem> {
    Ok(Json(ReplayView::new(&replay::get(&*service.store, number).await?)))
}

/// Pauses, resumes or cancels a replay; what it has asked for already goes out.
#[utoipa::path(post, path = "/api/v1/replays/{number}/{change}", tag = "deliveries",
    params(("number" = u64, Path), ("change" = String, Path, description = "`pause`, `resume` or `cancel`")),
    responses((status = 200, body = ReplayView)))]
async fn change(
    State(service): State<Service>,
    Named((number, change)): Named<(u64, String)>,
) -> Result<Json<ReplayView>, Problem> {
    let state = match change.as_str() {
        "pause" => ReplayState::Paused,
        "resume" => ReplayState::Running,
        "cancel" => ReplayState::Cancelled,
        other => return Err(unknown("the change", other, &["pause", "resume", "cancel"]).into()),
    };
    Ok(Json(ReplayView::new(&replay::change(&*service.store, &service.clock, number, state).await?)))
}

//! `/api/sync`: starting a sync, how it stands, what was done before, and the log.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Page;
use super::asking::{self, Asked, Period, SYNC, job_id, named_sources, periods, preferring, symbols};
use super::progress::{Status, SyncStatus, runs_of};
use crate::model::{Error, Journal, JournalEntry, JournalWanted, Level, Run, Work};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::envelope::{Envelope, envelope};
use crate::serve::extract::{MaybeBody, Params};
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(trigger)).routes(routes!(status)).routes(routes!(history)).routes(routes!(logs))
}

/// What to bring up to date; every field may be left out, and so may the body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"symbols": ["000001", "600000"], "periods": ["daily", "weekly"], "preferred_sources": ["tushare"]}))]
pub struct Trigger {
    /// Start even while another sync is under way.
    force: bool,
    /// Ask these sources first, in this order, then the others. One that is not enabled is left out.
    preferred_sources: Vec<String>,
    /// Only these securities: `000001.SZ`, or six digits where they are unambiguous; none: all.
    symbols: Vec<String>,
    /// Bars of these lengths; none: all three.
    periods: Vec<Period>,
    /// From the first day of each table, whatever `sync.default_from` says.
    all_history: bool,
}

/// A sync that was started.
#[derive(Debug, Serialize, ToSchema)]
pub struct Started {
    /// Names it in `GET /api/sync/status` and `GET /api/sync/history`.
    #[schema(example = "sync_12")]
    job_id: String,
    status: Status,
    #[schema(example = "2025-01-02T18:00:00+08:00")]
    started_at: String,
    /// As they were understood.
    parameters: Parameters,
}

/// What a sync does, as it was understood.
#[derive(Debug, Serialize, ToSchema)]
pub struct Parameters {
    force: bool,
    #[schema(example = json!(["tushare"]))]
    preferred_sources: Vec<String>,
    /// Canonical codes; none: all securities.
    #[schema(example = json!(["000001.SZ", "600000.SH"]))]
    symbols: Vec<String>,
    periods: Vec<Period>,
    all_history: bool,
}

/// Brings bars up to date: fetches what is missing, and only that.
#[utoipa::path(post, path = "/api/sync/trigger", tag = "sync", request_body = Option<Trigger>,
    responses(
        (status = 200, description = "Started", body = Envelope<Started>),
        (status = 400, description = "A source, a symbol, a period or a field that does not exist; it is named", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Another sync is under way, and `force` is not set", body = Problem, content_type = "application/problem+json"),
    ))]
async fn trigger(
    State(service): State<Service>,
    caller: Caller,
    MaybeBody(body): MaybeBody<Trigger>,
) -> Result<Json<Envelope<Started>>, Problem> {
    let engine = service.engines.current().await?;
    let preferred_sources = named_sources(&service, &engine, &body.preferred_sources)?;
    let symbols = symbols(&service, &body.symbols).await?;
    let periods = periods(body.periods);
    let work = Work {
        codes: symbols.clone(),
        all_history: body.all_history,
        sources: preferring(&engine, &preferred_sources),
        ..Work::sync(periods.iter().map(|period| period.dataset()))
    };
    let asked =
        Asked { slot: SYNC, force: body.force, reason: "asked for by POST /api/sync/trigger".to_string(), work };
    let run = asking::start(&service, &caller, asked).await?;
    let (force, all_history) = (body.force, body.all_history);
    let started = Started {
        job_id: job_id(&run),
        status: Status::of(run.state),
        started_at: run.created_at.to_string(),
        parameters: Parameters { force, preferred_sources, symbols, periods, all_history },
    };
    Ok(envelope("Synchronization started successfully", started))
}

/// How the newest sync stands.
#[utoipa::path(get, path = "/api/sync/status", tag = "sync", responses((status = 200, body = Envelope<SyncStatus>)))]
async fn status(State(service): State<Service>) -> Result<Json<Envelope<SyncStatus>>, Problem> {
    let status = match runs_of(&service, SYNC, 1).await?.first() {
        Some(run) => SyncStatus::of(&service, run).await?,
        None => SyncStatus::idle(&service).await?,
    };
    Ok(envelope("Status retrieved successfully", status))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryParams {
    /// From 1.
    #[param(minimum = 1)]
    page: Option<usize>,
    /// Entries of a page; 10 without it.
    #[param(minimum = 1)]
    page_size: Option<usize>,
}

/// Past syncs, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct History {
    records: Vec<Past>,
    /// How many there are; old ones are forgotten (`jobs.runs_kept`).
    total: usize,
    page: usize,
    page_size: usize,
    has_more: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct Past {
    #[serde(flatten)]
    status: SyncStatus,
    /// The name of the key that asked.
    asked_by: String,
    reason: String,
}

impl Past {
    async fn of(service: &Service, run: &Run) -> Result<Past, Error> {
        let status = SyncStatus::of(service, run).await?;
        Ok(Past { status, asked_by: run.asked_by.clone(), reason: run.reason.clone() })
    }
}

/// Entries of a page of past syncs.
const HISTORY_PAGE: usize = 10;

/// Past syncs, newest first.
#[utoipa::path(get, path = "/api/sync/history", tag = "sync", params(HistoryParams),
    responses((status = 200, body = Envelope<History>),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn history(
    State(service): State<Service>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<Envelope<History>>, Problem> {
    let page = Page::of(params.page, params.page_size, HISTORY_PAGE, &service)?;
    let runs = runs_of(&service, SYNC, service.options.page_rows_max).await?;
    let total = runs.len();
    let (runs, has_more) = page.cut(runs);
    let mut records = Vec::new();
    for run in &runs {
        records.push(Past::of(&service, run).await?);
    }
    let history = History { records, total, page: page.number, page_size: page.size, has_more };
    Ok(envelope("History retrieved successfully", history))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogParams {
    /// At least this level: `trace`, `debug`, `info`, `warn` or `error`; `info` without it.
    level: Option<String>,
    /// Only records of this task.
    task: Option<i64>,
    /// Only records whose text or module holds this, whatever the case.
    text: Option<String>,
    /// From 1.
    #[param(minimum = 1)]
    page: Option<usize>,
    /// Entries of a page; `serve.page_rows` without it.
    #[param(minimum = 1)]
    page_size: Option<usize>,
}

/// Log records, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Logs {
    records: Vec<LogRecord>,
    page: usize,
    page_size: usize,
    has_more: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct LogRecord {
    #[schema(example = "2025-01-02T18:00:03.125+08:00")]
    at: String,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: &'static str,
    /// The module that logged.
    target: String,
    text: String,
    task: Option<i64>,
    /// Details: an object.
    data: serde_json::Value,
}

impl From<JournalEntry> for LogRecord {
    fn from(entry: JournalEntry) -> LogRecord {
        LogRecord {
            at: entry.at.to_string(),
            level: entry.level.name(),
            target: entry.target,
            text: entry.text,
            task: entry.task,
            data: entry.data,
        }
    }
}

/// Recent log records that the store keeps, newest first.
#[utoipa::path(get, path = "/api/sync/logs", tag = "sync", params(LogParams),
    responses((status = 200, body = Envelope<Logs>),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn logs(
    State(service): State<Service>,
    Params(params): Params<LogParams>,
) -> Result<Json<Envelope<Logs>>, Problem> {
    let page = Page::of(params.page, params.page_size, service.options.page_rows, &service)?;
    let level = params.level.as_deref().unwrap_or(Level::Info.name());
    let level = Level::from_name(&level.to_ascii_lowercase()).ok_or_else(|| {
        Error::invalid(format!("there is no level {level:?}")).hint("trace, debug, info, warn or error")
    })?;
    let wanted = JournalWanted {
        journal: Journal::Log,
        level,
        task: params.task,
        text: params.text.filter(|text| !text.is_empty()),
        before: None,
        limit: page.end(),
    };
    let (entries, has_more) = page.cut(service.store.journal(&wanted).await?);
    let records = entries.into_iter().map(LogRecord::from).collect();
    let logs = Logs { records, page: page.number, page_size: page.size, has_more };
    Ok(envelope("Logs retrieved successfully", logs))
}

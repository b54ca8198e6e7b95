//! `/api/v1/sync-status`: ranges of days that are synced in the background, and how each day stands.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Page;
use super::asking::{self, Asked, BATCH, day, job_id};
use super::progress::{Status, runs_of, tasks_of, totals_of};
use crate::engine::days::DayReport;
use crate::model::{Day, Error, How, Run, Span, Strategy, Work};
use crate::plan::{DayState, DayStatus, check_days};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::envelope::{Envelope, envelope};
use crate::serve::extract::{Body, Params};
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(batch)).routes(routes!(list))
}

/// The table whose days are meant when a request names none.
const USUAL: &str = "daily";
/// Days before the last one when a request names no first day.
const DAYS_SHOWN: i32 = 30;
/// Tables of one request.
const DATASETS_MAX: usize = 32;

/// Which days to sync.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"start_date": "2025-10-01", "end_date": "2025-10-09"}))]
struct Batch {
    /// First day, `2024-01-31` or `20240131`.
    start_date: String,
    /// Last day, included; not after today.
    end_date: String,
    /// Tables of days; `daily` without it.
    #[serde(default)]
    datasets: Vec<String>,
}

/// A range that is being synced in the background.
#[derive(Debug, Serialize, ToSchema)]
struct BatchStarted {
    /// Names it in `GET /api/v1/sync-status`.
    #[schema(example = "sync_12")]
    job_id: String,
    status: Status,
    started_at: String,
    start_date: String,
    end_date: String,
    /// Calendar days of the range.
    days: usize,
    datasets: Vec<String>,
}

/// Syncs a range of days in the background. The range is checked at once; the days are listed by the route beside this.
#[utoipa::path(post, path = "/api/v1/sync-status/sync/batch", tag = "sync status", request_body = Batch,
    responses(
        (status = 200, description = "Started", body = Envelope<BatchStarted>),
        (status = 400, description = "No range: no dates, the wrong order, too many days (sync.range_days_max), days that are yet to come, or a table without days", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Another range is under way", body = Problem, content_type = "application/problem+json"),
    ))]
async fn batch(
    State(service): State<Service>,
    caller: Caller,
    Body(body): Body<Batch>,
) -> Result<Json<Envelope<BatchStarted>>, Problem> {
    let span = checked_span(&service, &body.start_date, &body.end_date).await?;
    let datasets = checked_datasets(&service, body.datasets)?;
    let work = Work {
        from: Some(span.from.to_string()),
        to: Some(span.to.to_string()),
        how: How::by(Strategy::Range),
        ..Work::sync(datasets.iter().cloned())
    };
    let reason = "asked for by POST /api/v1/sync-status/sync/batch".to_string();
    let run = asking::start(&service, &caller, Asked { slot: BATCH, force: false, reason, work }).await?;
    let days = days_in(span);
    let started = BatchStarted {
        job_id: job_id(&run),
        status: Status::of(run.state),
        started_at: run.created_at.to_string(),
        start_date: span.from.to_string(),
        end_date: span.to.to_string(),
        days,
        datasets,
    };
    Ok(envelope(format!("{days} days are being synced in the background"), started))
}

fn days_in(span: Span) -> usize {
    usize::try_from(span.to.0 - span.from.0 + 1).unwrap_or(0)
}

/// The range, if it may be synced.
async fn checked_span(service: &Service, start_date: &str, end_date: &str) -> Result<Span, Error> {
    let (from, to) = (day(start_date, "start_date")?, day(end_date, "end_date")?);
    if from > to {
        return Err(Error::invalid(format!("start_date {from} lies after end_date {to}")).hint("swap the two"));
    }
    let today = service.clock.now().day();
    if to > today {
        return Err(Error::invalid(format!("end_date {to} is yet to come")).hint(format!("today is {today}")));
    }
    let most = service.engines.current().await?.options.strategies.range_days_max as usize;
    let days = days_in(Span::new(from, to));
    if days > most {
        return Err(Error::invalid(format!("{days} days, and one range may have {most}"))
            .hint("part the range, or raise sync.range_days_max"));
    }
    Ok(Span::new(from, to))
}

/// Tables with days, each once; the usual one when none is named.
fn checked_datasets(service: &Service, named: Vec<String>) -> Result<Vec<String>, Error> {
    if named.len() > DATASETS_MAX {
        return Err(Error::invalid(format!("{} tables are named, at most {DATASETS_MAX} may be", named.len())));
    }
    let mut datasets: Vec<String> = Vec::new();
    for name in if named.is_empty() { vec![USUAL.to_string()] } else { named } {
        let invalid = |error: Error| {
            let hint = error.hint_text().unwrap_or("`GET /api/v1/datasets` lists the tables").to_string();
            Error::invalid(error.message()).hint(hint)
        };
        let dataset = service.catalog.get(&name).map_err(invalid)?;
        check_days(dataset).map_err(invalid)?;
        if !datasets.contains(&dataset.name) {
            datasets.push(dataset.name.clone());
        }
    }
    Ok(datasets)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only days in this state: `success`, `partial`, `failed`, `skipped` or `pending`.
    status: Option<String>,
    /// First day; 30 days before the last one without it.
    start_date: Option<String>,
    /// Last day; today without it.
    end_date: Option<String>,
    /// Tables, with commas between them; `daily` without it.
    dataset: Option<String>,
    /// From 1.
    #[param(minimum = 1)]
    page: Option<usize>,
    /// Entries of a page; `serve.page_rows` without it.
    #[param(minimum = 1)]
    page_size: Option<usize>,
}

/// How days stand, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct DayList {
    items: Vec<DayItem>,
    /// Days in the wanted state.
    total: usize,
    page: usize,
    page_size: usize,
    has_more: bool,
    /// Over all days between the dates, whatever their state.
    totals: DayTotals,
    /// The range that was asked for last; null before the first one.
    batch: Option<BatchProgress>,
}

/// One day of one table.
#[derive(Debug, Serialize, ToSchema)]
struct DayItem {
    #[schema(example = "2025-01-02")]
    date: String,
    #[schema(example = "daily")]
    dataset: String,
    /// `success`, `partial`, `failed`, `skipped` (closed, or not due yet) or `pending` (due, and never asked for).
    #[schema(example = "success")]
    status: &'static str,
    rows: u64,
    source: Option<String>,
    /// What the answer took, where a range asked for the day.
    duration_ms: Option<u64>,
    /// When it was answered, or failed last.
    at: Option<String>,
    /// What is to be known of it; empty for a plain success.
    why: String,
}

impl DayItem {
    fn of(dataset: &str, status: DayStatus) -> DayItem {
        DayItem {
            date: status.day.to_string(),
            dataset: dataset.to_string(),
            status: status.state.name(),
            rows: status.rows,
            source: status.source,
            duration_ms: status.millis,
            at: status.at.map(|at| at.to_string()),
            why: status.why,
        }
    }
}

/// How many days there are of each kind, and rows.
#[derive(Debug, Default, Serialize, ToSchema)]
struct DayTotals {
    success: u64,
    partial: u64,
    failed: u64,
    skipped: u64,
    pending: u64,
    rows: u64,
}

impl DayTotals {
    fn add(&mut self, report: &DayReport) {
        self.success += report.counts.success;
        self.partial += report.counts.partial;
        self.failed += report.counts.failed;
        self.skipped += report.counts.skipped();
        self.pending += report.counts.pending;
        self.rows += report.days.iter().map(|status| status.rows).sum::<u64>();
    }
}

/// How a range gets on.
#[derive(Debug, Serialize, ToSchema)]
struct BatchProgress {
    #[schema(example = "sync_12")]
    job_id: String,
    status: Status,
    start_date: Option<String>,
    end_date: Option<String>,
    datasets: Vec<String>,
    started_at: String,
    finished_at: Option<String>,
    /// Slices that are planned so far, and those that have ended.
    slices_planned: u64,
    slices_done: u64,
    slices_failed: u64,
    /// From 0 to 1, as far as is planned.
    progress: f64,
    rows: u64,
    rows_per_second: Option<f64>,
    /// Seconds that are left at this rate; null while nothing is known.
    seconds_left: Option<u64>,
    message: Option<String>,
}

impl BatchProgress {
    async fn of(service: &Service, run: &Run) -> Result<BatchProgress, Error> {
        let tasks = tasks_of(&*service.store, run).await?;
        let totals = totals_of(run, &tasks);
        let until = run.finished_at.unwrap_or(service.clock.now());
        let seconds =
            run.started_at.map(|at| until.millis_since(at).max(0) as f64 / 1_000.0).filter(|seconds| *seconds > 0.0);
        let ended = totals.slices_done + totals.slices_failed;
        let open = run.state.is_open();
        let left = totals.slices_planned.saturating_sub(ended);
        let progress = match totals.slices_planned {
            _ if !open => 1.0,
            0 => 0.0,
            planned => (ended as f64 / planned as f64).min(1.0),
        };
        let per_slice = seconds.filter(|_| open && ended > 0).map(|seconds| seconds / ended as f64);
        Ok(BatchProgress {
            job_id: job_id(run),
            status: Status::of(run.state),
            start_date: run.work.from.clone(),
            end_date: run.work.to.clone(),
            datasets: run.work.datasets.clone(),
            started_at: run.created_at.to_string(),
            finished_at: run.finished_at.map(|at| at.to_string()),
            slices_planned: totals.slices_planned,
            slices_done: totals.slices_done,
            slices_failed: totals.slices_failed,
            progress,
            rows: totals.rows_answered,
            rows_per_second: seconds.map(|seconds| (totals.rows_answered as f64 / seconds * 10.0).round() / 10.0),
            seconds_left: per_slice.map(|seconds| (seconds * left as f64).ceil() as u64),
            message: run.note.clone(),
        })
    }
}

/// How days stand, newest first, with figures for cards and the range that is under way.
#[utoipa::path(get, path = "/api/v1/sync-status", tag = "sync status", params(ListParams),
    responses((status = 200, body = Envelope<DayList>),
        (status = 400, description = "A state, a day or a table that does not exist; it is named", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(service): State<Service>,
    Params(params): Params<ListParams>,
) -> Result<Json<Envelope<DayList>>, Problem> {
    let page = Page::of(params.page, params.page_size, service.options.page_rows, &service)?;
    let state = params.status.as_deref().map(state).transpose()?;
    let named = params.dataset.as_deref().unwrap_or_default().split(',').map(str::trim);
    let datasets = named.filter(|name| !name.is_empty()).map(str::to_string).collect();
    let datasets = checked_datasets(&service, datasets)?;
    let span = shown_span(&service, &params, datasets.len())?;
    let engine = service.engines.current().await?;
    let (mut totals, mut days) = (DayTotals::default(), Vec::new());
    for dataset in &datasets {
        let report = engine.days(dataset, span).await?;
        totals.add(&report);
        let wanted = report.days.into_iter().filter(|status| state.is_none_or(|state| state == status.state));
        days.extend(wanted.map(|status| DayItem::of(dataset, status)));
    }
    days.sort_by(|one, other| other.date.cmp(&one.date));
    let total = days.len();
    let (items, has_more) = page.cut(days);
    let batch = match runs_of(&service, BATCH, 1).await?.first() {
        Some(run) => Some(BatchProgress::of(&service, run).await?),
        None => None,
    };
    let list = DayList { items, total, page: page.number, page_size: page.size, has_more, totals, batch };
    Ok(envelope("Status retrieved successfully", list))
}

fn state(name: &str) -> Result<DayState, Error> {
    DayState::from_name(name).ok_or_else(|| {
        Error::invalid(format!("there is no status {name:?}")).hint("success, partial, failed, skipped or pending")
    })
}

/// The days to list, as many as the service lists at most.
fn shown_span(service: &Service, params: &ListParams, datasets: usize) -> Result<Span, Error> {
    let named = |text: &Option<String>, field| text.as_deref().map(|text| day(text, field)).transpose();
    let to: Day = named(&params.end_date, "end_date")?.unwrap_or(service.clock.now().day());
    let from = named(&params.start_date, "start_date")?.unwrap_or(to.plus(-DAYS_SHOWN));
    if from > to {
        return Err(Error::invalid(format!("start_date {from} lies after end_date {to}")).hint("swap the two"));
    }
    let (span, most) = (Span::new(from, to), service.options.page_rows_max);
    if days_in(span).saturating_mul(datasets) > most {
        return Err(Error::invalid(format!("{} days of {datasets} tables are too many to list", days_in(span)))
            .hint(format!("at most {most} entries (serve.page_rows_max); ask for fewer days")));
    }
    Ok(span)
}

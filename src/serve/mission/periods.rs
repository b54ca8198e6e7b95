//! `/api/multi-period-sync`: bars of several lengths in one go, and how many there are by source.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asking::{self, Asked, Period, SYNC, day, job_id, named_sources, periods, symbols};
use super::progress::Status;
use crate::model::{Error, Instant, Span, Work};
use crate::serve::Service;
use crate::serve::caller::Caller;
use crate::serve::envelope::{Envelope, envelope};
use crate::serve::extract::MaybeBody;
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(start_full))
        .routes(routes!(start_incremental))
        .routes(routes!(start_history))
        .routes(routes!(statistics))
}

/// Every field may be left out, and so may the body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"periods": ["daily"], "data_sources": ["tushare"]}))]
struct Full {
    /// Bars of these lengths; none: all three.
    periods: Vec<Period>,
    /// Ask only these sources, in this order. One that is not enabled is left out; none: all, best first.
    data_sources: Vec<String>,
    /// Only these securities: `000001.SZ`, or six digits where they are unambiguous; none: all.
    symbols: Vec<String>,
    /// Start even while another sync is under way.
    force: bool,
}

/// Every field may be left out, and so may the body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"days_back": 7, "periods": ["daily"], "data_sources": ["tushare"]}))]
struct Incremental {
    /// From so many days before today; 30 without it.
    #[schema(minimum = 1, maximum = 3660)]
    days_back: Option<u32>,
    /// Bars of these lengths; none: all three.
    periods: Vec<Period>,
    /// Ask only these sources, in this order. One that is not enabled is left out; none: all, best first.
    data_sources: Vec<String>,
    /// Only these securities: `000001.SZ`, or six digits where they are unambiguous; none: all.
    symbols: Vec<String>,
    /// Start even while another sync is under way.
    force: bool,
}

/// Every field may be left out, and so may the body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = HistoryAsked)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"start_date": "2010-01-04", "end_date": "2014-12-31", "periods": ["monthly"]}))]
struct History {
    /// First day, `2024-01-31` or `20240131`; without it the first day of each table.
    start_date: Option<String>,
    /// Last day; without it the last one that is due.
    end_date: Option<String>,
    /// Bars of these lengths; none: all three.
    periods: Vec<Period>,
    /// Ask only these sources, in this order. One that is not enabled is left out; none: all, best first.
    data_sources: Vec<String>,
    /// Only these securities: `000001.SZ`, or six digits where they are unambiguous; none: all.
    symbols: Vec<String>,
    /// Start even while another sync is under way.
    force: bool,
}

/// A sync that was started.
#[derive(Debug, Serialize, ToSchema)]
struct StartedPeriods {
    /// Names it in `GET /api/sync/status` and `GET /api/sync/history`.
    #[schema(example = "sync_12")]
    job_id: String,
    status: Status,
    #[schema(example = "2025-01-02T18:00:00+08:00")]
    started_at: String,
    /// As they were understood.
    parameters: PeriodParameters,
}

/// What a sync does, as it was understood.
#[derive(Debug, Default, Serialize, ToSchema)]
struct PeriodParameters {
    periods: Vec<Period>,
    /// None: all, best first.
    data_sources: Vec<String>,
    /// Canonical codes; none: all securities.
    symbols: Vec<String>,
    force: bool,
    days_back: Option<u32>,
    start_date: Option<String>,
    end_date: Option<String>,
    all_history: bool,
}

/// Days back when a request names none, and at most.
const DAYS_BACK: u32 = 30;
const DAYS_BACK_MAX: u32 = 3_660;

/// Brings the bars of all securities up to date, from `sync.default_from` or the first day of each table.
#[utoipa::path(post, path = "/api/multi-period-sync/start-full", tag = "multi-period sync", request_body = Option<Full>,
    responses(
        (status = 200, description = "Started", body = Envelope<StartedPeriods>),
        (status = 400, description = "A source, a symbol, a period or a field that does not exist; it is named", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Another sync is under way, and `force` is not set", body = Problem, content_type = "application/problem+json"),
    ))]
async fn start_full(
    State(service): State<Service>,
    caller: Caller,
    MaybeBody(body): MaybeBody<Full>,
) -> Result<Json<Envelope<StartedPeriods>>, Problem> {
    let parameters = PeriodParameters {
        periods: body.periods,
        data_sources: body.data_sources,
        symbols: body.symbols,
        force: body.force,
        ..PeriodParameters::default()
    };
    start(&service, &caller, "start-full", parameters).await
}

/// Brings the bars of the last days up to date.
#[utoipa::path(post, path = "/api/multi-period-sync/start-incremental", tag = "multi-period sync", request_body = Option<Incremental>,
    responses(
        (status = 200, description = "Started", body = Envelope<StartedPeriods>),
        (status = 400, description = "A source, a symbol, a period or a field that does not exist; it is named", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Another sync is under way, and `force` is not set", body = Problem, content_type = "application/problem+json"),
    ))]
async fn start_incremental(
    State(service): State<Service>,
    caller: Caller,
    MaybeBody(body): MaybeBody<Incremental>,
) -> Result<Json<Envelope<StartedPeriods>>, Problem> {
    let days_back = body.days_back.unwrap_or(DAYS_BACK);
    if days_back == 0 || days_back > DAYS_BACK_MAX {
        let error = Error::invalid(format!("days_back is {days_back}, and must be from 1 to {DAYS_BACK_MAX}"));
        return Err(error.hint("POST /api/multi-period-sync/start-history fetches older bars").into());
    }
    let parameters = PeriodParameters {
        periods: body.periods,
        data_sources: body.data_sources,
        symbols: body.symbols,
        force: body.force,
        days_back: Some(days_back),
        ..PeriodParameters::default()
    };
    start(&service, &caller, "start-incremental", parameters).await
}

/// Fetches the bars of a span that are missing, or of all history.
#[utoipa::path(post, path = "/api/multi-period-sync/start-history", tag = "multi-period sync", request_body = Option<History>,
    responses(
        (status = 200, description = "Started", body = Envelope<StartedPeriods>),
        (status = 400, description = "A source, a symbol, a period, a day or a field that does not exist; it is named", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Another sync is under way, and `force` is not set", body = Problem, content_type = "application/problem+json"),
    ))]
async fn start_history(
    State(service): State<Service>,
    caller: Caller,
    MaybeBody(body): MaybeBody<History>,
) -> Result<Json<Envelope<StartedPeriods>>, Problem> {
    let from = body.start_date.as_deref().map(|text| day(text, "start_date")).transpose()?;
    let to = body.end_date.as_deref().map(|text| day(text, "end_date")).transpose()?;
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Error::invalid(format!("start_date {from} lies after end_date {to}")).hint("swap the two").into());
    }
    let parameters = PeriodParameters {
        periods: body.periods,
        data_sources: body.data_sources,
        symbols: body.symbols,
        force: body.force,
        all_history: from.is_none(),
        start_date: from.map(|day| day.to_string()),
        end_date: to.map(|day| day.to_string()),
        ..PeriodParameters::default()
    };
    start(&service, &caller, "start-history", parameters).await
}

/// Checks what a body named, and starts it.
async fn start(
    service: &Service,
    caller: &Caller,
    route: &str,
    parameters: PeriodParameters,
) -> Result<Json<Envelope<StartedPeriods>>, Problem> {
    let engine = service.engines.current().await?;
    let parameters = PeriodParameters {
        periods: periods(parameters.periods),
        data_sources: named_sources(service, &engine, &parameters.data_sources)?,
        symbols: symbols(service, &parameters.symbols).await?,
        ..parameters
    };
    let work = Work {
        codes: parameters.symbols.clone(),
        sources: parameters.data_sources.clone(),
        days_back: parameters.days_back,
        from: parameters.start_date.clone(),
        to: parameters.end_date.clone(),
        all_history: parameters.all_history,
        ..Work::sync(parameters.periods.iter().map(|period| period.dataset()))
    };
    let reason = format!("asked for by POST /api/multi-period-sync/{route}");
    let run = asking::start(service, caller, Asked { slot: SYNC, force: parameters.force, reason, work }).await?;
    let started = StartedPeriods {
        job_id: job_id(&run),
        status: Status::of(run.state),
        started_at: run.created_at.to_string(),
        parameters,
    };
    Ok(envelope("Synchronization started successfully", started))
}

/// Bars that are stored, by length and source.
#[derive(Debug, Serialize, ToSchema)]
struct Statistics {
    /// `daily`, `weekly` and `monthly`, each by source.
    #[schema(example = json!({"daily": {"tushare": {"count": 100000, "latest_date": "2025-01-02"}}}))]
    period_statistics: BTreeMap<String, BTreeMap<String, SourceStatistics>>,
    /// When one of the tables changed last; null before the first time.
    #[schema(example = "2025-01-02T18:00:00+08:00")]
    last_updated: Option<String>,
    /// What was committed until then is counted: a count that takes long is not made again at once.
    #[schema(example = "2025-01-02T18:00:05+08:00")]
    as_of: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct SourceStatistics {
    count: u64,
    latest_date: Option<String>,
}

/// Stored bars by length and source.
#[utoipa::path(get, path = "/api/multi-period-sync/statistics", tag = "multi-period sync",
    responses((status = 200, body = Envelope<Statistics>)))]
async fn statistics(State(service): State<Service>) -> Result<Json<Envelope<Statistics>>, Problem> {
    let (mut period_statistics, mut last_updated) = (BTreeMap::new(), None);
    let mut as_of = service.clock.now();
    for period in Period::ALL {
        let name = period.dataset();
        let counted = service.store.rows_by_source(name).await?;
        as_of = as_of.min(counted.as_of);
        let newest = service.store.commits(name, Span::ALL, 1).await?;
        last_updated = last_updated.max(newest.first().map(|commit| commit.at));
        let by_source = counted.rows.into_iter().map(|rows| {
            let latest_date = rows.last_day.map(|day| day.to_string());
            (rows.source, SourceStatistics { count: rows.rows, latest_date })
        });
        period_statistics.insert(name.to_string(), by_source.collect());
    }
    let last_updated = last_updated.map(|at: Instant| at.to_string());
    Ok(envelope("统计信息获取成功", Statistics { period_statistics, last_updated, as_of: as_of.to_string() }))
}

//! What would be asked, before anything starts: slices, calls, rows, minutes and days; and the audit of what is stored.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::runs::WorkBody;
use crate::engine::audits;
use crate::engine::run::Planned;
use crate::model::{Dataset, Day, Error, Instant, Result, Span};
use crate::plan::Schedule;
use crate::serve::Service;
use crate::serve::extract::{Body, Params};
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(plan)).routes(routes!(audit))
}

/// What a run would ask.
#[derive(Debug, Serialize, ToSchema)]
struct Plans {
    items: Vec<PlanItem>,
    calls: u64,
    rows: u64,
    /// Tables do not wait for each other.
    minutes: f64,
}

/// What it would ask of one table.
#[derive(Debug, Serialize, ToSchema)]
struct PlanItem {
    dataset: String,
    source: String,
    strategy: &'static str,
    slices: usize,
    calls: u64,
    rows: u64,
    /// That the quota alone takes.
    minutes: f64,
    /// Days (weeks, months, periods) that would be asked for, oldest first.
    days: Vec<String>,
    /// The cut that was chosen and why, or why nothing is to be done.
    note: String,
    /// The calendar or the list of securities is not stored yet.
    estimated: bool,
}

/// Days of one table that are listed.
const DAYS_MAX: usize = 10_000;

impl PlanItem {
    fn new(dataset: &Dataset, planned: &Planned, now: Instant) -> PlanItem {
        let plan = &planned.plan;
        let schedule = Schedule::new(dataset, &planned.knowledge.calendar);
        let spans: BTreeSet<Span> = plan.slices.iter().map(|slice| slice.area.span).collect();
        let horizon = schedule.horizon(now);
        let bounded = |span: &Span| Span::new(span.from.max(dataset.first_day()), span.to.min(horizon));
        let points = spans.iter().filter(|_| !schedule.is_timeless()).map(bounded).filter(|span| !span.is_empty());
        let days: BTreeSet<Day> = points.flat_map(|span| schedule.points(span.from, span.to, now.day())).collect();
        PlanItem {
            dataset: dataset.name.clone(),
            source: planned.source.name().to_string(),
            strategy: plan.strategy.name(),
            slices: plan.slices.len(),
            calls: plan.calls,
            rows: plan.rows,
            minutes: plan.minutes,
            days: days.into_iter().take(DAYS_MAX).map(|day| day.to_string()).collect(),
            note: plan.blocked.clone().unwrap_or_else(|| plan.reason.clone()),
            estimated: plan.estimated,
        }
    }
}

/// What a run would ask of the sources; nothing is asked.
#[utoipa::path(post, path = "/api/v1/plan", tag = "work", request_body = WorkBody, responses(
    (status = 200, body = Plans)))]
async fn plan(State(service): State<Service>, Body(body): Body<WorkBody>) -> Result<Json<Plans>, Problem> {
    let (work, _) = service.work(body).await?;
    let engine = service.engines.current().await?.asking(&work.sources)?;
    let (securities, now) = (service.known_securities().await?, service.clock.now());
    let requests = engine.requests(&work, &securities, now.day())?;
    let mut items = Vec::new();
    for (name, request) in engine.with_prerequisites(requests).await? {
        let planned = engine.plan(&name, &request, &[]).await?;
        items.push(PlanItem::new(service.catalog.get(&name)?, &planned, now));
    }
    Ok(Json(Plans {
        calls: items.iter().map(|item| item.calls).sum(),
        rows: items.iter().map(|item| item.rows).sum(),
        minutes: items.iter().map(|item| item.minutes).fold(0.0, f64::max),
        items,
    }))
}

/// Which tables, from which day on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// Tables with commas; all when absent
    dataset: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// Every expected cell explained, or holes with reason and remedy: as `tidegate audit --json`.
#[utoipa::path(get, path = "/api/v1/audit", tag = "state", params(AuditParams), responses(
    (status = 200, body = Object)))]
async fn audit(State(service): State<Service>, Params(params): Params<AuditParams>) -> Result<Json<Value>, Problem> {
    let names = params.dataset.iter().flat_map(|names| names.split(',')).map(str::trim);
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_string).collect();
    let day = |text: &Option<String>, name| -> Result<Option<Day>> {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(|text| Day::parse(text).map_err(|error| error.while_doing(name))).transpose()
    };
    let (from, to) = (day(&params.from, "from")?, day(&params.to, "to")?);
    let span = Span::new(from.unwrap_or(Day::MIN), to.unwrap_or(Day::MAX));
    if span.is_empty() {
        let error = Error::invalid("from lies after to").hint("swap the two");
        return Err(error.into());
    }
    let span = (!span.is_all()).then_some(span);
    let audits = service.engines.current().await?.audits(&names, span).await?;
    Ok(Json(audits::as_json(&audits)))
}

//! Coverage: how each day of a table stands, and what filled it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::failures::FailureItem;
use super::memory::KNOWLEDGE;
use crate::engine::audits;
use crate::model::{Dataset, Day, Error, Result, Span};
use crate::plan::{DayCell, day_cells};
use crate::serve::Service;
use crate::serve::cache::{Answer, MadeFrom, Question};
use crate::serve::extract::{Named, Params};
use crate::serve::problem::Problem;
use crate::store::CommitRecord;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(coverage)).routes(routes!(day))
}

/// The days of a table.
#[derive(Debug, Serialize, ToSchema)]
struct Coverage {
    dataset: String,
    from: String,
    to: String,
    /// Every calendar day, oldest first; of a table without points of time one cell, at today.
    days: Vec<Cell>,
}

/// A day of a table.
#[derive(Debug, Serialize, ToSchema)]
struct Cell {
    day: String,
    /// `present`, `empty` (proven), `not_due`, `provisional`, `partial`, `failed`, `unknown` or `closed`.
    state: &'static str,
    /// Rows stored for the day.
    rows: u64,
    /// Rows that a whole answer would have, where that is known.
    expected: Option<u64>,
    source: Option<String>,
    at: Option<String>,
    /// The task that filled it last; told of one day only.
    task: Option<i64>,
    /// For people; empty where the state says it all.
    why: String,
}

/// A day with what filled it.
#[derive(Debug, Serialize, ToSchema)]
struct CellDetail {
    dataset: String,
    #[serde(flatten)]
    cell: Cell,
    /// Slices that wrote to the day, newest first.
    commits: Vec<CommitItem>,
    /// Failures that lie over the day, resolved ones too.
    failures: Vec<FailureItem>,
}

/// A slice that was committed.
#[derive(Debug, Serialize, ToSchema)]
struct CommitItem {
    /// `_seq` of every row that it inserted or updated.
    seq: i64,
    at: String,
    source: String,
    task: Option<i64>,
    area: String,
    inserted: u64,
    updated: u64,
    unchanged: u64,
    withdrawn: u64,
}

/// Which days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CoverageParams {
    /// A year before `to` when absent
    from: Option<String>,
    /// Today when absent
    to: Option<String>,
}

/// Days of one answer: ten years.
const DAYS_MAX: i32 = 3_660;
/// Commits and failures that are told of one day.
const TOLD_MAX: usize = 200;

impl Cell {
    fn new(cell: DayCell) -> Cell {
        Cell {
            day: cell.day.to_string(),
            state: cell.state.name(),
            rows: cell.rows,
            expected: cell.expected,
            source: cell.source.map(|source| source.to_string()),
            at: cell.at.map(|at| at.to_string()),
            task: None,
            why: cell.why,
        }
    }
}

impl CommitItem {
    fn new(commit: &CommitRecord) -> CommitItem {
        CommitItem {
            seq: commit.seq,
            at: commit.at.to_string(),
            source: commit.source.clone(),
            task: commit.task,
            area: commit.area.to_string(),
            inserted: commit.counts.inserted,
            updated: commit.counts.updated,
            unchanged: commit.counts.unchanged,
            withdrawn: commit.counts.withdrawn,
        }
    }
}

fn span(params: &CoverageParams, today: Day) -> Result<Span> {
    let day = |text: &Option<String>, name| -> Result<Option<Day>> {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(|text| Day::parse(text).map_err(|error| error.while_doing(name))).transpose()
    };
    let to = day(&params.to, "to")?.unwrap_or(today);
    let from = day(&params.from, "from")?.unwrap_or(to.plus(-365));
    if from > to {
        return Err(Error::invalid(format!("from {from} lies after to {to}")).hint("swap the two"));
    }
    if to.0 - from.0 >= DAYS_MAX {
        let error = Error::invalid(format!("{} days are more than one answer tells of", to.0 - from.0 + 1));
        return Err(error.hint(format!("ask for at most {DAYS_MAX} days")));
    }
    Ok(Span::new(from, to))
}

/// How each day of a table stands.
#[utoipa::path(get, path = "/api/v1/coverage/{dataset}", tag = "state",
    params(("dataset" = String, Path), CoverageParams),
    responses(
        (status = 200, body = Coverage), (status = 304, description = "as the entity tag has it"),
    ))]
async fn coverage(
    State(service): State<Service>,
    Named(name): Named<String>,
    headers: HeaderMap,
    Params(params): Params<CoverageParams>,
) -> Result<Response, Problem> {
    let dataset = service.catalog.get(&name)?.clone();
    let now = service.clock.now();
    let span = span(&params, now.day())?;
    // What is due changes from minute to minute.
    let text = format!("coverage {name} {span:?} {:?} {}", now.day(), now.minute_of_day());
    let tables = KNOWLEDGE.into_iter().chain([name.as_str()]).map(str::to_string).collect();
    let question = Question { text, from: MadeFrom::Tables(tables) };
    let make = || async {
        let days = service.cells(&dataset, span).await?.into_iter().map(Cell::new).collect();
        let (from, to) = (span.from.to_string(), span.to.to_string());
        Ok(Answer::of(&Coverage { dataset: name.clone(), from, to, days })?)
    };
    service.cache.answer(&headers, question, make).await
}

impl Service {
    /// How each day of a span stands.
    pub async fn cells(&self, dataset: &Arc<Dataset>, span: Span) -> Result<Vec<DayCell>> {
        let knowledge = self.knowledge().await?;
        let coverage = self.store.coverage(&dataset.name).await?;
        let failures = self.store.failures(Some(&dataset.name), false).await?;
        let served = audits::served(&self.engines.current().await?.sources, dataset);
        let (dataset, now) = (dataset.clone(), self.clock.now());
        let counting = move || day_cells(&dataset, &knowledge, &coverage, &failures, &served, span, now);
        tokio::task::spawn_blocking(counting)
            .await
            .map_err(|error| Error::bug("counting days broke off").caused_by(error))
    }
}

/// One day of a table: the commits that filled it, and its failures.
#[utoipa::path(get, path = "/api/v1/coverage/{dataset}/{day}", tag = "state",
    params(("dataset" = String, Path), ("day" = String, Path, description = "2024-01-31")),
    responses(
        (status = 200, body = CellDetail),
    ))]
async fn day(
    State(service): State<Service>,
    Named((name, day)): Named<(String, String)>,
) -> Result<Json<CellDetail>, Problem> {
    let dataset = service.catalog.get(&name)?.clone();
    let span = Span::day(Day::parse(&day)?);
    let cell = service.cells(&dataset, span).await?.pop();
    let cell = cell.ok_or_else(|| Error::bug(format!("{name} has no cell on {day}")))?;
    let asked = if dataset.time.is_some() { span } else { Span::ALL };
    let commits = service.store.commits(&name, asked, TOLD_MAX).await?;
    let failures = service.store.failures(Some(&name), true).await?;
    let over = failures.iter().rev().filter(|failure| failure.area.span.intersect(asked).is_some());
    let task = commits.first().and_then(|commit| commit.task);
    Ok(Json(CellDetail {
        dataset: name,
        cell: Cell { task, ..Cell::new(cell) },
        commits: commits.iter().map(CommitItem::new).collect(),
        failures: over.take(TOLD_MAX).map(FailureItem::new).collect(),
    }))
}

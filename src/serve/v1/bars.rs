//! Bars of one security for a chart: days, weeks or months, raw or adjusted.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Date32Type;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::period::{Period, gathered};
use super::rows::made_from;
use crate::model::{Dataset, Day, Error, Filter, Order, Query, Result};
use crate::read::write::JsonArrays;
use crate::read::{Adjust, Reader, View};
use crate::serve::Service;
use crate::serve::cache::{Answer, MadeFrom, Question};
use crate::serve::extract::{Named, Params};
use crate::serve::problem::Problem;
use crate::store::Scan;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(bars))
}

/// Bars, oldest first.
#[derive(ToSchema)]
#[expect(dead_code, reason = "bars are written straight from Arrow; this says how they look")]
struct Bars {
    code: String,
    name: Option<String>,
    period: String,
    /// `none`, `qfq` or `hfq`.
    adjust: String,
    /// The day whose prices qfq leaves as they are.
    anchor: Option<String>,
    /// The table that the bars were read from, or made from.
    made_from: String,
    columns: Vec<String>,
    #[schema(value_type = Vec<Vec<Option<serde_json::Value>>>)]
    bars: Vec<Vec<serde_json::Value>>,
}

/// Which bars.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BarsParams {
    /// `daily`, `weekly` or `monthly`
    #[serde(default)]
    #[param(inline)]
    period: Period,
    /// `none`, `qfq` (forward adjusted) or `hfq` (backward)
    adjust: Option<String>,
    /// The day whose prices qfq leaves as they are; the newest one unless it is named
    anchor: Option<String>,
    /// As they were believed then
    as_of: Option<String>,
    from: Option<String>,
    to: Option<String>,
    /// The newest so many
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// The cells of a bar.
const COLUMNS: [&str; 7] = ["day", "open", "high", "low", "close", "vol", "amount"];
/// Bars of one answer: every trading day of a century and more would not fill it.
const BARS_MAX: usize = 30_000;

/// What is asked, with every name understood.
#[derive(Clone, Debug)]
struct Wanted {
    code: Arc<str>,
    name: Option<String>,
    period: Period,
    view: View,
    from: Option<Day>,
    to: Option<Day>,
    limit: usize,
    /// The tables that may have the bars, the first that has any counts, with the period that they have.
    tables: Vec<(Arc<Dataset>, Period)>,
}

/// Bars of one security or index.
#[utoipa::path(get, path = "/api/v1/bars/{code}", tag = "data",
    params(("code" = String, Path, description = "600519.SH, or six digits where they are unambiguous"), BarsParams),
    responses(
        (status = 200, body = Bars, content_type = "application/json"),
        (status = 304, description = "the bars are those of the entity tag"),
    ))]
async fn bars(
    State(service): State<Service>,
    Named(code): Named<String>,
    headers: HeaderMap,
    Params(params): Params<BarsParams>,
) -> Result<Response, Problem> {
    let wanted = wanted(&service, &code, &params).await?;
    let reader = service.reader.with(wanted.view.clone());
    let tables = wanted.tables.iter().map(|(dataset, _)| (dataset.name.as_str(), made_from(dataset, &wanted.view)));
    let from = tables.flat_map(|(_, from)| match from {
        MadeFrom::Tables(names) => names,
        MadeFrom::Everything => Vec::new(),
    });
    let Wanted { code, name, period, view, from: first, to: last, limit, .. } = &wanted;
    let question = Question {
        text: format!("bars {code} {name:?} {period:?} {view:?} {first:?} {last:?} {limit}"),
        from: MadeFrom::Tables(from.collect()),
    };
    service.cache.answer(&headers, question, || async { Ok(Answer::json(answer(&wanted, &reader).await?)) }).await
}

async fn wanted(service: &Service, code: &str, params: &BarsParams) -> Result<Wanted> {
    let securities = service.known_securities().await?;
    let index = service.catalog.get("index_daily").ok().filter(|index| index.codes.iter().any(|known| known == code));
    let code: Arc<str> = if index.is_some() { Arc::from(code) } else { securities.meant_by(code)? };
    let mut view = View::default();
    for (name, value) in [("as_of", &params.as_of), ("adjust", &params.adjust), ("anchor", &params.anchor)] {
        view.set(name, value.as_deref().unwrap_or_default()).map_err(|error| error.while_doing(name))?;
    }
    if index.is_some() && view.adjust.take().is_some() {
        view.anchor = None;
    }
    view.check().map_err(|error| error.hint("add adjust=qfq"))?;
    let day = |text: &Option<String>, name| -> Result<Option<Day>> {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(|text| Day::parse(text).map_err(|error| error.while_doing(name))).transpose()
    };
    let limit = params.limit.unwrap_or(BARS_MAX);
    if !(1..=BARS_MAX).contains(&limit) {
        return Err(Error::invalid(format!("limit is 1 to {BARS_MAX}, not {limit}")));
    }
    let daily = (service.catalog.get(if index.is_some() { "index_daily" } else { "daily" })?.clone(), Period::Daily);
    let own = match (params.period, index) {
        (Period::Daily, _) | (_, Some(_)) => None,
        (period, None) => service.catalog.get(period.name()).ok().map(|dataset| (dataset.clone(), period)),
    };
    Ok(Wanted {
        name: securities.get(&code).map(|security| security.name.clone()),
        code,
        period: params.period,
        view: service.reader.anchored_to_the_newest(view),
        from: day(&params.from, "from")?,
        to: day(&params.to, "to")?,
        limit,
        tables: own.into_iter().chain([daily]).collect(),
    })
}

/// What the answer begins with.
#[derive(Serialize)]
struct Head<'a> {
    code: &'a str,
    name: Option<&'a str>,
    period: &'a str,
    adjust: &'a str,
    anchor: Option<String>,
    made_from: &'a str,
    columns: [&'a str; 7],
}

async fn answer(wanted: &Wanted, reader: &Reader) -> Result<Vec<u8>> {
    let (dataset, bars) = read(wanted, reader).await?;
    let head = Head {
        code: &wanted.code,
        name: wanted.name.as_deref(),
        period: wanted.period.name(),
        adjust: match wanted.view.adjust {
            None => "none",
            Some(Adjust::Forward) => "qfq",
            Some(Adjust::Backward) => "hfq",
        },
        anchor: wanted.view.anchor.map(|day| day.to_string()),
        made_from: &dataset.name,
        columns: COLUMNS,
    };
    let mut body = serde_json::to_vec(&head).map_err(|error| Error::bug("writing JSON").caused_by(error))?;
    body.pop();
    body.extend_from_slice(b",\"bars\":");
    let mut rows = JsonArrays::new(dataset, &columns_of(dataset)?, body)?;
    let first = bars.num_rows().saturating_sub(wanted.limit);
    rows.write(&bars, first..bars.num_rows())?;
    let mut body = rows.finish();
    body.push(b'}');
    Ok(body)
}

/// The columns of a table that are a bar's.
fn columns_of(dataset: &Dataset) -> Result<Vec<String>> {
    let time = dataset.time.as_deref().ok_or_else(|| Error::bug(format!("{} has no days", dataset.name)))?;
    Ok(std::iter::once(time).chain(COLUMNS[1..].iter().copied()).map(str::to_string).collect())
}

/// The bars from the first table that has any, oldest first; one batch.
async fn read<'a>(wanted: &'a Wanted, reader: &Reader) -> Result<(&'a Dataset, RecordBatch)> {
    let mut found = None;
    for (dataset, period) in &wanted.tables {
        let mut bars = read_table(wanted, reader, dataset, *period).await?;
        if *period != wanted.period {
            bars = gathered(&bars, wanted.period)?;
        }
        let has_bars = bars.num_rows() > 0;
        found = Some((&**dataset, bars));
        if has_bars {
            break;
        }
    }
    found.ok_or_else(|| Error::bug("there is no table of bars"))
}

async fn read_table(wanted: &Wanted, reader: &Reader, dataset: &Dataset, has: Period) -> Result<RecordBatch> {
    let columns = columns_of(dataset)?;
    let security = dataset.security.clone().unwrap_or_default();
    let mut filters = vec![Filter::In { column: security, values: vec![wanted.code.to_string()] }];
    // A week or month that is made from days is made from all of them.
    let whole = |day: Option<Day>, bound: fn(Period, Day) -> Day| match has == wanted.period {
        true => day,
        false => day.map(|day| bound(wanted.period, day)),
    };
    let (from, to) = (whole(wanted.from, Period::start_of), whole(wanted.to, Period::end_of));
    if from.is_some() || to.is_some() {
        let text = |day: Option<Day>| day.map(|day| day.to_string());
        filters.push(Filter::Between { column: columns[0].clone(), from: text(from), to: text(to) });
    }
    let days_in_bar: u64 = if has == wanted.period { 1 } else { 31 };
    let query = Query {
        order: vec![Order { column: columns[0].clone(), descending: true }],
        limit: Some((wanted.limit as u64).saturating_mul(days_in_bar).min(BARS_MAX as u64)),
        columns,
        filters,
        ..Query::all(&dataset.name)
    };
    let batches: Vec<RecordBatch> = reader.scan(&query).await?.try_collect().await?;
    oldest_first(dataset, &query, &batches)
}

/// Newest first, as batches, to oldest first, as one.
fn oldest_first(dataset: &Dataset, query: &Query, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let fields = dataset.schema();
    let positions: Vec<usize> = query.columns.iter().filter_map(|name| dataset.column_index(name)).collect();
    let schema = batches.first().map(RecordBatch::schema).map_or_else(|| fields.project(&positions).map(Arc::new), Ok);
    let broken = |error| Error::bug("bars cannot be put together").caused_by(error);
    let all = arrow_select::concat::concat_batches(&schema.map_err(broken)?, batches).map_err(broken)?;
    let days = all.column(0).as_primitive::<Date32Type>();
    let is_descending = days.values().windows(2).all(|pair| pair[0] >= pair[1]);
    if !is_descending {
        return Err(Error::bug("bars are not in the order that was asked for"));
    }
    let positions = arrow_array::UInt32Array::from_iter_values((0..all.num_rows() as u32).rev());
    arrow_select::take::take_record_batch(&all, &positions).map_err(broken)
}

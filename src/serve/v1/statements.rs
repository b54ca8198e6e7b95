//! Statements of one company side by side: the newest periods, each as it was announced last.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::objects::{names, objects};
use crate::model::{Column, ColumnType, Dataset, Day, Error, Filter, Order, Query, Result};
use crate::read::{Reader, View};
use crate::serve::Service;
use crate::serve::cache::{Answer, MadeFrom, Question};
use crate::serve::extract::{Named, Params};
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(statements))
}

/// Items by period, newest period first.
#[derive(Debug, Serialize, ToSchema)]
struct Statements {
    code: String,
    name: Option<String>,
    table: String,
    /// Report periods, by their last day.
    periods: Vec<String>,
    /// When each was announced.
    announced: Vec<Option<String>>,
    rows: Vec<Item>,
}

/// One item over the periods.
#[derive(Debug, Serialize, ToSchema)]
struct Item {
    column: String,
    meaning: String,
    meaning_zh: String,
    unit: String,
    #[schema(value_type = Vec<Option<f64>>)]
    values: Vec<Value>,
}

/// Which table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Table {
    #[default]
    Income,
    Balancesheet,
    Cashflow,
    FinaIndicator,
}

impl Table {
    fn dataset(self) -> &'static str {
        match self {
            Table::Income => "income_vip",
            Table::Balancesheet => "balancesheet_vip",
            Table::Cashflow => "cashflow_vip",
            Table::FinaIndicator => "fina_indicator",
        }
    }
}

/// Which statements.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatementsParams {
    /// `income`, `balancesheet`, `cashflow` or `fina_indicator`
    #[serde(default)]
    #[param(inline)]
    table: Table,
    /// Report periods
    #[param(minimum = 1, maximum = 40)]
    periods: Option<usize>,
    /// As they had been announced on this day; today when absent
    known_on: Option<String>,
}

const PERIODS: usize = 8;
const PERIODS_MAX: usize = 40;
/// Rows of one company's table: its periods, with room for kinds of reports that are not shown.
const ROWS_MAX: u64 = 2_000;
/// The kind of report that is shown where there are several: the consolidated one.
const CONSOLIDATED: &str = "1";

/// Statements of one company side by side.
#[utoipa::path(get, path = "/api/v1/statements/{code}", tag = "data",
    params(("code" = String, Path, description = "600519.SH, or six digits where they are unambiguous"), StatementsParams),
    responses(
        (status = 200, body = Statements), (status = 304, description = "as the entity tag has it"),
    ))]
async fn statements(
    State(service): State<Service>,
    Named(code): Named<String>,
    headers: HeaderMap,
    Params(params): Params<StatementsParams>,
) -> Result<Response, Problem> {
    let periods = params.periods.unwrap_or(PERIODS);
    if !(1..=PERIODS_MAX).contains(&periods) {
        return Err(Error::invalid(format!("periods is 1 to {PERIODS_MAX}, not {periods}")).into());
    }
    let known_on = match params.known_on.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Day::parse(text).map_err(|error| error.while_doing("known_on"))?,
        None => service.clock.now().day(),
    };
    let securities = service.known_securities().await?;
    let code = securities.meant_by(&code)?.to_string();
    let name = securities.get(&code).map(|security| security.name.clone());
    let dataset = service.catalog.get(params.table.dataset())?.clone();
    let question = Question {
        text: format!("statements {code} {name:?} {} {periods} {known_on}", dataset.name),
        from: MadeFrom::table(&dataset.name),
    };
    let reader = service.reader.with(View { known_on: Some(known_on), ..View::default() });
    let make = || async { Ok(Answer::of(&read(&reader, &dataset, code, name, periods).await?)?) };
    service.cache.answer(&headers, question, make).await
}

async fn read(
    reader: &Reader,
    dataset: &Dataset,
    code: String,
    name: Option<String>,
    periods: usize,
) -> Result<Statements> {
    let (security, time) = names(dataset);
    let mut filters = vec![Filter::In { column: security, values: vec![code.clone()] }];
    if dataset.column("report_type").is_some() {
        filters.push(Filter::In { column: "report_type".to_string(), values: vec![CONSOLIDATED.to_string()] });
    }
    let order = vec![Order { column: time.clone(), descending: true }];
    let query = Query { filters, order, limit: Some(ROWS_MAX), ..Query::all(&dataset.name) };
    let mut rows = objects(reader, &query).await?;
    // Of two kinds of one period the first in the order of the key is shown.
    rows.dedup_by(|later, first| later.get(&time) == first.get(&time));
    rows.truncate(periods);
    let text = |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_str).map(str::to_string);
    let announced = dataset.versions.iter().flat_map(|versions| &versions.announced);
    let announced = |row| announced.clone().find_map(|name| text(row, name));
    let is_item = |column: &&Column| {
        let is_number = matches!(column.kind, ColumnType::Decimal | ColumnType::Float | ColumnType::Int);
        is_number && !dataset.key.contains(&column.name)
    };
    let item = |column: &Column| Item {
        column: column.name.clone(),
        meaning: column.meaning.clone(),
        meaning_zh: column.meaning_zh.clone(),
        unit: column.unit.clone(),
        values: rows.iter().map(|row| row.get(&column.name).cloned().unwrap_or_default()).collect(),
    };
    Ok(Statements {
        code,
        name,
        table: dataset.name.clone(),
        periods: rows.iter().filter_map(|row| text(row, &time)).collect(),
        announced: rows.iter().map(announced).collect(),
        rows: dataset.columns.iter().filter(is_item).map(item).collect(),
    })
}

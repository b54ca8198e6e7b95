//! The market of one day: shares at their limits, where the money went, what is hot.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::objects::objects;
use crate::model::{Day, Filter, Order, Query, Result, SecurityList};
use crate::serve::Service;
use crate::serve::cache::{Answer, MadeFrom, Question};
use crate::serve::extract::Params;
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(monitor))
}

/// The market of a day; every entry has `code`, `name` and the columns of its table.
#[derive(Debug, Serialize, ToSchema)]
struct Monitor {
    day: String,
    /// Shares that closed at the upper limit.
    #[schema(value_type = Vec<Object>)]
    limit_up: Vec<Map<String, Value>>,
    #[schema(value_type = Vec<Object>)]
    limit_down: Vec<Map<String, Value>>,
    /// The greatest net inflow of money first.
    #[schema(value_type = Vec<Object>)]
    inflow: Vec<Map<String, Value>>,
    #[schema(value_type = Vec<Object>)]
    outflow: Vec<Map<String, Value>>,
    /// What most people look at.
    #[schema(value_type = Vec<Object>)]
    hot: Vec<Map<String, Value>>,
    /// Concepts with the most shares at the upper limit.
    #[schema(value_type = Vec<Object>)]
    boards: Vec<Map<String, Value>>,
}

/// Which day.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MonitorParams {
    /// The newest day that has rows when absent
    day: Option<String>,
}

/// The tables of the monitor.
const TABLES: [&str; 4] = ["limit_list_d", "moneyflow", "ths_hot", "kpl_concept"];
const LISTED_MAX: u64 = 300;
const RANKED_MAX: u64 = 30;

/// The market of one day.
#[utoipa::path(get, path = "/api/v1/monitor", tag = "data", params(MonitorParams), responses(
    (status = 200, body = Monitor), (status = 304, description = "as the entity tag has it")))]
async fn monitor(
    State(service): State<Service>,
    headers: HeaderMap,
    Params(params): Params<MonitorParams>,
) -> Result<Response, Problem> {
    let day = match params.day.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Day::parse(text).map_err(|error| error.while_doing("day"))?,
        None => newest(&service).await?,
    };
    let tables = TABLES.into_iter().chain(["stock_basic"]).map(str::to_string).collect();
    let question = Question { text: format!("monitor {day}"), from: MadeFrom::Tables(tables) };
    service.cache.answer(&headers, question, || async { Ok(Answer::of(&read(&service, day).await?)?) }).await
}

async fn newest(service: &Service) -> Result<Day> {
    let summary = service.summary().await?;
    let of_monitor = summary.datasets.iter().filter(|stored| TABLES.contains(&stored.name.as_str()));
    let today = service.clock.now().day();
    Ok(of_monitor.filter_map(|stored| stored.last_day).max().map_or(today, |day| day.min(today)))
}

async fn read(service: &Service, day: Day) -> Result<Monitor> {
    let by = |column: &str, descending| vec![Order { column: column.to_string(), descending }];
    let only =
        |column: &str, value: &str| vec![Filter::In { column: column.to_string(), values: vec![value.to_string()] }];
    let list = async |table, filters, order, limit| ranked(service, table, day, filters, order, limit).await;
    Ok(Monitor {
        day: day.to_string(),
        limit_up: list("limit_list_d", only("limit", "U"), by("first_time", false), LISTED_MAX).await?,
        limit_down: list("limit_list_d", only("limit", "D"), by("first_time", false), LISTED_MAX).await?,
        inflow: list("moneyflow", Vec::new(), by("net_mf_amount", true), RANKED_MAX).await?,
        outflow: list("moneyflow", Vec::new(), by("net_mf_amount", false), RANKED_MAX).await?,
        hot: list("ths_hot", only("data_type", "热股"), by("rank", false), RANKED_MAX).await?,
        boards: list("kpl_concept", Vec::new(), by("z_t_num", true), RANKED_MAX).await?,
    })
}

async fn ranked(
    service: &Service,
    table: &str,
    day: Day,
    mut filters: Vec<Filter>,
    order: Vec<Order>,
    limit: u64,
) -> Result<Vec<Map<String, Value>>> {
    let text = Some(day.to_string());
    filters.push(Filter::Between { column: "trade_date".to_string(), from: text.clone(), to: text });
    let query = Query { filters, order, limit: Some(limit), ..Query::all(table) };
    let rows = objects(&service.reader, &query).await?;
    let securities = service.known_securities().await?;
    Ok(rows.into_iter().map(|row| named(row, &securities)).collect())
}

/// A row under the names that all lists have.
fn named(mut row: Map<String, Value>, securities: &SecurityList) -> Map<String, Value> {
    let code = row.remove("ts_code").unwrap_or_default();
    let known = code.as_str().and_then(|code| securities.get(code)).map(|security| Value::from(security.name.clone()));
    let name = [row.remove("name"), row.remove("ts_name")].into_iter().flatten().find(|name| !name.is_null());
    row.insert("name".to_string(), name.or(known).unwrap_or_default());
    row.insert("code".to_string(), code);
    row
}

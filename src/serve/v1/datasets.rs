//! The tables of the catalogue, and what the store holds of them.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::engine::Engine;
use crate::model::{Column, Dataset, Result};
use crate::serve::Service;
use crate::serve::extract::Named;
use crate::serve::problem::Problem;
use crate::store::{DatasetSummary, Summary};

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(datasets)).routes(routes!(dataset))
}

/// A table.
#[derive(Debug, Serialize, ToSchema)]
struct DatasetItem {
    name: String,
    title: String,
    title_zh: String,
    /// `dense`, `sparse`, `period` or `whole`.
    shape: String,
    /// The column that areas and row counts are counted by.
    time: Option<String>,
    /// The column that names the security.
    security: Option<String>,
    /// The natural key.
    key: Vec<String>,
    /// The first day for which there can be rows.
    first_day: String,
    /// A cron expression in Asia/Shanghai, `event_driven` or `continuous`.
    schedule: String,
    strategy: &'static str,
    /// Who serves it, best first.
    sources: Vec<String>,
    /// Prices can be adjusted: `adjust=qfq` and `adjust=hfq`.
    adjusts: bool,
    /// Rows have versions: `known_on`.
    has_versions: bool,
    rows: u64,
    first_day_stored: Option<String>,
    last_day_stored: Option<String>,
}

/// A table in full.
#[derive(Debug, Serialize, ToSchema)]
struct DatasetDetail {
    #[serde(flatten)]
    item: DatasetItem,
    /// What the rows mean and what to beware of.
    about: String,
    columns: Vec<ColumnItem>,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
pub struct ColumnItem {
    name: String,
    /// `text`, `date`, `datetime`, `int`, `decimal` or `float`.
    #[serde(rename = "type")]
    kind: String,
    /// Digits after the point of a decimal.
    scale: i8,
    unit: String,
    nullable: bool,
    meaning: String,
    meaning_zh: String,
}

impl ColumnItem {
    pub fn new(column: &Column) -> ColumnItem {
        ColumnItem {
            name: column.name.clone(),
            kind: word(&column.kind),
            scale: column.scale,
            unit: column.unit.clone(),
            nullable: column.nullable,
            meaning: column.meaning.clone(),
            meaning_zh: column.meaning_zh.clone(),
        }
    }
}

impl DatasetItem {
    fn new(dataset: &Dataset, engine: &Engine, summary: &Summary) -> DatasetItem {
        let none = DatasetSummary::default();
        let stored = summary.datasets.iter().find(|stored| stored.name == dataset.name).unwrap_or(&none);
        DatasetItem {
            name: dataset.name.clone(),
            title: dataset.title.clone(),
            title_zh: dataset.title_zh.clone(),
            shape: word(&dataset.shape),
            time: dataset.time.clone(),
            security: dataset.security.clone(),
            key: dataset.key.clone(),
            first_day: dataset.first_day().to_string(),
            schedule: dataset.policy.schedule.clone(),
            strategy: dataset.policy.strategy.name(),
            sources: sources_of(dataset, engine),
            adjusts: dataset.adjust.is_some(),
            has_versions: dataset.versions.is_some(),
            rows: stored.rows,
            first_day_stored: stored.first_day.map(|day| day.to_string()),
            last_day_stored: stored.last_day.map(|day| day.to_string()),
        }
    }
}

/// The sources that serve a table, best first.
pub fn sources_of(dataset: &Dataset, engine: &Engine) -> Vec<String> {
    let serving = engine.sources.iter().filter(|source| source.offer(dataset).is_some());
    serving.map(|source| source.name().to_string()).collect()
}

/// The word by which a value is written in catalogue files.
pub fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_string()
}

/// All tables of the catalogue.
#[utoipa::path(get, path = "/api/v1/datasets", tag = "data", responses((status = 200, body = Page<DatasetItem>)))]
async fn datasets(State(service): State<Service>) -> Result<Json<Page<DatasetItem>>, Problem> {
    let (engine, summary) = (service.engines.current().await?, service.summary().await?);
    let all = service.catalog.datasets().iter();
    Ok(Json(Page::whole(all.map(|dataset| DatasetItem::new(dataset, &engine, &summary)).collect())))
}

/// One table with its columns.
#[utoipa::path(get, path = "/api/v1/datasets/{name}", tag = "data", params(("name" = String, Path)),
    responses((status = 200, body = DatasetDetail)))]
async fn dataset(State(service): State<Service>, Named(name): Named<String>) -> Result<Json<DatasetDetail>, Problem> {
    let dataset = service.catalog.get(&name)?;
    let (engine, summary) = (service.engines.current().await?, service.summary().await?);
    Ok(Json(DatasetDetail {
        item: DatasetItem::new(dataset, &engine, &summary),
        about: dataset.about.clone(),
        columns: dataset.columns.iter().map(ColumnItem::new).collect(),
    }))
}

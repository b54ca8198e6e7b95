//! Rows that are kept apart: refused by a rule, or different from the stored ones until a person decides.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::model::{Error, Resolution, Result, RowConflict, Take};
use crate::serve::Service;
use crate::serve::extract::{Body, Named, Params};
use crate::serve::problem::Problem;
use crate::store::QuarantinedRow;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(quarantine)).routes(routes!(conflicts)).routes(routes!(resolve))
}

/// A row that a rule refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QuarantinedRow)]
struct QuarantinedItem {
    id: i64,
    dataset: String,
    at: String,
    source: String,
    rule: String,
    reason: String,
    #[schema(value_type = Object)]
    row: Value,
}

/// Two rows of one key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conflict)]
struct ConflictItem {
    id: i64,
    dataset: String,
    #[schema(value_type = Object)]
    key: Value,
    #[schema(value_type = Object)]
    stored: Value,
    #[schema(value_type = Object)]
    offered: Value,
    /// Columns in which the two differ.
    differences: Vec<String>,
    source: String,
    at: String,
    resolved_at: Option<String>,
    /// `stored`, `offered` or `agreed`.
    resolution: Option<&'static str>,
}

impl ConflictItem {
    fn new(conflict: &RowConflict) -> ConflictItem {
        ConflictItem {
            id: conflict.id,
            dataset: conflict.dataset.clone(),
            key: conflict.key.clone(),
            stored: conflict.stored.clone(),
            offered: conflict.offered.clone(),
            differences: conflict.differences().into_iter().map(|(column, ..)| column.to_string()).collect(),
            source: conflict.source.clone(),
            at: conflict.at.to_string(),
            resolved_at: conflict.resolved_at.map(|at| at.to_string()),
            resolution: conflict.resolution.map(Resolution::name),
        }
    }
}

/// Which rows of the quarantine.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QuarantineParams {
    dataset: Option<String>,
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// Which conflicts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConflictsParams {
    dataset: Option<String>,
    /// Those that are over, too
    #[serde(default)]
    all: bool,
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// Which of the two rows counts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TakeBody {
    take: Side,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Side {
    Stored,
    Offered,
}

impl Service {
    /// A table of the catalogue, where one is named.
    fn named_table(&self, name: Option<&str>) -> Result<Option<&str>> {
        name.map(|name| Ok(self.catalog.get(name)?.name.as_str())).transpose()
    }
}

/// Rows that rules refused, newest first.
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "work", params(QuarantineParams), responses(
    (status = 200, body = Page<QuarantinedItem>)))]
async fn quarantine(
    State(service): State<Service>,
    Params(params): Params<QuarantineParams>,
) -> Result<Json<Page<QuarantinedItem>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let dataset = service.named_table(params.dataset.as_deref())?;
    let rows = service.store.quarantine(dataset, limit).await?;
    let item = |row: QuarantinedRow| QuarantinedItem {
        id: row.id,
        dataset: row.dataset,
        at: row.at.to_string(),
        source: row.source,
        rule: row.quarantined.rule,
        reason: row.quarantined.reason,
        row: row.quarantined.row,
    };
    Ok(Json(Page::whole(rows.into_iter().map(item).collect())))
}

/// Rows that wait beside stored ones, newest offer first.
#[utoipa::path(get, path = "/api/v1/conflicts", tag = "work", params(ConflictsParams), responses(
    (status = 200, body = Page<ConflictItem>)))]
async fn conflicts(
    State(service): State<Service>,
    Params(params): Params<ConflictsParams>,
) -> Result<Json<Page<ConflictItem>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let dataset = service.named_table(params.dataset.as_deref())?;
    let found = service.store.conflicts(dataset, params.all, limit).await?;
    Ok(Json(Page::whole(found.iter().map(ConflictItem::new).collect())))
}

/// Decides which of the two rows counts.
#[utoipa::path(post, path = "/api/v1/conflicts/{id}/resolve", tag = "work", params(("id" = i64, Path)),
    request_body = TakeBody, responses(
    (status = 200, body = ConflictItem)))]
async fn resolve(
    State(service): State<Service>,
    Named(id): Named<i64>,
    Body(body): Body<TakeBody>,
) -> Result<Json<ConflictItem>, Problem> {
    let take = match body.take {
        Side::Stored => Take::Stored,
        Side::Offered => Take::Offered,
    };
    service.engines.current().await?.resolve_conflict(id, take).await?;
    let over = service.store.conflict(id).await?;
    let over = over.ok_or_else(|| Error::not_found(format!("there is no conflict {id}")))?;
    Ok(Json(ConflictItem::new(&over)))
}

//! Probes: whether the process lives, and whether it can answer.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`
    status: &'static str,
    version: &'static str,
}

const HEALTHY: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "probes", responses((status = 200, body = Health)))]
async fn healthz() -> Json<Health> {
    Json(HEALTHY)
}

/// The store answers.
#[utoipa::path(get, path = "/readyz", tag = "probes",
    responses((status = 200, body = Health), (status = 503, body = Problem, content_type = "application/problem+json")))]
async fn readyz(State(service): State<Service>) -> Result<Json<Health>, Problem> {
    service.store.events(u64::MAX, 1).await?;
    Ok(Json(HEALTHY))
}

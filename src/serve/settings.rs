//! The configuration in force: every option with what it means and where it comes from. Secrets only say whether they are set.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(settings))
}

/// One option as it counts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Setting {
    /// `sources.tushare.url`.
    pub option: String,
    /// As TOML; a secret is `(set)` or `(not set)`.
    pub value: String,
    /// `default`, a file with its line, a variable of the environment, or `--set`.
    pub origin: String,
    /// What it means.
    pub meaning: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Settings {
    items: Vec<Setting>,
    /// Always null: options are few.
    next: Option<String>,
}

/// Every option.
#[utoipa::path(get, path = "/api/v1/settings", tag = "access", responses((status = 200, body = Settings)))]
async fn settings(State(service): State<Service>) -> Json<Settings> {
    Json(Settings { items: service.settings.clone(), next: None })
}

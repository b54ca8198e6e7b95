//! Tokens of sources: set and removed here, used by the next run, and never shown.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::caller::{Caller, Role};
use super::extract::{Body, Named};
use super::problem::Problem;
use crate::engine::TOKENS;
use crate::model::definition::Kind;
use crate::model::{Change, Commit, Error, Result};

const CHARACTERS_MAX: usize = 4_096;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(set, remove))
}

/// A token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenValue {
    /// Visible ASCII characters.
    #[schema(min_length = 1, max_length = 4096, pattern = "^[!-~]+$", write_only)]
    value: String,
}

fn check_source(source: &str) -> Result<()> {
    if TOKENS.contains(&source) {
        return Ok(());
    }
    let error = Error::not_found(format!("no source takes a token under the name {source:?}"));
    Err(error.hint(format!("tokens are those of {}", TOKENS.join(", "))))
}

/// Sets the token of a source; it counts more than a configured one, from the next run on. Takes the role admin.
#[utoipa::path(put, path = "/api/v1/secrets/{source}", tag = "access", request_body = TokenValue,
    params(("source" = String, Path, description = "tushare, tidegate, akshare, baostock (its API key) or baostock_password")),
    responses((status = 204)))]
async fn set(
    State(service): State<Service>,
    caller: Caller,
    Named(source): Named<String>,
    Body(token): Body<TokenValue>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    check_source(&source)?;
    let plain = token.value.bytes().all(|byte| byte.is_ascii_graphic());
    if token.value.is_empty() || token.value.len() > CHARACTERS_MAX || !plain {
        let message = format!("a token has 1 to {CHARACTERS_MAX} visible ASCII characters");
        return Err(Error::invalid(message).into());
    }
    let body = serde_json::Value::String(token.value);
    commit(&service, Change::Define { kind: Kind::Secret, name: source, body, expect: None }).await
}

/// Removes the token of a source that was set here; a configured one counts again. Takes the role admin.
#[utoipa::path(delete, path = "/api/v1/secrets/{source}", tag = "access",
    params(("source" = String, Path, description = "The name under which the token was set")),
    responses((status = 204)))]
async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Named(source): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    check_source(&source)?;
    commit(&service, Change::Undefine { kind: Kind::Secret, name: source }).await
}

async fn commit(service: &Service, change: Change) -> Result<StatusCode, Problem> {
    service.store.commit(Commit { at: service.clock.now(), fence: None, changes: vec![change] }).await?;
    Ok(StatusCode::NO_CONTENT)
}

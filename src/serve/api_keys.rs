//! Keys of the API: who has one, and making and removing them. A key's text is shown once, when it is made.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::caller::{Caller, Role};
use super::extract::{Body, Named};
use super::keys::{self, Key};
use super::problem::Problem;
use crate::model::{Error, Instant};

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(remove))
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKey {
    name: String,
    role: Role,
    created_at: Option<String>,
    /// Absent: it does not expire.
    expires_at: Option<String>,
    expired: bool,
    /// To about ten minutes.
    last_used: Option<String>,
    /// Sessions of the dashboard that it has opened and that go on.
    sessions: usize,
}

impl ApiKey {
    fn of(name: &str, key: &Key, all: &BTreeMap<String, Key>, now: Instant) -> ApiKey {
        let its = |other: &&Key| other.parent.as_deref() == Some(name) && !other.has_expired(now);
        let text = |at: Option<Instant>| at.map(|at| at.to_string());
        ApiKey {
            name: name.to_string(),
            role: key.role,
            created_at: text(key.created_at),
            expires_at: text(key.expires_at),
            expired: key.has_expired(now),
            last_used: text(key.last_used),
            sessions: all.values().filter(its).count(),
        }
    }
}

/// Keys by name.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKeys {
    items: Vec<ApiKey>,
    /// Always null: keys are few.
    next: Option<String>,
}

/// A key that shall be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyWanted {
    /// Letters, digits, `-`, `_`, `.` and `@`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_@-][A-Za-z0-9_.@-]*$")]
    name: String,
    role: Role,
    /// Days after which it expires; absent: never.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 36500)]
    days: Option<u32>,
}

/// A key with its text.
#[derive(Debug, Serialize, ToSchema)]
struct KeyMade {
    #[serde(flatten)]
    made: ApiKey,
    /// The key itself. It is not kept, and cannot be shown again.
    key: String,
}

/// Every key. Takes the role admin.
#[utoipa::path(get, path = "/api/v1/keys", tag = "access", responses((status = 200, body = ApiKeys)))]
async fn list(State(service): State<Service>, caller: Caller) -> Result<Json<ApiKeys>, Problem> {
    caller.must(Role::Admin)?;
    let (all, now) = (keys::stored(&*service.store).await?, service.clock.now());
    let own = all.iter().filter(|(_, key)| !key.is_session());
    let items = own.map(|(name, key)| ApiKey::of(name, key, &all, now)).collect();
    Ok(Json(ApiKeys { items, next: None }))
}

/// Makes a key. Takes the role admin. The first key must be one of an admin: from then on nobody comes in without.
#[utoipa::path(post, path = "/api/v1/keys", tag = "access", request_body = KeyWanted,
    responses((status = 201, body = KeyMade)))]
async fn create(
    State(service): State<Service>,
    caller: Caller,
    Body(wanted): Body<KeyWanted>,
) -> Result<Response, Problem> {
    caller.must(Role::Admin)?;
    let days = wanted.days;
    if days.is_some_and(|days| !(1..=keys::DAYS_MAX).contains(&days)) {
        return Err(Error::invalid(format!("days is a number from 1 to {}", keys::DAYS_MAX)).into());
    }
    if !service.access.ring.has_keys() && (wanted.role != Role::Admin || days.is_some()) {
        let error = Error::conflict("the first key must be an admin's, and must not expire");
        return Err(error.hint("make one of the role admin first, or use `tidegate keys create`").into());
    }
    let now = service.clock.now();
    let new = keys::create(&*service.store, now, &wanted.name, wanted.role, days).await?;
    service.access.ring.refresh().await?;
    let made = KeyMade { made: ApiKey::of(&new.name, &new.key, &BTreeMap::new(), now), key: new.text };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// Removes a key and ends its sessions. Takes the role admin.
#[utoipa::path(delete, path = "/api/v1/keys/{name}", tag = "access",
    params(("name" = String, Path, description = "The name of the key")), responses((status = 204)))]
async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    keys::remove(&*service.store, service.clock.now(), &name).await?;
    service.access.ring.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Sessions of the dashboard: a key opens one, a cookie carries it, and nothing in the page can read it.

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::access::{COOKIE, Standing, refuse_other_sites};
use super::caller::{Caller, Role};
use super::extract::Body;
use super::keys;
use super::problem::Problem;
use crate::model::Error;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(session, log_out))
}

pub fn open_routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(log_in))
}

/// Who is asking, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// The name of the key; `local` where no key exists.
    name: String,
    role: Role,
    /// Whether keys exist. Without any, everybody on this machine may do everything.
    keys: bool,
    version: &'static str,
    /// The service's clock: what it says of times is by it.
    #[schema(example = "2025-01-02T18:00:00+08:00")]
    now: String,
}

impl Session {
    fn of(service: &Service, caller: Caller) -> Session {
        let keys = service.access.ring.has_keys();
        let now = service.clock.now().to_string();
        Session { name: caller.name, role: caller.role, keys, version: env!("CARGO_PKG_VERSION"), now }
    }
}

/// What a login carries.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// The text of a key, as it was shown when it was made.
    #[schema(max_length = 200)]
    key: String,
}

/// Who is asking.
#[utoipa::path(get, path = "/api/v1/session", tag = "access", responses((status = 200, body = Session)))]
async fn session(State(service): State<Service>, caller: Caller) -> Json<Session> {
    Json(Session::of(&service, caller))
}

/// Opens a session: the answer sets a cookie that lasts for `serve.session_hours`.
#[utoipa::path(post, path = "/api/v1/session", tag = "access", request_body = Login,
    responses((status = 200, body = Session)))]
async fn log_in(
    State(service): State<Service>,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    refuse_other_sites(&Method::POST, &headers, &service.options.cors_origins)?;
    let address: Option<IpAddr> = address.map(|Extension(ConnectInfo(address))| address.ip());
    let known = service.access.know(&login.key, address)?;
    let hours = service.options.session_hours;
    let opened = keys::open_session(&*service.store, service.clock.now(), &known.caller.name, hours).await?;
    service.access.ring.refresh().await?;
    let cookie = cookie(&headers, &opened.text, i64::from(hours) * 3_600)?;
    let who = Extension(known.caller.clone());
    Ok((who, [(header::SET_COOKIE, cookie)], Json(Session::of(&service, known.caller))).into_response())
}

/// Ends the session that the cookie carries; without one nothing happens.
#[utoipa::path(delete, path = "/api/v1/session", tag = "access", responses((status = 204)))]
async fn log_out(
    State(service): State<Service>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(session) = &standing.session {
        keys::close_session(&*service.store, service.clock.now(), session).await?;
        service.access.ring.refresh().await?;
    }
    let status = axum::http::StatusCode::NO_CONTENT;
    Ok((status, [(header::SET_COOKIE, cookie(&headers, "", 0)?)]).into_response())
}

/// No script reads the cookie, no other site sends it, and behind TLS it never travels without.
fn cookie(headers: &HeaderMap, text: &str, seconds: i64) -> Result<HeaderValue, Problem> {
    let https = headers.get("x-forwarded-proto").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{COOKIE}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let value = HeaderValue::from_str(&text);
    value.map_err(|error| Error::bug("a cookie cannot be written").caused_by(error).into())
}

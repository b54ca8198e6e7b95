//! Events and vouchers: publishing them, and reading the log of events.

mod described;
mod list;
mod post;
mod vouchers;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::Service;
use super::caller::Caller;
use super::problem::Problem;
use crate::model::{Error, Result};
use crate::publish::Once;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().merge(post::routes()).merge(vouchers::routes())
}

/// Whether requests of a route carry events or vouchers: they may be larger than others, and what they carry is kept as
/// an event and not in the audit journal.
pub fn carries(route: &str) -> bool {
    route == "/api/v1/events" || route == "/api/v1/vouchers" || route.starts_with("/api/v1/vouchers/")
}

const ONCE: HeaderName = HeaderName::from_static("idempotency-key");
const REPEATED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The idempotency key of a request, if it has one. `parts`: everything that makes the request the same.
fn once(caller: &Caller, what: &str, headers: &HeaderMap, parts: &[&[u8]]) -> Result<Option<Once>> {
    let Some(key) = headers.get(ONCE) else { return Ok(None) };
    let unreadable = |_| Error::invalid("the idempotency key is no plain text").at_field("Idempotency-Key");
    Once::new(&[&caller.name, what], key.to_str().map_err(unreadable)?, parts).map(Some)
}

/// Says that an answer is that of an earlier request with the same idempotency key.
fn marked(mut response: Response, repeated: bool) -> Response {
    if repeated {
        response.headers_mut().insert(REPEATED, HeaderValue::from_static("true"));
    }
    response
}

/// Reads the body that the access layer has gathered.
async fn body(request: axum::extract::Request) -> Result<axum::body::Bytes, Problem> {
    let read = axum::body::to_bytes(request.into_body(), usize::MAX).await;
    read.map_err(|_| Error::invalid("the body broke off").into())
}

//! Around every route: request id, security headers, which hosts and paths are answered, time limits, and errors as problems.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt};
use tracing::Instrument;

use super::problem::Problem;
use super::{Service, events, random};
use crate::model::Error;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARACTERS_MAX: usize = 64;
const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Of an answer in plain text that becomes the detail of a problem.
const DETAIL_BYTES_MAX: usize = 4 * 1024;

/// Goes with every answer.
const SECURITY: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The name of one request, in its answer and in every log record.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    /// The caller's own when it is a plain word, else a new one.
    fn of(headers: &HeaderMap) -> RequestId {
        let plain = |text: &&str| {
            let fits = (1..=REQUEST_ID_CHARACTERS_MAX).contains(&text.len());
            fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
        RequestId(given.map_or_else(|| random::hex::<12>().unwrap_or_default(), str::to_string))
    }
}

/// The outermost layer: whatever happens inside becomes an answer with an id and the security headers.
pub async fn around(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let path = request.uri().path().to_string();
    let span = tracing::info_span!("request", id = %id.0, method = %request.method(), %path);
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = match answered {
        Ok(response) => as_problem(response).await,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            span.in_scope(|| tracing::error!("a route broke off: {text}"));
            Problem::from(Error::bug("the request could not be answered")).into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if path.starts_with("/api/") {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// An error without a problem's body gets one: unknown routes, wrong methods, refusals of the libraries underneath.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || kind.starts_with("application/problem+json") {
        return response;
    }
    let is_text = kind.starts_with("text/plain");
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, DETAIL_BYTES_MAX).await.unwrap_or_else(|_| Bytes::new());
    let (name, general) = match status {
        StatusCode::NOT_FOUND => ("not_found", "there is nothing under this address"),
        StatusCode::METHOD_NOT_ALLOWED => ("method", "this address does not know the method"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is too large"),
        status if status.is_server_error() => ("bug", "the request could not be answered"),
        _ => ("invalid", "the request cannot be understood"),
    };
    let detail = match std::str::from_utf8(&text) {
        Ok(text) if is_text && !text.is_empty() && !status.is_server_error() => text.to_string(),
        _ => general.to_string(),
    };
    let mut answer = Problem::of_status(status, name, detail).into_response();
    for (name, value) in parts.headers {
        let Some(name) = name else { continue };
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// Refuses names that are not ours (a page elsewhere may point its own name at this machine), and paths with tricks.
pub async fn admit(State(service): State<Service>, request: Request, next: Next) -> Result<Response, Problem> {
    admit_target(request.uri())?;
    admit_host(request.uri(), request.headers(), &service.options.hosts)?;
    Ok(next.run(request).await)
}

fn admit_target(uri: &Uri) -> Result<(), Problem> {
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > TARGET_BYTES_MAX {
        let detail = format!("the address has {length} characters, at most {TARGET_BYTES_MAX} are read");
        return Err(Problem::of_status(StatusCode::URI_TOO_LONG, "too-large", detail));
    }
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8();
    let sound = |path: &str| {
        let steps = path.split('/').any(|segment| segment == ".." || segment == ".");
        !steps && !path.contains('\\') && !path.chars().any(char::is_control)
    };
    match path {
        Ok(path) if sound(&path) => Ok(()),
        _ => Err(Error::invalid("the path is not a plain one").into()),
    }
}

fn admit_host(uri: &Uri, headers: &HeaderMap, ours: &[String]) -> Result<(), Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let Some(host) = host else {
        return Err(Error::invalid("the request does not name one host").into());
    };
    for host in [Some(host), uri.host()].into_iter().flatten() {
        let name = host_name(host);
        let known = is_local(name) || is_address(name) || ours.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        if !known {
            let detail = format!("the host {name:?} is not one of this service");
            return Err(Problem::of_status(StatusCode::MISDIRECTED_REQUEST, "host", detail)
                .hint("ask for the address, or name the host under serve.hosts"));
        }
    }
    Ok(())
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

fn is_local(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

fn is_address(name: &str) -> bool {
    name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

/// Whether the request is meant for this machine by its own name: nobody stands in between.
pub fn asks_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(host_name).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    !forwarded && (is_local(host) || address.is_ok_and(|address| address.is_loopback()))
}

/// Gives a request up that takes too long.
pub async fn in_time(State(service): State<Service>, request: Request, next: Next) -> Result<Response, Problem> {
    match tokio::time::timeout(service.options.request, next.run(request)).await {
        Ok(response) => Ok(response),
        Err(_) => {
            let detail = format!("the request took longer than {} s", service.options.request.as_secs());
            Err(Problem::of_status(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail)
                .hint("ask for less, or raise serve.request_seconds"))
        }
    }
}

/// Reads the body as a whole: within its limit of size, and in time.
pub async fn gather(service: &Service, request: Request) -> Result<(Request, Bytes), Problem> {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let limit = match events::carries(route) {
        true => service.options.event_body_bytes_max,
        false => service.options.body_bytes_max,
    };
    gather_within(service, request, limit).await
}

/// The same within a limit of its own.
pub async fn gather_within(service: &Service, request: Request, limit: usize) -> Result<(Request, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > limit as u64) {
        drain(body).await;
        return Err(too_large());
    }
    let arriving = axum::body::to_bytes(body, limit);
    let bytes = match tokio::time::timeout(service.options.arrival, arriving).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_length_limit(&error) => return Err(too_large()),
        Ok(Err(_)) => return Err(Error::invalid("the body broke off").into()),
        Err(_) => {
            return Err(Problem::of_status(StatusCode::REQUEST_TIMEOUT, "slow", "the body did not arrive in time")
                .hint("serve.header_seconds is the limit"));
        }
    };
    let request = Request::from_parts(parts, Body::from(bytes.clone()));
    Ok((request, bytes))
}

/// What is read and thrown away of a body that is refused, so that whoever is still sending it gets the answer.
const DRAINED_BYTES_MAX: usize = 64 << 20;
const DRAINED_FOR: std::time::Duration = std::time::Duration::from_secs(2);

async fn drain(body: Body) {
    let drained = async {
        let (mut stream, mut left) = (body.into_data_stream(), DRAINED_BYTES_MAX);
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // Whoever is slower than this gets no answer.
    let _ = tokio::time::timeout(DRAINED_FOR, drained).await;
}

fn too_large() -> Problem {
    Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large")
        .hint("serve.body_kb_max is the limit, events.body_kb_max of events, and receive.body_kb_max of webhooks")
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.to_string() == "length limit exceeded" {
            return true;
        }
        cause = error.source();
    }
    false
}

//! Pages of other sites: they may ask from a browser when they are named, with a key in a header; cookies stay at home.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Service;

const HEADERS: &str = "authorization, content-type, if-none-match, x-api-key, x-request-id, x-tidegate-request";
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
const SHOWN: &str = "etag, retry-after, x-request-id";

pub async fn cors(State(service): State<Service>, request: Request, next: Next) -> Response {
    let allowed = &service.options.cors_origins;
    if allowed.is_empty() {
        return next.run(request).await;
    }
    let origin = request
        .headers()
        .get(header::ORIGIN)
        .filter(|origin| allowed.iter().any(|one| one.as_bytes() == origin.as_bytes()));
    let origin = origin.cloned();
    let asks_first =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (&origin, asks_first) {
        (Some(_), true) => {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            (StatusCode::NO_CONTENT, headers).into_response()
        }
        _ => next.run(request).await,
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN));
    }
    response
}

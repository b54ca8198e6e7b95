//! The dashboard's files: compiled in, read from `web/` by debug builds, and the page itself for every other address.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::Problem;
use crate::model::hex;

#[derive(RustEmbed)]
#[folder = "web"]
struct Files;

/// What answers where no route does: a file of the dashboard, the dashboard itself for the address of one of its pages,
/// and a problem for everything else.
pub async fn fallback(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if belongs_to_programs(path) {
        return nothing_at(uri.path()).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        let detail = format!("{method} is not answered at {}", uri.path());
        let problem = Problem::of_status(StatusCode::METHOD_NOT_ALLOWED, "method", detail);
        return ([(header::ALLOW, "GET, HEAD")], problem).into_response();
    }
    match Files::get(path) {
        Some(file) => answer(path, file, &headers),
        None if is_page(path) => match Files::get("index.html") {
            Some(file) => answer("index.html", file, &headers),
            None => nothing_at("/").into_response(),
        },
        None => nothing_at(uri.path()).into_response(),
    }
}

/// Addresses under which only programs ask: a page instead of an error would mislead them.
fn belongs_to_programs(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    matches!(first, "api" | "ws" | "metrics" | "healthz" | "readyz" | "openapi.json")
}

/// Pages have no ending; a file that is asked for and absent is an error.
fn is_page(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    !last.contains('.') || path.starts_with("data/")
}

fn nothing_at(path: &str) -> Problem {
    Problem::of_status(StatusCode::NOT_FOUND, "not_found", format!("nothing is at {path}"))
        .hint("/openapi.json lists every route")
}

fn answer(path: &str, file: rust_embed::EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = tag_of(&file.metadata.sha256_hash());
    // The folder of a library carries its version.
    let caching = if path.starts_with("vendor/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let kept = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value, &tag));
    let body = match (kept, file.data) {
        (true, _) => Body::empty(),
        (false, Cow::Borrowed(bytes)) => Body::from(bytes),
        (false, Cow::Owned(bytes)) => Body::from(bytes),
    };
    let mut response = Response::new(body);
    if kept {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        set(&mut response, header::CONTENT_TYPE, content_type(path));
    }
    set(&mut response, header::CACHE_CONTROL, caching);
    set(&mut response, header::ETAG, &tag);
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Weak, because a compressed answer has other bytes.
fn tag_of(digest: &[u8; 32]) -> String {
    format!("W/\"{}\"", hex(&digest[..12]))
}

/// Whether an `If-None-Match` holds the tag.
fn names(value: &HeaderValue, tag: &str) -> bool {
    let strong = tag.trim_start_matches("W/");
    let same = |one: &str| one == "*" || one.trim_start_matches("W/") == strong;
    value.to_str().is_ok_and(|text| text.split(',').any(|one| same(one.trim())))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

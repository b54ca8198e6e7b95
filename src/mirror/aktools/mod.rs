//! A server that answers as AKTools does. Whoever asks needs no other change than the address.
//!
//! `GET /api/public/{function}`, the same under `/api/private/` with a token from `POST /auth/token`, and `/version`. It
//! serves every function that a dataset's `[[akshare]]` entry names, from whatever can be scanned. What the real service does
//! not have: the parameters `as_of`, `known_on` and `anchor`, or headers such as `X-Tidegate-As-Of`, choose among times and
//! price bases (`crate::read`). Adjusted prices are raw ones times a factor; Eastmoney subtracts dividends instead.

pub mod answer;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::dialect::akshare::Refusal;
use crate::dialect::akshare::encode::Table;
use crate::model::Clock;
use crate::read::{ReadOptions, Reader};
use crate::store::Scan;

/// Whom the mirror lets in and how much it sends.
#[derive(Clone, Debug)]
pub struct AktoolsOptions {
    /// Tokens that are let in, also as passwords; empty: everybody reads the public path, as there.
    pub tokens: Vec<String>,
    /// The most rows that an answer holds; more is a fault.
    pub rows_max: usize,
    /// Calls that are worked on at the same time; others wait.
    pub concurrent_max: usize,
    /// What reading in two times and price bases may keep.
    pub read: ReadOptions,
}

impl Default for AktoolsOptions {
    fn default() -> AktoolsOptions {
        AktoolsOptions { tokens: Vec::new(), rows_max: 100_000, concurrent_max: 16, read: ReadOptions::default() }
    }
}

/// The user that AKTools knows, where no tokens are set.
const BUILT_IN: (&str, &str) = ("akshare", "akfamily");

/// The versions whose answers these are.
const VERSION: &str = r#"{"ak_current_version":"1.19.5","ak_latest_version":"1.19.5","at_current_version":"0.0.91","at_latest_version":"0.0.91"}"#;

/// The service.
pub struct Aktools {
    reader: Reader,
    catalog: Arc<Catalog>,
    options: AktoolsOptions,
    working: Semaphore,
}

impl Aktools {
    pub fn new(scan: Arc<dyn Scan>, catalog: Arc<Catalog>, options: AktoolsOptions, clock: Clock) -> Aktools {
        let reader = Reader::new(scan, catalog.clone(), clock, options.read.clone());
        let working = Semaphore::new(options.concurrent_max.max(1));
        Aktools { reader, catalog, options, working }
    }

    /// Answers one call: the body, or the refusal in the words of the service.
    pub async fn answer(&self, function: &str, query: &str) -> Result<Vec<u8>, Refusal> {
        self.answer_seen(function, query, &[]).await
    }

    /// Answers one call with what its headers say of `read::PARAMETERS`; parameters of the same name come first.
    async fn answer_seen(&self, function: &str, query: &str, seen: &[(&str, &str)]) -> Result<Vec<u8>, Refusal> {
        let table = self.table_seen(function, query, seen).await?;
        tokio::task::spawn_blocking(move || table.json()).await.map_err(|_| Refusal::Fault)
    }

    /// The table that answers one call.
    pub async fn table(&self, function: &str, query: &str) -> Result<Table, Refusal> {
        self.table_seen(function, query, &[]).await
    }

    async fn table_seen(&self, function: &str, query: &str, seen: &[(&str, &str)]) -> Result<Table, Refusal> {
        let _working = self.working.acquire().await.map_err(|_| Refusal::Fault)?;
        let call = answer::read(&self.catalog, function, query)?;
        let view = self.reader.anchored_to_the_newest(call.view(seen)?);
        let beside = self.reader.with(view.at_instant());
        call.answer(&self.reader.with(view), &beside, self.options.rows_max).await
    }

    fn admit(&self, headers: &HeaderMap, private: bool) -> Result<(), Refusal> {
        if !private && self.options.tokens.is_empty() {
            return Ok(());
        }
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scheme_and_token = authorization.and_then(|text| text.split_once(' '));
        let token = scheme_and_token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or(Refusal::NotAuthenticated)?;
        if self.knows(token.trim()) { Ok(()) } else { Err(Refusal::WrongToken) }
    }

    fn knows(&self, token: &str) -> bool {
        match self.options.tokens.is_empty() {
            true => token == BUILT_IN.0,
            false => self.options.tokens.iter().any(|known| known == token),
        }
    }

    /// The token for a user: the built-in one's name, or the password where tokens are set.
    fn token(&self, user: &str, password: &str) -> Result<String, Refusal> {
        let known = match self.options.tokens.is_empty() {
            true => (user, password) == BUILT_IN,
            false => self.knows(password),
        };
        let token = if self.options.tokens.is_empty() { user } else { password };
        if known { Ok(token.to_string()) } else { Err(Refusal::WrongPassword) }
    }
}

/// The mirror over HTTP.
pub fn router(scan: Arc<dyn Scan>, catalog: Arc<Catalog>, options: AktoolsOptions, clock: Clock) -> Router {
    Router::new()
        .route("/api/public/{function}", get(public))
        .route("/api/private/{function}", get(private))
        .route("/auth/token", post(log_in))
        .route("/version", get(async || json(StatusCode::OK, VERSION)))
        .fallback(async || refused(&Refusal::NotFound))
        .method_not_allowed_fallback(async || {
            json(StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#)
        })
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(Arc::new(Aktools::new(scan, catalog, options, clock)))
}

/// The largest form that is read.
const FORM_BYTES_MAX: usize = 64 << 10;

async fn public(
    State(mirror): State<Arc<Aktools>>,
    Path(function): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    over_http(&mirror, &function, query, &headers, false).await
}

async fn private(
    State(mirror): State<Arc<Aktools>>,
    Path(function): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    over_http(&mirror, &function, query, &headers, true).await
}

async fn over_http(
    mirror: &Aktools,
    function: &str,
    query: Option<String>,
    headers: &HeaderMap,
    private: bool,
) -> Response {
    let admitted = mirror.admit(headers, private);
    let answered = match admitted {
        Ok(()) => mirror.answer_seen(function, &query.unwrap_or_default(), &super::seen(headers)).await,
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(body) => json(StatusCode::OK, body),
        Err(refusal) => refused(&refusal),
    }
}

async fn log_in(State(mirror): State<Arc<Aktools>>, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body).replace('+', " ");
    let field = |name: &str| {
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(own, _)| *own == name).map(|(_, value)| value)?;
        Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    let (user, password) = (field("username").unwrap_or_default(), field("password").unwrap_or_default());
    match mirror.token(&user, &password) {
        Ok(token) => {
            let body = serde_json::json!({ "access_token": token, "token_type": "bearer" });
            json(StatusCode::OK, body.to_string())
        }
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, refusal.body());
    if !refusal.is_json() {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

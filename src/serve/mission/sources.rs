//! `/api/sync/multi-source`: how the sources stand, and whether they answer now.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::engine::doors::{Probed, Seen, Token};
use crate::model::Error;
use crate::serve::Service;
use crate::serve::envelope::{Envelope, envelope};
use crate::serve::extract::MaybeBody;
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(test))
}

/// A source as it stands, as far as is known without asking it.
#[derive(Debug, Serialize, ToSchema)]
struct SourceStatus {
    #[schema(example = "tushare")]
    name: String,
    /// 1 is best.
    priority: u8,
    /// Switched on, with the token that it needs, and not known to fail.
    available: bool,
    /// What it is, where its token came from, and why it is not available.
    #[schema(example = "A-share tables of an account (token from the environment: TUSHARE_TOKEN)")]
    description: String,
}

impl From<Seen> for SourceStatus {
    fn from(seen: Seen) -> SourceStatus {
        let closed = seen.closed();
        let why = closed.as_ref().map_or(String::new(), |why| format!("; not available: {why}"));
        SourceStatus {
            name: seen.configured.name.clone(),
            priority: seen.configured.rank,
            available: closed.is_none(),
            description: format!("{} ({}){why}", seen.configured.about, token_text(&seen.configured.token)),
        }
    }
}

fn token_text(token: &Token) -> String {
    match token {
        Token::NotNeeded => "needs no token".to_string(),
        Token::NotSet => "no token is set".to_string(),
        Token::From(origin) => format!("token from {origin}"),
    }
}

/// Every source with its priority, switched on or not.
#[utoipa::path(get, path = "/api/sync/multi-source/sources/status", tag = "sync",
    responses((status = 200, body = Envelope<Vec<SourceStatus>>)))]
async fn status(State(service): State<Service>) -> Result<Json<Envelope<Vec<SourceStatus>>>, Problem> {
    let engine = service.engines.current().await?;
    let seen = engine.doors(&service.sources).await?;
    let statuses = seen.into_iter().map(SourceStatus::from).collect();
    Ok(envelope("Data sources status retrieved successfully", statuses))
}

/// Which source to ask; none: every source that is switched on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Test {
    #[schema(example = "tushare")]
    source: Option<String>,
}

/// What came of the question.
#[derive(Debug, Serialize, ToSchema)]
struct TestResult {
    #[schema(example = "tushare")]
    name: String,
    available: bool,
    /// Milliseconds until the answer; null when nothing was asked.
    latency_ms: Option<u64>,
    /// What was asked; null when nothing was.
    #[schema(example = "the bar of 000001.SZ of 2024-01-02")]
    asked: Option<&'static str>,
    /// Why it is of no use.
    error: Option<String>,
    /// What to do about it.
    hint: Option<String>,
}

impl From<Probed> for TestResult {
    fn from(probed: Probed) -> TestResult {
        TestResult {
            name: probed.name,
            available: probed.error.is_none(),
            latency_ms: probed.latency_ms,
            asked: Some(probed.asked).filter(|asked| !asked.is_empty()),
            error: probed.error.as_ref().map(ToString::to_string),
            hint: probed.error.as_ref().and_then(|error| error.hint_text()).map(str::to_string),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct TestResults {
    test_results: Vec<TestResult>,
}

/// Asks one source, or all that are switched on, whether it answers now (at most `failover.probe_seconds`).
#[utoipa::path(post, path = "/api/sync/multi-source/test", tag = "sync", request_body = Option<Test>,
    responses((status = 200, body = Envelope<TestResults>),
        (status = 400, description = "There is no such source", body = Problem, content_type = "application/problem+json")))]
async fn test(
    State(service): State<Service>,
    MaybeBody(body): MaybeBody<Test>,
) -> Result<Json<Envelope<TestResults>>, Problem> {
    let engine = service.engines.current().await?;
    let asked: Vec<_> = match &body.source {
        Some(name) => service.sources.iter().filter(|source| source.name == *name).cloned().collect(),
        None => service.sources.iter().filter(|source| source.enabled).cloned().collect(),
    };
    if let (Some(name), true) = (&body.source, asked.is_empty()) {
        let known: Vec<&str> = service.sources.iter().map(|source| source.name.as_str()).collect();
        let error = Error::invalid(format!("there is no source {name:?}"));
        return Err(error.hint(format!("there are {}", known.join(", "))).into());
    }
    let test_results: Vec<TestResult> = engine.probe(&asked).await.into_iter().map(TestResult::from).collect();
    let open = test_results.iter().filter(|result| result.available).count();
    let message = format!("{open} of {} sources answer", test_results.len());
    Ok(envelope(message, TestResults { test_results }))
}

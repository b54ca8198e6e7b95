//! Webhooks that other systems call. There is no key: the signature is the key. An answer in the 200s says that everything
//! of the call is stored; any other says that nothing is.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::extract::Named;
use super::problem::Problem;
use crate::receive::{Outcome, Refusal};

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(call))
}

/// After how many seconds a call may come again that could not be taken in now.
const AGAIN_SECONDS: u32 = 5;

/// What became of a call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAccepted)]
struct Accepted {
    /// Always 0.
    code: u16,
    /// Always `success`.
    message: &'static str,
    results: Vec<Taken>,
}

/// What became of one message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookMessage)]
struct Taken {
    id: String,
    source: String,
    /// `applied`, `kept`, `stale`, `conflicting`, `waiting` or `stuck`.
    state: Option<&'static str>,
    /// What it waits for, or why it changed nothing.
    note: String,
    /// It was taken in before: nothing was written now.
    repeated: bool,
}

impl From<Outcome> for Taken {
    fn from(outcome: Outcome) -> Taken {
        let Outcome { source, id, state, note, repeated } = outcome;
        Taken { id, source, state: state.map(|state| state.name()), note, repeated }
    }
}

/// Takes a call of an inbound webhook in: one message or a batch, signed as the webhook says.
#[utoipa::path(post, path = "/api/v1/webhooks/{name}", tag = "webhooks", request_body(
    content = Object, content_type = "application/json"),
    params(("name" = String, Path, description = "The name of the inbound webhook")), responses(
    (status = 200, body = Accepted)))]
async fn call(
    State(service): State<Service>,
    Named(name): Named<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Accepted>, Problem> {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let taken = service.receiver.take(&name, &headers, &body).await.map_err(problem)?;
    let results = taken.into_iter().map(Taken::from).collect();
    Ok(Json(Accepted { code: 0, message: "success", results }))
}

fn problem(refusal: Refusal) -> Problem {
    let (status, name) = match &refusal {
        Refusal::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
        Refusal::Paused(_) => (StatusCode::SERVICE_UNAVAILABLE, "paused"),
        Refusal::Unsigned(..) => (StatusCode::UNAUTHORIZED, "signature"),
        Refusal::Unreadable(_) => (StatusCode::BAD_REQUEST, "invalid"),
        Refusal::Unfit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unfit"),
        Refusal::Other(_) => (StatusCode::OK, ""),
    };
    let again = matches!(refusal, Refusal::Paused(_));
    let problem = match refusal {
        Refusal::Other(error) => Problem::from(error),
        refusal => {
            let error = refusal.error();
            let problem = Problem::of_status(status, name, error.message());
            let (hint, field) = (error.hint_text().map(str::to_owned), error.field().map(Box::from));
            Problem { hint, field, ..problem }
        }
    };
    let may_come_again = again || problem.status == 429 || problem.status == 503;
    Problem { retry_after: may_come_again.then_some(AGAIN_SECONDS), ..problem }
}

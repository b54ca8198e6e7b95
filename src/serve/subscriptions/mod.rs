//! Subscriptions over HTTP: who is told of which events, where and how; secrets are shown once, when they are made.

mod signature;
mod view;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::caller::{Caller, Role};
use super::extract::{Body, MaybeBody, Named, take_revision, take_text};
use super::problem::Problem;
use super::v1::page::Page;
use crate::dialect::webhook::Secret;
use crate::model::Error;
use crate::notify::define::Made;
use view::{SubscriptionMade, SubscriptionView, TrialView};
pub use view::{status_json, trial_json};

pub fn routes() -> OpenApiRouter<Service> {
    let whole = OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(one, change, remove));
    let states = whole.routes(routes!(pause)).routes(routes!(resume)).routes(routes!(disable));
    states.routes(routes!(rotate)).routes(routes!(test)).merge(signature::routes())
}

/// What a body holds beside the fields of a subscription.
struct Wanted {
    name: Option<String>,
    secret: Option<Secret>,
    revision: Option<u64>,
    fields: Map<String, Value>,
}

impl Wanted {
    fn of(mut fields: Map<String, Value>) -> Result<Wanted, Error> {
        let name = take_text(&mut fields, "name")?;
        let secret = take_text(&mut fields, "secret")?.map(Secret::new);
        let revision = take_revision(&mut fields)?;
        Ok(Wanted { name, secret, revision, fields })
    }
}

/// An answer that may hold a secret is kept by nobody.
fn made(status: StatusCode, made: &Made) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(SubscriptionMade::of(made))).into_response()
}

/// Every subscription, by name.
#[utoipa::path(get, path = "/api/v1/subscriptions", tag = "events", responses(
    (status = 200, body = Page<SubscriptionView>)))]
async fn list(State(service): State<Service>) -> Result<Json<Page<SubscriptionView>>, Problem> {
    let (all, now) = (service.subscriptions.list().await?, service.clock.now());
    Ok(Json(Page::whole(all.iter().map(|status| SubscriptionView::of(status, now)).collect())))
}

/// One subscription.
#[utoipa::path(get, path = "/api/v1/subscriptions/{name}", tag = "events", params(("name" = String, Path)), responses(
    (status = 200, body = SubscriptionView)))]
async fn one(State(service): State<Service>, Named(name): Named<String>) -> Result<Json<SubscriptionView>, Problem> {
    Ok(Json(SubscriptionView::of(&service.subscriptions.get(&name).await?, service.clock.now())))
}

/// Makes a subscription: `name`, `url`, `types`, and what else it takes; with `secret`, or one is made. The secret is in
/// this answer and in no other. Takes the role admin.
#[utoipa::path(post, path = "/api/v1/subscriptions", tag = "events", request_body = Object, responses(
    (status = 201, body = SubscriptionMade)))]
async fn create(
    State(service): State<Service>,
    caller: Caller,
    Body(fields): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.must(Role::Admin)?;
    let wanted = Wanted::of(fields)?;
    let name = wanted.name.ok_or_else(|| Error::invalid("name: it is missing").at_field("name"))?;
    let created = service.subscriptions.create(&name, wanted.fields, wanted.secret, &caller.name).await?;
    Ok(made(StatusCode::CREATED, &created))
}

/// Changes a subscription; what is absent stays, what is null goes back to its default. With `revision` only if nobody has
/// changed it since. A form that the present secret does not fit gets a new one, which is in this answer. Takes the role
/// admin.
#[utoipa::path(put, path = "/api/v1/subscriptions/{name}", tag = "events", params(("name" = String, Path)),
    request_body = Object, responses((status = 200, body = SubscriptionMade)))]
async fn change(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    Body(fields): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.must(Role::Admin)?;
    let wanted = Wanted::of(fields)?;
    if wanted.secret.is_some() || wanted.name.is_some_and(|other| other != name) {
        let error = Error::invalid("a name stays, and a secret is rotated").at_field("name");
        return Err(error.hint("`tidegate subscriptions rotate-secret NAME` gives it another secret").into());
    }
    let changed = service.subscriptions.change(&name, wanted.fields, wanted.revision, &caller.name).await?;
    Ok(made(StatusCode::OK, &changed))
}

/// Removes a subscription with its secrets. Takes the role admin.
#[utoipa::path(delete, path = "/api/v1/subscriptions/{name}", tag = "events", params(("name" = String, Path)),
    responses((status = 204, description = "it is gone")))]
async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    service.subscriptions.remove(&name, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why somebody does something.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct PauseWanted {
    /// For people; absent: who did it.
    #[schema(max_length = 200)]
    reason: Option<String>,
}

/// Lets a subscription's events wait until it is resumed.
#[utoipa::path(post, path = "/api/v1/subscriptions/{name}/pause", tag = "events", params(("name" = String, Path)),
    request_body = Option<PauseWanted>, responses((status = 200, body = SubscriptionView)))]
async fn pause(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    MaybeBody(wanted): MaybeBody<PauseWanted>,
) -> Result<Json<SubscriptionView>, Problem> {
    let status = service.subscriptions.pause(&name, wanted.reason.as_deref(), &caller.name).await?;
    Ok(Json(SubscriptionView::of(&status, service.clock.now())))
}

/// Lets a subscription's events go out again; after it was disabled only those to come.
#[utoipa::path(post, path = "/api/v1/subscriptions/{name}/resume", tag = "events", params(("name" = String, Path)),
    responses((status = 200, body = SubscriptionView)))]
async fn resume(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<SubscriptionView>, Problem> {
    let status = service.subscriptions.resume(&name, &caller.name).await?;
    Ok(Json(SubscriptionView::of(&status, service.clock.now())))
}

/// Ends a subscription until it is resumed: events of the time between are not delivered.
#[utoipa::path(post, path = "/api/v1/subscriptions/{name}/disable", tag = "events", params(("name" = String, Path)),
    responses((status = 200, body = SubscriptionView)))]
async fn disable(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<SubscriptionView>, Problem> {
    let status = service.subscriptions.disable(&name, &caller.name).await?;
    Ok(Json(SubscriptionView::of(&status, service.clock.now())))
}

/// Another secret for a subscription.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct RotationWanted {
    /// Absent: one is made.
    #[schema(write_only)]
    secret: Option<String>,
    /// Hours that the secret before it goes on to count; absent: `notify.rotation_hours`.
    #[schema(maximum = 720)]
    overlap_hours: Option<u32>,
}

/// Gives a subscription another secret, which is in this answer and in no other. Both count for a while: requests are signed
/// with both, and the old one ends by itself. Takes the role admin.
#[utoipa::path(post, path = "/api/v1/subscriptions/{name}/rotate-secret", tag = "events",
    params(("name" = String, Path)), request_body = Option<RotationWanted>, responses(
    (status = 200, body = SubscriptionMade)))]
async fn rotate(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    MaybeBody(wanted): MaybeBody<RotationWanted>,
) -> Result<Response, Problem> {
    caller.must(Role::Admin)?;
    let secret = wanted.secret.map(Secret::new);
    let rotated = service.subscriptions.rotate(&name, secret, wanted.overlap_hours, &caller.name).await?;
    Ok(made(StatusCode::OK, &rotated))
}

/// Sends a test event to a subscription now, and shows the request, its signature and the answer. Nothing is kept of it.
#[utoipa::path(post, path = "/api/v1/subscriptions/{name}/test", tag = "events", params(("name" = String, Path)),
    responses((status = 200, body = TrialView)))]
async fn test(State(service): State<Service>, Named(name): Named<String>) -> Result<Json<TrialView>, Problem> {
    let trial = service.subscriptions.test(&name).await?;
    Ok(Json(TrialView::of(&trial)))
}

//! Inbound webhooks: defining, changing, pausing, rotating secrets, trying bodies out, and what was taken in.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::caller::{Caller, Role};
use super::extract::{Body, MaybeBody, Named, Params, take_revision, take_text};
use super::problem::Problem;
use super::v1::page::Page;
use crate::dialect::webhook::Secret;
use crate::model::{Error, Message, Received, ReceivedState, Result};
use crate::receive::{Control, Entry, Made, Mapped, OVERLAP_HOURS, inbound_of};

pub fn routes() -> OpenApiRouter<Service> {
    let whole = OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(show, change, remove));
    let whole =
        whole.routes(routes!(pause)).routes(routes!(resume)).routes(routes!(rotate)).routes(routes!(set_origin_key));
    whole
        .routes(routes!(messages))
        .routes(routes!(try_out))
        .routes(routes!(check))
        .routes(routes!(retry))
        .routes(routes!(release))
}

/// An inbound webhook without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Inbound)]
struct InboundItem {
    name: String,
    /// Where it is called.
    path: String,
    /// `active`, `paused`, or `broken` when its tables have changed since it was defined.
    state: &'static str,
    /// Why it is broken.
    problem: Option<String>,
    /// What it says: forms, mappings and the rest.
    #[schema(value_type = Object)]
    definition: Value,
    /// Secrets that count now, and until when the older ones do.
    secrets: Vec<SecretTerm>,
    /// Whether a key for its origin is set.
    origin_key: bool,
    /// What a change may expect.
    revision: u64,
    changed_at: String,
}

/// For how long a secret counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InboundSecret)]
struct SecretTerm {
    since: String,
    until: Option<String>,
}

pub(crate) fn state_of(entry: &Entry) -> &'static str {
    match () {
        () if entry.broken.is_some() => "broken",
        () if entry.inbound.paused => "paused",
        () => "active",
    }
}

impl InboundItem {
    fn of(entry: &Entry, service: &Service) -> InboundItem {
        let now = service.clock.now();
        let terms = entry.keyring.terms().iter().filter(|term| term.until.is_none_or(|until| until > now));
        InboundItem {
            path: format!("/api/v1/webhooks/{}", entry.name),
            state: state_of(entry),
            problem: entry.broken.clone(),
            definition: serde_json::to_value(&entry.inbound).unwrap_or_default(),
            secrets: terms
                .map(|term| SecretTerm {
                    since: term.since.to_string(),
                    until: term.until.map(|until| until.to_string()),
                })
                .collect(),
            origin_key: entry.has_origin_key(),
            revision: entry.revision,
            changed_at: entry.at.to_string(),
            name: entry.name.clone(),
        }
    }
}

/// A webhook with the secret that was made for it.
#[derive(Debug, Serialize, ToSchema)]
struct InboundMade {
    #[serde(flatten)]
    inbound: InboundItem,
    /// Shown once; absent where the caller brought one.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

fn made(status: StatusCode, made: &Made, service: &Service) -> Response {
    let secret = made.secret.as_ref().map(|secret| secret.expose().to_owned());
    let body = InboundMade { inbound: InboundItem::of(&made.entry, service), secret };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn control(service: &Service) -> &Control {
    &service.inbounds
}

/// Every inbound webhook, by name.
#[utoipa::path(get, path = "/api/v1/inbounds", tag = "webhooks", responses((status = 200, body = Page<InboundItem>)))]
async fn list(State(service): State<Service>) -> Result<Json<Page<InboundItem>>, Problem> {
    let all = control(&service).list().await?;
    Ok(Json(Page::whole(all.iter().map(|entry| InboundItem::of(entry, &service)).collect())))
}

/// One inbound webhook.
#[utoipa::path(get, path = "/api/v1/inbounds/{name}", tag = "webhooks", params(("name" = String, Path)), responses(
    (status = 200, body = InboundItem)))]
async fn show(State(service): State<Service>, Named(name): Named<String>) -> Result<Json<InboundItem>, Problem> {
    Ok(Json(InboundItem::of(&*control(&service).get(&name).await?, &service)))
}

/// Defines an inbound webhook: `name`, `secret` if there is one already, and what docs/guide/receiving.md lists. The answer
/// has the secret that was made; it is not shown again. Takes the role admin.
#[utoipa::path(post, path = "/api/v1/inbounds", tag = "webhooks", request_body = Object, responses(
    (status = 201, body = InboundMade)))]
async fn add(
    State(service): State<Service>,
    caller: Caller,
    Body(mut body): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.must(Role::Admin)?;
    let name =
        take_text(&mut body, "name")?.ok_or_else(|| Error::invalid("the webhook has no name").at_field("name"))?;
    let secret = take_text(&mut body, "secret")?.map(Secret::new);
    let new = control(&service).add(&name, inbound_of(Value::Object(body))?, secret, &caller.name).await?;
    service.receiver.refresh().await?;
    Ok(made(StatusCode::CREATED, &new, &service))
}

/// Changes an inbound webhook; what is absent stays. With `revision` only if nobody has changed it since. Takes the role admin.
#[utoipa::path(put, path = "/api/v1/inbounds/{name}", tag = "webhooks", params(("name" = String, Path)),
    request_body = Object, responses((status = 200, body = InboundItem)))]
async fn change(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    Body(mut body): Body<Map<String, Value>>,
) -> Result<Json<InboundItem>, Problem> {
    caller.must(Role::Admin)?;
    let revision = take_revision(&mut body)?;
    let changed = control(&service).change(&name, body, revision, &caller.name).await?;
    service.receiver.refresh().await?;
    Ok(Json(InboundItem::of(&changed, &service)))
}

/// Removes an inbound webhook with its secrets; what it took in stays. Takes the role admin.
#[utoipa::path(delete, path = "/api/v1/inbounds/{name}", tag = "webhooks", params(("name" = String, Path)), responses(
    (status = 204, description = "it is gone")))]
async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    control(&service).remove(&name, &caller.name).await?;
    service.receiver.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_paused(service: &Service, name: &str, paused: bool, who: &str) -> Result<Json<InboundItem>, Problem> {
    let changed = control(service).pause(name, paused, who).await?;
    service.receiver.refresh().await?;
    Ok(Json(InboundItem::of(&changed, service)))
}

/// Answers calls with 503 until it is resumed: senders try again.
#[utoipa::path(post, path = "/api/v1/inbounds/{name}/pause", tag = "webhooks", params(("name" = String, Path)), responses(
    (status = 200, body = InboundItem)))]
async fn pause(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<InboundItem>, Problem> {
    set_paused(&service, &name, true, &caller.name).await
}

/// Takes calls in again.
#[utoipa::path(post, path = "/api/v1/inbounds/{name}/resume", tag = "webhooks", params(("name" = String, Path)), responses(
    (status = 200, body = InboundItem)))]
async fn resume(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<InboundItem>, Problem> {
    set_paused(&service, &name, false, &caller.name).await
}

/// A new secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = InboundRotation)]
struct Rotation {
    /// Absent: one is made, and shown once.
    secret: Option<String>,
    /// Hours that the secrets before it go on to count; absent: 24.
    #[schema(maximum = 720)]
    overlap_hours: Option<u32>,
}

/// Gives a new secret; the old ones count a while longer. Takes the role admin.
#[utoipa::path(post, path = "/api/v1/inbounds/{name}/rotate-secret", tag = "webhooks", params(("name" = String, Path)),
    request_body = Option<Rotation>, responses((status = 200, body = InboundMade)))]
async fn rotate(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    MaybeBody(rotation): MaybeBody<Rotation>,
) -> Result<Response, Problem> {
    caller.must(Role::Admin)?;
    let overlap = rotation.overlap_hours.unwrap_or(OVERLAP_HOURS);
    let new = control(&service).rotate(&name, rotation.secret.map(Secret::new), overlap, &caller.name).await?;
    service.receiver.refresh().await?;
    Ok(made(StatusCode::OK, &new, &service))
}

/// A key of the origin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OriginKey {
    /// `null` removes it.
    key: Option<String>,
}

/// Sets what the origin wants as `Authorization: Bearer`. Takes the role admin.
#[utoipa::path(put, path = "/api/v1/inbounds/{name}/origin-key", tag = "webhooks", params(("name" = String, Path)),
    request_body = OriginKey, responses((status = 204, description = "it is set")))]
async fn set_origin_key(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    Body(key): Body<OriginKey>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    control(&service).set_origin_key(&name, key.key, &caller.name).await?;
    service.receiver.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A message that was taken in.
#[derive(Debug, Serialize, ToSchema)]
struct ReceivedMessage {
    source: String,
    id: String,
    at: String,
    /// The table that it is mapped to; empty: none.
    dataset: String,
    key: String,
    version: Option<u64>,
    /// `applied`, `kept`, `stale`, `conflicting`, `waiting` or `stuck`.
    state: &'static str,
    attempts: u32,
    /// While it waits: when the missing versions are asked for next.
    due_at: Option<String>,
    note: String,
}

impl From<Received> for ReceivedMessage {
    fn from(received: Received) -> ReceivedMessage {
        let waits = received.state == ReceivedState::Waiting;
        ReceivedMessage {
            at: received.at.to_string(),
            state: received.state.name(),
            due_at: waits.then(|| received.due_at.to_string()),
            source: received.source,
            id: received.id,
            dataset: received.dataset,
            key: received.key,
            version: received.version,
            attempts: received.attempts,
            note: received.note,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MessagesAsked {
    /// Those in this state only.
    state: Option<String>,
    limit: Option<usize>,
}

/// What an inbound webhook took in, newest first.
#[utoipa::path(get, path = "/api/v1/inbounds/{name}/messages", tag = "webhooks",
    params(("name" = String, Path), MessagesAsked), responses((status = 200, body = Page<ReceivedMessage>)))]
async fn messages(
    State(service): State<Service>,
    Named(name): Named<String>,
    Params(asked): Params<MessagesAsked>,
) -> Result<Json<Page<ReceivedMessage>>, Problem> {
    let state = asked.state.as_deref().map(state_named).transpose()?;
    let limit = service.options.limit(asked.limit)?;
    let found = control(&service).messages(&name, state, limit).await?;
    Ok(Json(Page::whole(found.into_iter().map(ReceivedMessage::from).collect())))
}

pub(crate) fn state_named(name: &str) -> Result<ReceivedState> {
    ReceivedState::from_name(name).ok_or_else(|| {
        let names = ReceivedState::ALL.map(ReceivedState::name).join(", ");
        Error::invalid(format!("there is no state {name:?}")).at_field("state").hint(format!("one of {names}"))
    })
}

/// What a body would become.
#[derive(Debug, Serialize, ToSchema)]
struct Tried {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    /// `null`: it would be kept as an event.
    dataset: Option<String>,
    key: Option<String>,
    version: Option<u64>,
    /// Its row would end.
    ends: bool,
    #[schema(value_type = Option<Object>)]
    row: Value,
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
}

pub(crate) fn tried(message: Message, mapped: Option<Mapped>) -> Value {
    let row = mapped.as_ref().map_or(Value::Null, |mapped| Value::Object(mapped.row.clone()));
    let items = mapped.iter().flat_map(|mapped| &mapped.items);
    let items = items.map(|items| serde_json::json!({ "dataset": items.dataset.name, "rows": items.rows }));
    let tried = Tried {
        id: message.id,
        source: message.source,
        kind: message.kind,
        dataset: mapped.as_ref().map(|mapped| mapped.dataset.name.clone()),
        key: mapped.as_ref().map(|mapped| mapped.key.clone()),
        version: mapped.as_ref().and_then(|mapped| mapped.version),
        ends: mapped.as_ref().is_some_and(|mapped| mapped.ends),
        row,
        items: items.collect(),
    };
    serde_json::to_value(tried).unwrap_or_default()
}

/// Shows which rows a body would make. Nothing is written, and no signature is wanted.
#[utoipa::path(post, path = "/api/v1/inbounds/{name}/test", tag = "webhooks", params(("name" = String, Path)),
    request_body = Object, responses((status = 200, body = Vec<Tried>)))]
async fn try_out(
    State(service): State<Service>,
    Named(name): Named<String>,
    headers: axum::http::HeaderMap,
    body: axum::body::Bytes,
) -> Result<Json<Vec<Value>>, Problem> {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let found = control(&service).try_out(&name, &headers, &body).await?;
    Ok(Json(found.into_iter().map(|(message, mapped)| tried(message, mapped)).collect()))
}

/// Which row.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InboundKey)]
struct KeyAsked {
    /// The value of the table's key; of several columns a JSON list as text.
    key: String,
    /// Where the webhook maps several tables with versions.
    #[serde(default)]
    dataset: Option<String>,
}

/// What a check before use found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InboundChecked)]
struct CheckedItem {
    /// The version that was stored; 0: none.
    before: u64,
    /// The version that is stored now.
    after: u64,
    /// The newest version that the origin knows; 0: none.
    origin: u64,
    /// Whether what is stored is as new as the origin's.
    current: bool,
}

/// Asks the origin for the newest version of a row before it is used, and takes in what is missing.
#[utoipa::path(post, path = "/api/v1/inbounds/{name}/check", tag = "webhooks", params(("name" = String, Path)),
    request_body = KeyAsked, responses((status = 200, body = CheckedItem)))]
async fn check(
    State(service): State<Service>,
    Named(name): Named<String>,
    Body(asked): Body<KeyAsked>,
) -> Result<Json<CheckedItem>, Problem> {
    let found = service.receiver.check(&name, asked.dataset.as_deref(), &asked.key).await?;
    let current = found.after >= found.origin;
    Ok(Json(CheckedItem { before: found.before, after: found.after, origin: found.origin, current }))
}

/// How many messages it was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InboundCount)]
struct Count {
    messages: usize,
}

/// Messages that are stuck wait again, and the missing versions are asked for at once.
#[utoipa::path(post, path = "/api/v1/inbounds/{name}/retry", tag = "webhooks", params(("name" = String, Path)), responses(
    (status = 200, body = Count)))]
async fn retry(State(service): State<Service>, Named(name): Named<String>) -> Result<Json<Count>, Problem> {
    Ok(Json(Count { messages: control(&service).retry(&name).await? }))
}

/// Which messages; absent: all that wait.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = InboundRelease)]
struct ReleaseAsked {
    key: Option<String>,
}

/// Applies what waits without the versions that are missing.
#[utoipa::path(post, path = "/api/v1/inbounds/{name}/release", tag = "webhooks", params(("name" = String, Path)),
    request_body = ReleaseAsked, responses((status = 200, body = Count)))]
async fn release(
    State(service): State<Service>,
    Named(name): Named<String>,
    Body(asked): Body<ReleaseAsked>,
) -> Result<Json<Count>, Problem> {
    Ok(Json(Count { messages: service.receiver.release(&name, asked.key.as_deref()).await? }))
}

//! Intakes: ways in which publishers' events come without a call; their state, and what waits. Addresses are settable
//! and never shown.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::caller::{Caller, Role};
use super::extract::{Body, MaybeBody, Named, Params, take_revision};
use super::problem::Problem;
use super::v1::page::Page;
use crate::intake::{Control, Found, IntakeStatus, NewIntake};
use crate::model::{Error, Result};

pub fn routes() -> OpenApiRouter<Service> {
    let whole = OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(one, change, remove));
    whole.routes(routes!(pause)).routes(routes!(resume)).routes(routes!(test))
}

/// An intake as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Intake)]
struct IntakeItem {
    name: String,
    /// `outbox`, `replication` or `redis`.
    kind: &'static str,
    /// `waiting`, `running`, `failing` (it is tried again), `stuck` (a person must mend it) or `paused`.
    state: &'static str,
    /// What it takes from, without its address.
    #[schema(value_type = Object)]
    definition: Value,
    has_url: bool,
    since: Option<String>,
    /// What is wrong, and what to do about it.
    error: Option<String>,
    hint: Option<String>,
    failures: u32,
    next_try: Option<String>,
    /// How much waits at the other side; absent: not known.
    lag: Option<u64>,
    /// `rows`, `bytes` or `entries`.
    lag_unit: &'static str,
    lagging: bool,
    published: u64,
    /// Taken again after a fault, and known already.
    repeated: u64,
    refused: u64,
    /// Messages that do not count: of other prefixes, or sent outside of transactions.
    ignored: u64,
    /// Where it stands in the publisher's log, in words of that log.
    place: Option<String>,
    /// The process that runs it.
    worker: Option<String>,
    /// When the state was last written.
    seen_at: Option<String>,
    /// What a change may expect.
    revision: u64,
}

impl IntakeItem {
    fn of(status: IntakeStatus) -> Result<IntakeItem> {
        let unwritable = |error| Error::bug("writing an intake").caused_by(error);
        let origin = status.intake.origin()?;
        let (kind, lag_unit) = (origin.name(), origin.unit());
        let standing = status.standing;
        Ok(IntakeItem {
            kind,
            lag_unit,
            state: standing.doing.name(),
            definition: serde_json::to_value(&status.intake).map_err(unwritable)?,
            has_url: status.has_url,
            since: standing.since,
            error: standing.error,
            hint: standing.hint,
            failures: standing.failures,
            next_try: standing.next_try,
            lag: standing.lag,
            lagging: standing.lagging,
            published: standing.published,
            repeated: standing.repeated,
            refused: standing.refused,
            ignored: standing.ignored,
            place: status.place,
            worker: standing.worker,
            seen_at: standing.at,
            revision: status.revision,
            name: status.name,
        })
    }
}

fn control(service: &Service) -> Control {
    Control::new(service.store.clone(), service.clock.clone())
}

/// Every intake, by name.
#[utoipa::path(get, path = "/api/v1/intakes", tag = "events", responses((status = 200, body = Page<IntakeItem>)))]
async fn list(State(service): State<Service>) -> Result<Json<Page<IntakeItem>>, Problem> {
    let all = control(&service).list().await?;
    Ok(Json(Page::whole(all.into_iter().map(IntakeItem::of).collect::<Result<_>>()?)))
}

/// One intake.
#[utoipa::path(get, path = "/api/v1/intakes/{name}", tag = "events", params(("name" = String, Path)),
    responses((status = 200, body = IntakeItem)))]
async fn one(State(service): State<Service>, Named(name): Named<String>) -> Result<Json<IntakeItem>, Problem> {
    Ok(Json(IntakeItem::of(control(&service).get(&name).await?)?))
}

/// Defines an intake: `name`, `url`, `source`, and one of `outbox`, `replication` and `redis`. Takes the role admin.
#[utoipa::path(post, path = "/api/v1/intakes", tag = "events", request_body = Object,
    responses((status = 201, body = IntakeItem)))]
async fn create(
    State(service): State<Service>,
    caller: Caller,
    Body(wanted): Body<NewIntake>,
) -> Result<(StatusCode, Json<IntakeItem>), Problem> {
    caller.must(Role::Admin)?;
    let created = control(&service).create(wanted, &caller.name).await?;
    Ok((StatusCode::CREATED, Json(IntakeItem::of(created)?)))
}

/// Changes an intake; fields that are absent stay, `url` sets another address. With `revision` only if nobody has
/// changed it since. Takes the role admin.
#[utoipa::path(put, path = "/api/v1/intakes/{name}", tag = "events", params(("name" = String, Path)),
    request_body = Object, responses((status = 200, body = IntakeItem)))]
async fn change(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    Body(mut fields): Body<Map<String, Value>>,
) -> Result<Json<IntakeItem>, Problem> {
    caller.must(Role::Admin)?;
    let expect = take_revision(&mut fields)?;
    Ok(Json(IntakeItem::of(control(&service).change(&name, fields, expect, &caller.name).await?)?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Removing {
    keep_slot: bool,
}

/// Removes an intake, and its replication slot unless `keep_slot` says otherwise. Takes the role admin.
#[utoipa::path(delete, path = "/api/v1/intakes/{name}", tag = "events",
    params(("name" = String, Path), ("keep_slot" = Option<bool>, Query, description = "Leave the slot where it is")),
    responses((status = 204)))]
async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    Params(how): Params<Removing>,
) -> Result<StatusCode, Problem> {
    caller.must(Role::Admin)?;
    control(&service).remove(&name, how.keep_slot, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets an intake rest; its place stays.
#[utoipa::path(post, path = "/api/v1/intakes/{name}/pause", tag = "events", params(("name" = String, Path)),
    responses((status = 200, body = IntakeItem)))]
async fn pause(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<IntakeItem>, Problem> {
    Ok(Json(IntakeItem::of(control(&service).pause(&name, &caller.name).await?)?))
}

/// From where a resumed intake goes on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Resuming {
    /// Forget its place: a slot begins where the server is now, an outbox is read from its beginning.
    anew: bool,
}

/// Lets an intake go on; with `anew` without its place.
#[utoipa::path(post, path = "/api/v1/intakes/{name}/resume", tag = "events", params(("name" = String, Path)),
    request_body = Resuming, responses((status = 200, body = IntakeItem)))]
async fn resume(
    State(service): State<Service>,
    caller: Caller,
    Named(name): Named<String>,
    MaybeBody(how): MaybeBody<Resuming>,
) -> Result<Json<IntakeItem>, Problem> {
    Ok(Json(IntakeItem::of(control(&service).resume(&name, how.anew, &caller.name).await?)?))
}

/// What was looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IntakeFound)]
struct FoundItem {
    what: String,
    /// Absent: it is well.
    problem: Option<String>,
    hint: Option<String>,
}

impl From<Found> for FoundItem {
    fn from(found: Found) -> FoundItem {
        let (problem, hint) = found.problem.map_or((None, None), |(problem, hint)| (Some(problem), hint));
        FoundItem { what: found.what, problem, hint }
    }
}

/// Connects and looks whether an intake could work; nothing is taken and nothing is made.
#[utoipa::path(post, path = "/api/v1/intakes/{name}/test", tag = "events", params(("name" = String, Path)),
    responses((status = 200, body = Page<FoundItem>)))]
async fn test(State(service): State<Service>, Named(name): Named<String>) -> Result<Json<Page<FoundItem>>, Problem> {
    let found = control(&service).test(&name).await?;
    Ok(Json(Page::whole(found.into_iter().map(FoundItem::from).collect())))
}

//! Deliveries: what waits and what was tried, what people decide about it, replays and figures.

mod replays;
mod views;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use views::{AttemptView, BlockedView, DeliveryView, FiguresView, ReplayView, WaysView};

use super::Service;
use super::caller::Caller;
use super::extract::{Body, Named, Params};
use super::problem::Problem;
use super::v1::page::Page;
use crate::model::{
    AttemptOutcome, AttemptsWanted, Chosen, Decision, DeliveriesWanted, DeliveryState, Error, Instant, Result,
};
use crate::notify::desk::Desk;
use crate::notify::watch;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(deliveries))
        .routes(routes!(attempts))
        .routes(routes!(event))
        .routes(routes!(blocked))
        .routes(routes!(figures))
        .routes(routes!(decide))
        .merge(replays::routes())
}

impl Service {
    /// What people work with.
    pub fn desk(&self) -> Desk {
        Desk { store: self.store.clone(), feed: self.feed.clone(), clock: self.clock.clone() }
    }
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveriesParams {
    /// Only of this subscription
    subscription: Option<String>,
    /// `waiting`, `dead` or `parked`
    state: Option<String>,
    /// Only of this order key
    key: Option<String>,
    /// Only of this event
    event: Option<u64>,
    /// Only those of later events
    after: Option<u64>,
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// Which attempts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AttemptsParams {
    /// Only of this subscription
    subscription: Option<String>,
    /// Only of this event
    event: Option<u64>,
    /// `delivered`, `failed`, `exhausted`, `refused`, `gone` or `skipped`
    outcome: Option<String>,
    /// Only those that did not work
    #[serde(default)]
    failed: bool,
    /// Only with this error, such as `HTTP_503` or `ETIMEDOUT`
    error: Option<String>,
    /// From this time on
    since: Option<String>,
    /// Before this time
    until: Option<String>,
    /// Only those with a smaller number
    before: Option<i64>,
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// Which subscription's keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BlockedParams {
    /// Only of this subscription
    subscription: Option<String>,
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// A page of deliveries, in the order of events.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryPage {
    items: Vec<DeliveryView>,
    /// What to ask for as `after` to get the next page; absent on the last one.
    next: Option<u64>,
}

/// Which deliveries of a subscription a decision is about: one event, a key, or all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionBody {
    subscription: String,
    /// The number of an event
    event: Option<u64>,
    /// An order key: those of it that have no attempt left
    key: Option<String>,
    /// Every delivery that has no attempt left
    #[serde(default)]
    all: bool,
}

impl DecisionBody {
    fn chosen(&self) -> Result<Chosen> {
        match (self.event, &self.key, self.all) {
            (Some(event), None, false) => Ok(Chosen::Event(event)),
            (None, Some(key), false) => Ok(Chosen::Key(key.clone())),
            (None, None, true) => Ok(Chosen::All),
            _ => Err(Error::invalid("a decision is about one of event, key and all").hint("name exactly one of them")),
        }
    }
}

fn unknown(what: &str, text: &str, names: &[&str]) -> Error {
    Error::invalid(format!("{what} is not {text:?}")).hint(format!("there are {}", names.join(", ")))
}

/// Reads a time.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<Instant>> {
    let read = |text: &str| {
        let error = || Error::invalid(format!("{name} is no time: {text:?}"));
        Instant::parse(text).ok_or_else(|| error().hint("write it like 2026-01-02T00:00:00+08:00"))
    };
    text.map(read).transpose()
}

/// What subscriptions have not settled yet, in the order of events.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(DeliveriesParams), responses(
    (status = 200, body = DeliveryPage)))]
async fn deliveries(
    State(service): State<Service>,
    Params(params): Params<DeliveriesParams>,
) -> Result<Json<DeliveryPage>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let names = DeliveryState::ALL.map(DeliveryState::name);
    let read = |text: &String| DeliveryState::from_name(text).ok_or_else(|| unknown("state", text, &names));
    let wanted = DeliveriesWanted {
        subscription: params.subscription,
        key: params.key,
        event: params.event,
        state: params.state.as_ref().map(read).transpose()?,
        after: params.after.unwrap_or(0),
        limit: limit + 1,
    };
    let mut found = service.store.deliveries(&wanted).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    // Deliveries of one event to several subscriptions stay on one page: the page ends before the event that is cut.
    let last = found.last().map(|last| last.event);
    if more && params.event.is_none() && found.iter().any(|delivery| Some(delivery.event) != last) {
        found.retain(|delivery| Some(delivery.event) != last);
    }
    if more && last.is_some() && found.iter().all(|delivery| Some(delivery.event) == last) {
        // An event that goes to more subscriptions than a page has entries is shown whole.
        let limit = service.options.page_rows_max;
        found = service.store.deliveries(&DeliveriesWanted { event: last, limit, ..wanted }).await?;
    }
    let next = found.last().map(|last| last.event).filter(|_| more && params.event.is_none());
    Ok(Json(DeliveryPage { items: found.iter().map(DeliveryView::new).collect(), next }))
}

/// Attempts to deliver, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries/attempts", tag = "deliveries", params(AttemptsParams), responses(
    (status = 200, body = Page<AttemptView>)))]
async fn attempts(
    State(service): State<Service>,
    Params(params): Params<AttemptsParams>,
) -> Result<Json<Page<AttemptView>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let names = AttemptOutcome::ALL.map(AttemptOutcome::name);
    let read = |text: &String| AttemptOutcome::from_name(text).ok_or_else(|| unknown("outcome", text, &names));
    let wanted = AttemptsWanted {
        subscription: params.subscription,
        event: params.event,
        outcome: params.outcome.as_ref().map(read).transpose()?,
        failed: params.failed,
        error: params.error,
        from: time("since", params.since.as_deref())?,
        until: time("until", params.until.as_deref())?,
        before: params.before,
        limit: limit + 1,
        ..AttemptsWanted::default()
    };
    let found = service.store.attempts(&wanted).await?;
    Ok(Json(Page::of(found, limit, |attempt| attempt.id, |attempt| AttemptView::new(&attempt))))
}

/// One event: how it stands with every subscription, and every attempt.
#[utoipa::path(get, path = "/api/v1/deliveries/events/{event}", tag = "deliveries", params(("event" = u64, Path)),
    responses((status = 200, body = WaysView)))]
async fn event(State(service): State<Service>, Named(event): Named<u64>) -> Result<Json<WaysView>, Problem> {
    Ok(Json(WaysView::new(&service.desk().ways(event).await?)))
}

/// Order keys that wait for a person, because an event of them has no attempt left.
#[utoipa::path(get, path = "/api/v1/deliveries/blocked", tag = "deliveries", params(BlockedParams), responses(
    (status = 200, body = Page<BlockedView>)))]
async fn blocked(
    State(service): State<Service>,
    Params(params): Params<BlockedParams>,
) -> Result<Json<Page<BlockedView>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let found = service.store.blocked_keys(params.subscription.as_deref(), limit).await?;
    Ok(Json(Page::whole(found.iter().map(BlockedView::new).collect())))
}

/// How each subscription fares: success over 24 hours, delays and failures over one, what waits now.
#[utoipa::path(get, path = "/api/v1/deliveries/figures", tag = "deliveries", responses(
    (status = 200, body = Page<FiguresView>)))]
async fn figures(State(service): State<Service>) -> Result<Json<Page<FiguresView>>, Problem> {
    let found = watch::figures(&*service.store, service.clock.now()).await?;
    Ok(Json(Page::whole(found.iter().map(FiguresView::new).collect())))
}

/// Decides about deliveries: `retry` sends them at once with all their attempts (a settled event once more), `skip` leaves
/// them out for good, `park` sets them aside so that their key goes on.
#[utoipa::path(post, path = "/api/v1/deliveries/{decision}", tag = "deliveries",
    params(("decision" = String, Path, description = "`retry`, `skip` or `park`")), request_body = DecisionBody,
    responses((status = 204)))]
async fn decide(
    State(service): State<Service>,
    caller: Caller,
    Named(decision): Named<String>,
    Body(body): Body<DecisionBody>,
) -> Result<axum::http::StatusCode, Problem> {
    let names = Decision::ALL.map(Decision::name);
    let decision = Decision::from_name(&decision).ok_or_else(|| unknown("the decision", &decision, &names))?;
    service.desk().decide(&body.subscription, body.chosen()?, decision, &caller.name).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

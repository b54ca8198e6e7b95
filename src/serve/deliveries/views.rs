//! Deliveries, attempts, figures and replays as the API and the commands show them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{Attempt, BlockedKey, Delivery, DeliveryFigures};
use crate::notify::desk::{Way, Ways};
use crate::notify::replay::ReplayStatus;

/// An event that a subscription has not settled yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    pub subscription: String,
    pub event: u64,
    /// Events of one key go out one after the other; empty: no order.
    pub key: String,
    /// `waiting`, `dead` or `parked`.
    pub state: &'static str,
    pub due_at: String,
    pub attempts: u32,
    /// Who wants it: `feed`, `reverse`, `replay:NUMBER`, or a person.
    pub by: String,
}

impl DeliveryView {
    pub fn new(delivery: &Delivery) -> DeliveryView {
        DeliveryView {
            subscription: delivery.subscription.clone(),
            event: delivery.event,
            key: delivery.key.clone(),
            state: delivery.state.name(),
            due_at: delivery.due_at.to_string(),
            attempts: delivery.attempts,
            by: delivery.by.clone(),
        }
    }
}

/// One attempt to deliver.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptView {
    pub id: i64,
    pub subscription: String,
    pub event: u64,
    /// The `webhook-id`: the same at every attempt of an event; events that went out together share one.
    pub request: String,
    pub number: u32,
    pub at: String,
    pub took_ms: u64,
    /// `delivered`, `failed`, `exhausted`, `refused`, `gone` or `skipped`.
    pub outcome: &'static str,
    pub status: Option<u16>,
    /// A word for what went wrong: `HTTP_503`, `ETIMEDOUT`, `BLOCKED_ADDRESS` ...
    pub error: Option<String>,
    /// The beginning of the answer, or what went wrong in words.
    pub detail: Option<String>,
    /// From the moment the event was accepted to the end of this attempt.
    pub delay_ms: u64,
    pub by: String,
}

impl AttemptView {
    pub fn new(attempt: &Attempt) -> AttemptView {
        AttemptView {
            id: attempt.id,
            subscription: attempt.subscription.clone(),
            event: attempt.event,
            request: attempt.request.clone(),
            number: attempt.number,
            at: attempt.at.to_string(),
            took_ms: attempt.took_ms,
            outcome: attempt.outcome.name(),
            status: attempt.status,
            error: attempt.error.clone(),
            detail: attempt.detail.clone(),
            delay_ms: attempt.delay_ms,
            by: attempt.by.clone(),
        }
    }
}

/// An order key that waits for a person.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BlockedKey)]
pub struct BlockedView {
    pub subscription: String,
    pub key: String,
    /// The first event of the key that has no attempt left.
    pub event: u64,
    pub attempts: u32,
    /// Later events of the key that wait behind it.
    pub waiting: u64,
}

impl BlockedView {
    pub fn new(blocked: &BlockedKey) -> BlockedView {
        BlockedView {
            subscription: blocked.subscription.clone(),
            key: blocked.key.clone(),
            event: blocked.event,
            attempts: blocked.attempts,
            waiting: blocked.waiting,
        }
    }
}

/// How a subscription fares.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeliveryFigures)]
pub struct FiguresView {
    pub subscription: String,
    /// In the last 24 hours.
    pub attempts: u64,
    pub delivered: u64,
    /// The share of attempts that worked, in percent; absent without attempts.
    pub success_percent: Option<f64>,
    /// From acceptance to delivery, in the last hour.
    pub delay_mean_ms: Option<f64>,
    pub delay_p95_ms: Option<u64>,
    /// Failed attempts of the last hour.
    pub failed: u64,
    /// Those by their error.
    pub errors: BTreeMap<String, u64>,
    /// Deliveries that wait.
    pub backlog: u64,
    /// The first event of those, and since when it has been there.
    pub oldest_event: Option<u64>,
    pub oldest_at: Option<String>,
    /// Those that wait for another attempt.
    pub retries: u64,
    pub dead: u64,
    pub parked: u64,
    pub failed_in_a_row: u64,
}

impl FiguresView {
    pub fn new(figures: &DeliveryFigures) -> FiguresView {
        FiguresView {
            subscription: figures.subscription.clone(),
            attempts: figures.attempts,
            delivered: figures.delivered,
            success_percent: figures.success_rate().map(|rate| rate * 100.0),
            delay_mean_ms: figures.delay_mean_ms,
            delay_p95_ms: figures.delay_p95_ms,
            failed: figures.failed(),
            errors: figures.errors.clone(),
            backlog: figures.waiting,
            oldest_event: figures.oldest.map(|(event, _)| event),
            oldest_at: figures.oldest.map(|(_, at)| at.to_string()),
            retries: figures.retrying,
            dead: figures.dead,
            parked: figures.parked,
            failed_in_a_row: figures.failed_in_a_row,
        }
    }
}

/// How an event stands with one subscription.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeliveryWay)]
pub struct WayView {
    pub subscription: String,
    /// `waiting`, `dead`, `parked`, or how the last attempt ended.
    pub state: &'static str,
    pub url: Option<String>,
    /// Of the last request; signatures are named and not shown.
    pub headers: BTreeMap<String, String>,
    /// What its requests say, of this event alone.
    pub body: Option<String>,
    pub delivery: Option<DeliveryView>,
    /// Newest first.
    pub attempts: Vec<AttemptView>,
}

impl WayView {
    fn new(way: &Way) -> WayView {
        WayView {
            subscription: way.subscription.clone(),
            state: way.state,
            url: way.url.clone(),
            headers: way.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            body: way.body.clone(),
            delivery: way.delivery.as_ref().map(DeliveryView::new),
            attempts: way.attempts.iter().map(AttemptView::new).collect(),
        }
    }
}

/// An event and its ways to subscriptions.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeliveryWays)]
pub struct WaysView {
    pub event: u64,
    /// The type under which subscribers hear of it.
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
    pub source: String,
    /// When it was accepted.
    pub at: String,
    pub subscriptions: Vec<WayView>,
}

impl WaysView {
    pub fn new(ways: &Ways) -> WaysView {
        WaysView {
            event: ways.event,
            kind: ways.kind.clone(),
            id: ways.id.clone(),
            source: ways.source.clone(),
            at: ways.at.to_string(),
            subscriptions: ways.ways.iter().map(WayView::new).collect(),
        }
    }
}

/// Events of a window that go out again to one subscription.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Replay)]
pub struct ReplayView {
    pub number: u64,
    pub subscription: String,
    /// The first and the last event of the window.
    pub from: u64,
    pub to: u64,
    pub types: Vec<String>,
    pub only_failed: bool,
    pub per_second: Option<f64>,
    /// `running`, `paused`, `done` or `cancelled`.
    pub state: &'static str,
    pub by: String,
    pub asked_at: String,
    /// The last event that was looked at.
    pub at: u64,
    /// The share of the window that was looked at, in percent.
    pub percent: f64,
    /// Deliveries that it has asked for.
    pub matched: u64,
}

impl ReplayView {
    pub fn new(status: &ReplayStatus) -> ReplayView {
        let window = &status.replay.window;
        let whole = (window.to + 1 - window.from) as f64;
        let done = (status.progress.at + 1).saturating_sub(window.from) as f64;
        ReplayView {
            number: status.number,
            subscription: window.subscription.clone(),
            from: window.from,
            to: window.to,
            types: window.types.clone(),
            only_failed: window.only_failed,
            per_second: status.replay.per_second,
            state: status.replay.state.name(),
            by: status.replay.by.clone(),
            asked_at: status.replay.at.clone(),
            at: status.progress.at,
            percent: (done / whole * 100.0).clamp(0.0, 100.0),
            matched: status.progress.matched,
        }
    }
}

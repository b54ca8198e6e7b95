//! Deliveries: an event on its way to a subscription, and every attempt to bring it there.

use super::clock::Instant;

/// An event that a subscription has not settled yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub subscription: String,
    /// Its number in the event log.
    pub event: u64,
    /// Deliveries of one key go out in the order of their events; empty: no order.
    pub key: String,
    pub state: DeliveryState,
    /// Not before.
    pub due_at: Instant,
    /// Attempts that were made.
    pub attempts: u32,
    /// Who wants it: `feed`, `replay:<number>`, `reverse`, or a person.
    pub by: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It goes out when it is due and its key is free.
    Waiting,
    /// No further attempt by itself. It blocks its key until a person retries, skips or parks it.
    Dead,
    /// No further attempt by itself; its key goes on.
    Parked,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 3] = [DeliveryState::Waiting, DeliveryState::Dead, DeliveryState::Parked];

    pub fn name(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Dead => "dead",
            DeliveryState::Parked => "parked",
        }
    }

    pub fn from_name(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One attempt, as it is kept. Attempts are only ever added.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// 0 before it is stored.
    pub id: i64,
    pub subscription: String,
    pub event: u64,
    /// Names the HTTP request: events that went out together have the same.
    pub request: String,
    /// 1 for the first attempt.
    pub number: u32,
    pub at: Instant,
    pub took_ms: u64,
    pub outcome: AttemptOutcome,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// A word for what went wrong: `HTTP_503`, `ECONNREFUSED`, `ETIMEDOUT`, `BLOCKED_ADDRESS` ...
    pub error: Option<String>,
    /// The beginning of the answer, or what went wrong in words. Never a secret.
    pub detail: Option<String>,
    /// From the moment the event was accepted to the end of this attempt.
    pub delay_ms: u64,
    pub by: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Answered with 2xx.
    Delivered,
    /// Did not work; another attempt follows.
    Failed,
    /// Did not work, and no attempt is left.
    Exhausted,
    /// The receiver will not take it: 400, 422.
    Refused,
    /// The receiver is gone for good: 410.
    Gone,
    /// A person decided to leave it out.
    Skipped,
}

impl AttemptOutcome {
    pub const ALL: [AttemptOutcome; 6] = [
        AttemptOutcome::Delivered,
        AttemptOutcome::Failed,
        AttemptOutcome::Exhausted,
        AttemptOutcome::Refused,
        AttemptOutcome::Gone,
        AttemptOutcome::Skipped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AttemptOutcome::Delivered => "delivered",
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::Exhausted => "exhausted",
            AttemptOutcome::Refused => "refused",
            AttemptOutcome::Gone => "gone",
            AttemptOutcome::Skipped => "skipped",
        }
    }

    pub fn from_name(name: &str) -> Option<AttemptOutcome> {
        AttemptOutcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

//! Deliveries together: what becomes of them, which of them are asked for, and their figures.

use std::collections::BTreeMap;

use super::clock::Instant;
use super::delivery::{Attempt, AttemptOutcome, DeliveryState};

/// An attempt with what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    pub attempt: Attempt,
    pub then: Then,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is settled.
    Done,
    /// It goes out again, not before.
    Again { at: Instant },
    /// No attempt follows by itself, and its key waits.
    Dead,
    /// No attempt follows by itself, and its key goes on.
    Parked,
}

/// What a person decides about deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is not delivered; an attempt with the outcome `skipped` says so.
    Skip,
    /// It is set aside, and its key goes on.
    Park,
    /// It goes out at once, with all its attempts.
    Retry,
}

impl Decision {
    pub const ALL: [Decision; 3] = [Decision::Skip, Decision::Park, Decision::Retry];

    pub fn name(self) -> &'static str {
        match self {
            Decision::Skip => "skip",
            Decision::Park => "park",
            Decision::Retry => "retry",
        }
    }

    pub fn from_name(name: &str) -> Option<Decision> {
        Decision::ALL.into_iter().find(|decision| decision.name() == name)
    }
}

/// Which deliveries of a subscription a decision is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// One event.
    Event(u64),
    /// Those of a key that have no attempt left; for `Retry` the waiting ones of the key, too.
    Key(String),
    /// All that have no attempt left; for `Retry` the waiting ones, too.
    All,
}

/// Which deliveries, in the order of their events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveriesWanted {
    pub subscription: Option<String>,
    pub key: Option<String>,
    pub event: Option<u64>,
    pub state: Option<DeliveryState>,
    /// Only those of later events.
    pub after: u64,
    pub limit: usize,
}

/// A key that a dead delivery holds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedKey {
    pub subscription: String,
    pub key: String,
    /// The first dead event of the key.
    pub event: u64,
    pub attempts: u32,
    /// Later events of the key that wait behind it.
    pub waiting: u64,
}

/// Which attempts, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptsWanted {
    pub subscription: Option<String>,
    pub event: Option<u64>,
    /// Only of these events, both included.
    pub events: Option<(u64, u64)>,
    pub outcome: Option<AttemptOutcome>,
    /// All but delivered and skipped ones.
    pub failed: bool,
    pub error: Option<String>,
    pub from: Option<Instant>,
    pub until: Option<Instant>,
    /// Only those with a smaller number.
    pub before: Option<i64>,
    /// Only those with a greater number; then the oldest come first.
    pub after: Option<i64>,
    pub limit: usize,
}

/// From when on figures are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiguresSince {
    /// Attempts, and how many of them worked.
    pub success: Instant,
    /// How long deliveries took.
    pub delay: Instant,
    /// Failures by their error.
    pub failures: Instant,
}

/// How a subscription fares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryFigures {
    pub subscription: String,
    /// Attempts since `FiguresSince::success`.
    pub attempts: u64,
    /// Those of them that worked.
    pub delivered: u64,
    /// From the moment an event was accepted to its delivery, since `FiguresSince::delay`.
    pub delay_mean_ms: Option<f64>,
    pub delay_p95_ms: Option<u64>,
    /// Failed attempts since `FiguresSince::failures`, by error.
    pub errors: BTreeMap<String, u64>,
    /// Deliveries that wait.
    pub waiting: u64,
    /// The first event of those, and when it was written down.
    pub oldest: Option<(u64, Instant)>,
    /// Those of them that have failed before.
    pub retrying: u64,
    pub dead: u64,
    pub parked: u64,
    /// Failed attempts since the last one that worked.
    pub failed_in_a_row: u64,
}

impl DeliveryFigures {
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The share of attempts that worked; `None` without attempts.
    pub fn success_rate(&self) -> Option<f64> {
        (self.attempts > 0).then(|| self.delivered as f64 / self.attempts as f64)
    }
}

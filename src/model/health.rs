//! How a source has behaved: counts by hour, kept over processes.

use super::clock::Instant;

/// What happened to the calls of one source in one hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub source: String,
    /// The hour's beginning.
    pub hour: Instant,
    pub calls: u64,
    /// Calls without a usable answer, refusals included.
    pub failed: u64,
    /// Answers that were refused because their units are wrong.
    pub wrong: u64,
    /// Time that the calls took, summed.
    pub network_ms: u64,
    /// The last thing that went wrong, and when.
    pub last_error: Option<String>,
    pub last_error_at: Option<Instant>,
}

/// Hours that a store remembers; older ones are forgotten.
pub const HEALTH_HOURS: i64 = 7 * 24;

impl Health {
    /// The hour that `at` lies in.
    pub fn hour_of(at: Instant) -> Instant {
        const HOUR_US: i64 = 3_600_000_000;
        Instant(at.0.div_euclid(HOUR_US) * HOUR_US)
    }

    /// Adds what happened later in the same hour, or in a later one.
    pub fn add(&mut self, later: &Health) {
        self.calls += later.calls;
        self.failed += later.failed;
        self.wrong += later.wrong;
        self.network_ms += later.network_ms;
        if later.last_error_at >= self.last_error_at && later.last_error.is_some() {
            self.last_error.clone_from(&later.last_error);
            self.last_error_at = later.last_error_at;
        }
    }

    /// Milliseconds that a call took on average; `None` without calls.
    pub fn latency_ms(&self) -> Option<u64> {
        self.network_ms.checked_div(self.calls)
    }
}

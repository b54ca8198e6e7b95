//! The health of a receiver: a warning before it is paused, a pause after repeated failure, one probe at a time, and on again
//! when it has recovered. Pure.

use std::time::Duration;

use super::outcome::Meaning;
use crate::model::Instant;

/// When a receiver counts as ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthLimits {
    /// Failures in a row after which people are warned.
    pub warn_failures: u32,
    /// Failures in a row after which nothing goes out but probes.
    pub pause_failures: u32,
    /// From the pause to the first probe; it doubles with every probe that fails.
    pub probe_first: Duration,
    pub probe_cap: Duration,
}

/// How a receiver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Failures in a row, below the warning.
    Well { failures: u32 },
    /// People were warned; deliveries go on.
    Warned { failures: u32 },
    /// Nothing goes out until the time of the probe.
    Paused { failures: u32, probes: u32, probe_at: Instant, probing: bool },
}

impl Default for Standing {
    fn default() -> Standing {
        Standing::Well { failures: 0 }
    }
}

/// What people are told when a standing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It will be paused if it goes on like this.
    Warned,
    Paused,
    /// A probe has failed, the pause goes on.
    StillPaused,
    Recovered,
}

/// Whether something may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Free,
    /// One delivery alone, to see whether the receiver is back.
    Probe,
    /// Not before this time.
    Until(Instant),
    /// A probe is under way.
    AwaitProbe,
}

/// Whether an answer shows that the receiver works: a refusal of content and a plea for patience (429) do.
pub fn shows_life(meaning: Meaning, status: Option<u16>) -> bool {
    match meaning {
        Meaning::Delivered | Meaning::Refused => true,
        Meaning::Slow { .. } => status == Some(429),
        Meaning::Retry | Meaning::Gone => false,
    }
}

impl Standing {
    pub fn permit(self, now: Instant) -> Permit {
        match self {
            Standing::Well { .. } | Standing::Warned { .. } => Permit::Free,
            Standing::Paused { probing: true, .. } => Permit::AwaitProbe,
            Standing::Paused { probe_at, .. } if now >= probe_at => Permit::Probe,
            Standing::Paused { probe_at, .. } => Permit::Until(probe_at),
        }
    }

    /// A probe goes out.
    pub fn probing(self) -> Standing {
        match self {
            Standing::Paused { failures, probes, probe_at, .. } => {
                Standing::Paused { failures, probes, probe_at, probing: true }
            }
            free => free,
        }
    }

    /// After an attempt. Failures of requests that went out before a pause do not lengthen it: only its probe does.
    pub fn after(self, alive: bool, now: Instant, limits: &HealthLimits) -> (Standing, Option<Signal>) {
        let well = Standing::Well { failures: 0 };
        match (self, alive) {
            (Standing::Well { .. }, true) => (well, None),
            (Standing::Warned { .. } | Standing::Paused { .. }, true) => (well, Some(Signal::Recovered)),
            (Standing::Well { failures } | Standing::Warned { failures }, false) => {
                let (failures, warned) = (failures.saturating_add(1), matches!(self, Standing::Warned { .. }));
                match () {
                    () if failures >= limits.pause_failures => (limits.paused(failures, 0, now), Some(Signal::Paused)),
                    () if warned => (Standing::Warned { failures }, None),
                    () if failures >= limits.warn_failures => (Standing::Warned { failures }, Some(Signal::Warned)),
                    () => (Standing::Well { failures }, None),
                }
            }
            (Standing::Paused { failures, probes, probing: true, .. }, false) => {
                let again = limits.paused(failures.saturating_add(1), probes.saturating_add(1), now);
                (again, Some(Signal::StillPaused))
            }
            (Standing::Paused { .. }, false) => (self, None),
        }
    }
}

impl HealthLimits {
    fn paused(&self, failures: u32, probes: u32, now: Instant) -> Standing {
        let factor = 1u32.checked_shl(probes.min(31)).unwrap_or(u32::MAX);
        let wait = self.probe_first.saturating_mul(factor).min(self.probe_cap);
        let probe_at = now.plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        Standing::Paused { failures, probes, probe_at, probing: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HealthLimits = HealthLimits {
        warn_failures: 2,
        pause_failures: 4,
        probe_first: Duration::from_secs(30),
        probe_cap: Duration::from_secs(100),
    };

    fn at(seconds: i64) -> Instant {
        Instant(seconds * 1_000_000)
    }

    fn paused(failures: u32, probes: u32, probe_at: i64) -> Standing {
        Standing::Paused { failures, probes, probe_at: at(probe_at), probing: false }
    }

    #[test]
    fn a_receiver_is_warned_of_paused_probed_and_taken_up_again() {
        let mut standing = Standing::default();
        for (alive, seconds, probe, expected, signal) in [
            (false, 0, false, Standing::Well { failures: 1 }, None),
            (true, 1, false, Standing::Well { failures: 0 }, None),
            (false, 2, false, Standing::Well { failures: 1 }, None),
            (false, 3, false, Standing::Warned { failures: 2 }, Some(Signal::Warned)),
            (false, 4, false, Standing::Warned { failures: 3 }, None),
            (false, 5, false, paused(4, 0, 35), Some(Signal::Paused)),
            (false, 6, false, paused(4, 0, 35), None),
            (false, 35, true, paused(5, 1, 95), Some(Signal::StillPaused)),
            (false, 95, true, paused(6, 2, 195), Some(Signal::StillPaused)),
            (false, 195, true, paused(7, 3, 295), Some(Signal::StillPaused)),
            (true, 295, true, Standing::Well { failures: 0 }, Some(Signal::Recovered)),
        ] {
            if probe {
                assert_eq!(standing.permit(at(seconds - 1)), Permit::Until(at(seconds)));
                assert_eq!(standing.permit(at(seconds)), Permit::Probe);
                standing = standing.probing();
                assert_eq!(standing.permit(at(seconds)), Permit::AwaitProbe);
            }
            let (next, told) = standing.after(alive, at(seconds), &LIMITS);
            assert_eq!((next, told), (expected, signal), "at {seconds}");
            standing = next;
        }
        let (next, told) = Standing::Warned { failures: 3 }.after(true, at(0), &LIMITS);
        assert_eq!((next, told), (Standing::default(), Some(Signal::Recovered)));
        assert_eq!(next.permit(at(0)), Permit::Free);
    }

    #[test]
    fn limits_that_cross_still_pause() {
        let limits = HealthLimits { warn_failures: 9, pause_failures: 1, ..LIMITS };
        let (next, told) = Standing::default().after(false, at(0), &limits);
        assert_eq!((next, told), (paused(1, 0, 30), Some(Signal::Paused)));
        let mut standing = next;
        for _ in 0..100 {
            (standing, _) = standing.probing().after(false, at(0), &limits);
        }
        assert_eq!(standing, paused(101, 100, 100), "the wait stays at its cap");
    }

    #[test]
    fn a_refusal_of_content_and_a_plea_for_patience_show_life() {
        let slow = Meaning::Slow { wait: None };
        for (meaning, status, expected) in [
            (Meaning::Delivered, Some(200), true),
            (Meaning::Refused, Some(422), true),
            (slow, Some(429), true),
            (slow, Some(503), false),
            (Meaning::Retry, Some(404), false),
            (Meaning::Retry, None, false),
            (Meaning::Gone, Some(410), false),
        ] {
            assert_eq!(shows_life(meaning, status), expected, "{meaning:?}");
        }
    }
}

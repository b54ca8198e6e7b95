//! What to do after an error: one total match over the kinds, pure.

use crate::model::{ErrorKind, Instant};

/// How often and how long a slice is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    pub first_ms: u64,
    pub cap_ms: u64,
    /// Share of a wait that is random, 0 to 1.
    pub jitter: f64,
    /// Refusals for asking too often that one call waits out before its slice fails.
    pub throttles_max: u32,
}

/// The next step for a slice whose call ended in an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Try again after so long.
    Again { after_ms: u64 },
    /// The source said when; its gate is closed until then.
    AgainAt { at: Instant },
    /// The slice becomes a failure; the task goes on.
    Fail,
    /// The source is of no use for this dataset now; ask the next one.
    SetAside,
    /// Nothing more can be done in this run.
    Abort,
}

/// What has happened to one call so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Attempts that ended in an error other than throttling.
    pub attempts: u32,
    pub throttles: u32,
}

/// `random` lies in 0..1 and spreads waits so that workers do not return in step.
pub fn decide(kind: ErrorKind, tried: Tried, policy: &RetryPolicy, random: f64) -> Decision {
    match kind {
        ErrorKind::Transient if tried.attempts <= policy.retries => {
            Decision::Again { after_ms: backoff_ms(tried.attempts, policy, random) }
        }
        ErrorKind::Transient => Decision::Fail,
        ErrorKind::Throttled { .. } if tried.throttles > policy.throttles_max => Decision::Fail,
        ErrorKind::Throttled { until: Some(at) } => Decision::AgainAt { at },
        ErrorKind::Throttled { until: None } => {
            Decision::Again { after_ms: backoff_ms(tried.throttles, policy, random) }
        }
        ErrorKind::QuotaGone { .. } | ErrorKind::Denied => Decision::SetAside,
        ErrorKind::Invalid | ErrorKind::NotFound => Decision::Fail,
        ErrorKind::Conflict | ErrorKind::Storage | ErrorKind::Interrupted | ErrorKind::Bug => Decision::Abort,
    }
}

/// 1, 2, 4 ... times the first wait, capped, the last `jitter` share of it random.
fn backoff_ms(attempt: u32, policy: &RetryPolicy, random: f64) -> u64 {
    let doubled = policy.first_ms.saturating_mul(1u64 << attempt.saturating_sub(1).min(32));
    let wait = doubled.min(policy.cap_ms) as f64;
    (wait * (1.0 - policy.jitter + policy.jitter * random)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { retries: 3, first_ms: 100, cap_ms: 1_000, jitter: 0.5, throttles_max: 2 };

    #[test]
    fn every_kind_has_its_remedy() {
        let later = Instant(5);
        let tried = |attempts, throttles| Tried { attempts, throttles };
        for (kind, tried, expected) in [
            (ErrorKind::Transient, tried(1, 0), Decision::Again { after_ms: 100 }),
            (ErrorKind::Transient, tried(3, 0), Decision::Again { after_ms: 400 }),
            (ErrorKind::Transient, tried(4, 0), Decision::Fail),
            (ErrorKind::Throttled { until: Some(later) }, tried(0, 1), Decision::AgainAt { at: later }),
            (ErrorKind::Throttled { until: None }, tried(0, 2), Decision::Again { after_ms: 200 }),
            (ErrorKind::Throttled { until: None }, tried(0, 3), Decision::Fail),
            (ErrorKind::QuotaGone { until: None }, tried(1, 0), Decision::SetAside),
            (ErrorKind::Denied, tried(1, 0), Decision::SetAside),
            (ErrorKind::Invalid, tried(1, 0), Decision::Fail),
            (ErrorKind::NotFound, tried(1, 0), Decision::Fail),
            (ErrorKind::Storage, tried(1, 0), Decision::Abort),
            (ErrorKind::Conflict, tried(1, 0), Decision::Abort),
            (ErrorKind::Interrupted, tried(1, 0), Decision::Abort),
            (ErrorKind::Bug, tried(1, 0), Decision::Abort),
        ] {
            assert_eq!(decide(kind, tried, &POLICY, 1.0), expected, "{kind:?} {tried:?}");
        }
    }

    #[test]
    fn waits_double_up_to_the_cap_and_jitter_shortens_them() {
        let waits: Vec<u64> = (1..=6).map(|attempt| backoff_ms(attempt, &POLICY, 1.0)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff_ms(1, &POLICY, 0.0), 50);
        assert_eq!(backoff_ms(u32::MAX, &POLICY, 1.0), 1_000);
    }
}

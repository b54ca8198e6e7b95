//! What follows from an attempt: for the delivery, for the endpoint, and for people. Pure.

use std::time::Duration;

use super::outcome::{Meaning, Retries};
use crate::model::{AttemptOutcome, Instant, Then, WhenDead};

/// What an attempt is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub meaning: Meaning,
    /// Attempts of the delivery, this one included.
    pub number: u32,
    /// It went out to see whether a paused endpoint is back: it costs no delivery its last attempt.
    pub probe: bool,
    pub retries: &'a Retries,
    pub when_dead: WhenDead,
    /// A chance from 0 to 1.
    pub roll: f64,
    pub now: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: AttemptOutcome,
    pub then: Then,
    /// Nothing goes to the endpoint before.
    pub quiet_until: Option<Instant>,
}

fn later(now: Instant, wait: Duration) -> Instant {
    now.plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 1_000_000))
}

pub fn judge(case: &Case) -> Verdict {
    let dead = match case.when_dead {
        WhenDead::Block => Then::Dead,
        WhenDead::Park => Then::Parked,
    };
    let asked = match case.meaning {
        Meaning::Delivered => {
            return Verdict { outcome: AttemptOutcome::Delivered, then: Then::Done, quiet_until: None };
        }
        Meaning::Refused => return Verdict { outcome: AttemptOutcome::Refused, then: dead, quiet_until: None },
        // The subscription ends, and what waits for it stays where it is.
        Meaning::Gone => {
            let then = Then::Again { at: case.now };
            return Verdict { outcome: AttemptOutcome::Gone, then, quiet_until: None };
        }
        Meaning::Retry => None,
        Meaning::Slow { wait } => wait,
    };
    let number = if case.probe { case.number.min(case.retries.attempts_max().saturating_sub(1)) } else { case.number };
    let wait = case.retries.wait(number, case.roll, asked);
    let slow = matches!(case.meaning, Meaning::Slow { .. });
    match wait.or(asked.filter(|_| case.probe)) {
        Some(wait) => {
            let at = later(case.now, wait);
            Verdict { outcome: AttemptOutcome::Failed, then: Then::Again { at }, quiet_until: slow.then_some(at) }
        }
        None if case.probe => {
            Verdict { outcome: AttemptOutcome::Failed, then: Then::Again { at: case.now }, quiet_until: None }
        }
        None => {
            let quiet_until = asked.map(|asked| later(case.now, asked));
            Verdict { outcome: AttemptOutcome::Exhausted, then: dead, quiet_until }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: &[u64]) -> Retries {
        Retries { waits: seconds.iter().map(|second| Duration::from_secs(*second)).collect(), jitter: 0.1 }
    }

    fn at(seconds: i64) -> Instant {
        Instant(0).plus_seconds(seconds)
    }

    #[test]
    fn an_attempt_is_followed_by_what_its_answer_asks_for() {
        use AttemptOutcome::*;
        let slow = |seconds| Meaning::Slow { wait: Some(Duration::from_secs(seconds)) };
        let again = |seconds| Then::Again { at: at(seconds) };
        for (meaning, number, probe, outcome, then, quiet) in [
            (Meaning::Delivered, 1, false, Delivered, Then::Done, None),
            (Meaning::Refused, 1, false, Refused, Then::Dead, None),
            (Meaning::Gone, 1, false, Gone, again(0), None),
            (Meaning::Retry, 1, false, Failed, again(1), None),
            (Meaning::Retry, 3, false, Failed, again(4), None),
            (Meaning::Retry, 4, false, Exhausted, Then::Dead, None),
            (Meaning::Retry, 4, true, Failed, again(4), None),
            (Meaning::Retry, 99, true, Failed, again(4), None),
            (slow(3600), 1, false, Failed, again(3600), Some(at(3600))),
            (Meaning::Slow { wait: None }, 2, false, Failed, again(2), Some(at(2))),
            (slow(3600), 4, false, Exhausted, Then::Dead, Some(at(3600))),
        ] {
            let retries = seconds(&[1, 2, 4]);
            let (when_dead, now) = (WhenDead::Block, at(0));
            let verdict = judge(&Case { meaning, number, probe, retries: &retries, when_dead, roll: 0.0, now });
            assert_eq!(verdict, Verdict { outcome, then, quiet_until: quiet }, "{meaning:?} {number}");
            let parks =
                judge(&Case { when_dead: WhenDead::Park, meaning, number, probe, retries: &retries, roll: 0.0, now });
            let expected = if then == Then::Dead { Then::Parked } else { then };
            assert_eq!(parks.then, expected);
        }
        let none = seconds(&[]);
        let case = Case {
            meaning: Meaning::Retry,
            number: 1,
            probe: true,
            retries: &none,
            when_dead: WhenDead::Block,
            roll: 0.0,
            now: at(0),
        };
        assert_eq!(judge(&case).then, again(0), "a probe is never the last attempt");
    }
}

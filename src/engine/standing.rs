//! Whether a source keeps its place: one that is slow or often wrong is asked after the others, until it behaves.

use crate::model::{Health, Instant};

/// From when on a source loses its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StandingPolicy {
    /// Hours that count.
    pub hours: u32,
    /// Fewer calls than these prove nothing; the newest so many are judged.
    pub calls_min: u64,
    /// Share of calls without a usable answer.
    pub failed_share: f64,
    /// Answers in wrong units.
    pub wrong_max: u64,
    /// Milliseconds of an average call.
    pub slow_ms: u64,
}

/// A source's place among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// Asked after all others, for this reason.
    Demoted(String),
}

impl Standing {
    pub fn is_demoted(&self) -> bool {
        matches!(self, Standing::Demoted(_))
    }
}

/// Judges the newest hours that hold enough calls; good hours make older bad ones forgotten, and so does time.
pub fn standing(hours: &[Health], now: Instant, policy: &StandingPolicy) -> Standing {
    let oldest = now.plus_seconds(-i64::from(policy.hours) * 3_600);
    let mut counted: Vec<&Health> = hours.iter().filter(|hour| hour.hour > oldest).collect();
    counted.sort_by_key(|hour| std::cmp::Reverse(hour.hour));
    let mut sum = Health::default();
    for hour in counted {
        sum.add(hour);
        if sum.calls >= policy.calls_min {
            break;
        }
    }
    if sum.wrong > policy.wrong_max {
        return Standing::Demoted(format!("{} answers in wrong units", sum.wrong));
    }
    if sum.calls < policy.calls_min {
        return Standing::Good;
    }
    if sum.failed as f64 > policy.failed_share * sum.calls as f64 {
        return Standing::Demoted(format!("{} of {} calls failed", sum.failed, sum.calls));
    }
    match sum.latency_ms() {
        Some(latency) if latency > policy.slow_ms => Standing::Demoted(format!("{latency} ms a call")),
        _ => Standing::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: StandingPolicy =
        StandingPolicy { hours: 6, calls_min: 10, failed_share: 0.3, wrong_max: 0, slow_ms: 1_000 };

    fn hour(hours_ago: i64, calls: u64, failed: u64, wrong: u64, network_ms: u64) -> Health {
        let hour = Instant(0).plus_seconds(-hours_ago * 3_600);
        Health { hour, calls, failed, wrong, network_ms, ..Health::default() }
    }

    #[test]
    fn slow_failing_and_lying_sources_lose_their_place_and_win_it_back() {
        let demoted = |why: &str| Standing::Demoted(why.to_owned());
        for (name, hours, expected) in [
            ("nothing known", vec![], Standing::Good),
            ("too few calls", vec![hour(1, 9, 9, 0, 0)], Standing::Good),
            ("some failures", vec![hour(1, 10, 3, 0, 0)], Standing::Good),
            ("many failures", vec![hour(1, 10, 4, 0, 0)], demoted("4 of 10 calls failed")),
            ("failures over hours", vec![hour(2, 6, 4, 0, 0), hour(1, 6, 4, 0, 0)], demoted("8 of 12 calls failed")),
            ("good since", vec![hour(2, 100, 90, 0, 0), hour(1, 10, 0, 0, 0)], Standing::Good),
            ("good since, in any order", vec![hour(1, 10, 0, 0, 0), hour(2, 100, 90, 0, 0)], Standing::Good),
            ("long ago", vec![hour(6, 100, 90, 0, 0)], Standing::Good),
            ("wrong once", vec![hour(1, 1, 0, 1, 0)], demoted("1 answers in wrong units")),
            ("wrong before ten good calls", vec![hour(2, 1, 0, 1, 0), hour(1, 10, 0, 0, 0)], Standing::Good),
            ("slow", vec![hour(1, 10, 0, 0, 10_010)], demoted("1001 ms a call")),
            ("quick enough", vec![hour(1, 10, 0, 0, 10_000)], Standing::Good),
        ] {
            assert_eq!(standing(&hours, Instant(0), &POLICY), expected, "{name}");
        }
    }
}

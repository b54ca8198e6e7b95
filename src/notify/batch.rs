//! Batches: when an event that waits for one is due, and what a batch is called.

use sha2::{Digest, Sha256};

use crate::model::hex;
use crate::model::{Cron, Instant, Mode, Result};

/// Days that are looked through for the next time of a cron line.
const DAYS_MAX: i32 = 3_000;

/// From when on an event that was matched at `now` may go out.
pub fn due_at(mode: &Mode, now: Instant) -> Result<Instant> {
    match mode {
        Mode::Realtime => Ok(now),
        Mode::Batch { cron: Some(line), .. } => Ok(next_time(&Cron::parse(line)?, now)),
        Mode::Batch { delay_ms, .. } => Ok(now.plus_millis(i64::try_from(*delay_ms).unwrap_or(i64::MAX))),
    }
}

/// Whether a full batch goes out before its time.
pub fn goes_when_full(mode: &Mode) -> bool {
    matches!(mode, Mode::Batch { cron: None, .. })
}

/// The first time of a cron line after an instant, in Beijing.
pub fn next_time(cron: &Cron, after: Instant) -> Instant {
    let today = after.day();
    let days = today.to(today.plus(DAYS_MAX)).filter(|day| cron.is_on(*day));
    let times = days.flat_map(|day| cron.minutes().iter().map(move |minute| Instant::at(day, *minute)));
    times.into_iter().find(|at| *at > after).unwrap_or(Instant(i64::MAX))
}

/// The name of a request with these events: the same for the same events in the same order. One event has a name of its
/// own, whether it goes out alone or not.
pub fn request_id(epoch: &str, events: &[u64]) -> String {
    if let [event] = events {
        return format!("evt_{epoch}_{event}");
    }
    let mut digest = Sha256::new();
    events.iter().for_each(|event| digest.update(event.to_be_bytes()));
    let digest = hex(&digest.finalize()[..8]);
    let (first, last) = (events.first().copied().unwrap_or_default(), events.last().copied().unwrap_or_default());
    format!("bat_{epoch}_{first}_{last}_{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    #[test]
    fn a_nightly_batch_waits_for_its_night_in_beijing() {
        let nightly = |size| Mode::Batch { size, delay_ms: 5, cron: Some("0 2 * * *".to_owned()), pause_ms: 0 };
        for (now, expected) in [
            ("2026-01-05T01:59:59+08:00", "2026-01-05T02:00:00+08:00"),
            ("2026-01-05T02:00:00+08:00", "2026-01-06T02:00:00+08:00"),
            ("2026-01-05T23:00:00+08:00", "2026-01-06T02:00:00+08:00"),
        ] {
            assert_eq!(due_at(&nightly(100), at(now)).unwrap(), at(expected), "{now}");
        }
        let delayed = Mode::Batch { size: 10, delay_ms: 1_500, cron: None, pause_ms: 0 };
        assert_eq!(due_at(&delayed, at("2026-01-05T00:00:00Z")).unwrap(), at("2026-01-05T00:00:01.5Z"));
        assert_eq!(due_at(&Mode::Realtime, at("2026-01-05T00:00:00Z")).unwrap(), at("2026-01-05T00:00:00Z"));
        assert!(goes_when_full(&delayed) && !goes_when_full(&nightly(1)) && !goes_when_full(&Mode::Realtime));
    }

    #[test]
    fn a_request_is_named_by_its_events() {
        assert_eq!(request_id("ab", &[7]), "evt_ab_7");
        let name = request_id("ab", &[7, 9]);
        assert!(name.starts_with("bat_ab_7_9_") && !name.contains('.'), "{name}");
        assert_eq!(name, request_id("ab", &[7, 9]));
        for other in [&[7, 8, 9][..], &[9, 7], &[7, 10]] {
            assert_ne!(name, request_id("ab", other));
        }
    }
}

//! When the next request to an endpoint may go out: a rate, a pause that the endpoint asked for, and how many at once.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::Instant;

/// The pace of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Between two requests, in microseconds; 0: none.
    gap_micros: i64,
    /// The next one by the rate.
    next: Instant,
    /// The endpoint wants nothing before.
    not_before: Instant,
}

impl Pace {
    pub fn new(per_second: Option<f64>) -> Pace {
        Pace { gap_micros: gap(per_second), ..Pace::default() }
    }

    /// Another rate from now on; what the endpoint asked for stays.
    pub fn change(&mut self, per_second: Option<f64>) {
        self.gap_micros = gap(per_second);
    }

    /// Whether a request may go out now; then it is counted.
    pub fn take(&mut self, now: Instant) -> bool {
        if now < self.free_at() {
            return false;
        }
        self.next = Instant(now.0.saturating_add(self.gap_micros));
        true
    }

    /// When the next request may go out.
    pub fn free_at(&self) -> Instant {
        self.next.max(self.not_before)
    }

    /// The endpoint asked for silence, or a batch is followed by a pause. An earlier end does not shorten a later one.
    pub fn hold_until(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
    }

    /// A person wants it tried at once.
    pub fn release(&mut self) {
        self.not_before = Instant::default();
    }
}

/// What an endpoint asks for, told by an attempt as soon as it has the answer: before the answer is written down, nothing
/// further goes out.
#[derive(Debug, Default)]
pub struct Quiet(AtomicI64);

impl Quiet {
    /// It wants nothing before; the latest of several counts.
    pub fn ask(&self, until: Instant) {
        self.0.fetch_max(until.0, Ordering::SeqCst);
    }

    /// What was asked for since the last call; the beginning of time where nothing was.
    pub fn take(&self) -> Instant {
        Instant(self.0.swap(0, Ordering::SeqCst))
    }
}

fn gap(per_second: Option<f64>) -> i64 {
    match per_second {
        Some(rate) if rate > 0.0 => (1_000_000.0 / rate).round() as i64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_distance_and_never_save_up() {
        let mut pace = Pace::new(Some(4.0));
        let at = |millis: i64| Instant(1_000_000_000).plus_millis(millis);
        let taken: Vec<i64> = (0..2_000).filter(|millis| pace.take(at(*millis))).collect();
        assert_eq!(taken, [0, 250, 500, 750, 1000, 1250, 1500, 1750]);
        assert!(pace.take(at(9_000)) && !pace.take(at(9_249)) && pace.take(at(9_250)));
        let mut free = Pace::new(None);
        assert!(free.take(at(0)) && free.take(at(0)));
    }

    #[test]
    fn silence_that_was_asked_for_is_kept_whatever_the_rate() {
        let mut pace = Pace::new(None);
        pace.hold_until(Instant(50));
        pace.hold_until(Instant(20));
        assert!(!pace.take(Instant(49)) && pace.take(Instant(50)));
        pace.hold_until(Instant(90));
        pace.change(Some(1.0));
        assert_eq!(pace.free_at(), Instant(90));
        pace.release();
        assert!(pace.take(Instant(50)));
    }

    #[test]
    fn what_an_endpoint_asks_for_is_taken_once_and_the_latest_counts() {
        let quiet = Quiet::default();
        [50, 90, 20].into_iter().for_each(|until| quiet.ask(Instant(until)));
        assert_eq!([quiet.take(), quiet.take()], [Instant(90), Instant(0)]);
    }
}

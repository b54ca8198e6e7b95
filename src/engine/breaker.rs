//! Circuit breakers: when a source is asked, left alone, and tried again. Every decision is a pure function of a value;
//! `Breakers` keeps one value for each source as a whole and one for each of its datasets.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::model::{ErrorKind, Instant};

/// How patient we are with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Slices that fail one after the other until the source is left alone.
    pub failed_in_a_row_max: u32,
    /// How long it is left alone the first time; twice as long with each time that it has not recovered.
    pub cool_down_first_ms: u64,
    pub cool_down_cap_ms: u64,
}

/// What a source has just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A slice was answered.
    Answered,
    /// A slice was given up after its retries.
    SliceFailed,
    /// It said no, in a way that more questions do not change.
    Refused(ErrorKind),
    /// It answered in wrong units.
    Wrong,
}

/// Whether a source may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    Usable,
    /// Its time is over: one slice shows whether it has recovered.
    Probe,
    /// Nobody asks before then.
    AsideUntil(Instant),
}

/// What is remembered of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failed_in_a_row: u32,
    /// How often it was left alone since it last answered.
    trips: u32,
    aside_until: Option<Instant>,
    /// It was left alone because it said no, not because it could not be reached.
    refused: bool,
}

impl Breaker {
    /// The breaker after one more experience.
    pub fn hear(self, heard: Heard, now: Instant, policy: &BreakerPolicy) -> Breaker {
        match heard {
            // What was under way when the source was left alone proves nothing.
            Heard::Answered if self.aside_until.is_some_and(|until| until > now) => self,
            Heard::Answered => Breaker::default(),
            Heard::SliceFailed if self.aside_until.is_some_and(|until| until > now) => self,
            Heard::SliceFailed => {
                let failed = Breaker { failed_in_a_row: self.failed_in_a_row + 1, ..self };
                let enough = self.aside_until.is_some() || failed.failed_in_a_row >= policy.failed_in_a_row_max;
                if enough { failed.aside(now.plus_millis(self.cool_down_ms(policy)), false) } else { failed }
            }
            Heard::Refused(kind) => {
                let soonest = now.plus_millis(self.cool_down_ms(policy));
                let last = now.plus_millis(i64::try_from(policy.cool_down_cap_ms).unwrap_or(i64::MAX));
                let until = match kind {
                    ErrorKind::Throttled { until } => until.unwrap_or(soonest),
                    ErrorKind::QuotaGone { until } => until.unwrap_or(Instant::at(now.day().next(), 0)),
                    _ => last,
                };
                self.aside(until.max(soonest), true)
            }
            Heard::Wrong => {
                let until = now.plus_millis(i64::try_from(policy.cool_down_cap_ms).unwrap_or(i64::MAX));
                self.aside(until, true)
            }
        }
    }

    /// Whether the source may be asked at `now`.
    pub fn door(&self, now: Instant) -> Door {
        match self.aside_until {
            None => Door::Usable,
            Some(until) if until <= now => Door::Probe,
            Some(until) => Door::AsideUntil(until),
        }
    }

    fn aside(self, until: Instant, refused: bool) -> Breaker {
        let until = self.aside_until.map_or(until, |before| before.max(until));
        Breaker { failed_in_a_row: 0, trips: self.trips + 1, aside_until: Some(until), refused }
    }

    fn cool_down_ms(&self, policy: &BreakerPolicy) -> i64 {
        let doubled = policy.cool_down_first_ms.saturating_mul(1u64 << self.trips.min(32));
        i64::try_from(doubled.min(policy.cool_down_cap_ms)).unwrap_or(i64::MAX)
    }
}

/// A source as a whole, or one of its datasets.
type Key = (String, Option<String>);

/// The breakers of a process.
#[derive(Debug, Default)]
pub struct Breakers {
    known: Mutex<HashMap<Key, Breaker>>,
    /// Why each source was left alone last, in words.
    reasons: Mutex<HashMap<String, String>>,
}

impl Breakers {
    /// The breaker of a source as a whole, and that of one of its datasets.
    fn both(&self, source: &str, dataset: &str) -> [Breaker; 2] {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |dataset: Option<&str>| known.get(&(source.to_owned(), dataset.map(str::to_owned))).copied();
        [of(None).unwrap_or_default(), of(Some(dataset)).unwrap_or_default()]
    }

    /// Remembers in words why a source was left alone.
    pub fn explain(&self, source: &str, reason: String) {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).insert(source.to_owned(), reason);
    }

    pub fn reason(&self, source: &str) -> Option<String> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).get(source).cloned()
    }

    /// Until when `source` is left alone as a whole, and why.
    pub fn aside(&self, source: &str, now: Instant) -> Option<(Instant, Option<String>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&(source.to_owned(), None))?.door(now) {
            Door::AsideUntil(until) => Some((until, self.reason(source))),
            Door::Usable | Door::Probe => None,
        }
    }

    /// Whether `source` may be asked about `dataset`.
    pub fn door(&self, source: &str, dataset: &str, now: Instant) -> Door {
        self.both(source, dataset).iter().map(|breaker| breaker.door(now)).max().unwrap_or(Door::Usable)
    }

    /// As `door`, when nobody else is left to ask: what other datasets met does not count, unless it was a refusal.
    pub fn door_of_last(&self, source: &str, dataset: &str, now: Instant) -> Door {
        let [whole, own] = self.both(source, dataset);
        match (whole.door(now), own.door(now)) {
            (Door::AsideUntil(_), Door::Usable) if !whole.refused => Door::Usable,
            (whole, own) => whole.max(own),
        }
    }

    /// Remembers an experience with one dataset; `whole` when it concerns every dataset of the source. Failing slices
    /// count for both, because a source that cannot be reached fails everywhere. Returns the dataset's own door.
    pub fn hear(
        &self,
        source: &str,
        dataset: &str,
        heard: Heard,
        whole: bool,
        now: Instant,
        policy: &BreakerPolicy,
    ) -> Door {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let counts_for_both = matches!(heard, Heard::Answered | Heard::SliceFailed);
        for (key, counts) in [(None, whole || counts_for_both), (Some(dataset.to_owned()), !whole || counts_for_both)] {
            if counts {
                let breaker = known.entry((source.to_owned(), key)).or_default();
                *breaker = breaker.hear(heard, now, policy);
            }
        }
        let own = known.get(&(source.to_owned(), Some(dataset.to_owned()))).copied().unwrap_or_default();
        own.door(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Heard::*;

    const POLICY: BreakerPolicy =
        BreakerPolicy { failed_in_a_row_max: 2, cool_down_first_ms: 100, cool_down_cap_ms: 350 };

    fn ms(millis: i64) -> Instant {
        Instant(0).plus_millis(millis)
    }

    /// What was heard when, and the doors that follow.
    fn after(story: &[(i64, Heard)]) -> Breaker {
        story.iter().fold(Breaker::default(), |breaker, (at, heard)| breaker.hear(*heard, ms(*at), &POLICY))
    }

    #[test]
    fn failures_in_a_row_set_a_source_aside_and_each_failed_probe_doubles_the_time() {
        let aside = |until| Door::AsideUntil(ms(until));
        for (name, story, at, expected) in [
            ("fresh", vec![], 0, Door::Usable),
            ("one failure", vec![(0, SliceFailed)], 0, Door::Usable),
            ("an answer between", vec![(0, SliceFailed), (1, Answered), (2, SliceFailed)], 2, Door::Usable),
            ("two in a row", vec![(0, SliceFailed), (1, SliceFailed)], 1, aside(101)),
            ("its time is over", vec![(0, SliceFailed), (1, SliceFailed)], 101, Door::Probe),
            ("late failures", vec![(0, SliceFailed), (1, SliceFailed), (2, SliceFailed)], 2, aside(101)),
            ("a late answer", vec![(0, SliceFailed), (1, SliceFailed), (2, Answered)], 2, aside(101)),
            ("the probe fails", vec![(0, SliceFailed), (1, SliceFailed), (101, SliceFailed)], 101, aside(301)),
            ("the probe answers", vec![(0, SliceFailed), (1, SliceFailed), (101, Answered)], 101, Door::Usable),
        ] {
            assert_eq!(after(&story).door(ms(at)), expected, "{name}");
        }
        let hopeless = [(0, SliceFailed), (0, SliceFailed), (100, SliceFailed), (300, SliceFailed), (650, SliceFailed)];
        assert_eq!(after(&hopeless).door(ms(650)), aside(1_000), "the time grows to its cap");
        let recovered = [(0, SliceFailed), (0, SliceFailed), (100, Answered), (101, SliceFailed), (102, SliceFailed)];
        assert_eq!(after(&recovered).door(ms(102)), aside(202), "after recovery it begins anew");
    }

    #[test]
    fn each_refusal_lasts_as_long_as_its_kind_says() {
        let midnight = Instant::at(ms(0).day().next(), 0);
        for (heard, expected) in [
            (Refused(ErrorKind::Throttled { until: Some(ms(5_000)) }), ms(5_000)),
            (Refused(ErrorKind::Throttled { until: Some(ms(1)) }), ms(100)),
            (Refused(ErrorKind::Throttled { until: None }), ms(100)),
            (Refused(ErrorKind::QuotaGone { until: Some(ms(9_000)) }), ms(9_000)),
            (Refused(ErrorKind::QuotaGone { until: None }), midnight),
            (Refused(ErrorKind::Denied), ms(350)),
            (Wrong, ms(350)),
        ] {
            assert_eq!(after(&[(0, heard)]).door(ms(0)), Door::AsideUntil(expected), "{heard:?}");
            assert_eq!(after(&[(0, heard)]).door(expected), Door::Probe, "{heard:?}");
        }
    }

    #[test]
    fn a_refused_token_closes_every_dataset_and_a_refused_table_only_itself() {
        let breakers = Breakers::default();
        let hear = |source, dataset, heard, whole| breakers.hear(source, dataset, heard, whole, ms(0), &POLICY);
        let aside = Door::AsideUntil(ms(350));
        assert_eq!(hear("tushare", "daily", Refused(ErrorKind::Denied), false), aside);
        assert_eq!(breakers.door("tushare", "weekly", ms(0)), Door::Usable);
        assert_eq!(hear("tushare", "daily", Refused(ErrorKind::Denied), true), aside);
        assert_eq!(breakers.door("tushare", "weekly", ms(0)), aside);
        assert_eq!(breakers.door_of_last("tushare", "weekly", ms(0)), aside);
        assert_eq!(breakers.door("baostock", "daily", ms(0)), Door::Usable);
    }

    #[test]
    fn an_unreachable_source_is_left_alone_by_all_datasets_but_tried_when_it_is_the_last() {
        let breakers = Breakers::default();
        for _ in 0..2 {
            breakers.hear("tushare", "daily", SliceFailed, false, ms(0), &POLICY);
        }
        let aside = Door::AsideUntil(ms(100));
        assert_eq!(breakers.door("tushare", "weekly", ms(0)), aside);
        assert_eq!(breakers.door_of_last("tushare", "weekly", ms(0)), Door::Usable);
        assert_eq!(breakers.door_of_last("tushare", "daily", ms(0)), aside, "its own failures count");
        assert_eq!(breakers.hear("tushare", "weekly", Answered, false, ms(100), &POLICY), Door::Usable);
    }
}

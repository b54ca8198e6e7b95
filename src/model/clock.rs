//! Wall-clock time through one type, so that any run can be repeated. The exchange lives at +08:00 all year.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, tz::Offset};

use super::day::Day;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub i64);

const SHANGHAI: Offset = Offset::constant(8);

impl Instant {
    pub fn from_timestamp(timestamp: Timestamp) -> Instant {
        Instant(timestamp.as_microsecond())
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::MAX)
    }

    /// `minutes` after midnight of `day` in Beijing; may pass midnight (`25 * 60` is 01:00 of the next day).
    pub fn at(day: Day, minutes: i32) -> Instant {
        Instant((i64::from(day.0) * 1440 + i64::from(minutes) - 480) * 60_000_000)
    }

    /// The day it is in Beijing.
    pub fn day(self) -> Day {
        Day((self.0 + 480 * 60_000_000).div_euclid(86_400_000_000) as i32)
    }

    /// Minutes since midnight in Beijing.
    pub fn minute_of_day(self) -> i32 {
        ((self.0 + 480 * 60_000_000).rem_euclid(86_400_000_000) / 60_000_000) as i32
    }

    pub fn plus_seconds(self, seconds: i64) -> Instant {
        self.plus_millis(seconds.saturating_mul(1000))
    }

    pub fn plus_millis(self, millis: i64) -> Instant {
        Instant(self.0.saturating_add(millis.saturating_mul(1000)))
    }

    pub fn millis_since(self, earlier: Instant) -> i64 {
        (self.0 - earlier.0) / 1000
    }

    /// Reads RFC 3339 text.
    pub fn parse(text: &str) -> Option<Instant> {
        text.parse::<Timestamp>().ok().map(Instant::from_timestamp)
    }
}

/// RFC 3339 with the Beijing offset: `2024-01-31T18:00:00.125+08:00`.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = SHANGHAI.to_datetime(self.timestamp());
        let millis = local.subsec_nanosecond() / 1_000_000;
        write!(f, "{}T{:02}:{:02}:{:02}", Day::from_date(local.date()), local.hour(), local.minute(), local.second())?;
        if millis > 0 {
            write!(f, ".{millis:03}")?;
        }
        f.write_str("+08:00")
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The time source that is handed to whatever needs "now". Tests and the demo fix or shift it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Clock {
    pub fn system() -> Clock {
        Clock(Arc::new(|| Instant::from_timestamp(Timestamp::now())))
    }

    pub fn fixed(at: Instant) -> Clock {
        Clock(Arc::new(move || at))
    }

    /// Time as somebody else tells it.
    pub fn told_by(now: impl Fn() -> Instant + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// Runs at the speed of the system clock, but started at `start`.
    pub fn starting_at(start: Instant) -> Clock {
        let origin = Timestamp::now();
        Clock(Arc::new(move || {
            let passed: SignedDuration = Timestamp::now().duration_since(origin);
            Instant(start.0 + passed.as_micros() as i64)
        }))
    }

    /// Whatever `now` says; tests drive it.
    pub fn from_fn(now: impl Fn() -> Instant + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    pub fn now(&self) -> Instant {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beijing_days_begin_at_16_utc() {
        let evening = Instant::parse("2024-01-31T15:59:59Z").unwrap();
        assert_eq!(evening.day().to_string(), "2024-01-31");
        assert_eq!(evening.plus_seconds(1).day().to_string(), "2024-02-01");
        assert_eq!(Instant::at(Day::parse("20240131").unwrap(), 18 * 60).to_string(), "2024-01-31T18:00:00+08:00");
        assert_eq!(Instant::parse("2024-01-31T18:00:00+08:00").unwrap().minute_of_day(), 1080);
    }
}

//! What an answer means for a delivery, and when the next attempt is. Pure: no clock, no chance of its own.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::client::Exchange;
use crate::model::Instant;

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It has arrived.
    Delivered,
    /// It is tried again by the schedule.
    Retry,
    /// The receiver asks for patience: nothing goes to it for so long, or as long as the schedule says.
    Slow { wait: Option<Duration> },
    /// The receiver will never take it (400, 422): no further attempt, and a person must look.
    Refused,
    /// The receiver is gone for good (410): the subscription ends.
    Gone,
}

impl Meaning {
    pub fn of(exchange: &Exchange, now: Instant, wait_max: Duration) -> Meaning {
        match &exchange.answer {
            Ok(answer) => Meaning::of_status(answer.status, answer.retry_after.as_deref(), now, wait_max),
            Err(_) => Meaning::Retry,
        }
    }

    /// Only 2xx is a success. A redirect is a failure and is not followed.
    pub fn of_status(status: u16, retry_after: Option<&str>, now: Instant, wait_max: Duration) -> Meaning {
        match status {
            200..300 => Meaning::Delivered,
            400 | 422 => Meaning::Refused,
            410 => Meaning::Gone,
            429 | 502 | 503 | 504 => {
                let wait = retry_after.and_then(|text| parse_retry_after(text, now));
                Meaning::Slow { wait: wait.map(|wait| wait.min(wait_max)) }
            }
            _ => Meaning::Retry,
        }
    }
}

/// How long a `Retry-After` asks to wait: whole seconds, or a date in one of the three forms of HTTP. A date that has passed is
/// no wait; `None` for what is neither.
pub fn parse_retry_after(text: &str, now: Instant) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than 64 bits hold are a very long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = http_date(text)?;
    let micros = at.0.saturating_sub(now.0).max(0);
    Some(Duration::from_micros(micros.unsigned_abs()))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or `Sun Nov  6 08:49:37 1994`, whatever day of the week
/// it claims to be.
fn http_date(text: &str) -> Option<Instant> {
    const FORMS: [&str; 3] = ["%d %b %Y %H:%M:%S GMT", "%d-%b-%y %H:%M:%S GMT", "%b %e %H:%M:%S %Y"];
    let (_, behind_weekday) = text.split_once(' ')?;
    let read = |form: &&str| DateTime::strptime(form, behind_weekday).ok();
    let zoned = FORMS.iter().find_map(read)?.to_zoned(TimeZone::UTC).ok()?;
    Some(Instant::from_timestamp(zoned.timestamp()))
}

/// Waits between the attempts of one delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// Before the second attempt, the third, ...; behind the last one there is none.
    pub waits: Vec<Duration>,
    /// The share of a wait by which it may be longer: 0.1 is up to a tenth.
    pub jitter: f64,
}

impl Retries {
    pub fn attempts_max(&self) -> u32 {
        u32::try_from(self.waits.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How long to wait after so many attempts; `None` when none is left. `roll` is a chance from 0 to 1; what the receiver
    /// asked for counts exactly, but nobody is asked again sooner than the first wait.
    pub fn wait(&self, attempts: u32, roll: f64, asked: Option<Duration>) -> Option<Duration> {
        let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
        let wait = *self.waits.get(index)?;
        match asked {
            Some(asked) => Some(asked.max(self.waits[0])),
            None => Some(
                wait.saturating_add(
                    Duration::try_from_secs_f64(
                        wait.as_secs_f64() * self.jitter.clamp(0.0, 1.0) * roll.clamp(0.0, 1.0),
                    )
                    .unwrap_or_default(),
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::client::{Fault, FaultCode};

    fn now() -> Instant {
        Instant::parse("1994-11-06T08:49:00Z").unwrap()
    }

    const WAIT_MAX: Duration = Duration::from_secs(86_400);

    #[test]
    fn answers_mean_what_the_standard_says() {
        let slow = |seconds: Option<u64>| Meaning::Slow { wait: seconds.map(Duration::from_secs) };
        for (status, retry_after, expected) in [
            (200, None, Meaning::Delivered),
            (204, None, Meaning::Delivered),
            (299, Some("5"), Meaning::Delivered),
            (301, None, Meaning::Retry),
            (304, None, Meaning::Retry),
            (308, None, Meaning::Retry),
            (100, None, Meaning::Retry),
            (400, Some("5"), Meaning::Refused),
            (422, None, Meaning::Refused),
            (410, None, Meaning::Gone),
            (401, None, Meaning::Retry),
            (403, None, Meaning::Retry),
            (404, None, Meaning::Retry),
            (408, None, Meaning::Retry),
            (429, Some("3600"), slow(Some(3600))),
            (429, None, slow(None)),
            (429, Some("soon"), slow(None)),
            (429, Some("99999999999999999999999"), slow(Some(86_400))),
            (502, Some("0"), slow(Some(0))),
            (503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), slow(Some(37))),
            (504, Some("Sun, 06 Nov 2094 08:49:37 GMT"), slow(Some(86_400))),
            (500, Some("5"), Meaning::Retry),
            (507, None, Meaning::Retry),
            (999, None, Meaning::Retry),
        ] {
            assert_eq!(Meaning::of_status(status, retry_after, now(), WAIT_MAX), expected, "{status} {retry_after:?}");
        }
        let fault = Fault { code: FaultCode::Refused, detail: String::new() };
        let exchange = Exchange { took: Duration::ZERO, address: None, answer: Err(fault) };
        assert_eq!(Meaning::of(&exchange, now(), WAIT_MAX), Meaning::Retry);
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_in_three_forms_of_dates() {
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(37)),
            ("Sun Nov  6 08:49:37 1994", Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("+5", None),
            ("5 seconds", None),
            ("Sun, 06 Nov 1994 08:49:37 +0800", None),
            ("1994-11-06T08:49:37Z", None),
        ] {
            assert_eq!(parse_retry_after(text, now()), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn waits_follow_the_schedule_with_jitter_and_end() {
        let seconds = |seconds: &[u64]| seconds.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        let retries = Retries { waits: seconds(&[1, 2, 4]), jitter: 0.1 };
        assert_eq!(retries.attempts_max(), 4);
        for (attempts, roll, asked_ms, expected_ms) in [
            (0, 0.0, None, None),
            (1, 0.0, None, Some(1000)),
            (1, 1.0, None, Some(1100)),
            (2, 0.5, None, Some(2100)),
            (3, 1.0, None, Some(4400)),
            (4, 0.0, None, None),
            (u32::MAX, 0.0, None, None),
            (1, 1.0, Some(3_600_000), Some(3_600_000)),
            (3, 1.0, Some(1_500), Some(1_500)),
            (3, 1.0, Some(0), Some(1000)),
            (4, 1.0, Some(5), None),
            (1, f64::NAN, None, Some(1000)),
        ] {
            let found = retries.wait(attempts, roll, asked_ms.map(Duration::from_millis));
            assert_eq!(found, expected_ms.map(Duration::from_millis), "{attempts} {roll} {asked_ms:?}");
        }
        assert_eq!(Retries { waits: Vec::new(), jitter: 0.1 }.wait(1, 0.0, Some(Duration::ZERO)), None);
    }
}

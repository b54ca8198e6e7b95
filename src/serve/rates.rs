//! How often somebody may do something: so many times a minute, in one go or spread out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant as Moment;

/// Counted at the same time. With more, those that have been quiet are forgotten first.
const COUNTED_MAX: usize = 20_000;

/// A bucket for everybody, filled evenly.
pub struct Rates {
    /// `None`: no limit.
    per_minute: Option<f64>,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    left: f64,
    at: Moment,
}

impl Rates {
    /// `per_minute` 0: no limit.
    pub fn new(per_minute: u32) -> Rates {
        let per_minute = (per_minute > 0).then_some(f64::from(per_minute));
        Rates { per_minute, buckets: Mutex::default() }
    }

    /// Takes one, or says after how many seconds there is one.
    pub fn take(&self, who: &str) -> Result<(), u32> {
        let Some(per_minute) = self.per_minute else { return Ok(()) };
        let now = Moment::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |bucket: &Bucket| {
            (bucket.left + now.duration_since(bucket.at).as_secs_f64() * per_minute / 60.0).min(per_minute)
        };
        if buckets.len() >= COUNTED_MAX && !buckets.contains_key(who) {
            buckets.retain(|_, bucket| filled(bucket) < per_minute);
            // Everybody is busy: nobody new is let in until somebody has been quiet.
            if buckets.len() >= COUNTED_MAX {
                return Err(1);
            }
        }
        let bucket = buckets.entry(who.to_string()).or_insert(Bucket { left: per_minute, at: now });
        bucket.left = filled(bucket);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err((((1.0 - bucket.left) * 60.0 / per_minute).ceil() as u32).max(1));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_used_up_a_minute_waits_and_others_do_not() {
        let rates = Rates::new(2);
        assert_eq!([rates.take("a"), rates.take("a"), rates.take("a")], [Ok(()), Ok(()), Err(30)]);
        assert_eq!(rates.take("b"), Ok(()));
        assert!((0..1000).all(|_| Rates::new(0).take("a").is_ok()));
    }

    #[test]
    fn the_number_of_those_who_are_counted_is_bounded() {
        let rates = Rates::new(1);
        let refused = (0..COUNTED_MAX + 10).filter(|number| rates.take(&number.to_string()).is_err()).count();
        assert_eq!(refused, 10);
        assert_eq!(rates.buckets.lock().unwrap().len(), COUNTED_MAX);
    }
}

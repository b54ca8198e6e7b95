//! How an intake stands, for people: kept in the store by whoever runs it, so that any process can show it.

use serde::{Deserialize, Serialize};

/// What an intake is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Nobody has run it yet.
    #[default]
    Waiting,
    Running,
    /// It failed, and is tried again.
    Failing,
    /// It failed, and only a person can mend it.
    Stuck,
    Paused,
}

impl Doing {
    pub fn name(self) -> &'static str {
        match self {
            Doing::Waiting => "waiting",
            Doing::Running => "running",
            Doing::Failing => "failing",
            Doing::Stuck => "stuck",
            Doing::Paused => "paused",
        }
    }
}

/// The state of an intake.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    pub doing: Doing,
    /// Since when it does that.
    pub since: Option<String>,
    /// When this was written.
    pub at: Option<String>,
    /// What is wrong, and what to do about it.
    pub error: Option<String>,
    pub hint: Option<String>,
    /// Failures in a row, and when it is tried again.
    pub failures: u32,
    pub next_try: Option<String>,
    /// How much waits at the other side, in rows, bytes or entries; absent: not known.
    pub lag: Option<u64>,
    pub lagging: bool,
    pub published: u64,
    /// Taken again after a fault, and known already.
    pub repeated: u64,
    pub refused: u64,
    /// Messages that do not count: of other prefixes, or sent outside of transactions.
    pub ignored: u64,
    pub worker: Option<String>,
}

/// Whether lag has become news: it is raised beyond the limit and cleared at half of it, so that it does not flutter.
pub fn lagging(was: bool, lag: Option<u64>, limit: u64) -> bool {
    match lag {
        None => was,
        Some(lag) if was => lag > limit / 2,
        Some(lag) => lag > limit,
    }
}

/// Milliseconds before the next try after so many failures in a row.
pub fn wait_ms(failures: u32, first_ms: u64, cap_ms: u64) -> u64 {
    let doublings = failures.saturating_sub(1).min(30);
    first_ms.saturating_mul(1 << doublings).min(cap_ms).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_raised_beyond_its_limit_and_cleared_at_half_of_it() {
        for (was, lag, expected) in [
            (false, Some(100), false),
            (false, Some(101), true),
            (true, Some(51), true),
            (true, Some(50), false),
            (true, None, true),
            (false, None, false),
            (false, Some(1), false),
        ] {
            assert_eq!(lagging(was, lag, 100), expected, "{was} {lag:?}");
        }
    }

    #[test]
    fn waits_double_up_to_their_cap_and_are_never_nothing() {
        let waits = [0, 1, 2, 3, 10, 1000].map(|failures| wait_ms(failures, 500, 60_000));
        assert_eq!(waits, [500, 500, 1000, 2000, 60_000, 60_000]);
        assert_eq!(wait_ms(1, 0, 0), 1);
    }

    #[test]
    fn a_standing_of_another_version_is_read_as_far_as_it_goes() {
        let read: Standing = serde_json::from_str(r#"{"doing": "failing", "lag": 3, "later": true}"#).unwrap();
        assert_eq!((read.doing, read.lag, read.refused), (Doing::Failing, Some(3), 0));
    }
}

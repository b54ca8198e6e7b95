//! Positions in PostgreSQL's log.

use std::fmt;
use std::str::FromStr;

use crate::model::Error;

/// A position in the log; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// `0/1528938`.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Lsn, Error> {
        let half = |half: &str| {
            let plain = (1..=8).contains(&half.len()) && half.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(half, 16).ok()).flatten()
        };
        let halves = text.split_once('/').and_then(|(high, low)| Some(half(high)? << 32 | half(low)?));
        halves.map(Lsn).ok_or_else(|| Error::invalid("a position in PostgreSQL's log is written like 0/1528938"))
    }
}

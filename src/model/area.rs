//! Areas (which securities x which days) and slices (an area that one source answers).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::day::Day;

/// Days from `from` to `to`, both included. Report periods are the days on which they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub from: Day,
    pub to: Day,
}

impl Span {
    /// All time, rows without a date included.
    pub const ALL: Span = Span { from: Day::MIN, to: Day::MAX };

    pub fn new(from: Day, to: Day) -> Span {
        Span { from, to }
    }

    pub fn day(day: Day) -> Span {
        Span { from: day, to: day }
    }

    pub fn is_all(self) -> bool {
        self == Span::ALL
    }

    pub fn is_empty(self) -> bool {
        self.from > self.to
    }

    pub fn contains(self, day: Day) -> bool {
        self.from <= day && day <= self.to
    }

    pub fn intersect(self, other: Span) -> Option<Span> {
        let span = Span { from: self.from.max(other.from), to: self.to.min(other.to) };
        (!span.is_empty()).then_some(span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from == Day::MIN, self.to == Day::MAX) {
            (true, true) => f.write_str("all time"),
            (true, false) => write!(f, "up to {}", self.to),
            (false, true) => write!(f, "from {}", self.from),
            (false, false) if self.from == self.to => write!(f, "{}", self.from),
            (false, false) => write!(f, "{}..{}", self.from, self.to),
        }
    }
}

/// Which securities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Securities {
    All,
    /// Canonical codes (`000001.SZ`), sorted.
    Some(BTreeSet<Arc<str>>),
}

impl Securities {
    pub fn one(code: impl Into<Arc<str>>) -> Securities {
        Securities::Some(BTreeSet::from([code.into()]))
    }

    /// The code when exactly one security is meant.
    pub fn single(&self) -> Option<&Arc<str>> {
        match self {
            Securities::Some(codes) if codes.len() == 1 => codes.first(),
            _ => None,
        }
    }

    pub fn contains(&self, code: &str) -> bool {
        match self {
            Securities::All => true,
            Securities::Some(codes) => codes.contains(code),
        }
    }
}

impl fmt::Display for Securities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Securities::All => f.write_str("all"),
            Securities::Some(codes) if codes.len() <= 3 => {
                f.write_str(&codes.iter().map(|code| &**code).collect::<Vec<_>>().join(","))
            }
            Securities::Some(codes) => write!(f, "{} securities", codes.len()),
        }
    }
}

/// A rectangle of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Area {
    pub securities: Securities,
    pub span: Span,
}

impl Area {
    pub fn new(securities: Securities, span: Span) -> Area {
        Area { securities, span }
    }

    pub fn whole() -> Area {
        Area { securities: Securities::All, span: Span::ALL }
    }

    pub fn day(day: Day) -> Area {
        Area { securities: Securities::All, span: Span::day(day) }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.securities, self.span)
    }
}

/// The unit of fetching, retrying, failing and resuming. Its securities are all or exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub dataset: Arc<str>,
    pub area: Area,
    /// Which of the source's cuts bounds the calls: an index into `Offer::cuts`.
    pub cut: usize,
    /// Calls that the planner expects (facets x pages).
    pub calls: u32,
    /// Rows that the planner expects.
    pub rows: u64,
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dataset, self.area)
    }
}

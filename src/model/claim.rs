//! Claims: what the ledger says of areas. Coverage is their union; holes are what it leaves open.

use std::collections::HashMap;
use std::sync::Arc;

use super::area::{Area, Securities, Span};
use super::clock::Instant;
use super::code::Exchanges;
use super::day::Day;

/// Why the ledger believes an area is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The source answered with rows.
    Present,
    /// The source answered, and there are no rows.
    Empty,
    /// The answer had far fewer rows than expected.
    Partial,
}

impl Evidence {
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Present => "present",
            Evidence::Empty => "empty",
            Evidence::Partial => "partial",
        }
    }

    pub fn from_name(name: &str) -> Option<Evidence> {
        [Evidence::Present, Evidence::Empty, Evidence::Partial].into_iter().find(|evidence| evidence.name() == name)
    }
}

/// What the ledger says of one area. Claims of one dataset and the same securities never overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub area: Area,
    pub evidence: Evidence,
    pub source: Arc<str>,
    /// Rows in the area when it was claimed.
    pub rows: u64,
    pub at: Instant,
    /// `None`: final. `Some(t)`: provisional, to be asked again from `t` on.
    pub stale_at: Option<Instant>,
    /// Exchanges that the claim says nothing of, although its area holds all securities: its source has none of theirs.
    pub lacks: Exchanges,
}

impl Claim {
    /// Whether the area need not be asked for now.
    pub fn holds_at(&self, now: Instant) -> bool {
        self.stale_at.is_none_or(|stale_at| now < stale_at)
    }
}

/// All claims of one dataset, as a value for planning and auditing.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Claims over all securities, sorted by day, without overlap.
    pub market: Vec<Claim>,
    /// Claims over one security, sorted by day, without overlap.
    pub security: HashMap<Arc<str>, Vec<Claim>>,
    /// Rows stored by day (or period), sorted by day; kept by the commits themselves.
    pub rows_by_day: Vec<(Day, u64)>,
}

impl Coverage {
    pub fn from_claims(claims: impl IntoIterator<Item = Claim>, rows_by_day: Vec<(Day, u64)>) -> Coverage {
        let mut coverage = Coverage { rows_by_day, ..Coverage::default() };
        for claim in claims {
            match &claim.area.securities {
                Securities::All => coverage.market.push(claim),
                Securities::Some(codes) => {
                    let Some(code) = codes.first().cloned() else { continue };
                    coverage.security.entry(code).or_default().push(claim);
                }
            }
        }
        coverage.market.sort_by_key(|claim| claim.area.span);
        coverage.security.values_mut().for_each(|claims| claims.sort_by_key(|claim| claim.area.span));
        coverage
    }

    pub fn is_empty(&self) -> bool {
        self.market.is_empty() && self.security.is_empty()
    }

    /// The claim over the whole market that holds `day`, whatever its state.
    pub fn market_claim(&self, day: Day) -> Option<&Claim> {
        find(&self.market, day)
    }

    /// The claim over one security (not the market) that holds `day`.
    pub fn security_claim(&self, code: &str, day: Day) -> Option<&Claim> {
        find(self.security.get(code)?, day)
    }

    /// Rows stored for `day`.
    pub fn rows_on(&self, day: Day) -> u64 {
        self.rows_by_day.binary_search_by_key(&day, |(at, _)| *at).map_or(0, |index| self.rows_by_day[index].1)
    }

    /// Rows stored in `span`.
    pub fn rows_in(&self, span: Span) -> u64 {
        let first = self.rows_by_day.partition_point(|(day, _)| *day < span.from);
        self.rows_by_day[first..].iter().take_while(|(day, _)| *day <= span.to).map(|(_, rows)| rows).sum()
    }
}

fn find(claims: &[Claim], day: Day) -> Option<&Claim> {
    let after = claims.partition_point(|claim| claim.area.span.from <= day);
    claims[..after].last().filter(|claim| claim.area.span.contains(day))
}

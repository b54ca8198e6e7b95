//! Securities: one identity, dated codes, listed and delisted days. The universe of a day includes the delisted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::area::{self, Span};
use super::code::Exchanges;
use super::day::Day;
use super::error::{Error, Result};

/// One security.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// The current canonical code: `000001.SZ`.
    pub code: Arc<str>,
    pub name: String,
    pub listed: Day,
    /// The first day on which it is no longer listed; `None` while it is.
    pub delisted: Option<Day>,
    /// Codes that it had before (`830799.BJ` became `920799.BJ`). Sources answer with the current one.
    pub former: Vec<Arc<str>>,
}

impl Security {
    /// The days on which it can trade.
    pub fn life(&self) -> Span {
        Span::new(self.listed, self.delisted.map_or(Day::MAX, Day::previous))
    }
}

/// Every security ever listed, sorted by code.
#[derive(Clone, Debug, Default)]
pub struct Securities {
    all: Vec<Security>,
    by_code: HashMap<Arc<str>, usize>,
    listed: Vec<Day>,
    delisted: Vec<Day>,
}

impl Securities {
    pub fn new(mut all: Vec<Security>) -> Securities {
        all.sort_by(|a, b| a.code.cmp(&b.code));
        all.dedup_by(|a, b| a.code == b.code);
        let mut by_code = HashMap::with_capacity(all.len());
        for (index, security) in all.iter().enumerate() {
            for former in &security.former {
                by_code.entry(former.clone()).or_insert(index);
            }
        }
        for (index, security) in all.iter().enumerate() {
            by_code.insert(security.code.clone(), index);
        }
        let mut listed: Vec<Day> = all.iter().map(|security| security.listed).collect();
        let mut delisted: Vec<Day> = all.iter().filter_map(|security| security.delisted).collect();
        listed.sort_unstable();
        delisted.sort_unstable();
        Securities { all, by_code, listed, delisted }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Security> {
        self.all.iter()
    }

    /// Finds a security by its current or a former code.
    pub fn get(&self, code: &str) -> Option<&Security> {
        self.by_code.get(code).map(|index| &self.all[*index])
    }

    /// Those that are not listed on one of these exchanges.
    pub fn without(&self, exchanges: &Exchanges) -> Securities {
        Securities::new(self.iter().filter(|security| !exchanges.contains(&security.code)).cloned().collect())
    }

    /// How many are listed on `day`.
    pub fn listed_on(&self, day: Day) -> usize {
        let born = self.listed.partition_point(|listed| *listed <= day);
        let gone = self.delisted.partition_point(|delisted| *delisted <= day);
        born.saturating_sub(gone)
    }

    /// The codes that a bare six-digit code can mean.
    pub fn matching(&self, digits: &str) -> Vec<&Security> {
        let starts = |code: &str| code.strip_prefix(digits).is_some_and(|rest| rest.starts_with('.'));
        let matches =
            |security: &&Security| starts(&security.code) || security.former.iter().any(|former| starts(former));
        self.all.iter().filter(matches).collect()
    }

    /// Codes as people write them, as canonical ones; none mean all.
    pub fn chosen_by(&self, codes: &[String]) -> Result<area::Securities> {
        if codes.is_empty() {
            return Ok(area::Securities::All);
        }
        let codes: Result<BTreeSet<Arc<str>>> = codes.iter().map(|code| self.meant_by(code)).collect();
        codes.map(area::Securities::Some)
    }

    /// The code that people mean, as the canonical one. Bare digits must name exactly one known security, as far as any
    /// is known.
    pub fn meant_by(&self, code: &str) -> Result<Arc<str>> {
        let code = code.trim();
        let is_bare = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
        if is_bare && !self.is_empty() {
            let matching = self.matching(code);
            return match matching.as_slice() {
                [one] => Ok(one.code.clone()),
                [] => Err(Error::not_found(format!("no security has the code {code}"))
                    .hint("see `tidegate show stock_basic`; indices need their suffix, such as 000300.SH")),
                several => {
                    let codes: Vec<&str> = several.iter().map(|security| &*security.code).collect();
                    Err(Error::invalid(format!("{code} can mean {}", codes.join(" or "))).hint("add the suffix"))
                }
            };
        }
        let canonical = super::code::canonical(code);
        canonical.map(Arc::from).ok_or_else(|| {
            Error::invalid(format!("{code:?} is not a security code")).hint("write 000001.SZ, 600519.SH or 920001.BJ")
        })
    }
}

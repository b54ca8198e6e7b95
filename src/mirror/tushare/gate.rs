//! Who may ask for what, and how often: tokens, points tiers and quotas as the real service enforces them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::dialect::tushare::{Refusal, tier};
use crate::model::dataset::Tushare;
use crate::model::{Day, Instant};

/// A token that is let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub token: String,
    pub points: u32,
}

/// The token is not shown.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("points", &self.points).finish_non_exhaustive()
    }
}

/// The gate of a mirror. Without accounts every token is let in, as one account with the points of the highest tier.
#[derive(Debug)]
pub struct Gate {
    accounts: Vec<Account>,
    enforce_points: bool,
    enforce_quota: bool,
    used: Mutex<HashMap<(usize, String), Used>>,
}

/// Calls that one account made of one API.
#[derive(Debug, Default)]
struct Used {
    /// Within the last minute, oldest first; never more than the limit by minute.
    recent: VecDeque<Instant>,
    day: Day,
    today: u64,
}

const HIGHEST: u32 = 15_000;
const WINDOW_MILLIS: i64 = 60_000;

impl Gate {
    pub fn new(accounts: Vec<Account>, enforce_points: bool, enforce_quota: bool) -> Gate {
        Gate { accounts, enforce_points, enforce_quota, used: Mutex::default() }
    }

    /// Counts a call that is let in; says why one is not. Refused calls are not counted.
    pub fn enter(&self, token: &str, table: &Tushare, now: Instant) -> Result<(), Refusal> {
        let account = self.account(token)?;
        let points = self.accounts.get(account).map_or(HIGHEST, |account| account.points);
        let allowed = tier::allowance(points, table);
        if allowed.is_none() && self.enforce_points {
            return Err(Refusal::NoPermission { api: table.api.clone() });
        }
        if !self.enforce_quota {
            return Ok(());
        }
        let Some(allowed) = allowed.or_else(|| tier::allowance(HIGHEST, table)) else { return Ok(()) };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(day_max) = allowed.per_day {
            let counted = if allowed.day_in_total { String::new() } else { table.api.clone() };
            let used = used.entry((account, counted)).or_default();
            used.turn(now);
            if used.today >= day_max {
                return Err(Refusal::PerDay { times: day_max });
            }
        }
        let minute = used.entry((account, table.api.clone())).or_default();
        minute.turn(now);
        if minute.recent.len() >= allowed.per_minute as usize {
            return Err(Refusal::PerMinute { times: allowed.per_minute });
        }
        minute.recent.push_back(now);
        minute.today += 1;
        if allowed.day_in_total {
            used.entry((account, String::new())).or_default().today += 1;
        }
        Ok(())
    }

    /// The place of the token's account.
    fn account(&self, token: &str) -> Result<usize, Refusal> {
        if self.accounts.is_empty() {
            return Ok(0);
        }
        self.accounts.iter().position(|account| same(account.token.as_bytes(), token.as_bytes())).ok_or(Refusal::Token)
    }
}

impl Used {
    /// Forgets what lies outside of the windows at `now`.
    fn turn(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|at| now.millis_since(*at) >= WINDOW_MILLIS) {
            self.recent.pop_front();
        }
        if self.day != now.day() {
            (self.day, self.today) = (now.day(), 0);
        }
    }
}

/// Compares without telling by its duration where the first difference is.
pub(in crate::mirror) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(api: &str, points: u32, own: &str) -> Tushare {
        toml::from_str(&format!("api = \"{api}\"\npoints = {points}\ncuts = []\n{own}")).unwrap()
    }

    fn at(text: &str) -> Instant {
        Instant::parse(&format!("2024-01-31T{text}+08:00")).unwrap()
    }

    fn account(token: &str, points: u32) -> Account {
        Account { token: token.to_string(), points }
    }

    #[test]
    fn tokens_and_points_are_checked() {
        let gate = Gate::new(vec![account("a", 120), account("b", 5000)], true, false);
        let (daily, special) = (table("daily", 120, ""), table("hm_detail", 10_000, ""));
        let now = at("10:00:00");
        let denied = Refusal::NoPermission { api: "hm_detail".to_string() };
        for (token, table, expected) in [
            ("a", &daily, Ok(())),
            ("b", &daily, Ok(())),
            ("b", &special, Err(denied)),
            ("c", &daily, Err(Refusal::Token)),
            ("", &daily, Err(Refusal::Token)),
        ] {
            assert_eq!(gate.enter(token, table, now), expected, "{token} {}", table.api);
        }
        assert_eq!(Gate::new(Vec::new(), true, true).enter("anything", &special, now), Ok(()));
    }

    #[test]
    fn a_minute_slides_and_counts_by_token_and_api() {
        let gate = Gate::new(vec![account("a", 2000), account("b", 2000)], true, true);
        let (one, other) = (table("one", 120, "per_minute = 2"), table("other", 120, "per_minute = 2"));
        let refused = Err(Refusal::PerMinute { times: 2 });
        for (token, table, time, expected) in [
            ("a", &one, "10:00:00", Ok(())),
            ("a", &one, "10:00:30", Ok(())),
            ("a", &one, "10:00:59.999", refused.clone()),
            ("b", &one, "10:00:59.999", Ok(())),
            ("a", &other, "10:00:59.999", Ok(())),
            ("a", &one, "10:01:00", Ok(())),
            ("a", &one, "10:01:29.999", refused),
            ("a", &one, "10:01:30", Ok(())),
        ] {
            assert_eq!(gate.enter(token, table, at(time)), expected, "{token} {} {time}", table.api);
        }
    }

    #[test]
    fn a_day_ends_at_midnight_in_beijing() {
        let gate = Gate::new(vec![account("a", 5000)], true, true);
        let own = table("own", 5000, "per_day = 2");
        for (time, expected) in
            [("23:58:00", Ok(())), ("23:59:00", Ok(())), ("23:59:59", Err(Refusal::PerDay { times: 2 }))]
        {
            assert_eq!(gate.enter("a", &own, at(time)), expected, "{time}");
        }
        assert_eq!(gate.enter("a", &own, at("23:59:59").plus_seconds(1)), Ok(()));
    }

    #[test]
    fn the_lowest_tier_counts_all_tables_together() {
        let gate = Gate::new(vec![account("a", 120)], true, true);
        let (one, other) = (table("one", 120, ""), table("other", 120, ""));
        let start = at("00:00:00");
        for call in 0..8000 {
            let table = if call % 2 == 0 { &one } else { &other };
            assert_eq!(gate.enter("a", table, start.plus_seconds(call * 2)), Ok(()), "{call}");
        }
        assert_eq!(gate.enter("a", &one, start.plus_seconds(20_000)), Err(Refusal::PerDay { times: 8000 }));
    }
}

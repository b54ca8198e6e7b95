//! What a points tier allows: calls per minute and per day, for the client that paces itself and for the mirror that
//! enforces. Points are a threshold and are never spent.

use crate::model::dataset::Tushare;

/// What an account may do with one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub per_minute: u32,
    /// `None`: no limit by day.
    pub per_day: Option<u64>,
    /// The calls of a day are counted over all tables together.
    pub day_in_total: bool,
}

/// Lowest points, calls per minute, calls per day.
const TIERS: [(u32, u32, Option<u64>); 4] =
    [(5000, 500, None), (2000, 200, Some(100_000)), (LOWEST, 50, Some(8000)), (0, 0, None)];
const LOWEST: u32 = 120;
/// Tables that need this many points are special: fewer calls a minute until the highest tier.
const SPECIAL: (u32, u32) = (10_000, 300);
const HIGHEST: u32 = 15_000;

/// `None` when the points are too low for the table.
pub fn allowance(points: u32, table: &Tushare) -> Option<Allowance> {
    let (lowest, mut per_minute, mut per_day) = TIERS.into_iter().find(|(lowest, ..)| points >= *lowest)?;
    if points < table.points || per_minute == 0 {
        return None;
    }
    if table.points >= SPECIAL.0 && points < HIGHEST {
        per_minute = per_minute.min(SPECIAL.1);
    }
    let (own_minute, own_day) = table.own_limits(points);
    per_minute = own_minute.map_or(per_minute, |own| own.min(per_minute));
    if let Some(own) = own_day.map(u64::from) {
        per_day = Some(per_day.map_or(own, |day| day.min(own)));
    }
    Some(Allowance { per_minute, per_day, day_in_total: lowest == LOWEST })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_decide_what_a_table_allows() {
        type Expected = Option<(u32, Option<u64>)>;
        let table = |points: u32, own: &str| -> Tushare {
            toml::from_str(&format!("api = \"x\"\npoints = {points}\ncuts = []\n{own}")).unwrap()
        };
        let slow = "per_minute = 30\ntiers = [{ points = 8000, per_minute = 500 }]";
        let rare = "per_day = 20000\ntiers = [{ points = 10000, per_day = 200000 }, { points = 15000 }]";
        let cases: [(u32, Tushare, Expected); 14] = [
            (0, table(0, ""), None),
            (119, table(120, ""), None),
            (120, table(120, ""), Some((50, Some(8000)))),
            (120, table(2000, ""), None),
            (2000, table(2000, ""), Some((200, Some(100_000)))),
            (2000, table(2000, "per_minute = 50"), Some((50, Some(100_000)))),
            (5000, table(2000, "per_minute = 50"), Some((50, None))),
            (5000, table(5000, slow), Some((30, None))),
            (8000, table(5000, slow), Some((500, None))),
            (5000, table(5000, rare), Some((500, Some(20_000)))),
            (10_000, table(5000, rare), Some((500, Some(200_000)))),
            (15_000, table(5000, rare), Some((500, None))),
            (10_000, table(10_000, ""), Some((300, None))),
            (15_000, table(10_000, ""), Some((500, None))),
        ];
        for (points, table, expected) in cases {
            let found = allowance(points, &table).map(|allowed| (allowed.per_minute, allowed.per_day));
            assert_eq!(found, expected, "{points} points, {table:?}");
        }
    }
}

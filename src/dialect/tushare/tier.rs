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
    [(5000, 500, None), (2000, 200, Some(100_000)), (120, 50, Some(8000)), (0, 0, None)];
/// From here on the tables of the middle tiers lose their own limit by minute.
const OWN_MINUTE_LIFTED: u32 = 8000;
/// From here on their own limit by day is tenfold, and from the next one on it is gone.
const OWN_DAY_TENFOLD: u32 = 10_000;
const OWN_DAY_LIFTED: u32 = 15_000;
/// Tables that need this many points are special: fewer calls a minute until the highest tier.
const SPECIAL: (u32, u32) = (10_000, 300);

/// `None` when the points are too low for the table.
pub fn allowance(points: u32, table: &Tushare) -> Option<Allowance> {
    let (lowest, mut per_minute, mut per_day) = TIERS.into_iter().find(|(lowest, ..)| points >= *lowest)?;
    if points < table.points || per_minute == 0 {
        return None;
    }
    if table.points >= SPECIAL.0 && points < OWN_DAY_LIFTED {
        per_minute = per_minute.min(SPECIAL.1);
    }
    let middle = table.points >= 5000;
    if let Some(own) = table.per_minute.filter(|_| !(middle && points >= OWN_MINUTE_LIFTED)) {
        per_minute = per_minute.min(own);
    }
    if let Some(own) = table.per_day.filter(|_| points < OWN_DAY_LIFTED) {
        let own = u64::from(own) * if points >= OWN_DAY_TENFOLD { 10 } else { 1 };
        per_day = Some(per_day.map_or(own, |day| day.min(own)));
    }
    Some(Allowance { per_minute, per_day, day_in_total: lowest == 120 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_decide_what_a_table_allows() {
        type Expected = Option<(u32, Option<u64>)>;
        let table = |points, per_minute: Option<u32>, per_day: Option<u32>| -> Tushare {
            let mut text = format!("api = \"x\"\npoints = {points}\ncuts = []\n");
            per_minute.iter().for_each(|limit| text += &format!("per_minute = {limit}\n"));
            per_day.iter().for_each(|limit| text += &format!("per_day = {limit}\n"));
            toml::from_str(&text).unwrap()
        };
        let cases: [(u32, Tushare, Expected); 13] = [
            (0, table(0, None, None), None),
            (119, table(120, None, None), None),
            (120, table(120, None, None), Some((50, Some(8000)))),
            (120, table(2000, None, None), None),
            (2000, table(2000, None, None), Some((200, Some(100_000)))),
            (2000, table(2000, Some(50), None), Some((50, Some(100_000)))),
            (5000, table(2000, Some(50), None), Some((50, None))),
            (5000, table(5000, Some(30), None), Some((30, None))),
            (8000, table(5000, Some(30), None), Some((500, None))),
            (5000, table(5000, None, Some(20_000)), Some((500, Some(20_000)))),
            (10_000, table(5000, None, Some(20_000)), Some((500, Some(200_000)))),
            (10_000, table(10_000, None, None), Some((300, None))),
            (15_000, table(10_000, None, Some(20_000)), Some((500, None))),
        ];
        for (points, table, expected) in cases {
            let found = allowance(points, &table).map(|allowed| (allowed.per_minute, allowed.per_day));
            assert_eq!(found, expected, "{points} points, {table:?}");
        }
    }
}

//! Where a reader of the mode `cursor` stands: which rows are done, by the transaction that wrote them and by their
//! order.

use std::fmt::{self, Write};

use crate::model::{Error, Result};

/// All rows of transactions before `from` are done, and of those before `to` all whose order is not beyond `after`, for
/// each level. Levels lie in each other: a later one reaches further in transactions and less far in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub(super) from: u64,
    levels: Vec<(u64, i64)>,
}

/// More would mean that transactions and orders have nothing to do with each other.
const LEVELS_MAX: usize = 200;

impl Place {
    /// Every row of transactions before `to` is done up to `after`; `None`: whatever its order.
    pub(super) fn passed(&mut self, to: u64, after: Option<i64>) {
        match after {
            None => self.begin(to),
            Some(after) => {
                self.levels.retain(|(_, before)| *before > after);
                self.levels.push((to, after));
            }
        }
    }

    /// Every row of transactions before `from` is done.
    pub(super) fn begin(&mut self, from: u64) {
        self.from = self.from.max(from);
        let from = self.from;
        self.levels.retain(|(to, _)| *to > from);
    }

    /// Whether another level may be remembered.
    pub(super) fn has_room(&self) -> bool {
        self.levels.len() < LEVELS_MAX
    }

    /// What is not done, as a condition; `tx` and `order` are columns, `tx_kind` is the type of the first.
    pub(super) fn condition(&self, tx: &str, tx_kind: &str, order: &str) -> String {
        let mut text = format!("{tx} >= '{}'::{tx_kind}", self.from);
        for (to, after) in &self.levels {
            // Writing into a text cannot fail.
            let _ = write!(text, " and not ({tx} < '{to}'::{tx_kind} and {order} <= {after})");
        }
        text
    }

    pub(super) fn parse(text: &str) -> Result<Place> {
        let unreadable = || {
            Error::invalid("the place of the intake in its outbox cannot be read")
                .hint("`tidegate intake resume NAME --anew` reads all rows again; what is known is not published twice")
        };
        let (from, levels) = serde_json::from_str(text).map_err(|_| unreadable())?;
        Ok(Place { from, levels })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::json!([self.from, self.levels]).to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written_and_anything_else_is_refused() {
        let place = Place { from: 700, levels: vec![(725, 9), (731, -4)] };
        for place in [Place::default(), place] {
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
        for text in ["", "7", "[1]", "[2,1]", "[-1,[]]", "[1,[[3]]]", "{}"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_done_is_a_condition_and_levels_within_others_are_forgotten() {
        let mut place = Place::default();
        place.passed(10, Some(7));
        place.passed(12, Some(5));
        let expected = "t >= '0'::xid8 and not (t < '10'::xid8 and o <= 7) and not (t < '12'::xid8 and o <= 5)";
        assert_eq!(place.condition("t", "xid8", "o"), expected);
        place.passed(13, Some(6));
        assert_eq!(place, Place { from: 0, levels: vec![(10, 7), (13, 6)] });
        place.begin(11);
        assert_eq!(place, Place { from: 11, levels: vec![(13, 6)] });
        place.passed(20, None);
        assert_eq!(place, Place { from: 20, levels: vec![] });
    }

    /// A row: its transaction, the moment at which that commits, its order, and its key.
    #[derive(Clone, Debug)]
    struct Row {
        tx: u64,
        commits: u32,
        order: i64,
        key: u8,
    }

    impl Place {
        fn is_done(&self, row: &Row) -> bool {
            row.tx < self.from || self.levels.iter().any(|(to, after)| row.tx < *to && row.order <= *after)
        }
    }

    /// Transactions that take their numbers at any time, then the lock of a key, write, and commit: whoever has the
    /// lock next writes a row with a greater order after that.
    fn rows(steps: &[(u8, u8, u8)]) -> Vec<Row> {
        let mut numbers: Vec<u64> = (1..=steps.len() as u64).collect();
        for (index, (_, swap, _)) in steps.iter().enumerate() {
            let other = (index + usize::from(*swap) % 5).min(steps.len() - 1);
            numbers.swap(index, other);
        }
        let mut free_at = [0u32; 3];
        let mut rows = Vec::new();
        for (index, (key, _, takes)) in steps.iter().enumerate() {
            let key = key % 3;
            let writes = free_at[usize::from(key)].max(index as u32 * 2);
            let commits = writes + u32::from(takes % 9);
            free_at[usize::from(key)] = commits + 1;
            rows.push((writes, Row { tx: numbers[index], commits, order: 0, key }));
        }
        rows.sort_by_key(|(writes, _)| *writes);
        rows.into_iter().enumerate().map(|(order, (_, row))| Row { order: order as i64, ..row }).collect()
    }

    /// One look, as the reader takes it. Whether there may be more at once.
    fn look(place: &mut Place, all: &[Row], now: u32, page: usize, read: &mut Vec<Row>) -> bool {
        let running = all.iter().filter(|row| row.commits > now).map(|row| row.tx).min();
        let horizon = running.unwrap_or(1_000);
        let visible = || all.iter().filter(|row| row.commits <= now);
        let cut = visible().filter(|row| row.tx >= horizon).map(|row| row.order).min();
        let is_due = |row: &&Row| row.tx < horizon && cut.is_none_or(|cut| row.order < cut);
        let mut due: Vec<Row> = visible().filter(is_due).filter(|row| !place.is_done(row)).cloned().collect();
        due.sort_by_key(|row| row.order);
        due.truncate(page);
        let full = due.len() == page;
        match due.last() {
            Some(last) if full => place.passed(horizon, Some(last.order)),
            Some(_) => place.passed(horizon, cut.map(|cut| cut - 1)),
            None => {}
        }
        if !full {
            let left = visible().filter(|row| row.tx < horizon && !place.is_done(row)).map(|row| row.tx).min();
            place.begin(left.unwrap_or(horizon));
        }
        read.extend(due);
        // A crash: the place is all that is remembered.
        *place = Place::parse(&place.to_string()).unwrap();
        full
    }

    proptest! {
        #[test]
        fn however_transactions_interleave_every_row_is_read_once_and_each_key_in_its_order(
            steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 1..40),
            page in 1usize..6,
        ) {
            let all = rows(&steps);
            let end = all.iter().map(|row| row.commits).max().unwrap_or(0);
            let (mut place, mut read) = (Place::default(), Vec::new());
            for now in 0..=end {
                while look(&mut place, &all, now, page, &mut read) {}
            }
            let mut orders: Vec<i64> = read.iter().map(|row| row.order).collect();
            for key in 0..3 {
                let of_key: Vec<i64> = read.iter().filter(|row| row.key == key).map(|row| row.order).collect();
                prop_assert!(of_key.is_sorted(), "{of_key:?}");
            }
            orders.sort_unstable();
            prop_assert_eq!(orders, (0..all.len() as i64).collect::<Vec<_>>());
        }
    }
}

//! The simulated exchange calendar: open days with their numbers, from the first day of trading on.

use std::collections::HashSet;

use crate::model::{Day, Span, TradingCalendar};

use super::holidays::{FIRST_DAY, closed_in};

/// Open days, numbered from 0.
#[derive(Clone, Debug)]
pub struct Sessions {
    open: Vec<Day>,
    last: Day,
}

impl Sessions {
    /// Every open day up to the end of the year of `last`.
    pub fn until(last: Day) -> Sessions {
        let last_year = last.year().max(1990);
        let closed: HashSet<Day> = (1990..=last_year).flat_map(closed_in).collect();
        let last = Day::new(last_year, 12, 31).unwrap_or(last);
        let open = FIRST_DAY.to(last).filter(|day| !day.is_weekend() && !closed.contains(day)).collect();
        Sessions { open, last }
    }

    /// The last day that the calendar knows.
    pub fn last(&self) -> Day {
        self.last
    }

    pub fn span(&self) -> Span {
        Span::new(FIRST_DAY, self.last)
    }

    /// The day with this number; the last one when there are fewer.
    pub fn day(&self, number: u32) -> Day {
        self.open[(number as usize).min(self.open.len() - 1)]
    }

    /// How many open days lie before `day`: the number of `day` when it is open, else of the next open day.
    pub fn number_from(&self, day: Day) -> u32 {
        self.open.partition_point(|open| *open < day) as u32
    }

    /// The number of `day`; `None` when it is closed.
    pub fn number_of(&self, day: Day) -> Option<u32> {
        self.open.binary_search(&day).ok().map(|number| number as u32)
    }

    /// The numbers of the open days in `span`.
    pub fn numbers(&self, span: Span) -> std::ops::Range<u32> {
        let first = self.number_from(span.from);
        first..self.number_from(span.to.next()).max(first)
    }

    /// The last open day before `day`.
    pub fn before(&self, day: Day) -> Option<Day> {
        self.number_from(day).checked_sub(1).map(|number| self.day(number))
    }

    /// Whether the next open day falls into another week.
    pub fn ends_week(&self, number: u32) -> bool {
        self.week(number) != self.week(number + 1)
    }

    /// Whether the next open day falls into another month.
    pub fn ends_month(&self, number: u32) -> bool {
        self.month(number) != self.month(number + 1)
    }

    pub fn week(&self, number: u32) -> i32 {
        self.open.get(number as usize).map_or(i32::MAX, |day| (day.0 + 3).div_euclid(7))
    }

    pub fn month(&self, number: u32) -> i32 {
        self.open.get(number as usize).map_or(i32::MAX, |day| day.month_end().0)
    }

    pub fn calendar(&self) -> TradingCalendar {
        TradingCalendar::new(self.open.clone(), Some(self.span()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn years_have_the_real_number_of_open_days() {
        let sessions = Sessions::until(day("20261231"));
        for (year, days) in [("1991", 255), ("2005", 242), ("2018", 243), ("2019", 244), ("2020", 243), ("2024", 242)] {
            let span = Span::new(day(&format!("{year}0101")), day(&format!("{year}1231")));
            assert_eq!(sessions.numbers(span).len(), days, "{year}");
        }
        assert_eq!(sessions.numbers(sessions.span()).len(), 8797);
    }

    #[test]
    fn the_embedded_calendar_is_the_real_one() {
        let shared =
            std::env::var("TIDEGATE_SHARED").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").into());
        let path = std::path::Path::new(&shared).join("data/calendar/xshg_sessions.csv");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: no shared calendar");
            return;
        };
        let real: Vec<Day> = text.lines().skip(1).map(|line| day(line.trim())).collect();
        assert_eq!(Sessions::until(day("20261231")).open, real);
    }

    #[test]
    fn weeks_end_on_their_last_open_day() {
        let sessions = Sessions::until(day("20241231"));
        let before_festival = sessions.number_of(day("20240208")).unwrap();
        assert!(sessions.ends_week(before_festival));
        assert!(sessions.ends_month(sessions.number_of(day("20240131")).unwrap()));
        assert_eq!(sessions.before(day("20240219")), Some(day("20240208")));
    }
}

//! The trading calendar: which days the exchange is open, as far as it is known.

use super::area::Span;
use super::dataset::Points;
use super::day::Day;

/// Open days within a known span. Outside of it nothing is known, and nothing is guessed:
/// `may_be_open` then only rules out weekends and the holidays that have the same date each year.
#[derive(Clone, Debug, Default)]
pub struct TradingCalendar {
    open: Vec<Day>,
    known: Option<Span>,
}

impl TradingCalendar {
    /// `open` in any order; `known` is the span over which every day is listed as open or closed.
    pub fn new(mut open: Vec<Day>, known: Option<Span>) -> TradingCalendar {
        open.sort_unstable();
        open.dedup();
        TradingCalendar { open, known }
    }

    pub fn known(&self) -> Option<Span> {
        self.known
    }

    /// `None` when the calendar does not reach that day.
    pub fn is_open(&self, day: Day) -> Option<bool> {
        self.known.is_some_and(|span| span.contains(day)).then(|| self.open.binary_search(&day).is_ok())
    }

    /// Open, or not known to be closed and neither a weekend nor a holiday of fixed date.
    pub fn may_be_open(&self, day: Day) -> bool {
        self.is_open(day).unwrap_or_else(|| !day.is_weekend() && !is_fixed_holiday(day))
    }

    /// Every day in `span` that may be open, oldest first.
    pub fn open_days(&self, span: Span) -> Vec<Day> {
        match self.known {
            Some(known) if known.from <= span.from && span.to <= known.to => {
                let first = self.open.partition_point(|day| *day < span.from);
                let after = self.open.partition_point(|day| *day <= span.to);
                self.open[first..after.max(first)].to_vec()
            }
            _ => span.from.to(span.to).filter(|day| self.may_be_open(*day)).collect(),
        }
    }

    /// The first open day after `day`, looking at most a month ahead.
    pub fn next_open(&self, day: Day) -> Day {
        day.next().to(day.plus(31)).find(|day| self.may_be_open(*day)).unwrap_or(day.next())
    }

    /// `count` open days after `day`.
    pub fn plus_open_days(&self, day: Day, count: i32) -> Day {
        (0..count).fold(day, |day, _| self.next_open(day))
    }

    /// The points of time in `span` at which rows may exist.
    pub fn points(&self, points: Points, span: Span) -> Vec<Day> {
        match points {
            Points::Trading => self.open_days(span),
            Points::Calendar => span.from.to(span.to).collect(),
            Points::QuarterEnd => quarter_ends(span),
            Points::WeekEnd => self.last_of_group(span, |day| day.0.wrapping_add(3).div_euclid(7)),
            Points::MonthEnd => self.last_of_group(span, |day| day.month_end().0),
        }
    }

    /// The last open day of each week or month whose last open day lies in `span`.
    fn last_of_group(&self, span: Span, group: impl Fn(Day) -> i32) -> Vec<Day> {
        let days = self.open_days(Span::new(span.from, span.to.plus(35)));
        let last = |pair: &[Day]| (pair.len() == 1 || group(pair[0]) != group(pair[1])).then_some(pair[0]);
        let pairs = days.windows(2).filter_map(last);
        pairs.filter(|day| span.contains(*day)).collect()
    }
}

/// The quarter ends in `span`.
pub fn quarter_ends(span: Span) -> Vec<Day> {
    let ends = std::iter::successors(Some(span.from.quarter_end()), |end| Some(end.next().quarter_end()));
    ends.take_while(|end| *end <= span.to && *end < Day::MAX).collect()
}

/// New Year's Day, Labour Day and the first days of National Day: closed in every year since the exchanges opened. The
/// calendar of a year is not published before the year begins, and its first day must not look like a trading day.
fn is_fixed_holiday(day: Day) -> bool {
    matches!((day.month(), day.date().day()), (1, 1) | (5, 1) | (10, 1 | 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    #[test]
    fn week_and_month_ends_are_the_last_open_days() {
        let span = Span::new(day("20240101"), day("20240331"));
        let open = span.from.to(span.to).filter(|day| !day.is_weekend() && *day != self::day("20240202"));
        let calendar = TradingCalendar::new(open.collect(), Some(span));
        let weeks = calendar.points(Points::WeekEnd, Span::new(day("20240129"), day("20240211")));
        assert_eq!(weeks, [day("20240201"), day("20240209")]);
        let months = calendar.points(Points::MonthEnd, Span::new(day("20240101"), day("20240229")));
        assert_eq!(months, [day("20240131"), day("20240229")]);
        let quarters = calendar.points(Points::QuarterEnd, Span::new(day("20230401"), day("20240331")));
        assert_eq!(quarters, [day("20230630"), day("20230930"), day("20231231"), day("20240331")]);
    }

    #[test]
    fn beyond_the_known_span_only_weekends_are_ruled_out() {
        let known = Span::new(day("20240101"), day("20240105"));
        let calendar = TradingCalendar::new(vec![day("20240102")], Some(known));
        assert_eq!(calendar.is_open(day("20240103")), Some(false));
        assert_eq!(calendar.is_open(day("20240108")), None);
        assert!(calendar.may_be_open(day("20240108")));
        assert!(["20250101", "20240501", "20241001"].iter().all(|text| !calendar.may_be_open(day(text))));
        assert!(!calendar.may_be_open(day("20240107")));
    }
}

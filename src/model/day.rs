//! A calendar day of the exchange (Beijing time). A trading day is a date and never an instant.

use std::fmt;

use jiff::civil::Date;

use super::error::{Error, Result};

/// Days since 1970-01-01, the same number that Arrow's `Date32` holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Day(pub i32);

impl Day {
    /// Before every date a source can name: the lower end of "all time".
    pub const MIN: Day = Day(-719_162); // 0001-01-01
    /// After every date a source can name: the upper end of "all time".
    pub const MAX: Day = Day(2_932_896); // 9999-12-31

    pub fn new(year: i16, month: i8, day: i8) -> Option<Day> {
        Date::new(year, month, day).ok().map(Day::from_date)
    }

    /// Reads `YYYYMMDD` or `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Result<Day> {
        Day::parse_ascii(text.as_bytes()).ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a date")).hint("write dates as 20240131 or 2024-01-31")
        })
    }

    fn parse_ascii(text: &[u8]) -> Option<Day> {
        let digits = |part: &[u8]| {
            part.iter().try_fold(0i16, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i16::from(byte - b'0')))
        };
        let (year, month, day) = match text.len() {
            8 => (&text[0..4], &text[4..6], &text[6..8]),
            10 if text[4] == b'-' && text[7] == b'-' => (&text[0..4], &text[5..7], &text[8..10]),
            _ => return None,
        };
        Day::new(digits(year)?, digits(month)? as i8, digits(day)? as i8)
    }

    pub fn from_date(date: Date) -> Day {
        let epoch = Date::constant(1970, 1, 1);
        Day(date.duration_since(epoch).as_hours() as i32 / 24)
    }

    pub fn date(self) -> Date {
        let span = jiff::SignedDuration::from_hours(i64::from(self.0) * 24);
        Date::constant(1970, 1, 1).checked_add(span).unwrap_or(if self.0 < 0 { Date::MIN } else { Date::MAX })
    }

    pub fn year(self) -> i16 {
        self.date().year()
    }

    pub fn month(self) -> i8 {
        self.date().month()
    }

    pub fn plus(self, days: i32) -> Day {
        Day(self.0.saturating_add(days).clamp(Day::MIN.0, Day::MAX.0))
    }

    pub fn next(self) -> Day {
        self.plus(1)
    }

    pub fn previous(self) -> Day {
        self.plus(-1)
    }

    /// Monday is 0, Sunday is 6.
    pub fn weekday(self) -> i32 {
        (self.0 + 3).rem_euclid(7)
    }

    pub fn is_weekend(self) -> bool {
        self.weekday() >= 5
    }

    /// The last day of this day's month.
    pub fn month_end(self) -> Day {
        Day::from_date(self.date().last_of_month())
    }

    /// The last day of this day's quarter: the report period it falls in.
    pub fn quarter_end(self) -> Day {
        let date = self.date();
        let month = (date.month() + 2) / 3 * 3;
        Day::new(date.year(), month, 1).map_or(Day::MAX, Day::month_end)
    }

    pub fn is_quarter_end(self) -> bool {
        self.quarter_end() == self
    }

    /// Every day from `self` to `last`, both included.
    pub fn to(self, last: Day) -> impl DoubleEndedIterator<Item = Day> + Clone {
        (self.0..=last.0).map(Day)
    }

    /// Appends `YYYY-MM-DD`, quicker than formatting does.
    pub fn write(self, out: &mut Vec<u8>) {
        let date = self.date();
        let year = date.year().unsigned_abs();
        let digit = |number: u16| b'0' + (number % 10) as u8;
        let pair = |number: i8| [digit(number.unsigned_abs().into()), digit(u16::from(number.unsigned_abs()) / 10)];
        let ([month, months], [day, days]) = (pair(date.month()), pair(date.day()));
        let years = [digit(year / 1000), digit(year / 100), digit(year / 10), digit(year)];
        out.extend_from_slice(&[years[0], years[1], years[2], years[3], b'-', months, month, b'-', days, day]);
    }

    /// `YYYYMMDD`, the form of Tushare.
    pub fn compact(self) -> String {
        let date = self.date();
        format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.date();
        write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_in_both_forms_and_written_back() {
        for (text, number) in [("19700101", 0), ("1970-01-02", 1), ("20000229", 11_016), ("1969-12-31", -1)] {
            let day = Day::parse(text).unwrap();
            assert_eq!(day.0, number, "{text}");
            assert_eq!(Day::parse(&day.to_string()).unwrap(), day);
            assert_eq!(Day::parse(&day.compact()).unwrap(), day);
            let mut written = Vec::new();
            day.write(&mut written);
            assert_eq!(written, day.to_string().as_bytes());
        }
        for text in ["", "2024-13-01", "20230229", "2024/01/01", "２０２４０１０１", "-2024011"] {
            assert!(Day::parse(text).is_err(), "{text}");
        }
        assert_eq!(Day::parse("00010101").unwrap(), Day::MIN);
        assert_eq!(Day::parse("99991231").unwrap(), Day::MAX);
    }

    #[test]
    fn weekdays_and_quarters_follow_the_calendar() {
        assert_eq!(Day::parse("20240105").unwrap().weekday(), 4);
        assert!(Day::parse("20240106").unwrap().is_weekend());
        assert_eq!(Day::parse("20240506").unwrap().quarter_end(), Day::parse("20240630").unwrap());
        assert!(Day::parse("20241231").unwrap().is_quarter_end());
    }
}

//! Cron lines of five fields, read as Beijing time: on which days, and at which minutes of such a day.

use croner::parser::{CronParser, Seconds, Year};

use super::day::Day;
use super::error::{Error, Result};

/// A cron line that was understood.
#[derive(Clone, Debug)]
pub struct Cron {
    line: croner::Cron,
    /// Minutes after midnight, sorted.
    minutes: Vec<i32>,
}

impl Cron {
    pub fn parse(line: &str) -> Result<Cron> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let refused = |why: String| {
            let error = Error::invalid(format!("{line:?} is no cron line of five fields: {why}"));
            error.hint("minute hour day month weekday, Beijing time: `0 18 * * 1-5`")
        };
        let line = parser.parse(line).map_err(|error| {
            let why = error.to_string().to_lowercase();
            refused(why.trim_end_matches('.').to_string())
        })?;
        let matches = |minute: &i32| {
            let (hour, minute) = ((minute / 60) as u32, (minute % 60) as u32);
            line.pattern.hour_match(hour).unwrap_or(false) && line.pattern.minute_match(minute).unwrap_or(false)
        };
        let minutes: Vec<i32> = (0..1440).filter(matches).collect();
        let cron = Cron { line, minutes };
        // A leap day comes at most every eight years.
        let from = Day::new(2024, 1, 1).unwrap_or_default();
        let ever = !cron.minutes.is_empty() && from.to(from.plus(3_000)).any(|day| cron.is_on(day));
        if ever { Ok(cron) } else { Err(refused("it names no time that ever comes".to_string())) }
    }

    /// Whether the line names this day.
    pub fn is_on(&self, day: Day) -> bool {
        let date = day.date();
        let (year, month, day) = (i32::from(date.year()), date.month() as u32, date.day() as u32);
        let pattern = &self.line.pattern;
        pattern.month_match(month).unwrap_or(false) && pattern.day_match(year, month, day).unwrap_or(false)
    }

    /// Minutes after midnight on a day that the line names, sorted.
    pub fn minutes(&self) -> &[i32] {
        &self.minutes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_days_and_minutes() {
        let cron = Cron::parse("30 9,15 * * 1-5").unwrap();
        assert_eq!(cron.minutes(), [570, 930]);
        let on = |text: &str, line: &str| Cron::parse(line).unwrap().is_on(Day::parse(text).unwrap());
        for (day, line, expected) in [
            ("2024-01-05", "0 18 * * 1-5", true),
            ("2024-01-06", "0 18 * * 1-5", false),
            ("2024-01-07", "0 18 * * 0", true),
            ("2024-01-07", "0 18 * * 7", true),
            ("2024-02-01", "0 3 1 * *", true),
            ("2024-02-02", "0 3 1 * *", false),
            ("2024-05-01", "0 2 1 5 *", true),
            ("2024-02-29", "0 2 29 2 *", true),
            ("2024-01-31", "0 2 L * *", true),
        ] {
            assert_eq!(on(day, line), expected, "{day} {line}");
        }
    }

    #[test]
    fn what_is_no_cron_line_is_refused() {
        for line in ["", "0 18 * *", "0 0 18 * * 1-5", "61 * * * *", "0 18 * * 9", "sometimes", "0 0 30 2 *", "@reboot"]
        {
            assert!(Cron::parse(line).is_err(), "{line}");
        }
    }
}

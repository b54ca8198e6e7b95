//! When the rows of a point of time are due, and when an answer about it is final.

use crate::model::dataset::{Points, Shape, Universe};
use crate::model::{Dataset, Day, Instant, TradingCalendar};

/// The publication rules of one dataset over a calendar.
#[derive(Clone, Copy, Debug)]
pub struct Schedule<'a> {
    dataset: &'a Dataset,
    calendar: &'a TradingCalendar,
    minute: i32,
}

impl<'a> Schedule<'a> {
    pub fn new(dataset: &'a Dataset, calendar: &'a TradingCalendar) -> Schedule<'a> {
        Schedule { dataset, calendar, minute: dataset.publish.minute().unwrap_or(0) }
    }

    /// The source's rows are one state of the whole table (or have no date): there are no points of time.
    pub fn is_timeless(&self) -> bool {
        self.dataset.shape == Shape::Whole || self.dataset.time.is_none()
    }

    /// Calendars are published for a year in advance, not day by day.
    pub fn is_published_ahead(&self) -> bool {
        let dataset = self.dataset;
        dataset.expect.points == Points::Calendar
            && dataset.universe == Universe::Market
            && dataset.shape == Shape::Dense
    }

    /// The last day whose point can be due at `now`.
    pub fn horizon(&self, now: Instant) -> Day {
        let today = now.day();
        if self.is_published_ahead() { Day::new(today.year(), 12, 31).unwrap_or(today) } else { today }
    }

    /// The instant from which the rows of `point` can be asked for.
    pub fn due_at(&self, point: Day) -> Instant {
        let days_later = self.dataset.publish.days_later;
        if self.is_published_ahead() {
            return Instant::at(Day::new(point.year(), 1, 1).unwrap_or(point), 0);
        }
        if self.dataset.expect.points == Points::QuarterEnd {
            return Instant::at(point.plus(days_later.max(1)), 0);
        }
        let day = if days_later > 0 { self.calendar.plus_open_days(point, days_later) } else { point };
        Instant::at(day, self.minute)
    }

    /// The instant from which an answer about `point` is final, however thin it looks.
    pub fn settled_at(&self, point: Day) -> Instant {
        let settle_days = self.dataset.publish.settle_days;
        if self.is_published_ahead() {
            return Instant::at(point.plus(1 + settle_days), 0);
        }
        if self.dataset.expect.points == Points::QuarterEnd {
            return Instant::at(statutory_deadline(point).plus(1 + settle_days), 0);
        }
        self.due_at(point).plus_seconds(i64::from(settle_days) * 86_400)
    }

    /// The instant at which a provisional answer is asked for again.
    pub fn refresh_at(&self, now: Instant) -> Instant {
        now.plus_seconds(i64::from(self.dataset.publish.refresh_hours) * 3_600)
    }

    /// Points from `from` to `to`, oldest first. A timeless dataset has one: `today`.
    pub fn points(&self, from: Day, to: Day, today: Day) -> Vec<Day> {
        if self.is_timeless() {
            return vec![today];
        }
        let span = crate::model::Span::new(from, to);
        if span.is_empty() { Vec::new() } else { self.calendar.points(self.dataset.expect.points, span) }
    }
}

/// The day by which every company must have published the report of a period.
fn statutory_deadline(period: Day) -> Day {
    let (years_later, month, day) = match period.month() {
        1..=3 => (0, 4, 30),
        4..=6 => (0, 8, 31),
        7..=9 => (0, 10, 31),
        _ => (1, 4, 30),
    };
    Day::new(period.year().saturating_add(years_later), month, day).unwrap_or(Day::MAX)
}

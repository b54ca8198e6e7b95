//! The points of time of one request, and which of them a claim holds. Areas become ranges of indices here.

use std::ops::Range;

use super::Knowledge;
use super::schedule::Schedule;
use crate::model::{Claim, Dataset, Day, Instant, Span};

/// Due points, oldest first, numbered from 0.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    pub schedule: Schedule<'a>,
    pub points: Vec<Day>,
    /// Points of the span, up to today, that are not due yet.
    pub not_due: Vec<Day>,
    pub timeless: bool,
    now: Instant,
    look_back: Option<LookBack>,
}

/// Points that old claims do not hold, however final: late corrections are looked for there.
#[derive(Clone, Copy, Debug)]
struct LookBack {
    /// The index of the first of these points.
    first: usize,
    /// Claims that were made later than this hold all the same: asking twice is asking once.
    before: Instant,
}

impl<'a> Timeline<'a> {
    pub fn new(
        dataset: &'a Dataset,
        knowledge: &'a Knowledge,
        from: Option<Day>,
        to: Option<Day>,
        now: Instant,
    ) -> Timeline<'a> {
        let schedule = Schedule::new(dataset, &knowledge.calendar);
        let timeless = schedule.is_timeless();
        let from = from.map_or(dataset.first_day(), |day| day.max(dataset.first_day()));
        let horizon = schedule.horizon(now);
        let mut points = schedule.points(from, to.map_or(horizon, |day| day.min(horizon)), now.day());
        let due = if timeless { points.len() } else { points.partition_point(|day| schedule.due_at(*day) <= now) };
        let not_due = points.split_off(due);
        Timeline { schedule, points, not_due, timeless, now, look_back: None }
    }

    /// The last `points` of the timeline are asked for again unless they were asked for within the refresh time.
    pub fn looking_back(mut self, points: usize, dataset: &Dataset) -> Timeline<'a> {
        let before = self.now.plus_seconds(-i64::from(dataset.publish.refresh_hours) * 3_600);
        let first = self.points.len().saturating_sub(points);
        self.look_back = (points > 0 && !self.timeless).then_some(LookBack { first, before });
        self
    }

    /// The running day counts as due although its rows are not all published: realtime tables show it as it grows.
    pub fn with_running_day(mut self) -> Timeline<'a> {
        let today = self.now.day();
        if let Some(at) = self.not_due.iter().position(|day| *day == today) {
            self.points.extend(self.not_due.drain(..=at));
        }
        self
    }

    /// The indices of the points in `span`.
    pub fn range(&self, span: Span) -> Range<usize> {
        let start = self.points.partition_point(|day| *day < span.from);
        let end = start + self.points[start..].partition_point(|day| *day <= span.to);
        start..end
    }

    /// The indices of the points that `claim` holds now: those that were due when it was made and, once it is
    /// stale, only those about which its answer was final already.
    pub fn held(&self, claim: &Claim) -> Range<usize> {
        let mut range = self.range(claim.area.span);
        if let Some(LookBack { first, .. }) = self.look_back.filter(|look_back| claim.at <= look_back.before) {
            range.end = range.end.min(first.max(range.start));
        }
        let holds = claim.holds_at(self.now);
        if self.timeless {
            return if holds { range } else { range.start..range.start };
        }
        if holds { self.until(range, claim, Schedule::due_at) } else { self.until(range, claim, Schedule::settled_at) }
    }

    /// The indices of the points that were due when `claim` was made.
    pub fn answered(&self, claim: &Claim) -> Range<usize> {
        let range = self.range(claim.area.span);
        if self.timeless { range } else { self.until(range, claim, Schedule::due_at) }
    }

    fn until(&self, range: Range<usize>, claim: &Claim, instant: fn(&Schedule<'a>, Day) -> Instant) -> Range<usize> {
        let reached = |day: &Day| instant(&self.schedule, *day) <= claim.at;
        match self.points[range.clone()].last() {
            Some(last) if !reached(last) => {
                range.start..range.start + self.points[range.clone()].partition_point(reached)
            }
            _ => range,
        }
    }
}

/// How many ranges cover each index: ranges are added in any order, then summed once.
#[derive(Clone, Debug)]
pub struct Depth(Vec<i64>);

impl Depth {
    pub fn new(len: usize) -> Depth {
        Depth(vec![0; len + 1])
    }

    pub fn add(&mut self, range: &Range<usize>) {
        if range.start < range.end {
            self.0[range.start] += 1;
            self.0[range.end] -= 1;
        }
    }

    pub fn sum(mut self) -> Vec<u64> {
        self.0.pop();
        let mut depth = 0;
        self.0
            .into_iter()
            .map(|step| {
                depth += step;
                depth.max(0).unsigned_abs()
            })
            .collect()
    }
}

/// What `holes` leave open of `range`; `holes` sorted and without overlap.
pub fn subtract(range: Range<usize>, holes: impl Iterator<Item = Range<usize>>, mut found: impl FnMut(Range<usize>)) {
    let mut start = range.start;
    for hole in holes.filter(|hole| hole.start < hole.end) {
        if hole.start >= range.end {
            break;
        }
        if hole.start > start {
            found(start..hole.start);
        }
        start = start.max(hole.end);
    }
    if start < range.end {
        found(start..range.end);
    }
}

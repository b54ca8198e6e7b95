//! How each day of a table stands, in one word: the audit as a calendar.

use std::sync::Arc;

use super::audit::{Auditor, Scope, Served};
use super::expect;
use super::timeline::Timeline;
use super::{Knowledge, grouped};
use crate::model::dataset::Points;
use crate::model::{Claim, Coverage, Dataset, Day, Evidence, Failure, Instant, Span};

/// How a day stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellState {
    Present,
    /// Proven empty: the source was asked and has nothing.
    Empty,
    NotDue,
    /// Answered, and to be asked again.
    Provisional,
    /// Some of it is missing.
    Partial,
    /// Asked for in vain.
    Failed,
    /// Due and never asked for.
    Unknown,
    /// There is nothing to ask for on that day.
    Closed,
}

impl CellState {
    pub const ALL: [CellState; 8] = [
        CellState::Present,
        CellState::Empty,
        CellState::NotDue,
        CellState::Provisional,
        CellState::Partial,
        CellState::Failed,
        CellState::Unknown,
        CellState::Closed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CellState::Present => "present",
            CellState::Empty => "empty",
            CellState::NotDue => "not_due",
            CellState::Provisional => "provisional",
            CellState::Partial => "partial",
            CellState::Failed => "failed",
            CellState::Unknown => "unknown",
            CellState::Closed => "closed",
        }
    }
}

/// One day of one table, all securities together.
#[derive(Clone, Debug, PartialEq)]
pub struct DayCell {
    pub day: Day,
    pub state: CellState,
    /// Rows stored for the day.
    pub rows: u64,
    /// Rows that a whole answer would have, where that is known.
    pub expected: Option<u64>,
    pub source: Option<Arc<str>>,
    /// When it was answered, or failed last.
    pub at: Option<Instant>,
    /// For people; empty where the state says it all.
    pub why: String,
}

/// Every calendar day of `span`, oldest first. A table without points of time has one cell, at today.
pub fn day_cells(
    dataset: &Dataset,
    knowledge: &Knowledge,
    coverage: &Coverage,
    failures: &[Failure],
    served: &Served,
    span: Span,
    now: Instant,
) -> Vec<DayCell> {
    let timeline = Timeline::new(dataset, knowledge, Some(span.from), Some(span.to), now);
    let scope = Scope::new(dataset, knowledge, coverage, &timeline, true);
    let open = failures.iter().filter(|failure| failure.dataset == dataset.name && failure.resolved_at.is_none());
    let auditor = Auditor::new(dataset, knowledge, coverage, &timeline, &scope, open.collect(), served, now);
    let calendar = Calendar { newest: newest(&auditor), auditor, now };
    if timeline.timeless {
        return (0..timeline.points.len()).map(|index| calendar.point(index)).collect();
    }
    let ahead = timeline.schedule.points(span.from, span.to, now.day());
    let cell = |day: Day| match timeline.points.binary_search(&day) {
        Ok(index) => calendar.point(index),
        Err(_) if day < dataset.first_day() => calendar.plain(day, CellState::Closed, "before the table's first day"),
        Err(_) if ahead.binary_search(&day).is_ok() => calendar.plain(day, CellState::NotDue, "not due yet"),
        Err(_) => calendar.plain(day, CellState::Closed, no_point(dataset.expect.points)),
    };
    span.from.to(span.to).map(cell).collect()
}

/// Why there is nothing to ask for on a day between two points.
pub(super) fn no_point(points: Points) -> &'static str {
    match points {
        Points::Trading | Points::Calendar => "not a trading day",
        Points::WeekEnd => "not the last trading day of a week",
        Points::MonthEnd => "not the last trading day of a month",
        Points::QuarterEnd => "not the end of a report period",
    }
}

/// By point: the newest claim over a single security.
fn newest<'a>(auditor: &Auditor<'a>) -> Vec<Option<&'a Claim>> {
    let mut newest: Vec<Option<&Claim>> = vec![None; auditor.timeline.points.len()];
    for claim in auditor.coverage.security.values().flatten() {
        for cell in &mut newest[auditor.timeline.answered(claim)] {
            if cell.is_none_or(|known| known.at < claim.at) {
                *cell = Some(claim);
            }
        }
    }
    newest
}

struct Calendar<'a> {
    auditor: Auditor<'a>,
    newest: Vec<Option<&'a Claim>>,
    now: Instant,
}

impl<'a> Calendar<'a> {
    fn plain(&self, day: Day, state: CellState, why: &str) -> DayCell {
        let rows = self.auditor.coverage.rows_on(day);
        DayCell { day, state, rows, expected: None, source: None, at: None, why: why.to_string() }
    }

    /// A due point.
    fn point(&self, index: usize) -> DayCell {
        let auditor = &self.auditor;
        match (auditor.market[index], auditor.market_failure(index)) {
            (Some(claim), _) => self.of_market(index, claim),
            (None, Some(failure)) if self.answered(index) == 0 => DayCell {
                source: Some(Arc::from(failure.source.as_str())),
                at: Some(failure.last_at),
                ..self.cell(index, CellState::Failed, failure.message.clone())
            },
            (None, _) => self.of_securities(index),
        }
    }

    fn cell(&self, index: usize, state: CellState, why: String) -> DayCell {
        let auditor = &self.auditor;
        let day = auditor.timeline.points[index];
        let expected = expect::market_rows(auditor.dataset, auditor.knowledge, day);
        DayCell { expected: (expected > 0.0).then_some(expected.round() as u64), ..self.plain(day, state, &why) }
    }

    /// Securities with an answer of their own.
    fn answered(&self, index: usize) -> u64 {
        self.auditor.depths.held[index] + self.auditor.depths.awaited[index]
    }

    /// A point that an answer over the whole market covers.
    fn of_market(&self, index: usize, claim: &Claim) -> DayCell {
        let (state, why) = self.market_state(index, claim);
        let mut cell = self.cell(index, state, why);
        if self.auditor.timeline.timeless {
            cell.rows = claim.rows;
        }
        DayCell { source: Some(claim.source.clone()), at: Some(claim.at), ..cell }
    }

    fn market_state(&self, index: usize, claim: &Claim) -> (CellState, String) {
        let (auditor, timeline) = (&self.auditor, self.auditor.timeline);
        let day = timeline.points[index];
        let missing = match auditor.group(&claim.lacks) {
            Some(_) if timeline.timeless => 0,
            Some(outside) => {
                let (all, answered) = outside.at(index);
                let open = all - answered;
                open - auditor.suspended_of_asked(index, Some(&claim.lacks)).1.min(open)
            }
            None => 0,
        };
        if missing > 0 {
            let who = format!("{} has none of {}", claim.source, claim.lacks);
            return (CellState::Partial, format!("{} securities are missing: {who}", grouped(missing)));
        }
        let held = auditor.coverage.rows_on(day);
        let is_of_day = !timeline.timeless && claim.area.span == Span::day(day);
        if is_of_day && held != claim.rows && !auditor.is_changed_since(claim, day) {
            let why = format!("the ledger says {} rows, the table holds {}", grouped(claim.rows), grouped(held));
            return (CellState::Partial, why);
        }
        let is_settled =
            claim.stale_at.is_none() || (!timeline.timeless && timeline.schedule.settled_at(day) <= claim.at);
        let again = match claim.stale_at {
            Some(at) if at > self.now => format!("asked again from {at} on"),
            _ => "due to be asked again".to_string(),
        };
        match (claim.evidence, is_settled) {
            (Evidence::Partial, false) => (CellState::Partial, format!("fewer rows than expected; {again}")),
            (Evidence::Partial, true) => {
                (CellState::Present, "fewer rows than expected: the source said so".to_string())
            }
            (Evidence::Empty, true) => (CellState::Empty, "the source has no rows".to_string()),
            (Evidence::Empty, false) => (CellState::Provisional, format!("the source has no rows so far; {again}")),
            (Evidence::Present, true) if held == 0 && !timeline.timeless => {
                (CellState::Empty, "the source has no rows".to_string())
            }
            (Evidence::Present, true) => (CellState::Present, String::new()),
            (Evidence::Present, false) => (CellState::Provisional, again),
        }
    }

    /// A point about which securities were asked one by one.
    fn of_securities(&self, index: usize) -> DayCell {
        let (auditor, answered) = (&self.auditor, self.answered(index));
        let (asked, failed) = (auditor.depths.asked[index], auditor.depths.failed[index]);
        if answered == 0 {
            return match failed {
                0 => self.cell(index, CellState::Unknown, "never asked for".to_string()),
                _ => self.cell(index, CellState::Failed, "asked for in vain".to_string()),
            };
        }
        let open = asked.saturating_sub(answered);
        let open = open - auditor.suspended_of_asked(index, None).1.min(open);
        let awaited = auditor.depths.awaited[index];
        let cell = match (open, awaited) {
            (0, 0) if self.auditor.coverage.rows_on(auditor.timeline.points[index]) == 0 => {
                self.cell(index, CellState::Empty, "the source has no rows".to_string())
            }
            (0, 0) => self.cell(index, CellState::Present, String::new()),
            (0, some) => {
                self.cell(index, CellState::Provisional, format!("{} securities are asked again", grouped(some)))
            }
            (_, _) => {
                let vain = if failed > 0 { format!(", {} in vain", grouped(failed)) } else { String::new() };
                let why = format!("{} of {} securities{vain}", grouped(answered), grouped(asked));
                self.cell(index, CellState::Partial, why)
            }
        };
        let newest = self.newest[index];
        DayCell { source: newest.map(|claim| claim.source.clone()), at: newest.map(|claim| claim.at), ..cell }
    }
}

//! What the ledger shall say of an answer: whether it is whole, and until when it holds.

use super::Knowledge;
use super::expect::{self, Member, Members};
use super::schedule::Schedule;
use crate::model::change::ClaimChange;
use crate::model::dataset::{Points, Shape, Universe};
use crate::model::{Area, Dataset, Day, Evidence, Instant, Securities};

/// Judges `rows` that a source answered for `area` at `now`.
///
/// The claim may span days that are not due: whoever reads claims (`plan`, `audit`) counts only the points that were
/// due when the claim was made and, once it is stale, only those that were settled by then. So `Span::ALL` stays one
/// claim, and a stale claim over years asks again for its last few days only.
pub fn judge(dataset: &Dataset, knowledge: &Knowledge, area: &Area, rows: u64, now: Instant) -> ClaimChange {
    let schedule = Schedule::new(dataset, &knowledge.calendar);
    let refresh_at = schedule.refresh_at(now);
    let evidence = if rows > 0 { Evidence::Present } else { Evidence::Empty };
    if schedule.is_timeless() {
        return ClaimChange { evidence, stale_at: Some(refresh_at) };
    }
    let asked = Asked::new(dataset, &schedule, area, now);
    let keeps_changing = dataset.expect.points == Points::QuarterEnd || schedule.is_published_ahead();
    let verdict = match asked.unsettled {
        false => Verdict::Whole,
        true if keeps_changing => Verdict::Doubtful,
        true => weigh(dataset, knowledge, area, rows, &asked.due),
    };
    let sooner = asked.next_due_at.map_or(refresh_at, |due_at| due_at.min(refresh_at));
    match verdict {
        Verdict::Whole => ClaimChange { evidence, stale_at: asked.next_due_at },
        Verdict::Thin if rows > 0 => ClaimChange { evidence: Evidence::Partial, stale_at: Some(sooner) },
        Verdict::Thin | Verdict::Doubtful => ClaimChange { evidence, stale_at: Some(sooner) },
    }
}

/// The points of an area as they stood when it was asked for.
struct Asked {
    due: Vec<Day>,
    /// Rows of a due point may still come.
    unsettled: bool,
    /// When the first point that was not due yet will be.
    next_due_at: Option<Instant>,
}

impl Asked {
    fn new(dataset: &Dataset, schedule: &Schedule, area: &Area, now: Instant) -> Asked {
        let soon = schedule.horizon(now).plus(if dataset.expect.points == Points::QuarterEnd { 100 } else { 40 });
        let from = area.span.from.max(dataset.first_day());
        let mut due = schedule.points(from, area.span.to.min(soon), now.day());
        let later = due.split_off(due.partition_point(|day| schedule.due_at(*day) <= now));
        Asked {
            unsettled: due.last().is_some_and(|day| schedule.settled_at(*day) > now),
            next_due_at: later.first().map(|day| schedule.due_at(*day)),
            due,
        }
    }
}

enum Verdict {
    Whole,
    /// Rows of the last days may still be missing, though the answer looks right as a whole.
    Doubtful,
    /// Far fewer rows than expected.
    Thin,
}

/// Compares the rows of an answer whose last points are not settled with what was to be expected.
fn weigh(dataset: &Dataset, knowledge: &Knowledge, area: &Area, rows: u64, due: &[Day]) -> Verdict {
    let expected = expected_rows(dataset, knowledge, area, due);
    let list_known = dataset.universe != Universe::Stock || !knowledge.securities.is_empty();
    let is_exact = dataset.shape == Shape::Dense && dataset.expect.rows_per_security == 1.0;
    let rows = rows as f64;
    if rows == 0.0 && expected >= 1.0 {
        return Verdict::Thin;
    }
    if list_known && rows < dataset.expect.complete_at * expected {
        return Verdict::Thin;
    }
    // Over many points a share of the rows proves nothing about the last one: only every row does.
    if is_exact && due.len() > 1 && rows < expected { Verdict::Doubtful } else { Verdict::Whole }
}

/// Rows that a whole answer for `area` has at the `due` points.
fn expected_rows(dataset: &Dataset, knowledge: &Knowledge, area: &Area, due: &[Day]) -> f64 {
    let Securities::Some(_) = &area.securities else {
        return due.iter().map(|day| expect::market_rows(dataset, knowledge, *day)).sum();
    };
    if dataset.shape == Shape::Sparse {
        return 0.0;
    }
    let members = Members::of(dataset, knowledge, &area.securities, false).members;
    let suspended = |code: &str, day: &Day| {
        expect::suspended_on(dataset, knowledge, *day) > 0
            && knowledge.suspended.get(day).is_some_and(|codes| codes.contains(code))
    };
    let trades = |Member { code, life }: &&Member, day: &Day| life.contains(*day) && !suspended(code, day);
    let cells: usize = due.iter().map(|day| members.iter().filter(|member| trades(member, day)).count()).sum();
    cells as f64 * dataset.expect.rows_per_security
}

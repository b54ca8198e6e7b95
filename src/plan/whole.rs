//! How a table stands as a whole: up to which day every expected cell is explained, and which day is due.

use super::Knowledge;
use super::audit::Audit;
use super::schedule::Schedule;
use super::timeline::Timeline;
use crate::model::{Claim, Coverage, Dataset, Day, Instant, Span};

/// Where a table stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wholeness {
    /// Something is claimed.
    pub kept: bool,
    /// The last point up to which every cell that was asked for is explained; `None` when the first one is not.
    pub until: Option<Day>,
    /// The last point that is due now; for a table without points of time the day on which it was asked for last.
    pub due: Option<Day>,
    /// Due points after `until`.
    pub lag: u64,
    /// Answers that will be asked for again.
    pub provisional: u64,
    /// The last day that has rows.
    pub last_day: Option<Day>,
}

/// Days that are looked through for the last point of time.
const LOOK_BACK_DAYS: i32 = 400;
/// Seconds that the state of a whole table may be older than its time before it counts as late.
const GRACE_SECONDS: i64 = 86_400;

/// Reads off an audit without a span, made at the same `now`.
pub fn wholeness(
    dataset: &Dataset,
    knowledge: &Knowledge,
    coverage: &Coverage,
    audit: &Audit,
    now: Instant,
) -> Wholeness {
    let claims = || coverage.market.iter().chain(coverage.security.values().flatten());
    let schedule = Schedule::new(dataset, &knowledge.calendar);
    let base = Wholeness {
        kept: audit.kept,
        provisional: claims().filter(|claim| claim.stale_at.is_some()).count() as u64,
        last_day: coverage.rows_by_day.iter().rev().find(|(_, rows)| *rows > 0).map(|(day, _)| *day),
        ..Wholeness::default()
    };
    if schedule.is_timeless() {
        return of_state(base, claims(), audit, now);
    }
    let horizon = schedule.horizon(now);
    let recent = Timeline::new(dataset, knowledge, Some(horizon.plus(-LOOK_BACK_DAYS)), None, now);
    let due = recent.points.last().copied();
    let first_hole = audit.holes.iter().map(|hole| hole.area.span.from).min();
    let until = match (audit.span, first_hole) {
        (None, _) => None,
        (Some(span), None) => Some(span.to),
        (Some(span), Some(hole)) => {
            let before = Span::new(span.from.max(hole.plus(-LOOK_BACK_DAYS)), hole.previous());
            if before.is_empty() { None } else { schedule.points(before.from, before.to, now.day()).last().copied() }
        }
    };
    let lag = match (until, due) {
        (Some(until), Some(due)) if until < due => schedule.points(until.next(), due, now.day()).len() as u64,
        (None, Some(due)) if audit.kept => {
            let from = audit.span.map_or(due, |span| span.from);
            schedule.points(from.min(due), due, now.day()).len() as u64
        }
        _ => 0,
    };
    Wholeness { until, due, lag, ..base }
}

/// A table that is one state: whole while no answer is older than its time, and nothing is missing.
fn of_state<'a>(base: Wholeness, claims: impl Iterator<Item = &'a Claim>, audit: &Audit, now: Instant) -> Wholeness {
    let (mut asked, mut is_old) = (None::<Instant>, false);
    for claim in claims {
        asked = asked.max(Some(claim.at));
        is_old |= claim.stale_at.is_some_and(|stale_at| stale_at.plus_seconds(GRACE_SECONDS) < now);
    }
    let until = asked.map(|at| at.day()).filter(|_| audit.holes.is_empty());
    let due = if is_old { Some(now.day()) } else { asked.map(|at| at.day()) };
    Wholeness { until, due, lag: u64::from(base.kept && (is_old || until.is_none())), ..base }
}

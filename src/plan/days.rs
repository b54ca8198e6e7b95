//! What became of each day, from the calendar, the claims and the failures: nothing is kept for it.

use super::Knowledge;
use super::cells::no_point;
use super::expect;
use super::schedule::Schedule;
use super::timeline::Timeline;
use crate::model::{Claim, Coverage, Dataset, Day, Evidence, Exchanges, Failure, Instant, Securities, Span};

/// How a day stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DayState {
    /// Answered; there may be no rows if the source said so.
    Success,
    /// Answered with fewer rows than expected, or for a part of the securities.
    Partial,
    /// The source gave no usable answer; the failure waits for the next attempt or for a person.
    Failed,
    /// Nothing was to be done: closed, done before, or not due yet.
    Skipped,
    /// Due and never asked for.
    Pending,
}

impl DayState {
    pub fn name(self) -> &'static str {
        match self {
            DayState::Success => "success",
            DayState::Partial => "partial",
            DayState::Failed => "failed",
            DayState::Skipped => "skipped",
            DayState::Pending => "pending",
        }
    }

    pub fn from_name(name: &str) -> Option<DayState> {
        use DayState::*;
        [Success, Partial, Failed, Skipped, Pending].into_iter().find(|state| state.name() == name)
    }
}

/// One day of one dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct DayStatus {
    pub day: Day,
    pub state: DayState,
    /// `not a trading day`, `done before`, the failure's message: empty for a plain success.
    pub why: String,
    /// Rows stored for the day.
    pub rows: u64,
    pub source: Option<String>,
    /// When it was answered, or failed last.
    pub at: Option<Instant>,
    /// What its answer took, waiting for quota left out; known for days that a range run asked for.
    pub millis: Option<u64>,
}

/// The status of every calendar day of `span`, oldest first.
pub fn day_statuses(
    dataset: &Dataset,
    knowledge: &Knowledge,
    coverage: &Coverage,
    failures: &[Failure],
    span: Span,
    now: Instant,
) -> Vec<DayStatus> {
    let schedule = Schedule::new(dataset, &knowledge.calendar);
    let points = schedule.points(span.from, span.to, now.day());
    let timeline = Timeline::new(dataset, knowledge, Some(span.from), Some(span.to), now);
    let failed = |day: Day| {
        let matters = |failure: &&Failure| failure.resolved_at.is_none() && failure.area.span.contains(day);
        // One security's failure is a part of the day only.
        failures.iter().filter(matters).min_by_key(|failure| failure.area.securities != Securities::All)
    };
    let status = |day: Day| {
        let plain = |state, why: &str| DayStatus {
            day,
            state,
            why: why.to_string(),
            rows: coverage.rows_on(day),
            source: None,
            at: None,
            millis: None,
        };
        if !schedule.is_timeless() && points.binary_search(&day).is_err() {
            return plain(DayState::Skipped, no_point(dataset.expect.points));
        }
        if let Some(failure) = failed(day) {
            let whole = failure.area.securities == Securities::All;
            let state = if whole { DayState::Failed } else { DayState::Partial };
            let status = match whole {
                true => plain(state, &failure.message),
                false => plain(state, &format!("{}: {}", failure.area.securities, failure.message)),
            };
            return DayStatus { source: Some(failure.source.clone()), at: Some(failure.last_at), ..status };
        }
        let members = Members { all: expect::members_on(dataset, knowledge, day), knowledge, day };
        answered(coverage, &timeline, &members, &plain)
    };
    span.from.to(span.to).map(status).collect()
}

/// Who has a cell on a day.
struct Members<'a> {
    all: usize,
    knowledge: &'a Knowledge,
    day: Day,
}

impl Members<'_> {
    /// How many securities of these exchanges have no answer of their own.
    fn missing(&self, coverage: &Coverage, exchanges: &Exchanges) -> usize {
        if exchanges.is_empty() {
            return 0;
        }
        let listed = self.knowledge.securities.iter().filter(|security| security.life().contains(self.day));
        let theirs = listed.filter(|security| exchanges.contains(&security.code));
        theirs.filter(|security| coverage.security_claim(&security.code, self.day).is_none()).count()
    }
}

/// The status of a point without a failure.
fn answered(
    coverage: &Coverage,
    timeline: &Timeline,
    members: &Members,
    plain: &dyn Fn(DayState, &str) -> DayStatus,
) -> DayStatus {
    let day = members.day;
    let index = timeline.points.binary_search(&day);
    let claim =
        coverage.market_claim(day).filter(|claim| index.is_ok_and(|index| timeline.answered(claim).contains(&index)));
    if let Some(claim) = claim {
        let missing = members.missing(coverage, &claim.lacks);
        if missing > 0 {
            let why = format!(
                "{missing} of {} securities are missing: {} has none of {}",
                members.all, claim.source, claim.lacks
            );
            let status = plain(DayState::Partial, &why);
            return DayStatus { source: Some(claim.source.to_string()), at: Some(claim.at), ..status };
        }
        let (state, why) = match claim.evidence {
            Evidence::Partial => (DayState::Partial, "fewer rows than expected; it will be asked again"),
            Evidence::Empty => (DayState::Success, "the source has no rows"),
            Evidence::Present => (DayState::Success, ""),
        };
        return DayStatus { source: Some(claim.source.to_string()), at: Some(claim.at), ..plain(state, why) };
    }
    if index.is_err() {
        return plain(DayState::Skipped, "not due yet");
    }
    let by_security = || coverage.security.keys().filter_map(|code| coverage.security_claim(code, day));
    let latest = by_security().max_by_key(|claim| claim.at);
    let Some(latest) = latest else { return plain(DayState::Pending, "never asked for") };
    let answered = by_security().count();
    let thin = by_security().any(|claim| claim.evidence == Evidence::Partial);
    let members = members.all;
    let state = if answered < members || thin { DayState::Partial } else { DayState::Success };
    let why = if state == DayState::Partial { format!("{answered} of {members} securities") } else { String::new() };
    DayStatus { source: Some(latest.source.to_string()), at: Some(latest.at), ..plain(state, &why) }
}

/// When each security was asked for last.
#[derive(Clone, Debug, PartialEq)]
pub struct LastSync {
    pub code: std::sync::Arc<str>,
    /// `None`: never.
    pub at: Option<Instant>,
    pub source: Option<String>,
    /// The newest point that an answer covers.
    pub until: Option<Day>,
    pub evidence: Option<Evidence>,
}

/// The last answer about each of the dataset's securities, by code; answers about the whole market count for all.
pub fn last_syncs(dataset: &Dataset, knowledge: &Knowledge, coverage: &Coverage, now: Instant) -> Vec<LastSync> {
    let timeline = Timeline::new(dataset, knowledge, None, None, now);
    let members = super::Members::of(dataset, knowledge, &Securities::All, timeline.timeless);
    let of_market = OfMarket::new(coverage);
    let last = |code: std::sync::Arc<str>| {
        let own = coverage.security.get(&code).into_iter().flatten();
        let of_market = of_market.get(&code);
        let claim = own.chain(of_market).max_by_key(|claim| claim.at);
        let until = claim.and_then(|claim| {
            let answered = timeline.answered(claim);
            answered.end.checked_sub(1).filter(|_| !answered.is_empty()).map(|last| timeline.points[last])
        });
        LastSync {
            code,
            at: claim.map(|claim| claim.at),
            source: claim.map(|claim| claim.source.to_string()),
            until,
            evidence: claim.map(|claim| claim.evidence),
        }
    };
    members.members.into_iter().map(|member| last(member.code)).collect()
}

/// The last claims over the whole market: of all, and of those that leave somebody out.
struct OfMarket<'a> {
    whole: Option<&'a Claim>,
    limited: Option<&'a Claim>,
}

impl<'a> OfMarket<'a> {
    fn new(coverage: &'a Coverage) -> OfMarket<'a> {
        let last = |limited: bool| {
            coverage.market.iter().filter(|claim| claim.lacks.is_empty() != limited).max_by_key(|claim| claim.at)
        };
        OfMarket { whole: last(false), limited: last(true) }
    }

    /// The last one that speaks of a security.
    fn get(&self, code: &str) -> Option<&'a Claim> {
        let limited = self.limited.filter(|claim| !claim.lacks.contains(code));
        self.whole.into_iter().chain(limited).max_by_key(|claim| claim.at)
    }
}

//! The audit: every cell by state, every hole with its reason and its remedy, from claims and row counts alone.

use std::ops::Range;

use serde::Serialize;

use super::expect::{self, Members};
use super::timeline::{Depth, Timeline, subtract};
use super::{Knowledge, grouped};
use crate::model::dataset::{Points, RowOrigin};
use crate::model::{Area, Claim, Coverage, Dataset, Day, Evidence, Exchanges, Failure, Instant, Securities, Span};

/// What is known of one dataset. A cell is a security (or, for datasets about nobody in particular, the market)
/// at a point of time.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub dataset: String,
    /// Something was claimed, or a span was asked about.
    pub kept: bool,
    /// Its rows come from publishers: nothing is expected of it.
    pub published: bool,
    /// From the first claimed point (or the first day asked about) to the last due point.
    pub span: Option<Span>,
    /// Due points in the span.
    pub points: u64,
    /// Securities that were asked for; 0 when the dataset is about nobody in particular.
    pub securities: u64,
    pub cells: Cells,
    pub holes: Vec<Hole>,
    /// Cells that were asked for and are unknown, and days whose rows differ from their claim.
    pub unexplained: u64,
    /// What deserves a look but is no hole.
    pub notes: Vec<String>,
}

/// Cells by state. `closed_day` counts days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cells {
    pub present: u64,
    /// Proven empty: the exchange was closed.
    pub closed_day: u64,
    /// Proven empty: before the listing or after the delisting.
    pub not_listed: u64,
    /// Proven empty: suspended the whole day.
    pub suspended: u64,
    /// Proven empty: the source answered without it.
    pub source_said_so: u64,
    pub not_due: u64,
    pub partial: u64,
    pub failed: u64,
    pub unknown: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoleState {
    /// Never asked for, or asked before it was due.
    Unknown,
    /// Answered with too few rows; asked again later.
    Partial,
    /// Asked for in vain.
    Failed,
    /// The table does not hold the rows that the ledger claims.
    Differs,
}

impl HoleState {
    pub fn name(self) -> &'static str {
        match self {
            HoleState::Unknown => "unknown",
            HoleState::Partial => "partial",
            HoleState::Failed => "failed",
            HoleState::Differs => "differs",
        }
    }
}

/// Neighbouring cells in the same state for the same reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Hole {
    pub area: Area,
    pub state: HoleState,
    pub cells: u64,
    pub reason: String,
    /// A command line.
    pub remedy: String,
}

/// Holes by security are listed one by one up to this many, and as one beyond.
const SECURITY_HOLES_MAX: usize = 50;

/// The sources that serve a dataset now, as far as an audit explains holes by them.
#[derive(Clone, Debug, Default)]
pub struct Served {
    by: Vec<String>,
    lacks: Exchanges,
}

impl Served {
    /// By source: the exchanges of which it has no securities. Nobody at all explains nothing.
    pub fn new(sources: impl IntoIterator<Item = (String, Exchanges)>) -> Served {
        let join = |served: Option<Served>, (source, lacks): (String, Exchanges)| {
            let mut served = served.unwrap_or(Served { by: Vec::new(), lacks: lacks.clone() });
            served.by.push(source);
            served.lacks = served.lacks.common(&lacks);
            Some(served)
        };
        sources.into_iter().fold(None, join).unwrap_or_default()
    }

    /// Why there is no answer about securities that nobody has.
    fn lacking(&self) -> String {
        let verb = if self.by.len() == 1 { "has" } else { "have" };
        format!("{} {verb} no securities of {}: enable another source", self.by.join(" and "), self.lacks)
    }
}

const NOT_ASKED: &str = "not asked for since it was due";

/// Audits one dataset. `failures` may be those of all datasets.
pub fn audit(
    dataset: &Dataset,
    knowledge: &Knowledge,
    coverage: &Coverage,
    failures: &[Failure],
    served: &Served,
    wanted_span: Option<Span>,
    now: Instant,
) -> Audit {
    let published = dataset.origin == RowOrigin::Publishers;
    let mut audit = Audit { dataset: dataset.name.clone(), published, ..Audit::default() };
    if published {
        return audit;
    }
    let first_claimed = first_claimed_day(coverage);
    let Some(from) = wanted_span.map(|span| span.from).or(first_claimed) else { return audit };
    let timeline = Timeline::new(dataset, knowledge, Some(from), wanted_span.map(|span| span.to), now);
    let scope = Scope::new(dataset, knowledge, coverage, &timeline, wanted_span.is_some());
    let open = failures.iter().filter(|failure| failure.dataset == dataset.name && failure.resolved_at.is_none());
    audit.kept = true;
    audit.points = timeline.points.len() as u64;
    audit.securities = scope.asked.iter().filter(|(_, from)| *from < usize::MAX).count() as u64;
    audit.span = timeline.points.first().zip(timeline.points.last()).map(|(from, to)| Span::new(*from, *to));
    if timeline.timeless {
        audit.span = Some(Span::ALL);
    }
    let auditor = Auditor::new(dataset, knowledge, coverage, &timeline, &scope, open.collect(), served, now);
    auditor.count(&mut audit);
    audit
}

fn first_claimed_day(coverage: &Coverage) -> Option<Day> {
    let market = coverage.market.first().map(|claim| claim.area.span.from);
    let securities = coverage.security.values().filter_map(|claims| claims.first()).map(|claim| claim.area.span.from);
    market.into_iter().chain(securities).min()
}

/// Which cells have been asked for, by member: from which point on.
pub(super) struct Scope {
    pub(super) members: Members,
    /// Each member's life as points, and the first point from which it was asked for (`usize::MAX`: never).
    pub(super) asked: Vec<(Range<usize>, usize)>,
    /// The first point from which everybody was asked for.
    market_from: usize,
}

impl Scope {
    /// Everybody is meant from the first market claim on, or when more than half of all securities have claims of
    /// their own; otherwise only the securities that have claims, each from its first one on.
    pub(super) fn new(
        dataset: &Dataset,
        knowledge: &Knowledge,
        coverage: &Coverage,
        timeline: &Timeline,
        span_is_wanted: bool,
    ) -> Scope {
        let mut members = Members::of(dataset, knowledge, &Securities::All, timeline.timeless);
        if members.list_missing && coverage.market.is_empty() && !coverage.security.is_empty() {
            let codes = Securities::Some(coverage.security.keys().cloned().collect());
            members = Members::of(dataset, knowledge, &codes, timeline.timeless);
        }
        let first_point =
            |claims: &[Claim]| claims.first().map_or(usize::MAX, |claim| timeline.range(claim.area.span).start);
        let everybody = coverage.security.len() * 2 > members.members.len() || coverage.is_empty();
        let market_from = match (coverage.market.is_empty(), span_is_wanted) {
            (false, true) => 0,
            (false, false) => first_point(&coverage.market),
            (true, _) if everybody => 0,
            (true, _) => usize::MAX,
        };
        let asked = members.members.iter().map(|member| {
            let own = coverage.security.get(&member.code).map_or(usize::MAX, |claims| first_point(claims));
            let own = if span_is_wanted && own < usize::MAX { 0 } else { own };
            (timeline.range(member.life), own.min(market_from))
        });
        let asked = asked.collect();
        Scope { members, asked, market_from }
    }
}

/// Depths by point: how many members are asked for, answered, awaited again, and failed.
pub(super) struct Depths {
    pub(super) asked: Vec<u64>,
    pub(super) held: Vec<u64>,
    pub(super) awaited: Vec<u64>,
    pub(super) failed: Vec<u64>,
}

/// The members of some exchanges: those that a claim over the market leaves out, or that no source has.
pub(super) struct Group {
    lacks: Exchanges,
    depths: Depths,
}

impl Group {
    /// Its cells at a point, and how many of them have an answer of their own.
    pub(super) fn at(&self, index: usize) -> (u64, u64) {
        let all = self.depths.asked[index];
        (all, (self.depths.held[index] + self.depths.awaited[index]).min(all))
    }
}

pub(super) struct Auditor<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) knowledge: &'a Knowledge,
    pub(super) coverage: &'a Coverage,
    pub(super) timeline: &'a Timeline<'a>,
    pub(super) scope: &'a Scope,
    failures: Vec<&'a Failure>,
    /// By point: the market claim that answers it.
    pub(super) market: Vec<Option<&'a Claim>>,
    pub(super) depths: Depths,
    groups: Vec<Group>,
    served: &'a Served,
    now: Instant,
}

/// One point's part of a hole.
struct Spot {
    index: usize,
    state: HoleState,
    cells: u64,
    reason: String,
}

impl<'a> Auditor<'a> {
    #[expect(clippy::too_many_arguments, reason = "an audit is where everything meets")]
    pub(super) fn new(
        dataset: &'a Dataset,
        knowledge: &'a Knowledge,
        coverage: &'a Coverage,
        timeline: &'a Timeline<'a>,
        scope: &'a Scope,
        failures: Vec<&'a Failure>,
        served: &'a Served,
        now: Instant,
    ) -> Auditor<'a> {
        let mut market = vec![None; timeline.points.len()];
        for claim in &coverage.market {
            market[timeline.answered(claim)].fill(Some(claim));
        }
        let depths_of = |among: Option<&Exchanges>| depths(coverage, timeline, scope, &failures, among);
        let depths = depths_of(None);
        let mut lacking: Vec<&Exchanges> = Vec::new();
        for lacks in coverage.market.iter().map(|claim| &claim.lacks).chain([&served.lacks]) {
            if !lacks.is_empty() && !lacking.contains(&lacks) {
                lacking.push(lacks);
            }
        }
        let groups = lacking.into_iter().map(|lacks| Group { lacks: lacks.clone(), depths: depths_of(Some(lacks)) });
        let groups = groups.collect();
        Auditor { dataset, knowledge, coverage, timeline, scope, failures, market, depths, groups, served, now }
    }

    pub(super) fn group(&self, lacks: &Exchanges) -> Option<&Group> {
        self.groups.iter().find(|group| group.lacks == *lacks)
    }

    fn count(&self, audit: &mut Audit) {
        let mut spots = Vec::new();
        let mut thin = 0;
        for index in 0..self.timeline.points.len() {
            match self.market[index] {
                Some(claim) => {
                    let outside = self.group(&claim.lacks);
                    let (theirs, answered) = outside.map_or((0, 0), |group| group.at(index));
                    let all = self.cells_of_market(index) - (theirs - answered);
                    self.count_market(index, claim, all, &mut audit.cells, &mut spots, &mut thin);
                    if let Some(outside) = outside {
                        self.count_outsiders(index, outside, &mut audit.cells, &mut spots);
                    }
                }
                None => self.count_securities(index, &mut audit.cells, &mut spots),
            }
        }
        self.count_outside(&mut audit.cells);
        self.find_differences(&mut spots);
        let unexplained = |spot: &&Spot| matches!(spot.state, HoleState::Unknown | HoleState::Differs);
        audit.unexplained = spots.iter().filter(unexplained).map(|spot| spot.cells).sum();
        audit.holes = self.holes(spots);
        if thin > 0 {
            audit
                .notes
                .push(format!("{} final answers had fewer rows than expected: the source said so", grouped(thin)));
        }
        let stale = self.timeline.timeless && audit.holes.is_empty() && self.is_stale();
        if stale {
            audit.notes.push("due to be asked for again".into());
        }
    }

    fn is_stale(&self) -> bool {
        let mut claims = self.coverage.market.iter().chain(self.coverage.security.values().flatten());
        claims.any(|claim| !claim.holds_at(self.now))
    }

    /// Cells that have rows at a point, out of `cells`.
    fn present(&self, index: usize, cells: u64) -> u64 {
        let rows = if self.timeline.timeless {
            self.market[index].map_or(cells, |claim| claim.rows)
        } else {
            self.coverage.rows_on(self.timeline.points[index])
        };
        let rows_per_cell =
            if self.scope.members.members.is_empty() { 1.0 } else { self.dataset.expect.rows_per_security };
        ((rows as f64 / rows_per_cell.max(1.0)).ceil() as u64).min(cells)
    }

    /// How many cells there are when everybody is meant.
    fn cells_of_market(&self, index: usize) -> u64 {
        if self.scope.members.members.is_empty() { 1 } else { self.depths.asked[index] }
    }

    pub(super) fn suspended(&self, index: usize) -> u64 {
        expect::suspended_on(self.dataset, self.knowledge, self.timeline.points[index]) as u64
    }

    /// A point that an answer over the whole market covers.
    fn count_market(
        &self,
        index: usize,
        claim: &Claim,
        all: u64,
        cells: &mut Cells,
        spots: &mut Vec<Spot>,
        thin: &mut u64,
    ) {
        let day = self.timeline.points[index];
        let present = self.present(index, all);
        let suspended = self.suspended(index).min(all - present);
        let rest = all - present - suspended;
        cells.present += present;
        cells.suspended += suspended;
        let final_now =
            self.timeline.timeless || claim.stale_at.is_none() || self.timeline.schedule.settled_at(day) <= claim.at;
        let empty_too_soon = claim.evidence == Evidence::Empty && present == 0;
        if !final_now && rest > 0 && (claim.evidence == Evidence::Partial || empty_too_soon) {
            cells.partial += rest;
            let reason = "the source had published only a part of it".to_owned();
            spots.push(Spot { index, state: HoleState::Partial, cells: rest, reason });
            return;
        }
        cells.source_said_so += rest;
        let share = all as f64 / self.cells_of_market(index).max(1) as f64;
        let expected = expect::market_rows(self.dataset, self.knowledge, day) * share;
        let is_thin = (self.coverage.rows_on(day) as f64) < self.dataset.expect.complete_at * expected;
        *thin += u64::from(final_now && is_thin && !self.timeline.timeless && !self.scope.members.list_missing);
    }

    /// The securities that an answer over the market leaves out, at one point. A list that leaves some out is one hole:
    /// nobody knows whom it misses.
    fn count_outsiders(&self, index: usize, outside: &Group, cells: &mut Cells, spots: &mut Vec<Spot>) {
        if self.timeline.timeless {
            cells.unknown += 1;
            spots.push(Spot { index, state: HoleState::Unknown, cells: 1, reason: self.reason(&outside.lacks) });
            return;
        }
        let (all, answered) = outside.at(index);
        let open = all - answered;
        let suspended = if open > 0 { self.suspended_of_asked(index, Some(&outside.lacks)).1.min(open) } else { 0 };
        cells.suspended += suspended;
        self.count_open(index, open - suspended, outside.depths.failed[index], cells, spots);
    }

    /// Why securities that a claim leaves out have no answer.
    fn reason(&self, lacks: &Exchanges) -> String {
        let nobody = !self.served.lacks.is_empty() && lacks.is_among(&self.served.lacks);
        if nobody { self.served.lacking() } else { NOT_ASKED.to_owned() }
    }

    /// A point that only answers about single securities cover, if any.
    fn count_securities(&self, index: usize, cells: &mut Cells, spots: &mut Vec<Spot>) {
        let all = match self.scope.members.members.is_empty() {
            true => u64::from(index >= self.scope.market_from),
            false => self.depths.asked[index],
        };
        let held = self.depths.held[index].min(all);
        let awaited = self.depths.awaited[index].min(all - held);
        let present = self.present(index, held + awaited);
        let mut rest = held + awaited - present;
        cells.present += present;
        cells.partial += rest.min(awaited);
        rest -= rest.min(awaited);
        let open = all - held - awaited;
        let suspended = if rest + open > 0 { self.suspended_of_asked(index, None) } else { (0, 0) };
        cells.suspended += suspended.0.min(rest) + suspended.1.min(open);
        cells.source_said_so += rest - suspended.0.min(rest);
        self.count_open(index, open - suspended.1.min(open), self.depths.failed[index], cells, spots);
    }

    /// Cells without an answer: asked for in vain, of securities that no source has, or not asked for.
    fn count_open(&self, index: usize, open: u64, failed: u64, cells: &mut Cells, spots: &mut Vec<Spot>) {
        let failed = if self.market_failure(index).is_some() { open } else { failed.min(open) };
        cells.failed += failed;
        cells.unknown += open - failed;
        if failed > 0 {
            let reason = "asked for in vain".to_owned();
            spots.push(Spot { index, state: HoleState::Failed, cells: failed, reason });
        }
        let group = self.group(&self.served.lacks).map_or((0, 0), |group| group.at(index));
        let lacking = (group.0 - group.1).min(open - failed);
        let not_asked = open - failed - lacking;
        for (cells, reason) in [(lacking, self.served.lacking()), (not_asked, NOT_ASKED.to_owned())] {
            if cells > 0 {
                spots.push(Spot { index, state: HoleState::Unknown, cells, reason });
            }
        }
    }

    /// Suspended members (of some exchanges) that were asked for at a point: with an answer of their own, and without.
    pub(super) fn suspended_of_asked(&self, index: usize, among: Option<&Exchanges>) -> (u64, u64) {
        let day = self.timeline.points[index];
        if self.suspended(index) == 0 {
            return (0, 0);
        }
        let Some(codes) = self.knowledge.suspended.get(&day) else { return (0, 0) };
        let (mut answered, mut open) = (0, 0);
        for (member, (life, from)) in self.scope.members.members.iter().zip(&self.scope.asked) {
            let meant = among.is_none_or(|exchanges| exchanges.contains(&member.code));
            if meant && life.contains(&index) && *from <= index && codes.contains(&member.code) {
                let claim = self.coverage.security_claim(&member.code, day);
                let has_answer = claim.is_some_and(|claim| self.timeline.answered(claim).contains(&index));
                answered += u64::from(has_answer);
                open += u64::from(!has_answer);
            }
        }
        (answered, open)
    }

    /// The unresolved failure of the whole market at a point.
    pub(super) fn market_failure(&self, index: usize) -> Option<&'a Failure> {
        let day = self.timeline.points[index];
        let hit = |failure: &&&Failure| failure.area.securities == Securities::All && failure.area.span.contains(day);
        self.failures.iter().find(hit).copied()
    }

    /// Closed days, cells outside of a security's life, and points that are not due.
    fn count_outside(&self, cells: &mut Cells) {
        let timeline = self.timeline;
        if timeline.timeless {
            return;
        }
        let everybody = self.scope.asked.iter().filter(|(_, from)| *from < usize::MAX);
        for (life, from) in everybody {
            let asked = timeline.points.len().saturating_sub(*from);
            let alive = life.end.saturating_sub(life.start.max(*from));
            cells.not_listed += (asked - alive.min(asked)) as u64;
        }
        if let (Some(first), Some(last)) = (timeline.points.first(), timeline.points.last()) {
            let days = (last.0 - first.0 + 1).unsigned_abs() as usize;
            let daily = self.dataset.expect.points == Points::Trading;
            cells.closed_day = if daily { days.saturating_sub(timeline.points.len()) as u64 } else { 0 };
        }
        for day in &timeline.not_due {
            let alive = |member: &&expect::Member| member.life.contains(*day);
            let members = &self.scope.members.members;
            let asked = members.iter().zip(&self.scope.asked).filter(|(_, (_, from))| *from < usize::MAX);
            let alive = asked.map(|(member, _)| member).filter(alive).count() as u64;
            cells.not_due += if members.is_empty() { 1 } else { alive };
        }
    }

    /// Days whose rows are not as many as their claim says, unless later answers about single securities changed them.
    fn find_differences(&self, spots: &mut Vec<Spot>) {
        if self.timeline.timeless {
            return;
        }
        for (index, claim) in self.market.iter().enumerate() {
            let day = self.timeline.points[index];
            let Some(claim) = claim.filter(|claim| claim.area.span == Span::day(day)) else { continue };
            let held = self.coverage.rows_on(day);
            if held != claim.rows && !self.is_changed_since(claim, day) {
                let (ledger, table) = (grouped(claim.rows), grouped(held));
                let reason = format!("the ledger says {ledger} rows, the table holds {table}");
                spots.push(Spot { index, state: HoleState::Differs, cells: ledger_gap(claim.rows, held), reason });
            }
        }
    }

    pub(super) fn is_changed_since(&self, claim: &Claim, day: Day) -> bool {
        let mut own = self.coverage.security.values().flatten();
        own.any(|own| own.at >= claim.at && own.area.span.contains(day))
    }

    /// Joins spots of neighbouring points; names securities where only some were asked for.
    fn holes(&self, mut spots: Vec<Spot>) -> Vec<Hole> {
        let by_security = self.scope.market_from == usize::MAX;
        if by_security {
            let unknown: u64 =
                spots.iter().filter(|spot| spot.state == HoleState::Unknown).map(|spot| spot.cells).sum();
            let holes = if unknown > 0 { self.holes_by_security() } else { Vec::new() };
            if !holes.is_empty() && holes.len() <= SECURITY_HOLES_MAX {
                spots.retain(|spot| spot.state != HoleState::Unknown);
                return holes.into_iter().chain(self.joined(spots)).collect();
            }
        }
        self.joined(spots)
    }

    fn joined(&self, mut spots: Vec<Spot>) -> Vec<Hole> {
        spots.sort_by(|a, b| (a.state as u8, &a.reason, a.index).cmp(&(b.state as u8, &b.reason, b.index)));
        let mut runs: Vec<(Range<usize>, Spot)> = Vec::new();
        for spot in spots {
            match runs.last_mut() {
                Some((range, run))
                    if range.end == spot.index && run.state == spot.state && run.reason == spot.reason =>
                {
                    range.end = spot.index + 1;
                    run.cells += spot.cells;
                }
                _ => runs.push((spot.index..spot.index + 1, spot)),
            }
        }
        runs.sort_by_key(|(range, _)| range.start);
        runs.into_iter().map(|(range, run)| self.hole(None, range, run.state, run.cells, run.reason)).collect()
    }

    fn holes_by_security(&self) -> Vec<Hole> {
        let mut holes = Vec::new();
        for (member, (life, from)) in self.scope.members.members.iter().zip(&self.scope.asked) {
            let asked = life.start.max(*from)..life.end;
            let claims = self.coverage.security.get(&member.code);
            if asked.is_empty() || *from == usize::MAX {
                continue;
            }
            let answered = claims.into_iter().flatten().map(|claim| self.timeline.answered(claim));
            subtract(asked, answered, |range| {
                let cells = self.unknown_cells(&member.code, &range);
                if cells > 0 {
                    let lacked = self.served.lacks.contains(&member.code);
                    let reason = if lacked { self.served.lacking() } else { NOT_ASKED.to_owned() };
                    holes.push(self.hole(Some(&member.code), range, HoleState::Unknown, cells, reason));
                }
            });
        }
        holes
    }

    /// Points of a stretch that neither a suspension nor a failure explains.
    fn unknown_cells(&self, code: &str, range: &Range<usize>) -> u64 {
        let explained = |day: &Day| {
            let suspended = expect::suspended_on(self.dataset, self.knowledge, *day) > 0
                && self.knowledge.suspended.get(day).is_some_and(|codes| codes.contains(code));
            suspended
                || self
                    .failures
                    .iter()
                    .any(|failure| failure.area.securities.contains(code) && failure.area.span.contains(*day))
        };
        self.timeline.points[range.clone()].iter().filter(|day| !explained(day)).count() as u64
    }

    fn hole(&self, code: Option<&str>, range: Range<usize>, state: HoleState, cells: u64, reason: String) -> Hole {
        let points = &self.timeline.points;
        let span =
            if self.timeline.timeless { Span::ALL } else { Span::new(points[range.start], points[range.end - 1]) };
        let securities = code.map_or(Securities::All, Securities::one);
        let remedy = remedy(&self.dataset.name, code, span, state);
        Hole { area: Area::new(securities, span), state, cells, reason, remedy }
    }
}

fn ledger_gap(claimed: u64, held: u64) -> u64 {
    claimed.abs_diff(held).max(1)
}

fn remedy(dataset: &str, code: Option<&str>, span: Span, state: HoleState) -> String {
    if state == HoleState::Failed {
        return "tidegate failures retry".into();
    }
    let mut command = format!("tidegate sync {dataset}");
    if let Some(code) = code {
        command += &format!(" --codes {code}");
    }
    if !span.is_all() {
        command += &format!(" --from {} --to {}", span.from, span.to);
    }
    if state == HoleState::Differs {
        command += " --force";
    }
    command
}

/// Of the members on some exchanges, or of all.
fn depths(
    coverage: &Coverage,
    timeline: &Timeline,
    scope: &Scope,
    failures: &[&Failure],
    among: Option<&Exchanges>,
) -> Depths {
    let len = timeline.points.len();
    let [mut asked, mut held, mut awaited, mut failed] = std::array::from_fn(|_| Depth::new(len));
    let meant = |member: &expect::Member| among.is_none_or(|exchanges| exchanges.contains(&member.code));
    let members = scope.members.members.iter().zip(&scope.asked);
    for (member, (life, from)) in members.filter(|(member, _)| meant(member)) {
        let within = |range: Range<usize>| range.start.max(life.start).max(*from)..range.end.min(life.end);
        asked.add(&within(0..len));
        for claim in coverage.security.get(&member.code).into_iter().flatten() {
            let answered = timeline.answered(claim);
            let whole =
                if claim.stale_at.is_none() || timeline.timeless { answered.end } else { timeline.held(claim).end };
            let whole = if claim.evidence == Evidence::Partial { whole } else { answered.end };
            held.add(&within(answered.start..whole));
            awaited.add(&within(whole..answered.end));
        }
        for failure in failures.iter().filter(|failure| failure.area.securities.single() == Some(&member.code)) {
            failed.add(&within(timeline.range(failure.area.span)));
        }
    }
    Depths { asked: asked.sum(), held: held.sum(), awaited: awaited.sum(), failed: failed.sum() }
}

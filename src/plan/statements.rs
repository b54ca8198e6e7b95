//! Strategy `statements`: reports are asked for when there is a reason to, security by security: first the failures that
//! may be tried again, then what was disclosed, then what is missing; what is settled long ago comes last.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::expect::{self, Member, Members};
use super::schedule::Schedule;
use super::strategy::Group;
use super::ways;
use super::{Input, Plan, Wanted, counted, open_cells};
use crate::model::dataset::Cut;
use crate::model::{Area, Claim, Coverage, Dataset, Day, Failure, Instant, Securities, Slice, Span};

/// What is known of reports, read from the store before planning.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// Period -> security -> the day of disclosure: the actual one, else the planned one (`disclosure_date`).
    pub disclosed: HashMap<Day, HashMap<Arc<str>, Day>>,
    /// Period -> securities of which a row is stored.
    pub stored: HashMap<Day, HashSet<Arc<str>>>,
}

/// The report period that companies are, or were last, due to publish on `today`: the annual report until its deadline
/// on 30 April, the first quarter until the half-year ends, the half-year until the third quarter ends, the third
/// quarter until the year ends. Deadlines: 30 April (annual and first quarter), 31 August, 31 October.
pub fn target_period(today: Day) -> Day {
    let year = today.year();
    let (year, month, day) = match (today.month(), today.date().day()) {
        (1..=4, _) => (year - 1, 12, 31),
        (5..=6, _) => (year, 3, 31),
        (7..=9, _) => (year, 6, 30),
        _ => (year, 9, 30),
    };
    Day::new(year, month, day).unwrap_or(today)
}

/// Periods that have ended and whose reports may still come or change, oldest first.
pub fn open_periods(dataset: &Dataset, schedule: &Schedule, now: Instant) -> Vec<Day> {
    let today = now.day();
    let ended = schedule.points(today.plus(-550).max(dataset.first_day()), today, today);
    ended.into_iter().filter(|period| schedule.due_at(*period) <= now && schedule.settled_at(*period) > now).collect()
}

/// Why a security is asked for a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Disclosed,
    Missing,
}

/// A period of a security that there is a reason to ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    why: Why,
    code: Arc<str>,
    period: Day,
}

pub fn plan(input: &Input) -> Plan {
    let schedule = Schedule::new(input.dataset, &input.knowledge.calendar);
    let wanted = input.wanted;
    let inside =
        |period: &Day| wanted.from.is_none_or(|from| from <= *period) && wanted.to.is_none_or(|to| *period <= to);
    let periods: Vec<Day> = open_periods(input.dataset, &schedule, input.now).into_iter().filter(inside).collect();
    let members = Members::of(input.dataset, input.knowledge, &wanted.securities, false);
    let failed = failed(input);
    let due = due(input, &periods, &members.members);
    let mut plan = Plan { days: 1, unknown: members.unknown, estimated: members.list_missing, ..Plan::default() };
    let mut builder = Builder { input, groups: Vec::new(), slices: Vec::new() };
    builder.retries(&failed.retried);
    for (why, label) in [(Why::Disclosed, "disclosed"), (Why::Missing, "missing")] {
        builder.due(label, due.iter().filter(|due| due.why == why));
    }
    let history = history(input, &periods);
    plan.blocked = history.blocked.clone().filter(|_| builder.slices.is_empty());
    (plan.points_claimed, plan.points_provisional) = (history.points_claimed, due.len() as u64);
    plan.points_not_due = history.points_not_due;
    builder.history(history.slices);
    builder.finish(&mut plan, &periods, &failed);
    plan
}

/// Failures, by whether a run may try them again by itself.
struct Failed<'a> {
    retried: Vec<&'a Failure>,
    waiting: usize,
    by_hand: usize,
}

fn failed<'a>(input: &Input<'a>) -> Failed<'a> {
    let securities = &input.wanted.securities;
    let meant = |failure: &&Failure| match &failure.area.securities {
        Securities::All => *securities == Securities::All,
        Securities::Some(codes) => codes.iter().all(|code| securities.contains(code)),
    };
    let (mut retried, mut waiting, mut by_hand) = (Vec::new(), 0, 0);
    for failure in input.knowledge.failures.iter().filter(meant) {
        if failure.may_retry(input.now) {
            retried.push(failure);
        } else if failure.attempts < failure.attempts_max {
            waiting += 1;
        } else {
            by_hand += 1;
        }
    }
    retried.sort_by_key(|failure| (failure.first_at, failure.id));
    Failed { retried, waiting, by_hand }
}

/// Everything that there is a reason to ask for, disclosed before missing, by code.
fn due(input: &Input, periods: &[Day], members: &[Member]) -> Vec<Due> {
    let target = target_period(input.now.day());
    // What failed is tried again as it was asked, or waits.
    let mut failed: HashMap<&Arc<str>, Vec<Span>> = HashMap::new();
    for failure in &input.knowledge.failures {
        if let Some(code) = failure.area.securities.single() {
            failed.entry(code).or_default().push(failure.area.span);
        }
    }
    let mut found = Vec::new();
    for member in members {
        let held_up = failed.get(&member.code);
        let held_up = |period: Day| held_up.is_some_and(|spans| spans.iter().any(|span| span.contains(period)));
        for period in periods.iter().copied().filter(|period| member.life.from <= *period && !held_up(*period)) {
            if let Some(why) = reason(input, &member.code, period, target) {
                found.push(Due { why, code: member.code.clone(), period });
            }
        }
    }
    found.sort();
    found
}

/// Why a report should be asked for now; `None` when there is no reason to.
fn reason(input: &Input, code: &Arc<str>, period: Day, target: Day) -> Option<Why> {
    let reports = &input.knowledge.reports;
    let (now, today) = (input.now, input.now.day());
    let last = last_answer(input.coverage, code, period);
    let disclosed = reports.disclosed.get(&period).and_then(|days| days.get(code)).copied();
    if let Some(day) = disclosed {
        if day > today {
            return None;
        }
        // An answer from after that day has seen the report, if there was one.
        let seen = last.is_some_and(|claim| claim.at >= Instant::at(day.next(), 0) || claim.holds_at(now));
        if !seen {
            return Some(Why::Disclosed);
        }
    }
    let stored = reports.stored.get(&period).is_some_and(|codes| codes.contains(code));
    if stored {
        return None;
    }
    // Reports of other open periods are asked for once; after that their disclosure is waited for.
    if period != target {
        return last.is_none().then_some(Why::Missing);
    }
    let patience = i64::from(input.wanted.kept.missing_days) * 86_400;
    let long_ago = last.is_none_or(|claim| claim.at.plus_seconds(patience) <= now);
    long_ago.then_some(Why::Missing)
}

fn last_answer<'a>(coverage: &'a Coverage, code: &str, period: Day) -> Option<&'a Claim> {
    let own = coverage.security_claim(code, period);
    own.into_iter().chain(coverage.market_claim(period)).max_by_key(|claim| claim.at)
}

/// Periods whose reports are final: what was never asked for, in the fewest calls.
fn history(input: &Input, periods: &[Day]) -> Plan {
    let settled = periods.first().map_or(input.now.day(), |first| first.previous());
    let to = Some(input.wanted.to.map_or(settled, |to| to.min(settled)));
    open_cells(&Input { wanted: &Wanted { to, ..input.wanted.clone() }, ..*input })
}

/// What slices ask for already.
#[derive(Default)]
struct Asked {
    market: Vec<Span>,
    security: HashMap<Arc<str>, Vec<Span>>,
}

impl Asked {
    fn by(slices: &[Slice]) -> Asked {
        let mut asked = Asked::default();
        for Slice { area, .. } in slices {
            match area.securities.single() {
                Some(code) => asked.security.entry(code.clone()).or_default().push(area.span),
                None => asked.market.push(area.span),
            }
        }
        asked
    }

    fn holds(&self, code: &str, period: Day) -> bool {
        let own = self.security.get(code).into_iter().flatten();
        own.chain(&self.market).any(|span| span.contains(period))
    }
}

/// Slices in the order of their reasons.
struct Builder<'a> {
    input: &'a Input<'a>,
    groups: Vec<Group>,
    slices: Vec<Slice>,
}

impl Builder<'_> {
    fn cut(&self, fits: impl Fn(&Cut) -> bool) -> Option<usize> {
        self.input.offer.cuts.iter().position(fits)
    }

    fn slice(&self, area: Area, cut: usize, rows: f64) -> Slice {
        let calls = ways::calls(self.input.offer, rows);
        Slice {
            dataset: Arc::from(self.input.dataset.name.as_str()),
            area,
            cut,
            calls: u32::try_from(calls).unwrap_or(u32::MAX),
            rows: rows.round() as u64,
        }
    }

    fn close(&mut self, label: &str, before: usize) {
        if self.slices.len() > before {
            self.groups.push(Group { label: label.to_string(), slices: before..self.slices.len() });
        }
    }

    /// The failed areas themselves, so that an answer settles the failure.
    fn retries(&mut self, failures: &[&Failure]) {
        let by_security = self.cut(|cut| matches!(cut, Cut::Security { .. }));
        let by_point = self.cut(|cut| matches!(cut, Cut::Period { .. } | Cut::Day { .. }));
        for failure in failures {
            let cut = if failure.area.securities == Securities::All { by_point } else { by_security };
            if let Some(cut) = cut {
                let rows = self.rows_of_security();
                self.slices.push(self.slice(failure.area.clone(), cut, rows));
            }
        }
        self.close("failures", 0);
    }

    fn rows_of_security(&self) -> f64 {
        expect::security_rows(self.input.dataset, self.input.knowledge, self.input.now.day())
    }

    /// Securities one by one; a whole period where that takes fewer calls.
    fn due<'d>(&mut self, label: &str, due: impl Iterator<Item = &'d Due>) {
        let before = self.slices.len();
        let by_security = self.cut(|cut| matches!(cut, Cut::Security { .. }));
        let by_period = self.cut(|cut| matches!(cut, Cut::Period { .. } | Cut::Day { .. }));
        let asked = Asked::by(&self.slices);
        let due: Vec<&Due> = due.filter(|due| !asked.holds(&due.code, due.period)).collect();
        let mut whole = BTreeSet::new();
        if let Some(cut) = by_period {
            for period in due.iter().map(|due| due.period).collect::<BTreeSet<Day>>() {
                let rows = expect::market_rows(self.input.dataset, self.input.knowledge, period);
                let count = due.iter().filter(|due| due.period == period).count() as u64;
                if by_security.is_none() || ways::calls(self.input.offer, rows) <= count {
                    whole.insert(period);
                    self.slices.push(self.slice(Area::day(period), cut, rows));
                }
            }
        }
        let single: Vec<&Due> = due.into_iter().filter(|due| !whole.contains(&due.period)).collect();
        if let Some(cut) = by_security {
            self.singles(&single, cut);
        }
        self.close(label, before);
    }

    /// One slice a security, from its first to its last due period.
    fn singles(&mut self, due: &[&Due], cut: usize) {
        let bounded = matches!(self.input.offer.cuts.get(cut), Some(Cut::Security { from: Some(_), .. }));
        for periods in due.chunk_by(|one, other| one.code == other.code) {
            let (first, last) = (periods[0].period, periods[periods.len() - 1].period);
            let span = if bounded { Span::new(first, last) } else { Span::ALL };
            let rows = self.rows_of_security() * periods.len() as f64;
            self.slices.push(self.slice(Area::new(Securities::one(periods[0].code.clone()), span), cut, rows));
        }
    }

    /// What is open of settled periods. A security that is asked for anyway is asked for its history in the same call
    /// where a page has room for it.
    fn history(&mut self, history: Vec<Slice>) {
        let before = self.slices.len();
        let mut asked: HashMap<Arc<str>, usize> = HashMap::new();
        for (index, slice) in self.slices.iter().enumerate() {
            if let Some(code) = slice.area.securities.single() {
                asked.insert(code.clone(), index);
            }
        }
        let failures = self.groups.first().filter(|group| group.label == "failures");
        let retried = failures.map_or(0, |group| group.slices.end);
        let failed: HashSet<Area> = self.slices[..retried].iter().map(|slice| slice.area.clone()).collect();
        for slice in history.into_iter().filter(|slice| !failed.contains(&slice.area)) {
            let known = slice.area.securities.single().and_then(|code| asked.get(code)).copied();
            match known.filter(|index| *index >= retried) {
                Some(index) if self.slices[index].area.span.is_all() => {}
                Some(index) if self.joins(&self.slices[index], &slice) => {
                    let joined = &self.slices[index];
                    let span = Span::new(slice.area.span.from, joined.area.span.to);
                    let area = Area::new(slice.area.securities.clone(), span);
                    self.slices[index] = self.slice(area, slice.cut, (joined.rows + slice.rows) as f64);
                }
                _ => self.slices.push(slice),
            }
        }
        self.close("history", before);
    }

    /// Whether one call can bring both: the history ends right before the newer periods, and a page has room.
    fn joins(&self, newer: &Slice, history: &Slice) -> bool {
        let next = history.area.span.to.next().quarter_end();
        let room = self.input.offer.row_cap.is_none_or(|cap| newer.rows + history.rows < u64::from(cap));
        newer.cut == history.cut && newer.area.span.from == next && room
    }

    fn finish(self, plan: &mut Plan, periods: &[Day], failed: &Failed) {
        let offer = self.input.offer;
        let calls = self.slices.iter().map(|slice| u64::from(slice.calls)).sum();
        let rows = self.slices.iter().map(|slice| slice.rows).sum();
        super::count(offer, ways::Cost { calls, rows }, plan);
        plan.slices = self.slices;
        plan.groups = self.groups;
        let counts: Vec<String> =
            plan.groups.iter().map(|group| format!("{} {}", group.label, group.slices.len())).collect();
        let target = target_period(self.input.now.day());
        plan.reason = match counts.is_empty() {
            true => "no report is due".to_string(),
            false => format!("{}: {}", counts.join(", "), counted(calls, "call")),
        };
        let target =
            if periods.contains(&target) { format!("target {target}") } else { format!("target {target}, settled") };
        plan.reason += &format!("; {target}");
        for (count, what) in [(failed.waiting, "failures wait"), (failed.by_hand, "failures wait for a person")] {
            if count > 0 {
                plan.reason += &format!("; {count} {what}");
            }
        }
    }
}

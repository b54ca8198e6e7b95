//! The planner, pure: dataset + ledger + calendar + securities + quotas -> slices with calls, rows and minutes.

mod audit;
mod cells;
mod days;
mod expect;
mod judge;
mod next_run;
pub mod ranges;
mod realtime;
mod schedule;
mod statements;
mod strategy;
#[cfg(test)]
mod tests;
mod timeline;
mod ways;
mod whole;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use audit::{Audit, Cells, Hole, HoleState, Served, audit};
pub use cells::{CellState, DayCell, day_cells};
pub use days::{DayState, DayStatus, LastSync, day_statuses, last_syncs};
pub use expect::SECURITIES_DEFAULT;
pub use judge::judge;
pub use next_run::{EVENING, Facts, LATE_SECONDS, NextRun, Publication, Whole, next_run};
pub use realtime::{SESSIONS, is_trading, next_poll};
pub use schedule::Schedule;
pub use statements::{Reports, open_periods, target_period};
pub use strategy::{Defaults, Group, Kept, check_days, partition_of};
pub use whole::{Wholeness, wholeness};

use crate::model::dataset::{Points, Universe};
use crate::model::{
    Coverage, Dataset, Day, Exchanges, Failure, Instant, Offer, Securities, SecurityList, Slice, Span, Strategy,
    TradingCalendar,
};
use expect::Members;
use timeline::Timeline;
use ways::{Cost, Open, Way};

/// What is known of the market, read from the store's own tables before planning.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// From `trade_cal`; knows nothing when that table is empty.
    pub calendar: TradingCalendar,
    /// From `stock_basic` and `bse_mapping`; empty when unknown.
    pub securities: SecurityList,
    /// Whole-day suspensions from `suspend_d`, where that table is claimed.
    pub suspended: HashMap<Day, HashSet<Arc<str>>>,
    /// Unresolved failures of the dataset; read for strategies `incremental` and `statements` only.
    pub failures: Vec<Failure>,
    /// What strategy `statements` goes by; read for that strategy only.
    pub reports: Reports,
}

impl Knowledge {
    /// What somebody knows to whom securities of these exchanges do not exist.
    pub fn without(&self, exchanges: &Exchanges) -> Knowledge {
        let mut known = self.clone();
        known.securities = self.securities.without(exchanges);
        known.suspended.values_mut().for_each(|codes| codes.retain(|code| !exchanges.contains(code)));
        known.failures.retain(|failure| failure.area.securities.single().is_none_or(|code| !exchanges.contains(code)));
        known
    }

    /// Whether a security of one of these exchanges is known.
    pub fn knows_any_of(&self, exchanges: &Exchanges) -> bool {
        !exchanges.is_empty() && self.securities.iter().any(|security| exchanges.contains(&security.code))
    }
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub securities: Securities,
    /// `None`: from the dataset's first day to what is due.
    pub from: Option<Day>,
    pub to: Option<Day>,
    /// Ask again for what is claimed and final.
    pub force: bool,
    pub kept: Kept,
}

/// Everything a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub dataset: &'a Dataset,
    pub offer: &'a Offer,
    pub knowledge: &'a Knowledge,
    pub coverage: &'a Coverage,
    pub wanted: &'a Wanted,
    pub now: Instant,
}

/// What a sync will do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// How the dataset is kept.
    pub strategy: Strategy,
    /// In the order of fetching: oldest first.
    pub slices: Vec<Slice>,
    pub calls: u64,
    pub rows: u64,
    /// At the source's quota.
    pub minutes: f64,
    /// Points of time (days, periods) in the wanted span that are claimed and need no call.
    pub points_claimed: u64,
    /// Points that are not due yet.
    pub points_not_due: u64,
    /// Points asked again because their claim was provisional.
    pub points_provisional: u64,
    /// Beijing days that the source's daily limit makes it take; 1 when one day is enough.
    pub days: u64,
    /// The cut that was chosen and why, in one sentence.
    pub reason: String,
    /// Wanted codes that no security has or had; nothing is asked about them.
    pub unknown: Vec<String>,
    /// The calendar or the list of securities is not known: every weekday, and `SECURITIES_DEFAULT` securities.
    pub estimated: bool,
    /// Slices that belong together (batches, partitions, what comes first and why), in order; empty when all do.
    pub groups: Vec<Group>,
    /// Nothing is written before everything is there; then all of it in one commit.
    pub at_once: bool,
    /// Why open cells cannot be asked for at all; a plan without slices is otherwise a plan with nothing to do.
    pub blocked: Option<String>,
}

impl Plan {
    /// How many partitions are worked on side by side; 1 where that is not the strategy.
    pub fn partitions(&self) -> usize {
        if self.strategy == Strategy::Partitions { self.groups.len().max(1) } else { 1 }
    }
}

/// What the strategy asks for of what is wanted, due and not claimed, in the fewest calls that it allows. Of securities
/// that the source has not, nothing is asked.
pub fn plan(input: &Input) -> Plan {
    let lacks = &input.offer.lacks_exchanges;
    if lacks.is_empty() {
        return plan_known(input);
    }
    let (mut dataset, mut wanted) = (input.dataset.clone(), input.wanted.clone());
    dataset.codes.retain(|code| !lacks.contains(code));
    if let Securities::Some(codes) = &mut wanted.securities {
        codes.retain(|code| !lacks.contains(code));
        if codes.is_empty() {
            let reason = format!("the source has no securities of {lacks}");
            return Plan { strategy: wanted.kept.strategy, reason, days: 1, ..Plan::default() };
        }
    }
    let reduced = input.knowledge.knows_any_of(lacks).then(|| input.knowledge.without(lacks));
    let knowledge = reduced.as_ref().unwrap_or(input.knowledge);
    plan_known(&Input { dataset: &dataset, knowledge, wanted: &wanted, ..*input })
}

fn plan_known(input: &Input) -> Plan {
    let mut plan = match input.wanted.kept.strategy {
        // By force everything is asked again, whatever there is a reason for.
        Strategy::Statements if !input.wanted.force => statements::plan(input),
        Strategy::Incremental if input.wanted.from.is_none() => incremental(input),
        Strategy::FullReplace => full_replace(input),
        _ => open_cells(input),
    };
    plan.strategy = input.wanted.kept.strategy;
    plan
}

/// From the last whole day on, or from the first failure that may be tried again; what was left open before is not looked
/// for.
fn incremental(input: &Input) -> Plan {
    let timeline = Timeline::new(input.dataset, input.knowledge, None, input.wanted.to, input.now);
    let members = Members::of(input.dataset, input.knowledge, &input.wanted.securities, timeline.timeless);
    let open = Open::new(input, &timeline, &members);
    let failed = input.knowledge.failures.iter().filter(|failure| failure.may_retry(input.now));
    let failed = failed.map(|failure| failure.area.span.from).filter(|day| *day > Day::MIN).min();
    let whole = strategy::incremental_from(&timeline.points, &open.counts, input.wanted.kept.look_back);
    let from = whole.map(|whole| failed.map_or(whole, |failed| failed.min(whole)));
    let wanted = Wanted { from, ..input.wanted.clone() };
    let mut plan = open_cells(&Input { wanted: &wanted, ..*input });
    if let Some(from) = from.filter(|_| !plan.slices.is_empty()) {
        plan.reason += &format!("; from {from} on");
    }
    plan
}

/// Once anything is open, everything is asked anew.
fn full_replace(input: &Input) -> Plan {
    let found = open_cells(input);
    if found.slices.is_empty() {
        return found;
    }
    let wanted = Wanted { force: true, ..input.wanted.clone() };
    let mut plan = open_cells(&Input { wanted: &wanted, ..*input });
    plan.at_once = plan.slices.len() > 1;
    let rows_max = wanted.kept.replace_rows_max;
    if plan.at_once && plan.rows > rows_max {
        let (rows, rows_max) = (grouped(plan.rows), grouped(rows_max));
        plan.blocked = Some(format!("{rows} rows cannot be replaced in one step: at most {rows_max} are held back"));
    }
    plan.reason += "; everything anew, put in place in one step";
    plan
}

/// The plain plan: every open cell of the wanted securities and days.
fn open_cells(input: &Input) -> Plan {
    let wanted = input.wanted;
    let kept = &wanted.kept;
    let timeline = Timeline::new(input.dataset, input.knowledge, wanted.from, wanted.to, input.now);
    let timeline = timeline.looking_back(kept.look_back, input.dataset);
    let timeline = if kept.strategy == Strategy::Realtime { timeline.with_running_day() } else { timeline };
    let mut members = Members::of(input.dataset, input.knowledge, &wanted.securities, timeline.timeless);
    if kept.strategy == Strategy::BySecurity && kept.offset > 0 {
        let known = members.members.len();
        members.members.drain(..kept.offset.min(known));
        if members.members.is_empty() {
            let reason = format!("the batch at offset {} is empty: there are {known} securities", kept.offset);
            return Plan { reason, days: 1, unknown: members.unknown, ..Plan::default() };
        }
    }
    let open = Open::new(input, &timeline, &members);
    let asked = open.counts.iter().filter(|count| **count > 0).count() as u64;
    let provisional = open.counts.iter().zip(&open.stale).filter(|(count, stale)| **count > 0 && **stale).count();
    let mut plan = Plan {
        points_claimed: timeline.points.len() as u64 - asked,
        points_not_due: timeline.not_due.len() as u64,
        points_provisional: provisional as u64,
        estimated: is_estimated(input, &timeline, &members),
        days: 1,
        ..Plan::default()
    };
    if asked == 0 {
        plan.reason = nothing_to_ask(&timeline, &members);
    } else {
        choose(input, &open, &members, &mut plan);
        let codes: Vec<Arc<str>> = members.members.iter().map(|member| member.code.clone()).collect();
        if plan.blocked.is_none() {
            strategy::group(input, &mut plan, &codes);
        }
    }
    plan.unknown = members.unknown;
    plan
}

/// Weighs every way that the strategy allows and fills in the cheapest: fewest calls, then fewest rows, then the
/// offer's own order.
fn choose(input: &Input, open: &Open, members: &Members, plan: &mut Plan) {
    let (offer, strategy) = (input.offer, input.wanted.kept.strategy);
    let mut ways: Vec<(Cost, Way)> = open.ways().into_iter().map(|way| (open.cost(way), way)).collect();
    ways.sort_by_key(|(cost, _)| *cost);
    let mut allowed = ways.iter().filter(|(_, way)| strategy::allows(strategy, *way, &offer.cuts));
    let cheapest = allowed.next().or_else(|| ways.first().filter(|_| strategy::falls_back(strategy))).copied();
    let Some((cost, way)) = cheapest else {
        let blocked = if ways.is_empty() { blocked(input, members) } else { strategy::no_way(strategy, offer) };
        plan.reason = blocked.clone();
        plan.blocked = Some(blocked);
        return;
    };
    plan.slices = open.slices(way);
    count(offer, cost, plan);
    plan.reason = format!("{}: {}", ways::label(way, offer), counted(cost.calls, "call"));
    let other = ways.iter().find(|(other, _)| other.calls > cost.calls);
    if let Some((other, way)) = other.filter(|(_, way)| !matches!(way, Way::Mixed { .. })) {
        plan.reason += &format!("; {} would take {}", ways::label(*way, offer), grouped(other.calls));
    }
    if plan.days > 1 {
        plan.reason += &format!("; {} days at {} calls a day", plan.days, grouped(offer.per_day.unwrap_or(0)));
    }
}

/// Fills in what the slices cost at the source's quota.
fn count(offer: &Offer, cost: Cost, plan: &mut Plan) {
    (plan.calls, plan.rows) = (cost.calls, cost.rows);
    plan.minutes = offer.per_minute.map_or(0.0, |per_minute| cost.calls as f64 / f64::from(per_minute.max(1)));
    plan.days = offer.per_day.map_or(1, |per_day| cost.calls.div_ceil(per_day.max(1)));
}

fn blocked(input: &Input, members: &Members) -> String {
    if members.list_missing && input.dataset.universe == Universe::Stock {
        return "it is asked for security by security and the securities are not known yet: sync stock_basic first"
            .into();
    }
    format!("the source offers no way to ask for all of {}", input.dataset.name)
}

fn nothing_to_ask(timeline: &Timeline, members: &Members) -> String {
    if timeline.points.is_empty() {
        return if timeline.not_due.is_empty() { "no trading in that time" } else { "nothing is due yet" }.into();
    }
    if members.members.is_empty() && !members.unknown.is_empty() {
        return "none of the codes is known".into();
    }
    "everything that is due is claimed".into()
}

fn is_estimated(input: &Input, timeline: &Timeline, members: &Members) -> bool {
    let by_calendar = matches!(input.dataset.expect.points, Points::Trading | Points::WeekEnd | Points::MonthEnd);
    let known = input.knowledge.calendar.known().unwrap_or(Span::day(Day::MIN));
    let asked = timeline.points.first().zip(timeline.points.last());
    let beyond = asked.is_some_and(|(first, last)| !known.contains(*first) || !known.contains(*last));
    (by_calendar && !timeline.timeless && beyond) || members.list_missing
}

/// `1 call`, `5,400 calls`.
fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Digits in groups of three.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group).into_owned()).collect::<Vec<_>>().join(",")
}

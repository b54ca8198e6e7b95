//! The planner, pure: dataset + ledger + calendar + securities + quotas -> slices with calls, rows and minutes.

mod audit;
mod expect;
mod judge;
pub mod ranges;
mod schedule;
#[cfg(test)]
mod tests;
mod timeline;
mod ways;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use audit::{Audit, Cells, Hole, HoleState, audit};
pub use expect::SECURITIES_DEFAULT;
pub use judge::judge;
pub use schedule::Schedule;

use crate::model::dataset::{Points, Universe};
use crate::model::{
    Coverage, Dataset, Day, Instant, Offer, Securities, SecurityList, Slice, Span, Strategy, TradingCalendar,
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
    /// Why open cells cannot be asked for at all; a plan without slices is otherwise a plan with nothing to do.
    pub blocked: Option<String>,
}

/// The fewest calls that bring what is wanted, due and not claimed.
pub fn plan(input: &Input) -> Plan {
    let wanted = input.wanted;
    let timeline = Timeline::new(input.dataset, input.knowledge, wanted.from, wanted.to, input.now);
    let members = Members::of(input.dataset, input.knowledge, &wanted.securities, timeline.timeless);
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
    }
    plan.unknown = members.unknown;
    plan
}

/// Weighs every way and fills in the cheapest: fewest calls, then fewest rows, then the offer's own order.
fn choose(input: &Input, open: &Open, members: &Members, plan: &mut Plan) {
    let mut ways: Vec<(Cost, Way)> = open.ways().into_iter().map(|way| (open.cost(way), way)).collect();
    ways.sort_by_key(|(cost, _)| *cost);
    let Some((cost, way)) = ways.first().copied() else {
        plan.blocked = Some(blocked(input, members));
        plan.reason = plan.blocked.clone().unwrap_or_default();
        return;
    };
    plan.slices = open.slices(way);
    (plan.calls, plan.rows) = (cost.calls, cost.rows);
    let offer = input.offer;
    plan.minutes = offer.per_minute.map_or(0.0, |per_minute| cost.calls as f64 / f64::from(per_minute.max(1)));
    plan.days = offer.per_day.map_or(1, |per_day| cost.calls.div_ceil(per_day.max(1)));
    plan.reason = format!("{}: {}", ways::label(way, offer), counted(cost.calls, "call"));
    let other = ways[1..].iter().find(|(other, _)| other.calls > cost.calls);
    if let Some((other, way)) = other.filter(|(_, way)| !matches!(way, Way::Mixed { .. })) {
        plan.reason += &format!("; {} would take {}", ways::label(*way, offer), grouped(other.calls));
    }
    if plan.days > 1 {
        plan.reason += &format!("; {} days at {} calls a day", plan.days, grouped(offer.per_day.unwrap_or(0)));
    }
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

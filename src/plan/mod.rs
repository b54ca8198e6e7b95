//! The planner, pure: dataset + ledger + calendar + securities + quotas -> slices with calls, rows and minutes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{
    Area, Coverage, Dataset, Day, Instant, Offer, Securities, SecurityList, Slice, Span, TradingCalendar,
};

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
    /// The cut that was chosen and why, in one sentence.
    pub reason: String,
}

/// Where areas of one dataset lie: used by plans, claims and audits alike.
pub fn span_of(_area: &Area) -> Span {
    Span::ALL
}

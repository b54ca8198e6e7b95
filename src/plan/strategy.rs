//! How a strategy narrows and orders a plan, pure: which points, which ways of asking, in which groups of slices.

use std::fmt;
use std::ops::Range;

use super::ways::Way;
use super::{Input, Plan};
use crate::model::dataset::Cut;
use crate::model::{Dataset, Day, Error, How, Offer, Result, Securities, Slice, Span, Strategy};

/// What holds where neither a request nor the catalogue says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Securities in one batch.
    pub batch_size: u32,
    pub partitions: u32,
    /// Days after which a security without the target report is asked again.
    pub missing_days: u32,
    /// Calendar days that one request of strategy `range` may span.
    pub range_days_max: u32,
    /// Rows that a table that is replaced as a whole may have, where that takes several slices.
    pub replace_rows_max: u64,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults { batch_size: 500, partitions: 4, missing_days: 7, range_days_max: 90, replace_rows_max: 2_000_000 }
    }
}

/// A strategy with its parameters, resolved: request over catalogue over configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub strategy: Strategy,
    pub batch_size: usize,
    pub offset: usize,
    pub look_back: usize,
    pub partitions: usize,
    pub missing_days: i32,
    pub range_days_max: i32,
    pub replace_rows_max: u64,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept {
            strategy: Strategy::default(),
            batch_size: 500,
            offset: 0,
            look_back: 0,
            partitions: 1,
            missing_days: 7,
            range_days_max: 90,
            replace_rows_max: u64::MAX,
        }
    }
}

impl Kept {
    /// What `how` asks for of `dataset`.
    pub fn of(dataset: &Dataset, how: &How, defaults: &Defaults) -> Kept {
        let policy = &dataset.policy;
        let strategy = how.strategy.unwrap_or(policy.strategy);
        let partitions = how.partitions.or(policy.partitions).unwrap_or(defaults.partitions);
        Kept {
            strategy,
            batch_size: how.batch_size.or(policy.batch_size).unwrap_or(defaults.batch_size).max(1) as usize,
            offset: how.offset as usize,
            look_back: how.look_back.unwrap_or(policy.look_back) as usize,
            partitions: if strategy == Strategy::Partitions { partitions.max(1) as usize } else { 1 },
            missing_days: policy.missing_days.unwrap_or(defaults.missing_days) as i32,
            range_days_max: defaults.range_days_max as i32,
            replace_rows_max: defaults.replace_rows_max,
        }
    }

    /// Refuses at once what the strategy cannot do. `days`: the first and the last day that are asked for.
    pub fn check(&self, dataset: &Dataset, days: (Option<Day>, Option<Day>)) -> Result<()> {
        let by_report = dataset.shape == crate::model::dataset::Shape::Period;
        match self.strategy {
            Strategy::Range => check_days(dataset).and_then(|()| self.check_range(days)),
            Strategy::Statements if !by_report => {
                let message = format!("{} has no report periods, so strategy statements does not fit it", dataset.name);
                Err(Error::invalid(message).hint("see `tidegate datasets --strategies`"))
            }
            _ => Ok(()),
        }
    }

    fn check_range(&self, days: (Option<Day>, Option<Day>)) -> Result<()> {
        let (Some(from), Some(to)) = days else {
            return Err(Error::invalid("strategy range needs a first and a last day").hint("add --from and --to"));
        };
        let count = to.0 - from.0 + 1;
        if count > self.range_days_max {
            let message = format!("{from}..{to} is {count} days; one request may span {}", self.range_days_max);
            return Err(Error::invalid(message).hint("ask for less at a time, or raise sync.range_days_max"));
        }
        Ok(())
    }
}

/// Refuses a table that has no days to tell apart.
pub fn check_days(dataset: &Dataset) -> Result<()> {
    if dataset.shape == crate::model::dataset::Shape::Whole || dataset.time.is_none() {
        let message = format!("{} has no days: it is one state of the whole table", dataset.name);
        return Err(Error::invalid(message).hint("`tidegate status` says how fresh it is"));
    }
    Ok(())
}

/// Slices that belong together, by their positions in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `batch 2 (offset 500, 500 securities)`, `disclosed`, `partition 1 of 4`.
    pub label: String,
    pub slices: Range<usize>,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} slices", self.label, self.slices.len())
    }
}

/// Whether `strategy` may ask in this way.
pub fn allows(strategy: Strategy, way: Way, cuts: &[Cut]) -> bool {
    let points = |by_period: bool| match way {
        Way::Points { cut } => matches!(cuts.get(cut), Some(Cut::Period { .. })) == by_period,
        _ => false,
    };
    match strategy {
        Strategy::BySecurity => matches!(way, Way::Securities { .. }),
        Strategy::ByDay => points(false),
        Strategy::ByPeriod => points(true),
        Strategy::Incremental | Strategy::Range => matches!(way, Way::Points { .. }),
        Strategy::FewestCalls
        | Strategy::Partitions
        | Strategy::Statements
        | Strategy::FullReplace
        | Strategy::Merge
        | Strategy::Realtime => true,
        // Tables of databases and files are compared, not planned from a calendar.
        Strategy::Watermark | Strategy::Hash => false,
    }
}

/// Whether the strategy falls back to any way where the source offers none of its own: its point is what is asked, not
/// how.
pub fn falls_back(strategy: Strategy) -> bool {
    matches!(strategy, Strategy::Incremental | Strategy::Range)
}

/// Why none of the offered cuts will do.
pub fn no_way(strategy: Strategy, offer: &Offer) -> String {
    let wanted = match strategy {
        Strategy::BySecurity => "security by security",
        Strategy::ByDay => "day by day",
        Strategy::ByPeriod => "period by period",
        Strategy::Watermark => "for what is newer than a watermark",
        Strategy::Hash => "for hashes of ranges",
        _ => "in that way",
    };
    let offered: Vec<&str> = offer.cuts.iter().map(Cut::name).collect();
    format!("the source cannot be asked {wanted}, only by {}", offered.join(", "))
}

/// The first day of an incremental run that names none: the last day that is whole, and before it the look-back window.
pub fn incremental_from(points: &[Day], open: &[u64], look_back: usize) -> Option<Day> {
    let whole = open.iter().rposition(|count| *count == 0)?;
    let first = whole.min(points.len().saturating_sub(look_back));
    points.get(first).copied()
}

/// Divides the finished plan into the groups that its strategy works in.
pub fn group(input: &Input, plan: &mut Plan, members: &[std::sync::Arc<str>]) {
    let kept = &input.wanted.kept;
    match kept.strategy {
        Strategy::BySecurity => batches(kept, plan, members),
        Strategy::Partitions => partitions(kept, plan),
        _ => {}
    }
}

/// `members` are sorted and begin at the offset.
fn batches(kept: &Kept, plan: &mut Plan, members: &[std::sync::Arc<str>]) {
    let number = |slice: &Slice| {
        let code = slice.area.securities.single();
        let at = code.and_then(|code| members.binary_search(code).ok()).unwrap_or(0);
        at / kept.batch_size
    };
    for (batch, codes) in members.chunks(kept.batch_size).enumerate() {
        let before = plan.groups.last().map_or(0, |group: &Group| group.slices.end);
        let count = plan.slices[before..].iter().take_while(|slice| number(slice) == batch).count();
        let offset = kept.offset + batch * kept.batch_size;
        let label = format!("batch {} (offset {offset}, {} securities)", batch + 1, codes.len());
        plan.groups.push(Group { label, slices: before..before + count });
    }
    let end = kept.offset + members.len();
    plan.reason += &format!("; {} batches of {}, ends at offset {end}", plan.groups.len(), kept.batch_size);
}

fn partitions(kept: &Kept, plan: &mut Plan) {
    let count = kept.partitions;
    plan.slices.sort_by_key(|slice| partition_of(slice, count));
    for partition in 0..count {
        let before = plan.groups.last().map_or(0, |group: &Group| group.slices.end);
        let own = plan.slices[before..].iter().take_while(|slice| partition_of(slice, count) == partition).count();
        let label = format!("partition {} of {count}", partition + 1);
        plan.groups.push(Group { label, slices: before..before + own });
    }
    let by_security = plan.slices.iter().any(|slice| slice.area.securities != Securities::All);
    let by = if by_security { "securities" } else { "months" };
    plan.reason += &format!("; {count} partitions by {by}, side by side");
}

/// The partition of a slice: by the hash of its security, else by its month.
pub fn partition_of(slice: &Slice, count: usize) -> usize {
    let count = count.max(1);
    match slice.area.securities.single() {
        // FNV-1a: the same on every machine and in every version.
        Some(code) => {
            let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            (code.bytes().fold(0xcbf2_9ce4_8422_2325, step) % count as u64) as usize
        }
        None => {
            let Span { from, .. } = slice.area.span;
            (i64::from(from.year()) * 12 + i64::from(from.month())).rem_euclid(count as i64) as usize
        }
    }
}

//! What happens to one security: closes, halts, ex-dates, share changes and names, day by day.
//!
//! Everything here follows from the seed; the closes are the only part that depends on the day before, so they are
//! worked out once and kept, four bytes a day.

use std::ops::Range;

use crate::model::Day;

use super::core::Core;
use super::dice::Stream;
use super::fundamentals::{Quarter, report_day};
use super::rows::divide_rounded;
use super::securities::{Board, Stock};

/// A dividend with all of its days.
#[derive(Clone, Debug, PartialEq)]
pub struct Dividend {
    pub year: i16,
    pub announced: Day,
    pub meeting: Day,
    pub implementation: Day,
    pub record: Day,
    pub ex: Day,
    pub ex_session: u32,
    /// Before tax, in thousandths of a yuan a share.
    pub cash_milli: i64,
    /// New shares for a thousand held.
    pub stock_permille: i64,
}

/// A session on which the reference price, the factor and the number of shares step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    session: u32,
    pre_close_fen: i64,
    factor_micro: i64,
    shares: i64,
}

/// A name and the days on which it was borne.
#[derive(Clone, Debug, PartialEq)]
pub struct NameSpan {
    pub name: String,
    pub from: Day,
    pub to: Option<Day>,
    pub announced: Day,
    pub reason: &'static str,
}

/// The story of one security.
#[derive(Clone, Debug)]
pub struct Story {
    /// The sessions on which it is listed and rows exist.
    pub sessions: Range<u32>,
    /// The session of its listing.
    pub listed: u32,
    /// Closes in fen, one for each session; a halted day keeps the last one.
    closes: Vec<u32>,
    start: Step,
    steps: Vec<Step>,
    /// Whole-day halts, oldest first.
    pub halts: Vec<Range<u32>>,
    /// Sessions under special treatment.
    special: Vec<Range<u32>>,
    pub dividends: Vec<Dividend>,
    pub names: Vec<NameSpan>,
}

impl Story {
    pub fn write(core: &Core, stock: &Stock) -> Story {
        let days = core.days;
        let listed = core.sessions.number_from(stock.listed);
        let first = listed.max(core.sessions.number_from(days.from));
        let end = core.sessions.number_from(stock.delisted.unwrap_or(Day::MAX).min(days.to.next())).max(first);
        let halts = halts(core, stock, first, end);
        let dividends = dividends(core, stock, &halts);
        let (special, names) = names(core, stock, first, end);
        let start = start(core, stock, first, listed);
        let mut story = Story {
            sessions: first..end,
            listed,
            closes: Vec::new(),
            start,
            steps: Vec::new(),
            halts,
            special,
            dividends,
            names,
        };
        story.walk(core, stock);
        story
    }

    /// Works out every close, and the step of every ex-date.
    fn walk(&mut self, core: &Core, stock: &Stock) {
        let mut close = self.start.pre_close_fen;
        let mut last = self.start;
        let dividends = std::mem::take(&mut self.dividends);
        let mut coming = dividends.iter().filter(|dividend| dividend.ex_session > self.sessions.start).peekable();
        self.closes.reserve_exact(self.sessions.len());
        for session in self.sessions.clone() {
            if let Some(dividend) = coming.next_if(|dividend| dividend.ex_session <= session) {
                last = step(dividend, session, close, last);
                self.steps.push(last);
                close = last.pre_close_fen;
            }
            if !self.is_halted(session) {
                close = self.next_close(core, stock, session, close);
            }
            self.closes.push(close as u32);
        }
        self.dividends = dividends;
    }

    fn next_close(&self, core: &Core, stock: &Stock, session: u32, pre_close: i64) -> i64 {
        let mut dice = core.dice(Stream::Close, u64::from(stock.number), u64::from(session));
        let shock = if dice.chance(1, 40) { 5.0 } else { 1.0 };
        let own = dice.noise() * 0.018 * shock;
        let (anchor, reference) = (stock.anchor_fen as f64, pre_close as f64);
        let pull = 0.02 * (anchor - reference) / (anchor + reference);
        let wanted = (reference * (1.0 + core.market_move(session) + own + pull)).round() as i64;
        let (down, up) =
            self.limits(stock, session, pre_close, core).unwrap_or((pre_close * 64 / 100, pre_close * 144 / 100));
        wanted.clamp(down, up).max(50)
    }

    /// The lowest and highest price of the day; `None` while a new listing trades without limits.
    pub fn limits(&self, stock: &Stock, session: u32, pre_close: i64, core: &Core) -> Option<(i64, i64)> {
        let percent = i64::from(self.limit_percent(stock, session, core)?);
        Some(((pre_close * (100 - percent) + 50) / 100, (pre_close * (100 + percent) + 50) / 100))
    }

    fn limit_percent(&self, stock: &Stock, session: u32, core: &Core) -> Option<u8> {
        let reforms = &core.reforms;
        let (free_days, percent) = match stock.board {
            Board::Beijing => (1, 30),
            Board::Star => (5, 20),
            Board::ChiNext if session >= reforms.growth_board => (5, 20),
            _ if self.is_special(session) => (0, 5),
            _ if session >= reforms.registration => (5, 10),
            _ => (1, 10),
        };
        (session.saturating_sub(self.listed) >= free_days).then_some(percent)
    }

    pub fn is_halted(&self, session: u32) -> bool {
        within(&self.halts, session)
    }

    pub fn is_special(&self, session: u32) -> bool {
        within(&self.special, session)
    }

    /// The last close in fen at `session`.
    pub fn close(&self, session: u32) -> Option<i64> {
        let index = session.checked_sub(self.sessions.start)?;
        self.closes.get(index as usize).map(|close| i64::from(*close))
    }

    /// What the day's change is measured against: the last close, or the ex-right reference on an ex-date.
    pub fn pre_close(&self, session: u32) -> i64 {
        let step = self.step_at(session);
        if step.session == session {
            return step.pre_close_fen;
        }
        session.checked_sub(1).and_then(|before| self.close(before)).unwrap_or(self.start.pre_close_fen)
    }

    fn step_at(&self, session: u32) -> Step {
        let after = self.steps.partition_point(|step| step.session <= session);
        after.checked_sub(1).map_or(self.start, |index| self.steps[index])
    }

    /// The cumulative adjustment factor in millionths.
    pub fn factor_micro(&self, session: u32) -> i64 {
        self.step_at(session).factor_micro
    }

    pub fn shares(&self, session: u32) -> i64 {
        self.step_at(session).shares
    }

    /// Shares that may be traded: a quarter at first, nearly all of them in the end.
    pub fn float_shares(&self, stock: &Stock, session: u32) -> i64 {
        let settled = 800 + i64::from(stock.number % 9) * 25;
        let permille = match session.saturating_sub(self.listed) {
            0..244 => 250,
            244..732 => 600,
            _ => settled,
        };
        self.shares(session) / 1000 * permille
    }

    /// The name on a day.
    pub fn name_on(&self, day: Day) -> &str {
        let after = self.names.partition_point(|span| span.from <= day);
        self.names.get(after.saturating_sub(1)).map_or("", |span| &span.name)
    }

    pub fn is_trading(&self, session: u32) -> bool {
        self.sessions.contains(&session) && !self.is_halted(session)
    }
}

fn within(ranges: &[Range<u32>], session: u32) -> bool {
    let after = ranges.partition_point(|range| range.start <= session);
    after > 0 && ranges[after - 1].contains(&session)
}

fn step(dividend: &Dividend, session: u32, close: i64, last: Step) -> Step {
    let milli = i128::from(close * 10 - dividend.cash_milli) * 1000;
    let pre_close = divide_rounded(milli, i128::from(1000 + dividend.stock_permille) * 10).max(50);
    let factor = divide_rounded(i128::from(last.factor_micro) * i128::from(close), pre_close);
    let shares = i128::from(last.shares) * i128::from(1000 + dividend.stock_permille) / 1000;
    Step { session, pre_close_fen: pre_close as i64, factor_micro: factor as i64, shares: shares as i64 }
}

/// Where the story begins: at the issue price, or somewhere in life when rows exist only from later on.
fn start(core: &Core, stock: &Stock, first: u32, listed: u32) -> Step {
    let mut dice = core.dice(Stream::Start, u64::from(stock.number), 0);
    let years = i64::from(first.saturating_sub(listed) / 243);
    let pre_close_fen = stock.anchor_fen * dice.between(70, 130) / 100;
    let (factor_micro, grown) = if years == 0 {
        (1_000_000, 100)
    } else {
        (1_000_000 + years * dice.between(2_000, 160_000), 100 + years * dice.between(0, 12))
    };
    let shares = stock.shares / 100 * grown;
    Step { session: u32::MAX, pre_close_fen, factor_micro, shares }
}

/// Suspensions of whole days: about one a security in a dozen years, most of them short.
fn halts(core: &Core, stock: &Stock, first: u32, end: u32) -> Vec<Range<u32>> {
    let mut halts: Vec<Range<u32>> = Vec::new();
    if first >= end {
        return halts;
    }
    let years = core.sessions.day(first).year()..=core.sessions.day(end - 1).year();
    for year in years {
        let mut dice = core.dice(Stream::Halts, u64::from(stock.number), year as u64);
        if !dice.chance(1, 12) {
            continue;
        }
        let year_start = core.sessions.number_from(Day::new(year, 1, 1).unwrap_or(Day::MAX));
        let start = (year_start + dice.below(230) as u32).max(first + 1);
        let len = if dice.chance(1, 10) { dice.between(30, 90) } else { dice.between(1, 12) } as u32;
        let range = start.max(halts.last().map_or(0, |last| last.end + 1))..(start + len).min(end);
        if range.start < range.end {
            halts.push(range);
        }
    }
    halts
}

/// Dividends of every year for which rows can exist, in the order of their ex-dates.
fn dividends(core: &Core, stock: &Stock, halts: &[Range<u32>]) -> Vec<Dividend> {
    let from = core.days.from.year() - 1;
    let years = from.max(stock.listed.year())..=core.days.to.year();
    years.filter_map(|year| dividend(core, stock, halts, year)).collect()
}

fn dividend(core: &Core, stock: &Stock, halts: &[Range<u32>], year: i16) -> Option<Dividend> {
    let mut dice = core.dice(Stream::Dividend, u64::from(stock.number), year as u64);
    let pays = stock.yield_permille > 0 && dice.chance(3, 5);
    let gives = dice.chance(1, 10);
    if !pays && !gives {
        return None;
    }
    let announced = report_day(core, stock, Quarter { year, quarter: 4 });
    let meeting = announced.plus(dice.between(20, 45) as i32);
    let implementation = meeting.plus(dice.between(8, 30) as i32);
    let mut ex_session = core.sessions.number_from(implementation.plus(dice.between(5, 9) as i32));
    while within(halts, ex_session) {
        ex_session += 1;
    }
    let ex = core.sessions.day(ex_session);
    let record = core.sessions.before(ex)?;
    let end = stock.delisted.unwrap_or(Day::MAX);
    if record < stock.listed || ex >= end || ex_session + 1 >= core.sessions.number_from(core.sessions.last()) {
        return None;
    }
    let earned_milli = stock.anchor_fen * 10 * stock.yield_permille / 1000;
    let cash_milli = if pays { earned_milli * dice.between(20, 45) / 100 / 5 * 5 } else { 0 };
    let stock_permille = if gives { dice.between(1, 10) * 100 } else { 0 };
    (cash_milli > 0 || stock_permille > 0).then_some(Dividend {
        year,
        announced,
        meeting,
        implementation,
        record,
        ex,
        ex_session,
        cash_milli,
        stock_permille,
    })
}

/// Names with their days; companies that lose money are marked ST for a while.
fn names(core: &Core, stock: &Stock, first: u32, end: u32) -> (Vec<Range<u32>>, Vec<NameSpan>) {
    let mut dice = core.dice(Stream::Renames, u64::from(stock.number), 0);
    let mut names = vec![NameSpan {
        name: stock.name.name.clone(),
        from: stock.listed,
        to: None,
        announced: stock.listed,
        reason: "首发上市",
    }];
    let mut special = Vec::new();
    let mut rename = |name: String, session: u32, reason| {
        let from = core.sessions.day(session);
        if let Some(last) = names.last_mut() {
            last.to = Some(from.previous());
        }
        names.push(NameSpan { name, from, to: None, announced: core.sessions.before(from).unwrap_or(from), reason });
    };
    let room = end.saturating_sub(first);
    if stock.yield_permille < 0 && dice.chance(1, 3) && room > 40 {
        let start = first + 1 + dice.below(u64::from(room / 2)) as u32;
        let stop = start + dice.between(100, 500) as u32;
        rename(format!("ST{}", stock.name.name), start, "ST");
        special.push(start..stop);
        if stop < end {
            rename(stock.name.name.clone(), stop, "摘帽");
        }
    } else if dice.chance(1, 12) && room > 40 {
        let other = super::names::company(&mut dice, stock.industry).name;
        rename(other, first + 1 + dice.below(u64::from(room - 2)) as u32, "改名");
    }
    (special, names)
}

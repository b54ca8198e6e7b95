//! Bars of securities and indices, factors, daily basics, money flow, limits and halts.

use crate::model::Day;
use crate::sim::bars::{Bar, bar};
use crate::sim::core::Core;
use crate::sim::dice::{Dice, Stream};
use crate::sim::fundamentals::{Quarter, balance_at, income_of_four, income_to_date, latest_reported};
use crate::sim::rows::{Rows, ratio};
use crate::sim::scope::Scope;
use crate::sim::securities::Stock;
use crate::sim::story::Story;

use super::each_stock;

pub fn daily(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for bar in sessions.filter_map(|session| bar(core, stock, story, session)) {
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", core.sessions.day(bar.session));
            prices(rows, &bar);
            rows.int("vol", bar.volume);
            rows.int("amount", bar.amount);
            rows.end();
        }
    });
}

/// open, high, low, close, pre_close, change and pct_chg in the order of `daily`.
fn prices(rows: &mut Rows, bar: &Bar) {
    rows.fen("open", bar.open);
    rows.fen("high", bar.high);
    rows.fen("low", bar.low);
    rows.fen("close", bar.close);
    rows.fen("pre_close", bar.pre_close);
    rows.fen("change", bar.change());
    rows.ratio("pct_chg", bar.change(), bar.pre_close, 100, 4);
}

pub fn weekly(core: &Core, scope: &Scope, rows: &mut Rows) {
    grouped(core, scope, rows, |session| core.sessions.ends_week(session), |session| core.sessions.week(session));
}

pub fn monthly(core: &Core, scope: &Scope, rows: &mut Rows) {
    grouped(core, scope, rows, |session| core.sessions.ends_month(session), |session| core.sessions.month(session));
}

/// One bar for each group of sessions whose last one is wanted.
fn grouped(core: &Core, scope: &Scope, rows: &mut Rows, ends: impl Fn(u32) -> bool, group: impl Fn(u32) -> i32) {
    let wanted = scope.sessions(core);
    let ending: Vec<u32> = wanted.filter(|session| ends(*session)).collect();
    for number in scope.stocks.iter() {
        let (stock, story) = (core.stock(*number), core.story(*number));
        for last in &ending {
            let members = (0..=*last).rev().take_while(|session| group(*session) == group(*last));
            let bars: Vec<Bar> = members.filter_map(|session| bar(core, stock, story, session)).collect();
            if story.sessions.contains(last)
                && let Some(whole) = merged(story, &bars)
            {
                group_row(core, stock, rows, &Bar { session: *last, ..whole });
            }
        }
    }
}

/// Several bars, newest first, as one. The close before it is brought to the scale of its end.
fn merged(story: &Story, bars: &[Bar]) -> Option<Bar> {
    let (newest, oldest) = (bars.first()?, bars.last()?);
    let steps = i128::from(story.factor_micro(newest.session));
    let before = i128::from(oldest.pre_close) * i128::from(story.factor_micro(oldest.session));
    let pre_close = crate::sim::rows::divide_rounded(before, steps.max(1)).max(1) as i64;
    Some(Bar {
        open: oldest.open,
        high: bars.iter().map(|bar| bar.high).max()?,
        low: bars.iter().map(|bar| bar.low).min()?,
        pre_close,
        volume: bars.iter().map(|bar| bar.volume).sum(),
        amount: bars.iter().map(|bar| bar.amount).sum(),
        ..*newest
    })
}

fn group_row(core: &Core, stock: &Stock, rows: &mut Rows, bar: &Bar) {
    rows.text("ts_code", &stock.code);
    rows.date("trade_date", core.sessions.day(bar.session));
    rows.fen("close", bar.close);
    rows.fen("open", bar.open);
    rows.fen("high", bar.high);
    rows.fen("low", bar.low);
    rows.fen("pre_close", bar.pre_close);
    rows.fen("change", bar.change());
    rows.ratio("pct_chg", bar.change(), bar.pre_close, 1, 6);
    rows.int("vol", bar.volume);
    rows.int("amount", bar.amount);
    rows.end();
}

/// Indices move around a level of their own with the market.
pub fn index_daily(core: &Core, scope: &Scope, rows: &mut Rows) {
    let sessions = scope.sessions(core);
    for (order, code) in scope.dataset.codes.iter().enumerate().filter(|(_, code)| scope.wants("ts_code", code)) {
        let level = |session: u32| index_level(core, order as u64, session);
        for session in sessions.clone() {
            let (close, pre_close) = (level(session), level(session.saturating_sub(1)));
            let mut dice = core.dice(Stream::Index, order as u64, u64::from(session));
            let open = pre_close + (close - pre_close) * dice.between(0, 6) / 10;
            let reach = (close / 500).max(1) as u64;
            rows.text("ts_code", code);
            rows.date("trade_date", core.sessions.day(session));
            rows.decimal("close", close, 4);
            rows.decimal("open", open, 4);
            rows.decimal("high", open.max(close) + dice.below(reach) as i64, 4);
            rows.decimal("low", open.min(close) - dice.below(reach) as i64, 4);
            rows.decimal("pre_close", pre_close, 4);
            rows.decimal("change", close - pre_close, 4);
            rows.ratio("pct_chg", close - pre_close, pre_close, 100, 4);
            let volume = dice.between(50_000_000, 600_000_000);
            rows.int("vol", volume * 100);
            rows.int("amount", volume * dice.between(800, 1600));
            rows.end();
        }
    }
}

/// In ten-thousandths of a point: a level, a long wave and the day's own move.
fn index_level(core: &Core, order: u64, session: u32) -> i64 {
    let base = [3_000, 11_000, 4_000, 6_500, 2_300, 950, 2_700, 6_200][(order % 8) as usize] * 10_000;
    let phase = i64::from(session + order as u32 * 37) % 1_000;
    let wave = (phase - 500).abs() - 250;
    let near = (session.saturating_sub(4)..=session).map(|session| core.market_move(session)).sum::<f64>();
    base + base / 1_000 * wave + (base as f64 * near) as i64
}

pub fn adj_factor(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for session in sessions {
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", core.sessions.day(session));
            rows.decimal("adj_factor", story.factor_micro(session), 6);
            rows.end();
        }
    });
}

pub fn stk_limit(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for session in sessions {
            let pre_close = story.pre_close(session);
            rows.date("trade_date", core.sessions.day(session));
            rows.text("ts_code", &stock.code);
            rows.fen("pre_close", pre_close);
            if let Some((down, up)) = story.limits(stock, session, pre_close, core) {
                rows.fen("up_limit", up);
                rows.fen("down_limit", down);
            }
            rows.end();
        }
    });
}

pub fn suspend_d(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for session in sessions {
            if story.is_halted(session) {
                halt(core, stock, rows, session, None, "S");
            } else if session > story.sessions.start && story.is_halted(session - 1) {
                halt(core, stock, rows, session, None, "R");
            }
            for timing in intraday_halts(core, stock, story, session) {
                halt(core, stock, rows, session, Some(timing), "S");
            }
        }
    });
}

/// New listings without limits are halted for ten minutes when they move too far.
fn intraday_halts(core: &Core, stock: &Stock, story: &Story, session: u32) -> impl Iterator<Item = &'static str> {
    let mut dice = core.dice(Stream::Limit, u64::from(stock.number), u64::from(session));
    let eager = story.is_trading(session) && dice.chance(1, 2_000);
    let times = ["09:30-09:40", "09:43-09:53"];
    times.into_iter().take(if eager { dice.between(1, 2) as usize } else { 0 })
}

fn halt(core: &Core, stock: &Stock, rows: &mut Rows, session: u32, timing: Option<&str>, kind: &str) {
    rows.text("ts_code", &stock.code);
    rows.date("trade_date", core.sessions.day(session));
    if let Some(timing) = timing {
        rows.text("suspend_timing", timing);
    }
    rows.text("suspend_type", kind);
    rows.end();
}

/// What a day's valuation needs of a company's reports. Kept while the latest report stays the same.
#[derive(Clone, Copy)]
pub(super) struct Known {
    quarter: Quarter,
    profit: i64,
    profit_ttm: i64,
    revenue: i64,
    revenue_ttm: i64,
    equity: i64,
}

impl Known {
    pub(super) fn on(core: &Core, stock: &Stock, day: Day) -> Known {
        let quarter = latest_reported(core, stock, day);
        let annual = match quarter.quarter {
            4 => quarter,
            _ => Quarter { year: quarter.year - 1, quarter: 4 },
        };
        let (year, four) = (income_to_date(core, stock, annual), income_of_four(core, stock, quarter));
        Known {
            quarter,
            profit: year.attributable(),
            profit_ttm: four.attributable(),
            revenue: year.revenue,
            revenue_ttm: four.revenue,
            equity: balance_at(core, stock, quarter).parent_equity(),
        }
    }

    /// The same, unless a newer report came out since.
    pub(super) fn moved_to(self, core: &Core, stock: &Stock, day: Day) -> Known {
        if latest_reported(core, stock, day) == self.quarter { self } else { Known::on(core, stock, day) }
    }
}

pub fn daily_basic(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        let mut known: Option<Known> = None;
        for bar in sessions.filter_map(|session| bar(core, stock, story, session)) {
            let day = core.sessions.day(bar.session);
            let now = match known {
                Some(known) => known.moved_to(core, stock, day),
                None => Known::on(core, stock, day),
            };
            known = Some(now);
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", day);
            rows.fen("close", bar.close);
            basics(core, stock, story, &bar, &now, rows);
            rows.end();
        }
    });
}

/// The valuation columns of a day, as `daily_basic` has them.
pub(super) fn basics(core: &Core, stock: &Stock, story: &Story, bar: &Bar, known: &Known, rows: &mut Rows) {
    let shares = story.shares(bar.session);
    let float = story.float_shares(stock, bar.session);
    let free = float / 100 * (60 + i64::from(stock.number % 36));
    let value = bar.close * shares;
    rows.ratio("turnover_rate", bar.volume, float, 100, 4);
    rows.ratio("turnover_rate_f", bar.volume, free, 100, 4);
    if let Some(usual) = usual_volume(core, stock, story, bar.session) {
        rows.ratio("volume_ratio", bar.volume * 5, usual, 1, 2);
    }
    positive_ratio(rows, "pe", value, known.profit);
    positive_ratio(rows, "pe_ttm", value, known.profit_ttm);
    positive_ratio(rows, "pb", value, known.equity);
    positive_ratio(rows, "ps", value, known.revenue);
    positive_ratio(rows, "ps_ttm", value, known.revenue_ttm);
    let paid = paid_milli(core, story, bar.session);
    if paid > 0 {
        rows.ratio("dv_ratio", paid, bar.close * 10, 100, 4);
        rows.ratio("dv_ttm", paid, bar.close * 10, 100, 4);
    }
    rows.int("total_share", shares);
    rows.int("float_share", float);
    rows.int("free_share", free);
    rows.fen("total_mv", value);
    rows.fen("circ_mv", bar.close * float);
}

/// Null for losses: neither zero nor negative.
fn positive_ratio(rows: &mut Rows, name: &str, part: i64, whole: i64) {
    if whole > 0
        && let Some(value) = ratio(part, whole, 1, 4)
    {
        rows.decimal(name, value, 4);
    }
}

/// The volume of the five sessions before.
fn usual_volume(core: &Core, stock: &Stock, story: &Story, session: u32) -> Option<i64> {
    let before = session.checked_sub(5)?.max(story.sessions.start)..session;
    let volumes: Vec<i64> =
        before.filter_map(|session| bar(core, stock, story, session)).map(|bar| bar.volume).collect();
    let count = volumes.len() as i64;
    (count > 0).then(|| volumes.iter().sum::<i64>() * 5 / count)
}

/// Cash dividends with an ex-date in the year up to `session`, in thousandths of a yuan a share.
fn paid_milli(core: &Core, story: &Story, session: u32) -> i64 {
    let day = core.sessions.day(session);
    let recent = story.dividends.iter().filter(|dividend| dividend.ex <= day && dividend.ex > day.plus(-365));
    recent.map(|dividend| dividend.cash_milli).sum()
}

/// The columns of the small, medium, large and extra large orders: bought and sold, volume and amount.
const SIZES: [[&str; 4]; 4] = [
    ["buy_sm_vol", "buy_sm_amount", "sell_sm_vol", "sell_sm_amount"],
    ["buy_md_vol", "buy_md_amount", "sell_md_vol", "sell_md_amount"],
    ["buy_lg_vol", "buy_lg_amount", "sell_lg_vol", "sell_lg_amount"],
    ["buy_elg_vol", "buy_elg_amount", "sell_elg_vol", "sell_elg_amount"],
];

pub fn moneyflow(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for bar in sessions.filter_map(|session| bar(core, stock, story, session)) {
            let mut dice = core.dice(Stream::Flow, u64::from(stock.number), u64::from(bar.session));
            let bought = Split::of(&mut dice, &bar);
            let sold = Split::of(&mut dice, &bar);
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", core.sessions.day(bar.session));
            for (size, [bought_volume, bought_amount, sold_volume, sold_amount]) in SIZES.into_iter().enumerate() {
                rows.int(bought_volume, bought.volume[size]);
                rows.int(bought_amount, bought.amount[size]);
                rows.int(sold_volume, sold.volume[size]);
                rows.int(sold_amount, sold.amount[size]);
            }
            rows.int("net_mf_vol", bought.large_volume() - sold.large_volume());
            rows.int("net_mf_amount", bought.large_amount() - sold.large_amount());
            rows.end();
        }
    });
}

/// A day's volume and amount by size of order; the small ones take the rest, so the sums are those of the day.
struct Split {
    volume: [i64; 4],
    amount: [i64; 4],
}

impl Split {
    fn of(dice: &mut Dice, bar: &Bar) -> Split {
        let shares = [0, dice.between(200, 330), dice.between(120, 280), dice.between(20, 200)];
        let mut split = Split { volume: [0; 4], amount: [0; 4] };
        for (size, share) in shares.into_iter().enumerate() {
            split.volume[size] = bar.volume / 1000 * share / 100 * 100;
            split.amount[size] =
                (i128::from(bar.amount) * i128::from(split.volume[size]) / i128::from(bar.volume.max(1))) as i64 / 100
                    * 100;
        }
        split.volume[0] = bar.volume - split.volume.iter().sum::<i64>();
        split.amount[0] = bar.amount - split.amount.iter().sum::<i64>();
        split
    }

    fn large_volume(&self) -> i64 {
        self.volume[2] + self.volume[3]
    }

    fn large_amount(&self) -> i64 {
        self.amount[2] + self.amount[3]
    }
}

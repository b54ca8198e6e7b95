//! What holders paid: a hundred price levels around the average cost, and what follows from them.

use crate::sim::core::Core;
use crate::sim::rows::Rows;
use crate::sim::scope::Scope;
use crate::sim::story::Story;

use super::each_stock;

const LEVELS: i64 = 100;
/// How many sessions back holders bought.
const MEMORY: u32 = 60;

/// Shares of all chips by price level, cheapest first.
struct Chips {
    /// In hundredths of a fen.
    prices: Vec<i64>,
    /// In ten-thousandths of a percent; they add up to 100 %.
    parts: Vec<i64>,
}

const WHOLE: i64 = 1_000_000;

impl Chips {
    /// A tent over the prices of the last sessions, its top at their mean.
    fn of(story: &Story, session: u32) -> Option<Chips> {
        let closes: Vec<i64> =
            (session.saturating_sub(MEMORY)..=session).filter_map(|session| story.close(session)).collect();
        let (low, high) = (*closes.iter().min()? * 95, *closes.iter().max()? * 105);
        let step = ((high - low) / LEVELS).max(1);
        let top = (closes.iter().sum::<i64>() / closes.len() as i64 * 100 - low) / step;
        let weight = |level: i64| LEVELS + 20 - (level - top).abs().min(LEVELS);
        let total: i64 = (0..LEVELS).map(weight).sum();
        let mut parts: Vec<i64> = (0..LEVELS).map(|level| weight(level) * WHOLE / total).collect();
        let rest = WHOLE - parts.iter().sum::<i64>();
        parts[top.clamp(0, LEVELS - 1) as usize] += rest;
        Some(Chips { prices: (0..LEVELS).map(|level| low + level * step).collect(), parts })
    }

    /// The price below which this share of the chips was bought.
    fn price_at(&self, percent: i64) -> i64 {
        let mut sum = 0;
        let mut levels = self.prices.iter().zip(&self.parts);
        let reached = levels.find(|(_, part)| {
            sum += **part;
            sum * 100 >= WHOLE * percent
        });
        reached.map_or(0, |(price, _)| *price)
    }

    fn mean(&self) -> i64 {
        self.prices.iter().zip(&self.parts).map(|(price, part)| price * part).sum::<i64>() / WHOLE
    }

    /// The share of chips bought below `close`, in the unit of `parts`.
    fn winners(&self, close: i64) -> i64 {
        let below = self.prices.iter().zip(&self.parts).filter(|(price, _)| **price < close * 100);
        below.map(|(_, part)| part).sum()
    }
}

pub fn cyq_chips(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for session in sessions.filter(|session| !story.is_halted(*session)) {
            let Some(chips) = Chips::of(story, session) else { continue };
            for (price, part) in chips.prices.iter().zip(&chips.parts) {
                rows.text("ts_code", &stock.code);
                rows.date("trade_date", core.sessions.day(session));
                rows.decimal("price", *price, 4);
                rows.decimal("percent", *part, 4);
                rows.end();
            }
        }
    });
}

pub fn cyq_perf(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        let mut lowest_highest: Option<(i64, i64)> = None;
        let first = sessions.start;
        for session in story.sessions.start..sessions.end {
            let Some(close) = story.close(session) else { continue };
            let (lowest, highest) = lowest_highest.unwrap_or((close, close));
            let (lowest, highest) = (lowest.min(close), highest.max(close));
            lowest_highest = Some((lowest, highest));
            if session < first || story.is_halted(session) {
                continue;
            }
            let Some(chips) = Chips::of(story, session) else { continue };
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", core.sessions.day(session));
            rows.fen("his_low", lowest);
            rows.fen("his_high", highest);
            for (name, percent) in
                [("cost_5pct", 5), ("cost_15pct", 15), ("cost_50pct", 50), ("cost_85pct", 85), ("cost_95pct", 95)]
            {
                rows.decimal(name, chips.price_at(percent), 4);
            }
            rows.decimal("weight_avg", chips.mean(), 4);
            rows.decimal("winner_rate", chips.winners(close), 4);
            rows.end();
        }
    });
}

//! Technical factors: adjusted prices exactly, and the simple indicators over the last sessions. Those that nobody
//! would compare (long recursions, rare inventions) stay null.

use crate::sim::bars::{Bar, bar};
use crate::sim::core::Core;
use crate::sim::rows::{Rows, divide_rounded};
use crate::sim::scope::Scope;
use crate::sim::securities::Stock;
use crate::sim::story::Story;

use super::each_stock;
use super::quotes::{Known, basics};

/// Traded sessions that an indicator may look back.
const MEMORY: usize = 60;

const MILLION: i128 = 1_000_000;

pub fn stk_factor(core: &Core, scope: &Scope, rows: &mut Rows) {
    let wants_indicators =
        rows.wants_any(|name| ["macd", "kdj", "rsi", "boll", "cci"].iter().any(|start| name.starts_with(start)));
    each_stock(core, scope, |stock, story, sessions| {
        for bar in sessions.filter_map(|session| bar(core, stock, story, session)) {
            let factor = story.factor_micro(bar.session);
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", core.sessions.day(bar.session));
            rows.fen("close", bar.close);
            rows.fen("open", bar.open);
            rows.fen("high", bar.high);
            rows.fen("low", bar.low);
            rows.fen("pre_close", bar.pre_close);
            rows.fen("change", bar.change());
            rows.ratio("pct_change", bar.change(), bar.pre_close, 100, 4);
            rows.int("vol", bar.volume);
            rows.int("amount", bar.amount);
            rows.decimal("adj_factor", factor, 6);
            for (name, fen) in named_prices(&bar) {
                rows.decimal(&format!("{name}_hfq"), backward(fen, factor), 6);
                rows.fen(&format!("{name}_qfq"), fen);
            }
            rows.fen("pre_close_qfq", bar.pre_close);
            rows.decimal("pre_close_hfq", backward(bar.pre_close, factor), 6);
            if wants_indicators {
                let window = Window::before(core, stock, story, bar.session, Scale::Forward);
                window.simple(|name, value| rows.float(name, value));
            }
            rows.end();
        }
    });
}

fn named_prices(bar: &Bar) -> [(&'static str, i64); 4] {
    [("open", bar.open), ("high", bar.high), ("low", bar.low), ("close", bar.close)]
}

/// A price in fen times the factor, in millionths of a yuan.
fn backward(fen: i64, factor_micro: i64) -> i64 {
    divide_rounded(i128::from(fen) * i128::from(factor_micro) * (MILLION / 100), MILLION) as i64
}

/// `ma_bfq_5` for (`ma`, 5), but `boll_mid_bfq` for the rest.
pub fn stk_factor_pro(core: &Core, scope: &Scope, rows: &mut Rows) {
    let wants_indicators =
        rows.wants_any(|name| name.contains("bfq") || name.ends_with("days") || name.contains("_hfq_"));
    each_stock(core, scope, |stock, story, sessions| {
        let mut known: Option<Known> = None;
        for bar in sessions.filter_map(|session| bar(core, stock, story, session)) {
            let day = core.sessions.day(bar.session);
            let now = match known {
                Some(known) => known.moved_to(core, stock, day),
                None => Known::on(core, stock, day),
            };
            known = Some(now);
            let factor = story.factor_micro(bar.session);
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", day);
            for (name, fen) in named_prices(&bar) {
                rows.fen(name, fen);
                rows.decimal(&format!("{name}_hfq"), backward(fen, factor), 6);
                rows.fen(&format!("{name}_qfq"), fen);
            }
            rows.fen("pre_close", bar.pre_close);
            rows.fen("change", bar.change());
            rows.ratio("pct_chg", bar.change(), bar.pre_close, 100, 4);
            rows.int("vol", bar.volume);
            rows.int("amount", bar.amount);
            basics(core, stock, story, &bar, &now, rows);
            rows.decimal("adj_factor", factor, 6);
            if wants_indicators {
                indicators(core, stock, story, bar.session, rows);
            }
            rows.end();
        }
    });
}

fn indicators(core: &Core, stock: &Stock, story: &Story, session: u32, rows: &mut Rows) {
    for (suffix, scale) in [("bfq", Scale::Raw), ("hfq", Scale::Backward), ("qfq", Scale::Forward)] {
        let window = Window::before(core, stock, story, session, scale);
        window.simple(|name, value| match name.split_once('_') {
            Some(("rsi", days)) => rows.float(&format!("rsi_{suffix}_{days}"), value),
            _ if name == "kdj_j" => rows.float(&format!("kdj_{suffix}"), value),
            _ => rows.float(&format!("{name}_{suffix}"), value),
        });
        for days in [5, 10, 20, 30, 60] {
            if let Some(mean) = window.mean(days) {
                rows.float(&format!("ma_{suffix}_{days}"), mean);
            }
            rows.float(&format!("ema_{suffix}_{days}"), window.ema(days));
        }
        for (name, days) in [("bias1", 6), ("bias2", 12), ("bias3", 24)] {
            if let Some(mean) = window.mean(days) {
                rows.float(&format!("{name}_{suffix}"), (window.last() / mean - 1.0) * 100.0);
            }
        }
        for (name, days) in [("mtm", 12), ("roc", 12)] {
            let Some(before) = window.ago(days) else { continue };
            let moved = window.last() - before;
            rows.float(&format!("{name}_{suffix}"), if name == "mtm" { moved } else { moved / before * 100.0 });
        }
    }
}

/// On which scale prices of different days are compared.
#[derive(Clone, Copy)]
enum Scale {
    Raw,
    Backward,
    /// Anchored at the last day of the window.
    Forward,
}

/// The last traded sessions, oldest first, in yuan.
struct Window {
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
}

impl Window {
    fn before(core: &Core, stock: &Stock, story: &Story, session: u32, scale: Scale) -> Window {
        let sessions = (story.sessions.start..=session).rev();
        let mut bars: Vec<Bar> = sessions.filter_map(|session| bar(core, stock, story, session)).take(MEMORY).collect();
        bars.reverse();
        let anchor = story.factor_micro(session) as f64;
        let times = |bar: &Bar| match scale {
            Scale::Raw => 1.0,
            Scale::Backward => story.factor_micro(bar.session) as f64 / 1e6,
            Scale::Forward => story.factor_micro(bar.session) as f64 / anchor,
        };
        let yuan = |price: fn(&Bar) -> i64| bars.iter().map(|bar| price(bar) as f64 / 100.0 * times(bar)).collect();
        Window { high: yuan(|bar| bar.high), low: yuan(|bar| bar.low), close: yuan(|bar| bar.close) }
    }

    fn last(&self) -> f64 {
        self.close.last().copied().unwrap_or(f64::NAN)
    }

    fn ago(&self, sessions: usize) -> Option<f64> {
        self.close.len().checked_sub(sessions + 1).map(|index| self.close[index])
    }

    fn tail<'a>(&self, values: &'a [f64], len: usize) -> &'a [f64] {
        &values[values.len().saturating_sub(len)..]
    }

    fn mean(&self, len: usize) -> Option<f64> {
        (self.close.len() >= len).then(|| self.tail(&self.close, len).iter().sum::<f64>() / len as f64)
    }

    fn ema(&self, len: usize) -> f64 {
        ema(&self.close, len).last().copied().unwrap_or(f64::NAN)
    }

    /// The indicators that both factor tables have.
    fn simple(&self, mut give: impl FnMut(&str, f64)) {
        let (fast, slow) = (ema(&self.close, 12), ema(&self.close, 26));
        let difs: Vec<f64> = fast.iter().zip(&slow).map(|(fast, slow)| fast - slow).collect();
        let (dif, dea) = (difs.last().copied().unwrap_or(f64::NAN), ema(&difs, 9).last().copied().unwrap_or(f64::NAN));
        give("macd_dif", dif);
        give("macd_dea", dea);
        give("macd", (dif - dea) * 2.0);
        let (k, d) = self.kdj();
        give("kdj_k", k);
        give("kdj_d", d);
        give("kdj_j", 3.0 * k - 2.0 * d);
        for (name, len) in [("rsi_6", 6), ("rsi_12", 12), ("rsi_24", 24)] {
            give(name, self.rsi(len));
        }
        if let Some(middle) = self.mean(20) {
            let squares = self.tail(&self.close, 20).iter().map(|close| (close - middle) * (close - middle));
            let deviation = (squares.sum::<f64>() / 20.0).sqrt();
            give("boll_upper", middle + 2.0 * deviation);
            give("boll_mid", middle);
            give("boll_lower", middle - 2.0 * deviation);
        }
        give("cci", self.cci());
    }

    fn kdj(&self) -> (f64, f64) {
        let (mut k, mut d) = (50.0, 50.0);
        for end in self.close.len().saturating_sub(30)..self.close.len() {
            let start = (end + 1).saturating_sub(9);
            let lowest = self.low[start..=end].iter().copied().fold(f64::INFINITY, f64::min);
            let highest = self.high[start..=end].iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let raw = if highest > lowest { (self.close[end] - lowest) / (highest - lowest) * 100.0 } else { 50.0 };
            k = (2.0 * k + raw) / 3.0;
            d = (2.0 * d + k) / 3.0;
        }
        (k, d)
    }

    fn rsi(&self, len: usize) -> f64 {
        let moves = self.tail(&self.close, len + 1).windows(2).map(|pair| pair[1] - pair[0]);
        let (mut up, mut all) = (0.0, 0.0);
        for moved in moves {
            up += f64::max(moved, 0.0);
            all += moved.abs();
        }
        if all > 0.0 { up / all * 100.0 } else { 50.0 }
    }

    fn cci(&self) -> f64 {
        let typical = |index: usize| (self.high[index] + self.low[index] + self.close[index]) / 3.0;
        let values: Vec<f64> = (self.close.len().saturating_sub(14)..self.close.len()).map(typical).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = values.iter().map(|value| (value - mean).abs()).sum::<f64>() / values.len() as f64;
        values.last().map_or(f64::NAN, |last| if deviation > 0.0 { (last - mean) / (0.015 * deviation) } else { 0.0 })
    }
}

/// The exponential mean after each value, begun at the first one.
fn ema(values: &[f64], len: usize) -> Vec<f64> {
    let weight = 2.0 / (len as f64 + 1.0);
    let mut mean = values.first().copied().unwrap_or(f64::NAN);
    values
        .iter()
        .map(|value| {
            mean += weight * (value - mean);
            mean
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indicators_of_a_straight_rise_are_known() {
        let close: Vec<f64> = (1..=40).map(f64::from).collect();
        let window = Window { high: close.clone(), low: close.clone(), close };
        assert_eq!(window.mean(5), Some(38.0));
        assert_eq!(window.rsi(6), 100.0);
        assert_eq!(window.ago(12), Some(28.0));
        assert!(window.kdj().0 > 99.0);
        assert_eq!(window.mean(41), None);
    }

    #[test]
    fn backward_prices_are_exact() {
        assert_eq!(backward(1_050, 2_500_000), 26_250_000);
        assert_eq!(backward(1, 1_000_001), 10_000);
    }
}

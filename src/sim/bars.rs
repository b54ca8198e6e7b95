//! One security's trading day: open, high, low, volume and amount around its close.

use super::core::Core;
use super::dice::{Dice, Stream};
use super::securities::Stock;
use super::story::Story;

/// Prices in fen, volume in shares, amount in yuan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    pub session: u32,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub pre_close: i64,
    pub volume: i64,
    pub amount: i64,
    /// Lowest and highest allowed price.
    pub limits: Option<(i64, i64)>,
}

impl Bar {
    pub fn change(&self) -> i64 {
        self.close - self.pre_close
    }

    pub fn closes_up_limit(&self) -> bool {
        self.limits.is_some_and(|(_, up)| self.close == up)
    }

    pub fn closes_down_limit(&self) -> bool {
        self.limits.is_some_and(|(down, _)| self.close == down)
    }

    /// Touched the upper limit, but closed below it.
    pub fn fell_from_limit(&self) -> bool {
        self.limits.is_some_and(|(_, up)| self.high == up && self.close < up)
    }
}

/// `None` when the security does not trade on that session.
pub fn bar(core: &Core, stock: &Stock, story: &Story, session: u32) -> Option<Bar> {
    if !story.is_trading(session) {
        return None;
    }
    let close = story.close(session)?;
    let pre_close = story.pre_close(session);
    let limits = story.limits(stock, session, pre_close, core);
    let mut dice = core.dice(Stream::Bar, u64::from(stock.number), u64::from(session));
    let at_limit = limits.is_some_and(|(down, up)| close == down || close == up);
    let (open, high, low) =
        if at_limit && dice.chance(1, 6) { (close, close, close) } else { spread(&mut dice, close, pre_close, limits) };
    let volume = volume(&mut dice, stock, story, session, (close - pre_close).abs() * 1000 / pre_close, high == low);
    let amount = amount(&mut dice, volume, low, high);
    Some(Bar { session, open, high, low, close, pre_close, volume, amount, limits })
}

fn spread(dice: &mut Dice, close: i64, pre_close: i64, limits: Option<(i64, i64)>) -> (i64, i64, i64) {
    let (down, up) = limits.unwrap_or((1, i64::MAX));
    let tenth = (pre_close / 1000).max(1);
    let open =
        (pre_close + (close - pre_close) * dice.between(-2, 8) / 10 + dice.between(-4, 4) * tenth).clamp(down, up);
    let high = (open.max(close) + dice.between(0, 12) * tenth).min(up);
    let low = (open.min(close) - dice.between(0, 12) * tenth).max(down).max(1);
    (open.max(1), high, low.min(open).min(close))
}

/// Turnover grows with the day's move; STAR and Beijing trade odd lots.
fn volume(dice: &mut Dice, stock: &Stock, story: &Story, session: u32, move_permille: i64, flat: bool) -> i64 {
    let usual = 0.003 + f64::from(stock.number % 17) * 0.001;
    let rate = usual * (0.4 + 1.6 * dice.unit()) * (1.0 + move_permille as f64 / 25.0);
    let traded = (story.float_shares(stock, session) as f64 * rate.min(0.6)) as i64;
    let lots = (traded / 100).max(2) * 100;
    let odd = if stock.board.trades_odd_lots() && !flat { dice.between(0, 99) } else { 0 };
    lots + odd
}

/// A whole number of yuan between what the lowest and the highest price allow.
fn amount(dice: &mut Dice, volume: i64, low: i64, high: i64) -> i64 {
    let least = (volume * low + 99) / 100;
    let most = volume * high / 100;
    least + ((most - least).max(0) as f64 * (0.3 + 0.4 * dice.unit())) as i64
}

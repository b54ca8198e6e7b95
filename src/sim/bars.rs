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

    /// The bar as it stands after so many of the 240 minutes of trading: the open is known, the path to the close is not.
    pub fn after(&self, minutes: i64, dice: &mut Dice) -> Bar {
        if minutes >= MINUTES {
            return *self;
        }
        let minutes = minutes.max(1);
        let path = Path::between(self, dice);
        let prices = (0..=minutes).step_by(5).chain([minutes]).map(|minute| path.at(minute));
        let (mut low, mut high, mut sum, mut count) = (self.open, self.open, 0, 0);
        for price in prices {
            (low, high, sum, count) = (low.min(price), high.max(price), sum + price, count + 1);
        }
        let volume = (self.volume * minutes / MINUTES / 100).max(1) * 100;
        let (least, most) = ((volume * low + 99) / 100, volume * high / 100);
        let amount = (volume * (sum / count) / 100).max(least).min(most.max(least));
        Bar { high, low, close: path.at(minutes), volume, amount, ..*self }
    }

    /// Touched the upper limit, but closed below it.
    pub fn fell_from_limit(&self) -> bool {
        self.limits.is_some_and(|(_, up)| self.high == up && self.close < up)
    }
}

/// Minutes of trading in a session.
pub const MINUTES: i64 = 240;

/// Minutes of trading up to an instant of a session: the morning from 9:30, the afternoon from 13:00.
pub fn minutes_traded(minute_of_day: i32) -> i64 {
    let within = |from: i32, to: i32| i64::from((minute_of_day - from).clamp(0, to - from));
    within(9 * 60 + 30, 11 * 60 + 30) + within(13 * 60, 15 * 60)
}

/// A way from the open to the close that stays between low and high.
struct Path {
    bar: Bar,
    waves: [(f64, f64); 3],
}

impl Path {
    fn between(bar: &Bar, dice: &mut Dice) -> Path {
        let span = (bar.high - bar.low) as f64;
        let wave = |step: usize| (span * (dice.unit() - 0.5) / (step + 1) as f64, (step * 3 + 1) as f64);
        Path { bar: *bar, waves: [0, 1, 2].map(wave) }
    }

    fn at(&self, minute: i64) -> i64 {
        let part = minute as f64 / MINUTES as f64;
        let bar = &self.bar;
        let straight = bar.open as f64 + (bar.close - bar.open) as f64 * part;
        let waves: f64 = self
            .waves
            .iter()
            .map(|(height, half_turns)| height * (part * half_turns * std::f64::consts::PI).sin())
            .sum();
        ((straight + waves).round() as i64).clamp(bar.low, bar.high)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_into_what_the_day_becomes() {
        let whole = Bar {
            session: 1,
            open: 1_000,
            high: 1_060,
            low: 980,
            close: 1_040,
            pre_close: 1_010,
            volume: 1_000_000,
            amount: 10_200_000,
            limits: None,
        };
        let mut before = whole.after(1, &mut Dice::new(1, Stream::Bar, 2, 3));
        for minutes in 2..=MINUTES {
            let now = whole.after(minutes, &mut Dice::new(1, Stream::Bar, 2, 3));
            assert!(now.volume >= before.volume && now.open == whole.open, "{minutes}");
            assert!(now.low <= now.close && now.close <= now.high, "{minutes}");
            assert!(whole.low <= now.low && now.high <= whole.high, "{minutes}");
            assert!(now.low * now.volume <= now.amount * 100 && now.amount * 100 <= now.high * now.volume, "{minutes}");
            before = now;
        }
        assert_eq!(before, whole);
        assert_eq!([9 * 60, 9 * 60 + 31, 12 * 60, 14 * 60, 18 * 60].map(minutes_traded), [0, 1, 120, 180, 240]);
    }
}

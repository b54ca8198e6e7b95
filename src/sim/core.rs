//! What the whole market shares: seed, calendar, securities and their stories.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::catalog::Catalog;
use crate::model::{Clock, Day, Instant, Span};

use super::dice::{Dice, Stream};
use super::securities::{self, Stock};
use super::sessions::Sessions;
use super::story::Story;

/// The sessions from which on rules of trading changed.
pub struct Reforms {
    /// 2020-08-24: the growth board moves by 20 percent.
    pub growth_board: u32,
    /// 2023-04-10: new listings on the main boards trade five days without limits.
    pub registration: u32,
}

impl Reforms {
    fn of(sessions: &Sessions) -> Reforms {
        let from = |year, month, day| Day::new(year, month, day).map_or(u32::MAX, |day| sessions.number_from(day));
        Reforms { growth_board: from(2020, 8, 24), registration: from(2023, 4, 10) }
    }
}

/// The market as a function of its seed.
pub struct Core {
    pub seed: u64,
    pub catalog: Arc<Catalog>,
    pub sessions: Sessions,
    pub reforms: Reforms,
    /// The days for which rows exist.
    pub days: Span,
    pub stocks: Vec<Stock>,
    pub clock: Clock,
    by_code: HashMap<Arc<str>, u32>,
    stories: Vec<OnceLock<Story>>,
    /// What the whole market did on each session.
    market: Vec<f64>,
}

impl Core {
    pub fn new(seed: u64, catalog: Arc<Catalog>, days: Span, securities: usize, clock: Clock) -> Core {
        let next_year = Day::new(days.to.year() + 1, 12, 31).unwrap_or(days.to);
        let sessions = Sessions::until(next_year);
        let stocks = securities::build(seed, securities, &sessions, days.to);
        let market = (0..sessions.numbers(sessions.span()).end)
            .map(|number| Dice::new(seed, Stream::Market, u64::from(number), 0).noise() * 0.008)
            .collect();
        let by_code = stocks.iter().map(|stock| (stock.code.clone(), stock.number)).collect();
        let stories = stocks.iter().map(|_| OnceLock::new()).collect();
        let reforms = Reforms::of(&sessions);
        Core { seed, catalog, sessions, reforms, days, stocks, clock, by_code, stories, market }
    }

    pub fn dice(&self, stream: Stream, a: u64, b: u64) -> Dice {
        Dice::new(self.seed, stream, a, b)
    }

    pub fn stock(&self, number: u32) -> &Stock {
        &self.stocks[number as usize]
    }

    pub fn number_of(&self, code: &str) -> Option<u32> {
        self.by_code.get(code).copied()
    }

    /// What happens to a security, worked out when it is first asked for.
    pub fn story(&self, number: u32) -> &Story {
        self.stories[number as usize].get_or_init(|| Story::write(self, self.stock(number)))
    }

    pub fn market_move(&self, session: u32) -> f64 {
        self.market.get(session as usize).copied().unwrap_or_default()
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}

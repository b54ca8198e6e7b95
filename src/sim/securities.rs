//! The simulated securities: who is listed, on which board, from when to when.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Day, Span};

use super::dice::{Dice, Stream};
use super::names::{self, CompanyName};
use super::sessions::Sessions;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Board {
    ShanghaiMain,
    Star,
    ShenzhenMain,
    ChiNext,
    Beijing,
    ShanghaiB,
    ShenzhenB,
}

impl Board {
    /// The suffix of its codes.
    pub fn suffix(self) -> &'static str {
        match self {
            Board::ShanghaiMain | Board::Star | Board::ShanghaiB => "SH",
            Board::ShenzhenMain | Board::ChiNext | Board::ShenzhenB => "SZ",
            Board::Beijing => "BJ",
        }
    }

    pub fn exchange(self) -> &'static str {
        match self.suffix() {
            "SH" => "SSE",
            "SZ" => "SZSE",
            _ => "BSE",
        }
    }

    pub fn market(self) -> &'static str {
        match self {
            Board::Star => "科创板",
            Board::ChiNext => "创业板",
            Board::Beijing => "北交所",
            _ => "主板",
        }
    }

    /// Whether trades need not be whole lots of 100 shares.
    pub fn trades_odd_lots(self) -> bool {
        matches!(self, Board::Star | Board::Beijing)
    }
}

/// One simulated security.
#[derive(Clone, Debug)]
pub struct Stock {
    pub number: u32,
    pub code: Arc<str>,
    /// The code before the move to 920xxx.
    pub former: Option<Arc<str>>,
    pub board: Board,
    pub listed: Day,
    /// The first day on which it is no longer listed.
    pub delisted: Option<Day>,
    pub name: CompanyName,
    pub industry: usize,
    pub area: usize,
    /// Where its price comes back to, in fen.
    pub anchor_fen: i64,
    /// Shares at the listing.
    pub shares: i64,
    /// Net profit of a usual year in per mille of the market value at the anchor price; may be negative.
    pub yield_permille: i64,
}

impl Stock {
    pub fn symbol(&self) -> &str {
        self.code.split('.').next().unwrap_or_default()
    }
}

/// Listed companies at the end of each year from 1990 on, as they were.
const LISTED_BY_YEAR_END: [u32; 37] = [
    8, 13, 53, 177, 287, 311, 514, 720, 825, 924, 1060, 1136, 1200, 1263, 1353, 1358, 1421, 1530, 1604, 1700, 2041,
    2320, 2472, 2480, 2592, 2808, 3034, 3467, 3567, 3760, 4140, 4685, 5067, 5335, 5384, 5470, 5560,
];

/// Every security of the market, sorted by code.
pub fn build(seed: u64, count: usize, sessions: &Sessions, last_day: Day) -> Vec<Stock> {
    let mut codes = Codes::default();
    let mut stocks: Vec<Stock> = listing_days(seed, count, sessions, last_day)
        .into_iter()
        .enumerate()
        .map(|(order, listed)| stock(seed, order as u64, listed, &mut codes))
        .collect();
    delist(seed, &mut stocks, sessions, last_day);
    stocks.sort_by(|a, b| a.code.cmp(&b.code));
    for (number, stock) in stocks.iter_mut().enumerate() {
        stock.number = number as u32;
    }
    stocks
}

/// One open day for each security, oldest first, as many a year as in reality.
fn listing_days(seed: u64, count: usize, sessions: &Sessions, last_day: Day) -> Vec<Day> {
    let years = ((i32::from(last_day.year()) - 1990).clamp(0, 36) + 1) as usize;
    let totals = &LISTED_BY_YEAR_END[..years];
    let whole = f64::from(totals[years - 1]);
    let mut days = Vec::with_capacity(count);
    for (index, total) in totals.iter().enumerate() {
        let until = (count as f64 * f64::from(*total) / whole).round() as usize;
        let year = 1990 + index as i16;
        let (from, to) = (Day::new(year, 1, 1).unwrap_or(last_day), Day::new(year, 12, 31).unwrap_or(last_day));
        let open = sessions.numbers(Span::new(from, to.min(last_day)));
        while days.len() < until {
            let mut dice = Dice::new(seed, Stream::Listing, days.len() as u64, 0);
            let number = open.start + dice.below(open.len() as u64) as u32;
            days.push(sessions.day(number.min(open.end.saturating_sub(1))));
        }
    }
    days.sort_unstable();
    days
}

fn stock(seed: u64, order: u64, listed: Day, codes: &mut Codes) -> Stock {
    let mut dice = Dice::new(seed, Stream::Listing, order, 1);
    let board = board_for(listed, &mut dice);
    let code = codes.next(board, listed);
    let former = codes.former(board, listed, order);
    let industry = dice.below(names::INDUSTRIES.len() as u64) as usize;
    let name = names::company(&mut Dice::new(seed, Stream::Name, order, 0), industry);
    let anchor_fen = match dice.below(100) {
        0 => dice.between(20_000, 160_000),
        1..10 => dice.between(6_000, 20_000),
        10..40 => dice.between(2_000, 6_000),
        _ => dice.between(350, 2_000),
    };
    let value_millions = dice.between(1_500, 9_000) * if dice.chance(1, 12) { dice.between(5, 60) } else { 1 };
    let loses = dice.chance(1, 7);
    Stock {
        number: 0,
        code: format!("{code}.{}", board.suffix()).into(),
        former: former.map(|former| format!("{former}.BJ").into()),
        board,
        listed,
        delisted: None,
        name,
        industry,
        area: dice.below(names::AREAS.len() as u64) as usize,
        anchor_fen,
        shares: value_millions * 100_000_000 / anchor_fen / 10_000 * 10_000,
        yield_permille: if loses { dice.between(-40, -2) } else { dice.between(8, 80) },
    }
}

fn since(day: Day, year: i16, month: i8, date: i8) -> bool {
    Day::new(year, month, date).is_some_and(|start| day >= start)
}

/// The board of a listing, with the weights of its time.
fn board_for(listed: Day, dice: &mut Dice) -> Board {
    use Board::*;
    let weights: &[(Board, u64)] = if since(listed, 2021, 11, 15) {
        &[(Star, 22), (ChiNext, 30), (ShanghaiMain, 15), (ShenzhenMain, 10), (Beijing, 23)]
    } else if since(listed, 2019, 7, 22) {
        &[(Star, 30), (ChiNext, 33), (ShanghaiMain, 24), (ShenzhenMain, 13)]
    } else if since(listed, 2009, 10, 30) {
        &[(ShanghaiMain, 40), (ShenzhenMain, 26), (ChiNext, 34)]
    } else if since(listed, 2001, 1, 1) || !since(listed, 1992, 1, 1) {
        &[(ShanghaiMain, 45), (ShenzhenMain, 55)]
    } else {
        &[(ShanghaiMain, 50), (ShenzhenMain, 48), (ShanghaiB, 1), (ShenzhenB, 1)]
    };
    let mut left = dice.below(weights.iter().map(|(_, weight)| weight).sum());
    for (board, weight) in weights {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *board,
        }
    }
    ShanghaiMain
}

/// Hands out codes: each once, in the order of listing, from the ranges that the exchanges use.
#[derive(Default)]
struct Codes {
    used: HashSet<String>,
    next: HashMap<u32, u32>,
}

impl Codes {
    fn next(&mut self, board: Board, listed: Day) -> String {
        let ranges: &[u32] = match board {
            Board::ShanghaiMain if since(listed, 2014, 1, 1) => &[603_000, 605_000, 601_000, 600_000],
            Board::ShanghaiMain if since(listed, 2006, 1, 1) => &[601_000, 600_000, 603_000],
            Board::ShanghaiMain => &[600_000, 601_000, 603_000],
            Board::Star => &[688_001, 689_001],
            Board::ShenzhenMain if since(listed, 2021, 4, 6) => &[1_201, 3_000, 2_001],
            Board::ShenzhenMain if since(listed, 2004, 6, 25) => &[2_001, 3_000, 1_201],
            Board::ShenzhenMain => &[1, 1_201, 2_001],
            Board::ChiNext => &[300_001, 301_001, 302_001],
            Board::Beijing => &[920_001],
            Board::ShanghaiB => &[900_901],
            Board::ShenzhenB => &[200_002],
        };
        for start in ranges {
            let next = self.next.entry(*start).or_insert(*start);
            while *next / 1000 == *start / 1000 {
                let code = format!("{:06}", *next);
                *next += 1;
                if self.used.insert(code.clone()) {
                    return code;
                }
            }
        }
        let mut spare = 700_000;
        while !self.used.insert(format!("{spare:06}")) {
            spare += 1;
        }
        format!("{spare:06}")
    }

    /// The 4xx/8xx code that a Beijing security had before October 2025.
    fn former(&mut self, board: Board, listed: Day, order: u64) -> Option<String> {
        if board != Board::Beijing || since(listed, 2024, 4, 22) {
            return None;
        }
        let start = [430_017, 830_779, 870_199][(order % 3) as usize];
        let next = self.next.entry(start).or_insert(start);
        *next += 7;
        Some(next.to_string())
    }
}

/// About one in 22 securities has left the market, most of them lately.
fn delist(seed: u64, stocks: &mut [Stock], sessions: &Sessions, last_day: Day) {
    for (order, stock) in stocks.iter_mut().enumerate() {
        let mut dice = Dice::new(seed, Stream::Listing, order as u64, 2);
        if !dice.chance(1, 15) {
            continue;
        }
        let earliest = sessions.number_from(stock.listed) + 500;
        let latest = sessions.number_from(last_day);
        if earliest >= latest {
            continue;
        }
        let back = (dice.unit() * dice.unit() * f64::from(latest - earliest)) as u32;
        stock.delisted = Some(sessions.day(latest - back));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn market(seed: u64, count: usize) -> Vec<Stock> {
        let last = Day::parse("20250630").unwrap();
        build(seed, count, &Sessions::until(last), last)
    }

    #[test]
    fn a_whole_market_has_every_board_and_unique_codes() {
        let stocks = market(1, 5450);
        assert_eq!(stocks.len(), 5450);
        assert!(stocks.windows(2).all(|pair| pair[0].code < pair[1].code));
        let on = |board| stocks.iter().filter(|stock| stock.board == board).count();
        for (board, low, high) in [
            (Board::ShanghaiMain, 1500, 2100),
            (Board::Star, 350, 800),
            (Board::ShenzhenMain, 1200, 1900),
            (Board::ChiNext, 1100, 1900),
            (Board::Beijing, 120, 400),
            (Board::ShanghaiB, 1, 30),
            (Board::ShenzhenB, 1, 30),
        ] {
            assert!((low..=high).contains(&on(board)), "{board:?} {}", on(board));
        }
        let gone = stocks.iter().filter(|stock| stock.delisted.is_some()).count();
        assert!((180..=360).contains(&gone), "{gone} delisted");
        assert!(stocks.iter().all(|stock| stock.delisted.is_none_or(|day| day > stock.listed)));
        assert!(stocks.iter().filter(|stock| stock.former.is_some()).count() > 50);
        assert!(stocks.iter().any(|stock| &*stock.code == "000001.SZ"));
        assert!(stocks.iter().any(|stock| &*stock.code == "600000.SH"));
    }

    #[test]
    fn another_seed_is_another_market() {
        let names = |seed| market(seed, 50).iter().map(|stock| stock.name.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }
}

//! What stood out on a day: limit lists, the dragon-tiger list, hot money, concepts and popularity.

use crate::model::{Day, Instant};
use crate::sim::bars::{Bar, bar};
use crate::sim::core::Core;
use crate::sim::dice::{Dice, Stream};
use crate::sim::names::{CONCEPTS, HOT_MONEY, INDUSTRIES};
use crate::sim::rows::Rows;
use crate::sim::scope::Scope;
use crate::sim::securities::Stock;
use crate::sim::story::Story;

use super::each_stock;

/// One security's day, as the lists see it.
struct Seen<'a> {
    core: &'a Core,
    stock: &'a Stock,
    story: &'a Story,
    bar: Bar,
    day: Day,
}

impl Seen<'_> {
    fn name(&self) -> &str {
        self.story.name_on(self.day)
    }

    fn float_shares(&self) -> i64 {
        self.story.float_shares(self.stock, self.bar.session)
    }

    fn dice(&self, stream: Stream) -> Dice {
        self.core.dice(stream, u64::from(self.stock.number), u64::from(self.bar.session))
    }

    /// Consecutive sessions, this one included, on which it closed at the same limit.
    fn streak(&self, up: bool) -> i64 {
        let at_limit = |bar: &Bar| if up { bar.closes_up_limit() } else { bar.closes_down_limit() };
        let before = (self.story.sessions.start..=self.bar.session).rev().take(20);
        let bars = before.map(|session| bar(self.core, self.stock, self.story, session));
        bars.take_while(|bar| bar.as_ref().is_some_and(at_limit)).count() as i64
    }

    fn moved_permille(&self) -> i64 {
        self.bar.change() * 1000 / self.bar.pre_close
    }

    fn turnover_permille(&self) -> i64 {
        self.bar.volume * 1000 / self.float_shares().max(1)
    }
}

fn each_seen(core: &Core, scope: &Scope, mut visit: impl FnMut(&Seen<'_>)) {
    each_stock(core, scope, |stock, story, sessions| {
        for bar in sessions.filter_map(|session| bar(core, stock, story, session)) {
            visit(&Seen { core, stock, story, day: core.sessions.day(bar.session), bar });
        }
    });
}

/// A second of the trading day as `92500` or `143005`.
fn clock_time(dice: &mut Dice) -> String {
    let second = match dice.between(0, 240 * 60) {
        morning @ ..7200 => 9 * 3600 + 30 * 60 + morning,
        afternoon => 13 * 3600 + afternoon - 7200,
    };
    format!("{}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// U, D or Z for a day at the limits.
fn limit_kind(bar: &Bar) -> Option<&'static str> {
    match () {
        () if bar.closes_up_limit() => Some("U"),
        () if bar.closes_down_limit() => Some("D"),
        () if bar.fell_from_limit() => Some("Z"),
        () => None,
    }
}

pub fn limit_list_d(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_seen(core, scope, |seen| {
        let Some(kind) = limit_kind(&seen.bar) else { return };
        if seen.story.is_special(seen.bar.session) || !scope.wants("limit", kind) {
            return;
        }
        let (bar, mut dice) = (&seen.bar, seen.dice(Stream::Limit));
        let float_value = bar.close * seen.float_shares();
        let times = [clock_time(&mut dice), clock_time(&mut dice)];
        let earlier_first =
            times[0].len() < times[1].len() || (times[0].len() == times[1].len() && times[0] <= times[1]);
        let (first, last) = if earlier_first { (&times[0], &times[1]) } else { (&times[1], &times[0]) };
        let streak = seen.streak(kind == "U");
        rows.date("trade_date", seen.day);
        rows.text("ts_code", &seen.stock.code);
        rows.text("industry", INDUSTRIES[seen.stock.industry].0);
        rows.text("name", seen.name());
        rows.fen("close", bar.close);
        rows.ratio("pct_chg", bar.change(), bar.pre_close, 100, 4);
        rows.int("amount", bar.amount);
        if kind == "D" {
            rows.int("limit_amount", bar.amount / 3);
        }
        rows.fen("float_mv", float_value);
        rows.fen("total_mv", bar.close * seen.story.shares(bar.session));
        rows.ratio("turnover_ratio", bar.volume, seen.float_shares(), 100, 4);
        if kind != "Z" {
            rows.int("fd_amount", bar.amount / 100 * dice.between(1, 300));
        }
        if kind != "D" {
            rows.text("first_time", first);
        }
        rows.text("last_time", last);
        rows.int("open_times", if kind == "Z" { dice.between(1, 12) } else { dice.between(0, 4) });
        rows.text("up_stat", &format!("{streak}/{streak}"));
        rows.int("limit_times", streak);
        rows.text("limit", kind);
        rows.end();
    });
}

/// The reasons for which a day is on the dragon-tiger list.
fn list_reasons(seen: &Seen<'_>) -> Vec<&'static str> {
    let (moved, turnover) = (seen.moved_permille(), seen.turnover_permille());
    let mut reasons = Vec::new();
    if moved >= 95 {
        reasons.push("日涨幅偏离值达到7%的前5只证券");
    }
    if moved <= -95 {
        reasons.push("日跌幅偏离值达到7%的前5只证券");
    }
    if turnover >= 200 {
        reasons.push("日换手率达到20%的前5只证券");
    }
    if seen.bar.limits.is_none() {
        reasons.push("无价格涨跌幅限制的证券");
    }
    reasons.retain(|_| seen.bar.session.is_multiple_of(2) || moved.abs() >= 99 || turnover >= 200);
    reasons
}

pub fn top_list(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_seen(core, scope, |seen| {
        for (order, reason) in list_reasons(seen).into_iter().enumerate() {
            let mut dice = core.dice(
                Stream::TopList,
                u64::from(seen.stock.number),
                u64::from(seen.bar.session) * 8 + order as u64,
            );
            let bar = &seen.bar;
            let (buy, sell) = (bar.amount / 1000 * dice.between(30, 300), bar.amount / 1000 * dice.between(30, 300));
            rows.date("trade_date", seen.day);
            rows.text("ts_code", &seen.stock.code);
            rows.text("name", seen.name());
            rows.fen("close", bar.close);
            rows.ratio("pct_change", bar.change(), bar.pre_close, 100, 4);
            rows.ratio("turnover_rate", bar.volume, seen.float_shares(), 100, 4);
            rows.int("amount", bar.amount);
            rows.int("l_sell", sell);
            rows.int("l_buy", buy);
            rows.int("l_amount", buy + sell);
            rows.int("net_amount", buy - sell);
            rows.ratio("net_rate", buy - sell, bar.amount, 100, 4);
            rows.ratio("amount_rate", buy + sell, bar.amount, 100, 4);
            rows.fen("float_values", bar.close * seen.float_shares());
            rows.text("reason", reason);
            rows.end();
        }
    });
}

pub fn hm_detail(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_seen(core, scope, |seen| {
        if list_reasons(seen).is_empty() {
            return;
        }
        let mut dice = seen.dice(Stream::HotMoney);
        let first = dice.below(HOT_MONEY.len() as u64) as usize;
        for place in 0..dice.below(4) as usize {
            let name = HOT_MONEY[(first + place) % HOT_MONEY.len()];
            let (buy, sell) =
                (seen.bar.amount / 1000 * dice.between(0, 60), seen.bar.amount / 1000 * dice.between(0, 60));
            rows.date("trade_date", seen.day);
            rows.text("ts_code", &seen.stock.code);
            rows.text("ts_name", seen.name());
            rows.int("buy_amount", buy);
            rows.int("sell_amount", sell);
            rows.int("net_amount", buy - sell);
            rows.text("hm_name", name);
            rows.text("hm_orgs", &format!("示例证券{name}营业部"));
            rows.text("tag", if dice.chance(1, 3) { "机构" } else { "游资" });
            rows.end();
        }
    });
}

/// The tags under which the list shows a day.
fn list_tags(seen: &Seen<'_>) -> Vec<&'static str> {
    let mut tags: Vec<&str> = match limit_kind(&seen.bar) {
        Some("U") => vec!["涨停"],
        Some("D") => vec!["跌停"],
        Some("Z") => vec!["炸板"],
        _ => Vec::new(),
    };
    if seen.bar.closes_up_limit() && seen.bar.low < seen.bar.close {
        tags.push("自然涨停");
    }
    if seen.bar.open * 1000 >= seen.bar.pre_close * 1040 {
        tags.push("竞价");
    }
    tags
}

pub fn kpl_list(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_seen(core, scope, |seen| {
        for tag in list_tags(seen).into_iter().filter(|tag| scope.wants("tag", tag)) {
            kpl_row(seen, tag, rows);
        }
    });
}

fn kpl_row(seen: &Seen<'_>, tag: &str, rows: &mut Rows) {
    let (bar, mut dice) = (&seen.bar, seen.dice(Stream::Concept));
    let concept = *dice.pick(&CONCEPTS);
    let streak = seen.streak(true);
    let time = clock_time(&mut dice);
    rows.text("ts_code", &seen.stock.code);
    rows.text("name", seen.name());
    rows.date("trade_date", seen.day);
    match tag {
        "跌停" => rows.text("ld_time", &time),
        "炸板" => rows.text("open_time", &time),
        _ => rows.text("lu_time", &time),
    }
    rows.text("last_time", &time);
    rows.text("lu_desc", concept);
    rows.text("tag", tag);
    rows.text("theme", concept);
    rows.int("net_change", bar.amount / 1000 * dice.between(-80, 120));
    rows.int("bid_amount", bar.amount / 1000 * dice.between(1, 40));
    rows.text("status", &if streak > 1 { format!("{streak}连板") } else { "首板".to_owned() });
    rows.int("bid_change", bar.amount / 1000 * dice.between(-5, 20));
    rows.ratio("bid_turnover", bar.volume / 40, seen.float_shares(), 100, 4);
    rows.int("lu_bid_vol", bar.volume / 10);
    rows.ratio("pct_chg", bar.change(), bar.pre_close, 100, 4);
    rows.ratio("bid_pct_chg", bar.open - bar.pre_close, bar.pre_close, 100, 4);
    rows.ratio("rt_pct_chg", bar.change(), bar.pre_close, 100, 4);
    rows.int("limit_order", bar.amount / 50 * dice.between(1, 90));
    rows.int("amount", bar.amount);
    rows.ratio("turnover_rate", bar.volume, seen.float_shares(), 100, 4);
    rows.fen("free_float", bar.close * seen.float_shares() / 10 * 7);
    rows.int("lu_limit_order", bar.amount / 40 * dice.between(2, 99));
    rows.end();
}

pub fn kpl_concept(core: &Core, scope: &Scope, rows: &mut Rows) {
    for session in scope.sessions(core) {
        for (order, name) in CONCEPTS.iter().enumerate() {
            let mut dice = core.dice(Stream::Concept, 1_000_000 + order as u64, u64::from(session));
            rows.date("trade_date", core.sessions.day(session));
            rows.text("ts_code", &format!("{:06}.KP", order + 1));
            rows.text("name", name);
            rows.int("z_t_num", dice.between(0, 20));
            rows.text("up_num", &dice.between(-20, 20).to_string());
            rows.end();
        }
    }
}

/// The kinds of things that are ranked besides shares, with the shape of their codes.
const RANKED: [(&str, &str, i64); 8] = [
    ("ETF", "SH", 510_000),
    ("可转债", "SZ", 123_000),
    ("行业板块", "TI", 881_100),
    ("概念板块", "TI", 885_300),
    ("期货", "SHF", 100),
    ("港股", "HK", 1),
    ("热基", "OF", 1_000),
    ("美股", "O", 200),
];

pub fn ths_hot(core: &Core, scope: &Scope, rows: &mut Rows) {
    for session in scope.sessions(core) {
        let day = core.sessions.day(session);
        let at = Instant::at(day, 22 * 60 + 30);
        if scope.wants("data_type", "热股") {
            hot_stocks(core, session, day, at, rows);
        }
        for (kind, suffix, start) in RANKED.into_iter().filter(|(kind, ..)| scope.wants("data_type", kind)) {
            let mut dice = core.dice(Stream::Hot, start as u64, u64::from(session));
            let first = dice.between(0, 60);
            for rank in 1..=20 {
                let number = start + (first + rank * 3) % 80;
                hot_row(rows, day, kind, &format!("{number:06}.{suffix}"), &format!("{kind}{number}"), rank);
                rows.decimal("pct_change", dice.between(-500, 500), 2);
                rows.decimal("current_price", dice.between(80, 30_000), 2);
                rows.int("hot", 100_000 - rank * 3_000 + dice.between(0, 2_000));
                rows.instant("rank_time", at);
                rows.end();
            }
        }
    }
}

/// A hundred shares of the day, each once: every n-th of the list from a drawn start.
fn hot_stocks(core: &Core, session: u32, day: Day, at: Instant, rows: &mut Rows) {
    let count = core.stocks.len() as u64;
    let mut dice = core.dice(Stream::Hot, 0, u64::from(session));
    let (start, step) = (dice.below(count), (count / 131).max(1));
    let numbers = (0..count.min(131)).map(|place| ((start + place * step) % count) as u32);
    let bars = numbers.filter_map(|number| {
        let (stock, story) = (core.stock(number), core.story(number));
        bar(core, stock, story, session).map(|bar| (stock, story, bar))
    });
    for (rank, (stock, story, bar)) in (1..=100).zip(bars) {
        hot_row(rows, day, "热股", &stock.code, story.name_on(day), rank);
        rows.ratio("pct_change", bar.change(), bar.pre_close, 100, 4);
        rows.fen("current_price", bar.close);
        rows.text("concept", &format!("[\"{}\"]", dice.pick(&CONCEPTS)));
        rows.text("rank_reason", "成交活跃");
        rows.int("hot", 900_000 - rank * 8_000 + dice.between(0, 5_000));
        rows.instant("rank_time", at);
        rows.end();
    }
}

fn hot_row(rows: &mut Rows, day: Day, kind: &str, code: &str, name: &str, rank: i64) {
    rows.date("trade_date", day);
    rows.text("data_type", kind);
    rows.text("ts_code", code);
    rows.text("ts_name", name);
    rows.int("rank", rank);
}

//! The tables that only BaoStock has: status and valuation beside the bars, factors of ex-dates, industries, members of
//! indices, ratios by quarter, reports in brief.

use crate::model::{ColumnType, Day, Span};
use crate::sim::bars::bar;
use crate::sim::core::Core;
use crate::sim::dice::Stream;
use crate::sim::fundamentals::{report_day, reported_quarters};
use crate::sim::names::INDUSTRIES;
use crate::sim::rows::Rows;
use crate::sim::scope::Scope;
use crate::sim::securities::Stock;

use super::each_stock;

/// Shanghai and Shenzhen only.
fn is_known(stock: &Stock) -> bool {
    !stock.code.ends_with(".BJ")
}

pub fn daily_valuation(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for session in sessions.filter(|_| is_known(stock)) {
            let traded = bar(core, stock, story, session);
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", core.sessions.day(session));
            rows.text("trade_status", if traded.is_some() { "1" } else { "0" });
            if let Some(bar) = traded {
                rows.ratio("turn", bar.volume, story.float_shares(stock, session), 100, 6);
            }
            let mut dice = core.dice(Stream::Base, u64::from(stock.number), u64::from(session));
            for name in ["pe_ttm", "pb_mrq", "ps_ttm", "pcf_ncf_ttm"] {
                rows.decimal(name, dice.between(-20_000_000, 90_000_000), 6);
            }
            rows.text("is_st", if story.is_special(session) { "1" } else { "0" });
            rows.end();
        }
    });
}

pub fn ex_factor(core: &Core, scope: &Scope, rows: &mut Rows) {
    let wanted = scope.span("ex_date");
    for number in scope.stocks.iter() {
        let (stock, story) = (core.stock(*number), core.story(*number));
        let out = story.dividends.iter().filter(|dividend| is_known(stock) && scope.announced(dividend.ex));
        let newest = out.clone().map(|dividend| story.factor_micro(dividend.ex_session)).next_back().unwrap_or(1);
        for dividend in out.filter(|dividend| wanted.contains(dividend.ex)) {
            let factor = story.factor_micro(dividend.ex_session);
            rows.text("ts_code", &stock.code);
            rows.date("ex_date", dividend.ex);
            rows.ratio("fore_factor", factor, newest, 1, 6);
            rows.decimal("back_factor", factor, 6);
            rows.decimal("adj_factor", factor, 6);
            rows.end();
        }
    }
}

pub fn stock_industry(core: &Core, scope: &Scope, rows: &mut Rows) {
    let today = scope.now.day();
    let living = |stock: &&Stock| stock.listed <= today && stock.delisted.is_none_or(|day| day > today);
    for stock in scope.stocks.iter().map(|number| core.stock(*number)).filter(living).filter(|stock| is_known(stock)) {
        rows.text("ts_code", &stock.code);
        rows.date("update_date", today.plus(-today.weekday()));
        rows.text("name", core.story(stock.number).name_on(today));
        rows.text("industry", INDUSTRIES[stock.industry].0);
        rows.text("classification", "证监会行业分类");
        rows.end();
    }
}

/// The members of an index: one listed share in `every`, at the end of each week.
pub fn members(core: &Core, scope: &Scope, rows: &mut Rows, every: u32) {
    for session in scope.sessions(core).filter(|session| core.sessions.ends_week(*session)) {
        let day = core.sessions.day(session);
        for number in scope.stocks.iter().filter(|number| number.is_multiple_of(every)) {
            let stock = core.stock(*number);
            if !is_known(stock) || !core.story(*number).sessions.contains(&session) {
                continue;
            }
            rows.date("trade_date", day);
            rows.text("ts_code", &stock.code);
            rows.date("update_date", day.plus(-day.weekday()));
            rows.text("name", core.story(*number).name_on(day));
            rows.end();
        }
    }
}

pub fn trade_status(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_stock(core, scope, |stock, story, sessions| {
        for session in sessions.filter(|_| is_known(stock)) {
            let day = core.sessions.day(session);
            rows.text("ts_code", &stock.code);
            rows.date("trade_date", day);
            rows.text("trade_status", if story.is_trading(session) { "1" } else { "0" });
            rows.text("name", story.name_on(day));
            rows.end();
        }
    });
}

pub fn dividend_plan(core: &Core, scope: &Scope, rows: &mut Rows) {
    let wanted = scope.span("plan_ann_date");
    for number in scope.stocks.iter().filter(|number| is_known(core.stock(**number))) {
        let stock = core.stock(*number);
        let dividends = core.story(*number).dividends.iter();
        for dividend in dividends.filter(|one| wanted.contains(one.announced) && scope.announced(one.implementation)) {
            rows.text("ts_code", &stock.code);
            rows.int("plan_year", i64::from(dividend.announced.year()));
            rows.date("meeting_ann_date", dividend.meeting);
            rows.date("plan_ann_date", dividend.announced);
            rows.date("imp_ann_date", dividend.implementation);
            rows.date("record_date", dividend.record);
            rows.date("ex_date", dividend.ex);
            rows.date("pay_date", dividend.ex);
            rows.decimal("cash_before_tax", dividend.cash_milli, 3);
            let milli = dividend.cash_milli;
            rows.text("cash_after_tax", &format!("{}.{:03}或更多", milli / 1000, milli % 1000));
            rows.decimal("stock_per_share", dividend.stock_permille, 3);
            rows.text("plan_text", &format!("10派{}.{:02}元（含税）", milli / 100, milli % 100));
            rows.end();
        }
    }
}

/// Ratios by quarter: whatever decimals the table has, from the dice.
pub fn quarterly(core: &Core, scope: &Scope, rows: &mut Rows, order: u64) {
    for number in scope.stocks.iter().filter(|number| is_known(core.stock(**number))) {
        let stock = core.stock(*number);
        for quarter in reported_quarters(core, stock, scope.span("stat_date")) {
            let published = report_day(core, stock, quarter);
            if !scope.announced(published) {
                continue;
            }
            rows.text("ts_code", &stock.code);
            rows.date("stat_date", quarter.end());
            rows.date("pub_date", published);
            decimals(core, scope, rows, (u64::from(stock.number) << 8) | order, quarter.end());
            rows.end();
        }
    }
}

/// Every fourth quarter's report has an early version.
pub fn in_brief(core: &Core, scope: &Scope, rows: &mut Rows, order: u64) {
    for number in scope.stocks.iter().filter(|number| is_known(core.stock(**number))) {
        let stock = core.stock(*number);
        for quarter in reported_quarters(core, stock, Span::ALL).filter(|quarter| quarter.quarter == 4) {
            let published = report_day(core, stock, quarter).plus(-15);
            if !scope.span("pub_date").contains(published) || !scope.announced(published) {
                continue;
            }
            rows.text("ts_code", &stock.code);
            rows.date("pub_date", published);
            rows.date("stat_date", quarter.end());
            rows.date("update_date", published);
            rows.text("forecast_type", "略增");
            rows.text("abstract", "预计净利润增长。原因：销售 增加");
            decimals(core, scope, rows, (u64::from(stock.number) << 8) | order, quarter.end());
            rows.end();
        }
    }
}

/// Fills the decimal columns; one in twelve has no value.
fn decimals(core: &Core, scope: &Scope, rows: &mut Rows, number: u64, day: Day) {
    let mut dice = core.dice(Stream::Quarter, number, day.0 as u64);
    for column in scope.dataset.columns.iter().filter(|column| column.kind == ColumnType::Decimal) {
        let value = match column.unit.as_str() {
            "CNY" => dice.between(-90_000_000_000, 900_000_000_000),
            "share" => dice.between(10_000_000, 9_000_000_000),
            _ => dice.between(-2_000_000, 9_000_000),
        };
        if !dice.chance(1, 12) {
            rows.decimal(&column.name, value, column.scale);
        }
    }
}

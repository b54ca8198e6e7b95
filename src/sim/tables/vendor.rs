//! Tables that AKShare alone has: quotes of the moment, snapshots of companies, figures and ratios by period.

use crate::model::Day;
use crate::sim::bars::{Bar, bar, minutes_traded};
use crate::sim::core::Core;
use crate::sim::dice::Stream;
use crate::sim::fundamentals::{
    Balance, Income, Quarter, balance_at, cash_flow_to_date, income_of_four, income_to_date, latest_reported,
    report_day, shares_at,
};
use crate::sim::names::INDUSTRIES;
use crate::sim::rows::{Rows, ratio};
use crate::sim::scope::Scope;
use crate::sim::securities::Stock;

use super::reports::each_quarter;

/// The listed securities with their last published bar; without one where they did not trade.
fn each_listed(core: &Core, scope: &Scope, mut visit: impl FnMut(&Stock, u32, Option<Bar>)) {
    let Some(last) = scope.sessions(core).last() else { return };
    for number in scope.stocks.iter() {
        let (stock, story) = (core.stock(*number), core.story(*number));
        if story.sessions.contains(&last) {
            visit(stock, last, bar(core, stock, story, last));
        }
    }
}

pub fn spot(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_listed(core, scope, |stock, last, bar| {
        let story = core.story(stock.number);
        rows.text("ts_code", &stock.code);
        rows.text("name", story.name_on(core.sessions.day(last)));
        let Some(bar) = bar else {
            rows.fen("pre_close", story.pre_close(last));
            rows.end();
            return;
        };
        let bar = so_far(core, scope, stock, bar);
        let (shares, free) = (story.shares(last), story.float_shares(stock, last));
        let reported = latest_reported(core, stock, core.sessions.day(last));
        rows.fen("close", bar.close);
        rows.ratio("pct_chg", bar.change(), bar.pre_close, 100, 2);
        rows.fen("change", bar.change());
        rows.int("vol", bar.volume);
        rows.int("amount", bar.amount);
        rows.ratio("amplitude", bar.high - bar.low, bar.pre_close, 100, 2);
        rows.fen("high", bar.high);
        rows.fen("low", bar.low);
        rows.fen("open", bar.open);
        rows.fen("pre_close", bar.pre_close);
        rows.ratio("turnover_rate", bar.volume, free, 100, 2);
        rows.ratio("pe_dynamic", bar.close * shares, income_of_four(core, stock, reported).attributable(), 1, 2);
        rows.ratio("pb", bar.close * shares, balance_at(core, stock, reported).parent_equity(), 1, 2);
        rows.fen("total_mv", bar.close * shares);
        rows.fen("circ_mv", bar.close * free);
        rows.decimal("speed", 0, 2);
        rows.decimal("pct_chg_5m", core.dice(Stream::Bar, u64::from(stock.number), 1).between(-50, 50), 2);
        rows.end();
    });
}

/// The bar of the running session as it stands now; one of an earlier session is whole.
fn so_far(core: &Core, scope: &Scope, stock: &Stock, bar: Bar) -> Bar {
    match core.sessions.day(bar.session) == scope.now.day() {
        true => {
            let mut dice = core.dice(Stream::Path, u64::from(stock.number), u64::from(bar.session));
            bar.after(minutes_traded(scope.now.minute_of_day()), &mut dice)
        }
        false => bar,
    }
}

pub fn company_snapshot(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_listed(core, scope, |stock, last, bar| {
        let story = core.story(stock.number);
        let price = bar.map_or(story.pre_close(last), |bar| bar.close);
        let (shares, free) = (story.shares(last), story.float_shares(stock, last));
        rows.text("ts_code", &stock.code);
        rows.text("name", story.name_on(core.sessions.day(last)));
        rows.fen("close", price);
        rows.int("total_share", shares);
        rows.int("float_share", free);
        rows.fen("total_mv", price * shares);
        rows.fen("circ_mv", price * free);
        rows.text("industry", INDUSTRIES[stock.industry].0);
        rows.date("list_date", stock.listed);
        rows.end();
    });
}

/// What the figures of a period are made from.
struct Figures {
    income: Income,
    balance: Balance,
    cash: i64,
    shares: i64,
}

impl Figures {
    fn of(core: &Core, stock: &Stock, quarter: Quarter) -> Figures {
        Figures {
            income: income_to_date(core, stock, quarter),
            balance: balance_at(core, stock, quarter),
            cash: cash_flow_to_date(core, stock, quarter).operating(),
            shares: shares_at(core, stock, quarter),
        }
    }
}

/// Every report that is out, with its day.
fn each_report(core: &Core, scope: &Scope, mut visit: impl FnMut(&Stock, Quarter, Day)) {
    each_quarter(core, scope, |stock, quarter| {
        let published = report_day(core, stock, quarter);
        if scope.announced(published) {
            visit(stock, quarter, published);
        }
    });
}

pub fn earnings_report(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_report(core, scope, |stock, quarter, published| {
        let (now, before) = (Figures::of(core, stock, quarter), income_to_date(core, stock, quarter.year_before()));
        let (revenue, profit) = (now.income.revenue, now.income.attributable());
        rows.text("ts_code", &stock.code);
        rows.date("end_date", quarter.end());
        rows.text("name", core.story(stock.number).name_on(published));
        rows.ratio("eps", profit, now.shares * 100, 1, 4);
        rows.fen("revenue", revenue);
        rows.ratio("revenue_yoy", revenue - before.revenue, before.revenue.abs(), 100, 6);
        rows.fen("net_profit", profit);
        rows.ratio("net_profit_yoy", profit - before.attributable(), before.attributable().abs(), 100, 6);
        rows.ratio("bps", now.balance.parent_equity(), now.shares * 100, 1, 6);
        rows.ratio("roe", profit, now.balance.parent_equity(), 100, 2);
        rows.ratio("ocfps", now.cash, now.shares * 100, 1, 6);
        rows.ratio("gross_margin", revenue - now.income.cost, revenue, 100, 6);
        rows.text("industry", INDUSTRIES[stock.industry].0);
        rows.date("ann_date", published);
        rows.end();
    });
}

pub fn earnings_forecast(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_report(core, scope, |stock, quarter, published| {
        let mut dice = core.dice(Stream::Forecast, u64::from(stock.number), quarter.end().0 as u64);
        let announced = published.plus(-(dice.between(10, 60) as i32)).max(quarter.end().plus(5));
        if !dice.chance(3, 10) {
            return;
        }
        let (now, last) = (income_to_date(core, stock, quarter), income_to_date(core, stock, quarter.year_before()));
        for (item, value, before) in [
            ("归属于上市公司股东的净利润", now.attributable(), last.attributable()),
            ("营业收入", now.revenue, last.revenue),
        ] {
            rows.text("ts_code", &stock.code);
            rows.date("end_date", quarter.end());
            rows.date("ann_date", announced);
            rows.text("item", item);
            rows.text("name", core.story(stock.number).name_on(announced));
            rows.text("summary", "预计与上年同期相比有所变化。");
            rows.fen("forecast", value / 10_000 * 10_000);
            rows.ratio("change_pct", value - before, before.abs(), 100, 2);
            rows.text("reason", "主营业务变化");
            rows.text("type", if value >= before { "略增" } else { "略减" });
            rows.fen("last_year", before);
            rows.end();
        }
    });
}

pub fn financial_abstract(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_report(core, scope, |stock, quarter, _| {
        let now = Figures::of(core, stock, quarter);
        let profit = now.income.attributable();
        let yuan = |fen: i64| fen as f64 / 100.0;
        let of = |part: i64, whole: i64, times: i64| ratio(part, whole, times, 4).map(|value| value as f64 / 10_000.0);
        for (section, indicator, value) in [
            ("常用指标", "归母净利润", Some(yuan(profit))),
            ("常用指标", "营业总收入", Some(yuan(now.income.revenue))),
            ("常用指标", "经营现金流量净额", Some(yuan(now.cash))),
            ("常用指标", "基本每股收益", of(profit, now.shares * 100, 1)),
            ("每股指标", "基本每股收益", of(profit, now.shares * 100, 1)),
            ("每股指标", "每股净资产", of(now.balance.parent_equity(), now.shares * 100, 1)),
            ("盈利能力", "净资产收益率(ROE)", of(profit, now.balance.parent_equity(), 100)),
            ("财务风险", "资产负债率", of(now.balance.debt(), now.balance.assets(), 100)),
        ] {
            let Some(value) = value else { continue };
            rows.text("ts_code", &stock.code);
            rows.date("end_date", quarter.end());
            rows.text("section", section);
            rows.text("indicator", indicator);
            rows.float("value", value);
            rows.end();
        }
    });
}

pub fn financial_analysis(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_report(core, scope, |stock, quarter, _| {
        let now = Figures::of(core, stock, quarter);
        let (income, balance) = (&now.income, &now.balance);
        let profit = income.attributable();
        rows.text("ts_code", &stock.code);
        rows.date("end_date", quarter.end());
        for (name, fen) in [
            ("eps_diluted", profit),
            ("eps_weighted", profit),
            ("bps_after", balance.parent_equity()),
            ("ocfps", now.cash),
            ("capital_reserve_ps", balance.capital_reserve),
            ("undistributed_ps", balance.retained),
        ] {
            rows.ratio(name, fen, now.shares * 100, 1, 4);
        }
        for (name, part, whole) in [
            ("gross_margin", income.revenue - income.cost, income.revenue),
            ("net_margin", income.net(), income.revenue),
            ("roe", profit, balance.parent_equity()),
            ("debt_asset", balance.debt(), balance.assets()),
        ] {
            rows.ratio(name, part, whole, 100, 4);
        }
        rows.ratio("current_ratio", balance.current_assets(), balance.current_debt(), 1, 4);
        rows.fen("total_assets", balance.assets());
        rows.fen("net_profit_core", profit - income.other_gain + income.other_loss);
        rows.end();
    });
}

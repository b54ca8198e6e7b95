//! Ratios from the statements, early figures, audits, plans of disclosure, and dividends.

use crate::model::Day;
use crate::sim::core::Core;
use crate::sim::dice::Stream;
use crate::sim::fundamentals::{
    Balance, Income, Quarter, balance_at, cash_flow_to_date, income_of, income_to_date, report_day, reported_quarters,
    shares_at,
};
use crate::sim::names::{AUDITORS, person};
use crate::sim::rows::{Rows, ratio};
use crate::sim::scope::Scope;
use crate::sim::securities::Stock;
use crate::sim::story::Dividend;

use super::statements::{Version, each_version, stated_balance, stated_income};

pub fn fina_indicator(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_version(core, scope, |stock, version| {
        let now = Figures::stated(core, stock, &version);
        let before = Figures::of(core, stock, version.quarter.year_before());
        rows.text("ts_code", &stock.code);
        rows.date("ann_date", version.published);
        rows.date("end_date", version.quarter.end());
        per_share(&now, rows);
        amounts(&now, rows);
        margins(&now, rows);
        structure(&now, rows);
        single_quarter(core, stock, version.quarter, &now, rows);
        growth(&now, &before, rows);
        rows.fen("rd_exp", now.income.research);
        rows.text("update_flag", version.update_flag);
        rows.end();
    });
}

/// What the ratios are made from.
struct Figures {
    income: Income,
    balance: Balance,
    operating_cash: i64,
    shares: i64,
    quarter: Quarter,
}

impl Figures {
    fn of(core: &Core, stock: &Stock, quarter: Quarter) -> Figures {
        Figures {
            income: income_to_date(core, stock, quarter),
            balance: balance_at(core, stock, quarter),
            operating_cash: cash_flow_to_date(core, stock, quarter).operating(),
            shares: shares_at(core, stock, quarter),
            quarter,
        }
    }

    fn stated(core: &Core, stock: &Stock, version: &Version) -> Figures {
        let (income, balance) = (stated_income(core, stock, version), stated_balance(core, stock, version));
        Figures { income, balance, ..Figures::of(core, stock, version.quarter) }
    }

    fn interest_debt(&self) -> i64 {
        self.balance.short_loans + self.balance.long_loans + self.balance.bonds
    }

    /// Times a year's worth: what a figure to date is multiplied by.
    fn yearly(&self) -> i64 {
        4 / i64::from(self.quarter.quarter.clamp(1, 4)).min(4)
    }
}

fn per_share(now: &Figures, rows: &mut Rows) {
    let shares = now.shares * 100;
    for (name, fen) in [
        ("eps", now.income.attributable()),
        ("dt_eps", now.income.attributable()),
        ("total_revenue_ps", now.income.revenue),
        ("revenue_ps", now.income.revenue),
        ("capital_rese_ps", now.balance.capital_reserve),
        ("surplus_rese_ps", now.balance.surplus_reserve),
        ("undist_profit_ps", now.balance.retained),
        ("diluted2_eps", now.income.attributable()),
        ("bps", now.balance.parent_equity()),
        ("ocfps", now.operating_cash),
        ("retainedps", now.balance.retained + now.balance.surplus_reserve),
        ("ebit_ps", now.income.total_profit() + now.income.finance),
    ] {
        rows.ratio(name, fen, shares, 1, 6);
    }
}

fn amounts(now: &Figures, rows: &mut Rows) {
    let (income, balance) = (&now.income, &now.balance);
    for (name, fen) in [
        ("extra_item", income.other_gain - income.other_loss),
        ("profit_dedt", income.attributable() - income.other_gain + income.other_loss),
        ("gross_margin", income.revenue - income.cost),
        ("op_income", income.operating_profit() - income.investment),
        ("ebit", income.total_profit() + income.finance),
        ("interestdebt", now.interest_debt()),
        ("netdebt", now.interest_debt() - balance.cash),
        ("tangible_asset", balance.parent_equity() - balance.intangible - balance.goodwill),
        ("working_capital", balance.current_assets() - balance.current_debt()),
        ("invest_capital", balance.equity() + now.interest_debt()),
        ("retained_earnings", balance.retained + balance.surplus_reserve),
        ("fixed_assets", balance.fixed),
    ] {
        rows.fen(name, fen);
    }
}

fn margins(now: &Figures, rows: &mut Rows) {
    let income = &now.income;
    for (name, part, whole) in [
        ("netprofit_margin", income.net(), income.revenue),
        ("grossprofit_margin", income.revenue - income.cost, income.revenue),
        ("cogs_of_sales", income.cost, income.revenue),
        ("expense_of_sales", income.selling + income.admin + income.finance, income.revenue),
        ("profit_to_gr", income.net(), income.revenue),
        ("saleexp_to_gr", income.selling, income.revenue),
        ("adminexp_of_gr", income.admin, income.revenue),
        ("finaexp_of_gr", income.finance, income.revenue),
        ("impai_ttm", income.impairment, income.revenue),
        ("gc_of_gr", income.total_cost(), income.revenue),
        ("op_of_gr", income.operating_profit(), income.revenue),
        ("ebit_of_gr", income.total_profit() + income.finance, income.revenue),
        ("roe", income.attributable(), now.balance.parent_equity()),
        ("roe_waa", income.attributable(), now.balance.parent_equity()),
        ("roa", income.total_profit() + income.finance, now.balance.assets()),
        ("npta", income.net(), now.balance.assets()),
        ("roe_yearly", income.attributable() * now.yearly(), now.balance.parent_equity()),
        ("roa_yearly", income.net() * now.yearly(), now.balance.assets()),
        ("tax_to_ebt", income.tax, income.total_profit()),
    ] {
        rows.ratio(name, part, whole, 100, 4);
    }
}

fn structure(now: &Figures, rows: &mut Rows) {
    let balance = &now.balance;
    for (name, part, whole, times) in [
        ("current_ratio", balance.current_assets(), balance.current_debt(), 1),
        ("quick_ratio", balance.current_assets() - balance.inventories, balance.current_debt(), 1),
        ("cash_ratio", balance.cash, balance.current_debt(), 1),
        ("inv_turn", now.income.cost, balance.inventories, 1),
        ("ar_turn", now.income.revenue, balance.receivables, 1),
        ("ca_turn", now.income.revenue, balance.current_assets(), 1),
        ("fa_turn", now.income.revenue, balance.fixed, 1),
        ("assets_turn", now.income.revenue, balance.assets(), 1),
        ("debt_to_assets", balance.debt(), balance.assets(), 100),
        ("assets_to_eqt", balance.assets(), balance.equity(), 1),
        ("ca_to_assets", balance.current_assets(), balance.assets(), 100),
        ("nca_to_assets", balance.long_assets(), balance.assets(), 100),
        ("currentdebt_to_debt", balance.current_debt(), balance.debt(), 100),
        ("longdeb_to_debt", balance.long_debt(), balance.debt(), 100),
        ("debt_to_eqt", balance.debt(), balance.parent_equity(), 1),
        ("eqt_to_debt", balance.parent_equity(), balance.debt(), 1),
        ("ocf_to_shortdebt", now.operating_cash, balance.current_debt(), 1),
        ("ocf_to_debt", now.operating_cash, balance.debt(), 1),
    ] {
        rows.ratio(name, part, whole, times, 4);
    }
}

fn single_quarter(core: &Core, stock: &Stock, quarter: Quarter, now: &Figures, rows: &mut Rows) {
    let (this, last) = (income_of(core, stock, quarter), income_of(core, stock, quarter.previous()));
    let year_ago = income_of(core, stock, quarter.year_before());
    rows.ratio("q_eps", this.attributable(), now.shares * 100, 1, 6);
    for (name, part, whole) in [
        ("q_netprofit_margin", this.net(), this.revenue),
        ("q_gsprofit_margin", this.revenue - this.cost, this.revenue),
        ("q_saleexp_to_gr", this.selling, this.revenue),
        ("q_gc_to_gr", this.total_cost(), this.revenue),
        ("q_roe", this.attributable(), now.balance.parent_equity()),
        ("q_npta", this.net(), now.balance.assets()),
        ("q_sales_yoy", this.revenue - year_ago.revenue, year_ago.revenue.abs()),
        ("q_sales_qoq", this.revenue - last.revenue, last.revenue.abs()),
        ("q_profit_yoy", this.net() - year_ago.net(), year_ago.net().abs()),
        ("q_profit_qoq", this.net() - last.net(), last.net().abs()),
        ("q_op_qoq", this.operating_profit() - last.operating_profit(), last.operating_profit().abs()),
    ] {
        rows.ratio(name, part, whole, 100, 4);
    }
}

fn growth(now: &Figures, before: &Figures, rows: &mut Rows) {
    for (name, new, old) in [
        ("op_yoy", now.income.operating_profit(), before.income.operating_profit()),
        ("ebt_yoy", now.income.total_profit(), before.income.total_profit()),
        ("netprofit_yoy", now.income.attributable(), before.income.attributable()),
        ("dt_netprofit_yoy", now.income.attributable(), before.income.attributable()),
        ("ocf_yoy", now.operating_cash, before.operating_cash),
        ("assets_yoy", now.balance.assets(), before.balance.assets()),
        ("eqt_yoy", now.balance.parent_equity(), before.balance.parent_equity()),
        ("tr_yoy", now.income.revenue, before.income.revenue),
        ("or_yoy", now.income.revenue, before.income.revenue),
        ("equity_yoy", now.balance.equity(), before.balance.equity()),
    ] {
        rows.ratio(name, new - old, old.abs(), 100, 4);
    }
}

/// Calls `visit` for every wanted quarter of every wanted company, whether its report is out or not.
pub(super) fn each_quarter(core: &Core, scope: &Scope, mut visit: impl FnMut(&Stock, Quarter)) {
    for number in scope.stocks.iter() {
        let stock = core.stock(*number);
        reported_quarters(core, stock, scope.span("end_date")).for_each(|quarter| visit(stock, quarter));
    }
}

pub fn express(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_quarter(core, scope, |stock, quarter| {
        let mut dice = core.dice(Stream::Express, u64::from(stock.number), quarter.end().0 as u64);
        let announced = report_day(core, stock, quarter).plus(-(dice.between(8, 40) as i32)).max(quarter.end().plus(8));
        if !dice.chance(if quarter.quarter == 4 { 3 } else { 1 }, 10) || !scope.announced(announced) {
            return;
        }
        let now = Figures::of(core, stock, quarter);
        let before = Figures::of(core, stock, quarter.year_before());
        rows.text("ts_code", &stock.code);
        rows.date("ann_date", announced);
        rows.date("end_date", quarter.end());
        express_items(core, stock, &now, &before, rows);
        rows.text("perf_summary", "报告期内公司经营情况稳定。");
        rows.int("is_audit", 0);
        rows.end();
    });
}

fn express_items(core: &Core, stock: &Stock, now: &Figures, before: &Figures, rows: &mut Rows) {
    let opening = balance_at(core, stock, Quarter { year: now.quarter.year - 1, quarter: 4 });
    for (name, fen) in [
        ("revenue", now.income.revenue),
        ("operate_profit", now.income.operating_profit()),
        ("total_profit", now.income.total_profit()),
        ("n_income", now.income.attributable()),
        ("total_assets", now.balance.assets()),
        ("total_hldr_eqy_exc_min_int", now.balance.parent_equity()),
        ("yoy_net_profit", before.income.attributable()),
        ("or_last_year", before.income.revenue),
        ("op_last_year", before.income.operating_profit()),
        ("tp_last_year", before.income.total_profit()),
        ("np_last_year", before.income.attributable()),
        ("open_net_assets", opening.parent_equity()),
    ] {
        rows.fen(name, fen);
    }
    rows.ratio("diluted_eps", now.income.attributable(), now.shares * 100, 1, 4);
    rows.ratio("bps", now.balance.parent_equity(), now.shares * 100, 1, 4);
    for (name, part, whole) in [
        ("diluted_roe", now.income.attributable(), now.balance.parent_equity()),
        ("yoy_sales", now.income.revenue - before.income.revenue, before.income.revenue.abs()),
        ("yoy_dedu_np", now.income.attributable() - before.income.attributable(), before.income.attributable().abs()),
        ("growth_assets", now.balance.assets() - opening.assets(), opening.assets()),
        ("yoy_equity", now.balance.parent_equity() - opening.parent_equity(), opening.parent_equity().abs()),
    ] {
        rows.ratio(name, part, whole, 100, 4);
    }
}

pub fn forecast(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_quarter(core, scope, |stock, quarter| {
        let mut dice = core.dice(Stream::Forecast, u64::from(stock.number), quarter.end().0 as u64);
        let announced =
            report_day(core, stock, quarter).plus(-(dice.between(10, 60) as i32)).max(quarter.end().plus(5));
        if !dice.chance(if quarter.quarter == 4 { 4 } else { 2 }, 10) || !scope.announced(announced) {
            return;
        }
        let (now, last) = (income_to_date(core, stock, quarter), income_to_date(core, stock, quarter.year_before()));
        let (profit, before) = (now.attributable(), last.attributable());
        let (low, high) = (profit - profit.abs() / 20, profit + profit.abs() / 20);
        rows.text("ts_code", &stock.code);
        rows.date("ann_date", announced);
        rows.date("end_date", quarter.end());
        rows.text("type", forecast_type(profit, before));
        for (name, bound) in [("p_change_min", low), ("p_change_max", high)] {
            if let Some(change) = ratio(bound - before, before.abs(), 100, 2) {
                rows.decimal(name, change, 2);
            }
        }
        // Forecasts are given in units of 10,000 yuan with two decimals.
        for (name, fen) in [("net_profit_min", low), ("net_profit_max", high), ("last_parent_net", before)] {
            rows.fen(name, fen / 10_000 * 10_000);
        }
        rows.date("first_ann_date", announced);
        rows.text("summary", "预计归属于上市公司股东的净利润与上年同期相比有所变化。");
        rows.text("change_reason", "主营业务变化");
        rows.end();
    });
}

fn forecast_type(profit: i64, before: i64) -> &'static str {
    match (profit > 0, before > 0) {
        (true, false) => "扭亏",
        (false, true) => "首亏",
        (false, false) => "续亏",
        (true, true) if profit * 2 > before * 3 => "预增",
        (true, true) if profit > before => "略增",
        (true, true) if profit * 2 < before => "预减",
        (true, true) => "略减",
    }
}

pub fn fina_audit(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_quarter(core, scope, |stock, quarter| {
        let announced = report_day(core, stock, quarter);
        if quarter.quarter != 4 || !scope.announced(announced) {
            return;
        }
        let mut dice = core.dice(Stream::Audit, u64::from(stock.number), quarter.year as u64);
        let clean = stock.yield_permille > 0 || dice.chance(3, 4);
        rows.text("ts_code", &stock.code);
        rows.date("ann_date", announced);
        rows.date("end_date", quarter.end());
        rows.text("audit_result", if clean { "标准无保留意见" } else { "带强调事项段的无保留意见" });
        rows.int("audit_fees", dice.between(40, 600) * 10_000);
        rows.text("audit_agency", AUDITORS[stock.number as usize % AUDITORS.len()]);
        rows.text("audit_sign", &format!("{},{}", person(&mut dice), person(&mut dice)));
        rows.end();
    });
}

/// Plans are known from the end of the period on; the actual day when it has come.
pub fn disclosure_date(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_quarter(core, scope, |stock, quarter| {
        let planned_on = quarter.end().plus(1);
        if !scope.announced(planned_on) {
            return;
        }
        let actual = report_day(core, stock, quarter);
        let mut dice = core.dice(Stream::Report, u64::from(stock.number) | 2 << 32, quarter.end().0 as u64);
        let moved = dice.chance(1, 6);
        let first_plan = if moved { actual.plus(-(dice.between(1, 5) as i32)).max(planned_on.plus(1)) } else { actual };
        rows.text("ts_code", &stock.code);
        rows.date("ann_date", planned_on);
        rows.date("end_date", quarter.end());
        rows.date("pre_date", first_plan);
        if scope.announced(actual) {
            rows.date("actual_date", actual);
            if moved {
                rows.text("modify_date", &actual.compact());
            }
        }
        rows.end();
    });
}

/// A dividend has a row for each stage that it has reached.
pub fn dividend(core: &Core, scope: &Scope, rows: &mut Rows) {
    let wanted = scope.span("ann_date");
    for number in scope.stocks.iter() {
        let stock = core.stock(*number);
        for dividend in core.story(*number).dividends.iter().filter(|dividend| wanted.contains(dividend.announced)) {
            for (stage, reached) in
                [("预案", dividend.announced), ("股东大会通过", dividend.meeting), ("实施", dividend.implementation)]
            {
                if scope.announced(reached) {
                    dividend_row(core, stock, dividend, stage, rows);
                }
            }
        }
    }
}

fn dividend_row(core: &Core, stock: &Stock, dividend: &Dividend, stage: &str, rows: &mut Rows) {
    let carried_out = stage == "实施";
    let end: Day = Quarter { year: dividend.year, quarter: 4 }.end();
    rows.text("ts_code", &stock.code);
    rows.date("end_date", end);
    rows.date("ann_date", dividend.announced);
    rows.text("div_proc", stage);
    rows.decimal("stk_div", dividend.stock_permille, 3);
    if dividend.stock_permille > 0 {
        rows.decimal("stk_co_rate", dividend.stock_permille, 3);
    }
    rows.decimal("cash_div", if carried_out { dividend.cash_milli * 9 } else { 0 }, 4);
    rows.decimal("cash_div_tax", dividend.cash_milli, 3);
    if carried_out {
        rows.date("record_date", dividend.record);
        rows.date("ex_date", dividend.ex);
        if dividend.cash_milli > 0 {
            rows.date("pay_date", dividend.ex);
        }
        if dividend.stock_permille > 0 {
            rows.date("div_listdate", dividend.ex);
        }
        rows.date("imp_ann_date", dividend.implementation);
        rows.date("base_date", end);
        rows.int("base_share", core.story(stock.number).shares(dividend.ex_session.saturating_sub(1)));
    }
    rows.end();
}

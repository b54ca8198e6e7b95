//! The three statements, with corrected versions.

use crate::model::Day;
use crate::sim::core::Core;
use crate::sim::dice::Stream;
use crate::sim::fundamentals::{
    Balance, CashFlow, Income, Quarter, balance_at, cash_flow_to_date, income_to_date, report_day, reported_quarters,
    shares_at,
};
use crate::sim::rows::{Rows, ratio};
use crate::sim::scope::Scope;
use crate::sim::securities::Stock;

/// One published version of a report.
#[derive(Clone, Copy)]
pub(super) struct Version {
    pub(super) quarter: Quarter,
    pub(super) announced: Day,
    pub(super) published: Day,
    pub(super) update_flag: &'static str,
}

impl Version {
    /// Corrected versions differ from the first one by this many fen in operating cost and payables.
    fn correction(&self, revenue: i64) -> i64 {
        if self.update_flag == "1" { revenue / 500 } else { 0 }
    }
}

/// The versions of a report that are out: the first one, and for three in a hundred a correction later on.
pub(super) fn versions(core: &Core, stock: &Stock, quarter: Quarter, scope: &Scope) -> Vec<Version> {
    let announced = report_day(core, stock, quarter);
    let first = Version { quarter, announced, published: announced, update_flag: "0" };
    let mut out = vec![first];
    let mut dice = core.dice(Stream::Report, u64::from(stock.number) | 1 << 32, quarter.end().0 as u64);
    if dice.chance(3, 100) {
        let published = announced.plus(dice.between(7, 200) as i32);
        out.push(Version { published, update_flag: "1", ..first });
    }
    out.retain(|version| scope.announced(version.published));
    out
}

/// Every published version of every wanted report.
pub(super) fn each_version(core: &Core, scope: &Scope, mut visit: impl FnMut(&Stock, Version)) {
    for number in scope.stocks.iter() {
        let stock = core.stock(*number);
        for quarter in reported_quarters(core, stock, scope.span("end_date")) {
            for version in versions(core, stock, quarter, scope) {
                visit(stock, version);
            }
        }
    }
}

fn company_type(stock: &Stock) -> &'static str {
    match stock.industry {
        0 => "2",
        1 => "4",
        2 => "3",
        _ => "1",
    }
}

fn head(stock: &Stock, version: &Version, rows: &mut Rows, type_first: bool) {
    rows.text("ts_code", &stock.code);
    rows.date("ann_date", version.announced);
    rows.date("f_ann_date", version.published);
    rows.date("end_date", version.quarter.end());
    if type_first {
        rows.text("comp_type", company_type(stock));
        rows.text("report_type", "1");
    } else {
        rows.text("report_type", "1");
        rows.text("comp_type", company_type(stock));
    }
    rows.text("end_type", &version.quarter.quarter.to_string());
}

/// The income that a version states.
pub(super) fn stated_income(core: &Core, stock: &Stock, version: &Version) -> Income {
    let income = income_to_date(core, stock, version.quarter);
    Income { cost: income.cost + version.correction(income.revenue), ..income }
}

pub fn income(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_version(core, scope, |stock, version| {
        let income = stated_income(core, stock, &version);
        head(stock, &version, rows, false);
        income_items(core, stock, &version, &income, rows);
        rows.text("update_flag", version.update_flag);
        rows.end();
    });
}

fn income_items(core: &Core, stock: &Stock, version: &Version, income: &Income, rows: &mut Rows) {
    if let Some(eps) = ratio(income.attributable(), shares_at(core, stock, version.quarter) * 100, 1, 4) {
        rows.decimal("basic_eps", eps, 4);
        rows.decimal("diluted_eps", eps, 4);
    }
    let items = [
        ("total_revenue", income.revenue),
        ("revenue", income.revenue),
        ("invest_income", income.investment),
        ("total_cogs", income.total_cost()),
        ("oper_cost", income.cost),
        ("biz_tax_surchg", income.surcharges),
        ("sell_exp", income.selling),
        ("admin_exp", income.admin),
        ("fin_exp", income.finance),
        ("assets_impair_loss", income.impairment),
        ("operate_profit", income.operating_profit()),
        ("non_oper_income", income.other_gain),
        ("non_oper_exp", income.other_loss),
        ("total_profit", income.total_profit()),
        ("income_tax", income.tax),
        ("n_income", income.net()),
        ("n_income_attr_p", income.attributable()),
        ("minority_gain", income.minority),
        ("t_compr_income", income.net()),
        ("compr_inc_attr_p", income.attributable()),
        ("compr_inc_attr_m_s", income.minority),
        ("ebit", income.total_profit() + income.finance),
        ("rd_exp", income.research),
        ("total_opcost", income.total_cost()),
        ("continued_net_profit", income.net()),
    ];
    items.into_iter().for_each(|(name, fen)| rows.fen(name, fen));
}

/// The balance that a version states: the correction lies in other payables and retained earnings.
pub(super) fn stated_balance(core: &Core, stock: &Stock, version: &Version) -> Balance {
    let balance = balance_at(core, stock, version.quarter);
    let correction = version.correction(balance.assets());
    Balance { other_payables: balance.other_payables + correction, retained: balance.retained - correction, ..balance }
}

pub fn balancesheet(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_version(core, scope, |stock, version| {
        let balance = stated_balance(core, stock, &version);
        head(stock, &version, rows, false);
        rows.int("total_share", balance.capital / 100);
        balance_items(&balance).into_iter().for_each(|(name, fen)| rows.fen(name, fen));
        rows.text("update_flag", version.update_flag);
        rows.end();
    });
}

fn balance_items(balance: &Balance) -> [(&'static str, i64); 42] {
    [
        ("cap_rese", balance.capital_reserve),
        ("undistr_porfit", balance.retained),
        ("surplus_rese", balance.surplus_reserve),
        ("money_cap", balance.cash),
        ("trad_asset", balance.trading),
        ("notes_receiv", balance.notes),
        ("accounts_receiv", balance.receivables),
        ("oth_receiv", balance.other_receivables),
        ("prepayment", balance.prepayments),
        ("inventories", balance.inventories),
        ("oth_cur_assets", balance.other_current),
        ("total_cur_assets", balance.current_assets()),
        ("lt_eqt_invest", balance.equity_investments),
        ("fix_assets", balance.fixed),
        ("cip", balance.construction),
        ("intan_assets", balance.intangible),
        ("goodwill", balance.goodwill),
        ("defer_tax_assets", balance.deferred_tax),
        ("oth_nca", balance.other_long),
        ("total_nca", balance.long_assets()),
        ("total_assets", balance.assets()),
        ("lt_borr", balance.long_loans),
        ("st_borr", balance.short_loans),
        ("acct_payable", balance.payables),
        ("adv_receipts", balance.advances),
        ("payroll_payable", balance.payroll),
        ("taxes_payable", balance.taxes),
        ("oth_payable", balance.other_payables),
        ("total_cur_liab", balance.current_debt()),
        ("bond_payable", balance.bonds),
        ("oth_ncl", balance.other_long_debt),
        ("total_ncl", balance.long_debt()),
        ("total_liab", balance.debt()),
        ("minority_int", balance.minority),
        ("total_hldr_eqy_exc_min_int", balance.parent_equity()),
        ("total_hldr_eqy_inc_min_int", balance.equity()),
        ("total_liab_hldr_eqy", balance.debt() + balance.equity()),
        ("accounts_receiv_bill", balance.notes + balance.receivables),
        ("accounts_pay", balance.payables),
        ("oth_rcv_total", balance.other_receivables),
        ("fix_assets_total", balance.fixed),
        ("cip_total", balance.construction),
    ]
}

pub fn cashflow(core: &Core, scope: &Scope, rows: &mut Rows) {
    each_version(core, scope, |stock, version| {
        let flow = cash_flow_to_date(core, stock, version.quarter);
        let income = stated_income(core, stock, &version);
        head(stock, &version, rows, true);
        rows.fen("net_profit", income.net());
        rows.fen("finan_exp", income.finance);
        cash_items(&flow).into_iter().for_each(|(name, fen)| rows.fen(name, fen));
        rows.text("update_flag", version.update_flag);
        rows.end();
    });
}

fn cash_items(flow: &CashFlow) -> [(&'static str, i64); 28] {
    let change = flow.operating() + flow.investing() + flow.financing() + flow.exchange;
    [
        ("c_fr_sale_sg", flow.sales),
        ("recp_tax_rends", flow.tax_refunds),
        ("c_fr_oth_operate_a", flow.other_in),
        ("c_inf_fr_operate_a", flow.operating_in()),
        ("c_paid_goods_s", flow.goods),
        ("c_paid_to_for_empl", flow.employees),
        ("c_paid_for_taxes", flow.taxes),
        ("oth_cash_pay_oper_act", flow.other_out),
        ("st_cash_out_act", flow.operating_out()),
        ("n_cashflow_act", flow.operating()),
        ("c_disp_withdrwl_invest", flow.invested_back),
        ("c_recp_return_invest", flow.investment_income),
        ("stot_inflows_inv_act", flow.invested_back + flow.investment_income),
        ("c_pay_acq_const_fiolta", flow.capital_spending),
        ("c_paid_invest", flow.invested),
        ("stot_out_inv_act", flow.capital_spending + flow.invested),
        ("n_cashflow_inv_act", flow.investing()),
        ("c_recp_borrow", flow.borrowed),
        ("stot_cash_in_fnc_act", flow.borrowed),
        ("free_cashflow", flow.operating() - flow.capital_spending),
        ("c_prepay_amt_borr", flow.repaid),
        ("c_pay_dist_dpcp_int_exp", flow.dividends),
        ("stot_cashout_fnc_act", flow.repaid + flow.dividends),
        ("n_cash_flows_fnc_act", flow.financing()),
        ("eff_fx_flu_cash", flow.exchange),
        ("n_incr_cash_cash_equ", change),
        ("c_cash_equ_beg_period", flow.beginning),
        ("c_cash_equ_end_period", flow.end),
    ]
}

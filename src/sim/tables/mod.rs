//! One function a dataset: the rows of a scope. They may offer more rows than asked for, never fewer.

mod baostock;
mod boards;
mod chips;
mod indicators;
mod lists;
mod markets;
mod quotes;
mod reports;
mod statements;
mod vendor;

use super::core::Core;
use super::rows::Rows;
use super::scope::Scope;
use super::securities::Stock;
use super::story::Story;

/// Offers the rows of the scope's dataset; a dataset that is not simulated has none.
pub fn produce(core: &Core, scope: &Scope, rows: &mut Rows) {
    match scope.dataset.name.as_str() {
        "trade_cal" => lists::trade_cal(core, scope, rows),
        "stock_basic" => lists::stock_basic(core, scope, rows),
        "stock_company" => lists::stock_company(core, scope, rows),
        "bse_mapping" => lists::bse_mapping(core, scope, rows),
        "namechange" => lists::namechange(core, scope, rows),
        "daily" => quotes::daily(core, scope, rows),
        "weekly" => quotes::weekly(core, scope, rows),
        "monthly" => quotes::monthly(core, scope, rows),
        "index_daily" => quotes::index_daily(core, scope, rows),
        "adj_factor" => quotes::adj_factor(core, scope, rows),
        "daily_basic" => quotes::daily_basic(core, scope, rows),
        "moneyflow" => quotes::moneyflow(core, scope, rows),
        "stk_limit" => quotes::stk_limit(core, scope, rows),
        "suspend_d" => quotes::suspend_d(core, scope, rows),
        "limit_list_d" => boards::limit_list_d(core, scope, rows),
        "top_list" => boards::top_list(core, scope, rows),
        "hm_detail" => boards::hm_detail(core, scope, rows),
        "kpl_list" => boards::kpl_list(core, scope, rows),
        "kpl_concept" => boards::kpl_concept(core, scope, rows),
        "ths_hot" => boards::ths_hot(core, scope, rows),
        "margin" => markets::margin(core, scope, rows),
        "moneyflow_hsgt" => markets::moneyflow_hsgt(core, scope, rows),
        "cyq_chips" => chips::cyq_chips(core, scope, rows),
        "cyq_perf" => chips::cyq_perf(core, scope, rows),
        "stk_factor" => indicators::stk_factor(core, scope, rows),
        "stk_factor_pro" => indicators::stk_factor_pro(core, scope, rows),
        "income_vip" => statements::income(core, scope, rows),
        "balancesheet_vip" => statements::balancesheet(core, scope, rows),
        "cashflow_vip" => statements::cashflow(core, scope, rows),
        "fina_indicator" => reports::fina_indicator(core, scope, rows),
        "express_vip" => reports::express(core, scope, rows),
        "forecast_vip" => reports::forecast(core, scope, rows),
        "fina_audit" => reports::fina_audit(core, scope, rows),
        "disclosure_date" => reports::disclosure_date(core, scope, rows),
        "dividend" => reports::dividend(core, scope, rows),
        "spot" => vendor::spot(core, scope, rows),
        "company_snapshot" => vendor::company_snapshot(core, scope, rows),
        "earnings_report" => vendor::earnings_report(core, scope, rows),
        "earnings_forecast" => vendor::earnings_forecast(core, scope, rows),
        "financial_abstract" => vendor::financial_abstract(core, scope, rows),
        "financial_analysis" => vendor::financial_analysis(core, scope, rows),
        "daily_valuation" => baostock::daily_valuation(core, scope, rows),
        "trade_status" => baostock::trade_status(core, scope, rows),
        "ex_factor" => baostock::ex_factor(core, scope, rows),
        "stock_industry" => baostock::stock_industry(core, scope, rows),
        "members_hs300" => baostock::members(core, scope, rows, 3),
        "members_sz50" => baostock::members(core, scope, rows, 7),
        "members_zz500" => baostock::members(core, scope, rows, 2),
        "dividend_plan" => baostock::dividend_plan(core, scope, rows),
        "quarter_profit" => baostock::quarterly(core, scope, rows, 1),
        "quarter_operation" => baostock::quarterly(core, scope, rows, 2),
        "quarter_growth" => baostock::quarterly(core, scope, rows, 3),
        "quarter_dupont" => baostock::quarterly(core, scope, rows, 4),
        "quarter_balance" => baostock::quarterly(core, scope, rows, 5),
        "quarter_cash_flow" => baostock::quarterly(core, scope, rows, 6),
        "express_brief" => baostock::in_brief(core, scope, rows, 7),
        "forecast_brief" => baostock::in_brief(core, scope, rows, 8),
        _ => {}
    }
}

/// Calls `visit` for every wanted security with the wanted sessions on which it is listed.
fn each_stock(core: &Core, scope: &Scope, mut visit: impl FnMut(&Stock, &Story, std::ops::Range<u32>)) {
    let wanted = scope.sessions(core);
    if wanted.is_empty() {
        return;
    }
    for number in scope.stocks.iter() {
        let stock = core.stock(*number);
        let story = core.story(*number);
        let sessions = wanted.start.max(story.sessions.start)..wanted.end.min(story.sessions.end);
        if sessions.start < sessions.end {
            visit(stock, story, sessions);
        }
    }
}

//! One function a dataset: the rows of a scope. They may offer more rows than asked for, never fewer.

mod lists;
mod quotes;

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

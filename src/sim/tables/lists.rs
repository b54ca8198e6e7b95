//! The calendar, the list of securities and what belongs to it.

use crate::model::Day;
use crate::sim::core::Core;
use crate::sim::dice::Stream;
use crate::sim::names::{AREAS, INDUSTRIES, person};
use crate::sim::rows::Rows;
use crate::sim::scope::Scope;
use crate::sim::securities::{Board, Stock};

pub fn trade_cal(core: &Core, scope: &Scope, rows: &mut Rows) {
    let days = scope.known_days(core, "cal_date");
    for exchange in ["SSE", "SZSE"].into_iter().filter(|exchange| scope.wants("exchange", exchange)) {
        for day in days.from.to(days.to) {
            rows.text("exchange", exchange);
            rows.date("cal_date", day);
            rows.int("is_open", i64::from(core.sessions.number_of(day).is_some()));
            if let Some(before) = core.sessions.before(day) {
                rows.date("pretrade_date", before);
            }
            rows.end();
        }
    }
}

/// The wanted securities that are known by now: listed, or to be listed on the next day.
fn known<'a>(core: &'a Core, scope: &'a Scope) -> impl Iterator<Item = &'a Stock> {
    let today = scope.now.day();
    scope.stocks.iter().map(|number| core.stock(*number)).filter(move |stock| stock.listed <= today)
}

fn delisted_by_now(stock: &Stock, scope: &Scope) -> Option<Day> {
    stock.delisted.filter(|day| *day <= scope.now.day())
}

pub fn stock_basic(core: &Core, scope: &Scope, rows: &mut Rows) {
    for stock in known(core, scope) {
        let delisted = delisted_by_now(stock, scope);
        let number = u64::from(stock.number);
        let state_owned = number.is_multiple_of(3);
        rows.text("ts_code", &stock.code);
        rows.text("symbol", stock.symbol());
        rows.text("name", core.story(stock.number).name_on(scope.now.day()));
        rows.text("area", AREAS[stock.area].0);
        rows.text("industry", INDUSTRIES[stock.industry].0);
        rows.text("fullname", &format!("{}股份有限公司", stock.name.name));
        rows.text("enname", &format!("{} Holdings Co., Ltd.", stock.name.initials));
        rows.text("cnspell", &stock.name.initials.to_lowercase());
        rows.text("market", stock.board.market());
        rows.text("exchange", stock.board.exchange());
        rows.text("curr_type", currency(stock.board));
        rows.text("list_status", if delisted.is_some() { "D" } else { "L" });
        rows.date("list_date", stock.listed);
        if let Some(delisted) = delisted {
            rows.date("delist_date", delisted);
        }
        rows.text("is_hs", connect(stock));
        rows.text("act_name", &person(&mut core.dice(Stream::Company, number, 1)));
        rows.text("act_ent_type", if state_owned { "地方国企" } else { "民营企业" });
        rows.end();
    }
}

fn currency(board: Board) -> &'static str {
    match board {
        Board::ShanghaiB => "USD",
        Board::ShenzhenB => "HKD",
        _ => "CNY",
    }
}

fn connect(stock: &Stock) -> &'static str {
    let large = stock.number % 5 < 2;
    match stock.board.suffix() {
        "SH" if large => "H",
        "SZ" if large => "S",
        _ => "N",
    }
}

pub fn stock_company(core: &Core, scope: &Scope, rows: &mut Rows) {
    for stock in known(core, scope) {
        let mut dice = core.dice(Stream::Company, u64::from(stock.number), 0);
        let site = format!("{}{}.example", stock.name.initials.to_lowercase(), stock.symbol());
        let (area, city) = AREAS[stock.area];
        let industry = INDUSTRIES[stock.industry].0;
        rows.text("ts_code", &stock.code);
        rows.text("com_name", &format!("{}股份有限公司", stock.name.name));
        rows.text("com_id", &format!("91{:016}", dice.below(10_000_000_000_000_000)));
        rows.text("exchange", stock.board.exchange());
        rows.text("chairman", &person(&mut dice));
        rows.text("manager", &person(&mut dice));
        rows.text("secretary", &person(&mut dice));
        rows.int("reg_capital", stock.shares);
        rows.date("setup_date", stock.listed.plus(-(dice.between(900, 7000) as i32)));
        rows.text("province", area);
        rows.text("city", city);
        rows.text("introduction", &format!("公司成立于{city}，\n主营{industry}。"));
        rows.text("website", &format!("www.{site}"));
        rows.text("email", &format!("ir@{site}"));
        rows.text("office", &format!("{city}中山路{}号", dice.between(1, 999)));
        rows.int("employees", dice.between(80, 20_000));
        rows.text("main_business", &format!("{industry}相关产品的研发、生产和销售"));
        rows.text("business_scope", &format!("{industry}；货物及技术进出口"));
        rows.end();
    }
}

pub fn bse_mapping(core: &Core, scope: &Scope, rows: &mut Rows) {
    for stock in known(core, scope) {
        let Some(former) = &stock.former else { continue };
        rows.text("name", &stock.name.name);
        rows.text("o_code", former);
        rows.text("n_code", &stock.code);
        rows.date("list_date", stock.listed);
        rows.end();
    }
}

pub fn namechange(core: &Core, scope: &Scope, rows: &mut Rows) {
    for stock in known(core, scope) {
        let today = scope.now.day();
        for span in core.story(stock.number).names.iter().filter(|span| span.announced <= today) {
            rows.text("ts_code", &stock.code);
            rows.text("name", &span.name);
            rows.date("start_date", span.from);
            if let Some(to) = span.to.filter(|to| *to <= today) {
                rows.date("end_date", to);
            }
            rows.date("ann_date", span.announced);
            rows.text("change_reason", span.reason);
            rows.end();
        }
    }
}

//! Totals of whole exchanges: margin trading and the stock connect.

use crate::sim::core::Core;
use crate::sim::dice::Stream;
use crate::sim::rows::Rows;
use crate::sim::scope::Scope;

pub fn margin(core: &Core, scope: &Scope, rows: &mut Rows) {
    const EXCHANGES: [(&str, i64, i16); 3] =
        [("SSE", 820_000_000_000, 2010), ("SZSE", 760_000_000_000, 2010), ("BSE", 5_000_000_000, 2023)];
    for session in scope.sessions(core) {
        let day = core.sessions.day(session);
        for (order, (exchange, size, since)) in EXCHANGES.into_iter().enumerate() {
            if day.year() < since || !scope.wants("exchange_id", exchange) {
                continue;
            }
            let balance = |session: u32| financed(core, order as u64, size, session);
            let mut dice = core.dice(Stream::Margin, order as u64, u64::from(session));
            let (today, before) = (balance(session), balance(session.saturating_sub(1)));
            let bought = size / 1000 * dice.between(50, 110) + (today - before).max(0);
            let lent = size / 200 + dice.between(0, size / 2000);
            rows.date("trade_date", day);
            rows.text("exchange_id", exchange);
            rows.int("rzye", today);
            rows.int("rzmre", bought);
            rows.int("rzche", before + bought - today);
            rows.int("rqye", lent);
            rows.int("rqmcl", lent / dice.between(90, 140));
            rows.int("rzrqye", today + lent);
            rows.int("rqyl", lent / 8);
            rows.end();
        }
    }
}

/// The financing balance at the end of a session: a slow wave with small steps.
fn financed(core: &Core, exchange: u64, size: i64, session: u32) -> i64 {
    let phase = (i64::from(session % 600) - 300).abs();
    size / 1000 * (800 + phase) + core.dice(Stream::Margin, 100 + exchange, u64::from(session)).between(0, size / 300)
}

pub fn moneyflow_hsgt(core: &Core, scope: &Scope, rows: &mut Rows) {
    for session in scope.sessions(core) {
        let mut dice = core.dice(Stream::Connect, 0, u64::from(session));
        // In units of 10,000 yuan, as the wire gives them with two decimals of a million.
        let mut flow = || dice.between(-600_000, 800_000) * 10_000;
        let (south_sh, south_sz, north_sh, north_sz) = (flow(), flow(), flow(), flow());
        rows.date("trade_date", core.sessions.day(session));
        rows.int("ggt_ss", south_sh);
        rows.int("ggt_sz", south_sz);
        rows.int("hgt", north_sh);
        rows.int("sgt", north_sz);
        rows.int("north_money", north_sh + north_sz);
        rows.int("south_money", south_sh + south_sz);
        rows.end();
    }
}

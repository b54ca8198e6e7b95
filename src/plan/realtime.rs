//! When a realtime table is asked: in trading hours only, at a steady pace.

use crate::model::{Day, Instant, TradingCalendar};

/// Minutes after midnight, Beijing: from the opening auction to noon, and the afternoon.
pub const SESSIONS: [(i32, i32); 2] = [(9 * 60 + 15, 11 * 60 + 30), (13 * 60, 15 * 60)];

/// Whether `now` lies in trading hours; the first and the last minute's beginning belong to them.
pub fn is_trading(calendar: &TradingCalendar, now: Instant) -> bool {
    calendar.may_be_open(now.day()) && SESSIONS.iter().any(|session| within(now, *session))
}

fn within(now: Instant, (opens, closes): (i32, i32)) -> bool {
    Instant::at(now.day(), opens) <= now && now <= Instant::at(now.day(), closes)
}

/// The next instant at which to poll: `every_seconds` after the last poll began (at once without one), or when trading
/// begins again. The closing minute itself is polled once, so that the last state of a session is seen.
pub fn next_poll(calendar: &TradingCalendar, last: Option<Instant>, now: Instant, every_seconds: u32) -> Instant {
    let due = last.map_or(now, |last| last.plus_seconds(i64::from(every_seconds.max(1))).max(now));
    if is_trading(calendar, due) {
        return due;
    }
    let Some(last) = last else { return next_opening(calendar, due) };
    match closing_between(calendar, last, due) {
        Some(closing) => closing.max(now),
        None => next_opening(calendar, due),
    }
}

/// The end of the session in which `last` was polled, when it lies before `due`.
fn closing_between(calendar: &TradingCalendar, last: Instant, due: Instant) -> Option<Instant> {
    if !is_trading(calendar, last) {
        return None;
    }
    let session = SESSIONS.iter().find(|session| within(last, **session))?;
    let closing = Instant::at(last.day(), session.1);
    (last < closing && closing < due).then_some(closing)
}

fn next_opening(calendar: &TradingCalendar, now: Instant) -> Instant {
    let today = now.day();
    let openings = |day: Day| SESSIONS.map(|(opens, _)| Instant::at(day, opens));
    let later = openings(today).into_iter().find(|opening| *opening > now);
    match later.filter(|_| calendar.may_be_open(today)) {
        Some(opening) => opening,
        None => openings(calendar.next_open(today))[0],
    }
}

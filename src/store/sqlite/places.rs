//! Places of calls: the limit per minute and per day of a source that several processes share.

use rusqlite::Connection;

use super::fault::Step;
use super::tasks;
use crate::model::{Instant, Place};

/// The window over which sources count calls.
const MINUTE_SECONDS: i64 = 60;

/// Which calls are counted together, and how many there may be.
pub(super) struct Counted<'a> {
    pub(super) source: &'a str,
    pub(super) api: &'a str,
    pub(super) per_minute: Option<u32>,
    pub(super) per_day: Option<u64>,
}

pub(super) fn take(connection: &Connection, counted: &Counted, held_until: Instant, now: Instant) -> Step<Place> {
    let Counted { source, api, per_minute, per_day } = *counted;
    let used_today = tasks::quota_used(connection, source, now.day())?;
    let used_today = used_today.iter().find(|(name, _)| name == api).map_or(0, |(_, calls)| *calls);
    if per_day.is_some_and(|limit| used_today >= limit) {
        return Ok(Place::DayUsed);
    }
    let sql = "delete from _place where source = ?1 and api = ?2 and free_at <= ?3";
    connection.prepare_cached(sql)?.execute((source, api, now.0))?;
    let sql = "select count(*), min(free_at) from _place where source = ?1 and api = ?2";
    let (taken, first): (u32, Option<i64>) =
        connection.prepare_cached(sql)?.query_row((source, api), |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(first) = first.filter(|_| per_minute.is_some_and(|limit| taken >= limit)) {
        return Ok(Place::FreeAt(Instant(first)));
    }
    let sql = "insert into _place (source, api, free_at) values (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute((source, api, held_until.plus_seconds(MINUTE_SECONDS).0))?;
    let place = connection.last_insert_rowid();
    tasks::add_quota(connection, source, api, now.day(), 1)?;
    Ok(Place::Taken(place))
}

pub(super) fn answer(connection: &Connection, place: i64, free_at: Instant) -> Step<()> {
    connection.prepare_cached("update _place set free_at = ?2 where id = ?1")?.execute((place, free_at.0))?;
    Ok(())
}

//! Places of calls: the limit per minute and per day of a source that several processes share. Instants of the callers
//! count as distances from now, and now is what the server's clock says: the clocks of the processes may differ.

use super::connection::Session;
use super::fault::Step;
use super::tasks;
use super::values::lock_number;
use crate::model::{Instant, Place};

/// The window over which sources count calls.
const MINUTE_SECONDS: i64 = 60;

/// Which calls are counted together, and how many there may be.
pub(super) struct Counted<'a> {
    pub(super) schema: &'a str,
    pub(super) source: &'a str,
    pub(super) api: &'a str,
    pub(super) per_minute: Option<u32>,
    pub(super) per_day: Option<u64>,
}

pub(super) async fn take(session: &Session, counted: &Counted<'_>, held_until: Instant, now: Instant) -> Step<Place> {
    let Counted { schema, source, api, per_minute, per_day } = *counted;
    session.lock(lock_number(schema, &format!("place {source} {api}"))).await?;
    let used_today = tasks::quota_used(session, source, now.day()).await?;
    let used_today = used_today.iter().find(|(name, _)| name == api).map_or(0, |(_, calls)| *calls);
    if per_day.is_some_and(|limit| used_today >= limit) {
        return Ok(Place::DayUsed);
    }
    let sql = "delete from _place where source = $1 and api = $2 and free_at <= clock_timestamp()";
    session.execute(sql, &[&source, &api]).await?;
    let sql = "select count(*), (extract(epoch from min(free_at) - clock_timestamp()) * 1000000)::bigint from _place \
               where source = $1 and api = $2";
    let row = session.query_one(sql, &[&source, &api]).await?;
    let (taken, micros): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    if let Some(micros) = micros.filter(|_| per_minute.is_some_and(|limit| taken >= i64::from(limit))) {
        return Ok(Place::FreeAt(Instant(now.0.saturating_add(micros.max(0)))));
    }
    let held = held_until.plus_seconds(MINUTE_SECONDS).0.saturating_sub(now.0);
    let sql = "insert into _place (source, api, free_at) \
               values ($1, $2, clock_timestamp() + $3 * interval '1 microsecond') returning id";
    let place: i64 = session.query_one(sql, &[&source, &api, &(held as f64)]).await?.try_get(0)?;
    tasks::add_quota(session, source, api, now.day(), 1).await?;
    Ok(Place::Taken(place))
}

pub(super) async fn answer(session: &Session, place: i64, free_at: Instant, now: Instant) -> Step<()> {
    let sql = "update _place set free_at = clock_timestamp() + $2 * interval '1 microsecond' where id = $1";
    let wait = free_at.0.saturating_sub(now.0) as f64;
    session.execute(sql, &[&place, &wait]).await?;
    Ok(())
}

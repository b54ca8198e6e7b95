//! How each source behaved, by hour.

use rusqlite::Connection;

use super::claims::{read_instant, read_instant_option};
use super::fault::Step;
use crate::model::{HEALTH_HOURS, Health};

/// Adds to an hour, and forgets hours that lie too far behind it.
pub(super) fn add(connection: &Connection, health: &Health) -> Step<()> {
    let sql = "insert into _source_health (source, hour, calls, failed, wrong, network_ms, last_error, last_error_at) \
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
               on conflict (source, hour) do update set calls = calls + ?3, failed = failed + ?4, wrong = wrong + ?5, \
               network_ms = network_ms + ?6, last_error = coalesce(?7, last_error), \
               last_error_at = coalesce(?8, last_error_at)";
    let figures = [health.calls, health.failed, health.wrong, health.network_ms].map(|figure| figure as i64);
    let [calls, failed, wrong, network_ms] = figures;
    connection.prepare_cached(sql)?.execute((
        &health.source,
        health.hour.to_string(),
        calls,
        failed,
        wrong,
        network_ms,
        &health.last_error,
        health.last_error_at.map(|at| at.to_string()),
    ))?;
    let oldest = health.hour.plus_seconds(-HEALTH_HOURS * 3_600).to_string();
    let forget = "delete from _source_health where source = ?1 and hour < ?2";
    connection.prepare_cached(forget)?.execute((&health.source, oldest))?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Step<Vec<Health>> {
    let sql = "select source, hour, calls, failed, wrong, network_ms, last_error, last_error_at from _source_health \
               order by source, hour";
    let mut statement = connection.prepare_cached(sql)?;
    let hours = statement.query_map((), |row| {
        Ok(Health {
            source: row.get(0)?,
            hour: read_instant(row, 1)?,
            calls: row.get::<_, i64>(2)? as u64,
            failed: row.get::<_, i64>(3)? as u64,
            wrong: row.get::<_, i64>(4)? as u64,
            network_ms: row.get::<_, i64>(5)? as u64,
            last_error: row.get(6)?,
            last_error_at: read_instant_option(row, 7)?,
        })
    })?;
    Ok(hours.collect::<rusqlite::Result<_>>()?)
}

//! How each source behaved, by hour.

use super::connection::Session;
use super::fault::Step;
use super::values::SqlInstant;
use crate::model::{HEALTH_HOURS, Health};

/// Adds to an hour, and forgets hours that lie too far behind it.
pub(super) async fn add(session: &Session, health: &Health) -> Step<()> {
    let sql = "insert into _source_health as known \
               (source, hour, calls, failed, wrong, network_ms, last_error, last_error_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8) \
               on conflict (source, hour) do update set calls = known.calls + excluded.calls, \
               failed = known.failed + excluded.failed, wrong = known.wrong + excluded.wrong, \
               network_ms = known.network_ms + excluded.network_ms, \
               last_error = coalesce(excluded.last_error, known.last_error), \
               last_error_at = coalesce(excluded.last_error_at, known.last_error_at)";
    let figures = [health.calls, health.failed, health.wrong, health.network_ms].map(|figure| figure as i64);
    let [calls, failed, wrong, network_ms] = &figures;
    let (hour, error_at) = (SqlInstant(health.hour), health.last_error_at.map(SqlInstant));
    session
        .execute(sql, &[&health.source, &hour, calls, failed, wrong, network_ms, &health.last_error, &error_at])
        .await?;
    let oldest = SqlInstant(health.hour.plus_seconds(-HEALTH_HOURS * 3_600));
    session.execute("delete from _source_health where source = $1 and hour < $2", &[&health.source, &oldest]).await?;
    Ok(())
}

pub(super) async fn all(session: &Session) -> Step<Vec<Health>> {
    let sql = "select source, hour, calls, failed, wrong, network_ms, last_error, last_error_at from _source_health \
               order by source, hour";
    let read = |row: &tokio_postgres::Row| {
        let count = |column: usize| -> Step<u64> { Ok(row.try_get::<_, i64>(column)? as u64) };
        Ok(Health {
            source: row.try_get(0)?,
            hour: row.try_get::<_, SqlInstant>(1)?.0,
            calls: count(2)?,
            failed: count(3)?,
            wrong: count(4)?,
            network_ms: count(5)?,
            last_error: row.try_get(6)?,
            last_error_at: row.try_get::<_, Option<SqlInstant>>(7)?.map(|at| at.0),
        })
    };
    session.query(sql, &[]).await?.iter().map(read).collect()
}

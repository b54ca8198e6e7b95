//! Duties: what one process at a time does on a store, by lease and fence. Leases run by the server's clock.

use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, clean};
use crate::model::{Instant, Lease};
use crate::store::events::{Held, check_duty, duty_taken};

async fn held(session: &Session, duty: &str) -> Step<Option<Held>> {
    let sql =
        "select fence, worker, lease_until, lease_until > clock_timestamp() from _duty where name = $1 for update";
    let rows = session.query(sql, &[&clean(duty)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let until = row.try_get::<_, SqlInstant>(2)?.0;
    Ok(Some(Held { fence: row.try_get(0)?, worker: row.try_get(1)?, until, lasts: row.try_get(3)? }))
}

/// Takes a duty that is free; its fence comes back.
pub(super) async fn take(session: &Session, duty: &str, lease: &Lease, now: Instant) -> Step<i64> {
    // A row to lock is there even for a duty that nobody had.
    let sql = "insert into _duty (name, fence, worker, lease_until) values ($1, 0, '', '-infinity') \
               on conflict (name) do nothing";
    session.execute(sql, &[&clean(duty)]).await?;
    let fence = duty_taken(duty, held(session, duty).await?.as_ref(), lease)?;
    let sql = "update _duty set fence = $2, worker = $3, \
               lease_until = clock_timestamp() + $4 * interval '1 microsecond' where name = $1";
    session.execute(sql, &[&clean(duty), &fence, &clean(&lease.worker), &length(lease.until, now)]).await?;
    Ok(fence)
}

/// Refuses whoever lost the duty. Nobody takes it over before the transaction ends.
pub(super) async fn check(session: &Session, duty: &str, fence: i64) -> Step<()> {
    Ok(check_duty(duty, held(session, duty).await?.as_ref(), fence)?)
}

/// Moves the end of a lease; `until` now gives the duty back.
pub(super) async fn renew(session: &Session, duty: &str, fence: i64, until: Instant, now: Instant) -> Step<()> {
    check(session, duty, fence).await?;
    let sql = "update _duty set lease_until = clock_timestamp() + $2 * interval '1 microsecond' where name = $1";
    session.execute(sql, &[&clean(duty), &length(until, now)]).await?;
    Ok(())
}

/// In microseconds, as the caller's clock counts them.
fn length(until: Instant, now: Instant) -> f64 {
    until.0.saturating_sub(now.0) as f64
}

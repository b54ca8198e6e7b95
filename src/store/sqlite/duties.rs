//! Duties: what one process at a time does on a store, by lease and fence.

use rusqlite::{Connection, OptionalExtension, Row};

use super::claims::read_instant;
use super::fault::Step;
use crate::model::{Instant, Lease};
use crate::store::events::{Held, check_duty, duty_taken};

fn held(connection: &Connection, duty: &str, now: Instant) -> Step<Option<Held>> {
    let read = |row: &Row| {
        let until = read_instant(row, 2)?;
        Ok(Held { fence: row.get(0)?, worker: row.get(1)?, until, lasts: until > now })
    };
    let sql = "select fence, worker, lease_until from _duty where name = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([duty], read).optional()?)
}

/// Takes a duty that is free; its fence comes back.
pub(super) fn take(connection: &Connection, duty: &str, lease: &Lease, now: Instant) -> Step<i64> {
    let fence = duty_taken(duty, held(connection, duty, now)?.as_ref(), lease)?;
    let sql = "insert into _duty (name, fence, worker, lease_until) values (?1, ?2, ?3, ?4) on conflict (name) \
               do update set fence = excluded.fence, worker = excluded.worker, lease_until = excluded.lease_until";
    connection.prepare_cached(sql)?.execute((duty, fence, &lease.worker, lease.until.to_string()))?;
    Ok(fence)
}

/// Refuses whoever lost the duty.
pub(super) fn check(connection: &Connection, duty: &str, fence: i64, now: Instant) -> Step<()> {
    Ok(check_duty(duty, held(connection, duty, now)?.as_ref(), fence)?)
}

/// Moves the end of a lease; `until` now gives the duty back.
pub(super) fn renew(connection: &Connection, duty: &str, fence: i64, until: Instant, now: Instant) -> Step<()> {
    check(connection, duty, fence, now)?;
    let sql = "update _duty set lease_until = ?2 where name = ?1";
    connection.prepare_cached(sql)?.execute((duty, until.to_string()))?;
    Ok(())
}

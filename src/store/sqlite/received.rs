//! What inbound webhooks took in, as stored.

use rusqlite::{Connection, OptionalExtension, Row};

use super::claims::{read_instant, unreadable};
use super::fault::Step;
use crate::model::{Instant, Received, ReceivedState, ReceivedWanted};
use crate::store::events::{not_waiting, received_already};

const RECEIVED: &str =
    "select inbound, source, id, at, dataset, key, version, state, attempts, due_at, note from _received";

/// Notes a message that was taken in; one that is known already is a conflict.
pub(super) fn add(connection: &Connection, received: &Received) -> Step<()> {
    let sql = "insert into _received (inbound, source, id, at, dataset, key, version, state, attempts, due_at, note) \
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) on conflict do nothing";
    let added = connection.prepare_cached(sql)?.execute(rusqlite::params![
        received.inbound,
        received.source,
        received.id,
        received.at.to_string(),
        received.dataset,
        received.key,
        received.version.map(|version| version as i64),
        received.state.name(),
        received.attempts,
        received.due_at.to_string(),
        received.note,
    ])?;
    if added == 0 { Err(received_already(received).into()) } else { Ok(()) }
}

/// Says what became of a message that waited.
pub(super) fn settle(connection: &Connection, received: &Received) -> Step<()> {
    let sql = "update _received set state = ?4, attempts = ?5, due_at = ?6, note = ?7 \
               where inbound = ?1 and source = ?2 and id = ?3 and state in ('waiting', 'stuck')";
    let changed = connection.prepare_cached(sql)?.execute((
        &received.inbound,
        &received.source,
        &received.id,
        received.state.name(),
        received.attempts,
        received.due_at.to_string(),
        &received.note,
    ))?;
    if changed == 0 { Err(not_waiting(received).into()) } else { Ok(()) }
}

/// Forgets what was settled before an instant.
pub(super) fn forget(connection: &Connection, before: Instant) -> Step<()> {
    let sql = "delete from _received where at < ?1 and state not in ('waiting', 'stuck')";
    connection.prepare_cached(sql)?.execute([before.to_string()])?;
    Ok(())
}

pub(super) fn one(connection: &Connection, inbound: &str, source: &str, id: &str) -> Step<Option<Received>> {
    let sql = format!("{RECEIVED} where inbound = ?1 and source = ?2 and id = ?3");
    Ok(connection.prepare_cached(&sql)?.query_row((inbound, source, id), read).optional()?)
}

/// Newest first.
pub(super) fn some(connection: &Connection, wanted: &ReceivedWanted) -> Step<Vec<Received>> {
    // What is open is little beside everything that was ever taken in: its own index, whatever the planner believes.
    let open =
        if wanted.open { " indexed by _received_open where state in ('waiting', 'stuck') and" } else { " where" };
    let inbound = if wanted.inbound.is_some() { "inbound = ?1" } else { "?1 is null" };
    let of = if wanted.of.is_some() { "dataset = ?2 and key = ?3" } else { "?2 is null and ?3 is null" };
    let sql = format!(
        "{RECEIVED}{open} {inbound} and {of} and (?4 is null or state = ?4) order by at desc, source, id limit ?5"
    );
    let (dataset, key) = match &wanted.of {
        Some((dataset, key)) => (Some(dataset), Some(key)),
        None => (None, None),
    };
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let state = wanted.state.map(ReceivedState::name);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((&wanted.inbound, dataset, key, state, limit), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn read(row: &Row) -> rusqlite::Result<Received> {
    Ok(Received {
        inbound: row.get(0)?,
        source: row.get(1)?,
        id: row.get(2)?,
        at: read_instant(row, 3)?,
        dataset: row.get(4)?,
        key: row.get(5)?,
        version: row.get::<_, Option<i64>>(6)?.map(|version| version as u64),
        state: ReceivedState::from_name(row.get_ref(7)?.as_str()?).ok_or_else(|| unreadable(7, "state"))?,
        attempts: row.get(8)?,
        due_at: read_instant(row, 9)?,
        note: row.get(10)?,
    })
}

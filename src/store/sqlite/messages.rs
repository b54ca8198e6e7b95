//! Published events with their content, series of numbers, and where readers of logs stand, as stored.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::claims::{read_instant, unreadable};
use super::fault::Step;
use crate::model::{Content, Instant, Message, Published, Quarantined};
use crate::store::events::{check_advance, numbered, offered_again, stood_first};

const MESSAGE: &str = "select event, at, id, source, kind, time, subject, key, schema, content_type, extensions, form, \
                       content from _message";

/// What is known of the source and id of a message; `None`: nothing yet.
pub(super) fn known(connection: &Connection, message: &Message, expect_new: bool) -> Step<Option<Published>> {
    let sql = "select event, digest from _message where source = ?1 and id = ?2";
    let read = |row: &Row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, String>(1)?));
    let known = connection.prepare_cached(sql)?.query_row((&message.source, &message.id), read).optional()?;
    Ok(known.map(|(event, digest)| offered_again(message, event, &digest, expect_new)).transpose()?)
}

/// Writes a new message under the number of its event.
pub(super) fn add(connection: &Connection, message: &Message, event: i64, now: Instant) -> Step<()> {
    let sql = "insert into _message (event, at, id, source, kind, time, subject, key, schema, content_type, extensions, \
               form, content, digest) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let (form, content) = message.content.parts();
    let extensions = serde_json::json!(message.extensions).to_string();
    connection.prepare_cached(sql)?.execute(rusqlite::params![
        event,
        now.to_string(),
        message.id,
        message.source,
        message.kind,
        message.time,
        message.subject,
        message.key,
        message.schema,
        message.content_type,
        extensions,
        form,
        content,
        message.digest(),
    ])?;
    Ok(())
}

/// The messages of these events, by number; unknown numbers are left out.
pub(super) fn messages(connection: &Connection, events: &[u64]) -> Step<Vec<Message>> {
    let mut statement = connection.prepare_cached(&format!("{MESSAGE} where event = ?1"))?;
    let mut found = Vec::new();
    for event in events {
        found.extend(statement.query_row([*event as i64], read).optional()?);
    }
    found.sort_by_key(|message| message.event);
    Ok(found)
}

pub(super) fn message(connection: &Connection, source: &str, id: &str) -> Step<Option<Message>> {
    let sql = format!("{MESSAGE} where source = ?1 and id = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row((source, id), read).optional()?)
}

fn read(row: &Row) -> rusqlite::Result<Message> {
    let bytes = match row.get_ref(12)? {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        _ => return Err(unreadable(12, "message")),
    };
    let content = Content::from_parts(row.get_ref(11)?.as_str()?, bytes).ok_or_else(|| unreadable(11, "message"))?;
    Ok(Message {
        event: row.get::<_, i64>(0)? as u64,
        at: read_instant(row, 1)?,
        id: row.get(2)?,
        source: row.get(3)?,
        kind: row.get(4)?,
        time: row.get(5)?,
        subject: row.get(6)?,
        key: row.get(7)?,
        schema: row.get(8)?,
        content_type: row.get(9)?,
        extensions: serde_json::from_str(row.get_ref(10)?.as_str()?).map_err(|_| unreadable(10, "message"))?,
        content,
    })
}

/// The next number of a series, from 1.
pub(super) fn next_number(connection: &Connection, series: &str) -> Step<u64> {
    Ok(last_number(connection, series)? + 1)
}

fn last_number(connection: &Connection, series: &str) -> Step<u64> {
    let sql = "select last from _series where name = ?1";
    let last = connection.prepare_cached(sql)?.query_row([series], |row| row.get::<_, i64>(0)).optional()?;
    Ok(last.unwrap_or(0) as u64)
}

/// Takes numbers of a series.
pub(super) fn number(connection: &Connection, series: &str, first: u64, count: u64) -> Step<()> {
    let last = numbered(series, last_number(connection, series)?, first, count)?;
    let sql = "insert into _series (name, last) values (?1, ?2) on conflict (name) do update set last = excluded.last";
    connection.prepare_cached(sql)?.execute((series, last as i64))?;
    Ok(())
}

/// Where a cursor in the event log stands.
pub(super) fn cursor(connection: &Connection, name: &str) -> Step<u64> {
    let sql = "select event from _cursor where name = ?1";
    let event = connection.prepare_cached(sql)?.query_row([name], |row| row.get::<_, i64>(0)).optional()?;
    Ok(event.unwrap_or(0) as u64)
}

pub(super) fn advance(connection: &Connection, name: &str, from: u64, to: u64) -> Step<()> {
    check_advance(name, cursor(connection, name)?, from, to)?;
    let sql =
        "insert into _cursor (name, event) values (?1, ?2) on conflict (name) do update set event = excluded.event";
    connection.prepare_cached(sql)?.execute((name, to as i64))?;
    Ok(())
}

/// Where a reader of somebody else's log stands.
pub(super) fn place(connection: &Connection, name: &str) -> Step<Option<String>> {
    let sql = "select place from _stand where name = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn stand(connection: &Connection, name: &str, place: &str, now: Instant) -> Step<()> {
    let sql = "insert into _stand (name, place, at) values (?1, ?2, ?3) \
               on conflict (name) do update set place = excluded.place, at = excluded.at";
    connection.prepare_cached(sql)?.execute((name, place, now.to_string()))?;
    Ok(())
}

/// As `stand`, for a name without a place.
pub(super) fn stand_first(connection: &Connection, name: &str, place: &str, now: Instant) -> Step<()> {
    let sql = "insert into _stand (name, place, at) values (?1, ?2, ?3) on conflict (name) do nothing";
    let written = connection.prepare_cached(sql)?.execute((name, place, now.to_string()))?;
    Ok(stood_first(name, written == 1)?)
}

pub(super) fn forget_stands(connection: &Connection, prefix: &str, before: Instant) -> Step<()> {
    let sql = "delete from _stand where substr(name, 1, length(?1)) = ?1 and at < ?2";
    connection.prepare_cached(sql)?.execute((prefix, before.to_string()))?;
    Ok(())
}

/// Keeps apart what is no row of a dataset.
pub(super) fn set_aside(connection: &Connection, source: &str, what: &Quarantined, now: Instant) -> Step<()> {
    let sql = "insert into _quarantine (dataset, at, source, seq, rule, reason, row) \
               values (?1, ?2, ?1, 0, ?3, ?4, ?5) on conflict do nothing";
    let row = what.row.to_string();
    connection.prepare_cached(sql)?.execute((source, now.to_string(), &what.rule, &what.reason, row))?;
    Ok(())
}

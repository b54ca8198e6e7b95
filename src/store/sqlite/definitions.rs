//! Definitions as stored: jobs, keys, tokens and settings that people change while the program runs.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::claims::{read_instant, unreadable};
use super::fault::Step;
use crate::model::Instant;
use crate::model::definition::{Definition, Kind};
use crate::store::runs::next_revision;

const DEFINITION: &str = "select kind, name, body, revision, at from _definition";

/// Creates or rewrites a definition; the revision that it has now comes back.
pub(super) fn define(
    connection: &Connection,
    (kind, name): (Kind, &str),
    body: &Value,
    expect: Option<u64>,
    now: Instant,
) -> Step<u64> {
    let revision = next_revision(kind, name, revision(connection, kind, name)?, expect)?;
    let sql = "insert into _definition (kind, name, body, revision, at) values (?1, ?2, ?3, ?4, ?5) \
               on conflict (kind, name) do update set body = excluded.body, revision = excluded.revision, \
               at = excluded.at";
    let parameters = (kind.name(), name, body.to_string(), revision as i64, now.to_string());
    connection.prepare_cached(sql)?.execute(parameters)?;
    Ok(revision)
}

/// Removes a definition; the revision that it had comes back, `None` when there was none.
pub(super) fn undefine(connection: &Connection, kind: Kind, name: &str) -> Step<Option<u64>> {
    let revision = revision(connection, kind, name)?;
    connection.prepare_cached("delete from _definition where kind = ?1 and name = ?2")?.execute((kind.name(), name))?;
    Ok(revision)
}

fn revision(connection: &Connection, kind: Kind, name: &str) -> Step<Option<u64>> {
    let sql = "select revision from _definition where kind = ?1 and name = ?2";
    let revision = |row: &Row| Ok(row.get::<_, i64>(0)? as u64);
    Ok(connection.prepare_cached(sql)?.query_row((kind.name(), name), revision).optional()?)
}

/// Everything of a kind, by name.
pub(super) fn all(connection: &Connection, kind: Kind) -> Step<Vec<Definition>> {
    let mut statement = connection.prepare_cached(&format!("{DEFINITION} where kind = ?1 order by name"))?;
    let found = statement.query_map([kind.name()], read)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn one(connection: &Connection, kind: Kind, name: &str) -> Step<Option<Definition>> {
    let mut statement = connection.prepare_cached(&format!("{DEFINITION} where kind = ?1 and name = ?2"))?;
    Ok(statement.query_row((kind.name(), name), read).optional()?)
}

fn read(row: &Row) -> rusqlite::Result<Definition> {
    let kind = row.get_ref(0)?.as_str()?;
    Ok(Definition {
        kind: Kind::from_name(kind).ok_or_else(|| unreadable(0, "definition"))?,
        name: row.get(1)?,
        body: serde_json::from_str(row.get_ref(2)?.as_str()?).map_err(|_| unreadable(2, "definition"))?,
        revision: row.get::<_, i64>(3)? as u64,
        at: read_instant(row, 4)?,
    })
}

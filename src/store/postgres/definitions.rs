//! Definitions as stored: jobs, keys, tokens and settings that people change while the program runs.

use serde_json::Value;
use tokio_postgres::Row;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, lock_number};
use crate::model::Instant;
use crate::model::definition::{Definition, Kind};
use crate::store::runs::next_revision;

const DEFINITION: &str = "select kind, name, body::text, revision, at from _definition";

/// Creates or rewrites a definition; the revision that it has now comes back. One at a time in a schema.
pub(super) async fn define(
    session: &Session,
    schema: &str,
    (kind, name): (Kind, &str),
    body: &Value,
    expect: Option<u64>,
    now: Instant,
) -> Step<u64> {
    session.lock(lock_number(schema, "definitions")).await?;
    let sql = "select revision from _definition where kind = $1 and name = $2";
    // Refused here, where the parameters would be: PostgreSQL has no place for a zero byte.
    next_revision(kind, name, None, None)?;
    let rows = session.query(sql, &[&kind.name(), &name]).await?;
    let stored = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
    let revision = next_revision(kind, name, stored.map(|stored| stored as u64), expect)?;
    let sql = "insert into _definition (kind, name, body, revision, at) values ($1, $2, $3::text::json, $4, $5) \
               on conflict (kind, name) do update set body = excluded.body, revision = excluded.revision, \
               at = excluded.at";
    session.execute(sql, &[&kind.name(), &name, &body.to_string(), &(revision as i64), &SqlInstant(now)]).await?;
    Ok(revision)
}

/// Removes a definition; the revision that it had comes back, `None` when there was none.
pub(super) async fn undefine(session: &Session, schema: &str, kind: Kind, name: &str) -> Step<Option<u64>> {
    if name.contains('\0') {
        return Ok(None);
    }
    session.lock(lock_number(schema, "definitions")).await?;
    let sql = "delete from _definition where kind = $1 and name = $2 returning revision";
    let rows = session.query(sql, &[&kind.name(), &name]).await?;
    Ok(rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?.map(|revision| revision as u64))
}

/// Everything of a kind, by name.
pub(super) async fn all(session: &Session, kind: Kind) -> Step<Vec<Definition>> {
    let sql = format!("{DEFINITION} where kind = $1 order by name");
    session.query(&sql, &[&kind.name()]).await?.iter().map(read).collect()
}

pub(super) async fn one(session: &Session, kind: Kind, name: &str) -> Step<Option<Definition>> {
    if name.contains('\0') {
        return Ok(None);
    }
    let rows = session.query(&format!("{DEFINITION} where kind = $1 and name = $2"), &[&kind.name(), &name]).await?;
    rows.first().map(read).transpose()
}

fn read(row: &Row) -> Step<Definition> {
    Ok(Definition {
        kind: Kind::from_name(row.try_get(0)?).ok_or_else(|| unreadable("definition"))?,
        name: row.try_get(1)?,
        body: serde_json::from_str(row.try_get(2)?).map_err(|_| unreadable("definition"))?,
        revision: row.try_get::<_, i64>(3)? as u64,
        at: row.try_get::<_, SqlInstant>(4)?.0,
    })
}

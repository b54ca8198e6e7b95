//! Rows side by side: what was offered, what is stored, and what a person said.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::cells::Kind;
use super::claims::{read_instant, read_instant_option, unreadable};
use super::fault::Step;
use crate::model::{Instant, Resolution, RowConflict, RowsChange, Take, conflict, decimal};

/// A row that was kept beside the stored one.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) stored: Value,
    pub(super) offered: Value,
}

/// A stored value in the form in which offered ones are kept.
pub(super) fn stored_json(kind: Kind, value: ValueRef) -> Value {
    match (kind, value) {
        (Kind::Real { scale, .. }, ValueRef::Real(value)) => {
            decimal::to_text(decimal::from_f64(value, scale), scale).into()
        }
        (Kind::Real { scale, .. }, ValueRef::Integer(value)) => {
            decimal::to_text(decimal::from_f64(value as f64, scale), scale).into()
        }
        (_, ValueRef::Integer(value)) => value.into(),
        (_, ValueRef::Real(value)) => value.into(),
        (_, ValueRef::Text(text)) => String::from_utf8_lossy(text).into(),
        _ => Value::Null,
    }
}

/// Whether a person has taken the stored row against this very offer before.
pub(super) fn decided(connection: &Connection, change: &RowsChange, offered: &Value) -> Step<bool> {
    let sql = "select exists (select 1 from _conflict where dataset = ?1 and key = ?2 and source = ?3 \
               and offered = ?4 and resolution = 'stored')";
    let key = conflict::key_of(&change.dataset, offered).to_string();
    let parameters = (&change.dataset.name, key, &*change.source, offered.to_string());
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
}

/// Whether rows of this source wait in this dataset.
pub(super) fn any_open(connection: &Connection, change: &RowsChange) -> Step<bool> {
    let sql = "select exists (select 1 from _conflict where dataset = ?1 and source = ?2 and resolved_at is null)";
    Ok(connection.prepare_cached(sql)?.query_row((&change.dataset.name, &*change.source), |row| row.get(0))?)
}

/// The source offers what is stored now: its open conflict about this row is over.
pub(super) fn agree(connection: &Connection, change: &RowsChange, offered: &Value, now: Instant) -> Step<()> {
    let sql = "update _conflict set resolved_at = ?4, resolution = 'agreed' \
               where dataset = ?1 and key = ?2 and source = ?3 and resolved_at is null";
    let key = conflict::key_of(&change.dataset, offered).to_string();
    let parameters = (&change.dataset.name, key, &*change.source, now.to_string());
    connection.prepare_cached(sql)?.execute(parameters)?;
    Ok(())
}

/// Keeps an offer; an open one of the same row and source gives way to it.
pub(super) fn keep(connection: &Connection, change: &RowsChange, seq: i64, offer: &Offer, now: Instant) -> Step<()> {
    let sql = "insert into _conflict (dataset, key, source, rank, seq, at, stored, offered) \
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
               on conflict (dataset, key, source) where resolved_at is null do update set \
               rank = excluded.rank, seq = excluded.seq, at = excluded.at, stored = excluded.stored, \
               offered = excluded.offered";
    connection.prepare_cached(sql)?.execute((
        &change.dataset.name,
        conflict::key_of(&change.dataset, &offer.offered).to_string(),
        &*change.source,
        change.rank,
        seq,
        now.to_string(),
        offer.stored.to_string(),
        offer.offered.to_string(),
    ))?;
    Ok(())
}

const CONFLICT: &str = "id, dataset, key, source, rank, seq, at, stored, offered, resolved_at, resolution";

pub(super) fn conflict(connection: &Connection, id: i64) -> Step<Option<RowConflict>> {
    let mut statement = connection.prepare_cached(&format!("select {CONFLICT} from _conflict where id = ?1"))?;
    Ok(statement.query_row([id], read).optional()?)
}

/// Conflicts, newest offer first; open ones only unless `all`.
pub(super) fn conflicts(
    connection: &Connection,
    dataset: Option<&str>,
    all: bool,
    limit: usize,
) -> Step<Vec<RowConflict>> {
    let sql = format!(
        "select {CONFLICT} from _conflict where (?1 is null or dataset = ?1) and (?2 or resolved_at is null) \
         order by id desc limit ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((dataset, all, i64::try_from(limit).unwrap_or(i64::MAX)), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn read(row: &Row) -> rusqlite::Result<RowConflict> {
    let json = |column: usize| -> rusqlite::Result<Value> {
        serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|_| unreadable(column, "row"))
    };
    let resolution: Option<String> = row.get(10)?;
    let named = |name: String| Resolution::from_name(&name).ok_or_else(|| unreadable(10, "resolution"));
    Ok(RowConflict {
        id: row.get(0)?,
        dataset: row.get(1)?,
        key: json(2)?,
        source: row.get(3)?,
        rank: row.get(4)?,
        seq: row.get(5)?,
        at: read_instant(row, 6)?,
        stored: json(7)?,
        offered: json(8)?,
        resolved_at: read_instant_option(row, 9)?,
        resolution: resolution.map(named).transpose()?,
    })
}

pub(super) fn resolve(connection: &Connection, id: i64, take: Take, now: Instant) -> Step<()> {
    let sql = "update _conflict set resolved_at = ?2, resolution = ?3 where id = ?1 and resolved_at is null";
    connection.prepare_cached(sql)?.execute((id, now.to_string(), Resolution::Taken(take).name()))?;
    Ok(())
}

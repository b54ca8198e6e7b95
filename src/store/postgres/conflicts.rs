//! Rows side by side: what was offered, what is stored, and what a person said.

use serde_json::Value;
use tokio_postgres::Row;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::values::SqlInstant;
use crate::model::{Instant, Resolution, RowConflict, RowsChange, Take, conflict};

/// A row that was kept beside the stored one.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) stored: Value,
    pub(super) offered: Value,
}

/// Whether a person has taken the stored row against this very offer before.
pub(super) async fn decided(session: &Session, change: &RowsChange, offered: &Value) -> Step<bool> {
    let sql = "select exists (select 1 from _conflict where dataset = $1 and key = $2 and source = $3 \
               and offered = $4 and resolution = 'stored')";
    let key = conflict::key_of(&change.dataset, offered).to_string();
    let row = session.query_one(sql, &[&change.dataset.name, &key, &&*change.source, &offered.to_string()]).await?;
    Ok(row.try_get(0)?)
}

/// Whether rows of this source wait in this dataset.
pub(super) async fn any_open(session: &Session, change: &RowsChange) -> Step<bool> {
    let sql = "select exists (select 1 from _conflict where dataset = $1 and source = $2 and resolved_at is null)";
    Ok(session.query_one(sql, &[&change.dataset.name, &&*change.source]).await?.try_get(0)?)
}

/// The source offers what is stored now: its open conflict about this row is over.
pub(super) async fn agree(session: &Session, change: &RowsChange, offered: &Value, now: Instant) -> Step<()> {
    let sql = "update _conflict set resolved_at = $4, resolution = 'agreed' \
               where dataset = $1 and key = $2 and source = $3 and resolved_at is null";
    let key = conflict::key_of(&change.dataset, offered).to_string();
    session.execute(sql, &[&change.dataset.name, &key, &&*change.source, &SqlInstant(now)]).await?;
    Ok(())
}

/// Keeps an offer; an open one of the same row and source gives way to it.
pub(super) async fn keep(session: &Session, change: &RowsChange, seq: i64, offer: &Offer, now: Instant) -> Step<()> {
    let sql = "insert into _conflict (dataset, key, source, rank, seq, at, stored, offered) \
               values ($1, $2, $3, $4, $5, $6, $7, $8) \
               on conflict (dataset, key, source) where resolved_at is null do update set \
               rank = excluded.rank, seq = excluded.seq, at = excluded.at, stored = excluded.stored, \
               offered = excluded.offered";
    session
        .execute(
            sql,
            &[
                &change.dataset.name,
                &conflict::key_of(&change.dataset, &offer.offered).to_string(),
                &&*change.source,
                &i16::from(change.rank),
                &seq,
                &SqlInstant(now),
                &offer.stored.to_string(),
                &offer.offered.to_string(),
            ],
        )
        .await?;
    Ok(())
}

const CONFLICT: &str =
    "select id, dataset, key, source, rank, seq, at, stored, offered, resolved_at, resolution from _conflict";

pub(super) async fn conflict(session: &Session, id: i64) -> Step<Option<RowConflict>> {
    let rows = session.query(&format!("{CONFLICT} where id = $1"), &[&id]).await?;
    rows.first().map(read).transpose()
}

/// Conflicts, newest offer first; open ones only unless `all`.
pub(super) async fn conflicts(
    session: &Session,
    dataset: Option<&str>,
    all: bool,
    limit: usize,
) -> Step<Vec<RowConflict>> {
    let sql = format!(
        "{CONFLICT} where ($1::text is null or dataset = $1) and ($2 or resolved_at is null) order by id desc limit $3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    session.query(&sql, &[&dataset, &all, &limit]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Step<RowConflict> {
    let json = |column: usize| -> Step<Value> {
        Ok(serde_json::from_str(row.try_get(column)?).map_err(|_| unreadable("row"))?)
    };
    let resolution: Option<&str> = row.try_get(10)?;
    let named = |name: &str| Resolution::from_name(name).ok_or_else(|| unreadable("resolution"));
    Ok(RowConflict {
        id: row.try_get(0)?,
        dataset: row.try_get(1)?,
        key: json(2)?,
        source: row.try_get(3)?,
        rank: row.try_get::<_, i16>(4)?.clamp(0, 255) as u8,
        seq: row.try_get(5)?,
        at: row.try_get::<_, SqlInstant>(6)?.0,
        stored: json(7)?,
        offered: json(8)?,
        resolved_at: row.try_get::<_, Option<SqlInstant>>(9)?.map(|at| at.0),
        resolution: resolution.map(named).transpose()?,
    })
}

pub(super) async fn resolve(session: &Session, id: i64, take: Take, now: Instant) -> Step<()> {
    let sql = "update _conflict set resolved_at = $2, resolution = $3 where id = $1 and resolved_at is null";
    session.execute(sql, &[&id, &SqlInstant(now), &Resolution::Taken(take).name()]).await?;
    Ok(())
}

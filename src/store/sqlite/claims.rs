//! Claims as stored: a new claim cuts, splits or replaces what it overlaps, so that they never overlap.

use std::sync::Arc;

use rusqlite::Connection;

use super::fault::Step;
use super::table::Table;
use crate::model::change::ClaimChange;
use crate::model::{Area, Claim, Day, Error, Evidence, Exchanges, Instant, RowsChange, Securities, Span};
use crate::store::ledger::{lacks, remainders, securities_from_text, securities_text};

/// Writes the claim of a change over its area: one record for the market, or one for each security.
pub(super) fn store(connection: &Connection, table: &Table, change: &RowsChange, claim: ClaimChange) -> Step<()> {
    match &change.area.securities {
        Securities::All => {
            cut_securities(connection, table, change.area.span, &change.lacks_exchanges)?;
            store_one(connection, table, change, claim, Securities::All)
        }
        Securities::Some(codes) => {
            codes.iter().try_for_each(|code| store_one(connection, table, change, claim, Securities::one(code.clone())))
        }
    }
}

fn store_one(
    connection: &Connection,
    table: &Table,
    change: &RowsChange,
    claim: ClaimChange,
    securities: Securities,
) -> Step<()> {
    let span = change.area.span;
    for old in overlapping(connection, table.name(), &securities, span)? {
        delete(connection, table.name(), &old)?;
        for part in remainders(old.area.span, span) {
            insert(connection, table, Claim { area: Area::new(securities.clone(), part), ..old.clone() })?;
        }
    }
    let claim = Claim {
        area: Area::new(securities, span),
        evidence: claim.evidence,
        source: change.source.clone(),
        rows: 0,
        at: change.fetched_at,
        stale_at: claim.stale_at,
        lacks: lacks(change),
    };
    insert(connection, table, claim)
}

/// A claim over the market makes those over single securities superfluous: inside of it they go, over one end they are
/// shortened. One that reaches over both ends stays, or a day asked again would split the claims of every security.
/// Those over securities that the new claim does not speak of stay.
fn cut_securities(connection: &Connection, table: &Table, span: Span, lacks: &Exchanges) -> Step<()> {
    let sql = "select security, from_day, to_day, evidence, source, rows, at, stale_at, lacks from _claim \
               where dataset = ?1 and security <> '' and to_day >= ?2 and from_day <= ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let old = statement.query_map((table.name(), span.from.to_string(), span.to.to_string()), read)?;
    for old in old.collect::<rusqlite::Result<Vec<_>>>()? {
        let mut parts: Vec<Span> = remainders(old.area.span, span).collect();
        let spoken_of = |code: &Arc<str>| !lacks.contains(code);
        if parts.len() == 2 || !old.area.securities.single().is_none_or(spoken_of) {
            continue;
        }
        delete(connection, table.name(), &old)?;
        if let Some(part) = parts.pop() {
            insert(connection, table, Claim { area: Area::new(old.area.securities.clone(), part), ..old })?;
        }
    }
    Ok(())
}

/// Claims never overlap each other, so that all but the first begin inside of `span`.
fn overlapping(connection: &Connection, dataset: &str, securities: &Securities, span: Span) -> Step<Vec<Claim>> {
    let sql = "select security, from_day, to_day, evidence, source, rows, at, stale_at, lacks from _claim \
               where dataset = ?1 and security = ?2 and from_day <= ?4 and to_day >= ?3 and from_day >= coalesce(( \
               select max(from_day) from _claim where dataset = ?1 and security = ?2 and from_day <= ?3), '')";
    let mut statement = connection.prepare_cached(sql)?;
    let parameters = (dataset, securities_text(securities), span.from.to_string(), span.to.to_string());
    let claims = statement.query_map(parameters, read)?;
    Ok(claims.collect::<rusqlite::Result<_>>()?)
}

fn delete(connection: &Connection, dataset: &str, claim: &Claim) -> Step<()> {
    let sql = "delete from _claim where dataset = ?1 and security = ?2 and from_day = ?3";
    let area = &claim.area;
    let parameters = (dataset, securities_text(&area.securities), area.span.from.to_string());
    connection.prepare_cached(sql)?.execute(parameters)?;
    Ok(())
}

/// Inserts a claim with the rows that its area holds now.
fn insert(connection: &Connection, table: &Table, claim: Claim) -> Step<()> {
    let rows = table.rows_stored(connection, &claim.area)? as i64;
    let sql = "insert into _claim (dataset, security, from_day, to_day, evidence, source, rows, at, stale_at, lacks) \
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute((
        table.name(),
        securities_text(&claim.area.securities),
        claim.area.span.from.to_string(),
        claim.area.span.to.to_string(),
        claim.evidence.name(),
        &*claim.source,
        rows,
        claim.at.to_string(),
        claim.stale_at.map(|at| at.to_string()),
        claim.lacks.to_string(),
    ))?;
    Ok(())
}

/// Every claim of a dataset.
pub(super) fn all(connection: &Connection, dataset: &str) -> Step<Vec<Claim>> {
    let sql =
        "select security, from_day, to_day, evidence, source, rows, at, stale_at, lacks from _claim where dataset = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let claims = statement.query_map([dataset], read)?;
    Ok(claims.collect::<rusqlite::Result<_>>()?)
}

fn read(row: &rusqlite::Row) -> rusqlite::Result<Claim> {
    let evidence: String = row.get(3)?;
    let source: String = row.get(4)?;
    Ok(Claim {
        area: read_area(row, 0)?,
        evidence: Evidence::from_name(&evidence).ok_or_else(|| unreadable(3, "evidence"))?,
        source: Arc::from(source),
        rows: row.get::<_, i64>(5)? as u64,
        at: read_instant(row, 6)?,
        stale_at: read_instant_option(row, 7)?,
        lacks: Exchanges::parse(row.get_ref(8)?.as_str()?),
    })
}

/// Reads an area from three columns: securities, first day, last day.
pub(super) fn read_area(row: &rusqlite::Row, first: usize) -> rusqlite::Result<Area> {
    let securities = securities_from_text(row.get_ref(first)?.as_str()?);
    Ok(Area::new(securities, Span::new(read_day(row, first + 1)?, read_day(row, first + 2)?)))
}

pub(super) fn read_day(row: &rusqlite::Row, column: usize) -> rusqlite::Result<Day> {
    let text = row.get_ref(column)?.as_str()?;
    Day::parse(text).map_err(|_| unreadable(column, "day"))
}

pub(super) fn read_instant(row: &rusqlite::Row, column: usize) -> rusqlite::Result<Instant> {
    read_instant_option(row, column)?.ok_or_else(|| unreadable(column, "instant"))
}

pub(super) fn read_instant_option(row: &rusqlite::Row, column: usize) -> rusqlite::Result<Option<Instant>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    Instant::parse(text).map(Some).ok_or_else(|| unreadable(column, "instant"))
}

/// A ledger that somebody edited by hand.
pub(super) fn unreadable(column: usize, what: &str) -> rusqlite::Error {
    let cause = Error::storage(format!("the ledger holds an unreadable {what}"));
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(cause))
}

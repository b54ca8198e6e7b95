//! Claims as stored: a new claim cuts, splits or replaces what it overlaps, so that they never overlap.

use std::sync::Arc;

use tokio_postgres::Row;

use super::connection::Session;
use super::fault::Step;
use super::table::Table;
use super::values::{SqlDay, SqlInstant};
use crate::model::change::ClaimChange;
use crate::model::{Area, Claim, Day, Error, Evidence, Exchanges, RowsChange, Securities, Span};
use crate::store::ledger::{lacks, remainders, securities_from_text, securities_text};

const CLAIM: &str = "select security, from_day, to_day, evidence, source, rows, at, stale_at, lacks from _claim";

/// Writes the claim of a change over its area: one record for the market, or one for each security.
pub(super) async fn store(session: &Session, table: &Table, change: &RowsChange, claim: ClaimChange) -> Step<()> {
    match &change.area.securities {
        Securities::All => {
            cut_securities(session, table, change.area.span, &change.lacks_exchanges).await?;
            store_one(session, table, change, claim, Securities::All).await
        }
        Securities::Some(codes) => {
            for code in codes {
                store_one(session, table, change, claim, Securities::one(code.clone())).await?;
            }
            Ok(())
        }
    }
}

async fn store_one(
    session: &Session,
    table: &Table,
    change: &RowsChange,
    claim: ClaimChange,
    securities: Securities,
) -> Step<()> {
    let span = change.area.span;
    for old in overlapping(session, table.name(), &securities, span).await? {
        delete(session, table.name(), &old).await?;
        for part in remainders(old.area.span, span) {
            insert(session, table, Claim { area: Area::new(securities.clone(), part), ..old.clone() }).await?;
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
    insert(session, table, claim).await
}

/// A claim over the market makes those over single securities superfluous: inside of it they go, over one end they are
/// shortened. One that reaches over both ends stays, or a day asked again would split the claims of every security.
/// Those over securities that the new claim does not speak of stay.
async fn cut_securities(session: &Session, table: &Table, span: Span, lacks: &Exchanges) -> Step<()> {
    let sql = format!("{CLAIM} where dataset = $1 and security <> '' and to_day >= $2 and from_day <= $3");
    for old in claims(session.query(&sql, &[&table.name(), &SqlDay::from(span.from), &SqlDay::from(span.to)]).await?)? {
        let mut parts: Vec<Span> = remainders(old.area.span, span).collect();
        let spoken_of = |code: &Arc<str>| !lacks.contains(code);
        if parts.len() == 2 || !old.area.securities.single().is_none_or(spoken_of) {
            continue;
        }
        delete(session, table.name(), &old).await?;
        if let Some(part) = parts.pop() {
            insert(session, table, Claim { area: Area::new(old.area.securities.clone(), part), ..old }).await?;
        }
    }
    Ok(())
}

/// Claims never overlap each other, so that all but the first begin inside of `span`.
async fn overlapping(session: &Session, dataset: &str, securities: &Securities, span: Span) -> Step<Vec<Claim>> {
    let sql = format!(
        "{CLAIM} where dataset = $1 and security = $2 and from_day <= $4 and to_day >= $3 and from_day >= coalesce(( \
         select max(from_day) from _claim where dataset = $1 and security = $2 and from_day <= $3), '-infinity')"
    );
    let (from, to) = (SqlDay::from(span.from), SqlDay::from(span.to));
    claims(session.query(&sql, &[&dataset, &securities_text(securities), &from, &to]).await?)
}

async fn delete(session: &Session, dataset: &str, claim: &Claim) -> Step<()> {
    let sql = "delete from _claim where dataset = $1 and security = $2 and from_day = $3";
    let area = &claim.area;
    let from = SqlDay::from(area.span.from);
    session.execute(sql, &[&dataset, &securities_text(&area.securities), &from]).await?;
    Ok(())
}

/// Inserts a claim with the rows that its area holds now.
async fn insert(session: &Session, table: &Table, claim: Claim) -> Step<()> {
    let rows = table.rows_stored(session, &claim.area).await?;
    write(session, table.name(), &Claim { rows, ..claim }).await
}

/// Inserts a claim as it is.
pub(super) async fn write(session: &Session, dataset: &str, claim: &Claim) -> Step<()> {
    let sql = "insert into _claim (dataset, security, from_day, to_day, evidence, source, rows, at, stale_at, lacks) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let span = claim.area.span;
    session
        .execute(
            sql,
            &[
                &dataset,
                &securities_text(&claim.area.securities),
                &SqlDay::from(span.from),
                &SqlDay::from(span.to),
                &claim.evidence.name(),
                &&*claim.source,
                &(claim.rows as i64),
                &SqlInstant(claim.at),
                &claim.stale_at.map(SqlInstant),
                &claim.lacks.to_string(),
            ],
        )
        .await?;
    Ok(())
}

/// Every claim of a dataset.
pub(super) async fn all(session: &Session, dataset: &str) -> Step<Vec<Claim>> {
    claims(session.query(&format!("{CLAIM} where dataset = $1"), &[&dataset]).await?)
}

fn claims(rows: Vec<Row>) -> Step<Vec<Claim>> {
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Step<Claim> {
    let evidence: &str = row.try_get(3)?;
    let source: &str = row.try_get(4)?;
    Ok(Claim {
        area: read_area(row, 0)?,
        evidence: Evidence::from_name(evidence).ok_or_else(|| unreadable("evidence"))?,
        source: Arc::from(source),
        rows: row.try_get::<_, i64>(5)? as u64,
        at: row.try_get::<_, SqlInstant>(6)?.0,
        stale_at: row.try_get::<_, Option<SqlInstant>>(7)?.map(|at| at.0),
        lacks: Exchanges::parse(row.try_get(8)?),
    })
}

/// Reads an area from three columns: securities, first day, last day.
pub(super) fn read_area(row: &Row, first: usize) -> Step<Area> {
    let securities = securities_from_text(row.try_get(first)?);
    Ok(Area::new(securities, Span::new(read_day(row, first + 1)?, read_day(row, first + 2)?)))
}

pub(super) fn read_day(row: &Row, column: usize) -> Step<Day> {
    let day: SqlDay = row.try_get(column)?;
    Ok(day.0.ok_or_else(|| unreadable("day"))?)
}

/// A ledger that somebody edited by hand.
pub(super) fn unreadable(what: &str) -> Error {
    let error = Error::storage(format!("the ledger holds an unreadable {what}"));
    error.hint("another program changed it; restore the database from a copy")
}

//! Reading the ledger: coverage, events, quarantine, and what the whole store holds.

use tokio_postgres::Row;

use super::claims::{self, read_area, read_day, unreadable};
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlDay, SqlInstant, literal, quoted};
use crate::model::{Counts, Coverage, Event, EventType, Quarantined, Span, TaskId};
use crate::store::{CommitRecord, DatasetSummary, QuarantinedRow, Summary};

/// Claims and counts of one moment: the caller is in a transaction that reads only one.
pub(super) async fn coverage(session: &Session, dataset: &str) -> Step<Coverage> {
    let sql = "select day, rows from _rows_by_day where dataset = $1 and day > '-infinity' order by day";
    let rows = session.query(sql, &[&dataset]).await?;
    let days = rows.iter().map(|row| Ok((read_day(row, 0)?, row.try_get::<_, i64>(1)? as u64)));
    let days = days.collect::<Step<Vec<_>>>()?;
    Ok(Coverage::from_claims(claims::all(session, dataset).await?, days))
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

const EVENT: &str = "select id, at, kind, dataset, task, data::text from _event";

pub(super) async fn events(session: &Session, after: u64, limit: usize) -> Step<Vec<Event>> {
    let sql = format!("{EVENT} where id > $1 order by id limit $2");
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    session.query(&sql, &[&after, &number(limit)]).await?.iter().map(read_event).collect()
}

/// Events of one kind about one dataset, newest first.
pub(super) async fn events_of(
    session: &Session,
    kind: EventType,
    dataset: &str,
    before: Option<u64>,
    limit: usize,
) -> Step<Vec<Event>> {
    let sql = format!("{EVENT} where kind = $1 and dataset = $2 and id < $3 order by id desc limit $4");
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    session.query(&sql, &[&kind.name(), &dataset, &before, &number(limit)]).await?.iter().map(read_event).collect()
}

/// Events of a task, newest first.
pub(super) async fn task_events(session: &Session, task: TaskId, limit: usize) -> Step<Vec<Event>> {
    let sql = format!("{EVENT} where task = $1 order by id desc limit $2");
    session.query(&sql, &[&task, &number(limit)]).await?.iter().map(read_event).collect()
}

fn read_event(row: &Row) -> Step<Event> {
    let kind: &str = row.try_get(2)?;
    Ok(Event {
        id: row.try_get::<_, i64>(0)? as u64,
        at: row.try_get::<_, SqlInstant>(1)?.0,
        kind: EventType::from_name(kind).ok_or_else(|| unreadable("event"))?,
        dataset: row.try_get(3)?,
        task: row.try_get(4)?,
        data: serde_json::from_str(row.try_get(5)?).map_err(|_| unreadable("event"))?,
    })
}

/// Commits of a dataset whose days meet `span`, newest first.
pub(super) async fn commits(session: &Session, dataset: &str, span: Span, limit: usize) -> Step<Vec<CommitRecord>> {
    let sql = "select seq, security, from_day, to_day, at, source, task, inserted, updated, unchanged, withdrawn, \
               quarantined, conflicting from _commit where dataset = $1 and to_day >= $2 and from_day <= $3 \
               order by seq desc limit $4";
    let read = |row: &Row| {
        let count = |column: usize| -> Step<u64> { Ok(row.try_get::<_, i64>(column)? as u64) };
        let seq = row.try_get(0)?;
        Ok(CommitRecord {
            seq,
            area: read_area(row, 1)?,
            at: row.try_get::<_, SqlInstant>(4)?.0,
            source: row.try_get(5)?,
            task: row.try_get(6)?,
            counts: Counts {
                seq,
                inserted: count(7)?,
                updated: count(8)?,
                unchanged: count(9)?,
                withdrawn: count(10)?,
                quarantined: count(11)?,
                conflicting: count(12)?,
            },
        })
    };
    let (from, to) = (SqlDay::from(span.from), SqlDay::from(span.to));
    session.query(sql, &[&dataset, &from, &to, &number(limit)]).await?.iter().map(read).collect()
}

pub(super) async fn quarantine(session: &Session, dataset: Option<&str>, limit: usize) -> Step<Vec<QuarantinedRow>> {
    let sql = "select id, dataset, at, source, rule, reason, row from _quarantine \
               where $1::text is null or dataset = $1 order by id desc limit $2";
    let read = |row: &Row| {
        let quarantined = Quarantined {
            rule: row.try_get(4)?,
            reason: row.try_get(5)?,
            row: serde_json::from_str(row.try_get(6)?).map_err(|_| unreadable("row"))?,
        };
        Ok(QuarantinedRow {
            id: row.try_get(0)?,
            dataset: row.try_get(1)?,
            at: row.try_get::<_, SqlInstant>(2)?.0,
            source: row.try_get(3)?,
            quarantined,
        })
    };
    session.query(sql, &[&dataset, &number(limit)]).await?.iter().map(read).collect()
}

/// Reads counts and claims only, never rows.
pub(super) async fn summary(session: &Session, place: &str, schema: &str) -> Step<Summary> {
    let sql = "select names.dataset, \
        (select coalesce(sum(rows), 0)::bigint from _rows_by_day as days where days.dataset = names.dataset), \
        (select min(day) from _rows_by_day as days where days.dataset = names.dataset and day > '-infinity'), \
        (select max(day) from _rows_by_day as days where days.dataset = names.dataset and day > '-infinity'), \
        (select at from _commit where _commit.dataset = names.dataset order by seq desc limit 1), \
        (select count(*) from _claim where _claim.dataset = names.dataset), \
        (select count(*) from _quarantine where _quarantine.dataset = names.dataset), \
        (select count(*) from _failure where _failure.dataset = names.dataset and resolved_at is null) \
        from (select distinct dataset from _column) as names order by names.dataset";
    let read = |row: &Row| {
        let day = |column: usize| -> Step<_> { Ok(row.try_get::<_, Option<SqlDay>>(column)?.and_then(|day| day.0)) };
        let count = |column: usize| -> Step<u64> { Ok(row.try_get::<_, i64>(column)? as u64) };
        Ok(DatasetSummary {
            name: row.try_get(0)?,
            rows: count(1)?,
            first_day: day(2)?,
            last_day: day(3)?,
            last_commit_at: row.try_get::<_, Option<SqlInstant>>(4)?.map(|at| at.0),
            claims: count(5)?,
            quarantined: count(6)?,
            failures: count(7)?,
        })
    };
    let datasets = session.query(sql, &[]).await?.iter().map(read).collect::<Step<Vec<_>>>()?;
    let bytes = format!(
        "select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class \
         where relnamespace = to_regnamespace({}) and relkind = 'r'",
        literal(&quoted(schema))
    );
    let last_event = session.ask_count("select coalesce(max(id), 0)::bigint from _event").await?;
    Ok(Summary { location: place.to_owned(), bytes: session.ask_count(&bytes).await?, datasets, last_event })
}

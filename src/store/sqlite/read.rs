//! Reading the ledger: coverage, events, quarantine, and what the whole store holds.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};

use super::claims::{self, read_area, read_day, read_instant, unreadable};
use super::fault::Step;
use crate::model::{Counts, Coverage, Day, Event, EventType, Quarantined, Span, TaskId};
use crate::store::{CommitRecord, DatasetSummary, QuarantinedRow, Summary};

pub(super) fn coverage(connection: &Connection, dataset: &str) -> Step<Coverage> {
    let sql = "select day, rows from _rows_by_day where dataset = ?1 and day <> '' order by day";
    let mut statement = connection.prepare_cached(sql)?;
    let days = statement.query_map([dataset], |row| Ok((read_day(row, 0)?, row.get::<_, i64>(1)? as u64)))?;
    let days = days.collect::<rusqlite::Result<_>>()?;
    Ok(Coverage::from_claims(claims::all(connection, dataset)?, days))
}

const EVENT: &str = "select id, at, kind, dataset, task, data from _event";

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn events(connection: &Connection, after: u64, limit: usize) -> Step<Vec<Event>> {
    let mut statement = connection.prepare_cached(&format!("{EVENT} where id > ?1 order by id limit ?2"))?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let events = statement.query_map((after, number(limit)), read_event)?;
    Ok(events.collect::<rusqlite::Result<_>>()?)
}

/// Events of one kind about one dataset, newest first.
pub(super) fn events_of(
    connection: &Connection,
    kind: EventType,
    dataset: &str,
    before: Option<u64>,
    limit: usize,
) -> Step<Vec<Event>> {
    let sql = format!("{EVENT} where kind = ?1 and dataset = ?2 and id < ?3 order by id desc limit ?4");
    let mut statement = connection.prepare_cached(&sql)?;
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let events = statement.query_map((kind.name(), dataset, before, number(limit)), read_event)?;
    Ok(events.collect::<rusqlite::Result<_>>()?)
}

/// Events of a task, newest first.
pub(super) fn task_events(connection: &Connection, task: TaskId, limit: usize) -> Step<Vec<Event>> {
    let mut statement = connection.prepare_cached(&format!("{EVENT} where task = ?1 order by id desc limit ?2"))?;
    let events = statement.query_map((task, number(limit)), read_event)?;
    Ok(events.collect::<rusqlite::Result<_>>()?)
}

fn read_event(row: &Row) -> rusqlite::Result<Event> {
    let kind = row.get_ref(2)?.as_str()?;
    Ok(Event {
        id: row.get::<_, i64>(0)? as u64,
        at: read_instant(row, 1)?,
        kind: EventType::from_name(kind).ok_or_else(|| unreadable(2, "event"))?,
        dataset: row.get(3)?,
        task: row.get(4)?,
        data: serde_json::from_str(row.get_ref(5)?.as_str()?).map_err(|_| unreadable(5, "event"))?,
    })
}

/// Commits of a dataset whose days meet `span`, newest first.
pub(super) fn commits(connection: &Connection, dataset: &str, span: Span, limit: usize) -> Step<Vec<CommitRecord>> {
    let sql = "select seq, security, from_day, to_day, at, source, task, inserted, updated, unchanged, withdrawn, \
               quarantined, conflicting from _commit where dataset = ?1 and to_day >= ?2 and from_day <= ?3 \
               order by seq desc limit ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let parameters = (dataset, span.from.to_string(), span.to.to_string(), number(limit));
    let commits = statement.query_map(parameters, |row| {
        let (seq, count) = (row.get(0)?, |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)? as u64));
        Ok(CommitRecord {
            seq,
            area: read_area(row, 1)?,
            at: read_instant(row, 4)?,
            source: row.get(5)?,
            task: row.get(6)?,
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
    })?;
    Ok(commits.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn quarantine(connection: &Connection, dataset: Option<&str>, limit: usize) -> Step<Vec<QuarantinedRow>> {
    let sql = "select id, dataset, at, source, rule, reason, row from _quarantine \
               where ?1 is null or dataset = ?1 order by id desc limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((dataset, number(limit)), |row| {
        let json = row.get_ref(6)?.as_str()?;
        let quarantined = Quarantined {
            rule: row.get(4)?,
            reason: row.get(5)?,
            row: serde_json::from_str(json).map_err(|_| unreadable(6, "row"))?,
        };
        Ok(QuarantinedRow {
            id: row.get(0)?,
            dataset: row.get(1)?,
            at: read_instant(row, 2)?,
            source: row.get(3)?,
            quarantined,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Reads counts and claims only, never rows.
pub(super) fn summary(connection: &Connection, path: &Path) -> Step<Summary> {
    let mut statement = connection.prepare("select distinct dataset from _column order by dataset")?;
    let names = statement.query_map((), |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let datasets = names.into_iter().map(|name| dataset_summary(connection, name)).collect::<Step<Vec<_>>>()?;
    let last_event: i64 = connection.query_row("select coalesce(max(id), 0) from _event", (), |row| row.get(0))?;
    Ok(Summary { location: path.display().to_string(), bytes: bytes(path), datasets, last_event: last_event as u64 })
}

fn dataset_summary(connection: &Connection, name: String) -> Step<DatasetSummary> {
    let sql = "select coalesce(sum(rows), 0), min(nullif(day, '')), max(nullif(day, '')) from _rows_by_day \
               where dataset = ?1";
    let day = |row: &rusqlite::Row, column: usize| -> rusqlite::Result<Option<Day>> {
        Ok(row.get_ref(column)?.as_str_or_null()?.and_then(|text| Day::parse(text).ok()))
    };
    let mut statement = connection.prepare_cached(sql)?;
    let counted = |row: &rusqlite::Row| Ok((row.get::<_, i64>(0)? as u64, day(row, 1)?, day(row, 2)?));
    let (rows, first_day, last_day) = statement.query_row([&name], counted)?;
    let count = |sql: &str| -> Step<u64> {
        Ok(connection.prepare_cached(sql)?.query_row([&name], |row| row.get::<_, i64>(0))? as u64)
    };
    let last = "select at from _commit where dataset = ?1 order by seq desc limit 1";
    let last_commit_at = connection.prepare_cached(last)?.query_row([&name], |row| read_instant(row, 0)).optional()?;
    Ok(DatasetSummary {
        rows,
        first_day,
        last_day,
        claims: count("select count(*) from _claim where dataset = ?1")?,
        quarantined: count("select count(*) from _quarantine where dataset = ?1")?,
        failures: count("select count(*) from _failure where dataset = ?1 and resolved_at is null")?,
        last_commit_at,
        name,
    })
}

/// The size of the file with its log of recent writes.
fn bytes(path: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    size(path) + size(Path::new(&log))
}

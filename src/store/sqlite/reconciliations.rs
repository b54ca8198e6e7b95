//! Reports of reconciliations as stored, with the rows that differ, and traces of events.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::claims::{read_instant, read_instant_option, unreadable};
use super::fault::Step;
use crate::model::reconciliation::{
    Cause, Difference, DifferenceKind, DifferencesWanted, Outcome, Report, ReportsWanted,
};
use crate::model::{Error, Instant};
use crate::store::reconciliations::{EventTrace, TracesWanted};

const REPORT: &str = "select id, name, outcome, started_at, finished_at, wanted, counts, columns, key_columns, note \
                      from _reconciliation";

/// Adds a report with its differences; its number comes back.
pub(super) fn add(connection: &Connection, report: &Report, differences: &[Difference]) -> Step<i64> {
    let sql = "insert into _reconciliation (name, outcome, started_at, finished_at, wanted, counts, columns, \
               key_columns, note) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        report.name,
        report.outcome.name(),
        report.started_at.to_string(),
        report.finished_at.to_string(),
        json(&report.wanted)?,
        json(&report.counts)?,
        json(&report.columns)?,
        report.key as i64,
        report.note,
    ])?;
    let id = connection.last_insert_rowid();
    let sql = "insert into _difference (report, number, kind, key, source, target, fields, cause, event, delivery, \
               attempt) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let mut statement = connection.prepare_cached(sql)?;
    for difference in differences {
        statement.execute(params![
            id,
            difference.number as i64,
            difference.kind.name(),
            json(&difference.key)?,
            json(&difference.source)?,
            json(&difference.target)?,
            json(&difference.fields)?,
            difference.cause.name(),
            difference.event.map(|event| event as i64),
            difference.delivery,
            difference.attempt,
        ])?;
    }
    Ok(id)
}

/// With sorted keys, as copies of a store write it.
fn json<T: serde::Serialize>(value: &T) -> Step<String> {
    let value = serde_json::to_value(value).map_err(|error| Error::bug("writing a report").caused_by(error))?;
    Ok(value.to_string())
}

/// Marks differences as repaired; how many were not yet.
pub(super) fn repaired(connection: &Connection, report: i64, numbers: &[u64], at: Instant) -> Step<u64> {
    let sql = "update _difference set repaired_at = ?3 where report = ?1 and number = ?2 and repaired_at is null";
    let mut statement = connection.prepare_cached(sql)?;
    let mut count = 0;
    for number in numbers {
        count += statement.execute((report, *number as i64, at.to_string()))? as u64;
    }
    Ok(count)
}

/// Takes the mark of a repair away again.
pub(super) fn unrepaired(connection: &Connection, report: i64, numbers: &[u64]) -> Step<()> {
    let sql = "update _difference set repaired_at = null where report = ?1 and number = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    for number in numbers {
        statement.execute((report, *number as i64))?;
    }
    Ok(())
}

/// Reports beyond the newest of each name are forgotten, with their differences.
pub(super) fn forget(connection: &Connection, keep: usize) -> Step<()> {
    let sql = "delete from _reconciliation where id in (select id from (select id, row_number() over \
               (partition by coalesce(name, '') order by id desc) as place from _reconciliation) where place > ?1)";
    connection.prepare_cached(sql)?.execute([keep as i64])?;
    connection.execute("delete from _difference where report not in (select id from _reconciliation)", ())?;
    Ok(())
}

/// Reports, newest first.
pub(super) fn reports(connection: &Connection, wanted: &ReportsWanted) -> Step<Vec<Report>> {
    let sql = format!("{REPORT} where (?1 is null or name = ?1) and id < ?2 order by id desc limit ?3");
    let before = wanted.before.unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params![wanted.name, before, wanted.limit as i64], read)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn report(connection: &Connection, id: i64) -> Step<Option<Report>> {
    Ok(connection.prepare_cached(&format!("{REPORT} where id = ?1"))?.query_row([id], read).optional()?)
}

fn of_json<T: DeserializeOwned>(row: &Row, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|_| unreadable(column, "report"))
}

fn read(row: &Row) -> rusqlite::Result<Report> {
    Ok(Report {
        id: row.get(0)?,
        name: row.get(1)?,
        outcome: Outcome::from_name(row.get_ref(2)?.as_str()?).ok_or_else(|| unreadable(2, "report"))?,
        started_at: read_instant(row, 3)?,
        finished_at: read_instant(row, 4)?,
        wanted: of_json(row, 5)?,
        counts: of_json(row, 6)?,
        columns: of_json(row, 7)?,
        key: row.get::<_, i64>(8)? as usize,
        note: row.get(9)?,
    })
}

/// Differences of a report, by number.
pub(super) fn differences(connection: &Connection, wanted: &DifferencesWanted) -> Step<Vec<Difference>> {
    let sql = "select number, kind, key, source, target, fields, cause, event, delivery, repaired_at, attempt \
               from _difference where report = ?1 and number > ?2 order by number limit ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let parameters = (wanted.report, wanted.after as i64, wanted.limit as i64);
    let found = statement.query_map(parameters, |row| {
        Ok(Difference {
            number: row.get::<_, i64>(0)? as u64,
            kind: DifferenceKind::from_name(row.get_ref(1)?.as_str()?).ok_or_else(|| unreadable(1, "difference"))?,
            key: of_json(row, 2)?,
            source: of_json(row, 3)?,
            target: of_json(row, 4)?,
            fields: of_json(row, 5)?,
            cause: Cause::from_name(row.get_ref(6)?.as_str()?).ok_or_else(|| unreadable(6, "difference"))?,
            event: row.get::<_, Option<i64>>(7)?.map(|event| event as u64),
            delivery: row.get(8)?,
            attempt: row.get(10)?,
            repaired_at: read_instant_option(row, 9)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// The last event about each of these, with what became of its delivery.
pub(super) fn traces(connection: &Connection, wanted: &TracesWanted) -> Step<Vec<EventTrace>> {
    let last = "select coalesce((select max(event) from _message where subject = ?1), 0), \
                coalesce((select max(event) from _message where key = ?1), 0)";
    let open = "select state from _delivery where event = ?1 and (?2 is null or subscription = ?2) limit 1";
    let tried = "select id, outcome from _attempt where event = ?1 and (?2 is null or subscription = ?2) \
                 order by id desc limit 1";
    let [mut last, mut open, mut tried] =
        [connection.prepare_cached(last)?, connection.prepare_cached(open)?, connection.prepare_cached(tried)?];
    let mut found = Vec::new();
    for about in &wanted.about {
        let event = last.query_row([about], |row| Ok(row.get::<_, i64>(0)?.max(row.get::<_, i64>(1)?)))?;
        if event > 0 {
            let of = params![event, wanted.subscription];
            let open: Option<String> = open.query_row(of, |row| row.get(0)).optional()?;
            let tried = tried.query_row(of, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let (attempt, outcome) = tried.unzip();
            let (event, delivery) = (event as u64, open.or(outcome));
            found.push(EventTrace { about: about.clone(), event, delivery, attempt });
        }
    }
    Ok(found)
}

/// Deliveries of a subscription up to an event that wait.
pub(super) fn waiting(connection: &Connection, subscription: &str, event: u64) -> Step<u64> {
    let sql = "select count(*) from _delivery where subscription = ?1 and event <= ?2 and state = 'waiting'";
    let count: i64 = connection.prepare_cached(sql)?.query_row((subscription, event as i64), |row| row.get(0))?;
    Ok(count as u64)
}

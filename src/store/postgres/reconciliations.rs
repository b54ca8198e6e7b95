//! Reports of reconciliations as stored, with the rows that differ, and traces of events.

use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, clean};
use crate::model::reconciliation::{
    Cause, Difference, DifferenceKind, DifferencesWanted, Outcome, Report, ReportsWanted,
};
use crate::model::{Error, Instant};
use crate::store::reconciliations::{EventTrace, TracesWanted, differences_text};

const REPORT: &str = "select id, name, outcome, started_at, finished_at, wanted::text, counts::text, columns::text, \
                      key_columns, note from _reconciliation";

/// Adds a report with its differences; its number comes back.
pub(super) async fn add(session: &Session, report: &Report, differences: &[Difference]) -> Step<i64> {
    let sql = "insert into _reconciliation (name, outcome, started_at, finished_at, wanted, counts, columns, \
               key_columns, note) values ($1, $2, $3, $4, $5::text::json, $6::text::json, $7::text::json, $8, $9) \
               returning id";
    let row = session
        .query_one(
            sql,
            &[
                &report.name,
                &report.outcome.name(),
                &SqlInstant(report.started_at),
                &SqlInstant(report.finished_at),
                &clean(&json(&report.wanted)?),
                &json(&report.counts)?,
                &clean(&json(&report.columns)?),
                &(report.key as i64),
                &report.note.as_deref().map(clean),
            ],
        )
        .await?;
    let id: i64 = row.try_get(0)?;
    let sql = "insert into _difference (report, number, kind, key, source, target, fields, cause, event, delivery, \
               attempt) select $1, number, kind, key, source, target, fields, cause, event, delivery, attempt \
               from json_to_recordset($2::text::json) as one (number bigint, kind text, key json, source json, \
               target json, fields json, cause text, event bigint, delivery text, attempt bigint)";
    session.execute(sql, &[&id, &clean(&differences_text(differences))]).await?;
    Ok(id)
}

/// With sorted keys, as copies of a store write it.
fn json<T: serde::Serialize>(value: &T) -> Step<String> {
    let value = serde_json::to_value(value).map_err(|error| Error::bug("writing a report").caused_by(error))?;
    Ok(value.to_string())
}

fn signed(numbers: &[u64]) -> Vec<i64> {
    numbers.iter().map(|number| *number as i64).collect()
}

/// Marks differences as repaired; how many were not yet.
pub(super) async fn repaired(session: &Session, report: i64, numbers: &[u64], at: Instant) -> Step<u64> {
    let sql = "with marked as (update _difference set repaired_at = $3 where report = $1 and number = any($2) \
               and repaired_at is null returning 1) select count(*) from marked";
    let row = session.query_one(sql, &[&report, &signed(numbers), &SqlInstant(at)]).await?;
    Ok(row.try_get::<_, i64>(0)? as u64)
}

/// Takes the mark of a repair away again.
pub(super) async fn unrepaired(session: &Session, report: i64, numbers: &[u64]) -> Step<()> {
    let sql = "update _difference set repaired_at = null where report = $1 and number = any($2)";
    session.execute(sql, &[&report, &signed(numbers)]).await?;
    Ok(())
}

/// Reports beyond the newest of each name are forgotten, with their differences.
pub(super) async fn forget(session: &Session, keep: usize) -> Step<()> {
    let sql = "delete from _reconciliation where id in (select id from (select id, row_number() over \
               (partition by coalesce(name, '') order by id desc) as place from _reconciliation) as placed \
               where place > $1)";
    session.execute(sql, &[&(keep as i64)]).await?;
    let sql = "delete from _difference where report not in (select id from _reconciliation)";
    session.execute(sql, &[]).await?;
    Ok(())
}

/// Reports, newest first.
pub(super) async fn reports(session: &Session, wanted: &ReportsWanted) -> Step<Vec<Report>> {
    let sql = format!("{REPORT} where ($1::text is null or name = $1) and id < $2 order by id desc limit $3");
    let (before, limit) = (wanted.before.unwrap_or(i64::MAX), wanted.limit as i64);
    session.query(&sql, &[&wanted.name.as_deref().map(clean), &before, &limit]).await?.iter().map(read).collect()
}

pub(super) async fn report(session: &Session, id: i64) -> Step<Option<Report>> {
    session.query(&format!("{REPORT} where id = $1"), &[&id]).await?.first().map(read).transpose()
}

fn of_json<T: DeserializeOwned>(row: &Row, column: usize) -> Step<T> {
    Ok(serde_json::from_str(row.try_get(column)?).map_err(|_| unreadable("report"))?)
}

fn read(row: &Row) -> Step<Report> {
    Ok(Report {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        outcome: Outcome::from_name(row.try_get(2)?).ok_or_else(|| unreadable("report"))?,
        started_at: row.try_get::<_, SqlInstant>(3)?.0,
        finished_at: row.try_get::<_, SqlInstant>(4)?.0,
        wanted: of_json(row, 5)?,
        counts: of_json(row, 6)?,
        columns: of_json(row, 7)?,
        key: row.try_get::<_, i64>(8)? as usize,
        note: row.try_get(9)?,
    })
}

/// Differences of a report, by number.
pub(super) async fn differences(session: &Session, wanted: &DifferencesWanted) -> Step<Vec<Difference>> {
    let sql = "select number, kind, key::text, source::text, target::text, fields::text, cause, event, delivery, \
               repaired_at, attempt from _difference where report = $1 and number > $2 order by number limit $3";
    let rows = session.query(sql, &[&wanted.report, &(wanted.after as i64), &(wanted.limit as i64)]).await?;
    let read = |row: &Row| -> Step<Difference> {
        Ok(Difference {
            number: row.try_get::<_, i64>(0)? as u64,
            kind: DifferenceKind::from_name(row.try_get(1)?).ok_or_else(|| unreadable("difference"))?,
            key: of_json(row, 2)?,
            source: of_json(row, 3)?,
            target: of_json(row, 4)?,
            fields: of_json(row, 5)?,
            cause: Cause::from_name(row.try_get(6)?).ok_or_else(|| unreadable("difference"))?,
            event: row.try_get::<_, Option<i64>>(7)?.map(|event| event as u64),
            delivery: row.try_get(8)?,
            attempt: row.try_get(10)?,
            repaired_at: row.try_get::<_, Option<SqlInstant>>(9)?.map(|at| at.0),
        })
    };
    rows.iter().map(read).collect()
}

/// The last event about each of these, with what became of its delivery.
pub(super) async fn traces(session: &Session, wanted: &TracesWanted) -> Step<Vec<EventTrace>> {
    let about: Vec<String> = wanted.about.iter().map(|about| clean(about).to_string()).collect();
    let sql = "select about, last.event, coalesce(open.state, tried.outcome), tried.id \
               from (select about, greatest((select max(event) from _message where subject = about), \
               (select max(event) from _message where key = about)) as event from unnest($1::text[]) as about) as last \
               left join lateral (select state from _delivery d where d.event = last.event \
               and ($2::text is null or subscription = $2) limit 1) as open on true \
               left join lateral (select id, outcome from _attempt a where a.event = last.event \
               and ($2::text is null or subscription = $2) order by id desc limit 1) as tried on true \
               where last.event is not null";
    let rows = session.query(sql, &[&about, &wanted.subscription]).await?;
    let read = |row: &Row| -> Step<EventTrace> {
        let event = row.try_get::<_, i64>(1)? as u64;
        Ok(EventTrace { about: row.try_get(0)?, event, delivery: row.try_get(2)?, attempt: row.try_get(3)? })
    };
    rows.iter().map(read).collect()
}

/// Deliveries of a subscription up to an event that wait.
pub(super) async fn waiting(session: &Session, subscription: &str, event: u64) -> Step<u64> {
    let sql = "select count(*) from _delivery where subscription = $1 and event <= $2 and state = 'waiting'";
    Ok(session.query_one(sql, &[&subscription, &(event as i64)]).await?.try_get::<_, i64>(0)? as u64)
}

//! Runs as stored. What may become of them is decided in `store::runs`.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;

use super::claims::{read_instant, read_instant_option, unreadable};
use super::fault::Step;
use crate::model::{Instant, Lease, Run, RunFence, RunId, RunState, RunsWanted};
use crate::store::ledger::json_text;
use crate::store::runs::{check_renewal, due_twice, missing, rewritten, slot_taken, taken};

const RUN: &str = "select id, job, due_at, slot, asked_by, reason, work, state, attempt, not_before, created_at, \
                   started_at, finished_at, tasks, totals, note, fence, worker, lease_until from _run";

/// Numbers and stores a new run; refused when its job has one for this instant, or its slot an open one.
pub(super) fn create(connection: &Connection, run: &Run) -> Step<Run> {
    let id = |row: &Row| row.get::<_, RunId>(0);
    let due_at = run.due_at.map(|at| at.to_string());
    let same = "select id from _run where job = ?1 and due_at = ?2";
    if let Some(first) = connection.prepare_cached(same)?.query_row((&run.job, &due_at), id).optional()? {
        return Err(due_twice(run, first).into());
    }
    let open = "select id from _run where slot = ?1 and ?2 and state in ('pending', 'running')";
    if let Some(first) = connection.prepare_cached(open)?.query_row((&run.slot, run.state.is_open()), id).optional()? {
        return Err(slot_taken(run, first).into());
    }
    let sql = "insert into _run (job, due_at, slot, asked_by, created_at, fence, state, reason, work, attempt, \
               not_before, tasks, totals) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, '', '', 0, '', '', '')";
    let (created_at, state) = (run.created_at.to_string(), run.state.name());
    connection.prepare_cached(sql)?.execute((
        &run.job,
        due_at,
        &run.slot,
        &run.asked_by,
        created_at,
        run.fence,
        state,
    ))?;
    let run = Run { id: connection.last_insert_rowid(), lease: None, ..run.clone() };
    write(connection, &run)?;
    Ok(run)
}

/// Rewrites a run; the state that it had and what it is now come back.
pub(super) fn rewrite(connection: &Connection, new: &Run) -> Step<(Option<RunState>, Run)> {
    let stored = run(connection, new.id)?.ok_or_else(|| missing(new.id))?;
    let run = rewritten(&stored, new)?;
    write(connection, &run)?;
    Ok((Some(stored.state), run))
}

/// Makes the caller the only worker whose rewriting counts.
pub(super) fn take(connection: &Connection, id: RunId, lease: Option<&Lease>, now: Instant) -> Step<Run> {
    let stored = run(connection, id)?.ok_or_else(|| missing(id))?;
    let held = stored.lease.as_ref().is_some_and(|held| held.until > now);
    let run = taken(&stored, held, lease, now)?;
    write(connection, &run)?;
    Ok(run)
}

/// Moves the end of a lease.
pub(super) fn renew(connection: &Connection, fence: RunFence, until: Instant) -> Step<()> {
    let stored = run(connection, fence.run)?.ok_or_else(|| missing(fence.run))?;
    check_renewal(&stored, fence.fence)?;
    let sql = "update _run set lease_until = ?2 where id = ?1 and worker is not null";
    connection.prepare_cached(sql)?.execute((fence.run, until.to_string()))?;
    Ok(())
}

/// Everything that may change after a run was asked for.
fn write(connection: &Connection, run: &Run) -> Step<()> {
    let sql = "update _run set reason = ?2, work = ?3, state = ?4, attempt = ?5, not_before = ?6, started_at = ?7, \
               finished_at = ?8, tasks = ?9, totals = ?10, note = ?11, fence = ?12, worker = ?13, lease_until = ?14 \
               where id = ?1";
    let text = |at: Instant| at.to_string();
    connection.prepare_cached(sql)?.execute((
        run.id,
        &run.reason,
        json_text(&run.work)?,
        run.state.name(),
        run.attempt,
        text(run.not_before),
        run.started_at.map(text),
        run.finished_at.map(text),
        json_text(&run.tasks)?,
        json_text(&run.totals)?,
        &run.note,
        run.fence,
        run.lease.as_ref().map(|lease| &lease.worker),
        run.lease.as_ref().map(|lease| text(lease.until)),
    ))?;
    Ok(())
}

/// Ended runs beyond the newest `keep` of each job.
pub(super) fn forget(connection: &Connection, keep: usize) -> Step<()> {
    let sql = "delete from _run where id in (select id from \
               (select id, row_number() over (partition by job order by id desc) as place from _run \
               where state not in ('pending', 'running')) where place > ?1)";
    connection.prepare_cached(sql)?.execute([i64::try_from(keep).unwrap_or(i64::MAX)])?;
    Ok(())
}

pub(super) fn run(connection: &Connection, id: RunId) -> Step<Option<Run>> {
    Ok(connection.prepare_cached(&format!("{RUN} where id = ?1"))?.query_row([id], read).optional()?)
}

/// Runs, newest first.
pub(super) fn runs(connection: &Connection, wanted: &RunsWanted) -> Step<Vec<Run>> {
    let of_job = if wanted.job.is_some() { "job = ?1" } else { "?1 is null" };
    let open = if wanted.open { "and state in ('pending', 'running')" } else { "" };
    let of_slot = "(?4 is null or slot = ?4 or substr(slot, 1, length(?4) + 1) = ?4 || ':')";
    let sql = format!("{RUN} where {of_job} and {of_slot} and id < ?2 {open} order by id desc limit ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let (before, limit) = (wanted.before.unwrap_or(i64::MAX), i64::try_from(wanted.limit).unwrap_or(i64::MAX));
    let found = statement.query_map((&wanted.job, before, limit, &wanted.slot), read)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn parsed<T: DeserializeOwned>(row: &Row, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|_| unreadable(column, "run"))
}

fn read(row: &Row) -> rusqlite::Result<Run> {
    let state = row.get_ref(7)?.as_str()?;
    let (worker, until): (Option<String>, _) = (row.get(17)?, read_instant_option(row, 18)?);
    Ok(Run {
        id: row.get(0)?,
        job: row.get(1)?,
        due_at: read_instant_option(row, 2)?,
        slot: row.get(3)?,
        asked_by: row.get(4)?,
        reason: row.get(5)?,
        work: parsed(row, 6)?,
        state: RunState::from_name(state).ok_or_else(|| unreadable(7, "state"))?,
        attempt: row.get(8)?,
        not_before: read_instant(row, 9)?,
        created_at: read_instant(row, 10)?,
        started_at: read_instant_option(row, 11)?,
        finished_at: read_instant_option(row, 12)?,
        tasks: parsed(row, 13)?,
        totals: parsed(row, 14)?,
        note: row.get(15)?,
        fence: row.get(16)?,
        lease: worker.zip(until).map(|(worker, until)| Lease { worker, until }),
    })
}

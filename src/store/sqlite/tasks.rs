//! Tasks, failures and quotas as stored.

use rusqlite::{Connection, OptionalExtension, Row};

use super::claims::{read_area, read_instant, read_instant_option, unreadable};
use super::fault::Step;
use crate::model::{Area, Day, Error, Failure, Fence, Instant, Lease, Outcome, Task, TaskId, TaskState, Totals};
use crate::store::ledger::securities_text;

const TASK: &str = "id, dataset, request, state, outcome, fence, created_at, started_at, finished_at, totals, note, worker, lease_until \
     from _task";
const FAILURE: &str = "id, security, from_day, to_day, dataset, source, task, kind, message, attempts, attempts_max, \
                       next_attempt_at, first_at, last_at, resolved_at, resolution from _failure";

/// A fence that no longer holds is a conflict.
pub(super) fn check_fence(connection: &Connection, fence: Fence) -> Step<()> {
    let id = fence.task;
    let Some(task) = task(connection, id)? else {
        return Err(Error::conflict(format!("task {id} does not exist")).hint("see `tidegate tasks`").into());
    };
    let refusal = match (task.state, task.fence == fence.fence) {
        (TaskState::Running, true) => return Ok(()),
        (TaskState::Running, false) => format!("task {id} has been taken over by another worker"),
        (state, _) => format!("task {id} is {} and takes no more results", state.name()),
    };
    Err(Error::conflict(refusal).hint("see `tidegate tasks`").into())
}

pub(super) fn task(connection: &Connection, id: TaskId) -> Step<Option<Task>> {
    let mut statement = connection.prepare_cached(&format!("select {TASK} where id = ?1"))?;
    Ok(statement.query_row([id], read_task).optional()?)
}

pub(super) fn tasks(connection: &Connection, limit: usize) -> Step<Vec<Task>> {
    let mut statement = connection.prepare_cached(&format!("select {TASK} order by id desc limit ?1"))?;
    let tasks = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], read_task)?;
    Ok(tasks.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn open_tasks(connection: &Connection) -> Step<Vec<Task>> {
    let open = "where state in ('pending', 'running', 'paused') order by id desc";
    let mut statement = connection.prepare_cached(&format!("select {TASK} {open}"))?;
    Ok(statement.query_map([], read_task)?.collect::<rusqlite::Result<_>>()?)
}

fn read_task(row: &Row) -> rusqlite::Result<Task> {
    let state = row.get_ref(3)?.as_str()?;
    let outcome = row.get_ref(4)?.as_str_or_null()?;
    Ok(Task {
        id: row.get(0)?,
        dataset: row.get(1)?,
        request: serde_json::from_str(row.get_ref(2)?.as_str()?).map_err(|_| unreadable(2, "request"))?,
        state: TaskState::from_name(state).ok_or_else(|| unreadable(3, "state"))?,
        outcome: outcome.map(|name| Outcome::from_name(name).ok_or_else(|| unreadable(4, "outcome"))).transpose()?,
        fence: row.get(5)?,
        created_at: read_instant(row, 6)?,
        started_at: read_instant_option(row, 7)?,
        finished_at: read_instant_option(row, 8)?,
        totals: serde_json::from_str(row.get_ref(9)?.as_str()?).map_err(|_| unreadable(9, "totals"))?,
        note: row.get(10)?,
        lease: read_lease(row)?,
    })
}

fn read_lease(row: &Row) -> rusqlite::Result<Option<Lease>> {
    let worker: Option<String> = row.get(11)?;
    let until = read_instant_option(row, 12)?;
    Ok(worker.zip(until).map(|(worker, until)| Lease { worker, until }))
}

/// Numbers and stores a new task; refused while the dataset has an open one.
pub(super) fn create_task(connection: &Connection, task: &Task) -> Step<Fence> {
    let open = "select id from _task where dataset = ?1 and state in ('pending', 'running', 'paused')";
    let open: Option<TaskId> =
        connection.prepare_cached(open)?.query_row([&task.dataset], |row| row.get(0)).optional()?;
    if let Some(open) = open {
        let error = Error::conflict(format!("dataset {} already has open task {open}", task.dataset));
        return Err(error.hint(format!("wait for it, or see `tidegate tasks` and `tidegate resume {open}`")).into());
    }
    let sql = "insert into _task (dataset, request, state, outcome, fence, created_at, started_at, finished_at, totals, \
               note) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute((
        &task.dataset,
        json(&task.request)?,
        task.state.name(),
        task.outcome.map(Outcome::name),
        task.fence,
        task.created_at.to_string(),
        task.started_at.map(|at| at.to_string()),
        task.finished_at.map(|at| at.to_string()),
        json(&task.totals)?,
        &task.note,
    ))?;
    Ok(Fence { task: connection.last_insert_rowid(), fence: task.fence })
}

/// Rewrites a task and returns the state that it had. Finished tasks stay as they are; so does one that another worker
/// has taken over since it was read. Only its worker rewrites the totals: a reader's copy would undo progress.
pub(super) fn rewrite_task(connection: &Connection, new: &Task, by_worker: bool) -> Step<TaskState> {
    let mut stored = open_task(connection, new.id)?;
    let before = stored.state;
    if stored.fence != new.fence {
        let error = Error::conflict(format!("task {} has been taken over by another worker", new.id));
        return Err(error.hint("see `tidegate tasks`").into());
    }
    if before != new.state {
        stored.become_state(new.state)?;
    }
    let totals = if by_worker { &new.totals } else { &stored.totals };
    let sql = "update _task set request = ?2, state = ?3, outcome = ?4, started_at = ?5, finished_at = ?6, note = ?7, \
               totals = ?8, worker = iif(?3 = 'running', worker, null), \
               lease_until = iif(?3 = 'running', lease_until, null) where id = ?1";
    connection.prepare_cached(sql)?.execute((
        new.id,
        json(&new.request)?,
        new.state.name(),
        new.outcome.map(Outcome::name),
        new.started_at.map(|at| at.to_string()),
        new.finished_at.map(|at| at.to_string()),
        &new.note,
        json(totals)?,
    ))?;
    Ok(before)
}

pub(super) fn add_totals(connection: &Connection, id: TaskId, progress: &Totals) -> Step<()> {
    let Some(mut stored) = task(connection, id)? else {
        return Err(Error::not_found(format!("there is no task {id}")).hint("see `tidegate tasks`").into());
    };
    stored.totals.add(progress);
    let sql = "update _task set totals = ?2 where id = ?1";
    connection.prepare_cached(sql)?.execute((id, json(&stored.totals)?))?;
    Ok(())
}

/// Makes the caller the only worker whose commits count.
pub(super) fn take_task(
    connection: &Connection,
    id: TaskId,
    lease: Option<&Lease>,
    now: Instant,
) -> Step<(Task, Fence)> {
    let mut stored = open_task(connection, id)?;
    if let Some(held) = stored.lease.as_ref().filter(|held| held.until > now && lease.is_some()) {
        let error = Error::conflict(format!("task {id} is run by {} until {}", held.worker, held.until));
        return Err(error.hint("it is taken over by itself when that worker is gone").into());
    }
    stored.become_state(TaskState::Running)?;
    stored.fence += 1;
    let sql = "update _task set state = 'running', fence = ?2, started_at = coalesce(started_at, ?3), note = null, \
               worker = ?4, lease_until = ?5 where id = ?1";
    let worker = lease.map(|lease| &lease.worker);
    let until = lease.map(|lease| lease.until.to_string());
    connection.prepare_cached(sql)?.execute((id, stored.fence, now.to_string(), worker, until))?;
    let fence = Fence { task: id, fence: stored.fence };
    Ok((stored, fence))
}

/// Moves the end of the lease on a running task; its fence has been checked.
pub(super) fn renew_task(connection: &Connection, id: TaskId, until: Instant) -> Step<()> {
    let sql = "update _task set lease_until = ?2 where id = ?1 and worker is not null";
    connection.prepare_cached(sql)?.execute((id, until.to_string()))?;
    Ok(())
}

fn open_task(connection: &Connection, id: TaskId) -> Step<Task> {
    let Some(stored) = task(connection, id)? else {
        return Err(Error::not_found(format!("there is no task {id}")).hint("see `tidegate tasks`").into());
    };
    if !stored.state.is_open() {
        let error = Error::conflict(format!("task {id} is {} and stays so", stored.state.name()));
        return Err(error.hint("start a new one with `tidegate sync`").into());
    }
    Ok(stored)
}

fn json(value: &impl serde::Serialize) -> Step<String> {
    Ok(serde_json::to_string(value).map_err(|error| Error::bug("a task cannot be written as JSON").caused_by(error))?)
}

pub(super) fn failures(connection: &Connection, dataset: Option<&str>, all: bool) -> Step<Vec<Failure>> {
    let sql = format!(
        "select {FAILURE} where (?1 is null or dataset = ?1) and (?2 or resolved_at is null) order by first_at, id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let failures = statement.query_map((dataset, all), read_failure)?;
    Ok(failures.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn failure(connection: &Connection, id: i64) -> Step<Option<Failure>> {
    let mut statement = connection.prepare_cached(&format!("select {FAILURE} where id = ?1"))?;
    Ok(statement.query_row([id], read_failure).optional()?)
}

fn read_failure(row: &Row) -> rusqlite::Result<Failure> {
    Ok(Failure {
        id: row.get(0)?,
        area: read_area(row, 1)?,
        dataset: row.get(4)?,
        source: row.get(5)?,
        task: row.get(6)?,
        kind: row.get(7)?,
        message: row.get(8)?,
        attempts: row.get(9)?,
        attempts_max: row.get(10)?,
        next_attempt_at: read_instant(row, 11)?,
        first_at: read_instant(row, 12)?,
        last_at: read_instant(row, 13)?,
        resolved_at: read_instant_option(row, 14)?,
        resolution: row.get(15)?,
    })
}

/// The unresolved failure of exactly this area.
pub(super) fn unresolved(connection: &Connection, dataset: &str, area: &Area) -> Step<Option<i64>> {
    let sql = "select id from _failure where dataset = ?1 and security = ?2 and from_day = ?3 and to_day = ?4 \
               and resolved_at is null";
    let parameters = (dataset, securities_text(&area.securities), area.span.from.to_string(), area.span.to.to_string());
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?)
}

/// Creates the unresolved failure of its area or rewrites it; when it first happened stays.
pub(super) fn store_failure(connection: &Connection, failure: &Failure) -> Step<i64> {
    let sql = "insert into _failure (dataset, security, from_day, to_day, source, task, kind, message, attempts, \
               attempts_max, next_attempt_at, first_at, last_at) \
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
               on conflict (dataset, security, from_day, to_day) where resolved_at is null do update set \
               source = excluded.source, task = excluded.task, kind = excluded.kind, message = excluded.message, \
               attempts = excluded.attempts, attempts_max = excluded.attempts_max, \
               next_attempt_at = excluded.next_attempt_at, last_at = excluded.last_at returning id";
    let parameters = (
        &failure.dataset,
        securities_text(&failure.area.securities),
        failure.area.span.from.to_string(),
        failure.area.span.to.to_string(),
        &failure.source,
        failure.task,
        &failure.kind,
        &failure.message,
        failure.attempts,
        failure.attempts_max,
        failure.next_attempt_at.to_string(),
        failure.first_at.to_string(),
        failure.last_at.to_string(),
    );
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
}

pub(super) fn resolve_failure(connection: &Connection, id: i64, resolution: &str, now: Instant) -> Step<()> {
    let sql = "update _failure set resolved_at = ?2, resolution = ?3 where id = ?1 and resolved_at is null";
    connection.prepare_cached(sql)?.execute((id, now.to_string(), resolution))?;
    Ok(())
}

pub(super) fn add_quota(connection: &Connection, source: &str, api: &str, day: Day, calls: u64) -> Step<()> {
    let sql = "insert into _quota (source, api, day, calls) values (?1, ?2, ?3, ?4) \
               on conflict (source, day, api) do update set calls = calls + excluded.calls";
    connection.prepare_cached(sql)?.execute((source, api, day.to_string(), calls as i64))?;
    Ok(())
}

pub(super) fn quota_used(connection: &Connection, source: &str, day: Day) -> Step<Vec<(String, u64)>> {
    let sql = "select api, calls from _quota where source = ?1 and day = ?2 order by api";
    let mut statement = connection.prepare_cached(sql)?;
    let used = statement.query_map((source, day.to_string()), |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    Ok(used.collect::<rusqlite::Result<_>>()?)
}

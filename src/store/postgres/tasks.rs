//! Tasks, failures and quotas as stored.

use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::claims::{read_area, unreadable};
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlDay, SqlInstant};
use crate::model::{Area, Day, Error, Failure, Fence, Instant, Lease, Outcome, Task, TaskId, TaskState, Totals};
use crate::store::ledger::securities_text;

const TASK: &str = "select id, dataset, request::text, state, outcome, fence, created_at, started_at, finished_at, \
                    totals::text, note, worker, lease_until, lease_until > clock_timestamp() from _task";
const FAILURE: &str = "select id, security, from_day, to_day, dataset, source, task, kind, message, attempts, \
                       attempts_max, next_attempt_at, first_at, last_at, resolved_at, resolution from _failure";

/// A fence that no longer holds is a conflict. The task stays as it is until the transaction ends.
pub(super) async fn check_fence(session: &Session, fence: Fence) -> Step<()> {
    let id = fence.task;
    let Some(task) = locked_task(session, id).await?.map(|(task, _)| task) else {
        return Err(Error::conflict(format!("task {id} does not exist")).hint("see `tidegate tasks`").into());
    };
    let refusal = match (task.state, task.fence == fence.fence) {
        (TaskState::Running, true) => return Ok(()),
        (TaskState::Running, false) => format!("task {id} has been taken over by another worker"),
        (state, _) => format!("task {id} is {} and takes no more results", state.name()),
    };
    Err(Error::conflict(refusal).hint("see `tidegate tasks`").into())
}

pub(super) async fn task(session: &Session, id: TaskId) -> Step<Option<Task>> {
    let rows = session.query(&format!("{TASK} where id = $1"), &[&id]).await?;
    rows.first().map(read_task).transpose()
}

/// The task, and whether its lease holds by the server's clock. Nobody else changes it before the transaction ends.
async fn locked_task(session: &Session, id: TaskId) -> Step<Option<(Task, bool)>> {
    let rows = session.query(&format!("{TASK} where id = $1 for update"), &[&id]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some((read_task(row)?, row.try_get::<_, Option<bool>>(13)?.unwrap_or(false))))
}

pub(super) async fn tasks(session: &Session, limit: usize) -> Step<Vec<Task>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    session.query(&format!("{TASK} order by id desc limit $1"), &[&limit]).await?.iter().map(read_task).collect()
}

pub(super) async fn open_tasks(session: &Session) -> Step<Vec<Task>> {
    let open = "where state in ('pending', 'running', 'paused') order by id desc";
    session.query(&format!("{TASK} {open}"), &[]).await?.iter().map(read_task).collect()
}

fn instant(row: &Row, column: usize) -> Step<Instant> {
    Ok(row.try_get::<_, SqlInstant>(column)?.0)
}

fn instant_option(row: &Row, column: usize) -> Step<Option<Instant>> {
    Ok(row.try_get::<_, Option<SqlInstant>>(column)?.map(|at| at.0))
}

fn parsed<T: DeserializeOwned>(row: &Row, column: usize, what: &str) -> Step<T> {
    Ok(serde_json::from_str(row.try_get(column)?).map_err(|_| unreadable(what))?)
}

fn read_task(row: &Row) -> Step<Task> {
    let state: &str = row.try_get(3)?;
    let outcome: Option<&str> = row.try_get(4)?;
    let worker: Option<String> = row.try_get(11)?;
    Ok(Task {
        id: row.try_get(0)?,
        dataset: row.try_get(1)?,
        request: parsed(row, 2, "request")?,
        state: TaskState::from_name(state).ok_or_else(|| unreadable("state"))?,
        outcome: outcome.map(|name| Outcome::from_name(name).ok_or_else(|| unreadable("outcome"))).transpose()?,
        fence: row.try_get(5)?,
        created_at: instant(row, 6)?,
        started_at: instant_option(row, 7)?,
        finished_at: instant_option(row, 8)?,
        totals: parsed(row, 9, "totals")?,
        note: row.try_get(10)?,
        lease: worker.zip(instant_option(row, 12)?).map(|(worker, until)| Lease { worker, until }),
    })
}

/// Numbers and stores a new task; refused while the dataset has an open one.
pub(super) async fn create_task(session: &Session, task: &Task) -> Step<Fence> {
    let open = "select id from _task where dataset = $1 and state in ('pending', 'running', 'paused')";
    let sql = "insert into _task (dataset, request, state, outcome, fence, created_at, started_at, finished_at, totals, \
               note) values ($1, $2::text::jsonb, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10) \
               on conflict (dataset) where state in ('pending', 'running', 'paused') do nothing returning id";
    let created = session
        .query(
            sql,
            &[
                &task.dataset,
                &json(&task.request)?,
                &task.state.name(),
                &task.outcome.map(Outcome::name),
                &task.fence,
                &SqlInstant(task.created_at),
                &task.started_at.map(SqlInstant),
                &task.finished_at.map(SqlInstant),
                &json(&task.totals)?,
                &task.note,
            ],
        )
        .await?;
    if let Some(row) = created.first() {
        return Ok(Fence { task: row.try_get(0)?, fence: task.fence });
    }
    let rows = session.query(open, &[&task.dataset]).await?;
    let open: TaskId = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    let error = Error::conflict(format!("dataset {} already has open task {open}", task.dataset));
    Err(error.hint(format!("wait for it, or see `tidegate tasks` and `tidegate resume {open}`")).into())
}

/// Rewrites a task and returns the state that it had. Finished tasks stay as they are; so does one that another worker
/// has taken over since it was read. Only its worker rewrites the totals: a reader's copy would undo progress.
pub(super) async fn rewrite_task(session: &Session, new: &Task, by_worker: bool) -> Step<TaskState> {
    let (mut stored, _) = open_task(session, new.id).await?;
    let before = stored.state;
    if stored.fence != new.fence {
        let error = Error::conflict(format!("task {} has been taken over by another worker", new.id));
        return Err(error.hint("see `tidegate tasks`").into());
    }
    if before != new.state {
        stored.become_state(new.state)?;
    }
    let totals = if by_worker { &new.totals } else { &stored.totals };
    let sql = "update _task set request = $2::text::jsonb, state = $3, outcome = $4, started_at = $5, finished_at = $6, \
               note = $7, totals = $8::text::jsonb, worker = case when $3 = 'running' then worker end, \
               lease_until = case when $3 = 'running' then lease_until end where id = $1";
    session
        .execute(
            sql,
            &[
                &new.id,
                &json(&new.request)?,
                &new.state.name(),
                &new.outcome.map(Outcome::name),
                &new.started_at.map(SqlInstant),
                &new.finished_at.map(SqlInstant),
                &new.note,
                &json(totals)?,
            ],
        )
        .await?;
    Ok(before)
}

pub(super) async fn add_totals(session: &Session, id: TaskId, progress: &Totals) -> Step<()> {
    let Some((mut stored, _)) = locked_task(session, id).await? else {
        return Err(Error::not_found(format!("there is no task {id}")).hint("see `tidegate tasks`").into());
    };
    stored.totals.add(progress);
    session.execute("update _task set totals = $2::text::jsonb where id = $1", &[&id, &json(&stored.totals)?]).await?;
    Ok(())
}

/// How long a lease runs from the caller's now, in microseconds.
pub(super) fn length(until: Instant, now: Instant) -> f64 {
    until.0.saturating_sub(now.0) as f64
}

/// Makes the caller the only worker whose commits count.
pub(super) async fn take_task(
    session: &Session,
    id: TaskId,
    lease: Option<&Lease>,
    now: Instant,
) -> Step<(Task, Fence)> {
    let (mut stored, held) = open_task(session, id).await?;
    if let Some(holder) = stored.lease.as_ref().filter(|_| held && lease.is_some()) {
        let error = Error::conflict(format!("task {id} is run by {} until {}", holder.worker, holder.until));
        return Err(error.hint("it is taken over by itself when that worker is gone").into());
    }
    stored.become_state(TaskState::Running)?;
    stored.fence += 1;
    let sql = "update _task set state = 'running', fence = $2, started_at = coalesce(started_at, $3), note = null, \
               worker = $4, lease_until = clock_timestamp() + $5 * interval '1 microsecond' where id = $1";
    let worker = lease.map(|lease| &lease.worker);
    let length = lease.map(|lease| length(lease.until, now));
    session.execute(sql, &[&id, &stored.fence, &SqlInstant(now), &worker, &length]).await?;
    let fence = Fence { task: id, fence: stored.fence };
    Ok((stored, fence))
}

/// Moves the end of the lease on a running task; its fence has been checked.
pub(super) async fn renew_task(session: &Session, id: TaskId, until: Instant, now: Instant) -> Step<()> {
    let sql = "update _task set lease_until = clock_timestamp() + $2 * interval '1 microsecond' \
               where id = $1 and worker is not null";
    session.execute(sql, &[&id, &length(until, now)]).await?;
    Ok(())
}

async fn open_task(session: &Session, id: TaskId) -> Step<(Task, bool)> {
    let Some((stored, held)) = locked_task(session, id).await? else {
        return Err(Error::not_found(format!("there is no task {id}")).hint("see `tidegate tasks`").into());
    };
    if !stored.state.is_open() {
        let error = Error::conflict(format!("task {id} is {} and stays so", stored.state.name()));
        return Err(error.hint("start a new one with `tidegate sync`").into());
    }
    Ok((stored, held))
}

fn json(value: &impl serde::Serialize) -> Step<String> {
    Ok(serde_json::to_string(value).map_err(|error| Error::bug("a task cannot be written as JSON").caused_by(error))?)
}

pub(super) async fn failures(session: &Session, dataset: Option<&str>, all: bool) -> Step<Vec<Failure>> {
    let sql = format!(
        "{FAILURE} where ($1::text is null or dataset = $1) and ($2 or resolved_at is null) order by first_at, id"
    );
    session.query(&sql, &[&dataset, &all]).await?.iter().map(read_failure).collect()
}

pub(super) async fn failure(session: &Session, id: i64) -> Step<Option<Failure>> {
    let rows = session.query(&format!("{FAILURE} where id = $1"), &[&id]).await?;
    rows.first().map(read_failure).transpose()
}

fn read_failure(row: &Row) -> Step<Failure> {
    Ok(Failure {
        id: row.try_get(0)?,
        area: read_area(row, 1)?,
        dataset: row.try_get(4)?,
        source: row.try_get(5)?,
        task: row.try_get(6)?,
        kind: row.try_get(7)?,
        message: row.try_get(8)?,
        attempts: row.try_get::<_, i64>(9)? as u32,
        attempts_max: row.try_get::<_, i64>(10)? as u32,
        next_attempt_at: instant(row, 11)?,
        first_at: instant(row, 12)?,
        last_at: instant(row, 13)?,
        resolved_at: instant_option(row, 14)?,
        resolution: row.try_get(15)?,
    })
}

/// The unresolved failure of exactly this area.
pub(super) async fn unresolved(session: &Session, dataset: &str, area: &Area) -> Step<Option<i64>> {
    let sql = "select id from _failure where dataset = $1 and md5(security) = md5($2::text) and security = $2 \
               and from_day = $3 and to_day = $4 and resolved_at is null";
    let (from, to) = (SqlDay::from(area.span.from), SqlDay::from(area.span.to));
    let rows = session.query(sql, &[&dataset, &securities_text(&area.securities), &from, &to]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// Creates the unresolved failure of its area or rewrites it; when it first happened stays.
pub(super) async fn store_failure(session: &Session, failure: &Failure) -> Step<i64> {
    let sql = "insert into _failure (dataset, security, from_day, to_day, source, task, kind, message, attempts, \
               attempts_max, next_attempt_at, first_at, last_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
               on conflict (dataset, md5(security), from_day, to_day) where resolved_at is null do update set \
               source = excluded.source, task = excluded.task, kind = excluded.kind, message = excluded.message, \
               attempts = excluded.attempts, attempts_max = excluded.attempts_max, \
               next_attempt_at = excluded.next_attempt_at, last_at = excluded.last_at returning id";
    let row = session
        .query_one(
            sql,
            &[
                &failure.dataset,
                &securities_text(&failure.area.securities),
                &SqlDay::from(failure.area.span.from),
                &SqlDay::from(failure.area.span.to),
                &failure.source,
                &failure.task,
                &failure.kind,
                &failure.message,
                &i64::from(failure.attempts),
                &i64::from(failure.attempts_max),
                &SqlInstant(failure.next_attempt_at),
                &SqlInstant(failure.first_at),
                &SqlInstant(failure.last_at),
            ],
        )
        .await?;
    Ok(row.try_get(0)?)
}

pub(super) async fn resolve_failure(session: &Session, id: i64, resolution: &str, now: Instant) -> Step<()> {
    let sql = "update _failure set resolved_at = $2, resolution = $3 where id = $1 and resolved_at is null";
    session.execute(sql, &[&id, &SqlInstant(now), &resolution]).await?;
    Ok(())
}

pub(super) async fn add_quota(session: &Session, source: &str, api: &str, day: Day, calls: u64) -> Step<()> {
    let sql = "insert into _quota as stored (source, api, day, calls) values ($1, $2, $3, $4) \
               on conflict (source, day, api) do update set calls = stored.calls + excluded.calls";
    session.execute(sql, &[&source, &api, &SqlDay::from(day), &(calls as i64)]).await?;
    Ok(())
}

pub(super) async fn quota_used(session: &Session, source: &str, day: Day) -> Step<Vec<(String, u64)>> {
    let sql = "select api, calls from _quota where source = $1 and day = $2 order by api";
    let rows = session.query(sql, &[&source, &SqlDay::from(day)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)? as u64))).collect()
}

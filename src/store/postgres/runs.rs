//! Runs as stored. What may become of them is decided in `store::runs`.

use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::tasks::length;
use super::values::{SqlInstant, clean};
use crate::model::{Error, Instant, Lease, Run, RunFence, RunId, RunState, RunsWanted};
use crate::store::ledger::json_text;
use crate::store::runs::{check_renewal, due_twice, missing, rewritten, slot_taken, taken};

const RUN: &str = "select id, job, due_at, slot, asked_by, reason, work::text, state, attempt, not_before, created_at, \
                   started_at, finished_at, tasks::text, totals::text, note, fence, worker, lease_until, \
                   lease_until > clock_timestamp() from _run";

/// PostgreSQL has no place for a zero byte, and what is said of a run may come from anywhere.
pub(super) fn cleaned(run: &Run) -> Run {
    let clean_option = |text: &Option<String>| text.as_deref().map(clean);
    Run {
        job: clean_option(&run.job),
        slot: clean_option(&run.slot),
        asked_by: clean(&run.asked_by),
        reason: clean(&run.reason),
        note: clean_option(&run.note),
        ..run.clone()
    }
}

/// Numbers and stores a new run; refused when its job has one for this instant, or its slot an open one.
pub(super) async fn create(session: &Session, run: &Run) -> Step<Run> {
    let sql = "insert into _run (job, due_at, slot, asked_by, created_at, fence, reason, work, state, attempt, \
               not_before, started_at, finished_at, tasks, totals, note) values ($1, $2, $3, $4, $5, $6, $7, \
               $8::text::json, $9, $10, $11, $12, $13, $14::text::json, $15::text::json, $16) \
               on conflict do nothing returning id";
    let created = session
        .query(
            sql,
            &[
                &run.job,
                &run.due_at.map(SqlInstant),
                &run.slot,
                &run.asked_by,
                &SqlInstant(run.created_at),
                &run.fence,
                &run.reason,
                &json_text(&run.work)?,
                &run.state.name(),
                &i64::from(run.attempt),
                &SqlInstant(run.not_before),
                &run.started_at.map(SqlInstant),
                &run.finished_at.map(SqlInstant),
                &json_text(&run.tasks)?,
                &json_text(&run.totals)?,
                &run.note,
            ],
        )
        .await?;
    match created.first() {
        Some(row) => Ok(Run { id: row.try_get(0)?, lease: None, ..run.clone() }),
        None => Err(in_the_way(session, run).await?.into()),
    }
}

/// Which run refused a new one.
async fn in_the_way(session: &Session, run: &Run) -> Step<Error> {
    let due = "select id from _run where job = $1 and due_at = $2";
    if let Some(row) = session.query(due, &[&run.job, &run.due_at.map(SqlInstant)]).await?.first() {
        return Ok(due_twice(run, row.try_get(0)?));
    }
    let open = "select id from _run where slot = $1 and state in ('pending', 'running')";
    match session.query(open, &[&run.slot]).await?.first() {
        Some(row) => Ok(slot_taken(run, row.try_get(0)?)),
        None => Ok(Error::conflict("a run of the same slot has just ended").hint("ask again")),
    }
}

/// Rewrites a run; the state that it had and what it is now come back.
pub(super) async fn rewrite(session: &Session, new: &Run) -> Step<(Option<RunState>, Run)> {
    let (stored, _) = locked(session, new.id).await?;
    let run = rewritten(&stored, new)?;
    write(session, &run).await?;
    Ok((Some(stored.state), run))
}

/// Makes the caller the only worker whose rewriting counts. Its lease runs by the server's clock.
pub(super) async fn take(session: &Session, id: RunId, lease: Option<&Lease>, now: Instant) -> Step<Run> {
    let (stored, held) = locked(session, id).await?;
    let run = taken(&stored, held, lease, now)?;
    write(session, &run).await?;
    let sql =
        "update _run set worker = $2, lease_until = clock_timestamp() + $3 * interval '1 microsecond' where id = $1";
    let length = lease.map(|lease| length(lease.until, now));
    session.execute(sql, &[&id, &lease.map(|lease| &lease.worker), &length]).await?;
    Ok(run)
}

/// Moves the end of a lease.
pub(super) async fn renew(session: &Session, fence: RunFence, until: Instant, now: Instant) -> Step<()> {
    let (stored, _) = locked(session, fence.run).await?;
    check_renewal(&stored, fence.fence)?;
    let sql = "update _run set lease_until = clock_timestamp() + $2 * interval '1 microsecond' \
               where id = $1 and worker is not null";
    session.execute(sql, &[&fence.run, &length(until, now)]).await?;
    Ok(())
}

/// Everything that may change after a run was asked for; a lease is lost here, and given by `take` alone.
async fn write(session: &Session, run: &Run) -> Step<()> {
    let sql = "update _run set reason = $2, work = $3::text::json, state = $4, attempt = $5, not_before = $6, \
               started_at = $7, finished_at = $8, tasks = $9::text::json, totals = $10::text::json, note = $11, \
               fence = $12, worker = case when $4 = 'running' then worker end, \
               lease_until = case when $4 = 'running' then lease_until end where id = $1";
    session
        .execute(
            sql,
            &[
                &run.id,
                &run.reason,
                &json_text(&run.work)?,
                &run.state.name(),
                &i64::from(run.attempt),
                &SqlInstant(run.not_before),
                &run.started_at.map(SqlInstant),
                &run.finished_at.map(SqlInstant),
                &json_text(&run.tasks)?,
                &json_text(&run.totals)?,
                &run.note,
                &run.fence,
            ],
        )
        .await?;
    Ok(())
}

/// Ended runs beyond the newest `keep` of each job.
pub(super) async fn forget(session: &Session, keep: usize) -> Step<()> {
    let sql = "delete from _run where id in (select id from \
               (select id, row_number() over (partition by job order by id desc) as place from _run \
               where state not in ('pending', 'running')) as ended where place > $1)";
    session.execute(sql, &[&i64::try_from(keep).unwrap_or(i64::MAX)]).await?;
    Ok(())
}

/// The run, and whether its lease holds by the server's clock. Nobody else changes it before the transaction ends.
async fn locked(session: &Session, id: RunId) -> Step<(Run, bool)> {
    let rows = session.query(&format!("{RUN} where id = $1 for update"), &[&id]).await?;
    let row = rows.first().ok_or_else(|| missing(id))?;
    Ok((read(row)?, row.try_get::<_, Option<bool>>(19)?.unwrap_or(false)))
}

pub(super) async fn run(session: &Session, id: RunId) -> Step<Option<Run>> {
    session.query(&format!("{RUN} where id = $1"), &[&id]).await?.first().map(read).transpose()
}

/// Runs, newest first.
pub(super) async fn runs(session: &Session, wanted: &RunsWanted) -> Step<Vec<Run>> {
    let open = if wanted.open { "and state in ('pending', 'running')" } else { "" };
    let of_slot = "($4::text is null or slot = $4 or substr(slot, 1, length($4) + 1) = $4 || ':')";
    let sql = format!(
        "{RUN} where ($1::text is null or job = $1) and {of_slot} and id < $2 {open} order by id desc limit $3"
    );
    let [job, slot] = [&wanted.job, &wanted.slot].map(|text| text.as_deref().map(clean));
    let (before, limit) = (wanted.before.unwrap_or(i64::MAX), i64::try_from(wanted.limit).unwrap_or(i64::MAX));
    session.query(&sql, &[&job, &before, &limit, &slot]).await?.iter().map(read).collect()
}

fn parsed<T: DeserializeOwned>(row: &Row, column: usize) -> Step<T> {
    Ok(serde_json::from_str(row.try_get(column)?).map_err(|_| unreadable("run"))?)
}

fn read(row: &Row) -> Step<Run> {
    let instant = |column: usize| -> Step<Instant> { Ok(row.try_get::<_, SqlInstant>(column)?.0) };
    let instant_option =
        |column: usize| -> Step<Option<Instant>> { Ok(row.try_get::<_, Option<SqlInstant>>(column)?.map(|at| at.0)) };
    let worker: Option<String> = row.try_get(17)?;
    Ok(Run {
        id: row.try_get(0)?,
        job: row.try_get(1)?,
        due_at: instant_option(2)?,
        slot: row.try_get(3)?,
        asked_by: row.try_get(4)?,
        reason: row.try_get(5)?,
        work: parsed(row, 6)?,
        state: RunState::from_name(row.try_get(7)?).ok_or_else(|| unreadable("state"))?,
        attempt: u32::try_from(row.try_get::<_, i64>(8)?).map_err(|_| unreadable("attempt"))?,
        not_before: instant(9)?,
        created_at: instant(10)?,
        started_at: instant_option(11)?,
        finished_at: instant_option(12)?,
        tasks: parsed(row, 13)?,
        totals: parsed(row, 14)?,
        note: row.try_get(15)?,
        fence: row.try_get(16)?,
        lease: worker.zip(instant_option(18)?).map(|(worker, until)| Lease { worker, until }),
    })
}

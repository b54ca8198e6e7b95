//! What inbound webhooks took in, as stored.

use tokio_postgres::Row;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, clean};
use crate::model::{Instant, Received, ReceivedState, ReceivedWanted};
use crate::store::events::{not_waiting, received_already};

const RECEIVED: &str =
    "select inbound, source, id, at, dataset, key, version, state, attempts, due_at, note from _received";

/// Notes a message that was taken in; one that is known already is a conflict.
pub(super) async fn add(session: &Session, received: &Received) -> Step<()> {
    let sql = "insert into _received (inbound, source, id, at, dataset, key, version, state, attempts, due_at, note) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing";
    let [source, id, key, note] =
        [&received.source, &received.id, &received.key, &received.note].map(|text| clean(text));
    let added = session
        .execute(
            sql,
            &[
                &received.inbound,
                &source,
                &id,
                &SqlInstant(received.at),
                &received.dataset,
                &key,
                &received.version.map(|version| version as i64),
                &received.state.name(),
                &i64::from(received.attempts),
                &SqlInstant(received.due_at),
                &note,
            ],
        )
        .await?;
    if added == 0 { Err(received_already(received).into()) } else { Ok(()) }
}

/// Says what became of a message that waited.
pub(super) async fn settle(session: &Session, received: &Received) -> Step<()> {
    let sql = "update _received set state = $4, attempts = $5, due_at = $6, note = $7 \
               where inbound = $1 and source = $2 and id = $3 and state in ('waiting', 'stuck')";
    let [source, id, note] = [&received.source, &received.id, &received.note].map(|text| clean(text));
    let (attempts, due_at) = (i64::from(received.attempts), SqlInstant(received.due_at));
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&received.inbound, &source, &id, &received.state.name(), &attempts, &due_at, &note];
    let changed = session.execute(sql, &values).await?;
    if changed == 0 { Err(not_waiting(received).into()) } else { Ok(()) }
}

/// Forgets what was settled before an instant.
pub(super) async fn forget(session: &Session, before: Instant) -> Step<()> {
    let sql = "delete from _received where at < $1 and state not in ('waiting', 'stuck')";
    session.execute(sql, &[&SqlInstant(before)]).await?;
    Ok(())
}

pub(super) async fn one(session: &Session, inbound: &str, source: &str, id: &str) -> Step<Option<Received>> {
    let sql = format!("{RECEIVED} where inbound = $1 and source = $2 and id = $3");
    let rows = session.query(&sql, &[&clean(inbound), &clean(source), &clean(id)]).await?;
    rows.first().map(read).transpose()
}

/// Newest first.
pub(super) async fn some(session: &Session, wanted: &ReceivedWanted) -> Step<Vec<Received>> {
    let open = if wanted.open { " and state in ('waiting', 'stuck')" } else { "" };
    let inbound = if wanted.inbound.is_some() { "inbound = $1" } else { "$1::text is null" };
    let of = match wanted.of {
        Some(_) => "dataset = $2 and key = $3",
        None => "$2::text is null and $3::text is null",
    };
    let sql = format!(
        "{RECEIVED} where {inbound} and {of}{open} and ($4::text is null or state = $4) \
         order by at desc, source, id limit $5"
    );
    let (dataset, key) = match &wanted.of {
        Some((dataset, key)) => (Some(clean(dataset)), Some(clean(key))),
        None => (None, None),
    };
    let inbound = wanted.inbound.as_deref().map(clean);
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let state = wanted.state.map(ReceivedState::name);
    session.query(&sql, &[&inbound, &dataset, &key, &state, &limit]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Step<Received> {
    Ok(Received {
        inbound: row.try_get(0)?,
        source: row.try_get(1)?,
        id: row.try_get(2)?,
        at: row.try_get::<_, SqlInstant>(3)?.0,
        dataset: row.try_get(4)?,
        key: row.try_get(5)?,
        version: row.try_get::<_, Option<i64>>(6)?.map(|version| version as u64),
        state: ReceivedState::from_name(row.try_get(7)?).ok_or_else(|| unreadable("state"))?,
        attempts: row.try_get::<_, i64>(8)?.try_into().unwrap_or(u32::MAX),
        due_at: row.try_get::<_, SqlInstant>(9)?.0,
        note: row.try_get(10)?,
    })
}

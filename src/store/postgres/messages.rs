//! Published events with their content, series of numbers, and where readers of logs stand, as stored.

use tokio_postgres::Row;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, clean};
use crate::model::{Content, Instant, Message, Published, Quarantined};
use crate::store::events::{check_advance, numbered, offered_again, stood_first};

const MESSAGE: &str = "select event, at, id, source, kind, time, subject, key, schema, content_type, \
                       extensions::text, form, content from _message";

/// What is known of the source and id of a message; `None`: nothing yet.
pub(super) async fn known(session: &Session, message: &Message, expect_new: bool) -> Step<Option<Published>> {
    let sql = "select event, digest from _message where source = $1 and id = $2";
    let rows = session.query(sql, &[&clean(&message.source), &clean(&message.id)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (event, digest): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(offered_again(message, event as u64, &digest, expect_new)?))
}

/// Writes a new message under the number of its event.
pub(super) async fn add(session: &Session, message: &Message, event: i64, now: Instant) -> Step<()> {
    let sql = "insert into _message (event, at, id, source, kind, time, subject, key, schema, content_type, extensions, \
               form, content, digest) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, $12, $13, $14)";
    let (form, content) = message.content.parts();
    let extensions = clean(&serde_json::json!(message.extensions).to_string());
    let [id, source, kind] = [&message.id, &message.source, &message.kind].map(|text| clean(text));
    let optional = |text: &Option<String>| text.as_deref().map(clean);
    session
        .execute(
            sql,
            &[
                &event,
                &SqlInstant(now),
                &id,
                &source,
                &kind,
                &optional(&message.time),
                &optional(&message.subject),
                &optional(&message.key),
                &optional(&message.schema),
                &optional(&message.content_type),
                &extensions,
                &form,
                &content,
                &message.digest(),
            ],
        )
        .await?;
    Ok(())
}

/// The messages of these events, by number; unknown numbers are left out.
pub(super) async fn messages(session: &Session, events: &[u64]) -> Step<Vec<Message>> {
    let events: Vec<i64> = events.iter().map(|event| *event as i64).collect();
    let sql = format!("{MESSAGE} where event = any($1) order by event");
    session.query(&sql, &[&events]).await?.iter().map(read).collect()
}

pub(super) async fn message(session: &Session, source: &str, id: &str) -> Step<Option<Message>> {
    let sql = format!("{MESSAGE} where source = $1 and id = $2");
    session.query(&sql, &[&clean(source), &clean(id)]).await?.first().map(read).transpose()
}

fn read(row: &Row) -> Step<Message> {
    let content = Content::from_parts(row.try_get(11)?, row.try_get(12)?).ok_or_else(|| unreadable("message"))?;
    Ok(Message {
        event: row.try_get::<_, i64>(0)? as u64,
        at: row.try_get::<_, SqlInstant>(1)?.0,
        id: row.try_get(2)?,
        source: row.try_get(3)?,
        kind: row.try_get(4)?,
        time: row.try_get(5)?,
        subject: row.try_get(6)?,
        key: row.try_get(7)?,
        schema: row.try_get(8)?,
        content_type: row.try_get(9)?,
        extensions: serde_json::from_str(row.try_get(10)?).map_err(|_| unreadable("message"))?,
        content,
    })
}

/// The next number of a series, from 1.
pub(super) async fn next_number(session: &Session, series: &str) -> Step<u64> {
    let rows = session.query("select last from _series where name = $1", &[&clean(series)]).await?;
    let last = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
    Ok(last.unwrap_or(0) as u64 + 1)
}

/// Takes numbers of a series. The caller holds the lock of publishing.
pub(super) async fn number(session: &Session, series: &str, first: u64, count: u64) -> Step<()> {
    let last = numbered(series, next_number(session, series).await? - 1, first, count)?;
    let sql = "insert into _series (name, last) values ($1, $2) on conflict (name) do update set last = excluded.last";
    session.execute(sql, &[&clean(series), &(last as i64)]).await?;
    Ok(())
}

/// Where a cursor in the event log stands.
pub(super) async fn cursor(session: &Session, name: &str) -> Step<u64> {
    let rows = session.query("select event from _cursor where name = $1", &[&clean(name)]).await?;
    let event = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
    Ok(event.unwrap_or(0) as u64)
}

pub(super) async fn advance(session: &Session, name: &str, from: u64, to: u64) -> Step<()> {
    let name = clean(name);
    // A row to lock is there even for a cursor that is new.
    session.execute("insert into _cursor (name, event) values ($1, 0) on conflict (name) do nothing", &[&name]).await?;
    let row = session.query_one("select event from _cursor where name = $1 for update", &[&name]).await?;
    check_advance(&name, row.try_get::<_, i64>(0)? as u64, from, to)?;
    session.execute("update _cursor set event = $2 where name = $1", &[&name, &(to as i64)]).await?;
    Ok(())
}

/// Where a reader of somebody else's log stands.
pub(super) async fn place(session: &Session, name: &str) -> Step<Option<String>> {
    let rows = session.query("select place from _stand where name = $1", &[&clean(name)]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

pub(super) async fn stand(session: &Session, name: &str, place: &str, now: Instant) -> Step<()> {
    let sql = "insert into _stand (name, place, at) values ($1, $2, $3) \
               on conflict (name) do update set place = excluded.place, at = excluded.at";
    session.execute(sql, &[&clean(name), &clean(place), &SqlInstant(now)]).await?;
    Ok(())
}

/// As `stand`, for a name without a place.
pub(super) async fn stand_first(session: &Session, name: &str, place: &str, now: Instant) -> Step<()> {
    let sql = "insert into _stand (name, place, at) values ($1, $2, $3) on conflict (name) do nothing";
    let written = session.execute(sql, &[&clean(name), &clean(place), &SqlInstant(now)]).await?;
    Ok(stood_first(name, written == 1)?)
}

pub(super) async fn forget_stands(session: &Session, prefix: &str, before: Instant) -> Step<()> {
    let sql = "delete from _stand where starts_with(name, $1) and at < $2";
    session.execute(sql, &[&clean(prefix), &SqlInstant(before)]).await?;
    Ok(())
}

/// Keeps apart what is no row of a dataset.
pub(super) async fn set_aside(session: &Session, source: &str, what: &Quarantined, now: Instant) -> Step<()> {
    let sql = "insert into _quarantine (dataset, at, source, seq, rule, reason, row) \
               values ($1, $2, $3, 0, $4, $5, $6) on conflict do nothing";
    let (source, reason, row) = (clean(source), clean(&what.reason), what.row.to_string());
    session.execute(sql, &[&source, &SqlInstant(now), &source, &what.rule, &reason, &row]).await?;
    Ok(())
}

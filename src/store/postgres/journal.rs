//! The journal as stored: records of the log, and who changed what.

use tokio_postgres::Row;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, clean};
use crate::model::{Instant, Journal, JournalEntry, JournalWanted, Level};
use crate::store::ledger::levels_from;

pub(super) async fn add(session: &Session, entry: &JournalEntry) -> Step<()> {
    let sql = "insert into _journal (at, journal, level, who, target, text, task, data) \
               values ($1, $2, $3, $4, $5, $6, $7, $8::text::json)";
    let (journal, level) = (entry.journal.name(), entry.level.name());
    let [who, target, text] = [&entry.who, &entry.target, &entry.text].map(|text| clean(text));
    let (at, data) = (SqlInstant(entry.at), entry.data.to_string());
    session.execute(sql, &[&at, &journal, &level, &who, &target, &text, &entry.task, &data]).await?;
    Ok(())
}

pub(super) async fn forget(session: &Session, journal: Journal, before: Instant) -> Step<()> {
    let sql = "delete from _journal where journal = $1 and at < $2";
    session.execute(sql, &[&journal.name(), &SqlInstant(before)]).await?;
    Ok(())
}

/// Records, newest first. Letters beyond ASCII are compared as they are, as SQLite does.
pub(super) async fn entries(session: &Session, wanted: &JournalWanted) -> Step<Vec<JournalEntry>> {
    // The index of the task only where one is named.
    let of_task = if wanted.task.is_some() { "task = $2" } else { "$2::bigint is null" };
    let sql = format!(
        "select id, at, journal, level, who, target, text, task, data::text from _journal \
         where journal = $1 and {of_task} and id < $3 and level in ({}) \
         and ($4::text is null or strpos(lower(text collate \"C\"), lower($4 collate \"C\")) > 0 \
         or strpos(lower(target collate \"C\"), lower($4 collate \"C\")) > 0) \
         order by id desc limit $5",
        levels_from(wanted.level)
    );
    let (before, limit) = (wanted.before.unwrap_or(i64::MAX), i64::try_from(wanted.limit).unwrap_or(i64::MAX));
    let text = wanted.text.as_deref().map(clean);
    let found = session.query(&sql, &[&wanted.journal.name(), &wanted.task, &before, &text, &limit]).await?;
    found.iter().map(read).collect()
}

fn read(row: &Row) -> Step<JournalEntry> {
    Ok(JournalEntry {
        id: row.try_get(0)?,
        at: row.try_get::<_, SqlInstant>(1)?.0,
        journal: Journal::from_name(row.try_get(2)?).ok_or_else(|| unreadable("journal"))?,
        level: Level::from_name(row.try_get(3)?).ok_or_else(|| unreadable("level"))?,
        who: row.try_get(4)?,
        target: row.try_get(5)?,
        text: row.try_get(6)?,
        task: row.try_get(7)?,
        data: serde_json::from_str(row.try_get(8)?).map_err(|_| unreadable("journal"))?,
    })
}

//! The journal as stored: records of the log, and who changed what.

use rusqlite::{Connection, Row};

use super::claims::{read_instant, unreadable};
use super::fault::Step;
use crate::model::{Instant, Journal, JournalEntry, JournalWanted, Level};
use crate::store::ledger::levels_from;

pub(super) fn add(connection: &Connection, entry: &JournalEntry) -> Step<()> {
    let sql = "insert into _journal (at, journal, level, who, target, text, task, data) \
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute((
        entry.at.to_string(),
        entry.journal.name(),
        entry.level.name(),
        &entry.who,
        &entry.target,
        &entry.text,
        entry.task,
        entry.data.to_string(),
    ))?;
    Ok(())
}

pub(super) fn forget(connection: &Connection, journal: Journal, before: Instant) -> Step<()> {
    let sql = "delete from _journal where journal = ?1 and at < ?2";
    connection.prepare_cached(sql)?.execute((journal.name(), before.to_string()))?;
    Ok(())
}

/// Records, newest first.
pub(super) fn entries(connection: &Connection, wanted: &JournalWanted) -> Step<Vec<JournalEntry>> {
    // The index of the task only where one is named.
    let of_task = if wanted.task.is_some() { "task = ?2" } else { "?2 is null" };
    let sql = format!(
        "select id, at, journal, level, who, target, text, task, data from _journal \
         where journal = ?1 and {of_task} and id < ?3 and level in ({}) \
         and (?4 is null or instr(lower(text), lower(?4)) > 0 or instr(lower(target), lower(?4)) > 0) \
         order by id desc limit ?5",
        levels_from(wanted.level)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (before, limit) = (wanted.before.unwrap_or(i64::MAX), i64::try_from(wanted.limit).unwrap_or(i64::MAX));
    let found = statement.query_map((wanted.journal.name(), wanted.task, before, &wanted.text, limit), read)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn read(row: &Row) -> rusqlite::Result<JournalEntry> {
    let (journal, level) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?);
    Ok(JournalEntry {
        id: row.get(0)?,
        at: read_instant(row, 1)?,
        journal: Journal::from_name(journal).ok_or_else(|| unreadable(2, "journal"))?,
        level: Level::from_name(level).ok_or_else(|| unreadable(3, "level"))?,
        who: row.get(4)?,
        target: row.get(5)?,
        text: row.get(6)?,
        task: row.get(7)?,
        data: serde_json::from_str(row.get_ref(8)?.as_str()?).map_err(|_| unreadable(8, "journal"))?,
    })
}

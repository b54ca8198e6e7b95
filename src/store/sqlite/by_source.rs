//! Rows by the source of the commit that wrote them.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;

use super::claims::unreadable;
use super::fault::Step;
use super::table::{Table, quoted};
use crate::model::Day;
use crate::store::SourceRows;

/// Counts anew unless `known` is still the dataset's last commit.
pub(super) fn count(
    connection: &Connection,
    table: &Table,
    known: Option<i64>,
) -> Step<Option<(i64, Vec<SourceRows>)>> {
    // Commit and rows are those of one moment.
    let moment = connection.unchecked_transaction()?;
    let last = "select coalesce(max(seq), 0) from _commit where dataset = ?1";
    let last: i64 = moment.prepare_cached(last)?.query_row([table.name()], |row| row.get(0))?;
    if known == Some(last) {
        return Ok(None);
    }
    let sql = "select seq, source from _commit where dataset = ?1";
    let mut statement = moment.prepare_cached(sql)?;
    let sources = statement.query_map([table.name()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sources: HashMap<i64, String> = sources.collect::<rusqlite::Result<_>>()?;
    Ok(Some((last, by_source(&moment, table, &sources)?)))
}

/// One walk over the table, without sorting it.
fn by_source(connection: &Connection, table: &Table, sources: &HashMap<i64, String>) -> Step<Vec<SourceRows>> {
    let time = table.time.map_or("null".to_owned(), |time| quoted(&table.dataset.columns[time].name));
    let mut statement = connection.prepare(&format!("select _seq, {time} from {}", quoted(table.name())))?;
    let mut rows = statement.query(())?;
    // Neighbours often come from the same commits: a few thousand of them wrote millions of rows.
    let mut by_commit: HashMap<i64, (u64, String)> = HashMap::new();
    while let Some(row) = rows.next()? {
        let counted = by_commit.entry(row.get(0)?).or_default();
        counted.0 += 1;
        if let Some(day) = row.get_ref(1)?.as_str_or_null().map_err(|_| unreadable(1, "day"))?
            && day > counted.1.as_str()
        {
            day.clone_into(&mut counted.1);
        }
    }
    let mut found: BTreeMap<&str, SourceRows> = BTreeMap::new();
    for (commit, (rows, day)) in by_commit {
        let source = sources.get(&commit).map_or("", String::as_str);
        let fresh = || SourceRows { source: source.to_owned(), rows: 0, last_day: None };
        let sum = found.entry(source).or_insert_with(fresh);
        sum.rows += rows;
        sum.last_day = sum.last_day.max(Day::parse(&day).ok());
    }
    Ok(found.into_values().collect())
}

//! Whose value counts: the rank of the source that wrote a row, and which of its values a worse source must leave.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::cells::Cell;
use super::fault::Step;
use super::table::{Table, quoted, revision_name};
use crate::store::ledger::{Guard, positions};

/// Who wrote the commits of one dataset, by number, as far as that was needed; bounded.
#[derive(Default)]
pub(super) struct Ranks(HashMap<i64, Writer>);

/// The rank of a source, and the positions of the columns that it lacks.
#[derive(Clone)]
struct Writer {
    rank: u8,
    lacks: Arc<[usize]>,
}

impl Ranks {
    const ENTRIES_MAX: usize = 4096;

    /// Whether a better source than `rank` has ever written to `dataset`.
    pub(super) fn better_than(&self, connection: &Connection, dataset: &str, rank: u8) -> Step<bool> {
        let sql = "select exists (select 1 from _commit where dataset = ?1 and rank < ?2)";
        Ok(connection.prepare_cached(sql)?.query_row((dataset, rank), |row| row.get(0))?)
    }

    fn of(&mut self, connection: &Connection, table: &Table, seq: i64) -> Step<Writer> {
        if let Some(writer) = self.0.get(&seq) {
            return Ok(writer.clone());
        }
        let mut statement = connection.prepare_cached("select rank, lacks from _commit where seq = ?1")?;
        let read = |row: &rusqlite::Row| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let (rank, lacks) = statement.query_row([seq], read).optional()?.unwrap_or((u8::MAX, String::new()));
        let writer = Writer { rank, lacks: positions(&table.dataset, &lacks).into() };
        if self.0.len() >= Ranks::ENTRIES_MAX {
            self.0.clear();
        }
        self.0.insert(seq, writer.clone());
        Ok(writer)
    }

    /// The values of the row at `key` that a source better than `rank` gave, column by column: those of the row itself
    /// when its source is better and has the column, else those of the last revision by such a source. `None` when no
    /// better source wrote the row.
    pub(super) fn guarded_columns(
        &mut self,
        connection: &Connection,
        table: &Table,
        key: &[Cell],
        seq: i64,
        rank: u8,
    ) -> Step<Option<Vec<bool>>> {
        let present = |name: &String| format!("{} is not null", quoted(name));
        let names = table.dataset.columns.iter().map(|column| present(&column.name)).collect::<Vec<_>>().join(", ");
        let by_key = table.dataset.key.iter().enumerate();
        let by_key = by_key.map(|(at, name)| format!("{} = ?{}", quoted(name), at + 1)).collect::<Vec<_>>();
        let by_key = by_key.join(" and ");
        let columns = table.kinds.len();
        let read =
            |row: &rusqlite::Row| (0..columns).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<bool>>>();
        let mut guard = Guard::new(columns);
        let writer = self.of(connection, table, seq)?;
        if writer.rank < rank {
            let sql = format!("select {names} from {} where {by_key}", quoted(table.name()));
            let present = connection.prepare_cached(&sql)?.query_row(params_from_iter(key), read).optional()?;
            present.into_iter().for_each(|present| guard.take(&present, &writer.lacks));
        }
        if !guard.is_decided() {
            let revision = quoted(&revision_name(table.name()));
            let sql = format!(
                "select {names}, _seq from {revision} where {by_key} \
                 and _ended_seq > coalesce((select max(_ended_seq) from {revision} where {by_key} and _ended = 'withdrawn'), 0) \
                 and (select rank from _commit where seq = _seq) < {rank} order by _ended_seq desc"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut revisions = statement.query(params_from_iter(key))?;
            while !guard.is_decided()
                && let Some(row) = revisions.next()?
            {
                let lacks = self.of(connection, table, row.get(columns)?)?.lacks;
                guard.take(&read(row)?, &lacks);
            }
        }
        Ok(guard.into_columns())
    }
}

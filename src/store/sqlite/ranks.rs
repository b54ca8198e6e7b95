//! Whose value counts: the rank of the source that wrote a row, and which of its values a worse source must leave.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::cells::Cell;
use super::fault::Step;
use super::table::{Table, quoted, revision_name};

/// Ranks by commit number, as far as they were needed; bounded.
#[derive(Default)]
pub(super) struct Ranks(HashMap<i64, u8>);

impl Ranks {
    const ENTRIES_MAX: usize = 4096;

    /// Whether a better source than `rank` has ever written to `dataset`.
    pub(super) fn better_than(&self, connection: &Connection, dataset: &str, rank: u8) -> Step<bool> {
        let sql = "select exists (select 1 from _commit where dataset = ?1 and rank < ?2)";
        Ok(connection.prepare_cached(sql)?.query_row((dataset, rank), |row| row.get(0))?)
    }

    fn of(&mut self, connection: &Connection, seq: i64) -> Step<u8> {
        if let Some(rank) = self.0.get(&seq) {
            return Ok(*rank);
        }
        let mut statement = connection.prepare_cached("select rank from _commit where seq = ?1")?;
        let rank = statement.query_row([seq], |row| row.get(0)).optional()?.unwrap_or(u8::MAX);
        if self.0.len() >= Ranks::ENTRIES_MAX {
            self.0.clear();
        }
        self.0.insert(seq, rank);
        Ok(rank)
    }

    /// The values of the row at `key` that a source better than `rank` gave: those of the row itself, or, when a worse
    /// source has filled gaps since, those of the last revision by a better one. `None` when there is no such row.
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
        let revision = quoted(&revision_name(table.name()));
        let sql = if self.of(connection, seq)? < rank {
            format!("select {names} from {} where {by_key}", quoted(table.name()))
        } else {
            format!(
                "select {names} from {revision} where {by_key} \
                 and _ended_seq > coalesce((select max(_ended_seq) from {revision} where {by_key} and _ended = 'withdrawn'), 0) \
                 and (select rank from _commit where seq = _seq) < {rank} order by _ended_seq desc limit 1"
            )
        };
        let read = |row: &rusqlite::Row| (0..table.kinds.len()).map(|index| row.get(index)).collect();
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row(params_from_iter(key), read).optional()?)
    }
}

//! What becomes of a row whose key is stored with other values: the rank of its source, what its source lacks, and the
//! conflict rules.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::connection::Session;
use super::encode::{Cells, encode_seq};
use super::fault::Step;
use super::stage;
use super::table::Table;
use crate::model::change::Write;
use crate::model::dataset::FieldRule;
use crate::model::{Instant, RowsChange};

pub(super) enum Verdict {
    /// The stored row stays as it is.
    Stays,
    /// The row takes the new values of these columns.
    Becomes(Vec<bool>),
    /// A person must decide.
    Waits,
}

/// A new row and the stored one with its key.
pub(super) struct Decider<'a> {
    pub(super) table: &'a Table,
    pub(super) change: &'a RowsChange,
    pub(super) new: (&'a [Cells<'a>], usize),
    pub(super) old: (&'a [Cells<'a>], usize),
    /// Values that a better source gave; `None` when it gave none.
    pub(super) guard: Option<&'a [bool]>,
    /// Rank and time of fetch of the commit that wrote the stored row.
    pub(super) writer: Option<&'a (u8, Instant)>,
}

impl Decider<'_> {
    pub(super) fn decide(&self) -> Verdict {
        let fields = &self.change.dataset.policy.fields;
        match self.change.write {
            Write::FirstWins => Verdict::Stays,
            Write::LastWins => {
                let later = self.writer.is_some_and(|(_, fetched_at)| *fetched_at > self.change.fetched_at);
                if later { Verdict::Stays } else { self.becomes(|_| true) }
            }
            Write::Manual => match (0..self.new.0.len()).any(|index| self.has(index) && self.differs(index)) {
                true => Verdict::Waits,
                false => Verdict::Stays,
            },
            Write::Merge if !fields.is_empty() => {
                let columns = &self.table.dataset.columns;
                self.becomes(|index| self.takes(fields.get(&columns[index].name).copied(), index))
            }
            Write::Merge => self.becomes(|index| self.given(index) && !self.guarded(index)),
            Write::Replace | Write::ReplaceKeys(_) | Write::Upsert => match self.guard {
                None => self.becomes(|_| true),
                Some(_) => self.becomes(|index| self.given(index) && !self.guarded(index)),
            },
        }
    }

    /// Whether the source has the column at all.
    fn has(&self, index: usize) -> bool {
        self.change.lacks.binary_search(&index).is_err()
    }

    fn given(&self, index: usize) -> bool {
        !self.new.0[index].is_null(self.new.1)
    }

    fn guarded(&self, index: usize) -> bool {
        self.guard.is_some_and(|guard| guard[index])
    }

    fn differs(&self, index: usize) -> bool {
        !self.new.0[index].equals(self.new.1, &self.old.0[index], self.old.1)
    }

    /// Whether the new value of a column counts, by the rule of the column.
    fn takes(&self, rule: Option<FieldRule>, index: usize) -> bool {
        let stored = !self.old.0[index].is_null(self.old.1);
        let order = || self.new.0[index].order(self.new.1, &self.old.0[index], self.old.1);
        match rule {
            None => self.given(index) && !self.guarded(index),
            Some(FieldRule::PreferNonNull) => self.given(index),
            Some(FieldRule::KeepLast) => true,
            Some(FieldRule::KeepFirst) => !stored,
            Some(FieldRule::Max) => self.given(index) && (!stored || order() == Ordering::Greater),
            Some(FieldRule::Min) => self.given(index) && (!stored || order() == Ordering::Less),
        }
    }

    /// The stored row with the new values of the columns that `takes` names; stays when that changes nothing.
    fn becomes(&self, takes: impl Fn(usize) -> bool) -> Verdict {
        let taken: Vec<bool> = (0..self.new.0.len()).map(|index| self.has(index) && takes(index)).collect();
        let changed = (0..taken.len()).any(|index| taken[index] && self.differs(index));
        if changed { Verdict::Becomes(taken) } else { Verdict::Stays }
    }

    /// The row as it shall be stored.
    pub(super) fn encoded(&self, takes: &[bool], seq: i64) -> Vec<u8> {
        let mut bytes = (takes.len() as i16 + 1).to_be_bytes().to_vec();
        for (index, taken) in takes.iter().enumerate() {
            match taken {
                true => self.new.0[index].encode(self.new.1, &mut bytes),
                false => self.old.0[index].encode(self.old.1, &mut bytes),
            }
        }
        encode_seq(seq, &mut bytes);
        bytes
    }

    /// The values that a source better than that of the change gave, by row: those of the stored row itself, or, when a
    /// worse source has filled gaps since, those of the last revision by a better one. `rows` are position, bytes of
    /// the new row and commit of the stored one.
    pub(super) async fn guards(
        session: &Session,
        table: &Table,
        change: &RowsChange,
        guarded: bool,
        rows: Vec<(usize, &[u8], i64)>,
        old: &[Cells<'_>],
        writers: &HashMap<i64, (u8, Instant)>,
    ) -> Step<HashMap<usize, Vec<bool>>> {
        let mut guards = HashMap::new();
        let rules = matches!(change.write, Write::FirstWins | Write::LastWins | Write::Manual);
        if !guarded || rules || rows.is_empty() {
            return Ok(guards);
        }
        let mut searched = Vec::new();
        for (at, bytes, seq) in rows {
            let rank = writers.get(&seq).map_or(u8::MAX, |(rank, _)| *rank);
            if rank < change.rank {
                guards.insert(at, old.iter().map(|cells| !cells.is_null(at)).collect());
            } else {
                searched.push((at as i64, bytes));
            }
        }
        if searched.is_empty() {
            return Ok(guards);
        }
        stage::keys(session, table, "_searched", searched.into_iter()).await?;
        for row in session.ask(&search(table, change.rank)).await? {
            let present: Vec<bool> = row.try_get(1)?;
            guards.insert(row.try_get::<_, i64>(0)? as usize, present);
        }
        Ok(guards)
    }
}

/// Which values the last revision by a source better than `rank` had, since the row was last withdrawn.
fn search(table: &Table, rank: u8) -> String {
    let present = (0..table.kinds.len()).map(|index| format!("old.{} is not null", table.column(index)));
    let (revision, same) = (table.quoted_revision(), table.same_key("old", "given"));
    format!(
        "select given._row, better.present from pg_temp._searched as given cross join lateral ( \
         select array[{present}] as present from {revision} as old where {same} \
         and old._ended_seq > coalesce((select max(old._ended_seq) from {revision} as old where {same} \
         and old._ended = 'withdrawn'), 0) \
         and (select rank from _commit where seq = old._seq) < {rank} order by old._ended_seq desc limit 1) as better",
        present = present.collect::<Vec<_>>().join(", "),
    )
}

//! What becomes of a row whose key is stored with other values: the rank of its source, what its source lacks, and the
//! conflict rules.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::connection::Session;
use super::encode::{Cells, encode_seq};
use super::fault::Step;
use super::stage::{self, Writer};
use super::table::Table;
use crate::model::RowsChange;
use crate::model::change::Write;
use crate::model::dataset::FieldRule;
use crate::store::ledger::{Guard, positions};

pub(super) enum Verdict {
    /// The stored row stays as it is: the new one says nothing else.
    Stays,
    /// The stored row stays as it is: the new one is an older version.
    IsOlder,
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
    /// Whose commit wrote the stored row.
    pub(super) writer: Option<&'a Writer>,
}

impl Decider<'_> {
    pub(super) fn decide(&self) -> Verdict {
        let fields = &self.change.dataset.policy.fields;
        match self.change.write {
            Write::FirstWins => Verdict::Stays,
            Write::LastWins => {
                let later = self.writer.is_some_and(|writer| writer.fetched_at > self.change.fetched_at);
                if later { Verdict::Stays } else { self.becomes(|_| true) }
            }
            Write::Manual => self.waits(&[]),
            Write::NewerVersion { version, ref noted } => match self.age(version) {
                Ordering::Less => Verdict::IsOlder,
                Ordering::Equal => self.waits(noted),
                Ordering::Greater => self.becomes(|_| true),
            },
            Write::Merge if !fields.is_empty() => {
                let columns = &self.table.dataset.columns;
                self.becomes(|index| self.takes(fields.get(&columns[index].name).copied(), index))
            }
            Write::Merge => self.becomes(|index| self.given(index) && !self.guarded(index)),
            Write::Replace | Write::ReplaceKeys(_) | Write::Upsert | Write::Withdraw => match self.guard {
                None => self.becomes(|_| true),
                Some(_) => self.becomes(|index| self.given(index) && !self.guarded(index)),
            },
        }
    }

    /// Whether the source has the column at all.
    fn has(&self, index: usize) -> bool {
        self.change.lacks.binary_search(&index).is_err()
    }

    /// A person decides where the rows differ in another column than the noted ones.
    fn waits(&self, noted: &[usize]) -> Verdict {
        let differs = |index: usize| self.has(index) && !noted.contains(&index) && self.differs(index);
        if (0..self.new.0.len()).any(differs) { Verdict::Waits } else { Verdict::Stays }
    }

    /// How the version of the new row compares with that of the stored one.
    fn age(&self, version: usize) -> Ordering {
        let (new, old) = (&self.new.0[version], &self.old.0[version]);
        match (new.is_null(self.new.1), old.is_null(self.old.1)) {
            (_, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => new.order(self.new.1, old, self.old.1),
        }
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

    /// The values that a source better than that of the change gave, by row and column: those of the stored row itself
    /// when its source is better and has the column, else those of the last revision by such a source. `rows` are
    /// position, bytes of the new row and commit of the stored one.
    pub(super) async fn guards(
        session: &Session,
        table: &Table,
        change: &RowsChange,
        guarded: bool,
        rows: Vec<(usize, &[u8], i64)>,
        old: &[Cells<'_>],
        writers: &HashMap<i64, Writer>,
    ) -> Step<HashMap<usize, Vec<bool>>> {
        let mut guards: HashMap<usize, Guard> = HashMap::new();
        let rules =
            matches!(change.write, Write::FirstWins | Write::LastWins | Write::Manual | Write::NewerVersion { .. });
        if !guarded || rules || rows.is_empty() {
            return Ok(HashMap::new());
        }
        let mut searched = Vec::new();
        for (at, bytes, seq) in rows {
            let mut guard = Guard::new(old.len());
            if let Some(writer) = writers.get(&seq).filter(|writer| writer.rank < change.rank) {
                let present: Vec<bool> = old.iter().map(|cells| !cells.is_null(at)).collect();
                guard.take(&present, &writer.lacks);
            }
            if !guard.is_decided() {
                searched.push((at as i64, bytes));
            }
            guards.insert(at, guard);
        }
        if !searched.is_empty() {
            stage::keys(session, table, "_searched", searched.into_iter()).await?;
            for row in session.ask(&search(table, change.rank)).await? {
                let (at, present, lacks): (i64, Vec<bool>, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                if let Some(guard) = guards.get_mut(&(at as usize)) {
                    guard.take(&present, &positions(&table.dataset, lacks));
                }
            }
        }
        let columns = guards.into_iter().filter_map(|(at, guard)| Some((at, guard.into_columns()?)));
        Ok(columns.collect())
    }
}

/// Which values the revisions by sources better than `rank` had, since the row was last withdrawn, the newest first.
fn search(table: &Table, rank: u8) -> String {
    let present = (0..table.kinds.len()).map(|index| format!("old.{} is not null", table.column(index)));
    let (revision, same) = (table.quoted_revision(), table.same_key("old", "given"));
    format!(
        "select given._row, better.present, better.lacks from pg_temp._searched as given cross join lateral ( \
         select array[{present}] as present, writer.lacks, old._ended_seq from {revision} as old \
         join _commit as writer on writer.seq = old._seq where {same} \
         and old._ended_seq > coalesce((select max(old._ended_seq) from {revision} as old where {same} \
         and old._ended = 'withdrawn'), 0) and writer.rank < {rank}) as better \
         order by given._row, better._ended_seq desc",
        present = present.collect::<Vec<_>>().join(", "),
    )
}

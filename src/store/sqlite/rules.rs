//! Conflict rules that decide row by row or value by value: merging by column, first and last write, and rows that wait
//! for a person.

use std::cmp::Ordering;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::cells::{Cells, Kind};
use super::conflicts;
use super::fault::Step;
use super::table::Table;
use crate::model::change::Write;
use crate::model::dataset::FieldRule;
use crate::model::{Instant, RowsChange, decimal};

/// How the rows of one change meet stored rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Fields,
    First,
    Last,
    Manual,
    Newer,
}

impl Rule {
    /// `None` where the plain ways of writing do.
    pub(super) fn of(change: &RowsChange) -> Option<Rule> {
        match change.write {
            Write::Replace | Write::ReplaceKeys(_) | Write::Upsert | Write::Withdraw => None,
            Write::Merge => (!change.dataset.policy.fields.is_empty()).then_some(Rule::Fields),
            Write::FirstWins => Some(Rule::First),
            Write::LastWins => Some(Rule::Last),
            Write::Manual => Some(Rule::Manual),
            Write::NewerVersion { .. } => Some(Rule::Newer),
        }
    }
}

/// What becomes of a row whose key is stored already.
pub(super) enum Verdict {
    /// The stored row stays as it is: the new one says nothing else.
    Stays,
    /// The stored row stays as it is: the new one is an older version.
    IsOlder,
    /// The row becomes these values; `None` takes the new one.
    Becomes(Vec<Option<Value>>),
    /// A person must decide.
    Waits { stored: serde_json::Value },
}

/// A new row and where it goes.
pub(super) struct Meeting<'a> {
    pub(super) connection: &'a Connection,
    pub(super) table: &'a Table,
    pub(super) change: &'a RowsChange,
    pub(super) cells: &'a [Cells<'a>],
    pub(super) row: usize,
    /// Values that a better source gave; `None` when it gave none.
    pub(super) guard: Option<&'a [bool]>,
}

impl Meeting<'_> {
    /// Compares the row with the stored one by `rule`.
    pub(super) fn decide(&self, rule: Rule, lookup: &mut CachedStatement) -> Step<Verdict> {
        for (at, index) in self.table.key.iter().enumerate() {
            self.cells[*index].bind(self.row, lookup, at + 1)?;
        }
        let mut rows = lookup.raw_query();
        let Some(stored) = rows.next()? else { return Ok(Verdict::Stays) };
        match rule {
            Rule::First => Ok(Verdict::Stays),
            Rule::Last => self.last(stored),
            Rule::Fields => self.fields(stored),
            Rule::Manual => self.manual(stored),
            Rule::Newer => self.newer(stored),
        }
    }

    /// Whether the source has the column at all.
    fn has(&self, index: usize) -> bool {
        self.change.lacks.binary_search(&index).is_err()
    }

    fn differs(&self, index: usize, stored: &rusqlite::Row) -> Step<bool> {
        Ok(self.has(index) && !self.cells[index].equals(self.row, stored.get_ref(index)?))
    }

    /// Columns that say when the row was taken over, and the one that says which version it is.
    fn versioned(&self) -> Option<(usize, &[usize])> {
        match &self.change.write {
            Write::NewerVersion { version, noted } => Some((*version, noted)),
            _ => None,
        }
    }

    fn is_noted(&self, index: usize) -> bool {
        self.versioned().is_some_and(|(_, noted)| noted.contains(&index))
    }

    fn differs_anywhere(&self, stored: &rusqlite::Row) -> Step<bool> {
        for index in 0..self.cells.len() {
            if !self.is_noted(index) && self.differs(index, stored)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn last(&self, stored: &rusqlite::Row) -> Step<Verdict> {
        if !self.differs_anywhere(stored)? {
            return Ok(Verdict::Stays);
        }
        let seq: i64 = stored.get(self.cells.len())?;
        let mut statement = self.connection.prepare_cached("select fetched_at from _commit where seq = ?1")?;
        let fetched_at: Option<String> = statement.query_row([seq], |row| row.get(0)).optional()?;
        let later = fetched_at.as_deref().and_then(Instant::parse).is_some_and(|at| at > self.change.fetched_at);
        if later { Ok(Verdict::Stays) } else { self.becomes(stored, |index, _| self.has(index)) }
    }

    fn newer(&self, stored: &rusqlite::Row) -> Step<Verdict> {
        let Some((version, _)) = self.versioned() else { return Ok(Verdict::Stays) };
        let old = stored.get_ref(version)?;
        let order = match (self.cells[version].is_null(self.row), old == ValueRef::Null) {
            (_, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.order(version, old),
        };
        match order {
            Ordering::Less => Ok(Verdict::IsOlder),
            Ordering::Equal => self.manual(stored),
            Ordering::Greater => self.becomes(stored, |index, _| self.has(index)),
        }
    }

    fn fields(&self, stored: &rusqlite::Row) -> Step<Verdict> {
        let columns = &self.table.dataset.columns;
        let rules: Vec<Option<FieldRule>> =
            columns.iter().map(|column| self.change.dataset.policy.fields.get(&column.name).copied()).collect();
        self.becomes(stored, |index, old| self.has(index) && self.takes(rules[index], index, old))
    }

    /// Whether the new value of a column counts.
    fn takes(&self, rule: Option<FieldRule>, index: usize, old: ValueRef) -> bool {
        let cells = &self.cells[index];
        let (given, stored) = (!cells.is_null(self.row), old != ValueRef::Null);
        match rule {
            None => given && !self.guard.is_some_and(|guard| guard[index]),
            Some(FieldRule::PreferNonNull) => given,
            Some(FieldRule::KeepLast) => true,
            Some(FieldRule::KeepFirst) => !stored,
            Some(FieldRule::Max) => given && (!stored || self.order(index, old) == Ordering::Greater),
            Some(FieldRule::Min) => given && (!stored || self.order(index, old) == Ordering::Less),
        }
    }

    /// How the new value compares with the stored one; both are present.
    fn order(&self, index: usize, old: ValueRef) -> Ordering {
        let cell = self.cells[index].get(self.row);
        match (cell.value(), old) {
            (ValueRef::Integer(new), ValueRef::Integer(old)) => new.cmp(&old),
            (ValueRef::Real(new), ValueRef::Real(old)) => new.total_cmp(&old),
            (ValueRef::Text(new), ValueRef::Text(old)) => match self.table.kinds[index] {
                Kind::Exact { scale } => exact(new, scale).cmp(&exact(old, scale)),
                _ => new.cmp(old),
            },
            _ => Ordering::Equal,
        }
    }

    /// The stored row with the new values of the columns that `takes` names; stays when that changes nothing.
    fn becomes(&self, stored: &rusqlite::Row, takes: impl Fn(usize, ValueRef) -> bool) -> Step<Verdict> {
        let mut changed = false;
        let mut values = Vec::with_capacity(self.cells.len());
        for (index, cells) in self.cells.iter().enumerate() {
            let old = stored.get_ref(index)?;
            let taken = self.table.key.contains(&index) || takes(index, old);
            changed |= taken && !cells.equals(self.row, old);
            values.push((!taken).then(|| Value::try_from(old)).transpose().map_err(rusqlite::Error::from)?);
        }
        Ok(if changed { Verdict::Becomes(values) } else { Verdict::Stays })
    }

    fn manual(&self, stored: &rusqlite::Row) -> Step<Verdict> {
        if !self.differs_anywhere(stored)? {
            return Ok(Verdict::Stays);
        }
        let mut row = serde_json::Map::new();
        for (index, column) in self.table.dataset.columns.iter().enumerate() {
            row.insert(column.name.clone(), conflicts::stored_json(self.table.kinds[index], stored.get_ref(index)?));
        }
        Ok(Verdict::Waits { stored: serde_json::Value::Object(row) })
    }

    /// The row as JSON, without what its source does not have or only notes.
    pub(super) fn offered(&self) -> serde_json::Value {
        let says = |index: usize| self.has(index) && !self.is_noted(index);
        let columns = self.table.dataset.columns.iter().enumerate().filter(|(index, _)| says(*index));
        let values = columns.map(|(index, column)| (column.name.clone(), self.cells[index].json(self.row)));
        serde_json::Value::Object(values.collect())
    }
}

fn exact(text: &[u8], scale: i8) -> Option<i128> {
    decimal::parse(std::str::from_utf8(text).ok()?, scale, 0)
}

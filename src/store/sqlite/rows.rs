//! Writing the rows of slices: one pass over the table in key order, whatever the order of arrival.
//!
//! Order against the clustered key decides the speed of SQLite. All changes of one dataset in a commit are therefore
//! sorted together, and each row remembers its change. An area without stored rows is inserted without looking.

use std::collections::{BTreeMap, HashMap};

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection};

use super::cells::{Cell, Cells, day_from_text};
use super::conflicts;
use super::fault::Step;
use super::ranks::Ranks;
use super::rules::{Meeting, Rule, Verdict};
use super::table::Table;
use super::withdraw::{self, Withdrawal};
use crate::model::change::Write;
use crate::model::{Area, Counts, Day, Error, Instant, KeyRange, Keys, Quarantined, RowsChange, Securities};
use crate::store::ledger::overlap;

/// A change with what the commit adds to it.
pub(super) struct Work<'a> {
    pub(super) change: &'a RowsChange,
    pub(super) counts: Counts,
    /// Rows that the store itself refused.
    pub(super) refused: Vec<Quarantined>,
    /// Rows that wait beside the stored ones.
    pub(super) conflicting: Vec<conflicts::Offer>,
}

/// Writes all changes of one dataset, ending as if they had been applied one after the other.
pub(super) fn write(
    connection: &Connection,
    table: &Table,
    works: &mut [Work],
    ranks: &mut Ranks,
    now: Instant,
) -> Step<()> {
    let mut rest = works;
    while !rest.is_empty() {
        let count = together(table, rest);
        let (these, later) = rest.split_at_mut(count);
        let mut days = Days::default();
        match these {
            [work] if work.change.write == Write::Withdraw => {
                let (change, seq) = (work.change, work.counts.seq);
                work.counts.withdrawn += withdraw::by_key(connection, table, change, seq, &mut days)?;
            }
            these => Pass::new(connection, table, these, now)?.run(ranks, &mut days)?,
        }
        days.store(connection, table.name())?;
        rest = later;
    }
    Ok(())
}

/// How many of the first changes can share a pass: their areas do not overlap and keys cannot move between them.
fn together(table: &Table, works: &[Work]) -> usize {
    let alone = |work: &Work| work.change.write == Write::Withdraw || !table.key_names_area(&work.change.area);
    if works.first().is_none_or(alone) {
        return works.len().min(1);
    }
    let fits = |index: &usize| {
        let work = &works[*index];
        let overlaps = |other: &Work| overlap(&other.change.area, &work.change.area);
        !alone(work) && !works[..*index].iter().any(overlaps)
    };
    1 + (1..works.len()).take_while(fits).count()
}

/// How the numbers of rows by day change.
#[derive(Default)]
pub(super) struct Days(HashMap<Option<Day>, i64>);

impl Days {
    pub(super) fn add(&mut self, day: Option<Day>, rows: i64) {
        *self.0.entry(day).or_default() += rows;
    }

    fn store(&self, connection: &Connection, dataset: &str) -> Step<()> {
        let sorted: BTreeMap<_, _> = self.0.iter().filter(|(_, rows)| **rows != 0).collect();
        let mut add = connection.prepare_cached(
            "insert into _rows_by_day (dataset, day, rows) values (?1, ?2, max(?3, 0)) \
             on conflict (dataset, day) do update set rows = rows + ?3",
        )?;
        let mut clear =
            connection.prepare_cached("delete from _rows_by_day where dataset = ?1 and day = ?2 and rows = 0")?;
        for (day, rows) in sorted {
            let day = day.map(|day| day.to_string()).unwrap_or_default();
            add.execute((dataset, &day, rows))?;
            if *rows < 0 {
                clear.execute((dataset, &day))?;
            }
        }
        Ok(())
    }
}

/// One change within a pass.
struct Part<'p, 'a> {
    work: &'p mut Work<'a>,
    cells: Vec<Cells<'a>>,
    /// The area was empty: rows are inserted without looking.
    plain: bool,
    /// Every row lies in the area.
    all_inside: bool,
    /// Rows of the area that were stored before and are among the batch.
    matched: u64,
    /// Rows of the area before the pass, where they have to be known.
    stored: Option<u64>,
    /// A better source has written to this dataset.
    guarded: bool,
    /// Rows of its source wait for a person.
    waits: bool,
}

/// Where a row is, with its encoded key.
#[derive(Clone, Copy)]
struct RowRef {
    /// The first bytes of the key: they settle nearly every comparison.
    prefix: u128,
    key: u32,
    key_len: u32,
    part: u32,
    row: u32,
}

struct Pass<'p, 'a, 'c> {
    connection: &'c Connection,
    table: &'c Table,
    parts: Vec<Part<'p, 'a>>,
    rows: Vec<RowRef>,
    keys: Vec<u8>,
    statements: Open<'c>,
    /// When the commit happens.
    now: Instant,
}

/// The statements of a pass.
struct Open<'c> {
    insert: CachedStatement<'c>,
    lookup: CachedStatement<'c>,
    update: CachedStatement<'c>,
    fill: CachedStatement<'c>,
    supersede: CachedStatement<'c>,
}

/// A stored row compared with a new one.
struct Found {
    seq: i64,
    /// Every value is the same.
    equal: bool,
    /// Every value that the new row has is the same.
    equal_given: bool,
    /// The stored row lies in the area of the change.
    inside: bool,
    day: Option<Day>,
}

impl<'p, 'a, 'c> Pass<'p, 'a, 'c> {
    fn new(
        connection: &'c Connection,
        table: &'c Table,
        works: &'p mut [Work<'a>],
        now: Instant,
    ) -> Step<Pass<'p, 'a, 'c>> {
        let sql = &table.sql;
        let statements = Open {
            insert: connection.prepare_cached(&sql.insert)?,
            lookup: connection.prepare_cached(&sql.lookup)?,
            update: connection.prepare_cached(&sql.update)?,
            fill: connection.prepare_cached(&sql.fill)?,
            supersede: connection.prepare_cached(&sql.supersede)?,
        };
        let (parts, rows, keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut pass = Pass { connection, table, parts, rows, keys, statements, now };
        for work in works {
            pass.add(work)?;
        }
        pass.sort()?;
        Ok(pass)
    }

    fn add(&mut self, work: &'p mut Work<'a>) -> Step<()> {
        let change = work.change;
        let cells = self.table.cells(&change.batch)?;
        let refused = refused_rows(self.table, &cells);
        for (row, column) in &refused {
            work.refused.push(inexact(self.table, &cells, *row, *column));
        }
        let part = self.parts.len() as u32;
        let mut all_inside = true;
        for row in 0..change.batch.num_rows() {
            if !refused.is_empty() && refused.contains_key(&row) {
                continue;
            }
            all_inside &= self.row_inside(&change.area, &cells, row);
            let key = self.keys.len();
            self.table.key.iter().for_each(|index| cells[*index].encode(row, &mut self.keys));
            let prefix = prefix(&self.keys[key..]);
            let key_len = (self.keys.len() - key) as u32;
            self.rows.push(RowRef { prefix, key: key as u32, key_len, part, row: row as u32 });
        }
        if u32::try_from(self.keys.len()).is_err() {
            let error = Error::invalid(format!("too many rows for one commit of {}", self.table.name()));
            return Err(error.hint("commit fewer rows at a time").into());
        }
        let stored = match &change.write {
            Write::Replace => Some(self.table.rows_stored(self.connection, &change.area)?),
            Write::ReplaceKeys(range) => {
                self.check_keys(change, range)?;
                Some(self.table.rows_replaced(self.connection, change)?)
            }
            _ => None,
        };
        let empty = match stored {
            Some(stored) => stored == 0,
            None => !self.table.holds_rows(self.connection, &change.area)?,
        };
        let may_wait = matches!(change.write, Write::Manual | Write::NewerVersion { .. });
        let waits = may_wait && conflicts::any_open(self.connection, change)?;
        let plain = empty && all_inside && self.table.key_names_area(&change.area);
        self.parts.push(Part { work, cells, plain, all_inside, matched: 0, stored, guarded: false, waits });
        Ok(())
    }

    /// A row outside of the range that it replaces would be withdrawn by whoever replaces the next one.
    fn check_keys(&self, change: &RowsChange, range: &KeyRange) -> Step<()> {
        let keys = Keys::of(&self.table.dataset, &change.batch);
        for row in 0..change.batch.num_rows() {
            if !range.contains(&keys.get(row)?) {
                return Err(
                    Error::bug(format!("a row of {} lies outside of the replaced {range}", self.table.name())).into()
                );
            }
        }
        Ok(())
    }

    fn row_inside(&self, area: &Area, cells: &[Cells], row: usize) -> bool {
        let security = self.table.security.and_then(|index| cells[index].text(row));
        let day = self.table.time.and_then(|index| cells[index].day(row));
        inside(self.table, area, security, day)
    }

    fn key(&self, row: &RowRef) -> &[u8] {
        &self.keys[row.key as usize..(row.key + row.key_len) as usize]
    }

    /// Sorts by key; equal keys stay in the order of their changes.
    fn sort(&mut self) -> Step<()> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|one, other| {
            let order = one.prefix.cmp(&other.prefix);
            order.then_with(|| self.key(one).cmp(self.key(other))).then(one.part.cmp(&other.part))
        });
        let twice = |pair: &[RowRef]| {
            pair[0].prefix == pair[1].prefix && pair[0].part == pair[1].part && self.key(&pair[0]) == self.key(&pair[1])
        };
        if rows.windows(2).any(twice) {
            return Err(Error::bug(format!("a batch for {} holds a key twice", self.table.name())).into());
        }
        self.rows = rows;
        Ok(())
    }

    fn run(mut self, ranks: &mut Ranks, days: &mut Days) -> Step<()> {
        for part in &mut self.parts {
            part.guarded = ranks.better_than(self.connection, self.table.name(), part.work.change.rank)?;
        }
        for index in 0..self.rows.len() {
            let row = self.rows[index];
            let repeated = index > 0 && {
                let before = &self.rows[index - 1];
                before.prefix == row.prefix && self.key(before) == self.key(&row)
            };
            self.write_row(row, repeated, ranks, days)?;
        }
        self.withdraw(days)
    }

    fn write_row(&mut self, row: RowRef, repeated: bool, ranks: &mut Ranks, days: &mut Days) -> Step<()> {
        let part = &mut self.parts[row.part as usize];
        let at = row.row as usize;
        let day = self.table.time.and_then(|index| part.cells[index].day(at));
        if part.plain && !repeated {
            days.add(day, 1);
            return insert(&mut self.statements.insert, part, at);
        }
        let Some(found) = compare(&mut self.statements.lookup, self.table, part, at)? else {
            days.add(day, 1);
            return insert(&mut self.statements.insert, part, at);
        };
        part.matched += u64::from(found.inside);
        if let Some(rule) = Rule::of(part.work.change) {
            return self.write_by_rule(row, rule, &found, ranks, days);
        }
        let keeps_values = part.work.change.write == Write::Merge;
        if found.equal || (keeps_values && found.equal_given) {
            part.work.counts.unchanged += 1;
            return Ok(());
        }
        let guard = match part.guarded {
            true => self.guarded_columns(row, found.seq, ranks)?,
            false => None,
        };
        let part = &mut self.parts[row.part as usize];
        let changed = match &guard {
            Some(guard) => fill(&mut self.statements, self.table, part, at, guard)?,
            None => update(&mut self.statements, self.table, part, at)?,
        };
        if changed {
            part.work.counts.updated += 1;
            if day != found.day {
                days.add(found.day, -1);
                days.add(day, 1);
            }
        } else {
            part.work.counts.unchanged += 1;
        }
        Ok(())
    }

    /// Writes a row whose key is stored as `rule` says.
    fn write_by_rule(
        &mut self,
        row: RowRef,
        rule: Rule,
        found: &Found,
        ranks: &mut Ranks,
        days: &mut Days,
    ) -> Step<()> {
        let guard = match self.parts[row.part as usize].guarded && rule == Rule::Fields {
            true => self.guarded_columns(row, found.seq, ranks)?,
            false => None,
        };
        let part = &mut self.parts[row.part as usize];
        let at = row.row as usize;
        let meeting = Meeting {
            connection: self.connection,
            table: self.table,
            change: part.work.change,
            cells: &part.cells,
            row: at,
            guard: guard.as_deref(),
        };
        let verdict = meeting.decide(rule, &mut self.statements.lookup)?;
        match verdict {
            Verdict::Stays => {
                if part.waits {
                    conflicts::agree(self.connection, part.work.change, &meeting.offered(), self.now)?;
                }
                part.work.counts.unchanged += 1;
            }
            Verdict::IsOlder => part.work.counts.unchanged += 1,
            Verdict::Waits { stored } => {
                let offered = meeting.offered();
                if conflicts::decided(self.connection, part.work.change, &offered)? {
                    part.work.counts.unchanged += 1;
                } else {
                    part.work.conflicting.push(conflicts::Offer { stored, offered });
                }
            }
            Verdict::Becomes(values) => {
                if part.waits {
                    conflicts::agree(self.connection, part.work.change, &meeting.offered(), self.now)?;
                }
                update_to(&mut self.statements, self.table, part, at, &values)?;
                part.work.counts.updated += 1;
                let day = match self.table.time {
                    Some(time) if values[time].is_some() => found.day,
                    time => time.and_then(|index| part.cells[index].day(at)),
                };
                if day != found.day {
                    days.add(found.day, -1);
                    days.add(day, 1);
                }
            }
        }
        Ok(())
    }

    /// Which stored values a better source gave; `None` when it gave none.
    fn guarded_columns(&self, row: RowRef, seq: i64, ranks: &mut Ranks) -> Step<Option<Vec<bool>>> {
        let part = &self.parts[row.part as usize];
        let key: Vec<Cell> = self.table.key.iter().map(|index| part.cells[*index].get(row.row as usize)).collect();
        ranks.guarded_columns(self.connection, self.table, &key, seq, part.work.change.rank)
    }

    /// Rows of replaced areas that are not among the new ones become revisions.
    fn withdraw(&mut self, days: &mut Days) -> Step<()> {
        for index in 0..self.parts.len() {
            let part = &self.parts[index];
            if part.stored.is_none_or(|stored| stored <= part.matched) {
                continue;
            }
            let rows = self.rows.iter().filter(|row| row.part as usize == index).map(|row| row.row as usize);
            let withdrawal = Withdrawal {
                table: self.table,
                change: part.work.change,
                cells: &part.cells,
                guarded: part.guarded,
                seq: part.work.counts.seq,
            };
            let gone = withdrawal.run(self.connection, rows, days)?;
            self.parts[index].work.counts.withdrawn += gone;
        }
        Ok(())
    }
}

fn prefix(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let len = key.len().min(16);
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(bytes)
}

fn inside(table: &Table, area: &Area, security: Option<&str>, day: Option<Day>) -> bool {
    let security_fits = match &area.securities {
        Securities::Some(codes) if table.security.is_some() => security.is_some_and(|code| codes.contains(code)),
        _ => true,
    };
    let day_fits = table.time.is_none() || area.span.is_all() || day.is_some_and(|day| area.span.contains(day));
    security_fits && day_fits
}

fn refused_rows(table: &Table, cells: &[Cells]) -> BTreeMap<usize, usize> {
    let columns =
        (0..table.kinds.len()).flat_map(|index| cells[index].inexact_rows().into_iter().map(move |row| (row, index)));
    columns.collect()
}

fn inexact(table: &Table, cells: &[Cells], row: usize, column: usize) -> Quarantined {
    let columns = &table.dataset.columns;
    let values = columns.iter().zip(cells).map(|(column, cells)| (column.name.clone(), cells.json(row)));
    let name = &columns[column].name;
    Quarantined {
        rule: "exact_decimal".to_owned(),
        reason: format!("{name} has more than 15 digits; declare the column with `digits` above 15 to keep it exactly"),
        row: serde_json::Value::Object(values.collect()),
    }
}

fn bind_row(statement: &mut CachedStatement, part: &Part, row: usize) -> Step<()> {
    for (index, cells) in part.cells.iter().enumerate() {
        cells.bind(row, statement, index + 1)?;
    }
    Ok(statement.raw_bind_parameter(part.cells.len() + 1, part.work.counts.seq)?)
}

fn bind_key(statement: &mut CachedStatement, table: &Table, cells: &[Cells], row: usize) -> Step<()> {
    for (at, index) in table.key.iter().enumerate() {
        cells[*index].bind(row, statement, at + 1)?;
    }
    Ok(())
}

fn insert(statement: &mut CachedStatement, part: &mut Part, row: usize) -> Step<()> {
    bind_row(statement, part, row)?;
    statement.raw_execute()?;
    part.work.counts.inserted += 1;
    Ok(())
}

/// The stored row with the key of this one, compared with it.
fn compare(lookup: &mut CachedStatement, table: &Table, part: &Part, row: usize) -> Step<Option<Found>> {
    bind_key(lookup, table, &part.cells, row)?;
    let mut stored = lookup.raw_query();
    let Some(stored) = stored.next()? else { return Ok(None) };
    let (mut equal, mut equal_given) = (true, true);
    let lacks = &part.work.change.lacks;
    for (index, cells) in part.cells.iter().enumerate().filter(|(index, _)| !lacks.contains(index)) {
        if !cells.equals(row, stored.get_ref(index)?) {
            equal = false;
            equal_given &= cells.is_null(row);
        }
    }
    let text = |index: Option<usize>| index.map(|index| stored.get_ref(index)).transpose();
    let day = match text(table.time)? {
        Some(value) => value.as_str_or_null().ok().flatten().and_then(|text| day_from_text(text.as_bytes().get(..10)?)),
        None => None,
    };
    let area = &part.work.change.area;
    let inside = table.key_names_area(area) && part.all_inside || {
        let security = text(table.security)?.and_then(|value| value.as_str_or_null().ok().flatten());
        inside(table, area, security, day)
    };
    Ok(Some(Found { seq: stored.get(part.cells.len())?, equal, equal_given, inside, day }))
}

/// Keeps the old row as a revision and writes the new one; columns that the source lacks keep their values.
fn update(statements: &mut Open, table: &Table, part: &Part, row: usize) -> Step<bool> {
    let kept = match part.work.change.lacks.as_slice() {
        [] => Vec::new(),
        lacks => stored_values(&mut statements.lookup, table, part, row, lacks)?,
    };
    supersede(&mut statements.supersede, table, part, row)?;
    let statement = match part.work.change.write {
        Write::Merge => &mut statements.fill,
        _ => &mut statements.update,
    };
    bind_row(statement, part, row)?;
    for (index, value) in kept.iter().filter(|(index, _)| !table.key.contains(index)) {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    statement.raw_execute()?;
    Ok(true)
}

/// The stored values of the columns at `positions`, in the row with the key of this one.
fn stored_values(
    lookup: &mut CachedStatement,
    table: &Table,
    part: &Part,
    row: usize,
    positions: &[usize],
) -> Step<Vec<(usize, Value)>> {
    bind_key(lookup, table, &part.cells, row)?;
    let mut stored = lookup.raw_query();
    let Some(stored) = stored.next()? else { return Ok(Vec::new()) };
    let values = positions.iter().map(|index| Ok((*index, stored.get::<_, Value>(*index)?)));
    Ok(values.collect::<rusqlite::Result<_>>()?)
}

/// Keeps the old row as a revision and writes the new one with some values of the old.
fn update_to(
    statements: &mut Open,
    table: &Table,
    part: &Part,
    row: usize,
    values: &[Option<rusqlite::types::Value>],
) -> Step<()> {
    supersede(&mut statements.supersede, table, part, row)?;
    bind_row(&mut statements.update, part, row)?;
    for (index, value) in values.iter().enumerate().filter(|(index, _)| !table.key.contains(index)) {
        if let Some(value) = value {
            statements.update.raw_bind_parameter(index + 1, value)?;
        }
    }
    statements.update.raw_execute()?;
    Ok(())
}

/// Writes only what is given and not guarded. Whether that changed anything.
fn fill(statements: &mut Open, table: &Table, part: &Part, row: usize, guard: &[bool]) -> Step<bool> {
    if !differs_unguarded(&mut statements.lookup, table, part, row, guard)? {
        return Ok(false);
    }
    supersede(&mut statements.supersede, table, part, row)?;
    bind_row(&mut statements.fill, part, row)?;
    for index in (0..guard.len()).filter(|index| guard[*index] && !table.key.contains(index)) {
        statements.fill.raw_bind_parameter(index + 1, rusqlite::types::Null)?;
    }
    statements.fill.raw_execute()?;
    Ok(true)
}

fn differs_unguarded(
    lookup: &mut CachedStatement,
    table: &Table,
    part: &Part,
    row: usize,
    guard: &[bool],
) -> Step<bool> {
    bind_key(lookup, table, &part.cells, row)?;
    let mut stored = lookup.raw_query();
    let Some(stored) = stored.next()? else { return Ok(false) };
    for index in (0..guard.len()).filter(|index| !guard[*index]) {
        let cells = &part.cells[index];
        if !cells.is_null(row) && !cells.equals(row, stored.get_ref(index)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn supersede(statement: &mut CachedStatement, table: &Table, part: &Part, row: usize) -> Step<()> {
    bind_key(statement, table, &part.cells, row)?;
    statement.raw_bind_parameter(table.key.len() + 1, part.work.counts.seq)?;
    statement.raw_execute()?;
    Ok(())
}

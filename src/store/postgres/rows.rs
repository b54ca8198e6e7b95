//! Writing the rows of slices. New rows are encoded once; stored rows of the same keys are read as the server sends them
//! and compared byte for byte, so that unchanged rows cost neither staging nor decoding. What is new is copied straight
//! into its partitions, what differs is decided by the rules and merged through a staging table.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::RecordBatch;

use super::conflicts;
use super::connection::Session;
use super::copy::{copy_in, copy_out};
use super::decide::{Decider, Verdict};
use super::decode::{Building, integer_of};
use super::encode::{Cells, SEQ_BYTES, cells, encode_seq};
use super::fault::Step;
use super::index::Index;
use super::partitions::Partitions;
use super::stage;
use super::table::Table;
use super::values::SqlDay;
use super::withdraw;
use crate::model::change::Write;
use crate::model::{Area, Counts, Day, Error, Instant, Keys, Quarantined, Result, RowsChange, Securities, Span};
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

/// What writing needs besides the rows.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) session: &'a Session,
    pub(super) table: &'a Table,
    pub(super) partitions: &'a Partitions,
    /// When the commit happens.
    pub(super) now: Instant,
}

/// Writes all changes of one dataset, ending as if they had been applied one after the other.
pub(super) async fn write(place: Place<'_>, works: &mut [Work<'_>]) -> Step<()> {
    let mut parts = Vec::with_capacity(works.len());
    for work in works.iter_mut() {
        parts.push(Part::new(place.table, work)?);
    }
    let mut rest = &mut parts[..];
    while !rest.is_empty() {
        let (these, later) = rest.split_at_mut(together(rest));
        Pass { place, parts: these, days: Days::default() }.run().await?;
        rest = later;
    }
    Ok(())
}

/// How many of the first changes can share a pass: their areas do not overlap and keys cannot move between them.
fn together(parts: &[Part]) -> usize {
    if parts.first().is_none_or(|part| !part.simple) {
        return parts.len().min(1);
    }
    let fits = |index: &usize| {
        let part = &parts[*index];
        let overlaps = |other: &Part| overlap(&other.work.change.area, &part.work.change.area);
        part.simple && !parts[..*index].iter().any(overlaps)
    };
    1 + (1..parts.len()).take_while(fits).count()
}

/// How the numbers of rows by day change.
#[derive(Default)]
pub(super) struct Days(HashMap<Option<Day>, i64>);

impl Days {
    pub(super) fn add(&mut self, day: Option<Day>, rows: i64) {
        *self.0.entry(day).or_default() += rows;
    }

    async fn store(&self, session: &Session, dataset: &str) -> Step<()> {
        let sorted: BTreeMap<_, _> = self.0.iter().filter(|(_, rows)| **rows != 0).collect();
        if sorted.is_empty() {
            return Ok(());
        }
        let days: Vec<SqlDay> = sorted.keys().map(|day| SqlDay(**day)).collect();
        let rows: Vec<i64> = sorted.values().map(|rows| **rows).collect();
        let changed = "select * from unnest($2::date[], $3::bigint[]) as changed (day, rows)";
        let update = format!(
            "update _rows_by_day as stored set rows = stored.rows + changed.rows from ({changed}) as changed \
             where stored.dataset = $1 and stored.day = changed.day returning stored.day, stored.rows"
        );
        let known = session.query(&update, &[&dataset, &days, &rows]).await?;
        let mut known_days = BTreeSet::new();
        let mut empty = false;
        for row in &known {
            known_days.insert(row.try_get::<_, SqlDay>(0)?.0);
            empty |= row.try_get::<_, i64>(1)? == 0;
        }
        let new = || sorted.iter().filter(|(day, rows)| ***rows > 0 && !known_days.contains(*day));
        let days: Vec<SqlDay> = new().map(|(day, _)| SqlDay(**day)).collect();
        let rows: Vec<i64> = new().map(|(_, rows)| **rows).collect();
        if !days.is_empty() {
            let insert = format!(
                "insert into _rows_by_day (dataset, day, rows) select $1, day, rows from ({changed}) as changed"
            );
            session.execute(&insert, &[&dataset, &days, &rows]).await?;
        }
        if empty {
            session.execute("delete from _rows_by_day where dataset = $1 and rows = 0", &[&dataset]).await?;
        }
        Ok(())
    }
}

/// An encoded row of a change.
pub(super) struct Encoded {
    at: usize,
    len: u32,
    /// Its position in the batch.
    pub(super) row: u32,
    /// A row with its key is stored.
    matched: bool,
}

/// One change within a pass.
pub(super) struct Part<'p, 'a> {
    pub(super) work: &'p mut Work<'a>,
    pub(super) cells: Vec<Cells<'a>>,
    bytes: Vec<u8>,
    rows: Vec<Encoded>,
    /// Every row lies in the area, and so does every stored row with one of the keys.
    simple: bool,
    /// Stored rows of the area that are among the batch.
    matched: u64,
    /// Rows of the area before the pass, where they have to be known.
    stored: Option<u64>,
    /// A better source has written to this dataset.
    pub(super) guarded: bool,
    /// Rows of its source wait for a person.
    waits: bool,
}

impl<'p, 'a> Part<'p, 'a> {
    fn new(table: &Table, work: &'p mut Work<'a>) -> Step<Part<'p, 'a>> {
        let change = work.change;
        let cells = cells(table, &change.batch)?;
        check_keys(table, change)?;
        let refused = refused_rows(&cells);
        for (row, column) in &refused {
            work.refused.push(refusal(table, &cells, *row, *column));
        }
        let count = change.batch.num_rows();
        let mut bytes = Vec::with_capacity(count * (16 + 14 * cells.len()));
        let mut rows = Vec::with_capacity(count);
        let mut simple = change.write != Write::Withdraw && table.key_names_area(&change.area);
        let fields = (cells.len() as i16 + 1).to_be_bytes();
        for row in (0..count).filter(|row| refused.is_empty() || !refused.contains_key(row)) {
            simple = simple && inside(table, &change.area, &cells, row);
            let at = bytes.len();
            bytes.extend_from_slice(&fields);
            cells.iter().for_each(|cells| cells.encode(row, &mut bytes));
            encode_seq(work.counts.seq, &mut bytes);
            rows.push(Encoded { at, len: (bytes.len() - at) as u32, row: row as u32, matched: false });
        }
        let (matched, stored) = (0, None);
        Ok(Part { work, cells, bytes, rows, simple, matched, stored, guarded: false, waits: false })
    }

    fn bytes_of(&self, encoded: &Encoded) -> &[u8] {
        &self.bytes[encoded.at..encoded.at + encoded.len as usize]
    }

    /// Every row as it is sent.
    pub(super) fn encoded(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|encoded| self.bytes_of(encoded))
    }

    fn day(&self, table: &Table, row: usize) -> Option<Day> {
        table.time.and_then(|index| self.cells[index].day(row))
    }

    async fn look_around(&mut self, place: Place<'_>) -> Step<()> {
        let Place { session, table, .. } = place;
        let change = self.work.change;
        let better = "select exists (select 1 from _commit where dataset = $1 and rank < $2)";
        let row = session.query_one(better, &[&table.name(), &i16::from(change.rank)]).await?;
        self.guarded = row.try_get(0)?;
        let may_wait = matches!(change.write, Write::Manual | Write::NewerVersion { .. });
        self.waits = may_wait && conflicts::any_open(session, change).await?;
        if self.simple || matches!(change.write, Write::Replace | Write::ReplaceKeys(_)) {
            // Days without rows of anybody have none of one security.
            let nothing = table.rows_counted(session, change.area.span).await? == 0;
            self.stored = Some(if nothing { 0 } else { table.rows_stored(session, &change.area).await? });
        }
        Ok(())
    }

    /// The area holds nothing: rows are copied without looking.
    fn plain(&self) -> bool {
        self.simple && self.stored == Some(0)
    }
}

/// A row outside of the range that it replaces would be withdrawn by whoever replaces the next one.
fn check_keys(table: &Table, change: &RowsChange) -> Result<()> {
    let Write::ReplaceKeys(range) = &change.write else { return Ok(()) };
    let keys = Keys::of(&table.dataset, &change.batch);
    for row in 0..change.batch.num_rows() {
        if !range.contains(&keys.get(row)?) {
            return Err(Error::bug(format!("a row of {} lies outside of the replaced {range}", table.name())));
        }
    }
    Ok(())
}

/// Whether a row lies in the area.
fn inside(table: &Table, area: &Area, cells: &[Cells], row: usize) -> bool {
    let security_fits = match (&area.securities, table.security) {
        (Securities::Some(codes), Some(index)) => cells[index].text(row).is_some_and(|code| codes.contains(code)),
        _ => true,
    };
    let day_fits = match table.time {
        Some(index) if !area.span.is_all() => cells[index].day(row).is_some_and(|day| area.span.contains(day)),
        _ => true,
    };
    security_fits && day_fits
}

fn refused_rows(cells: &[Cells]) -> BTreeMap<usize, usize> {
    let columns = cells.iter().enumerate();
    columns.flat_map(|(index, cells)| cells.refused_rows().into_iter().map(move |row| (row, index))).collect()
}

fn refusal(table: &Table, cells: &[Cells], row: usize, column: usize) -> Quarantined {
    let columns = &table.dataset.columns;
    let values = columns.iter().zip(cells).map(|(column, cells)| (column.name.clone(), cells.json(row)));
    let name = &columns[column].name;
    let (rule, reason) = match cells[column] {
        Cells::Text(_) => ("text_without_nul", format!("{name} holds a zero byte, which PostgreSQL cannot keep")),
        _ => (
            "exact_decimal",
            format!("{name} has more than 15 digits; declare the column with `digits` above 15 to keep it exactly"),
        ),
    };
    Quarantined { rule: rule.to_owned(), reason, row: serde_json::Value::Object(values.collect()) }
}

/// A stored row that differs from the new one with its key.
struct Differing {
    part: usize,
    row: usize,
    seq: i64,
}

struct Pass<'s, 'p, 'a> {
    place: Place<'s>,
    parts: &'s mut [Part<'p, 'a>],
    days: Days,
}

/// Rows beside those asked for that may be read along, as a multiple and a number.
const READ_ALONG: (u64, u64) = (4, 10_000);

impl Pass<'_, '_, '_> {
    async fn run(mut self) -> Step<()> {
        for part in self.parts.iter_mut() {
            part.look_around(self.place).await?;
        }
        if let [part] = &mut *self.parts
            && part.work.change.write == Write::Withdraw
        {
            part.work.counts.withdrawn += withdraw::by_key(self.place, part, &mut self.days).await?;
            return self.days.store(self.place.session, self.place.table.name()).await;
        }
        let index = self.index()?;
        let (differing, old) = self.compare(&index).await?;
        let staged = self.settle(differing, old).await?;
        self.insert().await?;
        if !staged.is_empty() {
            stage::merge(self.place, &staged).await?;
        }
        self.withdraw().await?;
        self.days.store(self.place.session, self.place.table.name()).await
    }

    /// Every row by its key; a key twice in one change is a mistake of the caller.
    fn index(&self) -> Step<Index> {
        let table = self.place.table;
        let mut index = Index::new(table, self.parts.iter().map(|part| part.rows.len()).sum());
        for (number, part) in self.parts.iter().enumerate() {
            for (row, encoded) in part.rows.iter().enumerate() {
                let known = |(part, row): (u32, u32)| self.bytes_of(part, row);
                if !index.insert(part.bytes_of(encoded), (number as u32, row as u32), known) {
                    return Err(Error::bug(format!("a batch for {} holds a key twice", table.name())).into());
                }
            }
        }
        Ok(index)
    }

    fn bytes_of(&self, part: u32, row: u32) -> &[u8] {
        let part = &self.parts[part as usize];
        part.bytes_of(&part.rows[row as usize])
    }

    /// Reads the stored rows that may have keys of the new ones; those that differ come back decoded.
    async fn compare(&mut self, index: &Index) -> Step<(Vec<Differing>, RecordBatch)> {
        let Place { session, table, now, .. } = self.place;
        let all: Vec<usize> = (0..table.kinds.len()).collect();
        let mut old = Building::new(table, &all, table.dataset.schema());
        let Some(question) = self.question().await? else { return Ok((Vec::new(), old.finish()?)) };
        let (mut differing, mut found) = (Vec::new(), Vec::new());
        copy_out(session, &question, |stored| {
            let known = |(part, row): (u32, u32)| self.bytes_of(part, row);
            let Some((part, row)) = index.find(stored, known) else { return Ok(()) };
            let new = self.bytes_of(part, row);
            let (values, seq) = stored.split_at(stored.len().saturating_sub(SEQ_BYTES));
            let same = new[..new.len() - SEQ_BYTES] == *values;
            found.push((part, row, same));
            if !same {
                let seq = integer_of(seq).ok_or_else(|| Error::bug("a stored row ends without its commit"))?;
                differing.push(Differing { part: part as usize, row: row as usize, seq });
                old.append(stored)?;
            }
            Ok(())
        })
        .await?;
        let mut agreed = Vec::new();
        for (part, row, same) in found {
            let part = &mut self.parts[part as usize];
            part.rows[row as usize].matched = true;
            let at = part.rows[row as usize].row as usize;
            if same {
                part.matched += u64::from(part.simple || inside(table, &part.work.change.area, &part.cells, at));
                part.work.counts.unchanged += 1;
                if part.waits {
                    agreed.push((part.work.change, offered(table, part.work.change, &part.cells, at)));
                }
            }
        }
        for (change, offered) in agreed {
            conflicts::agree(session, change, &offered, now).await?;
        }
        Ok((differing, old.finish()?))
    }

    /// The question for the stored rows; `None` when there are none that could matter.
    async fn question(&self) -> Step<Option<String>> {
        let Place { session, table, .. } = self.place;
        let looking = || self.parts.iter().filter(|part| !part.plain() && !part.rows.is_empty());
        let rows: u64 = looking().map(|part| part.rows.len() as u64).sum();
        if rows == 0 {
            return Ok(None);
        }
        let name = table.quoted_name();
        if looking().all(|part| part.simple) {
            let hull = hull(looking().map(|part| &part.work.change.area));
            let stored = match hull.securities {
                Securities::All => table.rows_counted(session, hull.span).await?,
                Securities::Some(_) => looking().filter_map(|part| part.stored).sum(),
            };
            if stored <= rows * READ_ALONG.0 + READ_ALONG.1 {
                let condition = table.in_area("stored", &hull);
                return Ok(Some(format!("select {}, _seq from {name} as stored where {condition}", table.columns)));
            }
        }
        let encoded = looking().flat_map(|part| part.encoded());
        stage::keys(session, table, "_keys", encoded.enumerate().map(|(row, bytes)| (row as i64, bytes))).await?;
        let days = looking().flat_map(|part| part.rows.iter().map(|row| part.day(table, row.row as usize)));
        let (same, near) = (table.same_key("stored", "given"), table.near("stored", days));
        let columns = table.columns_of("stored");
        Ok(Some(format!(
            "select {columns}, stored._seq from pg_temp._keys as given join {name} as stored on {same} where {near}"
        )))
    }

    /// Decides about every differing row; the rows to be written in place of stored ones come back encoded.
    async fn settle(&mut self, differing: Vec<Differing>, old: RecordBatch) -> Step<Vec<Vec<u8>>> {
        let Place { session, table, .. } = self.place;
        if differing.is_empty() {
            return Ok(Vec::new());
        }
        let old = cells(table, &old)?;
        let seqs: Vec<i64> = differing.iter().map(|row| row.seq).collect();
        let writers = stage::writers(session, table, seqs).await?;
        let mut staged = Vec::new();
        for number in 0..self.parts.len() {
            let own = || differing.iter().enumerate().filter(|(_, row)| row.part == number);
            let given = own().map(|(at, row)| (at, self.bytes_of(number as u32, row.row as u32), row.seq));
            let part = &self.parts[number];
            let guards =
                Decider::guards(session, table, part.work.change, part.guarded, given.collect(), &old, &writers);
            let guards = guards.await?;
            for (at, row) in own() {
                let part = &mut self.parts[number];
                let new = part.rows[row.row].row as usize;
                let change = part.work.change;
                part.matched += u64::from(part.simple || inside(table, &change.area, &old, at));
                let writer = writers.get(&row.seq);
                let guard = guards.get(&at).map(Vec::as_slice);
                let decider = Decider { table, change, new: (&part.cells, new), old: (&old, at), guard, writer };
                match decider.decide() {
                    Verdict::Stays => {
                        part.work.counts.unchanged += 1;
                        if part.waits {
                            let offered = offered(table, change, &part.cells, new);
                            conflicts::agree(session, change, &offered, self.place.now).await?;
                        }
                    }
                    Verdict::IsOlder => part.work.counts.unchanged += 1,
                    Verdict::Waits => {
                        let offered = offered(table, change, &part.cells, new);
                        if conflicts::decided(session, change, &offered).await? {
                            part.work.counts.unchanged += 1;
                        } else {
                            let stored = offered_whole(table, &old, at);
                            part.work.conflicting.push(conflicts::Offer { stored, offered });
                        }
                    }
                    Verdict::Becomes(takes) => {
                        if part.waits {
                            let offered = offered(table, change, &part.cells, new);
                            conflicts::agree(session, change, &offered, self.place.now).await?;
                        }
                        staged.push(decider.encoded(&takes, part.work.counts.seq));
                        part.work.counts.updated += 1;
                        if let Some(time) = table.time.filter(|time| takes[*time]) {
                            self.days.add(old[time].day(at), -1);
                            self.days.add(part.cells[time].day(new), 1);
                        }
                    }
                }
            }
        }
        Ok(staged)
    }

    /// Copies every row whose key is not stored into the table, in the order of partitions and keys.
    async fn insert(&mut self) -> Step<()> {
        let Place { session, table, partitions, .. } = self.place;
        let mut new = Vec::new();
        let mut starts = BTreeSet::new();
        let mut last: Option<(Day, Day)> = None;
        for (number, part) in self.parts.iter_mut().enumerate() {
            for (row, encoded) in part.rows.iter().enumerate().filter(|(_, encoded)| !encoded.matched) {
                let day = table.time.and_then(|index| part.cells[index].day(encoded.row as usize));
                self.days.add(day, 1);
                part.work.counts.inserted += 1;
                let start = match (table.stretch, day, last) {
                    (None, ..) | (_, None, _) => Day::MIN,
                    (Some(_), Some(day), Some((known, start))) if known == day => start,
                    (Some(stretch), Some(day), _) => stretch.around(day).from,
                };
                if let Some(day) = day {
                    last = Some((day, start));
                }
                starts.insert(start);
                new.push((start, number as u32, row as u32));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        if table.stretch.is_some() {
            partitions.make(session, table, &starts).await?;
        }
        let keys = super::index::KeyShape::of(table);
        new.sort_by(|one, other| {
            let key = |(_, part, row): &(Day, u32, u32)| keys.leading(self.bytes_of(*part, *row));
            one.0.cmp(&other.0).then_with(|| key(one).cmp(key(other)))
        });
        let target = format!("{} ({}, _seq)", table.quoted_name(), table.columns);
        copy_in(session, &target, new.iter().map(|(_, part, row)| self.bytes_of(*part, *row))).await?;
        Ok(())
    }

    /// Rows of replaced areas that are not among the new ones become revisions.
    async fn withdraw(&mut self) -> Step<()> {
        for part in self.parts.iter_mut() {
            let replaces = matches!(part.work.change.write, Write::Replace | Write::ReplaceKeys(_));
            if !replaces || part.stored.is_none_or(|stored| stored <= part.matched) {
                continue;
            }
            part.work.counts.withdrawn += withdraw::run(self.place, part, &mut self.days).await?;
        }
        Ok(())
    }
}

/// The smallest area that holds all of them.
fn hull<'a>(areas: impl Iterator<Item = &'a Area>) -> Area {
    let mut hull: Option<Area> = None;
    for area in areas {
        let Some(known) = &mut hull else {
            hull = Some(area.clone());
            continue;
        };
        known.span = Span::new(known.span.from.min(area.span.from), known.span.to.max(area.span.to));
        known.securities = match (&known.securities, &area.securities) {
            (Securities::Some(one), Securities::Some(other)) => Securities::Some(one.union(other).cloned().collect()),
            _ => Securities::All,
        };
    }
    hull.unwrap_or_else(Area::whole)
}

/// A row as JSON, without what its source does not have or only notes.
fn offered(table: &Table, change: &RowsChange, cells: &[Cells], row: usize) -> serde_json::Value {
    let columns = table.dataset.columns.iter().enumerate();
    let noted: &[usize] = if let Write::NewerVersion { noted, .. } = &change.write { noted } else { &[] };
    let has = columns.filter(|(index, _)| change.lacks.binary_search(index).is_err() && !noted.contains(index));
    serde_json::Value::Object(has.map(|(index, column)| (column.name.clone(), cells[index].json(row))).collect())
}

fn offered_whole(table: &Table, cells: &[Cells], row: usize) -> serde_json::Value {
    let columns = table.dataset.columns.iter().zip(cells);
    serde_json::Value::Object(columns.map(|(column, cells)| (column.name.clone(), cells.json(row))).collect())
}

//! Withdrawing: stored rows of a replaced area that the source no longer has, and rows that are named, become revisions.

use rusqlite::{Connection, params_from_iter};

use super::cells::{Cells, day_from_text};
use super::fault::Step;
use super::rows::Days;
use super::table::{Condition, Table, quoted, revision_name};
use crate::model::RowsChange;

/// A replaced area and who replaces it.
pub(super) struct Withdrawal<'a> {
    pub(super) table: &'a Table,
    pub(super) change: &'a RowsChange,
    pub(super) cells: &'a [Cells<'a>],
    /// A better source has written to this dataset: its rows stay.
    pub(super) guarded: bool,
    pub(super) seq: i64,
}

impl Withdrawal<'_> {
    /// Moves the rows of the area whose keys are not among `rows` to the revisions. The kept keys go through a
    /// temporary table, so that memory stays bounded however much is withdrawn.
    pub(super) fn run(&self, connection: &Connection, rows: impl Iterator<Item = usize>, days: &mut Days) -> Step<u64> {
        let table = self.table;
        keep_keys(connection, table, self.cells, rows)?;
        let gone = gone(table, self.change, self.guarded);
        if table.time.is_some() {
            count_days(connection, table, &gone, days)?;
        }
        self.copy(connection, &gone)?;
        let delete = format!("delete from {} as stored{}", quoted(table.name()), gone.clause());
        let count = connection.execute(&delete, params_from_iter(&gone.values))? as u64;
        if table.time.is_none() {
            days.add(None, -(count as i64));
        }
        connection.execute(&format!("delete from {}", kept_name(table)), ())?;
        Ok(count)
    }

    fn copy(&self, connection: &Connection, gone: &Condition) -> Step<()> {
        let table = self.table;
        let names: Vec<String> = table.dataset.columns.iter().map(|column| quoted(&column.name)).collect();
        let stored = names.iter().map(|name| format!("stored.{name}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "insert into {revision} ({names}, _seq, _ended_seq, _ended) \
             select {stored}, stored._seq, {seq}, 'withdrawn' from {name} as stored{clause}",
            revision = quoted(&revision_name(table.name())),
            names = names.join(", "),
            seq = self.seq,
            name = quoted(table.name()),
            clause = gone.clause(),
        );
        connection.execute(&sql, params_from_iter(&gone.values))?;
        Ok(())
    }
}

/// Moves the rows with the keys of a change to the revisions.
pub(super) fn by_key(
    connection: &Connection,
    table: &Table,
    change: &RowsChange,
    seq: i64,
    days: &mut Days,
) -> Step<u64> {
    let cells = table.cells(&change.batch)?;
    let same = table.dataset.key.iter().enumerate().map(|(at, name)| format!("{} = ?{}", quoted(name), at + 1));
    let same = same.collect::<Vec<_>>().join(" and ");
    let names = table.dataset.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
    let (name, revision) = (quoted(table.name()), quoted(&revision_name(table.name())));
    let mut keep = connection.prepare_cached(&format!(
        "insert into {revision} ({names}, _seq, _ended_seq, _ended) \
         select {names}, _seq, ?{ended}, 'withdrawn' from {name} where {same}",
        ended = table.key.len() + 1,
    ))?;
    let day = table.dataset.time.as_ref().map_or("null".to_owned(), |time| format!("substr({}, 1, 10)", quoted(time)));
    let mut remove = connection.prepare_cached(&format!("delete from {name} where {same} returning {day}"))?;
    let mut count = 0;
    for row in 0..change.batch.num_rows() {
        for (at, index) in table.key.iter().enumerate() {
            cells[*index].bind(row, &mut keep, at + 1)?;
            cells[*index].bind(row, &mut remove, at + 1)?;
        }
        keep.raw_bind_parameter(table.key.len() + 1, seq)?;
        keep.raw_execute()?;
        let mut gone = remove.raw_query();
        while let Some(gone) = gone.next()? {
            let day = gone.get_ref(0)?.as_str_or_null().ok().flatten();
            days.add(day.and_then(|text| day_from_text(text.as_bytes())), -1);
            count += 1;
        }
    }
    Ok(count)
}

fn kept_name(table: &Table) -> String {
    format!("temp.{}", quoted(&format!("_kept_{}", table.name())))
}

fn keep_keys(connection: &Connection, table: &Table, cells: &[Cells], rows: impl Iterator<Item = usize>) -> Step<()> {
    let kept = kept_name(table);
    let line = |index: &usize| {
        format!("{} {} not null, ", quoted(&table.dataset.columns[*index].name), table.kinds[*index].declared())
    };
    let columns: String = table.key.iter().map(line).collect();
    let key = table.dataset.key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    connection
        .execute_batch(&format!("create table if not exists {kept} ({columns}primary key ({key})) without rowid"))?;
    connection.execute(&format!("delete from {kept}"), ())?;
    let parameters = vec!["?"; table.key.len()].join(", ");
    let mut insert = connection.prepare(&format!("insert into {kept} values ({parameters})"))?;
    for row in rows {
        for (at, index) in table.key.iter().enumerate() {
            cells[*index].bind(row, &mut insert, at + 1)?;
        }
        insert.raw_execute()?;
    }
    Ok(())
}

fn gone(table: &Table, change: &RowsChange, guarded: bool) -> Condition {
    let mut condition = table.replaced(change);
    let same = |other: &str| {
        let equal = table.dataset.key.iter().map(|name| format!("{other}.{0} = stored.{0}", quoted(name)));
        equal.collect::<Vec<_>>().join(" and ")
    };
    condition.and(&format!("not exists (select 1 from {} as kept where {})", kept_name(table), same("kept")), []);
    if guarded {
        let (rank, same, revision) = (change.rank, same("old"), quoted(&revision_name(table.name())));
        condition.and(&format!("coalesce((select rank from _commit where seq = stored._seq), 255) >= {rank}"), []);
        // A better source's row in which a worse one has only filled gaps.
        let given = format!(
            "select 1 from {revision} as old where {same} and old._ended_seq > coalesce( \
             (select max(_ended_seq) from {revision} as old where {same} and _ended = 'withdrawn'), 0) \
             and (select rank from _commit where seq = old._seq) < {rank}"
        );
        condition.and(&format!("not exists ({given})"), []);
    }
    condition
}

fn count_days(connection: &Connection, table: &Table, gone: &Condition, days: &mut Days) -> Step<()> {
    let Some(time) = &table.dataset.time else { return Ok(()) };
    let day = format!("substr(stored.{}, 1, 10)", quoted(time));
    let sql = format!("select {day}, count(*) from {} as stored{} group by 1", quoted(table.name()), gone.clause());
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&gone.values))?;
    while let Some(row) = rows.next()? {
        let day = row.get_ref(0)?.as_str_or_null().ok().flatten().and_then(|text| day_from_text(text.as_bytes()));
        let count: i64 = row.get(1)?;
        days.add(day, -count);
    }
    Ok(())
}

//! Withdrawing: stored rows of a replaced area that the source no longer has become revisions.

use rusqlite::{Connection, params_from_iter};

use super::cells::{Cells, day_from_text};
use super::fault::Step;
use super::rows::Days;
use super::table::{Condition, Table, quoted, revision_name};
use crate::model::RowsChange;

/// Moves the rows of the area whose keys are not among `rows` to the revisions. Rows of a better source stay.
/// The kept keys go through a temporary table, so that memory stays bounded however much is withdrawn.
pub(super) fn withdraw(
    connection: &Connection,
    table: &Table,
    change: &RowsChange,
    cells: &[Cells],
    rows: impl Iterator<Item = usize>,
    seq: i64,
    days: &mut Days,
) -> Step<u64> {
    keep_keys(connection, table, cells, rows)?;
    let gone = gone(table, change);
    if table.time.is_some() {
        count_days(connection, table, &gone, days)?;
    }
    let columns: String =
        table.dataset.columns.iter().map(|column| format!("stored.{}, ", quoted(&column.name))).collect();
    let names: String = table.dataset.columns.iter().map(|column| format!("{}, ", quoted(&column.name))).collect();
    let name = quoted(table.name());
    let copy = format!(
        "insert into {} ({names}_seq, _ended_seq, _ended) select {columns}stored._seq, {seq}, 'withdrawn' \
         from {name} as stored{}",
        quoted(&revision_name(table.name())),
        gone.clause()
    );
    connection.execute(&copy, params_from_iter(&gone.values))?;
    let delete = format!("delete from {name} as stored{}", gone.clause());
    let count = connection.execute(&delete, params_from_iter(&gone.values))? as u64;
    if table.time.is_none() {
        days.add(None, -(count as i64));
    }
    connection.execute(&format!("delete from {}", kept_name(table)), ())?;
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
            insert.raw_bind_parameter(at + 1, cells[*index].get(row))?;
        }
        insert.raw_execute()?;
    }
    Ok(())
}

fn gone(table: &Table, change: &RowsChange) -> Condition {
    let mut condition = table.in_area(&change.area);
    let same = table.dataset.key.iter().map(|name| format!("kept.{0} = stored.{0}", quoted(name)));
    let same = same.collect::<Vec<_>>().join(" and ");
    condition.and(&format!("not exists (select 1 from {} as kept where {same})", kept_name(table)), []);
    let rank = change.rank;
    condition.and(&format!("coalesce((select rank from _commit where seq = stored._seq), 255) >= {rank}"), []);
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

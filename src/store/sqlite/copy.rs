//! Copying: everything that a store holds, read as of one moment, and written into an empty store.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, RecordBatch};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::commit::Tables;
use super::fault::Step;
use super::scan::Builder;
use super::table::{Table, quoted, revision_name};
use crate::model::copy::{Field, Kind, LEDGER, LedgerTable, Part, Piece, Record, canonical, schema};
use crate::model::{Error, Instant};

/// There while a copy into the store is under way, or after it broke off.
const MARK: &str = "_copying";

/// Where the copy comes from, if one has not been finished.
pub(super) fn unfinished(connection: &Connection) -> Step<Option<String>> {
    let there = "select 1 from sqlite_master where type = 'table' and name = ?1";
    if connection.query_row(there, [MARK], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    Ok(Some(connection.query_row(&format!("select source from {MARK}"), (), |row| row.get(0))?))
}

/// Half a store is none.
pub(super) fn check_whole(connection: &Connection) -> Step<()> {
    let Some(source) = unfinished(connection)? else { return Ok(()) };
    let error = Error::conflict(format!("a copy of {source} into this store broke off"));
    Err(error.hint("start it again: `tidegate migrate --from ... --to ...` begins anew; or remove the store").into())
}

/// Marks an empty store, or one whose copy broke off and which is emptied first, as being copied into.
pub(super) fn begin(connection: &Connection, tables: &Tables, source: &str, now: Instant) -> Step<()> {
    if unfinished(connection)?.is_some() {
        for table in tables.values() {
            connection.execute_batch(&format!("delete from {}", quoted(table.name())))?;
            connection.execute_batch(&format!("delete from {}", quoted(&revision_name(table.name()))))?;
        }
        for table in LEDGER {
            connection.execute_batch(&format!("delete from {}", table.name))?;
        }
        connection.execute_batch(&format!("delete from _place; drop table {MARK}"))?;
    }
    for table in LEDGER {
        let any = format!("select 1 from {} limit 1", table.name);
        if connection.query_row(&any, (), |_| Ok(())).optional()?.is_some() {
            let error = Error::conflict("the store to copy into is not empty");
            return Err(error.hint("name a file that does not exist yet").into());
        }
    }
    connection.execute_batch(&format!("create table {MARK} (source text not null, at text not null)"))?;
    connection.execute(&format!("insert into {MARK} values (?1, ?2)"), (source, now.to_string()))?;
    Ok(())
}

/// The copy is complete: the store is one like any other.
pub(super) fn end(connection: &Connection) -> Step<()> {
    check_under_way(connection)?;
    Ok(connection.execute_batch(&format!("drop table {MARK}"))?)
}

fn check_under_way(connection: &Connection) -> Step<()> {
    match unfinished(connection)? {
        Some(_) => Ok(()),
        None => Err(Error::bug("a piece of a copy that has not begun").into()),
    }
}

pub(super) fn write(connection: &Connection, tables: &Tables, piece: &Piece) -> Step<()> {
    check_under_way(connection)?;
    match piece {
        Piece::Records { table, records } => write_records(connection, table, records),
        Piece::Rows { dataset, part, batch } => {
            let missing = || Error::not_found(format!("the store has no table {}", dataset.name));
            write_rows(connection, tables.get(&dataset.name).ok_or_else(missing)?, *part, batch)
        }
    }
}

fn write_records(connection: &Connection, table: &LedgerTable, records: &[Record]) -> Step<()> {
    let parameters = table.columns.iter().map(|(_, kind)| if *kind == Kind::Bytes { "unhex(?)" } else { "?" });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let sql = format!("insert into {} ({}) values ({parameters})", table.name, table.names());
    let mut statement = connection.prepare_cached(&sql)?;
    let value = |field: &Option<Field>| match field {
        None => Value::Null,
        Some(Field::Int(value)) => Value::Integer(*value),
        Some(Field::Text(text)) => Value::Text(text.clone()),
    };
    for record in records {
        statement.execute(params_from_iter(record.iter().map(value)))?;
    }
    Ok(())
}

fn write_rows(connection: &Connection, table: &Table, part: Part, batch: &RecordBatch) -> Step<()> {
    let width = table.dataset.columns.len();
    let columns: Vec<usize> = (0..width).collect();
    let own = batch.project(&columns).map_err(|error| Error::bug("a copied batch is too narrow").caused_by(error))?;
    let cells = table.cells(&own)?;
    let mut statement = connection.prepare_cached(&insert(table, part))?;
    let extra = &batch.columns()[width..];
    for row in 0..batch.num_rows() {
        for (index, cells) in cells.iter().enumerate() {
            cells.bind(row, &mut statement, index + 1)?;
        }
        for (index, column) in extra.iter().enumerate() {
            statement.raw_bind_parameter(width + index + 1, extra_value(column, row))?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

fn insert(table: &Table, part: Part) -> String {
    let (name, extra) = match part {
        Part::Current => return table.sql.insert.clone(),
        Part::Revisions => (revision_name(table.name()), "_seq, _ended_seq, _ended"),
    };
    let names = column_list(table);
    let parameters = vec!["?"; table.dataset.columns.len() + 3].join(", ");
    format!("insert into {} ({names}, {extra}) values ({parameters})", quoted(&name))
}

fn extra_value(column: &ArrayRef, row: usize) -> Value {
    match column.as_primitive_opt::<Int64Type>() {
        Some(numbers) => Value::Integer(numbers.value(row)),
        None => Value::Text(column.as_string::<i32>().value(row).to_string()),
    }
}

fn column_list(table: &Table) -> String {
    table.dataset.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

/// Hands on everything as of one moment, at most `piece_rows` rows at once, until `send` takes no more.
pub(super) fn export(
    connection: &Connection,
    tables: &Tables,
    piece_rows: usize,
    send: &mut dyn FnMut(Piece) -> bool,
) -> Step<()> {
    let moment = connection.unchecked_transaction()?;
    check_known(&moment, tables)?;
    for table in LEDGER {
        if !export_records(&moment, table, piece_rows, send)? {
            return Ok(());
        }
    }
    let names: BTreeSet<&String> = tables.keys().collect();
    for table in names.into_iter().filter_map(|name| tables.get(name)) {
        for part in [Part::Current, Part::Revisions] {
            if !export_rows(&moment, table, part, piece_rows, send)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A table that the catalogue does not have would be left behind.
fn check_known(connection: &Connection, tables: &Tables) -> Step<()> {
    let mut statement = connection.prepare("select distinct dataset from _column order by dataset")?;
    let stored = statement.query_map((), |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    match stored.into_iter().find(|name| !tables.contains_key(name)) {
        None => Ok(()),
        Some(name) => {
            let error = Error::not_found(format!("the store has a table {name} that the catalogue does not have"));
            Err(error.hint("name the folder with its file in catalog.folder").into())
        }
    }
}

fn export_records(
    connection: &Connection,
    table: &'static LedgerTable,
    piece_rows: usize,
    send: &mut dyn FnMut(Piece) -> bool,
) -> Step<bool> {
    let columns = table.columns.iter().map(|(name, kind)| match kind {
        Kind::Bytes => format!("lower(hex({name}))"),
        _ => (*name).to_owned(),
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let sql = format!("select {columns} from {} order by {}", table.name, table.key_names());
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(())?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(record(table, row)?);
        if records.len() >= piece_rows && !send(Piece::Records { table, records: std::mem::take(&mut records) }) {
            return Ok(false);
        }
    }
    Ok(send(Piece::Records { table, records }))
}

fn record(table: &LedgerTable, row: &Row) -> Step<Record> {
    let mut record = Vec::with_capacity(table.columns.len());
    for (index, (_, kind)) in table.columns.iter().enumerate() {
        record.push(match (row.get_ref(index)?, kind) {
            (ValueRef::Null, _) => None,
            (ValueRef::Integer(value), Kind::Int) => Some(Field::Int(value)),
            (value, kind) => {
                let text = value.as_str().map_err(rusqlite::Error::from)?;
                Some(Field::Text(canonical(*kind, text)?))
            }
        });
    }
    Ok(record)
}

fn export_rows(
    connection: &Connection,
    table: &Arc<Table>,
    part: Part,
    piece_rows: usize,
    send: &mut dyn FnMut(Piece) -> bool,
) -> Step<bool> {
    let (name, extra, order) = match part {
        Part::Current => (table.name().to_owned(), "_seq", key_list(table)),
        Part::Revisions => (revision_name(table.name()), "_seq, _ended_seq, _ended", "rowid".to_owned()),
    };
    let sql = format!("select {}, {extra} from {} order by {order}", column_list(table), quoted(&name));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(())?;
    let mut building = Building::new(table, part);
    while let Some(row) = rows.next()? {
        building.append(row)?;
        if building.rows >= piece_rows && !send(building.finish()?) {
            return Ok(false);
        }
    }
    Ok(send(building.finish()?))
}

fn key_list(table: &Table) -> String {
    table.dataset.key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// A batch of rows with what stands behind the dataset's columns.
struct Building<'a> {
    table: &'a Table,
    part: Part,
    columns: Vec<Builder>,
    seq: Int64Builder,
    ended_seq: Int64Builder,
    ended: StringBuilder,
    rows: usize,
}

impl<'a> Building<'a> {
    fn new(table: &'a Table, part: Part) -> Building<'a> {
        let own = table.dataset.schema();
        let columns = table.kinds.iter().zip(own.fields()).map(|(kind, field)| Builder::new(*kind, field.data_type()));
        let columns = columns.collect();
        let (seq, ended_seq, ended) = (Int64Builder::new(), Int64Builder::new(), StringBuilder::new());
        Building { table, part, columns, seq, ended_seq, ended, rows: 0 }
    }

    fn append(&mut self, row: &Row) -> Step<()> {
        let width = self.columns.len();
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.append(row.get_ref(index)?).is_none() {
                let error = Error::storage(format!("{} holds a foreign value", self.table.name()));
                return Err(error.hint("another program wrote it; sync the dataset again with --force").into());
            }
        }
        self.seq.append_value(row.get(width)?);
        if self.part == Part::Revisions {
            self.ended_seq.append_value(row.get(width + 1)?);
            self.ended.append_value(row.get::<_, String>(width + 2)?);
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(&mut self) -> Step<Piece> {
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Builder::finish).collect();
        arrays.push(Arc::new(self.seq.finish()));
        if self.part == Part::Revisions {
            arrays.push(Arc::new(self.ended_seq.finish()));
            arrays.push(Arc::new(self.ended.finish()));
        }
        self.rows = 0;
        let dataset = self.table.dataset.clone();
        let batch = RecordBatch::try_new(schema(&dataset, self.part), arrays)
            .map_err(|error| Error::storage(format!("rows of {} do not fit", dataset.name)).caused_by(error))?;
        Ok(Piece::Rows { dataset, part: self.part, batch })
    }
}

#[cfg(test)]
mod tests {
    use super::super::migrate::migrate;
    use super::*;

    /// A table that a later migration adds must not be forgotten by copies.
    #[test]
    fn every_table_and_column_of_the_ledger_is_copied_or_named_as_left_out() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Instant(0)).unwrap();
        let sql = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by name";
        let mut statement = connection.prepare(sql).unwrap();
        let names = statement.query_map((), |row| row.get::<_, String>(0)).unwrap().collect::<Result<Vec<_>, _>>();
        for name in names.unwrap() {
            if ["_migration", "_column", "_place", "_duty"].contains(&name.as_str()) {
                continue;
            }
            let table =
                LEDGER.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("{name} is not copied"));
            let mut statement = connection.prepare("select name from pragma_table_info(?1)").unwrap();
            let columns = statement.query_map([&name], |row| row.get::<_, String>(0)).unwrap();
            let columns: BTreeSet<String> = columns.map(Result::unwrap).collect();
            let copied: BTreeSet<String> = table.columns.iter().map(|(name, _)| name.to_string()).collect();
            assert_eq!(columns, copied, "{name}");
        }
    }
}

//! Copying: everything that a store holds, read as of one moment, and written into an empty store.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, RecordBatch};
use futures::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::commit::{Tables, Target};
use super::connection::Session;
use super::copy::copy_in;
use super::decode::{Building, Rows};
use super::encode::{cells, encode_seq, encode_text};
use super::fault::Step;
use super::table::{Table, revision_name};
use super::values::{SqlInstant, literal, quoted};
use crate::model::copy::{Field, Kind, LEDGER, LedgerTable, Part, Piece, Record, canonical};
use crate::model::{Day, Error, Instant, Result};

/// There while a copy into the store is under way, or after it broke off.
const MARK: &str = "_copying";

/// Columns that are kept as JSON and not as text.
const JSONB: [(&str, &str); 3] = [("_task", "request"), ("_task", "totals"), ("_event", "data")];

/// Columns whose numbers the store gives itself.
const NUMBERED: [(&str, &str); 5] =
    [("_commit", "seq"), ("_task", "id"), ("_failure", "id"), ("_quarantine", "id"), ("_conflict", "id")];

/// Where the copy comes from, if one has not been finished.
async fn unfinished(session: &Session) -> Step<Option<String>> {
    let there = format!("select count(*) from pg_class where oid = to_regclass({})", literal(MARK));
    if session.ask_count(&there).await? == 0 {
        return Ok(None);
    }
    let rows = session.ask(&format!("select source from {MARK}")).await?;
    Ok(Some(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default()))
}

/// Half a store is none.
pub(super) async fn check_whole(session: &Session) -> Step<()> {
    let Some(source) = unfinished(session).await? else { return Ok(()) };
    let error = Error::conflict(format!("a copy of {source} into this store broke off"));
    Err(error.hint("start it again: `tidegate migrate --from ... --to ...` begins anew; or drop the schema").into())
}

/// Marks an empty store, or one whose copy broke off and which is emptied first, as being copied into.
pub(super) async fn begin(target: Target<'_>, source: &str, now: Instant) -> Step<()> {
    let session = target.session;
    if unfinished(session).await?.is_some() {
        for table in target.tables.values() {
            session.run(&format!("truncate {}, {}", table.quoted_name(), table.quoted_revision())).await?;
        }
        for table in LEDGER {
            session.run(&format!("truncate {}", table.name)).await?;
        }
        session.run(&format!("truncate _place; drop table {MARK}")).await?;
    }
    for table in LEDGER {
        if session.ask_count(&format!("select count(*) from (select 1 from {} limit 1) as one", table.name)).await? > 0
        {
            let error = Error::conflict("the store to copy into is not empty");
            return Err(error.hint("name a schema that does not exist yet in `store.schema`").into());
        }
    }
    session.run(&format!("create table {MARK} (source text not null, at timestamptz not null)")).await?;
    let sql = format!("insert into {MARK} values ({}, timestamptz '{now}')", literal(source));
    session.run(&sql).await
}

/// The copy is complete: the store is one like any other, and goes on counting where the other one was.
pub(super) async fn end(session: &Session) -> Step<()> {
    check_under_way(session).await?;
    for (table, column) in NUMBERED {
        let sql = format!(
            "select setval(pg_get_serial_sequence('{table}', '{column}'), greatest(max({column}), 1), \
             max({column}) is not null) from {table}"
        );
        session.ask(&sql).await?;
    }
    session.run(&format!("drop table {MARK}")).await
}

async fn check_under_way(session: &Session) -> Step<()> {
    match unfinished(session).await? {
        Some(_) => Ok(()),
        None => Err(Error::bug("a piece of a copy that has not begun").into()),
    }
}

pub(super) async fn write(target: Target<'_>, piece: &Piece) -> Step<()> {
    check_under_way(target.session).await?;
    match piece {
        Piece::Records { table, records } => write_records(target.session, table, records).await,
        Piece::Rows { dataset, part, batch } => {
            let missing = || Error::not_found(format!("the store has no table {}", dataset.name));
            write_rows(target, target.tables.get(&dataset.name).ok_or_else(missing)?, *part, batch).await
        }
    }
}

fn is_jsonb(table: &LedgerTable, column: &str) -> bool {
    JSONB.contains(&(table.name, column))
}

/// All values travel as texts and are cast by the server, a column at a time.
async fn write_records(session: &Session, table: &LedgerTable, records: &[Record]) -> Step<()> {
    let text = |field: &Option<Field>| match field {
        None => None,
        Some(Field::Int(value)) => Some(value.to_string()),
        Some(Field::Text(text)) => Some(text.clone()),
    };
    let columns: Vec<Vec<Option<String>>> =
        (0..table.columns.len()).map(|index| records.iter().map(|record| text(&record[index])).collect()).collect();
    let names = |prefix: &str| {
        let name = |(name, _): &(&str, Kind)| format!("{prefix}{}", quoted(name));
        table.columns.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let cast = |(name, kind): &(&str, Kind)| {
        let value = format!("given.{}", quoted(name));
        match kind {
            Kind::Int => format!("{value}::bigint"),
            Kind::Text => value,
            Kind::Day => format!("case when {value} = '' then '-infinity' else {value}::date end"),
            Kind::Instant => format!("{value}::timestamptz"),
            Kind::Json if is_jsonb(table, name) => format!("{value}::jsonb"),
            Kind::Json => value,
        }
    };
    let casts = table.columns.iter().map(cast).collect::<Vec<_>>().join(", ");
    let arrays = (1..=columns.len()).map(|number| format!("${number}::text[]")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "insert into {} ({}) select {casts} from unnest({arrays}) as given ({})",
        table.name,
        names(""),
        names("")
    );
    let values: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
    session.execute(&sql, &values).await?;
    Ok(())
}

async fn write_rows(target: Target<'_>, table: &Table, part: Part, batch: &RecordBatch) -> Step<()> {
    let width = table.dataset.columns.len();
    let columns: Vec<usize> = (0..width).collect();
    let own = batch.project(&columns).map_err(|error| Error::bug("a copied batch is too narrow").caused_by(error))?;
    let cells = cells(table, &own)?;
    let extra = &batch.columns()[width..];
    let (mut bytes, mut ends, mut starts) = (Vec::new(), vec![0], BTreeSet::new());
    for row in 0..batch.num_rows() {
        bytes.extend_from_slice(&((width + extra.len()) as i16).to_be_bytes());
        cells.iter().for_each(|cells| cells.encode(row, &mut bytes));
        extra.iter().for_each(|column| encode_extra(column, row, &mut bytes));
        ends.push(bytes.len());
        if let (Some(stretch), Some(time)) = (table.stretch, table.time) {
            starts.insert(cells[time].day(row).map_or(Day::MIN, |day| stretch.around(day).from));
        }
    }
    let (name, more) = of_part(table, part);
    if part == Part::Current {
        target.partitions.make(target.session, table, &starts).await?;
    }
    let into = format!("{name} ({}, {more})", table.columns);
    copy_in(target.session, &into, ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]])).await?;
    Ok(())
}

/// The quoted table of a part, and the columns behind those of the dataset.
fn of_part(table: &Table, part: Part) -> (String, &'static str) {
    match part {
        Part::Current => (table.quoted_name(), "_seq"),
        Part::Revisions => (quoted(&revision_name(table.name())), "_seq, _ended_seq, _ended"),
    }
}

fn encode_extra(column: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    match column.as_primitive_opt::<Int64Type>() {
        Some(numbers) => encode_seq(numbers.value(row), out),
        None => encode_text(column.as_string::<i32>().value(row), out),
    }
}

/// Hands on everything that the session's moment shows, at most `piece_rows` rows at once, until nobody takes more.
/// Whether it came to the end.
pub(super) async fn export(
    session: &Session,
    tables: &Tables,
    piece_rows: usize,
    sender: &Sender<Result<Piece>>,
) -> Step<bool> {
    check_known(session, tables).await?;
    for table in LEDGER {
        if !export_records(session, table, piece_rows, sender).await? {
            return Ok(false);
        }
    }
    let names: BTreeSet<&String> = tables.keys().collect();
    for table in names.into_iter().filter_map(|name| tables.get(name)) {
        for part in [Part::Current, Part::Revisions] {
            if !export_rows(session, table, part, piece_rows, sender).await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// A table that the catalogue does not have would be left behind.
async fn check_known(session: &Session, tables: &Tables) -> Step<()> {
    for row in session.ask("select distinct dataset from _column order by dataset").await? {
        let name: String = row.try_get(0)?;
        if !tables.contains_key(&name) {
            let error = Error::not_found(format!("the store has a table {name} that the catalogue does not have"));
            return Err(error.hint("name the folder with its file in catalog.folder").into());
        }
    }
    Ok(())
}

async fn export_records(
    session: &Session,
    table: &'static LedgerTable,
    piece_rows: usize,
    sender: &Sender<Result<Piece>>,
) -> Step<bool> {
    let read = |(name, kind): &(&str, Kind)| {
        let column = quoted(name);
        match kind {
            Kind::Int => format!("{column}::bigint"),
            Kind::Text | Kind::Json => format!("{column}::text"),
            Kind::Day => format!("case when {column} = '-infinity' then '' else to_char({column}, 'YYYY-MM-DD') end"),
            Kind::Instant => column,
        }
    };
    let columns = table.columns.iter().map(read).collect::<Vec<_>>().join(", ");
    let key: Vec<String> = table.columns[..table.key].iter().map(|(name, _)| quoted(name)).collect();
    let sql = format!("select {columns} from {} order by {}", table.name, key.join(", "));
    let rows = session.client()?.query_typed_raw(&sql, std::iter::empty::<(&str, _)>()).await?;
    let mut rows = std::pin::pin!(rows);
    let mut records = Vec::new();
    while let Some(row) = rows.next().await {
        records.push(record(table, &row?)?);
        if records.len() >= piece_rows {
            let piece = Piece::Records { table, records: std::mem::take(&mut records) };
            if sender.send(Ok(piece)).await.is_err() {
                return Ok(false);
            }
        }
    }
    Ok(sender.send(Ok(Piece::Records { table, records })).await.is_ok())
}

fn record(table: &LedgerTable, row: &Row) -> Step<Record> {
    let mut record = Vec::with_capacity(table.columns.len());
    for (index, (_, kind)) in table.columns.iter().enumerate() {
        record.push(match kind {
            Kind::Int => row.try_get::<_, Option<i64>>(index)?.map(Field::Int),
            Kind::Instant => {
                let at: Option<SqlInstant> = row.try_get(index)?;
                at.map(|at| Field::Text(at.0.to_string()))
            }
            Kind::Text | Kind::Day | Kind::Json => {
                let text: Option<&str> = row.try_get(index)?;
                text.map(|text| canonical(*kind, text).map(Field::Text)).transpose()?
            }
        });
    }
    Ok(record)
}

async fn export_rows(
    session: &Session,
    table: &Arc<Table>,
    part: Part,
    piece_rows: usize,
    sender: &Sender<Result<Piece>>,
) -> Step<bool> {
    let (name, more) = of_part(table, part);
    let question = format!("copy (select {}, {more} from {name}) to stdout (format binary)", table.columns);
    let stream = session.client()?.copy_out(&question).await?;
    let mut stream = std::pin::pin!(stream);
    let (mut rows, mut building) = (Rows::default(), Building::whole(table, part));
    let piece = |building: &mut Building| -> Result<Piece> {
        Ok(Piece::Rows { dataset: table.dataset.clone(), part, batch: building.finish()? })
    };
    while let Some(chunk) = stream.next().await {
        rows.feed(&chunk?, |row| building.append(row))?;
        if building.rows >= piece_rows && sender.send(Ok(piece(&mut building)?)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(sender.send(Ok(piece(&mut building)?)).await.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::migrate::MIGRATIONS;

    /// A table that a later migration adds must not be forgotten by copies.
    #[test]
    fn every_table_of_the_ledger_is_copied_or_named_as_left_out() {
        let lines = MIGRATIONS.iter().flat_map(|migration| migration.sql.lines());
        let created = lines.filter_map(|line| line.strip_prefix("create table ")?.strip_suffix(" ("));
        for name in created.filter(|name| !["_migration", "_column", "_place", "_token"].contains(name)) {
            assert!(LEDGER.iter().any(|table| table.name == name), "{name} is not copied");
        }
        for (table, column) in JSONB.iter().chain(&NUMBERED) {
            let known = LEDGER.iter().find(|known| known.name == *table).unwrap();
            assert!(known.columns.iter().any(|(name, _)| name == column), "{table}.{column}");
        }
    }
}

//! Copying whole stores: everything that a store holds, read as of one moment, and written into an empty store.

use std::collections::BTreeSet;

use arrow_array::builder::{Int64Builder, StringBuilder};
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
use super::decode::{Building, Fields, Rows, integer_of, text_of};
use super::encode::{cells, encode_seq};
use super::fault::Step;
use super::table::Table;
use super::values::{SqlDay, SqlInstant, literal};
use crate::model::copy::{Field, Kind, LEDGER, LedgerTable, Part, Piece, Record, canonical, schema};
use crate::model::{Error, Instant, Result};

/// There while a copy into the store is under way, or after it broke off.
const MARK: &str = "_copying";

/// Columns that the store numbers by itself.
const NUMBERED: [(&str, &str); 9] = [
    ("_commit", "seq"),
    ("_task", "id"),
    ("_failure", "id"),
    ("_quarantine", "id"),
    ("_conflict", "id"),
    ("_run", "id"),
    ("_journal", "id"),
    ("_attempt", "id"),
    ("_reconciliation", "id"),
];

async fn unfinished(session: &Session) -> Step<Option<String>> {
    let there = format!("select count(*) from pg_class where oid = to_regclass('{MARK}')");
    if session.ask_count(&there).await? == 0 {
        return Ok(None);
    }
    let rows = session.ask(&format!("select source from {MARK}")).await?;
    rows.first().map(|row| Ok(row.try_get(0)?)).transpose()
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
        let data = target.tables.values().flat_map(|table| [table.quoted_name(), table.quoted_revision()]);
        let ledger = LEDGER.iter().map(|table| table.name.to_owned()).chain(["_place".to_owned()]);
        let all = data.chain(ledger).collect::<Vec<_>>().join(", ");
        session.run(&format!("truncate {all}; drop table {MARK}")).await?;
    }
    for table in LEDGER {
        let any = format!("select count(*) from (select 1 from {} limit 1) as one", table.name);
        if session.ask_count(&any).await? > 0 {
            let error = Error::conflict("the store to copy into is not empty");
            return Err(error.hint("name another schema (store.postgres.schema) or another database").into());
        }
    }
    let (source, now) = (literal(source), literal(&now.to_string()));
    session
        .run(&format!(
            "create table {MARK} (source text not null, at timestamptz not null); insert into {MARK} values ({source}, {now})"
        ))
        .await
}

/// The copy is complete: the store is one like any other, and goes on numbering where the other was.
pub(super) async fn end(session: &Session) -> Step<()> {
    check_under_way(session).await?;
    for (table, column) in NUMBERED {
        let sequence = format!("pg_get_serial_sequence('{table}', '{column}')");
        let next = format!("coalesce((select max({column}) from {table}), 0) + 1");
        session.ask(&format!("select setval({sequence}, {next}, false)")).await?;
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
            let table = target.tables.get(&dataset.name).ok_or_else(missing)?;
            write_rows(target, table, *part, batch).await
        }
    }
}

/// Every column arrives as text and is cast to what its column holds.
async fn write_records(session: &Session, table: &LedgerTable, records: &[Record]) -> Step<()> {
    if records.is_empty() {
        return Ok(());
    }
    let types = "select attname::text, format_type(atttypid, null) from pg_attribute \
                 where attrelid = to_regclass($1) and attnum > 0 and not attisdropped";
    let types = session.query(types, &[&table.name]).await?;
    let mut casts = Vec::new();
    for (name, kind) in table.columns {
        let held = types.iter().find(|row| row.try_get::<_, &str>(0).is_ok_and(|known| known == *name));
        let held: &str = held.map(|row| row.try_get(1)).transpose()?.unwrap_or("text");
        let given = match kind {
            Kind::Day => format!("case given.{name} when '' then '-infinity' else given.{name} end"),
            Kind::Bytes => format!("decode(given.{name}, 'hex')"),
            _ => format!("given.{name}"),
        };
        casts.push(format!("({given})::{held}"));
    }
    let arrays = (1..=table.columns.len()).map(|number| format!("${number}::text[]")).collect::<Vec<_>>().join(", ");
    let (names, casts) = (table.names(), casts.join(", "));
    let sql = format!("insert into {} ({names}) select {casts} from unnest({arrays}) as given ({names})", table.name);
    let columns: Vec<Vec<Option<String>>> =
        (0..table.columns.len()).map(|index| records.iter().map(|record| text(&record[index])).collect()).collect();
    let values: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
    session.execute(&sql, &values).await?;
    Ok(())
}

fn text(field: &Option<Field>) -> Option<String> {
    field.as_ref().map(|field| match field {
        Field::Int(value) => value.to_string(),
        Field::Text(text) => text.clone(),
    })
}

async fn write_rows(target: Target<'_>, table: &Table, part: Part, batch: &RecordBatch) -> Step<()> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let width = table.dataset.columns.len();
    let columns: Vec<usize> = (0..width).collect();
    let own = batch.project(&columns).map_err(|error| Error::bug("a copied batch is too narrow").caused_by(error))?;
    let cells = cells(table, &own)?;
    let (mut bytes, mut ends, mut starts) = (Vec::new(), vec![0], BTreeSet::new());
    for row in 0..batch.num_rows() {
        bytes.extend_from_slice(&(batch.num_columns() as i16).to_be_bytes());
        cells.iter().for_each(|cells| cells.encode(row, &mut bytes));
        batch.columns()[width..].iter().for_each(|column| encode_extra(column, row, &mut bytes));
        ends.push(bytes.len());
        let day = table.time.and_then(|time| cells[time].day(row));
        starts.extend(table.stretch.zip(day).map(|(stretch, day)| stretch.around(day).from));
    }
    let (name, extra) = match part {
        Part::Current => (table.quoted_name(), "_seq"),
        Part::Revisions => (table.quoted_revision(), "_seq, _ended_seq, _ended"),
    };
    if part == Part::Current {
        target.partitions.make(target.session, table, &starts).await?;
    }
    let into = format!("{name} ({}, {extra})", table.columns);
    copy_in(target.session, &into, ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]])).await?;
    Ok(())
}

fn encode_extra(column: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    match column.as_primitive_opt::<Int64Type>() {
        Some(numbers) => encode_seq(numbers.value(row), out),
        None => {
            let text = column.as_string::<i32>().value(row).as_bytes();
            out.extend_from_slice(&(text.len() as i32).to_be_bytes());
            out.extend_from_slice(text);
        }
    }
}

/// Hands on everything in the session's moment, at most `piece_rows` rows at once, until `sender` takes no more.
/// `false`: rows are left on the connection.
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
    let columns = table.columns.iter().map(|(name, kind)| match kind {
        Kind::Int => format!("{name}::bigint"),
        Kind::Text | Kind::Json => format!("{name}::text"),
        Kind::Day | Kind::Instant => (*name).to_owned(),
        Kind::Bytes => format!("encode({name}, 'hex')"),
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let (name, key) = (table.name, table.key_names());
    session.run(&format!("declare exported no scroll cursor for select {columns} from {name} order by {key}")).await?;
    loop {
        let rows = session.ask(&format!("fetch {piece_rows} from exported")).await?;
        let records = rows.iter().map(|row| record(table, row)).collect::<Step<Vec<_>>>()?;
        let last = records.len() < piece_rows;
        if sender.send(Ok(Piece::Records { table, records })).await.is_err() {
            return Ok(false);
        }
        if last {
            session.run("close exported").await?;
            return Ok(true);
        }
    }
}

fn record(table: &LedgerTable, row: &Row) -> Step<Record> {
    let mut record = Vec::with_capacity(table.columns.len());
    for (index, (_, kind)) in table.columns.iter().enumerate() {
        let text = match kind {
            Kind::Int => {
                record.push(row.try_get::<_, Option<i64>>(index)?.map(Field::Int));
                continue;
            }
            Kind::Day => {
                let day: Option<SqlDay> = row.try_get(index)?;
                day.map(|day| day.0.map_or_else(String::new, |day| day.to_string()))
            }
            Kind::Instant => row.try_get::<_, Option<SqlInstant>>(index)?.map(|at| at.0.to_string()),
            Kind::Text | Kind::Json | Kind::Bytes => {
                let text: Option<&str> = row.try_get(index)?;
                text.map(|text| canonical(*kind, text)).transpose()?
            }
        };
        record.push(text.map(Field::Text));
    }
    Ok(record)
}

async fn export_rows(
    session: &Session,
    table: &Table,
    part: Part,
    piece_rows: usize,
    sender: &Sender<Result<Piece>>,
) -> Step<bool> {
    let (name, extra, order) = match part {
        Part::Current => (table.quoted_name(), "_seq", table.key_columns()),
        Part::Revisions => {
            (table.quoted_revision(), "_seq, _ended_seq, _ended", format!("_ended_seq, {}", table.key_columns()))
        }
    };
    let columns = &table.columns;
    let question = format!("copy (select {columns}, {extra} from {name} order by {order}) to stdout (format binary)");
    let stream = session.client()?.copy_out(&question).await?;
    let mut stream = std::pin::pin!(stream);
    let (mut rows, mut piece) = (Rows::default(), Pieces::new(table, part));
    while let Some(chunk) = stream.next().await {
        rows.feed(&chunk?, |row| piece.append(row))?;
        if piece.own.rows >= piece_rows && sender.send(Ok(piece.finish()?)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(sender.send(Ok(piece.finish()?)).await.is_ok())
}

/// Rows with what stands behind the dataset's columns.
struct Pieces<'a> {
    table: &'a Table,
    part: Part,
    own: Building,
    seq: Int64Builder,
    ended_seq: Int64Builder,
    ended: StringBuilder,
}

impl<'a> Pieces<'a> {
    fn new(table: &'a Table, part: Part) -> Pieces<'a> {
        let columns: Vec<usize> = (0..table.dataset.columns.len()).collect();
        let own = Building::new(table, &columns, table.dataset.schema());
        let (seq, ended_seq, ended) = (Int64Builder::new(), Int64Builder::new(), StringBuilder::new());
        Pieces { table, part, own, seq, ended_seq, ended }
    }

    fn append(&mut self, row: &[u8]) -> Result<()> {
        let foreign = || Error::storage(format!("a row of {} has no number", self.table.name()));
        let mut extra = Fields::of(row).skip(self.table.dataset.columns.len());
        self.seq.append_value(extra.next().and_then(integer_of).ok_or_else(foreign)?);
        if self.part == Part::Revisions {
            self.ended_seq.append_value(extra.next().and_then(integer_of).ok_or_else(foreign)?);
            self.ended.append_value(extra.next().and_then(text_of).ok_or_else(foreign)?);
        }
        self.own.append(row)
    }

    fn finish(&mut self) -> Result<Piece> {
        let own = self.own.finish()?;
        let mut arrays: Vec<ArrayRef> = own.columns().to_vec();
        arrays.push(std::sync::Arc::new(self.seq.finish()));
        if self.part == Part::Revisions {
            arrays.push(std::sync::Arc::new(self.ended_seq.finish()));
            arrays.push(std::sync::Arc::new(self.ended.finish()));
        }
        let dataset = self.table.dataset.clone();
        let batch = RecordBatch::try_new(schema(&dataset, self.part), arrays)
            .map_err(|error| Error::storage(format!("rows of {} do not fit", dataset.name)).caused_by(error))?;
        Ok(Piece::Rows { dataset, part: self.part, batch })
    }
}

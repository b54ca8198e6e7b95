//! Rows to files and answers: CSV, JSON, lines of JSON, Parquet and Arrow, streamed to any writer.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::model::cell::Cells;
use crate::model::dataset::ColumnType;
use crate::model::{Column, Dataset, Error, Result, decimal};
use crate::source::file::parquet::UNIT_KEY;

/// Takes rows one batch after the other.
pub trait RowWriter: Send {
    /// The batch has the columns that the writer was made for, in their order.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what is still owed (ends of lists, footers) and flushes.
    fn finish(self: Box<Self>) -> Result<()>;

    /// Whether nobody reads any more (`tidegate show daily | head`): further rows need not be produced.
    fn is_closed(&self) -> bool {
        false
    }
}

/// The names of all formats, for messages.
const NAMES: &str = "csv, json, jsonl, parquet and arrow";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180 with a header; null is an empty cell.
    Csv,
    /// One array of objects.
    Json,
    /// One object a line.
    Jsonl,
    /// Compressed with zstd; decimals exact.
    Parquet,
    /// The stream format of Arrow IPC; decimals exact.
    Arrow,
}

impl Format {
    /// Reads the name of a format.
    pub fn parse(name: &str) -> Result<Format> {
        match name {
            "csv" => Ok(Format::Csv),
            "json" => Ok(Format::Json),
            "jsonl" | "ndjson" => Ok(Format::Jsonl),
            "parquet" => Ok(Format::Parquet),
            "arrow" => Ok(Format::Arrow),
            _ => Err(Error::invalid(format!("{name:?} is not a format")).hint(format!("choose one of {NAMES}"))),
        }
    }

    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
        }
    }

    /// What HTTP calls it.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::Json => "application/json",
            Format::Jsonl => "application/x-ndjson",
            Format::Parquet => "application/vnd.apache.parquet",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The format that a file's ending names.
    pub fn of_path(path: &Path) -> Result<Format> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        Format::parse(&ending).map_err(|_| {
            Error::invalid(format!("the ending of {} names no format", path.display()))
                .hint(format!("name it with --format, one of {NAMES}"))
        })
    }
}

/// In whose units and forms values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// Shares, yuan, ISO dates.
    #[default]
    Canonical,
    /// As Tushare sends them (lots, thousands of yuan, dates without dashes): for tools made for its files.
    Tushare,
}

/// A writer of `columns` (none: all of the dataset) to `out`. The header is written even when no rows follow.
pub fn writer(
    format: Format,
    dataset: &Dataset,
    columns: &[String],
    units: Units,
    out: impl Write + Send + 'static,
) -> Result<Box<dyn RowWriter>> {
    let out = Pipe::new(out);
    let columns = select(dataset, columns, units)?;
    match (format, units) {
        (Format::Csv, _) => Ok(Box::new(TextWriter::csv(columns, out)?)),
        (Format::Json, _) => Ok(Box::new(TextWriter::json(columns, out, true)?)),
        (Format::Jsonl, _) => Ok(Box::new(TextWriter::json(columns, out, false)?)),
        (Format::Parquet, Units::Canonical) => Ok(Box::new(ParquetWriter::new(&columns, out)?)),
        (Format::Arrow, Units::Canonical) => Ok(Box::new(StreamWriter::new(&columns, out)?)),
        (Format::Parquet | Format::Arrow, Units::Tushare) => {
            let error = Error::invalid(format!("{} is written in shares and yuan only", format.ending()));
            Err(error.hint("choose --format csv for Tushare's units"))
        }
    }
}

/// A column as it is written.
#[derive(Clone, Debug)]
pub struct OutputColumn {
    pub column: Column,
    /// Where it stands in a batch.
    position: usize,
    /// Powers of ten by which numbers are divided.
    shift: i8,
    compact_dates: bool,
}

pub fn select(dataset: &Dataset, names: &[String], units: Units) -> Result<Vec<OutputColumn>> {
    let is_tushare = units == Units::Tushare;
    let columns: Vec<&Column> = match names {
        [] => dataset.columns.iter().collect(),
        names => names.iter().map(|name| find(dataset, name)).collect::<Result<_>>()?,
    };
    let output = |(position, column): (usize, &Column)| OutputColumn {
        column: column.clone(),
        position,
        shift: if is_tushare { column.tushare_shift().unwrap_or(0) } else { 0 },
        compact_dates: is_tushare,
    };
    // What Tidegate derives is no column of Tushare's, unless it is asked for by name.
    let is_left_out = |column: &Column| is_tushare && names.is_empty() && column.derived.is_some();
    let chosen = columns.into_iter().enumerate().filter(|(_, column)| !is_left_out(column));
    Ok(chosen.map(output).collect())
}

fn find<'a>(dataset: &'a Dataset, name: &str) -> Result<&'a Column> {
    let names = || dataset.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    dataset.column(name).ok_or_else(|| {
        Error::not_found(format!("{} has no column {name:?}", dataset.name))
            .hint(format!("its columns are {}", names()))
    })
}

/// An output whose reader may go away. From then on everything is accepted and dropped.
pub struct Pipe {
    out: Box<dyn Write + Send>,
    closed: bool,
}

impl Pipe {
    pub fn new(out: impl Write + Send + 'static) -> Pipe {
        Pipe { out: Box::new(out), closed: false }
    }

    fn accept<T: Default>(&mut self, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(T::default())
            }
            other => other,
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.closed {
            let written = self.out.write(bytes);
            let written = self.accept(written)?;
            if !self.closed {
                return Ok(written);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.accept(flushed)
    }
}

/// A failure of the output, for any writer of rows.
pub fn cannot_write(cause: io::Error) -> Error {
    let error = match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::storage("the output cannot be written: the disk is full").hint("free some space or write elsewhere")
        }
        ErrorKind::FileTooLarge => {
            Error::storage("the output has grown too large for its disk").hint("write elsewhere")
        }
        _ => Error::storage("the output cannot be written").hint("check the path, its permissions and the disk"),
    };
    error.caused_by(cause)
}

enum TextForm {
    Csv,
    Json { array: bool },
}

/// CSV and JSON: rows are collected in a buffer and written in large pieces.
struct TextWriter {
    columns: Vec<OutputColumn>,
    form: TextForm,
    buffer: Vec<u8>,
    rows: u64,
    out: Pipe,
}

const BUFFER_BYTES: usize = 256 * 1024;

impl TextWriter {
    fn csv(columns: Vec<OutputColumn>, out: Pipe) -> Result<TextWriter> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + 4096);
        for (at, output) in columns.iter().enumerate() {
            if at > 0 {
                buffer.push(b',');
            }
            let from = buffer.len();
            quote_csv(&mut buffer, from, &output.column.name, false);
        }
        buffer.push(b'\n');
        Ok(TextWriter { columns, form: TextForm::Csv, buffer, rows: 0, out })
    }

    fn json(columns: Vec<OutputColumn>, out: Pipe, array: bool) -> Result<TextWriter> {
        let buffer = if array { b"[".to_vec() } else { Vec::new() };
        Ok(TextWriter { columns, form: TextForm::Json { array }, buffer, rows: 0, out })
    }

    fn write_buffer(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer).map_err(cannot_write)?;
        self.buffer.clear();
        Ok(())
    }

    fn csv_row(&mut self, cells: &[Cells], row: usize) {
        for (at, (cell, output)) in cells.iter().zip(&self.columns).enumerate() {
            if at > 0 {
                self.buffer.push(b',');
            }
            let from = self.buffer.len();
            output.write(cell, row, &mut self.buffer);
            if output.column.kind == ColumnType::Text && !cell.is_null(row) {
                let text = String::from_utf8_lossy(&self.buffer[from..]).into_owned();
                quote_csv(&mut self.buffer, from, &text, true);
            }
        }
        self.buffer.push(b'\n');
    }

    fn json_row(&mut self, cells: &[Cells], row: usize, array: bool) {
        match (array, self.rows) {
            (true, 0) => self.buffer.push(b'\n'),
            (true, _) => self.buffer.extend_from_slice(b",\n"),
            (false, _) => {}
        }
        self.buffer.push(b'{');
        for (at, (cell, output)) in cells.iter().zip(&self.columns).enumerate() {
            if at > 0 {
                self.buffer.push(b',');
            }
            write_json_text(&mut self.buffer, &output.column.name);
            self.buffer.push(b':');
            output.write_json(cell, row, &mut self.buffer);
        }
        self.buffer.push(b'}');
        if !array {
            self.buffer.push(b'\n');
        }
    }
}

impl RowWriter for TextWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = cells_of(batch, &self.columns)?;
        for row in 0..batch.num_rows() {
            match self.form {
                TextForm::Csv => self.csv_row(&cells, row),
                TextForm::Json { array } => self.json_row(&cells, row, array),
            }
            self.rows += 1;
            if self.buffer.len() >= BUFFER_BYTES {
                self.write_buffer()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        match self.form {
            TextForm::Json { array: true } if self.rows == 0 => self.buffer.extend_from_slice(b"]\n"),
            TextForm::Json { array: true } => self.buffer.extend_from_slice(b"\n]\n"),
            _ => {}
        }
        self.write_buffer()?;
        self.out.flush().map_err(cannot_write)
    }

    fn is_closed(&self) -> bool {
        self.out.closed
    }
}

/// The columns of a batch, ready to be written.
pub fn cells_of<'a>(batch: &'a RecordBatch, columns: &[OutputColumn]) -> Result<Vec<Cells<'a>>> {
    let cells = columns.iter().map(|output| match batch.columns().get(output.position) {
        Some(array) => Cells::of(array.as_ref()),
        None => Err(Error::bug(format!("rows without {} were given to their writer", output.column.name))),
    });
    cells.collect()
}

impl OutputColumn {
    pub fn write(&self, cells: &Cells, row: usize, out: &mut Vec<u8>) {
        let from = out.len();
        match self.column.kind {
            ColumnType::Float if self.shift != 0 => write_shifted_float(cells, row, self.shift, out),
            _ => cells.write(row, self.shift, out),
        }
        if self.compact_dates && self.column.kind == ColumnType::Date {
            let compact: Vec<u8> = out[from..].iter().copied().filter(|byte| *byte != b'-').collect();
            out.truncate(from);
            out.extend_from_slice(&compact);
        }
    }

    fn write_json(&self, cells: &Cells, row: usize, out: &mut Vec<u8>) {
        let from = out.len();
        self.write(cells, row, out);
        let is_missing = cells.is_null(row) || (out.len() == from && self.column.kind != ColumnType::Text);
        if is_missing {
            out.truncate(from);
            out.extend_from_slice(b"null");
        } else if !cells.is_number() {
            let text = String::from_utf8_lossy(&out[from..]).into_owned();
            out.truncate(from);
            write_json_text(out, &text);
        }
    }
}

/// Doubles are shifted as text, so that no digit is lost on the way.
fn write_shifted_float(cells: &Cells, row: usize, shift: i8, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    cells.write(row, 0, &mut text);
    let value = String::from_utf8_lossy(&text).into_owned();
    const SCALE: i8 = 12;
    match decimal::parse(&value, SCALE, 0) {
        Some(number) => decimal::write(out, number, SCALE, shift, false),
        None => out.extend_from_slice(&text),
    }
}

pub fn write_json_text(out: &mut Vec<u8>, text: &str) {
    let is_plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    // Writing text into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Rows as JSON arrays, written straight from Arrow: `[["000001.SZ","2024-01-02",9.39],...]`. Instants are in RFC 3339.
pub struct JsonArrays {
    columns: Vec<OutputColumn>,
    out: Vec<u8>,
    rows: u64,
    scratch: Vec<u8>,
}

impl JsonArrays {
    /// Appends to `out` what the batches hold of `columns` (none: all of the dataset), in their order.
    pub fn new(dataset: &Dataset, columns: &[String], mut out: Vec<u8>) -> Result<JsonArrays> {
        out.push(b'[');
        let columns = select(dataset, columns, Units::Canonical)?;
        Ok(JsonArrays { columns, out, rows: 0, scratch: Vec::new() })
    }

    /// The rows of a batch in this order of positions.
    pub fn write(&mut self, batch: &RecordBatch, positions: impl Iterator<Item = usize>) -> Result<()> {
        let cells = cells_of(batch, &self.columns)?;
        for row in positions {
            if self.rows > 0 {
                self.out.push(b',');
            }
            self.rows += 1;
            self.out.push(b'[');
            for (at, (cell, output)) in cells.iter().zip(&self.columns).enumerate() {
                if at > 0 {
                    self.out.push(b',');
                }
                output.write_json_cell(cell, row, &mut self.scratch, &mut self.out);
            }
            self.out.push(b']');
        }
        Ok(())
    }

    /// What was written, the end of the list included.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b']');
        self.out
    }
}

impl OutputColumn {
    fn write_json_cell(&self, cells: &Cells, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        if cells.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        if cells.is_number() {
            let from = out.len();
            cells.write(row, 0, out);
            if out.len() == from {
                out.extend_from_slice(b"null");
            }
            return;
        }
        scratch.clear();
        cells.write(row, 0, scratch);
        match self.column.kind {
            ColumnType::Text => write_json_text(out, &String::from_utf8_lossy(scratch)),
            // A missing part of a key.
            _ if scratch.is_empty() => out.extend_from_slice(b"null"),
            kind => {
                out.push(b'"');
                match (kind, scratch.get(10)) {
                    (ColumnType::Datetime, Some(b' ')) => {
                        scratch[10] = b'T';
                        out.extend_from_slice(scratch);
                        out.extend_from_slice(b"+08:00");
                    }
                    _ => out.extend_from_slice(scratch),
                }
                out.push(b'"');
            }
        }
    }
}

/// Replaces what stands in `out` from `from` on by `text` as a CSV cell. Text that a reader would take for a missing
/// value, a number of another meaning or a border is put in quotes.
fn quote_csv(out: &mut Vec<u8>, from: usize, text: &str, is_value: bool) {
    out.truncate(from);
    let nothing = ["nan", "none", "null", "nat", "<na>", "-", "--", "\\N", ""];
    let is_missing_word = is_value && nothing.iter().any(|word| text.eq_ignore_ascii_case(word));
    let has_border = text.contains([',', '"', '\n', '\r']) || text.trim() != text;
    if !is_missing_word && !has_border {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

struct ParquetWriter {
    schema: Arc<Schema>,
    writer: ArrowWriter<Pipe>,
}

/// Rows that are held before they are compressed and written.
const ROW_GROUP_ROWS: usize = 128 * 1024;

fn schema_of(columns: &[OutputColumn]) -> Arc<Schema> {
    Arc::new(Schema::new(columns.iter().map(|output| field_of(&output.column)).collect::<Vec<Field>>()))
}

fn with_schema(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema.clone(), batch.columns().to_vec())
        .map_err(|cause| Error::bug("rows do not fit the columns of the output").caused_by(cause))
}

impl ParquetWriter {
    fn new(columns: &[OutputColumn], out: Pipe) -> Result<ParquetWriter> {
        let schema = schema_of(columns);
        let level = ZstdLevel::try_new(3).map_err(cannot_encode)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(format!("tidegate {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(cannot_encode)?;
        Ok(ParquetWriter { schema, writer })
    }
}

fn field_of(column: &Column) -> Field {
    let metadata = [(UNIT_KEY.to_owned(), column.unit.clone()), ("description".to_owned(), column.meaning.clone())];
    Field::new(&column.name, column.data_type(), true).with_metadata(metadata.into())
}

impl RowWriter for ParquetWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&with_schema(batch, &self.schema)?).map_err(cannot_encode)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer.finish().map_err(cannot_encode)?;
        self.writer.inner_mut().flush().map_err(cannot_write)
    }

    fn is_closed(&self) -> bool {
        self.writer.inner().closed
    }
}

/// Failures of the output come wrapped in the encoder's error.
fn cannot_encode(error: parquet::errors::ParquetError) -> Error {
    match error {
        parquet::errors::ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => cannot_write(*cause),
            Err(cause) => Error::bug("rows cannot be encoded as Parquet").caused_by(cause),
        },
        other => Error::bug("rows cannot be encoded as Parquet").caused_by(other),
    }
}

struct StreamWriter {
    schema: Arc<Schema>,
    writer: arrow_ipc::writer::StreamWriter<Pipe>,
}

impl StreamWriter {
    fn new(columns: &[OutputColumn], out: Pipe) -> Result<StreamWriter> {
        let schema = schema_of(columns);
        let writer = arrow_ipc::writer::StreamWriter::try_new(out, &schema).map_err(cannot_stream)?;
        Ok(StreamWriter { schema, writer })
    }
}

impl RowWriter for StreamWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(&with_schema(batch, &self.schema)?).map_err(cannot_stream)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer.finish().map_err(cannot_stream)?;
        self.writer.get_mut().flush().map_err(cannot_write)
    }

    fn is_closed(&self) -> bool {
        self.writer.get_ref().closed
    }
}

fn cannot_stream(error: arrow_schema::ArrowError) -> Error {
    match error {
        arrow_schema::ArrowError::IoError(_, cause) => cannot_write(cause),
        other => Error::bug("rows cannot be encoded as Arrow").caused_by(other),
    }
}

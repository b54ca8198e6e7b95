//! Files as a source: CSV and its relatives, Parquet, archives of them; whatever people and programs saved.
//!
//! `read` streams: memory is bounded by one batch, one record and one decoding window, whatever the file's size.

mod cell;
mod encoding;
mod header;
mod names;
mod open;
pub mod parquet;
mod records;
mod rows;
mod tar;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;

pub use self::encoding::TextEncoding;
use self::encoding::Utf8Reader;
use self::header::{Context, Plan};
pub use self::header::{Mapping, Units};
use self::open::Content;
use self::records::{Record, Records, Step};
use self::rows::{READABLE, Rows, Taken};
use crate::model::error::Context as _;
use crate::model::{Dataset, Quarantined, Result, code};

/// How a file is read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    pub dataset: Arc<Dataset>,
    pub mapping: Mapping,
    pub encoding: TextEncoding,
    pub units: Units,
    pub limits: Limits,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// The security of every row, for files without a code column. Without it the file's name is asked.
    pub code: Option<String>,
}

impl ReadOptions {
    pub fn new(dataset: Arc<Dataset>) -> ReadOptions {
        ReadOptions {
            dataset,
            mapping: Mapping::default(),
            encoding: TextEncoding::Auto,
            units: Units::Declared,
            limits: Limits::default(),
            batch_rows: 50_000,
            code: None,
        }
    }
}

/// What one record may cost. Longer ones are quarantined.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub field_bytes_max: usize,
    /// All lines of quoted cells included.
    pub record_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { field_bytes_max: 64 * 1024, record_bytes_max: 1024 * 1024 }
    }
}

/// Some rows of a file. Columns that the file does not have are null, derived ones not computed yet.
#[derive(Clone, Debug)]
pub struct FileBatch {
    /// In the dataset's schema.
    pub batch: RecordBatch,
    /// Rows that cannot be read, each with file, line and column.
    pub quarantined: Vec<Quarantined>,
    /// The file, without its folders.
    pub file: Arc<str>,
    /// Records read so far from this file, those of all its members included.
    pub rows_read: u64,
}

/// What was found in a file.
#[derive(Clone, Debug, Default)]
pub struct FileReport {
    /// The file, without its folders.
    pub file: String,
    /// Records below the headers.
    pub rows_read: u64,
    pub rows: u64,
    pub quarantined: u64,
    /// Rows of days on which the security did not trade: no bars.
    pub suspended: u64,
    /// Columns of the file that fill nothing, of all tables, each once.
    pub unmapped: Vec<String>,
    /// The encodings that were found, `parquet` for Parquet.
    pub encoding: String,
    /// One entry a table: the file itself, or each member of an archive.
    pub tables: Vec<TableReport>,
    /// What deserves a look: members that were passed over.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct TableReport {
    pub name: String,
    pub rows_read: u64,
    pub quarantined: u64,
}

/// Reads a file and hands its rows to `sink`, batch by batch; an error of `sink` ends the reading.
///
/// Rows that cannot be read are handed over as quarantined and the reading goes on. `Invalid`: not a table, no
/// columns for the key, units that do not convert, a damaged file (the batches before the damage have been handed over).
pub fn read(path: &Path, options: &ReadOptions, sink: &mut dyn FnMut(FileBatch) -> Result<()>) -> Result<FileReport> {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let mut reader = FileReader {
        options,
        file: Arc::from(name.as_str()),
        rows: Rows::new(options.dataset.clone()),
        report: FileReport { file: name.clone(), ..FileReport::default() },
        sink,
    };
    let read = match open::open(path).doing(|| name.clone())? {
        Content::Text(text) => reader.read_text(&name, text),
        Content::Parquet(file) => reader.read_parquet(&name, file),
        Content::Archive(archive) => tar::for_each(archive, |member, body| reader.read_member(member, body)),
    };
    read.and_then(|()| reader.flush()).doing(|| name.clone())?;
    Ok(reader.report)
}

struct FileReader<'a> {
    options: &'a ReadOptions,
    file: Arc<str>,
    rows: Rows,
    report: FileReport,
    sink: &'a mut dyn FnMut(FileBatch) -> Result<()>,
}

impl FileReader<'_> {
    fn read_member(&mut self, name: &str, body: &mut dyn Read) -> Result<()> {
        if !open::is_table_name(name) {
            self.note(format!("{name} is no table and was passed over"));
            return Ok(());
        }
        self.read_text(name, open::member(body)?)
    }

    fn read_text(&mut self, name: &str, text: impl Read) -> Result<()> {
        let text = Utf8Reader::new(text, self.options.encoding);
        let mut records = Records::new(text, self.options.limits);
        self.report.tables.push(TableReport { name: name.to_owned(), ..TableReport::default() });
        let Some(plan) = self.find_header(name, &mut records)? else { return Ok(()) };
        let mut record = Record::default();
        loop {
            match records.next(&mut record).map_err(open::broken)? {
                Step::End => break,
                Step::Record if is_footer(&record, &plan) => {}
                Step::Record => self.push(&plan, &record, name, "line")?,
                Step::Bad(reason) => {
                    self.rows.refuse(READABLE, &plan, &record, format!("{name} line {}: {reason}", record.line));
                    self.count(Taken::Refused)?;
                }
            }
        }
        self.note_encoding(records.input().encoding());
        Ok(())
    }

    fn read_parquet(&mut self, name: &str, file: std::fs::File) -> Result<()> {
        let table = parquet::Table::open(file)?;
        let code = self.code_for(name, None);
        let header: Vec<&str> = table.header.iter().map(String::as_str).collect();
        let plan = header::plan(&self.context(code.as_deref(), None), &header)?;
        self.report.tables.push(TableReport { name: name.to_owned(), ..TableReport::default() });
        self.note_plan(&plan);
        table.for_each(|record| self.push(&plan, record, name, "row"))?;
        self.note_encoding("parquet");
        Ok(())
    }

    fn context<'c>(&'c self, code: Option<&'c str>, title: Option<&'c str>) -> Context<'c> {
        let options = self.options;
        Context { dataset: &options.dataset, mapping: &options.mapping, units: options.units, code, title }
    }

    /// Takes the lines up to and including the header; `None` for an empty file.
    fn find_header<R: std::io::BufRead>(&mut self, name: &str, records: &mut Records<R>) -> Result<Option<Plan>> {
        let lines = records.peek_lines(HEADER_LINES_MAX).map_err(open::broken)?;
        let Some((at, delimiter)) = self.choose_header(&lines) else { return Ok(None) };
        let titles = &lines[..at];
        let title = titles.iter().find(|line| !line.trim().is_empty()).cloned();
        records.skip_lines(at);
        records.delimiter = delimiter;
        let mut record = Record::default();
        records.next(&mut record).map_err(open::broken)?;
        let cells: Vec<&str> = record.cells().map(|cell| cell.text).collect();
        let code = self.code_for(name, title.as_deref());
        let plan = header::plan(&self.context(code.as_deref(), title.as_deref()), &cells);
        let plan = if *name == *self.file { plan? } else { plan.doing(|| name.to_owned())? };
        if let Some(first) = records.peek_lines(1).map_err(open::broken)?.first() {
            records.delimiter = delimiter_of_data(first, delimiter, cells.len());
        }
        self.note_plan(&plan);
        Ok(Some(plan))
    }

    /// The line and delimiter under which most names are known; the first line when none are.
    fn choose_header(&self, lines: &[String]) -> Option<(usize, u8)> {
        let context = self.context(None, None);
        let first = lines.iter().position(|line| !line.trim().is_empty())?;
        let mut best = (0, first, widest_delimiter(&lines[first]));
        for (at, line) in lines.iter().enumerate() {
            for delimiter in DELIMITERS {
                let cells: Vec<&str> = line.split(char::from(delimiter)).map(unquoted).collect();
                let known = header::known_names(&context, &cells);
                if known > best.0 {
                    best = (known, at, delimiter);
                }
            }
        }
        Some((best.1, best.2))
    }

    /// The security of a file without a code column: as told, or as its name or title says.
    fn code_for(&self, name: &str, title: Option<&str>) -> Option<String> {
        let base = name.rsplit('/').next().unwrap_or(name);
        let told = self.options.code.as_deref();
        match told {
            Some(told) => code::canonical(told).or_else(|| Some(told.to_owned())),
            None => code::in_file_name(base).or_else(|| code::in_file_name(title?)),
        }
    }

    fn push(&mut self, plan: &Plan, record: &Record, name: &str, unit: &str) -> Result<()> {
        let taken = self.rows.push(plan, record, || format!("{name} {unit} {}", record.line));
        self.count(taken)
    }

    fn count(&mut self, taken: Taken) -> Result<()> {
        self.report.rows_read += 1;
        match taken {
            Taken::Row => self.report.rows += 1,
            Taken::Refused => self.report.quarantined += 1,
            Taken::Suspended => self.report.suspended += 1,
        }
        if let Some(table) = self.report.tables.last_mut() {
            table.rows_read += 1;
            table.quarantined += u64::from(taken == Taken::Refused);
        }
        if self.rows.len() < self.options.batch_rows { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let (batch, quarantined) = self.rows.take()?;
        (self.sink)(FileBatch { batch, quarantined, file: self.file.clone(), rows_read: self.report.rows_read })
    }

    fn note_plan(&mut self, plan: &Plan) {
        for name in &plan.unmapped {
            if !self.report.unmapped.contains(name) && self.report.unmapped.len() < UNMAPPED_MAX {
                self.report.unmapped.push(name.clone());
            }
        }
    }

    fn note(&mut self, note: String) {
        if self.report.notes.len() < NOTES_MAX {
            self.report.notes.push(note);
        }
    }

    fn note_encoding(&mut self, encoding: &str) {
        let known = &mut self.report.encoding;
        if known.is_empty() {
            known.push_str(encoding);
        } else if !known.split(", ").any(|one| one == encoding) {
            known.push_str(", ");
            known.push_str(encoding);
        }
    }
}

/// The header stands among this many first lines.
const HEADER_LINES_MAX: usize = 6;
const NOTES_MAX: usize = 100;
const UNMAPPED_MAX: usize = 1000;
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

fn unquoted(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(cell)
}

/// The delimiter that cuts a line into most cells.
fn widest_delimiter(line: &str) -> u8 {
    let count = |delimiter: &u8| line.bytes().filter(|byte| byte == delimiter).count();
    let mut best = DELIMITERS[0];
    for delimiter in DELIMITERS {
        if count(&delimiter) > count(&best) {
            best = delimiter;
        }
    }
    best
}

/// Data may be cut otherwise than its header (TDX: tabs above commas).
fn delimiter_of_data(line: &str, of_header: u8, cells: usize) -> u8 {
    let fits = |delimiter: &u8| line.bytes().filter(|byte| byte == delimiter).count() + 1 == cells;
    if cells < 2 || line.contains(char::from(of_header)) {
        return of_header;
    }
    DELIMITERS.into_iter().find(fits).unwrap_or(of_header)
}

/// The line with which TDX names itself as the source.
fn is_footer(record: &Record, plan: &Plan) -> bool {
    let first = record.cell(0).map_or("", |cell| cell.text.trim());
    record.len() == 1 && plan.header.len() > 1 && (first.starts_with("数据来源") || first.starts_with('#'))
}

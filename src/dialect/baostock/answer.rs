//! Answers: their bodies written, and read with the proof that they belong to the question.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::frame::{Frame, Limits, SEPARATOR, encode_reply};
use super::message::Layout;
use super::question::Question;
use super::refusal::{Refusal, Refused};
use crate::model::{Day, Error, Result};

/// Rows of text: what is empty has no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub fields: Vec<String>,
    /// Every cell behind the one before it.
    text: String,
    ends: Vec<usize>,
}

impl Table {
    pub fn new(fields: Vec<String>) -> Table {
        Table { fields, ..Table::default() }
    }

    pub fn rows(&self) -> usize {
        self.ends.len().checked_div(self.fields.len()).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// The cell; empty outside of the table.
    pub fn cell(&self, row: usize, column: usize) -> &str {
        let at = row * self.fields.len() + column;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(at).and_then(|end| self.text.get(start..*end)).unwrap_or_default()
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field == name)
    }

    /// Adds the next cell; a row is whole when it has as many as there are fields.
    pub fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    /// The rows of one page.
    pub fn page(&self, page: u32, per_page: u32) -> Table {
        let start = (page.saturating_sub(1) as usize).saturating_mul(per_page as usize);
        let rows = start.min(self.rows())..start.saturating_add(per_page as usize).min(self.rows());
        let mut part = Table::new(self.fields.clone());
        for row in rows {
            (0..self.fields.len()).for_each(|column| part.push(self.cell(row, column)));
        }
        part
    }
}

/// The `DATA` part: nothing, or JSON in which every cell is a string.
fn write_data(table: &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<&str>> =
        (0..table.rows()).map(|row| (0..table.fields.len()).map(|column| table.cell(row, column)).collect()).collect();
    serde_json::json!({ "record": rows }).to_string()
}

/// The frame that answers `question` with `table`, which is the page that was asked for.
pub fn encode(question: &Question, table: &Table) -> Vec<u8> {
    let message = question.message;
    let mut parts = vec!["0".into(), "success".into(), message.api.to_string(), question.user.clone()];
    if message.is_paged() {
        parts.extend([question.page.to_string(), question.per_page.to_string()]);
    }
    parts.push(write_data(table));
    if message.is_paged() {
        parts.extend(question.args.iter().cloned());
    }
    if message.layout != Layout::Bars {
        parts.push(table.fields.join(","));
    }
    encode_reply(message.reply, &parts.join(&SEPARATOR.to_string()))
}

/// The frame of an answer to login or logout; `at` is `yyyyMMddHHmmssSSS`.
pub fn encode_session(kind: &str, method: &str, user: &str, at: &str) -> Vec<u8> {
    encode_reply(kind, &["0", "success", method, user, at].join(&SEPARATOR.to_string()))
}

/// The frame of a refusal.
pub fn encode_refusal(refusal: Refusal) -> Vec<u8> {
    encode_reply(super::message::FAILURE, &refusal.body())
}

/// The refusal that a body holds, if it is one.
fn refused(body: &str) -> Option<Refused> {
    let mut parts = body.split(SEPARATOR);
    let code = parts.next().unwrap_or_default();
    (code != "0").then(|| Refused { code: code.to_string(), text: parts.next().unwrap_or_default().to_string() })
}

fn foreign(what: impl fmt::Display) -> Error {
    Error::transient(format!("the answer does not belong to the question: {what}"))
        .hint("the connection is given up; the question is asked again on a new one")
}

/// Whether login or logout worked. `Transient` when this answers something else.
pub fn decode_session(frame: &Frame, (kind, method): (&str, &str), user: &str) -> Result<Result<(), Refused>> {
    if let Some(refused) = refused(&frame.body) {
        return Ok(Err(refused));
    }
    let parts: Vec<&str> = frame.body.split(SEPARATOR).collect();
    let expected = frame.kind == kind && parts.get(2) == Some(&method) && parts.get(3) == Some(&user);
    if expected { Ok(Ok(())) } else { Err(foreign(format_args!("it does not answer {method}"))) }
}

/// Reads the answer to `question`, or the refusal that it is. `Transient` when it answers anything else: another query,
/// user, page or argument, other fields, rows of other securities or days.
pub fn decode(question: &Question, frame: &Frame, limits: &Limits) -> Result<Result<Table, Refused>> {
    if let Some(refused) = refused(&frame.body) {
        return Ok(Err(refused));
    }
    let message = question.message;
    if frame.kind != message.reply {
        return Err(foreign(format_args!("it has the type {} instead of {}", frame.kind, message.reply)));
    }
    let parts: Vec<&str> = frame.body.split(SEPARATOR).collect();
    let (data_at, echoed) = if message.is_paged() { (6, message.params.len()) } else { (4, 0) };
    let names_fields = message.layout != Layout::Bars;
    if parts.len() != data_at + 1 + echoed + usize::from(names_fields) {
        return Err(foreign(format_args!("it has {} parts", parts.len())));
    }
    let mut expected = vec![("query", 2, message.api.to_string()), ("user", 3, question.user.clone())];
    if message.is_paged() {
        expected.extend([("page", 4, question.page.to_string()), ("page size", 5, question.per_page.to_string())]);
        let arguments = message.params.iter().zip(&question.args).enumerate();
        expected.extend(arguments.map(|(place, (name, value))| (*name, data_at + 1 + place, value.clone())));
    }
    for (what, at, value) in expected {
        if parts[at] != value {
            return Err(foreign(format_args!("it names another {what}")));
        }
    }
    let fields = match names_fields {
        true => parts[parts.len() - 1],
        false => question.arg("fields"),
    };
    let table = read_data(parts[data_at], fields, limits)?;
    prove_fields(question, &table)?;
    prove_rows(question, &table)?;
    Ok(Ok(table))
}

fn read_data(data: &str, fields: &str, limits: &Limits) -> Result<Table> {
    // Lists of names come with blanks and tabs around the names.
    let mut table = Table::new(fields.split(',').map(|name| name.trim().to_string()).collect());
    if data.trim().is_empty() {
        return Ok(table);
    }
    let seed = Records { table: &mut table, rows_max: limits.rows_max };
    let mut json = serde_json::Deserializer::from_str(data);
    seed.deserialize(&mut json).and_then(|()| json.end()).map_err(|error| match error.to_string() {
        text if text.starts_with(TOO_MANY) => {
            Error::invalid(format!("the answer holds more than {} rows", limits.rows_max))
                .hint("raise rows_max of the source baostock, if the answer is meant to be that large")
        }
        // The parser's own message could quote a value.
        _ => Error::transient("the rows of the answer are not what the service is known to send"),
    })?;
    Ok(table)
}

fn prove_fields(question: &Question, table: &Table) -> Result<()> {
    let message = question.message;
    let unknown = table.fields.iter().find(|name| message.field(name).is_none());
    match unknown {
        Some(_) => Err(foreign("it has fields that the query has not")),
        None if table.fields.iter().enumerate().any(|(at, name)| table.fields[..at].contains(name)) => {
            Err(foreign("it has a field twice"))
        }
        None => Ok(()),
    }
}

/// Rows name the security and the days that were asked for.
fn prove_rows(question: &Question, table: &Table) -> Result<()> {
    if question.message.is_paged() && table.rows() > question.per_page as usize {
        return Err(foreign("its page has more rows than were asked for"));
    }
    let code = question.arg("code");
    if let (false, Some(column)) = (code.is_empty(), table.column("code"))
        && (0..table.rows()).any(|row| table.cell(row, column) != code)
    {
        return Err(foreign("it holds rows of other securities"));
    }
    let bounds = match question.message.layout {
        Layout::WholeDay => (question.arg("date"), question.arg("date")),
        _ => (question.arg("start_date"), question.arg("end_date")),
    };
    let dated = ["date", "calendar_date"].iter().find_map(|name| table.column(name));
    if let (Some(column), Ok(from), Ok(to)) = (dated, Day::parse(bounds.0), Day::parse(bounds.1)) {
        let lies_outside = |row: usize| match Day::parse(table.cell(row, column)) {
            Ok(day) => day < from || day > to,
            Err(_) => false,
        };
        if (0..table.rows()).any(lies_outside) {
            return Err(foreign("it holds rows of other days"));
        }
    }
    Ok(())
}

/// How the parser's message begins when there are too many rows.
const TOO_MANY: &str = "too many rows";

/// `{"record":[[…],…]}` straight into a table.
struct Records<'t> {
    table: &'t mut Table,
    rows_max: usize,
}

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("rows under `record`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Records { table, rows_max } = self;
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "record" && !found {
                map.next_value_seed(Rows { table, rows_max })?;
                found = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::custom("no record")) }
    }
}

struct Rows<'t> {
    table: &'t mut Table,
    rows_max: usize,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut rows = 0;
        while seq.next_element_seed(Row { table: self.table })?.is_some() {
            rows += 1;
            if rows > self.rows_max {
                return Err(A::Error::custom(TOO_MANY));
            }
        }
        Ok(())
    }
}

struct Row<'t> {
    table: &'t mut Table,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a row with a cell for every field")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let width = self.table.fields.len();
        let mut cells = 0;
        while seq.next_element_seed(Cell { table: self.table })?.is_some() {
            cells += 1;
            if cells > width {
                break;
            }
        }
        if cells == width { Ok(()) } else { Err(A::Error::invalid_length(cells, &"a cell for every field")) }
    }
}

struct Cell<'t> {
    table: &'t mut Table,
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.table.push(text);
        Ok(())
    }
}

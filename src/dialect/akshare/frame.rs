//! A table as AKTools sends it, an array of row objects, read without building values: every cell is its JSON text, so
//! numbers keep all their digits.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{Error, Result};

/// Bounds on what is accepted as an answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rows_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { rows_max: 100_000 }
    }
}

/// Named columns of JSON cells, row after row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    pub fields: Vec<Cow<'a, str>>,
    cells: Vec<Cow<'a, str>>,
}

/// The cell of a missing value.
pub const NULL: Cow<'static, str> = Cow::Borrowed("null");

impl<'a> Frame<'a> {
    pub fn new(fields: Vec<Cow<'a, str>>) -> Frame<'a> {
        Frame { fields, cells: Vec::new() }
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Cow<'a, str>]> {
        self.cells.chunks_exact(self.fields.len().max(1))
    }

    pub fn row_count(&self) -> usize {
        self.cells.len() / self.fields.len().max(1)
    }

    pub fn position(&self, field: &str) -> Option<usize> {
        self.fields.iter().position(|own| own == field)
    }

    /// Adds a row; cells beyond the fields are dropped, absent ones are null.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cow<'a, str>>) {
        let end = self.cells.len() + self.fields.len();
        self.cells.extend(row.into_iter().take(self.fields.len()));
        self.cells.resize(end, NULL);
    }
}

/// Text as a JSON cell.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text of an answer: UTF-8 and no web page, or a `Transient` error that says what it is instead.
pub fn text(body: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Error::transient("the answer is not UTF-8 (GBK, perhaps, or a compressed or binary body)"))?;
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        return Err(Error::transient("the answer is a page of HTML where JSON is due"));
    }
    Ok(text)
}

/// A JSON error without the parser's own message, which could quote a value.
pub fn broken(error: &serde_json::Error) -> Error {
    let what = if error.is_eof() { "is cut off" } else { "is not what the service is known to send" };
    Error::transient(format!("the answer {what} (line {} column {})", error.line(), error.column()))
}

pub fn too_many(limits: Limits) -> Error {
    Error::invalid(format!("the answer holds more than {} rows", limits.rows_max))
}

/// Reads an array of row objects. Rows without rows have no fields either.
pub fn read(body: &[u8], limits: Limits) -> Result<Frame<'_>> {
    let text = text(body)?;
    let mut frame = Frame::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut full = false;
    let rows = Rows { frame: &mut frame, rows_max: limits.rows_max, full: &mut full };
    let read = rows.deserialize(&mut reader).and_then(|()| reader.end());
    match read {
        Err(_) if full => Err(too_many(limits)),
        Err(error) => Err(broken(&error)),
        Ok(()) => Ok(frame),
    }
}

struct Rows<'f, 'a> {
    frame: &'f mut Frame<'a>,
    rows_max: usize,
    full: &'f mut bool,
}

impl<'de> DeserializeSeed<'de> for Rows<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let mut count = 0;
        while rows.next_element_seed(Row { frame: self.frame, is_first: count == 0 })?.is_some() {
            count += 1;
            if count > self.rows_max {
                *self.full = true;
                return Err(A::Error::custom("too many rows"));
            }
        }
        Ok(())
    }
}

struct Row<'f, 'a> {
    frame: &'f mut Frame<'a>,
    is_first: bool,
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Row<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    /// The first row names the fields; the others have the same ones.
    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let start = self.frame.cells.len();
        if !self.is_first {
            self.frame.cells.resize(start + self.frame.fields.len(), NULL);
        }
        let mut next = 0;
        while let Some(Key(key)) = row.next_key()? {
            let cell = Cow::Borrowed(row.next_value::<&'de RawValue>()?.get());
            if self.is_first {
                self.frame.fields.push(name(key));
                self.frame.cells.push(cell);
                continue;
            }
            let key = name(key);
            let here = self.frame.fields.get(next).is_some_and(|field| *field == key);
            let position = if here { Some(next) } else { self.frame.position(&key) };
            let place = position.and_then(|position| self.frame.cells.get_mut(start + position));
            *place.ok_or_else(|| A::Error::custom("a row with other columns"))? = cell;
            next = position.unwrap_or(next) + 1;
        }
        Ok(())
    }
}

/// Parentheses are written half-width in some versions and full-width in others.
fn name(key: Cow<'_, str>) -> Cow<'_, str> {
    match key.contains(['（', '）']) {
        true => Cow::Owned(key.replace('（', "(").replace('）', ")")),
        false => key,
    }
}

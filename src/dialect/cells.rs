//! Cells of a JSON answer: walking through JSON arrays without building values, and reading cells into Arrow columns.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};

use crate::model::{Column, ColumnType, Day, decimal};

/// Walks through JSON text that a parser has already found to be well-formed. Elements are slices of the text.
pub struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    pub fn new(text: &'a str) -> Walk<'a> {
        Walk { text, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    /// The text from `start` to here.
    pub fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The next byte that is no white space; 0 at the end.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// Enters the array that begins here, if one does.
    pub fn enter(&mut self) -> bool {
        let is_array = self.peek() == b'[';
        self.at += usize::from(is_array);
        is_array
    }

    /// Moves to the next element of the array; `false` after the last one, behind its bracket.
    pub fn more(&mut self) -> bool {
        match self.peek() {
            b',' => {
                self.at += 1;
                self.peek();
                true
            }
            b']' => {
                self.at += 1;
                false
            }
            0 => false,
            _ => true,
        }
    }

    /// The element that begins here.
    pub fn element(&mut self) -> &'a str {
        let start = self.at;
        match self.peek() {
            b'"' => self.skip_string(),
            b'[' | b'{' => self.skip_nested(),
            _ => {
                let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        self.since(start)
    }

    fn skip_string(&mut self) {
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                return;
            }
        }
    }

    fn skip_nested(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

/// Why a cell could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The column never lacks a value, but this row does.
    Missing,
    /// The cell does not hold what the column declares.
    Unreadable,
}

/// One column under construction.
pub struct Target<'d> {
    pub column: &'d Column,
    /// Where the answer has it; `None` when it lacks it.
    pub position: Option<usize>,
    is_key: bool,
    required: bool,
    shift: i8,
    values: Values,
}

enum Values {
    Text(StringBuilder),
    /// With the text and the day of the row before: a page is often one day.
    Date(Date32Builder, ([u8; 8], i32)),
    Datetime(TimestampSecondBuilder),
    Int(Int64Builder),
    Decimal(Decimal128Builder),
    Float(Float64Builder),
}

impl<'d> Target<'d> {
    /// `shift`: powers of ten from the unit on the wire to the column's.
    pub fn new(column: &'d Column, is_key: bool, position: Option<usize>, shift: i8, rows: usize) -> Target<'d> {
        let values = match column.kind {
            ColumnType::Text => Values::Text(StringBuilder::with_capacity(rows, rows * 9)),
            ColumnType::Date => Values::Date(Date32Builder::with_capacity(rows), ([0; 8], 0)),
            ColumnType::Datetime => {
                Values::Datetime(TimestampSecondBuilder::with_capacity(rows).with_data_type(column.data_type()))
            }
            ColumnType::Int => Values::Int(Int64Builder::with_capacity(rows)),
            ColumnType::Decimal => {
                Values::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(column.data_type()))
            }
            ColumnType::Float => Values::Float(Float64Builder::with_capacity(rows)),
        };
        let required = is_key || !column.nullable;
        Target { column, position, is_key, required, shift, values }
    }

    /// Whether an answer without this column is of no use.
    pub fn is_indispensable(&self) -> bool {
        self.required && self.column.derived.is_none()
    }

    /// Adds a row's cell. On trouble a stand-in is added, so that the columns keep their length.
    pub fn push(&mut self, cell: &str) -> Result<(), Trouble> {
        let is_text = self.column.kind == ColumnType::Text;
        if cell == "null" || (!is_text && matches!(cell, "\"\"" | "\"NaN\"" | "\"nan\"" | "\"None\"")) {
            return self.push_null();
        }
        let read = self.push_value(cell);
        if read.is_none() {
            self.push_stand_in();
        }
        read.ok_or(Trouble::Unreadable)
    }

    /// A key text that is missing is stored as `''`.
    pub fn push_null(&mut self) -> Result<(), Trouble> {
        if self.is_key && self.column.kind == ColumnType::Text {
            self.push_stand_in();
            return Ok(());
        }
        if self.required {
            self.push_stand_in();
            return Err(Trouble::Missing);
        }
        match &mut self.values {
            Values::Text(builder) => builder.append_null(),
            Values::Date(builder, _) => builder.append_null(),
            Values::Datetime(builder) => builder.append_null(),
            Values::Int(builder) => builder.append_null(),
            Values::Decimal(builder) => builder.append_null(),
            Values::Float(builder) => builder.append_null(),
        }
        Ok(())
    }

    /// A value that is replaced or dropped later.
    pub fn push_stand_in(&mut self) {
        match &mut self.values {
            Values::Text(builder) => builder.append_value(""),
            Values::Date(builder, _) => builder.append_value(0),
            Values::Datetime(builder) => builder.append_value(0),
            Values::Int(builder) => builder.append_value(0),
            Values::Decimal(builder) => builder.append_value(0),
            Values::Float(builder) => builder.append_value(0.0),
        }
    }

    fn push_value(&mut self, cell: &str) -> Option<()> {
        let shift = self.shift;
        match &mut self.values {
            Values::Text(builder) => builder.append_value(text_of(cell)?),
            Values::Date(builder, before) => builder.append_value(parse_day(&scalar(cell)?, before)?),
            Values::Datetime(builder) => builder.append_value(parse_datetime(&scalar(cell)?)?),
            Values::Int(builder) => builder.append_value(parse_int(&scalar(cell)?, shift)?),
            Values::Decimal(builder) => {
                builder.append_value(decimal::parse(&scalar(cell)?, self.column.scale, shift)?);
            }
            Values::Float(builder) => builder.append_value(parse_float(&scalar(cell)?, shift)?),
        }
        Some(())
    }

    pub fn finish(mut self) -> ArrayRef {
        match &mut self.values {
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Date(builder, _) => Arc::new(builder.finish()),
            Values::Datetime(builder) => Arc::new(builder.finish()),
            Values::Int(builder) => Arc::new(builder.finish()),
            Values::Decimal(builder) => Arc::new(builder.finish()),
            Values::Float(builder) => Arc::new(builder.finish()),
        }
    }
}

/// A string without its quotes and escapes; anything else as it is written.
pub fn text_of(cell: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Some(Cow::Borrowed(cell));
    };
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(cell).ok().map(Cow::Owned)
}

/// The text of a number or of a quoted value.
fn scalar(cell: &str) -> Option<Cow<'_, str>> {
    match cell.as_bytes().first()? {
        b'"' => text_of(cell).map(|text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_string()),
        }),
        b'0'..=b'9' | b'-' => Some(Cow::Borrowed(cell)),
        _ => None,
    }
}

fn parse_day(text: &str, before: &mut ([u8; 8], i32)) -> Option<i32> {
    if text.as_bytes() == before.0 {
        return Some(before.1);
    }
    let day = Day::parse(text).ok()?.0;
    if let Ok(text) = text.as_bytes().try_into() {
        *before = (text, day);
    }
    Some(day)
}

const BEIJING_SECONDS: i64 = 8 * 3600;

/// `YYYY-MM-DD HH:MM:SS` in Beijing as seconds since 1970 in UTC.
fn parse_datetime(text: &str) -> Option<i64> {
    let (day, time) = text.split_at_checked(10)?;
    let time = time.strip_prefix([' ', 'T'])?;
    let part = |range: std::ops::Range<usize>, limit: i64| -> Option<i64> {
        let digits = time.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse().ok().filter(|value| *value < limit)
    };
    let colons = time.len() == 8 && time.as_bytes().get(2) == Some(&b':') && time.as_bytes().get(5) == Some(&b':');
    let seconds = part(0..2, 24)? * 3600 + part(3..5, 60)? * 60 + part(6..8, 60)?;
    colons.then_some(i64::from(Day::parse(day).ok()?.0) * 86_400 + seconds - BEIJING_SECONDS)
}

/// `seconds` since 1970 in UTC as `YYYY-MM-DD HH:MM:SS` in Beijing.
pub fn write_datetime(out: &mut Vec<u8>, seconds: i64) {
    let local = seconds.saturating_add(BEIJING_SECONDS);
    let day = Day(i32::try_from(local.div_euclid(86_400)).unwrap_or(Day::MAX.0));
    let time = local.rem_euclid(86_400);
    let text = format!("{day} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60);
    out.extend_from_slice(text.as_bytes());
}

/// A whole number, also when it is written as `12.0`.
fn parse_int(text: &str, shift: i8) -> Option<i64> {
    const PLACES: i8 = 6;
    if let (0, Ok(value)) = (shift, text.parse()) {
        return Some(value);
    }
    let value = decimal::parse(text, PLACES, shift)?;
    let one = 10i128.pow(PLACES as u32);
    (value % one == 0).then(|| i64::try_from(value / one).ok()).flatten()
}

fn parse_float(text: &str, shift: i8) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    value.is_finite().then(|| value * 10f64.powi(i32::from(shift)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_finds_every_element() {
        let text = r#" [ 1 ,"a,]\"b", null,[2,[3,"]"]] ,{"k":"}"},-1.5e3,[]] "#;
        let mut walk = Walk::new(text);
        assert!(walk.enter());
        let mut found = Vec::new();
        while walk.more() {
            found.push(walk.element());
        }
        assert_eq!(found, ["1", r#""a,]\"b""#, "null", r#"[2,[3,"]"]]"#, r#"{"k":"}"}"#, "-1.5e3", "[]"]);
        let mut empty = Walk::new("[]");
        assert!(empty.enter() && !empty.more());
    }

    #[test]
    fn datetimes_are_beijing_seconds() {
        for (text, expected) in [
            ("1970-01-01 08:00:00", Some(0)),
            ("2024-01-31 18:00:01", Some(1_706_695_201)),
            ("2024-01-31T18:00:01", Some(1_706_695_201)),
            ("2024-01-31", None),
            ("2024-01-31 24:00:00", None),
            ("2024-01-31 18-00-00", None),
            ("2024-01-31 +8:00:00", None),
            ("2024-01-3一 18:00:00", None),
        ] {
            assert_eq!(parse_datetime(text), expected, "{text}");
        }
        let mut out = Vec::new();
        write_datetime(&mut out, 1_706_695_201);
        assert_eq!(out, b"2024-01-31 18:00:01");
    }

    #[test]
    fn whole_numbers_may_wear_a_point() {
        for (text, shift, expected) in [
            ("12", 0, Some(12)),
            ("12.0", 0, Some(12)),
            ("-1.2e1", 0, Some(-12)),
            ("525152.77", 2, Some(52_515_277)),
            ("12.5", 0, None),
            ("x", 0, None),
            ("9223372036854775808", 0, None),
        ] {
            assert_eq!(parse_int(text, shift), expected, "{text}");
        }
    }
}

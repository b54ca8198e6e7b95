//! Rows of changes as JSON text: exact, and without what was not sent.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::message::{Cell, Tuple};
use super::relation::{Column, Kind, Relation};
use crate::model::{Error, Result};

/// A row for people and programs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// A JSON object in the order of the columns; a value that was not sent is not in it.
    pub json: String,
    /// Columns whose values the change did not touch and the server did not send.
    pub unchanged: Vec<String>,
}

/// The row of a table, or the columns of its key alone.
pub fn row(relation: &Relation, tuple: &Tuple, key_only: bool) -> Result<Row> {
    if tuple.len() != relation.columns.len() {
        let (sent, known) = (tuple.len(), relation.columns.len());
        let table = relation.full_name();
        return Err(Error::transient(format!("a row of {table} has {sent} values for {known} columns")));
    }
    let mut row = Row { json: "{".to_owned(), unchanged: Vec::new() };
    for (column, cell) in relation.columns.iter().zip(tuple).filter(|(column, _)| column.is_key || !key_only) {
        if *cell == Cell::Unchanged {
            row.unchanged.push(column.name.clone());
            continue;
        }
        if row.json.len() > 1 {
            row.json.push(',');
        }
        // Writing into a text cannot fail.
        let _ = write!(row.json, "{}:{}", quoted(&column.name), value(column, cell)?);
    }
    row.json.push('}');
    Ok(row)
}

/// Integers, finite floats, truth values and JSON are themselves. Decimals and everything else are text, so that no
/// digit is lost in a reader's floating point.
fn value(column: &Column, cell: &Cell) -> Result<String> {
    let text = match cell {
        Cell::Null | Cell::Unchanged => return Ok("null".to_owned()),
        Cell::Text(text) => text,
        Cell::Binary(_) => {
            return Err(Error::transient(format!("column {} was sent in binary form", column.name)));
        }
    };
    Ok(match column.kind() {
        Kind::Boolean if text == "t" => "true".to_owned(),
        Kind::Boolean if text == "f" => "false".to_owned(),
        Kind::Integer if is_integer(text) => text.clone(),
        Kind::Float if is_number(text) => text.clone(),
        Kind::Json if serde_json::from_str::<&RawValue>(text).is_ok() => text.clone(),
        Kind::Bytes => match text.strip_prefix("\\x").and_then(unhex) {
            Some(bytes) => quoted(&STANDARD.encode(bytes)),
            None => quoted(text),
        },
        _ => quoted(text),
    })
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `Infinity` and `NaN` are no numbers in JSON.
fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite) && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

//! Cells: text of the wire into Arrow columns, and canonical values into text of the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};

use super::message::Form;
use crate::model::cell::Cells;
use crate::model::{Column, ColumnType, Day, decimal};

/// The exchanges of the mainland that BaoStock has no securities of.
pub const LACKED: [&str; 1] = ["BJ"];

/// `600000.SH` as `sh.600000`; `None` for what BaoStock has no code for: it knows Shanghai and Shenzhen.
pub fn wire_code(canonical: &str) -> Option<String> {
    let (digits, exchange) = canonical.split_once('.')?;
    let known = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match exchange {
        "SH" | "SZ" if known => Some(format!("{}.{digits}", exchange.to_ascii_lowercase())),
        _ => None,
    }
}

/// `sh.600000` as `600000.SH`; `None` when the text is no code of BaoStock.
pub fn canonical_code(wire: &str) -> Option<String> {
    let (exchange, digits) = wire.trim().split_once('.')?;
    let known = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match exchange.to_ascii_lowercase().as_str() {
        "sh" if known => Some(format!("{digits}.SH")),
        "sz" if known => Some(format!("{digits}.SZ")),
        "bj" if known => Some(format!("{digits}.BJ")),
        _ => None,
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
    is_key: bool,
    /// Powers of ten from the unit of the wire to that of the column.
    shift: i8,
    values: Values,
}

enum Values {
    Text(StringBuilder),
    Date(Date32Builder),
    Datetime(TimestampSecondBuilder),
    Int(Int64Builder),
    Decimal(Decimal128Builder),
    Float(Float64Builder),
}

impl<'d> Target<'d> {
    pub fn new(column: &'d Column, is_key: bool, shift: i8, rows: usize) -> Target<'d> {
        let data_type = column.data_type();
        let values = match column.kind {
            ColumnType::Text => Values::Text(StringBuilder::with_capacity(rows, rows * 9)),
            ColumnType::Date => Values::Date(Date32Builder::with_capacity(rows)),
            ColumnType::Datetime => {
                Values::Datetime(TimestampSecondBuilder::with_capacity(rows).with_data_type(data_type))
            }
            ColumnType::Int => Values::Int(Int64Builder::with_capacity(rows)),
            ColumnType::Decimal => Values::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(data_type)),
            ColumnType::Float => Values::Float(Float64Builder::with_capacity(rows)),
        };
        Target { column, is_key, shift, values }
    }

    /// Adds a row's cell; an empty one has no value. On trouble a stand-in is added, so that the columns keep their
    /// length.
    pub fn push(&mut self, cell: &str) -> Result<(), Trouble> {
        if cell.is_empty() {
            return self.push_null();
        }
        if self.push_value(cell).is_none() {
            self.push_stand_in();
            return Err(Trouble::Unreadable);
        }
        Ok(())
    }

    /// Adds the exact difference of two numbers; nothing when one of them is missing.
    pub fn push_difference(&mut self, left: &str, right: &str) -> Result<(), Trouble> {
        if left.is_empty() || right.is_empty() {
            return self.push_null();
        }
        const PLACES: i8 = 12;
        let difference = decimal::parse(left, PLACES, 0).zip(decimal::parse(right, PLACES, 0));
        match difference.and_then(|(left, right)| left.checked_sub(right)) {
            Some(difference) => self.push(&decimal::to_text(difference, PLACES)),
            None => {
                self.push_stand_in();
                Err(Trouble::Unreadable)
            }
        }
    }

    /// No value: null, the empty value of a key part, or trouble where a value is due.
    pub fn push_null(&mut self) -> Result<(), Trouble> {
        if !self.column.nullable && self.column.derived.is_none() {
            self.push_stand_in();
            return Err(Trouble::Missing);
        }
        if self.is_key {
            match &mut self.values {
                Values::Date(builder) => builder.append_value(Day::MIN.0),
                _ => self.push_stand_in(),
            }
            return Ok(());
        }
        match &mut self.values {
            Values::Text(builder) if self.column.derived.is_some() => builder.append_value(""),
            Values::Text(builder) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Datetime(builder) => builder.append_null(),
            Values::Int(builder) => builder.append_null(),
            Values::Decimal(builder) => builder.append_null(),
            Values::Float(builder) => builder.append_null(),
        }
        Ok(())
    }

    /// A value that is replaced or dropped later.
    fn push_stand_in(&mut self) {
        match &mut self.values {
            Values::Text(builder) => builder.append_value(""),
            Values::Date(builder) => builder.append_value(0),
            Values::Datetime(builder) => builder.append_value(0),
            Values::Int(builder) => builder.append_value(0),
            Values::Decimal(builder) => builder.append_value(0),
            Values::Float(builder) => builder.append_value(0.0),
        }
    }

    fn push_value(&mut self, cell: &str) -> Option<()> {
        let (shift, scale) = (self.shift, self.column.scale);
        match &mut self.values {
            Values::Text(builder) => builder.append_value(cell),
            Values::Date(builder) => builder.append_value(Day::parse(cell.trim()).ok()?.0),
            Values::Datetime(builder) => {
                let midnight = crate::model::Instant::at(Day::parse(cell.trim()).ok()?, 0);
                builder.append_value(midnight.0 / 1_000_000);
            }
            Values::Int(builder) => builder.append_value(parse_int(cell.trim(), shift)?),
            Values::Decimal(builder) => builder.append_value(decimal::parse(cell.trim(), scale, shift)?),
            Values::Float(builder) => {
                let value: f64 = cell.trim().parse().ok().filter(|value: &f64| value.is_finite())?;
                builder.append_value(value * 10f64.powi(i32::from(shift)));
            }
        }
        Some(())
    }

    pub fn finish(mut self) -> ArrayRef {
        match &mut self.values {
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Datetime(builder) => Arc::new(builder.finish()),
            Values::Int(builder) => Arc::new(builder.finish()),
            Values::Decimal(builder) => Arc::new(builder.finish()),
            Values::Float(builder) => Arc::new(builder.finish()),
        }
    }
}

/// A whole number, also when it is written as `12.00`.
fn parse_int(text: &str, shift: i8) -> Option<i64> {
    const PLACES: i8 = 6;
    let value = decimal::parse(text, PLACES, shift)?;
    let one = 10i128.pow(PLACES as u32);
    (value % one == 0).then(|| i64::try_from(value / one).ok()).flatten()
}

/// The value of `row` as the wire writes it; empty when there is none. `shift` is the powers of ten from the unit of the
/// wire to that of the column; `values` are the wire's words for the column's.
pub fn write(cells: &Cells, row: usize, form: Form, shift: i8, values: &BTreeMap<String, String>) -> String {
    let mut out = Vec::with_capacity(16);
    cells.write(row, shift, &mut out);
    let text = String::from_utf8(out).unwrap_or_default();
    if text.is_empty() {
        return text;
    }
    if let Some((wire, _)) = values.iter().find(|(_, value)| **value == text) {
        return wire.clone();
    }
    match form {
        Form::Code => wire_code(&text).unwrap_or(text),
        Form::Fixed(places) => fixed(&text, places),
        Form::Text | Form::Date | Form::Plain => text,
    }
}

/// A number with exactly so many digits after the point; what is beyond is rounded half to even.
pub fn fixed(text: &str, places: i8) -> String {
    let Some(value) = decimal::parse(text, places, 0) else { return text.to_string() };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = places as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places as usize);
    let (sign, point) = (if value < 0 { "-" } else { "" }, if places > 0 { "." } else { "" });
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_turned_around() {
        for (canonical, wire) in [("600000.SH", "sh.600000"), ("000001.SZ", "sz.000001"), ("000300.SH", "sh.000300")] {
            assert_eq!(wire_code(canonical).as_deref(), Some(wire));
            assert_eq!(canonical_code(wire).as_deref(), Some(canonical));
        }
        for text in ["830799.BJ", "885001.TI", "600000", "60000.SH", "", "６０００００.SH"] {
            assert_eq!(wire_code(text), None, "{text}");
        }
        for text in ["600000.SH", "sh600000", "hk.00700", "sh.60000x", ""] {
            assert_eq!(canonical_code(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_the_places_of_their_field() {
        for (text, places, expected) in [
            ("12.5", 4, "12.5000"),
            ("-0.0302", 6, "-0.030200"),
            ("0", 4, "0.0000"),
            ("22066700", 0, "22066700"),
            ("1.25", 1, "1.2"),
            ("-1.35", 1, "-1.4"),
            ("0.00004", 4, "0.0000"),
            ("x", 4, "x"),
        ] {
            assert_eq!(fixed(text, places), expected, "{text}");
        }
    }
}

//! Values of a table's rows as those of a dataset: exact, or refused with the reason.

use std::sync::Arc;

use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use serde_json::Value as Json;

use crate::model::{Column, ColumnType, Dataset, Day, Error, Key, KeyPart, Quarantined, Result, decimal, digest};

/// A value on its way from a table: text (see `parse`), missing, or why it cannot be read.
pub(super) type Raw = std::result::Result<Option<String>, String>;

/// A value of the dataset's type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    Int(i64),
    Day(Day),
    Seconds(i64),
    Decimal(i128),
    Float(f64),
}

/// The rule name of rows that do not convert.
const CONVERTS: &str = "converts_exactly";

/// Reads text as a column's type: whole seconds since 1970 for a datetime, the 16 hexadecimal digits of its bits for a
/// float, what people write for everything else.
pub(super) fn parse(column: &Column, text: String) -> std::result::Result<Value, String> {
    let unfit = |what: &str| format!("column {} {what}", column.name);
    Ok(match column.kind {
        ColumnType::Text => Value::Text(text),
        ColumnType::Int => Value::Int(text.parse().map_err(|_| unfit("is no whole number of 64 bits"))?),
        ColumnType::Date => Value::Day(Day::parse(&text).map_err(|_| unfit("is no date"))?),
        ColumnType::Datetime => Value::Seconds(text.parse().map_err(|_| unfit("is no instant"))?),
        ColumnType::Decimal => {
            let exact = exact_decimal(&text, column.scale);
            Value::Decimal(
                exact.ok_or_else(|| unfit(&format!("does not fit {} decimal places exactly", column.scale)))?,
            )
        }
        ColumnType::Float => {
            let bits = u64::from_str_radix(&text, 16).map_err(|_| unfit("is no number"))?;
            match f64::from_bits(bits) {
                value if value.is_nan() => return Err(unfit("is not a number (NaN)")),
                value => Value::Float(value),
            }
        }
    })
}

/// `text` times ten to the power `scale`, when that is a whole number of at most 38 digits.
fn exact_decimal(text: &str, scale: i8) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let places = usize::try_from(scale).ok()?;
    if fraction.len() > places || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', places - fraction.len())) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let fits = value < 10i128.pow(38);
    fits.then_some(if negative { -value } else { value })
}

/// One row in catalogue order, or why it cannot be one.
pub(super) fn row(dataset: &Dataset, raw: Vec<Raw>) -> std::result::Result<Vec<Value>, Quarantined> {
    let shown = || {
        let shown = |raw: &Raw| raw.as_ref().ok().and_then(|text| text.clone()).map_or(Json::Null, Json::String);
        let values = dataset.columns.iter().zip(&raw).map(|(column, raw)| (column.name.clone(), shown(raw)));
        Json::Object(values.collect())
    };
    let mut values = Vec::with_capacity(raw.len());
    for (column, raw) in dataset.columns.iter().zip(&raw) {
        let value = match raw {
            Ok(Some(text)) => parse(column, text.clone()),
            Ok(None) if column.nullable => Ok(Value::Null),
            Ok(None) => Err(format!("column {} has no value", column.name)),
            Err(reason) => Err(format!("column {} {reason}", column.name)),
        };
        match value {
            Ok(value) => values.push(value),
            Err(reason) => return Err(Quarantined { rule: CONVERTS.to_owned(), reason, row: shown() }),
        }
    }
    Ok(values)
}

/// The key of a row of which perhaps only the key can be read.
pub(super) fn key_of(dataset: &Dataset, raw: &[Raw]) -> Option<Key> {
    let part = |index: usize| match &raw[index] {
        Ok(Some(text)) => parse(&dataset.columns[index], text.clone()).ok().and_then(|value| value.key_part()),
        _ => None,
    };
    dataset.key_indices().into_iter().map(part).collect()
}

impl Value {
    fn key_part(&self) -> Option<KeyPart> {
        Some(match self {
            Value::Text(text) => KeyPart::Text(text.clone()),
            Value::Int(value) => KeyPart::Int(*value),
            Value::Day(day) => KeyPart::Day(*day),
            Value::Seconds(seconds) => KeyPart::Seconds(*seconds),
            Value::Decimal(value) => KeyPart::Decimal(*value),
            Value::Null | Value::Float(_) => return None,
        })
    }

    /// The canonical text that the hash of a row is made of.
    fn canonical(&self, column: &Column) -> Option<String> {
        Some(match self {
            Value::Null => return None,
            Value::Text(text) => text.clone(),
            Value::Int(value) | Value::Seconds(value) => value.to_string(),
            Value::Day(day) => day.to_string(),
            Value::Decimal(value) => decimal::to_text(*value, column.scale),
            Value::Float(value) => digest::float_text(*value),
        })
    }
}

/// Writes a row as `digest` defines it.
pub(super) fn write(dataset: &Dataset, values: &[Value], out: &mut Vec<u8>) {
    out.clear();
    for (column, value) in dataset.columns.iter().zip(values) {
        digest::push_value(out, value.canonical(column).as_ref().map(String::as_bytes));
    }
}

/// Rows on their way into a batch.
pub(super) struct Rows {
    dataset: Arc<Dataset>,
    columns: Vec<Builder>,
    pub(super) unreadable: Vec<Quarantined>,
    /// The key of the last row that has one.
    pub(super) last: Option<Key>,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Day(Date32Builder),
    Seconds(TimestampSecondBuilder),
    Decimal(Decimal128Builder),
    Float(Float64Builder),
}

impl Rows {
    pub(super) fn new(dataset: Arc<Dataset>) -> Rows {
        let builder = |column: &Column| {
            let data_type = column.data_type();
            match column.kind {
                ColumnType::Text => Builder::Text(StringBuilder::new()),
                ColumnType::Int => Builder::Int(Int64Builder::new()),
                ColumnType::Date => Builder::Day(Date32Builder::new()),
                ColumnType::Datetime => Builder::Seconds(TimestampSecondBuilder::new().with_data_type(data_type)),
                ColumnType::Decimal => Builder::Decimal(Decimal128Builder::new().with_data_type(data_type)),
                ColumnType::Float => Builder::Float(Float64Builder::new()),
            }
        };
        let columns = dataset.columns.iter().map(builder).collect();
        Rows { dataset, columns, unreadable: Vec::new(), last: None, count: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, raw: Vec<Raw>) {
        let len = |raw: &Raw| raw.as_ref().ok().and_then(Option::as_ref).map_or(0, String::len);
        self.bytes += raw.iter().map(len).sum::<usize>() as u64;
        self.count += 1;
        self.last = key_of(&self.dataset, &raw).or(self.last.take());
        match row(&self.dataset, raw) {
            Ok(values) => self.columns.iter_mut().zip(values).for_each(|(column, value)| column.append(value)),
            Err(refused) => self.unreadable.push(refused),
        }
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let arrays = self.columns.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(self.dataset.schema(), arrays).map_err(|error| {
            Error::bug(format!("rows of {} do not fit its schema", self.dataset.name)).caused_by(error)
        })
    }
}

impl Builder {
    fn append(&mut self, value: Value) {
        match (self, value) {
            (Builder::Text(builder), Value::Text(text)) => builder.append_value(text),
            (Builder::Int(builder), Value::Int(value)) => builder.append_value(value),
            (Builder::Day(builder), Value::Day(day)) => builder.append_value(day.0),
            (Builder::Seconds(builder), Value::Seconds(seconds)) => builder.append_value(seconds),
            (Builder::Decimal(builder), Value::Decimal(value)) => builder.append_value(value),
            (Builder::Float(builder), Value::Float(value)) => builder.append_value(value),
            (Builder::Text(builder), _) => builder.append_null(),
            (Builder::Int(builder), _) => builder.append_null(),
            (Builder::Day(builder), _) => builder.append_null(),
            (Builder::Seconds(builder), _) => builder.append_null(),
            (Builder::Decimal(builder), _) => builder.append_null(),
            (Builder::Float(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Int(builder) => Arc::new(builder.finish()),
            Builder::Day(builder) => Arc::new(builder.finish()),
            Builder::Seconds(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder) => Arc::new(builder.finish()),
            Builder::Float(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, scale, expected) in [
            ("12.50", 2, Some(1250)),
            ("-0.05", 2, Some(-5)),
            ("7", 3, Some(7000)),
            (".5", 1, Some(5)),
            ("1.255", 2, None),
            ("1.250000", 2, Some(125)),
            ("", 2, None),
            (".", 2, None),
            ("1e3", 2, None),
            ("NaN", 2, None),
            ("99999999999999999999999999999999999999", 0, Some(10i128.pow(38) - 1)),
            ("100000000000000000000000000000000000000", 0, None),
            ("1234567890123456789012345678.9012345678", 10, Some(12_345_678_901_234_567_890_123_456_789_012_345_678)),
        ] {
            assert_eq!(exact_decimal(text, scale), expected, "{text}");
        }
    }
}

//! Rows as the server sends them in a binary copy: cut apart, and turned into Arrow columns.

use std::sync::Arc;

use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use super::encode::HEADER;
use super::table::{Kind, Table};
use super::values::{EPOCH_DAYS, EPOCH_MICROS};
use crate::model::{Error, Result};

/// Cuts the bytes of a binary copy into rows, however they arrive.
#[derive(Default)]
pub(super) struct Rows {
    /// The beginning of a row whose rest has not arrived.
    pending: Vec<u8>,
    past_header: bool,
}

impl Rows {
    /// Hands each row that is complete to `row`: its bytes from the number of fields on.
    pub(super) fn feed(&mut self, chunk: &[u8], mut row: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.pending.is_empty() {
            let used = self.cut(chunk, &mut row)?;
            self.pending.extend_from_slice(&chunk[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.pending);
        joined.extend_from_slice(chunk);
        let used = self.cut(&joined, &mut row)?;
        joined.drain(..used);
        self.pending = joined;
        Ok(())
    }

    /// How many bytes belong to complete rows.
    fn cut(&mut self, bytes: &[u8], row: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut at = 0;
        if !self.past_header {
            if bytes.len() < HEADER.len() {
                return Ok(0);
            }
            at = HEADER.len();
            self.past_header = true;
        }
        while let Some(len) = row_len(&bytes[at..]) {
            if len > 2 {
                row(&bytes[at..at + len])?;
            }
            at += len;
        }
        Ok(at)
    }
}

/// The bytes of the row, or of the end mark, that begins here; `None` when its end is not here.
fn row_len(bytes: &[u8]) -> Option<usize> {
    let count = i16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    let mut at = 2;
    for _ in 0..count.max(0) {
        let len = i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4 + len.max(0) as usize;
    }
    (at <= bytes.len()).then_some(at)
}

/// The fields of a row, each with its length in front.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(row: &'a [u8]) -> Fields<'a> {
        Fields(row.get(2..).unwrap_or_default())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let len = i32::from_be_bytes(self.0.get(..4)?.try_into().ok()?).max(0) as usize;
        let (field, rest) = self.0.split_at_checked(4 + len)?;
        self.0 = rest;
        Some(field)
    }
}

/// The value of a field; `None` for NULL.
fn value(field: &[u8]) -> Option<&[u8]> {
    (field.get(..4)? != (-1i32).to_be_bytes()).then(|| &field[4..])
}

/// A field that holds a `bigint`.
pub(super) fn integer_of(field: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(value(field)?.try_into().ok()?))
}

/// A field that holds text.
pub(super) fn text_of(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(value(field)?).ok()
}

/// Columns under construction.
pub(super) struct Building {
    schema: SchemaRef,
    columns: Vec<Builder>,
    pub(super) rows: usize,
}

enum Builder {
    Text(StringBuilder),
    Date(Date32Builder),
    Datetime(TimestampSecondBuilder),
    Integer(Int64Builder),
    Decimal(Decimal128Builder, i8),
    Float(Float64Builder),
}

impl Building {
    /// For rows whose first fields are these columns of `table`; `schema` has the same columns.
    pub(super) fn new(table: &Table, columns: &[usize], schema: SchemaRef) -> Building {
        let builders = columns.iter().enumerate().map(|(at, index)| {
            let data_type = schema.field(at).data_type().clone();
            match table.kinds[*index] {
                Kind::Text => Builder::Text(StringBuilder::new()),
                Kind::Date => Builder::Date(Date32Builder::new()),
                Kind::Datetime => Builder::Datetime(TimestampSecondBuilder::new().with_data_type(data_type)),
                Kind::Integer => Builder::Integer(Int64Builder::new()),
                Kind::Decimal { scale, .. } => {
                    Builder::Decimal(Decimal128Builder::new().with_data_type(data_type), scale)
                }
                Kind::Float => Builder::Float(Float64Builder::new()),
            }
        });
        Building { columns: builders.collect(), schema, rows: 0 }
    }

    pub(super) fn append(&mut self, row: &[u8]) -> Result<()> {
        let mut fields = Fields::of(row);
        for (index, column) in self.columns.iter_mut().enumerate() {
            if fields.next().and_then(|field| column.append(value(field))).is_none() {
                let name = self.schema.field(index).name();
                let error = Error::storage(format!("column {name} holds a foreign value"));
                return Err(error.hint("another program wrote it; sync the dataset again with --force"));
            }
        }
        self.rows += 1;
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let arrays = self.columns.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(|error| {
            Error::storage("stored rows do not fit the catalogue").caused_by(error).hint(
                "another program wrote them, or a column is no longer nullable; sync the dataset again with --force",
            )
        })
    }
}

impl Builder {
    /// `None` when the value is not of the column's type.
    #[inline]
    fn append(&mut self, value: Option<&[u8]>) -> Option<()> {
        match (self, value) {
            (Builder::Text(builder), value) => match value {
                Some(text) => builder.append_value(std::str::from_utf8(text).ok()?),
                None => builder.append_null(),
            },
            (Builder::Date(builder), None) => builder.append_null(),
            (Builder::Datetime(builder), None) => builder.append_null(),
            (Builder::Integer(builder), None) => builder.append_null(),
            (Builder::Decimal(builder, _), None) => builder.append_null(),
            (Builder::Float(builder), None) => builder.append_null(),
            (Builder::Date(builder), Some(bytes)) => {
                builder.append_value(i32::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_DAYS)?);
            }
            (Builder::Datetime(builder), Some(bytes)) => {
                let micros = i64::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_MICROS)?;
                builder.append_value(micros.div_euclid(1_000_000));
            }
            (Builder::Integer(builder), Some(bytes)) => {
                builder.append_value(i64::from_be_bytes(bytes.try_into().ok()?));
            }
            (Builder::Decimal(builder, scale), Some(bytes)) => builder.append_value(decimal_of(bytes, *scale)?),
            (Builder::Float(builder), Some(bytes)) => builder.append_value(f64::from_be_bytes(bytes.try_into().ok()?)),
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Datetime(builder) => Arc::new(builder.finish()),
            Builder::Integer(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder, _) => Arc::new(builder.finish()),
            Builder::Float(builder) => Arc::new(builder.finish()),
        }
    }
}

/// A `numeric` times ten to the power `scale`; `None` when that is no whole number, or too large.
#[inline]
pub(super) fn decimal_of(bytes: &[u8], scale: i8) -> Option<i128> {
    let word = |at: usize| Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (count, weight, sign) = (word(0)?, word(2)?, word(4)? as u16);
    if sign != 0 && sign != 0x4000 {
        return None;
    }
    // Ten to this power times the last group.
    let power_after = |groups: i32| (i32::from(weight) - groups + 1) * 4 + i32::from(scale);
    let mut sum: i128 = 0;
    for index in 0..i32::from(count) {
        let digit = i128::from(word(8 + 2 * index as usize)?);
        let power = power_after(index + 1);
        let part = match power {
            0.. => digit.checked_mul(10i128.checked_pow(power as u32)?)?,
            _ => {
                let unit = 10i128.checked_pow(power.unsigned_abs())?;
                if digit % unit != 0 {
                    return None;
                }
                digit / unit
            }
        };
        sum = sum.checked_add(part)?;
    }
    Some(if sign == 0 { sum } else { -sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_however_the_bytes_arrive() {
        let mut bytes = HEADER.to_vec();
        let rows: [&[u8]; 3] = [
            &[0, 2, 0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff],
            &[0, 1, 0, 0, 0, 0],
            &[0, 2, 0, 0, 0, 2, 1, 2, 0, 0, 0, 1, 9],
        ];
        rows.iter().for_each(|row| bytes.extend_from_slice(row));
        bytes.extend_from_slice(&[0xff, 0xff]);
        for size in 1..bytes.len() {
            let (mut cutter, mut found) = (Rows::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                cutter
                    .feed(chunk, |row| {
                        found.push(row.to_vec());
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(found, rows, "in pieces of {size}");
        }
        assert_eq!(Fields::of(rows[2]).map(|field| field.len()).collect::<Vec<_>>(), [6, 5]);
    }
}

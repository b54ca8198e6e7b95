//! Answers written: batches -> reply body, numbers exactly and in the service's units.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{
    Array, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampSecondArray,
};

use crate::dialect::cells::write_datetime;
use crate::model::dataset::WireForm;
use crate::model::{Column, ColumnType, Dataset, Day, Error, Result, decimal};

/// Writes at most `rows_max` rows of `batches`, which hold the columns at `columns` (indices into the dataset's).
pub fn encode(
    dataset: &Dataset,
    columns: &[usize],
    batches: &[RecordBatch],
    rows_max: usize,
    has_more: bool,
    request_id: &str,
) -> Result<Vec<u8>> {
    let mut rows_left = rows_max;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut out = Vec::with_capacity(256 + rows.min(rows_max) * columns.len() * 10);
    out.extend_from_slice(b"{\"request_id\":");
    write_text(&mut out, request_id);
    out.extend_from_slice(b",\"code\":0,\"msg\":\"\",\"data\":{\"fields\":[");
    let declared: Vec<&Column> = columns.iter().filter_map(|index| dataset.columns.get(*index)).collect();
    for (index, column) in declared.iter().enumerate() {
        separate(&mut out, index);
        write_text(&mut out, &column.name);
    }
    out.extend_from_slice(b"],\"items\":[");
    let mut first = true;
    for batch in batches {
        let cells = writers(dataset, &declared, batch)?;
        for row in 0..batch.num_rows().min(rows_left) {
            out.extend_from_slice(if first { b"[" } else { b",[" });
            first = false;
            for (index, cell) in cells.iter().enumerate() {
                separate(&mut out, index);
                cell.write(&mut out, row);
            }
            out.push(b']');
        }
        rows_left = rows_left.saturating_sub(batch.num_rows());
    }
    out.extend_from_slice(b"],\"has_more\":");
    out.extend_from_slice(if has_more { b"true" } else { b"false" });
    out.extend_from_slice(b",\"count\":-1}}");
    Ok(out)
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// One column of a batch and how its cells are written.
struct Writer<'a> {
    values: Values<'a>,
    quoted: bool,
}

enum Values<'a> {
    Text(&'a StringArray),
    /// Text that goes out as whole numbers where it is one.
    IntegerText(&'a StringArray),
    /// Text in which `''` stands for a value that the source did not give.
    KeyText(&'a StringArray),
    Date(&'a Date32Array),
    Datetime(&'a TimestampSecondArray),
    Int(&'a Int64Array, i8),
    Decimal(&'a Decimal128Array, i8),
    Float(&'a Float64Array, i8),
}

fn writers<'a>(dataset: &Dataset, columns: &[&Column], batch: &'a RecordBatch) -> Result<Vec<Writer<'a>>> {
    if batch.num_columns() != columns.len() {
        let (found, expected) = (batch.num_columns(), columns.len());
        return Err(Error::bug(format!("{}: {found} columns where {expected} were asked for", dataset.name)));
    }
    let writer = |(column, values): (&&Column, &'a arrow_array::ArrayRef)| {
        let is_key = dataset.key.contains(&column.name);
        Writer::new(column, is_key, values)
            .ok_or_else(|| Error::bug(format!("{}.{} is not of its declared type", dataset.name, column.name)))
    };
    columns.iter().zip(batch.columns()).map(writer).collect()
}

impl<'a> Writer<'a> {
    fn new(column: &Column, is_key: bool, values: &'a dyn Array) -> Option<Writer<'a>> {
        let shift = column.tushare_shift()?;
        let form = column.tushare_form;
        let values = match column.kind {
            ColumnType::Text if form == Some(WireForm::Integer) => Values::IntegerText(values.as_string_opt()?),
            ColumnType::Text if is_key => Values::KeyText(values.as_string_opt()?),
            ColumnType::Text => Values::Text(values.as_string_opt()?),
            ColumnType::Date => Values::Date(values.as_primitive_opt::<Date32Type>()?),
            ColumnType::Datetime => Values::Datetime(values.as_primitive_opt::<TimestampSecondType>()?),
            ColumnType::Int => Values::Int(values.as_primitive_opt::<Int64Type>()?, shift),
            ColumnType::Decimal => Values::Decimal(values.as_primitive_opt::<Decimal128Type>()?, shift),
            ColumnType::Float => Values::Float(values.as_primitive_opt::<Float64Type>()?, shift),
        };
        Some(Writer { values, quoted: form == Some(WireForm::Text) })
    }

    fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::KeyText(values) => values.is_null(row) || values.value(row).is_empty(),
            Values::Text(values) | Values::IntegerText(values) => values.is_null(row),
            Values::Date(values) => values.is_null(row),
            Values::Datetime(values) => values.is_null(row),
            Values::Int(values, _) => values.is_null(row),
            Values::Decimal(values, _) => values.is_null(row),
            Values::Float(values, _) => values.is_null(row),
        }
    }

    fn write(&self, out: &mut Vec<u8>, row: usize) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        let quote = |out: &mut Vec<u8>| out.extend(self.quoted.then_some(b'"'));
        match &self.values {
            Values::Text(values) | Values::KeyText(values) => write_text(out, values.value(row)),
            Values::IntegerText(values) => write_integer_text(out, values.value(row)),
            Values::Date(values) => write_day(out, Day(values.value(row))),
            Values::Datetime(values) => {
                out.push(b'"');
                write_datetime(out, values.value(row));
                out.push(b'"');
            }
            Values::Int(values, shift) => {
                quote(out);
                decimal::write(out, i128::from(values.value(row)), 0, *shift, false);
                quote(out);
            }
            Values::Decimal(values, shift) => {
                quote(out);
                decimal::write(out, values.value(row), values.scale(), *shift, true);
                quote(out);
            }
            Values::Float(values, shift) => {
                quote(out);
                write_float(out, values.value(row) / 10f64.powi(i32::from(*shift)));
                quote(out);
            }
        }
    }
}

/// `"20240131"`.
fn write_day(out: &mut Vec<u8>, day: Day) {
    let date = day.date();
    let mut number = date.year() as u32 * 10_000 + date.month() as u32 * 100 + date.day() as u32;
    let mut text = *b"\"00000000\"";
    for digit in text[1..9].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text);
}

/// The shortest text that reads back as the same double; what is no number is missing.
fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(format!("{value:?}").as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Whole numbers without quotes, as long as reading them gives the same text back.
fn write_integer_text(out: &mut Vec<u8>, text: &str) {
    match text.parse::<i64>() {
        Ok(value) if value.to_string() == text => out.extend_from_slice(text.as_bytes()),
        _ => write_text(out, text),
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        for byte in text.bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

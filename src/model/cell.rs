//! One value of a batch as text: dates in ISO form, decimals exact, instants in Beijing time. Whatever writes rows for
//! people or files, or reads foreign columns, goes through here.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use jiff::{Timestamp, tz::Offset};

use super::day::Day;
use super::decimal;
use super::error::{Error, Result};

/// A column whose type is known, ready to write its values.
pub struct Cells<'a> {
    array: &'a dyn Array,
    kind: Kind,
    /// Which value each row of a dictionary column stands for.
    keys: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Kind {
    Null,
    Text,
    LargeText,
    TextView,
    Bool,
    Integer(fn(&dyn Array, usize) -> i128),
    Decimal(i8),
    Single,
    Double,
    Day,
    Milliseconds,
    /// Ticks a second, and whether the value is an instant (has a time zone).
    Time(i64, bool),
    Dictionary,
}

impl<'a> Cells<'a> {
    /// `Invalid` when values of this type have no text form (lists, structures, binary).
    pub fn of(array: &'a dyn Array) -> Result<Cells<'a>> {
        let kind = kind_of(array.data_type()).ok_or_else(|| {
            Error::invalid(format!("columns of type {} cannot be read", array.data_type()))
                .hint("store the column as text, number, date or time")
        })?;
        let keys = match kind {
            Kind::Dictionary => array.as_any_dictionary().normalized_keys(),
            _ => Vec::new(),
        };
        Ok(Cells { array, kind, keys })
    }

    pub fn is_null(&self, row: usize) -> bool {
        match self.kind {
            Kind::Null => true,
            Kind::Dictionary => self.array.as_any_dictionary().logical_nulls().is_some_and(|nulls| nulls.is_null(row)),
            _ => self.array.is_null(row),
        }
    }

    /// Whether values are numbers (aligned right, unquoted in JSON).
    pub fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Integer(_) | Kind::Decimal(_) | Kind::Single | Kind::Double)
    }

    pub fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::LargeText | Kind::TextView | Kind::Dictionary)
    }

    /// Appends the value of `row`, divided by ten to the power `shift` when it is a number; nothing when it is null.
    /// Doubles that are no number append nothing either.
    pub fn write(&self, row: usize, shift: i8, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        let array = self.array;
        match self.kind {
            Kind::Null => {}
            Kind::Text => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
            Kind::LargeText => out.extend_from_slice(array.as_string::<i64>().value(row).as_bytes()),
            Kind::TextView => out.extend_from_slice(array.as_string_view().value(row).as_bytes()),
            Kind::Bool => out.push(if array.as_boolean().value(row) { b'1' } else { b'0' }),
            Kind::Integer(value) => decimal::write(out, value(array, row), 0, shift, false),
            Kind::Decimal(scale) => {
                decimal::write(out, array.as_primitive::<Decimal128Type>().value(row), scale, shift, false);
            }
            Kind::Single => write_double(out, array.as_primitive::<Float32Type>().value(row)),
            Kind::Double => write_double(out, array.as_primitive::<Float64Type>().value(row)),
            Kind::Day => write_day(out, array.as_primitive::<Date32Type>().value(row)),
            Kind::Milliseconds => write_time(out, array.as_primitive::<Date64Type>().value(row), 1000, false),
            Kind::Time(ticks, zoned) => write_time(out, ticks_of(array, row, ticks), ticks, zoned),
            Kind::Dictionary => self.write_dictionary(row, out),
        }
    }

    fn write_dictionary(&self, row: usize, out: &mut Vec<u8>) {
        let values: &ArrayRef = self.array.as_any_dictionary().values();
        let key = self.keys.get(row).copied().unwrap_or(usize::MAX);
        match Cells::of(values.as_ref()) {
            Ok(cells) if key < values.len() => cells.write(key, 0, out),
            _ => {}
        }
    }
}

fn kind_of(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Null => Kind::Null,
        DataType::Utf8 => Kind::Text,
        DataType::LargeUtf8 => Kind::LargeText,
        DataType::Utf8View => Kind::TextView,
        DataType::Boolean => Kind::Bool,
        DataType::Int8 => Kind::Integer(integer::<Int8Type>),
        DataType::Int16 => Kind::Integer(integer::<Int16Type>),
        DataType::Int32 => Kind::Integer(integer::<Int32Type>),
        DataType::Int64 => Kind::Integer(integer::<Int64Type>),
        DataType::UInt8 => Kind::Integer(integer::<UInt8Type>),
        DataType::UInt16 => Kind::Integer(integer::<UInt16Type>),
        DataType::UInt32 => Kind::Integer(integer::<UInt32Type>),
        DataType::UInt64 => Kind::Integer(integer::<UInt64Type>),
        DataType::Decimal128(_, scale) => Kind::Decimal(*scale),
        DataType::Float32 => Kind::Single,
        DataType::Float64 => Kind::Double,
        DataType::Date32 => Kind::Day,
        DataType::Date64 => Kind::Milliseconds,
        DataType::Timestamp(unit, zone) => Kind::Time(ticks_per_second(*unit), zone.is_some()),
        DataType::Dictionary(_, values) if is_text_type(values) => Kind::Dictionary,
        _ => return None,
    })
}

fn is_text_type(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn integer<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> i128
where
    T::Native: Into<i128>,
{
    array.as_primitive::<T>().value(row).into()
}

fn ticks_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn ticks_of(array: &dyn Array, row: usize, ticks: i64) -> i64 {
    match ticks {
        1 => array.as_primitive::<TimestampSecondType>().value(row),
        1000 => array.as_primitive::<TimestampMillisecondType>().value(row),
        1_000_000 => array.as_primitive::<TimestampMicrosecondType>().value(row),
        _ => array.as_primitive::<TimestampNanosecondType>().value(row),
    }
}

/// `Display` of a double is the shortest text that reads back as the same double.
fn write_double(out: &mut Vec<u8>, value: impl Into<f64> + std::fmt::Display + Copy) {
    if value.into().is_finite() {
        out.extend_from_slice(value.to_string().as_bytes());
    }
}

/// `Day::MIN` stands for a missing part of a key.
fn write_day(out: &mut Vec<u8>, number: i32) {
    if Day(number) != Day::MIN {
        Day(number).write(out);
    }
}

/// Instants are shown in Beijing; times without a zone are shown as they are.
fn write_time(out: &mut Vec<u8>, value: i64, ticks: i64, zoned: bool) {
    let offset = if zoned { Offset::constant(8) } else { Offset::UTC };
    let nanoseconds = value.rem_euclid(ticks) * (1_000_000_000 / ticks);
    let Ok(timestamp) = Timestamp::new(value.div_euclid(ticks), nanoseconds as i32) else { return };
    let time = offset.to_datetime(timestamp);
    write_day(out, Day::from_date(time.date()).0);
    let clock = format!(" {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    out.extend_from_slice(clock.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray, TimestampSecondArray,
    };

    use super::*;

    #[test]
    fn every_type_is_written_exactly_and_null_is_nothing() {
        let dictionary: DictionaryArray<arrow_array::types::Int32Type> = vec![Some("a"), None].into_iter().collect();
        let columns: Vec<(ArrayRef, i8, &str)> = vec![
            (Arc::new(StringArray::from(vec![Some("万  科Ａ"), None])), 0, "万  科Ａ"),
            (Arc::new(Int64Array::from(vec![Some(-700), None])), 0, "-700"),
            (Arc::new(Int64Array::from(vec![Some(5), None])), 2, "0.05"),
            (decimal_column(6_322_964, 0), 2, "63229.64"),
            (decimal_column(-2134, 4), 0, "-0.2134"),
            (Arc::new(Float64Array::from(vec![Some(0.1), None])), 0, "0.1"),
            (Arc::new(Float64Array::from(vec![Some(1e21), None])), 0, "1000000000000000000000"),
            (Arc::new(Float64Array::from(vec![Some(f64::NAN), None])), 0, ""),
            (Arc::new(Date32Array::from(vec![Some(19_724), None])), 0, "2024-01-02"),
            (beijing(1_704_159_000), 0, "2024-01-02 09:30:00"),
            (Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None])), 0, "1969-12-31 23:59:59"),
            (Arc::new(dictionary), 0, "a"),
        ];
        for (column, shift, expected) in columns {
            let cells = Cells::of(column.as_ref()).unwrap();
            let mut out = Vec::new();
            cells.write(0, shift, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{}", column.data_type());
            let mut out = Vec::new();
            cells.write(1, shift, &mut out);
            assert!(cells.is_null(1) && out.is_empty(), "{}", column.data_type());
        }
    }

    fn decimal_column(value: i128, scale: i8) -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![Some(value), None]).with_precision_and_scale(38, scale).unwrap())
    }

    fn beijing(second: i64) -> ArrayRef {
        Arc::new(TimestampSecondArray::from(vec![Some(second), None]).with_timezone("+08:00"))
    }
}

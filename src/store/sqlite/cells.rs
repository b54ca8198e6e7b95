//! Cells: how values of a batch look in SQLite, without an allocation per cell.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampSecondArray,
};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Statement, ToSql};

use crate::model::{Column, ColumnType, Day, Error, Instant, Result, decimal};

/// How a column is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    Date,
    Datetime,
    Integer,
    /// A decimal of up to 15 digits, as the nearest double; `power` is 10^scale.
    Real {
        scale: i8,
        power: f64,
    },
    /// A decimal of more digits, as canonical text.
    Exact {
        scale: i8,
    },
    Float,
}

impl Kind {
    pub(super) fn of(column: &Column) -> Kind {
        match column.kind {
            ColumnType::Text => Kind::Text,
            ColumnType::Date => Kind::Date,
            ColumnType::Datetime => Kind::Datetime,
            ColumnType::Int => Kind::Integer,
            ColumnType::Decimal if column.digits <= 15 => {
                Kind::Real { scale: column.scale, power: 10f64.powi(i32::from(column.scale)) }
            }
            ColumnType::Decimal => Kind::Exact { scale: column.scale },
            ColumnType::Float => Kind::Float,
        }
    }

    /// The type in the table's declaration.
    pub(super) fn declared(self) -> &'static str {
        match self {
            Kind::Text | Kind::Date | Kind::Datetime | Kind::Exact { .. } => "text",
            Kind::Integer => "integer",
            Kind::Real { .. } | Kind::Float => "real",
        }
    }

    /// The type as `_column` records it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Date => "date",
            Kind::Datetime => "datetime",
            Kind::Integer => "int",
            Kind::Real { .. } => "decimal",
            Kind::Exact { .. } => "decimal as text",
            Kind::Float => "float",
        }
    }

    pub(super) fn scale(self) -> i8 {
        match self {
            Kind::Real { scale, .. } | Kind::Exact { scale } => scale,
            _ => 0,
        }
    }
}

/// One value, ready to be bound or compared. Short texts that have to be made live inside of it.
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Made(Made),
}

impl Cell<'_> {
    pub(super) fn value(&self) -> ValueRef<'_> {
        match self {
            Cell::Null => ValueRef::Null,
            Cell::Integer(value) => ValueRef::Integer(*value),
            Cell::Real(value) => ValueRef::Real(*value),
            Cell::Text(text) => ValueRef::Text(text),
            Cell::Made(text) => ValueRef::Text(text.bytes()),
        }
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.value()))
    }
}

/// A text of at most 47 bytes: a day, an instant or a decimal.
pub(super) struct Made {
    bytes: [u8; 47],
    len: u8,
}

impl Made {
    pub(super) fn new(text: &[u8]) -> Made {
        let len = text.len().min(47);
        let mut bytes = [0; 47];
        bytes[..len].copy_from_slice(&text[..len]);
        Made { bytes, len: len as u8 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The column of a batch.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    Text(&'a StringArray),
    Date(&'a Date32Array),
    Datetime(&'a TimestampSecondArray),
    Integer(&'a Int64Array),
    Real(&'a Decimal128Array, i8, f64),
    Exact(&'a Decimal128Array, i8),
    Float(&'a Float64Array),
}

impl<'a> Cells<'a> {
    pub(super) fn new(kind: Kind, array: &'a ArrayRef) -> Result<Cells<'a>> {
        let cells = match kind {
            Kind::Text => array.as_string_opt().map(Cells::Text),
            Kind::Date => array.as_primitive_opt::<Date32Type>().map(Cells::Date),
            Kind::Datetime => array.as_primitive_opt::<TimestampSecondType>().map(Cells::Datetime),
            Kind::Integer => array.as_primitive_opt::<Int64Type>().map(Cells::Integer),
            Kind::Real { scale, power } => {
                array.as_primitive_opt::<Decimal128Type>().map(|array| Cells::Real(array, scale, power))
            }
            Kind::Exact { scale } => array.as_primitive_opt::<Decimal128Type>().map(|array| Cells::Exact(array, scale)),
            Kind::Float => array.as_primitive_opt::<Float64Type>().map(Cells::Float),
        };
        cells.ok_or_else(|| Error::bug(format!("a {} column holds {}", kind.name(), array.data_type())))
    }

    fn array(&self) -> &'a dyn Array {
        match self {
            Cells::Text(array) => *array,
            Cells::Date(array) => *array,
            Cells::Datetime(array) => *array,
            Cells::Integer(array) => *array,
            Cells::Real(array, ..) | Cells::Exact(array, _) => *array,
            Cells::Float(array) => *array,
        }
    }

    pub(super) fn null_count(&self) -> usize {
        self.array().null_count()
    }

    pub(super) fn get(&self, row: usize) -> Cell<'a> {
        match self {
            Cells::Text(array) if array.is_valid(row) => Cell::Text(array.value(row).as_bytes()),
            Cells::Date(array) if array.is_valid(row) => Cell::Made(Made::new(&day_text(Day(array.value(row))))),
            Cells::Datetime(array) if array.is_valid(row) => {
                let instant = Instant(array.value(row).saturating_mul(1_000_000));
                Cell::Made(Made::new(instant.to_string().as_bytes()))
            }
            Cells::Integer(array) if array.is_valid(row) => Cell::Integer(array.value(row)),
            Cells::Real(array, _, power) if array.is_valid(row) => Cell::Real(real(array.value(row), *power)),
            Cells::Exact(array, scale) if array.is_valid(row) => {
                Cell::Made(Made::new(decimal::to_text(array.value(row), *scale).as_bytes()))
            }
            // SQLite has no NaN: it is a missing value.
            Cells::Float(array) if array.is_valid(row) && !array.value(row).is_nan() => Cell::Real(array.value(row)),
            _ => Cell::Null,
        }
    }

    /// Binds the value; the common types without making a `Cell` first.
    #[inline]
    pub(super) fn bind(&self, row: usize, statement: &mut Statement, parameter: usize) -> rusqlite::Result<()> {
        match self {
            Cells::Real(array, _, power) if array.is_valid(row) => {
                statement.raw_bind_parameter(parameter, real(array.value(row), *power))
            }
            Cells::Text(array) if array.is_valid(row) => statement.raw_bind_parameter(parameter, array.value(row)),
            Cells::Date(array) if array.is_valid(row) => {
                let text = day_text(Day(array.value(row)));
                statement.raw_bind_parameter(parameter, ToSqlOutput::Borrowed(ValueRef::Text(&text)))
            }
            _ => statement.raw_bind_parameter(parameter, self.get(row)),
        }
    }

    /// Whether the stored value is the same.
    #[inline]
    pub(super) fn equals(&self, row: usize, stored: ValueRef) -> bool {
        match (self, stored) {
            (Cells::Real(array, _, power), ValueRef::Real(stored)) => {
                array.is_valid(row) && real(array.value(row), *power) == stored
            }
            (Cells::Text(array), ValueRef::Text(stored)) => {
                array.is_valid(row) && array.value(row).as_bytes() == stored
            }
            _ => self.get(row).value() == stored,
        }
    }

    /// Whether SQLite would keep NULL.
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Float(array) => array.is_null(row) || array.value(row).is_nan(),
            _ => self.array().is_null(row),
        }
    }

    /// The text of a text column.
    pub(super) fn text(&self, row: usize) -> Option<&'a str> {
        match self {
            Cells::Text(array) if array.is_valid(row) => Some(array.value(row)),
            _ => None,
        }
    }

    /// The day of a date or an instant.
    #[inline]
    pub(super) fn day(&self, row: usize) -> Option<Day> {
        match self {
            Cells::Date(array) if array.is_valid(row) => Some(Day(array.value(row))),
            Cells::Datetime(array) if array.is_valid(row) => {
                Some(Instant(array.value(row).saturating_mul(1_000_000)).day())
            }
            _ => None,
        }
    }

    /// Rows whose decimal does not survive being a double.
    pub(super) fn inexact_rows(&self) -> Vec<usize> {
        /// Below this every decimal does: half a unit is larger than what two roundings can add up to.
        const SAFE: i128 = 1_000_000_000_000_000;
        let Cells::Real(array, scale, _) = self else { return Vec::new() };
        if array.values().iter().all(|value| (-SAFE..=SAFE).contains(value)) {
            return Vec::new();
        }
        let inexact = |row: &usize| {
            let value = array.value(*row);
            let survives =
                value.unsigned_abs() <= 1 << 53 && decimal::from_f64(decimal::to_f64(value, *scale), *scale) == value;
            array.is_valid(*row) && !survives
        };
        (0..array.len()).filter(inexact).collect()
    }

    /// The value as JSON, exact: decimals that are no safe double are texts.
    pub(super) fn json(&self, row: usize) -> serde_json::Value {
        if let Cells::Real(array, scale, _) = self
            && array.is_valid(row)
        {
            return decimal::to_text(array.value(row), *scale).into();
        }
        match self.get(row).value() {
            ValueRef::Integer(value) => value.into(),
            ValueRef::Real(value) => value.into(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
            _ => serde_json::Value::Null,
        }
    }

    /// Appends bytes that sort as SQLite sorts the values, and are equal only when the values are.
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Text(array) => {
                for byte in array.value(row).bytes() {
                    out.push(byte);
                    if byte == 0 {
                        out.push(0xff);
                    }
                }
                out.extend_from_slice(&[0, 0]);
            }
            Cells::Date(array) => out.extend_from_slice(&flip32(array.value(row))),
            Cells::Datetime(array) => out.extend_from_slice(&flip64(array.value(row))),
            Cells::Integer(array) => out.extend_from_slice(&flip64(array.value(row))),
            Cells::Real(array, ..) | Cells::Exact(array, _) => {
                out.extend_from_slice(&((array.value(row) as u128) ^ (1 << 127)).to_be_bytes());
            }
            Cells::Float(array) => {
                let bits = (array.value(row) + 0.0).to_bits();
                let mask = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
                out.extend_from_slice(&(bits ^ mask).to_be_bytes());
            }
        }
    }
}

/// What `decimal::to_f64` gives for values that survive it.
#[inline]
fn real(value: i128, power: f64) -> f64 {
    value as i64 as f64 / power
}

fn flip32(value: i32) -> [u8; 4] {
    ((value as u32) ^ (1 << 31)).to_be_bytes()
}

fn flip64(value: i64) -> [u8; 8] {
    ((value as u64) ^ (1 << 63)).to_be_bytes()
}

/// `YYYY-MM-DD`, by Howard Hinnant's `civil_from_days`: a tenth of the time of a general formatter.
pub(super) fn day_text(day: Day) -> [u8; 10] {
    let shifted = i64::from(day.0.clamp(Day::MIN.0, Day::MAX.0)) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let digit = |value: i64| b'0' + (value % 10) as u8;
    let (century, rest) = (year / 100, year % 100);
    let [y1, y2, y3, y4] = [digit(century / 10), digit(century), digit(rest / 10), digit(rest)];
    let [m1, m2, d1, d2] = [digit(month / 10), digit(month), digit(day_of_month / 10), digit(day_of_month)];
    [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]
}

/// Reads what `day_text` writes.
pub(super) fn day_from_text(text: &[u8]) -> Option<Day> {
    let text: &[u8; 10] = text.try_into().ok()?;
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0i32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if text[4] != b'-' || text[7] != b'-' || !(1..=12).contains(&month) || !(1..=31).contains(&day) || year == 0 {
        return None;
    }
    let year = year - i32::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(Day(era * 146_097 + day_of_era - 719_468))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_is_written_as_the_calendar_does() {
        for day in (Day::MIN.0..=Day::MAX.0).step_by(13).map(Day).chain([Day::MAX]) {
            let text = day_text(day);
            assert_eq!(text, day.to_string().as_bytes());
            assert_eq!(day_from_text(&text), Some(day));
        }
        for text in ["", "2024-1-31", "2024/01/31", "2024-00-01", "0000-01-01", "2024-01-32", "２024-01"] {
            assert_eq!(day_from_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn encoded_keys_sort_as_their_values_and_never_run_into_each_other() {
        let texts: StringArray = StringArray::from(vec!["", "a", "a\0", "a\0b", "a\u{1}", "ab", "b"]);
        let encoded: Vec<Vec<u8>> = (0..texts.len())
            .map(|row| {
                let mut out = Vec::new();
                Cells::Text(&texts).encode(row, &mut out);
                out
            })
            .collect();
        assert!(encoded.is_sorted() && encoded.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn decimals_that_a_double_cannot_hold_are_found() {
        let values = vec![0, 999_999_999_999_999, -999_999_999_999_999, (1 << 53) + 1, 1 << 60, i128::MAX];
        let array = Decimal128Array::from(values).with_precision_and_scale(38, 4).unwrap();
        assert_eq!(Cells::Real(&array, 4, 1e4).inexact_rows(), [3, 4, 5]);
    }
}

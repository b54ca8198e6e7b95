//! Rows of a batch in PostgreSQL's binary copy format, byte for byte as the server itself sends them: what is stored can
//! be compared without being decoded.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampSecondArray,
};

use super::table::{Kind, Table};
use super::values::{EPOCH_DAYS, EPOCH_MICROS};
use crate::model::{Day, Error, Instant, Result, decimal};

/// What a binary copy begins with: signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];
/// The bytes of the field `_seq`, which every row ends with.
pub(super) const SEQ_BYTES: usize = 12;

/// The column of a batch.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    Text(&'a StringArray),
    Date(&'a Date32Array),
    Datetime(&'a TimestampSecondArray),
    Integer(&'a Int64Array),
    Decimal(&'a Decimal128Array, i8, bool),
    Float(&'a Float64Array),
}

impl<'a> Cells<'a> {
    pub(super) fn new(kind: Kind, array: &'a ArrayRef) -> Result<Cells<'a>> {
        let cells = match kind {
            Kind::Text => array.as_string_opt().map(Cells::Text),
            Kind::Date => array.as_primitive_opt::<Date32Type>().map(Cells::Date),
            Kind::Datetime => array.as_primitive_opt::<TimestampSecondType>().map(Cells::Datetime),
            Kind::Integer => array.as_primitive_opt::<Int64Type>().map(Cells::Integer),
            Kind::Decimal { scale, exact } => {
                array.as_primitive_opt::<Decimal128Type>().map(|array| Cells::Decimal(array, scale, exact))
            }
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
            Cells::Decimal(array, ..) => *array,
            Cells::Float(array) => *array,
        }
    }

    /// Whether the store would keep NULL: a missing value, or a double that is no number.
    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Float(array) => array.is_null(row) || array.value(row).is_nan(),
            _ => self.array().is_null(row),
        }
    }

    /// Appends the field: its length and its bytes, or the length -1 for NULL.
    #[inline]
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(&(-1i32).to_be_bytes());
        }
        match self {
            Cells::Text(array) => {
                let text = array.value(row).as_bytes();
                out.extend_from_slice(&(text.len() as i32).to_be_bytes());
                out.extend_from_slice(text);
            }
            Cells::Date(array) => field(out, &(array.value(row) - EPOCH_DAYS).to_be_bytes()),
            Cells::Datetime(array) => {
                let micros = array.value(row).saturating_mul(1_000_000) - EPOCH_MICROS;
                field(out, &micros.to_be_bytes());
            }
            Cells::Integer(array) => field(out, &array.value(row).to_be_bytes()),
            Cells::Decimal(array, scale, _) => numeric(out, array.value(row), *scale),
            // There is one zero.
            Cells::Float(array) => field(out, &(array.value(row) + 0.0).to_be_bytes()),
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

    /// Rows that no store keeps, with the reason: decimals beyond the digits that their column declares, texts with the
    /// character that PostgreSQL has no place for.
    pub(super) fn refused_rows(&self) -> Vec<usize> {
        /// Below this every decimal of 15 digits is exact in every store.
        const SAFE: i128 = 1_000_000_000_000_000;
        match self {
            Cells::Decimal(array, scale, false) => {
                if array.values().iter().all(|value| (-SAFE..=SAFE).contains(value)) {
                    return Vec::new();
                }
                let inexact = |row: &usize| {
                    let value = array.value(*row);
                    let survives = value.unsigned_abs() <= 1 << 53
                        && decimal::from_f64(decimal::to_f64(value, *scale), *scale) == value;
                    array.is_valid(*row) && !survives
                };
                (0..array.len()).filter(inexact).collect()
            }
            Cells::Text(array) if array.value_data().contains(&0) => {
                (0..array.len()).filter(|row| array.is_valid(*row) && array.value(*row).contains('\0')).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The value as JSON, in the form of every store: decimals, days and instants as text.
    pub(super) fn json(&self, row: usize) -> serde_json::Value {
        if self.is_null(row) {
            return serde_json::Value::Null;
        }
        match self {
            Cells::Text(array) => array.value(row).into(),
            Cells::Date(array) => Day(array.value(row)).to_string().into(),
            Cells::Datetime(array) => Instant(array.value(row).saturating_mul(1_000_000)).to_string().into(),
            Cells::Integer(array) => array.value(row).into(),
            Cells::Decimal(array, scale, _) => decimal::to_text(array.value(row), *scale).into(),
            Cells::Float(array) => array.value(row).into(),
        }
    }

    /// How a value compares with one of another batch; both are present and of the same column.
    pub(super) fn order(&self, row: usize, other: &Cells, other_row: usize) -> std::cmp::Ordering {
        match (self, other) {
            (Cells::Text(one), Cells::Text(other)) => one.value(row).cmp(other.value(other_row)),
            (Cells::Date(one), Cells::Date(other)) => one.value(row).cmp(&other.value(other_row)),
            (Cells::Datetime(one), Cells::Datetime(other)) => one.value(row).cmp(&other.value(other_row)),
            (Cells::Integer(one), Cells::Integer(other)) => one.value(row).cmp(&other.value(other_row)),
            (Cells::Decimal(one, ..), Cells::Decimal(other, ..)) => one.value(row).cmp(&other.value(other_row)),
            (Cells::Float(one), Cells::Float(other)) => one.value(row).total_cmp(&other.value(other_row)),
            _ => std::cmp::Ordering::Equal,
        }
    }

    /// Whether two values of one column are kept alike.
    pub(super) fn equals(&self, row: usize, other: &Cells, other_row: usize) -> bool {
        match (self.is_null(row), other.is_null(other_row)) {
            (false, false) => match (self, other) {
                (Cells::Float(one), Cells::Float(other)) => one.value(row) == other.value(other_row),
                _ => self.order(row, other, other_row).is_eq(),
            },
            (one, other) => one == other,
        }
    }
}

/// The columns of a batch; a batch of another shape is a mistake of the caller.
pub(super) fn cells<'a>(table: &Table, batch: &'a RecordBatch) -> Result<Vec<Cells<'a>>> {
    let schema = batch.schema_ref();
    let fits = schema.fields().len() == table.dataset.columns.len()
        && schema
            .fields()
            .iter()
            .zip(&table.dataset.columns)
            .all(|(field, column)| field.name() == &column.name && field.data_type() == &column.data_type());
    if !fits {
        return Err(Error::bug(format!("a batch for {} does not have its columns", table.name())));
    }
    let cells = table.kinds.iter().zip(batch.columns()).map(|(kind, array)| Cells::new(*kind, array));
    let cells = cells.collect::<Result<Vec<_>>>()?;
    if table.key.iter().any(|index| cells[*index].array().null_count() > 0) {
        return Err(Error::bug(format!("a batch for {} has rows without a key", table.name())));
    }
    Ok(cells)
}

#[inline]
fn field<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends the field `_seq`.
pub(super) fn encode_seq(seq: i64, out: &mut Vec<u8>) {
    field(out, &seq.to_be_bytes());
}

/// Powers of ten that bring a scale to a multiple of four.
const TO_GROUP: [u32; 4] = [1, 1_000, 100, 10];

/// Appends `value / 10^scale` as the server would: groups of four digits without zeros at either end.
#[inline]
fn numeric(out: &mut Vec<u8>, value: i128, scale: i8) {
    let (value, scale) = match scale < 0 {
        true => (value.saturating_mul(10i128.saturating_pow(scale.unsigned_abs().into())), 0u32),
        false => (value, scale as u32),
    };
    let magnitude = value.unsigned_abs();
    let mut groups = [0u16; 12];
    let count = split(magnitude, TO_GROUP[(scale % 4) as usize], &mut groups);
    let fraction_groups = scale.div_ceil(4) as i32;
    // The groups are last first.
    let skipped = groups[..count].iter().take_while(|group| **group == 0).count();
    let digits = &groups[skipped.min(count)..count];
    let weight = if digits.is_empty() { 0 } else { (count as i32 - 1 - fraction_groups) as i16 };
    let sign: u16 = if value < 0 && !digits.is_empty() { 0x4000 } else { 0 };
    out.extend_from_slice(&(8 + 2 * digits.len() as i32).to_be_bytes());
    out.extend_from_slice(&(digits.len() as i16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(scale as i16).to_be_bytes());
    for digit in digits.iter().rev() {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Splits `magnitude * multiplier` into groups of four digits, last first; how many there are.
#[inline]
fn split(magnitude: u128, multiplier: u32, groups: &mut [u16; 12]) -> usize {
    let mut count = 0;
    if let Some(mut rest) = u64::try_from(magnitude).ok().and_then(|small| small.checked_mul(multiplier.into())) {
        while rest > 0 {
            groups[count] = (rest % 10_000) as u16;
            rest /= 10_000;
            count += 1;
        }
        return count;
    }
    // 39 digits and up to three more: the first group apart, so that nothing overflows.
    let unit = 10_000 / u128::from(multiplier);
    groups[0] = ((magnitude % unit) * u128::from(multiplier)) as u16;
    let mut rest = magnitude / unit;
    count = 1;
    while rest > 0 && count < groups.len() {
        groups[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::decode::decimal_of;
    use super::*;

    fn bytes_of(value: i128, scale: i8) -> Vec<u8> {
        let mut out = Vec::new();
        numeric(&mut out, value, scale);
        out
    }

    #[test]
    fn decimals_are_written_as_the_server_writes_them() {
        for (value, scale, expected) in [
            (0, 2, &[0, 0, 0, 2][..]),
            (105, 2, &[2, 0, 0, 2, 1, 500]),
            (-105, 2, &[2, 0, 0x4000, 2, 1, 500]),
            (12_345, 4, &[2, 0, 0, 4, 1, 2345]),
            (10_000, 0, &[1, 1, 0, 0, 1]),
            (1, 8, &[1, -2i16 as u16, 0, 8, 1]),
            (5, 1, &[1, -1i16 as u16, 0, 1, 5000]),
            (123_456_789, 0, &[3, 2, 0, 0, 1, 2345, 6789]),
        ] {
            let words: Vec<u16> =
                bytes_of(value, scale)[4..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            assert_eq!(words, expected, "{value} {scale}");
        }
    }

    #[test]
    fn every_decimal_comes_back_as_it_was() {
        let mut value: i128 = 7;
        for round in 0..3_000 {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (value >> (round % 120)) % 10i128.pow(38);
            for scale in [0, 1, 2, 3, 4, 5, 6, 8, 11, 18] {
                for value in [value, -value, value / 10_000 * 10_000] {
                    let bytes = bytes_of(value, scale);
                    assert_eq!(decimal_of(&bytes[4..], scale), Some(value), "{value} {scale}");
                }
            }
        }
    }
}

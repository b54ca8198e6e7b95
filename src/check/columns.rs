//! A batch's columns by name and type, for rules that read cells row by row.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampSecondArray,
};
use arrow_schema::DataType;
use serde_json::Value;

use crate::model::{Day, Instant, decimal};

/// The cells of one column.
#[derive(Clone, Copy, Debug)]
pub enum Cells<'a> {
    Text(&'a StringArray),
    Int(&'a Int64Array),
    Date(&'a Date32Array),
    Seconds(&'a TimestampSecondArray),
    Decimal(&'a Decimal128Array, i8),
    Float(&'a Float64Array),
}

impl<'a> Cells<'a> {
    /// `None` for a type that no catalogue column has.
    pub fn of(array: &'a ArrayRef) -> Option<Cells<'a>> {
        Some(match array.data_type() {
            DataType::Utf8 => Cells::Text(array.as_string_opt()?),
            DataType::Int64 => Cells::Int(array.as_primitive_opt::<Int64Type>()?),
            DataType::Date32 => Cells::Date(array.as_primitive_opt::<Date32Type>()?),
            DataType::Timestamp(..) => Cells::Seconds(array.as_primitive_opt::<TimestampSecondType>()?),
            DataType::Decimal128(_, scale) => Cells::Decimal(array.as_primitive_opt::<Decimal128Type>()?, *scale),
            DataType::Float64 => Cells::Float(array.as_primitive_opt::<Float64Type>()?),
            _ => return None,
        })
    }

    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Text(array) => array.is_null(row),
            Cells::Int(array) => array.is_null(row),
            Cells::Date(array) => array.is_null(row),
            Cells::Seconds(array) => array.is_null(row),
            Cells::Decimal(array, _) => array.is_null(row),
            Cells::Float(array) => array.is_null(row),
        }
    }

    pub fn text(&self, row: usize) -> Option<&'a str> {
        match self {
            Cells::Text(array) => array.is_valid(row).then(|| array.value(row)),
            _ => None,
        }
    }

    pub fn day(&self, row: usize) -> Option<Day> {
        match self {
            Cells::Date(array) => array.is_valid(row).then(|| Day(array.value(row))),
            Cells::Seconds(array) => array.is_valid(row).then(|| instant(array.value(row)).day()),
            _ => None,
        }
    }

    /// A number, for rules with a tolerance. Greater decimals never give smaller numbers.
    pub fn number(&self, row: usize) -> Option<f64> {
        if self.is_null(row) {
            return None;
        }
        match self {
            Cells::Decimal(array, scale) => Some(double(array.value(row), *scale)),
            Cells::Int(array) => Some(array.value(row) as f64),
            Cells::Float(array) => Some(array.value(row)),
            _ => None,
        }
    }

    /// Mixes the cell into a hash; equal cells hash equally.
    pub fn hash(&self, row: usize, hash: u64) -> u64 {
        if self.is_null(row) {
            return mix(hash, 0x6e75_6c6c);
        }
        match self {
            Cells::Text(array) => hash_bytes(array.value(row).as_bytes(), hash),
            Cells::Int(array) => mix(hash, array.value(row) as u64),
            Cells::Date(array) => mix(hash, array.value(row) as u64),
            Cells::Seconds(array) => mix(hash, array.value(row) as u64),
            Cells::Decimal(array, _) => {
                let value = array.value(row);
                mix(mix(hash, value as u64), (value >> 64) as u64)
            }
            Cells::Float(array) => mix(hash, array.value(row).to_bits()),
        }
    }

    /// Whether two rows hold the same; null equals null.
    pub fn equal(&self, a: usize, b: usize) -> bool {
        match (self.is_null(a), self.is_null(b)) {
            (true, true) => return true,
            (false, false) => {}
            _ => return false,
        }
        match self {
            Cells::Text(array) => array.value(a) == array.value(b),
            Cells::Int(array) => array.value(a) == array.value(b),
            Cells::Date(array) => array.value(a) == array.value(b),
            Cells::Seconds(array) => array.value(a) == array.value(b),
            Cells::Decimal(array, _) => array.value(a) == array.value(b),
            Cells::Float(array) => array.value(a).to_bits() == array.value(b).to_bits(),
        }
    }

    /// Orders two rows; null comes first.
    pub fn compare(&self, a: usize, b: usize) -> Ordering {
        match (self.is_null(a), self.is_null(b)) {
            (false, false) => {}
            (a_is_null, b_is_null) => return b_is_null.cmp(&a_is_null),
        }
        match self {
            Cells::Text(array) => array.value(a).cmp(array.value(b)),
            Cells::Int(array) => array.value(a).cmp(&array.value(b)),
            Cells::Date(array) => array.value(a).cmp(&array.value(b)),
            Cells::Seconds(array) => array.value(a).cmp(&array.value(b)),
            Cells::Decimal(array, _) => array.value(a).cmp(&array.value(b)),
            Cells::Float(array) => array.value(a).total_cmp(&array.value(b)),
        }
    }

    /// The canonical text of a cell; null for a missing value.
    pub fn json(&self, row: usize) -> Value {
        if self.is_null(row) {
            return Value::Null;
        }
        Value::String(match self {
            Cells::Text(array) => array.value(row).to_owned(),
            Cells::Int(array) => array.value(row).to_string(),
            Cells::Date(array) => Day(array.value(row)).to_string(),
            Cells::Seconds(array) => instant(array.value(row)).to_string(),
            Cells::Decimal(array, scale) => decimal::to_text(array.value(row), *scale),
            Cells::Float(array) => array.value(row).to_string(),
        })
    }
}

/// `decimal::to_f64` without its calls for numbers of common size and scale: the checks run over every row.
fn double(value: i128, scale: i8) -> f64 {
    const TENS: [f64; 9] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    match (i64::try_from(value), TENS.get(usize::from(scale.unsigned_abs()))) {
        (Ok(value), Some(ten)) if scale >= 0 => value as f64 / ten,
        _ => decimal::to_f64(value, scale),
    }
}

fn instant(seconds: i64) -> Instant {
    Instant(seconds.saturating_mul(1_000_000))
}

/// Enough to tell keys apart; equal hashes are always compared cell by cell.
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * 0xa076_1d64_78bd_642f_u128;
    (product as u64) ^ ((product >> 64) as u64) ^ hash.rotate_left(29)
}

fn hash_bytes(bytes: &[u8], hash: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let tail = rest.iter().fold(bytes.len() as u64, |tail, byte| (tail << 8) | u64::from(*byte));
    mix(hash, tail)
}

/// The columns of one batch.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    pub fn new(batch: &'a RecordBatch) -> Columns<'a> {
        Columns { batch }
    }

    pub fn get(&self, name: &str) -> Option<Cells<'a>> {
        Cells::of(self.batch.column_by_name(name)?)
    }

    pub fn all(&self) -> Vec<Cells<'a>> {
        self.batch.columns().iter().filter_map(Cells::of).collect()
    }

    /// One row as a JSON object of canonical texts.
    pub fn row_as_json(&self, row: usize) -> Value {
        let schema = self.batch.schema_ref();
        let fields = schema.fields().iter().zip(self.batch.columns());
        let cell = |array: &ArrayRef| Cells::of(array).map_or(Value::Null, |cells| cells.json(row));
        Value::Object(fields.map(|(field, array)| (field.name().clone(), cell(array))).collect())
    }
}

//! The hash of a whole row: the tiebreak of keys that the source does not make unique.
//!
//! FNV-1a (64 bits) over `name=value` of every column that has a value, in catalogue order, values as canonical text.
//! It depends neither on the source nor on the machine, and a new column that is null does not change it.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};

use crate::model::dataset::Derived;
use crate::model::{ColumnType, Dataset, Day, decimal};

/// Computes the `row_hash` column; datasets without one keep their batch as it is.
pub fn fill_row_hash(dataset: &Dataset, batch: RecordBatch) -> RecordBatch {
    let is_hash = |derived: Option<Derived>| derived == Some(Derived::RowHash);
    let Some(target) = dataset.columns.iter().position(|column| is_hash(column.derived)) else { return batch };
    let mut hashes = vec![Fnv::new(); batch.num_rows()];
    let mut text = String::new();
    for (column, values) in dataset.columns.iter().zip(batch.columns()) {
        if column.derived.is_some() {
            continue;
        }
        for (row, hash) in hashes.iter_mut().enumerate().filter(|(row, _)| values.is_valid(*row)) {
            text.clear();
            canonical_text(&mut text, column.kind, values, row);
            hash.add(column.name.as_bytes());
            hash.add(b"=");
            hash.add(text.as_bytes());
            hash.add(&[0]);
        }
    }
    let filled: StringArray = hashes.iter().map(|hash| Some(format!("{:016x}", hash.0))).collect();
    let mut columns = batch.columns().to_vec();
    if let Some(column) = columns.get_mut(target) {
        *column = Arc::new(filled);
    }
    RecordBatch::try_new(batch.schema(), columns).unwrap_or(batch)
}

/// The value as people and queries write it: `2024-01-31`, `12.5`.
fn canonical_text(out: &mut String, kind: ColumnType, values: &ArrayRef, row: usize) {
    let written = match kind {
        ColumnType::Text => out.write_str(values.as_string::<i32>().value(row)),
        ColumnType::Date => write!(out, "{}", Day(values.as_primitive::<Date32Type>().value(row))),
        ColumnType::Datetime => write!(out, "{}", values.as_primitive::<TimestampSecondType>().value(row)),
        ColumnType::Int => write!(out, "{}", values.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float => write!(out, "{}", values.as_primitive::<Float64Type>().value(row)),
        ColumnType::Decimal => {
            let decimals = values.as_primitive::<Decimal128Type>();
            out.write_str(&decimal::to_text(decimals.value(row), decimals.scale()))
        }
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

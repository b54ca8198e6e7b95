//! The portable hash of rows: the same for the same row in a store, in a file and, computed by the server in SQL, in a
//! PostgreSQL table.
//!
//! A row is written as its values in catalogue order, parted by commas. A missing value is `~`, any other the number of
//! bytes of its canonical text, a colon and the text, so that no two rows are written alike. Canonical texts: text as it
//! is in UTF-8; an int in decimal digits; a decimal without trailing zeros (`12.5`, `-0.05`, `0`); a date `YYYY-MM-DD`; a
//! datetime as whole seconds since 1970 in UTC; a float as the 16 hexadecimal digits of its bits, with one zero.
//! The hash of a row is the number that the first 15 hexadecimal digits of its MD5 are (60 bits). The digest of rows is
//! their count and the sum of their hashes: a sum notices a row that appears twice, which an XOR would not.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{Array, RecordBatch};
use md5::{Digest as _, Md5};

use super::dataset::{ColumnType, Dataset};
use super::day::Day;
use super::decimal;

/// Count and sum of the hashes of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub rows: u64,
    pub sum: u128,
}

impl Digest {
    /// Adds a row that is written as `text`.
    pub fn add(&mut self, text: &[u8]) {
        self.rows += 1;
        self.sum += u128::from(hash(text));
    }
}

/// The first 60 bits of the MD5.
pub fn hash(text: &[u8]) -> u64 {
    let digest = Md5::digest(text);
    let first = digest.iter().take(8).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    first >> 4
}

/// Appends one value; values are parted by commas.
pub fn push_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    if !out.is_empty() {
        out.push(b',');
    }
    match value {
        None => out.push(b'~'),
        Some(text) => {
            push_text(out, &text.len().to_string());
            out.push(b':');
            out.extend_from_slice(text);
        }
    }
}

/// The bits of a float, with one zero.
pub fn float_text(value: f64) -> String {
    format!("{:016x}", (value + 0.0).to_bits())
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Writes one row of a batch in the dataset's schema, in place of what `out` held.
pub fn write_row(dataset: &Dataset, batch: &RecordBatch, row: usize, out: &mut Vec<u8>) {
    out.clear();
    let mut text = Vec::new();
    for (column, values) in dataset.columns.iter().zip(batch.columns()) {
        if values.is_null(row) {
            push_value(out, None);
            continue;
        }
        text.clear();
        match column.kind {
            ColumnType::Text => push_text(&mut text, values.as_string::<i32>().value(row)),
            ColumnType::Int => push_number(&mut text, values.as_primitive::<Int64Type>().value(row)),
            ColumnType::Date => push_text(&mut text, &Day(values.as_primitive::<Date32Type>().value(row)).to_string()),
            ColumnType::Datetime => push_number(&mut text, values.as_primitive::<TimestampSecondType>().value(row)),
            ColumnType::Decimal => {
                let value = values.as_primitive::<Decimal128Type>().value(row);
                decimal::write(&mut text, value, column.scale, 0, false);
            }
            ColumnType::Float => push_text(&mut text, &float_text(values.as_primitive::<Float64Type>().value(row))),
        }
        push_value(out, Some(&text));
    }
}

fn push_number(out: &mut Vec<u8>, value: i64) {
    // Writing to memory does not fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_run_into_each_other() {
        let row = |values: &[Option<&str>]| {
            let mut out = Vec::new();
            values.iter().for_each(|value| push_value(&mut out, value.map(str::as_bytes)));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(row(&[Some("ab"), None, Some("")]), "2:ab,~,0:");
        assert_eq!(row(&[Some("合同")]), "6:合同");
        assert_ne!(row(&[Some("a,1:b")]), row(&[Some("a"), Some("b")]));
        assert_ne!(row(&[Some("~")]), row(&[None]));
    }

    #[test]
    fn hashes_are_the_first_60_bits_of_the_md5_and_digests_notice_a_row_that_appears_twice() {
        // md5("abc") = 900150983cd24fb0d6963f7d28e17f72
        assert_eq!(hash(b"abc"), 0x0900_1509_83cd_24fb);
        let (mut once, mut thrice) = (Digest::default(), Digest::default());
        once.add(b"abc");
        (0..3).for_each(|_| thrice.add(b"abc"));
        assert_ne!(once.sum, thrice.sum);
        assert_eq!((thrice.rows, thrice.sum), (3, 3 * u128::from(hash(b"abc"))));
        assert_eq!(float_text(-0.0), float_text(0.0));
        assert_eq!(float_text(1.0), "3ff0000000000000");
    }
}

//! Keys as ordered values, and ranges of them: the areas of tables that have neither securities nor days.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int64Type, TimestampSecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};

use super::clock::Instant;
use super::dataset::{Column, ColumnType, Dataset};
use super::day::Day;
use super::decimal;
use super::error::{Error, Result};

/// The value of one key column. Texts are ordered by their bytes; values of one column are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPart {
    Text(String),
    Int(i64),
    Day(Day),
    /// Seconds since 1970 in UTC.
    Seconds(i64),
    /// A decimal at its column's scale.
    Decimal(i128),
}

impl KeyPart {
    /// The value of `array` at `row`; `None` for a missing value and for floats, which are never part of a key.
    pub fn of(array: &ArrayRef, row: usize, kind: ColumnType) -> Option<KeyPart> {
        if array.is_null(row) {
            return None;
        }
        Some(match kind {
            ColumnType::Text => KeyPart::Text(array.as_string_opt::<i32>()?.value(row).to_owned()),
            ColumnType::Int => KeyPart::Int(array.as_primitive_opt::<Int64Type>()?.value(row)),
            ColumnType::Date => KeyPart::Day(Day(array.as_primitive_opt::<Date32Type>()?.value(row))),
            ColumnType::Datetime => KeyPart::Seconds(array.as_primitive_opt::<TimestampSecondType>()?.value(row)),
            ColumnType::Decimal => KeyPart::Decimal(array.as_primitive_opt::<Decimal128Type>()?.value(row)),
            ColumnType::Float => return None,
        })
    }

    /// As queries write it: `2024-01-31`, `2024-01-31T18:00:00+08:00`, `12.5`.
    pub fn text(&self, column: &Column) -> String {
        match self {
            KeyPart::Text(text) => text.clone(),
            KeyPart::Int(value) => value.to_string(),
            KeyPart::Day(day) => day.to_string(),
            KeyPart::Seconds(seconds) => Instant(seconds.saturating_mul(1_000_000)).to_string(),
            KeyPart::Decimal(value) => decimal::to_text(*value, column.scale),
        }
    }
}

/// The values of all key columns, in key order.
pub type Key = Vec<KeyPart>;

/// The keys of a batch.
pub struct Keys<'a> {
    columns: Vec<(&'a ArrayRef, ColumnType)>,
}

impl<'a> Keys<'a> {
    /// The key columns of a batch in the dataset's schema.
    pub fn of(dataset: &Dataset, batch: &'a RecordBatch) -> Keys<'a> {
        let indices = dataset.key_indices();
        Keys { columns: indices.into_iter().map(|at| (batch.column(at), dataset.columns[at].kind)).collect() }
    }

    /// The key of a row; `Bug` when a part of it is missing, because stored keys are whole.
    pub fn get(&self, row: usize) -> Result<Key> {
        let part = |(array, kind): &(&ArrayRef, ColumnType)| KeyPart::of(array, row, *kind);
        let key: Option<Key> = self.columns.iter().map(part).collect();
        key.ok_or_else(|| Error::bug("a row has no whole key"))
    }
}

/// Keys after `after` up to and including `upto`, in the order of the key columns one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// `None`: from the first key on.
    pub after: Option<Key>,
    /// `None`: up to the last key.
    pub upto: Option<Key>,
}

impl KeyRange {
    pub fn contains(&self, key: &Key) -> bool {
        self.after.as_ref().is_none_or(|after| key > after) && self.upto.as_ref().is_none_or(|upto| key <= upto)
    }

    pub fn is_all(&self) -> bool {
        self.after.is_none() && self.upto.is_none()
    }

    /// The ranges into which ascending `bounds` part this one: up to and including each bound, and the rest.
    pub fn parts(&self, bounds: &[Key]) -> Vec<KeyRange> {
        let after = std::iter::once(self.after.clone()).chain(bounds.iter().cloned().map(Some));
        let upto = bounds.iter().cloned().map(Some).chain([self.upto.clone()]);
        after.zip(upto).map(|(after, upto)| KeyRange { after, upto }).collect()
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &Key| format!("{key:?}");
        match (&self.after, &self.upto) {
            (None, None) => f.write_str("all keys"),
            (Some(after), None) => write!(f, "keys after {}", text(after)),
            (None, Some(upto)) => write!(f, "keys up to {}", text(upto)),
            (Some(after), Some(upto)) => write!(f, "keys after {} up to {}", text(after), text(upto)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_range_hold_each_of_its_keys_once() {
        let key = |value: i64| vec![KeyPart::Int(value), KeyPart::Text("x".into())];
        let whole = KeyRange { after: Some(key(0)), upto: Some(key(9)) };
        let parts = whole.parts(&[key(3), key(6)]);
        assert_eq!(parts.len(), 3);
        for value in -1..12 {
            let holders = parts.iter().filter(|part| part.contains(&key(value))).count();
            assert_eq!(holders, usize::from(whole.contains(&key(value))), "{value}");
        }
        assert_eq!(KeyRange::default().parts(&[]), [KeyRange::default()]);
    }

    #[test]
    fn texts_are_ordered_by_bytes_and_numbers_by_value() {
        assert!(KeyPart::Text("Z".into()) < KeyPart::Text("a".into()));
        assert!(KeyPart::Text("z".into()) < KeyPart::Text("ä".into()));
        assert!(KeyPart::Int(9) < KeyPart::Int(10));
        assert!(KeyPart::Int(-9) < KeyPart::Int(-1));
    }
}

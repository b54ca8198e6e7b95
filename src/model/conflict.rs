//! Conflicts: rows that differ from what is stored and wait for a person, and rows as JSON, exact in both directions.

use std::sync::Arc;

use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use serde_json::{Map, Value};

use super::clock::Instant;
use super::dataset::{Column, ColumnType, Dataset};
use super::day::Day;
use super::decimal;
use super::error::{Error, Result};

/// What a person takes of the two sides of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// What is stored stays. The same offer of the same source is not a conflict any more.
    Stored,
    /// The offered row is written in place of the stored one.
    Offered,
}

/// How a conflict ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Taken(Take),
    /// The source has offered what is stored since.
    Agreed,
}

impl Resolution {
    pub fn name(self) -> &'static str {
        match self {
            Resolution::Taken(Take::Stored) => "stored",
            Resolution::Taken(Take::Offered) => "offered",
            Resolution::Agreed => "agreed",
        }
    }

    pub fn from_name(name: &str) -> Option<Resolution> {
        let all = [Resolution::Taken(Take::Stored), Resolution::Taken(Take::Offered), Resolution::Agreed];
        all.into_iter().find(|resolution| resolution.name() == name)
    }
}

/// Two rows of one key, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct RowConflict {
    pub id: i64,
    pub dataset: String,
    /// The key columns as a JSON object.
    pub key: Value,
    /// The row as it was stored when the other one was offered.
    pub stored: Value,
    /// The row that was offered; columns that its source does not have are absent.
    pub offered: Value,
    pub source: String,
    pub rank: u8,
    /// The commit in which it was offered last, and when that was.
    pub seq: i64,
    pub at: Instant,
    pub resolved_at: Option<Instant>,
    pub resolution: Option<Resolution>,
}

impl RowConflict {
    /// Columns in which the sides differ, with both values.
    pub fn differences(&self) -> Vec<(&str, &Value, &Value)> {
        let Some(offered) = self.offered.as_object() else { return Vec::new() };
        let pairs = offered.iter().map(|(name, value)| (name.as_str(), &self.stored[name.as_str()], value));
        pairs.filter(|(_, stored, offered)| stored != offered).collect()
    }
}

/// One row in the dataset's schema from a JSON object as stores write it: dates `2024-01-31`, instants in RFC 3339,
/// decimals as text. Columns that are absent are null.
pub fn batch_of(dataset: &Dataset, row: &Value) -> Result<RecordBatch> {
    let columns = dataset.columns.iter().map(|column| {
        let value = row.get(&column.name).unwrap_or(&Value::Null);
        array_of(column, value).ok_or_else(|| Error::bug(format!("{} does not hold {value}", column.name)))
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    RecordBatch::try_new(dataset.schema(), columns)
        .map_err(|error| Error::bug(format!("a kept row of {} does not fit it", dataset.name)).caused_by(error))
}

fn array_of(column: &Column, value: &Value) -> Option<ArrayRef> {
    let missing = value.is_null();
    // Stores write short numbers as numbers and exact ones as text.
    let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(match column.kind {
        ColumnType::Text => {
            let mut array = StringBuilder::new();
            array.append_option((!missing).then(text));
            Arc::new(array.finish())
        }
        ColumnType::Date => {
            let mut array = Date32Builder::new();
            array.append_option(if missing { None } else { Some(Day::parse(&text()).ok()?.0) });
            Arc::new(array.finish())
        }
        ColumnType::Datetime => {
            let mut array = TimestampSecondBuilder::new().with_timezone("+08:00");
            let second = if missing { None } else { Some(Instant::parse(&text())?.0.div_euclid(1_000_000)) };
            array.append_option(second);
            Arc::new(array.finish())
        }
        ColumnType::Int => {
            let mut array = Int64Builder::new();
            array.append_option(if missing { None } else { Some(text().parse().ok()?) });
            Arc::new(array.finish())
        }
        ColumnType::Decimal => {
            let mut array = Decimal128Builder::new().with_precision_and_scale(38, column.scale).ok()?;
            array.append_option(if missing { None } else { Some(decimal::parse(&text(), column.scale, 0)?) });
            Arc::new(array.finish())
        }
        ColumnType::Float => {
            let mut array = Float64Builder::new();
            array.append_option(if missing { None } else { Some(text().parse().ok()?) });
            Arc::new(array.finish())
        }
    })
}

/// The key columns of a row.
pub fn key_of(dataset: &Dataset, row: &Value) -> Value {
    let values = dataset.key.iter().map(|name| (name.clone(), row[name.as_str()].clone()));
    Value::Object(values.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_being_json() {
        let text = r#"
            name = "t"
            title = "t"
            title_zh = "t"
            about = "t"
            key = ["code"]
            shape = "whole"
            publish = { at = "00:00", settle_days = 0, refresh_hours = 1 }
            policy = { mode = "full", schedule = "0 0 * * *", batch = 1, retries = 0, conflict = "manual" }
            columns = [
                { name = "code", type = "text", unit = "", meaning = "", meaning_zh = "" },
                { name = "day", type = "date", unit = "", meaning = "", meaning_zh = "", nullable = true },
                { name = "at", type = "datetime", unit = "", meaning = "", meaning_zh = "", nullable = true },
                { name = "count", type = "int", unit = "", meaning = "", meaning_zh = "", nullable = true },
                { name = "price", type = "decimal", scale = 4, unit = "", meaning = "", meaning_zh = "", nullable = true },
                { name = "ratio", type = "float", unit = "", meaning = "", meaning_zh = "", nullable = true },
            ]"#;
        let dataset: Dataset = toml::from_str(text).unwrap();
        let row = serde_json::json!({
            "code": "000001.SZ", "day": "2024-01-31", "at": "2024-01-31T09:30:00+08:00", "count": -3,
            "price": "12345678901234567.8901", "ratio": 0.1,
        });
        let batch = batch_of(&dataset, &row).unwrap();
        let texts: Vec<String> = batch
            .columns()
            .iter()
            .map(|column| {
                let mut out = Vec::new();
                crate::model::cell::Cells::of(column.as_ref()).unwrap().write(0, 0, &mut out);
                String::from_utf8(out).unwrap()
            })
            .collect();
        assert_eq!(texts, ["000001.SZ", "2024-01-31", "2024-01-31 09:30:00", "-3", "12345678901234567.8901", "0.1"]);
        let bare = batch_of(&dataset, &serde_json::json!({ "code": "000001.SZ" })).unwrap();
        assert!((1..6).all(|column| bare.column(column).null_count() == 1));
        assert!(batch_of(&dataset, &serde_json::json!({ "code": "a", "day": "yesterday" })).is_err());
        assert_eq!(key_of(&dataset, &row), serde_json::json!({ "code": "000001.SZ" }));
    }
}

//! Records become batches: every cell is read by its column's type, and a row that cannot be read is kept apart.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;

use super::cell::{self, Reading, Value};
use super::header::{self, Adjustment, Plan};
use super::records::{CellText, Record};
use crate::model::dataset::{ColumnType, Universe};
use crate::model::{Column, Dataset, Error, Quarantined, Result};

/// The rule that a row broke which cannot be read.
pub const READABLE: &str = "readable";
/// The rule that a row broke whose prices are adjusted, as its file says itself: raw prices are what is kept.
const RAW_PRICES: &str = "raw_prices";

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Row,
    /// Not readable: quarantined.
    Refused,
    /// A day on which the security did not trade.
    Suspended,
}

/// Collects rows of one dataset until a batch is full.
pub struct Rows {
    dataset: Arc<Dataset>,
    columns: Vec<ColumnBuilder>,
    quarantined: Vec<Quarantined>,
    rows: usize,
    /// The last code that was read, and what it stands for: files repeat one code for thousands of rows.
    last_code: (String, String),
}

impl Rows {
    pub fn new(dataset: Arc<Dataset>) -> Rows {
        let columns = dataset.columns.iter().map(ColumnBuilder::new).collect();
        Rows { dataset, columns, quarantined: Vec::new(), rows: 0, last_code: Default::default() }
    }

    /// Rows and quarantined rows that wait to be taken.
    pub fn len(&self) -> usize {
        self.rows + self.quarantined.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads one record by its plan. `place` names the record in the reason of a quarantined row.
    pub fn push(&mut self, plan: &Plan, record: &Record, place: impl Fn() -> String) -> Taken {
        let dataset = self.dataset.clone();
        if record.len() != plan.header.len() {
            let reason = format!("{}: {} cells where the header has {}", place(), record.len(), plan.header.len());
            self.refuse(READABLE, plan, record, reason);
            return Taken::Refused;
        }
        if plan.trade_status.and_then(|cell| record.cell(cell)).is_some_and(|cell| cell.text.trim() == "0") {
            return Taken::Suspended;
        }
        if is_adjusted(plan, record) {
            self.refuse(RAW_PRICES, plan, record, format!("{}: the file says that its prices are adjusted", place()));
            return Taken::Refused;
        }
        match self.read_record(&dataset, plan, record) {
            Ok(values) => {
                self.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
                self.rows += 1;
                Taken::Row
            }
            Err((column, reason)) => {
                self.refuse(READABLE, plan, record, format!("{}: column {column}: {reason}", place()));
                Taken::Refused
            }
        }
    }

    fn read_record<'a>(
        &mut self,
        dataset: &'a Dataset,
        plan: &'a Plan,
        record: &'a Record,
    ) -> Result<Vec<Value<'a>>, (&'a str, &'static str)> {
        let code_index = header::code_index(dataset);
        let mut values = Vec::with_capacity(dataset.columns.len());
        for (index, column) in dataset.columns.iter().enumerate() {
            let is_key = dataset.key.contains(&column.name);
            let reading = Reading {
                column,
                shift: plan.targets[index].map_or(0, |target| target.shift),
                is_code: code_index == Some(index),
                empty_is_value: is_key && column.nullable,
            };
            let value = match plan.targets[index].and_then(|target| record.cell(target.cell)) {
                Some(text) if reading.is_code => self.read_code(dataset, text, &reading),
                Some(text) => cell::read(text, &reading),
                None => Ok(absent(column, &reading, plan)),
            };
            let value = value.map_err(|reason| (column.name.as_str(), reason))?;
            if value == Value::Null && (is_key || !column.nullable) {
                return Err((column.name.as_str(), "empty, but every row needs it"));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn read_code<'a>(
        &mut self,
        dataset: &Dataset,
        text: CellText<'a>,
        reading: &Reading,
    ) -> Result<Value<'a>, &'static str> {
        if !text.text.is_empty() && text.text == self.last_code.0 {
            return Ok(Value::Text(Cow::Owned(self.last_code.1.clone())));
        }
        if let Some(index) = index_code(dataset, text.text) {
            return Ok(Value::Text(Cow::Owned(index)));
        }
        let value = cell::read(text, reading)?;
        if let Value::Text(code) = &value {
            self.last_code = (text.text.to_owned(), code.to_string());
        }
        Ok(value)
    }

    /// Keeps a row apart.
    pub fn refuse(&mut self, rule: &str, plan: &Plan, record: &Record, reason: String) {
        let name = |index: usize| match plan.header.get(index) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("cell {}", index + 1),
        };
        let cells = record.cells().enumerate().map(|(index, cell)| (name(index), cell.text.into()));
        let row = serde_json::Value::Object(cells.collect());
        self.quarantined.push(Quarantined { rule: rule.to_owned(), reason, row });
    }

    /// The rows so far as a batch in the dataset's schema, and the rows kept apart.
    pub fn take(&mut self) -> Result<(RecordBatch, Vec<Quarantined>)> {
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let batch = RecordBatch::try_new(self.dataset.schema(), arrays)
            .map_err(|cause| Error::bug("rows of a file do not fit their dataset").caused_by(cause))?;
        self.rows = 0;
        Ok((batch, std::mem::take(&mut self.quarantined)))
    }
}

/// BaoStock writes 1 and 2 for adjusted prices, AKShare `hfq` and `qfq`.
fn is_adjusted(plan: &Plan, record: &Record) -> bool {
    match plan.adjustment {
        Adjustment::Unsaid => false,
        Adjustment::Adjusted => true,
        Adjustment::ByCell(cell) => {
            record.cell(cell).is_some_and(|cell| matches!(cell.text.trim(), "1" | "2" | "qfq" | "hfq"))
        }
    }
}

/// The value of a column that the file does not have.
fn absent<'a>(column: &Column, reading: &Reading, plan: &'a Plan) -> Value<'a> {
    match &plan.code {
        Some(code) if reading.is_code => Value::Text(Cow::Borrowed(code)),
        // Derived columns are computed over the whole row once it is read.
        _ if column.derived.is_some() && column.kind == ColumnType::Text => Value::Text(Cow::Borrowed("")),
        _ if column.derived.is_some() && column.kind == ColumnType::Int => Value::Int(0),
        _ => cell::nothing(reading),
    }
}

/// A bare code in a dataset of indices is the index among them, not the stock of the same digits.
fn index_code(dataset: &Dataset, text: &str) -> Option<String> {
    let digits = text.trim();
    if dataset.universe != Universe::Index || digits.len() != 6 {
        return None;
    }
    let matches = |code: &&String| code.strip_prefix(digits).is_some_and(|rest| rest.starts_with('.'));
    dataset.codes.iter().find(matches).cloned()
}

enum ColumnBuilder {
    Text(StringBuilder),
    Day(Date32Builder),
    Second(TimestampSecondBuilder),
    Int(Int64Builder),
    Decimal(Decimal128Builder),
    Float(Float64Builder),
}

impl ColumnBuilder {
    fn new(column: &Column) -> ColumnBuilder {
        let data_type: DataType = column.data_type();
        match column.kind {
            ColumnType::Text => ColumnBuilder::Text(StringBuilder::new()),
            ColumnType::Date => ColumnBuilder::Day(Date32Builder::new()),
            ColumnType::Datetime => ColumnBuilder::Second(TimestampSecondBuilder::new().with_data_type(data_type)),
            ColumnType::Int => ColumnBuilder::Int(Int64Builder::new()),
            ColumnType::Decimal => ColumnBuilder::Decimal(Decimal128Builder::new().with_data_type(data_type)),
            ColumnType::Float => ColumnBuilder::Float(Float64Builder::new()),
        }
    }

    /// Values come from `cell::read` of the same column: other kinds than its own are only ever null.
    fn push(&mut self, value: Value) {
        match (self, value) {
            (ColumnBuilder::Text(builder), Value::Text(text)) => builder.append_value(text),
            (ColumnBuilder::Day(builder), Value::Day(day)) => builder.append_value(day.0),
            (ColumnBuilder::Second(builder), Value::Second(second)) => builder.append_value(second),
            (ColumnBuilder::Int(builder), Value::Int(number)) => builder.append_value(number),
            (ColumnBuilder::Decimal(builder), Value::Decimal(number)) => builder.append_value(number),
            (ColumnBuilder::Float(builder), Value::Float(number)) => builder.append_value(number),
            (ColumnBuilder::Text(builder), _) => builder.append_null(),
            (ColumnBuilder::Day(builder), _) => builder.append_null(),
            (ColumnBuilder::Second(builder), _) => builder.append_null(),
            (ColumnBuilder::Int(builder), _) => builder.append_null(),
            (ColumnBuilder::Decimal(builder), _) => builder.append_null(),
            (ColumnBuilder::Float(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Text(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Day(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Second(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Decimal(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float(builder) => Arc::new(builder.finish()),
        }
    }
}

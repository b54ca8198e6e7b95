//! Building a batch row by row, cell by named cell. A column that nobody asked for, or that the catalogue does not
//! have, swallows its cells; a cell that is not set is null.

use std::sync::Arc;

use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;

use crate::model::{ColumnType, Dataset, Day, Error, Instant, Result, decimal};

enum Cells {
    Text(StringBuilder),
    Date(Date32Builder),
    Second(TimestampSecondBuilder),
    Int(Int64Builder),
    Decimal(Decimal128Builder, i8),
    Float(Float64Builder),
}

struct Column {
    name: String,
    nullable: bool,
    cells: Cells,
    len: usize,
}

/// A batch in the making.
pub struct Rows {
    columns: Vec<Column>,
    /// Cells usually come in the order of the columns: where the next one is looked for first.
    cursor: usize,
    rows: usize,
    schema: Arc<Schema>,
}

impl Rows {
    /// Builds the columns of `dataset` at the given positions.
    pub fn new(dataset: &Dataset, positions: &[usize]) -> Result<Rows> {
        let whole = dataset.schema();
        let schema =
            whole.project(positions).map_err(|error| Error::bug("cannot project a schema").caused_by(error))?;
        let columns = positions.iter().map(|position| {
            let column = &dataset.columns[*position];
            let cells = match column.kind {
                ColumnType::Text => Cells::Text(StringBuilder::new()),
                ColumnType::Date => Cells::Date(Date32Builder::new()),
                ColumnType::Datetime => Cells::Second(TimestampSecondBuilder::new().with_data_type(column.data_type())),
                ColumnType::Int => Cells::Int(Int64Builder::new()),
                ColumnType::Float => Cells::Float(Float64Builder::new()),
                ColumnType::Decimal => {
                    Cells::Decimal(Decimal128Builder::new().with_data_type(column.data_type()), column.scale)
                }
            };
            let nullable = whole.field(*position).is_nullable();
            Column { name: column.name.clone(), nullable, cells, len: 0 }
        });
        Ok(Rows { columns: columns.collect(), cursor: 0, rows: 0, schema: Arc::new(schema) })
    }

    /// Whether such a column is wanted: lets a table skip what is dear to compute.
    pub fn wants_any(&self, mut matches: impl FnMut(&str) -> bool) -> bool {
        self.columns.iter().any(|column| matches(&column.name))
    }

    fn cells(&mut self, name: &str) -> Option<&mut Cells> {
        let at_cursor = self.columns.get(self.cursor).is_some_and(|column| column.name == name);
        if !at_cursor {
            self.cursor = self.columns.iter().position(|column| column.name == name)?;
        }
        let column = &mut self.columns[self.cursor];
        self.cursor += 1;
        if column.len > self.rows {
            return None;
        }
        column.len += 1;
        Some(&mut column.cells)
    }

    pub fn text(&mut self, name: &str, value: &str) {
        match self.cells(name) {
            Some(Cells::Text(cells)) => cells.append_value(value),
            Some(cells) => cells.append_null(),
            None => {}
        }
    }

    pub fn date(&mut self, name: &str, day: Day) {
        match self.cells(name) {
            Some(Cells::Date(cells)) => cells.append_value(day.0),
            Some(Cells::Text(cells)) => cells.append_value(day.compact()),
            Some(Cells::Second(cells)) => cells.append_value(Instant::at(day, 0).0 / 1_000_000),
            Some(cells) => cells.append_null(),
            None => {}
        }
    }

    /// An instant, or the day of it where the column holds days.
    pub fn instant(&mut self, name: &str, at: Instant) {
        match self.cells(name) {
            Some(Cells::Second(cells)) => cells.append_value(at.0 / 1_000_000),
            Some(Cells::Date(cells)) => cells.append_value(at.day().0),
            Some(Cells::Text(cells)) => {
                let (day, minute) = (at.day(), at.minute_of_day());
                cells.append_value(format!("{day} {:02}:{:02}:00", minute / 60, minute % 60));
            }
            Some(cells) => cells.append_null(),
            None => {}
        }
    }

    pub fn int(&mut self, name: &str, value: i64) {
        self.decimal(name, value, 0);
    }

    /// `value x 10^-scale`, rounded to what the column can hold.
    pub fn decimal(&mut self, name: &str, value: i64, scale: i8) {
        match self.cells(name) {
            Some(Cells::Decimal(cells, to)) => cells.append_value(rescale(i128::from(value), scale, *to)),
            Some(Cells::Int(cells)) => cells.append_value(rescale(i128::from(value), scale, 0) as i64),
            Some(Cells::Float(cells)) => cells.append_value(decimal::to_f64(i128::from(value), scale)),
            Some(Cells::Text(cells)) => cells.append_value(decimal::to_text(i128::from(value), scale)),
            Some(cells) => cells.append_null(),
            None => {}
        }
    }

    /// A price or an amount in fen.
    pub fn fen(&mut self, name: &str, fen: i64) {
        self.decimal(name, fen, 2);
    }

    /// `part / whole x times`, rounded to `scale`; null when there is no whole.
    pub fn ratio(&mut self, name: &str, part: i64, whole: i64, times: i64, scale: i8) {
        if let Some(value) = ratio(part, whole, times, scale) {
            self.decimal(name, value, scale);
        }
    }

    pub fn float(&mut self, name: &str, value: f64) {
        if !value.is_finite() {
            return;
        }
        match self.cells(name) {
            Some(Cells::Float(cells)) => cells.append_value((value * 1e6).round() / 1e6),
            Some(Cells::Decimal(cells, scale)) => cells.append_value(decimal::from_f64(value, *scale)),
            Some(cells) => cells.append_null(),
            None => {}
        }
    }

    /// Ends the row: what was not set is null, or empty where null is not allowed.
    pub fn end(&mut self) {
        self.rows += 1;
        self.cursor = 0;
        for column in &mut self.columns {
            if column.len < self.rows {
                column.len = self.rows;
                if column.nullable { column.cells.append_null() } else { column.cells.append_empty() }
            }
        }
    }

    pub fn finish(self) -> Result<RecordBatch> {
        let arrays = self.columns.into_iter().map(|column| column.cells.finish()).collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(self.schema, arrays, &options)
            .map_err(|error| Error::bug("the simulated rows do not fit the catalogue").caused_by(error))
    }
}

impl Cells {
    fn append_null(&mut self) {
        match self {
            Cells::Text(cells) => cells.append_null(),
            Cells::Date(cells) => cells.append_null(),
            Cells::Second(cells) => cells.append_null(),
            Cells::Int(cells) => cells.append_null(),
            Cells::Decimal(cells, _) => cells.append_null(),
            Cells::Float(cells) => cells.append_null(),
        }
    }

    fn append_empty(&mut self) {
        match self {
            Cells::Text(cells) => cells.append_value(""),
            Cells::Date(cells) => cells.append_value(0),
            Cells::Second(cells) => cells.append_value(0),
            Cells::Int(cells) => cells.append_value(0),
            Cells::Decimal(cells, _) => cells.append_value(0),
            Cells::Float(cells) => cells.append_value(0.0),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Cells::Text(mut cells) => Arc::new(cells.finish()),
            Cells::Date(mut cells) => Arc::new(cells.finish()),
            Cells::Second(mut cells) => Arc::new(cells.finish()),
            Cells::Int(mut cells) => Arc::new(cells.finish()),
            Cells::Decimal(mut cells, _) => Arc::new(cells.finish()),
            Cells::Float(mut cells) => Arc::new(cells.finish()),
        }
    }
}

fn rescale(value: i128, from: i8, to: i8) -> i128 {
    if to >= from {
        return value * 10i128.pow((to - from) as u32);
    }
    divide_rounded(value, 10i128.pow((from - to) as u32))
}

/// Half away from zero.
pub fn divide_rounded(value: i128, by: i128) -> i128 {
    let half = by.abs() / 2;
    if (value < 0) == (by < 0) { (value.abs() + half) / by.abs() } else { -((value.abs() + half) / by.abs()) }
}

/// `part / whole x times` at `scale`.
pub fn ratio(part: i64, whole: i64, times: i64, scale: i8) -> Option<i64> {
    let power = 10i128.pow(scale.max(0) as u32);
    let value =
        (whole != 0).then(|| divide_rounded(i128::from(part) * i128::from(times) * power, i128::from(whole)))?;
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded_half_away_from_zero() {
        assert_eq!(ratio(1, 3, 100, 4), Some(333_333));
        assert_eq!(ratio(-1, 8, 1, 2), Some(-13));
        assert_eq!(ratio(1, -8, 1, 2), Some(-13));
        assert_eq!(ratio(1, 0, 1, 2), None);
        assert_eq!(rescale(12_345, 4, 2), 123);
        assert_eq!(rescale(5, 0, 3), 5_000);
    }
}

//! Bars of weeks and months, made from those of days: exact, and with the last trading day as their day.

use std::sync::Arc;

use arrow_array::builder::{Date32Builder, Decimal128Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::model::{Day, Error, Result};

/// How long a bar is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BarPeriod)]
pub enum Period {
    #[default]
    Daily,
    Weekly,
    Monthly,
}

impl Period {
    /// Its name, which is that of its table.
    pub fn name(self) -> &'static str {
        match self {
            Period::Daily => "daily",
            Period::Weekly => "weekly",
            Period::Monthly => "monthly",
        }
    }

    /// The last day of the period that a day lies in.
    pub fn end_of(self, day: Day) -> Day {
        match self {
            Period::Daily => day,
            Period::Weekly => day.plus(6 - day.weekday()),
            Period::Monthly => day.month_end(),
        }
    }

    /// The first day of the period that a day lies in.
    pub fn start_of(self, day: Day) -> Day {
        match self {
            Period::Daily => day,
            Period::Weekly => day.plus(-day.weekday()),
            Period::Monthly => day.plus(1 - i32::from(day.date().day())),
        }
    }
}

/// One bar that grows: day, open, high, low, close, volume, amount. What no day has is missing.
#[derive(Clone, Copy, Debug, Default)]
struct Bar {
    day: i32,
    cells: [Option<i128>; 6],
}

impl Bar {
    fn add(&mut self, later: Bar) {
        let [open, high, low, close, vol, amount] = &mut self.cells;
        let [_, later_high, later_low, later_close, later_vol, later_amount] = later.cells;
        self.day = later.day;
        *open = open.or(later.cells[0]);
        *high = (*high).max(later_high);
        *low = match (*low, later_low) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        *close = later_close.or(*close);
        for (sum, more) in [(vol, later_vol), (amount, later_amount)] {
            *sum = match (*sum, more) {
                (Some(one), Some(other)) => one.checked_add(other),
                (one, other) => one.or(other),
            };
        }
    }
}

/// Bars of `period` from daily ones: columns day, open, high, low, close, vol, amount, oldest first.
pub fn gathered(daily: &RecordBatch, period: Period) -> Result<RecordBatch> {
    if daily.num_columns() != 7 {
        return Err(Error::bug("bars have seven columns"));
    }
    let days = daily.column(0).as_primitive::<Date32Type>();
    let cells: Vec<_> = daily.columns()[1..].iter().map(|array| array.as_primitive::<Decimal128Type>()).collect();
    let mut bars: Vec<Bar> = Vec::new();
    for row in 0..daily.num_rows() {
        let mut bar = Bar { day: days.value(row), ..Bar::default() };
        for (value, array) in bar.cells.iter_mut().zip(&cells) {
            *value = array.is_valid(row).then(|| array.value(row));
        }
        match bars.last_mut() {
            Some(last) if period.end_of(Day(last.day)) == period.end_of(Day(bar.day)) => last.add(bar),
            _ => bars.push(bar),
        }
    }
    let mut days = Date32Builder::with_capacity(bars.len());
    bars.iter().for_each(|bar| days.append_value(bar.day));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(days.finish())];
    for (at, array) in cells.iter().enumerate() {
        let mut values = Decimal128Builder::with_capacity(bars.len()).with_data_type(array.data_type().clone());
        bars.iter().for_each(|bar| values.append_option(bar.cells[at]));
        columns.push(Arc::new(values.finish()));
    }
    let fits = RecordBatch::try_new(daily.schema(), columns);
    fits.map_err(|error| Error::bug("gathered bars do not fit daily ones").caused_by(error))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, Decimal128Array};
    use arrow_schema::{Field, Schema};

    use super::*;

    #[test]
    fn a_week_opens_with_its_first_day_and_closes_with_its_last() {
        let day = |text: &str| Day::parse(text).unwrap().0;
        let days = ["20240104", "20240105", "20240108", "20240131", "20240201"].map(day);
        let prices = [[10, 12, 9, 11], [11, 15, 10, 14], [14, 14, 13, 13], [13, 20, 12, 19], [19, 19, 18, 18]];
        let column = |at: usize| -> ArrayRef {
            let values = prices.iter().map(|bar| Some(if at < 4 { bar[at] } else { 100 }));
            Arc::new(values.collect::<Decimal128Array>())
        };
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Date32Array::from(days.to_vec()))];
        columns.extend((0..6).map(column));
        let fields = columns.iter().enumerate();
        let fields = fields.map(|(at, array)| Field::new(at.to_string(), array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let daily = RecordBatch::try_new(schema, columns).unwrap();
        for (period, expected) in [
            (
                Period::Weekly,
                vec![
                    ("20240105", [10, 15, 9, 14, 200, 200]),
                    ("20240108", [14, 14, 13, 13, 100, 100]),
                    ("20240201", [13, 20, 12, 18, 200, 200]),
                ],
            ),
            (Period::Monthly, vec![("20240131", [10, 20, 9, 19, 400, 400]), ("20240201", [19, 19, 18, 18, 100, 100])]),
        ] {
            let found = gathered(&daily, period).unwrap();
            let value = |column: usize, row: usize| found.column(column).as_primitive::<Decimal128Type>().value(row);
            let bars = (0..found.num_rows()).map(|row| {
                let at = Day(found.column(0).as_primitive::<Date32Type>().value(row)).compact();
                (at, [1, 2, 3, 4, 5, 6].map(|column| value(column, row)))
            });
            let expected: Vec<_> = expected.into_iter().map(|(day, bar)| (day.to_string(), bar)).collect();
            assert_eq!(bars.collect::<Vec<_>>(), expected, "{period:?}");
        }
    }
}

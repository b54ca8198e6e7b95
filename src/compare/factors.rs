//! Histories of adjustment factors: only their ratios mean anything, because every source has its own base.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::Decimal128Builder;
use arrow_array::{ArrayRef, RecordBatch};

use super::{Cause, Comparing, value::Number};
use crate::check::Columns;
use crate::model::{Dataset, Day, Error, Result, decimal};

/// The column of `adj_factor`, and of which it is made of `ex_factor`.
const FACTOR: &str = "adj_factor";
const BACK_FACTOR: &str = "back_factor";

/// A history of factors day by day, in the rows of `days`, from one that has rows for ex-dates only: each day has the
/// factor of the last ex-date up to it, and 1 before the first.
pub fn day_by_day(dataset: &Dataset, days: &RecordBatch, ex_dates: &RecordBatch) -> Result<RecordBatch> {
    let missing = || Error::bug("a history of factors lacks a column");
    let columns = Columns::new(ex_dates);
    let codes = columns.get("ts_code").ok_or_else(missing)?;
    let (dates, factors) = (columns.get("ex_date").ok_or_else(missing)?, columns.get(BACK_FACTOR).ok_or_else(missing)?);
    let mut history: BTreeMap<&str, BTreeMap<Day, f64>> = BTreeMap::new();
    for row in 0..ex_dates.num_rows() {
        if let (Some(code), Some(day), Some(factor)) = (codes.text(row), dates.day(row), factors.number(row)) {
            history.entry(code).or_default().insert(day, factor);
        }
    }
    let columns = Columns::new(days);
    let (codes, dates) = (columns.get("ts_code").ok_or_else(missing)?, columns.get("trade_date").ok_or_else(missing)?);
    let index = dataset.column_index(FACTOR).ok_or_else(missing)?;
    let scale = dataset.columns[index].scale;
    let mut filled =
        Decimal128Builder::with_capacity(days.num_rows()).with_data_type(dataset.columns[index].data_type());
    for row in 0..days.num_rows() {
        let last = codes.text(row).zip(dates.day(row)).and_then(|(code, day)| {
            history.get(code).and_then(|known| known.range(..=day).next_back()).map(|(_, factor)| *factor)
        });
        filled.append_value(decimal::from_f64(last.unwrap_or(1.0), scale));
    }
    let mut arrays: Vec<ArrayRef> = days.columns().to_vec();
    arrays[index] = Arc::new(filled.finish());
    RecordBatch::try_new(dataset.schema(), arrays)
        .map_err(|error| Error::bug("writing factors day by day failed").caused_by(error))
}

/// Compares each factor with the last one of its security, on both sides.
pub(super) fn compare(comparing: &mut Comparing) {
    let both = comparing.both;
    let (left, right) = comparing.cells;
    let pair = |index: usize| Number::of(&left, both[index].left).zip(Number::of(&right, both[index].right));
    // Rows are in the order of security and day, so the last one of a security stays.
    let mut last: BTreeMap<&str, (Number, Number)> = BTreeMap::new();
    for (index, row) in both.iter().enumerate() {
        if let Some(pair) = pair(index) {
            last.insert(&row.security, pair);
        }
    }
    for (index, row) in both.iter().enumerate() {
        let Some((one, two)) = pair(index) else {
            comparing.report.null_left += u64::from(left.is_null(row.left) && !right.is_null(row.right));
            comparing.report.null_right += u64::from(right.is_null(row.right) && !left.is_null(row.left));
            continue;
        };
        comparing.report.compared += 1;
        let Some((last_one, last_two)) = last.get(row.security.as_str()) else { continue };
        let ratio = |number: &Number, last: &Number| number.double / last.double;
        let (one_ratio, two_ratio) = (ratio(&one, last_one), ratio(&two, last_two));
        let noise: f64 = [&one, &two, last_one, last_two].into_iter().map(relative_rounding).sum();
        if one.equals(&two) || one_ratio == two_ratio {
            comparing.report.equal += 1;
        } else if (one_ratio - two_ratio).abs() <= noise * one_ratio.abs().max(two_ratio.abs()) {
            comparing.report.rounding += 1;
        } else {
            comparing.report.largest = comparing.report.largest.max((one_ratio - two_ratio).abs());
            let text = |number: &Number, ratio: f64| format!("{} (x{ratio:.6} of the last)", number.text());
            comparing.differs(row, text(&one, one_ratio), text(&two, two_ratio));
            comparing.report.cause = Some(Cause::Scattered);
        }
    }
}

/// Digits that sources keep of a factor: three or four after the point, six at most.
const FACTOR_DIGITS: i32 = -3;

/// Half the last digit that a factor can have, relative to it.
fn relative_rounding(number: &Number) -> f64 {
    let step = 10f64.powi(number.last_digit().map_or(FACTOR_DIGITS, |last| last.clamp(-6, FACTOR_DIGITS)));
    if number.double == 0.0 { 0.0 } else { step / 2.0 / number.double.abs() }
}

//! Two sides of the same rows, compared row by row, pure: what is equal, what is rounding, what differs and why.

mod cause;
pub mod factors;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;

use arrow_array::RecordBatch;

pub use cause::Cause;
use value::Number;

use crate::check::{Cells, Columns, half_unit};
use crate::model::{Dataset, Day};

/// One side: who says so, and its rows in the dataset's columns (numbers may have other scales).
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// `tushare`, `store`, `600000.csv`: rounding that the catalogue declares for a source of that name counts.
    pub name: &'a str,
    pub batch: &'a RecordBatch,
}

/// What is wanted of a comparison.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Differences that are shown of each column, and missing rows of each side.
    pub examples_max: usize,
    /// Only these columns; empty for all.
    pub columns: Vec<String>,
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub rows_left: u64,
    pub rows_right: u64,
    /// Rows that both sides have.
    pub rows_both: u64,
    /// Keys that only one side has, in the order of the key: count and the first of them.
    pub only_left: u64,
    pub only_right: u64,
    pub missing_right: Vec<String>,
    pub missing_left: Vec<String>,
    pub columns: Vec<ColumnReport>,
}

impl Report {
    /// Nothing differs beyond rounding, and no side lacks a row.
    pub fn agrees(&self) -> bool {
        self.only_left == 0 && self.only_right == 0 && self.columns.iter().all(|column| column.different == 0)
    }
}

/// One column over the rows that both sides have.
#[derive(Clone, Debug, Default)]
pub struct ColumnReport {
    pub name: String,
    /// Rows in which both sides have a value.
    pub compared: u64,
    pub equal: u64,
    /// Values that differ by no more than the sides round.
    pub rounding: u64,
    pub different: u64,
    /// Values that only the other side has.
    pub null_left: u64,
    pub null_right: u64,
    pub largest: f64,
    pub cause: Option<Cause>,
    pub examples: Vec<Example>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The key's values with blanks between.
    pub key: String,
    pub left: String,
    pub right: String,
}

/// Two numbers of one row.
#[derive(Clone, Debug)]
pub struct Pair {
    pub security: String,
    pub left: f64,
    pub right: f64,
    /// How far the two may lie apart because their sides round.
    pub noise: f64,
}

/// A row that both sides have.
struct Both {
    key: String,
    security: String,
    day: Option<Day>,
    left: usize,
    right: usize,
}

/// Compares two sides.
pub fn compare(dataset: &Dataset, left: Side, right: Side, wanted: &Wanted) -> Report {
    let mut report = Report {
        rows_left: left.batch.num_rows() as u64,
        rows_right: right.batch.num_rows() as u64,
        ..Report::default()
    };
    let mut both = matched(dataset, left, right, wanted, &mut report);
    both.sort_by(|one, other| (&one.security, one.day, &one.key).cmp(&(&other.security, other.day, &other.key)));
    report.rows_both = both.len() as u64;
    let (left_columns, right_columns) = (Columns::new(left.batch), Columns::new(right.batch));
    for column in &dataset.columns {
        let asked = wanted.columns.is_empty() || wanted.columns.contains(&column.name);
        if dataset.key.contains(&column.name) || column.derived.is_some() || !asked {
            continue;
        }
        let Some(cells) = left_columns.get(&column.name).zip(right_columns.get(&column.name)) else { continue };
        let rounds = |side: Side| half_unit(dataset, side.name, &column.name).unwrap_or(0.0);
        let mut comparing = Comparing {
            cells,
            both: &both,
            unit: &column.unit,
            declared: rounds(left) + rounds(right),
            examples_max: wanted.examples_max,
            report: ColumnReport { name: column.name.clone(), ..ColumnReport::default() },
        };
        let is_factor = column.name == "adj_factor";
        if is_factor {
            factors::compare(&mut comparing)
        } else {
            comparing.run()
        }
        let found = comparing.report;
        if found.compared + found.null_left + found.null_right > 0 {
            report.columns.push(found);
        }
    }
    report
}

/// The rows that both sides have; the others are counted and the first of them named.
fn matched(dataset: &Dataset, left: Side, right: Side, wanted: &Wanted, report: &mut Report) -> Vec<Both> {
    let by_key = keys(dataset, right.batch);
    let index: HashMap<&str, usize> = by_key.iter().enumerate().map(|(row, key)| (key.as_str(), row)).collect();
    let columns = Columns::new(left.batch);
    let named = |name: &Option<String>| name.as_deref().and_then(|name| columns.get(name));
    let (security, time) = (named(&dataset.security), named(&dataset.time));
    let mut seen = vec![false; right.batch.num_rows()];
    let mut both = Vec::new();
    let mut missing = Vec::new();
    for (row, key) in keys(dataset, left.batch).into_iter().enumerate() {
        let Some(found) = index.get(key.as_str()) else {
            missing.push(key);
            continue;
        };
        seen[*found] = true;
        both.push(Both {
            security: security.and_then(|cells| cells.text(row)).unwrap_or_default().to_owned(),
            day: time.and_then(|cells| cells.day(row)),
            key,
            left: row,
            right: *found,
        });
    }
    let first = |mut keys: Vec<String>| {
        keys.sort();
        let count = keys.len() as u64;
        keys.truncate(wanted.examples_max);
        (count, keys)
    };
    (report.only_left, report.missing_right) = first(missing);
    let unseen = by_key.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(key, _)| key.clone()).collect();
    (report.only_right, report.missing_left) = first(unseen);
    both
}

/// The key of each row as text.
fn keys(dataset: &Dataset, batch: &RecordBatch) -> Vec<String> {
    let columns = Columns::new(batch);
    let key: Vec<Cells> = dataset.key.iter().filter_map(|name| columns.get(name)).collect();
    let text = |cells: &Cells, row: usize| cells.json(row).as_str().unwrap_or_default().to_owned();
    (0..batch.num_rows()).map(|row| key.iter().map(|cells| text(cells, row)).collect::<Vec<_>>().join(" ")).collect()
}

/// One column being compared.
struct Comparing<'a> {
    cells: (Cells<'a>, Cells<'a>),
    both: &'a [Both],
    unit: &'a str,
    /// Rounding that the catalogue declares.
    declared: f64,
    examples_max: usize,
    report: ColumnReport,
}

impl Comparing<'_> {
    fn run(&mut self) {
        let numbers = self.numbers();
        let coarse = coarser_step(&numbers);
        let mut pairs = Vec::new();
        let mut differing = Vec::new();
        for (index, both) in self.both.iter().enumerate() {
            let (left, right) = &self.cells;
            match (left.is_null(both.left), right.is_null(both.right)) {
                (true, true) => continue,
                (true, false) => self.report.null_left += 1,
                (false, true) => self.report.null_right += 1,
                (false, false) => {
                    self.report.compared += 1;
                    let Some((left, right)) = &numbers[index] else {
                        self.text(both);
                        continue;
                    };
                    let noise = self.declared.max(coarse);
                    let pair = Pair { security: both.security.clone(), left: left.double, right: right.double, noise };
                    if left.equals(right) {
                        self.report.equal += 1;
                    } else if (pair.left - pair.right).abs() <= noise * (1.0 + 1e-9) || self.is_rounded(left, right) {
                        self.report.rounding += 1;
                    } else {
                        differing.push(pairs.len());
                        self.differs(both, left.text(), right.text());
                        self.report.largest = self.report.largest.max((pair.left - pair.right).abs());
                    }
                    pairs.push(Pair { noise: noise.max(self.uncertain(left, right)), ..pair });
                }
            }
        }
        if !differing.is_empty() {
            self.report.cause = Some(cause::likely(&pairs, &differing));
        }
    }

    fn numbers(&self) -> Vec<Option<(Number, Number)>> {
        let (left, right) = &self.cells;
        let both = self.both.iter();
        both.map(|both| Number::of(left, both.left).zip(Number::of(right, both.right))).collect()
    }

    fn text(&mut self, both: &Both) {
        let (left, right) = (self.cells.0.json(both.left), self.cells.1.json(both.right));
        if left == right {
            self.report.equal += 1;
        } else {
            let text = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            self.differs(both, text(left), text(right));
            self.report.cause = Some(Cause::Scattered);
        }
    }

    fn differs(&mut self, both: &Both, left: String, right: String) {
        self.report.different += 1;
        if self.report.examples.len() < self.examples_max {
            self.report.examples.push(Example { key: both.key.clone(), left, right });
        }
    }

    /// How far a value may lie from the truth by what it shows: half a cent, or a lot where volumes are whole lots.
    fn uncertain(&self, left: &Number, right: &Number) -> f64 {
        let coarsest = left.last_digit().max(right.last_digit()).unwrap_or(0);
        if self.unit == "share" && coarsest >= 2 { 100.0 } else { 10f64.powi(coarsest.min(-2)) / 2.0 }
    }

    /// Roundings that show in the values themselves: one side counts whole lots, or keeps its figures in 32 bits.
    fn is_rounded(&self, left: &Number, right: &Number) -> bool {
        let apart = (left.double - right.double).abs();
        let size = left.double.abs().max(right.double.abs());
        let whole = |power: i32| {
            let step = 10f64.powi(power);
            let is_whole = |number: &Number| number.last_digit().is_none_or(|last| last >= power);
            (is_whole(left) || is_whole(right)) && apart <= step && size >= 100.0 * step
        };
        let single = size >= 1e5 && apart <= size * f64::from(f32::EPSILON);
        match self.unit {
            "share" => whole(2) || single,
            "CNY" => size >= 1e5 && (whole(1) || whole(3) || single),
            _ => false,
        }
    }
}

/// How many values show to which step a side rounds.
const VALUES_MIN: usize = 20;

/// Half the step of the side that writes fewer digits throughout, where the other side writes more; else 0.
fn coarser_step(numbers: &[Option<(Number, Number)>]) -> f64 {
    let known: Vec<&(Number, Number)> = numbers.iter().flatten().collect();
    let finest = |side: &dyn Fn(&(Number, Number)) -> Option<i32>| known.iter().filter_map(|pair| side(pair)).min();
    let (left, right) = (finest(&|pair| pair.0.last_digit()), finest(&|pair| pair.1.last_digit()));
    match left.zip(right) {
        Some((left, right)) if left != right && known.len() >= VALUES_MIN => 10f64.powi(left.max(right)) / 2.0,
        _ => 0.0,
    }
}

//! Adjusted prices: raw price and factor, in exact decimals, rounded half to even to the scale of the column.
//!
//! A price for which no factor is known is missing: nothing is made up. Rates of change stay as they are, because both of
//! their prices have the same factor.

use std::sync::Arc;

use arrow_array::builder::{Date32Builder, Decimal128Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};

use super::factors::Factors;
use super::{Adjust, added_columns};
use crate::model::dataset::Adjusted;
use crate::model::{Dataset, Day, Error, Result, decimal};

/// Adjusts the batches of one query.
pub(super) struct Adjuster {
    dataset: Arc<Dataset>,
    adjusted: Adjusted,
    adjust: Adjust,
    factors: Factors,
    anchor: Option<Day>,
    told: bool,
    security: String,
    time: String,
}

/// What a row's prices are multiplied and divided by.
#[derive(Clone)]
struct Ratio {
    factor: i128,
    divisor: i128,
    table: Arc<str>,
}

impl Adjuster {
    pub(super) fn new(
        dataset: Arc<Dataset>,
        adjust: Adjust,
        factors: Factors,
        anchor: Option<Day>,
        told: bool,
    ) -> Result<Adjuster> {
        let parts = dataset.adjust.clone().zip(dataset.security.clone()).zip(dataset.time.clone());
        let Some(((adjusted, security), time)) = parts else {
            return Err(Error::bug(format!("{} has no prices by security and day", dataset.name)));
        };
        Ok(Adjuster { dataset, adjusted, adjust, factors, anchor, told, security, time })
    }

    /// Whether the column holds something else afterwards.
    pub(super) fn changes(&self, column: &str) -> bool {
        self.adjusted.prices.iter().any(|price| price == column) || self.adjusted.differences.contains_key(column)
    }

    /// The columns without which nothing can be adjusted.
    pub(super) fn needs(&self) -> impl Iterator<Item = &str> {
        let differences = self.adjusted.differences.values().flatten();
        [&self.security, &self.time].into_iter().chain(differences).map(String::as_str)
    }

    pub(super) async fn adjust(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let column = |name: &str| {
            let missing = || Error::bug(format!("prices are adjusted by {name}, which is not read"));
            batch.column_by_name(name).cloned().ok_or_else(missing)
        };
        let (codes, days) = (column(&self.security)?, column(&self.time)?);
        let (codes, days) = (codes.as_string::<i32>(), days.as_primitive::<Date32Type>());
        let mut asked: Vec<&str> = codes.iter().flatten().collect();
        asked.sort_unstable();
        asked.dedup();
        self.factors.load(asked.into_iter().map(Arc::from).collect()).await?;
        let ratio = |row: usize| self.ratio(codes.value(row), Day(days.value(row)));
        let ratios: Vec<Option<Ratio>> = (0..batch.num_rows()).map(ratio).collect();
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let is_price = self.adjusted.prices.contains(field.name());
            arrays.push(if is_price { self.prices(field.name(), array, &ratios)? } else { array.clone() });
            fields.push(field.clone());
        }
        for (name, [minuend, subtrahend]) in &self.adjusted.differences {
            let at = |name: &String| fields.iter().position(|field| field.name() == name);
            let (Some(at), Some(minuend), Some(subtrahend)) = (at(name), at(minuend), at(subtrahend)) else { continue };
            arrays[at] = difference(&arrays[minuend], &arrays[subtrahend])?;
        }
        if self.told {
            self.tell(&ratios, &mut fields, &mut arrays);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| Error::bug("adjusted prices do not fit their columns").caused_by(error))
    }

    fn ratio(&self, code: &str, day: Day) -> Option<Ratio> {
        let steps = self.factors.get(code)?;
        let divisor = match self.adjust {
            Adjust::Forward => steps.at_anchor?,
            Adjust::Backward => steps.one,
        };
        Some(Ratio { factor: steps.on(day)?, divisor, table: steps.table.clone() })
    }

    fn prices(&self, name: &str, array: &ArrayRef, ratios: &[Option<Ratio>]) -> Result<ArrayRef> {
        let cells = array.as_primitive::<Decimal128Type>();
        let mut prices = Decimal128Builder::with_capacity(array.len()).with_data_type(array.data_type().clone());
        for (row, ratio) in ratios.iter().enumerate() {
            match ratio {
                Some(Ratio { factor, divisor, .. }) if !cells.is_null(row) => {
                    let price = decimal::multiply_divide(cells.value(row), *factor, *divisor);
                    prices.append_value(price.ok_or_else(|| self.too_long(name))?);
                }
                _ => prices.append_null(),
            }
        }
        Ok(Arc::new(prices.finish()))
    }

    fn too_long(&self, name: &str) -> Error {
        let error = Error::invalid(format!("adjusting {name} of {} takes more than 38 digits", self.dataset.name));
        error.hint("a price or a factor is out of all proportion; look at both with --adjust none")
    }

    /// The two columns that `added_columns` declares.
    fn tell(&self, ratios: &[Option<Ratio>], fields: &mut Vec<Arc<Field>>, arrays: &mut Vec<ArrayRef>) {
        let (mut anchors, mut tables) = (Date32Builder::new(), StringBuilder::new());
        for ratio in ratios {
            anchors.append_option(self.anchor.filter(|_| ratio.is_some()).map(|day| day.0));
            tables.append_option(ratio.as_ref().map(|ratio| &*ratio.table));
        }
        let told: [ArrayRef; 2] = [Arc::new(anchors.finish()), Arc::new(tables.finish())];
        for (column, array) in added_columns().into_iter().zip(told) {
            fields.push(Arc::new(Field::new(&column.name, column.data_type(), true)));
            arrays.push(array);
        }
    }
}

/// One price less another, missing where either is.
fn difference(minuend: &ArrayRef, subtrahend: &ArrayRef) -> Result<ArrayRef> {
    let (minuends, subtrahends) =
        (minuend.as_primitive::<Decimal128Type>(), subtrahend.as_primitive::<Decimal128Type>());
    let mut differences = Decimal128Builder::with_capacity(minuend.len()).with_data_type(minuend.data_type().clone());
    for (minuend, subtrahend) in minuends.iter().zip(subtrahends) {
        differences.append_option(minuend.zip(subtrahend).and_then(|(a, b)| a.checked_sub(b)));
    }
    Ok(Arc::new(differences.finish()))
}

//! Which version of a statement was known on a day: of those announced by then, the one announced last.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::Date32Type;
use arrow_array::{Array, BooleanArray, RecordBatch};

use super::base_of;
use super::rows::{Compare, comparison, position};
use crate::model::dataset::Versions;
use crate::model::{Dataset, Day, Error, Result};

/// The rows that were known on `day`, one for each thing that has versions. The versions of a thing stand together. A
/// version that does not say when it was announced is known on no day.
pub(super) fn known(dataset: &Dataset, versions: &Versions, day: Day, batch: RecordBatch) -> Result<RecordBatch> {
    let base = compares(dataset, &batch, &base_of(dataset, versions))?;
    let later = compares(dataset, &batch, &versions.columns)?;
    let announced = announced(versions, &batch)?;
    let mut kept = vec![false; batch.num_rows()];
    let mut newest: Option<usize> = None;
    for row in 0..batch.num_rows() {
        if row > 0 && compared(&base, row - 1, row).is_ne() {
            newest = None;
        }
        let Some(at) = announced[row].filter(|at| *at <= day) else { continue };
        let is_newer = newest
            .is_none_or(|other| Some(at).cmp(&announced[other]).then_with(|| compared(&later, row, other)).is_gt());
        if is_newer {
            newest.into_iter().for_each(|other| kept[other] = false);
            kept[row] = true;
            newest = Some(row);
        }
    }
    arrow_select::filter::filter_record_batch(&batch, &BooleanArray::from(kept))
        .map_err(|error| Error::bug("cannot choose versions").caused_by(error))
}

fn compares<'a>(dataset: &Dataset, batch: &'a RecordBatch, names: &[String]) -> Result<Vec<Compare<'a>>> {
    let compare = |name: &String| {
        let kind = dataset.columns[position(dataset, name)?].kind;
        Ok(comparison(column(batch, name)?, kind, false))
    };
    names.iter().map(compare).collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow_array::ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::bug(format!("versions are told apart by {name}, which is not read")))
}

fn compared(compares: &[Compare<'_>], a: usize, b: usize) -> Ordering {
    compares.iter().map(|compare| compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// When each row was announced. An empty part of a key is kept as the first of all days.
fn announced(versions: &Versions, batch: &RecordBatch) -> Result<Vec<Option<Day>>> {
    let mut days = vec![None; batch.num_rows()];
    for name in &versions.announced {
        let cells = column(batch, name)?.as_primitive::<Date32Type>();
        for (row, day) in days.iter_mut().enumerate().filter(|(row, day)| day.is_none() && !cells.is_null(*row)) {
            *day = Some(Day(cells.value(row))).filter(|day| *day > Day::MIN);
        }
    }
    Ok(days)
}

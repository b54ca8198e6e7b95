//! Rows on their way into a table: as batches, as stored ones to compare with, and as changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use futures::TryStreamExt;

use super::mapping::{Mapped, Row};
use crate::check;
use crate::model::cell::Cells;
use crate::model::change::Write;
use crate::model::{
    Area, Change, Dataset, Error, Exchanges, Filter, Instant, Keys, Query, Result, RowsChange, conflict,
};
use crate::store::Store;

/// Rows as a batch in the dataset's schema.
pub fn batch(dataset: &Dataset, rows: &[Row]) -> Result<RecordBatch> {
    let batches = rows.iter().map(|row| conflict::batch_of(dataset, &serde_json::Value::Object(row.clone())));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    concat_batches(&dataset.schema(), &batches).map_err(|error| Error::bug("rows do not fit together").caused_by(error))
}

/// Every row that a message makes is held against the rules of its table.
pub fn check_all(mapped: &Mapped) -> Result<()> {
    if !mapped.ends {
        check(&mapped.dataset, &batch(&mapped.dataset, std::slice::from_ref(&mapped.row))?)?;
    }
    mapped.items.iter().try_for_each(|items| check(&items.dataset, &batch(&items.dataset, &items.rows)?))
}

/// `Invalid` names the rule of the table that a row breaks.
fn check(dataset: &Dataset, batch: &RecordBatch) -> Result<()> {
    let checked = check::check(dataset, &Area::whole(), batch.clone());
    match checked.quarantined.first() {
        None => Ok(()),
        Some(refused) => {
            let error = Error::invalid(format!("a row of {} breaks the rule {}", dataset.name, refused.rule));
            Err(error.hint("policy.checks of the table names the rules"))
        }
    }
}

/// A change of these rows by a webhook. It says nothing about coverage: nobody asked for an area.
pub fn change(dataset: &Arc<Dataset>, batch: RecordBatch, write: Write, inbound: &str, now: Instant) -> Change {
    Change::Rows(RowsChange {
        dataset: dataset.clone(),
        area: Area::whole(),
        batch,
        lacks: Vec::new(),
        lacks_exchanges: Exchanges::default(),
        write,
        source: Arc::from(format!("inbound:{inbound}")),
        rank: 1,
        fetched_at: now,
        claim: None,
        quarantined: Vec::new(),
    })
}

/// Rows of one table that are written alike become one change: what each of them is about differs.
pub fn together(changes: Vec<Change>) -> Result<Vec<Change>> {
    let mut merged: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        let Change::Rows(more) = change else {
            merged.push(change);
            continue;
        };
        let alike = |known: &&mut Change| match known {
            Change::Rows(known) => {
                known.dataset.name == more.dataset.name && known.write == more.write && known.source == more.source
            }
            _ => false,
        };
        match merged.iter_mut().find(alike) {
            Some(Change::Rows(known)) => {
                let both = concat_batches(&known.dataset.schema(), [&known.batch, &more.batch]);
                known.batch = both.map_err(|error| Error::bug("rows do not fit together").caused_by(error))?;
            }
            _ => merged.push(Change::Rows(more)),
        }
    }
    Ok(merged)
}

/// Stored rows whose columns have these values.
pub async fn stored(store: &dyn Store, dataset: &Dataset, of: &[(String, String)]) -> Result<RecordBatch> {
    let filter =
        |(column, value): &(String, String)| Filter::In { column: column.clone(), values: vec![value.clone()] };
    let query = Query { filters: of.iter().map(filter).collect(), ..Query::all(&dataset.name) };
    let batches: Vec<RecordBatch> = store.scan(&query).await?.try_collect().await?;
    concat_batches(&dataset.schema(), &batches).map_err(|error| Error::bug("rows do not fit together").caused_by(error))
}

/// The rows whose keys are not among those of another batch.
pub fn without(dataset: &Dataset, stored: &RecordBatch, others: &RecordBatch) -> Result<RecordBatch> {
    let (keys, other_keys) = (Keys::of(dataset, stored), Keys::of(dataset, others));
    let known = (0..others.num_rows()).map(|row| other_keys.get(row)).collect::<Result<BTreeSet<_>>>()?;
    let gone = (0..stored.num_rows()).map(|row| Ok(!known.contains(&keys.get(row)?)));
    let gone = BooleanArray::from(gone.collect::<Result<Vec<bool>>>()?);
    filter_record_batch(stored, &gone).map_err(|error| Error::bug("rows cannot be chosen").caused_by(error))
}

/// Whether the first rows of two batches agree in every column but the noted ones.
pub fn alike(one: &RecordBatch, other: &RecordBatch, noted: &[usize]) -> Result<bool> {
    for at in (0..one.num_columns()).filter(|at| !noted.contains(at)) {
        if value(one, at)? != value(other, at)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The value of a column in the first row; `None` when it is missing.
pub fn value(batch: &RecordBatch, column: usize) -> Result<Option<Vec<u8>>> {
    let cells = Cells::of(batch.column(column).as_ref())?;
    if cells.is_null(0) {
        return Ok(None);
    }
    let mut text = Vec::new();
    cells.write(0, 0, &mut text);
    Ok(Some(text))
}

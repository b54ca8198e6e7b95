//! Gathering rows that belong together into one batch.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};

use crate::model::cell::Cells;
use crate::model::{Error, Result};
use crate::store::BatchStream;

/// Rows that wait for the rest of their group.
#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
    rows_max: usize,
}

impl Waiting {
    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        if self.rows > self.rows_max {
            let error = Error::invalid(format!("more than {} rows would have to be put in order", self.rows_max));
            return Err(error
                .hint("ask for fewer securities or days, order by the security first, or raise read.sort_rows_max"));
        }
        self.batches.push(batch);
        Ok(())
    }

    fn take(&mut self) -> Result<Option<RecordBatch>> {
        let batches = std::mem::take(&mut self.batches);
        self.rows = 0;
        let Some(schema) = batches.first().map(|batch| -> SchemaRef { batch.schema() }) else { return Ok(None) };
        let whole = arrow_select::concat::concat_batches(&schema, &batches);
        whole.map(Some).map_err(|error| Error::bug("cannot put batches together").caused_by(error))
    }
}

/// Batches cut where the values of column `by` change, so that equal ones that follow each other are never apart. Without a
/// column everything is one batch. More rows than `rows_max` that belong together are `Invalid`.
pub(super) fn gather(batches: BatchStream, by: Option<String>, rows_max: usize) -> BatchStream {
    let waiting = Waiting { rows_max, ..Waiting::default() };
    let by: Option<Arc<str>> = by.map(Arc::from);
    let next = |(mut batches, mut waiting, by): (BatchStream, Waiting, Option<Arc<str>>)| async {
        while let Some(batch) = batches.try_next().await? {
            let end = match &by {
                Some(by) => last_change(&batch, by, waiting.batches.last())?,
                None => None,
            };
            let Some(end) = end else {
                waiting.add(batch)?;
                continue;
            };
            waiting.add(batch.slice(0, end))?;
            let whole = waiting.take()?;
            waiting.add(batch.slice(end, batch.num_rows() - end))?;
            if let Some(whole) = whole.filter(|whole| whole.num_rows() > 0) {
                return Ok(Some((whole, (batches, waiting, by))));
            }
        }
        Ok(waiting.take()?.map(|whole| (whole, (batches, waiting, by))))
    };
    stream::try_unfold((batches.fuse().boxed(), waiting, by), next).boxed()
}

/// Where the last group of the batch begins; `None` when all of it belongs to the rows before.
fn last_change(batch: &RecordBatch, by: &str, before: Option<&RecordBatch>) -> Result<Option<usize>> {
    let Some(last) = batch.num_rows().checked_sub(1) else { return Ok(None) };
    let cells = cells(batch, by)?;
    let value = text(&cells, last);
    if let Some(row) = (0..last).rev().find(|row| text(&cells, *row) != value) {
        return Ok(Some(row + 1));
    }
    let continues = match before {
        Some(before) if before.num_rows() > 0 => text(&self::cells(before, by)?, before.num_rows() - 1) == value,
        _ => true,
    };
    Ok(if continues { None } else { Some(0) })
}

fn cells<'a>(batch: &'a RecordBatch, column: &str) -> Result<Cells<'a>> {
    let missing = || Error::bug(format!("rows are gathered by {column}, which they do not have"));
    Cells::of(batch.column_by_name(column).ok_or_else(missing)?)
}

fn text(cells: &Cells, row: usize) -> Option<Vec<u8>> {
    if cells.is_null(row) {
        return None;
    }
    let mut text = Vec::new();
    cells.write(row, 0, &mut text);
    Some(text)
}

//! Parquet files: every row becomes a record of texts, so that units, codes, dates and refusals are the same as for text.

use std::fs::File;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::records::Record;
use crate::model::cell::Cells;
use crate::model::{Error, Result};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8192;
/// The metadata of a field that names its unit in the catalogue's words; Tidegate's own exports carry it.
pub const UNIT_KEY: &str = "tidegate.unit";

/// An opened file: its columns, and its rows to be read.
pub struct Table {
    /// Column names; a column that carries its unit has it in brackets, as header cells have.
    pub header: Vec<String>,
    batches: parquet::arrow::arrow_reader::ParquetRecordBatchReader,
}

impl Table {
    pub fn open(file: File) -> Result<Table> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        let name = |field: &std::sync::Arc<arrow_schema::Field>| match field.metadata().get(UNIT_KEY) {
            Some(unit) if !unit.is_empty() => format!("{}({unit})", field.name()),
            _ => field.name().clone(),
        };
        let header = builder.schema().fields().iter().map(name).collect();
        let batches = builder.with_batch_size(BATCH_ROWS).build().map_err(damaged)?;
        Ok(Table { header, batches })
    }

    /// Calls `visit` with every row.
    pub fn for_each(self, mut visit: impl FnMut(&Record) -> Result<()>) -> Result<()> {
        let mut record = Record::default();
        for batch in self.batches {
            let batch = batch.map_err(|cause| Error::invalid("the Parquet file is damaged").caused_by(cause))?;
            let columns: Vec<Cells> =
                batch.columns().iter().map(|column| Cells::of(column.as_ref())).collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                fill(&columns, &batch, row, &mut record);
                visit(&record)?;
            }
        }
        Ok(())
    }
}

fn fill(columns: &[Cells], _batch: &RecordBatch, row: usize, record: &mut Record) {
    record.clear();
    record.line += 1;
    for column in columns {
        let quoted = column.is_text() && !column.is_null(row);
        record.push(quoted, |out| column.write(row, 0, out));
    }
}

fn damaged(cause: parquet::errors::ParquetError) -> Error {
    Error::invalid("the Parquet file cannot be read").hint("write it again, or export the rows as CSV").caused_by(cause)
}

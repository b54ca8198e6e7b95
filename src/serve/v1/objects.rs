//! Few rows as JSON values, for answers that are put together by hand.

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use serde_json::{Map, Value};

use crate::model::cell::Cells;
use crate::model::{Dataset, Query, Result};
use crate::read::Reader;
use crate::store::Scan;

/// The rows of a query with their columns by name. Only for queries with a limit.
pub async fn objects(reader: &Reader, query: &Query) -> Result<Vec<Map<String, Value>>> {
    let batches: Vec<RecordBatch> = reader.scan(query).await?.try_collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        let schema = batch.schema();
        let cells: Vec<Cells> = batch.columns().iter().map(|array| Cells::of(array.as_ref())).collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            let named = schema.fields().iter().zip(&cells);
            rows.push(named.map(|(field, cells)| (field.name().clone(), value(cells, row))).collect());
        }
    }
    Ok(rows)
}

fn value(cells: &Cells, row: usize) -> Value {
    let mut text = Vec::new();
    cells.write(row, 0, &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match () {
        () if cells.is_null(row) => Value::Null,
        () if cells.is_number() => serde_json::from_str(&text).unwrap_or(Value::Null),
        () if text.is_empty() && !cells.is_text() => Value::Null,
        () => Value::String(text),
    }
}

/// The columns of a dataset by which it is asked for one security and one day.
pub fn names(dataset: &Dataset) -> (String, String) {
    (dataset.security.clone().unwrap_or_default(), dataset.time.clone().unwrap_or_default())
}

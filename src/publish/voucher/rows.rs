//! Vouchers as rows of their table, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use serde_json::Value;

use super::{Voucher, fields};
use crate::dialect::cells::Target;
use crate::model::cell::Cells;
use crate::model::change::Write;
use crate::model::{Area, Dataset, Day, Error, Exchanges, Filter, Instant, Query, Result, RowsChange, decimal};
use crate::store::Scan;

/// Who writes the rows.
const WRITER: &str = "publish";

/// The numbers of a day's vouchers.
pub fn series(day: Day) -> String {
    format!("voucher:{day}")
}

/// The number of a voucher, for people: `V20260102-0001`.
pub fn number(day: Day, number: u64) -> String {
    format!("V{}-{number:04}", day.compact())
}

/// A second in Beijing, as tables hold it.
pub fn time(now: Instant) -> String {
    let text = now.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// The same as RFC 3339.
pub fn rfc3339(time: &str) -> String {
    format!("{}+08:00", time.replace(' ', "T"))
}

/// The query for one voucher.
pub fn by_number(dataset: &Dataset, no: &str) -> Query {
    let filter = Filter::In { column: "voucher_no".to_string(), values: vec![no.to_string()] };
    Query { filters: vec![filter], limit: Some(1), ..Query::all(&dataset.name) }
}

/// The first row of a query.
pub async fn first(store: &(impl Scan + ?Sized), query: &Query) -> Result<Option<Voucher>> {
    Ok(all(store, query).await?.into_iter().next())
}

/// The rows of a query with a limit.
pub async fn all(store: &(impl Scan + ?Sized), query: &Query) -> Result<Vec<Voucher>> {
    let batches: Vec<RecordBatch> = store.scan(query).await?.try_collect().await?;
    let mut found = Vec::new();
    for batch in &batches {
        found.extend(vouchers(batch)?);
    }
    Ok(found)
}

fn vouchers(batch: &RecordBatch) -> Result<Vec<Voucher>> {
    let schema = batch.schema();
    let cells: Vec<Cells> = batch.columns().iter().map(|array| Cells::of(array.as_ref())).collect::<Result<_>>()?;
    let mut found = Vec::new();
    for row in 0..batch.num_rows() {
        let mut values = BTreeMap::new();
        for (field, cells) in schema.fields().iter().zip(&cells).filter(|(_, cells)| !cells.is_null(row)) {
            let mut text = Vec::new();
            cells.write(row, 0, &mut text);
            let text = String::from_utf8(text).map_err(|error| Error::bug("reading a voucher").caused_by(error))?;
            let text = match field.name() == "amount" {
                true => fields::amount_text(decimal::parse(&text, fields::SCALE, 0).unwrap_or_default()),
                false => text,
            };
            values.insert(field.name().clone(), text);
        }
        found.push(Voucher { values });
    }
    Ok(found)
}

/// The rows of a commit: each voucher once.
pub fn change(dataset: &Arc<Dataset>, vouchers: &[Voucher], now: Instant) -> Result<RowsChange> {
    Ok(RowsChange {
        dataset: dataset.clone(),
        area: Area::whole(),
        batch: batch(dataset, vouchers)?,
        lacks: Vec::new(),
        lacks_exchanges: Exchanges::default(),
        write: Write::Upsert,
        source: WRITER.into(),
        rank: 1,
        fetched_at: now,
        claim: None,
        quarantined: Vec::new(),
    })
}

fn batch(dataset: &Dataset, vouchers: &[Voucher]) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(dataset.columns.len());
    for column in &dataset.columns {
        let is_key = dataset.key.contains(&column.name);
        let mut target = Target::new(column, is_key, None, 0, vouchers.len());
        for voucher in vouchers {
            let pushed = match voucher.get(&column.name) {
                Some(text) => target.push(&Value::from(text).to_string()),
                None => target.push_null(),
            };
            pushed.map_err(|_| {
                let error = Error::invalid(format!("the table of vouchers cannot hold {}", column.name));
                error.at_field(&column.name).hint("see `tidegate datasets voucher`")
            })?;
        }
        columns.push(target.finish());
    }
    RecordBatch::try_new(dataset.schema(), columns).map_err(|error| Error::bug("writing vouchers").caused_by(error))
}

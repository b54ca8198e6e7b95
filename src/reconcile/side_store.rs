//! A dataset of the store as a side of a reconciliation: read by scanning, written by commits.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use async_trait::async_trait;
use futures::TryStreamExt;

use crate::model::change::Write;
use crate::model::compared::{
    Found, Shape, SideColumn, SideRow, ValueKind, canonical, family_of, float_number, part_text,
};
use crate::model::{
    Area, Change, Clock, Column, ColumnType, Commit, Dataset, Day, Digest, Error, Exchanges, Filter, Key, KeyPart,
    KeyRange, Keys, Order, Query, Result, RowsChange, decimal, digest,
};
use crate::source::database::batch_of_texts;
use crate::source::sides::{Exact, Keep, Mend, MendOutcome, Mended, Side, SideWriter};
use crate::store::Store;

/// Keys that are asked for in one scan.
const LOOK_KEYS: usize = 200;
/// Who a repaired row comes from.
const SOURCE: &str = "repair";

pub struct StoreSide {
    name: String,
    store: Arc<dyn Store>,
    dataset: Arc<Dataset>,
    clock: Clock,
}

impl StoreSide {
    pub fn new(store: Arc<dyn Store>, dataset: Arc<Dataset>, clock: Clock) -> StoreSide {
        StoreSide { name: format!("store:{}", dataset.name), store, dataset, clock }
    }

    /// Positions of the shape's columns in the dataset.
    fn positions(&self, shape: &Shape) -> Result<Vec<usize>> {
        let position = |column: &SideColumn| {
            self.dataset.column_index(&column.name).ok_or_else(|| {
                let names: Vec<&str> = self.dataset.columns.iter().map(|column| column.name.as_str()).collect();
                Error::invalid(format!("{} has no column {:?}", self.name, column.name))
                    .hint(format!("its columns are {}", names.join(", ")))
            })
        };
        shape.columns.iter().map(position).collect()
    }

    /// Calls `each` for every row that a query finds and the shape wants, until it says that it has enough.
    async fn each(
        &self,
        shape: &Shape,
        mut query: Query,
        each: &mut (dyn FnMut(Key, SideRow, &RecordBatch, usize) -> bool + Send),
    ) -> Result<()> {
        let positions = self.positions(shape)?;
        if let Some(only) = &shape.only {
            let column = &self.dataset.columns[positions[only.column]];
            if column.kind == ColumnType::Date {
                let (from, to) = (only.from.clone(), only.to.clone());
                query.filters.push(Filter::Between { column: column.name.clone(), from, to });
            }
        }
        let mut batches = self.store.scan(&query).await?;
        while let Some(batch) = batches.try_next().await? {
            for row in 0..batch.num_rows() {
                let values = shape
                    .columns
                    .iter()
                    .zip(&positions)
                    .map(|(column, at)| text_of(column, &self.dataset.columns[*at], batch.column(*at), row));
                let values = SideRow(values.collect());
                let only = shape.only.as_ref();
                if only
                    .is_some_and(|only| !only.holds(shape.columns[only.column].kind, values.0[only.column].as_deref()))
                {
                    continue;
                }
                let keyless = || {
                    Error::invalid(format!("{} has rows without a value in the key", self.name))
                        .hint("choose a key that every row has (--key)")
                };
                let key = values.key(shape).ok_or_else(keyless)?;
                if !each(key, values, &batch, row) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A query that holds at least the rows of a range.
    fn within(&self, shape: &Shape, range: &KeyRange) -> Result<Query> {
        let mut query = Query::all(&self.dataset.name);
        let first = &self.dataset.columns[self.positions(shape)?[0]];
        let bound =
            |key: &Option<Key>| key.as_ref().and_then(|key| key.first()).and_then(|part| stored_text(first, part));
        let (from, to) = (bound(&range.after), bound(&range.upto));
        if from.is_some() || to.is_some() {
            query.filters.push(Filter::Between { column: first.name.clone(), from, to });
        }
        Ok(query)
    }

    /// The rows with these keys: as the shape sees them, and with every column.
    async fn find(&self, shape: &Shape, keys: &[Key]) -> Result<Vec<(Key, SideRow, Vec<Exact>)>> {
        let first = &self.dataset.columns[self.positions(shape)?[0]];
        let mut found = Vec::new();
        for keys in keys.chunks(LOOK_KEYS) {
            let mut query = Query::all(&self.dataset.name);
            let values: Option<Vec<String>> = keys.iter().map(|key| stored_text(first, &key[0])).collect();
            if let Some(mut values) = values {
                values.sort();
                values.dedup();
                query.filters.push(Filter::In { column: first.name.clone(), values });
            }
            let dataset = self.dataset.clone();
            let mut each = |key: Key, row: SideRow, batch: &RecordBatch, at: usize| {
                if keys.contains(&key) {
                    found.push((key, row, exact_row(&dataset, batch, at)));
                }
                true
            };
            self.each(shape, query, &mut each).await?;
        }
        Ok(found)
    }

    /// Puts rows in the place of others, in one commit.
    async fn replace(&self, rows: Vec<Vec<Exact>>, gone: Vec<Vec<Exact>>) -> Result<()> {
        let mut changes = Vec::new();
        if !rows.is_empty() {
            let texts = rows.into_iter().map(|row| row.into_iter().map(|value| value.text).collect()).collect();
            changes.push(self.change(batch_of_texts(&self.dataset, texts)?, Write::LastWins));
        }
        for row in gone {
            let texts = vec![row.into_iter().map(|value| value.text).collect()];
            let batch = batch_of_texts(&self.dataset, texts)?;
            let key = Keys::of(&self.dataset, &batch).get(0)?;
            let range = KeyRange { after: self.before(&key).await?, upto: Some(key) };
            changes.push(self.change(batch.slice(0, 0), Write::ReplaceKeys(range)));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }

    fn change(&self, batch: RecordBatch, write: Write) -> Change {
        Change::Rows(RowsChange {
            dataset: self.dataset.clone(),
            area: Area::whole(),
            batch,
            lacks: Vec::new(),
            lacks_exchanges: Exchanges::default(),
            write,
            source: SOURCE.into(),
            rank: 1,
            fetched_at: self.clock.now(),
            claim: None,
            quarantined: Vec::new(),
        })
    }

    /// A key before this one with no stored key between; `None`: this is the first.
    async fn before(&self, key: &Key) -> Result<Option<Key>> {
        let mut before = key.clone();
        let stepped = match before.last_mut() {
            Some(KeyPart::Int(value) | KeyPart::Seconds(value)) => value.checked_sub(1).map(|less| *value = less),
            Some(KeyPart::Decimal(value)) => value.checked_sub(1).map(|less| *value = less),
            Some(KeyPart::Day(day)) => day.0.checked_sub(1).map(|less| *day = Day(less)),
            _ => None,
        };
        if stepped.is_some() {
            return Ok(Some(before));
        }
        let columns: Vec<&Column> =
            self.dataset.key_indices().into_iter().map(|at| &self.dataset.columns[at]).collect();
        let mut query = Query { columns: self.dataset.key.clone(), limit: Some(2), ..Query::all(&self.dataset.name) };
        for (column, part) in columns.iter().zip(key).take(columns.len() - 1) {
            let values = vec![part.text(column)];
            query.filters.push(Filter::In { column: column.name.clone(), values });
        }
        let (Some(last), Some(part)) = (columns.last(), key.last()) else { return Ok(None) };
        let to = Some(part.text(last));
        query.filters.push(Filter::Between { column: last.name.clone(), from: None, to });
        query.order = vec![Order { column: last.name.clone(), descending: true }];
        let mut batches = self.store.scan(&query).await?;
        while let Some(batch) = batches.try_next().await? {
            for row in 0..batch.num_rows() {
                let text = batch.column(batch.num_columns() - 1).as_string::<i32>().value(row).to_owned();
                if KeyPart::Text(text.clone()) < *part {
                    before.pop();
                    before.push(KeyPart::Text(text));
                    return Ok(Some(before));
                }
            }
        }
        // The first of its kind: what comes before it ends with the empty text, or with nothing.
        before.pop();
        before.push(KeyPart::Text(String::new()));
        Ok((before != *key).then_some(before))
    }

    /// A row of the other side with what this dataset has in its other columns.
    fn written(&self, shape: &Shape, row: &SideRow, like: Option<&Vec<Exact>>) -> Result<Vec<Exact>> {
        let mut exact = match like {
            Some(like) => like.clone(),
            None => self.dataset.columns.iter().map(|column| exact(column, None)).collect(),
        };
        for ((at, column), text) in self.positions(shape)?.into_iter().zip(&shape.columns).zip(&row.0) {
            let own = &self.dataset.columns[at];
            exact[at].text = text.as_deref().map(|text| digest_text(own, column, text));
        }
        Ok(exact)
    }
}

/// The text of a part of a key as queries write it; `None` when it cannot be one of the column's values.
fn stored_text(column: &Column, part: &KeyPart) -> Option<String> {
    let text = part_text(part);
    match (column.kind, part) {
        (ColumnType::Text, KeyPart::Text(_)) | (ColumnType::Date, KeyPart::Day(_)) => Some(text),
        (ColumnType::Int, KeyPart::Decimal(_)) if !text.contains('.') => Some(text),
        _ => None,
    }
}

/// The canonical text of a stored value.
fn text_of(column: &SideColumn, own: &Column, values: &ArrayRef, row: usize) -> Option<String> {
    if values.is_null(row) {
        return None;
    }
    let text = match own.kind {
        ColumnType::Text => values.as_string::<i32>().value(row).to_owned(),
        ColumnType::Int => values.as_primitive::<Int64Type>().value(row).to_string(),
        ColumnType::Date => Day(values.as_primitive::<Date32Type>().value(row)).to_string(),
        ColumnType::Datetime => {
            let seconds = values.as_primitive::<TimestampSecondType>().value(row);
            return Some(seconds.saturating_mul(1_000_000).to_string());
        }
        ColumnType::Decimal => decimal::to_text(values.as_primitive::<Decimal128Type>().value(row), own.scale),
        ColumnType::Float => float_number(values.as_primitive::<Float64Type>().value(row)),
    };
    Some(match column.kind {
        ValueKind::Text if column.trim => text.trim_end_matches(' ').to_owned(),
        ValueKind::Instant if own.kind == ColumnType::Int => format!("{text}000000"),
        kind => canonical(kind, &text, column.zone_minutes),
    })
}

/// A canonical text as the hash of stored rows writes it, from which rows are made.
fn digest_text(own: &Column, column: &SideColumn, text: &str) -> String {
    match (own.kind, column.kind) {
        (ColumnType::Datetime, ValueKind::Instant) => {
            text.parse::<i64>().map_or_else(|_| text.to_owned(), |micros| micros.div_euclid(1_000_000).to_string())
        }
        (ColumnType::Float, _) => text.parse::<f64>().map_or_else(|_| text.to_owned(), digest::float_text),
        (ColumnType::Int, ValueKind::Truth) => i32::from(text == "true").to_string(),
        _ => text.to_owned(),
    }
}

fn exact(column: &Column, text: Option<String>) -> Exact {
    let storage = format!("{:?}", column.kind).to_lowercase();
    Exact { column: column.name.clone(), storage, text }
}

/// A stored row with every column, exactly.
fn exact_row(dataset: &Dataset, batch: &RecordBatch, row: usize) -> Vec<Exact> {
    let text = |column: &Column, values: &ArrayRef| -> Option<String> {
        (!values.is_null(row)).then(|| match column.kind {
            ColumnType::Text => values.as_string::<i32>().value(row).to_owned(),
            ColumnType::Int => values.as_primitive::<Int64Type>().value(row).to_string(),
            ColumnType::Date => Day(values.as_primitive::<Date32Type>().value(row)).to_string(),
            ColumnType::Datetime => values.as_primitive::<TimestampSecondType>().value(row).to_string(),
            ColumnType::Decimal => decimal::to_text(values.as_primitive::<Decimal128Type>().value(row), column.scale),
            ColumnType::Float => digest::float_text(values.as_primitive::<Float64Type>().value(row)),
        })
    };
    let columns = dataset.columns.iter().zip(batch.columns());
    columns.map(|(column, values)| exact(column, text(column, values))).collect()
}

#[async_trait]
impl Side for StoreSide {
    fn name(&self) -> &str {
        &self.name
    }

    async fn columns(&self) -> Result<Vec<Found>> {
        let found = self.dataset.columns.iter().map(|column| Found {
            name: column.name.clone(),
            declared: format!("{:?}", column.kind).to_lowercase(),
            family: family_of(column),
            nullable: column.nullable,
            place: self.dataset.key.iter().position(|name| *name == column.name).map_or(0, |at| at as u32 + 1),
            order: None,
        });
        Ok(found.collect())
    }

    async fn digests(&self, shape: &Shape, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let mut digests = vec![Digest::default(); bounds.len() + 1];
        let mut text = Vec::new();
        let mut each = |key: Key, row: SideRow, _: &RecordBatch, _: usize| {
            if range.contains(&key) {
                row.write(shape, &mut text);
                digests[bounds.partition_point(|bound| *bound < key)].add(&text);
            }
            true
        };
        self.each(shape, self.within(shape, range)?, &mut each).await?;
        Ok(digests)
    }

    async fn split(&self, shape: &Shape, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        let mut each = |key: Key, _: SideRow, _: &RecordBatch, _: usize| {
            if range.contains(&key) {
                keys.push(key);
            }
            true
        };
        self.each(shape, self.within(shape, range)?, &mut each).await?;
        keys.sort();
        let step = usize::try_from(step.max(1)).unwrap_or(usize::MAX);
        Ok(keys.into_iter().skip(step - 1).step_by(step).collect())
    }

    async fn rows(&self, shape: &Shape, range: &KeyRange, limit: u64) -> Result<Vec<SideRow>> {
        let mut rows = Vec::new();
        let mut each = |key: Key, row: SideRow, _: &RecordBatch, _: usize| {
            if range.contains(&key) {
                rows.push((key, row));
            }
            rows.len() as u64 <= limit
        };
        self.each(shape, self.within(shape, range)?, &mut each).await?;
        rows.sort();
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    async fn look(&self, shape: &Shape, keys: &[Key]) -> Result<Vec<SideRow>> {
        Ok(self.find(shape, keys).await?.into_iter().map(|(_, row, _)| row).collect())
    }

    fn writer(&self) -> Option<&dyn SideWriter> {
        Some(self)
    }
}

#[async_trait]
impl SideWriter for StoreSide {
    /// The store keeps one row a key, so that a repair never takes more than one.
    async fn mend(&self, shape: &Shape, mends: &[Mend], before_commit: &mut Keep<'_>) -> Result<Vec<MendOutcome>> {
        let keys: Vec<Key> = mends.iter().map(|mend| mend.key.clone()).collect();
        let there = self.find(shape, &keys).await?;
        let (mut outcomes, mut rows, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for mend in mends {
            let stored = there.iter().find(|(key, _, _)| *key == mend.key);
            let is_known = match (stored, mend.before.as_slice()) {
                (None, []) => true,
                (Some((_, row, _)), [before]) => row == before,
                _ => false,
            };
            if !is_known || mend.after.len() > 1 {
                outcomes.push(MendOutcome::ChangedSince);
                continue;
            }
            let before: Vec<Vec<Exact>> = stored.map(|(_, _, exact)| exact.clone()).into_iter().collect();
            let after = mend.after.iter().map(|row| self.written(shape, row, before.first()));
            let after = after.collect::<Result<Vec<_>>>()?;
            match after.first() {
                Some(row) => rows.push(row.clone()),
                None => gone.extend(before.iter().cloned()),
            }
            outcomes.push(MendOutcome::Done(Mended { before, after }));
        }
        before_commit(&outcomes)?;
        self.replace(rows, gone).await?;
        Ok(outcomes)
    }

    async fn undo(&self, shape: &Shape, keys: &[Key], mended: &[Mended]) -> Result<Vec<bool>> {
        let there = self.find(shape, keys).await?;
        let (mut undone, mut rows, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (key, mended) in keys.iter().zip(mended) {
            let stored: Vec<&Vec<Exact>> =
                there.iter().filter(|(known, _, _)| known == key).map(|(_, _, exact)| exact).collect();
            let is_as_left = stored.iter().map(|row| (*row).clone()).collect::<Vec<_>>() == mended.after;
            undone.push(is_as_left);
            match (is_as_left, mended.before.first()) {
                (false, _) => {}
                (true, Some(row)) => rows.push(row.clone()),
                (true, None) => gone.extend(mended.after.iter().cloned()),
            }
        }
        self.replace(rows, gone).await?;
        Ok(undone)
    }
}

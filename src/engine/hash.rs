//! Comparison by hash: descends into the key ranges whose digests differ, and replaces the differing leaves.
//!
//! Each level asks the source for the keys that part a range and for the digests of its parts, and streams the same range
//! of the store once. Memory holds the open ranges only: at most `fan_out` a level.

use std::sync::Arc;

use futures::TryStreamExt;

use super::table::TableRun;
use super::write::WorkEnd;
use crate::model::change::Write;
use crate::model::{Dataset, Digest, Error, Filter, Key, KeyRange, Keys, Query, Result, digest};
use crate::plan::ranges::{self, Next};
use crate::store::Scan;

/// The digests of what a store holds of each part of `range`.
pub async fn stored(store: &dyn Scan, dataset: &Dataset, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
    let mut query = Query::all(&dataset.name);
    if let Some(column) = dataset.key.first().and_then(|name| dataset.column(name)) {
        let bound = |key: &Option<Key>| key.as_ref().and_then(|key| key.first()).map(|part| part.text(column));
        let (from, to) = (bound(&range.after), bound(&range.upto));
        if from.is_some() || to.is_some() {
            query.filters.push(Filter::Between { column: column.name.clone(), from, to });
        }
    }
    let mut digests = vec![Digest::default(); bounds.len() + 1];
    let mut batches = store.scan(&query).await?;
    let mut text = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let keys = Keys::of(dataset, &batch);
        for row in 0..batch.num_rows() {
            let key = keys.get(row)?;
            if range.contains(&key) {
                digest::write_row(dataset, &batch, row, &mut text);
                digests[bounds.partition_point(|bound| *bound < key)].add(&text);
            }
        }
    }
    Ok(digests)
}

/// Whether a store holds rows of a dataset: 0 or 1.
pub(super) async fn stored_rows(store: &dyn Scan, dataset: &Arc<Dataset>) -> Result<u64, WorkEnd> {
    let query = Query { columns: dataset.key.clone(), limit: Some(1), ..Query::all(&dataset.name) };
    let count = async {
        let mut batches = store.scan(&query).await?;
        let first = batches.try_next().await?;
        Ok::<u64, Error>(first.map_or(0, |batch| batch.num_rows() as u64))
    };
    count.await.map_err(WorkEnd::Aborted)
}

impl TableRun<'_> {
    /// Brings every key in step: inserts, updates and deletes.
    pub(super) async fn by_hash(&mut self) -> Result<(), WorkEnd> {
        let limits = self.engine.options.tables.limits();
        let whole = KeyRange::default();
        let (there, here) = self.both(&whole, &[]).await?;
        let mut open = vec![(whole, TableRun::first(there), TableRun::first(here))];
        while let Some((range, there, here)) = open.pop() {
            let step = match ranges::next(there, here, limits) {
                Next::Equal => continue,
                Next::Fetch => {
                    self.replace(range).await?;
                    continue;
                }
                Next::Split { step } => step,
            };
            let (tables, dataset) = (self.tables, self.dataset);
            let bounds = self.ask(|| tables.split(dataset, &range, step)).await?;
            let inside = |bound: &Key| range.contains(bound) && range.upto.as_ref() != Some(bound);
            let bounds: Vec<Key> = bounds.into_iter().filter(inside).collect();
            if bounds.is_empty() {
                self.replace(range).await?;
                continue;
            }
            let (there, here) = self.both(&range, &bounds).await?;
            let parts = range.parts(&bounds).into_iter().zip(there.into_iter().zip(here));
            let parts: Vec<_> = parts.map(|(part, (there, here))| (part, there, here)).collect();
            // The first part is looked at next.
            open.extend(parts.into_iter().rev());
        }
        Ok(())
    }

    /// The digests of both sides.
    async fn both(&mut self, range: &KeyRange, bounds: &[Key]) -> Result<(Vec<Digest>, Vec<Digest>), WorkEnd> {
        let (tables, dataset) = (self.tables, self.dataset);
        let there = self.ask(|| tables.digests(dataset, range, bounds)).await?;
        let here = stored(&*self.engine.store, dataset, range, bounds).await.map_err(WorkEnd::Aborted)?;
        Ok((there, here))
    }

    /// Replaces a range by what the source has now, a page at a time; each page is a slice of one moment.
    async fn replace(&mut self, range: KeyRange) -> Result<(), WorkEnd> {
        let mut rest = range;
        loop {
            let (tables, dataset) = (self.tables, self.dataset);
            let answer = self.ask(|| tables.range(dataset, &rest)).await?;
            let (covered, more) = self.covered(&rest, &answer)?;
            let next = KeyRange { after: covered.upto.clone(), upto: rest.upto.clone() };
            self.write(answer.page, Write::ReplaceKeys(covered)).await?;
            if !more {
                return Ok(());
            }
            rest = next;
        }
    }
}

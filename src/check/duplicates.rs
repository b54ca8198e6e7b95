//! Rows that share a key: exact copies are dropped, of differing ones the best is kept.

use std::cmp::Ordering;

use super::columns::{Cells, Columns};
use crate::model::Dataset;

/// Rows that may not stay.
#[derive(Debug, Default)]
pub struct Duplicates {
    /// Exact copies of a kept or refused row.
    pub copies: Vec<usize>,
    /// Rows whose key a better row holds.
    pub conflicts: Vec<usize>,
}

/// Finds every row whose key another row has too.
pub fn find(dataset: &Dataset, columns: &Columns, rows: usize) -> Duplicates {
    let key: Vec<Cells> = dataset.key.iter().filter_map(|name| columns.get(name)).collect();
    let mut found = Duplicates::default();
    if key.len() != dataset.key.len() || key.is_empty() {
        return found;
    }
    let hash = |row: usize| key.iter().fold(0x51_7c_c1_b7, |hash, cells| cells.hash(row, hash));
    let mut hashes: Vec<(u64, u32)> = (0..rows).map(|row| (hash(row), row as u32)).collect();
    hashes.sort_unstable();
    let mut resolver = Resolver { key, all: columns.all(), preference: Preference::new(columns) };
    for run in hashes.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        resolver.resolve(run.iter().map(|(_, row)| *row as usize).collect(), &mut found);
    }
    found
}

struct Resolver<'a> {
    key: Vec<Cells<'a>>,
    all: Vec<Cells<'a>>,
    preference: Preference<'a>,
}

impl Resolver<'_> {
    /// Sorts out rows with equal hashes: group by group of equal keys.
    fn resolve(&mut self, mut rows: Vec<usize>, found: &mut Duplicates) {
        while let Some(first) = rows.first().copied() {
            let (same, others): (Vec<usize>, Vec<usize>) =
                rows.into_iter().partition(|row| self.key.iter().all(|cells| cells.equal(first, *row)));
            self.resolve_key(same, found);
            rows = others;
        }
    }

    fn resolve_key(&self, rows: Vec<usize>, found: &mut Duplicates) {
        let mut distinct: Vec<usize> = Vec::with_capacity(1);
        for row in rows {
            let is_copy = distinct.iter().any(|kept| self.all.iter().all(|cells| cells.equal(*kept, row)));
            if is_copy { found.copies.push(row) } else { distinct.push(row) }
        }
        let best = distinct.iter().copied().reduce(|best, row| match self.preference.compare(row, best, &self.all) {
            Ordering::Greater => row,
            _ => best,
        });
        found.conflicts.extend(distinct.into_iter().filter(|row| Some(*row) != best));
    }
}

/// Newest version first: `update_flag`, then `f_ann_date`, then `ann_date`, then fewer missing values.
struct Preference<'a>([Option<Cells<'a>>; 3]);

impl<'a> Preference<'a> {
    fn new(columns: &Columns<'a>) -> Preference<'a> {
        Preference(["update_flag", "f_ann_date", "ann_date"].map(|name| columns.get(name)))
    }

    fn compare(&self, a: usize, b: usize, all: &[Cells]) -> Ordering {
        let nulls = |row: usize| all.iter().filter(|cells| cells.is_null(row)).count();
        let versions = self.0.iter().flatten().map(|cells| cells.compare(a, b));
        versions.fold(Ordering::Equal, Ordering::then).then_with(|| nulls(b).cmp(&nulls(a)))
    }
}

//! Checks, pure: rules over a batch -> findings. Refused rows are kept apart, visible, and not served.

mod columns;
mod duplicates;
mod rules;
#[cfg(test)]
mod tests;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

pub use columns::{Cells, Columns};
pub use rules::{RULES, Rounding, Rule, Severity, half_unit, proves_units, rule};

use rules::Asked;

use crate::model::{Area, Dataset, Error, Quarantined, Result, Securities};

/// A batch after its checks.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The rows to store: keys unique.
    pub batch: RecordBatch,
    /// Exact copies that were dropped.
    pub duplicates: u64,
    pub quarantined: Vec<Quarantined>,
    /// What deserves a look but refuses no row.
    pub warnings: Vec<String>,
}

/// The rule name of rows whose key a better row holds.
pub const KEY_CONFLICT: &str = "key_conflict";

/// Whether every row belongs to `area`; `Transient` when one does not (the source answered another question).
pub fn belongs(dataset: &Dataset, area: &Area, batch: &RecordBatch) -> Result<()> {
    let columns = Columns::new(batch);
    if let (Securities::Some(codes), Some(cells)) = (&area.securities, named(&columns, dataset.security.as_deref())) {
        let foreign = |row: &usize| !cells.text(*row).is_some_and(|code| codes.contains(code));
        refuse(dataset, area, "of other securities", (0..batch.num_rows()).filter(foreign).count())?;
    }
    if !area.span.is_all()
        && let Some(cells) = named(&columns, dataset.time.as_deref())
    {
        let foreign = |row: &usize| !cells.day(*row).is_some_and(|day| area.span.contains(day));
        refuse(dataset, area, "of other days", (0..batch.num_rows()).filter(foreign).count())?;
    }
    Ok(())
}

fn named<'a>(columns: &Columns<'a>, name: Option<&str>) -> Option<Cells<'a>> {
    columns.get(name?)
}

fn refuse(dataset: &Dataset, area: &Area, what: &str, foreign: usize) -> Result<()> {
    if foreign == 0 {
        return Ok(());
    }
    let message = format!("asked for {} of {area}, the answer holds {foreign} rows {what}", dataset.name);
    Err(Error::transient(message).hint("the source answered another question; it is asked again on a new connection"))
}

/// Drops copies, keeps the best row of each key, and applies the rules that the dataset's policy names.
pub fn check(dataset: &Dataset, area: &Area, batch: RecordBatch) -> Checked {
    check_rounded(dataset, area, Rounding::default(), batch)
}

/// As `check`, for figures that the source rounds.
pub fn check_rounded(dataset: &Dataset, area: &Area, rounding: Rounding, batch: RecordBatch) -> Checked {
    let columns = Columns::new(&batch);
    let mut sieve = Sieve { columns: &columns, keep: Vec::new(), quarantined: Vec::new(), warnings: Vec::new() };
    let duplicates = duplicates::find(dataset, &columns, batch.num_rows());
    for row in &duplicates.copies {
        sieve.drop_row(*row, batch.num_rows());
    }
    for row in duplicates.conflicts {
        sieve.drop_row(row, batch.num_rows());
        sieve.quarantine(KEY_CONFLICT, "a better row has the same key", row);
    }
    for name in &dataset.policy.checks {
        match rule(name) {
            Some(rule) => sieve.apply(rule, dataset, rounding, batch.num_rows()),
            None => sieve.warnings.push(format!("{name}: there is no such rule")),
        }
    }
    let Sieve { keep, quarantined, mut warnings, .. } = sieve;
    warnings.iter_mut().for_each(|warning| *warning = format!("{} {area}: {warning}", dataset.name));
    let kept = if keep.is_empty() { Ok(batch.clone()) } else { filter_record_batch(&batch, &BooleanArray::from(keep)) };
    // A mask as long as the batch always fits.
    let kept = kept.unwrap_or_else(|_| batch.slice(0, 0));
    Checked { batch: kept, duplicates: duplicates.copies.len() as u64, quarantined, warnings }
}

/// One row as a JSON object of canonical texts.
pub fn row_as_json(_dataset: &Dataset, batch: &RecordBatch, row: usize) -> serde_json::Value {
    Columns::new(batch).row_as_json(row)
}

/// Which rows stay, and what was found about the others.
struct Sieve<'a, 'b> {
    columns: &'a Columns<'b>,
    /// Empty while every row stays.
    keep: Vec<bool>,
    quarantined: Vec<Quarantined>,
    warnings: Vec<String>,
}

impl Sieve<'_, '_> {
    fn drop_row(&mut self, row: usize, rows: usize) {
        if self.keep.is_empty() {
            self.keep = vec![true; rows];
        }
        self.keep[row] = false;
    }

    fn stays(&self, row: usize) -> bool {
        self.keep.get(row).copied().unwrap_or(true)
    }

    fn quarantine(&mut self, rule: &str, reason: &str, row: usize) {
        let row = self.columns.row_as_json(row);
        self.quarantined.push(Quarantined { rule: rule.to_owned(), reason: reason.to_owned(), row });
    }

    fn apply(&mut self, rule: &Rule, dataset: &Dataset, rounding: Rounding, rows: usize) {
        let Some(finds) = (rule.bind)(Asked { dataset, rounding }, self.columns) else { return };
        let mut warned: Option<(&str, u64)> = None;
        for row in 0..rows {
            let Some(reason) = finds(row).filter(|_| self.stays(row)) else { continue };
            match rule.severity {
                Severity::Quarantine => {
                    self.quarantine(rule.name, reason, row);
                    self.drop_row(row, rows);
                }
                Severity::Warn => warned = Some(warned.map_or((reason, 1), |(reason, count)| (reason, count + 1))),
            }
        }
        if let Some((reason, count)) = warned {
            self.warnings.push(format!("{}: {reason} ({count} rows)", rule.name));
        }
    }
}

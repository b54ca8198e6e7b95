//! How many rows of a table came from which source: counted once and remembered until the table changes.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::Mutex;

use crate::model::Day;

/// The rows of one source in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRows {
    pub source: String,
    pub rows: u64,
    /// The newest day among them; `None` where rows have none.
    pub last_day: Option<Day>,
}

/// What was counted, by dataset, with the last commit that it includes.
#[derive(Default)]
pub(super) struct Counted(Mutex<HashMap<String, (i64, Vec<SourceRows>)>>);

impl Counted {
    /// The counts as of the last commit of the dataset. `count` is handed the commit that is known and answers with
    /// nothing when it is still the last one. One count runs at a time: nobody asks for the same twice.
    pub(super) async fn get<E, Counting>(
        &self,
        dataset: &str,
        count: impl FnOnce(Option<i64>) -> Counting,
    ) -> Result<Vec<SourceRows>, E>
    where
        Counting: Future<Output = Result<Option<(i64, Vec<SourceRows>)>, E>>,
    {
        let mut known = self.0.lock().await;
        let last = known.get(dataset).map(|(commit, _)| *commit);
        if let Some(counted) = count(last).await? {
            known.insert(dataset.to_owned(), counted);
        }
        Ok(known.get(dataset).map(|(_, rows)| rows.clone()).unwrap_or_default())
    }
}

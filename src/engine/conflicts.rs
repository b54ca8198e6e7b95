//! Conflicts that wait for a person: a decision and what it writes.

use std::sync::Arc;

use super::Engine;
use crate::model::change::Write;
use crate::model::{
    Area, Change, Commit, Dataset, Error, Exchanges, Instant, Result, RowConflict, RowsChange, Securities, Span, Take,
    conflict,
};

/// The offered row as a change that is written whatever the rank of its source: a person has decided. It says nothing
/// about coverage.
pub fn taking_offered(dataset: &Arc<Dataset>, waiting: &RowConflict, now: Instant) -> Result<RowsChange> {
    let absent = |name: &str| waiting.offered.get(name).is_none();
    let columns = dataset.columns.iter().enumerate().filter(|(_, column)| absent(&column.name));
    Ok(RowsChange {
        dataset: dataset.clone(),
        area: Area::new(securities_of(dataset, waiting), Span::ALL),
        batch: conflict::batch_of(dataset, &waiting.offered)?,
        lacks: columns.map(|(index, _)| index).collect(),
        lacks_exchanges: Exchanges::default(),
        write: Write::LastWins,
        source: Arc::from(waiting.source.as_str()),
        rank: waiting.rank,
        fetched_at: now,
        claim: None,
        quarantined: Vec::new(),
    })
}

fn securities_of(dataset: &Dataset, waiting: &RowConflict) -> Securities {
    let code = dataset.security.as_deref().and_then(|name| waiting.offered[name].as_str());
    code.map_or(Securities::All, Securities::one)
}

impl Engine {
    /// Ends a conflict: the stored row stays, or the offered one is written in the same commit.
    pub async fn resolve_conflict(&self, id: i64, take: Take) -> Result<RowConflict> {
        let found = self.store.conflict(id).await?;
        let not_found = || Error::not_found(format!("there is no conflict {id}")).hint("see `tidegate conflicts`");
        let waiting = found.ok_or_else(not_found)?;
        if let Some(resolution) = waiting.resolution {
            let message = format!("conflict {id} is over: {}", resolution.name());
            return Err(Error::conflict(message).hint("`tidegate conflicts` lists what waits"));
        }
        let now = self.clock.now();
        let mut changes = Vec::new();
        if take == Take::Offered {
            let dataset = self.catalog.get(&waiting.dataset)?;
            changes.push(Change::Rows(taking_offered(dataset, &waiting, now)?));
        }
        changes.push(Change::ResolveConflict { id, take });
        self.store.commit(Commit { at: now, fence: None, changes }).await?;
        Ok(waiting)
    }
}

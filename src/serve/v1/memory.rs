//! What routes keep of the store between requests, each until an event can have changed it.

use std::sync::Arc;

use crate::engine::knowledge;
use crate::model::Result;
use crate::plan::Knowledge;
use crate::serve::Service;
use crate::serve::cache::{MadeFrom, Memo};
use crate::store::Summary;

use super::securities::Entry;
use super::standings::Standings;

#[derive(Default)]
pub struct Memory {
    knowledge: Memo<Knowledge>,
    summary: Memo<Summary>,
    pub(super) securities: Memo<Vec<Entry>>,
    pub(super) standings: Standings,
}

/// The tables from which knowledge is read.
pub const KNOWLEDGE: [&str; 4] = ["trade_cal", "stock_basic", "bse_mapping", "suspend_d"];

impl Service {
    /// Calendar, securities and suspensions.
    pub async fn knowledge(&self) -> Result<Arc<Knowledge>> {
        let from = MadeFrom::Tables(KNOWLEDGE.map(str::to_string).to_vec());
        self.memory.knowledge.get(&self.cache.fresh, &from, || knowledge::read(&*self.store)).await
    }

    /// Counts of the whole store.
    pub async fn summary(&self) -> Result<Arc<Summary>> {
        self.memory.summary.get(&self.cache.fresh, &MadeFrom::Everything, || self.store.summary()).await
    }
}

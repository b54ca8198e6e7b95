//! What routes keep of the store between requests, each until an event can have changed it.

use std::sync::Arc;

use crate::engine::knowledge;
use crate::model::{Result, SecurityList};
use crate::plan::Knowledge;
use crate::serve::Service;
use crate::serve::cache::{MadeFrom, Memo};
use crate::store::Summary;

use super::securities::Entry;
use super::standings::Standings;

#[derive(Default)]
pub struct Memory {
    knowledge: Memo<Knowledge>,
    known_securities: Memo<SecurityList>,
    summary: Memo<Summary>,
    pub(super) securities: Memo<Vec<Entry>>,
    pub(super) standings: Standings,
}

/// The tables from which knowledge is read.
pub const KNOWLEDGE: [&str; 4] = ["trade_cal", "stock_basic", "bse_mapping", "suspend_d"];

/// Those of them from which the list of securities is read.
const SECURITIES: [&str; 2] = ["stock_basic", "bse_mapping"];

impl Service {
    /// Calendar, securities and suspensions.
    pub async fn knowledge(&self) -> Result<Arc<Knowledge>> {
        let from = MadeFrom::Tables(KNOWLEDGE.map(str::to_string).to_vec());
        self.memory.knowledge.get(&self.cache.fresh, &from, || knowledge::read(&*self.store)).await
    }

    /// The list of securities alone, which changes seldom.
    pub async fn known_securities(&self) -> Result<Arc<SecurityList>> {
        let from = MadeFrom::Tables(SECURITIES.map(str::to_string).to_vec());
        let read = || knowledge::securities(&*self.store);
        self.memory.known_securities.get(&self.cache.fresh, &from, read).await
    }

    /// Counts of the whole store.
    pub async fn summary(&self) -> Result<Arc<Summary>> {
        self.memory.summary.get(&self.cache.fresh, &MadeFrom::Everything, || self.store.summary()).await
    }
}

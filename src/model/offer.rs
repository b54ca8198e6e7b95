//! What a source can do for one dataset: the planner chooses from it, the engine paces by it.

use super::code::Exchanges;
use super::dataset::Cut;

/// What a source offers for one dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The name under which quotas are counted.
    pub api: String,
    /// Ways to bound a call; `Slice::cut` is an index into them.
    pub cuts: Vec<Cut>,
    /// Rows per call; `None` when unknown.
    pub row_cap: Option<u32>,
    /// Rows that an offset may not pass.
    pub offset_max: Option<u64>,
    /// Calls that one slice makes at least: one for each combination of facet values.
    pub calls_per_slice: u32,
    /// Calls per minute; `None` when unlimited.
    pub per_minute: Option<u32>,
    /// Calls per Beijing day; `None` when unlimited.
    pub per_day: Option<u64>,
    /// Calls that the source answers at the same time (sessions of a pool); `None`: as many as the engine likes.
    pub concurrency: Option<u32>,
    /// Columns of the dataset that the source does not have, or that are not proven equal, in catalogue order.
    /// What is stored in them stays when its rows are written.
    pub lacks: Vec<String>,
    /// Exchanges of which the source has no securities: it is not asked for them, and its answers about all
    /// securities say nothing of them.
    pub lacks_exchanges: Exchanges,
}

//! Sources: clients that ask slow doors for rows. They never sleep, retry or count by themselves; the engine does.

pub mod akshare;
pub mod baostock;
pub mod database;
pub mod file;
mod http;
pub mod sides;
pub mod tables;
pub mod tushare;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;

pub use crate::model::Offer;
use crate::model::{Dataset, Result, Slice};

/// One page of one slice.
#[derive(Clone, Debug)]
pub struct Call {
    pub dataset: Arc<Dataset>,
    pub slice: Slice,
    /// Which combination of facet values, from 0.
    pub facet: u32,
    /// Rows to skip.
    pub offset: u64,
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the dataset's schema. Every row has been proven to belong to the question.
    pub batch: RecordBatch,
    /// More rows follow at `offset + batch.num_rows() + unreadable.len()`.
    pub more: bool,
    pub bytes: u64,
    pub network: Duration,
    pub decode: Duration,
    /// Rows that could not be read: kept apart by the engine. They count as answered.
    pub unreadable: Vec<crate::model::Quarantined>,
}

/// A door. Errors are named by remedy; an answer that does not match its question is `Transient` and the
/// connection is not used again.
#[async_trait]
pub trait Source: Send + Sync {
    /// `tushare`, `baostock`, ...: the name in claims, commit records and configuration.
    fn name(&self) -> &str;

    /// 1 is best.
    fn rank(&self) -> u8;

    /// `None` when the source does not serve the dataset (or not to this account).
    fn offer(&self, dataset: &Dataset) -> Option<Offer>;

    /// Asks once.
    async fn fetch(&self, call: &Call) -> Result<Page>;

    /// Asks the cheapest question there is, to see whether the door opens.
    async fn probe(&self) -> Result<()>;

    /// What a probe asks, for people.
    fn probe_question(&self) -> &'static str {
        "whether it answers"
    }

    /// What it answers as a source of whole tables with a key; `None` when it is no database.
    fn tables(&self) -> Option<&dyn tables::Tables> {
        None
    }
}

//! What a source of whole tables answers beyond pages: rows from a watermark on, rows and digests of key ranges.

use std::sync::Arc;

use async_trait::async_trait;

use super::Page;
use super::database::describe::Declared;
use crate::model::{Dataset, Digest, Key, KeyPart, KeyRange, Result};

/// Where reading by watermark goes on; what it means is the source's own business.
pub type Cursor = Vec<CursorValue>;

/// One value of a cursor, as the table holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum CursorValue {
    Text(String),
    Int(i64),
    Real(f64),
}

/// Which rows are asked for by watermark.
#[derive(Clone, Copy, Debug)]
pub enum Since<'a> {
    /// Rows with any watermark.
    Begin,
    /// Rows with this watermark or a later one.
    From(&'a KeyPart),
    /// Rows after those of the page that gave this cursor.
    After(&'a Cursor),
}

/// Rows of a table, in the order that was asked for, of one moment.
#[derive(Debug)]
pub struct TablePage {
    pub page: Page,
    /// The key of the last row.
    pub last: Option<Key>,
    /// Where reading by watermark goes on.
    pub cursor: Option<Cursor>,
}

/// A source whose datasets are tables with a key. Every call reads one consistent moment in bounded memory; a page that
/// is cut short by a limit says so in `Page::more`.
#[async_trait]
pub trait Tables: Send + Sync {
    /// Asks the cheapest question there is.
    async fn probe(&self) -> Result<()>;

    /// The columns of a table as it declares them.
    async fn declarations(&self, table: &str) -> Result<Vec<Declared>>;

    /// Whether the table fits the dataset: `NotFound` without the table, `Invalid` for a missing column, a type that does
    /// not convert or rows without a key.
    async fn check(&self, dataset: &Arc<Dataset>) -> Result<()>;

    /// Rows with a watermark as asked for.
    async fn count_since(&self, dataset: &Arc<Dataset>, since: Option<&KeyPart>) -> Result<u64>;

    /// The next rows by watermark, then key.
    async fn since(&self, dataset: &Arc<Dataset>, since: Since<'_>) -> Result<TablePage>;

    /// The first rows of a range, by key.
    async fn range(&self, dataset: &Arc<Dataset>, range: &KeyRange) -> Result<TablePage>;

    /// Ascending keys of the range, `step` rows apart: the last of each part of so many rows.
    async fn split(&self, dataset: &Arc<Dataset>, range: &KeyRange, step: u64) -> Result<Vec<Key>>;

    /// The digest of each part into which ascending `bounds` part the range.
    async fn digests(&self, dataset: &Arc<Dataset>, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>>;
}

//! What a side of a reconciliation answers: its columns, digests of key ranges, rows by range and by key, and where its
//! log of changes stands.

use async_trait::async_trait;

use crate::model::compared::{Found, Shape, SideRow};
use crate::model::{Digest, Error, Key, KeyRange, Result};

/// One side: a table, wherever it is. Every answer is of one moment.
#[async_trait]
pub trait Side: Send + Sync {
    /// Where it is, without a password.
    fn name(&self) -> &str;

    /// Which server computes hashes of records: two sides with the same mark hash alike. `None`: it computes none.
    async fn engine(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Its columns as it declares them.
    async fn columns(&self) -> Result<Vec<Found>>;

    /// The digest of each part into which ascending `bounds` part the range.
    async fn digests(&self, shape: &Shape, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>>;

    /// Ascending keys of the range, about `step` rows apart.
    async fn split(&self, shape: &Shape, range: &KeyRange, step: u64) -> Result<Vec<Key>>;

    /// The rows of a range, at most `limit` and one more.
    async fn rows(&self, shape: &Shape, range: &KeyRange, limit: u64) -> Result<Vec<SideRow>>;

    /// The rows with these keys.
    async fn look(&self, shape: &Shape, keys: &[Key]) -> Result<Vec<SideRow>>;

    /// Where its log of changes stands: everything that was seen so far is before it. `None`: it has no such log.
    async fn position(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether a replication slot of its own has confirmed a position.
    async fn passed(&self, slot: &str, position: &str) -> Result<bool> {
        let _ = position;
        Err(Error::invalid(format!("{} has no replication slot {slot}", self.name()))
            .hint("a slot belongs to a source in PostgreSQL"))
    }

    /// Where rows can be written; `None`: nowhere.
    fn writer(&self) -> Option<&dyn SideWriter> {
        None
    }
}

/// A value exactly as a table holds it, for undoing: type and text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exact {
    /// The column's name.
    pub column: String,
    /// What kind of storage it has; the side's own business.
    pub storage: String,
    /// `None`: NULL.
    pub text: Option<String>,
}

/// One row's repair at a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    pub key: Key,
    /// The rows of the key that the table must hold now, as the report saw them; other ones refuse the repair.
    pub before: Vec<SideRow>,
    /// The rows that it shall hold.
    pub after: Vec<SideRow>,
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mended {
    /// The rows as they were before, with every column.
    pub before: Vec<Vec<Exact>>,
    /// The rows as they are now.
    pub after: Vec<Vec<Exact>>,
}

/// What became of an attempt to mend a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MendOutcome {
    Done(Mended),
    /// The table holds other rows than the report saw.
    ChangedSince,
}

/// Is given what becomes of every row before a transaction is made durable; an error of it takes everything back.
pub type Keep<'k> = dyn for<'a> FnMut(&'a [MendOutcome]) -> Result<()> + Send + 'k;

/// A table into which repairs are written.
#[async_trait]
pub trait SideWriter: Send + Sync {
    /// Mends these rows in one transaction: all that are as they were, and none of the others. `before_commit` is given
    /// what becomes of every one before the transaction is made durable; an error of it takes everything back.
    async fn mend(&self, shape: &Shape, mends: &[Mend], before_commit: &mut Keep<'_>) -> Result<Vec<MendOutcome>>;

    /// Takes mended rows back in one transaction: those that still are as the repair left them. Says of each whether it
    /// was taken back.
    async fn undo(&self, shape: &Shape, keys: &[Key], mended: &[Mended]) -> Result<Vec<bool>>;
}

//! Copies a store into another, whatever engines they have, and proves that both hold the same.

use futures::TryStreamExt;

use crate::model::copy::Digests;
use crate::model::{Change, Clock, Commit, Error, Result};
use crate::store::Store;

/// A table that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub table: String,
    pub rows: u64,
    /// Of every row with its number; the same in both stores.
    pub checksum: String,
}

/// Copies all of `from` into `to`, which must be empty or hold a copy that broke off, in transactions of about
/// `commit_rows` rows. `to` is no store that others open before its content has been read back and found equal.
/// `told` hears the table that is being copied and the rows so far.
pub async fn migrate(
    from: &dyn Store,
    to: &dyn Store,
    name: &str,
    clock: &Clock,
    commit_rows: usize,
    told: &mut (dyn FnMut(&str, u64) + Send),
) -> Result<Vec<Copied>> {
    let commit = async |changes: Vec<Change>| {
        let commit = Commit { at: clock.now(), fence: None, changes };
        to.commit(commit).await
    };
    commit(vec![Change::CopyBegins { from: name.to_string() }]).await?;
    let mut sent = Digests::default();
    let mut group: Vec<Change> = Vec::new();
    let mut rows = 0;
    let mut pieces = from.export().await?;
    while let Some(piece) = pieces.try_next().await? {
        sent.add(&piece);
        let table = piece.table();
        told(&table, sent.0.get(&table).map_or(0, |digest| digest.rows));
        rows += piece.rows();
        group.push(Change::Copied(piece));
        if rows >= commit_rows {
            commit(std::mem::take(&mut group)).await?;
            rows = 0;
        }
    }
    commit(group).await?;
    let copied = compare(&sent, &read_back(to).await?)?;
    commit(vec![Change::CopyEnds]).await?;
    Ok(copied)
}

async fn read_back(store: &dyn Store) -> Result<Digests> {
    let mut read = Digests::default();
    let mut pieces = store.export().await?;
    while let Some(piece) = pieces.try_next().await? {
        read.add(&piece);
    }
    Ok(read)
}

/// Every table with its proof; the first that differs is an error.
fn compare(sent: &Digests, read: &Digests) -> Result<Vec<Copied>> {
    if let Some(table) = sent.0.keys().chain(read.0.keys()).find(|table| sent.0.get(*table) != read.0.get(*table)) {
        let rows = |digests: &Digests| digests.0.get(table).map_or(0, |digest| digest.rows);
        let message = format!("{table} differs after copying: {} rows sent, {} read back", rows(sent), rows(read));
        let error = Error::storage(message);
        return Err(error.hint("does another program write to the target? Start the copy again"));
    }
    let copied = |(table, digest): (&String, &crate::model::digest::Digest)| {
        let checksum = format!("{:020x}", digest.sum);
        Copied { table: table.clone(), rows: digest.rows, checksum }
    };
    Ok(sent.0.iter().map(copied).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    #[test]
    fn a_table_that_differs_or_is_missing_is_named() {
        let digests = |rows: u64, sum: u128| Digests([("daily".to_string(), Digest { rows, sum })].into());
        let same = compare(&digests(2, 9), &digests(2, 9)).unwrap();
        assert_eq!(same, [Copied { table: "daily".into(), rows: 2, checksum: "00000000000000000009".into() }]);
        for read in [digests(2, 8), digests(1, 9), Digests::default()] {
            let error = compare(&digests(2, 9), &read).unwrap_err();
            assert!(error.message().starts_with("daily differs after copying: 2 rows sent"), "{error}");
        }
        assert!(compare(&Digests::default(), &digests(1, 1)).is_err());
    }
}

//! The tail of the log: finds its end, and takes every event that comes.

use std::sync::Weak;

use tokio::sync::watch;

use super::Shared;
use crate::model::Result;
use crate::store::Store;

/// The number of the newest event. Numbers have no gap, so that the end is found by halving; nothing is counted.
pub(super) async fn end_of(store: &dyn Store, known: u64) -> Result<u64> {
    let exists = async |number: u64| Ok(!store.events(number - 1, 1).await?.is_empty());
    let (mut there, mut step) = (known, 1);
    while exists(there + step).await? {
        there += step;
        step *= 2;
    }
    // `there` is in the log, or nothing is; `there + step` is not.
    while step > 1 {
        step /= 2;
        if exists(there + step).await? {
            there += step;
        }
    }
    Ok(there)
}

/// Takes everything that is in the log and not yet known.
pub(super) async fn catch_up(shared: &Shared) -> Result<()> {
    loop {
        let head = *shared.head.borrow();
        let events = shared.store.events(head, shared.options.page).await?;
        let whole = events.len() < shared.options.page;
        shared.remember(events);
        if whole {
            return Ok(());
        }
    }
}

/// Follows the log for as long as anybody wants it.
pub(super) async fn follow(shared: Weak<Shared>, mut committed: watch::Receiver<u64>) {
    let (mut told, mut failing) = (true, false);
    while let Some(shared) = shared.upgrade() {
        match catch_up(&shared).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                tracing::warn!(%error, "the event log cannot be read; trying again");
                failing = true;
            }
            Err(_) => {}
        }
        let poll = shared.options.poll;
        drop(shared);
        tokio::select! {
            changed = committed.changed(), if told && !failing => told = changed.is_ok(),
            () = tokio::time::sleep(poll) => {}
        }
    }
}

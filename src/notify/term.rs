//! A term: the time in which this process carries events to their receivers. One process at a time has the duty on a store;
//! every commit of a term names its fence, and nothing goes out after the end of its lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::engine::Stop;
use crate::model::{Change, Clock, Commit, Error, ErrorKind, Instant, Lease, Receipt, Result};
use crate::store::Store;

/// The name of the duty.
pub const DUTY: &str = "notify";
/// A renewal that failed is tried again so many times within the wait of one that worked.
const TRIES: u32 = 4;

/// The duty as this process has it. Clones share it.
#[derive(Clone)]
pub struct Term {
    store: Arc<dyn Store>,
    clock: Clock,
    fence: i64,
    lease: Duration,
    /// When the lease ends, in microseconds.
    until: Arc<AtomicI64>,
    /// Asked for when the duty is gone.
    lost: Stop,
}

fn after(now: Instant, lease: Duration) -> Instant {
    now.plus_millis(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
}

impl Term {
    /// Takes the duty; `Conflict` while another process has it.
    pub async fn take(store: Arc<dyn Store>, clock: Clock, worker: &str, lease: Duration) -> Result<Term> {
        let now = clock.now();
        let until = after(now, lease);
        let taking = Change::TakeDuty { duty: DUTY.to_owned(), lease: Lease { worker: worker.to_owned(), until } };
        let receipt = store.commit(Commit { at: now, fence: None, changes: vec![taking] }).await?;
        let fence = receipt.duties.first().copied();
        let fence = fence.ok_or_else(|| Error::bug("a duty that was taken has no fence"))?;
        let until = Arc::new(AtomicI64::new(until.0));
        Ok(Term { store, clock, fence, lease, until, lost: Stop::default() })
    }

    /// Whether something may still go out.
    pub fn lasts(&self) -> bool {
        !self.lost.asked() && self.clock.now().0 < self.until.load(Ordering::Relaxed)
    }

    pub fn lost(&self) -> &Stop {
        &self.lost
    }

    /// Commits on the duty; a commit that comes too late ends the term.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<Receipt> {
        let on_duty = Change::OnDuty { duty: DUTY.to_owned(), fence: self.fence };
        let changes = std::iter::once(on_duty).chain(changes).collect();
        let committed = self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await;
        if let Err(error) = &committed
            && error.kind() == ErrorKind::Conflict
            && !self.is_ours().await
        {
            self.lost.ask();
        }
        committed
    }

    async fn is_ours(&self) -> bool {
        let on_duty = vec![Change::OnDuty { duty: DUTY.to_owned(), fence: self.fence }];
        let asked = self.store.commit(Commit { at: self.clock.now(), fence: None, changes: on_duty }).await;
        !asked.is_err_and(|error| error.kind() == ErrorKind::Conflict)
    }

    /// Renews the lease every third of its length, until the duty is gone.
    pub async fn keep(&self) {
        let (mut wait, mut failing) = (self.lease / 3, false);
        loop {
            if !self.lost.sleep(wait).await {
                return;
            }
            let now = self.clock.now();
            let until = after(now, self.lease);
            let renewal = Change::RenewDuty { duty: DUTY.to_owned(), fence: self.fence, until };
            match self.store.commit(Commit { at: now, fence: None, changes: vec![renewal] }).await {
                Ok(_) => {
                    self.until.store(until.0, Ordering::Relaxed);
                    (wait, failing) = (self.lease / 3, false);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    tracing::warn!(%error, "another process carries events from now on");
                    return self.lost.ask();
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the duty of carrying events cannot be renewed; trying again");
                    }
                    wait = self.lease / 3 / TRIES;
                }
            }
            if !self.lasts() {
                tracing::warn!("the lease of carrying events has ended");
                return self.lost.ask();
            }
        }
    }

    /// Gives the duty back.
    pub async fn leave(&self) {
        let leaving = Change::LeaveDuty { duty: DUTY.to_owned(), fence: self.fence };
        let left = self.store.commit(Commit { at: self.clock.now(), fence: None, changes: vec![leaving] }).await;
        if let Err(error) = left {
            tracing::debug!(%error, "the duty of carrying events ends with its lease");
        }
    }
}

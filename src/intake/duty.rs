//! Duties: one process at a time runs an intake. A duty is a lease that is renewed; the fence in every commit is what
//! protects, as with tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::Parts;
use crate::engine::Stop;
use crate::model::{Change, Commit, ErrorKind, Lease, Result};

/// A duty of this process. Dropped, it is no longer renewed, and ends by itself.
pub(super) struct Duty {
    duty: String,
    fence: i64,
    renewing: Option<Arc<Renewing>>,
}

struct Renewing(AbortHandle);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Duty {
    /// Takes a duty; `None` while another process has it. When it is lost, `lost` is asked to stop.
    pub(super) async fn take(parts: &Parts, duty: &str, lost: &Stop) -> Result<Option<Duty>> {
        let lease = Lease { worker: parts.worker.clone(), until: until(parts) };
        let changes = vec![Change::TakeDuty { duty: duty.to_owned(), lease }];
        let receipt = match parts.store.commit(Commit { at: parts.clock.now(), fence: None, changes }).await {
            Ok(receipt) => receipt,
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error),
        };
        let fence = receipt.duties.first().copied().unwrap_or_default();
        let renewing = tokio::spawn(renew(parts.clone(), duty.to_owned(), fence, lost.clone()));
        let renewing = Some(Arc::new(Renewing(renewing.abort_handle())));
        Ok(Some(Duty { duty: duty.to_owned(), fence, renewing }))
    }

    /// What every commit begins with: it is refused when the duty was taken over.
    pub(super) fn proof(&self) -> Change {
        Change::OnDuty { duty: self.duty.clone(), fence: self.fence }
    }

    /// Gives it back, so that the next one need not wait.
    pub(super) async fn leave(mut self, parts: &Parts) {
        self.renewing = None;
        let changes = vec![Change::LeaveDuty { duty: self.duty.clone(), fence: self.fence }];
        // Without it the duty ends with its lease.
        let _ = parts.store.commit(Commit { at: parts.clock.now(), fence: None, changes }).await;
    }
}

fn until(parts: &Parts) -> crate::model::Instant {
    parts.clock.now().plus_millis(parts.options.lease.as_millis() as i64)
}

/// Renews every third of the lease; an error of the store is tried again, a duty that was taken over is not.
async fn renew(parts: Parts, duty: String, fence: i64, lost: Stop) {
    let third = (parts.options.lease / 3).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(third).await;
        let changes = vec![Change::RenewDuty { duty: duty.clone(), fence, until: until(&parts) }];
        match parts.store.commit(Commit { at: parts.clock.now(), fence: None, changes }).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::warn!(duty, "another process has taken over");
                return lost.ask();
            }
            Err(error) => tracing::debug!(duty, %error, "a duty could not be renewed yet"),
        }
    }
}

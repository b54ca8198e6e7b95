//! Waiting for an instant: by the clock of the machine, or as a test moves time.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use crate::engine::{Stop, poll};
use crate::model::{Clock, Instant};

/// Waits until an instant of the scheduler's clock; `false` when stopping was asked for instead.
pub trait Waiting: Send + Sync {
    fn until<'a>(&'a self, at: Instant, stop: &'a Stop) -> BoxFuture<'a, bool>;
}

/// Waits by a clock that goes at the speed of the machine's.
pub struct ByClock(pub Clock);

impl Waiting for ByClock {
    fn until<'a>(&'a self, at: Instant, stop: &'a Stop) -> BoxFuture<'a, bool> {
        // A machine that slept, or whose clock was set, is not waited for longer than it has to.
        const STEP_MS: i64 = 30_000;
        let wait = async move {
            loop {
                let left = at.millis_since(self.0.now());
                if left <= 0 {
                    return !stop.asked();
                }
                if !stop.sleep(Duration::from_millis(left.min(STEP_MS) as u64)).await {
                    return false;
                }
            }
        };
        wait.boxed()
    }
}

/// The same for the polls of a run.
pub(super) struct OfRun<'a> {
    pub waiting: &'a dyn Waiting,
    pub stop: &'a Stop,
}

impl poll::Waiting for OfRun<'_> {
    async fn until(&self, at: Instant) -> bool {
        self.waiting.until(at, self.stop).await
    }
}

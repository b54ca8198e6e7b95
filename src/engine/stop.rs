//! Stopping: asked for once, seen by everybody. Work in flight is finished and committed, the rest is left for later.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A request to stop that many can hear. Cloning hears the same request.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    pub fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when stopping is asked for.
    pub async fn wait(&self) {
        let mut heard = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = heard.wait_for(|asked| *asked).await;
    }

    /// Sleeps, but no longer than until stopping is asked for. Whether the whole sleep passed.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(duration) => true,
            () = self.wait() => false,
        }
    }
}

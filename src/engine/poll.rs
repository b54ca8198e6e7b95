//! Realtime tables: the running day again and again, in trading hours only.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use super::progress::Progress;
use super::stop::Stop;
use super::together::Synced;
use super::{Engine, knowledge};
use crate::model::{Dataset, Error, How, Instant, Result, Strategy, task::Request};
use crate::plan::next_poll;

/// Seconds between polls of a table that names none.
pub const EVERY_SECONDS_DEFAULT: u32 = 60;

/// How a table is polled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// `None`: as the catalogue says.
    pub every_seconds: Option<u32>,
    /// The last instant at which a poll may begin; `None`: until it is told to stop.
    pub until: Option<Instant>,
}

/// Waits until an instant; `false` when it was told to stop instead.
pub trait Waiting {
    fn until(&self, at: Instant) -> impl Future<Output = bool> + Send;
}

/// Waits by the system's clock, until stopping is asked for.
pub struct ByClock<'a> {
    pub engine: &'a Engine,
    pub stop: &'a Stop,
}

impl Waiting for ByClock<'_> {
    async fn until(&self, at: Instant) -> bool {
        // A machine that slept, or whose clock was set, is not waited for longer than it has to.
        const STEP_MS: i64 = 60_000;
        loop {
            let left = at.millis_since(self.engine.clock.now());
            if left <= 0 {
                return !self.stop.asked();
            }
            if !self.stop.sleep(Duration::from_millis(left.min(STEP_MS) as u64)).await {
                return false;
            }
        }
    }
}

impl Engine {
    /// How often a dataset is polled.
    pub fn poll_seconds(&self, dataset: &Dataset) -> u32 {
        dataset.policy.poll_seconds.unwrap_or(EVERY_SECONDS_DEFAULT)
    }

    /// Asks for the running day of one table, at its pace and in trading hours, until it is told to stop. `told` hears
    /// what came of each poll; a poll that failed does not end the polling.
    pub async fn poll(
        &self,
        dataset: &str,
        pace: Pace,
        stop: &Stop,
        waiting: &impl Waiting,
        told: &mut (dyn FnMut(Instant, &[Synced]) + Send),
    ) -> Result<()> {
        let dataset = self.catalog.get(dataset)?.clone();
        self.offers(&dataset, None)?;
        if dataset.time.is_none() && !dataset.policy.is_continuous() {
            let error = Error::invalid(format!("{} has no days that could be polled", dataset.name));
            return Err(error.hint("`tidegate datasets --strategies` lists the realtime tables"));
        }
        let every_seconds = pace.every_seconds.unwrap_or_else(|| self.poll_seconds(&dataset));
        let mut last = None;
        loop {
            // The calendar may have been fetched or prolonged by the poll before.
            let calendar = knowledge::read(&*self.store).await?.calendar;
            let at = next_poll(&calendar, last, self.clock.now(), every_seconds);
            let is_over = pace.until.is_some_and(|until| at > until);
            if is_over || !waiting.until(at).await || stop.asked() {
                return Ok(());
            }
            let now = self.clock.now();
            last = Some(now);
            let synced = self.poll_once(&dataset, now, stop).await?;
            told(now, &synced);
        }
    }

    async fn poll_once(&self, dataset: &Dataset, now: Instant, stop: &Stop) -> Result<Vec<Synced>> {
        let running_day = || {
            let today = Some(now.day().to_string());
            Request { from: today.clone(), to: today, how: How::by(Strategy::Realtime), ..Request::everything() }
        };
        // One state that is overwritten has no days to choose from.
        let request = if dataset.time.is_some() { running_day() } else { Request::everything() };
        let request = Request { force: true, ..request };
        let unseen = |_: &str, _: watch::Receiver<Progress>| {};
        self.sync(vec![(dataset.name.clone(), request)], stop, &unseen).await
    }
}

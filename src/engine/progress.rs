//! Progress as values that anybody may watch: the newest one counts, and watching slows nothing down.

use std::time::Instant as Moment;

use tokio::sync::watch;

use crate::model::Totals;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Waiting,
    Planning,
    Fetching,
    /// Another process runs the task.
    Elsewhere,
    Finished,
}

/// Where the work on one dataset stands.
#[derive(Clone, Debug)]
pub struct Progress {
    pub dataset: String,
    pub task: i64,
    pub phase: Phase,
    pub slices_total: u64,
    pub totals: Totals,
    /// Calls that may still be made in this minute; `None`: unlimited.
    pub quota_left: Option<u32>,
    pub started: Moment,
    /// The last thing worth telling: a retry, a refusal, a failure.
    pub note: Option<String>,
}

impl Progress {
    pub fn new(dataset: &str, task: i64) -> Progress {
        Progress {
            dataset: dataset.to_string(),
            task,
            phase: Phase::Waiting,
            slices_total: 0,
            totals: Totals::default(),
            quota_left: None,
            started: Moment::now(),
            note: None,
        }
    }

    pub fn slices_finished(&self) -> u64 {
        self.totals.slices_done + self.totals.slices_failed
    }

    /// Seconds left at the rate so far; `None` before the first slice is done.
    pub fn seconds_left(&self) -> Option<u64> {
        let done = self.slices_finished();
        let left = self.slices_total.saturating_sub(done) as f64;
        (done > 0).then(|| (self.started.elapsed().as_secs_f64() / done as f64 * left).ceil() as u64)
    }

    pub fn rows_per_second(&self) -> f64 {
        self.totals.rows_answered as f64 / self.started.elapsed().as_secs_f64().max(0.001)
    }
}

/// Where a run tells its progress.
#[derive(Clone, Debug)]
pub struct Watcher(watch::Sender<Progress>);

impl Watcher {
    pub fn new(dataset: &str, task: i64) -> (Watcher, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::new(dataset, task));
        (Watcher(sender), receiver)
    }

    pub fn tell(&self, change: impl FnOnce(&mut Progress)) {
        self.0.send_modify(change);
    }
}

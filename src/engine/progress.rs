//! Progress as values that anybody may watch: the newest one counts, and watching slows nothing down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant as Moment;

use tokio::sync::watch;

use crate::model::{Area, Totals};

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
    /// What the slices are done in, with the number of slices up to the end of each: batches, partitions, reasons.
    pub groups: Vec<(String, u64)>,
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
            groups: Vec::new(),
            totals: Totals::default(),
            quota_left: None,
            started: Moment::now(),
            note: None,
        }
    }

    pub fn slices_finished(&self) -> u64 {
        self.totals.slices_done + self.totals.slices_failed
    }

    /// The group that is being worked on, by how many slices of this run are finished; `None` when there are none or
    /// they are worked on side by side.
    pub fn group(&self) -> Option<&str> {
        let ends = self.groups.last().map_or(0, |(_, end)| *end);
        let before = self.slices_total.saturating_sub(ends);
        let done = self.slices_finished().saturating_sub(before);
        let current = self.groups.iter().find(|(_, end)| done < *end).or(self.groups.last());
        current.map(|(label, _)| label.as_str())
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

/// A slice that was answered, or failed, in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub area: Area,
    pub failed: bool,
    pub rows: u64,
    /// Network, decoding and checking; waiting for quota left out.
    pub millis: u64,
}

/// Where a run tells its progress.
#[derive(Clone, Debug)]
pub struct Watcher {
    progress: watch::Sender<Progress>,
    /// Every slice of the run, where somebody wants to know.
    asked: Option<Arc<Mutex<Vec<Asked>>>>,
}

impl Watcher {
    pub fn new(dataset: &str, task: i64) -> (Watcher, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::new(dataset, task));
        (Watcher { progress: sender, asked: None }, receiver)
    }

    /// Remembers what becomes of each slice.
    pub fn remembering(self) -> Watcher {
        Watcher { asked: Some(Arc::default()), ..self }
    }

    /// What became of the slices so far; empty when nothing is remembered.
    pub fn asked(&self) -> Vec<Asked> {
        let lock = |asked: &Arc<Mutex<Vec<Asked>>>| asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.asked.as_ref().map(lock).unwrap_or_default()
    }

    /// A slice has ended.
    pub fn ended(&self, area: &Area, failed: bool, totals: &Totals) {
        let Some(asked) = &self.asked else { return };
        let millis = totals.network_ms + totals.decode_ms + totals.check_ms;
        let ended = Asked { area: area.clone(), failed, rows: totals.rows_answered, millis };
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
    }

    pub fn tell(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }
}

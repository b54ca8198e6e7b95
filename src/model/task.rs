//! Tasks (one request to sync one dataset), their totals, and failures (slices that did not work).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::area::{Area, Securities};
use super::change::{Counts, Lease};
use super::clock::Instant;
use super::error::{Error, Result};
use super::strategy::How;

pub type TaskId = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    Pending,
    Running,
    Paused,
    Completed,
    Failed,
}

impl TaskState {
    pub const ALL: [TaskState; 5] =
        [TaskState::Pending, TaskState::Running, TaskState::Paused, TaskState::Completed, TaskState::Failed];

    pub fn name(self) -> &'static str {
        match self {
            TaskState::Pending => "pending",
            TaskState::Running => "running",
            TaskState::Paused => "paused",
            TaskState::Completed => "completed",
            TaskState::Failed => "failed",
        }
    }

    pub fn from_name(name: &str) -> Option<TaskState> {
        TaskState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the task holds its dataset: pending, running or paused.
    pub fn is_open(self) -> bool {
        matches!(self, TaskState::Pending | TaskState::Running | TaskState::Paused)
    }

    /// The state machine: pending -> running -> completed | failed | paused; paused -> running | failed (cancelled).
    pub fn may_become(self, next: TaskState) -> bool {
        use TaskState::*;
        matches!(
            (self, next),
            (Pending | Paused, Running | Failed) | (Running, Completed | Failed | Paused | Running) | (Pending, Paused)
        )
    }
}

/// How a completed task went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Success,
    SuccessWithErrors,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::SuccessWithErrors => "success_with_errors",
        }
    }

    pub fn from_name(name: &str) -> Option<Outcome> {
        [Outcome::Success, Outcome::SuccessWithErrors].into_iter().find(|outcome| outcome.name() == name)
    }
}

/// What was asked for. Equal requests for one dataset are the same task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub securities: Securities,
    /// First day, `YYYY-MM-DD`; absent: from the dataset's first day on.
    pub from: Option<String>,
    /// Last day; absent: up to what is due.
    pub to: Option<String>,
    /// Ask again for what is claimed and final.
    pub force: bool,
    /// Only this source.
    pub source: Option<String>,
    /// Which strategy, and with which parameters.
    #[serde(default)]
    pub how: How,
}

/// The note of a task that a person paused.
pub const NOTE_BY_HAND: &str = "paused by hand";
/// The note of a task whose process was asked to stop.
pub const NOTE_STOPPED: &str = "stopped";

/// One request to sync a dataset, its state and its progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// 0 until the store has numbered it.
    pub id: TaskId,
    pub dataset: String,
    pub request: Request,
    pub state: TaskState,
    pub outcome: Option<Outcome>,
    /// Raised whenever a worker takes the task over; commits of an older one are refused.
    pub fence: i64,
    pub created_at: Instant,
    pub started_at: Option<Instant>,
    pub finished_at: Option<Instant>,
    /// Summed over every run of the task.
    pub totals: Totals,
    /// Why it was paused or failed.
    pub note: Option<String>,
    /// Who runs it, where several processes share the store; kept by the store itself.
    pub lease: Option<Lease>,
}

impl Task {
    pub fn new(dataset: impl Into<String>, request: Request, now: Instant) -> Task {
        Task {
            id: 0,
            dataset: dataset.into(),
            request,
            state: TaskState::Pending,
            outcome: None,
            fence: 0,
            created_at: now,
            started_at: None,
            finished_at: None,
            totals: Totals::default(),
            note: None,
            lease: None,
        }
    }

    /// Whether its process was asked to stop in the middle: whoever wants the task done goes on with it.
    pub fn was_stopped(&self) -> bool {
        self.state == TaskState::Paused && self.note.as_ref().is_some_and(|note| note.starts_with(NOTE_STOPPED))
    }

    /// Moves to `next`, or says why that cannot be.
    pub fn become_state(&mut self, next: TaskState) -> Result<()> {
        if !self.state.may_become(next) {
            let message = format!("task {} is {} and cannot become {}", self.id, self.state.name(), next.name());
            return Err(Error::conflict(message).hint("see `tidegate tasks`"));
        }
        self.state = next;
        Ok(())
    }
}

/// The figures of a run. A run is green only if they agree (`disagreements` is empty).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub slices_planned: u64,
    pub slices_done: u64,
    pub slices_failed: u64,
    /// Slices whose answer looked thin: kept, claimed provisionally, asked again later.
    pub slices_partial: u64,
    /// Questions asked, refused and repeated ones included.
    pub calls: u64,
    /// Calls without a usable answer: dropped, cut, foreign, or an error of the source.
    pub calls_failed: u64,
    /// Refusals by the source for asking too often.
    pub refusals: u64,
    /// Rows that the plan expected.
    pub rows_asked: u64,
    /// Rows that the source sent.
    pub rows_answered: u64,
    /// Exact copies of a row within one answer.
    pub rows_duplicate: u64,
    pub rows_inserted: u64,
    pub rows_updated: u64,
    pub rows_unchanged: u64,
    /// Stored rows that the source no longer has.
    pub rows_withdrawn: u64,
    pub rows_quarantined: u64,
    /// Rows that wait beside the stored ones for a person's decision.
    pub rows_conflicting: u64,
    pub bytes: u64,
    pub quota_wait_ms: u64,
    pub network_ms: u64,
    pub decode_ms: u64,
    pub check_ms: u64,
    pub write_ms: u64,
    /// What each source did, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_source: BTreeMap<String, Served>,
}

/// What one source did for a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Served {
    /// Slices that it answered.
    pub slices: u64,
    /// Rows of those answers.
    pub rows: u64,
    pub calls: u64,
    /// Calls without a usable answer, refusals included.
    pub calls_failed: u64,
    /// Answers that were refused because their units are wrong.
    pub wrong: u64,
    pub network_ms: u64,
    /// Rows of its answers that were new, and that changed stored ones.
    pub inserted: u64,
    pub updated: u64,
}

impl Served {
    pub fn add(&mut self, other: &Served) {
        self.slices += other.slices;
        self.rows += other.rows;
        self.calls += other.calls;
        self.calls_failed += other.calls_failed;
        self.wrong += other.wrong;
        self.network_ms += other.network_ms;
        self.inserted += other.inserted;
        self.updated += other.updated;
    }
}

impl Totals {
    /// Every figure with its name, in the order in which people read them.
    pub fn figures(&self) -> [(&'static str, u64); 22] {
        [
            ("slices_planned", self.slices_planned),
            ("slices_done", self.slices_done),
            ("slices_failed", self.slices_failed),
            ("slices_partial", self.slices_partial),
            ("calls", self.calls),
            ("calls_failed", self.calls_failed),
            ("refusals", self.refusals),
            ("rows_asked", self.rows_asked),
            ("rows_answered", self.rows_answered),
            ("rows_duplicate", self.rows_duplicate),
            ("rows_inserted", self.rows_inserted),
            ("rows_updated", self.rows_updated),
            ("rows_unchanged", self.rows_unchanged),
            ("rows_withdrawn", self.rows_withdrawn),
            ("rows_quarantined", self.rows_quarantined),
            ("rows_conflicting", self.rows_conflicting),
            ("bytes", self.bytes),
            ("quota_wait_ms", self.quota_wait_ms),
            ("network_ms", self.network_ms),
            ("decode_ms", self.decode_ms),
            ("check_ms", self.check_ms),
            ("write_ms", self.write_ms),
        ]
    }

    fn figures_mut(&mut self) -> [&mut u64; 22] {
        [
            &mut self.slices_planned,
            &mut self.slices_done,
            &mut self.slices_failed,
            &mut self.slices_partial,
            &mut self.calls,
            &mut self.calls_failed,
            &mut self.refusals,
            &mut self.rows_asked,
            &mut self.rows_answered,
            &mut self.rows_duplicate,
            &mut self.rows_inserted,
            &mut self.rows_updated,
            &mut self.rows_unchanged,
            &mut self.rows_withdrawn,
            &mut self.rows_quarantined,
            &mut self.rows_conflicting,
            &mut self.bytes,
            &mut self.quota_wait_ms,
            &mut self.network_ms,
            &mut self.decode_ms,
            &mut self.check_ms,
            &mut self.write_ms,
        ]
    }

    /// What the rows of one change by `source` add.
    pub fn of_rows(source: &str, counts: Counts) -> Totals {
        let served = Served { inserted: counts.inserted, updated: counts.updated, ..Served::default() };
        let served = (served != Served::default()).then(|| (source.to_string(), served));
        Totals {
            rows_inserted: counts.inserted,
            rows_updated: counts.updated,
            rows_unchanged: counts.unchanged,
            rows_withdrawn: counts.withdrawn,
            rows_quarantined: counts.quarantined,
            rows_conflicting: counts.conflicting,
            by_source: served.into_iter().collect(),
            ..Totals::default()
        }
    }

    pub fn add(&mut self, other: &Totals) {
        for (sum, (_, value)) in self.figures_mut().into_iter().zip(other.figures()) {
            *sum += value;
        }
        for (source, served) in &other.by_source {
            self.by_source.entry(source.clone()).or_default().add(served);
        }
    }

    /// `tushare 12 slices (1200 rows), baostock 3 slices (300 rows)`: who answered, the busiest first.
    pub fn served_by(&self) -> Option<String> {
        let mut answered: Vec<_> = self.by_source.iter().filter(|(_, served)| served.slices > 0).collect();
        answered.sort_by_key(|(name, served)| (std::cmp::Reverse(served.slices), *name));
        let one = |(name, served): &(&String, &Served)| {
            let (slices, rows) = (served.slices, served.rows);
            format!("{name} {slices} slice{} ({rows} row{})", plural(slices), plural(rows))
        };
        (!answered.is_empty()).then(|| answered.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    pub fn rows_written(&self) -> u64 {
        self.rows_inserted + self.rows_updated + self.rows_unchanged
    }

    /// What does not add up, in words; empty when the run is green.
    pub fn disagreements(&self) -> Vec<String> {
        let mut found = Vec::new();
        let accounted = self.rows_written() + self.rows_quarantined + self.rows_conflicting + self.rows_duplicate;
        if self.rows_answered != accounted {
            found.push(format!("{} rows answered, {accounted} accounted for", self.rows_answered));
        }
        if self.slices_planned != self.slices_done + self.slices_failed {
            found.push(format!(
                "{} slices planned, {} done and {} failed",
                self.slices_planned, self.slices_done, self.slices_failed
            ));
        }
        if self.slices_failed > 0 {
            found.push(format!("{} slices failed", self.slices_failed));
        }
        if self.slices_partial > 0 {
            found.push(format!("{} slices look incomplete and will be asked again", self.slices_partial));
        }
        if self.rows_quarantined > 0 {
            found.push(format!("{} rows quarantined", self.rows_quarantined));
        }
        if self.rows_conflicting > 0 {
            found.push(format!("{} rows in conflict wait for a decision", self.rows_conflicting));
        }
        found
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A slice that did not work. One unresolved failure per dataset and area.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// 0 until the store has numbered it.
    pub id: i64,
    pub dataset: String,
    pub area: Area,
    pub source: String,
    pub task: TaskId,
    /// `ErrorKind::name`.
    pub kind: String,
    pub message: String,
    pub attempts: u32,
    /// Attempts after which only a person may retry it.
    pub attempts_max: u32,
    /// When a later run may try again.
    pub next_attempt_at: Instant,
    pub first_at: Instant,
    pub last_at: Instant,
    pub resolved_at: Option<Instant>,
    /// How it was resolved: `fetched`, or what a person wrote.
    pub resolution: Option<String>,
}

impl Failure {
    /// Whether a run at `now` may try it by itself.
    pub fn may_retry(&self, now: Instant) -> bool {
        self.resolved_at.is_none() && self.attempts < self.attempts_max && self.next_attempt_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_disagree_when_rows_are_lost() {
        let mut totals = Totals { rows_answered: 3, rows_inserted: 2, rows_duplicate: 1, ..Totals::default() };
        assert!(totals.disagreements().is_empty());
        totals.rows_answered = 4;
        assert_eq!(totals.disagreements(), ["4 rows answered, 3 accounted for"]);
    }

    #[test]
    fn finished_tasks_stay_finished() {
        for next in TaskState::ALL {
            assert!(!TaskState::Completed.may_become(next));
            assert!(!TaskState::Failed.may_become(next));
        }
        assert!(TaskState::Paused.may_become(TaskState::Running));
    }
}

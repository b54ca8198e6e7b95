//! Runs: one asking for work, by a person, a program or a job, with the tasks that it became and how it went.

use super::change::Lease;
use super::clock::Instant;
use super::error::{Error, Result};
use super::task::{TaskId, Totals};
use super::work::Work;

pub type RunId = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunState {
    /// Waits for a worker, or for its next attempt.
    Pending,
    Running,
    Success,
    SuccessWithErrors,
    Failed,
    /// Ended by a person before it was through.
    Cancelled,
}

impl RunState {
    pub const ALL: [RunState; 6] = [
        RunState::Pending,
        RunState::Running,
        RunState::Success,
        RunState::SuccessWithErrors,
        RunState::Failed,
        RunState::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            RunState::Pending => "pending",
            RunState::Running => "running",
            RunState::Success => "success",
            RunState::SuccessWithErrors => "success_with_errors",
            RunState::Failed => "failed",
            RunState::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<RunState> {
        RunState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Waiting or at work.
    pub fn is_open(self) -> bool {
        matches!(self, RunState::Pending | RunState::Running)
    }

    /// pending -> running -> pending (its next attempt) | success | success_with_errors | failed; both may be cancelled.
    pub fn may_become(self, next: RunState) -> bool {
        use RunState::*;
        matches!(
            (self, next),
            (Pending, Running | Cancelled)
                | (Running, Pending | Running | Success | SuccessWithErrors | Failed | Cancelled)
        )
    }
}

/// One asking for work.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// 0 until the store has numbered it.
    pub id: RunId,
    /// The job that fired, and the instant of its schedule for which it did: one run for both, ever.
    pub job: Option<String>,
    pub due_at: Option<Instant>,
    /// At most one open run has a slot: asking for a second one is a conflict that names the first.
    pub slot: Option<String>,
    /// Who asked: `schedule`, `cli`, or the name of an API key.
    pub asked_by: String,
    /// Why: for people.
    pub reason: String,
    pub work: Work,
    pub state: RunState,
    /// Attempts that began, this one included.
    pub attempt: u32,
    /// A pending run does not begin before.
    pub not_before: Instant,
    pub created_at: Instant,
    /// When the last attempt began.
    pub started_at: Option<Instant>,
    pub finished_at: Option<Instant>,
    /// What it became, over all attempts.
    pub tasks: Vec<TaskId>,
    /// Summed over its tasks.
    pub totals: Totals,
    /// What went wrong, or what people should know.
    pub note: Option<String>,
    /// Raised whenever a worker takes the run over; the store refuses to rewrite it for an older one.
    pub fence: i64,
    /// Who works on it; kept by the store itself.
    pub lease: Option<Lease>,
}

impl Run {
    pub fn new(work: Work, asked_by: impl Into<String>, reason: impl Into<String>, now: Instant) -> Run {
        Run {
            id: 0,
            job: None,
            due_at: None,
            slot: None,
            asked_by: asked_by.into(),
            reason: reason.into(),
            work,
            state: RunState::Pending,
            attempt: 0,
            not_before: now,
            created_at: now,
            started_at: None,
            finished_at: None,
            tasks: Vec::new(),
            totals: Totals::default(),
            note: None,
            fence: 0,
            lease: None,
        }
    }

    /// Moves to `next`, or says why that cannot be.
    pub fn become_state(&mut self, next: RunState) -> Result<()> {
        if !self.state.may_become(next) {
            let message = format!("run {} is {} and cannot become {}", self.id, self.state.name(), next.name());
            return Err(Error::conflict(message).hint("see `tidegate runs`"));
        }
        self.state = next;
        Ok(())
    }
}

/// Which runs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunsWanted {
    /// Only of this job.
    pub job: Option<String>,
    /// Only of this slot, or of one that begins with it and a colon.
    pub slot: Option<String>,
    /// Only pending and running ones.
    pub open: bool,
    /// Only those with a smaller number.
    pub before: Option<RunId>,
    pub limit: usize,
}

//! Asking for tasks: submit, pause, cancel. Asking twice is asking once.

use super::Engine;
use crate::model::{
    Change, Commit, Error, ErrorKind, Failure, Result, Task, TaskId, TaskState, task::NOTE_BY_HAND, task::Request,
};

impl Engine {
    /// Creates the task, or hands back the open one that asks for the same. An open task that asks for something else
    /// is a `Conflict` that names it.
    pub async fn submit(&self, dataset: &str, request: Request) -> Result<Task> {
        let dataset = self.catalog.get(dataset)?;
        self.kept(dataset, &request)?;
        if let Some(open) = self.open_task(&dataset.name).await? {
            return joined(open, &request);
        }
        let now = self.clock.now();
        let task = Task::new(&dataset.name, request.clone(), now);
        let commit = Commit { at: now, fence: None, changes: vec![Change::Task(task)] };
        let receipt = match self.store.commit(commit).await {
            Ok(receipt) => receipt,
            // Another process was quicker.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return self.open_task(&dataset.name).await?.map_or(Err(error), |open| joined(open, &request));
            }
            Err(error) => return Err(error),
        };
        let id = receipt.tasks.first().ok_or_else(|| Error::bug("creating a task gave no number"))?.task;
        self.task(id).await
    }

    /// The pending, running or paused task of a dataset.
    pub async fn open_task(&self, dataset: &str) -> Result<Option<Task>> {
        Ok(self.store.open_tasks().await?.into_iter().find(|task| task.dataset == dataset))
    }

    /// Pauses a pending or running task; its worker's next commit is refused and it stops.
    pub async fn pause(&self, id: TaskId) -> Result<Task> {
        self.end_by_hand(id, TaskState::Paused, NOTE_BY_HAND).await
    }

    /// Ends an open task for good. What it committed stays.
    pub async fn cancel(&self, id: TaskId) -> Result<Task> {
        self.end_by_hand(id, TaskState::Failed, "cancelled by hand").await
    }

    async fn end_by_hand(&self, id: TaskId, state: TaskState, note: &str) -> Result<Task> {
        let mut task = self.task(id).await?;
        task.become_state(state)?;
        task.note = Some(note.to_string());
        let now = self.clock.now();
        task.finished_at = (!state.is_open()).then_some(now);
        self.store.commit(Commit { at: now, fence: None, changes: vec![Change::Task(task.clone())] }).await?;
        Ok(task)
    }

    /// Makes failures due at once, with a fresh count of attempts; the next sync tries them first.
    pub async fn retry_failures(&self, failures: Vec<Failure>) -> Result<()> {
        let now = self.clock.now();
        let due = |failure| Change::Failure(Failure { attempts: 0, next_attempt_at: now, ..failure });
        let changes = failures.into_iter().map(due).collect();
        self.store.commit(Commit { at: now, fence: None, changes }).await.map(|_| ())
    }

    /// A person settles a failure.
    pub async fn resolve_failure(&self, id: i64, resolution: String) -> Result<()> {
        let changes = vec![Change::ResolveFailure { id, resolution }];
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }
}

/// The open task, if it asks for the same.
fn joined(open: Task, request: &Request) -> Result<Task> {
    if open.request == *request {
        return Ok(open);
    }
    let message = format!("dataset {} already has open task {} ({})", open.dataset, open.id, open.state.name());
    let hint = format!("finish it with `tidegate resume {0}` or end it with `tidegate cancel {0}`", open.id);
    Err(Error::conflict(message).hint(hint))
}

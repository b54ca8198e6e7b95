//! The writer: takes what waits, commits it together, and answers. Work on one row follows the order in which it came.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::mapping::{Mapped, Ready};
use super::registry::Entry;
use super::step::{Added, Step};
use super::{Outcome, ReceiveOptions};
use crate::model::{Clock, Error, ErrorKind, Message, ReceivedState, Result};
use crate::store::Store;

/// Times that a step is planned anew because another process was quicker.
const RACES_MAX: u32 = 10;

/// A piece of work.
pub(super) enum Work {
    /// A message is taken in; with what it is mapped to, where it is.
    Take { entry: Arc<Entry>, message: Box<Message>, mapped: Option<(Arc<Ready>, Mapped)> },
    /// A row whose next version may have come goes on. `release`: without what is missing.
    Resume { entry: Arc<Entry>, dataset: String, key: String, release: bool },
}

pub(super) struct Unit {
    pub(super) work: Work,
    /// `None`: nobody waits for it.
    pub(super) done: Option<oneshot::Sender<Result<Outcome>>>,
}

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) options: Arc<ReceiveOptions>,
    /// Rung when something waits for versions.
    pub(super) waiting: Arc<tokio::sync::Notify>,
}

impl Writer {
    /// Writes until nobody can send any more.
    pub(super) async fn run(self, mut units: mpsc::Receiver<Unit>) {
        let mut later: VecDeque<Unit> = VecDeque::new();
        loop {
            if later.is_empty() {
                match units.recv().await {
                    Some(unit) => later.push_back(unit),
                    None => return,
                }
            }
            while later.len() < self.options.commit_messages {
                let Ok(unit) = units.try_recv() else { break };
                later.push_back(unit);
            }
            let group = later.drain(..later.len().min(self.options.commit_messages)).collect();
            for unit in self.write(group).await.into_iter().rev() {
                later.push_front(unit);
            }
        }
    }

    /// Commits a group and answers it; what has to wait for this commit comes back.
    async fn write(&self, mut group: Vec<Unit>) -> Vec<Unit> {
        let mut races = 0;
        loop {
            let mut step = Step::new(&*self.store, self.clock.now(), self.options.items_max);
            let mut planned = Vec::with_capacity(group.len());
            for unit in &group {
                planned.push(step.add(&unit.work).await);
            }
            let error = match step.commit().await {
                Ok(()) => return self.answer(group, planned),
                Err(error) => error,
            };
            races += 1;
            if error.kind() == ErrorKind::Conflict && races < RACES_MAX {
                continue;
            }
            if group.len() > 1 && matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Bug) {
                let mut later = Vec::new();
                for unit in std::mem::take(&mut group) {
                    later.extend(Box::pin(self.write(vec![unit])).await);
                }
                return later;
            }
            return fail(group, planned, &error);
        }
    }

    fn answer(&self, group: Vec<Unit>, planned: Vec<Result<Added>>) -> Vec<Unit> {
        let mut later = Vec::new();
        for (unit, planned) in group.into_iter().zip(planned) {
            match planned {
                Ok(Added::Later) => later.push(unit),
                Ok(Added::Done { outcome, more }) => {
                    if outcome.state == Some(ReceivedState::Waiting) {
                        self.waiting.notify_one();
                    }
                    if more {
                        later.extend(follow_up(&unit.work));
                    }
                    tell(unit.done, Ok(outcome));
                }
                Err(error) => tell(unit.done, Err(error)),
            }
        }
        later
    }
}

/// The next version of the same row may wait.
fn follow_up(work: &Work) -> Option<Unit> {
    let (entry, dataset, key, release) = match work {
        Work::Take { entry, mapped: Some((_, mapped)), .. } => {
            (entry, mapped.dataset.name.clone(), mapped.key.clone(), false)
        }
        Work::Take { mapped: None, .. } => return None,
        Work::Resume { entry, dataset, key, release } => (entry, dataset.clone(), key.clone(), *release),
    };
    Some(Unit { work: Work::Resume { entry: entry.clone(), dataset, key, release }, done: None })
}

fn tell(done: Option<oneshot::Sender<Result<Outcome>>>, result: Result<Outcome>) {
    if let Err(error) = &result {
        tracing::debug!(%error, "what was received changed nothing");
    }
    if let Some(done) = done {
        // Whoever asked may have gone away.
        let _ = done.send(result);
    }
}

/// Nothing of the group was written; errors of single pieces of work are told as they are.
fn fail(group: Vec<Unit>, planned: Vec<Result<Added>>, error: &Error) -> Vec<Unit> {
    for (unit, planned) in group.into_iter().zip(planned) {
        let told = planned.err().unwrap_or_else(|| {
            let again = Error::new(error.kind(), error.message());
            again.hint(error.hint_text().unwrap_or("send it again, unchanged"))
        });
        tell(unit.done, Err(told));
    }
    Vec::new()
}

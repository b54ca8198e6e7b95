//! Tasks in the hands of this process, so that what runs side by side in it never takes a task from itself. What other
//! processes hold, the leases say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::TaskId;

/// Which tasks are wanted or run here. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct AtWork(Arc<Mutex<HashMap<TaskId, Hands>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Hands {
    /// How many wait for its end, or for their turn to run it.
    wanted: usize,
    running: bool,
}

/// A task in hand, until it is dropped.
#[derive(Debug)]
pub struct InHand {
    at_work: AtWork,
    task: TaskId,
    runs: bool,
}

impl AtWork {
    /// Somebody here wants the task done and sees to it.
    pub fn want(&self, task: TaskId) -> InHand {
        self.hands().entry(task).or_default().wanted += 1;
        InHand { at_work: self.clone(), task, runs: false }
    }

    /// The right to run the task in this process; `None` while somebody else here has it.
    pub fn run(&self, task: TaskId) -> Option<InHand> {
        let mut hands = self.hands();
        let of_task = hands.entry(task).or_default();
        if of_task.running {
            return None;
        }
        of_task.running = true;
        drop(hands);
        Some(InHand { at_work: self.clone(), task, runs: true })
    }

    pub fn is_running(&self, task: TaskId) -> bool {
        self.hands().get(&task).is_some_and(|hands| hands.running)
    }

    /// Whether anybody here wants or runs it.
    pub fn has(&self, task: TaskId) -> bool {
        self.hands().contains_key(&task)
    }

    fn hands(&self) -> MutexGuard<'_, HashMap<TaskId, Hands>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut hands = self.at_work.hands();
        let Some(of_task) = hands.get_mut(&self.task) else { return };
        match self.runs {
            true => of_task.running = false,
            false => of_task.wanted = of_task.wanted.saturating_sub(1),
        }
        if of_task.wanted == 0 && !of_task.running {
            hands.remove(&self.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_run_once_at_a_time_and_leaves_no_trace() {
        let at_work = AtWork::default();
        let wanted = at_work.want(7);
        let running = at_work.run(7).unwrap();
        assert!(at_work.run(7).is_none() && at_work.is_running(7) && at_work.has(7) && !at_work.has(8));
        drop(running);
        assert!(!at_work.is_running(7) && at_work.has(7));
        drop(at_work.run(7));
        drop(wanted);
        assert!(!at_work.has(7));
    }
}

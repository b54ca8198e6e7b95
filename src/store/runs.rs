//! What runs and definitions mean in every store, whatever the engine underneath: pure decisions that both share.

use serde_json::{Value, json};

use crate::model::{Error, EventType, Instant, Lease, Result, Run, RunFence, RunId, RunState, definition};

fn conflict(message: String) -> Error {
    Error::conflict(message).hint("see `tidegate runs`")
}

pub fn missing(run: RunId) -> Error {
    Error::not_found(format!("there is no run {run}")).hint("see `tidegate runs`")
}

/// The job has a run for this instant of its schedule.
pub fn due_twice(new: &Run, first: RunId) -> Error {
    conflict(format!("run {first} of job {} is that of this instant", new.job.as_deref().unwrap_or_default()))
}

/// The slot of a new run has an open one.
pub fn slot_taken(new: &Run, first: RunId) -> Error {
    let message = format!("run {first} is still open in slot {}", new.slot.as_deref().unwrap_or_default());
    Error::conflict(message).hint("wait until it ends, or cancel it: see `tidegate runs`")
}

/// The run that stands when `new` is written over `stored`.
pub fn rewritten(stored: &Run, new: &Run) -> Result<Run> {
    check_open(stored)?;
    check_fence(stored, new.fence)?;
    let mut next = stored.clone();
    if stored.state != new.state {
        next.become_state(new.state)?;
    }
    let written = if new.state == RunState::Cancelled { stored } else { new };
    Ok(Run {
        reason: new.reason.clone(),
        work: new.work.clone(),
        attempt: new.attempt,
        not_before: new.not_before,
        started_at: new.started_at,
        finished_at: new.finished_at,
        tasks: written.tasks.clone(),
        totals: written.totals.clone(),
        note: new.note.clone(),
        lease: if new.state == RunState::Running { next.lease } else { None },
        ..next
    })
}

/// The run that stands when a worker takes `stored` over; `held`: its lease has not ended.
pub fn taken(stored: &Run, held: bool, lease: Option<&Lease>, now: Instant) -> Result<Run> {
    check_open(stored)?;
    if stored.state == RunState::Pending && stored.not_before > now {
        return Err(conflict(format!("run {} does not begin before {}", stored.id, stored.not_before)));
    }
    if let Some(holder) = stored.lease.as_ref().filter(|_| held && lease.is_some()) {
        let error =
            Error::conflict(format!("run {} is worked on by {} until {}", stored.id, holder.worker, holder.until));
        return Err(error.hint("it is taken over by itself when that worker is gone"));
    }
    Ok(Run {
        state: RunState::Running,
        fence: stored.fence + 1,
        // Whoever goes on with what another left goes on with its attempt.
        attempt: stored.attempt + u32::from(stored.state == RunState::Pending),
        started_at: Some(now),
        finished_at: None,
        lease: lease.cloned(),
        ..stored.clone()
    })
}

/// Whether the worker with this fence may go on.
pub fn check_renewal(stored: &Run, fence: i64) -> Result<()> {
    check_open(stored)?;
    check_fence(stored, fence)?;
    match stored.state {
        RunState::Running => Ok(()),
        state => Err(conflict(format!("run {} is {} and nobody works on it", stored.id, state.name()))),
    }
}

fn check_open(stored: &Run) -> Result<()> {
    match stored.state.is_open() {
        true => Ok(()),
        false => Err(conflict(format!("run {} is {} and stays so", stored.id, stored.state.name()))),
    }
}

fn check_fence(stored: &Run, fence: i64) -> Result<()> {
    match stored.fence == fence {
        true => Ok(()),
        false => Err(conflict(format!("run {} has been taken over by another worker", stored.id))),
    }
}

pub fn fence_of(run: &Run) -> RunFence {
    RunFence { run: run.id, fence: run.fence }
}

/// What a run that was written makes true; `before`: its state until then, `None` for a new one.
pub fn run_event(before: Option<RunState>, run: &Run) -> Option<(EventType, Value)> {
    let Some(before) = before else {
        let due_at = run.due_at.map(|at| at.to_string());
        let state = run.state.name();
        let data = json!({ "run": run.id, "job": run.job, "due_at": due_at, "asked_by": run.asked_by, "state": state });
        return Some((EventType::RunCreated, data));
    };
    match run.state {
        state if state == before => None,
        RunState::Running => Some((EventType::RunStarted, started_data(run))),
        state => {
            let (attempt, note) = (run.attempt, &run.note);
            let data =
                json!({ "run": run.id, "job": run.job, "state": state.name(), "attempt": attempt, "note": note });
            Some((EventType::RunFinished, data))
        }
    }
}

/// The data of `run.started`.
pub fn started_data(run: &Run) -> Value {
    let worker = run.lease.as_ref().map(|lease| &lease.worker);
    json!({ "run": run.id, "job": run.job, "attempt": run.attempt, "fence": run.fence, "worker": worker })
}

/// The revision that a definition gets; `stored`: the one that it has.
pub fn next_revision(kind: definition::Kind, name: &str, stored: Option<u64>, expect: Option<u64>) -> Result<u64> {
    let what = kind.name();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("the name of a {what} is empty or has a control character in it")));
    }
    let stored = stored.unwrap_or(0);
    match expect {
        Some(0) if stored > 0 => Err(Error::conflict(format!("there is a {what} {name:?} already"))
            .hint("change that one, or take another name")),
        Some(expect) if expect != stored => {
            let error = Error::conflict(format!("{what} {name:?} has been changed by somebody else"));
            Err(error.hint("read it again, and change what it is now"))
        }
        _ => Ok(stored + 1),
    }
}

/// The data of `definition.changed`; never the body.
pub fn defined_data(kind: definition::Kind, name: &str, revision: u64) -> Value {
    json!({ "kind": kind.name(), "name": name, "revision": revision })
}

/// The data of `definition.changed` when a definition is gone.
pub fn undefined_data(kind: definition::Kind, name: &str, revision: u64) -> Value {
    json!({ "kind": kind.name(), "name": name, "revision": revision, "removed": true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, Work};

    fn run(state: RunState, fence: i64) -> Run {
        Run { id: 7, state, fence, ..Run::new(Work::default(), "cli", "", Instant(0)) }
    }

    #[test]
    fn an_ended_run_stays_and_an_older_fence_is_refused() {
        for ended in RunState::ALL.into_iter().filter(|state| !state.is_open()) {
            for next in RunState::ALL {
                assert_eq!(rewritten(&run(ended, 1), &run(next, 1)).unwrap_err().kind(), ErrorKind::Conflict);
            }
            assert!(
                taken(&run(ended, 1), false, None, Instant(0)).is_err() && check_renewal(&run(ended, 1), 1).is_err()
            );
        }
        assert!(rewritten(&run(RunState::Running, 2), &run(RunState::Success, 1)).is_err());
        assert!(
            check_renewal(&run(RunState::Running, 2), 1).is_err()
                && check_renewal(&run(RunState::Pending, 1), 1).is_err()
        );
        assert!(check_renewal(&run(RunState::Running, 2), 2).is_ok());
    }

    #[test]
    fn a_definition_is_changed_only_as_it_was_read() {
        let next = |stored, expect| next_revision(definition::Kind::Job, "nightly", stored, expect).ok();
        for (stored, expect, expected) in [
            (None, None, Some(1)),
            (None, Some(0), Some(1)),
            (None, Some(1), None),
            (Some(3), None, Some(4)),
            (Some(3), Some(3), Some(4)),
            (Some(3), Some(2), None),
            (Some(3), Some(0), None),
        ] {
            assert_eq!(next(stored, expect), expected, "{stored:?} {expect:?}");
        }
        for name in ["", "a\nb", "a\0"] {
            assert_eq!(next_revision(definition::Kind::Job, name, None, None).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}

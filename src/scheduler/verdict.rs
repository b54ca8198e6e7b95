//! What becomes of a run after an attempt, pure: it went well, it is tried again and when, or it ended and how.

use crate::engine::together::Synced;
use crate::model::{Error, ErrorKind, Instant, Outcome, RunState, Task, TaskState};

/// Hours within which a thin answer that is asked for again is worth waiting for; later, the job's next time does it.
const THIN_HOURS_MAX: i32 = 12;
/// What people are told of one attempt, in pieces.
const NOTES_MAX: usize = 10;

/// How the work on one table went.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Green,
    /// A later attempt may mend it; not before an instant, where one is known.
    Again {
        why: String,
        not_before: Option<Instant>,
        worked: bool,
    },
    /// Only a person can mend it, or nobody has to.
    Stays {
        why: String,
        worked: bool,
    },
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub state: RunState,
    /// Attempts that count from now on.
    pub attempt: u32,
    pub not_before: Instant,
    pub note: Option<String>,
}

/// How often and after how long a run is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// Attempts after the first.
    pub attempts: u32,
    pub first_minutes: u32,
}

/// What a later attempt can do about an error of this kind: one total match.
pub fn after_error(error: &Error, worked: bool, now: Instant) -> Piece {
    let why = error.to_string();
    let again = |not_before| Piece::Again { why: why.clone(), not_before, worked };
    match error.kind() {
        ErrorKind::Transient | ErrorKind::Storage => again(None),
        ErrorKind::Throttled { until } | ErrorKind::QuotaGone { until } => again(until),
        ErrorKind::Interrupted => again(Some(now)),
        ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Bug => {
            Piece::Stays { why, worked }
        }
    }
}

/// `refresh_hours`: after which a provisional answer of the table is asked for again.
pub fn of_table(synced: &Synced, refresh_hours: i32, now: Instant) -> Piece {
    let worked = synced.task.as_ref().is_some_and(|task| task.totals.slices_done > 0);
    let named = |piece: Piece| match piece {
        Piece::Green => Piece::Green,
        Piece::Again { why, not_before, worked } => {
            Piece::Again { why: format!("{}: {why}", synced.dataset), not_before, worked }
        }
        Piece::Stays { why, worked } => Piece::Stays { why: format!("{}: {why}", synced.dataset), worked },
    };
    named(match (&synced.error, &synced.task) {
        (Some(error), _) => after_error(error, worked, now),
        (None, Some(task)) => of_task(task, refresh_hours, worked, now),
        (None, None) => Piece::Stays { why: "nothing came of it".to_string(), worked },
    })
}

fn of_task(task: &Task, refresh_hours: i32, worked: bool, now: Instant) -> Piece {
    let why = task.note.clone().unwrap_or_else(|| task.state.name().to_string());
    match (task.state, task.outcome) {
        (TaskState::Completed, Some(Outcome::Success)) => Piece::Green,
        (TaskState::Completed, _) if task.totals.slices_failed > 0 => {
            Piece::Again { why, not_before: None, worked: true }
        }
        (TaskState::Completed, _) if task.totals.slices_partial > 0 && refresh_hours <= THIN_HOURS_MAX => {
            let not_before = Some(now.plus_seconds(i64::from(refresh_hours) * 3_600));
            Piece::Again { why, not_before, worked: true }
        }
        (TaskState::Completed, _) => Piece::Stays { why, worked: true },
        (TaskState::Paused, _) if task.was_stopped() => Piece::Again { why, not_before: Some(now), worked },
        (TaskState::Paused | TaskState::Failed, _) => Piece::Stays { why, worked },
        (TaskState::Pending | TaskState::Running, _) => Piece::Again { why, not_before: None, worked },
    }
}

/// `attempt`: how many began, this one included. `stopped`: the process was asked to stop.
pub fn verdict(pieces: &[Piece], attempt: u32, stopped: bool, again: Again, now: Instant) -> Verdict {
    let note = note(pieces);
    let ended = |state| Verdict { state, attempt, not_before: now, note: note.clone() };
    if pieces.iter().all(|piece| *piece == Piece::Green) {
        return ended(RunState::Success);
    }
    let waits: Vec<Option<Instant>> = pieces.iter().filter_map(wait).collect();
    if stopped && !waits.is_empty() {
        // What was broken off is no failed attempt.
        let note = Some("stopped; it goes on when a worker is there".to_string());
        return Verdict { state: RunState::Pending, attempt: attempt.saturating_sub(1), not_before: now, note };
    }
    if !waits.is_empty() && attempt <= again.attempts {
        let doubled = i64::from(again.first_minutes) << attempt.saturating_sub(1).min(16);
        let backoff = now.plus_seconds(doubled * 60);
        let soonest = waits.iter().map(|wait| wait.unwrap_or(backoff)).min().unwrap_or(backoff);
        return Verdict { state: RunState::Pending, attempt, not_before: soonest.max(backoff), note };
    }
    let worked = |piece: &Piece| match piece {
        Piece::Green => true,
        Piece::Again { worked, .. } | Piece::Stays { worked, .. } => *worked,
    };
    ended(if pieces.iter().any(worked) { RunState::SuccessWithErrors } else { RunState::Failed })
}

fn wait(piece: &Piece) -> Option<Option<Instant>> {
    match piece {
        Piece::Again { not_before, .. } => Some(*not_before),
        Piece::Green | Piece::Stays { .. } => None,
    }
}

fn note(pieces: &[Piece]) -> Option<String> {
    let why = |piece: &Piece| match piece {
        Piece::Green => None,
        Piece::Again { why, .. } | Piece::Stays { why, .. } => Some(why.clone()),
    };
    let mut notes: Vec<String> = pieces.iter().filter_map(why).collect();
    let more = notes.len().saturating_sub(NOTES_MAX);
    notes.truncate(NOTES_MAX);
    if more > 0 {
        notes.push(format!("{more} more"));
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000_000_000);
    const AGAIN: Again = Again { attempts: 3, first_minutes: 5 };

    fn minutes(minutes: i64) -> Instant {
        NOW.plus_seconds(minutes * 60)
    }

    fn again(not_before: Option<Instant>, worked: bool) -> Piece {
        Piece::Again { why: "w".into(), not_before, worked }
    }

    fn stays(worked: bool) -> Piece {
        Piece::Stays { why: "w".into(), worked }
    }

    #[test]
    fn runs_are_tried_again_with_growing_waits_and_end_as_what_they_did() {
        use RunState::*;
        for (pieces, attempt, stopped, expected) in [
            (vec![], 1, false, (Success, 1, NOW)),
            (vec![Piece::Green, Piece::Green], 1, true, (Success, 1, NOW)),
            (vec![Piece::Green, again(None, false)], 1, false, (Pending, 1, minutes(5))),
            (vec![Piece::Green, again(None, false)], 2, false, (Pending, 2, minutes(10))),
            (vec![Piece::Green, again(None, false)], 3, false, (Pending, 3, minutes(20))),
            (vec![Piece::Green, again(None, false)], 4, false, (SuccessWithErrors, 4, NOW)),
            (vec![again(None, false)], 4, false, (Failed, 4, NOW)),
            (vec![again(None, true)], 4, false, (SuccessWithErrors, 4, NOW)),
            (vec![stays(false)], 1, false, (Failed, 1, NOW)),
            (vec![stays(true), Piece::Green], 1, false, (SuccessWithErrors, 1, NOW)),
            // The quota comes back at midnight; nobody asks before.
            (vec![again(Some(minutes(300)), true)], 1, false, (Pending, 1, minutes(300))),
            (vec![again(Some(minutes(300)), true), again(None, true)], 1, false, (Pending, 1, minutes(5))),
            (vec![again(Some(minutes(1)), true)], 2, false, (Pending, 2, minutes(10))),
            // Stopped: the attempt does not count.
            (vec![Piece::Green, again(Some(NOW), true)], 1, true, (Pending, 0, NOW)),
            (vec![stays(true)], 1, true, (SuccessWithErrors, 1, NOW)),
        ] {
            let verdict = verdict(&pieces, attempt, stopped, AGAIN, NOW);
            let found = (verdict.state, verdict.attempt, verdict.not_before);
            assert_eq!(found, expected, "{pieces:?} {attempt} {stopped}");
        }
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_tried_again() {
        let denied = after_error(&Error::denied("no"), false, NOW);
        assert_eq!(denied, Piece::Stays { why: "no".into(), worked: false });
        let transient = after_error(&Error::transient("later"), false, NOW);
        assert_eq!(transient, Piece::Again { why: "later".into(), not_before: None, worked: false });
    }
}

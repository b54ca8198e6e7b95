//! Runs that poll: one a trading session, until it ends.

use std::sync::{Mutex, PoisonError};

use super::Scheduler;
use super::keep::Keeper;
use super::verdict::{Piece, after_error};
use super::waiting::OfRun;
use crate::engine::poll::Pace;
use crate::engine::together::Synced;
use crate::engine::{Engine, Stop, knowledge};
use crate::model::{Error, ErrorKind, Instant, Job, Result, Run, definition::Kind, job::Trigger};
use crate::plan::{SESSIONS, is_trading};

/// What the polls of one table came to.
#[derive(Default)]
struct Polls {
    good: u64,
    bad: u64,
    last_error: Option<String>,
}

impl Scheduler {
    pub(super) async fn poll(&self, engine: &Engine, run: &Run, stop: &Stop, keeper: &Keeper) -> Result<Vec<Piece>> {
        let now = self.clock.now();
        let calendar = knowledge::calendar(&*self.store).await?;
        if !is_trading(&calendar, now) {
            return Ok(vec![Piece::Stays { why: "no trading session is on".to_string(), worked: true }]);
        }
        let pace = Pace { every_seconds: self.every_seconds(run).await?, until: session_end(now) };
        let datasets = engine.datasets_of(&run.work)?;
        let polls = datasets.iter().map(|dataset| self.poll_one(engine, dataset, pace, stop, keeper));
        let pieces = futures::future::join_all(polls).await;
        self.tell_whole(engine, &datasets).await?;
        Ok(pieces)
    }

    async fn poll_one(&self, engine: &Engine, dataset: &str, pace: Pace, stop: &Stop, keeper: &Keeper) -> Piece {
        let polls = Mutex::new(Polls::default());
        let mut told = |_: Instant, synced: &[Synced]| {
            let mut polls = polls.lock().unwrap_or_else(PoisonError::into_inner);
            for one in synced {
                one.task.iter().for_each(|task| keeper.note_task(task.id));
                match &one.error {
                    None => polls.good += 1,
                    Some(error) => {
                        polls.bad += 1;
                        polls.last_error = Some(error.to_string());
                    }
                }
            }
        };
        let waiting = OfRun { waiting: &*self.waiting, stop };
        let ended = engine.poll(dataset, pace, stop, &waiting, &mut told).await;
        let polls = polls.into_inner().unwrap_or_else(PoisonError::into_inner);
        let named = |why: &str| format!("{dataset}: {why}");
        match (ended, polls.last_error) {
            (Err(error), _) => after_error(&error, polls.good > 0, self.clock.now()),
            (Ok(()), _) if stop.asked() => {
                let error = Error::new(ErrorKind::Interrupted, named("stopped"));
                after_error(&error, polls.good > 0, self.clock.now())
            }
            (Ok(()), Some(error)) => {
                let why =
                    named(&format!("{} of {} polls failed, the last: {error}", polls.bad, polls.good + polls.bad));
                Piece::Stays { why, worked: polls.good > 0 }
            }
            (Ok(()), None) => Piece::Green,
        }
    }

    async fn every_seconds(&self, run: &Run) -> Result<Option<u32>> {
        let Some(job) = &run.job else { return Ok(None) };
        let definition = self.store.definition(Kind::Job, job).await?;
        let trigger = definition.and_then(|definition| Job::of(&definition).ok()).map(|job| job.trigger);
        Ok(match trigger {
            Some(Trigger::Continuous { every_seconds }) => every_seconds,
            _ => None,
        })
    }
}

/// The end of the session that is on.
fn session_end(now: Instant) -> Option<Instant> {
    let ends = SESSIONS.iter().map(|(_, closes)| Instant::at(now.day(), *closes));
    ends.into_iter().find(|end| *end >= now)
}

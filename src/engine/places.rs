//! Places of calls that several processes share. Every call passes its process's own gate first, which spreads nothing and
//! costs nothing, and then takes a place in the store, so that all processes together stay within the limits.
//!
//! A place is asked for in the name of a task: a process whose task was taken over cannot make a call for it. It is given
//! away again a minute after the answer, as in the gate. A process that dies leaves places behind, which free themselves
//! a minute after the longest time that a call may take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Moment};

use crate::model::{Change, Clock, Commit, Error, ErrorKind, Fence, Instant, Place, Result};
use crate::store::Store;

use super::Engine;
use super::gate::{Gate, Limits, Permit};

/// The window over which sources count calls.
const MINUTE_SECONDS: i64 = 60;
/// How long at most until the store is asked again: places may be answered before they say that they are free.
const LOOK_AGAIN_MS: i64 = 1_000;
/// How long at least, however near the next place is.
const LOOK_AGAIN_MS_MIN: i64 = 10;

/// The places of every source and API that this process takes in a store.
pub struct Places {
    store: Arc<dyn Store>,
    clock: Clock,
    call_seconds_max: u32,
    /// One asks the store at a time for each source and API: the others would only ask the same.
    turns: Mutex<HashMap<(String, String), Turn>>,
    answered: Answers,
}

/// Held by whoever asks the store for a place.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// Places of answered calls, and when each is free: told to the store together with the next question.
type Answers = Arc<Mutex<Vec<(i64, Instant)>>>;

/// The right to make one call, which all processes count. The answer is noted when it is dropped.
pub struct Taken {
    place: i64,
    clock: Clock,
    answered: Answers,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let free_at = self.clock.now().plus_seconds(MINUTE_SECONDS);
        lock(&self.answered).push((self.place, free_at));
    }
}

/// A call that may be made now: its places are given back when this is dropped.
pub struct Passed {
    /// How long the caller waited for it.
    pub waited: Duration,
    /// The store has counted the call as made.
    pub counted: bool,
    _permit: Permit,
    _place: Option<Taken>,
}

/// Passes the gate of this process and then, where several share the quota, that of all.
pub async fn pass(gate: &Arc<Gate>, sharing: Option<&Sharing>, now: Instant) -> Result<Passed> {
    let asked = Moment::now();
    let permit = gate.pass(now).await?;
    let place = match sharing {
        Some(sharing) => sharing.take(gate.limits()).await?,
        None => None,
    };
    Ok(Passed { waited: asked.elapsed(), counted: place.is_some(), _permit: permit, _place: place })
}

/// The places that one task takes at one API.
#[derive(Clone)]
pub struct Sharing {
    pub places: Arc<Places>,
    /// The task in whose name they are taken; `None` for calls that belong to none.
    pub fence: Option<Fence>,
    pub source: String,
    pub api: String,
}

impl Sharing {
    /// Waits for a place; `None` where nothing is limited. `QuotaGone` when the day's calls are used up by whomever.
    pub async fn take(&self, limits: Limits) -> Result<Option<Taken>> {
        if limits == Limits::default() {
            return Ok(None);
        }
        let turn = self.places.turn(&self.source, &self.api);
        let _turn = turn.lock().await;
        loop {
            let now = self.places.clock.now();
            match self.places.ask(self, limits, now).await? {
                Place::Taken(place) => return Ok(Some(self.places.taken(place))),
                Place::FreeAt(at) => tokio::time::sleep(look_again(at, self.places.clock.now())).await,
                Place::DayUsed => return Err(day_used(limits, now)),
            }
        }
    }

    /// A call whose answer takes longer than a place is held is given up.
    pub async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let seconds = self.places.call_seconds_max;
        let limit = Duration::from_secs(u64::from(seconds));
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Transient, format!("no answer within {seconds} s"));
            Err(error.hint("see whether the source can be reached, or raise sync.call_seconds_max"))
        })
    }
}

impl Engine {
    /// The places of calls, for a task or for nobody's; `None` where this process is the only one.
    pub(super) fn sharing(&self, fence: Option<Fence>, source: &str, api: &str) -> Option<Sharing> {
        let sharing = || Sharing { places: self.places.clone(), fence, source: source.into(), api: api.into() };
        self.store.shares_tasks().then(sharing)
    }
}

impl Places {
    pub fn new(store: Arc<dyn Store>, clock: Clock, call_seconds_max: u32) -> Places {
        Places { store, clock, call_seconds_max, turns: Mutex::default(), answered: Answers::default() }
    }

    fn turn(&self, source: &str, api: &str) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.turns).entry((source.to_string(), api.to_string())).or_default().clone()
    }

    fn taken(&self, place: i64) -> Taken {
        Taken { place, clock: self.clock.clone(), answered: self.answered.clone() }
    }

    async fn ask(&self, sharing: &Sharing, limits: Limits, now: Instant) -> Result<Place> {
        let ask = Change::TakePlace {
            source: sharing.source.clone(),
            api: sharing.api.clone(),
            per_minute: limits.per_minute,
            per_day: limits.per_day,
            held_until: now.plus_seconds(i64::from(self.call_seconds_max)),
        };
        let receipt = self.commit(now, sharing.fence, Some(ask)).await?;
        receipt.places.first().copied().ok_or_else(|| Error::bug("asking for a place gave no answer"))
    }

    /// Tells the store of every answer that it has not heard of.
    pub async fn settle(&self) -> Result<()> {
        if lock(&self.answered).is_empty() {
            return Ok(());
        }
        self.commit(self.clock.now(), None, None).await.map(|_| ())
    }

    async fn commit(&self, at: Instant, fence: Option<Fence>, ask: Option<Change>) -> Result<crate::model::Receipt> {
        let answers = Untold { answers: std::mem::take(&mut *lock(&self.answered)), all: &self.answered };
        let told =
            answers.answers.iter().map(|(place, free_at)| Change::AnswerPlace { place: *place, free_at: *free_at });
        let changes = told.chain(ask).collect();
        let receipt = self.store.commit(Commit { at, fence, changes }).await?;
        answers.told();
        Ok(receipt)
    }
}

/// Answers on their way to the store; they go back when that fails or is given up.
struct Untold<'a> {
    answers: Vec<(i64, Instant)>,
    all: &'a Answers,
}

impl Untold<'_> {
    fn told(mut self) {
        self.answers.clear();
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        lock(self.all).append(&mut self.answers);
    }
}

/// How long to wait before asking again for a place that is free at `at`.
fn look_again(at: Instant, now: Instant) -> Duration {
    Duration::from_millis(at.millis_since(now).clamp(LOOK_AGAIN_MS_MIN, LOOK_AGAIN_MS) as u64)
}

fn day_used(limits: Limits, now: Instant) -> Error {
    let until = Some(Instant::at(now.day().next(), 0));
    let calls = limits.per_day.map_or_else(String::new, |limit| format!(" {limit}"));
    let message = format!("all{calls} calls of the day are used");
    Error::new(ErrorKind::QuotaGone { until }, message).hint("run the same command again after midnight")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_for_a_place_is_neither_a_busy_loop_nor_deaf_to_early_answers() {
        let now = Instant(0);
        for (free_in_ms, expected_ms) in [(-5, 10), (3, 10), (400, 400), (90_000, 1_000)] {
            assert_eq!(look_again(now.plus_millis(free_in_ms), now), Duration::from_millis(expected_ms));
        }
    }
}

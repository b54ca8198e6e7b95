//! Quota gates: every call passes the gate of its source and API, and nothing else counts or waits.
//!
//! A source counts a call at some moment between our sending it and its answer. A gate therefore gives a call's
//! place away again a minute after the *answer*: no window of a minute, wherever it begins, ever holds more calls than
//! the limit, and no call is refused. Places are handed out at once, not spread, so a full minute's quota is usable.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant as Moment, sleep_until};

use crate::model::{Day, Error, ErrorKind, Instant, Result};

/// The window over which sources count calls.
const MINUTE: Duration = Duration::from_secs(60);

/// What a gate lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls in any 60 seconds; `None`: no limit.
    pub per_minute: Option<u32>,
    /// Calls per Beijing day; `None`: no limit.
    pub per_day: Option<u64>,
}

/// All gates of a process: one for each source and API.
#[derive(Debug, Default)]
pub struct Gates(Mutex<HashMap<(String, String), Arc<Gate>>>);

impl Gates {
    /// The gate of `api`, opened with `limits` and the calls already made today when it is first asked for.
    pub fn gate(&self, source: &str, api: &str, limits: Limits, used_today: (Day, u64)) -> Arc<Gate> {
        let mut gates = lock(&self.0);
        let gate = gates.entry((source.to_string(), api.to_string()));
        gate.or_insert_with(|| Arc::new(Gate::new(MINUTE, limits, used_today))).clone()
    }
}

/// The gate of one API.
#[derive(Debug)]
pub struct Gate {
    window: Duration,
    state: Mutex<State>,
    answered: Notify,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    in_flight: u32,
    /// When the places of answered calls become free, soonest first.
    taken_until: VecDeque<Moment>,
    /// Closed by a refusal until then.
    closed_until: Option<Moment>,
    day: Day,
    used_today: u64,
}

/// The right to make one call. Its place is given away a minute after it is dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    /// How long the caller waited for it.
    pub waited: Duration,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.gate.state);
        state.in_flight -= 1;
        state.taken_until.push_back(Moment::now() + self.gate.window);
        drop(state);
        self.gate.answered.notify_waiters();
    }
}

/// What stands between a call and its place.
enum Place {
    Free,
    At(Moment),
    /// Every place belongs to a call that has not been answered yet.
    WhenAnswered,
}

impl Gate {
    fn new(window: Duration, limits: Limits, (day, used_today): (Day, u64)) -> Gate {
        let state = State { limits, in_flight: 0, taken_until: VecDeque::new(), closed_until: None, day, used_today };
        Gate { window, state: Mutex::new(state), answered: Notify::new() }
    }

    /// Waits for a place. `QuotaGone` at once when the day's calls are used up.
    pub async fn pass(self: &Arc<Gate>, now: Instant) -> Result<Permit> {
        let asked = Moment::now();
        loop {
            // Registered before looking, so that an answer in between is not missed.
            let mut answered = pin!(self.answered.notified());
            answered.as_mut().enable();
            let place = lock(&self.state).take_place(now)?;
            match place {
                Place::Free => return Ok(Permit { gate: self.clone(), waited: asked.elapsed() }),
                Place::At(moment) => sleep_until(moment).await,
                Place::WhenAnswered => answered.await,
            }
        }
    }

    /// The source refused: nobody passes before `wait` is over.
    pub fn close_for(&self, wait: Duration) {
        let mut state = lock(&self.state);
        let until = Moment::now() + wait;
        state.closed_until = Some(state.closed_until.map_or(until, |closed| closed.max(until)));
    }

    /// A refusal told us a limit lower than the one we knew.
    pub fn learn(&self, learned: Limits) {
        let limits = &mut lock(&self.state).limits;
        limits.per_minute = lower(limits.per_minute, learned.per_minute);
        limits.per_day = lower(limits.per_day, learned.per_day);
    }

    pub fn limits(&self) -> Limits {
        lock(&self.state).limits
    }

    /// Calls counted today and those left in this minute (`None`: unlimited).
    pub fn usage(&self) -> (u64, Option<u32>) {
        let mut state = lock(&self.state);
        state.forget_free(Moment::now());
        let used = state.in_flight + state.taken_until.len() as u32;
        (state.used_today, state.limits.per_minute.map(|limit| limit.saturating_sub(used)))
    }
}

fn lower<T: Ord>(known: Option<T>, learned: Option<T>) -> Option<T> {
    match (known, learned) {
        (Some(known), Some(learned)) => Some(known.min(learned)),
        (known, learned) => known.or(learned),
    }
}

impl State {
    fn take_place(&mut self, now: Instant) -> Result<Place> {
        self.check_day(now)?;
        let moment = Moment::now();
        if let Some(closed) = self.closed_until.filter(|closed| *closed > moment) {
            return Ok(Place::At(closed));
        }
        self.forget_free(moment);
        let used = self.in_flight + self.taken_until.len() as u32;
        if self.limits.per_minute.is_some_and(|limit| used >= limit.max(1)) {
            return Ok(self.taken_until.front().map_or(Place::WhenAnswered, |free| Place::At(*free)));
        }
        self.in_flight += 1;
        self.used_today += 1;
        Ok(Place::Free)
    }

    fn check_day(&mut self, now: Instant) -> Result<()> {
        if now.day() != self.day {
            (self.day, self.used_today) = (now.day(), 0);
        }
        let Some(limit) = self.limits.per_day.filter(|limit| self.used_today >= *limit) else { return Ok(()) };
        let until = Some(Instant::at(self.day.next(), 0));
        let message = format!("all {limit} calls of the day are used");
        Err(Error::new(ErrorKind::QuotaGone { until }, message).hint("run the same command again after midnight"))
    }

    fn forget_free(&mut self, now: Moment) {
        while self.taken_until.front().is_some_and(|free| *free <= now) {
            self.taken_until.pop_front();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(60);

    fn gate(per_minute: Option<u32>, per_day: Option<u64>, used_today: u64) -> Arc<Gate> {
        Arc::new(Gate::new(WINDOW, Limits { per_minute, per_day }, (Day(0), used_today)))
    }

    #[tokio::test]
    async fn no_window_holds_more_calls_than_the_limit_and_places_come_back() {
        let gate = gate(Some(5), None, 0);
        let mut answered = Vec::new();
        for _ in 0..17 {
            let permit = gate.pass(Instant(0)).await.unwrap();
            let passed = Moment::now();
            drop(permit);
            answered.push((passed, Moment::now()));
        }
        for pair in answered.windows(6) {
            let (sixth_sent, first_answered) = (pair[5].0, pair[0].1);
            assert!(sixth_sent - first_answered >= WINDOW - Duration::from_millis(1), "{pair:?}");
        }
    }

    #[tokio::test]
    async fn calls_in_flight_hold_their_places_and_an_answer_wakes_the_waiting() {
        let gate = gate(Some(1), None, 0);
        let first = gate.pass(Instant(0)).await.unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass(Instant(0)).await.map(|permit| permit.waited) }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn the_day_ends_with_its_quota_and_a_new_day_opens_again() {
        let gate = gate(None, Some(3), 2);
        drop(gate.pass(Instant::at(Day(0), 0)).await.unwrap());
        let error = gate.pass(Instant::at(Day(0), 5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaGone { until: Some(Instant::at(Day(1), 0)) });
        assert!(gate.pass(Instant::at(Day(1), 0)).await.is_ok());
    }

    #[tokio::test]
    async fn a_refusal_closes_the_gate_and_teaches_the_limit() {
        let gate = gate(None, None, 0);
        let started = Moment::now();
        gate.close_for(WINDOW);
        gate.learn(Limits { per_minute: Some(2), per_day: None });
        drop(gate.pass(Instant(0)).await.unwrap());
        assert!(started.elapsed() >= WINDOW);
        assert_eq!(gate.usage(), (1, Some(1)));
    }
}

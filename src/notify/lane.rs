//! The lane of one subscription: its own queue, its own slots, its own pace. What happens to one endpoint is not felt by the
//! others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::attempt::{Carrier, Job, Landed, Tried, What, attempt};
use super::batch;
use super::health::{Permit, Signal, Standing, shows_life};
use super::index::Subscriber;
use super::outcome::Meaning;
use super::pace::{Pace, Quiet};
use super::queue::{Entry, Queue, Want};
use super::standing::{self, Becomes};
use super::subscribers::Subscribers;
use crate::dialect::webhook::Keyring;
use crate::engine::Stop;
use crate::model::{DeliveriesWanted, Instant, Mode, Result, SubscriptionState, Then};

/// Nothing is looked at again later than this: a clock may have been set.
const LOOK_MS: i64 = 60_000;
/// After an error of the store.
const ERROR_MS: i64 = 1_000;
/// Deliveries that may wait to be taken by a lane; more of them stay in the store.
const NEWS_MAX: usize = 10_000;
/// Failures in a row after which an endpoint gets one request at a time.
const ONE_SLOT_AFTER: u32 = 3;

/// What a lane is told by others.
#[derive(Default)]
pub struct News {
    held: Mutex<Held>,
    told: Notify,
}

#[derive(Default)]
struct Held {
    matched: Vec<(Vec<Entry>, u64)>,
    count: usize,
    behind: bool,
    reread: bool,
    at_once: bool,
    changed: Option<Arc<Subscriber>>,
    ends: bool,
}

impl News {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deliveries of events up to `to` are in the store.
    pub fn matched(&self, entries: Vec<Entry>, to: u64) {
        let mut held = self.held();
        if held.count + entries.len() > NEWS_MAX || held.behind {
            held.matched.clear();
            (held.count, held.behind) = (0, true);
        } else {
            held.count += entries.len();
            held.matched.push((entries, to));
        }
        drop(held);
        self.told.notify_one();
    }

    /// Something else was changed in the store; `at_once`: a person wants it tried now.
    pub fn reread(&self, at_once: bool) {
        let mut held = self.held();
        held.reread = true;
        held.at_once |= at_once;
        drop(held);
        self.told.notify_one();
    }

    /// The subscription or its secrets were changed.
    pub fn changed(&self, subscriber: Arc<Subscriber>) {
        self.held().changed = Some(subscriber);
        self.told.notify_one();
    }

    /// The subscription is gone.
    pub fn ends(&self) {
        self.held().ends = true;
        self.told.notify_one();
    }
}

pub struct Lane {
    carrier: Arc<Carrier>,
    subscribers: Subscribers,
    subscriber: Arc<Subscriber>,
    keyring: Arc<Keyring>,
    news: Arc<News>,
    queue: Queue,
    pace: Pace,
    quiet: Arc<Quiet>,
    standing: Standing,
    /// The store could not be read: not again before.
    unread_until: Instant,
    gone: bool,
}

impl Lane {
    pub fn new(carrier: Arc<Carrier>, subscribers: Subscribers, subscriber: Arc<Subscriber>, news: Arc<News>) -> Lane {
        Lane {
            queue: Queue::new(carrier.options.queue),
            pace: Pace::new(subscriber.subscription.per_second),
            quiet: Arc::default(),
            carrier,
            subscribers,
            subscriber,
            keyring: Arc::default(),
            news,
            standing: Standing::default(),
            unread_until: Instant::default(),
            gone: false,
        }
    }

    fn now(&self) -> Instant {
        self.carrier.clock.now()
    }

    /// Delivers until stopping is asked for or the subscription is gone; what is under way then is finished.
    pub async fn run(mut self, ending: Stop) {
        let mut attempts: JoinSet<Landed> = JoinSet::new();
        while let Err(error) = self.begin().await {
            tracing::warn!(subscription = self.subscriber.name, %error, "a lane waits for the store");
            if !ending.sleep(Duration::from_millis(ERROR_MS as u64)).await {
                return;
            }
        }
        loop {
            self.pace.hold_until(self.quiet.take());
            self.read_news().await;
            let ends = ending.asked() || self.gone;
            if ends && attempts.is_empty() {
                return;
            }
            if !ends && self.is_open() {
                self.fill().await;
                self.launch(&mut attempts);
            }
            let sleep = self.sleep(attempts.len());
            tokio::select! {
                Some(landed) = attempts.join_next(), if !attempts.is_empty() => match landed {
                    Ok(landed) => self.landed(landed).await,
                    Err(error) => {
                        tracing::error!(subscription = self.subscriber.name, %error, "an attempt broke off");
                        // Nobody knows which it was: all that are under way go out again.
                        attempts.abort_all();
                        while attempts.join_next().await.is_some() {}
                        self.queue = Queue::new(self.carrier.options.queue);
                        self.standing = standing::unprobed(self.standing);
                    }
                },
                () = self.news.told.notified() => {}
                () = tokio::time::sleep(sleep) => {}
                () = ending.wait(), if !ending.asked() => {}
            }
        }
    }

    /// What attempts until now say of the endpoint.
    async fn begin(&mut self) -> Result<()> {
        let (name, limits) = (&self.subscriber.name, &self.carrier.options.health);
        self.keyring = Arc::new(self.subscribers.keyring(name).await?);
        let known = standing::from_history(&*self.carrier.store, name, limits).await?;
        self.standing = match self.subscriber.subscription.state {
            SubscriptionState::Failing => standing::paused(known.failures, self.now()),
            _ => standing::free(known.failures, limits),
        };
        if let Some(quiet_until) = known.quiet_until {
            self.pace.hold_until(quiet_until);
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        matches!(self.subscriber.subscription.state, SubscriptionState::Active | SubscriptionState::Failing)
    }

    async fn read_news(&mut self) {
        let held = std::mem::take(&mut *self.news.held());
        self.gone |= held.ends;
        for (entries, to) in held.matched {
            self.queue.matched(entries, to);
        }
        if held.behind {
            self.queue.fell_behind();
        }
        if held.reread {
            self.queue.reread();
        }
        if held.at_once {
            self.pace.release();
            if let Standing::Paused { failures, probing: false, .. } = self.standing {
                self.standing = standing::paused(failures, self.now());
            }
        }
        if let Some(subscriber) = held.changed {
            self.change(subscriber).await;
        }
    }

    async fn change(&mut self, subscriber: Arc<Subscriber>) {
        let before = self.subscriber.subscription.state;
        let now_open = subscriber.subscription.state == SubscriptionState::Active;
        if now_open && before != SubscriptionState::Active {
            // A person, or a probe that worked, opens it again.
            self.standing = Standing::default();
            self.pace.release();
        }
        if subscriber.subscription.state == SubscriptionState::Failing && before != SubscriptionState::Failing {
            self.standing = match self.standing {
                paused @ Standing::Paused { .. } => paused,
                _ => standing::paused(0, self.now()),
            };
        }
        self.pace.change(subscriber.subscription.per_second);
        self.subscriber = subscriber;
        match self.subscribers.keyring(&self.subscriber.name).await {
            Ok(keyring) => self.keyring = Arc::new(keyring),
            Err(error) => {
                tracing::warn!(subscription = self.subscriber.name, %error, "the secrets cannot be read; trying again");
                self.news.held().changed.get_or_insert(self.subscriber.clone());
                self.unread_until = self.now().plus_millis(ERROR_MS);
            }
        }
    }

    /// Reads what the queue has room for.
    async fn fill(&mut self) {
        while let Some(want) = self.queue.want().filter(|_| self.now() >= self.unread_until) {
            if let Err(error) = self.read(want).await {
                tracing::warn!(subscription = self.subscriber.name, %error, "what waits cannot be read");
                self.unread_until = self.now().plus_millis(ERROR_MS);
            }
        }
    }

    async fn read(&mut self, want: Want) -> Result<()> {
        let options = self.carrier.options.queue;
        let (after, key, limit) = match &want {
            Want::After(after) => (*after, None, options.held / 2 + 1),
            Want::Key { key, after } => (*after, Some(key.to_string()), options.held_per_key),
        };
        let subscription = Some(self.subscriber.name.clone());
        let wanted = DeliveriesWanted { subscription, key, after, limit, ..DeliveriesWanted::default() };
        let found = self.carrier.store.deliveries(&wanted).await?;
        let whole = found.len() < limit;
        match want {
            Want::After(_) => self.queue.page(&found, whole),
            Want::Key { key, .. } => self.queue.key_page(&key, &found, whole),
        }
        Ok(())
    }

    fn slots(&self) -> usize {
        let failures = match self.standing {
            Standing::Well { failures } | Standing::Warned { failures } | Standing::Paused { failures, .. } => failures,
        };
        let is_batch = self.subscriber.subscription.mode != Mode::Realtime;
        match is_batch || failures >= ONE_SLOT_AFTER {
            true => 1,
            false => self.carrier.options.requests_per_subscription.max(1),
        }
    }

    fn launch(&mut self, attempts: &mut JoinSet<Landed>) {
        let now = self.now();
        self.pace.hold_until(self.quiet.take());
        while attempts.len() < self.slots() && self.pace.free_at() <= now {
            let probe = match self.standing.permit(now) {
                Permit::Free => false,
                Permit::Probe if attempts.is_empty() => true,
                Permit::Probe | Permit::Until(_) | Permit::AwaitProbe => return,
            };
            // Whatever waits may show whether the endpoint is back.
            let until = if probe { Instant(i64::MAX) } else { now };
            let entries = match &self.subscriber.subscription.mode {
                Mode::Realtime => self.queue.start(until).into_iter().collect(),
                mode @ Mode::Batch { size, .. } => {
                    let early = batch::goes_when_full(mode) && self.queue.fresh() >= *size;
                    self.queue.start_batch(until, *size, early)
                }
            };
            if entries.is_empty() {
                return;
            }
            if probe {
                self.standing = self.standing.probing();
            }
            self.pace.take(now);
            let (subscriber, keyring, quiet) = (self.subscriber.clone(), self.keyring.clone(), self.quiet.clone());
            attempts.spawn(attempt(self.carrier.clone(), Job { subscriber, keyring, entries, probe, quiet }));
        }
    }

    /// Until something may go out that cannot now.
    fn sleep(&self, under_way: usize) -> Duration {
        let now = self.now();
        let mut at = now.plus_millis(LOOK_MS);
        if self.is_open() && !self.gone {
            let free = self.pace.free_at().max(self.unread_until);
            let next = match self.standing.permit(now) {
                Permit::AwaitProbe => None,
                Permit::Until(until) => self.queue.next_at().map(|_| until.max(free)),
                Permit::Probe => self.queue.next_at().map(|_| free).filter(|_| under_way == 0),
                Permit::Free => self.queue.next_at().map(|next| next.max(free)),
            };
            let next = next.filter(|_| under_way < self.slots());
            let read = self.queue.want().map(|_| self.unread_until);
            at = next.into_iter().chain(read).chain([at]).min().unwrap_or(at);
        }
        // A wake that comes a little early would find nothing to do.
        Duration::from_micros(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0) + 50)
    }

    async fn landed(&mut self, landed: Landed) {
        let Landed { entries, what } = landed;
        if !matches!(what, What::Tried(_)) {
            self.standing = standing::unprobed(self.standing);
        }
        match what {
            What::Untried => {
                self.queue.untried(&entries);
                self.unread_until = self.now().plus_millis(ERROR_MS);
                self.pace.hold_until(self.unread_until);
            }
            What::Postponed { at } => self.queue.again(&entries, at, false),
            What::LeftOut => self.queue.settled(&entries),
            What::Tried(tried) => {
                match tried.verdict.then {
                    Then::Done | Then::Parked => self.queue.settled(&entries),
                    Then::Again { at } => self.queue.again(&entries, at, true),
                    Then::Dead => self.queue.died(&entries),
                }
                self.judged(&tried).await;
            }
        }
    }

    /// What an answer says of the endpoint.
    async fn judged(&mut self, tried: &Tried) {
        let now = self.now();
        if let Mode::Batch { pause_ms, .. } = self.subscriber.subscription.mode {
            self.pace.hold_until(now.plus_millis(i64::try_from(pause_ms).unwrap_or(i64::MAX)));
        }
        if tried.meaning == Meaning::Gone {
            return self.become_state(Becomes::Gone, 1, tried.of_gate).await;
        }
        let alive = shows_life(tried.meaning, tried.status);
        let (next, signal) = self.standing.after(alive, now, &self.carrier.options.health);
        self.standing = next;
        let failures = match next {
            Standing::Well { failures } | Standing::Warned { failures } | Standing::Paused { failures, .. } => failures,
        };
        match signal {
            None | Some(Signal::StillPaused) => {}
            Some(Signal::Warned) => self.become_state(Becomes::Warned, failures, tried.of_gate).await,
            Some(Signal::Paused) => self.become_state(Becomes::Paused, failures, tried.of_gate).await,
            Some(Signal::Recovered) => self.become_state(Becomes::Recovered, failures, tried.of_gate).await,
        }
    }

    async fn become_state(&mut self, becomes: Becomes, failures: u32, quietly: bool) {
        match standing::become_state(&self.carrier, &self.subscriber.name, (becomes, failures), quietly).await {
            Ok(Some(subscriber)) => self.subscriber = subscriber,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(subscription = self.subscriber.name, %error, "the state of a subscription is not written");
            }
        }
    }
}

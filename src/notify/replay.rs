//! Replays: events of a window of the log go out again to one subscription, at a pace of their own. What is asked for is a
//! definition; how far it has come is a place in the store, moved by the commit that writes the deliveries down.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::Carrier;
use super::content::{Contents, Told};
use super::index::{Index, Subscriber};
use super::lanes::Lanes;
use super::matching::{delivery, facts};
use super::subscribers::Subscribers;
use crate::engine::Stop;
use crate::feed::Feed;
use crate::model::definition::Kind;
use crate::model::{
    AttemptOutcome, AttemptsWanted, Change, Clock, Commit, Definition, DeliveriesWanted, DeliveryState, Error,
    ErrorKind, Event, EventType, Instant, Result,
};
use crate::store::Store;

/// The series of their numbers.
const SERIES: &str = "replay";
/// Events that are looked at in one step.
const STEP: usize = 500;
/// Deliveries of a subscription beyond which a replay waits for them to go out.
const WAITING_MAX: usize = 2_000;
/// Between two looks at what cannot go on.
const WAIT: Duration = Duration::from_millis(250);
/// After an error.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a change is tried again over somebody else's.
const TRIES: usize = 3;
/// Attempts of one step's events that are looked through.
const ATTEMPTS_MAX: usize = 100_000;

/// Which events go out again, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub subscription: String,
    /// Event numbers, both included.
    pub from: u64,
    pub to: u64,
    /// Event types as in subscriptions; none: all that the subscription wants.
    #[serde(default)]
    pub types: Vec<String>,
    /// Only what never arrived.
    #[serde(default)]
    pub only_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    Running,
    Paused,
    Done,
    Cancelled,
}

impl ReplayState {
    pub fn name(self) -> &'static str {
        match self {
            ReplayState::Running => "running",
            ReplayState::Paused => "paused",
            ReplayState::Done => "done",
            ReplayState::Cancelled => "cancelled",
        }
    }

    fn is_open(self) -> bool {
        matches!(self, ReplayState::Running | ReplayState::Paused)
    }
}

/// A replay as it is defined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    pub window: Window,
    /// Events a second; absent: as fast as they go out.
    #[serde(default)]
    pub per_second: Option<f64>,
    pub state: ReplayState,
    pub by: String,
    /// RFC 3339.
    pub at: String,
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The last event that was looked at.
    pub at: u64,
    /// Deliveries that were asked for.
    pub matched: u64,
}

/// A replay with its number and its progress.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayStatus {
    pub number: u64,
    pub revision: u64,
    pub replay: Replay,
    pub progress: Progress,
}

fn place(number: u64) -> String {
    format!("replay:{number}")
}

fn missing(number: u64) -> Error {
    Error::not_found(format!("there is no replay {number}")).hint("see `tidegate deliveries replays`")
}

async fn status(store: &dyn Store, definition: &Definition) -> Result<ReplayStatus> {
    let unreadable = || Error::storage(format!("the replay {} cannot be read", definition.name));
    let replay: Replay = serde_json::from_value(definition.body.clone()).map_err(|_| unreadable())?;
    let number = definition.name.parse().map_err(|_| unreadable())?;
    let noted = store.place(&place(number)).await?;
    let fresh = Progress { at: replay.window.from.saturating_sub(1), matched: 0 };
    let progress = noted.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(fresh);
    Ok(ReplayStatus { number, revision: definition.revision, replay, progress })
}

/// Every replay, the newest first.
pub async fn list(store: &dyn Store) -> Result<Vec<ReplayStatus>> {
    let mut found = Vec::new();
    for definition in store.definitions(Kind::Replay).await? {
        found.push(status(store, &definition).await?);
    }
    found.sort_by_key(|status| std::cmp::Reverse(status.number));
    Ok(found)
}

pub async fn get(store: &dyn Store, number: u64) -> Result<ReplayStatus> {
    match store.definition(Kind::Replay, &number.to_string()).await? {
        Some(definition) => status(store, &definition).await,
        None => Err(missing(number)),
    }
}

fn define(number: u64, replay: &Replay, expect: u64) -> Result<Change> {
    let unwritable = |error| Error::bug("a replay cannot be written").caused_by(error);
    let body = serde_json::to_value(replay).map_err(unwritable)?;
    Ok(Change::Define { kind: Kind::Replay, name: number.to_string(), body, expect: Some(expect) })
}

/// The changes that begin a replay.
async fn begins(store: &dyn Store, replay: &Replay) -> Result<(u64, Vec<Change>)> {
    let number = store.next_number(SERIES).await?;
    let numbered = Change::Number { series: SERIES.to_owned(), first: number, count: 1 };
    Ok((number, vec![numbered, define(number, replay, 0)?]))
}

/// The replay that brings a new subscription from its beginning up to where matching stands.
pub(super) async fn beginning(
    store: &dyn Store,
    subscriber: &Subscriber,
    to: u64,
    now: Instant,
) -> Result<Vec<Change>> {
    let from = subscriber.subscription.after.unwrap_or(0) + 1;
    let subscription = subscriber.name.clone();
    let window = Window { subscription, from, to, types: Vec::new(), only_failed: false };
    let by = "subscription".to_owned();
    let replay = Replay { window, per_second: None, state: ReplayState::Running, by, at: now.to_string() };
    Ok(begins(store, &replay).await?.1)
}

/// Starts a replay.
pub async fn start(
    store: &dyn Store,
    clock: &Clock,
    window: Window,
    per_second: Option<f64>,
    by: &str,
) -> Result<ReplayStatus> {
    check(store, &window).await?;
    if per_second.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(Error::invalid("per_second is not above 0").hint("leave it out for no limit"));
    }
    let at = clock.now();
    let replay = Replay { window, per_second, state: ReplayState::Running, by: by.to_owned(), at: at.to_string() };
    for _ in 0..TRIES {
        let (number, changes) = begins(store, &replay).await?;
        match store.commit(Commit { at, fence: None, changes }).await {
            Ok(_) => return get(store, number).await,
            // Another one has just taken the number.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::conflict("others begin replays at the same time").hint("try again"))
}

async fn check(store: &dyn Store, window: &Window) -> Result<()> {
    if window.from == 0 || window.to < window.from {
        let error = Error::invalid(format!("the window from event {} to {} is empty", window.from, window.to));
        return Err(error.hint("name the first and the last event, or a time from and a later one until"));
    }
    match store.definition(Kind::Subscription, &window.subscription).await? {
        Some(_) => Ok(()),
        None => {
            let error = Error::not_found(format!("there is no subscription {:?}", window.subscription));
            Err(error.hint("see `tidegate subscriptions`"))
        }
    }
}

/// Pauses, resumes or cancels a replay.
pub async fn change(store: &dyn Store, clock: &Clock, number: u64, state: ReplayState) -> Result<ReplayStatus> {
    let before = get(store, number).await?;
    if !before.replay.state.is_open() {
        let error = Error::conflict(format!("replay {number} is {} and stays so", before.replay.state.name()));
        return Err(error.hint("start another one"));
    }
    let changes = vec![define(number, &Replay { state, ..before.replay }, before.revision)?];
    store.commit(Commit { at: clock.now(), fence: None, changes }).await?;
    get(store, number).await
}

/// The number of the first event at or after an instant; one beyond the last when there is none.
pub async fn number_at(store: &dyn Store, head: u64, at: Instant) -> Result<u64> {
    let (mut low, mut high) = (1, head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match store.events(middle - 1, 1).await?.first() {
            Some(event) if event.at < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// What a step of a replay found.
struct Found {
    told: Vec<Arc<Told>>,
    /// The last event that was looked at.
    to: u64,
}

/// Looks at some events of a window.
struct Looker<'a> {
    store: &'a dyn Store,
    contents: &'a Contents,
    index: &'a Index,
    window: &'a Window,
}

impl Looker<'_> {
    async fn step(&self, after: u64, limit: usize) -> Result<Found> {
        let left = usize::try_from(self.window.to.saturating_sub(after)).unwrap_or(usize::MAX);
        let events = self.store.events(after, limit.min(left).max(1)).await?;
        let events: Vec<Arc<Event>> =
            events.into_iter().filter(|event| event.id <= self.window.to).map(Arc::new).collect();
        let to = events.last().map_or(self.window.to, |event| event.id);
        let mut told = self.contents.of_events(&events).await?;
        told.retain(|told| self.wants(told));
        if self.window.only_failed && !told.is_empty() {
            let arrived = self.arrived(after + 1, to).await?;
            told.retain(|told| !arrived.contains(&told.message.event));
        }
        Ok(Found { told, to })
    }

    fn wants(&self, told: &Told) -> bool {
        let facts = facts(told);
        let of_type = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => facts.kind.starts_with(beginning),
            None => facts.kind == wanted,
        };
        let wanted = self.window.types.is_empty() || self.window.types.iter().any(of_type);
        wanted && self.index.matching(&facts).iter().any(|found| found.name == self.window.subscription)
    }

    /// Events that have arrived before.
    async fn arrived(&self, from: u64, to: u64) -> Result<Vec<u64>> {
        let wanted = AttemptsWanted {
            subscription: Some(self.window.subscription.clone()),
            events: Some((from, to)),
            outcome: Some(AttemptOutcome::Delivered),
            limit: ATTEMPTS_MAX,
            ..AttemptsWanted::default()
        };
        Ok(self.store.attempts(&wanted).await?.into_iter().map(|attempt| attempt.event).collect())
    }
}

/// What a replay would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Events that were looked at.
    pub looked_at: u64,
    pub matched: u64,
    /// The whole window was looked at; else there may be more.
    pub whole: bool,
    /// How many of each type.
    pub types: std::collections::BTreeMap<String, u64>,
}

/// Counts what a replay would send, in at most so many events of its window. Nothing is written.
pub async fn preview(store: &Arc<dyn Store>, feed: &Feed, window: &Window, events_max: u64) -> Result<Preview> {
    check(&**store, window).await?;
    let contents = Contents::new(store.clone(), feed.clone(), 0);
    let index = Index::of(&store.definitions(Kind::Subscription).await?);
    let to = window.to.min(feed.head());
    let window = Window { to, ..window.clone() };
    let looker = Looker { store: &**store, contents: &contents, index: &index, window: &window };
    let mut preview = Preview::default();
    let mut at = window.from - 1;
    while at < to && preview.looked_at < events_max {
        let found = looker.step(at, STEP).await?;
        preview.looked_at += found.to - at;
        at = found.to;
        preview.matched += found.told.len() as u64;
        for told in found.told {
            *preview.types.entry(told.message.kind.clone()).or_default() += 1;
        }
    }
    preview.whole = at >= to;
    Ok(preview)
}

/// Carries the replays of a term out.
pub struct Replays {
    carrier: Arc<Carrier>,
    subscribers: Subscribers,
    lanes: Arc<Lanes>,
    feed: Feed,
}

impl Replays {
    pub fn new(carrier: Arc<Carrier>, subscribers: Subscribers, lanes: Arc<Lanes>, feed: Feed) -> Replays {
        Replays { carrier, subscribers, lanes, feed }
    }

    /// Until the end is asked for.
    pub async fn run(&self, ending: &Stop) {
        while !ending.asked() {
            let seen = self.feed.head();
            let wait = match self.round().await {
                Ok(Some(wait)) => wait,
                Ok(None) => {
                    tokio::select! {
                        () = self.asked_for(seen) => {}
                        () = ending.wait() => {}
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "replays wait");
                    AGAIN
                }
            };
            ending.sleep(wait).await;
        }
    }

    /// Returns when a replay was started or changed.
    async fn asked_for(&self, seen: u64) {
        let mut events = self.feed.follow(seen);
        let of_replay = |event: &Arc<Event>| {
            event.kind == EventType::DefinitionChanged && event.data["kind"] == Kind::Replay.name()
        };
        while let Ok(taken) = events.next(STEP).await {
            if taken.iter().any(of_replay) {
                return;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }

    /// One step of every replay that runs; when to go on, `None`: none runs.
    async fn round(&self) -> Result<Option<Duration>> {
        let mut wait = None;
        for status in list(&*self.carrier.store).await? {
            if status.replay.state == ReplayState::Running {
                let next = self.step(status).await?;
                wait = Some(wait.map_or(next, |wait: Duration| wait.min(next)));
            }
        }
        Ok(wait)
    }

    async fn step(&self, status: ReplayStatus) -> Result<Duration> {
        let ReplayStatus { number, revision, replay, progress } = status;
        let index = self.subscribers.index();
        let window = &replay.window;
        let Some(subscriber) = index.get(&window.subscription) else {
            return self.finish(number, revision, &replay, ReplayState::Cancelled).await;
        };
        let wanted = DeliveriesWanted {
            subscription: Some(window.subscription.clone()),
            state: Some(DeliveryState::Waiting),
            limit: WAITING_MAX,
            ..DeliveriesWanted::default()
        };
        if self.carrier.store.deliveries(&wanted).await?.len() >= WAITING_MAX {
            return Ok(WAIT);
        }
        // At most what a quarter of a second allows.
        let allowed = replay.per_second.map_or(STEP, |rate| (rate * WAIT.as_secs_f64()).max(1.0) as usize);
        let looker = Looker { store: &*self.carrier.store, contents: &self.carrier.contents, index: &index, window };
        let mut found = looker.step(progress.at, STEP).await?;
        if found.told.len() > allowed {
            found.told.truncate(allowed);
            found.to = found.told.last().map_or(found.to, |told| told.message.event);
        }
        let now = self.carrier.clock.now();
        let by = place(number);
        let deliveries: Vec<_> = found.told.iter().filter_map(|told| delivery(subscriber, told, &by, now)).collect();
        let matched = progress.matched + deliveries.len() as u64;
        let sent = deliveries.len();
        let after = serde_json::json!(Progress { at: found.to, matched }).to_string();
        let changes = vec![Change::Deliver(deliveries), Change::Stand { name: by, place: after }];
        self.carrier.term.commit(changes).await?;
        if sent > 0 {
            self.lanes.reread(&window.subscription, false);
        }
        if found.to >= window.to {
            return self.finish(number, revision, &replay, ReplayState::Done).await;
        }
        Ok(match replay.per_second {
            Some(rate) => Duration::try_from_secs_f64(sent as f64 / rate).unwrap_or(WAIT),
            None => Duration::ZERO,
        })
    }

    async fn finish(&self, number: u64, revision: u64, replay: &Replay, state: ReplayState) -> Result<Duration> {
        let changes = vec![define(number, &Replay { state, ..replay.clone() }, revision)?];
        match self.carrier.term.commit(changes).await {
            // A person has just changed it; it is looked at again.
            Err(error) if error.kind() == ErrorKind::Conflict && self.carrier.term.lasts() => Ok(WAIT),
            other => other.map(|_| Duration::ZERO),
        }
    }
}

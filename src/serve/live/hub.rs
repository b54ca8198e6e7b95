//! The hub: follows the log once for all sockets and hands each message, made once, to everybody who listens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant as Moment, interval, sleep, sleep_until, timeout};

use super::channel::{Channel, Teller, overview};
use super::frames::{self, Close, EXPIRED, Position, Publication, SLOW};
use super::{Figures, SocketOptions};
use crate::feed::{EPOCH_OF_NOTHING, Feed};
use crate::model::{Event, EventType, Result};

/// Events that are told together, at most.
const EVENTS_AT_ONCE: usize = 256;
/// How often the overview is told to have changed, at most.
const OVERVIEW_PAUSE: Duration = Duration::from_secs(1);
/// Recoveries that are put together at the same time.
const RECOVERIES_AT_ONCE: usize = 4;
/// How long to wait for events that a client has seen and this process has not: another process told it of them.
const CATCH_UP_WAIT: Duration = Duration::from_secs(2);
/// How long to wait before the store is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// A socket as the hub knows it.
pub struct Member {
    id: u64,
    /// The names of its key and of its session.
    names: Vec<String>,
    queue: mpsc::Sender<Utf8Bytes>,
    cut: watch::Sender<Option<Close>>,
}

impl Member {
    /// Never waits: a socket that cannot take one more is cut off.
    pub fn give(&self, frame: impl Into<Utf8Bytes>) -> bool {
        match self.queue.try_send(frame.into()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.cut(SLOW);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Closes the socket; the first reason counts.
    fn cut(&self, close: Close) {
        self.cut.send_if_modified(|cut| cut.is_none() && cut.replace(close).is_none());
    }
}

/// Who listens to a channel.
#[derive(Default)]
struct Audience {
    /// Up to where its messages reach.
    prev: u64,
    members: HashMap<u64, Arc<Member>>,
}

#[derive(Default)]
struct State {
    /// The log has been told up to here.
    cursor: u64,
    channels: HashMap<Channel, Audience>,
    members: HashMap<u64, Arc<Member>>,
}

/// What all sockets share.
pub struct Hub {
    pub feed: Feed,
    pub options: SocketOptions,
    pub figures: Figures,
    teller: Teller,
    state: Mutex<State>,
    recoveries: Semaphore,
    numbers: AtomicU64,
}

/// The place of a socket, given back when it is dropped.
pub struct Seat {
    hub: Arc<Hub>,
    pub member: Arc<Member>,
    pub queue: mpsc::Receiver<Utf8Bytes>,
    pub cut: watch::Receiver<Option<Close>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.members.remove(&self.member.id);
        state.channels.retain(|_, audience| {
            audience.members.remove(&self.member.id);
            !audience.members.is_empty()
        });
    }
}

impl Hub {
    pub fn new(feed: Feed, teller: Teller, options: SocketOptions) -> Hub {
        let state = Mutex::new(State { cursor: feed.head(), ..State::default() });
        let recoveries = Semaphore::new(RECOVERIES_AT_ONCE);
        let (figures, numbers) = (Figures::default(), AtomicU64::default());
        Hub { feed, options, figures, teller, state, recoveries, numbers }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sockets that are open.
    pub fn sockets(&self) -> usize {
        self.state().members.len()
    }

    /// Channels that are listened to, summed over the sockets.
    pub fn subscriptions(&self) -> usize {
        self.state().channels.values().map(|audience| audience.members.len()).sum()
    }

    /// A place for one more socket; `None` when there is none.
    pub fn enter(self: &Arc<Hub>, key: &str, session: Option<&str>) -> Option<Seat> {
        let mut state = self.state();
        if state.members.len() >= self.options.sockets {
            return None;
        }
        let id = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, queue) = mpsc::channel(self.options.queue);
        let (cut_sender, cut) = watch::channel(None);
        let names = std::iter::once(key).chain(session).map(str::to_string).collect();
        let member = Arc::new(Member { id, names, queue: sender, cut: cut_sender });
        state.members.insert(id, member.clone());
        Some(Seat { hub: self.clone(), member, queue, cut })
    }

    /// Listens from where the log has been told. The answer comes before every push.
    pub fn subscribe(&self, channel: &Channel, member: &Arc<Member>, id: u64) {
        let mut state = self.state();
        let position = self.position(state.cursor);
        if member.give(frames::subscribed(id, &position)) {
            state.listen(channel, member);
        }
    }

    /// Listens from where the client stands, when everything since then can be told; else from here on, and the client is
    /// told so.
    pub async fn recover(&self, channel: &Channel, member: &Arc<Member>, id: u64, from: &Position) -> Result<()> {
        if from.epoch == self.feed.epoch() {
            // Another process may have told of events that this one has not seen. Without them the position is refused.
            drop(timeout(CATCH_UP_WAIT, self.feed.wait(from.offset.saturating_sub(1))).await);
        }
        if !self.proves(from) {
            self.begin_anew(channel, member, id);
            return Ok(());
        }
        let _place = self.recoveries.acquire().await;
        let (mut missed, mut known) = (Vec::new(), from.offset);
        loop {
            loop {
                let events = self.feed.since(known, EVENTS_AT_ONCE).await?;
                let Some(last) = events.last().map(|event| event.id) else { break };
                missed.extend(self.teller.tell(channel, &events).await?);
                known = last;
            }
            let answer = frames::recovered(id, &self.position(known), Some((from.offset, &missed)));
            if answer.len() > self.options.recover_bytes {
                self.begin_anew(channel, member, id);
                return Ok(());
            }
            let mut state = self.state();
            if state.cursor <= known {
                self.figures.recoveries.fetch_add(1, Ordering::Relaxed);
                if member.give(answer) {
                    state.listen(channel, member);
                }
                return Ok(());
            }
        }
    }

    /// Listens from here on, without what was missed.
    fn begin_anew(&self, channel: &Channel, member: &Arc<Member>, id: u64) {
        self.figures.recoveries_refused.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let position = self.position(state.cursor);
        if member.give(frames::recovered(id, &position, None)) {
            state.listen(channel, member);
        }
    }

    pub fn unsubscribe(&self, channel: &Channel, member: &Member) {
        let mut state = self.state();
        if let Some(audience) = state.channels.get_mut(channel) {
            audience.members.remove(&member.id);
            if audience.members.is_empty() {
                state.channels.remove(channel);
            }
        }
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.feed.epoch().to_string(), offset }
    }

    /// Whether all that followed a position can be told: it is one of this log, and not too far back.
    fn proves(&self, from: &Position) -> bool {
        let head = self.feed.head();
        // A log without events is the beginning of every log.
        let ours = from.epoch == self.feed.epoch() || (from.epoch == EPOCH_OF_NOTHING && from.offset == 0);
        ours && from.offset <= head && head - from.offset <= self.options.recover as u64
    }

    /// Tells what happens, for as long as the process lives.
    pub async fn run(self: Arc<Hub>) {
        let mut follower = self.feed.follow(self.state().cursor);
        let mut beat = interval(self.options.heartbeat);
        let mut overview_at: Option<Moment> = None;
        let mut overview_told = Moment::now();
        loop {
            let due = overview_at.unwrap_or_else(|| Moment::now() + OVERVIEW_PAUSE);
            tokio::select! {
                events = follower.next(EVENTS_AT_ONCE) => match events {
                    Ok(events) => {
                        self.tell(&events).await;
                        overview_at.get_or_insert(overview_told + OVERVIEW_PAUSE);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "sockets wait for the event log");
                        sleep(AGAIN).await;
                    }
                },
                () = sleep_until(due), if overview_at.is_some() => {
                    (overview_at, overview_told) = (None, Moment::now());
                    self.tell_overview();
                }
                _ = beat.tick() => self.mark(),
            }
        }
    }

    /// Tells these events on every channel that somebody listens to.
    async fn tell(&self, events: &[Arc<Event>]) {
        let mut told: HashMap<Channel, Vec<Publication>> = HashMap::new();
        loop {
            // Somebody may have come to listen to one more channel in the meantime.
            let Err(missing) = self.state().deliver(events, &told, self.feed.epoch(), &self.figures) else { return };
            for channel in missing {
                let publications = match channel {
                    // Told on its own, less often.
                    Channel::Overview => Ok(Vec::new()),
                    _ => self.teller.tell(&channel, events).await,
                };
                match publications {
                    Ok(publications) => drop(told.insert(channel, publications)),
                    Err(error) => {
                        tracing::warn!(%error, "sockets wait for the store");
                        sleep(AGAIN).await;
                    }
                }
            }
        }
    }

    fn tell_overview(&self) {
        let mut state = self.state();
        let cursor = state.cursor;
        if let Some(audience) = state.channels.get_mut(&Channel::Overview).filter(|audience| audience.prev < cursor) {
            audience.publish(&Channel::Overview, &[overview(cursor)], self.feed.epoch(), &self.figures);
        }
    }

    /// Tells quiet channels how far the log has come, so that a client's position does not fall behind.
    fn mark(&self) {
        let mut state = self.state();
        let cursor = state.cursor;
        let quiet = Publication { offset: cursor, data: serde_json::Value::Null };
        for (channel, audience) in &mut state.channels {
            if audience.prev < cursor {
                audience.publish(channel, std::slice::from_ref(&quiet), self.feed.epoch(), &self.figures);
            }
        }
    }
}

impl State {
    fn listen(&mut self, channel: &Channel, member: &Arc<Member>) {
        let new = Audience { prev: self.cursor, members: HashMap::new() };
        let audience = self.channels.entry(channel.clone()).or_insert(new);
        audience.members.insert(member.id, member.clone());
    }

    /// Hands out what is told of these events, all channels at once; channels of which nothing was told come back, and
    /// then nothing was handed out.
    fn deliver(
        &mut self,
        events: &[Arc<Event>],
        told: &HashMap<Channel, Vec<Publication>>,
        epoch: &str,
        figures: &Figures,
    ) -> std::result::Result<(), Vec<Channel>> {
        let missing: Vec<Channel> =
            self.channels.keys().filter(|channel| !told.contains_key(channel)).cloned().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        for (channel, audience) in &mut self.channels {
            if let Some(publications) = told.get(channel).filter(|publications| !publications.is_empty()) {
                audience.publish(channel, publications, epoch, figures);
            }
        }
        self.channels.retain(|_, audience| !audience.members.is_empty());
        for event in events.iter().filter(|event| event.kind == EventType::DefinitionChanged) {
            let gone = event.data["kind"] == "key" && event.data["removed"] == true;
            let of_key =
                |member: &&Arc<Member>| gone && member.names.iter().any(|name| event.data["name"] == name.as_str());
            self.members.values().filter(of_key).for_each(|member| member.cut(EXPIRED));
        }
        self.cursor = events.last().map_or(self.cursor, |event| event.id);
        Ok(())
    }
}

impl Audience {
    fn publish(&mut self, channel: &Channel, publications: &[Publication], epoch: &str, figures: &Figures) {
        let frames = frames::pushes(&channel.name(), publications, epoch, self.prev);
        self.prev = publications.last().map_or(self.prev, |publication| publication.offset);
        for frame in frames.into_iter().map(Utf8Bytes::from) {
            figures.messages.fetch_add(self.members.len() as u64, Ordering::Relaxed);
            self.members.retain(|_, member| member.give(frame.clone()));
        }
    }
}

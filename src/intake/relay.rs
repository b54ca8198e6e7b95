//! The relay: the event log as Redis Streams, for consumers that prefer those. Streams are chosen by a hash of the
//! ordering key; the id of an entry is the number of its event, so that Redis itself refuses a repeat and the order
//! holds.
//!
//! The cursor in the store says what was relayed; a mark in Redis, written with the entries, says what Redis still
//! knows. Where the mark is behind (a Redis that was restarted from an old copy, or empty), what is missing is
//! relayed again. A stream is only trimmed up to what every group of it has acknowledged; when it is full all the
//! same, the relay waits.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::Value;
use serde_json::json;
use tokio::time::Instant as Moment;

use super::Parts;
use super::duty::Duty;
use super::group::{GroupSeen, groups, id_parts};
use super::redis_link::Link;
use super::standing::wait_ms;
use crate::dialect::cloudevents::structured;
use crate::engine::Stop;
use crate::feed::Feed;
use crate::model::{Change, Commit, Error, ErrorKind, Event, EventType, Message, Result};
use crate::publish::cloud_event;

/// The duty, and the cursor in the event log.
const NAME: &str = "relay";
/// Before this event nothing is needed any more: trimmed away, and acknowledged by all.
const KEPT: &str = "relay.kept";
/// Between looks at how much the streams hold.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// Where the log is relayed to; from `[relay]` in the configuration.
#[derive(Clone)]
pub struct RelayOptions {
    /// `redis://:password@host:6379/0`
    pub url: String,
    /// What the names of the streams begin with.
    pub prefix: String,
    pub streams: u32,
    /// Types that are relayed: exact, `contract.*` or `*`.
    pub types: Vec<String>,
    /// Entries of one stream at most.
    pub entries_max: u64,
    /// Events of one step.
    pub batch: usize,
}

/// Relays in this process.
pub struct Relay {
    parts: Parts,
    options: RelayOptions,
}

impl Relay {
    pub fn new(parts: Parts, options: RelayOptions) -> Relay {
        Relay { parts, options }
    }

    /// Until stopping is asked for. A Redis that is away is waited for, with growing waits.
    pub async fn serve(self, feed: Feed, stop: &Stop) -> Result<()> {
        let again = (self.parts.options.lease / 3).max(Duration::from_millis(50));
        let mut failures = 0u32;
        while !stop.asked() {
            // Ends when the duty is lost; `stop` ends it too.
            let lost = Stop::default();
            match Duty::take(&self.parts, NAME, &lost).await {
                Ok(Some(duty)) => {
                    let ended = tokio::select! {
                        ended = self.follow(&feed, &duty, &lost, &mut failures) => ended,
                        () = stop.wait() => Ok(()),
                    };
                    duty.leave(&self.parts).await;
                    if let Err(error) = ended {
                        self.failed(&error, &mut failures, stop).await;
                    }
                }
                Ok(None) => {
                    stop.sleep(again).await;
                }
                Err(error) => self.failed(&error, &mut failures, stop).await,
            }
        }
        Ok(())
    }

    async fn failed(&self, error: &Error, failures: &mut u32, stop: &Stop) {
        *failures = failures.saturating_add(1);
        if *failures == 1 {
            tracing::warn!(%error, "the relay to Redis waits");
            self.tell("failing", json!({ "error": error.message(), "hint": error.hint_text() })).await;
        }
        let options = &self.parts.options;
        let wait = wait_ms(*failures, options.retry_first_ms, options.retry_cap_ms);
        stop.sleep(Duration::from_millis(wait)).await;
    }

    async fn tell(&self, state: &str, details: serde_json::Value) {
        let data = json!({ "intake": NAME, "state": state, "details": details });
        let changes = vec![Change::Event { kind: EventType::IntakeHealth, dataset: None, data }];
        let told = self.parts.store.commit(Commit { at: self.parts.clock.now(), fence: None, changes }).await;
        if let Err(error) = told {
            tracing::warn!(%error, "the state of the relay cannot be written");
        }
    }

    async fn follow(&self, feed: &Feed, duty: &Duty, lost: &Stop, failures: &mut u32) -> Result<()> {
        let connect = self.parts.options.connect;
        let mut link = Link::connect(&self.options.url, connect, self.parts.options.answer).await?;
        let mut cursor = self.parts.store.cursor(NAME).await?;
        let mut streams = Streams::read(&mut link, &self.options).await?;
        let marked = streams.mark(&mut link, feed.epoch()).await?;
        if marked < cursor {
            let kept: u64 = self.parts.store.place(KEPT).await?.and_then(|kept| kept.parse().ok()).unwrap_or_default();
            let from = marked.max(kept.saturating_sub(1));
            self.tell("again", json!({ "from": from + 1, "to": cursor })).await;
            self.relay_again(feed, &mut link, &mut streams, from, cursor).await?;
        }
        let (mut trim_at, mut room) = (Moment::now(), None);
        while !lost.asked() {
            if Moment::now() >= trim_at || room.is_some_and(|room| streams.added >= room) {
                let was_full = room == Some(0);
                let now = self.trim(&mut link, duty, cursor).await?;
                (room, streams.added) = (Some(now), 0);
                if was_full != (now == 0) {
                    let state = if now == 0 { "full" } else { "caught_up" };
                    self.tell(state, json!({ "entries_max": self.options.entries_max })).await;
                }
                trim_at = Moment::now() + TRIM_EVERY;
            }
            if std::mem::take(failures) > 0 {
                self.tell("recovered", json!({})).await;
            }
            let full = room == Some(0);
            tokio::select! {
                _ = feed.wait(cursor), if !full => {}
                () = tokio::time::sleep_until(trim_at) => continue,
                () = lost.wait() => return Ok(()),
            }
            let last = self.step(feed, &mut link, &mut streams, cursor, u64::MAX).await?;
            if last > cursor {
                let moved = Change::Advance { cursor: NAME.to_owned(), from: cursor, to: last };
                let changes = vec![duty.proof(), moved];
                self.parts.store.commit(Commit { at: self.parts.clock.now(), fence: None, changes }).await?;
                cursor = last;
            }
        }
        Ok(())
    }

    async fn relay_again(&self, feed: &Feed, link: &mut Link, streams: &mut Streams, from: u64, to: u64) -> Result<()> {
        let mut at = from;
        while at < to {
            let last = self.step(feed, link, streams, at, to).await?;
            if last == at {
                break;
            }
            at = last;
        }
        Ok(())
    }

    /// Relays the next events after `cursor`, up to `to`; the number of the last of them comes back.
    async fn step(&self, feed: &Feed, link: &mut Link, streams: &mut Streams, cursor: u64, to: u64) -> Result<u64> {
        let events = feed.since(cursor, self.options.batch).await?;
        let events: Vec<&Event> = events.iter().map(|event| &**event).take_while(|event| event.id <= to).collect();
        let Some(last) = events.last().map(|event| event.id) else { return Ok(cursor) };
        let published: Vec<u64> = events.iter().filter(|event| is_published(event)).map(|event| event.id).collect();
        let messages = match published.is_empty() {
            true => Vec::new(),
            false => self.parts.store.messages(&published).await?,
        };
        let mut messages: HashMap<u64, Message> =
            messages.into_iter().map(|message| (message.event, message)).collect();
        let mut entries = Vec::new();
        for event in events {
            let message = cloud_event(event, messages.remove(&event.id), feed.epoch());
            entries.extend(
                message.filter(|message| self.is_wanted(event, &message.kind)).map(|message| (event.id, message)),
            );
        }
        streams.add(link, feed.epoch(), entries, last).await?;
        Ok(last)
    }

    /// What tells of the relay itself is not relayed: it would go round for ever.
    fn is_wanted(&self, event: &Event, kind: &str) -> bool {
        let of_itself = event.kind == EventType::IntakeHealth && event.data["intake"] == NAME;
        !of_itself && self.options.types.iter().any(|pattern| fits(pattern, kind))
    }

    /// Trims what every group has acknowledged. How many entries the fullest stream that somebody reads still takes.
    async fn trim(&self, link: &mut Link, duty: &Duty, cursor: u64) -> Result<u64> {
        let (mut room, mut kept) = (self.options.entries_max, cursor + 1);
        for index in 0..self.options.streams {
            let key = stream_key(&self.options.prefix, index);
            let length: u64 = link.ask("measuring a stream", redis::cmd("XLEN").arg(&key)).await?;
            if length == 0 {
                continue;
            }
            let seen = groups(link.ask("looking at groups", redis::cmd("XINFO").arg("GROUPS").arg(&key)).await?)?;
            let mut command = redis::cmd("XTRIM");
            command.arg(&key);
            let mut oldest = Vec::with_capacity(seen.len());
            for group in &seen {
                oldest.push((group.clone(), oldest_pending(link, &key, group).await?));
            }
            match needed(&oldest) {
                Some((ms, number)) => command.arg("MINID").arg(format!("{ms}-{number}")),
                None => command.arg("MAXLEN").arg(self.options.entries_max),
            };
            let _: u64 = link.ask("trimming a stream", &command).await?;
            let length: u64 = link.ask("measuring a stream", redis::cmd("XLEN").arg(&key)).await?;
            if !seen.is_empty() {
                room = room.min(self.options.entries_max.saturating_sub(length));
            }
            if let Some(first) = first_id(link, &key).await? {
                kept = kept.min(first);
            }
        }
        let changes = vec![duty.proof(), Change::Stand { name: KEPT.to_owned(), place: kept.to_string() }];
        let before = self.parts.store.place(KEPT).await?;
        if before.as_deref() != Some(kept.to_string().as_str()) {
            self.parts.store.commit(Commit { at: self.parts.clock.now(), fence: None, changes }).await?;
        }
        Ok(room)
    }
}

fn is_published(event: &Event) -> bool {
    event.kind == EventType::EventPublished
}

/// Whether a type is one of a pattern: exact, `contract.*` or `*`.
fn fits(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => pattern == kind,
    }
}

fn stream_key(prefix: &str, index: u32) -> String {
    format!("{prefix}:{index}")
}

/// The first id that some group still needs; `None` where there is no group.
fn needed(groups: &[(GroupSeen, Option<String>)]) -> Option<(u64, u64)> {
    let first = |(group, pending): &(GroupSeen, Option<String>)| match pending {
        Some(pending) => id_parts(pending),
        None => {
            let (ms, number) = id_parts(&group.last);
            (ms, number + 1)
        }
    };
    groups.iter().map(first).min()
}

/// The first entry that a group was given and has not acknowledged.
async fn oldest_pending(link: &mut Link, key: &str, group: &GroupSeen) -> Result<Option<String>> {
    if group.pending == 0 {
        return Ok(None);
    }
    let mut command = redis::cmd("XPENDING");
    command.arg(key).arg(&group.name);
    let (_, oldest): (u64, Option<String>) = match link.ask::<Value>("looking at what is pending", &command).await? {
        Value::Array(parts) => match (parts.first(), parts.get(1)) {
            (Some(Value::Int(count)), Some(Value::BulkString(id))) => {
                (*count as u64, Some(String::from_utf8_lossy(id).into_owned()))
            }
            _ => (0, None),
        },
        _ => (0, None),
    };
    Ok(oldest)
}

/// The number of the first event in a stream.
async fn first_id(link: &mut Link, key: &str) -> Result<Option<u64>> {
    let mut command = redis::cmd("XRANGE");
    command.arg(key).arg("-").arg("+").arg("COUNT").arg(1);
    let first: Vec<(String, Value)> = link.ask("looking at a stream", &command).await?;
    Ok(first.first().map(|(id, _)| id_parts(id).0))
}

/// The streams as Redis has them.
struct Streams {
    prefix: String,
    /// The newest event of each.
    last: BTreeMap<u32, u64>,
    count: u32,
    /// Entries that were added since the streams were measured.
    added: u64,
}

impl Streams {
    async fn read(link: &mut Link, options: &RelayOptions) -> Result<Streams> {
        let mut last = BTreeMap::new();
        for index in 0..options.streams {
            let key = stream_key(&options.prefix, index);
            let mut command = redis::cmd("XREVRANGE");
            command.arg(&key).arg("+").arg("-").arg("COUNT").arg(1);
            let newest: Vec<(String, Value)> = link.ask("looking at a stream", &command).await?;
            last.insert(index, newest.first().map_or(0, |(id, _)| id_parts(id).0));
        }
        Ok(Streams { prefix: options.prefix.clone(), last, count: options.streams.max(1), added: 0 })
    }

    fn mark_key(&self) -> String {
        format!("{}:mark", self.prefix)
    }

    /// Up to which event of this log Redis has everything; 0 when it knows nothing of this log. Streams of another log
    /// are refused: their numbers mean other events.
    async fn mark(&self, link: &mut Link, epoch: &str) -> Result<u64> {
        let mark: Option<String> = link.ask("reading the mark", redis::cmd("GET").arg(self.mark_key())).await?;
        let Some(mark) = mark else { return Ok(0) };
        match mark.split_once(' ') {
            Some((of, number)) if of == epoch => Ok(number.parse().unwrap_or_default()),
            _ => Err(Error::invalid(format!("the streams {}:* are those of another store", self.prefix))
                .hint("set another relay.prefix, or delete those streams and their mark")),
        }
    }

    fn index_of(&self, message: &Message) -> u32 {
        let key = message.key.as_ref().or(message.subject.as_ref()).unwrap_or(&message.source);
        crc32fast::hash(key.as_bytes()) % self.count
    }

    /// Adds entries with the mark behind them, all or none. What a stream has already is left out; were it not, Redis
    /// would refuse it.
    async fn add(&mut self, link: &mut Link, epoch: &str, entries: Vec<(u64, Message)>, upto: u64) -> Result<()> {
        let mut commands = redis::pipe();
        commands.atomic();
        for (number, message) in entries {
            let index = self.index_of(&message);
            let last = self.last.entry(index).or_default();
            if number <= *last {
                continue;
            }
            *last = number;
            self.added += 1;
            let mut add = redis::cmd("XADD");
            add.arg(stream_key(&self.prefix, index)).arg(format!("{number}-0"));
            add.arg("type").arg(&message.kind).arg("event").arg(structured(&message));
            commands.add_command(add).ignore();
        }
        let mut mark = redis::cmd("SET");
        mark.arg(self.mark_key()).arg(format!("{epoch} {upto}"));
        commands.add_command(mark).ignore();
        let added: Result<()> = link.run_all("relaying events", &commands).await;
        added.map_err(|error| match error.kind() {
            ErrorKind::Invalid => error,
            // What Redis has is read again before anything more is added.
            _ => Error::transient(error.message().to_owned()).hint("nothing is lost: the cursor has not moved"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_chosen_by_name_or_by_beginning() {
        for (pattern, kind, expected) in [
            ("*", "a.b", true),
            ("contract.*", "contract.confirmed", true),
            ("contract.*", "contracts.confirmed", false),
            ("contract.confirmed", "contract.confirmed", true),
            ("contract", "contract.confirmed", false),
        ] {
            assert_eq!(fits(pattern, kind), expected, "{pattern} {kind}");
        }
    }

    #[test]
    fn a_stream_is_trimmed_no_further_than_its_slowest_group() {
        let group = |last: &str| GroupSeen { name: "g".into(), pending: 0, last: last.into(), lag: None };
        assert_eq!(needed(&[]), None);
        assert_eq!(needed(&[(group("9-0"), None)]), Some((9, 1)));
        assert_eq!(needed(&[(group("9-0"), None), (group("12-0"), Some("7-0".into()))]), Some((7, 0)));
        assert_eq!(needed(&[(group("0-0"), None), (group("12-0"), None)]), Some((0, 1)));
    }
}

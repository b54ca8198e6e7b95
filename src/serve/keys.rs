//! Keys of the API: what is stored of them, how they are checked, and the ring of those that count now.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::caller::{Caller, Role};
use super::random;
use crate::feed::Feed;
use crate::model::definition::Kind;
use crate::model::hex;
use crate::model::{Change, Clock, Commit, Definition, Error, EventType, Instant, Result};
use crate::store::Store;

/// Letters that a key begins with, so that a leaked one is recognised.
const PREFIX: &str = "tg";
/// Days after which a key expires, at most.
pub const DAYS_MAX: u32 = 36_500;
const NAME_CHARACTERS_MAX: usize = 64;
/// Sessions of one key at the same time; with more the oldest ends.
const SESSIONS_MAX: usize = 64;
/// Events that are looked at in one step.
const EVENTS_AT_ONCE: usize = 1_000;
/// Wait after the keys could not be read.
const AGAIN: Duration = Duration::from_secs(1);
/// How exactly the last use is known.
const LAST_USED_SECONDS: i64 = 600;

/// A key as it is stored, under its name. The secret is not among it: only its digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// By which the key is found; part of its text.
    pub id: String,
    pub role: Role,
    /// SHA-256 of the whole text, in hexadecimal.
    digest: String,
    #[serde(with = "as_text")]
    pub created_at: Option<Instant>,
    /// Absent: never.
    #[serde(with = "as_text")]
    pub expires_at: Option<Instant>,
    /// To about ten minutes.
    #[serde(with = "as_text", default)]
    pub last_used: Option<Instant>,
    /// Of a session: the name of the key that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// Instants in stored keys are RFC 3339 text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::Instant;

    pub fn serialize<S: Serializer>(instant: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
        match instant {
            Some(instant) => serializer.serialize_str(&instant.to_string()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Instant>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        Ok(text.as_deref().and_then(Instant::parse))
    }
}

/// A key that was just made. The text is shown once and kept nowhere.
pub struct NewKey {
    pub name: String,
    pub key: Key,
    pub text: String,
}

impl NewKey {
    /// A key with a new secret.
    fn make(name: String, role: Role, now: Instant, expires_at: Option<Instant>) -> Result<NewKey> {
        let id = random::hex::<8>()?;
        let text = format!("{PREFIX}_{id}_{}", random::text::<32>()?);
        let key = Key {
            id,
            role,
            digest: digest_of(&text),
            created_at: Some(now),
            expires_at,
            last_used: None,
            parent: None,
        };
        Ok(NewKey { name, key, text })
    }

    fn define(&self) -> Result<Change> {
        let body = serde_json::to_value(&self.key).map_err(|error| Error::bug("writing a key").caused_by(error))?;
        Ok(Change::Define { kind: Kind::Key, name: self.name.clone(), body, expect: Some(0) })
    }
}

impl Key {
    fn of(definition: &Definition) -> Option<Key> {
        serde_json::from_value(definition.body.clone()).ok()
    }

    pub fn is_session(&self) -> bool {
        self.parent.is_some()
    }

    /// Whether its last use is known closely enough.
    fn was_used_at(&self, now: Instant) -> bool {
        self.last_used.is_some_and(|at| now.millis_since(at) < LAST_USED_SECONDS * 1000)
    }

    pub fn has_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

fn digest_of(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The part of a key's text by which it is found.
fn id_of(text: &str) -> Option<&str> {
    let mut parts = text.splitn(3, '_');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(PREFIX), Some(id), Some(secret)) if !secret.is_empty() => Some(id),
        _ => None,
    }
}

/// Names that need no quotes anywhere; `session:` is kept for sessions.
fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if !name.starts_with('.') && (1..=NAME_CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let hint =
        format!("use letters, digits, `-`, `_`, `.` and `@`, at most {NAME_CHARACTERS_MAX}, and no `.` in front");
    Err(Error::invalid("the name of the key cannot be used").hint(hint))
}

/// Every key with its name, sessions too.
pub async fn stored(store: &dyn Store) -> Result<BTreeMap<String, Key>> {
    let definitions = store.definitions(Kind::Key).await?;
    Ok(definitions.iter().filter_map(|definition| Some((definition.name.clone(), Key::of(definition)?))).collect())
}

/// Makes a key and stores its digest. A name that is taken is a `Conflict`.
pub async fn create(store: &dyn Store, now: Instant, name: &str, role: Role, days: Option<u32>) -> Result<NewKey> {
    check_name(name)?;
    let expires_at = days.map(|days| now.plus_seconds(i64::from(days) * 86_400));
    let new = NewKey::make(name.to_string(), role, now, expires_at)?;
    store.commit(Commit { at: now, fence: None, changes: vec![new.define()?] }).await.map_err(|error| {
        match error.kind() {
            crate::model::ErrorKind::Conflict => Error::conflict(format!("there is a key {name:?} already"))
                .hint("remove it first, or choose another name"),
            _ => error,
        }
    })?;
    Ok(new)
}

/// Removes a key with its sessions; `NotFound` without one of this name.
pub async fn remove(store: &dyn Store, now: Instant, name: &str) -> Result<()> {
    let keys = stored(store).await?;
    if keys.get(name).is_none_or(Key::is_session) {
        return Err(Error::not_found(format!("there is no key {name:?}")).hint("`tidegate keys list` lists them"));
    }
    let its = keys.iter().filter(|(_, key)| key.parent.as_deref() == Some(name)).map(|(session, _)| session.clone());
    let remove = |name: String| Change::Undefine { kind: Kind::Key, name };
    let changes = its.chain([name.to_string()]).map(remove).collect();
    store.commit(Commit { at: now, fence: None, changes }).await?;
    Ok(())
}

/// Opens a session of a key for so many hours. Sessions that have ended, and the oldest beyond a number, are removed.
pub async fn open_session(store: &dyn Store, now: Instant, parent: &str, hours: u32) -> Result<NewKey> {
    let keys = stored(store).await?;
    let Some(key) = keys.get(parent).filter(|key| !key.is_session()) else {
        return Err(Error::not_found(format!("there is no key {parent:?}")));
    };
    let ends = now.plus_seconds(i64::from(hours) * 3_600);
    let ends = key.expires_at.map_or(ends, |at| at.min(ends));
    let mut new = NewKey::make(String::new(), key.role, now, Some(ends))?;
    new.name = format!("session:{}", new.key.id);
    new.key.parent = Some(parent.to_string());

    let mut sessions: Vec<(&String, &Key)> = keys.iter().filter(|(_, key)| key.is_session()).collect();
    sessions.sort_by_key(|(_, session)| std::cmp::Reverse(session.created_at));
    let mut others = 0;
    let mut ended = Vec::new();
    for (name, session) in sessions {
        let same = session.parent.as_deref() == Some(parent);
        others += usize::from(same);
        if session.has_expired(now) || same && others >= SESSIONS_MAX {
            ended.push(Change::Undefine { kind: Kind::Key, name: name.clone() });
        }
    }
    let changes = ended.into_iter().chain([new.define()?]).collect();
    store.commit(Commit { at: now, fence: None, changes }).await?;
    Ok(new)
}

/// Ends one session.
pub async fn close_session(store: &dyn Store, now: Instant, session: &str) -> Result<()> {
    let changes = vec![Change::Undefine { kind: Kind::Key, name: session.to_string() }];
    store.commit(Commit { at: now, fence: None, changes }).await?;
    Ok(())
}

/// Who a key's text stands for.
#[derive(Clone, Debug)]
pub struct Known {
    pub caller: Caller,
    /// The name of the session, when it is one.
    pub session: Option<String>,
}

/// Why a text opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    NoSuchKey,
    Expired,
}

#[derive(Default)]
struct Held {
    by_id: HashMap<String, (String, Key)>,
    /// Keys that are not sessions, expired ones too, with their roles.
    keys: HashMap<String, Key>,
}

/// The keys as they were read last. Clones share it.
#[derive(Clone)]
pub struct Ring {
    store: Arc<dyn Store>,
    clock: Clock,
    held: Arc<RwLock<Arc<Held>>>,
    /// When a use was written down, so that many requests at once write it once.
    noted: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Ring {
    pub async fn read(store: Arc<dyn Store>, clock: Clock) -> Result<Ring> {
        let ring = Ring { store, clock, held: Arc::default(), noted: Arc::default() };
        ring.refresh().await?;
        Ok(ring)
    }

    /// Reads the keys again.
    pub async fn refresh(&self) -> Result<()> {
        let stored = stored(&*self.store).await?;
        let mut held = Held::default();
        for (name, key) in stored {
            if !key.is_session() {
                held.keys.insert(name.clone(), key.clone());
            }
            held.by_id.insert(key.id.clone(), (name, key));
        }
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
        Ok(())
    }

    fn held(&self) -> Arc<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether anybody has made a key; one that has expired counts.
    pub fn has_keys(&self) -> bool {
        !self.held().keys.is_empty()
    }

    /// Finds who a text stands for. It takes the same time for a wrong secret as for an unknown key.
    pub fn know(&self, text: &str) -> Result<Known, Unknown> {
        let held = self.held();
        let found = id_of(text).and_then(|id| held.by_id.get(id));
        let nothing = "0".repeat(64);
        let expected = found.map_or(nothing.as_str(), |(_, key)| key.digest.as_str());
        let same = bool::from(digest_of(text).as_bytes().ct_eq(expected.as_bytes()));
        let Some((name, key)) = found.filter(|_| same) else { return Err(Unknown::NoSuchKey) };
        let now = self.clock.now();
        if key.has_expired(now) {
            return Err(Unknown::Expired);
        }
        let Some(parent) = &key.parent else {
            return Ok(Known { caller: Caller { name: name.clone(), role: key.role }, session: None });
        };
        match held.keys.get(parent) {
            Some(key) if key.has_expired(now) => Err(Unknown::Expired),
            Some(key) => {
                let caller = Caller { name: parent.clone(), role: key.role };
                Ok(Known { caller, session: Some(name.clone()) })
            }
            None => Err(Unknown::NoSuchKey),
        }
    }

    /// Whether a key, and a session of it, still count.
    pub fn holds(&self, name: &str, session: Option<&str>) -> bool {
        let (now, held) = (self.clock.now(), self.held());
        let lives = |key: &Key| !key.has_expired(now);
        let is_open = |session: &str| held.by_id.values().any(|(name, key)| name == session && lives(key));
        held.keys.get(name).is_some_and(lives) && session.is_none_or(is_open)
    }

    /// Writes down that a key is in use, now and then, and not before the answer.
    pub fn note_use(&self, name: &str) {
        let (now, held) = (self.clock.now(), self.held());
        if held.keys.get(name).is_none_or(|key| key.was_used_at(now)) {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|name, _| held.keys.contains_key(name));
        let recent = |at: &Instant| now.millis_since(*at) < LAST_USED_SECONDS * 1000;
        if noted.get(name).is_some_and(recent) {
            return;
        }
        noted.insert(name.to_string(), now);
        let (ring, name) = (self.clone(), name.to_string());
        tokio::spawn(async move {
            if let Err(error) = ring.write_use(&name, now).await {
                tracing::debug!(%error, "the use of a key was not written down");
            }
        });
    }

    async fn write_use(&self, name: &str, now: Instant) -> Result<()> {
        let Some(definition) = self.store.definition(Kind::Key, name).await? else { return Ok(()) };
        let Some(key) = Key::of(&definition).filter(|key| !key.was_used_at(now)) else { return Ok(()) };
        let key = Key { last_used: Some(now), ..key };
        let body = serde_json::to_value(&key).map_err(|error| Error::bug("writing a key").caused_by(error))?;
        // A key that was removed meanwhile stays removed.
        let expect = Some(definition.revision);
        let change = Change::Define { kind: Kind::Key, name: name.to_string(), body, expect };
        self.store.commit(Commit { at: now, fence: None, changes: vec![change] }).await?;
        self.refresh().await
    }

    /// Reads the keys again whenever one was changed, whoever did it.
    pub async fn follow(self, feed: Feed) {
        let mut events = feed.follow(feed.head());
        loop {
            // The events are taken before the keys are read: what is read knows all of them.
            let changed = match events.next(EVENTS_AT_ONCE).await {
                Ok(events) => events.iter().any(|event| event.kind == EventType::DefinitionChanged),
                Err(_) => true,
            };
            if changed && let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the keys cannot be read; those that were known go on to count");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

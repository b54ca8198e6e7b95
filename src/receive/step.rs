//! One commit: what is taken in, what becomes of it, and the rows that it makes, together or not at all.

use std::collections::HashSet;
use std::sync::Arc;

use super::decide::{Decision, Standing, decide};
use super::inbound::Gaps;
use super::mapping::{Exploded, Mapped, Ready};
use super::registry::Entry;
use super::writer::Work;
use super::{Outcome, rows};
use crate::model::change::Write;
use crate::model::{Change, Commit, Error, Instant, Message, Received, ReceivedState, ReceivedWanted, Result};
use crate::store::Store;

/// What became of a piece of work in this step.
pub(super) enum Added {
    /// It counts when the step is committed. `more`: other versions of the row may follow.
    Done { outcome: Outcome, more: bool },
    /// Something of the same row or message is in this step already.
    Later,
}

/// The changes of a commit, as far as it is planned.
pub(super) struct Step<'a> {
    store: &'a dyn Store,
    now: Instant,
    items_max: usize,
    changes: Vec<Change>,
    /// Rows and messages that this step is about.
    touched: HashSet<(String, String)>,
}

/// Where the last applied version of a row is kept.
pub(super) fn cursor(dataset: &str, key: &str) -> String {
    format!("received/{dataset}/{key}")
}

/// Open messages of one row that are looked at.
const OPEN_MAX: usize = 1_000;

impl<'a> Step<'a> {
    pub(super) fn new(store: &'a dyn Store, now: Instant, items_max: usize) -> Step<'a> {
        Step { store, now, items_max, changes: Vec::new(), touched: HashSet::new() }
    }

    /// Adds a piece of work; one that is refused leaves nothing.
    pub(super) async fn add(&mut self, work: &Work) -> Result<Added> {
        let names = match work {
            Work::Take { message, mapped, .. } => {
                let mut names = vec![(format!("\0{}", message.source), message.id.clone())];
                if let Some((_, mapped)) = mapped {
                    names.push((mapped.dataset.name.clone(), mapped.key.clone()));
                    let set = |items: &Exploded| (items.dataset.name.clone(), format!("\0{:?}", items.of));
                    names.extend(mapped.items.iter().map(set));
                }
                names
            }
            Work::Resume { dataset, key, .. } => vec![(dataset.clone(), key.clone())],
        };
        if names.iter().any(|name| self.touched.contains(name)) {
            self.touched.extend(names);
            return Ok(Added::Later);
        }
        let (changes, outcome, more) = match work {
            Work::Take { entry, message, mapped } => self.take(entry, message, mapped.as_ref()).await?,
            Work::Resume { entry, dataset, key, release } => self.resume(entry, dataset, key, *release).await?,
        };
        self.changes.extend(changes);
        self.touched.extend(names);
        Ok(Added::Done { outcome, more })
    }

    pub(super) async fn commit(self) -> Result<()> {
        if !self.changes.is_empty() {
            let changes = rows::together(self.changes)?;
            self.store.commit(Commit { at: self.now, fence: None, changes }).await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        entry: &Entry,
        message: &Message,
        mapped: Option<&(Arc<Ready>, Mapped)>,
    ) -> Result<(Vec<Change>, Outcome, bool)> {
        let known = self.store.message(&message.source, &message.id).await?;
        if known.as_ref().is_some_and(|known| known.digest() != message.digest()) {
            let Message { source, id, .. } = message;
            let error = Error::conflict(format!("source {source:?} and id {id:?} are known with another content"));
            return Err(error
                .at_field("id")
                .hint("give each message an id of its own; a message that is sent again says the same"));
        }
        if let Some(before) = self.store.received(&entry.name, &message.source, &message.id).await? {
            return Ok((Vec::new(), Outcome::of(&before, true), false));
        }
        let mut changes = Vec::new();
        if known.is_none() {
            changes.push(Change::Publish { message: message.clone(), expect_new: true });
        }
        let mut received = Received {
            inbound: entry.name.clone(),
            source: message.source.clone(),
            id: message.id.clone(),
            at: self.now,
            dataset: String::new(),
            key: String::new(),
            version: None,
            state: ReceivedState::Kept,
            attempts: 0,
            due_at: self.now,
            note: String::new(),
        };
        if let Some((ready, mapped)) = mapped {
            received.dataset = mapped.dataset.name.clone();
            received.key = mapped.key.clone();
            received.version = mapped.version;
            changes.extend(self.apply(entry, ready, mapped, ready.gaps, &mut received).await?);
        }
        let outcome = Outcome::of(&received, false);
        let may_follow = mapped.is_some_and(|(ready, _)| ready.gaps == Gaps::Fetch);
        let more = may_follow && received.state == ReceivedState::Applied;
        changes.push(Change::Receive(received));
        Ok((changes, outcome, more))
    }

    /// Goes on with the lowest version of a row that waits, if its turn has come.
    async fn resume(
        &self,
        entry: &Entry,
        dataset: &str,
        key: &str,
        release: bool,
    ) -> Result<(Vec<Change>, Outcome, bool)> {
        let wanted = ReceivedWanted {
            inbound: Some(entry.name.clone()),
            of: Some((dataset.to_owned(), key.to_owned())),
            open: true,
            limit: OPEN_MAX,
            ..ReceivedWanted::default()
        };
        let open = self.store.receipts(&wanted).await?;
        let Some(lowest) = open.iter().min_by_key(|received| received.version) else {
            return Ok((Vec::new(), Outcome::default(), false));
        };
        let mut received = lowest.clone();
        let missing = || Error::bug(format!("the message of a received event of {dataset} is gone"));
        let message = self.store.message(&received.source, &received.id).await?.ok_or_else(missing)?;
        let Some(ready) = entry.ready_for(&message.kind) else {
            return Err(Error::conflict(format!("the webhook {} has no mapping for what waits any more", entry.name)));
        };
        let mapped = ready.map(&message, received.at, self.items_max)?;
        let gaps = if release { Gaps::Allow } else { ready.gaps };
        let mut changes = self.apply(entry, ready, &mapped, gaps, &mut received).await?;
        if received.state.is_open() {
            return Ok((Vec::new(), Outcome::of(lowest, true), false));
        }
        let outcome = Outcome::of(&received, false);
        changes.push(Change::Settle(received));
        Ok((changes, outcome, open.len() > 1))
    }

    /// What a message changes, by where its row stands; says what becomes of it in `received`.
    async fn apply(
        &self,
        entry: &Entry,
        ready: &Ready,
        mapped: &Mapped,
        gaps: Gaps,
        received: &mut Received,
    ) -> Result<Vec<Change>> {
        let dataset = &mapped.dataset;
        let stored = rows::stored(self.store, dataset, &ready.key_values(&mapped.key)?).await?;
        let version = |at| rows::value(&stored, at);
        let stored_version = match ready.version {
            Some(at) if stored.num_rows() > 0 => {
                version(at)?.and_then(|text| String::from_utf8(text).ok()?.parse().ok())
            }
            _ => None,
        };
        let name = cursor(&dataset.name, &mapped.key);
        let standing = Standing { applied: self.store.cursor(&name).await?, stored: stored_version };
        let decision = decide(mapped.version, standing, gaps, ready.first);
        let (state, note) = match decision {
            Decision::Apply => (ReceivedState::Applied, String::new()),
            Decision::Stale { known } => (ReceivedState::Stale, format!("version {known} counts already")),
            Decision::Wait { from, to } if from == to => {
                (ReceivedState::Waiting, format!("waiting for version {from}"))
            }
            Decision::Wait { from, to } => (ReceivedState::Waiting, format!("waiting for versions {from} to {to}")),
            Decision::Compare => {
                let new = rows::batch(dataset, std::slice::from_ref(&mapped.row))?;
                match mapped.ends || rows::alike(&stored, &new, &ready.noted)? {
                    true => (ReceivedState::Stale, "the same version is stored".to_owned()),
                    false => (ReceivedState::Conflicting, "the same version is stored with another content".to_owned()),
                }
            }
        };
        (received.state, received.note) = (state, note);
        match (state, mapped.version) {
            (ReceivedState::Applied, version) => {
                let mut changes = self.rows(entry, ready, mapped).await?;
                if let Some(to) = version {
                    changes.push(Change::Advance { cursor: name, from: standing.applied, to });
                }
                Ok(changes)
            }
            (ReceivedState::Conflicting, _) => {
                let new = rows::batch(dataset, std::slice::from_ref(&mapped.row))?;
                Ok(vec![rows::change(dataset, new, write(ready), &entry.name, self.now)])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The rows of a message: its own, and those of its items in place of the ones that were there.
    async fn rows(&self, entry: &Entry, ready: &Ready, mapped: &Mapped) -> Result<Vec<Change>> {
        let change = |dataset, batch, write| rows::change(dataset, batch, write, &entry.name, self.now);
        let mut changes = Vec::new();
        match mapped.ends {
            true => {
                let stored = rows::stored(self.store, &mapped.dataset, &ready.key_values(&mapped.key)?).await?;
                if stored.num_rows() > 0 {
                    changes.push(change(&mapped.dataset, stored, Write::Withdraw));
                }
            }
            false => {
                let batch = rows::batch(&mapped.dataset, std::slice::from_ref(&mapped.row))?;
                changes.push(change(&mapped.dataset, batch, write(ready)));
            }
        }
        for items in &mapped.items {
            let stored = rows::stored(self.store, &items.dataset, &items.of).await?;
            let new = rows::batch(&items.dataset, &items.rows)?;
            let gone = rows::without(&items.dataset, &stored, &new)?;
            if gone.num_rows() > 0 {
                changes.push(change(&items.dataset, gone, Write::Withdraw));
            }
            if new.num_rows() > 0 {
                changes.push(change(&items.dataset, new, Write::Upsert));
            }
        }
        Ok(changes)
    }
}

fn write(ready: &Ready) -> Write {
    match ready.version {
        Some(version) => Write::NewerVersion { version, noted: ready.noted.clone() },
        None => Write::Upsert,
    }
}

//! Versions that are missing: fetched from the origin while messages wait for them, with growing waits, until they are
//! there or a person has to decide. What waits is in the store, so that nothing is lost with the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::mapping::Ready;
use super::origin::Question;
use super::registry::Entry;
use super::step::cursor;
use super::writer::Work;
use super::{Outcome, Receiver};
use crate::model::{
    Change, Commit, Error, ErrorKind, EventType, Instant, Lease, Received, ReceivedState, ReceivedWanted, Result,
};

/// How often it is looked for what waits.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked for what can be forgotten.
const FORGET_SECONDS: i64 = 3_600;
/// Of what waits, as much is looked at in one round.
const OPEN_MAX: usize = 1_000;
/// One process fetches at a time; for so long after it was heard of last.
const LEASE_SECONDS: i64 = 60;
const DUTY: &str = "receive";

/// What a check before use found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The version that was stored, and the one that counts now.
    pub before: u64,
    pub after: u64,
    /// The newest version that the origin knows.
    pub origin: u64,
}

impl Receiver {
    /// Fetches what is missing until stopping is asked for.
    pub async fn fetch_missing(self, worker: String, stop: impl Future<Output = ()> + Send) {
        let mut forgot_at = Instant(i64::MIN);
        let mut stop = std::pin::pin!(stop);
        loop {
            if let Err(error) = self.round(&worker).await {
                tracing::warn!(%error, "missing versions cannot be fetched");
            }
            let now = self.clock.now();
            if self.options.kept_days > 0 && now.0.saturating_sub(forgot_at.0) > FORGET_SECONDS * 1_000_000 {
                forgot_at = now;
                self.forget(now).await;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.waiting.notified() => {}
                () = &mut stop => return,
            }
        }
    }

    async fn forget(&self, now: Instant) {
        let before = now.plus_seconds(-i64::from(self.options.kept_days) * 86_400);
        let changes = vec![Change::ForgetReceived { before }];
        if let Err(error) = self.store.commit(Commit { at: now, fence: None, changes }).await {
            tracing::warn!(%error, "old receipts cannot be forgotten");
        }
    }

    /// Looks at everything that is due, row by row.
    async fn round(&self, worker: &str) -> Result<()> {
        let wanted =
            ReceivedWanted { open: true, state: Some(ReceivedState::Waiting), limit: OPEN_MAX, ..Default::default() };
        let now = self.clock.now();
        let waiting = self.store.receipts(&wanted).await?;
        let mut rows: BTreeMap<(String, String, String), Received> = BTreeMap::new();
        for received in waiting {
            let row = (received.inbound.clone(), received.dataset.clone(), received.key.clone());
            let lowest = rows.entry(row).or_insert_with(|| received.clone());
            if received.version < lowest.version {
                *lowest = received;
            }
        }
        rows.retain(|_, received| received.due_at <= now);
        if rows.is_empty() || !self.on_duty(worker, now).await? {
            return Ok(());
        }
        for received in rows.into_values() {
            if let Err(error) = self.bring(&received).await {
                tracing::warn!(inbound = received.inbound, dataset = received.dataset, %error, "a version is still missing");
            }
        }
        Ok(())
    }

    /// Whether this process is the one that fetches now.
    async fn on_duty(&self, worker: &str, now: Instant) -> Result<bool> {
        let lease = Lease { worker: worker.to_owned(), until: now.plus_seconds(LEASE_SECONDS) };
        let changes = vec![Change::TakeDuty { duty: DUTY.to_owned(), lease }];
        match self.store.commit(Commit { at: now, fence: None, changes }).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fetches what a row waits for, and notes how it went.
    async fn bring(&self, received: &Received) -> Result<()> {
        let Some(entry) = self.registry.get(&received.inbound).filter(|entry| !entry.inbound.paused) else {
            return Ok(());
        };
        let fetched = self.fetch(&entry, received).await;
        self.resume(&entry, received).await?;
        let now = self.store.received(&received.inbound, &received.source, &received.id).await?;
        let Some(received) = now.filter(|received| received.state == ReceivedState::Waiting) else { return Ok(()) };
        let why = fetched.err().map_or_else(|| "the origin does not have it yet".to_owned(), |error| error.to_string());
        self.postpone(received, &why).await
    }

    /// Goes on with what can go on: a process may have ended before it did.
    async fn resume(&self, entry: &Arc<Entry>, received: &Received) -> Result<Vec<Outcome>> {
        let (dataset, key) = (received.dataset.clone(), received.key.clone());
        self.write(vec![Work::Resume { entry: entry.clone(), dataset, key, release: false }]).await
    }

    async fn postpone(&self, received: Received, why: &str) -> Result<()> {
        let now = self.clock.now();
        let attempts = received.attempts + 1;
        let stuck = attempts >= self.options.attempts_max;
        let waits_for = received.note.split(':').next().unwrap_or_default();
        let note = format!("{waits_for}: {why}");
        let data = json!({
            "inbound": received.inbound, "dataset": received.dataset, "source": received.source, "id": received.id,
            "version": received.version, "note": note, "attempts": attempts,
        });
        let state = if stuck { ReceivedState::Stuck } else { ReceivedState::Waiting };
        let due_at = now.plus_millis(delay_ms(attempts, self.options.retry_first, self.options.retry_cap));
        let dataset = Some(received.dataset.clone());
        let mut changes = vec![Change::Settle(Received { state, attempts, due_at, note, ..received })];
        if stuck {
            changes.push(Change::Event { kind: EventType::InboundProblem, dataset, data });
        }
        self.store.commit(Commit { at: now, fence: None, changes }).await.map(|_| ())
    }

    /// Takes in what the origin has for a row that waits, in the order of versions.
    async fn fetch(&self, entry: &Arc<Entry>, received: &Received) -> Result<u64> {
        let Some(ready) = entry.ready_of(&received.dataset) else {
            return Err(Error::conflict(format!(
                "the webhook {} has no mapping for {} any more",
                entry.name, received.dataset
            )));
        };
        let missing = || Error::bug("the message of a received event is gone");
        let message = self.store.message(&received.source, &received.id).await?.ok_or_else(missing)?;
        let from = self.store.cursor(&cursor(&received.dataset, &received.key)).await? + 1;
        let subject = self.subject(entry, ready, &received.key)?.or(message.subject.clone());
        self.take_from_origin(entry, &received.dataset, &received.key, subject, &message.source, from).await
    }

    /// The subject of a row by the template of the origin; `None` without one.
    fn subject(&self, entry: &Entry, ready: &Ready, key: &str) -> Result<Option<String>> {
        let Some(template) = entry.inbound.origin.as_ref().and_then(|origin| origin.subject.clone()) else {
            return Ok(None);
        };
        let values = ready.key_values(key)?;
        Ok(Some(values.iter().fold(template, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))))
    }

    /// The newest version among what was fetched; all of it is taken in as if it had been sent.
    async fn take_from_origin(
        &self,
        entry: &Arc<Entry>,
        dataset: &str,
        key: &str,
        subject: Option<String>,
        source: &str,
        from: u64,
    ) -> Result<u64> {
        let subject = subject.ok_or_else(|| {
            let error = Error::invalid("the message that waits names no subject, and origin.subject is not set");
            error.hint("change the webhook to have origin.subject, such as invoice/{invoice_id}")
        })?;
        let source =
            entry.inbound.origin.as_ref().and_then(|origin| origin.source.clone()).unwrap_or(source.to_owned());
        let question = Question { source, subject, key: key.to_owned(), from };
        let mut found = Vec::new();
        for message in self.asker.ask(entry, &question).await? {
            // What is told of the same subject for other tables is none of this row's business.
            if entry.ready_for(&message.kind).is_none_or(|ready| ready.dataset.name != dataset) {
                continue;
            }
            let work = self.work(entry, message)?;
            if let Work::Take { mapped: Some((_, mapped)), .. } = &work
                && mapped.dataset.name == dataset
                && mapped.key == key
            {
                found.push((mapped.version.unwrap_or(0), work));
            }
        }
        found.sort_by_key(|(version, _)| *version);
        let newest = found.last().map_or(0, |(version, _)| *version);
        for (version, work) in found {
            if version >= from {
                self.write(vec![work]).await?;
            }
        }
        Ok(newest)
    }

    /// Asks the origin for the newest version of a row before it is used, and takes in what is missing.
    pub async fn check(&self, name: &str, dataset: Option<&str>, key: &str) -> Result<Checked> {
        let not_found = || {
            Error::not_found(format!("there is no inbound webhook {name:?}")).hint("`tidegate inbound list` lists them")
        };
        let entry = self.registry.get(name).ok_or_else(not_found)?;
        let versioned =
            |ready: &&Arc<Ready>| ready.version.is_some() && dataset.is_none_or(|name| ready.dataset.name == name);
        let ready = entry.mappings.iter().find(versioned).ok_or_else(|| {
            let error = Error::invalid(format!("the inbound webhook {name} maps no table with versions"));
            error.hint("name the column of the source's version under `version` of the mapping")
        })?;
        let table = ready.dataset.name.clone();
        let before = self.version(ready, key).await?;
        let subject = self.subject(&entry, ready, key)?;
        let source = entry.inbound.source.clone().unwrap_or_default();
        let origin = self.take_from_origin(&entry, &table, key, subject, &source, before + 1).await?;
        let waiting = Work::Resume { entry: entry.clone(), dataset: table, key: key.to_owned(), release: false };
        self.write(vec![waiting]).await?;
        Ok(Checked { before, after: self.version(ready, key).await?, origin })
    }

    /// The version of a row that counts.
    async fn version(&self, ready: &Ready, key: &str) -> Result<u64> {
        let stored = super::rows::stored(&*self.store, &ready.dataset, &ready.key_values(key)?).await?;
        let at = ready.version.filter(|_| stored.num_rows() > 0);
        let text = at.map(|at| super::rows::value(&stored, at)).transpose()?.flatten();
        let stored = text.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        Ok(self.store.cursor(&cursor(&ready.dataset.name, key)).await?.max(stored))
    }
}

/// The wait after so many attempts: doubled each time, up to a limit.
fn delay_ms(attempts: u32, first: Duration, cap: Duration) -> i64 {
    let doubled = first.as_millis().saturating_mul(1 << attempts.saturating_sub(1).min(40));
    i64::try_from(doubled.min(cap.as_millis())).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_limit() {
        let delays: Vec<i64> = [1, 2, 3, 10, 4_000_000_000]
            .map(|attempts| delay_ms(attempts, Duration::from_secs(1), Duration::from_secs(60)))
            .into();
        assert_eq!(delays, [1_000, 2_000, 4_000, 60_000, 60_000]);
    }
}

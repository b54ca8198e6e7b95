//! Where every intake hands in what it took: messages, refusals and its place in the publisher's log are one commit,
//! made on its duty. What is handed in twice is written once.

use std::time::Duration;

use serde_json::json;

use super::draft::{Offer, Refused};
use super::duty::Duty;
use super::standing::{Doing, Standing, lagging, wait_ms};
use super::{IntakeOptions, Parts};
use crate::dialect::cloudevents::Limits;
use crate::engine::Stop;
use crate::model::{Change, Error, ErrorKind, EventType, Message, Offered, Published, Quarantined, Result};

/// The first and the longest wait for a store that cannot be written to.
const STORE_WAIT_MS: (u64, u64) = (100, 10_000);

/// The desk of one intake in one life.
pub(super) struct Desk {
    parts: Parts,
    name: String,
    duty: Duty,
    stop: Stop,
    lag_max: u64,
    unit: &'static str,
    standing: Standing,
    written_ms: i64,
}

/// The name under which an intake's place is kept.
pub(super) fn place_name(name: &str) -> String {
    format!("intake:{name}")
}

/// The name under which its standing is kept.
pub(super) fn standing_name(name: &str) -> String {
    format!("intake.standing:{name}")
}

impl Desk {
    pub(super) fn new(
        parts: Parts,
        name: &str,
        duty: Duty,
        stop: Stop,
        lag: (u64, &'static str),
        was: Standing,
    ) -> Desk {
        let (name, standing) = (name.to_owned(), Standing { worker: Some(parts.worker.clone()), ..was });
        Desk { parts, name, duty, stop, lag_max: lag.0, unit: lag.1, standing, written_ms: 0 }
    }

    pub(super) fn options(&self) -> &IntakeOptions {
        &self.parts.options
    }

    /// What a message may hold.
    pub(super) fn limits(&self) -> Limits {
        self.parts.publisher.options().limits
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What may wait before it is told.
    pub(super) fn lag_max(&self) -> u64 {
        self.lag_max
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    pub(super) fn now(&self) -> crate::model::Instant {
        self.parts.clock.now()
    }

    /// Where the intake stands in the publisher's log.
    pub(super) async fn place(&self) -> Result<Option<String>> {
        let place = self.parts.store.place(&place_name(&self.name)).await?;
        Ok(place.filter(|place| !place.is_empty()))
    }

    /// Messages and refusals with the place behind them, durable when it returns. A store that cannot be written to is
    /// waited for: what was taken is not taken again for that.
    pub(super) async fn hand_in(&mut self, offers: Vec<Offer>, place: Option<String>) -> Result<()> {
        let (mut messages, mut with) = (Vec::with_capacity(offers.len()), Vec::new());
        for offer in offers {
            match self.checked(offer) {
                Offer::Message(message) => messages.push(*message),
                Offer::Refused(refused) => {
                    self.standing.refused += 1;
                    with.extend(refusal(&self.name, refused));
                }
            }
        }
        with.extend(place.map(|place| Change::Stand { name: place_name(&self.name), place }));
        if messages.is_empty() && with.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = messages.iter().map(|message| (message.source.clone(), message.id.clone())).collect();
        let mut differing = Vec::new();
        for (published, name) in self.commit(messages, with).await?.iter().zip(names) {
            match published.was {
                Offered::New => self.standing.published += 1,
                Offered::Same => self.standing.repeated += 1,
                Offered::Different => differing.push(name),
            }
        }
        self.tell_differing(differing).await?;
        self.running().await
    }

    /// What only Tidegate may say is refused too.
    fn checked(&self, offer: Offer) -> Offer {
        match offer {
            Offer::Message(message) => {
                let (checked, place) = (self.parts.publisher.check(&message), message.id.clone());
                let row = json!({ "source": message.source, "id": message.id, "type": message.kind });
                Offer::of(checked.map(|()| *message), &place, || row)
            }
            refused => refused,
        }
    }

    /// An id that was used before for something else is the publisher's mistake: told, not published.
    async fn tell_differing(&mut self, differing: Vec<(String, String)>) -> Result<()> {
        let changes: Vec<Change> = differing
            .into_iter()
            .flat_map(|(source, id)| {
                let row = json!({ "source": source, "id": id });
                let reason = "source and id are known with other content".to_owned();
                refusal(&self.name, Refused { place: id, field: "id".to_owned(), reason, row })
            })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.standing.refused += changes.len() as u64 / 2;
        self.note(changes).await
    }

    /// Messages that do not count.
    pub(super) fn ignore(&mut self, count: u64) {
        self.standing.ignored += count;
    }

    /// What waits at the other side; news of it is an event.
    pub(super) async fn lag(&mut self, lag: Option<u64>) -> Result<()> {
        let (was, is) = (self.standing.lagging, lagging(self.standing.lagging, lag, self.lag_max));
        (self.standing.lag, self.standing.lagging) = (lag.or(self.standing.lag), is);
        if was == is {
            return Ok(());
        }
        let state = if is { "lagging" } else { "caught_up" };
        let data = json!({ "intake": self.name, "state": state, "lag": lag, "limit": self.lag_max, "unit": self.unit });
        let changes = vec![event(EventType::IntakeHealth, data), self.stand()];
        self.note(changes).await
    }

    /// Something that people must know and that does not stop the intake.
    pub(super) async fn tell(&mut self, state: &str, details: serde_json::Value) -> Result<()> {
        let data = json!({ "intake": self.name, "state": state, "details": details });
        self.note(vec![event(EventType::IntakeHealth, data)]).await
    }

    /// It works: a failure before is over, and the standing is written now and then.
    pub(super) async fn running(&mut self) -> Result<()> {
        let now = self.parts.clock.now();
        let recovered = matches!(self.standing.doing, Doing::Failing | Doing::Stuck);
        let changed = self.standing.doing != Doing::Running;
        let every_ms = self.parts.options.standing_every.as_millis() as i64;
        if !changed && now.0 / 1000 - self.written_ms < every_ms {
            return Ok(());
        }
        if changed {
            let since = Some(now.to_string());
            let (worker, calm) = (self.standing.worker.clone(), std::mem::take(&mut self.standing));
            self.standing = Standing { doing: Doing::Running, since, worker, ..calm };
            (self.standing.error, self.standing.hint, self.standing.failures) = (None, None, 0);
            self.standing.next_try = None;
        }
        let mut changes = vec![self.stand()];
        if recovered {
            changes.push(event(EventType::IntakeHealth, json!({ "intake": self.name, "state": "recovered" })));
        }
        self.note(changes).await?;
        self.written_ms = now.0 / 1000;
        Ok(())
    }

    /// It failed: told once, and tried again after the wait that comes back.
    pub(super) async fn failed(&mut self, error: &Error) -> Result<Duration> {
        let now = self.parts.clock.now();
        let stuck = needs_a_person(error);
        let doing = if stuck { Doing::Stuck } else { Doing::Failing };
        // While it is tried again, the words of an error may change with every try.
        let other = stuck && self.standing.error.as_deref() != Some(error.message());
        let news = self.standing.doing != doing || other;
        if self.standing.doing != doing {
            self.standing.since = Some(now.to_string());
        }
        self.standing.doing = doing;
        self.standing.failures = self.standing.failures.saturating_add(1);
        let options = &self.parts.options;
        let wait = wait_ms(self.standing.failures, options.retry_first_ms, options.retry_cap_ms);
        // What a person must mend is looked at rarely, and at once when the definition changes.
        let wait = if stuck { options.retry_cap_ms.max(wait) } else { wait };
        self.standing.error = Some(error.message().to_owned());
        self.standing.hint = error.hint_text().map(str::to_owned);
        self.standing.next_try = Some(now.plus_millis(wait as i64).to_string());
        let mut changes = vec![self.stand()];
        if news {
            tracing::warn!(intake = self.name, %error, "an intake failed");
            let data = json!({
                "intake": self.name, "state": doing.name(), "error": error.message(), "hint": error.hint_text(),
            });
            changes.push(event(EventType::IntakeHealth, data));
        }
        self.note(changes).await?;
        Ok(Duration::from_millis(wait))
    }

    /// The last word of a life.
    pub(super) async fn close(mut self) {
        if self.standing.doing == Doing::Running {
            self.standing.doing = Doing::Waiting;
        }
        let changes = vec![self.stand()];
        let _ = self.commit_once(Vec::new(), changes).await;
        self.duty.leave(&self.parts).await;
    }

    fn stand(&mut self) -> Change {
        self.standing.at = Some(self.parts.clock.now().to_string());
        let place = serde_json::to_string(&self.standing).unwrap_or_default();
        Change::Stand { name: standing_name(&self.name), place }
    }

    async fn commit(&self, messages: Vec<Message>, with: Vec<Change>) -> Result<Vec<Published>> {
        let (mut failures, (first, cap)) = (0u32, STORE_WAIT_MS);
        loop {
            let error = match self.commit_once(messages.clone(), with.clone()).await {
                Ok(published) => return Ok(published),
                Err(error) if matches!(error.kind(), ErrorKind::Transient | ErrorKind::Storage) => error,
                Err(error) => return Err(error.while_doing("handing in what an intake took")),
            };
            if failures == 0 {
                tracing::warn!(intake = self.name, %error, "the store cannot be written to; the intake waits");
            }
            failures += 1;
            if !self.stop.sleep(Duration::from_millis(wait_ms(failures, first, cap))).await {
                return Err(error);
            }
        }
    }

    /// The fence of the duty is in the same commit: whoever was taken over writes nothing.
    async fn commit_once(&self, messages: Vec<Message>, mut with: Vec<Change>) -> Result<Vec<Published>> {
        with.insert(0, self.duty.proof());
        self.parts.publisher.publish(messages, with).await
    }

    async fn note(&self, changes: Vec<Change>) -> Result<()> {
        self.commit(Vec::new(), changes).await.map(|_| ())
    }
}

/// Whether trying again without anybody doing anything is in vain.
fn needs_a_person(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Bug => true,
        ErrorKind::Transient
        | ErrorKind::Throttled { .. }
        | ErrorKind::QuotaGone { .. }
        | ErrorKind::Conflict
        | ErrorKind::Storage
        | ErrorKind::Interrupted => false,
    }
}

fn event(kind: EventType, data: serde_json::Value) -> Change {
    Change::Event { kind, dataset: None, data }
}

/// A refusal: the event says where and why, what was sent is kept apart.
fn refusal(intake: &str, refused: Refused) -> [Change; 2] {
    let Refused { place, field, reason, row } = refused;
    let data = json!({ "intake": intake, "place": place, "field": field, "reason": reason });
    let quarantined = Quarantined { rule: field, reason, row };
    let source = place_name(intake);
    [Change::SetAside { source, quarantined }, event(EventType::IntakeRefused, data)]
}

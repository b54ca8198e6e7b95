//! The desk: what people ask about deliveries and decide about them, the same for the API and the commands.

use std::sync::Arc;

use serde_json::{Value, json};

use super::content::{Contents, Told};
use super::index::Index;
use super::letter::Letter;
use super::matching;
use super::replay::{self, Window};
use crate::feed::Feed;
use crate::model::definition::Kind;
use crate::model::{
    Attempt, AttemptOutcome, AttemptsWanted, Change, Chosen, Clock, Commit, Decision, DeliveriesWanted, Delivery,
    DeliveryState, Error, ErrorKind, EventType, Instant, Message, Mode, Result, SignatureForm, Subscription,
};
use crate::store::Store;

/// Attempts of one event that are shown.
const ATTEMPTS_MAX: usize = 1_000;

/// What people work with.
#[derive(Clone)]
pub struct Desk {
    pub store: Arc<dyn Store>,
    pub feed: Feed,
    pub clock: Clock,
}

/// What one subscription has to do with an event.
#[derive(Clone, Debug)]
pub struct Way {
    pub subscription: String,
    /// `waiting`, `dead`, `parked`, or how the last attempt ended.
    pub state: &'static str,
    pub delivery: Option<Delivery>,
    /// Newest first.
    pub attempts: Vec<Attempt>,
    /// Names and values of the headers of its requests; signatures are named and not shown.
    pub headers: Vec<(&'static str, String)>,
    pub url: Option<String>,
    /// What its requests say, of this event alone.
    pub body: Option<String>,
}

/// An event with its ways.
#[derive(Debug)]
pub struct Ways {
    pub event: u64,
    pub kind: String,
    pub id: String,
    pub source: String,
    pub at: Instant,
    pub ways: Vec<Way>,
}

/// A window as people name it: by event numbers, or by times.
#[derive(Clone, Debug, Default)]
pub struct Between {
    pub from: Option<u64>,
    pub to: Option<u64>,
    pub since: Option<Instant>,
    pub until: Option<Instant>,
}

impl Desk {
    async fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(drop)
    }

    /// A person decides. What is settled already goes out again where one event is to be retried.
    pub async fn decide(&self, subscription: &str, chosen: Chosen, decision: Decision, by: &str) -> Result<()> {
        self.known(subscription).await?;
        let change = Change::Decide {
            subscription: subscription.to_owned(),
            chosen: chosen.clone(),
            decision,
            by: by.to_owned(),
        };
        match (self.commit(vec![change]).await, chosen, decision) {
            (Err(error), Chosen::Event(event), Decision::Retry) if error.kind() == ErrorKind::NotFound => {
                self.send_again(subscription, event, by).await
            }
            (decided, ..) => decided,
        }
    }

    async fn known(&self, subscription: &str) -> Result<()> {
        match self.store.definition(Kind::Subscription, subscription).await? {
            Some(_) => Ok(()),
            None => {
                let error = Error::not_found(format!("there is no subscription {subscription:?}"));
                Err(error.hint("see `tidegate subscriptions`"))
            }
        }
    }

    /// One event that is settled goes out once more.
    async fn send_again(&self, subscription: &str, event: u64, by: &str) -> Result<()> {
        let told = self.told(event).await?;
        let index = Index::of(&self.store.definitions(Kind::Subscription).await?);
        let subscriber = index.get(subscription);
        let delivery = subscriber.and_then(|known| matching::delivery(known, &told, by, self.clock.now()));
        let delivery =
            delivery.ok_or_else(|| Error::not_found(format!("there is no subscription {subscription:?}")))?;
        let data = json!({
            "subscription": subscription, "decision": Decision::Retry.name(), "event": event, "key": Value::Null,
            "by": by, "deliveries": 1,
        });
        let event = Change::Event { kind: EventType::DeliveryDecided, dataset: None, data };
        self.commit(vec![Change::Deliver(vec![delivery]), event]).await
    }

    async fn told(&self, event: u64) -> Result<Arc<Told>> {
        let found = Contents::new(self.store.clone(), self.feed.clone(), 0).of(event).await?;
        let missing = || Error::not_found(format!("there is no event {event}")).hint("events count up from 1");
        found.ok_or_else(missing)
    }

    /// What every subscription has to do with an event.
    pub async fn ways(&self, event: u64) -> Result<Ways> {
        let told = self.told(event).await?;
        let (limit, event_of) = (ATTEMPTS_MAX, Some(event));
        let wanted = AttemptsWanted { event: event_of, limit, ..AttemptsWanted::default() };
        let attempts = self.store.attempts(&wanted).await?;
        let wanted = DeliveriesWanted { event: event_of, limit, ..DeliveriesWanted::default() };
        let deliveries = self.store.deliveries(&wanted).await?;
        let mut names: Vec<&String> = attempts.iter().map(|attempt| &attempt.subscription).collect();
        names.extend(deliveries.iter().map(|delivery| &delivery.subscription));
        names.sort();
        names.dedup();
        let mut ways = Vec::new();
        for name in names {
            let of_it = attempts.iter().filter(|attempt| attempt.subscription == *name).cloned().collect();
            let delivery = deliveries.iter().find(|delivery| delivery.subscription == *name).cloned();
            ways.push(self.way(name, &told.message, of_it, delivery).await?);
        }
        let message = &told.message;
        let (kind, id, source) = (message.kind.clone(), message.id.clone(), message.source.clone());
        Ok(Ways { event, kind, id, source, at: message.at, ways })
    }

    async fn way(
        &self,
        name: &str,
        message: &Message,
        attempts: Vec<Attempt>,
        delivery: Option<Delivery>,
    ) -> Result<Way> {
        let state = match (&delivery, attempts.first()) {
            (Some(delivery), _) => delivery.state.name(),
            (None, Some(last)) => last.outcome.name(),
            (None, None) => DeliveryState::Waiting.name(),
        };
        let defined = self.store.definition(Kind::Subscription, name).await?;
        let subscription: Option<Subscription> =
            defined.and_then(|definition| serde_json::from_value(definition.body).ok());
        let headers = subscription.as_ref().map(|known| headers(known.form, attempts.first())).unwrap_or_default();
        let together = |known: &Subscription| matches!(known.mode, Mode::Batch { .. });
        let letter = |known: &Subscription| Letter::write(known.form, &[message], together(known)).ok();
        let body = subscription.as_ref().and_then(letter).map(|letter| letter.body);
        let url = subscription.map(|subscription| subscription.url);
        Ok(Way { subscription: name.to_owned(), state, delivery, attempts, headers, url, body })
    }

    /// The window that people name.
    pub async fn window(
        &self,
        subscription: &str,
        between: &Between,
        types: Vec<String>,
        only_failed: bool,
    ) -> Result<Window> {
        let head = self.feed.head();
        let number = async |at: Instant| replay::number_at(&*self.store, head, at).await;
        let from = match (between.from, between.since) {
            (Some(from), None) => from,
            (None, Some(since)) => number(since).await?,
            (None, None) => return Err(window_error("a replay needs a beginning")),
            (Some(_), Some(_)) => return Err(window_error("a replay begins at an event or at a time, not at both")),
        };
        let to = match (between.to, between.until) {
            (Some(to), None) => to.min(head),
            (None, Some(until)) => number(until).await?.saturating_sub(1),
            (None, None) => head,
            (Some(_), Some(_)) => return Err(window_error("a replay ends at an event or at a time, not at both")),
        };
        Ok(Window { subscription: subscription.to_owned(), from, to, types, only_failed })
    }
}

fn window_error(message: &str) -> Error {
    Error::invalid(message).hint("name the number of the first event, or a time such as 2026-01-02T00:00:00+08:00")
}

/// The headers of a request, as far as they are no secret.
fn headers(form: SignatureForm, last: Option<&Attempt>) -> Vec<(&'static str, String)> {
    let Some(last) = last.filter(|last| last.outcome != AttemptOutcome::Skipped) else { return Vec::new() };
    let (id, timestamp) = (last.request.clone(), last.at.0.div_euclid(1_000_000).to_string());
    let hidden = || "(a signature)".to_owned();
    let mut headers = vec![("webhook-id", id)];
    headers.extend(match form {
        SignatureForm::Standard | SignatureForm::StandardEd25519 => {
            vec![("webhook-timestamp", timestamp), ("webhook-signature", hidden())]
        }
        SignatureForm::Mission => vec![("x-timestamp", timestamp), ("x-signature", hidden())],
        SignatureForm::Stripe => vec![("stripe-signature", hidden())],
        SignatureForm::Github => vec![("x-hub-signature-256", hidden())],
    });
    headers
}

//! Matching: which subscriptions are told of which events of the log. One step takes some events, and one commit moves the
//! cursor beyond them and writes down what is to be delivered: no event is missed, and none is taken twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch;
use super::content::{Contents, Told};
use super::index::{Facts, Index, Subscriber};
use super::reverse;
use crate::model::hex;
use crate::model::{Clock, Content, Delivery, DeliveryState, Event, Instant, Message, Result, SubscriptionState};
use crate::store::Store;

/// The longest key; of longer ones a digest takes the place.
const KEY_BYTES_MAX: usize = 200;

/// By whom deliveries of reversals are wanted.
pub const BY_REVERSE: &str = "reverse";
pub const BY_FEED: &str = "feed";

/// What is matched with what.
pub struct Matcher<'a> {
    pub store: &'a dyn Store,
    pub contents: &'a Contents,
    pub clock: &'a Clock,
}

impl Matcher<'_> {
    /// What these events are to whom. Events up to a subscription's own beginning are not for it.
    pub async fn deliveries(&self, index: &Index, events: &[Arc<Event>]) -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        if index.all().next().is_none() {
            return Ok(deliveries);
        }
        let now = self.clock.now();
        for told in self.contents.of_events(events).await? {
            for (subscriber, by) in self.told_to(index, &told).await? {
                deliveries.extend(delivery(&subscriber, &told, by, now));
            }
        }
        Ok(deliveries)
    }

    async fn told_to(&self, index: &Index, told: &Told) -> Result<Vec<(Arc<Subscriber>, &'static str)>> {
        let live = |subscriber: &Arc<Subscriber>| is_live(subscriber, told.message.event);
        if let Some(id) = reverse::reversed_id(&told.message)
            && let Some(original) = reverse::original(self.store, &told.message.source, &id).await?
        {
            let names = reverse::told_of(self.store, original).await?;
            let known = names.iter().filter_map(|name| index.get(name)).filter(|one| live(one)).cloned();
            return Ok(known.map(|subscriber| (subscriber, BY_REVERSE)).collect());
        }
        let found = index.matching(&facts(told)).into_iter().filter(live);
        Ok(found.map(|subscriber| (subscriber, BY_FEED)).collect())
    }
}

/// Whether a subscription is told of an event by itself.
fn is_live(subscriber: &Subscriber, event: u64) -> bool {
    let subscription = &subscriber.subscription;
    subscription.state != SubscriptionState::Disabled && event > subscription.after.unwrap_or(0)
}

/// What subscriptions look at.
pub fn facts(told: &Told) -> Facts<'_> {
    let message: &Message = &told.message;
    let data = match &message.content {
        Content::Json(text) => Some(text.as_str()),
        Content::None | Content::Bytes(_) => None,
    };
    let facts = Facts::new(&message.kind, &message.source).subject(message.subject.as_deref());
    facts.key(message.key.as_deref()).data(data).of_gate(told.of_gate)
}

/// The delivery of an event to a subscription.
pub fn delivery(subscriber: &Subscriber, told: &Told, by: &str, now: Instant) -> Option<Delivery> {
    let subscription = &subscriber.subscription;
    let due_at = match batch::due_at(&subscription.mode, now) {
        Ok(due_at) => due_at,
        Err(error) => {
            tracing::warn!(subscription = subscriber.name, %error, "a batch without a time goes out at once");
            now
        }
    };
    Some(Delivery {
        subscription: subscriber.name.clone(),
        event: told.message.event,
        key: key(facts(told).order_key(&subscription.order_by)),
        state: DeliveryState::Waiting,
        due_at,
        attempts: 0,
        by: by.to_owned(),
    })
}

fn key(key: String) -> String {
    use sha2::{Digest, Sha256};
    match key.len() <= KEY_BYTES_MAX {
        true => key.replace('\0', "\u{fffd}"),
        false => hex(&Sha256::digest(key.as_bytes())),
    }
}

/// Deliveries by subscription.
pub fn by_subscription(deliveries: &[Delivery]) -> BTreeMap<&str, Vec<&Delivery>> {
    let mut found: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
    for delivery in deliveries {
        found.entry(&delivery.subscription).or_default().push(delivery);
    }
    found
}

//! The subscriptions and their secrets as this process knows them: read from the store, and read again when the log says that
//! one was changed.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::index::Index;
use crate::dialect::webhook::Keyring;
use crate::feed::Feed;
use crate::model::definition::Kind;
use crate::model::{Event, EventType, Result};
use crate::store::Store;

/// Events that are looked at in one step.
const EVENTS_AT_ONCE: usize = 500;
/// After the store could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// The name under which the secrets of a subscription are kept.
pub fn secret_name(subscription: &str) -> String {
    format!("subscription:{subscription}")
}

/// Whether an event changes a subscription or its secrets.
pub fn changes_subscriptions(event: &Event) -> bool {
    let text = |name: &str| event.data[name].as_str().unwrap_or_default();
    let secret = text("kind") == Kind::Secret.name() && text("name").starts_with("subscription:");
    event.kind == EventType::DefinitionChanged && (secret || text("kind") == Kind::Subscription.name())
}

/// The subscriptions as they were read last. Clones share them.
#[derive(Clone)]
pub struct Subscribers {
    store: Arc<dyn Store>,
    held: Arc<RwLock<Arc<Index>>>,
}

impl Subscribers {
    pub async fn read(store: Arc<dyn Store>) -> Result<Subscribers> {
        let subscribers = Subscribers { store, held: Arc::default() };
        subscribers.refresh().await?;
        Ok(subscribers)
    }

    /// As they were read last.
    pub fn index(&self) -> Arc<Index> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them again.
    pub async fn refresh(&self) -> Result<Arc<Index>> {
        let index = Arc::new(Index::of(&self.store.definitions(Kind::Subscription).await?));
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = index.clone();
        Ok(index)
    }

    /// The secrets of a subscription as the store has them now; none when there are none.
    pub async fn keyring(&self, subscription: &str) -> Result<Keyring> {
        let found = self.store.definition(Kind::Secret, &secret_name(subscription)).await?;
        Ok(found.and_then(|definition| Keyring::from_json(&definition.body)).unwrap_or_default())
    }

    /// Reads them again whenever one was changed, whoever did it.
    pub async fn follow(self, feed: Feed) {
        let mut events = feed.follow(feed.head());
        loop {
            // The events are taken before the subscriptions are read: what is read knows all of them.
            let changed = match events.next(EVENTS_AT_ONCE).await {
                Ok(events) => events.iter().any(|event| changes_subscriptions(event)),
                Err(_) => true,
            };
            if changed && let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the subscriptions cannot be read; those that were known go on to count");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

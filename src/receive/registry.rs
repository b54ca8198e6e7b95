//! The inbound webhooks as they stand: read from their definitions, made ready, and followed as they change.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::inbound::{self, Inbound};
use super::mapping::Ready;
use crate::catalog::Catalog;
use crate::dialect::webhook::Keyring;
use crate::feed::Feed;
use crate::model::definition::Kind;
use crate::model::{Definition, Error, EventType, Instant, Result};
use crate::store::Store;

/// An inbound webhook with everything that a call needs.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub inbound: Inbound,
    pub keyring: Keyring,
    /// What its origin wants as a key; empty: nothing.
    pub(super) origin_key: String,
    pub mappings: Vec<Arc<Ready>>,
    /// Why it cannot work: its tables have changed since it was defined.
    pub broken: Option<String>,
    pub revision: u64,
    pub at: Instant,
}

impl Entry {
    /// Made ready against the catalogue; `Invalid` says what does not fit.
    pub fn check(inbound: &Inbound, catalog: &Catalog) -> Result<Vec<Arc<Ready>>> {
        inbound.check()?;
        let ready = |(at, mapping): (usize, &inbound::Mapping)| {
            let ready = Ready::of(mapping, catalog);
            ready.map(Arc::new).map_err(|error| {
                let field = format!("mappings[{at}]");
                let within = error.field().map_or(field.clone(), |inner| format!("{field}.{inner}"));
                error.while_doing(field).at_field(within)
            })
        };
        inbound.mappings.iter().enumerate().map(ready).collect()
    }

    /// Whether a key for its origin is set.
    pub fn has_origin_key(&self) -> bool {
        !self.origin_key.is_empty()
    }

    /// The mapping for a type of messages.
    pub fn ready_for(&self, kind: &str) -> Option<&Arc<Ready>> {
        self.mappings.iter().find(|ready| ready.fits(kind))
    }

    /// The mapping whose rows a table has.
    pub fn ready_of(&self, dataset: &str) -> Option<&Arc<Ready>> {
        self.mappings.iter().find(|ready| ready.dataset.name == dataset)
    }

    fn of(definition: &Definition, secrets: &BTreeMap<String, serde_json::Value>, catalog: &Catalog) -> Entry {
        let keyring = secrets.get(&secret_name(&definition.name)).and_then(Keyring::from_json).unwrap_or_default();
        let origin_key =
            secrets.get(&origin_name(&definition.name)).and_then(|value| value.as_str()).unwrap_or_default();
        let inbound = serde_json::from_value::<Inbound>(definition.body.clone());
        let (inbound, ready) = match inbound {
            Ok(inbound) => {
                let ready = Entry::check(&inbound, catalog).map_err(|error| error.to_string());
                (inbound, ready)
            }
            Err(_) => (Inbound::none(), Err("its definition cannot be read".to_owned())),
        };
        let (mappings, broken) = match ready {
            Ok(mappings) => (mappings, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Entry {
            name: definition.name.clone(),
            inbound,
            keyring,
            origin_key: origin_key.to_owned(),
            mappings,
            broken,
            revision: definition.revision,
            at: definition.at,
        }
    }
}

/// The definition of kind secret that has the secrets of a webhook.
pub fn secret_name(inbound: &str) -> String {
    format!("inbound:{inbound}")
}

/// The definition of kind secret that has what its origin wants.
pub fn origin_name(inbound: &str) -> String {
    format!("inbound-origin:{inbound}")
}

/// Every webhook that is defined, by name.
pub async fn read(store: &dyn Store, catalog: &Catalog) -> Result<BTreeMap<String, Arc<Entry>>> {
    let secrets = store.definitions(Kind::Secret).await?;
    let secrets = secrets.into_iter().map(|secret| (secret.name, secret.body)).collect();
    let defined = store.definitions(Kind::Inbound).await?;
    let entry = |definition: &Definition| (definition.name.clone(), Arc::new(Entry::of(definition, &secrets, catalog)));
    Ok(defined.iter().map(entry).collect())
}

/// One webhook; `NotFound` without one of this name.
pub async fn one(store: &dyn Store, catalog: &Catalog, name: &str) -> Result<Arc<Entry>> {
    let not_found =
        || Error::not_found(format!("there is no inbound webhook {name:?}")).hint("`tidegate inbound list` lists them");
    read(store, catalog).await?.remove(name).ok_or_else(not_found)
}

/// Wait after the definitions could not be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Events that are looked at in one step.
const EVENTS_AT_ONCE: usize = 1_000;

/// The webhooks of one moment, by name.
type Entries = BTreeMap<String, Arc<Entry>>;

/// The webhooks as they were read last. Clones share it.
#[derive(Clone)]
pub(super) struct Registry {
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
    held: Arc<RwLock<Arc<Entries>>>,
}

impl Registry {
    pub(super) async fn start(store: Arc<dyn Store>, catalog: Arc<Catalog>, feed: Feed) -> Result<Registry> {
        let cursor = feed.head();
        let registry = Registry { store, catalog, held: Arc::default() };
        registry.refresh().await?;
        tokio::spawn(registry.clone().follow(feed, cursor));
        Ok(registry)
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) async fn refresh(&self) -> Result<()> {
        let read = read(&*self.store, &self.catalog).await?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
        Ok(())
    }

    async fn follow(self, feed: Feed, cursor: u64) {
        let mut follower = feed.follow(cursor);
        loop {
            let events = match follower.next(EVENTS_AT_ONCE).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, "the event log cannot be followed");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let ours = |kind: &serde_json::Value| kind == Kind::Inbound.name() || kind == Kind::Secret.name();
            let changed =
                events.iter().any(|event| event.kind == EventType::DefinitionChanged && ours(&event.data["kind"]));
            while changed && let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the inbound webhooks cannot be read");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

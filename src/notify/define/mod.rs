//! What people and programs may ask of subscriptions: make, change, pause, rotate, try. Works through the store alone, so that
//! any process can do it; every change names who made it in the audit journal, in the same commit.

mod check;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::client::{Client, ClientOptions, SystemNames};
use super::subscribers::secret_name;
use crate::dialect::webhook::{Explanation, Incoming, Keyring, Secret, explain};
use crate::feed;
use crate::model::definition::Kind;
use crate::model::{
    Change, Clock, Commit, Definition, Error, Instant, JournalEntry, Result, SignatureForm, Subnet, Subscription,
    SubscriptionState,
};
use crate::store::Store;

pub use check::{Limits, check, check_name};
pub use trial::{TEST_TYPE, Trial};

/// The longest reason of a pause, in characters.
const REASON_CHARACTERS_MAX: usize = 200;

/// What subscriptions get where they name nothing; from `[notify]` in the configuration.
#[derive(Clone, Debug)]
pub struct DefineOptions {
    pub client: ClientOptions,
    pub timeout: Duration,
    pub rotation_hours: u32,
    pub source_system: String,
    pub tolerance_seconds: i64,
}

impl DefineOptions {
    fn allow(&self) -> &[Subnet] {
        &self.client.allow
    }
}

/// Lists and changes subscriptions. Clones share connections.
#[derive(Clone)]
pub struct Subscriptions {
    store: Arc<dyn Store>,
    clock: Clock,
    options: Arc<DefineOptions>,
    client: Client,
}

/// A subscription as it stands.
#[derive(Clone, Debug)]
pub struct Status {
    pub name: String,
    pub subscription: Subscription,
    /// What a change may expect.
    pub revision: u64,
    /// When it was changed last.
    pub at: Instant,
    pub keyring: Keyring,
}

/// A subscription that was made or changed, with a secret that is shown now and never again.
#[derive(Debug)]
pub struct Made {
    pub status: Status,
    pub secret: Option<Secret>,
}

impl Subscriptions {
    pub fn new(store: Arc<dyn Store>, clock: Clock, options: DefineOptions) -> Result<Subscriptions> {
        let client = Client::new(&options.client, Arc::new(SystemNames))?;
        Ok(Subscriptions { store, clock, options: Arc::new(options), client })
    }

    /// Every subscription, by name.
    pub async fn list(&self) -> Result<Vec<Status>> {
        let secrets = self.store.definitions(Kind::Secret).await?;
        let keyring = |name: &str| {
            let secret = secrets.iter().find(|secret| secret.name == secret_name(name))?;
            Keyring::from_json(&secret.body)
        };
        let all = self.store.definitions(Kind::Subscription).await?.into_iter();
        // One that another version wrote is left out, as it is left out of deliveries.
        let status = |one: Definition| {
            let keyring = keyring(&one.name).unwrap_or_default();
            status(one, keyring).ok()
        };
        Ok(all.filter_map(status).collect())
    }

    /// One subscription, or `NotFound`.
    pub async fn get(&self, name: &str) -> Result<Status> {
        let definition = self.store.definition(Kind::Subscription, name).await?;
        let none =
            || Error::not_found(format!("there is no subscription {name:?}")).hint("see `tidegate subscriptions`");
        status(definition.ok_or_else(none)?, self.keyring(name).await?.1)
    }

    async fn keyring(&self, name: &str) -> Result<(u64, Keyring)> {
        let found = self.store.definition(Kind::Secret, &secret_name(name)).await?;
        let Some(definition) = found else { return Ok((0, Keyring::default())) };
        Ok((definition.revision, Keyring::from_json(&definition.body).unwrap_or_default()))
    }

    fn limits(&self) -> Limits<'_> {
        Limits { plain_http: self.options.client.plain_http, allow: self.options.allow() }
    }

    /// Makes a subscription from its fields; `Conflict` when there is one of this name. Without a secret one is made.
    pub async fn create(
        &self,
        name: &str,
        fields: Map<String, Value>,
        secret: Option<Secret>,
        by: &str,
    ) -> Result<Made> {
        check_name(name)?;
        let mut subscription = check::read(fields)?;
        check(&subscription, &self.limits())?;
        subscription.after = Some(match subscription.after {
            None => self.last_event().await?,
            Some(after) => after,
        });
        let form = subscription.form;
        let secret = match secret {
            Some(secret) => secret,
            None => Secret::generate(form)?,
        };
        secret.check_signs(form).map_err(|error| error.at_field("secret"))?;
        let keyring = Keyring::new(secret.clone(), self.clock.now());
        let changes = vec![
            define(Kind::Subscription, name, body(&subscription)?, Some(0)),
            define(Kind::Secret, &secret_name(name), keyring.to_json(), None),
            self.audit(by, name, format!("subscription {name} created")),
        ];
        self.commit(changes).await?;
        Ok(Made { status: self.get(name).await?, secret: Some(secret) })
    }

    /// Changes fields; what is absent stays, what is null goes back to its default. `expect`: the revision that was read, else
    /// `Conflict`. Another form gets a new secret where the present one cannot be used in it.
    pub async fn change(&self, name: &str, fields: Map<String, Value>, expect: Option<u64>, by: &str) -> Result<Made> {
        let before = self.get(name).await?;
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let what = format!("subscription {name} changed: {}", names.join(", "));
        let merged = check::merge(&before.subscription, fields)?;
        check(&merged, &self.limits())?;
        let revision = expect.unwrap_or(before.revision);
        let mut changes = vec![define(Kind::Subscription, name, body(&merged)?, Some(revision))];
        let mut secret = None;
        let now = self.clock.now();
        if before.keyring.check_signs(merged.form, now).is_err() {
            let fresh = Secret::generate(merged.form)?;
            let keyring = Keyring::new(fresh.clone(), now);
            changes.push(define(Kind::Secret, &secret_name(name), keyring.to_json(), None));
            secret = Some(fresh);
        }
        changes.push(self.audit(by, name, what));
        self.commit(changes).await?;
        Ok(Made { status: self.get(name).await?, secret })
    }

    /// Lets events wait until it is resumed.
    pub async fn pause(&self, name: &str, reason: Option<&str>, by: &str) -> Result<Status> {
        let reason = reason.map_or_else(|| format!("paused by {by}"), str::to_string);
        if reason.chars().count() > REASON_CHARACTERS_MAX {
            let message = format!("a reason has at most {REASON_CHARACTERS_MAX} characters");
            return Err(Error::invalid(message).at_field("reason"));
        }
        self.become_state(name, SubscriptionState::Paused, Some(reason), by, "paused").await
    }

    /// Lets events go out again: those that wait, and those to come. After it was disabled only those to come.
    pub async fn resume(&self, name: &str, by: &str) -> Result<Status> {
        self.become_state(name, SubscriptionState::Active, None, by, "resumed").await
    }

    /// Ends it until it is resumed: events of the time between are not delivered.
    pub async fn disable(&self, name: &str, by: &str) -> Result<Status> {
        let reason = Some(format!("disabled by {by}"));
        self.become_state(name, SubscriptionState::Disabled, reason, by, "disabled").await
    }

    async fn become_state(
        &self,
        name: &str,
        state: SubscriptionState,
        reason: Option<String>,
        by: &str,
        what: &str,
    ) -> Result<Status> {
        let before = self.get(name).await?;
        let revision = before.revision;
        let was = before.subscription.state;
        let mut subscription = Subscription { state, reason, ..before.subscription };
        if was == SubscriptionState::Disabled && state == SubscriptionState::Active {
            subscription.after = Some(self.last_event().await?);
        }
        self.commit(vec![
            define(Kind::Subscription, name, body(&subscription)?, Some(revision)),
            self.audit(by, name, format!("subscription {name} {what}")),
        ])
        .await?;
        self.get(name).await
    }

    /// Removes it with its secrets.
    pub async fn remove(&self, name: &str, by: &str) -> Result<()> {
        self.get(name).await?;
        let mut changes = vec![Change::Undefine { kind: Kind::Subscription, name: name.to_string() }];
        if self.keyring(name).await?.0 > 0 {
            changes.push(Change::Undefine { kind: Kind::Secret, name: secret_name(name) });
        }
        changes.push(self.audit(by, name, format!("subscription {name} removed")));
        self.commit(changes).await
    }

    /// Gives it another secret, or makes one; those before go on to count for some hours and then end by themselves.
    pub async fn rotate(&self, name: &str, secret: Option<Secret>, hours: Option<u32>, by: &str) -> Result<Made> {
        let hours = hours.unwrap_or(self.options.rotation_hours);
        let form = self.get(name).await?.subscription.form;
        let secret = match secret {
            Some(secret) => secret,
            None => Secret::generate(form)?,
        };
        secret.check_signs(form).map_err(|error| error.at_field("secret"))?;
        let (revision, mut keyring) = self.keyring(name).await?;
        keyring.rotate(secret.clone(), self.clock.now(), hours)?;
        self.commit(vec![
            define(Kind::Secret, &secret_name(name), keyring.to_json(), Some(revision)),
            self.audit(by, name, format!("secret of subscription {name} rotated, overlap {hours} h")),
        ])
        .await?;
        Ok(Made { status: self.get(name).await?, secret: Some(secret) })
    }

    /// Sends a test event now, signed as deliveries are, and shows what went out and what came back. It is no delivery:
    /// nothing is kept of it, and it is not tried again.
    pub async fn test(&self, name: &str) -> Result<Trial> {
        let status = self.get(name).await?;
        trial::send(&self.client, &self.options, &status, self.clock.now()).await
    }

    /// Why a signature does not match, by the secrets of a subscription.
    pub async fn explain(&self, name: &str, incoming: &Incoming<'_>) -> Result<(SignatureForm, Explanation)> {
        let status = self.get(name).await?;
        let form = status.subscription.form;
        Ok((form, explain(form, &status.keyring, incoming)))
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// How far a timestamp may be away from now, in seconds.
    pub fn tolerance_seconds(&self) -> i64 {
        self.options.tolerance_seconds
    }

    /// The number of the newest event in the log.
    async fn last_event(&self) -> Result<u64> {
        feed::end_of_log(&*self.store).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }

    fn audit(&self, who: &str, name: &str, text: String) -> Change {
        Change::Journal(JournalEntry::change(self.clock.now(), who, format!("subscription:{name}"), text))
    }
}

fn status(definition: Definition, keyring: Keyring) -> Result<Status> {
    let Definition { name, body, revision, at, .. } = definition;
    let unreadable = |error| Error::conflict(format!("the subscription {name:?} cannot be read")).caused_by(error);
    let subscription = serde_json::from_value(body).map_err(unreadable)?;
    Ok(Status { name, subscription, revision, at, keyring })
}

fn define(kind: Kind, name: &str, body: Value, expect: Option<u64>) -> Change {
    Change::Define { kind, name: name.to_string(), body, expect }
}

fn body(subscription: &Subscription) -> Result<Value> {
    serde_json::to_value(subscription).map_err(|error| Error::bug("writing a subscription").caused_by(error))
}

//! Defining inbound webhooks: the same for the API and the commands. A secret is shown once, when it is made.

use std::sync::Arc;

use serde_json::Value;

use super::inbound::{self, Inbound};
use super::mapping::Mapped;
use super::registry::{self, Entry, origin_name, secret_name};
use super::{read, rows};
use crate::catalog::Catalog;
use crate::dialect::cloudevents::{Header, Limits};
use crate::dialect::webhook::{Keyring, Secret};
use crate::model::definition::Kind;
use crate::model::{
    Change, Clock, Commit, Error, ErrorKind, JournalEntry, Received, ReceivedState, ReceivedWanted, Result,
    SignatureForm,
};
use crate::store::Store;

/// Hours for which an old secret counts beside a new one, unless somebody says otherwise.
pub const OVERLAP_HOURS: u32 = 24;

/// What people and programs may ask of inbound webhooks.
#[derive(Clone)]
pub struct Control {
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
    clock: Clock,
    limits: Limits,
    items_max: usize,
}

/// A webhook with the secret that was just made for it, or given.
pub struct Made {
    pub entry: Arc<Entry>,
    /// `None`: somebody brought one.
    pub secret: Option<Secret>,
}

impl Control {
    pub fn new(
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        clock: Clock,
        limits: Limits,
        items_max: usize,
    ) -> Control {
        Control { store, catalog, clock, limits, items_max }
    }

    /// Every webhook, by name.
    pub async fn list(&self) -> Result<Vec<Arc<Entry>>> {
        Ok(registry::read(&*self.store, &self.catalog).await?.into_values().collect())
    }

    pub async fn get(&self, name: &str) -> Result<Arc<Entry>> {
        registry::one(&*self.store, &self.catalog, name).await
    }

    /// Defines a webhook. Without a secret one is made; the sender of the form `standard_ed25519` has a public key.
    /// `who` is remembered in the audit journal, here and wherever something changes.
    pub async fn add(&self, name: &str, inbound: Inbound, secret: Option<Secret>, who: &str) -> Result<Made> {
        inbound::check_name(name)?;
        Entry::check(&inbound, &self.catalog)?;
        let made = secret.is_none();
        let secret = match secret {
            Some(secret) => secret,
            None => generate(&inbound.forms)?,
        };
        check_secret(&secret, &inbound.forms)?;
        let keyring = Keyring::new(secret.clone(), self.clock.now());
        let changes = vec![
            define(Kind::Inbound, name, body_of(&inbound)?, Some(0)),
            define(Kind::Secret, &secret_name(name), keyring.to_json(), None),
            self.audit(who, name, "is defined"),
        ];
        self.commit(changes).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => Error::conflict(format!("there is an inbound webhook {name:?} already"))
                .hint("change it, or choose another name"),
            _ => error,
        })?;
        Ok(Made { entry: self.get(name).await?, secret: made.then_some(secret) })
    }

    /// Changes fields of a webhook; those that are not named stay. `revision`: the one that was read.
    pub async fn change(
        &self,
        name: &str,
        fields: serde_json::Map<String, Value>,
        revision: Option<u64>,
        who: &str,
    ) -> Result<Arc<Entry>> {
        let before = self.get(name).await?;
        let mut body = body_of(&before.inbound)?;
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let what = format!("is changed: {}", names.join(", "));
        for (field, value) in fields {
            body[field.as_str()] = value;
        }
        let inbound = inbound_of(body)?;
        Entry::check(&inbound, &self.catalog)?;
        for secret in before.keyring.counting(self.clock.now()) {
            check_secret(&secret, &inbound.forms)?;
        }
        let expect = Some(revision.unwrap_or(before.revision));
        let change = define(Kind::Inbound, name, body_of(&inbound)?, expect);
        self.commit(vec![change, self.audit(who, name, &what)]).await?;
        self.get(name).await
    }

    pub async fn pause(&self, name: &str, paused: bool, who: &str) -> Result<Arc<Entry>> {
        self.change(name, [("paused".to_owned(), Value::Bool(paused))].into_iter().collect(), None, who).await
    }

    /// Removes a webhook with its secrets. What it took in stays.
    pub async fn remove(&self, name: &str, who: &str) -> Result<()> {
        self.get(name).await?;
        let undefine = |kind, name: String| Change::Undefine { kind, name };
        self.commit(vec![
            undefine(Kind::Inbound, name.to_owned()),
            undefine(Kind::Secret, secret_name(name)),
            undefine(Kind::Secret, origin_name(name)),
            self.audit(who, name, "is removed with its secrets"),
        ])
        .await
    }

    /// A new secret comes; those before it count so many hours longer.
    pub async fn rotate(&self, name: &str, secret: Option<Secret>, overlap_hours: u32, who: &str) -> Result<Made> {
        let entry = self.get(name).await?;
        let made = secret.is_none();
        let secret = match secret {
            Some(secret) => secret,
            None => generate(&entry.inbound.forms)?,
        };
        check_secret(&secret, &entry.inbound.forms)?;
        let mut keyring = entry.keyring.clone();
        keyring.rotate(secret.clone(), self.clock.now(), overlap_hours)?;
        let change = define(Kind::Secret, &secret_name(name), keyring.to_json(), None);
        self.commit(vec![change, self.audit(who, name, "has a new secret")]).await?;
        Ok(Made { entry: self.get(name).await?, secret: made.then_some(secret) })
    }

    /// Sets what the origin wants as a key; `None` removes it.
    pub async fn set_origin_key(&self, name: &str, key: Option<String>, who: &str) -> Result<()> {
        let entry = self.get(name).await?;
        if entry.inbound.origin.is_none() {
            let error = Error::conflict(format!("the inbound webhook {name} has no origin"));
            return Err(error.hint("change it to have one first"));
        }
        let stored = origin_name(name);
        let (change, what) = match key {
            None => (Change::Undefine { kind: Kind::Secret, name: stored }, "has no key for its origin any more"),
            Some(key) if !key.is_empty() && key.len() <= 4_096 && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                (define(Kind::Secret, &stored, Value::String(key), None), "has a new key for its origin")
            }
            Some(_) => return Err(Error::invalid("a key has 1 to 4096 visible ASCII characters").at_field("key")),
        };
        self.commit(vec![change, self.audit(who, name, what)]).await
    }

    /// What a body would become: the rows of each message, or that it is only kept. Nothing is written or verified.
    pub async fn try_out(
        &self,
        name: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Result<Vec<(crate::model::Message, Option<Mapped>)>> {
        let entry = self.get(name).await?;
        if let Some(why) = &entry.broken {
            return Err(Error::conflict(format!("the inbound webhook {name} cannot work: {why}")));
        }
        let source = entry.inbound.source.clone().unwrap_or_else(|| format!("/webhooks/{name}"));
        let call = read::Call { headers, body, id: Some("test"), source: &source };
        let mut found = Vec::new();
        for message in read::messages(&call, &self.limits)? {
            let Some(ready) = entry.ready_for(&message.kind) else {
                super::check_kept(&entry, &message)?;
                found.push((message, None));
                continue;
            };
            let mapped = ready.map(&message, self.clock.now(), self.items_max)?;
            rows::check_all(&mapped)?;
            found.push((message, Some(mapped)));
        }
        Ok(found)
    }

    /// What a webhook took in, newest first.
    pub async fn messages(&self, name: &str, state: Option<ReceivedState>, limit: usize) -> Result<Vec<Received>> {
        self.get(name).await?;
        let inbound = Some(name.to_owned());
        self.store.receipts(&ReceivedWanted { inbound, state, limit, ..ReceivedWanted::default() }).await
    }

    /// Messages that are stuck wait again, and are due now. How many there were.
    pub async fn retry(&self, name: &str) -> Result<usize> {
        let stuck = self.messages(name, Some(ReceivedState::Stuck), 10_000).await?;
        let now = self.clock.now();
        let again = |received: &Received| {
            let state = ReceivedState::Waiting;
            Change::Settle(Received { state, attempts: 0, due_at: now, ..received.clone() })
        };
        let changes: Vec<Change> = stuck.iter().map(again).collect();
        self.commit(changes).await?;
        Ok(stuck.len())
    }

    fn audit(&self, who: &str, name: &str, what: &str) -> Change {
        let text = format!("inbound webhook {name} {what}");
        Change::Journal(JournalEntry::change(self.clock.now(), who, format!("inbound:{name}"), text))
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }
}

/// Reads a definition as people write it.
pub fn inbound_of(body: Value) -> Result<Inbound> {
    serde_json::from_value(body).map_err(|error| {
        Error::invalid(format!("this is no inbound webhook: {error}")).hint("see docs/guide/receiving.md")
    })
}

fn body_of(inbound: &Inbound) -> Result<Value> {
    serde_json::to_value(inbound).map_err(|error| Error::bug("writing an inbound webhook").caused_by(error))
}

fn define(kind: Kind, name: &str, body: Value, expect: Option<u64>) -> Change {
    Change::Define { kind, name: name.to_owned(), body, expect }
}

/// A secret that works in every one of these forms.
fn generate(forms: &[SignatureForm]) -> Result<Secret> {
    if forms.contains(&SignatureForm::StandardEd25519) {
        let error =
            Error::invalid("the form standard_ed25519 is checked with the sender's public key").at_field("secret");
        return Err(error.hint("ask the sender for it; it begins with whpk_"));
    }
    Secret::generate(SignatureForm::Standard)
}

fn check_secret(secret: &Secret, forms: &[SignatureForm]) -> Result<()> {
    forms.iter().try_for_each(|form| secret.check_verifies(*form)).map_err(|error| error.at_field("secret"))
}

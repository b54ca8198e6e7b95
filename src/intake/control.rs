//! What people and programs may ask of intakes. Works through the store alone, so that any process can do it; every
//! change names who made it in the audit journal, in the same commit. Addresses are secrets: set here, never shown.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::definition::{Intake, Origin, State, check_name};
use super::desk::{place_name, standing_name};
use super::keeper::secret_name;
use super::postgres::Database;
use super::replication::{BEGIN_ANEW, Names, drop_publication, drop_slot};
use super::standing::{Doing, Standing};
use super::trial::{Found, Trial};
use crate::model::definition::{Definition, Kind};
use crate::model::{Change, Clock, Commit, Error, ErrorKind, JournalEntry, Result};
use crate::postgres::Address;
use crate::store::Store;

/// For one connection and one answer, where a person waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tries to drop a slot that its last reader is leaving.
const DROPS_MAX: u32 = 20;
const DROP_AGAIN: Duration = Duration::from_millis(250);
/// The longest address.
const URL_BYTES_MAX: usize = 4_096;

/// Lists, changes and tries intakes.
#[derive(Clone)]
pub struct Control {
    store: Arc<dyn Store>,
    clock: Clock,
}

/// An intake as it stands.
#[derive(Clone, Debug)]
pub struct IntakeStatus {
    pub name: String,
    pub intake: Intake,
    /// Of its definition: what a change may expect.
    pub revision: u64,
    pub standing: Standing,
    /// Where it stands in the publisher's log, in words of that log.
    pub place: Option<String>,
    pub has_url: bool,
}

/// An intake as somebody wants it: its body beside its name and its address.
#[derive(Deserialize)]
pub struct NewIntake {
    pub name: String,
    pub url: String,
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

impl Control {
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Control {
        Control { store, clock }
    }

    /// Every intake, by name.
    pub async fn list(&self) -> Result<Vec<IntakeStatus>> {
        let mut all = Vec::new();
        for definition in self.store.definitions(Kind::Intake).await? {
            all.push(self.status(definition).await?);
        }
        Ok(all)
    }

    /// One intake, or `NotFound`.
    pub async fn get(&self, name: &str) -> Result<IntakeStatus> {
        let definition = self.definition(name).await?;
        self.status(definition).await
    }

    async fn status(&self, definition: Definition) -> Result<IntakeStatus> {
        let Definition { name, body, revision, .. } = definition;
        let intake = Intake::read(body)?;
        let standing = self.store.place(&standing_name(&name)).await?;
        let mut standing: Standing = standing.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if intake.state == State::Paused {
            (standing.doing, standing.next_try) = (Doing::Paused, None);
        }
        let place = self.store.place(&place_name(&name)).await?.filter(|place| !place.is_empty());
        let has_url = self.store.definition(Kind::Secret, &secret_name(&name)).await?.is_some();
        Ok(IntakeStatus { name, intake, revision, standing, place, has_url })
    }

    /// Creates an intake; `Conflict` when there is one of this name.
    pub async fn create(&self, wanted: NewIntake, by: &str) -> Result<IntakeStatus> {
        check_name(&wanted.name)?;
        let intake = Intake::read(Value::Object(wanted.body))?;
        check_url(&intake, &wanted.url)?;
        let changes = vec![
            self.define(&wanted.name, &intake, Some(0))?,
            secret(&wanted.name, wanted.url),
            self.audit(by, &wanted.name, "created"),
        ];
        self.commit(changes).await?;
        self.get(&wanted.name).await
    }

    /// Changes an intake: fields that are named replace what is there, `url` the address. `expect`: the revision that
    /// was read, else `Conflict`. What it takes from cannot become another kind of place.
    pub async fn change(
        &self,
        name: &str,
        mut fields: Map<String, Value>,
        expect: Option<u64>,
        by: &str,
    ) -> Result<IntakeStatus> {
        let definition = self.definition(name).await?;
        let before = Intake::read(definition.body.clone())?;
        let url = match fields.remove("url") {
            None => None,
            Some(Value::String(url)) => Some(url),
            Some(_) => return Err(Error::invalid("`url` is no text").at_field("url")),
        };
        let Value::Object(mut body) = definition.body else {
            return Err(Error::bug("the definition of an intake is no object"));
        };
        body.extend(fields);
        let intake = Intake::read(Value::Object(body))?;
        if intake.origin()?.name() != before.origin()?.name() {
            let error = Error::invalid("an intake cannot become one of another kind");
            return Err(error.hint("remove it, and add another one"));
        }
        let mut changes = vec![self.define(name, &intake, Some(expect.unwrap_or(definition.revision)))?];
        if let Some(url) = url {
            check_url(&intake, &url)?;
            changes.push(secret(name, url));
        }
        changes.push(self.audit(by, name, "changed"));
        self.commit(changes).await?;
        self.get(name).await
    }

    /// Lets it rest; its place stays.
    pub async fn pause(&self, name: &str, by: &str) -> Result<IntakeStatus> {
        self.set_state(name, State::Paused, Vec::new(), by, "paused").await
    }

    /// Lets it go on. `anew`: without its place, only for one that is paused or stuck. A slot begins where the server is
    /// now, an outbox is read from its beginning.
    pub async fn resume(&self, name: &str, anew: bool, by: &str) -> Result<IntakeStatus> {
        if !anew {
            return self.set_state(name, State::Active, Vec::new(), by, "resumed").await;
        }
        let status = self.get(name).await?;
        if !matches!(status.standing.doing, Doing::Paused | Doing::Stuck | Doing::Waiting) {
            let error = Error::conflict(format!("the intake {name} is {}", status.standing.doing.name()));
            return Err(error.hint(format!("`tidegate intake pause {name}` first")));
        }
        let place = match status.intake.origin()? {
            Origin::Replication(_) => BEGIN_ANEW.to_owned(),
            Origin::Outbox(_) | Origin::Redis(_) => String::new(),
        };
        let changes = vec![Change::Stand { name: place_name(name), place }];
        self.set_state(name, State::Active, changes, by, "resumed anew").await
    }

    async fn set_state(
        &self,
        name: &str,
        state: State,
        more: Vec<Change>,
        by: &str,
        what: &str,
    ) -> Result<IntakeStatus> {
        let definition = self.definition(name).await?;
        let intake = Intake { state, ..Intake::read(definition.body)? };
        let mut changes = vec![self.define(name, &intake, Some(definition.revision))?];
        changes.extend(more);
        changes.push(self.audit(by, name, what));
        self.commit(changes).await?;
        self.get(name).await
    }

    /// Removes it. A slot keeps the server's log for ever, so it is dropped with it, unless it shall be kept.
    pub async fn remove(&self, name: &str, keep_slot: bool, by: &str) -> Result<()> {
        let status = self.get(name).await?;
        if let (Origin::Replication(replication), false) = (status.intake.origin()?, keep_slot) {
            if status.intake.state == State::Active {
                self.pause(name, by).await?;
            }
            let names = Names::of(name, replication);
            let dropped = self.drop_slot(name, &names).await;
            dropped.map_err(|error| {
                let slot = &names.slot;
                let error =
                    error.while_doing(format!("dropping the slot {slot}, without which the server keeps its log"));
                error.hint(format!("drop it there and use `tidegate intake remove {name} --keep-slot`"))
            })?;
        }
        let nothing = |name: String| Change::Stand { name, place: String::new() };
        let changes = vec![
            Change::Undefine { kind: Kind::Intake, name: name.to_owned() },
            Change::Undefine { kind: Kind::Secret, name: secret_name(name) },
            nothing(place_name(name)),
            nothing(standing_name(name)),
            self.audit(by, name, "removed"),
        ];
        self.commit(changes).await
    }

    async fn drop_slot(&self, name: &str, names: &Names) -> Result<()> {
        let Some(url) = self.url(name).await? else { return Ok(()) };
        let database = Database::connect(&Address::read(&url, "url", PATIENCE)?, PATIENCE).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            match drop_slot(&database, &names.slot).await {
                Ok(()) => return drop_publication(&database, names).await,
                Err(error) if error.kind() != ErrorKind::Transient || tries == DROPS_MAX => return Err(error),
                Err(_) => tokio::time::sleep(DROP_AGAIN).await,
            }
        }
    }

    /// Looks whether an intake could work: connects, and reads what is there. Nothing is taken and nothing is made.
    pub async fn test(&self, name: &str) -> Result<Vec<Found>> {
        let status = self.get(name).await?;
        let url = self.url(name).await?.unwrap_or_default();
        Trial { name, url: &url, patience: PATIENCE }.run(&status.intake).await
    }

    async fn url(&self, name: &str) -> Result<Option<String>> {
        let secret = self.store.definition(Kind::Secret, &secret_name(name)).await?;
        Ok(secret.and_then(|secret| secret.body.as_str().map(str::to_owned)))
    }

    async fn definition(&self, name: &str) -> Result<Definition> {
        let definition = self.store.definition(Kind::Intake, name).await?;
        definition
            .ok_or_else(|| Error::not_found(format!("there is no intake {name}")).hint("see `tidegate intake list`"))
    }

    fn define(&self, name: &str, intake: &Intake, expect: Option<u64>) -> Result<Change> {
        let body = serde_json::to_value(intake);
        let body = body.map_err(|error| Error::bug("an intake cannot be written down").caused_by(error))?;
        Ok(Change::Define { kind: Kind::Intake, name: name.to_owned(), body, expect })
    }

    fn audit(&self, who: &str, name: &str, what: &str) -> Change {
        Change::Journal(JournalEntry::change(
            self.clock.now(),
            who,
            format!("intake:{name}"),
            format!("intake {name} {what}"),
        ))
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }
}

fn check_url(intake: &Intake, url: &str) -> Result<()> {
    if url.len() > URL_BYTES_MAX {
        return Err(Error::invalid(format!("`url` has at most {URL_BYTES_MAX} bytes")).at_field("url"));
    }
    intake.check_url(url).map_err(|error| error.at_field("url"))
}

fn secret(name: &str, url: String) -> Change {
    Change::Define { kind: Kind::Secret, name: secret_name(name), body: Value::String(url), expect: None }
}

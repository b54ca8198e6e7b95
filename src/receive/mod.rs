//! Receiving: calls of inbound webhooks become messages and rows. What a call says is verified, taken apart and mapped
//! before anything is written; then message and rows are one commit, and only then is the sender told. A message is taken
//! in once, however often it is sent, and an older version of a row never overwrites a newer one.

mod cell;
mod control;
mod decide;
mod document;
pub mod inbound;
mod mapping;
mod missing;
mod origin;
mod path;
mod read;
mod registry;
mod rows;
mod step;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

pub use control::{Control, Made, OVERLAP_HOURS, inbound_of};
pub use mapping::{Mapped, Ready};
pub use registry::Entry;

use inbound::Others;
use origin::Asker;
use registry::Registry;
use writer::{Unit, Work, Writer};

use crate::catalog::Catalog;
use crate::dialect::cloudevents::{Header, Limits};
use crate::dialect::webhook::{Headers, Incoming, Matched, verify};
use crate::feed::Feed;
use crate::model::{Clock, Error, ErrorKind, Message, Received, ReceivedState, ReceivedWanted, Result, SignatureForm};
use crate::notify::client::Client;
use crate::store::Store;

/// How calls are taken in; from `[receive]` in the configuration.
#[derive(Clone, Debug)]
pub struct ReceiveOptions {
    pub limits: Limits,
    /// How far the timestamp of a call may be away from now.
    pub tolerance_seconds: u32,
    /// Messages that may wait for the writer.
    pub queue: usize,
    /// Messages of one commit.
    pub commit_messages: usize,
    /// Items of one list that are exploded.
    pub items_max: usize,
    /// Waits before missing versions are asked for: the first, and the longest.
    pub retry_first: Duration,
    pub retry_cap: Duration,
    /// Attempts until a person has to decide.
    pub attempts_max: u32,
    /// In which an origin must have answered.
    pub origin_timeout: Duration,
    /// Events that are asked of an origin for one row.
    pub origin_events_max: usize,
    /// For how many days it is remembered which messages were taken in.
    pub kept_days: u32,
}

impl Default for ReceiveOptions {
    fn default() -> ReceiveOptions {
        ReceiveOptions {
            limits: Limits::default(),
            tolerance_seconds: 300,
            queue: 1_000,
            commit_messages: 200,
            items_max: 10_000,
            retry_first: Duration::from_secs(1),
            retry_cap: Duration::from_secs(600),
            attempts_max: 20,
            origin_timeout: Duration::from_secs(15),
            origin_events_max: 1_000,
            kept_days: 90,
        }
    }
}

/// What became of one message of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub source: String,
    pub id: String,
    /// `None`: there was nothing to do.
    pub state: Option<ReceivedState>,
    pub note: String,
    /// It was taken in before: nothing was written.
    pub repeated: bool,
}

impl Outcome {
    fn of(received: &Received, repeated: bool) -> Outcome {
        Outcome {
            source: received.source.clone(),
            id: received.id.clone(),
            state: Some(received.state),
            note: received.note.clone(),
            repeated,
        }
    }
}

/// Why a call was not taken in.
#[derive(Debug)]
pub enum Refusal {
    NotFound(Error),
    /// It may come again later.
    Paused(Error),
    /// The signature does not count. The word says why.
    Unsigned(&'static str, Error),
    /// It cannot be read at all.
    Unreadable(Error),
    /// It can be read, and does not fit: an unknown type, a wrong decimal.
    Unfit(Error),
    /// Everything else, by its kind.
    Other(Error),
}

impl Refusal {
    pub fn error(&self) -> &Error {
        match self {
            Refusal::NotFound(error)
            | Refusal::Paused(error)
            | Refusal::Unsigned(_, error)
            | Refusal::Unreadable(error)
            | Refusal::Unfit(error)
            | Refusal::Other(error) => error,
        }
    }
}

/// Takes calls in. Clones share the queue and the writer, which ends with the last of them.
#[derive(Clone)]
pub struct Receiver {
    store: Arc<dyn Store>,
    clock: Clock,
    options: Arc<ReceiveOptions>,
    registry: Registry,
    units: mpsc::Sender<Unit>,
    waiting: Arc<Notify>,
    asker: Asker,
}

impl Receiver {
    /// Starts the writer, and follows the definitions.
    pub async fn start(
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        clock: Clock,
        feed: Feed,
        client: Client,
        options: ReceiveOptions,
    ) -> Result<Receiver> {
        let registry = Registry::start(store.clone(), catalog, feed).await?;
        let (units, waiting_units) = mpsc::channel(options.queue.max(1));
        let (options, waiting) = (Arc::new(options), Arc::new(Notify::new()));
        let writer =
            Writer { store: store.clone(), clock: clock.clone(), options: options.clone(), waiting: waiting.clone() };
        tokio::spawn(writer.run(waiting_units));
        let asker = Asker::new(client, options.clone());
        Ok(Receiver { store, clock, options, registry, units, waiting, asker })
    }

    /// Reads the definitions again: somebody has changed them in this process.
    pub async fn refresh(&self) -> Result<()> {
        self.registry.refresh().await
    }

    /// Takes a call in: durable when it returns. Headers have their names in lower case.
    pub async fn take(&self, name: &str, headers: &[Header<'_>], body: &[u8]) -> Result<Vec<Outcome>, Refusal> {
        let entry = self.entry(name)?;
        let (form, matched) = self.verified(&entry, headers, body)?;
        let source = source_of(&entry, form, headers);
        let call = read::Call { headers, body, id: matched.id.as_deref(), source: &source };
        let messages = read::messages(&call, &self.options.limits).map_err(Refusal::Unreadable)?;
        let mut works = Vec::with_capacity(messages.len());
        for message in messages {
            works.push(self.work(&entry, message).map_err(Refusal::Unfit)?);
        }
        self.write(works).await.map_err(Refusal::Other)
    }

    fn entry(&self, name: &str) -> Result<Arc<Entry>, Refusal> {
        let entry = self.registry.get(name).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Refusal::NotFound(Error::not_found(format!("there is no webhook {shown:?} here")))
        })?;
        if entry.inbound.paused {
            return Err(Refusal::Paused(
                Error::transient(format!("the webhook {name} is paused")).hint("send it again later"),
            ));
        }
        match &entry.broken {
            None => Ok(entry),
            Some(why) => {
                tracing::error!(inbound = name, why, "an inbound webhook cannot work");
                let error = Error::transient(format!("the webhook {name} cannot work now"));
                Err(Refusal::Paused(error.hint("its operator has to change it; send it again later")))
            }
        }
    }

    /// The form of the first signature that is there and counts.
    fn verified(&self, entry: &Entry, headers: &[Header], body: &[u8]) -> Result<(SignatureForm, Matched), Refusal> {
        let now = self.clock.now();
        let texts = headers.iter().map(|(name, value)| (*name, String::from_utf8_lossy(value).into_owned()));
        let headers: Headers = texts.collect();
        let secrets = entry.keyring.counting(now);
        let tolerance = entry.inbound.tolerance_seconds.unwrap_or(self.options.tolerance_seconds);
        let incoming = Incoming { headers: &headers, body, now, tolerance_seconds: i64::from(tolerance) };
        let mut reason = None;
        for form in &entry.inbound.forms {
            match verify(*form, &secrets, &incoming) {
                Ok(matched) => return Ok((*form, matched)),
                // What is said of a signature that is there tells more than that another one is missing.
                Err(other) if reason.is_none() || headers.get(form.signature_header()).is_some() => {
                    reason = Some(other)
                }
                Err(_) => {}
            }
        }
        let (code, text) = match &reason {
            Some(reason) => (reason.code(), reason.to_string()),
            None => ("no_form", "the webhook takes no form of signatures".to_owned()),
        };
        let error = Error::denied(format!("the signature does not count: {text}"));
        Err(Refusal::Unsigned(
            code,
            error.hint("sign the bytes that are sent with the secret of this webhook, at this time"),
        ))
    }

    /// What is to be done for a message; everything that may be wrong with it is found here.
    fn work(&self, entry: &Arc<Entry>, message: Message) -> Result<Work> {
        let mapped = match entry.ready_for(&message.kind) {
            None => {
                check_kept(entry, &message)?;
                None
            }
            Some(ready) => {
                let mapped = ready.map(&message, self.clock.now(), self.options.items_max)?;
                rows::check_all(&mapped)?;
                Some((ready.clone(), mapped))
            }
        };
        Ok(Work::Take { entry: entry.clone(), message: Box::new(message), mapped })
    }

    /// Hands work to the writer and waits for all of it.
    async fn write(&self, works: Vec<Work>) -> Result<Vec<Outcome>> {
        let places = self.units.try_reserve_many(works.len()).map_err(|_| {
            let error = Error::new(ErrorKind::Throttled { until: None }, "more messages wait than may");
            error.hint("send it again, unchanged; receive.queue is the limit")
        })?;
        let mut answers = Vec::with_capacity(works.len());
        for (place, work) in places.zip(works) {
            let (done, answer) = oneshot::channel();
            place.send(Unit { work, done: Some(done) });
            answers.push(answer);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            let ended =
                |_| Error::new(ErrorKind::Interrupted, "the program is stopping").hint("send it again, unchanged");
            outcomes.push(answer.await.map_err(ended)??);
        }
        Ok(outcomes)
    }

    /// Applies what waits for a row, or for all rows, without the versions that are missing: a person has decided. How
    /// many messages it was.
    pub async fn release(&self, name: &str, key: Option<&str>) -> Result<usize> {
        let not_found = || Error::not_found(format!("there is no inbound webhook {name:?}"));
        let entry = self.registry.get(name).ok_or_else(not_found)?;
        let wanted = ReceivedWanted { inbound: Some(name.to_owned()), open: true, limit: 10_000, ..Default::default() };
        let open = self.store.receipts(&wanted).await?;
        let of = open.into_iter().filter(|received| key.is_none_or(|key| received.key == key));
        let mut released = 0;
        let rows: std::collections::BTreeSet<(String, String)> =
            of.inspect(|_| released += 1).map(|received| (received.dataset, received.key)).collect();
        for (dataset, key) in rows {
            self.write(vec![Work::Resume { entry: entry.clone(), dataset, key, release: true }]).await?;
        }
        Ok(released)
    }
}

/// Messages that no mapping is for are kept only where that is wanted.
fn check_kept(entry: &Entry, message: &Message) -> Result<()> {
    match entry.inbound.others {
        Others::Keep => Ok(()),
        Others::Refuse => {
            let kind: String = message.kind.chars().filter(|letter| !letter.is_control()).take(100).collect();
            let error = Error::invalid(format!("the webhook {} takes no events of type {kind:?}", entry.name));
            Err(error.at_field("type").hint("its operator names the types under mappings, or keeps others"))
        }
    }
}

/// The source of messages whose body names none.
fn source_of(entry: &Entry, form: SignatureForm, headers: &[Header]) -> String {
    let said = || {
        let (_, value) =
            headers.iter().find(|(name, _)| *name == "x-source-system" && form == SignatureForm::Mission)?;
        let text = std::str::from_utf8(value).ok()?.trim();
        crate::dialect::cloudevents::is_source(text).then(|| text.to_owned())
    };
    entry.inbound.source.clone().or_else(said).unwrap_or_else(|| format!("/webhooks/{}", entry.name))
}

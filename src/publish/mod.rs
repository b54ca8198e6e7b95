//! Publishing: business events and vouchers become entries of the event log, durable before anybody is answered.
//!
//! One writer a process takes what waits and commits it together: a busy gate writes many events in one commit, a quiet one
//! writes at once. Whatever is wrong with one of them is told to whoever sent it; its neighbours do not notice.

mod group;
mod once;
mod plan;
pub mod voucher;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use crate::dialect::cloudevents::Limits;
use crate::dialect::cloudevents::{self, OWN_SOURCE};
use crate::model::{Change, Clock, Dataset, Error, ErrorKind, Event, EventType, Message, Published, Result};
use crate::store::Store;
pub use once::Once;
use voucher::Act;

/// How events are taken in; from `[events]` in the configuration.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    pub limits: Limits,
    /// Requests that may wait for the writer.
    pub queue: usize,
    /// Events of one commit, unless a single request has more.
    pub commit_events: usize,
    /// Bytes of content of one commit, unless a single request has more.
    pub commit_bytes: usize,
    /// For how long an idempotency key is remembered.
    pub once_hours: u32,
}

impl Default for PublishOptions {
    fn default() -> PublishOptions {
        let (limits, commit_bytes) = (Limits::default(), 8 * 1024 * 1024);
        PublishOptions { limits, queue: 1_000, commit_events: 500, commit_bytes, once_hours: 72 }
    }
}

/// Sources that only Tidegate itself speaks for.
const RESERVED: [&str; 2] = [OWN_SOURCE, voucher::SOURCE];

/// Takes events and vouchers in. Clones share the queue and the writer, which ends with the last of them.
#[derive(Clone)]
pub struct Publisher {
    waiting: mpsc::Sender<Job>,
    options: Arc<PublishOptions>,
}

/// What one caller wants written, whole or not at all.
struct Job {
    work: Work,
    once: Option<Once>,
    done: oneshot::Sender<Result<Done>>,
}

enum Work {
    Events {
        messages: Vec<Message>,
        /// What belongs to the same commit.
        with: Vec<Change>,
    },
    Voucher(Box<Act>),
}

/// What became of a job.
#[derive(Debug)]
pub struct Done {
    /// What became of each event, in order.
    pub published: Vec<Published>,
    /// The request was answered before, under the same key: this is that answer.
    pub repeated: bool,
    /// The message of a voucher.
    pub message: Option<Message>,
}

impl Publisher {
    /// Starts the writer. `vouchers`: the table that vouchers are kept in; `None`: there are none.
    pub fn start(
        store: Arc<dyn Store>,
        vouchers: Option<Arc<Dataset>>,
        clock: Clock,
        options: PublishOptions,
    ) -> Publisher {
        let (waiting, jobs) = mpsc::channel(options.queue.max(1));
        let options = Arc::new(options);
        let writer = group::Writer::new(store, vouchers, clock, options.clone());
        tokio::spawn(writer.run(jobs));
        Publisher { waiting, options }
    }

    pub fn options(&self) -> &PublishOptions {
        &self.options
    }

    /// Whether a message may be published; the error names the attribute.
    pub fn check(&self, message: &Message) -> Result<()> {
        cloudevents::check(message, &self.options.limits)?;
        let reserved = |own: &&&str| message.source == **own || message.source.starts_with(&format!("{own}/"));
        match RESERVED.iter().find(reserved) {
            Some(own) => {
                let error = Error::invalid(format!("source {own} is Tidegate's own")).at_field("source");
                Err(error.hint("name the system that says it, such as /settlement"))
            }
            None => Ok(()),
        }
    }

    /// Publishes these messages and applies `with` in the same commit: where the caller stands, what it has refused, the
    /// duty that it acts on. Durable when it returns; waits while the queue is full. Of a message whose source and id are
    /// known already nothing is written, see `Published::was`. On an error nothing is written at all.
    pub async fn publish(&self, messages: Vec<Message>, with: Vec<Change>) -> Result<Vec<Published>> {
        messages.iter().try_for_each(|message| self.check(message))?;
        if with.iter().any(|change| matches!(change, Change::Publish { .. } | Change::Rows(_))) {
            return Err(Error::bug("rows and events beside messages that are published"));
        }
        let (job, done) = job(Work::Events { messages, with }, None);
        self.waiting.send(job).await.map_err(|_| ended())?;
        Ok(done.await.map_err(|_| ended())??.published)
    }

    /// As `publish`, for callers that can come again: a full queue refuses at once, as `Throttled`. With `once` the same
    /// request is answered as the first time, and another one under its key is a `Conflict`.
    pub async fn offer(&self, messages: Vec<Message>, once: Option<Once>) -> Result<Done> {
        messages.iter().try_for_each(|message| self.check(message))?;
        self.ask(Work::Events { messages, with: Vec::new() }, once).await
    }

    /// Creates or changes a voucher: its row, its number and its event are one commit.
    pub async fn voucher(&self, act: Act, once: Option<Once>) -> Result<Done> {
        self.ask(Work::Voucher(Box::new(act)), once).await
    }

    async fn ask(&self, work: Work, once: Option<Once>) -> Result<Done> {
        let (job, done) = job(work, once);
        self.waiting.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                let error = Error::new(ErrorKind::Throttled { until: None }, "more events wait than may");
                error.hint("send it again, unchanged; events.queue is the limit")
            }
            mpsc::error::TrySendError::Closed(_) => ended(),
        })?;
        done.await.map_err(|_| ended())?
    }
}

fn job(work: Work, once: Option<Once>) -> (Job, oneshot::Receiver<Result<Done>>) {
    let (done, answer) = oneshot::channel();
    (Job { work, once, done }, answer)
}

fn ended() -> Error {
    let error = Error::new(ErrorKind::Interrupted, "the writer of events has ended");
    error.hint("send it again, unchanged: what was written is not written twice")
}

/// An entry of the log as a CloudEvent, whatever it tells of. `published` is its message, where it is a business event;
/// `None` comes back for a business event without one. `epoch`: of the log.
pub fn cloud_event(event: &Event, published: Option<Message>, epoch: &str) -> Option<Message> {
    match event.kind {
        EventType::EventPublished => published,
        _ => Some(cloudevents::own(event, epoch)),
    }
}

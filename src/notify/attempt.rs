//! One attempt: the request is written, signed and sent, its answer judged, and everything written down.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;

use super::DispatchOptions;
use super::batch::request_id;
use super::client::{Answer, Client, Exchange, Fault, FaultCode, Request};
use super::content::{Contents, Told};
use super::index::Subscriber;
use super::letter::Letter;
use super::matching::BY_REVERSE;
use super::outcome::{Meaning, Retries};
use super::pace::Quiet;
use super::queue::Entry;
use super::record::Book;
use super::reverse;
use super::term::Term;
use super::verdict::{Case, Verdict, judge};
use crate::dialect::webhook::{Keyring, Outgoing, sign};
use crate::model::{Attempt, AttemptOutcome, Attempted, Change, Clock, Error, EventType, Instant, Mode, Result, Then};
use crate::store::{Store, death};

/// How long a reversal waits before it is seen whether its original has arrived.
const REVERSAL_WAIT_MS: i64 = 1_000;

/// What attempts are made with.
pub struct Carrier {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub contents: Contents,
    pub client: Client,
    pub term: Term,
    pub book: Book,
    /// Requests in all.
    pub slots: Arc<Semaphore>,
    pub options: Arc<DispatchOptions>,
}

/// Deliveries that go out in one request.
pub struct Job {
    pub subscriber: Arc<Subscriber>,
    pub keyring: Arc<Keyring>,
    pub entries: Vec<Entry>,
    pub probe: bool,
    pub quiet: Arc<Quiet>,
}

/// What became of a job.
pub struct Landed {
    pub entries: Vec<Entry>,
    pub what: What,
}

pub enum What {
    /// Nothing was sent, or nobody knows what became of it: they go out again.
    Untried,
    /// Nothing was sent: they wait for something else.
    Postponed {
        at: Instant,
    },
    /// Nothing was sent, and nothing will be.
    LeftOut,
    Tried(Tried),
}

/// An attempt that is written down.
pub struct Tried {
    pub verdict: Verdict,
    pub meaning: Meaning,
    pub status: Option<u16>,
    /// It carried only events about the carrying of events.
    pub of_gate: bool,
}

/// Makes one attempt. It is durable when it returns.
pub async fn attempt(carrier: Arc<Carrier>, job: Job) -> Landed {
    let what = match made(&carrier, &job).await {
        Ok(what) => what,
        Err(error) => {
            tracing::warn!(subscription = job.subscriber.name, %error, "an attempt could not be made");
            What::Untried
        }
    };
    Landed { entries: job.entries, what }
}

async fn made(carrier: &Carrier, job: &Job) -> Result<What> {
    let closed = |_| Error::bug("the slots of requests are closed");
    let _slot = carrier.slots.acquire().await.map_err(closed)?;
    let mut told = Vec::new();
    for entry in &job.entries {
        match carrier.contents.of(entry.event).await? {
            Some(one) => told.push(one),
            None => return left_out(carrier, job, "the event is not in the log").await,
        }
    }
    if let [entry] = &job.entries[..]
        && &*entry.by == BY_REVERSE
        && let Some(what) = reversal(carrier, job, &told[0]).await?
    {
        return Ok(what);
    }
    if !carrier.term.lasts() {
        return Ok(What::Untried);
    }
    let events: Vec<u64> = job.entries.iter().map(|entry| entry.event).collect();
    let request = request_id(carrier.contents.epoch(), &events);
    let begun = carrier.clock.now();
    death::point();
    let exchange = match written(carrier, job, &told, (&request, begun)) {
        Ok(request) => carrier.client.post(request).await,
        Err(error) => unsendable(&error),
    };
    death::point();
    record(carrier, job, &told, Sent { request, begun, exchange }).await
}

fn unsendable(error: &Error) -> Exchange {
    let detail = match error.hint_text() {
        Some(hint) => format!("{}; {hint}", error.message()),
        None => error.message().to_owned(),
    };
    let fault = Fault { code: FaultCode::Unsendable, detail };
    Exchange { took: Duration::ZERO, address: None, answer: Err(fault) }
}

/// A reversal waits for its original, and is left out where that was.
async fn reversal(carrier: &Carrier, job: &Job, told: &Told) -> Result<Option<What>> {
    let Some(id) = reverse::reversed_id(&told.message) else { return Ok(None) };
    let store = &*carrier.store;
    let Some(original) = reverse::original(store, &told.message.source, &id).await? else { return Ok(None) };
    match reverse::standing(store, original, &job.subscriber.name).await? {
        reverse::Standing::Reached => Ok(None),
        reverse::Standing::UnderWay => {
            Ok(Some(What::Postponed { at: carrier.clock.now().plus_millis(REVERSAL_WAIT_MS) }))
        }
        reverse::Standing::Never => {
            let why = format!("event {original}, which it takes back, was not delivered");
            left_out(carrier, job, &why).await.map(Some)
        }
    }
}

async fn left_out(carrier: &Carrier, job: &Job, why: &str) -> Result<What> {
    let now = carrier.clock.now();
    let skipped = |entry: &Entry| Attempted {
        attempt: Attempt {
            id: 0,
            subscription: job.subscriber.name.clone(),
            event: entry.event,
            request: String::new(),
            number: entry.attempts,
            at: now,
            took_ms: 0,
            outcome: AttemptOutcome::Skipped,
            status: None,
            error: None,
            detail: Some(why.to_owned()),
            delay_ms: 0,
            by: entry.by.to_string(),
        },
        then: Then::Done,
    };
    carrier.book.write(job.entries.iter().map(skipped).collect(), Vec::new()).await?;
    Ok(What::LeftOut)
}

/// The request as it goes out, signed for this moment.
fn written(carrier: &Carrier, job: &Job, told: &[Arc<Told>], (id, now): (&str, Instant)) -> Result<Request> {
    let subscription = &job.subscriber.subscription;
    let messages: Vec<_> = told.iter().map(|told| &told.message).collect();
    let together = subscription.mode != Mode::Realtime;
    let letter = Letter::write(subscription.form, &messages, together)?;
    let source_system = subscription.source_system.as_deref().unwrap_or(&carrier.options.source_system);
    let timestamp = now.0.div_euclid(1_000_000);
    let outgoing = Outgoing { id, timestamp, body: letter.body.as_bytes(), source_system };
    let signed = sign(subscription.form, &job.keyring.counting(now), &outgoing)?;
    let mut headers = vec![("content-type".to_owned(), letter.content_type.to_owned())];
    headers.extend(signed.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let timeout = subscription.timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Request {
        url: subscription.url.clone(),
        headers,
        body: Bytes::from(letter.body),
        timeout: timeout.unwrap_or(carrier.options.timeout),
    })
}

/// A request that was sent.
struct Sent {
    request: String,
    begun: Instant,
    exchange: Exchange,
}

fn retries(job: &Job, options: &DispatchOptions) -> Retries {
    let own = job.subscriber.subscription.retry_seconds.as_ref();
    let waits = own.map(|waits| waits.iter().filter_map(|wait| Duration::try_from_secs_f64(*wait).ok()).collect());
    match waits {
        Some(waits) => Retries { waits, ..options.retries.clone() },
        None => options.retries.clone(),
    }
}

/// A chance from 0 to 1.
fn roll() -> f64 {
    let dice = RandomState::new().hash_one(0_u8);
    (dice >> 11) as f64 / (1_u64 << 53) as f64
}

async fn record(carrier: &Carrier, job: &Job, told: &[Arc<Told>], sent: Sent) -> Result<What> {
    let (options, now) = (&carrier.options, carrier.clock.now());
    let meaning = Meaning::of(&sent.exchange, now, options.retry_after_max);
    let retries = retries(job, options);
    let number = job.entries.iter().map(|entry| entry.attempts).max().unwrap_or(0).saturating_add(1);
    let when_dead = job.subscriber.subscription.when_dead;
    let verdict = judge(&Case { meaning, number, probe: job.probe, retries: &retries, when_dead, roll: roll(), now });
    if let Some(until) = verdict.quiet_until {
        job.quiet.ask(until);
    }
    let of_gate = told.iter().all(|told| told.of_gate);
    let mut attempted = Vec::with_capacity(told.len());
    let mut changes = Vec::new();
    for (entry, told) in job.entries.iter().zip(told) {
        let attempt = line(job, entry, (told, &sent), (&verdict, now, options.detail_characters));
        if matches!(verdict.then, Then::Dead | Then::Parked) && !told.of_gate {
            changes.push(failed_event(&attempt, entry, verdict.then));
        }
        attempted.push(Attempted { attempt, then: verdict.then });
    }
    carrier.book.write(attempted, changes).await?;
    Ok(What::Tried(Tried { verdict, meaning, status: sent.exchange.status(), of_gate }))
}

/// An attempt as it is kept, for one of its events.
fn line(
    job: &Job,
    entry: &Entry,
    (told, sent): (&Told, &Sent),
    (verdict, now, characters): (&Verdict, Instant, usize),
) -> Attempt {
    let worked = matches!(&sent.exchange.answer, Ok(Answer { status: 200..300, .. }));
    Attempt {
        id: 0,
        subscription: job.subscriber.name.clone(),
        event: entry.event,
        request: sent.request.clone(),
        number: entry.attempts.saturating_add(1),
        at: sent.begun,
        took_ms: u64::try_from(sent.exchange.took.as_millis()).unwrap_or(u64::MAX),
        outcome: verdict.outcome,
        status: sent.exchange.status(),
        error: sent.exchange.error(),
        detail: sent.exchange.detail(characters).filter(|_| !worked || characters > 0),
        delay_ms: now.millis_since(told.message.at).max(0).unsigned_abs(),
        by: entry.by.to_string(),
    }
}

/// What people are told of a delivery that has no attempt left.
fn failed_event(attempt: &Attempt, entry: &Entry, then: Then) -> Change {
    let refused = attempt.outcome == AttemptOutcome::Refused;
    let data = json!({
        "subscription": attempt.subscription, "event": attempt.event, "request": attempt.request,
        "outcome": attempt.outcome.name(), "status": attempt.status, "error": attempt.error,
        "attempts": attempt.number, "key": &*entry.key, "blocks": then == Then::Dead && !entry.key.is_empty(),
        "severity": if refused { "severe" } else { "warning" },
    });
    Change::Event { kind: EventType::DeliveryFailed, dataset: None, data }
}

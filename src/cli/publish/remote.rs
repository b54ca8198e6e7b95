//! Telling another process's service of events: in batches, again and again with the same ids until it has answered.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;

use super::{Told, body, may_work_later};
use crate::dialect::cloudevents::BATCH;
use crate::model::{Error, ErrorKind, Message, Offered, Result};

/// For one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

pub struct Remote {
    client: reqwest::Client,
    url: String,
    key: Option<String>,
    attempts: u32,
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    status: String,
    event: Option<u64>,
    problem: Option<Trouble>,
}

/// A problem, as far as it is shown.
#[derive(Default, Deserialize)]
struct Trouble {
    #[serde(default)]
    detail: String,
    hint: Option<String>,
    field: Option<String>,
}

impl Trouble {
    fn error(self, kind: ErrorKind) -> Error {
        let error = Error::new(kind, self.detail);
        let error = self.hint.into_iter().fold(error, Error::hint);
        self.field.into_iter().fold(error, Error::at_field)
    }
}

impl Remote {
    pub fn new(url: &str, key: Option<String>, attempts: u32) -> Result<Remote> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::invalid(format!("--to {url:?} is no address")).hint("write --to http://127.0.0.1:7880"));
        }
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| Error::bug("making a client").caused_by(error))?;
        Ok(Remote { client, url: format!("{}/api/v1/events", url.trim_end_matches('/')), key, attempts })
    }

    /// Tells of these events. What cannot work now is tried again, with waits that double.
    pub async fn tell(&self, messages: &[Message]) -> Result<Vec<Told>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let body = body(messages);
        let mut wait = WAIT_FIRST;
        for attempt in 1.. {
            match self.ask(body.clone(), messages).await {
                Err((error, after)) if attempt < self.attempts && may_work_later(&error) => {
                    let pause = after.map_or(wait, |after| after.max(wait)).min(WAIT_MAX);
                    eprintln!("{error}; again in {} s", pause.as_secs_f32());
                    tokio::time::sleep(pause).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
                Err((error, _)) => return Err(error),
                Ok(told) => return Ok(told),
            }
        }
        Err(Error::bug("attempts have no end"))
    }

    /// One attempt; an error comes with how long the service asks to wait.
    async fn ask(&self, body: String, messages: &[Message]) -> Result<Vec<Told>, (Error, Option<Duration>)> {
        let mut request = self.client.post(&self.url).header("content-type", BATCH).body(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let unreachable = |error: reqwest::Error| {
            let error = Error::transient("the service cannot be reached").caused_by(error.without_url());
            (error.hint("see whether it runs, and whether --to is right"), None)
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err((Error::transient("the answer of the service is too long"), None));
            }
        }
        if !status.is_success() {
            let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Err((refusal(status, &bytes), after.map(Duration::from_secs)));
        }
        let strange = || (Error::transient("the answer is not that of a Tidegate"), None);
        let Answer { items } = serde_json::from_slice(&bytes).map_err(|_| strange())?;
        if items.len() != messages.len() {
            return Err(strange());
        }
        Ok(messages.iter().zip(items).map(|(message, item)| told(message, item)).collect())
    }
}

fn told(message: &Message, item: Item) -> Told {
    let result = match (Offered::from_name(&item.status), item.event) {
        (Some(was @ (Offered::New | Offered::Same)), Some(event)) => Ok((event, was)),
        (Some(_), _) => Err(item.problem.unwrap_or_default().error(ErrorKind::Conflict)),
        (None, _) => Err(item.problem.unwrap_or_default().error(ErrorKind::Invalid)),
    };
    Told { id: message.id.clone(), source: message.source.clone(), result }
}

/// Why the service refused a request as a whole.
fn refusal(status: StatusCode, bytes: &[u8]) -> Error {
    let mut trouble: Trouble = serde_json::from_slice(bytes).unwrap_or_default();
    if trouble.detail.is_empty() {
        trouble.detail = format!("the service answered {status}");
    }
    trouble.error(match status.as_u16() {
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        429 => ErrorKind::Throttled { until: None },
        408 => ErrorKind::Transient,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Transient,
    })
}

//! Hot reads: answers that are kept in memory until an event can have changed them, and entity tags for browsers.
//!
//! An answer is kept under the last event of the tables that it was made from. It is looked for under the last event
//! that this process has seen, so that one from before a commit is not found once that commit's event was seen; and it is
//! kept only if the log, read to its end after the answer was made, has no further event of these tables.

pub mod fresh;
pub mod memo;
pub mod redis;

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Semaphore;

pub use fresh::{Fresh, MadeFrom};
pub use memo::Memo;
pub use redis::RedisOptions;

use super::problem::Problem;
use crate::model::{Clock, Error, Result};

use redis::Second;

/// How much is kept; from `[cache]` in the configuration.
#[derive(Clone)]
pub struct CacheOptions {
    /// Bytes of answers in memory; 0 for none.
    pub bytes_max: u64,
    /// Larger answers are not kept.
    pub answer_bytes_max: usize,
    /// A second level that several processes share.
    pub redis: Option<RedisOptions>,
}

impl Default for CacheOptions {
    fn default() -> CacheOptions {
        CacheOptions { bytes_max: 64 << 20, answer_bytes_max: 4 << 20, redis: None }
    }
}

/// A request in its canonical form: everything that the answer depends on beside the store.
#[derive(Clone, Debug)]
pub struct Question {
    pub text: String,
    pub from: MadeFrom,
}

/// An answer as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub body: Bytes,
    pub media_type: &'static str,
    /// The body is compressed with gzip.
    pub is_zipped: bool,
}

impl Answer {
    pub fn json(body: impl Into<Bytes>) -> Answer {
        Answer { body: body.into(), media_type: "application/json", is_zipped: false }
    }

    /// A value as JSON.
    pub fn of(value: &impl serde::Serialize) -> Result<Answer> {
        let body = serde_json::to_vec(value);
        body.map(Answer::json).map_err(|error| Error::bug("writing JSON").caused_by(error))
    }
}

/// The question under the last event of what its answer is made from.
type Key = (Arc<str>, u64);

/// Why an answer was not kept.
enum NotKept {
    Served(Answer),
    Failed(Problem),
}

/// Answers in memory.
pub struct Cache {
    pub fresh: Fresh,
    options: CacheOptions,
    answers: Option<moka::future::Cache<Key, Answer>>,
    second: Option<Second>,
    /// Answers that may be made at the same time: more would only wait for each other, in memory.
    makers: Semaphore,
}

/// Smaller answers are not worth compressing.
const ZIPPED_BYTES_MIN: usize = 1_024;

impl Cache {
    /// `Invalid` when the second level has no address that can be read.
    pub fn new(fresh: Fresh, options: CacheOptions, clock: Clock) -> Result<Cache> {
        let weight = |(text, _): &Key, answer: &Answer| {
            const OVERHEAD: usize = 200;
            u32::try_from(text.len() + answer.body.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        let builder = moka::future::Cache::builder().max_capacity(options.bytes_max).weigher(weight);
        let answers = (options.bytes_max > 0).then(|| builder.build());
        let second = options.redis.clone().map(|redis| Second::new(redis, clock)).transpose()?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Cache { fresh, options, answers, second, makers: Semaphore::new((cores * 2).max(4)) })
    }

    /// Answers from memory, by `304 Not Modified`, or by what `make` makes.
    pub async fn answer<F>(
        &self,
        headers: &HeaderMap,
        question: Question,
        make: impl FnOnce() -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Answer, Problem>>,
    {
        let seen = self.fresh.seen(&question.from).await?;
        let tag = tag(self.fresh.epoch(), &question.text, seen);
        if names(headers, &tag) {
            return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &tag));
        }
        let made = match &self.answers {
            None => self.make(&question, seen, make).await.map_err(Arc::new),
            Some(answers) => {
                let zips = takes_gzip(headers);
                let key: Key = (kept_as(&question.text, zips), seen);
                if let Some(answer) = answers.get(&key).await {
                    return Ok(respond(answer, &tag, "hit"));
                }
                match zips {
                    false => answers.try_get_with(key, self.make(&question, seen, make)).await,
                    true => answers.try_get_with(key, self.make_zipped(answers, &question, seen, make)).await,
                }
            }
        };
        match made {
            Ok(answer) => Ok(respond(answer, &tag, "miss")),
            Err(not_kept) => match &*not_kept {
                NotKept::Served(answer) => Ok(respond(answer.clone(), &tag, "miss")),
                NotKept::Failed(problem) => Err(problem.clone()),
            },
        }
    }

    /// The answer as it is kept plain, compressed: once for all who ask for it.
    async fn make_zipped<F>(
        &self,
        answers: &moka::future::Cache<Key, Answer>,
        question: &Question,
        seen: u64,
        make: impl FnOnce() -> F,
    ) -> Result<Answer, NotKept>
    where
        F: Future<Output = Result<Answer, Problem>>,
    {
        let plain = answers.try_get_with((kept_as(&question.text, false), seen), self.make(question, seen, make)).await;
        match plain {
            Ok(answer) if answer.body.len() < ZIPPED_BYTES_MIN => Ok(answer),
            Ok(answer) => zipped(answer).await.map_err(|error| NotKept::Failed(error.into())),
            Err(not_kept) => Err(match &*not_kept {
                NotKept::Served(answer) => NotKept::Served(answer.clone()),
                NotKept::Failed(problem) => NotKept::Failed(problem.clone()),
            }),
        }
    }

    /// The answer from the second level, or made anew. It is kept only if the log has nothing later about its tables.
    async fn make<F>(&self, question: &Question, seen: u64, make: impl FnOnce() -> F) -> Result<Answer, NotKept>
    where
        F: Future<Output = Result<Answer, Problem>>,
    {
        let Question { text, from } = question;
        if let Some(second) = &self.second
            && let Some(answer) = second.get(&self.fresh, text, from).await
        {
            return Ok(answer);
        }
        // Nobody closes it.
        let _turn = self.makers.acquire().await;
        let answer = make().await.map_err(NotKept::Failed)?;
        let (settled, cursor) = self.fresh.settled(from).await.map_err(|error| NotKept::Failed(error.into()))?;
        if settled != seen || answer.body.len() > self.options.answer_bytes_max {
            return Err(NotKept::Served(answer));
        }
        if let Some(second) = &self.second {
            second.put(&self.fresh, text, cursor, &answer).await;
        }
        Ok(answer)
    }
}

/// What an answer is kept under.
fn kept_as(text: &str, zips: bool) -> Arc<str> {
    if zips { Arc::from(format!("gzip {text}")) } else { Arc::from(text) }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let takes = |part: &str| {
        let (name, quality) = part.split_once(';').unwrap_or((part, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    };
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(takes)
}

async fn zipped(answer: Answer) -> Result<Answer> {
    let zip = move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(answer.body.len() / 3), Compression::fast());
        let body = encoder.write_all(&answer.body).and_then(|()| encoder.finish())?;
        Ok(Answer { body: body.into(), is_zipped: true, ..answer })
    };
    let done: std::io::Result<Answer> =
        tokio::task::spawn_blocking(zip).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|error| Error::bug("compressing an answer").caused_by(error))
}

/// The same tag means the same store, the same question and the same last event.
fn tag(epoch: &str, text: &str, event: u64) -> String {
    let mut hasher = DefaultHasher::new();
    (epoch, text, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    format!("\"{event:x}-{:016x}\"", hasher.finish())
}

/// Whether the client has the answer with this tag.
fn names(headers: &HeaderMap, tag: &str) -> bool {
    let has = |value: &str| value.split(',').map(str::trim).any(|one| one.trim_start_matches("W/") == tag);
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(has)
}

fn respond(answer: Answer, tag: &str, cache: &'static str) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
    response.headers_mut().insert("x-cache", HeaderValue::from_static(cache));
    if answer.is_zipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    tagged(response, tag)
}

fn tagged(mut response: Response, tag: &str) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

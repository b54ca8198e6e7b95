//! One question over HTTP: sent, bounded, timed, its failures named by remedy. Secrets never leave the question.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::model::{Error, ErrorKind, Instant, Result};

/// What a door needs to know.
pub struct DoorOptions<'a> {
    /// The source's name, for messages.
    pub source: &'static str,
    pub url: &'a str,
    /// What no message may show; empty for none.
    pub secret: &'a str,
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// The largest answer that is read, after decompression.
    pub body_bytes_max: usize,
    /// Accept compressed answers.
    pub gzip: bool,
    /// Accept them from this machine too, where compressing only costs time.
    pub gzip_on_loopback: bool,
}

/// The address and the connections to it.
pub struct Door {
    source: &'static str,
    url: Url,
    secret: String,
    body_bytes_max: usize,
    habits: Habits,
    client: RwLock<Client>,
}

/// An answer of any status, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Seconds, when the answer named them.
    pub retry_after: Option<i64>,
    pub body: Vec<u8>,
}

/// How connections are made.
#[derive(Clone, Copy)]
struct Habits {
    connect_timeout: Duration,
    timeout: Duration,
    gzip: bool,
    /// The address is on this machine: no proxy stands between.
    loopback: bool,
}

/// Neither the token nor a password in the address is shown.
impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Door {
    pub fn new(options: &DoorOptions<'_>) -> Result<Door> {
        let source = options.source;
        let url = Url::parse(options.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| {
            Error::invalid(format!("an address of the source {source} is no web address"))
                .hint("write it like http://api.tushare.pro")
        })?;
        let DoorOptions { connect_timeout, timeout, body_bytes_max, .. } = *options;
        let loopback = is_loopback(&url);
        let gzip = options.gzip && (options.gzip_on_loopback || !loopback);
        let habits = Habits { connect_timeout, timeout, gzip, loopback };
        let client = RwLock::new(build_client(habits)?);
        Ok(Door { source, url, secret: options.secret.to_string(), body_bytes_max, habits, client })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Drops every pooled connection; calls under way finish on theirs.
    pub fn renew(&self) {
        if let Ok(fresh) = build_client(self.habits) {
            *self.client.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }

    /// Posts a question in JSON and reads the whole answer; any status but success is an error.
    pub async fn post(&self, url: Url, question: Vec<u8>, now: Instant) -> Result<Vec<u8>> {
        let request = self.client().post(url).header(CONTENT_TYPE, "application/json").body(question);
        accept(self.source, self.answer(request).await?, now)
    }

    /// Gets a page under the door's address: `path` begins with a slash and holds the query. Any status is an answer.
    pub async fn get(&self, path: &str, bearer: Option<&str>) -> Result<Answer> {
        let base = self.url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path}"))
            .map_err(|_| Error::bug(format!("a question to {} makes no address", self.source)))?;
        let mut request = self.client().get(url);
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.answer(request).await
    }

    fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = match status.is_success() {
            true => self.read(response, self.body_bytes_max).await?,
            // What is said beside a refusal is short, or not worth reading.
            false => self.read(response, REFUSAL_BYTES_MAX).await.unwrap_or_default(),
        };
        Ok(Answer { status: status.as_u16(), retry_after, body })
    }

    async fn read(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>> {
        let expected = response.content_length().unwrap_or(0).min(bytes_max.min(EXPECTED_BYTES_MAX) as u64);
        let mut body = Vec::with_capacity(expected as usize);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > bytes_max {
                let message = format!("the answer is larger than {bytes_max} bytes");
                return Err(Error::invalid(message).hint(format!("raise sources.{}.body_mb_max", self.source)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let what = match () {
            () if error.is_timeout() => "did not answer in time",
            () if error.is_connect() => "cannot be reached",
            () => "broke off while it answered",
        };
        let host = self.url.host_str().unwrap_or("the host");
        let port = self.url.port_or_known_default().unwrap_or(0);
        let cause = causes(&error).replace(&self.secret(), "(token)");
        Error::transient(format!("{host}:{port} {what}"))
            .hint(format!("check the network and the address of the source {}", self.source))
            .caused_by(cause)
    }

    /// What is never to be seen: the token, or something that no text contains.
    fn secret(&self) -> String {
        if self.secret.is_empty() { "\0".to_string() } else { self.secret.clone() }
    }
}

/// The chain of causes in one line.
fn causes(error: &reqwest::Error) -> String {
    let first = std::error::Error::source(error);
    let chain = std::iter::successors(first, |cause| cause.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The most that is set aside at once on the word of an answer's header.
const EXPECTED_BYTES_MAX: usize = 4 << 20;

/// What is read of an answer that is no success.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Redirects are not followed: a question may hold a token, and it goes to the configured address only.
fn build_client(habits: Habits) -> Result<Client> {
    let mut builder = Client::builder()
        .connect_timeout(habits.connect_timeout)
        .timeout(habits.timeout)
        .gzip(habits.gzip)
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    if habits.loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| Error::bug("the HTTP client cannot be built").caused_by(error))
}

fn retry_after(response: &Response) -> Option<i64> {
    let seconds: u32 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(i64::from(seconds))
}

/// The body of an answer; any status but success is an error.
pub fn accept(source: &str, answer: Answer, now: Instant) -> Result<Vec<u8>> {
    match StatusCode::from_u16(answer.status) {
        Ok(status) if status.is_success() => Ok(answer.body),
        Ok(status) => Err(refused(source, status, answer.retry_after, now)),
        Err(_) => Err(Error::bug("an answer has no status")),
    }
}

/// An HTTP status that is no success, of a service that refuses with status 200: this is a proxy or an outage.
fn refused(source: &str, status: StatusCode, retry_after: Option<i64>, now: Instant) -> Error {
    let message = format!("{source} answered with HTTP status {}", status.as_u16());
    let until = retry_after.map(|seconds| now.plus_seconds(seconds));
    match status.as_u16() {
        429 => Error::new(ErrorKind::Throttled { until }, message),
        503 if until.is_some() => Error::new(ErrorKind::Throttled { until }, message),
        408 | 500.. => Error::transient(message),
        401 | 403 => Error::denied(message)
            .concerning_the_whole_source()
            .hint(format!("check the token and the address of the source {source}")),
        300..=399 => Error::invalid(format!("{message}, a redirection"))
            .concerning_the_whole_source()
            .hint(format!("set the address of the source {source} to where it leads")),
        _ => Error::invalid(message)
            .concerning_the_whole_source()
            .hint(format!("check the address of the source {source}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_named_by_remedy() {
        let now = Instant::parse("2024-01-31T18:00:00+08:00").unwrap();
        let until = Instant::parse("2024-01-31T18:00:07+08:00");
        for (status, retry_after, kind, whole_source) in [
            (500, None, ErrorKind::Transient, false),
            (502, Some(7), ErrorKind::Transient, false),
            (503, Some(7), ErrorKind::Throttled { until }, false),
            (429, Some(7), ErrorKind::Throttled { until }, false),
            (429, None, ErrorKind::Throttled { until: None }, false),
            (403, None, ErrorKind::Denied, true),
            (307, None, ErrorKind::Invalid, true),
            (404, None, ErrorKind::Invalid, true),
        ] {
            let error = refused("tushare", StatusCode::from_u16(status).unwrap(), retry_after, now);
            assert_eq!((error.kind(), error.whole_source()), (kind, whole_source), "{status}");
        }
    }
}

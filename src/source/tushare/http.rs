//! One question over HTTP: sent, bounded, timed, its failures named by remedy. The token never leaves the body.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use super::TushareOptions;
use crate::model::{Error, ErrorKind, Instant, Result};

/// The address and the connections to it.
pub struct Door {
    url: Url,
    token: String,
    body_bytes_max: usize,
    habits: Habits,
    client: RwLock<Client>,
}

/// How connections are made.
#[derive(Clone, Copy)]
struct Habits {
    connect_timeout: Duration,
    timeout: Duration,
    gzip: bool,
    /// The address is on this machine: no proxy stands between, and compressing would only cost time.
    loopback: bool,
}

/// Neither the token nor a password in the address is shown.
impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Door {
    pub fn new(options: &TushareOptions) -> Result<Door> {
        let url = Url::parse(&options.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| {
            Error::invalid("the address of the source tushare is no web address")
                .hint("write it like http://api.tushare.pro")
        })?;
        let TushareOptions { connect_timeout, timeout, gzip, body_bytes_max, .. } = *options;
        let habits = Habits { connect_timeout, timeout, gzip, loopback: is_loopback(&url) };
        let client = RwLock::new(build_client(habits)?);
        Ok(Door { url, token: options.token.clone(), body_bytes_max, habits, client })
    }

    /// Drops every pooled connection; calls under way finish on theirs.
    pub fn renew(&self) {
        if let Ok(fresh) = build_client(self.habits) {
            *self.client.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }

    /// Posts `question` and reads the whole answer.
    pub async fn ask(&self, api: &str, question: Vec<u8>, now: Instant) -> Result<Vec<u8>> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let request = client.post(self.address(api)).header(CONTENT_TYPE, "application/json").body(question);
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status, retry_after(&response), now));
        }
        self.read(response).await
    }

    fn address(&self, api: &str) -> Url {
        let mut url = self.url.clone();
        let path = url.path().trim_end_matches('/').to_string();
        if path.ends_with("/dataapi") {
            url.set_path(&format!("{path}/{api}"));
        }
        url
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>> {
        let expected = response.content_length().unwrap_or(0).min(self.body_bytes_max as u64);
        let mut body = Vec::with_capacity(expected as usize);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > self.body_bytes_max {
                let message = format!("the answer is larger than {} bytes", self.body_bytes_max);
                return Err(Error::invalid(message).hint("raise body_bytes_max of the source tushare"));
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
            .hint("check the network and the address of the source tushare")
            .caused_by(cause)
    }

    /// What is never to be seen: the token, or something that no text contains.
    fn secret(&self) -> String {
        if self.token.is_empty() { "\0".to_string() } else { self.token.clone() }
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

/// Redirects are not followed: the body holds the token, and it goes to the configured address only.
fn build_client(habits: Habits) -> Result<Client> {
    let mut builder = Client::builder()
        .connect_timeout(habits.connect_timeout)
        .timeout(habits.timeout)
        .gzip(habits.gzip && !habits.loopback)
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

/// An HTTP status that is no success. The service itself refuses with status 200, so this is a proxy or an outage.
fn refused(status: StatusCode, retry_after: Option<i64>, now: Instant) -> Error {
    let message = format!("tushare answered with HTTP status {}", status.as_u16());
    let until = retry_after.map(|seconds| now.plus_seconds(seconds));
    match status.as_u16() {
        429 => Error::new(ErrorKind::Throttled { until }, message),
        503 if until.is_some() => Error::new(ErrorKind::Throttled { until }, message),
        408 | 500.. => Error::transient(message),
        401 | 403 => Error::denied(message)
            .concerning_the_whole_source()
            .hint("check the token and the address of the source tushare"),
        300..=399 => Error::invalid(format!("{message}, a redirection"))
            .concerning_the_whole_source()
            .hint("set the address of the source tushare to where it leads"),
        _ => Error::invalid(message).concerning_the_whole_source().hint("check the address of the source tushare"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_appended_where_the_service_wants_it() {
        for (url, expected) in [
            ("http://api.tushare.pro", "http://api.tushare.pro/"),
            ("http://127.0.0.1:80/x", "http://127.0.0.1/x"),
            ("http://api.waditu.com/dataapi", "http://api.waditu.com/dataapi/daily"),
            ("https://host:8443/dataapi/", "https://host:8443/dataapi/daily"),
        ] {
            let options = TushareOptions { url: url.to_string(), ..TushareOptions::default() };
            assert_eq!(Door::new(&options).unwrap().address("daily").as_str(), expected);
        }
        for url in ["", "api.tushare.pro", "ftp://host"] {
            let options = TushareOptions { url: url.to_string(), ..TushareOptions::default() };
            assert_eq!(Door::new(&options).unwrap_err().kind(), ErrorKind::Invalid, "{url}");
        }
    }

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
            let error = refused(StatusCode::from_u16(status).unwrap(), retry_after, now);
            assert_eq!((error.kind(), error.whole_source()), (kind, whole_source), "{status}");
        }
    }
}

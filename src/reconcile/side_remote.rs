//! A dataset of another Tidegate as a side of a reconciliation, over its REST API.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use reqwest::{Client, StatusCode, Url};

use super::wire::{Answer, Ask, What, key, texts};
use crate::model::compared::{Found, Shape, SideRow};
use crate::model::{Digest, Error, ErrorKind, Key, KeyRange, Result};
use crate::source::sides::Side;

/// Keys that are asked for in one question.
const LOOK_KEYS: usize = 500;

/// How another Tidegate is asked.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub body_bytes_max: usize,
}

pub struct RemoteSide {
    name: String,
    url: Url,
    api_key: String,
    dataset: String,
    client: Client,
    body_bytes_max: usize,
}

impl RemoteSide {
    /// `shown` is its name without the key.
    pub fn new(shown: String, url: &str, api_key: &str, dataset: &str, options: &RemoteOptions) -> Result<RemoteSide> {
        let unreadable =
            || Error::invalid(format!("the address of {shown} cannot be read")).hint("write https://host:port#dataset");
        let url = Url::parse(url).and_then(|url| url.join("/api/v1/digests")).map_err(|_| unreadable())?;
        let client = Client::builder()
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::bug("making an HTTP client").caused_by(error))?;
        let (api_key, dataset) = (api_key.to_owned(), dataset.to_owned());
        Ok(RemoteSide { name: shown, url, api_key, dataset, client, body_bytes_max: options.body_bytes_max })
    }

    fn asking(&self, what: What) -> Ask {
        Ask {
            dataset: self.dataset.clone(),
            what,
            shape: None,
            after: None,
            upto: None,
            bounds: Vec::new(),
            keys: Vec::new(),
            step: 0,
            limit: 0,
        }
    }

    fn within(&self, what: What, shape: &Shape, range: &KeyRange) -> Ask {
        let bound = |key: &Option<Key>| key.as_ref().map(texts);
        Ask { shape: Some(shape.clone()), after: bound(&range.after), upto: bound(&range.upto), ..self.asking(what) }
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        let body = serde_json::to_vec(ask).map_err(|error| Error::bug("writing a question").caused_by(error))?;
        let mut request = self.client.post(self.url.clone()).header("content-type", "application/json").body(body);
        if !self.api_key.is_empty() {
            request = request.bearer_auth(&self.api_key);
        }
        let unreachable = |error: reqwest::Error| {
            let message = format!("{} does not answer", self.name);
            Error::transient(message).hint("check that it runs, and its address").caused_by(error.without_url())
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            body.extend_from_slice(&part.map_err(unreachable)?);
            if body.len() > self.body_bytes_max {
                let message = format!("the answer of {} is larger than {} bytes", self.name, self.body_bytes_max);
                return Err(Error::transient(message).hint("lower reconcile.leaf_rows, or raise reconcile.body_mb_max"));
            }
        }
        if status.is_success() {
            let unfit = |_| Error::transient(format!("the answer of {} cannot be read", self.name));
            return serde_json::from_slice(&body).map_err(unfit);
        }
        Err(self.refused(status, &body))
    }

    /// Rows have as many values as were asked for.
    fn fit(&self, shape: &Shape, rows: Vec<SideRow>) -> Result<Vec<SideRow>> {
        match rows.iter().all(|row| row.0.len() == shape.columns.len()) {
            true => Ok(rows),
            false => {
                Err(Error::transient(format!("{} answers rows of other columns", self.name)).hint("see its version"))
            }
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let said = serde_json::from_slice::<serde_json::Value>(body).ok();
        let said = said.and_then(|said| said["detail"].as_str().map(str::to_owned)).unwrap_or_default();
        let kind = match status.as_u16() {
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            400 | 413 | 422 => ErrorKind::Invalid,
            _ => ErrorKind::Transient,
        };
        let error = Error::new(kind, format!("{} answers {status}: {said}", self.name));
        match kind {
            ErrorKind::Denied => error.hint("give its address a key that may read: https://:KEY@host"),
            ErrorKind::NotFound => error.hint("check the dataset's name, and that it is a version with reconciliation"),
            _ => error.hint("see its log"),
        }
    }
}

#[async_trait]
impl Side for RemoteSide {
    fn name(&self) -> &str {
        &self.name
    }

    async fn columns(&self) -> Result<Vec<Found>> {
        Ok(self.ask(&self.asking(What::Columns)).await?.columns)
    }

    async fn digests(&self, shape: &Shape, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let ask = Ask { bounds: bounds.iter().map(texts).collect(), ..self.within(What::Digests, shape, range) };
        self.ask(&ask).await?.digests.iter().map(|digest| digest.digest()).collect()
    }

    async fn split(&self, shape: &Shape, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        let ask = Ask { step, ..self.within(What::Split, shape, range) };
        self.ask(&ask).await?.keys.iter().map(|texts| key(shape, texts)).collect()
    }

    async fn rows(&self, shape: &Shape, range: &KeyRange, limit: u64) -> Result<Vec<SideRow>> {
        self.fit(shape, self.ask(&Ask { limit, ..self.within(What::Rows, shape, range) }).await?.rows)
    }

    async fn look(&self, shape: &Shape, keys: &[Key]) -> Result<Vec<SideRow>> {
        let mut rows = Vec::new();
        for keys in keys.chunks(LOOK_KEYS) {
            let ask =
                Ask { keys: keys.iter().map(texts).collect(), ..self.within(What::Look, shape, &KeyRange::default()) };
            rows.extend(self.ask(&ask).await?.rows);
        }
        self.fit(shape, rows)
    }
}

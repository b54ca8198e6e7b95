//! A server that answers as Tushare Pro does. Whoever asks needs no other change than the address.
//!
//! POST on `/`, `/{api}`, `/dataapi` and `/dataapi/{api}`; the name in the body counts. [`Mirror::answer`] is the whole
//! service without HTTP. What the real service does not have: the parameters `as_of`, `known_on`, `adjust` and `anchor`,
//! or headers such as `X-Tidegate-As-Of`, choose among times and price bases (`crate::read`).

pub mod gate;
pub mod question;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::dialect::tushare::{Asked, Refusal, encode, request};
use crate::model::dataset::{Shape, Tushare};
use crate::model::{Clock, Dataset, ErrorKind, Result};
use crate::read::{ReadOptions, Reader, View};
use crate::store::Scan;

pub use gate::{Account, Gate};
use question::Question;

/// What the mirror lets in and how much it sends.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// Tokens that are let in; empty: everybody.
    pub accounts: Vec<Account>,
    /// Refuse tables that need more points than the account has.
    pub enforce_points: bool,
    /// Refuse calls beyond the quotas of the account's tier.
    pub enforce_quota: bool,
    /// Cut answers at the row caps of the real service.
    pub caps: bool,
    /// The most rows that an answer holds where no cap applies.
    pub rows_max: usize,
    /// The largest question that is read.
    pub body_bytes_max: usize,
    /// Questions that are worked on at the same time; others wait.
    pub concurrent_max: usize,
    /// Compress answers for those who accept it.
    pub gzip: bool,
    /// What reading in two times and price bases may keep.
    pub read: ReadOptions,
}

impl Default for MirrorOptions {
    fn default() -> MirrorOptions {
        MirrorOptions {
            accounts: Vec::new(),
            enforce_points: false,
            enforce_quota: false,
            caps: true,
            rows_max: 100_000,
            body_bytes_max: 1 << 20,
            concurrent_max: 16,
            gzip: true,
            read: ReadOptions::default(),
        }
    }
}

/// The service.
pub struct Mirror {
    reader: Reader,
    catalog: Arc<Catalog>,
    options: MirrorOptions,
    gate: Gate,
    clock: Clock,
    working: Semaphore,
    answered: AtomicU64,
}

/// An answer before it is dressed in HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Mirror {
    pub fn new(scan: Arc<dyn Scan>, catalog: Arc<Catalog>, options: MirrorOptions, clock: Clock) -> Mirror {
        let gate = Gate::new(options.accounts.clone(), options.enforce_points, options.enforce_quota);
        let working = Semaphore::new(options.concurrent_max.max(1));
        let reader = Reader::new(scan, catalog.clone(), clock.clone(), options.read.clone());
        Mirror { reader, catalog, options, gate, clock, working, answered: AtomicU64::new(0) }
    }

    /// Answers one question. Refusals are answers with status 200, as the real service sends them.
    pub async fn answer(&self, body: &[u8]) -> Answer {
        self.answer_seen(body, &[]).await
    }

    /// Answers one question with what its headers say of `read::PARAMETERS`; parameters of the same name come first.
    async fn answer_seen(&self, body: &[u8], seen: &[(&str, &str)]) -> Answer {
        let request_id = self.request_id();
        let working = self.working.acquire().await;
        let answered = match &working {
            Ok(_) => self.rows(body, seen, &request_id).await,
            Err(_) => Err(Refusal::Fault),
        };
        let body = answered.unwrap_or_else(|refusal| refusal.body(&request_id));
        Answer { status: 200, body }
    }

    async fn rows(&self, body: &[u8], seen: &[(&str, &str)], request_id: &str) -> Result<Vec<u8>, Refusal> {
        let asked = request::parse(body).ok_or(Refusal::NotARequest)?;
        let (dataset, table) = self.table(&asked.api_name)?;
        self.gate.enter(&asked.token, &table, self.clock.now())?;
        let question = question::read(&dataset, &table, &asked, self.cap(&table))?;
        let view = view(&asked, seen)?;
        let scanned = self.scan(&question, view).await.map_err(|error| {
            tracing::warn!(api = %asked.api_name, %error, "the mirror cannot answer");
            match error.kind() {
                ErrorKind::NotFound => Refusal::UnknownApi,
                ErrorKind::Invalid => Refusal::BadParameter { name: error.message().to_string() },
                _ => Refusal::Fault,
            }
        })?;
        let request_id = request_id.to_string();
        let encoding = tokio::task::spawn_blocking(move || write_answer(&dataset, &question, &scanned, &request_id));
        match encoding.await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) => {
                tracing::error!(%error, "the mirror cannot write its answer");
                Err(Refusal::Fault)
            }
            Err(_) => Err(Refusal::Fault),
        }
    }

    /// The dataset behind a name. Tables by report period are served under two names: the plain one needs a security,
    /// the one with `_vip` does not.
    fn table(&self, api_name: &str) -> Result<(Arc<Dataset>, Tushare), Refusal> {
        let find = |name: &str| {
            let mut served = self.catalog.datasets().iter().filter_map(|set| Some((set, set.tushare.as_ref()?)));
            served.find(|(_, table)| table.api == name).map(|(dataset, table)| (dataset.clone(), table.clone()))
        };
        let other_form = || {
            let (name, points, required) = match api_name.strip_suffix("_vip") {
                Some(plain) => (plain.to_string(), 5000, Vec::new()),
                None => (format!("{api_name}_vip"), 2000, vec!["ts_code".to_string()]),
            };
            let (dataset, table) = find(&name).filter(|(dataset, _)| dataset.shape == Shape::Period)?;
            Some((dataset, Tushare { api: api_name.to_string(), points, required, ..table }))
        };
        find(api_name).or_else(other_form).ok_or(Refusal::UnknownApi)
    }

    fn cap(&self, table: &Tushare) -> usize {
        let cap = table.row_cap.filter(|_| self.options.caps).map(|cap| cap as usize);
        cap.unwrap_or(self.options.rows_max).min(self.options.rows_max).max(1)
    }

    /// The answer's rows and at most one more.
    async fn scan(&self, question: &Question, view: View) -> Result<Vec<RecordBatch>> {
        let mut stream = self.reader.with(view).scan(&question.query).await?;
        let (mut batches, mut rows) = (Vec::new(), 0);
        while rows <= question.rows_max {
            let Some(batch) = stream.next().await.transpose()? else { break };
            rows += batch.num_rows();
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Unlike any other of this process, and in the shape of the real one.
    fn request_id(&self) -> String {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let started = self.clock.now().0 as u64;
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            started >> 32,
            (started >> 16) & 0xffff,
            (started >> 4) & 0xfff,
            number >> 48 & 0xfff,
            number & 0xffff_ffff_ffff
        )
    }
}

/// In which times and price base the rows are wanted.
fn view(asked: &Asked, seen: &[(&str, &str)]) -> Result<View, Refusal> {
    let header = |name: &str| seen.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    View::asked(|name| asked.params.get(name).or_else(|| header(name)))
        .map_err(|name| Refusal::BadParameter { name: name.to_string() })
}

fn write_answer(dataset: &Dataset, question: &Question, batches: &[RecordBatch], request_id: &str) -> Result<Vec<u8>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let has_more = rows > question.rows_max;
    if question.columns.is_empty() {
        return encode(dataset, &[], &[], 0, has_more, request_id);
    }
    encode(dataset, &question.columns, batches, question.rows_max, has_more, request_id)
}

/// The mirror over HTTP.
pub fn router(scan: Arc<dyn Scan>, catalog: Arc<Catalog>, options: MirrorOptions, clock: Clock) -> Router {
    router_of(Arc::new(Mirror::new(scan, catalog, options, clock)))
}

/// A mirror that exists already, over HTTP.
pub fn router_of(mirror: Arc<Mirror>) -> Router {
    let body_bytes_max = mirror.options.body_bytes_max;
    Router::new()
        .route("/", post(over_http))
        .route("/{api}", post(over_http))
        .route("/dataapi", post(over_http))
        .route("/dataapi/{api}", post(over_http))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .with_state(mirror)
}

async fn over_http(State(mirror): State<Arc<Mirror>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = mirror.answer_seen(&body, &super::seen(&headers)).await;
    let compress = mirror.options.gzip && answer.body.len() > GZIP_FROM_BYTES && accepts_gzip(&headers);
    let (body, encoded) = if compress { compressed(answer.body).await } else { (answer.body, false) };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if encoded {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

const GZIP_FROM_BYTES: usize = 1024;

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// The body compressed, off the threads that serve; as it was when that does not work.
async fn compressed(body: Vec<u8>) -> (Vec<u8>, bool) {
    let compressing = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::new(1));
        let written = encoder.write_all(&body).and_then(|()| encoder.finish());
        written.map_or((body, false), |small| (small, true))
    });
    compressing.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_accept_it() {
        for (value, expected) in [
            ("gzip, deflate", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
    }
}

//! The client of Tushare Pro, and of any Tidegate that mirrors it: one POST a page.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use async_trait::async_trait;
use reqwest::Url;
use serde_json::Map;

use crate::check::belongs;
use crate::dialect::tushare::request::{self, Part};
use crate::dialect::tushare::{Limits, Reply, decode, refusal, tier};
use crate::model::dataset::Tushare;
use crate::model::{Clock, Dataset, Error, ErrorKind, Exchanges, Result};
use crate::source::{Call, Offer, Page, Source};

use super::http::{Door, DoorOptions};

/// How to reach the service and as whom.
#[derive(Clone)]
pub struct TushareOptions {
    /// The name in claims, commit records and configuration: `tushare`, or `tidegate` for another Tidegate.
    pub name: &'static str,
    /// Where questions are posted. An address that ends with `/dataapi` gets the name of the API appended, as the
    /// service's own Python package does.
    pub url: String,
    pub token: String,
    /// The points of the account: they decide which tables it may ask for and how often.
    pub points: u32,
    /// 1 is best.
    pub rank: u8,
    /// The longest that one answer may take.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// The largest answer that is read, after decompression.
    pub body_bytes_max: usize,
    /// The most rows that one answer may hold.
    pub rows_max: usize,
    /// Calls per minute and API; `None`: what the points allow.
    pub per_minute: Option<u32>,
    /// Rows asked for at a time; `None`: what the catalogue says that the service sends at most.
    pub page_rows: Option<u32>,
    /// Accept compressed answers.
    pub gzip: bool,
}

impl Default for TushareOptions {
    fn default() -> TushareOptions {
        TushareOptions {
            name: "tushare",
            url: "http://api.tushare.pro".to_string(),
            token: String::new(),
            points: 120,
            rank: 1,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            body_bytes_max: 256 << 20,
            rows_max: Limits::default().rows_max,
            per_minute: None,
            page_rows: None,
            gzip: true,
        }
    }
}

/// The token is not shown.
impl fmt::Debug for TushareOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TushareOptions")
            .field("url", &self.url)
            .field("token", &if self.token.is_empty() { "(none)" } else { "(set)" })
            .field("points", &self.points)
            .field("rank", &self.rank)
            .finish_non_exhaustive()
    }
}

/// A page of 6000 bars has 600 kB and is read in a few milliseconds.
const LARGE_BYTES: usize = 2 << 20;

/// Tushare Pro as a source.
#[derive(Debug)]
pub struct TushareSource {
    options: TushareOptions,
    door: Door,
    clock: Clock,
}

impl TushareSource {
    /// Opens no connection yet.
    pub fn new(options: TushareOptions, clock: Clock) -> Result<TushareSource> {
        let door = Door::new(&DoorOptions {
            source: "tushare",
            url: &options.url,
            secret: &options.token,
            timeout: options.timeout,
            connect_timeout: options.connect_timeout,
            body_bytes_max: options.body_bytes_max,
            gzip: options.gzip,
            gzip_on_loopback: false,
        })?;
        Ok(TushareSource { options, door, clock })
    }

    /// The name of the API is appended where the service wants it.
    fn address(&self, api: &str) -> Url {
        let mut url = self.door.url().clone();
        let path = url.path().trim_end_matches('/').to_string();
        if path.ends_with("/dataapi") {
            url.set_path(&format!("{path}/{api}"));
        }
        url
    }

    fn table<'d>(&self, dataset: &'d Dataset) -> Result<&'d Tushare> {
        let unserved = || Error::not_found(format!("tushare does not serve {}", dataset.name));
        dataset.tushare.as_ref().ok_or_else(unserved)
    }

    fn page_rows(&self, table: &Tushare) -> Option<u32> {
        match (self.options.page_rows, table.row_cap) {
            (Some(own), Some(cap)) => Some(own.min(cap)),
            (own, cap) => own.or(cap),
        }
    }

    async fn page(&self, call: &Call) -> Result<Page> {
        let table = self.table(&call.dataset)?;
        let cut = table.cuts.get(call.slice.cut).ok_or_else(|| Error::bug("the slice names no cut of its source"))?;
        let limit = self.page_rows(table);
        let part = Part { facet: call.facet, offset: call.offset, limit };
        let params = request::params_for(table, cut, &call.slice.area, part)?;
        let question = request::body(&call.dataset, table, &self.options.token, params);
        let started = Stopwatch::now();
        let body = self.door.post(self.address(&table.api), question, self.clock.now()).await?;
        let network = started.elapsed();
        let (bytes, started) = (body.len() as u64, Stopwatch::now());
        let reply = self.read(&call.dataset, body).await;
        let reply = reply.and_then(|reply| self.verified(call, reply)).map_err(|error| self.after(error))?;
        let more = has_more(&reply, limit)?;
        let decode = started.elapsed();
        Ok(Page { batch: reply.batch, more, bytes, network, decode, unreadable: reply.unreadable })
    }

    /// Reads an answer; a large one off the threads that wait for other answers.
    async fn read(&self, dataset: &Arc<Dataset>, body: Vec<u8>) -> Result<Reply> {
        let (limits, now) = (Limits { rows_max: self.options.rows_max }, self.clock.now());
        if body.len() < LARGE_BYTES {
            return decode(dataset, &body, limits, now);
        }
        let dataset = dataset.clone();
        let reading = tokio::task::spawn_blocking(move || decode(&dataset, &body, limits, now));
        reading.await.map_err(|error| Error::bug("reading an answer broke off").caused_by(error))?
    }

    /// Every row must belong to the question.
    fn verified(&self, call: &Call, reply: Reply) -> Result<Reply> {
        belongs(&call.dataset, &call.slice.area, &reply.batch)?;
        Ok(reply)
    }

    /// A connection that sent a cut or foreign answer is not used again; refusals leave it in order.
    fn after(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Transient {
            self.door.renew();
        }
        error
    }
}

/// The service answers, but has not got that table or not for this account.
fn refuses_one_table(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound) && !error.whole_source()
}

/// Whether rows follow. A service that does not say has more when its page is full; without a known cap, when the page
/// ends on a round thousand.
fn has_more(reply: &Reply, limit: Option<u32>) -> Result<bool> {
    let rows = reply.row_count;
    match (reply.has_more, limit) {
        (Some(true), _) if rows == 0 => Err(Error::transient("the answer promises more rows and holds none")),
        (Some(more), _) => Ok(more),
        (None, Some(limit)) => Ok(rows >= u64::from(limit) && rows > 0),
        (None, None) => Ok(rows > 0 && rows.is_multiple_of(1000)),
    }
}

#[async_trait]
impl Source for TushareSource {
    fn name(&self) -> &str {
        self.options.name
    }

    fn rank(&self) -> u8 {
        self.options.rank
    }

    fn offer(&self, dataset: &Dataset) -> Option<Offer> {
        let table = dataset.tushare.as_ref()?;
        let allowed = tier::allowance(self.options.points, table)?;
        Some(Offer {
            api: table.api.clone(),
            cuts: table.cuts.clone(),
            row_caps: vec![self.page_rows(table); table.cuts.len()],
            offset_max: Some(refusal::OFFSET_MAX),
            calls_per_slice: request::facet_count(table),
            per_minute: Some(self.options.per_minute.unwrap_or(allowed.per_minute)),
            per_day: allowed.per_day,
            concurrency: None,
            lacks: Vec::new(),
            lacks_exchanges: Exchanges::default(),
        })
    }

    async fn fetch(&self, call: &Call) -> Result<Page> {
        let asking = |error: Error| error.while_doing(format_args!("asking {} for {}", self.options.name, call.slice));
        self.page(call).await.map_err(asking)
    }

    /// One row of the table that every account may ask for. A refusal of that table alone shows that the door is open.
    fn probe_question(&self) -> &'static str {
        "the bar of 000001.SZ of 2024-01-02"
    }

    async fn probe(&self) -> Result<()> {
        let params = [("ts_code", "000001.SZ"), ("trade_date", "20240102")];
        let params = params.map(|(name, value)| (name.to_string(), value.into()));
        let question = request::body_of("daily", &self.options.token, Map::from_iter(params), "ts_code");
        let answered = match self.door.post(self.address("daily"), question, self.clock.now()).await {
            Ok(body) => crate::dialect::tushare::decode::decode_status(&body, self.clock.now()),
            Err(error) => Err(error),
        };
        match answered {
            Err(error) if refuses_one_table(&error) => Ok(()),
            answered => answered
                .map_err(|error| error.while_doing(format_args!("asking {} whether it answers", self.options.name))),
        }
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
            let source = TushareSource::new(options, Clock::system()).unwrap();
            assert_eq!(source.address("daily").as_str(), expected);
        }
        for url in ["", "api.tushare.pro", "ftp://host"] {
            let options = TushareOptions { url: url.to_string(), ..TushareOptions::default() };
            let refused = TushareSource::new(options, Clock::system()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{url}");
        }
    }

    #[test]
    fn options_do_not_show_the_token() {
        let options = TushareOptions { token: "s3cret".to_string(), ..TushareOptions::default() };
        let shown = format!("{options:?} {:?}", TushareSource::new(options.clone(), Clock::system()).unwrap());
        assert!(!shown.contains("s3cret") && shown.contains("(set)"), "{shown}");
    }

    #[test]
    fn pages_follow_until_the_service_says_no_or_the_page_is_short() {
        let schema = Arc::new(arrow_schema::Schema::empty());
        for (has, rows, limit, expected) in [
            (Some(true), 6000, Some(6000), Ok(true)),
            (Some(true), 10, Some(6000), Ok(true)),
            (Some(false), 6000, Some(6000), Ok(false)),
            (Some(true), 0, Some(6000), Err("transient")),
            (None, 6000, Some(6000), Ok(true)),
            (None, 5999, Some(6000), Ok(false)),
            (None, 6001, Some(6000), Ok(true)),
            (None, 0, Some(0), Ok(false)),
            (None, 3000, None, Ok(true)),
            (None, 3001, None, Ok(false)),
            (None, 0, None, Ok(false)),
        ] {
            let batch = arrow_array::RecordBatch::new_empty(schema.clone());
            let reply = Reply { batch, has_more: has, unreadable: Vec::new(), row_count: rows };
            let found = super::has_more(&reply, limit).map_err(|error| error.kind().name());
            assert_eq!(found, expected, "{has:?} {rows} {limit:?}");
        }
    }
}

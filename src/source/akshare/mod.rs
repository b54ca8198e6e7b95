//! The client of AKShare: of AKTools, which runs its functions, or of the Eastmoney pages underneath, without Python.

use std::fmt;
use std::time::{Duration, Instant as Stopwatch};

use async_trait::async_trait;

use super::http::{self, Door, DoorOptions};
use crate::dialect::akshare::eastmoney::{self, Host};
use crate::dialect::akshare::{self, Limits, Question, Reply, frame, query, refusal, shape};
use crate::dialect::facets;
use crate::model::dataset::{Agreement, Cut, Service};
use crate::model::{Clock, Dataset, Error, ErrorKind, Exchanges, Result};
use crate::source::{Call, Offer, Page, Source};

/// Which of the two doors is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// AKShare's functions over HTTP.
    #[default]
    Aktools,
    /// The pages that the functions read.
    Eastmoney,
}

/// How to reach it.
#[derive(Clone)]
pub struct AkshareOptions {
    pub via: Via,
    /// Where AKTools answers.
    pub url: String,
    /// A bearer token: the private path is asked then. Empty: the public one.
    pub token: String,
    /// Hosts of the Eastmoney pages: bars, lists, reports, forecasts.
    pub history_url: String,
    pub list_url: String,
    pub report_url: String,
    pub forecast_url: String,
    /// 1 is best.
    pub rank: u8,
    /// The longest that one answer may take. Functions that read many pages take minutes.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// The largest answer that is read, after decompression.
    pub body_bytes_max: usize,
    /// The most rows that one answer may hold.
    pub rows_max: usize,
    /// Calls at the same time.
    pub concurrency: u32,
    /// Calls per minute and function; `None`: no limit.
    pub per_minute: Option<u32>,
    /// Days before a wanted span that are asked for as well: rows among them prove that an empty span is empty.
    pub proof_days: u32,
}

impl Default for AkshareOptions {
    fn default() -> AkshareOptions {
        AkshareOptions {
            via: Via::Aktools,
            url: "http://127.0.0.1:8080".to_string(),
            token: String::new(),
            history_url: "https://push2his.eastmoney.com".to_string(),
            list_url: "https://82.push2.eastmoney.com".to_string(),
            report_url: "https://datacenter-web.eastmoney.com".to_string(),
            forecast_url: "https://datacenter.eastmoney.com".to_string(),
            rank: 2,
            timeout: Duration::from_secs(180),
            connect_timeout: Duration::from_secs(10),
            body_bytes_max: 64 << 20,
            rows_max: Limits::default().rows_max,
            concurrency: 2,
            per_minute: Some(60),
            proof_days: 400,
        }
    }
}

/// The token is not shown.
impl fmt::Debug for AkshareOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AkshareOptions").field("via", &self.via).field("url", &self.url).finish_non_exhaustive()
    }
}

/// AKShare as a source.
#[derive(Debug)]
pub struct AkshareSource {
    options: AkshareOptions,
    doors: Doors,
    clock: Clock,
}

#[derive(Debug)]
enum Doors {
    Aktools(Box<Door>),
    Eastmoney(Box<[Door; 4]>),
}

/// A body of this size is read off the threads that wait for other answers.
const LARGE_BYTES: usize = 1 << 20;

impl AkshareSource {
    /// Opens no connection yet.
    pub fn new(options: AkshareOptions, clock: Clock) -> Result<AkshareSource> {
        let door = |url: &str, gzip: bool| {
            Door::new(&DoorOptions {
                source: "akshare",
                url,
                secret: &options.token,
                timeout: options.timeout,
                connect_timeout: options.connect_timeout,
                body_bytes_max: options.body_bytes_max,
                gzip,
                gzip_on_loopback: gzip,
            })
        };
        let doors = match options.via {
            Via::Aktools => Doors::Aktools(Box::new(door(&options.url, false)?)),
            Via::Eastmoney => Doors::Eastmoney(Box::new([
                door(&options.history_url, true)?,
                door(&options.list_url, true)?,
                door(&options.report_url, true)?,
                door(&options.forecast_url, true)?,
            ])),
        };
        Ok(AkshareSource { options, doors, clock })
    }

    fn serves(&self, service: &Service) -> bool {
        self.options.via == Via::Aktools || eastmoney::host_of(&service.api).is_some()
    }

    /// The services that this door has, with their cuts in the order in which an offer lists them.
    fn cuts<'d>(&self, dataset: &'d Dataset) -> impl Iterator<Item = (&'d Service, &'d Cut)> {
        let served = dataset.akshare.iter().filter(|service| self.serves(service));
        served.flat_map(|service| service.cuts.iter().map(move |cut| (service, cut)))
    }

    async fn page(&self, call: &Call) -> Result<Page> {
        let dataset = &call.dataset;
        let unserved = || Error::bug("the slice names no cut of its source");
        let (service, cut) = self.cuts(dataset).nth(call.slice.cut).ok_or_else(unserved)?;
        let area = &call.slice.area;
        let question = akshare::question::question(service, cut, area, call.facet, self.options.proof_days)?;
        let started = Stopwatch::now();
        let body = self.ask(&question, call.offset).await?;
        let network = started.elapsed();
        let (bytes, started) = (body.len() as u64, Stopwatch::now());
        let job = Job { call: call.clone(), service: service.clone(), question, via: self.options.via, body };
        let limits = Limits { rows_max: self.options.rows_max };
        let (reply, more) = job.run(limits).await.inspect_err(|error| self.after(error))?;
        let decode = started.elapsed();
        Ok(Page { batch: reply.batch, more, bytes, network, decode, unreadable: reply.unreadable })
    }

    async fn ask(&self, question: &Question, offset: u64) -> Result<Vec<u8>> {
        let now = self.clock.now();
        match &self.doors {
            Doors::Aktools(door) => {
                let token = Some(self.options.token.as_str()).filter(|token| !token.is_empty());
                let room = if token.is_some() { "private" } else { "public" };
                let mut path = format!("/api/{room}/{}", question.api);
                let asked = query::write(&question.params)?;
                if !asked.is_empty() {
                    path = format!("{path}?{asked}");
                }
                let answer = door.get(&path, token).await?;
                refusal::check(answer.status, answer.retry_after, &answer.body, now)?;
                Ok(answer.body)
            }
            Doors::Eastmoney(doors) => {
                let request = eastmoney::request(question, offset)?;
                let [history, list, report, forecast] = &**doors;
                let door = match request.host {
                    Host::History => history,
                    Host::List => list,
                    Host::Report => report,
                    Host::Forecast => forecast,
                };
                let answer = door.get(&request.path, None).await?;
                http::accept("eastmoney", answer, now)
            }
        }
    }

    /// A connection that sent a cut or foreign answer is not used again.
    fn after(&self, error: &Error) {
        if error.kind() != ErrorKind::Transient {
            return;
        }
        match &self.doors {
            Doors::Aktools(door) => door.renew(),
            Doors::Eastmoney(doors) => doors.iter().for_each(Door::renew),
        }
    }
}

/// An answer to be read.
struct Job {
    call: Call,
    service: Service,
    question: Question,
    via: Via,
    body: Vec<u8>,
}

impl Job {
    async fn run(self, limits: Limits) -> Result<(Reply, bool)> {
        if self.body.len() < LARGE_BYTES {
            return self.read(limits);
        }
        let reading = tokio::task::spawn_blocking(move || self.read(limits));
        reading.await.map_err(|error| Error::bug("reading an answer broke off").caused_by(error))?
    }

    fn read(self, limits: Limits) -> Result<(Reply, bool)> {
        let (frame, more) = match self.via {
            Via::Aktools => (shape::rows(&self.question.api, frame::read(&self.body, limits)?)?, false),
            Via::Eastmoney => {
                let answer = eastmoney::read(&self.question, self.call.offset, &self.body, limits)?;
                (answer.frame, answer.more)
            }
        };
        let Call { dataset, slice, .. } = &self.call;
        let reply = akshare::batch(dataset, &self.service, &self.question, &slice.area, &frame)?;
        Ok((reply, more))
    }
}

/// The columns of a dataset that a service lacks or that are not proven equal, in catalogue order.
fn lacks(dataset: &Dataset, services: &[&Service]) -> Vec<String> {
    let proven = |name: &String| {
        services
            .iter()
            .any(|service| service.columns.get(name).is_some_and(|served| served.agrees != Agreement::Unproven))
    };
    let stored = dataset.columns.iter().filter(|column| column.derived.is_none());
    stored.map(|column| &column.name).filter(|name| !proven(name)).cloned().collect()
}

#[async_trait]
impl Source for AkshareSource {
    fn name(&self) -> &str {
        "akshare"
    }

    fn rank(&self) -> u8 {
        self.options.rank
    }

    fn offer(&self, dataset: &Dataset) -> Option<Offer> {
        let served: Vec<&Service> = dataset.akshare.iter().filter(|service| self.serves(service)).collect();
        let first = served.first()?;
        let row_cap = |service: &Service| match self.options.via {
            Via::Aktools => service.row_cap,
            Via::Eastmoney => eastmoney::page_rows(&service.api),
        };
        Some(Offer {
            api: first.api.clone(),
            cuts: self.cuts(dataset).map(|(_, cut)| cut.clone()).collect(),
            row_caps: self.cuts(dataset).map(|(service, _)| row_cap(service)).collect(),
            offset_max: None,
            calls_per_slice: facets::count(&first.facets),
            per_minute: self.options.per_minute,
            per_day: None,
            concurrency: Some(self.options.concurrency),
            lacks: lacks(dataset, &served),
            lacks_exchanges: Exchanges::default(),
        })
    }

    async fn fetch(&self, call: &Call) -> Result<Page> {
        let asking = |error: Error| error.while_doing(format_args!("asking akshare for {}", call.slice));
        self.page(call).await.map_err(asking)
    }

    /// A few bars of one security.
    fn probe_question(&self) -> &'static str {
        "the bars of 000001 from 2024-01-02 to 2024-01-10"
    }

    async fn probe(&self) -> Result<()> {
        let params = [("symbol", "000001"), ("period", "daily"), ("start_date", "20240102"), ("end_date", "20240110")];
        let question = Question {
            api: "stock_zh_a_hist".to_string(),
            params: params.map(|(name, value)| (name.to_string(), value.to_string())).into(),
            code: Some("000001.SZ".to_string()),
            asked: crate::model::Span::ALL,
        };
        let asked = self.ask(&question, 0).await;
        let body = asked.map_err(|error| error.while_doing("asking akshare whether it answers"))?;
        frame::text(&body).map(drop)
    }
}

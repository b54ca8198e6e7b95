//! The way of a webhook to its receiver: one request, never to a closed address, never redirected, bounded in time and size.
//!
//! The client looks names up itself and connects only to addresses that it has judged: between the judgement and the
//! connection there is no second look-up whose answer could differ. Connections that are kept were judged when they were made.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Method, Response, Url};

use super::address::{Blocked, judge};
use crate::model::{Error, Result, Subnet};

/// How requests are made.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub connect_timeout: Duration,
    /// How long a connection without a request is kept.
    pub keep_alive: Duration,
    /// Connections without a request that are kept for one receiver.
    pub idle_per_host: usize,
    /// What is read of an answer.
    pub answer_bytes_max: usize,
    /// Closed subnets to which requests may go.
    pub allow: Vec<Subnet>,
    /// Whether requests may go out without TLS.
    pub plain_http: bool,
    /// Certificates in PEM that are trusted beside the usual ones.
    pub ca: Option<Vec<u8>>,
}

/// Looks up the addresses of a name.
#[async_trait]
pub trait Names: Send + Sync + 'static {
    async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's way.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A request as it goes out.
#[derive(Clone, Debug)]
pub struct Request {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// In which the whole answer must be there.
    pub timeout: Duration,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub took: Duration,
    /// Whom it was connected to, when there was an answer.
    pub address: Option<SocketAddr>,
    pub answer: Result<Answer, Fault>,
}

/// An answer of any status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The header, as it was sent.
    pub retry_after: Option<String>,
    /// Where a redirect leads, for people: it is not followed.
    pub location: Option<String>,
    /// The beginning of the body.
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub cut: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: FaultCode,
    /// In words; no secret and no address of the receiver with its path.
    pub detail: String,
}

/// What kept an answer away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    Refused,
    TimedOut,
    /// The connection broke, or what came is no answer.
    Network,
    Dns,
    Tls,
    /// The address is closed to webhooks.
    BlockedAddress,
    /// The subscription's address or a header cannot be sent.
    Unsendable,
}

impl FaultCode {
    /// The word that attempts keep.
    pub fn name(self) -> &'static str {
        match self {
            FaultCode::Refused => "ECONNREFUSED",
            FaultCode::TimedOut => "ETIMEDOUT",
            FaultCode::Network => "NETWORK_ERROR",
            FaultCode::Dns => "DNS",
            FaultCode::Tls => "TLS",
            FaultCode::BlockedAddress => "BLOCKED_ADDRESS",
            FaultCode::Unsendable => "UNSENDABLE",
        }
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The beginning of the body as text for people: at most so many characters, none that controls a terminal.
    pub fn excerpt(&self, characters_max: usize) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let plain = |character: char| match character {
            '\n' | '\t' => ' ',
            _ if character.is_control() => '\u{fffd}',
            _ => character,
        };
        let mut excerpt: String = text.trim().chars().take(characters_max).map(plain).collect();
        if self.cut || text.trim().chars().count() > characters_max {
            excerpt.push('…');
        }
        excerpt
    }
}

impl Exchange {
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().ok().map(|answer| answer.status)
    }

    /// A word for what went wrong: `HTTP_503`, `ECONNREFUSED`; `None` for a success.
    pub fn error(&self) -> Option<String> {
        match &self.answer {
            Ok(answer) if answer.is_success() => None,
            Ok(answer) => Some(format!("HTTP_{}", answer.status)),
            Err(fault) => Some(fault.code.name().to_string()),
        }
    }

    /// What was answered or what went wrong, for people.
    pub fn detail(&self, characters_max: usize) -> Option<String> {
        let detail = match &self.answer {
            Ok(Answer { location: Some(location), status: 300..400, .. }) => {
                let shown: String = location.chars().filter(|character| !character.is_control()).take(200).collect();
                format!("a redirect to {shown} is not followed")
            }
            Ok(answer) => answer.excerpt(characters_max),
            Err(fault) => fault.detail.clone(),
        };
        (!detail.is_empty()).then_some(detail)
    }
}

/// Sends webhooks. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    allow: Arc<[Subnet]>,
    answer_bytes_max: usize,
    plain_http: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("allow", &self.allow).finish_non_exhaustive()
    }
}

impl Client {
    pub fn new(options: &ClientOptions, names: Arc<dyn Names>) -> Result<Client> {
        let allow: Arc<[Subnet]> = options.allow.clone().into();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(options.keep_alive)
            .pool_max_idle_per_host(options.idle_per_host)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .no_gzip()
            .referer(false)
            .tcp_nodelay(true)
            .dns_resolver(Arc::new(JudgedNames { names, allow: allow.clone() }))
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        for certificate in certificates(options.ca.as_deref())? {
            builder = builder.add_root_certificate(certificate);
        }
        let http = builder.build().map_err(|error| Error::bug("the HTTP client cannot be built").caused_by(error))?;
        Ok(Client { http, allow, answer_bytes_max: options.answer_bytes_max, plain_http: options.plain_http })
    }

    /// Posts a request once and waits for its answer. Whatever happens is told; nothing is tried again.
    pub async fn post(&self, request: Request) -> Exchange {
        self.exchange(Method::POST, request).await
    }

    /// Asks for what stands at an address, in the same way.
    pub async fn get(&self, request: Request) -> Exchange {
        self.exchange(Method::GET, request).await
    }

    async fn exchange(&self, method: Method, request: Request) -> Exchange {
        let begun = std::time::Instant::now();
        let (address, answer) = match self.send(method, request).await {
            Ok(response) => {
                let address = response.remote_addr();
                (address, self.read(response).await)
            }
            Err(fault) => (None, Err(fault)),
        };
        Exchange { took: begun.elapsed(), address, answer }
    }

    async fn send(&self, method: Method, request: Request) -> Result<Response, Fault> {
        let url = Url::parse(&request.url).map_err(|_| unsendable("the address is no web address"))?;
        self.check(&url)?;
        let headers = headers(&request.headers)?;
        let sent = self.http.request(method, url).headers(headers).body(request.body).timeout(request.timeout).send();
        let response = sent.await.map_err(|error| fault(&error))?;
        // The address was judged before the connection was made; a second look costs nothing.
        if let Some(address) = response.remote_addr() {
            judge(address.ip(), &self.allow).map_err(blocked)?;
        }
        Ok(response)
    }

    /// What can be judged of an address before a connection: its scheme, and a host that is a number already. The parser
    /// has turned decimal, octal and hexadecimal forms into the usual one.
    fn check(&self, url: &Url) -> Result<(), Fault> {
        match url.scheme() {
            "https" => {}
            "http" if self.plain_http => {}
            "http" => return Err(unsendable("plain http is not allowed; notify.plain_http allows it")),
            _ => return Err(unsendable("the address is no web address")),
        }
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => judge(address, &self.allow).map_err(blocked),
            Err(_) => Ok(()),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Answer, Fault> {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let (retry_after, location) = (header(RETRY_AFTER), header(LOCATION));
        let mut answer = Answer { status: response.status().as_u16(), retry_after, location, ..Answer::default() };
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(answer),
                Ok(Some(chunk)) => {
                    let room = self.answer_bytes_max - answer.body.len();
                    answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    answer.cut = chunk.len() > room;
                }
                // Who said yes in half a sentence may not have finished the work; who said no has said it.
                Err(error) if answer.is_success() => return Err(fault(&error)),
                Err(_) => answer.cut = true,
            }
            if answer.cut {
                return Ok(answer);
            }
        }
    }
}

fn certificates(pem: Option<&[u8]>) -> Result<Vec<Certificate>> {
    let Some(pem) = pem else { return Ok(Vec::new()) };
    let found = Certificate::from_pem_bundle(pem).unwrap_or_default();
    match found.is_empty() {
        true => Err(Error::invalid("the file of notify.ca_file holds no certificate").hint("it is a file in PEM")),
        false => Ok(found),
    }
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let pair = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        let (Ok(name), Ok(value)) = pair else {
            return Err(unsendable("a header holds characters that no header may hold"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn unsendable(detail: &str) -> Fault {
    Fault { code: FaultCode::Unsendable, detail: detail.to_string() }
}

fn blocked(blocked: Blocked) -> Fault {
    Fault { code: FaultCode::BlockedAddress, detail: blocked.to_string() }
}

/// Names whose addresses are judged before anybody connects to them.
struct JudgedNames {
    names: Arc<dyn Names>,
    allow: Arc<[Subnet]>,
}

impl Resolve for JudgedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, allow) = (self.names.clone(), self.allow.clone());
        Box::pin(async move {
            let found = names.look_up(name.as_str()).await.map_err(|_| UnknownName)?;
            let judged: Vec<_> = found.iter().map(|address| judge(*address, &allow).map(|()| *address)).collect();
            let open: Vec<SocketAddr> = judged.iter().flatten().map(|address| SocketAddr::new(*address, 0)).collect();
            match (open.is_empty(), judged.into_iter().find_map(Result::err)) {
                (false, _) => Ok(Box::new(open.into_iter()) as Addrs),
                (true, Some(blocked)) => Err(blocked.into()),
                (true, None) => Err(UnknownName.into()),
            }
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no address")
    }
}

impl std::error::Error for UnknownName {}

/// What kept the answer away, from the causes underneath.
fn fault(error: &reqwest::Error) -> Fault {
    let first: &(dyn std::error::Error + 'static) = error;
    for cause in std::iter::successors(Some(first), |cause| cause.source()) {
        if let Some(found) = known_cause(cause) {
            return found;
        }
    }
    let (code, detail) = match () {
        () if error.is_timeout() => (FaultCode::TimedOut, "no answer in time"),
        () if error.is_connect() => (FaultCode::Network, "no connection could be made"),
        () if error.is_builder() => (FaultCode::Unsendable, "the request cannot be sent"),
        () if error.is_body() || error.is_decode() => (FaultCode::Network, "the answer broke off"),
        () => (FaultCode::Network, "the connection broke before there was an answer"),
    };
    Fault { code, detail: detail.to_string() }
}

fn known_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    if let Some(found) = cause.downcast_ref::<Blocked>() {
        return Some(blocked(*found));
    }
    if cause.is::<UnknownName>() {
        return Some(Fault { code: FaultCode::Dns, detail: UnknownName.to_string() });
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(Fault { code: FaultCode::Tls, detail: tls.to_string() });
    }
    let io = cause.downcast_ref::<io::Error>()?;
    if let Some(inner) = io.get_ref() {
        return known_cause(inner);
    }
    let (code, detail) = match io.kind() {
        io::ErrorKind::ConnectionRefused => (FaultCode::Refused, "the connection was refused"),
        io::ErrorKind::TimedOut => (FaultCode::TimedOut, "no connection in time"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (FaultCode::Network, "no way leads to the receiver")
        }
        _ => (FaultCode::Network, "the connection broke"),
    };
    Some(Fault { code, detail: detail.to_string() })
}

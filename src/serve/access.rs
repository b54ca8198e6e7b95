//! Access: finds who calls, holds them to their role and their rate, refuses requests that other sites make a browser send,
//! and leaves a trail.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::{Caller, Role};
use super::keys::{Known, Ring, Unknown};
use super::layers::{self, RequestId};
use super::problem::{Detail, Problem};
use super::rates::Rates;
use super::trail::{self, Deed, Trail};
use super::{ServeOptions, Service, events};

/// The cookie of the dashboard's session.
pub const COOKIE: &str = "tidegate_session";

/// Says that a request comes from a page of our own, or from a program: other sites cannot send it.
const OWN_REQUEST: &str = "x-tidegate-request";

/// Who may come in. Clones share it.
#[derive(Clone)]
pub struct Access {
    pub ring: Ring,
    pub trail: Trail,
    /// Without any key, whoever asks this machine by its own name is let in.
    open: bool,
    rates: Arc<Rates>,
    /// Wrong keys, by address.
    wrong: Arc<Rates>,
    /// Calls of inbound webhooks, by address.
    calls: Arc<Rates>,
}

/// By what a caller is known.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The session, where a cookie carried it.
    pub session: Option<String>,
    by_key: bool,
    /// A browser sends it along by itself, whoever makes it ask.
    by_itself: bool,
}

impl Access {
    pub fn new(ring: Ring, trail: Trail, options: &ServeOptions) -> Access {
        let rates = |per_minute: u32| Arc::new(Rates::new(per_minute));
        let (wrong, calls) = (rates(options.logins_per_minute), rates(options.webhooks_per_minute));
        Access { ring, trail, open: options.open, rates: rates(options.requests_per_minute), wrong, calls }
    }

    /// Whether nobody needs a key.
    pub fn is_open(&self) -> bool {
        self.open && !self.ring.has_keys()
    }

    /// Who this key stands for; wrong ones are counted by address.
    pub fn know(&self, text: &str, address: Option<IpAddr>) -> Result<Known, Problem> {
        let unknown = match self.ring.know(text) {
            Ok(known) => return Ok(known),
            Err(unknown) => unknown,
        };
        self.wrong
            .take(&text_of(address))
            .map_err(|seconds| too_many("too many wrong keys from this address", seconds))?;
        Err(unauthorised(match unknown {
            Unknown::NoSuchKey => "this key is not known",
            Unknown::Expired => "this key has expired",
        }))
    }

    /// Whether somebody who was let in would be again.
    pub fn still_knows(&self, caller: &Caller, standing: &Standing) -> bool {
        match standing.by_key {
            true => self.ring.holds(&caller.name, standing.session.as_deref()),
            false => self.is_open(),
        }
    }

    fn identify(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<(Caller, Standing), Problem> {
        if let Some(text) = key_in(headers)? {
            let known = self.know(text, address)?;
            return Ok((known.caller, Standing { session: known.session, by_key: true, by_itself: false }));
        }
        // A session that has ended is as good as none: the browser goes on sending it.
        let cookie = cookie_in(headers);
        if let Some(known) = cookie.and_then(|text| self.ring.know(text).ok()) {
            return Ok((known.caller, Standing { session: known.session, by_key: true, by_itself: true }));
        }
        if self.is_open() && layers::asks_this_machine(headers) {
            let local = Caller { name: "local".to_string(), role: Role::Admin };
            return Ok((local, Standing { session: None, by_key: false, by_itself: true }));
        }
        Err(unauthorised(if cookie.is_some() { "the session has ended" } else { "this takes a key" }))
    }
}

fn text_of(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| address.to_string())
}

/// The key in `Authorization: Bearer` or `X-API-Key`.
fn key_in(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(text) = text("authorization") {
        let key = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return match key {
            Some((_, key)) => Ok(Some(key.trim())),
            None => Err(unauthorised("the header Authorization does not say `Bearer` and a key")),
        };
    }
    Ok(text("x-api-key").map(str::trim))
}

fn cookie_in(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn unauthorised(detail: &str) -> Problem {
    Problem::of_status(StatusCode::UNAUTHORIZED, "unauthorised", detail)
        .hint("make a key with `tidegate keys create NAME`, and send it as `Authorization: Bearer KEY`")
}

fn too_many(detail: &str, seconds: u32) -> Problem {
    let problem = Problem::of_status(StatusCode::TOO_MANY_REQUESTS, "throttled", detail);
    Problem { retry_after: Some(seconds), ..problem }
}

/// Whether a method only reads.
pub fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whoever may read may leave, and see what a run would take.
fn changes_nothing(deed: &Deed) -> bool {
    const FREE: [(&str, &str); 4] = [
        ("DELETE", "/api/v1/session"),
        ("POST", "/api/v1/plan"),
        ("POST", "/api/v1/signatures/check"),
        ("POST", "/api/v1/replays/preview"),
    ];
    FREE.contains(&(deed.method.as_str(), deed.route.as_str()))
}

/// Around routes that need a caller.
pub async fn guarded(State(service): State<Service>, request: Request, next: Next) -> Response {
    let access = &service.access;
    let mut deed = deed_of(&request);
    // Another Tidegate's questions are too long for an address, hold keys of rows, and change nothing.
    let reads = reads(request.method()) || deed.route == "/api/v1/digests";
    let answered = async {
        let identified = access.identify(request.headers(), deed.address);
        let (caller, standing) = match identified {
            Ok(identified) => identified,
            Err(problem) => {
                // Whoever is not known is counted by address.
                let counted = access.rates.take(&text_of(deed.address));
                return Err(counted.map_or_else(|seconds| too_many("too many requests", seconds), |()| problem));
            }
        };
        deed.who = caller.name.clone();
        let counted = if standing.by_key { caller.name.clone() } else { text_of(deed.address) };
        access.rates.take(&counted).map_err(|seconds| too_many("too many requests", seconds))?;
        caller.must(if reads || changes_nothing(&deed) { Role::Read } else { Role::Operate })?;
        if standing.by_itself {
            refuse_other_sites(request.method(), request.headers(), &service.options.cors_origins)?;
        }
        access.ring.note_use(&caller.name);
        let (mut request, body) = layers::gather(&service, request).await?;
        // What is published is kept as an event: its content is nobody's parameter.
        let body = if events::carries(&deed.route) { &[] } else { &body[..] };
        deed.parameters = trail::parameters(request.uri().query(), body);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(standing);
        Ok(next.run(request).await)
    };
    let response = answered.await.unwrap_or_else(|problem: Problem| problem.into_response());
    leave_trail(access, &deed, reads, response).await
}

/// Around routes that answer everybody: probes, the pages of the dashboard, the login.
pub async fn open(State(service): State<Service>, request: Request, next: Next) -> Response {
    let access = &service.access;
    let mut deed = deed_of(&request);
    let reads = reads(request.method());
    let answered = async {
        access.rates.take(&text_of(deed.address)).map_err(|seconds| too_many("too many requests", seconds))?;
        let (request, _) = layers::gather(&service, request).await?;
        Ok(next.run(request).await)
    };
    let response = answered.await.unwrap_or_else(|problem: Problem| problem.into_response());
    // A login says who came in.
    deed.who = response.extensions().get::<Caller>().map(|caller| caller.name.clone()).unwrap_or_default();
    leave_trail(access, &deed, reads, response).await
}

/// Around webhooks that others call: the signature is the key, and the handler checks it. What is refused leaves a trail with
/// the reason; what is taken in is in the store itself.
pub async fn signed(State(service): State<Service>, request: Request, next: Next) -> Response {
    let access = &service.access;
    let mut deed = deed_of(&request);
    let answered = async {
        access.calls.take(&text_of(deed.address)).map_err(|seconds| too_many("too many calls", seconds))?;
        let (request, _) = layers::gather_within(&service, request, service.options.webhook_bytes_max).await?;
        Ok(next.run(request).await)
    };
    let response = answered.await.unwrap_or_else(|problem: Problem| problem.into_response());
    if !response.status().is_success() {
        let reason = response.extensions().get::<Detail>().map(|detail| detail.0.clone()).unwrap_or_default();
        deed.parameters = serde_json::json!({ "reason": reason });
        access.trail.refusal(&deed, response.status());
    }
    response
}

fn deed_of(request: &Request) -> Deed {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    Deed {
        who: String::new(),
        method: request.method().to_string(),
        route: route.to_string(),
        path: request.uri().path().to_string(),
        parameters: serde_json::json!({}),
        request: request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        address: request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()),
    }
}

async fn leave_trail(access: &Access, deed: &Deed, reads: bool, response: Response) -> Response {
    let status = response.status();
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    if refused {
        access.trail.refusal(deed, status);
    } else if !(reads || (events::carries(&deed.route) && status.is_success())) {
        access.trail.change(deed, status).await;
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static("Bearer");
        let mut response = response;
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return response;
    }
    response
}

/// A browser sends cookies, and reaches loopback, for whichever page makes it ask: changes and web sockets are for pages
/// of our own only. Browsers say where a request comes from; what says nothing must be something that no page of another
/// site can send without being asked about first.
pub fn refuse_other_sites(method: &Method, headers: &HeaderMap, allowed: &[String]) -> Result<(), Problem> {
    let upgrades = headers.contains_key(header::UPGRADE);
    if reads(method) && !upgrades {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let origin = text("origin");
    if origin.is_some_and(|origin| allowed.iter().any(|allowed| allowed == origin)) {
        return Ok(());
    }
    let own_origin = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some() && authority == text("host")
    };
    // What a browser says of the site counts more than names, which a proxy may have changed.
    let foreign = match (text("sec-fetch-site"), origin) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => !own_origin(origin),
        (None, None) => false,
    };
    if foreign {
        let problem = Problem::of_status(StatusCode::FORBIDDEN, "cross-site", "another site may not ask for this");
        return Err(problem.hint("name the site under serve.cors_origins, or send a key in a header"));
    }
    let said = text("sec-fetch-site").is_some() || origin.is_some() || headers.contains_key(OWN_REQUEST);
    let json = ["application/json", "application/cloudevents"];
    let is_json = text("content-type").is_some_and(|kind| json.iter().any(|json| kind.starts_with(json)));
    // No page of another site can send it without being asked about first.
    let is_event = headers.contains_key("ce-specversion");
    if said || is_json || is_event || upgrades || *method != Method::POST {
        return Ok(());
    }
    let detail = "the request does not say that it comes from a program or a page of our own";
    Err(Problem::of_status(StatusCode::FORBIDDEN, "cross-site", detail)
        .hint("send the header X-Tidegate-Request: 1, or a key in a header"))
}

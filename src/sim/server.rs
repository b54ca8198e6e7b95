//! The simulated market behind the Tushare mirror on a loopback port, with scripted faults in between.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use futures::StreamExt;
use futures::stream;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dialect::tushare::Refusal;
use crate::mirror;
use crate::mirror::tushare::MirrorOptions;
use crate::model::{Clock, Error, Result};

use super::bodies::monstrous;
use super::distort::distorted;
use super::faults::{ApiCount, Fault, FaultScript, Served, question};
use super::market::Market;

/// How the simulated source is served.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub mirror: MirrorOptions,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The clock of the quotas (the market has its own).
    pub clock: Clock,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            mirror: MirrorOptions::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock: Clock::system(),
        }
    }
}

/// A running simulated source. It stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    script: FaultScript,
    shutdown: Option<oneshot::Sender<Infallible>>,
    serving: JoinHandle<Result<()>>,
}

impl Server {
    /// Listens and serves. The address is known when this returns.
    pub async fn start(market: &Market, script: FaultScript, options: ServerOptions) -> Result<Server> {
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|error| Error::invalid(format!("cannot listen on {}", options.listen)).caused_by(error))?;
        let address =
            listener.local_addr().map_err(|error| Error::bug("a listener has no address").caused_by(error))?;
        let catalog = market.catalog().clone();
        let router = mirror::tushare::router(Arc::new(market.clone()), catalog, options.mirror, options.clock.clone());
        let faulty = Faulty { script: script.clone(), clock: options.clock };
        let router = router.layer(middleware::from_fn_with_state(faulty, between));
        let (shutdown, stopped) = oneshot::channel::<Infallible>();
        let serving = tokio::spawn(mirror::serve(listener, router, async move {
            let _dropped = stopped.await;
        }));
        Ok(Server { address, script, shutdown: Some(shutdown), serving })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every call so far.
    pub fn served(&self) -> Vec<Served> {
        self.script.served()
    }

    /// Calls, faults and refusals by API.
    pub fn counts(&self) -> BTreeMap<String, ApiCount> {
        self.script.counts()
    }

    /// Stops listening and closes every connection.
    pub async fn stop(mut self) {
        self.shutdown.take();
        self.serving.abort();
        let _ended = (&mut self.serving).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.take();
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Faulty {
    script: FaultScript,
    clock: Clock,
}

/// Bodies of questions and answers that faults look at.
pub(super) const BODY_BYTES_MAX: usize = 256 << 20;

/// Reads the question, lets the script decide, and answers accordingly.
async fn between(State(faulty): State<Faulty>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return status(StatusCode::PAYLOAD_TOO_LARGE) };
    let (api, params) = question(&body);
    let Some(fault) = faulty.script.meet(&api, params.clone(), faulty.clock.now()) else {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        return counted(&faulty.script, &api, response).await;
    };
    if let Some(response) = instead(&fault) {
        return response;
    }
    if let Fault::SlowAnswer { millis } = fault {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        return next.run(Request::from_parts(parts, Body::from(body))).await;
    }
    parts.headers.remove(header::ACCEPT_ENCODING);
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    afterwards(&fault, &params, response).await
}

/// Counts refusals of the mirror itself, which are short bodies with a code.
async fn counted(script: &FaultScript, api: &str, response: Response) -> Response {
    let length = response.body().size_hint().exact();
    if length.is_none_or(|length| length >= 1024) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1024).await.unwrap_or_default();
    let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    if has(b"\"code\":") && !has(b"\"code\":0,") {
        script.refused(api);
    }
    Response::from_parts(parts, Body::from(bytes))
}

pub(super) fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub(super) fn json(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

/// The answer of a fault that needs no work by the mirror.
pub(super) fn instead(fault: &Fault) -> Option<Response> {
    const ID: &str = "00000000-0000-4000-a000-000000000000";
    Some(match fault {
        Fault::Refuse { code, msg } => {
            let body = serde_json::json!({"request_id": ID, "code": code, "data": null, "msg": msg});
            json(body.to_string().into_bytes())
        }
        Fault::Throttle { per_minute } => json(Refusal::PerMinute { times: *per_minute }.body(ID)),
        Fault::QuotaGone { per_day } => json(Refusal::PerDay { times: *per_day }.body(ID)),
        Fault::WrongToken => json(Refusal::Token.body(ID)),
        Fault::DropConnection => broken(Bytes::new(), 64),
        Fault::ServerError { status: code } => {
            status(StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Fault::TooManyRequests { retry_after_seconds } => {
            let mut response = status(StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_seconds));
            response
        }
        Fault::NotJson => {
            let mut response = Response::new(Body::from("<html><body><h1>502 Bad Gateway</h1></body></html>"));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response
        }
        fault => return monstrous(fault),
    })
}

/// What a fault makes of an answer that is there.
async fn afterwards(fault: &Fault, params: &BTreeMap<String, String>, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_BYTES_MAX).await else { return status(StatusCode::INTERNAL_SERVER_ERROR) };
    match fault {
        Fault::LostAnswer => broken(Bytes::new(), bytes.len()),
        Fault::CutBody { fraction } => {
            let sent = (bytes.len() as f64 * fraction.clamp(0.0, 1.0)) as usize;
            broken(bytes.slice(..sent.min(bytes.len().saturating_sub(1))), bytes.len())
        }
        _ => {
            let mut response = json(distorted(fault, params, &bytes));
            *response.status_mut() = parts.status;
            response
        }
    }
}

/// Announces `length` bytes, sends fewer, and breaks the connection.
pub(super) fn broken(sent: Bytes, length: usize) -> Response {
    let pieces = stream::iter([Ok(sent), Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))]);
    // The pause lets what was sent leave before the connection breaks.
    let paced = pieces.then(|piece| async move {
        if piece.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        piece
    });
    let mut response = Response::new(Body::from_stream(paced));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

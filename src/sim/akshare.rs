//! The simulated market as AKTools and as the Eastmoney pages, on a loopback port, with scripted faults in between.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dialect::akshare::{Refusal, eastmoney_answer, query};
use crate::mirror;
use crate::mirror::aktools::{Aktools, AktoolsOptions};
use crate::model::{Clock, Error, Result};
use crate::store::Scan;

use super::faults::{Fault, FaultScript, Served};
use super::server::{BODY_BYTES_MAX, broken, instead, json, status};

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AkshareForm {
    Aktools,
    Eastmoney,
}

/// A running simulated AKShare. It stops when it is dropped.
pub struct AkshareServer {
    address: SocketAddr,
    script: FaultScript,
    shutdown: Option<oneshot::Sender<Infallible>>,
    serving: JoinHandle<Result<()>>,
}

impl AkshareServer {
    /// Listens on a free port and serves whatever `scan` holds, usually a [`super::Market`].
    pub async fn start(
        scan: Arc<dyn Scan>,
        catalog: Arc<crate::catalog::Catalog>,
        script: FaultScript,
        form: AkshareForm,
    ) -> Result<AkshareServer> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .map_err(|error| Error::invalid("cannot listen on loopback").caused_by(error))?;
        let address =
            listener.local_addr().map_err(|error| Error::bug("a listener has no address").caused_by(error))?;
        let options = AktoolsOptions::default();
        let router = match form {
            AkshareForm::Aktools => mirror::aktools::router(scan, catalog, options, Clock::system()),
            AkshareForm::Eastmoney => {
                Router::new().fallback(page).with_state(Arc::new(Aktools::new(scan, catalog, options, Clock::system())))
            }
        };
        let faulty = Faulty { script: script.clone(), clock: Clock::system() };
        let router = router.layer(middleware::from_fn_with_state(faulty, between));
        let (shutdown, stopped) = oneshot::channel::<Infallible>();
        let serving = tokio::spawn(mirror::serve(listener, router, async move {
            let _dropped = stopped.await;
        }));
        Ok(AkshareServer { address, script, shutdown: Some(shutdown), serving })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far.
    pub fn served(&self) -> Vec<Served> {
        self.script.served()
    }
}

impl Drop for AkshareServer {
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

/// Lets the script decide about a call, and answers accordingly.
async fn between(State(faulty): State<Faulty>, request: Request, next: Next) -> Response {
    let (api, params) = question(request.uri());
    let Some(fault) = faulty.script.meet(&api, params, faulty.clock.now()) else { return next.run(request).await };
    match &fault {
        // Neither form has refusals of its own for these: they look like a page that failed.
        Fault::Refuse { .. } | Fault::Throttle { .. } | Fault::QuotaGone { .. } | Fault::WrongToken => {
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Fault::SlowAnswer { millis } => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            next.run(request).await
        }
        fault => match instead(fault) {
            Some(response) => response,
            None => afterwards(fault, next.run(request).await).await,
        },
    }
}

/// The function that a call runs or whose page it gets, with its parameters.
fn question(uri: &Uri) -> (String, BTreeMap<String, String>) {
    let raw = uri.query().unwrap_or_default();
    if uri.path().starts_with("/api/public/") || uri.path().starts_with("/api/private/") {
        let name = uri.path().rsplit('/').next().unwrap_or_default();
        return (name.to_string(), query::read(raw).unwrap_or_default());
    }
    match eastmoney_answer::read(uri.path(), &decoded(raw)) {
        Some(asked) => (asked.function.to_string(), asked.params),
        None => (uri.path().to_string(), BTreeMap::new()),
    }
}

/// A query cut first and decoded afterwards, as most servers do.
fn decoded(raw: &str) -> BTreeMap<String, String> {
    let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    raw.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (text(name), text(value))).collect()
}

/// One page of Eastmoney.
async fn page(State(market): State<Arc<Aktools>>, uri: Uri) -> Response {
    let query_params = decoded(uri.query().unwrap_or_default());
    let Some(asked) = eastmoney_answer::read(uri.path(), &query_params) else { return status(StatusCode::NOT_FOUND) };
    let Ok(params) = query::write(&asked.params) else { return status(StatusCode::BAD_REQUEST) };
    match market.table(asked.function, &params).await {
        Ok(table) => json(asked.write(&table).into_bytes()),
        Err(Refusal::UnknownFunction) => status(StatusCode::NOT_FOUND),
        Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// What a fault makes of an answer that is there.
async fn afterwards(fault: &Fault, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_BYTES_MAX).await else { return status(StatusCode::INTERNAL_SERVER_ERROR) };
    match fault {
        Fault::LostAnswer => broken(Bytes::new(), bytes.len()),
        Fault::CutBody { fraction } => {
            let sent = (bytes.len() as f64 * fraction.clamp(0.0, 1.0)) as usize;
            broken(bytes.slice(..sent.min(bytes.len().saturating_sub(1))), bytes.len())
        }
        fault => Response::from_parts(parts, Body::from(distorted(fault, &bytes))),
    }
}

/// The answer as the fault leaves it; faults that do not apply leave it as it is.
fn distorted(fault: &Fault, body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    match fault {
        Fault::EmptyAnswer => match text.split_once("\"klines\":[") {
            Some((before, rest)) => {
                let after = rest.split_once(']').map_or("", |(_, after)| after);
                format!("{before}\"klines\":[]{after}").into_bytes()
            }
            None => b"[]".to_vec(),
        },
        // Another security: its code wherever a code stands.
        Fault::OtherAnswer => {
            let names = ["\"股票代码\":\"", "\"code\":\"", "\"SECURITY_CODE\":\""];
            names.iter().fold(text.into_owned(), |text, name| misdirected(&text, name)).into_bytes()
        }
        _ => body.to_vec(),
    }
}

/// The six digits behind every `name` are those of another security.
fn misdirected(text: &str, name: &str) -> String {
    let mut parts = text.split(name);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (code, rest) = part.split_at_checked(6).unwrap_or((part, ""));
        let other = if code == "600000" { "000001" } else { "600000" };
        out.extend([name, other, rest]);
    }
    out
}

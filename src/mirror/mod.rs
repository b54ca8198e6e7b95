//! Mirrors: servers that answer in a source's dialect from whatever can be scanned: a store, or the simulated market.

pub mod aktools;
pub mod baostock;
pub mod tushare;

use std::future::Future;

use axum::Router;
use axum::http::HeaderMap;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::model::{Error, Result};
use crate::read::PARAMETERS;

/// Serves until `shutdown` is ready, then finishes what is under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    // Without delay an answer's last packet does not wait for an acknowledgement; where that fails it is only slower.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown).await;
    served.map_err(|error| Error::transient("the mirror stopped serving").caused_by(error))
}

/// What the headers `X-Tidegate-As-Of` and so on say; empty where there is none.
fn seen(headers: &HeaderMap) -> [(&'static str, &str); PARAMETERS.len()] {
    PARAMETERS.map(|name| {
        let header = headers.get(format!("x-tidegate-{}", name.replace('_', "-")));
        (name, header.map_or("", |value| value.to_str().unwrap_or("unreadable")))
    })
}

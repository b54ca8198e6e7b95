//! The service: REST, web socket and dashboard over a store, its engines and the scheduler.

pub mod caller;
mod envelope;
mod extract;
mod mission;
mod probes;
mod problem;

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;

use crate::catalog::Catalog;
use crate::engine::Engines;
use crate::engine::doors::Configured;
use crate::model::{Clock, Error, Instant, Result};
use crate::read::Reader;
use crate::store::Store;

/// How the service answers; from `[serve]` in the configuration.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Entries of one page of a list when a request names none, and at most.
    pub page_rows: usize,
    pub page_rows_max: usize,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions { page_rows: 200, page_rows_max: 10_000 }
    }
}

/// What the routes work with. Clones share it.
#[derive(Clone)]
pub struct Service(Arc<Parts>);

pub struct Parts {
    pub store: Arc<dyn Store>,
    pub catalog: Arc<Catalog>,
    pub clock: Clock,
    pub reader: Reader,
    pub engines: Engines,
    /// Every source that can be configured, switched on or not.
    pub sources: Vec<Configured>,
    pub options: ServeOptions,
    pub started_at: Instant,
}

impl Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Service {
    pub fn new(parts: Parts) -> Service {
        Service(Arc::new(parts))
    }

    /// Every route of the service.
    pub fn router(self) -> Router {
        let (router, _openapi) = routes().split_for_parts();
        router.with_state(self)
    }
}

/// One line a module of routes.
fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().merge(probes::routes()).merge(mission::routes())
}

/// Serves until `shutdown` is ready, then finishes what is under way.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let served = axum::serve(listener, service.router()).with_graceful_shutdown(shutdown).await;
    served.map_err(|error| Error::transient("the service stopped").caused_by(error))
}

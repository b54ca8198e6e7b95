//! The service: REST, web socket and dashboard over a store, its engines and the scheduler.

mod accept;
mod access;
mod api_keys;
pub mod cache;
pub mod caller;
mod changes;
mod cors;
pub mod deliveries;
mod docs;
mod envelope;
mod events;
mod extract;
pub mod inbounds;
mod intakes;
pub mod keys;
mod layers;
pub mod live;
mod logs;
mod metrics;
mod mission;
mod openapi;
mod probes;
mod problem;
mod random;
mod rates;
mod secrets;
mod session;
mod settings;
pub mod subscriptions;
mod trail;
mod v1;
pub mod views;
mod web;
mod webhooks;

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::net::TcpListener;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;

use access::Access;
use cache::Cache;
use keys::Ring;
use live::Live;
use metrics::Metrics;
pub use settings::Setting;
use trail::Trail;

use crate::catalog::Catalog;
use crate::engine::Engines;
use crate::engine::doors::Configured;
use crate::feed::Feed;
use crate::log::Log;
use crate::model::{Clock, Error, Instant, Result};
use crate::notify::define::Subscriptions;
use crate::publish::Publisher;
use crate::read::Reader;
use crate::receive::{Control as Inbounds, Receiver};
use crate::reconcile::Reconciler;
use crate::scheduler::Control;
use crate::store::Store;

pub use v1::Memory;

/// How the service answers; from `[serve]` in the configuration.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Names by which it may be reached beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Pages of other sites that may ask from a browser.
    pub cors_origins: Vec<String>,
    /// Without any key everybody on this machine is let in: it is not reached from elsewhere.
    pub open: bool,
    pub connections: usize,
    /// In which a request must arrive, head and body each.
    pub arrival: Duration,
    /// After which a request is given up.
    pub request: Duration,
    pub body_bytes_max: usize,
    /// Of requests that carry events or vouchers.
    pub event_body_bytes_max: usize,
    /// Entries of the log that one page of a filtered list looks through.
    pub event_look_through: usize,
    /// 0: no limit.
    pub requests_per_minute: u32,
    pub logins_per_minute: u32,
    /// Entries of one page of a list when a request names none, and at most.
    pub page_rows: usize,
    pub page_rows_max: usize,
    /// The body of a call of an inbound webhook.
    pub webhook_bytes_max: usize,
    /// Calls of inbound webhooks from one address; 0: no limit.
    pub webhooks_per_minute: u32,
    /// Rows of one download at most.
    pub rows_max: u64,
    pub session_hours: u32,
    /// In which requests that are under way may end.
    pub drain: Duration,
    /// Between looks for what other processes wrote.
    pub poll: Duration,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            open: true,
            connections: 1024,
            arrival: Duration::from_secs(10),
            request: Duration::from_secs(60),
            body_bytes_max: 1024 * 1024,
            event_body_bytes_max: 4 * 1024 * 1024,
            event_look_through: 20_000,
            requests_per_minute: 12_000,
            logins_per_minute: 10,
            page_rows: 200,
            page_rows_max: 10_000,
            webhook_bytes_max: 2 * 1024 * 1024,
            webhooks_per_minute: 60_000,
            rows_max: 2_000_000,
            session_hours: 12,
            drain: Duration::from_secs(30),
            poll: Duration::from_millis(250),
        }
    }
}

/// What the routes work with. Clones share it.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

pub struct Inner {
    parts: Parts,
    metrics: Metrics,
    access: Access,
}

/// What a service is put together from.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub catalog: Arc<Catalog>,
    pub clock: Clock,
    pub reader: Reader,
    pub engines: Engines,
    /// Jobs and runs.
    pub control: Control,
    pub reconciler: Reconciler,
    pub subscriptions: Subscriptions,
    /// Every source that can be configured, switched on or not.
    pub sources: Vec<Configured>,
    pub publisher: Publisher,
    pub feed: Feed,
    pub live: Live,
    /// Takes calls of inbound webhooks in.
    pub receiver: Receiver,
    pub inbounds: Inbounds,
    pub log: Log,
    pub cache: Cache,
    pub memory: Memory,
    pub options: ServeOptions,
    /// The configuration in force, for people.
    pub settings: Vec<Setting>,
    pub started_at: Instant,
}

impl Deref for Service {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Service {
    /// Reads the keys, and follows them from then on.
    pub async fn start(parts: Parts) -> Result<Service> {
        let options = &parts.options;
        let ring = Ring::read(parts.store.clone(), parts.clock.clone()).await?;
        if !options.open && !ring.has_keys() {
            let message = "the service can be reached from other machines, and there is no key to keep anybody out";
            return Err(Error::invalid(message).hint("`tidegate keys create NAME`, or listen on 127.0.0.1"));
        }
        tokio::spawn(ring.clone().follow(parts.feed.clone()));
        let trail = Trail::start(parts.store.clone(), parts.clock.clone());
        let access = Access::new(ring, trail, options);
        let metrics = Metrics::start(&parts.feed, &*parts.store).await?;
        Ok(Service(Arc::new(Inner { parts, metrics, access })))
    }

    /// Every route of the service, with the layers around it.
    pub fn router(self) -> Router {
        let (guarded, guarded_api) = merged(modules()).split_for_parts();
        let (signed, signed_api) = merged(signed_modules()).split_for_parts();
        let (open, mut open_api) = merged(open_modules()).split_for_parts();
        open_api.merge(signed_api);
        let guarded = guarded.route_layer(from_fn_with_state(self.clone(), access::guarded));
        let tables: Vec<&str> = self.catalog.datasets().iter().map(|dataset| dataset.name.as_str()).collect();
        let description = openapi::describe(&guarded_api, &open_api, &tables, self.options.page_rows_max);
        let open = open.merge(openapi::router(&description));
        let open = open.route_layer(from_fn_with_state(self.clone(), access::open));
        let signed = signed
            .layer(axum::extract::DefaultBodyLimit::disable())
            .route_layer(from_fn_with_state(self.clone(), access::signed));
        let compression = CompressionLayer::new().quality(CompressionLevel::Fastest);
        guarded
            .merge(open)
            .merge(signed)
            .fallback(web::fallback)
            .layer(from_fn_with_state(self.clone(), layers::in_time))
            .layer(from_fn_with_state(self.clone(), cors::cors))
            .layer(from_fn_with_state(self.clone(), layers::admit))
            .layer(from_fn_with_state(self.clone(), metrics::observe))
            .layer(from_fn(layers::around))
            .layer(compression)
            .with_state(self)
    }
}

fn merged(modules: Vec<OpenApiRouter<Service>>) -> OpenApiRouter<Service> {
    modules.into_iter().fold(OpenApiRouter::new(), OpenApiRouter::merge)
}

/// Routes that need a caller: one line a module.
fn modules() -> Vec<OpenApiRouter<Service>> {
    vec![
        session::routes(),
        api_keys::routes(),
        secrets::routes(),
        settings::routes(),
        subscriptions::routes(),
        inbounds::routes(),
        changes::routes(),
        intakes::routes(),
        logs::routes(),
        v1::routes(),
        events::routes(),
        deliveries::routes(),
        live::routes(),
        metrics::routes(),
        mission::routes(),
    ]
}

/// Routes whose calls are signed: one line a module.
fn signed_modules() -> Vec<OpenApiRouter<Service>> {
    vec![webhooks::routes()]
}

/// Routes that answer everybody: one line a module.
fn open_modules() -> Vec<OpenApiRouter<Service>> {
    vec![probes::routes(), session::open_routes()]
}

/// Serves until `shutdown` is ready, then finishes what is under way.
pub async fn serve(listener: TcpListener, service: Service, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    let (options, live) = (service.options.clone(), service.live.clone());
    let shutdown = async move {
        shutdown.await;
        live.close().await;
    };
    let trail = service.access.trail.clone();
    accept::accept(listener, service.router(), &options, shutdown).await;
    trail.written().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }

    /// The names under which a file describes types.
    fn described(text: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if !(line.trim_start().starts_with("#[derive(") && line.contains("ToSchema")) {
                continue;
            }
            let mut given = None;
            for line in lines.by_ref() {
                given = given.or(line.split_once("(as = ").map(|(_, rest)| rest.to_string()));
                let plain = !line.trim_start().starts_with(['/', '#']);
                if let Some((_, rest)) = line.split_once("struct ").or(line.split_once("enum ")).filter(|_| plain) {
                    let name = given.unwrap_or(rest.to_string());
                    names.push(name.chars().take_while(|letter| letter.is_alphanumeric()).collect());
                    break;
                }
            }
        }
        names
    }

    #[test]
    fn a_schema_has_a_name_of_its_own() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
        for path in files {
            for name in described(&std::fs::read_to_string(&path).unwrap()) {
                let before = seen.insert(name.clone(), path.clone());
                assert_eq!(before, None, "{}: {name} is described already: #[schema(as = OtherName)]", path.display());
            }
        }
        assert!(seen.len() > 20, "{seen:?}");
    }
}

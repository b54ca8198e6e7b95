//! `/metrics`: what Prometheus asks for. No recorder is global, so that several services fit into one process.

mod counted;
mod deliveries;
mod exposition;
mod http;
mod intakes;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::counted::Counted;
use self::deliveries::Deliveries;
use self::exposition::{Exposition, Kind, MEDIA_TYPE};
use self::http::Requests;
use super::Service;
use super::problem::Problem;
use crate::feed::Feed;
use crate::model::{Result, RunState, RunsWanted, TaskState};
use crate::store::Store;

pub use self::http::observe;

/// Events that are counted in one step.
const EVENTS_AT_ONCE: usize = 256;
/// How long to wait before the log is read again.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long an answer is given again: several who ask at once do not make the store work for each.
const KEPT: Duration = Duration::from_secs(1);
/// Runs and tasks that are looked through.
const LOOKED_THROUGH: usize = 1_000;
/// Jobs that are told apart.
const JOBS_MAX: usize = 200;

/// What a service counts of itself.
pub struct Metrics {
    pub requests: Requests,
    counted: Arc<Counted>,
    deliveries: Deliveries,
    /// The last answer, and when it was made.
    answer: Mutex<Option<(Moment, String)>>,
}

impl Metrics {
    /// Counts from now on.
    pub async fn start(feed: &Feed, store: &dyn Store) -> Result<Metrics> {
        let counted = Arc::new(Counted::default());
        counted.begin(&store.health().await?);
        tokio::spawn(count(feed.clone(), counted.clone()));
        let deliveries = Deliveries::begin(store).await?;
        Ok(Metrics { requests: Requests::default(), counted, deliveries, answer: Mutex::default() })
    }
}

async fn count(feed: Feed, counted: Arc<Counted>) {
    let mut follower = feed.follow(feed.head());
    loop {
        match follower.next(EVENTS_AT_ONCE).await {
            Ok(events) => events.iter().for_each(|event| counted.event(event)),
            Err(error) => {
                tracing::debug!(%error, "metrics wait for the event log");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "probes",
    responses((status = 200, body = String, content_type = "text/plain",
        description = "Prometheus text exposition, version 0.0.4")))]
async fn metrics(State(service): State<Service>) -> Result<Response, Problem> {
    let mut answer = service.metrics.answer.lock().await;
    let made = match answer.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
        Some((_, text)) => text.clone(),
        None => {
            let text = expose(&service).await;
            *answer = Some((Moment::now(), text.clone()));
            text
        }
    };
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], made).into_response())
}

async fn expose(service: &Service) -> String {
    let mut exposition = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    exposition.family("tidegate_build_info", Kind::Gauge, "The version that runs.").sample(&version, 1.0);
    // What the process knows by itself is told also when the store is away.
    let told = tell_of_store(service).await;
    if let Err(error) = &told {
        tracing::warn!(%error, "metrics without the store");
    }
    let help = "Whether the store answered.";
    exposition.single("tidegate_store_up", Kind::Gauge, help, f64::from(told.is_ok()));
    let mut text = exposition.into_text();
    text.push_str(&told.unwrap_or_default());
    let mut exposition = Exposition::default();
    service.metrics.counted.expose(&mut exposition);
    service.metrics.requests.expose(&mut exposition);
    tell_of_sockets(service, &mut exposition);
    process::expose(&mut exposition, service.started_at);
    text + &exposition.into_text()
}

/// What the store says of work, sources and tables.
async fn tell_of_store(service: &Service) -> Result<String> {
    let mut exposition = Exposition::default();
    tell_of_work(service, &mut exposition).await?;
    tell_of_sources(service, &mut exposition).await?;
    tell_of_tables(service, &mut exposition).await?;
    deliveries::tell(service, &mut exposition).await?;
    intakes::tell(service, &mut exposition).await?;
    Ok(exposition.into_text())
}

async fn tell_of_work(service: &Service, exposition: &mut Exposition) -> Result<()> {
    let runs = service.store.runs(&RunsWanted { limit: LOOKED_THROUGH, ..RunsWanted::default() }).await?;
    let tasks = service.store.tasks(LOOKED_THROUGH).await?;
    let mut by_job: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for run in &runs {
        let job = run.job.as_deref().unwrap_or_default();
        let job = if by_job.len() < JOBS_MAX || by_job.contains_key(&(job, run.state.name())) { job } else { "other" };
        *by_job.entry((job, run.state.name())).or_default() += 1;
    }
    let help = "Runs that the store remembers, the newest 1000, by job (empty: asked for by hand) and state.";
    let mut family = exposition.family("tidegate_runs", Kind::Gauge, help);
    for ((job, state), count) in by_job {
        family.sample(&[("job", job), ("state", state)], count as f64);
    }
    let mut family = exposition.family("tidegate_tasks", Kind::Gauge, "Tasks that are open, by state.");
    for state in TaskState::ALL.into_iter().filter(|state| state.is_open()) {
        let count = tasks.iter().filter(|task| task.state == state).count();
        family.sample(&[("state", state.name())], count as f64);
    }
    let help = "What waits for a worker.";
    let mut family = exposition.family("tidegate_queue", Kind::Gauge, help);
    let waiting = runs.iter().filter(|run| run.state == RunState::Pending).count();
    family.sample(&[("of", "runs")], waiting as f64);
    let waiting = tasks.iter().filter(|task| task.state == TaskState::Pending).count();
    family.sample(&[("of", "tasks")], waiting as f64);
    Ok(())
}

async fn tell_of_sources(service: &Service, exposition: &mut Exposition) -> Result<()> {
    service.metrics.counted.calls(&service.store.health().await?);
    let doors = service.engines.current().await?.doors(&service.sources).await?;
    let enabled = || doors.iter().filter(|door| door.configured.enabled);
    let help = "Whether a source may be asked, as far as is known without asking.";
    let mut family = exposition.family("tidegate_source_open", Kind::Gauge, help);
    for door in enabled() {
        family.sample(&[("source", &door.configured.name)], f64::from(door.closed().is_none()));
    }
    let help = "Calls of this Beijing day that a source still allows, by API.";
    let mut family = exposition.family("tidegate_source_quota_left", Kind::Gauge, help);
    for door in enabled() {
        for quota in &door.quotas {
            family.sample(&[("source", &door.configured.name), ("api", &quota.api)], quota.left() as f64);
        }
    }
    let mut family =
        exposition.family("tidegate_source_calls_today", Kind::Gauge, "Calls of this Beijing day, by source.");
    for door in enabled() {
        family.sample(&[("source", &door.configured.name)], door.calls_today as f64);
    }
    Ok(())
}

async fn tell_of_tables(service: &Service, exposition: &mut Exposition) -> Result<()> {
    let summary = service.summary().await?;
    let engine = service.engines.current().await?;
    let known = || summary.datasets.iter().filter(|stored| service.catalog.get(&stored.name).is_ok());
    let mut family = exposition.family("tidegate_dataset_rows", Kind::Gauge, "Rows stored, by table.");
    for stored in known() {
        family.sample(&[("dataset", &stored.name)], stored.rows as f64);
    }
    let mut family = exposition.family("tidegate_failures_open", Kind::Gauge, "Failures that nobody has resolved.");
    for stored in known() {
        family.sample(&[("dataset", &stored.name)], stored.failures as f64);
    }
    let mut family =
        exposition.family("tidegate_rows_quarantined", Kind::Gauge, "Rows that a rule refused, kept apart.");
    for stored in known() {
        family.sample(&[("dataset", &stored.name)], stored.quarantined as f64);
    }
    let help = "Days, weeks, months or periods that are due and not whole, of tables that are kept.";
    let mut family = exposition.family("tidegate_dataset_lag", Kind::Gauge, help);
    for dataset in service.catalog.datasets() {
        let whole = service.standing(dataset, &engine.sources).await?;
        if whole.kept {
            family.sample(&[("dataset", &dataset.name)], whole.lag as f64);
        }
    }
    exposition.single("tidegate_store_bytes", Kind::Gauge, "What the store takes on disk.", summary.bytes as f64);
    let help = "Events in the log of the store.";
    exposition.single("tidegate_store_events_total", Kind::Counter, help, service.feed.head() as f64);
    Ok(())
}

fn tell_of_sockets(service: &Service, exposition: &mut Exposition) {
    let (live, figures) = (&service.live, service.live.figures());
    exposition.single("tidegate_sockets", Kind::Gauge, "Web sockets that are open.", live.sockets() as f64);
    let help = "Channels that are listened to, summed over the sockets.";
    exposition.single("tidegate_socket_subscriptions", Kind::Gauge, help, live.subscriptions() as f64);
    let help = "Frames that were handed to sockets.";
    let messages = figures.messages.load(Ordering::Relaxed);
    exposition.single("tidegate_socket_messages_total", Kind::Counter, help, messages as f64);
    let help = "Recoveries after a cut, by whether everything could be told.";
    let mut family = exposition.family("tidegate_socket_recoveries_total", Kind::Counter, help);
    for (result, count) in [("whole", &figures.recoveries), ("snapshot", &figures.recoveries_refused)] {
        family.sample(&[("result", result)], count.load(Ordering::Relaxed) as f64);
    }
    let help = "Sockets that the service closed, by code.";
    let mut family = exposition.family("tidegate_sockets_closed_total", Kind::Counter, help);
    for (code, count) in figures.closed_by_code() {
        family.sample(&[("code", &code.to_string())], count as f64);
    }
}

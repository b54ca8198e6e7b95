//! How long requests take, by route as it is declared, and what came from the cache.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Moment};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::exposition::{Exposition, Histogram, Kind};
use crate::serve::Service;

/// Seconds.
const BOUNDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// What is asked for under no route.
const NO_ROUTE: &str = "(none)";

/// Methods and statuses under which a route has answered.
type Answers = BTreeMap<(&'static str, u16), Histogram>;

/// Requests since the process began.
#[derive(Debug, Default)]
pub struct Requests {
    routes: Mutex<HashMap<String, Answers>>,
    /// By what became of a question to the cache.
    cache: Mutex<BTreeMap<&'static str, u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Anybody may invent methods.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

impl Requests {
    fn note(&self, route: &str, method: &Method, response: &Response, took: Duration) {
        let mut routes = lock(&self.routes);
        if !routes.contains_key(route) {
            routes.insert(route.to_string(), Answers::new());
        }
        if let Some(answers) = routes.get_mut(route) {
            let answer = (known(method), response.status().as_u16());
            answers.entry(answer).or_insert_with(|| Histogram::new(BOUNDS)).add(took.as_secs_f64());
        }
        drop(routes);
        let cached = response.headers().get("x-cache").and_then(|value| value.to_str().ok());
        let result = match (cached, response.status()) {
            (Some("hit"), _) => "hit",
            (Some("shared"), _) => "shared",
            (Some("miss"), _) => "miss",
            (_, StatusCode::NOT_MODIFIED) => "not_modified",
            _ => return,
        };
        *lock(&self.cache).entry(result).or_default() += 1;
    }

    pub fn expose(&self, exposition: &mut Exposition) {
        let help = "Time until the head of an answer is ready, by route as declared.";
        let mut family = exposition.family("tidegate_http_request_seconds", Kind::Histogram, help);
        let routes = lock(&self.routes);
        let by_name: BTreeMap<&String, &Answers> = routes.iter().collect();
        for (route, answers) in by_name {
            for ((method, status), histogram) in answers {
                let status = status.to_string();
                let labels = [("route", route.as_str()), ("method", *method), ("status", status.as_str())];
                family.histogram(&labels, histogram);
            }
        }
        drop(routes);
        let help = "Reads by how they were answered: from memory, from the shared cache, made anew, or unchanged.";
        let mut family = exposition.family("tidegate_cache_reads_total", Kind::Counter, help);
        for (result, count) in lock(&self.cache).iter() {
            family.sample(&[("result", result)], *count as f64);
        }
    }
}

/// Around every route.
pub async fn observe(State(service): State<Service>, request: Request, next: Next) -> Response {
    let asked = Moment::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    service.metrics.requests.note(route, &method, &response, asked.elapsed());
    response
}

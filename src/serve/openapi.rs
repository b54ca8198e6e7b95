//! The description of the API in OpenAPI 3.1, completed: who may ask, and the problems that every route can answer with.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Bytes};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::docs;

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "head", "patch", "trace"];

/// Problems that any route may answer with, and what each means.
pub const PROBLEMS: [(u16, &str, &str); 14] = [
    (400, "Invalid", "The request cannot work as it is: its path, its parameters or its body."),
    (401, "Unauthorised", "No key, an unknown one, or one that has expired."),
    (403, "Forbidden", "The role of the key does not suffice, or another site made a browser ask."),
    (404, "NotFound", "What the request names does not exist."),
    (405, "MethodNotAllowed", "The address does not know the method; the header Allow names those it knows."),
    (408, "Slow", "The body did not arrive in time."),
    (409, "Conflict", "Somebody else holds it, or changed it first."),
    (413, "TooLarge", "The body is too large."),
    (414, "AddressTooLong", "The address is too long."),
    (415, "MediaType", "The body is not said to be what the route reads."),
    (421, "Misdirected", "The host is not one of this service."),
    (429, "Throttled", "Too many requests, or the same is running already; Retry-After says when to ask again."),
    (500, "Bug", "A mistake in Tidegate. The log says more under the id of the request."),
    (503, "Unavailable", "The store cannot be read or written, or the request took too long."),
];

const TAGS: [(&str, &str); 9] = [
    ("sync", "Start work and see how it goes, as older programs know it."),
    ("multi-period", "Work over several periods at once, as older programs know it."),
    ("scheduler", "Jobs, as older programs know them."),
    ("data", "Tables, rows, bars, statements and securities."),
    ("state", "What is there, what is missing, and why."),
    ("work", "Runs, tasks, failures and jobs."),
    ("sources", "The doors that data comes through."),
    ("access", "Keys, sessions, secrets, settings, and who changed what."),
    ("probes", "Whether the process lives and can answer."),
];

/// The whole description: `guarded` routes take a key, `open` ones do not.
pub fn describe(guarded: &OpenApi, open: &OpenApi) -> Value {
    let mut whole = value(guarded);
    let rest = value(open);
    each_operation(&mut whole, |_, _, operation| {
        operation.insert("security".to_string(), json!([{ "key": [] }, { "header": [] }, { "session": [] }]));
    });
    merge(&mut whole, &rest);
    each_operation(&mut whole, complete);
    whole["openapi"] = "3.1.0".into();
    whole["info"] = json!({
        "title": "Tidegate",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "A complete, correct and fresh local copy of market data",
        "description": "Answers are JSON. Errors are problems (RFC 9457) with a hint. Instants are RFC 3339 text in Beijing \
                        time, days are YYYY-MM-DD, what is absent is null.",
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    whole["servers"] = json!([{ "url": "/", "description": "This service" }]);
    let used = |name: &str| whole.to_string().contains(&format!("\"tags\":[\"{name}\"]"));
    let tags = TAGS.iter().filter(|(name, _)| used(name));
    whole["tags"] = tags.map(|(name, about)| json!({ "name": name, "description": about })).collect();
    whole["components"]["securitySchemes"] = json!({
        "key": { "type": "http", "scheme": "bearer", "description": "`tidegate keys create NAME`" },
        "header": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key" },
        "session": {
            "type": "apiKey", "in": "cookie", "name": super::access::COOKIE,
            "description": "The dashboard's, from POST /api/v1/session",
        },
    });
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    for (_, name, about) in PROBLEMS {
        whole["components"]["responses"][name] = json!({
            "description": about,
            "content": { "application/problem+json": { "schema": problem } },
        });
    }
    whole
}

fn value(openapi: &OpenApi) -> Value {
    serde_json::to_value(openapi).unwrap_or_default()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into @ Value::Null, from) => *into = from.clone(),
        _ => {}
    }
}

fn each_operation(whole: &mut Value, mut change: impl FnMut(&str, &str, &mut Map<String, Value>)) {
    let Some(paths) = whole["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                change(path, method, operation);
            }
        }
    }
}

/// Names are unique, and every problem is among the answers.
fn complete(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let name: String = format!("{method}{path}").chars().map(plain).collect();
    operation.insert("operationId".to_string(), name.trim_end_matches('_').replace("__", "_").into());
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Some(responses) = responses.as_object_mut() else { return };
    for (status, name, _) in PROBLEMS {
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        responses.entry(status.to_string()).or_insert(reference);
    }
}

/// `/openapi.json`, and the page that shows it.
pub fn router<S: Clone + Send + Sync + 'static>(description: &Value) -> Router<S> {
    let text = Bytes::from(description.to_string());
    let page = Bytes::from(docs::page(description));
    Router::new()
        .route("/openapi.json", get(async move || typed("application/json", text)))
        .route("/docs", get(async move || typed("text/html; charset=utf-8", page)))
        .route("/docs.css", get(async || typed("text/css; charset=utf-8", Bytes::from_static(docs::STYLE.as_bytes()))))
}

fn typed(kind: &'static str, text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

//! The description of the API in OpenAPI 3.1, completed: who may ask, and the problems that every route can answer with.

use std::collections::BTreeSet;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Bytes};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::docs;
use crate::engine::TOKENS;

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "head", "patch", "trace"];

/// Problems that any route may answer with, and what each means.
pub const PROBLEMS: [(u16, &str, &str); 15] = [
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
    (422, "Unfit", "The body can be read, and does not fit what it is for."),
    (429, "Throttled", "Too many requests, or the same is running already; Retry-After says when to ask again."),
    (500, "Bug", "A mistake in Tidegate. The log says more under the id of the request."),
    (503, "Unavailable", "The store cannot be read or written, or the request took too long."),
];

/// In the order in which the page shows them; others follow.
const TAGS: [(&str, &str); 14] = [
    ("sync", "Start work and see how it goes, as older programs know it."),
    ("multi-period sync", "Work over several periods at once, as older programs know it."),
    ("sync status", "Ranges of days, as older programs know them."),
    ("scheduler", "Jobs, as older programs know them."),
    ("data", "Tables, rows, bars, statements and securities."),
    ("state", "What is there, what is missing, and why."),
    ("work", "Runs, tasks, failures and jobs."),
    ("reconciliation", "Whether two tables hold the same rows, and mending the one that does not."),
    ("events", "Business events and vouchers: publish them, read the log."),
    ("deliveries", "Events on their way to subscriptions: what waits, every attempt, decisions, replays, figures."),
    ("sources", "The doors that data comes through."),
    ("webhooks", "Webhooks that others call, and what they bring."),
    ("access", "Keys, sessions, secrets, settings, and who changed what."),
    ("probes", "Whether the process lives and can answer."),
];

/// The whole description: `guarded` routes take a key, `open` ones do not.
pub fn describe(guarded: &OpenApi, open: &OpenApi, tables: &[&str], page_rows_max: usize) -> Value {
    let mut whole = value(guarded);
    let rest = value(open);
    each_operation(&mut whole, |_, _, operation| {
        operation.insert("security".to_string(), json!([{ "key": [] }, { "header": [] }, { "session": [] }]));
    });
    merge(&mut whole, &rest);
    each_operation(&mut whole, complete);
    each_operation(&mut whole, |path, _, operation| {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            sharpen(path, parameter, tables, page_rows_max);
        }
    });
    drop_formats_of_numbers(&mut whole);
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
    whole["tags"] = tags(&mut whole);
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

/// Whole numbers have no format: nobody is held to 32 bits.
fn drop_formats_of_numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let of_number =
                fields.get("format").and_then(Value::as_str).is_some_and(|it| it == "int32" || it == "int64");
            if of_number {
                fields.remove("format");
            }
            fields.values_mut().for_each(drop_formats_of_numbers);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_formats_of_numbers),
        _ => {}
    }
}

fn tags(whole: &mut Value) -> Value {
    let mut used = BTreeSet::new();
    each_operation(whole, |_, _, operation| {
        let names = operation.get("tags").and_then(Value::as_array).into_iter().flatten();
        used.extend(names.filter_map(Value::as_str).map(str::to_string));
    });
    let known = TAGS.iter().filter(|(name, _)| used.contains(*name));
    let known: Vec<Value> = known.map(|(name, about)| json!({ "name": name, "description": about })).collect();
    let further = used.iter().filter(|name| TAGS.iter().all(|(known, _)| known != name));
    known.into_iter().chain(further.map(|name| json!({ "name": name }))).collect()
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

/// What a parameter of a name may hold wherever it stands, where its route does not say it.
fn sharpen(path: &str, parameter: &mut Value, tables: &[&str], page_rows_max: usize) {
    let in_path = parameter["in"] == "path";
    let name = parameter["name"].as_str().unwrap_or_default();
    let more = match name {
        "dataset" if in_path => json!({ "enum": tables }),
        "name" if path.starts_with("/api/v1/datasets/") => json!({ "enum": tables }),
        "name" if path.starts_with("/api/v1/keys/") => json!({ "pattern": "^[A-Za-z0-9_@-][A-Za-z0-9_.@-]{0,63}$" }),
        "source" if path.starts_with("/api/v1/secrets/") => json!({ "enum": TOKENS }),
        "day" if in_path => json!({ "format": "date" }),
        // An empty value says nothing.
        "from" | "to" | "day" | "start_date" | "end_date" | "known_on" | "anchor" => {
            json!({ "anyOf": [{ "format": "date" }, { "maxLength": 0 }] })
        }
        "as_of" => json!({ "anyOf": [{ "format": "date" }, { "format": "date-time" }, { "maxLength": 0 }] }),
        "limit" if path != "/api/v1/bars/{code}" && !path.ends_with("/rows") => json!({ "maximum": page_rows_max }),
        // A path is plain text; see `layers`.
        _ if in_path && parameter["schema"]["type"] == "string" => {
            json!({ "pattern": "^[A-Za-z0-9_@:-][A-Za-z0-9_.@:-]*$" })
        }
        _ => return,
    };
    let (Some(schema), Value::Object(more)) = (parameter["schema"].as_object_mut(), more) else { return };
    for (name, value) in more {
        schema.entry(name).or_insert(value);
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

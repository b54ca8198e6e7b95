//! The trail: who changed what, and whom we refused, in the audit journal of the store.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Moment};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::model::{Change, Clock, Commit, Journal, JournalEntry, Level};
use crate::store::Store;

/// Entries that may wait to be written.
const WAITING_MAX: usize = 1_024;
/// Entries of one commit.
const TOGETHER_MAX: usize = 256;
/// Refusals of one address that are written in a minute; further ones are counted.
const REFUSALS_MAX: u64 = 60;
const ADDRESSES_MAX: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
/// Of the parameters of a request.
const PARAMETER_CHARACTERS_MAX: usize = 2_000;
const HIDDEN: &str = "(hidden)";

/// What one request was about.
#[derive(Debug)]
pub struct Deed {
    /// The name of the key; empty when nobody is known.
    pub who: String,
    pub method: String,
    /// As routes are declared: `/api/v1/keys/{name}`.
    pub route: String,
    pub path: String,
    pub parameters: Value,
    pub request: String,
    pub address: Option<IpAddr>,
}

impl Deed {
    fn address(&self) -> String {
        self.address.map_or_else(String::new, |address| address.to_string())
    }

    fn entry(&self, status: StatusCode, clock: &Clock) -> JournalEntry {
        let refused = status.is_client_error() || status.is_server_error();
        let target = format!("{} {}", self.method, self.route);
        JournalEntry {
            id: 0,
            at: clock.now(),
            journal: Journal::Audit,
            level: if refused { Level::Warn } else { Level::Info },
            who: self.who.clone(),
            text: format!("{target} answered {}", status.as_u16()),
            target,
            task: None,
            data: json!({
                "status": status.as_u16(),
                "path": self.path,
                "parameters": self.parameters,
                "request": self.request,
                "address": self.address(),
            }),
        }
    }
}

struct Waiting {
    /// `None`: only asks when everything before it is written.
    entry: Option<JournalEntry>,
    written: Option<oneshot::Sender<()>>,
}

/// Writes entries, several in one commit. Clones share it; the writer ends when the last is dropped.
#[derive(Clone)]
pub struct Trail {
    clock: Clock,
    waiting: mpsc::Sender<Waiting>,
    refusals: Arc<Mutex<HashMap<IpAddr, Refusals>>>,
}

struct Refusals {
    since: Moment,
    count: u64,
}

impl Trail {
    pub fn start(store: Arc<dyn Store>, clock: Clock) -> Trail {
        let (waiting, entries) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write(store, clock.clone(), entries));
        Trail { clock, waiting, refusals: Arc::default() }
    }

    /// Returns when the entry is written: an answer to a change comes after its entry.
    pub async fn change(&self, deed: &Deed, status: StatusCode) {
        tracing::info!(who = %deed.who, route = %deed.route, status = status.as_u16(), address = %deed.address(), request = %deed.request, "changed");
        let (written, done) = oneshot::channel();
        self.wait_for(Waiting { entry: Some(deed.entry(status, &self.clock)), written: Some(written) }, done).await;
    }

    /// Returns when everything is written.
    pub async fn written(&self) {
        let (written, done) = oneshot::channel();
        self.wait_for(Waiting { entry: None, written: Some(written) }, done).await;
    }

    async fn wait_for(&self, waiting: Waiting, done: oneshot::Receiver<()>) {
        if self.waiting.send(waiting).await.is_ok() {
            // The writer says when it could not write.
            let _ = done.await;
        }
    }

    /// Does not wait, and counts those of an address that come thick and fast.
    pub fn refusal(&self, deed: &Deed, status: StatusCode) {
        let Some(before) = self.count_refusal(deed.address) else { return };
        let reason = deed.parameters["reason"].as_str();
        tracing::warn!(who = %deed.who, route = %deed.route, path = %deed.path, status = status.as_u16(), reason, address = %deed.address(), request = %deed.request, "refused");
        let mut entry = deed.entry(status, &self.clock);
        if before > 0 {
            entry.data["unwritten_before"] = before.into();
        }
        if self.waiting.try_send(Waiting { entry: Some(entry), written: None }).is_err() {
            tracing::warn!("more refusals than can be written down");
        }
    }

    /// `None`: not to be written. Else how many of the minute before were not.
    fn count_refusal(&self, address: Option<IpAddr>) -> Option<u64> {
        let Some(address) = address else { return Some(0) };
        let now = Moment::now();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= ADDRESSES_MAX {
            refusals.retain(|_, refusals| now.duration_since(refusals.since) < MINUTE);
        }
        if refusals.len() >= ADDRESSES_MAX && !refusals.contains_key(&address) {
            return None;
        }
        let counted = refusals.entry(address).or_insert(Refusals { since: now, count: 0 });
        let mut unwritten = 0;
        if now.duration_since(counted.since) >= MINUTE {
            unwritten = counted.count.saturating_sub(REFUSALS_MAX);
            *counted = Refusals { since: now, count: 0 };
        }
        counted.count += 1;
        (counted.count <= REFUSALS_MAX).then_some(unwritten)
    }
}

async fn write(store: Arc<dyn Store>, clock: Clock, mut entries: mpsc::Receiver<Waiting>) {
    let mut together = Vec::with_capacity(TOGETHER_MAX);
    while entries.recv_many(&mut together, TOGETHER_MAX).await > 0 {
        let (entries, written): (Vec<_>, Vec<_>) =
            together.drain(..).map(|waiting| (waiting.entry, waiting.written)).unzip();
        let changes: Vec<Change> = entries.into_iter().flatten().map(Change::Journal).collect();
        let count = changes.len();
        if count > 0
            && let Err(error) = store.commit(Commit { at: clock.now(), fence: None, changes }).await
        {
            tracing::error!(%error, count, "entries of the audit journal are lost");
        }
        for written in written.into_iter().flatten() {
            // Whoever asked may have gone away.
            let _ = written.send(());
        }
    }
}

/// What a request carried, for the journal: secrets hidden, and cut short.
pub fn parameters(query: Option<&str>, body: &[u8]) -> Value {
    let mut parameters = Map::new();
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
            _ => pair.to_string(),
        });
        parameters.insert("query".to_string(), cut(pairs.collect::<Vec<_>>().join("&")));
    }
    if let Ok(mut body) = serde_json::from_slice::<Value>(body) {
        hide(&mut body);
        let text = body.to_string();
        let kept = if text.chars().count() > PARAMETER_CHARACTERS_MAX { cut(text) } else { body };
        parameters.insert("body".to_string(), kept);
    }
    Value::Object(parameters)
}

fn cut(text: String) -> Value {
    Value::String(text.chars().take(PARAMETER_CHARACTERS_MAX).collect())
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // What somebody else's request held is none of the journal's business.
    if ["body", "body_base64", "headers"].contains(&name.as_str()) {
        return true;
    }
    ["key", "secret", "token", "password", "value"].iter().any(|word| name.contains(word))
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_secret(name) {
                    *value = HIDDEN.into();
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_hide_secrets_and_are_cut_short() {
        let body = br#"{"name":"a","key":"tg_1_2","deep":[{"api_token":{"x":1},"days":3}]}"#;
        let expected = json!({
            "query": "dataset=daily&token=(hidden)",
            "body": { "name": "a", "key": HIDDEN, "deep": [{ "api_token": HIDDEN, "days": 3 }] },
        });
        assert_eq!(parameters(Some("dataset=daily&token=abc"), body), expected);
        assert_eq!(parameters(None, b"not json"), json!({}));
        let long = json!(["x".repeat(10_000)]).to_string();
        let kept = parameters(None, long.as_bytes())["body"].as_str().map(str::len);
        assert_eq!(kept, Some(PARAMETER_CHARACTERS_MAX));
    }
}

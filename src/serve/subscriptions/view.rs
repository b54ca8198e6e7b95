//! Subscriptions as people and programs see them, without their secrets.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::dialect::webhook::Term;
use crate::model::{Error, Instant, Result};
use crate::notify::define::{Made, Status, Trial};

/// A subscription as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
pub struct SubscriptionView {
    name: String,
    /// `url`, `title`, `types`, `filters`, `form`, `source_system`, `order_by`, `mode`, `per_second`, `retry_seconds`,
    /// `timeout_seconds`, `when_dead`, `after`, `state`, `reason`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
    /// The newest first; the texts are not shown.
    secrets: Vec<SecretTerm>,
    changed_at: String,
    /// What a change may expect.
    revision: u64,
}

/// From when until when a secret counts.
#[derive(Debug, Serialize, ToSchema)]
struct SecretTerm {
    since: String,
    /// Absent: until it is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Whether requests are signed with it now.
    counts: bool,
    /// The half that receivers are given, for a pair of keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_half: Option<String>,
}

impl SecretTerm {
    fn of(term: &Term, now: Instant) -> SecretTerm {
        SecretTerm {
            since: term.since.to_string(),
            until: term.until.map(|until| until.to_string()),
            counts: term.until.is_none_or(|until| now < until),
            public_half: term.secret.public(),
        }
    }
}

impl SubscriptionView {
    pub fn of(status: &Status, now: Instant) -> SubscriptionView {
        let fields = match serde_json::to_value(&status.subscription) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        SubscriptionView {
            name: status.name.clone(),
            fields,
            secrets: status.keyring.terms().iter().map(|term| SecretTerm::of(term, now)).collect(),
            changed_at: status.at.to_string(),
            revision: status.revision,
        }
    }
}

/// A subscription with what is shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionMade {
    #[serde(flatten)]
    subscription: SubscriptionView,
    /// What the receiver verifies with, or the private half of a pair. It cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl SubscriptionMade {
    pub fn of(made: &Made) -> SubscriptionMade {
        let subscription = SubscriptionView::of(&made.status, made.status.at);
        SubscriptionMade { subscription, secret: made.secret.as_ref().map(|secret| secret.expose().to_string()) }
    }
}

/// A test event: what went out and what came back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionTest)]
pub struct TrialView {
    /// Whether the receiver took it.
    delivered: bool,
    form: &'static str,
    url: String,
    /// As they were sent, the signature among them.
    headers: BTreeMap<String, String>,
    /// As it was sent.
    body: String,
    /// Absent when there was no answer.
    status: Option<u16>,
    /// `HTTP_503`, `ECONNREFUSED`, `ETIMEDOUT`, `NETWORK_ERROR`, `DNS`, `TLS`, `BLOCKED_ADDRESS`, `UNSENDABLE`.
    error: Option<String>,
    /// The beginning of the answer, or what went wrong in words.
    detail: Option<String>,
    /// Whom it was connected to.
    address: Option<String>,
    took_ms: u64,
}

/// Of an answer, in characters.
const DETAIL_CHARACTERS_MAX: usize = 2_000;

impl TrialView {
    pub fn of(trial: &Trial) -> TrialView {
        let exchange = &trial.exchange;
        TrialView {
            delivered: exchange.error().is_none(),
            form: trial.form.name(),
            url: trial.url.clone(),
            headers: trial.headers.iter().cloned().collect(),
            body: trial.body.clone(),
            status: exchange.status(),
            error: exchange.error(),
            detail: exchange.detail(DETAIL_CHARACTERS_MAX),
            address: exchange.address.map(|address| address.to_string()),
            took_ms: u64::try_from(exchange.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn json_of(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::bug("writing a subscription").caused_by(error))
}

/// A subscription as the API shows it, for commands; with the secret that was made.
pub fn status_json(status: &Status, secret: Option<&str>, now: Instant) -> Result<Value> {
    let mut value = json_of(&SubscriptionView::of(status, now))?;
    if let Some(secret) = secret {
        value["secret"] = secret.into();
    }
    Ok(value)
}

/// A test event as the API shows it, for commands.
pub fn trial_json(trial: &Trial) -> Result<Value> {
    json_of(&TrialView::of(trial))
}

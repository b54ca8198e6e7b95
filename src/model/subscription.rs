//! Subscriptions: who wants to be told of which events, how, and in which order.

use serde::{Deserialize, Serialize};

/// A subscription as it is defined; its name is that of the definition, its secrets are kept apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    pub url: String,
    #[serde(default)]
    pub title: Option<String>,
    /// Event types: exact, or with `*` at the end of a dotted part (`contract.*`), or `*` for all.
    pub types: Vec<String>,
    /// All of them must hold.
    #[serde(default)]
    pub filters: Vec<FieldFilter>,
    #[serde(default)]
    pub form: SignatureForm,
    /// What is sent as `X-Source-System` in the mission's form.
    #[serde(default)]
    pub source_system: Option<String>,
    #[serde(default)]
    pub order_by: OrderKey,
    #[serde(default)]
    pub mode: Mode,
    /// Requests a second at most; absent: as many as go out at once.
    #[serde(default)]
    pub per_second: Option<f64>,
    /// Waits before the attempts after the first, in seconds; absent: those of the configuration.
    #[serde(default)]
    pub retry_seconds: Option<Vec<f64>>,
    /// In which an answer must be there; absent: that of the configuration.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
    #[serde(default)]
    pub when_dead: WhenDead,
    /// The first event that it is told of is the one after this number; absent: those that come after it was made.
    #[serde(default)]
    pub after: Option<u64>,
    #[serde(default)]
    pub state: SubscriptionState,
    /// Why it is not active, for people.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A condition on one field of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldFilter {
    /// An attribute (`type`, `source`, `subject`, `key`) or `data.` and a path with dots.
    pub field: String,
    pub op: FilterOp,
    /// A value, a list for `in`, nothing for `exists`.
    #[serde(default)]
    pub value: serde_json::Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterOp {
    Eq,
    Ne,
    In,
    Prefix,
    Gt,
    Ge,
    Lt,
    Le,
    Exists,
}

/// How deliveries are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureForm {
    /// Standard Webhooks with HMAC-SHA256 (`v1`).
    #[default]
    Standard,
    /// Standard Webhooks with Ed25519 (`v1a`).
    StandardEd25519,
    /// `X-Signature: sha256:<hex>` over the canonical JSON body, with `X-Timestamp` and `X-Source-System`.
    Mission,
    Stripe,
    Github,
}

/// Which events keep their order among each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKey {
    /// Those of one `partitionkey`; without one those of one subject.
    #[default]
    Key,
    Subject,
    /// Those with the same value at this path of the data.
    Data(String),
    /// None: as fast as possible.
    None,
}

/// When events go out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    #[default]
    Realtime,
    Batch {
        /// Events of one request at most.
        size: usize,
        /// How long to wait for a full one; with `cron`: not at all.
        #[serde(default)]
        delay_ms: u64,
        /// When batches go out, in Beijing.
        #[serde(default)]
        cron: Option<String>,
        /// Between two requests.
        #[serde(default)]
        pause_ms: u64,
    },
}

/// What an event without further attempts does with its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenDead {
    /// The key waits until a person decides.
    #[default]
    Block,
    /// The event is set aside, the key goes on.
    Park,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionState {
    #[default]
    Active,
    /// By a person: events wait.
    Paused,
    /// By repeated failure: events wait, and a probe goes out now and then.
    Failing,
    /// The receiver said that it is gone, or a person ended it: events of that time are not delivered later by themselves.
    Disabled,
}

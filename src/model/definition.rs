//! Definitions: small things that people define and change while the program runs: jobs, keys, secrets, subscriptions.

use serde_json::Value;

use super::clock::Instant;

/// What is defined. Names are unique within a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A job of the scheduler.
    Job,
    /// A key of the API, hashed; sessions of the dashboard among them.
    Key,
    /// A token of a source: settable, never shown.
    Secret,
    /// What may be set while the program runs: the level of a module's log.
    Setting,
    /// Who wants to be told of which events.
    Subscription,
    /// A webhook that others may call.
    Inbound,
    /// A way in which a publisher's events come without a call: a table, a replication slot, a stream.
    Intake,
    /// Two tables that are compared by a schedule.
    Reconciliation,
    /// Events of a window that go out again.
    Replay,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Job,
        Kind::Key,
        Kind::Secret,
        Kind::Setting,
        Kind::Subscription,
        Kind::Inbound,
        Kind::Intake,
        Kind::Reconciliation,
        Kind::Replay,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Job => "job",
            Kind::Key => "key",
            Kind::Secret => "secret",
            Kind::Setting => "setting",
            Kind::Subscription => "subscription",
            Kind::Inbound => "inbound",
            Kind::Intake => "intake",
            Kind::Reconciliation => "reconciliation",
            Kind::Replay => "replay",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A definition as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub kind: Kind,
    pub name: String,
    pub body: Value,
    /// 1 when it was created, raised by every change.
    pub revision: u64,
    pub at: Instant,
}

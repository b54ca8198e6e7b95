//! What was received through inbound webhooks: each message once, and what became of it.

use super::clock::Instant;

/// A message that an inbound webhook took in. Its content is the published message of the same source and id.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub inbound: String,
    /// The message's.
    pub source: String,
    pub id: String,
    /// When it was taken in.
    pub at: Instant,
    /// The table that it is mapped to; empty when it is only kept.
    pub dataset: String,
    /// The values of the table's key, as one text.
    pub key: String,
    pub version: Option<u64>,
    pub state: ReceivedState,
    /// Attempts to get the versions that it waits for.
    pub attempts: u32,
    /// While it waits: not before.
    pub due_at: Instant,
    /// What it waits for, or why it changed nothing; never a value of the message.
    pub note: String,
}

/// What became of a received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivedState {
    /// Its rows are in the table.
    Applied,
    /// No mapping is for its type: it is an event and nothing else.
    Kept,
    /// The table has a version that is as new or newer.
    Stale,
    /// The table has another content under the same version: see the conflicts of the table.
    Conflicting,
    /// Versions before it are missing, and are fetched.
    Waiting,
    /// Versions before it are missing, and no attempt to fetch them is left: a person decides.
    Stuck,
}

impl ReceivedState {
    pub const ALL: [ReceivedState; 6] = [
        ReceivedState::Applied,
        ReceivedState::Kept,
        ReceivedState::Stale,
        ReceivedState::Conflicting,
        ReceivedState::Waiting,
        ReceivedState::Stuck,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ReceivedState::Applied => "applied",
            ReceivedState::Kept => "kept",
            ReceivedState::Stale => "stale",
            ReceivedState::Conflicting => "conflicting",
            ReceivedState::Waiting => "waiting",
            ReceivedState::Stuck => "stuck",
        }
    }

    pub fn from_name(name: &str) -> Option<ReceivedState> {
        ReceivedState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        matches!(self, ReceivedState::Waiting | ReceivedState::Stuck)
    }
}

/// Which received messages; `None` and empty: all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReceivedWanted {
    pub inbound: Option<String>,
    /// Table and key.
    pub of: Option<(String, String)>,
    /// Those that wait or are stuck only.
    pub open: bool,
    /// Those in this state only.
    pub state: Option<ReceivedState>,
    pub limit: usize,
}

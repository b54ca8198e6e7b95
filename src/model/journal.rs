//! The journal: who changed what, and the log records that matter, kept for a while beside the data.

use serde_json::{Value, json};

use super::clock::Instant;
use super::task::TaskId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Journal {
    /// Records of the log.
    Log,
    /// Who changed what.
    Audit,
}

impl Journal {
    pub const ALL: [Journal; 2] = [Journal::Log, Journal::Audit];

    pub fn name(self) -> &'static str {
        match self {
            Journal::Log => "log",
            Journal::Audit => "audit",
        }
    }

    pub fn from_name(name: &str) -> Option<Journal> {
        Journal::ALL.into_iter().find(|journal| journal.name() == name)
    }
}

/// How much a record matters, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub const ALL: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }

    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// One record. Never a secret, never a row value.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalEntry {
    /// 0 until the store has numbered it.
    pub id: i64,
    pub at: Instant,
    pub journal: Journal,
    pub level: Level,
    /// Who did it: the name of an API key, `cli`, `schedule`; empty for log records.
    pub who: String,
    /// The module that logged, or what was changed.
    pub target: String,
    pub text: String,
    pub task: Option<TaskId>,
    /// Details: an object.
    pub data: Value,
}

impl JournalEntry {
    /// That somebody changed something: `target` is what, `text` says how.
    pub fn change(at: Instant, who: &str, target: impl Into<String>, text: impl Into<String>) -> JournalEntry {
        JournalEntry {
            id: 0,
            at,
            journal: Journal::Audit,
            level: Level::Info,
            who: who.to_string(),
            target: target.into(),
            text: text.into(),
            task: None,
            data: json!({}),
        }
    }
}

/// Which records, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalWanted {
    pub journal: Journal,
    /// At least this level.
    pub level: Level,
    pub task: Option<TaskId>,
    /// Only records whose text or target holds this, whatever the case.
    pub text: Option<String>,
    /// Only those with a smaller number.
    pub before: Option<i64>,
    pub limit: usize,
}

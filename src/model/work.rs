//! Work: what shall be done, in the words of whoever asks: tables, securities, days. It becomes requests when it begins.

use serde::{Deserialize, Serialize};

use super::strategy::How;

/// What kind of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Fetch what is missing.
    #[default]
    Sync,
    /// Ask realtime tables again and again, until the trading session ends.
    Poll,
    /// Fetch what is missing, the last points of time again, and audit the tables.
    Check,
    /// Compare tables with each other: the definitions under `reconciliations`.
    Reconcile,
}

impl Action {
    pub const ALL: [Action; 4] = [Action::Sync, Action::Poll, Action::Check, Action::Reconcile];

    pub fn name(self) -> &'static str {
        match self {
            Action::Sync => "sync",
            Action::Poll => "poll",
            Action::Check => "check",
            Action::Reconcile => "reconcile",
        }
    }

    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What a run or a job does. Days that depend on today are resolved on the day on which the run was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    pub action: Action,
    /// Names of the catalogue; empty: every table that the sources serve, but those under `sync.skip`.
    pub datasets: Vec<String>,
    /// Canonical codes; empty: all securities.
    pub codes: Vec<String>,
    /// First day, `YYYY-MM-DD`; absent: `sync.default_from`, or the dataset's own first day.
    pub from: Option<String>,
    /// Last day; absent: what is due.
    pub to: Option<String>,
    /// From so many days before the day on which the run was asked for.
    pub days_back: Option<u32>,
    /// From the dataset's first day, whatever `sync.default_from` says.
    pub all_history: bool,
    /// Ask again for what is claimed and final.
    pub force: bool,
    /// Only these sources, in this order; empty: all, best first.
    pub sources: Vec<String>,
    /// By which strategy.
    pub how: How,
    /// Names of reconciliations, where that is the work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reconciliations: Vec<String>,
}

impl Work {
    /// Fetch what is missing of these tables.
    pub fn sync<Name: Into<String>>(datasets: impl IntoIterator<Item = Name>) -> Work {
        Work { datasets: datasets.into_iter().map(Into::into).collect(), ..Work::default() }
    }
}

//! Strategies: the named ways in which a dataset is kept. A strategy decides which areas are wanted, in which order and
//! by which cut; what is done is in the ledger's claims and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A named way to keep a dataset: `policy.strategy` in the catalogue, `--strategy` on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Whatever is open, by the cut or the mix of cuts that takes the fewest calls.
    #[default]
    FewestCalls,
    /// Security by security, in batches of securities; ends with the batch that has none left.
    BySecurity,
    /// Day by day.
    ByDay,
    /// Report period by report period.
    ByPeriod,
    /// From the last whole day to the target, every missing day on its own, the last few again for late corrections.
    Incremental,
    /// A range of days of bounded length, with a status for each day.
    Range,
    /// What is open, divided into partitions that are worked on side by side.
    Partitions,
    /// Reports: failures first, then what was disclosed, then what is missing.
    Statements,
    /// Everything anew, put in place of what was stored in one step.
    FullReplace,
    /// What is open, merged into what is stored: nothing is withdrawn, rules decide value by value.
    Merge,
    /// The running day again and again, in trading hours.
    Realtime,
    /// Rows that are newer than the newest one stored, by a time column (databases).
    Watermark,
    /// Ranges whose hashes differ on the two sides (databases and files).
    Hash,
}

impl Strategy {
    pub const ALL: [Strategy; 13] = [
        Strategy::FewestCalls,
        Strategy::BySecurity,
        Strategy::ByDay,
        Strategy::ByPeriod,
        Strategy::Incremental,
        Strategy::Range,
        Strategy::Partitions,
        Strategy::Statements,
        Strategy::FullReplace,
        Strategy::Merge,
        Strategy::Realtime,
        Strategy::Watermark,
        Strategy::Hash,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Strategy::FewestCalls => "fewest_calls",
            Strategy::BySecurity => "by_security",
            Strategy::ByDay => "by_day",
            Strategy::ByPeriod => "by_period",
            Strategy::Incremental => "incremental",
            Strategy::Range => "range",
            Strategy::Partitions => "partitions",
            Strategy::Statements => "statements",
            Strategy::FullReplace => "full_replace",
            Strategy::Merge => "merge",
            Strategy::Realtime => "realtime",
            Strategy::Watermark => "watermark",
            Strategy::Hash => "hash",
        }
    }

    pub fn from_name(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|strategy| strategy.name() == name)
    }

    /// What it does, in one sentence for people.
    pub fn about(self) -> &'static str {
        match self {
            Strategy::FewestCalls => "whatever is open, by the cuts that take the fewest calls",
            Strategy::BySecurity => "security by security in batches, until a batch is empty",
            Strategy::ByDay => "day by day",
            Strategy::ByPeriod => "report period by report period",
            Strategy::Incremental => "from the last whole day to the target, each missing day on its own",
            Strategy::Range => "a range of days of bounded length, with a status for each day",
            Strategy::Partitions => "partitions side by side",
            Strategy::Statements => "failures first, then disclosed reports, then missing ones, then history",
            Strategy::FullReplace => "everything anew, put in place in one step",
            Strategy::Merge => "merged into what is stored; nothing is withdrawn",
            Strategy::Realtime => "the running day again and again, in trading hours",
            Strategy::Watermark => "rows newer than the newest one stored",
            Strategy::Hash => "ranges whose hashes differ",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a request wants its dataset kept, where that differs from the catalogue and the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct How {
    /// `None`: the one that the catalogue names.
    pub strategy: Option<Strategy>,
    /// Securities in one batch (`by_security`).
    pub batch_size: Option<u32>,
    /// Securities to leave out at the beginning of the list, in the order of their codes (`by_security`).
    pub offset: u32,
    /// Points of time before the target that are asked for again even when their claims are final.
    pub look_back: Option<u32>,
    /// Partitions that are worked on side by side (`partitions`).
    pub partitions: Option<u32>,
}

impl How {
    /// As the catalogue says, but by `strategy`.
    pub fn by(strategy: Strategy) -> How {
        How { strategy: Some(strategy), ..How::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_found_by_its_name_and_written_the_same_way_in_files() {
        for strategy in Strategy::ALL {
            assert_eq!(Strategy::from_name(strategy.name()), Some(strategy));
            assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.name());
        }
        assert_eq!(Strategy::from_name("nothing"), None);
    }
}

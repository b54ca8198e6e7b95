//! Thresholds over the figures of deliveries: which of them are crossed, and how badly. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::DeliveryFigures;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Warning,
    Severe,
}

impl Severity {
    const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Severe];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Severe => "severe",
        }
    }
}

/// A figure that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of attempts that worked, in percent: low is bad.
    SuccessPercent,
    /// The mean from an event's acceptance to its delivery.
    DelaySeconds,
    /// Failed attempts.
    Failures,
    /// Deliveries that wait.
    Backlog,
    FailedInARow,
    /// Deliveries that wait for another attempt.
    Retries,
}

impl Metric {
    pub const ALL: [Metric; 6] = [
        Metric::SuccessPercent,
        Metric::DelaySeconds,
        Metric::Failures,
        Metric::Backlog,
        Metric::FailedInARow,
        Metric::Retries,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Metric::SuccessPercent => "success_percent",
            Metric::DelaySeconds => "delay_seconds",
            Metric::Failures => "failures",
            Metric::Backlog => "backlog",
            Metric::FailedInARow => "failed_in_a_row",
            Metric::Retries => "retries",
        }
    }
}

/// From where on a figure is of which severity; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Levels {
    pub info: f64,
    pub warning: f64,
    pub severe: f64,
}

impl Levels {
    fn of(&self, severity: Severity) -> f64 {
        match severity {
            Severity::Info => self.info,
            Severity::Warning => self.warning,
            Severity::Severe => self.severe,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub success_percent: Levels,
    pub delay_seconds: Levels,
    pub failures: Levels,
    pub backlog: Levels,
    pub failed_in_a_row: Levels,
    pub retries: Levels,
    /// Of fewer attempts no share is told.
    pub attempts_min: u64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        let levels = |info: f64, warning: f64, severe: f64| Levels { info, warning, severe };
        Thresholds {
            success_percent: levels(99.9, 99.0, 95.0),
            delay_seconds: levels(0.0, 180.0, 300.0),
            failures: levels(0.0, 10.0, 0.0),
            backlog: levels(0.0, 50.0, 100.0),
            failed_in_a_row: levels(0.0, 0.0, 20.0),
            retries: levels(10.0, 50.0, 0.0),
            attempts_min: 20,
        }
    }
}

/// What is raised now, by subscription and figure.
pub type Raised = BTreeMap<String, BTreeMap<Metric, Severity>>;

impl Thresholds {
    fn levels(&self, metric: Metric) -> &Levels {
        match metric {
            Metric::SuccessPercent => &self.success_percent,
            Metric::DelaySeconds => &self.delay_seconds,
            Metric::Failures => &self.failures,
            Metric::Backlog => &self.backlog,
            Metric::FailedInARow => &self.failed_in_a_row,
            Metric::Retries => &self.retries,
        }
    }

    fn value(&self, metric: Metric, figures: &DeliveryFigures) -> Option<f64> {
        match metric {
            Metric::SuccessPercent if figures.attempts < self.attempts_min.max(1) => None,
            Metric::SuccessPercent => figures.success_rate().map(|rate| rate * 100.0),
            Metric::DelaySeconds => figures.delay_mean_ms.map(|millis| millis / 1_000.0),
            Metric::Failures => Some(figures.failed() as f64),
            Metric::Backlog => Some(figures.waiting as f64),
            Metric::FailedInARow => Some(figures.failed_in_a_row as f64),
            Metric::Retries => Some(figures.retrying as f64),
        }
    }

    /// The worst severity that a value has, with its threshold.
    fn severity(&self, metric: Metric, value: f64) -> Option<(Severity, f64)> {
        let levels = self.levels(metric);
        let crossed = |threshold: f64| match metric {
            Metric::SuccessPercent => value < threshold,
            _ => value > threshold,
        };
        let worst = Severity::ALL.into_iter().rev().map(|severity| (severity, levels.of(severity)));
        worst.into_iter().find(|(_, threshold)| *threshold > 0.0 && crossed(*threshold))
    }

    /// What is raised by these figures, and what people are told of the change: once for each crossing, in either direction.
    pub fn crossings(&self, before: &Raised, figures: &[DeliveryFigures]) -> (Raised, Vec<Value>) {
        let (mut raised, mut told) = (Raised::new(), Vec::new());
        for figures in figures {
            let nothing = BTreeMap::new();
            let was = before.get(&figures.subscription).unwrap_or(&nothing);
            let mut now = BTreeMap::new();
            for metric in Metric::ALL {
                let value = self.value(metric, figures);
                let found = value.and_then(|value| self.severity(metric, value));
                let (severity, threshold) =
                    (found.map(|(severity, _)| severity), found.map(|(_, threshold)| threshold));
                now.extend(severity.map(|severity| (metric, severity)));
                let before = was.get(&metric).copied();
                if severity == before {
                    continue;
                }
                let (state, of) = match severity {
                    Some(severity) => ("raised", Some(severity)),
                    None => ("cleared", before),
                };
                told.push(json!({
                    "subscription": figures.subscription, "metric": metric.name(), "state": state, "value": value,
                    "threshold": threshold.or(before.map(|before| self.levels(metric).of(before))),
                    "severity": of.map(Severity::name),
                }));
            }
            if !now.is_empty() {
                raised.insert(figures.subscription.clone(), now);
            }
        }
        (raised, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(attempts: u64, delivered: u64, waiting: u64) -> DeliveryFigures {
        DeliveryFigures { subscription: "tax".to_owned(), attempts, delivered, waiting, ..DeliveryFigures::default() }
    }

    #[test]
    fn the_missions_thresholds_are_the_defaults() {
        let thresholds = Thresholds::default();
        for (metric, value, expected) in [
            (Metric::SuccessPercent, 99.9, None),
            (Metric::SuccessPercent, 99.89, Some(Severity::Info)),
            (Metric::SuccessPercent, 98.9, Some(Severity::Warning)),
            (Metric::SuccessPercent, 94.9, Some(Severity::Severe)),
            (Metric::DelaySeconds, 180.0, None),
            (Metric::DelaySeconds, 180.1, Some(Severity::Warning)),
            (Metric::DelaySeconds, 301.0, Some(Severity::Severe)),
            (Metric::Failures, 10.0, None),
            (Metric::Failures, 11.0, Some(Severity::Warning)),
            (Metric::Backlog, 51.0, Some(Severity::Warning)),
            (Metric::Backlog, 101.0, Some(Severity::Severe)),
            (Metric::FailedInARow, 20.0, None),
            (Metric::FailedInARow, 21.0, Some(Severity::Severe)),
            (Metric::Retries, 11.0, Some(Severity::Info)),
            (Metric::Retries, 51.0, Some(Severity::Warning)),
        ] {
            assert_eq!(thresholds.severity(metric, value).map(|found| found.0), expected, "{metric:?} {value}");
        }
    }

    #[test]
    fn each_crossing_is_told_once_in_both_directions() {
        let thresholds = Thresholds::default();
        let mut raised = Raised::new();
        for (figures, expected) in [
            (figures(10, 0, 0), vec![]),
            (figures(100, 100, 51), vec![("backlog", "raised", "warning")]),
            (figures(100, 100, 60), vec![]),
            (figures(100, 90, 101), vec![("success_percent", "raised", "severe"), ("backlog", "raised", "severe")]),
            (figures(1_000, 990, 101), vec![("success_percent", "raised", "info")]),
            (figures(1_000, 1_000, 0), vec![("success_percent", "cleared", "info"), ("backlog", "cleared", "severe")]),
            (figures(1_000, 1_000, 0), vec![]),
        ] {
            let (next, told) = thresholds.crossings(&raised, &[figures]);
            let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
            let said: Vec<_> =
                told.iter().map(|told| (text(told, "metric"), text(told, "state"), text(told, "severity"))).collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(metric, state, severity)| (metric.to_owned(), state.to_owned(), severity.to_owned()))
                .collect();
            assert_eq!(said, expected);
            let text = serde_json::to_string(&next).unwrap();
            raised = serde_json::from_str(&text).unwrap();
            assert_eq!(raised, next);
        }
        assert!(raised.is_empty());
    }
}

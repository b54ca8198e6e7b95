//! Reports of reconciliations as every store keeps them: which events they make true, and what traces of events mean.

use serde_json::{Value, json};

use crate::model::reconciliation::{Difference, Report};

/// What is known of the way of the last event about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrace {
    /// The subject or key that was asked for.
    pub about: String,
    pub event: u64,
    /// `waiting`, `dead` or `parked`; else the outcome of the last attempt; `None`: it was never on its way.
    pub delivery: Option<String>,
    /// The number of the last attempt.
    pub attempt: Option<i64>,
}

/// Which events are wanted: those whose subject or key is one of these, the last of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracesWanted {
    pub about: Vec<String>,
    /// The subscription whose deliveries count; `None`: any.
    pub subscription: Option<String>,
}

/// What the event of a finished report says: counts, never a value.
pub fn finished_data(report: &Report, id: i64) -> Value {
    json!({
        "report": id, "name": report.name, "source": report.wanted.source, "target": report.wanted.target,
        "outcome": report.outcome.name(), "differences": report.counts.differences(), "counts": report.counts,
    })
}

/// What the alert about a report says.
pub fn alert_data(report: &Report, id: i64, threshold: u64) -> Value {
    json!({
        "metric": "reconcile_differences", "state": "raised", "severity": "severe", "value": report.counts.differences(),
        "threshold": threshold, "report": id, "name": report.name,
    })
}

/// The differences as one JSON text.
pub fn differences_text(differences: &[Difference]) -> String {
    let one = |difference: &Difference| {
        json!({
            "number": difference.number, "kind": difference.kind.name(), "key": difference.key,
            "source": difference.source, "target": difference.target, "fields": difference.fields,
            "cause": difference.cause.name(), "event": difference.event, "delivery": difference.delivery,
            "attempt": difference.attempt,
        })
    };
    Value::Array(differences.iter().map(one).collect()).to_string()
}

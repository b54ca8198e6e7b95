//! What deliveries and attempts mean in every store, whatever the engine underneath: pure parts that both share.

use serde_json::{Value, json};

use crate::model::{Chosen, Decision, Error};

/// The outcomes of attempts that did not work, as SQL texts parted by commas.
pub const FAILED: &str = "'failed', 'exhausted', 'refused', 'gone'";

/// Attempts that are forgotten in one step.
pub const FORGOTTEN_MAX: usize = 10_000;

/// A decision about an event that a subscription does not wait for.
pub fn none_chosen(subscription: &str, event: u64) -> Error {
    let message = format!("event {event} does not wait for the subscription {subscription}");
    Error::not_found(message).hint("see `tidegate deliveries`; what was delivered goes out again by a replay")
}

/// What the event log tells of a decision.
pub fn decided_data(subscription: &str, chosen: &Chosen, decision: Decision, (by, changed): (&str, u64)) -> Value {
    let (event, key) = match chosen {
        Chosen::Event(event) => (Some(event), None),
        Chosen::Key(key) => (None, Some(key)),
        Chosen::All => (None, None),
    };
    json!({
        "subscription": subscription, "decision": decision.name(), "event": event, "key": key, "by": by,
        "deliveries": changed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AttemptOutcome;

    #[test]
    fn every_outcome_is_a_failure_or_none() {
        for outcome in AttemptOutcome::ALL {
            let worked = matches!(outcome, AttemptOutcome::Delivered | AttemptOutcome::Skipped);
            assert_eq!(FAILED.contains(&format!("'{}'", outcome.name())), !worked, "{}", outcome.name());
        }
    }
}

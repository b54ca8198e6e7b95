//! How an endpoint stands, in the store: what its attempts say when a lane begins, and the state that its subscription is
//! given when it fails, recovers or is gone.

use std::sync::Arc;

use serde_json::json;

use super::attempt::Carrier;
use super::health::{HealthLimits, Standing};
use super::index::Subscriber;
use crate::model::definition::Kind;
use crate::model::{
    AttemptOutcome, AttemptsWanted, Change, DeliveriesWanted, Error, ErrorKind, EventType, Instant, Result,
    Subscription, SubscriptionState,
};
use crate::store::Store;

/// Attempts that are looked at.
const ATTEMPTS_MAX: usize = 1_000;
/// How often a state is written again over somebody else's change.
const TRIES: usize = 3;

/// What attempts until now say of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Failures in a row.
    pub failures: u32,
    /// It asked for silence until then.
    pub quiet_until: Option<Instant>,
}

/// Reads the newest attempts of a subscription.
pub async fn from_history(store: &dyn Store, subscription: &str, limits: &HealthLimits) -> Result<Known> {
    let limit = (limits.pause_failures as usize + 1).min(ATTEMPTS_MAX);
    let wanted = AttemptsWanted { subscription: Some(subscription.to_owned()), limit, ..AttemptsWanted::default() };
    let newest = store.attempts(&wanted).await?;
    let tried = || newest.iter().filter(|attempt| attempt.outcome != AttemptOutcome::Skipped);
    let failed = |outcome| matches!(outcome, AttemptOutcome::Failed | AttemptOutcome::Exhausted);
    let failures = tried().take_while(|attempt| failed(attempt.outcome)).count() as u32;
    let Some(last) = tried().next() else { return Ok(Known::default()) };
    let mut quiet_until = None;
    if last.outcome == AttemptOutcome::Failed && matches!(last.status, Some(429 | 502..=504)) {
        let (subscription, event) = (Some(last.subscription.clone()), Some(last.event));
        let wanted = DeliveriesWanted { subscription, event, limit: 1, ..DeliveriesWanted::default() };
        quiet_until = store.deliveries(&wanted).await?.first().map(|delivery| delivery.due_at);
    }
    Ok(Known { failures, quiet_until })
}

/// Free, after so many failures.
pub fn free(failures: u32, limits: &HealthLimits) -> Standing {
    let failures = failures.min(limits.pause_failures.saturating_sub(1));
    if failures >= limits.warn_failures { Standing::Warned { failures } } else { Standing::Well { failures } }
}

/// Paused, and due for a probe.
pub fn paused(failures: u32, now: Instant) -> Standing {
    Standing::Paused { failures, probes: 0, probe_at: now, probing: false }
}

/// A probe that told nothing goes out again.
pub fn unprobed(standing: Standing) -> Standing {
    match standing {
        Standing::Paused { failures, probes, probe_at, .. } => {
            Standing::Paused { failures, probes, probe_at, probing: false }
        }
        free => free,
    }
}

/// What an endpoint has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    Warned,
    Paused,
    Recovered,
    Gone,
}

impl Becomes {
    fn name(self) -> &'static str {
        match self {
            Becomes::Warned => "warned",
            Becomes::Paused => "paused",
            Becomes::Recovered => "recovered",
            Becomes::Gone => "gone",
        }
    }

    fn severity(self) -> &'static str {
        match self {
            Becomes::Warned => "warning",
            Becomes::Paused | Becomes::Gone => "severe",
            Becomes::Recovered => "info",
        }
    }

    /// The state that the subscription is given, from the one that it has; a person's decision stays.
    fn state(self, from: SubscriptionState) -> Option<(SubscriptionState, Option<&'static str>)> {
        use SubscriptionState::{Active, Disabled, Failing};
        match (self, from) {
            (Becomes::Paused, Active) => {
                Some((Failing, Some("it failed again and again; a probe goes out now and then")))
            }
            (Becomes::Recovered, Failing) => Some((Active, None)),
            (Becomes::Gone, Active | Failing) => Some((Disabled, Some("the receiver said that it is gone (410)"))),
            _ => None,
        }
    }
}

/// Gives a subscription the state that follows, and tells people; `quietly`: without an event of its own. The subscription
/// as it is then comes back, when it was changed.
pub async fn become_state(
    carrier: &Carrier,
    name: &str,
    (becomes, failures): (Becomes, u32),
    quietly: bool,
) -> Result<Option<Arc<Subscriber>>> {
    let data = json!({
        "subscription": name, "health": becomes.name(), "failures": failures, "severity": becomes.severity(),
    });
    let told = Change::Event { kind: EventType::SubscriptionHealth, dataset: None, data };
    let told = (!quietly).then_some(told);
    let mut refused = None;
    for _ in 0..TRIES {
        let Some(definition) = carrier.store.definition(Kind::Subscription, name).await? else { return Ok(None) };
        let unreadable = |error| Error::storage("a subscription cannot be read").caused_by(error);
        let before: Subscription = serde_json::from_value(definition.body).map_err(unreadable)?;
        let Some((state, reason)) = becomes.state(before.state) else {
            carrier.term.commit(told.into_iter().collect()).await?;
            return Ok(None);
        };
        let subscription = Subscription { state, reason: reason.map(str::to_owned), ..before };
        let unwritable = |error| Error::bug("a subscription cannot be written").caused_by(error);
        let body = serde_json::to_value(&subscription).map_err(unwritable)?;
        let expect = Some(definition.revision);
        let define = Change::Define { kind: Kind::Subscription, name: name.to_owned(), body, expect };
        match carrier.term.commit(std::iter::once(define).chain(told.clone()).collect()).await {
            Ok(_) => {
                tracing::warn!(subscription = name, health = becomes.name(), failures, "an endpoint has changed");
                let revision = definition.revision + 1;
                return Ok(Some(Arc::new(Subscriber { name: name.to_owned(), subscription, revision })));
            }
            // Somebody has just changed it.
            Err(error) if error.kind() == ErrorKind::Conflict && carrier.term.lasts() => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::bug("a state was never written")))
}

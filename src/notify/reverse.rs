//! Reversals: an event that takes another one back is told to those who were told of that one, and to nobody else.

use std::collections::BTreeSet;

use crate::dialect::exact::Fields;
use crate::model::{AttemptOutcome, AttemptsWanted, Content, DeliveriesWanted, Message, Result};
use crate::store::Store;

/// Attempts and deliveries of one event that are looked through.
const LOOKED_THROUGH: usize = 10_000;

/// The id of the event that a message takes back, of the same source: what the extension `reverses` or the field `reverses`
/// of its content says; for a voucher that is reversed, the version before.
pub fn reversed_id(message: &Message) -> Option<String> {
    if let Some(id) = message.extensions.get("reverses") {
        return Some(id.clone());
    }
    if let Content::Json(text) = &message.content
        && let Ok(Fields(fields)) = Fields::read(text, "data")
        && let Some((_, value)) = fields.iter().find(|(name, _)| name == "reverses")
        && let Ok(id) = serde_json::from_str::<String>(value.get())
    {
        return Some(id);
    }
    let is_reversal = message.kind.rsplit('.').next() == Some("reversed");
    message.extensions.get("follows").filter(|_| is_reversal).cloned()
}

/// The number of the event with this id, or of the first version of the voucher with this number.
pub async fn original(store: &dyn Store, source: &str, id: &str) -> Result<Option<u64>> {
    for id in [id.to_string(), format!("{id}:1")] {
        if let Some(message) = store.message(source, &id).await? {
            return Ok(Some(message.event));
        }
    }
    Ok(None)
}

/// Subscriptions that an event has reached, or is still on its way to.
pub async fn told_of(store: &dyn Store, event: u64) -> Result<BTreeSet<String>> {
    let outcome = Some(AttemptOutcome::Delivered);
    let wanted = AttemptsWanted { event: Some(event), outcome, limit: LOOKED_THROUGH, ..AttemptsWanted::default() };
    let reached = store.attempts(&wanted).await?.into_iter().map(|attempt| attempt.subscription);
    let wanted = DeliveriesWanted { event: Some(event), limit: LOOKED_THROUGH, ..DeliveriesWanted::default() };
    let under_way = store.deliveries(&wanted).await?.into_iter().map(|delivery| delivery.subscription);
    Ok(reached.chain(under_way).collect())
}

/// How the event that is taken back stands with one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Reached,
    /// It may still reach it: what takes it back waits.
    UnderWay,
    /// It was left out: there is nothing to take back.
    Never,
}

pub async fn standing(store: &dyn Store, event: u64, subscription: &str) -> Result<Standing> {
    let (subscription, event) = (Some(subscription.to_owned()), Some(event));
    let outcome = Some(AttemptOutcome::Delivered);
    let reached =
        AttemptsWanted { subscription: subscription.clone(), event, outcome, limit: 1, ..AttemptsWanted::default() };
    if !store.attempts(&reached).await?.is_empty() {
        return Ok(Standing::Reached);
    }
    let under_way = DeliveriesWanted { subscription, event, limit: 1, ..DeliveriesWanted::default() };
    Ok(if store.deliveries(&under_way).await?.is_empty() { Standing::Never } else { Standing::UnderWay })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instant;

    #[test]
    fn a_message_says_what_it_takes_back() {
        let message = |kind: &str, extension: Option<(&str, &str)>, content: &str| Message {
            event: 1,
            at: Instant(0),
            id: "a".into(),
            source: "/s".into(),
            kind: kind.into(),
            time: None,
            subject: None,
            key: None,
            schema: None,
            content_type: None,
            extensions: extension.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            content: Content::Json(content.into()),
        };
        for (said, expected) in [
            (message("k", Some(("reverses", "V1:2")), r#"{"reverses":"other"}"#), Some("V1:2")),
            (message("k", None, r#"{"reverses":"V1"}"#), Some("V1")),
            (message("k", None, r#"{"reverses":null}"#), None),
            (message("voucher.l1.reversed", Some(("follows", "V1:1")), "{}"), Some("V1:1")),
            (message("voucher.l1.changed", Some(("follows", "V1:1")), "{}"), None),
            (message("k", None, "[]"), None),
        ] {
            assert_eq!(reversed_id(&said).as_deref(), expected, "{said:?}");
        }
    }
}

//! Tidegate's own events as CloudEvents, so that they travel as business events do.

use std::collections::BTreeMap;

use crate::model::{Content, Event, Message};

/// Who says what Tidegate says of itself.
pub const OWN_SOURCE: &str = "/tidegate";

/// An event of the log as a message: the same for the same event of the same log, whoever renders it. Its subject and key
/// are the table that it is about; `epoch` tells the log from every other.
pub fn own(event: &Event, epoch: &str) -> Message {
    let task = event.task.map(|task| ("task".to_string(), task.to_string()));
    Message {
        event: event.id,
        at: event.at,
        id: format!("{epoch}-{}", event.id),
        source: OWN_SOURCE.to_string(),
        kind: event.kind.outward().to_string(),
        time: Some(event.at.to_string()),
        subject: event.dataset.clone(),
        key: event.dataset.clone(),
        schema: None,
        content_type: Some("application/json".to_string()),
        extensions: task.into_iter().collect::<BTreeMap<_, _>>(),
        content: Content::Json(event.data.to_string()),
    }
}

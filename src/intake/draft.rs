//! From what a publisher wrote to a message: the same for rows, entries and logical messages. Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::dialect::cloudevents::{self, Limits, Read};
use crate::model::{Content, Error, Instant, Message, Result};

/// The media type of one CloudEvent in JSON.
const STRUCTURED: &[u8] = b"application/cloudevents+json";
/// How much of what was refused is kept, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The attributes of a message as its publisher wrote them, and what the intake says where they are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    pub id: Option<String>,
    pub kind: Option<String>,
    pub source: Option<String>,
    pub subject: Option<String>,
    pub key: Option<String>,
    pub time: Option<String>,
    pub data: Data,
    pub extensions: BTreeMap<String, String>,
}

/// What it carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Data {
    #[default]
    None,
    /// Text that must be JSON.
    Json(String),
    Bytes(Vec<u8>),
}

/// Something that cannot be published: kept apart, with the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Where it stands at the publisher's: an id of a row, a position, an id of an entry.
    pub place: String,
    /// Which field is wrong.
    pub field: String,
    pub reason: String,
    /// What was sent, as far as it can be kept.
    pub row: serde_json::Value,
}

/// What came of one row, entry or logical message.
#[derive(Clone, Debug, PartialEq)]
pub enum Offer {
    Message(Box<Message>),
    Refused(Refused),
}

impl Offer {
    /// A message, or why it is none; `row` is what was sent.
    pub fn of(read: Result<Message>, place: &str, row: impl FnOnce() -> serde_json::Value) -> Offer {
        match read {
            Ok(message) => Offer::Message(Box::new(message)),
            Err(error) => {
                let field = error.field().unwrap_or("event").to_owned();
                let row = kept(row());
                Offer::Refused(Refused { place: place.to_owned(), field, reason: error.message().to_owned(), row })
            }
        }
    }
}

/// What is kept of something that was refused: all of it, unless it is very large.
fn kept(row: serde_json::Value) -> serde_json::Value {
    let bytes = row.to_string().len();
    match bytes > KEPT_BYTES_MAX {
        true => serde_json::json!({ "too_large": bytes }),
        false => row,
    }
}

impl Draft {
    /// The message, accepted at `at`; an error names the field that is wrong.
    pub fn message(self, default_source: &str, at: Instant, limits: &Limits) -> Result<Message> {
        let missing = |field: &str| Error::invalid(format!("{field} is missing")).at_field(field);
        let (content, content_type) = match self.data {
            Data::None => (Content::None, None),
            Data::Json(text) => (Content::Json(json(&text)?), Some("application/json".to_owned())),
            Data::Bytes(bytes) => (Content::Bytes(bytes), Some("application/octet-stream".to_owned())),
        };
        let message = Message {
            event: 0,
            at,
            id: self.id.ok_or_else(|| missing("id"))?,
            source: self.source.unwrap_or_else(|| default_source.to_owned()),
            kind: self.kind.ok_or_else(|| missing("type"))?,
            time: self.time,
            subject: self.subject,
            key: self.key,
            schema: None,
            content_type,
            extensions: self.extensions,
            content,
        };
        cloudevents::check(&message, limits)?;
        Ok(message)
    }
}

/// The text of a JSON value without what stands around it.
fn json(text: &str) -> Result<String> {
    let value: &RawValue = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::invalid(format!("data is no JSON, see {place}")).at_field("data")
    })?;
    Ok(value.get().to_owned())
}

/// A whole CloudEvent in JSON.
pub fn whole_event(bytes: &[u8], at: Instant, limits: &Limits) -> Result<Message> {
    match cloudevents::read(&[("content-type", STRUCTURED)], bytes, limits)? {
        Read::One(message) => Ok(Message { at, ..*message }),
        Read::Batch(_) => Err(Error::invalid("a list of events where one is expected").at_field("event")),
    }
}

/// Whether bytes are a JSON object that says of itself that it is a CloudEvent.
pub fn is_event(bytes: &[u8]) -> bool {
    let fields: Option<BTreeMap<String, &RawValue>> = serde_json::from_slice(bytes).ok();
    fields.is_some_and(|fields| fields.contains_key("specversion"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft { id: Some("7".into()), kind: Some("contract.confirmed".into()), ..Draft::default() }
    }

    fn refused(draft: Draft) -> (String, String) {
        match Offer::of(draft.message("/s", Instant(0), &Limits::default()), "p", || "kept".into()) {
            Offer::Refused(refused) => (refused.field, refused.reason),
            Offer::Message(message) => panic!("{message:?}"),
        }
    }

    #[test]
    fn what_is_absent_is_said_by_the_intake_and_numbers_stay_as_they_were_written() {
        let data = Data::Json(" {\"amount\": 1250.00, \"big\": 12345678901234567890.10} ".into());
        let message = Draft { data, ..draft() }.message("/settlement", Instant(5), &Limits::default()).unwrap();
        assert_eq!((message.source.as_str(), message.at), ("/settlement", Instant(5)));
        let expected = Content::Json("{\"amount\": 1250.00, \"big\": 12345678901234567890.10}".into());
        assert_eq!(message.content, expected);
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_eq!(refused(Draft { id: None, ..draft() }).0, "id");
        assert_eq!(refused(Draft { kind: None, ..draft() }).0, "type");
        assert_eq!(refused(Draft { kind: Some(String::new()), ..draft() }).0, "type");
        assert_eq!(refused(Draft { time: Some("yesterday".into()), ..draft() }).0, "time");
        assert_eq!(refused(Draft { data: Data::Json("{broken".into()), ..draft() }).0, "data");
        assert_eq!(refused(Draft { source: Some("not a uri".into()), ..draft() }).0, "source");
        let (_, reason) = refused(Draft { data: Data::Json("{\"pin\": 1234 5}".into()), ..draft() });
        assert!(!reason.contains("1234"), "{reason}");
    }

    #[test]
    fn whole_events_are_told_from_plain_content() {
        let event = br#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"x":1.10}}"#;
        assert!(is_event(event) && !is_event(b"{\"id\":1}") && !is_event(b"x") && !is_event(b"[1]"));
        let message = whole_event(event, Instant(3), &Limits::default()).unwrap();
        assert_eq!((message.id.as_str(), message.at), ("1", Instant(3)));
        assert_eq!(message.content, Content::Json("{\"x\":1.10}".into()));
        assert!(whole_event(b"[]", Instant(0), &Limits::default()).is_err());
    }
}

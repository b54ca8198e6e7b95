//! Asking the publisher for what is missing: the events of one subject, from another Tidegate or from any address that
//! answers with CloudEvents in JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use super::ReceiveOptions;
use super::inbound::Origin;
use super::registry::Entry;
use crate::dialect::cloudevents::{self, Limits, Read};
use crate::dialect::exact::Fields;
use crate::model::{Error, Message, Result};
use crate::notify::client::{Client, Request};

/// What stands in the values of an address as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What an origin is asked for.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) source: String,
    pub(super) subject: String,
    pub(super) key: String,
    /// The first version that is missing.
    pub(super) from: u64,
}

/// Asks origins. Clones share its connections.
#[derive(Clone)]
pub(super) struct Asker {
    client: Client,
    options: Arc<ReceiveOptions>,
}

impl Asker {
    pub(super) fn new(client: Client, options: Arc<ReceiveOptions>) -> Asker {
        Asker { client, options }
    }

    /// The events that the origin of a webhook has for a question.
    pub(super) async fn ask(&self, entry: &Entry, question: &Question) -> Result<Vec<Message>> {
        let Some(origin) = &entry.inbound.origin else {
            return Err(Error::conflict(format!("the inbound webhook {} has no origin", entry.name)));
        };
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        if !entry.origin_key.is_empty() {
            headers.push(("authorization".to_owned(), format!("Bearer {}", entry.origin_key)));
        }
        let url = address(origin, question, self.options.origin_events_max);
        let request = Request { url, headers, body: Bytes::new(), timeout: self.options.origin_timeout };
        let exchange = self.client.get(request).await;
        let answer = exchange.answer.map_err(|fault| {
            Error::transient(format!("the origin did not answer: {} ({})", fault.detail, fault.code.name()))
        })?;
        match answer.status {
            200 if answer.cut => {
                Err(Error::invalid("the origin's answer is too long").hint("receive.origin_mb_max is the limit"))
            }
            200 => events(&answer.body, &self.options.limits),
            401 | 403 => Err(Error::denied(format!("the origin answered with HTTP status {}", answer.status))
                .hint("set its key with `tidegate inbound origin-key`")),
            status => Err(Error::transient(format!("the origin answered with HTTP status {status}"))),
        }
    }
}

/// Where a question is asked: the places of a template filled in, or the events of another Tidegate.
fn address(origin: &Origin, question: &Question, events_max: usize) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let Question { source, subject, key, from } = question;
    if !origin.url.contains('{') {
        let base = origin.url.trim_end_matches('/');
        let (source, subject) = (encoded(source), encoded(subject));
        return format!("{base}/api/v1/events?source={source}&subject={subject}&limit={events_max}");
    }
    let from = from.to_string();
    let places = [("{source}", source), ("{subject}", subject), ("{key}", key), ("{from}", &from)];
    places.iter().fold(origin.url.clone(), |url, (place, value)| url.replace(place, &encoded(value)))
}

/// The events of an answer: a JSON list, or an object with one under `items`.
fn events(body: &[u8], limits: &Limits) -> Result<Vec<Message>> {
    let unreadable = || Error::invalid("the origin's answer is no list of CloudEvents in JSON");
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let whole: &RawValue = serde_json::from_str(text).map_err(|_| unreadable())?;
    let list = match whole.get().starts_with('[') {
        true => whole,
        false => {
            let Fields(fields) = Fields::read(whole.get(), "answer").map_err(|_| unreadable())?;
            let found = fields.into_iter().find(|(name, _)| name == "items" || name == "events");
            found.map(|(_, list)| list).ok_or_else(unreadable)?
        }
    };
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|_| unreadable())?;
    let limits = Limits { batch_max: usize::MAX, ..*limits };
    let batch = [("content-type", cloudevents::BATCH.as_bytes())];
    let mut bare = String::from("[");
    for (index, element) in elements.iter().enumerate() {
        let between = if index == 0 { "" } else { "," };
        // Writing into a text cannot fail.
        let _ = write!(bare, "{between}{}", event_of(element)?);
    }
    bare.push(']');
    match cloudevents::read(&batch, bare.as_bytes(), &limits)? {
        Read::Batch(events) => events.into_iter().collect(),
        Read::One(message) => Ok(vec![*message]),
    }
}

/// An element is an event, or holds one under `cloudevent`.
fn event_of<'a>(element: &'a RawValue) -> Result<&'a str> {
    let Fields(fields) = Fields::read(element.get(), "event")?;
    let inner = fields.into_iter().find(|(name, _)| name == "cloudevent").map(|(_, value)| value.get());
    Ok(inner.unwrap_or(element.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_an_address_in_which_nothing_breaks_out() {
        let question = Question {
            source: "/settlement".to_owned(),
            subject: "invoice/7&x=1".to_owned(),
            key: "发票/../7".to_owned(),
            from: 3,
        };
        for (url, expected) in [
            ("http://a:1/", "http://a:1/api/v1/events?source=%2Fsettlement&subject=invoice%2F7%26x%3D1&limit=9"),
            ("http://a/i/{key}?from={from}", "http://a/i/%E5%8F%91%E7%A5%A8%2F..%2F7?from=3"),
        ] {
            let origin = Origin { url: url.to_owned(), subject: None, source: None };
            assert_eq!(address(&origin, &question, 9), expected);
        }
    }

    #[test]
    fn events_are_read_from_a_list_and_from_a_page() {
        let event =
            |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{{"a":1.10}}}}"#);
        for body in [
            format!("[{},{}]", event("1"), event("2")),
            format!(r#"{{"next":null,"items":[{},{}]}}"#, event("1"), event("2")),
            format!(r#"{{"items":[{{"event":7,"cloudevent":{}}},{}]}}"#, event("1"), event("2")),
        ] {
            let found = events(body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(found.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["1", "2"], "{body}");
        }
        for body in ["", "{}", "7", r#"[{"id":"1"}]"#, r#"{"items":7}"#] {
            assert!(events(body.as_bytes(), &Limits::default()).is_err(), "{body}");
        }
    }
}

//! Asking the publisher for what is missing: the events of one subject, from another Tidegate or from any address that
//! answers with CloudEvents in JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ReceiveOptions;
use super::inbound::Origin;
use super::registry::Entry;
use crate::dialect::cloudevents::{self, Limits, Read};
use crate::dialect::exact::Fields;
use crate::model::{Content, Error, Instant, Message, Result};
use crate::notify::client::{Client, Request};

/// What stands in the values of an address as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Pages of one answer. Each looks through many entries of a log.
const PAGES_MAX: usize = 50;

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
        let (mut found, mut before) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let url = address(origin, question, self.options.origin_events_max, before);
            let page = events(&self.page(entry, url).await?, &self.options.limits)?;
            found.extend(page.events);
            // Whoever answers for an address of its own answers at once.
            before = page.next.filter(|_| !origin.url.contains('{'));
            if before.is_none() || found.len() >= self.options.origin_events_max {
                break;
            }
        }
        Ok(found)
    }

    async fn page(&self, entry: &Entry, url: String) -> Result<Vec<u8>> {
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        if !entry.origin_key.is_empty() {
            headers.push(("authorization".to_owned(), format!("Bearer {}", entry.origin_key)));
        }
        let request = Request { url, headers, body: Bytes::new(), timeout: self.options.origin_timeout };
        let exchange = self.client.get(request).await;
        let answer = exchange.answer.map_err(|fault| {
            Error::transient(format!("the origin did not answer: {} ({})", fault.detail, fault.code.name()))
        })?;
        match answer.status {
            200 if answer.cut => {
                Err(Error::invalid("the origin's answer is too long").hint("receive.origin_mb_max is the limit"))
            }
            200 => Ok(answer.body),
            401 | 403 => Err(Error::denied(format!("the origin answered with HTTP status {}", answer.status))
                .hint("set its key with `tidegate inbound origin-key`")),
            status => Err(Error::transient(format!("the origin answered with HTTP status {status}"))),
        }
    }
}

/// Where a question is asked: the places of a template filled in, or the events of another Tidegate.
fn address(origin: &Origin, question: &Question, events_max: usize, before: Option<u64>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let Question { source, subject, key, from } = question;
    if !origin.url.contains('{') {
        let base = origin.url.trim_end_matches('/');
        let (source, subject) = (encoded(source), encoded(subject));
        let before = before.map_or(String::new(), |number| format!("&before={number}"));
        return format!("{base}/api/v1/events?source={source}&subject={subject}&limit={events_max}{before}");
    }
    let from = from.to_string();
    let places = [("{source}", source), ("{subject}", subject), ("{key}", key), ("{from}", &from)];
    places.iter().fold(origin.url.clone(), |url, (place, value)| url.replace(place, &encoded(value)))
}

/// What an origin answered.
#[derive(Debug)]
struct Page {
    events: Vec<Message>,
    /// `before` of the next page.
    next: Option<u64>,
}

/// The events of an answer: a JSON list, or an object with one under `items` or `events`.
fn events(body: &[u8], limits: &Limits) -> Result<Page> {
    let unreadable = || Error::invalid("the origin's answer is no list of CloudEvents in JSON");
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let whole: &RawValue = serde_json::from_str(text).map_err(|_| unreadable())?;
    let (list, next) = match whole.get().starts_with('[') {
        true => (whole, None),
        false => {
            let Fields(fields) = Fields::read(whole.get(), "answer").map_err(|_| unreadable())?;
            let value = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
            let next = value("next").and_then(|next| next.get().parse().ok());
            (value("items").or(value("events")).ok_or_else(unreadable)?, next)
        }
    };
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|_| unreadable())?;
    let events = elements.into_iter().map(|element| event(element, limits)).collect::<Result<_>>()?;
    Ok(Page { events, next })
}

/// One event: a CloudEvent, or an entry of the log of another Tidegate.
fn event(element: &RawValue, limits: &Limits) -> Result<Message> {
    let Fields(fields) = Fields::read(element.get(), "event")?;
    if fields.iter().any(|(name, _)| name == "specversion") {
        let headers = [("content-type", cloudevents::STRUCTURED.as_bytes())];
        return match cloudevents::read(&headers, element.get().as_bytes(), limits)? {
            Read::One(message) => Ok(*message),
            Read::Batch(_) => Err(Error::bug("one event was read as a batch")),
        };
    }
    let entry: Entered = serde_json::from_str(element.get())
        .map_err(|error| Error::invalid("an element of the origin's answer is no event").caused_by(error))?;
    let message = entry.message()?;
    cloudevents::check(&message, limits)?;
    Ok(message)
}

/// An entry of the log as `GET /api/v1/events` shows it.
#[derive(Deserialize)]
struct Entered<'a> {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    time: Option<String>,
    subject: Option<String>,
    key: Option<String>,
    dataschema: Option<String>,
    datacontenttype: Option<String>,
    #[serde(default)]
    extensions: BTreeMap<String, String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
}

impl Entered<'_> {
    fn message(self) -> Result<Message> {
        let content = match (self.data, self.data_base64) {
            (Some(data), _) => Content::Json(data.get().to_owned()),
            (None, Some(text)) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Content::Bytes(bytes.map_err(|error| Error::invalid("data_base64 is no base64").caused_by(error))?)
            }
            (None, None) => Content::None,
        };
        // What is sent as JSON without saying so is read as JSON on the other side.
        let json = matches!(content, Content::Json(_)).then(|| "application/json".to_owned());
        Ok(Message {
            event: 0,
            at: Instant(0),
            id: self.id,
            source: self.source,
            kind: self.kind,
            time: self.time,
            subject: self.subject,
            key: self.key,
            schema: self.dataschema,
            content_type: self.datacontenttype.or(json),
            extensions: self.extensions,
            content,
        })
    }
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
        for (url, before, expected) in [
            ("http://a:1/", None, "http://a:1/api/v1/events?source=%2Fsettlement&subject=invoice%2F7%26x%3D1&limit=9"),
            (
                "http://a:1",
                Some(70),
                "http://a:1/api/v1/events?source=%2Fsettlement&subject=invoice%2F7%26x%3D1&limit=9&before=70",
            ),
            ("http://a/i/{key}?from={from}", None, "http://a/i/%E5%8F%91%E7%A5%A8%2F..%2F7?from=3"),
        ] {
            let origin = Origin { url: url.to_owned(), subject: None, source: None };
            assert_eq!(address(&origin, &question, 9, before), expected);
        }
    }

    #[test]
    fn events_are_read_from_a_list_from_a_page_and_from_a_log() {
        let event =
            |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{{"a":1.10}}}}"#);
        let entry = |id: &str| {
            let rest =
                r#""time":null,"subject":null,"key":null,"dataschema":null,"datacontenttype":null,"extensions":{}"#;
            format!(
                r#"{{"number":3,"at":"2026-01-02T03:04:05Z","id":"{id}","source":"/s","type":"t",{rest},"data":{{"a":1.10}}}}"#
            )
        };
        for (body, next) in [
            (format!("[{},{}]", event("1"), event("2")), None),
            (format!(r#"{{"next":null,"items":[{},{}]}}"#, event("1"), event("2")), None),
            (format!(r#"{{"next":41,"last":99,"items":[{},{}]}}"#, entry("1"), entry("2")), Some(41)),
        ] {
            let page = events(body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(page.events.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["1", "2"], "{body}");
            assert_eq!((&page.events[0].content, page.next), (&Content::Json(r#"{"a":1.10}"#.to_owned()), next));
            // In whichever way it comes, it is the same message.
            let sent = events(format!("[{}]", event("1")).as_bytes(), &Limits::default()).unwrap();
            assert_eq!(page.events[0].digest(), sent.events[0].digest());
        }
        for body in ["", "{}", "7", r#"[{"id":"1"}]"#, r#"{"items":7}"#] {
            assert!(events(body.as_bytes(), &Limits::default()).is_err(), "{body}");
        }
    }
}

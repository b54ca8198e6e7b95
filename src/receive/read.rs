//! What a call carries: CloudEvents in any mode, the payload of Standard Webhooks, or the mission's own body, as messages.
//! Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::dialect::cloudevents::{self, Header, Limits, Read};
use crate::dialect::exact::Fields;
use crate::dialect::webhook::canonical::canonical;
use crate::model::hex;
use crate::model::{Content, Error, Instant, Message, Result};

/// A call whose signature is right.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Names in lower case.
    pub headers: &'a [Header<'a>],
    pub body: &'a [u8],
    /// The id under which it was signed, where the form has one.
    pub id: Option<&'a str>,
    /// The source of messages that name none.
    pub source: &'a str,
}

/// The messages of a call, in order. One that cannot be read refuses the call as a whole.
pub fn messages(call: &Call, limits: &Limits) -> Result<Vec<Message>> {
    if cloudevents::mode(call.headers).is_some() {
        return events(call.headers, call.body, limits);
    }
    let text = std::str::from_utf8(call.body).map_err(|_| Error::invalid("the body is no UTF-8").at_field("body"))?;
    if !text.trim_start().starts_with('[') {
        return object(call, text, limits);
    }
    let broken = |error: serde_json::Error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::invalid(format!("the body is no JSON, see {place}")).at_field("body")
    };
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
    if elements.len() > limits.batch_max {
        let error = Error::invalid(format!("a call has at most {} messages, not {}", limits.batch_max, elements.len()));
        return Err(error.at_field("body").hint("send several calls; events.batch_max is the limit"));
    }
    // One id cannot name several messages: what each says is its identity.
    let each = Call { id: None, ..*call };
    let mut messages = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let place = || format!("message {} of the call", index + 1);
        messages.extend(object(&each, element.get(), limits).map_err(|error| error.while_doing(place()))?);
    }
    Ok(messages)
}

/// The messages of one object.
fn object(call: &Call, text: &str, limits: &Limits) -> Result<Vec<Message>> {
    let Fields(fields) = Fields::read(text, "body")?;
    let fields: BTreeMap<&str, &RawValue> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let message = match () {
        () if fields.contains_key("specversion") => {
            return events(&[("content-type", cloudevents::STRUCTURED.as_bytes())], text.as_bytes(), limits);
        }
        () if fields.contains_key("event") => mission(call, &fields, text)?,
        () if fields.contains_key("type") => payload(call, &fields)?,
        () => {
            let error = Error::invalid("the body does not say what happened").at_field("type");
            return Err(error.hint("send a CloudEvent, or an object with type, timestamp and data"));
        }
    };
    cloudevents::check(&message, limits)?;
    Ok(vec![message])
}

fn events(headers: &[Header], body: &[u8], limits: &Limits) -> Result<Vec<Message>> {
    match cloudevents::read(headers, body, limits)? {
        Read::One(message) => Ok(vec![*message]),
        Read::Batch(events) => {
            let at = |(index, event): (usize, Result<Message>)| {
                event.map_err(|error| error.while_doing(format!("event {} of the batch", index + 1)))
            };
            events.into_iter().enumerate().map(at).collect()
        }
    }
}

/// `{"type", "timestamp", "data"}`, as Standard Webhooks advise.
fn payload(call: &Call, fields: &BTreeMap<&str, &RawValue>) -> Result<Message> {
    let id = call.id.ok_or_else(|| {
        Error::invalid("neither the body nor a header says which message this is").at_field("webhook-id")
    })?;
    let kind = text_in(fields, "type")?.unwrap_or_default();
    let time = text_in(fields, "timestamp")?;
    Ok(Message { time, ..message(call, id.to_owned(), kind, fields) })
}

/// `{"event", "voucher_id", "data"}`. Without an id in the headers the same words are the same message.
fn mission(call: &Call, fields: &BTreeMap<&str, &RawValue>, text: &str) -> Result<Message> {
    let kind = text_in(fields, "event")?.unwrap_or_default();
    let voucher = match fields.get("voucher_id").map(|value| value.get()) {
        None | Some("null") => None,
        Some(text) if text.starts_with('"') => text_in(fields, "voucher_id")?,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(text.to_owned()),
        Some(_) => return Err(Error::invalid("voucher_id is neither a text nor a whole number").at_field("voucher_id")),
    };
    let id = match call.id {
        Some(id) => id.to_owned(),
        None => {
            let digest = Sha256::digest(canonical(text)?.as_bytes());
            format!("{}:{}", voucher.as_deref().unwrap_or("event"), hex(&digest[..12]))
        }
    };
    let subject = voucher.as_ref().map(|voucher| format!("voucher/{voucher}"));
    Ok(Message { subject, key: voucher, ..message(call, id, kind, fields) })
}

fn message(call: &Call, id: String, kind: String, fields: &BTreeMap<&str, &RawValue>) -> Message {
    let content = match fields.get("data").map(|data| data.get()) {
        None | Some("null") => Content::None,
        Some(text) => Content::Json(text.to_owned()),
    };
    Message {
        event: 0,
        at: Instant(0),
        id,
        source: call.source.to_owned(),
        kind,
        time: None,
        subject: None,
        key: None,
        schema: None,
        content_type: (content != Content::None).then(|| "application/json".to_owned()),
        extensions: BTreeMap::new(),
        content,
    }
}

fn text_in(fields: &BTreeMap<&str, &RawValue>, name: &str) -> Result<Option<String>> {
    let Some(value) = fields.get(name).filter(|value| value.get() != "null") else { return Ok(None) };
    let no_text = |_| Error::invalid(format!("{name} is no text")).at_field(name);
    serde_json::from_str(value.get()).map(Some).map_err(no_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)], id: Option<&str>, body: &str) -> Result<Vec<Message>> {
        let headers: Vec<Header> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let call = Call { headers: &headers, body: body.as_bytes(), id, source: "/erp" };
        messages(&call, &Limits::default())
    }

    fn shown(messages: &[Message]) -> Vec<String> {
        let one = |message: &Message| {
            let Message { source, id, kind, subject, content, .. } = message;
            format!("{source} {id} {kind} {subject:?} {content:?}")
        };
        messages.iter().map(one).collect()
    }

    #[test]
    fn every_form_of_body_becomes_the_messages_that_it_says() {
        let json = ("content-type", "application/json");
        let event = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"amount":1.10}}"#;
        let expected = r#"/s 7 t None Json("{\"amount\":1.10}")"#;
        for (headers, body) in [
            (vec![("content-type", "application/cloudevents+json")], event.to_owned()),
            (vec![json], event.to_owned()),
            (vec![("content-type", "application/cloudevents-batch+json")], format!("[{event}]")),
            (
                vec![json, ("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/s"), ("ce-type", "t")],
                r#"{"amount":1.10}"#.to_owned(),
            ),
        ] {
            assert_eq!(shown(&read(&headers, Some("evt_1"), &body).unwrap()), [expected], "{body}");
        }
        let payload = r#"{"type":"t","timestamp":"2026-01-02T03:04:05Z","data":[1]}"#;
        assert_eq!(shown(&read(&[json], Some("msg_1"), payload).unwrap()), ["/erp msg_1 t None Json(\"[1]\")"]);
        let mission = r#"{"event":"l1_confirmed","voucher_id":1001,"data":{"amount":100000.00}}"#;
        let said = read(&[json], None, mission).unwrap();
        assert!(shown(&said)[0].ends_with(r#" l1_confirmed Some("voucher/1001") Json("{\"amount\":100000.00}")"#));
        assert_eq!(said[0].key.as_deref(), Some("1001"));
    }

    #[test]
    fn a_list_has_as_many_messages_and_each_is_known_by_what_it_says() {
        let one = |voucher: &str| format!(r#"{{"event":"e","voucher_id":"{voucher}","data":{{"a":1}}}}"#);
        let said = read(&[], Some("evt_1"), &format!("[{},{}]", one("V1"), one("V2"))).unwrap();
        assert_eq!(said.len(), 2);
        assert!(said[0].id.starts_with("V1:") && said[1].id.starts_with("V2:"));
        assert_eq!(said[1].id, read(&[], Some("evt_2"), &format!("[{}]", one("V2"))).unwrap()[0].id);
        assert!(read(&[], None, "[]").unwrap().is_empty());
        let error = read(&[], None, &format!("[{},{{}}]", one("V1"))).unwrap_err();
        assert!(error.message().starts_with("message 2 of the call"), "{error}");
    }

    #[test]
    fn the_same_words_are_the_same_message_and_others_are_not() {
        let id = |body: &str| read(&[], None, body).unwrap()[0].id.clone();
        let first = id(r#"{"event":"e","voucher_id":"V1","data":{"a":1}}"#);
        assert!(first.starts_with("V1:"));
        assert_eq!(first, id(r#"{ "voucher_id": "V1", "data": {"a": 1}, "event": "e" }"#));
        assert_ne!(first, id(r#"{"event":"e","voucher_id":"V1","data":{"a":2}}"#));
    }

    #[test]
    fn what_says_nothing_is_refused_with_the_field() {
        for (id, body, field) in [
            (Some("1"), "{", "body"),
            (Some("1"), "[1]", "body"),
            (Some("1"), "{}", "type"),
            (Some("1"), r#"{"type":7,"data":1}"#, "type"),
            (Some("1"), r#"{"type":"","data":1}"#, "type"),
            (None, r#"{"type":"t"}"#, "webhook-id"),
            (Some("1"), r#"{"type":"t","type":"u"}"#, "type"),
            (Some("1"), r#"{"event":"e","voucher_id":[1]}"#, "voucher_id"),
            (Some("1"), r#"{"specversion":"1.0","id":"1","type":"t"}"#, "source"),
            (Some("1"), r#"{"type":"t","timestamp":"yesterday"}"#, "time"),
        ] {
            let error = read(&[("content-type", "application/json")], id, body).unwrap_err();
            assert_eq!(error.field(), Some(field), "{body}: {error}");
        }
    }
}

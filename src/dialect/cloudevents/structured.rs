//! Structured mode and batches: events as JSON objects. The content is taken out of the object as the text that it is.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::value::RawValue;

use super::attributes::{Attributes, Limits};
use super::binary::{attributes_of, given, text};
use super::{Header, is_json, refused};
use crate::dialect::exact::Fields;
use crate::model::{Content, Error, Message, Result};

/// One event; attributes that are repeated in headers must agree with it.
pub(super) fn read(headers: &[Header], body: &[u8], limits: &Limits) -> Result<Message> {
    let event: &RawValue = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let said = attributes_in(event)?;
    for (name, value) in given(headers) {
        let value = text(name, value)?;
        let agrees = said.0.0.get(name).is_some_and(|own| *own == value);
        if name != "datacontenttype" && !agrees {
            return Err(refused(name, "differs between the header and the body").hint("leave the header out"));
        }
    }
    finish(said, limits)
}

/// The events of a batch. A batch that is too long, or no list, is refused as a whole.
pub(super) fn read_batch(body: &[u8], limits: &Limits) -> Result<Vec<Result<Message>>> {
    let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    if events.len() > limits.batch_max {
        let error = Error::invalid(format!("a batch has at most {} events, not {}", limits.batch_max, events.len()));
        return Err(error.hint("send several batches; events.batch_max is the limit"));
    }
    Ok(events.into_iter().map(|event| finish(attributes_in(event)?, limits)).collect())
}

fn unreadable(error: &serde_json::Error) -> Error {
    let place = format!("line {} column {}", error.line(), error.column());
    Error::invalid(format!("the body is not the JSON of events, see {place}")).at_field("body")
}

/// The attributes of an event with its content, not yet looked at.
struct Said<'a>(Attributes, Option<&'a RawValue>, Option<&'a RawValue>);

fn attributes_in(event: &RawValue) -> Result<Said<'_>> {
    let Fields(fields) = Fields::read(event.get(), "event")?;
    let mut said = Said(Attributes::default(), None, None);
    for (name, value) in fields {
        // What is null is absent.
        let is_null = value.get() == "null";
        let place = match name.as_str() {
            "data" => &mut said.1,
            "data_base64" => &mut said.2,
            _ if is_null => continue,
            _ => {
                said.0.add(&name, attribute(&name, value)?)?;
                continue;
            }
        };
        *place = Some(value);
    }
    said.2 = said.2.filter(|value| value.get() != "null");
    Ok(said)
}

/// The value of an attribute as text: texts, whole numbers of 32 bits and truth values.
fn attribute(name: &str, value: &RawValue) -> Result<String> {
    let text = value.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).map_err(|_| refused(name, "is no text"));
    }
    let whole = text.parse::<i32>().is_ok() && text != "-0" && !text.starts_with('+');
    let is_core =
        ["id", "source", "type", "specversion", "time", "subject", "dataschema", "datacontenttype"].contains(&name);
    match (whole || text == "true" || text == "false") && !is_core {
        true => Ok(text.to_string()),
        false if is_core => Err(refused(name, "is no text")),
        false => {
            let error = refused(name, "is neither a text nor a whole number of 32 bits nor true or false");
            Err(error.hint("other values go into data"))
        }
    }
}

fn finish(said: Said, limits: &Limits) -> Result<Message> {
    let Said(mut attributes, data, data_base64) = said;
    let kind = attributes.0.remove("datacontenttype");
    let (content, kind) = match (data, data_base64) {
        (Some(_), Some(_)) => {
            return Err(refused("data_base64", "stands beside data").hint("an event has one content"));
        }
        (None, None) => (Content::None, kind),
        (Some(data), None) => content_of(data, kind)?,
        (None, Some(text)) => binary_content(text, kind)?,
    };
    attributes.message(content, kind, limits)
}

/// Content in `data`: JSON, unless its media type is another; then it is a text.
fn content_of(data: &RawValue, kind: Option<String>) -> Result<(Content, Option<String>)> {
    match kind {
        None => Ok((Content::Json(data.get().to_string()), Some("application/json".to_string()))),
        Some(kind) if is_json(&kind) => Ok((Content::Json(data.get().to_string()), Some(kind))),
        Some(kind) => {
            let text: String = serde_json::from_str(data.get()).map_err(|_| {
                refused("data", "is no text, and datacontenttype does not say JSON")
                    .hint("send application/json, or the bytes as data_base64")
            })?;
            Ok((Content::Bytes(text.into_bytes()), Some(kind)))
        }
    }
}

/// Content in `data_base64`: bytes, which are JSON when their media type says so.
fn binary_content(value: &RawValue, kind: Option<String>) -> Result<(Content, Option<String>)> {
    let bytes = base64_bytes(value).ok_or_else(|| refused("data_base64", "is no base64"))?;
    let content = match &kind {
        Some(kind) if is_json(kind) => Content::Json(json_text("data_base64", &bytes)?),
        _ => Content::Bytes(bytes),
    };
    Ok((content, kind))
}

fn base64_bytes(value: &RawValue) -> Option<Vec<u8>> {
    let text: String = serde_json::from_str(value.get()).ok()?;
    STANDARD.decode(&text).or_else(|_| STANDARD_NO_PAD.decode(&text)).ok()
}

/// The text of a JSON value, as it is but for what stands around it.
pub(super) fn json_text(field: &str, bytes: &[u8]) -> Result<String> {
    let value: &RawValue = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        refused(field, format!("is not the JSON that its media type says, see {place}"))
    })?;
    Ok(value.get().to_string())
}

/// Content as a body of a media type is read: JSON where the type says so.
pub fn read_content(kind: Option<&str>, bytes: Vec<u8>) -> Result<Content> {
    match kind {
        _ if bytes.is_empty() => Ok(Content::None),
        Some(kind) if is_json(kind) => json_text("data", &bytes).map(Content::Json),
        _ => Ok(Content::Bytes(bytes)),
    }
}

/// The message in structured mode: a JSON object.
pub fn structured(message: &Message) -> String {
    let mut out = String::from("{\"specversion\":\"1.0\"");
    let mut add = |name: &str, value: &str| field(&mut out, name, value);
    attributes_of(message, &mut add);
    if let Some(kind) = &message.content_type {
        add("datacontenttype", kind);
    }
    match &message.content {
        Content::None => {}
        Content::Json(text) => {
            out.push_str(",\"data\":");
            out.push_str(text);
        }
        Content::Bytes(bytes) => field(&mut out, "data_base64", &STANDARD.encode(bytes)),
    }
    out.push('}');
    out
}

fn field(out: &mut String, name: &str, value: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(&serde_json::Value::from(value).to_string());
}

/// Messages as a batch: a JSON array.
pub fn batch<'a>(messages: impl IntoIterator<Item = &'a Message>) -> String {
    let events: Vec<String> = messages.into_iter().map(structured).collect();
    format!("[{}]", events.join(","))
}

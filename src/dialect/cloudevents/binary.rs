//! Binary mode: attributes are headers, the content is the body as it is.

use super::attributes::{Attributes, Limits};
use super::header::{decoded, encoded};
use super::structured::json_text;
use super::{Header, content_type, is_json, refused};
use crate::model::{Content, Message, Result};

/// The headers of an event begin with it.
pub(super) const PREFIX: &str = "ce-";

/// A message as a request carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// `ce-...`, values as they are sent.
    pub headers: Vec<(String, String)>,
    /// The media type of the body; `None`: there is no body.
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

pub(super) fn read(headers: &[Header], body: &[u8], limits: &Limits) -> Result<Message> {
    let mut attributes = Attributes::default();
    for (name, value) in given(headers) {
        if name == "datacontenttype" {
            return Err(refused(name, "stands in the header Content-Type"));
        }
        attributes.add(name, text(name, value)?)?;
    }
    let kind = content_type(headers).map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_string);
    let content = match kind.as_deref() {
        _ if body.is_empty() => Content::None,
        Some(kind) if is_json(kind) => Content::Json(json_text("data", body)?),
        _ => Content::Bytes(body.to_vec()),
    };
    attributes.message(content, kind, limits)
}

/// The attributes among the headers, without what marks them.
pub(super) fn given<'a>(headers: &[Header<'a>]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    headers.iter().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, *value)))
}

/// The value of an attribute in a header.
pub(super) fn text(name: &str, value: &[u8]) -> Result<String> {
    decoded(value).ok_or_else(|| refused(name, "is no UTF-8 in its header").hint("percent-encode the UTF-8 bytes"))
}

/// The message in binary mode.
pub fn binary(message: &Message) -> Rendered {
    let mut headers = vec![(format!("{PREFIX}specversion"), "1.0".to_string())];
    let mut add = |name: &str, value: &str| headers.push((format!("{PREFIX}{name}"), encoded(value)));
    attributes_of(message, &mut add);
    let (body, assumed) = match &message.content {
        Content::None => (Vec::new(), None),
        Content::Json(text) => (text.clone().into_bytes(), Some("application/json")),
        Content::Bytes(bytes) => (bytes.clone(), None),
    };
    let content_type = message.content_type.clone().or(assumed.map(str::to_string));
    Rendered { headers, content_type, body }
}

/// Every attribute that a message has, but its version and the media type of its content.
pub(super) fn attributes_of(message: &Message, add: &mut impl FnMut(&str, &str)) {
    add("id", &message.id);
    add("source", &message.source);
    add("type", &message.kind);
    let optional = [
        ("time", &message.time),
        ("subject", &message.subject),
        ("dataschema", &message.schema),
        ("partitionkey", &message.key),
    ];
    for (name, value) in optional {
        value.as_ref().into_iter().for_each(|value| add(name, value));
    }
    message.extensions.iter().for_each(|(name, value)| add(name, value));
}

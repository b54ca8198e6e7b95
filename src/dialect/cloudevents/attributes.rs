//! The attributes of an event: names, values and what each may hold, whichever mode they came in.

use std::collections::BTreeMap;

use super::refused;
use crate::model::{Content, Error, Instant, Message, Result};

/// What is accepted at most; from `[events]` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one attribute.
    pub attribute_bytes_max: usize,
    pub extensions_max: usize,
    pub content_bytes_max: usize,
    /// Events of one batch.
    pub batch_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let content_bytes_max = 1024 * 1024;
        Limits { attribute_bytes_max: 1024, extensions_max: 32, content_bytes_max, batch_max: 1000 }
    }
}

/// Levels of lists and objects in a JSON content: what reads it later goes no deeper.
pub const DEPTH_MAX: usize = 100;

/// Attributes as they were sent, by name, in the form that every mode shares: text.
#[derive(Debug, Default)]
pub(super) struct Attributes(pub(super) BTreeMap<String, String>);

impl Attributes {
    /// Adds one; a second one of a name is refused.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<()> {
        check_name(name)?;
        match self.0.insert(name.to_string(), value) {
            None => Ok(()),
            Some(_) => Err(refused(name, "appears twice")),
        }
    }

    /// The message that they describe; `content` comes with the media type that it is sent under.
    pub(super) fn message(
        mut self,
        content: Content,
        content_type: Option<String>,
        limits: &Limits,
    ) -> Result<Message> {
        match self.0.remove("specversion").as_deref() {
            Some("1.0") => {}
            Some(_) => {
                return Err(refused("specversion", "is not 1.0").hint("events of CloudEvents 1.0 are read"));
            }
            None => return Err(missing("specversion")),
        }
        let mut required = |name: &str| self.0.remove(name).ok_or_else(|| missing(name));
        let (id, source, kind) = (required("id")?, required("source")?, required("type")?);
        let message = Message {
            event: 0,
            at: Instant(0),
            id,
            source,
            kind,
            time: self.0.remove("time"),
            subject: self.0.remove("subject"),
            key: self.0.remove("partitionkey"),
            schema: self.0.remove("dataschema"),
            content_type,
            extensions: self.0,
            content,
        };
        check(&message, limits)?;
        Ok(message)
    }
}

fn missing(name: &str) -> Error {
    let hint = match name {
        "specversion" => "send specversion 1.0",
        "id" => "name the event: the same source and id are the same event, however often it is sent",
        "source" => "name who says it, such as /settlement/prod",
        _ => "say what happened, such as contract.confirmed",
    };
    refused(name, "is missing").hint(hint)
}

/// Names are lower-case letters and digits. `data` is what an event carries and no attribute.
fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let shown: String = name.chars().filter(|letter| !letter.is_control()).take(NAME_BYTES_MAX).collect();
        let error = Error::invalid(format!("{shown:?} is no name of an attribute")).at_field(shown);
        return Err(
            error.hint(format!("names are 1 to {NAME_BYTES_MAX} letters a-z and digits; other fields go into data"))
        );
    }
    if name == "data" {
        return Err(refused(name, "is no attribute").hint("the content is the body"));
    }
    Ok(())
}

/// 20 are advised, and more are seen.
const NAME_BYTES_MAX: usize = 64;

/// Whether a message may be published: each attribute holds what it may, and nothing is too long.
pub fn check(message: &Message, limits: &Limits) -> Result<()> {
    let optional = [
        ("time", &message.time),
        ("subject", &message.subject),
        ("partitionkey", &message.key),
        ("dataschema", &message.schema),
        ("datacontenttype", &message.content_type),
    ];
    for (name, value) in [("id", &message.id), ("source", &message.source), ("type", &message.kind)] {
        check_text(name, value, limits)?;
    }
    for (name, value) in optional {
        value.as_ref().map_or(Ok(()), |value| check_text(name, value, limits))?;
    }
    if message.extensions.len() > limits.extensions_max {
        let error = Error::invalid(format!("an event has at most {} extensions", limits.extensions_max));
        return Err(error.at_field("extensions").hint("events.extensions_max is the limit; other fields go into data"));
    }
    for (name, value) in &message.extensions {
        check_name(name)?;
        check_text(name, value, limits)?;
    }
    if !is_source(&message.source) {
        return Err(refused("source", "is no URI reference").hint("write it like /settlement/prod or urn:example:erp"));
    }
    if message.time.as_deref().is_some_and(|time| !is_time(time)) {
        return Err(refused("time", "is no RFC 3339 time").hint("write it like 2026-01-02T03:04:05Z"));
    }
    if message.schema.as_deref().is_some_and(|schema| scheme(schema).is_none() || !is_source(schema)) {
        return Err(refused("dataschema", "is no absolute URI"));
    }
    if message.content_type.as_deref().is_some_and(|kind| !is_media_type(kind)) {
        return Err(refused("datacontenttype", "is no media type").hint("write it like application/json"));
    }
    check_content(&message.content, limits)
}

/// Never empty, no control characters, not too long.
fn check_text(name: &str, value: &str, limits: &Limits) -> Result<()> {
    if value.is_empty() {
        return Err(refused(name, "is empty"));
    }
    if value.len() > limits.attribute_bytes_max {
        let error =
            refused(name, format!("has {} bytes, at most {} are kept", value.len(), limits.attribute_bytes_max));
        return Err(error.hint("events.attribute_bytes_max is the limit; long texts go into data"));
    }
    let not_a_character = |letter: char| matches!(u32::from(letter) & 0xffff, 0xfffe | 0xffff);
    if value.chars().any(|letter| letter.is_control() || not_a_character(letter) || is_unassigned(letter)) {
        return Err(refused(name, "holds a control character"));
    }
    Ok(())
}

/// Code points that are set aside and never characters.
fn is_unassigned(letter: char) -> bool {
    matches!(letter, '\u{fdd0}'..='\u{fdef}')
}

fn check_content(content: &Content, limits: &Limits) -> Result<()> {
    let bytes = match content {
        Content::None => 0,
        Content::Json(text) => text.len(),
        Content::Bytes(bytes) => bytes.len(),
    };
    if bytes > limits.content_bytes_max {
        let error = refused("data", format!("has {bytes} bytes, at most {} are kept", limits.content_bytes_max));
        return Err(error.hint("events.content_kb_max is the limit"));
    }
    match content {
        Content::Json(text) if depth(text) > DEPTH_MAX => {
            Err(refused("data", format!("is nested deeper than {DEPTH_MAX} levels")))
        }
        _ => Ok(()),
    }
}

/// How deep lists and objects of a JSON text are nested.
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A type of an event: any text that is not empty.
pub fn is_type(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// A URI reference by its characters, as RFC 3986 has them.
pub fn is_source(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte);
    let mut at = 0;
    while at < bytes.len() {
        let coded =
            bytes[at] == b'%' && bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        match coded {
            true => at += 3,
            false if plain(bytes[at]) => at += 1,
            false => return false,
        }
    }
    let first = text.split(['/', '?', '#']).next().unwrap_or_default();
    let named = !first.contains(':') || scheme(text).is_some();
    !text.is_empty() && named && text.bytes().filter(|byte| *byte == b'#').count() <= 1
}

/// What stands before the first colon, when it is a scheme.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let sound = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic()) && scheme.bytes().all(plain);
    (sound && !rest.is_empty()).then_some(scheme)
}

/// A time of RFC 3339, to the letter.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| bytes.get(from..to).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let at = |place: usize, letters: &[u8]| bytes.get(place).is_some_and(|byte| letters.contains(byte));
    let begins = digits(0, 4) && at(4, b"-") && digits(5, 7) && at(7, b"-") && digits(8, 10) && at(10, b"Tt");
    let clock = digits(11, 13) && at(13, b":") && digits(14, 16) && at(16, b":") && digits(17, 19);
    let mut end = 19;
    if at(end, b".") {
        let fraction = bytes[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if fraction == 0 || fraction > 9 {
            return false;
        }
        end += 1 + fraction;
    }
    let offset = match bytes.len().saturating_sub(end) {
        1 => at(end, b"Zz"),
        6 => at(end, b"+-") && digits(end + 1, end + 3) && at(end + 3, b":") && digits(end + 4, end + 6),
        _ => false,
    };
    begins && clock && offset && Instant::parse(&text.to_ascii_uppercase()).is_some()
}

/// `type/subtype`, with parameters or without.
fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let sound = essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    let parameters = text.split(';').skip(1).map(str::trim).filter(|part| !part.is_empty());
    sound && parameters.into_iter().all(|part| part.split_once('=').is_some_and(|(name, _)| token(name)))
}

/// Whether a media type says that the content is JSON.
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.split_once('/').map(|(_, subtype)| subtype).unwrap_or_default();
    subtype == "json" || subtype.ends_with("+json")
}

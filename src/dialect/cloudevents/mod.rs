//! CloudEvents 1.0.2 over HTTP, in both directions: events in binary, structured and batch mode to messages, and
//! messages to each mode. Content in JSON keeps its exact text.

mod attributes;
mod binary;
mod header;
mod own;
mod structured;
#[cfg(test)]
mod tests;

pub use attributes::{Limits, check, depth, is_json, is_source, is_type};
pub use binary::{Rendered, binary};
pub use header::{decoded, encoded};
pub use own::{OWN_SOURCE, own};
pub use structured::{batch, read_content, structured};

use crate::model::{Error, ErrorKind, Message, Result};

/// The media type of one event in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
/// The media type of a batch.
pub const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

/// How events travel in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in headers, the content is the body.
    Binary,
    /// One JSON object.
    Structured,
    /// A JSON array of such objects.
    Batch,
}

/// What a request carries: one event, or the events of a batch, each read for itself.
#[derive(Debug)]
pub enum Read {
    One(Box<Message>),
    Batch(Vec<Result<Message>>),
}

/// A header as it came: the name in lower case, the value in its bytes.
pub type Header<'a> = (&'a str, &'a [u8]);

/// Which mode a request is in, by its headers alone; `None`: it carries no event.
pub fn mode(headers: &[Header]) -> Option<Mode> {
    let kind = content_type(headers).unwrap_or_default().trim().to_ascii_lowercase();
    if kind.starts_with("application/cloudevents-batch") {
        return Some(Mode::Batch);
    }
    if kind.starts_with("application/cloudevents") {
        return Some(Mode::Structured);
    }
    headers.iter().any(|(name, _)| *name == "ce-specversion").then_some(Mode::Binary)
}

/// Reads a request. What is wrong with a request as a whole is an error; what is wrong with one event of a batch is the
/// error of that event.
pub fn read(headers: &[Header], body: &[u8], limits: &Limits) -> Result<Read> {
    let Some(mode) = mode(headers) else {
        let error = Error::invalid("the request carries no CloudEvent").at_field("specversion");
        return Err(error.hint(
            "send the header ce-specversion: 1.0 with ce-id, ce-source and ce-type, or a body of \
             application/cloudevents+json",
        ));
    };
    if mode != Mode::Binary {
        check_format(content_type(headers).unwrap_or_default())?;
    }
    match mode {
        Mode::Binary => binary::read(headers, body, limits).map(|message| Read::One(Box::new(message))),
        Mode::Structured => structured::read(headers, body, limits).map(|message| Read::One(Box::new(message))),
        Mode::Batch => structured::read_batch(body, limits).map(Read::Batch),
    }
}

fn content_type<'a>(headers: &[Header<'a>]) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(name, _)| *name == "content-type")?;
    std::str::from_utf8(value).ok()
}

/// Of the formats of structured mode and batches JSON is read.
fn check_format(kind: &str) -> Result<()> {
    let mut parts = kind.split(';').map(str::trim);
    let format = parts.next().unwrap_or_default().to_ascii_lowercase();
    if !matches!(format.as_str(), "application/cloudevents+json" | "application/cloudevents-batch+json") {
        let error = Error::invalid("events are read in the JSON format only").at_field("content-type");
        return Err(error.hint("send application/cloudevents+json or application/cloudevents-batch+json"));
    }
    let charset = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    match charset {
        Some((_, charset)) if !charset.trim_matches('"').eq_ignore_ascii_case("utf-8") => {
            Err(Error::invalid("JSON is read in UTF-8 only").at_field("content-type").hint("send charset=utf-8"))
        }
        _ => Ok(()),
    }
}

/// An error of one attribute: it names the field.
fn refused(field: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, format!("{field} {why}")).at_field(field)
}

//! What the arguments say of events: single ones, and those of lines.

use std::collections::BTreeMap;
use std::io::Read as _;

use sha2::{Digest, Sha256};

use super::Args;
use crate::dialect::cloudevents::{self, Limits, Read};
use crate::dialect::exact::Fields;
use crate::model::hex;
use crate::model::{Content, Error, Instant, Message, Result};

/// What every event has that does not say otherwise.
pub struct Said {
    kind: Option<String>,
    source: Option<String>,
    id: Option<String>,
    subject: Option<String>,
    key: Option<String>,
    key_of: Option<String>,
    id_of: Option<String>,
    time: Option<String>,
    content_type: Option<String>,
    extensions: BTreeMap<String, String>,
}

impl Said {
    pub fn new(args: &Args) -> Result<Said> {
        let mut extensions = BTreeMap::new();
        for text in &args.extension {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Error::invalid(format!("--extension {text:?} has no value")).hint("write --extension NAME=VALUE")
            })?;
            extensions.insert(name.to_string(), value.to_string());
        }
        if !args.lines {
            for (name, value) in [("--type", &args.kind), ("--source", &args.source)] {
                let missing = || Error::invalid(format!("{name} is missing")).hint("see `tidegate publish --help`");
                value.as_ref().ok_or_else(missing)?;
            }
        }
        Ok(Said {
            kind: args.kind.clone(),
            source: args.source.clone(),
            id: args.id.clone(),
            subject: args.subject.clone(),
            key: args.partition_key.clone(),
            key_of: args.key_of.clone(),
            id_of: args.id_of.clone(),
            time: args.time.clone(),
            content_type: args.content_type.clone(),
            extensions,
        })
    }

    /// The one event of the arguments; a random id unless one is given.
    pub async fn event(&self, data: Option<&str>, bytes_max: usize) -> Result<Message> {
        let bytes = match data.map(str::to_string) {
            None => Vec::new(),
            Some(data) => {
                let reading = tokio::task::spawn_blocking(move || content(&data, bytes_max));
                reading.await.map_err(|error| Error::bug("reading ended early").caused_by(error))??
            }
        };
        let kind = self.content_type.clone().unwrap_or_else(|| "application/json".to_string());
        let content = cloudevents::read_content(Some(&kind), bytes)?;
        self.message(content, Some(kind), random_id)
    }

    /// The event of a line: one that is written out, or the data of one.
    pub fn line(&self, text: &str) -> Result<Message> {
        let is_event =
            Fields::read(text, "line").is_ok_and(|fields| fields.0.iter().any(|(name, _)| name == "specversion"));
        if is_event {
            // The limits are those of whoever takes it.
            let limits = Limits { content_bytes_max: usize::MAX, ..Limits::default() };
            let kind = [("content-type", cloudevents::STRUCTURED.as_bytes())];
            return match cloudevents::read(&kind, text.as_bytes(), &limits)? {
                Read::One(message) => Ok(*message),
                Read::Batch(_) => Err(Error::bug("a line is one event")),
            };
        }
        let kind = "application/json".to_string();
        let content = cloudevents::read_content(Some(&kind), text.as_bytes().to_vec())?;
        let named = || {
            let parts = [self.source.as_deref(), self.kind.as_deref(), Some(text)];
            let mut digest = Sha256::new();
            parts.into_iter().flatten().for_each(|part| digest.update(format!("{}:{part}", part.len())));
            Ok(hex(&digest.finalize()[..16]))
        };
        self.message(content, Some(kind), named)
    }

    fn message(
        &self,
        content: Content,
        content_type: Option<String>,
        id: impl FnOnce() -> Result<String>,
    ) -> Result<Message> {
        let missing = |name: &str| {
            let error = Error::invalid(format!("{name} is missing")).at_field(name);
            error.hint(format!("say --{name}, or write the whole event in the line"))
        };
        let key = match &self.key_of {
            Some(field) => Some(field_of(&content, field)?),
            None => self.key.clone(),
        };
        let id = match (&self.id, &self.id_of) {
            (Some(id), _) => id.clone(),
            (None, Some(field)) => field_of(&content, field)?,
            (None, None) => id()?,
        };
        let content_type = content_type.filter(|_| content != Content::None);
        Ok(Message {
            event: 0,
            at: Instant(0),
            id,
            source: self.source.clone().ok_or_else(|| missing("source"))?,
            kind: self.kind.clone().ok_or_else(|| missing("type"))?,
            time: self.time.clone(),
            subject: self.subject.clone(),
            key,
            schema: None,
            content_type,
            extensions: self.extensions.clone(),
            content,
        })
    }
}

/// The value of a field of the data, as text.
fn field_of(content: &Content, field: &str) -> Result<String> {
    let missing = || Error::invalid(format!("the data has no field {field:?}")).at_field(format!("data.{field}"));
    let Content::Json(text) = content else { return Err(missing()) };
    let fields = Fields::read(text, "data")?;
    let (_, value) = fields.0.iter().find(|(name, _)| name == field).ok_or_else(missing)?;
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(|_| missing()),
        Some(b'0'..=b'9' | b'-') => Ok(raw.to_string()),
        _ => Err(Error::invalid(format!("the field {field:?} is neither a text nor a number"))
            .at_field(format!("data.{field}"))),
    }
}

/// The content that an argument means: its text, a file, or standard input.
fn content(data: &str, bytes_max: usize) -> Result<Vec<u8>> {
    if data == "-" {
        return limited(std::io::stdin().lock(), bytes_max);
    }
    let Some(path) = data.strip_prefix('@') else { return Ok(data.as_bytes().to_vec()) };
    let file = std::fs::File::open(path);
    limited(file.map_err(|error| Error::invalid(format!("{path} cannot be read")).caused_by(error))?, bytes_max)
}

fn limited(reader: impl std::io::Read, bytes_max: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader.take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::storage("the data cannot be read").caused_by(error))?;
    if bytes.len() > bytes_max {
        let error = Error::invalid(format!("the data has more than {bytes_max} bytes")).at_field("data");
        return Err(error.hint("events.content_kb_max is the limit"));
    }
    Ok(bytes)
}

fn random_id() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::storage("the system gives no random numbers").caused_by(error))?;
    Ok(hex(&bytes))
}

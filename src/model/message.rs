//! Messages: business events as their publishers said them, with the attributes of CloudEvents 1.0.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::clock::Instant;
use super::hex::hex;

/// A published event with its content. The event log has its number and its attributes, never its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its number in the event log; 0 before it is stored.
    pub event: u64,
    /// When it was accepted.
    pub at: Instant,
    /// Unique together with `source`.
    pub id: String,
    /// A URI reference: who says it.
    pub source: String,
    /// The CloudEvents attribute `type`, for example `contract.confirmed`.
    pub kind: String,
    /// RFC 3339, as the publisher wrote it.
    pub time: Option<String>,
    pub subject: Option<String>,
    /// The attribute `partitionkey`: messages of one key keep their order.
    pub key: Option<String>,
    /// The attribute `dataschema`.
    pub schema: Option<String>,
    /// The attribute `datacontenttype`; absent means JSON where there is content.
    pub content_type: Option<String>,
    pub extensions: BTreeMap<String, String>,
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Content {
    #[default]
    None,
    /// The exact text as it was sent: its numbers never pass through binary floats.
    Json(String),
    Bytes(Vec<u8>),
}

impl Content {
    /// How it is stored: what it is, and its bytes.
    pub fn parts(&self) -> (&'static str, &[u8]) {
        match self {
            Content::None => ("none", &[]),
            Content::Json(text) => ("json", text.as_bytes()),
            Content::Bytes(bytes) => ("bytes", bytes),
        }
    }

    /// The content of stored parts; `None` for parts that no content has.
    pub fn from_parts(form: &str, bytes: Vec<u8>) -> Option<Content> {
        match form {
            "none" if bytes.is_empty() => Some(Content::None),
            "json" => String::from_utf8(bytes).ok().map(Content::Json),
            "bytes" => Some(Content::Bytes(bytes)),
            _ => None,
        }
    }
}

impl Message {
    /// SHA-256 in hex of everything that the publisher said. Equal for a message that is sent again unchanged.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        let optional = [&self.time, &self.subject, &self.key, &self.schema, &self.content_type];
        for text in [&self.id, &self.source, &self.kind] {
            add(text.as_bytes());
        }
        for text in optional {
            add(&[u8::from(text.is_some())]);
            add(text.as_deref().unwrap_or_default().as_bytes());
        }
        for (name, value) in &self.extensions {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        let (form, bytes) = self.content.parts();
        add(form.as_bytes());
        add(bytes);
        hex(&digest.finalize())
    }
}

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The number of the event: of the new one, or of the one that is known already.
    pub event: u64,
    pub was: Offered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// Written by this commit.
    New,
    /// Its source and id are known with equal content: nothing was written.
    Same,
    /// Its source and id are known with other content: nothing was written.
    Different,
}

impl Offered {
    pub fn name(self) -> &'static str {
        match self {
            Offered::New => "new",
            Offered::Same => "same",
            Offered::Different => "different",
        }
    }

    pub fn from_name(name: &str) -> Option<Offered> {
        [Offered::New, Offered::Same, Offered::Different].into_iter().find(|offered| offered.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            event: 0,
            at: Instant(0),
            id: "a".into(),
            source: "/s".into(),
            kind: "k".into(),
            time: None,
            subject: None,
            key: None,
            schema: None,
            content_type: None,
            extensions: BTreeMap::new(),
            content: Content::Json("1.0".into()),
        }
    }

    #[test]
    fn the_digest_tells_everything_that_was_said_apart_and_nothing_else() {
        let said = message();
        assert_eq!(said.digest(), Message { event: 7, at: Instant(9), ..message() }.digest());
        for other in [
            Message { id: "b".into(), ..message() },
            Message { subject: Some(String::new()), ..message() },
            Message { key: Some(String::new()), ..message() },
            Message { extensions: [("a".into(), "b".into())].into(), ..message() },
            Message { content: Content::Json("1.00".into()), ..message() },
            Message { content: Content::Bytes(b"1.0".to_vec()), ..message() },
        ] {
            assert_ne!(said.digest(), other.digest(), "{other:?}");
        }
    }

    #[test]
    fn content_comes_back_from_its_parts() {
        for content in [Content::None, Content::Json("[1]".into()), Content::Bytes(vec![0xff])] {
            let (form, bytes) = content.parts();
            assert_eq!(Content::from_parts(form, bytes.to_vec()), Some(content));
        }
        assert_eq!(Content::from_parts("json", vec![0xff]), None);
    }
}

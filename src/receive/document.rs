//! A message as paths look into it: its attributes, and its content with every number as the text that was sent.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::path::{Path, Root, Step};
use crate::dialect::exact::Fields;
use crate::model::{Content, Error, Message, Result};

/// A JSON value; lists and objects know their own text.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    /// As it was written.
    Number(&'a str),
    Text(String),
    List(Vec<Node<'a>>, &'a str),
    Object(Vec<(String, Node<'a>)>, &'a str),
}

/// Values nested deeper are not read.
const DEPTH_MAX: usize = 100;

impl<'a> Node<'a> {
    pub fn read(text: &'a str) -> Result<Node<'a>> {
        let value: &RawValue = serde_json::from_str(text).map_err(|error| no_json(&error))?;
        Node::of(value.get(), 0)
    }

    fn of(text: &'a str, depth: usize) -> Result<Node<'a>> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid(format!("the content is nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let Fields(fields) = Fields::read(text, "data")?;
                let inner = fields.into_iter().map(|(name, value)| Ok((name, Node::of(value.get(), depth + 1)?)));
                Node::Object(inner.collect::<Result<_>>()?, text)
            }
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| no_json(&error))?;
                let inner = values.into_iter().map(|value| Node::of(value.get(), depth + 1));
                Node::List(inner.collect::<Result<_>>()?, text)
            }
            Some(b'"') => Node::Text(serde_json::from_str(text).map_err(|error| no_json(&error))?),
            Some(b't') => Node::Bool(true),
            Some(b'f') => Node::Bool(false),
            Some(b'n') | None => Node::Null,
            Some(_) => Node::Number(text),
        })
    }

    fn at(&self, step: &Step) -> Option<&Node<'a>> {
        match (self, step) {
            (Node::Object(fields, _), Step::Field(name)) => {
                fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            (Node::List(values, _), Step::At(index)) => values.get(*index),
            _ => None,
        }
    }

    fn follow(&self, steps: &[Step]) -> Option<&Node<'a>> {
        steps.iter().try_fold(self, |node, step| node.at(step))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Node::Null)
    }

    /// What plain values are as text; nothing for lists and objects.
    pub fn plain(&self) -> Option<Cow<'_, str>> {
        match self {
            Node::Text(text) => Some(Cow::Borrowed(text)),
            Node::Number(text) => Some(Cow::Borrowed(text)),
            Node::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Node::Null | Node::List(..) | Node::Object(..) => None,
        }
    }
}

fn no_json(error: &serde_json::Error) -> Error {
    Error::invalid(format!("the content is no JSON, see line {} column {}", error.line(), error.column()))
}

/// A message with its content taken apart.
pub struct Document<'a> {
    message: &'a Message,
    data: Node<'a>,
}

/// One of the items that are exploded, with its number from 1.
pub type Item<'d, 'a> = Option<(&'d Node<'a>, usize)>;

impl<'a> Document<'a> {
    /// Content that is no JSON has no values.
    pub fn of(message: &'a Message) -> Result<Document<'a>> {
        let data = match &message.content {
            Content::Json(text) => Node::read(text)?,
            Content::None | Content::Bytes(_) => Node::Null,
        };
        Ok(Document { message, data })
    }

    /// What stands at a path; `None`: nothing at all.
    pub fn get<'d>(&'d self, path: &Path, item: Item<'d, 'a>) -> Option<Cow<'d, Node<'a>>> {
        let text = |text: &str| Some(Cow::Owned(Node::Text(text.to_owned())));
        match &path.root {
            Root::Data => self.data.follow(&path.steps).map(Cow::Borrowed),
            Root::Item => item?.0.follow(&path.steps).map(Cow::Borrowed),
            Root::Index => text(&item?.1.to_string()),
            Root::Attribute(name) => text(attribute(self.message, name)?),
        }
    }

    /// The values of a list; one that is absent or null has none.
    pub fn list<'d>(&'d self, path: &Path) -> Result<&'d [Node<'a>]> {
        let found = match path.root {
            Root::Data => self.data.follow(&path.steps),
            _ => None,
        };
        match found {
            None | Some(Node::Null) => Ok(&[]),
            Some(Node::List(values, _)) => Ok(values),
            Some(_) => Err(Error::invalid(format!("what stands at {path} is no list")).at_field(path.to_string())),
        }
    }
}

fn attribute<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    match name {
        "id" => Some(&message.id),
        "source" => Some(&message.source),
        "type" => Some(&message.kind),
        "time" => message.time.as_deref(),
        "subject" => message.subject.as_deref(),
        "key" | "partitionkey" => message.key.as_deref(),
        "dataschema" => message.schema.as_deref(),
        name => message.extensions.get(name).map(String::as_str),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Instant;

    pub fn message(kind: &str, content: &str) -> Message {
        Message {
            event: 0,
            at: Instant(0),
            id: "e-1".to_owned(),
            source: "/settlement".to_owned(),
            kind: kind.to_owned(),
            time: None,
            subject: Some("invoice/7".to_owned()),
            key: Some("7".to_owned()),
            schema: None,
            content_type: None,
            extensions: [("region".to_owned(), "sh".to_owned())].into(),
            content: Content::Json(content.to_owned()),
        }
    }

    #[test]
    fn numbers_keep_their_text_and_paths_find_what_is_there() {
        let said =
            message("k", r#"{"a": 100000.00, "b": [{"c": 12345678901234567890.10}, null], "d": "x\n", "e": true}"#);
        let document = Document::of(&said).unwrap();
        let shown = |path: &str| {
            let node = document.get(&Path::parse(path).unwrap(), None);
            node.map(|node| node.plain().map_or("-".to_owned(), Cow::into_owned))
        };
        for (path, expected) in [
            ("data.a", Some("100000.00")),
            ("data.b[0].c", Some("12345678901234567890.10")),
            ("data.b[1]", Some("-")),
            ("data.b[2]", None),
            ("data.b.c", None),
            ("data.d", Some("x\n")),
            ("data.e", Some("true")),
            ("data.nothing", None),
            ("type", Some("k")),
            ("subject", Some("invoice/7")),
            ("region", Some("sh")),
            ("time", None),
            ("item.x", None),
        ] {
            assert_eq!(shown(path).as_deref(), expected, "{path}");
        }
        assert_eq!(document.list(&Path::parse("data.b").unwrap()).unwrap().len(), 2);
        assert!(document.list(&Path::parse("data.a").unwrap()).is_err());
    }

    #[test]
    fn content_that_says_a_thing_twice_or_is_nested_without_end_is_refused() {
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        for text in [r#"{"a": 1, "a": 2}"#, "{", "[1,]", deep.as_str()] {
            assert!(Document::of(&message("k", text)).is_err(), "{text}");
        }
    }
}

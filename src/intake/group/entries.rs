//! Entries of a stream as Redis sends them, and the messages in them. Pure.

use std::collections::BTreeMap;

use redis::Value;

use crate::dialect::cloudevents::Limits;
use crate::intake::definition::{EntryField, RedisGroup};
use crate::intake::draft::{Data, Draft, Offer, Refused, whole_event};
use crate::model::{Error, Instant, Result};

/// An entry; without fields it was deleted from the stream before it was taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) fields: Option<BTreeMap<String, Vec<u8>>>,
}

fn unreadable() -> Error {
    Error::transient("an answer of Redis about a stream cannot be read")
}

fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        _ => Err(unreadable()),
    }
}

fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unreadable()),
    }
}

fn text(value: Value) -> Result<String> {
    String::from_utf8(bytes(value)?).map_err(|_| unreadable())
}

/// The entries in an answer to `XREADGROUP` on one stream.
pub(super) fn read(answer: Value) -> Result<Vec<Entry>> {
    let stream = match answer {
        Value::Map(streams) => streams.into_iter().next().map(|(_, entries)| entries),
        other => list(other)?.into_iter().next().map(list).transpose()?.and_then(|mut pair| pair.pop()),
    };
    stream.map_or(Ok(Vec::new()), entries)
}

/// Where `XAUTOCLAIM` goes on, and what it has claimed.
pub(super) fn claimed(answer: Value) -> Result<(String, Vec<Entry>)> {
    let mut parts = list(answer)?.into_iter();
    let next = text(parts.next().ok_or_else(unreadable)?)?;
    Ok((next, entries(parts.next().ok_or_else(unreadable)?)?))
}

fn entries(value: Value) -> Result<Vec<Entry>> {
    list(value)?.into_iter().filter(|value| *value != Value::Nil).map(entry).collect()
}

fn entry(value: Value) -> Result<Entry> {
    let mut parts = list(value)?.into_iter();
    let id = text(parts.next().ok_or_else(unreadable)?)?;
    let fields = match parts.next() {
        None | Some(Value::Nil) => None,
        Some(Value::Map(pairs)) => {
            let pairs = pairs.into_iter().map(|(name, value)| Ok((name_of(bytes(name)?), bytes(value)?)));
            Some(pairs.collect::<Result<_>>()?)
        }
        Some(other) => {
            let mut values = list(other)?.into_iter();
            let mut fields = BTreeMap::new();
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                fields.insert(name_of(bytes(name)?), bytes(value)?);
            }
            Some(fields)
        }
    };
    Ok(Entry { id, fields })
}

fn name_of(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How often each entry was delivered, from an answer to `XPENDING` with a range.
pub(super) fn deliveries(answer: Value) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for line in list(answer)? {
        let mut parts = list(line)?.into_iter();
        let id = text(parts.next().ok_or_else(unreadable)?)?;
        let count = match parts.nth(2) {
            Some(Value::Int(count)) => u64::try_from(count).unwrap_or_default(),
            _ => return Err(unreadable()),
        };
        found.insert(id, count);
    }
    Ok(found)
}

/// What `XINFO GROUPS` says of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::intake) struct GroupSeen {
    pub(in crate::intake) name: String,
    pub(in crate::intake) pending: u64,
    pub(in crate::intake) last: String,
    /// Entries that nobody was given yet; `None`: Redis cannot say.
    pub(in crate::intake) lag: Option<u64>,
}

pub(in crate::intake) fn groups(answer: Value) -> Result<Vec<GroupSeen>> {
    list(answer)?.into_iter().map(group).collect()
}

fn group(value: Value) -> Result<GroupSeen> {
    let pairs: Vec<(Value, Value)> = match value {
        Value::Map(pairs) => pairs,
        other => {
            let mut values = list(other)?.into_iter();
            let mut pairs = Vec::new();
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                pairs.push((name, value));
            }
            pairs
        }
    };
    let mut seen = GroupSeen::default();
    let count = |value: &Value| match value {
        Value::Int(count) => u64::try_from(*count).ok(),
        _ => None,
    };
    for (name, value) in pairs {
        match text(name)?.as_str() {
            "name" => seen.name = text(value)?,
            "pending" => seen.pending = count(&value).unwrap_or_default(),
            "last-delivered-id" => seen.last = text(value)?,
            "lag" => seen.lag = count(&value),
            _ => {}
        }
    }
    Ok(seen)
}

/// The message of an entry, or why it is none.
pub(super) fn offer(entry: &Entry, group: &RedisGroup, source: &str, at: Instant, limits: &Limits) -> Offer {
    let Some(fields) = &entry.fields else {
        let reason = "the entry was deleted from the stream before it was taken".to_owned();
        let (place, field, row) = (entry.id.clone(), "entry".to_owned(), serde_json::Value::Null);
        return Offer::Refused(Refused { place, field, reason, row });
    };
    let read = message(entry, fields, group, source, at, limits);
    Offer::of(read, &entry.id, || kept(entry))
}

/// What is kept of an entry.
pub(super) fn kept(entry: &Entry) -> serde_json::Value {
    let fields = entry.fields.iter().flatten();
    let fields = fields.map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned().into()));
    serde_json::Value::Object(fields.collect())
}

fn message(
    entry: &Entry,
    fields: &BTreeMap<String, Vec<u8>>,
    group: &RedisGroup,
    source: &str,
    at: Instant,
    limits: &Limits,
) -> Result<crate::model::Message> {
    if let Some(event) = fields.get(group.field(EntryField::Event)) {
        return whole_event(event, at, limits);
    }
    let text = |field: EntryField, name: &str| {
        let value = fields.get(group.field(field)).map(|value| String::from_utf8(value.clone()));
        value.transpose().map_err(|_| Error::invalid(format!("{name} is no text in UTF-8")).at_field(name))
    };
    let draft = Draft {
        id: text(EntryField::Id, "id")?.or_else(|| Some(entry.id.clone())),
        kind: text(EntryField::Type, "type")?.or_else(|| group.kind.clone()),
        source: text(EntryField::Source, "source")?,
        subject: text(EntryField::Subject, "subject")?,
        key: text(EntryField::Key, "partitionkey")?,
        time: text(EntryField::Time, "time")?,
        data: text(EntryField::Data, "data")?.map_or(Data::None, Data::Json),
        extensions: BTreeMap::new(),
    };
    draft.message(source, at, limits)
}

/// The largest of some ids of entries.
pub(super) fn last<'a>(ids: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    ids.max_by_key(|id| id_parts(id))
}

/// Milliseconds and number of an id.
pub(in crate::intake) fn id_parts(id: &str) -> (u64, u64) {
    let (ms, number) = id.split_once('-').unwrap_or((id, "0"));
    (ms.parse().unwrap_or_default(), number.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry_value(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![bulk(id), Value::Array(fields.iter().map(|field| bulk(field)).collect())])
    }

    fn group_of(body: serde_json::Value) -> RedisGroup {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn answers_are_read_in_both_protocols_and_deleted_entries_have_no_fields() {
        let entries =
            Value::Array(vec![entry_value("1-0", &["type", "t"]), Value::Array(vec![bulk("2-0"), Value::Nil])]);
        let one = Value::Array(vec![Value::Array(vec![bulk("s"), entries.clone()])]);
        let other = Value::Map(vec![(bulk("s"), entries.clone())]);
        let found = read(one).unwrap();
        assert_eq!(found, read(other).unwrap());
        assert_eq!((found[0].id.as_str(), found[1].fields.as_ref()), ("1-0", None));
        assert_eq!(read(Value::Nil).unwrap(), []);
        let claim = Value::Array(vec![bulk("0-0"), entries, Value::Array(vec![bulk("3-0")])]);
        assert_eq!(claimed(claim).unwrap(), ("0-0".to_owned(), found));
        for wrong in [Value::Int(1), Value::Array(vec![Value::Int(1)]), bulk("x")] {
            assert!(read(wrong.clone()).is_err() && claimed(wrong).is_err());
        }
    }

    #[test]
    fn groups_and_deliveries_are_read() {
        let group = ["name", "g", "last-delivered-id", "5-0"].map(bulk).to_vec();
        let numbers = vec![bulk("pending"), Value::Int(3), bulk("lag"), Value::Nil];
        let seen = groups(Value::Array(vec![Value::Array([group, numbers].concat())])).unwrap();
        let expected = GroupSeen { name: "g".into(), pending: 3, last: "5-0".into(), lag: None };
        assert_eq!(seen, [expected]);
        let line = Value::Array(vec![bulk("5-0"), bulk("c"), Value::Int(70), Value::Int(4)]);
        assert_eq!(deliveries(Value::Array(vec![line])).unwrap(), BTreeMap::from([("5-0".to_owned(), 4)]));
    }

    #[test]
    fn an_entry_is_a_message_by_its_fields_or_a_whole_event() {
        let read = |fields: &[&str], body| {
            let entry = entry(entry_value("1700-1", fields)).unwrap();
            match offer(&entry, &group_of(body), "/s", Instant(1), &Limits::default()) {
                Offer::Message(message) => Ok((message.id, message.kind, message.source)),
                Offer::Refused(refused) => Err(refused.field),
            }
        };
        let plain = || serde_json::json!({"stream": "s"});
        let named = |id: &str, kind: &str, source: &str| Ok((id.to_owned(), kind.to_owned(), source.to_owned()));
        assert_eq!(read(&["type", "a.b", "data", "{\"x\":1}"], plain()), named("1700-1", "a.b", "/s"));
        assert_eq!(read(&["id", "7", "type", "a", "source", "/erp"], plain()), named("7", "a", "/erp"));
        assert_eq!(read(&["x", "1"], plain()), Err("type".to_owned()));
        assert_eq!(read(&["type", "a", "data", "{"], plain()), Err("data".to_owned()));
        let renamed = serde_json::json!({"stream": "s", "type": "order.paid", "fields": {"data": "body", "id": "no"}});
        assert_eq!(read(&["no", "9", "body", "{}"], renamed), named("9", "order.paid", "/s"));
        let event = r#"{"specversion":"1.0","id":"e","source":"/e","type":"t"}"#;
        assert_eq!(read(&["event", event], plain()), named("e", "t", "/e"));
        assert_eq!(read(&["event", "{}"], plain()), Err("specversion".to_owned()));
    }

    #[test]
    fn ids_are_compared_as_numbers() {
        assert_eq!(last(["9-0", "10-0", "10-2", "10-10"].into_iter()), Some("10-10"));
        assert_eq!(last(std::iter::empty()), None);
    }
}

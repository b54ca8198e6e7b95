//! From the messages of a replication stream to messages of publishers. Pure: bytes in, offers out.

use std::collections::BTreeMap;

use crate::dialect::cloudevents::Limits;
use crate::dialect::pgoutput::{
    Cell, Decoder, Identity, Lsn, Message as Said, Old, Protocol, Relation, Relations, Tuple, row,
};
use crate::intake::definition::Replication;
use crate::intake::draft::{Data, Draft, Offer, is_event, whole_event};
use crate::model::{Error, Instant, Result};

/// Follows the stream of one session.
pub(super) struct Assembler {
    wanted: Replication,
    source: String,
    /// The server's own identifier: it makes ids that no other server gives.
    system: String,
    limits: Limits,
    decoder: Decoder,
    relations: Relations,
    open: Option<Open>,
    /// Everything up to here is stored: what comes again is passed over.
    stored: Lsn,
}

/// A transaction whose changes are coming. The server sends it when it is committed.
struct Open {
    commit: Lsn,
    at: Instant,
    /// Changes so far, wanted or not: the same whenever the transaction is sent.
    count: u64,
}

/// What a message of the stream comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    Nothing,
    /// It does not count.
    Ignored,
    Offer(Box<Offer>),
    /// A transaction is complete; everything up to here has been taken.
    Complete(Lsn),
}

impl Assembler {
    pub(super) fn new(wanted: Replication, source: &str, system: &str, stored: Lsn, limits: Limits) -> Assembler {
        Assembler {
            wanted,
            source: source.to_owned(),
            system: system.to_owned(),
            limits,
            decoder: Decoder::new(Protocol::One),
            relations: Relations::default(),
            open: None,
            stored,
        }
    }

    /// Whether a transaction is under way.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// One message of the plugin, taken at `now`.
    pub(super) fn take(&mut self, bytes: &[u8], now: Instant) -> Result<Taken> {
        match self.decoder.decode(bytes)? {
            Said::Begin { commit, at, .. } => {
                self.open = Some(Open { commit, at, count: 0 });
                Ok(Taken::Nothing)
            }
            Said::Commit { end, .. } => {
                self.open = None;
                self.stored = self.stored.max(end);
                Ok(Taken::Complete(end))
            }
            Said::Relation { relation, .. } => {
                self.relations.learn(relation);
                Ok(Taken::Nothing)
            }
            Said::Logical { transactional, at, prefix, content, .. } => {
                self.logical(transactional, at, &prefix, &content, now)
            }
            Said::Insert { relation, new, .. } => self.changed(relation, Change::Inserted(new), now),
            Said::Update { relation, old, new, .. } => self.changed(relation, Change::Updated(old, new), now),
            Said::Delete { relation, old, .. } => self.changed(relation, Change::Deleted(old), now),
            Said::Truncate { relations, .. } => self.truncated(&relations, now),
            Said::Origin { .. } | Said::Type { .. } => Ok(Taken::Nothing),
            other => Err(Error::bug(format!("a message of a protocol that was not asked for: {other:?}"))),
        }
    }

    /// The id of the next change of the transaction, when it was committed, and whether it is news.
    fn next(&mut self) -> Result<(String, Instant, bool)> {
        let stored = self.stored;
        let system = &self.system;
        let open = self.open.as_mut().ok_or_else(|| Error::transient("a change came outside of a transaction"))?;
        open.count += 1;
        Ok((format!("{system}:{}:{}", open.commit, open.count), open.at, open.commit >= stored))
    }

    fn logical(&mut self, transactional: bool, at: Lsn, prefix: &str, content: &[u8], now: Instant) -> Result<Taken> {
        let (id, time, is_news) = match transactional {
            true => self.next()?,
            false => (format!("{}:{at}", self.system), now, at >= self.stored),
        };
        let counts = transactional || self.wanted.non_transactional;
        if !counts || !self.wanted.prefixes.iter().any(|wanted| wanted == prefix) {
            return Ok(Taken::Ignored);
        }
        if !is_news {
            return Ok(Taken::Nothing);
        }
        let read = match is_event(content) {
            true => whole_event(content, now, &self.limits),
            false => self.plain(id.clone(), time, prefix, content, now),
        };
        let kept = || serde_json::json!({ "prefix": prefix, "content": String::from_utf8_lossy(content) });
        Ok(Taken::Offer(Box::new(Offer::of(read, &id, kept))))
    }

    /// A message that is content alone: its type is the prefix.
    fn plain(
        &self,
        id: String,
        time: Instant,
        prefix: &str,
        content: &[u8],
        now: Instant,
    ) -> Result<crate::model::Message> {
        let text = std::str::from_utf8(content);
        let text = text.map_err(|_| Error::invalid("data is no text in UTF-8").at_field("data"))?;
        let (kind, data) = (Some(prefix.to_owned()), Data::Json(text.to_owned()));
        let draft = Draft { id: Some(id), kind, time: Some(time.to_string()), data, ..Draft::default() };
        draft.message(&self.source, now, &self.limits)
    }

    fn changed(&mut self, oid: u32, change: Change, now: Instant) -> Result<Taken> {
        let (id, time, is_news) = self.next()?;
        let relation = self.relations.get(oid)?;
        if !self.wanted.tables.contains(&relation.full_name()) {
            return Ok(Taken::Ignored);
        }
        if !is_news {
            return Ok(Taken::Nothing);
        }
        let keys = self.wanted.keys.get(&relation.full_name());
        let draft = change.draft(relation, keys.map(Vec::as_slice), id.clone(), time)?;
        let kept = draft.data.clone();
        let read = draft.message(&self.source, now, &self.limits);
        let kept = || match kept {
            Data::Json(text) => text.into(),
            _ => serde_json::Value::Null,
        };
        Ok(Taken::Offer(Box::new(Offer::of(read, &id, kept))))
    }

    /// The first wanted table of a `truncate`; each has an event of its own.
    fn truncated(&mut self, oids: &[u32], now: Instant) -> Result<Taken> {
        let (id, time, is_news) = self.next()?;
        let mut tables = Vec::new();
        for oid in oids {
            let name = self.relations.get(*oid)?.full_name();
            tables.extend(Some(name).filter(|name| self.wanted.tables.contains(name)));
        }
        let Some(first) = tables.first().filter(|_| is_news) else { return Ok(Taken::Ignored) };
        let data = serde_json::json!({ "tables": tables }).to_string();
        let draft = Draft {
            id: Some(id.clone()),
            kind: Some(format!("{first}.truncated")),
            subject: Some(first.clone()),
            key: Some(first.clone()),
            time: Some(time.to_string()),
            data: Data::Json(data),
            ..Draft::default()
        };
        let read = draft.message(&self.source, now, &self.limits);
        Ok(Taken::Offer(Box::new(Offer::of(read, &id, || serde_json::Value::Null))))
    }
}

/// What happened to a row.
pub(super) enum Change {
    /// It was there when the copy was made.
    Copied(Tuple),
    Inserted(Tuple),
    Updated(Option<Old>, Tuple),
    Deleted(Old),
}

impl Change {
    fn verb(&self) -> &'static str {
        match self {
            Change::Copied(_) | Change::Inserted(_) => "inserted",
            Change::Updated(..) => "updated",
            Change::Deleted(_) => "deleted",
        }
    }

    /// The event of a change: the new row, the old one as far as it is known, and which columns were not sent.
    pub(super) fn draft(self, relation: &Relation, key: Option<&[String]>, id: String, time: Instant) -> Result<Draft> {
        let verb = self.verb();
        let copied = matches!(self, Change::Copied(_));
        let (old, new) = match self {
            Change::Copied(new) | Change::Inserted(new) => (None, Some(new)),
            Change::Updated(old, new) => (old, Some(new)),
            Change::Deleted(old) => (Some(old), None),
        };
        let key = ordering_key(relation, key, new.as_ref(), old.as_ref());
        let mut data = format!("{{\"table\":{}", serde_json::Value::from(relation.full_name()));
        if let Some(new) = &new {
            let written = row(relation, new, false)?;
            data.push_str(&format!(",\"new\":{}", written.json));
            if !written.unchanged.is_empty() {
                data.push_str(&format!(",\"unchanged\":{}", serde_json::json!(written.unchanged)));
            }
        }
        match &old {
            Some(Old::Key(old)) => data.push_str(&format!(",\"old\":{}", row(relation, old, true)?.json)),
            Some(Old::Row(old)) => data.push_str(&format!(",\"old\":{}", row(relation, old, false)?.json)),
            None => {}
        }
        data.push('}');
        let copied = copied.then(|| ("snapshot".to_owned(), "true".to_owned()));
        Ok(Draft {
            id: Some(id),
            kind: Some(format!("{}.{verb}", relation.full_name())),
            subject: Some(relation.full_name()),
            key: Some(key),
            time: Some(time.to_string()),
            data: Data::Json(data),
            extensions: copied.into_iter().collect::<BTreeMap<_, _>>(),
            ..Draft::default()
        })
    }
}

/// What keeps changes of one row in order: the chosen columns or the primary key; where neither is known, the table. A
/// change of the key itself is kept in order with what was before it.
fn ordering_key(relation: &Relation, chosen: Option<&[String]>, new: Option<&Tuple>, old: Option<&Old>) -> String {
    let table = relation.full_name();
    let indexes: Vec<usize> = match chosen {
        Some(names) => {
            let place = |name: &String| relation.columns.iter().position(|column| column.name == *name);
            names.iter().filter_map(place).collect()
        }
        // All columns are said to be the key then.
        None if relation.identity == Identity::Full => Vec::new(),
        None => relation.key().collect(),
    };
    let old = old.map(|old| match old {
        Old::Key(row) | Old::Row(row) => row,
    });
    let value = |index: usize| {
        let cell = |row: Option<&Tuple>| match row.and_then(|row| row.get(index)) {
            Some(Cell::Text(text)) => Some(text.clone()),
            _ => None,
        };
        cell(old).or_else(|| cell(new))
    };
    let values: Vec<String> = indexes.into_iter().filter_map(value).collect();
    match values.is_empty() {
        true => table,
        false => format!("{table}:{}", values.join(":")),
    }
}

#[cfg(test)]
mod tests;

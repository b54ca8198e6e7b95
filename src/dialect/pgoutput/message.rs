//! Messages of the plugin.

use super::bytes::Bytes;
use super::lsn::Lsn;
use super::relation::{Column, Identity, Relation};
use crate::model::{Instant, Result};

/// Which version of the plugin's protocol was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    One,
    /// Transactions are sent while they run.
    Two,
    /// Transactions in two phases.
    Three,
    /// Aborts of streamed transactions say where.
    Four,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    /// A large value that the change did not touch: the server does not send it, and it is not null.
    Unchanged,
    Text(String),
    Binary(Vec<u8>),
}

pub type Tuple = Vec<Cell>;

/// What an update or delete says of the row before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Old {
    /// The columns of the key; all others are null.
    Key(Tuple),
    /// The whole row.
    Row(Tuple),
}

/// A message. `xid` of a change is that of the running transaction that it is streamed for, if it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Begin { commit: Lsn, at: Instant, xid: u32 },
    Commit { commit: Lsn, end: Lsn, at: Instant },
    Origin { commit: Lsn, name: String },
    Relation { xid: Option<u32>, relation: Relation },
    Type { xid: Option<u32>, oid: u32, namespace: String, name: String },
    Insert { xid: Option<u32>, relation: u32, new: Tuple },
    Update { xid: Option<u32>, relation: u32, old: Option<Old>, new: Tuple },
    Delete { xid: Option<u32>, relation: u32, old: Old },
    Truncate { xid: Option<u32>, relations: Vec<u32>, cascade: bool, restart_identity: bool },
    Logical { xid: Option<u32>, transactional: bool, at: Lsn, prefix: String, content: Vec<u8> },
    StreamStart { xid: u32, first: bool },
    StreamStop,
    StreamCommit { xid: u32, commit: Lsn, end: Lsn, at: Instant },
    StreamAbort { xid: u32, subxid: u32, at: Option<(Lsn, Instant)> },
    BeginPrepare(Prepared),
    Prepare(Prepared),
    StreamPrepare(Prepared),
    CommitPrepared { commit: Lsn, end: Lsn, at: Instant, xid: u32, gid: String },
    RollbackPrepared { prepare_end: Lsn, end: Lsn, prepared_at: Instant, at: Instant, xid: u32, gid: String },
}

/// A transaction that was prepared.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub prepare: Lsn,
    pub end: Lsn,
    pub at: Instant,
    pub xid: u32,
    pub gid: String,
}

/// Reads messages of one session.
#[derive(Clone, Debug)]
pub struct Decoder {
    protocol: Protocol,
    /// Between the start and the stop of a stream changes carry the number of their transaction.
    in_stream: bool,
}

impl Decoder {
    pub fn new(protocol: Protocol) -> Decoder {
        Decoder { protocol, in_stream: false }
    }

    /// Reads one message. A tag of a version that was not asked for is an error: it cannot be skipped without loss.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Message> {
        let mut bytes = Bytes::new(bytes, "tag");
        let tag = bytes.byte()?;
        let since = version(tag);
        if since.is_none_or(|since| since > self.protocol) {
            let asked = self.protocol as u8 + 1;
            return Err(bytes.wrong(format!("tag {:?} is none of protocol {asked}", char::from(tag))));
        }
        let bytes = bytes.of(name(tag));
        let message = match tag {
            b'B' | b'C' | b'O' => transaction(tag, bytes)?,
            b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M' => self.change(tag, bytes)?,
            b'S' | b'E' | b'c' | b'A' => self.stream(tag, bytes)?,
            _ => two_phase(tag, bytes)?,
        };
        match message {
            Message::StreamStart { .. } => self.in_stream = true,
            Message::StreamStop => self.in_stream = false,
            _ => {}
        }
        Ok(message)
    }

    fn change(&self, tag: u8, mut bytes: Bytes<'_>) -> Result<Message> {
        let xid = if self.in_stream { Some(bytes.u32()?) } else { None };
        let message = match tag {
            b'R' => Message::Relation { xid, relation: relation(&mut bytes)? },
            b'Y' => Message::Type { xid, oid: bytes.u32()?, namespace: bytes.text()?, name: bytes.text()? },
            b'I' => {
                let relation = bytes.u32()?;
                Message::Insert { xid, relation, new: new(&mut bytes)? }
            }
            b'U' => update(xid, &mut bytes)?,
            b'D' => {
                let relation = bytes.u32()?;
                let kind = bytes.byte()?;
                let old = old(kind, &mut bytes)?.ok_or_else(|| bytes.wrong("it does not say which row"))?;
                Message::Delete { xid, relation, old }
            }
            b'T' => truncate(xid, &mut bytes)?,
            _ => {
                let transactional = bytes.byte()? & 1 == 1;
                let (at, prefix) = (bytes.lsn()?, bytes.text()?);
                Message::Logical { xid, transactional, at, prefix, content: bytes.counted()?.to_vec() }
            }
        };
        bytes.end()?;
        Ok(message)
    }

    fn stream(&self, tag: u8, mut bytes: Bytes<'_>) -> Result<Message> {
        let message = match tag {
            b'S' => Message::StreamStart { xid: bytes.u32()?, first: bytes.byte()? != 0 },
            b'E' => Message::StreamStop,
            b'c' => {
                let xid = bytes.u32()?;
                bytes.byte()?;
                Message::StreamCommit { xid, commit: bytes.lsn()?, end: bytes.lsn()?, at: bytes.time()? }
            }
            _ => {
                let (xid, subxid) = (bytes.u32()?, bytes.u32()?);
                let says_where = self.protocol >= Protocol::Four && bytes.left() > 0;
                let at = if says_where { Some((bytes.lsn()?, bytes.time()?)) } else { None };
                Message::StreamAbort { xid, subxid, at }
            }
        };
        bytes.end()?;
        Ok(message)
    }
}

/// The protocol that a tag came with.
fn version(tag: u8) -> Option<Protocol> {
    match tag {
        b'B' | b'C' | b'O' | b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M' => Some(Protocol::One),
        b'S' | b'E' | b'c' | b'A' => Some(Protocol::Two),
        b'b' | b'P' | b'K' | b'r' | b'p' => Some(Protocol::Three),
        _ => None,
    }
}

fn name(tag: u8) -> &'static str {
    match tag {
        b'B' => "begin",
        b'C' => "commit",
        b'O' => "origin",
        b'R' => "relation",
        b'Y' => "type",
        b'I' => "insert",
        b'U' => "update",
        b'D' => "delete",
        b'T' => "truncate",
        b'M' => "message",
        b'S' => "stream start",
        b'E' => "stream stop",
        b'c' => "stream commit",
        b'A' => "stream abort",
        _ => "two-phase",
    }
}

fn transaction(tag: u8, mut bytes: Bytes<'_>) -> Result<Message> {
    let message = match tag {
        b'B' => Message::Begin { commit: bytes.lsn()?, at: bytes.time()?, xid: bytes.u32()? },
        b'C' => {
            bytes.byte()?;
            Message::Commit { commit: bytes.lsn()?, end: bytes.lsn()?, at: bytes.time()? }
        }
        _ => Message::Origin { commit: bytes.lsn()?, name: bytes.text()? },
    };
    bytes.end()?;
    Ok(message)
}

fn two_phase(tag: u8, mut bytes: Bytes<'_>) -> Result<Message> {
    if tag != b'b' {
        // Flags that say nothing yet.
        bytes.byte()?;
    }
    let message = match tag {
        b'K' => {
            let (commit, end, at) = (bytes.lsn()?, bytes.lsn()?, bytes.time()?);
            Message::CommitPrepared { commit, end, at, xid: bytes.u32()?, gid: bytes.text()? }
        }
        b'r' => {
            let (prepare_end, end) = (bytes.lsn()?, bytes.lsn()?);
            let (prepared_at, at) = (bytes.time()?, bytes.time()?);
            Message::RollbackPrepared { prepare_end, end, prepared_at, at, xid: bytes.u32()?, gid: bytes.text()? }
        }
        tag => {
            let (prepare, end, at) = (bytes.lsn()?, bytes.lsn()?, bytes.time()?);
            let prepared = Prepared { prepare, end, at, xid: bytes.u32()?, gid: bytes.text()? };
            match tag {
                b'b' => Message::BeginPrepare(prepared),
                b'P' => Message::Prepare(prepared),
                _ => Message::StreamPrepare(prepared),
            }
        }
    };
    bytes.end()?;
    Ok(message)
}

fn relation(bytes: &mut Bytes<'_>) -> Result<Relation> {
    let (oid, namespace, name) = (bytes.u32()?, bytes.text()?, bytes.text()?);
    let identity = match bytes.byte()? {
        b'd' => Identity::Default,
        b'n' => Identity::Nothing,
        b'f' => Identity::Full,
        b'i' => Identity::Index,
        other => return Err(bytes.wrong(format!("unknown replica identity {other:#04x}"))),
    };
    let count = bytes.columns()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let is_key = bytes.byte()? & 1 == 1;
        columns.push(Column { is_key, name: bytes.text()?, type_oid: bytes.u32()?, typmod: bytes.i32()? });
    }
    let namespace = if namespace.is_empty() { "pg_catalog".to_owned() } else { namespace };
    Ok(Relation { oid, namespace, name, identity, columns })
}

fn update(xid: Option<u32>, bytes: &mut Bytes<'_>) -> Result<Message> {
    let relation = bytes.u32()?;
    let kind = bytes.byte()?;
    if kind == b'N' {
        return Ok(Message::Update { xid, relation, old: None, new: tuple(bytes)? });
    }
    let old = old(kind, bytes)?;
    Ok(Message::Update { xid, relation, old, new: new(bytes)? })
}

fn new(bytes: &mut Bytes<'_>) -> Result<Tuple> {
    match bytes.byte()? {
        b'N' => tuple(bytes),
        other => Err(bytes.wrong(format!("a new row was expected, not {other:#04x}"))),
    }
}

fn old(kind: u8, bytes: &mut Bytes<'_>) -> Result<Option<Old>> {
    match kind {
        b'K' => Ok(Some(Old::Key(tuple(bytes)?))),
        b'O' => Ok(Some(Old::Row(tuple(bytes)?))),
        other => Err(bytes.wrong(format!("an old row was expected, not {other:#04x}"))),
    }
}

fn tuple(bytes: &mut Bytes<'_>) -> Result<Tuple> {
    let count = bytes.columns()?;
    let mut cells = Vec::new();
    for _ in 0..count {
        cells.push(match bytes.byte()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let text = bytes.counted()?;
                Cell::Text(bytes.utf8(text)?)
            }
            b'b' => Cell::Binary(bytes.counted()?.to_vec()),
            other => return Err(bytes.wrong(format!("unknown form of a value {other:#04x}"))),
        });
    }
    Ok(cells)
}

fn truncate(xid: Option<u32>, bytes: &mut Bytes<'_>) -> Result<Message> {
    let count = bytes.i32()?;
    let options = bytes.byte()?;
    if !bytes.left().is_multiple_of(4) || usize::try_from(count) != Ok(bytes.left() / 4) {
        return Err(bytes.wrong("it does not hold as many tables as it says"));
    }
    let mut relations = Vec::new();
    while bytes.left() > 0 {
        relations.push(bytes.u32()?);
    }
    Ok(Message::Truncate { xid, relations, cascade: options & 1 != 0, restart_identity: options & 2 != 0 })
}

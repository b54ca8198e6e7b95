//! Frames inside of CopyData: what the server sends, and what a client confirms.

use super::bytes::Bytes;
use super::lsn::Lsn;
use crate::model::{Instant, Result};

/// 2000-01-01T00:00:00Z in microseconds since 1970: where PostgreSQL's time begins.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What the server sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame<'a> {
    /// A message of the plugin.
    Data { start: Lsn, end: Lsn, at: Instant, message: &'a [u8] },
    /// The server is alive, has sent everything up to `end`, and may want an answer.
    Alive { end: Lsn, at: Instant, wants_reply: bool },
}

/// Reads a frame.
pub fn frame(bytes: &[u8]) -> Result<Frame<'_>> {
    let mut bytes = Bytes::new(bytes, "frame");
    match bytes.byte()? {
        b'w' => {
            let (start, end, at) = (bytes.lsn()?, bytes.lsn()?, bytes.time()?);
            Ok(Frame::Data { start, end, at, message: bytes.rest() })
        }
        b'k' => {
            let (end, at, wants_reply) = (bytes.lsn()?, bytes.time()?, bytes.byte()? != 0);
            bytes.end()?;
            Ok(Frame::Alive { end, at, wants_reply })
        }
        other => Err(bytes.wrong(format!("unknown kind {other:#04x}"))),
    }
}

/// How far a client is. The server keeps its log from `flushed` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    pub written: Lsn,
    pub flushed: Lsn,
    pub applied: Lsn,
    pub at: Instant,
    pub wants_reply: bool,
}

impl Status {
    /// Everything up to `stored` is durable here.
    pub fn stored(stored: Lsn, at: Instant) -> Status {
        Status { written: stored, flushed: stored, applied: stored, at, wants_reply: false }
    }

    pub fn encode(&self) -> [u8; 34] {
        let mut bytes = [0; 34];
        bytes[0] = b'r';
        let micros = self.at.0.saturating_sub(POSTGRES_EPOCH_MICROS);
        let numbers = [self.written.0, self.flushed.0, self.applied.0].map(u64::to_be_bytes);
        for (place, number) in bytes[1..33].chunks_exact_mut(8).zip(numbers.iter().chain([&micros.to_be_bytes()])) {
            place.copy_from_slice(number);
        }
        bytes[33] = u8::from(self.wants_reply);
        bytes
    }
}

//! Bytes from the wire, taken one value after the other. Whatever comes, it is a value or an error.

use crate::model::{Error, Instant, Result};

use super::frame::POSTGRES_EPOCH_MICROS;
use super::lsn::Lsn;

/// What is left of a message.
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
    /// What is being read, for errors.
    of: &'static str,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8], of: &'static str) -> Bytes<'a> {
        Bytes { rest: bytes, of }
    }

    pub(super) fn of(mut self, of: &'static str) -> Bytes<'a> {
        self.of = of;
        self
    }

    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::transient(format!("a replication message ({}) cannot be read: {what}", self.of))
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.wrong("it is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.wrong("it is cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn> {
        Ok(Lsn(u64::from_be_bytes(self.array()?)))
    }

    pub(super) fn time(&mut self) -> Result<Instant> {
        Ok(Instant(i64::from_be_bytes(self.array()?).saturating_add(POSTGRES_EPOCH_MICROS)))
    }

    /// A number of columns.
    pub(super) fn columns(&mut self) -> Result<usize> {
        let count = i16::from_be_bytes(self.array()?);
        usize::try_from(count).map_err(|_| self.wrong("a negative number of columns"))
    }

    /// A length and as many bytes.
    pub(super) fn counted(&mut self) -> Result<&'a [u8]> {
        let length = self.i32()?;
        let length = usize::try_from(length).map_err(|_| self.wrong("a negative length"))?;
        self.take(length)
    }

    /// Text up to a NUL.
    pub(super) fn text(&mut self) -> Result<String> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.wrong("a name has no end"))?;
        let text = self.take(end)?;
        self.take(1)?;
        self.utf8(text)
    }

    pub(super) fn utf8(&self, bytes: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.wrong("text that is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.wrong(format!("{left} bytes too many"))),
        }
    }
}

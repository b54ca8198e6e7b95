//! Idempotency keys: a request that is sent again under its key is answered as the first time, and another request under
//! the key is refused. What is remembered is written by the commit that the request caused.

use sha2::{Digest, Sha256};

use crate::model::hex;
use crate::model::{Change, Error, Instant, Result};

/// Names of places under which keys are remembered begin with it.
pub(super) const PREFIX: &str = "idempotency:";

const KEY_BYTES_MAX: usize = 255;

/// A key with the request that it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    name: String,
    request: String,
}

impl Once {
    /// `scope`: whose key, and for what: the same key of another caller or another kind of request is another key.
    pub fn new(scope: &[&str], key: &str, request: &[&[u8]]) -> Result<Once> {
        let printable = key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !printable {
            let error = Error::invalid(format!("an idempotency key has 1 to {KEY_BYTES_MAX} printable characters"));
            return Err(error.at_field("Idempotency-Key").hint("a UUID for each request is a good one"));
        }
        let scoped = scope.iter().map(|part| part.as_bytes()).chain([key.as_bytes()]);
        let name = format!("{PREFIX}{}", digest(scoped));
        Ok(Once { name, request: digest(request.iter().copied()) })
    }

    /// The place that remembers the key.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is written beside the request's own changes. `message`: the source and the id of its message, where the
    /// request does not say them. `known`: a time that has passed is remembered of the key.
    pub(super) fn change(&self, now: Instant, message: Option<(&str, &str)>, known: bool) -> Change {
        let (source, id) = message.unwrap_or_default();
        let (name, place) = (self.name.clone(), format!("{} {} {source} {id}", self.request, now.0));
        match known {
            true => Change::Stand { name, place },
            false => Change::StandFirst { name, place },
        }
    }

    /// What is remembered of the key; `None` when its time has passed. Another request under the same key is a
    /// `Conflict`.
    pub(super) fn remembered(&self, place: &str, now: Instant, hours: u32) -> Result<Option<Remembered>> {
        let mut parts = place.splitn(4, ' ');
        let mut part = || parts.next().unwrap_or_default();
        let (request, at, source, id) = (part(), part(), part(), part());
        let at = Instant(at.parse().unwrap_or_default());
        if at.plus_seconds(i64::from(hours) * 3_600) <= now {
            return Ok(None);
        }
        if request != self.request {
            let error = Error::conflict("another request was sent under this idempotency key");
            return Err(error.at_field("Idempotency-Key").hint("give each request a key of its own"));
        }
        let message = (!id.is_empty()).then(|| (source.to_string(), id.to_string()));
        Ok(Some(Remembered { at, message }))
    }
}

/// The first request under a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// When it was committed.
    pub(super) at: Instant,
    /// Source and id of its message, where the request does not say them.
    pub(super) message: Option<(String, String)>,
}

fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    fn place(once: &Once, message: Option<(&str, &str)>) -> String {
        match once.change(Instant(5_000_000), message, false) {
            Change::StandFirst { place, .. } => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_remembered_with_its_request_for_its_time() {
        let once = |scope: &str, key: &str, body: &[u8]| Once::new(&[scope], key, &[body]).unwrap();
        let first = once("ann", "k", b"1");
        assert_ne!(first.name(), once("bob", "k", b"1").name());
        assert_ne!(first.name(), once("ann", "l", b"1").name());
        assert_eq!(first.name(), once("ann", "k", b"2").name());
        let kept = place(&first, Some(("/vouchers/erp", "V1 a:1")));
        let later = |seconds| Instant(5_000_000).plus_seconds(seconds);
        let remembered = first.remembered(&kept, later(3_599), 1).unwrap().unwrap();
        assert_eq!(remembered.message, Some(("/vouchers/erp".to_string(), "V1 a:1".to_string())));
        assert_eq!(remembered.at, Instant(5_000_000));
        assert_eq!(first.remembered(&kept, later(3_600), 1).unwrap(), None);
        let other = once("ann", "k", b"2").remembered(&kept, later(1), 1).unwrap_err();
        assert_eq!((other.kind(), other.field()), (ErrorKind::Conflict, Some("Idempotency-Key")));
        let plain = first.remembered(&place(&first, None), later(1), 1).unwrap().unwrap();
        assert_eq!(plain.message, None);
    }

    #[test]
    fn a_key_is_a_short_printable_text() {
        for key in ["", "a\nb", "schlüssel", &"k".repeat(256)] {
            assert_eq!(Once::new(&[], key, &[]).unwrap_err().field(), Some("Idempotency-Key"), "{key:?}");
        }
        assert!(Once::new(&[], &"k".repeat(255), &[]).is_ok());
    }
}

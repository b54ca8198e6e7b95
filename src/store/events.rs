//! What published events, series, cursors and duties mean in every store, whatever the engine underneath: pure decisions
//! that both share.

use serde_json::{Value, json};

use crate::model::{Error, Instant, Lease, Message, Offered, Published, Received, Result};

/// The attributes that the event log tells of a message; never its content.
pub fn published_data(message: &Message) -> Value {
    json!({
        "id": message.id, "source": message.source, "type": message.kind, "subject": message.subject,
        "key": message.key,
    })
}

/// What a message is that has the source and id of event `known`.
pub fn offered_again(message: &Message, known: u64, digest: &str, expect_new: bool) -> Result<Published> {
    if expect_new {
        let error = Error::conflict(format!("event {known} has source {:?} and id {:?}", message.source, message.id));
        return Err(error.hint("give each event an id of its own"));
    }
    let was = if message.digest() == digest { Offered::Same } else { Offered::Different };
    Ok(Published { event: known, was })
}

/// The last number of a series after `count` more; `last`: the one until now.
pub fn numbered(series: &str, last: u64, first: u64, count: u64) -> Result<u64> {
    if first != last + 1 {
        let error = Error::conflict(format!("the next number of {series} is {}, not {first}", last + 1));
        return Err(error.hint("ask for the next number again"));
    }
    Ok(last.saturating_add(count))
}

/// Whether a cursor may move; `stands`: where it is.
pub fn check_advance(cursor: &str, stands: u64, from: u64, to: u64) -> Result<()> {
    if stands != from {
        let error = Error::conflict(format!("cursor {cursor} stands at event {stands}, not at {from}"));
        return Err(error.hint("another process went on with it; read it again"));
    }
    match to < from {
        true => Err(Error::bug(format!("cursor {cursor} would go back from {from} to {to}"))),
        false => Ok(()),
    }
}

/// A webhook takes each message in once.
pub fn received_already(received: &Received) -> Error {
    let Received { inbound, source, id, .. } = received;
    Error::conflict(format!("the webhook {inbound} has taken in source {source:?} and id {id:?} already"))
}

/// Somebody else was quicker.
pub fn not_waiting(received: &Received) -> Error {
    let Received { inbound, source, id, .. } = received;
    Error::conflict(format!("source {source:?} and id {id:?} do not wait at the webhook {inbound}"))
}

/// Whether a name got its first place.
pub fn stood_first(name: &str, written: bool) -> Result<()> {
    match written {
        true => Ok(()),
        false => Err(Error::conflict(format!("{name} has a place already")).hint("read it again")),
    }
}

/// A duty as it is stored.
pub struct Held {
    pub fence: i64,
    pub worker: String,
    pub until: Instant,
    /// Its lease has not ended.
    pub lasts: bool,
}

/// The fence of whoever takes a duty.
pub fn duty_taken(duty: &str, held: Option<&Held>, lease: &Lease) -> Result<i64> {
    match held {
        Some(held) if held.lasts && held.worker != lease.worker => {
            let message = format!("{} has the duty {duty} until {}", held.worker, held.until);
            Err(Error::conflict(message).hint("it is taken over by itself when that process is gone"))
        }
        _ => Ok(held.map_or(0, |held| held.fence) + 1),
    }
}

/// Whether a duty is still that of whoever holds `fence`.
pub fn check_duty(duty: &str, held: Option<&Held>, fence: i64) -> Result<()> {
    match held.is_some_and(|held| held.fence == fence) {
        true => Ok(()),
        false => Err(Error::conflict(format!("the duty {duty} was taken over by another process"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[test]
    fn numbers_follow_each_other() {
        for (last, first, count, expected) in [
            (0, 1, 1, Some(1)),
            (0, 1, 3, Some(3)),
            (3, 4, 1, Some(4)),
            (3, 3, 1, None),
            (3, 5, 1, None),
            (0, 0, 1, None),
        ] {
            assert_eq!(numbered("v", last, first, count).ok(), expected, "{last} {first}");
        }
    }

    #[test]
    fn a_cursor_moves_from_where_it_stands_and_never_back() {
        assert!(check_advance("c", 3, 3, 9).is_ok() && check_advance("c", 3, 3, 3).is_ok());
        assert_eq!(check_advance("c", 3, 2, 9).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(check_advance("c", 3, 3, 2).unwrap_err().kind(), ErrorKind::Bug);
    }

    #[test]
    fn a_duty_is_taken_when_it_is_free_and_kept_by_its_fence() {
        let held = |lasts| Held { fence: 4, worker: "a".into(), until: Instant(9), lasts };
        let by = |worker: &str| Lease { worker: worker.into(), until: Instant(99) };
        assert_eq!(duty_taken("d", None, &by("b")).unwrap(), 1);
        assert_eq!(duty_taken("d", Some(&held(false)), &by("b")).unwrap(), 5);
        assert_eq!(duty_taken("d", Some(&held(true)), &by("a")).unwrap(), 5);
        assert!(duty_taken("d", Some(&held(true)), &by("b")).is_err());
        assert!(check_duty("d", Some(&held(false)), 4).is_ok() && check_duty("d", Some(&held(true)), 3).is_err());
        assert!(check_duty("d", None, 0).is_err());
    }
}

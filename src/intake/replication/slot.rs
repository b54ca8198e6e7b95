//! Slots: what is found of one, what was remembered of it, and what follows. A slot that is gone is never made anew in
//! silence: what was written meanwhile would be lost.

use std::fmt;

use crate::dialect::pgoutput::Lsn;
use crate::model::{Error, Result};

/// Where an intake stands in the log of a server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// The server's own identifier: another server has another log.
    pub(super) system: String,
    pub(super) at: At,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum At {
    /// A person has decided to begin again where the server is now.
    Anew,
    /// The rows that the tables hold are being copied.
    Copying,
    /// Everything up to here is stored.
    Stored(Lsn),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::Anew => f.write_str(BEGIN_ANEW),
            At::Copying => write!(f, "{} copying", self.system),
            At::Stored(lsn) => write!(f, "{} {lsn}", self.system),
        }
    }
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Place> {
        if text == BEGIN_ANEW {
            return Ok(Place { system: String::new(), at: At::Anew });
        }
        let unreadable = || Error::invalid("the place of the intake in the server's log cannot be read").hint(ANEW);
        let (system, at) = text.split_once(' ').ok_or_else(unreadable)?;
        let at = match at {
            "copying" => At::Copying,
            lsn => At::Stored(lsn.parse().map_err(|_| unreadable())?),
        };
        Ok(Place { system: system.to_owned(), at })
    }
}

/// A slot as the server shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) plugin: String,
    pub(super) database: String,
    pub(super) active: bool,
    /// The server has thrown away what the slot needs.
    pub(super) lost: bool,
    pub(super) confirmed: Lsn,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Begin {
    /// Make the slot, and copy the tables if that is wanted.
    Create,
    /// A copy was broken off: drop the slot and begin again.
    CreateAgain,
    /// Go on from here; `gap`: what was confirmed beyond it by somebody else, and will not come.
    From { at: Lsn, gap: Option<Lsn> },
}

/// What follows from a slot and from what is remembered.
pub(super) fn begin(name: &str, seen: Option<&Seen>, place: Option<&Place>, system: &str, here: &str) -> Result<Begin> {
    let anew = place.is_some_and(|place| place.at == At::Anew);
    if let Some(place) = place.filter(|place| place.system != system && !anew) {
        let message = format!("the server is another one than before (it was {}, it is {system})", place.system);
        return Err(Error::invalid(message).hint(ANEW));
    }
    let at = place.map(|place| place.at);
    let Some(seen) = seen else {
        return match at {
            None | Some(At::Anew | At::Copying) => Ok(Begin::Create),
            Some(At::Stored(lsn)) => {
                let message = format!("the slot {name} is gone; everything up to {lsn} was taken");
                Err(Error::not_found(message).hint(ANEW))
            }
        };
    };
    if seen.plugin != "pgoutput" || seen.database != here {
        let message = format!("the slot {name} is one of {} in the database {}", seen.plugin, seen.database);
        return Err(Error::invalid(message).hint("name another slot under `replication.slot`"));
    }
    if seen.lost && !anew {
        let message = format!("the server has thrown away the log that the slot {name} needs");
        return Err(Error::invalid(message).hint(ANEW));
    }
    match at {
        Some(At::Anew | At::Copying) => Ok(Begin::CreateAgain),
        Some(At::Stored(at)) => Ok(Begin::From { at, gap: Some(seen.confirmed).filter(|confirmed| *confirmed > at) }),
        None => Ok(Begin::From { at: seen.confirmed, gap: None }),
    }
}

/// The place of an intake that a person lets begin again.
pub(in crate::intake) const BEGIN_ANEW: &str = "anew";

/// The remedy for what is gone.
const ANEW: &str = "what was written since may be lost: `tidegate intake resume NAME --anew` begins again where the server \
                    is now (with `snapshot` it copies the tables first), and `tidegate reconcile` finds what is missing";

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let (plugin, database) = ("pgoutput".to_owned(), "sales".to_owned());
        Seen { plugin, database, active: false, lost: false, confirmed: Lsn(100) }
    }

    fn place(at: At) -> Place {
        Place { system: "7".to_owned(), at }
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        let anew = Place { system: String::new(), at: At::Anew };
        for place in [anew, place(At::Copying), place(At::Stored(Lsn(0x1_0000_00ff)))] {
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
        for text in ["", "7", "7 x", "7 0/0 0/0"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_follows_from_a_slot_and_from_what_is_remembered() {
        let stored = |lsn| Some(place(At::Stored(Lsn(lsn))));
        let from = |at, gap: Option<u64>| Begin::From { at: Lsn(at), gap: gap.map(Lsn) };
        for (slot, remembered, expected) in [
            (None, None, Begin::Create),
            (None, Some(place(At::Copying)), Begin::Create),
            (Some(seen()), Some(place(At::Copying)), Begin::CreateAgain),
            (Some(seen()), None, from(100, None)),
            (None, Some(place(At::Anew)), Begin::Create),
            (Some(Seen { lost: true, ..seen() }), Some(place(At::Anew)), Begin::CreateAgain),
            (Some(seen()), stored(100), from(100, None)),
            (Some(seen()), stored(200), from(200, None)),
            (Some(seen()), stored(99), from(99, Some(100))),
        ] {
            let found = begin("s", slot.as_ref(), remembered.as_ref(), "7", "sales").unwrap();
            assert_eq!(found, expected, "{slot:?} {remembered:?}");
        }
    }

    #[test]
    fn what_is_gone_is_an_error_with_a_remedy_and_never_made_anew() {
        let stored = place(At::Stored(Lsn(1)));
        for (slot, remembered, system, expected) in [
            (None, Some(&stored), "7", "the slot s is gone; everything up to 0/1 was taken"),
            (Some(Seen { lost: true, ..seen() }), Some(&stored), "7", "has thrown away the log that the slot s needs"),
            (Some(Seen { lost: true, ..seen() }), None, "7", "has thrown away the log"),
            (Some(Seen { plugin: "wal2json".into(), ..seen() }), None, "7", "the slot s is one of wal2json"),
            (Some(Seen { database: "other".into(), ..seen() }), None, "7", "in the database other"),
            (Some(seen()), Some(&stored), "8", "the server is another one than before"),
        ] {
            let error = begin("s", slot.as_ref(), remembered, system, "sales").unwrap_err();
            assert!(error.to_string().contains(expected) && error.hint_text().is_some(), "{error}");
        }
    }
}

//! Where a reader of the mode `cursor` stands: everything before `from` is done, what lies before `to` is being read.

use std::fmt;

use crate::model::{Error, Result};

/// A window of transactions, and how far its rows have been read, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Order and id of the last row that was taken of the window.
    pub(super) after: Option<(String, String)>,
}

impl Place {
    /// Nothing is left to read in the window.
    pub(super) fn is_done(&self) -> bool {
        self.from == self.to
    }

    /// Every transaction before `horizon` is over: the window reaches up to it. Whether it holds anything new.
    pub(super) fn open(&mut self, horizon: u64) -> bool {
        if horizon <= self.from {
            return false;
        }
        (self.to, self.after) = (horizon, None);
        true
    }

    /// The window has been read.
    pub(super) fn close(&mut self) {
        (self.from, self.after) = (self.to, None);
    }

    pub(super) fn parse(text: &str) -> Result<Place> {
        let unreadable = || {
            Error::invalid("the place of the intake in its outbox cannot be read")
                .hint("remove the intake and add it again under the same source: what is known is not published twice")
        };
        let (from, to, after): (u64, u64, Option<(String, String)>) =
            serde_json::from_str(text).map_err(|_| unreadable())?;
        match from <= to {
            true => Ok(Place { from, to, after }),
            false => Err(unreadable()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::json!([self.from, self.to, self.after]).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written_and_anything_else_is_refused() {
        let places = [
            Place::default(),
            Place { from: 700, to: 725, after: Some(("2026-01-02".into(), "7\"".into())) },
            Place { from: 725, to: 725, after: None },
        ];
        for place in places {
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
        for text in ["", "7", "[1]", "[2,1,null]", "[-1,2,null]", "[1,2,[3]]", "{}"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    /// A transaction: its number, when it commits, and the ids that it writes.
    type Transaction = (u64, u32, &'static [u32]);

    /// Reads one page as the reader does, at a moment; whether a page was read.
    fn read_page(place: &mut Place, all: &[Transaction], now: u32, page: usize, read: &mut Vec<u32>) -> bool {
        let running = all.iter().filter(|(_, commits, _)| *commits > now).map(|(number, ..)| *number);
        if place.is_done() && !place.open(running.min().unwrap_or(20)) {
            return false;
        }
        let after = place.after.as_ref().map_or(0, |(_, id)| id.parse().unwrap());
        let in_window =
            all.iter().filter(|(number, commits, _)| *commits <= now && (place.from..place.to).contains(number));
        let mut ids: Vec<u32> =
            in_window.flat_map(|(_, _, ids)| ids.iter().copied()).filter(|id| *id > after).collect();
        ids.sort_unstable();
        ids.truncate(page);
        match ids.last() {
            Some(last) if ids.len() == page => place.after = Some((String::new(), last.to_string())),
            _ => place.close(),
        }
        read.extend(ids);
        // A crash: the place is all that is remembered.
        *place = Place::parse(&place.to_string()).unwrap();
        true
    }

    #[test]
    fn whenever_transactions_commit_every_row_is_read_once() {
        let all: [Transaction; 5] = [(5, 9, &[1, 8]), (6, 2, &[2]), (7, 4, &[3, 5]), (9, 6, &[6]), (11, 7, &[7])];
        for page in 1..5 {
            let (mut place, mut read) = (Place::default(), Vec::new());
            for now in 0..10 {
                while read_page(&mut place, &all, now, page, &mut read) {}
                assert!(now >= 9 || read.is_empty(), "what an open transaction may still precede is not read");
            }
            assert_eq!(read, [1, 2, 3, 5, 6, 7, 8], "in pages of {page}");
        }
        let all: [Transaction; 4] = [(5, 1, &[4]), (6, 8, &[1]), (7, 3, &[2]), (8, 9, &[3])];
        let (mut place, mut read) = (Place::default(), Vec::new());
        for now in 0..10 {
            while read_page(&mut place, &all, now, 2, &mut read) {}
        }
        assert_eq!(read, [4, 1, 2, 3], "a row with a smaller id that was committed later is not lost");
    }
}

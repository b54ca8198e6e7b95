//! What the ledger means in every store, whatever the engine underneath: pure parts that both share.

use tokio::sync::watch;

use crate::model::{Area, Dataset, Error, Exchanges, Level, Receipt, Result, RowsChange, Securities, Span};

/// One step of the ledger's shape.
pub struct Migration {
    pub number: i64,
    /// The file's name without its ending.
    pub name: &'static str,
    pub sql: &'static str,
}

/// Refuses a store whose recorded migrations (number, name, checksum, in order) are not the first of those known here.
pub fn check_migrations(known: &[Migration], recorded: &[(i64, String, String)]) -> Result<()> {
    for (number, name, recorded) in recorded {
        let Some(known) = known.iter().find(|migration| migration.number == *number) else {
            let error = Error::conflict(format!("the store has migration {name}, which this version does not know"));
            return Err(error.hint("use the newer tidegate that wrote it, or another store"));
        };
        if known.name != name || checksum(known.sql) != *recorded {
            let error = Error::conflict(format!("migration {name} of the store differs from {} here", known.name));
            return Err(error.hint("use the tidegate that wrote the store, or another store"));
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits: enough to notice an edited file.
pub fn checksum(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// How securities are kept: nothing for all of them, else their codes with commas.
pub fn securities_text(securities: &Securities) -> String {
    match securities {
        Securities::All => String::new(),
        Securities::Some(codes) => codes.iter().map(|code| &**code).collect::<Vec<_>>().join(","),
    }
}

/// Reads what `securities_text` writes.
pub fn securities_from_text(text: &str) -> Securities {
    match text {
        "" => Securities::All,
        codes => Securities::Some(codes.split(',').map(std::sync::Arc::from).collect()),
    }
}

/// What the claim of a change does not speak of; a claim over single securities speaks of them.
pub fn lacks(change: &RowsChange) -> Exchanges {
    match change.area.securities {
        Securities::All => change.lacks_exchanges.clone(),
        Securities::Some(_) => Exchanges::default(),
    }
}

/// The columns that the source of a change lacks, by name and with commas.
pub fn lacks_text(change: &RowsChange) -> String {
    let name = |index: &usize| change.dataset.columns.get(*index).map(|column| column.name.as_str());
    change.lacks.iter().filter_map(name).collect::<Vec<_>>().join(",")
}

/// Reads what `lacks_text` writes; columns that the dataset no longer has are passed over.
pub fn positions(dataset: &Dataset, lacks: &str) -> Vec<usize> {
    let names: Vec<String> = lacks.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
    dataset.positions(&names)
}

/// Which values of a row a better source gave, from its versions, the newest first: the last one whose source has a
/// column decides about it.
#[derive(Clone, Debug)]
pub struct Guard {
    columns: Vec<Option<bool>>,
    found: bool,
}

impl Guard {
    pub fn new(columns: usize) -> Guard {
        Guard { columns: vec![None; columns], found: false }
    }

    /// The next older version by a better source: which of its values are there, and which columns its source lacks.
    pub fn take(&mut self, present: &[bool], lacks: &[usize]) {
        self.found = true;
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.is_none() && !lacks.contains(&index) {
                *column = present.get(index).copied();
            }
        }
    }

    /// No older version matters.
    pub fn is_decided(&self) -> bool {
        self.columns.iter().all(Option::is_some)
    }

    /// `None` when no version is by a better source.
    pub fn into_columns(self) -> Option<Vec<bool>> {
        self.found.then(|| self.columns.into_iter().map(|column| column.unwrap_or(false)).collect())
    }
}

/// What is left of the claim over `old` beside a claim over `new`.
pub fn remainders(old: Span, new: Span) -> impl Iterator<Item = Span> {
    let before = (old.from < new.from).then(|| Span::new(old.from, new.from.previous()));
    let after = (new.to < old.to).then(|| Span::new(new.to.next(), old.to));
    before.into_iter().chain(after)
}

/// Whether two areas have a cell in common.
pub fn overlap(one: &Area, other: &Area) -> bool {
    let securities = match (&one.securities, &other.securities) {
        (Securities::Some(one), Securities::Some(other)) => !one.is_disjoint(other),
        _ => true,
    };
    securities && one.span.intersect(other.span).is_some()
}

/// A value as JSON with its keys sorted, as copies write it.
pub fn json_text(value: &impl serde::Serialize) -> Result<String> {
    let value = serde_json::to_value(value);
    Ok(value
        .map_err(|error| Error::bug("a part of the ledger cannot be written as JSON").caused_by(error))?
        .to_string())
}

/// The names of all levels from `least` on, as SQL texts parted by commas.
pub fn levels_from(least: Level) -> String {
    let names = Level::ALL.into_iter().filter(|level| *level >= least).map(|level| format!("'{}'", level.name()));
    names.collect::<Vec<_>>().join(", ")
}

/// Tells whoever waits that the log has grown.
pub fn tell(committed: &watch::Sender<u64>, receipt: &Receipt) {
    committed.send_if_modified(|last| {
        let grew = receipt.last_event > *last;
        *last = receipt.last_event.max(*last);
        grew
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Day;

    #[test]
    fn a_new_claim_leaves_what_lies_beside_it() {
        let span = |from: i32, to: i32| Span::new(Day(from), Day(to));
        for (old, new, expected) in [
            (span(1, 9), span(4, 5), vec![span(1, 3), span(6, 9)]),
            (span(1, 9), span(1, 5), vec![span(6, 9)]),
            (span(1, 9), span(5, 12), vec![span(1, 4)]),
            (span(1, 9), span(0, 9), vec![]),
            (Span::ALL, span(1, 9), vec![Span::new(Day::MIN, Day(0)), Span::new(Day(10), Day::MAX)]),
        ] {
            assert_eq!(remainders(old, new).collect::<Vec<_>>(), expected);
        }
    }
}

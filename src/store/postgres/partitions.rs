//! Partitions, made by the first commit that needs them.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use super::connection::Session;
use super::fault::Step;
use super::table::Table;
use super::values::literal;
use crate::model::Day;

/// The partitions that are known to be there, by table and first day.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    known: Mutex<HashSet<(String, Day)>>,
    /// Made or seen by a transaction that is not over.
    pending: Mutex<HashSet<(String, Day)>>,
}

impl Partitions {
    /// For one transaction: knows what `known` knows.
    pub(super) fn for_transaction(known: &Partitions) -> Partitions {
        let copy = known.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Partitions { known: Mutex::new(copy), pending: Mutex::default() }
    }

    /// Takes over what a transaction made, after it was committed.
    pub(super) fn learn(&self, made: Partitions) {
        let made = made.pending.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
    }

    /// Makes the partitions that begin on these days, where they are missing. The caller holds the lock of the table,
    /// so that two do not make the same one. A partition is made beside its table and then attached: readers of the
    /// table are not in the way.
    pub(super) async fn make(&self, session: &Session, table: &Table, starts: &BTreeSet<Day>) -> Step<()> {
        let Some(stretch) = table.stretch else { return Ok(()) };
        for start in starts {
            let entry = (table.name().to_owned(), *start);
            if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&entry) {
                continue;
            }
            let (name, from, to) = table.partition(stretch, *start);
            let exists = format!("select count(*) from pg_inherits where inhrelid = to_regclass({})", literal(&name));
            if session.ask_count(&exists).await? == 0 {
                let parent = table.quoted_name();
                session
                    .run(&format!(
                        "create table {name} (like {parent} including all); \
                         alter table {parent} attach partition {name} for values from ({from}) to ({to})"
                    ))
                    .await?;
            }
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(entry);
        }
        Ok(())
    }
}

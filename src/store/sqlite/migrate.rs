//! Migrations of the ledger: forward only, recorded with name and checksum, never edited once released.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::fault::Step;
use crate::model::{Error, Instant};
use crate::store::ledger::{Migration, check_migrations, checksum};

const MIGRATIONS: [Migration; 10] = [
    Migration { number: 1, name: "0001_ledger", sql: include_str!("../../../migrations/sqlite/0001_ledger.sql") },
    Migration {
        number: 2,
        name: "0002_several_workers",
        sql: include_str!("../../../migrations/sqlite/0002_several_workers.sql"),
    },
    Migration { number: 3, name: "0003_conflicts", sql: include_str!("../../../migrations/sqlite/0003_conflicts.sql") },
    Migration {
        number: 4,
        name: "0004_source_health",
        sql: include_str!("../../../migrations/sqlite/0004_source_health.sql"),
    },
    Migration {
        number: 5,
        name: "0005_what_sources_lack",
        sql: include_str!("../../../migrations/sqlite/0005_what_sources_lack.sql"),
    },
    Migration {
        number: 6,
        name: "0006_runs_and_definitions",
        sql: include_str!("../../../migrations/sqlite/0006_runs_and_definitions.sql"),
    },
    Migration {
        number: 7,
        name: "0007_event_gate",
        sql: include_str!("../../../migrations/sqlite/0007_event_gate.sql"),
    },
    Migration { number: 8, name: "0008_received", sql: include_str!("../../../migrations/sqlite/0008_received.sql") },
    Migration {
        number: 9,
        name: "0009_reconciliations",
        sql: include_str!("../../../migrations/sqlite/0009_reconciliations.sql"),
    },
    Migration {
        number: 10,
        name: "0010_attempts_of_differences",
        sql: include_str!("../../../migrations/sqlite/0010_attempts_of_differences.sql"),
    },
];

/// `TIDE`: tells `file` and other programs whose database this is.
const APPLICATION_ID: i64 = 0x5449_4445;

/// Brings the ledger to the newest version. A store of a newer binary, or somebody else's database, is a conflict.
pub(super) fn migrate(connection: &mut Connection, now: Instant) -> Step<()> {
    if applied_last(connection)? == MIGRATIONS.last().map_or(0, |migration| migration.number) {
        return check_recorded(connection);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last = applied_last(&transaction)?;
    check_recorded(&transaction)?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > last) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "insert into _migration (number, name, checksum, at) values (?1, ?2, ?3, ?4)",
            (migration.number, migration.name, checksum(migration.sql), now.to_string()),
        )?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    Ok(transaction.commit()?)
}

/// The number of the last migration; 0 for an empty file.
fn applied_last(connection: &Connection) -> Step<i64> {
    let tables: i64 = connection.query_row("select count(*) from sqlite_master", (), |row| row.get(0))?;
    if tables == 0 {
        return Ok(0);
    }
    let ours = "select 1 from sqlite_master where type = 'table' and name = '_migration'";
    if connection.query_row(ours, (), |_| Ok(())).optional()?.is_none() {
        let error = Error::conflict("the file is a database of another program");
        return Err(error.hint("name a file of its own for the store").into());
    }
    Ok(connection.query_row("select coalesce(max(number), 0) from _migration", (), |row| row.get(0))?)
}

fn check_recorded(connection: &Connection) -> Step<()> {
    if applied_last(connection)? == 0 {
        return Ok(());
    }
    let mut statement = connection.prepare("select number, name, checksum from _migration order by number")?;
    let recorded = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(check_migrations(&MIGRATIONS, &recorded.collect::<rusqlite::Result<Vec<_>>>()?)?)
}

#[cfg(test)]
mod tests {
    use super::super::fault::Fault;
    use super::*;
    use crate::model::ErrorKind;

    fn refusal(connection: &mut Connection) -> Error {
        match migrate(connection, Instant(0)) {
            Err(Fault::Stated(error)) => error,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn migrations_are_numbered_without_gaps_and_named_after_their_number() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.number, index as i64 + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.number)));
        }
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Instant(0)).unwrap();
        let changes = connection.total_changes();
        migrate(&mut connection, Instant(1)).unwrap();
        assert_eq!(connection.total_changes(), changes);
    }

    #[test]
    fn a_newer_store_an_edited_migration_and_a_foreign_database_are_refused() {
        for (sql, expected) in [
            ("insert into _migration values (99, '0099_future', '', '')", "0099_future, which this version"),
            ("update _migration set checksum = 'x'", "differs from 0001_ledger"),
            ("drop table _migration", "another program"),
        ] {
            let mut connection = Connection::open_in_memory().unwrap();
            migrate(&mut connection, Instant(0)).unwrap();
            connection.execute_batch(sql).unwrap();
            let error = refusal(&mut connection);
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.message().contains(expected), "{error}");
            assert!(error.hint_text().is_some());
        }
    }
}

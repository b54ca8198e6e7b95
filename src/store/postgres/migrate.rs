//! Migrations of the ledger: forward only, recorded with name and checksum, never edited once released.

use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, literal, lock_number, quoted};
use crate::model::{Error, Instant};
use crate::store::ledger::{Migration, check_migrations, checksum};

/// The same numbers and names as in `migrations/sqlite`.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "0001_ledger", sql: include_str!("../../../migrations/postgres/0001_ledger.sql") },
    Migration {
        number: 2,
        name: "0002_several_workers",
        sql: include_str!("../../../migrations/postgres/0002_several_workers.sql"),
    },
    Migration {
        number: 3,
        name: "0003_conflicts",
        sql: include_str!("../../../migrations/postgres/0003_conflicts.sql"),
    },
    Migration {
        number: 4,
        name: "0004_source_health",
        sql: include_str!("../../../migrations/postgres/0004_source_health.sql"),
    },
    Migration {
        number: 5,
        name: "0005_what_sources_lack",
        sql: include_str!("../../../migrations/postgres/0005_what_sources_lack.sql"),
    },
    Migration {
        number: 6,
        name: "0006_runs_and_definitions",
        sql: include_str!("../../../migrations/postgres/0006_runs_and_definitions.sql"),
    },
    Migration {
        number: 7,
        name: "0007_event_gate",
        sql: include_str!("../../../migrations/postgres/0007_event_gate.sql"),
    },
    Migration { number: 8, name: "0008_received", sql: include_str!("../../../migrations/postgres/0008_received.sql") },
    Migration {
        number: 9,
        name: "0009_reconciliations",
        sql: include_str!("../../../migrations/postgres/0009_reconciliations.sql"),
    },
    Migration {
        number: 10,
        name: "0010_attempts_of_differences",
        sql: include_str!("../../../migrations/postgres/0010_attempts_of_differences.sql"),
    },
];

/// Brings the ledger to the newest version. A store of a newer program, or somebody else's schema, is a conflict.
pub(super) async fn migrate(session: &Session, schema: &str, create: bool, now: Instant) -> Step<()> {
    if let Some(recorded) = recorded(session, schema).await? {
        check_migrations(MIGRATIONS, &recorded)?;
        if recorded.len() == MIGRATIONS.len() {
            return Ok(());
        }
    } else if !create {
        let error = Error::not_found(format!("there is no store in schema {schema} of the database"));
        return Err(error.hint("run `tidegate init`").into());
    }
    session.begin("").await?;
    session.lock(lock_number(schema, "migrate")).await?;
    session.run(&format!("create schema if not exists {}", quoted(schema))).await?;
    let recorded = recorded(session, schema).await?.unwrap_or_default();
    check_migrations(MIGRATIONS, &recorded)?;
    for migration in MIGRATIONS.iter().skip(recorded.len()) {
        session.run(migration.sql).await?;
        let sql = "insert into _migration (number, name, checksum, at) values ($1, $2, $3, $4)";
        let (number, at) = (migration.number, SqlInstant(now));
        session.execute(sql, &[&number, &migration.name, &checksum(migration.sql), &at]).await?;
    }
    session.commit().await
}

/// Number, name and checksum of what was applied; `None` when the schema is empty or missing.
async fn recorded(session: &Session, schema: &str) -> Step<Option<Vec<(i64, String, String)>>> {
    let tables = format!(
        "select count(*), count(*) filter (where relname = '_migration') from pg_class \
         where relnamespace = to_regnamespace({}) and relkind in ('r', 'p')",
        literal(&quoted(schema))
    );
    let rows = session.ask(&tables).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (all, ours): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    match (all, ours) {
        (0, _) => return Ok(None),
        (_, 0) => {
            let error = Error::conflict(format!("schema {schema} holds the tables of another program"));
            return Err(error.hint("name a schema of its own in `store.schema`").into());
        }
        _ => {}
    }
    let rows = session.ask("select number, name, checksum from _migration order by number").await?;
    let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    rows.iter().map(read).collect::<Step<Vec<_>>>().map(Some)
}

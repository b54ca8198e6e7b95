//! Trying an intake: everything that can be found out without taking or making anything.

use std::time::Duration;

use super::definition::{Intake, Mode, Origin, Outbox, RedisGroup, Replication};
use super::group::seen_group;
use super::outbox::Layout;
use super::postgres::{Database, table_name};
use super::redis_link::Link;
use super::replication::{Names, check_server};
use crate::model::{Error, Result};
use crate::postgres::Address;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub what: String,
    /// What is wrong with it, and the remedy; `None`: it is well.
    pub problem: Option<(String, Option<String>)>,
}

impl Found {
    fn of(what: impl Into<String>, looked: Result<()>) -> Found {
        let problem = looked.err().map(|error| (error.to_string(), error.hint_text().map(str::to_owned)));
        Found { what: what.into(), problem }
    }
}

pub(super) struct Trial<'a> {
    pub(super) name: &'a str,
    pub(super) url: &'a str,
    pub(super) patience: Duration,
}

impl Trial<'_> {
    pub(super) async fn run(&self, intake: &Intake) -> Result<Vec<Found>> {
        match intake.origin()? {
            Origin::Outbox(outbox) => self.outbox(outbox).await,
            Origin::Replication(replication) => self.replication(replication).await,
            Origin::Redis(group) => self.redis(group).await,
        }
    }

    async fn connect(&self) -> Result<Database> {
        Database::connect(&Address::read(self.url, "url", self.patience)?, self.patience).await
    }

    async fn outbox(&self, outbox: &Outbox) -> Result<Vec<Found>> {
        let database = match self.connect().await {
            Ok(database) => database,
            Err(error) => return Ok(vec![Found::of("connection", Err(error))]),
        };
        let layout = Layout::read(&database, outbox).await.map(|_| ());
        let needed = match outbox.mode {
            Mode::Cursor => "select",
            Mode::Mark => "select, update",
            Mode::Delete => "select, delete",
        };
        let rights = may(&database, &outbox.table, needed).await;
        Ok(vec![
            Found::of("connection", Ok(())),
            Found::of(format!("table {}", outbox.table), layout),
            Found::of(format!("rights ({needed})"), rights),
        ])
    }

    async fn replication(&self, replication: &Replication) -> Result<Vec<Found>> {
        let database = match self.connect().await {
            Ok(database) => database,
            Err(error) => return Ok(vec![Found::of("connection", Err(error))]),
        };
        let names = Names::of(self.name, replication);
        let mut found = vec![
            Found::of("connection", Ok(())),
            Found::of("wal_level", check_server(&database).await),
            Found::of("right to replicate", may_replicate(&database).await),
            Found::of(format!("slot {}", names.slot), slot(&database, &names.slot).await),
        ];
        for table in &replication.tables {
            found.push(Found::of(format!("table {table}"), keyed(&database, table).await));
        }
        Ok(found)
    }

    async fn redis(&self, group: &RedisGroup) -> Result<Vec<Found>> {
        let mut link = match Link::connect(self.url, self.patience, self.patience).await {
            Ok(link) => link,
            Err(error) => return Ok(vec![Found::of("connection", Err(error))]),
        };
        let seen = seen_group(&mut link, group).await;
        let what = match &seen {
            Ok(Some((waiting, length))) => format!("group {}: {waiting} of {length} entries wait", group.group),
            Ok(None) => format!("group {}: not there yet, it is made when the intake runs", group.group),
            Err(_) => format!("group {}", group.group),
        };
        Ok(vec![Found::of("connection", Ok(())), Found::of(what, seen.map(|_| ()))])
    }
}

async fn truth(database: &Database, doing: &str, sql: &str, values: &[&str]) -> Result<Option<bool>> {
    let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    let rows = database.query(doing, sql, &values).await?;
    rows.first().map(|row| database.value(row, 0)).transpose()
}

async fn may(database: &Database, table: &str, rights: &str) -> Result<()> {
    for right in rights.split(", ") {
        let sql = "select coalesce(has_table_privilege(to_regclass($1::text), $2::text), false)";
        let may = truth(database, "looking at rights", sql, &[&table_name(table), right]).await?;
        if may != Some(true) {
            let error = Error::denied(format!("the user of `url` may not {right} on {table}"));
            return Err(error.hint(format!("grant {rights} on {table} to that user")));
        }
    }
    Ok(())
}

async fn may_replicate(database: &Database) -> Result<()> {
    let sql = "select rolreplication or rolsuper from pg_roles where rolname = current_user";
    match truth(database, "looking at rights", sql, &[]).await? {
        Some(true) => Ok(()),
        _ => Err(Error::denied("the user of `url` may not replicate").hint("alter role NAME replication")),
    }
}

async fn slot(database: &Database, slot: &str) -> Result<()> {
    let sql = "select coalesce(wal_status = 'lost', false) from pg_replication_slots where slot_name = $1::text";
    match truth(database, "looking at the slot", sql, &[slot]).await? {
        Some(true) => Err(Error::invalid("the server has thrown away the log that it needs")
            .hint("`tidegate intake resume NAME --anew`")),
        // Without a slot it is made when the intake runs for the first time.
        Some(false) | None => Ok(()),
    }
}

async fn keyed(database: &Database, table: &str) -> Result<()> {
    let sql = "select c.relreplident = 'f' or exists (select from pg_index i where i.indrelid = c.oid and \
               (i.indisprimary or i.indisreplident)) from pg_class c where c.oid = to_regclass($1::text)";
    match truth(database, "looking at a table", sql, &[&table_name(table)]).await? {
        Some(true) => Ok(()),
        Some(false) => {
            Err(Error::invalid(format!("{table} has no key: the server refuses to update and delete its rows"))
                .hint(format!("add a primary key, or alter table {table} replica identity full")))
        }
        None => Err(Error::not_found(format!("there is no table {table}")).hint("name it with its schema")),
    }
}

//! The rows that tables hold already: copied as of the moment at which the slot begins, so that nothing falls between.

use super::assemble::Change;
use super::slot::{At, Place};
use super::wire::Wire;
use super::{Names, Replication};
use crate::dialect::pgoutput::{Cell, Column, Identity, Lsn, Relation};
use crate::intake::desk::Desk;
use crate::intake::draft::Offer;
use crate::intake::postgres::{Database, literal, quoted, table_name};
use crate::model::{Error, Instant, Result};
use crate::postgres::Address;

/// A slot that is made.
pub(super) struct Copying<'a> {
    pub(super) names: &'a Names,
    pub(super) wanted: &'a Replication,
    pub(super) source: &'a str,
    pub(super) system: &'a str,
}

const DESCRIBE: &str = "\
    select a.attname::text, a.atttypid::oid, a.atttypmod, exists (select from pg_index i where i.indrelid = a.attrelid \
      and i.indisprimary and a.attnum = any (i.indkey)), c.relreplident = 'f', c.oid \
    from pg_attribute a join pg_class c on c.oid = a.attrelid \
    where a.attrelid = to_regclass($1::text) and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' \
    order by a.attnum";

impl Copying<'_> {
    /// Makes the slot, and copies the tables where that is wanted. The position from which the stream goes on. A copy
    /// that is broken off begins again with a new slot: its rows get new ids, and are told twice.
    pub(super) async fn begin(
        &self,
        desk: &mut Desk,
        wire: &mut Wire,
        address: &Address,
        database: &Database,
    ) -> Result<Lsn> {
        let copies = self.wanted.snapshot && !self.wanted.tables.is_empty();
        if copies {
            let place = Place { system: self.system.to_owned(), at: At::Copying };
            desk.hand_in(Vec::new(), Some(place.to_string())).await?;
        }
        let (slot, how) = (quoted(&self.names.slot), if copies { "EXPORT_SNAPSHOT" } else { "NOEXPORT_SNAPSHOT" });
        let made =
            wire.ask("making the slot", &format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput {how}")).await?;
        let made = made.into_iter().next().unwrap_or_default();
        let text = |index: usize| made.get(index).cloned().flatten();
        let at: Lsn =
            text(1).ok_or_else(|| Error::transient("the server does not say where the slot begins"))?.parse()?;
        if copies {
            let snapshot = text(2).ok_or_else(|| Error::transient("the server exported no snapshot"))?;
            let reader = Database::connect(address, desk.options().answer).await?;
            let begin = format!(
                "begin isolation level repeatable read read only; set transaction snapshot {}",
                literal(&snapshot)
            );
            reader.run("taking the slot's moment", &begin).await?;
            for table in &self.wanted.tables {
                let relation = describe(database, table).await?;
                self.copy(desk, &reader, &relation, at).await?;
            }
            reader.run("ending the copy", "commit").await?;
        }
        Ok(at)
    }

    async fn copy(&self, desk: &mut Desk, reader: &Database, relation: &Relation, at: Lsn) -> Result<()> {
        let table = relation.full_name();
        let columns: Vec<String> = relation.columns.iter().map(|column| quoted(&column.name)).collect();
        let select = format!("select {} from {}", columns.join(", "), table_name(&table));
        reader.run("copying a table", &format!("declare copied no scroll cursor for {select}")).await?;
        let fetch = format!("fetch {} from copied", desk.options().batch);
        let keys = self.wanted.keys.get(&table).map(Vec::as_slice);
        let (mut number, copied_at) = (0u64, desk.now());
        loop {
            let rows = reader.texts("copying a table", &fetch).await?;
            if rows.is_empty() {
                return reader.run("copying a table", "close copied").await;
            }
            let mut offers = Vec::with_capacity(rows.len());
            for row in rows {
                number += 1;
                let id = format!("{}:{at}:{table}:{number}", self.system);
                offers.push(self.offer(desk, relation, keys, (row, id), copied_at)?);
            }
            desk.hand_in(offers, None).await?;
            if desk.stop().asked() {
                return Err(Error::transient("the copy was broken off"));
            }
        }
    }

    fn offer(
        &self,
        desk: &Desk,
        relation: &Relation,
        keys: Option<&[String]>,
        (row, id): (Vec<Option<String>>, String),
        copied_at: Instant,
    ) -> Result<Offer> {
        let tuple = row.into_iter().map(|value| value.map_or(Cell::Null, Cell::Text)).collect();
        let draft = Change::Copied(tuple).draft(relation, keys, id.clone(), copied_at)?;
        let read = draft.message(self.source, desk.now(), &desk.limits());
        Ok(Offer::of(read, &id, || serde_json::json!({ "table": relation.full_name() })))
    }
}

/// A table as the stream would describe it.
async fn describe(database: &Database, table: &str) -> Result<Relation> {
    let rows = database.query("describing a table", DESCRIBE, &[&table_name(table)]).await?;
    let Some(first) = rows.first() else {
        return Err(Error::not_found(format!("there is no table {table}")).hint("name it with its schema"));
    };
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        columns.push(Column {
            name: database.value(row, 0)?,
            type_oid: database.value(row, 1)?,
            typmod: database.value(row, 2)?,
            is_key: database.value(row, 3)?,
        });
    }
    let is_full: bool = database.value(first, 4)?;
    let identity = if is_full { Identity::Full } else { Identity::Default };
    let (namespace, name) = table.split_once('.').unwrap_or(("public", table));
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Ok(Relation { oid: database.value(first, 5)?, namespace, name, identity, columns })
}

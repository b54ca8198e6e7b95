//! A PostgreSQL table as a side of a reconciliation: digests computed by the server, rows by range and by key.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{TryStreamExt, pin_mut};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::layout::Asked;
use super::postgres::{Asking, Fault, Postgres};
use super::side_layout::{SideLayout, needs_reading};
use super::table_name;
use crate::model::compared::{Family, Found, Shape, SideRow, canonical};
use crate::model::{Digest, Error, Key, KeyRange, Result};
use crate::source::sides::{Side, SideWriter};

/// Keys that are asked for in one statement.
const LOOK_KEYS: usize = 200;

pub(super) struct PostgresSide {
    pub(super) shown: String,
    pub(super) postgres: Postgres,
    pub(super) table: String,
    reading: Mutex<Option<Arc<Client>>>,
    columns: OnceCell<Vec<Found>>,
}

impl PostgresSide {
    pub(super) fn new(shown: String, postgres: Postgres, table: &str) -> PostgresSide {
        let table = table.to_owned();
        PostgresSide { shown, postgres, table, reading: Mutex::new(None), columns: OnceCell::new() }
    }

    /// The one connection that reads; made anew after it broke.
    async fn client(&self) -> Asking<Arc<Client>> {
        let mut held = self.reading.lock().await;
        if let Some(client) = held.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let settings = "set session characteristics as transaction read only";
        let client = Arc::new(self.postgres.connect_with(settings).await?);
        *held = Some(client.clone());
        Ok(client)
    }

    async fn query(&self, asked: &Asked) -> Result<Vec<Row>> {
        let query = async {
            let client = self.client().await?;
            let values: Vec<&(dyn ToSql + Sync)> = asked.values.iter().map(|value| value as _).collect();
            Ok(client.query(&asked.sql, &values).await?)
        };
        let answer: Asking<Vec<Row>> = query.await;
        answer.map_err(|fault| self.explain(fault))
    }

    pub(super) fn explain(&self, fault: Fault) -> Error {
        self.postgres.explain(fault, &self.table)
    }

    pub(super) async fn found(&self) -> Result<&[Found]> {
        let columns = self.columns.get_or_try_init(|| self.read_columns()).await?;
        Ok(columns)
    }

    async fn read_columns(&self) -> Result<Vec<Found>> {
        let sql = "select a.attname::text, t.typname::text, (t.typtype <> 'b')::text, (not a.attnotnull)::text, \
                   coalesce(array_position(i.indkey::int2[], a.attnum)::text, ''), \
                   case when a.attcollation = 0 then null when c.collname = 'default' \
                   then d.datcollate || ' ' || d.datlocprovider::text || ' ' || coalesce(d.datcollversion, '') \
                   else c.collcollate || ' ' || c.collprovider::text || ' ' || coalesce(c.collversion, '') end \
                   from pg_attribute a join pg_type r on r.oid = a.atttypid \
                   join pg_type t on t.oid = case when r.typtype = 'd' then r.typbasetype else r.oid end \
                   left join pg_index i on i.indrelid = a.attrelid and i.indisprimary \
                   left join pg_collation c on c.oid = a.attcollation \
                   join pg_database d on d.datname = current_database() \
                   where a.attrelid = ($1::text)::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum";
        let asked = Asked { sql: sql.to_owned(), values: vec![table_name(&self.table)] };
        let rows = self.query(&asked).await?;
        let text = |row: &Row, at: usize| row.try_get::<_, Option<String>>(at).ok().flatten().unwrap_or_default();
        let found = rows.iter().map(|row| {
            let declared = text(row, 1);
            Found {
                name: text(row, 0),
                family: if text(row, 2) == "true" { Family::Text } else { family(&declared) },
                declared,
                nullable: text(row, 3) == "true",
                place: text(row, 4).parse::<u32>().map_or(0, |place| place + 1),
                order: Some(text(row, 5)).filter(|order| !order.is_empty()),
            }
        });
        let found: Vec<Found> = found.collect();
        match found.is_empty() {
            true => Err(Error::not_found(format!("{} has no columns", self.shown)).hint("check the table's name")),
            false => Ok(found),
        }
    }

    /// Refuses rows that could not be told apart.
    async fn layout<'a>(&'a self, shape: &'a Shape) -> Result<SideLayout<'a>> {
        SideLayout::new(shape, &self.table, self.found().await?)
    }

    /// The digests of rows that are read one by one, because the server cannot write all of their texts.
    async fn digests_of_rows(&self, layout: &SideLayout<'_>, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let asked = layout.all(range);
        let mut digests = vec![Digest::default(); bounds.len() + 1];
        let reading = async {
            let client = self.client().await?;
            let rows = client.query_raw(&asked.sql, &asked.values).await?;
            pin_mut!(rows);
            let mut text = Vec::new();
            while let Some(row) = rows.try_next().await? {
                let row = read_row(layout, &row)?;
                let key = row.key(layout.shape).ok_or_else(|| keyless(&self.shown))?;
                row.write(layout.shape, &mut text);
                digests[bounds.partition_point(|bound| *bound < key)].add(&text);
            }
            Ok(())
        };
        let read: Asking<()> = reading.await;
        read.map_err(|fault| self.explain(fault))?;
        Ok(digests)
    }
}

/// What a type of PostgreSQL holds.
fn family(declared: &str) -> Family {
    match declared {
        "int2" | "int4" | "int8" | "oid" => Family::Whole,
        "numeric" => Family::Exact,
        "float4" | "float8" => Family::Float,
        "bool" => Family::Truth,
        "date" => Family::Day,
        "timestamptz" => Family::Instant,
        "timestamp" => Family::Local,
        "json" | "jsonb" => Family::Json,
        "bytea" => Family::Bytes,
        _ => Family::Text,
    }
}

/// A table whose rows cannot be told apart.
pub(super) fn keyless(shown: &str) -> Error {
    Error::invalid(format!("{shown} has rows without a value in the key"))
        .hint("choose a key that every row has (--key), or leave those rows out (--only)")
}

/// The texts of a row, made canonical where the server did not.
pub(super) fn read_row(layout: &SideLayout, row: &Row) -> Asking<SideRow> {
    let mut values = Vec::with_capacity(layout.shape.columns.len());
    for (at, (column, found)) in layout.shape.columns.iter().zip(&layout.found).enumerate() {
        let text: Option<String> = row.try_get(at)?;
        values.push(match text {
            Some(text) if needs_reading(column, found) => Some(canonical(column.kind, &text, column.zone_minutes)),
            text => text,
        });
    }
    Ok(SideRow(values))
}

#[async_trait]
impl Side for PostgresSide {
    fn name(&self) -> &str {
        &self.shown
    }

    /// Servers hash alike that give the same hash to a record of every type that is hashed.
    async fn engine(&self) -> Result<Option<String>> {
        let sql = "select 'postgres ' || current_setting('server_encoding') || ' ' || hash_record_extended(row(1::int8, \
                   1.5::numeric, 2.5::float8, 'probe'::text collate \"C\", true, date '2024-01-31', timestamptz \
                   '2024-01-31 00:00:00+00', '\\x00ff'::bytea, '{\"a\": 1}'::jsonb, null::text), 0)::text";
        let rows = self.query(&Asked { sql: sql.to_owned(), values: Vec::new() }).await?;
        Ok(rows.first().and_then(|row| row.try_get(0).ok()))
    }

    async fn columns(&self) -> Result<Vec<Found>> {
        Ok(self.found().await?.to_vec())
    }

    async fn digests(&self, shape: &Shape, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let layout = self.layout(shape).await?;
        if !shape.records && layout.is_read() {
            return self.digests_of_rows(&layout, range, bounds).await;
        }
        let mut digests = vec![Digest::default(); bounds.len() + 1];
        for row in self.query(&layout.digests(range, bounds)).await? {
            let number = |at: usize| row.try_get::<_, Option<String>>(at).ok().flatten();
            let part = number(0).and_then(|text| text.parse::<usize>().ok());
            let rows = number(1).and_then(|text| text.parse().ok());
            let sum = number(2).and_then(|text| text.parse::<i128>().ok());
            let (Some(part), Some(rows), Some(sum)) = (part, rows, sum) else {
                return Err(Error::bug("the server's digest is no number"));
            };
            let digest =
                digests.get_mut(part).ok_or_else(|| Error::bug("the server names a part that nobody asked for"))?;
            *digest = Digest { rows, sum: sum as u128 };
        }
        Ok(digests)
    }

    async fn split(&self, shape: &Shape, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        let layout = self.layout(shape).await?;
        let rows = self.query(&layout.split(range, step)).await?;
        let narrow = Shape { columns: shape.columns[..shape.key].to_vec(), only: None, ..shape.clone() };
        let narrow = SideLayout { shape: &narrow, found: layout.found[..shape.key].to_vec(), from: String::new() };
        let key = |row: &Row| {
            let row = read_row(&narrow, row).map_err(|fault| self.explain(fault))?;
            row.key(narrow.shape).ok_or_else(|| keyless(&self.shown))
        };
        rows.iter().map(key).collect()
    }

    async fn rows(&self, shape: &Shape, range: &KeyRange, limit: u64) -> Result<Vec<SideRow>> {
        let layout = self.layout(shape).await?;
        let rows = self.query(&layout.rows(range, limit.saturating_add(1))).await?;
        rows.iter().map(|row| read_row(&layout, row).map_err(|fault| self.explain(fault))).collect()
    }

    async fn look(&self, shape: &Shape, keys: &[Key]) -> Result<Vec<SideRow>> {
        let layout = self.layout(shape).await?;
        let mut found = Vec::new();
        for keys in keys.chunks(LOOK_KEYS) {
            let rows = self.query(&layout.look(keys, &[], "")).await?;
            for row in &rows {
                found.push(read_row(&layout, row).map_err(|fault| self.explain(fault))?);
            }
        }
        Ok(found)
    }

    async fn position(&self) -> Result<Option<String>> {
        let sql = "select case when pg_is_in_recovery() then null else pg_current_wal_lsn()::text end";
        let rows = self.query(&Asked { sql: sql.to_owned(), values: Vec::new() }).await?;
        Ok(rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok().flatten()))
    }

    async fn passed(&self, slot: &str, position: &str) -> Result<bool> {
        let sql = "select (coalesce(confirmed_flush_lsn, restart_lsn) >= ($2::text)::pg_lsn)::text \
                   from pg_replication_slots where slot_name = ($1::text)::name";
        let asked = Asked { sql: sql.to_owned(), values: vec![slot.to_owned(), position.to_owned()] };
        let rows = self.query(&asked).await?;
        let row = rows.first().ok_or_else(|| {
            Error::not_found(format!("{} has no replication slot {slot}", self.shown))
                .hint("select slot_name from pg_replication_slots lists them")
        })?;
        Ok(row.try_get::<_, Option<String>>(0).ok().flatten().as_deref() == Some("true"))
    }

    fn writer(&self) -> Option<&dyn SideWriter> {
        Some(self)
    }
}

//! An SQLite table as a side of a reconciliation: read row by row in one transaction, hashed here.

use std::path::PathBuf;

use async_trait::async_trait;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::side_postgres::keyless;
use super::{DatabaseOptions, quoted, table_name};
use crate::model::compared::{
    Family, Found, Shape, SideColumn, SideRow, ValueKind, canonical, float_number, part_text,
};
use crate::model::hex;
use crate::model::{Digest, Error, Key, KeyPart, KeyRange, Result};
use crate::source::sides::{Side, SideWriter};

/// Keys that are asked for in one statement.
const LOOK_KEYS: usize = 200;

#[derive(Clone)]
pub(super) struct SqliteSide {
    pub(super) shown: String,
    path: PathBuf,
    pub(super) table: String,
    options: DatabaseOptions,
}

impl SqliteSide {
    pub(super) fn new(shown: String, path: PathBuf, table: &str, options: DatabaseOptions) -> SqliteSide {
        SqliteSide { shown, path, table: table.to_owned(), options }
    }

    /// Runs `work` on a connection of its own, away from the runtime.
    pub(super) async fn run<T, W>(&self, writes: bool, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&SqliteSide, &mut Connection) -> Result<T> + Send + 'static,
    {
        let this = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = this.open(writes)?;
            work(&this, &mut connection)
        });
        task.await.map_err(|error| Error::bug("reading a database ended early").caused_by(error))?
    }

    fn open(&self, writes: bool) -> Result<Connection> {
        let mode = if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        if !self.path.exists() {
            let message = format!("{}: there is no such file", self.shown);
            return Err(Error::not_found(message).hint("check the path before the #"));
        }
        let open = || -> rusqlite::Result<Connection> {
            let mut connection = Connection::open_with_flags(&self.path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(self.options.connect_timeout)?;
            super::sqlite::limit_time(&mut connection, self.options.statement_timeout)?;
            match writes {
                true => connection.execute_batch("pragma foreign_keys = 1")?,
                false => connection.execute_batch("pragma query_only = 1; begin")?,
            }
            Ok(connection)
        };
        open().map_err(|error| self.explain(error))
    }

    pub(super) fn explain(&self, error: rusqlite::Error) -> Error {
        use rusqlite::ErrorCode::*;
        let shown = &self.shown;
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => {
                Error::transient(format!("{shown}: another program holds it locked"))
                    .hint("try again when that program has finished")
            }
            Some(OperationInterrupted) => Error::transient(format!("{shown}: reading took too long"))
                .hint("raise reconcile.statement_timeout_seconds, or add an index on the key"),
            Some(NotADatabase | DatabaseCorrupt) => {
                Error::invalid(format!("{shown} is no intact SQLite file")).hint("name another file")
            }
            Some(CannotOpen | PermissionDenied | ReadOnly) => {
                Error::denied(format!("{shown} cannot be opened")).hint("check the rights of this user")
            }
            _ if text.contains("no such table") => {
                Error::not_found(format!("{shown}: there is no such table")).hint("check the name after the #")
            }
            _ => Error::invalid(format!("{shown} cannot be read")).hint("check the names of its columns"),
        }
        .caused_by(error)
    }

    fn table(&self, connection: &Connection, shape: &Shape) -> Result<Table> {
        let found = self.declared(connection)?;
        let declared = shape.columns.iter().map(|column| {
            found.iter().find(|found| found.name == column.name).cloned().ok_or_else(|| {
                let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
                Error::invalid(format!("{} has no column {:?}", self.shown, column.name))
                    .hint(format!("its columns are {}", names.join(", ")))
            })
        });
        let declared = declared.collect::<Result<Vec<Found>>>()?;
        Ok(Table { shape: shape.clone(), declared, from: table_name(&self.table), shown: self.shown.clone() })
    }

    pub(super) fn declared(&self, connection: &Connection) -> Result<Vec<Found>> {
        let name = &self.table;
        let (schema, table) = name.rsplit_once('.').unwrap_or(("main", name));
        let sql = "select name, type, \"notnull\", pk from pragma_table_info(?1, ?2) order by cid";
        let read = || -> rusqlite::Result<Vec<Found>> {
            let mut statement = connection.prepare(sql)?;
            let found = statement.query_map((table, schema), |row| {
                let (declared, place): (String, u32) = (row.get(1)?, row.get(3)?);
                let family = family(&declared);
                let nullable = !row.get::<_, bool>(2)? && place == 0;
                Ok(Found { name: row.get(0)?, declared, family, nullable, place, order: None })
            })?;
            found.collect()
        };
        let found = read().map_err(|error| self.explain(error))?;
        match found.is_empty() {
            true => Err(Error::not_found(format!("{}: there is no such table", self.shown)).hint("check the name")),
            false => Ok(found),
        }
    }
}

/// What a declared type of SQLite is meant to hold.
fn family(declared: &str) -> Family {
    let declared = declared.to_ascii_uppercase();
    let word = declared.split('(').next().unwrap_or_default().trim();
    match word {
        "" => Family::Any,
        "BOOLEAN" | "BOOL" => Family::Truth,
        "DATE" => Family::Day,
        "DATETIME" | "TIMESTAMP" => Family::Local,
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => Family::Instant,
        "JSON" | "JSONB" => Family::Json,
        "BLOB" | "BYTEA" => Family::Bytes,
        "NUMERIC" | "DECIMAL" => Family::Exact,
        word if word.contains("INT") => Family::Whole,
        word if ["REAL", "FLOA", "DOUB"].iter().any(|part| word.contains(part)) => Family::Float,
        _ => Family::Text,
    }
}

/// A table that fits a shape.
pub(super) struct Table {
    pub(super) shape: Shape,
    declared: Vec<Found>,
    pub(super) from: String,
    shown: String,
}

impl Table {
    pub(super) fn names(&self) -> String {
        self.shape.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// Whether the first column of the key is stored as it is compared, so that SQLite can narrow a range by it.
    fn narrows(&self) -> bool {
        let (column, declared) = (&self.shape.columns[0], &self.declared[0]);
        match column.kind {
            ValueKind::Number => declared.family == Family::Whole,
            ValueKind::Text => declared.family == Family::Text && !declared.declared.eq_ignore_ascii_case("UUID"),
            _ => false,
        }
    }

    fn conditions(&self, range: &KeyRange) -> (String, Vec<Sql>) {
        if !self.narrows() {
            return (String::new(), Vec::new());
        }
        let name = quoted(&self.shape.columns[0].name);
        let (mut sql, mut values) = (Vec::new(), Vec::new());
        for (bound, sign) in [(&range.after, ">="), (&range.upto, "<=")] {
            let Some(part) = bound.as_ref().and_then(|bound| bound.first()) else { continue };
            let collation = if matches!(part, KeyPart::Text(_)) { " collate binary" } else { "" };
            sql.push(format!("{name}{collation} {sign} ?"));
            values.push(stored_part(part));
        }
        if sql.is_empty() { (String::new(), values) } else { (format!(" where {}", sql.join(" and ")), values) }
    }

    /// Calls `each` for every row of the range with its key, until it says that it has enough.
    pub(super) fn each(
        &self,
        connection: &Connection,
        range: &KeyRange,
        each: &mut dyn FnMut(Key, SideRow) -> bool,
        explain: &dyn Fn(rusqlite::Error) -> Error,
    ) -> Result<()> {
        let (conditions, values) = self.conditions(range);
        let sql = format!("select {} from {}{conditions}", self.names(), self.from);
        let mut statement = connection.prepare(&sql).map_err(explain)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(explain)?;
        while let Some(row) = rows.next().map_err(explain)? {
            let row = self.read(row).map_err(explain)?;
            if !self.is_wanted(&row) {
                continue;
            }
            let key = row.key(&self.shape).ok_or_else(|| keyless(&self.shown))?;
            if range.contains(&key) && !each(key, row) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn is_wanted(&self, row: &SideRow) -> bool {
        self.shape
            .only
            .as_ref()
            .is_none_or(|only| only.holds(self.shape.columns[only.column].kind, row.0[only.column].as_deref()))
    }

    pub(super) fn read(&self, row: &Row) -> rusqlite::Result<SideRow> {
        let columns = self.shape.columns.iter().zip(&self.declared).enumerate();
        let values = columns.map(|(at, (column, found))| Ok(text_of(column, found, row.get_ref(at)?)));
        Ok(SideRow(values.collect::<rusqlite::Result<_>>()?))
    }

    /// The condition of a key: every column equals its part, in any form in which the table may write it.
    pub(super) fn key_condition(&self, key: &Key) -> Option<(String, Sql)> {
        let column = &self.shape.columns[0];
        self.narrows().then(|| (quoted(&column.name), stored_part(&key[0])))
    }
}

fn stored_part(part: &KeyPart) -> Sql {
    match part {
        KeyPart::Text(text) => Sql::Text(text.clone()),
        // Whole numbers are compared as such; others lie between two of them.
        KeyPart::Decimal(_) => match part_text(part).parse::<i64>() {
            Ok(value) => Sql::Integer(value),
            Err(_) => Sql::Real(part_text(part).parse().unwrap_or_default()),
        },
        part => Sql::Text(part_text(part)),
    }
}

/// The canonical text of a stored value.
pub(super) fn text_of(column: &SideColumn, found: &Found, value: ValueRef) -> Option<String> {
    let zone = if found.family == Family::Instant { 0 } else { column.zone_minutes };
    Some(match (column.kind, value) {
        (_, ValueRef::Null) => return None,
        (ValueKind::Instant, ValueRef::Integer(seconds)) => seconds.saturating_mul(1_000_000).to_string(),
        (ValueKind::Instant, ValueRef::Real(seconds)) => ((seconds * 1e6).round() as i64).to_string(),
        (ValueKind::Bytes, ValueRef::Blob(bytes)) => hex(bytes),
        (_, ValueRef::Blob(bytes)) => format!("\\x{}", hex(bytes)),
        (kind, ValueRef::Integer(value)) => canonical(kind, &value.to_string(), zone),
        (ValueKind::Number, ValueRef::Real(value)) => float_number(value),
        (kind, ValueRef::Real(value)) => canonical(kind, &float_number(value), zone),
        (ValueKind::Text, ValueRef::Text(text)) if column.trim => lossy(text).trim_end_matches(' ').to_owned(),
        (kind, ValueRef::Text(text)) => canonical(kind, &lossy(text), zone),
    })
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[async_trait]
impl Side for SqliteSide {
    fn name(&self) -> &str {
        &self.shown
    }

    async fn columns(&self) -> Result<Vec<Found>> {
        self.run(false, |this, connection| this.declared(connection)).await
    }

    async fn digests(&self, shape: &Shape, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let (shape, range, bounds) = (shape.clone(), range.clone(), bounds.to_vec());
        self.run(false, move |this, connection| {
            let table = this.table(connection, &shape)?;
            let mut digests = vec![Digest::default(); bounds.len() + 1];
            let mut text = Vec::new();
            let mut each = |key: Key, row: SideRow| {
                row.write(&shape, &mut text);
                digests[bounds.partition_point(|bound| *bound < key)].add(&text);
                true
            };
            table.each(connection, &range, &mut each, &|error| this.explain(error))?;
            Ok(digests)
        })
        .await
    }

    async fn split(&self, shape: &Shape, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        let (shape, range) = (shape.clone(), range.clone());
        self.run(false, move |this, connection| {
            let table = this.table(connection, &shape)?;
            let mut keys = Vec::new();
            let mut each = |key: Key, _: SideRow| {
                keys.push(key);
                true
            };
            table.each(connection, &range, &mut each, &|error| this.explain(error))?;
            keys.sort();
            let step = usize::try_from(step.max(1)).unwrap_or(usize::MAX);
            Ok(keys.into_iter().skip(step - 1).step_by(step).collect())
        })
        .await
    }

    async fn rows(&self, shape: &Shape, range: &KeyRange, limit: u64) -> Result<Vec<SideRow>> {
        let (shape, range) = (shape.clone(), range.clone());
        self.run(false, move |this, connection| {
            let table = this.table(connection, &shape)?;
            let mut rows = Vec::new();
            let mut each = |key: Key, row: SideRow| {
                rows.push((key, row));
                rows.len() as u64 <= limit
            };
            table.each(connection, &range, &mut each, &|error| this.explain(error))?;
            rows.sort();
            Ok(rows.into_iter().map(|(_, row)| row).collect())
        })
        .await
    }

    async fn look(&self, shape: &Shape, keys: &[Key]) -> Result<Vec<SideRow>> {
        let (shape, keys) = (shape.clone(), keys.to_vec());
        self.run(false, move |this, connection| {
            let table = this.table(connection, &shape)?;
            let explain = |error| this.explain(error);
            let mut found = Vec::new();
            for keys in keys.chunks(LOOK_KEYS) {
                let (conditions, values): (Vec<_>, Vec<_>) =
                    keys.iter().filter_map(|key| table.key_condition(key)).unzip();
                let narrowed = match conditions.first() {
                    Some(name) => format!(" where {name} in ({})", vec!["?"; values.len()].join(", ")),
                    None => String::new(),
                };
                let sql = format!("select {} from {}{narrowed}", table.names(), table.from);
                let mut statement = connection.prepare(&sql).map_err(explain)?;
                let mut rows = statement.query(params_from_iter(values)).map_err(explain)?;
                while let Some(row) = rows.next().map_err(explain)? {
                    let row = table.read(row).map_err(explain)?;
                    let is_asked = row.key(&shape).is_some_and(|key| keys.contains(&key));
                    if is_asked && table.is_wanted(&row) {
                        found.push(row);
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    fn writer(&self) -> Option<&dyn SideWriter> {
        Some(self)
    }
}

/// The table of this side that fits a shape, for whoever writes into it.
pub(super) fn table_of(side: &SqliteSide, connection: &Connection, shape: &Shape) -> Result<Table> {
    side.table(connection, shape)
}

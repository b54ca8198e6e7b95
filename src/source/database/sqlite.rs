//! SQLite tables: opened for reading only, stepped row by row, compared in the form in which they are written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use async_trait::async_trait;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params_from_iter};

use super::describe::Declared;
use super::form::{self, Form};
use super::rows::{self, Raw, Rows};
use super::{DatabaseOptions, declared, from_clause, keyless, missing_column, quoted, table_name};
use crate::model::{ColumnType, Dataset, Digest, Error, Key, KeyPart, KeyRange, Result};
use crate::source::Page;
use crate::source::tables::{Cursor, CursorValue, Since, TablePage, Tables};

/// An SQLite file.
#[derive(Clone)]
pub(super) struct Sqlite {
    /// `database.NAME`, for messages.
    source: String,
    path: PathBuf,
    options: DatabaseOptions,
}

/// A table that fits its dataset.
struct Table<'a> {
    dataset: &'a Arc<Dataset>,
    from: String,
    /// The columns of the dataset as the table names them, quoted, in catalogue order.
    columns: Vec<String>,
    key: Vec<usize>,
    /// The forms of the key columns, and of the watermark column.
    forms: Vec<Form>,
    watermark: Option<(usize, Form)>,
}

/// SQL conditions with their values.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Sql>,
}

impl Conditions {
    fn and(&mut self, sql: String, values: impl IntoIterator<Item = Sql>) {
        self.sql.push(sql);
        self.values.extend(values);
    }

    fn clause(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!(" where {}", self.sql.join(" and ")) }
    }
}

impl Sqlite {
    pub(super) fn new(source: String, path: PathBuf, options: DatabaseOptions) -> Sqlite {
        Sqlite { source, path, options }
    }

    /// Runs `work` on a connection of its own, away from the runtime.
    async fn run<T, W>(&self, dataset: &Arc<Dataset>, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection, &Table, &DatabaseOptions) -> Step<T> + Send + 'static,
    {
        let (this, dataset) = (self.clone(), dataset.clone());
        let task = tokio::task::spawn_blocking(move || {
            let connection = this.open()?;
            let explain = |fault: Fault| this.explain(fault, &dataset);
            let table = Table::new(&connection, &dataset).map_err(explain)?;
            work(&connection, &table, &this.options).map_err(explain)
        });
        task.await.map_err(|error| Error::bug("reading a database ended early").caused_by(error))?
    }

    fn open(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = self.path.display();
        if !self.path.exists() {
            let error = Error::not_found(format!("{}: there is no file {file}", self.source));
            return Err(error.hint("check its address under sources.database.connections"));
        }
        let open = || -> rusqlite::Result<Connection> {
            let mut connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(self.options.connect_timeout)?;
            connection.execute_batch("pragma query_only = 1; pragma temp_store = 0; begin")?;
            limit_time(&mut connection, self.options.statement_timeout)?;
            Ok(connection)
        };
        open().map_err(|error| {
            let message = format!("{}: {file} cannot be read", self.source);
            Error::denied(message).hint("check that it is an SQLite file and readable for this user").caused_by(error)
        })
    }

    fn explain(&self, fault: Fault, dataset: &Dataset) -> Error {
        let error = match fault {
            Fault::Stated(error) => return error,
            Fault::Sqlite(error) => error,
        };
        let place = dataset.database.as_ref().map_or("", |database| database.place());
        let (source, file) = (&self.source, self.path.display());
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Error::transient(format!("{source}: another program holds {file} locked")).hint("it is tried again")
            }
            Some(ErrorCode::OperationInterrupted) => {
                Error::transient(format!("{source}: reading {place} took too long"))
                    .hint("raise sources.database.statement_timeout_seconds, or add an index on the key")
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Error::invalid(format!("{source}: {file} is no intact SQLite file")).hint("name another file")
            }
            _ if text.contains("no such table") => Error::not_found(format!("{source}: {file} has no table {place}"))
                .hint("check database.table in the catalogue file"),
            _ => {
                Error::invalid(format!("{source}: {place} cannot be read")).hint("check database.query and the columns")
            }
        }
        .caused_by(error)
    }
}

pub(super) fn limit_time(connection: &mut Connection, timeout: Duration) -> rusqlite::Result<()> {
    let until = Moment::now() + timeout;
    connection.progress_handler(10_000, Some(move || Moment::now() > until))
}

/// What reading can fail with, until it is said where.
enum Fault {
    Sqlite(rusqlite::Error),
    Stated(Error),
}

type Step<T> = std::result::Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Stated(error)
    }
}

impl<'a> Table<'a> {
    fn new(connection: &Connection, dataset: &'a Arc<Dataset>) -> Step<Table<'a>> {
        let database = declared(dataset)?;
        let from = from_clause(dataset)?;
        let statement = connection.prepare(&format!("select * from {from} limit 0"))?;
        let found: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut columns = Vec::new();
        for column in &dataset.columns {
            let wanted = database.column(column);
            if !found.iter().any(|name| name.eq_ignore_ascii_case(wanted)) {
                return Err(missing_column(dataset, &column.name, wanted, &found).into());
            }
            columns.push(quoted(wanted));
        }
        let mut table =
            Table { dataset, from, columns, key: dataset.key_indices(), forms: Vec::new(), watermark: None };
        table.forms = table.key.iter().map(|index| table.form(connection, *index)).collect::<Step<_>>()?;
        if let Some(index) = database.watermark_index(dataset) {
            table.watermark = Some((index, table.form(connection, index)?));
        }
        Ok(table)
    }

    /// The form of a column, from its first value; an empty table is in any form.
    fn form(&self, connection: &Connection, index: usize) -> Step<Form> {
        let (name, from, column) = (&self.columns[index], &self.from, &self.dataset.columns[index]);
        let sql = format!("select {name} from {from} where {name} is not null limit 1");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query(())?;
        let Some(row) = rows.next()? else { return Ok(Form::Plain) };
        Form::of(column.kind, row.get_ref(0)?).ok_or_else(|| {
            let message =
                format!("column {} of {} is not written in a form that sorts", column.name, self.dataset.name);
            let hint = "a key or watermark column holds whole numbers, texts, dates like 2024-01-31 or instants like \
                        2024-01-31 18:00:00, all in one form; convert it with database.query";
            Fault::Stated(Error::invalid(message).hint(hint))
        })
    }

    /// A column as it is compared: texts by their bytes.
    fn compared(&self, index: usize) -> String {
        let name = &self.columns[index];
        match self.dataset.columns[index].kind {
            ColumnType::Text => format!("{name} collate binary"),
            _ => name.clone(),
        }
    }

    fn key_columns(&self) -> String {
        self.key.iter().map(|index| self.compared(*index)).collect::<Vec<_>>().join(", ")
    }

    fn key_values<'k>(&'k self, key: &'k Key) -> impl Iterator<Item = Sql> + 'k {
        let columns = self.key.iter().map(|index| &self.dataset.columns[*index]);
        self.forms.iter().zip(columns).zip(key).map(|((form, column), part)| form.write(column, part))
    }

    fn in_range(&self, range: &KeyRange) -> Conditions {
        let mut conditions = Conditions::default();
        let parameters = vec!["?"; self.key.len()].join(", ");
        for (bound, sign) in [(&range.after, ">"), (&range.upto, "<=")] {
            let Some(bound) = bound else { continue };
            conditions.and(format!("({}) {sign} ({parameters})", self.key_columns()), self.key_values(bound));
        }
        conditions
    }

    fn watermark(&self) -> Step<(usize, &Form)> {
        let missing = || Error::bug(format!("{} has no watermark column", self.dataset.name));
        Ok(self.watermark.as_ref().map(|(index, form)| (*index, form)).ok_or_else(missing)?)
    }

    fn since(&self, since: Since) -> Step<Conditions> {
        let (index, form) = self.watermark()?;
        let column = self.compared(index);
        let mut conditions = Conditions::default();
        match since {
            Since::Begin => conditions.and(format!("{column} is not null"), []),
            Since::From(part) => {
                let value = form.write_first(&self.dataset.columns[index], part);
                conditions.and(format!("{column} >= ?"), [value]);
            }
            Since::After(cursor) => {
                let parameters = vec!["?"; cursor.len()].join(", ");
                let sql = format!("({column}, {}) > ({parameters})", self.key_columns());
                conditions.and(sql, cursor.iter().map(sql_value));
            }
        }
        Ok(conditions)
    }

    /// The row's values in catalogue order. A key in another form than the first would be missed by comparisons.
    fn read(&self, row: &Row) -> Step<Vec<Raw>> {
        let columns = self.dataset.columns.iter().enumerate();
        let raw = columns.map(|(index, column)| Ok(form::read(column, row.get_ref(index)?)));
        let raw = raw.collect::<Step<Vec<Raw>>>()?;
        if let Some(key) = rows::key_of(self.dataset, &raw) {
            for ((index, value), form) in self.key.iter().zip(self.key_values(&key)).zip(&self.forms) {
                if *form != Form::Plain && row.get_ref(*index)? != ValueRef::from(&value) {
                    let name = &self.dataset.columns[*index].name;
                    let message = format!("key column {name} of {} is written in several forms", self.dataset.name);
                    return Err(Error::invalid(message).hint("convert it to one with database.query").into());
                }
            }
        }
        Ok(raw)
    }

    fn select(&self) -> String {
        self.columns.join(", ")
    }

    /// One page: rows until a limit is reached.
    fn page(
        &self,
        connection: &Connection,
        sql: &str,
        values: Vec<Sql>,
        options: &DatabaseOptions,
        cursor: bool,
    ) -> Step<TablePage> {
        let started = Moment::now();
        let mut statement = connection.prepare(sql)?;
        let mut found = statement.query(params_from_iter(values))?;
        let mut rows = Rows::new(self.dataset.clone());
        let (mut more, mut last) = (false, None);
        while let Some(row) = found.next()? {
            if rows.count >= options.page_rows as u64 || rows.bytes >= options.page_bytes {
                more = true;
                break;
            }
            rows.push(self.read(row)?);
            if cursor {
                let extra = self.columns.len()..self.columns.len() + 1 + self.key.len();
                last = Some(extra.map(|at| Ok(cursor_value(row.get_ref(at)?))).collect::<Step<Cursor>>()?);
            }
        }
        let batch = rows.finish()?;
        let page = Page {
            batch,
            more,
            bytes: rows.bytes,
            network: started.elapsed(),
            decode: Duration::ZERO,
            unreadable: std::mem::take(&mut rows.unreadable),
        };
        Ok(TablePage { page, last: rows.last, cursor: last })
    }

    fn digests(&self, connection: &Connection, range: &KeyRange, bounds: &[Key]) -> Step<Vec<Digest>> {
        let conditions = self.in_range(range);
        let sql = format!(
            "select {} from {}{} order by {}",
            self.select(),
            self.from,
            conditions.clause(),
            self.key_columns()
        );
        let mut statement = connection.prepare(&sql)?;
        let mut found = statement.query(params_from_iter(conditions.values))?;
        let mut digests = vec![Digest::default(); bounds.len() + 1];
        let (mut part, mut text) = (0, Vec::new());
        while let Some(row) = found.next()? {
            let raw = self.read(row)?;
            if let Some(key) = rows::key_of(self.dataset, &raw) {
                part = bounds.partition_point(|bound| *bound < key);
            }
            match rows::row(self.dataset, raw) {
                Ok(values) => rows::write(self.dataset, &values, &mut text),
                // It is never equal to a stored row, so that it is read and kept apart.
                Err(refused) => text = format!("unreadable {}", refused.row).into_bytes(),
            }
            digests[part].add(&text);
        }
        Ok(digests)
    }

    fn split(&self, connection: &Connection, range: &KeyRange, step: u64) -> Step<Vec<Key>> {
        let conditions = self.in_range(range);
        let (columns, order) = (self.select(), self.key_columns());
        let sql = format!("select {columns} from {}{} order by {order}", self.from, conditions.clause());
        let mut statement = connection.prepare(&sql)?;
        let mut found = statement.query(params_from_iter(conditions.values))?;
        let (mut keys, mut count): (Vec<Key>, u64) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            count += 1;
            if count % step.max(1) == 0 {
                keys.extend(rows::key_of(self.dataset, &self.read(row)?));
            }
        }
        keys.dedup();
        Ok(keys)
    }

    fn check(&self, connection: &Connection) -> Step<()> {
        let nulls = self.key.iter().map(|index| format!("{} is null", self.columns[*index]));
        let nulls = nulls.collect::<Vec<_>>().join(" or ");
        let sql = format!("select exists (select 1 from {} where {nulls})", self.from);
        let keyless_row: bool = connection.query_row(&sql, (), |row| row.get(0))?;
        if keyless_row { Err(keyless(self.dataset).into()) } else { Ok(()) }
    }
}

fn sql_value(value: &CursorValue) -> Sql {
    match value {
        CursorValue::Text(text) => Sql::Text(text.clone()),
        CursorValue::Int(value) => Sql::Integer(*value),
        CursorValue::Real(value) => Sql::Real(*value),
    }
}

fn cursor_value(value: ValueRef) -> CursorValue {
    match value {
        ValueRef::Integer(value) => CursorValue::Int(value),
        ValueRef::Real(value) => CursorValue::Real(value),
        ValueRef::Text(text) | ValueRef::Blob(text) => CursorValue::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Null => CursorValue::Text(String::new()),
    }
}

#[async_trait]
impl Tables for Sqlite {
    async fn probe(&self) -> Result<()> {
        let connection = self.open()?;
        let read = connection.query_row("select count(*) from sqlite_schema", (), |_| Ok(()));
        read.map_err(|error| {
            let message = format!("{}: {} is no SQLite file", self.source, self.path.display());
            Error::invalid(message).hint("name another file").caused_by(error)
        })
    }

    async fn declarations(&self, table: &str) -> Result<Vec<Declared>> {
        let connection = self.open()?;
        let read = || declarations(&connection, table);
        let found = read().map_err(|error| {
            let message = format!("{}: the columns of {table} cannot be read", self.source);
            Error::invalid(message).hint("check the table's name").caused_by(error)
        })?;
        if found.is_empty() {
            let message = format!("{}: {} has no table {table}", self.source, self.path.display());
            return Err(Error::not_found(message).hint("check the table's name"));
        }
        Ok(found)
    }

    async fn check(&self, dataset: &Arc<Dataset>) -> Result<()> {
        self.run(dataset, |connection, table, _| table.check(connection)).await
    }

    async fn count_since(&self, dataset: &Arc<Dataset>, since: Option<&KeyPart>) -> Result<u64> {
        let since = since.cloned();
        self.run(dataset, move |connection, table, _| {
            let conditions = table.since(since.as_ref().map_or(Since::Begin, Since::From))?;
            let sql = format!("select count(*) from {}{}", table.from, conditions.clause());
            let count: i64 = connection.query_row(&sql, params_from_iter(conditions.values), |row| row.get(0))?;
            Ok(count as u64)
        })
        .await
    }

    async fn since(&self, dataset: &Arc<Dataset>, since: Since<'_>) -> Result<TablePage> {
        enum Owned {
            Begin,
            From(KeyPart),
            After(Cursor),
        }
        let since = match since {
            Since::Begin => Owned::Begin,
            Since::From(part) => Owned::From(part.clone()),
            Since::After(cursor) => Owned::After(cursor.clone()),
        };
        self.run(dataset, move |connection, table, options| {
            let conditions = table.since(match &since {
                Owned::Begin => Since::Begin,
                Owned::From(part) => Since::From(part),
                Owned::After(cursor) => Since::After(cursor),
            })?;
            let (index, _) = table.watermark()?;
            let keys = table.key.iter().map(|index| table.columns[*index].clone()).collect::<Vec<_>>().join(", ");
            let sql = format!(
                "select {}, {}, {keys} from {}{} order by {}, {} limit {}",
                table.select(),
                table.columns[index],
                table.from,
                conditions.clause(),
                table.compared(index),
                table.key_columns(),
                options.page_rows + 1
            );
            table.page(connection, &sql, conditions.values, options, true)
        })
        .await
    }

    async fn range(&self, dataset: &Arc<Dataset>, range: &KeyRange) -> Result<TablePage> {
        let range = range.clone();
        self.run(dataset, move |connection, table, options| {
            let conditions = table.in_range(&range);
            let sql = format!(
                "select {} from {}{} order by {} limit {}",
                table.select(),
                table.from,
                conditions.clause(),
                table.key_columns(),
                options.page_rows + 1
            );
            table.page(connection, &sql, conditions.values, options, false)
        })
        .await
    }

    async fn split(&self, dataset: &Arc<Dataset>, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        let range = range.clone();
        self.run(dataset, move |connection, table, _| table.split(connection, &range, step)).await
    }

    async fn digests(&self, dataset: &Arc<Dataset>, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let (range, bounds) = (range.clone(), bounds.to_vec());
        self.run(dataset, move |connection, table, _| table.digests(connection, &range, &bounds)).await
    }
}

/// The columns of a table, from its declaration.
fn declarations(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Declared>> {
    let (schema, name) = table.rsplit_once('.').map_or((None, table), |(schema, name)| (Some(schema), name));
    let sql = "select name, type, \"notnull\", pk from pragma_table_info(?1, ?2) order by cid";
    let mut statement = connection.prepare(sql)?;
    let columns = statement.query_map((name, schema.unwrap_or("main")), |row| {
        let declared: String = row.get(1)?;
        let position: u32 = row.get(3)?;
        Ok(Declared::new(row.get(0)?, &declared, !row.get::<_, bool>(2)? && position == 0, position))
    })?;
    columns.collect()
}

/// The quoted name of a table of the file itself.
pub(super) fn own_table(path: &Path, table: &str, columns: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    let sql =
        format!("pragma journal_mode = off; pragma synchronous = off; create table {} ({columns})", table_name(table));
    connection.execute_batch(&sql)?;
    Ok(connection)
}

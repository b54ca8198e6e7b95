//! Writing into the tables of a reconciliation: rows are mended in one transaction, each only if the table still holds
//! what was reported, and can be taken back exactly.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, params_from_iter};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::postgres::{Asking, Fault};
use super::side_layout::{SideLayout, qualified};
use super::side_postgres::{PostgresSide, read_row};
use super::side_sqlite::{SqliteSide, Table, table_of};
use super::{quoted, table_name};
use crate::model::compared::{Family, Found, Shape, SideColumn, SideRow, ValueKind};
use crate::model::{Error, Instant, Key, Result, hex};
use crate::source::sides::{Exact, Keep, Mend, MendOutcome, Mended, SideWriter};

/// What becomes of the rows of a key: rows that stay are in neither list.
struct Steps<R, W> {
    updates: Vec<(R, W)>,
    deletes: Vec<R>,
    inserts: Vec<W>,
}

/// Pairs rows that go with rows that come; what is equal on both sides stays.
fn steps<R, W>(mut there: Vec<R>, wanted: Vec<W>, same: impl Fn(&R, &W) -> bool) -> Steps<R, W> {
    let mut left = Vec::new();
    for row in wanted {
        match there.iter().position(|known| same(known, &row)) {
            Some(at) => drop(there.swap_remove(at)),
            None => left.push(row),
        }
    }
    let both = there.len().min(left.len());
    let deletes = there.split_off(both);
    let inserts = left.split_off(both);
    Steps { updates: there.into_iter().zip(left).collect(), deletes, inserts }
}

fn same_rows<T: Ord + Clone>(one: &[T], two: &[T]) -> bool {
    let sorted = |rows: &[T]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    one.len() == two.len() && sorted(one) == sorted(two)
}

/// A row of PostgreSQL that is locked.
struct Locked {
    place: String,
    row: SideRow,
    exact: Vec<Exact>,
}

/// A value to be written: column, SQL with `$` for its text, and the text.
struct Written {
    column: String,
    sql: String,
    text: Option<String>,
}

/// The columns of a table that can be written, with their whole types.
async fn writable(client: &Client, table: &str) -> Asking<Vec<(String, String)>> {
    let sql = "select attname::text, format_type(atttypid, atttypmod) from pg_attribute \
               where attrelid = ($1::text)::regclass and attnum > 0 and not attisdropped and attgenerated = '' \
               order by attnum";
    let rows = client.query(sql, &[&table_name(table)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// One table during a transaction.
struct PostgresWriting<'a> {
    client: &'a Client,
    layout: SideLayout<'a>,
    table: String,
    columns: Vec<(String, String)>,
}

impl PostgresWriting<'_> {
    /// The rows of a key, locked until the transaction ends.
    async fn locked(&self, key: &Key) -> Asking<Vec<Locked>> {
        let mut more = vec!["asked.tableoid::text || ' ' || asked.ctid::text".to_owned()];
        more.extend(self.columns.iter().map(|(name, _)| format!("{}::text", qualified(name))));
        let asked = self.layout.look(std::slice::from_ref(key), &more, " for update");
        let values: Vec<&(dyn ToSql + Sync)> = asked.values.iter().map(|value| value as _).collect();
        let rows = self.client.query(&asked.sql, &values).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: &Row) -> Asking<Locked> {
        let first = self.layout.shape.columns.len();
        let exact = self.columns.iter().enumerate().map(|(at, (name, kind))| {
            Ok(Exact { column: name.clone(), storage: kind.clone(), text: row.try_get(first + 1 + at)? })
        });
        Ok(Locked {
            place: row.try_get(first)?,
            row: read_row(&self.layout, row)?,
            exact: exact.collect::<Asking<_>>()?,
        })
    }

    async fn execute(&self, sql: &str, values: &[Option<String>]) -> Asking<()> {
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let changed = self.client.execute(sql, &values).await?;
        match changed {
            1 => Ok(()),
            _ => Err(Error::conflict("a row was changed while it was repaired").hint("reconcile again").into()),
        }
    }

    async fn update(&self, place: &str, values: &[Written]) -> Asking<()> {
        if values.is_empty() {
            return Ok(());
        }
        let (mut sets, mut texts) = (Vec::new(), Vec::new());
        for value in values {
            texts.push(value.text.clone());
            sets.push(format!("{} = {}", quoted(&value.column), value.sql.replace('$', &format!("${}", texts.len()))));
        }
        texts.push(Some(place.to_owned()));
        let sql = format!("update {} set {} where {}", table_name(&self.table), sets.join(", "), at_place(texts.len()));
        self.execute(&sql, &texts).await
    }

    async fn delete(&self, place: &str) -> Asking<()> {
        let sql = format!("delete from {} where {}", table_name(&self.table), at_place(1));
        self.execute(&sql, &[Some(place.to_owned())]).await
    }

    async fn insert(&self, values: &[Written]) -> Asking<()> {
        let names: Vec<String> = values.iter().map(|value| quoted(&value.column)).collect();
        let place = |(at, value): (usize, &Written)| value.sql.replace('$', &format!("${}", at + 1));
        let sql = format!(
            "insert into {} ({}) overriding system value values ({})",
            table_name(&self.table),
            names.join(", "),
            values.iter().enumerate().map(place).collect::<Vec<_>>().join(", ")
        );
        let texts: Vec<Option<String>> = values.iter().map(|value| value.text.clone()).collect();
        self.execute(&sql, &texts).await
    }

    /// A row of the other side as values of this table.
    fn written(&self, row: &SideRow) -> Vec<Written> {
        let columns = self.layout.shape.columns.iter().zip(&self.layout.found).zip(&row.0);
        columns
            .map(|((column, found), text)| Written {
                column: column.name.clone(),
                sql: assign(column, found, self.whole_type(&column.name)),
                text: text.clone(),
            })
            .collect()
    }

    fn whole_type(&self, column: &str) -> &str {
        self.columns.iter().find(|(name, _)| name == column).map_or("text", |(_, kind)| kind)
    }

    /// Mends one row; `Err` for a fault of the statement, which takes back what this row changed.
    async fn mend(&self, mend: &Mend) -> Asking<MendOutcome> {
        let there = self.locked(&mend.key).await?;
        let rows: Vec<SideRow> = there.iter().map(|locked| locked.row.clone()).collect();
        if !same_rows(&rows, &mend.before) {
            return Ok(MendOutcome::ChangedSince);
        }
        let before = there.iter().map(|locked| locked.exact.clone()).collect();
        let steps = steps(there, mend.after.clone(), |locked, row| locked.row == *row);
        for (locked, row) in &steps.updates {
            let columns = self.layout.shape.columns.iter();
            let differ = columns.zip(&locked.row.0).zip(&row.0).map(|((column, old), new)| {
                let compared = |text: &Option<String>| text.as_deref().map(|text| column.compared(text).into_owned());
                compared(old) != compared(new)
            });
            let changed: Vec<Written> = self
                .written(row)
                .into_iter()
                .zip(differ)
                .filter_map(|(value, differs)| differs.then_some(value))
                .collect();
            self.update(&locked.place, &changed).await?;
        }
        for locked in &steps.deletes {
            self.delete(&locked.place).await?;
        }
        for row in &steps.inserts {
            self.insert(&self.written(row)).await?;
        }
        let after = self.locked(&mend.key).await?.into_iter().map(|locked| locked.exact).collect();
        Ok(MendOutcome::Done(Mended { before, after }))
    }

    async fn undo(&self, key: &Key, mended: &Mended) -> Asking<bool> {
        let there = self.locked(key).await?;
        let texts = |rows: &[Vec<Exact>]| -> Vec<Vec<Option<String>>> {
            rows.iter().map(|row| row.iter().map(|value| value.text.clone()).collect()).collect()
        };
        let now: Vec<Vec<Exact>> = there.iter().map(|locked| locked.exact.clone()).collect();
        if !same_rows(&texts(&now), &texts(&mended.after)) {
            return Ok(false);
        }
        let exact = |value: &Exact| Written {
            column: value.column.clone(),
            sql: format!("($::text)::{}", value.storage),
            text: value.text.clone(),
        };
        let steps = steps(there, mended.before.clone(), |locked, row| locked.exact == *row);
        for (locked, row) in &steps.updates {
            let differing = row.iter().filter(|value| !locked.exact.contains(value));
            self.update(&locked.place, &differing.map(exact).collect::<Vec<_>>()).await?;
        }
        for locked in &steps.deletes {
            self.delete(&locked.place).await?;
        }
        for row in &steps.inserts {
            self.insert(&row.iter().map(exact).collect::<Vec<_>>()).await?;
        }
        Ok(true)
    }
}

/// The one row of a table, or of one of its partitions, whose place is a parameter.
fn at_place(parameter: usize) -> String {
    let part = |number: u8| format!("split_part(${parameter}::text, ' ', {number})");
    format!("ctid = {}::tid and tableoid = {}::oid", part(2), part(1))
}

/// SQL that turns a canonical text into a value of a column.
fn assign(column: &SideColumn, found: &Found, whole: &str) -> String {
    let instant = "(case when $::text in ('infinity', '-infinity') then ($::text)::timestamptz \
                   else timestamptz 'epoch' + ($::text)::bigint * interval '1 microsecond' end)";
    match (column.kind, found.family) {
        (ValueKind::Truth, Family::Whole) => format!("(($::text)::boolean)::int::{whole}"),
        (ValueKind::Instant, Family::Instant) => instant.to_owned(),
        (ValueKind::Instant, Family::Local | Family::Day) => {
            format!("({instant} at time zone make_interval(mins => {}))::{whole}", column.zone_minutes)
        }
        (ValueKind::Instant, Family::Whole) => "($::text)::bigint / 1000000".to_owned(),
        (ValueKind::Bytes, _) => "decode($::text, 'hex')".to_owned(),
        // An assignment refuses texts that are too long; a cast would cut them.
        (_, Family::Text) if matches!(found.declared.as_str(), "text" | "varchar" | "bpchar") => "$::text".to_owned(),
        _ => format!("($::text)::{whole}"),
    }
}

/// Whether a statement failed because the table holds something that nobody reported.
fn is_foreign_row(fault: &Fault) -> bool {
    match fault {
        Fault::Postgres(error) => error.code() == Some(&SqlState::UNIQUE_VIOLATION),
        Fault::Stated(error) => error.kind() == crate::model::ErrorKind::Conflict,
    }
}

impl PostgresSide {
    /// A connection that may write, in a transaction.
    async fn writing(&self) -> Asking<Client> {
        let client = self.postgres.connect_with("set session characteristics as transaction read write").await?;
        client.batch_execute("begin; set local lock_timeout = '10s'").await?;
        Ok(client)
    }

    async fn mend_all(&self, shape: &Shape, mends: &[Mend], before_commit: &mut Keep<'_>) -> Asking<Vec<MendOutcome>> {
        let client = self.writing().await?;
        let layout = SideLayout::new(shape, &self.table, self.found().await?)?;
        let columns = writable(&client, &self.table).await?;
        let writing = PostgresWriting { client: &client, layout, table: self.table.clone(), columns };
        let mut outcomes = Vec::with_capacity(mends.len());
        for mend in mends {
            client.batch_execute("savepoint one").await?;
            match writing.mend(mend).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(fault) if is_foreign_row(&fault) => {
                    client.batch_execute("rollback to savepoint one").await?;
                    outcomes.push(MendOutcome::ChangedSince);
                }
                Err(fault) => return Err(fault),
            }
        }
        before_commit(&outcomes)?;
        client.batch_execute("commit").await?;
        Ok(outcomes)
    }

    async fn undo_all(&self, shape: &Shape, keys: &[Key], mended: &[Mended]) -> Asking<Vec<bool>> {
        let client = self.writing().await?;
        let layout = SideLayout::new(shape, &self.table, self.found().await?)?;
        let columns = writable(&client, &self.table).await?;
        let writing = PostgresWriting { client: &client, layout, table: self.table.clone(), columns };
        let mut undone = Vec::with_capacity(keys.len());
        for (key, mended) in keys.iter().zip(mended) {
            undone.push(writing.undo(key, mended).await?);
        }
        client.batch_execute("commit").await?;
        Ok(undone)
    }

    fn explain_writing(&self, fault: Fault) -> Error {
        match fault {
            Fault::Postgres(error) if error.code().is_some_and(|code| &code.code()[..2] == "23") => {
                let message = format!("{}: a rule of the table refuses the repair; nothing was changed", self.shown);
                Error::conflict(message)
                    .hint("repair the rows that it refers to first (--key, --only)")
                    .caused_by(error)
            }
            Fault::Postgres(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                let message = format!("{}: writing is not allowed", self.shown);
                Error::denied(message).hint("let the owner grant select, insert, update, delete").caused_by(error)
            }
            fault => self.explain(fault).while_doing("writing a repair"),
        }
    }
}

#[async_trait]
impl SideWriter for PostgresSide {
    async fn mend(&self, shape: &Shape, mends: &[Mend], before_commit: &mut Keep<'_>) -> Result<Vec<MendOutcome>> {
        self.mend_all(shape, mends, before_commit).await.map_err(|fault| self.explain_writing(fault))
    }

    async fn undo(&self, shape: &Shape, keys: &[Key], mended: &[Mended]) -> Result<Vec<bool>> {
        self.undo_all(shape, keys, mended).await.map_err(|fault| self.explain_writing(fault))
    }
}

/// A row of an SQLite table during a transaction.
struct Stored {
    rowid: i64,
    row: SideRow,
    exact: Vec<Exact>,
}

/// One SQLite table during a transaction.
struct SqliteWriting<'a> {
    connection: &'a Connection,
    table: Table,
    /// Every column with its declared type.
    columns: Vec<Found>,
}

impl SqliteWriting<'_> {
    fn stored(&self, key: &Key) -> rusqlite::Result<Vec<Stored>> {
        let names: Vec<String> = self.columns.iter().map(|found| quoted(&found.name)).collect();
        let condition = self.table.key_condition(key);
        let narrowed = condition.as_ref().map(|(name, _)| format!(" where {name} = ?")).unwrap_or_default();
        let sql =
            format!("select {}, rowid, {} from {}{narrowed}", self.table.names(), names.join(", "), self.table.from);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(condition.map(|(_, value)| value)))?;
        let (mut found, first) = (Vec::new(), self.table.shape.columns.len());
        while let Some(stored) = rows.next()? {
            let row = self.table.read(stored)?;
            if row.key(&self.table.shape).as_ref() != Some(key) || !self.table.is_wanted(&row) {
                continue;
            }
            let exact = self.columns.iter().enumerate();
            let exact = exact.map(|(at, column)| Ok(exact_of(&column.name, stored.get_ref(first + 1 + at)?)));
            let exact = exact.collect::<rusqlite::Result<_>>()?;
            found.push(Stored { rowid: stored.get(first)?, row, exact });
        }
        Ok(found)
    }

    fn update(&self, rowid: i64, values: &[(String, Sql)]) -> rusqlite::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let sets: Vec<String> = values.iter().map(|(name, _)| format!("{} = ?", quoted(name))).collect();
        let sql = format!("update {} set {} where rowid = {rowid}", self.table.from, sets.join(", "));
        self.connection.execute(&sql, params_from_iter(values.iter().map(|(_, value)| value.clone()))).map(|_| ())
    }

    fn delete(&self, rowid: i64) -> rusqlite::Result<()> {
        self.connection.execute(&format!("delete from {} where rowid = {rowid}", self.table.from), ()).map(|_| ())
    }

    fn insert(&self, values: &[(String, Sql)]) -> rusqlite::Result<()> {
        let names: Vec<String> = values.iter().map(|(name, _)| quoted(name)).collect();
        let places = vec!["?"; values.len()].join(", ");
        let sql = format!("insert into {} ({}) values ({places})", self.table.from, names.join(", "));
        self.connection.execute(&sql, params_from_iter(values.iter().map(|(_, value)| value.clone()))).map(|_| ())
    }

    /// A row of the other side in the forms that this table's columns are declared for; `form` is how a stored row
    /// writes the same column.
    fn written(&self, row: &SideRow, like: Option<&Stored>) -> Vec<(String, Sql)> {
        let columns = self.table.shape.columns.iter().zip(&row.0);
        columns
            .map(|(column, text)| {
                let found = self.columns.iter().find(|found| found.name == column.name);
                let family = found.map_or(Family::Any, |found| found.family);
                let storage = like.and_then(|stored| stored.exact.iter().find(|value| value.column == column.name));
                (column.name.clone(), sql_of(column, family, storage, text.as_deref()))
            })
            .collect()
    }

    fn mend(&self, mend: &Mend) -> rusqlite::Result<MendOutcome> {
        let there = self.stored(&mend.key)?;
        let rows: Vec<SideRow> = there.iter().map(|stored| stored.row.clone()).collect();
        if !same_rows(&rows, &mend.before) {
            return Ok(MendOutcome::ChangedSince);
        }
        let before = there.iter().map(|stored| stored.exact.clone()).collect();
        let steps = steps(there, mend.after.clone(), |stored, row| stored.row == *row);
        for (stored, row) in &steps.updates {
            let differ = self.table.shape.columns.iter().zip(&stored.row.0).zip(&row.0);
            let changed = self.written(row, Some(stored)).into_iter().zip(differ).filter_map(|(value, (old, new))| {
                let compared = |text: &Option<String>| text.as_deref().map(|text| old.0.compared(text).into_owned());
                (compared(old.1) != compared(new)).then_some(value)
            });
            self.update(stored.rowid, &changed.collect::<Vec<_>>())?;
        }
        steps.deletes.iter().try_for_each(|stored| self.delete(stored.rowid))?;
        for row in &steps.inserts {
            self.insert(&self.written(row, None))?;
        }
        let after = self.stored(&mend.key)?.into_iter().map(|stored| stored.exact).collect();
        Ok(MendOutcome::Done(Mended { before, after }))
    }

    fn undo(&self, key: &Key, mended: &Mended) -> rusqlite::Result<bool> {
        let there = self.stored(key)?;
        let sorted = |rows: Vec<Vec<Exact>>| {
            let texts = rows.into_iter().map(|row| {
                let values = row.into_iter().map(|value| (value.column, (value.storage, value.text)));
                values.collect::<BTreeMap<_, _>>()
            });
            let mut texts: Vec<_> = texts.collect();
            texts.sort();
            texts
        };
        let now = there.iter().map(|stored| stored.exact.clone()).collect();
        if sorted(now) != sorted(mended.after.clone()) {
            return Ok(false);
        }
        let exact =
            |row: &[Exact]| row.iter().map(|value| (value.column.clone(), stored_of(value))).collect::<Vec<_>>();
        let steps = steps(there, mended.before.clone(), |stored, row| stored.exact == *row);
        for (stored, row) in &steps.updates {
            let differing: Vec<Exact> = row.iter().filter(|value| !stored.exact.contains(value)).cloned().collect();
            self.update(stored.rowid, &exact(&differing))?;
        }
        steps.deletes.iter().try_for_each(|stored| self.delete(stored.rowid))?;
        steps.inserts.iter().try_for_each(|row| self.insert(&exact(row)))?;
        Ok(true)
    }
}

fn exact_of(column: &str, value: ValueRef) -> Exact {
    let (storage, text) = match value {
        ValueRef::Null => ("null", None),
        ValueRef::Integer(value) => ("integer", Some(value.to_string())),
        // The bits: no digit is lost.
        ValueRef::Real(value) => ("real", Some(format!("{:016x}", value.to_bits()))),
        ValueRef::Text(text) => ("text", Some(String::from_utf8_lossy(text).into_owned())),
        ValueRef::Blob(bytes) => ("blob", Some(hex(bytes))),
    };
    Exact { column: column.to_owned(), storage: storage.to_owned(), text }
}

fn stored_of(value: &Exact) -> Sql {
    let Some(text) = &value.text else { return Sql::Null };
    match value.storage.as_str() {
        "integer" => text.parse().map_or(Sql::Null, Sql::Integer),
        "real" => u64::from_str_radix(text, 16).map_or(Sql::Null, |bits| Sql::Real(f64::from_bits(bits))),
        "blob" => Sql::Blob(bytes_of(text)),
        _ => Sql::Text(text.clone()),
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|letter| letter.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// A canonical text as SQLite keeps it in a column: as the row beside it does, or as the declared type says.
fn sql_of(column: &SideColumn, family: Family, storage: Option<&Exact>, text: Option<&str>) -> Sql {
    let Some(text) = text else { return Sql::Null };
    let stored = storage.map(|value| value.storage.as_str()).filter(|storage| *storage != "null");
    match column.kind {
        ValueKind::Number if stored == Some("text") || family == Family::Text => Sql::Text(text.to_owned()),
        ValueKind::Number => match text.parse::<i64>() {
            Ok(value) => Sql::Integer(value),
            // What a double does not hold exactly is kept as text.
            Err(_) => match text.parse::<f64>() {
                Ok(value) if crate::model::compared::float_number(value) == text => Sql::Real(value),
                _ => Sql::Text(text.to_owned()),
            },
        },
        ValueKind::Truth if family != Family::Text => Sql::Integer(i64::from(text == "true")),
        ValueKind::Instant => match (text.parse::<i64>(), stored) {
            (Ok(micros), Some("integer" | "real")) => Sql::Integer(micros.div_euclid(1_000_000)),
            (Ok(micros), _) => Sql::Text(instant_text(micros, family, column.zone_minutes)),
            (Err(_), _) => Sql::Text(text.to_owned()),
        },
        ValueKind::Bytes => Sql::Blob(bytes_of(text)),
        _ => Sql::Text(text.to_owned()),
    }
}

/// `2024-01-31 18:00:00.5` in the column's zone; with `+00:00` where the type says that there is a zone.
fn instant_text(micros: i64, family: Family, zone_minutes: i32) -> String {
    let zone = if family == Family::Instant { 0 } else { zone_minutes };
    // `Instant` shows Beijing time: shifted so that what it shows is the wanted zone's.
    let shown = Instant(micros + (i64::from(zone) - 480) * 60_000_000).to_string();
    let clock = shown.trim_end_matches("+08:00").replace('T', " ");
    let whole = clock.split_once('.').map_or(&*clock, |(whole, _)| whole);
    let fraction = micros.rem_euclid(1_000_000);
    let fraction =
        if fraction == 0 { String::new() } else { format!(".{fraction:06}").trim_end_matches('0').to_owned() };
    let offset = if family == Family::Instant { "+00:00" } else { "" };
    format!("{whole}{fraction}{offset}")
}

/// Whether SQLite refused a row because of one that nobody reported.
fn is_foreign(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

#[async_trait]
impl SideWriter for SqliteSide {
    async fn mend(&self, shape: &Shape, mends: &[Mend], before_commit: &mut Keep<'_>) -> Result<Vec<MendOutcome>> {
        let (shape, mends) = (shape.clone(), mends.to_vec());
        // The transaction waits on its own thread while the caller keeps what it needs for undoing.
        let (told, hears) = tokio::sync::oneshot::channel::<Vec<MendOutcome>>();
        let (answers, answered) = std::sync::mpsc::channel::<bool>();
        let work = self.run(true, move |this, connection| {
            let columns = this.declared(connection)?;
            let explain = |error| this.explain(error).while_doing("writing a repair");
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(explain)?;
            let table = table_of(this, &transaction, &shape)?;
            let writing = SqliteWriting { connection: &transaction, table, columns };
            let mut outcomes = Vec::new();
            for mend in &mends {
                transaction.execute_batch("savepoint one").map_err(explain)?;
                match writing.mend(mend) {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(error) if is_foreign(&error) => {
                        transaction.execute_batch("rollback to one").map_err(explain)?;
                        outcomes.push(MendOutcome::ChangedSince);
                    }
                    Err(error) => return Err(explain(error)),
                }
                transaction.execute_batch("release one").map_err(explain)?;
            }
            drop(told.send(outcomes.clone()));
            if !answered.recv().unwrap_or(false) {
                return Err(Error::storage(format!("{}: the repair was taken back", this.shown)));
            }
            transaction.commit().map_err(explain)?;
            Ok(outcomes)
        });
        let hear = async {
            let Ok(outcomes) = hears.await else { return Ok(()) };
            let kept = before_commit(&outcomes);
            let _ = answers.send(kept.is_ok());
            kept
        };
        let (worked, kept) = tokio::join!(work, hear);
        kept?;
        worked
    }

    async fn undo(&self, shape: &Shape, keys: &[Key], mended: &[Mended]) -> Result<Vec<bool>> {
        let (shape, keys, mended) = (shape.clone(), keys.to_vec(), mended.to_vec());
        self.run(true, move |this, connection| {
            let columns = this.declared(connection)?;
            let explain = |error| this.explain(error).while_doing("taking a repair back");
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(explain)?;
            let table = table_of(this, &transaction, &shape)?;
            let writing = SqliteWriting { connection: &transaction, table, columns };
            let rows = keys.iter().zip(&mended);
            let undone = rows.map(|(key, mended)| writing.undo(key, mended).map_err(explain)).collect::<Result<_>>()?;
            transaction.commit().map_err(explain)?;
            Ok(undone)
        })
        .await
    }
}

//! PostgreSQL tables: read-only transactions, portals of a few hundred rows, hashes computed by the server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Row};

use super::describe::Declared;
use super::layout::{Asked, Layout, Start};
use super::rows::{self, Raw, Rows};
use super::{DatabaseOptions, from_clause, keyless, table_name};
use crate::model::{Dataset, Digest, Error, Key, KeyPart, KeyRange, Result};
use crate::postgres::{Address, untrusted};
use crate::source::Page;
use crate::source::tables::{Cursor, CursorValue, Since, TablePage, Tables};

/// Rows that the server sends at a time.
const PORTAL_ROWS: i32 = 500;

/// A server; connected when it is first asked, and again after a connection broke.
pub(super) struct Postgres {
    source: String,
    address: Address,
    options: DatabaseOptions,
    session: Mutex<Option<Session>>,
}

struct Session {
    client: Client,
    layouts: HashMap<String, Arc<Layout>>,
}

pub(super) type Asking<T> = std::result::Result<T, Fault>;

/// What asking can fail with, until it is said where.
pub(super) enum Fault {
    Postgres(tokio_postgres::Error),
    Stated(Error),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        Fault::Postgres(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Stated(error)
    }
}

impl Postgres {
    pub(super) fn new(source: String, url: &str, options: DatabaseOptions) -> Result<Postgres> {
        let address = Address::read(url, &source, options.connect_timeout)?;
        Ok(Postgres { source, address, options, session: Mutex::new(None) })
    }

    /// A connection with this project's form of values, after `settings` of the caller's own.
    pub(super) async fn connect_with(&self, settings: &str) -> Asking<Client> {
        let (client, connection) = self.address.config().connect(self.address.tls()?).await?;
        tokio::spawn(async move {
            // Whoever asks next learns of a broken connection.
            let _ = connection.await;
        });
        let timeout = self.options.statement_timeout.as_millis();
        let settings = format!(
            "{settings}; set statement_timeout = {timeout}; set jit = off; \
             set datestyle = 'ISO, YMD'; set timezone = 'UTC'; set extra_float_digits = 1; \
             set intervalstyle = 'postgres'; set bytea_output = 'hex'"
        );
        client.batch_execute(&settings).await?;
        Ok(client)
    }

    async fn connect(&self) -> Asking<Session> {
        let client = self.connect_with("set session characteristics as transaction read only").await?;
        Ok(Session { client, layouts: HashMap::new() })
    }

    /// Asks on the one connection; after a fault of the connection itself it is made anew next time.
    async fn ask<T>(&self, dataset: &Arc<Dataset>, asked: &(dyn AskOne<T> + Sync)) -> Result<T> {
        let mut held = self.session.lock().await;
        let answer = self.ask_held(&mut held, dataset, asked).await;
        answer.map_err(|fault| {
            if held.as_ref().is_some_and(|session| session.client.is_closed()) {
                *held = None;
            }
            if let (Some(session), Fault::Postgres(_)) = (held.as_mut(), &fault) {
                session.layouts.clear();
            }
            let place = dataset.database.as_ref().map_or("the table", |database| database.place());
            self.explain(fault, place)
        })
    }

    async fn ask_held<T>(
        &self,
        held: &mut Option<Session>,
        dataset: &Arc<Dataset>,
        asked: &(dyn AskOne<T> + Sync),
    ) -> Asking<T> {
        if held.as_ref().is_none_or(|session| session.client.is_closed()) {
            *held = Some(self.connect().await?);
        }
        let Some(session) = held.as_mut() else { return Err(Error::bug("there is no connection").into()) };
        let layout = layout(session, dataset).await?;
        let sql = asked.sql(&layout)?;
        let transaction =
            session.client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
        let transaction = transaction.start().await?;
        let statement = transaction.prepare(&sql.sql).await?;
        let values: Vec<&(dyn ToSql + Sync)> = sql.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let portal = transaction.bind(&statement, &values).await?;
        let mut answer = asked.begin();
        loop {
            let rows = transaction.query_portal(&portal, PORTAL_ROWS).await?;
            let all = rows.len() < PORTAL_ROWS as usize;
            for row in &rows {
                if !asked.take(&mut answer, row)? {
                    transaction.rollback().await?;
                    return Ok(answer);
                }
            }
            if all {
                transaction.commit().await?;
                return Ok(answer);
            }
        }
    }

    pub(super) fn explain(&self, fault: Fault, table: &str) -> Error {
        let error = match fault {
            Fault::Stated(error) => return error,
            Fault::Postgres(error) => error,
        };
        let (source, place) = (&self.source, self.address.server());
        if let Some(error) = untrusted(&error, &place) {
            return error;
        }
        let Some(code) = error.code() else {
            let message = format!("{source}: the server at {place} does not answer");
            return Error::transient(message)
                .hint("check that it runs and its address; it is asked again")
                .caused_by(error);
        };
        let class = &code.code()[..2];
        match (code, class) {
            (&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME, _) => {
                Error::not_found(format!("{source}: {place} has no table {table}"))
                    .hint("check database.table in the catalogue file, with its schema")
            }
            (&SqlState::INSUFFICIENT_PRIVILEGE, _) => {
                Error::denied(format!("{source}: reading {table} is not allowed"))
                    .hint("let the owner run: grant usage on schema ... to ...; grant select on ... to ...")
            }
            (&SqlState::INVALID_CATALOG_NAME, _) => Error::not_found(format!("{source}: {place} does not exist"))
                .hint("check the database's name in the address")
                .concerning_the_whole_source(),
            (_, "28") => Error::denied(format!("{source}: the server at {place} refuses user and password"))
                .hint("check the address under sources.database.connections, and pg_hba.conf on the server")
                .concerning_the_whole_source(),
            (&SqlState::QUERY_CANCELED, _) => Error::transient(format!("{source}: reading {table} took too long"))
                .hint("raise sources.database.statement_timeout_seconds, or add an index on the key"),
            (_, "08" | "53" | "57" | "40") => {
                Error::transient(format!("{source}: the server at {place} cannot answer now")).hint("it is asked again")
            }
            _ => Error::invalid(format!("{source}: {table} cannot be read"))
                .hint("check database.query and the columns of the catalogue file"),
        }
        .caused_by(error)
    }
}

/// The SQL for a dataset, from the columns that its table has now.
async fn layout(session: &mut Session, dataset: &Arc<Dataset>) -> Asking<Arc<Layout>> {
    if let Some(layout) = session.layouts.get(&dataset.name) {
        return Ok(layout.clone());
    }
    let sql = format!("select * from {} limit 0", from_clause(dataset)?);
    let statement = session.client.prepare(&sql).await?;
    let found = statement.columns().iter().map(|column| (column.name().to_owned(), column.type_().clone()));
    let layout = Arc::new(Layout::new(dataset, &found.collect::<Vec<_>>())?);
    session.layouts.insert(dataset.name.clone(), layout.clone());
    Ok(layout)
}

/// One question: its SQL, and what becomes of the rows.
trait AskOne<T> {
    fn sql(&self, layout: &Layout) -> Result<Asked>;
    fn begin(&self) -> T;
    /// Whether more rows are wanted.
    fn take(&self, answer: &mut T, row: &Row) -> Asking<bool>;
}

/// Texts of a row; the server sends nothing else.
fn text(row: &Row, at: usize) -> Asking<Option<String>> {
    Ok(row.try_get::<_, Option<String>>(at)?)
}

fn raw(dataset: &Dataset, row: &Row) -> Asking<Vec<Raw>> {
    (0..dataset.columns.len()).map(|at| Ok(Ok(text(row, at)?))).collect()
}

/// A page, by key or by watermark.
struct AskPage<'a, F> {
    dataset: &'a Arc<Dataset>,
    options: &'a DatabaseOptions,
    sql: F,
    /// Columns behind those of the dataset.
    cursor: usize,
}

struct Building {
    rows: Rows,
    more: bool,
    cursor: Option<Cursor>,
}

impl<F: Fn(&Layout) -> Result<Asked>> AskOne<Building> for AskPage<'_, F> {
    fn sql(&self, layout: &Layout) -> Result<Asked> {
        (self.sql)(layout)
    }

    fn begin(&self) -> Building {
        Building { rows: Rows::new(self.dataset.clone()), more: false, cursor: None }
    }

    fn take(&self, answer: &mut Building, row: &Row) -> Asking<bool> {
        if answer.rows.count >= self.options.page_rows as u64 || answer.rows.bytes >= self.options.page_bytes {
            answer.more = true;
            return Ok(false);
        }
        answer.rows.push(raw(self.dataset, row)?);
        if self.cursor > 0 {
            let first = self.dataset.columns.len();
            let value = |at: usize| Ok(CursorValue::Text(text(row, at)?.unwrap_or_default()));
            answer.cursor = Some((first..first + self.cursor).map(value).collect::<Asking<_>>()?);
        }
        Ok(true)
    }
}

impl Building {
    fn finish(mut self, network: Duration) -> Result<TablePage> {
        let started = Moment::now();
        let batch = self.rows.finish()?;
        let page = Page {
            batch,
            more: self.more,
            bytes: self.rows.bytes,
            network,
            decode: started.elapsed(),
            unreadable: std::mem::take(&mut self.rows.unreadable),
        };
        Ok(TablePage { page, last: self.rows.last, cursor: self.cursor })
    }
}

/// Rows of a few texts.
struct AskTexts<F> {
    sql: F,
}

impl<F: Fn(&Layout) -> Result<Asked>> AskOne<Vec<Vec<Option<String>>>> for AskTexts<F> {
    fn sql(&self, layout: &Layout) -> Result<Asked> {
        (self.sql)(layout)
    }

    fn begin(&self) -> Vec<Vec<Option<String>>> {
        Vec::new()
    }

    fn take(&self, answer: &mut Vec<Vec<Option<String>>>, row: &Row) -> Asking<bool> {
        answer.push((0..row.len()).map(|at| text(row, at)).collect::<Asking<_>>()?);
        Ok(true)
    }
}

fn start<'a>(since: &Since<'a>, texts: &'a mut Vec<String>) -> Start<'a> {
    match since {
        Since::Begin => Start::Begin,
        Since::From(part) => Start::From(part),
        Since::After(cursor) => {
            texts.extend(cursor.iter().map(|value| match value {
                CursorValue::Text(text) => text.clone(),
                CursorValue::Int(value) => value.to_string(),
                CursorValue::Real(value) => value.to_string(),
            }));
            Start::After(texts)
        }
    }
}

/// A number that the server sent as text.
fn number<T: std::str::FromStr>(text: Option<&Option<String>>) -> Result<T> {
    let parsed = text.and_then(Option::as_ref).and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::bug("the server's count is no number"))
}

#[async_trait]
impl Tables for Postgres {
    async fn probe(&self) -> Result<()> {
        let mut held = self.session.lock().await;
        let connect = async {
            if held.as_ref().is_none_or(|session| session.client.is_closed()) {
                *held = Some(self.connect().await?);
            }
            if let Some(session) = held.as_ref() {
                session.client.simple_query("select 1").await?;
            }
            Ok(())
        };
        let probed: Asking<()> = connect.await;
        probed.map_err(|fault| self.explain(fault, "anything"))
    }

    async fn declarations(&self, table: &str) -> Result<Vec<Declared>> {
        let sql = "select a.attname::text, format_type(a.atttypid, a.atttypmod), (not a.attnotnull)::text, \
                   coalesce(array_position(i.indkey::int2[], a.attnum)::text, '') \
                   from pg_attribute a left join pg_index i on i.indrelid = a.attrelid and i.indisprimary \
                   where a.attrelid = ($1::text)::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum";
        self.probe().await?;
        let held = self.session.lock().await;
        let Some(session) = held.as_ref() else { return Err(Error::bug("there is no connection")) };
        let rows = session.client.query(sql, &[&table_name(table)]).await;
        let rows = rows.map_err(|error| self.explain(error.into(), table))?;
        let declared = |row: &Row| -> Asking<Declared> {
            let [name, kind, nullable, place] = [0, 1, 2, 3].map(|at| text(row, at).map(Option::unwrap_or_default));
            // Positions in an int2vector count from 0.
            let place = place?.parse::<u32>().map_or(0, |place| place + 1);
            Ok(Declared::new(name?, &kind?, nullable? == "true", place))
        };
        let found = rows.iter().map(declared).collect::<Asking<Vec<_>>>();
        found.map_err(|fault| self.explain(fault, table))
    }

    async fn check(&self, dataset: &Arc<Dataset>) -> Result<()> {
        let answer = self.ask(dataset, &AskTexts { sql: |layout: &Layout| Ok(layout.keyless()) }).await?;
        let found = answer.first().and_then(|row| row.first()).and_then(Option::as_deref) == Some("true");
        if found { Err(keyless(dataset)) } else { Ok(()) }
    }

    async fn count_since(&self, dataset: &Arc<Dataset>, since: Option<&KeyPart>) -> Result<u64> {
        let start = since.map_or(Start::Begin, Start::From);
        let asked = AskTexts { sql: |layout: &Layout| layout.count_since(dataset, &start) };
        let answer = self.ask(dataset, &asked).await?;
        number(answer.first().and_then(|row| row.first()))
    }

    async fn since(&self, dataset: &Arc<Dataset>, since: Since<'_>) -> Result<TablePage> {
        let mut texts = Vec::new();
        let start = start(&since, &mut texts);
        let limit = self.options.page_rows + 1;
        let sql = |layout: &Layout| layout.since(dataset, &start, limit);
        let asked = AskPage { dataset, options: &self.options, sql, cursor: 1 + dataset.key.len() };
        let started = Moment::now();
        self.ask(dataset, &asked).await?.finish(started.elapsed())
    }

    async fn range(&self, dataset: &Arc<Dataset>, range: &KeyRange) -> Result<TablePage> {
        let limit = self.options.page_rows + 1;
        let sql = |layout: &Layout| Ok(layout.range(range, limit));
        let asked = AskPage { dataset, options: &self.options, sql, cursor: 0 };
        let started = Moment::now();
        self.ask(dataset, &asked).await?.finish(started.elapsed())
    }

    async fn split(&self, dataset: &Arc<Dataset>, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        let answer = self.ask(dataset, &AskTexts { sql: |layout: &Layout| Ok(layout.split(range, step)) }).await?;
        let rows = answer.into_iter().map(|row| row.into_iter().map(Ok).collect::<Vec<Raw>>());
        let mut keys: Vec<Key> = rows.filter_map(|raw| rows::key_of(dataset, &raw)).collect();
        keys.dedup();
        Ok(keys)
    }

    async fn digests(&self, dataset: &Arc<Dataset>, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let answer = self.ask(dataset, &AskTexts { sql: |layout: &Layout| Ok(layout.digests(range, bounds)) }).await?;
        let mut digests = vec![Digest::default(); bounds.len() + 1];
        for row in &answer {
            if let Some(Some(encoding)) = row.get(3)
                && encoding != "UTF8"
            {
                let message = format!(
                    "{}: {} is encoded in {encoding}, so its hashes are others",
                    self.source,
                    self.address.server()
                );
                return Err(
                    Error::invalid(message).hint("only a database in UTF8 is compared by hash; keep it by watermark")
                );
            }
            let part: usize = number(row.first())?;
            let digest = Digest { rows: number(row.get(1))?, sum: number(row.get(2))? };
            *digests.get_mut(part).ok_or_else(|| Error::bug("the server counted a part that was not asked for"))? =
                digest;
        }
        Ok(digests)
    }
}

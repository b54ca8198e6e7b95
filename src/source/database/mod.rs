//! Databases as sources: one source a configured connection, to PostgreSQL, to an SQLite file or to a folder of files.
//! It only ever reads, a page at a time, and finds its place again by key or watermark.

mod file;
mod form;
mod layout;
mod parts;
mod postgres;
mod rows;
mod side_layout;
mod side_postgres;
mod side_sqlite;
mod side_write;
mod sqlite;

pub mod describe;
pub mod side;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::tables::{Since, TablePage, Tables};
use super::{Call, Page, Source};
use crate::model::dataset::Cut;
use crate::model::{Dataset, Digest, Error, Exchanges, Key, KeyPart, KeyRange, Offer, Result};
use file::Folder;
use postgres::Postgres;
use sqlite::Sqlite;

/// Limits of a connection; from `[sources.database]`.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    pub rank: u8,
    /// Rows of a page.
    pub page_rows: usize,
    /// Bytes of a page, as text.
    pub page_bytes: u64,
    /// Time for one statement.
    pub statement_timeout: Duration,
    pub connect_timeout: Duration,
}

impl Default for DatabaseOptions {
    fn default() -> DatabaseOptions {
        DatabaseOptions {
            rank: 1,
            page_rows: 5_000,
            page_bytes: 16 << 20,
            statement_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// A connection to a database.
pub struct DatabaseSource {
    /// `database.NAME`.
    name: String,
    rank: u8,
    page_rows: usize,
    place: Box<dyn Tables>,
    /// Where pages by offset go on: dataset and offset -> the key before it.
    places: Mutex<HashMap<(String, u64), Key>>,
}

/// Places that are remembered for pages by offset.
const PLACES_MAX: usize = 256;

impl DatabaseSource {
    /// `url` begins with `postgres://`, `sqlite://` (a file) or `file://` (a folder of CSV and Parquet files). Nothing is
    /// opened yet.
    pub fn new(name: &str, url: &str, options: DatabaseOptions) -> Result<DatabaseSource> {
        let source = format!("database.{name}");
        let (rank, page_rows) = (options.rank, options.page_rows);
        let place: Box<dyn Tables> = if let Some(path) = url.strip_prefix("sqlite://") {
            Box::new(Sqlite::new(source.clone(), PathBuf::from(path), options))
        } else if let Some(path) = url.strip_prefix("file://") {
            Box::new(Folder::new(source.clone(), PathBuf::from(path), options))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Box::new(Postgres::new(source.clone(), url, options)?)
        } else {
            let error = Error::invalid(format!("the address of connection {name} names no known kind of database"));
            return Err(error.hint("write postgres://user@host/database, sqlite://path/to/file or file://folder"));
        };
        Ok(DatabaseSource { name: source, rank, page_rows, place, places: Mutex::default() })
    }

    fn place_of(&self, dataset: &str, offset: u64) -> Option<Key> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&(dataset.to_owned(), offset)).cloned()
    }

    fn remember(&self, dataset: &str, offset: u64, key: Key) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert((dataset.to_owned(), offset), key);
    }

    /// The key before `offset`, found again page by page when it is not remembered.
    async fn key_before(&self, dataset: &Arc<Dataset>, offset: u64) -> Result<Option<Key>> {
        if let Some(key) = self.place_of(&dataset.name, offset) {
            return Ok(Some(key));
        }
        let mut after = None;
        let mut passed = 0;
        while passed < offset {
            let answer = self.place.range(dataset, &KeyRange { after, upto: None }).await?;
            passed += (answer.page.batch.num_rows() + answer.page.unreadable.len()) as u64;
            after = answer.last;
            if !answer.page.more {
                break;
            }
        }
        match passed == offset {
            true => Ok(after),
            false => Err(Error::invalid(format!("{}: pages do not begin at row {offset}", dataset.name))
                .hint("ask for the pages one after the other")),
        }
    }
}

#[async_trait]
impl Source for DatabaseSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn rank(&self) -> u8 {
        self.rank
    }

    fn offer(&self, dataset: &Dataset) -> Option<Offer> {
        let database = dataset.database.as_ref().filter(|database| database.source() == self.name)?;
        Some(Offer {
            api: database.table.clone().unwrap_or_else(|| dataset.name.clone()),
            cuts: vec![Cut::Whole],
            row_caps: vec![u32::try_from(self.page_rows).ok()],
            offset_max: None,
            calls_per_slice: 1,
            per_minute: None,
            per_day: None,
            concurrency: Some(1),
            lacks: Vec::new(),
            lacks_exchanges: Exchanges::default(),
        })
    }

    /// The whole table, page after page by key.
    async fn fetch(&self, call: &Call) -> Result<Page> {
        let (dataset, offset) = (&call.dataset, call.offset);
        let after = if offset == 0 { None } else { self.key_before(dataset, offset).await? };
        let answer = self.place.range(dataset, &KeyRange { after, upto: None }).await?;
        let rows = (answer.page.batch.num_rows() + answer.page.unreadable.len()) as u64;
        if let (true, Some(key)) = (answer.page.more, answer.last) {
            self.remember(&dataset.name, offset + rows, key);
        }
        Ok(answer.page)
    }

    fn probe_question(&self) -> &'static str {
        "a connection and an empty question"
    }

    async fn probe(&self) -> Result<()> {
        self.place.probe().await
    }

    fn tables(&self) -> Option<&dyn Tables> {
        Some(self)
    }
}

#[async_trait]
impl Tables for DatabaseSource {
    async fn probe(&self) -> Result<()> {
        self.place.probe().await
    }

    async fn declarations(&self, table: &str) -> Result<Vec<describe::Declared>> {
        self.place.declarations(table).await
    }

    async fn check(&self, dataset: &Arc<Dataset>) -> Result<()> {
        self.place.check(dataset).await
    }

    async fn count_since(&self, dataset: &Arc<Dataset>, since: Option<&KeyPart>) -> Result<u64> {
        self.place.count_since(dataset, since).await
    }

    async fn since(&self, dataset: &Arc<Dataset>, since: Since<'_>) -> Result<TablePage> {
        self.place.since(dataset, since).await
    }

    async fn range(&self, dataset: &Arc<Dataset>, range: &KeyRange) -> Result<TablePage> {
        self.place.range(dataset, range).await
    }

    async fn split(&self, dataset: &Arc<Dataset>, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        self.place.split(dataset, range, step).await
    }

    async fn digests(&self, dataset: &Arc<Dataset>, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        self.place.digests(dataset, range, bounds).await
    }
}

/// What a dataset reads, or why it reads nothing here.
fn declared(dataset: &Dataset) -> Result<&crate::model::Database> {
    dataset.database.as_ref().ok_or_else(|| Error::bug(format!("{} has no [database] section", dataset.name)))
}

/// `"name"`, safe inside SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What is read from, called `asked`: the table, each part of its name quoted, or the query in parentheses.
fn from_clause(dataset: &Dataset) -> Result<String> {
    let database = declared(dataset)?;
    Ok(match (&database.table, &database.query) {
        (Some(table), _) => format!("{} as asked", table_name(table)),
        (None, Some(query)) => format!("({}) as asked", query.trim().trim_end_matches(';')),
        (None, None) => return Err(Error::bug(format!("{} names neither a table nor a query", dataset.name))),
    })
}

/// `sales.contracts` as `"sales"."contracts"`.
fn table_name(table: &str) -> String {
    table.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

/// A column of the dataset that the table does not have.
fn missing_column(dataset: &Dataset, column: &str, wanted: &str, found: &[String]) -> Error {
    let place = dataset.database.as_ref().map_or("the table", |database| database.place());
    let message = format!("{place} has no column {wanted:?}, which {}.{column} is read from", dataset.name);
    let hint = format!("its columns are {}; name another under database.columns", found.join(", "));
    Error::invalid(message).hint(hint)
}

/// A table whose rows cannot be told apart.
fn keyless(dataset: &Dataset) -> Error {
    let message = format!("{} has rows without a value in its key ({})", dataset.name, dataset.key.join(", "));
    Error::invalid(message).hint("choose a key that every row has, or leave those rows out with database.query")
}

/// Rows of a dataset from their canonical texts (see `model::digest`), in catalogue order.
pub fn batch_of_texts(dataset: &Arc<Dataset>, texts: Vec<Vec<Option<String>>>) -> Result<arrow_array::RecordBatch> {
    let mut rows = rows::Rows::new(dataset.clone());
    texts.into_iter().for_each(|row| rows.push(row.into_iter().map(Ok).collect()));
    if let Some(refused) = rows.unreadable.first() {
        let message = format!("a row does not fit {}: {}", dataset.name, refused.reason);
        return Err(Error::invalid(message).hint("compare that column with another rule, or leave it out"));
    }
    rows.finish()
}

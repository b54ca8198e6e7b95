//! Folders of CSV and Parquet files as tables: a file is streamed into a temporary SQLite table in canonical form, and
//! asked there like any other. Memory does not depend on the file's size; the temporary file goes with the source.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use async_trait::async_trait;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use super::describe::Declared;
use super::sqlite::{Sqlite, own_table};
use super::{DatabaseOptions, declared, quoted};
use crate::model::{Column, ColumnType, Database, Dataset, Digest, Error, Key, KeyPart, KeyRange, Result, decimal};
use crate::source::file::{self, Mapping, ReadOptions, Units};
use crate::source::tables::{Since, TablePage, Tables};

/// The name of the temporary table.
const TABLE: &str = "rows";

/// A folder whose files are tables.
pub(super) struct Folder {
    source: String,
    path: PathBuf,
    options: DatabaseOptions,
    /// By dataset.
    loaded: Mutex<HashMap<String, Arc<Loaded>>>,
}

/// A file in a temporary table.
struct Loaded {
    /// Size and time of the file when it was read.
    stamp: (u64, Option<SystemTime>),
    dataset: Arc<Dataset>,
    table: Sqlite,
    path: PathBuf,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Folder {
    pub(super) fn new(source: String, path: PathBuf, options: DatabaseOptions) -> Folder {
        Folder { source, path, options, loaded: Mutex::default() }
    }

    /// The table of a dataset; read again when the file has changed.
    async fn table(&self, dataset: &Arc<Dataset>) -> Result<Arc<Loaded>> {
        let path = self.path.join(declared(dataset)?.table.as_deref().unwrap_or_default());
        let stamp = self.stamp(&path)?;
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(&dataset.name).cloned();
        if let Some(known) = known.filter(|known| known.stamp == stamp) {
            return Ok(known);
        }
        let (source, options, wanted) = (self.source.clone(), self.options.clone(), dataset.clone());
        let reading = tokio::task::spawn_blocking(move || load(source, &path, stamp, wanted, options));
        let loaded =
            Arc::new(reading.await.map_err(|error| Error::bug("reading a file ended early").caused_by(error))??);
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).insert(dataset.name.clone(), loaded.clone());
        Ok(loaded)
    }

    fn stamp(&self, path: &Path) -> Result<(u64, Option<SystemTime>)> {
        let found = std::fs::metadata(path).map_err(|error| {
            let message = format!("{}: there is no file {}", self.source, path.display());
            Error::not_found(message).hint("check database.table and the connection's folder").caused_by(error)
        })?;
        Ok((found.len(), found.modified().ok()))
    }
}

/// Streams a file into a temporary table.
fn load(
    source: String,
    path: &Path,
    stamp: (u64, Option<SystemTime>),
    dataset: Arc<Dataset>,
    options: DatabaseOptions,
) -> Result<Loaded> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = std::env::temp_dir().join(format!("tidegate-{}-{number}.db", std::process::id()));
    let names: Vec<String> = dataset.columns.iter().map(|column| quoted(&column.name)).collect();
    let failed = |error: rusqlite::Error| {
        let message = format!("{source}: {} cannot be copied to {}", path.display(), temporary.display());
        Error::storage(message).hint("free space in the folder for temporary files (TMPDIR)").caused_by(error)
    };
    let connection = own_table(&temporary, TABLE, &names.join(", ")).map_err(failed)?;
    let inner = Database {
        table: Some(TABLE.to_owned()),
        query: None,
        columns: Default::default(),
        ..declared(&dataset)?.clone()
    };
    // Dropped, and so removed, whatever goes wrong from here on.
    let loaded = Loaded {
        stamp,
        dataset: Arc::new(Dataset { database: Some(inner), ..(*dataset).clone() }),
        table: Sqlite::new(source.clone(), temporary.clone(), options.clone()),
        path: temporary.clone(),
    };
    fill(&connection, path, &dataset, &options, &failed)?;
    let key: Vec<String> = dataset.key.iter().map(|name| quoted(name)).collect();
    let index = format!("create index by_key on {} ({})", quoted(TABLE), key.join(", "));
    connection.execute_batch(&index).map_err(failed)?;
    Ok(loaded)
}

fn fill(
    connection: &Connection,
    path: &Path,
    dataset: &Arc<Dataset>,
    options: &DatabaseOptions,
    failed: &dyn Fn(rusqlite::Error) -> Error,
) -> Result<()> {
    let mapped = declared(dataset)?.columns.iter().map(|(column, heading)| format!("{heading}={column}"));
    let mapping = Mapping::parse(&mapped.collect::<Vec<_>>(), dataset)?;
    let read = ReadOptions {
        mapping,
        units: Units::Canonical,
        batch_rows: options.page_rows,
        ..ReadOptions::new(dataset.clone())
    };
    let parameters = vec!["?"; dataset.columns.len()].join(", ");
    let mut insert =
        connection.prepare(&format!("insert into {} values ({parameters})", quoted(TABLE))).map_err(failed)?;
    connection.execute_batch("begin").map_err(failed)?;
    file::read(path, &read, &mut |batch| {
        if let Some(refused) = batch.quarantined.first() {
            let message = format!(
                "{} rows of {} cannot be read, the first: {}",
                batch.quarantined.len(),
                batch.file,
                refused.reason
            );
            return Err(Error::invalid(message).hint("correct the file; `tidegate import` keeps such rows apart"));
        }
        for row in 0..batch.batch.num_rows() {
            insert.execute(params_from_iter(sql_row(dataset, &batch.batch, row))).map_err(failed)?;
        }
        Ok(())
    })?;
    connection.execute_batch("commit").map_err(failed)
}

/// A row in the forms that `form` reads: instants as seconds, decimals as text, but as numbers in the key.
fn sql_row(dataset: &Dataset, batch: &RecordBatch, row: usize) -> Vec<Sql> {
    let cell = |(column, array): (&Column, &arrow_array::ArrayRef)| {
        if column.kind == ColumnType::Float {
            let floats = array.as_primitive::<Float64Type>();
            return if floats.is_null(row) { Sql::Null } else { Sql::Real(floats.value(row)) };
        }
        match KeyPart::of(array, row, column.kind) {
            None => Sql::Null,
            Some(KeyPart::Text(text)) => Sql::Text(text),
            Some(KeyPart::Int(value) | KeyPart::Seconds(value)) => Sql::Integer(value),
            Some(KeyPart::Day(day)) => Sql::Text(day.to_string()),
            Some(KeyPart::Decimal(value)) if dataset.key.contains(&column.name) => {
                Sql::Real(decimal::to_f64(value, column.scale))
            }
            Some(KeyPart::Decimal(value)) => Sql::Text(decimal::to_text(value, column.scale)),
        }
    };
    dataset.columns.iter().zip(batch.columns()).map(cell).collect()
}

#[async_trait]
impl Tables for Folder {
    async fn probe(&self) -> Result<()> {
        match self.path.is_dir() {
            true => Ok(()),
            false => Err(Error::not_found(format!("{}: there is no folder {}", self.source, self.path.display()))
                .hint("check its address under sources.database.connections")),
        }
    }

    async fn declarations(&self, table: &str) -> Result<Vec<Declared>> {
        let message = format!("{}: a file declares no types, so {table} cannot be described", self.source);
        Err(Error::invalid(message).hint("write the catalogue file by hand: see docs/guide/databases.md"))
    }

    async fn check(&self, dataset: &Arc<Dataset>) -> Result<()> {
        let loaded = self.table(dataset).await?;
        loaded.table.check(&loaded.dataset).await
    }

    async fn count_since(&self, dataset: &Arc<Dataset>, since: Option<&KeyPart>) -> Result<u64> {
        let loaded = self.table(dataset).await?;
        loaded.table.count_since(&loaded.dataset, since).await
    }

    async fn since(&self, dataset: &Arc<Dataset>, since: Since<'_>) -> Result<TablePage> {
        let loaded = self.table(dataset).await?;
        loaded.table.since(&loaded.dataset, since).await
    }

    async fn range(&self, dataset: &Arc<Dataset>, range: &KeyRange) -> Result<TablePage> {
        let loaded = self.table(dataset).await?;
        loaded.table.range(&loaded.dataset, range).await
    }

    async fn split(&self, dataset: &Arc<Dataset>, range: &KeyRange, step: u64) -> Result<Vec<Key>> {
        let loaded = self.table(dataset).await?;
        loaded.table.split(&loaded.dataset, range, step).await
    }

    async fn digests(&self, dataset: &Arc<Dataset>, range: &KeyRange, bounds: &[Key]) -> Result<Vec<Digest>> {
        let loaded = self.table(dataset).await?;
        loaded.table.digests(&loaded.dataset, range, bounds).await
    }
}

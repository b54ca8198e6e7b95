//! Opening the file: one connection that writes, a few that read, all with the same bounded settings.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::copy;
use super::fault::{Fault, Step};
use super::migrate::migrate;
use crate::model::{Error, Instant, Result};

/// How the file is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct SqliteOptions {
    /// Create the file and its folder when they are missing.
    pub create: bool,
    /// Memory for pages of the writing connection.
    pub cache_mb: u32,
    /// How long to wait for another program's lock.
    pub busy_timeout_ms: u32,
    pub synchronous: Synchronous,
    /// Pages in the write-ahead log after which they are copied into the file.
    pub wal_autocheckpoint: u32,
    /// Rows in a batch of a scan.
    pub scan_batch_rows: usize,
    /// Several processes of this machine run tasks at the same time.
    pub shared: bool,
    /// Open a store into which a copy has not been finished, too.
    pub unfinished: bool,
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// The death of the process; after a power failure the last commits may be missing, never half of one.
    Normal,
    /// A power failure as well.
    Full,
}

impl Default for SqliteOptions {
    fn default() -> SqliteOptions {
        SqliteOptions {
            create: false,
            cache_mb: 64,
            busy_timeout_ms: 10_000,
            synchronous: Synchronous::Normal,
            wal_autocheckpoint: 4_096,
            scan_batch_rows: 8_192,
            shared: false,
            unfinished: false,
        }
    }
}

/// Memory for pages of a reading connection.
const READER_CACHE_MB: u32 = 8;
/// Reading connections that are kept open.
const READERS_IDLE_MAX: usize = 4;
/// Statements that a connection keeps prepared: a few for each table.
const STATEMENTS_MAX: usize = 512;

/// Opens the writing connection and brings the ledger to the newest version.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions, now: Instant) -> Result<Connection> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) if options.create => create_folder(path)?,
        Ok(false) => {
            let error = Error::not_found(format!("there is no store at {}", path.display()));
            return Err(error.hint("run `tidegate init`"));
        }
        Err(cause) => return Err(folder_error(path, cause)),
    }
    let open = || -> Step<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let flags = if options.create { flags | OpenFlags::SQLITE_OPEN_CREATE } else { flags };
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy_timeout(options))?;
        let tables: i64 = connection.query_row("select count(*) from sqlite_master", (), |row| row.get(0))?;
        if tables == 0 {
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        }
        configure(&connection, options, options.cache_mb)?;
        // Only keys of a batch that is in memory anyway. Readers sort large answers in files.
        connection.pragma_update(None, "temp_store", "memory")?;
        let mode: String = connection.query_row("pragma journal_mode = wal", (), |row| row.get(0))?;
        if mode != "wal" {
            return Err(Error::storage("the disk of the store does not support a write-ahead log").into());
        }
        migrate(&mut connection, now)?;
        if !options.unfinished {
            copy::check_whole(&connection)?;
        }
        Ok(connection)
    };
    open().map_err(|fault| fault.explain(path, "opening the store"))
}

/// Larger than SQLite's own 4 KiB: fewer pages to split when a month is added to every security.
const PAGE_BYTES: u32 = 8_192;

fn create_folder(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|cause| folder_error(path, cause)),
        None => Ok(()),
    }
}

fn folder_error(path: &Path, cause: std::io::Error) -> Error {
    let error = Error::storage(format!("opening the store in {}: its folder cannot be used", path.display()));
    error.hint("name another file, or make its folder writable for this user").caused_by(cause)
}

fn busy_timeout(options: &SqliteOptions) -> Duration {
    Duration::from_millis(u64::from(options.busy_timeout_ms))
}

/// The file has been read before: SQLite counts the cache in pages of the size that it knows at this moment.
fn configure(connection: &Connection, options: &SqliteOptions, cache_mb: u32) -> Step<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "cache_size", -i64::from(cache_mb) * 1024)?;
    connection.pragma_update(None, "wal_autocheckpoint", options.wal_autocheckpoint)?;
    let synchronous = match options.synchronous {
        Synchronous::Normal => "normal",
        Synchronous::Full => "full",
    };
    Ok(connection.pragma_update(None, "synchronous", synchronous)?)
}

/// Reading connections that are not in use.
#[derive(Default)]
pub(super) struct Readers(Mutex<Vec<Connection>>);

impl Readers {
    /// Runs `work` on a reading connection.
    pub(super) fn with<T>(
        &self,
        path: &Path,
        options: &SqliteOptions,
        work: impl FnOnce(&Connection) -> Step<T>,
    ) -> Step<T> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| open_reader(path, options), Ok)?;
        let result = work(&connection);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS_IDLE_MAX && !matches!(result, Err(Fault::Sqlite(_))) {
            idle.push(connection);
        }
        result
    }
}

fn open_reader(path: &Path, options: &SqliteOptions) -> Step<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout(options))?;
    connection.query_row("select count(*) from sqlite_master", (), |_| Ok(()))?;
    configure(&connection, options, READER_CACHE_MB)?;
    Ok(connection)
}

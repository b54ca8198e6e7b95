//! Faults inside the store: SQLite's own errors, until the outermost call says which file and what was being done.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::model::Error;

/// What a step inside the store can fail with.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Stated(Error),
}

pub(super) type Step<T> = std::result::Result<T, Fault>;

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

impl Fault {
    /// The error as the caller sees it.
    pub(super) fn explain(self, path: &Path, doing: &str) -> Error {
        let error = match self {
            Fault::Stated(error) => return error,
            Fault::Sqlite(error) => error,
        };
        let file = path.display();
        if error.sqlite_error_code().is_none() {
            let stated = Error::storage(format!("{doing} in {file}: the ledger holds a value that cannot be read"));
            return stated.hint("another program changed it; restore the file from a copy").caused_by(error);
        }
        let (what, hint) = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                ("the disk is full", format!("free space on the disk that holds {file} and run again; nothing is lost"))
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (
                "the file or its folder cannot be written",
                format!("make {file} and its folder writable for this user"),
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => (
                "another program holds the store locked",
                format!("close the other program that writes to {file}, or raise `store.busy_timeout_ms`"),
            ),
            Some(ErrorCode::NotADatabase) => {
                ("the file is not a database", "name another file, or restore it from a copy".to_owned())
            }
            Some(ErrorCode::DatabaseCorrupt) => (
                "the file is damaged",
                format!("restore {file} from a copy; `sqlite3 {file} .recover` saves what is left"),
            ),
            Some(ErrorCode::SystemIoFailure) => {
                ("the file could not be read or written", format!("check the disk that holds {file}"))
            }
            Some(ErrorCode::OutOfMemory) => ("there is not enough memory", "lower `store.cache_mb`".to_owned()),
            _ => return Error::bug(format!("{doing} in {file}: unexpected answer of SQLite")).caused_by(error),
        };
        Error::storage(format!("{doing} in {file}: {what}")).hint(hint).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[test]
    fn every_fault_names_the_file_and_a_remedy() {
        for (code, expected) in [
            (rusqlite::ffi::SQLITE_FULL, "free space"),
            (rusqlite::ffi::SQLITE_READONLY, "writable"),
            (rusqlite::ffi::SQLITE_CANTOPEN, "writable"),
            (rusqlite::ffi::SQLITE_PERM, "writable"),
            (rusqlite::ffi::SQLITE_BUSY, "close the other program"),
            (rusqlite::ffi::SQLITE_LOCKED, "close the other program"),
            (rusqlite::ffi::SQLITE_NOTADB, "another file"),
            (rusqlite::ffi::SQLITE_CORRUPT, "restore"),
            (rusqlite::ffi::SQLITE_IOERR_WRITE, "check the disk"),
        ] {
            let failure = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let error = Fault::from(failure).explain(Path::new("/data/market.db"), "committing");
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.message().starts_with("committing in /data/market.db: "), "{error}");
            assert!(error.hint_text().unwrap().contains(expected), "{error} {:?}", error.hint_text());
        }
    }
}

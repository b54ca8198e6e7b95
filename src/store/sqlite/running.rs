//! One process at a time runs tasks on a store, because its quota gates must count every call; or several that share.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::model::{Error, Result};

/// Locks `<store>-running`, against those that share as well unless `shared`. The operating system gives the lock back when the process ends, in whatever way.
pub fn lock(store: &Path, shared: bool) -> Result<File> {
    let path = lock_path(store);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(|error| {
            let message = format!("opening {} failed: {error}", path.display());
            Error::storage(message).caused_by(error).hint("tasks need a folder that may be written to")
        })?;
    match if shared { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => {
            // For people only: the lock is what counts.
            let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(held(&mut file)),
        Err(TryLockError::Error(error)) => {
            Err(Error::storage(format!("locking {} failed: {error}", path.display())).caused_by(error))
        }
    }
}

fn lock_path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-running");
    name.into()
}

fn held(file: &mut File) -> Error {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    let message = format!("process {} is running tasks on this store", holder.trim());
    Error::conflict(message).hint("wait for it, or pause its tasks: `tidegate tasks`")
}

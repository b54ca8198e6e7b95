//! The SQLite store: the suite, and what only this engine has.

use std::sync::Arc;

use tidegate::model::Clock;
use tidegate::store::Store;
use tidegate::store::sqlite::{SqliteOptions, SqliteStore};

use crate::store_suite::{Fresh, at, notices, quotes};

pub fn options() -> SqliteOptions {
    SqliteOptions { create: true, cache_mb: 4, busy_timeout_ms: 200, ..SqliteOptions::default() }
}

async fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("market.db"), options(), Clock::fixed(at(1))).unwrap();
    store.prepare(&[quotes(), notices()]).await.unwrap();
    Fresh { store: Arc::new(store), folder }
}

crate::store_suite!(self::fresh);

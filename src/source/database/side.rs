//! Tables of databases as sides of a reconciliation.

use std::path::PathBuf;

use super::DatabaseOptions;
use super::postgres::Postgres;
use super::side_postgres::PostgresSide;
use super::side_sqlite::SqliteSide;

pub use super::side_layout::native;
use crate::model::{Error, Result};
use crate::source::sides::Side;

/// The table of a database as a side; `url` as for a connection, `shown` is what people see of it. Nothing is opened yet.
pub fn side(shown: String, url: &str, table: &str, options: DatabaseOptions) -> Result<Box<dyn Side>> {
    if let Some(path) = url.strip_prefix("sqlite://") {
        return Ok(Box::new(SqliteSide::new(shown, PathBuf::from(path), table, options)));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let postgres = Postgres::new(shown.clone(), url, options)?;
        return Ok(Box::new(PostgresSide::new(shown, postgres, table)));
    }
    let error = Error::invalid(format!("{shown} is no table that can be compared"));
    Err(error.hint("write postgres://user@host/database#table or sqlite://path/to/file#table"))
}

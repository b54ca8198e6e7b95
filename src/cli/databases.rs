//! Databases on the command line: their sources from the configuration, and a catalogue file for a table of one.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::model::{Error, Result};
use crate::source::Source;
use crate::source::database::{DatabaseOptions, DatabaseSource, describe};

/// One source a configured connection.
pub fn sources(context: &Context) -> Result<Vec<Arc<dyn Source>>> {
    let options = &context.options().sources.database;
    let limits = DatabaseOptions {
        rank: options.rank,
        page_rows: options.page_rows,
        page_bytes: options.page_mb << 20,
        statement_timeout: Duration::from_secs(options.statement_timeout_seconds),
        connect_timeout: Duration::from_secs(options.connect_timeout_seconds),
    };
    let source = |(name, url): (String, crate::config::Secret)| -> Result<Arc<dyn Source>> {
        Ok(Arc::new(DatabaseSource::new(&name, url.expose(), limits.clone())?))
    };
    options.connections().into_iter().map(source).collect()
}

/// A catalogue file for `CONNECTION.TABLE`, from what the database declares.
pub async fn catalogue_file(context: &Context, named: &str) -> Result<String> {
    let (connection, table) = named.split_once('.').ok_or_else(|| {
        Error::invalid(format!("{named:?} names no table")).hint("write CONNECTION.TABLE, such as erp.sales.contracts")
    })?;
    let wanted = format!("database.{connection}");
    let found = sources(context)?.into_iter().find(|source| source.name() == wanted).ok_or_else(|| {
        let error = Error::not_found(format!("there is no connection {connection:?}"));
        error.hint(format!("configure it: sources.database.connections = [\"{connection}=postgres://...\"]"))
    })?;
    let tables = found.tables().ok_or_else(|| Error::bug("a database without tables"))?;
    describe::catalogue_file(connection, table, &tables.declarations(table).await?)
}

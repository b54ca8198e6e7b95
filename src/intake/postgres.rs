//! A publisher's PostgreSQL: plain sessions, with their notifications, and errors that say what to do.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row};

use crate::model::{Error, Result};
use crate::postgres::{Address, untrusted};

/// What a session is told first: text forms that do not depend on the server's configuration.
pub(super) const FORMS: [(&str, &str); 5] = [
    ("datestyle", "ISO, YMD"),
    ("timezone", "UTC"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

/// A session.
pub(super) struct Database {
    client: Client,
    server: String,
    /// Rung by notifications.
    pub(super) bell: Arc<Notify>,
}

impl Database {
    pub(super) async fn connect(address: &Address, answer: Duration) -> Result<Database> {
        let (server, bell) = (address.server(), Arc::new(Notify::new()));
        let explain = |error| explain(&error, &server, "connecting");
        let client = match address.config().get_ssl_mode() {
            SslMode::Disable => {
                let (client, connection) = address.config().connect(NoTls).await.map_err(explain)?;
                tokio::spawn(follow(connection, bell.clone()));
                client
            }
            _ => {
                let (client, connection) = address.config().connect(address.tls()?).await.map_err(explain)?;
                tokio::spawn(follow(connection, bell.clone()));
                client
            }
        };
        let database = Database { client, server, bell };
        let forms = FORMS.iter().map(|(name, value)| format!("set {name} = '{value}'; ")).collect::<String>();
        let timeout = format!("set statement_timeout = {}; set client_min_messages = warning", answer.as_millis());
        database.run("setting up a session", &format!("{forms}{timeout}")).await?;
        Ok(database)
    }

    pub(super) async fn query(&self, doing: &str, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.client.query(sql, values).await.map_err(|error| self.explain(&error, doing))
    }

    pub(super) async fn execute(&self, doing: &str, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        self.client.execute(sql, values).await.map_err(|error| self.explain(&error, doing))
    }

    pub(super) async fn run(&self, doing: &str, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.explain(&error, doing))
    }

    /// Rows with every value as the server writes it.
    pub(super) async fn texts(&self, doing: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let answered = self.client.simple_query(sql).await.map_err(|error| self.explain(&error, doing))?;
        let rows = answered.into_iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// A value of a row.
    pub(super) fn value<'r, T: tokio_postgres::types::FromSql<'r>>(&self, row: &'r Row, index: usize) -> Result<T> {
        row.try_get(index).map_err(|error| self.explain(&error, "reading an answer"))
    }

    fn explain(&self, error: &tokio_postgres::Error, doing: &str) -> Error {
        explain(error, &self.server, doing)
    }
}

/// Hands notifications on until the connection ends; whoever asks next learns why.
async fn follow<S, T>(mut connection: Connection<S, T>, bell: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            bell.notify_one();
        }
    }
    bell.notify_one();
}

/// An error of the server, by what remedies it.
fn explain(error: &tokio_postgres::Error, server: &str, doing: &str) -> Error {
    match error.as_db_error() {
        Some(stated) => stated_error(stated.code().code(), stated.message(), server, doing),
        None => untrusted(error, server)
            .unwrap_or_else(|| Error::transient(format!("{doing} at {server} failed: {}", plain(error)))),
    }
}

/// The cause without what it may quote.
fn plain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// An error as a server states it. Its words are shown where they speak of names, and never where they may quote a
/// value.
pub(super) fn stated_error(code: &str, message: &str, server: &str, doing: &str) -> Error {
    let said = format!("{doing} at {server} failed: {message}");
    match (code, code.get(..2).unwrap_or_default()) {
        ("42501", _) => {
            Error::denied(said).hint("grant the user of `url` what it needs; docs/guide/intake.md lists it")
        }
        (_, "28") => Error::denied(said).hint("check user and password of the intake's `url`"),
        ("3D000", _) => Error::not_found(said).hint("check the database in the intake's `url`"),
        ("42P01" | "3F000", _) => Error::not_found(said).hint("create the table, or name another one"),
        ("42703", _) => Error::invalid(said).hint("name the column under `columns`"),
        ("42704", _) => Error::not_found(said).hint("see `tidegate intake test NAME`"),
        ("55006", _) => Error::transient(said).hint("another reader has the slot; end it, or use another slot"),
        ("55000", _) => Error::invalid(said).hint("set wal_level = logical, and see pg_replication_slots"),
        (_, "42") => Error::invalid(said),
        _ => Error::transient(format!("{doing} at {server} failed with the state {code}")),
    }
}

/// `"name"`, safe inside SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`, safe inside SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `sales.outbox` as `"sales"."outbox"`.
pub(super) fn table_name(table: &str) -> String {
    table.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[test]
    fn errors_of_a_server_say_what_remedies_them_and_quote_no_value() {
        for (code, kind) in [
            ("28P01", ErrorKind::Denied),
            ("42501", ErrorKind::Denied),
            ("42P01", ErrorKind::NotFound),
            ("42703", ErrorKind::Invalid),
            ("55006", ErrorKind::Transient),
            ("55000", ErrorKind::Invalid),
            ("57P01", ErrorKind::Transient),
            ("22P02", ErrorKind::Transient),
        ] {
            assert_eq!(stated_error(code, "m", "s", "d").kind(), kind, "{code}");
        }
        let error = stated_error("22P02", "invalid input syntax for type integer: \"4000-1234\"", "s", "reading");
        assert_eq!(error.to_string(), "reading at s failed with the state 22P02");
    }

    #[test]
    fn names_and_texts_are_safe_inside_sql() {
        assert_eq!(table_name("sales.out\"box"), "\"sales\".\"out\"\"box\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}

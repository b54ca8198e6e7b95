//! A connection to a Redis, and what its errors mean.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind as Kind, FromRedisValue, Pipeline, RedisError, ServerErrorKind};

use crate::model::{Error, Result};

/// One connection; broken, it is made anew by whoever uses it.
pub(super) struct Link {
    connection: MultiplexedConnection,
}

impl Link {
    /// `answer` bounds every answer: it must be longer than any blocking read.
    pub(super) async fn connect(url: &str, connect: Duration, answer: Duration) -> Result<Link> {
        let client = redis::Client::open(url).map_err(|_| {
            // The cause may repeat the address with its password.
            Error::invalid("`url` is no address of a Redis").hint("write redis://:password@host:6379/0")
        })?;
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(connect)).set_response_timeout(Some(answer));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        Ok(Link { connection: connection.map_err(|error| explain(&error, "connecting to Redis"))? })
    }

    pub(super) async fn ask<T: FromRedisValue>(&mut self, doing: &str, command: &Cmd) -> Result<T> {
        command.query_async(&mut self.connection).await.map_err(|error| explain(&error, doing))
    }

    /// As `ask`; the code of the server's error beside it, where there is one.
    pub(super) async fn try_ask<T: FromRedisValue>(
        &mut self,
        doing: &str,
        command: &Cmd,
    ) -> std::result::Result<T, (Option<String>, Error)> {
        let asked = command.query_async(&mut self.connection).await;
        asked.map_err(|error| (error.code().map(str::to_owned), explain(&error, doing)))
    }

    pub(super) async fn run_all<T: FromRedisValue>(&mut self, doing: &str, commands: &Pipeline) -> Result<T> {
        commands.query_async(&mut self.connection).await.map_err(|error| explain(&error, doing))
    }
}

/// An error by what remedies it. Its text is that of the server's code, never of what was sent.
fn explain(error: &RedisError, doing: &str) -> Error {
    let said = match error.code() {
        Some(code) => format!("{doing} failed: Redis says {code}"),
        None => format!("{doing} failed: {}", error.category()),
    };
    match (error.kind(), error.code()) {
        (Kind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => {
            Error::denied(said).hint("check user, password and permissions of the address")
        }
        (_, Some("WRONGTYPE")) => Error::invalid(said).hint("the key is no stream; name another one"),
        (Kind::InvalidClientConfig, _) => Error::invalid(said).hint("write redis://:password@host:6379/0"),
        (Kind::Server(ServerErrorKind::ReadOnly), _) => Error::transient(said).hint("name the primary"),
        (_, Some("OOM")) => {
            Error::transient(said).hint("Redis has no memory left: maxmemory-policy noeviction, and more of it")
        }
        _ => Error::transient(said),
    }
}

//! Faults inside the store: PostgreSQL's own errors, until the outermost call says which server and what was being done.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::model::Error;
use crate::postgres::untrusted;

/// What a step inside the store can fail with.
#[derive(Debug)]
pub(super) enum Fault {
    Postgres(tokio_postgres::Error),
    /// No connection within the time for it.
    Busy,
    Stated(Error),
}

pub(super) type Step<T> = std::result::Result<T, Fault>;

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        Fault::Postgres(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Stated(error)
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Fault {
        match error {
            PoolError::Backend(error) => Fault::Postgres(error),
            PoolError::Timeout(_) => Fault::Busy,
            other => Fault::Stated(Error::storage("opening a connection failed").caused_by(other)),
        }
    }
}

impl Fault {
    fn state(&self) -> Option<&SqlState> {
        match self {
            Fault::Postgres(error) => error.code(),
            Fault::Busy | Fault::Stated(_) => None,
        }
    }

    /// The connection, or the server, went away, or somebody else was in the way: the same step may work a moment later.
    pub(super) fn may_pass(&self) -> bool {
        let Fault::Postgres(error) = self else { return false };
        match error.code() {
            Some(state) => [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::TOO_MANY_CONNECTIONS,
                SqlState::CONNECTION_FAILURE,
                SqlState::CONNECTION_EXCEPTION,
            ]
            .contains(state),
            // No answer of the server at all: an error of the socket. Values that do not fit their type are none.
            None => {
                error.is_closed() || std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>())
            }
        }
    }

    /// The same commit is in the store already, or is on its way into it.
    pub(super) fn is_known_token(&self) -> bool {
        let Fault::Postgres(error) = self else { return false };
        error.as_db_error().is_some_and(|error| error.constraint() == Some("_token_pkey"))
    }

    /// The error as the caller sees it. `place` names server and database, never a password.
    pub(super) fn explain(self, place: &str, doing: &str) -> Error {
        if let Some(state) = self.state().cloned() {
            return self.of_state(&state, place, doing);
        }
        let error = match self {
            Fault::Stated(error) => return error,
            Fault::Busy => {
                let error = Error::storage(format!("{doing} in {place}: every connection is in use"));
                return error.hint("raise `store.postgres.connections` or `store.postgres.wait_seconds`");
            }
            Fault::Postgres(error) => error,
        };
        if let Some(error) = untrusted(&error, place) {
            return error;
        }
        let cause = std::error::Error::source(&error);
        let (what, hint) = if error.is_closed() {
            ("the connection was closed", "run the same command again; nothing is half written")
        } else if cause.is_some_and(|cause| cause.is::<tokio_postgres::types::WrongType>()) {
            ("the ledger has another shape", "another program changed it; restore it from a copy")
        } else {
            ("the server cannot be reached", "check that it runs, and host, port and `sslmode` of `store.url`")
        };
        Error::storage(format!("{doing} in {place}: {what}")).hint(hint).caused_by(error)
    }

    fn of_state(self, state: &SqlState, place: &str, doing: &str) -> Error {
        let (what, hint) = match state.code() {
            "28P01" | "28000" => {
                ("the server refuses the user", "check user and password of `store.url`, and `pg_hba.conf`".to_owned())
            }
            "3D000" => ("the database does not exist", "create it: see docs/guide/postgresql.md".to_owned()),
            "3F000" => ("the schema does not exist", "run `tidegate init`".to_owned()),
            "42501" => (
                "the user may not do this",
                "make the user the owner of the database or of the schema: see docs/guide/postgresql.md".to_owned(),
            ),
            "53100" => ("the disk of the server is full", "free space there and run again; nothing is lost".to_owned()),
            "53200" => ("the server is out of memory or locks", "raise `max_locks_per_transaction` there".to_owned()),
            "25006" => ("the server is read-only", "name the primary server in `store.url`".to_owned()),
            "55P03" => {
                ("another program holds a lock", "wait for it, or raise `store.postgres.lock_seconds`".to_owned())
            }
            "57014" => (
                "the server took too long",
                "raise `store.postgres.statement_seconds`, or commit fewer rows at a time".to_owned(),
            ),
            "53300" => ("the server has no connection left", "lower `store.postgres.connections`".to_owned()),
            code if code.starts_with("57P") || code.starts_with("08") => {
                ("the server went away", "run the same command again; nothing is half written".to_owned())
            }
            code if code.starts_with("22") || code == "42P01" || code == "42703" => {
                ("a table is not as Tidegate made it", "another program changed it; restore it from a copy".to_owned())
            }
            code => {
                let message = format!("{doing} in {place}: unexpected answer {code} of PostgreSQL");
                return Error::bug(message).caused_by(into_cause(self));
            }
        };
        Error::storage(format!("{doing} in {place}: {what}")).hint(hint).caused_by(into_cause(self))
    }
}

fn into_cause(fault: Fault) -> Box<dyn std::error::Error + Send + Sync> {
    match fault {
        // The message of the server alone: details may hold values of rows.
        Fault::Postgres(error) => match error.as_db_error() {
            Some(stated) => stated.message().to_owned().into(),
            None => error.into(),
        },
        Fault::Busy => "no connection became free in time".into(),
        Fault::Stated(error) => error.into(),
    }
}

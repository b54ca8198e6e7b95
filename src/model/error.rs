//! Errors, named by what the caller can do about them. Every error says what was being done and what to do next.

use std::fmt;

use super::clock::Instant;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What remedies an error. Retry, HTTP status and exit code follow from it by one total match each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The same question may be answered a moment later: dropped connection, server fault, cut or foreign answer.
    Transient,
    /// Too many questions; ask again after the instant (or after a backoff, when the source named none).
    Throttled { until: Option<Instant> },
    /// The quota of a longer window (hour, day) is used up until the instant.
    QuotaGone { until: Option<Instant> },
    /// The source knows us and says no: bad token, no permission, too few points.
    Denied,
    /// The request or input can never work as it is.
    Invalid,
    /// The thing named does not exist.
    NotFound,
    /// Somebody else holds it or changed it first.
    Conflict,
    /// The store could not be read or written: disk full, read-only, locked, corrupt.
    Storage,
    /// The caller was asked to stop (Ctrl-C, pause, cancel).
    Interrupted,
    /// A mistake in Tidegate.
    Bug,
}

impl ErrorKind {
    /// The name that logs, failures and JSON show.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Transient => "transient",
            ErrorKind::Throttled { .. } => "throttled",
            ErrorKind::QuotaGone { .. } => "quota_gone",
            ErrorKind::Denied => "denied",
            ErrorKind::Invalid => "invalid",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Storage => "storage",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Bug => "bug",
        }
    }

    /// The process's exit code; documented in the README.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Invalid => 2,
            ErrorKind::Denied => 3,
            ErrorKind::NotFound => 4,
            ErrorKind::Conflict => 5,
            ErrorKind::Storage => 6,
            ErrorKind::Transient => 7,
            ErrorKind::Throttled { .. } | ErrorKind::QuotaGone { .. } => 8,
            ErrorKind::Bug => 70,
            ErrorKind::Interrupted => 130,
        }
    }

    /// The status of an HTTP answer.
    pub fn http_status(self) -> u16 {
        match self {
            ErrorKind::Invalid => 400,
            ErrorKind::Denied => 403,
            ErrorKind::NotFound => 404,
            ErrorKind::Conflict => 409,
            ErrorKind::Throttled { .. } | ErrorKind::QuotaGone { .. } => 429,
            ErrorKind::Bug => 500,
            ErrorKind::Transient | ErrorKind::Interrupted | ErrorKind::Storage => 503,
        }
    }
}

/// What went wrong (`message`), its cause (`source`, kept apart) and the next step (`hint`).
/// Messages are lower case without a full stop and never hold a row value or a secret.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    field: Option<String>,
    whole_source: bool,
    learned: Option<LearnedLimit>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A limit that a source named when it refused: calls of one API in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnedLimit {
    pub per_minute: Option<u32>,
    pub per_hour: Option<u32>,
    pub per_day: Option<u32>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let message = message.into();
        Error(Box::new(Inner {
            kind,
            message,
            hint: None,
            field: None,
            whole_source: false,
            learned: None,
            cause: None,
        }))
    }

    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Conflict, message)
    }

    pub fn storage(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Storage, message)
    }

    pub fn transient(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Transient, message)
    }

    pub fn denied(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Denied, message)
    }

    pub fn bug(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Bug, message)
    }

    /// The next step for the reader.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// The field of the input that is wrong, in the words of whoever sent it: `amount`, `events[3].time`.
    pub fn at_field(mut self, field: impl Into<String>) -> Error {
        self.0.field = Some(field.into());
        self
    }

    /// Every other question to the same source would be refused as well: bad token, unknown address.
    pub fn concerning_the_whole_source(mut self) -> Error {
        self.0.whole_source = true;
        self
    }

    /// The refusal named the limit that was passed.
    pub fn teaching(mut self, limit: LearnedLimit) -> Error {
        self.0.learned = Some(limit);
        self
    }

    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says what was being done when the error happened; kind and hint stay.
    pub fn while_doing(mut self, doing: impl fmt::Display) -> Error {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the source as a whole refuses, and not only the dataset that was asked for.
    pub fn whole_source(&self) -> bool {
        self.0.whole_source
    }

    pub fn learned_limit(&self) -> Option<LearnedLimit> {
        self.0.learned
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The field that is wrong, where one is.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

/// `context` for results: what was being done.
pub trait Context<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.while_doing(doing()))
    }
}

//! Intakes: messages that come without a call, from a table in the publisher's own PostgreSQL, from its replication
//! stream, and from a consumer group of a Redis Stream; and the relay of the event log to Redis Streams.
//!
//! ```text
//! definition -> keeper: duty -> outbox | replication | redis -> offers (pure) -> desk: messages + refusals + place,
//! one commit
//!                                                                              -> told to the publisher: it may forget
//! ```
//!
//! The publisher is told only after the commit, so that nothing is lost; what comes again after a crash is known by its
//! source and id, so that nothing is published twice.

mod control;
mod definition;
mod desk;
mod draft;
mod duty;
mod group;
mod keeper;
mod outbox;
mod postgres;
mod redis_link;
pub mod relay;
mod replication;
mod standing;
mod trial;

use std::sync::Arc;
use std::time::Duration;

pub use control::{Control, IntakeStatus, NewIntake};
pub use definition::{Intake, Mode, Origin, Outbox, RedisGroup, Replication, State};
pub use keeper::Keeper;
pub use standing::{Doing, Standing};
pub use trial::Found;

use crate::model::Clock;
use crate::publish::Publisher;
use crate::store::Store;

/// How intakes are run; from `[intakes]` in the configuration.
#[derive(Clone, Debug)]
pub struct IntakeOptions {
    /// Whether this process runs intakes at all.
    pub enabled: bool,
    /// Messages that are handed in by one commit.
    pub batch: usize,
    /// Between looks at an outbox nobody rang for.
    pub poll: Duration,
    /// For a connection to be made, and for one answer.
    pub connect: Duration,
    pub answer: Duration,
    /// The largest message of a replication stream.
    pub message_bytes_max: usize,
    /// Waits after failures: the first, doubled up to the cap.
    pub retry_first_ms: u64,
    pub retry_cap_ms: u64,
    /// Without a sign of life another process takes over.
    pub lease: Duration,
    /// How often the standing is written while all is well.
    pub standing_every: Duration,
    /// How often lag is looked at, and from where on it is told.
    pub lag_every: Duration,
    pub lag_rows: u64,
    pub lag_mb: u64,
    pub lag_entries: u64,
}

impl Default for IntakeOptions {
    fn default() -> IntakeOptions {
        IntakeOptions {
            enabled: true,
            batch: 500,
            poll: Duration::from_secs(1),
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            message_bytes_max: 64 << 20,
            retry_first_ms: 500,
            retry_cap_ms: 60_000,
            lease: Duration::from_secs(30),
            standing_every: Duration::from_secs(5),
            lag_every: Duration::from_secs(5),
            lag_rows: 10_000,
            lag_mb: 1_024,
            lag_entries: 10_000,
        }
    }
}

impl IntakeOptions {
    /// What may wait before it is told, in the unit of the origin.
    fn lag_max(&self, intake: &Intake, origin: Origin<'_>) -> u64 {
        match origin {
            Origin::Outbox(_) => intake.lag_max.unwrap_or(self.lag_rows),
            Origin::Replication(_) => intake.lag_max.unwrap_or(self.lag_mb).saturating_mul(1 << 20),
            Origin::Redis(_) => intake.lag_max.unwrap_or(self.lag_entries),
        }
    }
}

/// What intakes work with. Clones share it.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub publisher: Publisher,
    pub options: IntakeOptions,
    /// The name of this process among those that share the store.
    pub worker: String,
}

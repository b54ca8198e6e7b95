//! The words of the domain as values: days, datasets, areas, claims, changes, errors. No I/O.

pub mod area;
pub mod calendar;
pub mod cell;
pub mod change;
pub mod claim;
pub mod clock;
pub mod code;
pub mod compared;
pub mod conflict;
pub mod copy;
pub mod cron;
pub mod database;
pub mod dataset;
pub mod day;
pub mod decimal;
pub mod definition;
pub mod delivery;
pub mod digest;
pub mod error;
pub mod event;
pub mod health;
pub mod job;
pub mod journal;
pub mod json_text;
pub mod keys;
pub mod message;
pub mod number;
pub mod offer;
pub mod outgoing;
pub mod query;
pub mod received;
pub mod reconciliation;
pub mod run;
pub mod security;
pub mod strategy;
pub mod subnet;
pub mod subscription;
pub mod task;
pub mod work;

pub use area::{Area, Securities, Slice, Span};
pub use calendar::TradingCalendar;
pub use change::{Change, Commit, Counts, Fence, Lease, Place, Quarantined, Receipt, RowsChange, RunFence};
pub use claim::{Claim, Coverage, Evidence};
pub use clock::{Clock, Instant};
pub use code::Exchanges;
pub use conflict::{Resolution, RowConflict, Take};
pub use cron::Cron;
pub use database::Database;
pub use dataset::{Column, ColumnType, Dataset};
pub use day::Day;
pub use definition::Definition;
pub use delivery::{Attempt, AttemptOutcome, Delivery, DeliveryState};
pub use digest::Digest;
pub use error::{Error, ErrorKind, LearnedLimit, Result};
pub use event::{Event, EventType};
pub use health::{HEALTH_HOURS, Health};
pub use job::{CatchUp, Days, Job, JobState, On, Origin, Trigger};
pub use journal::{Journal, JournalEntry, JournalWanted, Level};
pub use keys::{Key, KeyPart, KeyRange, Keys};
pub use message::{Content, Message, Offered, Published};
pub use number::Number;
pub use offer::Offer;
pub use outgoing::{
    Attempted, AttemptsWanted, BlockedKey, Chosen, Decision, DeliveriesWanted, DeliveryFigures, FiguresSince, Then,
};
pub use query::{Filter, Order, Query};
pub use received::{Received, ReceivedState, ReceivedWanted};
pub use run::{Run, RunId, RunState, RunsWanted};
pub use security::{Securities as SecurityList, Security};
pub use strategy::{How, Strategy};
pub use subnet::Subnet;
pub use subscription::{
    FieldFilter, FilterOp, Mode, OrderKey, SignatureForm, Subscription, SubscriptionState, WhenDead,
};
pub use task::{Failure, Outcome, Served, Task, TaskId, TaskState, Totals};
pub use work::{Action, Work};

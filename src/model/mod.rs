//! The words of the domain as values: days, datasets, areas, claims, changes, errors. No I/O.

pub mod area;
pub mod calendar;
pub mod cell;
pub mod change;
pub mod claim;
pub mod clock;
pub mod code;
pub mod database;
pub mod dataset;
pub mod day;
pub mod decimal;
pub mod digest;
pub mod error;
pub mod event;
pub mod keys;
pub mod offer;
pub mod query;
pub mod security;
pub mod task;

pub use area::{Area, Securities, Slice, Span};
pub use calendar::TradingCalendar;
pub use change::{Change, Commit, Counts, Fence, Lease, Place, Quarantined, Receipt, RowsChange};
pub use claim::{Claim, Coverage, Evidence};
pub use clock::{Clock, Instant};
pub use database::{Database, TableStrategy};
pub use dataset::{Column, ColumnType, Dataset};
pub use day::Day;
pub use digest::Digest;
pub use error::{Error, ErrorKind, LearnedLimit, Result};
pub use event::{Event, EventType};
pub use keys::{Key, KeyPart, KeyRange, Keys};
pub use offer::Offer;
pub use query::{Filter, Order, Query};
pub use security::{Securities as SecurityList, Security};
pub use task::{Failure, Outcome, Task, TaskId, TaskState, Totals};

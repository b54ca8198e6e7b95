//! The words of the domain as values: days, datasets, areas, claims, changes, errors. No I/O.

pub mod area;
pub mod calendar;
pub mod cell;
pub mod change;
pub mod claim;
pub mod clock;
pub mod code;
pub mod conflict;
pub mod dataset;
pub mod day;
pub mod decimal;
pub mod error;
pub mod event;
pub mod health;
pub mod offer;
pub mod query;
pub mod security;
pub mod strategy;
pub mod task;

pub use area::{Area, Securities, Slice, Span};
pub use calendar::TradingCalendar;
pub use change::{Change, Commit, Counts, Fence, Lease, Place, Quarantined, Receipt, RowsChange};
pub use claim::{Claim, Coverage, Evidence};
pub use clock::{Clock, Instant};
pub use conflict::{Resolution, RowConflict, Take};
pub use dataset::{Column, ColumnType, Dataset};
pub use day::Day;
pub use error::{Error, ErrorKind, LearnedLimit, Result};
pub use event::{Event, EventType};
pub use health::{HEALTH_HOURS, Health};
pub use offer::Offer;
pub use query::{Filter, Order, Query};
pub use security::{Securities as SecurityList, Security};
pub use strategy::{How, Strategy};
pub use task::{Failure, Outcome, Served, Task, TaskId, TaskState, Totals};

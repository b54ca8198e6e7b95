//! PostgreSQL's logical replication as its plugin `pgoutput` speaks it: frames, messages, relations, rows. No I/O.
//!
//! Tidegate asks for protocol 1. The tags of the protocols 2 to 4 are read where they were asked for and are a fault
//! where they were not: what is not understood must never be skipped.

mod bytes;
mod frame;
mod lsn;
mod message;
mod relation;
mod row;
#[cfg(test)]
mod tests;

pub use frame::{Frame, POSTGRES_EPOCH_MICROS, Status, frame};
pub use lsn::Lsn;
pub use message::{Cell, Decoder, Message, Old, Protocol, Tuple};
pub use relation::{Column, Identity, Kind, Relation, Relations};
pub use row::{Row, row};

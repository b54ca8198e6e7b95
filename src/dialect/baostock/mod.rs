//! BaoStock's wire language (frames of text over TCP), in both directions.
//!
//! | direction | question | answer |
//! |---|---|---|
//! | client | [`mapping::arguments`], [`Question::frame`] | [`ReplyDecoder`], [`answer::decode`], [`mapping::batch`] |
//! | mirror | [`RequestDecoder`], [`question::parse`] | [`answer::encode`], [`Refusal`] |
//!
//! The queries, their types, arguments and fields are one list, [`message::MESSAGES`]. Which field becomes which column is
//! the catalogue's (`[[baostock]]`).

pub mod answer;
pub mod cells;
pub mod frame;
pub mod mapping;
pub mod message;
pub mod question;
pub mod refusal;
#[cfg(test)]
mod tests;

pub use answer::Table;
pub use frame::{Frame, Limits, ReplyDecoder, RequestDecoder};
pub use message::{Form, Layout, Message};
pub use question::{Asked, Question};
pub use refusal::{Refusal, Refused};

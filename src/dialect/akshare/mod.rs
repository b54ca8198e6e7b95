//! AKShare's wire languages: AKTools (its functions over HTTP) in both directions, and the Eastmoney pages underneath as
//! a second form of the same questions; [`eastmoney_answer`] is their other side, for simulations.
//!
//! | direction | question | answer |
//! |---|---|---|
//! | client | [`question::question`], [`query::write`], [`eastmoney::request`] | [`refusal::check`], [`frame::read`], [`mapping::batch`] |
//! | mirror | [`query::read`] | [`encode::Table`], [`refusal::Refusal`] |
//!
//! Whatever the form, an answer becomes a [`Frame`] with AKShare's own field names first, so units, codes and dates are
//! converted in one place.

pub mod eastmoney;
pub mod eastmoney_answer;
pub mod encode;
pub mod frame;
pub mod functions;
pub mod mapping;
pub mod query;
pub mod question;
pub mod refusal;
pub mod shape;
#[cfg(test)]
mod tests;

pub use frame::{Frame, Limits};
pub use functions::{Field, Form, Function, function};
pub use mapping::{Reply, batch};
pub use question::Question;
pub use refusal::Refusal;

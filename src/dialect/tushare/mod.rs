//! Tushare Pro's wire language (HTTP bodies in JSON), in both directions.
//!
//! | direction | question | answer |
//! |---|---|---|
//! | client | [`request::params_for`], [`request::body`] | [`decode::decode`], [`refusal::classify`] |
//! | mirror | [`request::parse`] | [`encode::encode`], [`refusal::Refusal`] |
//!
//! Units, decimal places and null forms are converted here, once, exactly.

pub mod decode;
pub mod encode;
pub mod refusal;
pub mod request;
#[cfg(test)]
mod tests;
pub mod tier;

pub use decode::{Limits, Reply, decode};
pub use encode::encode;
pub use refusal::{Refusal, classify};
pub use request::{Asked, Params};

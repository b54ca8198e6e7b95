//! Tidegate keeps a complete, correct and fresh local copy of data that lives behind slow, limited, unreliable doors,
//! and serves it to whatever people already use. `ARCHITECTURE.md` has the picture and the invariants.

pub mod app;
pub mod catalog;
pub mod check;
pub mod cli;
pub mod compare;
pub mod config;
pub mod dialect;
pub mod engine;
pub mod feed;
pub mod intake;
pub mod log;
pub mod mirror;
pub mod model;
pub mod notify;
pub mod plan;
pub mod postgres;
pub mod publish;
pub mod read;
pub mod receive;
pub mod reconcile;
pub mod scheduler;
pub mod serve;
pub mod sim;
pub mod source;
pub mod store;

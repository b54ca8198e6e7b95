//! One binary for all integration tests.

mod catalogue;
mod config;

//! One binary for all integration tests.

mod catalogue;
mod config;
mod licences;
mod tidy;

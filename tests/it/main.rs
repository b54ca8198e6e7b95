//! One binary for all integration tests.

mod catalogue;
mod config;
mod licences;
mod sim;
mod store_model;
mod store_sqlite;
mod store_suite;
mod tidy;

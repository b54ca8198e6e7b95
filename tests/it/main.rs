//! One binary for all integration tests.

mod catalogue;
mod config;
mod faults;
mod files;
mod kill;
mod licences;
mod mirror;
mod postgres_server;
mod program;
mod sim;
mod store_as_of;
mod store_conflicts;
mod store_model;
mod store_postgres;
mod store_sqlite;
mod store_suite;
mod tasks;
mod tidy;
mod tushare;
mod world;

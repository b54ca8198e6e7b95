//! One binary for all integration tests.

mod baostock;
mod baostock_program;
mod catalogue;
mod compare;
mod config;
mod failover;
mod faults;
mod files;
mod kill;
mod licences;
mod mirror;
mod program;
mod sim;
mod store_as_of;
mod store_conflicts;
mod store_model;
mod store_sqlite;
mod store_suite;
mod strategies;
mod strategies_cli;
mod tasks;
mod tidy;
mod times;
mod times_real;
mod tushare;
mod world;

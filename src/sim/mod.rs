//! A synthetic A-share market, computed from a seed, and scripted faults: what the demo and the tests sync from.

mod akshare;
mod baostock;
mod bars;
mod bodies;
mod core;
mod dice;
mod distort;
mod faults;
mod fundamentals;
mod holidays;
mod market;
mod names;
mod rows;
mod scope;
mod securities;
mod server;
mod sessions;
mod story;
mod tables;

pub use akshare::{AkshareForm, AkshareServer};
pub use baostock::{BaostockServer, BaostockServerOptions, WireFault, WireRecord, WireRule};
pub use faults::{ApiCount, Fault, FaultScript, Rule, Served};
pub use market::{Market, MarketOptions};
pub use server::{Server, ServerOptions};

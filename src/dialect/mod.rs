//! Dialects: the wire languages of sources and of events, spoken in both directions. No I/O.

pub mod akshare;
pub mod baostock;
pub mod cells;
pub mod cloudevents;
pub mod exact;
pub mod facets;
pub mod pgoutput;
pub mod row_hash;
pub mod tushare;
pub mod webhook;

//! Dialects: the wire languages of sources, spoken in both directions. No I/O.

pub mod akshare;
pub mod baostock;
pub mod cells;
pub mod facets;
pub mod pgoutput;
pub mod row_hash;
pub mod tushare;

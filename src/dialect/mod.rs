//! Dialects: the wire languages of sources, spoken in both directions. No I/O.

pub mod baostock;
pub mod row_hash;
pub mod tushare;

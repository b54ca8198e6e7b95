//! (in work)
pub mod tushare;

//! (in work)

pub mod export;
pub mod table;

//! Events carried to other systems: which subscription wants which event, and the way of a request to its receiver.

pub mod address;
pub mod client;
pub mod define;
pub mod health;
pub mod index;
pub mod outcome;
pub mod subscribers;

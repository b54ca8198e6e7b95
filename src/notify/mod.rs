//! Events carried to other systems: which subscription wants which event, and the way of a request to its receiver.

pub mod address;
mod attempt;
pub mod batch;
pub mod client;
mod content;
pub mod define;
pub mod desk;
pub mod dispatch;
pub mod health;
pub mod index;
mod lane;
mod lanes;
mod letter;
mod matching;
mod options;
pub mod outcome;
mod pace;
mod queue;
mod record;
pub mod replay;
mod reverse;
mod standing;
pub mod subscribers;
mod term;
pub mod thresholds;
mod verdict;
pub mod watch;

pub use dispatch::Dispatcher;
pub use options::DispatchOptions;
pub use queue::QueueOptions;

//! The scheduler: jobs fire as runs, and workers bring runs to their end. Everything stands in the store: any process
//! may ask, change and look; whoever has the right to run tasks does the work.

pub mod control;
mod defaults;
mod facts;

pub use control::{Control, JobChange, JobStatus, NewJob};

use crate::model::CatchUp;

/// How jobs run; from `[jobs]` in the configuration.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Whether jobs fire by their triggers.
    pub enabled: bool,
    pub catch_up: CatchUp,
    /// Attempts after a failed run.
    pub attempts: u32,
    /// Minutes before the first of them; the wait doubles with each.
    pub retry_minutes: u32,
    /// Runs that this process works on at the same time.
    pub runs_at_once: usize,
    /// Ended runs of each job that are kept.
    pub runs_kept: usize,
    /// Milliseconds between looks for what other processes wrote.
    pub look_ms: u64,
}

impl Default for JobOptions {
    fn default() -> JobOptions {
        JobOptions {
            enabled: true,
            catch_up: CatchUp::Once,
            attempts: 3,
            retry_minutes: 5,
            runs_at_once: 2,
            runs_kept: 200,
            look_ms: 250,
        }
    }
}

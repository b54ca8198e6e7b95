//! How events are carried to their receivers; from `[notify]` in the configuration.

use std::time::Duration;

use super::health::HealthLimits;
use super::outcome::Retries;
use super::queue::QueueOptions;
use super::thresholds::Thresholds;

#[derive(Clone, Debug)]
pub struct DispatchOptions {
    /// Host and process, for people.
    pub worker: String,
    /// How long the duty lasts without being renewed.
    pub lease: Duration,
    /// In which what is under way at the end may finish.
    pub drain: Duration,
    /// Requests at the same time, in all and to one endpoint.
    pub requests: usize,
    pub requests_per_subscription: usize,
    /// What is held in memory for each subscription.
    pub queue: QueueOptions,
    /// Bytes of content that are held in memory.
    pub content_bytes: usize,
    /// Events that are matched in one step, and attempts that are written down in one.
    pub match_events: usize,
    pub commit_attempts: usize,
    /// In which an answer must be there, where the subscription does not say.
    pub timeout: Duration,
    /// Waits between attempts, where the subscription does not say.
    pub retries: Retries,
    /// The longest wait that an endpoint may ask for.
    pub retry_after_max: Duration,
    pub health: HealthLimits,
    /// Characters of an answer that are kept.
    pub detail_characters: usize,
    /// Who says it, in the mission's form, where the subscription does not say.
    pub source_system: String,
    /// Days for which attempts are kept.
    pub attempts_days: u32,
    /// Between two looks at the figures.
    pub watch_every: Duration,
    pub thresholds: Thresholds,
}

impl Default for DispatchOptions {
    fn default() -> DispatchOptions {
        DispatchOptions {
            worker: crate::engine::lease::worker_name(),
            lease: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            requests: 256,
            requests_per_subscription: 16,
            queue: QueueOptions { held: 2_000, held_per_key: 100 },
            content_bytes: 32 << 20,
            match_events: 500,
            commit_attempts: 500,
            timeout: Duration::from_secs(20),
            retries: Retries { waits: [1, 2, 4].map(Duration::from_secs).to_vec(), jitter: 0.1 },
            retry_after_max: Duration::from_secs(86_400),
            health: HealthLimits {
                warn_failures: 5,
                pause_failures: 10,
                probe_first: Duration::from_secs(30),
                probe_cap: Duration::from_secs(900),
            },
            detail_characters: 500,
            source_system: "tidegate".to_owned(),
            attempts_days: 90,
            watch_every: Duration::from_secs(30),
            thresholds: Thresholds::default(),
        }
    }
}

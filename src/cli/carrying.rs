//! How events are carried to their receivers, as the configuration says it.

use std::time::Duration;

use super::context::Context;
use crate::config;
use crate::engine::lease::worker_name;
use crate::notify::health::HealthLimits;
use crate::notify::outcome::Retries;
use crate::notify::thresholds::{Levels, Thresholds};
use crate::notify::{DispatchOptions, QueueOptions};

fn levels(values: [f64; 3]) -> Levels {
    let [info, warning, severe] = values;
    Levels { info, warning, severe }
}

fn thresholds(notify: &config::Notify) -> Thresholds {
    Thresholds {
        success_percent: levels(notify.alert_success_percent),
        delay_seconds: levels(notify.alert_delay_seconds),
        failures: levels(notify.alert_failures),
        backlog: levels(notify.alert_backlog),
        failed_in_a_row: levels(notify.alert_failed_in_a_row),
        retries: levels(notify.alert_retries),
        attempts_min: notify.watch_attempts_min,
    }
}

/// How events are carried.
pub fn dispatch_options(context: &Context) -> DispatchOptions {
    let notify = &context.options().notify;
    let wait = |seconds: &f64| Duration::try_from_secs_f64(*seconds).unwrap_or_default();
    DispatchOptions {
        worker: worker_name(),
        lease: Duration::from_secs(notify.lease_seconds),
        drain: Duration::from_secs(context.options().serve.drain_seconds),
        requests: notify.requests,
        requests_per_subscription: notify.requests_per_subscription,
        queue: QueueOptions { held: notify.held, held_per_key: notify.held_per_key },
        content_bytes: notify.content_mb << 20,
        match_events: notify.match_events,
        commit_attempts: notify.commit_attempts,
        timeout: Duration::from_secs(notify.timeout_seconds),
        retries: Retries { waits: notify.retry_seconds.iter().map(wait).collect(), jitter: notify.retry_jitter },
        retry_after_max: Duration::from_secs(notify.retry_after_seconds_max),
        health: HealthLimits {
            warn_failures: notify.warn_failures,
            pause_failures: notify.pause_failures,
            probe_first: Duration::from_secs(notify.probe_first_seconds),
            probe_cap: Duration::from_secs(notify.probe_cap_seconds),
        },
        detail_characters: notify.detail_characters,
        source_system: notify.source_system.clone(),
        attempts_days: notify.attempts_days,
        watch_every: Duration::from_secs(notify.watch_seconds),
        thresholds: thresholds(notify),
    }
}

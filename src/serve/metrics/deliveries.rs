//! Deliveries in figures: attempts as they are written down, whichever process makes them, and what waits now.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::exposition::{Exposition, Histogram, Kind};
use crate::model::{AttemptOutcome, AttemptsWanted, DeliveryFigures, Result};
use crate::notify::watch;
use crate::serve::Service;
use crate::store::Store;

/// Upper bounds of the seconds from acceptance to delivery.
const BOUNDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 3_600.0, 86_400.0];
/// Attempts that are counted in one step, and steps of one answer: the rest is counted with the next.
const PAGE: usize = 2_000;
const PAGES_MAX: usize = 20;
/// Subscriptions that are told apart.
const SUBSCRIPTIONS_MAX: usize = 500;
const OTHER: &str = "other";

#[derive(Debug, Default)]
struct Counts {
    /// The last attempt that was counted.
    counted_to: i64,
    attempts: BTreeMap<(String, &'static str), u64>,
    seconds: BTreeMap<String, Histogram>,
}

/// What is counted of attempts since the process began.
#[derive(Debug, Default)]
pub struct Deliveries(Mutex<Counts>);

impl Deliveries {
    /// What was there before is not counted.
    pub async fn begin(store: &dyn Store) -> Result<Deliveries> {
        let newest = AttemptsWanted { limit: 1, ..AttemptsWanted::default() };
        let counted_to = store.attempts(&newest).await?.first().map_or(0, |attempt| attempt.id);
        Ok(Deliveries(Mutex::new(Counts { counted_to, ..Counts::default() })))
    }

    async fn count(&self, store: &dyn Store) -> Result<()> {
        let mut counts = self.0.lock().await;
        for _ in 0..PAGES_MAX {
            let wanted = AttemptsWanted { after: Some(counts.counted_to), limit: PAGE, ..AttemptsWanted::default() };
            let found = store.attempts(&wanted).await?;
            for attempt in &found {
                counts.counted_to = attempt.id;
                let known =
                    counts.seconds.len() < SUBSCRIPTIONS_MAX || counts.seconds.contains_key(&attempt.subscription);
                let name = if known { attempt.subscription.clone() } else { OTHER.to_string() };
                *counts.attempts.entry((name.clone(), attempt.outcome.name())).or_default() += 1;
                let histogram = counts.seconds.entry(name).or_insert_with(|| Histogram::new(BOUNDS));
                if attempt.outcome == AttemptOutcome::Delivered {
                    histogram.add(attempt.delay_ms as f64 / 1_000.0);
                }
            }
            if found.len() < PAGE {
                break;
            }
        }
        Ok(())
    }

    async fn expose(&self, exposition: &mut Exposition) {
        let counts = self.0.lock().await;
        if !counts.seconds.is_empty() {
            let help = "Seconds from the acceptance of an event to its delivery, by subscription.";
            let mut family = exposition.family("webhook_delivery_seconds", Kind::Histogram, help);
            for (subscription, histogram) in &counts.seconds {
                family.histogram(&[("subscription", subscription)], histogram);
            }
        }
        let help = "Attempts to deliver, in whichever process, by subscription and outcome.";
        let mut family = exposition.family("webhook_attempts_total", Kind::Counter, help);
        for ((subscription, outcome), count) in &counts.attempts {
            family.sample(&[("subscription", subscription), ("outcome", outcome)], *count as f64);
        }
    }
}

/// A figure of a subscription: its name, what it says, and how it follows from the figures.
type Gauge = (&'static str, &'static str, fn(&DeliveryFigures) -> Option<f64>);

/// What the store says of deliveries.
pub async fn tell(service: &Service, exposition: &mut Exposition) -> Result<()> {
    let deliveries = &service.metrics.deliveries;
    deliveries.count(&*service.store).await?;
    deliveries.expose(exposition).await;
    let now = service.clock.now();
    let figures = watch::figures(&*service.store, now).await?;
    let figures = &figures[..figures.len().min(SUBSCRIPTIONS_MAX)];
    let gauges: [Gauge; 6] = [
        ("webhook_backlog", "Deliveries that wait, by subscription.", |figures| Some(figures.waiting as f64)),
        ("webhook_retries", "Deliveries that wait for another attempt.", |figures| Some(figures.retrying as f64)),
        ("webhook_dead", "Deliveries without an attempt left that block their keys.", |figures| {
            Some(figures.dead as f64)
        }),
        ("webhook_parked", "Deliveries that were set aside.", |figures| Some(figures.parked as f64)),
        ("webhook_failed_in_a_row", "Failed attempts since the last one that worked.", |figures| {
            Some(figures.failed_in_a_row as f64)
        }),
        ("webhook_success_ratio", "The share of attempts of the last 24 hours that worked.", |figures| {
            figures.success_rate()
        }),
    ];
    for (name, help, value) in gauges {
        let mut family = exposition.family(name, Kind::Gauge, help);
        for figures in figures {
            if let Some(value) = value(figures) {
                family.sample(&[("subscription", &figures.subscription)], value);
            }
        }
    }
    let help = "Age of the oldest event that waits.";
    let mut family = exposition.family("webhook_oldest_seconds", Kind::Gauge, help);
    for figures in figures {
        if let Some((_, at)) = figures.oldest {
            family.sample(&[("subscription", &figures.subscription)], now.millis_since(at).max(0) as f64 / 1_000.0);
        }
    }
    Ok(())
}

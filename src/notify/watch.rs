//! The watch: looks at the figures of deliveries by the clock, tells people of thresholds that are crossed, and forgets old
//! attempts.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Carrier;
use super::thresholds::Raised;
use crate::engine::Stop;
use crate::model::definition::Kind;
use crate::model::{Change, DeliveryFigures, Error, EventType, FiguresSince, Instant, Result};
use crate::store::Store;

/// Where the store notes what is raised.
const PLACE: &str = "notify:raised";
const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;
/// How often old attempts are forgotten.
const FORGET_SECONDS: i64 = 300;

/// The windows that figures are counted in: success over a day, delays and failures over an hour.
pub fn since(now: Instant) -> FiguresSince {
    let hour = now.plus_seconds(-HOUR_SECONDS);
    FiguresSince { success: now.plus_seconds(-DAY_SECONDS), delay: hour, failures: hour }
}

/// The figures of every subscription that there is, by name.
pub async fn figures(store: &dyn Store, now: Instant) -> Result<Vec<DeliveryFigures>> {
    let mut found = store.delivery_figures(since(now)).await?;
    let names: Vec<String> =
        store.definitions(Kind::Subscription).await?.into_iter().map(|definition| definition.name).collect();
    found.retain(|figures| names.contains(&figures.subscription));
    for name in names {
        if !found.iter().any(|figures| figures.subscription == name) {
            found.push(DeliveryFigures { subscription: name, ..DeliveryFigures::default() });
        }
    }
    found.sort_by(|one, other| one.subscription.cmp(&other.subscription));
    Ok(found)
}

/// What is raised now.
pub async fn raised(store: &dyn Store) -> Result<Raised> {
    let noted = store.place(PLACE).await?;
    Ok(noted.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

pub struct Watch {
    carrier: Arc<Carrier>,
}

impl Watch {
    pub fn new(carrier: Arc<Carrier>) -> Watch {
        Watch { carrier }
    }

    /// Until the end is asked for.
    pub async fn run(&self, ending: &Stop) {
        let mut forgotten_at = self.carrier.clock.now();
        let every = self.carrier.options.watch_every.max(Duration::from_millis(10));
        while ending.sleep(every).await {
            let now = self.carrier.clock.now();
            if let Err(error) = self.look(now).await {
                tracing::warn!(%error, "the figures of deliveries cannot be looked at");
            }
            if now.millis_since(forgotten_at) >= FORGET_SECONDS * 1_000 {
                forgotten_at = now;
                let days = i64::from(self.carrier.options.attempts_days);
                let forget = Change::ForgetAttempts { before: now.plus_seconds(-days * DAY_SECONDS) };
                if let Err(error) = self.carrier.term.commit(vec![forget]).await {
                    tracing::warn!(%error, "old attempts are not forgotten");
                }
            }
        }
    }

    async fn look(&self, now: Instant) -> Result<()> {
        let store = &*self.carrier.store;
        let before = raised(store).await?;
        let figures = figures(store, now).await?;
        let (raised, told) = self.carrier.options.thresholds.crossings(&before, &figures);
        if raised == before && told.is_empty() {
            return Ok(());
        }
        let unwritable = |error| Error::bug("what is raised cannot be written").caused_by(error);
        let place = serde_json::to_string(&raised).map_err(unwritable)?;
        let alert = |data| Change::Event { kind: EventType::GateAlert, dataset: None, data };
        let noted = Change::Stand { name: PLACE.to_owned(), place };
        self.carrier.term.commit(told.into_iter().map(alert).chain([noted]).collect()).await?;
        Ok(())
    }
}

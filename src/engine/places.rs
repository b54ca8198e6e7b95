//! Places of calls: where several processes share a store, every call also takes a place in it, so that all of them
//! together keep to a source's limits. The local gate stands in front.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use super::gate::Limits;
use super::stop::Stop;
use crate::model::{Change, Clock, Commit, Error, ErrorKind, Instant, Place, Result};
use crate::store::Store;

/// Sources count a call at some moment before its answer: its place is given away this long after the answer.
const MINUTE_SECONDS: i64 = 60;

/// Where the places of one API are taken.
#[derive(Clone)]
pub struct Places {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub source: String,
    pub api: String,
    /// The longest time that a call takes. The place of one that is never answered is free again a minute later.
    pub call_seconds: i64,
}

/// The place of one call. Unless it is answered, it stays taken for as long as a call may take.
pub struct Held<'a> {
    places: &'a Places,
    number: i64,
    pub waited: Duration,
}

impl Places {
    /// Waits for a place. `None` where nothing is limited. `QuotaGone` at once when the day's calls are used up.
    pub async fn take(&self, limits: Limits, stop: &Stop) -> Result<Option<Held<'_>>> {
        if limits == Limits::default() {
            return Ok(None);
        }
        let asked = Moment::now();
        loop {
            let now = self.clock.now();
            match self.ask(limits, now).await? {
                Place::Taken(number) => return Ok(Some(Held { places: self, number, waited: asked.elapsed() })),
                Place::DayUsed => return Err(day_used(now)),
                Place::FreeAt(at) => {
                    let millis = at.millis_since(now).clamp(1, MINUTE_SECONDS * 1_000) as u64;
                    if !stop.sleep(Duration::from_millis(millis)).await {
                        let error = Error::new(ErrorKind::Interrupted, "stopped");
                        return Err(error.hint("run the same command again to go on"));
                    }
                }
            }
        }
    }

    async fn ask(&self, limits: Limits, now: Instant) -> Result<Place> {
        let take = Change::TakePlace {
            source: self.source.clone(),
            api: self.api.clone(),
            per_minute: limits.per_minute,
            per_day: limits.per_day,
            held_until: now.plus_seconds(self.call_seconds),
        };
        let receipt = self.store.commit(Commit { at: now, fence: None, changes: vec![take] }).await?;
        receipt.places.first().copied().ok_or_else(|| Error::bug("asking for a place gave no answer"))
    }
}

impl Held<'_> {
    /// The call was answered, in whatever way.
    pub async fn answered(self) {
        let now = self.places.clock.now();
        let answer = Change::AnswerPlace { place: self.number, free_at: now.plus_seconds(MINUTE_SECONDS) };
        let commit = Commit { at: now, fence: None, changes: vec![answer] };
        if let Err(error) = self.places.store.commit(commit).await {
            // The place becomes free a little later than it could.
            tracing::warn!(%error, "a place could not be given back");
        }
    }
}

fn day_used(now: Instant) -> Error {
    let until = Some(Instant::at(now.day().next(), 0));
    let error = Error::new(ErrorKind::QuotaGone { until }, "all calls of the day are used");
    error.hint("run the same command again after midnight")
}

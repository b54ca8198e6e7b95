//! Tells that a dataset became whole up to a later day, once, and what its publication taught.

use serde_json::json;

use super::Scheduler;
use super::facts::last_whole;
use crate::engine::{Engine, audits, knowledge};
use crate::model::dataset::Points;
use crate::model::{Change, Dataset, Day, EventType, Result, Span};
use crate::plan::{self, Knowledge, Schedule, wholeness};

/// Days within which a point must have become whole to teach anything of its publication.
const TEACHES_DAYS: i32 = 5;
/// Commits of a day that are looked through for one that came too early.
const COMMITS_MAX: usize = 50;
/// An answer that came so many seconds before the last one was an earlier asking.
const EARLIER_SECONDS: i64 = 60;

impl Scheduler {
    /// Writes an event for each of these datasets that is whole up to a later day than was told before.
    pub(super) async fn tell_whole(&self, engine: &Engine, datasets: &[String]) -> Result<()> {
        if datasets.is_empty() {
            return Ok(());
        }
        let known = knowledge::read(&*self.store).await?;
        for name in datasets {
            let Ok(dataset) = self.catalog.get(name) else { continue };
            let Some(until) = self.whole_until(engine, dataset, &known).await? else { continue };
            let told = last_whole(&*self.store, name).await?;
            if told.is_some_and(|told| told.until >= until) {
                continue;
            }
            let late = self.minutes_late(dataset, &known, until).await?;
            let data = json!({ "until": until.to_string(), "minutes_late": late });
            let event = Change::Event { kind: EventType::DatasetWhole, dataset: Some(name.clone()), data };
            self.commit(vec![event]).await?;
        }
        Ok(())
    }

    async fn whole_until(&self, engine: &Engine, dataset: &Dataset, known: &Knowledge) -> Result<Option<Day>> {
        let now = self.clock.now();
        let coverage = self.store.coverage(&dataset.name).await?;
        let failures = self.store.failures(Some(&dataset.name), false).await?;
        let served = audits::served(&engine.sources, dataset);
        let audit = plan::audit(dataset, known, &coverage, &failures, &served, None, now);
        Ok(wholeness(dataset, known, &coverage, &audit, now).until)
    }

    /// Minutes after the catalogue's time at which a recent day became whole, if it had been asked for too early before:
    /// then its publication was seen. What is whole at the first asking may have been there for hours.
    async fn minutes_late(&self, dataset: &Dataset, known: &Knowledge, until: Day) -> Result<Option<i64>> {
        let now = self.clock.now();
        let schedule = Schedule::new(dataset, &known.calendar);
        let is_recent = until <= now.day() && until >= now.day().plus(-TEACHES_DAYS);
        if schedule.is_timeless() || !is_recent || dataset.expect.points == Points::QuarterEnd {
            return Ok(None);
        }
        let commits = self.store.commits(&dataset.name, Span::day(until), COMMITS_MAX).await?;
        let due = schedule.due_at(until);
        let last = commits.iter().map(|commit| commit.at).max();
        let earlier = |last: crate::model::Instant| {
            commits.iter().any(|commit| commit.at >= due && commit.at.plus_seconds(EARLIER_SECONDS) < last)
        };
        Ok(last.filter(|last| earlier(*last)).map(|last| last.millis_since(due) / 60_000))
    }
}

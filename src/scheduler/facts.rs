//! What jobs go by, read from the store: the calendar, announced reports, what became whole and when, publications.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant as Moment};

use crate::catalog::Catalog;
use crate::engine::knowledge;
use crate::model::job::{Job, On, Trigger};
use crate::model::{CatchUp, Day, Event, EventType, Instant, Result, RunsWanted, TradingCalendar};
use crate::plan::{Facts, Publication, Whole};
use crate::store::Store;

/// Whole days from which publication times are learnt, and how long they count. Later days are learnt anew, so that a
/// table that is published earlier than before is noticed.
const TAUGHT_EVENTS: usize = 20;
const TAUGHT_DAYS: i32 = 45;
/// How long what was read of other processes' writes is believed.
const FRESH: Duration = Duration::from_secs(30);
/// Runs of a job that are looked through at a time.
const RUNS_PAGE: usize = 50;

/// The calendar and the announced days, kept as long as nothing was written.
#[derive(Default)]
pub(super) struct Almanac(Mutex<Option<Kept>>);

struct Kept {
    read_at: Moment,
    last_event: u64,
    today: Day,
    calendar: TradingCalendar,
    announced: Vec<Day>,
}

impl Almanac {
    /// Everything that these jobs go by.
    pub async fn facts(
        &self,
        store: &dyn Store,
        catalog: &Catalog,
        jobs: &[Job],
        now: Instant,
        catch_up: CatchUp,
    ) -> Result<(TradingCalendar, Facts)> {
        let (calendar, announced) = self.calendar(store, now).await?;
        let mut facts = Facts { announced, catch_up, ..Facts::default() };
        for job in jobs {
            match &job.trigger {
                Trigger::Event { on: On::Whole { dataset } } if !facts.whole.contains_key(dataset) => {
                    if let Some(whole) = last_whole(store, dataset).await? {
                        facts.whole.insert(dataset.clone(), whole);
                    }
                }
                Trigger::Event { on: On::Published { dataset } } if !facts.published.contains_key(dataset) => {
                    let Ok(known) = catalog.get(dataset) else { continue };
                    let delays = delays(store, dataset, now).await?;
                    facts.published.insert(dataset.clone(), Publication { dataset: known.clone(), delays });
                }
                _ => {}
            }
        }
        Ok((calendar, facts))
    }

    async fn calendar(&self, store: &dyn Store, now: Instant) -> Result<(TradingCalendar, Vec<Day>)> {
        let (last_event, today) = (*store.committed().borrow(), now.day());
        if let Some(kept) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && kept.last_event == last_event
            && kept.today == today
            && kept.read_at.elapsed() < FRESH
        {
            return Ok((kept.calendar.clone(), kept.announced.clone()));
        }
        let read_at = Moment::now();
        let calendar = knowledge::calendar(store).await?;
        let announced = knowledge::announced(store, today).await?;
        let answer = (calendar.clone(), announced.clone());
        let kept = Kept { read_at, last_event, today, calendar, announced };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(answer)
    }
}

/// The day up to which an event of type `dataset.whole` says that its dataset is whole.
fn until(event: &Event) -> Option<Day> {
    event.data["until"].as_str().and_then(|text| Day::parse(text).ok())
}

/// Up to which day a dataset was said to be whole, and when that was said first.
pub(super) async fn last_whole(store: &dyn Store, dataset: &str) -> Result<Option<Whole>> {
    // Two processes may have said the same.
    let events = store.events_of(EventType::DatasetWhole, dataset, None, 8).await?;
    let wholes = events.iter().filter_map(|event| Some(Whole { until: until(event)?, at: event.at }));
    let wholes: Vec<Whole> = wholes.collect();
    let newest = wholes.iter().map(|whole| whole.until).max();
    Ok(wholes.into_iter().filter(|whole| Some(whole.until) == newest).min_by_key(|whole| whole.at))
}

/// Minutes after the catalogue's time at which days became whole that had been asked for too early.
async fn delays(store: &dyn Store, dataset: &str, now: Instant) -> Result<Vec<i64>> {
    let events = store.events_of(EventType::DatasetWhole, dataset, None, TAUGHT_EVENTS).await?;
    let recent = events.iter().filter(|event| event.at.day() >= now.day().plus(-TAUGHT_DAYS));
    Ok(recent.filter_map(|event| event.data["minutes_late"].as_i64()).collect())
}

/// The last time of its schedule for which a job ran.
pub(super) async fn last_due(store: &dyn Store, job: &str) -> Result<Option<Instant>> {
    let mut wanted = RunsWanted { job: Some(job.to_string()), limit: RUNS_PAGE, ..RunsWanted::default() };
    loop {
        let runs = store.runs(&wanted).await?;
        if let Some(due_at) = runs.iter().find_map(|run| run.due_at) {
            return Ok(Some(due_at));
        }
        match runs.last() {
            Some(last) if runs.len() == RUNS_PAGE => wanted.before = Some(last.id),
            _ => return Ok(None),
        }
    }
}

//! When a job runs next, and why then: trigger, trading days, times that were slept through, publications.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::realtime::SESSIONS;
use super::schedule::Schedule;
use crate::model::dataset::Points;
use crate::model::job::{CatchUp, Days, Job, JobState, On, Trigger};
use crate::model::{Cron, Dataset, Day, Instant, Span, TradingCalendar};

/// Minutes after midnight, Beijing: in the evening, when the reports of a day have been announced.
pub const EVENING: i32 = 21 * 60;
/// A time is not slept through before it lies so many seconds back.
pub const LATE_SECONDS: i64 = 600;
/// Past days from which a publication time is learnt, at least, and minutes that are waited beyond it.
const TAUGHT_BY_DAYS: usize = 3;
const MARGIN_MINUTES: i64 = 5;
/// Days that are looked through for the next time, and back for the last one. A leap day comes within the first.
const DAYS_AHEAD: i32 = 3_000;
const DAYS_BACK: usize = 800;

/// What jobs go by beside the calendar.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Days on which reports are announced, planned or actual, sorted.
    pub announced: Vec<Day>,
    /// By dataset: up to which day it is whole, and when it became so.
    pub whole: BTreeMap<String, Whole>,
    /// By dataset: when its rows are published.
    pub published: BTreeMap<String, Publication>,
    /// For jobs that do not say.
    pub catch_up: CatchUp,
}

/// Up to which day a dataset is whole, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    pub until: Day,
    pub at: Instant,
}

/// When the rows of a dataset are published: as the catalogue says, and how much later they came on past days.
#[derive(Clone, Debug)]
pub struct Publication {
    pub dataset: Arc<Dataset>,
    /// Minutes after the catalogue's time at which the rows of past days were first whole.
    pub delays: Vec<i64>,
}

impl Publication {
    /// The median of what past days taught, with a margin; never earlier than the catalogue says.
    pub fn delay_minutes(&self) -> i64 {
        if self.delays.len() < TAUGHT_BY_DAYS {
            return 0;
        }
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        let median = delays[delays.len() / 2];
        if median <= 0 { 0 } else { median + MARGIN_MINUTES }
    }

    /// The instants of a day at which rows are published.
    fn on(&self, day: Day, calendar: &TradingCalendar) -> Vec<Instant> {
        let schedule = Schedule::new(&self.dataset, calendar);
        if schedule.is_timeless() {
            let minute = self.dataset.publish.minute().unwrap_or(0);
            return self.later(calendar.may_be_open(day).then(|| Instant::at(day, minute)));
        }
        if self.dataset.expect.points == Points::QuarterEnd {
            // Reports come one by one between the end of a period and the day by which all must be there.
            let evening = Instant::at(day, EVENING);
            let periods = schedule.points(day.plus(-550), day, day);
            let open = |period: &Day| schedule.due_at(*period) <= evening && evening < schedule.settled_at(*period);
            let is_season = calendar.may_be_open(day) && periods.iter().any(open);
            return is_season.then_some(evening).into_iter().collect();
        }
        // A point may be published weeks after its day where holidays lie between.
        let back = 31 + self.dataset.publish.days_later;
        let points = calendar.points(self.dataset.expect.points, Span::new(day.plus(-back), day));
        self.later(points.into_iter().map(|point| schedule.due_at(point)).filter(|due| due.day() == day))
    }

    fn later(&self, due: impl IntoIterator<Item = Instant>) -> Vec<Instant> {
        let seconds = self.delay_minutes() * 60;
        due.into_iter().map(|due| due.plus_seconds(seconds)).collect()
    }
}

/// When a job runs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRun {
    /// At or before now: it is due. `None`: not by the clock.
    pub at: Option<Instant>,
    pub reason: String,
}

impl NextRun {
    fn never(reason: impl Into<String>) -> NextRun {
        NextRun { at: None, reason: reason.into() }
    }
}

/// The next time of a job. `last_due`: the last time for which it ran. A time that has come and for which it did not run
/// is the answer, unless it was slept through and the job skips such times; of several only the last one counts.
pub fn next_run(
    job: &Job,
    last_due: Option<Instant>,
    now: Instant,
    calendar: &TradingCalendar,
    facts: &Facts,
) -> NextRun {
    if job.state != JobState::Active {
        return NextRun::never(job.state.name());
    }
    let after = last_due.map_or(job.since, |last| last.max(job.since));
    if let Trigger::Event { on: On::Whole { dataset } } = &job.trigger {
        return when_whole(dataset, after, facts);
    }
    let times = match Times::of(job, calendar, facts) {
        Ok(times) => times,
        Err(why) => return NextRun::never(why),
    };
    let after = match (&times.by, last_due) {
        // A session that has begun already is joined.
        (By::Sessions, None) => Instant::at(job.since.day(), 0),
        // What is learnt in the evening does not publish the same day once more.
        (By::Publication(_), Some(last)) => after.max(Instant::at(last.day(), 1440).plus_seconds(-1)),
        _ => after,
    };
    if let Some(missed) = times.last(after, now)
        && let Some(why) = times.still_counts(missed, now)
    {
        return NextRun { at: Some(missed), reason: why };
    }
    let from = after.max(now);
    match times.first(from) {
        Some(at) => NextRun { at: Some(at), reason: times.reason(from, at) },
        None => NextRun::never(times.nothing()),
    }
}

fn when_whole(dataset: &str, after: Instant, facts: &Facts) -> NextRun {
    match facts.whole.get(dataset) {
        Some(whole) if whole.at > after => {
            NextRun { at: Some(whole.at), reason: format!("{dataset} became whole up to {}", whole.until) }
        }
        Some(whole) => NextRun::never(format!("waits for {dataset} to become whole beyond {}", whole.until)),
        None => NextRun::never(format!("waits for {dataset} to become whole")),
    }
}

/// The times of one job.
struct Times<'a> {
    job: &'a Job,
    calendar: &'a TradingCalendar,
    facts: &'a Facts,
    by: By<'a>,
}

enum By<'a> {
    Cron(Box<Cron>),
    /// Microseconds.
    Every(i64),
    Announcements,
    Publication(&'a Publication),
    Sessions,
}

impl<'a> Times<'a> {
    fn of(job: &'a Job, calendar: &'a TradingCalendar, facts: &'a Facts) -> Result<Times<'a>, String> {
        let by = match &job.trigger {
            Trigger::Cron { expression } => {
                By::Cron(Box::new(Cron::parse(expression).map_err(|error| error.message().to_string())?))
            }
            Trigger::Every { seconds } => By::Every(i64::from((*seconds).max(1)) * 1_000_000),
            Trigger::Event { on: On::Published { dataset } } => match facts.published.get(dataset) {
                Some(publication) => By::Publication(publication),
                None => return Err(format!("the catalogue has no dataset {dataset}")),
            },
            Trigger::Event { on: On::Disclosure } | Trigger::Event { on: On::Whole { .. } } => By::Announcements,
            Trigger::Continuous { .. } => By::Sessions,
        };
        Ok(Times { job, calendar, facts, by })
    }

    /// The times of one day, oldest first.
    fn on(&self, day: Day) -> Vec<Instant> {
        match &self.by {
            By::Cron(cron) if !self.cron_counts(cron, day) => Vec::new(),
            By::Cron(cron) => cron.minutes().iter().map(|minute| Instant::at(day, *minute)).collect(),
            By::Sessions if !self.calendar.may_be_open(day) => Vec::new(),
            By::Sessions => SESSIONS.iter().map(|(opens, _)| Instant::at(day, *opens)).collect(),
            _ if !self.counts(day) => Vec::new(),
            By::Every(micros) => {
                let (start, since) = (Instant::at(day, 0).0, self.job.since.0);
                let first = (start - since).div_euclid(*micros).max(0);
                let all = (first..).map(|step| Instant(since.saturating_add(step.saturating_mul(*micros))));
                let today = all.skip_while(|at| at.0 < start).take_while(|at| at.0 < start + DAY_MICROS);
                today.filter(|at| at.0 > since).collect()
            }
            By::Announcements if self.facts.announced.is_empty() => {
                self.calendar.may_be_open(day).then(|| Instant::at(day, EVENING)).into_iter().collect()
            }
            By::Announcements => {
                let announced = self.facts.announced.binary_search(&day).is_ok();
                announced.then(|| Instant::at(day, EVENING)).into_iter().collect()
            }
            By::Publication(publication) => publication.on(day, self.calendar),
        }
    }

    /// Whether times of a day count at all.
    fn counts(&self, day: Day) -> bool {
        match self.job.days {
            Days::Any => true,
            Days::Trading | Days::NextTrading => self.calendar.may_be_open(day),
            Days::AfterTrading => self.calendar.may_be_open(day.previous()),
        }
    }

    fn cron_counts(&self, cron: &Cron, day: Day) -> bool {
        if self.job.days != Days::NextTrading {
            return cron.is_on(day) && self.counts(day);
        }
        let moved_here = || {
            let before = (1..=31).map(|back| day.plus(-back));
            before.take_while(|day| !self.calendar.may_be_open(*day)).any(|day| cron.is_on(day))
        };
        self.calendar.may_be_open(day) && (cron.is_on(day) || moved_here())
    }

    /// The first time after an instant.
    fn first(&self, after: Instant) -> Option<Instant> {
        let days = after.day().to(after.day().plus(DAYS_AHEAD));
        days.flat_map(|day| self.on(day)).find(|at| *at > after)
    }

    /// The last time after one instant and up to another.
    fn last(&self, after: Instant, until: Instant) -> Option<Instant> {
        let days = after.day().to(until.day()).rev().take(DAYS_BACK);
        let last = days.flat_map(|day| self.on(day).into_iter().rev()).find(|at| *at <= until);
        last.filter(|at| *at > after)
    }

    /// Why a time that has come counts now; `None`: it has passed.
    fn still_counts(&self, at: Instant, now: Instant) -> Option<String> {
        let late_seconds = now.millis_since(at) / 1000;
        if matches!(self.by, By::Sessions) {
            // A session that is over cannot be polled any more, one that goes on is joined.
            let session = SESSIONS.iter().find(|(opens, _)| Instant::at(at.day(), *opens) == at)?;
            return (now < Instant::at(at.day(), session.1)).then(|| "trading goes on".to_string());
        }
        if late_seconds <= LATE_SECONDS {
            return Some(self.reason(at.plus_seconds(-1), at));
        }
        let catch_up = self.job.catch_up.unwrap_or(self.facts.catch_up);
        (catch_up == CatchUp::Once).then(|| format!("slept through; it was due at {at}"))
    }

    fn reason(&self, after: Instant, at: Instant) -> String {
        let on = match self.job.days {
            Days::Any => "",
            Days::Trading => " on trading days",
            Days::NextTrading => " or the next trading day",
            Days::AfterTrading => " after trading days",
        };
        match (&self.by, &self.job.trigger) {
            (By::Cron(cron), Trigger::Cron { expression }) => {
                format!("cron {expression}{on}{}", self.closed_between(cron, after, at))
            }
            (By::Every(micros), _) => format!("every {} s{on}", micros / 1_000_000),
            (By::Publication(publication), _) => published(publication, at),
            (By::Sessions, _) => "trading begins".to_string(),
            _ if self.facts.announced.is_empty() => "disclosure_date names no day yet: every trading day".to_string(),
            _ => format!("reports are announced on {}", at.day()),
        }
    }

    /// `; no trading on 2024-02-12`: days that the line names and that pass without a run.
    fn closed_between(&self, cron: &Cron, after: Instant, at: Instant) -> String {
        if self.job.days == Days::Any {
            return String::new();
        }
        let passed = |day: &Day| cron.is_on(*day) && !self.cron_counts(cron, *day);
        let mut closed = after.day().to(at.day().previous()).filter(passed);
        match (closed.next(), closed.next_back()) {
            (None, _) => String::new(),
            (Some(first), None) => format!("; not on {first}"),
            (Some(first), Some(last)) => format!("; not from {first} to {last}"),
        }
    }

    fn nothing(&self) -> String {
        match &self.by {
            By::Announcements => "waits for disclosure_date to name the next day".to_string(),
            _ => "no time that ever comes".to_string(),
        }
    }
}

fn published(publication: &Publication, at: Instant) -> String {
    let (dataset, minute) = (&publication.dataset.name, at.minute_of_day());
    let time = format!("{:02}:{:02}", minute / 60, minute % 60);
    match publication.delay_minutes() {
        0 => format!("{dataset} is published from {time} on, by the catalogue"),
        _ => format!("{dataset} is published by {time}, as {} past days taught", publication.delays.len()),
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

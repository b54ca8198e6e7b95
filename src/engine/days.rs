//! Days: what became of each day of a range, in a run and ever since.

use std::collections::BTreeMap;

use serde_json::json;

use super::progress::Asked;
use super::{Engine, knowledge};
use crate::model::{
    Area, Change, Commit, Dataset, Day, Error, EventType, Instant, Result, Securities, Span, task::Request,
};
use crate::plan::{DayState, DayStatus, LastSync, check_days, day_statuses, last_syncs};

/// A range of days of one dataset, day by day.
#[derive(Clone, Debug, PartialEq)]
pub struct DayReport {
    pub dataset: String,
    pub span: Span,
    /// Every calendar day, oldest first.
    pub days: Vec<DayStatus>,
    pub counts: DayCounts,
    /// What the run took; `None` when the report tells how days stand, not what a run did.
    pub millis: Option<u64>,
}

/// How many days there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCounts {
    pub success: u64,
    pub partial: u64,
    pub failed: u64,
    /// Skipped because they were done before.
    pub done_before: u64,
    /// Skipped because the exchange was closed, or there is no point of time on that day.
    pub closed: u64,
    /// Skipped because they are not due yet.
    pub not_due: u64,
    pub pending: u64,
}

impl DayCounts {
    pub fn skipped(&self) -> u64 {
        self.done_before + self.closed + self.not_due
    }

    fn of(days: &[DayStatus]) -> DayCounts {
        let mut counts = DayCounts::default();
        for status in days {
            *match (status.state, status.why.as_str()) {
                (DayState::Success, _) => &mut counts.success,
                (DayState::Partial, _) => &mut counts.partial,
                (DayState::Failed, _) => &mut counts.failed,
                (DayState::Pending, _) => &mut counts.pending,
                (DayState::Skipped, DONE_BEFORE) => &mut counts.done_before,
                (DayState::Skipped, "not due yet") => &mut counts.not_due,
                (DayState::Skipped, _) => &mut counts.closed,
            } += 1;
        }
        counts
    }
}

const DONE_BEFORE: &str = "done before";

impl DayReport {
    fn new(dataset: &str, span: Span, days: Vec<DayStatus>, millis: Option<u64>) -> DayReport {
        DayReport { dataset: dataset.to_string(), span, counts: DayCounts::of(&days), days, millis }
    }
}

/// The span that a request of strategy `range` names.
pub fn span_of(request: &Request) -> Result<Span> {
    let day = |text: &Option<String>| {
        let text = text.as_deref().ok_or_else(|| Error::invalid("a range needs a first and a last day"))?;
        Day::parse(text)
    };
    Ok(Span::new(day(&request.from)?, day(&request.to)?))
}

/// What a run did to the days of a range: days that it did not ask for were done before, or nothing was to be done.
pub fn report_of_run(dataset: &Dataset, after: Vec<DayStatus>, span: Span, asked: &[Asked], millis: u64) -> DayReport {
    let of_run = |status: DayStatus| {
        let own: Vec<&Asked> = asked.iter().filter(|asked| asked.area.span.contains(status.day)).collect();
        if own.is_empty() {
            let skipped = matches!(status.state, DayState::Success);
            return match skipped {
                true => DayStatus { state: DayState::Skipped, why: DONE_BEFORE.to_string(), ..status },
                false => status,
            };
        }
        if status.state == DayState::Skipped {
            return status;
        }
        let millis = own.iter().map(|asked| asked.millis).sum();
        DayStatus { millis: Some(millis), ..status }
    };
    DayReport::new(&dataset.name, span, after.into_iter().map(of_run).collect(), Some(millis))
}

impl Engine {
    /// How the days of `span` stand, from claims, failures and the calendar; what each took, from the last run of
    /// strategy `range` that asked for it.
    pub async fn days(&self, dataset: &str, span: Span) -> Result<DayReport> {
        let dataset = self.catalog.get(dataset)?.clone();
        check_days(&dataset)?;
        let mut days = self.standing(&dataset, span).await?;
        let took = self.days_took(&dataset.name, span).await?;
        for status in &mut days {
            // What took that long was this answer only if none came later.
            let known = took.get(&status.day).filter(|(at, _)| status.at.is_some_and(|answered| answered <= *at));
            status.millis = known.map(|(_, millis)| *millis);
        }
        Ok(DayReport::new(&dataset.name, span, days, None))
    }

    pub(super) async fn standing(&self, dataset: &Dataset, span: Span) -> Result<Vec<DayStatus>> {
        let knowledge = knowledge::read(&*self.store).await?;
        let coverage = self.store.coverage(&dataset.name).await?;
        let failures = self.store.failures(Some(&dataset.name), false).await?;
        Ok(day_statuses(dataset, &knowledge, &coverage, &failures, span, self.clock.now()))
    }

    /// Day -> when the last range run ended that asked for it, and what it took.
    async fn days_took(&self, dataset: &str, span: Span) -> Result<BTreeMap<Day, (Instant, u64)>> {
        const PAGE: usize = 100;
        let mut took = BTreeMap::new();
        let mut before = None;
        loop {
            let events = self.store.events_of(EventType::RangeFinished, dataset, before, PAGE).await?;
            for event in &events {
                let days = event.data["days"].as_object().into_iter().flatten();
                for (day, millis) in days {
                    if let (Ok(day), Some(millis)) = (Day::parse(day), millis["ms"].as_u64())
                        && span.contains(day)
                    {
                        took.entry(day).or_insert((event.at, millis));
                    }
                }
            }
            match events.last() {
                Some(last) if events.len() == PAGE => before = Some(last.id),
                _ => return Ok(took),
            }
        }
    }

    /// Writes down what a range run did, day by day.
    pub(super) async fn record_range(&self, report: &DayReport) -> Result<()> {
        let days = report.days.iter().map(|status| {
            let value = json!({ "state": status.state.name(), "rows": status.rows, "ms": status.millis });
            (status.day.to_string(), value)
        });
        let counts = &report.counts;
        let data = json!({
            "area": Area::new(Securities::All, report.span).to_string(),
            "success": counts.success, "partial": counts.partial, "failed": counts.failed,
            "skipped": counts.skipped(), "ms": report.millis,
            "days": days.collect::<serde_json::Map<_, _>>(),
        });
        let dataset = Some(report.dataset.clone());
        let changes = vec![Change::Event { kind: EventType::RangeFinished, dataset, data }];
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }

    /// When each security of a dataset was asked for last, from its claims.
    pub async fn last_syncs(&self, dataset: &str) -> Result<Vec<LastSync>> {
        let dataset = self.catalog.get(dataset)?;
        let knowledge = knowledge::read(&*self.store).await?;
        let coverage = self.store.coverage(&dataset.name).await?;
        Ok(last_syncs(dataset, &knowledge, &coverage, self.clock.now()))
    }
}

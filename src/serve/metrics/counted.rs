//! What is counted while the process lives: what the event log tells of slices and rows, and the calls of sources.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::exposition::{Exposition, Kind};
use crate::model::{Event, EventType, Health, Instant};

/// Combinations of labels of one family, at most; further ones are counted together.
const SERIES_MAX: usize = 5_000;
const OTHER: &str = "other";

/// Dataset, source, and what became of it.
type Series = BTreeMap<(String, String, &'static str), u64>;

#[derive(Debug, Default)]
struct Counts {
    events: BTreeMap<&'static str, u64>,
    slices: Series,
    rows: Series,
    /// Answered and failed calls by source.
    calls: BTreeMap<String, (u64, u64)>,
    /// What is known of each source and hour.
    hours: HashMap<(String, Instant), (u64, u64)>,
}

/// Numbers that only grow.
#[derive(Debug, Default)]
pub struct Counted(Mutex<Counts>);

fn add(series: &mut Series, dataset: &str, source: &str, what: &'static str, count: u64) {
    let key = (dataset.to_string(), source.to_string(), what);
    let key = match series.len() < SERIES_MAX || series.contains_key(&key) {
        true => key,
        false => (OTHER.to_string(), OTHER.to_string(), what),
    };
    *series.entry(key).or_default() += count;
}

impl Counted {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event, whichever process made it true.
    pub fn event(&self, event: &Event) {
        let mut counts = self.counts();
        *counts.events.entry(event.kind.name()).or_default() += 1;
        let Some(dataset) = &event.dataset else { return };
        let source = event.data["source"].as_str().unwrap_or(OTHER);
        match event.kind {
            EventType::SliceCommitted => {
                add(&mut counts.slices, dataset, source, "committed", 1);
                for what in ["inserted", "updated", "unchanged", "withdrawn", "quarantined"] {
                    let rows = event.data[what].as_u64().unwrap_or_default();
                    add(&mut counts.rows, dataset, source, what, rows);
                }
            }
            EventType::SliceFailed => add(&mut counts.slices, dataset, source, "failed", 1),
            _ => {}
        }
    }

    /// What was known before the process began is not counted.
    pub fn begin(&self, health: &[Health]) {
        let known = |hour: &Health| ((hour.source.clone(), hour.hour), (hour.calls, hour.failed));
        self.counts().hours = health.iter().map(known).collect();
    }

    /// Counts the calls that are known now and were not before.
    pub fn calls(&self, health: &[Health]) {
        let mut counts = self.counts();
        let before = std::mem::take(&mut counts.hours);
        for hour in health {
            let key = (hour.source.clone(), hour.hour);
            let (calls, failed) = before.get(&key).copied().unwrap_or_default();
            let (more, more_failed) = (hour.calls.saturating_sub(calls), hour.failed.saturating_sub(failed));
            let sum = counts.calls.entry(hour.source.clone()).or_default();
            sum.0 += more.saturating_sub(more_failed);
            sum.1 += more_failed;
            counts.hours.insert(key, (hour.calls, hour.failed));
        }
    }

    pub fn expose(&self, exposition: &mut Exposition) {
        let counts = self.counts();
        let help = "Events of the log since this process began to follow it, by kind.";
        let mut family = exposition.family("tidegate_events_total", Kind::Counter, help);
        for (kind, count) in &counts.events {
            family.sample(&[("kind", kind)], *count as f64);
        }
        let help = "Slices that were committed or failed, in whichever process.";
        let mut family = exposition.family("tidegate_slices_total", Kind::Counter, help);
        for ((dataset, source, result), count) in &counts.slices {
            family.sample(&[("dataset", dataset), ("source", source), ("result", result)], *count as f64);
        }
        let help = "Rows of committed slices by what became of them, in whichever process.";
        let mut family = exposition.family("tidegate_rows_total", Kind::Counter, help);
        for ((dataset, source, change), count) in &counts.rows {
            family.sample(&[("dataset", dataset), ("source", source), ("change", change)], *count as f64);
        }
        let help = "Calls of sources, in whichever process; failed ones had no usable answer.";
        let mut family = exposition.family("tidegate_source_calls_total", Kind::Counter, help);
        for (source, (answered, failed)) in &counts.calls {
            family.sample(&[("source", source), ("result", "answered")], *answered as f64);
            family.sample(&[("source", source), ("result", "failed")], *failed as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(source: &str, hour: i64, calls: u64, failed: u64) -> Health {
        Health { source: source.to_string(), hour: Instant(hour), calls, failed, ..Health::default() }
    }

    #[test]
    fn calls_only_grow_whatever_is_forgotten() {
        let counted = Counted::default();
        counted.begin(&[hour("tushare", 1, 100, 10)]);
        counted.calls(&[hour("tushare", 1, 103, 11), hour("tushare", 2, 5, 0), hour("baostock", 2, 1, 1)]);
        // The first hour is forgotten.
        counted.calls(&[hour("tushare", 2, 6, 0), hour("baostock", 2, 1, 1)]);
        let calls = counted.counts().calls.clone();
        assert_eq!(calls, BTreeMap::from([("baostock".to_string(), (0, 1)), ("tushare".to_string(), (8, 1))]));
    }

    #[test]
    fn labels_are_bounded() {
        let mut series = Series::new();
        for number in 0..SERIES_MAX + 10 {
            add(&mut series, &number.to_string(), "a", "committed", 1);
        }
        assert_eq!(series.len(), SERIES_MAX + 1);
        assert_eq!(series[&(OTHER.to_string(), OTHER.to_string(), "committed")], 10);
    }
}

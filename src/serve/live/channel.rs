//! Channels: which events each of them tells, and in which words.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::frames::Publication;
use crate::catalog::Catalog;
use crate::model::{Clock, Event, EventType, Result, RunId, TaskId};
use crate::serve::views::{RunView, TaskView, runs_of_tasks};
use crate::store::Store;

/// What a client can listen to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Every event of the log.
    Events,
    /// Tasks as they stand, whenever something happened to them.
    Tasks,
    /// Runs as they stand.
    Runs,
    /// That something changed, now and then.
    Overview,
    /// What the ledger says of areas of a dataset.
    Coverage(Arc<str>),
    /// Where rows of a dataset changed.
    Rows(Arc<str>),
}

impl Channel {
    /// `None` for one that there is not.
    pub fn named(name: &str, catalog: &Catalog) -> Option<Channel> {
        match (name, name.split_once(':')) {
            ("events", _) => Some(Channel::Events),
            ("tasks", _) => Some(Channel::Tasks),
            ("runs", _) => Some(Channel::Runs),
            ("overview", _) => Some(Channel::Overview),
            (_, Some(("coverage", dataset))) => {
                Some(Channel::Coverage(catalog.get(dataset).ok()?.name.as_str().into()))
            }
            (_, Some(("rows", dataset))) => Some(Channel::Rows(catalog.get(dataset).ok()?.name.as_str().into())),
            _ => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Channel::Events => "events".to_string(),
            Channel::Tasks => "tasks".to_string(),
            Channel::Runs => "runs".to_string(),
            Channel::Overview => "overview".to_string(),
            Channel::Coverage(dataset) => format!("coverage:{dataset}"),
            Channel::Rows(dataset) => format!("rows:{dataset}"),
        }
    }
}

/// Puts events into the words of channels. What a channel tells is a whole state or a fact, never a difference: hearing
/// it twice does no harm.
pub struct Teller {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
}

impl Teller {
    /// What a channel says of these events, in their order. Tasks and runs are told once, as they stand now, at the place
    /// of their last event.
    pub async fn tell(&self, channel: &Channel, events: &[Arc<Event>]) -> Result<Vec<Publication>> {
        match channel {
            Channel::Events => Ok(events.iter().map(|event| publication(event, event_data(event))).collect()),
            Channel::Tasks => self.tasks(events).await,
            Channel::Runs => self.runs(events).await,
            Channel::Overview => Ok(events.last().map(|last| overview(last.id)).into_iter().collect()),
            Channel::Coverage(dataset) => Ok(told(events, dataset, coverage)),
            Channel::Rows(dataset) => Ok(told(events, dataset, rows)),
        }
    }

    async fn tasks(&self, events: &[Arc<Event>]) -> Result<Vec<Publication>> {
        let last = last_of(events.iter().filter_map(|event| Some((event.task?, event.id))));
        if last.is_empty() {
            return Ok(Vec::new());
        }
        let runs = runs_of_tasks(&*self.store).await?;
        let now = self.clock.now();
        let mut told = Vec::new();
        for (offset, id) in last {
            let Some(task) = self.store.task(id).await? else { continue };
            told.push(Publication { offset, data: as_json(&TaskView::new(&task, runs.get(&id).copied(), now)) });
        }
        Ok(told)
    }

    async fn runs(&self, events: &[Arc<Event>]) -> Result<Vec<Publication>> {
        let of_tasks: HashMap<TaskId, RunId> = match events.iter().any(|event| event.task.is_some()) {
            true => runs_of_tasks(&*self.store).await?,
            false => HashMap::new(),
        };
        let run_of = |event: &Arc<Event>| {
            let named = event.data["run"].as_i64();
            Some((named.or_else(|| of_tasks.get(&event.task?).copied())?, event.id))
        };
        let mut told = Vec::new();
        for (offset, id) in last_of(events.iter().filter_map(run_of)) {
            let Some(run) = self.store.run(id).await? else { continue };
            told.push(Publication { offset, data: as_json(&RunView::new(&run)) });
        }
        Ok(told)
    }
}

/// Something changed up to here.
pub fn overview(last_event: u64) -> Publication {
    Publication { offset: last_event, data: json!({ "last_event": last_event }) }
}

/// Each of the named with the last event that names it, in the order of the events.
fn last_of(named: impl Iterator<Item = (i64, u64)>) -> BTreeMap<u64, i64> {
    let last: HashMap<i64, u64> = named.collect();
    last.into_iter().map(|(id, offset)| (offset, id)).collect()
}

fn publication(event: &Event, data: Value) -> Publication {
    Publication { offset: event.id, data }
}

fn told(events: &[Arc<Event>], dataset: &str, words: fn(&Event) -> Option<Value>) -> Vec<Publication> {
    let of_dataset = events.iter().filter(|event| event.dataset.as_deref() == Some(dataset));
    of_dataset.filter_map(|event| Some(publication(event, words(event)?))).collect()
}

fn event_data(event: &Event) -> Value {
    json!({
        "id": event.id, "at": event.at.to_string(), "kind": event.kind.name(), "dataset": event.dataset,
        "task": event.task, "data": event.data,
    })
}

/// What the ledger says of an area now.
fn coverage(event: &Event) -> Option<Value> {
    let speaks = matches!(
        event.kind,
        EventType::SliceCommitted | EventType::SliceFailed | EventType::FailureResolved | EventType::DatasetWhole
    );
    speaks.then(|| of_area(event))
}

/// Where rows changed; an area that was found as it is stored is not told.
fn rows(event: &Event) -> Option<Value> {
    let changed = ["inserted", "updated", "withdrawn", "quarantined"];
    let any = changed.iter().any(|count| event.data[count].as_u64().is_some_and(|count| count > 0));
    (event.kind == EventType::SliceCommitted && any).then(|| of_area(event))
}

/// An event with its area apart: securities and days.
fn of_area(event: &Event) -> Value {
    let mut told = Map::new();
    told.insert("dataset".to_string(), json!(event.dataset));
    told.insert("kind".to_string(), json!(event.kind.name()));
    told.insert("at".to_string(), json!(event.at.to_string()));
    told.insert("task".to_string(), json!(event.task));
    let area = event.data["area"].as_str().unwrap_or_default();
    let (securities, days) = area.split_once(" x ").unwrap_or(("all", area));
    let (from, to) = days_of(days);
    let codes = match securities {
        "all" => json!([]),
        some if some.ends_with(" securities") => Value::Null,
        some => json!(some.split(',').collect::<Vec<_>>()),
    };
    told.insert("codes".to_string(), codes);
    told.insert("from".to_string(), json!(from));
    told.insert("to".to_string(), json!(to));
    if let Value::Object(data) = &event.data {
        told.extend(data.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    told.insert("last_event".to_string(), json!(event.id));
    Value::Object(told)
}

/// First and last day of a span as it is written; absent: without bound.
fn days_of(span: &str) -> (Option<&str>, Option<&str>) {
    if let Some((from, to)) = span.split_once("..") {
        return (Some(from), Some(to));
    }
    match (span.strip_prefix("up to "), span.strip_prefix("from ")) {
        (Some(to), _) => (None, Some(to)),
        (_, Some(from)) => (Some(from), None),
        _ if span == "all time" || span.is_empty() => (None, None),
        _ => (Some(span), Some(span)),
    }
}

/// What is made of names and numbers can always be written.
fn as_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Area, Day, Instant, Securities, Span};

    fn committed(id: u64, area: &Area, inserted: u64) -> Arc<Event> {
        let data = json!({ "area": area.to_string(), "source": "tushare", "inserted": inserted });
        let (kind, dataset) = (EventType::SliceCommitted, Some("daily".to_string()));
        Arc::new(Event { id, at: Instant(0), kind, dataset, task: Some(1), data })
    }

    #[test]
    fn areas_are_told_as_securities_and_days() {
        let day = |text: &str| Day::parse(text).unwrap();
        let (first, last) = (day("2024-01-02"), day("2024-02-29"));
        let one = Securities::one("000001.SZ");
        let two = Securities::Some(["000001.SZ".into(), "600519.SH".into()].into());
        let many = Securities::Some((0..9).map(|number| format!("00000{number}.SZ").into()).collect());
        for (securities, span, codes, from, to) in [
            (Securities::All, Span::day(first), json!([]), json!("2024-01-02"), json!("2024-01-02")),
            (one, Span::new(first, last), json!(["000001.SZ"]), json!("2024-01-02"), json!("2024-02-29")),
            (two, Span::ALL, json!(["000001.SZ", "600519.SH"]), Value::Null, Value::Null),
            (many, Span::new(Day::MIN, last), Value::Null, Value::Null, json!("2024-02-29")),
            (Securities::All, Span::new(first, Day::MAX), json!([]), json!("2024-01-02"), Value::Null),
        ] {
            let told = of_area(&committed(1, &Area::new(securities, span), 1));
            assert_eq!((&told["codes"], &told["from"], &told["to"]), (&codes, &from, &to), "{told}");
        }
    }

    #[test]
    fn rows_are_told_where_some_changed_and_coverage_wherever_the_ledger_did() {
        let area = Area::new(Securities::All, Span::ALL);
        let events = [committed(1, &area, 5), committed(2, &area, 0)];
        assert_eq!(told(&events, "daily", rows).len(), 1);
        assert_eq!(told(&events, "daily", coverage).len(), 2);
        assert!(told(&events, "weekly", coverage).is_empty());
        assert_eq!(last_of([(7, 1), (8, 2), (7, 3)].into_iter()), BTreeMap::from([(2, 8), (3, 7)]));
    }
}

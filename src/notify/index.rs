//! Which subscription wants which event: an index over their types, built from their definitions, and their filters over the
//! event's fields. Numbers are compared as they are written, never as binary floats.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::dialect::webhook::json::{self, CodePoints, Json};
use crate::model::{Definition, FieldFilter, FilterOp, Number, OrderKey, Subscription};

/// A subscription with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscriber {
    pub name: String,
    pub subscription: Subscription,
    /// Of its definition.
    pub revision: u64,
}

/// An event as far as subscriptions look at it.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The type under which subscribers hear of it.
    pub kind: &'a str,
    pub source: &'a str,
    pub subject: Option<&'a str>,
    pub key: Option<&'a str>,
    /// The content, when it is JSON.
    pub data: Option<&'a str>,
    /// It tells of the carrying of events itself: only those that name its type hear of it.
    pub of_gate: bool,
    /// The content, read when somebody looks into it for the first time.
    read: OnceCell<Option<Json<'a>>>,
}

impl<'a> Facts<'a> {
    pub fn new(kind: &'a str, source: &'a str) -> Facts<'a> {
        Facts { kind, source, subject: None, key: None, data: None, of_gate: false, read: OnceCell::new() }
    }

    pub fn subject(self, subject: Option<&'a str>) -> Facts<'a> {
        Facts { subject, ..self }
    }

    pub fn key(self, key: Option<&'a str>) -> Facts<'a> {
        Facts { key, ..self }
    }

    pub fn data(self, data: Option<&'a str>) -> Facts<'a> {
        Facts { data, read: OnceCell::new(), ..self }
    }

    pub fn of_gate(self, of_gate: bool) -> Facts<'a> {
        Facts { of_gate, ..self }
    }

    /// The value at a path like `amount` or `items.0.price` of the content.
    fn at(&self, path: &str) -> Option<&Json<'a>> {
        let read = || json::read(self.data?).ok();
        let mut value = self.read.get_or_init(read).as_ref()?;
        for part in path.split('.') {
            value = match value {
                Json::Object(members) => members.iter().find(|(name, _)| is(name, part)).map(|(_, value)| value)?,
                Json::List(items) => items.get(part.parse::<usize>().ok()?)?,
                Json::Word(_) | Json::Number(_) | Json::Text(_) => return None,
            };
        }
        Some(value)
    }

    fn field(&self, field: &str) -> Field<'_> {
        let text = |text: Option<&str>| text.map_or(Field::Absent, |text| Field::Text(text.to_string()));
        match field {
            "type" => text(Some(self.kind)),
            "source" => text(Some(self.source)),
            "subject" => text(self.subject),
            "key" => text(self.key),
            path => match path.strip_prefix("data.").and_then(|path| self.at(path)) {
                None | Some(Json::Word("null")) => Field::Absent,
                Some(Json::Word(word)) => Field::Truth(*word == "true"),
                Some(Json::Number(number)) => Field::Number(number),
                Some(Json::Text(points)) => Field::Text(text_of(points)),
                Some(Json::List(_) | Json::Object(_)) => Field::Other,
            },
        }
    }

    /// What orders the event among the others of a subscription; empty: nothing does.
    pub fn order_key(&self, order: &OrderKey) -> String {
        let found = match order {
            OrderKey::Key => self.key.or(self.subject).map(str::to_string),
            OrderKey::Subject => self.subject.map(str::to_string),
            OrderKey::Data(path) => match self.field(&format!("data.{path}")) {
                Field::Text(text) => Some(text),
                Field::Number(number) => Some(number.to_string()),
                Field::Truth(truth) => Some(truth.to_string()),
                Field::Absent | Field::Other => None,
            },
            OrderKey::None => None,
        };
        found.unwrap_or_default()
    }
}

fn is(points: &CodePoints, text: &str) -> bool {
    points.iter().copied().eq(text.chars().map(u32::from))
}

fn text_of(points: &CodePoints) -> String {
    points.iter().map(|point| char::from_u32(*point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// What stands at a place of an event.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    /// Nothing, or `null`.
    Absent,
    Truth(bool),
    /// As it is written.
    Number(&'a str),
    Text(String),
    /// A list or an object.
    Other,
}

impl Field<'_> {
    fn number(&self) -> Option<Number> {
        match self {
            Field::Number(text) => Number::parse(text),
            Field::Text(text) => Number::parse(text),
            Field::Absent | Field::Truth(_) | Field::Other => None,
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Field::Truth(truth), Value::Bool(wanted)) => truth == wanted,
            (Field::Text(text), Value::String(wanted)) => text == wanted,
            // Amounts are numbers for one publisher and text for the next.
            (Field::Number(_), Value::Number(_) | Value::String(_)) | (Field::Text(_), Value::Number(_)) => {
                let (number, wanted) = (self.number(), number_of(value));
                number.is_some() && number == wanted
            }
            _ => false,
        }
    }

    /// As numbers where both are, as text where both are text.
    fn compare(&self, value: &Value) -> Option<Ordering> {
        if let (Some(number), Some(wanted)) = (self.number(), number_of(value)) {
            return Some(number.cmp(&wanted));
        }
        match (self, value) {
            (Field::Text(text), Value::String(wanted)) => Some(text.as_str().cmp(wanted)),
            _ => None,
        }
    }
}

fn number_of(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Number::parse(&number.to_string()),
        Value::String(text) => Number::parse(text),
        _ => None,
    }
}

/// Whether an event fits a condition. A field that is absent or `null` equals nothing and differs from everything.
pub fn holds(filter: &FieldFilter, facts: &Facts<'_>) -> bool {
    let field = facts.field(&filter.field);
    let value = &filter.value;
    let ordered = |wanted: fn(Ordering) -> bool| field.compare(value).is_some_and(wanted);
    match filter.op {
        FilterOp::Eq => field.equals(value),
        FilterOp::Ne => !field.equals(value),
        FilterOp::In => value.as_array().is_some_and(|values| values.iter().any(|value| field.equals(value))),
        FilterOp::Prefix => match (&field, value) {
            (Field::Text(text), Value::String(prefix)) => text.starts_with(prefix.as_str()),
            _ => false,
        },
        FilterOp::Gt => ordered(Ordering::is_gt),
        FilterOp::Ge => ordered(Ordering::is_ge),
        FilterOp::Lt => ordered(Ordering::is_lt),
        FilterOp::Le => ordered(Ordering::is_le),
        FilterOp::Exists => (field != Field::Absent) == value.as_bool().unwrap_or(true),
    }
}

/// Every subscription, found by the types that it wants.
#[derive(Clone, Debug, Default)]
pub struct Index {
    subscribers: BTreeMap<String, Arc<Subscriber>>,
    exact: HashMap<String, Vec<Arc<Subscriber>>>,
    /// By what stands before the star, with its full stop.
    beginning: HashMap<String, Vec<Arc<Subscriber>>>,
    all: Vec<Arc<Subscriber>>,
}

impl Index {
    /// Definitions of another shape are left out: they were written by another version.
    pub fn of(definitions: &[Definition]) -> Index {
        let mut index = Index::default();
        for definition in definitions {
            let Ok(subscription) = serde_json::from_value::<Subscription>(definition.body.clone()) else {
                tracing::warn!(subscription = %definition.name, "a subscription cannot be read and is left out");
                continue;
            };
            let (name, revision) = (definition.name.clone(), definition.revision);
            index.add(Arc::new(Subscriber { name, subscription, revision }));
        }
        index
    }

    fn add(&mut self, subscriber: Arc<Subscriber>) {
        for wanted in &subscriber.subscription.types {
            let list = match wanted.strip_suffix('*') {
                Some("") => &mut self.all,
                Some(beginning) => self.beginning.entry(beginning.to_string()).or_default(),
                None => self.exact.entry(wanted.clone()).or_default(),
            };
            list.push(subscriber.clone());
        }
        self.subscribers.insert(subscriber.name.clone(), subscriber);
    }

    /// Every subscription, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.subscribers.values()
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Subscriber>> {
        self.subscribers.get(name)
    }

    /// Those that want an event, by name, whatever their state is.
    pub fn matching(&self, facts: &Facts<'_>) -> Vec<Arc<Subscriber>> {
        let mut found: BTreeMap<&str, &Arc<Subscriber>> = BTreeMap::new();
        let exact = self.exact.get(facts.kind).into_iter().flatten();
        let stops = facts.kind.match_indices('.').map(|(at, _)| &facts.kind[..=at]);
        let beginning = stops.filter_map(|beginning| self.beginning.get(beginning)).flatten();
        let all = self.all.iter().filter(|_| !facts.of_gate);
        for subscriber in exact.chain(beginning).chain(all) {
            found.insert(&subscriber.name, subscriber);
        }
        found.retain(|_, subscriber| subscriber.subscription.filters.iter().all(|filter| holds(filter, facts)));
        found.into_values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Instant;
    use crate::model::definition::Kind;

    fn definition(name: &str, types: &[&str], filters: Value) -> Definition {
        let body = json!({ "url": "https://a.example/", "types": types, "filters": filters });
        Definition { kind: Kind::Subscription, name: name.into(), body, revision: 1, at: Instant(0) }
    }

    fn names(index: &Index, facts: &Facts<'_>) -> Vec<String> {
        index.matching(facts).iter().map(|subscriber| subscriber.name.clone()).collect()
    }

    #[test]
    fn types_are_matched_exactly_by_their_beginning_and_all() {
        let index = Index::of(&[
            definition("exact", &["contract.confirmed"], json!([])),
            definition("beginning", &["contract.*"], json!([])),
            definition("both", &["contract.*", "contract.confirmed", "*"], json!([])),
            definition("deep", &["contract.confirmed.*"], json!([])),
            definition("everything", &["*"], json!([])),
            definition("other", &["invoice.*"], json!([])),
            definition("gate", &["delivery.failed"], json!([])),
            Definition { body: json!({ "url": 7 }), ..definition("broken", &[], json!([])) },
        ]);
        for (kind, of_gate, expected) in [
            ("contract.confirmed", false, vec!["beginning", "both", "everything", "exact"]),
            ("contract.confirmed.v1", false, vec!["beginning", "both", "deep", "everything"]),
            ("contract", false, vec!["both", "everything"]),
            ("contracts.x", false, vec!["both", "everything"]),
            ("delivery.failed", true, vec!["gate"]),
            ("delivery.failed", false, vec!["both", "everything", "gate"]),
        ] {
            assert_eq!(names(&index, &Facts::new(kind, "/s").of_gate(of_gate)), expected, "{kind} {of_gate}");
        }
        assert_eq!(index.all().count(), 7);
        assert!(index.get("exact").is_some() && index.get("broken").is_none());
    }

    #[test]
    fn filters_look_at_attributes_and_content_and_compare_numbers_exactly() {
        let data = r#"{"amount": 100000000000000000.01, "text_amount": "1250.00", "day": "2026-01-02", "paid": true,
            "none": null, "items": [{"price": 0.1}], "currency": "人民币", "big": 1e400}"#;
        let facts = Facts::new("contract.confirmed", "/settlement/prod").subject(Some("contract/7")).data(Some(data));
        for (field, op, value, expected) in [
            ("type", "eq", json!("contract.confirmed"), true),
            ("source", "prefix", json!("/settlement"), true),
            ("subject", "in", json!(["contract/6", "contract/7"]), true),
            ("key", "exists", json!(null), false),
            ("key", "exists", json!(false), true),
            ("key", "ne", json!("x"), true),
            ("data.amount", "gt", json!("100000000000000000"), true),
            ("data.amount", "le", json!("100000000000000000.00"), false),
            ("data.amount", "eq", json!("100000000000000000.010"), true),
            ("data.amount", "eq", json!(100_000_000_000_000_000i64), false),
            ("data.text_amount", "eq", json!(1250), true),
            ("data.text_amount", "eq", json!("1250.00"), true),
            ("data.text_amount", "eq", json!("1250"), false),
            ("data.text_amount", "ge", json!(1250), true),
            ("data.text_amount", "lt", json!("900"), false),
            ("data.day", "ge", json!("2026-01-02"), true),
            ("data.day", "lt", json!("2026-01-02"), false),
            ("data.day", "gt", json!(5), false),
            ("data.paid", "eq", json!(true), true),
            ("data.paid", "eq", json!("true"), false),
            ("data.none", "exists", json!(null), false),
            ("data.none", "eq", json!(null), false),
            ("data.items.0.price", "eq", json!(0.1), true),
            ("data.items.1.price", "exists", json!(null), false),
            ("data.items.0", "exists", json!(null), true),
            ("data.items", "eq", json!("x"), false),
            ("data.currency", "eq", json!("人民币"), true),
            ("data.currency", "prefix", json!("人"), true),
            ("data.big", "gt", json!(1e300), true),
            ("data.missing.deep", "ne", json!(1), true),
            ("data.missing", "gt", json!(1), false),
        ] {
            let filter = json!({ "field": field, "op": op, "value": value });
            let index = Index::of(&[definition("a", &["*"], json!([filter]))]);
            assert_eq!(!names(&index, &facts).is_empty(), expected, "{filter}");
        }
        let both = json!([
            { "field": "data.paid", "op": "eq", "value": true },
            { "field": "data.amount", "op": "lt", "value": 1 },
        ]);
        assert!(names(&Index::of(&[definition("a", &["*"], both)]), &facts).is_empty(), "all filters must hold");
        let no_json = Facts::new("a", "/s").data(Some("{broken"));
        let wants = json!([{ "field": "data.a", "op": "exists" }]);
        assert!(names(&Index::of(&[definition("a", &["*"], wants)]), &no_json).is_empty());
    }

    #[test]
    fn order_keys_come_from_the_event() {
        let facts = Facts::new("a", "/s").subject(Some("contract/7")).data(Some(r#"{"no": 7.0, "id": "A", "l": []}"#));
        let data = |path: &str| OrderKey::Data(path.to_string());
        for (order, expected) in [
            (OrderKey::Key, "contract/7"),
            (OrderKey::Subject, "contract/7"),
            (data("no"), "7.0"),
            (data("id"), "A"),
            (data("l"), ""),
            (data("none"), ""),
            (OrderKey::None, ""),
        ] {
            assert_eq!(facts.order_key(&order), expected, "{order:?}");
        }
        assert_eq!(facts.key(Some("K")).order_key(&OrderKey::Key), "K");
    }
}

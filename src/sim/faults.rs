//! Faults as values: what goes wrong, at which calls, and the record of every call.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::model::Instant;

/// One way in which a source misbehaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Refuse with these words.
    Refuse { code: i64, msg: String },
    /// Refuse: more calls in this minute than allowed.
    Throttle { per_minute: u32 },
    /// Refuse: the day's calls are used up.
    QuotaGone { per_day: u64 },
    /// Refuse the token.
    WrongToken,
    /// Close the connection instead of answering.
    DropConnection,
    /// Do the work, then close the connection instead of answering.
    LostAnswer,
    /// Send this share of the body that was announced, then close the connection.
    CutBody { fraction: f64 },
    /// Answer as if another security or another day had been asked for.
    OtherAnswer,
    /// Send only the first rows.
    HalfPublished { fraction: f64 },
    /// Send every n-th row twice.
    DuplicateRows { every: usize },
    /// Send other values in a column of every n-th row; without a name the last column that holds numbers.
    LateCorrection { column: Option<String>, every: usize },
    /// Send a column's numbers times this power of ten, as if in other units.
    WrongUnits { column: String, power: u32 },
    /// Leave every n-th row out.
    WithdrawnRows { every: usize },
    /// Wait before answering.
    SlowAnswer { millis: u64 },
    /// Answer with this HTTP status and no rows.
    ServerError { status: u16 },
    /// Answer 429 with a `Retry-After`.
    TooManyRequests { retry_after_seconds: u64 },
    /// Answer 200 with a page of HTML.
    NotJson,
    /// Answer 200 with text in GBK.
    Gbk,
    /// Answer 200 with a body that never ends.
    EndlessBody,
    /// Answer 200 with a body of so many MB, all announced, in well-formed JSON.
    HugeBody { mb: u64 },
    /// Answer 200 with a small compressed body that holds so many MB.
    GzipBomb { mb: u64 },
    /// Answer 200 without rows, as vendors do under load.
    EmptyAnswer,
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Refuse { .. } => "refuse",
            Fault::Throttle { .. } => "throttle",
            Fault::QuotaGone { .. } => "quota_gone",
            Fault::WrongToken => "wrong_token",
            Fault::DropConnection => "drop_connection",
            Fault::LostAnswer => "lost_answer",
            Fault::CutBody { .. } => "cut_body",
            Fault::OtherAnswer => "other_answer",
            Fault::HalfPublished { .. } => "half_published",
            Fault::DuplicateRows { .. } => "duplicate_rows",
            Fault::LateCorrection { .. } => "late_correction",
            Fault::WrongUnits { .. } => "wrong_units",
            Fault::WithdrawnRows { .. } => "withdrawn_rows",
            Fault::SlowAnswer { .. } => "slow_answer",
            Fault::ServerError { .. } => "server_error",
            Fault::TooManyRequests { .. } => "too_many_requests",
            Fault::NotJson => "not_json",
            Fault::Gbk => "gbk",
            Fault::EndlessBody => "endless_body",
            Fault::HugeBody { .. } => "huge_body",
            Fault::GzipBomb { .. } => "gzip_bomb",
            Fault::EmptyAnswer => "empty_answer",
        }
    }
}

/// When a fault happens: at the n-th to m-th of the calls that match, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `None` matches every API.
    pub api: Option<String>,
    /// Parameters that the call must have with these values.
    pub params: Vec<(String, String)>,
    pub calls: RangeInclusive<u64>,
    pub fault: Fault,
}

impl Rule {
    /// At every call.
    pub fn always(fault: Fault) -> Rule {
        Rule { api: None, params: Vec::new(), calls: 1..=u64::MAX, fault }
    }

    /// Only at calls of this API.
    pub fn of(self, api: &str) -> Rule {
        Rule { api: Some(api.to_owned()), ..self }
    }

    /// Only at calls with this parameter.
    pub fn with(mut self, name: &str, value: &str) -> Rule {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Only at these of the matching calls.
    pub fn at(self, calls: RangeInclusive<u64>) -> Rule {
        Rule { calls, ..self }
    }

    fn matches(&self, api: &str, params: &BTreeMap<String, String>) -> bool {
        self.api.as_deref().is_none_or(|wanted| wanted == api)
            && self.params.iter().all(|(name, value)| params.get(name) == Some(value))
    }
}

/// One call, as it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    pub api: String,
    pub params: BTreeMap<String, String>,
    pub at: Instant,
    /// The name of the fault that it met.
    pub fault: Option<&'static str>,
}

/// Calls of one API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiCount {
    pub calls: u64,
    /// Calls that met a fault.
    pub faults: u64,
    /// Calls that the service refused by itself: tokens, points, quotas, caps.
    pub refusals: u64,
}

/// Calls that the record keeps; older ones are only counted.
const RECORD_MAX: usize = 100_000;

#[derive(Debug, Default)]
struct Record {
    matched: Vec<u64>,
    served: Vec<Served>,
    counts: BTreeMap<String, ApiCount>,
}

/// Rules with their counters. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FaultScript {
    rules: Arc<Vec<Rule>>,
    record: Arc<Mutex<Record>>,
}

impl FaultScript {
    pub fn new(rules: Vec<Rule>) -> FaultScript {
        let record = Record { matched: vec![0; rules.len()], ..Record::default() };
        FaultScript { rules: Arc::new(rules), record: Arc::new(Mutex::new(record)) }
    }

    /// Nothing goes wrong.
    pub fn none() -> FaultScript {
        FaultScript::default()
    }

    /// Records a call and says what happens to it: the fault of the first rule whose turn it is. Every rule that
    /// matches counts the call.
    pub fn meet(&self, api: &str, params: BTreeMap<String, String>, at: Instant) -> Option<Fault> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fault = None;
        for (rule, matched) in self.rules.iter().zip(&mut record.matched) {
            if rule.matches(api, &params) {
                *matched += 1;
                if fault.is_none() && rule.calls.contains(matched) {
                    fault = Some(rule.fault.clone());
                }
            }
        }
        let count = record.counts.entry(api.to_owned()).or_default();
        count.calls += 1;
        count.faults += u64::from(fault.is_some());
        if record.served.len() < RECORD_MAX {
            record.served.push(Served { api: api.to_owned(), params, at, fault: fault.as_ref().map(Fault::name) });
        }
        fault
    }

    /// Counts a refusal that the service made by itself.
    pub fn refused(&self, api: &str) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.counts.entry(api.to_owned()).or_default().refusals += 1;
    }

    /// The calls so far, oldest first.
    pub fn served(&self) -> Vec<Served> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).served.clone()
    }

    pub fn counts(&self) -> BTreeMap<String, ApiCount> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }
}

/// The API and the parameters of a question, as text; what cannot be read is empty.
pub fn question(body: &[u8]) -> (String, BTreeMap<String, String>) {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else { return Default::default() };
    let api = asked["api_name"].as_str().unwrap_or_default().to_owned();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let given = asked["params"].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    (api, given.map(|(name, value)| (name.clone(), text(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(script: &FaultScript, api: &str, day: &str) -> Option<&'static str> {
        let params = BTreeMap::from([("trade_date".to_owned(), day.to_owned())]);
        script.meet(api, params, Instant(0)).map(|fault| fault.name())
    }

    #[test]
    fn a_rule_strikes_at_its_calls_only() {
        let script = FaultScript::new(vec![
            Rule::always(Fault::NotJson).of("daily").with("trade_date", "20240102").at(2..=3),
            Rule::always(Fault::DropConnection).of("weekly"),
        ]);
        for (api, day, expected) in [
            ("daily", "20240102", None),
            ("daily", "20240103", None),
            ("daily", "20240102", Some("not_json")),
            ("daily", "20240102", Some("not_json")),
            ("daily", "20240102", None),
            ("weekly", "20240105", Some("drop_connection")),
        ] {
            assert_eq!(call(&script, api, day), expected, "{api} {day}");
        }
        assert_eq!(script.served().len(), 6);
        assert_eq!(script.counts()["daily"], ApiCount { calls: 5, faults: 2, refusals: 0 });
    }

    #[test]
    fn questions_are_read_whatever_their_values_are() {
        let (api, params) = question(br#"{"api_name":"daily","params":{"offset":3,"trade_date":"20240102","x":null}}"#);
        assert_eq!(api, "daily");
        assert_eq!(params["offset"], "3");
        assert!(!params.contains_key("x"));
        assert_eq!(question(b"no json").0, "");
    }
}

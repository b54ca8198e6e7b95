//! Business vouchers: what a system has booked, with a number, kept as a row with versions and told as an event. Row, number
//! and event are one commit.

pub mod fields;
pub mod rows;
pub mod state;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::{Content, Day, Error, Instant, Message, Result};
use fields::{FIELDS, Given, Holds, Need, wrong};

/// The events of vouchers come from `/vouchers/<source system>`.
pub const SOURCE: &str = "/vouchers";

/// The name of the table in the catalogue.
pub const TABLE: &str = "voucher";

const TYPE_BYTES_MAX: usize = 200;

/// A voucher as it is kept: every column by name, in canonical text; what is missing is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Voucher {
    values: BTreeMap<String, String>,
}

/// What shall be done to a voucher.
#[derive(Clone, Debug)]
pub enum Act {
    Create {
        given: Given,
        /// The type of its event; `None`: `voucher.<source module>.created`.
        event: Option<String>,
        by: String,
    },
    /// Some of its fields change.
    Correct { no: String, version: u64, given: Given, event: Option<String> },
    /// It counts no more: its status becomes `reversed`.
    Reverse { no: String, version: Option<u64>, reason: Option<String>, event: Option<String> },
}

impl Act {
    /// Reads the body of a new voucher.
    pub fn create(body: &str, by: &str) -> Result<Act> {
        let (given, mut besides) = fields::read(body, &["event"])?;
        for field in FIELDS.iter().filter(|field| matches!(field.need, Need::Required | Need::Identity)) {
            if !matches!(given.get(field.name), Some(Some(_))) {
                return Err(wrong(field.name, "is missing"));
            }
        }
        Ok(Act::Create { given, event: event(besides.remove("event"))?, by: by.to_string() })
    }

    /// Reads the body of a correction: the version that was read, and the fields that change.
    pub fn correct(no: &str, body: &str) -> Result<Act> {
        let (given, mut besides) = fields::read(body, &["event", "version"])?;
        let fixed = |name: &&&'static str| {
            let need = FIELDS.iter().find(|field| field.name == **name).map(|field| field.need);
            matches!(need, Some(Need::Identity | Need::OptionalIdentity))
        };
        if let Some(name) = given.keys().find(fixed) {
            let error = wrong(name, "says what the voucher is about and does not change");
            return Err(error.hint("reverse the voucher and make another one"));
        }
        if given.is_empty() {
            return Err(Error::invalid("the correction names no field").at_field("body"));
        }
        for field in FIELDS.iter().filter(|field| field.need == Need::Required) {
            if matches!(given.get(field.name), Some(None)) {
                return Err(wrong(field.name, "cannot be left out"));
            }
        }
        let version = version(besides.remove("version"))?.ok_or_else(|| {
            wrong("version", "is missing").hint("name the version that you read: GET /api/v1/vouchers/{voucher_no}")
        })?;
        Ok(Act::Correct { no: no.to_string(), version, given, event: event(besides.remove("event"))? })
    }

    /// Reads the body of a reversal; every field may be left out.
    pub fn reverse(no: &str, body: &str) -> Result<Act> {
        let body = if body.trim().is_empty() { "{}" } else { body };
        let (given, mut besides) = fields::read(body, &["event", "version", "reason"])?;
        if let Some(name) = given.keys().next() {
            return Err(wrong(name, "does not change with a reversal").hint("name reason, version and event only"));
        }
        let reason = match besides.remove("reason").filter(|text| text != "null") {
            None => None,
            Some(text) => Some(reason(&text)?),
        };
        let version = version(besides.remove("version"))?;
        Ok(Act::Reverse { no: no.to_string(), version, reason, event: event(besides.remove("event"))? })
    }

    /// The voucher that is changed; `None`: a new one.
    pub(super) fn number(&self) -> Option<&str> {
        match self {
            Act::Create { .. } => None,
            Act::Correct { no, .. } | Act::Reverse { no, .. } => Some(no),
        }
    }

    /// The day that a new voucher is numbered by.
    pub(super) fn day(&self, now: Instant) -> Result<Day> {
        match self {
            Act::Create { given, .. } => match given.get("voucher_date") {
                Some(Some(day)) => Day::parse(day),
                _ => Ok(now.day()),
            },
            Act::Correct { .. } | Act::Reverse { .. } => Err(Error::bug("only new vouchers are numbered")),
        }
    }

    /// The new voucher.
    pub(super) fn created(&self, day: Day, number: u64, now: Instant) -> Result<Voucher> {
        let Act::Create { given, event, by } = self else {
            return Err(Error::bug("only new vouchers are created"));
        };
        let mut voucher = Voucher { values: BTreeMap::new() };
        voucher.take(given);
        voucher.set("voucher_no", rows::number(day, number));
        voucher.set("voucher_date", day.to_string());
        voucher.set("version", "1".to_string());
        let has_targets = voucher.get("target_systems").is_some_and(|targets| !targets.is_empty());
        voucher.default("status", "approved");
        voucher.default("sync_status", if has_targets { "pending" } else { "none" });
        voucher.default("created_by", by);
        voucher.set("created_at", rows::time(now));
        voucher.told_as(event.as_deref(), "created", now);
        Ok(voucher)
    }

    /// The stored voucher after the change: its next version.
    pub(super) fn changed(&self, stored: &Voucher, now: Instant) -> Result<Voucher> {
        let wanted = match self {
            Act::Create { .. } => return Err(Error::bug("a new voucher has no stored one")),
            Act::Correct { version, .. } => Some(*version),
            Act::Reverse { version, .. } => *version,
        };
        let (no, stands) = (stored.no(), stored.version());
        if let Some(wanted) = wanted.filter(|wanted| *wanted != stands) {
            let error =
                Error::conflict(format!("voucher {no} is at version {stands}, not {wanted}")).at_field("version");
            return Err(error.hint("read it again, and decide again"));
        }
        if stored.get("status") == Some(REVERSED) {
            let error = Error::conflict(format!("voucher {no} is reversed")).at_field("status");
            return Err(error.hint("make another voucher"));
        }
        let mut voucher = stored.clone();
        voucher.set("version", (stands + 1).to_string());
        match self {
            Act::Correct { given, event, .. } => {
                voucher.take(given);
                voucher.told_as(event.as_deref(), "corrected", now);
            }
            Act::Reverse { reason, event, .. } => {
                voucher.set("status", REVERSED.to_string());
                voucher.put("reason", reason.clone());
                voucher.told_as(event.as_deref(), "reversed", now);
            }
            Act::Create { .. } => {}
        }
        Ok(voucher)
    }
}

/// The status of a voucher that counts no more.
pub const REVERSED: &str = "reversed";

fn event(given: Option<String>) -> Result<Option<String>> {
    let Some(text) = given.filter(|text| text != "null") else { return Ok(None) };
    let kind: String = serde_json::from_str(&text).map_err(|_| wrong("event", "is no text"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match !kind.is_empty() && kind.len() <= TYPE_BYTES_MAX && kind.bytes().all(plain) {
        true => Ok(Some(kind)),
        false => Err(wrong("event", "is no type of an event").hint("write it like l1_confirmed or contract.confirmed")),
    }
}

fn version(given: Option<String>) -> Result<Option<u64>> {
    let Some(text) = given.filter(|text| text != "null") else { return Ok(None) };
    let number = text.parse::<u64>().ok().filter(|version| *version > 0);
    number.map(Some).ok_or_else(|| wrong("version", "is no whole number from 1"))
}

fn reason(text: &str) -> Result<String> {
    let reason: String = serde_json::from_str(text).map_err(|_| wrong("reason", "is no text"))?;
    let sound = !reason.is_empty() && reason.chars().count() <= 200 && !reason.chars().any(char::is_control);
    sound.then_some(reason).ok_or_else(|| wrong("reason", "is no text of 1 to 200 characters"))
}

impl Voucher {
    pub fn no(&self) -> &str {
        self.get("voucher_no").unwrap_or_default()
    }

    pub fn version(&self) -> u64 {
        self.get("version").and_then(|version| version.parse().ok()).unwrap_or(0)
    }

    /// A column as text; amounts as the table has them.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn set(&mut self, name: &str, value: String) {
        self.values.insert(name.to_string(), value);
    }

    fn put(&mut self, name: &str, value: Option<String>) {
        match value {
            Some(value) => self.set(name, value),
            None => drop(self.values.remove(name)),
        }
    }

    fn default(&mut self, name: &str, value: &str) {
        self.values.entry(name.to_string()).or_insert_with(|| value.to_string());
    }

    fn take(&mut self, given: &Given) {
        for (name, value) in given {
            self.put(name, value.clone());
        }
    }

    /// When it changed, and as what its event tells of it.
    fn told_as(&mut self, event: Option<&str>, done: &str, now: Instant) {
        let module = self.get("source_module").unwrap_or_default();
        let kind = event.map_or_else(|| format!("voucher.{module}.{done}"), str::to_string);
        self.set("event", kind);
        self.set("updated_at", rows::time(now));
    }

    /// The systems that are to have it.
    pub fn targets(&self) -> Vec<&str> {
        let targets = self.get("target_systems").unwrap_or_default();
        targets.split(',').filter(|target| !target.is_empty()).collect()
    }

    /// Where its events come from.
    pub fn source(&self) -> String {
        format!("{SOURCE}/{}", self.get("source_system").unwrap_or_default())
    }

    /// The identity of the event of its version.
    pub fn event_id(&self) -> String {
        format!("{}:{}", self.no(), self.version())
    }

    /// The event that tells of this version.
    pub fn message(&self) -> Message {
        let reference = self.get("source_reference_no").or(self.get("source_id")).unwrap_or(self.no()).to_string();
        let before = self.version().saturating_sub(1);
        let follows = (before > 0).then(|| ("follows".to_string(), format!("{}:{before}", self.no())));
        Message {
            event: 0,
            at: Instant(0),
            id: self.event_id(),
            source: self.source(),
            kind: self.get("event").unwrap_or_default().to_string(),
            time: self.get("updated_at").map(rows::rfc3339),
            subject: Some(reference.clone()),
            key: Some(reference),
            schema: None,
            content_type: Some("application/json".to_string()),
            extensions: follows.into_iter().collect(),
            content: Content::Json(self.json()),
        }
    }

    /// The voucher as a JSON object: every field, amounts as exact text, `items` and `business_data` as they were sent.
    pub fn json(&self) -> String {
        let mut out = String::from("{");
        let mut add = |name: &str, json: &str| {
            out.push_str(if out.len() > 1 { ",\"" } else { "\"" });
            out.push_str(name);
            out.push_str("\":");
            out.push_str(json);
        };
        let quoted = |text: &str| Value::from(text).to_string();
        let text = |name: &str| self.get(name).map_or_else(|| "null".to_string(), quoted);
        add("voucher_no", &text("voucher_no"));
        add("version", &self.version().to_string());
        for field in FIELDS {
            let json = match (field.holds, self.get(field.name)) {
                (Holds::Words, _) => Value::from(self.targets()).to_string(),
                (_, None) => "null".to_string(),
                (Holds::List | Holds::Object, Some(json)) => json.to_string(),
                (_, Some(text)) => quoted(text),
            };
            add(field.name, &json);
        }
        add("reason", &text("reason"));
        add("event", &text("event"));
        for name in ["created_at", "updated_at"] {
            add(name, &self.get(name).map_or_else(|| "null".to_string(), |time| quoted(&rows::rfc3339(time))));
        }
        out.push('}');
        out
    }
}

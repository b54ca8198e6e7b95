//! What a subscription may look like. Pure: every refusal names the field and what to write instead.

use std::net::IpAddr;

use reqwest::Url;
use serde_json::{Map, Value, json};

use crate::model::{
    Cron, Error, FieldFilter, FilterOp, Mode, OrderKey, Result, Subnet, Subscription, SubscriptionState,
};
use crate::notify::address::judge;

const NAME_CHARACTERS_MAX: usize = 64;
const URL_CHARACTERS_MAX: usize = 2_048;
const TITLE_CHARACTERS_MAX: usize = 200;
const TYPES_MAX: usize = 100;
const TYPE_CHARACTERS_MAX: usize = 255;
const FILTERS_MAX: usize = 32;
const FILTER_VALUES_MAX: usize = 1_000;
const FILTER_TEXT_MAX: usize = 1_024;
const PATH_PARTS_MAX: usize = 16;
const PATH_CHARACTERS_MAX: usize = 255;
const BATCH_MAX: usize = 1_000;
const BATCH_DELAY_MS_MAX: u64 = 86_400_000;
const BATCH_PAUSE_MS_MAX: u64 = 3_600_000;
const PER_SECOND: std::ops::RangeInclusive<f64> = 0.001..=10_000.0;
const RETRIES_MAX: usize = 50;
const RETRY_SECONDS: std::ops::RangeInclusive<f64> = 0.1..=604_800.0;
const TIMEOUT_SECONDS: std::ops::RangeInclusive<f64> = 0.1..=300.0;

/// What the configuration allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits<'a> {
    pub plain_http: bool,
    pub allow: &'a [Subnet],
}

fn refused(field: &str, what: impl Into<String>) -> Error {
    Error::invalid(format!("{field}: {}", what.into())).at_field(field)
}

/// Names are part of addresses and commands.
pub fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if begins && name.len() <= NAME_CHARACTERS_MAX && name.bytes().all(fits) {
        return Ok(());
    }
    let what = format!(
        "a name has 1 to {NAME_CHARACTERS_MAX} small letters, digits, `-`, `_` and `.`, a letter or digit first"
    );
    Err(refused("name", what))
}

/// Fields that people do not set by themselves: commands do.
const BY_COMMAND: [&str; 2] = ["state", "reason"];

/// Reads a subscription from its fields.
pub fn read(fields: Map<String, Value>) -> Result<Subscription> {
    for name in BY_COMMAND {
        if fields.contains_key(name) {
            return Err(refused(name, "it is set by pausing and resuming").hint("leave it out"));
        }
    }
    for name in ["url", "types"] {
        if !fields.contains_key(name) {
            return Err(refused(name, "it is missing").hint("a subscription needs a url and types"));
        }
    }
    for (name, value) in &fields {
        let mut alone = json!({ "url": "", "types": [] });
        alone[name.as_str()] = value.clone();
        serde_json::from_value::<Subscription>(alone).map_err(|error| refused(name, error.to_string()))?;
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| Error::invalid(error.to_string()))
}

/// A subscription with other fields; those that are null go back to their defaults.
pub fn merge(before: &Subscription, fields: Map<String, Value>) -> Result<Subscription> {
    let unwritable = |error| Error::bug("writing a subscription").caused_by(error);
    let Value::Object(mut merged) = serde_json::to_value(before).map_err(unwritable)? else {
        return Err(Error::bug("a subscription is no object"));
    };
    if let Some(name) = BY_COMMAND.into_iter().find(|name| fields.contains_key(*name)) {
        return Err(refused(name, "it is set by pausing and resuming").hint("leave it out"));
    }
    for (name, value) in fields {
        match value {
            Value::Null => drop(merged.remove(&name)),
            value => drop(merged.insert(name, value)),
        }
    }
    for name in BY_COMMAND {
        merged.remove(name);
    }
    let (state, reason): (SubscriptionState, _) = (before.state, before.reason.clone());
    Ok(Subscription { state, reason, ..read(merged)? })
}

/// Checks everything that can be checked without the network.
pub fn check(subscription: &Subscription, limits: &Limits<'_>) -> Result<()> {
    check_url(&subscription.url, limits)?;
    if subscription.title.as_ref().is_some_and(|title| title.chars().count() > TITLE_CHARACTERS_MAX) {
        return Err(refused("title", format!("it has more than {TITLE_CHARACTERS_MAX} characters")));
    }
    check_types(&subscription.types)?;
    check_filters(&subscription.filters)?;
    if let Some(system) = &subscription.source_system
        && !((1..=64).contains(&system.len()) && system.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(refused("source_system", "it has 1 to 64 visible characters of ASCII"));
    }
    if let OrderKey::Data(path) = &subscription.order_by {
        check_path(path).map_err(|what| refused("order_by", what))?;
    }
    check_mode(&subscription.mode)?;
    let within = |field: &str, value: Option<f64>, range: &std::ops::RangeInclusive<f64>| match value {
        Some(value) if !range.contains(&value) => {
            Err(refused(field, format!("it is a number from {} to {}", range.start(), range.end())))
        }
        _ => Ok(()),
    };
    within("per_second", subscription.per_second, &PER_SECOND)?;
    within("timeout_seconds", subscription.timeout_seconds, &TIMEOUT_SECONDS)?;
    let waits = subscription.retry_seconds.as_deref().unwrap_or_default();
    if waits.len() > RETRIES_MAX || !waits.iter().all(|wait| RETRY_SECONDS.contains(wait)) {
        let (least, most) = (RETRY_SECONDS.start(), RETRY_SECONDS.end());
        return Err(refused(
            "retry_seconds",
            format!("it is a list of at most {RETRIES_MAX} numbers from {least} to {most}"),
        ));
    }
    Ok(())
}

fn check_url(url: &str, limits: &Limits<'_>) -> Result<()> {
    let parsed = Url::parse(url).ok().filter(|parsed| url.len() <= URL_CHARACTERS_MAX && parsed.has_host());
    let parsed = parsed.ok_or_else(|| {
        refused("url", format!("it is no web address of at most {URL_CHARACTERS_MAX} characters"))
            .hint("write it like https://tax.example.com/api/v1/webhooks/contracts")
    })?;
    match parsed.scheme() {
        "https" => {}
        "http" if limits.plain_http => {}
        "http" => {
            let error = refused("url", "plain http shows events and signatures to whoever listens");
            return Err(error.hint("use https, or allow it with notify.plain_http = true"));
        }
        _ => return Err(refused("url", "it begins with https://")),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let error = refused("url", "it holds a name or a password, and addresses are shown");
        return Err(error.hint("the receiver knows the sender by the signature"));
    }
    if parsed.fragment().is_some() {
        return Err(refused("url", "what follows # is never sent").hint("leave it out"));
    }
    // A name is judged whenever it is connected to; a number can be judged now.
    let host = parsed.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>()
        && let Err(blocked) = judge(address, limits.allow)
    {
        let error = refused("url", format!("{} is {}", blocked.address, blocked.what));
        return Err(error.hint("an operator may name its subnet under notify.allow"));
    }
    Ok(())
}

fn check_types(types: &[String]) -> Result<()> {
    if !(1..=TYPES_MAX).contains(&types.len()) {
        return Err(refused("types", format!("there are 1 to {TYPES_MAX} types")).hint("\"*\" is all of them"));
    }
    for (index, wanted) in types.iter().enumerate() {
        let exact = wanted.strip_suffix(".*").unwrap_or(wanted);
        let parts = exact.split('.').all(|part| !part.is_empty());
        let plain = exact.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        if wanted != "*" && !(parts && plain && wanted.len() <= TYPE_CHARACTERS_MAX) {
            let error = refused(&format!("types[{index}]"), "it is no type of events");
            return Err(error.hint("write a type such as contract.confirmed, a beginning such as contract.*, or *"));
        }
    }
    Ok(())
}

fn check_filters(filters: &[FieldFilter]) -> Result<()> {
    if filters.len() > FILTERS_MAX {
        return Err(refused("filters", format!("there are at most {FILTERS_MAX}")));
    }
    for (index, filter) in filters.iter().enumerate() {
        let at = |name: &str| format!("filters[{index}].{name}");
        match filter.field.strip_prefix("data.") {
            Some(path) => check_path(path).map_err(|what| refused(&at("field"), what))?,
            None if ["type", "source", "subject", "key"].contains(&filter.field.as_str()) => {}
            None => {
                let error = refused(&at("field"), format!("{:?} is no field of events", filter.field));
                return Err(
                    error.hint("there are type, source, subject, key, and data. with a path such as data.amount")
                );
            }
        }
        check_value(filter).map_err(|what| refused(&at("value"), what))?;
    }
    Ok(())
}

/// Names parted by full stops; a number is the place in a list.
fn check_path(path: &str) -> Result<(), String> {
    let parts: Vec<&str> = path.split('.').collect();
    let fits = parts.len() <= PATH_PARTS_MAX && path.chars().count() <= PATH_CHARACTERS_MAX;
    match fits && parts.iter().all(|part| !part.is_empty()) {
        true => Ok(()),
        false => Err(format!("{path:?} is no path of 1 to {PATH_PARTS_MAX} names parted by full stops")),
    }
}

fn check_value(filter: &FieldFilter) -> Result<(), &'static str> {
    let text_fits = |text: &String| text.len() <= FILTER_TEXT_MAX;
    let single = |value: &Value| match value {
        Value::String(text) => text_fits(text),
        Value::Number(_) | Value::Bool(_) => true,
        _ => false,
    };
    let (fits, expected) = match (filter.op, &filter.value) {
        (FilterOp::Eq | FilterOp::Ne, value) => (single(value), "it is a text, a number, true or false"),
        (FilterOp::In, Value::Array(values)) => (
            (1..=FILTER_VALUES_MAX).contains(&values.len()) && values.iter().all(single),
            "it is a list of 1 to 1000 texts, numbers, true or false",
        ),
        (FilterOp::In, _) => (false, "it is a list of texts, numbers, true or false"),
        (FilterOp::Prefix, value) => {
            (value.as_str().is_some_and(|text| !text.is_empty() && text.len() <= FILTER_TEXT_MAX), "it is a text")
        }
        (FilterOp::Gt | FilterOp::Ge | FilterOp::Lt | FilterOp::Le, value) => {
            (single(value) && !value.is_boolean(), "it is a number, or a text such as a date")
        }
        (FilterOp::Exists, value) => (value.is_null() || value.is_boolean(), "it is absent, true or false"),
    };
    if fits { Ok(()) } else { Err(expected) }
}

fn check_mode(mode: &Mode) -> Result<()> {
    let Mode::Batch { size, delay_ms, cron, pause_ms } = mode else { return Ok(()) };
    let within = |field: &str, value: u64, most: u64| match value > most {
        true => Err(refused(&format!("mode.batch.{field}"), format!("it is a number from 0 to {most}"))),
        false => Ok(()),
    };
    if !(1..=BATCH_MAX).contains(size) {
        return Err(refused("mode.batch.size", format!("a request holds 1 to {BATCH_MAX} events")));
    }
    within("delay_ms", *delay_ms, BATCH_DELAY_MS_MAX)?;
    within("pause_ms", *pause_ms, BATCH_PAUSE_MS_MAX)?;
    match cron {
        Some(_) if *delay_ms > 0 => {
            Err(refused("mode.batch.delay_ms", "batches of a schedule do not wait to be full").hint("leave it out"))
        }
        Some(line) => Cron::parse(line).map(|_| ()).map_err(|error| error.at_field("mode.batch.cron")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(patch: Value) -> Map<String, Value> {
        let mut fields = json!({ "url": "https://tax.example/hook", "types": ["contract.*"] });
        for (name, value) in patch.as_object().unwrap() {
            fields[name.as_str()] = value.clone();
        }
        fields.as_object().unwrap().clone()
    }

    fn judged(patch: Value) -> Result<()> {
        check(&read(fields(patch))?, &Limits::default())
    }

    #[test]
    fn what_a_subscription_may_be_is_taken() {
        for patch in [
            json!({}),
            json!({ "types": ["*"] }),
            json!({ "types": ["contract.confirmed", "com.example.invoice.*", "一".repeat(0) + "a"] }),
            json!({ "url": "https://tax.example:8443/a?b=c" }),
            json!({ "form": "mission", "source_system": "settlement" }),
            json!({ "filters": [{ "field": "data.amount", "op": "ge", "value": "100000.00" }] }),
            json!({ "filters": [{ "field": "key", "op": "exists" }] }),
            json!({ "order_by": { "data": "contract.no" }, "when_dead": "park" }),
            json!({ "mode": { "batch": { "size": 100, "cron": "0 2 * * *", "pause_ms": 1000 } } }),
            json!({ "retry_seconds": [], "per_second": 0.5, "timeout_seconds": 15, "after": 0 }),
        ] {
            judged(patch.clone()).unwrap_or_else(|error| panic!("{patch}: {error}"));
        }
    }

    #[test]
    fn what_it_may_not_be_is_refused_with_the_field() {
        let filter =
            |field: &str, op: &str, value: Value| json!({ "filters": [{ "field": field, "op": op, "value": value }] });
        for (patch, field) in [
            (json!({ "url": "http://tax.example/hook" }), "url"),
            (json!({ "url": "ftp://tax.example/hook" }), "url"),
            (json!({ "url": "tax.example" }), "url"),
            (json!({ "url": "https://user:password@tax.example/" }), "url"),
            (json!({ "url": "https://tax.example/#part" }), "url"),
            (json!({ "url": "https://127.0.0.1/" }), "url"),
            (json!({ "url": "https://0x7f.1/" }), "url"),
            (json!({ "url": "https://[::ffff:10.0.0.1]/" }), "url"),
            (json!({ "url": "https://169.254.169.254/latest" }), "url"),
            (json!({ "url": format!("https://a.example/{}", "x".repeat(3000)) }), "url"),
            (json!({ "url": 7 }), "url"),
            (json!({ "types": [] }), "types"),
            (json!({ "types": "contract" }), "types"),
            (json!({ "types": ["a", "contract*"] }), "types[1]"),
            (json!({ "types": ["*.confirmed"] }), "types[0]"),
            (json!({ "types": ["a..b"] }), "types[0]"),
            (json!({ "types": ["a b"] }), "types[0]"),
            (json!({ "types": [""] }), "types[0]"),
            (json!({ "types": [".*"] }), "types[0]"),
            (filter("amount", "eq", json!(1)), "filters[0].field"),
            (filter("data.", "eq", json!(1)), "filters[0].field"),
            (filter("data.a..b", "eq", json!(1)), "filters[0].field"),
            (filter("data.a", "eq", json!(null)), "filters[0].value"),
            (filter("data.a", "eq", json!([1])), "filters[0].value"),
            (filter("data.a", "in", json!([])), "filters[0].value"),
            (filter("data.a", "in", json!("x")), "filters[0].value"),
            (filter("data.a", "gt", json!(true)), "filters[0].value"),
            (filter("data.a", "prefix", json!("")), "filters[0].value"),
            (filter("data.a", "exists", json!(1)), "filters[0].value"),
            (filter("data.a", "like", json!(1)), "filters"),
            (json!({ "form": "hmac" }), "form"),
            (json!({ "source_system": "a b" }), "source_system"),
            (json!({ "order_by": { "data": "" } }), "order_by"),
            (json!({ "mode": { "batch": { "size": 0 } } }), "mode.batch.size"),
            (json!({ "mode": { "batch": { "size": 1001 } } }), "mode.batch.size"),
            (json!({ "mode": { "batch": { "size": 1, "cron": "every day" } } }), "mode.batch.cron"),
            (json!({ "mode": { "batch": { "size": 1, "cron": "0 2 * * *", "delay_ms": 1 } } }), "mode.batch.delay_ms"),
            (json!({ "mode": { "batch": { "size": 1, "delay_ms": 86_400_001u64 } } }), "mode.batch.delay_ms"),
            (json!({ "mode": { "nightly": {} } }), "mode"),
            (json!({ "per_second": 0 }), "per_second"),
            (json!({ "per_second": -1 }), "per_second"),
            (json!({ "timeout_seconds": 301 }), "timeout_seconds"),
            (json!({ "retry_seconds": [0] }), "retry_seconds"),
            (json!({ "retry_seconds": vec![1; 51] }), "retry_seconds"),
            (json!({ "after": -1 }), "after"),
            (json!({ "state": "paused" }), "state"),
            (json!({ "unknown": 1 }), "unknown"),
            (json!({ "title": "x".repeat(201) }), "title"),
        ] {
            let error = judged(patch.clone()).expect_err(&patch.to_string());
            assert_eq!(error.field(), Some(field), "{patch}: {error}");
        }
        assert_eq!(read(Map::new()).unwrap_err().field(), Some("url"));
    }

    #[test]
    fn what_the_configuration_allows_is_taken() {
        let allow = [Subnet::parse("127.0.0.0/8").unwrap()];
        let limits = Limits { plain_http: true, allow: &allow };
        for (url, expected) in [("http://127.0.0.1:9/", true), ("http://10.0.0.1/", false), ("http://a.example/", true)]
        {
            let subscription = read(fields(json!({ "url": url }))).unwrap();
            assert_eq!(check(&subscription, &limits).is_ok(), expected, "{url}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_null_is_the_default() {
        let before = read(fields(json!({ "title": "Tax", "per_second": 5.0, "form": "mission" }))).unwrap();
        let before = Subscription { state: SubscriptionState::Paused, reason: Some("holiday".into()), ..before };
        let patch = json!({ "per_second": null, "types": ["invoice.*"] }).as_object().unwrap().clone();
        let after = merge(&before, patch).unwrap();
        let expected = Subscription { per_second: None, types: vec!["invoice.*".into()], ..before.clone() };
        assert_eq!(after, expected);
        for patch in [json!({ "url": null }), json!({ "state": "active" }), json!({ "colour": 1 })] {
            assert!(merge(&before, patch.as_object().unwrap().clone()).is_err(), "{patch}");
        }
    }

    #[test]
    fn names_are_plain() {
        for (name, expected) in [
            ("tax", true),
            ("tax-2.contracts_a", true),
            ("", false),
            ("Tax", false),
            ("-a", false),
            ("a/b", false),
            ("税", false),
        ] {
            assert_eq!(check_name(name).is_ok(), expected, "{name}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }
}

//! The fields of a voucher that its publisher sets: what each may hold, and which may change later. One table from which
//! reading, correcting and the description of the API follow.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::dialect::exact::Fields;
use crate::model::{Day, Error, Result, decimal};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A word of the publisher's: letters, digits, `_`, `.` and `-`.
    Word,
    /// A text, or a whole number that is kept as text.
    Text,
    /// A longer text.
    Summary,
    Day,
    /// `debit` or `credit`.
    Direction,
    /// An exact decimal number, as a text or a number.
    Amount,
    /// Three capital letters, as ISO 4217 has them.
    Currency,
    /// A list of words.
    Words,
    /// A JSON list, kept as it is.
    List,
    /// A JSON object, kept as it is.
    Object,
}

/// Whether a field must be given, and whether a correction may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
    /// Required, and what the voucher is about: never changed.
    Identity,
    /// As `Identity`, but it may be left out.
    OptionalIdentity,
}

/// A field of a voucher.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub holds: Holds,
    pub need: Need,
    /// What it means, for the description of the API.
    pub about: &'static str,
}

const fn field(name: &'static str, holds: Holds, need: Need, about: &'static str) -> Field {
    Field { name, holds, need, about }
}

/// Every field, in the order of the table.
pub const FIELDS: [Field; 21] = [
    field("voucher_date", Holds::Day, Need::OptionalIdentity, "The day it is numbered by; today in Beijing by default"),
    field("source_system", Holds::Word, Need::Identity, "The system that says it, such as `settlement`"),
    field("source_module", Holds::Word, Need::Identity, "Its module, such as `l1_contract`"),
    field("source_type", Holds::Word, Need::OptionalIdentity, "The kind of business, such as `purchase_goods`"),
    field("source_id", Holds::Text, Need::Identity, "The thing in that system that it is about"),
    field(
        "source_reference_no",
        Holds::Text,
        Need::OptionalIdentity,
        "Its number for people; subject and key of the event",
    ),
    field("company_id", Holds::Text, Need::Optional, "Whose books"),
    field("counterparty_type", Holds::Word, Need::Optional, "Such as `supplier` or `customer`"),
    field("counterparty_id", Holds::Text, Need::Optional, "The other side in that system"),
    field("counterparty_name", Holds::Text, Need::Optional, "The other side by name"),
    field("direction", Holds::Direction, Need::Required, "`debit` or `credit`"),
    field(
        "amount",
        Holds::Amount,
        Need::Required,
        "At most 16 digits before the point and 4 after it; best sent as a text",
    ),
    field("currency", Holds::Currency, Need::Required, "ISO 4217, such as `CNY`"),
    field("summary", Holds::Summary, Need::Optional, "What it is about, in words"),
    field("items", Holds::List, Need::Optional, "Its lines, kept as they are sent"),
    field("business_data", Holds::Object, Need::Optional, "Whatever else belongs to it, kept as it is sent"),
    field("status", Holds::Word, Need::Optional, "Where it stands with its publisher; `approved` by default"),
    field(
        "sync_status",
        Holds::Word,
        Need::Optional,
        "What the publisher asked for: `pending` by default, `none` without targets",
    ),
    field("target_systems", Holds::Words, Need::Optional, "The systems that are to have it"),
    field("reverses", Holds::Text, Need::OptionalIdentity, "The voucher that it reverses"),
    field("created_by", Holds::Text, Need::OptionalIdentity, "Who made it; the name of the key by default"),
];

/// The values that were given, by field; `None`: the field was emptied.
pub type Given = BTreeMap<&'static str, Option<String>>;

/// The digits after the point of an amount.
pub const SCALE: i8 = 4;
const WHOLE_DIGITS_MAX: usize = 16;
const WORD_BYTES_MAX: usize = 64;
const TEXT_CHARACTERS_MAX: usize = 200;
const SUMMARY_CHARACTERS_MAX: usize = 1_000;
const WORDS_MAX: usize = 32;
/// Levels of lists and objects.
const DEPTH_MAX: usize = 64;

/// Reads the fields of a voucher out of a JSON object; what is in `besides` comes back beside them, as its text. A field
/// that a voucher does not have is refused.
pub fn read(text: &str, besides: &[&str]) -> Result<(Given, BTreeMap<String, String>)> {
    let (mut given, mut others) = (Given::new(), BTreeMap::new());
    for (name, value) in Fields::read(text, "body")?.0 {
        if besides.contains(&name.as_str()) {
            others.insert(name, value.get().to_string());
            continue;
        }
        let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
            let shown: String = name.chars().filter(|letter| !letter.is_control()).take(WORD_BYTES_MAX).collect();
            let error = Error::invalid(format!("a voucher has no field {shown:?}")).at_field(shown);
            return Err(error.hint("other fields go into business_data"));
        };
        let value = match value.get() {
            "null" => None,
            _ => Some(canonical(field, value)?),
        };
        given.insert(field.name, value);
    }
    Ok((given, others))
}

/// The value in the words of the table, or what is wrong with it.
fn canonical(field: &Field, value: &RawValue) -> Result<String> {
    let name = field.name;
    match field.holds {
        Holds::Word => word(name, &text(name, value)?),
        Holds::Text => short(name, text_or_number(name, value)?, TEXT_CHARACTERS_MAX),
        Holds::Summary => short(name, text(name, value)?, SUMMARY_CHARACTERS_MAX),
        Holds::Day => day(name, &text(name, value)?),
        Holds::Direction => match text(name, value)?.as_str() {
            known @ ("debit" | "credit") => Ok(known.to_string()),
            _ => Err(wrong(name, "is neither debit nor credit")),
        },
        Holds::Amount => amount(name, value),
        Holds::Currency => {
            let text = text(name, value)?;
            let sound = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
            sound.then_some(text).ok_or_else(|| wrong(name, "is no currency of ISO 4217").hint("write it like CNY"))
        }
        Holds::Words => words(name, value),
        Holds::List => json(name, value, '[', "is no JSON list"),
        Holds::Object => json(name, value, '{', "is no JSON object"),
    }
}

/// An error of one field.
pub(super) fn wrong(name: &str, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{name} {why}")).at_field(name)
}

fn text(name: &str, value: &RawValue) -> Result<String> {
    serde_json::from_str(value.get()).map_err(|_| wrong(name, "is no text"))
}

fn text_or_number(name: &str, value: &RawValue) -> Result<String> {
    let raw = value.get();
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(raw.to_string()),
        false => serde_json::from_str(raw).map_err(|_| wrong(name, "is neither a text nor a whole number")),
    }
}

fn short(name: &str, text: String, characters_max: usize) -> Result<String> {
    if text.trim().is_empty() {
        return Err(wrong(name, "is empty").hint("leave it out"));
    }
    if text.chars().count() > characters_max {
        return Err(wrong(name, format!("has more than {characters_max} characters")));
    }
    match text.chars().any(|letter| letter.is_control() && letter != '\n') {
        true => Err(wrong(name, "holds a control character")),
        false => Ok(text),
    }
}

fn word(name: &str, text: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match !text.is_empty() && text.len() <= WORD_BYTES_MAX && text.bytes().all(plain) {
        true => Ok(text.to_string()),
        false => {
            let error = wrong(name, format!("is no word of 1 to {WORD_BYTES_MAX} letters"));
            Err(error.hint("letters a-z and A-Z, digits, `_`, `.` and `-`"))
        }
    }
}

fn words(name: &str, value: &RawValue) -> Result<String> {
    let listed: Vec<String> = serde_json::from_str(value.get()).map_err(|_| wrong(name, "is no list of words"))?;
    if listed.len() > WORDS_MAX {
        return Err(wrong(name, format!("has more than {WORDS_MAX} words")));
    }
    let mut seen = Vec::new();
    for one in &listed {
        let one = word(name, one)?;
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    Ok(seen.join(","))
}

fn day(name: &str, text: &str) -> Result<String> {
    match Day::parse(text) {
        Ok(day) => Ok(day.to_string()),
        Err(_) => Err(wrong(name, "is no date").hint("write it like 2026-01-02")),
    }
}

/// Digits with a point or without, exactly: nothing is rounded.
fn amount(name: &str, value: &RawValue) -> Result<String> {
    let raw = value.get();
    let written = if raw.starts_with('"') { text(name, value)? } else { raw.to_string() };
    let digits = written.strip_prefix('-').unwrap_or(&written);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) {
        return Err(wrong(name, "is no decimal number").hint("write it like \"1250.00\""));
    }
    if whole.trim_start_matches('0').len() > WHOLE_DIGITS_MAX {
        return Err(wrong(name, format!("has more than {WHOLE_DIGITS_MAX} digits before the point")));
    }
    if fraction.trim_end_matches('0').len() > SCALE as usize {
        return Err(wrong(name, format!("has more than {SCALE} digits after the point, and nothing is rounded")));
    }
    let exact = decimal::parse(&written, SCALE, 0).ok_or_else(|| wrong(name, "is no decimal number"))?;
    Ok(amount_text(exact))
}

/// An amount with two digits after the point at least.
pub(super) fn amount_text(value: i128) -> String {
    let text = decimal::to_text(value, SCALE);
    match text.split_once('.').map(|(_, fraction)| fraction.len()) {
        None => format!("{text}.00"),
        Some(1) => format!("{text}0"),
        Some(_) => text,
    }
}

fn json(name: &str, value: &RawValue, begins: char, why: &str) -> Result<String> {
    let text = value.get();
    if !text.starts_with(begins) {
        return Err(wrong(name, why));
    }
    match crate::dialect::cloudevents::depth(text) > DEPTH_MAX {
        true => Err(wrong(name, format!("is nested deeper than {DEPTH_MAX} levels"))),
        false => Ok(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Option<String>> {
        read(text, &[]).map(|(given, _)| given.into_values().next().flatten())
    }

    #[test]
    fn values_are_taken_exactly_or_refused_by_their_name() {
        for (text, expected) in [
            (r#"{"amount":"100000.00"}"#, Some("100000.00")),
            (r#"{"amount":100000.00}"#, Some("100000.00")),
            (r#"{"amount":-0.5}"#, Some("-0.50")),
            (r#"{"amount":"1234567890123456.1234"}"#, Some("1234567890123456.1234")),
            (r#"{"amount":"0001.12340000"}"#, Some("1.1234")),
            (r#"{"amount":7}"#, Some("7.00")),
            (r#"{"amount":"12345678901234567"}"#, None),
            (r#"{"amount":"1.00001"}"#, None),
            (r#"{"amount":1e3}"#, None),
            (r#"{"amount":"1,000"}"#, None),
            (r#"{"amount":"+1"}"#, None),
            (r#"{"amount":".5"}"#, None),
            (r#"{"amount":"5."}"#, None),
            (r#"{"amount":""}"#, None),
            (r#"{"amount":"NaN"}"#, None),
            (r#"{"amount":true}"#, None),
            (r#"{"currency":"CNY"}"#, Some("CNY")),
            (r#"{"currency":"cny"}"#, None),
            (r#"{"currency":"RMBY"}"#, None),
            (r#"{"direction":"debit"}"#, Some("debit")),
            (r#"{"direction":"D"}"#, None),
            (r#"{"voucher_date":"2026-02-28"}"#, Some("2026-02-28")),
            (r#"{"voucher_date":"2026-02-29"}"#, None),
            (r#"{"voucher_date":20260228}"#, None),
            (r#"{"source_id":12345}"#, Some("12345")),
            (r#"{"source_id":1.5}"#, None),
            (r#"{"source_id":" "}"#, None),
            (r#"{"source_id":"a\u0000"}"#, None),
            (r#"{"source_system":"a b"}"#, None),
            (r#"{"summary":"采购交付合同：HT-1"}"#, Some("采购交付合同：HT-1")),
            (r#"{"target_systems":["tax","bank","tax"]}"#, Some("tax,bank")),
            (r#"{"target_systems":"tax"}"#, None),
            (r#"{"target_systems":["a,b"]}"#, None),
            (r#"{"items":[{"qty":1.10}]}"#, Some(r#"[{"qty":1.10}]"#)),
            (r#"{"items":{}}"#, None),
            (r#"{"business_data":{"n":1.0000000000000000001}}"#, Some(r#"{"n":1.0000000000000000001}"#)),
            (r#"{"business_data":[]}"#, None),
        ] {
            let name = text.split('"').nth(1);
            match (one(text), expected) {
                (Ok(value), Some(expected)) => assert_eq!(value.as_deref(), Some(expected), "{text}"),
                (Err(error), None) => assert_eq!(error.field(), name, "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_field_that_is_null_is_emptied_and_an_unknown_one_is_refused() {
        assert_eq!(one(r#"{"summary":null}"#).unwrap(), None);
        for (text, field) in [
            (r#"{"voucher_no":"V1"}"#, "voucher_no"),
            (r#"{"amout":"1"}"#, "amout"),
            (r#"{"amount":"1","amount":"2"}"#, "amount"),
            ("[]", "body"),
        ] {
            assert_eq!(one(text).unwrap_err().field(), Some(field), "{text}");
        }
        let (_, besides) = read(r#"{"event":"l1_confirmed"}"#, &["event"]).unwrap();
        assert_eq!(besides["event"], r#""l1_confirmed""#);
    }

    #[test]
    fn errors_never_hold_the_value() {
        for text in [r#"{"amount":"SECRET"}"#, r#"{"currency":"SECRET"}"#, r#"{"voucher_date":"SECRET"}"#] {
            let error = one(text).unwrap_err();
            let said =
                format!("{error} {} {:?}", error.hint_text().unwrap_or_default(), std::error::Error::source(&error));
            assert!(!said.contains("SECRET"), "{said}");
        }
    }
}

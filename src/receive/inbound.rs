//! Inbound webhooks as they are defined: who may call, how calls are signed, and which messages become which rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Error, Result, SignatureForm};

/// An inbound webhook; its name is that of the definition, its secrets are kept apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How calls may be signed; the same secrets count in each form.
    #[serde(default = "standard")]
    pub forms: Vec<SignatureForm>,
    /// How far the timestamp of a call may be away from now; absent: `receive.tolerance_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_seconds: Option<u32>,
    /// The source of messages whose body does not name one; absent: who the call says it comes from, or the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The first that fits the type of a message counts.
    #[serde(default)]
    pub mappings: Vec<Mapping>,
    /// What becomes of messages that no mapping is for.
    #[serde(default)]
    pub others: Others,
    /// Whom to ask for versions that are missing; absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    #[serde(default)]
    pub paused: bool,
}

fn standard() -> Vec<SignatureForm> {
    vec![SignatureForm::Standard]
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// They are refused, and the sender is told.
    #[default]
    Refuse,
    /// They are accepted and kept as events.
    Keep,
}

/// Which messages become rows of which table, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Event types: exact, `contract.*`, or `*` for all.
    pub types: Vec<String>,
    pub dataset: String,
    pub columns: BTreeMap<String, From>,
    /// The column of the source's version, a whole number from 1; absent: what comes last counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default)]
    pub gaps: Gaps,
    /// The version that every row begins with; absent: the first that comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Which messages end the row; absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Ends>,
    /// Lists of the content whose elements are rows of other tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Items>,
}

/// What a version is worth that comes before the one in front of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gaps {
    /// Every version says everything: it is applied at once.
    #[default]
    Allow,
    /// Versions are applied one after the other: it waits, and the missing ones are fetched.
    Fetch,
}

/// Where the value of a column comes from: a path, or more than that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum From {
    Path(String),
    Source(Source),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The same value in every row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Where the path leads to nothing or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The value of the path as the JSON text that was sent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub json: bool,
    /// When the message was taken in. Such a column says nothing about the row.
    #[serde(default, skip_serializing_if = "is_false")]
    pub received: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Messages of these types, or with one of these values at a path, end their row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    #[serde(default)]
    pub types: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default)]
    pub values: Vec<String>,
}

/// A list whose elements are rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Items {
    pub path: String,
    pub dataset: String,
    /// Paths begin with `item`, `index` counts from 1; paths of the message work too.
    pub columns: BTreeMap<String, From>,
}

/// Whom to ask for versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The address of another Tidegate; or any address with `{source}`, `{subject}`, `{key}` and `{from}` in it, which
    /// answers with CloudEvents in JSON.
    pub url: String,
    /// What the events of a row have as subject, with column names in braces: `invoice/{invoice_id}`; absent: what the
    /// message that waits has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What they have as source; absent: what the message that waits has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

const NAME_CHARACTERS_MAX: usize = 64;
const TYPES_MAX: usize = 200;

/// Names that need no quotes in an address.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.starts_with('.') && (1..=NAME_CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let hint = format!("use letters, digits, `-`, `_` and `.`, at most {NAME_CHARACTERS_MAX}, and no `.` in front");
    Err(Error::invalid("the name of the webhook cannot be used").at_field("name").hint(hint))
}

/// Whether a type is one of those that a pattern stands for.
pub fn fits(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(front) => front.ends_with('.') && kind.len() > front.len() && kind.starts_with(front),
        None => pattern == kind,
    }
}

pub fn check_types(types: &[String]) -> Result<()> {
    let sound = |pattern: &String| {
        let stars = pattern.matches('*').count();
        let ends = pattern == "*" || pattern.ends_with(".*");
        !pattern.is_empty() && !pattern.chars().any(char::is_control) && (stars == 0 || stars == 1 && ends)
    };
    if let Some(wrong) = types.iter().find(|pattern| !sound(pattern)) {
        let error = Error::invalid(format!("{wrong:?} is no pattern of event types")).at_field("types");
        return Err(error.hint("write a type such as invoice.recorded, invoice.* for all below it, or * for all"));
    }
    match types.len() {
        0 => Err(Error::invalid("types is empty").at_field("types").hint("name the event types, or * for all")),
        count if count > TYPES_MAX => {
            Err(Error::invalid(format!("a mapping has at most {TYPES_MAX} types")).at_field("types"))
        }
        _ => Ok(()),
    }
}

impl Inbound {
    /// In place of one that cannot be read.
    pub(super) fn none() -> Inbound {
        let (title, tolerance_seconds, source, origin) = (None, None, None, None);
        let (forms, mappings, others, paused) = (Vec::new(), Vec::new(), Others::Refuse, false);
        Inbound { title, forms, tolerance_seconds, source, mappings, others, origin, paused }
    }

    /// What can be said without the catalogue.
    pub fn check(&self) -> Result<()> {
        if self.forms.is_empty() {
            return Err(Error::invalid("forms is empty")
                .at_field("forms")
                .hint("a call is signed, in the form standard for example"));
        }
        if self.tolerance_seconds.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
            return Err(Error::invalid("tolerance_seconds is a number from 1 to 86400").at_field("tolerance_seconds"));
        }
        if self.source.as_deref().is_some_and(|source| !crate::dialect::cloudevents::is_source(source)) {
            let error = Error::invalid("source is no URI reference").at_field("source");
            return Err(error.hint("write it like /settlement/prod"));
        }
        let needs_origin = self.mappings.iter().any(|mapping| mapping.gaps == Gaps::Fetch);
        match &self.origin {
            None if needs_origin => {
                let error =
                    Error::invalid("missing versions shall be fetched, and there is no origin").at_field("origin");
                Err(error.hint("name the address of the publisher under origin.url, or let gaps be `allow`"))
            }
            Some(origin) => origin.check(),
            None => Ok(()),
        }
    }
}

impl Origin {
    fn check(&self) -> Result<()> {
        let plain = ["{source}", "{subject}", "{key}", "{from}"]
            .iter()
            .fold(self.url.clone(), |url, part| url.replace(part, "x"));
        let sound = reqwest::Url::parse(&plain).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
        });
        match sound && !plain.contains(['{', '}']) {
            true => Ok(()),
            false => {
                let error = Error::invalid("origin.url is no web address without a password").at_field("origin.url");
                Err(error.hint(
                    "write it like https://settlement.example.com:8080; set its key with `tidegate inbound origin-key`",
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_types_below_them() {
        for (pattern, kind, expected) in [
            ("*", "anything", true),
            ("invoice.recorded", "invoice.recorded", true),
            ("invoice.recorded", "invoice.recorded.v1", false),
            ("invoice.*", "invoice.recorded", true),
            ("invoice.*", "invoice.recorded.v1", true),
            ("invoice.*", "invoice.", false),
            ("invoice.*", "invoices.recorded", false),
            ("invoice.*", "invoice", false),
        ] {
            assert_eq!(fits(pattern, kind), expected, "{pattern} {kind}");
        }
        for (types, sound) in [
            (vec!["a.b", "a.*", "*"], true),
            (vec![], false),
            (vec![""], false),
            (vec!["a*"], false),
            (vec!["*.b"], false),
            (vec!["a.*.*"], false),
        ] {
            let types: Vec<String> = types.into_iter().map(str::to_owned).collect();
            assert_eq!(check_types(&types).is_ok(), sound, "{types:?}");
        }
    }

    #[test]
    fn names_and_origins_are_plain() {
        for (name, sound) in
            [("l1-synced", true), ("a.b_c", true), ("", false), (".a", false), ("a/b", false), ("发票", false)]
        {
            assert_eq!(check_name(name).is_ok(), sound, "{name}");
        }
        for (url, sound) in [
            ("http://127.0.0.1:8080", true),
            ("https://erp.example.com/invoices/{key}?from={from}", true),
            ("https://user:word@erp.example.com", false),
            ("ftp://erp.example.com", false),
            ("https://erp.example.com/{nothing}", false),
        ] {
            let origin = Origin { url: url.to_owned(), subject: None, source: None };
            assert_eq!(origin.check().is_ok(), sound, "{url}");
        }
    }
}

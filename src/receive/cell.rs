//! One value of a message as one value of a column: exact, or refused with what is wrong and never with the value.

use super::document::Node;
use crate::model::{Column, ColumnType, Day, Instant};

/// The canonical text of the value for its column, as stores write rows in JSON; `None`: there is none.
pub fn cell(column: &Column, node: &Node, as_json: bool) -> Result<Option<String>, String> {
    if node.is_null() {
        return Ok(None);
    }
    if as_json {
        return Ok(Some(json(node)));
    }
    let Some(text) = node.plain() else { return Err("is a list or an object, and the column takes one value".into()) };
    let value = match column.kind {
        ColumnType::Text => Some(text.to_string()),
        ColumnType::Int => whole(&text, node),
        ColumnType::Decimal => return exact(&text, column.scale, column.digits).map(Some),
        ColumnType::Float => text.parse::<f64>().ok().filter(|value| value.is_finite()).map(|value| value.to_string()),
        ColumnType::Date => date(&text),
        ColumnType::Datetime => second(&text, node),
    };
    let wanted = match column.kind {
        ColumnType::Int => "is no whole number of 64 bits",
        ColumnType::Float => "is no number",
        ColumnType::Date => "is no date, such as 2026-01-02",
        ColumnType::Datetime => "is no time, such as 2026-01-02T03:04:05Z",
        ColumnType::Text | ColumnType::Decimal => "cannot be read",
    };
    value.map(Some).ok_or_else(|| wanted.into())
}

fn json(node: &Node) -> String {
    match node {
        Node::List(_, text) | Node::Object(_, text) | Node::Number(text) => (*text).to_owned(),
        Node::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Node::Bool(value) => value.to_string(),
        Node::Null => "null".to_owned(),
    }
}

/// Truth values are 1 and 0; `3.0` and `3e2` are whole.
fn whole(text: &str, node: &Node) -> Option<String> {
    if let Node::Bool(value) = node {
        return Some(i64::from(*value).to_string());
    }
    let text = exact(text, 0, 38).ok()?;
    text.parse::<i64>().ok().map(|value| value.to_string())
}

/// A decimal in JSON's own grammar that loses nothing at the scale of its column.
fn exact(text: &str, scale: i8, digits_max: u8) -> Result<String, String> {
    let no_number = || "is no decimal number".to_owned();
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| no_number())?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || text.len() > 200 || exponent.unsigned_abs() > 100 {
        return Err(no_number());
    }
    let joined = format!("{whole}{fraction}");
    let digits = joined.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Ok("0".to_owned());
    }
    // The value is `significant` times ten to this power.
    let power = exponent - fraction.len() as i32 + (digits.len() - significant.len()) as i32;
    let scale = i32::from(scale.max(0));
    if -power > scale {
        return Err(match scale {
            0 => "is no whole number, and the column keeps no digits after the point".to_owned(),
            scale => format!("has more than the {scale} digits after the point that the column keeps"),
        });
    }
    if significant.len() as i32 + power.max(0) > i32::from(digits_max) {
        return Err(format!("has more than the {digits_max} digits that the column keeps"));
    }
    let sign = if negative { "-" } else { "" };
    Ok(match power {
        0.. => format!("{sign}{significant}{}", "0".repeat(power as usize)),
        power => {
            let places = power.unsigned_abs() as usize;
            let padded = format!("{significant:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            format!("{sign}{whole}.{fraction}")
        }
    })
}

/// A date, or the day in Beijing of an instant.
fn date(text: &str) -> Option<String> {
    let day = Day::parse(text).ok().or_else(|| Instant::parse(text).map(Instant::day));
    day.map(|day| day.to_string())
}

/// An instant with its offset; without one it is Beijing's time; a number counts seconds since 1970. What is below a
/// second is cut off: columns keep seconds.
fn second(text: &str, node: &Node) -> Option<String> {
    if let Node::Number(text) = node {
        let seconds = text.parse::<i64>().ok().filter(|seconds| (0..=253_402_300_799).contains(seconds))?;
        return Some(Instant(seconds * 1_000_000).to_string());
    }
    let at = Instant::parse(text).or_else(|| Instant::parse(&format!("{text}+08:00")))?;
    Some(Instant(at.0.div_euclid(1_000_000) * 1_000_000).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnType) -> Column {
        let text = "name = 'x'\ntype = 'text'\nscale = 2\nunit = ''\nmeaning = ''\nmeaning_zh = ''";
        Column { kind, ..toml::from_str(text).unwrap() }
    }

    #[test]
    fn values_become_what_their_column_holds_and_nothing_is_rounded() {
        use ColumnType::*;
        for (kind, text, expected) in [
            (Decimal, "100000.00", Some("100000")),
            (Decimal, "\"1250.05\"", Some("1250.05")),
            (Decimal, "-0.50", Some("-0.5")),
            (Decimal, "1.5e3", Some("1500")),
            (Decimal, "125e-2", Some("1.25")),
            (Decimal, "0.1000000", Some("0.1")),
            (Decimal, "-0.0", Some("0")),
            (Decimal, "1234567890123.45", Some("1234567890123.45")),
            (Decimal, "12345678901234.56", None),
            (Decimal, "0.125", None),
            (Decimal, "1e-3", None),
            (Decimal, "\"1,250.00\"", None),
            (Decimal, "\"\"", None),
            (Decimal, "\"NaN\"", None),
            (Decimal, "\"+1\"", None),
            (Decimal, "\".5\"", None),
            (Decimal, "1e999999999", None),
            (Decimal, "true", None),
            (Decimal, "[1]", None),
            (Int, "7", Some("7")),
            (Int, "\"7\"", Some("7")),
            (Int, "7.0", Some("7")),
            (Int, "9223372036854775807", Some("9223372036854775807")),
            (Int, "9223372036854775808", None),
            (Int, "7.5", None),
            (Int, "true", Some("1")),
            (Float, "0.1", Some("0.1")),
            (Float, "1e999", None),
            (Text, "\"合同\"", Some("合同")),
            (Text, "1001", Some("1001")),
            (Text, "1001.10", Some("1001.10")),
            (Text, "false", Some("false")),
            (Date, "\"2026-01-02\"", Some("2026-01-02")),
            (Date, "\"20260102\"", Some("2026-01-02")),
            (Date, "\"2026-01-02T20:00:00Z\"", Some("2026-01-03")),
            (Date, "\"2026-02-30\"", None),
            (Datetime, "\"2026-01-02T03:04:05.9Z\"", Some("2026-01-02T11:04:05+08:00")),
            (Datetime, "\"2026-01-02T11:04:05\"", Some("2026-01-02T11:04:05+08:00")),
            (Datetime, "1703002800", Some("2023-12-20T00:20:00+08:00")),
            (Datetime, "\"soon\"", None),
        ] {
            let found = cell(&column(kind), &Node::read(text).unwrap(), false);
            assert_eq!(found.clone().ok().flatten().as_deref(), expected, "{kind:?} {text}: {found:?}");
        }
        assert_eq!(cell(&column(Decimal), &Node::Null, false), Ok(None));
        let kept = cell(&column(Text), &Node::read(r#"{"a": [1.10, "x"]}"#).unwrap(), true);
        assert_eq!(kept, Ok(Some(r#"{"a": [1.10, "x"]}"#.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_value() {
        for text in ["\"4711-secret\"", "0.4711", "47110000000000000000"] {
            let refused = cell(&column(ColumnType::Decimal), &Node::read(text).unwrap(), false).unwrap_err();
            assert!(!refused.contains("4711"), "{refused}");
        }
    }
}

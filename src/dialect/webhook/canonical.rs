//! JSON as other programs print it. The mission's signatures are over what Python's `json.dumps(data, sort_keys=True)` makes.
//!
//! A number with a point or an exponent is printed as Python prints the double. Where a double does not hold exactly the digits
//! that were written, the number stays as written: a receiver that reads it as a double and prints it again then sees another
//! text, and its check fails visibly, instead of an amount being changed silently.

use super::json::{self, CodePoints, Json};
use crate::model::{Number, Result, double};

/// How a program prints JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub sorted: bool,
    /// Blanks behind commas and colons.
    pub spaced: bool,
    /// Everything beyond ASCII is escaped.
    pub ascii: bool,
    pub numbers: Numbers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    AsWritten,
    Python,
    JavaScript,
}

/// `json.dumps(data, sort_keys=True)`.
pub const CANONICAL: Style = Style { sorted: true, spaced: true, ascii: true, numbers: Numbers::Python };

/// The text over which the mission's signature is made.
pub fn canonical(text: &str) -> Result<String> {
    Ok(print(&json::read(text)?, CANONICAL))
}

pub fn print(value: &Json<'_>, style: Style) -> String {
    let mut out = String::new();
    value_into(&mut out, value, style);
    out
}

fn value_into(out: &mut String, value: &Json<'_>, style: Style) {
    let comma = if style.spaced { ", " } else { "," };
    match value {
        Json::Word(word) => out.push_str(word),
        Json::Number(text) => out.push_str(&number(text, style.numbers)),
        Json::Text(points) => text_into(out, points, style),
        Json::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { comma });
                value_into(out, item, style);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            if style.sorted {
                members.sort_by(|a, b| a.0.cmp(&b.0));
            }
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { comma });
                text_into(out, name, style);
                out.push_str(if style.spaced { ": " } else { ":" });
                value_into(out, value, style);
            }
            out.push('}');
        }
    }
}

fn text_into(out: &mut String, points: &CodePoints, style: Style) {
    out.push('"');
    for point in points {
        match point {
            0x22 => out.push_str("\\\""),
            0x5c => out.push_str("\\\\"),
            8 => out.push_str("\\b"),
            9 => out.push_str("\\t"),
            10 => out.push_str("\\n"),
            12 => out.push_str("\\f"),
            13 => out.push_str("\\r"),
            _ => match char::from_u32(*point).filter(|_| *point >= 0x20 && (!style.ascii || *point < 0x7f)) {
                Some(plain) => out.push(plain),
                None => escape_into(out, *point),
            },
        }
    }
    out.push('"');
}

fn escape_into(out: &mut String, point: u32) {
    match point.checked_sub(0x1_0000) {
        None => out.push_str(&format!("\\u{point:04x}")),
        Some(high) => {
            let (first, second) = (0xd800 + (high >> 10), 0xdc00 + (high & 0x3ff));
            out.push_str(&format!("\\u{first:04x}\\u{second:04x}"));
        }
    }
}

fn number(text: &str, numbers: Numbers) -> String {
    let printed = match numbers {
        Numbers::AsWritten => None,
        Numbers::Python => python_number(text),
        Numbers::JavaScript => javascript_number(text),
    };
    printed.unwrap_or_else(|| text.to_string())
}

/// As Python prints what it reads; `None` where that is not the number that was written.
fn python_number(text: &str) -> Option<String> {
    if !text.contains(['.', 'e', 'E']) {
        // Python's integers have any size, and no minus zero.
        return (text == "-0").then(|| "0".to_string());
    }
    let double = shortest(text)?;
    if double != Number::parse(text)? {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let (digits, point) = (double.digits(), double.point());
    Some(match point {
        _ if double.is_zero() => format!("{sign}0.0"),
        -3..=16 if point >= digits.len() as i64 => format!("{sign}{}.0", plain(digits, point)),
        -3..=16 => format!("{sign}{}", plain(digits, point)),
        _ => format!("{sign}{}e{}{:02}", significand(digits), sign_of(point - 1), (point - 1).abs()),
    })
}

/// As JavaScript prints what it reads; every number is a double there.
fn javascript_number(text: &str) -> Option<String> {
    let double = shortest(text)?;
    let sign = if double.is_negative() { "-" } else { "" };
    let (digits, point) = (double.digits(), double.point());
    Some(match point {
        _ if double.is_zero() => "0".to_string(),
        -5..=21 => format!("{sign}{}", plain(digits, point)),
        _ => format!("{sign}{}e{}{}", significand(digits), sign_of(point - 1), (point - 1).abs()),
    })
}

fn sign_of(exponent: i64) -> char {
    if exponent < 0 { '-' } else { '+' }
}

/// Digits with a point among them, or zeros around them.
fn plain(digits: &str, point: i64) -> String {
    match usize::try_from(point) {
        Ok(0) | Err(_) => format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
        Ok(point) if point >= digits.len() => format!("{digits}{}", "0".repeat(point - digits.len())),
        Ok(point) => format!("{}.{}", &digits[..point], &digits[point..]),
    }
}

fn significand(digits: &str) -> String {
    match digits.len() {
        1 => digits.to_string(),
        _ => format!("{}.{}", &digits[..1], &digits[1..]),
    }
}

/// The fewest digits that name the double that a number is read as.
fn shortest(text: &str) -> Option<Number> {
    let value: f64 = text.parse().ok()?;
    if value.is_finite() { Number::parse(&double::shortest(value)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_python_prints_them_or_stay_as_written() {
        for (written, expected) in [
            ("100000.00", "100000.0"),
            ("1e16", "1e+16"),
            ("1E+2", "100.0"),
            ("1e15", "1000000000000000.0"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("12345678901234567.0", "12345678901234567.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("0e9", "0.0"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1250.10", "1250.1"),
            ("1.8802005821426532e15", "1880200582142653.2"),
            ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
            ("99999999999999999999.99", "99999999999999999999.99"),
            ("1e400", "1e400"),
            ("1e-400", "1e-400"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert_eq!(canonical(written).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn numbers_are_printed_as_javascript_prints_them() {
        for (written, expected) in [
            ("100000.00", "100000"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("-0.0", "0"),
            ("9007199254740993", "9007199254740992"),
            ("1.25e-7", "1.25e-7"),
        ] {
            assert_eq!(javascript_number(written).as_deref(), Some(expected), "{written}");
        }
    }

    #[test]
    fn names_are_sorted_by_code_point_and_text_is_escaped() {
        let written =
            "{\"\u{1f600}\": 1, \"\u{ff5e}\":\"结算\\/\\u0007\u{7f}\", \"B\":[ ],\"a\" :{}, \"A\":\"\\ud800\"}";
        let expected = concat!(
            r#"{"A": "\ud800", "B": [], "a": {}, "\uff5e": "\u7ed3\u7b97/\u0007\u007f", "#,
            r#""\ud83d\ude00": 1}"#
        );
        assert_eq!(canonical(written).unwrap(), expected);
        assert_eq!(canonical(expected).unwrap(), expected, "printing it again changes nothing");
    }
}

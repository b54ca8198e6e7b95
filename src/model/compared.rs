//! Values that are compared wherever they are: which kinds there are, how each is written as one canonical text, and when
//! two texts mean the same.
//!
//! Canonical texts: a number in plain digits without trailing zeros (`12.5`, `0`); a truth as `true` or `false`; a day
//! `YYYY-MM-DD`; an instant as whole microseconds since 1970 in UTC; JSON with sorted keys and without blanks between;
//! bytes in hexadecimal digits; everything else as it is. What is missing has no text.

use serde::{Deserialize, Serialize};

use super::dataset::{Column, ColumnType};
use super::day::Day;
use super::decimal;
use super::double::shortest;
use super::json_text;
use super::keys::KeyPart;

/// What the values of a column are, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    Text,
    Number,
    Truth,
    Day,
    Instant,
    Json,
    Bytes,
}

impl ValueKind {
    pub const ALL: [ValueKind; 7] = [
        ValueKind::Text,
        ValueKind::Number,
        ValueKind::Truth,
        ValueKind::Day,
        ValueKind::Instant,
        ValueKind::Json,
        ValueKind::Bytes,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ValueKind::Text => "text",
            ValueKind::Number => "number",
            ValueKind::Truth => "truth",
            ValueKind::Day => "day",
            ValueKind::Instant => "instant",
            ValueKind::Json => "json",
            ValueKind::Bytes => "bytes",
        }
    }
}

/// To which unit instants are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    #[default]
    Microsecond,
    Millisecond,
    Second,
    Minute,
}

impl Precision {
    /// Microseconds of the unit.
    pub fn micros(self) -> i64 {
        match self {
            Precision::Microsecond => 1,
            Precision::Millisecond => 1_000,
            Precision::Second => 1_000_000,
            Precision::Minute => 60_000_000,
        }
    }
}

/// What a table says of one of its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub name: String,
    /// The type in the table's own words: `numeric`, `timestamptz`, `INTEGER`.
    pub declared: String,
    pub family: Family,
    pub nullable: bool,
    /// Place in the primary key, from 1; 0 when it is not part of it.
    pub place: u32,
    /// How texts are ordered, where the side knows: two sides with the same order may use it.
    #[serde(default)]
    pub order: Option<String>,
}

/// What a declared type holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Whole,
    Exact,
    Float,
    Truth,
    Day,
    /// With a time zone, or in a dialect that keeps UTC.
    Instant,
    /// To whole seconds only.
    Second,
    /// Without a time zone.
    Local,
    Json,
    Bytes,
    Text,
    /// Anything: SQLite columns without a type.
    Any,
}

impl Family {
    fn is_number(self) -> bool {
        matches!(self, Family::Whole | Family::Exact | Family::Float)
    }

    fn is_instant(self) -> bool {
        matches!(self, Family::Instant | Family::Second | Family::Local)
    }

    /// Values whose type does not say what they are.
    fn is_loose(self) -> bool {
        matches!(self, Family::Text | Family::Any)
    }
}

/// As what two columns are compared; `None` when they are of kinds that do not meet.
pub fn common_kind(one: Family, two: Family) -> Option<ValueKind> {
    let either = |test: fn(Family) -> bool| test(one) || test(two);
    let both = |test: fn(Family) -> bool| test(one) && test(two);
    Some(match (one, two) {
        _ if both(|it| it.is_number() || it == Family::Any) && either(Family::is_number) => ValueKind::Number,
        _ if both(|it| it == Family::Truth || it == Family::Whole || it.is_loose())
            && either(|it| it == Family::Truth) =>
        {
            ValueKind::Truth
        }
        _ if either(Family::is_number) && either(Family::is_loose) => ValueKind::Number,
        (Family::Day, Family::Day) => ValueKind::Day,
        _ if either(|it| it == Family::Day) && either(Family::is_loose) => ValueKind::Day,
        _ if both(|it| it.is_instant() || it == Family::Day) => ValueKind::Instant,
        _ if either(Family::is_instant) && either(|it| it.is_loose() || it == Family::Whole) => ValueKind::Instant,
        _ if both(|it| it == Family::Json || it.is_loose()) && either(|it| it == Family::Json) => ValueKind::Json,
        _ if both(|it| it == Family::Bytes || it == Family::Any) && either(|it| it == Family::Bytes) => {
            ValueKind::Bytes
        }
        _ if both(Family::is_loose) => ValueKind::Text,
        _ => return None,
    })
}

/// One column that is compared, as one side sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideColumn {
    /// The column's name in this side's table.
    pub name: String,
    pub kind: ValueKind,
    #[serde(default)]
    pub precision: Precision,
    /// Minutes east of UTC in which instants without a zone are meant.
    #[serde(default)]
    pub zone_minutes: i32,
    /// Blanks at the end do not count.
    #[serde(default)]
    pub trim: bool,
    /// The type that both servers cast to before they hash records; `None`: they do not.
    #[serde(default)]
    pub native: Option<String>,
}

/// What one side is asked about: the columns in an order that both sides share, the first `key` of them the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub columns: Vec<SideColumn>,
    pub key: usize,
    /// Only rows with a value of a column between these, both included.
    #[serde(default)]
    pub only: Option<Only>,
    /// Texts are ordered as the table itself orders them, which only the side's own server can do.
    #[serde(default)]
    pub own_order: bool,
    /// Hash records as the server itself does; else the portable hash.
    #[serde(default)]
    pub records: bool,
}

/// A window: a column of the shape and canonical bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Only {
    pub column: usize,
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub to: Option<String>,
}

impl Only {
    /// Whether a canonical value lies in the window. What is missing does not.
    pub fn holds(&self, kind: ValueKind, value: Option<&str>) -> bool {
        let Some(value) = value.and_then(|value| key_part(kind, value)) else { return false };
        let bound = |bound: &Option<String>| bound.as_deref().and_then(|bound| key_part(kind, bound));
        bound(&self.from).is_none_or(|from| from <= value) && bound(&self.to).is_none_or(|to| value <= to)
    }
}

/// The values of one row in the shape's order, in canonical texts of full precision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SideRow(pub Vec<Option<String>>);

/// Digits behind the point that a number in a key may have.
pub const KEY_SCALE: i8 = 10;

/// A canonical text as the part of a key; `None` when it cannot be one.
pub fn key_part(kind: ValueKind, text: &str) -> Option<KeyPart> {
    Some(match kind {
        ValueKind::Number => KeyPart::Decimal(exact(text, KEY_SCALE)?),
        ValueKind::Day => KeyPart::Day(Day::parse(text).ok()?),
        ValueKind::Instant => KeyPart::Int(text.parse().ok()?),
        ValueKind::Json => return None,
        ValueKind::Text | ValueKind::Truth | ValueKind::Bytes => KeyPart::Text(text.to_owned()),
    })
}

/// The canonical text of a part of a key.
pub fn part_text(part: &KeyPart) -> String {
    match part {
        KeyPart::Text(text) => text.clone(),
        KeyPart::Int(value) | KeyPart::Seconds(value) => value.to_string(),
        KeyPart::Day(day) => day.to_string(),
        KeyPart::Decimal(value) => decimal::to_text(*value, KEY_SCALE),
    }
}

/// `text` times ten to the power `scale`, when that is a whole number of at most 38 digits.
fn exact(text: &str, scale: i8) -> Option<i128> {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    (fraction.trim_end_matches('0').len() <= scale.unsigned_abs().into()).then(|| decimal::parse(text, scale, 0))?
}

impl SideRow {
    /// The key of the row; `None` when a part of it is missing or cannot be one.
    pub fn key(&self, shape: &Shape) -> Option<Vec<KeyPart>> {
        let parts = shape.columns.iter().zip(&self.0).take(shape.key);
        parts.map(|(column, text)| key_part(column.kind, text.as_deref()?)).collect()
    }

    /// Writes the row as the portable hash reads it: instants to the unit, blanks cut, as the columns say.
    pub fn write(&self, shape: &Shape, out: &mut Vec<u8>) {
        out.clear();
        for (column, value) in shape.columns.iter().zip(&self.0) {
            let text = value.as_deref().map(|text| column.compared(text));
            super::digest::push_value(out, text.as_deref().map(str::as_bytes));
        }
    }
}

impl SideColumn {
    /// The text that is compared and hashed: what the column's precision and blanks leave of the canonical one.
    pub fn compared<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        let unit = self.precision.micros();
        match self.kind {
            ValueKind::Instant if unit > 1 => match text.parse::<i64>() {
                Ok(micros) => micros.div_euclid(unit).to_string().into(),
                Err(_) => text.into(),
            },
            ValueKind::Text if self.trim => text.trim_end_matches(' ').into(),
            _ => text.into(),
        }
    }
}

/// Plain digits without trailing zeros of what people and databases write as numbers; `None` for what is none.
pub fn number_text(text: &str) -> Option<String> {
    let text = text.trim();
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, power) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok().filter(|power| power.abs() <= 400)?),
        None => (rest, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = whole.len() as i32 + power;
    let padded = match point {
        point if point <= 0 => format!("0.{}{all}", "0".repeat(point.unsigned_abs() as usize)),
        point if point as usize >= all.len() => format!("{all}{}", "0".repeat(point as usize - all.len())),
        point => format!("{}.{}", &all[..point as usize], &all[point as usize..]),
    };
    let (whole, fraction) = padded.split_once('.').unwrap_or((&padded, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// The shortest plain digits that stand for this double and no other.
pub fn float_number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => number_text(&shortest(value)).unwrap_or_default(),
    }
}

/// The canonical text of a value that is written as text; what cannot be read as its kind stays as it is, so that it is
/// equal to itself and to nothing else.
pub fn canonical(kind: ValueKind, text: &str, zone_minutes: i32) -> String {
    let read = match kind {
        ValueKind::Text | ValueKind::Bytes => None,
        ValueKind::Number => number_text(text),
        ValueKind::Truth => truth(text).map(|truth| truth.to_string()),
        ValueKind::Day => day_text(text),
        ValueKind::Instant => micros(text, zone_minutes).map(|micros| micros.to_string()),
        ValueKind::Json => json_text::canonical(text),
    };
    read.unwrap_or_else(|| text.to_owned())
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Some(true),
        "0" | "f" | "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `2024-01-31`, `20240131`, or the day of an instant in its own zone.
fn day_text(text: &str) -> Option<String> {
    let head = text.get(..10).filter(|_| text.len() > 10 && text.as_bytes()[4] == b'-').unwrap_or(text);
    Day::parse(head).ok().map(|day| day.to_string())
}

/// Microseconds since 1970 of `2024-01-31 18:00:00.5`, with `T` or a blank between and with an offset or none.
pub fn micros(text: &str, zone_minutes: i32) -> Option<i64> {
    let text = text.trim();
    let day = Day::parse(text.get(..10)?).ok()?;
    let rest = text.get(10..)?;
    let (clock, offset) = match rest.get(1..).unwrap_or("").find(['Z', 'z', '+', '-']) {
        Some(at) => rest.split_at(at + 1),
        None => (rest, ""),
    };
    let minutes = match offset {
        "" => zone_minutes,
        "Z" | "z" => 0,
        offset => offset_minutes(offset)?,
    };
    let clock = clock.trim_start_matches(['T', 't', ' ']);
    let mut parts = clock.split(':');
    let part = |text: Option<&str>| text.map_or(Some(0), |text| text.parse::<i64>().ok());
    let (hours, mins) = (part(parts.next().filter(|text| !text.is_empty()))?, part(parts.next())?);
    let (seconds, fraction) = parts.next().map_or(("0", ""), |text| text.split_once('.').unwrap_or((text, "")));
    let seconds: i64 = seconds.parse().ok()?;
    let fraction: i64 = match fraction {
        "" => 0,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("{digits:0<6.6}").parse().ok()?,
        _ => return None,
    };
    let fits = (0..=24).contains(&hours) && (0..60).contains(&mins) && (0..=60).contains(&seconds);
    let of_day = ((hours * 60 + mins - i64::from(minutes)) * 60 + seconds) * 1_000_000 + fraction;
    (fits && parts.next().is_none()).then(|| i64::from(day.0) * 86_400_000_000 + of_day)
}

/// `+08:00`, `-0330`, `+8` in minutes.
pub fn offset_minutes(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let digits = rest.replace(':', "");
    let (hours, minutes) = if digits.len() > 2 { digits.split_at(digits.len() - 2) } else { (&*digits, "0") };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 15 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// How a column of a dataset is seen from outside.
pub fn family_of(column: &Column) -> Family {
    match column.kind {
        ColumnType::Text => Family::Text,
        ColumnType::Date => Family::Day,
        ColumnType::Datetime => Family::Second,
        ColumnType::Int => Family::Whole,
        ColumnType::Decimal => Family::Exact,
        ColumnType::Float => Family::Float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        for (text, expected) in [
            ("1.10", "1.1"),
            ("1.1", "1.1"),
            ("-0.00", "0"),
            ("1e3", "1000"),
            ("1.25E-3", "0.00125"),
            ("+007", "7"),
            (".5", "0.5"),
            ("123456789012345678901234567890.123400", "123456789012345678901234567890.1234"),
        ] {
            assert_eq!(number_text(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "-", "abc", "1.2.3", "1e", "0x10", "1e99999"] {
            assert_eq!(number_text(text), None, "{text}");
        }
        assert_eq!(float_number(0.1), "0.1");
        assert_eq!(float_number(1e21), "1000000000000000000000");
        assert_eq!(float_number(-0.0), "0");
        assert_eq!(float_number(5e-324).len(), 326);
    }

    #[test]
    fn instants_are_equal_in_every_zone_and_form() {
        let expected = micros("2024-01-31T10:00:00Z", 0);
        assert_eq!(expected, Some(1_706_695_200_000_000));
        for text in [
            "2024-01-31 18:00:00+08",
            "2024-01-31T18:00:00.000000+08:00",
            "2024-01-31 06:30:00-0330",
            "2024-01-31 18:00",
        ] {
            assert_eq!(micros(text, 480), expected, "{text}");
        }
        assert_eq!(micros("2024-01-31 18:00:00.1234567", 480), expected.map(|micros| micros + 123_456));
        assert_eq!(micros("2024-01-31", 0), Some(1_706_659_200_000_000));
        for text in ["", "2024", "2024-01-31 25:00", "2024-01-31 10:00:xx", "2024-13-01 00:00", "2024-01-3合"] {
            assert_eq!(micros(text, 0), None, "{text}");
        }
    }

    #[test]
    fn kinds_that_do_not_meet_are_not_compared() {
        for (one, two, expected) in [
            (Family::Whole, Family::Exact, Some(ValueKind::Number)),
            (Family::Exact, Family::Text, Some(ValueKind::Number)),
            (Family::Truth, Family::Whole, Some(ValueKind::Truth)),
            (Family::Truth, Family::Any, Some(ValueKind::Truth)),
            (Family::Day, Family::Text, Some(ValueKind::Day)),
            (Family::Instant, Family::Local, Some(ValueKind::Instant)),
            (Family::Second, Family::Text, Some(ValueKind::Instant)),
            (Family::Json, Family::Text, Some(ValueKind::Json)),
            (Family::Text, Family::Any, Some(ValueKind::Text)),
            (Family::Bytes, Family::Bytes, Some(ValueKind::Bytes)),
            (Family::Bytes, Family::Whole, None),
            (Family::Day, Family::Exact, None),
            (Family::Json, Family::Truth, None),
        ] {
            assert_eq!(common_kind(one, two), expected, "{one:?} {two:?}");
            assert_eq!(common_kind(two, one), expected, "{two:?} {one:?}");
        }
    }

    #[test]
    fn keys_are_ordered_by_value_and_read_back() {
        let part = |kind, text| key_part(kind, text).unwrap();
        assert!(part(ValueKind::Number, "9") < part(ValueKind::Number, "10"));
        assert!(part(ValueKind::Number, "-2.5") < part(ValueKind::Number, "-2"));
        assert_eq!(part_text(&part(ValueKind::Number, "-2.5")), "-2.5");
        assert!(key_part(ValueKind::Number, "0.00000000001").is_none());
        assert_eq!(part_text(&part(ValueKind::Day, "2024-02-29")), "2024-02-29");
    }
}

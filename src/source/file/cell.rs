//! The text of one cell becomes a value of its column's type, exactly.

use std::borrow::Cow;

use super::records::CellText;
use crate::model::dataset::ColumnType;
use crate::model::{Column, Day, Instant, code, decimal};

/// A value that fits its column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Day(Day),
    /// Seconds since 1970-01-01T00:00:00Z.
    Second(i64),
    Int(i64),
    Decimal(i128),
    Float(f64),
}

/// What a column's cells hold: its type, and the power of ten from the file's unit to the column's.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    pub column: &'a Column,
    pub shift: i8,
    pub is_code: bool,
    /// A missing value is `""` (dates: `Day::MIN`): part of a key may be absent but is never null.
    pub empty_is_value: bool,
}

/// Reads a cell; the reason names what is wrong and never the value.
pub fn read<'a>(cell: CellText<'a>, reading: &Reading) -> Result<Value<'a>, &'static str> {
    let is_text = reading.column.kind == ColumnType::Text;
    let text = if is_text && cell.quoted { cell.text } else { cell.text.trim() };
    if text.contains('\u{fffd}') {
        return Err("not readable in the file's encoding");
    }
    if is_null(text, cell.quoted, is_text) {
        return Ok(nothing(reading));
    }
    match reading.column.kind {
        ColumnType::Text if reading.is_code => read_code(text),
        ColumnType::Text => Ok(Value::Text(Cow::Borrowed(text))),
        ColumnType::Date => day(text).map(Value::Day),
        ColumnType::Datetime => second(text).map(Value::Second).ok_or("not a time"),
        ColumnType::Int => integer(text, reading.shift).map(Value::Int),
        ColumnType::Decimal => number(text, reading.column, reading.shift).map(Value::Decimal),
        ColumnType::Float => float(text, reading.shift).map(Value::Float).ok_or("not a number"),
    }
}

/// The value of a cell that has none.
pub fn nothing<'a>(reading: &Reading) -> Value<'a> {
    match reading.column.kind {
        ColumnType::Text if reading.empty_is_value => Value::Text(Cow::Borrowed("")),
        ColumnType::Date if reading.empty_is_value => Value::Day(Day::MIN),
        _ => Value::Null,
    }
}

/// Words for "no value". A quoted cell of a text column is meant as it stands, unless it is empty.
fn is_null(text: &str, quoted: bool, is_text: bool) -> bool {
    if text.is_empty() {
        return true;
    }
    if quoted && is_text {
        return false;
    }
    let everywhere = ["nan", "none", "null", "nat", "<na>"];
    let in_numbers = ["na", "n/a", "#n/a"];
    matches!(text, "-" | "--" | "\\N")
        || everywhere.iter().any(|word| text.eq_ignore_ascii_case(word))
        || (!is_text && in_numbers.iter().any(|word| text.eq_ignore_ascii_case(word)))
}

fn read_code(text: &str) -> Result<Value<'_>, &'static str> {
    match code::canonical(text) {
        Some(canonical) if canonical == text => Ok(Value::Text(Cow::Borrowed(text))),
        Some(canonical) => Ok(Value::Text(Cow::Owned(canonical))),
        None => Err("not a security code"),
    }
}

fn number(text: &str, column: &Column, shift: i8) -> Result<i128, &'static str> {
    let text = match text.strip_suffix('%') {
        Some(rest) if column.unit.starts_with("percent") => rest,
        _ => text,
    };
    let plain = without_separators(text).ok_or("not a number")?;
    decimal::parse(&plain, column.scale, shift).ok_or("not a number")
}

/// Whole numbers, also as `174085100.0`; noise below a millionth is dropped, a real fraction is refused.
fn integer(text: &str, shift: i8) -> Result<i64, &'static str> {
    const MILLION: i128 = 1_000_000;
    let plain = without_separators(text).ok_or("not a number")?;
    let scaled = decimal::parse(&plain, 6, shift).ok_or("not a number")?;
    if scaled % MILLION != 0 {
        return Err("not a whole number");
    }
    i64::try_from(scaled / MILLION).map_err(|_| "larger than a whole number can be")
}

/// Through the nearest double of the text; the shift is applied to the text, not to the double.
fn float(text: &str, shift: i8) -> Option<f64> {
    let plain = without_separators(text)?;
    let value = if shift == 0 { plain.parse::<f64>() } else { format!("{plain}e{shift}").parse::<f64>() };
    value.ok().filter(|value| value.is_finite())
}

/// `1,234,567.8` without its commas; `None` when commas stand elsewhere than every three digits.
fn without_separators(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(',') {
        return Some(Cow::Borrowed(text));
    }
    let whole = text.split('.').next().unwrap_or_default();
    let groups: Vec<&str> = whole.trim_start_matches(['-', '+']).split(',').collect();
    let well_formed = (1..=3).contains(&groups[0].len())
        && groups[1..].iter().all(|group| group.len() == 3)
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    let fraction_is_plain = !text[whole.len()..].contains(',');
    (well_formed && fraction_is_plain).then(|| Cow::Owned(text.replace(',', "")))
}

/// A date in any of the forms in use. A time of day is accepted only where it is midnight, as written or in Beijing:
/// an hourly bar is not a daily one.
pub fn day(text: &str) -> Result<Day, &'static str> {
    if let Some(day) = plain_day(text) {
        return Ok(day);
    }
    if let Some(day) = text.split_once('.').filter(|(_, zeros)| is_zeros(zeros)).and_then(|(whole, _)| plain_day(whole))
    {
        return Ok(day);
    }
    if let Some((head, tail)) = compact_time(text) {
        return match plain_day(head).ok_or("not a date")? {
            day if is_zeros(tail) => Ok(day),
            _ => Err("a time of day where a date belongs"),
        };
    }
    let (date, time) = split_time(text).ok_or("not a date")?;
    let (day, clock) = (plain_day(date).ok_or("not a date")?, clock(time).ok_or("not a date")?);
    if clock.seconds == 0 {
        return Ok(day);
    }
    let in_beijing = clock.offset_seconds.map(|offset| instant_of(day, clock.seconds, offset));
    match in_beijing {
        Some(instant) if instant.0 == Instant::at(instant.day(), 0).0 => Ok(instant.day()),
        _ => Err("a time of day where a date belongs"),
    }
}

/// A moment, in Beijing unless the text names another offset.
pub fn second(text: &str) -> Option<i64> {
    const BEIJING_SECONDS: i64 = 8 * 3600;
    if !text.contains(':')
        && let Ok(midnight) = day(text)
    {
        return Some(i64::from(midnight.0) * 86_400 - BEIJING_SECONDS);
    }
    if let Some((head, tail)) = compact_time(text) {
        let time = [&tail[..2], &tail[2..4], if tail.len() == 6 { &tail[4..] } else { "00" }].join(":");
        let seconds = clock(&time)?.seconds;
        return Some(i64::from(plain_day(head)?.0) * 86_400 + seconds - BEIJING_SECONDS);
    }
    let (date, time) = split_time(text)?;
    let (day, clock) = (plain_day(date)?, clock(time)?);
    Some(instant_of(day, clock.seconds, clock.offset_seconds.unwrap_or(BEIJING_SECONDS)).0 / 1_000_000)
}

fn instant_of(day: Day, seconds: i64, offset_seconds: i64) -> Instant {
    Instant((i64::from(day.0) * 86_400 + seconds - offset_seconds) * 1_000_000)
}

/// `202401021500` and `20240102150000` as date and time.
fn compact_time(text: &str) -> Option<(&str, &str)> {
    let is_compact = matches!(text.len(), 12 | 14) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_at_checked(8).filter(|_| is_compact)
}

/// `2024-01-02 15:00:00` and `2024-01-02T15:00:00` as date and time.
fn split_time(text: &str) -> Option<(&str, &str)> {
    let (date, time) = text.split_once(['T', ' '])?;
    Some((date.trim_end(), time.trim_start()))
}

/// `20240102`, `2024-01-02`, `2024/1/2`, `2024.1.2`, `2024年1月2日`.
fn plain_day(text: &str) -> Option<Day> {
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Day::parse(text).ok();
    }
    let mut parts = text.strip_suffix('日').unwrap_or(text).split(['-', '/', '.', '年', '月']);
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let plain = |part: &str, len: usize| part.len() <= len && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || year.len() != 4 || !plain(year, 4) || !plain(month, 2) || !plain(day, 2) {
        return None;
    }
    Day::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

struct ClockTime {
    /// Seconds after midnight; a fraction of a second counts as one so that it is not midnight.
    seconds: i64,
    offset_seconds: Option<i64>,
}

/// `09:30`, `09:30:00`, `00:00:00.000000`, each with `Z`, `+08:00`, `+0800` or nothing behind.
fn clock(text: &str) -> Option<ClockTime> {
    let (time, offset_seconds) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], Some(offset(text[at..].trim())?)),
        None => (text, None),
    };
    let (whole, fraction) = time.trim().split_once('.').unwrap_or((time.trim(), "0"));
    let mut parts = whole.split(':').map(two_digits);
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().map_or(Some(0), |part| part)?;
    let in_range = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
    let fraction_is_digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !in_range || !fraction_is_digits {
        return None;
    }
    Some(ClockTime { seconds: hours * 3600 + minutes * 60 + seconds, offset_seconds })
}

fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.get(1..)?.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { two_digits(minutes)? };
    Some(sign * (two_digits(hours)? * 3600 + minutes * 60))
}

fn two_digits(text: &str) -> Option<i64> {
    ((1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_zeros(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_form_that_sources_write() {
        for text in [
            "20240102",
            "2024-01-02",
            "2024/1/2",
            "2024/01/02",
            "2024.1.2",
            "2024年1月2日",
            "20240102.0",
            "202401020000",
            "20240102000000",
            "2024-01-02 00:00:00",
            "2024-01-02 00:00:00.000000",
            "2024-01-02T00:00:00.000",
            "2024-01-02 00:00:00+08:00",
            "2024-01-02T00:00:00+0800",
            "2024-01-02T00:00:00Z",
            "2024-01-01T16:00:00Z",
            "2024-01-01 11:00:00-05:00",
        ] {
            assert_eq!(day(text).map(|day| day.to_string()), Ok("2024-01-02".to_owned()), "{text}");
        }
        for text in ["", "2024", "2024-13-01", "20240230", "2024-1-2-3", "24-01-02", "x", "2024-01-02 25:00", "１２"]
        {
            assert_eq!(day(text), Err("not a date"), "{text}");
        }
        for text in ["2025-10-09 10:30", "2025-10-09 15:00:00", "202510091030", "2024-01-02T03:00:00Z"] {
            assert_eq!(day(text), Err("a time of day where a date belongs"), "{text}");
        }
    }

    #[test]
    fn moments_are_read_in_beijing_unless_they_say_otherwise() {
        for (text, expected) in [
            ("2024-01-02 09:30:00", "2024-01-02T09:30:00+08:00"),
            ("2024-01-02 09:30", "2024-01-02T09:30:00+08:00"),
            ("20240102093000", "2024-01-02T09:30:00+08:00"),
            ("2024-01-02T01:30:00Z", "2024-01-02T09:30:00+08:00"),
            ("2024-01-02", "2024-01-02T00:00:00+08:00"),
            ("2024-01-02T00:00:00Z", "2024-01-02T08:00:00+08:00"),
            ("2024-01-02 00:00:00-05:00", "2024-01-02T13:00:00+08:00"),
            ("20240102.0", "2024-01-02T00:00:00+08:00"),
            ("2026-04-07 19:13:59.203206+08:00", "2026-04-07T19:13:59+08:00"),
        ] {
            let instant = second(text).map(|second| Instant(second * 1_000_000).to_string());
            assert_eq!(instant.as_deref(), Some(expected), "{text}");
        }
        assert_eq!(second("soon"), None);
    }

    fn column(kind: ColumnType, unit: &str) -> Column {
        let text = format!("name = 'x'\ntype = 'text'\nscale = 2\nunit = '{unit}'\nmeaning = ''\nmeaning_zh = ''");
        Column { kind, ..toml::from_str(&text).unwrap() }
    }

    #[test]
    fn numbers_survive_what_spreadsheets_and_programs_do_to_them() {
        use ColumnType::{Decimal, Float, Int, Text};
        let nothing = Ok(Value::Null);
        for (kind, shift, text, expected) in [
            (Decimal, 0, "1,234.5", Ok(Value::Decimal(123_450))),
            (Decimal, 0, "-1,234,567", Ok(Value::Decimal(-123_456_700))),
            (Decimal, 0, " 12.5 ", Ok(Value::Decimal(1250))),
            (Decimal, 0, "5.30%", Ok(Value::Decimal(530))),
            (Decimal, 2, "63229.64", Ok(Value::Decimal(632_296_400))),
            (Decimal, 0, "-0.15000000000000002", Ok(Value::Decimal(-15))),
            (Decimal, 0, "1,23.5", Err("not a number")),
            (Decimal, 0, "1.5,000", Err("not a number")),
            (Decimal, 0, ",5", Err("not a number")),
            (Decimal, 0, "abc", Err("not a number")),
            (Decimal, 0, "inf", Err("not a number")),
            (Int, 0, "174085100.0", Ok(Value::Int(174_085_100))),
            (Int, 2, "12.34", Ok(Value::Int(1234))),
            (Int, 0, "5.0000000001", Ok(Value::Int(5))),
            (Int, 0, "5.5", Err("not a whole number")),
            (Int, 0, "99999999999999999999", Err("larger than a whole number can be")),
            (Float, 0, "0.1", Ok(Value::Float(0.1))),
            (Float, 3, "0.1", Ok(Value::Float(100.0))),
            (Float, 0, "1e999", Err("not a number")),
            (Text, 0, "万  科Ａ", Ok(Value::Text("万  科Ａ".into()))),
            (Text, 0, "a\u{fffd}", Err("not readable in the file's encoding")),
            (Text, 0, "NA", Ok(Value::Text("NA".into()))),
            (Decimal, 0, "NA", nothing.clone()),
        ] {
            let column = column(kind, "percent");
            let reading = Reading { column: &column, shift, is_code: false, empty_is_value: false };
            assert_eq!(read(CellText { text, quoted: false }, &reading), expected, "{kind:?} {text}");
        }
    }

    #[test]
    fn every_word_for_nothing_is_null_and_quotes_mean_what_they_say() {
        let column = column(ColumnType::Text, "");
        let mut reading = Reading { column: &column, shift: 0, is_code: false, empty_is_value: false };
        for text in ["", " ", "nan", "NaN", "None", "null", "NULL", "--", "-", "NaT", "<NA>", "\\N"] {
            assert_eq!(read(CellText { text, quoted: false }, &reading), Ok(Value::Null), "{text}");
        }
        assert_eq!(read(CellText { text: "NULL", quoted: true }, &reading), Ok(Value::Text("NULL".into())));
        assert_eq!(read(CellText { text: " a ", quoted: true }, &reading), Ok(Value::Text(" a ".into())));
        assert_eq!(read(CellText { text: "", quoted: true }, &reading), Ok(Value::Null));
        reading.empty_is_value = true;
        assert_eq!(read(CellText { text: "nan", quoted: false }, &reading), Ok(Value::Text("".into())));
    }
}

//! How SQLite tables write dates and instants, so that they can be compared where they are: SQLite has no types for them.

use rusqlite::types::{Value as Sql, ValueRef};

use super::rows::Raw;
use crate::model::{Column, ColumnType, Day, Instant, KeyPart, decimal, digest};

/// How a column's values are written. Values of one form sort as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the dataset's type is: text, whole numbers, numbers.
    Plain,
    /// `2024-01-31`.
    IsoDay,
    /// `20240131`, as text or as a number.
    CompactDay { number: bool },
    /// Seconds since 1970.
    Epoch,
    /// `2024-01-31 18:00:00`, with the sign between and the offset behind (`Z`, `+08:00`, or none: Beijing time).
    Stamp { between: char, offset: &'static str },
}

impl Form {
    /// The form of a value; `None` when values like it cannot be compared as the dataset's type.
    pub(super) fn of(kind: ColumnType, sample: ValueRef) -> Option<Form> {
        match (kind, sample) {
            (ColumnType::Text, ValueRef::Text(_)) | (ColumnType::Int, ValueRef::Integer(_)) => Some(Form::Plain),
            (ColumnType::Decimal, ValueRef::Integer(_) | ValueRef::Real(_)) => Some(Form::Plain),
            (ColumnType::Date, ValueRef::Integer(_)) => Some(Form::CompactDay { number: true }),
            (ColumnType::Date, ValueRef::Text(text)) => match text.len() {
                10 => Some(Form::IsoDay),
                8 => Some(Form::CompactDay { number: false }),
                _ => None,
            },
            (ColumnType::Datetime, ValueRef::Integer(_)) => Some(Form::Epoch),
            (ColumnType::Datetime, ValueRef::Text(text)) => {
                let text = std::str::from_utf8(text).ok()?;
                let between = text.chars().nth(10).filter(|sign| [' ', 'T'].contains(sign))?;
                let offset = offset_of(text);
                let known = ["Z", "+08:00", ""].into_iter().find(|known| *known == offset)?;
                Some(Form::Stamp { between, offset: known })
            }
            _ => None,
        }
    }

    /// A key as the column writes it. Of an instant: the first moment of its second.
    pub(super) fn write(&self, column: &Column, part: &KeyPart) -> Sql {
        match (part, self) {
            (KeyPart::Int(value), _) => Sql::Integer(*value),
            (KeyPart::Decimal(value), _) => Sql::Real(decimal::to_f64(*value, column.scale)),
            (KeyPart::Seconds(seconds), Form::Stamp { between, offset }) => {
                let utc = *offset == "Z";
                let shifted = if utc { seconds - 28_800 } else { *seconds };
                let text = Instant(shifted.saturating_mul(1_000_000)).to_string();
                let bare = text.get(..19).unwrap_or(&text);
                Sql::Text(bare.replace('T', &between.to_string()) + offset)
            }
            (KeyPart::Seconds(seconds), _) => Sql::Integer(*seconds),
            (KeyPart::Day(day), Form::CompactDay { number }) => {
                let text = day.compact();
                match text.parse() {
                    Ok(value) if *number => Sql::Integer(value),
                    _ => Sql::Text(text),
                }
            }
            (KeyPart::Day(day), _) => Sql::Text(day.to_string()),
            (KeyPart::Text(text), _) => Sql::Text(text.clone()),
        }
    }

    /// As `write`, but not after any value of that second: fractions of a second come before an offset in a text.
    pub(super) fn write_first(&self, column: &Column, part: &KeyPart) -> Sql {
        match (self.write(column, part), self) {
            (Sql::Text(text), Form::Stamp { .. }) => Sql::Text(text.get(..19).unwrap_or(&text).to_owned()),
            (value, _) => value,
        }
    }
}

/// What follows the seconds and their fraction.
fn offset_of(text: &str) -> &str {
    let rest = text.get(10..).unwrap_or_default();
    rest.find(['Z', '+', '-']).map_or("", |at| &rest[at..])
}

/// A value as the text that `rows::parse` reads.
pub(super) fn read(column: &Column, value: ValueRef) -> Raw {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "is no UTF-8 text".to_owned());
    let unfit = |what: &str| Err(format!("holds {what}, which does not convert"));
    Ok(Some(match (column.kind, value) {
        (_, ValueRef::Null) => return Ok(None),
        (_, ValueRef::Blob(_)) => return unfit("a blob"),
        (ColumnType::Text | ColumnType::Decimal, ValueRef::Real(value)) => value.to_string(),
        (ColumnType::Int, ValueRef::Real(value)) if value.fract() == 0.0 && value.abs() < 9e15 => value.to_string(),
        (ColumnType::Float, ValueRef::Real(value)) => digest::float_text(value),
        (ColumnType::Float, ValueRef::Integer(value)) => digest::float_text(value as f64),
        (_, ValueRef::Real(_)) => return unfit("a number with a fraction"),
        (_, ValueRef::Integer(value)) => value.to_string(),
        (ColumnType::Datetime, ValueRef::Text(bytes)) => match seconds(&text(bytes)?) {
            Some(seconds) => seconds.to_string(),
            None => return unfit("a text that is no instant"),
        },
        (ColumnType::Float, ValueRef::Text(bytes)) => match text(bytes)?.parse() {
            Ok(value) => digest::float_text(value),
            Err(_) => return unfit("a text that is no number"),
        },
        (_, ValueRef::Text(bytes)) => text(bytes)?,
    }))
}

/// Seconds since 1970 of a day or an instant; without an offset it is Beijing time.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(day) = Day::parse(text) {
        return Some(Instant::at(day, 0).0.div_euclid(1_000_000));
    }
    let zoned = if offset_of(text).is_empty() { format!("{text}+08:00") } else { text.to_owned() };
    Instant::parse(&zoned).map(|instant| instant.0.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_and_written_in_the_form_of_their_column() {
        let column: Column =
            toml::from_str("name = \"at\"\ntype = \"datetime\"\nunit = \"time\"\nmeaning = \"m\"\nmeaning_zh = \"m\"")
                .unwrap();
        for text in ["2024-01-31 18:00:00", "2024-01-31T18:00:00", "2024-01-31T10:00:00Z", "2024-01-31 18:00:00+08:00"]
        {
            let sample = ValueRef::Text(text.as_bytes());
            assert_eq!(read(&column, sample), Ok(Some("1706695200".into())), "{text}");
            let form = Form::of(ColumnType::Datetime, sample).unwrap();
            assert_eq!(form.write(&column, &KeyPart::Seconds(1_706_695_200)), Sql::Text(text.into()));
            let first = form.write_first(&column, &KeyPart::Seconds(1_706_695_200));
            assert_eq!(first, Sql::Text(text[..19].into()), "not after 18:00:00.5 with an offset");
        }
        let with_fraction = ValueRef::Text(b"2024-01-31 18:00:00.75");
        assert_eq!(read(&column, with_fraction), Ok(Some("1706695200".into())));
        assert_eq!(Form::of(ColumnType::Datetime, ValueRef::Text(b"31.01.2024 18:00")), None);
        assert_eq!(Form::of(ColumnType::Datetime, ValueRef::Text(b"2024-01-31 18:00:00-05:00")), None);
        assert!(read(&column, ValueRef::Text(b"soon")).is_err());
    }
}

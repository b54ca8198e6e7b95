//! Days and instants as parameters and results; texts inside of SQL.

use std::error::Error as Cause;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::model::{Day, Instant};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// Microseconds between the same two.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A `date`; no day is `-infinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SqlDay(pub(super) Option<Day>);

impl From<Day> for SqlDay {
    fn from(day: Day) -> SqlDay {
        SqlDay(Some(day))
    }
}

impl ToSql for SqlDay {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Cause + Sync + Send>> {
        out.put_i32(self.0.map_or(i32::MIN, |day| day.0 - EPOCH_DAYS));
        Ok(IsNull::No)
    }
    accepts!(DATE);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for SqlDay {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<SqlDay, Box<dyn Cause + Sync + Send>> {
        let number = i32::from_be_bytes(raw.try_into()?);
        Ok(SqlDay((number != i32::MIN).then(|| Day(number.saturating_add(EPOCH_DAYS)))))
    }
    accepts!(DATE);
}

/// A `timestamptz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SqlInstant(pub(super) Instant);

impl ToSql for SqlInstant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Cause + Sync + Send>> {
        out.put_i64(self.0.0 - EPOCH_MICROS);
        Ok(IsNull::No)
    }
    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for SqlInstant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<SqlInstant, Box<dyn Cause + Sync + Send>> {
        Ok(SqlInstant(Instant(i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_MICROS))))
    }
    accepts!(TIMESTAMPTZ);
}

/// `"name"`, safe inside SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`, safe inside SQL whatever the server's settings.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// A text that the server takes: PostgreSQL has no place for a zero byte.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The number of an advisory lock.
pub(super) fn lock_number(schema: &str, what: &str) -> i64 {
    let bytes = ["tidegate", schema, what].into_iter().flat_map(|text| text.bytes().chain([0]));
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, step) as i64
}

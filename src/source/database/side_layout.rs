//! SQL for one side of a reconciliation in PostgreSQL: every value as its canonical text, keys as the server compares
//! them, and the hash of a row by the server itself.

use super::layout::Asked;
use super::{parts, quoted, table_name};
use crate::model::compared::{Family, Found, Shape, SideColumn, ValueKind, part_text};
use crate::model::{Error, Key, KeyRange, Result};

/// A table that fits a shape.
pub(super) struct SideLayout<'a> {
    pub(super) shape: &'a Shape,
    /// What the table says of each column of the shape.
    pub(super) found: Vec<&'a Found>,
    pub(super) from: String,
}

impl<'a> SideLayout<'a> {
    pub(super) fn new(shape: &'a Shape, table: &str, columns: &'a [Found]) -> Result<SideLayout<'a>> {
        let found = shape.columns.iter().map(|column| {
            columns.iter().find(|found| found.name == column.name).ok_or_else(|| {
                let names: Vec<&str> = columns.iter().map(|found| found.name.as_str()).collect();
                Error::invalid(format!("{table} has no column {:?}", column.name))
                    .hint(format!("its columns are {}", names.join(", ")))
            })
        });
        let found = found.collect::<Result<_>>()?;
        Ok(SideLayout { shape, found, from: format!("{} as asked", table_name(table)) })
    }

    fn columns(&self) -> impl Iterator<Item = (&SideColumn, &Found)> {
        self.shape.columns.iter().zip(self.found.iter().copied())
    }

    /// The canonical texts, in the shape's order. What `is_read` says of a column is made canonical after reading.
    pub(super) fn texts(&self) -> Vec<String> {
        self.columns().map(|(column, found)| text_of(column, found, 1)).collect()
    }

    /// The expressions by which keys are ordered and compared.
    pub(super) fn key(&self) -> Vec<String> {
        self.columns().take(self.shape.key).map(|(column, found)| self.key_of(column, found)).collect()
    }

    fn key_of(&self, column: &SideColumn, found: &Found) -> String {
        let name = qualified(&found.name);
        match (column.kind, found.family) {
            (ValueKind::Number, Family::Whole | Family::Exact) => name,
            (ValueKind::Day, Family::Day) => name,
            (ValueKind::Instant, Family::Instant | Family::Local) => name,
            (ValueKind::Text, _) if column.native.as_deref() == Some("uuid") => name,
            (ValueKind::Text, _) if self.shape.own_order && is_plain_text(found) => name,
            (ValueKind::Number, _) => format!("({})::numeric", text_of(column, found, 1)),
            _ => format!("({} collate \"C\")", text_of(column, found, 1)),
        }
    }

    /// A key's parts as parameters.
    fn key_values(&self, asked: &mut Asked, key: &Key) -> String {
        let parts = self.columns().zip(key).map(|((column, found), part)| {
            let text = part_text(part);
            match (column.kind, found.family) {
                (ValueKind::Number, Family::Whole) if !text.contains('.') && text.len() < 19 => {
                    asked.parameter(text, "int8")
                }
                (ValueKind::Number, _) => asked.parameter(text, "numeric"),
                (ValueKind::Day, Family::Day) => asked.parameter(text, "date"),
                (ValueKind::Instant, Family::Instant) => instant(&asked.parameter(text, "text")),
                (ValueKind::Instant, Family::Local) => {
                    local(&instant(&asked.parameter(text, "text")), column.zone_minutes)
                }
                (ValueKind::Text, _) if column.native.as_deref() == Some("uuid") => asked.parameter(text, "uuid"),
                _ => asked.parameter(text, "text"),
            }
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn conditions(&self, asked: &mut Asked, range: &KeyRange) -> String {
        let mut conditions = Vec::new();
        for (bound, sign) in [(&range.after, ">"), (&range.upto, "<=")] {
            let Some(bound) = bound else { continue };
            let values = self.key_values(asked, bound);
            conditions.push(format!("({}) {sign} ({values})", self.key().join(", ")));
        }
        conditions.extend(self.window(asked));
        if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) }
    }

    fn window(&self, asked: &mut Asked) -> Vec<String> {
        let Some(only) = &self.shape.only else { return Vec::new() };
        let (column, found) = (&self.shape.columns[only.column], self.found[only.column]);
        let plain = SideLayout { shape: self.shape, found: vec![found], from: String::new() };
        let name = plain.key_of(column, found);
        let mut conditions = Vec::new();
        for (bound, sign) in [(&only.from, ">="), (&only.to, "<=")] {
            let Some(text) = bound else { continue };
            let value = match (column.kind, found.family) {
                (ValueKind::Number, _) => asked.parameter(text.clone(), "numeric"),
                (ValueKind::Day, Family::Day) => asked.parameter(text.clone(), "date"),
                (ValueKind::Instant, Family::Instant) => instant(&asked.parameter(text.clone(), "text")),
                (ValueKind::Instant, Family::Local) => {
                    local(&instant(&asked.parameter(text.clone(), "text")), column.zone_minutes)
                }
                _ => asked.parameter(text.clone(), "text"),
            };
            conditions.push(format!("{name} {sign} {value}"));
        }
        conditions
    }

    /// The rows of a range by key, at most `limit`.
    pub(super) fn rows(&self, range: &KeyRange, limit: u64) -> Asked {
        let mut asked = Asked::default();
        let conditions = self.conditions(&mut asked, range);
        let (texts, key) = (self.texts().join(", "), self.key().join(", "));
        asked.sql = format!("select {texts} from {}{conditions} order by {key} limit {limit}", self.from);
        asked
    }

    /// Every row of a range, in no order.
    pub(super) fn all(&self, range: &KeyRange) -> Asked {
        let mut asked = Asked::default();
        let conditions = self.conditions(&mut asked, range);
        asked.sql = format!("select {} from {}{conditions}", self.texts().join(", "), self.from);
        asked
    }

    /// The rows with these keys; `more` is selected behind the texts, `tail` ends the statement.
    pub(super) fn look(&self, keys: &[Key], more: &[String], tail: &str) -> Asked {
        let mut asked = Asked::default();
        let values: Vec<String> = keys.iter().map(|key| format!("({})", self.key_values(&mut asked, key))).collect();
        let mut conditions = vec![format!("({}) in ({})", self.key().join(", "), values.join(", "))];
        conditions.extend(self.window(&mut asked));
        let selected: Vec<String> = self.texts().into_iter().chain(more.iter().cloned()).collect();
        asked.sql =
            format!("select {} from {} where {}{tail}", selected.join(", "), self.from, conditions.join(" and "));
        asked
    }

    /// The keys of every `step`th row of the range.
    pub(super) fn split(&self, range: &KeyRange, step: u64) -> Asked {
        let mut asked = Asked::default();
        let conditions = self.conditions(&mut asked, range);
        let texts = self.texts().into_iter().take(self.shape.key).enumerate();
        let texts: Vec<String> = texts.map(|(at, text)| format!("{text} as c{at}")).collect();
        let names: Vec<String> = (0..self.shape.key).map(|at| format!("c{at}")).collect();
        asked.sql = format!(
            "select {} from (select {}, row_number() over (order by {}) as place from {}{conditions}) as numbered \
             where place % {} = 0 order by place",
            names.join(", "),
            texts.join(", "),
            self.key().join(", "),
            self.from,
            step.max(1),
        );
        asked
    }

    /// Number of the part, rows and sum of hashes, for each part that has rows.
    pub(super) fn digests(&self, range: &KeyRange, bounds: &[Key]) -> Asked {
        let mut asked = Asked::default();
        let key = self.key().join(", ");
        let bound_values: Vec<String> = bounds.iter().map(|bound| self.key_values(&mut asked, bound)).collect();
        let conditions = self.conditions(&mut asked, range);
        let hash = if self.shape.records { self.record_hash() } else { self.portable_hash() };
        asked.sql = parts::digests((&self.from, &conditions), (&key, &bound_values), &hash, "");
        asked
    }

    /// The server's own hash of a record: NULL is a value of its own, and equal numbers hash alike whatever their scale.
    /// It is mixed once more, because a record's hash is a weighted sum of the hashes of its values: added up as it is, two
    /// rows that have each other's value in a column would cancel.
    fn record_hash(&self) -> String {
        let values: Vec<String> = self.columns().map(|(column, found)| native_of(column, found)).collect();
        format!("hashfloat8extended(hash_record_extended(row({}), 0)::float8, 0)", values.join(", "))
    }

    /// The hash that every engine computes alike: see `model::digest`.
    fn portable_hash(&self) -> String {
        let value = |(column, found): (&SideColumn, &Found)| {
            let text = text_of(column, found, column.precision.micros());
            format!("coalesce(octet_length({text})::text || ':' || {text}, '~')")
        };
        let row = self.columns().map(value).collect::<Vec<_>>().join(" || ',' || ");
        format!("('x' || substr(md5({row}), 1, 15))::bit(60)::bigint")
    }

    /// Whether the server cannot write the canonical text of every column.
    pub(super) fn is_read(&self) -> bool {
        self.columns().any(|(column, found)| needs_reading(column, found))
    }
}

/// Whether a column's text is made canonical after it was read.
pub(super) fn needs_reading(column: &SideColumn, found: &Found) -> bool {
    match column.kind {
        ValueKind::Json => true,
        ValueKind::Number | ValueKind::Truth | ValueKind::Day | ValueKind::Instant => found.family == Family::Text,
        ValueKind::Text | ValueKind::Bytes => false,
    }
}

pub(super) fn qualified(name: &str) -> String {
    format!("asked.{}", quoted(name))
}

fn is_plain_text(found: &Found) -> bool {
    matches!(found.declared.as_str(), "text" | "varchar")
}

/// A time with a zone from microseconds since 1970.
fn instant(parameter: &str) -> String {
    format!(
        "(case when {parameter} in ('infinity', '-infinity') then {parameter}::timestamptz \
         else timestamptz 'epoch' + {parameter}::bigint * interval '1 microsecond' end)"
    )
}

fn local(instant: &str, zone_minutes: i32) -> String {
    format!("({instant} at time zone make_interval(mins => {zone_minutes}))")
}

/// The canonical text of a column; instants in units of so many microseconds.
fn text_of(column: &SideColumn, found: &Found, unit: i64) -> String {
    let name = qualified(&found.name);
    match (column.kind, found.family) {
        (ValueKind::Number, Family::Whole) => format!("{name}::text"),
        (ValueKind::Number, Family::Exact) => format!("trim_scale({name})::text"),
        (ValueKind::Number, Family::Float) => format!("trim_scale({name}::text::numeric)::text"),
        (ValueKind::Number, Family::Truth) => format!("{name}::int::text"),
        (ValueKind::Truth, Family::Truth) => format!("{name}::text"),
        (ValueKind::Truth, Family::Whole) => {
            format!("(case {name} when 0 then 'false' when 1 then 'true' else {name}::text end)")
        }
        (ValueKind::Day, Family::Instant | Family::Local) => format!("{name}::date::text"),
        (ValueKind::Instant, Family::Instant) => micros(&name, unit),
        (ValueKind::Instant, Family::Local | Family::Day) => {
            micros(&format!("({name}::timestamp at time zone make_interval(mins => {}))", column.zone_minutes), unit)
        }
        (ValueKind::Instant, Family::Whole) => format!("({name}::bigint * 1000000 / {unit})::text"),
        (ValueKind::Json, _) => format!("{name}::jsonb::text"),
        (ValueKind::Bytes, _) => format!("encode({name}, 'hex')"),
        (ValueKind::Text, _) if column.trim => format!("rtrim({name}::text, ' ')"),
        _ => format!("{name}::text"),
    }
}

fn micros(instant: &str, unit: i64) -> String {
    format!(
        "(case when isfinite({instant}) then floor(extract(epoch from {instant}) * 1000000 / {unit})::bigint::text \
         else {instant}::text end)"
    )
}

/// The column as the type that both servers hash.
fn native_of(column: &SideColumn, found: &Found) -> String {
    let name = qualified(&found.name);
    let native = column.native.as_deref().unwrap_or("text");
    match (native, found.family) {
        ("timestamptz", Family::Instant | Family::Local) => {
            let zoned = match found.family {
                Family::Local => {
                    format!("({name}::timestamp at time zone make_interval(mins => {}))", column.zone_minutes)
                }
                _ => name,
            };
            match column.precision.micros() {
                1 => zoned,
                1_000 => format!("date_trunc('millisecond', {zoned})"),
                1_000_000 => format!("date_trunc('second', {zoned})"),
                _ => format!("date_trunc('minute', {zoned})"),
            }
        }
        ("text", _) => format!("({} collate \"C\")", text_of(column, found, column.precision.micros())),
        ("numeric", Family::Float) => format!("{name}::text::numeric"),
        (native, _) if found.declared == native => name,
        (native, _) => format!("{name}::{native}"),
    }
}

/// The type as which two servers hash a column alike; they do so for every kind of value.
pub fn native(kind: ValueKind, one: &Found, two: &Found) -> String {
    let both = |family: Family| one.family == family && two.family == family;
    let same = |declared: &str| one.declared == declared && two.declared == declared;
    let native = match kind {
        ValueKind::Number if both(Family::Whole) => "int8",
        // A float4 is not the float8 of the same digits.
        ValueKind::Number if both(Family::Float) && one.declared == two.declared => &one.declared,
        ValueKind::Number
            if [one, two].iter().all(|it| matches!(it.family, Family::Whole | Family::Exact | Family::Float)) =>
        {
            "numeric"
        }
        ValueKind::Truth if both(Family::Truth) => "bool",
        ValueKind::Day if both(Family::Day) => "date",
        ValueKind::Instant if [one, two].iter().all(|it| matches!(it.family, Family::Instant | Family::Local)) => {
            "timestamptz"
        }
        ValueKind::Json if [one, two].iter().all(|it| it.family == Family::Json) => "jsonb",
        ValueKind::Bytes => "bytea",
        ValueKind::Text if same("uuid") => "uuid",
        _ => "text",
    };
    native.to_owned()
}

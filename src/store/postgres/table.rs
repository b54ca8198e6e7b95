//! Data tables: what a dataset of the catalogue is called, how it is cut into partitions and asked in PostgreSQL.

use std::sync::Arc;

use super::connection::Session;
use super::fault::Step;
use super::values::{SqlDay, literal, quoted};
use crate::model::change::Write;
use crate::model::dataset::{Points, Shape};
use crate::model::{Area, Column, ColumnType, Dataset, Day, Error, KeyPart, Result, RowsChange, Securities, Span};

/// How a column is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    Date,
    Datetime,
    Integer,
    /// `exact`: more digits than a double holds, as the catalogue declared.
    Decimal {
        scale: i8,
        exact: bool,
    },
    Float,
}

impl Kind {
    pub(super) fn of(column: &Column) -> Kind {
        match column.kind {
            ColumnType::Text => Kind::Text,
            ColumnType::Date => Kind::Date,
            ColumnType::Datetime => Kind::Datetime,
            ColumnType::Int => Kind::Integer,
            ColumnType::Decimal => Kind::Decimal { scale: column.scale, exact: column.digits > 15 },
            ColumnType::Float => Kind::Float,
        }
    }

    /// The type in the table's declaration. Decimals of up to 15 digits have room for the largest whole number that
    /// every store keeps exactly.
    pub(super) fn declared(self) -> String {
        match self {
            Kind::Text => "text collate \"C\"".to_owned(),
            Kind::Date => "date".to_owned(),
            Kind::Datetime => "timestamptz(0)".to_owned(),
            Kind::Integer => "bigint".to_owned(),
            Kind::Decimal { scale, exact: false } => format!("numeric({}, {scale})", scale.max(16)),
            Kind::Decimal { scale, exact: true } => format!("numeric({}, {scale})", scale.max(38)),
            Kind::Float => "double precision".to_owned(),
        }
    }

    /// The type as `_column` records it; the same names in every store.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Date => "date",
            Kind::Datetime => "datetime",
            Kind::Integer => "int",
            Kind::Decimal { exact: false, .. } => "decimal",
            Kind::Decimal { exact: true, .. } => "decimal as text",
            Kind::Float => "float",
        }
    }

    pub(super) fn scale(self) -> i8 {
        match self {
            Kind::Decimal { scale, .. } => scale,
            _ => 0,
        }
    }
}

/// The stretch of time that one partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    Month,
    Year,
}

impl Stretch {
    /// The first and the last day of the partition that holds `day`.
    pub(super) fn around(self, day: Day) -> Span {
        let (first, last) = match self {
            Stretch::Month => (day.month(), day.month()),
            Stretch::Year => (1, 12),
        };
        let from = Day::new(day.year(), first, 1).unwrap_or(Day::MIN);
        let last = Day::new(day.year(), last, 1).unwrap_or(Day::MAX);
        Span::new(from, last.month_end())
    }

    fn suffix(self, from: Day) -> String {
        match self {
            Stretch::Month => format!("{:04}_{:02}", from.year(), from.month()),
            Stretch::Year => format!("{:04}", from.year()),
        }
    }
}

/// A dataset with everything that is derived from it once.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) dataset: Arc<Dataset>,
    pub(super) kinds: Vec<Kind>,
    /// Positions of the key columns, in key order.
    pub(super) key: Vec<usize>,
    pub(super) time: Option<usize>,
    pub(super) security: Option<usize>,
    /// Where rows are partitioned by the time column.
    pub(super) stretch: Option<Stretch>,
    /// All columns in catalogue order, quoted, with commas.
    pub(super) columns: String,
}

/// The table that holds what the rows of `dataset` were before.
pub(super) fn revision_name(dataset: &str) -> String {
    format!("{dataset}_revision")
}

/// Names of partitions and indexes are made from it, and PostgreSQL cuts names off at 63 bytes.
const NAME_BYTES_MAX: usize = 40;

impl Table {
    pub(super) fn new(dataset: Arc<Dataset>) -> Result<Table> {
        let name = &dataset.name;
        let reserved = ["_revision", "_with_source"].iter().any(|suffix| name.ends_with(suffix));
        if name.is_empty() || name.starts_with('_') || name.starts_with("pg_") || reserved {
            let error = Error::invalid(format!("a table cannot be called {name:?}"));
            return Err(error.hint("names that begin with `_` or end in `_revision` belong to the store"));
        }
        if name.len() > NAME_BYTES_MAX {
            let error = Error::invalid(format!("the name {name:?} is too long for a table"));
            return Err(error.hint(format!("use at most {NAME_BYTES_MAX} bytes")));
        }
        let key = dataset.key_indices();
        if key.is_empty() || key.len() != dataset.key.len() {
            return Err(Error::invalid(format!("the key of dataset {name} is not among its columns")));
        }
        let time = dataset.time_index();
        let columns = dataset.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
        Ok(Table {
            kinds: dataset.columns.iter().map(Kind::of).collect(),
            stretch: time.filter(|index| key.contains(index)).and_then(|_| stretch(&dataset)),
            security: dataset.security_index(),
            time,
            key,
            columns,
            dataset,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.dataset.name
    }

    pub(super) fn quoted_name(&self) -> String {
        quoted(self.name())
    }

    pub(super) fn quoted_revision(&self) -> String {
        quoted(&revision_name(self.name()))
    }

    /// A column's name, quoted.
    pub(super) fn column(&self, index: usize) -> String {
        quoted(&self.dataset.columns[index].name)
    }

    /// All columns with a table's name in front.
    pub(super) fn columns_of(&self, table: &str) -> String {
        (0..self.kinds.len()).map(|index| format!("{table}.{}", self.column(index))).collect::<Vec<_>>().join(", ")
    }

    /// The key columns, quoted, with commas.
    pub(super) fn key_columns(&self) -> String {
        self.key.iter().map(|index| self.column(*index)).collect::<Vec<_>>().join(", ")
    }

    /// `one.key = other.key`, column by column.
    pub(super) fn same_key(&self, one: &str, other: &str) -> String {
        let equal = self.key.iter().map(|index| format!("{one}.{0} = {other}.{0}", self.column(*index)));
        equal.collect::<Vec<_>>().join(" and ")
    }

    /// Whether equal keys always lie in the same areas.
    pub(super) fn key_names_area(&self, area: &Area) -> bool {
        let in_key = |column: Option<usize>| column.is_none_or(|index| self.key.contains(&index));
        (area.span.is_all() || in_key(self.time)) && (area.securities == Securities::All || in_key(self.security))
    }

    /// The rows of `area` as a condition on the table called `name`; `true` for all of them.
    pub(super) fn in_area(&self, name: &str, area: &Area) -> String {
        let mut parts = Vec::new();
        if let (Some(index), Securities::Some(codes)) = (self.security, &area.securities) {
            let codes = codes.iter().map(|code| literal(code)).collect::<Vec<_>>();
            let list = if codes.is_empty() { "null".to_owned() } else { codes.join(", ") };
            parts.push(format!("{name}.{} in ({list})", self.column(index)));
        }
        if let (Some(index), false) = (self.time, area.span.is_all()) {
            let (from, to) = self.bounds(index, area.span);
            parts.push(format!("{name}.{} between {from} and {to}", self.column(index)));
        }
        if parts.is_empty() { "true".to_owned() } else { parts.join(" and ") }
    }

    /// The rows that `change` replaces: those of its area, with keys in its range where it has one.
    pub(super) fn replaced(&self, name: &str, change: &RowsChange) -> String {
        let mut condition = self.in_area(name, &change.area);
        if let Some(index) = self.security {
            for suffix in change.lacks_exchanges.suffixes() {
                let theirs = literal(&format!("%.{suffix}"));
                condition.push_str(&format!(" and {name}.{} not like {theirs}", self.column(index)));
            }
        }
        let Write::ReplaceKeys(range) = &change.write else { return condition };
        let key = self.key.iter().map(|index| format!("{name}.{}", self.column(*index))).collect::<Vec<_>>().join(", ");
        for (bound, sign) in [(&range.after, ">"), (&range.upto, "<=")] {
            let Some(bound) = bound else { continue };
            let values = self.key.iter().zip(bound).map(|(index, part)| self.key_literal(*index, part));
            condition.push_str(&format!(" and ({key}) {sign} ({})", values.collect::<Vec<_>>().join(", ")));
        }
        condition
    }

    fn key_literal(&self, index: usize, part: &KeyPart) -> String {
        let text = part.text(&self.dataset.columns[index]);
        match part {
            KeyPart::Text(_) => literal(&text),
            KeyPart::Int(_) | KeyPart::Decimal(_) => text,
            KeyPart::Day(_) => format!("date '{text}'"),
            KeyPart::Seconds(_) => format!("timestamptz '{text}'"),
        }
    }

    /// The first and the last value of a date or datetime column in `span`, as literals.
    pub(super) fn bounds(&self, column: usize, span: Span) -> (String, String) {
        match self.dataset.columns[column].kind {
            ColumnType::Datetime => {
                (format!("timestamptz '{} 00:00:00+08'", span.from), format!("timestamptz '{} 23:59:59+08'", span.to))
            }
            _ => (format!("date '{}'", span.from), format!("date '{}'", span.to)),
        }
    }

    /// A condition that keeps a search by key out of partitions that hold none of the days.
    pub(super) fn near(&self, name: &str, days: impl Iterator<Item = Option<Day>>) -> String {
        let Some(time) = self.time.filter(|time| self.key.contains(time)) else { return "true".to_owned() };
        let span = days.flatten().fold(None, |span: Option<Span>, day| {
            Some(span.map_or(Span::day(day), |span| Span::new(span.from.min(day), span.to.max(day))))
        });
        match span {
            Some(span) => {
                let (from, to) = self.bounds(time, span);
                format!("{name}.{} between {from} and {to}", self.column(time))
            }
            None => "true".to_owned(),
        }
    }

    /// The Beijing day of the time column of the table called `name`.
    pub(super) fn day_of(&self, name: &str, time: usize) -> String {
        let column = format!("{name}.{}", self.column(time));
        match self.dataset.columns[time].kind {
            ColumnType::Datetime => format!("({column} at time zone interval '8 hours')::date"),
            _ => column,
        }
    }

    /// Rows stored in `area`. Areas of the whole market are read from the counts by day.
    pub(super) async fn rows_stored(&self, session: &Session, area: &Area) -> Step<u64> {
        if area.securities == Securities::All || self.security.is_none() {
            return self.rows_counted(session, area.span).await;
        }
        let condition = self.in_area("stored", area);
        session.ask_count(&format!("select count(*) from {} as stored where {condition}", self.quoted_name())).await
    }

    /// Rows of the whole market in `span`, from the counts by day.
    pub(super) async fn rows_counted(&self, session: &Session, span: Span) -> Step<u64> {
        let by_day = self.time.is_some() && !span.is_all();
        let sql =
            "select coalesce(sum(rows), 0)::bigint from _rows_by_day where dataset = $1 and day between $2 and $3";
        let (from, to) = match by_day {
            true => (SqlDay(Some(span.from)), SqlDay(Some(span.to))),
            false => (SqlDay(None), SqlDay(Some(Day::MAX))),
        };
        let row = session.query_one(sql, &[&self.name(), &from, &to]).await?;
        Ok(row.try_get::<_, i64>(0)? as u64)
    }

    /// The partition that holds `day`: its name and the literals of its bounds.
    pub(super) fn partition(&self, stretch: Stretch, day: Day) -> (String, String, String) {
        let span = stretch.around(day);
        let name = format!("{}_{}", self.name(), stretch.suffix(span.from));
        let is_time = self.time.is_some_and(|time| self.dataset.columns[time].kind == ColumnType::Datetime);
        let bound = |day: Day| if is_time { format!("'{day} 00:00:00+08'") } else { format!("'{day}'") };
        let to = if span.to == Day::MAX { "maxvalue".to_owned() } else { bound(span.to.next()) };
        (quoted(&name), bound(span.from), to)
    }
}

/// Months for what has rows every day, years for reports and for bars of weeks and months.
fn stretch(dataset: &Dataset) -> Option<Stretch> {
    match (dataset.shape, dataset.expect.points) {
        (Shape::Whole, _) => None,
        (Shape::Dense | Shape::Sparse, Points::Trading | Points::Calendar) => Some(Stretch::Month),
        (Shape::Dense | Shape::Sparse | Shape::Period, _) => Some(Stretch::Year),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_without_a_gap() {
        let day = |text: &str| Day::parse(text).unwrap();
        for (stretch, at, from, to) in [
            (Stretch::Month, "20240229", "20240201", "20240229"),
            (Stretch::Month, "20231231", "20231201", "20231231"),
            (Stretch::Year, "20240229", "20240101", "20241231"),
            (Stretch::Month, "00010101", "00010101", "00010131"),
            (Stretch::Year, "99991231", "99990101", "99991231"),
        ] {
            assert_eq!(stretch.around(day(at)), Span::new(day(from), day(to)));
        }
    }
}

//! Data tables: what a dataset of the catalogue is called and how it is asked in SQLite.

use std::sync::Arc;

use arrow_array::RecordBatch;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::cells::{Cells, Kind};
use super::fault::Step;
use crate::model::change::Write;
use crate::model::{Area, ColumnType, Dataset, Day, Error, KeyPart, Result, RowsChange, Securities, Span, decimal};

/// A dataset with everything that is derived from it once.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) dataset: Arc<Dataset>,
    pub(super) kinds: Vec<Kind>,
    /// Positions of the key columns, in key order.
    pub(super) key: Vec<usize>,
    pub(super) time: Option<usize>,
    pub(super) security: Option<usize>,
    pub(super) sql: Statements,
}

/// The statements of the hot path. Parameters: the columns in catalogue order, then `_seq`.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) insert: String,
    /// All columns and `_seq` by key; parameters are the key columns.
    pub(super) lookup: String,
    pub(super) update: String,
    /// As `update`, but NULL keeps what is stored.
    pub(super) fill: String,
    /// Copies the row with this key to the revisions; parameters: key columns, ending `_seq`.
    pub(super) supersede: String,
}

/// `"name"`, safe inside SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table that holds what the rows of `dataset` were before.
pub(super) fn revision_name(dataset: &str) -> String {
    format!("{dataset}_revision")
}

/// SQL text with the values of its parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    pub(super) fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        if !self.sql.is_empty() {
            self.sql.push_str(" and ");
        }
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    /// ` where ...`, or nothing.
    pub(super) fn clause(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!(" where {}", self.sql) }
    }
}

impl Table {
    pub(super) fn new(dataset: Arc<Dataset>) -> Result<Table> {
        let name = &dataset.name;
        let reserved = ["_revision", "_with_source"].iter().any(|suffix| name.ends_with(suffix));
        if name.is_empty() || name.starts_with('_') || name.starts_with("sqlite_") || reserved {
            let error = Error::invalid(format!("a table cannot be called {name:?}"));
            return Err(error.hint("names that begin with `_` or end in `_revision` belong to the store"));
        }
        let key = dataset.key_indices();
        if key.is_empty() || key.len() != dataset.key.len() {
            return Err(Error::invalid(format!("the key of dataset {name} is not among its columns")));
        }
        Ok(Table {
            kinds: dataset.columns.iter().map(Kind::of).collect(),
            time: dataset.time_index(),
            security: dataset.security_index(),
            sql: Statements::new(&dataset, &key),
            key,
            dataset,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.dataset.name
    }

    /// Whether equal keys always lie in the same areas.
    pub(super) fn key_names_area(&self, area: &Area) -> bool {
        let in_key = |column: Option<usize>| column.is_none_or(|index| self.key.contains(&index));
        (area.span.is_all() || in_key(self.time)) && (area.securities == Securities::All || in_key(self.security))
    }

    /// The columns of a batch; a batch of another shape is a mistake of the caller.
    pub(super) fn cells<'a>(&self, batch: &'a RecordBatch) -> Result<Vec<Cells<'a>>> {
        let schema = batch.schema_ref();
        let fits = schema.fields().len() == self.dataset.columns.len()
            && schema
                .fields()
                .iter()
                .zip(&self.dataset.columns)
                .all(|(field, column)| field.name() == &column.name && field.data_type() == &column.data_type());
        if !fits {
            return Err(Error::bug(format!("a batch for {} does not have its columns", self.name())));
        }
        let cells = self.kinds.iter().zip(batch.columns()).map(|(kind, array)| Cells::new(*kind, array));
        let cells = cells.collect::<Result<Vec<_>>>()?;
        if self.key.iter().any(|index| cells[*index].null_count() > 0) {
            return Err(Error::bug(format!("a batch for {} has rows without a key", self.name())));
        }
        Ok(cells)
    }

    /// The rows of `area`.
    pub(super) fn in_area(&self, area: &Area) -> Condition {
        let mut condition = Condition::default();
        if let (Some(index), Securities::Some(codes)) = (self.security, &area.securities) {
            let column = quoted(&self.dataset.columns[index].name);
            match area.securities.single() {
                Some(code) => condition.and(&format!("{column} = ?"), [Value::Text(code.to_string())]),
                None => condition.and(
                    &format!("{column} in (select value from json_each(?))"),
                    [Value::Text(serde_json::json!(codes).to_string())],
                ),
            }
        }
        if let (Some(index), false) = (self.time, area.span.is_all()) {
            let column = quoted(&self.dataset.columns[index].name);
            let (from, to) = self.bounds(index, area.span);
            if from == to {
                condition.and(&format!("{column} = ?"), [Value::Text(from)]);
            } else {
                condition.and(&format!("{column} between ? and ?"), [Value::Text(from), Value::Text(to)]);
            }
        }
        condition
    }

    /// The rows that `change` replaces: those of its area, with keys in its range where it has one.
    pub(super) fn replaced(&self, change: &RowsChange) -> Condition {
        let mut condition = self.in_area(&change.area);
        if let Some(index) = self.security {
            let column = quoted(&self.dataset.columns[index].name);
            for suffix in change.lacks_exchanges.suffixes() {
                condition.and(&format!("{column} not like ?"), [Value::Text(format!("%.{suffix}"))]);
            }
        }
        let Write::ReplaceKeys(range) = &change.write else { return condition };
        let key = self.dataset.key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let parameters = vec!["?"; self.key.len()].join(", ");
        for (bound, sign) in [(&range.after, ">"), (&range.upto, "<=")] {
            let Some(bound) = bound else { continue };
            let values = self.key.iter().zip(bound).map(|(index, part)| self.stored_part(*index, part));
            condition.and(&format!("({key}) {sign} ({parameters})"), values.collect::<Vec<_>>());
        }
        condition
    }

    /// A part of a key as its column keeps it.
    fn stored_part(&self, index: usize, part: &KeyPart) -> Value {
        match (part, self.kinds[index]) {
            (KeyPart::Int(value), _) => Value::Integer(*value),
            (KeyPart::Decimal(value), Kind::Real { scale, .. }) => Value::Real(decimal::to_f64(*value, scale)),
            (part, _) => Value::Text(part.text(&self.dataset.columns[index])),
        }
    }

    /// Rows that `change` replaces.
    pub(super) fn rows_replaced(&self, connection: &Connection, change: &RowsChange) -> Step<u64> {
        let condition = self.replaced(change);
        let sql = format!("select count(*) from {}{}", quoted(self.name()), condition.clause());
        let mut statement = connection.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(params_from_iter(&condition.values), |row| row.get(0))?;
        Ok(count as u64)
    }

    /// The first and the last value of a date or datetime column in `span`.
    pub(super) fn bounds(&self, column: usize, span: Span) -> (String, String) {
        match self.dataset.columns[column].kind {
            ColumnType::Datetime => (format!("{}T00:00:00+08:00", span.from), format!("{}T23:59:59+08:00", span.to)),
            _ => (span.from.to_string(), span.to.to_string()),
        }
    }

    /// Rows stored in `area`. Areas of the whole market are read from the counts by day.
    pub(super) fn rows_stored(&self, connection: &Connection, area: &Area) -> Step<u64> {
        if area.securities == Securities::All || self.security.is_none() {
            return self.rows_counted(connection, area.span);
        }
        let condition = self.in_area(area);
        let sql = format!("select count(*) from {}{}", quoted(self.name()), condition.clause());
        let mut statement = connection.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(params_from_iter(&condition.values), |row| row.get(0))?;
        Ok(count as u64)
    }

    /// Rows of the whole market in `span`, from the counts by day.
    pub(super) fn rows_counted(&self, connection: &Connection, span: Span) -> Step<u64> {
        let by_day = self.time.is_some() && !span.is_all();
        let (from, to) = if by_day { (span.from, span.to) } else { (Day::MIN, Day::MAX) };
        let undated = if by_day { "" } else { " or day = ''" };
        let sql = format!(
            "select coalesce(sum(rows), 0) from _rows_by_day where dataset = ?1 and (day between ?2 and ?3{undated})"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let count: i64 = statement.query_row((self.name(), from.to_string(), to.to_string()), |row| row.get(0))?;
        Ok(count as u64)
    }

    /// Whether `area` holds any row.
    pub(super) fn holds_rows(&self, connection: &Connection, area: &Area) -> Step<bool> {
        let condition = self.in_area(area);
        let sql = format!("select exists (select 1 from {}{})", quoted(self.name()), condition.clause());
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row(params_from_iter(&condition.values), |row| row.get(0))?)
    }
}

impl Statements {
    fn new(dataset: &Dataset, key: &[usize]) -> Statements {
        let table = quoted(&dataset.name);
        let revision = quoted(&revision_name(&dataset.name));
        let names: Vec<String> = dataset.columns.iter().map(|column| quoted(&column.name)).collect();
        let columns = names.join(", ");
        let seq = names.len() + 1;
        let parameters = (1..=seq).map(|index| format!("?{index}")).collect::<Vec<_>>().join(", ");
        let by_key = key.iter().enumerate().map(|(at, index)| format!("{} = ?{}", names[*index], at + 1));
        let by_key = by_key.collect::<Vec<_>>().join(" and ");
        let same_key = key.iter().map(|index| format!("{} = ?{}", names[*index], index + 1));
        let same_key = same_key.collect::<Vec<_>>().join(" and ");
        let values = || (0..names.len()).filter(|index| !key.contains(index));
        let set: String = values().map(|index| format!("{} = ?{}, ", names[index], index + 1)).collect();
        let keep: String =
            values().map(|index| format!("{0} = coalesce(?{1}, {0}), ", names[index], index + 1)).collect();
        let ended = key.len() + 1;
        Statements {
            insert: format!("insert into {table} ({columns}, _seq) values ({parameters})"),
            lookup: format!("select {columns}, _seq from {table} where {by_key}"),
            update: format!("update {table} set {set}_seq = ?{seq} where {same_key}"),
            fill: format!("update {table} set {keep}_seq = ?{seq} where {same_key}"),
            supersede: format!(
                "insert into {revision} ({columns}, _seq, _ended_seq, _ended) \
                 select {columns}, _seq, ?{ended}, 'superseded' from {table} where {by_key}"
            ),
        }
    }
}

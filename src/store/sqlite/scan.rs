//! Scans: a query as SQL with quoted names and bound values, its rows as Arrow batches.

use std::sync::Arc;

use arrow_array::builder::{
    Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder, TimestampSecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Schema, SchemaRef};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::cells::{Kind, day_from_text};
use super::fault::Step;
use super::table::{Condition, Table, quoted, revision_name};
use crate::model::{Day, Error, Filter, Instant, Query, Result, Span, decimal};

/// A query that fits its table.
pub(super) struct Plan {
    table: Arc<Table>,
    columns: Vec<usize>,
    schema: SchemaRef,
    sql: String,
    values: Vec<Value>,
    /// Days between which rows of every security are asked for in the order of the key, and the SQL that walks them.
    walk: Option<(Span, String)>,
}

/// More rows than these are not looked up by day and sorted: walking the whole table in its order is quicker.
const SORTED_ROWS_MAX: u64 = 200_000;

impl Plan {
    pub(super) fn new(table: Arc<Table>, query: &Query) -> Result<Plan> {
        let dataset = &table.dataset;
        let columns = match query.columns.is_empty() {
            true => (0..dataset.columns.len()).collect(),
            false => query.columns.iter().map(|name| column(&table, name)).collect::<Result<Vec<_>>>()?,
        };
        let order = order(&table, query)?;
        let select = |walked: Option<&str>| match query.as_of {
            None => select_now(&table, &columns, query, &order, walked),
            Some(as_of) => select_then(&table, &columns, query, as_of, &order, walked),
        };
        let (sql, mut values) = select(None)?;
        let walk = match (days_of_all(&table, query), &dataset.time) {
            (Some(span), Some(time)) => Some((span, select(Some(time))?.0)),
            _ => None,
        };
        if !page(query).is_empty() {
            values.push(Value::Integer(query.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))));
            values.push(Value::Integer(i64::try_from(query.offset).unwrap_or(i64::MAX)));
        }
        let schema = dataset.schema();
        let fields = columns.iter().map(|index| schema.fields()[*index].clone()).collect::<Vec<_>>();
        Ok(Plan { columns, schema: Arc::new(Schema::new(fields)), sql, values, walk, table })
    }

    /// SQLite would take the index by day for any span of days, and then sort everything that it found.
    fn sql(&self, connection: &Connection) -> Step<&str> {
        match &self.walk {
            Some((span, sql)) if self.table.rows_counted(connection, *span)? > SORTED_ROWS_MAX => Ok(sql),
            _ => Ok(&self.sql),
        }
    }

    /// Runs the query and hands on batches of up to `batch_rows` until `send` no longer takes them.
    pub(super) fn run(
        &self,
        connection: &Connection,
        batch_rows: usize,
        mut send: impl FnMut(RecordBatch) -> bool,
    ) -> Step<()> {
        let mut statement = connection.prepare(self.sql(connection)?)?;
        let mut rows = statement.query(params_from_iter(&self.values))?;
        let mut batch = Building::new(self);
        while let Some(row) = rows.next()? {
            batch.append(row)?;
            if batch.rows >= batch_rows && !send(batch.finish()?) {
                return Ok(());
            }
        }
        if batch.rows > 0 {
            send(batch.finish()?);
        }
        Ok(())
    }
}

fn names(table: &Table, columns: &[usize]) -> String {
    let names = columns.iter().map(|index| quoted(&table.dataset.columns[*index].name)).collect::<Vec<_>>();
    if names.is_empty() { "1".to_owned() } else { names.join(", ") }
}

fn filtered(table: &Table, query: &Query, walked: Option<&str>) -> Result<Condition> {
    let mut condition = Condition::default();
    for filter in &query.filters {
        add_filter(table, filter, walked, &mut condition)?;
    }
    Ok(condition)
}

type Sql = (String, Vec<Value>);

fn select_now(table: &Table, columns: &[usize], query: &Query, order: &[Term], walked: Option<&str>) -> Result<Sql> {
    let condition = filtered(table, query, walked)?;
    let (names, from) = (names(table, columns), quoted(table.name()));
    let order = order.iter().map(|term| format!("{}{}", term.compared, term.direction)).collect::<Vec<_>>().join(", ");
    let sql = format!("select {names} from {from}{} order by {order}{}", condition.clause(), page(query));
    Ok((sql, condition.values))
}

/// The number of the last commit up to an instant; nothing when there was none. Commits are numbered in the order in
/// which they became true, so everything up to that number was believed, also when a clock went backwards in between.
const LAST_COMMIT: &str = "(select seq from _commit where at <= ? order by seq desc limit 1)";

/// Rows that are still believed and rows that no longer are, each read in the order of the query and merged: SQLite
/// sorts neither where an index has that order. The columns to order by stand behind those that are asked for.
fn select_then(
    table: &Table,
    columns: &[usize],
    query: &Query,
    as_of: Instant,
    order: &[Term],
    walked: Option<&str>,
) -> Result<Sql> {
    let mut listed = names(table, columns);
    order.iter().for_each(|term| listed.extend([", ", term.compared.as_str()]));
    let first = columns.len().max(1) + 1;
    let order = order.iter().enumerate().map(|(at, term)| format!("{}{}", first + at, term.direction));
    let order = order.collect::<Vec<_>>().join(", ");
    let believed = |condition: &str| -> Result<Condition> {
        let mut filtered = filtered(table, query, walked)?;
        filtered.and(condition, [Value::Text(as_of.to_string())]);
        Ok(filtered)
    };
    let still = believed(&format!("_seq <= {LAST_COMMIT}"))?;
    let before = believed(&format!("{LAST_COMMIT} between _seq and _ended_seq - 1"))?;
    let sql = format!(
        "select {listed} from {}{} union all select {listed} from {}{} order by {order}{}",
        quoted(table.name()),
        still.clause(),
        quoted(&revision_name(table.name())),
        before.clause(),
        page(query)
    );
    Ok((sql, [still.values, before.values].concat()))
}

fn page(query: &Query) -> &'static str {
    if query.limit.is_some() || query.offset > 0 { " limit ? offset ?" } else { "" }
}

/// The span of a query over days that names neither securities nor an order.
fn days_of_all(table: &Table, query: &Query) -> Option<Span> {
    let (time, first) = (table.dataset.time.as_ref()?, table.dataset.key.first()?);
    let names_first = |filter: &Filter| match filter {
        Filter::In { column, .. } | Filter::Between { column, .. } => column == first,
    };
    if time == first || !query.order.is_empty() || query.filters.iter().any(names_first) {
        return None;
    }
    query.filters.iter().find_map(|filter| match filter {
        Filter::Between { column, from, to } if column == time => {
            let day = |text: &Option<String>| text.as_deref().and_then(|text| Day::parse(text).ok());
            Some(Span::new(day(from).unwrap_or(Day::MIN), day(to).unwrap_or(Day::MAX)))
        }
        _ => None,
    })
}

fn column(table: &Table, name: &str) -> Result<usize> {
    let missing = || {
        let names = table.dataset.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        Error::not_found(format!("{} has no column {name:?}", table.name())).hint(format!("its columns are {names}"))
    };
    table.dataset.column_index(name).ok_or_else(missing)
}

/// What the column is ordered and compared by. Decimals kept as text are compared by whole part and fraction.
fn comparable(table: &Table, index: usize) -> Vec<String> {
    let name = quoted(&table.dataset.columns[index].name);
    match table.kinds[index] {
        Kind::Exact { .. } => vec![format!("cast({name} as integer)"), fraction(&name)],
        _ => vec![name],
    }
}

fn fraction(text: &str) -> String {
    format!("cast(iif({text} like '-%', '-0', '0') || substr({text}, instr({text} || '.', '.')) as real)")
}

/// A term of an order: what is compared, and ` desc` or ` nulls last` behind it.
struct Term {
    compared: String,
    direction: String,
}

fn order(table: &Table, query: &Query) -> Result<Vec<Term>> {
    let mut terms = Vec::new();
    let mut ordered = Vec::new();
    let mut add = |index: usize, direction: String| {
        let compared = comparable(table, index).into_iter();
        terms.extend(compared.map(|compared| Term { compared, direction: direction.clone() }));
    };
    for order in &query.order {
        let index = column(table, &order.column)?;
        let nulls = if table.key.contains(&index) { "" } else { " nulls last" };
        let direction = if order.descending { " desc" } else { "" };
        add(index, format!("{direction}{nulls}"));
        ordered.push(index);
    }
    // The key makes every order total, so that pages never overlap.
    for index in table.key.iter().filter(|index| !ordered.contains(index)) {
        add(*index, String::new());
    }
    Ok(terms)
}

/// A column that is `walked` is compared, but not looked up in an index.
fn add_filter(table: &Table, filter: &Filter, walked: Option<&str>, condition: &mut Condition) -> Result<()> {
    match filter {
        Filter::In { column: name, values } => add_in(table, column(table, name)?, values, condition),
        Filter::Between { column: name, from, to } => {
            let index = column(table, name)?;
            let no_index = if walked == Some(name) { "+" } else { "" };
            let compared = format!("{no_index}{}", quoted(name));
            add_between(table, index, &compared, [from.as_deref(), to.as_deref()], condition)
        }
    }
}

/// The most values that are compared one by one; SQLite takes 32,766 parameters.
const VALUES_MAX: usize = 30_000;

fn add_in(table: &Table, index: usize, values: &[String], condition: &mut Condition) -> Result<()> {
    let name = quoted(&table.dataset.columns[index].name);
    let bound = values.iter().map(|value| stored_value(table, index, value, Edge::First));
    let bound = bound.collect::<Result<Vec<_>>>()?;
    if let [value] = &bound[..] {
        condition.and(&format!("{name} = ?"), [value.clone()]);
    } else if bound.iter().all(|value| matches!(value, Value::Text(_))) {
        let texts = bound.iter().filter_map(|value| if let Value::Text(text) = value { Some(text) } else { None });
        let json = serde_json::json!(texts.collect::<Vec<_>>()).to_string();
        condition.and(&format!("{name} in (select value from json_each(?))"), [Value::Text(json)]);
    } else if bound.len() <= VALUES_MAX {
        condition.and(&format!("{name} in ({})", vec!["?"; bound.len()].join(", ")), bound);
    } else {
        let error = Error::invalid(format!("more than {VALUES_MAX} values for column {name}"));
        return Err(error.hint("ask in several parts"));
    }
    Ok(())
}

fn add_between(
    table: &Table,
    index: usize,
    name: &str,
    bounds: [Option<&str>; 2],
    condition: &mut Condition,
) -> Result<()> {
    let first = bounds[0].map(|text| stored_value(table, index, text, Edge::First)).transpose()?;
    let last = bounds[1].map(|text| stored_value(table, index, text, Edge::Last)).transpose()?;
    if let Kind::Exact { .. } = table.kinds[index] {
        let [whole, part] = [format!("cast({name} as integer)"), fraction(name)];
        let bound = format!("(cast(?1 as integer), {})", fraction("?1"));
        for (value, sign) in [(first, ">="), (last, "<=")] {
            let Some(value) = value else { continue };
            // The bound is named once in a row value, so that it is one parameter.
            let bound = bound.replace("?1", "bound");
            let sql = format!("(select ({whole}, {part}) {sign} {bound} from (select ? as bound))");
            condition.and(&sql, [value]);
        }
        return Ok(());
    }
    match (first, last) {
        (Some(first), Some(last)) if first == last => condition.and(&format!("{name} = ?"), [first]),
        (Some(first), Some(last)) => condition.and(&format!("{name} between ? and ?"), [first, last]),
        (Some(first), None) => condition.and(&format!("{name} >= ?"), [first]),
        (None, Some(last)) => condition.and(&format!("{name} <= ?"), [last]),
        (None, None) => {}
    }
    Ok(())
}

/// Which end of a day a date means in a column of instants.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    First,
    Last,
}

/// Canonical text as the column keeps it.
fn stored_value(table: &Table, index: usize, text: &str, edge: Edge) -> Result<Value> {
    let column = &table.dataset.columns[index];
    let refused = |what: &str| {
        Error::invalid(format!("a value for column {} is not {what}", column.name)).hint("see `tidegate datasets`")
    };
    Ok(match table.kinds[index] {
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Date => Value::Text(Day::parse(text)?.to_string()),
        Kind::Datetime => match (Day::parse(text), Instant::parse(text)) {
            (Ok(day), _) => {
                let (first, last) = table.bounds(index, Span::day(day));
                Value::Text(if edge == Edge::First { first } else { last })
            }
            (_, Some(instant)) => Value::Text(Instant(instant.0 - instant.0.rem_euclid(1_000_000)).to_string()),
            _ => return Err(refused("an instant")),
        },
        Kind::Integer => Value::Integer(text.parse().map_err(|_| refused("a whole number"))?),
        Kind::Real { scale, .. } => {
            let value = decimal::parse(text, scale, 0).ok_or_else(|| refused("a number"))?;
            Value::Real(decimal::to_f64(value, scale))
        }
        Kind::Exact { scale } => {
            let value = decimal::parse(text, scale, 0).ok_or_else(|| refused("a number"))?;
            Value::Text(decimal::to_text(value, scale))
        }
        Kind::Float => Value::Real(text.parse().map_err(|_| refused("a number"))?),
    })
}

/// A batch under construction.
struct Building<'a> {
    plan: &'a Plan,
    columns: Vec<Builder>,
    rows: usize,
}

/// A column under construction.
pub(super) enum Builder {
    Text(StringBuilder),
    Date(Date32Builder),
    Datetime(TimestampSecondBuilder),
    Integer(Int64Builder),
    Real(Decimal128Builder, f64),
    Exact(Decimal128Builder, i8),
    Float(Float64Builder),
}

impl<'a> Building<'a> {
    fn new(plan: &'a Plan) -> Building<'a> {
        let columns = plan
            .columns
            .iter()
            .enumerate()
            .map(|(at, index)| Builder::new(plan.table.kinds[*index], plan.schema.field(at).data_type()));
        Building { columns: columns.collect(), rows: 0, plan }
    }

    fn append(&mut self, row: &Row) -> Step<()> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.append(row.get_ref(index)?).is_none() {
                let name = self.plan.schema.field(index).name();
                let error =
                    Error::storage(format!("column {name} of {} holds a foreign value", self.plan.table.name()));
                return Err(error.hint("another program wrote it; sync the dataset again with --force").into());
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(&mut self) -> Step<RecordBatch> {
        let arrays = self.columns.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        let batch = RecordBatch::try_new_with_options(self.plan.schema.clone(), arrays, &options);
        Ok(batch.map_err(|error| {
            let name = self.plan.table.name();
            Error::storage(format!("rows of {name} do not fit the catalogue")).caused_by(error).hint(
                "another program wrote them, or a column is no longer nullable; sync the dataset again with --force",
            )
        })?)
    }
}

impl Builder {
    pub(super) fn new(kind: Kind, data_type: &DataType) -> Builder {
        let data_type = data_type.clone();
        match kind {
            Kind::Text => Builder::Text(StringBuilder::new()),
            Kind::Date => Builder::Date(Date32Builder::new()),
            Kind::Datetime => Builder::Datetime(TimestampSecondBuilder::new().with_data_type(data_type)),
            Kind::Integer => Builder::Integer(Int64Builder::new()),
            Kind::Real { power, .. } => Builder::Real(Decimal128Builder::new().with_data_type(data_type), power),
            Kind::Exact { scale } => Builder::Exact(Decimal128Builder::new().with_data_type(data_type), scale),
            Kind::Float => Builder::Float(Float64Builder::new()),
        }
    }

    /// `None` when the value is not of the column's type.
    #[inline]
    pub(super) fn append(&mut self, value: ValueRef) -> Option<()> {
        match (self, value) {
            (Builder::Text(builder), ValueRef::Null) => builder.append_null(),
            (Builder::Date(builder), ValueRef::Null) => builder.append_null(),
            (Builder::Datetime(builder), ValueRef::Null) => builder.append_null(),
            (Builder::Integer(builder), ValueRef::Null) => builder.append_null(),
            (Builder::Real(builder, _) | Builder::Exact(builder, _), ValueRef::Null) => builder.append_null(),
            (Builder::Float(builder), ValueRef::Null) => builder.append_null(),
            (Builder::Real(builder, power), ValueRef::Real(value)) => builder.append_value(scaled(value * *power)),
            (Builder::Float(builder), ValueRef::Real(value)) => builder.append_value(value),
            (Builder::Integer(builder), ValueRef::Integer(value)) => builder.append_value(value),
            (Builder::Text(builder), ValueRef::Text(text)) => builder.append_value(std::str::from_utf8(text).ok()?),
            (Builder::Date(builder), ValueRef::Text(text)) => builder.append_value(day_from_text(text)?.0),
            (Builder::Datetime(builder), ValueRef::Text(text)) => {
                builder.append_value(Instant::parse(std::str::from_utf8(text).ok()?)?.0.div_euclid(1_000_000));
            }
            (Builder::Exact(builder, scale), ValueRef::Text(text)) => {
                builder.append_value(decimal::parse(std::str::from_utf8(text).ok()?, *scale, 0)?);
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Datetime(builder) => Arc::new(builder.finish()),
            Builder::Integer(builder) => Arc::new(builder.finish()),
            Builder::Real(builder, _) | Builder::Exact(builder, _) => Arc::new(builder.finish()),
            Builder::Float(builder) => Arc::new(builder.finish()),
        }
    }
}

/// The decimal that a double times its power stands for, as `decimal::from_f64` gives it.
#[inline]
fn scaled(product: f64) -> i128 {
    const EXACT: f64 = (1i64 << 53) as f64;
    if product.abs() <= EXACT { i128::from(product.round() as i64) } else { product.round() as i128 }
}

#[cfg(test)]
mod tests {
    use super::super::{migrate::migrate, prepare::prepare};
    use super::*;
    use crate::model::{Area, Dataset};

    fn quotes() -> Arc<Dataset> {
        let text = r#"
            name = "quotes"
            title = ""
            title_zh = ""
            about = ""
            key = ["ts_code", "trade_date"]
            security = "ts_code"
            time = "trade_date"
            shape = "dense"
            publish = { at = "16:00", settle_days = 1, refresh_hours = 4 }
            policy = { mode = "incremental", schedule = "0 16 * * *", batch = 5000, retries = 3, conflict = "replace" }
            columns = [
                { name = "ts_code", type = "text", unit = "", meaning = "", meaning_zh = "" },
                { name = "trade_date", type = "date", unit = "", meaning = "", meaning_zh = "" },
                { name = "close", type = "decimal", scale = 2, unit = "", meaning = "", meaning_zh = "" },
            ]
        "#;
        Arc::new(toml::from_str(text).unwrap())
    }

    /// How SQLite answers the query when the days hold so many rows.
    fn explained(query: &Query, rows: u64) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Instant(0)).unwrap();
        prepare(&mut connection, &[Table::new(quotes()).unwrap()]).unwrap();
        let count = "insert into _rows_by_day values ('quotes', '2024-01-02', ?1)";
        connection.execute(count, [rows as i64]).unwrap();
        let plan = Plan::new(Arc::new(Table::new(quotes()).unwrap()), query).unwrap();
        let sql = format!("explain query plan {}", plan.sql(&connection).unwrap());
        let mut statement = connection.prepare(&sql).unwrap();
        let lines = statement.query_map(params_from_iter(&plan.values), |row| row.get::<_, String>(3)).unwrap();
        lines.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
    }

    #[test]
    fn what_was_believed_is_merged_in_the_order_of_the_key_without_sorting() {
        let as_of = Query { as_of: Some(Instant(0)), limit: Some(9), ..Query::all("quotes") };
        let days = Filter::Between {
            column: "trade_date".to_owned(),
            from: Some("2024-01-02".to_owned()),
            to: Some("2024-03-01".to_owned()),
        };
        for query in [as_of.clone(), Query { filters: vec![days], ..as_of }] {
            let plan = explained(&query, SORTED_ROWS_MAX + 1);
            assert!(plan.starts_with("MERGE (UNION ALL); LEFT; SCAN quotes; "), "{plan}");
            assert!(plan.contains("RIGHT; SCAN quotes_revision USING INDEX quotes_revision_by_key"), "{plan}");
            assert!(!plan.contains("B-TREE"), "{plan}");
        }
    }

    #[test]
    fn few_days_are_looked_up_and_many_rows_are_walked() {
        let area = |securities, to: &str| {
            let span = Span::new(Day::parse("20240102").unwrap(), Day::parse(to).unwrap());
            Query::area(&quotes(), &Area::new(securities, span))
        };
        use crate::model::Securities;
        let by_day = "SEARCH quotes USING INDEX quotes_by_trade_date";
        for (query, rows, expected) in [
            (area(Securities::All, "20240102"), 5_000, format!("{by_day} (trade_date=?)")),
            (
                area(Securities::All, "20240301"),
                SORTED_ROWS_MAX,
                format!("{by_day} (trade_date>? AND trade_date<?); USE TEMP B-TREE FOR ORDER BY"),
            ),
            (area(Securities::All, "20240301"), SORTED_ROWS_MAX + 1, "SCAN quotes".to_owned()),
            (
                area(Securities::one("000001.SZ"), "20240301"),
                SORTED_ROWS_MAX + 1,
                "SEARCH quotes USING PRIMARY KEY (ts_code=? AND trade_date>? AND trade_date<?)".to_owned(),
            ),
            (Query::all("quotes"), SORTED_ROWS_MAX + 1, "SCAN quotes".to_owned()),
        ] {
            assert_eq!(explained(&query, rows), expected, "{query:?}");
        }
    }
}

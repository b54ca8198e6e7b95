//! Scans: a query as SQL with quoted names and values, its rows as Arrow batches. One statement sees one moment.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use futures::StreamExt;
use tokio::sync::mpsc::Sender;

use super::connection::Session;
use super::decode::{Building, Rows};
use super::fault::Step;
use super::table::{Kind, Table};
use super::values::literal;
use crate::model::{Day, Error, Filter, Instant, Query, Result, Span, decimal};

/// A query that fits its table.
pub(super) struct Plan {
    table: Arc<Table>,
    columns: Vec<usize>,
    schema: SchemaRef,
    sql: String,
}

impl Plan {
    pub(super) fn new(table: Arc<Table>, query: &Query) -> Result<Plan> {
        let dataset = &table.dataset;
        let columns = match query.columns.is_empty() {
            true => (0..dataset.columns.len()).collect(),
            false => query.columns.iter().map(|name| column(&table, name)).collect::<Result<Vec<_>>>()?,
        };
        let order = order(&table, query)?;
        let condition = condition(&table, query)?;
        let names = columns.iter().map(|index: &usize| table.column(*index)).collect::<Vec<_>>();
        let names = if names.is_empty() { "1".to_owned() } else { names.join(", ") };
        let from = match query.as_of {
            None => format!("{} as stored where {condition}", table.quoted_name()),
            Some(as_of) => then(&table, &condition, as_of),
        };
        let sql = format!("select {names} from {from} order by {order}{}", page(query));
        let schema = dataset.schema();
        let fields = columns.iter().map(|index| schema.fields()[*index].clone()).collect::<Vec<_>>();
        Ok(Plan { columns, schema: Arc::new(Schema::new(fields)), sql, table })
    }

    /// Runs the query and hands on batches of up to `batch_rows` until `sender` no longer takes them. `false`: rows
    /// are left on the connection.
    pub(super) async fn run(
        &self,
        session: &Session,
        batch_rows: usize,
        sender: &Sender<Result<RecordBatch>>,
    ) -> Step<bool> {
        let question = format!("copy ({}) to stdout (format binary)", self.sql);
        let stream = session.client()?.copy_out(&question).await?;
        let mut stream = std::pin::pin!(stream);
        let (mut rows, mut batch) = (Rows::default(), Building::new(&self.table, &self.columns, self.schema.clone()));
        while let Some(chunk) = stream.next().await {
            rows.feed(&chunk?, |row| batch.append(row))?;
            if batch.rows >= batch_rows && sender.send(Ok(batch.finish()?)).await.is_err() {
                return Ok(false);
            }
        }
        if batch.rows > 0 {
            // Nobody is left to be told when the receiver is gone.
            let _ = sender.send(Ok(batch.finish()?)).await;
        }
        Ok(true)
    }
}

/// Rows that are still believed and rows that no longer are. The number of the last commit of the table up to the
/// instant decides: commits of a table are numbered in the order in which they became true, so that everything up to
/// that number was believed, also when a clock went backwards in between.
fn then(table: &Table, condition: &str, as_of: Instant) -> String {
    let last = format!(
        "(select seq from _commit where dataset = {} and at <= timestamptz '{as_of}' order by seq desc limit 1)",
        literal(table.name())
    );
    format!(
        "(select {columns} from {name} as stored where {condition} and _seq <= {last} union all \
         select {columns} from {revision} as stored where {condition} and {last} between _seq and _ended_seq - 1) as stored",
        columns = table.columns,
        name = table.quoted_name(),
        revision = table.quoted_revision(),
    )
}

fn page(query: &Query) -> String {
    let limit =
        query.limit.map_or(String::new(), |limit| format!(" limit {}", i64::try_from(limit).unwrap_or(i64::MAX)));
    let offset = match query.offset {
        0 => String::new(),
        offset => format!(" offset {}", i64::try_from(offset).unwrap_or(i64::MAX)),
    };
    limit + &offset
}

fn column(table: &Table, name: &str) -> Result<usize> {
    let missing = || {
        let names = table.dataset.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        Error::not_found(format!("{} has no column {name:?}", table.name())).hint(format!("its columns are {names}"))
    };
    table.dataset.column_index(name).ok_or_else(missing)
}

fn order(table: &Table, query: &Query) -> Result<String> {
    let mut terms = Vec::new();
    let mut ordered = Vec::new();
    for order in &query.order {
        let index = column(table, &order.column)?;
        let direction = if order.descending { " desc" } else { "" };
        let nulls = if table.key.contains(&index) { "" } else { " nulls last" };
        terms.push(format!("stored.{}{direction}{nulls}", table.column(index)));
        ordered.push(index);
    }
    // The key makes every order total, so that pages never overlap.
    let rest = table.key.iter().filter(|index| !ordered.contains(index));
    terms.extend(rest.map(|index| format!("stored.{}", table.column(*index))));
    Ok(terms.join(", "))
}

fn condition(table: &Table, query: &Query) -> Result<String> {
    let parts = query.filters.iter().map(|filter| match filter {
        Filter::In { column: name, values } => one_of(table, column(table, name)?, values),
        Filter::Between { column: name, from, to } => {
            between(table, column(table, name)?, [from.as_deref(), to.as_deref()])
        }
    });
    let parts = parts.collect::<Result<Vec<String>>>()?;
    Ok(if parts.is_empty() { "true".to_owned() } else { parts.join(" and ") })
}

fn one_of(table: &Table, index: usize, values: &[String]) -> Result<String> {
    let bound = values.iter().map(|value| stored_value(table, index, value, Edge::First));
    let bound = bound.collect::<Result<Vec<_>>>()?;
    Ok(match &bound[..] {
        [] => "false".to_owned(),
        values => format!("stored.{} in ({})", table.column(index), values.join(", ")),
    })
}

fn between(table: &Table, index: usize, bounds: [Option<&str>; 2]) -> Result<String> {
    let first = bounds[0].map(|text| stored_value(table, index, text, Edge::First)).transpose()?;
    let last = bounds[1].map(|text| stored_value(table, index, text, Edge::Last)).transpose()?;
    let name = format!("stored.{}", table.column(index));
    Ok(match (first, last) {
        (Some(first), Some(last)) => format!("{name} between {first} and {last}"),
        (Some(first), None) => format!("{name} >= {first}"),
        (None, Some(last)) => format!("{name} <= {last}"),
        (None, None) => "true".to_owned(),
    })
}

/// Which end of a day a date means in a column of instants.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    First,
    Last,
}

/// Canonical text as a literal of the column's type.
fn stored_value(table: &Table, index: usize, text: &str, edge: Edge) -> Result<String> {
    let column = &table.dataset.columns[index];
    let refused = |what: &str| {
        Error::invalid(format!("a value for column {} is not {what}", column.name)).hint("see `tidegate datasets`")
    };
    Ok(match table.kinds[index] {
        // No stored text holds a zero byte.
        Kind::Text if text.contains('\0') => "null".to_owned(),
        Kind::Text => literal(text),
        Kind::Date => format!("date '{}'", Day::parse(text)?),
        Kind::Datetime => match (Day::parse(text), Instant::parse(text)) {
            (Ok(day), _) => {
                let (first, last) = table.bounds(index, Span::day(day));
                if edge == Edge::First { first } else { last }
            }
            (_, Some(instant)) => {
                format!("timestamptz '{}'", Instant(instant.0 - instant.0.rem_euclid(1_000_000)))
            }
            _ => return Err(refused("an instant")),
        },
        Kind::Integer => text.parse::<i64>().map_err(|_| refused("a whole number"))?.to_string(),
        Kind::Decimal { scale, .. } => {
            let value = decimal::parse(text, scale, 0).ok_or_else(|| refused("a number"))?;
            format!("'{}'::numeric", decimal::to_text(value, scale))
        }
        Kind::Float => {
            let value: f64 = text.parse().map_err(|_| refused("a number"))?;
            format!("'{value}'::double precision")
        }
    })
}

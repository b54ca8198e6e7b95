//! Filters, order and columns of a query over rows in memory, as a store answers them.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};

use crate::model::{Column, ColumnType, Dataset, Day, Error, Filter, Instant, Order, Query, Result, decimal};

/// The columns that a query names, at their positions; an unknown one is `NotFound`.
pub fn position(dataset: &Dataset, name: &str) -> Result<usize> {
    dataset.column_index(name).ok_or_else(|| {
        Error::not_found(format!("{} has no column {name:?}", dataset.name)).hint("see `tidegate datasets`")
    })
}

/// The positions that have to be computed: what is asked for, filtered and sorted by, in catalogue order; all of them
/// where a hash of the whole row is part of the key.
pub fn needed(dataset: &Dataset, query: &Query) -> Result<Vec<usize>> {
    let hashed = dataset.columns.iter().any(|column| column.derived.is_some());
    if query.columns.is_empty() || hashed {
        return Ok((0..dataset.columns.len()).collect());
    }
    let mut names: Vec<&str> = query.columns.iter().map(String::as_str).collect();
    names.extend(query.filters.iter().map(column_of));
    names.extend(query.order.iter().map(|order| order.column.as_str()));
    names.extend(dataset.key.iter().map(String::as_str));
    names.extend(dataset.time.as_deref());
    let positions: BTreeSet<usize> = names.into_iter().map(|name| position(dataset, name)).collect::<Result<_>>()?;
    Ok(positions.into_iter().collect())
}

/// The column that a filter looks at.
pub fn column_of(filter: &Filter) -> &str {
    match filter {
        Filter::In { column, .. } | Filter::Between { column, .. } => column,
    }
}

/// A value of a filter in the terms of its column.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Whole(i128),
    Float(f64),
}

fn value(column: &Column, text: &str) -> Result<Value> {
    let wrong = || Error::invalid(format!("{:?} is compared with something that is no {:?}", column.name, column.kind));
    Ok(match column.kind {
        ColumnType::Text => Value::Text(text.to_owned()),
        ColumnType::Date => Value::Whole(i128::from(Day::parse(text)?.0)),
        ColumnType::Datetime => Value::Whole(i128::from(Instant::parse(text).ok_or_else(wrong)?.0 / 1_000_000)),
        ColumnType::Int => Value::Whole(text.parse().map_err(|_| wrong())?),
        ColumnType::Decimal => Value::Whole(decimal::parse(text, column.scale, 0).ok_or_else(wrong)?),
        ColumnType::Float => Value::Float(text.parse().map_err(|_| wrong())?),
    })
}

/// Reads cells of one column as numbers.
fn whole_reader(array: &ArrayRef, kind: ColumnType) -> Box<dyn Fn(usize) -> i128 + '_> {
    match kind {
        ColumnType::Date => {
            let cells = array.as_primitive::<Date32Type>();
            Box::new(|row| i128::from(cells.value(row)))
        }
        ColumnType::Datetime => {
            let cells = array.as_primitive::<TimestampSecondType>();
            Box::new(|row| i128::from(cells.value(row)))
        }
        ColumnType::Decimal => {
            let cells = array.as_primitive::<Decimal128Type>();
            Box::new(|row| cells.value(row))
        }
        _ => {
            let cells = array.as_primitive::<Int64Type>();
            Box::new(|row| i128::from(cells.value(row)))
        }
    }
}

/// The rows for which every filter holds. Null is never in and never between.
pub fn filtered(dataset: &Dataset, batch: RecordBatch, filters: &[Filter]) -> Result<RecordBatch> {
    let mut kept = batch;
    for filter in filters {
        let column = &dataset.columns[position(dataset, column_of(filter))?];
        let Some(array) = kept.column_by_name(&column.name) else { continue };
        let mask = mask(column, array, filter)?;
        if mask.true_count() < kept.num_rows() {
            kept = arrow_select::filter::filter_record_batch(&kept, &mask)
                .map_err(|error| Error::bug("cannot filter a batch").caused_by(error))?;
        }
    }
    Ok(kept)
}

fn mask(column: &Column, array: &ArrayRef, filter: &Filter) -> Result<BooleanArray> {
    let holds: Box<dyn Fn(usize) -> bool + '_> = match (column.kind, filter) {
        (ColumnType::Text, Filter::In { values, .. }) => {
            let (cells, values) = (array.as_string::<i32>(), values.iter().map(String::as_str).collect::<HashSet<_>>());
            Box::new(move |row| values.contains(cells.value(row)))
        }
        (ColumnType::Text, Filter::Between { from, to, .. }) => {
            let cells = array.as_string::<i32>();
            Box::new(move |row| {
                let cell = cells.value(row);
                from.as_deref().is_none_or(|from| from <= cell) && to.as_deref().is_none_or(|to| cell <= to)
            })
        }
        (ColumnType::Float, _) => float_test(column, array, filter)?,
        (kind, Filter::In { values, .. }) => {
            let values = values.iter().map(|text| whole(column, text)).collect::<Result<HashSet<_>>>()?;
            let read = whole_reader(array, kind);
            Box::new(move |row| values.contains(&read(row)))
        }
        (kind, Filter::Between { from, to, .. }) => {
            let low = from.as_deref().map_or(Ok(i128::MIN), |text| whole(column, text))?;
            let high = to.as_deref().map_or(Ok(i128::MAX), |text| whole(column, text))?;
            let read = whole_reader(array, kind);
            Box::new(move |row| (low..=high).contains(&read(row)))
        }
    };
    Ok((0..array.len()).map(|row| Some(!array.is_null(row) && holds(row))).collect())
}

fn whole(column: &Column, text: &str) -> Result<i128> {
    match value(column, text)? {
        Value::Whole(number) => Ok(number),
        _ => Err(Error::bug(format!("{:?} does not hold whole numbers", column.name))),
    }
}

fn float_test<'a>(column: &Column, array: &'a ArrayRef, filter: &Filter) -> Result<Box<dyn Fn(usize) -> bool + 'a>> {
    let read = |text: &String| match value(column, text)? {
        Value::Float(number) => Ok(number),
        _ => Err(Error::bug(format!("{:?} does not hold floats", column.name))),
    };
    let cells = array.as_primitive::<Float64Type>();
    Ok(match filter {
        Filter::In { values, .. } => {
            let values = values.iter().map(read).collect::<Result<Vec<f64>>>()?;
            Box::new(move |row| values.contains(&cells.value(row)))
        }
        Filter::Between { from, to, .. } => {
            let low = from.as_ref().map_or(Ok(f64::NEG_INFINITY), read)?;
            let high = to.as_ref().map_or(Ok(f64::INFINITY), read)?;
            Box::new(move |row| (low..=high).contains(&cells.value(row)))
        }
    })
}

/// How two rows of a column compare.
pub type Compare<'a> = Box<dyn Fn(usize, usize) -> Ordering + 'a>;

/// The batch in the given order, nulls last; rows that compare equal keep their order.
pub fn ordered(dataset: &Dataset, batch: RecordBatch, order: &[Order]) -> Result<RecordBatch> {
    let mut compares: Vec<Compare<'_>> = Vec::new();
    for part in order {
        let kind = dataset.columns[position(dataset, &part.column)?].kind;
        let Some(array) = batch.column_by_name(&part.column) else { continue };
        compares.push(comparison(array, kind, part.descending));
    }
    let compare = |a: usize, b: usize| {
        compares.iter().map(|compare| compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let rows = batch.num_rows();
    if (1..rows).all(|row| compare(row - 1, row).is_le()) {
        drop(compares);
        return Ok(batch);
    }
    let mut positions: Vec<u32> = (0..rows as u32).collect();
    positions.sort_by(|a, b| compare(*a as usize, *b as usize));
    arrow_select::take::take_record_batch(&batch, &UInt32Array::from(positions))
        .map_err(|error| Error::bug("cannot sort a batch").caused_by(error))
}

/// Rows of one column compared, nulls last.
pub fn comparison(array: &ArrayRef, kind: ColumnType, descending: bool) -> Compare<'_> {
    let values: Compare<'_> = match kind {
        ColumnType::Text => {
            let cells = array.as_string::<i32>();
            Box::new(|a, b| cells.value(a).cmp(cells.value(b)))
        }
        ColumnType::Float => {
            let cells = array.as_primitive::<Float64Type>();
            Box::new(|a, b| cells.value(a).total_cmp(&cells.value(b)))
        }
        kind => {
            let read = whole_reader(array, kind);
            Box::new(move |a, b| read(a).cmp(&read(b)))
        }
    };
    Box::new(move |a, b| match (array.is_null(a), array.is_null(b)) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if descending => values(b, a),
        (false, false) => values(a, b),
    })
}

/// The columns that the query asks for, as it names them.
pub fn projected(batch: &RecordBatch, columns: &[String]) -> Result<RecordBatch> {
    if columns.is_empty() {
        return Ok(batch.clone());
    }
    let positions: Option<Vec<usize>> =
        columns.iter().map(|name| batch.schema().column_with_name(name).map(|(position, _)| position)).collect();
    positions
        .and_then(|positions| batch.project(&positions).ok())
        .ok_or_else(|| Error::bug("a wanted column was not computed"))
}

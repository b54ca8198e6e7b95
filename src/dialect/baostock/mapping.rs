//! From an area of a dataset to the arguments of a query, and from the rows of its answer to a batch in the dataset's
//! schema. The catalogue's `[[baostock]]` entries say which query, which fields and which units.

use std::collections::BTreeMap;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter_record_batch;
use serde_json::Value;

use super::answer::Table;
use super::cells::{Target, Trouble, canonical_code, wire_code};
use super::message::{self, Form, Layout, Message};
use crate::dialect::row_hash::fill_row_hash;
use crate::model::dataset::{Cut, Served, Service, unit_shift};
use crate::model::{Area, ColumnType, Dataset, Day, Error, Quarantined, Result};

/// One way to ask for a dataset.
#[derive(Clone, Copy, Debug)]
pub struct Way<'d> {
    pub service: &'d Service,
    pub message: &'static Message,
    pub cut: &'d Cut,
}

/// Every way to ask for a dataset. Whole-day queries come last, because not every server has them: the numbers of the
/// others do not depend on them.
pub fn ways(dataset: &Dataset) -> Vec<Way<'_>> {
    let known = |service: &Service| message::by_api(&service.api).map(|message| (message.layout, message));
    let mut ways: Vec<Way> = Vec::new();
    for late in [false, true] {
        for service in &dataset.baostock {
            let Some((layout, message)) = known(service) else { continue };
            if (layout == Layout::WholeDay) == late {
                ways.extend(service.cuts.iter().map(|cut| Way { service, message, cut }));
            }
        }
    }
    ways
}

/// How many calls a slice makes at least: one for each combination of facet values.
pub fn facet_count(service: &Service) -> u32 {
    service.facets.values().map(|values| values.len().max(1) as u32).fold(1, u32::saturating_mul)
}

/// The facet values of combination `index`: parameters in name order, the last one varies fastest.
fn facet_values(service: &Service, index: u32) -> Result<Vec<(&String, &String)>> {
    let mut rest = index as usize;
    let mut chosen = Vec::with_capacity(service.facets.len());
    for (parameter, values) in service.facets.iter().rev().filter(|(_, values)| !values.is_empty()) {
        chosen.extend(values.get(rest % values.len()).map(|value| (parameter, value)));
        rest /= values.len();
    }
    if rest > 0 {
        return Err(Error::bug(format!("{} has no combination {index} of facet values", service.api)));
    }
    Ok(chosen)
}

/// The fields of one column: a field, or `left - right`.
pub fn fields_of(served: &Served) -> impl Iterator<Item = &str> {
    served.field.split(" - ").map(str::trim)
}

/// What a question says, by parameter. Values of `always` and `facets` that the query has no parameter for are not sent;
/// they stand in for fields that the answer lacks.
pub type Given = BTreeMap<String, String>;

/// The arguments that ask for `area` in this way. `today` is the end of spans that have none.
pub fn arguments(dataset: &Dataset, way: Way, area: &Area, facet: u32, today: Day) -> Result<(Vec<String>, Given)> {
    let Way { service, message, cut } = way;
    let mut given: Given = service.always.clone();
    given.extend(facet_values(service, facet)?.into_iter().map(|(name, value)| (name.clone(), value.clone())));
    let impossible = || Error::bug(format!("{} cannot be asked for {area} by {}", service.api, cut.name()));
    let code =
        area.securities.single().map(|code| wire_code(code).ok_or_else(|| no_such_exchange(code))).transpose()?;
    let from = if area.span.from > Day::MIN { area.span.from } else { dataset.first_day() };
    let to = if area.span.to < Day::MAX { area.span.to } else { today.max(from) };
    match cut {
        Cut::Day { day: name } | Cut::Period { period: name } => {
            if area.span.from != area.span.to {
                return Err(impossible());
            }
            given.insert(name.clone(), from.to_string());
            if let Some(code) = code {
                given.insert("code".to_string(), code);
            }
        }
        Cut::Security { security, from: first, to: last } => {
            given.insert(security.clone(), code.ok_or_else(impossible)?);
            for (name, day) in [(first, from), (last, to)] {
                if let Some(name) = name {
                    given.insert(name.clone(), bound(name, day, from, to).ok_or_else(impossible)?);
                }
            }
        }
        Cut::Range { from: first, to: last } => {
            given.insert(first.clone(), from.to_string());
            given.insert(last.clone(), to.to_string());
        }
        Cut::Whole => {}
    }
    if message.layout == Layout::Bars {
        given.insert("fields".to_string(), bar_fields(service));
    }
    let argument = |name: &&str| match (given.get(*name), *name) {
        (Some(value), _) => value.clone(),
        (None, "start_date") => from.to_string(),
        (None, "end_date") => to.to_string(),
        (None, _) => String::new(),
    };
    Ok((message.params.iter().map(argument).collect(), given))
}

/// The value of a bound: a date, or the year or the number of the one quarter that the span lies in.
fn bound(name: &str, day: Day, from: Day, to: Day) -> Option<String> {
    let one_quarter = from.quarter_end() == to.quarter_end();
    match name {
        "year" => one_quarter.then(|| from.year().to_string()),
        "quarter" => one_quarter.then(|| ((from.month() + 2) / 3).to_string()),
        _ => Some(day.to_string()),
    }
}

fn no_such_exchange(code: &str) -> Error {
    Error::not_found(format!("baostock has no security {code}"))
        .hint("BaoStock knows the exchanges of Shanghai and Shenzhen only; use another source")
}

/// The fields that bars are asked for: what the columns come from, what rows are told apart by, and their identity.
fn bar_fields(service: &Service) -> String {
    let wanted = |name: &str| {
        matches!(name, "date" | "code")
            || service.only.contains_key(name)
            || service.columns.values().any(|served| fields_of(served).any(|field| field == name))
    };
    let names: Vec<&str> = message::BAR_FIELDS.iter().map(|field| field.name).filter(|name| wanted(name)).collect();
    names.join(",")
}

/// Where a column's cells come from.
enum Origin {
    Field { column: usize, is_code: bool },
    Difference { left: usize, right: usize },
    Given(String),
    Nowhere,
}

/// One column of the dataset: where it comes from and where it goes.
struct Line<'d> {
    origin: Origin,
    /// The wire's words and the column's for them; empty when they are the same.
    values: Option<&'d BTreeMap<String, String>>,
    target: Target<'d>,
}

/// The rows of an answer that are rows of the dataset.
#[derive(Clone, Debug)]
pub struct Mapped {
    pub batch: RecordBatch,
    pub unreadable: Vec<Quarantined>,
    /// Rows that are none of the dataset's (`only`).
    pub dropped: u64,
}

/// Reads the rows of an answer, columns that are not proven equal too. A cell that cannot be read makes its row unreadable,
/// never the answer.
pub fn batch(dataset: &Dataset, way: Way, given: &Given, table: &Table) -> Result<Mapped> {
    let mut lines =
        dataset.columns.iter().map(|column| line(dataset, way, given, table, column)).collect::<Result<Vec<Line>>>()?;
    let only = only(way.service, table)?;
    let (mut kept, mut refused) = (0usize, Vec::new());
    for row in 0..table.rows() {
        if only.iter().any(|(column, value)| table.cell(row, *column) != *value) {
            continue;
        }
        if let Some(reason) = push_row(&mut lines, table, row) {
            refused.push((kept, Quarantined { rule: "readable".to_string(), reason, row: row_as_json(table, row) }));
        }
        kept += 1;
    }
    let columns = lines.into_iter().map(|line| line.target.finish()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(kept));
    let unfit = |error| Error::bug(format!("the rows of {} do not fit its schema", dataset.name)).caused_by(error);
    let mut batch = RecordBatch::try_new_with_options(dataset.schema(), columns, &options).map_err(unfit)?;
    if !refused.is_empty() {
        let mut readable = vec![true; kept];
        for (row, _) in &refused {
            if let Some(flag) = readable.get_mut(*row) {
                *flag = false;
            }
        }
        batch = filter_record_batch(&batch, &BooleanArray::from(readable)).map_err(unfit)?;
    }
    let unreadable = refused.into_iter().map(|(_, quarantined)| quarantined).collect();
    Ok(Mapped { batch: fill_row_hash(dataset, batch), unreadable, dropped: (table.rows() - kept) as u64 })
}

fn line<'d>(
    dataset: &'d Dataset,
    way: Way<'d>,
    given: &Given,
    table: &Table,
    column: &'d crate::model::Column,
) -> Result<Line<'d>> {
    let is_key = dataset.key.contains(&column.name);
    let Some(served) = way.service.columns.get(&column.name) else {
        let target = Target::new(column, is_key, 0, table.rows());
        return Ok(Line { origin: Origin::Nowhere, values: None, target });
    };
    let unit = served.unit.as_deref().unwrap_or(&column.unit);
    let shift = unit_shift(unit, &column.unit)
        .ok_or_else(|| Error::bug(format!("{}.{} has units that do not convert", dataset.name, column.name)))?;
    let find =
        |name: &str| table.column(name).ok_or_else(|| Error::transient(format!("the answer lacks the field {name}")));
    let is_security = dataset.security.as_deref() == Some(column.name.as_str());
    let mut names = fields_of(served);
    let origin = match (names.next().unwrap_or_default(), names.next()) {
        (left, Some(right)) => Origin::Difference { left: find(left)?, right: find(right)? },
        (name, None) => match (table.column(name), given.get(name)) {
            (None, Some(value)) if is_security => Origin::Given(canonical_code(value).unwrap_or_default()),
            (None, Some(value)) => Origin::Given(value.clone()),
            _ => {
                let coded = way.message.field(name).is_some_and(|field| field.form == Form::Code);
                Origin::Field { column: find(name)?, is_code: coded && column.kind == ColumnType::Text }
            }
        },
    };
    let values = (!served.values.is_empty()).then_some(&served.values);
    Ok(Line { origin, values, target: Target::new(column, is_key, shift, table.rows()) })
}

/// The columns that decide whether a row is one of the dataset's, with the value that it must have.
fn only<'d>(service: &'d Service, table: &Table) -> Result<Vec<(usize, &'d str)>> {
    let place = |(field, value): (&'d String, &'d String)| match table.column(field) {
        Some(column) => Ok((column, value.as_str())),
        None => Err(Error::transient(format!("the answer lacks the field {field}"))),
    };
    service.only.iter().map(place).collect()
}

/// Adds a row to every column; says why it is unreadable, if it is.
fn push_row(lines: &mut [Line], table: &Table, row: usize) -> Option<String> {
    let mut reason = None;
    for line in lines {
        let pushed = match &line.origin {
            Origin::Field { column, is_code: true } => match table.cell(row, *column) {
                "" => line.target.push(""),
                code => match canonical_code(code) {
                    Some(code) => line.target.push(&code),
                    None => line.target.push("").and(Err(Trouble::Unreadable)),
                },
            },
            Origin::Field { column, is_code: false } => {
                let cell = table.cell(row, *column);
                match line.values.filter(|_| !cell.is_empty()) {
                    None => line.target.push(cell),
                    Some(values) => match values.get(cell) {
                        Some(value) => line.target.push(value),
                        None => line.target.push("").and(Err(Trouble::Unreadable)),
                    },
                }
            }
            Origin::Difference { left, right } => {
                line.target.push_difference(table.cell(row, *left), table.cell(row, *right))
            }
            Origin::Given(value) => line.target.push(value),
            Origin::Nowhere => line.target.push_null(),
        };
        let what = match pushed {
            Ok(()) => continue,
            Err(Trouble::Missing) => "has no value",
            Err(Trouble::Unreadable) => "cannot be read",
        };
        reason.get_or_insert_with(|| format!("column {} {what}", line.target.column.name));
    }
    reason
}

fn row_as_json(table: &Table, row: usize) -> Value {
    let cells = table.fields.iter().enumerate().map(|(column, name)| {
        let cell = table.cell(row, column);
        (name.clone(), if cell.is_empty() { Value::Null } else { Value::from(cell) })
    });
    Value::Object(cells.collect())
}

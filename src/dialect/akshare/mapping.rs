//! From a frame with AKShare's field names to a batch in the dataset's schema: which field is which column, units, codes,
//! dates, and the proof that every row belongs to the question.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter_record_batch;
use serde_json::{Map, Value};

use super::frame::{Frame, NULL, quoted};
use super::functions::{Shape, function};
use super::question::Question;
use crate::dialect::cells::{Target, Trouble, text_of};
use crate::dialect::row_hash::fill_row_hash;
use crate::model::dataset::{Points, Service, unit_shift};
use crate::model::{Area, Column, ColumnType, Dataset, Day, Error, Quarantined, Result, Span, code, decimal};

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The readable rows of the wanted area, in the dataset's schema.
    pub batch: RecordBatch,
    pub unreadable: Vec<Quarantined>,
}

/// Where a column's cells come from.
enum Origin {
    Field(usize),
    /// The same for every row.
    Given(String),
    /// One field less another, exactly.
    Difference(usize, usize),
    Absent,
}

struct Bound<'d> {
    target: Target<'d>,
    origin: Origin,
    is_security: bool,
    /// The source's words -> the column's, where they differ.
    words: Option<&'d BTreeMap<String, String>>,
}

/// Reads the rows of `area` out of a frame that has been shaped. A row outside of what was asked is `Transient`: the
/// answer belongs to another question. A frame without any row is `Transient`: it proves nothing. Columns that are not
/// proven equal are read too; the engine empties them before it writes.
pub fn batch(
    dataset: &Dataset,
    service: &Service,
    question: &Question,
    area: &Area,
    frame: &Frame<'_>,
) -> Result<Reply> {
    if frame.row_count() == 0 {
        return Err(Error::transient(format!(
            "{} answered no row, which does not prove that there is none",
            service.api
        ))
        .hint("sources under load answer so; another source or a later run settles it"));
    }
    let mut bound = bind(dataset, service, question, frame)?;
    let only = service.only.iter().map(|(field, value)| (frame.position(field), value.as_str()));
    let only: Vec<(Option<usize>, &str)> = only.collect();
    let (mut rows, mut refused) = (0usize, Vec::new());
    for row in frame.rows() {
        let wanted = |(position, value): &(Option<usize>, &str)| {
            position.and_then(|position| text_of(&row[position])).is_some_and(|text| text.trim() == *value)
        };
        if !only.iter().all(wanted) {
            continue;
        }
        if let Some(reason) = push_row(&mut bound, row) {
            refused.push((rows, Quarantined { rule: "readable".to_string(), reason, row: as_json(frame, row) }));
        }
        rows += 1;
    }
    let batch = finish(dataset, bound, rows, &refused)?;
    prove(dataset, question, &batch)?;
    let batch = fill_row_hash(dataset, within(dataset, batch, area.span)?);
    Ok(Reply { batch, unreadable: refused.into_iter().map(|(_, quarantined)| quarantined).collect() })
}

fn bind<'d>(
    dataset: &'d Dataset,
    service: &'d Service,
    question: &Question,
    frame: &Frame<'_>,
) -> Result<Vec<Bound<'d>>> {
    let fixed = function(&service.api).is_some_and(|known| known.shape == Shape::Table && !known.fields.is_empty());
    let bind = |column: &'d Column| {
        let is_key = dataset.key.contains(&column.name);
        let is_security = dataset.security.as_ref() == Some(&column.name);
        let Some(served) = service.columns.get(&column.name) else {
            let target = Target::new(column, is_key, None, 0, frame.row_count());
            return Ok(Bound { target, origin: Origin::Absent, is_security, words: None });
        };
        let unit = served.unit.as_deref().unwrap_or(&column.unit);
        let shift = unit_shift(unit, &column.unit).ok_or_else(|| {
            Error::bug(format!("{}.{}: {unit} does not convert to {}", dataset.name, column.name, column.unit))
        })?;
        let target = Target::new(column, is_key, Some(0), shift, frame.row_count());
        let origin = origin(&served.field, question, frame);
        if matches!(origin, Origin::Absent) && (fixed || target.is_indispensable()) {
            return Err(Error::transient(format!("the answer lacks the field {}", served.field))
                .hint("the vendor's page or the version of akshare has changed"));
        }
        let words = Some(&served.values).filter(|words| !words.is_empty());
        Ok(Bound { target, origin, is_security, words })
    };
    dataset.columns.iter().map(bind).collect()
}

/// A field of the answer, `a - b` the difference of two, or a parameter of the question that the answer does not repeat.
fn origin(field: &str, question: &Question, frame: &Frame<'_>) -> Origin {
    let difference = || {
        let (from, less) = field.split_once(" - ")?;
        Some(Origin::Difference(frame.position(from)?, frame.position(less)?))
    };
    let given = || question.params.get(field).map(|value| Origin::Given(quoted(value)));
    frame.position(field).map(Origin::Field).or_else(difference).or_else(given).unwrap_or(Origin::Absent)
}

/// Adds a row to every column; says why it is unreadable, if it is.
fn push_row(bound: &mut [Bound<'_>], row: &[Cow<'_, str>]) -> Option<String> {
    let mut reason = None;
    for Bound { target, origin, is_security, words } in bound {
        let cell = match origin {
            Origin::Field(position) => Cow::Borrowed(&*row[*position]),
            Origin::Given(cell) => Cow::Borrowed(cell.as_str()),
            Origin::Difference(from, less) => difference(&row[*from], &row[*less]),
            Origin::Absent => NULL,
        };
        let pushed = match (target.column.derived, *words) {
            (Some(_), _) => {
                target.push_stand_in();
                Ok(())
            }
            (None, Some(words)) if cell != "null" => push_word(target, &cell, words),
            (None, _) => push_cell(target, &cell, *is_security),
        };
        let what = match pushed {
            Ok(()) => continue,
            Err(Trouble::Missing) => "has no value",
            Err(Trouble::Unreadable) => "cannot be read",
        };
        reason.get_or_insert_with(|| format!("column {} {what}", target.column.name));
    }
    reason
}

fn push_cell(target: &mut Target<'_>, cell: &str, is_security: bool) -> Result<(), Trouble> {
    if matches!(cell, "null" | "\"-\"" | "\"--\"") {
        return target.push("null");
    }
    match target.column.kind {
        ColumnType::Text if is_security => match text_of(cell).as_deref().and_then(security) {
            Some(code) => target.push(&quoted(&code)),
            None => {
                target.push_stand_in();
                Err(Trouble::Unreadable)
            }
        },
        // `2024-01-31T00:00:00.000` and `2024-01-31 00:00:00` are the day.
        ColumnType::Date if cell.len() > 12 => target.push(&format!("{}\"", cell.get(..11).unwrap_or(cell))),
        // `2024-01-31T15:00:00.000` without its milliseconds.
        ColumnType::Datetime if cell.len() > 21 => target.push(&format!("{}\"", cell.get(..20).unwrap_or(cell))),
        _ => target.push(cell),
    }
}

fn push_word(target: &mut Target<'_>, cell: &str, words: &BTreeMap<String, String>) -> Result<(), Trouble> {
    match text_of(cell).and_then(|text| words.get(text.trim())) {
        Some(word) => target.push(&quoted(word)),
        None => {
            target.push_stand_in();
            Err(Trouble::Unreadable)
        }
    }
}

/// `000001` is `000001.SZ`. Companies of the national quotation system (`400001`, old `8` codes that never moved to
/// Beijing) are reported beside the listed ones: what begins with 4 or 8 and belongs to no exchange is theirs.
pub fn security(text: &str) -> Option<String> {
    let text = text.trim();
    let quoted_elsewhere = || {
        let six = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        (six && text.starts_with(['4', '8'])).then(|| format!("{text}.NQ"))
    };
    code::canonical(text).or_else(quoted_elsewhere)
}

/// Digits kept when two numbers are subtracted.
const DIFFERENCE_SCALE: i8 = 10;

fn difference(from: &str, less: &str) -> Cow<'static, str> {
    let read = |cell: &str| decimal::parse(text_of(cell)?.trim(), DIFFERENCE_SCALE, 0);
    let value = read(from).zip(read(less)).and_then(|(from, less)| from.checked_sub(less));
    value.map_or(NULL, |value| Cow::Owned(decimal::to_text(value, DIFFERENCE_SCALE)))
}

fn finish(
    dataset: &Dataset,
    bound: Vec<Bound<'_>>,
    rows: usize,
    refused: &[(usize, Quarantined)],
) -> Result<RecordBatch> {
    let columns = bound.into_iter().map(|bound| bound.target.finish()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let built = RecordBatch::try_new_with_options(dataset.schema(), columns, &options);
    let batch = built.map_err(|error| unfit(dataset, error))?;
    if refused.is_empty() {
        return Ok(batch);
    }
    let mut readable = vec![true; rows];
    for (row, _) in refused {
        if let Some(flag) = readable.get_mut(*row) {
            *flag = false;
        }
    }
    filter_record_batch(&batch, &BooleanArray::from(readable)).map_err(|error| unfit(dataset, error))
}

fn unfit(dataset: &Dataset, error: arrow_schema::ArrowError) -> Error {
    Error::bug(format!("the rows of {} do not fit its schema", dataset.name)).caused_by(error)
}

/// The days of a batch; `None` when the dataset has no time column.
fn days<'b>(dataset: &Dataset, batch: &'b RecordBatch) -> Option<&'b arrow_array::Date32Array> {
    use arrow_array::cast::AsArray;
    batch.column(dataset.time_index()?).as_primitive_opt()
}

fn codes<'b>(dataset: &Dataset, batch: &'b RecordBatch) -> Option<&'b arrow_array::StringArray> {
    use arrow_array::cast::AsArray;
    batch.column(dataset.security_index()?).as_string_opt()
}

/// Every row must be about the code and the days that were asked for, and bars of weeks and months must be that.
fn prove(dataset: &Dataset, question: &Question, batch: &RecordBatch) -> Result<()> {
    let foreign = |count: usize, what: &str| match count {
        0 => Ok(()),
        _ => Err(Error::transient(format!("asked {}, the answer holds {count} rows of {what}", question.api))
            .hint("the source answered another question; it is asked again on a new connection")),
    };
    if let (Some(wanted), Some(codes)) = (&question.code, codes(dataset, batch)) {
        foreign(codes.iter().filter(|code| *code != Some(wanted.as_str())).count(), "other securities")?;
    }
    let Some(days) = days(dataset, batch) else { return Ok(()) };
    if !question.asked.is_all() {
        let outside = |day: &Option<i32>| !day.is_some_and(|day| question.asked.contains(Day(day)));
        foreign(days.iter().filter(outside).count(), "other days")?;
    }
    let unit: fn(Day) -> i32 = match dataset.expect.points {
        Points::WeekEnd => |day| (day.0 + 3).div_euclid(7),
        Points::MonthEnd => |day| i32::from(day.year()) * 12 + i32::from(day.date().month()),
        _ => return Ok(()),
    };
    if question.code.is_some() {
        let mut units: Vec<i32> = days.iter().flatten().map(|day| unit(Day(day))).collect();
        units.sort_unstable();
        foreign(units.windows(2).filter(|pair| pair[0] == pair[1]).count(), "a shorter period")?;
    }
    Ok(())
}

/// The rows of the wanted days.
fn within(dataset: &Dataset, batch: RecordBatch, span: Span) -> Result<RecordBatch> {
    let Some(days) = days(dataset, &batch).filter(|_| !span.is_all()) else { return Ok(batch) };
    let wanted: BooleanArray = days.iter().map(|day| Some(day.is_some_and(|day| span.contains(Day(day))))).collect();
    if wanted.true_count() == batch.num_rows() {
        return Ok(batch);
    }
    filter_record_batch(&batch, &wanted).map_err(|error| unfit(dataset, error))
}

/// The row as far as it can be read, by field.
fn as_json(frame: &Frame<'_>, row: &[Cow<'_, str>]) -> Value {
    let cell = |cell: &str| serde_json::from_str(cell).unwrap_or_else(|_| Value::from(cell));
    let cells = frame.fields.iter().zip(row);
    Value::Object(cells.map(|(field, text)| (field.to_string(), cell(text))).collect::<Map<String, Value>>())
}

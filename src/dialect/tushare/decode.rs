//! Answers read: reply body -> batch in the dataset's schema, straight into Arrow columns.
//!
//! The body is checked once by a JSON parser that keeps `items` as text (it may come before `fields`), then the rows are
//! walked over and their cells read as exact text. A cell that cannot be read makes its row unreadable, never the answer.

use std::borrow::Cow;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter_record_batch;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::refusal::classify;
use crate::dialect::cells::{Target, Trouble, Walk};
use crate::dialect::row_hash::fill_row_hash;
use crate::model::{Dataset, Error, Instant, Quarantined, Result};

/// Bounds on what is accepted as an answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rows_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { rows_max: 200_000 }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The readable rows, in the dataset's schema.
    pub batch: RecordBatch,
    /// `None` when the service did not say.
    pub has_more: Option<bool>,
    pub unreadable: Vec<Quarantined>,
    /// Rows in the answer, readable or not.
    pub row_count: u64,
}

#[derive(Deserialize)]
struct WireReply<'a> {
    code: i64,
    #[serde(default, borrow)]
    msg: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    data: Option<WireData<'a>>,
}

#[derive(Deserialize)]
struct WireData<'a> {
    #[serde(borrow)]
    fields: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    items: &'a RawValue,
    #[serde(default)]
    has_more: Option<bool>,
}

/// What is left of a reply when `data` does not look as it should.
#[derive(Deserialize)]
struct WireRefusal<'a> {
    code: i64,
    #[serde(default, borrow)]
    msg: Option<Cow<'a, str>>,
}

/// Reads an answer. Refusals become errors by remedy; what is no whole answer is `Transient`.
pub fn decode(dataset: &Dataset, body: &[u8], limits: Limits, now: Instant) -> Result<Reply> {
    let reply = match serde_json::from_slice::<WireReply>(body) {
        Ok(reply) => reply,
        Err(error) => return Err(not_an_answer(body, error, now)),
    };
    if reply.code != 0 {
        return Err(classify(reply.code, reply.msg.as_deref().unwrap_or_default(), now));
    }
    let data = reply.data.ok_or_else(|| Error::transient("the answer holds no data"))?;
    decode_data(dataset, &data, limits)
}

/// Reads only whether the service answered at all.
pub fn decode_status(body: &[u8], now: Instant) -> Result<()> {
    let status: WireRefusal = serde_json::from_slice(body).map_err(broken)?;
    if status.code == 0 { Ok(()) } else { Err(classify(status.code, status.msg.as_deref().unwrap_or_default(), now)) }
}

fn not_an_answer(body: &[u8], error: serde_json::Error, now: Instant) -> Error {
    match decode_status(body, now) {
        Err(refusal) => refusal,
        Ok(()) => broken(error),
    }
}

/// The parser's own message could quote a value: only its place is kept.
fn broken(error: serde_json::Error) -> Error {
    let what = if error.is_eof() { "is cut off" } else { "is not what the service is known to send" };
    let (line, column) = (error.line(), error.column());
    Error::transient(format!("the answer {what} (line {line} column {column})"))
}

fn decode_data(dataset: &Dataset, data: &WireData, limits: Limits) -> Result<Reply> {
    let items = data.items.get();
    let mut targets = targets(dataset, &data.fields, items.len())?;
    let mut walk = Walk::new(items);
    if !walk.enter() {
        return Err(Error::transient("the answer's rows are no list"));
    }
    let mut cells: Vec<&str> = Vec::with_capacity(data.fields.len());
    let (mut rows, mut refused) = (0usize, Vec::new());
    while walk.more() {
        if rows >= limits.rows_max {
            return Err(Error::invalid(format!("the answer holds more than {} rows", limits.rows_max)));
        }
        let start = walk.position();
        cells.clear();
        if walk.enter() {
            while walk.more() {
                cells.push(walk.element());
            }
        } else {
            walk.element();
        }
        if let Some(reason) = push_row(&mut targets, &cells, data.fields.len()) {
            let row = row_as_json(&data.fields, walk.since(start));
            refused.push((rows, Quarantined { rule: "readable".to_string(), reason, row }));
        }
        rows += 1;
    }
    let batch = finish(dataset, targets, rows, &refused)?;
    let unreadable = refused.into_iter().map(|(_, quarantined)| quarantined).collect();
    Ok(Reply { batch, has_more: data.has_more, unreadable, row_count: rows as u64 })
}

/// A column under construction for every column of the dataset, bound to its place in the answer.
fn targets<'d>(dataset: &'d Dataset, fields: &[Cow<str>], items_len: usize) -> Result<Vec<Target<'d>>> {
    let rows = items_len / (fields.len() * 6).max(16);
    let target = |column: &'d crate::model::Column| {
        let unfit = || Error::bug(format!("{}.{} has units that do not convert", dataset.name, column.name));
        let shift = column.tushare_shift().ok_or_else(unfit)?;
        let named = |field: &Cow<str>| column.derived.is_none() && field.trim() == column.name;
        let position = fields.iter().position(named);
        let target = Target::new(column, dataset.key.contains(&column.name), position, shift, rows);
        if position.is_none() && target.is_indispensable() {
            return Err(Error::transient(format!("the answer lacks the column {}", column.name)));
        }
        Ok(target)
    };
    dataset.columns.iter().map(target).collect()
}

/// Adds a row to every column; says why it is unreadable, if it is.
fn push_row(targets: &mut [Target], cells: &[&str], width: usize) -> Option<String> {
    if cells.len() != width {
        targets.iter_mut().for_each(Target::push_stand_in);
        return Some(format!("the row has {} cells and the answer {width} columns", cells.len()));
    }
    let mut reason = None;
    for target in targets {
        let pushed = match target.position.and_then(|position| cells.get(position)) {
            Some(cell) => target.push(cell),
            None if target.column.derived.is_some() => {
                target.push_stand_in();
                Ok(())
            }
            None => target.push_null(),
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

fn finish(
    dataset: &Dataset,
    targets: Vec<Target>,
    rows: usize,
    refused: &[(usize, Quarantined)],
) -> Result<RecordBatch> {
    let columns = targets.into_iter().map(Target::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let built = RecordBatch::try_new_with_options(dataset.schema(), columns, &options);
    let unfit = |error| Error::bug(format!("the rows of {} do not fit its schema", dataset.name)).caused_by(error);
    let mut batch = built.map_err(unfit)?;
    if !refused.is_empty() {
        let mut readable = vec![true; rows];
        for (row, _) in refused {
            if let Some(flag) = readable.get_mut(*row) {
                *flag = false;
            }
        }
        batch = filter_record_batch(&batch, &BooleanArray::from(readable)).map_err(unfit)?;
    }
    Ok(fill_row_hash(dataset, batch))
}

/// The row as far as it can be read: by column name when it is a list, else as it came.
fn row_as_json(fields: &[Cow<str>], text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Array(cells)) if cells.len() == fields.len() => {
            Value::Object(fields.iter().map(|field| field.to_string()).zip(cells).collect())
        }
        Ok(other) => serde_json::json!({ "row": other }),
        Err(_) => serde_json::json!({ "row": text }),
    }
}

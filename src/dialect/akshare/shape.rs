//! Tables of particular shapes, made into rows of fields: trading days, items of one thing, columns by report period.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::frame::{Frame, quoted};
use super::functions::{Shape, function};
use crate::dialect::cells::text_of;
use crate::model::{Day, Error, Result};

/// The exchanges that keep one calendar.
const EXCHANGES: [&str; 2] = ["SSE", "SZSE"];

/// The answer of a function as rows of fields.
pub fn rows<'a>(api: &str, frame: Frame<'a>) -> Result<Frame<'a>> {
    match function(api).map(|function| function.shape).unwrap_or_default() {
        Shape::Table => Ok(frame),
        _ if frame.row_count() == 0 => Ok(frame),
        Shape::Items => items(&frame),
        Shape::Periods => periods(&frame),
        Shape::TradingDays => trading_days(&frame),
    }
}

fn lacks(field: &str) -> Error {
    Error::transient(format!("the answer lacks the field {field}"))
}

fn plain(cell: &str) -> Cow<'_, str> {
    text_of(cell).unwrap_or_default()
}

/// `item`, `value`: one row whose fields are the items.
fn items<'a>(frame: &Frame<'a>) -> Result<Frame<'a>> {
    let item = frame.position("item").ok_or_else(|| lacks("item"))?;
    let value = frame.position("value").ok_or_else(|| lacks("value"))?;
    let name = |row: &[Cow<'a, str>]| Cow::Owned(plain(&row[item]).into_owned());
    let mut row = Frame::new(frame.rows().map(name).collect());
    row.push(frame.rows().map(|row| row[value].clone()));
    Ok(row)
}

/// A row for each indicator and report period that has a value: `选项`, `指标`, `报告期`, `值`.
fn periods<'a>(frame: &Frame<'a>) -> Result<Frame<'a>> {
    let section = frame.position("选项").ok_or_else(|| lacks("选项"))?;
    let indicator = frame.position("指标").ok_or_else(|| lacks("指标"))?;
    let dated = frame.fields.iter().enumerate().filter(|(_, field)| Day::parse(field).is_ok());
    let dated: Vec<(usize, String)> = dated.map(|(position, field)| (position, quoted(field))).collect();
    if dated.is_empty() {
        return Err(Error::transient("the answer has no column of a report period"));
    }
    let mut long = Frame::new(["选项", "指标", "报告期", "值"].map(Cow::Borrowed).to_vec());
    for row in frame.rows() {
        for (position, period) in dated.iter().filter(|(position, _)| row[*position] != "null") {
            let (section, indicator) = (row[section].clone(), row[indicator].clone());
            long.push([section, indicator, Cow::Owned(period.clone()), row[*position].clone()]);
        }
    }
    Ok(long)
}

/// Every calendar day of both exchanges from the first to the last trading day, and to the end of the year where the
/// last one lies in December: the list always reaches to the end of the published year.
fn trading_days<'a>(frame: &Frame<'a>) -> Result<Frame<'a>> {
    let position = frame.position("trade_date").ok_or_else(|| lacks("trade_date"))?;
    let day = |row: &[Cow<'a, str>]| Day::parse(plain(&row[position]).get(..10).unwrap_or_default());
    let open: BTreeSet<Day> =
        frame.rows().map(day).collect::<Result<_>>().map_err(|_| Error::transient("a trading day is no date"))?;
    let mut whole = Frame::new(["exchange", "cal_date", "is_open", "pretrade_date"].map(Cow::Borrowed).to_vec());
    let (Some(first), Some(last)) = (open.first(), open.last()) else { return Ok(whole) };
    let end = Day::new(last.year(), 12, 31).filter(|_| last.date().month() == 12).unwrap_or(*last);
    for exchange in EXCHANGES {
        let mut before = None;
        for day in first.to(end) {
            let is_open = open.contains(&day);
            let before_cell = before.map_or(Cow::Borrowed("null"), |day: Day| Cow::Owned(quoted(&day.to_string())));
            let is_open_cell = Cow::Borrowed(if is_open { "1" } else { "0" });
            whole.push([Cow::Owned(quoted(exchange)), Cow::Owned(quoted(&day.to_string())), is_open_cell, before_cell]);
            if is_open {
                before = Some(day);
            }
        }
    }
    Ok(whole)
}

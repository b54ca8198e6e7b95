//! Answers written as AKTools writes them: an array of row objects, floats with a point and at most ten decimals.

use super::functions::Form;
use crate::dialect::cells::text_of;
use crate::model::cell::Cells;
use crate::model::decimal;

/// A table of JSON cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub fields: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Digits after the point that pandas prints.
const DECIMALS_MAX: i8 = 10;

impl Table {
    pub fn new(fields: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { fields: fields.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// The body of the answer.
    pub fn json(&self) -> Vec<u8> {
        let names: Vec<String> = self.fields.iter().map(|field| quoted(field)).collect();
        let mut out = Vec::with_capacity(16 + self.rows.len() * names.len() * 24);
        out.push(b'[');
        for (index, row) in self.rows.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
            for (column, (name, cell)) in names.iter().zip(row).enumerate() {
                out.extend((column > 0).then_some(b','));
                out.extend_from_slice(name.as_bytes());
                out.push(b':');
                out.extend_from_slice(cell.as_bytes());
            }
            out.push(b'}');
        }
        out.push(b']');
        out
    }

    /// One thing as `item` and `value`, a row for each field that has a value or not.
    pub fn into_items(self) -> Table {
        let mut items = Table::new(["item", "value"]);
        for row in self.rows.into_iter().take(1) {
            items.rows = self.fields.iter().zip(row).map(|(field, cell)| vec![quoted(field), cell]).collect();
        }
        items
    }

    /// Rows of (section, indicator, period, value) as a column for each period, newest first.
    pub fn into_periods(self) -> Table {
        let mut periods: Vec<String> = self.rows.iter().filter_map(|row| Some(compact(row.get(2)?))).collect();
        periods.sort_unstable_by(|a, b| b.cmp(a));
        periods.dedup();
        let names = ["选项".to_string(), "指标".to_string()].into_iter().chain(periods.iter().cloned());
        let mut table = Table::new(names);
        let mut place: std::collections::HashMap<(String, String), usize> = std::collections::HashMap::new();
        for row in self.rows {
            let [section, indicator, period, value] = &row[..] else { continue };
            let at = *place.entry((section.clone(), indicator.clone())).or_insert_with(|| {
                let mut cells = vec!["null".to_string(); 2 + periods.len()];
                cells[0].clone_from(section);
                cells[1].clone_from(indicator);
                table.rows.push(cells);
                table.rows.len() - 1
            });
            let period = compact(period);
            if let Ok(column) = periods.binary_search_by(|known| period.cmp(known)) {
                table.rows[at][2 + column].clone_from(value);
            }
        }
        table
    }
}

/// `"2024-01-31T00:00:00.000"` as `20240131`.
fn compact(cell: &str) -> String {
    let text = text_of(cell).unwrap_or_default();
    text.chars().take(10).filter(char::is_ascii_digit).collect()
}

/// Text as a JSON cell.
pub fn quoted(text: &str) -> String {
    super::frame::quoted(text)
}

/// A value of a batch as a JSON cell; numbers are divided by ten to the power `shift` first.
pub fn cell(cells: &Cells<'_>, row: usize, shift: i8, form: Form) -> String {
    let mut text = Vec::new();
    cells.write(row, shift, &mut text);
    let text = String::from_utf8(text).unwrap_or_default();
    // A missing value, or a missing part of a key.
    if text.is_empty() {
        return "null".to_string();
    }
    match form {
        Form::Text | Form::RowNumber => quoted(&text),
        Form::Code => quoted(text.split('.').next().unwrap_or_default()),
        Form::Date => format!("\"{}T00:00:00.000\"", text.get(..10).unwrap_or(&text)),
        Form::DayNumber => text.replace('-', ""),
        Form::Integer => decimal::parse(&text, 0, 0).map_or("null".to_string(), |value| value.to_string()),
        Form::Number => number(&text),
    }
}

/// A float as pandas prints it.
pub fn number(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    let Some(value) = decimal::parse(text, DECIMALS_MAX, 0) else { return "null".to_string() };
    decimal::write(&mut out, value, DECIMALS_MAX, 0, true);
    String::from_utf8(out).unwrap_or_else(|_| "null".to_string())
}

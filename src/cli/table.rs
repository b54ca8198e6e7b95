//! Rows for people: an aligned table. Chinese characters count as two columns, numbers stand to the right, null is empty.

use std::collections::VecDeque;
use std::io::Write;

use arrow_array::RecordBatch;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::model::{ColumnType, Dataset, Result};
use crate::read::write::{OutputColumn, Pipe, RowWriter, Units, cannot_write, cells_of, select};

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions {
    /// Rows from the beginning.
    pub head: usize,
    /// Rows from the end, when there are more.
    pub tail: usize,
    /// Columns of the terminal; what does not fit is left out and named below. `None`: no limit.
    pub width_max: Option<usize>,
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        TableOptions { head: 1000, tail: 10, width_max: None }
    }
}

/// A table of `columns` (none: all of the dataset), of a length that suits a person.
pub fn writer(
    dataset: &Dataset,
    columns: &[String],
    units: Units,
    out: impl Write + Send + 'static,
) -> Result<Box<dyn RowWriter>> {
    writer_with(dataset, columns, units, TableOptions::default(), out)
}

/// As `writer`. Nothing is printed before `finish`: widths depend on every row shown.
pub fn writer_with(
    dataset: &Dataset,
    columns: &[String],
    units: Units,
    options: TableOptions,
    out: impl Write + Send + 'static,
) -> Result<Box<dyn RowWriter>> {
    let columns = select(dataset, columns, units)?;
    let (head, tail) = (Vec::new(), VecDeque::new());
    Ok(Box::new(TableWriter { columns, options, head, tail, rows: 0, out: Pipe::new(out) }))
}

struct TableWriter {
    columns: Vec<OutputColumn>,
    options: TableOptions,
    head: Vec<Vec<String>>,
    tail: VecDeque<Vec<String>>,
    rows: u64,
    out: Pipe,
}

impl RowWriter for TableWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = cells_of(batch, &self.columns)?;
        let first_of_tail = batch.num_rows().saturating_sub(self.options.tail);
        for row in 0..batch.num_rows() {
            let is_head = self.head.len() < self.options.head;
            if !is_head && row < first_of_tail {
                continue;
            }
            let text = self.columns.iter().zip(&cells).map(|(column, cell)| {
                let mut text = Vec::new();
                column.write(cell, row, &mut text);
                printable(&String::from_utf8_lossy(&text))
            });
            let line: Vec<String> = text.collect();
            if is_head {
                self.head.push(line);
                continue;
            }
            self.tail.push_back(line);
            if self.tail.len() > self.options.tail {
                self.tail.pop_front();
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let text = self.render();
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(cannot_write)
    }
}

/// Stands where rows are left out.
const GAP: &str = "…";

impl TableWriter {
    fn render(&self) -> String {
        let widths = self.widths();
        let shown = self.columns_shown(&widths);
        let mut out = String::new();
        self.line(&mut out, &self.names(), &widths[..shown]);
        let rule: Vec<String> = widths[..shown].iter().map(|width| "─".repeat(*width)).collect();
        out.push_str(&rule.join("  "));
        out.push('\n');
        for row in &self.head {
            self.line(&mut out, row, &widths[..shown]);
        }
        let hidden_rows = self.rows - (self.head.len() + self.tail.len()) as u64;
        if hidden_rows > 0 {
            let gap = vec![GAP.to_owned(); self.columns.len()];
            self.line(&mut out, &gap, &widths[..shown]);
        }
        for row in &self.tail {
            self.line(&mut out, row, &widths[..shown]);
        }
        out.push_str(&self.footer(hidden_rows, shown));
        out
    }

    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|output| output.column.name.clone()).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|output| output.column.name.width()).collect();
        for row in self.head.iter().chain(&self.tail) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }

    /// How many columns fit the terminal; one at least.
    fn columns_shown(&self, widths: &[usize]) -> usize {
        let Some(width_max) = self.options.width_max else { return widths.len() };
        let mut used = 0;
        let fits = widths.iter().take_while(|width| {
            used += **width + 2;
            used <= width_max + 2
        });
        fits.count().max(1).min(widths.len())
    }

    fn line(&self, out: &mut String, cells: &[String], widths: &[usize]) {
        let from = out.len();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if at > 0 {
                out.push_str("  ");
            }
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if is_number(&self.columns[at]) {
                out.push_str(&padding);
                out.push_str(cell);
            } else {
                out.push_str(cell);
                out.push_str(&padding);
            }
        }
        out.truncate(from + out[from..].trim_end().len());
        out.push('\n');
    }

    fn footer(&self, hidden_rows: u64, shown: usize) -> String {
        let plural = if self.rows == 1 { "" } else { "s" };
        let mut footer = format!("{} row{plural}", grouped(self.rows));
        if hidden_rows > 0 {
            footer.push_str(&format!(", {} of them not shown", grouped(hidden_rows)));
        }
        let names = self.names();
        let hidden_columns = &names[shown..];
        if !hidden_columns.is_empty() {
            footer.push_str(&format!("; no room for {}", hidden_columns.join(", ")));
        }
        footer.push('\n');
        footer
    }
}

fn is_number(output: &OutputColumn) -> bool {
    matches!(output.column.kind, ColumnType::Int | ColumnType::Decimal | ColumnType::Float)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Text of a source never steers a terminal: control characters become blanks.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() || letter.width().is_none() { ' ' } else { letter }).collect()
}

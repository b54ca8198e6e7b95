//! Delimited text as records: RFC 4180 quoting, line ends of Unix and Windows, with limits.
//!
//! Written here and not left to a library for one property: a quote that never closes, or a line without end, costs
//! its own line and not the rest of the file.

use std::collections::VecDeque;
use std::io::{BufRead, Result};

use super::Limits;

/// One record. Cells are slices of `text`.
#[derive(Clone, Debug, Default)]
pub struct Record {
    text: String,
    cells: Vec<Span>,
    /// The line on which it begins, from 1; for tables without lines the row.
    pub line: u64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: usize,
    to: usize,
    quoted: bool,
}

/// The text of one cell, and whether it stood in quotes (then it is meant as it stands, `"NULL"` too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellText<'a> {
    pub text: &'a str,
    pub quoted: bool,
}

impl Record {
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn cell(&self, index: usize) -> Option<CellText<'_>> {
        let span = self.cells.get(index)?;
        Some(CellText { text: self.text.get(span.from..span.to)?, quoted: span.quoted })
    }

    pub fn cells(&self) -> impl Iterator<Item = CellText<'_>> {
        (0..self.len()).filter_map(|index| self.cell(index))
    }

    pub fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
    }

    /// Adds a cell that `write` appends.
    pub fn push(&mut self, quoted: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.text.len();
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        write(&mut bytes);
        self.text = String::from_utf8(bytes).unwrap_or_default();
        self.cells.push(Span { from: from.min(self.text.len()), to: self.text.len(), quoted });
    }

    /// Splits one line that holds no quotes.
    fn split(&mut self, line: String, delimiter: u8) {
        self.cells.clear();
        self.text = line;
        let mut from = 0;
        for (at, byte) in self.text.bytes().enumerate() {
            if byte == delimiter {
                self.cells.push(Span { from, to: at, quoted: false });
                from = at + 1;
            }
        }
        self.cells.push(Span { from, to: self.text.len(), quoted: false });
    }

    /// Splits text that may hold quotes; `false` when a quote is left open.
    fn split_quoted(&mut self, text: &str, delimiter: u8) -> bool {
        self.clear();
        let mut letters = text.chars().peekable();
        let (mut from, mut quoted, mut open) = (0, false, false);
        while let Some(letter) = letters.next() {
            match letter {
                '"' if open && letters.peek() == Some(&'"') => {
                    letters.next();
                    self.text.push('"');
                }
                '"' if open => open = false,
                '"' if !quoted && self.text[from..].trim().is_empty() => {
                    self.text.truncate(from);
                    (quoted, open) = (true, true);
                }
                _ if !open && letter == char::from(delimiter) => {
                    self.cells.push(Span { from, to: self.text.len(), quoted });
                    (from, quoted) = (self.text.len(), false);
                }
                _ => self.text.push(letter),
            }
        }
        self.cells.push(Span { from, to: self.text.len(), quoted });
        !open
    }
}

/// What `Records::next` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Record,
    /// The record cannot be read, for this reason. Reading goes on with the next line.
    Bad(&'static str),
    End,
}

enum Line {
    Text(String),
    TooLong,
    End,
}

/// Reads records from UTF-8 text.
pub struct Records<R> {
    input: R,
    pub delimiter: u8,
    limits: Limits,
    /// Lines that were looked at ahead, to be read again.
    ahead: VecDeque<String>,
    /// The number of the last line that was taken.
    line: u64,
}

impl<R: BufRead> Records<R> {
    pub fn new(input: R, limits: Limits) -> Records<R> {
        Records { input, delimiter: b',', limits, ahead: VecDeque::new(), line: 0 }
    }

    pub fn input(&self) -> &R {
        &self.input
    }

    /// The next lines, at most `count`, without taking them. A line that is too long ends them.
    pub fn peek_lines(&mut self, count: usize) -> Result<Vec<String>> {
        while self.ahead.len() < count {
            match read_line(&mut self.input, self.limits.record_bytes_max)? {
                Line::Text(text) => self.ahead.push_back(text),
                Line::TooLong | Line::End => break,
            }
        }
        Ok(self.ahead.iter().take(count).cloned().collect())
    }

    pub fn skip_lines(&mut self, count: usize) {
        let count = count.min(self.ahead.len());
        self.ahead.drain(..count);
        self.line += count as u64;
    }

    /// Reads the next record; blank lines are skipped.
    pub fn next(&mut self, record: &mut Record) -> Result<Step> {
        loop {
            let line = self.take_line()?;
            record.line = self.line;
            match line {
                Line::End => return Ok(Step::End),
                Line::TooLong => {
                    record.clear();
                    return Ok(Step::Bad("the line is longer than the limit"));
                }
                Line::Text(text) if text.trim().is_empty() => {}
                Line::Text(text) if !text.contains('"') => {
                    record.split(text, self.delimiter);
                    return Ok(self.within_limit(record));
                }
                Line::Text(text) => return self.finish_quoted(text, record),
            }
        }
    }

    /// Adds lines until every quote is closed. A quote that never closes spoils its own line only.
    fn finish_quoted(&mut self, first: String, record: &mut Record) -> Result<Step> {
        let first_len = first.len();
        let mut text = first;
        let mut added = Vec::new();
        while !record.split_quoted(&text, self.delimiter) {
            let line = match self.take_line()? {
                Line::Text(line)
                    if text.len() + line.len() < self.limits.record_bytes_max && added.len() < LINES_MAX =>
                {
                    line
                }
                Line::Text(line) => {
                    added.push(line);
                    return Ok(self.give_back(added, &text[..first_len], record));
                }
                Line::TooLong | Line::End => return Ok(self.give_back(added, &text[..first_len], record)),
            };
            text.push('\n');
            text.push_str(&line);
            added.push(line);
        }
        Ok(self.within_limit(record))
    }

    fn within_limit(&self, record: &Record) -> Step {
        let is_long = |span: &Span| span.to - span.from > self.limits.field_bytes_max;
        match record.cells.iter().any(is_long) {
            true => Step::Bad("a cell is longer than the limit"),
            false => Step::Record,
        }
    }

    fn give_back(&mut self, lines: Vec<String>, first: &str, record: &mut Record) -> Step {
        self.line -= lines.len() as u64;
        for line in lines.into_iter().rev() {
            self.ahead.push_front(line);
        }
        record.split(first.to_owned(), self.delimiter);
        Step::Bad("a quote is not closed")
    }

    fn take_line(&mut self) -> Result<Line> {
        let line = match self.ahead.pop_front() {
            Some(text) => Line::Text(text),
            None => read_line(&mut self.input, self.limits.record_bytes_max)?,
        };
        if !matches!(line, Line::End) {
            self.line += 1;
        }
        Ok(line)
    }
}

/// Lines that one quoted cell may span.
const LINES_MAX: usize = 100;

/// One line without its end. A line over the limit is skipped to its end without being kept.
fn read_line(input: &mut impl BufRead, bytes_max: usize) -> Result<Line> {
    let mut line = Vec::new();
    let (mut seen, mut too_long) = (false, false);
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            break;
        }
        seen = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        too_long |= line.len() + part.len() > bytes_max;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    if !seen {
        return Ok(Line::End);
    }
    if too_long {
        return Ok(Line::TooLong);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Line::Text(
        String::from_utf8(line).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, record_bytes_max: usize) -> Vec<(u64, String)> {
        let limits = Limits { field_bytes_max: 60, record_bytes_max };
        let mut records = Records::new(text.as_bytes(), limits);
        let mut record = Record::default();
        let mut found = Vec::new();
        loop {
            match records.next(&mut record).unwrap() {
                Step::End => return found,
                Step::Bad(reason) => found.push((record.line, format!("! {reason}"))),
                Step::Record => {
                    let cells: Vec<&str> = record.cells().map(|cell| cell.text).collect();
                    found.push((record.line, cells.join("|")));
                }
            }
        }
    }

    #[test]
    fn records_are_split_as_spreadsheets_write_them() {
        for (text, expected) in [
            ("a,b\n1,2\n", vec![(1, "a|b"), (2, "1|2")]),
            ("a,b\r\n1,2", vec![(1, "a|b"), (2, "1|2")]),
            ("\n\na,b\n \n1,\n", vec![(3, "a|b"), (5, "1|")]),
            ("\"Ping An Bank Co., Ltd.\",x", vec![(1, "Ping An Bank Co., Ltd.|x")]),
            ("\"he said \"\"no\"\"\",x", vec![(1, "he said \"no\"|x")]),
            ("\"two\nlines\",x\ny,z", vec![(1, "two\nlines|x"), (3, "y|z")]),
            ("5\" pipe,x", vec![(1, "5\" pipe|x")]),
            ("\"open,x\ny,z", vec![(1, "! a quote is not closed"), (2, "y|z")]),
            ("\"\",x", vec![(1, "|x")]),
            ("", vec![]),
        ] {
            let found = all(text, 1000);
            let found: Vec<(u64, &str)> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn long_lines_and_endless_quotes_cost_their_own_line_only() {
        let text = format!("a,b\n{}\n1,2\n\"{}\n3,4\n", "x".repeat(101), "y\n".repeat(300));
        let found = all(&text, 100);
        assert_eq!(found[1], (2, "! the line is longer than the limit".to_owned()));
        assert_eq!(found[2], (3, "1|2".to_owned()));
        assert_eq!(found[3], (4, "! a quote is not closed".to_owned()));
        assert_eq!(found.last().unwrap().1, "3|4");
        assert_eq!(found.len(), 4 + 299 + 1);
        let found = all(&format!("a,b\n1,{}\n3,4\n", "x".repeat(61)), 100);
        assert_eq!(found[1], (2, "! a cell is longer than the limit".to_owned()));
        assert_eq!(found[2], (3, "3|4".to_owned()));
    }
}

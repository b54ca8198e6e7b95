//! Small tables for people: columns aligned by what a terminal shows, headings above, nothing else.

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// Rows of text under headings. Columns named in `right` are aligned to the right.
pub struct List {
    headings: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl List {
    /// Headings that begin with `>` are aligned to the right: `List::new(["table", ">rows"])`.
    pub fn new<const N: usize>(headings: [&'static str; N]) -> List {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let headings = headings.iter().map(|heading| heading.trim_start_matches('>')).collect();
        List { headings, right, rows: Vec::new() }
    }

    pub fn push<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.to_vec());
    }

    /// What an object holds, a field a line: texts as they are, nothing as `-`.
    pub fn of_object(object: &Value) -> List {
        let mut list = List::new(["what", "value"]);
        for (name, value) in object.as_object().into_iter().flatten() {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => "-".to_string(),
                other => other.to_string(),
            };
            list.push([name.clone(), text]);
        }
        list
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines of text, each ended by a line break.
    pub fn render(&self) -> String {
        let mut widths: Vec<usize> = self.headings.iter().map(|heading| heading.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let headings: Vec<String> = self.headings.iter().map(|heading| heading.to_string()).collect();
        let lines = std::iter::once(&headings).chain(&self.rows);
        lines.map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(widths).zip(&self.right) {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = if *right { (padding, String::new()) } else { (String::new(), padding) };
            line.push_str(&before);
            line.push_str(cell);
            line.push_str(&after);
            line.push_str("  ");
        }
        format!("{}\n", line.trim_end())
    }
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `850 ms`, `12.5 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis} ms"),
        1..=59 => format!("{}.{} s", seconds, millis % 1000 / 100),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1.4 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_the_way_people_read_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5, 1_500, 200_000, 7_500_000].map(duration), ["5 ms", "1.5 s", "3 min 20 s", "2 h 05 min"]);
        assert_eq!([5, 1_500, 1_400_000_000].map(size), ["5 B", "1.5 kB", "1.4 GB"]);
    }

    #[test]
    fn columns_line_up_under_wide_characters() {
        let mut list = List::new(["name", ">rows"]);
        list.push(["日线".to_string(), "5".to_string()]);
        list.push(["daily".to_string(), "1,200".to_string()]);
        assert_eq!(list.render(), "name    rows\n日线       5\ndaily  1,200\n");
    }
}

//! Lines of standard input: one after the other with a limit, and those that wait together.

use std::io::BufRead;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{Error, Result};

/// A line with its number, without its end; what is wrong with it in its place.
pub type Line = Result<(u64, String)>;

/// Lines that are read ahead.
const AHEAD: usize = 1_000;

/// The lines of an input, read on a thread of its own.
pub struct Lines(mpsc::Receiver<Line>);

impl Lines {
    pub fn new(bytes_max: usize) -> Lines {
        Lines::of(|| std::io::stdin().lock(), bytes_max)
    }

    fn of<R: BufRead>(open: impl FnOnce() -> R + Send + 'static, bytes_max: usize) -> Lines {
        let (sender, lines) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            let mut reader = Reader { reader: open(), number: 0, bytes_max };
            while let Some(line) = reader.next() {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Lines(lines)
    }

    /// The next lines: waits for one, then takes what comes within `linger`, at most `max`. None: the input has ended.
    pub async fn group(&mut self, max: usize, linger: Duration) -> Vec<Line> {
        let mut group: Vec<Line> = self.0.recv().await.into_iter().collect();
        let until = tokio::time::Instant::now() + linger;
        while !group.is_empty() && group.len() < max {
            match tokio::time::timeout_at(until, self.0.recv()).await {
                Ok(Some(line)) => group.push(line),
                Ok(None) | Err(_) => break,
            }
        }
        group
    }
}

struct Reader<R> {
    reader: R,
    number: u64,
    bytes_max: usize,
}

impl<R: BufRead> Reader<R> {
    /// The next line that is not empty; `None` at the end.
    fn next(&mut self) -> Option<Line> {
        loop {
            let (bytes, too_long) = match self.bytes() {
                Ok(line) => line?,
                Err(error) => return Some(Err(Error::storage("standard input cannot be read").caused_by(error))),
            };
            self.number += 1;
            let number = self.number;
            if too_long {
                let error = Error::invalid(format!("line {number} has more than {} bytes", self.bytes_max));
                return Some(Err(error.hint("events.content_kb_max is the limit")));
            }
            match std::str::from_utf8(bytes.trim_ascii()) {
                Ok("") => {}
                Ok(text) => return Some(Ok((number, text.to_string()))),
                Err(_) => return Some(Err(Error::invalid(format!("line {number} is no UTF-8")))),
            }
        }
    }

    /// The bytes of the next line, and whether there were too many of them; `None` at the end.
    fn bytes(&mut self) -> std::io::Result<Option<(Vec<u8>, bool)>> {
        let (mut line, mut too_long, mut begun) = (Vec::new(), false, false);
        loop {
            let read = self.reader.fill_buf()?;
            if read.is_empty() {
                return Ok(begun.then_some((line, too_long)));
            }
            begun = true;
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            too_long |= line.len() + part.len() > self.bytes_max;
            if !too_long {
                line.extend_from_slice(part);
            }
            let taken = end.map_or(read.len(), |end| end + 1);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some((line, too_long)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &'static [u8], bytes_max: usize) -> Vec<Result<(u64, String), String>> {
        let mut lines = Lines::of(move || std::io::BufReader::with_capacity(3, text), bytes_max);
        let mut found = Vec::new();
        loop {
            let group = lines.group(2, Duration::from_secs(60)).await;
            if group.is_empty() {
                return found;
            }
            found.extend(group.into_iter().map(|line| line.map_err(|error| error.message().to_string())));
        }
    }

    #[tokio::test]
    async fn lines_are_numbered_and_bounded_and_empty_ones_are_passed_over() {
        let line = |number: u64, text: &str| Ok((number, text.to_string()));
        assert_eq!(all(b"", 9).await, []);
        assert_eq!(all(b"a\r\n\n  bc  \n\nd", 9).await, [line(1, "a"), line(3, "bc"), line(5, "d")]);
        let long = all(b"a\n0123456789\nb\n", 9).await;
        assert_eq!(long, [line(1, "a"), Err("line 2 has more than 9 bytes".to_string()), line(3, "b")]);
        assert_eq!(all(b"\xff\n{}", 9).await, [Err("line 1 is no UTF-8".to_string()), line(2, "{}")]);
    }
}

//! JSON kept exactly as written: numbers stay text, strings are code points, of equal names the last one counts.
//!
//! For texts that are signed: what a number means to somebody else is decided when it is written, not when it is read.

use std::collections::BTreeMap;

use crate::model::{Error, Result};

/// How deep values may lie in each other.
const DEPTH_MAX: usize = 128;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`, `true` or `false`.
    Word(&'static str),
    /// As written, in JSON's grammar.
    Number(&'a str),
    Text(CodePoints),
    List(Vec<Json<'a>>),
    /// In the order in which names first appear.
    Object(Vec<(CodePoints, Json<'a>)>),
}

/// The characters of a string; half of a surrogate pair, which an escape may name, counts as one.
pub type CodePoints = Vec<u32>;

/// Reads one value that fills the text. Bad text is refused with the place.
pub fn read(text: &str) -> Result<Json<'_>> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_blanks();
    match reader.at == text.len() {
        true => Ok(value),
        false => Err(reader.broken("something follows the value")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn broken(&self, what: &str) -> Error {
        Error::invalid(format!("this is no JSON: {what} (byte {})", self.at + 1))
            .hint("send JSON as RFC 8259 has it: no comments, no NaN, no comma before a closing bracket")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next, behind blanks.
    fn take(&mut self, wanted: u8) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>> {
        if depth > DEPTH_MAX {
            return Err(self.broken(&format!("values lie in each other more than {DEPTH_MAX} deep")));
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Json<'a>> {
        for word in ["null", "true", "false"] {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(Json::Word(word));
            }
        }
        Err(self.broken("a value is expected"))
    }

    fn list(&mut self, depth: usize) -> Result<Json<'a>> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Json::List(items));
            }
            if !self.take(b',') {
                return Err(self.broken("a comma or ] is expected"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>> {
        self.at += 1;
        let (mut members, mut places) = (Vec::new(), BTreeMap::new());
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.broken("a name in quotes is expected"));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.broken("a colon is expected"));
            }
            let value = self.value(depth + 1)?;
            match places.get(&name) {
                Some(place) => members[*place] = (name, value),
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(self.broken("a comma or } is expected"));
            }
        }
    }

    fn digits(&mut self) -> Result<()> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if from == self.at { Err(self.broken("a digit is expected")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json<'a>> {
        let from = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.broken("a number does not begin with 0"));
        }
        Ok(Json::Number(&self.text[from..self.at]))
    }

    fn string(&mut self) -> Result<CodePoints> {
        self.at += 1;
        let mut points: CodePoints = Vec::new();
        loop {
            let Some(character) = self.text[self.at..].chars().next() else {
                return Err(self.broken("a string has no end"));
            };
            match character {
                '"' => {
                    self.at += 1;
                    return Ok(points);
                }
                '\\' => {
                    let point = self.escape()?;
                    points.push(point);
                }
                '\0'..='\u{1f}' => return Err(self.broken("a control character in a string is not escaped")),
                plain => {
                    self.at += plain.len_utf8();
                    points.push(u32::from(plain));
                }
            }
        }
    }

    /// One escape; two halves of a pair are one character.
    fn escape(&mut self) -> Result<u32> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        let short = match letter {
            Some(b'"' | b'\\' | b'/') => letter.map(u32::from),
            Some(b'b') => Some(8),
            Some(b'f') => Some(12),
            Some(b'n') => Some(10),
            Some(b'r') => Some(13),
            Some(b't') => Some(9),
            Some(b'u') => None,
            _ => return Err(self.broken("an escape is unknown")),
        };
        if let Some(point) = short {
            self.at += 2;
            return Ok(point);
        }
        let first = self.unit(self.at).ok_or_else(|| self.broken("\\u is not followed by four hexadecimal digits"))?;
        self.at += 6;
        let second = self.unit(self.at).filter(|unit| (0xdc00..0xe000).contains(unit));
        match second {
            Some(second) if (0xd800..0xdc00).contains(&first) => {
                self.at += 6;
                Ok(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
            }
            _ => Ok(first),
        }
    }

    /// The number behind `\u` at a place.
    fn unit(&self, at: usize) -> Option<u32> {
        let hex = self.text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        hex.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_text_and_the_last_of_equal_names_counts() {
        let value = read(" {\"b\": 1.50, \"a\": [null, true], \"b\": 100000000000000000000.00} ").unwrap();
        let points = |text: &str| text.chars().map(u32::from).collect::<CodePoints>();
        let expected = Json::Object(vec![
            (points("b"), Json::Number("100000000000000000000.00")),
            (points("a"), Json::List(vec![Json::Word("null"), Json::Word("true")])),
        ]);
        assert_eq!(value, expected);
    }

    #[test]
    fn escapes_become_characters_and_halves_of_pairs_stay() {
        for (text, expected) in [
            (r#""\ud83d\ude00""#, vec![0x1f600]),
            (r#""\ud83d""#, vec![0xd83d]),
            (r#""\ud83d\u0041""#, vec![0xd83d, 0x41]),
            (r#""\ude00\ud83d""#, vec![0xde00, 0xd83d]),
            (r#""\n\/\"é""#, vec![10, 0x2f, 0x22, 0xe9]),
        ] {
            assert_eq!(read(text).unwrap(), Json::Text(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (text, at) in [
            ("", 1),
            ("NaN", 1),
            ("-Infinity", 2),
            ("[1,]", 4),
            ("{\"a\":1,}", 8),
            ("{a:1}", 2),
            ("01", 2),
            ("1.", 3),
            ("1e", 3),
            ("+1", 1),
            ("\"\n\"", 2),
            (r#""\x""#, 2),
            (r#""\u12g4""#, 2),
            (r#""\u+123""#, 2),
            ("\"open", 6),
            ("1 2", 3),
            ("nul", 1),
            ("[1", 3),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message().ends_with(&format!("(byte {at})")), "{text}: {error}");
        }
        let deep = "[".repeat(DEPTH_MAX + 2);
        assert!(read(&deep).unwrap_err().message().contains("deep"));
        assert!(read(&format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))).is_ok());
    }
}

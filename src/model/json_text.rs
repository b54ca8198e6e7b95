//! JSON as text in one canonical form: keys sorted, no blanks between, numbers without trailing zeros and never through
//! floats. Two texts that mean the same become the same text.

use std::collections::BTreeMap;

use super::compared::number_text;

/// How deep arrays and objects may lie in each other.
const DEPTH_MAX: usize = 200;

/// The canonical text; `None` for what is no JSON.
pub fn canonical(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.value()?;
    reader.blanks();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `token` if it comes next, blanks before it aside.
    fn takes(&mut self, token: &str) -> bool {
        self.blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<String> {
        self.blanks();
        match self.rest.as_bytes().first()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string(),
            b't' => self.takes("true").then(|| "true".to_owned()),
            b'f' => self.takes("false").then(|| "false".to_owned()),
            b'n' => self.takes("null").then(|| "null".to_owned()),
            _ => self.number(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<String>) -> Option<String> {
        self.depth += 1;
        let value = (self.depth <= DEPTH_MAX).then(|| read(self)).flatten();
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Option<String> {
        let mut fields = BTreeMap::new();
        self.takes("{");
        if !self.takes("}") {
            loop {
                self.blanks();
                let name = self.string()?;
                if !self.takes(":") {
                    return None;
                }
                let value = self.value()?;
                fields.insert(name, value);
                if self.takes("}") {
                    break;
                }
                if !self.takes(",") {
                    return None;
                }
            }
        }
        let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
        Some(format!("{{{}}}", fields.join(",")))
    }

    fn array(&mut self) -> Option<String> {
        let mut values = Vec::new();
        self.takes("[");
        if !self.takes("]") {
            loop {
                values.push(self.value()?);
                if self.takes("]") {
                    break;
                }
                if !self.takes(",") {
                    return None;
                }
            }
        }
        Some(format!("[{}]", values.join(",")))
    }

    /// A string with its quotes, escaped in one way only.
    fn string(&mut self) -> Option<String> {
        let bytes = self.rest.as_bytes();
        if bytes.first() != Some(&b'"') {
            return None;
        }
        let mut end = 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let (quoted, rest) = (self.rest.get(..=end)?, self.rest.get(end + 1..)?);
        let text: String = serde_json::from_str(quoted).ok()?;
        self.rest = rest;
        serde_json::to_string(&text).ok()
    }

    fn number(&mut self) -> Option<String> {
        let end = self.rest.find(|letter: char| !"+-.eE0123456789".contains(letter)).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        number_text(digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_mean_the_same_become_the_same() {
        for (text, expected) in [
            (r#"{"b": 1.10, "a": [true, null]}"#, r#"{"a":[true,null],"b":1.1}"#),
            (r#"{"a":[true,null],"b":1.1}"#, r#"{"a":[true,null],"b":1.1}"#),
            ("123456789012345678901234567890.50", "123456789012345678901234567890.5"),
            (r#""\u8d26 \/""#, "\"账 /\""),
            (" [ ] ", "[]"),
            ("{}", "{}"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_none_and_nothing_panics() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "[1,", "{\"a\"}", "\"\\", "\"\\u12", "nul", "1 2", "{1:2}", "\"合", "-", &deep] {
            assert_eq!(canonical(text), None);
        }
    }
}

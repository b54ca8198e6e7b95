//! Reads the layers of the configuration one over the other and collects every problem with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::rules::{RULES, Rule, rule_of};
use super::{DEFAULT_TEXT, Explained, Origin};
use crate::model::{Error, Result};

const FILE_BYTES_MAX: u64 = 1 << 20;

/// Options have defaults; the customary names of tokens and priorities go under Tidegate's own.
const CUSTOMARY: [(&str, &str); 5] = [
    ("TS_TOKEN", "sources.tushare.token"),
    ("TUSHARE_TOKEN", "sources.tushare.token"),
    ("TUSHARE_PRIORITY", "sources.tushare.rank"),
    ("AKSHARE_PRIORITY", "sources.akshare.rank"),
    ("BAOSTOCK_PRIORITY", "sources.baostock.rank"),
];

/// The value of one option with its origin.
#[derive(Clone, Debug)]
pub struct Entry {
    value: Value,
    origin: Origin,
}

impl Entry {
    pub fn explain(&self, path: &str) -> Explained {
        let value = match (rule_of(path).is_some_and(Rule::is_secret), &self.value) {
            (false, value) => value.to_string(),
            (true, Value::Array(entries)) if !entries.is_empty() => format!("({} set)", entries.len()),
            (true, Value::String(text)) if !text.is_empty() => "(set)".to_owned(),
            (true, _) => "(not set)".to_owned(),
        };
        Explained { path: path.to_owned(), value, origin: self.origin.clone() }
    }
}

/// What is wrong, where, and what to do about it.
#[derive(Clone, Debug)]
pub struct Problem {
    origin: Origin,
    what: String,
    pub remedy: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)
    }
}

/// Collects entries and problems, layer by layer; later layers win.
pub struct Reader<'a> {
    home: Option<&'a str>,
    entries: BTreeMap<String, Entry>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Begins with the defaults.
    pub fn new(home: Option<&'a str>) -> Reader<'a> {
        let mut entries = BTreeMap::new();
        if let Ok(table) = DEFAULT_TEXT.parse::<toml::Table>() {
            flatten("", table, &mut entries);
        }
        Reader { home, entries, problems: Vec::new() }
    }

    pub fn finish(self) -> (BTreeMap<String, Entry>, Vec<Problem>) {
        (self.entries, self.problems)
    }

    /// Reads a configuration file; `Err` only when it cannot be read at all.
    pub fn read_file(&mut self, path: &Path) -> Result<()> {
        let text = read_text(path).map_err(|error| error.while_doing("reading the configuration"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (table, faults) = DeTable::parse_recoverable(text);
        let file = File { path, text };
        for fault in &faults {
            let origin = file.origin(fault.span().map_or(0, |span| span.start));
            let remedy = "write options as `key = value`, text in quotes".to_owned();
            self.problem(&origin, fault.message().replace('\n', ", "), Some(remedy));
        }
        if faults.is_empty() {
            self.read_table("", table.get_ref(), &file);
            self.problems.sort_by_key(|problem| problem.origin.line());
        }
        Ok(())
    }

    fn read_table(&mut self, section: &str, table: &DeTable<'_>, file: &File<'_>) {
        for (key, value) in table {
            let path = join(section, key.get_ref());
            let origin = file.origin(key.span().start);
            match (value.get_ref(), is_section(&path)) {
                (DeValue::Table(inner), true) => self.read_table(&path, inner, file),
                (_, true) => {
                    let what = format!("`{path}` is a section, not an option");
                    self.problem(
                        &origin,
                        what,
                        Some(format!("write [{path}] on a line of its own, its options below")),
                    );
                }
                (value, false) => match plain(value) {
                    Some(value) => self.set(&path, value, origin),
                    None => self.problem(&origin, format!("`{path}` is a number out of range"), None),
                },
            }
        }
    }

    /// Reads `TIDEGATE_<SECTION>__<KEY>` and the customary names.
    pub fn read_environment(&mut self, environment: &[(String, String)]) {
        for (variable, path) in CUSTOMARY {
            let found = environment.iter().find(|(name, value)| name == variable && !value.is_empty());
            if let Some((_, value)) = found {
                self.set_text(path, value, Origin::Environment { variable: variable.to_owned() });
            }
        }
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix("TIDEGATE_") else { continue };
            let origin = Origin::Environment { variable: variable.clone() };
            if name.contains("__") {
                self.set_text(&name.to_ascii_lowercase().replace("__", "."), value, origin);
            } else if let Some(meant) =
                RULES.iter().map(|(path, _)| path).find(|path| variable_of(path, "_") == *variable)
            {
                let remedy = format!("write {}", variable_of(meant, "__"));
                self.problem(&origin, "sections and keys are parted by two underscores".to_owned(), Some(remedy));
            }
        }
    }

    /// Reads one `--set section.key=value`.
    pub fn read_set(&mut self, text: &str) {
        match text.split_once('=') {
            Some((path, value)) => self.set_text(path.trim(), value.trim(), Origin::Set),
            None => {
                let remedy = Some("write --set section.key=value".to_owned());
                self.problem(&Origin::Set, "expected a key, `=` and a value".to_owned(), remedy);
            }
        }
    }

    /// Sets an option from text, read as the type of its default.
    fn set_text(&mut self, path: &str, text: &str, origin: Origin) {
        let value = match self.entries.get(path).map(|entry| &entry.value) {
            Some(Value::Integer(_)) => text.parse().map(Value::Integer).ok(),
            Some(Value::Float(_)) => text.parse().map(Value::Float).ok(),
            Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).ok(),
            Some(Value::Array(_)) => Some(list(text)),
            _ => None,
        };
        self.set(path, value.unwrap_or_else(|| Value::String(text.to_owned())), origin);
    }

    /// Sets an option after checking its name, type and rule.
    fn set(&mut self, path: &str, value: Value, origin: Origin) {
        let Some((rule, default)) = rule_of(path).zip(self.entries.get(path).map(|entry| &entry.value)) else {
            let remedy = nearest(path).map(|near| format!("did you mean `{near}`?"));
            return self.problem(&origin, format!("unknown option `{path}`"), remedy);
        };
        let value = match (default, value) {
            (Value::Float(_), Value::Integer(number)) => Value::Float(number as f64),
            (_, Value::String(text)) if rule.is_path() => Value::String(under_home(text, self.home)),
            (_, value) => value,
        };
        let expected = match default.same_type(&value) {
            true => rule.expectation(&value),
            false => Some(type_name(default).to_owned()),
        };
        match expected {
            None => drop(self.entries.insert(path.to_owned(), Entry { value, origin })),
            Some(expected) => {
                let found = if rule.is_secret() { String::new() } else { format!(", found {value}") };
                let remedy = format!("the default is `{path} = {default}`");
                self.problem(&origin, format!("`{path}` expects {expected}{found}"), Some(remedy));
            }
        }
    }

    fn problem(&mut self, origin: &Origin, what: String, remedy: Option<String>) {
        self.problems.push(Problem { origin: origin.clone(), what, remedy });
    }
}

/// A file that is being read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        Origin::File { path: self.path.to_owned(), line: before.filter(|byte| **byte == b'\n').count() + 1 }
    }
}

/// Reads a small text file.
pub fn read_text(path: &Path) -> Result<String> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no file {shown}"))
            .hint("check the path, or leave it out")
            .caused_by(cause),
        _ => Error::invalid(format!("{shown} cannot be opened")).hint("check its permissions").caused_by(cause),
    })?;
    let mut text = String::new();
    let unreadable = |cause| {
        Error::invalid(format!("{shown} cannot be read as text")).hint("it must be a UTF-8 text file").caused_by(cause)
    };
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::invalid(format!("{shown} is larger than 1 MB")).hint("is it the right file?"));
    }
    Ok(text)
}

/// The tables that the types of `Options` are read from.
pub fn nested(entries: BTreeMap<String, Entry>) -> Value {
    let mut root = toml::Table::new();
    for (path, entry) in entries {
        let mut parts: Vec<&str> = path.split('.').collect();
        let Some(key) = parts.pop() else { continue };
        let section = parts.iter().try_fold(&mut root, |table, part| {
            table.entry(*part).or_insert_with(|| Value::Table(toml::Table::new())).as_table_mut()
        });
        if let Some(section) = section {
            section.insert(key.to_owned(), entry.value);
        }
    }
    Value::Table(root)
}

fn flatten(section: &str, table: toml::Table, entries: &mut BTreeMap<String, Entry>) {
    for (key, value) in table {
        let path = join(section, &key);
        match value {
            Value::Table(inner) => flatten(&path, inner, entries),
            value => drop(entries.insert(path, Entry { value, origin: Origin::Default })),
        }
    }
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn is_section(path: &str) -> bool {
    let inside = |known: &str| known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    RULES.iter().any(|(known, _)| inside(known))
}

/// The known option or section with the most similar path.
fn nearest(path: &str) -> Option<&'static str> {
    let prefixes = |known: &'static str| known.match_indices('.').map(move |(at, _)| &known[..at]);
    let known = RULES.iter().flat_map(|(known, _)| prefixes(known).chain([*known]));
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned).unwrap_or_default();
    let likeness = |known: &str| {
        let whole = strsim::jaro_winkler(known, path);
        let same_key = if last(known) == last(path) { 0.95 } else { 0.0 };
        whole.max(same_key)
    };
    let scored = known.map(|known| (likeness(known), known)).filter(|(score, _)| *score > 0.8);
    scored.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, known)| known)
}

/// `sync.concurrency` as the name of a variable.
fn variable_of(path: &str, separator: &str) -> String {
    format!("TIDEGATE_{}", path.replace('.', separator).to_ascii_uppercase())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        _ => "text in quotes",
    }
}

/// A value without places; `None` for a number that fits no type.
fn plain(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(datetime) => Value::Datetime(*datetime),
        DeValue::Array(entries) => {
            Value::Array(entries.iter().map(|entry| plain(entry.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let inner = table.iter().map(|(key, value)| Some((key.get_ref().to_string(), plain(value.get_ref())?)));
            Value::Table(inner.collect::<Option<toml::Table>>()?)
        }
    })
}

/// A list on one line: `a,b` or nothing, or as in a file: `["a", "b"]`.
fn list(text: &str) -> Value {
    let as_in_a_file = || format!("list = {text}").parse::<toml::Table>().ok()?.remove("list");
    if let Some(list @ Value::Array(_)) = text.starts_with('[').then(as_in_a_file).flatten() {
        return list;
    }
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    Value::Array(entries.map(|entry| Value::String(entry.to_owned())).collect())
}

fn under_home(text: String, home: Option<&str>) -> String {
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(home).join(rest).to_string_lossy().into_owned(),
        _ => text,
    }
}

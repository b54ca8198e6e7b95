//! Mappings, made ready against the catalogue, and what they make of a message: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cell;
use super::document::{Document, Item, Node};
use super::inbound::{self, Ends, From, Gaps, Items, Mapping};
use super::path::{Path, Root};
use crate::catalog::Catalog;
use crate::model::{ColumnType, Dataset, Error, Instant, Message, Result};

/// A row as stores write it in JSON: texts by column.
pub type Row = Map<String, Value>;

/// What a message says about one row of a table.
#[derive(Clone, Debug)]
pub struct Mapped {
    pub dataset: Arc<Dataset>,
    /// The values of the table's key as one text.
    pub key: String,
    pub version: Option<u64>,
    /// The row ends: of `row` only the key counts.
    pub ends: bool,
    pub row: Row,
    pub items: Vec<Exploded>,
}

/// The rows of another table that a message says belong together.
#[derive(Clone, Debug)]
pub struct Exploded {
    pub dataset: Arc<Dataset>,
    /// What they have in common: columns and their values.
    pub of: Vec<(String, String)>,
    pub rows: Vec<Row>,
}

/// A mapping whose table and columns are known to exist.
#[derive(Clone, Debug)]
pub struct Ready {
    pub dataset: Arc<Dataset>,
    pub types: Vec<String>,
    pub version: Option<usize>,
    /// Columns that say when a row was taken over, not what it says.
    pub noted: Vec<usize>,
    pub gaps: Gaps,
    pub first: Option<u64>,
    columns: Columns,
    ends: Option<Ended>,
    items: Vec<ReadyItems>,
}

#[derive(Clone, Debug)]
struct Ended {
    types: Vec<String>,
    path: Option<Path>,
    values: Vec<String>,
}

#[derive(Clone, Debug)]
struct ReadyItems {
    path: Path,
    dataset: Arc<Dataset>,
    columns: Columns,
    /// Key columns that all items of a message share.
    of: Vec<usize>,
}

/// Where the columns of a table come from, by position.
type Columns = BTreeMap<usize, Taken>;

#[derive(Clone, Debug)]
struct Taken {
    path: Option<Path>,
    /// A constant, or what counts where the path leads nowhere.
    otherwise: Option<String>,
    json: bool,
    received: bool,
}

impl Taken {
    fn of(from: &From) -> Result<Taken> {
        let source = match from {
            From::Path(path) => inbound::Source { path: Some(path.clone()), ..Default::default() },
            From::Source(source) => source.clone(),
        };
        let given = [source.path.is_some(), source.value.is_some(), source.received];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(Error::invalid("takes one of path, value and received"));
        }
        if source.path.is_none() && (source.default.is_some() || source.json) {
            return Err(Error::invalid("has a default or json beside no path"));
        }
        let otherwise = source.value.as_ref().or(source.default.as_ref()).map(constant).transpose()?;
        let path = source.path.as_deref().map(Path::parse).transpose()?;
        Ok(Taken { path, otherwise, json: source.json, received: source.received })
    }

    fn is_of_item(&self) -> bool {
        self.path.as_ref().is_some_and(|path| matches!(path.root, Root::Item | Root::Index))
    }
}

fn constant(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(Error::invalid("has a value that is no text, number or truth value")),
    }
}

impl Ready {
    /// `Invalid` names what does not fit the table.
    pub fn of(mapping: &Mapping, catalog: &Catalog) -> Result<Ready> {
        inbound::check_types(&mapping.types)?;
        let dataset = catalog.get(&mapping.dataset)?.clone();
        let columns = ready_columns(&dataset, &mapping.columns)?;
        if let Some((at, _)) = columns.iter().find(|(_, taken)| taken.is_of_item()) {
            let column = &dataset.columns[*at].name;
            let error = Error::invalid(format!("column {column} of {} is taken from an item", dataset.name));
            return Err(error.at_field(format!("columns.{column}")).hint("items have columns of their own"));
        }
        let version = mapping.version.as_deref().map(|name| version_column(&dataset, &columns, name)).transpose()?;
        if version.is_none() && (mapping.gaps == Gaps::Fetch || mapping.first.is_some()) {
            let error = Error::invalid("gaps and first are about versions, and the mapping names no version");
            return Err(error.at_field("version").hint("name the column of the source's version"));
        }
        let items = mapping.items.iter().map(|items| ready_items(items, catalog)).collect::<Result<_>>()?;
        let ends = mapping.ends.as_ref().map(ended).transpose()?;
        let noted = columns.iter().filter(|(_, taken)| taken.received).map(|(at, _)| *at).collect();
        let (types, gaps, first) = (mapping.types.clone(), mapping.gaps, mapping.first);
        Ok(Ready { dataset, types, version, noted, gaps, first, columns, ends, items })
    }

    pub fn fits(&self, kind: &str) -> bool {
        self.types.iter().any(|pattern| inbound::fits(pattern, kind))
    }

    /// What a message says; the error names the column and the path, and never a value.
    pub fn map(&self, message: &Message, received_at: Instant, items_max: usize) -> Result<Mapped> {
        let document = Document::of(message)?;
        let ends = self.ends.as_ref().is_some_and(|ends| ends.apply(message, &document));
        let reading = Reading { dataset: &self.dataset, document: &document, received_at };
        let key_alone = |at: &usize| !ends || self.is_key(*at);
        let row = reading.row(&self.columns, None, key_alone)?;
        let key = key_of(&self.dataset, &row);
        let version = match self.version {
            Some(at) => Some(reading.version(at, &self.columns)?),
            None => None,
        };
        let mut items = Vec::with_capacity(self.items.len());
        for ready in &self.items {
            items.push(ready.explode(&document, received_at, ends, items_max)?);
        }
        Ok(Mapped { dataset: self.dataset.clone(), key, version, ends, row, items })
    }

    fn is_key(&self, at: usize) -> bool {
        self.dataset.key.contains(&self.dataset.columns[at].name)
    }

    /// The row's key from its text, as `tidegate inbound check` is given it.
    pub fn key_values(&self, key: &str) -> Result<Vec<(String, String)>> {
        let names = &self.dataset.key;
        let values = match &names[..] {
            [_] => vec![key.to_owned()],
            _ => serde_json::from_str::<Vec<String>>(key).unwrap_or_default(),
        };
        if values.len() != names.len() {
            let error =
                Error::invalid(format!("a key of {} is a JSON list of {} texts", self.dataset.name, names.len()));
            return Err(error.hint(format!("in the order {}", names.join(", "))));
        }
        Ok(names.iter().cloned().zip(values).collect())
    }
}

/// The values of the key as one text: the value itself, or a JSON list of several.
fn key_of(dataset: &Dataset, row: &Row) -> String {
    let values: Vec<&str> =
        dataset.key.iter().map(|name| row.get(name).and_then(Value::as_str).unwrap_or_default()).collect();
    match &values[..] {
        [one] => (*one).to_owned(),
        several => serde_json::json!(several).to_string(),
    }
}

impl Ended {
    fn apply(&self, message: &Message, document: &Document) -> bool {
        let by_type = self.types.iter().any(|pattern| inbound::fits(pattern, &message.kind));
        let found = self.path.as_ref().and_then(|path| document.get(path, None));
        let by_value = found.and_then(|node| node.plain().map(|text| self.values.iter().any(|value| *value == text)));
        by_type || by_value.unwrap_or(false)
    }
}

fn ended(ends: &Ends) -> Result<Ended> {
    if !ends.types.is_empty() {
        inbound::check_types(&ends.types)?;
    }
    if ends.path.is_some() == ends.values.is_empty() || (ends.path.is_none() && ends.types.is_empty()) {
        return Err(Error::invalid("ends names neither types, nor a path with its values").at_field("ends"));
    }
    let path = ends.path.as_deref().map(Path::parse).transpose()?;
    Ok(Ended { types: ends.types.clone(), path, values: ends.values.clone() })
}

fn ready_columns(dataset: &Dataset, columns: &BTreeMap<String, From>) -> Result<Columns> {
    let mut ready = Columns::new();
    for (name, from) in columns {
        let field = format!("columns.{name}");
        let Some(at) = dataset.column_index(name) else {
            let error = Error::invalid(format!("{} has no column {name:?}", dataset.name)).at_field(field);
            return Err(error.hint(format!("`tidegate datasets {}` lists them", dataset.name)));
        };
        let taken = Taken::of(from).map_err(|error| error.while_doing(format!("column {name}")).at_field(&field))?;
        let wrong_time = taken.received && dataset.columns[at].kind != ColumnType::Datetime;
        if wrong_time {
            let error = Error::invalid(format!("column {name} is no datetime")).at_field(field);
            return Err(error.hint("received is the second in which a message was taken in"));
        }
        if let Some(text) = &taken.otherwise {
            let fits = cell::cell(&dataset.columns[at], &Node::Text(text.clone()), false);
            fits.map_err(|why| Error::invalid(format!("the value of column {name} {why}")).at_field(field))?;
        }
        ready.insert(at, taken);
    }
    let missing = |(at, column): &(usize, &crate::model::Column)| {
        let needed = !column.nullable || dataset.key.contains(&column.name);
        needed && !ready.contains_key(at)
    };
    if let Some((_, column)) = dataset.columns.iter().enumerate().find(missing) {
        let error = Error::invalid(format!("column {} of {} comes from nowhere", column.name, dataset.name));
        return Err(error.at_field("columns").hint("it may not be missing: map it, or declare it nullable"));
    }
    Ok(ready)
}

fn version_column(dataset: &Dataset, columns: &Columns, name: &str) -> Result<usize> {
    let at = dataset.column_index(name);
    let mapped = at.filter(|at| columns.get(at).is_some_and(|taken| taken.path.is_some()));
    let whole = mapped
        .filter(|at| dataset.columns[*at].kind == ColumnType::Int && !dataset.key.contains(&dataset.columns[*at].name));
    whole.ok_or_else(|| {
        let error = Error::invalid(format!("version names {name:?}, which is no whole number that comes from a path"));
        error.at_field("version").hint("map a column of type int that is no part of the key")
    })
}

fn ready_items(items: &Items, catalog: &Catalog) -> Result<ReadyItems> {
    let dataset = catalog.get(&items.dataset)?.clone();
    let path = Path::parse(&items.path)?;
    let columns = ready_columns(&dataset, &items.columns).map_err(|error| error.while_doing("items"))?;
    let own = |at: &usize| columns.get(at).is_some_and(Taken::is_of_item);
    let (of_item, of): (Vec<usize>, Vec<usize>) = dataset.key_indices().into_iter().partition(own);
    if path.root != Root::Data || of_item.is_empty() || of.is_empty() {
        let error = Error::invalid(format!("the items of {} cannot be told apart", dataset.name)).at_field("items");
        return Err(error
            .hint("the path begins with data; of the key, something names the message's row and something the item"));
    }
    Ok(ReadyItems { path, dataset, columns, of })
}

impl ReadyItems {
    fn explode(&self, document: &Document, received_at: Instant, ends: bool, items_max: usize) -> Result<Exploded> {
        let reading = Reading { dataset: &self.dataset, document, received_at };
        let shared = reading.row(&self.columns, None, |at| self.of.contains(at))?;
        let name = |at: &usize| self.dataset.columns[*at].name.clone();
        let value = |name: &String| shared.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let of = self.of.iter().map(name).map(|name| (name.clone(), value(&name))).collect();
        let found = if ends { &[] } else { document.list(&self.path)? };
        if found.len() > items_max {
            let error =
                Error::invalid(format!("{} has {} items, at most {items_max} are read", self.path, found.len()));
            return Err(error.at_field(self.path.to_string()).hint("receive.items_max is the limit"));
        }
        let mut rows: Vec<Row> = Vec::with_capacity(found.len());
        let mut keys = std::collections::BTreeSet::new();
        for (index, item) in found.iter().enumerate() {
            let row = reading.row(&self.columns, Some((item, index + 1)), |_| true)?;
            if !keys.insert(key_of(&self.dataset, &row)) {
                let error = Error::invalid(format!("item {} of {} has the key of another one", index + 1, self.path));
                return Err(error.at_field(format!("{}[{index}]", self.path)));
            }
            rows.push(row);
        }
        Ok(Exploded { dataset: self.dataset.clone(), of, rows })
    }
}

/// Reading one message for one table.
struct Reading<'d, 'a> {
    dataset: &'d Dataset,
    document: &'d Document<'a>,
    received_at: Instant,
}

impl<'d, 'a> Reading<'d, 'a> {
    fn row(&self, columns: &Columns, item: Item<'d, 'a>, wanted: impl Fn(&usize) -> bool) -> Result<Row> {
        let mut row = Row::new();
        for (at, taken) in columns.iter().filter(|(at, _)| wanted(at)) {
            let text = self.value(*at, taken, item)?;
            row.insert(self.dataset.columns[*at].name.clone(), text.map_or(Value::Null, Value::String));
        }
        Ok(row)
    }

    fn value(&self, at: usize, taken: &Taken, item: Item<'d, 'a>) -> Result<Option<String>> {
        let column = &self.dataset.columns[at];
        if taken.received {
            return Ok(Some(Instant(self.received_at.0.div_euclid(1_000_000) * 1_000_000).to_string()));
        }
        let place = || taken.path.as_ref().map_or_else(|| "the mapping".to_owned(), |path| shown(path, item));
        let found = taken.path.as_ref().and_then(|path| self.document.get(path, item));
        let found = found.filter(|node| !node.is_null());
        let read = match (&found, &taken.otherwise) {
            (Some(node), _) => cell::cell(column, node, taken.json),
            (None, Some(text)) => cell::cell(column, &Node::Text(text.clone()), false),
            (None, None) => Ok(None),
        };
        let value = read.map_err(|why| {
            Error::invalid(format!("column {}: what stands at {} {why}", column.name, place())).at_field(place())
        })?;
        let needed = !column.nullable || self.dataset.key.contains(&column.name);
        match (value, needed) {
            (None, true) => {
                let message =
                    format!("column {}: nothing stands at {}, and it may not be missing", column.name, place());
                Err(Error::invalid(message).at_field(place()))
            }
            (Some(text), true) if text.is_empty() && self.dataset.key.contains(&column.name) => {
                Err(Error::invalid(format!("column {}: an empty text at {} names nothing", column.name, place()))
                    .at_field(place()))
            }
            (value, _) => Ok(value),
        }
    }

    fn version(&self, at: usize, columns: &Columns) -> Result<u64> {
        let text = columns.get(&at).map(|taken| self.value(at, taken, None)).transpose()?.flatten();
        let number = text.and_then(|text| text.parse::<i64>().ok()).filter(|number| *number > 0);
        number.map(|number| number as u64).ok_or_else(|| {
            let column = &self.dataset.columns[at].name;
            Error::invalid(format!("column {column}: a version is a whole number from 1")).at_field(column.as_str())
        })
    }
}

/// A path with the number of its item.
fn shown(path: &Path, item: Item) -> String {
    match item {
        Some((_, index)) if matches!(path.root, Root::Item | Root::Index) => format!("{path} of item {index}"),
        _ => path.to_string(),
    }
}

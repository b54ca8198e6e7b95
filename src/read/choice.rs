//! Which rows and columns of a table: what people and programs choose, as a query.

use crate::model::{Dataset, Day, Error, Filter, Order, Query, Result, Securities, SecurityList};

/// What is chosen, in the words of whoever chooses. Empty parts choose everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Codes as people write them.
    pub codes: Vec<String>,
    /// Days as people write them.
    pub from: Option<String>,
    pub to: Option<String>,
    pub filters: Vec<Wanted>,
    /// In this order.
    pub columns: Vec<String>,
    /// Columns to order by; a leading `-` is descending.
    pub order: Vec<String>,
    pub limit: Option<u64>,
    pub offset: u64,
}

/// What a column has to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    Among { column: String, values: Vec<String> },
    Between { column: String, from: Option<String>, to: Option<String> },
}

/// Values that one filter may name.
const VALUES_MAX: usize = 10_000;

impl Choice {
    /// The question to a store. Columns that the table has not are `NotFound`, with the nearest name.
    pub fn query(&self, dataset: &Dataset, known: &SecurityList) -> Result<Query> {
        let mut query = Query { limit: self.limit, offset: self.offset, ..Query::all(&dataset.name) };
        if let Securities::Some(codes) = known.chosen_by(&self.codes)? {
            let column = dataset.security.clone().ok_or_else(|| not_kept_by(dataset, "securities"))?;
            query.filters.push(Filter::In { column, values: codes.iter().map(|code| code.to_string()).collect() });
        }
        let (from, to) = (day(self.from.as_deref(), "from")?, day(self.to.as_deref(), "to")?);
        if from.is_some() || to.is_some() {
            let column = dataset.time.clone().ok_or_else(|| not_kept_by(dataset, "days"))?;
            query.filters.push(Filter::Between { column, from, to });
        }
        for wanted in &self.filters {
            query.filters.push(wanted.filter(dataset)?);
        }
        query.columns = self.columns.iter().map(|name| column(dataset, name)).collect::<Result<_>>()?;
        query.order = self.order.iter().map(|name| order(dataset, name)).collect::<Result<_>>()?;
        Ok(query)
    }
}

impl Wanted {
    fn filter(&self, dataset: &Dataset) -> Result<Filter> {
        match self {
            Wanted::Among { values, .. } if values.len() > VALUES_MAX => {
                let message = format!("{} values are more than a filter may name", values.len());
                Err(Error::invalid(message).hint(format!("name at most {VALUES_MAX}, or a range")))
            }
            Wanted::Among { column: name, values } => {
                Ok(Filter::In { column: column(dataset, name)?, values: values.clone() })
            }
            Wanted::Between { column: name, from, to } => {
                Ok(Filter::Between { column: column(dataset, name)?, from: from.clone(), to: to.clone() })
            }
        }
    }
}

fn not_kept_by(dataset: &Dataset, what: &str) -> Error {
    let message = format!("{} is not kept by {what}, so they cannot choose from it", dataset.name);
    Error::invalid(message).hint("choose by the values of a column instead: --where COLUMN=VALUE, where=COLUMN:VALUE")
}

/// A day in its canonical form; `name` is what it was given as.
pub fn day(text: Option<&str>, name: &str) -> Result<Option<String>> {
    let parse = |text| Day::parse(text).map(|day| day.to_string()).map_err(|error| error.while_doing(name));
    text.map(parse).transpose()
}

fn column(dataset: &Dataset, name: &str) -> Result<String> {
    let found = dataset.column(name).map(|column| column.name.clone());
    found.ok_or_else(|| {
        let error = Error::not_found(format!("{} has no column {name:?}", dataset.name));
        let likeness = |known: &str| strsim::jaro_winkler(known, name);
        let names = dataset.columns.iter().map(|column| column.name.as_str());
        let closest = names.max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        let near = closest.map(|name| format!("did you mean {name}? ")).unwrap_or_default();
        error.hint(format!("{near}`tidegate datasets {}` lists them", dataset.name))
    })
}

fn order(dataset: &Dataset, name: &str) -> Result<Order> {
    let descending = name.starts_with('-');
    Ok(Order { column: column(dataset, name.strip_prefix('-').unwrap_or(name))?, descending })
}

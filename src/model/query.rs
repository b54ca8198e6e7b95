//! A question to a store: which rows of a dataset, which columns, in which order.

use super::area::{Area, Securities};
use super::clock::Instant;
use super::dataset::Dataset;

/// Rows for which every filter holds, in `order`, after `offset`, at most `limit`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    pub dataset: String,
    /// Empty: all columns of the catalogue, in its order.
    pub columns: Vec<String>,
    pub filters: Vec<Filter>,
    /// Empty: the order of the key.
    pub order: Vec<Order>,
    pub limit: Option<u64>,
    pub offset: u64,
    /// The rows as they were believed at this instant: those of commits up to then that none of them superseded or
    /// withdrew. `None`: as believed now.
    pub as_of: Option<Instant>,
}

/// Values are canonical text: `2024-01-31`, `000001.SZ`, `12.5`.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// The column equals one of the values.
    In { column: String, values: Vec<String> },
    /// The column lies between the bounds, both included.
    Between { column: String, from: Option<String>, to: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub column: String,
    pub descending: bool,
}

impl Query {
    pub fn all(dataset: impl Into<String>) -> Query {
        Query { dataset: dataset.into(), ..Query::default() }
    }

    /// Every row of `area`.
    pub fn area(dataset: &Dataset, area: &Area) -> Query {
        let mut query = Query::all(&dataset.name);
        if let (Some(column), Securities::Some(codes)) = (&dataset.security, &area.securities) {
            let values = codes.iter().map(|code| code.to_string()).collect();
            query.filters.push(Filter::In { column: column.clone(), values });
        }
        if let (Some(column), false) = (&dataset.time, area.span.is_all()) {
            let (from, to) = (area.span.from.to_string(), area.span.to.to_string());
            query.filters.push(Filter::Between { column: column.clone(), from: Some(from), to: Some(to) });
        }
        query
    }
}

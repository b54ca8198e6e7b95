//! How a table of a database (or a file) is read into a dataset: the `[database]` section of a catalogue file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dataset::{Column, Dataset};

/// Where the rows are and how they are kept in step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The name of a connection under `sources.database.connections`; addresses and passwords are configured there.
    pub connection: String,
    /// The table, with its schema where it has one (`sales.contracts`), or the file's name.
    #[serde(default)]
    pub table: Option<String>,
    /// A query in place of a table.
    #[serde(default)]
    pub query: Option<String>,
    /// Column of the dataset -> column of the table, where the names differ.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The column of the dataset that grows whenever a row is inserted or updated: strategy `watermark`.
    #[serde(default)]
    pub watermark: Option<String>,
    /// How far back of the last watermark rows are read again: transactions commit later than they take their time.
    #[serde(default = "a_minute")]
    pub watermark_overlap_seconds: u32,
}

fn a_minute() -> u32 {
    60
}

impl Database {
    /// The name under which the connection is a source.
    pub fn source(&self) -> String {
        format!("database.{}", self.connection)
    }

    /// What `column` is called in the table.
    pub fn column<'a>(&'a self, column: &'a Column) -> &'a str {
        self.columns.get(&column.name).map_or(column.name.as_str(), String::as_str)
    }

    /// The table or "a query", for people.
    pub fn place(&self) -> &str {
        self.table.as_deref().unwrap_or("the query")
    }

    /// Position of the watermark column.
    pub fn watermark_index(&self, dataset: &Dataset) -> Option<usize> {
        dataset.column_index(self.watermark.as_deref()?)
    }
}

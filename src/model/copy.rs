//! A whole store as pieces: every ledger table and every row with its number, in words that all stores understand.
//!
//! A copy is no new fact: it says again what was committed elsewhere, with the same numbers and times, so that rows,
//! revisions and events still point at the commits that made them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field as SchemaField, Schema, SchemaRef};

use super::clock::Instant;
use super::dataset::Dataset;
use super::digest::{self, Digest};
use super::error::{Error, Result};

/// What a column of the ledger holds. Whatever a store keeps it as, a piece carries one text for one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
    /// `YYYY-MM-DD`, or nothing.
    Day,
    /// To the millisecond, with the Beijing offset.
    Instant,
    /// Without blanks, keys sorted.
    Json,
    /// In hex.
    Bytes,
}

/// A table of the ledger.
#[derive(Debug, PartialEq, Eq)]
pub struct LedgerTable {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
    /// How many of the columns are the key; the tables are copied in its order.
    pub key: usize,
}

/// The tables of the ledger that a copy carries. Not among them: what a store writes by itself about its own shape
/// (`_migration`, `_column`), and what is over in minutes (`_place`, `_duty`, and `_token` of PostgreSQL).
pub const LEDGER: &[LedgerTable] = &{
    use Kind::*;
    [
        LedgerTable {
            name: "_commit",
            key: 1,
            columns: &[
                ("seq", Int),
                ("at", Instant),
                ("task", Int),
                ("dataset", Text),
                ("source", Text),
                ("rank", Int),
                ("security", Text),
                ("from_day", Day),
                ("to_day", Day),
                ("fetched_at", Instant),
                ("inserted", Int),
                ("updated", Int),
                ("unchanged", Int),
                ("withdrawn", Int),
                ("quarantined", Int),
                ("conflicting", Int),
                ("lacks", Text),
            ],
        },
        LedgerTable {
            name: "_claim",
            key: 3,
            columns: &[
                ("dataset", Text),
                ("security", Text),
                ("from_day", Day),
                ("to_day", Day),
                ("evidence", Text),
                ("source", Text),
                ("rows", Int),
                ("at", Instant),
                ("stale_at", Instant),
                ("lacks", Text),
            ],
        },
        LedgerTable { name: "_rows_by_day", key: 2, columns: &[("dataset", Text), ("day", Day), ("rows", Int)] },
        LedgerTable {
            name: "_task",
            key: 1,
            columns: &[
                ("id", Int),
                ("dataset", Text),
                ("request", Json),
                ("state", Text),
                ("outcome", Text),
                ("fence", Int),
                ("created_at", Instant),
                ("started_at", Instant),
                ("finished_at", Instant),
                ("totals", Json),
                ("note", Text),
                ("worker", Text),
                ("lease_until", Instant),
            ],
        },
        LedgerTable {
            name: "_failure",
            key: 1,
            columns: &[
                ("id", Int),
                ("dataset", Text),
                ("security", Text),
                ("from_day", Day),
                ("to_day", Day),
                ("source", Text),
                ("task", Int),
                ("kind", Text),
                ("message", Text),
                ("attempts", Int),
                ("attempts_max", Int),
                ("next_attempt_at", Instant),
                ("first_at", Instant),
                ("last_at", Instant),
                ("resolved_at", Instant),
                ("resolution", Text),
            ],
        },
        LedgerTable {
            name: "_event",
            key: 1,
            columns: &[("id", Int), ("at", Instant), ("kind", Text), ("dataset", Text), ("task", Int), ("data", Json)],
        },
        LedgerTable {
            name: "_quarantine",
            key: 1,
            columns: &[
                ("id", Int),
                ("dataset", Text),
                ("at", Instant),
                ("source", Text),
                ("seq", Int),
                ("rule", Text),
                ("reason", Text),
                ("row", Json),
            ],
        },
        LedgerTable {
            name: "_quota",
            key: 3,
            columns: &[("source", Text), ("day", Day), ("api", Text), ("calls", Int)],
        },
        LedgerTable {
            name: "_conflict",
            key: 1,
            columns: &[
                ("id", Int),
                ("dataset", Text),
                ("key", Json),
                ("source", Text),
                ("rank", Int),
                ("seq", Int),
                ("at", Instant),
                ("stored", Json),
                ("offered", Json),
                ("resolved_at", Instant),
                ("resolution", Text),
            ],
        },
        LedgerTable {
            name: "_source_health",
            key: 2,
            columns: &[
                ("source", Text),
                ("hour", Instant),
                ("calls", Int),
                ("failed", Int),
                ("wrong", Int),
                ("network_ms", Int),
                ("last_error", Text),
                ("last_error_at", Instant),
            ],
        },
        LedgerTable {
            name: "_run",
            key: 1,
            columns: &[
                ("id", Int),
                ("job", Text),
                ("due_at", Instant),
                ("slot", Text),
                ("asked_by", Text),
                ("reason", Text),
                ("work", Json),
                ("state", Text),
                ("attempt", Int),
                ("not_before", Instant),
                ("created_at", Instant),
                ("started_at", Instant),
                ("finished_at", Instant),
                ("tasks", Json),
                ("totals", Json),
                ("note", Text),
                ("fence", Int),
                ("worker", Text),
                ("lease_until", Instant),
            ],
        },
        LedgerTable {
            name: "_definition",
            key: 2,
            columns: &[("kind", Text), ("name", Text), ("body", Json), ("revision", Int), ("at", Instant)],
        },
        LedgerTable {
            name: "_journal",
            key: 1,
            columns: &[
                ("id", Int),
                ("at", Instant),
                ("journal", Text),
                ("level", Text),
                ("who", Text),
                ("target", Text),
                ("text", Text),
                ("task", Int),
                ("data", Json),
            ],
        },
        LedgerTable {
            name: "_message",
            key: 1,
            columns: &[
                ("event", Int),
                ("at", Instant),
                ("id", Text),
                ("source", Text),
                ("kind", Text),
                ("time", Text),
                ("subject", Text),
                ("key", Text),
                ("schema", Text),
                ("content_type", Text),
                ("extensions", Json),
                ("form", Text),
                ("content", Bytes),
                ("digest", Text),
            ],
        },
        LedgerTable {
            name: "_received",
            key: 3,
            columns: &[
                ("inbound", Text),
                ("source", Text),
                ("id", Text),
                ("at", Instant),
                ("dataset", Text),
                ("key", Text),
                ("version", Int),
                ("state", Text),
                ("attempts", Int),
                ("due_at", Instant),
                ("note", Text),
            ],
        },
        LedgerTable { name: "_series", key: 1, columns: &[("name", Text), ("last", Int)] },
        LedgerTable { name: "_cursor", key: 1, columns: &[("name", Text), ("event", Int)] },
        LedgerTable { name: "_stand", key: 1, columns: &[("name", Text), ("place", Text), ("at", Instant)] },
        LedgerTable {
            name: "_delivery",
            key: 2,
            columns: &[
                ("subscription", Text),
                ("event", Int),
                ("key", Text),
                ("state", Text),
                ("due_at", Instant),
                ("attempts", Int),
                ("by", Text),
            ],
        },
        LedgerTable {
            name: "_attempt",
            key: 1,
            columns: &[
                ("id", Int),
                ("subscription", Text),
                ("event", Int),
                ("request", Text),
                ("number", Int),
                ("at", Instant),
                ("took_ms", Int),
                ("outcome", Text),
                ("status", Int),
                ("error", Text),
                ("detail", Text),
                ("delay_ms", Int),
                ("by", Text),
            ],
        },
        LedgerTable {
            name: "_reconciliation",
            key: 1,
            columns: &[
                ("id", Int),
                ("name", Text),
                ("outcome", Text),
                ("started_at", Instant),
                ("finished_at", Instant),
                ("wanted", Json),
                ("counts", Json),
                ("columns", Json),
                ("key_columns", Int),
                ("note", Text),
            ],
        },
        LedgerTable {
            name: "_difference",
            key: 2,
            columns: &[
                ("report", Int),
                ("number", Int),
                ("kind", Text),
                ("key", Json),
                ("source", Json),
                ("target", Json),
                ("fields", Json),
                ("cause", Text),
                ("event", Int),
                ("delivery", Text),
                ("repaired_at", Instant),
                ("attempt", Int),
            ],
        },
    ]
};

impl LedgerTable {
    /// Names of the columns, parted by commas.
    pub fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Names of the key's columns, parted by commas.
    pub fn key_names(&self) -> String {
        self.columns[..self.key].iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// One value of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Int(i64),
    Text(String),
}

/// One row of a ledger table, in the order of its columns.
pub type Record = Vec<Option<Field>>;

/// Which rows of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is believed; behind the dataset's columns stands `_seq`.
    Current,
    /// What was believed; behind the dataset's columns stand `_seq`, `_ended_seq` and `_ended`.
    Revisions,
}

/// A part of a store, small enough to be held in memory.
#[derive(Clone, Debug)]
pub enum Piece {
    Records { table: &'static LedgerTable, records: Vec<Record> },
    Rows { dataset: Arc<Dataset>, part: Part, batch: RecordBatch },
}

impl Piece {
    /// The name of the table that it belongs to.
    pub fn table(&self) -> String {
        match self {
            Piece::Records { table, .. } => table.name.to_string(),
            Piece::Rows { dataset, part: Part::Current, .. } => dataset.name.clone(),
            Piece::Rows { dataset, part: Part::Revisions, .. } => format!("{}_revision", dataset.name),
        }
    }

    pub fn rows(&self) -> usize {
        match self {
            Piece::Records { records, .. } => records.len(),
            Piece::Rows { batch, .. } => batch.num_rows(),
        }
    }
}

/// The columns of a batch of rows that are copied.
pub fn schema(dataset: &Dataset, part: Part) -> SchemaRef {
    let mut fields: Vec<_> = dataset.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(SchemaField::new("_seq", DataType::Int64, false)));
    if part == Part::Revisions {
        fields.push(Arc::new(SchemaField::new("_ended_seq", DataType::Int64, false)));
        fields.push(Arc::new(SchemaField::new("_ended", DataType::Utf8, false)));
    }
    Arc::new(Schema::new(fields))
}

/// The one text of a value of the ledger; an error for text that is none of its kind.
pub fn canonical(kind: Kind, text: &str) -> Result<String> {
    let unreadable = |what: &str| {
        let error = Error::storage(format!("the ledger holds {what} that cannot be read"));
        error.hint("another program changed it; restore the store from a copy")
    };
    Ok(match kind {
        Kind::Int | Kind::Text | Kind::Day | Kind::Bytes => text.to_string(),
        Kind::Instant => Instant::parse(text).ok_or_else(|| unreadable("a time"))?.to_string(),
        Kind::Json => {
            let value: serde_json::Value = serde_json::from_str(text).map_err(|_| unreadable("a text"))?;
            value.to_string()
        }
    })
}

/// Counts and digests of every table that pieces belong to; in whatever order the rows come, equal stores have equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests(pub BTreeMap<String, Digest>);

impl Digests {
    pub fn add(&mut self, piece: &Piece) {
        let digest = self.0.entry(piece.table()).or_default();
        let mut text = Vec::new();
        match piece {
            Piece::Records { records, .. } => {
                for record in records {
                    text.clear();
                    record.iter().for_each(|field| push_field(&mut text, field.as_ref()));
                    digest.add(&text);
                }
            }
            Piece::Rows { dataset, batch, .. } => {
                for row in 0..batch.num_rows() {
                    digest::write_row(dataset, batch, row, &mut text);
                    for extra in &batch.columns()[dataset.columns.len()..] {
                        push_field(&mut text, extra_field(extra, row).as_ref());
                    }
                    digest.add(&text);
                }
            }
        }
    }
}

fn push_field(text: &mut Vec<u8>, field: Option<&Field>) {
    match field {
        None => digest::push_value(text, None),
        Some(Field::Int(value)) => digest::push_value(text, Some(value.to_string().as_bytes())),
        Some(Field::Text(value)) => digest::push_value(text, Some(value.as_bytes())),
    }
}

fn extra_field(column: &dyn Array, row: usize) -> Option<Field> {
    match column.as_primitive_opt::<Int64Type>() {
        Some(numbers) => Some(Field::Int(numbers.value(row))),
        None => column.as_string_opt::<i32>().map(|texts| Field::Text(texts.value(row).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(rows: &[(&str, i64)]) -> Piece {
        let record = |(day, calls): &(&str, i64)| {
            let text = |text: &str| Some(Field::Text(text.to_string()));
            vec![text("tushare"), text(day), text("daily"), Some(Field::Int(*calls))]
        };
        let table = LEDGER.iter().find(|table| table.name == "_quota").unwrap();
        Piece::Records { table, records: rows.iter().map(record).collect() }
    }

    fn digests(pieces: &[Piece]) -> Digests {
        let mut digests = Digests::default();
        pieces.iter().for_each(|piece| digests.add(piece));
        digests
    }

    #[test]
    fn digests_do_not_depend_on_order_or_parts_and_see_every_difference() {
        let (one, two) = (("2024-01-02", 5), ("2024-01-03", 7));
        let whole = digests(&[records(&[one, two])]);
        assert_eq!(whole, digests(&[records(&[two]), records(&[one])]));
        for other in [vec![one], vec![one, two, two], vec![one, ("2024-01-03", 8)], vec![one, ("2024-01-04", 7)]] {
            assert_ne!(whole, digests(&[records(&other)]), "{other:?}");
        }
    }

    #[test]
    fn times_and_json_have_one_text_and_what_is_neither_is_refused() {
        for (kind, text, expected) in [
            (Kind::Instant, "2024-01-31T10:00:00Z", "2024-01-31T18:00:00+08:00"),
            (Kind::Instant, "2024-01-31T18:00:00.125999+08:00", "2024-01-31T18:00:00.125+08:00"),
            (Kind::Json, "{ \"b\": 1, \"a\": [1.50] }", "{\"a\":[1.5],\"b\":1}"),
            (Kind::Text, " as it is ", " as it is "),
            (Kind::Day, "", ""),
        ] {
            assert_eq!(canonical(kind, text).unwrap(), expected);
        }
        assert!(canonical(Kind::Instant, "yesterday").is_err() && canonical(Kind::Json, "{").is_err());
    }
}

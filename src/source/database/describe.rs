//! A catalogue file for a table that exists: columns, types and key as the database declares them.

use std::fmt::Write;

use crate::model::{Error, Result};

/// A column as its table declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    /// The type of a catalogue column.
    pub kind: &'static str,
    pub scale: u8,
    pub digits: u8,
    pub nullable: bool,
    /// Place in the primary key, from 1; 0 when it is not part of it.
    pub place: u32,
}

impl Declared {
    /// `declared` is the type as the database writes it: `numeric(18,4)`, `timestamp with time zone`, `INTEGER`.
    pub(super) fn new(name: String, declared: &str, nullable: bool, place: u32) -> Declared {
        let declared = declared.to_ascii_lowercase();
        let (kind, digits, scale) = match declared.split_once('(').map_or(&*declared, |(word, _)| word).trim() {
            "smallint" | "integer" | "bigint" | "int" | "int2" | "int4" | "int8" | "boolean" | "oid" => ("int", 15, 0),
            "numeric" | "decimal" => {
                let (digits, scale) = figures(&declared).unwrap_or((38, 10));
                ("decimal", digits, scale)
            }
            "real" | "double precision" | "double" | "float" | "float4" | "float8" => ("float", 15, 0),
            "date" => ("date", 15, 0),
            "datetime" | "timestamp" | "timestamp without time zone" | "timestamp with time zone" | "timestamptz" => {
                ("datetime", 15, 0)
            }
            _ => ("text", 15, 0),
        };
        Declared { name, kind, digits, scale, nullable, place }
    }
}

/// `numeric(18,4)` as 18 and 4, within what a catalogue column holds.
fn figures(declared: &str) -> Option<(u8, u8)> {
    let inside = declared.split_once('(')?.1.split_once(')')?.0;
    let (digits, scale) = inside.split_once(',').unwrap_or((inside, "0"));
    let (digits, scale) = (digits.trim().parse().ok()?, scale.trim().parse().ok()?);
    (digits <= 38 && scale <= 18).then_some((digits, scale))
}

/// A catalogue file for `table` of the connection, compared by hash. `Invalid` for a table without a primary key.
pub fn catalogue_file(connection: &str, table: &str, columns: &[Declared]) -> Result<String> {
    let mut key: Vec<&Declared> = columns.iter().filter(|column| column.place > 0).collect();
    key.sort_by_key(|column| column.place);
    if key.is_empty() {
        let message = format!("{table} has no primary key, so its rows cannot be told apart");
        return Err(Error::invalid(message).hint("add one, or write a catalogue file with a key that is unique"));
    }
    let last = table.rsplit('.').next().unwrap_or(table);
    let name = column_name(last);
    let key: Vec<String> = key.iter().map(|column| format!("{:?}", column_name(&column.name))).collect();
    let mut text = format!(
        "name = \"{name}\"\ntitle = \"{last}\"\ntitle_zh = \"{last}\"\nabout = \"Kept in step with {table} of {connection}.\"\n\n\
         key = [{}]\nuniverse = \"market\"\nshape = \"whole\"\n\n\
         publish.at = \"00:00\"\npublish.settle_days = 0\npublish.refresh_hours = 1\n\n\
         policy.mode = \"incremental\"\npolicy.strategy = \"hash\"\npolicy.schedule = \"*/5 * * * *\"\npolicy.batch = 5000\npolicy.retries = 3\n\
         policy.conflict = \"replace\"\n\n\
         [database]\nconnection = \"{connection}\"\ntable = \"{table}\"\n",
        key.join(", ")
    );
    let renamed = columns.iter().filter(|column| column_name(&column.name) != column.name);
    for column in renamed {
        line(&mut text, &format!("columns.{} = {:?}", column_name(&column.name), column.name));
    }
    for column in columns {
        let name = column_name(&column.name);
        line(&mut text, &format!("\n[[columns]]\nname = \"{name}\"\ntype = \"{}\"", column.kind));
        if column.kind == "decimal" {
            line(&mut text, &format!("scale = {}\ndigits = {}", column.scale, column.digits));
        }
        if column.nullable {
            line(&mut text, "nullable = true");
        }
        let unit = if matches!(column.kind, "int" | "decimal" | "float") { "number" } else { column.kind };
        line(&mut text, &format!("unit = \"{unit}\"\nmeaning = \"{name}\"\nmeaning_zh = \"{name}\""));
    }
    Ok(text)
}

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{text}");
}

/// A name that a catalogue column may have.
fn column_name(name: &str) -> String {
    let fits = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let plain: String =
        name.to_lowercase().chars().map(|character| if fits(character) { character } else { '_' }).collect();
    match plain.starts_with(|character: char| character.is_ascii_lowercase()) {
        true => plain,
        false => format!("c{plain}"),
    }
}

//! Creating and widening the data tables: `daily`, `daily_revision` and the view `daily_with_source`.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::cells::Kind;
use super::fault::Step;
use super::table::{Table, quoted, revision_name};
use crate::model::Error;

/// Brings the tables of these datasets to what the catalogue says, in one transaction; only reads when they are.
pub(super) fn prepare(connection: &mut Connection, tables: &[Table]) -> Step<()> {
    let mut pending = Vec::new();
    for table in tables {
        pending.extend(statements(connection, table)?);
    }
    if pending.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for table in tables {
        for sql in statements(&transaction, table)? {
            transaction.execute_batch(&sql)?;
        }
        record_columns(&transaction, table)?;
    }
    Ok(transaction.commit()?)
}

/// What has to be done for one table.
fn statements(connection: &Connection, table: &Table) -> Step<Vec<String>> {
    let recorded = recorded_columns(connection, table.name())?;
    let view = create_view(table);
    if recorded.is_empty() {
        let mut sql = create_table(table);
        sql.extend(drop_and_create(view, table));
        return Ok(sql);
    }
    let added = added_columns(connection, table, &recorded)?;
    let mut sql: Vec<String> = added.iter().flat_map(|index| add_column(table, *index)).collect();
    let stored = "select sql from sqlite_master where type = 'view' and name = ?1";
    let name = format!("{}_with_source", table.name());
    let stored: Option<String> = connection.query_row(stored, [name], |row| row.get(0)).optional()?;
    if !sql.is_empty() || stored.as_deref() != Some(view.as_str()) || widened(table, &recorded) {
        sql.extend(drop_and_create(view, table));
    }
    Ok(sql)
}

type Recorded = BTreeMap<String, (String, i8)>;

fn recorded_columns(connection: &Connection, dataset: &str) -> Step<Recorded> {
    let mut statement = connection.prepare_cached("select name, type, scale from _column where dataset = ?1")?;
    let rows = statement.query_map([dataset], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn record_columns(connection: &Connection, table: &Table) -> Step<()> {
    let sql = "insert or replace into _column (dataset, name, type, scale) values (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare_cached(sql)?;
    for (column, kind) in table.dataset.columns.iter().zip(&table.kinds) {
        statement.execute((table.name(), &column.name, kind.name(), kind.scale()))?;
    }
    Ok(())
}

fn widened(table: &Table, recorded: &Recorded) -> bool {
    let scale_of = |name: &str| recorded.get(name).map(|(_, scale)| *scale);
    table.dataset.columns.iter().zip(&table.kinds).any(|(column, kind)| scale_of(&column.name) != Some(kind.scale()))
}

/// Positions of the columns that the stored table lacks; what cannot be widened is a conflict.
fn added_columns(connection: &Connection, table: &Table, recorded: &Recorded) -> Step<Vec<usize>> {
    let name = table.name();
    if stored_key(connection, name)? != table.dataset.key {
        return Err(conflict(name, "key").into());
    }
    let mut added = Vec::new();
    for (index, (column, kind)) in table.dataset.columns.iter().zip(&table.kinds).enumerate() {
        match recorded.get(&column.name) {
            Some((kind_name, scale)) if kind_name == kind.name() && *scale <= kind.scale() => {}
            Some(_) => return Err(conflict(name, &format!("type of column {}", column.name)).into()),
            None if !column.nullable && table.holds_rows(connection, &crate::model::Area::whole())? => {
                let error = Error::conflict(format!("column {} of {name} is new, but may not be missing", column.name));
                return Err(error.hint("declare it `nullable = true`: the rows stored before do not have it").into());
            }
            None => added.push(index),
        }
    }
    Ok(added)
}

fn conflict(dataset: &str, what: &str) -> Error {
    let error = Error::conflict(format!("the {what} of the stored table {dataset} differs from the catalogue"));
    error.hint("export the table, and import it into a new store; or give the dataset another name")
}

fn stored_key(connection: &Connection, dataset: &str) -> Step<Vec<String>> {
    let mut statement = connection.prepare("select name from pragma_table_info(?1) where pk > 0 order by pk")?;
    let names = statement.query_map([dataset], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

fn column_lines(table: &Table) -> String {
    let line = |(index, kind): (usize, &Kind)| {
        let required = if table.key.contains(&index) { " not null" } else { "" };
        format!("    {} {}{required},\n", quoted(&table.dataset.columns[index].name), kind.declared())
    };
    table.kinds.iter().enumerate().map(line).collect()
}

fn key_list(table: &Table) -> String {
    table.dataset.key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

fn create_table(table: &Table) -> Vec<String> {
    let (name, revision) = (table.name(), revision_name(table.name()));
    let (columns, key) = (column_lines(table), key_list(table));
    let mut sql = vec![
        format!(
            "create table {} (\n{columns}    _seq integer not null,\n    primary key ({key})\n) without rowid",
            quoted(name)
        ),
        format!(
            "create table {} (\n{columns}    _seq integer not null,\n    _ended_seq integer not null,\n    \
             _ended text not null check (_ended in ('superseded', 'withdrawn'))\n)",
            quoted(&revision)
        ),
        format!("create index {} on {} ({key})", quoted(&format!("{revision}_by_key")), quoted(&revision)),
    ];
    // Reads by day and the replacement of a day must not walk the whole table.
    if let Some(time) = table.dataset.time.as_ref().filter(|time| table.dataset.key.first() != Some(time)) {
        let index = quoted(&format!("{name}_by_{time}"));
        sql.push(format!("create index {index} on {} ({})", quoted(name), quoted(time)));
    }
    sql
}

fn add_column(table: &Table, index: usize) -> [String; 2] {
    let column = quoted(&table.dataset.columns[index].name);
    let declared = table.kinds[index].declared();
    [table.name().to_owned(), revision_name(table.name())]
        .map(|name| format!("alter table {} add column {column} {declared}", quoted(&name)))
}

/// Every row with where it comes from: source, time of fetch, and how often it has changed.
fn create_view(table: &Table) -> String {
    let name = table.name();
    let columns: String =
        table.dataset.columns.iter().map(|column| format!("    stored.{},\n", quoted(&column.name))).collect();
    let same_key = table.dataset.key.iter().map(|key| format!("revision.{0} = stored.{0}", quoted(key)));
    let same_key = same_key.collect::<Vec<_>>().join(" and ");
    format!(
        "CREATE VIEW {view} as\nselect\n{columns}    _commit.source as _source,\n    \
         _commit.fetched_at as _fetched_at,\n    \
         1 + (select count(*) from {revision} as revision where {same_key}) as _revision,\n    \
         stored._seq as _seq\nfrom {table} as stored left join _commit on _commit.seq = stored._seq",
        view = quoted(&format!("{name}_with_source")),
        revision = quoted(&revision_name(name)),
        table = quoted(name),
    )
}

fn drop_and_create(view: String, table: &Table) -> [String; 2] {
    [format!("drop view if exists {}", quoted(&format!("{}_with_source", table.name()))), view]
}

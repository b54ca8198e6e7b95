//! Creating and widening the data tables: `daily` with its partitions, `daily_revision` and the view
//! `daily_with_source`.

use std::collections::BTreeMap;

use super::connection::Session;
use super::fault::Step;
use super::table::{Kind, Table};
use super::values::{lock_number, quoted};
use crate::model::{Area, Error};

/// Brings the tables of these datasets to what the catalogue says, in one transaction; only reads when they are.
pub(super) async fn prepare(session: &Session, schema: &str, tables: &[Table]) -> Step<()> {
    if !pending(session, tables).await? {
        return Ok(());
    }
    session.begin("").await?;
    session.lock(lock_number(schema, "prepare")).await?;
    let recorded = recorded_columns(session).await?;
    for table in tables {
        let sql = statements(session, table, recorded.get(table.name())).await?;
        if !sql.is_empty() {
            session.run(&sql.join(";\n")).await?;
            record_columns(session, table).await?;
        }
    }
    session.commit().await
}

async fn pending(session: &Session, tables: &[Table]) -> Step<bool> {
    let recorded = recorded_columns(session).await?;
    for table in tables {
        if !statements(session, table, recorded.get(table.name())).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Type, scale and place in the key of each column of a table.
type Recorded = BTreeMap<String, (String, i16, Option<i16>)>;

async fn recorded_columns(session: &Session) -> Step<BTreeMap<String, Recorded>> {
    let mut recorded: BTreeMap<String, Recorded> = BTreeMap::new();
    for row in session.query("select dataset, name, type, scale, key_position from _column", &[]).await? {
        let entry = recorded.entry(row.try_get(0)?).or_default();
        entry.insert(row.try_get(1)?, (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?));
    }
    Ok(recorded)
}

async fn record_columns(session: &Session, table: &Table) -> Step<()> {
    let sql = "insert into _column (dataset, name, type, scale, key_position) values ($1, $2, $3, $4, $5) \
               on conflict (dataset, name) do update set type = excluded.type, scale = excluded.scale";
    for (index, (column, kind)) in table.dataset.columns.iter().zip(&table.kinds).enumerate() {
        let position = table.key.iter().position(|key| *key == index).map(|at| at as i16 + 1);
        let scale = i16::from(kind.scale());
        session.execute(sql, &[&table.name(), &column.name, &kind.name(), &scale, &position]).await?;
    }
    Ok(())
}

/// What has to be done for one table.
async fn statements(session: &Session, table: &Table, recorded: Option<&Recorded>) -> Step<Vec<String>> {
    let Some(recorded) = recorded else {
        let mut sql = create_table(table);
        sql.push(create_view(table));
        return Ok(sql);
    };
    let changes = column_changes(session, table, recorded).await?;
    if changes.is_empty() {
        return Ok(changes);
    }
    // The view names every column, and a column that a view reads cannot be widened.
    let mut sql = vec![format!("drop view if exists {}", view_name(table))];
    sql.extend(changes);
    sql.push(create_view(table));
    Ok(sql)
}

/// What adds and widens columns; what cannot be widened is a conflict.
async fn column_changes(session: &Session, table: &Table, recorded: &Recorded) -> Step<Vec<String>> {
    let name = table.name();
    if stored_key(recorded) != table.dataset.key {
        return Err(conflict(name, "key").into());
    }
    let mut sql = Vec::new();
    for (index, (column, kind)) in table.dataset.columns.iter().zip(&table.kinds).enumerate() {
        let scale = i16::from(kind.scale());
        match recorded.get(&column.name) {
            Some((kind_name, known, _)) if kind_name == kind.name() && *known == scale => {}
            Some((kind_name, known, _)) if kind_name == kind.name() && *known < scale => {
                sql.extend(alter(table, &format!("alter column {} type {}", table.column(index), kind.declared())));
            }
            Some(_) => return Err(conflict(name, &format!("type of column {}", column.name)).into()),
            None if !column.nullable && holds_rows(session, table).await? => {
                let error = Error::conflict(format!("column {} of {name} is new, but may not be missing", column.name));
                return Err(error.hint("declare it `nullable = true`: the rows stored before do not have it").into());
            }
            None => sql.extend(alter(table, &format!("add column {} {}", table.column(index), kind.declared()))),
        }
    }
    Ok(sql)
}

async fn holds_rows(session: &Session, table: &Table) -> Step<bool> {
    let condition = table.in_area("stored", &Area::whole());
    let sql = format!(
        "select count(*) from (select 1 from {} as stored where {condition} limit 1) as one",
        table.quoted_name()
    );
    Ok(session.ask_count(&sql).await? > 0)
}

fn alter(table: &Table, change: &str) -> [String; 2] {
    [table.quoted_name(), table.quoted_revision()].map(|name| format!("alter table {name} {change}"))
}

fn conflict(dataset: &str, what: &str) -> Error {
    let error = Error::conflict(format!("the {what} of the stored table {dataset} differs from the catalogue"));
    error.hint("export the table, and import it into a new store; or give the dataset another name")
}

fn stored_key(recorded: &Recorded) -> Vec<String> {
    let parts = recorded.iter().filter_map(|(name, (_, _, position))| Some((*position.as_ref()?, name.clone())));
    parts.collect::<BTreeMap<i16, String>>().into_values().collect()
}

fn column_lines(table: &Table) -> String {
    let line = |(index, kind): (usize, &Kind)| {
        let required = if table.key.contains(&index) { " not null" } else { "" };
        format!("    {} {}{required},\n", table.column(index), kind.declared())
    };
    table.kinds.iter().enumerate().map(line).collect()
}

fn create_table(table: &Table) -> Vec<String> {
    let (name, revision) = (table.name(), table.quoted_revision());
    let (columns, key) = (column_lines(table), table.key_columns());
    let partition = match (table.stretch, table.time) {
        (Some(_), Some(time)) => format!(" partition by range ({})", table.column(time)),
        _ => String::new(),
    };
    let index = |suffix: &str| quoted(&format!("{name}_{suffix}"));
    let mut sql = vec![
        format!(
            "create table {} (\n{columns}    _seq bigint not null,\n    primary key ({key})\n){partition}",
            table.quoted_name()
        ),
        format!(
            "create table {revision} (\n{columns}    _seq bigint not null,\n    _ended_seq bigint not null,\n    \
             _ended text not null check (_ended in ('superseded', 'withdrawn'))\n)"
        ),
        format!("create index {} on {revision} ({key})", index("revision_by_key")),
    ];
    // Where rows are partitioned by time, the partition is found by time; within one, all days are near.
    if let Some(time) = table.time.filter(|time| table.stretch.is_none() && table.key.first() != Some(time)) {
        sql.push(format!("create index {} on {} ({})", index("by_time"), table.quoted_name(), table.column(time)));
    }
    if let Some(security) = table.security.filter(|security| table.key.first() != Some(security)) {
        sql.push(format!(
            "create index {} on {} ({})",
            index("by_security"),
            table.quoted_name(),
            table.column(security)
        ));
    }
    sql
}

fn view_name(table: &Table) -> String {
    quoted(&format!("{}_with_source", table.name()))
}

/// Every row with where it comes from: source, time of fetch, and how often it has changed.
fn create_view(table: &Table) -> String {
    format!(
        "create view {view} as\nselect\n    {columns},\n    _commit.source as _source,\n    \
         _commit.fetched_at as _fetched_at,\n    \
         1 + (select count(*) from {revision} as revision where {same_key}) as _revision,\n    \
         stored._seq as _seq\nfrom {table} as stored left join _commit on _commit.seq = stored._seq",
        view = view_name(table),
        columns = table.columns_of("stored"),
        revision = table.quoted_revision(),
        same_key = table.same_key("revision", "stored"),
        table = table.quoted_name(),
    )
}

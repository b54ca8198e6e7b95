//! Staging: temporary tables that live as long as the transaction.

use std::collections::HashMap;

use super::connection::Session;
use super::copy::copy_in;
use super::fault::Step;
use super::index::KeyShape;
use super::rows::Place;
use super::table::Table;
use super::values::SqlInstant;
use crate::model::Instant;
use crate::store::ledger::positions;

/// Rows from which a temporary table is worth statistics.
const ANALYZED_ROWS: u64 = 5_000;

/// Fills the temporary table `name` with the keys of encoded rows and a number for each (`_row`).
pub(super) async fn keys<'a>(
    session: &Session,
    table: &Table,
    name: &str,
    rows: impl Iterator<Item = (i64, &'a [u8])>,
) -> Step<()> {
    let columns: String = table
        .key
        .iter()
        .map(|index| format!("{} {}, ", table.column(*index), table.kinds[*index].declared()))
        .collect();
    let create = format!(
        "drop table if exists pg_temp.{name}; create temporary table {name} ({columns}_row bigint) on commit drop"
    );
    session.run(&create).await?;
    let shape = KeyShape::of(table);
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    for (number, row) in rows {
        bytes.extend_from_slice(&(table.key.len() as i16 + 1).to_be_bytes());
        shape.write(row, &mut bytes);
        super::encode::encode_seq(number, &mut bytes);
        ends.push(bytes.len());
    }
    let target = format!("pg_temp.{name} ({}, _row)", table.key_columns());
    let count = copy_in(session, &target, ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]])).await?;
    if count > ANALYZED_ROWS {
        session.run(&format!("analyze pg_temp.{name}")).await?;
    }
    Ok(())
}

/// Writes encoded rows in place of the stored ones with their keys, which become revisions.
pub(super) async fn merge(place: Place<'_>, rows: &[Vec<u8>]) -> Step<()> {
    let Place { session, table, .. } = place;
    let lines: String = table
        .kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| format!("{} {}, ", table.column(index), kind.declared()))
        .collect();
    let create = format!(
        "drop table if exists pg_temp._merged; create temporary table _merged ({lines}_seq bigint) on commit drop"
    );
    session.run(&create).await?;
    let target = format!("pg_temp._merged ({}, _seq)", table.columns);
    let count = copy_in(session, &target, rows.iter().map(Vec::as_slice)).await?;
    if count > ANALYZED_ROWS {
        session.run("analyze pg_temp._merged").await?;
    }
    let values = (0..table.kinds.len()).filter(|index| !table.key.contains(index));
    let set: String = values.map(|index| format!("{0} = given.{0}, ", table.column(index))).collect();
    let (name, same) = (table.quoted_name(), table.same_key("stored", "given"));
    let revise = format!(
        "insert into {revision} ({columns}, _seq, _ended_seq, _ended) \
         select {stored}, stored._seq, given._seq, 'superseded' from pg_temp._merged as given join {name} as stored on {same}",
        revision = table.quoted_revision(),
        columns = table.columns,
        stored = table.columns_of("stored"),
    );
    session.run(&revise).await?;
    session
        .run(&format!("update {name} as stored set {set}_seq = given._seq from pg_temp._merged as given where {same}"))
        .await
}

/// Who wrote a commit.
pub(super) struct Writer {
    pub(super) rank: u8,
    pub(super) fetched_at: Instant,
    /// Positions of the columns that the source lacks.
    pub(super) lacks: Vec<usize>,
}

/// Who wrote the commits, by number.
pub(super) async fn writers(session: &Session, table: &Table, mut seqs: Vec<i64>) -> Step<HashMap<i64, Writer>> {
    seqs.sort_unstable();
    seqs.dedup();
    let sql = "select seq, rank, fetched_at, lacks from _commit where seq = any($1)";
    let rows = session.query(sql, &[&seqs]).await?;
    let read = |row: &tokio_postgres::Row| {
        let (rank, fetched_at): (i16, SqlInstant) = (row.try_get(1)?, row.try_get(2)?);
        let lacks = positions(&table.dataset, row.try_get(3)?);
        Ok((row.try_get(0)?, Writer { rank: rank.clamp(0, 255) as u8, fetched_at: fetched_at.0, lacks }))
    };
    rows.iter().map(read).collect()
}

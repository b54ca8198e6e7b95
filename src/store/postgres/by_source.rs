//! Rows by the source of the commit that wrote them.

use super::connection::Session;
use super::fault::Step;
use super::table::Table;
use super::values::{SqlDay, quoted};
use crate::store::SourceRows;

/// Counts anew unless `known` is still the dataset's last commit. The caller is in a transaction that reads one moment.
pub(super) async fn count(
    session: &Session,
    table: &Table,
    known: Option<i64>,
) -> Step<Option<(i64, Vec<SourceRows>)>> {
    let last = "select coalesce(max(seq), 0) from _commit where dataset = $1";
    let last: i64 = session.query(last, &[&table.name()]).await?.first().map_or(Ok(0), |row| row.try_get(0))?;
    if known == Some(last) {
        return Ok(None);
    }
    let time = table.time.map_or("null::date".to_owned(), |time| quoted(&table.dataset.columns[time].name));
    let sql = format!(
        "select commits.source, sum(rows.rows)::bigint, max(rows.day) \
         from (select _seq, count(*) as rows, max({time}) as day from {} group by _seq) as rows \
         join _commit as commits on commits.seq = rows._seq group by commits.source order by commits.source",
        quoted(table.name())
    );
    let rows = session.query(&sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(SourceRows {
            source: row.try_get(0)?,
            rows: row.try_get::<_, i64>(1)? as u64,
            last_day: row.try_get::<_, Option<SqlDay>>(2)?.and_then(|day| day.0),
        })
    };
    Ok(Some((last, rows.iter().map(read).collect::<Step<_>>()?)))
}

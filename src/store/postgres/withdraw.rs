//! Withdrawing: stored rows of a replaced area that the source no longer has, and rows that are named, become revisions.

use super::fault::Step;
use super::rows::{Days, Part, Place};
use super::stage;
use super::table::Table;
use super::values::SqlDay;
use crate::model::RowsChange;

/// Moves the rows of the area whose keys are not among those of the change to the revisions. The kept keys go through a
/// temporary table, so that memory stays bounded however much is withdrawn.
pub(super) async fn run(place: Place<'_>, part: &Part<'_, '_>, days: &mut Days) -> Step<u64> {
    let Place { session, table, .. } = place;
    stage::keys(session, table, "_kept", part.encoded().map(|bytes| (0, bytes))).await?;
    remove(place, part, &gone(table, part.work.change, part.guarded), days).await
}

/// Moves the rows with the keys of the change to the revisions.
pub(super) async fn by_key(place: Place<'_>, part: &Part<'_, '_>, days: &mut Days) -> Step<u64> {
    let Place { session, table, .. } = place;
    stage::keys(session, table, "_named", part.encoded().map(|bytes| (0, bytes))).await?;
    let named = format!("exists (select 1 from pg_temp._named as named where {})", table.same_key("named", "stored"));
    remove(place, part, &named, days).await
}

async fn remove(place: Place<'_>, part: &Part<'_, '_>, gone: &str, days: &mut Days) -> Step<u64> {
    let Place { session, table, .. } = place;
    let day = table.time.map_or("null::date".to_owned(), |time| table.day_of("gone", time));
    let sql = format!(
        "with gone as (delete from {name} as stored where {gone} returning stored.*), \
         kept as (insert into {revision} ({columns}, _seq, _ended_seq, _ended) \
         select {columns}, _seq, {seq}, 'withdrawn' from gone) \
         select {day}, count(*) from gone group by 1",
        name = table.quoted_name(),
        revision = table.quoted_revision(),
        columns = table.columns,
        seq = part.work.counts.seq,
    );
    let mut count = 0;
    for row in session.ask(&sql).await? {
        let (day, rows): (Option<SqlDay>, i64) = (row.try_get(0)?, row.try_get(1)?);
        days.add(day.and_then(|day| day.0), -rows);
        count += rows as u64;
    }
    Ok(count)
}

fn gone(table: &Table, change: &RowsChange, guarded: bool) -> String {
    let mut parts = vec![
        table.replaced("stored", change),
        format!("not exists (select 1 from pg_temp._kept as kept where {})", table.same_key("kept", "stored")),
    ];
    if guarded {
        let (rank, same, revision) = (change.rank, table.same_key("old", "stored"), table.quoted_revision());
        parts.push(format!("coalesce((select rank from _commit where seq = stored._seq), 255) >= {rank}"));
        // A better source's row in which a worse one has only filled gaps.
        parts.push(format!(
            "not exists (select 1 from {revision} as old where {same} and old._ended_seq > coalesce( \
             (select max(old._ended_seq) from {revision} as old where {same} and old._ended = 'withdrawn'), 0) \
             and (select rank from _commit where seq = old._seq) < {rank})"
        ));
    }
    parts.join(" and ")
}

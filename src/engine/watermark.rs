//! By watermark: rows whose watermark is not older than the newest one that is stored, less an overlap.
//!
//! The last watermark is the greatest value in the store's own column, so it moves in the commit that writes the rows and
//! nowhere else. Pages come in the order of watermark and key, so that what a killed run committed is a beginning without
//! gaps. Rows that are gone are not noticed: a full comparison finds them.

use std::sync::Arc;

use futures::TryStreamExt;

use super::table::TableRun;
use super::write::WorkEnd;
use crate::model::change::Write;
use crate::model::{Dataset, Day, Error, KeyPart, Order, Query, Result};
use crate::source::tables::Since;
use crate::store::Scan;

/// Where reading begins.
pub(super) struct Start {
    /// `None`: at the beginning, because nothing is stored.
    pub(super) from: Option<KeyPart>,
    /// Why, for people.
    pub(super) reason: String,
}

/// The newest stored watermark less the overlap.
pub(super) async fn start(store: &dyn Scan, dataset: &Arc<Dataset>) -> Result<Start> {
    let database = dataset.database.as_ref();
    let found = database.and_then(|database| Some((database, dataset.column(database.watermark.as_deref()?)?)));
    let (database, column) = found.ok_or_else(|| Error::bug(format!("{} has no watermark column", dataset.name)))?;
    let order = vec![Order { column: column.name.clone(), descending: true }];
    let query = Query { columns: vec![column.name.clone()], order, limit: Some(1), ..Query::all(&dataset.name) };
    let newest = store.scan(&query).await?.try_next().await?;
    let newest =
        newest.filter(|batch| batch.num_rows() > 0).and_then(|batch| KeyPart::of(batch.column(0), 0, column.kind));
    let overlap = database.watermark_overlap_seconds;
    Ok(match newest {
        None => Start { from: None, reason: format!("by watermark {}: from the beginning", column.name) },
        Some(newest) => {
            let reason = format!("by watermark {}: the newest is {}", column.name, newest.text(column));
            let from = before(newest, overlap);
            Start { reason: format!("{reason}, read again from {}", from.text(column)), from: Some(from) }
        }
    })
}

/// The watermark so many seconds earlier; whole days for a date, nothing for what is no time.
fn before(mark: KeyPart, seconds: u32) -> KeyPart {
    match mark {
        KeyPart::Seconds(at) => KeyPart::Seconds(at - i64::from(seconds)),
        KeyPart::Day(day) => {
            KeyPart::Day(Day(day.0 - i32::try_from(seconds.div_ceil(86_400)).unwrap_or(0)).max(Day::MIN))
        }
        other => other,
    }
}

impl TableRun<'_> {
    /// Where reading by watermark would begin now.
    pub(super) async fn watermark_start(&mut self) -> Result<Option<KeyPart>, WorkEnd> {
        let start = start(&*self.engine.store, self.dataset).await.map_err(WorkEnd::Aborted)?;
        Ok(start.from)
    }

    /// Inserts and updates since the newest stored watermark.
    pub(super) async fn by_watermark(&mut self) -> Result<(), WorkEnd> {
        let from = self.watermark_start().await?;
        self.read_since(from).await
    }

    /// Rows from a watermark on, a page at a time.
    pub(super) async fn read_since(&mut self, from: Option<KeyPart>) -> Result<(), WorkEnd> {
        let mut cursor = None;
        loop {
            let (tables, dataset) = (self.tables, self.dataset);
            let since = match (&cursor, &from) {
                (Some(cursor), _) => Since::After(cursor),
                (None, Some(from)) => Since::From(from),
                (None, None) => Since::Begin,
            };
            let answer = self.ask(|| tables.since(dataset, since)).await?;
            let (more, next) = (answer.page.more, answer.cursor);
            self.write(answer.page, Write::Upsert).await?;
            if !more || next.is_none() {
                return Ok(());
            }
            cursor = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlap_goes_back_in_seconds_or_whole_days_and_leaves_numbers_alone() {
        assert_eq!(before(KeyPart::Seconds(1_000), 60), KeyPart::Seconds(940));
        assert_eq!(before(KeyPart::Day(Day(100)), 60), KeyPart::Day(Day(99)));
        assert_eq!(before(KeyPart::Day(Day(100)), 0), KeyPart::Day(Day(100)));
        assert_eq!(before(KeyPart::Day(Day::MIN), 86_401), KeyPart::Day(Day::MIN));
        assert_eq!(before(KeyPart::Int(7), 60), KeyPart::Int(7));
    }
}

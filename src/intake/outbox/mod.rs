//! The outbox: a table in the publisher's own PostgreSQL, into which rows are written by the transactions whose facts
//! they tell.
//!
//! A plain `id > cursor` loses rows: a transaction that took its number early may commit late. So nothing here goes by
//! numbers alone. In the modes `delete` and `mark` a row is new until it has been deleted or marked, which happens
//! after the commit that published it. In the mode `cursor` only rows are read of transactions before the oldest one
//! that still runs: those are decided, and all that they will ever have written is there. Of these, a row waits while
//! a row with a smaller order is there whose transaction is not among them: so rows of one key come in the order in
//! which they were written, whoever took a number when.

mod layout;
mod place;

use std::time::Duration;

use tokio::time::Instant as Moment;
use tokio_postgres::Row;

use super::definition::{Mode, Outbox};
use super::desk::Desk;
use super::draft::{Data, Draft, Offer};
use super::postgres::{Database, quoted};
use crate::dialect::cloudevents::Limits;
use crate::model::{Error, Instant, Result};
use crate::postgres::Address;
use crate::store::death;
pub(super) use layout::Layout;
use place::Place;

/// Reads an outbox until stopping is asked for.
pub(super) async fn run(desk: &mut Desk, address: &Address, outbox: &Outbox, source: &str) -> Result<()> {
    let database = Database::connect(address, desk.options().answer).await?;
    let layout = Layout::read(&database, outbox).await?;
    if let Some(channel) = &outbox.listen {
        database.run("listening", &format!("listen {}", quoted(channel))).await?;
    }
    let mut reader = Reader { database, layout, source: source.to_owned(), place: Place::default() };
    if outbox.mode == Mode::Cursor {
        reader.place = desk.place().await?.map(|text| Place::parse(&text)).transpose()?.unwrap_or_default();
    }
    let mut lag_at = Moment::now();
    while !desk.stop().asked() {
        let more = match outbox.mode {
            Mode::Cursor => reader.window(desk).await?,
            Mode::Mark | Mode::Delete => reader.waiting(desk).await?,
        };
        desk.running().await?;
        if Moment::now() >= lag_at {
            let cap = desk.lag_max().saturating_mul(2).clamp(10_000, 1 << 40);
            desk.lag(Some(reader.count(cap).await?)).await?;
            lag_at = Moment::now() + desk.options().lag_every;
        }
        if !more {
            reader.rest(desk, lag_at).await;
        }
    }
    Ok(())
}

/// The order and the id of a row, as texts of its database.
type Last = (String, String);

struct Reader {
    database: Database,
    layout: Layout,
    source: String,
    /// Of the mode `cursor`.
    place: Place,
}

impl Reader {
    /// Mode `cursor`: one page of the rows that are decided. Whether there may be more at once.
    async fn window(&mut self, desk: &mut Desk) -> Result<bool> {
        let horizon = self.horizon().await?;
        if horizon <= self.place.from || !self.place.has_room() {
            return Ok(false);
        }
        let cut = self.number("looking beyond the oldest transaction", &self.layout.cut_sql(horizon)).await?;
        let limit = desk.options().batch;
        let sql = self.layout.window_sql(&self.place, horizon, cut, limit, desk.limits().content_bytes_max);
        let rows = self.database.query("reading the outbox", &sql, &[]).await?;
        let (offers, last) = self.offers(desk, &rows)?;
        let is_full = rows.len() >= limit;
        if let Some((order, _)) = last {
            let order = order.parse().map_err(|_| Error::invalid("the order of a row is no whole number"))?;
            self.place.passed(horizon, if is_full { Some(order) } else { cut.map(|cut| cut - 1) });
        }
        // Without rows nothing need be remembered: there are none when the same is read again.
        let place = (!offers.is_empty()).then(|| self.place.to_string());
        desk.hand_in(offers, place).await?;
        if !is_full {
            let sql = self.layout.left_sql(&self.place, horizon);
            let left = self.number("looking at what is left", &sql).await?;
            self.place.begin(left.and_then(|left| u64::try_from(left).ok()).unwrap_or(horizon));
        }
        Ok(is_full)
    }

    /// The number that a question is answered with.
    async fn number(&self, doing: &str, sql: &str) -> Result<Option<i64>> {
        let rows = self.database.query(doing, sql, &[]).await?;
        Ok(rows.first().map(|row| self.database.value(row, 0)).transpose()?.flatten())
    }

    /// The oldest transaction that is still running: all before it are over.
    async fn horizon(&self) -> Result<u64> {
        let sql = "select pg_snapshot_xmin(pg_current_snapshot())::text";
        let rows = self.database.query("reading the oldest transaction", sql, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::bug("a question that always has an answer had none"))?;
        let horizon: String = self.database.value(row, 0)?;
        horizon.parse().map_err(|_| Error::transient("the oldest transaction cannot be read"))
    }

    /// Modes `mark` and `delete`: one page of what waits. Whether there may be more at once.
    async fn waiting(&mut self, desk: &mut Desk) -> Result<bool> {
        let limit = desk.options().batch;
        let sql = self.layout.waiting_sql(limit, desk.limits().content_bytes_max);
        let rows = self.database.query("reading the outbox", &sql, &[]).await?;
        let (offers, last) = self.offers(desk, &rows)?;
        let ids = rows.iter().map(|row| self.database.value(row, 0)).collect::<Result<Vec<String>>>()?;
        desk.hand_in(offers, last.map(|(_, id)| id)).await?;
        if !ids.is_empty() {
            death::named("intake.committed");
            self.database.execute("letting rows of the outbox go", &self.layout.let_go_sql(), &[&ids]).await?;
        }
        Ok(rows.len() >= limit)
    }

    /// Messages of rows, and the order and id of the last one.
    fn offers(&self, desk: &Desk, rows: &[Row]) -> Result<(Vec<Offer>, Option<Last>)> {
        let (at, limits) = (desk.now(), desk.limits());
        let mut offers = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in rows {
            let (read, order) = self.row(row)?;
            last = Some((order, read.id.clone()));
            offers.push(offer(read, &self.source, at, &limits));
        }
        Ok((offers, last))
    }

    fn row(&self, row: &Row) -> Result<(OutboxRow, String)> {
        let text = |index: usize| self.database.value::<Option<String>>(row, index);
        let read = OutboxRow {
            id: self.database.value(row, 0)?,
            kind: text(2)?.or_else(|| self.layout.kind.clone()),
            source: text(3)?,
            subject: text(4)?,
            key: text(5)?,
            time: text(6)?,
            json: text(7)?,
            bytes: self.database.value(row, 8)?,
            too_large: self.database.value::<Option<bool>>(row, 9)?.unwrap_or(false),
        };
        Ok((read, self.database.value(row, 1)?))
    }

    /// Rows that wait, counted no further than `cap`.
    async fn count(&self, cap: u64) -> Result<u64> {
        let count = self.number("counting", &self.layout.count_sql(&self.place, cap)).await?;
        Ok(count.unwrap_or_default() as u64)
    }

    /// Until somebody rings, or it is time to look again.
    async fn rest(&self, desk: &Desk, lag_at: Moment) {
        let poll = desk.options().poll.min(lag_at.saturating_duration_since(Moment::now()));
        tokio::select! {
            () = self.database.bell.notified() => {}
            _ = desk.stop().sleep(poll.max(Duration::from_millis(5))) => {}
        }
    }
}

/// A row of an outbox.
#[derive(Clone, Debug, Default)]
struct OutboxRow {
    id: String,
    kind: Option<String>,
    source: Option<String>,
    subject: Option<String>,
    key: Option<String>,
    time: Option<String>,
    json: Option<String>,
    bytes: Option<Vec<u8>>,
    too_large: bool,
}

/// The message of a row, or why it is none.
fn offer(row: OutboxRow, source: &str, at: Instant, limits: &Limits) -> Offer {
    let (place, too_large) = (row.id.clone(), row.too_large);
    let kept = serde_json::json!({
        "id": row.id, "type": row.kind, "source": row.source, "subject": row.subject, "key": row.key,
        "time": row.time, "data": row.json,
    });
    let draft = Draft {
        id: Some(row.id),
        kind: row.kind,
        source: row.source,
        subject: row.subject,
        key: row.key,
        time: row.time,
        data: row.json.map(Data::Json).or(row.bytes.map(Data::Bytes)).unwrap_or_default(),
        extensions: Default::default(),
    };
    let read = match too_large {
        true => Err(Error::invalid("data is larger than one event may be").at_field("data")),
        false => draft.message(source, at, limits),
    };
    Offer::of(read, &place, || kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_message_or_a_refusal_that_names_the_field_and_keeps_the_row() {
        let row = OutboxRow {
            id: "1".into(),
            kind: Some("contract.confirmed".into()),
            json: Some("{\"amount\": 1.10}".into()),
            ..OutboxRow::default()
        };
        let limits = Limits::default();
        let Offer::Message(message) = offer(row.clone(), "/s", Instant(1), &limits) else { panic!() };
        assert_eq!((message.id.as_str(), message.source.as_str()), ("1", "/s"));
        for (row, field) in [
            (OutboxRow { kind: None, ..row.clone() }, "type"),
            (OutboxRow { json: Some("{".into()), ..row.clone() }, "data"),
            (OutboxRow { too_large: true, json: None, ..row.clone() }, "data"),
        ] {
            let Offer::Refused(refused) = offer(row, "/s", Instant(1), &limits) else { panic!("{field}") };
            assert_eq!((refused.place.as_str(), refused.field.as_str()), ("1", field));
            assert_eq!(refused.row["id"], "1");
        }
    }
}

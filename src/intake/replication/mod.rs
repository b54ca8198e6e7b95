//! Logical replication: messages that transactions emit (`pg_logical_emit_message`) and changes of chosen tables, in
//! the order of their commits. What is stored here is confirmed to the server, which keeps its log until then.

mod assemble;
mod copy;
mod slot;
mod wire;

use std::time::Duration;

use futures::FutureExt;
use serde_json::json;
use tokio::time::{Instant as Moment, sleep};

use super::definition::Replication;
use super::desk::Desk;
use super::draft::Offer;
use super::postgres::{Database, literal, quoted, table_name};
use crate::dialect::pgoutput::{Frame, Lsn, frame};
use crate::model::{Error, Result};
use crate::postgres::Address;
use crate::store::death;
use assemble::{Assembler, Taken};
pub(super) use slot::BEGIN_ANEW;
use slot::{At, Begin, Place, Seen};
use wire::Wire;

/// How often the server hears from us, and after how long a silent one is given up.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const SILENT_MAX: Duration = Duration::from_secs(60);
/// How often the place is written while nothing comes, and after how many bytes of others' log at once.
const IDLE_EVERY: Duration = Duration::from_secs(30);
const IDLE_BYTES: u64 = 16 << 20;

/// The names of slot and publication.
pub(super) struct Names {
    pub(super) slot: String,
    pub(super) publication: String,
    /// Nobody chose the publication: it is ours to change.
    is_ours: bool,
}

impl Names {
    pub(super) fn of(intake: &str, replication: &Replication) -> Names {
        let own = format!("tidegate_{intake}");
        let own = own.chars().take(63).collect::<String>();
        Names {
            slot: replication.slot.clone().unwrap_or_else(|| own.clone()),
            is_ours: replication.publication.is_none(),
            publication: replication.publication.clone().unwrap_or(own),
        }
    }
}

/// Follows a slot until stopping is asked for.
pub(super) async fn run(desk: &mut Desk, address: &Address, wanted: &Replication, source: &str) -> Result<()> {
    let (answer, largest) = (desk.options().answer, desk.options().message_bytes_max);
    let database = Database::connect(address, answer).await?;
    check_server(&database).await?;
    let names = Names::of(desk.name(), wanted);
    publish(&database, &names, wanted).await?;
    let mut wire = Wire::connect(address, answer, largest).await?;
    let system = identify(&mut wire).await?;
    let place = desk.place().await?.map(|text| Place::parse(&text)).transpose()?;
    let seen = seen(&database, &names.slot).await?;
    let here = current_database(&database).await?;
    let begin = slot::begin(&names.slot, seen.as_ref(), place.as_ref(), &system, &here)?;
    let stored = match begin {
        Begin::From { at, gap } => {
            if let Some(gap) = gap {
                let details = json!({
                    "slot": names.slot, "taken_up_to": at.to_string(), "confirmed_up_to": gap.to_string(),
                    "remedy": "somebody moved or re-created the slot: compare with `tidegate reconcile`",
                });
                desk.tell("gap", details).await?;
            }
            at.max(gap.unwrap_or_default())
        }
        Begin::Create | Begin::CreateAgain => {
            if begin == Begin::CreateAgain {
                drop_slot(&database, &names.slot).await?;
            }
            let copying = copy::Copying { names: &names, wanted, source, system: &system };
            copying.begin(desk, &mut wire, address, &database).await?
        }
    };
    let place = Place { system: system.clone(), at: At::Stored(stored) };
    desk.hand_in(Vec::new(), Some(place.to_string())).await?;
    wire.start(&start_command(&names, wanted, stored)).await?;
    let assembler = Assembler::new(wanted.clone(), source, &system, stored, desk.limits());
    let now = Moment::now();
    let stream =
        Stream { wire, database, assembler, system, stored, seen: stored, idle_at: now + IDLE_EVERY, heard_at: now };
    stream.follow(desk).await
}

/// The session that streams, and how far it has come.
struct Stream {
    wire: Wire,
    database: Database,
    assembler: Assembler,
    system: String,
    /// Everything up to here is durable here.
    stored: Lsn,
    /// Everything up to here has come, and what of it was wanted has been handed in.
    seen: Lsn,
    idle_at: Moment,
    heard_at: Moment,
}

/// What one gathering has brought.
#[derive(Default)]
struct Gathered {
    offers: Vec<Offer>,
    ignored: u64,
    wants_reply: bool,
}

impl Stream {
    async fn follow(mut self, desk: &mut Desk) -> Result<()> {
        let mut lag_at = Moment::now();
        let (mut alive_at, stop) = (Moment::now() + ALIVE_EVERY, desk.stop().clone());
        while !stop.asked() {
            let mut gathered = Gathered::default();
            let next = alive_at.min(lag_at.max(Moment::now() + Duration::from_millis(1)));
            tokio::select! {
                frame = self.wire.next() => self.take(&frame?, desk, &mut gathered)?,
                () = tokio::time::sleep_until(next) => {}
                () = stop.wait() => {}
            }
            // Whatever has arrived already goes into the same commit.
            while gathered.offers.len() < desk.options().batch {
                let Some(frame) = self.wire.next().now_or_never() else { break };
                self.take(&frame?, desk, &mut gathered)?;
            }
            let has_news = !gathered.offers.is_empty();
            desk.ignore(gathered.ignored);
            self.hand_in(desk, gathered.offers).await?;
            let now = Moment::now();
            if has_news || gathered.wants_reply {
                self.wire.reply(self.stored, desk.now()).await?;
            }
            if now >= alive_at {
                self.wire.confirm(self.stored, desk.now()).await?;
                alive_at = now + ALIVE_EVERY;
            }
            if now.duration_since(self.heard_at) > SILENT_MAX {
                return Err(Error::transient("the server says nothing any more"));
            }
            if now >= lag_at {
                desk.lag(Some(self.lag().await?)).await?;
                lag_at = Moment::now() + desk.options().lag_every;
            }
            desk.running().await?;
        }
        // The last word: what is stored need not come again.
        self.wire.reply(self.stored, desk.now()).await
    }

    fn take(&mut self, bytes: &[u8], desk: &Desk, gathered: &mut Gathered) -> Result<()> {
        self.heard_at = Moment::now();
        match frame(bytes)? {
            Frame::Alive { end, wants_reply, .. } => {
                gathered.wants_reply |= wants_reply;
                // Between transactions everything that the server has looked at is done.
                if !self.assembler.is_open() {
                    self.seen = self.seen.max(end);
                }
            }
            Frame::Data { message, .. } => match self.assembler.take(message, desk.now())? {
                Taken::Nothing => {}
                Taken::Ignored => gathered.ignored += 1,
                Taken::Offer(offer) => gathered.offers.push(*offer),
                Taken::Complete(end) => self.seen = self.seen.max(end),
            },
        }
        Ok(())
    }

    /// Messages with the place behind them. The place of a transaction is that of its end; while only others' log
    /// passes by, it is written now and then, so that the server may forget.
    async fn hand_in(&mut self, desk: &mut Desk, offers: Vec<Offer>) -> Result<()> {
        let is_idle = Moment::now() >= self.idle_at || self.seen.0 - self.stored.0 >= IDLE_BYTES;
        let moves = self.seen > self.stored && (!offers.is_empty() || is_idle);
        if offers.is_empty() && !moves {
            return Ok(());
        }
        let is_news = !offers.is_empty();
        let place = Place { system: self.system.clone(), at: At::Stored(self.seen) };
        let place = moves.then(|| place.to_string());
        let (seen, stored) = (self.seen, self.stored);
        let now = desk.now();
        {
            let work = desk.hand_in(offers, place);
            tokio::pin!(work);
            loop {
                // A store that takes long must not cost the connection.
                tokio::select! {
                    done = &mut work => break done?,
                    () = sleep(ALIVE_EVERY) => self.wire.reply(stored, now).await?,
                }
            }
        }
        if is_news {
            death::named("intake.committed");
        }
        if moves {
            self.stored = seen;
            self.idle_at = Moment::now() + IDLE_EVERY;
        }
        Ok(())
    }

    /// Bytes of log that were written and not stored here.
    async fn lag(&self) -> Result<u64> {
        let sql = "select greatest(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), $1::text::pg_lsn), 0)::bigint";
        let seen = self.seen.to_string();
        let rows = self.database.query("measuring the lag", sql, &[&seen]).await?;
        let lag: i64 = rows.first().map(|row| self.database.value(row, 0)).transpose()?.unwrap_or_default();
        Ok(lag as u64)
    }
}

fn start_command(names: &Names, wanted: &Replication, from: Lsn) -> String {
    let publications = literal(&quoted(&names.publication));
    let messages = if wanted.prefixes.is_empty() { "" } else { ", messages 'true'" };
    let slot = quoted(&names.slot);
    format!(
        "START_REPLICATION SLOT {slot} LOGICAL {from} (proto_version '1', publication_names {publications}{messages})"
    )
}

/// The server's own identifier.
async fn identify(wire: &mut Wire) -> Result<String> {
    let rows = wire.ask("asking who the server is", "IDENTIFY_SYSTEM").await?;
    let system = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    system.ok_or_else(|| Error::transient("the server does not say who it is"))
}

pub(super) async fn check_server(database: &Database) -> Result<()> {
    let rows = database.query("reading wal_level", "select current_setting('wal_level')", &[]).await?;
    let level: String = rows.first().map(|row| database.value(row, 0)).transpose()?.unwrap_or_default();
    match level.as_str() {
        "logical" => Ok(()),
        other => Err(Error::invalid(format!("the server's wal_level is {other}, not logical"))
            .hint("alter system set wal_level = logical, and restart the server")),
    }
}

async fn current_database(database: &Database) -> Result<String> {
    let rows = database.query("reading the database's name", "select current_database()::text", &[]).await?;
    Ok(rows.first().map(|row| database.value(row, 0)).transpose()?.unwrap_or_default())
}

async fn seen(database: &Database, slot: &str) -> Result<Option<Seen>> {
    let sql = "select coalesce(plugin::text, ''), coalesce(database::text, ''), active, \
               coalesce(wal_status = 'lost', false) or restart_lsn is null, \
               coalesce(confirmed_flush_lsn, '0/0')::text from pg_replication_slots where slot_name = $1::text";
    let rows = database.query("looking at the slot", sql, &[&slot]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let confirmed: String = database.value(row, 4)?;
    Ok(Some(Seen {
        plugin: database.value(row, 0)?,
        database: database.value(row, 1)?,
        active: database.value(row, 2)?,
        lost: database.value(row, 3)?,
        confirmed: confirmed.parse()?,
    }))
}

pub(super) async fn drop_slot(database: &Database, slot: &str) -> Result<()> {
    let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1::text";
    database.query("dropping the slot", sql, &[&slot]).await.map(|_| ())
}

pub(super) async fn drop_publication(database: &Database, names: &Names) -> Result<()> {
    match names.is_ours {
        true => {
            database
                .run("dropping the publication", &format!("drop publication if exists {}", quoted(&names.publication)))
                .await
        }
        false => Ok(()),
    }
}

/// The publication with its tables: made when it is missing, and widened when it is ours.
async fn publish(database: &Database, names: &Names, wanted: &Replication) -> Result<()> {
    let sql = "select exists (select from pg_publication where pubname = $1::text)";
    let rows = database.query("looking at the publication", sql, &[&names.publication]).await?;
    let exists: bool = rows.first().map(|row| database.value(row, 0)).transpose()?.unwrap_or_default();
    let tables = |tables: &[&String]| tables.iter().map(|table| table_name(table)).collect::<Vec<_>>().join(", ");
    let publication = quoted(&names.publication);
    if !exists {
        let all: Vec<&String> = wanted.tables.iter().collect();
        let which = if all.is_empty() { String::new() } else { format!(" for table {}", tables(&all)) };
        return database.run("making the publication", &format!("create publication {publication}{which}")).await;
    }
    let sql = "select schemaname::text || '.' || tablename::text from pg_publication_tables where pubname = $1::text";
    let rows = database.query("looking at the publication", sql, &[&names.publication]).await?;
    let there = rows.iter().map(|row| database.value(row, 0)).collect::<Result<Vec<String>>>()?;
    let missing: Vec<&String> = wanted.tables.iter().filter(|table| !there.contains(table)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let widen = format!("alter publication {publication} add table {}", tables(&missing));
    match names.is_ours {
        true => database.run("widening the publication", &widen).await,
        false => {
            let message = format!("the publication {} does not have all tables of the intake", names.publication);
            Err(Error::invalid(message).hint(widen))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_asks_for_protocol_1_and_for_messages_where_they_are_wanted() {
        let read = |body| serde_json::from_value::<Replication>(body).unwrap();
        let wanted = read(serde_json::json!({"prefixes": ["svc"]}));
        let names = Names::of("settlement", &wanted);
        let command = start_command(&names, &wanted, Lsn(0x1_0000_0002));
        let expected = "START_REPLICATION SLOT \"tidegate_settlement\" LOGICAL 1/2 (proto_version '1', \
                        publication_names '\"tidegate_settlement\"', messages 'true')";
        assert_eq!(command, expected);
        let wanted = read(serde_json::json!({"tables": ["public.a"], "publication": "theirs", "slot": "own"}));
        let command = start_command(&Names::of("settlement", &wanted), &wanted, Lsn(0));
        assert!(
            command.ends_with("\"own\" LOGICAL 0/0 (proto_version '1', publication_names '\"theirs\"')"),
            "{command}"
        );
    }
}

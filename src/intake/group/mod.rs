//! A consumer group of a Redis Stream. After a start the entries that were given to us and not acknowledged come first;
//! then what others have left, then what is new. An entry is acknowledged only after the commit that published it.

mod entries;

use std::time::Duration;

use redis::Value;
use serde_json::json;
use tokio::time::Instant as Moment;

use super::definition::RedisGroup;
use super::desk::Desk;
use super::draft::{Offer, Refused};
use super::redis_link::Link;
use crate::model::Result;
use crate::store::death;
use entries::{Entry, claimed, deliveries, kept, last, offer, read};
pub(super) use entries::{GroupSeen, groups, id_parts};

/// A blocking read; stopping waits no longer than this.
const BLOCK: Duration = Duration::from_secs(1);
/// Entries that are claimed or looked at in one step.
const STEP: usize = 100;

/// Reads a stream until stopping is asked for.
pub(super) async fn run(desk: &mut Desk, url: &str, group: &RedisGroup, source: &str) -> Result<()> {
    let options = desk.options();
    let link = Link::connect(url, options.connect, options.answer.max(BLOCK * 2)).await?;
    let mut reader = Reader { link, group: group.clone(), source: source.to_owned() };
    reader.make_group().await?;
    let (mut lost, mut lag_at, mut claim_at) = (0u32, Moment::now(), Moment::now());
    let mut own_after = Some("0".to_owned());
    while !desk.stop().asked() {
        if Moment::now() >= lag_at {
            let lag = reader.lag().await?;
            desk.lag(lag).await?;
            lag_at = Moment::now() + desk.options().lag_every;
        }
        let taken = match &own_after {
            Some(after) => reader.given(desk, &after.clone()).await,
            None if Moment::now() >= claim_at => {
                claim_at = Moment::now() + Duration::from_millis((group.claim_idle_ms / 2).max(500));
                reader.claim(desk).await.map(|()| None)
            }
            None => reader.new_ones(desk).await.map(|()| None),
        };
        match taken {
            Ok(after) => {
                own_after = after;
                lost = 0;
                desk.running().await?;
            }
            Err(Fault::GroupLost) => {
                lost += 1;
                if lost == 1 {
                    let details = json!({ "stream": group.stream, "group": group.group, "remedy": GROUP_LOST });
                    desk.tell("group_lost", details).await?;
                }
                // Never at once: whatever takes the group away may do it again.
                let wait = super::standing::wait_ms(lost, desk.options().retry_first_ms, desk.options().retry_cap_ms);
                desk.stop().sleep(Duration::from_millis(wait)).await;
                reader.make_group().await?;
                own_after = Some("0".to_owned());
            }
            Err(Fault::Stated(error)) => return Err(error),
        }
    }
    Ok(())
}

const GROUP_LOST: &str =
    "the group was made again from the beginning of the stream; what is known is not published twice";

enum Fault {
    /// The stream or its group is not there.
    GroupLost,
    Stated(crate::model::Error),
}

impl From<crate::model::Error> for Fault {
    fn from(error: crate::model::Error) -> Fault {
        Fault::Stated(error)
    }
}

type Step<T> = std::result::Result<T, Fault>;

struct Reader {
    link: Link,
    group: RedisGroup,
    source: String,
}

impl Reader {
    /// From the beginning of the stream: what was published before is known by its id.
    async fn make_group(&mut self) -> Result<()> {
        let mut command = redis::cmd("XGROUP");
        command.arg("CREATE").arg(&self.group.stream).arg(&self.group.group).arg("0").arg("MKSTREAM");
        match self.link.try_ask::<Value>("making the group", &command).await {
            Ok(_) => Ok(()),
            Err((Some(code), _)) if code == "BUSYGROUP" => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    async fn ask(&mut self, doing: &str, command: &redis::Cmd) -> Step<Value> {
        match self.link.try_ask(doing, command).await {
            Ok(value) => Ok(value),
            // The second is what a blocked reader hears when its stream is removed.
            Err((Some(code), _)) if code == "NOGROUP" || code == "UNBLOCKED" => Err(Fault::GroupLost),
            Err((_, error)) => Err(Fault::Stated(error)),
        }
    }

    fn read_command(&self, count: usize, block: Option<Duration>, from: &str) -> redis::Cmd {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.group.group).arg(&self.group.consumer).arg("COUNT").arg(count);
        if let Some(block) = block {
            command.arg("BLOCK").arg(block.as_millis() as u64);
        }
        command.arg("STREAMS").arg(&self.group.stream).arg(from);
        command
    }

    /// What was given to us before, after an id; where to go on, `None` when that was all.
    async fn given(&mut self, desk: &mut Desk, after: &str) -> Step<Option<String>> {
        let command = self.read_command(STEP, None, after);
        let found = read(self.ask("reading what was given to us", &command).await?)?;
        let next = last(found.iter().map(|entry| entry.id.as_str())).map(str::to_owned);
        self.take_again(desk, found).await?;
        Ok(next)
    }

    /// What others were given long ago and did not acknowledge.
    async fn claim(&mut self, desk: &mut Desk) -> Step<()> {
        let mut start = "0-0".to_owned();
        loop {
            let mut command = redis::cmd("XAUTOCLAIM");
            command.arg(&self.group.stream).arg(&self.group.group).arg(&self.group.consumer);
            command.arg(self.group.claim_idle_ms).arg(&start).arg("COUNT").arg(STEP);
            let (next, found) = claimed(self.ask("taking over what others left", &command).await?)?;
            self.take_again(desk, found).await?;
            if next == "0-0" || desk.stop().asked() {
                return Ok(());
            }
            start = next;
        }
    }

    /// What nobody was given yet.
    async fn new_ones(&mut self, desk: &mut Desk) -> Step<()> {
        let command = self.read_command(desk.options().batch, Some(BLOCK), ">");
        let found = read(self.ask("reading the stream", &command).await?)?;
        self.take(desk, found).await
    }

    /// Entries that were delivered before; those that were delivered too often are dead.
    async fn take_again(&mut self, desk: &mut Desk, found: Vec<Entry>) -> Step<()> {
        let Some(end) = last(found.iter().map(|entry| entry.id.as_str())) else { return Ok(()) };
        let start = found.iter().map(|entry| entry.id.as_str()).min_by_key(|id| id_parts(id)).unwrap_or(end);
        let mut command = redis::cmd("XPENDING");
        command.arg(&self.group.stream).arg(&self.group.group).arg(start).arg(end);
        command.arg(found.len().max(STEP)).arg(&self.group.consumer);
        let counts = deliveries(self.ask("counting deliveries", &command).await?)?;
        let too_often = |entry: &Entry| counts.get(&entry.id).is_some_and(|count| *count > self.group.deliveries_max);
        let (dead, alive): (Vec<Entry>, Vec<Entry>) = found.into_iter().partition(too_often);
        self.bury(desk, dead).await?;
        self.take(desk, alive).await
    }

    /// Publishes entries, and acknowledges them when that is durable.
    async fn take(&mut self, desk: &mut Desk, found: Vec<Entry>) -> Step<()> {
        let Some(end) = last(found.iter().map(|entry| entry.id.as_str())).map(str::to_owned) else { return Ok(()) };
        let (at, limits) = (desk.now(), desk.limits());
        let offers = found.iter().map(|entry| offer(entry, &self.group, &self.source, at, &limits)).collect();
        desk.hand_in(offers, Some(end)).await?;
        death::named("intake.committed");
        let mut command = redis::cmd("XACK");
        command.arg(&self.group.stream).arg(&self.group.group);
        found.iter().for_each(|entry| {
            command.arg(&entry.id);
        });
        self.ask("acknowledging entries", &command).await.map(|_| ())
    }

    /// Entries that were delivered again and again, whatever ended each time: told, and moved to the stream of the
    /// dead.
    async fn bury(&mut self, desk: &mut Desk, dead: Vec<Entry>) -> Step<()> {
        if dead.is_empty() {
            return Ok(());
        }
        let refused = |entry: &Entry| {
            let reason = format!("delivered more than {} times without an end", self.group.deliveries_max);
            let (place, field) = (entry.id.clone(), "deliveries".to_owned());
            Offer::Refused(Refused { place, field, reason, row: kept(entry) })
        };
        desk.hand_in(dead.iter().map(refused).collect(), None).await?;
        let mut commands = redis::pipe();
        commands.atomic();
        for entry in &dead {
            let mut add = redis::cmd("XADD");
            add.arg(self.group.dead()).arg("*").arg("_id").arg(&entry.id).arg("_stream").arg(&self.group.stream);
            for (name, value) in entry.fields.iter().flatten() {
                add.arg(name).arg(value.as_slice());
            }
            commands.add_command(add).ignore();
            let mut acknowledge = redis::cmd("XACK");
            acknowledge.arg(&self.group.stream).arg(&self.group.group).arg(&entry.id);
            commands.add_command(acknowledge).ignore();
        }
        let moved: Value = self.link.run_all("moving entries to the stream of the dead", &commands).await?;
        drop(moved);
        Ok(())
    }

    /// Entries that wait: not given to anybody, or given and not acknowledged.
    async fn lag(&mut self) -> Result<Option<u64>> {
        seen_group(&mut self.link, &self.group).await.map(|seen| seen.map(|(lag, _)| lag))
    }
}

/// How much waits in the group, and in the stream as a whole; `None`: there is no such group.
pub(super) async fn seen_group(link: &mut Link, group: &RedisGroup) -> Result<Option<(u64, u64)>> {
    let mut command = redis::cmd("XINFO");
    command.arg("GROUPS").arg(&group.stream);
    let answer = match link.try_ask::<Value>("looking at the group", &command).await {
        Ok(answer) => answer,
        Err((Some(code), _)) if code == "ERR" => return Ok(None),
        Err((_, error)) => return Err(error),
    };
    let Some(seen) = groups(answer)?.into_iter().find(|seen| seen.name == group.group) else { return Ok(None) };
    let length: u64 = link.ask("measuring the stream", redis::cmd("XLEN").arg(&group.stream)).await?;
    // Where Redis cannot say, no more can wait than is there.
    let waiting = seen.lag.unwrap_or_else(|| length.saturating_sub(seen.pending));
    Ok(Some((waiting + seen.pending, length)))
}

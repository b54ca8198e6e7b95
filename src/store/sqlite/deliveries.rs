//! Deliveries and attempts as stored: what waits for a subscription, and every try to bring it there.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use super::claims::{read_instant, unreadable};
use super::fault::Step;
use crate::model::{
    Attempt, AttemptOutcome, Attempted, AttemptsWanted, BlockedKey, Chosen, Decision, DeliveriesWanted, Delivery,
    DeliveryFigures, DeliveryState, FiguresSince, Instant, Then,
};
use crate::store::deliveries::{FAILED, none_chosen};

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Adds deliveries; one that waits already stays as it is, one that was dead or parked waits again.
pub(super) fn add(connection: &Connection, deliveries: &[Delivery]) -> Step<()> {
    let sql = "insert into _delivery (subscription, event, key, state, due_at, attempts, by) \
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7) on conflict (subscription, event) do update set \
               state = excluded.state, due_at = excluded.due_at, attempts = excluded.attempts, by = excluded.by \
               where state <> 'waiting'";
    let mut statement = connection.prepare_cached(sql)?;
    for delivery in deliveries {
        statement.execute((
            &delivery.subscription,
            delivery.event as i64,
            &delivery.key,
            delivery.state.name(),
            delivery.due_at.to_string(),
            delivery.attempts,
            &delivery.by,
        ))?;
    }
    Ok(())
}

/// Adds attempts, and moves their deliveries on. One that is no longer there stays away; one that a person has set aside
/// meanwhile stays so, unless it is settled.
pub(super) fn attempted(connection: &Connection, attempted: &[Attempted]) -> Step<()> {
    for Attempted { attempt, then } in attempted {
        add_attempt(connection, attempt)?;
        let (subscription, event) = (&attempt.subscription, attempt.event as i64);
        let (state, due_at) = match then {
            Then::Done => {
                let sql = "delete from _delivery where subscription = ?1 and event = ?2";
                connection.prepare_cached(sql)?.execute((subscription, event))?;
                continue;
            }
            Then::Again { at } => (DeliveryState::Waiting, *at),
            Then::Dead => (DeliveryState::Dead, attempt.at),
            Then::Parked => (DeliveryState::Parked, attempt.at),
        };
        let sql = "update _delivery set state = ?3, due_at = ?4, attempts = ?5 \
                   where subscription = ?1 and event = ?2 and state = 'waiting'";
        let parameters = (subscription, event, state.name(), due_at.to_string(), attempt.number);
        connection.prepare_cached(sql)?.execute(parameters)?;
    }
    Ok(())
}

fn add_attempt(connection: &Connection, attempt: &Attempt) -> Step<()> {
    let sql = "insert into _attempt (subscription, event, request, number, at, took_ms, outcome, status, error, \
               detail, delay_ms, by) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    connection.prepare_cached(sql)?.execute((
        &attempt.subscription,
        attempt.event as i64,
        &attempt.request,
        attempt.number,
        attempt.at.to_string(),
        attempt.took_ms as i64,
        attempt.outcome.name(),
        attempt.status,
        &attempt.error,
        &attempt.detail,
        attempt.delay_ms as i64,
        &attempt.by,
    ))?;
    Ok(())
}

/// The condition that names the chosen deliveries; `?2` is the event or the key.
fn condition(chosen: &Chosen, decision: Decision) -> &'static str {
    match (chosen, decision) {
        (Chosen::Event(_), _) => "event = ?2",
        (Chosen::Key(_), Decision::Retry) => "key = ?2",
        (Chosen::Key(_), Decision::Park) => "key = ?2 and state = 'dead'",
        (Chosen::Key(_), Decision::Skip) => "key = ?2 and state in ('dead', 'parked')",
        (Chosen::All, Decision::Retry) => "?2 = ''",
        (Chosen::All, Decision::Park) => "?2 = '' and state = 'dead'",
        (Chosen::All, Decision::Skip) => "?2 = '' and state in ('dead', 'parked')",
    }
}

/// A person decides; how many deliveries it was about. None is refused where one event was named.
pub(super) fn decide(
    connection: &Connection,
    (subscription, chosen): (&str, &Chosen),
    decision: Decision,
    (by, now): (&str, Instant),
) -> Step<u64> {
    let (condition, value) = (condition(chosen, decision), value(chosen));
    let at = now.to_string();
    let changed = match decision {
        Decision::Skip => {
            let sql = format!(
                "insert into _attempt (subscription, event, request, number, at, took_ms, outcome, status, error, \
                 detail, delay_ms, by) select subscription, event, '', attempts, ?3, 0, 'skipped', null, null, null, 0, \
                 ?4 from _delivery where subscription = ?1 and {condition} order by event"
            );
            connection.prepare_cached(&sql)?.execute((subscription, &value, at, by))?;
            let sql = format!("delete from _delivery where subscription = ?1 and {condition}");
            connection.prepare_cached(&sql)?.execute((subscription, &value))?
        }
        Decision::Park => {
            let sql = format!("update _delivery set state = 'parked' where subscription = ?1 and {condition}");
            connection.prepare_cached(&sql)?.execute((subscription, &value))?
        }
        Decision::Retry => {
            let sql = format!(
                "update _delivery set state = 'waiting', due_at = ?3, attempts = 0, by = ?4 \
                 where subscription = ?1 and {condition}"
            );
            connection.prepare_cached(&sql)?.execute((subscription, &value, at, by))?
        }
    };
    match chosen {
        Chosen::Event(event) if changed == 0 => Err(none_chosen(subscription, *event).into()),
        _ => Ok(changed as u64),
    }
}

fn value(chosen: &Chosen) -> rusqlite::types::Value {
    match chosen {
        Chosen::Event(event) => rusqlite::types::Value::Integer(*event as i64),
        Chosen::Key(key) => rusqlite::types::Value::Text(key.clone()),
        Chosen::All => rusqlite::types::Value::Text(String::new()),
    }
}

/// Nothing waits any more for a subscription that is gone.
pub(super) fn forget_deliveries(connection: &Connection, subscription: &str) -> Step<()> {
    connection.prepare_cached("delete from _delivery where subscription = ?1")?.execute([subscription])?;
    Ok(())
}

/// Attempts from before an instant are forgotten, the oldest first, at most `limit` in one step.
pub(super) fn forget_attempts(connection: &Connection, before: Instant, limit: usize) -> Step<()> {
    let sql = "delete from _attempt where id in (select id from _attempt where at < ?1 order by at limit ?2)";
    connection.prepare_cached(sql)?.execute((before.to_string(), number(limit)))?;
    Ok(())
}

/// Deliveries in the order of their events.
pub(super) fn deliveries(connection: &Connection, wanted: &DeliveriesWanted) -> Step<Vec<Delivery>> {
    let mut conditions = vec!["event > ?1"];
    let given = [
        (wanted.subscription.is_some(), "subscription = ?2", "?2 is null"),
        (wanted.key.is_some(), "key = ?3", "?3 is null"),
        (wanted.state.is_some(), "state = ?4", "?4 is null"),
        (wanted.event.is_some(), "event = ?5", "?5 is null"),
    ];
    conditions.extend(given.iter().map(|(given, some, none)| if *given { *some } else { *none }));
    let sql = format!(
        "select subscription, event, key, state, due_at, attempts, by from _delivery where {} \
         order by event, subscription limit ?6",
        conditions.join(" and ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let state = wanted.state.map(DeliveryState::name);
    let (after, event) = (wanted.after as i64, wanted.event.map(|event| event as i64));
    let parameters = (after, &wanted.subscription, &wanted.key, state, event, number(wanted.limit));
    let found = statement.query_map(parameters, read_delivery)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn read_delivery(row: &Row) -> rusqlite::Result<Delivery> {
    let state = row.get_ref(3)?.as_str()?;
    Ok(Delivery {
        subscription: row.get(0)?,
        event: row.get::<_, i64>(1)? as u64,
        key: row.get(2)?,
        state: DeliveryState::from_name(state).ok_or_else(|| unreadable(3, "delivery"))?,
        due_at: read_instant(row, 4)?,
        attempts: row.get(5)?,
        by: row.get(6)?,
    })
}

/// Keys that wait for a person, by subscription and key.
pub(super) fn blocked(connection: &Connection, subscription: Option<&str>, limit: usize) -> Step<Vec<BlockedKey>> {
    let sql = "select dead.subscription, dead.key, dead.event, dead.attempts, \
               (select count(*) from _delivery as behind where behind.subscription = dead.subscription \
                and behind.key = dead.key and behind.event > dead.event and behind.state = 'waiting') \
               from (select subscription, key, min(event) as event, max(attempts) as attempts from _delivery \
                     where state = 'dead' and key <> '' and (?1 is null or subscription = ?1) \
                     group by subscription, key) as dead order by dead.subscription, dead.event limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map((subscription, number(limit)), |row| {
        Ok(BlockedKey {
            subscription: row.get(0)?,
            key: row.get(1)?,
            event: row.get::<_, i64>(2)? as u64,
            attempts: row.get(3)?,
            waiting: row.get::<_, i64>(4)? as u64,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Attempts, newest first, or oldest first after a number.
pub(super) fn attempts(connection: &Connection, wanted: &AttemptsWanted) -> Step<Vec<Attempt>> {
    let given = [
        (wanted.subscription.is_some(), "subscription = ?1", "?1 is null"),
        (wanted.event.is_some(), "event = ?2", "?2 is null"),
        (wanted.outcome.is_some(), "outcome = ?3", "?3 is null"),
        (wanted.error.is_some(), "error = ?4", "?4 is null"),
        (wanted.from.is_some(), "at >= ?5", "?5 is null"),
        (wanted.until.is_some(), "at < ?6", "?6 is null"),
        (wanted.before.is_some(), "id < ?7", "?7 is null"),
        (wanted.after.is_some(), "id > ?8", "?8 is null"),
        (wanted.events.is_some(), "event between ?10 and ?11", "?10 is null and ?11 is null"),
    ];
    let mut conditions: Vec<String> =
        given.iter().map(|(given, some, none)| if *given { *some } else { *none }.to_string()).collect();
    if wanted.failed {
        conditions.push(format!("outcome in ({FAILED})"));
    }
    let order = if wanted.after.is_some() { "id" } else { "id desc" };
    let sql = format!(
        "select id, subscription, event, request, number, at, took_ms, outcome, status, error, detail, delay_ms, by \
         from _attempt where {} order by {order} limit ?9",
        conditions.join(" and ")
    );
    let text = |at: Option<Instant>| at.map(|at| at.to_string());
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(
        (
            &wanted.subscription,
            wanted.event.map(|event| event as i64),
            wanted.outcome.map(AttemptOutcome::name),
            &wanted.error,
            text(wanted.from),
            text(wanted.until),
            wanted.before,
            wanted.after,
            number(wanted.limit),
            wanted.events.map(|(from, _)| from as i64),
            wanted.events.map(|(_, to)| to as i64),
        ),
        read_attempt,
    )?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn read_attempt(row: &Row) -> rusqlite::Result<Attempt> {
    let outcome = row.get_ref(7)?.as_str()?;
    Ok(Attempt {
        id: row.get(0)?,
        subscription: row.get(1)?,
        event: row.get::<_, i64>(2)? as u64,
        request: row.get(3)?,
        number: row.get(4)?,
        at: read_instant(row, 5)?,
        took_ms: row.get::<_, i64>(6)? as u64,
        outcome: AttemptOutcome::from_name(outcome).ok_or_else(|| unreadable(7, "attempt"))?,
        status: row.get(8)?,
        error: row.get(9)?,
        detail: row.get(10)?,
        delay_ms: row.get::<_, i64>(11)? as u64,
        by: row.get(12)?,
    })
}

/// The figures of every subscription that has a delivery or an attempt, by name.
pub(super) fn figures(connection: &Connection, since: FiguresSince) -> Step<Vec<DeliveryFigures>> {
    let mut found: BTreeMap<String, DeliveryFigures> = BTreeMap::new();
    let each = |sql: &str, at: Option<Instant>, found: &mut BTreeMap<String, DeliveryFigures>, take: Take| {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = match at {
            Some(at) => statement.query([at.to_string()])?,
            None => statement.query(())?,
        };
        while let Some(row) = rows.next()? {
            let subscription: String = row.get(0)?;
            let entry = found.entry(subscription.clone());
            take(entry.or_insert_with(|| DeliveryFigures { subscription, ..DeliveryFigures::default() }), row)?;
        }
        Ok::<_, super::fault::Fault>(())
    };
    each(WAITING, None, &mut found, |figures, row| {
        (figures.waiting, figures.retrying) = (count(row, 1)?, count(row, 2)?);
        (figures.dead, figures.parked) = (count(row, 3)?, count(row, 4)?);
        let oldest: Option<i64> = row.get(5)?;
        figures.oldest = match oldest {
            Some(event) => Some((event as u64, read_instant(row, 6)?)),
            None => None,
        };
        Ok(())
    })?;
    each(SUCCESS, Some(since.success), &mut found, |figures, row| {
        (figures.attempts, figures.delivered) = (count(row, 1)?, count(row, 2)?);
        Ok(())
    })?;
    each(DELAYS, Some(since.delay), &mut found, |figures, row| {
        (figures.delay_mean_ms, figures.delay_p95_ms) = (row.get(1)?, Some(count(row, 2)?));
        Ok(())
    })?;
    let errors = format!(
        "select subscription, coalesce(error, outcome), count(*) from _attempt where at >= ?1 \
         and outcome in ({FAILED}) group by subscription, coalesce(error, outcome)"
    );
    each(&errors, Some(since.failures), &mut found, |figures, row| {
        figures.errors.insert(row.get(1)?, count(row, 2)?);
        Ok(())
    })?;
    for figures in found.values_mut() {
        figures.failed_in_a_row = failed_in_a_row(connection, &figures.subscription)?;
    }
    Ok(found.into_values().collect())
}

type Take = fn(&mut DeliveryFigures, &Row) -> rusqlite::Result<()>;

fn count(row: &Row, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)? as u64)
}

const WAITING: &str = "select counted.subscription, waiting, retrying, dead, parked, oldest, _event.at from \
    (select subscription, sum(state = 'waiting') as waiting, sum(state = 'waiting' and attempts > 0) as retrying, \
     sum(state = 'dead') as dead, sum(state = 'parked') as parked, \
     min(case when state = 'waiting' then event end) as oldest from _delivery group by subscription) as counted \
    left join _event on _event.id = counted.oldest";

const SUCCESS: &str = "select subscription, count(*), sum(outcome = 'delivered') from _attempt \
                       where at >= ?1 and outcome <> 'skipped' group by subscription";

const DELAYS: &str = "select subscription, avg(delay_ms), min(case when part >= 0.95 then delay_ms end) from \
    (select subscription, delay_ms, cume_dist() over (partition by subscription order by delay_ms) as part \
     from _attempt where at >= ?1 and outcome = 'delivered') group by subscription";

fn failed_in_a_row(connection: &Connection, subscription: &str) -> Step<u64> {
    let sql = format!(
        "select count(*) from _attempt where subscription = ?1 and outcome in ({FAILED}) and id > coalesce(\
         (select id from _attempt where subscription = ?1 and outcome = 'delivered' order by id desc limit 1), 0)"
    );
    Ok(connection.prepare_cached(&sql)?.query_row([subscription], |row| count(row, 0))?)
}

//! Deliveries and attempts as stored: what waits for a subscription, and every try to bring it there.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::claims::unreadable;
use super::connection::Session;
use super::fault::Step;
use super::values::{SqlInstant, clean};
use crate::model::{
    Attempt, AttemptOutcome, Attempted, AttemptsWanted, BlockedKey, Chosen, Decision, DeliveriesWanted, Delivery,
    DeliveryFigures, DeliveryState, FiguresSince, Instant, Then,
};
use crate::store::deliveries::{FAILED, none_chosen};

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Adds deliveries; one that waits already stays as it is, one that was dead or parked waits again.
pub(super) async fn add(session: &Session, deliveries: &[Delivery]) -> Step<()> {
    let subscriptions: Vec<String> = deliveries.iter().map(|delivery| clean(&delivery.subscription)).collect();
    let events: Vec<i64> = deliveries.iter().map(|delivery| delivery.event as i64).collect();
    let keys: Vec<String> = deliveries.iter().map(|delivery| clean(&delivery.key)).collect();
    let states: Vec<&str> = deliveries.iter().map(|delivery| delivery.state.name()).collect();
    let due: Vec<SqlInstant> = deliveries.iter().map(|delivery| SqlInstant(delivery.due_at)).collect();
    let attempts: Vec<i64> = deliveries.iter().map(|delivery| i64::from(delivery.attempts)).collect();
    let by: Vec<String> = deliveries.iter().map(|delivery| clean(&delivery.by)).collect();
    let sql = "insert into _delivery (subscription, event, key, state, due_at, attempts, by) \
               select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], \
               $6::bigint[], $7::text[]) on conflict (subscription, event) do update set \
               state = excluded.state, due_at = excluded.due_at, attempts = excluded.attempts, by = excluded.by \
               where _delivery.state <> 'waiting'";
    session.execute(sql, &[&subscriptions, &events, &keys, &states, &due, &attempts, &by]).await?;
    Ok(())
}

/// Adds attempts, and moves their deliveries on. One that is no longer there stays away; one that a person has set aside
/// meanwhile stays so, unless it is settled.
pub(super) async fn attempted(session: &Session, attempted: &[Attempted]) -> Step<()> {
    add_attempts(session, attempted).await?;
    let done: Vec<&Attempted> = attempted.iter().filter(|one| one.then == Then::Done).collect();
    if !done.is_empty() {
        let subscriptions: Vec<String> = done.iter().map(|one| clean(&one.attempt.subscription)).collect();
        let events: Vec<i64> = done.iter().map(|one| one.attempt.event as i64).collect();
        let sql = "delete from _delivery using unnest($1::text[], $2::bigint[]) as done (subscription, event) \
                   where _delivery.subscription = done.subscription and _delivery.event = done.event";
        session.execute(sql, &[&subscriptions, &events]).await?;
    }
    for Attempted { attempt, then } in attempted {
        let (state, due_at) = match then {
            Then::Done => continue,
            Then::Again { at } => (DeliveryState::Waiting, *at),
            Then::Dead => (DeliveryState::Dead, attempt.at),
            Then::Parked => (DeliveryState::Parked, attempt.at),
        };
        let sql = "update _delivery set state = $3, due_at = $4, attempts = $5 \
                   where subscription = $1 and event = $2 and state = 'waiting'";
        let (subscription, event) = (clean(&attempt.subscription), attempt.event as i64);
        let number = i64::from(attempt.number);
        session.execute(sql, &[&subscription, &event, &state.name(), &SqlInstant(due_at), &number]).await?;
    }
    Ok(())
}

async fn add_attempts(session: &Session, attempted: &[Attempted]) -> Step<()> {
    let all = || attempted.iter().map(|one| &one.attempt);
    let optional = |text: &Option<String>| text.as_deref().map(clean);
    let subscriptions: Vec<String> = all().map(|attempt| clean(&attempt.subscription)).collect();
    let events: Vec<i64> = all().map(|attempt| attempt.event as i64).collect();
    let requests: Vec<String> = all().map(|attempt| clean(&attempt.request)).collect();
    let numbers: Vec<i64> = all().map(|attempt| i64::from(attempt.number)).collect();
    let at: Vec<SqlInstant> = all().map(|attempt| SqlInstant(attempt.at)).collect();
    let took: Vec<i64> = all().map(|attempt| attempt.took_ms as i64).collect();
    let outcomes: Vec<&str> = all().map(|attempt| attempt.outcome.name()).collect();
    let status: Vec<Option<i32>> = all().map(|attempt| attempt.status.map(i32::from)).collect();
    let errors: Vec<Option<String>> = all().map(|attempt| optional(&attempt.error)).collect();
    let details: Vec<Option<String>> = all().map(|attempt| optional(&attempt.detail)).collect();
    let delays: Vec<i64> = all().map(|attempt| attempt.delay_ms as i64).collect();
    let by: Vec<String> = all().map(|attempt| clean(&attempt.by)).collect();
    let sql = "insert into _attempt (subscription, event, request, number, at, took_ms, outcome, status, error, detail, \
               delay_ms, by) select subscription, event, request, number, at, took_ms, outcome, status, error, detail, \
               delay_ms, by from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[], \
               $6::bigint[], $7::text[], $8::integer[], $9::text[], $10::text[], $11::bigint[], $12::text[]) \
               with ordinality as new (subscription, event, request, number, at, took_ms, outcome, status, error, \
               detail, delay_ms, by, place) order by place";
    let values: [&(dyn ToSql + Sync); 12] =
        [&subscriptions, &events, &requests, &numbers, &at, &took, &outcomes, &status, &errors, &details, &delays, &by];
    session.execute(sql, &values).await?;
    Ok(())
}

/// The condition that names the chosen deliveries; `$2` is the event or the key.
fn condition(chosen: &Chosen, decision: Decision) -> &'static str {
    match (chosen, decision) {
        (Chosen::Event(_), _) => "event = $2::bigint",
        (Chosen::Key(_), Decision::Retry) => "key = $2::text",
        (Chosen::Key(_), Decision::Park) => "key = $2::text and state = 'dead'",
        (Chosen::Key(_), Decision::Skip) => "key = $2::text and state in ('dead', 'parked')",
        (Chosen::All, Decision::Retry) => "$2::text is null",
        (Chosen::All, Decision::Park) => "$2::text is null and state = 'dead'",
        (Chosen::All, Decision::Skip) => "$2::text is null and state in ('dead', 'parked')",
    }
}

/// A person decides; how many deliveries it was about. None is refused where one event was named.
pub(super) async fn decide(
    session: &Session,
    (subscription, chosen): (&str, &Chosen),
    decision: Decision,
    (by, now): (&str, Instant),
) -> Step<u64> {
    let condition = condition(chosen, decision);
    let (subscription, by, at) = (clean(subscription), clean(by), SqlInstant(now));
    let (event, key): (i64, Option<String>) = match chosen {
        Chosen::Event(event) => (*event as i64, None),
        Chosen::Key(key) => (0, Some(clean(key))),
        Chosen::All => (0, None),
    };
    let value: &(dyn ToSql + Sync) = if matches!(chosen, Chosen::Event(_)) { &event } else { &key };
    let changed = match decision {
        Decision::Skip => {
            let sql = format!(
                "with gone as (delete from _delivery where subscription = $1 and {condition} \
                 returning subscription, event, attempts) \
                 insert into _attempt (subscription, event, request, number, at, took_ms, outcome, delay_ms, by) \
                 select subscription, event, '', attempts, $3, 0, 'skipped', 0, $4 from gone order by event"
            );
            session.execute(&sql, &[&subscription, value, &at, &by]).await?
        }
        Decision::Park => {
            let sql = format!("update _delivery set state = 'parked' where subscription = $1 and {condition}");
            session.execute(&sql, &[&subscription, value]).await?
        }
        Decision::Retry => {
            let sql = format!(
                "update _delivery set state = 'waiting', due_at = $3, attempts = 0, by = $4 \
                 where subscription = $1 and {condition}"
            );
            session.execute(&sql, &[&subscription, value, &at, &by]).await?
        }
    };
    match chosen {
        Chosen::Event(event) if changed == 0 => Err(none_chosen(&subscription, *event).into()),
        _ => Ok(changed),
    }
}

/// Nothing waits any more for a subscription that is gone.
pub(super) async fn forget_deliveries(session: &Session, subscription: &str) -> Step<()> {
    session.execute("delete from _delivery where subscription = $1", &[&clean(subscription)]).await?;
    Ok(())
}

/// Attempts from before an instant are forgotten, the oldest first, at most `limit` in one step.
pub(super) async fn forget_attempts(session: &Session, before: Instant, limit: usize) -> Step<()> {
    let sql = "delete from _attempt where id in (select id from _attempt where at < $1 order by at limit $2)";
    session.execute(sql, &[&SqlInstant(before), &number(limit)]).await?;
    Ok(())
}

/// Deliveries in the order of their events.
pub(super) async fn deliveries(session: &Session, wanted: &DeliveriesWanted) -> Step<Vec<Delivery>> {
    let mut conditions = vec!["event > $1"];
    let given = [
        (wanted.subscription.is_some(), "subscription = $2", "$2::text is null"),
        (wanted.key.is_some(), "key = $3", "$3::text is null"),
        (wanted.state.is_some(), "state = $4", "$4::text is null"),
        (wanted.event.is_some(), "event = $5", "$5::bigint is null"),
    ];
    conditions.extend(given.iter().map(|(given, some, none)| if *given { *some } else { *none }));
    let sql = format!(
        "select subscription, event, key, state, due_at, attempts, by from _delivery where {} \
         order by event, subscription limit $6",
        conditions.join(" and ")
    );
    let [subscription, key] = [&wanted.subscription, &wanted.key].map(|text| text.as_deref().map(clean));
    let state = wanted.state.map(DeliveryState::name);
    let (after, event) = (wanted.after as i64, wanted.event.map(|event| event as i64));
    let values: [&(dyn ToSql + Sync); 6] = [&after, &subscription, &key, &state, &event, &number(wanted.limit)];
    session.query(&sql, &values).await?.iter().map(read_delivery).collect()
}

fn read_delivery(row: &Row) -> Step<Delivery> {
    Ok(Delivery {
        subscription: row.try_get(0)?,
        event: row.try_get::<_, i64>(1)? as u64,
        key: row.try_get(2)?,
        state: DeliveryState::from_name(row.try_get(3)?).ok_or_else(|| unreadable("delivery"))?,
        due_at: row.try_get::<_, SqlInstant>(4)?.0,
        attempts: u32::try_from(row.try_get::<_, i64>(5)?).map_err(|_| unreadable("delivery"))?,
        by: row.try_get(6)?,
    })
}

/// Keys that wait for a person, by subscription and event.
pub(super) async fn blocked(session: &Session, subscription: Option<&str>, limit: usize) -> Step<Vec<BlockedKey>> {
    let sql = "select dead.subscription, dead.key, dead.event, dead.attempts, \
               (select count(*) from _delivery as behind where behind.subscription = dead.subscription \
                and behind.key = dead.key and behind.event > dead.event and behind.state = 'waiting') \
               from (select subscription, key, min(event) as event, max(attempts) as attempts from _delivery \
                     where state = 'dead' and key <> '' and ($1::text is null or subscription = $1) \
                     group by subscription, key) as dead order by dead.subscription, dead.event limit $2";
    let read = |row: &Row| {
        Ok(BlockedKey {
            subscription: row.try_get(0)?,
            key: row.try_get(1)?,
            event: row.try_get::<_, i64>(2)? as u64,
            attempts: u32::try_from(row.try_get::<_, i64>(3)?).map_err(|_| unreadable("delivery"))?,
            waiting: row.try_get::<_, i64>(4)? as u64,
        })
    };
    session.query(sql, &[&subscription.map(clean), &number(limit)]).await?.iter().map(read).collect()
}

/// Attempts, newest first, or oldest first after a number.
pub(super) async fn attempts(session: &Session, wanted: &AttemptsWanted) -> Step<Vec<Attempt>> {
    let given = [
        (wanted.subscription.is_some(), "subscription = $1", "$1::text is null"),
        (wanted.event.is_some(), "event = $2", "$2::bigint is null"),
        (wanted.outcome.is_some(), "outcome = $3", "$3::text is null"),
        (wanted.error.is_some(), "error = $4", "$4::text is null"),
        (wanted.from.is_some(), "at >= $5", "$5::timestamptz is null"),
        (wanted.until.is_some(), "at < $6", "$6::timestamptz is null"),
        (wanted.before.is_some(), "id < $7", "$7::bigint is null"),
        (wanted.after.is_some(), "id > $8", "$8::bigint is null"),
        (wanted.events.is_some(), "event between $10 and $11", "$10::bigint is null and $11::bigint is null"),
    ];
    let mut conditions: Vec<String> =
        given.iter().map(|(given, some, none)| if *given { *some } else { *none }.to_string()).collect();
    if wanted.failed {
        conditions.push(format!("outcome in ({FAILED})"));
    }
    let order = if wanted.after.is_some() { "id" } else { "id desc" };
    let sql = format!(
        "select id, subscription, event, request, number, at, took_ms, outcome, status, error, detail, delay_ms, by \
         from _attempt where {} order by {order} limit $9",
        conditions.join(" and ")
    );
    let [subscription, error] = [&wanted.subscription, &wanted.error].map(|text| text.as_deref().map(clean));
    let values: [&(dyn ToSql + Sync); 11] = [
        &subscription,
        &wanted.event.map(|event| event as i64),
        &wanted.outcome.map(AttemptOutcome::name),
        &error,
        &wanted.from.map(SqlInstant),
        &wanted.until.map(SqlInstant),
        &wanted.before,
        &wanted.after,
        &number(wanted.limit),
        &wanted.events.map(|(from, _)| from as i64),
        &wanted.events.map(|(_, to)| to as i64),
    ];
    session.query(&sql, &values).await?.iter().map(read_attempt).collect()
}

fn read_attempt(row: &Row) -> Step<Attempt> {
    let status: Option<i32> = row.try_get(8)?;
    Ok(Attempt {
        id: row.try_get(0)?,
        subscription: row.try_get(1)?,
        event: row.try_get::<_, i64>(2)? as u64,
        request: row.try_get(3)?,
        number: u32::try_from(row.try_get::<_, i64>(4)?).map_err(|_| unreadable("attempt"))?,
        at: row.try_get::<_, SqlInstant>(5)?.0,
        took_ms: row.try_get::<_, i64>(6)? as u64,
        outcome: AttemptOutcome::from_name(row.try_get(7)?).ok_or_else(|| unreadable("attempt"))?,
        status: status.map(u16::try_from).transpose().map_err(|_| unreadable("attempt"))?,
        error: row.try_get(9)?,
        detail: row.try_get(10)?,
        delay_ms: row.try_get::<_, i64>(11)? as u64,
        by: row.try_get(12)?,
    })
}

/// The figures of every subscription that has a delivery or an attempt, by name.
pub(super) async fn figures(session: &Session, since: FiguresSince) -> Step<Vec<DeliveryFigures>> {
    let mut found: BTreeMap<String, DeliveryFigures> = BTreeMap::new();
    let mut entry = |row: &Row, take: &dyn Fn(&mut DeliveryFigures) -> Step<()>| -> Step<()> {
        let subscription: String = row.try_get(0)?;
        let entry = found.entry(subscription.clone());
        take(entry.or_insert_with(|| DeliveryFigures { subscription, ..DeliveryFigures::default() }))
    };
    for row in session.query(WAITING, &[]).await? {
        entry(&row, &|figures| {
            (figures.waiting, figures.retrying) = (count(&row, 1)?, count(&row, 2)?);
            (figures.dead, figures.parked) = (count(&row, 3)?, count(&row, 4)?);
            let oldest: Option<i64> = row.try_get(5)?;
            let at: Option<SqlInstant> = row.try_get(6)?;
            figures.oldest = oldest.zip(at).map(|(event, at)| (event as u64, at.0));
            Ok(())
        })?;
    }
    for row in session.query(SUCCESS, &[&SqlInstant(since.success)]).await? {
        entry(&row, &|figures| {
            (figures.attempts, figures.delivered) = (count(&row, 1)?, count(&row, 2)?);
            Ok(())
        })?;
    }
    for row in session.query(DELAYS, &[&SqlInstant(since.delay)]).await? {
        entry(&row, &|figures| {
            (figures.delay_mean_ms, figures.delay_p95_ms) = (row.try_get(1)?, Some(count(&row, 2)?));
            Ok(())
        })?;
    }
    let errors = format!(
        "select subscription, coalesce(error, outcome), count(*) from _attempt where at >= $1 \
         and outcome in ({FAILED}) group by subscription, coalesce(error, outcome)"
    );
    for row in session.query(&errors, &[&SqlInstant(since.failures)]).await? {
        entry(&row, &|figures| {
            figures.errors.insert(row.try_get(1)?, count(&row, 2)?);
            Ok(())
        })?;
    }
    for figures in found.values_mut() {
        figures.failed_in_a_row = failed_in_a_row(session, &figures.subscription).await?;
    }
    Ok(found.into_values().collect())
}

fn count(row: &Row, column: usize) -> Step<u64> {
    Ok(row.try_get::<_, i64>(column)? as u64)
}

const WAITING: &str = "select counted.subscription, waiting, retrying, dead, parked, oldest, _event.at from \
    (select subscription, count(*) filter (where state = 'waiting') as waiting, \
     count(*) filter (where state = 'waiting' and attempts > 0) as retrying, \
     count(*) filter (where state = 'dead') as dead, count(*) filter (where state = 'parked') as parked, \
     min(event) filter (where state = 'waiting') as oldest from _delivery group by subscription) as counted \
    left join _event on _event.id = counted.oldest";

const SUCCESS: &str = "select subscription, count(*), count(*) filter (where outcome = 'delivered') from _attempt \
                       where at >= $1 and outcome <> 'skipped' group by subscription";

const DELAYS: &str = "select subscription, avg(delay_ms)::double precision, \
    percentile_disc(0.95) within group (order by delay_ms) \
    from _attempt where at >= $1 and outcome = 'delivered' group by subscription";

async fn failed_in_a_row(session: &Session, subscription: &str) -> Step<u64> {
    let sql = format!(
        "select count(*) from _attempt where subscription = $1 and outcome in ({FAILED}) and id > coalesce(\
         (select id from _attempt where subscription = $1 and outcome = 'delivered' order by id desc limit 1), 0)"
    );
    count(&session.query_one(&sql, &[&subscription]).await?, 0)
}

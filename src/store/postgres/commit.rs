//! The only write: every change of a commit in one transaction, with the events that it makes true.
//!
//! The order of locks is the same in every commit: the fenced task, publishing, the tables, the places, and last the event
//! log, whose numbers have no gap and follow the order of commits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::claims;
use super::conflicts;
use super::connection::Session;
use super::definitions;
use super::deliveries;
use super::duties;
use super::fault::Step;
use super::health;
use super::journal;
use super::messages;
use super::partitions::Partitions;
use super::places::{self, Counted};
use super::received;
use super::reconciliations;
use super::rows::{self, Work};
use super::runs;
use super::table::Table;
use super::tasks;
use super::transfer;
use super::values::{SqlDay, SqlInstant, clean, lock_number};
use crate::model::reconciliation::Reconciled;
use crate::model::{
    Change, Chosen, Commit, Counts, Decision, Error, EventType, Failure, Fence, Instant, Lease, Message, Offered,
    Place, Published, Quarantined, Receipt, Resolution, RowsChange, Run, RunFence, RunId, Take, Task, TaskState,
    Totals, definition,
};
use crate::store::death;
use crate::store::deliveries::{FORGOTTEN_MAX, decided_data};
use crate::store::events::{offered_again, published_data};
use crate::store::ledger::{lacks_text, securities_text};
use crate::store::reconciliations::{alert_data, finished_data};
use crate::store::runs::{defined_data, fence_of, run_event, started_data, undefined_data};

/// The prepared datasets by name.
pub(super) type Tables = HashMap<String, Arc<Table>>;

/// What a commit is applied to.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) session: &'a Session,
    pub(super) schema: &'a str,
    pub(super) tables: &'a Tables,
    pub(super) partitions: &'a Partitions,
}

/// Applies `commit`; on any error nothing is changed. `token` is recorded with the receipt.
pub(super) async fn commit(target: Target<'_>, commit: &Commit, token: i64) -> Step<Receipt> {
    death::point();
    let session = target.session;
    session.begin("isolation level read committed").await?;
    let applied = apply(target, commit, token).await;
    match applied {
        Ok(receipt) => {
            session.commit().await?;
            Ok(receipt)
        }
        Err(fault) => {
            session.roll_back().await;
            Err(fault)
        }
    }
}

async fn apply(target: Target<'_>, commit: &Commit, token: i64) -> Step<Receipt> {
    if let Some(fence) = commit.fence {
        tasks::check_fence(target.session, fence).await?;
    }
    if commit.changes.iter().any(|change| matches!(change, Change::Publish { .. } | Change::Number { .. })) {
        target.session.lock(lock_number(target.schema, "publishing")).await?;
    }
    let mut writer = Writer { target, commit, events: Vec::new(), messages: Vec::new(), repeated: Vec::new() };
    let works = writer.write_rows().await?;
    death::point();
    let mut receipt = writer.apply(works).await?;
    receipt.last_event = writer.store_events().await?;
    writer.store_messages(&mut receipt).await?;
    if !is_harmless_twice(commit) {
        record_token(target.session, token, &receipt).await?;
    }
    Ok(receipt)
}

/// Leases and places may be asked for again: what was given and never used is free again by itself. So may what is
/// forgotten.
fn is_harmless_twice(commit: &Commit) -> bool {
    let harmless = |change: &Change| {
        matches!(
            change,
            Change::RenewTask { .. }
                | Change::RenewRun { .. }
                | Change::RenewDuty { .. }
                | Change::LeaveDuty { .. }
                | Change::OnDuty { .. }
                | Change::TakePlace { .. }
                | Change::AnswerPlace { .. }
                | Change::ForgetRuns { .. }
                | Change::ForgetJournal { .. }
                | Change::ForgetAttempts { .. }
                | Change::ForgetReceived { .. }
                | Change::ForgetStands { .. }
        )
    };
    commit.changes.iter().all(harmless)
}

/// How long a caller may take to ask again.
const TOKEN_KEPT: &str = "interval '1 day'";

async fn record_token(session: &Session, token: i64, receipt: &Receipt) -> Step<()> {
    session.execute(&format!("delete from _token where at < now() - {TOKEN_KEPT}"), &[]).await?;
    let sql = "insert into _token (token, at, receipt) values ($1, now(), $2::text::jsonb)";
    session.execute(sql, &[&token, &receipt_text(receipt)]).await?;
    Ok(())
}

/// The receipt of a commit that is in the store already.
pub(super) async fn known_receipt(session: &Session, token: i64) -> Step<Option<Receipt>> {
    let rows = session.query("select receipt::text from _token where token = $1", &[&token]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let value: Value = serde_json::from_str(row.try_get(0)?).map_err(|_| claims::unreadable("receipt"))?;
    Ok(Some(receipt_of(&value).ok_or_else(|| claims::unreadable("receipt"))?))
}

fn receipt_text(receipt: &Receipt) -> String {
    let rows = receipt.rows.iter().map(|rows| {
        let Counts { seq, inserted, updated, unchanged, withdrawn, quarantined, conflicting } = *rows;
        json!([seq, inserted, updated, unchanged, withdrawn, quarantined, conflicting])
    });
    let places = receipt.places.iter().map(|place| match place {
        Place::Taken(number) => json!({ "taken": number }),
        Place::FreeAt(at) => json!({ "free_at": at.0 }),
        Place::DayUsed => json!({}),
    });
    let tasks = receipt.tasks.iter().map(|fence| json!([fence.task, fence.fence]));
    let runs = receipt.runs.iter().map(|fence| json!([fence.run, fence.fence]));
    let published = receipt.published.iter().map(|published| json!([published.event, published.was.name()]));
    json!({
        "rows": rows.collect::<Vec<_>>(), "tasks": tasks.collect::<Vec<_>>(), "places": places.collect::<Vec<_>>(),
        "runs": runs.collect::<Vec<_>>(), "last_event": receipt.last_event,
        "published": published.collect::<Vec<_>>(), "duties": receipt.duties, "reports": receipt.reports,
    })
    .to_string()
}

fn receipt_of(value: &Value) -> Option<Receipt> {
    let list = |name: &str| value[name].as_array();
    let rows = list("rows")?.iter().map(|rows| {
        let count = |at: usize| rows[at].as_u64();
        Some(Counts {
            seq: rows[0].as_i64()?,
            inserted: count(1)?,
            updated: count(2)?,
            unchanged: count(3)?,
            withdrawn: count(4)?,
            quarantined: count(5)?,
            conflicting: count(6)?,
        })
    });
    let tasks = list("tasks")?.iter().map(|fence| Some(Fence { task: fence[0].as_i64()?, fence: fence[1].as_i64()? }));
    // A receipt of an earlier version has none.
    let runs = value["runs"].as_array().into_iter().flatten();
    let runs = runs.map(|fence| Some(RunFence { run: fence[0].as_i64()?, fence: fence[1].as_i64()? }));
    let published = value["published"].as_array().into_iter().flatten();
    let published = published.map(|published| {
        Some(Published { event: published[0].as_u64()?, was: Offered::from_name(published[1].as_str()?)? })
    });
    let duties = value["duties"].as_array().into_iter().flatten().map(Value::as_i64);
    let reports = value["reports"].as_array().into_iter().flatten().map(Value::as_i64);
    let places = list("places")?.iter().map(|place| match (place["taken"].as_i64(), place["free_at"].as_i64()) {
        (Some(number), _) => Place::Taken(number),
        (None, Some(at)) => Place::FreeAt(Instant(at)),
        (None, None) => Place::DayUsed,
    });
    Some(Receipt {
        rows: rows.collect::<Option<_>>()?,
        tasks: tasks.collect::<Option<_>>()?,
        places: places.collect(),
        runs: runs.collect::<Option<_>>()?,
        published: published.collect::<Option<_>>()?,
        duties: duties.collect::<Option<_>>()?,
        reports: reports.collect::<Option<_>>()?,
        last_event: value["last_event"].as_u64()?,
    })
}

/// The rows of one dataset, with the position of each change in the commit.
type Changes<'a> = (&'a Table, Vec<(usize, &'a RowsChange)>);

/// A fact that waits for its number.
struct Fact {
    kind: EventType,
    dataset: Option<String>,
    task: Option<i64>,
    data: Value,
}

struct Writer<'a> {
    target: Target<'a>,
    commit: &'a Commit,
    events: Vec<Fact>,
    /// New messages, with the position of their events among `events` and of their answers in the receipt.
    messages: Vec<(&'a Message, usize, usize)>,
    /// Places in the receipt of messages that an earlier one of the commit says too, with the place of that one.
    repeated: Vec<(usize, usize)>,
}

impl<'a> Writer<'a> {
    fn session(&self) -> &'a Session {
        self.target.session
    }

    fn table(&self, dataset: &str) -> Step<&'a Table> {
        let error = || Error::not_found(format!("the store has no table {dataset}")).hint("see `tidegate datasets`");
        Ok(self.target.tables.get(dataset).ok_or_else(error)?)
    }

    /// Writes the rows of every change, dataset by dataset, and returns what was done in the order of the changes.
    async fn write_rows(&self) -> Step<Vec<Work<'a>>> {
        let mut by_dataset: BTreeMap<&str, Changes<'a>> = BTreeMap::new();
        for (at, change) in self.commit.changes.iter().enumerate() {
            let Change::Rows(change) = change else { continue };
            let table = self.table(&change.dataset.name)?;
            by_dataset.entry(table.name()).or_insert_with(|| (table, Vec::new())).1.push((at, change));
        }
        // In the order of names, so that two commits never wait for each other. Numbers are given under the lock: those
        // of one table follow the order of its commits.
        for (table, _) in by_dataset.values() {
            self.session().lock(lock_number(self.target.schema, &format!("table {}", table.name()))).await?;
        }
        let mut changes: Vec<(usize, &RowsChange)> =
            by_dataset.values().flat_map(|(_, changes)| changes.iter().copied()).collect();
        changes.sort_by_key(|(at, _)| *at);
        let mut seqs = HashMap::new();
        for (at, change) in changes {
            seqs.insert(at, self.record(change).await?);
        }
        let mut done = Vec::new();
        for (table, changes) in by_dataset.into_values() {
            let work = |(at, change): (usize, &'a RowsChange)| {
                let counts = Counts { seq: seqs.get(&at).copied().unwrap_or_default(), ..Counts::default() };
                Work { change, counts, refused: Vec::new(), conflicting: Vec::new() }
            };
            let mut works: Vec<Work<'a>> = changes.into_iter().map(work).collect();
            let Target { session, partitions, .. } = self.target;
            rows::write(rows::Place { session, table, partitions, now: self.commit.at }, &mut works).await?;
            done.extend(works);
        }
        done.sort_by_key(|work| work.counts.seq);
        Ok(done)
    }

    /// The commit record of one change; its counts follow when they are known.
    async fn record(&self, change: &RowsChange) -> Step<i64> {
        let sql = "insert into _commit (at, task, dataset, source, rank, security, from_day, to_day, fetched_at, lacks) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning seq";
        let row = self
            .session()
            .query_one(
                sql,
                &[
                    &SqlInstant(self.commit.at),
                    &self.commit.fence.map(|fence| fence.task),
                    &change.dataset.name,
                    &&*change.source,
                    &i16::from(change.rank),
                    &securities_text(&change.area.securities),
                    &SqlDay::from(change.area.span.from),
                    &SqlDay::from(change.area.span.to),
                    &SqlInstant(change.fetched_at),
                    &lacks_text(change),
                ],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Writes the ledger's part of every change, in their order.
    async fn apply(&mut self, works: Vec<Work<'a>>) -> Step<Receipt> {
        let mut receipt = Receipt::default();
        let mut progress = Totals::default();
        let mut works = works.into_iter();
        let now = self.commit.at;
        for change in &self.commit.changes {
            match change {
                Change::Rows(change) => {
                    let Some(work) = works.next() else { continue };
                    let counts = self.settle(work).await?;
                    progress.add(&Totals::of_rows(&change.source, counts));
                    receipt.rows.push(counts);
                }
                Change::Progress(totals) => progress.add(totals),
                Change::Task(task) => receipt.tasks.push(self.store_task(task).await?),
                Change::TakeTask { task, lease } => receipt.tasks.push(self.take_task(*task, lease.as_ref()).await?),
                Change::RenewTask { until } => {
                    let fence = self.commit.fence.ok_or_else(|| Error::bug("a lease is renewed without a task"))?;
                    tasks::renew_task(self.session(), fence.task, *until, now).await?;
                }
                Change::TakePlace { source, api, per_minute, per_day, held_until } => {
                    let (per_minute, per_day) = (*per_minute, *per_day);
                    let counted = Counted { schema: self.target.schema, source, api, per_minute, per_day };
                    receipt.places.push(places::take(self.session(), &counted, *held_until, now).await?);
                }
                Change::AnswerPlace { place, free_at } => {
                    places::answer(self.session(), *place, *free_at, now).await?;
                }
                Change::Failure(failure) => self.store_failure(failure).await?,
                Change::ResolveFailure { id, resolution } => self.resolve(*id, resolution).await?,
                Change::ResolveConflict { id, take } => self.resolve_conflict(*id, *take).await?,
                Change::QuotaUsed { source, api, day, calls } => {
                    tasks::add_quota(self.session(), source, api, *day, *calls).await?;
                }
                Change::SourceHealth(health) => health::add(self.session(), health).await?,
                Change::Run(run) => receipt.runs.push(self.store_run(&runs::cleaned(run)).await?),
                Change::TakeRun { run, lease } => receipt.runs.push(self.take_run(*run, lease.as_ref()).await?),
                Change::RenewRun { run, fence, until } => {
                    runs::renew(self.session(), RunFence { run: *run, fence: *fence }, *until, now).await?;
                }
                Change::ForgetRuns { keep } => runs::forget(self.session(), *keep).await?,
                Change::Define { kind, name, body, expect } => self.define((*kind, name), body, *expect).await?,
                Change::Undefine { kind, name } => self.undefine(*kind, name).await?,
                Change::Journal(entry) => journal::add(self.session(), entry).await?,
                Change::ForgetJournal { journal, before } => {
                    journal::forget(self.session(), *journal, *before).await?;
                }
                Change::Receive(_)
                | Change::Settle(_)
                | Change::ForgetReceived { .. }
                | Change::Publish { .. }
                | Change::SetAside { .. }
                | Change::Number { .. }
                | Change::Advance { .. }
                | Change::Stand { .. }
                | Change::StandFirst { .. }
                | Change::ForgetStands { .. }
                | Change::TakeDuty { .. }
                | Change::RenewDuty { .. }
                | Change::LeaveDuty { .. }
                | Change::OnDuty { .. }
                | Change::Deliver(_)
                | Change::Attempted(_)
                | Change::Decide { .. }
                | Change::ForgetDeliveries { .. }
                | Change::ForgetAttempts { .. } => self.carry(change, &mut receipt).await?,
                Change::Reconciled(reconciled) => self.reconciled(reconciled, &mut receipt).await?,
                Change::CopyBegins { from } => transfer::begin(self.target, from, now).await?,
                Change::Copied(piece) => transfer::write(self.target, piece).await?,
                Change::CopyEnds => transfer::end(self.session()).await?,
                Change::Event { kind, dataset, data } => {
                    self.event(*kind, dataset.as_deref(), self.task(), data.clone());
                }
            }
        }
        self.progress(&progress).await?;
        Ok(receipt)
    }

    /// Applies a change of the event gate: what was published, is on its way, or was taken in.
    async fn carry(&mut self, change: &'a Change, receipt: &mut Receipt) -> Step<()> {
        let now = self.commit.at;
        match change {
            Change::Receive(taken) => received::add(self.session(), taken).await?,
            Change::Settle(taken) => received::settle(self.session(), taken).await?,
            Change::ForgetReceived { before } => received::forget(self.session(), *before).await?,
            Change::Publish { message, expect_new } => {
                let published = self.publish(message, *expect_new, receipt.published.len()).await?;
                receipt.published.push(published);
            }
            Change::Number { series, first, count } => {
                messages::number(self.session(), series, *first, *count).await?;
            }
            Change::Advance { cursor, from, to } => messages::advance(self.session(), cursor, *from, *to).await?,
            Change::Stand { name, place } => messages::stand(self.session(), name, place, now).await?,
            Change::StandFirst { name, place } => {
                messages::stand_first(self.session(), name, place, now).await?;
            }
            Change::ForgetStands { prefix, before } => {
                messages::forget_stands(self.session(), prefix, *before).await?;
            }
            Change::SetAside { source, quarantined } => {
                messages::set_aside(self.session(), source, quarantined, now).await?;
            }
            Change::TakeDuty { duty, lease } => {
                receipt.duties.push(duties::take(self.session(), duty, lease, now).await?);
            }
            Change::RenewDuty { duty, fence, until } => {
                duties::renew(self.session(), duty, *fence, *until, now).await?;
            }
            Change::LeaveDuty { duty, fence } => duties::renew(self.session(), duty, *fence, now, now).await?,
            Change::OnDuty { duty, fence } => duties::check(self.session(), duty, *fence).await?,
            Change::Deliver(new) => deliveries::add(self.session(), new).await?,
            Change::Attempted(attempted) => deliveries::attempted(self.session(), attempted).await?,
            Change::Decide { subscription, chosen, decision, by } => {
                self.decide(subscription, chosen, *decision, by).await?;
            }
            Change::ForgetDeliveries { subscription } => {
                deliveries::forget_deliveries(self.session(), subscription).await?;
            }
            Change::ForgetAttempts { before } => {
                deliveries::forget_attempts(self.session(), *before, FORGOTTEN_MAX).await?;
            }
            _ => return Err(Error::bug("a change that carries no event").into()),
        }
        Ok(())
    }

    fn task(&self) -> Option<i64> {
        self.commit.fence.map(|fence| fence.task)
    }

    /// Adds to the totals of the task that this commit belongs to.
    async fn progress(&self, progress: &Totals) -> Step<()> {
        match self.commit.fence {
            Some(fence) if *progress != Totals::default() => {
                tasks::add_totals(self.session(), fence.task, progress).await
            }
            None if self.commit.changes.iter().any(|change| matches!(change, Change::Progress(_))) => {
                Err(Error::bug("progress without a task").into())
            }
            _ => Ok(()),
        }
    }

    async fn reconciled(&mut self, reconciled: &Reconciled, receipt: &mut Receipt) -> Step<()> {
        let (session, now) = (self.session(), self.commit.at);
        match reconciled {
            Reconciled::Report { report, differences, alert } => {
                let id = reconciliations::add(session, report, differences).await?;
                self.event(EventType::ReconcileFinished, None, None, finished_data(report, id));
                if let Some(threshold) = alert.filter(|threshold| report.counts.differences() > *threshold) {
                    self.event(EventType::GateAlert, None, None, alert_data(report, id, threshold));
                }
                receipt.reports.push(id);
            }
            Reconciled::Repaired { report, numbers, data } => {
                reconciliations::repaired(session, *report, numbers, now).await?;
                self.event(EventType::RepairFinished, None, None, data.clone());
            }
            Reconciled::Undone { report, numbers, data } => {
                reconciliations::unrepaired(session, *report, numbers).await?;
                self.event(EventType::RepairFinished, None, None, data.clone());
            }
            Reconciled::Forget { keep } => reconciliations::forget(session, *keep).await?,
        }
        Ok(())
    }

    fn event(&mut self, kind: EventType, dataset: Option<&str>, task: Option<i64>, data: Value) {
        self.events.push(Fact { kind, dataset: dataset.map(str::to_owned), task, data });
    }

    /// Keeps a message that is not known yet until its event has a number. `place`: that of its answer in the receipt.
    async fn publish(&mut self, message: &'a Message, expect_new: bool, place: usize) -> Step<Published> {
        let same = |(other, ..): &(&Message, usize, usize)| other.source == message.source && other.id == message.id;
        if let Some((first, _, first_place)) = self.messages.iter().find(|earlier| same(earlier)) {
            // Said twice in one commit: the number of the first is not known yet and follows.
            let again = offered_again(message, 0, &first.digest(), expect_new)?;
            self.repeated.push((place, *first_place));
            return Ok(again);
        }
        if let Some(known) = messages::known(self.session(), message, expect_new).await? {
            return Ok(known);
        }
        self.messages.push((message, self.events.len(), place));
        self.event(EventType::EventPublished, None, None, published_data(message));
        Ok(Published { event: 0, was: Offered::New })
    }

    /// Writes the new messages under the numbers that their events were given.
    async fn store_messages(&self, receipt: &mut Receipt) -> Step<()> {
        let first = receipt.last_event + 1 - self.events.len() as u64;
        for (message, event, place) in &self.messages {
            let event = first + *event as u64;
            messages::add(self.session(), message, event as i64, self.commit.at).await?;
            receipt.published[*place].event = event;
        }
        for (place, first_place) in &self.repeated {
            receipt.published[*place].event = receipt.published[*first_place].event;
        }
        Ok(())
    }

    /// Numbers the events and writes them, last of all: the lock on their numbers is held for a moment only. The
    /// number of the last one comes back.
    async fn store_events(&self) -> Step<u64> {
        let session = self.session();
        let last = "select coalesce(max(id), 0) from _event";
        if self.events.is_empty() {
            return Ok(session.query_one(last, &[]).await?.try_get::<_, i64>(0)? as u64);
        }
        session.lock(lock_number(self.target.schema, "events")).await?;
        let first: i64 = session.query_one(last, &[]).await?.try_get::<_, i64>(0)? + 1;
        let ids: Vec<i64> = (first..).take(self.events.len()).collect();
        let kinds: Vec<&str> = self.events.iter().map(|fact| fact.kind.name()).collect();
        let datasets: Vec<Option<&str>> = self.events.iter().map(|fact| fact.dataset.as_deref()).collect();
        let tasks: Vec<Option<i64>> = self.events.iter().map(|fact| fact.task).collect();
        let data: Vec<String> = self.events.iter().map(|fact| fact.data.to_string()).collect();
        let sql = "insert into _event (id, at, kind, dataset, task, data) \
                   select id, $6, kind, dataset, task, data::jsonb \
                   from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[]) \
                   as new (id, kind, dataset, task, data)";
        session.execute(sql, &[&ids, &kinds, &datasets, &tasks, &data, &SqlInstant(self.commit.at)]).await?;
        Ok(first as u64 + self.events.len() as u64 - 1)
    }

    /// Counts, claim, quarantine and events of rows that have been written.
    async fn settle(&mut self, work: Work<'a>) -> Step<Counts> {
        let Work { change, mut counts, refused, conflicting } = work;
        let refused = [&change.quarantined[..], &refused].concat();
        (counts.quarantined, counts.conflicting) = (refused.len() as u64, conflicting.len() as u64);
        self.record_counts(counts).await?;
        let Counts { seq, inserted, updated, unchanged, withdrawn, quarantined, .. } = counts;
        if let Some(claim) = change.claim {
            claims::store(self.session(), self.table(&change.dataset.name)?, change, claim).await?;
        }
        let data = json!({
            "area": change.area.to_string(), "source": &*change.source, "seq": seq, "inserted": inserted,
            "updated": updated, "unchanged": unchanged, "withdrawn": withdrawn, "quarantined": quarantined,
        });
        self.event(EventType::SliceCommitted, Some(&change.dataset.name), self.task(), data);
        if !refused.is_empty() {
            self.quarantine(change, seq, &refused).await?;
        }
        if !conflicting.is_empty() {
            self.keep_conflicts(change, seq, &conflicting).await?;
        }
        if let Some(id) = tasks::unresolved(self.session(), &change.dataset.name, &change.area).await? {
            self.resolve(id, "fetched").await?;
        }
        Ok(counts)
    }

    async fn record_counts(&self, counts: Counts) -> Step<()> {
        let sql = "update _commit set inserted = $2, updated = $3, unchanged = $4, withdrawn = $5, quarantined = $6, \
                   conflicting = $7 where seq = $1";
        let Counts { seq, inserted, updated, unchanged, withdrawn, quarantined, conflicting } = counts;
        let figures = [inserted, updated, unchanged, withdrawn, quarantined, conflicting].map(|count| count as i64);
        let [a, b, c, d, e, f] = &figures;
        self.session().execute(sql, &[&seq, a, b, c, d, e, f]).await?;
        Ok(())
    }

    async fn keep_conflicts(&mut self, change: &RowsChange, seq: i64, conflicting: &[conflicts::Offer]) -> Step<()> {
        for offer in conflicting {
            conflicts::keep(self.session(), change, seq, offer, self.commit.at).await?;
        }
        let data = json!({
            "area": change.area.to_string(), "source": &*change.source, "seq": seq, "rows": conflicting.len(),
        });
        self.event(EventType::RowsConflicting, Some(&change.dataset.name), self.task(), data);
        Ok(())
    }

    /// A person decides; a conflict that is over already stays as it is.
    async fn resolve_conflict(&mut self, id: i64, take: Take) -> Step<()> {
        let Some(conflict) = conflicts::conflict(self.session(), id).await? else {
            let error = Error::not_found(format!("there is no conflict {id}"));
            return Err(error.hint("see `tidegate conflicts`").into());
        };
        if conflict.resolved_at.is_some() {
            return Ok(());
        }
        conflicts::resolve(self.session(), id, take, self.commit.at).await?;
        let data = json!({ "conflict": id, "resolution": Resolution::Taken(take).name() });
        self.event(EventType::ConflictResolved, Some(&conflict.dataset), None, data);
        Ok(())
    }

    async fn quarantine(&mut self, change: &RowsChange, seq: i64, refused: &[Quarantined]) -> Step<()> {
        let sql = "insert into _quarantine (dataset, at, source, seq, rule, reason, row) \
                   values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
        let mut rules = BTreeMap::<&str, u64>::new();
        for row in refused {
            *rules.entry(&row.rule).or_default() += 1;
            let (reason, json) = (clean(&row.reason), row.row.to_string());
            let at = SqlInstant(self.commit.at);
            let (dataset, source) = (&change.dataset.name, &*change.source);
            self.session().execute(sql, &[dataset, &at, &source, &seq, &row.rule, &reason, &json]).await?;
        }
        let data = json!({
            "area": change.area.to_string(), "source": &*change.source, "rows": refused.len(), "rules": rules,
        });
        self.event(EventType::RowsQuarantined, Some(&change.dataset.name), self.task(), data);
        Ok(())
    }

    /// A person decides about deliveries; whoever delivers hears of it.
    async fn decide(&mut self, subscription: &str, chosen: &Chosen, decision: Decision, by: &str) -> Step<()> {
        let now = self.commit.at;
        let changed = deliveries::decide(self.session(), (subscription, chosen), decision, (by, now)).await?;
        let data = decided_data(subscription, chosen, decision, (by, changed));
        self.event(EventType::DeliveryDecided, None, None, data);
        Ok(())
    }

    async fn store_task(&mut self, task: &Task) -> Step<Fence> {
        if task.id == 0 {
            let fence = tasks::create_task(self.session(), task).await?;
            let data = json!({ "state": task.state.name() });
            self.event(EventType::TaskCreated, Some(&task.dataset), Some(fence.task), data);
            return Ok(fence);
        }
        let by_worker = self.commit.fence.is_some_and(|fence| fence.task == task.id);
        let before = tasks::rewrite_task(self.session(), task, by_worker).await?;
        let kind = match task.state {
            state if state == before => None,
            TaskState::Pending => None,
            TaskState::Running => Some(EventType::TaskStarted),
            TaskState::Paused => Some(EventType::TaskPaused),
            TaskState::Completed => Some(EventType::TaskCompleted),
            TaskState::Failed => Some(EventType::TaskFailed),
        };
        if let Some(kind) = kind {
            let data = json!({ "outcome": task.outcome.map(|outcome| outcome.name()), "note": task.note });
            self.event(kind, Some(&task.dataset), Some(task.id), data);
        }
        Ok(Fence { task: task.id, fence: task.fence })
    }

    async fn take_task(&mut self, id: i64, lease: Option<&Lease>) -> Step<Fence> {
        let (task, fence) = tasks::take_task(self.session(), id, lease, self.commit.at).await?;
        let data = json!({ "fence": fence.fence, "worker": lease.map(|lease| &lease.worker) });
        self.event(EventType::TaskStarted, Some(&task.dataset), Some(id), data);
        Ok(fence)
    }

    async fn store_run(&mut self, run: &Run) -> Step<RunFence> {
        let (before, run) = match run.id {
            0 => (None, runs::create(self.session(), run).await?),
            _ => runs::rewrite(self.session(), run).await?,
        };
        if let Some((kind, data)) = run_event(before, &run) {
            self.event(kind, None, None, data);
        }
        Ok(fence_of(&run))
    }

    async fn take_run(&mut self, id: RunId, lease: Option<&Lease>) -> Step<RunFence> {
        let run = runs::take(self.session(), id, lease, self.commit.at).await?;
        self.event(EventType::RunStarted, None, None, started_data(&run));
        Ok(fence_of(&run))
    }

    async fn define(&mut self, which: (definition::Kind, &str), body: &Value, expect: Option<u64>) -> Step<()> {
        let schema = self.target.schema;
        let revision = definitions::define(self.session(), schema, which, body, expect, self.commit.at).await?;
        self.event(EventType::DefinitionChanged, None, None, defined_data(which.0, which.1, revision));
        Ok(())
    }

    async fn undefine(&mut self, kind: definition::Kind, name: &str) -> Step<()> {
        if let Some(revision) = definitions::undefine(self.session(), self.target.schema, kind, name).await? {
            self.event(EventType::DefinitionChanged, None, None, undefined_data(kind, name, revision));
        }
        Ok(())
    }

    async fn store_failure(&mut self, failure: &Failure) -> Step<()> {
        let id = tasks::store_failure(self.session(), failure).await?;
        let data = json!({
            "failure": id, "area": failure.area.to_string(), "source": failure.source, "kind": failure.kind,
            "attempts": failure.attempts, "attempts_max": failure.attempts_max,
        });
        self.event(EventType::SliceFailed, Some(&failure.dataset), Some(failure.task), data);
        Ok(())
    }

    /// Settles a failure; one that is settled already stays as it is.
    async fn resolve(&mut self, id: i64, resolution: &str) -> Step<()> {
        let Some(failure) = tasks::failure(self.session(), id).await? else {
            let error = Error::not_found(format!("there is no failure {id}"));
            return Err(error.hint("see `tidegate failures`").into());
        };
        if failure.resolved_at.is_some() {
            return Ok(());
        }
        tasks::resolve_failure(self.session(), id, resolution, self.commit.at).await?;
        let data = json!({ "failure": id, "area": failure.area.to_string(), "resolution": resolution });
        self.event(EventType::FailureResolved, Some(&failure.dataset), Some(failure.task), data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_as_it_was_written() {
        let counts =
            Counts { seq: 9, inserted: 1, updated: 2, unchanged: 3, withdrawn: 4, quarantined: 5, conflicting: 6 };
        let receipt = Receipt {
            rows: vec![counts],
            tasks: vec![Fence { task: 3, fence: 2 }],
            runs: vec![RunFence { run: 5, fence: 0 }, RunFence { run: 6, fence: 7 }],
            places: vec![Place::Taken(4), Place::FreeAt(Instant(17)), Place::DayUsed],
            published: vec![Published { event: 11, was: Offered::New }, Published { event: 3, was: Offered::Same }],
            duties: vec![4],
            reports: vec![8],
            last_event: 12,
        };
        let text = |receipt: &Receipt| serde_json::from_str(&receipt_text(receipt)).unwrap();
        assert_eq!(receipt_of(&text(&receipt)), Some(receipt));
        let earlier = json!({ "rows": [], "tasks": [], "places": [], "last_event": 3 });
        assert_eq!(receipt_of(&earlier), Some(Receipt { last_event: 3, ..Receipt::default() }));
    }
}

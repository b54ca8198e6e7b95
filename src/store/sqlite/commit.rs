//! The only write: every change of a commit in one transaction, with the events that it makes true.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use serde_json::{Value, json};

use super::claims;
use super::conflicts;
use super::copy;
use super::definitions;
use super::deliveries;
use super::duties;
use super::fault::Step;
use super::health;
use super::journal;
use super::messages;
use super::places::{self, Counted};
use super::ranks::Ranks;
use super::received;
use super::reconciliations;
use super::rows::{self, Work};
use super::runs;
use super::table::Table;
use super::tasks;
use crate::model::reconciliation::Reconciled;
use crate::model::{
    Change, Chosen, Commit, Counts, Decision, Error, EventType, Failure, Fence, Instant, Lease, Message, Offered,
    Published, Quarantined, Receipt, Resolution, RowsChange, Run, RunFence, RunId, Take, Task, TaskState, Totals,
};
use crate::store::death;
use crate::store::deliveries::{FORGOTTEN_MAX, decided_data};
use crate::store::events::published_data;
use crate::store::ledger::{lacks_text, securities_text};
use crate::store::reconciliations::{alert_data, finished_data};
use crate::store::runs::{defined_data, fence_of, run_event, started_data, undefined_data};

/// The prepared datasets by name.
pub(super) type Tables = HashMap<String, Arc<Table>>;

/// Applies `commit`; on any error nothing is changed.
pub(super) fn commit(connection: &mut Connection, tables: &Tables, commit: &Commit) -> Step<Receipt> {
    death::point();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(fence) = commit.fence {
        tasks::check_fence(&transaction, fence)?;
    }
    let receipt = {
        let mut writer = Writer::new(&transaction, tables, commit)?;
        let works = writer.write_rows()?;
        death::point();
        writer.apply(works)?
    };
    transaction.commit()?;
    Ok(receipt)
}

struct Writer<'a> {
    connection: &'a Connection,
    tables: &'a Tables,
    commit: &'a Commit,
    last_event: i64,
}

impl<'a> Writer<'a> {
    fn new(connection: &'a Connection, tables: &'a Tables, commit: &'a Commit) -> Step<Writer<'a>> {
        let sql = "select coalesce(max(id), 0) from _event";
        let last_event = connection.prepare_cached(sql)?.query_row((), |row| row.get(0))?;
        Ok(Writer { connection, tables, commit, last_event })
    }

    fn table(&self, dataset: &str) -> Step<&'a Table> {
        let error = || Error::not_found(format!("the store has no table {dataset}")).hint("see `tidegate datasets`");
        Ok(self.tables.get(dataset).ok_or_else(error)?)
    }

    /// Writes the rows of every change, dataset by dataset, and returns what was done in the order of the changes.
    fn write_rows(&self) -> Step<Vec<Work<'a>>> {
        let mut by_dataset: Vec<(&'a Table, Vec<Work<'a>>)> = Vec::new();
        for change in &self.commit.changes {
            let Change::Rows(change) = change else { continue };
            let table = self.table(&change.dataset.name)?;
            let counts = Counts { seq: self.record(change)?, ..Counts::default() };
            let work = Work { change, counts, refused: Vec::new(), conflicting: Vec::new() };
            match by_dataset.iter_mut().find(|(known, _)| known.name() == table.name()) {
                Some((_, works)) => works.push(work),
                None => by_dataset.push((table, vec![work])),
            }
        }
        let mut done = Vec::new();
        for (table, mut works) in by_dataset {
            rows::write(self.connection, table, &mut works, &mut Ranks::default(), self.commit.at)?;
            done.extend(works);
        }
        done.sort_by_key(|work| work.counts.seq);
        Ok(done)
    }

    /// The commit record of one change; its counts follow when they are known.
    fn record(&self, change: &RowsChange) -> Step<i64> {
        let sql = "insert into _commit (at, task, dataset, source, rank, security, from_day, to_day, fetched_at, lacks) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.connection.prepare_cached(sql)?.execute((
            self.commit.at.to_string(),
            self.commit.fence.map(|fence| fence.task),
            &change.dataset.name,
            &*change.source,
            change.rank,
            securities_text(&change.area.securities),
            change.area.span.from.to_string(),
            change.area.span.to.to_string(),
            change.fetched_at.to_string(),
            lacks_text(change),
        ))?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Writes the ledger's part of every change, in their order.
    fn apply(&mut self, works: Vec<Work<'a>>) -> Step<Receipt> {
        let mut receipt = Receipt::default();
        let mut progress = Totals::default();
        let mut works = works.into_iter();
        for change in &self.commit.changes {
            match change {
                Change::Rows(change) => {
                    let Some(work) = works.next() else { continue };
                    let counts = self.settle(work)?;
                    progress.add(&Totals::of_rows(&change.source, counts));
                    receipt.rows.push(counts);
                }
                Change::Progress(totals) => progress.add(totals),
                Change::Task(task) => receipt.tasks.push(self.store_task(task)?),
                Change::TakeTask { task, lease } => receipt.tasks.push(self.take_task(*task, lease.as_ref())?),
                Change::RenewTask { until } => self.renew_task(*until)?,
                Change::TakePlace { source, api, per_minute, per_day, held_until } => {
                    let counted = Counted { source, api, per_minute: *per_minute, per_day: *per_day };
                    receipt.places.push(places::take(self.connection, &counted, *held_until, self.commit.at)?);
                }
                Change::AnswerPlace { place, free_at } => places::answer(self.connection, *place, *free_at)?,
                Change::Failure(failure) => self.store_failure(failure)?,
                Change::ResolveFailure { id, resolution } => self.resolve(*id, resolution)?,
                Change::ResolveConflict { id, take } => self.resolve_conflict(*id, *take)?,
                Change::QuotaUsed { source, api, day, calls } => {
                    tasks::add_quota(self.connection, source, api, *day, *calls)?;
                }
                Change::SourceHealth(health) => health::add(self.connection, health)?,
                Change::Run(run) => receipt.runs.push(self.store_run(run)?),
                Change::TakeRun { run, lease } => receipt.runs.push(self.take_run(*run, lease.as_ref())?),
                Change::RenewRun { run, fence, until } => {
                    runs::renew(self.connection, RunFence { run: *run, fence: *fence }, *until)?;
                }
                Change::ForgetRuns { keep } => runs::forget(self.connection, *keep)?,
                Change::Define { kind, name, body, expect } => {
                    let revision = definitions::define(self.connection, (*kind, name), body, *expect, self.commit.at)?;
                    self.event(EventType::DefinitionChanged, None, None, &defined_data(*kind, name, revision))?;
                }
                Change::Undefine { kind, name } => {
                    if let Some(revision) = definitions::undefine(self.connection, *kind, name)? {
                        self.event(EventType::DefinitionChanged, None, None, &undefined_data(*kind, name, revision))?;
                    }
                }
                Change::Journal(entry) => journal::add(self.connection, entry)?,
                Change::ForgetJournal { journal, before } => journal::forget(self.connection, *journal, *before)?,
                Change::Publish { .. }
                | Change::Number { .. }
                | Change::Advance { .. }
                | Change::Stand { .. }
                | Change::StandFirst { .. }
                | Change::ForgetStands { .. }
                | Change::SetAside { .. }
                | Change::TakeDuty { .. }
                | Change::RenewDuty { .. }
                | Change::LeaveDuty { .. }
                | Change::OnDuty { .. }
                | Change::Deliver(_)
                | Change::Attempted(_)
                | Change::Decide { .. }
                | Change::ForgetDeliveries { .. }
                | Change::ForgetAttempts { .. }
                | Change::Receive(_)
                | Change::Settle(_)
                | Change::ForgetReceived { .. } => self.carry(change, &mut receipt)?,
                Change::Reconciled(reconciled) => self.reconciled(reconciled, &mut receipt)?,
                Change::CopyBegins { from } => copy::begin(self.connection, self.tables, from, self.commit.at)?,
                Change::Copied(piece) => copy::write(self.connection, self.tables, piece)?,
                Change::CopyEnds => copy::end(self.connection)?,
                Change::Event { kind, dataset, data } => {
                    let task = self.commit.fence.map(|fence| fence.task);
                    self.event(*kind, dataset.as_deref(), task, data)?;
                }
            }
        }
        self.progress(&progress)?;
        receipt.last_event = self.last_event as u64;
        Ok(receipt)
    }

    fn reconciled(&mut self, reconciled: &Reconciled, receipt: &mut Receipt) -> Step<()> {
        match reconciled {
            Reconciled::Report { report, differences, alert } => {
                let id = reconciliations::add(self.connection, report, differences)?;
                self.event(EventType::ReconcileFinished, None, None, &finished_data(report, id))?;
                if let Some(threshold) = alert.filter(|threshold| report.counts.differences() > *threshold) {
                    self.event(EventType::GateAlert, None, None, &alert_data(report, id, threshold))?;
                }
                receipt.reports.push(id);
                Ok(())
            }
            Reconciled::Repaired { report, numbers, data } => {
                reconciliations::repaired(self.connection, *report, numbers, self.commit.at)?;
                self.event(EventType::RepairFinished, None, None, data)
            }
            Reconciled::Undone { report, numbers, data } => {
                reconciliations::unrepaired(self.connection, *report, numbers)?;
                self.event(EventType::RepairFinished, None, None, data)
            }
            Reconciled::Forget { keep } => reconciliations::forget(self.connection, *keep),
        }
    }

    /// Applies a change of the event gate: what was published, is on its way, or was taken in.
    fn carry(&mut self, change: &Change, receipt: &mut Receipt) -> Step<()> {
        match change {
            Change::Publish { message, expect_new } => {
                receipt.published.push(self.publish(message, *expect_new)?);
            }
            Change::Number { series, first, count } => messages::number(self.connection, series, *first, *count)?,
            Change::Advance { cursor, from, to } => messages::advance(self.connection, cursor, *from, *to)?,
            Change::Stand { name, place } => messages::stand(self.connection, name, place, self.commit.at)?,
            Change::StandFirst { name, place } => {
                messages::stand_first(self.connection, name, place, self.commit.at)?;
            }
            Change::ForgetStands { prefix, before } => messages::forget_stands(self.connection, prefix, *before)?,
            Change::SetAside { source, quarantined } => {
                messages::set_aside(self.connection, source, quarantined, self.commit.at)?;
            }
            Change::TakeDuty { duty, lease } => {
                receipt.duties.push(duties::take(self.connection, duty, lease, self.commit.at)?);
            }
            Change::RenewDuty { duty, fence, until } => {
                duties::renew(self.connection, duty, *fence, *until, self.commit.at)?;
            }
            Change::LeaveDuty { duty, fence } => {
                duties::renew(self.connection, duty, *fence, self.commit.at, self.commit.at)?;
            }
            Change::OnDuty { duty, fence } => duties::check(self.connection, duty, *fence, self.commit.at)?,
            Change::Deliver(new) => deliveries::add(self.connection, new)?,
            Change::Attempted(attempted) => deliveries::attempted(self.connection, attempted)?,
            Change::Decide { subscription, chosen, decision, by } => {
                self.decide(subscription, chosen, *decision, by)?;
            }
            Change::ForgetDeliveries { subscription } => {
                deliveries::forget_deliveries(self.connection, subscription)?;
            }
            Change::ForgetAttempts { before } => {
                deliveries::forget_attempts(self.connection, *before, FORGOTTEN_MAX)?;
            }
            Change::Receive(taken) => received::add(self.connection, taken)?,
            Change::Settle(taken) => received::settle(self.connection, taken)?,
            Change::ForgetReceived { before } => received::forget(self.connection, *before)?,
            _ => return Err(Error::bug("a change that carries no event").into()),
        }
        Ok(())
    }

    /// Adds to the totals of the task that this commit belongs to.
    fn progress(&self, progress: &Totals) -> Step<()> {
        match self.commit.fence {
            Some(fence) if *progress != Totals::default() => tasks::add_totals(self.connection, fence.task, progress),
            None if self.commit.changes.iter().any(|change| matches!(change, Change::Progress(_))) => {
                Err(Error::bug("progress without a task").into())
            }
            _ => Ok(()),
        }
    }

    fn event(&mut self, kind: EventType, dataset: Option<&str>, task: Option<i64>, data: &Value) -> Step<()> {
        self.last_event += 1;
        let sql = "insert into _event (id, at, kind, dataset, task, data) values (?1, ?2, ?3, ?4, ?5, ?6)";
        let parameters = (self.last_event, self.commit.at.to_string(), kind.name(), dataset, task, data.to_string());
        self.connection.prepare_cached(sql)?.execute(parameters)?;
        Ok(())
    }

    /// Counts, claim, quarantine and events of rows that have been written.
    fn settle(&mut self, work: Work) -> Step<Counts> {
        let Work { change, mut counts, refused, conflicting } = work;
        let refused = [&change.quarantined[..], &refused].concat();
        (counts.quarantined, counts.conflicting) = (refused.len() as u64, conflicting.len() as u64);
        self.record_counts(counts)?;
        let Counts { seq, inserted, updated, unchanged, withdrawn, quarantined, .. } = counts;
        if let Some(claim) = change.claim {
            claims::store(self.connection, self.table(&change.dataset.name)?, change, claim)?;
        }
        let task = self.commit.fence.map(|fence| fence.task);
        let dataset = Some(change.dataset.name.as_str());
        let data = json!({
            "area": change.area.to_string(), "source": &*change.source, "seq": seq, "inserted": inserted,
            "updated": updated, "unchanged": unchanged, "withdrawn": withdrawn, "quarantined": quarantined,
        });
        self.event(EventType::SliceCommitted, dataset, task, &data)?;
        if !refused.is_empty() {
            self.quarantine(change, seq, &refused)?;
        }
        if !conflicting.is_empty() {
            self.keep_conflicts(change, seq, &conflicting)?;
        }
        if let Some(id) = tasks::unresolved(self.connection, &change.dataset.name, &change.area)? {
            self.resolve(id, "fetched")?;
        }
        Ok(counts)
    }

    fn record_counts(&self, counts: Counts) -> Step<()> {
        let sql = "update _commit set inserted = ?2, updated = ?3, unchanged = ?4, withdrawn = ?5, quarantined = ?6, \
                   conflicting = ?7 where seq = ?1";
        let Counts { seq, inserted, updated, unchanged, withdrawn, quarantined, conflicting } = counts;
        let figures = [inserted, updated, unchanged, withdrawn, quarantined, conflicting].map(|count| count as i64);
        let [a, b, c, d, e, f] = figures;
        self.connection.prepare_cached(sql)?.execute((seq, a, b, c, d, e, f))?;
        Ok(())
    }

    fn keep_conflicts(&mut self, change: &RowsChange, seq: i64, conflicting: &[conflicts::Offer]) -> Step<()> {
        for offer in conflicting {
            conflicts::keep(self.connection, change, seq, offer, self.commit.at)?;
        }
        let data = json!({
            "area": change.area.to_string(), "source": &*change.source, "seq": seq, "rows": conflicting.len(),
        });
        let task = self.commit.fence.map(|fence| fence.task);
        self.event(EventType::RowsConflicting, Some(&change.dataset.name), task, &data)
    }

    /// A person decides; a conflict that is over already stays as it is.
    fn resolve_conflict(&mut self, id: i64, take: Take) -> Step<()> {
        let Some(conflict) = conflicts::conflict(self.connection, id)? else {
            let error = Error::not_found(format!("there is no conflict {id}"));
            return Err(error.hint("see `tidegate conflicts`").into());
        };
        if conflict.resolved_at.is_some() {
            return Ok(());
        }
        conflicts::resolve(self.connection, id, take, self.commit.at)?;
        let data = json!({ "conflict": id, "resolution": Resolution::Taken(take).name() });
        self.event(EventType::ConflictResolved, Some(&conflict.dataset), None, &data)
    }

    fn quarantine(&mut self, change: &RowsChange, seq: i64, refused: &[Quarantined]) -> Step<()> {
        let sql = "insert into _quarantine (dataset, at, source, seq, rule, reason, row) \
                   values (?1, ?2, ?3, ?4, ?5, ?6, ?7) on conflict do nothing";
        let mut rules = std::collections::BTreeMap::<&str, u64>::new();
        for row in refused {
            *rules.entry(&row.rule).or_default() += 1;
            let (at, json) = (self.commit.at.to_string(), row.row.to_string());
            let parameters = (&change.dataset.name, at, &*change.source, seq, &row.rule, &row.reason, json);
            self.connection.prepare_cached(sql)?.execute(parameters)?;
        }
        let data = json!({
            "area": change.area.to_string(), "source": &*change.source, "rows": refused.len(), "rules": rules,
        });
        let task = self.commit.fence.map(|fence| fence.task);
        self.event(EventType::RowsQuarantined, Some(&change.dataset.name), task, &data)
    }

    /// Writes a message that is not known yet, and its event.
    fn publish(&mut self, message: &Message, expect_new: bool) -> Step<Published> {
        if let Some(known) = messages::known(self.connection, message, expect_new)? {
            return Ok(known);
        }
        self.event(EventType::EventPublished, None, None, &published_data(message))?;
        messages::add(self.connection, message, self.last_event, self.commit.at)?;
        Ok(Published { event: self.last_event as u64, was: Offered::New })
    }

    /// A person decides about deliveries; whoever delivers hears of it.
    fn decide(&mut self, subscription: &str, chosen: &Chosen, decision: Decision, by: &str) -> Step<()> {
        let now = self.commit.at;
        let changed = deliveries::decide(self.connection, (subscription, chosen), decision, (by, now))?;
        let data = decided_data(subscription, chosen, decision, (by, changed));
        self.event(EventType::DeliveryDecided, None, None, &data)
    }

    fn store_task(&mut self, task: &Task) -> Step<Fence> {
        if task.id == 0 {
            let fence = tasks::create_task(self.connection, task)?;
            let data = json!({ "state": task.state.name() });
            self.event(EventType::TaskCreated, Some(&task.dataset), Some(fence.task), &data)?;
            return Ok(fence);
        }
        let by_worker = self.commit.fence.is_some_and(|fence| fence.task == task.id);
        let before = tasks::rewrite_task(self.connection, task, by_worker)?;
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
            self.event(kind, Some(&task.dataset), Some(task.id), &data)?;
        }
        Ok(Fence { task: task.id, fence: task.fence })
    }

    fn take_task(&mut self, id: i64, lease: Option<&Lease>) -> Step<Fence> {
        let (task, fence) = tasks::take_task(self.connection, id, lease, self.commit.at)?;
        let data = json!({ "fence": fence.fence, "worker": lease.map(|lease| &lease.worker) });
        self.event(EventType::TaskStarted, Some(&task.dataset), Some(id), &data)?;
        Ok(fence)
    }

    fn renew_task(&self, until: Instant) -> Step<()> {
        let fence = self.commit.fence.ok_or_else(|| Error::bug("a lease is renewed without a task"))?;
        tasks::renew_task(self.connection, fence.task, until)
    }

    fn store_run(&mut self, run: &Run) -> Step<RunFence> {
        let (before, run) = match run.id {
            0 => (None, runs::create(self.connection, run)?),
            _ => runs::rewrite(self.connection, run)?,
        };
        if let Some((kind, data)) = run_event(before, &run) {
            self.event(kind, None, None, &data)?;
        }
        Ok(fence_of(&run))
    }

    fn take_run(&mut self, id: RunId, lease: Option<&Lease>) -> Step<RunFence> {
        let run = runs::take(self.connection, id, lease, self.commit.at)?;
        self.event(EventType::RunStarted, None, None, &started_data(&run))?;
        Ok(fence_of(&run))
    }

    fn store_failure(&mut self, failure: &Failure) -> Step<()> {
        let id = tasks::store_failure(self.connection, failure)?;
        let data = json!({
            "failure": id, "area": failure.area.to_string(), "source": failure.source, "kind": failure.kind,
            "attempts": failure.attempts, "attempts_max": failure.attempts_max,
        });
        self.event(EventType::SliceFailed, Some(&failure.dataset), Some(failure.task), &data)
    }

    /// Settles a failure; one that is settled already stays as it is.
    fn resolve(&mut self, id: i64, resolution: &str) -> Step<()> {
        let Some(failure) = tasks::failure(self.connection, id)? else {
            let error = Error::not_found(format!("there is no failure {id}"));
            return Err(error.hint("see `tidegate failures`").into());
        };
        if failure.resolved_at.is_some() {
            return Ok(());
        }
        tasks::resolve_failure(self.connection, id, resolution, self.commit.at)?;
        let data = json!({ "failure": id, "area": failure.area.to_string(), "resolution": resolution });
        self.event(EventType::FailureResolved, Some(&failure.dataset), Some(failure.task), &data)
    }
}

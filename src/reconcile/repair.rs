//! Repairs: mends the target of a report, in bounded transactions, with an undo file, and proves the result.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::judge::{Pair, pair};
use super::plan::{Choice, Plan, PlanCounts, check_bound, plan};
use super::shape::Shapes;
use super::undo::{Entry, UndoFile};
use super::{Opened, Reconciler, address::shown};
use crate::engine::Stop;
use crate::model::compared::{SideRow, key_part};
use crate::model::reconciliation::{Difference, DifferencesWanted, Reconciled, RepairBy, Report};
use crate::model::{
    Change, Chosen, Commit, Decision, DeliveriesWanted, Delivery, DeliveryState, Error, ErrorKind, Key, Result,
};
use crate::source::sides::{Mend, MendOutcome, SideWriter};

/// Differences that are read at a time.
const PAGE: usize = 1_000;

/// Whole addresses of the sides, where those of the report lack their passwords.
#[derive(Clone, Debug, Default)]
pub struct Sides {
    pub source: Option<String>,
    pub target: Option<String>,
}

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    pub report: i64,
    pub target: String,
    pub counts: PlanCounts,
    /// Differences whose rows have changed since the report: nothing is done about them.
    pub changed_since: Vec<u64>,
    /// Differences that are none any more.
    pub equal_already: u64,
    /// Differences that were mended.
    pub mended: u64,
    /// Of those, how many are proven equal now, and how many still differ.
    pub verified: u64,
    pub still_different: u64,
    /// Events that were sent again, where that is the way to mend the target.
    pub replayed: u64,
}

/// The differences of a plan, as both sides have their rows now.
struct Checked {
    /// Those that are as they were reported.
    same: Vec<(Key, Difference)>,
    changed_since: Vec<u64>,
    equal_already: Vec<u64>,
}

impl Reconciler {
    /// What a repair would do, from what both sides hold now.
    pub async fn dry_run(&self, report: i64, choice: &Choice, sides: Sides) -> Result<Repaired> {
        let (report, opened) = self.for_repair(report, sides).await?;
        let plan = self.plan(&report, choice).await?;
        let checked = self.checked(&opened, plan.differences).await?;
        Ok(repaired(&report, plan.counts, &checked))
    }

    /// Mends the target. The undo file has every row before its change is made durable.
    pub async fn repair(
        &self,
        report: i64,
        choice: &Choice,
        sides: Sides,
        undo_file: &Path,
        stop: &Stop,
    ) -> Result<Repaired> {
        let (report, opened) = self.for_repair(report, sides).await?;
        let Plan { differences, counts } = self.plan(&report, choice).await?;
        let checked = self.checked(&opened, differences).await?;
        let mut done = repaired(&report, counts, &checked);
        check_bound(done.counts.rows(), choice.rows_max.unwrap_or(self.options.repair_rows_max), choice.confirmed)?;
        if report.wanted.repair.by == RepairBy::Replay {
            self.replay(&report, &opened, &checked, &mut done, stop).await?;
            return Ok(done);
        }
        let nowhere = || {
            Error::invalid(format!("{} cannot be written to", opened.target.name()))
                .hint("repair it where it is, or replay its events")
        };
        let writer = opened.target.writer().ok_or_else(nowhere)?;
        if !checked.same.is_empty() {
            let mut file = UndoFile::create(undo_file, &report, &opened.shapes.target, self.clock.now())?;
            self.mend(&opened, writer, &checked.same, &mut file, &mut done, stop).await?;
        }
        let settled: Vec<u64> = checked.equal_already.clone();
        if !settled.is_empty() {
            self.mark(&report, settled, &done).await?;
        }
        Ok(done)
    }

    /// The report with its sides opened, as they were compared.
    async fn for_repair(&self, id: i64, sides: Sides) -> Result<(Report, Opened)> {
        let report = self.report(id).await?;
        let mut wanted = report.wanted.clone();
        for (kept, given, side) in
            [(&mut wanted.source, sides.source, "source"), (&mut wanted.target, sides.target, "target")]
        {
            let Some(given) = given else { continue };
            if shown(&given) != *kept {
                let error = Error::invalid(format!("the {side} of report {id} is {kept}, not {}", shown(&given)));
                return Err(error.hint("name the same table, with its password"));
            }
            *kept = given;
        }
        let opened = self.open(&wanted).await?;
        if opened.shapes.columns != report.columns {
            let error = Error::conflict(format!("the tables of report {id} have other columns now"));
            return Err(error.hint("reconcile again and repair the new report"));
        }
        Ok((report, opened))
    }

    /// A report by its number.
    pub async fn report(&self, id: i64) -> Result<Report> {
        self.store.reconciliation(id).await?.ok_or_else(|| {
            Error::not_found(format!("there is no report {id}")).hint("tidegate reconcile --history lists them")
        })
    }

    async fn plan(&self, report: &Report, choice: &Choice) -> Result<Plan> {
        let mut all = Vec::new();
        let mut wanted = DifferencesWanted { report: report.id, after: 0, limit: PAGE };
        loop {
            let page = self.store.differences(&wanted).await?;
            let Some(last) = page.last() else { break };
            wanted.after = last.number;
            all.extend(page);
        }
        plan(report, all, choice)
    }

    /// Looks at the rows of differences again.
    async fn checked(&self, opened: &Opened, differences: Vec<Difference>) -> Result<Checked> {
        let mut checked = Checked { same: Vec::new(), changed_since: Vec::new(), equal_already: Vec::new() };
        for some in differences.chunks(PAGE) {
            let keyed = some.iter().map(|difference| Ok((key_of(&opened.shapes, difference)?, difference)));
            let keyed = keyed.collect::<Result<Vec<_>>>()?;
            let keys: Vec<Key> = keyed.iter().map(|(key, _)| key.clone()).collect();
            let mut now = look(opened, &keys).await?;
            for (key, difference) in keyed {
                let pair = now.remove(&key).unwrap_or_default();
                if opened.shapes.judge(&pair).is_none() {
                    checked.equal_already.push(difference.number);
                } else if pair == reported(difference) {
                    checked.same.push((key, difference.clone()));
                } else {
                    checked.changed_since.push(difference.number);
                }
            }
        }
        Ok(checked)
    }

    /// Sends the events of the rows again, and looks whether that has mended them.
    async fn replay(
        &self,
        report: &Report,
        opened: &Opened,
        checked: &Checked,
        done: &mut Repaired,
        stop: &Stop,
    ) -> Result<()> {
        let subscription = report.wanted.events.as_ref().and_then(|events| events.subscription.clone());
        let subscription = subscription.ok_or_else(|| {
            Error::invalid("it is not said which subscription carries events to the target")
                .hint("define it with events.subscription, or mend rows with repair.by = \"rows\"")
        })?;
        let (known, unknown): (Vec<_>, Vec<_>) =
            checked.same.iter().partition(|(_, difference)| difference.event.is_some());
        for (_, difference) in unknown {
            done.leave_out(difference);
            done.counts.not_chosen += 1;
        }
        let mut events: Vec<u64> = known.iter().filter_map(|(_, difference)| difference.event).collect();
        events.sort_unstable();
        events.dedup();
        for some in events.chunks(self.options.repair_batch_rows.max(1)) {
            let changes = self.deliveries(&subscription, some, report.id).await?;
            self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await?;
            done.replayed += some.len() as u64;
        }
        let began = std::time::Instant::now();
        let last = events.last().copied().unwrap_or_default();
        while self.store.waiting_up_to(&subscription, last).await? > 0 && began.elapsed() < self.options.position_wait {
            if !stop.sleep(std::time::Duration::from_millis(100)).await {
                break;
            }
        }
        let keys: Vec<Key> = known.iter().map(|(key, _)| key.clone()).collect();
        let now = look(opened, &keys).await?;
        let differs = |key: &Key| now.get(key).is_some_and(|pair| opened.shapes.judge(pair).is_some());
        let equal = known.iter().filter(|(key, _)| !differs(key)).map(|(_, difference)| difference.number);
        let equal: Vec<u64> = equal.collect();
        (done.mended, done.verified) = (equal.len() as u64, equal.len() as u64);
        done.still_different = known.len() as u64 - done.verified;
        self.mark_of(report.id, equal, done).await
    }

    /// Deliveries of these events: anew, or at once where they wait for a person.
    async fn deliveries(&self, subscription: &str, events: &[u64], report: i64) -> Result<Vec<Change>> {
        let by = format!("repair:{report}");
        let now = self.clock.now();
        let mut changes = Vec::new();
        for message in self.store.messages(events).await? {
            let wanted = DeliveriesWanted {
                subscription: Some(subscription.to_owned()),
                event: Some(message.event),
                limit: 1,
                ..DeliveriesWanted::default()
            };
            let (subscription, event) = (subscription.to_owned(), message.event);
            changes.push(match self.store.deliveries(&wanted).await?.is_empty() {
                false => {
                    let (chosen, decision) = (Chosen::Event(event), Decision::Retry);
                    Change::Decide { subscription, chosen, decision, by: by.clone() }
                }
                true => Change::Deliver(vec![Delivery {
                    subscription,
                    event,
                    key: message.key.or(message.subject).unwrap_or_default(),
                    state: DeliveryState::Waiting,
                    due_at: now,
                    attempts: 0,
                    by: by.clone(),
                }]),
            });
        }
        Ok(changes)
    }

    async fn mend(
        &self,
        opened: &Opened,
        writer: &dyn SideWriter,
        differences: &[(Key, Difference)],
        file: &mut UndoFile,
        done: &mut Repaired,
        stop: &Stop,
    ) -> Result<()> {
        for some in differences.chunks(self.options.repair_batch_rows.max(1)) {
            if stop.asked() {
                return Err(Error::new(
                    ErrorKind::Interrupted,
                    "the repair was stopped; what it did can be taken back",
                ));
            }
            let keys: Vec<Key> = some.iter().map(|(key, _)| key.clone()).collect();
            let source = opened.source.look(&opened.shapes.source, &keys).await?;
            let (mut mends, mut numbers, mut kept) = (Vec::new(), Vec::new(), Vec::new());
            let source = pair(&opened.shapes, source, Vec::new())?;
            for (key, difference) in some {
                let reported = reported(difference);
                if source.get(key).map(|pair| &pair.source).unwrap_or(&Vec::new()) != &reported.source {
                    done.forget(difference);
                    continue;
                }
                mends.push(Mend { key: key.clone(), before: reported.target, after: reported.source });
                numbers.push(difference.number);
                kept.push(difference);
            }
            let mut keep = |outcomes: &[MendOutcome]| {
                let entries = outcomes.iter().zip(&mends).zip(&numbers).filter_map(|((outcome, mend), number)| {
                    let MendOutcome::Done(mended) = outcome else { return None };
                    Some(Entry::new(*number, &mend.key, mended.clone()))
                });
                file.append(entries)
            };
            let outcomes = writer.mend(&opened.shapes.target, &mends, &mut keep).await?;
            let mut mended = Vec::new();
            for ((outcome, number), difference) in outcomes.iter().zip(&numbers).zip(kept) {
                match outcome {
                    MendOutcome::Done(_) => mended.push(*number),
                    MendOutcome::ChangedSince => done.forget(difference),
                }
            }
            done.mended += mended.len() as u64;
            self.verify(opened, &keys, done).await?;
            self.mark_of(done.report, mended, done).await?;
        }
        Ok(())
    }

    /// Compares the same keys again.
    async fn verify(&self, opened: &Opened, keys: &[Key], done: &mut Repaired) -> Result<()> {
        let now = look(opened, keys).await?;
        let differ = now.values().filter(|pair| opened.shapes.judge(pair).is_some()).count() as u64;
        done.verified += keys.len() as u64 - differ;
        done.still_different += differ;
        Ok(())
    }

    async fn mark(&self, report: &Report, numbers: Vec<u64>, done: &Repaired) -> Result<()> {
        self.mark_of(report.id, numbers, done).await
    }

    async fn mark_of(&self, report: i64, numbers: Vec<u64>, done: &Repaired) -> Result<()> {
        let data = json!({
            "report": report, "target": done.target, "differences": numbers.len(), "verified": done.verified,
            "still_different": done.still_different, "changed_since": done.changed_since.len(),
        });
        let change = Change::Reconciled(Reconciled::Repaired { report, numbers, data });
        let commit = Commit { at: self.clock.now(), fence: None, changes: vec![change] };
        self.store.commit(commit).await.map(|_| ())
    }
}

impl Repaired {
    /// A row changed between the plan and its repair.
    fn forget(&mut self, difference: &Difference) {
        self.leave_out(difference);
        self.changed_since.push(difference.number);
    }

    /// Nothing is done about a difference.
    fn leave_out(&mut self, difference: &Difference) {
        let mut one = PlanCounts::default();
        one.add(difference);
        self.counts.inserted -= one.inserted;
        self.counts.updated -= one.updated;
        self.counts.deleted -= one.deleted;
    }
}

/// What is about to be done: rows that have changed since, or are equal already, are not among the counts.
fn repaired(report: &Report, counts: PlanCounts, checked: &Checked) -> Repaired {
    let mut rows = PlanCounts::default();
    checked.same.iter().for_each(|(_, difference)| rows.add(difference));
    Repaired {
        report: report.id,
        target: report.wanted.target.clone(),
        counts: PlanCounts { repaired_before: counts.repaired_before, not_chosen: counts.not_chosen, ..rows },
        changed_since: checked.changed_since.clone(),
        equal_already: checked.equal_already.len() as u64,
        ..Repaired::default()
    }
}

/// The rows of a difference as the report has them.
fn reported(difference: &Difference) -> Pair {
    let rows = |rows: &[Vec<Option<String>>]| {
        let mut rows: Vec<SideRow> = rows.iter().cloned().map(SideRow).collect();
        rows.sort();
        rows
    };
    Pair { source: rows(&difference.source), target: rows(&difference.target) }
}

fn key_of(shapes: &Shapes, difference: &Difference) -> Result<Key> {
    let parts = shapes.columns.iter().zip(&difference.key);
    let key = parts.map(|(column, text)| key_part(column.kind, text.as_deref()?)).collect::<Option<Key>>();
    key.ok_or_else(|| Error::bug("a report holds a row without a key"))
}

/// The rows of these keys on both sides.
async fn look(opened: &Opened, keys: &[Key]) -> Result<BTreeMap<Key, Pair>> {
    let source = opened.source.look(&opened.shapes.source, keys);
    let target = opened.target.look(&opened.shapes.target, keys);
    let (source, target) = tokio::try_join!(source, target)?;
    pair(&opened.shapes, source, target)
}

//! Reconciling: proves that two sides hold the same rows, or says which do not and why; and mends the target.
//!
//! ```text
//! digests of both sides -> ranges that differ -> rows that differ -> looked at again -> report -> plan -> repair -> proof
//! ```
//!
//! The source is right. Values of rows are in reports and in undo files, and nowhere else.

pub mod address;
mod cause;
pub mod judge;
pub mod plan;
pub mod repair;
mod settle;
pub mod shape;
mod side_remote;
mod side_store;
pub mod undo;
mod walk;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::catalog::Catalog;
use crate::engine::Stop;
use crate::model::reconciliation::{
    After, Counts, Difference, Events, Outcome, Reconciled, Report, Wanted, check_name, job_of,
};
use crate::model::{Change, Clock, Commit, Error, KeyRange, Result};
use crate::plan::ranges::Limits;
use crate::source::database::{DatabaseOptions, side};
use crate::source::sides::Side;
use crate::store::{Store, TracesWanted};
use address::{Address, Names, shown};
use cause::{Known, Trace, cause, difference, mark_swapped};
use settle::{Passing, Patience, Settling};
use shape::{Declared, Shapes, shapes};
pub use side_remote::RemoteOptions;
use side_remote::RemoteSide;
pub use side_store::StoreSide;
use walk::{Budget, Walk};

/// The cursor of whoever delivers events.
const DELIVERING: &str = "notify";

/// How reconciliations run; from `[reconcile]` in the configuration.
#[derive(Clone, Debug)]
pub struct ReconcileOptions {
    /// Rows up to which a range that differs is read row by row.
    pub leaf_rows: u64,
    /// Parts into which a larger one is parted at most.
    pub fan_out: u64,
    /// Rows that one run reads one by one at most.
    pub rows_max: u64,
    pub seconds_max: u64,
    /// Differences after which a run stops.
    pub differences_max: u64,
    /// How long both sides of a row stay as they are before it counts as different.
    pub settle: Duration,
    /// Looks at a row that keeps changing.
    pub looks_max: u32,
    /// How long the way from source to target is waited for.
    pub position_wait: Duration,
    /// Differences above which an alert is raised.
    pub alert_differences: u64,
    /// Reports of each reconciliation that are kept.
    pub reports_kept: usize,
    /// Rows that one repair changes unless more are confirmed.
    pub repair_rows_max: u64,
    /// Rows of one transaction of a repair.
    pub repair_batch_rows: usize,
    /// Differences up to which a repair by itself may be configured.
    pub auto_rows_max: u64,
    /// Where repairs by themselves leave their undo files.
    pub undo_folder: std::path::PathBuf,
    pub database: DatabaseOptions,
    pub remote: RemoteOptions,
}

impl Default for ReconcileOptions {
    fn default() -> ReconcileOptions {
        ReconcileOptions {
            leaf_rows: 1_000,
            fan_out: 512,
            rows_max: 10_000_000,
            seconds_max: 3_600,
            differences_max: 10_000,
            settle: Duration::from_secs(2),
            looks_max: 6,
            position_wait: Duration::from_secs(60),
            alert_differences: 100,
            reports_kept: 100,
            repair_rows_max: 1_000,
            repair_batch_rows: 200,
            auto_rows_max: 100,
            undo_folder: "undo".into(),
            database: DatabaseOptions::default(),
            remote: RemoteOptions {
                timeout: Duration::from_secs(300),
                connect_timeout: Duration::from_secs(10),
                body_bytes_max: 64 << 20,
            },
        }
    }
}

/// Compares and repairs. Clones share the store.
#[derive(Clone)]
pub struct Reconciler {
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
    clock: Clock,
    names: Names,
    options: ReconcileOptions,
}

/// Both sides, opened and paired.
pub struct Opened {
    source: Box<dyn Side>,
    target: Box<dyn Side>,
    pub shapes: Shapes,
}

/// What comparing came to, before it is kept.
struct Compared {
    counts: Counts,
    differences: Vec<Difference>,
    ended: Option<String>,
    notes: Vec<String>,
}

impl Reconciler {
    pub fn new(
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        clock: Clock,
        names: Names,
        options: ReconcileOptions,
    ) -> Reconciler {
        Reconciler { store, catalog, clock, names, options }
    }

    pub fn options(&self) -> &ReconcileOptions {
        &self.options
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The side at an address.
    pub fn side(&self, text: &str) -> Result<Box<dyn Side>> {
        Ok(match Address::parse(text, &self.names)? {
            Address::Store { dataset } => {
                let dataset = self.catalog.get(&dataset)?.clone();
                Box::new(StoreSide::new(self.store.clone(), dataset, self.clock.clone()))
            }
            Address::Database { url, table } => side::side(shown(text), &url, &table, self.options.database.clone())?,
            Address::Tidegate { url, api_key, dataset } => {
                Box::new(RemoteSide::new(shown(text), &url, &api_key, &dataset, &self.options.remote)?)
            }
        })
    }

    /// Opens both sides and pairs their columns.
    pub async fn open(&self, wanted: &Wanted) -> Result<Opened> {
        let (source, target) = (self.side(&wanted.source)?, self.side(&wanted.target)?);
        let (columns, engines) = tokio::join!(async { tokio::try_join!(source.columns(), target.columns()) }, async {
            tokio::try_join!(source.engine(), target.engine())
        },);
        let ((of_source, of_target), engines) = (columns?, engines?);
        let shapes = shapes(wanted, &Declared { source: &of_source, target: &of_target, engines })?;
        Ok(Opened { source, target, shapes })
    }

    /// Checks what shall be defined: its name, its cron line, and what over the network may be named.
    pub fn check(&self, name: &str, wanted: &Wanted, over_network: bool) -> Result<()> {
        check_name(name)?;
        for text in [&wanted.source, &wanted.target] {
            Address::parse(text, &self.names)?;
            if shown(text) != *text {
                let error = Error::invalid("the address of a definition has no password");
                return Err(error.hint("configure it under sources.database.connections and write NAME#TABLE"));
            }
            if over_network && !address::is_named(text) {
                let error = Error::invalid(format!("{text:?} is no configured connection"));
                return Err(error.hint("write store:DATASET or NAME#TABLE; tidegate reconcile takes whole addresses"));
            }
        }
        if let Some(line) = wanted.schedule() {
            crate::model::Cron::parse(line)?;
        }
        let most = self.options.auto_rows_max;
        if wanted.repair.auto && wanted.repair.auto_max > most {
            let message = format!("{} rows are too many to be repaired without a person", wanted.repair.auto_max);
            return Err(Error::invalid(message).hint(format!("reconcile.auto_rows_max is {most}")));
        }
        Ok(())
    }

    /// Compares both sides and keeps the report. `name`: the definition that it belongs to.
    pub async fn run(&self, name: Option<&str>, wanted: &Wanted, stop: &Stop) -> Result<Report> {
        let started_at = self.clock.now();
        let opened = self.open(wanted).await?;
        let compared = self.compare(&opened, wanted, vec![KeyRange::default()], stop).await?;
        let Compared { counts, differences, ended, mut notes } = compared;
        let outcome = match (&ended, counts.differences()) {
            (None, 0) if counts.unsettled == 0 => Outcome::Equal,
            (None, 1..) => Outcome::Different,
            _ => Outcome::Unfinished,
        };
        notes.splice(0..0, ended);
        let mut kept = wanted.clone();
        (kept.source, kept.target) = (shown(&wanted.source), shown(&wanted.target));
        let mut report = Report {
            id: 0,
            name: name.map(str::to_owned),
            wanted: kept,
            outcome,
            started_at,
            finished_at: self.clock.now(),
            counts,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            columns: opened.shapes.columns.clone(),
            key: opened.shapes.source.key,
        };
        report.id = self.keep(&report, differences).await?;
        tracing::info!(
            report = report.id,
            outcome = report.outcome.name(),
            differences = counts.differences(),
            "compared"
        );
        Ok(report)
    }

    async fn keep(&self, report: &Report, differences: Vec<Difference>) -> Result<i64> {
        let alert = Some(self.options.alert_differences);
        let report = Box::new(report.clone());
        let changes = vec![
            Change::Reconciled(Reconciled::Report { report, differences, alert }),
            Change::Reconciled(Reconciled::Forget { keep: self.options.reports_kept }),
        ];
        let receipt = self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await?;
        receipt.reports.first().copied().ok_or_else(|| Error::bug("a report has no number"))
    }

    /// Compares these ranges.
    async fn compare(&self, opened: &Opened, wanted: &Wanted, ranges: Vec<KeyRange>, stop: &Stop) -> Result<Compared> {
        let (options, limits) = (&self.options, &wanted.limits);
        let budget = Budget {
            rows: limits.rows.unwrap_or(options.rows_max),
            time: Duration::from_secs(limits.seconds.unwrap_or(options.seconds_max)),
            differences: limits.differences.unwrap_or(options.differences_max).max(1),
        };
        let parts = Limits { leaf_rows: options.leaf_rows, fan_out: options.fan_out };
        let Opened { source, target, shapes } = opened;
        let mut walk = Walk::begin((&**source, &**target), shapes, parts, budget, ranges).await?;
        let patience = Patience { settle: options.settle, looks: options.looks_max, position: options.position_wait };
        let passing = wanted.after.as_ref().map(|after| Way { after, source: &**source, store: &*self.store });
        let passing = passing.as_ref().map(|way| way as &dyn Passing);
        let (source, target) = (&**source, &**target);
        let mut settling = Settling { source, target, shapes, patience, passing, slowest: Duration::ZERO };
        let mut differences = Vec::new();
        while (differences.len() as u64) < budget.differences {
            let room = budget.differences - differences.len() as u64;
            let suspects = walk.suspects(usize::try_from(room).unwrap_or(usize::MAX), stop).await?;
            if suspects.is_empty() {
                break;
            }
            let settled = settling.settle(suspects, stop).await?;
            walk.counts.rows_read += settled.rows_read;
            walk.counts.passed += settled.passed;
            walk.counts.unsettled += settled.unsettled;
            for (_, pair) in settled.differ {
                let Some((kind, fields)) = shapes.judge(&pair) else { continue };
                walk.counts.add(kind);
                differences.push(difference(kind, shapes.source.key, (pair.source, pair.target), fields));
            }
        }
        if differences.len() as u64 >= budget.differences && !walk.is_done() {
            walk.ended = Some(format!("stopped after {} differences", differences.len()));
        }
        let mut notes = Vec::new();
        if walk.counts.unsettled > 0 {
            notes.push(format!("{} rows changed at every look", walk.counts.unsettled));
        }
        if !shapes.left_out.is_empty() {
            notes.push(format!("not compared: {}", shapes.left_out.join(", ")));
        }
        self.explain(shapes, wanted, &mut differences).await?;
        Ok(Compared { counts: walk.counts, differences, ended: walk.ended, notes })
    }

    /// Finds the events behind differences and the likely causes, and numbers them.
    async fn explain(&self, shapes: &Shapes, wanted: &Wanted, differences: &mut [Difference]) -> Result<()> {
        let position = |name: &String| shapes.columns.iter().position(|column| column.name == *name);
        let version = wanted.version.as_ref().and_then(position);
        let known = self.traces(shapes, wanted.events.as_ref(), differences).await?;
        for (number, (difference, known)) in differences.iter_mut().zip(known).enumerate() {
            difference.number = number as u64 + 1;
            difference.cause = cause(shapes, difference, version, &known);
            if let Known::Event(trace) = known {
                (difference.event, difference.delivery) = (Some(trace.event), trace.delivery);
                difference.attempt = trace.attempt;
            }
        }
        mark_swapped(differences);
        Ok(())
    }

    /// What is known of the events of each difference.
    async fn traces(&self, shapes: &Shapes, events: Option<&Events>, differences: &[Difference]) -> Result<Vec<Known>> {
        let Some(events) = events else { return Ok(vec![Known::Nothing; differences.len()]) };
        let column = match events.column.is_empty() {
            true => 0,
            false => shapes.columns.iter().position(|column| column.name == events.column).ok_or_else(|| {
                Error::invalid(format!("events are found by {:?}, which is not compared", events.column))
                    .hint("name a column that both sides have")
            })?,
        };
        let about = |difference: &Difference| {
            let row = difference.source.first().or(difference.target.first());
            row.and_then(|row| row[column].as_ref()).map(|value| format!("{}{value}", events.prefix))
        };
        let about: Vec<Option<String>> = differences.iter().map(about).collect();
        let wanted = TracesWanted {
            about: about.iter().flatten().cloned().collect(),
            subscription: events.subscription.clone(),
        };
        let found = self.store.traces(&wanted).await?;
        let found: std::collections::HashMap<&str, &crate::store::EventTrace> =
            found.iter().map(|trace| (trace.about.as_str(), trace)).collect();
        let known = |about: &Option<String>| match about.as_deref().and_then(|about| found.get(about)) {
            None => Known::NoEvent,
            Some(trace) => {
                let (event, delivery, attempt) = (trace.event, trace.delivery.clone(), trace.attempt);
                Known::Event(Trace { event, delivery, attempt })
            }
        };
        Ok(about.iter().map(known).collect())
    }

    /// Runs a definition, and repairs what it may repair by itself.
    pub async fn run_defined(&self, name: &str, stop: &Stop) -> Result<Report> {
        let wanted = self.defined(name).await?;
        let report = self.run(Some(name), &wanted, stop).await?;
        let found = report.counts.differences();
        let may = wanted.repair.auto && report.outcome == Outcome::Different;
        if may && (1..=wanted.repair.auto_max).contains(&found) {
            let file = self.options.undo_folder.join(format!("report-{}.undo.jsonl", report.id));
            let choice = plan::Choice { rows_max: Some(wanted.repair.auto_max), ..plan::Choice::default() };
            self.repair(report.id, &choice, repair::Sides::default(), &file, stop).await?;
        }
        Ok(report)
    }

    /// What a definition says.
    pub async fn defined(&self, name: &str) -> Result<Wanted> {
        let found = self.store.definition(crate::model::reconciliation::KIND, name).await?;
        let found = found.ok_or_else(|| {
            Error::not_found(format!("there is no reconciliation {name:?}"))
                .hint("tidegate reconcile --list shows them")
        })?;
        Wanted::of(&found)
    }

    /// Creates or changes a definition with the job that runs it.
    pub async fn define(&self, name: &str, wanted: &Wanted, over_network: bool) -> Result<()> {
        self.check(name, wanted, over_network)?;
        let kind = crate::model::reconciliation::KIND;
        let mut changes = vec![Change::Define { kind, name: name.to_owned(), body: wanted.body()?, expect: None }];
        changes.extend(self.job(name, wanted)?);
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }

    /// The job of a definition, or its removal.
    fn job(&self, name: &str, wanted: &Wanted) -> Result<Option<Change>> {
        use crate::model::{Action, Days, Job, Trigger, Work, definition::Kind};
        let id = job_of(name);
        let Some(line) = wanted.schedule() else { return Ok(Some(Change::Undefine { kind: Kind::Job, name: id })) };
        let trigger = Trigger::Cron { expression: line.to_owned() };
        let work = Work { action: Action::Reconcile, reconciliations: vec![name.to_owned()], ..Work::default() };
        let job = Job::new(&id, trigger, Days::Any, work, self.clock.now());
        let job = Job { title: format!("Reconcile {name}"), title_zh: format!("对账 {name}"), ..job };
        Ok(Some(Change::Define { kind: Kind::Job, name: id, body: job.body()?, expect: None }))
    }

    /// Removes a definition and its job; its reports stay.
    pub async fn undefine(&self, name: &str) -> Result<()> {
        use crate::model::definition::Kind;
        self.defined(name).await?;
        let kind = crate::model::reconciliation::KIND;
        let changes = vec![
            Change::Undefine { kind, name: name.to_owned() },
            Change::Undefine { kind: Kind::Job, name: job_of(name) },
        ];
        self.store.commit(Commit { at: self.clock.now(), fence: None, changes }).await.map(|_| ())
    }
}

/// The way of a change from source to target.
struct Way<'a> {
    after: &'a After,
    source: &'a dyn Side,
    store: &'a dyn Store,
}

#[async_trait]
impl Passing for Way<'_> {
    async fn position(&self) -> Result<String> {
        match self.after {
            After::Slot { .. } => self.source.position().await?.ok_or_else(|| {
                Error::invalid(format!("{} has no log of changes", self.source.name()))
                    .hint("a replication slot belongs to a source in PostgreSQL that is no standby")
            }),
            After::Cursor { .. } | After::Subscription { .. } => Ok(self.store.summary().await?.last_event.to_string()),
        }
    }

    async fn has_passed(&self, position: &str) -> Result<bool> {
        let event = || position.parse::<u64>().map_err(|_| Error::bug("a position is no number"));
        match self.after {
            After::Slot { name } => self.source.passed(name, position).await,
            After::Cursor { name } => Ok(self.store.cursor(name).await? >= event()?),
            After::Subscription { name } => {
                let event = event()?;
                let matched = self.store.cursor(DELIVERING).await? >= event;
                Ok(matched && self.store.waiting_up_to(name, event).await? == 0)
            }
        }
    }
}

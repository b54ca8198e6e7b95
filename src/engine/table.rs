//! Keeping tables of databases in step: what the plan says of them, and one run of a task.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use futures::future::BoxFuture;

use super::fetch::Random;
use super::progress::{Phase, Watcher};
use super::retry::{Decision, RetryPolicy, Tried, decide};
use super::run::Planned;
use super::stop::Stop;
use super::write::WorkEnd;
use super::{Engine, hash, knowledge, watermark};
use crate::check;
use crate::model::change::Write;
use crate::model::{
    Area, Change, Commit, Dataset, Digest, Error, ErrorKind, EventType, Exchanges, Fence, KeyRange, Result, RowsChange,
    Securities, Slice, Strategy, Task, Totals, task::Request,
};
use crate::plan::{self, Knowledge, Plan, ranges};
use crate::source::tables::{TablePage, Tables};
use crate::source::{Offer, Page, Source};

/// How tables are compared; from `[sources.database]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    pub leaf_rows: u64,
    pub fan_out: u64,
    /// Rows that one run reads at most before it leaves the rest to the next; 0: no limit.
    pub run_rows_max: u64,
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        TableOptions { leaf_rows: 1_000, fan_out: 16, run_rows_max: 0 }
    }
}

impl TableOptions {
    pub fn limits(&self) -> ranges::Limits {
        ranges::Limits { leaf_rows: self.leaf_rows, fan_out: self.fan_out }
    }
}

/// A source is asked for tables only when it is a database.
fn tables(source: &Arc<dyn Source>) -> Result<&dyn Tables> {
    source.tables().ok_or_else(|| Error::bug(format!("source {} has no tables", source.name())))
}

impl Engine {
    /// What a sync of a database's table would do now. Asks the source, because nobody else knows.
    pub(super) async fn plan_table(&self, dataset: &Arc<Dataset>, request: &Request) -> Result<Planned> {
        let (source, offer, knowledge) = self.table_source(dataset, request).await?;
        let tables = tables(&source)?;
        tables.check(dataset).await?;
        let plan = match ways(dataset, request)?.hash {
            true => self.plan_hash(tables, dataset, &offer).await?,
            false => self.plan_watermark(tables, dataset, &offer).await?,
        };
        Ok(Planned { source, offer, knowledge, plan, leaves_out: false })
    }

    async fn table_source(
        &self,
        dataset: &Arc<Dataset>,
        request: &Request,
    ) -> Result<(Arc<dyn Source>, Offer, Arc<Knowledge>)> {
        if request.securities != Securities::All {
            let error = Error::invalid(format!("{} is not about securities", dataset.name));
            return Err(error.hint("leave out --codes"));
        }
        let offers = self.offers(dataset, request.source.as_deref()).map_err(|error| {
            let connection = dataset.database.as_ref().map_or("", |database| &database.connection);
            error.hint(format!("configure it: sources.database.connections = [\"{connection}=postgres://...\"]"))
        })?;
        let (source, offer) = offers.into_iter().next().ok_or_else(|| Error::bug("an empty list of offers"))?;
        Ok((source, offer, Arc::new(knowledge::read(&*self.store).await?)))
    }

    async fn plan_watermark(&self, tables: &dyn Tables, dataset: &Arc<Dataset>, offer: &Offer) -> Result<Plan> {
        let start = watermark::start(&*self.store, dataset).await?;
        let rows = tables.count_since(dataset, start.from.as_ref()).await?;
        let pages = rows.div_ceil(u64::from(offer.row_cap(0).unwrap_or(1)).max(1)).max(1);
        Ok(one_slice(dataset, pages, rows, start.reason))
    }

    async fn plan_hash(&self, tables: &dyn Tables, dataset: &Arc<Dataset>, offer: &Offer) -> Result<Plan> {
        let there = tables.digests(dataset, &KeyRange::default(), &[]).await?;
        let there = there.first().copied().unwrap_or_default();
        let here = hash::stored(&*self.store, dataset, &KeyRange::default(), &[]).await?;
        let here = here.first().copied().unwrap_or_default();
        if there == here {
            let reason = format!("by hash: both sides hold the same {} rows", there.rows);
            return Ok(Plan { reason, days: 1, ..Plan::default() });
        }
        let (calls, rows) = match here.rows {
            0 => (1 + there.rows.div_ceil(u64::from(offer.row_cap(0).unwrap_or(1)).max(1)), there.rows),
            _ => {
                let one = ranges::calls_of_one_change(there.rows, self.options.tables.limits());
                (one, there.rows.min(self.options.tables.leaf_rows))
            }
        };
        let how = if here.rows == 0 { "all of them" } else { "at least one leaf" };
        let reason = format!("by hash: {} rows there, {} here, they differ; {how}", there.rows, here.rows);
        Ok(one_slice(dataset, calls, rows, reason))
    }

    /// Brings a table in step. What is committed stays, whatever becomes of the run.
    pub(super) async fn run_table(
        &self,
        task: &mut Task,
        fence: Fence,
        stop: &Stop,
        watcher: &Watcher,
    ) -> Result<WorkEnd> {
        watcher.tell(|progress| progress.phase = Phase::Planning);
        let dataset = self.catalog.get(&task.dataset)?.clone();
        let (source, offer, knowledge) = self.table_source(&dataset, &task.request).await?;
        let ways = ways(&dataset, &task.request)?;
        self.begin(task, fence, &[], watcher).await?;
        let mut run = TableRun {
            engine: self,
            tables: tables(&source)?,
            source: &source,
            offer: &offer,
            knowledge: &knowledge,
            dataset: &dataset,
            fence,
            stop,
            watcher,
            pending: Totals::default(),
            calls_unrecorded: 0,
            totals: task.totals.clone(),
            rows_read: 0,
            random: Random::seeded(self.clock.now().0 as u64),
        };
        let end = match run.whole(&ways).await {
            Ok(()) => WorkEnd::Done,
            Err(end) => run.record_rest(end).await,
        };
        task.totals = run.totals;
        Ok(end)
    }
}

/// By watermark, by hash, or by one after the other.
struct Ways {
    watermark: bool,
    hash: bool,
}

/// `--strategy` over `policy.strategy`; `--force` compares everything.
fn ways(dataset: &Dataset, request: &Request) -> Result<Ways> {
    let strategy = request.how.strategy.unwrap_or(dataset.policy.strategy);
    let marked = dataset.database.as_ref().is_some_and(|database| database.watermark.is_some());
    match strategy {
        Strategy::Watermark if marked => Ok(Ways { watermark: true, hash: request.force }),
        // A comparison must not leave a watermark behind that passes over rows which were committed meanwhile.
        Strategy::Hash => Ok(Ways { watermark: marked, hash: true }),
        _ => {
            let message = format!("{} cannot be kept by {strategy}", dataset.name);
            Err(Error::invalid(message)
                .hint("a table of a database is kept by `watermark` (with database.watermark) or `hash`"))
        }
    }
}

/// A plan of one slice: the whole table.
fn one_slice(dataset: &Dataset, calls: u64, rows: u64, reason: String) -> Plan {
    let slice = Slice {
        dataset: Arc::from(dataset.name.as_str()),
        area: Area::whole(),
        cut: 0,
        calls: u32::try_from(calls).unwrap_or(u32::MAX),
        rows,
    };
    Plan { slices: vec![slice], calls, rows, reason, days: 1, ..Plan::default() }
}

/// One run of a task over one table: asks, checks, commits, counts.
pub(super) struct TableRun<'a> {
    pub(super) engine: &'a Engine,
    pub(super) tables: &'a dyn Tables,
    source: &'a Arc<dyn Source>,
    offer: &'a Offer,
    knowledge: &'a Knowledge,
    pub(super) dataset: &'a Arc<Dataset>,
    fence: Fence,
    stop: &'a Stop,
    watcher: &'a Watcher,
    /// Figures that no commit has written yet.
    pending: Totals,
    calls_unrecorded: u64,
    totals: Totals,
    rows_read: u64,
    random: Random,
}

impl TableRun<'_> {
    async fn whole(&mut self, ways: &Ways) -> Result<(), WorkEnd> {
        let (tables, dataset) = (self.tables, self.dataset);
        self.ask(|| tables.check(dataset)).await?;
        if ways.watermark {
            self.by_watermark().await?;
        }
        if ways.hash {
            let before = if ways.watermark { Some(self.watermark_start().await?) } else { None };
            self.by_hash().await?;
            // Rows that were committed late while ranges were compared lie before the newest watermark by now.
            if let Some(before) = before {
                self.read_since(before).await?;
            }
        }
        self.claim().await
    }

    /// Asks until there is an answer, as errors allow.
    pub(super) async fn ask<'q, T>(&mut self, question: impl Fn() -> BoxFuture<'q, Result<T>>) -> Result<T, WorkEnd> {
        let mut tried = Tried::default();
        loop {
            if self.stop.asked() {
                return Err(WorkEnd::Aborted(Error::new(ErrorKind::Interrupted, "stopped")));
            }
            self.pending.calls += 1;
            self.calls_unrecorded += 1;
            let asked = Moment::now();
            let answer = tokio::select! {
                answer = question() => answer,
                () = self.stop.wait() => Err(Error::new(ErrorKind::Interrupted, "stopped")),
            };
            self.pending.network_ms += asked.elapsed().as_millis() as u64;
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Interrupted {
                self.pending.calls_failed += 1;
                tried.attempts += 1;
            }
            self.after(error, tried).await?;
        }
    }

    /// Waits before another attempt, or says why there is none.
    async fn after(&self, error: Error, tried: Tried) -> Result<(), WorkEnd> {
        let options = &self.engine.options;
        let policy = RetryPolicy {
            retries: self.dataset.policy.retries,
            first_ms: options.retry_first_ms,
            cap_ms: options.retry_cap_ms,
            jitter: options.retry_jitter,
            throttles_max: options.throttles_max,
        };
        match decide(error.kind(), tried, &policy, self.random.next()) {
            Decision::Again { after_ms } => {
                self.watcher.tell(|progress| progress.note = Some(format!("trying again: {error}")));
                match self.stop.sleep(Duration::from_millis(after_ms)).await {
                    true => Ok(()),
                    false => Err(WorkEnd::Aborted(Error::new(ErrorKind::Interrupted, "stopped"))),
                }
            }
            Decision::Abort => Err(WorkEnd::Aborted(error)),
            Decision::AgainAt { .. } | Decision::Fail | Decision::SetAside => Err(WorkEnd::SetAside(error)),
        }
    }

    /// Commits the rows of one page.
    pub(super) async fn write(&mut self, page: Page, write: Write) -> Result<(), WorkEnd> {
        let answered = (page.batch.num_rows() + page.unreadable.len()) as u64;
        self.rows_read += answered;
        let checking = Moment::now();
        let area = Area::whole();
        let checked = check::check(self.dataset, &area, page.batch);
        for warning in checked.warnings {
            tracing::warn!(dataset = self.dataset.name, warning, "rows deserve a look");
        }
        self.pending.slices_planned += 1;
        self.pending.slices_done += 1;
        self.pending.rows_asked += answered;
        self.pending.rows_answered += answered;
        self.pending.rows_duplicate += checked.duplicates;
        self.pending.bytes += page.bytes;
        self.pending.check_ms += checking.elapsed().as_millis() as u64;
        let quarantined = page.unreadable.into_iter().chain(checked.quarantined).collect();
        let change = RowsChange { batch: checked.batch, quarantined, ..self.change(write) };
        self.commit(vec![Change::Rows(change)]).await?;
        let most = self.engine.options.tables.run_rows_max;
        if most > 0 && self.rows_read >= most {
            let error = Error::new(ErrorKind::QuotaGone { until: None }, format!("{most} rows were read in this run"));
            return Err(WorkEnd::SetAside(
                error.hint("run it again to go on; sources.database.run_rows_max is the limit"),
            ));
        }
        Ok(())
    }

    fn change(&self, write: Write) -> RowsChange {
        RowsChange {
            dataset: self.dataset.clone(),
            area: Area::whole(),
            batch: arrow_array::RecordBatch::new_empty(self.dataset.schema()),
            lacks: Vec::new(),
            lacks_exchanges: Exchanges::default(),
            write,
            source: self.source.name().into(),
            rank: self.source.rank(),
            fetched_at: self.engine.clock.now(),
            claim: None,
            quarantined: Vec::new(),
        }
    }

    /// Everything has been compared: the ledger says so.
    async fn claim(&mut self) -> Result<(), WorkEnd> {
        let coverage = self.engine.store.coverage(&self.dataset.name).await.map_err(WorkEnd::Aborted)?;
        let rows = coverage.rows_by_day.iter().map(|(_, rows)| rows).sum::<u64>();
        let rows = if rows == 0 { hash::stored_rows(&*self.engine.store, self.dataset).await? } else { rows };
        let claim = plan::judge(self.dataset, self.knowledge, &Area::whole(), rows, self.engine.clock.now());
        let change = RowsChange { claim: Some(claim), ..self.change(Write::Upsert) };
        self.commit(vec![Change::Rows(change)]).await
    }

    async fn commit(&mut self, mut changes: Vec<Change>) -> Result<(), WorkEnd> {
        changes.push(Change::Progress(self.pending.clone()));
        let calls = std::mem::take(&mut self.calls_unrecorded);
        if calls > 0 {
            let (source, api) = (self.source.name().to_owned(), self.offer.api.clone());
            changes.push(Change::QuotaUsed { source, api, day: self.engine.clock.now().day(), calls });
        }
        let commit = Commit { at: self.engine.clock.now(), fence: Some(self.fence), changes };
        let writing = Moment::now();
        let receipt = self.engine.store.commit(commit).await.map_err(WorkEnd::Aborted)?;
        let written = std::mem::take(&mut self.pending);
        self.totals.add(&written);
        for counts in receipt.rows {
            self.totals.add(&Totals::of_rows(self.source.name(), counts));
        }
        self.pending.write_ms = writing.elapsed().as_millis() as u64;
        let totals = self.totals.clone();
        self.watcher.tell(|progress| {
            progress.phase = Phase::Fetching;
            progress.slices_total = totals.slices_planned;
            progress.totals = totals;
        });
        Ok(())
    }

    /// Calls that led to no rows, and why the source was set aside, are recorded too.
    async fn record_rest(&mut self, end: WorkEnd) -> WorkEnd {
        let mut changes = Vec::new();
        if let WorkEnd::SetAside(error) = &end {
            let data = serde_json::json!({
                "source": self.source.name(), "kind": error.kind().name(), "message": error.to_string(),
            });
            changes.push(Change::Event {
                kind: EventType::SourceSetAside,
                dataset: Some(self.dataset.name.clone()),
                data,
            });
        }
        match (&end, self.commit(changes).await) {
            (WorkEnd::SetAside(_), Err(worse)) => worse,
            _ => end,
        }
    }

    /// The part of `range` that a page covers, and whether more follows.
    pub(super) fn covered(&self, range: &KeyRange, answer: &TablePage) -> Result<(KeyRange, bool), WorkEnd> {
        match (answer.page.more, &answer.last) {
            (false, _) => Ok((range.clone(), false)),
            (true, Some(last)) => Ok((KeyRange { after: range.after.clone(), upto: Some(last.clone()) }, true)),
            (true, None) => {
                let message = format!("a whole page of {} has keys that do not convert", self.dataset.name);
                let hint =
                    "declare the key columns with the types that the table has: `tidegate quarantine` shows rows";
                Err(WorkEnd::SetAside(Error::invalid(message).hint(hint)))
            }
        }
    }

    /// The digest of a whole side.
    pub(super) fn first(digests: Vec<Digest>) -> Digest {
        digests.into_iter().next().unwrap_or_default()
    }
}

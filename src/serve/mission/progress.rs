//! How a run of these routes stands: its figures, summed over its tasks as the store has them now, whoever works on them.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{Period, job_id};
use crate::model::{Query, Result, Run, RunState, RunsWanted, Task, Totals, query::Order};
use crate::serve::Service;
use crate::store::Store;

/// Tasks that are read at the same time.
const READS_AT_ONCE: usize = 8;

/// The words of these routes for the state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing has been asked for yet.
    Idle,
    /// Under way, or about to be.
    Running,
    Success,
    /// Ended, and something is left that has to be tried again or looked at.
    SuccessWithErrors,
    /// Ended before it was through; cancelled runs among them.
    Failed,
}

impl Status {
    pub fn of(state: RunState) -> Status {
        match state {
            RunState::Pending | RunState::Running => Status::Running,
            RunState::Success => Status::Success,
            RunState::SuccessWithErrors => Status::SuccessWithErrors,
            RunState::Failed | RunState::Cancelled => Status::Failed,
        }
    }
}

/// Rows that one source brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourceStats {
    pub inserted: u64,
    pub updated: u64,
}

/// How a run stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SyncStatus {
    /// The run: `sync_12`, as `POST /api/sync/trigger` named it; `sync` before the first one.
    #[schema(example = "sync_12")]
    pub job: String,
    pub status: Status,
    /// When it was asked for.
    #[schema(example = "2025-01-02T18:00:00+08:00")]
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    /// Rows that the sources have sent.
    pub total: u64,
    pub inserted: u64,
    pub updated: u64,
    /// Slices that did not work and rows that were refused.
    pub errors: u64,
    /// The newest day that is stored of its bars, `YYYYMMDD`.
    #[schema(example = "20250102")]
    pub last_trade_date: Option<String>,
    /// Who answered what: `daily:tushare`.
    #[schema(example = json!(["stock_basic:tushare", "daily:tushare"]))]
    pub data_sources_used: Vec<String>,
    /// By source.
    #[schema(example = json!({"tushare": {"inserted": 800, "updated": 1500}}))]
    pub source_stats: BTreeMap<String, SourceStats>,
    /// What went wrong, or what people should know.
    pub message: Option<String>,
}

impl SyncStatus {
    /// Before the first run.
    pub async fn idle(service: &Service) -> Result<SyncStatus> {
        Ok(SyncStatus {
            job: "sync".to_string(),
            status: Status::Idle,
            started_at: None,
            finished_at: None,
            total: 0,
            inserted: 0,
            updated: 0,
            errors: 0,
            last_trade_date: newest_bar(service, &[]).await?,
            data_sources_used: Vec::new(),
            source_stats: BTreeMap::new(),
            message: None,
        })
    }

    pub async fn of(service: &Service, run: &Run) -> Result<SyncStatus> {
        let tasks = tasks_of(&*service.store, run).await?;
        let totals = totals_of(run, &tasks);
        let last_trade_date = newest_bar(service, &run.work.datasets).await?;
        let used = tasks.iter().flat_map(|task| {
            let answered = task.totals.by_source.iter().filter(|(_, served)| served.slices > 0);
            answered.map(|(source, _)| format!("{}:{source}", task.dataset))
        });
        let stats = totals.by_source.iter().filter(|(_, served)| served.slices > 0 || served.inserted > 0);
        let stats = stats.map(|(source, served)| {
            (source.clone(), SourceStats { inserted: served.inserted, updated: served.updated })
        });
        Ok(SyncStatus {
            job: job_id(run),
            status: Status::of(run.state),
            started_at: Some(run.created_at.to_string()),
            finished_at: run.finished_at.map(|at| at.to_string()),
            total: totals.rows_answered,
            inserted: totals.rows_inserted,
            updated: totals.rows_updated,
            errors: totals.slices_failed + totals.rows_quarantined,
            last_trade_date,
            data_sources_used: used.collect(),
            source_stats: stats.collect(),
            message: run.note.clone(),
        })
    }
}

/// The tasks that a run became, as they stand now.
pub async fn tasks_of(store: &dyn Store, run: &Run) -> Result<Vec<Task>> {
    let reads = futures::stream::iter(run.tasks.clone()).map(|task| store.task(task)).buffered(READS_AT_ONCE);
    let tasks: Vec<Option<Task>> = reads.try_collect().await?;
    Ok(tasks.into_iter().flatten().collect())
}

/// While a run is open, its tasks know more than it does.
pub fn totals_of(run: &Run, tasks: &[Task]) -> Totals {
    if !run.state.is_open() {
        return run.totals.clone();
    }
    let mut totals = Totals::default();
    tasks.iter().for_each(|task| totals.add(&task.totals));
    totals
}

/// Runs of a slot, those that were started beside others included, newest first.
pub async fn runs_of(service: &Service, slot: &str, limit: usize) -> Result<Vec<Run>> {
    let wanted = RunsWanted { slot: Some(slot.to_string()), limit, ..RunsWanted::default() };
    service.store.runs(&wanted).await
}

/// The newest day of the bars among these tables, else of the daily ones.
async fn newest_bar(service: &Service, datasets: &[String]) -> Result<Option<String>> {
    let of_bars = |name: &&str| datasets.iter().any(|dataset| dataset == name);
    let named: Vec<&str> = Period::ALL.iter().map(|period| period.dataset()).filter(of_bars).collect();
    let mut newest = None;
    for name in if named.is_empty() { vec![Period::Daily.dataset()] } else { named } {
        let Ok(dataset) = service.catalog.get(name) else { continue };
        let Some(time) = dataset.time.clone() else { continue };
        let order = vec![Order { column: time.clone(), descending: true }];
        let query = Query { columns: vec![time], order, limit: Some(1), ..Query::all(name) };
        let mut batches = service.store.scan(&query).await?;
        while let Some(batch) = batches.try_next().await? {
            newest = newest.max(day_of(&batch));
        }
    }
    Ok(newest.map(crate::model::Day::compact))
}

fn day_of(batch: &arrow_array::RecordBatch) -> Option<crate::model::Day> {
    use arrow_array::{Array, cast::AsArray, types::Date32Type};
    let days = batch.column(0).as_primitive_opt::<Date32Type>()?;
    (0..days.len()).filter(|row| days.is_valid(*row)).map(|row| crate::model::Day(days.value(row))).max()
}

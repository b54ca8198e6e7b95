//! `tidegate runs`: what was asked for, by jobs and by hand, and how it went.

use serde_json::Value;

use super::context::{BY, Context, print};
use super::list::{List, grouped};
use super::sync::result_of;
use crate::model::{Error, Result, Run, RunId, RunsWanted};
use crate::serve::views::RunView;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate runs                      the newest runs
  tidegate runs --open               those that wait or are at work
  tidegate runs --job daily --limit 5
  tidegate runs show 12
  tidegate runs cancel 12            what it has committed stays")]
pub struct Args {
    /// Only those of this job
    #[arg(long)]
    job: Option<String>,
    /// Only those that wait or are at work
    #[arg(long)]
    open: bool,
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// One run with its tasks
    Show { id: RunId },
    /// End an open run and its tasks for good
    Cancel { id: RunId },
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let control = context.control(store.clone());
    match args.action {
        None => {
            let (job, open, limit) = (args.job, args.open, args.limit);
            let wanted = RunsWanted { job, open, limit, ..RunsWanted::default() };
            list(context, &store.runs(&wanted).await?)?;
        }
        Some(Action::Show { id }) => {
            let run = control.run(id).await?;
            if context.json {
                context.print_json(&as_json(&run)?)?;
                return Ok(0);
            }
            let mut tasks = List::new([">task", "table", "result", ">slices", ">rows", "note"]);
            for id in &run.tasks {
                let Some(task) = store.task(*id).await? else { continue };
                let totals = &task.totals;
                let (id, slices) = (task.id.to_string(), format!("{}/{}", totals.slices_done, totals.slices_planned));
                let (rows, note) = (grouped(totals.rows_answered), task.note.clone().unwrap_or_default());
                tasks.push([id, task.dataset.clone(), result_of(&task).to_string(), slices, rows, note]);
            }
            let tasks = if tasks.is_empty() { String::new() } else { format!("\n{}", tasks.render()) };
            print(&format!("{}\n{tasks}", in_one_line(&run)))?;
        }
        Some(Action::Cancel { id }) => {
            let run = control.cancel(id, BY).await?;
            eprintln!("run {} is cancelled; what it committed stays", run.id);
        }
    }
    Ok(0)
}

fn list(context: &Context, runs: &[Run]) -> Result<()> {
    if context.json {
        return context.print_json(&runs.iter().map(as_json).collect::<Result<_>>()?);
    }
    let mut list = List::new([">id", "job", "state", ">attempt", "created", "begins", ">rows", "asked by", "note"]);
    for run in runs {
        let begins = if run.state.is_open() { run.not_before } else { run.started_at.unwrap_or(run.created_at) };
        list.push([
            run.id.to_string(),
            run.job.clone().unwrap_or_default(),
            run.state.name().to_string(),
            run.attempt.to_string(),
            run.created_at.to_string(),
            begins.to_string(),
            grouped(run.totals.rows_answered),
            run.asked_by.clone(),
            run.note.clone().unwrap_or_else(|| run.reason.clone()),
        ]);
    }
    if list.is_empty() { print("no runs\n") } else { print(&list.render()) }
}

/// As the API shows it.
pub fn as_json(run: &Run) -> Result<Value> {
    serde_json::to_value(RunView::new(run)).map_err(|error| Error::bug("writing a run").caused_by(error))
}

/// `12 daily: success, attempt 1, created 2024-01-02T18:00:00+08:00 by schedule; cron 0 18 * * 1-5`.
pub fn in_one_line(run: &Run) -> String {
    let job = run.job.as_ref().map_or(String::new(), |job| format!(" {job}"));
    let (state, attempt) = (run.state.name(), run.attempt);
    let why = run.note.as_deref().unwrap_or(&run.reason);
    format!("{}{job}: {state}, attempt {attempt}, created {} by {}; {why}", run.id, run.created_at, run.asked_by)
}

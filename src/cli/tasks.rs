//! `tidegate tasks`, `pause`, `resume` and `cancel`.

use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::{List, grouped};
use super::progress::{Display, stop_on_signal};
use super::sync::{report, result_of};
use crate::engine::Watcher;
use crate::engine::together::Synced;
use crate::model::{Error, Result, Task, TaskState};

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
pub struct IdArgs {
    /// The task's number; see `tidegate tasks`
    id: i64,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate resume 7
  tidegate resume --all")]
pub struct ResumeArgs {
    /// The task's number; see `tidegate tasks`
    #[arg(required_unless_present = "all")]
    id: Option<i64>,
    /// Every task that is not finished
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

pub async fn list(context: &Context, args: ListArgs) -> Result<u8> {
    let tasks = context.store().await?.tasks(args.limit).await?;
    if context.json {
        context.print_json(&tasks.iter().map(as_json).collect())?;
        return Ok(0);
    }
    let mut list = List::new([">id", "table", "state", "created", ">slices", ">rows", ">failed", "worker", "note"]);
    for task in &tasks {
        let totals = &task.totals;
        list.push([
            task.id.to_string(),
            task.dataset.clone(),
            result_of(task).to_string(),
            task.created_at.to_string(),
            format!("{}/{}", grouped(totals.slices_done), grouped(totals.slices_planned)),
            grouped(totals.rows_answered),
            grouped(totals.slices_failed),
            task.lease.as_ref().map_or_else(String::new, |lease| format!("{} until {}", lease.worker, lease.until)),
            task.note.clone().unwrap_or_default(),
        ]);
    }
    print(&list.render())?;
    Ok(0)
}

pub async fn pause(context: &Context, args: IdArgs) -> Result<u8> {
    let store = context.store().await?;
    let task = context.engine(store).await?.pause(args.id).await?;
    tell(context, &task, &format!("task {0} is paused; `tidegate resume {0}` goes on", task.id))
}

pub async fn cancel(context: &Context, args: IdArgs) -> Result<u8> {
    let store = context.store().await?;
    let task = context.engine(store).await?.cancel(args.id).await?;
    tell(context, &task, &format!("task {} is cancelled; what it committed stays", task.id))
}

fn tell(context: &Context, task: &Task, text: &str) -> Result<u8> {
    if context.json {
        context.print_json(&as_json(task))?;
    } else {
        eprintln!("{text}");
    }
    Ok(0)
}

pub async fn resume(context: &Context, args: ResumeArgs) -> Result<u8> {
    let store = context.store().await?;
    let engine = context.engine(store.clone()).await?;
    let _running = store.run_exclusively().await?;
    let open: Vec<Task> = match args.id {
        Some(id) => vec![engine.task(id).await?],
        None => store.tasks(10_000).await?.into_iter().filter(|task| task.state.is_open()).rev().collect(),
    };
    if let Some(task) = open.iter().find(|task| !task.state.is_open()) {
        let message = format!("task {} is {} and cannot be resumed", task.id, result_of(task));
        return Err(Error::conflict(message).hint(format!("start a new one: `tidegate sync {}`", task.dataset)));
    }
    let stop = stop_on_signal();
    let display = Display::new(context);
    let mut synced = Vec::new();
    for task in open {
        let (watcher, progress) = Watcher::new(&task.dataset, task.id);
        display.follow(&task.dataset, progress);
        let (dataset, id) = (task.dataset, task.id);
        match engine.run(id, &stop, &watcher).await {
            Ok(task) => synced.push(Synced::of(task)),
            Err(error) => {
                synced.push(Synced { task: engine.task(id).await.ok(), ..Synced::failed(dataset, error) });
            }
        }
    }
    display.close().await;
    report(context, &synced)
}

fn as_json(task: &Task) -> Value {
    json!({
        "id": task.id, "dataset": task.dataset, "state": task.state.name(),
        "outcome": task.outcome.map(crate::model::Outcome::name), "request": task.request,
        "created_at": task.created_at.to_string(), "started_at": task.started_at.map(|at| at.to_string()),
        "finished_at": task.finished_at.map(|at| at.to_string()), "totals": task.totals, "note": task.note,
        "worker": task.lease.as_ref().map(|lease| &lease.worker),
        "lease_until": task.lease.as_ref().map(|lease| lease.until.to_string()),
        "resumable": matches!(task.state, TaskState::Pending | TaskState::Paused | TaskState::Running),
    })
}

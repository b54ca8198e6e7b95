//! `tidegate work`: one more process that works on what others have asked for.

use std::time::Duration;

use super::context::Context;
use super::progress::{Display, stop_on_signal};
use super::sync::report;
use crate::engine::together::Synced;
use crate::engine::{Engine, Stop, Watcher};
use crate::model::{ErrorKind, Result, Task, TaskState};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate work                     until no task is open
  tidegate work --forever           waits for new ones; end it with Ctrl-C

Several processes share the tasks of one PostgreSQL store; docs/guide/several-workers.md says how.")]
pub struct Args {
    /// Wait for new tasks when none is left
    #[arg(long)]
    forever: bool,
}

/// Between two looks at the list of tasks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let _running = store.run_exclusively().await?;
    let engine = context.engine(store)?;
    let stop = stop_on_signal();
    let display = Display::new(context);
    let mut synced: Vec<Synced> = Vec::new();
    let mut ended = Ok(());
    while !stop.asked() {
        let open = match open_tasks(&engine).await {
            Ok(open) => open,
            Err(error) => {
                ended = Err(error);
                break;
            }
        };
        // A task that failed here is not tried again and again by this process.
        let worth = |task: &&Task| !synced.iter().any(|one| one.error.is_some() && is_task(one, task));
        let Some(task) = open.iter().find(worth) else {
            if !args.forever {
                break;
            }
            stop.sleep(LOOK_EVERY).await;
            continue;
        };
        synced.retain(|one| !is_task(one, task));
        synced.extend(work_on(&engine, task, &stop, &display).await);
    }
    display.close().await;
    ended?;
    report(context, &synced)
}

fn is_task(one: &Synced, task: &Task) -> bool {
    one.task.as_ref().is_some_and(|done| done.id == task.id)
}

/// Tasks that wait or run, oldest first. Those that a person paused wait for that person.
async fn open_tasks(engine: &Engine) -> Result<Vec<Task>> {
    let tasks = engine.store.tasks(10_000).await?;
    let mut open: Vec<Task> =
        tasks.into_iter().filter(|task| matches!(task.state, TaskState::Pending | TaskState::Running)).collect();
    // What nobody holds comes first.
    open.sort_by_key(|task| (task.lease.is_some(), task.id));
    Ok(open)
}

/// `None` when another process holds the task, or is done with it.
async fn work_on(engine: &Engine, task: &Task, stop: &Stop, display: &Display) -> Option<Synced> {
    let (watcher, progress) = Watcher::new(&task.dataset, task.id);
    match engine.run(task.id, stop, &watcher).await {
        Ok(done) => {
            display.follow(&task.dataset, progress);
            Some(Synced::of(done))
        }
        Err(error) if error.kind() == ErrorKind::Conflict => {
            stop.sleep(LOOK_EVERY).await;
            None
        }
        Err(error) => {
            Some(Synced { task: engine.task(task.id).await.ok(), ..Synced::failed(task.dataset.clone(), error) })
        }
    }
}

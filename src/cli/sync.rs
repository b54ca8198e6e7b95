//! `tidegate sync`: fetches what is missing, shows how it goes and says what came of it.

use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::{List, duration, grouped};
use super::progress::{Display, stop_on_signal};
use super::selection::Selection;
use crate::engine::together::Synced;
use crate::engine::{Engine, Stop, knowledge};
use crate::model::{Error, ErrorKind, Outcome, Result, Task, TaskState, task::Request};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate sync daily daily_basic adj_factor --from 2024-01-01
  tidegate sync daily --codes 600519.SH,000001.SZ
  tidegate sync --all
  tidegate sync daily --from 2024-03-05 --to 2024-03-05 --force
  tidegate sync --periods daily,weekly,monthly --codes 600519.SH --all-history
  tidegate sync daily --strategy incremental --look-back 5
  tidegate sync daily --strategy range --from 2024-01-01 --to 2024-03-30
  tidegate sync daily --strategy by_security --batch-size 500 --offset 1000

Running the same command again goes on where the last run stopped; Ctrl-C pauses.")]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let engine = context.engine(store.clone()).await?.asking(&args.selection.sources)?;
    let known = knowledge::read(&*store).await?.securities;
    let requests = args.selection.requests(context, &engine, &known)?;
    let _running = match store.run_exclusively().await {
        Ok(running) => running,
        Err(error) if error.kind() == ErrorKind::Conflict => {
            return join(context, &engine, &args, requests, error).await;
        }
        Err(error) => return Err(error),
    };
    sync(context, &engine, requests, &stop_on_signal()).await
}

/// Syncs, shows progress and prints the totals.
pub async fn sync(context: &Context, engine: &Engine, requests: Vec<(String, Request)>, stop: &Stop) -> Result<u8> {
    let display = Display::new(context);
    let synced = engine.sync(requests, stop, &|dataset, progress| display.follow(dataset, progress)).await;
    display.close().await;
    report(context, &synced?)
}

/// Another process works on this store: whoever asks for the same waits for its end. A service takes any request as a
/// run; where there is none, another request is refused.
async fn join(
    context: &Context,
    engine: &Engine,
    args: &Args,
    requests: Vec<(String, Request)>,
    held: Error,
) -> Result<u8> {
    let (mut joined, mut refused) = (Vec::new(), None);
    for (dataset, request) in &requests {
        match engine.open_task(dataset).await? {
            Some(open) if open.request == *request => joined.push(open),
            Some(open) => {
                let message = format!("dataset {dataset} already has open task {} ({})", open.id, open.state.name());
                refused = Some(Error::conflict(message).hint("wait for it, or pause it: `tidegate tasks`"));
            }
            None => {}
        }
    }
    if joined.len() < requests.len() {
        return super::follow::by_service(context, engine, args.selection.work()?, refused.unwrap_or(held)).await;
    }
    let stop = stop_on_signal();
    let mut synced = Vec::new();
    for task in joined {
        eprintln!("{:16} joined task {}, which another process is running", task.dataset, task.id);
        let task = follow_to_end(engine, task, &stop).await?;
        synced.push(Synced::of(task));
    }
    report(context, &synced)
}

async fn follow_to_end(engine: &Engine, task: Task, stop: &crate::engine::Stop) -> Result<Task> {
    let mut task = task;
    while matches!(task.state, TaskState::Pending | TaskState::Running) {
        if !stop.sleep(std::time::Duration::from_millis(500)).await {
            return Err(Error::new(ErrorKind::Interrupted, "stopped waiting; the other process goes on"));
        }
        task = engine.task(task.id).await?;
    }
    Ok(task)
}

/// Prints what came of each dataset. The exit code is that of the worst.
pub fn report(context: &Context, synced: &[Synced]) -> Result<u8> {
    if context.json {
        context.print_json(&synced.iter().map(as_json).collect())?;
    } else {
        print(&as_text(synced))?;
    }
    for one in synced {
        if let Some(error) = &one.error {
            eprintln!("{}: {}", one.dataset, super::describe_error(error));
        }
    }
    Ok(exit_code(synced))
}

fn exit_code(synced: &[Synced]) -> u8 {
    let error = synced.iter().filter_map(|one| one.error.as_ref()).map(|error| error.kind().exit_code()).max();
    let paused = synced.iter().any(|one| one.task.as_ref().is_some_and(|task| task.state == TaskState::Paused));
    let green = synced.iter().all(|one| one.task.as_ref().is_some_and(is_green));
    match (error, paused, green) {
        (Some(code), ..) => code,
        (None, true, _) => ErrorKind::Interrupted.exit_code(),
        (None, false, green) => u8::from(!green),
    }
}

fn is_green(task: &Task) -> bool {
    task.outcome == Some(Outcome::Success)
}

fn as_text(synced: &[Synced]) -> String {
    let mut list = List::new([
        "table",
        "result",
        ">slices",
        ">calls",
        ">answered",
        ">inserted",
        ">updated",
        ">unchanged",
        ">withdrawn",
        ">quarantined",
        ">in conflict",
        ">failed",
    ]);
    let tasks = || synced.iter().filter_map(|one| one.task.as_ref());
    for task in tasks() {
        let totals = &task.totals;
        let slices = format!("{}/{}", grouped(totals.slices_done), grouped(totals.slices_planned));
        list.push([
            task.dataset.clone(),
            result_of(task).to_string(),
            slices,
            grouped(totals.calls),
            grouped(totals.rows_answered),
            grouped(totals.rows_inserted),
            grouped(totals.rows_updated),
            grouped(totals.rows_unchanged),
            grouped(totals.rows_withdrawn),
            grouped(totals.rows_quarantined),
            grouped(totals.rows_conflicting),
            grouped(totals.slices_failed),
        ]);
    }
    let mut text = list.render();
    for days in synced.iter().filter_map(|one| one.days.as_ref()) {
        text.push_str(&format!("\n{}\n", super::days::as_text(days)));
    }
    for task in tasks() {
        let totals = &task.totals;
        let spent = [
            ("waiting for quota", totals.quota_wait_ms),
            ("network", totals.network_ms),
            ("decoding", totals.decode_ms),
            ("checking", totals.check_ms),
            ("writing", totals.write_ms),
        ];
        let spent: Vec<String> =
            spent.iter().filter(|(_, ms)| *ms > 0).map(|(what, ms)| format!("{what} {}", duration(*ms))).collect();
        if !spent.is_empty() {
            text.push_str(&format!("{}: {}\n", task.dataset, spent.join(", ")));
        }
        if let Some(note) = &task.note {
            text.push_str(&format!("{}: {note}\n", task.dataset));
        }
    }
    text
}

/// The task's outcome where it has one, else its state.
pub fn result_of(task: &Task) -> &'static str {
    task.outcome.map_or(task.state.name(), Outcome::name)
}

fn as_json(one: &Synced) -> Value {
    json!({
        "dataset": one.dataset,
        "task": one.task.as_ref().map(|task| task.id),
        "state": one.task.as_ref().map(|task| task.state.name()),
        "outcome": one.task.as_ref().and_then(|task| task.outcome).map(Outcome::name),
        "note": one.task.as_ref().and_then(|task| task.note.clone()),
        "totals": one.task.as_ref().map(|task| &task.totals),
        "days": one.days.as_ref().map(super::days::as_json),
        "error": one.error.as_ref().map(|error| json!({
            "kind": error.kind().name(), "message": error.to_string(), "hint": error.hint_text(),
        })),
    })
}

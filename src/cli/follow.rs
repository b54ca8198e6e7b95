//! A request while a service works on the same store: it becomes a run of the service, and is followed to its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant as Moment};

use super::context::{BY, Context};
use super::list::grouped;
use super::progress::stop_on_signal;
use super::sync::{report, result_of, sync};
use crate::engine::together::Synced;
use crate::engine::{Engine, knowledge};
use crate::model::{Error, ErrorKind, Result, Run, RunId, RunState, RunsWanted, TaskId, Work};
use crate::scheduler::Control;

/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A service takes a run within this time, unless its hands are full with others.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);
/// Open runs that are looked through for one that is at work.
const OPEN_RUNS_MAX: usize = 1_000;

/// Asks for a run and follows it. `held`: what to say where no service takes it.
pub async fn by_service(context: &Context, engine: &Engine, work: Work, held: Error) -> Result<u8> {
    let control = context.control(engine.store.clone());
    let stop = stop_on_signal();
    let run = control.ask(work.clone(), None, BY, "tidegate sync").await?;
    let asked = Moment::now();
    let (mut told, mut begun) = (BTreeSet::new(), false);
    loop {
        let run = control.run(run.id).await?;
        if run.state != RunState::Pending && !begun {
            eprintln!("run {} of the service that works on this store", run.id);
            begun = true;
        }
        tell_ended_tasks(engine, &run, &mut told).await?;
        if !run.state.is_open() {
            return ended(context, engine, &run).await;
        }
        // Nobody holds the store any more: the service is gone, and the work is ours.
        if let Ok(_running) = engine.store.run_exclusively().await {
            withdraw(&control, run.id).await;
            let known = knowledge::read(&*engine.store).await?.securities;
            let requests = engine.requests(&work, &known, context.clock.now().day())?;
            return sync(context, engine, requests, &stop).await;
        }
        let is_waiting = run.state == RunState::Pending && run.attempt == 0 && asked.elapsed() > TAKEN_WITHIN;
        if is_waiting && !somebody_works(engine).await? {
            withdraw(&control, run.id).await;
            return Err(held);
        }
        if !stop.sleep(LOOK_EVERY).await {
            let message = format!("stopped waiting; the service goes on with run {}", run.id);
            let hint = format!("`tidegate runs show {}`, or `tidegate runs cancel {}`", run.id, run.id);
            return Err(Error::new(ErrorKind::Interrupted, message).hint(hint));
        }
    }
}

/// A service whose hands are full has runs at work; a command that syncs by itself has none.
async fn somebody_works(engine: &Engine) -> Result<bool> {
    let wanted = RunsWanted { open: true, limit: OPEN_RUNS_MAX, ..RunsWanted::default() };
    Ok(engine.store.runs(&wanted).await?.iter().any(|run| run.state == RunState::Running))
}

/// A run that has just ended by itself needs no withdrawal.
async fn withdraw(control: &Control, run: RunId) {
    if let Err(error) = control.cancel(run, BY).await {
        tracing::debug!(run, %error, "a run was not withdrawn");
    }
}

async fn tell_ended_tasks(engine: &Engine, run: &Run, told: &mut BTreeSet<TaskId>) -> Result<()> {
    for id in &run.tasks {
        if told.contains(id) {
            continue;
        }
        let Some(task) = engine.store.task(*id).await? else { continue };
        if !task.state.is_open() {
            told.insert(*id);
            eprintln!("{:16} {}: {} rows", task.dataset, result_of(&task), grouped(task.totals.rows_answered));
        }
    }
    Ok(())
}

async fn ended(context: &Context, engine: &Engine, run: &Run) -> Result<u8> {
    let mut synced = Vec::new();
    for id in &run.tasks {
        if let Some(task) = engine.store.task(*id).await? {
            synced.push(Synced::of(task));
        }
    }
    let note = || run.note.clone().unwrap_or_else(|| "it ended without a reason".to_string());
    match run.state {
        RunState::Failed if synced.is_empty() => {
            Err(Error::transient(format!("run {} failed: {}", run.id, note())).hint("see `tidegate runs`"))
        }
        RunState::Cancelled => Err(Error::new(ErrorKind::Interrupted, format!("run {}: {}", run.id, note()))),
        _ => {
            let code = report(context, &synced)?;
            if let Some(note) = run.note.as_ref().filter(|_| run.state != RunState::Success) {
                eprintln!("run {}: {note}", run.id);
            }
            Ok(code.max(u8::from(run.state != RunState::Success)))
        }
    }
}

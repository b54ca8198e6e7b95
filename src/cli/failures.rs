//! `tidegate failures`: slices that did not work; retry them or settle them by hand.

use serde_json::json;

use super::context::{Context, print};
use super::list::List;
use super::sync;
use crate::engine::Engine;
use crate::model::{Error, Failure, How, Result, Span, task::Request};
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate failures
  tidegate failures retry            every unresolved one, now
  tidegate failures retry 3 4
  tidegate failures resolve 3 --note 'the source never had that day'")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Resolved ones too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Try again now, with a fresh count of attempts
    Retry {
        /// Numbers of failures [default: all unresolved]
        ids: Vec<i64>,
    },
    /// Settle without rows
    Resolve {
        id: i64,
        /// Why, for the record
        #[arg(long, default_value = "resolved by hand")]
        note: String,
    },
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    match args.action {
        None => list(context, store.failures(None, args.all).await?),
        Some(Action::Retry { ids }) => retry(context, store, ids).await,
        Some(Action::Resolve { id, note }) => {
            context.engine(store).await?.resolve_failure(id, note).await?;
            eprintln!("failure {id} is resolved");
            Ok(0)
        }
    }
}

fn list(context: &Context, failures: Vec<Failure>) -> Result<u8> {
    if context.json {
        context.print_json(&failures.iter().map(as_json).collect())?;
        return Ok(0);
    }
    if failures.is_empty() {
        eprintln!("no failures");
        return Ok(0);
    }
    let mut list = List::new([">id", "slice", "kind", ">attempts", "next attempt", "message"]);
    for failure in &failures {
        let next = match (&failure.resolution, failure.attempts < failure.attempts_max) {
            (Some(resolution), _) => resolution.clone(),
            (None, true) => failure.next_attempt_at.to_string(),
            (None, false) => "by hand only".to_string(),
        };
        list.push([
            failure.id.to_string(),
            format!("{} {}", failure.dataset, failure.area),
            failure.kind.clone(),
            format!("{}/{}", failure.attempts, failure.attempts_max),
            next,
            failure.message.clone(),
        ]);
    }
    print(&list.render())?;
    Ok(0)
}

async fn retry(context: &Context, store: std::sync::Arc<dyn Store>, ids: Vec<i64>) -> Result<u8> {
    let unresolved = store.failures(None, false).await?;
    if let Some(id) = ids.iter().find(|id| unresolved.iter().all(|failure| failure.id != **id)) {
        return Err(Error::not_found(format!("there is no unresolved failure {id}")).hint("see `tidegate failures`"));
    }
    let chosen: Vec<Failure> =
        unresolved.into_iter().filter(|failure| ids.is_empty() || ids.contains(&failure.id)).collect();
    if chosen.is_empty() {
        eprintln!("no failures");
        return Ok(0);
    }
    let engine = context.engine(store.clone()).await?;
    let _running = store.run_exclusively().await?;
    engine.retry_failures(chosen.clone()).await?;
    retry_one_by_one(context, &engine, chosen).await
}

/// One sync for each failed area, so that nothing else is fetched.
async fn retry_one_by_one(context: &Context, engine: &Engine, chosen: Vec<Failure>) -> Result<u8> {
    let (mut worst, stop) = (0, super::progress::stop_on_signal());
    for failure in chosen {
        worst = worst.max(sync::sync(context, engine, vec![request_for(&failure)], &stop).await?);
    }
    Ok(worst)
}

fn request_for(failure: &Failure) -> (String, Request) {
    let span: Span = failure.area.span;
    let bound = |day: crate::model::Day| (!span.is_all()).then(|| day.to_string());
    let request = Request {
        securities: failure.area.securities.clone(),
        from: bound(span.from),
        to: bound(span.to),
        force: false,
        source: Some(failure.source.clone()),
        how: How::default(),
    };
    (failure.dataset.clone(), request)
}

fn as_json(failure: &Failure) -> serde_json::Value {
    json!({
        "id": failure.id, "dataset": failure.dataset, "securities": failure.area.securities.to_string(),
        "from": failure.area.span.from.to_string(), "to": failure.area.span.to.to_string(),
        "source": failure.source, "task": failure.task, "kind": failure.kind, "message": failure.message,
        "attempts": failure.attempts, "attempts_max": failure.attempts_max,
        "next_attempt_at": failure.next_attempt_at.to_string(), "first_at": failure.first_at.to_string(),
        "last_at": failure.last_at.to_string(), "resolved_at": failure.resolved_at.map(|at| at.to_string()),
        "resolution": failure.resolution,
    })
}

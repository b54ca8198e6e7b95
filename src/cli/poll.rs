//! `tidegate poll`: realtime tables, again and again in trading hours, until Ctrl-C.

use serde_json::json;

use super::context::Context;
use super::list::grouped;
use super::progress::stop_on_signal;
use crate::engine::poll::{ByClock, Pace};
use crate::engine::together::Synced;
use crate::engine::{Engine, Stop};
use crate::model::{Dataset, Error, Instant, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate poll                      every table whose schedule is continuous
  tidegate poll kpl_list ths_hot

Each table is asked at its own pace (policy.poll_seconds, 60 s without one) from 09:15 to 11:30 and from 13:00 to 15:00 on
trading days. Ctrl-C ends it.")]
pub struct Args {
    /// Tables of the catalogue [default: those whose schedule is continuous]
    datasets: Vec<String>,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let engine = context.engine(store.clone()).await?;
    let datasets = match args.datasets.is_empty() {
        true => realtime(context, &engine),
        false => args.datasets,
    };
    if datasets.is_empty() {
        let error = Error::not_found("no source serves a table whose schedule is `continuous`");
        return Err(error.hint("name the tables to poll"));
    }
    let _running = store.run_exclusively().await?;
    let stop = stop_on_signal();
    let waiting = ByClock { engine: &engine, stop: &stop };
    for dataset in &datasets {
        let every_seconds = engine.poll_seconds(context.catalog.get(dataset)?);
        eprintln!("{dataset:16} every {every_seconds} s in trading hours; Ctrl-C ends");
    }
    let polls = datasets.iter().map(|dataset| {
        let (engine, stop, waiting) = (&engine, &stop, &waiting);
        async move {
            let mut told = |at: Instant, synced: &[Synced]| tell(context, at, synced);
            let ended = engine.poll(dataset, Pace::default(), stop, waiting, &mut told).await;
            // One table that cannot be polled any more ends the others too: nobody would notice otherwise.
            ended.inspect_err(|_| Stop::ask(stop))
        }
    });
    let ended = futures::future::join_all(polls).await;
    ended.into_iter().collect::<Result<Vec<()>>>().map(|_| 0)
}

fn realtime(context: &Context, engine: &Engine) -> Vec<String> {
    let skip = &context.options().sync.skip;
    let datasets = context.catalog.datasets().iter();
    let served = |dataset: &Dataset| engine.sources.iter().any(|source| source.offer(dataset).is_some());
    let polled =
        datasets.filter(|dataset| dataset.policy.is_continuous() && served(dataset) && !skip.contains(&dataset.name));
    polled.map(|dataset| dataset.name.clone()).collect()
}

/// One line a poll: for people, or a JSON object.
fn tell(context: &Context, at: Instant, synced: &[Synced]) {
    for one in synced {
        if let Some(error) = &one.error {
            eprintln!("{at} {}: {}", one.dataset, super::describe_error(error));
        }
        let Some(task) = &one.task else { continue };
        let totals = &task.totals;
        if context.json {
            let line = json!({
                "at": at.to_string(), "dataset": one.dataset, "task": task.id, "rows": totals.rows_answered,
                "inserted": totals.rows_inserted, "updated": totals.rows_updated, "unchanged": totals.rows_unchanged,
                "withdrawn": totals.rows_withdrawn, "failed": totals.slices_failed,
            });
            println!("{line}");
        } else if !context.quiet {
            let [rows, inserted, updated] =
                [totals.rows_answered, totals.rows_inserted, totals.rows_updated].map(grouped);
            eprintln!("{at} {:16} {rows} rows, {inserted} new, {updated} changed", one.dataset);
        }
    }
}

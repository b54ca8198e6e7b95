//! `tidegate work`: runs open tasks, whoever asked for them, beside any number of other processes.

use super::context::Context;
use super::progress::{Display, stop_on_signal};
use super::sync::report;
use crate::engine::together::Synced;
use crate::model::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate work                 help with what is open, until nothing is
  tidegate work --forever       and wait for new tasks until Ctrl-C

Several processes need a store that shares tasks: PostgreSQL, or a file with store.shared = true. A task whose process dies
is taken over when its lease ends (sync.lease_seconds). Ctrl-C pauses what this process runs; the others go on with it.
What a person has paused waits for `tidegate resume`.")]
pub struct Args {
    /// Wait for new tasks when none is left
    #[arg(long)]
    forever: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let engine = context.engine(store.clone()).await?;
    let _running = store.run_exclusively().await?;
    let stop = stop_on_signal();
    let display = Display::new(context);
    let mut synced: Vec<Synced> = Vec::new();
    let mut told: Result<u8> = Ok(0);
    let mut ended = |one: Synced| match args.forever {
        // A list for each, because there is no end at which to print one of all.
        true => told = report(context, &[one]),
        false => synced.push(one),
    };
    let watch = |dataset: &str, progress| display.follow(dataset, progress);
    let worked = engine.work_on_open(args.forever, &stop, &watch, &mut ended).await;
    display.close().await;
    worked?;
    if args.forever { told } else { report(context, &synced) }
}

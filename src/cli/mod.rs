//! The command line: one file a command. Data goes to stdout, everything else to stderr.

pub mod audit;
mod baostock;
mod carrying;
pub mod changes;
pub mod compare;
pub mod configuration;
mod conflicts;
pub mod context;
mod databases;
pub mod datasets;
mod days;
pub mod deliveries;
pub mod demo;
mod doors;
pub mod failures;
mod follow;
pub mod import;
pub mod inbound;
pub mod init;
pub mod intake;
pub mod jobs;
pub mod keys;
pub mod list;
pub mod logs;
pub mod migrate;
pub mod plan;
mod poll;
pub mod progress;
pub mod publish;
pub mod quarantine;
mod receiving;
pub mod reconcile;
mod reconciling;
pub mod repair;
pub mod runs;
pub mod selection;
pub mod serve;
pub mod show;
pub mod sources;
pub mod status;
pub mod subscriptions;
pub mod sync;
pub mod table;
pub mod tasks;
pub mod work;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::model::{Error, Result};
use context::Context;

/// Keeps a complete, correct and fresh local copy of market data, and serves it to whatever you already use.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Examples:
  tidegate demo                                   a simulated market, synced and audited; needs nothing
  tidegate init                                   write tidegate.toml and an empty store here
  tidegate plan daily --from 2024-01-01           calls, rows and minutes before anything starts
  tidegate sync daily daily_basic adj_factor      fetch what is missing, and only that
  tidegate audit                                  every hole with its reason and its remedy
  tidegate show daily --codes 600519.SH --limit 5

Exit codes:
  0 done   1 done with errors, or holes found   2 invalid request or input   3 denied by a source
  4 not found   5 conflict   6 storage   7 source unreachable   8 quota   70 bug   130 interrupted")]
pub struct Cli {
    /// Configuration file [default: ./tidegate.toml, when it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one option for this run, such as store.path=/data/market.db
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Machine-readable output on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a configuration file and create an empty store
    Init(init::Args),
    /// Sync, audit and explore a simulated market on this machine
    Demo(demo::Args),
    /// Show what a sync would do: calls, rows and minutes
    Plan(plan::Args),
    /// Fetch what is missing
    Sync(sync::Args),
    /// Run open tasks beside other processes
    Work(work::Args),
    /// What runs by itself: list, create, change, trigger
    Jobs(jobs::Args),
    /// What was asked for, by jobs and by hand, and how it went
    Runs(runs::Args),
    /// List tasks, newest first
    Tasks(tasks::ListArgs),
    /// Pause a task; its worker stops at its next commit
    Pause(tasks::IdArgs),
    /// Go on with a paused task, or with all of them
    Resume(tasks::ResumeArgs),
    /// End an open task for good; what it committed stays
    Cancel(tasks::IdArgs),
    /// List, retry or resolve slices that did not work
    Failures(failures::Args),
    /// What the store holds and how fresh it is
    Status(status::Args),
    /// Explain every expected cell, or list the holes with their remedies
    Audit(audit::Args),
    /// Print rows
    Show(show::Args),
    /// Copy a store with its ledger into another, and prove that both are equal
    Migrate(migrate::Args),
    /// Take rows from CSV or Parquet files
    Import(import::Args),
    /// Write rows to a file
    Export(show::ExportArgs),
    /// List rows that a rule refused, with the reason
    Quarantine(quarantine::Args),
    /// List rows that differ from the stored ones and wait for a decision, or decide
    Conflicts(conflicts::Args),
    /// The sources, whether their doors open, and what is left of their quotas
    Sources(sources::Args),
    /// Compare two sources, the store or files, row by row; nothing is written
    Compare(compare::Args),
    /// Compare two tables wherever they are, and keep the report
    Reconcile(Box<reconcile::Args>),
    /// Mend the rows that a report names, or take a repair back
    Repair(repair::Args),
    /// How each day of a table stands
    Days(days::Args),
    /// Ask realtime tables again and again in trading hours
    Poll(poll::Args),
    /// The catalogue: every table, or one in full
    Datasets(datasets::Args),
    /// Say what happened: events to a service, or straight into the store
    Publish(publish::Args),
    /// Ways in which publishers' events come without a call: outboxes, replication, Redis Streams
    Intake(intake::Args),
    /// Serve the store in a source's own dialect
    Serve(serve::Args),
    /// Who is told of which events: make, change, pause, rotate secrets, test
    Subscriptions(subscriptions::Args),
    /// Webhooks that other systems call: define, test, see what waits
    Inbound(inbound::Args),
    /// What the service has logged
    Logs(logs::Args),
    /// Keys of the API: make, list, remove
    Keys(keys::Args),
    /// Events on their way to receivers: list, retry, skip, park, replay
    Deliveries(deliveries::Args),
    /// Who changed what through the API, and who was refused
    Changes(changes::Args),
    /// Show or check the configuration
    Config(configuration::Args),
    /// Print a completion script for a shell
    Completions(configuration::CompletionArgs),
}

/// Runs a command. The number is the exit code of a run that worked but has something to report.
pub async fn run(context: Context, command: Command) -> Result<u8> {
    match command {
        Command::Init(args) => init::run(&context, args).await,
        Command::Demo(args) => demo::run(&context, args).await,
        Command::Plan(args) => plan::run(&context, args).await,
        Command::Sync(args) => sync::run(&context, args).await,
        Command::Work(args) => work::run(&context, args).await,
        Command::Jobs(args) => jobs::run(&context, args).await,
        Command::Runs(args) => runs::run(&context, args).await,
        Command::Tasks(args) => tasks::list(&context, args).await,
        Command::Pause(args) => tasks::pause(&context, args).await,
        Command::Resume(args) => tasks::resume(&context, args).await,
        Command::Cancel(args) => tasks::cancel(&context, args).await,
        Command::Failures(args) => failures::run(&context, args).await,
        Command::Status(args) => status::run(&context, args).await,
        Command::Audit(args) => audit::run(&context, args).await,
        Command::Show(args) => show::run(&context, args).await,
        Command::Migrate(args) => migrate::run(&context, args).await,
        Command::Import(args) => import::run(&context, args).await,
        Command::Export(args) => show::export(&context, args).await,
        Command::Quarantine(args) => quarantine::run(&context, args).await,
        Command::Conflicts(args) => conflicts::run(&context, args).await,
        Command::Sources(args) => sources::run(&context, args).await,
        Command::Compare(args) => compare::run(&context, args).await,
        Command::Reconcile(args) => reconcile::run(&context, *args).await,
        Command::Repair(args) => repair::run(&context, args).await,
        Command::Days(args) => days::run(&context, args).await,
        Command::Poll(args) => poll::run(&context, args).await,
        Command::Datasets(args) => datasets::run(&context, args).await,
        Command::Publish(args) => publish::run(&context, args).await,
        Command::Intake(args) => intake::run(&context, args).await,
        Command::Serve(args) => serve::run(&context, args).await,
        Command::Subscriptions(args) => subscriptions::run(&context, args).await,
        Command::Inbound(args) => inbound::run(&context, args).await,
        Command::Logs(args) => logs::run(&context, args).await,
        Command::Keys(args) => keys::run(&context, args).await,
        Command::Deliveries(args) => deliveries::run(&context, args).await,
        Command::Changes(args) => changes::run(&context, args).await,
        Command::Config(args) => configuration::run(&context, args),
        Command::Completions(args) => configuration::completions(args),
    }
}

/// An error for people: what happened, why, and what to do next.
pub fn describe_error(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(&format!("\n  because: {inner_text}"));
        }
        cause = inner.source();
    }
    if let Some(hint) = error.hint_text() {
        text.push_str(&format!("\n  try: {hint}"));
    }
    text
}

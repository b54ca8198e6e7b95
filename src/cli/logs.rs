//! `tidegate logs`: what the service has logged, from the store.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::{Context, print};
use super::progress::stop_on_signal;
use crate::model::{Journal, JournalEntry, JournalWanted, Level, Result};
use crate::store::Store;

/// How often a followed journal is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Least {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate logs                          the newest records of engine, scheduler and service
  tidegate logs --level warn --limit 50
  tidegate logs --task 7
  tidegate logs --follow --json          a line of JSON each, until Ctrl-C

Records of the last log.store_days days are kept in the store; everything is in the daily files under log.folder.")]
pub struct Args {
    /// The least important ones
    #[arg(long, default_value = "trace")]
    level: Least,
    /// Only those of a task
    #[arg(long, value_name = "ID")]
    task: Option<i64>,
    /// Only those that hold a text, whatever the case
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    /// How many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Go on with those that come
    #[arg(long, short)]
    follow: bool,
}

impl Args {
    fn wanted(&self) -> JournalWanted {
        let level = match self.level {
            Least::Trace => Level::Trace,
            Least::Debug => Level::Debug,
            Least::Info => Level::Info,
            Least::Warn => Level::Warn,
            Least::Error => Level::Error,
        };
        let (task, text) = (self.task, self.find.clone());
        JournalWanted { journal: Journal::Log, level, task, text, before: None, limit: self.limit.max(1) }
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let mut records = store.journal(&args.wanted()).await?;
    records.reverse();
    if !args.follow {
        match context.json {
            true => context.print_json(&records.iter().map(as_json).collect())?,
            false => print(&records.iter().map(as_line).collect::<String>())?,
        }
        return Ok(0);
    }
    let stop = stop_on_signal();
    let mut last = 0;
    loop {
        let line = |record: &JournalEntry| match context.json {
            true => format!("{}\n", as_json(record)),
            false => as_line(record),
        };
        print(&records.iter().map(line).collect::<String>())?;
        last = records.last().map_or(last, |record| record.id);
        tokio::select! {
            () = stop.wait() => return Ok(0),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        records = after(&*store, &args.wanted(), last).await?;
    }
}

/// Records after one, oldest first.
async fn after(store: &dyn Store, wanted: &JournalWanted, last: i64) -> Result<Vec<JournalEntry>> {
    let mut found: Vec<JournalEntry> = Vec::new();
    loop {
        let before = found.last().map(|record| record.id);
        let page = store.journal(&JournalWanted { before, ..wanted.clone() }).await?;
        let whole = page.len() < wanted.limit || page.iter().any(|record| record.id <= last);
        found.extend(page.into_iter().filter(|record| record.id > last));
        if whole {
            found.reverse();
            return Ok(found);
        }
    }
}

fn as_json(record: &JournalEntry) -> Value {
    json!({
        "id": record.id, "at": record.at.to_string(), "level": record.level.name(), "target": record.target,
        "text": record.text, "task": record.task, "data": record.data,
    })
}

/// `2024-01-31T18:00:00+08:00 info  engine::run  task ended  task=7 rows=120`
fn as_line(record: &JournalEntry) -> String {
    let mut line = format!("{} {:5} {}: {}", record.at, record.level.name(), record.target, record.text);
    if let Some(task) = record.task {
        line.push_str(&format!(" task={task}"));
    }
    for (name, value) in record.data.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => line.push_str(&format!(" {name}={text:?}")),
            value => line.push_str(&format!(" {name}={value}")),
        }
    }
    line.push('\n');
    line
}

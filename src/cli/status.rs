//! `tidegate status`: what the store holds and how fresh it is.

use serde_json::json;

use super::context::{Context, print};
use super::list::{List, grouped, size};
use crate::model::{Day, Instant, Result};
use crate::store::{DatasetSummary, Summary};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tables without rows too
    #[arg(long)]
    all: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let summary = context.store().await?.summary().await?;
    if context.json {
        context.print_json(&as_json(&summary))?;
        return Ok(0);
    }
    print(&format!("{}  {}\n\n", summary.location, size(summary.bytes)))?;
    let mut list = List::new(["table", ">rows", "first", "last", "fetched", ">quarantined", ">failures"]);
    let shown = |dataset: &&DatasetSummary| args.all || dataset.rows > 0 || dataset.claims > 0 || dataset.failures > 0;
    for dataset in summary.datasets.iter().filter(shown) {
        list.push([
            dataset.name.clone(),
            grouped(dataset.rows),
            text(dataset.first_day),
            text(dataset.last_day),
            text(dataset.last_commit_at),
            grouped(dataset.quarantined),
            grouped(dataset.failures),
        ]);
    }
    if list.is_empty() {
        eprintln!("the store is empty: `tidegate sync stock_basic trade_cal` is a beginning");
        return Ok(0);
    }
    print(&list.render())?;
    Ok(0)
}

fn text(value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn as_json(summary: &Summary) -> serde_json::Value {
    let day = |day: Option<Day>| day.map(|day| day.to_string());
    let dataset = |dataset: &DatasetSummary| {
        json!({
            "dataset": dataset.name, "rows": dataset.rows, "first_day": day(dataset.first_day),
            "last_day": day(dataset.last_day), "claims": dataset.claims, "quarantined": dataset.quarantined,
            "failures": dataset.failures,
            "last_commit_at": dataset.last_commit_at.map(|at: Instant| at.to_string()),
        })
    };
    json!({
        "location": summary.location, "bytes": summary.bytes, "last_event": summary.last_event,
        "datasets": summary.datasets.iter().map(dataset).collect::<Vec<_>>(),
    })
}

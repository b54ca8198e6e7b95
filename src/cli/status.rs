//! `tidegate status`: what the store holds and how fresh it is.

use serde_json::json;

use super::context::{Context, print};
use super::list::{List, grouped, size};
use crate::model::{Day, Evidence, Instant, Result};
use crate::plan::LastSync;
use crate::store::{DatasetSummary, Summary};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate status
  tidegate status fina_indicator --limit 50")]
pub struct Args {
    /// When each security of this table was asked for last, longest ago first
    dataset: Option<String>,
    /// Securities to list
    #[arg(long, default_value_t = 20, requires = "dataset")]
    limit: usize,
    /// Tables without rows too
    #[arg(long)]
    all: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    if let Some(dataset) = &args.dataset {
        return last_syncs(context, dataset, args.limit).await;
    }
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

/// The last sync of each security, as the claims say.
async fn last_syncs(context: &Context, dataset: &str, limit: usize) -> Result<u8> {
    let engine = context.engine(context.store().await?).await?;
    let mut last = engine.last_syncs(dataset).await?;
    last.sort_by(|one, other| one.at.cmp(&other.at).then(one.code.cmp(&other.code)));
    if context.json {
        let one = |last: &LastSync| {
            json!({
                "code": &*last.code, "at": last.at.map(|at| at.to_string()), "source": last.source,
                "until": last.until.map(|day| day.to_string()), "evidence": last.evidence.map(Evidence::name),
            })
        };
        context.print_json(&last.iter().map(one).collect())?;
        return Ok(0);
    }
    let mut list = List::new(["security", "last sync", "source", "up to", "answer"]);
    for last in last.iter().take(limit) {
        let at = last.at.map_or("never".to_string(), |at| at.to_string());
        let evidence = last.evidence.map_or("", Evidence::name).to_string();
        list.push([last.code.to_string(), at, last.source.clone().unwrap_or_default(), text(last.until), evidence]);
    }
    print(&list.render())?;
    if last.len() > limit {
        eprintln!("{} more securities; --limit shows them, --json lists all", grouped((last.len() - limit) as u64));
    }
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

//! `tidegate sources`: which doors there are, whether they open, and what is left of their quotas.

use serde_json::json;

use super::context::{Context, print};
use super::list::{List, grouped};
use crate::model::{Dataset, Result};
use crate::source::Source;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask the sources anything
    #[arg(long)]
    offline: bool,
}

/// One source as people see it.
struct Shown {
    name: String,
    rank: u8,
    available: Option<bool>,
    detail: String,
    datasets: usize,
    calls_today: u64,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await.ok();
    let mut shown = Vec::new();
    for source in context.sources()? {
        shown.push(look_at(context, &*source, store.as_deref(), args.offline).await?);
    }
    if context.json {
        let as_json = |source: &Shown| {
            json!({
                "name": source.name, "rank": source.rank, "available": source.available, "detail": source.detail,
                "datasets": source.datasets, "calls_today": source.calls_today,
            })
        };
        context.print_json(&shown.iter().map(as_json).collect())?;
    } else {
        let mut list = List::new(["source", ">rank", "available", ">tables", ">calls today", "detail"]);
        for source in &shown {
            let available = match source.available {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not asked",
            };
            list.push([
                source.name.clone(),
                source.rank.to_string(),
                available.to_string(),
                source.datasets.to_string(),
                grouped(source.calls_today),
                source.detail.clone(),
            ]);
        }
        print(&list.render())?;
    }
    Ok(u8::from(shown.iter().any(|source| source.available == Some(false))))
}

async fn look_at(context: &Context, source: &dyn Source, store: Option<&dyn Store>, offline: bool) -> Result<Shown> {
    let served = |dataset: &&std::sync::Arc<Dataset>| source.offer(dataset).is_some();
    let calls = match store {
        Some(store) => store.quota_used(source.name(), context.clock.now().day()).await?,
        None => Vec::new(),
    };
    let options = &context.options().sources.tushare;
    let about = match source.tables() {
        Some(_) => "a database".to_owned(),
        None => format!("{}, {} points", options.url, options.points),
    };
    let (available, detail) = match offline {
        true => (None, about),
        false => match source.probe().await {
            Ok(()) => (Some(true), about),
            Err(error) => (Some(false), super::describe_error(&error)),
        },
    };
    Ok(Shown {
        name: source.name().to_string(),
        rank: source.rank(),
        available,
        detail,
        datasets: context.catalog.datasets().iter().filter(served).count(),
        calls_today: calls.iter().map(|(_, calls)| calls).sum(),
    })
}

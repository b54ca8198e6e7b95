//! `tidegate sources`: which doors there are, whether they open, who comes first, and how they have behaved.

use std::time::Instant as Moment;

use serde_json::{Value, json};

use super::context::{Context, print};
use super::list::{List, grouped};
use crate::config::{Config, LoadOptions, Origin, edit};
use crate::engine::standing::{Standing, standing};
use crate::model::{Dataset, Error, Health, Result};
use crate::source::Source;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate sources
  tidegate sources --offline --json
  tidegate sources --rank baostock=1 --rank tushare=3    written to the configuration file
  BAOSTOCK_PRIORITY=1 TUSHARE_PRIORITY=3 tidegate sync daily    for one run

Exit code 1: a source that is enabled does not answer.")]
pub struct Args {
    /// Do not ask the sources anything
    #[arg(long)]
    offline: bool,
    /// Give a source another priority, 1 is best; kept in the configuration file
    #[arg(long, value_name = "SOURCE=RANK")]
    rank: Vec<String>,
}

/// One source as people see it.
struct Shown {
    name: String,
    rank: u8,
    /// `None`: not asked.
    available: Option<bool>,
    /// What it answered to the probe, when it is of no use.
    why_not: Option<String>,
    address: Option<String>,
    token: String,
    datasets: usize,
    calls_today: u64,
    quota: Option<Quota>,
    probe_ms: Option<u64>,
    /// Of the last day.
    health: Health,
    demoted: Option<String>,
}

/// The API of which the fewest calls are left today.
struct Quota {
    api: String,
    left: u64,
    per_day: u64,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    if !args.rank.is_empty() {
        return rank(context, &args.rank);
    }
    let store = context.store().await.ok();
    let health = match &store {
        Some(store) => store.health().await?,
        None => Vec::new(),
    };
    let today = context.clock.now().day();
    let mut sources = context.sources()?;
    sources.sort_by_key(|source| source.rank());
    let mut shown = Vec::new();
    for source in sources {
        let used = match &store {
            Some(store) => store.quota_used(source.name(), today).await?,
            None => Vec::new(),
        };
        let one = look_at(context, &*source, &used, &health);
        shown.push(if args.offline { one } else { probed(one, &*source).await });
    }
    if context.json {
        context.print_json(&shown.iter().map(as_json).collect())?;
    } else {
        print(&as_text(&shown))?;
    }
    Ok(u8::from(shown.iter().any(|source| source.available == Some(false))))
}

fn look_at(context: &Context, source: &dyn Source, used: &[(String, u64)], health: &[Health]) -> Shown {
    let name = source.name();
    let now = context.clock.now();
    let own: Vec<Health> = health.iter().filter(|hour| hour.source == name).cloned().collect();
    let yesterday = now.plus_seconds(-86_400);
    let mut day = Health::default();
    own.iter().filter(|hour| hour.hour > yesterday).for_each(|hour| day.add(hour));
    let demoted = match standing(&own, now, &context.engine_options().standing) {
        Standing::Good => None,
        Standing::Demoted(why) => Some(why),
    };
    let served = |dataset: &&std::sync::Arc<Dataset>| source.offer(dataset).is_some();
    Shown {
        name: name.to_string(),
        rank: source.rank(),
        available: None,
        why_not: None,
        address: ["url", "address"].iter().find_map(|key| option(&context.config, name, key)).map(|(value, _)| value),
        token: token(&context.config, name),
        datasets: context.catalog.datasets().iter().filter(served).count(),
        calls_today: used.iter().map(|(_, calls)| calls).sum(),
        quota: quota(context, source, used),
        probe_ms: None,
        health: day,
        demoted,
    }
}

fn quota(context: &Context, source: &dyn Source, used: &[(String, u64)]) -> Option<Quota> {
    let of = |dataset: &std::sync::Arc<Dataset>| {
        let offer = source.offer(dataset)?;
        let per_day = offer.per_day?;
        let used = used.iter().find(|(api, _)| *api == offer.api).map_or(0, |(_, calls)| *calls);
        Some(Quota { api: offer.api, left: per_day.saturating_sub(used), per_day })
    };
    context.catalog.datasets().iter().filter_map(of).min_by_key(|quota| quota.left)
}

async fn probed(shown: Shown, source: &dyn Source) -> Shown {
    let asked = Moment::now();
    match source.probe().await {
        Ok(()) => {
            let probe_ms = u64::try_from(asked.elapsed().as_millis()).ok();
            Shown { available: Some(true), probe_ms, ..shown }
        }
        Err(error) => Shown { available: Some(false), why_not: Some(super::describe_error(&error)), ..shown },
    }
}

/// An option of a source as text, with where it comes from.
fn option(config: &Config, source: &str, key: &str) -> Option<(String, Origin)> {
    let path = format!("sources.{source}.{key}");
    let found = config.explain().iter().find(|option| option.path == path)?;
    Some((found.value.trim_matches('"').to_string(), found.origin.clone()))
}

/// Where the token comes from; never the token itself.
fn token(config: &Config, source: &str) -> String {
    let set = |value: &str| !matches!(value, "" | "(not set)");
    match (option(config, source, "token"), option(config, source, "token_file")) {
        (Some((value, origin)), _) if set(&value) => origin.to_string(),
        (Some(_), Some((file, origin))) if set(&file) => format!("the file {file}, named by {origin}"),
        (Some(_), _) => "not set".to_string(),
        (None, _) => "needs none".to_string(),
    }
}

fn as_json(source: &Shown) -> Value {
    let health = &source.health;
    json!({
        "name": source.name, "rank": source.rank, "priority": source.rank, "available": source.available,
        "why_not": source.why_not, "address": source.address, "token": source.token, "datasets": source.datasets,
        "calls_today": source.calls_today,
        "quota": source.quota.as_ref().map(|quota| json!({
            "api": quota.api, "left": quota.left, "per_day": quota.per_day,
        })),
        "probe_ms": source.probe_ms,
        "health": {
            "hours": 24, "calls": health.calls, "failed": health.failed, "wrong": health.wrong,
            "latency_ms": health.latency_ms(), "last_error": health.last_error,
            "last_error_at": health.last_error_at.map(|at| at.to_string()),
        },
        "demoted": source.demoted,
    })
}

fn as_text(shown: &[Shown]) -> String {
    let mut list = List::new([
        "source",
        ">rank",
        "available",
        ">tables",
        ">calls today",
        ">left today",
        ">latency",
        ">failed in 24 h",
        "token",
    ]);
    for source in shown {
        let available = match source.available {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not asked",
        };
        let latency = source.health.latency_ms().or(source.probe_ms).map(|ms| format!("{ms} ms"));
        let failed = format!("{} of {}", grouped(source.health.failed), grouped(source.health.calls));
        list.push([
            source.name.clone(),
            source.rank.to_string(),
            available.to_string(),
            source.datasets.to_string(),
            grouped(source.calls_today),
            source.quota.as_ref().map_or("-".to_string(), |quota| format!("{} ({})", grouped(quota.left), quota.api)),
            latency.unwrap_or_else(|| "-".to_string()),
            failed,
            source.token.clone(),
        ]);
    }
    let mut text = list.render();
    for source in shown {
        let name = &source.name;
        if let Some(why) = &source.why_not {
            text.push_str(&format!("\n{name} is of no use now: {why}\n"));
        }
        if let Some(why) = &source.demoted {
            text.push_str(&format!("\n{name} is asked after the others: {why}\n"));
        }
        if let (Some(error), Some(at)) = (&source.health.last_error, source.health.last_error_at) {
            text.push_str(&format!("\n{name} failed last at {at}: {error}\n"));
        }
    }
    text
}

/// Writes new ranks to the configuration file, which must still be valid with them.
fn rank(context: &Context, wanted: &[String]) -> Result<u8> {
    let path = context.config.file.clone().unwrap_or_else(|| "tidegate.toml".into());
    let mut text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Error::storage(format!("{} cannot be read", path.display())).caused_by(error));
        }
    };
    for one in wanted {
        let parsed = one.split_once('=').and_then(|(name, rank)| Some((name.trim(), rank.trim().parse::<u8>().ok()?)));
        let Some((name, rank)) = parsed.filter(|(_, rank)| *rank > 0) else {
            return Err(Error::invalid(format!("{one:?} is not SOURCE=RANK")).hint("write --rank baostock=1"));
        };
        if option(&context.config, name, "rank").is_none() {
            let error = Error::not_found(format!("there is no source {name:?}"));
            return Err(error.hint("`tidegate config show` lists the sources with their options"));
        }
        text = edit::with_option(&text, &format!("sources.{name}"), "rank", &rank.to_string());
    }
    let folder = path.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let draft = folder.join(".tidegate.toml.new");
    let storage = |error| Error::storage(format!("{} cannot be written", path.display())).caused_by(error);
    std::fs::write(&draft, &text).map_err(storage)?;
    let checked = Config::load(&LoadOptions { file: Some(draft.clone()), ..LoadOptions::default() });
    let checked = checked.and_then(|config| {
        Context { config, catalog: context.catalog.clone(), clock: context.clock.clone(), json: false, quiet: true }
            .sources()
            .map(drop)
    });
    if let Err(error) = checked {
        let _ = std::fs::remove_file(&draft);
        return Err(error.while_doing(format_args!("{} stays as it is", path.display())));
    }
    std::fs::rename(&draft, &path).map_err(storage)?;
    eprintln!("written to {}", path.display());
    Ok(0)
}

//! `tidegate sources`: which doors there are, whether they open, who comes first, and how they have behaved.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::{Context, print};
use super::doors;
use super::list::{List, grouped};
use crate::config::{Config, LoadOptions, edit};
use crate::engine::doors::{Probed, Recorded, Seen, probe, with_secrets};
use crate::engine::standing::Standing;
use crate::model::{Error, Result, definition::Kind};

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
    seen: Seen,
    /// `None`: not asked.
    probed: Option<Probed>,
}

impl Shown {
    fn available(&self) -> Option<bool> {
        self.probed.as_ref().map(|probed| probed.error.is_none())
    }

    /// What it answered to the probe, when it is of no use.
    fn why_not(&self) -> Option<String> {
        self.probed.as_ref()?.error.as_ref().map(super::describe_error)
    }

    fn probe_ms(&self) -> Option<u64> {
        self.probed.as_ref().filter(|probed| probed.error.is_none())?.latency_ms
    }

    fn demoted(&self) -> Option<&str> {
        match &self.seen.standing {
            Standing::Good => None,
            Standing::Demoted(why) => Some(why),
        }
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    if !args.rank.is_empty() {
        return rank(context, &args.rank);
    }
    let store = context.store().await.ok();
    let mut configured = doors::configured(context);
    let mut recorded = Recorded::default();
    if let Some(store) = &store {
        recorded.health = store.health().await?;
        configured = with_secrets(configured, &store.definitions(Kind::Secret).await?);
    }
    let now = context.clock.now();
    let mut sources = context.sources()?;
    sources.sort_by_key(|source| source.rank());
    let policy = context.engine_options().standing;
    let limit = Duration::from_secs(u64::from(context.options().failover.probe_seconds));
    let mut shown = Vec::new();
    for source in sources {
        let Some(own) = configured.iter().find(|own| own.name == source.name()) else { continue };
        if let Some(store) = &store {
            recorded.used = store.quota_used(source.name(), now.day()).await?;
        }
        let seen = Seen::look(own.clone(), Some(&*source), &context.catalog, &recorded, now, &policy);
        let probed = if args.offline { None } else { Some(probe(&*source, limit).await) };
        shown.push(Shown { seen, probed });
    }
    if context.json {
        context.print_json(&shown.iter().map(as_json).collect())?;
    } else {
        print(&as_text(&shown))?;
    }
    Ok(u8::from(shown.iter().any(|source| source.available() == Some(false))))
}

fn as_json(source: &Shown) -> Value {
    let (seen, configured, health) = (&source.seen, &source.seen.configured, &source.seen.day);
    json!({
        "name": configured.name, "rank": configured.rank, "priority": configured.rank,
        "available": source.available(), "why_not": source.why_not(), "address": configured.address,
        "token": configured.token.text(), "datasets": seen.datasets, "calls_today": seen.calls_today,
        "quota": seen.quotas.first().map(|quota| json!({
            "api": quota.api, "left": quota.left(), "per_day": quota.per_day,
        })),
        "probe_ms": source.probe_ms(),
        "health": {
            "hours": 24, "calls": health.calls, "failed": health.failed, "wrong": health.wrong,
            "latency_ms": health.latency_ms(), "last_error": health.last_error,
            "last_error_at": health.last_error_at.map(|at| at.to_string()),
        },
        "demoted": source.demoted(),
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
        let (seen, health) = (&source.seen, &source.seen.day);
        let available = match source.available() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not asked",
        };
        let latency = health.latency_ms().or(source.probe_ms()).map(|ms| format!("{ms} ms"));
        let failed = format!("{} of {}", grouped(health.failed), grouped(health.calls));
        let left = seen.quotas.first().map(|quota| format!("{} ({})", grouped(quota.left()), quota.api));
        list.push([
            seen.configured.name.clone(),
            seen.configured.rank.to_string(),
            available.to_string(),
            seen.datasets.to_string(),
            grouped(seen.calls_today),
            left.unwrap_or_else(|| "-".to_string()),
            latency.unwrap_or_else(|| "-".to_string()),
            failed,
            seen.configured.token.text().to_string(),
        ]);
    }
    let mut text = list.render();
    for source in shown {
        let (name, health) = (&source.seen.configured.name, &source.seen.day);
        if let Some(why) = source.why_not() {
            text.push_str(&format!("\n{name} is of no use now: {why}\n"));
        }
        if let Some(why) = source.demoted() {
            text.push_str(&format!("\n{name} is asked after the others: {why}\n"));
        }
        if let (Some(error), Some(at)) = (&health.last_error, health.last_error_at) {
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
        if doors::option(&context.config, name, "rank").is_none() {
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
        Context {
            config,
            catalog: context.catalog.clone(),
            clock: context.clock.clone(),
            log: context.log.clone(),
            json: false,
            quiet: true,
        }
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

//! `tidegate migrate`: copies a store with its ledger into another, and proves that both are equal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use serde_json::json;

use super::context::{Context, print};
use super::list::{List, grouped};
use crate::engine::migrate::{Copied, migrate};
use crate::model::{Error, Result};
use crate::store::Store;

/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate migrate --from sqlite://tidegate.db --to postgres://tide@db.example/market
  tidegate migrate --from postgres://tide@db.example/market --to sqlite:///data/market.db

Everything is copied: rows, revisions, commits, claims, tasks, failures, events, quarantine, conflicts, quotas. Both stores
are then read and compared table by table. The target must be empty; if a copy breaks off, run the same command again: it
begins anew, and nobody can open the half of a store in the meantime. The source is only read.")]
pub struct Args {
    /// The store to copy: sqlite://PATH or postgres://...
    #[arg(long, value_name = "URL")]
    from: String,
    /// The store to create
    #[arg(long, value_name = "URL")]
    to: String,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    if args.from == args.to {
        return Err(Error::invalid("both stores are the same").hint("name another target"));
    }
    let from = open(context, &args.from, false).await?;
    let to = open(context, &args.to, true).await?;
    let _running = (from.run_exclusively().await?, to.run_exclusively().await?);
    let quiet = context.quiet;
    let mut last = Moment::now();
    let mut told = |table: &str, rows: u64| {
        if !quiet && last.elapsed() >= TELL_EVERY {
            eprintln!("{table:24} {} rows", grouped(rows));
            last = Moment::now();
        }
    };
    let rows = context.options().sync.commit_rows;
    let copied = migrate(&*from, &*to, &without_password(&args.from), &context.clock, rows, &mut told).await?;
    report(context, &args, &copied)
}

async fn open(context: &Context, url: &str, target: bool) -> Result<Arc<dyn Store>> {
    let store: Arc<dyn Store> = match url.split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() => Arc::new(context.open_sqlite(&home(path), target, target)?),
        Some(("postgres" | "postgresql", _)) => Arc::new(context.open_postgres(url, target, target).await?),
        _ => {
            let error = Error::invalid(format!("{:?} is no address of a store", without_password(url)));
            return Err(error.hint("write sqlite://PATH or postgres://USER@HOST/DATABASE"));
        }
    };
    store.prepare(context.catalog.datasets()).await?;
    Ok(store)
}

/// `~/` as in the configuration.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// The address as it may be shown and kept.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_string() };
    let user = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{host}/{path}")
}

fn report(context: &Context, args: &Args, copied: &[Copied]) -> Result<u8> {
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    if context.json {
        let tables = copied.iter().map(
            |table| json!({ "table": table.table, "rows": table.rows, "checksum": table.checksum, "equal": true }),
        );
        let tables = tables.collect::<Vec<_>>();
        let (from, to) = (without_password(&args.from), without_password(&args.to));
        context.print_json(&json!({ "from": from, "to": to, "rows": rows, "equal": true, "tables": tables }))?;
        return Ok(0);
    }
    let mut list = List::new(["table", ">rows", "checksum", "both stores"]);
    for table in copied.iter().filter(|table| table.rows > 0) {
        list.push([table.table.clone(), grouped(table.rows), table.checksum.clone(), "equal".to_string()]);
    }
    let empty = copied.iter().filter(|table| table.rows == 0).count();
    let mut text = list.render();
    text.push_str(&format!("{} rows in {} tables are equal", grouped(rows), copied.len() - empty));
    text.push_str(&format!("; {empty} tables are empty in both\n"));
    print(&text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://tide:secret@db/market", "postgres://tide@db/market"),
            ("postgres://tide:se@cret@db:5432/market?x=1", "postgres://tide@db:5432/market?x=1"),
            ("postgres://db/market", "postgres://db/market"),
            ("sqlite:///data/a.db", "sqlite:///data/a.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}

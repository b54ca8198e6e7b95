//! `tidegate demo`: a simulated market behind a real wire protocol, synced, audited and ready to explore.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::{Context, print};
use super::list::grouped;
use super::{audit, plan, sync};
use crate::engine::{Engine, audits};
use crate::mirror::tushare::{Account, MirrorOptions};
use crate::model::{Day, ErrorKind, Result, task::Request};
use crate::sim::{FaultScript, Market, MarketOptions, Server, ServerOptions};
use crate::source::tushare::{TushareOptions, TushareSource};

/// What the demo keeps. Calendar, list and code changes come first by themselves.
const DATASETS: [&str; 4] = ["daily", "daily_basic", "adj_factor", "moneyflow"];
/// The points of the simulated account: 500 calls a minute for each table.
const POINTS: u32 = 5000;
const TOKEN: &str = "demo";

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate demo
  tidegate demo --years 3 --folder /tmp/market")]
pub struct Args {
    /// Years of history instead of half a year
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=10))]
    years: Option<u8>,
    /// Where the store goes; running the demo again goes on with it
    #[arg(long, default_value = "tidegate-demo")]
    folder: PathBuf,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let today = context.clock.now().day();
    let from = today.plus(-args.years.map_or(183, |years| i32::from(years) * 366));
    let server = start_market(context, from, today).await?;
    let demo = demo_context(context, &args)?;
    let store = demo.open_store(true).await?;
    let engine = engine(&demo, store.clone(), &server)?;
    let path = demo.options().store.path.display().to_string();
    eprintln!(
        "a simulated market of {} securities answers Tushare's dialect on {}\nthe store is {path}\n",
        grouped(demo.options().sim.securities as u64),
        server.url(),
    );
    let _running = store.run_exclusively().await?;
    // The calendar and the list come first, so that the plan is exact.
    let first = engine.prerequisites(None).await?;
    if !first.is_empty() {
        sync::sync(&demo, &engine, first).await?;
    }
    show_plan(&demo, &engine, &requests(from)).await?;
    let code = sync::sync(&demo, &engine, requests(from)).await?;
    if code == ErrorKind::Interrupted.exit_code() {
        eprintln!("\nstopped; `tidegate demo` goes on where it was");
        return Ok(code);
    }
    let audits = audit::audits(&demo, &*store, &[], None).await?;
    if demo.json {
        demo.print_json(&audits::as_json(&audits))?;
    } else {
        print(&format!("\n{}", audit::as_text(&audits, 20)))?;
        print(&next_steps(&path))?;
    }
    server.stop().await;
    Ok(code.max(u8::from(audits::unexplained(&audits) > 0)))
}

/// Half a year (or more) of what most people keep.
fn requests(from: Day) -> Vec<(String, Request)> {
    let everything = Request { from: Some(from.to_string()), ..Request::everything() };
    DATASETS.iter().map(|dataset| (dataset.to_string(), everything.clone())).collect()
}

async fn start_market(context: &Context, from: Day, today: Day) -> Result<Server> {
    let options = &context.options().sim;
    let market = Market::new(MarketOptions {
        seed: options.seed,
        securities: options.securities,
        clock: context.clock.clone(),
        ..MarketOptions::new(context.catalog.clone(), from, today)
    });
    let account = Account { token: TOKEN.to_string(), points: POINTS };
    let mirror = MirrorOptions {
        accounts: vec![account],
        enforce_points: true,
        enforce_quota: true,
        ..MirrorOptions::default()
    };
    Server::start(&market, FaultScript::none(), ServerOptions { mirror, ..ServerOptions::default() }).await
}

/// The same configuration, but with a store of its own.
fn demo_context(context: &Context, args: &Args) -> Result<Context> {
    let mut config = context.config.clone();
    config.options.store.stay_in_file();
    config.options.store.path = args.folder.join("tidegate.db");
    Ok(Context {
        config,
        catalog: context.catalog.clone(),
        clock: context.clock.clone(),
        log: context.log.clone(),
        ..*context
    })
}

fn engine(context: &Context, store: Arc<dyn crate::store::Store>, server: &Server) -> Result<Engine> {
    let options =
        TushareOptions { url: server.url(), token: TOKEN.to_string(), points: POINTS, ..TushareOptions::default() };
    let source = Arc::new(TushareSource::new(options, context.clock.clone())?);
    let options = context.engine_options();
    Ok(Engine::new(store, context.catalog.clone(), vec![source], options, context.clock.clone()))
}

async fn show_plan(context: &Context, engine: &Engine, requests: &[(String, Request)]) -> Result<()> {
    let mut plans = Vec::new();
    for (dataset, request) in requests {
        plans.push((dataset.clone(), engine.plan(dataset, request, &[]).await?));
    }
    let text = format!("\nthe plan\n{}\n", plan::as_text(&plans, false));
    if context.json { Ok(()) } else { print(&text) }
}

fn next_steps(path: &str) -> String {
    let set = format!("--set store.path={path}");
    format!(
        "\nwhat to try next\n\
         \x20 tidegate show daily --codes 600000.SH --limit 5 {set}\n\
         \x20 tidegate status {set}\n\
         \x20 sqlite3 {path} 'select * from daily_with_source limit 5'\n\
         \x20 tidegate serve --mirror {set}      # then point the official Tushare client at it\n\
         \x20 tidegate demo                       # again: nothing to do, no call is made\n"
    )
}

//! `tidegate demo`: a simulated market behind real wire protocols, synced, audited, and open in a dashboard while its
//! quotes go on.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::{Context, print};
use super::list::grouped;
use super::progress::stop_on_signal;
use super::serve::Servers;
use super::{audit, plan, sync};
use crate::config::{Config, Secret};
use crate::engine::audits::{as_json, unexplained};
use crate::engine::{Engine, Stop};
use crate::mirror::tushare::{Account, MirrorOptions};
use crate::model::{Clock, Day, ErrorKind, Instant, Result, task::Request};
use crate::plan::is_trading;
use crate::sim::{AkshareForm, AkshareServer, FaultScript, Market, MarketOptions, Server, ServerOptions};
use crate::store::Store;

/// What the demo keeps. Calendar, list and code changes come first by themselves.
const DATASETS: [&str; 4] = ["daily", "daily_basic", "adj_factor", "moneyflow"];
/// The points of the simulated account: 500 calls a minute for each table.
const POINTS: u32 = 5000;
const TOKEN: &str = "demo";
/// When the market is closed, the demo's clock begins at 14:00 of the last trading day.
const BEGINS: i32 = 14 * 60;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate demo                         ends in a dashboard; Ctrl-C closes it
  tidegate demo --once                  without a dashboard
  tidegate demo --years 3 --folder /tmp/market

Outside of trading hours the demo's clock begins at 14:00 of the last trading day, so that quotes move while you watch.")]
pub struct Args {
    /// Years of history instead of half a year
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=10))]
    years: Option<u8>,
    /// Where the store goes; running the demo again goes on with it
    #[arg(long, default_value = "tidegate-demo")]
    folder: PathBuf,
    /// End after the audit, without a dashboard
    #[arg(long)]
    once: bool,
    /// Address and port of the dashboard; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", conflicts_with = "once")]
    listen: String,
}

/// The simulated market and the servers around it.
struct Simulation {
    context: Context,
    from: Day,
    tushare: Server,
    /// Quotes of the moment.
    _aktools: AkshareServer,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let demo = start(context, &args).await?;
    let store = demo.context.open_store(true).await?;
    let path = demo.context.options().store.path.display().to_string();
    eprintln!(
        "a simulated market of {} securities answers Tushare's dialect on {}\nthe store is {path}",
        grouped(demo.context.options().sim.securities as u64),
        demo.tushare.url(),
    );
    let stop = stop_on_signal();
    let mut servers = Servers::new(&demo.context, store.clone(), &stop).await?;
    let url = match args.once {
        true => None,
        false => Some(servers.answer(&args.listen).await?),
    };
    let code = fill(&demo, store.clone(), &stop).await?;
    if code == ErrorKind::Interrupted.exit_code() {
        eprintln!("\nstopped; `tidegate demo` goes on where it was");
        return Ok(code);
    }
    let audits = audit::audits(&demo.context, &*store, &[], None).await?;
    let code = code.max(u8::from(unexplained(&audits) > 0));
    if demo.context.json {
        demo.context.print_json(&serde_json::json!({ "url": url, "audit": as_json(&audits) }))?;
    } else {
        print(&format!("\n{}", audit::as_text(&audits, 20)))?;
        print(&next_steps(&path))?;
    }
    if let Some(url) = url {
        servers.work().await?;
        eprintln!(
            "\nthe dashboard is open on {url}\n\
             it is {} there: quotes arrive every minute, jobs run at their times; Ctrl-C ends it",
            demo.context.clock.now(),
        );
        servers.until_stopped().await?;
    }
    demo.tushare.stop().await;
    Ok(code)
}

/// Syncs what the demo keeps; the answer is the exit code.
async fn fill(demo: &Simulation, store: Arc<dyn Store>, stop: &Stop) -> Result<u8> {
    let engine = demo.context.engine(store.clone()).await?;
    let _running = store.run_exclusively().await?;
    // The calendar and the list come first, so that the plan is exact.
    let first = engine.prerequisites(None).await?;
    if !first.is_empty() {
        sync::sync(&demo.context, &engine, first, stop).await?;
    }
    show_plan(&demo.context, &engine, &requests(demo.from)).await?;
    sync::sync(&demo.context, &engine, requests(demo.from), stop).await
}

/// Half a year (or more) of what most people keep.
fn requests(from: Day) -> Vec<(String, Request)> {
    let everything = Request { from: Some(from.to_string()), ..Request::everything() };
    DATASETS.iter().map(|dataset| (dataset.to_string(), everything.clone())).collect()
}

/// The same configuration, but with a store, sources and a time of its own.
async fn start(context: &Context, args: &Args) -> Result<Simulation> {
    let mut config = context.config.clone();
    config.options.store.stay_in_file();
    config.options.store.path = args.folder.join("tidegate.db");
    let demo = Context { config, ..context.clone() };
    let clock = clock(&demo).await?;
    let today = clock.now().day();
    let from = today.plus(-args.years.map_or(183, |years| i32::from(years) * 366));
    let market = market(&demo, &clock, from, today);
    let account = Account { token: TOKEN.to_string(), points: POINTS };
    let mirror = MirrorOptions {
        accounts: vec![account],
        enforce_points: true,
        enforce_quota: true,
        ..MirrorOptions::default()
    };
    let options = ServerOptions { mirror, ..ServerOptions::default() };
    let tushare = Server::start(&market, FaultScript::none(), options).await?;
    let (scan, catalog) = (Arc::new(market), demo.catalog.clone());
    let aktools = AkshareServer::start(scan, catalog, FaultScript::none(), AkshareForm::Aktools).await?;
    let mut config = demo.config.clone();
    config.options.sources.simulate(tushare.url(), Secret::new(TOKEN), POINTS, aktools.url());
    config.options.sync.begin_at(from);
    explain(&mut config, from, &tushare, &aktools);
    let context = Context { config, clock, ..demo };
    Ok(Simulation { context, from, tushare, _aktools: aktools })
}

/// What the configuration and the sources say of themselves is what the demo has, not what it found.
fn explain(config: &mut Config, from: Day, tushare: &Server, aktools: &AkshareServer) {
    let text = |value: &str| format!("{value:?}");
    let (is_set, not_set) = ("(set)".to_string(), "(not set)".to_string());
    let path = config.options.store.path.display().to_string();
    config.explain_demo(&[
        ("store.url", not_set.clone()),
        ("store.path", text(&path)),
        ("sync.default_from", text(&from.to_string())),
        ("sources.tushare.enabled", true.to_string()),
        ("sources.tushare.url", text(&tushare.url())),
        ("sources.tushare.token", is_set),
        ("sources.tushare.points", POINTS.to_string()),
        ("sources.akshare.enabled", true.to_string()),
        ("sources.akshare.via", text("aktools")),
        ("sources.akshare.url", text(&aktools.url())),
        ("sources.akshare.token", not_set),
        ("sources.baostock.enabled", false.to_string()),
        ("sources.tidegate.enabled", false.to_string()),
    ]);
}

fn market(demo: &Context, clock: &Clock, from: Day, to: Day) -> Market {
    let options = &demo.options().sim;
    Market::new(MarketOptions {
        seed: options.seed,
        securities: options.securities,
        clock: clock.clone(),
        ..MarketOptions::new(demo.catalog.clone(), from, to)
    })
}

/// The time of the machine while the market trades, else that of the last trading day; never before what an earlier demo
/// has written.
async fn clock(demo: &Context) -> Result<Clock> {
    let now = demo.clock.now();
    let calendar =
        Market::new(MarketOptions { securities: 1, ..MarketOptions::new(demo.catalog.clone(), now.day(), now.day()) })
            .calendar();
    if is_trading(&calendar, now) {
        return Ok(demo.clock.clone());
    }
    let mut day = now.day();
    while !calendar.may_be_open(day) || Instant::at(day, BEGINS) > now {
        day = day.plus(-1);
    }
    let begins = Instant::at(day, BEGINS);
    if !demo.options().store.path.exists() {
        return Ok(Clock::starting_at(begins));
    }
    let store = demo.open_store(false).await?;
    let last = store.summary().await?.last_event;
    let written = store.events(last.saturating_sub(1), 1).await?;
    Ok(Clock::starting_at(written.last().map_or(begins, |event| event.at.plus_seconds(1).max(begins))))
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

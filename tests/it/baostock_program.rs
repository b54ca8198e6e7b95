//! BaoStock through the whole program: a sync from a simulated BaoStock, and its mirror read by the official package.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tidegate::sim::{BaostockServer, BaostockServerOptions, WireFault, WireRule};

use crate::world::{Wanted, World};

/// The world's market behind a BaoStock of its own.
fn baostock(world: &World, rules: Vec<WireRule>) -> BaostockServer {
    let options = BaostockServerOptions { rules, ..BaostockServerOptions::default() };
    let (market, clock) = (Arc::new(world.market.clone()), tidegate::model::Clock::system());
    world.runtime.block_on(BaostockServer::start(market, world.catalog.clone(), clock, options)).unwrap()
}

/// Runs a sync from the simulated BaoStock; it must succeed.
fn sync(world: &World, server: &BaostockServer, arguments: &[&str]) {
    let address = format!("sources.baostock.address={}", server.address());
    let enabled = ["--quiet", "--set", "sources.baostock.enabled=true", "--set", &address];
    world.run(&[&["sync"], arguments, &enabled].concat(), 0);
}

fn count(world: &World, sql: &str) -> u64 {
    world.sqlite(sql).trim().parse().unwrap()
}

fn january() -> World {
    World::new(Wanted { securities: 30, first: "2024-01-02", last: "2024-01-31", ..Wanted::default() })
}

#[test]
fn a_sync_from_baostock_alone_asks_whole_days_or_security_by_security_and_stores_the_same() {
    let world = january();
    world.create_store();
    let lists = [
        "stock_basic",
        "trade_cal",
        "suspend_d",
        "bse_mapping",
        "--from",
        "2024-01-01",
        "--to",
        "2024-01-31",
        "--quiet",
    ];
    world.run(&[&["sync"], &lists[..]].concat(), 0);
    let alone = ["daily", "--from", "2024-01-02", "--to", "2024-01-31", "--set", "sources.tushare.enabled=false"];
    let whole = baostock(&world, Vec::new());
    let address = format!("sources.baostock.address={}", whole.address());
    let enabled = ["--quiet", "--set", "sources.baostock.enabled=true", "--set", &address];
    let ran = world.tidegate(&[&["sync"], &alone[..], &enabled[..]].concat()).output().unwrap();
    let days = world.market.calendar().open_days(world.market.days()).len();
    let bars = |server: &BaostockServer, api: &str| server.record().questions.iter().filter(|one| *one == api).count();
    let (whole_day, by_security) = ("query_daily_history_k_AStock", "query_history_k_data_plus");
    assert_eq!((bars(&whole, whole_day), bars(&whole, by_security)), (days, 0), "{ran:?}");
    let stored = "select group_concat(ts_code || trade_date || close || vol || amount || change) from daily";
    let by_day = world.sqlite(stored);
    let truth = world
        .market
        .truth("daily", &tidegate::model::Area::new(tidegate::model::Securities::All, world.market.days()))
        .unwrap();
    let columns = tidegate::check::Columns::new(&truth);
    let codes = columns.get("ts_code").unwrap();
    let known = (0..truth.num_rows()).filter(|row| !codes.text(*row).unwrap().ends_with(".BJ")).count();
    assert_eq!(count(&world, "select count(*) from daily"), known as u64);

    // A server that has no whole days: the run goes on security by security, within the same command.
    let other = january();
    other.create_store();
    other.run(&[&["sync"], &lists[..]].concat(), 0);
    let refusal = WireFault::Refuse(tidegate::dialect::baostock::Refusal::UnknownType);
    let old = baostock(&other, vec![WireRule::always(refusal).of(whole_day)]);
    let address = format!("sources.baostock.address={}", old.address());
    let enabled = ["--quiet", "--set", "sources.baostock.enabled=true", "--set", &address];
    other.tidegate(&[&["sync"], &alone[..], &enabled[..]].concat()).output().unwrap();
    assert!(bars(&old, by_security) > 20, "{:?}", old.record());
    assert_eq!(other.sqlite(stored), by_day);
}

/// `tidegate serve --mirror` for BaoStock on a free port; it ends when it is dropped.
struct Mirror {
    child: Child,
    address: String,
}

impl Mirror {
    fn of(mut command: Command) -> Mirror {
        command.args(["serve", "--mirror", "tushare,baostock", "--json"]);
        command.args(["--listen", "baostock=127.0.0.1:0", "--listen", "tushare=127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said: String = lines.take_while(|line| line != "}").collect();
        let said: serde_json::Value = serde_json::from_str(&format!("{said}}}")).unwrap();
        assert!(said["url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{said}");
        Mirror { address: said["mirrors"]["baostock"].as_str().unwrap().to_string(), child }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_official_packages_read_every_query_from_the_mirror() {
    let pythons = std::env::var("TIDEGATE_BAOSTOCK_PYTHONS")
        .expect("scripts/test sets TIDEGATE_BAOSTOCK_PYTHONS: run the tests through it");
    let world =
        World::new(Wanted { seed: 1, securities: 60, first: "2023-01-02", last: "2024-02-02", ..Wanted::default() });
    world.create_store();
    let span = ["--from", "2023-01-02", "--to", "2024-02-02"];
    let tushare = ["daily", "weekly", "monthly", "index_daily", "adj_factor", "trade_cal", "stock_basic", "suspend_d"];
    world.run(&[&["sync"], &tushare[..], &span[..], &["--quiet"]].concat(), 0);
    let server = baostock(&world, Vec::new());
    let whole = ["stock_industry", "dividend_plan", "express_brief", "forecast_brief"];
    sync(&world, &server, &whole);
    let members = ["members_hs300", "members_sz50", "members_zz500", "--from", "2024-01-01", "--to", "2024-02-02"];
    sync(&world, &server, &members);
    let quarters = [
        "quarter_profit",
        "quarter_operation",
        "quarter_growth",
        "quarter_dupont",
        "quarter_balance",
        "quarter_cash_flow",
    ];
    sync(&world, &server, &[&quarters[..], &["--from", "2023-06-30", "--to", "2023-09-30"]].concat());
    sync(&world, &server, &[&["daily_valuation", "trade_status", "ex_factor"], &span[..]].concat());
    drop(server);
    let mirror = Mirror::of({
        let mut command = world.tidegate(&[]);
        command.args(["--set", "mirror.tokens=official"]);
        command
    });
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(pythons.lines().count(), 3, "{pythons}");
    for python in pythons.lines() {
        let mut script = Command::new(python);
        script.arg(root.join("tests/official/read_baostock.py")).args(["--address", &mirror.address]);
        script.args(["--password", "official"]).arg("--store").arg(world.store_path());
        let ran = script.current_dir(world.folder.path()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{out}\n{err}");
        eprintln!("{out}");
    }
}

//! One market behind three dialects through the whole program: Tushare fails, BaoStock and AKShare complete the run
//! between them, and Tushare is back when it has recovered.

use std::sync::Arc;

use serde_json::Value;
use tidegate::model::Span;
use tidegate::sim::{AkshareForm, AkshareServer, BaostockServer, BaostockServerOptions, Fault, Rule};

use crate::world::{Ran, Wanted, World};

struct Three {
    world: World,
    baostock: BaostockServer,
    akshare: AkshareServer,
}

impl Three {
    fn new(wanted: Wanted) -> Three {
        let world = World::new(Wanted { securities: 240, ..wanted });
        world.create_store();
        let (market, clock) = (Arc::new(world.market.clone()), tidegate::model::Clock::system());
        let starting = BaostockServer::start(market, world.catalog.clone(), clock, BaostockServerOptions::default());
        let baostock = world.runtime.block_on(starting).unwrap();
        let akshare = world.serve_akshare(AkshareForm::Aktools);
        Three { world, baostock, akshare }
    }

    /// BaoStock comes second and AKShare third, by the environment.
    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        let sets = [
            "sources.baostock.enabled=true".to_string(),
            format!("sources.baostock.address={}", self.baostock.address()),
            "sources.akshare.enabled=true".to_string(),
            format!("sources.akshare.url={}", self.akshare.url()),
            "sources.akshare.per_minute=100000".to_string(),
            "sync.failed_in_a_row_max=3".to_string(),
        ];
        let sets = sets.iter().flat_map(|set| ["--set", set.as_str()]);
        let arguments: Vec<&str> = arguments.iter().copied().chain(sets).collect();
        let mut command = self.world.tidegate(&arguments);
        command.env("BAOSTOCK_PRIORITY", "2").env("AKSHARE_PRIORITY", "3");
        Ran::of(command.output().unwrap(), code, &arguments)
    }

    fn sync(&self, from: &str, to: &str) -> Value {
        let ran = self.run(&["sync", "daily", "--from", from, "--to", to, "--json", "--quiet"], 0).json();
        ran.as_array().unwrap().iter().find(|one| one["dataset"] == "daily").unwrap().clone()
    }

    fn unexplained(&self, from: &str, to: &str) -> Value {
        let audit = self.run(&["audit", "daily", "--from", from, "--to", to, "--json"], 0).json();
        audit["unexplained_holes"].clone()
    }

    /// Every row of the market is stored, no other is, and prices are the true ones.
    fn assert_complete(&self, name: &str) {
        let stored = self.world.sqlite(
            "select ts_code || ' ' || substr(trade_date, 1, 10) || ' ' || round(close * 100) from daily order by 1",
        );
        let area = tidegate::model::Area::new(tidegate::model::Securities::All, self.world.market.days());
        let truth = self.world.market.truth("daily", &area).unwrap();
        assert_eq!(stored.lines().count(), truth.num_rows(), "{name}");
    }
}

fn daily(fault: Fault) -> Rule {
    Rule::always(fault).of("daily")
}

fn slices(daily: &Value, source: &str) -> u64 {
    daily["totals"]["by_source"][source]["slices"].as_u64().unwrap_or_default()
}

#[test]
fn whatever_happens_to_tushare_baostock_and_akshare_complete_the_run_between_them() {
    let (from, to) = ("2024-01-02", "2024-01-31");
    for (name, rule, by_tushare) in [
        ("killed", daily(Fault::DropConnection).at(6..=u64::MAX), true),
        ("throttled", daily(Fault::TooManyRequests { retry_after_seconds: 60 }).at(6..=u64::MAX), true),
        ("banned for the day", daily(Fault::QuotaGone { per_day: 5 }).at(6..=u64::MAX), true),
        ("wrong units", daily(Fault::WrongUnits { column: "vol".to_string(), power: 2 }), false),
    ] {
        let three = Three::new(Wanted { last: to, faults: vec![rule], ..Wanted::default() });
        let daily = three.sync(from, to);
        assert_eq!(daily["outcome"], "success", "{name}: {daily:#}");
        assert_eq!(slices(&daily, "tushare") > 0, by_tushare, "{name}: {daily:#}");
        assert!(slices(&daily, "baostock") > 0 && slices(&daily, "akshare") > 0, "{name}: {daily:#}");
        let note = daily["note"].as_str().unwrap();
        for told in ["served by", "baostock has no securities of BJ", "akshare", "tushare"] {
            assert!(note.contains(told), "{name}: {told}: {note}");
        }
        let of_akshare =
            "select distinct substr(security, -3) from _commit where source = 'akshare' and dataset = 'daily'";
        assert_eq!(three.world.sqlite(of_akshare).trim(), ".BJ", "{name}: only what BaoStock has not");
        assert_eq!(three.unexplained(from, to), 0, "{name}");
        three.assert_complete(name);
        assert_eq!(three.world.sqlite("select count(*) from _quarantine").trim(), "0", "{name}");

        // Its time is over and Tushare is well again: it gives every row, with every column.
        let store = rusqlite::Connection::open(three.world.store_path()).unwrap();
        store
            .execute("update _claim set stale_at = '2024-02-01T00:00:00+08:00' where source <> 'tushare'", ())
            .unwrap();
        store.execute("delete from _source_health", ()).unwrap();
        let Three { world, baostock, akshare } = three;
        let three = Three { world: world.without_faults(), baostock, akshare };
        let daily = three.sync(from, to);
        assert!(slices(&daily, "tushare") > 0, "{name}: {daily:#}");
        assert_eq!((slices(&daily, "baostock"), slices(&daily, "akshare")), (0, 0), "{name}: {daily:#}");
        three.world.assert_equals_truth("daily");
    }
}

#[test]
fn a_day_that_tushare_publishes_late_comes_from_the_two_others() {
    let today = tidegate::model::Clock::system().now().day();
    let (first, last) = (today.plus(-20).to_string().leak() as &str, today.previous().to_string().leak() as &str);
    let span = || Wanted { first, last, securities: 240, ..Wanted::default() };
    let market = World::new(span()).market;
    let day = *market.calendar().open_days(Span::new(today.plus(-9), today.previous())).last().unwrap();
    let late = daily(Fault::HalfPublished { fraction: 0.5 }).with("trade_date", &day.compact());
    let three = Three::new(Wanted { faults: vec![late], ..span() });
    let daily = three.sync(first, last);
    assert!(slices(&daily, "tushare") > 0 && slices(&daily, "baostock") == 1, "only the late day: {daily:#}");
    assert!(slices(&daily, "akshare") > 0, "{daily:#}");
    assert_eq!(three.unexplained(first, last), 0);
    three.assert_complete("late");
}

#[test]
fn priorities_of_baostock_and_akshare_come_from_the_environment() {
    let three = Three::new(Wanted { last: "2024-01-05", ..Wanted::default() });
    let shown = three.run(&["sources", "--offline", "--json"], 0).json();
    let ranks: Vec<(&str, u64)> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|source| (source["name"].as_str().unwrap(), source["rank"].as_u64().unwrap()))
        .collect();
    assert_eq!(ranks, [("tushare", 1), ("baostock", 2), ("akshare", 3)]);
}

#[test]
fn all_tables_are_those_of_every_enabled_source() {
    let three = Three::new(Wanted { last: "2024-01-05", ..Wanted::default() });
    three.run(&["sync", "stock_basic", "trade_cal", "bse_mapping", "--quiet"], 0);
    let all = ["plan", "--all", "--from", "2024-01-02", "--to", "2024-01-05", "--json"];
    let planned = three.run(&all, 0).json();
    let names: Vec<&str> = planned.as_array().unwrap().iter().map(|one| one["dataset"].as_str().unwrap()).collect();
    for name in ["daily", "quarter_profit", "financial_abstract", "trade_status"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let planned = three.run(&[&all[..], &["--set", "sources.akshare.via=eastmoney"]].concat(), 0).json();
    let names: Vec<&str> = planned.as_array().unwrap().iter().map(|one| one["dataset"].as_str().unwrap()).collect();
    assert!(!names.contains(&"financial_abstract") && names.contains(&"quarter_profit"), "{names:?}");
}

//! The dashboard in a real Chromium, over the real service and a store that has every table: tests/browser/run.js.

use std::path::PathBuf;
use std::process::Command;

use tidegate::model::Clock;
use tidegate::sim::{Fault, Rule};

use crate::serving::Serving;
use crate::world::{Wanted, World, is_long};

/// A small market that lives until today. Its last weeks are stored, all tables of them; one day of one table went wrong.
struct Stage {
    world: World,
    /// Days that are left for the dashboard to fetch.
    range: (String, String),
}

impl Stage {
    fn set() -> Stage {
        let today = Clock::system().now().day();
        let day = |back: i32| today.plus(-back);
        let calendar =
            World::new(Wanted { securities: 1, first: leak(day(500)), last: leak(today), ..Wanted::default() });
        let open = calendar.market.calendar().open_days(tidegate::model::Span::new(day(30), day(10)));
        let failing = open[2].compact();
        // Every attempt of the sync; the one that the dashboard asks for is answered.
        let fault = Rule::always(Fault::ServerError { status: 500 }).of("stk_limit");
        let faults = vec![fault.with("trade_date", &failing).at(1..=4)];
        let world = World::new(Wanted {
            securities: 40,
            first: leak(day(330)),
            last: leak(today),
            faults,
            ..Wanted::default()
        });
        world.create_store();
        let mut sync = world.tidegate(&["sync", "--all", "--from", leak(day(45)), "--quiet", "--json"]);
        sync.args(["--set", "sync.skip=", "--set", "sync.datasets_at_once=4"]);
        let ran = sync.output().unwrap();
        assert_eq!(ran.status.code(), Some(1), "one day goes wrong: {}", String::from_utf8_lossy(&ran.stderr));
        // Statements of a year, bars before the gap, and a row that no rule lets through.
        let statements = ["income_vip", "balancesheet_vip", "cashflow_vip", "fina_indicator"];
        world.run(&[&["sync"], &statements[..], &["--from", leak(day(500)), "--quiet"]].concat(), 0);
        world.run(&["sync", "daily", "adj_factor", "--from", leak(day(330)), "--to", leak(day(81)), "--quiet"], 0);
        let odd =
            format!("ts_code,trade_date,open,high,low,close,vol,amount\n000001.SZ,{},10,9,11,10,100,100\n", day(200));
        std::fs::write(world.folder.path().join("odd.csv"), odd).unwrap();
        world.run(&["import", "daily", "odd.csv", "--quiet"], 1);
        copied(&world);
        Stage { world, range: (day(80).to_string(), day(50).to_string()) }
    }
}

/// The securities in a database of their own, with one lost, one of its own and two changed: what the dashboard compares.
fn copied(world: &World) {
    let columns = "ts_code text primary key, name text, area text, list_date text";
    let sql = format!(
        "attach '{}' as market; create table stock_basic ({columns});
         insert into stock_basic select ts_code, name, area, list_date from market.stock_basic;
         delete from stock_basic where ts_code = '000001.SZ'; insert into stock_basic values ('999999.SZ', 'Nobody', null, null);
         update stock_basic set name = name || ' ' where rowid in (select rowid from stock_basic limit 2)",
        world.store_path().display()
    );
    rusqlite::Connection::open(world.folder.path().join("copy.db")).unwrap().execute_batch(&sql).unwrap();
}

/// What the gate needs to reach receivers on this machine, and the copy that is compared.
fn gate(world: &World) -> Vec<String> {
    let copy = world.folder.path().join("copy.db");
    [
        "notify.allow=[\"127.0.0.0/8\"]".to_string(),
        "notify.plain_http=true".to_string(),
        format!("sources.database.connections=[\"copy=sqlite://{}\"]", copy.display()),
        format!("reconcile.undo_folder={}", world.folder.path().join("undo").display()),
        "reconcile.settle_ms=10".to_string(),
    ]
    .into_iter()
    .flat_map(|setting| ["--set".to_string(), setting])
    .collect()
}

/// The world wants text that lives as long as the program.
fn leak(day: tidegate::model::Day) -> &'static str {
    day.to_string().leak()
}

#[test]
fn people_use_the_dashboard_in_a_real_browser() {
    let packages =
        std::env::var("TIDEGATE_BROWSER").expect("scripts/test sets TIDEGATE_BROWSER: run the tests through it");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let shots = std::env::var_os("TIDEGATE_SCREENSHOTS").map_or(root.join("target/screenshots"), PathBuf::from);
    let stage = Stage::set();
    let gate = gate(&stage.world);
    let mut arguments = vec!["--set", "serve.mirrors=[\"tushare\"]", "--listen", "tushare=127.0.0.1:0"];
    arguments.extend(gate.iter().map(String::as_str));
    let serving = Serving::start(&stage.world, &arguments);
    let mut browser = Command::new("node");
    browser.arg(root.join("tests/browser/run.js")).env("TIDEGATE_BROWSER", packages);
    browser.env("TIDEGATE_URL", &serving.url).env("TIDEGATE_SCREENSHOTS", shots);
    browser.env("TIDEGATE_RANGE", format!("{}..{}", stage.range.0, stage.range.1));
    if is_long() {
        browser.env("TIDEGATE_LONG", "1");
    }
    let ran = browser.output().expect("node runs the browser test: scripts/test installs it");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    eprintln!("{out}");
}

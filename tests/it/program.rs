//! The real program from the outside: what it says to bad input, and what a whole session looks like.

use std::os::unix::fs::PermissionsExt;

use crate::world::{Ran, Wanted, World, program};

/// Arguments, exit code, and what stderr must say: the mistake and its remedy.
#[test]
fn bad_input_gets_one_clear_message_with_the_remedy() {
    let world = World::new(Wanted { last: "2024-01-05", ..Wanted::default() });
    world.create_store();
    let folder = world.folder.path();
    std::fs::write(folder.join("no_key.csv"), "open,close\n1,2\n").unwrap();
    std::fs::write(folder.join("bad.toml"), "[sync]\nconcurency = 3\n").unwrap();
    std::fs::write(folder.join("broken.csv.gz"), b"\x1f\x8b\x08\x00nonsense").unwrap();
    std::fs::create_dir(folder.join("tables")).unwrap();
    std::fs::write(folder.join("tables/mine.toml"), "name = \"mine\"\n").unwrap();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["sync", "dayly"], 4, &["dayly", "daily"]),
        (&["sync", "daily", "--from", "2024-13-01"], 2, &["--from", "2024-13-01", "20240131"]),
        (&["sync", "daily", "--from", "2024-02-01", "--to", "2024-01-01"], 2, &["--from", "after", "swap"]),
        (&["sync", "daily", "--codes", "nonsense"], 2, &["nonsense", "600519.SH"]),
        (&["sync", "daily", "--source", "yahoo"], 4, &["yahoo", "tidegate sources"]),
        (&["sync"], 2, &["DATASET"]),
        (&["show", "daily", "--columns", "opne"], 4, &["opne", "open"]),
        (&["show", "daily", "--where", "close"], 2, &["COLUMN=VALUE"]),
        (&["show", "daily", "--format", "xlsx"], 2, &["xlsx", "csv"]),
        (&["show", "trade_cal", "--codes", "600519.SH"], 2, &["trade_cal", "--where"]),
        (&["show", "daily", "--as-of", "yesterday"], 2, &["--as-of", "end of that day in Beijing"]),
        (&["show", "daily", "--known-on", "2024-01-05"], 2, &["daily", "--as-of"]),
        (&["show", "daily", "--adjust", "forward"], 2, &["--adjust", "qfq, hfq or none"]),
        (&["show", "daily", "--anchor", "2024-01-05"], 2, &["--anchor", "--adjust qfq"]),
        (&["show", "index_daily", "--adjust", "qfq"], 2, &["index_daily", "docs/guide/catalogue.md"]),
        (&["import", "daily", "missing.csv"], 4, &["missing.csv"]),
        (&["import", "daily", "no_key.csv"], 2, &["no_key.csv", "--map"]),
        (&["import", "daily", "broken.csv.gz"], 2, &["broken.csv.gz"]),
        (&["pause", "99"], 4, &["99", "tidegate tasks"]),
        (&["failures", "resolve", "99"], 4, &["99", "tidegate failures"]),
        (&["status", "--config", "bad.toml"], 2, &["bad.toml:2", "sync.concurency", "sync.concurrency"]),
        (&["status", "--config", "none.toml"], 4, &["none.toml"]),
        (&["status", "--set", "sync.concurrency=0"], 2, &["sync.concurrency", "1 to 64"]),
        (&["status", "--set", "catalog.folder=tables"], 2, &["mine.toml"]),
        (&["sync", "daily", "--set", "sources.tushare.token=wrong"], 3, &["token"]),
        (
            &["sync", "daily", "--set", "sources.tushare.url=http://127.0.0.1:9"],
            7,
            &["cannot be reached", "check the network"],
        ),
        (&["serve", "--mirror", "--listen", "0.0.0.0:0"], 2, &["mirror.tokens"]),
        (&["serve", "--mirror", "--listen", "nowhere"], 2, &["nowhere", "--listen"]),
    ];
    let before = world.sqlite("select count(*) from daily");
    for (arguments, code, says) in cases {
        let ran = world.run(arguments, *code);
        for text in *says {
            assert!(ran.stderr.contains(text), "{arguments:?} does not say {text:?}:\n{}", ran.stderr);
        }
        assert!(!ran.stderr.contains("panicked"), "{arguments:?}:\n{}", ran.stderr);
        assert!(!ran.stderr.contains(crate::world::TOKEN), "{arguments:?} shows the token");
        assert_eq!(world.sqlite("select count(*) from daily"), before, "{arguments:?} wrote rows");
    }
}

#[test]
fn a_store_that_is_not_there_or_not_a_store_is_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let ran =
        |arguments: &[&str], code| Ran::of(program(folder.path()).args(arguments).output().unwrap(), code, arguments);
    assert!(ran(&["status"], 4).stderr.contains("tidegate init"));
    std::fs::write(
        folder.path().join("tidegate.db"),
        "this is a text, not a database, and long enough to be read as one",
    )
    .unwrap();
    assert!(ran(&["status"], 6).stderr.contains("tidegate.db"));
}

/// A folder that may not be written to. The superuser may write anywhere, so the limit is then set by the file system.
#[test]
fn a_folder_that_is_read_only_is_told_and_nothing_is_lost() {
    let folder = tempfile::TempDir::new().unwrap();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let is_superuser = std::fs::write(closed.join("probe"), "x").is_ok();
    let path = if is_superuser { "/proc/tidegate.db".to_string() } else { format!("{}/tidegate.db", closed.display()) };
    let arguments = ["init", "--set", &format!("store.path={path}")];
    let ran = Ran::of(program(folder.path()).args(arguments).output().unwrap(), 6, &arguments);
    assert!(ran.stderr.contains("tidegate.db") && ran.stderr.contains("try:"), "{}", ran.stderr);
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_database_that_somebody_else_holds_is_told_and_nothing_is_lost() {
    let world = World::new(Wanted { last: "2024-01-05", ..Wanted::default() });
    world.create_store();
    let holder = rusqlite::Connection::open(world.store_path()).unwrap();
    holder.execute_batch("begin immediate").unwrap();
    let arguments = ["sync", "daily", "--quiet", "--set", "store.busy_timeout_ms=50"];
    let ran = world.run(&arguments, 6);
    assert!(ran.stderr.contains("market.db") && ran.stderr.contains("try:"), "{}", ran.stderr);
    holder.execute_batch("rollback").unwrap();
    world.run(&["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-05", "--quiet"], 0);
    world.assert_equals_truth("daily");
}

/// init, plan, sync, audit, show, export, import: the commands of the README, one after the other.
#[test]
fn a_session_from_an_empty_folder_to_an_audited_store() {
    let world = World::new(Wanted { last: "2024-01-31", ..Wanted::default() });
    let folder = world.folder.path();
    world.run(&["init", "--token", "secret-token-of-mine", "--points", "2000"], 0);
    let file = std::fs::read_to_string(folder.join("tidegate.toml")).unwrap();
    assert!(file.contains("token = \"secret-token-of-mine\"") && file.contains("points = 2000"), "{file}");
    let mode = std::fs::metadata(folder.join("tidegate.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "a file with a token is its owner's alone");
    assert!(!world.run(&["config", "show"], 0).stdout.contains("secret-token-of-mine"));

    let span = ["--from", "2024-01-02", "--to", "2024-01-31"];
    let with = |command: &[&'static str]| -> Vec<&'static str> { command.iter().chain(&span).copied().collect() };
    let first = world.run(&with(&["sync", "daily", "adj_factor", "--json", "--quiet"]), 0).json();
    assert!(first.as_array().unwrap().iter().all(|one| one["outcome"] == "success"), "{first:#}");
    let planned = world.run(&with(&["plan", "daily", "--json"]), 0).json();
    assert_eq!(planned[0]["calls"], 0, "{planned:#}");
    world.assert_equals_truth("daily");
    let calls = world.server.served().len();
    world.run(&with(&["sync", "daily", "adj_factor", "--quiet"]), 0);
    assert_eq!(world.server.served().len(), calls, "nothing to do makes no call");

    assert!(world.run(&with(&["audit"]), 0).stdout.contains(" 0 unexplained holes"));
    world.run(&["export", "daily", "--out", "daily.parquet", "--quiet"], 0);
    world.run(&["export", "daily", "--out", "daily.csv", "--tushare-units"], 0);
    let copy = ["--set", "store.path=copy.db"];
    for file in ["daily.csv", "daily.parquet"] {
        let arguments = [&["import", "daily", file, "--json"], &copy[..]].concat();
        let mut command = world.tidegate(&arguments);
        let ran = Ran::of(command.args(copy).output().unwrap(), 0, &arguments).json();
        let rows = ran[0]["inserted"].as_u64().unwrap() + ran[0]["unchanged"].as_u64().unwrap();
        assert_eq!(rows, ran[0]["rows_read"].as_u64().unwrap(), "{file}: {ran:#}");
    }
    let difference = world.sqlite(&format!(
        "attach '{}' as copy; select count(*) from (select {COLUMNS} from daily except select {COLUMNS} from copy.daily)",
        folder.join("copy.db").display()
    ));
    assert_eq!(difference.trim(), "0", "what is exported and imported again is the same");
}

/// A correction, a price base, and what was known: the same flags on `show` and `export`.
#[test]
fn show_and_export_read_in_two_times_and_price_bases() {
    let world = World::new(Wanted { securities: 6, last: "2024-01-05", ..Wanted::default() });
    world.create_store();
    let folder = world.folder.path();
    let import = |table: &str, text: &str| {
        std::fs::write(folder.join("rows.csv"), text).unwrap();
        world.run(&["import", table, "rows.csv", "--overwrite", "--quiet"], 0);
    };
    let bars = |close: &str| {
        let rows = ["2024-01-02,10.00,100,1000", &format!("2024-01-03,{close},100,500")];
        format!("ts_code,trade_date,close,vol,amount\n{}\n", rows.map(|row| format!("600000.SH,{row}")).join("\n"))
    };
    import("daily", &bars("5.00"));
    let between = world.now();
    import("daily", &bars("5.10"));
    import("adj_factor", "ts_code,trade_date,adj_factor\n600000.SH,20240102,1\n600000.SH,20240103,2\n");
    let close = ["show", "daily", "--columns", "close"];
    let shown = |arguments: &[&str]| {
        let ran = world.run(&[&close[..], arguments, &["--json"]].concat(), 0);
        let closes: Vec<String> = ran.json().as_array().unwrap().iter().map(|row| row["close"].to_string()).collect();
        closes.join(" ")
    };
    let then = between.to_string();
    assert_eq!(shown(&[]), "10 5.1");
    assert_eq!(shown(&["--as-of", &then]), "10 5");
    assert_eq!(shown(&["--as-of", "2024-01-05"]), "", "nothing had been imported then");
    assert_eq!(shown(&["--adjust", "qfq"]), "5 5.1");
    assert_eq!(shown(&["--adjust", "qfq", "--anchor", "2024-01-02"]), "10 10.2");
    assert_eq!(shown(&["--adjust", "hfq"]), "10 10.2");
    assert_eq!(shown(&["--adjust", "qfq", "--as-of", &then]), "null null", "no factor was known then");
    world.run(&["export", "daily", "--adjust", "qfq", "--to", "2024-01-03", "--out", "qfq.csv"], 0);
    let lines = std::fs::read_to_string(folder.join("qfq.csv")).unwrap();
    let (header, rows) = lines.split_once('\n').unwrap();
    assert!(header.ends_with(",amount,adjust_anchor,adjust_factors"), "{header}");
    assert!(rows.lines().all(|row| row.ends_with(",2024-01-03,adj_factor")), "{rows}");
    let table = world.run(&["show", "daily", "--adjust", "qfq", "--to", "2024-01-03"], 0);
    assert!(table.stdout.contains("adjust_anchor") && table.stderr.contains("adjusted to 2024-01-03"), "{table:?}");
    let by_name = ["show", "daily", "--adjust", "qfq", "--columns", "close,adjust_factors", "--limit", "1", "--json"];
    assert_eq!(world.run(&by_name, 0).json()[0]["adjust_factors"], "adj_factor");
}

const COLUMNS: &str = "ts_code, trade_date, open, high, low, close, pre_close, change, pct_chg, vol, amount";

//! `tidegate compare`: real overlaps of two sources, and a simulated source that lies in known ways.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate::sim::{Fault, Rule};

use crate::failover::Two;
use crate::files::shared_data;
use crate::world::{Ran, Wanted, program};

/// Compares two files; `code` names the security of a file that does not.
fn files(folder: &Path, left: &Path, right: &Path, more: &[&str]) -> Value {
    let sources = format!("file:{},file:{}", left.display(), right.display());
    let mut arguments = vec!["compare", "daily", "--sources", &sources, "--json", "--limit", "10"];
    arguments.extend(more);
    let output = program(folder).args(&arguments).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn column<'a>(report: &'a Value, name: &str) -> &'a Value {
    let columns = report["columns"].as_array().unwrap();
    columns.iter().find(|column| column["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"))
}

/// Equal, rounding, different.
fn counts(report: &Value, name: &str) -> [u64; 3] {
    ["equal", "rounding", "different"].map(|figure| column(report, name)[figure].as_u64().unwrap())
}

fn gunzip(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A TDX `.day` file as CSV: date, prices in cents, amount as f32, volume in shares.
fn tdx_as_csv(bytes: &[u8]) -> String {
    let word = |record: &[u8], at: usize| u32::from_le_bytes(record[at * 4..at * 4 + 4].try_into().unwrap());
    let price = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
    let mut csv = "date,open,high,low,close,volume\n".to_string();
    for record in bytes.chunks_exact(32) {
        let prices: Vec<String> = (1..5).map(|at| price(word(record, at))).collect();
        csv.push_str(&format!("{},{},{}\n", word(record, 0), prices.join(","), word(record, 6)));
    }
    csv
}

#[test]
fn akshare_and_tdx_differ_in_rounded_volumes_and_one_close() {
    let Some(data) = shared_data() else { return println!("the folder of real data is absent (TIDEGATE_SHARED)") };
    let folder = tempfile::tempdir().unwrap();
    let tdx = folder.path().join("tdx.csv");
    std::fs::write(&tdx, tdx_as_csv(&gunzip(&data.join("tdx/day_binary/sh600000_hikyuu.day.gz")))).unwrap();
    let akshare = data.join("daily/akshare_raw_full_600000.SH.csv.gz");
    let report = files(folder.path(), &akshare, &tdx, &["--code", "600000.SH"]);
    assert_eq!((&report["rows_both"], &report["only_right"]), (&6119.into(), &0.into()));
    assert_eq!(counts(&report, "close"), [6118, 0, 1]);
    assert_eq!(column(&report, "close")["examples"][0]["key"], "600000.SH 2003-08-27");
    assert!((column(&report, "close")["largest"].as_f64().unwrap() - 0.01).abs() < 1e-9);
    for name in ["open", "high", "low"] {
        assert_eq!(counts(&report, name), [6119, 0, 0], "{name}");
    }
    // Volumes that were cut to whole lots, and four that really differ.
    let volumes = column(&report, "vol");
    assert_eq!(counts(&report, "vol"), [6119 - 1926, 1922, 4], "{volumes:#}");
    let days = volumes["examples"].as_array().unwrap().iter().map(|example| example["key"].as_str().unwrap());
    let expected = ["2003-07-15", "2003-07-16", "2003-08-27", "2003-09-19"].map(|day| format!("600000.SH {day}"));
    assert_eq!(days.collect::<Vec<_>>(), expected);
    assert_eq!(volumes["cause"], "scattered");
}

#[test]
fn tushare_and_alpha_vantage_differ_in_rounded_volumes_only() {
    let Some(data) = shared_data() else { return println!("the folder of real data is absent (TIDEGATE_SHARED)") };
    let folder = tempfile::tempdir().unwrap();
    let packed = data.join("raw_replies/alphavantage_sse50_2025.tar.gz");
    let unpacked = Command::new("tar").arg("xzf").arg(&packed).arg("-C").arg(folder.path()).status().unwrap();
    assert!(unpacked.success());
    let csv = folder.path().join("alphavantage.csv");
    std::fs::write(&csv, alpha_vantage_as_csv(folder.path())).unwrap();
    let tushare = data.join("daily/tushare_sse50_20251009_20251119.csv.gz");
    let report = files(folder.path(), &tushare, &csv, &["--from", "2025-10-09", "--to", "2025-11-14"]);
    assert_eq!(report["rows_both"], 27 * 30, "{report:#}");
    for name in ["open", "high", "low", "close"] {
        assert_eq!(counts(&report, name), [810, 0, 0], "{name}");
    }
    assert_eq!(counts(&report, "vol")[2], 0, "{:#}", column(&report, "vol"));
}

fn alpha_vantage_as_csv(folder: &Path) -> String {
    let mut csv = "code,date,open,high,low,close,volume\n".to_string();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(reply) = serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap()) else { continue };
            let code = reply["Meta Data"]["2. Symbol"].as_str().unwrap().replace(".SHH", ".SH");
            for (day, bar) in reply["Time Series (Daily)"].as_object().unwrap() {
                let field = |name: &str| bar[name].as_str().unwrap().to_string();
                let bar = ["1. open", "2. high", "3. low", "4. close", "5. volume"].map(field).join(",");
                csv.push_str(&format!("{code},{day},{bar}\n"));
            }
        }
    }
    csv
}

#[test]
fn adjusted_prices_are_told_from_wrong_ones() {
    let Some(data) = shared_data() else { return println!("the folder of real data is absent (TIDEGATE_SHARED)") };
    let folder = tempfile::tempdir().unwrap();
    let akshare = data.join("daily/akshare_raw_full_600000.SH.csv.gz");
    let compared = |right: &str, more: &[&str]| files(folder.path(), &akshare, &data.join(right), more);

    let report = compared("daily/baostock_qfq_600000_2020_2023.csv.gz", &["--map", "adjustflag="]);
    assert_eq!(report["rows_both"], 800);
    assert_eq!(counts(&report, "vol"), [800, 0, 0]);
    for name in ["open", "high", "low", "close"] {
        assert_eq!(column(&report, name)["cause"], "adjustment", "{name}: {:#}", column(&report, name));
    }

    let report = compared("daily/akshare_one_2024/600000_2024.csv", &[]);
    assert_eq!(report["rows_both"], 242);
    for name in ["open", "high", "low", "close", "vol"] {
        assert_eq!(counts(&report, name), [242, 0, 0], "{name}");
    }

    let report = compared("daily/yahoo_like_600000_named_987654.csv.gz", &["--code", "600000.SH"]);
    assert_eq!(report["only_right"], 6);
    let different = ["open", "high", "low", "close"].map(|name| counts(&report, name)[2]);
    assert_eq!((&report["rows_both"], different), (&3653.into(), [5, 1, 2, 0]));
    assert_eq!(column(&report, "vol")["cause"], "adjustment", "{:#}", column(&report, "vol"));
}

#[test]
fn raw_and_adjusted_bars_of_one_source_differ_in_prices_only() {
    let Some(data) = shared_data() else { return println!("the folder of real data is absent (TIDEGATE_SHARED)") };
    let folder = tempfile::tempdir().unwrap();
    let raw = data.join("daily/tushare_raw_2019_2020.tar.gz");
    let adjusted = data.join("daily/tushare_qfq_2010_2020.tar.gz");
    let report = files(folder.path(), &raw, &adjusted, &["--columns", "close,vol,amount"]);
    assert_eq!(report["rows_both"], 62_645);
    assert_eq!(counts(&report, "vol"), [62_645, 0, 0]);
    assert_eq!(counts(&report, "amount")[2], 0, "{:#}", column(&report, "amount"));
    assert_eq!(column(&report, "close")["cause"], "adjustment", "{:#}", column(&report, "close"));
}

#[test]
fn a_simulated_source_that_lies_is_found_out_and_nothing_is_written() {
    let daily = |fault| vec![Rule::always(fault).of("daily")];
    let lie = |column: &str, power| Fault::WrongUnits { column: column.to_string(), power };
    for (name, faults, wrong, cause) in [
        ("honest", Vec::new(), None, None),
        ("lots for shares", daily(lie("vol", 2)), Some("vol"), Some("unit")),
        ("yuan for thousands", daily(lie("amount", 3)), Some("amount"), Some("unit")),
        (
            "corrected",
            vec![
                Rule::always(Fault::LateCorrection { column: Some("pct_chg".into()), every: 5 })
                    .of("daily")
                    .with("trade_date", "20240110"),
            ],
            Some("pct_chg"),
            Some("scattered"),
        ),
        ("rows left out", daily(Fault::WithdrawnRows { every: 10 }), None, None),
    ] {
        let two = Two::new(Wanted { last: "2024-01-19", ..Wanted::default() }, faults);
        let sync = ["sync", "daily", "--quiet", "--source", "tushare", "--from", "2024-01-02", "--to", "2024-01-19"];
        two.run(&sync, &[], 0);
        let state =
            "select (select count(*) from _commit), (select count(*) from _event), (select count(*) from daily)";
        let before = two.world.sqlite(state);
        let span = ["--from", "2024-01-02", "--to", "2024-01-19", "--json"];
        for left in ["tushare", "store"] {
            let sources = format!("{left},tidegate");
            let arguments: Vec<&str> = ["compare", "daily", "--sources", &sources].into_iter().chain(span).collect();
            let missing = name == "rows left out";
            let report = two.run(&arguments, &[], i32::from(wrong.is_some() || missing)).json();
            for column in report["columns"].as_array().unwrap() {
                let differs = column["different"].as_u64().unwrap() > 0;
                assert_eq!(differs, wrong.is_some_and(|wrong| column["name"] == wrong), "{name}: {column:#}");
                let expected = cause.filter(|_| differs).map_or(Value::Null, Value::from);
                assert_eq!(column["cause"], expected, "{name}: {column:#}");
            }
            assert_eq!(report["only_left"].as_u64().unwrap() > 0, missing, "{name}");
            assert_eq!(report["only_right"], 0, "{name}");
        }
        assert_eq!(two.world.sqlite(state), before, "{name}: nothing is written");
    }
}

#[test]
fn wrong_sides_are_refused_with_a_remedy() {
    let two = Two::new(Wanted { last: "2024-01-05", ..Wanted::default() }, Vec::new());
    for (arguments, code, says) in [
        (&["compare", "daily", "--sources", "tushare"][..], 2, "two sides"),
        (&["compare", "daily", "--sources", "tushare,nobody"][..], 4, "nobody"),
        (&["compare", "daily", "--sources", "store,tushare", "--columns", "price"][..], 4, "price"),
        (
            &["compare", "daily", "--sources", "store,tushare", "--from", "2010-01-01", "--calls", "3"][..],
            2,
            "more than 3",
        ),
    ] {
        let ran: Ran = two.run(arguments, &[], code);
        assert!(ran.stderr.contains(says), "{arguments:?}: {}", ran.stderr);
    }
}

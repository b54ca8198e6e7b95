//! The real AKTools server read by our client, and our mirror read by AKTools' users.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use tidegate::catalog::Catalog;
use tidegate::check::Columns;
use tidegate::model::{Area, Dataset, ErrorKind, Securities, Span};
use tidegate::sim::AkshareForm;
use tidegate::source::Source;
use tidegate::source::akshare::{AkshareOptions, AkshareSource};

use crate::akshare::{call, clock, day, fetch_all, options};
use crate::world::{Ran, Wanted, World};

fn python() -> String {
    std::env::var("TIDEGATE_AKTOOLS_PYTHON")
        .expect("scripts/test sets TIDEGATE_AKTOOLS_PYTHON: run the tests through it")
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/official").join(name)
}

/// A server that prints its address in its first line with one; it ends when it is dropped.
struct Running {
    child: Child,
    url: String,
    _folder: Option<TempDir>,
}

impl Running {
    fn of(mut command: Command, folder: Option<TempDir>) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.find_map(|line| {
            let from = line.find("http://")?;
            Some(line[from..].trim_end_matches(['"', ',']).to_string())
        });
        Running { url: url.expect("the server says where it is"), child, _folder: folder }
    }

    /// The real AKTools over the stubbed functions.
    fn aktools() -> Running {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(python());
        command.arg(script("serve_aktools.py")).current_dir(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        Running::of(command, Some(folder))
    }

    /// `tidegate serve --mirror aktools` on a free port.
    fn mirror(world: &World) -> Running {
        let mut command = world.tidegate(&["serve", "--mirror", "aktools", "--listen", "127.0.0.1:0", "--json"]);
        command.stderr(Stdio::null());
        Running::of(command, None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A question to the stubbed functions and what must arrive: rows with some of their columns, as canonical text.
type Question = (&'static str, Area, &'static [&'static str]);

fn one(code: &str, from: &str, to: &str) -> Area {
    Area::new(Securities::one(code), Span::new(day(from), day(to)))
}

fn all_time(code: &str) -> Area {
    Area::new(Securities::one(code), Span::ALL)
}

fn period(end: &str) -> Area {
    Area::new(Securities::All, Span::day(day(end)))
}

fn questions() -> Vec<Question> {
    vec![
        (
            "daily",
            one("000001.SZ", "20240102", "20240103"),
            &[
                "ts_code=000001.SZ trade_date=2024-01-02 open=9.4 high=9.42 low=9.2 close=9.21 pre_close=9.39 \
                 change=-0.18 pct_chg=-1.92 vol=115836600 amount=1075742252.45",
                "ts_code=000001.SZ trade_date=2024-01-03 open=9.19 close=9.2 pre_close=9.21 vol=73361000 \
                 amount=673673613.54",
            ],
        ),
        ("daily", one("600000.SH", "20240102", "20240102"), &["ts_code=600000.SH trade_date=2024-01-02"]),
        ("daily", one("920001.BJ", "20240102", "20240102"), &["ts_code=920001.BJ trade_date=2024-01-02"]),
        // Days before the span prove that the empty span is empty.
        ("daily", one("000001.SZ", "20240106", "20240107"), &[]),
        (
            "weekly",
            one("000001.SZ", "20240101", "20240105"),
            &["trade_date=2024-01-05 close=9.21 vol=115836600 pct_chg=-0.0192"],
        ),
        ("monthly", one("000001.SZ", "20240101", "20240131"), &["trade_date=2024-01-31 high=9.42 pct_chg=-0.0192"]),
        (
            "stock_basic",
            Area::whole(),
            &[
                "ts_code=000001.SZ symbol=000001 name=平安银行",
                "ts_code=000002.SZ name=万  科Ａ list_date=",
                "ts_code=600000.SH",
                "ts_code=688001.SH",
                "ts_code=920001.BJ",
            ],
        ),
        (
            "trade_cal",
            Area::new(Securities::All, Span::new(day("20241228"), day("20241231"))),
            &[
                "exchange=SSE cal_date=2024-12-28 is_open=0 pretrade_date=2024-12-27",
                "exchange=SSE cal_date=2024-12-29 is_open=0 pretrade_date=2024-12-27",
                "exchange=SSE cal_date=2024-12-30 is_open=1 pretrade_date=2024-12-27",
                "exchange=SSE cal_date=2024-12-31 is_open=1 pretrade_date=2024-12-30",
                "exchange=SZSE cal_date=2024-12-28 is_open=0",
                "exchange=SZSE cal_date=2024-12-29",
                "exchange=SZSE cal_date=2024-12-30",
                "exchange=SZSE cal_date=2024-12-31 is_open=1",
            ],
        ),
        (
            "spot",
            Area::whole(),
            &[
                "ts_code=000001.SZ name=平安银行 close= vol= pre_close=9.21 pe_dynamic=-3.2 total_mv=178728000000",
                "ts_code=920001.BJ close=18.5 pct_chg=30 vol=5234567 amount=96839499.5 pct_chg_5m=-0.05",
            ],
        ),
        (
            "company_snapshot",
            all_time("000002.SZ"),
            &["ts_code=000002.SZ name=万  科Ａ close=7.05 total_share=11930709471 total_mv=84111501770.55 \
                list_date=1991-01-29 industry=房地产开发"],
        ),
        (
            "financial_abstract",
            all_time("600004.SH"),
            &[
                "ts_code=600004.SH end_date=2023-12-31 section=常用指标 indicator=基本每股收益 value=0.19",
                "ts_code=600004.SH end_date=2023-12-31 section=常用指标 indicator=归母净利润 value=441856790.12",
                "ts_code=600004.SH end_date=2024-03-31 section=常用指标 indicator=基本每股收益 value=0.08",
                "ts_code=600004.SH end_date=2024-03-31 section=常用指标 indicator=归母净利润 value=192000000",
                "ts_code=600004.SH end_date=2024-03-31 section=每股指标 indicator=基本每股收益 value=0.08",
            ],
        ),
        (
            "financial_analysis",
            all_time("600004.SH"),
            &[
                "ts_code=600004.SH end_date=2023-12-31 eps_diluted=0.1867 total_assets=27013004521.17 \
                 debt_asset=31.4821 roe=",
                "end_date=2024-03-31 eps_diluted=0.0811 total_assets=27100000000 debt_asset=",
            ],
        ),
        (
            "earnings_report",
            period("20231231"),
            &[
                "ts_code=400001.NQ end_date=2023-12-31 eps= net_profit=-98765.43 industry= ann_date=2024-04-29",
                "ts_code=600519.SH end_date=2023-12-31 eps=59.49 revenue=150560330316.45 revenue_yoy=18.035292 \
                 net_profit=74734071550.75 gross_margin=91.9635 industry=酿酒行业 ann_date=2024-04-03",
            ],
        ),
        (
            "earnings_forecast",
            period("20231231"),
            &[
                "ts_code=000001.SZ end_date=2023-12-31 ann_date=2024-01-20 item=归属于上市公司股东的净利润 \
                 forecast=46455000000 change_pct=2.1 last_year=45516000000 reason=主营业务",
                "ts_code=000001.SZ item=每股收益 forecast=2.25 change_pct= last_year=2.2 reason=",
            ],
        ),
        (
            "disclosure_date",
            period("20231231"),
            &[
                "ts_code=000001.SZ end_date=2023-12-31 pre_date=2024-03-15 actual_date=2024-03-15",
                "ts_code=600000.SH end_date=2023-12-31 pre_date=2024-04-30 actual_date=",
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_aktools_answers_every_function_of_the_reference() {
    let aktools = Running::aktools();
    let catalog = Catalog::builtin().unwrap();
    for token in ["", "akshare"] {
        let options = AkshareOptions { token: token.to_string(), ..options(&aktools.url, AkshareForm::Aktools) };
        let source = AkshareSource::new(options, clock()).unwrap();
        source.probe().await.unwrap();
        let mut functions = BTreeMap::new();
        for (name, area, expected) in questions() {
            let dataset = catalog.get(name).unwrap();
            let batch =
                fetch_all(&source, &call(dataset, 0, area)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_rows(name, &batch, &dataset.key, expected);
            *functions.entry(dataset.akshare[0].api.clone()).or_insert(0) += 1;
        }
        assert_eq!(functions.len(), 10, "{functions:?}");
    }
}

/// Every row has the cells that are named, in the order of the key.
fn assert_rows(name: &str, batch: &arrow_array::RecordBatch, key: &[String], expected: &[&str]) {
    let columns = Columns::new(batch);
    let mut rows: Vec<_> = (0..batch.num_rows()).map(|row| columns.row_as_json(row)).collect();
    rows.sort_by_key(|row| {
        key.iter().map(|part| row[part].as_str().unwrap_or_default().to_string()).collect::<Vec<_>>()
    });
    assert_eq!(rows.len(), expected.len(), "{name}: {rows:#?}");
    for (row, expected) in rows.iter().zip(expected) {
        let mut last = "";
        for pair in expected.split(' ').filter(|pair| !pair.is_empty()) {
            // A value may hold spaces of its own: `万  科Ａ`.
            let Some((column, value)) = pair.split_once('=') else {
                assert!(row[last].as_str().unwrap().ends_with(pair), "{name}.{last}: {row:#}");
                continue;
            };
            last = column;
            let found = row[column].as_str().unwrap_or_default();
            assert!(
                found == value || found.starts_with(&format!("{value} ")),
                "{name}.{column} of {row:#}, not {value:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_real_aktools_refuses_is_named_by_its_remedy() {
    let aktools = Running::aktools();
    let catalog = Catalog::builtin().unwrap();
    let open = || options(&aktools.url, AkshareForm::Aktools);
    let wrong_token = AkshareOptions { token: "wrong".to_string(), ..open() };
    let elsewhere = AkshareOptions { url: format!("{}/elsewhere", aktools.url), ..open() };
    for (options, api, period, kind, whole_source) in [
        (open(), "no_such_function", "daily", ErrorKind::NotFound, false),
        (open(), "answers_none", "daily", ErrorKind::Transient, false),
        (open(), "fails", "daily", ErrorKind::Transient, false),
        (open(), "stock_zh_a_hist", "hourly", ErrorKind::Transient, false),
        (open(), "stock_zh_a_hist", "a=b", ErrorKind::Invalid, false),
        (wrong_token, "stock_zh_a_hist", "daily", ErrorKind::Denied, true),
        (elsewhere, "stock_zh_a_hist", "daily", ErrorKind::Invalid, true),
    ] {
        let mut daily = Dataset::clone(catalog.get("daily").unwrap());
        daily.akshare[0].api = api.to_string();
        daily.akshare[0].always.insert("period".to_string(), period.to_string());
        let call = call(&Arc::new(daily), 0, one("000001.SZ", "20240102", "20240103"));
        let error = AkshareSource::new(options, clock()).unwrap().fetch(&call).await.unwrap_err();
        assert_eq!((error.kind(), error.whole_source()), (kind, whole_source), "{api} {period}: {error}");
    }
}

/// A small market, every table that AKTools' functions read, in a real store.
fn every_function() -> World {
    let world = World::new(Wanted { securities: 40, first: "2023-03-01", last: "2024-02-02", ..Wanted::default() });
    world.create_store();
    let mut ran = world.tidegate(&[
        "sync",
        "trade_cal",
        "stock_basic",
        "daily",
        "daily_basic",
        "adj_factor",
        "weekly",
        "monthly",
    ]);
    ran.args(["disclosure_date", "--from", "2023-12-01", "--to", "2024-02-02", "--quiet"]);
    Ran::of(ran.output().unwrap(), 0, &["sync"]);
    world
}

#[test]
fn the_mirror_answers_odd_questions_as_the_real_aktools_does() {
    let aktools = Running::aktools();
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    let mirror = Running::mirror(&world);
    let mut command = Command::new(python());
    command.arg(script("compare_aktools.py")).args(["--real", &aktools.url, "--mirror", &mirror.url]);
    let ran = command.output().unwrap();
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{out}\n{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn users_of_aktools_read_the_values_of_the_store_from_the_mirror() {
    let world = every_function();
    let aktools = world.serve_akshare(AkshareForm::Aktools);
    let source = format!("sources.akshare.url={}", aktools.url());
    for dataset in
        ["spot", "earnings_report", "earnings_forecast", "company_snapshot", "financial_abstract", "financial_analysis"]
    {
        let mut ran = world.tidegate(&["sync", dataset, "--from", "2023-09-30", "--to", "2024-02-02", "--quiet"]);
        ran.args(["--set", &source, "--set", "sources.akshare.enabled=true", "--set", "sources.akshare.per_minute=0"]);
        let ran = ran.output().unwrap();
        assert!(matches!(ran.status.code(), Some(0 | 1)), "{dataset}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    let mirror = Running::mirror(&world);
    let mut command = Command::new(python());
    command.arg(script("read_aktools_mirror.py")).args(["--url", &mirror.url, "--store"]).arg(world.store_path());
    let ran = command.output().unwrap();
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{out}\n{}", String::from_utf8_lossy(&ran.stderr));
}

//! Tables of checks: rows as text, and what the checks make of them.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray};

use super::*;
use crate::catalog::Catalog;
use crate::model::{Column, ColumnType, Day, ErrorKind, Span, decimal};

fn dataset(name: &str) -> Arc<Dataset> {
    Catalog::builtin().unwrap().get(name).unwrap().clone()
}

/// One column of texts in Tushare's units; an empty text is null, except where the column cannot be.
fn array(column: &Column, in_key: bool, texts: &[&str]) -> ArrayRef {
    let texts = texts.iter().map(|text| (in_key || !text.is_empty()).then_some(*text));
    match column.kind {
        ColumnType::Text => Arc::new(StringArray::from_iter(texts)),
        ColumnType::Date => Arc::new(Date32Array::from_iter(texts.map(|text| Day::parse(text?).ok().map(|day| day.0)))),
        ColumnType::Int => Arc::new(Int64Array::from_iter(texts.map(|text| text?.parse::<i64>().ok()))),
        ColumnType::Float => Arc::new(Float64Array::from_iter(texts.map(|text| text?.parse::<f64>().ok()))),
        ColumnType::Decimal => {
            let shift = column.tushare_shift().unwrap();
            let values = texts.map(|text| decimal::parse(text?, column.scale, shift));
            Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(38, column.scale).unwrap())
        }
        ColumnType::Datetime => unreachable!(),
    }
}

/// A batch of `dataset` from rows of comma-separated texts under `header`; other columns are null.
fn batch(dataset: &Dataset, header: &str, rows: &[&str]) -> RecordBatch {
    let names: Vec<&str> = header.split(',').collect();
    let columns = dataset.columns.iter().map(|column| {
        let at = names.iter().position(|name| *name == column.name);
        let cells = rows.iter().map(|row| at.and_then(|at| row.split(',').nth(at)).unwrap_or("").trim());
        array(column, dataset.key.contains(&column.name), &cells.collect::<Vec<_>>())
    });
    RecordBatch::try_new(dataset.schema(), columns.collect()).unwrap()
}

const BARS: &str = "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount";

/// Checks rows and compares how many stay, how many copies were dropped, and the rules that refused or warned.
fn check_rows(name: &str, header: &str, rows: &[&str], kept: usize, copies: u64, rules: &str) {
    let dataset = dataset(name);
    let checked = check(&dataset, &Area::whole(), batch(&dataset, header, rows));
    let refused = checked.quarantined.iter().map(|refused| refused.rule.clone());
    let warned = checked.warnings.iter().map(|text| text.split(": ").nth(1).unwrap_or_default().to_owned());
    let found: Vec<String> = refused.chain(warned).collect();
    assert_eq!(
        (checked.batch.num_rows(), checked.duplicates, found.join(" ").as_str()),
        (kept, copies, rules),
        "{rows:?}"
    );
}

#[test]
fn bars_that_cannot_be_true_are_kept_apart() {
    let good = "000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-1.9169,1158366.45,1075742.252";
    for (row, rules) in [
        (good, ""),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-1.9169,115836645,1075742.252", "vwap_in_range"),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-1.9169,1158366.45,1075.742252", "vwap_in_range"),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-1.9169,1158366.45,1075742252", "vwap_in_range"),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-1.9169,0,0", ""),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-1.9169,1158366.45,", ""),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-1.9169,,", "volume_not_null"),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.43,9.39,0.04,0.426,1158366.45,1085742.252", "price_range"),
        ("000001.SZ,20240102,9.39,9.21,9.42,9.21,9.39,-0.18,-1.9169,0,0", "price_range"),
        ("000001.SZ,20240102,9.39,9.42,-9.21,9.21,9.39,-0.18,-1.9169,0,0", "price_range"),
    ] {
        check_rows("daily", BARS, &[row], usize::from(rules.is_empty()), 0, rules);
    }
    for (row, rules) in [
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,0.18,-1.9169,1158366.45,1075742.252", "continuity"),
        ("000001.SZ,20240102,9.39,9.42,9.21,9.21,9.39,-0.18,-0.019169,1158366.45,1075742.252", "continuity"),
    ] {
        check_rows("daily", BARS, &[row, good], 1, 0, &format!("{KEY_CONFLICT} {rules}"));
    }
}

#[test]
fn of_rows_with_one_key_the_best_stays() {
    let header = "ts_code,ann_date,end_date,pre_date,actual_date";
    let (old, new) = ("000001.SZ,20240101,20231231,20240401,", "000001.SZ,20240201,20231231,20240402,");
    let full = "000001.SZ,20240201,20231231,20240402,20240402";
    check_rows("disclosure_date", header, &[old, old, old], 1, 2, "");
    check_rows("disclosure_date", header, &[old, new], 1, 0, KEY_CONFLICT);
    check_rows("disclosure_date", header, &[new, old, new, old], 1, 2, KEY_CONFLICT);
    let dataset = dataset("disclosure_date");
    for rows in [[old, new, full], [full, new, old], [new, full, old]] {
        let checked = check(&dataset, &Area::whole(), batch(&dataset, header, &rows));
        assert_eq!(row_as_json(&dataset, &checked.batch, 0)["actual_date"], "2024-04-02");
        assert_eq!(checked.quarantined.len(), 2);
        assert!(checked.quarantined.iter().all(|refused| refused.row["actual_date"].is_null()));
    }
}

#[test]
fn odd_rows_are_told_and_stay() {
    let margin = "trade_date,exchange_id,rzye,rqye,rzrqye";
    check_rows("margin", margin, &["20240102,SSE,100.5,1.5,102"], 1, 0, "");
    check_rows("margin", margin, &["20240102,SSE,100.5,1.5,103"], 1, 0, "sum_matches");
    let list = "ts_code,symbol,name,list_status,list_date,delist_date";
    check_rows("stock_basic", list, &["000001.SZ,000001,a,L,19910403,"], 1, 0, "");
    check_rows("stock_basic", list, &["000001.SZ,000002,a,L,19910403,"], 1, 0, "code_uniqueness");
    check_rows("stock_basic", list, &["000001.SZ,000001,a,L,,"], 1, 0, "list_date_valid");
    check_rows("stock_basic", list, &["000001.SZ,000001,a,D,19910403,"], 1, 0, "status_consistency");
    check_rows("stock_basic", list, &["000001.SZ,000001,a,D,19910403,19900101"], 1, 0, "list_date_valid");
    let report = "ts_code,ann_date,f_ann_date,end_date,report_type,update_flag";
    check_rows("income_vip", report, &["000001.SZ,20240401,20240401,20231231,1,0"], 1, 0, "");
    check_rows("income_vip", report, &["000001.SZ,20231230,20240401,20231231,1,0"], 1, 0, "report_date_valid");
    check_rows("income_vip", report, &["000001.SZ,20240401,20240331,20231231,1,0"], 1, 0, "report_date_valid");
    check_rows("income_vip", report, &["000001.SZ,20240401,20240401,20231230,1,0"], 1, 0, "report_date_valid");
    let ratios = "ts_code,ann_date,end_date,update_flag,eps,bps,roe,debt_to_assets,assets_to_eqt";
    check_rows("fina_indicator", ratios, &["000001.SZ,20240401,20231231,0,1.5,10,15,50,2"], 1, 0, "");
    check_rows("fina_indicator", ratios, &["000001.SZ,20240401,20231231,0,1.5,10,-15,50,2"], 1, 0, "cross_validation");
    check_rows(
        "fina_indicator",
        ratios,
        &["000001.SZ,20240401,20231231,0,1.5,10,15,50,4"],
        1,
        0,
        "indicator_consistency",
    );
}

#[test]
fn rows_that_answer_another_question_are_refused() {
    let daily = dataset("daily");
    let day = |text: &str| Day::parse(text).unwrap();
    let area = |code: &str, from: &str, to: &str| {
        let securities = if code.is_empty() { Securities::All } else { Securities::one(code) };
        Area::new(securities, Span::new(day(from), day(to)))
    };
    let answer = batch(&daily, BARS, &["000001.SZ,20240102", "000001.SZ,20240103"]);
    for (area, fits) in [
        (area("000001.SZ", "20240101", "20240103"), true),
        (area("", "20240102", "20240103"), true),
        (area("000002.SZ", "20240101", "20240103"), false),
        (area("000001.SZ", "20240103", "20240103"), false),
        (area("", "20240102", "20240102"), false),
        (Area::whole(), true),
    ] {
        let found = belongs(&daily, &area, &answer).map_err(|error| error.kind());
        assert_eq!(found, if fits { Ok(()) } else { Err(ErrorKind::Transient) }, "{area}");
    }
}

#[test]
fn every_rule_of_the_catalogue_exists() {
    for dataset in Catalog::builtin().unwrap().datasets() {
        for name in &dataset.policy.checks {
            assert!(rule(name).is_some(), "{}: {name}", dataset.name);
        }
    }
    assert!(rule("check_price_range").is_some_and(|rule| rule.severity == Severity::Quarantine));
}

/// The CSV files of a tar archive: blocks of 512 bytes, a header before each file.
fn files_in_tar(archive: &[u8]) -> Vec<String> {
    let mut files = Vec::new();
    let mut rest = archive;
    while let Some((header, body)) = rest.split_at_checked(512).filter(|(header, _)| header[0] != 0) {
        let digits: String =
            header[124..136].iter().filter(|byte| byte.is_ascii_digit()).map(|byte| *byte as char).collect();
        let bytes = usize::from_str_radix(&digits, 8).unwrap();
        files.push(String::from_utf8_lossy(&body[..bytes]).into_owned());
        rest = &body[bytes.div_ceil(512) * 512..];
    }
    files
}

#[test]
fn no_real_bar_is_refused() {
    let folder = std::env::var("TIDEGATE_SHARED").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let Ok(file) = std::fs::File::open(folder.join("data/daily/tushare_raw_2019_2020.tar.gz")) else {
        println!("the shared data is not here: nothing was checked");
        return;
    };
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut archive).unwrap();
    let daily = dataset("daily");
    let mut rows = 0;
    for text in files_in_tar(&archive) {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        let bars = batch(&daily, header, &lines.collect::<Vec<_>>());
        rows += bars.num_rows();
        let checked = check(&daily, &Area::whole(), bars);
        assert_eq!((checked.quarantined.len(), checked.duplicates, checked.warnings), (0, 0, Vec::new()));
    }
    assert_eq!(rows, 273_372);
}

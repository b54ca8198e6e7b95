//! The dialect as a whole: queries, refusals, cells, shapes, and what no answer may do.

use std::collections::BTreeMap;

use arrow_array::{Decimal128Array, RecordBatch};

use super::encode::{self, Table};
use super::frame::{self, Limits};
use super::functions::Form;
use super::{Question, Refusal, batch, eastmoney, eastmoney_answer, query, question, refusal, shape};
use crate::model::cell::Cells;
use crate::model::dataset::Cut;
use crate::model::{Area, Dataset, Day, ErrorKind, Instant, Securities, Span};

const BARS: &str = r#"
name = "bars"
title = "Bars"
title_zh = "线"
about = "Bars."
key = ["ts_code", "trade_date"]
security = "ts_code"
time = "trade_date"
shape = "dense"
publish = { at = "17:00", settle_days = 1, refresh_hours = 1 }
policy = { mode = "incremental", schedule = "0 18 * * *", batch = 1, retries = 1, conflict = "replace" }
columns = [
    { name = "ts_code", type = "text", unit = "code", meaning = "m", meaning_zh = "m" },
    { name = "trade_date", type = "date", unit = "date", meaning = "m", meaning_zh = "m" },
    { name = "close", type = "decimal", scale = 4, unit = "CNY", nullable = true, meaning = "m", meaning_zh = "m" },
    { name = "pre_close", type = "decimal", scale = 4, unit = "CNY", nullable = true, meaning = "m", meaning_zh = "m" },
    { name = "vol", type = "decimal", scale = 0, unit = "share", nullable = true, meaning = "m", meaning_zh = "m" },
    { name = "span", type = "text", unit = "text", nullable = true, meaning = "m", meaning_zh = "m" },
]

[[akshare]]
api = "stock_zh_a_hist"
always = { period = "daily" }
cuts = [{ by = "security", security = "symbol", from = "start_date", to = "end_date" }]

[akshare.columns]
ts_code = { field = "股票代码" }
trade_date = { field = "日期" }
close = { field = "收盘" }
pre_close = { field = "收盘 - 涨跌额" }
vol = { field = "成交量", unit = "lot" }
span = { field = "period" }
"#;

fn bars() -> Dataset {
    toml::from_str(BARS).unwrap()
}

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn area() -> Area {
    Area::new(Securities::one("000001.SZ"), Span::new(day("20240102"), day("20240105")))
}

fn asked(proof_days: u32) -> Question {
    let service = &bars().akshare[0];
    question::question(service, &service.cuts[0], &area(), 0, proof_days).unwrap()
}

/// A cell as canonical text; `-` when it is missing.
fn cell(batch: &RecordBatch, row: usize, column: &str) -> String {
    let mut text = Vec::new();
    Cells::of(batch.column_by_name(column).unwrap().as_ref()).unwrap().write(row, 0, &mut text);
    if text.is_empty() { "-".to_string() } else { String::from_utf8(text).unwrap() }
}

/// Rows as `code day close pre_close vol`, or the kind and the text of the error.
fn read(body: &str) -> Result<Vec<String>, String> {
    let dataset = bars();
    let told = |error: crate::model::Error| format!("{}: {error}", error.kind().name());
    let frame = frame::read(body.as_bytes(), Limits { rows_max: 4 }).map_err(told)?;
    let frame = shape::rows("stock_zh_a_hist_like", frame).map_err(told)?;
    let reply = batch(&dataset, &dataset.akshare[0], &asked(10), &area(), &frame).map_err(told)?;
    let names = ["ts_code", "trade_date", "close", "pre_close", "vol"];
    let row = |row| names.map(|name| cell(&reply.batch, row, name)).join(" ");
    let unreadable = reply.unreadable.iter().map(|row| row.reason.clone());
    Ok((0..reply.batch.num_rows()).map(row).chain(unreadable).collect())
}

fn row(day: &str, code: &str, cells: &str) -> String {
    format!(r#"{{"日期":"{day}T00:00:00.000","股票代码":"{code}",{cells}}}"#)
}

#[test]
fn a_question_names_six_digits_and_begins_earlier() {
    let params = asked(10).params;
    let expected = [("end_date", "20240105"), ("period", "daily"), ("start_date", "20231223"), ("symbol", "000001")];
    assert_eq!(params, expected.map(|(name, value)| (name.to_string(), value.to_string())).into());
    assert_eq!(query::write(&params).unwrap(), "end_date=20240105&period=daily&start_date=20231223&symbol=000001");
    let service = &bars().akshare[0];
    let period = Cut::Period { period: "date".to_string() };
    assert!(question::question(service, &period, &area(), 0, 0).is_err());
}

#[test]
fn cells_keep_their_digits_and_convert_once() {
    let cells = r#""收盘":9.21,"涨跌额":-0.18,"成交量":1158366"#;
    let body = format!("[{}]", row("2024-01-02", "000001", cells));
    assert_eq!(read(&body).unwrap(), ["000001.SZ 2024-01-02 9.21 9.39 115836600"]);
    // Days before the wanted ones are the proof, not the answer; missing values stay missing.
    let proof = row("2023-12-29", "000001", r#""收盘":1,"涨跌额":null,"成交量":1"#);
    let missing = row("2024-01-03", "000001", r#""收盘":9.20,"涨跌额":null,"成交量":null"#);
    assert_eq!(read(&format!("[{proof},{missing}]")).unwrap(), ["000001.SZ 2024-01-03 9.2 - -"]);
    assert_eq!(read(&format!("[{proof}]")).unwrap(), [""; 0]);
    // More digits than a double holds.
    let long = row("2024-01-02", "000001", r#""收盘":90071992547409.9317,"涨跌额":0.0001,"成交量":90071992547409931"#);
    assert_eq!(
        read(&format!("[{long}]")).unwrap(),
        ["000001.SZ 2024-01-02 90071992547409.9317 90071992547409.9316 9007199254740993100"]
    );
}

#[test]
fn what_is_no_answer_is_named() {
    let good = row("2024-01-02", "000001", r#""收盘":1,"涨跌额":0,"成交量":1"#);
    let other = row("2024-01-02", "600000", r#""收盘":1,"涨跌额":0,"成交量":1"#);
    let late = row("2024-01-08", "000001", r#""收盘":1,"涨跌额":0,"成交量":1"#);
    for (body, expected) in [
        ("[]".to_string(), "transient: stock_zh_a_hist answered no row"),
        (format!("[{good}"), "transient: the answer is cut off"),
        (format!("[{good},{{\"日期\":1}} x"), "transient: the answer is not what"),
        ("<html>".to_string(), "transient: the answer is a page of HTML"),
        ("{\"error\":\"x\"}".to_string(), "transient: the answer is not what"),
        ("[1,2]".to_string(), "transient: the answer is not what"),
        (format!("[{other}]"), "transient: asked stock_zh_a_hist, the answer holds 1 rows of other securities"),
        (format!("[{late}]"), "transient: asked stock_zh_a_hist, the answer holds 1 rows of other days"),
        (format!("[{}]", [good.as_str(); 5].join(",")), "invalid: the answer holds more than 4 rows"),
        ("[{\"日期\":\"2024-01-02\"}]".to_string(), "transient: the answer lacks the field 股票代码"),
    ] {
        let found = read(&body).unwrap_err();
        assert!(found.starts_with(expected), "{body}: {found}");
    }
    assert!(frame::read(b"[{\"\xb9\xc9\":1}]", Limits::default()).is_err());
    // A cell that cannot be read makes its row unreadable, never the answer.
    let broken = row("2024-01-03", "000001", r#""收盘":"x","涨跌额":0,"成交量":1"#);
    let found = read(&format!("[{good},{broken}]")).unwrap();
    assert_eq!(found, ["000001.SZ 2024-01-02 1 1 100", "column close cannot be read"]);
}

#[test]
fn queries_are_read_with_the_odd_rules_of_the_service() {
    let params = |pairs: &[(&str, &str)]| {
        Ok(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<BTreeMap<_, _>>())
    };
    for (text, expected) in [
        ("", params(&[])),
        ("symbol=000001&period=daily", params(&[("symbol", "000001"), ("period", "daily")])),
        ("symbol=%E5%B9%B3", params(&[("symbol", "平")])),
        ("a=one+two%20three%2Bfour", params(&[("a", "one two three four")])),
        // Decoded first, cut afterwards.
        ("a=1%26b%3D2", params(&[("a", "1"), ("b", "2")])),
        ("a=1%3D2", Err(Refusal::Fault)),
        ("a=1&a=2", Err(Refusal::Fault)),
        ("a=%22x%22", Err(Refusal::Fault)),
        ("a=x%5C", Err(Refusal::Fault)),
        ("cookie=a=b&c=d", params(&[("cookie", "a=b&c=d")])),
        ("a=年", Err(Refusal::NotHttp)),
        ("adjust=", params(&[("adjust", "")])),
    ] {
        assert_eq!(query::read(text), expected, "{text}");
    }
    for value in ["a&b", "a=b", "a\"b", "a\\b", "a+b", "a'b", "a\nb"] {
        let error = query::write(&BTreeMap::from([("a".to_string(), value.to_string())])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{value}");
    }
    let chinese = BTreeMap::from([("symbol".to_string(), "沪深A股 x".to_string())]);
    assert_eq!(query::read(&query::write(&chinese).unwrap()), Ok(chinese));
}

#[test]
fn what_the_mirror_refuses_the_client_understands() {
    let now = Instant::parse("2024-01-31T18:00:00+08:00").unwrap();
    for (refusal, status, kind, whole_source) in [
        (Refusal::UnknownFunction, 404, ErrorKind::NotFound, false),
        (Refusal::Nothing, 404, ErrorKind::Transient, false),
        (Refusal::Key("hourly".to_string()), 404, ErrorKind::Transient, false),
        (Refusal::NotFound, 404, ErrorKind::Invalid, true),
        (Refusal::Fault, 500, ErrorKind::Transient, false),
        (Refusal::NotHttp, 400, ErrorKind::Invalid, false),
        (Refusal::NotAuthenticated, 401, ErrorKind::Denied, true),
        (Refusal::WrongToken, 401, ErrorKind::Denied, true),
    ] {
        assert_eq!(refusal.status(), status, "{refusal:?}");
        let error = refusal::check(status, None, refusal.body().as_bytes(), now).unwrap_err();
        assert_eq!((error.kind(), error.whole_source()), (kind, whole_source), "{refusal:?}: {error}");
    }
    let until = Instant::parse("2024-01-31T18:00:09+08:00");
    let throttled = refusal::check(429, Some(9), b"", now).unwrap_err();
    assert_eq!(throttled.kind(), ErrorKind::Throttled { until });
    assert!(refusal::check(200, None, b"[]", now).is_ok());
}

#[test]
fn values_are_written_as_pandas_does() {
    for (text, expected) in [
        ("12", "12.0"),
        ("12.50", "12.5"),
        ("-0.12345678905", "-0.123456789"),
        ("1234567890.1234567890123", "1234567890.123456789"),
        ("nan", "null"),
    ] {
        assert_eq!(encode::number(text), expected, "{text}");
    }
    let shares = Decimal128Array::from(vec![Some(115_836_650), None]).with_precision_and_scale(38, 0).unwrap();
    let cells = Cells::of(&shares).unwrap();
    for (form, expected) in [(Form::Integer, "1158366"), (Form::Number, "1158366.5")] {
        assert_eq!(encode::cell(&cells, 0, 2, form), expected);
        assert_eq!(encode::cell(&cells, 1, 2, form), "null");
    }
    let mut table = Table::new(["日期", "a\"b"]);
    table.rows.push(vec!["1".to_string(), "null".to_string()]);
    table.rows.push(vec!["2".to_string(), "0.5".to_string()]);
    assert_eq!(String::from_utf8(table.json()).unwrap(), r#"[{"日期":1,"a\"b":null},{"日期":2,"a\"b":0.5}]"#);
}

#[test]
fn shapes_are_the_inverse_of_each_other() {
    let mut long = Table::new(["选项", "指标", "报告期", "值"]);
    for (section, indicator, day, value) in [
        ("常用指标", "净利润", "20231231", "1.5"),
        ("常用指标", "净利润", "20240331", "2.0"),
        ("每股指标", "净利润", "20240331", "3.0"),
    ] {
        let period = format!("\"{}T00:00:00.000\"", self::day(day));
        long.rows.push(vec![encode::quoted(section), encode::quoted(indicator), period, value.to_string()]);
    }
    let wide = long.into_periods();
    assert_eq!(wide.fields, ["选项", "指标", "20240331", "20231231"]);
    let body = wide.json();
    let frame = frame::read(&body, Limits::default()).unwrap();
    let back = shape::rows("stock_financial_abstract", frame).unwrap();
    let cells: Vec<String> = back.rows().map(|row| row.join(" ")).collect();
    assert_eq!(
        cells,
        [
            "\"常用指标\" \"净利润\" \"20240331\" 2.0",
            "\"常用指标\" \"净利润\" \"20231231\" 1.5",
            "\"每股指标\" \"净利润\" \"20240331\" 3.0"
        ]
    );
    let items = br#"[{"item":"x","value":1},{"item":"y","value":"z"}]"#;
    let one = shape::rows("stock_individual_info_em", frame::read(items, Limits::default()).unwrap()).unwrap();
    assert_eq!((one.fields.join(","), one.row_count()), ("x,y".to_string(), 1));
    // Until December there is no telling whether the days after the last one are closed.
    let days = br#"[{"trade_date":"2024-06-28T00:00:00.000"},{"trade_date":"2024-07-01"}]"#;
    let calendar = shape::rows("tool_trade_date_hist_sina", frame::read(days, Limits::default()).unwrap()).unwrap();
    assert_eq!(calendar.row_count(), 8);
}

#[test]
fn a_captured_page_of_bars_is_read() {
    let body = br#"{"rc":0,"rt":17,"svr":177617938,"lt":1,"full":0,"dlmkts":"","dsc":"0","data":{"code":"000001","market":0,"name":"\u5e73\u5b89","decimal":2,"dktotal":4621,"preKPrice":6.08,"klines":["2024-01-02,9.39,9.21,9.42,9.20,1158366,1075742252.45,2.34,-1.92,-0.18,0.60","2024-01-03,9.19,-,9.22,9.15,733610,673673613.54,0.76,-0.11,-0.01,0.38"]}}"#;
    let dataset = bars();
    let asked = asked(0);
    let answer = eastmoney::read(&asked, 0, body, Limits::default()).unwrap();
    let reply = batch(&dataset, &dataset.akshare[0], &asked, &area(), &answer.frame).unwrap();
    for (row, column, expected) in [(0, "pre_close", "9.39"), (0, "vol", "115836600"), (1, "close", "-")] {
        assert_eq!(cell(&reply.batch, row, column), expected, "{column}");
    }
    for (from, to) in [
        ("\"code\":\"000001\"", "\"code\":\"600000\""),
        ("\"market\":0", "\"market\":1"),
        ("0.60\"", "0.60,\"],\"x\":[\""),
        ("9.39,9.21,9.42,9.20,1158366,", "9.39,"),
        ("2024-01-02,", "2024-02-02,"),
    ] {
        let text = String::from_utf8_lossy(body);
        assert!(text.contains(from));
        let changed = text.replacen(from, to, 1);
        let read = eastmoney::read(&asked, 0, changed.as_bytes(), Limits::default());
        let read = read.and_then(|answer| batch(&dataset, &dataset.akshare[0], &asked, &area(), &answer.frame));
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Transient, "{to}");
    }
    for empty in [r#"{"rc":102,"data":null}"#, r#"{"rc":0,"data":{"code":"000001","klines":[]}}"#] {
        let error = eastmoney::read(&asked, 0, empty.as_bytes(), Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{empty}");
    }
}

#[test]
fn requests_of_pages_are_understood_by_the_other_side() {
    let of = |api: &str, pairs: &[(&str, &str)], code: Option<&str>| Question {
        api: api.to_string(),
        params: pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        code: code.map(str::to_string),
        asked: Span::ALL,
    };
    let hist = [("symbol", "600000"), ("period", "weekly"), ("start_date", "20240101"), ("end_date", "20240131")];
    for (question, offset, page) in [
        (of("stock_zh_a_hist", &hist, Some("600000.SH")), 0, 1),
        (of("stock_zh_a_spot_em", &[], None), 200, 3),
        (of("stock_info_a_code_name", &[], None), 0, 1),
        (of("stock_yjbb_em", &[("date", "20231231")], None), 500, 2),
        (of("stock_yjyg_em", &[("date", "20231231")], None), 0, 1),
        (of("stock_yysj_em", &[("date", "20231231"), ("symbol", "沪深A股")], None), 0, 1),
    ] {
        let request = eastmoney::request(&question, offset).unwrap();
        let (path, query) = request.path.split_once('?').unwrap();
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
        let pairs = pairs.map(|(name, value)| (name.to_string(), decoded(value))).collect();
        let asked = eastmoney_answer::read(path, &pairs).unwrap();
        assert_eq!((asked.function, &asked.params, asked.page), (question.api.as_str(), &question.params, page));
    }
    assert!(eastmoney::request(&of("stock_financial_abstract", &[], None), 0).is_err());
}

#[test]
fn pages_of_lists_are_whole_or_refused() {
    let question =
        Question { api: "stock_info_a_code_name".to_string(), params: BTreeMap::new(), code: None, asked: Span::ALL };
    let page = |total: u64, rows: usize| {
        let rows = vec![r#"{"f12":"000001","f14":"x"}"#; rows].join(",");
        let body = format!(r#"{{"rc":0,"data":{{"total":{total},"diff":[{rows}]}}}}"#);
        eastmoney::read(&question, 0, body.as_bytes(), Limits::default()).map(|answer| answer.more)
    };
    assert!(page(250, 100).unwrap());
    assert!(!page(100, 100).unwrap());
    for (total, rows) in [(250, 99), (250, 0), (0, 0), (u64::MAX, 100)] {
        assert_eq!(page(total, rows).unwrap_err().kind(), ErrorKind::Transient, "{total} {rows}");
    }
}

/// Whatever arrives, the readers end with an answer or an error.
#[test]
fn no_body_makes_a_reader_panic() {
    let captured =
        r#"[{"日期":"2024-01-02T00:00:00.000","股票代码":"000001","收盘":9.21,"涨跌额":-0.18,"成交量":1158366}]"#;
    let page =
        r#"cb({"rc":0,"data":{"code":"000001","market":0,"klines":["2024-01-02,9.39,9.21,9.42,9.20,1,1,2,1,0,0"]}});"#;
    let asked = asked(0);
    let mut seed = 0x9E37_79B9u64;
    for text in [captured, page] {
        for _ in 0..3000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..1 + seed % 3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (seed >> 33) as usize % bytes.len();
                match seed >> 62 {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = (seed >> 20) as u8,
                    2 => bytes[at] = b"[]{}\",:-0"[(seed >> 20) as usize % 9],
                    _ => bytes.insert(at, b'"'),
                }
            }
            let _ = read(&String::from_utf8_lossy(&bytes));
            let _ = eastmoney::read(&asked, 0, &bytes, Limits::default());
            let _ = refusal::check(404, None, &bytes, Instant(0));
            let _ = query::read(&String::from_utf8_lossy(&bytes));
        }
    }
}

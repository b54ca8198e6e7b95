//! Both directions against each other and against vectors of the real service.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampSecondType};
use arrow_array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampSecondArray,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Limits, Reply, decode, encode};
use crate::dialect::row_hash::fill_row_hash;
use crate::model::{Dataset, Error, ErrorKind, Instant, Result};

/// A table with a column of every kind.
fn dataset() -> Dataset {
    let columns = [
        "name = 'ts_code'\ntype = 'text'\nunit = ''",
        "name = 'day'\ntype = 'date'\nunit = ''",
        "name = 'reason'\ntype = 'text'\nunit = ''\nnullable = true",
        "name = 'row_hash'\ntype = 'text'\nunit = ''\nderived = 'row_hash'",
        "name = 'at'\ntype = 'datetime'\nunit = ''\nnullable = true",
        "name = 'is_open'\ntype = 'text'\nunit = ''\nnullable = true\ntushare_form = 'integer'",
        "name = 'count'\ntype = 'int'\nunit = ''\nnullable = true",
        "name = 'vol'\ntype = 'decimal'\nscale = 0\nunit = 'share'\ntushare_unit = 'lot'\nnullable = true",
        "name = 'amount'\ntype = 'decimal'\nscale = 2\nunit = 'CNY'\ntushare_unit = 'CNY_1k'\nnullable = true",
        "name = 'quoted'\ntype = 'decimal'\nscale = 4\nunit = ''\ntushare_form = 'text'\nnullable = true",
        "name = 'macd'\ntype = 'float'\nunit = ''\nnullable = true",
        "name = 'note'\ntype = 'text'\nunit = ''\nnullable = true",
    ];
    let mut text = "name = 'all_kinds'\ntitle = ''\ntitle_zh = ''\nabout = ''\nshape = 'dense'\n\
        key = ['ts_code', 'day', 'reason', 'row_hash']\nsecurity = 'ts_code'\ntime = 'day'\n\
        publish = { at = '17:00', settle_days = 1, refresh_hours = 1 }\n\
        policy = { mode = 'incremental', schedule = 'continuous', batch = 1, retries = 1, conflict = 'replace' }\n"
        .to_string();
    for column in columns {
        text += &format!("[[columns]]\nmeaning = ''\nmeaning_zh = ''\n{column}\n");
    }
    toml::from_str(&text).unwrap()
}

fn now() -> Instant {
    Instant::parse("2024-01-31T18:00:00+08:00").unwrap()
}

fn read(body: &str) -> Result<Reply> {
    decode(&dataset(), body.as_bytes(), Limits { rows_max: 100 }, now())
}

/// An answer with these columns beside the key.
fn with_cells(fields: &str, rows: &[&str]) -> String {
    let reason = if fields.contains("reason") { "" } else { ",null" };
    let fields = format!("ts_code day {} {fields}", if reason.is_empty() { "" } else { "reason" });
    let fields = fields.split_whitespace().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
    let rows = rows.iter().map(|cells| format!("[\"000001.SZ\",\"20240102\"{reason}{cells}]")).collect::<Vec<_>>();
    format!("{{\"code\":0,\"data\":{{\"items\":[{}],\"fields\":[{fields}]}},\"msg\":null}}", rows.join(","))
}

/// The value of a cell as canonical text.
fn shown(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let values = batch.column_by_name(name).unwrap();
    if values.is_null(row) {
        return None;
    }
    let dataset = dataset();
    Some(match dataset.column(name).unwrap().kind {
        crate::model::ColumnType::Text => values.as_string::<i32>().value(row).to_string(),
        crate::model::ColumnType::Date => values.as_primitive::<Date32Type>().value(row).to_string(),
        crate::model::ColumnType::Datetime => values.as_primitive::<TimestampSecondType>().value(row).to_string(),
        crate::model::ColumnType::Int => values.as_primitive::<Int64Type>().value(row).to_string(),
        crate::model::ColumnType::Decimal => values.as_primitive::<Decimal128Type>().value(row).to_string(),
        crate::model::ColumnType::Float => values.as_primitive::<Float64Type>().value(row).to_string(),
    })
}

#[test]
fn every_form_of_a_value_is_read() {
    for (column, cell, expected) in [
        ("vol", "525152.77", Ok(Some("52515277"))),
        ("vol", "\"525152.77\"", Ok(Some("52515277"))),
        ("vol", "5.2515277e5", Ok(Some("52515277"))),
        ("vol", "null", Ok(None)),
        ("vol", "\"\"", Ok(None)),
        ("vol", "\"NaN\"", Ok(None)),
        ("vol", "\"None\"", Ok(None)),
        ("vol", "\"many\"", Err("column vol cannot be read")),
        ("vol", "true", Err("column vol cannot be read")),
        ("vol", "[1]", Err("column vol cannot be read")),
        ("amount", "460697.377", Ok(Some("46069737700"))),
        ("amount", "-0.21340000000000003", Ok(Some("-21340"))),
        ("quoted", "\" 244809.28 \"", Ok(Some("2448092800"))),
        ("quoted", "12345678901234567890.1234", Ok(Some("123456789012345678901234"))),
        ("count", "12.0", Ok(Some("12"))),
        ("count", "12.5", Err("column count cannot be read")),
        ("count", "\"7\"", Ok(Some("7"))),
        ("macd", "-1.5e-3", Ok(Some("-0.0015"))),
        ("macd", "1e999", Err("column macd cannot be read")),
        ("is_open", "1", Ok(Some("1"))),
        ("is_open", "\"1\"", Ok(Some("1"))),
        ("note", "\"\"", Ok(Some(""))),
        ("note", "null", Ok(None)),
        ("note", "\"NaN\"", Ok(Some("NaN"))),
        ("note", r#""a\"b\\c\u4e07\n""#, Ok(Some("a\"b\\c万\n"))),
        ("note", "\"万 科Ａ\"", Ok(Some("万 科Ａ"))),
        ("reason", "null", Ok(Some(""))),
        ("at", "\"2024-01-31 18:00:01\"", Ok(Some("1706695201"))),
        ("at", "\"20240131\"", Err("column at cannot be read")),
    ] {
        let reply = read(&with_cells(column, &[&format!(", {cell}")])).unwrap();
        assert_eq!(reply.row_count, 1);
        let found = match reply.unreadable.first() {
            Some(quarantined) => Err(quarantined.reason.as_str()),
            None => Ok(shown(&reply.batch, column, 0)),
        };
        assert_eq!(found, expected.map(|text| text.map(str::to_string)), "{column} {cell}");
    }
}

#[test]
fn an_unreadable_cell_costs_its_row_and_no_other() {
    let rows = [",1,\"x\"", ",\"one\",\"y\"", ",3,\"z\"", ",4"];
    let reply = read(&with_cells("count note", &rows)).unwrap();
    assert_eq!(reply.row_count, 4);
    let notes: Vec<_> = (0..reply.batch.num_rows()).map(|row| shown(&reply.batch, "note", row).unwrap()).collect();
    assert_eq!(notes, ["x", "z"]);
    let kept: Vec<_> = reply.unreadable.iter().map(|row| (row.rule.as_str(), row.reason.as_str(), &row.row)).collect();
    let whole = json!({"ts_code": "000001.SZ", "day": "20240102", "reason": null, "count": "one", "note": "y"});
    let short = json!({"row": ["000001.SZ", "20240102", null, 4]});
    assert_eq!(
        kept,
        [
            ("readable", "column count cannot be read", &whole),
            ("readable", "the row has 4 cells and the answer 5 columns", &short),
        ]
    );
}

#[test]
fn a_row_without_its_key_is_kept_apart() {
    let body = r#"{"code":0,"data":{"fields":["day","ts_code","reason"],
        "items":[[null,"a",""],["20240102",null,""],7,["20240230","b",""]]}}"#;
    let reply = read(body).unwrap();
    let reasons: Vec<_> = reply.unreadable.iter().map(|row| row.reason.as_str()).collect();
    let (missing, unreadable) = ("column day has no value", "column day cannot be read");
    assert_eq!(reasons, [missing, "the row has 0 cells and the answer 3 columns", unreadable]);
    assert_eq!((reply.batch.num_rows(), shown(&reply.batch, "ts_code", 0).as_deref()), (1, Some("")));
}

#[test]
fn what_is_no_whole_answer_is_refused_as_a_whole() {
    let good = with_cells("note", &[",\"x\"", ",\"y\""]);
    assert_eq!(read(&good).unwrap().has_more, None);
    for end in 1..good.len() {
        let error = read(&good[..end]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "cut after {end} bytes");
    }
    for (body, kind) in [
        ("<html>busy</html>", "transient"),
        ("[]", "transient"),
        ("{}", "transient"),
        (r#"{"code":0,"msg":""}"#, "transient"),
        (r#"{"code":0,"data":null}"#, "transient"),
        (r#"{"code":0,"data":{"fields":["ts_code","day","reason"]}}"#, "transient"),
        (r#"{"code":0,"data":{"fields":["ts_code","day","reason"],"items":{}}}"#, "transient"),
        (r#"{"code":0,"data":{"fields":["ts_code","day"],"items":[]}}"#, "transient"),
        (r#"{"code":0,"data":{"fields":[],"items":[]}}"#, "transient"),
        (r#"{"code":40101,"msg":"您的token不对，请确认。","data":null}"#, "denied"),
        (r#"{"code":40101,"msg":"您的token不对，请确认。","data":"","detail":null}"#, "denied"),
        (r#"{"msg":null,"code":7}"#, "transient"),
    ] {
        assert_eq!(read(body).map(|_| ()).map_err(|error: Error| error.kind().name()), Err(kind), "{body}");
    }
    let long = with_cells("", &[""; 101]);
    assert_eq!(read(&long).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn columns_are_found_by_name_and_unknown_ones_passed_over() {
    let body = r#" { "data" : { "has_more" : true, "count" : 7, "items" : [
        [ {"a":[1,"]"]}, 1.5 , "20240102","000001.SZ", ""] ,
        [null,null,"20240103","000001.SZ",null]] , "fields" : ["extra","vol","day","ts_code","reason"] },
        "code":0, "msg":"", "detail":[] } "#;
    let reply = read(body).unwrap();
    assert_eq!((reply.has_more, reply.row_count, reply.unreadable.len()), (Some(true), 2, 0));
    assert_eq!(shown(&reply.batch, "vol", 0).as_deref(), Some("150"));
    assert_eq!(shown(&reply.batch, "note", 0), None);
    assert_eq!(reply.batch.schema(), dataset().schema());
}

#[test]
fn an_answer_is_written_as_the_service_writes_it() {
    let body = with_cells(
        "reason at is_open count vol amount quoted macd note",
        &[",null,\"2024-01-31 18:00:01\",1,5,525152.77,460697.377,\"244809.28\",0.5,\"a\\\"b\""],
    );
    let dataset = dataset();
    let reply = read(&body).unwrap();
    let columns: Vec<usize> = (0..dataset.columns.len()).filter(|index| *index != 3).collect();
    let written = encode(&dataset, &columns, &[reply.batch.project(&columns).unwrap()], 10, false, "id").unwrap();
    assert_eq!(
        String::from_utf8(written).unwrap(),
        "{\"request_id\":\"id\",\"code\":0,\"msg\":\"\",\"data\":{\"fields\":[\"ts_code\",\"day\",\"reason\",\"at\",\
         \"is_open\",\"count\",\"vol\",\"amount\",\"quoted\",\"macd\",\"note\"],\"items\":[[\"000001.SZ\",\"20240102\",\
         null,\"2024-01-31 18:00:01\",1,5,525152.77,460697.377,\"244809.28\",0.5,\"a\\\"b\"]],\
         \"has_more\":false,\"count\":-1}}"
    );
}

#[test]
fn the_row_hash_tells_rows_apart_and_stays_the_same() {
    let hash = |cells: &str| shown(&read(&with_cells("vol note", &[cells])).unwrap().batch, "row_hash", 0).unwrap();
    let reference = hash(",1.5,\"x\"");
    assert_eq!(reference, "c50b51061ea7586b");
    assert_eq!(reference, hash(",\"1.50\",\"x\""));
    for other in [",1.6,\"x\"", ",1.5,\"\"", ",1.5,null", ",null,\"x\""] {
        assert_ne!(reference, hash(other), "{other}");
    }
    assert_ne!(hash(",1.5,\"\""), hash(",1.5,null"));
}

/// One row's values in canonical form.
#[derive(Clone, Debug)]
struct Row {
    code: String,
    day: i32,
    reason: String,
    at: Option<i64>,
    is_open: Option<u8>,
    count: Option<i64>,
    decimals: [Option<i64>; 3],
    macd: Option<f64>,
    note: Option<String>,
}

prop_compose! {
    fn row()(
        code in "[0-9]{6}\\.(SZ|SH|BJ)", day in -700_000i32..2_900_000, reason in ".{0,6}",
        at in proptest::option::of(-60_000_000_000i64..250_000_000_000),
        is_open in proptest::option::of(0u8..3), count in proptest::option::of(any::<i64>()),
        decimals in any::<[Option<i64>; 3]>(),
        macd in proptest::option::of(proptest::num::f64::NORMAL | proptest::num::f64::ZERO),
        note in proptest::option::of("(?s).{0,8}"),
    ) -> Row {
        Row { code, day, reason, at, is_open, count, decimals, macd, note }
    }
}

fn batch_of(dataset: &Dataset, rows: &[Row]) -> RecordBatch {
    let decimal = |index: usize, scale| -> ArrayRef {
        let values = rows.iter().map(|row| row.decimals[index].map(i128::from));
        Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(38, scale).unwrap())
    };
    let at = TimestampSecondArray::from_iter(rows.iter().map(|row| row.at)).with_timezone("+08:00");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.code))),
        Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| row.day))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.reason))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| ""))),
        Arc::new(at),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.is_open.map(|value| value.to_string())))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.count))),
        decimal(0, 0),
        decimal(1, 2),
        decimal(2, 4),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.macd))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.note.clone()))),
    ];
    fill_row_hash(dataset, RecordBatch::try_new(dataset.schema(), columns).unwrap())
}

/// The answer with its columns in another order, numbers in quotes and an unknown column among them.
fn disguised(body: &[u8], turn: usize) -> Vec<u8> {
    let mut reply: Value = serde_json::from_slice(body).unwrap();
    let mut fields = reply["data"]["fields"].as_array().unwrap().clone();
    let quote = |value: Value| if value.is_i64() { Value::String(value.to_string()) } else { value };
    let rotate = |cells: &mut Vec<Value>| {
        cells.push(Value::String("extra".to_string()));
        let turn = turn % cells.len();
        cells.rotate_left(turn);
    };
    let rows = reply["data"]["items"].as_array_mut().unwrap();
    for cells in rows.iter_mut().map(|row| row.as_array_mut().unwrap()) {
        *cells = cells.drain(..).map(quote).collect();
        rotate(cells);
    }
    rotate(&mut fields);
    reply["data"]["fields"] = Value::Array(fields);
    serde_json::to_vec_pretty(&reply).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back_the_same(
        rows in proptest::collection::vec(row(), 0..12), split in 0usize..12, more in any::<bool>(),
    ) {
        let dataset = dataset();
        let batch = batch_of(&dataset, &rows);
        let columns: Vec<usize> = (0..dataset.columns.len()).filter(|index| *index != 3).collect();
        let sent = batch.project(&columns).unwrap();
        let split = split.min(rows.len());
        let parts = [sent.slice(0, split), sent.slice(split, rows.len() - split)];
        let body = encode(&dataset, &columns, &parts, rows.len(), more, "id").unwrap();
        let reply = decode(&dataset, &body, Limits::default(), now()).unwrap();
        prop_assert_eq!(&reply.batch, &batch);
        prop_assert_eq!((reply.has_more, reply.row_count), (Some(more), rows.len() as u64));
        prop_assert!(reply.unreadable.is_empty());
    }

    #[test]
    fn order_quotes_and_unknown_columns_change_nothing(
        rows in proptest::collection::vec(row(), 0..6), turn in 0usize..12,
    ) {
        let dataset = dataset();
        // The disguise passes numbers through doubles, so only such as those hold exactly are used.
        let small = |row: Row| {
            let decimals = row.decimals.map(|value| value.map(|value| value % 1_000_000));
            Row { decimals, macd: row.macd.map(|value| (value % 1e6).trunc() / 4.0), ..row }
        };
        let rows: Vec<Row> = rows.into_iter().map(small).collect();
        let batch = batch_of(&dataset, &rows);
        let columns: Vec<usize> = (0..dataset.columns.len()).filter(|index| *index != 3).collect();
        let body = encode(&dataset, &columns, &[batch.project(&columns).unwrap()], rows.len(), false, "id").unwrap();
        let reply = decode(&dataset, &disguised(&body, turn), Limits::default(), now()).unwrap();
        prop_assert_eq!(reply.batch, batch);
    }

    #[test]
    fn no_bytes_break_the_reader(body in proptest::collection::vec(any::<u8>(), 0..200), cells in ".{0,40}") {
        let _ = decode(&dataset(), &body, Limits::default(), now());
        let _ = read(&with_cells("note", &[&cells]));
    }
}

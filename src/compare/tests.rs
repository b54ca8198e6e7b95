//! Every way in which two sides differ, as tables.

use std::sync::Arc;

use arrow_array::builder::{Date32Builder, Decimal128Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};

use super::*;

/// Two prices, a volume in shares and a factor, by security and day.
fn bars() -> Dataset {
    toml::from_str(
        r#"
        name = "bars"
        title = ""
        title_zh = ""
        about = ""
        key = ["ts_code", "trade_date"]
        security = "ts_code"
        time = "trade_date"
        shape = "dense"
        columns = [
            { name = "ts_code", type = "text", unit = "", meaning = "", meaning_zh = "" },
            { name = "trade_date", type = "date", unit = "", meaning = "", meaning_zh = "" },
            { name = "close", type = "decimal", scale = 4, unit = "CNY", meaning = "", meaning_zh = "", nullable = true },
            { name = "vol", type = "decimal", scale = 4, unit = "share", meaning = "", meaning_zh = "", nullable = true },
            { name = "adj_factor", type = "decimal", scale = 4, unit = "", meaning = "", meaning_zh = "", nullable = true },
        ]
        [publish]
        at = "16:00"
        settle_days = 1
        refresh_hours = 4
        [policy]
        mode = "incremental"
        schedule = "0 16 * * *"
        batch = 5000
        retries = 3
        conflict = "replace"
        [[akshare]]
        api = "stock_zh_a_hist"
        cuts = []
        columns = { close = { field = "c" }, vol = { field = "v", unit = "lot", agrees = "rounded" } }
        "#,
    )
    .unwrap()
}

/// Close, volume and factor by day; `NAN` is missing.
fn batch(rows: &[[f64; 3]]) -> RecordBatch {
    let (mut codes, mut days) = (StringBuilder::new(), Date32Builder::new());
    let decimal = || Decimal128Builder::new().with_precision_and_scale(38, 4).unwrap();
    let mut values = [decimal(), decimal(), decimal()];
    for (index, row) in rows.iter().enumerate() {
        codes.append_value("600000.SH");
        days.append_value(index as i32);
        for (builder, value) in values.iter_mut().zip(row) {
            builder.append_option((!value.is_nan()).then(|| (value * 10_000.0).round() as i128));
        }
    }
    let mut columns: Vec<ArrayRef> = vec![Arc::new(codes.finish()), Arc::new(days.finish())];
    columns.extend(values.map(|mut builder| Arc::new(builder.finish()) as ArrayRef));
    RecordBatch::try_new(bars().schema(), columns).unwrap()
}

/// Forty days of a true side, and what another makes of each of them.
fn found(column: &str, name: &str, change: impl Fn(usize, [f64; 3]) -> [f64; 3]) -> ColumnReport {
    let truth =
        |day: usize| [10.0 + (day * 7 % 40) as f64 / 100.0, 123_457.0 + day as f64 * 4_913.0, 1.0 + (day / 20) as f64];
    let left: Vec<[f64; 3]> = (0..40).map(truth).collect();
    let right: Vec<[f64; 3]> = left.iter().enumerate().map(|(day, row)| change(day, *row)).collect();
    let (left, right) = (batch(&left), batch(&right));
    let wanted = Wanted { examples_max: 3, columns: vec![column.to_owned()] };
    let report = compare(&bars(), Side { name: "tushare", batch: &left }, Side { name, batch: &right }, &wanted);
    report.columns[0].clone()
}

#[test]
fn each_way_in_which_sides_differ_is_counted_and_named() {
    type Change = fn(usize, [f64; 3]) -> [f64; 3];
    /// What is different, the column, the right side, how it differs; equal, rounding and different; the cause.
    type Case = (&'static str, &'static str, &'static str, Change, [u64; 3], Option<&'static str>);
    let cases: [Case; 12] = [
        ("the same", "close", "x", |_, row| row, [40, 0, 0], None),
        ("lots", "vol", "x", |_, [c, v, f]| [c, v / 100.0, f], [0, 0, 40], Some("unit")),
        ("shares as lots", "vol", "x", |_, [c, v, f]| [c, v * 100.0, f], [0, 0, 40], Some("unit")),
        ("whole lots", "vol", "x", |_, [c, v, f]| [c, (v / 100.0).floor() * 100.0, f], [1, 39, 0], None),
        ("rounded to lots, declared", "vol", "akshare", |_, [c, v, f]| [c, v + 50.0, f], [0, 40, 0], None),
        ("more than declared", "vol", "akshare", |_, [c, v, f]| [c, v + 5_000.0, f], [0, 0, 40], Some("subtraction")),
        ("opposed", "close", "x", |_, [c, v, f]| [-c, v, f], [0, 0, 40], Some("sign")),
        (
            "adjusted by factors",
            "close",
            "x",
            |day, [c, v, f]| [c * if day < 25 { 0.8123 } else { 1.0 }, v, f],
            [15, 0, 25],
            Some("adjustment"),
        ),
        (
            "adjusted by subtraction",
            "close",
            "x",
            |day, [c, v, f]| [c - if day < 25 { 9.5 } else { 0.0 }, v, f],
            [15, 0, 25],
            Some("subtraction"),
        ),
        (
            "one bad value",
            "close",
            "x",
            |day, [c, v, f]| [if day == 7 { c + 0.01 } else { c }, v, f],
            [39, 0, 1],
            Some("scattered"),
        ),
        ("factors on another base", "adj_factor", "x", |_, [c, v, f]| [c, v, f * 3.5], [40, 0, 0], None),
        (
            "a factor that steps too early",
            "adj_factor",
            "x",
            |day, [c, v, f]| [c, v, if day == 19 { 2.0 } else { f }],
            [39, 0, 1],
            Some("scattered"),
        ),
    ];
    for (name, column, side, change, [equal, rounding, different], cause) in cases {
        let report = found(column, side, change);
        let counts = (report.compared, report.equal, report.rounding, report.different);
        assert_eq!(counts, (40, equal, rounding, different), "{name}: {report:?}");
        assert_eq!(report.cause.as_ref().map(Cause::name), cause, "{name}: {report:?}");
        assert_eq!(report.examples.len() as u64, different.min(3), "{name}");
    }
}

#[test]
fn the_factor_of_a_unit_and_its_side_are_named() {
    let lots = found("vol", "x", |_, [close, vol, factor]| [close, vol / 100.0, factor]);
    assert_eq!(lots.cause.unwrap().to_string(), "unit: the left side is x100");
    let shares = found("vol", "x", |_, [close, vol, factor]| [close, vol * 1000.0, factor]);
    assert_eq!(shares.cause.unwrap().to_string(), "unit: the right side is x1000");
}

#[test]
fn rows_and_values_that_one_side_lacks_are_counted_on_the_other() {
    let left = batch(&[[1.0, 1.0, 1.0], [2.0, f64::NAN, 1.0], [3.0, 3.0, 1.0]]);
    let right = batch(&[[1.0, 1.0, 1.0], [2.0, 2.0, 1.0]]);
    let wanted = Wanted { examples_max: 5, columns: Vec::new() };
    let report = compare(&bars(), Side { name: "a", batch: &left }, Side { name: "b", batch: &right }, &wanted);
    assert_eq!((report.rows_both, report.only_left, report.only_right), (2, 1, 0));
    assert_eq!(report.missing_right, ["600000.SH 1970-01-03"]);
    let vol = report.columns.iter().find(|column| column.name == "vol").unwrap();
    assert_eq!((vol.compared, vol.null_left, vol.null_right, vol.different), (1, 1, 0, 0));
    assert!(!report.agrees());
}

#[test]
fn factors_of_ex_dates_hold_until_the_next_one() {
    use arrow_schema::{DataType, Field, Schema};
    let factors = |rows: &[(i32, i128)]| {
        let mut values = Decimal128Builder::new().with_precision_and_scale(38, 6).unwrap();
        let (mut codes, mut days) = (StringBuilder::new(), Date32Builder::new());
        for (day, factor) in rows {
            codes.append_value("600000.SH");
            days.append_value(*day);
            values.append_value(*factor);
        }
        let field = |name: &str, kind| Field::new(name, kind, true);
        let schema = Schema::new(vec![
            field("ts_code", DataType::Utf8),
            field("ex_date", DataType::Date32),
            field("back_factor", DataType::Decimal128(38, 6)),
        ]);
        let columns: Vec<ArrayRef> = vec![Arc::new(codes.finish()), Arc::new(days.finish()), Arc::new(values.finish())];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    };
    // The other side: 1 for ten days, then 1.5, then 3, on a base of its own.
    let rows: Vec<[f64; 3]> = (0..30)
        .map(|day| {
            [
                1.0,
                1.0,
                7.0 * if day < 10 {
                    1.0
                } else if day < 20 {
                    1.5
                } else {
                    3.0
                },
            ]
        })
        .collect();
    let days = batch(&rows);
    let wanted = Wanted { examples_max: 2, columns: vec!["adj_factor".to_owned()] };
    for (second, expected) in [(20, [30, 0]), (21, [29, 1])] {
        let ex_dates = factors(&[(second, 3_000_000), (10, 1_500_000)]);
        let filled = factors::day_by_day(&bars(), &days, &ex_dates).unwrap();
        let (left, right) = (Side { name: "tushare", batch: &days }, Side { name: "baostock", batch: &filled });
        let report = compare(&bars(), left, right, &wanted);
        assert_eq!([report.columns[0].equal, report.columns[0].different], expected, "{report:?}");
    }
}

//! Files in and out: every quirk that files have been seen with, round trips of every table, golden outputs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow_array::builder::{Date32Builder, Decimal128Builder, StringBuilder, TimestampSecondBuilder};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_select::concat::concat_batches;
use flate2::{Compression, write::GzEncoder};
use tidegate::catalog::Catalog;
use tidegate::cli::table::{self, TableOptions};
use tidegate::model::{Column, ColumnType, Dataset, ErrorKind, Result};
use tidegate::read::write::{Format, RowWriter, Units as OutputUnits, writer};
use tidegate::source::file::{self, FileReport, Mapping, ReadOptions, TextEncoding, Units};

fn dataset(name: &str) -> Arc<Dataset> {
    Catalog::builtin().unwrap().get(name).unwrap().clone()
}

/// What reading a file gave: its rows as one batch, reasons of the rows kept apart, the report.
#[derive(Debug)]
struct Found {
    batch: RecordBatch,
    reasons: Vec<String>,
    report: FileReport,
}

fn read(path: &Path, options: &ReadOptions) -> Result<Found> {
    let (mut batches, mut reasons) = (Vec::new(), Vec::new());
    let report = file::read(path, options, &mut |found| {
        batches.push(found.batch);
        reasons.extend(found.quarantined.into_iter().map(|row| row.reason));
        Ok(())
    })?;
    let batch = concat_batches(&options.dataset.schema(), &batches).unwrap();
    Ok(Found { batch, reasons, report })
}

fn read_bytes(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Found> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read(&path, options)
}

/// An output that can be looked at afterwards.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(make: impl FnOnce(Memory) -> Result<Box<dyn RowWriter>>, batches: &[RecordBatch]) -> Vec<u8> {
    let memory = Memory::default();
    let mut rows = make(memory.clone()).unwrap();
    batches.iter().for_each(|batch| rows.write(batch).unwrap());
    rows.finish().unwrap();
    Arc::into_inner(memory.0).unwrap().into_inner().unwrap()
}

fn export(format: Format, dataset: &Dataset, units: OutputUnits, batches: &[RecordBatch]) -> Vec<u8> {
    written(|out| writer(format, dataset, &[], units, out), batches)
}

/// The rows of a batch in some columns, as CSV without its header.
fn rows_of(dataset: &Dataset, batch: &RecordBatch, columns: &[&str]) -> String {
    let indices: Vec<usize> = columns.iter().map(|name| dataset.column_index(name).unwrap()).collect();
    let names: Vec<String> = columns.iter().map(|name| name.to_string()).collect();
    let chosen = batch.project(&indices).unwrap();
    let bytes = written(|out| writer(Format::Csv, dataset, &names, OutputUnits::Canonical, out), &[chosen]);
    let text = String::from_utf8(bytes).unwrap();
    text.split_once('\n').unwrap().1.trim_end().to_owned()
}

/// What a file is called, what stands in it, and what must come out of it.
struct Quirk {
    what: &'static str,
    dataset: &'static str,
    file: &'static str,
    bytes: Vec<u8>,
    map: &'static [&'static str],
    columns: &'static [&'static str],
    rows: &'static str,
    reasons: &'static [&'static str],
}

const BAR: &[&str] = &["ts_code", "trade_date", "close", "vol", "amount"];

fn quirk(what: &'static str, file: &'static str, text: &str, rows: &'static str) -> Quirk {
    let bytes = text.as_bytes().to_vec();
    Quirk { what, dataset: "daily", file, bytes, map: &[], columns: BAR, rows, reasons: &[] }
}

fn gbk(text: &str) -> Vec<u8> {
    encoding_rs::GB18030.encode(text).0.into_owned()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_quirk_of_files_in_the_wild_is_read() {
    for quirk in tushare_quirks().into_iter().chain(foreign_quirks()).chain(broken_rows()).chain(list_quirks()) {
        let dataset = dataset(quirk.dataset);
        let mapping = Mapping::parse(quirk.map, &dataset).unwrap();
        let options = ReadOptions { mapping, ..ReadOptions::new(dataset.clone()) };
        let found =
            read_bytes(quirk.file, &quirk.bytes, &options).unwrap_or_else(|error| panic!("{}: {error}", quirk.what));
        assert_eq!(rows_of(&dataset, &found.batch, quirk.columns), quirk.rows, "{}", quirk.what);
        assert_eq!(found.reasons, quirk.reasons, "{}", quirk.what);
        assert_eq!(found.report.rows, found.batch.num_rows() as u64, "{}", quirk.what);
        assert_eq!(found.report.quarantined, found.reasons.len() as u64, "{}", quirk.what);
    }
}

fn tushare_quirks() -> Vec<Quirk> {
    let header = "ts_code,trade_date,close,vol,amount";
    let plain = format!("{header}\n000006.SZ,20190102,5.15,63229.64,32733.636\n");
    let bar = "000006.SZ,2019-01-02,5.15,6322964,32733636";
    vec![
        quirk("lots and thousands of yuan", "a.csv", &plain, bar),
        quirk("Windows line ends", "a.csv", &plain.replace('\n', "\r\n"), bar),
        quirk("a byte-order mark", "a.csv", &format!("\u{feff}{plain}"), bar),
        quirk("tabs", "a.tsv", &plain.replace(',', "\t"), bar),
        quirk("semicolons", "a.csv", &plain.replace(',', ";"), bar),
        quirk("bars", "a.csv", &plain.replace(',', "|"), bar),
        Quirk { bytes: gzip(plain.as_bytes()), ..quirk("gzip", "a.csv.gz", "", bar) },
        Quirk { bytes: gzip(plain.as_bytes()), ..quirk("gzip under another name", "a.csv", "", bar) },
        quirk("a header without rows", "300028.SZ.csv", ",ts_code,trade_date,close,vol,amount\n", ""),
        quirk("an empty file", "a.csv", "", ""),
        quirk(
            "an index column without a name",
            "a.csv",
            ",ts_code,trade_date,close,vol,amount\n318,000006.SZ,20190102,5.15,63229.64,32733.636\n",
            bar,
        ),
        quirk(
            "float noise",
            "a.csv",
            "ts_code,trade_date,close,vol,amount\n1.0,20190102.0,5.1500000000000004,63229.64000000001,32733.636\n",
            "000001.SZ,2019-01-02,5.15,6322964,32733636",
        ),
        quirk(
            "quotes and thousands separators",
            "a.csv",
            "\"ts_code\",\"trade_date\",\"close\",\"vol\",\"amount\"\n\
             \"000006.SZ\",\"20190102\",\"5.15\",\"63,229.64\",\"32,733.636\"\n",
            bar,
        ),
        quirk(
            "words for nothing",
            "a.csv",
            &format!("{header}\n000006.SZ,20190102,nan,None,--\n000006.SZ,20190103,NULL,-,\n"),
            "000006.SZ,2019-01-02,,,\n000006.SZ,2019-01-03,,,",
        ),
        quirk(
            "units in Chinese headers, full-width brackets, another order",
            "a.csv",
            "\u{feff}股票代码,交易日期,成交额（千元）,成交量(手),收盘价,收盘价后复权\n\
             000002.SZ,2024-01-02,830765.5,811106.29,10.15,1844.2956\n",
            "000002.SZ,2024-01-02,10.15,81110629,830765500",
        ),
    ]
}

fn foreign_quirks() -> Vec<Quirk> {
    let terminal = "601006 大秦铁路 日线 不复权\n      日期\t    收盘\t    成交量\t    成交额\n\
                    2006/08/01,-0.32,614436357,3525562368.00\n数据来源:通达信\n";
    vec![
        Quirk {
            bytes: gbk(terminal),
            ..quirk("a TDX export", "SH_601006.txt", "", "601006.SH,2006-08-01,-0.32,614436357,3525562368")
        },
        quirk(
            "BaoStock: shares and yuan, suspended days are no bars",
            "a.csv",
            "date,code,close,preclose,volume,amount,adjustflag,tradestatus,pctChg\n\
             2020-01-15,sh.600000,10.4772045000,10.63,31897217,392531149.0000,3,1,-1.448100\n\
             2020-01-16,sh.600000,10.4772045000,10.63,,,3,0,\n",
            "600000.SH,2020-01-15,10.4772,31897217,392531149",
        ),
        quirk(
            "AKShare from Eastmoney: lots and yuan",
            "a.csv",
            "日期,股票代码,开盘,收盘,成交量,成交额\n2024-01-02T00:00:00.000,1,9.39,9.21,1158366,1075742252.45\n",
            "000001.SZ,2024-01-02,9.21,115836600,1075742252.45",
        ),
        quirk(
            "AKShare from Sina: shares as floats, the code in the file's name",
            "akshare_raw_full_600000.SH.csv",
            "Date,Open,High,Low,Close,Adj Close,Volume\n1999-11-10,29.5,29.8,27.0,27.75,27.75,174085100.0\n",
            "600000.SH,1999-11-10,27.75,174085100,",
        ),
        quirk(
            "time stamps with an offset",
            "600036_2024.csv",
            "\u{feff}timestamp,close,volume\n2024-01-02 00:00:00+08:00,27.58,54219480\n",
            "600036.SH,2024-01-02,27.58,54219480,",
        ),
        quirk(
            "dates as floats, exchange as in JoinQuant",
            "a.csv",
            "symbol,date,Close,Volume\n600000.XSHG,19991110.0,27.75,617827800.0\n",
            "600000.SH,1999-11-10,27.75,617827800,",
        ),
        Quirk {
            dataset: "stk_factor",
            columns: &["ts_code", "close", "close_hfq", "close_qfq", "macd_dif"],
            ..quirk(
                "adjusted prices under Chinese names",
                "a.csv",
                "股票代码,交易日期,收盘价,收盘价后复权,收盘价前复权,MACD_DIF(基于前复权价格计算)\n\
                 000002.SZ,2024-01-02,10.15,1844.2956,10.15,-0.311\n",
                "000002.SZ,10.15,1844.2956,10.15,-0.311",
            )
        },
        Quirk {
            map: &["turnover=amount:CNY", "qty=vol:lot", "close="],
            ..quirk(
                "a mapping of the user's own",
                "a.csv",
                "entity,timestamp,code,close,turnover,qty\nx,2007-04-30 00:00:00.000000,000338,3.34,1365189211.0,10.5\n",
                "000338.SZ,2007-04-30,,1050,1365189211",
            )
        },
    ]
}

fn broken_rows() -> Vec<Quirk> {
    let header = "ts_code,trade_date,close,vol,amount";
    let good = "000006.SZ,20190104,5.15,1,1\n";
    let kept = "000006.SZ,2019-01-04,5.15,100,1000";
    let broken =
        |what, row: &str, reasons| Quirk { reasons, ..quirk(what, "a.csv", &format!("{header}\n{row}\n{good}"), kept) };
    vec![
        broken("not a number", "000006.SZ,20190102,x,1,1", &["a.csv line 2: column close: not a number"]),
        broken("too few cells", "000006.SZ,20190102", &["a.csv line 2: 2 cells where the header has 5"]),
        broken("too many cells", "000006.SZ,20190102,1,1,1,1", &["a.csv line 2: 6 cells where the header has 5"]),
        Quirk {
            bytes: "date,code,close,adjustflag\n2019-01-03,sz.000006,5.1,2\n2019-01-04,sz.000006,5.15,3\n".into(),
            reasons: &["a.csv line 2: the file says that its prices are adjusted"],
            ..quirk("adjusted prices by BaoStock's flag", "a.csv", "", "000006.SZ,2019-01-04,5.15,,")
        },
        Quirk {
            bytes: gbk("000006 深振业Ａ 日线 前复权\n日期\t收盘\n2019/01/04,5.15\n"),
            reasons: &["a.txt line 3: the file says that its prices are adjusted"],
            ..quirk("adjusted prices by the title", "a.txt", "", "")
        },
        broken("no code", ",20190102,1,1,1", &["a.csv line 2: column ts_code: empty, but every row needs it"]),
        broken("no such code", "987654,20190102,1,1,1", &["a.csv line 2: column ts_code: not a security code"]),
        broken("no date", "000006.SZ,2019-02-30,1,1,1", &["a.csv line 2: column trade_date: not a date"]),
        broken(
            "an hourly bar",
            "000006.SZ,2019-01-02 10:30,1,1,1",
            &["a.csv line 2: column trade_date: a time of day where a date belongs"],
        ),
        broken("a quote that never ends", "\"000006.SZ,20190102,1,1,1", &["a.csv line 2: a quote is not closed"]),
    ]
}

fn list_quirks() -> Vec<Quirk> {
    let columns = &["ts_code", "name", "enname", "exchange", "list_date"];
    vec![
        Quirk {
            dataset: "stock_basic",
            columns,
            ..quirk(
                "quoted English names, full-width letters, midnight dates",
                "a.csv",
                "\u{feff}股票代码,股票名称,公司全称,英文名称,交易所代码,上市日期\n\
                 000002.SZ,万科Ａ,万科企业股份有限公司,\"China Vanke Co.,Ltd.\",SZSE,1991-01-29 00:00:00\n",
                "000002.SZ,万科Ａ,\"China Vanke Co.,Ltd.\",SZSE,1991-01-29",
            )
        },
        Quirk {
            dataset: "stock_basic",
            map: &["list_date2=list_date"],
            columns,
            ..quirk(
                "inner blanks of names are kept, dates may be missing",
                "a.csv",
                "stock_code,short_name,list_date2\n000002,万  科Ａ,1991-01-29\n900955,退市海B,\n",
                "000002.SZ,万  科Ａ,,,1991-01-29\n900955.SH,退市海B,,,",
            )
        },
    ]
}

#[test]
fn files_that_cannot_be_used_say_why_and_what_to_do() {
    let header = "ts_code,trade_date,close";
    for (file, bytes, kind, message, hint) in [
        (
            "a.csv",
            &b"open,close\n1,2\n"[..],
            ErrorKind::Invalid,
            "no column for ts_code, trade_date",
            "--code 600000.SH",
        ),
        ("600000.csv", b"open,close\n1,2\n", ErrorKind::Invalid, "no column for trade_date", "--map"),
        (
            "a.csv",
            b"000001.SZ,20240102,9.2\n",
            ErrorKind::Invalid,
            "no column name of its first lines is known",
            "--map",
        ),
        ("a.xlsx", b"PK\x03\x04rest", ErrorKind::Invalid, "zip or Excel", "CSV"),
        ("a.json", b"[{\"a\":1}]", ErrorKind::Invalid, "JSON", "CSV"),
        ("a.day", b"\x01\x00\x02\x00", ErrorKind::Invalid, "binary", "CSV"),
        ("a.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff\xff\xff", ErrorKind::Invalid, "damaged", "again"),
        ("a.parquet", b"PAR1 not really", ErrorKind::Invalid, "Parquet", "CSV"),
    ] {
        let error = read_bytes(file, bytes, &ReadOptions::new(dataset("daily"))).unwrap_err();
        let text = format!("{error} / {}", error.hint_text().unwrap_or_default());
        assert_eq!(error.kind(), kind, "{file}: {text}");
        assert!(error.message().contains(message), "{file}: {text}");
        assert!(error.hint_text().is_some_and(|text| text.contains(hint)), "{file}: {text}");
        assert!(!text.contains("20240102"), "no row value belongs in a message: {text}");
    }
    let cut = gzip(format!("{header}\n{}", "000001.SZ,20240102,9.2\n".repeat(5000)).as_bytes());
    let error = read_bytes("cut.csv.gz", &cut[..cut.len() - 9], &ReadOptions::new(dataset("daily"))).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "cut.csv.gz: the file is cut short"));
    let missing = file::read(Path::new("/nowhere/a.csv"), &ReadOptions::new(dataset("daily")), &mut |_| Ok(()));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let mapping = Mapping::parse(&["x=colse"], &dataset("daily")).unwrap_err();
    assert_eq!(mapping.hint_text(), Some("did you mean \"close\"?"));
}

#[test]
fn an_encoding_that_is_named_is_used_and_bad_bytes_spoil_their_row_only() {
    let text = "代码,日期,收盘\n000001,20240102,9.2\n000002,20240102,9.3\n";
    let options =
        ReadOptions { encoding: TextEncoding::from_name("gbk").unwrap(), ..ReadOptions::new(dataset("daily")) };
    let found = read_bytes("a.csv", &gbk(text), &options).unwrap();
    assert_eq!((found.report.rows, found.report.encoding.as_str()), (2, "GBK"));
    let mut bytes = text.replace("000002", "00000?").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[at] = 0xff;
    let options =
        ReadOptions { encoding: TextEncoding::from_name("utf-8").unwrap(), ..ReadOptions::new(dataset("daily")) };
    let found = read_bytes("a.csv", &bytes, &options).unwrap();
    assert_eq!(found.report.rows, 1);
    assert_eq!(found.reasons, ["a.csv line 3: column ts_code: not readable in the file's encoding"]);
}

#[test]
fn batches_are_no_larger_than_asked_and_a_refusing_sink_ends_the_reading() {
    let text = format!("ts_code,trade_date,close\n{}", "000001.SZ,20240102,9.2\n".repeat(25));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, text).unwrap();
    let options = ReadOptions { batch_rows: 10, ..ReadOptions::new(dataset("daily")) };
    let mut sizes = Vec::new();
    let mut read_so_far = Vec::new();
    file::read(&path, &options, &mut |found| {
        sizes.push(found.batch.num_rows());
        read_so_far.push(found.rows_read);
        Ok(())
    })
    .unwrap();
    assert_eq!((sizes, read_so_far), (vec![10, 10, 5], vec![10, 20, 25]));
    let refused = file::read(&path, &options, &mut |_| Err(tidegate::model::Error::conflict("no")));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
}

/// Two rows of a dataset: one with a value in every cell, one with as few as the schema allows.
fn sample(dataset: &Dataset) -> RecordBatch {
    let schema = dataset.schema();
    let columns = schema.fields().iter().zip(&dataset.columns).enumerate();
    let arrays: Vec<ArrayRef> =
        columns.map(|(at, (field, column))| sample_column(dataset, column, at as i64, field.is_nullable())).collect();
    RecordBatch::try_new(schema.clone(), arrays).unwrap()
}

fn sample_column(dataset: &Dataset, column: &Column, at: i64, may_be_null: bool) -> ArrayRef {
    const TEXTS: [&str; 6] = ["plain", "with, comma", "a \"quote\"", "NULL", " 万  科Ａ ", "two\nlines"];
    let is_code = dataset.security.as_deref() == Some(&column.name) || column.name == "ts_code";
    let second = |value: i64| (!may_be_null).then_some(value);
    match column.kind {
        ColumnType::Text => {
            let text = if is_code { "000001.SZ" } else { TEXTS[at as usize % TEXTS.len()] };
            let text = if column.derived.is_some() { "" } else { text };
            let mut builder = StringBuilder::new();
            builder.append_value(text);
            // Only what a source may leave out can be empty text.
            let shortest = if column.nullable || column.derived.is_some() { "" } else { "x" };
            builder.append_option((!may_be_null).then_some(if is_code { "600000.SH" } else { shortest }));
            Arc::new(builder.finish())
        }
        ColumnType::Date => {
            let mut builder = Date32Builder::new();
            builder.append_value(19_000 + at as i32);
            builder.append_option(second(19_724).map(|day| day as i32));
            Arc::new(builder.finish())
        }
        ColumnType::Datetime => {
            let mut builder = TimestampSecondBuilder::new().with_data_type(column.data_type());
            builder.append_value(1_704_159_000 + at);
            builder.append_option(second(1_704_159_060));
            Arc::new(builder.finish())
        }
        ColumnType::Int => Arc::new(Int64Array::from(vec![Some(-1_234_567 - at), second(0)])),
        ColumnType::Decimal => {
            let mut builder = Decimal128Builder::new().with_data_type(column.data_type());
            builder.append_value(-123_456_789_012 - i128::from(at));
            builder.append_option(second(0).map(i128::from));
            Arc::new(builder.finish())
        }
        ColumnType::Float => Arc::new(Float64Array::from(vec![Some(0.1 + at as f64), (!may_be_null).then_some(0.0)])),
    }
}

#[test]
fn every_table_survives_csv_and_parquet_and_both_units() {
    for dataset in Catalog::builtin().unwrap().datasets() {
        let batch = sample(dataset);
        for (format, output, input, file) in [
            (Format::Csv, OutputUnits::Canonical, Units::Canonical, "a.csv"),
            (Format::Csv, OutputUnits::Tushare, Units::Tushare, "a.csv"),
            (Format::Parquet, OutputUnits::Canonical, Units::Declared, "a.parquet"),
        ] {
            let bytes = export(format, dataset, output, std::slice::from_ref(&batch));
            let options = ReadOptions { units: input, ..ReadOptions::new(dataset.clone()) };
            let found = read_bytes(file, &bytes, &options).unwrap();
            assert_eq!(found.reasons, Vec::<String>::new(), "{} {format:?}", dataset.name);
            assert_eq!(found.batch, batch, "{} {format:?} {output:?}", dataset.name);
        }
    }
}

/// Compares with a committed file; `TIDEGATE_GOLDEN=write` writes it anew.
fn golden(name: &str, actual: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var("TIDEGATE_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read(&path).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(actual), String::from_utf8_lossy(&expected), "tests/golden/{name}");
}

fn golden_rows(name: &str) -> (Arc<Dataset>, RecordBatch) {
    let (file, dataset) = (format!("{name}.input.csv"), dataset(name));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let found = read(&path, &ReadOptions::new(dataset.clone())).unwrap();
    assert_eq!(found.reasons, Vec::<String>::new());
    (dataset, found.batch)
}

#[test]
fn printed_and_stored_formats_stay_as_they_are() {
    for name in ["daily", "stock_basic"] {
        let (dataset, batch) = golden_rows(name);
        for (format, units, ending) in [
            (Format::Csv, OutputUnits::Canonical, "csv"),
            (Format::Csv, OutputUnits::Tushare, "tushare.csv"),
            (Format::Json, OutputUnits::Canonical, "json"),
            (Format::Jsonl, OutputUnits::Canonical, "jsonl"),
        ] {
            let bytes = export(format, &dataset, units, std::slice::from_ref(&batch));
            golden(&format!("{name}.{ending}"), &bytes);
        }
        let options = TableOptions { head: 2, tail: 1, width_max: Some(100) };
        let make = |out| table::writer_with(&dataset, &[], OutputUnits::Canonical, options, out);
        golden(&format!("{name}.table.txt"), &written(make, std::slice::from_ref(&batch)));
    }
}

#[test]
fn a_parquet_file_of_an_earlier_version_is_read_to_the_same_rows() {
    let (dataset, batch) = golden_rows("daily");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/daily.parquet");
    if std::env::var("TIDEGATE_GOLDEN").as_deref() == Ok("write") {
        let bytes = export(Format::Parquet, &dataset, OutputUnits::Canonical, std::slice::from_ref(&batch));
        std::fs::write(&path, bytes).unwrap();
    }
    let found = read(&path, &ReadOptions::new(dataset.clone())).unwrap();
    assert_eq!(found.batch, batch);
}

#[test]
fn nothing_to_write_is_still_a_whole_document() {
    let dataset = dataset("adj_factor");
    for (format, expected) in
        [(Format::Csv, "ts_code,trade_date,adj_factor\n"), (Format::Json, "[]\n"), (Format::Jsonl, "")]
    {
        assert_eq!(String::from_utf8(export(format, &dataset, OutputUnits::Canonical, &[])).unwrap(), expected);
    }
    let found = read_bytes(
        "a.parquet",
        &export(Format::Parquet, &dataset, OutputUnits::Canonical, &[]),
        &ReadOptions::new(dataset.clone()),
    );
    assert_eq!(found.unwrap().report.rows, 0);
}

/// An output that fails after its first bytes.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_closed_pipe_is_quiet_and_a_full_disk_is_told() {
    let dataset = dataset("daily");
    let batch = sample(&dataset);
    for format in [Format::Csv, Format::Json, Format::Jsonl, Format::Parquet] {
        let write = |kind| -> Result<()> {
            let mut rows = writer(format, &dataset, &[], OutputUnits::Canonical, Failing(kind))?;
            rows.write(&batch)?;
            rows.finish()
        };
        assert!(write(io::ErrorKind::BrokenPipe).is_ok(), "{format:?}");
        let error = write(io::ErrorKind::StorageFull).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{format:?}: {error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("free some space")), "{format:?}");
    }
}

/// A real file, how it is read, and how many rows come out of it and are kept apart.
struct Real {
    dataset: &'static str,
    file: &'static str,
    code: Option<&'static str>,
    map: &'static [&'static str],
    rows: u64,
    quarantined: u64,
    /// The first row in `BAR` columns, where it tells the unit.
    first: &'static str,
}

const fn real(file: &'static str, rows: u64, first: &'static str) -> Real {
    Real { dataset: "daily", file, code: None, map: &[], rows, quarantined: 0, first }
}

/// A file that says of itself that its prices are adjusted: every row is kept apart.
const fn adjusted(file: &'static str, rows: u64) -> Real {
    Real { quarantined: rows, ..real(file, 0, "") }
}

const REAL: &[Real] = &[
    real("daily/tushare_raw_2019_2020.tar.gz", 273_372, "000006.SZ,2019-01-02,5.15,6322964,32733636"),
    real("daily/tushare_raw_2019_2020_earlier_download.tar.gz", 7664, "000100.SZ,2019-01-02,2.51,89051427,222807637"),
    real("daily/tushare_raw_603186_2019_2020.csv.gz", 309, "603186.SH,2019-01-02,15.16,1184001,17962218"),
    real("daily/tushare_qfq_2010_2020.tar.gz", 506_354, "000002.SZ,2010-01-04,7.6317,96983253,1034344760.4"),
    real("daily/tushare_cnheader_adj_2024.tar.gz", 117_292, "000002.SZ,2024-01-02,10.15,81110629,830765500"),
    real("daily/tushare_sse50_20251009_20251119.csv.gz", 900, "600028.SH,2025-10-09,5.36,146386033,780083195"),
    real("daily/akshare_raw_full_600000.SH.csv.gz", 6159, "600000.SH,1999-11-10,27.75,174085100,"),
    real("daily/akshare_one_2024/000858_2024.csv", 242, "000858.SZ,2024-01-02,6125.97,776281100,"),
    real("daily/akshare_one_2024/600000_2024.csv", 242, "600000.SH,2024-01-02,6.6,22066700,"),
    real("daily/akshare_one_2024/600036_2024.csv", 242, "600036.SH,2024-01-02,27.58,54219480,"),
    adjusted("daily/akshare_qfq_negative_600000.XSHG.csv.gz", 6279),
    adjusted("daily/baostock_qfq_600000_2020_2023.csv.gz", 800),
    Real {
        map: &["adjustflag=", "close="],
        ..real("daily/baostock_qfq_600000_2020_2023.csv.gz", 800, "600000.SH,2020-01-15,,31897217,392531149")
    },
    real("daily/stockstats_002032.csv.gz", 2813, "002032.SZ,2004-08-17,11.2,7877900,90923240"),
    Real {
        code: Some("600000.SH"),
        ..real("daily/yahoo_like_600000_named_987654.csv.gz", 3659, "600000.SH,1999-11-10,27.75,617827800,")
    },
    adjusted("tdx/export_gbk/SH_601006.txt.gz", 3664),
    adjusted("tdx/export_gbk/SH_601008.txt.gz", 3489),
    Real {
        map: &["turnover=amount"],
        ..real("zvt/stock_1d_kdata.csv.gz", 12_532, "000338.SZ,2007-04-30,3.34,402929691,1365189211")
    },
    Real { quarantined: 3600, ..real("intraday/sse50_hourly_20251009_20251119.csv.gz", 0, "") },
    real("raw_replies/alphavantage_sse50_2025.tar.gz", 0, ""),
    Real { dataset: "stock_basic", ..real("lists/stock_basic_cnheader.csv.gz", 5485, "") },
    Real { dataset: "stock_basic", map: &["list_date2=list_date"], ..real("lists/adata_code.csv.gz", 5640, "") },
    Real { dataset: "adj_factor", ..real("daily_by_date/tushare_cnheader_by_date_2024.tar.gz", 1937, "") },
];

/// The folder of real data, when it is there.
pub fn shared_data() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let data = std::env::var_os("TIDEGATE_SHARED").map_or_else(beside, PathBuf::from).join("data");
    data.is_dir().then_some(data)
}

#[test]
fn real_files_of_every_kind_are_read_whole() {
    let Some(data) = shared_data() else {
        println!("the folder of real data is absent (TIDEGATE_SHARED): nothing was read");
        return;
    };
    for real in REAL {
        let dataset = dataset(real.dataset);
        let mapping = Mapping::parse(real.map, &dataset).unwrap();
        let code = real.code.map(str::to_owned);
        let options = ReadOptions { mapping, code, ..ReadOptions::new(dataset.clone()) };
        let mut first = None;
        let mut reasons = Vec::new();
        let report = file::read(&data.join(real.file), &options, &mut |found| {
            first.get_or_insert(found.batch);
            reasons.extend(found.quarantined.into_iter().take(3).map(|row| row.reason));
            Ok(())
        });
        let report = report.unwrap_or_else(|error| panic!("{}: {error}", real.file));
        assert_eq!((report.rows, report.quarantined), (real.rows, real.quarantined), "{}: {reasons:?}", real.file);
        if let (false, Some(first)) = (real.first.is_empty(), first) {
            assert_eq!(rows_of(&dataset, &first.slice(0, 1), BAR), real.first, "{}", real.file);
        }
    }
    for file in ["tdx/day_binary/sh600000_hikyuu.day.gz", "calendar/akshare_calendar.json"] {
        let refused = file::read(&data.join(file), &ReadOptions::new(dataset("daily")), &mut |_| Ok(()));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid, "{file}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_whatsoever_makes_the_reader_panic(
        rows in proptest::collection::vec("[0-9a-zA-Z.,\"\n\r\t \\-+:/年月%手é]{0,60}", 0..8),
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let dataset = dataset("daily");
        let text = format!("ts_code,trade_date,close,vol\n{}\n", rows.join("\n"));
        let found = read_bytes("a.csv", text.as_bytes(), &ReadOptions::new(dataset.clone())).unwrap();
        let report = found.report;
        proptest::prop_assert_eq!(report.rows + report.quarantined, report.rows_read);
        let _ = read_bytes("a.csv", &bytes, &ReadOptions::new(dataset.clone()));
        let _ = read_bytes("a.gz", &gzip(&bytes), &ReadOptions::new(dataset.clone()));
        let _ = read_bytes("a.csv", &[text.as_bytes(), &bytes].concat(), &ReadOptions::new(dataset));
    }
}

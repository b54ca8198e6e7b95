//! Rows through the API: pages and downloads in every format, filters of every kind, two times and price bases.

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tidegate::model::{Filter, Query};

use crate::serving::Serving;
use crate::v1::{assert_problem, synced};

const ROWS: &str = "/api/v1/datasets/daily/rows";

#[test]
fn pages_follow_each_other_until_everything_was_seen() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &[]);
    let (mut seen, mut offset) = (Vec::new(), Some(0));
    while let Some(from) = offset {
        let page =
            serving.get(&format!("{ROWS}?columns=ts_code,trade_date,close&limit=500&offset={from}")).of_status(200);
        assert_eq!(page["columns"], json!(["ts_code", "trade_date", "close"]));
        seen.extend(page["rows"].as_array().unwrap().clone());
        offset = page["next_offset"].as_u64();
    }
    let stored = world.sqlite("select json_array(ts_code, trade_date) from daily order by ts_code, trade_date");
    let keys: Vec<Value> = seen.iter().map(|row| json!([row[0], row[1]])).collect();
    assert_eq!(keys, stored.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>());
    assert_eq!(serving.get(&format!("{ROWS}?offset=100000000")).of_status(200)["rows"], json!([]));
}

#[test]
fn what_the_command_shows_the_route_answers() {
    let world = synced(&["trade_cal", "stock_basic", "daily", "adj_factor", "fina_indicator"]);
    let serving = Serving::start(&world, &[]);
    for (path, arguments) in [
        (
            "daily/rows?from=2024-01-05&to=2024-01-05&order=-pct_chg",
            "daily --from 2024-01-05 --to 2024-01-05 --order=-pct_chg",
        ),
        ("daily/rows?from=20240105&to=20240105&adjust=qfq", "daily --from 2024-01-05 --to 2024-01-05 --adjust qfq"),
        ("daily/rows?from=20240105&to=20240108&adjust=hfq", "daily --from 2024-01-05 --to 2024-01-08 --adjust hfq"),
        (
            "stock_basic/rows?where=list_status:L,D&columns=ts_code,name",
            "stock_basic --where list_status=L,D --columns ts_code,name",
        ),
        ("fina_indicator/rows?known_on=2024-02-01", "fina_indicator --known-on 2024-02-01"),
        ("daily/rows?as_of=2020-01-01", "daily --as-of 2020-01-01"),
    ] {
        let rows = serving.get(&format!("/api/v1/datasets/{path}&limit=10000")).of_status(200);
        let shown = ["show"].into_iter().chain(arguments.split(' ')).chain(["--json"]).collect::<Vec<_>>();
        let shown = world.run(&shown, 0).json();
        let names: Vec<&str> = rows["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let shown: Vec<Value> =
            shown.as_array().unwrap().iter().map(|row| names.iter().map(|name| row[*name].clone()).collect()).collect();
        assert_eq!(rows["rows"], json!(shown), "{path}");
    }
}

#[test]
fn filters_are_values_and_ranges_and_never_sql() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &[]);
    let count = |filter: &str| {
        let answer = serving.get(&format!("{ROWS}?limit=10000&{filter}"));
        answer.of_status(200)["rows"].as_array().unwrap().len().to_string()
    };
    let code = world.sqlite("select min(ts_code) from daily").trim().to_string();
    for (filter, sql) in [
        (format!("codes={code}"), format!("ts_code = '{code}'")),
        (format!("codes={}", &code[..6]), format!("ts_code = '{code}'")),
        ("where=pct_chg:5..".to_string(), "pct_chg >= 5".to_string()),
        ("where=pct_chg:..-5&where=vol:1000..".to_string(), "pct_chg <= -5 and vol >= 1000".to_string()),
        ("where=trade_date:20240105,2024-01-08".to_string(), "trade_date in ('2024-01-05', '2024-01-08')".to_string()),
        ("where=ts_code:%27%20or%201%3D1%20--".to_string(), "0".to_string()),
        ("where=ts_code:%22;drop%20table%20daily;--".to_string(), "0".to_string()),
        ("where=ts_code:%00".to_string(), "0".to_string()),
    ] {
        assert_eq!(count(&filter), world.sqlite(&format!("select count(*) from daily where {sql}")).trim(), "{filter}");
    }
    for (query, status, named) in [
        ("columns=ts_code,clos", 404, "close"),
        ("order=-clos", 404, "clos"),
        ("where=clos:1", 404, "clos"),
        ("where=ts_code%22%20or%201%3D1%20--:1", 404, "no column"),
        ("where=close:much", 400, "close"),
        ("where=trade_date:soon", 400, "soon"),
        ("codes=nonsense", 400, "nonsense"),
        ("from=2024-13-01", 400, "2024-13-01"),
        ("limit=10001", 400, "10000"),
        ("limit=-1", 400, "limit"),
        ("colums=close", 400, "columns"),
        ("known_on=2024-01-05", 400, "versions"),
        ("format=xlsx", 400, "parquet"),
    ] {
        assert_problem(&serving.get(&format!("{ROWS}?{query}")), status, named);
    }
    assert_problem(&serving.get("/api/v1/datasets/daly/rows"), 404, "daily");
    assert_problem(&serving.get("/api/v1/datasets/trade_cal/rows?adjust=qfq"), 400, "adjust");
    assert!(world.sqlite("select count(*) from daily").trim().parse::<u64>().unwrap() > 0);
}

#[test]
fn downloads_are_whole_files_in_every_format() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &[]);
    let query = Query {
        filters: vec![Filter::Between {
            column: "trade_date".into(),
            from: Some("2024-01-05".into()),
            to: Some("2024-02-05".into()),
        }],
        ..Query::all("daily")
    };
    let truth = world.rows(&world.store(), &query);
    let ask = |format: &str| serving.get(&format!("{ROWS}?from=2024-01-05&to=2024-02-05&format={format}"));
    let all = |batches: Vec<RecordBatch>| arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap();

    let arrow = ask("arrow");
    assert_eq!(arrow.header("content-disposition"), "attachment; filename=\"daily.arrow\"");
    let reader = arrow_ipc::reader::StreamReader::try_new(std::io::Cursor::new(arrow.bytes), None).unwrap();
    assert_eq!(all(reader.map(|batch| batch.unwrap()).collect()).columns(), truth.columns());

    let parquet = ask("parquet");
    assert_eq!(parquet.header("content-type"), "application/vnd.apache.parquet");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(parquet.bytes)).unwrap().build().unwrap();
    assert_eq!(all(reader.map(|batch| batch.unwrap()).collect()).columns(), truth.columns());

    let csv = ask("csv");
    let shown = world.run(&["show", "daily", "--from", "2024-01-05", "--to", "2024-02-05", "--format", "csv"], 0);
    assert_eq!(String::from_utf8(csv.bytes).unwrap(), shown.stdout);
}

#[test]
fn a_download_beyond_the_limit_breaks_off_instead_of_ending_early() {
    let world = synced(&["trade_cal", "stock_basic", "daily"]);
    let serving = Serving::start(&world, &["--set", "serve.rows_max=100"]);
    let whole = serving.get(&format!("{ROWS}?format=csv&limit=100"));
    assert_eq!(whole.status.as_u16(), 200);
    assert_eq!(String::from_utf8(whole.bytes).unwrap().lines().count(), 101);
    let broken = world.runtime.block_on(async {
        let url = format!("{}{ROWS}?format=csv", serving.url);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        match client.get(url).send().await {
            Ok(answer) => answer.bytes().await.map(|bytes| bytes.len()),
            Err(error) => Err(error),
        }
    });
    assert!(broken.is_err(), "{broken:?}");
}

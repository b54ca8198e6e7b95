//! The Tushare client against the mirror, over loopback: every table, pages, refusals, broken answers.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use axum::Router;
use axum::http::{HeaderName, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tidegate::catalog::Catalog;
use tidegate::check::Columns;
use tidegate::mirror::tushare::{Account, Mirror, MirrorOptions, router_of};
use tidegate::model::dataset::Cut;
use tidegate::model::{
    Area, Clock, Dataset, Day, Error, ErrorKind, Instant, LearnedLimit, Order, Query, Result, Securities, Slice, Span,
};
use tidegate::sim::{Fault, FaultScript, Market, MarketOptions, Rule, Server, ServerOptions};
use tidegate::source::tushare::{TushareOptions, TushareSource};
use tidegate::source::{Call, Page, Source};

const TOKEN: &str = "a-token-nobody-may-see";

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn market() -> Market {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    Market::new(MarketOptions { securities: 40, ..MarketOptions::new(catalog, day("20240102"), day("20240430")) })
}

fn clock() -> Clock {
    Clock::fixed(Instant::parse("2024-04-30T23:30:00+08:00").unwrap())
}

fn source(url: &str) -> TushareSource {
    source_with(TushareOptions { url: url.to_string(), ..TushareOptions::default() })
}

fn source_with(options: TushareOptions) -> TushareSource {
    let timeout = Duration::from_secs(20);
    TushareSource::new(TushareOptions { token: TOKEN.to_string(), points: 15_000, timeout, ..options }, clock())
        .unwrap()
}

/// A mirror on a free port and its address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(tidegate::mirror::serve(listener, router, std::future::pending()));
    url
}

fn mirror(options: MirrorOptions) -> Arc<Mirror> {
    let market = market();
    let catalog = market.catalog().clone();
    Arc::new(Mirror::new(Arc::new(market), catalog, options, clock()))
}

async fn serve_mirror(options: MirrorOptions) -> String {
    serve(router_of(mirror(options))).await
}

/// A server that always answers with this.
async fn canned(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> String {
    let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), *value)).collect::<Vec<_>>();
    let (status, body) = (StatusCode::from_u16(status).unwrap(), body.to_string());
    let answer = move || async move { (status, axum::response::AppendHeaders(headers), body) };
    serve(Router::new().route("/", post(answer))).await
}

fn call(dataset: &Arc<Dataset>, cut: usize, area: Area) -> Call {
    let slice = Slice { dataset: dataset.name.as_str().into(), area, cut, calls: 1, rows: 1 };
    Call { dataset: dataset.clone(), slice, facet: 0, offset: 0 }
}

fn daily(market: &Market) -> Call {
    call(market.catalog().get("daily").unwrap(), 0, Area::day(day("20240105")))
}

/// Every page of every facet.
async fn fetch_all(source: &TushareSource, first: &Call) -> Result<RecordBatch> {
    let facets = source.offer(&first.dataset).unwrap().calls_per_slice;
    let mut batches = Vec::new();
    for facet in 0..facets {
        let mut call = Call { facet, ..first.clone() };
        loop {
            let Page { batch, more, unreadable, .. } = source.fetch(&call).await?;
            assert!(unreadable.is_empty(), "{unreadable:?}");
            call.offset += batch.num_rows() as u64;
            batches.push(batch);
            if !more {
                break;
            }
        }
    }
    Ok(concat_batches(&first.dataset.schema(), &batches).unwrap())
}

/// Rows as text, sorted.
fn rows(batch: &RecordBatch) -> Vec<String> {
    let columns = Columns::new(batch);
    let mut rows: Vec<String> = (0..batch.num_rows()).map(|row| columns.row_as_json(row).to_string()).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_arrives_as_it_is_stored_by_every_cut() {
    let market = market();
    let url = serve_mirror(MirrorOptions::default()).await;
    let source = source_with(TushareOptions { url, page_rows: Some(700), ..TushareOptions::default() });
    let (mut seen, mut filled) = (0, 0);
    for dataset in market.catalog().datasets() {
        let Some(offer) = source.offer(dataset) else { continue };
        for (cut, kind) in offer.cuts.iter().enumerate() {
            let Some(area) = area_for(&market, dataset, kind) else { continue };
            let fetched = fetch_all(&source, &call(dataset, cut, area.clone())).await.unwrap();
            let truth = truth(&market, dataset, &area);
            assert_eq!(rows(&fetched), rows(&truth), "{} {area} by {}", dataset.name, kind.name());
            seen += 1;
            filled += usize::from(truth.num_rows() > 0);
        }
    }
    assert!(seen >= 50 && filled >= 40, "{seen} cuts, {filled} with rows");
}

/// The rows of an area, straight from the market.
fn truth(market: &Market, dataset: &Dataset, area: &Area) -> RecordBatch {
    let order = dataset.time.iter().map(|column| Order { column: column.clone(), descending: false }).collect();
    market.collect(&Query { order, ..Query::area(dataset, area) }).unwrap()
}

/// A small area with rows in it.
fn area_for(market: &Market, dataset: &Dataset, cut: &Cut) -> Option<Area> {
    let month = Span::new(day("20240301"), day("20240331"));
    let codes = truth(market, dataset, &Area::new(Securities::All, month));
    let code = dataset.security.as_deref().and_then(|column| {
        let columns = Columns::new(&codes);
        let cells = columns.get(column)?;
        (0..codes.num_rows()).find_map(|row| cells.text(row)).map(str::to_string)
    });
    let time = dataset.time.as_deref().and_then(|column| {
        let columns = Columns::new(&codes);
        let cells = columns.get(column)?;
        (0..codes.num_rows()).find_map(|row| cells.day(row))
    });
    Some(match cut {
        Cut::Day { .. } | Cut::Period { .. } => Area::day(time.unwrap_or(day("20240329"))),
        Cut::Security { from, .. } => {
            let span = if from.is_some() { month } else { Span::ALL };
            Area::new(Securities::one(code?), span)
        }
        Cut::Range { .. } => Area::new(Securities::All, month),
        Cut::Whole => Area::whole(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_make_up_the_whole_and_the_last_one_says_so() {
    let market = market();
    let url = serve_mirror(MirrorOptions::default()).await;
    let whole = rows(&fetch_all(&source(&url), &daily(&market)).await.unwrap());
    for page_rows in [1, 7, whole.len() as u32 - 1, whole.len() as u32, whole.len() as u32 + 1] {
        let paged =
            source_with(TushareOptions { url: url.clone(), page_rows: Some(page_rows), ..TushareOptions::default() });
        assert_eq!(rows(&fetch_all(&paged, &daily(&market)).await.unwrap()), whole, "{page_rows} rows a page");
    }
    let far = Call { offset: 100_001, ..daily(&market) };
    assert_eq!(source(&url).fetch(&far).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_is_transient_and_the_next_one_is_whole() {
    let market = market();
    let truth = rows(&market.truth("daily", &Area::day(day("20240105"))).unwrap());
    for fault in [
        Fault::CutBody { fraction: 0.5 },
        Fault::CutBody { fraction: 0.999 },
        Fault::OtherAnswer,
        Fault::NotJson,
        Fault::DropConnection,
        Fault::LostAnswer,
        Fault::ServerError { status: 502 },
    ] {
        let script = FaultScript::new(vec![Rule::always(fault.clone()).at(1..=1)]);
        let server = Server::start(&market, script, ServerOptions::default()).await.unwrap();
        let source = source(&server.url());
        let error = source.fetch(&daily(&market)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{fault:?}: {error}");
        assert!(error.message().contains("daily"), "{error}");
        let page = source.fetch(&daily(&market)).await.unwrap();
        assert_eq!(rows(&page.batch), truth, "after {fault:?}");
        server.stop().await;
    }
}

fn accounts() -> MirrorOptions {
    let account = |token: &str, points| Account { token: token.to_string(), points };
    MirrorOptions {
        accounts: vec![account(TOKEN, 120), account("rich", 15_000)],
        enforce_points: true,
        enforce_quota: true,
        ..MirrorOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_points_and_quotas_are_refused_with_their_remedy() {
    let market = market();
    let url = serve_mirror(accounts()).await;
    let options = |token: &str| TushareOptions {
        url: url.clone(),
        token: token.to_string(),
        points: 15_000,
        ..TushareOptions::default()
    };
    let stranger = TushareSource::new(options("nobody"), clock()).unwrap();
    for error in [stranger.probe().await.unwrap_err(), stranger.fetch(&daily(&market)).await.unwrap_err()] {
        assert_eq!((error.kind(), error.whole_source()), (ErrorKind::Denied, true), "{error}");
        assert!(error.message().contains("token不对"), "{error}");
    }
    let poor = TushareSource::new(options(TOKEN), clock()).unwrap();
    poor.probe().await.unwrap();
    let basic = call(market.catalog().get("moneyflow").unwrap(), 0, Area::day(day("20240105")));
    let error = poor.fetch(&basic).await.unwrap_err();
    assert_eq!((error.kind(), error.whole_source()), (ErrorKind::Denied, false), "{error}");
    for _ in 1..50 {
        poor.fetch(&daily(&market)).await.unwrap();
    }
    let error = poor.fetch(&daily(&market)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled { until: Some(clock().now().plus_seconds(60)) });
    assert_eq!(error.learned_limit(), Some(LearnedLimit { per_minute: Some(50), ..LearnedLimit::default() }));
    TushareSource::new(options("rich"), clock()).unwrap().fetch(&daily(&market)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_or_an_outage_answers_is_named_by_remedy() {
    let market = market();
    let empty = r#"{"code":0,"data":{"fields":["ts_code","trade_date"],"items":[]}}"#;
    for (status, headers, body, kind) in [
        (500, vec![], "", "transient"),
        (429, vec![("retry-after", "7")], "", "throttled"),
        (503, vec![("retry-after", "7")], "", "throttled"),
        (403, vec![], "", "denied"),
        (404, vec![], "", "invalid"),
        (307, vec![("location", "http://127.0.0.1:9/")], "", "invalid"),
        (200, vec![], "", "transient"),
        (200, vec![], r#"{"code":-1,"msg":"系统内部错误","data":null}"#, "transient"),
        (200, vec![], r#"{"code":0,"data":{"fields":[],"items":[],"has_more":true}}"#, "transient"),
        (200, vec![("content-encoding", "identity")], empty, ""),
    ] {
        let source = source(&canned(status, &headers, body).await);
        let found = source.fetch(&daily(&market)).await.map_err(|error: Error| error.kind().name());
        assert_eq!(found.map_or_else(|kind| kind, |_| ""), kind, "{status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_and_the_token_is_never_told() {
    let market = market();
    let url = serve_mirror(MirrorOptions::default()).await;
    let bounded = |options: TushareOptions| source_with(TushareOptions { url: url.clone(), ..options });
    let small = bounded(TushareOptions { body_bytes_max: 1000, ..TushareOptions::default() });
    let few = bounded(TushareOptions { rows_max: 5, ..TushareOptions::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = source(&format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    for (source, kind) in [(small, "invalid"), (few, "invalid"), (nobody, "transient")] {
        let error = source.fetch(&daily(&market)).await.unwrap_err();
        assert_eq!(error.kind().name(), kind, "{error}");
        assert!(!format!("{error} {error:?} {source:?}").contains(TOKEN), "{error:?}");
    }
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = TushareOptions {
        url: format!("http://{}", mute.local_addr().unwrap()),
        timeout: Duration::from_millis(50),
        ..TushareOptions::default()
    };
    let error = TushareSource::new(options, clock()).unwrap().probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.message().contains("in time"), "{error}");
}

/// What the mirror answers to a question.
async fn ask(mirror: &Mirror, question: Value) -> Value {
    let answer = mirror.answer(question.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_refuses_in_the_words_of_the_service() {
    let mirror = mirror(accounts());
    let rich = |api: &str, params: Value| json!({"api_name": api, "token": "rich", "params": params, "fields": ""});
    let rights = "权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。";
    for (question, code, text) in [
        (json!([]), -2001, "请求参数错误".to_string()),
        (json!({"api_name": "daily", "token": "x"}), 40101, "您的token不对，请确认。".to_string()),
        (
            json!({"api_name": "moneyflow", "token": TOKEN, "params": {"trade_date": "20240105"}}),
            40203,
            format!("抱歉，您没有接口(moneyflow)访问权限，{rights}"),
        ),
        (rich("nothing", json!({})), 50101, "请指定正确的接口名".to_string()),
        (rich("daily_vip", json!({})), 50101, "请指定正确的接口名".to_string()),
        (rich("fina_indicator", json!({"period": "20231231"})), 50101, "必填参数, ts_code".to_string()),
        (rich("income", json!({"period": "20231231"})), 50101, "必填参数, ts_code".to_string()),
        (rich("daily", json!({"trade_date": "2024"})), 50101, "参数错误, trade_date".to_string()),
        (
            rich("daily", json!({"trade_date": "20240105", "offset": "100001"})),
            50101,
            "offset不能大于100000".to_string(),
        ),
    ] {
        let answer = ask(&mirror, question.clone()).await;
        assert_eq!((&answer["code"], &answer["msg"]), (&json!(code), &json!(text)), "{question}");
        assert_eq!(answer["data"], Value::Null);
    }
    for api in ["income", "income_vip", "fina_indicator_vip"] {
        let answer = ask(&mirror, rich(api, json!({"ts_code": "000001.SZ"}))).await;
        assert_eq!(answer["code"], 0, "{api}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_understands_the_quirks_of_the_official_client() {
    let mirror = mirror(MirrorOptions::default());
    let plain = json!({"api_name": "daily", "params": {"trade_date": "20240105", "limit": 3, "offset": 2}});
    let reference = ask(&mirror, plain).await["data"]["items"].clone();
    assert_eq!(reference.as_array().unwrap().len(), 3);
    for params in [
        json!({"trade_date": 20240105, "limit": "3", "offset": "2", "ts_type_name": "http://host"}),
        json!({"trade_date": "20240105", "limit": 3.0, "offset": 2, "ts_code": "", "start_date": null}),
    ] {
        let answer = ask(&mirror, json!({"api_name": "daily", "token": null, "fields": null, "params": params})).await;
        assert_eq!(answer["data"]["items"], reference, "{params}");
        assert_eq!(answer["data"]["has_more"], true);
    }
    let two = json!({"ts_code": "000001.SZ,600000.SH", "start_date": "20240102", "end_date": "20240105"});
    let question = json!({"api_name": "daily", "params": two, "fields": "close,nothing,trade_date,ts_code,open"});
    let answer = ask(&mirror, question).await;
    assert_eq!(answer["data"]["fields"], json!(["ts_code", "trade_date", "open", "close"]));
    let days: Vec<&str> =
        answer["data"]["items"].as_array().unwrap().iter().map(|row| row[1].as_str().unwrap()).collect();
    assert!(days.is_sorted_by(|a, b| a >= b), "{days:?}");
    let default = ask(&mirror, json!({"api_name": "stock_basic"})).await;
    let fields = default["data"]["fields"].as_array().unwrap();
    assert!(!fields.contains(&json!("list_status")) && fields.contains(&json!("list_date")), "{fields:?}");
    let is_open = json!({"api_name": "trade_cal", "params": {"start_date": "20240105", "end_date": "20240105"}});
    let answer = ask(&mirror, is_open).await;
    assert_eq!(answer["data"]["items"], json!([["SSE", "20240105", 1, "20240104"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_and_compresses_for_those_who_accept_it() {
    let url = serve_mirror(MirrorOptions { body_bytes_max: 2000, ..MirrorOptions::default() }).await;
    let client = reqwest::Client::builder().no_proxy().gzip(false).build().unwrap();
    let question = json!({"api_name": "daily", "params": {"trade_date": "20240105"}}).to_string();
    for path in ["", "/", "/daily", "/dataapi", "/dataapi/daily"] {
        for (accepted, compressed) in [("gzip, deflate", true), ("identity", false)] {
            let request = client.post(format!("{url}{path}")).header("accept-encoding", accepted);
            let response = request.body(question.clone()).send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers().contains_key("content-encoding"), compressed, "{path}");
            let body = response.bytes().await.unwrap();
            assert_eq!(body.starts_with(&[0x1f, 0x8b]), compressed, "{path}");
        }
    }
    assert_eq!(client.get(&url).send().await.unwrap().status(), 405);
    let long = client.post(&url).body("x".repeat(3000)).send().await.unwrap();
    assert_eq!(long.status(), 413);
    let fetched = reqwest::Client::builder().no_proxy().gzip(true).build().unwrap().post(&url).body(question);
    let answer: Value = serde_json::from_slice(&fetched.send().await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!(answer["code"], 0);
}

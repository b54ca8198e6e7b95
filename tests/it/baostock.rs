//! BaoStock over loopback: recorded frames, the client against the mirror, bad answers, sessions, and one market in two
//! dialects.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use tidegate::catalog::Catalog;
use tidegate::check::Columns;
use tidegate::dialect::baostock::answer;
use tidegate::dialect::baostock::frame::{Limits, ReplyDecoder, RequestDecoder, encode_reply, encode_request};
use tidegate::dialect::baostock::{Asked, Refusal, question};
use tidegate::mirror::baostock::{BaostockMirrorOptions, Mirror, Session};
use tidegate::mirror::tushare::MirrorOptions;
use tidegate::model::dataset::{Agreement, Cut};
use tidegate::model::{Area, Clock, Dataset, Day, ErrorKind, Instant, Query, Result, Securities, Slice, Span};
use tidegate::sim::{
    BaostockServer, BaostockServerOptions, FaultScript, Market, MarketOptions, Server, ServerOptions, WireFault,
    WireRule,
};
use tidegate::source::baostock::{BaostockOptions, BaostockSource, WholeDay};
use tidegate::source::tushare::{TushareOptions, TushareSource};
use tidegate::source::{Call, Page, Source};

const SECRET: &str = "a-password-nobody-may-see";

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn market() -> Market {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    Market::new(MarketOptions { securities: 60, ..MarketOptions::new(catalog, day("20230102"), day("20240430")) })
}

fn clock() -> Clock {
    Clock::fixed(Instant::parse("2024-04-30T23:30:00+08:00").unwrap())
}

async fn serve_with(market: &Market, options: BaostockServerOptions) -> BaostockServer {
    BaostockServer::start(Arc::new(market.clone()), market.catalog().clone(), clock(), options).await.unwrap()
}

async fn serve(market: &Market) -> BaostockServer {
    serve_with(market, BaostockServerOptions::default()).await
}

/// A server that misbehaves at its first question.
async fn faulty(market: &Market, fault: WireFault) -> BaostockServer {
    let rules = vec![WireRule::always(fault).at(1..=1)];
    serve_with(market, BaostockServerOptions { rules, ..BaostockServerOptions::default() }).await
}

fn options(server: &BaostockServer) -> BaostockOptions {
    BaostockOptions {
        address: server.address(),
        password: SECRET.to_string(),
        timeout: Duration::from_secs(20),
        ..BaostockOptions::default()
    }
}

fn source(options: BaostockOptions) -> BaostockSource {
    BaostockSource::new(options, clock()).unwrap()
}

fn call(dataset: &Arc<Dataset>, cut: usize, area: Area) -> Call {
    let slice = Slice { dataset: dataset.name.as_str().into(), area, cut, calls: 1, rows: 1 };
    Call { dataset: dataset.clone(), slice, facet: 0, offset: 0 }
}

fn one(code: &str, from: &str, to: &str) -> Area {
    Area::new(Securities::one(code), Span::new(day(from), day(to)))
}

/// Every page of every facet, as the engine asks for them.
async fn fetch_all(source: &dyn Source, first: &Call) -> Result<(RecordBatch, usize)> {
    let facets = source.offer(&first.dataset).unwrap().calls_per_slice;
    let (mut batches, mut pages) = (Vec::new(), 0);
    for facet in 0..facets {
        let mut call = Call { facet, ..first.clone() };
        loop {
            let Page { batch, more, unreadable, .. } = source.fetch(&call).await?;
            assert!(unreadable.is_empty(), "{unreadable:?}");
            call.offset += batch.num_rows() as u64;
            pages += 1;
            let rows = batch.num_rows();
            batches.push(batch);
            if !more || rows == 0 {
                break;
            }
        }
    }
    Ok((concat_batches(&first.dataset.schema(), &batches).unwrap(), pages))
}

/// Rows as text by column, sorted; only of Shanghai and Shenzhen, and only the named columns.
fn rows(batch: &RecordBatch, names: &[&str]) -> Vec<String> {
    let columns = Columns::new(batch);
    let mut rows: Vec<String> = (0..batch.num_rows())
        .map(|row| columns.row_as_json(row))
        .filter(|row| !row["ts_code"].as_str().is_some_and(|code| code.ends_with(".BJ")))
        .map(|row| names.iter().map(|name| format!("{name}={} ", row[*name])).collect())
        .collect();
    rows.sort();
    rows
}

/// Fails with the first row that differs.
fn assert_same(found: &[String], expected: &[String], what: &str) {
    let differs = found.iter().zip(expected).position(|(one, other)| one != other);
    if let Some(row) = differs {
        panic!("{what}, row {row}:\n  {}\n  {}", found[row], expected[row]);
    }
    assert_eq!(found.len(), expected.len(), "{what}: rows");
}

/// The columns that a source has and that are proven equal.
fn shared<'d>(source: &dyn Source, dataset: &'d Dataset) -> Vec<&'d str> {
    let lacks = source.offer(dataset).unwrap().lacks;
    let wire = dataset.columns.iter().filter(|column| !lacks.contains(&column.name));
    wire.map(|column| column.name.as_str()).collect()
}

/// A share of Shanghai that was suspended for some days, and one of those days.
fn suspended(market: &Market) -> (String, Day) {
    let halts = market.truth("suspend_d", &Area::new(Securities::All, market.days())).unwrap();
    let columns = Columns::new(&halts);
    let (code, date, kind) = ("ts_code", "trade_date", "suspend_type");
    let cell = |name, row: usize| columns.get(name).unwrap().text(row).unwrap_or_default().to_string();
    let halt = (0..halts.num_rows()).find(|row| {
        let known =
            cell(code, *row).ends_with(".SH") && cell(kind, *row) == "S" && cell("suspend_timing", *row).is_empty();
        // Not on its first days: a close comes before.
        known && columns.get(date).unwrap().day(*row).unwrap() > day("20230301")
    });
    let row = halt.expect("somebody is suspended");
    (cell(code, row), columns.get(date).unwrap().day(row).unwrap())
}

/// An area with rows in it for a way of asking.
fn areas_for(market: &Market, dataset: &Dataset, cut: &Cut) -> Vec<Area> {
    let span = Span::new(day("20240102"), day("20240430"));
    let wide = if dataset.shape == tidegate::model::dataset::Shape::Whole { Span::ALL } else { market.days() };
    let truth = market.collect(&Query::area(dataset, &Area::new(Securities::All, wide))).unwrap();
    let columns = Columns::new(&truth);
    let known = |row: &usize| {
        dataset.security.as_deref().is_none_or(|name| !columns.get(name).unwrap().text(*row).unwrap().ends_with(".BJ"))
    };
    let picked: Vec<usize> = (0..truth.num_rows()).filter(known).collect();
    let chosen = [0, picked.len() / 2, picked.len().saturating_sub(1)].map(|at| picked.get(at).copied());
    let code = |row: usize| columns.get(dataset.security.as_deref().unwrap()).unwrap().text(row).unwrap().to_string();
    let time = |row: usize| columns.get(dataset.time.as_deref().unwrap()).unwrap().day(row).unwrap();
    let area = |row: usize| match cut {
        Cut::Day { .. } | Cut::Period { .. } => Area::day(time(row)),
        Cut::Security { from: Some(from), .. } if from == "year" => {
            Area::new(Securities::one(code(row)), Span::day(time(row)))
        }
        Cut::Security { from: Some(_), .. } => {
            Area::new(Securities::one(code(row)), Span::new(day("20230301"), span.to))
        }
        Cut::Security { .. } => Area::new(Securities::one(code(row)), Span::ALL),
        Cut::Range { .. } => Area::new(Securities::All, span),
        Cut::Whole => Area::whole(),
    };
    let mut areas: Vec<Area> = chosen.into_iter().flatten().map(area).collect();
    areas.sort();
    areas.dedup();
    areas
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_arrives_from_the_mirror_as_the_market_has_it() {
    let market = market();
    let server = serve(&market).await;
    let source = source(options(&server));
    let (mut ways, mut filled) = (0, 0);
    for dataset in market.catalog().datasets().iter().filter(|dataset| !dataset.baostock.is_empty()) {
        let columns = shared(&source, dataset);
        for (cut, kind) in source.offer(dataset).unwrap().cuts.iter().enumerate() {
            for area in areas_for(&market, dataset, kind) {
                let (found, _) = fetch_all(&source, &call(dataset, cut, area.clone())).await.unwrap();
                let truth = market.collect(&Query::area(dataset, &area)).unwrap();
                let what = format!("{} {area} by {}", dataset.name, kind.name());
                assert_same(&rows(&found, &columns), &rows(&truth, &columns), &what);
                filled += usize::from(found.num_rows() > 0);
            }
            ways += 1;
        }
    }
    assert!(ways >= 26 && filled >= 50, "{ways} ways, {filled} with rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_market_through_two_dialects_gives_the_same_rows() {
    let market = market();
    let server = serve(&market).await;
    let baostock = source(options(&server));
    let http = Server::start(
        &market,
        FaultScript::none(),
        ServerOptions { mirror: MirrorOptions::default(), ..ServerOptions::default() },
    )
    .await
    .unwrap();
    let tushare = TushareOptions { url: http.url(), token: "t".into(), points: 15_000, ..TushareOptions::default() };
    let tushare = TushareSource::new(tushare, clock()).unwrap();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for dataset in market.catalog().datasets() {
        let (Some(first), Some(second)) = (tushare.offer(dataset), baostock.offer(dataset)) else { continue };
        let columns = shared(&baostock, dataset);
        for (cut, kind) in second.cuts.iter().enumerate() {
            let Some(same) = first.cuts.iter().position(|other| other.name() == kind.name()) else { continue };
            for area in areas_for(&market, dataset, kind) {
                let (one, _) = fetch_all(&tushare, &call(dataset, same, area.clone())).await.unwrap();
                let (other, _) = fetch_all(&baostock, &call(dataset, cut, area.clone())).await.unwrap();
                assert_same(&rows(&other, &columns), &rows(&one, &columns), &format!("{} {area}", dataset.name));
                *seen.entry(&dataset.name).or_default() += rows(&other, &columns).len();
            }
        }
    }
    let expected = ["daily", "daily_basic", "index_daily", "monthly", "stock_basic", "trade_cal", "weekly"];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expected);
    assert!(seen.values().all(|rows| *rows > 0), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_make_up_the_whole_also_where_suspended_days_are_left_out() {
    let market = market();
    let server = serve(&market).await;
    let daily = market.catalog().get("daily").unwrap();
    let (code, _) = suspended(&market);
    let area = one(&code, "20230102", "20240430");
    let truth = market.collect(&Query::area(daily, &area)).unwrap();
    let columns = shared(&source(options(&server)), daily);
    for page_rows in [1, 7, 100, 2000] {
        let paged = source(BaostockOptions { page_rows, ..options(&server) });
        let caps = paged.offer(daily).unwrap().row_caps;
        assert_eq!(caps, [Some(page_rows), None], "bars come in pages, a whole day at once");
        let (found, pages) = fetch_all(&paged, &call(daily, 0, area.clone())).await.unwrap();
        assert_same(&rows(&found, &columns), &rows(&truth, &columns), &format!("{page_rows} rows a page"));
        assert!(pages >= truth.num_rows() / page_rows as usize, "{pages}");
    }
    // A page that is exactly full is followed by one that is empty.
    let calendar = market.catalog().get("trade_cal").unwrap();
    let march = Area::new(Securities::All, Span::new(day("20240301"), day("20240331")));
    let before = server.record().questions.len();
    let paged = source(BaostockOptions { page_rows: 31, ..options(&server) });
    let (found, pages) = fetch_all(&paged, &call(calendar, 0, march)).await.unwrap();
    assert_eq!((found.num_rows(), pages, server.record().questions.len() - before), (62, 4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_is_refused_by_name_and_the_next_call_works() {
    let market = market();
    let daily = market.catalog().get("daily").unwrap();
    let question = call(daily, 0, one("600000.SH", "20240102", "20240131"));
    let Some(code) = known_code(&market) else { panic!("no share of Shanghai") };
    let question =
        Call { slice: Slice { area: one(&code, "20240102", "20240131"), ..question.slice.clone() }, ..question };
    let columns = shared(&source(BaostockOptions::default()), daily);
    let truth = rows(&market.collect(&Query::area(daily, &question.slice.area)).unwrap(), &columns);
    for (fault, kind, expected) in [
        (WireFault::Cut { fraction: 0.5 }, "transient", "was cut off"),
        (WireFault::Cut { fraction: 0.999 }, "transient", "was cut off"),
        (WireFault::Cut { fraction: 0.01 }, "transient", "was cut off"),
        (WireFault::WrongChecksum, "transient", "cannot be decompressed"),
        (WireFault::OtherMethod, "transient", "names another query"),
        (WireFault::OtherArgument, "transient", "names another start_date"),
        (WireFault::OtherSecurity, "transient", "rows of other securities"),
        (WireFault::Endless { megabytes: 12 }, "invalid", "has more than 8388608 bytes"),
        (WireFault::Announce { bytes: 1 << 30 }, "invalid", "announces more than 8388608 bytes"),
        (WireFault::Bomb { megabytes: 300 }, "invalid", "decompresses to more than 8388608 bytes"),
        (WireFault::Gbk, "transient", "is no UTF-8 text"),
        (WireFault::Html, "transient", "does not begin as answers of BaoStock do"),
        (WireFault::Twice, "transient", "is followed by something"),
        (WireFault::Mute, "transient", "did not answer in time"),
        (WireFault::Refuse(Refusal::Fault), "transient", "10005001"),
        (WireFault::Refuse(Refusal::Code), "invalid", "10004011"),
        (WireFault::Refuse(Refusal::Account), "denied", "10001002"),
        (WireFault::Refuse(Refusal::TooMany), "throttled", "10001005"),
    ] {
        let server = faulty(&market, fault.clone()).await;
        let timeout = Duration::from_millis(if fault == WireFault::Mute { 300 } else { 20_000 });
        let source = source(BaostockOptions { reply_bytes_max: 8 << 20, timeout, sessions: 1, ..options(&server) });
        let error = source.fetch(&question).await.unwrap_err();
        assert_eq!((error.kind().name(), error.message().contains(expected)), (kind, true), "{fault:?}: {error}");
        assert!(error.message().contains("daily"), "{error}");
        assert!(!format!("{error} {error:?} {source:?}").contains(SECRET), "{error:?}");
        let source = BaostockOptions { reply_bytes_max: 8 << 20, sessions: 1, ..options(&server) };
        let next = self::source(source).fetch(&question).await.unwrap();
        assert_eq!(rows(&next.batch, &columns), truth, "after {fault:?}");
    }
}

fn known_code(market: &Market) -> Option<String> {
    let area = Area::day(day("20240131"));
    let bars = market.truth("daily", &area).unwrap();
    let columns = Columns::new(&bars);
    let codes = columns.get("ts_code")?;
    (0..bars.num_rows()).filter_map(|row| codes.text(row)).find(|code| code.ends_with(".SH")).map(str::to_string)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_dropped_after_a_bad_answer_and_kept_after_a_refusal() {
    let market = market();
    let daily = market.catalog().get("daily").unwrap();
    let question = call(daily, 0, one(&known_code(&market).unwrap(), "20240102", "20240131"));
    for (fault, connections, logins) in [
        (WireFault::Html, 2, 2),
        (WireFault::OtherMethod, 2, 2),
        (WireFault::Twice, 2, 2),
        (WireFault::Cut { fraction: 0.5 }, 2, 2),
        (WireFault::Refuse(Refusal::Code), 1, 1),
        // The server forgot the session: it is opened again on the same connection, within the same call.
        (WireFault::ForgetLogin, 1, 2),
        // Nobody has seen the question: it is asked once more on a new connection.
        (WireFault::Close, 2, 2),
    ] {
        let server = faulty(&market, fault.clone()).await;
        let source = source(BaostockOptions { sessions: 1, ..options(&server) });
        let first = source.fetch(&question).await;
        source.fetch(&question).await.unwrap();
        let record = server.record();
        assert_eq!((record.connections, record.logins), (connections, logins), "{fault:?}: {first:?}");
        if matches!(fault, WireFault::ForgetLogin) {
            first.unwrap();
        } else {
            assert_eq!(record.questions.len(), 2, "{fault:?}: {:?}", record.questions);
            first.unwrap_err();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_closed_while_idle_is_replaced_and_every_session_says_goodbye() {
    let market = market();
    let daily = market.catalog().get("daily").unwrap();
    let question = call(daily, 0, one(&known_code(&market).unwrap(), "20240102", "20240131"));
    // The connection ends right behind the first answer: the next call finds it closed.
    let server = faulty(&market, WireFault::HangUp).await;
    let source = source(BaostockOptions { sessions: 1, ..options(&server) });
    source.probe().await.unwrap();
    for _ in 0..3 {
        source.fetch(&question).await.unwrap();
    }
    let record = server.record();
    assert_eq!((record.connections, record.questions.len()), (2, 3));
    drop(source);
    let said_goodbye = async {
        while server.record().logouts == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), said_goodbye).await.expect("the session says goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_asks_on_all_of_its_sessions_and_on_no_more() {
    let market = market();
    let latency = Duration::from_millis(50);
    let server = serve_with(&market, BaostockServerOptions { latency, ..BaostockServerOptions::default() }).await;
    let daily = market.catalog().get("daily").unwrap();
    let source = Arc::new(source(BaostockOptions { sessions: 3, ..options(&server) }));
    let code = known_code(&market).unwrap();
    let calls = (0..12).map(|_| {
        let (source, question) = (source.clone(), call(daily, 0, one(&code, "20240102", "20240131")));
        tokio::spawn(async move { source.fetch(&question).await.map(|page| page.batch.num_rows()) })
    });
    for asked in calls.collect::<Vec<_>>() {
        assert!(asked.await.unwrap().unwrap() > 0);
    }
    let record = server.record();
    assert_eq!((record.at_once, record.connections, record.logins), (3, 3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_whole_days_is_asked_for_one_once() {
    let market = market();
    let daily = market.catalog().get("daily").unwrap();
    let whole = call(daily, 1, Area::day(day("20240131")));
    for (whole_day, after) in [(WholeDay::Auto, 1), (WholeDay::Always, 2)] {
        let rules = vec![WireRule::always(WireFault::Refuse(Refusal::UnknownType)).of("query_daily_history_k_AStock")];
        let server = serve_with(&market, BaostockServerOptions { rules, ..BaostockServerOptions::default() }).await;
        let source = source(BaostockOptions { whole_day, ..options(&server) });
        assert_eq!(source.offer(daily).unwrap().cuts.len(), 2);
        let error = source.fetch(&whole).await.unwrap_err();
        assert_eq!((error.kind(), error.whole_source()), (ErrorKind::Denied, false), "{error}");
        assert_eq!(source.offer(daily).unwrap().cuts.len(), after, "{whole_day:?}");
        let code = known_code(&market).unwrap();
        source.fetch(&call(daily, 0, one(&code, "20240102", "20240131"))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_unknown_securities_are_told_apart() {
    let market = market();
    let mirror = BaostockMirrorOptions { tokens: vec!["right".into()], ..BaostockMirrorOptions::default() };
    let server = serve_with(&market, BaostockServerOptions { mirror, ..BaostockServerOptions::default() }).await;
    let daily = market.catalog().get("daily").unwrap();
    let question = call(daily, 0, one(&known_code(&market).unwrap(), "20240102", "20240131"));
    let stranger = source(options(&server));
    for error in [stranger.probe().await.unwrap_err(), stranger.fetch(&question).await.unwrap_err()] {
        assert_eq!((error.kind(), error.whole_source()), (ErrorKind::Denied, true), "{error}");
        assert!(error.message().contains("用户名或密码错误") && !format!("{error:?}").contains(SECRET), "{error}");
    }
    for known in [
        BaostockOptions { password: "right".into(), ..options(&server) },
        BaostockOptions { api_key: "right".into(), ..options(&server) },
    ] {
        let source = source(known);
        source.probe().await.unwrap();
        source.fetch(&question).await.unwrap();
        let beijing = call(daily, 0, one("830799.BJ", "20240102", "20240131"));
        let error = source.fetch(&beijing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        // What nobody else serves does not exist for Beijing.
        let factors = call(market.catalog().get("ex_factor").unwrap(), 0, one("830799.BJ", "20240102", "20240131"));
        assert_eq!(source.fetch(&factors).await.unwrap().batch.num_rows(), 0);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = BaostockOptions { address: listener.local_addr().unwrap().to_string(), ..options(&server) };
    drop(listener);
    assert_eq!(source(nobody).probe().await.unwrap_err().kind(), ErrorKind::Transient);
}

/// What the mirror answers to a question: the rows by field, or the code of its refusal.
async fn ask(
    mirror: &Mirror,
    session: &mut Session,
    kind: &str,
    body: &str,
) -> Result<Vec<BTreeMap<String, String>>, String> {
    let mut decoder = RequestDecoder::new(10_000);
    decoder.push(&encode_request("00.9.10", kind, &body.replace('¦', "\u{1}")));
    let frame = decoder.next_frame().unwrap().unwrap();
    let reply = mirror.answer(session, &frame).await;
    let answered = ReplyDecoder::new(Limits::default()).push(&reply).unwrap().unwrap();
    let refused = || {
        assert_eq!(answered.kind, "04");
        answered.body.split('\u{1}').next().unwrap().to_string()
    };
    let asked = match question::parse(&frame) {
        Ok(Asked::Query(asked)) => asked,
        Ok(_) if answered.body.starts_with("0\u{1}") => return Ok(Vec::new()),
        _ => return Err(refused()),
    };
    let table = answer::decode(&asked, &answered, &Limits::default()).unwrap().map_err(|_| refused())?;
    let row = |row| {
        table
            .fields
            .iter()
            .enumerate()
            .map(|(column, name)| (name.clone(), table.cell(row, column).to_string()))
            .collect()
    };
    Ok((0..table.rows()).map(row).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_refuses_in_the_codes_of_the_service() {
    let market = market();
    let catalog = market.catalog().clone();
    let mirror = Mirror::new(Arc::new(market), catalog, BaostockMirrorOptions::default(), clock());
    let mut session = Session::default();
    let bars = |code: &str, fields: &str, from: &str, to: &str, rest: &str| {
        format!("query_history_k_data_plus¦u¦1¦100¦{code}¦{fields}¦{from}¦{to}¦{rest}")
    };
    let calendar = "query_trade_dates¦u¦1¦10¦2024-01-01¦2024-01-31";
    assert_eq!(ask(&mirror, &mut session, "33", calendar).await.unwrap_err(), "10001001");
    assert_eq!(ask(&mirror, &mut session, "02", "logout¦u¦20240131180000").await.unwrap_err(), "10001001");
    ask(&mirror, &mut session, "00", "login¦anonymous¦123456¦0").await.unwrap();
    for (kind, body, code) in [
        ("33", "query_trade_dates¦u¦1¦10¦2024-01-01".to_string(), "10004006"),
        ("33", "query_trade_dates¦u¦1¦10¦2024-02-30¦2024-03-01".to_string(), "10004007"),
        ("33", "query_trade_dates¦u¦1¦10¦2024-02-01¦x".to_string(), "10004008"),
        ("33", "query_trade_dates¦u¦1¦10¦2024-02-01¦2024-01-01".to_string(), "10004009"),
        ("35", "query_all_stock¦u¦1¦10¦yesterday".to_string(), "10004010"),
        ("79", "query_pmi_data¦u¦1¦10¦¦".to_string(), "10004020"),
        ("9A", "query_daily_history_k_ETF¦u¦2024-01-31".to_string(), "10004015"),
        ("17", "query_profit_data¦u¦1¦10¦sh.600000¦2023¦5".to_string(), "10004006"),
        ("13", "query_dividend_data¦u¦1¦10¦sh.600000¦2023¦other".to_string(), "10004006"),
        ("95", bars("600000", "date", "2024-01-02", "2024-01-31", "d¦3"), "10004011"),
        ("95", bars("sh.600000", "date,price", "2024-01-02", "2024-01-31", "d¦3"), "10004012"),
        ("95", bars("sh.600000", "date,date", "2024-01-02", "2024-01-31", "d¦3"), "10004018"),
        ("95", bars("sh.600000", "date", "2024-01-02", "2024-01-31", "5¦3"), "10004015"),
        ("95", bars("sh.600000", "date", "2024-01-02", "2024-01-31", "y¦3"), "10004006"),
        ("95", bars("sh.600000", "date", "2024-01-02", "2024-01-31", "d¦4"), "10004006"),
        ("95", bars("sh.600000", "date", "2024-01-31", "2024-01-02", "d¦3"), "10004009"),
    ] {
        assert_eq!(ask(&mirror, &mut session, kind, &body).await.unwrap_err(), code, "{body}");
    }
    let nobody = ask(&mirror, &mut session, "95", &bars("sh.699999", "date", "2024-01-02", "2024-01-31", "d¦3")).await;
    assert_eq!(nobody.unwrap(), []);
    let beyond = ask(&mirror, &mut session, "33", &calendar.replace("¦1¦10¦", "¦5¦10¦")).await;
    assert_eq!(beyond.unwrap(), []);
    ask(&mirror, &mut session, "02", "logout¦u¦20240131180000").await.unwrap();
    assert_eq!(ask(&mirror, &mut session, "33", calendar).await.unwrap_err(), "10001001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_day_is_a_row_that_repeats_the_last_close() {
    let market = market();
    let catalog = market.catalog().clone();
    let (code, halted) = suspended(&market);
    let (wire, mirror) = (
        format!("sh.{}", &code[..6]),
        Mirror::new(Arc::new(market.clone()), catalog, BaostockMirrorOptions::default(), clock()),
    );
    let mut session = Session::default();
    ask(&mirror, &mut session, "00", "login¦u¦p¦0").await.unwrap();
    let fields = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,isST";
    let (from, to) = (halted.plus(-20), halted.plus(20));
    let body = format!("query_history_k_data_plus¦u¦1¦100¦{wire}¦{fields}¦{from}¦{to}¦d¦3");
    let rows = ask(&mirror, &mut session, "95", &body).await.unwrap();
    let open: Vec<Day> = market.calendar().open_days(Span::new(from, to));
    assert_eq!(rows.len(), open.len());
    let at = rows.iter().position(|row| row["date"] == halted.to_string()).unwrap();
    let (row, before) = (&rows[at], &rows[at - 1]);
    for name in ["open", "high", "low", "close", "preclose"] {
        assert_eq!(row[name], before["close"], "{name}");
    }
    let expected = [
        ("tradestatus", "0"),
        ("volume", "0"),
        ("amount", "0.0000"),
        ("turn", ""),
        ("pctChg", "0.000000"),
        ("adjustflag", "3"),
    ];
    expected.iter().for_each(|(name, value)| assert_eq!(row[*name], *value, "{name}"));
    // A span that begins with the suspension looks further back for the close.
    let body = format!("query_history_k_data_plus¦u¦1¦100¦{wire}¦{fields}¦{halted}¦{halted}¦d¦3");
    assert_eq!(ask(&mirror, &mut session, "95", &body).await.unwrap(), std::slice::from_ref(row));
    // The whole day and the list of the day know it too.
    let day = ask(&mirror, &mut session, "98", &format!("query_daily_history_k_AStock¦u¦{halted}")).await.unwrap();
    let found = day.iter().find(|other| other["code"] == wire).unwrap();
    assert_eq!((&found["close"], &found["tradestatus"]), (&row["close"], &row["tradestatus"]));
    let list = ask(&mirror, &mut session, "35", &format!("query_all_stock¦u¦1¦10000¦{halted}")).await.unwrap();
    assert_eq!(list.iter().find(|other| other["code"] == wire).unwrap()["tradeStatus"], "0");
    let sunday = ask(&mirror, &mut session, "35", "query_all_stock¦u¦1¦10000¦2024-03-31").await.unwrap();
    assert_eq!(sunday, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn adjusted_bars_are_raw_prices_times_factors_and_volumes_stay() {
    let market = market();
    let mirror =
        Mirror::new(Arc::new(market.clone()), market.catalog().clone(), BaostockMirrorOptions::default(), clock());
    let mut session = Session::default();
    ask(&mirror, &mut session, "00", "login¦u¦p¦0").await.unwrap();
    let events = market.truth("ex_factor", &Area::new(Securities::All, market.days())).unwrap();
    let columns = Columns::new(&events);
    let row = (0..events.num_rows()).find(|row| columns.get("ts_code").unwrap().text(*row).unwrap().ends_with(".SH"));
    let row = row.expect("somebody pays a dividend");
    let (code, ex) =
        (columns.get("ts_code").unwrap().text(row).unwrap(), columns.get("ex_date").unwrap().day(row).unwrap());
    let area = Area::new(Securities::one(code), Span::new(ex.plus(-15), ex.plus(15)));
    let factors = market.truth("adj_factor", &Area::new(Securities::one(code), market.days())).unwrap();
    let (sessions, factors) = (factors.num_rows(), Columns::new(&factors));
    let factor = |day: Day| {
        let dates = factors.get("trade_date").unwrap();
        let at = (0..sessions).rfind(|row| dates.day(*row).is_some_and(|known| known <= day)).unwrap();
        factors.get("adj_factor").unwrap().number(at).unwrap()
    };
    let mut bars = Vec::new();
    for flag in ["3", "1", "2"] {
        let body = format!(
            "query_history_k_data_plus¦u¦1¦100¦sh.{}¦date,close,preclose,volume,pctChg,adjustflag¦{}¦{}¦d¦{flag}",
            &code[..6],
            area.span.from,
            area.span.to
        );
        bars.push(ask(&mirror, &mut session, "95", &body).await.unwrap());
        assert!(
            bars.iter().flatten().next_back().is_some_and(|bar: &BTreeMap<String, String>| bar["adjustflag"] == flag)
        );
    }
    let number = |bar: &BTreeMap<String, String>, name: &str| bar[name].parse::<f64>().unwrap();
    let today = factor(clock().now().day());
    assert!(bars[0].len() > 10 && bars[0].len() == bars[1].len() && bars[0].len() == bars[2].len());
    for ((raw, backward), forward) in bars[0].iter().zip(&bars[1]).zip(&bars[2]) {
        let factor = factor(day(&raw["date"]));
        assert!((number(backward, "close") - number(raw, "close") * factor).abs() < 0.000_051, "{raw:?} {backward:?}");
        assert!((number(forward, "close") - number(raw, "close") * factor / today).abs() < 0.000_051, "{forward:?}");
        assert_eq!((&raw["volume"], &raw["pctChg"]), (&forward["volume"], &forward["pctChg"]));
    }
}

/// The folder with recorded frames, unpacked; `None` when there is none beside the project.
fn recorded() -> Option<tempfile::TempDir> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let named = std::env::var_os("TIDEGATE_SHARED").map(|shared| PathBuf::from(shared).join("data"));
    let mut folders = named.into_iter().chain([beside]).map(|folder| folder.join("raw_replies/baostock_frames.tar.gz"));
    let archive = folders.find(|path| path.exists())?;
    let folder = tempfile::TempDir::new().unwrap();
    let status = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success());
    Some(folder)
}

fn folders_with(name: &str, folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(folders_with(name, path));
        }
    }
    if folder.join(name).exists() {
        found.push(folder);
    }
    found
}

#[test]
fn recorded_frames_of_the_service_are_read_and_written_again() {
    let Some(folder) = recorded() else {
        eprintln!("no recorded frames beside the project: nothing to read");
        return;
    };
    let (mut queries, mut refusals) = (0, 0);
    for call in folders_with("request.bin", folder.path().to_path_buf()) {
        let (asked, answered) =
            (std::fs::read(call.join("request.bin")).unwrap(), std::fs::read(call.join("response.bin")).unwrap());
        let mut decoder = RequestDecoder::new(10_000);
        decoder.push(&asked);
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(encode_request(&frame.version, &frame.kind, &frame.body), asked, "{call:?}");
        let reply = ReplyDecoder::new(Limits::default()).push(&answered).unwrap().unwrap();
        if reply.kind != "96" {
            assert_eq!(encode_reply(&reply.kind, &reply.body), answered, "{call:?}");
        }
        let Ok(Asked::Query(query)) = question::parse(&frame) else {
            refusals += usize::from(reply.kind == "04");
            continue;
        };
        assert_eq!(query.body(), frame.body, "{call:?}");
        let table = answer::decode(&query, &reply, &Limits::default()).unwrap().unwrap();
        assert_eq!(table.rows(), rows_noted(&call), "{call:?}");
        queries += 1;
    }
    assert!(queries >= 9 && refusals >= 5, "{queries} queries, {refusals} refusals");
}

fn rows_noted(call: &std::path::Path) -> usize {
    let notes = std::fs::read_to_string(call.join("meta.txt")).unwrap();
    notes.lines().find_map(|line| line.strip_prefix("rows=")).unwrap().trim().parse().unwrap()
}

#[test]
fn unproven_columns_are_offered_for_comparing_only() {
    let catalog = Catalog::builtin().unwrap();
    let source = source(BaostockOptions::default());
    for dataset in catalog.datasets() {
        let Some(offer) = source.offer(dataset) else { continue };
        for (column, served) in dataset.baostock.iter().flat_map(|service| &service.columns) {
            let lacking = offer.lacks.contains(column);
            assert_eq!(lacking, served.agrees == Agreement::Unproven, "{}.{column}", dataset.name);
        }
    }
    assert_eq!(source.offer(catalog.get("trade_cal").unwrap()).unwrap().lacks, ["pretrade_date"]);
    assert!(source.offer(catalog.get("moneyflow").unwrap()).is_none());
}

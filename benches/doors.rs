//! One whole day of daily bars for 5,158 shares through BaoStock at 50 ms a call: security by security on the sessions of
//! the pool, and the whole day in one call.
//!
//! ```sh
//! cargo bench --bench doors
//! ```
//!
//! Nearly all of the time is the latency of the simulated server, so a build without optimisation tells the same:
//! `cargo bench --profile dev --bench doors`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tidegate::catalog::Catalog;
use tidegate::check::Columns;
use tidegate::model::{Area, Clock, Day, Securities, Slice, Span};
use tidegate::sim::{BaostockServer, BaostockServerOptions, Market, MarketOptions};
use tidegate::source::baostock::{BaostockOptions, BaostockSource};
use tidegate::source::{Call, Source};

const SHARES: usize = 5_158;
const LATENCY: Duration = Duration::from_millis(50);
/// What a serial loop in Python reaches.
const SERIAL: f64 = 5.1;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let catalog = Arc::new(Catalog::builtin().expect("the catalogue"));
    let day = Day::parse("2025-06-18").expect("a day");
    let market = Market::new(MarketOptions { securities: 6_000, ..MarketOptions::new(catalog.clone(), day, day) });
    let bars = market.truth("daily", &Area::day(day)).expect("bars");
    let columns = Columns::new(&bars);
    let codes = columns.get("ts_code").expect("codes");
    let known = (0..bars.num_rows()).filter_map(|row| codes.text(row)).filter(|code| !code.ends_with(".BJ"));
    let shares: Vec<String> = known.take(SHARES).map(str::to_owned).collect();
    assert_eq!(shares.len(), SHARES, "the market is too small");
    let options = BaostockServerOptions { latency: LATENCY, ..BaostockServerOptions::default() };
    let clock = market.clock().clone();
    let server =
        BaostockServer::start(Arc::new(market), catalog.clone(), clock.clone(), options).await.expect("a server");
    let daily = catalog.get("daily").expect("daily").clone();
    let call = |cut: usize, securities: Securities| {
        let area = Area::new(securities, Span::day(day));
        let slice = Slice { dataset: "daily".into(), area, cut, calls: 1, rows: 1 };
        Call { dataset: daily.clone(), slice, facet: 0, offset: 0 }
    };
    println!("{:34} {:>8} {:>8} {:>10} {:>10} {:>8}", "", "calls", "rows", "seconds", "shares/s", "x serial");
    for sessions in [4, 8, 16] {
        let source = source(&server, sessions, &clock);
        source.probe().await.expect("the server answers");
        let (before, started) = (server.record().questions.len(), Instant::now());
        let pages = futures::stream::iter(shares.iter().map(|code| call(0, Securities::one(code.as_str()))));
        let rows = pages.map(|call| async { (source.fetch(&call).await.expect("a page"), call) });
        let rows: usize = rows
            .buffer_unordered(sessions as usize)
            .map(|(page, _)| page.batch.num_rows())
            .collect::<Vec<_>>()
            .await
            .iter()
            .sum();
        report(&format!("security by security, {sessions} sessions"), &server, before, rows, started);
        assert_eq!(rows, SHARES);
    }
    let source = source(&server, 4, &clock);
    source.probe().await.expect("the server answers");
    let (before, started) = (server.record().questions.len(), Instant::now());
    let page = source.fetch(&call(1, Securities::All)).await.expect("a page");
    report("the whole day at once", &server, before, page.batch.num_rows(), started);
}

fn source(server: &BaostockServer, sessions: u32, clock: &Clock) -> BaostockSource {
    let options = BaostockOptions { address: server.address(), sessions, ..BaostockOptions::default() };
    BaostockSource::new(options, clock.clone()).expect("a source")
}

fn report(what: &str, server: &BaostockServer, before: usize, rows: usize, started: Instant) {
    let (seconds, calls) = (started.elapsed().as_secs_f64(), server.record().questions.len() - before);
    let rate = rows as f64 / seconds;
    println!("{what:34} {calls:>8} {rows:>8} {seconds:>10.2} {rate:>10.1} {:>8.1}", rate / SERIAL);
}

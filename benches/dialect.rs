//! Rows per second of reading and writing Tushare answers: a page of 6000 daily bars, again and again, on one core.
//!
//! `cargo bench --bench dialect`

use std::hint::black_box;
use std::time::{Duration, Instant as Stopwatch};

use tidegate::catalog::Catalog;
use tidegate::dialect::tushare::{Limits, decode, encode};
use tidegate::model::Instant;

const ROWS: usize = 6000;

fn main() {
    let catalog = Catalog::builtin().expect("the catalogue is whole");
    let daily = catalog.get("daily").expect("daily is in the catalogue");
    let body = page();
    let columns: Vec<usize> = (0..daily.columns.len()).collect();
    let read = || decode(daily, &body, Limits::default(), Instant::default()).expect("the page can be read");
    let batches = [read().batch];
    assert_eq!(batches[0].num_rows(), ROWS);
    let write = || encode(daily, &columns, &batches, ROWS, false, "id").expect("the page can be written");
    println!("{} bytes a page of {ROWS} rows", body.len());
    measure("decode", || drop(black_box(read())));
    measure("encode", || drop(black_box(write())));
}

/// A day of the market as the service writes it.
fn page() -> Vec<u8> {
    let fields = "ts_code trade_date open high low close pre_close change pct_chg vol amount";
    let rows: Vec<String> = (0..ROWS)
        .map(|row| {
            let price = 5.0 + (row % 997) as f64 / 7.0;
            format!(
                "[\"{:06}.SZ\",\"20240105\",{:.2},{:.2},{:.2},{price:.2},{:.2},{:.2},{:.4},{:.2},{:.3}]",
                row,
                price * 0.99,
                price * 1.02,
                price * 0.97,
                price * 0.985,
                price * 0.015,
                1.5 + row as f64 / 7919.0,
                100_000.0 + row as f64 * 13.37,
                400_000.0 + row as f64 * 71.123,
            )
        })
        .collect();
    let fields = fields.split(' ').map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
    let items = rows.join(",");
    format!(
        "{{\"request_id\":\"a\",\"code\":0,\"msg\":\"\",\"data\":{{\"fields\":[{fields}],\"items\":[{items}],\
         \"has_more\":false,\"count\":-1}}}}"
    )
    .into_bytes()
}

/// The best of many short rounds: other work on the machine only ever slows one down.
fn measure(name: &str, mut work: impl FnMut()) {
    const CALLS: u32 = 4;
    let mut round = || {
        let started = Stopwatch::now();
        (0..CALLS).for_each(|_| work());
        started.elapsed()
    };
    let best = (0..80).map(|_| round()).min().unwrap_or(Duration::MAX);
    let rows = ROWS as f64 * f64::from(CALLS) / best.as_secs_f64();
    println!("{name}: {rows:.0} rows/s");
}

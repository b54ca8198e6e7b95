//! The simulated market is consistent with itself, and its server misbehaves as scripted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use tidegate::catalog::Catalog;
use tidegate::model::dataset::RowOrigin;
use tidegate::model::{Area, Clock, Dataset, Day, ErrorKind, Filter, Instant, Order, Query, Securities, Span};
use tidegate::sim::{Fault, FaultScript, Market, MarketOptions, Rule, Server, ServerOptions};

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn options(seed: u64) -> MarketOptions {
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let options = MarketOptions::new(catalog, day("20230901"), day("20240628"));
    MarketOptions { seed, securities: 90, ..options }
}

fn market(seed: u64) -> Market {
    Market::new(options(seed))
}

/// Few securities and one season: enough for every dataset to have rows.
fn season(seed: u64) -> Market {
    Market::new(MarketOptions { first_day: day("20240401"), securities: 150, ..options(seed) })
}

fn all(market: &Market, dataset: &str) -> RecordBatch {
    market.truth(dataset, &Area::whole()).unwrap()
}

fn text(batch: &RecordBatch, name: &str) -> Vec<String> {
    let cells = batch.column_by_name(name).unwrap().as_string::<i32>();
    (0..cells.len()).map(|row| cells.value(row).to_string()).collect()
}

fn days(batch: &RecordBatch, name: &str) -> Vec<Day> {
    let cells = batch.column_by_name(name).unwrap().as_primitive::<Date32Type>();
    (0..cells.len()).map(|row| Day(cells.value(row))).collect()
}

/// Whole or decimal numbers as they are stored; null is `i128::MIN`.
fn numbers(batch: &RecordBatch, name: &str) -> Vec<i128> {
    let column = batch.column_by_name(name).unwrap();
    let cell = |row: usize| match column.as_primitive_opt::<Decimal128Type>() {
        Some(cells) => cells.value(row),
        None => i128::from(column.as_primitive::<Int64Type>().value(row)),
    };
    (0..column.len()).map(|row| if column.is_null(row) { i128::MIN } else { cell(row) }).collect()
}

const NULL: i128 = i128::MIN;

/// Rows by security and day.
fn by_cell(batch: &RecordBatch) -> HashMap<(String, Day), usize> {
    let keys = text(batch, "ts_code").into_iter().zip(days(batch, "trade_date"));
    keys.enumerate().map(|(row, key)| (key, row)).collect()
}

/// What publishers say is not in any market.
fn is_asked_for(dataset: &Dataset) -> bool {
    dataset.origin != RowOrigin::Publishers
}

#[test]
fn every_dataset_of_the_catalogue_has_rows_with_unique_keys() {
    let market = season(1);
    for dataset in market.catalog().datasets().iter().filter(|dataset| is_asked_for(dataset)) {
        let batch = all(&market, &dataset.name);
        assert!(batch.num_rows() > 0, "{} is empty", dataset.name);
        assert_eq!(batch.schema(), dataset.schema(), "{}", dataset.name);
        let key: Vec<_> = dataset.key.iter().map(|name| batch.column_by_name(name).unwrap().clone()).collect();
        let words = |row: usize| key.iter().map(|cells| format!("{:?}", cells.slice(row, 1))).collect::<String>();
        let rows = batch.num_rows().min(3000);
        let unique: std::collections::HashSet<String> = (0..rows).map(words).collect();
        assert_eq!(unique.len(), rows, "{} repeats a key", dataset.name);
    }
}

#[test]
fn the_same_seed_is_the_same_market_and_another_seed_another() {
    let (first, second, other) = (season(1), season(1), season(2));
    let datasets = first.catalog().datasets().iter().filter(|dataset| is_asked_for(dataset));
    let names: Vec<String> = datasets.map(|dataset| dataset.name.clone()).collect();
    // The second market is asked in the opposite order.
    let mut answers: BTreeMap<&str, RecordBatch> = BTreeMap::new();
    for name in names.iter().rev() {
        answers.insert(name, all(&second, name));
    }
    for name in &names {
        let batch = all(&first, name);
        assert_eq!(&batch, &answers[name.as_str()], "{name}");
        if name != "trade_cal" {
            assert_ne!(batch, all(&other, name), "{name}");
        }
    }
}

#[test]
fn a_day_of_the_market_is_the_day_of_each_security() {
    let market = market(1);
    let wanted = day("20240430");
    let codes: Vec<String> = market.securities().iter().map(|security| security.code.to_string()).collect();
    for dataset in market.catalog().datasets() {
        if dataset.security.is_none() || dataset.time.is_none() {
            continue;
        }
        let wanted =
            if dataset.name.ends_with("_vip") || dataset.name.starts_with("fina") { day("20231231") } else { wanted };
        let whole = market.truth(&dataset.name, &Area::day(wanted)).unwrap();
        let mut rows = 0;
        for code in &codes {
            let area = Area::new(Securities::one(code.as_str()), Span::day(wanted));
            let one = market.truth(&dataset.name, &area).unwrap();
            rows += one.num_rows();
            assert!(text(&one, "ts_code").iter().all(|own| own == code), "{}", dataset.name);
        }
        // Index rows belong to no share.
        if dataset.name != "index_daily" {
            assert_eq!(rows, whole.num_rows(), "{}", dataset.name);
        }
    }
}

#[test]
fn pages_in_any_order_add_up_to_the_whole() {
    let market = market(1);
    let whole = all(&market, "daily");
    let newest_first = [("trade_date", true), ("ts_code", false)]
        .map(|(column, descending)| Order { column: column.into(), descending });
    let mut rows = 0;
    let mut last = Day::MAX;
    loop {
        let query =
            Query { order: newest_first.to_vec(), limit: Some(4_000), offset: rows as u64, ..Query::all("daily") };
        let page = market.collect(&query).unwrap();
        if page.num_rows() == 0 {
            break;
        }
        for day in days(&page, "trade_date") {
            assert!(day <= last);
            last = day;
        }
        rows += page.num_rows();
    }
    assert_eq!(rows, whole.num_rows());
}

#[test]
fn an_offset_may_pass_over_several_parts_of_an_answer() {
    let market = market(1);
    let newest_first = Order { column: "cal_date".into(), descending: true };
    let ask = |offset, limit| {
        market.collect(&Query { order: vec![newest_first.clone()], offset, limit, ..Query::all("trade_cal") }).unwrap()
    };
    let whole = ask(0, None);
    assert_eq!(ask(1_000, None), whole.slice(1_000, whole.num_rows() - 1_000));
    assert_eq!(ask(1_000, Some(3_000)), whole.slice(1_000, 3_000));
    assert_eq!(ask(1_000_000, None).num_rows(), 0);
}

#[test]
fn bars_keep_to_their_limits_and_amounts_to_their_prices() {
    let market = market(1);
    let bars = all(&market, "daily");
    let limits = all(&market, "stk_limit");
    let limit_rows = by_cell(&limits);
    let (up, down) = (numbers(&limits, "up_limit"), numbers(&limits, "down_limit"));
    let [open, high, low, close, pre_close, change, volume, amount] =
        ["open", "high", "low", "close", "pre_close", "change", "vol", "amount"].map(|name| numbers(&bars, name));
    for (key, row) in by_cell(&bars) {
        assert!(low[row] <= open[row] && low[row] <= close[row], "{key:?}");
        assert!(high[row] >= open[row] && high[row] >= close[row], "{key:?}");
        assert_eq!(change[row], close[row] - pre_close[row], "{key:?}");
        // Prices have four decimals, amounts two: low x volume <= amount <= high x volume.
        assert!(low[row] * volume[row] <= amount[row] * 100, "{key:?}");
        assert!(amount[row] * 100 <= high[row] * volume[row], "{key:?}");
        assert_eq!(amount[row] % 100, 0, "whole yuan {key:?}");
        let limit = limit_rows[&key];
        if up[limit] != NULL {
            assert!(down[limit] <= low[row] && high[row] <= up[limit], "{key:?}");
            assert!((up[limit] - pre_close[row]) * 1000 <= pre_close[row] * 301 + 100_000, "{key:?}");
        }
    }
}

#[test]
fn factors_explain_every_ex_right_reference_and_dividends_every_factor() {
    let market = Market::new(MarketOptions { securities: 200, ..options(1) });
    let bars = all(&market, "daily");
    let factors = all(&market, "adj_factor");
    let factor_rows = by_cell(&factors);
    let factor = numbers(&factors, "adj_factor");
    let dividends = all(&market, "dividend");
    let carried_out: Vec<(String, Day)> = text(&dividends, "ts_code")
        .into_iter()
        .zip(days(&dividends, "ex_date"))
        .zip(text(&dividends, "div_proc"))
        .filter(|(_, stage)| stage == "实施")
        .map(|(key, _)| key)
        .collect();
    let (codes, dates) = (text(&bars, "ts_code"), days(&bars, "trade_date"));
    let (close, pre_close) = (numbers(&bars, "close"), numbers(&bars, "pre_close"));
    let mut steps = 0;
    for row in 1..bars.num_rows() {
        if codes[row] != codes[row - 1] {
            continue;
        }
        let now = factor[factor_rows[&(codes[row].clone(), dates[row])]] as f64;
        let before = factor[factor_rows[&(codes[row - 1].clone(), dates[row - 1])]] as f64;
        let explained = close[row - 1] as f64 / pre_close[row] as f64;
        assert!((now / before - explained).abs() < 2e-6, "{} {}", codes[row], dates[row]);
        if now != before {
            steps += 1;
            assert!(carried_out.contains(&(codes[row].clone(), dates[row])), "{} {}", codes[row], dates[row]);
        }
    }
    assert!(steps > 30, "{steps} ex-dates");
}

#[test]
fn suspended_securities_have_a_factor_but_no_bar() {
    let market = Market::new(MarketOptions { securities: 300, ..options(1) });
    let halts = all(&market, "suspend_d");
    let bars = by_cell(&all(&market, "daily"));
    let factors = by_cell(&all(&market, "adj_factor"));
    let (kinds, timings) = (text(&halts, "suspend_type"), text(&halts, "suspend_timing"));
    let mut whole_days = 0;
    for (row, key) in text(&halts, "ts_code").into_iter().zip(days(&halts, "trade_date")).enumerate() {
        assert!(factors.contains_key(&key), "{key:?}");
        let whole_day = kinds[row] == "S" && timings[row].is_empty();
        whole_days += usize::from(whole_day);
        assert_eq!(bars.contains_key(&key), !whole_day, "{key:?}");
    }
    assert!(whole_days > 20, "{whole_days}");
    assert!(factors.len() - bars.len() == whole_days);
}

#[test]
fn money_flow_and_weeks_add_up_to_the_bars() {
    let market = market(1);
    let bars = all(&market, "daily");
    let bar_rows = by_cell(&bars);
    let (volume, amount) = (numbers(&bars, "vol"), numbers(&bars, "amount"));
    let flows = all(&market, "moneyflow");
    assert_eq!(flows.num_rows(), bars.num_rows());
    for side in ["buy", "sell"] {
        let sizes = ["sm", "md", "lg", "elg"];
        let volumes = sizes.map(|size| numbers(&flows, &format!("{side}_{size}_vol")));
        let amounts = sizes.map(|size| numbers(&flows, &format!("{side}_{size}_amount")));
        for (key, row) in by_cell(&flows) {
            let bar = bar_rows[&key];
            assert_eq!(volumes.iter().map(|part| part[row]).sum::<i128>(), volume[bar], "{key:?}");
            assert_eq!(amounts.iter().map(|part| part[row]).sum::<i128>(), amount[bar], "{key:?}");
        }
    }
    let week = |day: Day| (day.0 + 3).div_euclid(7);
    let mut traded: HashMap<(String, i32), i128> = HashMap::new();
    for ((code, day), row) in bar_rows {
        *traded.entry((code, week(day))).or_default() += volume[row];
    }
    let weeks = all(&market, "weekly");
    let week_volume = numbers(&weeks, "vol");
    for ((code, day), row) in by_cell(&weeks) {
        assert_eq!(week_volume[row], traded[&(code.clone(), week(day))], "{code} {day}");
    }
    // Only the week in which a security left the market has no row.
    let securities = market.securities();
    let left = securities.iter().filter(|security| security.delisted.is_some()).count();
    assert!(traded.len() - weeks.num_rows() <= left, "{} of {}", weeks.num_rows(), traded.len());
}

#[test]
fn statements_balance() {
    let market = market(1);
    let balance = all(&market, "balancesheet_vip");
    let [assets, debt, equity, current, long] =
        ["total_assets", "total_liab", "total_hldr_eqy_inc_min_int", "total_cur_assets", "total_nca"]
            .map(|name| numbers(&balance, name));
    for row in 0..balance.num_rows() {
        assert_eq!(assets[row], debt[row] + equity[row]);
        assert_eq!(assets[row], current[row] + long[row]);
    }
    let income = all(&market, "income_vip");
    let [total, tax, net, parent, minority, revenue] =
        ["total_profit", "income_tax", "n_income", "n_income_attr_p", "minority_gain", "revenue"]
            .map(|name| numbers(&income, name));
    let mut to_date: HashMap<(String, i16), Vec<(Day, i128)>> = HashMap::new();
    for (row, (code, end)) in text(&income, "ts_code").into_iter().zip(days(&income, "end_date")).enumerate() {
        assert_eq!(net[row], total[row] - tax[row]);
        assert_eq!(net[row], parent[row] + minority[row]);
        to_date.entry((code, end.year())).or_default().push((end, revenue[row]));
    }
    for periods in to_date.values_mut() {
        periods.sort();
        assert!(periods.is_sorted_by_key(|(_, revenue)| *revenue), "cumulative within the year");
    }
    let cash = all(&market, "cashflow_vip");
    let [begin, end, change, cash_now] =
        ["c_cash_equ_beg_period", "c_cash_equ_end_period", "n_incr_cash_cash_equ", "n_cashflow_act"]
            .map(|name| numbers(&cash, name));
    for row in 0..cash.num_rows() {
        assert_eq!(end[row] - begin[row], change[row]);
        assert_ne!(cash_now[row], NULL);
    }
    let flags = text(&income, "update_flag");
    let corrected = flags.iter().filter(|flag| *flag == "1").count();
    assert!(corrected > 0 && corrected * 10 < flags.len(), "{corrected} of {}", flags.len());
    for (announced, end) in days(&income, "ann_date").into_iter().zip(days(&income, "end_date")) {
        assert!(announced > end && announced <= end.plus(121), "{end} announced {announced}");
    }
}

#[test]
fn a_day_appears_at_its_time_of_publication() {
    let friday = day("20240628");
    for (dataset, minutes, rows_expected) in [
        ("daily", 15 * 60 + 59, false),
        ("daily", 16 * 60, true),
        ("daily_basic", 16 * 60 + 30, false),
        ("adj_factor", 9 * 60 + 20, true),
        ("margin", 23 * 60, false),
        ("stk_limit", 9 * 60, true),
    ] {
        let clock = Clock::fixed(Instant::at(friday, minutes));
        let market = Market::new(MarketOptions { clock, ..options(1) });
        let rows = market.truth(dataset, &Area::day(friday)).unwrap().num_rows();
        assert_eq!(rows > 0, rows_expected, "{dataset} at minute {minutes}");
        let later = MarketOptions { clock: Clock::fixed(Instant::at(friday, 47 * 60)), ..options(1) };
        let as_of = Some(Instant::at(friday, minutes));
        let then = Query { as_of, ..Query::area(market.catalog().get(dataset).unwrap(), &Area::day(friday)) };
        assert_eq!(Market::new(later).collect(&then).unwrap().num_rows(), rows, "{dataset} as of minute {minutes}");
        assert!(market.truth(dataset, &Area::day(day("20240627"))).unwrap().num_rows() > 0, "{dataset}");
    }
}

#[test]
fn unknown_names_and_bad_values_are_told_apart() {
    let market = market(1);
    let filter = |column: &str, value: &str| Filter::In { column: column.into(), values: vec![value.into()] };
    for (query, kind) in [
        (Query::all("dayly"), ErrorKind::NotFound),
        (Query { columns: vec!["clse".into()], ..Query::all("daily") }, ErrorKind::NotFound),
        (Query { filters: vec![filter("no", "1")], ..Query::all("daily") }, ErrorKind::NotFound),
        (Query { filters: vec![filter("trade_date", "soon")], ..Query::all("daily") }, ErrorKind::Invalid),
    ] {
        assert_eq!(market.collect(&query).unwrap_err().kind(), kind);
    }
}

async fn ask(server: &Server, params: &str) -> Result<(u16, String), String> {
    let body = format!(r#"{{"api_name":"daily","token":"t","params":{params},"fields":"ts_code,trade_date,close"}}"#);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let reply = client.post(server.url()).body(body).send().await.map_err(|error| error.to_string())?;
    let status = reply.status().as_u16();
    Ok((status, reply.text().await.map_err(|error| error.to_string())?))
}

/// What a client sees of an answer.
fn seen(answer: &Result<(u16, String), String>) -> String {
    let Ok((status, body)) = answer else { return "broken".into() };
    let Ok(reply) = serde_json::from_str::<serde_json::Value>(body) else { return format!("{status} no json") };
    match reply["data"]["items"].as_array() {
        Some(items) => format!("{status} {} rows", items.len()),
        None => format!("{status} code {}", reply["code"]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_reaches_the_client_as_scripted() {
    let market = market(1);
    let rows = market.truth("daily", &Area::day(day("20240102"))).unwrap().num_rows();
    let half = (rows as f64 * 0.5) as usize;
    let cases = [
        (Fault::Refuse { code: 40203, msg: "抱歉".into() }, "200 code 40203".to_string()),
        (Fault::Throttle { per_minute: 500 }, "200 code 40203".into()),
        (Fault::QuotaGone { per_day: 8000 }, "200 code 40203".into()),
        (Fault::WrongToken, "200 code 40101".into()),
        (Fault::DropConnection, "broken".into()),
        (Fault::LostAnswer, "broken".into()),
        (Fault::CutBody { fraction: 0.5 }, "broken".into()),
        (Fault::OtherAnswer, format!("200 {rows} rows")),
        (Fault::HalfPublished { fraction: 0.5 }, format!("200 {half} rows")),
        (Fault::DuplicateRows { every: 1 }, format!("200 {} rows", rows * 2)),
        (Fault::WithdrawnRows { every: 2 }, format!("200 {} rows", rows - rows / 2)),
        (Fault::LateCorrection { column: None, every: 1 }, format!("200 {rows} rows")),
        (Fault::SlowAnswer { millis: 1 }, format!("200 {rows} rows")),
        (Fault::ServerError { status: 503 }, "503 no json".into()),
        (Fault::TooManyRequests { retry_after_seconds: 2 }, "429 no json".into()),
        (Fault::NotJson, "200 no json".into()),
    ];
    let rules = cases.iter().enumerate().map(|(number, (fault, _))| {
        let call = number as u64 + 2;
        Rule::always(fault.clone()).of("daily").at(call..=call)
    });
    let server = Server::start(&market, FaultScript::new(rules.collect()), ServerOptions::default()).await.unwrap();
    let params = r#"{"trade_date":"20240102"}"#;
    assert_eq!(seen(&ask(&server, params).await), format!("200 {rows} rows"), "before any fault");
    for (fault, expected) in &cases {
        assert_eq!(&seen(&ask(&server, params).await), expected, "{}", fault.name());
    }
    let served = server.served();
    let met: Vec<&str> = served.iter().filter_map(|call| call.fault).collect();
    assert_eq!(met, cases.iter().map(|(fault, _)| fault.name()).collect::<Vec<_>>());
    assert_eq!(served[0].params["trade_date"], "20240102");
    assert_eq!(server.counts()["daily"].calls, cases.len() as u64 + 1);
    server.stop().await;
}

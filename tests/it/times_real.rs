//! Adjusted prices against real files: raw, forward and backward adjusted bars of the same securities and days.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type};
use arrow_array::{Array, ArrayRef, Date32Array, Decimal128Array, RecordBatch, StringArray};
use tidegate::catalog::Catalog;
use tidegate::model::*;
use tidegate::read::{Adjust, View, rows::filtered};
use tidegate::source::file::{self, Mapping, ReadOptions};

use crate::store_suite::day;
use crate::times::Kept;

/// The folder of real data, when it is there.
fn real_data() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let data = std::env::var_os("TIDEGATE_SHARED").map_or_else(beside, PathBuf::from).join("data/daily");
    if !data.is_dir() {
        println!("the folder of real data is absent (TIDEGATE_SHARED): nothing was compared");
        return None;
    }
    Some(data)
}

/// The rows of a file that belong to the securities; of all of them when none are named.
fn read(path: PathBuf, dataset: &Arc<Dataset>, map: &[&str], codes: &BTreeSet<String>) -> Vec<RecordBatch> {
    let map: Vec<String> = map.iter().map(|text| text.to_string()).collect();
    let options = ReadOptions { mapping: Mapping::parse(&map, dataset).unwrap(), ..ReadOptions::new(dataset.clone()) };
    let filters: Vec<Filter> = match codes.is_empty() {
        true => Vec::new(),
        false => vec![Filter::In { column: "ts_code".into(), values: codes.iter().cloned().collect() }],
    };
    let mut batches = Vec::new();
    let report = file::read(&path, &options, &mut |found| {
        batches.push(filtered(dataset, found.batch, &filters).unwrap());
        Ok(())
    });
    assert_eq!(report.unwrap().quarantined, 0);
    batches
}

type Prices = BTreeMap<(String, Day), [Option<i128>; 2]>;

/// Two decimal columns of every row.
fn prices(batches: &[RecordBatch], columns: [&str; 2]) -> Prices {
    let mut prices = Prices::new();
    for batch in batches {
        let codes = batch.column_by_name("ts_code").unwrap().as_string::<i32>();
        let days = batch.column_by_name("trade_date").unwrap().as_primitive::<Date32Type>();
        let columns = columns.map(|name| batch.column_by_name(name).unwrap().as_primitive::<Decimal128Type>());
        for row in 0..batch.num_rows() {
            let cells = columns.map(|cells| (!cells.is_null(row)).then(|| cells.value(row)));
            prices.insert((codes.value(row).to_owned(), Day(days.value(row))), cells);
        }
    }
    prices
}

/// The factors that follow from raw prices: on an ex-date the close before over the ex-right reference price.
fn factors_by_hand(raw: &Prices) -> Vec<(String, Day, i128)> {
    let mut factors: Vec<(String, Day, i128)> = Vec::new();
    let mut before: Option<(&str, i128, i128)> = None;
    for ((code, day), cells) in raw {
        let [Some(close), Some(pre_close)] = *cells else { panic!("{code} {day} has no price") };
        let factor = match before {
            Some((other, factor, last)) if other == code && last != pre_close => {
                decimal::multiply_divide(factor, last, pre_close).unwrap()
            }
            Some((other, factor, _)) if other == code => factor,
            _ => 1_000_000,
        };
        before = Some((code, factor, close));
        factors.push((code.clone(), *day, factor));
    }
    factors
}

fn factor_batch(dataset: &Dataset, factors: &[(String, Day, i128)]) -> RecordBatch {
    let codes = StringArray::from_iter_values(factors.iter().map(|(code, _, _)| code));
    let days = Date32Array::from_iter_values(factors.iter().map(|(_, day, _)| day.0));
    let values = Decimal128Array::from_iter_values(factors.iter().map(|(_, _, factor)| *factor));
    let values = values.with_data_type(dataset.columns[2].data_type());
    let columns: Vec<ArrayRef> = vec![Arc::new(codes), Arc::new(days), Arc::new(values)];
    RecordBatch::try_new(dataset.schema(), columns).unwrap()
}

/// Tushare's own forward adjusted prices (anchored in September 2020) against those computed from its raw ones. Factors are
/// derived from reference prices, which the exchange rounds to the cent: that is the tolerance.
#[tokio::test]
async fn forward_adjusted_prices_agree_with_tushare_s_own_of_real_securities() {
    let Some(data) = real_data() else { return };
    let kept = Kept::new(Catalog::builtin().unwrap()).await;
    let daily = kept.catalog.get("daily").unwrap().clone();
    let none = BTreeSet::new();
    let theirs = prices(&read(data.join("tushare_qfq_2010_2020.tar.gz"), &daily, &[], &none), ["close", "pre_close"]);
    let codes: BTreeSet<String> = theirs.keys().map(|(code, _)| code.clone()).collect();
    let raw = read(data.join("tushare_raw_2019_2020.tar.gz"), &daily, &[], &codes);
    let factors = factors_by_hand(&prices(&raw, ["close", "pre_close"]));
    let table = kept.catalog.get("adj_factor").unwrap().clone();
    for batch in raw {
        kept.keep_batch(Instant(0), &daily, batch).await;
    }
    kept.keep_batch(Instant(0), &table, factor_batch(&table, &factors)).await;
    let view = View { adjust: Some(Adjust::Forward), anchor: Some(day("20200508")), ..View::default() };
    let ours = prices(&kept.read_batches(view, &Query::all("daily")).await, ["close", "pre_close"]);
    let mut last: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    let mut compared = 0;
    for (key, [close, _]) in ours.iter().rev() {
        let Some([theirs, _]) = theirs.get(key) else { continue };
        let (ours, theirs) = (close.unwrap(), theirs.unwrap());
        let (our_last, their_last) = *last.entry(&key.0).or_insert((ours, theirs));
        let ratio = (ours * their_last) as f64 / (theirs * our_last) as f64;
        assert!((ratio - 1.0).abs() < 0.0005, "{key:?}: {ours} {theirs}, at the end {our_last} {their_last}");
        compared += 1;
    }
    assert_eq!(compared, 62_645);
    let changes = factors.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].2 != pair[1].2).count();
    assert!(changes > 150, "{changes} ex-dates");
}

/// A file with raw prices, factors and backward adjusted prices side by side.
#[tokio::test]
async fn backward_adjusted_prices_equal_those_of_a_real_file() {
    let Some(data) = real_data() else { return };
    let kept = Kept::new(Catalog::builtin().unwrap()).await;
    let (daily, table) = (kept.catalog.get("daily").unwrap().clone(), kept.catalog.get("adj_factor").unwrap().clone());
    let path = data.join("tushare_cnheader_adj_2024.tar.gz");
    let none = BTreeSet::new();
    for batch in read(path.clone(), &daily, &[], &none) {
        kept.keep_batch(Instant(0), &daily, batch).await;
    }
    for batch in read(path.clone(), &table, &[], &none) {
        kept.keep_batch(Instant(0), &table, batch).await;
    }
    let map = ["收盘价=", "开盘价=", "收盘价后复权=close", "开盘价后复权=open"];
    let theirs = prices(&read(path, &daily, &map, &none), ["open", "close"]);
    let view = View { adjust: Some(Adjust::Backward), ..View::default() };
    let ours = prices(&kept.read_batches(view, &Query::all("daily")).await, ["open", "close"]);
    assert_eq!(ours.len(), 117_292);
    // The file's products went through binary floats: where the fifth digit is a 5 its fourth may be the other one.
    let mut ties = 0;
    for (key, cells) in &ours {
        for (ours, theirs) in cells.iter().zip(theirs[key]) {
            let difference = (ours.unwrap() - theirs.unwrap()).abs();
            assert!(difference <= 1, "{key:?}: {ours:?} and {theirs:?}");
            ties += difference;
        }
    }
    assert!(ties < 2_000, "{ties} of {} differ in the last digit", 2 * ours.len());
}

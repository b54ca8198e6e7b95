//! Faults inside an answer: rows missing, doubled, changed or of another question. Untouched cells keep their text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::decimal;

use super::faults::Fault;

#[derive(Deserialize, Serialize)]
struct Reply {
    request_id: String,
    code: i64,
    msg: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize, Serialize)]
struct Data {
    fields: Vec<String>,
    items: Vec<Vec<Box<RawValue>>>,
    has_more: bool,
    count: i64,
}

/// The answer as the fault leaves it; an answer without rows stays as it is.
pub fn distorted(fault: &Fault, params: &BTreeMap<String, String>, body: &[u8]) -> Vec<u8> {
    let Ok(mut reply) = serde_json::from_slice::<Reply>(body) else { return body.to_vec() };
    let Some(data) = &mut reply.data else { return body.to_vec() };
    match fault {
        Fault::HalfPublished { fraction } => {
            let kept = (data.items.len() as f64 * fraction.clamp(0.0, 1.0)) as usize;
            data.items.truncate(kept);
            data.has_more = false;
        }
        Fault::DuplicateRows { every } => {
            let copies: Vec<_> = data.items.iter().step_by((*every).max(1)).cloned().collect();
            data.items.extend(copies);
        }
        Fault::WithdrawnRows { every } => {
            let every = (*every).max(1);
            let mut row = 0;
            data.items.retain(|_| {
                row += 1;
                row % every != 0
            });
        }
        Fault::LateCorrection { column, every } => correct(data, column.as_deref(), (*every).max(1)),
        Fault::WrongUnits { column, power } => rescale(data, column, *power),
        Fault::OtherAnswer => misdirect(data, params),
        _ => {}
    }
    serde_json::to_vec(&reply).unwrap_or_else(|_| body.to_vec())
}

fn raw(text: String) -> Option<Box<RawValue>> {
    RawValue::from_string(text).ok()
}

fn is_number(cell: &RawValue) -> bool {
    cell.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// Adds a thousandth to a number of every n-th row.
fn correct(data: &mut Data, column: Option<&str>, every: usize) {
    let named = column.and_then(|name| data.fields.iter().position(|field| field == name));
    for row in data.items.iter_mut().step_by(every) {
        let Some(index) = named.or_else(|| row.iter().rposition(|cell| is_number(cell))) else { continue };
        let Some(cell) = row.get_mut(index) else { continue };
        let corrected = decimal::parse(cell.get(), 6, 0).and_then(|value| raw(decimal::to_text(value + 1_000, 6)));
        if let Some(corrected) = corrected {
            *cell = corrected;
        }
    }
}

/// Every number of a column times a power of ten.
fn rescale(data: &mut Data, column: &str, power: u32) {
    let Some(index) = data.fields.iter().position(|field| field == column) else { return };
    for cell in data.items.iter_mut().filter_map(|row| row.get_mut(index)) {
        let scaled = decimal::parse(cell.get(), 6, 0).map(|value| value * 10i128.pow(power.min(12)));
        if let Some(scaled) = scaled.and_then(|value| raw(decimal::to_text(value, 6))) {
            *cell = scaled;
        }
    }
}

/// Rows of another security when one was asked for, else of another day.
fn misdirect(data: &mut Data, params: &BTreeMap<String, String>) {
    let (fields, foreign): (&[&str], &str) = match params.get("ts_code").map(String::as_str) {
        Some("000001.SZ") => (&["ts_code"], "\"600000.SH\""),
        Some(_) => (&["ts_code"], "\"000001.SZ\""),
        None => (&["trade_date", "cal_date", "end_date", "ann_date"], "\"19901219\""),
    };
    let Some(index) = fields.iter().find_map(|name| data.fields.iter().position(|field| field == name)) else { return };
    for cell in data.items.iter_mut().filter_map(|row| row.get_mut(index)) {
        if let Some(foreign) = raw(foreign.to_owned()) {
            *cell = foreign;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"request_id":"1","code":0,"msg":"","data":{"fields":["ts_code","trade_date","close"],"items":[["000001.SZ","20240102",10.10],["000002.SZ","20240102",7.0],["000004.SZ","20240102",null]],"has_more":false,"count":-1}}"#;

    #[test]
    fn each_fault_changes_what_it_says_and_nothing_else() {
        let day = BTreeMap::from([("trade_date".to_owned(), "20240102".to_owned())]);
        for (fault, expected) in [
            (Fault::HalfPublished { fraction: 0.4 }, r#"[["000001.SZ","20240102",10.10]]"#),
            (
                Fault::DuplicateRows { every: 2 },
                r#"[["000001.SZ","20240102",10.10],["000002.SZ","20240102",7.0],["000004.SZ","20240102",null],["000001.SZ","20240102",10.10],["000004.SZ","20240102",null]]"#,
            ),
            (Fault::WithdrawnRows { every: 2 }, r#"[["000001.SZ","20240102",10.10],["000004.SZ","20240102",null]]"#),
            (
                Fault::LateCorrection { column: Some("close".to_owned()), every: 1 },
                r#"[["000001.SZ","20240102",10.101],["000002.SZ","20240102",7.001],["000004.SZ","20240102",null]]"#,
            ),
            (
                Fault::WrongUnits { column: "close".to_owned(), power: 2 },
                r#"[["000001.SZ","20240102",1010],["000002.SZ","20240102",700],["000004.SZ","20240102",null]]"#,
            ),
            (
                Fault::OtherAnswer,
                r#"[["000001.SZ","19901219",10.10],["000002.SZ","19901219",7.0],["000004.SZ","19901219",null]]"#,
            ),
        ] {
            let body = String::from_utf8(distorted(&fault, &day, BODY.as_bytes())).unwrap();
            assert!(body.contains(&format!("\"items\":{expected},")), "{}: {body}", fault.name());
        }
        assert_eq!(distorted(&Fault::OtherAnswer, &day, b"{}"), b"{}");
    }
}

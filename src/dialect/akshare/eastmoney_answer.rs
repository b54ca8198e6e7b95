//! The Eastmoney pages from the answering side: which function a request reads, and its table in the form of the page.
//! The simulated market answers with it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::eastmoney::{BAR_FIELDS, LIST_ROWS, REPORT_ROWS, list_fields, report_of};
use super::encode::Table;
use crate::dialect::cells::text_of;

/// A request understood: the function that reads the page, its parameters, and how to write the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub function: &'static str,
    pub params: BTreeMap<String, String>,
    /// From 1.
    pub page: usize,
    market: u8,
}

/// Reads a request from its path and its decoded parameters; `None` when there is no such page.
pub fn read(path: &str, query: &BTreeMap<String, String>) -> Option<Asked> {
    let get = |name: &str| query.get(name).map(String::as_str);
    let number = |name: &str| get(name).and_then(|text| text.parse().ok());
    let mut params = BTreeMap::new();
    let mut put = |name: &str, value: &str| params.insert(name.to_string(), value.to_string());
    if path.ends_with("/api/qt/stock/kline/get") {
        let (market, code) = get("secid")?.split_once('.')?;
        let period = match get("klt")? {
            "101" => "daily",
            "102" => "weekly",
            "103" => "monthly",
            _ => return None,
        };
        put("symbol", code);
        put("period", period);
        put("start_date", get("beg")?);
        put("end_date", get("end")?);
        return Some(Asked { function: "stock_zh_a_hist", params, page: 1, market: market.parse().ok()? });
    }
    if path.ends_with("/api/qt/clist/get") {
        let names_only = !get("fields")?.contains("f2,");
        let function = if names_only { "stock_info_a_code_name" } else { "stock_zh_a_spot_em" };
        return Some(Asked { function, params, page: number("pn")?, market: 0 });
    }
    let (function, period) = report_of(get("reportName")?)?;
    let (_, rest) = get("filter")?.split_once(&format!("({period}='"))?;
    put("date", &rest.split_once('\'')?.0.replace('-', ""));
    if function == "stock_yysj_em" {
        put("symbol", "沪深A股");
    }
    Some(Asked { function, params, page: number("pageNumber")?, market: 0 })
}

impl Asked {
    /// The body of the answer.
    pub fn write(&self, table: &Table) -> String {
        match self.function {
            "stock_zh_a_hist" => self.bars(table),
            "stock_zh_a_spot_em" | "stock_info_a_code_name" => self.list(table),
            _ => self.report(table),
        }
    }

    fn bars(&self, table: &Table) -> String {
        let places: Vec<usize> = BAR_FIELDS.iter().filter_map(|name| place(table, name)).collect();
        let line = |row: &Vec<String>| {
            let cells = places.iter().take(BAR_FIELDS.len() - 1).map(|place| match row[*place].as_str() {
                "null" => "-".to_string(),
                cell => text_of(cell).unwrap_or_default().split('T').next().unwrap_or_default().to_string(),
            });
            cells.collect::<Vec<_>>().join(",")
        };
        let lines: Vec<String> = table.rows.iter().map(line).collect();
        let data = json!({
            "code": self.params.get("symbol"), "market": self.market, "name": "-", "decimal": 2,
            "dktotal": lines.len(), "preKPrice": 0.0, "klines": lines,
        });
        let data = if table.rows.is_empty() { Value::Null } else { data };
        json!({ "rc": 0, "rt": 17, "svr": 0, "lt": 1, "full": 0, "dlmkts": "", "dsc": "0", "data": data }).to_string()
    }

    fn list(&self, table: &Table) -> String {
        let names = list_fields(self.function);
        let mut rows: Vec<&Vec<String>> = table.rows.iter().collect();
        let code = place(table, names.first().map_or("", |(_, name)| name)).unwrap_or(0);
        rows.sort_by(|a, b| b[code].cmp(&a[code]));
        let object = |row: &&Vec<String>| object(table, row, names, |cell| cell.replace("null", "\"-\""));
        let page: Vec<Box<RawValue>> = rows.iter().filter_map(object).skip(self.first(LIST_ROWS)).collect();
        let page = &page[..page.len().min(LIST_ROWS as usize)];
        json!({ "rc": 0, "rt": 6, "data": { "total": rows.len(), "diff": RawList(page) } }).to_string()
    }

    fn report(&self, table: &Table) -> String {
        let (names, period) = super::eastmoney::report_fields(self.function);
        let end = self.params.get("date").map_or(String::new(), |text| text.clone());
        let end = crate::model::Day::parse(&end).map_or(end, |day| format!("{day} 00:00:00"));
        let dated = |cell: &str| match cell.strip_suffix("T00:00:00.000\"") {
            Some(day) => format!("{day} 00:00:00\""),
            None => cell.to_string(),
        };
        let row = |row: &Vec<String>| {
            let whole = object(table, row, names, dated)?.get().to_string();
            let inner = whole.strip_suffix('}')?;
            RawValue::from_string(format!("{inner},\"{period}\":\"{end}\"}}")).ok()
        };
        let rows: Vec<Box<RawValue>> = table.rows.iter().filter_map(row).skip(self.first(REPORT_ROWS)).collect();
        if rows.is_empty() {
            let message = "返回数据为空";
            return json!({ "result": null, "success": false, "message": message, "code": 9201 }).to_string();
        }
        let page = &rows[..rows.len().min(REPORT_ROWS as usize)];
        let pages = table.rows.len().div_ceil(REPORT_ROWS as usize);
        let result = json!({ "pages": pages, "data": RawList(page), "count": table.rows.len() });
        json!({ "result": result, "success": true, "message": "ok", "code": 0 }).to_string()
    }

    fn first(&self, page_rows: u32) -> usize {
        self.page.saturating_sub(1) * page_rows as usize
    }
}

struct RawList<'a>(&'a [Box<RawValue>]);

impl serde::Serialize for RawList<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

fn place(table: &Table, name: &str) -> Option<usize> {
    table.fields.iter().position(|field| field == name)
}

/// One row under the names of the page.
fn object(
    table: &Table,
    row: &[String],
    names: &[(&str, &str)],
    cell: impl Fn(&str) -> String,
) -> Option<Box<RawValue>> {
    let member = |(wire, name): &(&str, &str)| Some(format!("\"{wire}\":{}", cell(row.get(place(table, name)?)?)));
    let members: Option<Vec<String>> = names.iter().map(member).collect();
    RawValue::from_string(format!("{{{}}}", members?.join(","))).ok()
}

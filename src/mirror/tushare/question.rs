//! What a question means: parameters -> a query to the store, with the meanings that the service gives them.
//!
//! Rows of one moment come in the order of their key; anything else newest first, as the service sends it.

use std::collections::BTreeSet;

use crate::dialect::tushare::refusal::OFFSET_MAX;
use crate::dialect::tushare::{Asked, Params, Refusal};
use crate::model::dataset::{Cut, Tushare};
use crate::model::{ColumnType, Dataset, Day, Filter, Order, Query};

/// A question understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Asks for one row more than is sent, to know whether more follow.
    pub query: Query,
    /// The columns to send: indices into the dataset's, in its order.
    pub columns: Vec<usize>,
    pub rows_max: usize,
}

/// Reads a question. `cap` is the number of rows that an answer may hold.
pub fn read(dataset: &Dataset, table: &Tushare, asked: &Asked, cap: usize) -> Result<Question, Refusal> {
    let params = &asked.params;
    if !table.required.is_empty() && !table.required.iter().any(|name| params.get(name).is_some()) {
        return Err(Refusal::Required { parameters: table.required.join(", ") });
    }
    let bad = |name: &str| Refusal::BadParameter { name: name.to_string() };
    let offset = params.count("offset").unwrap_or(Some(0)).ok_or_else(|| bad("offset"))?;
    if offset > OFFSET_MAX {
        return Err(Refusal::OffsetTooLarge);
    }
    let limit = params.count("limit").unwrap_or(Some(0)).ok_or_else(|| bad("limit"))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let rows_max = if limit == 0 { cap } else { limit.min(cap) };
    let columns = columns(dataset, &asked.fields);
    let filters = filters(dataset, table, params)?;
    let query = Query {
        dataset: dataset.name.clone(),
        columns: columns.iter().filter_map(|index| dataset.columns.get(*index)).map(|c| c.name.clone()).collect(),
        order: order(dataset, &filters),
        filters,
        limit: Some(rows_max as u64 + 1),
        offset,
        as_of: None,
    };
    Ok(Question { query, columns, rows_max })
}

/// The columns that are named, or those that are sent without being named. Unknown names are passed over.
fn columns(dataset: &Dataset, fields: &[String]) -> Vec<usize> {
    let wanted = |name: &String, on_request: bool| match fields.is_empty() {
        true => !on_request,
        false => fields.contains(name),
    };
    let sent = dataset.columns.iter().enumerate().filter(|(_, column)| column.derived.is_none());
    sent.filter(|(_, column)| wanted(&column.name, column.on_request)).map(|(index, _)| index).collect()
}

/// The parameters that equal a column, and the pairs that bound one.
struct Meanings<'a> {
    equal: BTreeSet<(&'a str, &'a str)>,
    bounds: BTreeSet<(&'a str, &'a str, &'a str)>,
}

impl<'a> Meanings<'a> {
    fn of(dataset: &'a Dataset, table: &'a Tushare) -> Meanings<'a> {
        let (mut equal, mut bounds) = (BTreeSet::new(), BTreeSet::new());
        let (time, security) = (dataset.time.as_deref(), dataset.security.as_deref());
        let ranged = table.range_column.as_deref().or(time);
        let mut bound = |from: &'a str, to: &'a str| {
            bounds.extend(ranged.map(|column| (from, to, column)));
        };
        for cut in &table.cuts {
            match cut {
                Cut::Day { day: name } | Cut::Period { period: name } => equal.extend(time.map(|time| (&**name, time))),
                Cut::Security { security: name, from, to } => {
                    equal.extend(security.map(|security| (&**name, security)));
                    if let (Some(from), Some(to)) = (from, to) {
                        bound(from, to);
                    }
                }
                Cut::Range { from, to } => bound(from, to),
                Cut::Whole => {}
            }
        }
        if table.range_column.is_some() {
            bound("start_date", "end_date");
        }
        equal.extend(security.map(|security| (security, security)));
        let named = |name: &'a String| dataset.column(name).map(|_| (name.as_str(), name.as_str()));
        equal.extend(table.facets.keys().filter(|name| !table.filters.contains_key(*name)).filter_map(named));
        equal.extend(table.filters.iter().map(|(name, column)| (name.as_str(), column.as_str())));
        Meanings { equal, bounds }
    }

    /// Whether the parameter is the end of a range here. A name that is also a single value (`end_date` is a report
    /// period and the end of a range) is the end of a range only beside its beginning.
    fn bounds(&self, params: &Params, name: &str) -> bool {
        let single = self.equal.iter().any(|(own, _)| *own == name);
        self.bounds
            .iter()
            .any(|(from, to, _)| *from == name || (*to == name && (!single || params.get(from).is_some())))
    }
}

fn filters(dataset: &Dataset, table: &Tushare, params: &Params) -> Result<Vec<Filter>, Refusal> {
    let meanings = Meanings::of(dataset, table);
    let mut filters = Vec::new();
    for (name, column) in &meanings.equal {
        let default = || table.defaults.get(*name).map(|value| vec![value.clone()]);
        let Some(values) = params.list(name).or_else(default).filter(|_| !meanings.bounds(params, name)) else {
            continue;
        };
        let values = values.iter().map(|value| canonical(dataset, column, name, value));
        filters.push(Filter::In { column: column.to_string(), values: values.collect::<Result<_, _>>()? });
    }
    for (from, to, column) in &meanings.bounds {
        let given = |name: &str| params.get(name).filter(|_| meanings.bounds(params, name));
        let value = |name| given(name).map(|value| canonical(dataset, column, name, value)).transpose();
        let (from, to) = (value(from)?, value(to)?);
        if from.is_some() || to.is_some() {
            filters.push(Filter::Between { column: column.to_string(), from, to });
        }
    }
    Ok(filters)
}

/// The value as the store writes it: `20240131` becomes `2024-01-31`.
fn canonical(dataset: &Dataset, column: &str, parameter: &str, value: &str) -> Result<String, Refusal> {
    let bad = || Refusal::BadParameter { name: parameter.to_string() };
    match dataset.column(column).map(|column| column.kind) {
        Some(ColumnType::Date) => Day::parse(value).map(|day| day.to_string()).map_err(|_| bad()),
        _ => Ok(value.to_string()),
    }
}

/// A total order, so that pages do not overlap.
fn order(dataset: &Dataset, filters: &[Filter]) -> Vec<Order> {
    let time = dataset.time.as_deref();
    let one_moment = |filter: &Filter| {
        matches!(filter, Filter::In { column, values }
        if Some(column.as_str()) == time && values.len() == 1)
    };
    let newest_first = time.filter(|_| !filters.iter().any(one_moment));
    let first = newest_first.map(|column| Order { column: column.to_string(), descending: true });
    let rest = dataset.key.iter().filter(|name| Some(name.as_str()) != newest_first);
    first.into_iter().chain(rest.map(|name| Order { column: name.clone(), descending: false })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        name = "list"
        title = ""
        title_zh = ""
        about = ""
        key = ["ts_code", "end_date", "tag", "row_hash"]
        security = "ts_code"
        time = "end_date"
        shape = "period"
        publish = { at = "17:00", settle_days = 1, refresh_hours = 1 }
        policy = { mode = "incremental", schedule = "continuous", batch = 1, retries = 1, conflict = "replace" }

        [tushare]
        api = "list"
        points = 120
        cuts = [
            { by = "period", period = "period" },
            { by = "period", period = "end_date" },
            { by = "security", security = "ts_code" },
        ]
        facets = { tag = ["U", "D"] }
        filters = { kind = "tag" }
        range_column = "ann_date"
        defaults = { tag = "U" }
        required = ["ts_code", "period", "end_date"]

        [[columns]]
        name = "ts_code"
        type = "text"
        unit = ""
        meaning = ""
        meaning_zh = ""

        [[columns]]
        name = "ann_date"
        type = "date"
        unit = ""
        meaning = ""
        meaning_zh = ""

        [[columns]]
        name = "end_date"
        type = "date"
        unit = ""
        meaning = ""
        meaning_zh = ""

        [[columns]]
        name = "tag"
        type = "text"
        unit = ""
        meaning = ""
        meaning_zh = ""
        on_request = true

        [[columns]]
        name = "row_hash"
        type = "text"
        unit = ""
        meaning = ""
        meaning_zh = ""
        derived = "row_hash"
    "#;

    fn question(params: &str, fields: &str, cap: usize) -> Result<Question, Refusal> {
        let dataset: Dataset = toml::from_str(TABLE).unwrap();
        let body = format!(r#"{{"api_name":"list","params":{{{params}}},"fields":"{fields}"}}"#);
        let asked = crate::dialect::tushare::request::parse(body.as_bytes()).unwrap();
        read(&dataset, dataset.tushare.as_ref().unwrap(), &asked, cap)
    }

    fn filters_of(params: &str) -> Result<String, Refusal> {
        let text = |filter: &Filter| match filter {
            Filter::In { column, values } => format!("{column}={}", values.join("|")),
            Filter::Between { column, from, to } => {
                format!("{column}:{}..{}", from.as_deref().unwrap_or(""), to.as_deref().unwrap_or(""))
            }
        };
        Ok(question(params, "", 10)?.query.filters.iter().map(text).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn parameters_become_filters() {
        let bad = |name: &str| Err(Refusal::BadParameter { name: name.to_string() });
        for (params, expected) in [
            (r#""ts_code":"1.SZ,2.SH""#, Ok("tag=U ts_code=1.SZ|2.SH")),
            (r#""ts_code":"1.SZ","tag":"D""#, Ok("tag=D ts_code=1.SZ")),
            (r#""period":"20231231""#, Ok("end_date=2023-12-31 tag=U")),
            (r#""period":20231231,"kind":"D""#, Ok("tag=D end_date=2023-12-31 tag=U")),
            (r#""end_date":"20231231""#, Ok("end_date=2023-12-31 tag=U")),
            (
                r#""ts_code":"1.SZ","start_date":"20240101","end_date":"20240131""#,
                Ok("tag=U ts_code=1.SZ ann_date:2024-01-01..2024-01-31"),
            ),
            (r#""ts_code":"1.SZ","start_date":"20240101""#, Ok("tag=U ts_code=1.SZ ann_date:2024-01-01..")),
            (r#""ts_code":"1.SZ","unknown":"x","start_date":null"#, Ok("tag=U ts_code=1.SZ")),
            (r#""period":"yesterday""#, bad("period")),
            (
                r#""start_date":"20240101""#,
                Err(Refusal::Required { parameters: "ts_code, period, end_date".to_string() }),
            ),
        ] {
            assert_eq!(filters_of(params), expected.map(str::to_string), "{params}");
        }
    }

    #[test]
    fn limits_and_offsets_are_read_in_every_form() {
        let bad = |name: &str| Err(Refusal::BadParameter { name: name.to_string() });
        for (params, expected) in [
            ("", Ok((10, 0))),
            (r#""limit":3,"offset":"4""#, Ok((3, 4))),
            (r#""limit":"300","offset":null"#, Ok((10, 0))),
            (r#""limit":"","offset":100000"#, Ok((10, 100_000))),
            (r#""offset":100001"#, Err(Refusal::OffsetTooLarge)),
            (r#""offset":-1"#, bad("offset")),
            (r#""limit":"all""#, bad("limit")),
        ] {
            let found =
                question(&format!(r#""ts_code":"1.SZ"{}{params}"#, if params.is_empty() { "" } else { "," }), "", 10);
            let found = found.map(|question| (question.rows_max, question.query.offset));
            assert_eq!(found, expected, "{params}");
        }
    }

    #[test]
    fn columns_come_in_the_order_of_the_catalogue_and_derived_ones_never() {
        for (fields, expected) in [
            ("", &["ts_code", "ann_date", "end_date"][..]),
            ("tag,ts_code,row_hash,TS_CODE,nothing", &["ts_code", "tag"]),
            ("nothing", &[]),
        ] {
            assert_eq!(question(r#""ts_code":"1.SZ""#, fields, 10).unwrap().query.columns, expected, "{fields}");
        }
    }

    #[test]
    fn one_moment_is_sorted_by_key_and_anything_else_newest_first() {
        let order = |params| {
            let order = question(params, "", 10).unwrap().query.order;
            let text = |order: &Order| format!("{}{}", if order.descending { "-" } else { "" }, order.column);
            order.iter().map(text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(r#""period":"20231231""#), "ts_code end_date tag row_hash");
        assert_eq!(order(r#""ts_code":"1.SZ""#), "-end_date ts_code tag row_hash");
    }
}

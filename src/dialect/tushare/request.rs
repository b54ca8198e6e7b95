//! Questions: the parameters that ask for one page of one slice, and the reading of anybody's question.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::dialect::facets;
use crate::model::dataset::{Cut, Tushare};
use crate::model::{Area, Dataset, Day, Error, Result, Span};

/// How many calls a slice makes at least: one for each combination of facet values.
pub fn facet_count(table: &Tushare) -> u32 {
    facets::count(&table.facets)
}

/// Which part of the answer is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Which combination of facet values, from 0.
    pub facet: u32,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to send at most; `None` leaves it to the service.
    pub limit: Option<u32>,
}

/// The parameters that ask for `part` of `area` by way of `cut`.
pub fn params_for(table: &Tushare, cut: &Cut, area: &Area, part: Part) -> Result<Map<String, Value>> {
    let mut params = Map::new();
    let mut put = |name: &str, value: String| params.insert(name.to_string(), Value::String(value));
    for (name, value) in &table.always {
        put(name, value.clone());
    }
    for (name, value) in facets::values(&table.facets, part.facet)? {
        put(name, value.to_string());
    }
    let impossible = || Error::bug(format!("{} cannot be asked for {area} by {}", table.api, cut.name()));
    let code = area.securities.single();
    match cut {
        Cut::Day { day: name } | Cut::Period { period: name } => {
            if area.span.from != area.span.to {
                return Err(impossible());
            }
            put(name, area.span.from.compact());
            if let (Some(code), Some(security)) = (code, security_parameter(table)) {
                put(security, code.to_string());
            }
        }
        Cut::Security { security, from, to } => {
            put(security, code.ok_or_else(impossible)?.to_string());
            put_bounds(&mut put, from.as_deref(), to.as_deref(), area.span);
        }
        Cut::Range { from, to } => put_bounds(&mut put, Some(from), Some(to), area.span),
        Cut::Whole => {}
    }
    if part.offset > 0 {
        params.insert("offset".to_string(), part.offset.into());
    }
    if let Some(limit) = part.limit {
        params.insert("limit".to_string(), limit.into());
    }
    Ok(params)
}

/// Open ends are not sent.
fn put_bounds(put: &mut impl FnMut(&str, String) -> Option<Value>, from: Option<&str>, to: Option<&str>, span: Span) {
    if let Some(name) = from.filter(|_| span.from > Day::MIN) {
        put(name, span.from.compact());
    }
    if let Some(name) = to.filter(|_| span.to < Day::MAX) {
        put(name, span.to.compact());
    }
}

/// The parameter that names the security.
pub fn security_parameter(table: &Tushare) -> Option<&str> {
    table.cuts.iter().find_map(|cut| match cut {
        Cut::Security { security, .. } => Some(security.as_str()),
        _ => None,
    })
}

/// The body of a question. It names every column, so that those which are sent on request only arrive as well.
pub fn body(dataset: &Dataset, table: &Tushare, token: &str, params: Map<String, Value>) -> Vec<u8> {
    let wire_columns = dataset.columns.iter().filter(|column| column.derived.is_none());
    let fields: Vec<&str> = wire_columns.map(|column| column.name.as_str()).collect();
    body_of(&table.api, token, params, &fields.join(","))
}

/// The body of any question.
pub fn body_of(api: &str, token: &str, params: Map<String, Value>, fields: &str) -> Vec<u8> {
    let body = serde_json::json!({"api_name": api, "token": token, "params": params, "fields": fields});
    body.to_string().into_bytes()
}

/// Parameters as text: numbers become text, `null` and `""` are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub BTreeMap<String, String>);

impl Params {
    fn from_values(values: Map<String, Value>) -> Params {
        let text = |value: Value| match value {
            Value::String(text) => Some(text.trim().to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let present = |(name, value)| text(value).filter(|text| !text.is_empty()).map(|text| (name, text));
        Params(values.into_iter().filter_map(present).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The values of a comma list.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let values = self.get(name)?.split(',').map(str::trim).filter(|value| !value.is_empty());
        Some(values.map(str::to_string).collect())
    }

    /// A count such as `limit`: `3`, `"3"` and `3.0` are the same. `Some(None)` when it is no count.
    pub fn count(&self, name: &str) -> Option<Option<u64>> {
        let text = self.get(name)?;
        let whole = text.split_once('.').filter(|(_, zeros)| zeros.bytes().all(|byte| byte == b'0'));
        Some(whole.map_or(text, |(whole, _)| whole).parse().ok())
    }
}

/// A question as the mirror reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub api_name: String,
    pub token: String,
    pub params: Params,
    /// Empty: the default columns.
    pub fields: Vec<String>,
}

#[derive(Deserialize)]
struct WireQuestion {
    #[serde(default)]
    api_name: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    params: Option<Map<String, Value>>,
    #[serde(default)]
    fields: Option<String>,
}

/// Reads a question; `None` when it is none.
pub fn parse(body: &[u8]) -> Option<Asked> {
    let question: WireQuestion = serde_json::from_slice(body).ok()?;
    let fields = question.fields.unwrap_or_default();
    let fields = fields.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_string).collect();
    Some(Asked {
        api_name: question.api_name?,
        token: question.token.unwrap_or_default(),
        params: Params::from_values(question.params.unwrap_or_default()),
        fields,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Securities;

    fn table() -> Tushare {
        toml::from_str(
            r#"
            api = "kpl_list"
            points = 120
            cuts = [
                { by = "day", day = "trade_date" },
                { by = "security", security = "ts_code", from = "start_date", to = "end_date" },
                { by = "range", from = "start_date", to = "end_date" },
                { by = "whole" },
                { by = "period", period = "period" },
            ]
            always = { is_new = "Y" }
            facets = { market = ["a", "b"], tag = ["1", "2", "3"] }
            "#,
        )
        .unwrap()
    }

    fn area(code: Option<&str>, from: &str, to: &str) -> Area {
        let bound = |text: &str, open| if text.is_empty() { open } else { Day::parse(text).unwrap() };
        let span = Span::new(bound(from, Day::MIN), bound(to, Day::MAX));
        Area::new(code.map_or(Securities::All, Securities::one), span)
    }

    #[test]
    fn a_cut_and_an_area_make_parameters() {
        let day = area(None, "20240102", "20240102");
        let one = |from, to| area(Some("000001.SZ"), from, to);
        for (cut, area, expected) in [
            (0, day.clone(), Some("trade_date=20240102")),
            (0, one("20240102", "20240102"), Some("trade_date=20240102 ts_code=000001.SZ")),
            (0, area(None, "20240102", "20240103"), None),
            (0, Area::whole(), None),
            (1, one("20240102", ""), Some("start_date=20240102 ts_code=000001.SZ")),
            (1, one("", ""), Some("ts_code=000001.SZ")),
            (1, day.clone(), None),
            (2, area(None, "20240102", "20240301"), Some("end_date=20240301 start_date=20240102")),
            (2, Area::whole(), Some("")),
            (3, Area::whole(), Some("")),
            (4, area(None, "20231231", "20231231"), Some("period=20231231")),
        ] {
            let table = table();
            let params = params_for(&table, &table.cuts[cut], &area, Part::default()).ok();
            let text = params.map(|params| {
                let own = params.iter().filter(|(name, _)| !["is_new", "market", "tag"].contains(&name.as_str()));
                let mut own: Vec<String> =
                    own.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
                own.sort();
                own.join(" ")
            });
            assert_eq!(text.as_deref(), expected, "cut {cut} of {area}");
        }
    }

    #[test]
    fn facets_are_enumerated_in_name_order() {
        let table = table();
        assert_eq!(facet_count(&table), 6);
        let mut seen = Vec::new();
        for facet in 0..6 {
            let part = Part { facet, offset: 0, limit: None };
            let params = params_for(&table, &Cut::Whole, &Area::whole(), part).unwrap();
            assert_eq!(params["is_new"], "Y");
            seen.push(format!("{}{}", params["market"].as_str().unwrap(), params["tag"].as_str().unwrap()));
        }
        assert_eq!(seen, ["a1", "a2", "a3", "b1", "b2", "b3"]);
        let beyond = Part { facet: 6, ..Part::default() };
        assert!(params_for(&table, &Cut::Whole, &Area::whole(), beyond).is_err());
    }

    #[test]
    fn pages_are_asked_by_offset_and_limit() {
        let part = Part { facet: 0, offset: 6000, limit: Some(6000) };
        let params = params_for(&table(), &Cut::Whole, &Area::whole(), part).unwrap();
        assert_eq!((&params["offset"], &params["limit"]), (&6000.into(), &6000.into()));
    }

    #[test]
    fn anybodys_question_is_read() {
        let body = br#"{"api_name":"daily","token":"t","fields":" close,ts_code,,","extra":[1],
            "params":{"ts_code":"000001.SZ, 600000.SH,","offset":"3","limit":5.0,"trade_date":null,
            "start_date":"","bad":"x","exact":20240102,"ts_type_name":"http://host"}}"#;
        let asked = parse(body).unwrap();
        assert_eq!((asked.api_name.as_str(), asked.token.as_str()), ("daily", "t"));
        assert_eq!(asked.fields, ["close", "ts_code"]);
        assert_eq!(asked.params.list("ts_code").unwrap(), ["000001.SZ", "600000.SH"]);
        assert_eq!(asked.params.get("exact"), Some("20240102"));
        assert_eq!((asked.params.get("trade_date"), asked.params.get("start_date")), (None, None));
        for (name, expected) in
            [("offset", Some(Some(3))), ("limit", Some(Some(5))), ("bad", Some(None)), ("absent", None)]
        {
            assert_eq!(asked.params.count(name), expected, "{name}");
        }
        for body in ["", "[]", "{}", "{\"api_name\":3}", "{\"api_name\":\"daily\",\"params\":3}"] {
            assert_eq!(parse(body.as_bytes()), None, "{body}");
        }
        assert!(parse(b"{\"api_name\":\"daily\",\"params\":null,\"fields\":null,\"token\":null}").is_some());
    }
}

//! The Eastmoney pages underneath AKShare's functions, asked without Python: bars, lists and reports.
//!
//! An answer becomes a frame with the fields of the function that reads the page, so both forms share one mapping.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::frame::{self, Frame, Limits, NULL, broken, quoted, too_many};
use super::query::encoded;
use super::question::Question;
use crate::model::{Day, Error, Result};

/// Which of the vendor's hosts has the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    History,
    List,
    Report,
    Forecast,
}

/// One page to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub host: Host,
    /// With its leading slash and its query.
    pub path: String,
}

/// A page read.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    pub frame: Frame<'a>,
    /// More pages follow.
    pub more: bool,
}

/// Which page a function reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Bars,
    List,
    Report(&'static Report),
}

/// A report of the data centre.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    host: Host,
    path: &'static str,
    name: &'static str,
    sort: (&'static str, &'static str),
    /// The column of the report period, also the filter.
    period: &'static str,
    /// What the filter says besides the period.
    filter: &'static str,
    /// Column of the report -> field of the function.
    fields: &'static [(&'static str, &'static str)],
}

/// Rows of a page of a list.
pub const LIST_ROWS: u32 = 100;
/// Rows of a page of a report.
pub const REPORT_ROWS: u32 = 500;

/// The number of pages that a list may promise.
const PAGES_MAX: u64 = 10_000;

const LISTED: &str = r#"(SECURITY_TYPE_CODE in ("058001001","058001008"))(TRADE_MARKET_CODE!="069001017")"#;

static RESULTS: Report = Report {
    host: Host::Report,
    path: "/api/data/v1/get",
    name: "RPT_LICO_FN_CPD",
    sort: ("UPDATE_DATE,SECURITY_CODE", "-1,-1"),
    period: "REPORTDATE",
    filter: "",
    fields: &[
        ("SECURITY_CODE", "股票代码"),
        ("SECURITY_NAME_ABBR", "股票简称"),
        ("BASIC_EPS", "每股收益"),
        ("TOTAL_OPERATE_INCOME", "营业总收入-营业总收入"),
        ("YSTZ", "营业总收入-同比增长"),
        ("YSHZ", "营业总收入-季度环比增长"),
        ("PARENT_NETPROFIT", "净利润-净利润"),
        ("SJLTZ", "净利润-同比增长"),
        ("SJLHZ", "净利润-季度环比增长"),
        ("BPS", "每股净资产"),
        ("WEIGHTAVG_ROE", "净资产收益率"),
        ("MGJYXJJE", "每股经营现金流量"),
        ("XSMLL", "销售毛利率"),
        ("PUBLISHNAME", "所处行业"),
        ("UPDATE_DATE", "最新公告日期"),
    ],
};

static FORECASTS: Report = Report {
    host: Host::Forecast,
    path: "/securities/api/data/v1/get",
    name: "RPT_PUBLIC_OP_NEWPREDICT",
    sort: ("NOTICE_DATE,SECURITY_CODE", "-1,-1"),
    period: "REPORT_DATE",
    filter: "",
    fields: &[
        ("SECURITY_CODE", "股票代码"),
        ("SECURITY_NAME_ABBR", "股票简称"),
        ("PREDICT_FINANCE", "预测指标"),
        ("PREDICT_CONTENT", "业绩变动"),
        ("FORECAST_JZ", "预测数值"),
        ("INCREASE_JZ", "业绩变动幅度"),
        ("CHANGE_REASON_EXPLAIN", "业绩变动原因"),
        ("PREDICT_TYPE", "预告类型"),
        ("PREYEAR_SAME_PERIOD", "上年同期值"),
        ("NOTICE_DATE", "公告日期"),
    ],
};

static PLANS: Report = Report {
    host: Host::Report,
    path: "/api/data/v1/get",
    name: "RPT_PUBLIC_BS_APPOIN",
    sort: ("FIRST_APPOINT_DATE,SECURITY_CODE", "1,1"),
    period: "REPORT_DATE",
    filter: LISTED,
    fields: &[
        ("SECURITY_CODE", "股票代码"),
        ("SECURITY_NAME_ABBR", "股票简称"),
        ("FIRST_APPOINT_DATE", "首次预约时间"),
        ("FIRST_CHANGE_DATE", "一次变更日期"),
        ("SECOND_CHANGE_DATE", "二次变更日期"),
        ("THIRD_CHANGE_DATE", "三次变更日期"),
        ("ACTUAL_PUBLISH_DATE", "实际披露时间"),
    ],
};

/// Field of the list -> field of `stock_zh_a_spot_em`.
const QUOTES: [(&str, &str); 22] = [
    ("f12", "代码"),
    ("f14", "名称"),
    ("f2", "最新价"),
    ("f3", "涨跌幅"),
    ("f4", "涨跌额"),
    ("f5", "成交量"),
    ("f6", "成交额"),
    ("f7", "振幅"),
    ("f15", "最高"),
    ("f16", "最低"),
    ("f17", "今开"),
    ("f18", "昨收"),
    ("f10", "量比"),
    ("f8", "换手率"),
    ("f9", "市盈率-动态"),
    ("f23", "市净率"),
    ("f20", "总市值"),
    ("f21", "流通市值"),
    ("f22", "涨速"),
    ("f11", "5分钟涨跌"),
    ("f24", "60日涨跌幅"),
    ("f25", "年初至今涨跌幅"),
];

/// Field of the list -> field of `stock_info_a_code_name`.
const NAMES: [(&str, &str); 2] = [("f12", "code"), ("f14", "name")];

fn page_of(api: &str) -> Option<Page> {
    Some(match api {
        "stock_zh_a_hist" => Page::Bars,
        "stock_zh_a_spot_em" | "stock_info_a_code_name" => Page::List,
        "stock_yjbb_em" => Page::Report(&RESULTS),
        "stock_yjyg_em" => Page::Report(&FORECASTS),
        "stock_yysj_em" => Page::Report(&PLANS),
        _ => return None,
    })
}

/// Field of the list -> field of the function.
pub fn list_fields(api: &str) -> &'static [(&'static str, &'static str)] {
    if api == "stock_info_a_code_name" { &NAMES } else { &QUOTES }
}

/// Column of the report -> field of the function, and the column of the report period.
pub fn report_fields(api: &str) -> (&'static [(&'static str, &'static str)], &'static str) {
    match page_of(api) {
        Some(Page::Report(report)) => (report.fields, report.period),
        _ => (&[], ""),
    }
}

/// The function that reads the report of this name, and the column of the report period.
pub fn report_of(name: &str) -> Option<(&'static str, &'static str)> {
    let reports = ["stock_yjbb_em", "stock_yjyg_em", "stock_yysj_em"].into_iter();
    reports.filter_map(|api| Some((api, page_of(api)?))).find_map(|(api, page)| match page {
        Page::Report(report) if report.name == name => Some((api, report.period)),
        _ => None,
    })
}

/// Which host answers a function's question; `None` when no page of the vendor does.
pub fn host_of(api: &str) -> Option<Host> {
    Some(match page_of(api)? {
        Page::Bars => Host::History,
        Page::List => Host::List,
        Page::Report(report) => report.host,
    })
}

/// Rows of a page; `None` when one answer brings everything.
pub fn page_rows(api: &str) -> Option<u32> {
    match page_of(api)? {
        Page::Bars => None,
        Page::List => Some(LIST_ROWS),
        Page::Report(_) => Some(REPORT_ROWS),
    }
}

/// The page to get for a question, after `offset` rows.
pub fn request(question: &Question, offset: u64) -> Result<Request> {
    let unserved = || Error::not_found(format!("eastmoney has no page for {}", question.api));
    let host = host_of(&question.api).ok_or_else(unserved)?;
    let page = offset / u64::from(page_rows(&question.api).unwrap_or(u32::MAX)) + 1;
    let path = match page_of(&question.api).ok_or_else(unserved)? {
        Page::Bars => bars(question)?,
        Page::List => list(&question.api, page),
        Page::Report(report) => report_page(report, question, page)?,
    };
    Ok(Request { host, path })
}

fn bars(question: &Question) -> Result<String> {
    let code = question.code.as_deref().ok_or_else(|| Error::bug("bars are asked of one security"))?;
    let digits = code.split('.').next().unwrap_or_default();
    let market = u8::from(code.ends_with(".SH"));
    let kind = match question.params.get("period").map(String::as_str) {
        None | Some("daily") => "101",
        Some("weekly") => "102",
        Some("monthly") => "103",
        Some(_) => return Err(Error::invalid("the bars of that period have no page")),
    };
    let bound = |name: &str, open: &str| question.params.get(name).map_or(open, String::as_str).to_string();
    let (from, to) = (bound("start_date", "19700101"), bound("end_date", "20500101"));
    Ok(format!(
        "/api/qt/stock/kline/get?secid={market}.{}&klt={kind}&fqt=0&beg={}&end={}&fields1=f1,f2,f3,f4,f5,f6\
         &fields2=f51,f52,f53,f54,f55,f56,f57,f58,f59,f60,f61&ut=7eea3edcaed734bea9cbfc24409ed989",
        encoded(digits),
        encoded(&from),
        encoded(&to)
    ))
}

/// Sorted by code, so that pages do not shift while prices move.
fn list(api: &str, page: u64) -> String {
    let fields: Vec<&str> = list_fields(api).iter().map(|(field, _)| *field).collect();
    let market = encoded("m:0 t:6,m:0 t:80,m:1 t:2,m:1 t:23,m:0 t:81 s:2048");
    format!(
        "/api/qt/clist/get?pn={page}&pz={LIST_ROWS}&po=1&np=1&fltt=2&invt=2&fid=f12&fs={market}&fields={}\
         &ut=bd1d9ddb04089700cf9c27f6f7426281",
        fields.join(",")
    )
}

fn report_page(report: &Report, question: &Question, page: u64) -> Result<String> {
    let period = period_of(question)?;
    let filter = format!("{}({}='{period}')", report.filter, report.period);
    Ok(format!(
        "{}?reportName={}&columns=ALL&sortColumns={}&sortTypes={}&pageSize={REPORT_ROWS}&pageNumber={page}&filter={}",
        report.path,
        report.name,
        report.sort.0,
        report.sort.1,
        encoded(&filter)
    ))
}

fn period_of(question: &Question) -> Result<Day> {
    let period = question.params.get("date").and_then(|text| Day::parse(text).ok());
    period.ok_or_else(|| Error::bug("reports are asked by period"))
}

/// Reads the answer to a question after `offset` rows.
pub fn read<'a>(question: &Question, offset: u64, body: &'a [u8], limits: Limits) -> Result<Answer<'a>> {
    let text = unwrapped(frame::text(body)?);
    match page_of(&question.api) {
        Some(Page::Bars) => read_bars(question, text, limits),
        Some(Page::List) => read_list(question, offset, text, limits),
        Some(Page::Report(report)) => read_report(report, question, offset, text, limits),
        None => Err(Error::bug(format!("eastmoney has no page for {}", question.api))),
    }
}

/// Some hosts wrap the JSON into the call of a function.
fn unwrapped(text: &str) -> &str {
    let text = text.trim().trim_end_matches(';');
    let inner = text.split_once('(').and_then(|(name, rest)| {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        rest.strip_suffix(')').filter(|_| is_name)
    });
    inner.unwrap_or(text)
}

fn unproven() -> Error {
    Error::transient("eastmoney answered no row, which does not prove that there is none")
        .hint("it answers so under load; another source or a later run settles it")
}

#[derive(Deserialize)]
struct WireBars<'a> {
    #[serde(borrow)]
    data: Option<WireSeries<'a>>,
}

#[derive(Deserialize)]
struct WireSeries<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(default)]
    market: Option<u8>,
    #[serde(borrow, default)]
    klines: Vec<Cow<'a, str>>,
}

/// Cells of a bar's line, and the code that the page says once.
pub const BAR_FIELDS: [&str; 12] =
    ["日期", "开盘", "收盘", "最高", "最低", "成交量", "成交额", "振幅", "涨跌幅", "涨跌额", "换手率", "股票代码"];

fn read_bars<'a>(question: &Question, text: &'a str, limits: Limits) -> Result<Answer<'a>> {
    let wire: WireBars<'a> = serde_json::from_str(text).map_err(|error| broken(&error))?;
    let series = wire.data.ok_or_else(|| {
        Error::transient("eastmoney answered without data").hint("it knows no such code, or it is under load")
    })?;
    if series.klines.is_empty() {
        return Err(unproven());
    }
    if series.klines.len() > limits.rows_max {
        return Err(too_many(limits));
    }
    let asked = question.code.as_deref().unwrap_or_default();
    let market = u8::from(asked.ends_with(".SH"));
    let same_market = series.market.is_none_or(|answered| answered == market);
    if asked.split('.').next() != Some(&*series.code) || !same_market {
        return Err(Error::transient("the answer is about another security"));
    }
    let mut frame = Frame::new(BAR_FIELDS.map(Cow::Borrowed).to_vec());
    let code = quoted(asked);
    for line in &series.klines {
        let parts: Vec<&str> = line.split(',').collect();
        if parts.len() < BAR_FIELDS.len() - 1 {
            return Err(Error::transient(format!("a bar has {} cells where 11 are due", parts.len())));
        }
        let cells = parts.iter().take(BAR_FIELDS.len() - 1).enumerate();
        let cells = cells.map(|(index, part)| Cow::Owned(if index == 0 { quoted(part) } else { number(part) }));
        frame.push(cells.chain([Cow::Owned(code.clone())]));
    }
    Ok(Answer { frame, more: false })
}

/// A number of a line as a JSON cell; what is none is kept as text.
fn number(text: &str) -> String {
    match text.trim() {
        "" | "-" => NULL.into_owned(),
        text if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.' | b'e' | b'E' | b'+')) => text.into(),
        text => quoted(text),
    }
}

#[derive(Deserialize)]
struct WireList<'a> {
    #[serde(borrow)]
    data: Option<WireDiff<'a>>,
}

#[derive(Deserialize)]
struct WireDiff<'a> {
    total: u64,
    #[serde(borrow)]
    diff: &'a RawValue,
}

fn read_list<'a>(question: &Question, offset: u64, text: &'a str, limits: Limits) -> Result<Answer<'a>> {
    let wire: WireList<'a> = serde_json::from_str(text).map_err(|error| broken(&error))?;
    let list = wire.data.ok_or_else(unproven)?;
    let frame = frame::read(list.diff.get().as_bytes(), limits)?;
    let frame = renamed(frame, list_fields(&question.api))?;
    let more = follows(offset, frame.row_count() as u64, list.total, LIST_ROWS)?;
    Ok(Answer { frame, more })
}

#[derive(Deserialize)]
struct WireReport<'a> {
    #[serde(borrow)]
    result: Option<WireResult<'a>>,
}

#[derive(Deserialize)]
struct WireResult<'a> {
    pages: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn read_report<'a>(
    report: &Report,
    question: &Question,
    offset: u64,
    text: &'a str,
    limits: Limits,
) -> Result<Answer<'a>> {
    let wire: WireReport<'a> = serde_json::from_str(text).map_err(|error| broken(&error))?;
    let result = wire.result.ok_or_else(unproven)?;
    let frame = frame::read(result.data.get().as_bytes(), limits)?;
    let period = period_of(question)?.to_string();
    let position = frame.position(report.period);
    let position = position.ok_or_else(|| Error::transient(format!("the answer lacks the field {}", report.period)))?;
    let foreign = frame.rows().filter(|row| row[position].get(1..11) != Some(&period)).count();
    if foreign > 0 {
        return Err(Error::transient(format!("the answer holds {foreign} rows of other periods")));
    }
    let page = offset / u64::from(REPORT_ROWS) + 1;
    let rows = frame.row_count() as u64;
    if result.pages > PAGES_MAX {
        return Err(Error::transient("the answer promises more pages than there can be"));
    }
    if page < result.pages && rows < u64::from(REPORT_ROWS) {
        return Err(Error::transient(format!("page {page} of {} is cut short: {rows} rows", result.pages)));
    }
    let frame = renamed(frame, report.fields)?;
    Ok(Answer { frame, more: page < result.pages })
}

/// Whether pages follow. A page that is short before the end is refused.
fn follows(offset: u64, rows: u64, total: u64, page_rows: u32) -> Result<bool> {
    if total > PAGES_MAX * u64::from(page_rows) {
        return Err(Error::transient("the answer promises more rows than there can be"));
    }
    let end = offset + rows;
    if end < total && rows < u64::from(page_rows) {
        return Err(Error::transient(format!("a page is cut short: {rows} rows, {} to come", total - end)));
    }
    Ok(end < total)
}

/// The fields that are wanted, under the names of the function.
fn renamed<'a>(frame: Frame<'a>, names: &[(&'static str, &'static str)]) -> Result<Frame<'a>> {
    if frame.row_count() == 0 {
        return Err(unproven());
    }
    let position = |(wire, _): &(&str, &str)| {
        frame.position(wire).ok_or_else(|| Error::transient(format!("the answer lacks the field {wire}")))
    };
    let positions = names.iter().map(position).collect::<Result<Vec<usize>>>()?;
    let mut wanted = Frame::new(names.iter().map(|(_, name)| Cow::Borrowed(*name)).collect());
    for row in frame.rows() {
        wanted.push(positions.iter().map(|position| row[*position].clone()));
    }
    Ok(wanted)
}

//! Refusals: what the service says when it does not answer, read as errors named by remedy, and written with the
//! service's own words. Code 40203 means "no permission" and "too often" alike: only the text tells them apart.

use crate::model::error::LearnedLimit;
use crate::model::{Error, ErrorKind, Instant};

/// What the caller can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    WaitMinute,
    WaitHour,
    WaitDay,
    FixToken,
    FewerAddresses,
    MorePoints,
    FixArgument,
    UnknownApi,
    TryAgain,
}

/// The first line whose code (if any) and text fit counts.
const RULES: [(Option<i64>, &str, Remedy); 17] = [
    (None, "每分钟", Remedy::WaitMinute),
    (None, "每小时", Remedy::WaitHour),
    (None, "每天", Remedy::WaitDay),
    (None, "token不对", Remedy::FixToken),
    (Some(40101), "", Remedy::FixToken),
    (None, "IP数量超限", Remedy::FewerAddresses),
    (Some(40204), "", Remedy::FewerAddresses),
    (None, "没有接口", Remedy::MorePoints),
    (None, "权限", Remedy::MorePoints),
    (Some(2002), "", Remedy::MorePoints),
    (Some(40203), "", Remedy::WaitMinute),
    (None, "请指定正确的接口名", Remedy::UnknownApi),
    (None, "系统内部错误", Remedy::TryAgain),
    (None, "必填参数", Remedy::FixArgument),
    (Some(50101), "", Remedy::FixArgument),
    (Some(-2001), "", Remedy::FixArgument),
    (None, "", Remedy::TryAgain),
];

/// Reads a refusal. The service's own words are kept in the message.
pub fn classify(code: i64, text: &str, now: Instant) -> Error {
    let fits = |rule: &&(Option<i64>, &str, Remedy)| rule.0.is_none_or(|own| own == code) && text.contains(rule.1);
    let remedy = RULES.iter().find(fits).map_or(Remedy::TryAgain, |rule| rule.2);
    let words: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let message = format!("tushare refused with code {code}: {words}");
    let times = times_allowed(text);
    match remedy {
        Remedy::WaitMinute => Error::new(ErrorKind::Throttled { until: Some(now.plus_seconds(60)) }, message)
            .teaching(LearnedLimit { per_minute: times, ..LearnedLimit::default() }),
        Remedy::WaitHour => Error::new(ErrorKind::QuotaGone { until: Some(now.plus_seconds(3600)) }, message)
            .teaching(LearnedLimit { per_hour: times, ..LearnedLimit::default() }),
        Remedy::WaitDay => {
            let midnight = Instant::at(now.day().next(), 0);
            Error::new(ErrorKind::QuotaGone { until: Some(midnight) }, message)
                .teaching(LearnedLimit { per_day: times, ..LearnedLimit::default() })
        }
        Remedy::FixToken => Error::denied(message)
            .concerning_the_whole_source()
            .hint("set the token of the source tushare to the one shown on your tushare.pro account page"),
        Remedy::FewerAddresses => {
            let until = now.plus_seconds(3600);
            Error::new(ErrorKind::QuotaGone { until: Some(until) }, message)
                .concerning_the_whole_source()
                .hint("the token is used from too many addresses: stop its other users, then try again")
        }
        Remedy::MorePoints => Error::denied(message)
            .hint("this table needs more points: see https://tushare.pro/document/1?doc_id=108, or use another source"),
        Remedy::FixArgument => Error::invalid(message).hint("see the table's parameters with `tidegate datasets`"),
        Remedy::UnknownApi => Error::not_found(message).hint("see the known tables with `tidegate datasets`"),
        Remedy::TryAgain => Error::transient(message),
    }
}

/// The N of "最多访问该接口N次".
fn times_allowed(text: &str) -> Option<u32> {
    let before = text.split_once('次')?.0;
    let start = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    before.get(start..)?.parse().ok()
}

/// What the mirror says when it does not answer, in the words of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Token,
    NoPermission { api: String },
    PerMinute { times: u32 },
    PerDay { times: u64 },
    Required { parameters: String },
    BadParameter { name: String },
    OffsetTooLarge,
    UnknownApi,
    NotARequest,
    Fault,
}

/// Rows that an offset may not pass.
pub const OFFSET_MAX: u64 = 100_000;
const RIGHTS: &str = "权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。";

impl Refusal {
    pub fn code(&self) -> i64 {
        match self {
            Refusal::Token => 40101,
            Refusal::NoPermission { .. } | Refusal::PerMinute { .. } | Refusal::PerDay { .. } => 40203,
            Refusal::Required { .. } | Refusal::BadParameter { .. } | Refusal::OffsetTooLarge | Refusal::UnknownApi => {
                50101
            }
            Refusal::NotARequest => -2001,
            Refusal::Fault => 50000,
        }
    }

    pub fn text(&self) -> String {
        match self {
            Refusal::Token => "您的token不对，请确认。".to_string(),
            Refusal::NoPermission { api } => format!("抱歉，您没有接口({api})访问权限，{RIGHTS}"),
            Refusal::PerMinute { times } => format!("抱歉，您每分钟最多访问该接口{times}次，{RIGHTS}"),
            Refusal::PerDay { times } => format!("抱歉，您每天最多访问该接口{times}次，{RIGHTS}"),
            Refusal::Required { parameters } => format!("必填参数, {parameters}"),
            Refusal::BadParameter { name } => format!("参数错误, {name}"),
            Refusal::OffsetTooLarge => format!("offset不能大于{OFFSET_MAX}"),
            Refusal::UnknownApi => "请指定正确的接口名".to_string(),
            Refusal::NotARequest => "请求参数错误".to_string(),
            Refusal::Fault => "系统内部错误".to_string(),
        }
    }

    /// The body of the reply.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let text = self.text();
        let body = serde_json::json!({
            "request_id": request_id, "code": self.code(), "data": null, "msg": text, "message": text,
        });
        body.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::parse("2024-01-31T18:00:00+08:00").unwrap()
    }

    #[test]
    fn refusals_are_told_apart_by_text_before_code() {
        let minute = ErrorKind::Throttled { until: Instant::parse("2024-01-31T18:01:00+08:00") };
        let hour = ErrorKind::QuotaGone { until: Instant::parse("2024-01-31T19:00:00+08:00") };
        let day = ErrorKind::QuotaGone { until: Instant::parse("2024-02-01T00:00:00+08:00") };
        let rights = "权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。";
        let cases = [
            (40101, "您的token不对，请确认。".to_string(), ErrorKind::Denied, true),
            (40203, format!("抱歉，您没有接口访问权限，{rights}"), ErrorKind::Denied, false),
            (40203, format!("抱歉，您没有接口(stk_factor)访问权限，{rights}"), ErrorKind::Denied, false),
            (2002, String::new(), ErrorKind::Denied, false),
            (40203, format!("抱歉，您每分钟最多访问该接口200次，{rights}"), minute, false),
            (40203, format!("抱歉，您每小时最多访问该接口10次，{rights}"), hour, false),
            (40203, format!("抱歉，您每天最多访问该接口8000次，{rights}"), day, false),
            (40201, format!("抱歉，您每天最多访问该接口5次，{rights}"), day, false),
            (40203, "请稍后再试".to_string(), minute, false),
            (40204, "您的IP数量超限，最大数量为2个！".to_string(), hour, true),
            (50101, "必填参数, ts_code".to_string(), ErrorKind::Invalid, false),
            (50101, "offset不能大于100000".to_string(), ErrorKind::Invalid, false),
            (-2001, "参数错误".to_string(), ErrorKind::Invalid, false),
            (50101, "请指定正确的接口名".to_string(), ErrorKind::NotFound, false),
            (-1, "系统内部错误".to_string(), ErrorKind::Transient, false),
            (7, "?".to_string(), ErrorKind::Transient, false),
        ];
        for (code, text, kind, whole_source) in cases {
            let error = classify(code, &text, now());
            assert_eq!((error.kind(), error.whole_source()), (kind, whole_source), "{code} {text}");
            assert!(error.message().contains(&text), "{error}");
        }
    }

    #[test]
    fn the_limit_that_a_refusal_names_is_learned() {
        let learned = |refusal: Refusal| classify(refusal.code(), &refusal.text(), now()).learned_limit();
        assert_eq!(learned(Refusal::PerMinute { times: 200 }).unwrap().per_minute, Some(200));
        assert_eq!(learned(Refusal::PerDay { times: 8000 }).unwrap().per_day, Some(8000));
        assert_eq!(learned(Refusal::Token), None);
        assert_eq!(times_allowed("抱歉，您每分钟最多访问该接口很多次"), None);
        assert_eq!(times_allowed("99999999999次"), None);
    }

    #[test]
    fn what_the_mirror_refuses_the_client_understands() {
        for (refusal, kind) in [
            (Refusal::Token, "denied"),
            (Refusal::NoPermission { api: "daily".to_string() }, "denied"),
            (Refusal::PerMinute { times: 1 }, "throttled"),
            (Refusal::PerDay { times: 1 }, "quota_gone"),
            (Refusal::Required { parameters: "ts_code".to_string() }, "invalid"),
            (Refusal::BadParameter { name: "trade_date".to_string() }, "invalid"),
            (Refusal::OffsetTooLarge, "invalid"),
            (Refusal::UnknownApi, "not_found"),
            (Refusal::NotARequest, "invalid"),
            (Refusal::Fault, "transient"),
        ] {
            assert_eq!(classify(refusal.code(), &refusal.text(), now()).kind().name(), kind, "{refusal:?}");
        }
    }
}

//! What AKTools says when it does not answer, in both directions.

use serde::Deserialize;
use serde_json::json;

use super::frame;
use crate::model::{Error, ErrorKind, Instant, Result};

const SITE: &str = "https://akshare.akfamily.xyz";

/// A refusal in the words of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// AKShare has no such function.
    UnknownFunction,
    /// The function answered nothing at all.
    Nothing,
    /// A value that the function does not know, or an upstream page that changed.
    Key(String),
    /// Anything else that went wrong in the function.
    Fault,
    /// Bytes that are no HTTP request.
    NotHttp,
    NotAuthenticated,
    WrongToken,
    WrongPassword,
    /// No such path.
    NotFound,
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Refusal::UnknownFunction | Refusal::Nothing | Refusal::Key(_) | Refusal::NotFound => 404,
            Refusal::Fault => 500,
            Refusal::NotHttp | Refusal::WrongPassword => 400,
            Refusal::NotAuthenticated | Refusal::WrongToken => 401,
        }
    }

    pub fn is_json(&self) -> bool {
        !matches!(self, Refusal::Fault | Refusal::NotHttp)
    }

    pub fn body(&self) -> String {
        let upgrade = format!("请升级 AKShare 到最新版本并在文档中确认该接口的使用方式：{SITE}");
        match self {
            Refusal::UnknownFunction => json!({ "error": format!("未找到该接口，{upgrade}") }).to_string(),
            Refusal::Nothing => {
                json!({ "error": format!("该接口返回数据为空，请确认参数是否正确：{SITE}") }).to_string()
            }
            Refusal::Key(key) => json!({ "error": format!("请输入正确的参数错误 '{key}'，{upgrade}") }).to_string(),
            Refusal::Fault => "Internal Server Error".to_string(),
            Refusal::NotHttp => "Invalid HTTP request received.".to_string(),
            Refusal::NotAuthenticated => json!({ "detail": "Not authenticated" }).to_string(),
            Refusal::WrongToken => json!({ "detail": "Invalid authentication credentials" }).to_string(),
            Refusal::WrongPassword => json!({ "detail": "Incorrect username or password" }).to_string(),
            Refusal::NotFound => json!({ "detail": "Not Found" }).to_string(),
        }
    }
}

#[derive(Deserialize)]
struct WireError {
    #[serde(default)]
    error: Option<String>,
}

/// Whether an answer is one. The service says 500 and "wrong parameter" as often for a page that did not load as for a
/// question that was wrong, so both may be asked again.
pub fn check(status: u16, retry_after: Option<i64>, body: &[u8], now: Instant) -> Result<()> {
    let message = |what: &str| format!("aktools answered with HTTP status {status}: {what}");
    let until = retry_after.map(|seconds| now.plus_seconds(seconds));
    Err(match status {
        200..=299 => return Ok(()),
        404 => return Err(not_found(body)),
        429 => Error::new(ErrorKind::Throttled { until }, message("asked too often")),
        503 if until.is_some() => Error::new(ErrorKind::Throttled { until }, message("not now")),
        408 | 500.. => Error::transient(message("the function failed"))
            .hint("the pages that AKShare reads are often slow or changed; see the log of AKTools"),
        400 => Error::invalid(message("it does not understand the question")),
        401 | 403 => Error::denied(message("the token is missing or wrong"))
            .concerning_the_whole_source()
            .hint("set sources.akshare.token, or read from the public path"),
        300..=399 => Error::invalid(message("a redirection"))
            .concerning_the_whole_source()
            .hint("set sources.akshare.url to where it leads"),
        _ => Error::invalid(message("no AKTools answers so"))
            .concerning_the_whole_source()
            .hint("set sources.akshare.url to the address of AKTools"),
    })
}

fn not_found(body: &[u8]) -> Error {
    let said = frame::text(body).ok().and_then(|text| serde_json::from_str::<WireError>(text).ok());
    match said.and_then(|wire| wire.error).unwrap_or_default() {
        text if text.contains("未找到该接口") => {
            Error::not_found("this AKShare has no such function").hint("upgrade akshare where AKTools runs")
        }
        text if text.contains("返回数据为空") => {
            Error::transient("the function answered nothing, which proves nothing")
        }
        text if text.contains("请输入正确的参数错误") => {
            Error::transient("the function stumbled over a missing key: a value it does not know, or a changed page")
        }
        _ => Error::invalid("there is no AKTools at this address")
            .concerning_the_whole_source()
            .hint("set sources.akshare.url to the address of AKTools, without a path"),
    }
}

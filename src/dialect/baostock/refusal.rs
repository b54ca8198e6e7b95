//! Refusals: error codes read as errors named by remedy, and what the mirror says when it does not answer.

use crate::model::{Error, ErrorKind, Instant};

/// Code and words of an answer that is a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: String,
    pub text: String,
}

/// What the caller can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    FixAccount,
    Wait,
    MoreRights,
    FixArgument,
    NotServed,
    TryAgain,
}

/// The remedy of each code; what is not listed may work a moment later.
const REMEDIES: [(&str, Remedy); 29] = [
    ("10001001", Remedy::TryAgain),
    ("10001002", Remedy::FixAccount),
    ("10001003", Remedy::FixAccount),
    ("10001004", Remedy::FixAccount),
    ("10001005", Remedy::Wait),
    ("10001006", Remedy::MoreRights),
    ("10001007", Remedy::FixAccount),
    ("10001008", Remedy::FixAccount),
    ("10001009", Remedy::FixAccount),
    ("10001010", Remedy::TryAgain),
    ("10001011", Remedy::FixAccount),
    ("10001012", Remedy::FixAccount),
    ("10004001", Remedy::TryAgain),
    ("10004002", Remedy::TryAgain),
    ("10004003", Remedy::TryAgain),
    ("10004004", Remedy::TryAgain),
    ("10004005", Remedy::FixArgument),
    ("10004006", Remedy::FixArgument),
    ("10004007", Remedy::FixArgument),
    ("10004008", Remedy::FixArgument),
    ("10004009", Remedy::FixArgument),
    ("10004010", Remedy::FixArgument),
    ("10004011", Remedy::FixArgument),
    ("10004012", Remedy::FixArgument),
    ("10004013", Remedy::FixArgument),
    ("10004014", Remedy::NotServed),
    ("10004015", Remedy::NotServed),
    ("10004018", Remedy::FixArgument),
    ("10004020", Remedy::NotServed),
];

/// Seconds after which an account that is logged in too often is tried again.
const TOO_MANY_SECONDS: i64 = 60;

impl Refused {
    fn remedy(&self) -> Remedy {
        REMEDIES.iter().find(|(code, _)| *code == self.code).map_or(Remedy::TryAgain, |(_, remedy)| *remedy)
    }

    /// The session is not, or no longer, logged in.
    pub fn is_logged_out(&self) -> bool {
        self.code == "10001001"
    }

    /// The server has not got this query, or not for this kind of security.
    pub fn is_not_served(&self) -> bool {
        self.remedy() == Remedy::NotServed
    }

    /// The error named by remedy. The service's own words are kept in the message.
    pub fn error(&self, now: Instant) -> Error {
        let words: String = self.text.chars().filter(|letter| !letter.is_control()).take(200).collect();
        let code: String = self.code.chars().filter(char::is_ascii_alphanumeric).take(10).collect();
        let message = format!("baostock refused with code {code}: {words}");
        match self.remedy() {
            Remedy::FixAccount => Error::denied(message)
                .concerning_the_whole_source()
                .hint("check user, password and api_key of the source baostock"),
            Remedy::Wait => Error::new(
                ErrorKind::Throttled { until: Some(now.plus_seconds(TOO_MANY_SECONDS)) },
                message,
            )
            .hint("the account is logged in too often: stop its other users, or lower sessions of the source baostock"),
            Remedy::MoreRights => Error::denied(message).hint("this account may not ask for it; use another source"),
            Remedy::NotServed => Error::denied(message).hint("this server has not got it; use another source"),
            Remedy::FixArgument => {
                Error::invalid(message).hint("the security, the day or the field is unknown to baostock")
            }
            Remedy::TryAgain => Error::transient(message),
        }
    }
}

/// What the mirror says when it does not answer. The words are those of the service where they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    LoggedOut,
    Account,
    TooMany,
    Arguments,
    ArgumentCount,
    StartDate,
    EndDate,
    Date,
    Backwards,
    Code,
    Field,
    FieldTwice,
    /// More rows than one answer may have.
    TooMuch,
    NotServed,
    NoMessage,
    UnknownType,
    Fault,
}

impl Refusal {
    pub fn code(self) -> &'static str {
        self.spoken().0
    }

    pub fn text(self) -> &'static str {
        self.spoken().1
    }

    fn spoken(self) -> (&'static str, &'static str) {
        match self {
            Refusal::LoggedOut => ("10001001", "用户未登录"),
            Refusal::Account => ("10001002", "用户名或密码错误"),
            Refusal::TooMany => ("10001005", "账号登陆数达到上限"),
            Refusal::Arguments => ("10004006", "参数错误"),
            Refusal::ArgumentCount => ("10004006", "请求参数个数不正确"),
            Refusal::StartDate => ("10004007", "起始日期格式不正确"),
            Refusal::EndDate => ("10004008", "截止日期格式不正确"),
            Refusal::Date => ("10004010", "日期格式不正确"),
            Refusal::Backwards => ("10004009", "起始日期大于终止日期"),
            Refusal::Code => ("10004011", "无效的证券代码"),
            Refusal::Field => ("10004012", "无效的指标"),
            Refusal::FieldTwice => ("10004018", "指标重复"),
            Refusal::TooMuch => ("10004013", "超出日期支持范围"),
            Refusal::NotServed => ("10004015", "不支持的证券代码品种"),
            Refusal::NoMessage => ("10004019", "消息格式不正确"),
            Refusal::UnknownType => ("10004020", "错误的消息类型"),
            Refusal::Fault => ("10005001", "系统级别错误"),
        }
    }

    /// The body of the reply.
    pub fn body(self) -> String {
        format!("{}{}{}", self.code(), super::frame::SEPARATOR, self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_named_by_remedy_in_both_directions() {
        let now = Instant::parse("2024-01-31T18:00:00+08:00").unwrap();
        for (refusal, kind, whole_source) in [
            (Refusal::LoggedOut, "transient", false),
            (Refusal::Account, "denied", true),
            (Refusal::TooMany, "throttled", false),
            (Refusal::Arguments, "invalid", false),
            (Refusal::ArgumentCount, "invalid", false),
            (Refusal::StartDate, "invalid", false),
            (Refusal::EndDate, "invalid", false),
            (Refusal::Date, "invalid", false),
            (Refusal::Backwards, "invalid", false),
            (Refusal::Code, "invalid", false),
            (Refusal::Field, "invalid", false),
            (Refusal::FieldTwice, "invalid", false),
            (Refusal::TooMuch, "invalid", false),
            (Refusal::NotServed, "denied", false),
            (Refusal::NoMessage, "transient", false),
            (Refusal::UnknownType, "denied", false),
            (Refusal::Fault, "transient", false),
        ] {
            let refused = Refused { code: refusal.code().to_string(), text: refusal.text().to_string() };
            let error = refused.error(now);
            assert_eq!((error.kind().name(), error.whole_source()), (kind, whole_source), "{refusal:?}");
            assert!(error.message().contains(refusal.text()), "{error}");
            assert_eq!(refused.is_logged_out(), refusal == Refusal::LoggedOut);
            assert_eq!(refused.is_not_served(), matches!(refusal, Refusal::NotServed | Refusal::UnknownType));
        }
        let unknown = Refused { code: "99999999".to_string(), text: "?\n".to_string() };
        assert_eq!(unknown.error(now).kind(), ErrorKind::Transient);
    }
}

//! Questions: their bodies, and the reading of anybody's question.

use super::frame::{CLIENT_VERSION, Frame, SEPARATOR, encode_request};
use super::message::{self, Message};
use super::refusal::Refusal;

/// The largest page that is asked for or served.
pub const PER_PAGE_MAX: u32 = 20_000;

/// One query for one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub message: &'static Message,
    /// The account that logged in.
    pub user: String,
    /// From 1; without meaning where there are no pages.
    pub page: u32,
    pub per_page: u32,
    /// As many as the message has parameters, in their order.
    pub args: Vec<String>,
}

impl Question {
    pub fn body(&self) -> String {
        let mut parts = vec![self.message.api.to_string(), self.user.clone()];
        if self.message.is_paged() {
            parts.extend([self.page.to_string(), self.per_page.to_string()]);
        }
        parts.extend(self.args.iter().cloned());
        joined(&parts)
    }

    pub fn frame(&self) -> Vec<u8> {
        encode_request(CLIENT_VERSION, self.message.request, &self.body())
    }

    /// The argument of this name; empty when there is none.
    pub fn arg(&self, name: &str) -> &str {
        self.message.param(name).and_then(|at| self.args.get(at)).map_or("", String::as_str)
    }

    /// The same question with another value for an argument, if it has one of this name.
    pub fn with(&self, name: &str, value: &str) -> Question {
        let mut other = self.clone();
        if let Some(arg) = self.message.param(name).and_then(|at| other.args.get_mut(at)) {
            *arg = value.to_string();
        }
        other
    }
}

/// A question of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `options` is the API key, or `0`.
    Login {
        user: String,
        password: String,
        options: String,
    },
    Logout {
        user: String,
    },
    Query(Question),
}

/// The frame that opens a session.
pub fn login(user: &str, password: &str, options: &str) -> Vec<u8> {
    encode_request(CLIENT_VERSION, message::LOGIN.0, &joined(&["login", user, password, options]))
}

/// The frame that ends a session; `at` is `yyyyMMddHHmmss`.
pub fn logout(user: &str, at: &str) -> Vec<u8> {
    encode_request(CLIENT_VERSION, message::LOGOUT.0, &joined(&["logout", user, at]))
}

fn joined(parts: &[impl AsRef<str>]) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    parts.join(&SEPARATOR.to_string())
}

/// Reads a question.
pub fn parse(frame: &Frame) -> Result<Asked, Refusal> {
    let parts: Vec<&str> = frame.body.split(SEPARATOR).collect();
    let named = |name: &str| parts.first() == Some(&name);
    match frame.kind.as_str() {
        kind if kind == message::LOGIN.0 && named("login") => match parts[1..] {
            [user, password, options] => {
                Ok(Asked::Login { user: user.into(), password: password.into(), options: options.into() })
            }
            _ => Err(Refusal::ArgumentCount),
        },
        kind if kind == message::LOGOUT.0 && named("logout") => {
            Ok(Asked::Logout { user: parts.get(1).copied().unwrap_or_default().to_string() })
        }
        kind => {
            let message = message::by_request(kind).ok_or(Refusal::UnknownType)?;
            if !named(message.api) {
                return Err(Refusal::UnknownType);
            }
            query(message, &parts)
        }
    }
}

fn query(message: &'static Message, parts: &[&str]) -> Result<Asked, Refusal> {
    let before = if message.is_paged() { 4 } else { 2 };
    if parts.len() != before + message.params.len() {
        return Err(Refusal::ArgumentCount);
    }
    let count = |at: usize, most: u32| {
        let number = parts.get(at).and_then(|text| text.trim().parse::<u32>().ok());
        number.filter(|number| (1..=most).contains(number)).ok_or(Refusal::Arguments)
    };
    let (page, per_page) = match message.is_paged() {
        true => (count(2, u32::MAX)?, count(3, PER_PAGE_MAX)?),
        false => (1, PER_PAGE_MAX),
    };
    let args = parts[before..].iter().map(|text| text.trim().to_string()).collect();
    Ok(Asked::Query(Question { message, user: parts[1].to_string(), page, per_page, args }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: &str, body: &str) -> Result<Asked, Refusal> {
        parse(&Frame { version: "00.9.10".into(), kind: kind.into(), body: body.replace('¦', "\u{1}") })
    }

    #[test]
    fn questions_are_read_as_they_are_written() {
        for message in message::MESSAGES {
            let args = message.params.iter().map(|name| format!("<{name}>")).collect();
            let (page, per_page) = if message.is_paged() { (3, 2000) } else { (1, PER_PAGE_MAX) };
            let question = Question { message, user: "u".into(), page, per_page, args };
            assert_eq!(asked(message.request, &question.body()), Ok(Asked::Query(question.clone())), "{}", message.api);
            assert_eq!(question.arg(message.params[0]), format!("<{}>", message.params[0]));
            assert_eq!(question.arg("nothing"), "");
        }
        let login = Asked::Login { user: "u".into(), password: "p".into(), options: "0".into() };
        assert_eq!(asked("00", "login¦u¦p¦0"), Ok(login));
        assert_eq!(asked("02", "logout¦u¦20240131180000"), Ok(Asked::Logout { user: "u".into() }));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (kind, body, refusal) in [
            ("00", "login¦u", Refusal::ArgumentCount),
            ("00", "logout¦u¦x", Refusal::UnknownType),
            ("79", "query_pmi_data¦u¦1¦10000", Refusal::UnknownType),
            ("33", "query_all_stock¦u¦1¦10000¦2024-01-02", Refusal::UnknownType),
            ("33", "query_trade_dates¦u¦1¦10000¦2024-01-02", Refusal::ArgumentCount),
            ("33", "query_trade_dates¦u¦0¦10000¦¦", Refusal::Arguments),
            ("33", "query_trade_dates¦u¦1¦20001¦¦", Refusal::Arguments),
            ("33", "query_trade_dates¦u¦one¦10¦¦", Refusal::Arguments),
            ("33", "", Refusal::UnknownType),
        ] {
            assert_eq!(asked(kind, body), Err(refusal), "{kind} {body}");
        }
    }
}

//! What goes over a socket: commands, replies, pushes, and the codes with which a socket is closed.

use serde_json::{Map, Value, json};

/// Why a socket is closed. Below 3500 the client comes back and recovers; from 3500 on it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: &'static str,
}

const fn close(code: u16, reason: &'static str) -> Close {
    Close { code, reason }
}

pub const SHUTDOWN: Close = close(3001, "shutdown");
pub const EXPIRED: Close = close(3005, "the key is gone");
pub const SLOW: Close = close(3008, "slow reader: recover what was missed");
pub const NO_PONG: Close = close(3012, "no pong");
pub const TOO_MANY_REQUESTS: Close = close(3013, "too many requests");
pub const BAD_REQUEST: Close = close(3501, "bad request");
pub const CONNECTION_LIMIT: Close = close(3504, "connection limit");
pub const TOO_MANY_ERRORS: Close = close(3509, "too many errors");

/// Why a command was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    code: u16,
    message: &'static str,
    temporary: bool,
}

const fn fault(code: u16, message: &'static str) -> Fault {
    Fault { code, message, temporary: false }
}

pub const INTERNAL: Fault = Fault { code: 100, message: "the store cannot be read now", temporary: true };
pub const UNKNOWN_CHANNEL: Fault = fault(102, "unknown channel");
pub const UNKNOWN_METHOD: Fault = fault(104, "unknown method");
pub const ALREADY_SUBSCRIBED: Fault = fault(105, "already subscribed");
pub const CHANNEL_LIMIT: Fault = fault(106, "too many channels on one socket");
pub const UNREADABLE: Fault = fault(107, "bad request");

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The answer to a ping.
    Pong,
    Connect {
        id: u64,
    },
    Subscribe {
        id: u64,
        channel: String,
        /// Where the client stands, if it wants to recover.
        from: Option<Position>,
    },
    Unsubscribe {
        id: u64,
        channel: String,
    },
}

/// A place in a log: up to which event a client knows everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

/// A command that was not understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Misread {
    /// Nothing that can be answered.
    Nonsense,
    Refused(u64, Fault),
}

/// Reads one line of a frame.
pub fn read(line: &str) -> Result<Command, Misread> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return Err(Misread::Nonsense) };
    if fields.is_empty() {
        return Ok(Command::Pong);
    }
    let id = fields.remove("id").and_then(|id| id.as_u64()).filter(|id| *id > 0).ok_or(Misread::Nonsense)?;
    let mut methods = fields.into_iter();
    let (Some((method, arguments)), None) = (methods.next(), methods.next()) else {
        return Err(Misread::Refused(id, UNREADABLE));
    };
    let refused = || Misread::Refused(id, UNREADABLE);
    let Value::Object(arguments) = arguments else { return Err(refused()) };
    match method.as_str() {
        "connect" => Ok(Command::Connect { id }),
        "subscribe" => {
            let (channel, from) = (channel(&arguments), position(&arguments));
            let (Some(channel), Ok(from)) = (channel, from) else { return Err(refused()) };
            Ok(Command::Subscribe { id, channel, from })
        }
        "unsubscribe" => Ok(Command::Unsubscribe { id, channel: channel(&arguments).ok_or_else(refused)? }),
        _ => Err(Misread::Refused(id, UNKNOWN_METHOD)),
    }
}

fn channel(arguments: &Map<String, Value>) -> Option<String> {
    arguments.get("channel").and_then(Value::as_str).map(str::to_string)
}

/// The position from which a client recovers, if it wants to.
fn position(arguments: &Map<String, Value>) -> Result<Option<Position>, ()> {
    match arguments.get("recover") {
        None | Some(Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => {
            let epoch = arguments.get("epoch").and_then(Value::as_str).ok_or(())?;
            let offset = arguments.get("offset").and_then(Value::as_u64).ok_or(())?;
            Ok(Some(Position { epoch: epoch.to_string(), offset }))
        }
        Some(_) => Err(()),
    }
}

/// What a channel says at one place of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The number of the event that it comes from.
    pub offset: u64,
    /// `null`: nothing happened on the channel up to here.
    pub data: Value,
}

/// Publications one after the other, each with its epoch and where it goes on from: up to `prev` the ones before it reach.
fn chained(publications: &[Publication], epoch: &str, mut prev: u64) -> Vec<Value> {
    let link = |Publication { data, offset }: &Publication| json!({ "data": data, "epoch": epoch, "offset": offset, "prev": std::mem::replace(&mut prev, *offset) });
    publications.iter().map(link).collect()
}

/// Bytes of a frame after which what follows goes into the next one. A socket keeps a buffer of its largest frame.
const FRAME_BYTES: usize = 8 * 1024;

/// The pushes of a channel, a line each, in as few frames as their size allows.
pub fn pushes(channel: &str, publications: &[Publication], epoch: &str, prev: u64) -> Vec<String> {
    let mut frames = vec![String::new()];
    for publication in chained(publications, epoch, prev) {
        let push = json!({ "push": { "channel": channel, "pub": publication } }).to_string();
        match frames.last_mut().filter(|frame| frame.len() + push.len() < FRAME_BYTES || frame.is_empty()) {
            Some(frame) => {
                frame.push_str(if frame.is_empty() { "" } else { "\n" });
                frame.push_str(&push);
            }
            None => frames.push(push),
        }
    }
    frames
}

pub const PING: &str = "{}";

pub fn connected(id: u64, version: &str, ping_seconds: u64, epoch: &str) -> String {
    let connect = json!({ "version": version, "ping": ping_seconds, "pong": true, "epoch": epoch });
    json!({ "id": id, "connect": connect }).to_string()
}

/// Where a client stands from now on.
pub fn subscribed(id: u64, position: &Position) -> String {
    let Position { epoch, offset } = position;
    json!({ "id": id, "subscribe": { "recoverable": true, "epoch": epoch, "offset": offset } }).to_string()
}

/// Everything that was missed after `prev`; `None`: that cannot be proven, and a snapshot is wanted.
pub fn recovered(id: u64, position: &Position, missed: Option<(u64, &[Publication])>) -> String {
    let Position { epoch, offset } = position;
    let publications = missed.map_or_else(Vec::new, |(prev, publications)| chained(publications, epoch, prev));
    json!({ "id": id, "subscribe": {
        "recoverable": true, "epoch": epoch, "offset": offset, "was_recovering": true,
        "recovered": missed.is_some(), "publications": publications,
    } })
    .to_string()
}

pub fn unsubscribed(id: u64) -> String {
    json!({ "id": id, "unsubscribe": {} }).to_string()
}

pub fn refused(id: u64, fault: Fault) -> String {
    let Fault { code, message, temporary } = fault;
    json!({ "id": id, "error": { "code": code, "message": message, "temporary": temporary } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_everything_else_is_refused() {
        let subscribe = |from| Ok(Command::Subscribe { id: 1, channel: "tasks".into(), from });
        let bad = Err(Misread::Refused(1, UNREADABLE));
        for (line, expected) in [
            ("{}", Ok(Command::Pong)),
            (r#"{"id":1,"connect":{}}"#, Ok(Command::Connect { id: 1 })),
            (r#"{"id":1,"subscribe":{"channel":"tasks"}}"#, subscribe(None)),
            (r#"{"id":1,"subscribe":{"channel":"tasks","recover":false}}"#, subscribe(None)),
            (
                r#"{"id":1,"subscribe":{"channel":"tasks","recover":true,"epoch":"e","offset":7}}"#,
                subscribe(Some(Position { epoch: "e".into(), offset: 7 })),
            ),
            (
                r#"{"id":1,"unsubscribe":{"channel":"tasks"}}"#,
                Ok(Command::Unsubscribe { id: 1, channel: "tasks".into() }),
            ),
            (r#"{"id":1,"subscribe":{"channel":"tasks","recover":true,"epoch":"e","offset":-1}}"#, bad.clone()),
            (r#"{"id":1,"subscribe":{"channel":"tasks","recover":true}}"#, bad.clone()),
            (r#"{"id":1,"subscribe":{"channel":"tasks","recover":1}}"#, bad.clone()),
            (r#"{"id":1,"subscribe":{}}"#, bad.clone()),
            (r#"{"id":1,"subscribe":[]}"#, bad.clone()),
            (r#"{"id":1,"connect":{},"subscribe":{}}"#, bad.clone()),
            (r#"{"id":1}"#, bad),
            (r#"{"id":1,"publish":{}}"#, Err(Misread::Refused(1, UNKNOWN_METHOD))),
            (r#"{"id":0,"connect":{}}"#, Err(Misread::Nonsense)),
            (r#"{"connect":{}}"#, Err(Misread::Nonsense)),
            ("[]", Err(Misread::Nonsense)),
            ("{", Err(Misread::Nonsense)),
            ("", Err(Misread::Nonsense)),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn each_push_names_where_it_goes_on_from() {
        let publication = |offset, data| Publication { offset, data };
        let publications = [publication(5, json!({ "a": 1 })), publication(9, Value::Null)];
        let frames = pushes("tasks", &publications, "e", 3);
        assert_eq!(frames.len(), 1);
        let read: Vec<Value> = frames[0].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected = [
            json!({ "push": { "channel": "tasks", "pub": { "data": { "a": 1 }, "epoch": "e", "offset": 5, "prev": 3 } } }),
            json!({ "push": { "channel": "tasks", "pub": { "data": null, "epoch": "e", "offset": 9, "prev": 5 } } }),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn many_pushes_go_into_several_frames_and_stay_in_order() {
        let publication = |offset| Publication { offset, data: json!("x".repeat(3_000)) };
        let publications: Vec<Publication> = (1..8).map(publication).collect();
        let frames = pushes("events", &publications, "e", 0);
        assert!(frames.iter().all(|frame| frame.len() < FRAME_BYTES), "{frames:?}");
        let offsets = frames.iter().flat_map(|frame| frame.lines()).map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["push"]["pub"]["offset"].as_u64().unwrap()
        });
        assert_eq!(offsets.collect::<Vec<_>>(), (1..8).collect::<Vec<_>>());
        let large = Publication { offset: 1, data: json!("x".repeat(20_000)) };
        assert_eq!(pushes("events", &[large], "e", 0).len(), 1);
    }
}

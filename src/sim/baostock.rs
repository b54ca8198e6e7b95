//! The simulated market behind the BaoStock mirror on a loopback port, with scripted faults in between.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::catalog::Catalog;
use crate::dialect::baostock::frame::{MARKER, SERVER_VERSION, encode_reply};
use crate::dialect::baostock::{Frame, Refusal, ReplyDecoder, RequestDecoder, answer};
use crate::mirror::baostock::{BaostockMirrorOptions, Mirror, Session};
use crate::model::{Clock, Error, Result};
use crate::store::Scan;

/// One way in which a BaoStock server misbehaves.
#[derive(Clone, Debug, PartialEq)]
pub enum WireFault {
    /// Refuse in these words.
    Refuse(Refusal),
    /// Forget the login and refuse the question.
    ForgetLogin,
    /// Close the connection instead of answering.
    Close,
    /// Send this share of the answer, then close the connection.
    Cut { fraction: f64 },
    /// Change a digit of the answer, but not its checksum.
    WrongChecksum,
    /// Answer as if another query had been asked.
    OtherMethod,
    /// Repeat another argument than was given.
    OtherArgument,
    /// Answer with rows of another security.
    OtherSecurity,
    /// Send so many megabytes without ever ending the answer.
    Endless { megabytes: usize },
    /// Announce a compressed answer of so many bytes.
    Announce { bytes: u64 },
    /// Send a compressed answer that unpacks to so many megabytes.
    Bomb { megabytes: usize },
    /// Send the text in another encoding than UTF-8.
    Gbk,
    /// Send a page of HTML.
    Html,
    /// Send the answer twice.
    Twice,
    /// Answer, then close the connection.
    HangUp,
    /// Take the question and say nothing.
    Mute,
    /// Wait before answering.
    Slow { millis: u64 },
}

/// A fault at the n-th to m-th question of a query, counted from 1; without a name at any query. Logins are no queries.
#[derive(Clone, Debug, PartialEq)]
pub struct WireRule {
    pub api: Option<String>,
    pub calls: RangeInclusive<u64>,
    pub fault: WireFault,
}

impl WireRule {
    /// At every question.
    pub fn always(fault: WireFault) -> WireRule {
        WireRule { api: None, calls: 1..=u64::MAX, fault }
    }

    pub fn of(self, api: &str) -> WireRule {
        WireRule { api: Some(api.to_owned()), ..self }
    }

    pub fn at(self, calls: RangeInclusive<u64>) -> WireRule {
        WireRule { calls, ..self }
    }
}

/// What the server saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireRecord {
    /// Names of the queries, in their order.
    pub questions: Vec<String>,
    pub connections: u64,
    pub logins: u64,
    pub logouts: u64,
    /// The most questions that were answered at the same time.
    pub at_once: u64,
    now: u64,
    matched: Vec<u64>,
}

struct Shared {
    mirror: Mirror,
    rules: Vec<WireRule>,
    record: Mutex<WireRecord>,
    /// What every question takes.
    latency: Duration,
}

impl Shared {
    fn record<T>(&self, change: impl FnOnce(&mut WireRecord) -> T) -> T {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every rule that matches counts the question; the first whose turn it is gives its fault.
    fn meet(&self, api: &str) -> Option<WireFault> {
        self.record(|record| {
            record.questions.push(api.to_owned());
            let mut fault = None;
            for (rule, matched) in self.rules.iter().zip(&mut record.matched) {
                if rule.api.as_deref().is_none_or(|wanted| wanted == api) {
                    *matched += 1;
                    if fault.is_none() && rule.calls.contains(matched) {
                        fault = Some(rule.fault.clone());
                    }
                }
            }
            fault
        })
    }
}

/// How the simulated source is served.
#[derive(Clone, Debug, Default)]
pub struct BaostockServerOptions {
    pub mirror: BaostockMirrorOptions,
    pub rules: Vec<WireRule>,
    /// What every question takes.
    pub latency: Duration,
}

/// A running simulated BaoStock. It stops when it is dropped.
pub struct BaostockServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl BaostockServer {
    /// Listens on a free port of the loopback and serves. The address is known when this returns.
    pub async fn start(
        scan: Arc<dyn Scan>,
        catalog: Arc<Catalog>,
        clock: Clock,
        options: BaostockServerOptions,
    ) -> Result<BaostockServer> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|error| Error::invalid("cannot listen on the loopback").caused_by(error))?;
        let address =
            listener.local_addr().map_err(|error| Error::bug("a listener has no address").caused_by(error))?;
        let record = WireRecord { matched: vec![0; options.rules.len()], ..WireRecord::default() };
        let mirror = Mirror::new(scan, catalog, options.mirror, clock);
        let shared =
            Arc::new(Shared { mirror, rules: options.rules, record: Mutex::new(record), latency: options.latency });
        let serving = tokio::spawn(accept(listener, shared.clone()));
        Ok(BaostockServer { address, shared, serving })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn record(&self) -> WireRecord {
        self.shared.record(|record| record.clone())
    }
}

impl Drop for BaostockServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.record(|record| record.connections += 1);
        let shared = shared.clone();
        connections.spawn(async move { drop(converse(stream, &shared).await) });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the questions of one connection; an error or `None` ends it.
async fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut decoder = RequestDecoder::new(64 << 10);
    let mut session = Session::default();
    let mut chunk = vec![0u8; 8 << 10];
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => {
                if !answered(&mut stream, shared, &mut session, frame).await? {
                    return Ok(());
                }
            }
            Err(_) => return stream.write_all(&answer::encode_refusal(Refusal::NoMessage)).await,
            Ok(None) => match stream.read(&mut chunk).await? {
                0 => return Ok(()),
                read => decoder.push(&chunk[..read]),
            },
        }
    }
}

/// Answers one question; `false` ends the connection.
async fn answered(
    stream: &mut TcpStream,
    shared: &Shared,
    session: &mut Session,
    frame: Frame,
) -> std::io::Result<bool> {
    let api = frame.body.split('\u{1}').next().unwrap_or_default().to_owned();
    match api.as_str() {
        "login" => shared.record(|record| record.logins += 1),
        "logout" => shared.record(|record| record.logouts += 1),
        _ => {}
    }
    if matches!(api.as_str(), "login" | "logout") {
        let reply = shared.mirror.answer(session, &frame).await;
        stream.write_all(&reply).await?;
        return Ok(true);
    }
    let fault = shared.meet(&api);
    shared.record(|record| {
        record.now += 1;
        record.at_once = record.at_once.max(record.now);
    });
    if let Some(WireFault::ForgetLogin) = fault {
        *session = Session::default();
    }
    let reply = shared.mirror.answer(session, &frame).await;
    tokio::time::sleep(shared.latency).await;
    shared.record(|record| record.now -= 1);
    match fault {
        None | Some(WireFault::ForgetLogin) => stream.write_all(&reply).await.map(|()| true),
        Some(fault) => misbehave(stream, &fault, &reply).await,
    }
}

async fn misbehave(stream: &mut TcpStream, fault: &WireFault, reply: &[u8]) -> std::io::Result<bool> {
    match fault {
        WireFault::Refuse(refusal) => stream.write_all(&answer::encode_refusal(*refusal)).await?,
        WireFault::ForgetLogin | WireFault::Close => return Ok(false),
        WireFault::Cut { fraction } => {
            let sent = (reply.len() as f64 * fraction.clamp(0.0, 1.0)) as usize;
            stream.write_all(&reply[..sent.min(reply.len().saturating_sub(1))]).await?;
            return Ok(false);
        }
        WireFault::Endless { megabytes } => {
            stream.write_all(header("34", 10).as_bytes()).await?;
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..*megabytes {
                stream.write_all(&piece).await?;
            }
        }
        WireFault::Announce { bytes } => {
            stream.write_all(header("96", *bytes).as_bytes()).await?;
            stream.write_all(&vec![b'x'; 1 << 20]).await?;
        }
        WireFault::Mute => tokio::time::sleep(Duration::from_secs(3600)).await,
        WireFault::Slow { millis } => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            stream.write_all(reply).await?;
        }
        WireFault::HangUp => {
            stream.write_all(reply).await?;
            return Ok(false);
        }
        other => stream.write_all(&distorted(other, reply)).await?,
    }
    Ok(true)
}

/// What a fault makes of an answer that is there.
fn distorted(fault: &WireFault, reply: &[u8]) -> Vec<u8> {
    let changed = |from: &str, to: &str| match ReplyDecoder::new(Default::default()).push(reply) {
        Ok(Some(frame)) => encode_reply(&frame.kind, &frame.body.replacen(from, to, usize::MAX)),
        _ => reply.to_vec(),
    };
    match fault {
        WireFault::WrongChecksum => {
            let mut bytes = reply.to_vec();
            // Inside the compressed part or the text; never the header.
            if let Some(byte) = bytes.get_mut(40) {
                *byte ^= 1;
            }
            bytes
        }
        WireFault::OtherMethod => changed("\u{1}query_", "\u{1}query_other_"),
        WireFault::OtherArgument => changed("\u{1}2024-", "\u{1}2023-"),
        WireFault::OtherSecurity => changed("\",\"s", "\",\"x"),
        WireFault::Bomb { megabytes } => bomb(*megabytes),
        WireFault::Gbk => {
            let text = encoding_rs::GBK.encode("0\u{1}success\u{1}名称").0.into_owned();
            let mut bytes = header("34", 12).into_bytes();
            bytes.extend_from_slice(&text);
            let checksum = crc32fast::hash(&bytes);
            bytes.extend_from_slice(format!("\u{1}{checksum}").as_bytes());
            [&bytes, MARKER].concat()
        }
        WireFault::Html => b"<html><body><h1>502 Bad Gateway</h1></body></html>".to_vec(),
        WireFault::Twice => [reply, reply].concat(),
        _ => reply.to_vec(),
    }
}

fn header(kind: &str, length: u64) -> String {
    format!("{SERVER_VERSION}\u{1}{kind}\u{1}{length:010}")
}

/// Zeros, packed.
fn bomb(megabytes: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b'0'; 1 << 20];
    let filled = (0..megabytes).try_for_each(|_| encoder.write_all(&zeros)).and_then(|()| encoder.finish());
    // Writing into memory does not fail.
    let packed = filled.unwrap_or_default();
    let mut bytes = header("96", packed.len() as u64).into_bytes();
    bytes.extend_from_slice(&packed);
    bytes.extend_from_slice(b"\x010\n");
    [&bytes, MARKER].concat()
}

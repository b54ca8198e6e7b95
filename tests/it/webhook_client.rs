//! The client of deliveries against real sockets: addresses that are closed, redirects, and every way to answer badly.

use std::collections::VecDeque;
use std::io;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate::model::{Instant, Subnet};
use tidegate::notify::client::{Client, ClientOptions, Exchange, FaultCode, Names, Request, SystemNames};
use tidegate::notify::outcome::Meaning;
use tokio::runtime::Runtime;

use crate::receiver::{Receiver, Says};
use crate::world::is_long;

/// Answers look-ups as a test says, one list after the other; the last one stays.
struct Scripted {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Scripted> {
        let list = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Scripted { answers: Mutex::new(answers.iter().map(list).collect()), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Names for Scripted {
    async fn look_up(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        match answers.len() {
            0 => Err(io::ErrorKind::NotFound.into()),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop_front().unwrap()),
        }
    }
}

fn options(allow: &[&str]) -> ClientOptions {
    ClientOptions {
        connect_timeout: Duration::from_secs(5),
        keep_alive: Duration::from_secs(60),
        idle_per_host: 4,
        answer_bytes_max: 1024,
        allow: allow.iter().map(|text| Subnet::parse(text).unwrap()).collect(),
        plain_http: true,
        ca: None,
    }
}

fn client(allow: &[&str], names: Arc<dyn Names>) -> Client {
    Client::new(&options(allow), names).unwrap()
}

fn request(url: &str, timeout: Duration) -> Request {
    let headers = vec![("content-type".to_string(), "application/json".to_string())];
    Request { url: url.to_string(), headers, body: "{\"a\":1}".into(), timeout }
}

const SECONDS: Duration = Duration::from_secs(20);

fn post(runtime: &Runtime, client: &Client, url: &str) -> Exchange {
    runtime.block_on(client.post(request(url, SECONDS)))
}

fn code(exchange: &Exchange) -> String {
    exchange.error().unwrap_or_else(|| "delivered".to_string())
}

#[test]
fn every_way_to_write_a_closed_address_is_refused_before_anything_is_connected_to() {
    let runtime = Runtime::new().unwrap();
    let receiver = Receiver::start(&runtime, "127.0.0.1:0", |_, _| Says::status(200, &[], "ok"));
    let port = receiver.address.port();
    let (closed, open) = (client(&[], Arc::new(SystemNames)), client(&["127.0.0.0/8"], Arc::new(SystemNames)));
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "①②⑦.⓪.⓪.①",
        "%31%32%37.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ] {
        let url = format!("http://{host}:{port}/hook");
        assert_eq!(code(&post(&runtime, &closed, &url)), "BLOCKED_ADDRESS", "{host}");
        assert_eq!(receiver.connections(), 0, "{host}: something was connected to");
    }
    // They do lead to the receiver: where they are allowed, it is reached.
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "017700000001", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}/hook");
        assert_eq!(code(&post(&runtime, &open, &url)), "delivered", "{host}");
    }
}

#[test]
fn every_closed_subnet_is_refused_as_a_number_and_behind_a_name() {
    let runtime = Runtime::new().unwrap();
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "5f00::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
    ] {
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
        let by_number = client(&[], Arc::new(SystemNames));
        let by_name = client(&[], Scripted::new(&[&[address]]));
        for (client, url) in [
            (&by_number, format!("http://{host}:9/hook")),
            (&by_number, format!("https://{host}/hook")),
            (&by_name, "http://receiver.example:9/hook".to_string()),
            (&by_name, "https://receiver.example/hook".to_string()),
        ] {
            let exchange = post(&runtime, client, &url);
            assert_eq!(code(&exchange), "BLOCKED_ADDRESS", "{url} {address} {exchange:?}");
        }
    }
}

#[test]
fn a_name_that_changes_its_answer_is_judged_by_the_answer_that_is_connected_to() {
    let runtime = Runtime::new().unwrap();
    let says = |_: usize, _: &_| Says::Last("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".into());
    let open = Receiver::start(&runtime, "127.0.0.2:0", says);
    let port = open.address.port();
    let closed = Receiver::start(&runtime, &format!("127.0.0.1:{port}"), says);
    let url = format!("http://receiver.example:{port}/hook");

    let names =
        Scripted::new(&[&["127.0.0.2"], &["127.0.0.1"], &["127.0.0.2", "127.0.0.1"], &["127.0.0.1", "127.0.0.2"]]);
    let rebound = client(&["127.0.0.2/32"], names.clone());
    let found: Vec<String> = (0..4).map(|_| code(&post(&runtime, &rebound, &url))).collect();
    assert_eq!(found, ["delivered", "BLOCKED_ADDRESS", "delivered", "delivered"]);
    assert_eq!((open.connections(), closed.connections()), (3, 0), "only the open address was connected to");
    assert_eq!(
        names.asked.load(Ordering::SeqCst),
        4,
        "one look-up for each connection, and none between it and the judgement"
    );
}

#[test]
fn connections_are_kept_and_names_are_looked_up_for_new_ones_only() {
    let runtime = Runtime::new().unwrap();
    let receiver = Receiver::start(&runtime, "127.0.0.1:0", |_, _| Says::status(204, &[], ""));
    let names = Scripted::new(&[&["127.0.0.1"]]);
    let client = client(&["127.0.0.1"], names.clone());
    let url = format!("http://receiver.example:{}/hook?a=b", receiver.address.port());
    for _ in 0..20 {
        let exchange = post(&runtime, &client, &url);
        assert_eq!((code(&exchange).as_str(), exchange.address), ("delivered", Some(receiver.address)));
    }
    // A connection may be made while the one before is still on its way back to the others.
    assert!(receiver.connections() < 20, "no connection was used again");
    assert!(names.asked.load(Ordering::SeqCst) < 20, "a connection that is used again needs no look-up");
    let seen = &receiver.seen()[4];
    assert_eq!(seen.line, "POST /hook?a=b HTTP/1.1");
    assert_eq!(seen.header("content-type"), "application/json");
    assert!(seen.header("user-agent").starts_with("tidegate/"));
    assert_eq!(seen.text(), "{\"a\":1}");
}

#[test]
fn redirects_are_not_followed_wherever_they_lead() {
    let runtime = Runtime::new().unwrap();
    let other = Receiver::start(&runtime, "127.0.0.1:0", |_, _| Says::status(200, &[], "reached"));
    for (status, target) in [
        (301, "http://169.254.169.254/latest/meta-data/".to_string()),
        (302, other.url()),
        (303, other.url()),
        (307, other.url()),
        (308, other.url()),
    ] {
        let location = format!("location: {target}");
        let receiver =
            Receiver::start(&runtime, "127.0.0.1:0", move |_, _| Says::status(status, &[&location], "moved"));
        let exchange = post(&runtime, &client(&["127.0.0.1"], Arc::new(SystemNames)), &receiver.url());
        assert_eq!(code(&exchange), format!("HTTP_{status}"));
        assert_eq!(exchange.detail(100), Some(format!("a redirect to {target} is not followed")));
        assert_eq!(Meaning::of(&exchange, Instant(0), SECONDS), Meaning::Retry);
        assert_eq!((receiver.seen().len(), other.connections()), (1, 0));
    }
}

/// What a receiver does, in which time it must, and what is told of it.
fn bad_answers() -> Vec<(Says, Duration, &'static str)> {
    let short = Duration::from_millis(300);
    let text = |text: &str| text.to_string();
    vec![
        (Says::Last(String::new()), SECONDS, "NETWORK_ERROR"),
        (Says::Last(text("HTTP/1.1 20")), SECONDS, "NETWORK_ERROR"),
        (Says::Last(text("no HTTP at all\r\n\r\n")), SECONDS, "NETWORK_ERROR"),
        (Says::Last(text("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")), SECONDS, "NETWORK_ERROR"),
        (Says::Last(text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nha")), SECONDS, "NETWORK_ERROR"),
        (Says::Last(text("HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\nhalf")), SECONDS, "HTTP_500"),
        (Says::Answer(text("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")), short, "ETIMEDOUT"),
        (Says::Answer(text("HTTP/1.1 503 No\r\ncontent-length: 100\r\n\r\nhalf")), short, "HTTP_503"),
        (Says::Silence, short, "ETIMEDOUT"),
        (Says::Later(Duration::from_secs(3), text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")), short, "ETIMEDOUT"),
        (Says::Later(short, text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")), SECONDS, "delivered"),
        (Says::status(204, &[], ""), SECONDS, "delivered"),
        (Says::status(429, &["retry-after: 3600"], ""), SECONDS, "HTTP_429"),
        (Says::status(410, &[], "gone"), SECONDS, "HTTP_410"),
        (Says::status(100, &[], ""), short, "ETIMEDOUT"),
    ]
}

#[test]
fn each_bad_answer_is_told_by_its_own_word_and_nothing_is_sent_twice() {
    let runtime = Runtime::new().unwrap();
    let client = client(&["127.0.0.1"], Arc::new(SystemNames));
    for (says, timeout, expected) in bad_answers() {
        let receiver = Receiver::start(&runtime, "127.0.0.1:0", {
            let says = says.clone();
            move |_, _| says.clone()
        });
        let exchange = runtime.block_on(client.post(request(&receiver.url(), timeout)));
        assert_eq!(code(&exchange), expected, "{says:?}: {exchange:?}");
        assert_eq!(receiver.seen().len(), 1, "{says:?}");
    }
}

#[test]
fn a_plea_for_patience_and_a_farewell_are_understood_through_the_real_client() {
    let runtime = Runtime::new().unwrap();
    let client = client(&["127.0.0.1"], Arc::new(SystemNames));
    let meaning = |says: Says| {
        let receiver = Receiver::start(&runtime, "127.0.0.1:0", move |_, _| says.clone());
        Meaning::of(&post(&runtime, &client, &receiver.url()), Instant(0), Duration::from_secs(7_200))
    };
    let hour = Some(Duration::from_secs(3_600));
    assert_eq!(meaning(Says::status(429, &["Retry-After: 3600"], "")), Meaning::Slow { wait: hour });
    assert_eq!(
        meaning(Says::status(503, &["Retry-After: Thu, 01 Jan 1970 01:00:00 GMT"], "")),
        Meaning::Slow { wait: hour }
    );
    assert_eq!(meaning(Says::status(410, &[], "")), Meaning::Gone);
    assert_eq!(meaning(Says::status(422, &[], "no")), Meaning::Refused);
    assert_eq!(meaning(Says::status(202, &[], "")), Meaning::Delivered);
}

#[test]
fn an_answer_after_29_seconds_counts_when_30_are_allowed() {
    let (wait, allowed) = if is_long() { (29_000, 30_000) } else { (900, 30_000) };
    let runtime = Runtime::new().unwrap();
    let receiver = Receiver::start(&runtime, "127.0.0.1:0", move |_, _| {
        Says::Later(Duration::from_millis(wait), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into())
    });
    let client = client(&["127.0.0.1"], Arc::new(SystemNames));
    let exchange = runtime.block_on(client.post(request(&receiver.url(), Duration::from_millis(allowed))));
    assert_eq!(code(&exchange), "delivered");
    assert!(exchange.took >= Duration::from_millis(wait));
}

#[test]
fn of_a_long_answer_only_the_beginning_is_read() {
    let runtime = Runtime::new().unwrap();
    let long = "x".repeat(5_000_000);
    let receiver = Receiver::start(&runtime, "127.0.0.1:0", move |_, _| Says::status(200, &[], &long));
    let exchange = post(&runtime, &client(&["127.0.0.1"], Arc::new(SystemNames)), &receiver.url());
    let answer = exchange.answer.as_ref().unwrap();
    assert_eq!((answer.body.len(), answer.cut, code(&exchange).as_str()), (1024, true, "delivered"));
    assert_eq!(exchange.detail(10).unwrap(), format!("{}…", "x".repeat(10)));
}

#[test]
fn what_keeps_a_connection_away_is_named() {
    let runtime = Runtime::new().unwrap();
    // A port that was free a moment ago: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let open = client(&["127.0.0.1"], Scripted::new(&[]));
    for (url, expected) in [
        (format!("http://127.0.0.1:{port}/"), "ECONNREFUSED"),
        ("http://nobody.example/".to_string(), "DNS"),
        ("ftp://127.0.0.1/".to_string(), "UNSENDABLE"),
        ("no address".to_string(), "UNSENDABLE"),
        ("http://".to_string(), "UNSENDABLE"),
    ] {
        assert_eq!(code(&post(&runtime, &open, &url)), expected, "{url}");
    }
    let strict =
        Client::new(&ClientOptions { plain_http: false, ..options(&["127.0.0.1"]) }, Scripted::new(&[])).unwrap();
    assert_eq!(code(&post(&runtime, &strict, &format!("http://127.0.0.1:{port}/"))), "UNSENDABLE");
    let mut broken = request(&format!("http://127.0.0.1:{port}/"), SECONDS);
    broken.headers.push(("x-a".to_string(), "line\r\nx-b: split".to_string()));
    assert_eq!(code(&runtime.block_on(open.post(broken))), "UNSENDABLE");
}

fn golden(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tls").join(name)
}

/// Answers one request over TLS as `receiver.example`, for as many connections as come.
fn serve_tls() -> u16 {
    let chain = vec![CertificateDer::from_pem_file(golden("receiver.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(golden("receiver.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
            // Whoever does not trust the certificate hangs up here.
            if tls.read(&mut [0; 4096]).is_ok() {
                drop(tls.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
                tls.conn.send_close_notify();
                drop(tls.flush());
            }
        }
    });
    port
}

#[test]
fn certificates_are_checked_and_an_authority_of_ones_own_can_be_named() {
    let runtime = Runtime::new().unwrap();
    let port = serve_tls();
    let ca = std::fs::read(golden("ca.pem")).unwrap();
    let names = || Scripted::new(&[&["127.0.0.1"]]);
    let usual = client(&["127.0.0.1"], names());
    let own = Client::new(&ClientOptions { ca: Some(ca), ..options(&["127.0.0.1"]) }, names()).unwrap();
    for (client, url, expected) in [
        (&usual, format!("https://receiver.example:{port}/"), "TLS"),
        (&own, format!("https://receiver.example:{port}/"), "delivered"),
        (&own, format!("https://other.example:{port}/"), "TLS"),
        (&own, format!("https://127.0.0.1:{port}/"), "TLS"),
    ] {
        let exchange = post(&runtime, client, &url);
        assert_eq!(code(&exchange), expected, "{url} {exchange:?}");
    }
    let bad = ClientOptions { ca: Some(b"no certificate".to_vec()), ..options(&[]) };
    assert!(Client::new(&bad, names()).unwrap_err().hint_text().is_some());
}

#[test]
fn the_words_of_faults_are_those_of_the_manual() {
    let words =
        [FaultCode::Refused, FaultCode::TimedOut, FaultCode::Network, FaultCode::BlockedAddress].map(FaultCode::name);
    assert_eq!(words, ["ECONNREFUSED", "ETIMEDOUT", "NETWORK_ERROR", "BLOCKED_ADDRESS"]);
}

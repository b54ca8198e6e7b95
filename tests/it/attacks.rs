//! Attacks on the service: each is refused with the right status, refusals of access are in the audit journal, and the
//! service stays up and answers afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant as Moment};

use reqwest::Method;
use serde_json::{Value, json};
use tidegate::model::{Journal, JournalEntry, JournalWanted, Level, definition::Kind};
use tidegate::store::Store;

use crate::serving::{Answer, Serving};
use crate::world::{Wanted, World, is_long};

const LIMIT: Duration = Duration::from_secs(30);

fn world() -> World {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    world
}

fn key(world: &World, arguments: &[&str]) -> String {
    let made = world.run(&[&["keys", "create", "--json"], arguments].concat(), 0).json();
    made["key"].as_str().unwrap().to_string()
}

/// Waits for what other processes see a moment later.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Moment::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn with_key(serving: &Serving<'_>, method: Method, path: &str, key: &str, body: Option<Value>) -> Answer {
    serving.ask(method, path, &[("authorization", &format!("Bearer {key}"))], body)
}

fn trail(world: &World) -> Vec<JournalEntry> {
    let wanted = JournalWanted {
        journal: Journal::Audit,
        level: Level::Trace,
        task: None,
        text: None,
        before: None,
        limit: 10_000,
    };
    world.runtime.block_on(world.store().journal(&wanted)).unwrap()
}

fn is_logged(world: &World, who: &str, what: &str, status: u16) {
    let found = || trail(world).into_iter().find(|entry| entry.target == what && entry.data["status"] == status);
    let entry = eventually(&format!("{what} {status} in the journal"), found);
    assert_eq!(entry.who, who);
    assert_eq!(entry.data["address"], "127.0.0.1");
    assert!(entry.data["request"].as_str().is_some_and(|id| !id.is_empty()));
}

fn is_up(serving: &Serving<'_>) {
    assert_eq!(serving.get("/healthz").of_status(200)["status"], "ok");
}

/// Every error is a problem of its status.
fn is_problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
    let problem = answer.of_status(status);
    assert_eq!(problem["status"], status);
    assert!(problem["type"].as_str().unwrap().starts_with("/docs#problem-"), "{problem}");
    problem
}

fn connect(serving: &Serving<'_>) -> TcpStream {
    let address: SocketAddr = serving.url.trim_start_matches("http://").parse().unwrap();
    let stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Sends bytes as they are, and reads until the service closes or has answered in full.
fn raw(serving: &Serving<'_>, bytes: &[u8]) -> String {
    let mut stream = connect(serving);
    // A service that refuses early may close while we still write.
    drop(stream.write_all(bytes));
    read_out(&mut stream)
}

fn read_out(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[test]
fn no_key_a_wrong_one_the_wrong_role_an_expired_and_a_removed_one_are_refused_and_logged() {
    let world = world();
    let admin = key(&world, &["root", "--role", "admin"]);
    let reader = key(&world, &["look"]);
    let operator = key(&world, &["desk", "--role", "operate"]);
    let serving = Serving::start(&world, &[]);

    is_problem(&serving.get("/api/v1/settings"), 401);
    assert_eq!(serving.get("/api/v1/settings").header("www-authenticate"), "Bearer");
    is_logged(&world, "", "GET /api/v1/settings", 401);
    let forged = format!("{}x", &admin[..admin.len() - 1]);
    is_problem(&with_key(&serving, Method::GET, "/api/v1/changes", &forged, None), 401);
    is_logged(&world, "", "GET /api/v1/changes", 401);
    for header in ["Basic cm9vdDpyb290", "Bearer", "Bearer ", "", "bearer tg__", "Bearer tg_\u{e9}"] {
        let answer = serving.ask(Method::GET, "/api/v1/session", &[("authorization", header)], None);
        assert_eq!(answer.status.as_u16(), 401, "{header:?}");
    }

    assert_eq!(with_key(&serving, Method::GET, "/api/v1/session", &reader, None).of_status(200)["role"], "read");
    let plan = with_key(&serving, Method::POST, "/api/v1/plan", &reader, Some(json!({ "datasets": ["trade_cal"] })));
    assert_eq!(plan.status.as_u16(), 200, "whoever may read may see what a run would take");
    is_problem(&with_key(&serving, Method::POST, "/api/v1/keys", &reader, Some(json!({}))), 403);
    is_logged(&world, "look", "POST /api/v1/keys", 403);
    let problem = is_problem(&with_key(&serving, Method::GET, "/api/v1/keys", &operator, None), 403);
    assert_eq!(problem["detail"], "the key \"desk\" may operate, and this takes admin");
    let token = Some(json!({ "value": "a-token-of-ours" }));
    is_problem(&with_key(&serving, Method::PUT, "/api/v1/secrets/tushare", &operator, token.clone()), 403);
    is_logged(&world, "desk", "PUT /api/v1/secrets/{source}", 403);
    assert_eq!(with_key(&serving, Method::PUT, "/api/v1/secrets/tushare", &admin, token).status.as_u16(), 204);
    is_logged(&world, "root", "PUT /api/v1/secrets/{source}", 204);

    expire(&world, "look");
    let expired =
        || Some(with_key(&serving, Method::GET, "/api/v1/session", &reader, None)).filter(|it| it.status == 401);
    let problem = eventually("the end of an expired key", expired).json();
    assert_eq!(problem["detail"], "this key has expired");
    world.run(&["keys", "remove", "desk"], 0);
    let removed =
        || Some(with_key(&serving, Method::GET, "/api/v1/session", &operator, None)).filter(|it| it.status == 401);
    eventually("the end of a removed key", removed);

    let everything = format!("{:?}", trail(&world));
    for secret in [&admin, &reader, &operator, "a-token-of-ours"] {
        assert!(!everything.contains(secret.trim_start_matches("tg_")), "a secret is in the journal");
    }
    is_up(&serving);
}

/// The key's time is over, as it is stored.
fn expire(world: &World, name: &str) {
    use tidegate::model::{Change, Commit};
    let store = world.store();
    world.runtime.block_on(async {
        let mut body = store.definition(Kind::Key, name).await.unwrap().unwrap().body;
        body["expires_at"] = "2024-01-01T00:00:00+08:00".into();
        let change = Change::Define { kind: Kind::Key, name: name.to_string(), body, expect: None };
        store.commit(Commit { at: world.now(), fence: None, changes: vec![change] }).await.unwrap();
    });
}

#[test]
fn a_session_ends_with_its_key_and_its_cookie_cannot_be_read_by_a_page() {
    let world = world();
    let admin = key(&world, &["root", "--role", "admin"]);
    let serving = Serving::start(&world, &[]);
    let login = serving.post("/api/v1/session", json!({ "key": admin }));
    assert_eq!(login.of_status(200)["role"], "admin");
    let cookie = login.header("set-cookie").to_string();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains(&admin), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let ask = |method: Method, headers: &[(&str, &str)]| {
        serving.ask(method, "/api/v1/session", &[&[("cookie", cookie)], headers].concat(), None)
    };
    assert_eq!(ask(Method::GET, &[]).of_status(200)["name"], "root");
    is_logged(&world, "root", "POST /api/v1/session", 200);
    let https = [("x-forwarded-proto", "https"), ("content-type", "application/json")];
    let login = serving.ask(Method::POST, "/api/v1/session", &https, Some(json!({ "key": admin })));
    assert!(login.header("set-cookie").ends_with("; Secure"));

    // Another site's page: the browser says so, and nothing happens.
    is_problem(&ask(Method::DELETE, &[("sec-fetch-site", "cross-site")]), 403);
    is_problem(&ask(Method::DELETE, &[("origin", "https://evil.example")]), 403);
    assert_eq!(ask(Method::GET, &[]).status.as_u16(), 200);
    assert_eq!(ask(Method::DELETE, &[("sec-fetch-site", "same-origin")]).status.as_u16(), 204);
    is_problem(&ask(Method::GET, &[]), 401);

    let again = serving.post("/api/v1/session", json!({ "key": admin }));
    let cookie = again.header("set-cookie").split(';').next().unwrap().to_string();
    let other = key(&world, &["other", "--role", "admin"]);
    world.run(&["keys", "remove", "root"], 0);
    let ended = || {
        Some(serving.ask(Method::GET, "/api/v1/session", &[("cookie", &cookie)], None)).filter(|it| it.status == 401)
    };
    eventually("the end of the session", ended);
    assert_eq!(with_key(&serving, Method::GET, "/api/v1/session", &other, None).status.as_u16(), 200);
}

#[test]
fn wrong_keys_make_an_address_wait_and_right_ones_go_on() {
    let world = world();
    let admin = key(&world, &["root", "--role", "admin"]);
    let serving = Serving::start(&world, &["--set", "serve.logins_per_minute=3"]);
    for _ in 0..3 {
        is_problem(&serving.post("/api/v1/session", json!({ "key": "tg_0_guess" })), 401);
    }
    let answer = serving.post("/api/v1/session", json!({ "key": "tg_0_guess" }));
    is_problem(&answer, 429);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    is_problem(&with_key(&serving, Method::GET, "/api/v1/session", "tg_0_guess", None), 429);
    is_logged(&world, "", "POST /api/v1/session", 429);
    assert_eq!(with_key(&serving, Method::GET, "/api/v1/session", &admin, None).status.as_u16(), 200);
}

#[test]
fn who_asks_too_often_waits() {
    let world = world();
    let admin = key(&world, &["root", "--role", "admin"]);
    let serving = Serving::start(&world, &["--set", "serve.requests_per_minute=5"]);
    let statuses: Vec<u16> =
        (0..8).map(|_| with_key(&serving, Method::GET, "/api/v1/session", &admin, None).status.as_u16()).collect();
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses.contains(&429), "{statuses:?}");
    is_logged(&world, "root", "GET /api/v1/session", 429);
}

#[test]
fn without_keys_this_machine_is_let_in_and_nobody_in_between_or_beyond() {
    let world = world();
    let serving = Serving::start(&world, &["--set", "serve.hosts=[\"market.example\"]"]);
    assert_eq!(serving.get("/api/v1/session").of_status(200)["role"], "admin");
    for headers in [[("host", "market.example")], [("x-forwarded-for", "203.0.113.7")]] {
        is_problem(&serving.ask(Method::GET, "/api/v1/session", &headers, None), 401);
    }
    let problem = is_problem(&serving.ask(Method::GET, "/healthz", &[("host", "evil.example")], None), 421);
    assert!(problem["hint"].as_str().unwrap().contains("serve.hosts"));
    drop(serving);
    let ran = world.run(&["serve", "--listen", "0.0.0.0:0", "--set", "serve.mirrors=[]"], 2);
    assert!(ran.stderr.contains("tidegate keys create"), "{}", ran.stderr);
}

#[test]
fn pages_of_other_sites_change_nothing_with_and_without_keys() {
    let world = world();
    let serving = Serving::start(&world, &["--set", "serve.cors_origins=[\"https://desk.example\"]"]);
    let post = |headers: &[(&str, &str)]| serving.ask(Method::POST, "/api/v1/keys", headers, None);
    let json = ("content-type", "application/json");
    for headers in [
        vec![],
        vec![("content-type", "text/plain")],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("origin", "https://evil.example"), json],
        vec![("origin", "null"), json],
        vec![("origin", "https://evil.example"), ("x-tidegate-request", "1")],
        vec![("sec-fetch-site", "cross-site"), json],
        vec![("sec-fetch-site", "same-site"), ("x-tidegate-request", "1")],
    ] {
        is_problem(&post(&headers), 403);
    }
    is_logged(&world, "local", "POST /api/v1/keys", 403);
    // These come through, and fail by what they carry.
    for headers in [
        vec![("x-tidegate-request", "1")],
        vec![("sec-fetch-site", "same-origin")],
        vec![("origin", serving.url.as_str())],
        vec![("origin", "https://desk.example")],
        vec![json],
    ] {
        assert!(matches!(post(&headers).status.as_u16(), 400 | 415), "{headers:?}");
    }
    let socket = [("connection", "upgrade"), ("upgrade", "websocket"), ("origin", "https://evil.example")];
    is_problem(&serving.ask(Method::GET, "/ws", &socket, None), 403);

    let ask_first = [("origin", "https://desk.example"), ("access-control-request-method", "POST")];
    let answer = serving.ask(Method::OPTIONS, "/api/v1/keys", &ask_first, None);
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (204, "https://desk.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    let ask_first = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let answer = serving.ask(Method::OPTIONS, "/api/v1/keys", &ask_first, None);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    is_up(&serving);
}

#[test]
fn tricks_with_paths_methods_headers_and_bodies_are_refused_as_problems() {
    let world = world();
    let serving = Serving::start(&world, &["--set", "serve.body_kb_max=64"]);
    let head = "Host: 127.0.0.1\r\nConnection: close\r\n";
    let get = |target: &str| raw(&serving, format!("GET {target} HTTP/1.1\r\n{head}\r\n").as_bytes());
    for target in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/web/..%5c..%5cwindows",
        "/api/v1/%00/keys",
        "/%c0%ae%c0%ae/etc/passwd",
        "/a/./b",
        "/%0d%0aSet-Cookie:%20a=b",
    ] {
        let answer = get(target);
        assert_eq!(status_of(&answer), 400, "{target}: {answer}");
        assert!(!answer.contains("root:"), "{target}");
    }
    assert_eq!(status_of(&get(&format!("/{}", "a".repeat(9_000)))), 414);
    assert_eq!(status_of(&get("/api/v1/nothing")), 404);
    assert!(!get("//etc/passwd").contains("root:"));

    let whole = |text: &str| raw(&serving, text.as_bytes());
    assert_eq!(status_of(&whole("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")), 400, "no host");
    assert_eq!(
        status_of(&whole(&format!("GET /healthz HTTP/1.1\r\n{head}Host: evil.example\r\n\r\n"))),
        400,
        "two hosts"
    );
    assert_eq!(status_of(&whole(&format!("GET http://evil.example/healthz HTTP/1.1\r\n{head}\r\n"))), 421);
    assert_eq!(status_of(&whole(&format!("GET /healthz HTTP/1.1\r\n{head}A: b\0c\r\n\r\n"))), 400);
    assert_eq!(status_of(&whole(&format!("GET /healthz HTTP/1.1\r\n{head}{}\r\n", "A: b\r\n".repeat(200)))), 431);
    let smuggled = format!(
        "POST /api/v1/session HTTP/1.1\r\n{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    assert!((400..500).contains(&status_of(&whole(&smuggled))));
    let named = whole(&format!("GET /healthz HTTP/1.1\r\n{head}X-Request-Id: a\"b<script>\r\n\r\n"));
    assert!(status_of(&named) == 200 && !named.contains("script"), "{named}");

    let answer = serving.ask(Method::PATCH, "/api/v1/session", &[("x-tidegate-request", "1")], None);
    is_problem(&answer, 405);
    assert!(answer.header("allow").contains("DELETE"), "{answer:?}");
    assert_eq!(serving.ask(Method::HEAD, "/healthz", &[], None).status.as_u16(), 200);

    let post = |kind: &str, body: &str| {
        raw(
            &serving,
            format!(
                "POST /api/v1/session HTTP/1.1\r\n{head}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        )
    };
    assert_eq!(status_of(&post("text/plain", "{\"key\":\"a\"}")), 415);
    assert_eq!(status_of(&post("application/json", "{\"key\":")), 400);
    assert_eq!(status_of(&post("application/json", "[]")), 400);
    assert_eq!(status_of(&post("application/json", "{\"key\":\"a\",\"more\":1}")), 400);
    assert_eq!(
        status_of(&post("application/json", &format!("{{\"key\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000)))),
        400
    );
    assert_eq!(status_of(&post("application/json", &"x".repeat(65_537))), 413);
    is_up(&serving);
}

#[test]
fn huge_slow_and_endless_requests_are_cut_off() {
    let world = world();
    let limits =
        ["--set", "serve.header_seconds=1", "--set", "serve.request_seconds=3", "--set", "serve.body_kb_max=64"];
    let serving = Serving::start(&world, &limits);
    let head = "POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n";

    // Said to be huge: refused before anything of it is read.
    let answer = raw(&serving, format!("{head}Content-Length: 10000000000\r\n\r\n").as_bytes());
    assert_eq!(status_of(&answer), 413, "{answer}");
    // Endless chunks: read up to the limit.
    let mut stream = connect(&serving);
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let sent = (0..10_000).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 10_000, "{sent} chunks were taken");
    // A body that never comes, one that trickles, a head that never ends, and nothing at all.
    let mut silent = connect(&serving);
    silent.write_all(format!("{head}Content-Length: 100\r\n\r\n").as_bytes()).unwrap();
    let answer = read_out(&mut silent);
    assert_eq!(status_of(&answer), 408, "{answer}");
    let mut trickling = connect(&serving);
    trickling.write_all(format!("{head}Content-Length: 100000\r\n\r\n").as_bytes()).unwrap();
    let started = Moment::now();
    while trickling.write_all(b"x").is_ok() && started.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() < LIMIT, "a body may trickle for ever");
    let mut slow = connect(&serving);
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0").unwrap();
    assert_eq!(status_of(&read_out(&mut slow)), 0);
    let mut trickling = connect(&serving);
    let started = Moment::now();
    while trickling.write_all(b"A: b\r\n").is_ok() && started.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() < LIMIT, "a head may trickle for ever");
    assert_eq!(read_out(&mut connect(&serving)), "");
    is_up(&serving);
}

#[test]
fn ten_thousand_connections_do_not_keep_others_out_for_long() {
    let world = world();
    let serving = Serving::start(&world, &["--set", "serve.connections=200", "--set", "serve.header_seconds=2"]);
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let files = limit.maximum.unwrap_or(20_000).saturating_sub(2_000);
    let wanted = if is_long() { 10_000 } else { 2_000 }.min(files);
    let mut kept = Vec::new();
    for _ in 0..wanted {
        let mut stream = connect(&serving);
        // Some were closed at once.
        drop(stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127."));
        kept.push(stream);
    }
    let files_of = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(files_of(serving.pid()) < 400, "{} files are open", files_of(serving.pid()));
    // The slow ones run out of time, and whoever asks properly is answered again, though the others are still there.
    let answered = || {
        let mut stream = connect(&serving);
        drop(stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
        Some(read_out(&mut stream)).filter(|answer| status_of(answer) == 200)
    };
    eventually("an answer", answered);
    assert_eq!(kept.len() as u64, wanted);
    is_up(&serving);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let world = world();
    let serving = Serving::start(&world, &["--set", "serve.request_seconds=1"]);
    let mut stream = connect(&serving);
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let started = Moment::now();
    let cut = loop {
        match stream.write(b"GET /docs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => break error.kind(),
        }
        assert!(started.elapsed() < LIMIT, "a reader may stall for ever");
    };
    assert!(matches!(cut, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{cut}");
    is_up(&serving);
}

#[test]
fn requests_under_way_end_before_the_service() {
    let world = world();
    let serving = Serving::start(&world, &["--set", "serve.drain_seconds=20", "--set", "serve.header_seconds=20"]);
    // The head is there, the body comes after the service was asked to stop.
    let mut stream = connect(&serving);
    let body = "{\"key\":\"tg_0_guess\"}";
    let head = "POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
    let mut going_on = [0; 25];
    stream.read_exact(&mut going_on).unwrap();
    assert!(going_on.starts_with(b"HTTP/1.1 100"));
    let address: SocketAddr = serving.url.trim_start_matches("http://").parse().unwrap();
    let ending = std::thread::scope(|scope| {
        let ending = scope.spawn(move || serving.stop());
        eventually("the closed door", || TcpStream::connect(address).err().map(drop));
        stream.write_all(body.as_bytes()).unwrap();
        assert_eq!(status_of(&read_out(&mut stream)), 401);
        ending.join().unwrap()
    });
    assert_eq!(ending, Some(0));
}

#[test]
fn sql_in_names_and_filters_is_only_text() {
    let world = world();
    world.run(&["sync", "trade_cal", "stock_basic", "daily", "--from", "2024-01-02", "--to", "2024-01-31"], 0);
    let admin = key(&world, &["root", "--role", "admin"]);
    let serving = Serving::start(&world, &[]);
    let ask = |path: &str| with_key(&serving, Method::GET, path, &admin, None);
    let rows = |path: &str| ask(path).of_status(200)["rows"].as_array().unwrap().len();
    let all = rows("/api/v1/datasets/daily/rows");
    assert!(all > 0);
    let texts = [
        "'; drop table daily; --",
        "' or '1'='1",
        "\" or \"\"=\"",
        "daily\"; delete from daily; --",
        "x') union select name, body from _definition --",
        "%' or 1=1 --",
        "0; pragma writable_schema=1",
        "$1",
        "\u{2019} or 1=1",
    ];
    for text in texts {
        let text = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        for path in [
            format!("/api/v1/datasets/{text}/rows"),
            format!("/api/v1/datasets/daily/rows?columns=ts_code,{text}"),
            format!("/api/v1/datasets/daily/rows?codes={text}"),
            format!("/api/v1/datasets/daily/rows?where=ts_code:{text}"),
            format!("/api/v1/datasets/daily/rows?where=close:{text}..{text}"),
            format!("/api/v1/datasets/daily/rows?where={text}:1"),
            format!("/api/v1/datasets/daily/rows?order={text}"),
            format!("/api/v1/datasets/daily/rows?from={text}"),
            format!("/api/v1/datasets/daily/rows?limit={text}"),
            format!("/api/v1/datasets/daily/rows?as_of={text}"),
            format!("/api/v1/bars/{text}"),
            format!("/api/v1/coverage/{text}"),
            format!("/api/v1/securities?q={text}"),
            format!("/api/v1/changes?q={text}"),
            format!("/api/v1/tasks?dataset={text}"),
        ] {
            let answer = ask(&path);
            match answer.status.as_u16() {
                200 => {
                    let found = answer.json();
                    let list = if found["rows"].is_array() { &found["rows"] } else { &found["items"] };
                    assert_eq!(list.as_array().map(Vec::len), Some(0), "{path}: {found}");
                }
                400 | 404 => {
                    is_problem(&answer, answer.status.as_u16());
                }
                other => panic!("{path}: {other}"),
            }
        }
    }
    assert_eq!(rows("/api/v1/datasets/daily/rows"), all);
    is_up(&serving);
}

#[test]
fn those_who_come_while_the_service_is_busy_wait_at_its_door() {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    let serving = Serving::start(&world, &[]);
    let signal = |name: &str| {
        let pid = serving.pid().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let address: SocketAddr = serving.url.trim_start_matches("http://").parse().unwrap();
    // The system itself takes them in, as many as may wait; one for whom there is no room is left to try again.
    let patience = Duration::from_secs(30);
    let waiting: Vec<_> = (0..500).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
    signal("-CONT");
    assert_eq!(waiting.len(), 500);
    drop(waiting);
    assert_eq!(serving.get("/healthz").of_status(200)["status"], "ok");
}

//! The real service of a test: `tidegate serve` on free ports over the store of a world, and a client that asks it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::World;

/// A running `tidegate serve`; killed when dropped.
pub struct Serving<'w> {
    pub world: &'w World,
    pub url: String,
    /// What it said of itself when it began.
    pub started: Value,
    child: Child,
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        let text = || String::from_utf8_lossy(&self.bytes).into_owned();
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, text()))
    }

    /// The JSON of an answer of this status.
    pub fn of_status(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl<'w> Serving<'w> {
    /// Jobs do not run by their schedules and no mirror is served, unless the arguments say otherwise.
    pub fn start(world: &'w World, arguments: &[&str]) -> Serving<'w> {
        let mut command = world.tidegate(&["serve", "--json", "--listen", "127.0.0.1:0"]);
        let set = |key: &str| arguments.iter().any(|argument| argument.starts_with(&format!("{key}=")));
        if !set("serve.mirrors") {
            command.args(["--set", "serve.mirrors=[]"]);
        }
        if !set("jobs.enabled") {
            command.args(["--set", "jobs.enabled=false"]);
        }
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let started: Value = loop {
            assert!(lines.read_line(&mut text).unwrap() > 0, "the service ended before it answered: {text}");
            if let Ok(value) = serde_json::from_str(&text) {
                break value;
            }
        };
        // Whatever it prints later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let url = started["url"].as_str().expect("an address").to_string();
        Serving { world, url, started, child }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], None)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, &[], Some(body))
    }

    pub fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        self.world.runtime.block_on(async {
            // What is compressed comes as it was sent.
            let client = reqwest::Client::builder().no_proxy().gzip(false);
            let client = client.redirect(reqwest::redirect::Policy::none());
            let mut request = client.build().unwrap().request(method, format!("{}{path}", self.url));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_service_lives_and_ends_when_it_is_asked_to() {
    let world = World::new(crate::world::Wanted { securities: 5, ..Default::default() });
    world.create_store();
    let serving = Serving::start(&world, &[]);
    assert_eq!(serving.get("/healthz").of_status(200)["status"], "ok");
    assert_eq!(serving.get("/readyz").of_status(200)["status"], "ok");
    assert_eq!(serving.stop(), Some(0));
}

//! `tidegate demo` as people meet it: a market is synced and audited, and a dashboard stays open whose quotes go on.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{is_long, program};

/// The tables that are polled while the market trades; `ths_hot` takes more points than the demo's account has.
const POLLED: [&str; 3] = ["kpl_concept", "kpl_list", "spot"];
/// Longer than anything here takes on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running demo, killed when dropped, and all that it said.
struct Demo {
    child: Child,
    said: Arc<Mutex<String>>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Demo {
    fn start() -> Demo {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program(folder.path());
        command.args(["demo", "--set", "sim.securities=30"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let listen = |from: Box<dyn Read + Send>| {
            let said = said.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    *said.lock().unwrap() += &format!("{line}\n");
                }
            });
        };
        listen(Box::new(child.stdout.take().unwrap()));
        listen(Box::new(child.stderr.take().unwrap()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Demo { child, said, runtime, _folder: folder }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Looks until there is an answer.
    fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, url: &str, body: Option<Value>) -> Value {
        self.runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = match body {
                Some(body) => client.post(url).header("content-type", "application/json").body(body.to_string()),
                None => client.get(url),
            };
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let text = answer.text().await.unwrap();
            assert!(status.is_success(), "{url}: {status} {text}");
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        })
    }

    /// SIGINT, and the exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Names of the tables that are being polled.
fn polled(runs: &Value) -> Vec<String> {
    let runs = runs["items"].as_array().unwrap().iter();
    let mut names: Vec<String> = runs
        .filter(|run| run["work"]["action"] == "poll" && run["state"] == "running")
        .map(|run| run["work"]["datasets"][0].as_str().unwrap().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn the_demo_stays_open_with_live_quotes_and_has_hands_for_other_work() {
    let demo = Demo::start();
    let url = demo.until("a dashboard", || {
        let said = demo.said();
        let rest = said.split_once("the dashboard is open on ")?.1;
        Some(rest.split_once('\n')?.0.to_string())
    });
    assert!(demo.said().contains("0 unexplained holes"), "{}", demo.said());
    let page = demo.ask(&url, None);
    assert!(page.as_str().is_some_and(|page| page.contains("<!doctype html>")), "{page}");

    let runs = || demo.ask(&format!("{url}/api/v1/runs?limit=100"), None);
    demo.until("every table that is polled is", || (polled(&runs()) == POLLED).then_some(()));
    let quotes = || demo.ask(&format!("{url}/api/v1/datasets/spot/rows?limit=100"), None)["rows"].clone();
    let first = demo.until("quotes", || Some(quotes()).filter(|quotes| quotes != &json!([])));
    // Polls last as long as the market trades; what people ask for does not wait for them.
    let work = json!({ "datasets": ["weekly"], "days_back": 30 });
    let run = demo.ask(&format!("{url}/api/v1/runs"), Some(work))["id"].as_i64().unwrap();
    let run = demo.until("the end of a run beside them", || {
        let run = demo.ask(&format!("{url}/api/v1/runs/{run}"), None);
        run["finished_at"].is_string().then_some(run)
    });
    assert_eq!(run["state"], "success", "{run:#}");
    assert_eq!(polled(&runs()), POLLED, "the polls go on");
    let overview = demo.ask(&format!("{url}/api/v1/overview"), None);
    let wants = overview["attention"].as_array().unwrap().iter().filter(|one| one["kind"] != "late");
    assert_eq!(wants.count(), 0, "a demo needs nobody: {}", overview["attention"]);
    if is_long() {
        demo.until("other quotes a minute later", || (quotes() != first).then_some(()));
    }
    assert_eq!(demo.stop(), Some(0));
}

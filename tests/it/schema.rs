//! The description of the API is true: schemathesis asks every route what it allows and what it does not.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::serving::Serving;
use crate::world::{Wanted, World, is_long, seed};

#[test]
fn schemathesis_finds_no_server_error_and_no_answer_beside_the_description() {
    let python = std::env::var("TIDEGATE_SCHEMATHESIS_PYTHON")
        .expect("scripts/test sets TIDEGATE_SCHEMATHESIS_PYTHON: run the tests through it");
    let world = World::new(Wanted { securities: 30, ..Wanted::default() });
    world.create_store();
    let tables = ["trade_cal", "stock_basic", "daily", "adj_factor", "daily_basic", "limit_list_d"];
    world.run(&[&["sync", "--from", "2024-01-02", "--to", "2024-02-29"], &tables[..]].concat(), 0);
    let made = world.run(&["keys", "create", "root", "--role", "admin", "--json"], 0).json();
    let key = made["key"].as_str().unwrap();
    // What schemathesis asks for in passing must not keep it out, and the runs that it starts find nobody to ask.
    let limits = ["serve.requests_per_minute=0", "serve.logins_per_minute=10000", "sources.tushare.enabled=false"];
    let serving = Serving::start(&world, &limits.map(|limit| ["--set", limit]).concat());

    let folder = TempDir::new().unwrap();
    let official = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official");
    let program = Path::new(&python).parent().unwrap().join("schemathesis");
    let ran = Command::new(program)
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(official.join("schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", serving.url)])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(["--checks", "all", "--suppress-health-check", "all", "--no-color"])
        .args(["--seed", &seed("schemathesis").to_string()])
        .args(["--max-examples", if is_long() { "200" } else { "4" }])
        .args(if is_long() { &[][..] } else { &["--no-shrink"] })
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(serving.get("/healthz").of_status(200)["status"], "ok");
    println!("{said}");
}

#[test]
fn every_operation_has_its_own_name_a_tag_and_every_problem_and_the_page_shows_it() {
    let world = World::new(Wanted { securities: 5, ..Wanted::default() });
    world.create_store();
    let serving = Serving::start(&world, &[]);
    let described = serving.get("/openapi.json").of_status(200);
    assert_eq!(described["openapi"], "3.1.0");
    let page = String::from_utf8(serving.get("/docs").bytes).unwrap();
    assert!(!page.contains("<script") && !page.contains("style=") && !page.contains("://cdn"));
    let (mut names, mut unfinished) = (std::collections::BTreeSet::new(), Vec::new());
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let open = ["/healthz", "/readyz", "/api/v1/webhooks/{name}"].contains(&path.as_str())
                || (path, method.as_str()) == (&"/api/v1/session".into(), "post");
            let misplaced = operation["parameters"].as_array().into_iter().flatten().any(|parameter| {
                let named = format!("{{{}}}", parameter["name"].as_str().unwrap());
                (parameter["in"] == "path") != path.contains(&named)
            });
            let complete = !misplaced
                && names.insert(name.to_string())
                && operation["tags"][0].is_string()
                && operation["summary"].is_string()
                && ["400", "401", "403", "404", "413", "429", "500", "503"]
                    .iter()
                    .all(|status| operation["responses"][*status].is_object())
                && page.contains(&format!("<article id=\"{name}\">"))
                && operation["security"].is_array() != open;
            if !complete {
                unfinished.push(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(unfinished, [""; 0]);
    let problems: Vec<&str> =
        page.match_indices("id=\"problem-").map(|(at, _)| page[at + 12..].split('"').next().unwrap()).collect();
    for answer in [serving.get("/api/v1/nothing"), serving.get("/api/v1/tasks/x")] {
        let problem: Value = answer.json();
        let kind = problem["type"].as_str().unwrap().trim_start_matches("/docs#problem-");
        assert!(problems.contains(&kind), "{kind} is not explained in /docs");
    }
}

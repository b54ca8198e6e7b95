//! The dashboard's files: how they are served, and what they may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;

use crate::serving::Serving;
use crate::world::{Wanted, World};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("web")
}

/// Files of the dashboard with this ending, by their path under `web/`; those of other people are left out.
fn files(ending: &str) -> BTreeMap<String, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_string();
            match path.is_dir() {
                true if name == "vendor" => {}
                true => folders.push(path),
                false if name.ends_with(ending) => drop(found.insert(name, fs::read_to_string(path).unwrap())),
                false => {}
            }
        }
    }
    assert!(!found.is_empty(), "no file ends in {ending}");
    found
}

/// The texts between `before` and the quote that ends them.
fn quoted<'t>(text: &'t str, before: &str) -> impl Iterator<Item = &'t str> {
    text.match_indices(before).filter_map(move |(at, found)| text[at + found.len()..].split('\'').next())
}

/// The keys of one language; each once.
fn keys(language: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (name, text) in files(".js").iter().filter(|(name, _)| name.starts_with(&format!("i18n/{language}/"))) {
        for line in text.lines().filter(|line| line.starts_with("  '")) {
            let key = line[3..].split('\'').next().unwrap().to_string();
            assert!(keys.insert(key.clone()), "{name}: {key} is there twice");
        }
    }
    keys
}

#[test]
fn both_languages_have_the_same_texts_and_every_text_that_is_asked_for() {
    let (english, chinese) = (keys("en"), keys("zh"));
    let differ: Vec<_> = english.symmetric_difference(&chinese).collect();
    assert!(differ.is_empty(), "in one language only: {differ:?}");
    let mut absent = Vec::new();
    for (name, text) in files(".js").iter().filter(|(name, _)| !name.starts_with("i18n/")) {
        for key in quoted(text, "t('").filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '.')) {
            let called = text.contains(&format!("${{t('{key}'")) || text.contains(&format!(" t('{key}'"));
            if called && !english.contains(key) {
                absent.push(format!("{name}: {key}"));
            }
        }
    }
    assert!(absent.is_empty(), "texts that nobody wrote: {absent:?}");
}

#[test]
fn modules_say_what_they_are_and_find_what_they_import() {
    let all = files(".js");
    for (name, text) in &all {
        assert!(text.starts_with("// "), "{name}: begin with a line that says what it is");
        assert!(text.lines().count() <= 600, "{name}: part it by subject");
        let near = Path::new(name).parent().unwrap();
        for from in quoted(text, " from '").chain(quoted(text, "import '")).chain(quoted(text, "import('")) {
            let target = match from.strip_prefix('/') {
                Some(path) => folder().join(path),
                None => folder().join(near).join(from),
            };
            assert!(target.is_file(), "{name} imports {from}, which is not there");
        }
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_holds_no_script_or_style_of_its_own() {
    let page = &files(".html")["index.html"];
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "{page}");
    let sources = |attribute| page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap());
    for source in sources("src=\"").chain(sources("href=\"")) {
        let path = source.strip_prefix('/').unwrap_or_else(|| panic!("{source} is not an address of this host"));
        assert!(folder().join(path).is_file(), "{source} is not there");
    }
    for ending in [".js", ".css", ".html"] {
        for (name, text) in files(ending) {
            let outside = text
                .lines()
                .find(|line| line.contains("//cdn") || line.contains("url(http") || line.contains("@import"));
            assert_eq!(outside, None, "{name} loads from elsewhere");
        }
    }
}

#[test]
fn every_library_has_its_licence_and_is_listed() {
    let list = fs::read_to_string(folder().join("vendor/README.md")).unwrap();
    for entry in fs::read_dir(folder().join("vendor")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(list.contains(&format!("`{name}`")), "web/vendor/README.md does not list {name}");
            assert!(path.join("LICENSE").is_file(), "{name} has no licence beside it");
        }
    }
}

fn served(world: &World) -> Serving<'_> {
    world.create_store();
    Serving::start(world, &[])
}

#[test]
fn files_are_served_with_types_tags_and_the_time_they_may_be_kept() {
    let world = World::new(Wanted { securities: 5, ..Default::default() });
    let serving = served(&world);
    let library = "/vendor/htm-3.1.1/standalone.module.js";
    for (path, kind, keeping) in [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/app.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/css/base.css", "text/css; charset=utf-8", "no-cache"),
        ("/icon.svg", "image/svg+xml", "no-cache"),
        (library, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
    ] {
        let answer = serving.get(path);
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{path}");
        assert_eq!(answer.header("cache-control"), keeping, "{path}");
        assert!(answer.header("content-security-policy").contains("default-src 'self'"), "{path}");
        let tag = answer.header("etag").to_string();
        let again = serving.ask(Method::GET, path, &[("if-none-match", &format!("\"other\", {tag}"))], None);
        assert_eq!((again.status.as_u16(), again.bytes.len(), again.header("etag")), (304, 0, tag.as_str()), "{path}");
        let other = serving.ask(Method::GET, path, &[("if-none-match", "\"other\"")], None);
        assert_eq!(other.status.as_u16(), 200, "{path}");
    }
}

#[test]
fn pages_are_the_dashboard_and_what_programs_ask_for_never_is() {
    let world = World::new(Wanted { securities: 5, ..Default::default() });
    let serving = served(&world);
    let dashboard = serving.get("/").bytes;
    for path in ["/coverage", "/coverage/daily?from=2024-01-02", "/tasks/12", "/data/kline/000001.SZ", "/api.js/x"] {
        let answer = serving.get(path);
        assert_eq!((answer.status.as_u16(), &answer.bytes), (200, &dashboard), "{path}");
    }
    for path in ["/nowhere.js", "/api/v1/nowhere", "/api", "/api/nowhere.html", "/ws/nowhere", "/metrics/nowhere"] {
        let answer = serving.get(path);
        let told = (answer.status.as_u16(), answer.header("content-type"));
        assert_eq!(told, (404, "application/problem+json"), "{path}");
    }
    let posted = serving.post("/coverage", json!({}));
    assert_eq!((posted.status.as_u16(), posted.header("allow")), (405, "GET, HEAD"));
}

#[test]
fn the_dashboard_comes_without_a_key_and_its_data_does_not() {
    let world = World::new(Wanted { securities: 5, ..Default::default() });
    world.create_store();
    world.run(&["keys", "create", "desk", "--role", "read"], 0);
    let serving = Serving::start(&world, &[]);
    assert_eq!(serving.get("/").status.as_u16(), 200);
    serving.get("/api/v1/session").of_status(401);
}

//! Dependencies against `deny.toml`: licences, banned crates, duplicates. See docs/decisions/0004-licences-and-advisories.md.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Runs a program in the project's folder and returns what it printed.
fn output(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let run = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(run.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// The packages that are compiled on this platform.
fn packages() -> Vec<Value> {
    let version = output("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&output(&cargo, &metadata)).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The strings under `section.key` of deny.toml.
fn listed(section: &str, key: &str) -> Vec<String> {
    let path = format!("{}/deny.toml", env!("CARGO_MANIFEST_DIR"));
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let entries = table[section][key].as_array().unwrap();
    entries.iter().map(|entry| entry.as_str().unwrap().to_owned()).collect()
}

/// Whether a licence expression passes with these licences alone. `AND` binds closer than `OR`; `/` is an old `OR`.
fn passes(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "\u{0}");
    let tokens: Vec<String> = spaced.split_whitespace().map(|token| token.replace('\u{0}', " WITH ")).collect();
    let mut rest = tokens.as_slice();
    either(&mut rest, allowed) && rest.is_empty()
}

fn either(rest: &mut &[String], allowed: &[String]) -> bool {
    let mut one = both(rest, allowed);
    while rest.first().is_some_and(|token| token == "OR") {
        *rest = &rest[1..];
        one |= both(rest, allowed);
    }
    one
}

fn both(rest: &mut &[String], allowed: &[String]) -> bool {
    let mut all = single(rest, allowed);
    while rest.first().is_some_and(|token| token == "AND") {
        *rest = &rest[1..];
        all &= single(rest, allowed);
    }
    all
}

fn single(rest: &mut &[String], allowed: &[String]) -> bool {
    let Some((first, after)) = rest.split_first() else { return false };
    *rest = after;
    if first != "(" {
        return allowed.contains(first);
    }
    let inner = either(rest, allowed);
    let closed = rest.first().is_some_and(|token| token == ")");
    *rest = rest.get(1..).unwrap_or_default();
    inner && closed
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT AND ISC", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 OR MIT AND GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("MIT WITH LLVM-exception", false),
        ("", false),
        ("(MIT", false),
        ("MIT ISC", false),
    ] {
        assert_eq!(passes(expression, &allowed), expected, "{expression:?}");
    }
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let allowed = listed("licenses", "allow");
    for package in packages() {
        let expression = package["license"].as_str().unwrap_or_default();
        let name = package["name"].as_str().unwrap();
        assert!(
            passes(expression, &allowed),
            "{name} is under {expression:?}: choose another crate, or allow it in deny.toml"
        );
    }
}

#[test]
fn no_banned_crate_and_no_second_version_comes_in() {
    let (banned, skipped) = (listed("bans", "deny"), listed("bans", "skip"));
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    for (name, found) in versions {
        assert!(
            !banned.contains(&name),
            "{name} is banned by deny.toml: `cargo tree --invert {name}` shows who brings it"
        );
        let accepted = found.len() == 1 || skipped.contains(&name);
        assert!(accepted, "{name} comes in versions {found:?}: align them, or list it under bans.skip in deny.toml");
    }
}

#[test]
fn libraries_of_the_dashboard_have_licences_that_deny_toml_allows() {
    let allowed = listed("licenses", "allow");
    let list = std::fs::read_to_string(format!("{}/web/vendor/README.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let rows: Vec<Vec<&str>> =
        list.lines().filter(|line| line.starts_with("| `")).map(|row| row.split('|').collect()).collect();
    assert!(!rows.is_empty(), "web/vendor/README.md lists no library");
    for row in rows {
        let licences = row[4].split(',').map(|one| one.split('(').next().unwrap_or_default().trim());
        for licence in licences {
            assert!(passes(licence, &allowed), "{} is under {licence:?}: choose another library", row[2].trim());
        }
    }
}

//! The house rules: order of modules, size of files and functions, what text may not hold, and documentation that is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::catalog::Catalog;
use tidegate::config::{Config, LoadOptions};

const FILE_LINES_MAX: usize = 900;
const FUNCTION_LINES_MAX: usize = 80;

/// Modules from the lowest to the highest; those on one line do not use each other.
const ORDER: &[&[&str]] = &[
    &["model"],
    &["catalog", "postgres"],
    &["plan", "check", "dialect"],
    &["compare"],
    &["source", "store"],
    &["engine", "feed", "read"],
    &["publish"],
    &["notify"],
    &["receive"],
    &["intake"],
    &["reconcile"],
    &["scheduler", "log"],
    &["mirror"],
    &["sim"],
    &["serve"],
    &["cli"],
    &["app"],
];

/// Options are handed down as values: only these read the configuration.
const CONFIG_READERS: &[&str] = &["cli", "app"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files under a folder of the project with one of these endings, sorted; an absent folder has none.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                true if name == "__pycache__" => {}
                true => folders.push(path),
                false if endings.iter().any(|ending| name.ends_with(ending)) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", shown(path)))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Fails with all findings at once.
fn none(findings: &[String], remedy: &str) {
    assert!(findings.is_empty(), "{remedy}:\n  {}", findings.join("\n  "));
}

/// Rust code with comments, strings and characters blanked; every line keeps its number.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_bytes(rest, code.chars().next_back());
        let (taken, after) = rest.split_at(skipped.max(first.len_utf8()));
        match skipped {
            0 => code.push_str(taken),
            _ => code.extend(taken.chars().map(|character| if character == '\n' { '\n' } else { ' ' })),
        }
        rest = after;
    }
    code
}

/// How many bytes of a comment, string or character begin here; 0 where code goes on.
fn skipped_bytes(rest: &str, before: Option<char>) -> usize {
    let until = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    let in_word = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    let raw = rest.strip_prefix("br").or(rest.strip_prefix('r')).filter(|_| !in_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let opening = rest.len() - raw.len() + hashes + 1;
            return until(opening, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    match rest.as_bytes()[0] {
        b'"' => quoted_bytes(rest, b'"'),
        b'\'' if rest[1..].starts_with('\\') => quoted_bytes(rest, b'\''),
        b'\'' if rest.chars().nth(2) == Some('\'') => rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at),
        _ => 0,
    }
}

fn quoted_bytes(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The code before the tests that a file ends with.
fn without_tests(code: &str) -> &str {
    code.split_once("#[cfg(test)]\nmod ").map_or(code, |(before, _)| before)
}

fn word_at(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
    &text[..end]
}

/// The top-level modules that a file names through `crate::` or a chain of `super::`.
fn modules_used(code: &str, depth: usize) -> BTreeSet<String> {
    let compact: String =
        code.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ::", "::").replace(":: ", "::");
    let mut used = BTreeSet::new();
    for (at, _) in compact.match_indices("crate::") {
        names_after(&compact[at + "crate::".len()..], &mut used);
    }
    let chain = "super::".repeat(depth);
    for (at, _) in compact.match_indices(&chain) {
        names_after(compact[at + chain.len()..].trim_start_matches("super::"), &mut used);
    }
    used
}

/// The first name of a path, or the first names of a group `{a::b, c}`.
fn names_after(path: &str, used: &mut BTreeSet<String>) {
    let Some(group) = path.strip_prefix('{') else {
        used.insert(word_at(path).to_owned());
        return;
    };
    let mut depth = 0;
    let mut at_name = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_name = true,
            ' ' => {}
            _ if at_name => {
                used.insert(word_at(&group[at..]).to_owned());
                at_name = false;
            }
            _ => {}
        }
    }
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&module))
}

/// What a file breaks of the order, given its path under `src`.
fn order_findings(path: &Path, code: &str) -> Vec<String> {
    let parts: Vec<String> = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let own = parts[0].trim_end_matches(".rs");
    if ["lib", "main"].contains(&own) {
        return Vec::new();
    }
    let depth = parts.len() - usize::from(parts.len() > 1 && parts[parts.len() - 1] == "mod.rs");
    let mut findings = Vec::new();
    for used in modules_used(code, depth).into_iter().filter(|used| used != own) {
        let allowed = match (own, used.as_str()) {
            ("config", used) => rank(used).is_none_or(|used| used == 0),
            (own, "config") => CONFIG_READERS.contains(&own),
            (own, used) => match (rank(own), rank(used)) {
                (Some(own), Some(used)) => used < own,
                (None, _) => false,
                (_, None) => true,
            },
        };
        if !allowed {
            findings.push(format!("src/{}: {own} uses {used}", path.display()));
        }
    }
    findings
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut findings = Vec::new();
    for path in files("src", &[".rs"]) {
        let under = path.strip_prefix(root().join("src")).unwrap();
        findings.extend(order_findings(under, &code_of(&read(&path))));
    }
    none(
        &findings,
        "move the shared word down (often into model) or hand the value in; the order is ORDER in tests/it/tidy.rs",
    );
}

#[test]
fn the_order_is_seen_through_groups_chains_comments_and_strings() {
    for (path, code, expected) in [
        ("plan/mod.rs", "use crate::model::Day;", ""),
        ("plan/mod.rs", "use crate::source::Offer;", "plan uses source"),
        ("plan/mod.rs", "use crate::{\n    model::{Day, store},\n    check,\n};", "plan uses check"),
        ("plan/mod.rs", "// crate::source\nlet text = \"crate::source\"; /* crate::store */", ""),
        ("store/sqlite/read.rs", "use super::super::super::engine::Engine;", "store uses engine"),
        ("store/sqlite/mod.rs", "use super::super::model::Day;", ""),
        ("store/mod.rs", "mod tests { use super::super::mirror::Mirror; }", "store uses mirror"),
        ("engine/mod.rs", "use crate::config::Config;", "engine uses config"),
        ("cli/sync.rs", "use crate::config::Config;", ""),
        ("config.rs", "use crate::model::Day;", ""),
        ("config/rules.rs", "use crate::catalog::Catalog;", "config uses catalog"),
        ("other.rs", "use crate::model::Day;", "other uses model"),
    ] {
        let findings = order_findings(Path::new(path), &code_of(code)).join("; ");
        assert_eq!(findings.split(": ").nth(1).unwrap_or_default(), expected, "{path}: {code}");
    }
}

#[test]
fn every_file_says_what_it_is_and_none_is_long() {
    let mut findings = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        for path in files(folder, &[".rs"]) {
            let text = read(&path);
            let lines = text.lines().count();
            if !text.starts_with("//! ") {
                findings.push(format!("{}: begin with a line `//! what this file is`", shown(&path)));
            }
            if lines > FILE_LINES_MAX {
                findings.push(format!("{}: {lines} lines, part it by subject", shown(&path)));
            }
        }
    }
    none(&findings, "files begin with what they are and stay under 900 lines");
}

/// Functions with their first line and their number of lines.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let mut depth = 0i32;
        let mut length = 0;
        for line in &lines[start..] {
            length += 1;
            let opened = line.contains('{');
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
            if depth <= 0 && (opened || line.trim_end().ends_with([';', '}'])) {
                break;
            }
        }
        found.push((name, start + 1, length));
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let modifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    before.split_whitespace().all(|word| modifiers.contains(&word)).then(|| word_at(after).to_owned())
}

#[test]
fn functions_fit_on_two_screens() {
    let mut findings = Vec::new();
    for path in files("src", &[".rs"]).into_iter().filter(|path| !path.ends_with("tests.rs")) {
        for (name, line, length) in functions(without_tests(&code_of(&read(&path)))) {
            if length > FUNCTION_LINES_MAX {
                findings.push(format!("{}:{line}: {name} has {length} lines", shown(&path)));
            }
        }
    }
    none(&findings, "part functions of more than 80 lines");
    let measured = functions("pub fn a() {\n  if x {\n  }\n}\nfn b();\nlet fn_c = 1;\nasync fn d(\n) -> u8 {\n 1\n}\n");
    let expected = [("a", 1, 4), ("b", 5, 1), ("d", 7, 4)];
    assert_eq!(measured, expected.map(|(name, line, length)| (name.to_owned(), line, length)));
}

#[test]
fn text_holds_no_leftovers_no_machine_paths_and_no_registries() {
    let code_only = ["TO\u{200b}DO", "FIX\u{200b}ME", "unimplemented\u{200b}!", "todo\u{200b}!", "dbg\u{200b}!"];
    let anywhere = [
        "/wo\u{200b}rk/",
        "crates\u{200b}.io",
        "pypi\u{200b}.org",
        "pythonhosted\u{200b}.org",
        "deb.debian\u{200b}.org",
    ];
    let words = |words: &[&str]| words.iter().map(|word| word.replace('\u{200b}', "")).collect::<Vec<_>>();
    let mut paths: Vec<PathBuf> =
        ["src", "tests", "benches", "examples", "scripts", ".ci", "docs", "catalog", "migrations", "web"]
            .iter()
            .flat_map(|folder| files(folder, &[""]))
            .collect();
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(top.filter(|path| path.extension().is_some_and(|ending| ending == "md" || ending == "toml")));
    let mut findings = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for word in words(&code_only).iter().chain(&words(&anywhere)).filter(|word| line.contains(word.as_str())) {
                findings.push(format!("{}:{}: {word:?}", shown(&path), index + 1));
            }
        }
    }
    none(&findings, "finish it, or say it without the machine's paths and without hosts");
}

#[test]
fn migrations_are_numbered_without_gap() {
    let mut findings = Vec::new();
    for folder in ["migrations/sqlite", "migrations/postgres"] {
        for (index, path) in files(folder, &[".sql"]).iter().enumerate() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let expected = format!("{:04}_", index + 1);
            if !name.starts_with(&expected) {
                findings.push(format!("{folder}/{name}: expected {expected}<what it does>.sql"));
            }
        }
    }
    none(&findings, "migrations count up from 0001 and are never edited or removed");
}

#[test]
fn the_catalogue_that_is_compiled_in_passes_its_own_check() {
    let catalog =
        Catalog::builtin().unwrap_or_else(|error| panic!("{error}: {}", error.hint_text().unwrap_or_default()));
    let here: BTreeSet<String> = catalog.datasets().iter().map(|dataset| dataset.name.clone()).collect();
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let written: BTreeSet<String> = files("catalog", &[".toml"]).iter().map(stem).collect();
    assert_eq!(here, written, "catalog/*.toml and the compiled-in catalogue differ: one dataset a file, named like it");
}

const DOCUMENTS: [&str; 4] = ["README.md", "README.zh-CN.md", "ARCHITECTURE.md", "CHANGELOG.md"];

/// The documents that people read.
fn documents() -> Vec<PathBuf> {
    let top = DOCUMENTS.map(|name| root().join(name)).into_iter().filter(|path| path.exists());
    top.chain(files("docs", &[".md"])).collect()
}

#[test]
fn the_documents_that_everybody_looks_for_exist() {
    let wanted = DOCUMENTS.into_iter().chain(["LICENSE", "config.default.toml"]);
    let missing: Vec<String> = wanted.filter(|name| !root().join(name).exists()).map(str::to_owned).collect();
    none(&missing, "write it");
}

fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let run = command.args(arguments).arg("--help").output().unwrap();
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let entries = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    entries.map(|line| word_with_dashes(line.trim())).filter(|name| name != "help").collect()
}

fn word_with_dashes(text: &str) -> String {
    text.chars().take_while(|character| character.is_ascii_lowercase() || *character == '-').collect()
}

/// The commands in a document, as the text after the program's name: `sync daily --from 2024-01-01`.
fn commands_in(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for program in ["tidegate ", "cargo run --release -- "] {
            for (at, _) in line.match_indices(program) {
                let before = line[..at].trim_end_matches("$ ").chars().next_back();
                if before.is_none_or(|character| "`/|(&; ".contains(character))
                    && (before != Some(' ') || in_code(line, at))
                {
                    let rest = &line[at + program.len()..];
                    let end = rest.find(['`', '#', '|', '&', ';']).unwrap_or(rest.len());
                    found.push((index + 1, rest[..end].trim().to_owned()));
                }
            }
        }
    }
    found
}

/// Whether a place in a line is inside `...`, or in an indented or shell line.
fn in_code(line: &str, at: usize) -> bool {
    line[..at].matches('`').count() % 2 == 1 || line.trim_start().starts_with('$')
}

#[test]
fn documents_name_only_commands_and_flags_that_exist() {
    let top = help(&[]);
    let commands = subcommands(&top);
    assert!(!commands.is_empty(), "`tidegate --help` lists no commands");
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    for command in &commands {
        let own = help(&[command]);
        let inner: String = subcommands(&own).iter().map(|name| help(&[command, name])).collect();
        helps.insert(command.clone(), own + &inner);
    }
    let mut findings = Vec::new();
    for path in documents() {
        for (line, text) in commands_in(&read(&path)) {
            let place = format!("{}:{line}: `tidegate {text}`", shown(&path));
            let words: Vec<&str> = text.split_whitespace().collect();
            let named = words.iter().map(|word| word_with_dashes(word)).find(|word| commands.contains(word));
            let first = words.first().map(|word| word_with_dashes(word)).unwrap_or_default();
            if !first.is_empty() && !first.starts_with('-') && !commands.contains(&first) {
                findings.push(format!("{place}: there is no command {first:?}"));
            }
            let known = named.as_ref().and_then(|name| helps.get(name)).unwrap_or(&top);
            for flag in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                let flag = word_with_dashes(flag);
                let listed = |text: &str| text.contains(&format!("{flag} ")) || text.contains(&format!("{flag}\n"));
                if !listed(known) && !listed(&top) {
                    findings.push(format!("{place}: there is no flag {flag}"));
                }
            }
        }
    }
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = fs::read_to_string(root().join(readme)).unwrap_or_default();
        let named = |name: &str| text.contains(&format!("`{name}")) || text.contains(&format!("tidegate {name}"));
        findings.extend(
            commands.iter().filter(|name| !named(name)).map(|name| format!("{readme}: does not name `{name}`")),
        );
    }
    none(&findings, "let documents and `tidegate --help` agree");
}

#[test]
fn documents_name_only_options_that_exist() {
    let config = Config::load(&LoadOptions { folder: "/nowhere".into(), ..LoadOptions::default() }).unwrap();
    let options: BTreeSet<&str> = config.explain().iter().map(|option| option.path.as_str()).collect();
    let sections: BTreeSet<&str> = options.iter().filter_map(|path| path.split('.').next()).collect();
    let mut findings = Vec::new();
    for path in documents() {
        for (index, line) in read(&path).lines().enumerate() {
            for span in line.split('`').skip(1).step_by(2) {
                let name = span.split([' ', '=']).next().unwrap_or_default();
                let plain =
                    name.chars().all(|character| character.is_ascii_lowercase() || "._0123456789".contains(character));
                let file = [".rs", ".md", ".toml", ".py", ".sql", ".db"].iter().any(|ending| name.ends_with(ending));
                let ours = name.split_once('.').is_some_and(|(section, _)| sections.contains(section));
                let known =
                    options.contains(name) || options.iter().any(|option| option.starts_with(&format!("{name}.")));
                if plain && ours && !file && !known {
                    findings.push(format!("{}:{}: {name}", shown(&path), index + 1));
                }
            }
        }
    }
    none(&findings, "options are those of config.default.toml");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for path in documents() {
        for (index, line) in read(&path).lines().enumerate() {
            for (_, rest) in line.match_indices("](").map(|(at, _)| line.split_at(at + 2)) {
                let target = rest.split([')', ' ']).next().unwrap_or_default();
                let target = target.split('#').next().unwrap_or_default();
                let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
                if !elsewhere && !path.parent().unwrap().join(target).exists() {
                    findings.push(format!("{}:{}: {target}", shown(&path), index + 1));
                }
            }
        }
    }
    none(&findings, "links lead to files of the project");
}
